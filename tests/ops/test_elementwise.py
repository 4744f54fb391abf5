"""Activations, padding, merges and dropout against TensorFlow and Keras."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu.elementwise import RUN
from tests.ops.checks import Target, around, check_adjoint, forward_and_gradients, gradient_cases, seeds, simple_cases
from tests.ops.test_random import tf_random_bits

shapes = st.one_of(
    st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    st.tuples(st.integers(1, 70)),  # whole vectors of floats and what is left over
)
factors = st.integers(-300, 300).map(lambda hundredths: hundredths / 100)
images = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def tf_gelu(x):
    """`tf.nn.gelu` in full precision: it holds its constants in float32."""
    return 0.5 * x * (1 + tf.math.erf(x / math.sqrt(2)))


def tf_gelu_tanh(x):
    return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def tf_sparsemax(x, axis=-1):
    """Its threshold found by halving. (Keras 3.15's rows do not sum to 1: it adds cumulative sums up.)"""
    low, high = tf.reduce_min(x, axis, keepdims=True) - 1, tf.reduce_max(x, axis, keepdims=True)
    for _ in range(60):
        tau = (low + high) / 2
        enough = tf.reduce_sum(tf.nn.relu(x - tau), axis, keepdims=True) > 1
        low, high = tf.where(enough, tau, low), tf.where(enough, high, tau)
    inside = tf.cast(x > tau, x.dtype)
    tau = (tf.reduce_sum(x * inside, axis, keepdims=True) - 1) / tf.reduce_sum(inside, axis, keepdims=True)
    return inside * (x - tau)


# name -> TensorFlow's function and strategies for the op's parameters after x. TensorFlow holds
# the slopes in float32.
ACTIVATIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "relu": (tf.nn.relu, {}),
    "bounded_relu": (
        lambda x, negative_slope, max_value, threshold: keras.activations.relu(
            x, negative_slope, None if max_value == math.inf else max_value, threshold
        ),
        {
            "negative_slope": st.sampled_from([0.0, 0.125, 0.25]),
            "max_value": st.sampled_from([1.5, 6.0, math.inf]),
            "threshold": st.sampled_from([0.0, 0.5, 1.0]),
        },
    ),
    "leaky_relu": (
        lambda x, negative_slope: tf.nn.leaky_relu(x, negative_slope),
        {"negative_slope": st.floats(0, 1, width=32)},
    ),
    "elu": (lambda x, alpha: keras.activations.elu(x, alpha), {"alpha": st.sampled_from([0.5, 1.0, 1.7])}),
    "selu": (tf.nn.selu, {}),
    "gelu": (tf_gelu, {}),
    "gelu_tanh": (tf_gelu_tanh, {}),
    "silu": (tf.nn.silu, {}),
    "sigmoid": (tf.nn.sigmoid, {}),
    "tanh": (tf.nn.tanh, {}),
    "softplus": (tf.nn.softplus, {}),
    "softmax": (tf.nn.softmax, {}),
    "celu": (keras.activations.celu, {"alpha": st.sampled_from([0.5, 1.0, 1.7])}),
    "exponential": (tf.exp, {}),
    "hard_shrink": (keras.activations.hard_shrink, {"threshold": st.sampled_from([0.5, 1.3])}),
    "hard_sigmoid": (keras.activations.hard_sigmoid, {}),
    "hard_silu": (keras.activations.hard_silu, {}),
    "hard_tanh": (keras.activations.hard_tanh, {}),
    "log_sigmoid": (keras.activations.log_sigmoid, {}),
    "log_softmax": (tf.nn.log_softmax, {}),
    "mish": (keras.activations.mish, {}),
    "soft_shrink": (keras.activations.soft_shrink, {"threshold": st.sampled_from([0.5, 1.3])}),
    "softsign": (tf.nn.softsign, {}),
    "sparse_plus": (keras.activations.sparse_plus, {}),
    "sparse_sigmoid": (keras.activations.sparse_sigmoid, {}),
    "sparsemax": (tf_sparsemax, {}),
    "squareplus": (keras.activations.squareplus, {"b": st.sampled_from([0.5, 4.0])}),
    "tanh_shrink": (keras.activations.tanh_shrink, {}),
    "threshold": (
        lambda x, threshold, default_value: tf.where(x > threshold, x, tf.constant(default_value, x.dtype)),
        {"threshold": st.sampled_from([-0.7, 1.3]), "default_value": st.sampled_from([0.0, 2.5])},
    ),
}

