"""What the micro-kernel is handed: tables of offsets, matrices in panels of NR columns, images with zeros around them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._microkernel import MR, NR, ZERO, address
from minicnn.backends.numba_cpu._pooling import Pixels, Windows, maxpool_backward_row

WIDE = np.uint64(NR)
NO_BIAS = np.zeros(0, np.float32)
NO_ARGMAX = np.zeros((1, 1, 1, 1), np.uint8)
WHOLE = (0, -1)
"""For `fill_panels`: all windows of an image."""


def blocks_of(columns: int) -> int:
    """Panels of NR columns that cover so many columns."""
    return -(-columns // NR)


@part
def start_row(bias: Any, columns: int) -> Any:
    """What every sum starts from, (columns up to whole panels,): the bias, zeros where there is none (no element)."""
    start = np.zeros((columns + NR - 1) // NR * NR, np.float32)
    for co in range(bias.size):
        start[co] = bias[co]
    return start


@part
def row_offsets(table: Any, step: int) -> None:
    """table[m] = m * step: where the micro-kernel finds the rows of a matrix."""
    for m in range(table.size):
        table[m] = m * step


@part
def pixel_offsets(table: Any, OW: int, row_step: int, column_step: int) -> None:
    """table[oy*OW + ox] = oy*row_step + ox*column_step: where the micro-kernel finds the pixels of a map."""
    for i in range(table.size):
        table[i] = (i // OW) * row_step + (i % OW) * column_step


@part
def pack(block: int, worker: int, matrix: Any, packed: Any) -> None:
    """packed[block, k, j] = matrix[k, block*NR + j], 0 beyond the last column. matrix: (K, C); packed: (blocks, K, NR)."""
    K, C = matrix.shape
    first = block * NR
    width = min(NR, C - first)
    for k in range(K):
        source, target = matrix[k, first : first + width], packed[block, k]
        if width == NR:
            for j in range(NR):
                target[j] = source[j]
        else:
            for j in range(width):
                target[j] = source[j]
            for j in range(width, NR):
                target[j] = ZERO


@part
def pack_transposed(block: int, worker: int, matrix: Any, packed: Any) -> None:
    """packed[block, k, j] = matrix[block*NR + j, k], 0 beyond the last row. matrix: (M, K); packed: (blocks, K, NR)."""
    M, K = matrix.shape
    first = block * NR
    for j in range(NR):
        for k in range(K):
            packed[block, k, j] = matrix[first + j, k] if first + j < M else ZERO


@part
def pack_taps(panel: int, worker: int, kernel: Any, packed: Any, flip: bool) -> None:
    """packed[ci_block, co_block, tap, k, j] = kernel[tap, ci_block*NR + j, co_block*NR + k], 0 beyond both.

    panel: ci_block * co_blocks + co_block; kernel: (taps, C_in, C_out), with `flip` from its last tap to its first.
    """
    taps, C_in, C_out = kernel.shape
    ci_block, co_block = panel // packed.shape[1], panel % packed.shape[1]
    for tap in range(taps):
        source = taps - 1 - tap if flip else tap
        for j in range(NR):
            ci = ci_block * NR + j
            for k in range(NR):
                co = co_block * NR + k
                packed[ci_block, co_block, tap, k, j] = kernel[source, ci, co] if ci < C_in and co < C_out else ZERO


class OutputGradient(NamedTuple):
    """The gradient at the end of a convolution, and what leads it back to the convolution's own output, its map.

    Attributes:
        dy, y, argmax: (N, PH, PW, C_out), behind a ReLU and a max pooling or without them.
        relu, pooled: whether y, and whether argmax, is read.
        pool: the pooling's geometry. OH, OW: of the map before it.
    """

    dy: Any
    y: Any
    argmax: Any
    relu: bool
    pooled: bool
    pool: Any
    OH: int
    OW: int


def are_disjoint(pool: Any, PH: int, PW: int, OH: int, OW: int) -> bool:
    """Whether PH by PW windows of a pooling neither overlap nor hang over the edge of a map (OH, OW)."""
    if pool.SH < pool.KH or pool.SW < pool.KW or pool.top != 0 or pool.left != 0:
        return False
    return (PH - 1) * pool.SH + pool.KH <= OH and (PW - 1) * pool.SW + pool.KW <= OW


windows_are_disjoint = part(are_disjoint)


@part
def fill_panels(n: int, gradient: Any, span: Any, panels: Any, corner: Any, totals: Any) -> None:
    """The gradient at the map of image n, or at some rows of it, in panels.

    Args:
        gradient: an `OutputGradient`.
        span: which rows of windows, the first and the end; of disjoint windows, else `WHOLE`.
        panels: (blocks, height, width, NR), in which the span's first pixel stands at (top, left), the corner; 0 where no
            window lies, and beyond the last channel.
        totals: (blocks * NR,), to which the sum of what is led back is added: the gradient of a bias.
    """
    dy, y, argmax, relu, pooled, pool, OH, OW = gradient
    _, PH, PW, C_out = dy.shape
    first_row, end_row = span[0], span[1] if span[1] >= 0 else PH
    top, left = corner
    if pooled and (not windows_are_disjoint(pool, PH, PW, OH, OW) or argmax.itemsize != 1):
        _fill_overlapping(n, gradient, panels, top, left, totals)
        return
    ones, zeros = np.ones(NR, np.float32), np.zeros(C_out if pooled else PW * C_out, np.uint8)
    _, height, width, _ = panels.shape
    for block in range(panels.shape[0]):
        first = block * NR
        for py in range(first_row, end_row):
            begin = ((n * PH + py) * PW) * C_out + first
            windows = Windows(
                address(dy) + 4 * begin,
                address(y) + 4 * begin if relu else address(ones),
                C_out if relu else 0,
                address(argmax) + begin if pooled else address(zeros),
                C_out,
                PW,
                min(NR, C_out - first),
            )
            at = address(panels) + 4 * ((block * height + top + (py - first_row) * pool.SH) * width + left) * NR
            pixels = Pixels(at, width * NR, pool.SW * NR, pool.KH, pool.KW)
            maxpool_backward_row(windows, pixels, address(totals) + 4 * first)


@part
def _fill_overlapping(n: int, gradient: Any, panels: Any, top: int, left: int, totals: Any) -> None:
    """`fill_panels` where windows overlap or hang over the edge: each adds to what is there."""
    dy, y, argmax, relu, _, pool, OH, OW = gradient
    _, PH, PW, C_out = dy.shape
    row = np.empty((PW, NR), np.float32)
    clear(panels)
    for block in range(panels.shape[0]):
        first = block * NR
        for py in range(PH):
            gradient_row(dy[n, py], y[n, py], first, relu, row, totals[first : first + NR])
            ky_begin, ky_end = taps_inside(py, pool.SH, pool.top, pool.KH, OH)
            for px in range(PW):
                largest = argmax[n, py, px, first : min(first + NR, C_out)]
                kx_begin, kx_end = taps_inside(px, pool.SW, pool.left, pool.KW, OW)
                oy, ox = top + py * pool.SH - pool.top, left + px * pool.SW - pool.left
                for ky in range(ky_begin, ky_end):
                    for kx in range(kx_begin, kx_end):
                        to_argmax(row[px], largest, np.int32(ky * pool.KW + kx), True, panels[block, oy + ky, ox + kx])


@part
def clear(array: Any) -> None:
    """All to 0."""
    values = array.reshape(array.size)
    for i in range(values.size):
        values[i] = ZERO


@part
def sum_rows(rows: Any, total: Any) -> None:
    """total[c] = the sum of rows[:, c], one row after the other; rows may be longer than `total`."""
    clear(total)
    for row in range(rows.shape[0]):
        for c in range(total.size):
            total[c] += rows[row, c]


@part
def pack_columns(matrix: Any, row: int, rows: int, first: int, columns: int, packed: Any) -> None:
    """packed[tile, k, i] = matrix[row + k, first + tile*MR + i], for so many rows and columns from (row, first) on.

    That is the order in which tiles of MR rows read a transposed matrix, whose own rows lie pages apart.
    """
    whole, rest = columns // MR, columns % MR
    for k in range(rows):
        source = matrix[row + k]
        for tile in range(whole):
            left, target = first + tile * MR, packed[tile, k]
            for i in range(MR):
                target[i] = source[left + i]
        for i in range(rest):
            packed[whole, k, i] = source[first + whole * MR + i]


@part
def gradient_row(dy: Any, y: Any, first: int, relu: bool, row: Any, total: Any) -> None:
    """row[px, j] = dy[px, first + j], with `relu` where y is positive, 0 beyond the last channel; `total` += its sum."""
    PW, C = dy.shape
    begin, end = np.uint64(first), np.uint64(min(NR, C - first))  # unsigned: not tested for being negative
    for px in range(PW):
        target = row[px]
        if end == WIDE:
            for j in range(WIDE):
                g, positive = dy[px, begin + j], y[px, begin + j] > ZERO
                target[j] = g if positive or not relu else ZERO
        else:
            for j in range(end):
                g, positive = dy[px, begin + j], y[px, begin + j] > ZERO
                target[j] = g if positive or not relu else ZERO
            for j in range(end, WIDE):
                target[j] = ZERO
    for px in range(PW):
        for j in range(NR):
            total[j] += row[px, j]


@part
def to_argmax(gradient: Any, argmax: Any, tap: Any, add: bool, target: Any) -> None:
    """target[j] (+)= gradient[j] where this tap had the largest pixel, else 0.

    Both are loaded before they are looked at, else LLVM would branch around the load; and a trip
    count that it knew it would unroll instead of vectorising.
    """
    if add:
        for j in range(argmax.size):
            g, largest = gradient[j], np.int32(argmax[j])
            target[j] += g if largest == tap else ZERO
    else:
        for j in range(argmax.size):
            g, largest = gradient[j], np.int32(argmax[j])
            target[j] = g if largest == tap else ZERO


@part
def taps_inside(place: int, stride: int, before: int, window: int, size: int) -> tuple[int, int]:
    """First and end of a window's taps that fall on the image: 0 <= place*stride + tap - before < size; end >= first."""
    begin = place * stride - before
    first = max(0, -begin)
    return first, max(first, min(window, size - begin))


@part
def pad_image(x: Any, n: int, top: int, left: int, padded: Any) -> None:
    """Image n of x into `padded` (height, width, C), with pixel (0, 0) at (top, left) and zeros around it.

    A negative `top` cuts rows off, and so does too low a target.
    """
    _, H, W, C = x.shape
    height, width, _ = padded.shape
    for h in range(height):
        row = h - top
        inside = 0 <= row < H
        for w in range(left if inside else width):
            for c in range(C):
                padded[h, w, c] = ZERO
        if inside:
            for w in range(W):
                for c in range(C):
                    padded[h, left + w, c] = x[n, row, w, c]
            for w in range(left + W, width):
                for c in range(C):
                    padded[h, w, c] = ZERO


@part
def crop_image(padded: Any, top: int, left: int, x: Any, n: int) -> None:
    """The other way: image n of x out of what lies around it."""
    _, H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                x[n, h, w, c] = padded[top + h, left + w, c]
