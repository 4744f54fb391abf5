"""Dense layers: the micro-kernel's product, with whichever operand is small copied into panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._microkernel import NR, multiply
from minicnn.backends.numba_cpu._panels import blocks_of, pack, pack_transposed, start_row
from minicnn.backends.numba_cpu._parallel import get_num_threads, parallel_for

__all__ = ["bias_backward", "dense_backward_input", "dense_backward_kernel", "dense_forward"]

Array = Any

NO_FLOOR = np.float32(-np.inf)
GROUP = 96  # rows of a gradient that one task computes
SAMPLES = 256  # of a forward pass that one task takes: it copies the kernel's panel for them
DEPTH = 256  # rows of a panel that lie in L1 together
FEW, COLUMNS = 3, 256  # samples for which a panel is not worth copying; output features of a task then
SUMMED_ROWS = 512  # rows that one task of `bias_backward` sums


def dense_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """Parallel over panels of NR output features and groups of samples."""
    if x.dtype != np.float32:
        return reference.dense_forward(x, kernel, bias)
    return forward(x, kernel, bias, NO_FLOOR)


def forward(x: Array, kernel: Array, bias: Array | None, floor: np.float32) -> Array:
    """max(floor, dense_forward(...))."""
    y = empty((x.shape[0], kernel.shape[1]))
    if 0 < x.shape[0] <= FEW:
        _forward_few(x, kernel, start_row(bias, kernel.shape[1]), y, floor)
    else:
        packed = empty((get_num_threads(), DEPTH, NR))
        _forward(x, kernel, start_row(bias, kernel.shape[1]), y, packed, empty((2, x.shape[0]), np.int64), floor)
    return y


@part
def row_offsets(table: Any, step: int) -> None:
    """table[m] = m * step."""
    for m in range(table.size):
        table[m] = m * step


@part
def _forward_block(task: int, worker: int, x, kernel, packed, start, y, table, floor) -> None:  # type: ignore[no-untyped-def]
    """A group of samples by NR features: the kernel's panel is copied part by part, each of which stays in L1."""
    M, C_in = x.shape
    C_out = y.shape[1]
    blocks = (C_out + NR - 1) // NR
    group, first = task // blocks * SAMPLES, task % blocks * NR
    rows, columns = min(SAMPLES, M - group), min(NR, C_out - first)
    panel, c = packed[worker], y.ctypes.data + 4 * first
    for begin in range(0, C_in, DEPTH):
        end = min(begin + DEPTH, C_in)
        for k in range(begin, end):
            source, target = kernel[k, first : first + columns], panel[k - begin]
            for j in range(columns):
                target[j] = source[j]
        multiply(
            x.ctypes.data + 4 * begin,
            table.ctypes.data + 8 * group,
            rows,
            1,
            0,
            end - begin,
            1,
            panel.ctypes.data,
            0,
            NR,
            c if begin > 0 else start.ctypes.data + 4 * first,
            1 if begin > 0 else 0,
            c,
            table.ctypes.data + 8 * (M + group),
            columns,
            floor if end == C_in else NO_FLOOR,
        )


@compiled
def _forward(x, kernel, start, y, packed, table, floor):  # type: ignore[no-untyped-def]
    M, C_in = x.shape
    row_offsets(table[0], C_in)
    row_offsets(table[1], kernel.shape[1])
    tasks = (M + SAMPLES - 1) // SAMPLES * ((kernel.shape[1] + NR - 1) // NR)
    parallel_for(tasks, y.size * C_in, _forward_block, (x, kernel, packed, start, y, table, floor))


@part
def _forward_columns(task: int, worker: int, x, kernel, start, y, floor) -> None:  # type: ignore[no-untyped-def]
    """For few samples: the kernel is read once, row after row, as memory likes it."""
    M, C_in = x.shape
    begin, end = task * COLUMNS, min(task * COLUMNS + COLUMNS, kernel.shape[1])
    for m in range(M):
        y[m, begin:end] = start[begin:end]
    for k in range(C_in):
        row = kernel[k, begin:end]
        for m in range(M):
            factor, target = x[m, k], y[m, begin:end]
            for j in range(end - begin):
                target[j] += factor * row[j]
    for m in range(M):
        target = y[m, begin:end]
        for j in range(end - begin):
            target[j] = floor if target[j] < floor else target[j]


