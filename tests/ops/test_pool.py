"""Pooling against TensorFlow, and its own adjoints."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.types import window_over
from tests.ops.checks import Target, check_adjoint, forward_and_gradients, gradient_cases, seeds
from tests.ops.windows import Windows, channels, windows

pool_windows = windows(pads_below_window=True)


def padded(x, pads, value):
    top, bottom, left, right = pads
    return tf.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=value)


def tf_maxpool2d(case: Windows):
    def pool(x):
        if case.padding == "same":
            return tf.nn.max_pool2d(x, case.window, case.strides, "SAME")
        return tf.nn.max_pool2d(padded(x, case.pads, x.dtype.min), case.window, case.strides, "VALID")

    return pool


def tf_avgpool2d(case: Windows):
    def pool(x):
        if case.padding == "same":
            return tf.nn.avg_pool2d(x, case.window, case.strides, "SAME")
        # mean over the real pixels = mean over the window / share of real pixels in it
        mean = tf.nn.avg_pool2d(padded(x, case.pads, 0), case.window, case.strides, "VALID")
        return mean / tf.nn.avg_pool2d(padded(tf.ones_like(x), case.pads, 0), case.window, case.strides, "VALID")

    return pool


@gradient_cases
@given(case=pool_windows, C=channels, ties=st.booleans(), seed=seeds)
def test_maxpool2d_equals_tensorflow(target: Target, case: Windows, C: int, ties: bool, seed: int) -> None:
    """Where several pixels tie, TensorFlow's gradient goes to the first of them, row by row; so does ours."""
    shape = (case.batch, *case.image, C)
    x = target.few_values(seed, *shape) if ties else target.normal(seed, *shape)
    expected, dy, (expected_dx,) = forward_and_gradients(tf_maxpool2d(case), [x], seed + 1, target)
    y, argmax = target.ops.maxpool2d_forward(x, case.geometry())
    target.check(y, expected)
    assert argmax.dtype == np.uint8
    assert argmax.shape == y.shape
    target.check(target.ops.maxpool2d_backward(dy, argmax, x.shape, case.geometry()), expected_dx)


@pytest.mark.parametrize("window", [(16, 16), (1, 257), (257, 1), (17, 17)])
def test_argmax_of_windows_of_more_than_256_taps_is_int32(target: Target, window: tuple[int, int]) -> None:
    """Also the last of them, which wins in one channel."""
    x = target.normal(0, 2, *window, 3)
    x[:, -1, -1, 0] = 10
    once = window_over(window, window, (1, 1), "valid")
    y, argmax = target.ops.maxpool2d_forward(x, once)
    assert argmax.dtype == (np.uint8 if window == (16, 16) else np.int32)
    np.testing.assert_array_equal(argmax[:, 0, 0], x.reshape(2, -1, 3).argmax(axis=1))
    dx = target.ops.maxpool2d_backward(y, argmax, x.shape, once)
    np.testing.assert_array_equal(dx, np.where(x == y, x, 0))


@pytest.mark.parametrize(
    ("image", "pads"),
    [*[(image, (0, 0, 0, 0)) for image in ((4, 4), (4, 5), (5, 4), (5, 5))], ((4, 4), (1, 0, 0, 0)), ((4, 4), (0, 0, 1, 0))],
)
def test_pixels_under_no_window_get_no_gradient(
    target: Target, image: tuple[int, int], pads: tuple[int, int, int, int]
) -> None:
    """Nor where windows moved by padding leave as many pixels over as they cover of that."""
    case = Windows(2, image, (2, 2), (2, 2), (1, 1), "explicit", pads)
    x = target.normal(0, 2, *image, 3)
    _, dy, (expected_dx,) = forward_and_gradients(tf_maxpool2d(case), [x], 1, target)
    _, argmax = target.ops.maxpool2d_forward(x, case.geometry())
    target.check(target.ops.maxpool2d_backward(dy, argmax, x.shape, case.geometry()), expected_dx)


def test_padding_never_wins(target: Target) -> None:
    """Not against negative pixels, nor against minus infinity."""
    dy, window = target.normal(0, 1, 2, 2, 1), window_over((2, 2), (2, 2), (2, 2), (1, 1, 1, 1))
    for value in (-1.0, -np.inf):
        x = np.full((1, 2, 2, 1), value, target.dtype)
        y, argmax = target.ops.maxpool2d_forward(x, window)
        np.testing.assert_array_equal(y, x)
        # Each window holds one real pixel, in the corner that points inwards.
        np.testing.assert_array_equal(argmax.ravel(), [3, 2, 1, 0])
        np.testing.assert_array_equal(target.ops.maxpool2d_backward(dy, argmax, x.shape, window), dy)


