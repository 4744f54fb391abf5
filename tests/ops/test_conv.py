"""Convolution against TensorFlow, a naive loop, and its own adjoints."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.memory import Arena
from minicnn.backends.numba_cpu import _microkernel, pointwise
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.numba_cpu.conv import BAND_BYTES, FEW_PIXELS, MANY_CHANNELS
from minicnn.backends.types import window_over
from minicnn.shapes import resolve_padding
from tests.ops.checks import MANY_IMAGES, Target, around, check_adjoint, forward_and_gradients, gradient_cases, seeds
from tests.ops.windows import Windows, channels, windows


def tf_conv2d(case: Windows):
    """TensorFlow's convolution, with its own SAME; a dilated kernel is a kernel with zeros in between.

    (TensorFlow has no gradient of a dilated convolution on a CPU. A single channel gets one of zeros beside it, for it
    meets an error of TensorFlow's: with a stride across alone and an output one pixel wide, all rows but the first are
    what the memory held.)
    """
    (KH, KW), (DH, DW), (top, bottom, left, right) = case.window, case.dilation, case.pads

    def convolve(x, kernel, bias=None):
        rows, cols = DH * np.arange(KH), DW * np.arange(KW)
        places = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)
        reach = ((KH - 1) * DH + 1, (KW - 1) * DW + 1)
        stretched = tf.scatter_nd(places, kernel, (*reach, *kernel.shape[2:])) if case.dilation != (1, 1) else kernel
        if x.shape[3] == 1:
            x = tf.pad(x, [(0, 0), (0, 0), (0, 0), (0, 1)])
            stretched = tf.pad(stretched, [(0, 0), (0, 0), (0, 1), (0, 0)])
        if case.padding == "same":
            y = tf.nn.conv2d(x, stretched, case.strides, "SAME")
        else:
            padded = tf.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
            y = tf.nn.conv2d(padded, stretched, case.strides, "VALID")
        return y if bias is None else tf.nn.bias_add(y, bias)

    return convolve


def grouped(convolve: Callable[..., Any], groups: int) -> Callable[..., Any]:
    """A convolution of groups as one of all channels, whose weights between groups are zeros.

    (TensorFlow has no gradient of a grouped one on a CPU.)
    """

    def convolve_groups(x, kernel, bias=None):
        inputs = x.shape[3] // groups
        blocks = [
            tf.pad(block, [(0, 0), (0, 0), (group * inputs, (groups - 1 - group) * inputs), (0, 0)])
            for group, block in enumerate(tf.split(kernel, groups, axis=3))
        ]
        return convolve(x, tf.concat(blocks, axis=3), bias)

    return convolve_groups


@gradient_cases
@given(case=windows(), C_in=channels, C_out=channels, with_bias=st.booleans(), seed=seeds)
def test_conv2d_equals_tensorflow(target: Target, case: Windows, C_in: int, C_out: int, with_bias: bool, seed: int) -> None:
    check_against_tensorflow(target, case, C_in, C_out, with_bias, seed)


@gradient_cases
@given(case=windows(dilated=True), C_in=channels, C_out=channels, with_bias=st.booleans(), seed=seeds)
def test_dilated_conv2d_equals_tensorflow(
    target: Target, case: Windows, C_in: int, C_out: int, with_bias: bool, seed: int
) -> None:
    check_against_tensorflow(target, case, C_in, C_out, with_bias, seed)


@gradient_cases
@given(
    case=windows(dilated=True),
    groups=st.sampled_from([2, 3]),
    inputs=st.sampled_from([1, 2, 5]),
    outputs=st.sampled_from([1, 3, 8]),
    with_bias=st.booleans(),
    seed=seeds,
)
def test_grouped_conv2d_equals_tensorflow(
    target: Target, case: Windows, groups: int, inputs: int, outputs: int, with_bias: bool, seed: int
) -> None:
    check_against_tensorflow(target, case, groups * inputs, groups * outputs, with_bias, seed, groups)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_conv2d_equals_tensorflow(target: Target, multiplier: int) -> None:
    """As many groups as channels: TensorFlow's own depthwise convolution, whose kernel is (KH, KW, C, multiplier)."""
    C = 5
    x, kernel = target.normal(0, 2, 7, 6, C), target.normal(1, 3, 2, 1, C * multiplier)
    case = Windows(2, (7, 6), (3, 2), (1, 1), (1, 1), "valid", (0, 0, 0, 0))

    def depthwise(x, kernel):
        return tf.nn.depthwise_conv2d(x, tf.reshape(kernel, (3, 2, C, multiplier)), (1, 1, 1, 1), "VALID")

    expected, dy, gradients = forward_and_gradients(depthwise, [x, kernel], 2, target)
    window = case.geometry(groups=C)
    target.check(target.ops.conv2d_forward(x, kernel, None, window)[0], expected)
    dx, dkernel, _ = target.ops.conv2d_backward(dy, x, kernel, window)
    target.check(dx, gradients[0])
    target.check(dkernel, gradients[1])


