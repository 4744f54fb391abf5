"""Configs of every argument at another value than its default, against Keras's.

Of a default instance one cannot see that a key holds another argument's value, nor that `from_config` passes one over.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import minicnn
from minicnn import activations, constraints, initializers, layers, losses, metrics, optimizers, regularizers, serialization
from minicnn.models import Sequential
from minicnn.optimizers import schedules
from minicnn.registry import custom_object_scope
from minicnn.saving.objects import deserialize_keras_object
from tests.layers.checks import plain_config

MODULES = [
    (ours, getattr(keras, ours.__name__.rpartition(".")[2])) for ours in (constraints, initializers, optimizers, regularizers)
]
NO_TABLE = ("Constraint", "Initializer", "LossScaleOptimizer", "MultiOptimizer", "Optimizer", "OptimizerMap", "Regularizer")
FORGOTTEN = [  # by Keras's own configs
    ("Identity", "gain"),
    ("IdentityInitializer", "gain"),
    ("CosineSimilarity", "axis"),
    ("Huber", "delta"),
    ("MaxNumBoundingBoxes", "fill_value"),
]
OTHER_TEXTS = {"fan_in": "fan_out", "rows": "columns", "truncated_normal": "uniform"}
INSTEAD_OF_NONE: dict[str, Any] = {
    "ema_overwrite_frequency": 3,
    "exclude_layers": ["last"],
    "gradient_accumulation_steps": 3,
    "input_axes": [0],
    "output_axes": [1],
    "seed": 5,
}


def another(argument: str, default: Any) -> Any:
    """A value that is not the argument's default."""
    if argument == "name":
        return "mine"
    if default is None:
        return INSTEAD_OF_NONE.get(argument, 0.25)
    if isinstance(default, (bool, str)):
        return OTHER_TEXTS[default] if isinstance(default, str) else not default
    return default + 1 if isinstance(default, int) else default / 2 or 0.25


def cases() -> Iterator[tuple[Any, Any, str, str, Any]]:
    """Both modules, and a class, an argument of Keras's constructor and a value for it."""
    for ours, theirs in MODULES:
        for name in sorted(set(dir(ours)) & set(dir(theirs)) - set(NO_TABLE)):
            if not name[0].isupper():
                continue
            for argument, parameter in inspect.signature(getattr(theirs, name)).parameters.items():
                if parameter.default is not parameter.empty and (name, argument) not in FORGOTTEN:
                    yield ours, theirs, name, argument, another(argument, parameter.default)


def in_float32(config: dict[str, Any]) -> dict[str, Any]:
    """As Keras keeps some of its numbers."""
    return {key: np.float32(value) if isinstance(value, float) else value for key, value in config.items()}


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "argument", "value"), list(cases()), ids=lambda part: getattr(part, "__name__", str(part))
)
def test_an_argument_comes_back_from_a_config(ours, theirs, name, argument, value):
    arguments = {**({"name": "one"} if ours is optimizers else {}), argument: value}
    here, there = (getattr(module, name)(**arguments) for module in (ours, theirs))
    config = in_float32(here.get_config())
    assert config == in_float32(there.get_config())
    for again in (ours.deserialize(theirs.serialize(there)), type(here).from_config(here.get_config())):
        assert type(again) is type(here)
        assert in_float32(again.get_config()) == config


# --- what needs arguments: layers, losses, metrics, schedules -------------------------------------

