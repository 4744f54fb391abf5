"""Batch normalization in two passes over memory: one to sum, one to write.

Rows (all axes but the channels) are cut into a fixed number of chunks, and chunks into runs that
stay in L1: a run's mean is taken first, then its squared deviations from that mean, and runs
are merged by Chan's formula. So the variance needs no second pass over memory and does not
cancel as E[x**2] - E[x]**2 would.

Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._parallel import parallel_for

__all__ = [
    "batchnorm_backward",
    "batchnorm_forward",
    "batchnorm_inference",
    "batchnorm_inference_backward",
    "moving_average_update_",
]

Array = Any

F = np.float32
ZERO, ONE, NO_FLOOR = F(0), F(1), F(-np.inf)
CHUNKS = 32  # of rows, whatever the number of threads
RUN_BYTES = 8192  # of rows whose mean and deviations are summed while in L1


def _rows(x: Array) -> Array:
    """All axes but the channels as one."""
    return x.reshape(-1, x.shape[-1])


def _or_constant(value: Array | None, constant: float, C: int) -> Array:
    """`value`, or C times a constant for None."""
    if value is not None:
        return value
    array = empty((C,))
    array.fill(constant)
    return array


@part
def rows_of(chunk: int, chunks: int, rows: int) -> tuple[int, int]:
    """First and end row of a chunk."""
    return chunk * rows // chunks, (chunk + 1) * rows // chunks


# --- ops ----------------------------------------------------------------------------


def batchnorm_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Parallel over chunks of rows."""
    if x.dtype != F:
        return reference.batchnorm_forward(x, gamma, beta, epsilon)
    return forward(x, gamma, beta, epsilon, NO_FLOOR)


def forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float, floor: np.float32) -> tuple[Array, Array, Array]:
    """`batchnorm_forward`, and max(floor, y) for its y."""
    C = x.shape[-1]
    y, mean, variance = empty(x.shape), empty((C,)), empty((C,))
    gamma, beta = _or_constant(gamma, 1, C), _or_constant(beta, 0, C)
    _forward(_rows(x), _rows(y), gamma, beta, mean, variance, F(epsilon), floor, empty((CHUNKS, 4, C)), empty((3, C)))
    return y, mean, variance


def batchnorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """Parallel over chunks of rows."""
    if x.dtype != F:
        return reference.batchnorm_backward(dy, x, gamma, mean, variance, epsilon)
    return gradients(dy, x, dy, gamma, mean, variance, epsilon, True, False)


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """Parallel over chunks of rows."""
    if x.dtype != F:
        return reference.batchnorm_inference(x, gamma, beta, mean, variance, epsilon)
    return inference(x, gamma, beta, mean, variance, epsilon, NO_FLOOR)


def inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float, floor: np.float32
) -> Array:
    """max(floor, batchnorm_inference(...))."""
    C = x.shape[-1]
    y = empty(x.shape)
    gamma, beta = _or_constant(gamma, 1, C), _or_constant(beta, 0, C)
    _inference(_rows(x), _rows(y), gamma, beta, mean, variance, F(epsilon), floor, empty((3, C)))
    return y


def batchnorm_inference_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """As `batchnorm_backward`, without the terms that come through the statistics."""
    if x.dtype != F:
        return reference.batchnorm_inference_backward(dy, x, gamma, mean, variance, epsilon)
    return gradients(dy, x, dy, gamma, mean, variance, epsilon, False, False)


def gradients(
    dy: Array,
    x: Array,
    y: Array,
    gamma: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    training: bool,
    relu: bool,
) -> tuple[Array, Array, Array]:
    """Gradients of either, with `training` through the statistics too, with `relu` behind a ReLU whose output is y."""
    C = x.shape[-1]
    dx, dgamma, dbeta = empty(x.shape), empty((C,)), empty((C,))
    gamma = _or_constant(gamma, 1, C)
    scratch = empty((CHUNKS, 2, C)), empty((4, C))
    arrays = _rows(dy), _rows(x), _rows(y), _rows(dx), gamma, dgamma, dbeta, mean, variance
    _backward(*arrays, F(epsilon), training, relu, *scratch)
    return dx, dgamma, dbeta


# --- kernels: forward -------------------------------------------------------------


@part
def merge(mean: Any, deviation: Any, count: Any, new_mean: Any, new_deviation: Any, new_count: Any) -> None:
    """With n = new_count and N = count + n, in place:
    mean += (new_mean - mean) * n/N;  deviation += new_deviation + (new_mean - mean)**2 * count*n/N."""
    if new_count == ZERO:
        return
    share = new_count / (count + new_count)
    for c in range(mean.size):
        difference = new_mean[c] - mean[c]
        mean[c] += difference * share
        deviation[c] += new_deviation[c] + difference * difference * (count * share)


