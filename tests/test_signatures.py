"""Arguments, their order and their defaults are Keras's, for all that has a name of Keras's: functions, classes, methods.

A default that is another one changes what a program computes, and is seen by no test that gives the argument.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing import image as older_generators

from minicnn.data import Dataset
from minicnn.preprocessing import image

_LISTED = """
    activations applications applications.imagenet_utils applications.mobilenet_v3 applications.vgg16 backend callbacks config
    constraints datasets.cifar10 datasets.cifar100
    datasets.fashion_mnist datasets.mnist dtype_policies initializers layers
    losses metrics mixed_precision models ops ops.image ops.linalg
    ops.nn optimizers optimizers.schedules preprocessing.image random regularizers saving utils
    utils.bounding_boxes visualization wrappers
"""
MODULES = _LISTED.split()
FURTHER = [
    *((getattr(image, name), getattr(older_generators, name)) for name in ("ImageDataGenerator", "NumpyArrayIterator")),
    *((getattr(Dataset, name), one) for name, one in vars(tf.data.Dataset).items() if callable(vars(Dataset).get(name))),
]
# By function, or by argument of any: (whether it may be lacking or of another default, and why).
OTHERWISE = {
    # Keras has no default, or it says "no value" in another way.
    ("add_variable", "shape"): "a scalar, unless it is said",
    ("add_variable", "initializer"): "zeros, unless it is said",
    ("build", "input_shape"): "an embedding needs none in Keras, and none is needed to call it here",
    ("build", "value_shape"): "the query's",
    ("compute_output_shape", "value_shape"): "the query's",
    ("from_generator", "args"): "of no arguments: an empty tuple",
    ("interleave", "block_length"): "1, which TensorFlow takes for None",
    ("multi_hot", "num_classes"): "Keras raises without it",
    ("prefetch", "buffer_size"): "AUTOTUNE, unless it is said",
    ("shuffle", "reshuffle_each_iteration"): "None is true",
    ("compiled_loss", "regularization_losses"): "none: an empty tuple",
    ("DTypePolicy", "name"): "float32, which is what Keras's switch says at first",
    ("FloatDTypePolicy", "name"): "float32, which is what Keras's switch says at first",
    ("Policy", "name"): "float32, which is what Keras's switch says at first",
    ("AveragePooling1D", "pool_size"): "2, as of maxima",
    ("AveragePooling2D", "pool_size"): "2, as of maxima",
    ("AvgPool1D", "pool_size"): "2, as of maxima",
    ("AvgPool2D", "pool_size"): "2, as of maxima",
    ("AveragePooling3D", "pool_size"): "2, as of maxima",
    ("AvgPool3D", "pool_size"): "2, as of maxima",
    ("Progbar", "interval"): "ten drawings a second are enough",
    # What has no effect here, or is positional.
    ("compute_mask", "previous_mask"): "`mask`, which may be None",
    ("compute_mask", "mask"): "None, unless it is said",
    ("compute_mask", "_"): "positional",
    ("call", "mask"): "of layers that look at one",
    ("call", "sequence"): "positional",
    ("call", "training"): "one that is not said is False by then, or has no effect",
    ("call", "inputs"): "positional: a function's own",
    ("InputSpec", "allow_last_axis_squeeze"): "has no effect",
    ("InputSpec", "optional"): "has no effect",
    ("from_config", "custom_objects"): "a scope's",
    ("from_config", "safe_mode"): "said when a file is loaded",
    ("build", "var_list"): "an older name of `variables`",
    ("update_step", "grad"): "an older name of `gradient`",
    ("save_weights", "max_shard_size"): "one file",
    ("train_step", "data"): "x, y, sample_weight, or one argument of these",
    ("test_step", "data"): "x, y, sample_weight, or one argument of these",
    ("split_dataset", "preferred_backend"): "one kind of data set",
    ("map", "synchronous"): "of threads",
    ("map", "use_unbounded_threadpool"): "of threads",
    ("from_tensors", "name"): "of nodes in a graph",
    ("zip", "name"): "of nodes in a graph",
    ("__init__", "variant_tensor"): "nobody calls it",
    ("dot_product_attention", "attn_logits_soft_cap"): "not here",
    ("linspace", "axis"): "of scalars only",
    **{("serialize", name): "positional" for name in ("layer", "loss", "metric", "optimizer", "initializer", "regularizer")},
    **{("serialize", name): "positional" for name in ("constraint", "learning_rate_schedule")},
    ("deserialize", "name"): "positional",
    ("set_floatx", "value"): "positional",
    ("get_registered_name", "obj"): "positional",
    ("CustomObjectScope", "custom_objects"): "positional",
    ("custom_object_scope", "custom_objects"): "positional",
}


def pairs(ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """What both have under one public name."""
    for name in sorted(set(dir(ours)) & set(dir(theirs))):
        if not name.startswith("_"):
            one, other = getattr(ours, name), getattr(theirs, name)
            if callable(one) and callable(other):
                yield name, one, other


def with_methods(name: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    yield name, ours, theirs
    if inspect.isclass(ours) and inspect.isclass(theirs):
        yield from pairs(ours, theirs)


def parameters(function: Any) -> dict[str, inspect.Parameter] | None:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin
        return None


def plain(default: Any) -> Any:
    """One number for all axes is as many of them."""
    return default[0] if isinstance(default, (tuple, list)) and len(set(default)) == 1 else default


def differences(name: str, ours: Any, theirs: Any, seen: set[tuple[Any, Any]]) -> Iterator[str]:
    both = getattr(ours, "__func__", ours), getattr(theirs, "__func__", theirs)
    if both in seen:  # a method that is inherited
        return
    seen.add(both)
    here, there = parameters(ours), parameters(theirs)
    if here is None or there is None:
        return
    takes_any = any(one.kind is one.VAR_KEYWORD for one in here.values())
    named = {key: one for key, one in there.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    for key, parameter in named.items():
        if (name, key) in OTHERWISE:
            continue
        if key in here:
            if plain(here[key].default) != plain(parameter.default):
                yield f"{name}({key}={here[key].default}), in Keras {parameter.default}"
        elif not takes_any:
            yield f"{name} lacks {key}"
    if [key for key in named if key in here] != [key for key in here if key in named]:
        yield f"{name}({', '.join(here)}), in Keras ({', '.join(there)})"


def counterpart(module: str) -> Any:
    found = keras
    for part in module.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_arguments_are_keras_s(module: str) -> None:
    seen: set[tuple[Any, Any]] = set()
    both = list(pairs(importlib.import_module(f"minicnn.{module}"), counterpart(module)))
    assert both
    found = [
        difference
        for name, ours, theirs in both
        for deeper in with_methods(name, ours, theirs)
        for difference in differences(*deeper, seen)
    ]
    assert found == []


@pytest.mark.parametrize(("ours", "theirs"), FURTHER, ids=lambda one: one.__name__)
def test_arguments_of_data_are_theirs(ours: Any, theirs: Any) -> None:
    seen: set[tuple[Any, Any]] = set()
    found = [one for deeper in with_methods(ours.__name__, ours, theirs) for one in differences(*deeper, seen)]
    assert found == []