def each_window(case: Windows, output: tuple[int, int]) -> Iterator[tuple[int, int, slice, slice, int, int]]:
    """Its place in the output, its rows and columns on the image, and how many of its own lie above and left of that."""
    (KH, KW), (SH, SW), (top, _, left, _) = case.window, case.strides, case.pads
    H, W = case.image
    for oy, ox in np.ndindex(output):
        h, w = oy * SH - top, ox * SW - left
        rows, columns = slice(max(h, 0), max(min(h + KH, H), 0)), slice(max(w, 0), max(min(w + KW, W), 0))
        yield oy, ox, rows, columns, rows.start - h, columns.start - w


def with_nans(x: np.ndarray, seed: int) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(x.shape) < 0.2, x.dtype.type(np.nan), x)


@gradient_cases
@given(case=windows(), C=channels, seed=seeds)
def test_maxpool2d_by_hand(target: Target, case: Windows, C: int, seed: int) -> None:
    """NaNs win, of several the first; windows on padding alone are -inf and pass no gradient: as the reference has it.

    TensorFlow passes over NaNs here and refuses such padding; NumPy's max and argmax are what the reference asks for.
    """
    x = with_nans(target.few_values(seed, case.batch, *case.image, C), seed + 1)
    y, argmax = target.ops.maxpool2d_forward(x, case.geometry())
    dy = target.normal(seed + 2, *y.shape)
    dx = target.ops.maxpool2d_backward(dy, argmax, x.shape, case.geometry())
    expected, places, expected_dx = np.full_like(y, -np.inf), np.zeros(y.shape, int), np.zeros_like(x)
    for oy, ox, rows, columns, above, before in each_window(case, y.shape[1:3]):
        pixels = x[:, rows, columns]
        if pixels.size:
            first = pixels.reshape(case.batch, -1, C).argmax(axis=1)
            ky, kx = np.divmod(first, pixels.shape[2])
            expected[:, oy, ox] = pixels.max(axis=(1, 2))
            places[:, oy, ox] = (ky + above) * case.window[1] + kx + before
            n, c = np.ogrid[: case.batch, :C]
            expected_dx[n, rows.start + ky, columns.start + kx, c] += dy[:, oy, ox]
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(argmax, places)
    target.check(dx, expected_dx)


@gradient_cases
@given(case=windows(), C=channels, seed=seeds)
def test_avgpool2d_by_hand(target: Target, case: Windows, C: int, seed: int) -> None:
    """Windows on padding alone, too, which TensorFlow does not have: their mean is 0."""
    x = target.normal(seed, case.batch, *case.image, C)
    y = target.ops.avgpool2d_forward(x, case.geometry())
    dy = target.normal(seed + 1, *y.shape)
    expected, expected_dx = np.zeros_like(y), np.zeros_like(x)
    for oy, ox, rows, columns, _, _ in each_window(case, y.shape[1:3]):
        pixels = x[:, rows, columns]
        if pixels.size:
            expected[:, oy, ox] = pixels.mean(axis=(1, 2))
            expected_dx[:, rows, columns] += dy[:, oy : oy + 1, ox : ox + 1] / (pixels.shape[1] * pixels.shape[2])
    target.check(y, expected)
    target.check(target.ops.avgpool2d_backward(dy, x.shape, case.geometry()), expected_dx)


@gradient_cases
@given(case=pool_windows, C=channels, seed=seeds)
def test_avgpool2d_equals_tensorflow(target: Target, case: Windows, C: int, seed: int) -> None:
    """At SAME borders the mean is over real pixels only, as TensorFlow's."""
    x = target.normal(seed, case.batch, *case.image, C)
    expected, dy, (expected_dx,) = forward_and_gradients(tf_avgpool2d(case), [x], seed + 1, target)
    target.check(target.ops.avgpool2d_forward(x, case.geometry()), expected)
    target.check(target.ops.avgpool2d_backward(dy, x.shape, case.geometry()), expected_dx)


@gradient_cases
@given(case=pool_windows, C=channels, seed=seeds)
def test_pool_gradients_are_adjoints(target: Target, case: Windows, C: int, seed: int) -> None:
    """Average pooling is linear; so is max pooling once its pixels are chosen."""
    ops, window = target.ops, case.geometry()
    x = target.normal(seed, case.batch, *case.image, C)
    y = ops.avgpool2d_forward(x, window)
    dy = target.normal(seed + 1, *y.shape)
    check_adjoint(y, dy, x, ops.avgpool2d_backward(dy, x.shape, window), target)
    y, argmax = ops.maxpool2d_forward(x, window)
    check_adjoint(y, dy, x, ops.maxpool2d_backward(dy, argmax, x.shape, window), target)