NEEDED = {
    "activation": "relu",
    "axes": 1,
    "boundaries": [3],
    "decay_rate": 0.5,
    "decay_steps": 5,
    "dims": (2, 1),
    "equation": "ab,bc->ac",
    "factor": 0.3,
    "filters": 2,
    "first_decay_steps": 4,
    "height": 4,
    "height_factor": 0.25,
    "initial_learning_rate": 0.1,
    "input_dim": 5,
    "kernel_size": 3,
    "key_dim": 3,
    "max_number": 4,
    "n": 3,
    "num_classes": 3,
    "num_heads": 2,
    "output_dim": 3,
    "output_shape": 3,
    "output_size": 4,
    "pool_size": 3,
    "precision": 0.4,
    "q": 0.5,
    "rate": 0.25,
    "recall": 0.4,
    "scale": 2.0,
    "sensitivity": 0.4,
    "specificity": 0.4,
    "stddev": 0.5,
    "target_class_ids": [0, 2],
    "target_shape": (2, 3),
    "units": 4,
    "value_range": (0, 255),
    "values": [0.1, 0.2],
    "width": 5,
    "width_factor": 0.25,
}
TEXTS = {
    "bilinear": "nearest",
    "constant": "nearest",
    "dot": "concat",
    "horizontal_and_vertical": "vertical",
    "interpolation": "minoring",
    "nearest": "bilinear",
    "ones": "zeros",
    "PR": "ROC",
    "reflect": "constant",
    "ROC": "PR",
    "sum_over_batch_size": "sum",
    "uniform_average": "variance_weighted_average",
    "valid": "same",
}
VALUES: dict[str, Any] = {  # None would not do, or is the default
    "activation": "relu",
    "activity_regularizer": "l2",
    "attention_axes": (1,),
    "average": "macro",
    "axes": {1: 3},
    "axis": 1,
    "bias_axes": "c",
    "brightness_factor": 0.25,
    "class_id": 1,
    "clip": False,
    "contrast_factor": 0.25,
    "cropping": 2,
    "data_format": "channels_first",
    "dtype": "float64",
    "fill_value": 0.5,
    "hue_factor": 0.25,
    "ignore_class": 1,
    "interpolation": "nearest",
    "max_value": 5.0,
    "mean": 0.5,
    "name": "mine",
    "num_labels": None,
    "output_padding": 1,
    "padding": None,
    "saturation_factor": 0.25,
    "seed": 5,
    "shared_axes": [1],
    "size": 3,
    "strides": 2,
    "target_class_ids": [1],
    "threshold": 0.25,
    "thresholds": [0.25, 0.75],
    "top_k": 2,
    "value_dim": 5,
    "variance": 0.5,
    "warmup_target": 0.5,
    "width_factor": 0.25,
}
PARTS = [(layers, keras.layers), (losses, keras.losses), (metrics, keras.metrics), (schedules, keras.optimizers.schedules)]
NOT_ALIKE = {"Pipeline", "Wrapper", "SpectralNormalization", "Lambda", "InputLayer", "Layer", "InputSpec", "MeanMetricWrapper"}
NOT_ALIKE |= {"Bidirectional", "RNN", "StackedRNNCells", "TimeDistributed"}  # of another layer, or of cells: below
NOT_ALIKE |= {"Loss", "LossFunctionWrapper", "Metric", "LearningRateSchedule"}
NOT_HERE = [
    ("Resizing", "antialias"),
    ("Resizing", "fill_mode"),
    ("SimpleRNN", "activity_regularizer"),  # which Keras takes and forgets
    ("SparseCategoricalCrossentropy", "axis"),
    ("StringLookup", "num_oov_indices"),
    ("TextVectorization", "ragged"),
]  # what they ask for


def classes() -> Iterator[tuple[Any, Any, str]]:
    for ours, theirs in PARTS:
        for name in sorted(set(dir(ours)) & set(dir(theirs)) - NOT_ALIKE):
            if inspect.isclass(getattr(ours, name)) and getattr(theirs, name).__name__ == name:
                yield ours, theirs, name


def value_of(argument: str, default: Any) -> Any:
    if argument in VALUES and VALUES[argument] is not None:
        return VALUES[argument]
    if argument.endswith("_initializer"):
        return "ones" if default != "ones" else "zeros"
    if argument.endswith("_regularizer"):
        return "l1"
    if argument.endswith("_constraint"):
        return "non_neg"
    if default is None:
        return None
    if isinstance(default, str):
        return TEXTS.get(default)
    if isinstance(default, (tuple, list)):
        return type(default)(value_of(argument, one) for one in default)
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else default / 2 or 0.25


def config_of(part: Any) -> dict[str, Any]:
    return plain_config(part) if "dtype" in part.get_config() else in_float32(part.get_config())


