"""Batch normalization: one pass for the statistics, one for the result, which a ReLU joins (`kernels/norm.cu`)."""

from __future__ import annotations

from typing import Any

from minicnn.backends.cupy_gpu.compile import THREADS, blocks, column_chunks, empty, inputs, launch, real_type
from minicnn.backends.types import Array


def batchnorm_forward(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, relu: bool = False
) -> tuple[Array, Array, Array]:
    """Mean and variance come from one pass: sums of x - x[0] and of its square."""
    x = inputs("batchnorm_forward", x)
    C = x.shape[-1]
    rows = x.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((2, grid[1], C), x.dtype)
    mean, variance = empty((C,), x.dtype), empty((C,), x.dtype)
    _launch("batchnorm_sums", grid, (32, 8), (x, partial, rows, rows_per_chunk), x)
    _launch("batchnorm_statistics", blocks(C), (THREADS,), (partial, x, mean, variance, grid[1], rows), x)
    return batchnorm_inference(x, gamma, beta, mean, variance, epsilon, relu), mean, variance


def batchnorm_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """The two sums, then dx, which reads them; both passes compute the ReLU's mask once more."""
    dy, x, gamma, beta, mean, variance = inputs("batchnorm_backward", dy, x, gamma, beta, mean, variance)
    dgamma, dbeta = _parameter_gradients(dy, x, gamma, beta, (mean, variance), epsilon, relu)
    dx = empty(x.shape, x.dtype)
    arguments = (dy, x, gamma, beta, mean, variance, dgamma, dbeta, dx, float(epsilon), dx.size, int(relu))
    _launch("batchnorm_backward_input", blocks(dx.size), (THREADS,), arguments, x)
    return dx, dgamma, dbeta


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float, relu: bool = False
) -> Array:
    """One pass."""
    x, gamma, beta, mean, variance = inputs("batchnorm_inference", x, gamma, beta, mean, variance)
    y = empty(x.shape, x.dtype)
    arguments = (x, gamma, beta, mean, variance, y, float(epsilon), y.size, int(relu))
    _launch("batchnorm_normalize", blocks(y.size), (THREADS,), arguments, x)
    return y


def batchnorm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """As `batchnorm_backward`, with constant statistics."""
    dy, x, gamma, beta, mean, variance = inputs("batchnorm_inference_backward", dy, x, gamma, beta, mean, variance)
    dgamma, dbeta = _parameter_gradients(dy, x, gamma, beta, (mean, variance), epsilon, relu)
    dx = empty(dy.shape, dy.dtype)
    arguments = (dy, x, gamma, beta, mean, variance, dx, float(epsilon), dx.size, int(relu))
    _launch("batchnorm_inference_backward", blocks(dx.size), (THREADS,), arguments, dy)
    return dx, dgamma, dbeta


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """One pass."""
    average, value = inputs("moving_average_update_", average, value)
    arguments = (average, value, float(momentum), average.size)
    launch("norm.cu", "moving_average", blocks(average.size), (THREADS,), arguments, real_type(average), {"C": 1})


def _parameter_gradients(
    dy: Array, x: Array, gamma: Array | None, beta: Array | None, statistics: tuple[Array, Array], epsilon: float, relu: bool
) -> tuple[Array, Array]:
    """dgamma, dbeta: sums of dy * x_hat and of dy, chunk by chunk, the chunks in order."""
    C = x.shape[-1]
    rows = x.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((2, grid[1], C), x.dtype)
    dgamma, dbeta = empty((C,), x.dtype), empty((C,), x.dtype)
    arguments = (dy, x, gamma, beta, *statistics, partial, float(epsilon), rows, rows_per_chunk, int(relu))
    _launch("batchnorm_backward_sums", grid, (32, 8), arguments, x)
    _launch("batchnorm_parameter_gradients", blocks(C), (THREADS,), (partial, dgamma, dbeta, grid[1]), x)
    return dgamma, dbeta


def _launch(name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], x: Array) -> None:
    launch("norm.cu", name, grid, block, arguments, real_type(x), {"C": x.shape[-1]})