@compiled
def _forward_few(x, kernel, start, y, floor):  # type: ignore[no-untyped-def]
    parallel_for((kernel.shape[1] + COLUMNS - 1) // COLUMNS, 2 * kernel.size, _forward_columns, (x, kernel, start, y, floor))


def dense_backward_input(dy: Array, kernel: Array) -> Array:
    """The transpose is computed, dx.T = kernel @ dy.T, so that the kernel is read where it lies and only dy is copied."""
    if dy.dtype != np.float32:
        return reference.dense_backward_input(dy, kernel)
    M, C_out = dy.shape
    dx = empty((M, kernel.shape[0]))
    packed = empty((blocks_of(M), C_out, NR))
    tiles = empty((get_num_threads(), GROUP, NR))
    _backward_input(dy, kernel, dx, packed, tiles, empty((2, max(GROUP, kernel.shape[0])), np.int64), np.zeros(NR, np.float32))
    return dx


@part
def _backward_input_group(task: int, worker: int, kernel, packed, dx, tiles, table, zeros) -> None:  # type: ignore[no-untyped-def]
    C_in, C_out = kernel.shape
    block, group = task % packed.shape[0] * NR, task // packed.shape[0] * GROUP
    rows, columns = min(GROUP, C_in - group), min(NR, dx.shape[0] - block)
    a_rows, c_rows = table.ctypes.data + 8 * group, table.ctypes.data + 8 * table.shape[1]
    b = packed.ctypes.data + 4 * block * C_out
    c = tiles.ctypes.data + 4 * worker * GROUP * NR
    multiply(kernel.ctypes.data, a_rows, rows, 1, 0, C_out, 1, b, 0, NR, zeros.ctypes.data, 0, c, c_rows, NR, NO_FLOOR)
    tile = tiles[worker]
    for m in range(columns):
        for ci in range(rows):
            dx[block + m, group + ci] = tile[ci, m]


@compiled
def _backward_input(dy, kernel, dx, packed, tiles, table, zeros):  # type: ignore[no-untyped-def]
    _, C_out = dy.shape
    C_in = kernel.shape[0]
    row_offsets(table[0], C_out)
    row_offsets(table[1], NR)
    blocks = packed.shape[0]
    parallel_for(blocks, dy.size, pack_transposed, (dy, packed))
    parallel_for(
        (C_in + GROUP - 1) // GROUP * blocks,
        dy.size * C_in,
        _backward_input_group,
        (kernel, packed, dx, tiles, table, zeros),
    )


def dense_backward_kernel(x: Array, dy: Array) -> Array:
    """Parallel over parts of the result, so that no sum is cut; a tile is MR input by NR output features."""
    if x.dtype != np.float32:
        return reference.dense_backward_kernel(x, dy)
    M, C_in = x.shape
    C_out = dy.shape[1]
    dkernel = empty((C_in, C_out))
    if M == 0:
        dkernel.fill(0)
        return dkernel
    _backward_kernel(x, dy, dkernel, empty((blocks_of(C_out), M, NR)), empty((2, C_in), np.int64), np.zeros(NR, np.float32))
    return dkernel


@part
def _backward_kernel_group(task: int, worker: int, x, panels, dkernel, table, zeros) -> None:  # type: ignore[no-untyped-def]
    M, C_in = x.shape
    C_out = dkernel.shape[1]
    blocks = panels.shape[0]
    group, block = task // blocks * GROUP, task % blocks
    a_rows, c_rows = table.ctypes.data + 8 * group, table.ctypes.data + 8 * (C_in + group)
    b = panels.ctypes.data + 4 * block * M * NR
    c = dkernel.ctypes.data + 4 * block * NR
    columns = min(NR, C_out - block * NR)
    multiply(
        x.ctypes.data,
        a_rows,
        min(GROUP, C_in - group),
        1,
        0,
        M,
        C_in,
        b,
        0,
        NR,
        zeros.ctypes.data,
        0,
        c,
        c_rows,
        columns,
        NO_FLOOR,
    )


@compiled
def _backward_kernel(x, dy, dkernel, panels, table, zeros):  # type: ignore[no-untyped-def]
    C_in, C_out = dkernel.shape
    row_offsets(table[0], 1)
    row_offsets(table[1], C_out)
    blocks = panels.shape[0]
    parallel_for(blocks, dy.size, pack, (dy, panels))
    parallel_for(
        (C_in + GROUP - 1) // GROUP * blocks, dy.size * C_in, _backward_kernel_group, (x, panels, dkernel, table, zeros)
    )


def bias_backward(dy: Array) -> Array:
    """Rows are summed in runs of a fixed length, then the runs."""
    if dy.dtype != np.float32:
        return reference.bias_backward(dy)
    rows = dy.reshape(-1, dy.shape[-1])
    dbias = empty((dy.shape[-1],))
    _bias_backward(rows, dbias, empty((max(1, -(-rows.shape[0] // SUMMED_ROWS)), dy.shape[-1])))
    return dbias


@part
def sum_rows(task: int, worker: int, rows: Any, partial: Any) -> None:
    """partial[task] = the sum of this task's run of rows."""
    M, C = rows.shape
    for c in range(C):
        partial[task, c] = 0
    for m in range(task * SUMMED_ROWS, min((task + 1) * SUMMED_ROWS, M)):
        for c in range(C):
            partial[task, c] += rows[m, c]


@compiled
def _bias_backward(rows, dbias, partial):  # type: ignore[no-untyped-def]
    parallel_for(partial.shape[0], rows.size * 4, sum_rows, (rows, partial))
    dbias[:] = 0
    for task in range(partial.shape[0]):
        for c in range(dbias.size):
            dbias[c] += partial[task, c]