@pytest.mark.parametrize(("ours", "theirs", "name"), list(classes()), ids=lambda part: getattr(part, "__name__", str(part)))
def test_each_argument_comes_back_from_a_config(ours, theirs, name):
    parameters = inspect.signature(getattr(theirs, name)).parameters.values()
    here = inspect.signature(getattr(ours, name)).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in here.values())
    needed = {
        one.name: NEEDED[one.name] for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    }
    needed |= {"name": "one"} | ({"seed": 7} if "seed" in here else {})  # which are drawn, if they are not said
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or not (parameter.name in here or takes_any):
            continue
        value = None if parameter.default is parameter.empty else value_of(parameter.name, parameter.default)
        if value is None or (name, parameter.name) in NOT_HERE:
            continue
        arguments = needed | {parameter.name: value}
        try:
            expected = getattr(theirs, name)(**arguments)
        except (ValueError, TypeError):  # not without another one
            continue
        made = getattr(ours, name)(**arguments)
        assert config_of(type(made).from_config(made.get_config())) == config_of(made), parameter.name
        if (name, parameter.name) not in FORGOTTEN:
            theirs_in_ours = {key: value for key, value in config_of(made).items() if (name, key) not in FORGOTTEN}
            assert theirs_in_ours == config_of(expected), parameter.name
            assert config_of(type(made).from_config(expected.get_config())) == config_of(made), parameter.name
        elif parameter.name != "fill_value":  # a whole number
            assert config_of(made)[parameter.name] == value


def doubled(x):
    return 2 * x


NESTED = {  # what holds other objects, and so takes its config apart
    "a scaled loss": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(schedules.CosineDecay(0.1, 5)), 8.0, 3, name="o"),
    "groups": lambda: optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD(), {"a": optimizers.Adam()}), name="o"),
    "a scheduled rate": lambda: optimizers.SGD(schedules.CosineDecay(0.1, 5), name="o"),
    "a rate that is a function": lambda: optimizers.SGD(doubled, name="o"),
    "a function as a loss": lambda: losses.LossFunctionWrapper(losses.huber, name="l", delta=0.5),
    "a function as a metric": lambda: metrics.MeanMetricWrapper(losses.huber, name="m", delta=0.5),
    "areas of labels": lambda: metrics.AUC(multi_label=True, label_weights=[1.0, 2.0]),
    "a row of layers": lambda: layers.Pipeline([layers.RandomFlip(seed=1), layers.Rescaling([0.5, 1.0])], name="p"),
    "a layer in a layer": lambda: layers.SpectralNormalization(layers.Dense(2, name="d"), 2, name="s"),
    "a layer at each step": lambda: layers.TimeDistributed(layers.Dense(2, name="d"), name="t"),
    "a layer both ways": lambda: layers.Bidirectional(layers.GRU(2, seed=1, name="g"), "sum", name="b"),
    "cells": lambda: layers.RNN(
        layers.StackedRNNCells([layers.LSTMCell(2, seed=1, name="c"), layers.GRUCell(3, seed=2, name="g")], name="s"), name="r"
    ),
    "a function as a layer": lambda: layers.Lambda(doubled, output_shape=(3,), arguments={}, name="f"),
    "numbers of channels": lambda: layers.Rescaling(np.array([0.5, 1.0]), name="r"),
    "a model": lambda: Sequential([layers.Input((3,)), layers.Dense(2, name="d", kernel_regularizer="l2")], name="m"),
}


@pytest.mark.parametrize("name", NESTED)
def test_reading_a_config_leaves_it_as_it_was(name):
    made = NESTED[name]()
    config = made.get_config()
    before = copy.deepcopy(config)
    with custom_object_scope({"doubled": doubled}):
        again = type(made).from_config(config)
    np.testing.assert_equal(config, before)
    np.testing.assert_equal(again.get_config(), before)


def test_a_scope_within_a_scope_knows_both_and_the_inner_one_first():
    one, two, three = (type("Mine", (layers.ReLU,), {}) for _ in range(3))
    config = {"class_name": "Mine", "config": {}}
    with custom_object_scope({"Mine": one, "Other": three}):
        with custom_object_scope({"Mine": two}):
            assert type(layers.deserialize(config)) is two
            assert type(layers.deserialize(config | {"class_name": "Other"})) is three
        assert type(layers.deserialize(config)) is one


def test_objects_that_are_handed_on_are_known_at_any_depth():
    mine = type("Mine", (layers.ReLU,), {})
    config, dense = {"class_name": "Mine", "config": {}}, {"class_name": "Dense", "config": {"units": 2, "activation": "twice"}}
    found = deserialize_keras_object({"a": [config, {"b": config}]}, {"Mine": mine})
    assert [type(one) for one in (found["a"][0], found["a"][1]["b"])] == [mine, mine]
    assert layers.deserialize(dense, {"twice": doubled}).activation is doubled
    assert activations.deserialize("twice", {"twice": doubled}) is doubled