activations = pytest.mark.parametrize("name", ACTIVATIONS)


def check_activation(target: Target, name: str, x: np.ndarray, parameters: dict[str, Any], seed: int) -> None:
    target.skip_reference_s_lines(f"{name}_forward")
    function, _ = ACTIVATIONS[name]
    expected, dy, (expected_dx,) = forward_and_gradients(lambda x: function(x, **parameters), [x], seed, target)
    forward, backward = getattr(target.ops, f"{name}_forward"), getattr(target.ops, f"{name}_backward")
    y = forward(x, **parameters)
    # Far from 0 an activation is what remains of 1 + (-1) or 1 - 1: the terms are of size 1.
    target.check(y, expected, scale=1)
    keeps_output = "y" in inspect.signature(backward).parameters
    dx = backward(dy, y if keeps_output else x, **parameters)
    target.check(dx, expected_dx, scale=1)


@activations
@simple_cases
@given(data=st.data(), shape=shapes, seed=seeds)
def test_activation_equals_tensorflow(
    target: Target, name: str, data: st.DataObject, shape: tuple[int, ...], seed: int
) -> None:
    parameters = {parameter: data.draw(strategy) for parameter, strategy in ACTIVATIONS[name][1].items()}
    check_activation(target, name, 3 * target.normal(seed, *shape), parameters, seed + 1)


PLAIN_PARAMETERS: dict[str, dict[str, Any]] = {
    "bounded_relu": {"negative_slope": 0.125, "max_value": 6.0, "threshold": 1.0},
    "leaky_relu": {"negative_slope": 0.25},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.7},
    "hard_shrink": {"threshold": 0.5},
    "soft_shrink": {"threshold": 0.5},
    "squareplus": {"b": 4.0},
    "threshold": {"threshold": 1.0, "default_value": 0.5},
}


@activations
def test_activation_of_a_large_array(target: Target, name: str) -> None:
    """Long enough for every thread to have work, and of no round length."""
    check_activation(target, name, 3 * target.normal(0, 211, 307), PLAIN_PARAMETERS.get(name, {}), 1)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS.keys() - {"exponential"}))
def test_activation_does_not_overflow(target: Target, name: str) -> None:
    """Far from 0 on both sides; a warning would be an error."""
    far = np.array([[-1e4, -800, -90, -20, -1e-3, -1e-6, 1e-6, 1e-3, 20, 90, 800, 1e4]]).T
    for x in (far, far.T):  # one a row and all in one, which differ for softmax
        check_activation(target, name, np.ascontiguousarray(x, target.dtype), PLAIN_PARAMETERS.get(name, {}), 0)


TAILS: dict[str, tuple[Any, tuple[float, ...]]] = {  # in float64, by the formula that loses no digits
    "elu": (scipy.special.expm1, (1.0,)),
    "selu": (lambda x: 1.0507009873554805 * 1.6732632423543772 * scipy.special.expm1(x), ()),
    "sigmoid": (scipy.special.expit, ()),
    "silu": (lambda x: x * scipy.special.expit(x), ()),
    "softplus": (lambda x: np.log1p(np.exp(x)), ()),
}


@pytest.mark.parametrize("name", TAILS)
def test_activation_keeps_its_digits_where_it_is_small(target: Target, name: str) -> None:
    """A difference of numbers that are almost equal would have none left, and an absolute tolerance would not see it."""
    exact, parameters = TAILS[name]
    small = name in ("elu", "selu")
    x = np.array([-(10.0**-k) for k in range(2, 8)] if small else [-3.0, -5.0, -8.0], target.dtype)
    expected = exact(x.astype(np.float64))
    rtol = 1e-5 if target.dtype == "float32" else 1e-12
    np.testing.assert_allclose(getattr(target.ops, f"{name}_forward")(x, *parameters), expected, rtol=rtol)


@activations
def test_nan_stays_nan(target: Target, name: str) -> None:
    """As in TensorFlow; max(x, 0) written with a comparison would make a NaN 0 and hide where it came from.

    TensorFlow's float64: in float32 its softmax keeps the rest of the row on some processors, though a sum with a NaN is one.
    """
    x = np.array([[1.0, np.nan, -1.0], [0.5, 2.0, -3.0]], target.dtype)
    expected = ACTIVATIONS[name][0](tf.constant(x, tf.float64), **PLAIN_PARAMETERS.get(name, {})).numpy()
    if name in ("hard_shrink", "soft_shrink", "threshold"):  # where TensorFlow's comparisons lose it
        expected = x
    y = getattr(target.ops, f"{name}_forward")(x, **PLAIN_PARAMETERS.get(name, {}))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus"])
