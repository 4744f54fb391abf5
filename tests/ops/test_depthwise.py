"""Depthwise convolution against TensorFlow's convolution of groups, its own depthwise one, and its adjoints."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu._channelwise import MOST
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.numba_cpu.depthwise import TASK_ROWS
from minicnn.backends.types import window_over
from tests.ops.checks import Target, around, check_adjoint, forward_and_gradients, gradient_cases, seeds, update_cases
from tests.ops.test_conv import grouped, tf_conv2d
from tests.ops.windows import Windows, channels, windows


@gradient_cases
@given(
    case=windows(dilated=True),
    C=channels,
    M=st.sampled_from([1, 1, 2, 3]),
    with_bias=st.booleans(),
    relu=st.booleans(),
    seed=seeds,
)
def test_depthwise_equals_tensorflow(
    target: Target, case: Windows, C: int, M: int, with_bias: bool, relu: bool, seed: int
) -> None:
    check_against_tensorflow(target, case, C, M, with_bias, relu, seed)


def check_against_tensorflow(target: Target, case: Windows, C: int, M: int, with_bias: bool, relu: bool, seed: int) -> None:
    """Against one convolution of all channels, with zeros between them: TensorFlow's own takes square strides alone, and
    has no gradient of a dilated one on a CPU."""
    ops, window = target.ops, case.geometry()
    x, kernel = target.normal(seed, case.batch, *case.image, C), target.normal(seed + 1, *case.window, C, M)
    bias = target.normal(seed + 2, C * M) if with_bias else None
    inputs = [x, kernel] if bias is None else [x, kernel, bias]
    convolve = grouped(tf_conv2d(case), C)

    def depthwise(x, kernel, bias=None):
        z = convolve(x, tf.reshape(kernel, (*case.window, 1, C * M)), bias)
        return tf.nn.relu(z) if relu else z

    expected, dy, gradients = forward_and_gradients(depthwise, inputs, seed + 3, target)
    y = ops.depthwise_conv2d_forward(x, kernel, bias, window, relu)
    target.check(y, expected)
    dx, dkernel, dbias = ops.depthwise_conv2d_backward(dy, x, kernel, window, y if relu else None)
    target.check(dx, gradients[0])
    target.check(dkernel, gradients[1])
    dz = dy * (y > 0) if relu else dy
    target.check(dbias, dz.sum(axis=(0, 1, 2)) if bias is None else gradients[2])
    none, dkernel_alone, _ = ops.depthwise_conv2d_backward(dy, x, kernel, window, y if relu else None, need_dx=False)
    assert none is None
    np.testing.assert_array_equal(dkernel_alone, dkernel)


@pytest.mark.parametrize("width", around(MOST))
@pytest.mark.parametrize(("C", "size", "stride"), [(NR, 7, 1), (2 * NR + 3, 3, 2)])
def test_depthwise_of_many_pixels_equals_tensorflow(target: Target, width: int, C: int, size: int, stride: int) -> None:
    """Around as many as a tile has, wide and high; more rows than one task's, and of some sums the rows of two images."""
    for batch, image in ((2, (9, width)), (3, (TASK_ROWS + 5, width // 2 + 1))):
        x, kernel = target.normal(width, batch, *image, C), target.normal(1, size, size, C, 1)
        expected, dy, gradients = forward_and_gradients(
            lambda x, kernel: tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME"), [x, kernel], 2, target
        )
        window = window_over(image, (size, size), (stride, stride), "same")
        target.check(target.ops.depthwise_conv2d_forward(x, kernel, None, window), expected)
        dx, dkernel, _ = target.ops.depthwise_conv2d_backward(dy, x, kernel, window)
        target.check(dx, gradients[0])
        target.check(dkernel, gradients[1])


@update_cases
@given(case=windows(dilated=True), C=channels, M=st.integers(1, 2), seed=seeds)
def test_depthwise_gradients_are_adjoints(target: Target, case: Windows, C: int, M: int, seed: int) -> None:
    ops, window = target.ops, case.geometry()
    x, kernel = target.normal(seed, case.batch, *case.image, C), target.normal(seed + 1, *case.window, C, M)
    y = ops.depthwise_conv2d_forward(x, kernel, None, window)
    dy = target.normal(seed + 2, *y.shape)
    dx, dkernel, _ = ops.depthwise_conv2d_backward(dy, x, kernel, window)
    check_adjoint(y, dy, x, dx, target)
    check_adjoint(y, dy, kernel, dkernel, target)


def test_depthwise_of_no_images(target: Target) -> None:
    x, kernel = target.normal(0, 0, 5, 6, 4), target.normal(1, 3, 3, 4, 2)
    window = window_over((5, 6), (3, 3), (1, 1), "same")
    y = target.ops.depthwise_conv2d_forward(x, kernel, None, window)
    assert y.shape == (0, 5, 6, 8)
    dx, dkernel, dbias = target.ops.depthwise_conv2d_backward(y, x, kernel, window)
    assert dx.shape == x.shape
    target.check(dkernel, np.zeros(kernel.shape))
    target.check(dbias, np.zeros(8))


def test_depthwise_mixes_no_channels_and_hides_no_nan(target: Target) -> None:
    """A NaN reaches the windows over it, in its own channel, past a ReLU too; nothing beyond the last channel is touched."""
    x, kernel = target.normal(0, 1, 6, 7, 5), target.normal(1, 3, 3, 5, 1)
    x[0, 2, 3, 1] = np.nan
    y = target.ops.depthwise_conv2d_forward(x, kernel, None, window_over((6, 7), (3, 3), (1, 1), "same"), True)
    expected = np.zeros(y.shape, bool)
    expected[0, 1:4, 2:5, 1] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


def test_depthwise_leaves_its_arguments_alone(target: Target) -> None:
    x, kernel, bias, dy = (target.normal(i, *shape) for i, shape in enumerate([(2, 6, 6, 3), (3, 3, 3, 1), (3,), (2, 6, 6, 3)]))
    before = [array.copy() for array in (x, kernel, bias, dy)]
    same = window_over((6, 6), (3, 3), (1, 1), "same")
    y = target.ops.depthwise_conv2d_forward(x, kernel, bias, same, True)
    target.ops.depthwise_conv2d_backward(dy, x, kernel, same, y)
    for array, copy in zip((x, kernel, bias, dy), before):
        np.testing.assert_array_equal(array, copy)
