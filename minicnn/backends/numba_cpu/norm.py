"""Batch normalization in two passes over memory: one to sum, one to write. Layer normalization in one, a row being in L1.

Rows (all axes but the channels) are cut into a fixed number of chunks, and chunks into runs that
stay in L1: a run's mean is taken first, then its squared deviations from that mean, and runs
are merged by Chan's formula. So the variance needs no second pass over memory and does not
cancel as E[x**2] - E[x]**2 would.

Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part, reassociated
from minicnn.backends.numba_cpu._microkernel import NO_BOUND, ZERO
from minicnn.backends.numba_cpu._parallel import parallel_for, tasks
from minicnn.backends.reference import norm as reference
from minicnn.backends.types import Array

F = np.float32
ONE = F(1)
CHUNKS = 32  # of rows, whatever the number of threads
RUN_BYTES = 8192  # of rows whose mean and deviations are summed while in L1
WIDE = 64  # columns of a row, up to which the loop along it costs more than what it does
NONE = np.zeros(0, np.float32)  # for a gamma or a beta that is None


def _rows(x: Array) -> Array:
    """All axes but the channels as one; of few channels, several rows as one, whose columns are the channels over and over."""
    C = x.shape[-1]
    rows, together = x.size // max(1, C), 1
    while together * C < WIDE and rows % (2 * together) == 0 and rows > 0:
        together *= 2
    return x.reshape(rows // together, together * C)


@part
def rows_of(chunk: int, chunks: int, rows: int) -> tuple[int, int]:
    """First and end row of a chunk."""
    return chunk * rows // chunks, (chunk + 1) * rows // chunks


@part
def _factors(columns: int, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: Any) -> Any:
    """Mean, scale and beta of each column, whose channels are those of `_rows`: y = (x - mean) * scale + beta."""
    factors = np.empty((3, columns), np.float32)
    for column in range(columns):
        c = column % mean.size
        factors[0, column] = mean[c]
        factors[1, column] = (gamma[c] if gamma.size > 0 else ONE) / np.sqrt(variance[c] + epsilon)
        factors[2, column] = beta[c] if beta.size > 0 else ZERO
    return factors


@part
def _normalized(x: Any, mean: Any, scale: Any, beta: Any) -> Any:
    """y before a ReLU: backward, where it is computed once more, the same bits as forward."""
    return (x - mean) * scale + beta


@part
def _write_y(chunk: int, worker: int, x: Any, y: Any, factors: Any, lower_bound: Any) -> None:
    """y = max(lower bound, (x - mean) * scale + beta). A NaN stays one."""
    rows, C = x.shape
    first, end = rows_of(chunk, CHUNKS, rows)
    mean, scale, beta = factors[0], factors[1], factors[2]
    for m in range(first, end):
        for c in range(C):
            normalized = _normalized(x[m, c], mean[c], scale[c], beta[c])
            y[m, c] = lower_bound if normalized < lower_bound else normalized


# --- forward ------------------------------------------------------------------------


def batchnorm_forward(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, relu: bool = False
) -> tuple[Array, Array, Array]:
    """Parallel over chunks of rows; the ReLU belongs to the second pass."""
    if x.dtype != F:
        return reference.batchnorm_forward(x, gamma, beta, epsilon, relu)
    C = x.shape[-1]
    y, mean, variance = empty(x.shape), empty((C,)), empty((C,))
    affine, rows = (NONE if gamma is None else gamma, NONE if beta is None else beta), _rows(x)
    _forward(rows, _rows(y), affine, (mean, variance), F(epsilon), relu, empty((CHUNKS + 1, 4, rows.shape[1])))
    return y, mean, variance


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


@compiled
def _forward(x, y, affine, statistics, epsilon, relu, sums):  # type: ignore[no-untyped-def]
    rows, columns = x.shape
    (gamma, beta), (mean, variance) = affine, statistics
    C = mean.size
    parallel_for(CHUNKS, x.size * 4, _chunk_moments, (x, sums))
    column_mean, column_deviation = sums[CHUNKS, 0], sums[CHUNKS, 1]
    column_mean[:] = ZERO
    column_deviation[:] = ZERO
    for chunk in range(CHUNKS):
        first, end = rows_of(chunk, CHUNKS, rows)
        merge(column_mean, column_deviation, F(first), sums[chunk, 0], sums[chunk, 1], F(end - first))
    mean[:] = ZERO
    variance[:] = ZERO
    for begin in range(0, columns, C):
        of_channels = slice(begin, begin + C)
        merge(mean, variance, F(begin // C * rows), column_mean[of_channels], column_deviation[of_channels], F(rows))
    for c in range(C):
        variance[c] /= F(rows * (columns // C))
    factors = _factors(columns, gamma, beta, mean, variance, epsilon)
    parallel_for(CHUNKS, x.size * 4, _write_y, (x, y, factors, ZERO if relu else NO_BOUND))


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
    """Parallel over chunks of rows; both passes compute the ReLU's mask once more, which takes less time than to read y."""
    if x.dtype != F:
        return reference.batchnorm_backward(dy, x, gamma, beta, mean, variance, epsilon, relu)
    return _gradients(dy, x, (gamma, beta), (mean, variance), epsilon, relu, True)


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float, relu: bool = False
) -> Array:
    """Parallel over chunks of rows."""
    if x.dtype != F:
        return reference.batchnorm_inference(x, gamma, beta, mean, variance, epsilon, relu)
    y = empty(x.shape)
    affine = NONE if gamma is None else gamma, NONE if beta is None else beta
    _inference(_rows(x), _rows(y), affine, (mean, variance), F(epsilon), relu)
    return y


