"""Normalizations against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu.norm import CHUNKS, RUN_BYTES
from tests.ops.checks import Target, around, check_adjoint, forward_and_gradients, gradient_cases, seeds, update_cases

# (..., C): a single value a channel, the rows of a matrix, images; C below, at and above a vector's width. As many rows as
# there are chunks, one less and one more; and a channel more than what is summed at once.
shapes = st.one_of(
    st.tuples(
        st.lists(st.integers(1, 5), min_size=1, max_size=3) | st.tuples(st.sampled_from(around(CHUNKS))),
        st.sampled_from([1, 2, 3, 8, 16, 17, 33]),
    ).map(lambda drawn: (*drawn[0], drawn[1])),
    st.just((5, RUN_BYTES // 4 + 1)),
)
epsilons = st.sampled_from([1e-3, 1e-5])


def named(inputs: list[np.ndarray], names: list[str], function):
    """`function` called with `inputs` by name, None for a name that has none."""
    return lambda *tensors: function(**dict(zip(names, tensors)))


def draw_parameters(target: Target, C: int, seed: int, scaled: bool, centered: bool):
    gamma = target.normal(seed, C) if scaled else None
    beta = target.normal(seed + 1, C) if centered else None
    return gamma, beta


@gradient_cases
@given(
    shape=shapes,
    offset=st.sampled_from([0, 100]),
    scaled=st.booleans(),
    centered=st.booleans(),
    epsilon=epsilons,
    seed=seeds,
)
def test_batchnorm_equals_tensorflow(
    target: Target, shape: tuple[int, ...], offset: int, scaled: bool, centered: bool, epsilon: float, seed: int
) -> None:
    """Also far from 0, where a variance computed as mean(x**2) - mean(x)**2 loses its digits."""
    C = shape[-1]
    x = target.normal(seed, *shape) + target.normal(0, 1).dtype.type(offset)
    gamma, beta = draw_parameters(target, C, seed + 1, scaled, centered)
    axes = list(range(x.ndim - 1))

    def normalize(**tensors):
        # In float64: TensorFlow's own x * scale - mean * scale loses digits far from 0.
        x, gamma, beta = (tf.cast(tensors[name], tf.float64) if name in tensors else None for name in ("x", "gamma", "beta"))
        mean, variance = tf.nn.moments(x, axes)
        return tf.cast(tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon), target.dtype)

    present = {name: array for name, array in (("gamma", gamma), ("beta", beta)) if array is not None}
    function = named([x, *present.values()], ["x", *present], normalize)
    expected, dy, (expected_dx, *expected_rest) = forward_and_gradients(function, [x, *present.values()], seed + 3, target)

    y, mean, variance = target.ops.batchnorm_forward(x, gamma, beta, epsilon)
    target.check(y, expected, scale=1)
    expected_mean, expected_variance = tf.nn.moments(x, axes)
    target.check(mean, expected_mean)
    target.check(variance, expected_variance, scale=1)

    dx, dgamma, dbeta = target.ops.batchnorm_backward(dy, x, gamma, beta, mean, variance, epsilon)
    # dx is what remains of terms of this size once the gradients through the statistics are taken off.
    slope = np.abs(1 if gamma is None else gamma) / np.sqrt(expected_variance + epsilon)
    target.check(dx, expected_dx, scale=float(np.max(slope * np.abs(dy))))
    expected_gradients = dict(zip(present, expected_rest))
    if scaled:
        target.check(dgamma, expected_gradients["gamma"], scale=float(np.max(np.abs(dy))))
    if centered:
        target.check(dbeta, expected_gradients["beta"])
    assert dgamma.shape == dbeta.shape == (C,)


@gradient_cases
@given(shape=shapes, scaled=st.booleans(), centered=st.booleans(), epsilon=epsilons, seed=seeds)
def test_batchnorm_inference_equals_tensorflow(
    target: Target, shape: tuple[int, ...], scaled: bool, centered: bool, epsilon: float, seed: int
) -> None:
    C = shape[-1]
    x = target.normal(seed, *shape)
    gamma, beta = draw_parameters(target, C, seed + 1, scaled, centered)
    mean, variance = target.normal(seed + 3, C), target.uniform(seed + 4, C)

    def normalize(x, gamma=None, beta=None):
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)

    present = {name: array for name, array in (("gamma", gamma), ("beta", beta)) if array is not None}
    function = named([x, *present.values()], ["x", *present], normalize)
    expected, dy, (expected_dx, *expected_rest) = forward_and_gradients(function, [x, *present.values()], seed + 5, target)

    ops = target.ops
    target.check(ops.batchnorm_inference(x, gamma, beta, mean, variance, epsilon), expected, scale=1)
    dx, dgamma, dbeta = ops.batchnorm_inference_backward(dy, x, gamma, beta, mean, variance, epsilon)
    target.check(dx, expected_dx)
    expected_gradients = dict(zip(present, expected_rest))
    if scaled:
        target.check(dgamma, expected_gradients["gamma"], scale=float(np.max(np.abs(dy))))
    if centered:
        target.check(dbeta, expected_gradients["beta"])
    # Linear in x but for the constant mean and beta.
    check_adjoint(ops.batchnorm_inference(x, gamma, None, np.zeros_like(mean), variance, epsilon), dy, x, dx, target)


def test_batchnorm_of_many_rows_equals_tensorflow(target: Target) -> None:
    """Sums long enough to be cut into chunks."""
    x = target.normal(0, 24, 37, 41, 17)
    expected = tf.nn.moments(tf.constant(x), [0, 1, 2])
    y, mean, variance = target.ops.batchnorm_forward(x, None, None, 1e-3)
    target.check(mean, expected[0], scale=1)
    target.check(variance, expected[1])
    target.check(y, tf.nn.batch_normalization(x, *expected, None, None, 1e-3))
    dy = target.normal(1, *x.shape)
    dx, dgamma, dbeta = target.ops.batchnorm_backward(dy, x, None, None, mean, variance, 1e-3)
    target.check(dbeta, tf.reduce_sum(dy, [0, 1, 2]))
    target.check(dgamma, tf.reduce_sum(dy * y, [0, 1, 2]))
    # A shift of x changes nothing, so that dx sums to 0 over each channel.
    np.testing.assert_allclose(dx.sum(axis=(0, 1, 2), dtype="float64"), 0, atol=0.05 if target.dtype == "float32" else 1e-10)


@update_cases
@given(shape=shapes, momentum=st.floats(0, 1), seed=seeds)
def test_moving_average(target: Target, shape: tuple[int, ...], momentum: float, seed: int) -> None:
    average, value = target.normal(seed, *shape), target.normal(seed + 1, *shape)
    variable = tf.Variable(average)
    variable.assign(variable * momentum + tf.constant(value) * (1 - momentum))
    target.ops.moving_average_update_(average, value, momentum)
    target.check(average, variable, scale=1)


def check_normalization(
    target: Target, op: str, x: np.ndarray, grouped: tuple[int, ...], affine: bool, numbers: tuple[Any, ...], seed: int
) -> None:
    """`op`_forward and `op`_backward, which normalize x over all axes of `grouped` but the first and the third.

    Args:
        numbers: the forward pass's after gamma and beta, epsilon last.
    """
    C = x.shape[-1]
    gamma, beta = draw_parameters(target, C, seed + 1, affine, affine)
    present = [array for array in (gamma, beta) if array is not None]
    axes = [axis for axis in range(1, len(grouped)) if axis != 2]

    def function(x: tf.Tensor, gamma: Any = 1, beta: Any = 0) -> tf.Tensor:
        parts = tf.reshape(x, grouped)
        mean, variance = tf.nn.moments(parts, axes, keepdims=True)
        return tf.reshape((parts - mean) * tf.math.rsqrt(variance + numbers[-1]), x.shape) * gamma + beta

    expected, dy, (expected_dx, *expected_rest) = forward_and_gradients(function, [x, *present], seed + 3, target)
    y, mean, inverse_deviation = getattr(target.ops, f"{op}_forward")(x, gamma, beta, *numbers)
    target.check(y, expected, scale=1)
    dx, *grads = getattr(target.ops, f"{op}_backward")(dy, x, gamma, mean, inverse_deviation)
    slope = np.max(np.abs(1 if gamma is None else gamma)) * inverse_deviation.max()
    target.check(dx, expected_dx, scale=float(slope * np.abs(dy).max()))
    for gradient, expected_gradient in zip(grads, expected_rest):
        target.check(gradient, expected_gradient, scale=float(np.abs(dy).max()))
    assert [gradient.shape for gradient in grads] == [(C,), (C,)]


@gradient_cases
@given(
    rows=st.integers(1, 9) | st.sampled_from(around(CHUNKS)),
    C=st.sampled_from([1, 2, 3, 15, 16, 17, 33, 65]),
    affine=st.booleans(),
    epsilon=epsilons,
    seed=seeds,
)
def test_layernorm_equals_tensorflow(target: Target, rows: int, C: int, affine: bool, epsilon: float, seed: int) -> None:
    x = target.normal(seed, rows, C) + target.normal(0, 1).dtype.type(8)
    check_normalization(target, "layernorm", x, (rows, C), affine, (epsilon,), seed)


@gradient_cases
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), st.sampled_from([1, 2, 5, 8])),
    affine=st.booleans(),
    epsilon=epsilons,
    seed=seeds,
)
def test_groupnorm_equals_tensorflow(target: Target, shape: tuple[int, ...], affine: bool, epsilon: float, seed: int) -> None:
    N, S, groups, each = shape
    x = target.normal(seed, N, S, groups * each)
    check_normalization(target, "groupnorm", x, shape, affine, (groups, epsilon), seed)


@gradient_cases
@given(rows=st.integers(1, 9), C=st.sampled_from([1, 2, 3, 16, 17]), epsilon=epsilons, seed=seeds)
def test_rmsnorm_and_unitnorm_equal_tensorflow(target: Target, rows: int, C: int, epsilon: float, seed: int) -> None:
    x, scale = target.normal(seed, rows, C), target.normal(seed + 1, C)

    def rms(x: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        return x * tf.math.rsqrt(tf.reduce_mean(x**2, 1, keepdims=True) + epsilon) * scale

    expected, dy, (expected_dx, expected_dscale) = forward_and_gradients(rms, [x, scale], seed + 3, target)
    y, inverse_size = target.ops.rmsnorm_forward(x, scale, epsilon)
    target.check(y, expected)
    dx, dscale = target.ops.rmsnorm_backward(dy, x, scale, inverse_size)
    terms = float(np.abs(dy).max() * np.abs(scale).max() * inverse_size.max())
    target.check(dx, expected_dx, scale=terms)
    target.check(dscale, expected_dscale, scale=terms)

    x[0] *= 2.0**-12  # a row that is shorter than the least length
    expected, dy, (expected_dx,) = forward_and_gradients(
        lambda x: x / tf.maximum(tf.norm(x, axis=-1, keepdims=True), 0.01), [x], seed + 4, target
    )
    target.check(target.ops.unitnorm_forward(x, 0.01), expected)
    target.check(target.ops.unitnorm_backward(dy, x, 0.01), expected_dx, scale=float(np.abs(dy).max() * 100))
