"""Activations against Keras's: values, derivatives, names and configs."""

from __future__ import annotations

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import activations, backends, registry
from tests.drawn import drawn_cases
from tests.ops.test_elementwise import tf_sparsemax

NAMES = ["linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softmax"]
NAMES += ["celu", "exponential", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid", "log_softmax"]
NAMES += ["mish", "relu6", "soft_shrink", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink"]
NAMES += ["threshold"]
axes = st.fixed_dictionaries({}, optional={"axis": st.integers(-3, 2)})
OPTIONS = {
    "relu": st.sampled_from(
        [{}, {"max_value": 2.0}, {"negative_slope": 0.25}, {"negative_slope": 0.1, "max_value": 1.5, "threshold": 0.5}]
    ),
    "leaky_relu": st.fixed_dictionaries({}, optional={"negative_slope": st.floats(0.0, 1.0)}),
    "elu": st.fixed_dictionaries({}, optional={"alpha": st.floats(0.1, 2.0)}),
    "celu": st.fixed_dictionaries({}, optional={"alpha": st.floats(0.1, 2.0)}),
    "gelu": st.fixed_dictionaries({}, optional={"approximate": st.booleans()}),
    "hard_shrink": st.fixed_dictionaries({}, optional={"threshold": st.floats(0.1, 2.0)}),
    "soft_shrink": st.fixed_dictionaries({}, optional={"threshold": st.floats(0.1, 2.0)}),
    "squareplus": st.fixed_dictionaries({}, optional={"b": st.floats(0.1, 8.0)}),
    "threshold": st.fixed_dictionaries({"threshold": st.floats(-1.0, 1.0), "default_value": st.floats(-1.0, 1.0)}),
    "softmax": axes,
    "log_softmax": axes,
    "sparsemax": axes,
    "glu": axes,
}


def draw_input(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = tuple(2 * half for half in data.draw(st.lists(st.integers(1, 2), min_size=3, max_size=3)))
    return rng.normal(0, data.draw(st.sampled_from([0.1, 1.0, 10.0])), shape).astype("float32")


@pytest.mark.parametrize("name", NAMES)
@drawn_cases(20)
@given(data=st.data())
def test_function_and_passes_are_keras(name, data):
    x, options = draw_input(data), data.draw(OPTIONS.get(name, st.just({})))
    with tf.GradientTape() as tape:
        z = tf.constant(x)
        tape.watch(z)
        y = (tf_sparsemax if name == "sparsemax" else getattr(keras.activations, name))(z, **options)
    dy = np.random.default_rng(0).normal(size=y.shape).astype("float32")
    expected = tape.gradient(y, z, tf.constant(dy)).numpy()
    ours = getattr(activations, name)
    tolerance = {"rtol": 1e-5, "atol": 1e-6 * max(1, np.abs(y).max())}
    np.testing.assert_allclose(ours(x, **options), y.numpy(), **tolerance)
    forward, backward = activations.forward_backward(functools.partial(ours, **options) if options else ours)
    value, kept = forward(backends.asarray(x))
    np.testing.assert_allclose(backends.to_numpy(value), y.numpy(), **tolerance)
    gradient = backends.to_numpy(backward(backends.asarray(dy), kept))
    assert gradient.flags.c_contiguous
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_keras(name):
    ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (activations, keras.activations))
    assert [(one.name, one.default) for one in ours.values()] == [(one.name, one.default) for one in theirs.values()]


@pytest.mark.parametrize("axis", [(1, 2), (-1, 0), None])
def test_a_softmax_along_several_axes(axis):
    x, dy = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype("float32")
    with tf.GradientTape() as tape:
        z = tf.constant(x)
        tape.watch(z)
        expected = tf.exp(z - tf.reduce_logsumexp(z, axis, keepdims=True))
    y, kept = activations.softmax.forward(backends.asarray(x), axis=axis)
    np.testing.assert_allclose(backends.to_numpy(y), expected, rtol=1e-5)
    dx = activations.softmax.backward(backends.asarray(dy), kept, axis=axis)
    np.testing.assert_allclose(backends.to_numpy(dx), tape.gradient(expected, z, tf.constant(dy)), rtol=1e-4, atol=1e-5)


def test_axes_that_do_not_fit_are_named():
    x = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=r"axis size must be divisible by 2. Received: x.shape=\(2, 3\) with axis=-1"):
        activations.glu(x)
    for axis in (2, (0, 0), (0, -2)):
        with pytest.raises(ValueError, match=r"different ones of an array of rank 2. Received: axis="):
            activations.softmax(x, axis)


def test_a_model_trains_with_a_partial_activation():
    activation = functools.partial(activations.leaky_relu, negative_slope=0.5)
    models = [
        minicnn.Sequential([minicnn.layers.Input((3,)), minicnn.layers.Dense(2, activation=activation)]),
        minicnn.Sequential([minicnn.layers.Input((3,)), minicnn.layers.Dense(2), minicnn.layers.LeakyReLU(0.5)]),
    ]
    x, y = np.random.default_rng(1).normal(size=(8, 3)).astype("float32"), np.ones((8, 2), "float32")
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=2, verbose=0)
    for ours, expected in zip(models[0].get_weights(), models[1].get_weights()):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "named"), [("relu", {"max_value": 1.5}), ("elu", {"alpha": 0.5}), ("softmax", {"axis": 0})])
