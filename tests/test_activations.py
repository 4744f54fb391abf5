"""Activations against Keras's: values, derivatives, names and configs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import activations, backends, registry

NAMES = ["linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softmax"]
OPTIONS = {
    "relu": st.sampled_from(
        [{}, {"max_value": 2.0}, {"negative_slope": 0.25}, {"negative_slope": 0.1, "max_value": 1.5, "threshold": 0.5}]
    ),
    "leaky_relu": st.fixed_dictionaries({}, optional={"negative_slope": st.floats(0.0, 1.0)}),
    "elu": st.fixed_dictionaries({}, optional={"alpha": st.floats(0.1, 2.0)}),
    "gelu": st.fixed_dictionaries({}, optional={"approximate": st.booleans()}),
    "softmax": st.fixed_dictionaries({}, optional={"axis": st.integers(-3, 2)}),
}


def draw_input(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = tuple(data.draw(st.lists(st.integers(2, 4), min_size=3, max_size=3)))
    return rng.normal(0, data.draw(st.sampled_from([0.1, 1.0, 10.0])), shape).astype("float32")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_values_are_keras(name, data):
    x, options = draw_input(data), data.draw(OPTIONS.get(name, st.just({})))
    expected = keras.ops.convert_to_numpy(getattr(keras.activations, name)(tf.constant(x), **options))
    np.testing.assert_allclose(
        getattr(activations, name)(x, **options), expected, rtol=1e-5, atol=1e-6 * max(1, np.abs(expected).max())
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_passes_are_the_function_and_its_gradient(name, data):
    x = draw_input(data)
    dy = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    with tf.GradientTape() as tape:
        z = tf.constant(x)
        tape.watch(z)
        y = getattr(keras.activations, name)(z)
    expected = tape.gradient(y, z, tf.constant(dy)).numpy()
    forward, backward = activations.forward_backward(getattr(activations, name))
    value, kept = forward(backends.asarray(x))
    np.testing.assert_allclose(backends.to_numpy(value), y.numpy(), rtol=1e-5, atol=1e-6 * max(1, np.abs(y).max()))
    gradient = backends.to_numpy(backward(backends.asarray(dy), kept))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_linear_is_free():
    x = np.ones(3, "float32")
    assert activations.linear.forward(x) == (x, None)
    assert activations.linear.backward(x, None) is x


def test_numbers_of_any_kind_are_taken():
    assert activations.relu([-1, 2]).numpy().tolist() == [0, 2]
    assert activations.relu([-1, 2]).dtype == np.float32
    assert activations.sigmoid(np.zeros(2)).dtype == np.float64


@pytest.mark.parametrize("name", [*NAMES, "swish"])
def test_names_and_configs_are_keras(name):
    ours, theirs = activations.get(name), keras.activations.get(name)
    assert ours.__name__ == theirs.__name__
    assert activations.get(ours) is ours
    assert activations.serialize(ours) == keras.activations.serialize(theirs)
    assert activations.deserialize(name) is ours
    assert activations.get(keras.saving.serialize_keras_object(theirs)) is ours


def test_none_is_linear_and_unknown_names_are_named():
    assert activations.get(None) is activations.linear
    with pytest.raises(ValueError, match=r"Could not interpret activation function identifier: rellu.*Did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(ValueError, match="Could not interpret activation function identifier: 3"):
        activations.get(3)


def test_a_users_function_works_forward_and_trains_with_its_passes():
    def cube(x):
        return x**3

    x = np.array([1.0, 2.0], "float32")
    forward, backward = activations.forward_backward(activations.get(cube))
    y, kept = forward(x)
    np.testing.assert_array_equal(y, [1, 8])
    with pytest.raises(NotImplementedError, match=r"Activation 'cube' has no derivative.*Set `cube.forward`"):
        backward(x, kept)
    cube.forward, cube.backward = lambda x: (x**3, x), lambda dy, x: dy * 3 * x**2
    forward, backward = activations.forward_backward(cube)
    np.testing.assert_array_equal(backward(np.ones(2), forward(x)[1]), [3, 12])
    with registry.custom_object_scope({"cube": cube}):
        assert activations.get("cube") is cube
        assert activations.deserialize(activations.serialize(cube)) is cube
