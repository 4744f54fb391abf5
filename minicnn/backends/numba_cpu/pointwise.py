"""Gradients of a product with many rows, such as the pixels that a 1×1 convolution or a dense layer over an image sees.

A task takes a run of rows, and of these DEPTH at a time: the gradient at them, led back through the ReLU, and their inputs
are copied into panels, from which both products read while they are in a core's caches. So dy and x come from memory once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._geometry import CHUNKS, sum_chunks
from minicnn.backends.numba_cpu._microkernel import (
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
from minicnn.backends.numba_cpu._panels import WIDE, blocks_of, pack_columns, pack_taps, row_offsets
from minicnn.backends.numba_cpu._parallel import parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.types import Array

ONE = np.float32(1)
DEPTH = 256  # rows in panels at a time: a panel of NR columns of dy and one of MR of x fit L1 together
FEWEST = 4 * DEPTH  # rows that are worth it
SUMMED = 8  # panels of dy whose products one tile of dx sums at a time: they and the kernel's lie in L1


def pays(M: int, C_in: int, C_out: int) -> bool:
    """Whether there are rows enough for each chunk of them to sum a kernel's gradient of its own."""
    return M >= FEWEST and 2 * M * (C_in + C_out) >= _chunks(M) * C_in * C_out


def _chunks(M: int) -> int:
    return max(1, min(CHUNKS, M // DEPTH))


def backward(dy: Array, x: Array, kernel: Array, y: Array | None, need_dx: bool) -> tuple[Array | None, Array, Array]:
    """`dense_backward`, parallel over chunks of rows."""
    (M, C_out), C_in = dy.shape, kernel.shape[0]
    dx = empty((M, C_in) if need_dx else (1, 1))
    blocks = blocks_of(C_out)
    partial, sums = empty((_chunks(M), C_in + 1, C_out)), empty((C_in + 1, C_out))
    packed = empty((blocks_of(C_in), blocks, 1, NR, NR) if need_dx else (1, 1, 1, 1, 1))
    panels, columns = empty((MOST, blocks, DEPTH, NR)), empty((MOST, C_in // MR + 1, DEPTH, MR))
    arrays = dy, dy if y is None else y, x, kernel, dx, sums
    streamed = 1 if need_dx and blocks <= SUMMED and streams(dx, C_out) else 0
    _backward(arrays, (partial, packed, panels, columns), (y is not None, need_dx, streamed))
    return dx if need_dx else None, sums[:C_in], sums[C_in]


@part
def _fill_panels(dy: Any, y: Any, relu: bool, first: int, rows: int, panels: Any) -> None:
    """panels[block, k, j] = dz[first + k, block*NR + j], 0 beyond the last column."""
    C_out = dy.shape[1]
    for k in range(rows):
        g, positive = dy[first + k], y[first + k]
        for block in range(panels.shape[0]):
            left, target = np.uint64(block * NR), panels[block, k]
            columns = np.uint64(min(NR, C_out - block * NR))
            if columns == WIDE:
                if relu:
                    for j in range(WIDE):
                        value, is_positive = g[left + j], positive[left + j] > ZERO
                        target[j] = value if is_positive else ZERO
                else:
                    for j in range(WIDE):
                        target[j] = g[left + j]
            else:
                for j in range(columns):
                    value, is_positive = g[left + j], positive[left + j] > ZERO
                    target[j] = value if is_positive or not relu else ZERO
                for j in range(columns, WIDE):
                    target[j] = ZERO


@part
def _kernel_gradient(panels: Any, columns: Any, rows: int, partial: Any, add: bool, table: Any) -> None:
    """partial[ci, co] (+)= sum over these rows of x[row, ci] * dy[row, co]."""
    taps, C_out = partial.shape
    for block in range(panels.shape[0]):
        c = address(partial) + 4 * block * NR
        start = Start(c, 1) if add else Start(address(ZEROS), 0)
        a, tile = (
            Rows(address(columns), address(table), 0, MR),
            Tile(c, address(table[1]), taps, min(NR, C_out - block * NR), 0),
        )
        multiply(a, Panel(address(panels[block]), 0, NR), tile, start, rows, rows, NO_BOUND)


@part
def _input_gradient(panels: Any, C_out: int, packed: Any, dx: Any, first: int, rows: int, table: Any, streamed: int) -> None:
    """dx[row, ci] = sum over co of dy[row, co] * kernel[ci, co], for these rows."""
    blocks, C_in = panels.shape[0], dx.shape[1]
    for ci_block in range(packed.shape[0]):
        at = address(dx) + 4 * (first * C_in + ci_block * NR)
        tile = Tile(at, address(table[1]), rows, min(NR, C_in - ci_block * NR), streamed)
        for begin in range(0, blocks, SUMMED):
            a = Rows(address(panels[begin]), address(table), DEPTH * NR, 1)
            b = Panel(address(packed[ci_block, begin]), NR * NR, NR)
            start = Start(at, 1) if begin > 0 else Start(address(ZEROS), 0)
            multiply(a, b, tile, start, min(SUMMED * NR, C_out - begin * NR), NR, NO_BOUND)


@part
def _backward_chunk(chunk: int, worker: int, arrays: Any, workspace: Any, tables: Any, flags: Any) -> None:
    (dy, y, x, dx), (relu, need_dx, streamed) = arrays, flags
    partial, packed, panels, columns = workspace
    own, chunks, (M, C_in) = panels[worker], partial.shape[0], x.shape
    begin, end = chunk * M // chunks, (chunk + 1) * M // chunks
    for first in range(begin, end, DEPTH):
        rows = min(DEPTH, end - first)
        _fill_panels(dy, y, relu, first, rows, own)
        pack_columns(x, first, rows, 0, C_in, columns[worker])
        for k in range(rows):  # behind the last column, for the bias
            columns[worker, C_in // MR, k, C_in % MR] = ONE
        _kernel_gradient(own, columns[worker], rows, partial[chunk], first > begin, tables[0])
        if need_dx:
            _input_gradient(own, dy.shape[1], packed, dx, first, rows, tables[1], streamed)


@compiled
def _backward(arrays, workspace, flags):  # type: ignore[no-untyped-def]
    dy, y, x, kernel, dx, sums = arrays
    partial, packed, _, _ = workspace
    _, need_dx, _ = flags
    C_in, C_out = kernel.shape
    of_kernel, of_dx = np.empty((2, C_in + 1), np.int64), np.empty((2, DEPTH), np.int64)
    for ci in range(C_in + 1):
        of_kernel[0, ci] = ci // MR * DEPTH * MR + ci % MR
    row_offsets(of_kernel[1], C_out)
    row_offsets(of_dx[0], NR)
    row_offsets(of_dx[1], C_in)
    if need_dx:
        panels = packed.shape[0] * packed.shape[1]
        parallel_for(panels, kernel.size, pack_taps, (kernel.reshape(1, C_in, C_out), packed, False))
    work = dy.size * C_in
    parallel_for(partial.shape[0], work, _backward_chunk, ((dy, y, x, dx), workspace, (of_kernel, of_dx), flags))
    parallel_for((C_in + 8) // 8, partial.size, sum_chunks, (partial, sums))