def test_a_tape_watches_an_activation_with_its_arguments(name, named):
    x = np.array([[-2.0, 3.0], [1.0, 0.5]], "float32")
    found = []
    for module, one, tensor in (
        (activations, minicnn, minicnn.ops.convert_to_tensor(x)),
        (keras.activations, tf, tf.constant(x)),
    ):
        with one.GradientTape() as tape:
            tape.watch(tensor)
            y = getattr(module, name)(tensor, **named)
        found.append((y, tape.gradient(y, tensor, x)))
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_linear_is_free():
    x = np.ones(3, "float32")
    assert activations.linear.forward(x) == (x, None)
    assert activations.linear.backward(x, None) is x


def test_numbers_of_any_kind_are_taken():
    assert activations.relu([-1, 2]).numpy().tolist() == [0, 2]
    assert activations.relu([-1, 2]).dtype == np.float32
    assert activations.sigmoid(np.zeros(2)).dtype == np.float64


@pytest.mark.parametrize("name", [*NAMES, "swish", "hard_swish"])
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


def test_a_function_without_a_derivative_says_so():
    def stairs(x):
        return np.spacing(x)  # which no op computes

    x = np.array([1.0, -2.0], "float32")
    for function in (stairs, lambda x: np.array([1.0, 2.0])):
        forward, backward = activations.forward_backward(activations.get(function))
        with pytest.raises(NotImplementedError, match=r"has no derivative.*or set `.*\.forward`"):
            backward(x, forward(x)[1])


@pytest.mark.parametrize("name", ["relu", "softmax", "tanh", "square", "gelu"])
def test_an_op_is_an_activation(name):
    """As programs say `activation=tf.nn.relu`. (`ops.gelu` approximates by default, the activation of that name does not.)"""
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    ours, theirs = (module.layers.Dense(5, activation=getattr(module.ops, name)) for module in (minicnn, keras))
    theirs.build((None, 4))
    ours.build((None, 4))
    ours.set_weights(theirs.get_weights())
    with tf.GradientTape() as tape:
        expected = theirs(x)
        loss = tf.reduce_sum(expected**2)
    y, saved = ours.forward(x, True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)
    gradients = ours.backward(2 * y, saved)[1]
    for gradient, theirs_gradient in zip(gradients, tape.gradient(loss, theirs.trainable_variables), strict=True):
        np.testing.assert_allclose(gradient, theirs_gradient, rtol=1e-4, atol=1e-5)


def test_a_users_function_works_forward_and_trains_with_its_passes():
    def cube(x):
        return x**3

    x = np.array([1.0, 2.0], "float32")
    forward, backward = activations.forward_backward(activations.get(cube))
    y, kept = forward(x)
    np.testing.assert_array_equal(y, [1, 8])
    np.testing.assert_allclose(backward(np.ones(2, "float32"), kept), [3, 12], rtol=1e-6)
    cube.forward, cube.backward = lambda x: (x**3, x), lambda dy, x: dy * 3 * x**2
    forward, backward = activations.forward_backward(cube)
    np.testing.assert_array_equal(backward(np.ones(2), forward(x)[1]), [3, 12])
    with registry.custom_object_scope({"cube": cube}):
        assert activations.get("cube") is cube
        assert activations.deserialize(activations.serialize(cube)) is cube