@compiled
def _inference(x, y, affine, statistics, epsilon, relu):  # type: ignore[no-untyped-def]
    factors = _factors(x.shape[1], affine[0], affine[1], statistics[0], statistics[1], epsilon)
    parallel_for(CHUNKS, x.size * 4, _write_y, (x, y, factors, ZERO if relu else NO_BOUND))


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
    """As `batchnorm_backward`, without the terms that come through the statistics."""
    if x.dtype != F:
        return reference.batchnorm_inference_backward(dy, x, gamma, beta, mean, variance, epsilon, relu)
    return _gradients(dy, x, (gamma, beta), (mean, variance), epsilon, relu, False)


def _gradients(
    dy: Array, x: Array, affine: Any, statistics: Any, epsilon: float, relu: bool, training: bool
) -> tuple[Array, Array, Array]:
    C = x.shape[-1]
    outputs = dx, dgamma, dbeta = empty(x.shape), empty((C,)), empty((C,))
    gamma, beta = (NONE if parameter is None else parameter for parameter in affine)
    given, rows = (gamma, beta, *statistics, F(epsilon)), _rows(x)
    _backward((_rows(dy), rows), given, (_rows(dx), dgamma, dbeta), (relu, training), empty((CHUNKS, 2, rows.shape[1])))
    return outputs


@part
def _behind_relu(dy: Any, x: Any, mean: Any, scale: Any, beta: Any, relu: bool) -> Any:
    """dy, behind the ReLU if there was one."""
    return dy if not relu or _normalized(x, mean, scale, beta) > ZERO else ZERO


@part
def _chunk_products(chunk: int, worker: int, arrays: Any, factors: Any, relu: bool, sums: Any) -> None:
    """sums[chunk] = sum of dy and of dy * (x - mean), dy behind the ReLU if there was one; factors as of `_factors`."""
    dy, x = arrays
    rows, C = x.shape
    first, end = rows_of(chunk, CHUNKS, rows)
    total, product = sums[chunk, 0], sums[chunk, 1]
    mean, scale, beta = factors[0], factors[1], factors[2]
    total[:] = ZERO
    product[:] = ZERO
    for m in range(first, end):
        for c in range(C):
            g = _behind_relu(dy[m, c], x[m, c], mean[c], scale[c], beta[c], relu)
            total[c] += g
            product[c] += g * (x[m, c] - mean[c])


@part
def _write_dx(chunk: int, worker: int, arrays: Any, dx: Any, relu: bool, factors: Any, terms: Any) -> None:
    """dx = scale * dy + slope * (x - mean) + shift; factors as of `_factors`, terms: slope and shift of each channel."""
    dy, x = arrays
    rows, C = x.shape
    first, end = rows_of(chunk, CHUNKS, rows)
    mean, scale, beta, slope, shift = factors[0], factors[1], factors[2], terms[0], terms[1]
    for m in range(first, end):
        for c in range(C):
            g = _behind_relu(dy[m, c], x[m, c], mean[c], scale[c], beta[c], relu)
            dx[m, c] = scale[c] * g + slope[c] * (x[m, c] - mean[c]) + shift[c]