def test_activation_at_infinity(target: Target, name: str) -> None:
    x = np.array([-np.inf, np.inf], target.dtype)
    y = getattr(target.ops, f"{name}_forward")(x, **PLAIN_PARAMETERS.get(name, {}))
    np.testing.assert_allclose(y, ACTIVATIONS[name][0](tf.constant(x), **PLAIN_PARAMETERS.get(name, {})), rtol=1e-6)


@pytest.mark.parametrize("bounds", [(0.0, 6.0, 0.0), (0.0, math.inf, 1.0), (0.25, 6.0, 1.0)])
def test_bounded_relu_at_infinity(target: Target, bounds: tuple[float, float, float]) -> None:
    """A slope of 0 is no product with infinity."""
    slope, largest, threshold = bounds
    x = np.array([-np.inf, np.inf, np.nan], target.dtype)
    expected = keras.activations.relu(x, slope, None if largest == math.inf else largest, threshold)
    np.testing.assert_array_equal(target.ops.bounded_relu_forward(x, *bounds)[:2], np.asarray(expected)[:2])
    assert np.isnan(target.ops.bounded_relu_forward(x, *bounds)[2])


@pytest.mark.parametrize("name", ["relu", "elu", "leaky_relu", "selu"])
def test_activation_at_its_kink(target: Target, name: str) -> None:
    """At 0 the slope is the one from below, as the reference's `x > 0` says."""
    parameters = PLAIN_PARAMETERS.get(name, {})
    x = np.zeros(5, target.dtype)
    dy = target.normal(0, 5)
    y = getattr(target.ops, f"{name}_forward")(x, **parameters)
    np.testing.assert_array_equal(y, x)
    below = {"relu": 0.0, "elu": 1.0, "leaky_relu": 0.25, "selu": 1.0507009873554805 * 1.6732632423543772}[name]
    target.check(getattr(target.ops, f"{name}_backward")(dy, x, **parameters), below * dy)


def test_bounded_relu_at_its_kinks(target: Target) -> None:
    """At the threshold what is below it comes out, at the maximum the maximum; the slope there is the flatter side's."""
    x = np.array([0.5, 2.0], target.dtype)
    dy = target.normal(0, 2)
    target.check(target.ops.bounded_relu_forward(x, 0.1, 2.0, 0.5), np.asarray(keras.activations.relu(x, 0.1, 2.0, 0.5)))
    target.check(target.ops.bounded_relu_backward(dy, x, 0.1, 2.0, 0.5), np.array([0.1, 0.0], target.dtype) * dy)
    for maximum in (0.5, 0.25):  # at the threshold, or below it
        target.check(
            target.ops.bounded_relu_forward(x, 0.1, maximum, 0.5), np.asarray(keras.activations.relu(x, 0.1, maximum, 0.5))
        )


BOUNDED = ["hard_sigmoid", "hard_silu", "hard_tanh", "sparse_sigmoid", "sparse_plus"]


@pytest.mark.parametrize("name", [*BOUNDED, "hard_shrink", "soft_shrink", "threshold"])
def test_bounded_activation_at_its_kinks(target: Target, name: str) -> None:
    """As in TensorFlow, whose slope at a bound is sometimes the inner one and sometimes the outer one."""
    check_activation(target, name, np.array([-3, -1, -0.5, 0.5, 1, 3], target.dtype), PLAIN_PARAMETERS.get(name, {}), 0)


@gradient_cases
@given(shape=shapes, seed=seeds)
def test_glu_equals_tensorflow(target: Target, shape: tuple[int, ...], seed: int) -> None:
    target.skip_reference_s_lines("glu_forward")
    x = target.normal(seed, *shape[:-1], 2 * shape[-1])
    expected, dy, (expected_dx,) = forward_and_gradients(keras.activations.glu, [x], seed + 1, target)
    target.check(target.ops.glu_forward(x), expected)
    target.check(target.ops.glu_backward(dy, x), expected_dx)