@part
def _chunk_moments(chunk: int, worker: int, x: Any, sums: Any) -> None:
    """sums[chunk, 0], sums[chunk, 1] = the chunk's mean and its sum of squared deviations from it."""
    rows, C = x.shape
    mean, deviation, run_mean, run_deviation = sums[chunk, 0], sums[chunk, 1], sums[chunk, 2], sums[chunk, 3]
    mean[:] = ZERO
    deviation[:] = ZERO
    first, end = rows_of(chunk, CHUNKS, rows)
    run = max(1, RUN_BYTES // (4 * C))
    for begin in range(first, end, run):
        stop = min(begin + run, end)
        count = F(stop - begin)
        run_mean[:] = ZERO
        run_deviation[:] = ZERO
        for m in range(begin, stop):
            for c in range(C):
                run_mean[c] += x[m, c]
        for c in range(C):
            run_mean[c] /= count
        for m in range(begin, stop):
            for c in range(C):
                difference = x[m, c] - run_mean[c]
                run_deviation[c] += difference * difference
        merge(mean, deviation, F(begin - first), run_mean, run_deviation, count)


@part
def _write_y(chunk: int, worker: int, x: Any, y: Any, factors: Any, floor: Any) -> None:
    """y = max(floor, (x - mean) * scale + beta); factors: mean, scale and beta of each channel. A NaN stays one."""
    rows, C = x.shape
    first, end = rows_of(chunk, CHUNKS, rows)
    mean, scale, beta = factors[0], factors[1], factors[2]
    for m in range(first, end):
        for c in range(C):
            normalized = (x[m, c] - mean[c]) * scale[c] + beta[c]
            y[m, c] = floor if normalized < floor else normalized


@compiled
def _inference(x, y, gamma, beta, mean, variance, epsilon, floor, factors):  # type: ignore[no-untyped-def]
    for c in range(x.shape[1]):
        factors[0, c] = mean[c]
        factors[1, c] = gamma[c] / np.sqrt(variance[c] + epsilon)
        factors[2, c] = beta[c]
    parallel_for(CHUNKS, x.size * 4, _write_y, (x, y, factors, floor))


@compiled
def _forward(x, y, gamma, beta, mean, variance, epsilon, floor, sums, factors):  # type: ignore[no-untyped-def]
    rows, C = x.shape
    parallel_for(CHUNKS, x.size * 4, _chunk_moments, (x, sums))
    mean[:] = ZERO
    variance[:] = ZERO
    for chunk in range(CHUNKS):
        first, end = rows_of(chunk, CHUNKS, rows)
        merge(mean, variance, F(first), sums[chunk, 0], sums[chunk, 1], F(end - first))
    for c in range(C):
        variance[c] /= F(rows)
        factors[0, c] = mean[c]
        factors[1, c] = gamma[c] / np.sqrt(variance[c] + epsilon)
        factors[2, c] = beta[c]
    parallel_for(CHUNKS, x.size * 4, _write_y, (x, y, factors, floor))


# --- kernels: gradients -----------------------------------------------------------


@part
def _chunk_products(chunk: int, worker: int, dy: Any, x: Any, y: Any, mean: Any, relu: bool, sums: Any) -> None:
    """sums[chunk] = sum of dy and of dy * (x - mean), dy behind a ReLU whose output is y."""
    rows, C = x.shape
    first, end = rows_of(chunk, CHUNKS, rows)
    total, product = sums[chunk, 0], sums[chunk, 1]
    total[:] = ZERO
    product[:] = ZERO
    for m in range(first, end):
        for c in range(C):
            g = dy[m, c] if not relu or y[m, c] > ZERO else ZERO
            total[c] += g
            product[c] += g * (x[m, c] - mean[c])


@part
def _write_dx(chunk: int, worker: int, dy: Any, x: Any, y: Any, dx: Any, relu: bool, factors: Any) -> None:
    """dx = scale * dy + slope * (x - mean) + shift; factors: mean, scale, slope and shift of each channel."""
    rows, C = x.shape
    first, end = rows_of(chunk, CHUNKS, rows)
    mean, scale, slope, shift = factors[0], factors[1], factors[2], factors[3]
    for m in range(first, end):
        for c in range(C):
            g = dy[m, c] if not relu or y[m, c] > ZERO else ZERO
            dx[m, c] = scale[c] * g + slope[c] * (x[m, c] - mean[c]) + shift[c]


@compiled
def _backward(dy, x, y, dx, gamma, dgamma, dbeta, mean, variance, epsilon, training, relu, sums, factors):  # type: ignore[no-untyped-def]
    rows, C = x.shape
    parallel_for(CHUNKS, x.size * 4, _chunk_products, (dy, x, y, mean, relu, sums))
    dgamma[:] = ZERO
    dbeta[:] = ZERO
    for chunk in range(CHUNKS):
        for c in range(C):
            dbeta[c] += sums[chunk, 0, c]
            dgamma[c] += sums[chunk, 1, c]
    # gamma / std * (dy - dbeta / M - x_hat * dgamma / M), x_hat = (x - mean) / std, as factors of dy, x - mean and 1
    for c in range(C):
        inverse = ONE / np.sqrt(variance[c] + epsilon)
        dgamma[c] *= inverse
        factors[0, c] = mean[c]
        factors[1, c] = gamma[c] * inverse
        factors[2, c] = -factors[1, c] * inverse * dgamma[c] / F(rows) if training else ZERO
        factors[3, c] = -factors[1, c] * dbeta[c] / F(rows) if training else ZERO
    parallel_for(CHUNKS, x.size * 4, _write_dx, (dy, x, y, dx, relu, factors))


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """As in the spec."""
    if average.dtype != F:
        return reference.moving_average_update_(average, value, momentum)
    _moving_average(average.reshape(-1), value.reshape(-1), F(momentum))


@compiled
def _moving_average(average, value, momentum):  # type: ignore[no-untyped-def]
    for i in range(average.size):
        average[i] = momentum * average[i] + (ONE - momentum) * value[i]