@compiled
def _backward(arrays, given, outputs, flags, sums):  # type: ignore[no-untyped-def]
    (_, x), (gamma, beta, mean, variance, epsilon), (dx, dgamma, dbeta) = arrays, given, outputs
    relu, training = flags
    columns, C = x.shape[1], mean.size
    factors = _factors(columns, gamma, beta, mean, variance, epsilon)
    parallel_for(CHUNKS, x.size * 4, _chunk_products, (arrays, factors, relu, sums))
    dgamma[:] = ZERO
    dbeta[:] = ZERO
    for chunk in range(CHUNKS):
        for column in range(columns):
            dbeta[column % C] += sums[chunk, 0, column]
            dgamma[column % C] += sums[chunk, 1, column]
    # gamma / std * (dy - dbeta / M - x_hat * dgamma / M), x_hat = (x - mean) / std, as factors of dy, x - mean and 1
    M = F(x.size // C)
    terms = np.empty((2, columns), np.float32)
    for c in range(C):
        inverse = ONE / np.sqrt(variance[c] + epsilon)
        dgamma[c] *= inverse
        for column in range(c, columns, C):
            terms[0, column] = -factors[1, c] * inverse * dgamma[c] / M if training else ZERO
            terms[1, column] = -factors[1, c] * dbeta[c] / M if training else ZERO
    parallel_for(CHUNKS, x.size * 4, _write_dx, (arrays, dx, relu, factors, terms))


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """One loop, without copies."""
    if average.dtype != F:
        return reference.moving_average_update_(average, value, momentum)
    _moving_average(average.reshape(-1), value.reshape(-1), F(momentum))


@compiled
def _moving_average(average, value, momentum):  # type: ignore[no-untyped-def]
    for i in range(average.size):
        average[i] = momentum * average[i] + (ONE - momentum) * value[i]


# --- layer normalization --------------------------------------------------------------


def layernorm_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Parallel over chunks of rows."""
    if x.dtype != F:
        return reference.layernorm_forward(x, gamma, beta, epsilon)
    M, C = x.shape
    y, mean, inverse_deviation = empty(x.shape), empty((M,)), empty((M,))
    affine = np.ones(C, F) if gamma is None else gamma, np.zeros(C, F) if beta is None else beta
    _layernorm_forward(CHUNKS, x.size * 8, x, affine, F(epsilon), y, (mean, inverse_deviation))
    return y, mean, inverse_deviation


@reassociated
def _row_mean(row: Any) -> Any:
    total = ZERO
    for c in range(row.size):
        total += row[c]
    return total / F(row.size)


@reassociated
def _row_variance(row: Any, mean: Any) -> Any:
    total = ZERO
    for c in range(row.size):
        total += (row[c] - mean) * (row[c] - mean)
    return total / F(row.size)


@tasks
def _layernorm_forward(chunk: int, worker: int, x: Any, affine: Any, epsilon: Any, y: Any, statistics: Any) -> None:
    (gamma, beta), (means, inverses) = affine, statistics
    M, C = x.shape
    first, end = rows_of(chunk, CHUNKS, M)
    for m in range(first, end):
        mean = _row_mean(x[m])
        inverse = ONE / np.sqrt(_row_variance(x[m], mean) + epsilon)
        for c in range(C):
            y[m, c] = (x[m, c] - mean) * inverse * gamma[c] + beta[c]
        means[m], inverses[m] = mean, inverse


def layernorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, inverse_deviation: Array
) -> tuple[Array, Array, Array]:
    """Parallel over chunks of rows, whose shares of dgamma and dbeta are summed in order."""
    if x.dtype != F:
        return reference.layernorm_backward(dy, x, gamma, mean, inverse_deviation)
    C = x.shape[1]
    outputs = empty(x.shape), empty((C,)), empty((C,))
    factors = np.ones(C, F) if gamma is None else gamma
    _layernorm_backward((dy, x, factors, mean, inverse_deviation), outputs, empty((CHUNKS, 2, C)))
    return outputs


@reassociated
def _row_products(dy: Any, x: Any, gamma: Any, mean: Any) -> Any:
    """The means of g = gamma * dy, and of g * (x - mean), along a row."""
    total, product = ZERO, ZERO
    for c in range(dy.size):
        g = gamma[c] * dy[c]
        total += g
        product += g * (x[c] - mean)
    return total / F(dy.size), product / F(dy.size)


@part
def _layernorm_rows(chunk: int, worker: int, inputs: Any, dx: Any, sums: Any) -> None:
    dy, x, gamma, means, inverses = inputs
    M, C = x.shape
    first, end = rows_of(chunk, CHUNKS, M)
    dgamma, dbeta = sums[chunk, 0], sums[chunk, 1]
    dgamma[:] = ZERO
    dbeta[:] = ZERO
    for m in range(first, end):
        mean, inverse = means[m], inverses[m]
        shift, slope = _row_products(dy[m], x[m], gamma, mean)
        slope *= inverse * inverse
        for c in range(C):
            difference = x[m, c] - mean
            dx[m, c] = inverse * (gamma[c] * dy[m, c] - shift - difference * slope)
            dgamma[c] += dy[m, c] * (difference * inverse)
            dbeta[c] += dy[m, c]


@compiled
def _layernorm_backward(inputs, outputs, sums):  # type: ignore[no-untyped-def]
    dx, dgamma, dbeta = outputs
    parallel_for(CHUNKS, dx.size * 8, _layernorm_rows, (inputs, dx, sums))
    dgamma[:] = ZERO
    dbeta[:] = ZERO
    for chunk in range(CHUNKS):
        for c in range(dgamma.size):
            dgamma[c] += sums[chunk, 0, c]
            dbeta[c] += sums[chunk, 1, c]
