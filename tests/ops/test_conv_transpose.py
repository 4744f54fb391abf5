"""Transposed convolution against TensorFlow's gradient of a convolution, and its own adjoints."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.types import window_over
from tests.ops.checks import Target, check_adjoint, dot, forward_and_gradients, gradient_cases, seeds, update_cases
from tests.ops.test_conv import tf_conv2d
from tests.ops.windows import Windows, channels, windows


def tf_conv2d_transpose(case: Windows, relu: bool):
    """The gradient at the image of `tf_conv2d`, which does not depend on the image: it is linear."""
    convolve = tf_conv2d(case)

    def spread(x, kernel, bias=None):
        image = tf.zeros((case.batch, *case.image, kernel.shape[2]), x.dtype)
        with tf.GradientTape() as tape:
            tape.watch(image)
            places = convolve(image, kernel)
        z = tape.gradient(places, image, output_gradients=x)
        z = z if bias is None else tf.nn.bias_add(z, bias)
        return tf.nn.relu(z) if relu else z

    return spread


@gradient_cases
@given(case=windows(dilated=True), C_in=channels, C_out=channels, with_bias=st.booleans(), relu=st.booleans(), seed=seeds)
def test_conv2d_transpose_equals_tensorflow(
    target: Target, case: Windows, C_in: int, C_out: int, with_bias: bool, relu: bool, seed: int
) -> None:
    check_against_tensorflow(target, case, C_in, C_out, with_bias, relu, seed)


def check_against_tensorflow(
    target: Target, case: Windows, C_in: int, C_out: int, with_bias: bool, relu: bool, seed: int
) -> None:
    ops, window = target.ops, case.geometry()
    x = target.normal(seed, case.batch, *window.output, C_in)
    kernel = target.normal(seed + 1, *case.window, C_out, C_in)
    bias = target.normal(seed + 2, C_out) if with_bias else None
    inputs = [x, kernel] if bias is None else [x, kernel, bias]
    expected, dy, gradients = forward_and_gradients(tf_conv2d_transpose(case, relu), inputs, seed + 3, target)

    y = ops.conv2d_transpose_forward(x, kernel, bias, window, case.image, relu)
    target.check(y, expected)
    dx, dkernel, dbias = ops.conv2d_transpose_backward(dy, x, kernel, window, y if relu else None)
    target.check(dx, gradients[0])
    target.check(dkernel, gradients[1])
    dz = dy * (y > 0) if relu else dy
    target.check(dbias, dz.sum(axis=(0, 1, 2)) if bias is None else gradients[2])
    assert ops.conv2d_transpose_backward(dy, x, kernel, window, y if relu else None, need_dx=False)[0] is None


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("size", "stride", "image"), [(2, 2, (8, 6)), (2, 2, (9, 7)), (4, 2, (8, 8)), (3, 1, (9, 8)), (3, 3, (12, 9))]
)
def test_conv2d_transpose_of_many_channels(target: Target, size: int, stride: int, image: tuple[int, int], relu: bool) -> None:
    """Several blocks of channels; without overlap, with it, and without a stride (Winograd's, where there are enough)."""
    window = window_over(image, (size, size), (stride, stride), "same" if size != stride else "valid")
    case = Windows(3, image, window.size, window.strides, (1, 1), "explicit", window.pads)
    check_against_tensorflow(target, case, NR + 1, 2 * NR + 3, True, relu, size)


@pytest.mark.parametrize("relu", [False, True])
def test_places_overlap_where_a_window_as_large_as_its_stride_is_dilated(target: Target, relu: bool) -> None:
    check_against_tensorflow(target, Windows(2, (6, 4), (2, 2), (2, 2), (2, 2), "explicit", (1, 0, 1, 0)), 3, 5, True, relu, 0)


@pytest.mark.parametrize("side", range(4))
def test_pads_wider_than_the_kernel_cut_the_result(target: Target, side: int) -> None:
    """At one side: it is no convolution with the kernel turned round, whose pads would be negative there."""
    pads = tuple(3 if i == side else 0 for i in range(4))
    check_against_tensorflow(target, Windows(2, (6, 5), (2, 2), (1, 1), (1, 1), "explicit", pads), 9, NR + 1, True, False, side)


@update_cases
@given(case=windows(dilated=True), C_in=channels, C_out=channels, seed=seeds)
def test_it_is_the_adjoint_of_the_convolution(target: Target, case: Windows, C_in: int, C_out: int, seed: int) -> None:
    ops, window = target.ops, case.geometry()
    image = target.normal(seed, case.batch, *case.image, C_out)
    kernel = target.normal(seed + 1, *case.window, C_out, C_in)
    places, _ = ops.conv2d_forward(image, kernel, None, window)
    x = target.normal(seed + 2, *places.shape)
    y = ops.conv2d_transpose_forward(x, kernel, None, window, case.image)
    check_adjoint(places, x, image, y, target)
    dy = target.normal(seed + 3, *y.shape)
    dx, dkernel, _ = ops.conv2d_transpose_backward(dy, x, kernel, window)
    check_adjoint(y, dy, x, dx, target)
    check_adjoint(y, dy, kernel, dkernel, target)
    assert np.isfinite(dot(dx, x))


def test_conv2d_transpose_of_no_images(target: Target) -> None:
    x, kernel = target.normal(0, 0, 3, 2, 4), target.normal(1, 3, 3, 6, 4)
    window = window_over((6, 4), (3, 3), (2, 2), "same")
    y = target.ops.conv2d_transpose_forward(x, kernel, None, window, (6, 4))
    assert y.shape == (0, 6, 4, 6)
    dx, dkernel, dbias = target.ops.conv2d_transpose_backward(y, x, kernel, window)
    assert dx.shape == x.shape
    target.check(dkernel, np.zeros(kernel.shape))
    target.check(dbias, np.zeros(6))


@pytest.mark.parametrize("stride", [1, 2])
def test_nan_pixel_spreads_over_its_own_window(target: Target, stride: int) -> None:
    image = (4 * stride, 5 * stride)
    window = window_over(image, (3, 3), (stride, stride), "same")
    x, kernel = target.normal(0, 1, 4, 5, 3), target.normal(1, 3, 3, 2, 3)
    x[0, 1, 2, 1] = np.nan
    y = target.ops.conv2d_transpose_forward(x, kernel, None, window, image, True)
    expected = np.zeros(y.shape, bool)
    top, left = stride - window.pads[0], 2 * stride - window.pads[2]
    expected[0, top : top + 3, left : left + 3] = True
    np.testing.assert_array_equal(np.isnan(y), expected)