def check_against_tensorflow(
    target: Target, case: Windows, C_in: int, C_out: int, with_bias: bool, seed: int, groups: int = 1
) -> None:
    ops, window = target.ops, case.geometry(groups)
    x = target.normal(seed, case.batch, *case.image, C_in)
    kernel = target.normal(seed + 1, *case.window, C_in // groups, C_out)
    bias = target.normal(seed + 2, C_out) if with_bias else None
    inputs = [x, kernel] if bias is None else [x, kernel, bias]
    convolve = tf_conv2d(case) if groups == 1 else grouped(tf_conv2d(case), groups)
    expected, dy, gradients = forward_and_gradients(convolve, inputs, seed + 3, target)

    y, argmax = ops.conv2d_forward(x, kernel, bias, window)
    target.check(y, expected)
    assert argmax is None
    dx, dkernel, dbias = ops.conv2d_backward(dy, x, kernel, window)
    target.check(dx, gradients[0])
    target.check(dkernel, gradients[1])
    target.check(dbias, tf.reduce_sum(dy, axis=(0, 1, 2)) if bias is None else gradients[2])


@gradient_cases
@given(case=windows(dilated=True), C_in=channels, C_out=channels, seed=seeds)
def test_conv2d_gradients_are_adjoints(target: Target, case: Windows, C_in: int, C_out: int, seed: int) -> None:
    ops, window = target.ops, case.geometry()
    x = target.normal(seed, case.batch, *case.image, C_in)
    kernel = target.normal(seed + 1, *case.window, C_in, C_out)
    y, _ = ops.conv2d_forward(x, kernel, None, window)
    dy = target.normal(seed + 2, *y.shape)
    dx, dkernel, _ = ops.conv2d_backward(dy, x, kernel, window)
    check_adjoint(y, dy, x, dx, target)
    check_adjoint(y, dy, kernel, dkernel, target)


@gradient_cases
@given(case=windows(dilated=True), seed=seeds)
def test_conv2d_equals_its_definition(target: Target, case: Windows, seed: int) -> None:
    """The seven loops of the formula; strides and dilations above 1 together, which TensorFlow refuses."""
    x = target.normal(seed, 1, *case.image, 2)
    kernel = target.normal(seed + 1, *case.window, 2, 3)
    actual, _ = target.ops.conv2d_forward(x, kernel, None, case.geometry())
    (SH, SW), (top, _, left, _), (DH, DW) = case.strides, case.pads, case.dilation
    _, H, W, _ = x.shape
    KH, KW, _, _ = kernel.shape
    y = np.zeros(actual.shape)
    for oy, ox, ky, kx in product(range(y.shape[1]), range(y.shape[2]), range(KH), range(KW)):
        h, w = oy * SH + ky * DH - top, ox * SW + kx * DW - left
        if 0 <= h < H and 0 <= w < W:
            for ci, co in product(range(2), range(3)):
                y[0, oy, ox, co] += float(x[0, h, w, ci]) * float(kernel[ky, kx, ci, co])
    target.check(actual, y)


@pytest.mark.parametrize("batch", MANY_IMAGES)
def test_conv2d_of_many_images_equals_tensorflow(target: Target, batch: int) -> None:
    """Images around as many as are summed apart in the kernel's gradient."""
    case = Windows(batch, (5, 6), (2, 3), (1, 1), (1, 1), "same", resolve_padding("same", (5, 6), (2, 3), (1, 1)))
    check_against_tensorflow(target, case, 3, 4, True, batch)


@pytest.mark.parametrize("pixels", [*around(FEW_PIXELS), 2 * BAND_BYTES // (4 * NR) + 3])
def test_conv2d_of_many_pixels_equals_tensorflow(target: Target, pixels: int) -> None:
    """Around as many as make it worth copying the kernel, and more than a task's band of the image holds."""
    case = Windows(1, (pixels + 1, 1), (2, 1), (1, 1), (1, 1), "valid", (0, 0, 0, 0))
    check_against_tensorflow(target, case, NR, NR, True, pixels)


@pytest.mark.parametrize(("batch", "strides"), [(1, (1, 1)), (2, (1, 1)), (2, (1, 2)), (2, (2, 1))])
def test_conv2d_of_single_pixels_equals_tensorflow(target: Target, batch: int, strides: tuple[int, int]) -> None:
    """A dense layer over pixels, of so few and so many that its gradients take other ways; and over some of them."""
    case = Windows(batch, (pointwise.FEWEST // 16, 9), (1, 1), strides, (1, 1), "valid", (0, 0, 0, 0))
    check_against_tensorflow(target, case, MANY_CHANNELS, 3, True, batch)


@pytest.mark.parametrize("C_out", [NR - 1, NR, 2 * NR])
@pytest.mark.parametrize(("size", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((2, 3), (1, 2))])
def test_results_stored_around_the_caches_are_the_same(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], dilation: tuple[int, int], C_out: int
) -> None:
    """As those are that are too large to be kept: here all of them, with rows of whole lines and with others."""
    target = Target("numba", "float32")
    for groups in (1, 2):
        case = Windows(2, (pointwise.FEWEST // 16, 9), size, (1, 1), dilation, "valid", (0, 0, 0, 0))
        x = target.normal(0, 2, *case.image, groups * MANY_CHANNELS)
        kernel = target.normal(1, *size, MANY_CHANNELS, groups * C_out)
        window = window_over(case.image, size, (1, 1), "valid", dilation, groups)

        def results(window: Any = window, x: Any = x, kernel: Any = kernel, groups: int = groups) -> list[np.ndarray]:
            with Arena():  # whose memory begins at whole lines
                y = target.ops.conv2d_forward(x, kernel, None, window, True)[0]
                assert groups == 2 or y.ctypes.data % 64 == 0
                return [y, *target.ops.conv2d_backward(y - 1, x, kernel, window)]

        kept = results()
        monkeypatch.setattr(_microkernel, "STREAMED", 0)
        monkeypatch.setattr(_microkernel, "LONG_SUM", 0)
        streamed = results()
        monkeypatch.undo()
        for one, other in zip(kept, streamed, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d_of_no_images(target: Target, groups: int) -> None:
    x, kernel = target.normal(0, 0, 5, 6, 4), target.normal(1, 3, 3, 4 // groups, 6)
    window = window_over((5, 6), (3, 3), (1, 1), "same", groups=groups)
    y, _ = target.ops.conv2d_forward(x, kernel, None, window)
    assert y.shape == (0, 5, 6, 6)
    dx, dkernel, dbias = target.ops.conv2d_backward(y, x, kernel, window)
    assert dx.shape == x.shape
    target.check(dkernel, np.zeros(kernel.shape))
    target.check(dbias, np.zeros(6))


def test_conv2d_leaves_its_arguments_alone(target: Target) -> None:
    ops = target.ops
    x, kernel, bias = target.normal(0, 2, 6, 6, 3), target.normal(1, 3, 3, 3, 4), target.normal(2, 4)
    dy = target.normal(3, 2, 6, 6, 4)
    arguments = [x, kernel, bias, dy]
    before = [array.copy() for array in arguments]
    same = window_over((6, 6), (3, 3), (1, 1), "same")
    ops.conv2d_forward(x, kernel, bias, same)
    ops.conv2d_backward(dy, x, kernel, same)
    for array, copy in zip(arguments, before):
        np.testing.assert_array_equal(array, copy)


def test_nan_pixel_reaches_exactly_the_windows_over_it(target: Target) -> None:
    """A wrong zero (NaN * 0, or a padded tile) would spread it, a skipped product would lose it."""
    x = target.normal(0, 1, 6, 7, 3)
    x[0, 2, 3, 1] = np.nan
    kernel = target.normal(1, 3, 3, 3, 5)
    y, _ = target.ops.conv2d_forward(x, kernel, None, window_over((6, 7), (3, 3), (1, 1), "same"))
    expected = tf.nn.conv2d(x, kernel, 1, "SAME").numpy()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
