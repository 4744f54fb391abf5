"""Dense layers: the micro-kernel's product, with whichever operand is small copied into panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu import pointwise
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._microkernel import (
    LONG_SUM,
    MR,
    NO_BOUND,
    NR,
    ZERO,
    ZEROS,
    Panel,
    Rows,
    Start,
    Tile,
    address,
    multiply,
    streams,
)
from minicnn.backends.numba_cpu._panels import (
    NO_BIAS,
    blocks_of,
    clear,
    pack,
    pack_columns,
    pack_transposed,
    row_offsets,
    start_row,
    sum_rows,
)
from minicnn.backends.numba_cpu._parallel import even_parts, parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.numba_cpu.elementwise import relu_backward
from minicnn.backends.reference import dense as reference
from minicnn.backends.types import Array

GROUP = 96  # rows of the input's gradient that one task computes
WIDE = 64 * MR  # rows of the kernel's, copied together, at most: groups of them are about equal
TOGETHER = 4 * MR  # and of these the rows that are computed together
SAMPLES = 256  # of a forward pass that one task takes: it copies the kernel's panel for them
BLOCKS = 8  # of NR output features that one task takes at most: the samples are read anew by each task
DEPTH = 256  # rows of a panel that lie in L1 together
FEW = 3  # samples for which a panel is not worth copying
PARTS, PART = 16, 1 << 14  # of a kernel that are summed apart for few samples: at most so many, of at least so many weights
SUMMED_ROWS = 512  # rows of dy that one task sums for the bias


def dense_forward(x: Array, kernel: Array, bias: Array | None, relu: bool = False) -> Array:
    """Parallel over groups of samples and of output features; the ReLU is the last that a tile meets in its registers."""
    if x.dtype != np.float32:
        return reference.dense_forward(x, kernel, bias, relu)
    y = empty((x.shape[0], kernel.shape[1]))
    bias = NO_BIAS if bias is None else bias
    if 0 < x.shape[0] <= FEW:
        parts = max(1, min(PARTS, kernel.size // PART))
        _forward_few(x, kernel, bias, y, empty((parts, *y.shape)), relu)
    else:
        blocks, share = blocks_of(kernel.shape[1]), even_parts(-(-x.shape[0] // SAMPLES))
        parts = min(blocks, -(-blocks // (BLOCKS * share)) * share)
        _forward(x, kernel, bias, y, empty((MOST, DEPTH, NR)), parts, relu)
    return y


@part
def _forward_block(task: int, worker: int, arrays: Any, packed: Any, table: Any, parts: int, lower_bound: Any) -> None:
    """A group of samples by some blocks of NR features.

    DEPTH columns of the samples stay in L2 for all blocks; as much of a block's panel is copied and stays in L1.
    """
    x, kernel, start, y = arrays
    (M, C_in), C_out = x.shape, y.shape[1]
    blocks = (C_out + NR - 1) // NR
    group, part_of = task // parts * SAMPLES, task % parts
    rows, panel = min(SAMPLES, M - group), packed[worker]
    for begin in range(0, C_in, DEPTH):
        end = min(begin + DEPTH, C_in)
        for block in range(part_of * blocks // parts, (part_of + 1) * blocks // parts):
            first = block * NR
            columns, c = min(NR, C_out - first), address(y) + 4 * first
            for k in range(begin, end):
                source, target = kernel[k, first : first + columns], panel[k - begin]
                for j in range(columns):
                    target[j] = source[j]
            a = Rows(address(x) + 4 * begin, address(table) + 8 * group, 0, 1)
            sums = Start(c, 1) if begin > 0 else Start(address(start) + 4 * first, 0)
            bound, tile = lower_bound if end == C_in else NO_BOUND, Tile(c, address(table) + 8 * (M + group), rows, columns, 0)
            multiply(a, Panel(address(panel), 0, NR), tile, sums, end - begin, end - begin, bound)


@compiled
def _forward(x, kernel, bias, y, packed, parts, relu):  # type: ignore[no-untyped-def]
    M, C_in = x.shape
    table = np.empty((2, M), np.int64)
    row_offsets(table[0], C_in)
    row_offsets(table[1], kernel.shape[1])
    arrays, lower_bound = (x, kernel, start_row(bias, kernel.shape[1]), y), ZERO if relu else NO_BOUND
    tasks = (M + SAMPLES - 1) // SAMPLES * parts
    parallel_for(tasks, y.size * C_in, _forward_block, (arrays, packed, table, parts, lower_bound))


@part
def _forward_part(task: int, worker: int, x: Any, kernel: Any, partial: Any) -> None:
    """partial[task] = the sum over a part of the input features: the kernel is read once, as it lies in memory."""
    M, C_in = x.shape
    parts, _, C_out = partial.shape
    first, end = task * C_in // parts, (task + 1) * C_in // parts
    clear(partial[task])
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
def _forward_few(x, kernel, bias, y, partial, relu):  # type: ignore[no-untyped-def]
    parallel_for(partial.shape[0], 2 * kernel.size, _forward_part, (x, kernel, partial))
    start, lower_bound = start_row(bias, kernel.shape[1]), ZERO if relu else NO_BOUND
    for m in range(y.shape[0]):
        target = y[m]
        for j in range(target.size):
            target[j] = start[j]
        for p in range(partial.shape[0]):
            for j in range(target.size):
                target[j] += partial[p, m, j]
        for j in range(target.size):
            target[j] = lower_bound if target[j] < lower_bound else target[j]


def dense_backward(
    dy: Array, x: Array, kernel: Array, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Parallel over parts of each result, so that no sum of a product is cut."""
    if dy.dtype != np.float32:
        return reference.dense_backward(dy, x, kernel, y, need_dx)
    if pointwise.pays(x.shape[0], *kernel.shape):
        return pointwise.backward(dy, x, kernel, y, need_dx)
    dz = dy if y is None else relu_backward(dy, y)
    (M, C_out), C_in = dz.shape, kernel.shape[0]
    dx = None
    if need_dx:
        dx = empty((M, C_in))
        _backward_input(dz, kernel, dx, empty((blocks_of(M), C_out, NR)), empty((MOST, GROUP, NR)))
    dkernel = empty((C_in, C_out))
    groups, blocks = -(-C_in // WIDE), blocks_of(C_out)
    wide, parts = -(-C_in // (groups * MR)) * MR if groups else WIDE, min(blocks, even_parts(groups))
    streamed = 1 if M <= DEPTH and streams(dkernel, LONG_SUM) else 0  # sums of a few samples, too
    _backward_kernel(x, dz, dkernel, empty((blocks, M, NR)), empty((MOST, wide // MR, DEPTH, MR)), parts, streamed)
    return dx, dkernel, sum_of_rows(dz)


@part
def _backward_input_group(task: int, worker: int, kernel: Any, packed: Any, dx: Any, tiles: Any, table: Any) -> None:
    """The transpose is computed, dx.T = kernel @ dz.T, so that the kernel is read where it lies and only dz is copied."""
    C_in, C_out = kernel.shape
    block, group = task % packed.shape[0] * NR, task // packed.shape[0] * GROUP
    rows, columns, tile = min(GROUP, C_in - group), min(NR, dx.shape[0] - block), tiles[worker]
    a, b = Rows(address(kernel), address(table) + 8 * group, 0, 1), Panel(address(packed) + 4 * block * C_out, 0, NR)
    c = Tile(address(tile), address(table) + 8 * table.shape[1], rows, NR, 0)
    multiply(a, b, c, Start(address(ZEROS), 0), C_out, C_out, NO_BOUND)
    for m in range(columns):
        for ci in range(rows):
            dx[block + m, group + ci] = tile[ci, m]


@compiled
def _backward_input(dz, kernel, dx, packed, tiles):  # type: ignore[no-untyped-def]
    C_in, C_out = kernel.shape
    table = np.empty((2, max(GROUP, C_in)), np.int64)
    row_offsets(table[0], C_out)
    row_offsets(table[1], NR)
    blocks = packed.shape[0]
    parallel_for(blocks, dz.size, pack_transposed, (dz, packed))
    groups = (C_in + GROUP - 1) // GROUP
    parallel_for(groups * blocks, dz.size * C_in, _backward_input_group, (kernel, packed, dx, tiles, table))


@part
def _backward_kernel_group(
    task: int, worker: int, x: Any, panels: Any, dkernel: Any, columns: Any, table: Any, shared: Any
) -> None:
    """A group of at most WIDE input features by some blocks of NR output features; a tile is MR by NR of them.

    DEPTH samples of the features are copied out of x, whose rows lie pages apart, in the order in which tiles read them:
    there they stay in L1 for all blocks of some rows. Those rows of the result are written from their first column to their
    last: a block's columns are two cache lines a row, and rows lie pages apart, so the processor would foresee no store.
    """
    (M, C_in), C_out, blocks, own = x.shape, dkernel.shape[1], panels.shape[0], columns[worker]
    wide, (parts, streamed) = table.shape[1], shared
    first, part_of = task // parts * wide, task % parts
    rows = min(wide, C_in - first)
    for begin in range(0, M, DEPTH):
        end = min(begin + DEPTH, M)
        pack_columns(x, begin, end - begin, first, rows, own)
        for row in range(0, rows, TOGETHER):
            of_x, of_dkernel = address(table[0]) + 8 * row, address(table[1]) + 8 * row
            for block in range(part_of * blocks // parts, (part_of + 1) * blocks // parts):
                at = address(dkernel) + 4 * (first * C_out + block * NR)
                start = Start(at, 1) if begin > 0 else Start(address(ZEROS), 0)
                a, b = Rows(address(own), of_x, 0, MR), Panel(address(panels) + 4 * (block * M + begin) * NR, 0, NR)
                c = Tile(at, of_dkernel, min(TOGETHER, rows - row), min(NR, C_out - block * NR), streamed)
                multiply(a, b, c, start, end - begin, end - begin, NO_BOUND)


@compiled
def _backward_kernel(x, dz, dkernel, panels, columns, parts, streamed):  # type: ignore[no-untyped-def]
    C_in, C_out = dkernel.shape
    if dz.size == 0:
        clear(dkernel)
        return
    wide = columns.shape[1] * MR
    table = np.empty((2, wide), np.int64)
    for i in range(wide):
        table[0, i] = i // MR * DEPTH * MR + i % MR
    row_offsets(table[1], C_out)
    parallel_for(panels.shape[0], dz.size, pack, (dz, panels))
    groups = (C_in + wide - 1) // wide
    parallel_for(
        groups * parts, dz.size * C_in, _backward_kernel_group, (x, panels, dkernel, columns, table, (parts, streamed))
    )


def sum_of_rows(dz: Array) -> Array:
    """dbias (C,) of dz (M, C). Parallel over runs of rows."""
    M, C = dz.shape
    dbias = empty((C,))
    _backward_bias(dz, dbias, empty((max(1, -(-M // SUMMED_ROWS)), C)))
    return dbias


@part
def _sum_rows(task: int, worker: int, rows: Any, partial: Any) -> None:
    """partial[task] = the sum of this task's run of rows."""
    M, C = rows.shape
    clear(partial[task])
    for m in range(task * SUMMED_ROWS, min((task + 1) * SUMMED_ROWS, M)):
        for c in range(C):
            partial[task, c] += rows[m, c]


@compiled
def _backward_bias(dz, dbias, partial):  # type: ignore[no-untyped-def]
    # Rows are summed in runs of a fixed length, then the runs.
    parallel_for(partial.shape[0], dz.size * 4, _sum_rows, (dz, partial))
    sum_rows(partial, dbias)
