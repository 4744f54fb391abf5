"""Batch normalization: one pass for the statistics, one for the result (`kernels/norm.cu`)."""

from __future__ import annotations

from typing import Any

from minicnn.backends.cupy_gpu.compile import C_TYPES, THREADS, blocks, empty, inputs, launch
from minicnn.backends.cupy_gpu.dense import column_chunks
from minicnn.backends.spec import Array

__all__ = [
    "batchnorm_backward",
    "batchnorm_forward",
    "batchnorm_inference",
    "batchnorm_inference_backward",
    "gradients",
    "moving_average_update_",
    "normalized",
    "statistics",
]


def batchnorm_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Mean and variance come from one pass: sums of x - x[0] and of its square."""
    mean, variance = statistics(x)
    return batchnorm_inference(x, gamma, beta, mean, variance, epsilon), mean, variance


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel."""
    x = inputs("batchnorm_forward", x)
    C = x.shape[-1]
    rows = x.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((2, grid[1], C), x.dtype)
    mean, variance = empty((C,), x.dtype), empty((C,), x.dtype)
    _launch("batchnorm_sums", grid, (32, 8), (x, partial, rows, rows_per_chunk), x)
    _launch("batchnorm_statistics", blocks(C), (THREADS,), (partial, x, mean, variance, grid[1], rows), x)
    return mean, variance


def batchnorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """The two sums, then dx, which reads them."""
    return gradients(dy, x, None, gamma, mean, variance, epsilon)


def gradients(
    dy: Array, x: Array, y: Array | None, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """`batchnorm_backward`; with y, the output of a ReLU that follows, of relu_backward(dy, y)."""
    dy, x, y, gamma, mean, variance = inputs("batchnorm_backward", dy, x, y, gamma, mean, variance)
    dgamma, dbeta = _parameter_gradients(dy, x, y, mean, variance, epsilon)
    dx = empty(x.shape, x.dtype)
    arguments = (dy, x, y, gamma, mean, variance, dgamma, dbeta, dx, float(epsilon), dx.size)
    _launch("batchnorm_backward_input", blocks(dx.size), (THREADS,), arguments, x)
    return dx, dgamma, dbeta


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """One pass."""
    return normalized(x, gamma, beta, mean, variance, epsilon, relu=False)


def normalized(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float, relu: bool
) -> Array:
    """`batchnorm_inference`; with `relu` max(that, 0)."""
    x, gamma, beta, mean, variance = inputs("batchnorm_inference", x, gamma, beta, mean, variance)
    y = empty(x.shape, x.dtype)
    arguments = (x, gamma, beta, mean, variance, y, float(epsilon), y.size, int(relu))
    _launch("batchnorm_normalize", blocks(y.size), (THREADS,), arguments, x)
    return y


def batchnorm_inference_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """The sums as in `batchnorm_backward`."""
    dy, x, gamma, mean, variance = inputs("batchnorm_inference_backward", dy, x, gamma, mean, variance)
    dgamma, dbeta = _parameter_gradients(dy, x, None, mean, variance, epsilon)
    dx = empty(dy.shape, dy.dtype)
    arguments = (dy, gamma, variance, dx, float(epsilon), dx.size)
    _launch("batchnorm_inference_backward", blocks(dx.size), (THREADS,), arguments, dy)
    return dx, dgamma, dbeta


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """One pass."""
    average, value = inputs("moving_average_update_", average, value)
    arguments = (average, value, float(momentum), average.size)
    types = {"real": C_TYPES[average.dtype.name]}
    launch("norm.cu", "moving_average", blocks(average.size), (THREADS,), arguments, types, {"C": 1})


def _parameter_gradients(
    dy: Array, x: Array, y: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array]:
    """dgamma, dbeta: sums of dy * x_hat and of dy, chunk by chunk, the chunks in order."""
    C = x.shape[-1]
    rows = x.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((2, grid[1], C), x.dtype)
    dgamma, dbeta = empty((C,), x.dtype), empty((C,), x.dtype)
    arguments = (dy, x, y, mean, variance, partial, float(epsilon), rows, rows_per_chunk)
    _launch("batchnorm_backward_sums", grid, (32, 8), arguments, x)
    _launch("batchnorm_parameter_gradients", blocks(C), (THREADS,), (partial, dgamma, dbeta, grid[1]), x)
    return dgamma, dbeta


def _launch(name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], x: Array) -> None:
    launch("norm.cu", name, grid, block, arguments, {"real": C_TYPES[x.dtype.name]}, {"C": x.shape[-1]})