def test_the_outer_of_two_safe_modes_counts():
    """So that no object of a file can switch it off for those inside."""
    config = serialization.serialize_function(lambda x: x)
    with serialization.safe_mode(True), serialization.safe_mode(False), pytest.raises(ValueError, match="Python lambda"):
        serialization.deserialize(config)
    with serialization.safe_mode(False), serialization.safe_mode(True):
        assert serialization.deserialize(config)(3) == 3
    with pytest.raises(ValueError, match="Python lambda"):
        serialization.deserialize(config)


def test_a_config_that_is_taken_apart_stays_as_it_was():
    class Taking(layers.ReLU):
        @classmethod
        def from_config(cls, config):
            return cls(name=config.pop("name"))

    config = {"class_name": "Taking", "config": {"name": "taken"}}
    before = copy.deepcopy(config)
    found = deserialize_keras_object((config, [config], {"a": (config,)}), {"Taking": Taking})
    assert [type(part) for part in found] == [Taking, list, dict]
    assert type(found) is type(found[2]["a"]) is tuple
    assert found[2]["a"][0].name == found[1][0].name == "taken"
    assert config == before
    sizes = serialization.serialize([(1, np.float32(2)), [np.array(3), np.array([4, 5], "uint8")], None])
    assert sizes[:2] == [(1, 2.0), [3, {"class_name": "__numpy__", "config": {"value": [4, 5], "dtype": "uint8"}}]]
    again = serialization.deserialize(sizes)
    assert (again[0], again[1][0], again[2]) == ((1, 2.0), 3, None)
    assert again[1][1].dtype == np.uint8


def test_the_package_before_a_name_is_passed_over():
    mine = type("Mine", (layers.ReLU,), {})
    with custom_object_scope({"Mine": mine, "doubled": doubled}):
        assert type(layers.deserialize({"class_name": "shop>Mine", "config": {}})) is mine
        assert activations.get("shop>doubled") is doubled
    assert type(layers.deserialize({"class_name": "shop>Dense", "config": {"units": 2}})) is layers.Dense


def own_classes(module: Any) -> dict[str, Any]:
    """A layer, a model with a `call` and one with a graph that write no `get_config`."""

    class Scaled(module.layers.Layer):
        def __init__(self, units: int, factors: tuple[float, ...] = (1.0, 0.5), **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.dense, self.factors = module.layers.Dense(units), factors

        def call(self, x: Any) -> Any:
            return self.dense(x) * self.factors[0]

    class Called(module.Model):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.scaled = Scaled(units)

        def call(self, x: Any) -> Any:
            return self.scaled(x)

    class Drawn(module.Model):
        def __init__(self, units: int, **kwargs: Any) -> None:
            inputs = module.Input((3,))
            super().__init__(inputs=inputs, outputs=Scaled(units)(inputs), **kwargs)

    return {"Scaled": Scaled, "Called": Called, "Drawn": Drawn}


@pytest.mark.parametrize("name", ["Scaled", "Called", "Drawn"])
def test_a_class_without_a_config_has_the_arguments_that_it_was_called_with(name: str, tmp_path: Path) -> None:
    """As in Keras; a model, too, which there is refused as long as its constructor asks for arguments."""
    ours = own_classes(minicnn)[name](4, name="own")
    if name == "Scaled":
        theirs = own_classes(keras)[name](4, name="own").get_config()
        assert ours.get_config() | {"dtype": theirs["dtype"]} == theirs  # a policy there
    x = np.ones((2, 3), "float32")
    model = ours if name != "Scaled" else minicnn.Sequential([ours])
    y = model(x)
    model.save(tmp_path / "own.keras")
    again = minicnn.saving.load_model(tmp_path / "own.keras", custom_objects=own_classes(minicnn))
    np.testing.assert_array_equal(again(x), y)


def test_a_class_called_with_an_object_needs_a_config() -> None:
    for module in (minicnn, keras):
        with pytest.raises(NotImplementedError, match=r"non-serializable argument values in `__init__\(\)`"):
            own_classes(module)["Scaled"](4, np.ones(2)).get_config()
