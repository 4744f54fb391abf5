"""Dense layers: the micro-kernel's product, with whichever operand is small copied into panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._microkernel import NR, multiply
from minicnn.backends.numba_cpu._panels import blocks_of, pack, pack_transposed, start_row
from minicnn.backends.numba_cpu._parallel import even_parts, parallel_for
from minicnn.backends.numba_cpu._pool import MOST

__all__ = ["bias_backward", "dense_backward_input", "dense_backward_kernel", "dense_forward"]

Array = Any

NO_FLOOR = np.float32(-np.inf)
GROUP = 96  # rows of a gradient that one task computes
SAMPLES = 256  # of a forward pass that one task takes: it copies the kernel's panel for them
BLOCKS = 8  # of NR output features that one task takes at most: the samples are read anew by each task
DEPTH = 256  # rows of a panel that lie in L1 together
FEW = 3  # samples for which a panel is not worth copying
PARTS, PART = 16, 1 << 14  # of a kernel that are summed apart for few samples: at most so many, of at least so many weights
SUMMED_ROWS = 512  # rows that one task of `bias_backward` sums


def dense_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """Parallel over groups of samples and of output features."""
    if x.dtype != np.float32:
        return reference.dense_forward(x, kernel, bias)
    return forward(x, kernel, bias, NO_FLOOR)


def forward(x: Array, kernel: Array, bias: Array | None, floor: np.float32) -> Array:
    """max(floor, dense_forward(...))."""
    y = empty((x.shape[0], kernel.shape[1]))
    if 0 < x.shape[0] <= FEW:
        parts = max(1, min(PARTS, kernel.size // PART))
        _forward_few(x, kernel, start_row(bias, kernel.shape[1]), y, empty((parts, *y.shape)), floor)
    else:
        blocks, share = blocks_of(kernel.shape[1]), even_parts(-(-x.shape[0] // SAMPLES))
        parts = min(blocks, -(-blocks // (BLOCKS * share)) * share)
        packed = empty((MOST, DEPTH, NR))
        _forward(x, kernel, start_row(bias, kernel.shape[1]), y, packed, empty((2, x.shape[0]), np.int64), parts, floor)
    return y


@part
def row_offsets(table: Any, step: int) -> None:
    """table[m] = m * step."""
    for m in range(table.size):
        table[m] = m * step


@part
def _forward_block(task: int, worker: int, x, kernel, packed, start, y, table, parts, floor) -> None:  # type: ignore[no-untyped-def]
    """A group of samples by some blocks of NR features.

    DEPTH columns of the samples stay in L2 for all blocks; as much of a block's panel is copied and stays in L1.
    """
    M, C_in = x.shape
    C_out = y.shape[1]
    blocks = (C_out + NR - 1) // NR
    group, part_of = task // parts * SAMPLES, task % parts
    rows, panel = min(SAMPLES, M - group), packed[worker]
    for begin in range(0, C_in, DEPTH):
        end = min(begin + DEPTH, C_in)
        for block in range(part_of * blocks // parts, (part_of + 1) * blocks // parts):
            first = block * NR
            columns, c = min(NR, C_out - first), y.ctypes.data + 4 * first
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
def _forward(x, kernel, start, y, packed, table, parts, floor):  # type: ignore[no-untyped-def]
    M, C_in = x.shape
    row_offsets(table[0], C_in)
    row_offsets(table[1], kernel.shape[1])
    tasks = (M + SAMPLES - 1) // SAMPLES * parts
    parallel_for(tasks, y.size * C_in, _forward_block, (x, kernel, packed, start, y, table, parts, floor))


@part
def _forward_part(task: int, worker: int, x, kernel, partial) -> None:  # type: ignore[no-untyped-def]
    """partial[task] = the sum over a part of the input features: the kernel is read once, as it lies in memory."""
    M, C_in = x.shape
    parts, _, C_out = partial.shape
    first, end = task * C_in // parts, (task + 1) * C_in // parts
    for m in range(M):
        target = partial[task, m]
        for j in range(C_out):
            target[j] = 0
    k = first
    while k + 4 <= end:  # four rows at a time, else the sums would be loaded and stored for each
        row0, row1, row2, row3 = kernel[k], kernel[k + 1], kernel[k + 2], kernel[k + 3]
        for m in range(M):
            x0, x1, x2, x3, target = x[m, k], x[m, k + 1], x[m, k + 2], x[m, k + 3], partial[task, m]
            for j in range(C_out):
                target[j] += (x0 * row0[j] + x1 * row1[j]) + (x2 * row2[j] + x3 * row3[j])
        k += 4
    while k < end:
        row0 = kernel[k]
        for m in range(M):
            x0, target = x[m, k], partial[task, m]
            for j in range(C_out):
                target[j] += x0 * row0[j]
        k += 1


@compiled
def _forward_few(x, kernel, start, y, partial, floor):  # type: ignore[no-untyped-def]
    parallel_for(partial.shape[0], 2 * kernel.size, _forward_part, (x, kernel, partial))
    for m in range(y.shape[0]):
        target = y[m]
        for j in range(target.size):
            target[j] = start[j]
        for p in range(partial.shape[0]):
            for j in range(target.size):
                target[j] += partial[p, m, j]
        for j in range(target.size):
            target[j] = floor if target[j] < floor else target[j]


def dense_backward_input(dy: Array, kernel: Array) -> Array:
    """The transpose is computed, dx.T = kernel @ dy.T, so that the kernel is read where it lies and only dy is copied."""
    if dy.dtype != np.float32:
        return reference.dense_backward_input(dy, kernel)
    M, C_out = dy.shape
    dx = empty((M, kernel.shape[0]))
    packed = empty((blocks_of(M), C_out, NR))
    tiles = empty((MOST, GROUP, NR))
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
