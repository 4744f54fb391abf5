"""One check for every layer: Keras's layer of the same name, arguments and weights does the same."""

from __future__ import annotations

import inspect
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from minicnn import layers
from minicnn.backends import asarray, to_numpy
from tests.ops.checks import Target

Arrays = np.ndarray | list[np.ndarray]


def pair_of(class_name: str, target: Target, **arguments: Any) -> tuple[Any, Any]:
    """The layer of minicnn and the layer of Keras that `class_name(**arguments)` means."""
    arguments = {"name": "layer", "dtype": target.dtype} | arguments
    return getattr(layers, class_name)(**arguments), getattr(keras.layers, class_name)(**arguments)


def plain_config(layer: Any) -> dict[str, Any]:
    """`get_config()` as JSON would hold it, numbers in float32 (as some of Keras's are); dtype policies by name."""
    config = json.loads(json.dumps(layer.get_config()), parse_float=lambda text: float(np.float32(text)))
    if isinstance(config["dtype"], dict):
        config["dtype"] = config["dtype"]["config"]["name"]
    return config


def check_configs(ours: Any, theirs: Any) -> None:
    """Both write the same config, and each reads the other's."""
    assert plain_config(ours) == plain_config(theirs)
    assert plain_config(type(ours).from_config(theirs.get_config())) == plain_config(ours)
    assert plain_config(keras.layers.deserialize(layers.serialize(ours))) == plain_config(theirs)
    assert plain_config(layers.deserialize(keras.layers.serialize(theirs))) == plain_config(ours)


def of_weight(weight: Any) -> tuple[Any, ...]:
    """What it is held to, and the number that it begins with where that is one."""
    begins = np.unique(np.asarray(weight))
    held = [type(one).__name__ for one in (weight.regularizer, weight.constraint)]
    return *held, begins.tolist() if len(begins) == 1 < weight.numpy().size else None


def draw_weights(theirs: Any, target: Target, seed: int) -> list[np.ndarray]:
    """Random values for a built layer's weights; variances are positive."""
    return [
        target.uniform(seed + i, *weight.shape) + 0.5
        if weight.name == "moving_variance"
        else target.normal(seed + i, *weight.shape)
        for i, weight in enumerate(theirs.weights)
    ]


def check_layer(
    class_name: str, target: Target, x: Arrays, seed: int, *, training: bool = False, terms: float = 0.0, **arguments: Any
) -> None:
    """Configs, weights (names, shapes, order), output shape, forward pass, every gradient, and the state after it.

    Args:
        x: the input, or the list of inputs.
        seed: of the weights and of the random cotangent.
        terms: size of the terms whose difference the results are, where they may be all but 0.
        arguments: the layer's.
    """
    ours, theirs = pair_of(class_name, target, **arguments)
    if target.backend == "reference":  # once: a config knows of no backend
        check_configs(ours, theirs)

    shapes = [item.shape for item in x] if isinstance(x, list) else x.shape
    ours.build(shapes)
    theirs.build(shapes)
    assert ours.built
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, tuple(w.shape)) for w in theirs.weights]
    assert [w.name for w in ours.trainable_weights] == [w.name for w in theirs.trainable_weights]
    assert [of_weight(w) for w in ours.weights] == [of_weight(w) for w in theirs.weights]
    assert ours.supports_masking == theirs.supports_masking
    assert ours.count_params() == theirs.count_params()
    assert tuple(ours.compute_output_shape(shapes)) == tuple(theirs.compute_output_shape(shapes))
    weights = draw_weights(theirs, target, seed)
    ours.set_weights(weights)
    theirs.set_weights(weights)
    penalties = [[float(loss) for loss in layer.losses] for layer in (ours, theirs)]
    np.testing.assert_allclose(*penalties, rtol=1e-5)

    inputs = [tf.constant(item) for item in x] if isinstance(x, list) else tf.constant(x)
    learned = [their.value for our, their in zip(ours.weights, theirs.weights) if our.trainable]  # also of a frozen layer
    with tf.GradientTape() as tape:
        tape.watch([inputs, learned])
        expected = theirs(inputs, training=True) if training else theirs(inputs)
    dy = target.normal(seed + 17, *expected.shape)
    expected_dx, expected_grads = tape.gradient(expected, [inputs, learned], output_gradients=tf.constant(dy))

    on_device = [asarray(item) for item in x] if isinstance(x, list) else asarray(x)
    given = [item.copy() for item in (*x, dy)] if isinstance(x, list) else [x.copy(), dy.copy()]
    y, saved = ours.forward(on_device, training)
    target.check(to_numpy(y), expected, terms)
    dx, grads = ours.backward(asarray(dy), saved)
    if isinstance(x, list):
        assert len(dx) == len(x)
        for one, expected_one in zip(dx, expected_dx):
            target.check(to_numpy(one), expected_one, terms)
    else:
        target.check(to_numpy(dx), expected_dx, terms)
    assert len(grads) == len(expected_grads)
    for gradient, expected_gradient in zip(grads, expected_grads):
        target.check(to_numpy(gradient), expected_gradient, terms)
    if "need_dx" in inspect.signature(ours.backward).parameters:
        none, again = ours.backward(asarray(dy), saved, False)
        assert none is None
        for gradient, other in zip(grads, again, strict=True):
            np.testing.assert_array_equal(to_numpy(gradient), to_numpy(other))
    for array, before in zip((*x, dy) if isinstance(x, list) else (x, dy), given, strict=True):
        np.testing.assert_array_equal(array, before)  # the caller's own
    for weight, expected_weight in zip(ours.weights, theirs.weights):
        target.check(weight.numpy(), expected_weight.numpy())

    if not training:
        called = ours(x)  # on plain NumPy arrays, as users do
        np.testing.assert_array_equal(called.numpy(), to_numpy(y))
        symbolic = ours([layers.Input(shape[1:]) for shape in shapes] if isinstance(x, list) else layers.Input(shapes[1:]))
        assert symbolic.shape == (None, *y.shape[1:])
