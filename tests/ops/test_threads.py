"""The same bits with one thread and with two: each op that sums, on arrays large enough for both to have work.

The numbers are normally distributed and use all their digits, so that a sum in another order ends in other bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minicnn.backends.numba_cpu import dense, elementwise, norm, winograd
from minicnn.backends.types import window_over
from tests.ops.checks import MANY_IMAGES, around, both_thread_counts, ops_of

ops = ops_of("numba")


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def shares(*shape: int) -> np.ndarray:
    """Rows of positive numbers that sum to 1."""
    values = np.abs(normal(*shape)) + np.float32(0.01)
    return values / values.sum(axis=-1, keepdims=True)


def labels(rows: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, classes, rows)


def in_place(update: Any) -> Any:
    """The array that an update in place leaves, as a function of the array before it."""

    def updated(array: np.ndarray, *args: Any) -> np.ndarray:
        result = array.copy()
        update([result], *args)
        return result

    return updated


@pytest.mark.parametrize("samples", [*range(1, dense.FEW + 2), 17, *around(dense.SAMPLES)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1100, 40), (600, 300)])
def test_dense(samples: int, inputs: int, outputs: int) -> None:
    x, kernel, bias, dy = normal(samples, inputs), normal(inputs, outputs), normal(outputs), normal(samples, outputs)
    both_thread_counts(ops.dense_forward, x, kernel, bias)
    y = both_thread_counts(ops.dense_forward, x, kernel, bias, True)
    both_thread_counts(ops.dense_backward, dy, x, kernel)
    both_thread_counts(ops.dense_backward, dy, x, kernel, y)


@pytest.mark.parametrize("rows", around(4 * dense.SUMMED_ROWS))
def test_bias(rows: int) -> None:
    both_thread_counts(ops.dense_backward, normal(rows, 7), normal(rows, 3), normal(3, 7), None, False)


@pytest.mark.parametrize("batch", [1, 2, 3, *MANY_IMAGES])
@pytest.mark.parametrize(("stride", "kernel_size"), [(1, (2, 3)), (2, (3, 3))])
def test_direct_convolution(batch: int, stride: int, kernel_size: tuple[int, int]) -> None:
    x, kernel, bias = normal(batch, 12, 11, 5), normal(*kernel_size, 5, 20), normal(20)
    window = window_over((12, 11), kernel_size, (stride, stride), (1, 1, 1, 1))
    assert ops.conv2d_algorithm(x.shape, kernel.shape, window) == "direct"
    y, _ = both_thread_counts(ops.conv2d_forward, x, kernel, bias, window, True)
    dy = normal(*y.shape)
    both_thread_counts(ops.conv2d_backward, dy, x, kernel, window)
    both_thread_counts(ops.conv2d_backward, dy, x, kernel, window, y)
    pool = window_over(window.output, (2, 2), (2, 2), "valid")
    y, argmax = both_thread_counts(ops.conv2d_forward, x, kernel, bias, window, True, pool)
    both_thread_counts(ops.conv2d_backward, normal(*y.shape), x, kernel, window, y, pool, argmax)


@pytest.mark.parametrize("batch", [2, 3, *MANY_IMAGES])
def test_winograd_convolution(batch: int) -> None:
    x, kernel, bias = normal(batch, 12, 11, 20), normal(3, 3, 20, 20), normal(20)
    window = window_over((12, 11), (3, 3), (1, 1), "same")
    y, _ = both_thread_counts(winograd.forward, x, kernel, bias, window, True, None)
    both_thread_counts(winograd.backward, normal(*y.shape), x, kernel, window, y, None, None, True)


@pytest.mark.parametrize("batch", [1, 2, 3, *MANY_IMAGES])
@pytest.mark.parametrize(("stride", "M"), [(1, 1), (2, 3)])
def test_depthwise_and_grouped_convolution(batch: int, stride: int, M: int) -> None:
    x, kernel, bias = normal(batch, 33, 11, 20), normal(3, 3, 20, M), normal(20 * M)
    window = window_over((33, 11), (3, 3), (stride, stride), "same")
    y = both_thread_counts(ops.depthwise_conv2d_forward, x, kernel, bias, window, True)
    both_thread_counts(ops.depthwise_conv2d_backward, normal(*y.shape), x, kernel, window, y)
    window, kernel = window._replace(groups=4), normal(3, 3, 5, 8)
    y, _ = both_thread_counts(ops.conv2d_forward, x, kernel, None, window, True)
    both_thread_counts(ops.conv2d_backward, normal(*y.shape), x, kernel, window, y)


@pytest.mark.parametrize("batch", [1, 3, *MANY_IMAGES])
@pytest.mark.parametrize(("stride", "size"), [(1, 3), (2, 2), (2, 3)])
def test_transposed_convolution(batch: int, stride: int, size: int) -> None:
    window = window_over((12, 14), (size, size), (stride, stride), "same")
    x, kernel, bias = normal(batch, *window.output, 20), normal(size, size, 40, 20), normal(40)
    y = both_thread_counts(ops.conv2d_transpose_forward, x, kernel, bias, window, (12, 14), True)
    both_thread_counts(ops.conv2d_transpose_backward, normal(*y.shape), x, kernel, window, y)


@pytest.mark.parametrize("rows", around(100 * norm.CHUNKS))
def test_batchnorm(rows: int) -> None:
    x, gamma, beta, dy = normal(rows, 7), normal(7), normal(7), normal(rows, 7) + 1
    _, mean, variance = both_thread_counts(ops.batchnorm_forward, x, gamma, beta, 1e-3, True)
    both_thread_counts(ops.batchnorm_backward, dy, x, gamma, beta, mean, variance, 1e-3)
    both_thread_counts(ops.batchnorm_backward, dy, x, gamma, beta, mean, variance, 1e-3, True)
    both_thread_counts(ops.batchnorm_inference_backward, dy, x, gamma, beta, mean, variance, 1e-3)
    both_thread_counts(ops.batchnorm_inference_backward, dy, x, gamma, beta, mean, variance, 1e-3, True)


@pytest.mark.parametrize("rows", around(100 * norm.CHUNKS))
def test_layernorm(rows: int) -> None:
    x, gamma, beta, dy = normal(rows, 19), normal(19), normal(19), normal(rows, 19) + 1
    _, mean, inverse_deviation = both_thread_counts(ops.layernorm_forward, x, gamma, beta, 1e-3)
    both_thread_counts(ops.layernorm_backward, dy, x, gamma, mean, inverse_deviation)
    both_thread_counts(ops.layernorm_backward, dy, x, None, mean, inverse_deviation)


@pytest.mark.parametrize("size", [(1, 2), (3, 1), (2, 2)])
def test_upsampling(size: tuple[int, int]) -> None:
    y = both_thread_counts(ops.upsample2d_nearest_forward, normal(7, 19, 23, 17), size)
    both_thread_counts(ops.upsample2d_nearest_backward, normal(*y.shape), size)
    both_thread_counts(ops.upsample2d_forward, normal(7, 19, 23, 17), y.shape[1:3], 2)
    both_thread_counts(ops.upsample2d_backward, normal(*y.shape), (19, 23), 2)


@pytest.mark.parametrize("size", around(4 * elementwise.RUN))
def test_norms_and_penalties(size: int) -> None:
    x = normal(size)
    both_thread_counts(in_place(ops.clip_by_global_norm_), x, 1.0)
    both_thread_counts(in_place(ops.clip_by_norm_), x, 1.0)
    penalty = both_thread_counts(lambda x: np.asarray(ops.l1_l2_penalty(x, 0.1, 0.01)), x)
    expected = 0.1 * np.abs(x).sum(dtype="float64") + 0.01 * np.square(x, dtype="float64").sum()
    np.testing.assert_allclose(penalty, expected, rtol=1e-6)


LOSSES: dict[str, Callable[[int, int], list[Any]]] = {
    "softmax_cross_entropy": lambda rows, classes: [normal(rows, classes), shares(rows, classes)],
    "sparse_softmax_cross_entropy": lambda rows, classes: [normal(rows, classes), labels(rows, classes)],
    "cross_entropy": lambda rows, classes: [shares(rows, classes), shares(classes, rows).T.copy(), 1e-7],
    "binary_cross_entropy": lambda rows, classes: [shares(rows, classes), shares(classes, rows).T.copy(), 1e-7],
    "sigmoid_cross_entropy": lambda rows, classes: [normal(rows, classes), shares(rows, classes)],
    "squared_error": lambda rows, classes: [normal(rows, classes), shares(rows, classes)],
    "absolute_error": lambda rows, classes: [normal(rows, classes), shares(rows, classes)],
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", around(4 * elementwise.ROWS))
def test_losses(name: str, rows: int) -> None:
    predictions, targets, *epsilon = LOSSES[name](rows, 33)
    found = both_thread_counts(getattr(ops, f"{name}_forward"), predictions, targets, *epsilon)
    source = found[1] if isinstance(found, tuple) else predictions  # the softmax, which the gradient starts from
    both_thread_counts(getattr(ops, f"{name}_backward"), source, targets, normal(rows), *epsilon)


@pytest.mark.parametrize("rows", around(4 * elementwise.ROWS))
def test_softmax_and_pooling(rows: int) -> None:
    y = both_thread_counts(ops.softmax_forward, normal(rows, 33))
    both_thread_counts(ops.softmax_backward, normal(rows, 33), y)
    x = normal(rows // 50, 9, 10, 17)
    window = window_over((9, 10), (3, 2), (2, 2), (1, 1, 0, 0))
    dy = normal(*both_thread_counts(ops.avgpool2d_forward, x, window).shape)
    both_thread_counts(ops.avgpool2d_backward, dy, x.shape, window)
    _, argmax = both_thread_counts(ops.maxpool2d_forward, x, window)
    both_thread_counts(ops.maxpool2d_backward, dy, argmax, x.shape, window)
    both_thread_counts(ops.global_avgpool2d_forward, x)