def whole_image(shape: tuple[int, ...]) -> Windows:
    return Windows(shape[0], shape[1:3], shape[1:3], (1, 1), (1, 1), "valid", (0, 0, 0, 0))


image_shapes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), channels)


@gradient_cases
@given(shape=image_shapes, ties=st.booleans(), seed=seeds)
def test_global_maxpool2d_equals_tensorflow(target: Target, shape: tuple[int, ...], ties: bool, seed: int) -> None:
    """TensorFlow's max pooling with a window as large as the image (`reduce_max` splits dy between ties)."""
    x = target.few_values(seed, *shape) if ties else target.normal(seed, *shape)
    pool = tf_maxpool2d(whole_image(shape))
    expected, dy, (expected_dx,) = forward_and_gradients(lambda x: pool(x)[:, 0, 0, :], [x], seed + 1, target)
    y, argmax = target.ops.global_maxpool2d_forward(x)
    target.check(y, expected)
    assert argmax.dtype == np.int32
    dx = target.ops.global_maxpool2d_backward(dy, argmax, x.shape)
    target.check(dx, expected_dx)
    check_adjoint(y, dy, x, dx, target)


@gradient_cases
@given(shape=image_shapes, seed=seeds)
def test_global_maxpool2d_takes_a_nan_for_the_largest(target: Target, shape: tuple[int, ...], seed: int) -> None:
    """As TensorFlow's `reduce_max`; of several the first, as NumPy's `argmax`."""
    x = with_nans(target.few_values(seed, *shape), seed + 1)
    y, argmax = target.ops.global_maxpool2d_forward(x)
    target.check(y, tf.reduce_max(x, (1, 2)))
    np.testing.assert_array_equal(argmax, x.reshape(shape[0], -1, shape[3]).argmax(axis=1))


@gradient_cases
@given(shape=image_shapes, seed=seeds)
def test_global_avgpool2d_equals_tensorflow(target: Target, shape: tuple[int, ...], seed: int) -> None:
    x = target.normal(seed, *shape)
    expected, dy, (expected_dx,) = forward_and_gradients(lambda x: tf.reduce_mean(x, (1, 2)), [x], seed + 1, target)
    y = target.ops.global_avgpool2d_forward(x)
    target.check(y, expected)
    dx = target.ops.global_avgpool2d_backward(dy, x.shape)
    target.check(dx, expected_dx)
    check_adjoint(y, dy, x, dx, target)


@gradient_cases
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 4)),
    output=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=seeds,
)
def test_adaptive_pooling_equals_its_formula(
    target: Target, shape: tuple[int, ...], output: tuple[int, int], seed: int
) -> None:
    """Also more windows than pixels, which then are windows of one pixel, some of them twice."""
    N, H, W, C = shape
    x = target.normal(seed, *shape)
    dy = target.normal(seed + 1, N, *output, C)
    mean, dmean = np.zeros(dy.shape), np.zeros(shape)
    largest, dlargest = np.zeros(dy.shape), np.zeros(shape)
    for oy, ox in np.ndindex(*output):
        rows = slice(math.floor(oy * H / output[0]), math.ceil((oy + 1) * H / output[0]))
        columns = slice(math.floor(ox * W / output[1]), math.ceil((ox + 1) * W / output[1]))
        window = x[:, rows, columns]
        mean[:, oy, ox], largest[:, oy, ox] = window.mean(axis=(1, 2)), window.max(axis=(1, 2))
        dmean[:, rows, columns] += dy[:, None, None, oy, ox] / (window.shape[1] * window.shape[2])
        for n, c in np.ndindex(N, C):
            row, column = np.argwhere(window[n, :, :, c] == largest[n, oy, ox, c])[0]
            dlargest[n, rows.start + row, columns.start + column, c] += dy[n, oy, ox, c]
    ops = target.ops
    target.check(ops.adaptive_avgpool2d_forward(x, output), mean)
    target.check(ops.adaptive_avgpool2d_backward(dy, shape), dmean)
    y, argmax = ops.adaptive_maxpool2d_forward(x, output)
    target.check(y, largest)
    target.check(ops.adaptive_maxpool2d_backward(dy, argmax, shape), dlargest)
    check_adjoint(mean, dy, x, dmean, target)