@gradient_cases
@given(
    shape=shapes,
    rate=st.one_of(st.sampled_from([0.0, 0.2, 0.3, 0.5]), st.floats(0, 0.95)),
    key_seed=seeds,
    step=seeds,
    seed=seeds,
)
def test_dropout_equals_tensorflow(
    target: Target, shape: tuple[int, ...], rate: float, key_seed: int, step: int, seed: int
) -> None:
    """The mask comes from TensorFlow's own Philox stream."""
    x = target.normal(seed, *shape)
    key = np.array([key_seed, step], np.uint32)
    kept = (tf_random_bits(key_seed, step, x.size) >= math.floor(rate * 2**32)).reshape(shape)

    def drop(x):
        return tf.where(kept, x / (1 - rate), tf.zeros_like(x))

    expected, dy, (expected_dx,) = forward_and_gradients(drop, [x], seed + 1, target)
    y = target.ops.dropout_forward(x, rate, key)
    target.check(y, expected)
    dx = target.ops.dropout_backward(dy, rate, key)
    target.check(dx, expected_dx)
    np.testing.assert_array_equal(y == 0, dx == 0)  # `normal` draws no zeros: one mask
    check_adjoint(y, dy, x, dx, target)
    np.testing.assert_array_equal(key, [key_seed, step])


def test_dropout_of_a_large_array(target: Target) -> None:
    """Several threads' worth of words; as many are kept as were asked for."""
    x = np.ones((301, 997), target.dtype)
    y = target.ops.dropout_forward(x, 0.3, np.array([5, 6], np.uint32))
    kept = (tf_random_bits(5, 6, x.size) >= math.floor(0.3 * 2**32)).reshape(x.shape)
    target.check(y, np.where(kept, 1 / 0.7, 0))
    assert abs(kept.mean() - 0.7) < 5 * math.sqrt(0.3 * 0.7 / x.size)


@gradient_cases
@given(shape=images, pads=st.tuples(*[st.integers(0, 3)] * 4), seed=seeds)
def test_zero_pad2d_equals_tensorflow(target: Target, shape: tuple[int, ...], pads: tuple[int, ...], seed: int) -> None:
    top, bottom, left, right = pads
    x = target.normal(seed, *shape)
    margins = [(0, 0), (top, bottom), (left, right), (0, 0)]
    expected, dy, (expected_dx,) = forward_and_gradients(lambda x: tf.pad(x, margins), [x], seed + 1, target)
    y = target.ops.zero_pad2d_forward(x, pads)
    target.check(y, expected)
    dx = target.ops.zero_pad2d_backward(dy, pads)
    target.check(dx, expected_dx)
    check_adjoint(y, dy, x, dx, target)


@gradient_cases
@given(shape=shapes, scale=factors, offset=factors, seed=seeds)
def test_rescale_equals_tensorflow(target: Target, shape: tuple[int, ...], scale: float, offset: float, seed: int) -> None:
    x = target.normal(seed, *shape)
    expected = tf.constant(x) * scale + offset
    target.check(target.ops.rescale(x, scale, offset), expected, scale=max(abs(scale), abs(offset)))


@pytest.mark.parametrize("size", around(RUN))
def test_rescale_of_a_large_array(target: Target, size: int) -> None:
    x = target.normal(0, size)
    target.check(target.ops.rescale(x, 0.5, -2.0), x * 0.5 - 2.0)


@gradient_cases
@given(shape=images, count=st.integers(1, 4), twice=st.booleans(), broadcast=st.booleans(), relu=st.booleans(), seed=seeds)
def test_add_equals_tensorflow(
    target: Target, shape: tuple[int, ...], count: int, twice: bool, broadcast: bool, relu: bool, seed: int
) -> None:
    xs = [target.normal(seed + i, *shape) for i in range(count)]
    if twice:
        xs.append(xs[-1])
    if broadcast:
        xs.append(target.normal(seed + count, shape[0], 1, 1, shape[3]))
    expected = tf.constant(xs[0])
    for x in xs[1:]:
        expected = expected + x
    y = target.ops.add_forward(xs, relu)
    target.check(y, tf.nn.relu(expected) if relu else expected)
    assert not any(np.shares_memory(y, x) for x in xs)


