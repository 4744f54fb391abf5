"""Regularizers against Keras's: penalties, their derivatives, names, configs and errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backends, regularizers
from minicnn.variables import Variable
from tests.drawn import drawn_cases

strengths = st.floats(0, 0.5)


@drawn_cases(30)
@given(l1=strengths, l2=strengths, shape=st.lists(st.integers(1, 4), max_size=4), seed=st.integers(0, 2**32 - 1))
def test_penalty_and_gradient_are_keras(l1, l2, shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    for name, arguments in (("L1", (l1,)), ("L2", (l2,)), ("L1L2", (l1, l2))):
        ours, theirs = getattr(regularizers, name)(*arguments), getattr(keras.regularizers, name)(*arguments)
        with tf.GradientTape() as tape:
            z = tf.constant(x, tf.float32)
            tape.watch(z)
            penalty = theirs(z)
        assert ours(x.astype("float32")).numpy() == pytest.approx(penalty.numpy(), rel=1e-5, abs=1e-6)
        grad = backends.asarray(np.ones(shape, "float32"))
        ours.gradient_(grad, backends.asarray(x.astype("float32")))
        expected = 1 + tape.gradient(penalty, z, unconnected_gradients="zero").numpy()
        np.testing.assert_allclose(backends.to_numpy(grad), expected, rtol=1e-5, atol=1e-6)


@drawn_cases(30)
@given(
    shape=st.tuples(st.integers(2, 5), st.integers(2, 5)), mode=st.sampled_from(["rows", "columns"]), seed=st.integers(0, 99)
)
def test_orthogonal_penalty_and_gradient_are_keras(shape, mode, seed):
    x = np.random.default_rng(seed).normal(size=shape).astype("float32")
    ours, theirs = regularizers.OrthogonalRegularizer(0.5, mode), keras.regularizers.OrthogonalRegularizer(0.5, mode)
    with tf.GradientTape() as tape:
        z = tf.constant(x)
        tape.watch(z)
        penalty = theirs(z)
    assert ours(x).numpy() == pytest.approx(penalty.numpy(), rel=1e-4)
    grad = backends.asarray(np.ones(shape, "float32"))
    ours.gradient_(grad, backends.asarray(x))
    np.testing.assert_allclose(backends.to_numpy(grad), 1 + tape.gradient(penalty, z).numpy(), rtol=1e-4, atol=1e-4)


def test_a_single_row_is_orthogonal_to_nothing():
    assert regularizers.OrthogonalRegularizer()(np.ones((1, 3), "float32")).numpy() == 0  # NaN in Keras: a mean over no pairs


def test_variables_are_taken():
    variable = Variable(np.array([1.0, -2.0]))
    assert regularizers.L1L2(1.0, 1.0)(variable).numpy() == 8
    grad = backends.asarray(np.zeros(2, "float32"))
    regularizers.L1L2(1.0, 1.0).gradient_(grad, variable)
    np.testing.assert_array_equal(backends.to_numpy(grad), [3, -5])


def in_float32(config):
    return {key: np.float32(value) if isinstance(value, float) else value for key, value in config.items()}


@pytest.mark.parametrize("name", ["L1", "L2", "L1L2", "l1", "l2", "l1l2", "OrthogonalRegularizer", "orthogonal_regularizer"])
def test_names_and_configs_are_keras(name):
    ours, theirs = regularizers.get(name), keras.regularizers.get(name)
    config, expected = regularizers.serialize(ours), keras.regularizers.serialize(theirs)
    assert in_float32(config.pop("config")) == in_float32(expected.pop("config"))  # as some of Keras's are kept
    assert config == expected
    assert in_float32(regularizers.deserialize(keras.regularizers.serialize(theirs)).get_config()) == in_float32(
        ours.get_config()
    )
    assert regularizers.get(ours) is ours


def test_functions_are_the_classes():
    for name in ("l1", "l2", "l1_l2"):
        ours, theirs = getattr(regularizers, name)(0.2), getattr(keras.regularizers, name)(0.2)
        assert type(ours).__name__ == type(theirs).__name__
        assert in_float32(ours.get_config()) == in_float32(theirs.get_config())
    assert isinstance(regularizers.get("l1_l2"), regularizers.L1L2)


def test_a_users_regularizer_gets_its_gradient_from_a_tape():
    """As Géron's chapter 12 writes one; what is no function of tensors has to say its gradient."""
    x = np.array([[0.5, -2.0], [3.0, -0.1]], np.float32)
    found = []
    for module in (keras, minicnn):

        class Own(module.regularizers.Regularizer):
            def __call__(self, weights, K=module):
                return K.ops.sum(K.ops.abs(0.01 * weights)) + 0.1 * K.ops.mean(weights * weights)

        layer = module.layers.Dense(2, kernel_regularizer=Own())
        model = module.Sequential([module.Input((2,)), layer])
        model.compile(module.optimizers.SGD(0.5), "mse")
        layer.set_weights([x, np.zeros(2, np.float32)])
        loss = model.fit(x, x, epochs=2, verbose=0).history["loss"]
        found.append([np.asarray(layer.kernel), np.asarray(loss)])
    for theirs, ours in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)

    class Total(regularizers.Regularizer):
        def __call__(self, x):
            return float(np.sum(np.asarray(x)))

    assert Total()(np.ones(3)) == 3
    with pytest.raises(NotImplementedError, match=r"Regularizer 'Total' has no gradient.*define `gradient_\(self, grad, x\)`"):
        Total().gradient_(np.zeros(3), np.ones(3))


def test_bad_arguments_are_named():
    for bad in (-1.0, float("nan"), "much"):
        with pytest.raises(ValueError, match="Invalid value for argument l2: expected a non-negative float"):
            regularizers.L2(bad)
    for module in (regularizers, keras.regularizers):
        with pytest.raises(ValueError, match=r"Invalid value for argument factor: expected a non-negative float"):
            module.OrthogonalRegularizer(-0.5)
    with pytest.raises(ValueError, match=r"Invalid value for argument `mode`.*Received: mode=diagonal"):
        regularizers.OrthogonalRegularizer(mode="diagonal")
    with pytest.raises(ValueError, match=r"must have rank 2. Received: inputs.shape=\(2, 2, 2\)"):
        regularizers.OrthogonalRegularizer()(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="Could not interpret regularizer identifier: l3"):
        regularizers.get("l3")
    assert regularizers.get(None) is None


def test_none_stands_for_what_it_does_in_keras():
    for name in ("L1", "L2", "L1L2"):
        kept = [
            in_float32(getattr(module, name)(*[None] * (2 if name == "L1L2" else 1)).get_config())
            for module in (regularizers, keras.regularizers)
        ]
        assert kept[0] == kept[1]