@pytest.mark.parametrize("size", around(RUN))
@pytest.mark.parametrize("relu", [False, True])
def test_add_of_large_arrays(target: Target, size: int, relu: bool) -> None:
    xs = [target.normal(i, size) for i in range(3)]
    xs[1][-1] = np.nan
    total = tf.add_n(xs)
    y = target.ops.add_forward(xs, relu)
    np.testing.assert_allclose(y, tf.nn.relu(total) if relu else total, rtol=1e-6, atol=1e-6)
    assert np.isnan(y[-1])


@gradient_cases
@given(shape=images, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), axis=st.integers(-4, 3), seed=seeds)
def test_concatenate_equals_tensorflow(target: Target, shape: tuple[int, ...], sizes: list[int], axis: int, seed: int) -> None:
    xs = []
    for i, size in enumerate(sizes):
        extents = list(shape)
        extents[axis] = size
        xs.append(target.normal(seed + i, *extents))
    expected, dy, expected_dxs = forward_and_gradients(lambda *xs: tf.concat(xs, axis), xs, seed + 9, target)
    target.check(target.ops.concatenate_forward(xs, axis), expected)
    dxs = target.ops.concatenate_backward(dy, sizes, axis)
    assert len(dxs) == len(xs)
    for dx, expected_dx in zip(dxs, expected_dxs):
        target.check(dx, expected_dx)


@gradient_cases
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    count=st.integers(1, 4),
    broadcast=st.booleans(),
    ties=st.booleans(),
    seed=seeds,
)
def test_merges_equal_tensorflow(
    target: Target, shape: tuple[int, ...], count: int, broadcast: bool, ties: bool, seed: int
) -> None:
    """Products, also of zeros; the largest and the smallest, of equal ones the first."""
    draw = target.few_values if ties else target.normal
    xs = [draw(seed + i, *shape) for i in range(count)]
    if broadcast:
        xs[0] = xs[0][:, :1].copy()
    merges = {
        "multiply": (tf.multiply, lambda dy, y: target.ops.multiply_backward(dy, xs)),
        "maximum": (tf.maximum, lambda dy, y: target.ops.chosen_backward(dy, xs, y)),
        "minimum": (tf.minimum, lambda dy, y: target.ops.chosen_backward(dy, xs, y)),
    }
    for name, (merge, backward) in merges.items():
        expected, dy, expected_grads = forward_and_gradients(
            lambda *xs, merge=merge: functools.reduce(merge, xs), xs, seed + 9, target
        )
        y = getattr(target.ops, f"{name}_forward")(xs)
        target.check(y, expected)
        for x, grad, expected_grad in zip(xs, backward(dy, y), expected_grads, strict=True):
            summed = grad if x.shape == grad.shape else grad.sum(axis=1, keepdims=True)
            target.check(summed, expected_grad, scale=float(np.abs(dy).max()))


@gradient_cases
@given(N=st.integers(1, 3), rows=st.integers(1, 4), J=st.integers(1, 4), K=st.integers(1, 5), seed=seeds)
def test_batch_dot_equals_tensorflow(target: Target, N: int, rows: int, J: int, K: int, seed: int) -> None:
    a, b = target.normal(seed, N, rows, K), target.normal(seed + 1, N, J, K)
    expected, dy, expected_grads = forward_and_gradients(lambda a, b: tf.einsum("nik,njk->nij", a, b), [a, b], seed + 2, target)
    target.check(target.ops.batch_dot_forward(a, b), expected)
    for grad, expected_grad in zip(target.ops.batch_dot_backward(dy, a, b), expected_grads, strict=True):
        target.check(grad, expected_grad)


@gradient_cases
@given(shape=st.tuples(*[st.integers(1, 4)] * 4), shared=st.tuples(*[st.booleans()] * 3), seed=seeds)
def test_prelu_equals_tensorflow(target: Target, shape: tuple[int, ...], shared: tuple[bool, ...], seed: int) -> None:
    x = target.normal(seed, *shape)
    alpha = target.normal(seed + 1, *(1 if same else size for size, same in zip(shape[1:], shared)))
    expected, dy, expected_grads = forward_and_gradients(
        lambda x, alpha: tf.nn.relu(x) - alpha * tf.nn.relu(-x), [x, alpha], seed + 2, target
    )
    target.check(target.ops.prelu_forward(x, alpha), expected)
    for grad, expected_grad in zip(target.ops.prelu_backward(dy, x, alpha), expected_grads, strict=True):
        target.check(grad, expected_grad, scale=float(np.abs(dy).max()))
