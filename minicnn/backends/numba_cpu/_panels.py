"""What the micro-kernel is handed: tables of offsets, matrices in panels of NR columns, images in a frame of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.numba_cpu._unpool import unpool_row

__all__ = [
    "blocks_of",
    "fill_panels",
    "frame_image",
    "pack",
    "pack_taps",
    "pack_transposed",
    "pixel_offsets",
    "start_row",
    "taps_inside",
    "unframe_image",
]

ZERO = np.float32(0)
WIDE = np.uint64(NR)


def blocks_of(columns: int) -> int:
    """Panels of NR columns that cover so many columns."""
    return -(-columns // NR)


def start_row(bias: np.ndarray | None, columns: int) -> np.ndarray:
    """What every sum starts from: the bias or zeros, (blocks * NR,)."""
    start = empty((blocks_of(columns) * NR,))
    start.fill(0)
    if bias is not None:
        start[:columns] = bias
    return start


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


@part
def fill_panels(
    n: int,
    dy: Any,
    y: Any,
    winners: Any,
    panels: Any,
    top: int,
    left: int,
    pool: Any,
    relu: bool,
    pooled: bool,
    gradient: Any,
    totals: Any,
) -> None:
    """The gradient at a convolution's output, in panels, from dy behind its ReLU and its max pooling; of image n.

    Args:
        dy, y, winners: (N, PH, PW, C_out), after the pooling (or without one); y for the ReLU's mask.
        panels: (blocks, height, width, NR), a frame in which pixel (0, 0) of the map stands at (top, left).
        pool: (KH, KW, SH, SW, top, left, OH, OW) of the pooling and the map before it.
        gradient: (PW, NR), scratch.
        totals: (blocks * NR,), to which the map's sum is added: the gradient of a bias.
    """
    _, PH, PW, C_out = dy.shape
    KH, KW, SH, SW, pool_top, pool_left, OH, OW = pool
    overlapping = SH < KH or SW < KW
    whole = pool_top == 0 and pool_left == 0 and (PH - 1) * SH + KH <= OH and (PW - 1) * SW + KW <= OW
    if pooled and (overlapping or not whole or winners.itemsize != 1):
        _fill_overlapping(n, dy, y, winners, panels, top, left, pool, relu, gradient, totals)
        return
    ones, none = np.ones(NR, np.float32), np.zeros(C_out if pooled else PW * C_out, np.uint8)
    _, height, width, _ = panels.shape
    for block in range(panels.shape[0]):
        first = block * NR
        for py in range(PH):
            at = ((n * PH + py) * PW) * C_out + first
            unpool_row(
                dy.ctypes.data + 4 * at,
                y.ctypes.data + 4 * at if relu else ones.ctypes.data,
                C_out if relu else 0,
                winners.ctypes.data + at if pooled else none.ctypes.data,
                PW,
                C_out,
                min(NR, C_out - first),
                panels.ctypes.data + 4 * ((block * height + top + py * SH) * width + left) * NR,
                KH,
                KW,
                width * NR,
                SW * NR,
                totals.ctypes.data + 4 * first,
            )


@part
def _fill_overlapping(
    n: int, dy: Any, y: Any, winners: Any, panels: Any, top: int, left: int, pool: Any, relu: bool, gradient: Any, totals: Any
) -> None:
    """`fill_panels` where windows overlap or hang over the edge: each adds to what is there."""
    _, PH, PW, C_out = dy.shape
    KH, KW, SH, SW, pool_top, pool_left, OH, OW = pool
    clear(panels.reshape(panels.size))
    for block in range(panels.shape[0]):
        first = block * NR
        total = totals[first : first + NR]
        for py in range(PH):
            gradient_row(dy[n, py], y[n, py], first, relu, gradient, 0, total)
            ky_begin, ky_end = taps_inside(py, SH, pool_top, KH, OH)
            for px in range(PW):
                winner = winners[n, py, px, first : min(first + NR, C_out)]
                kx_begin, kx_end = taps_inside(px, SW, pool_left, KW, OW)
                oy, ox = top + py * SH - pool_top, left + px * SW - pool_left
                for ky in range(ky_begin, ky_end):
                    for kx in range(kx_begin, kx_end):
                        to_winner(gradient[px], winner, np.int32(ky * KW + kx), True, panels[block, oy + ky, ox + kx])


@part
def clear(values: Any) -> None:
    """All to 0."""
    for i in range(values.size):
        values[i] = ZERO


@part
def gradient_row(source: Any, passed: Any, first: int, relu: bool, panel: Any, left: int, total: Any) -> None:
    """panel[left + px, j] = source[px, first + j] where passed (the ReLU's output) is positive, 0 beyond the last channel.

    The sum over the row is added to `total`.
    """
    PW, C = source.shape
    begin, end = np.uint64(first), np.uint64(min(NR, C - first))  # unsigned: not tested for being negative
    for px in range(PW):
        target = panel[left + px]
        if end == WIDE:
            for j in range(WIDE):
                g, positive = source[px, begin + j], passed[px, begin + j] > ZERO
                target[j] = g if positive or not relu else ZERO
        else:
            for j in range(end):
                g, positive = source[px, begin + j], passed[px, begin + j] > ZERO
                target[j] = g if positive or not relu else ZERO
            for j in range(end, WIDE):
                target[j] = ZERO
    for px in range(PW):
        target = panel[left + px]
        for j in range(NR):
            total[j] += target[j]


@part
def to_winner(gradient: Any, winner: Any, tap: Any, add: bool, target: Any) -> None:
    """target[j] (+)= gradient[j] where this tap won, else 0.

    Both are loaded before they are looked at, else LLVM would branch around the load; and a trip
    count that it knew it would unroll instead of vectorising.
    """
    if add:
        for j in range(winner.size):
            g, won = gradient[j], np.int32(winner[j])
            target[j] += g if won == tap else ZERO
    else:
        for j in range(winner.size):
            g, won = gradient[j], np.int32(winner[j])
            target[j] = g if won == tap else ZERO


@part
def taps_inside(place: int, stride: int, before: int, window: int, size: int) -> tuple[int, int]:
    """First and end of a window's taps that fall on the image: 0 <= place*stride + tap - before < size; end >= first."""
    begin = place * stride - before
    first = max(0, -begin)
    return first, max(first, min(window, size - begin))


@part
def frame_image(x: Any, n: int, top: int, left: int, frame: Any) -> None:
    """Image n of x into `frame` (height, width, C) with pixel (0, 0) at (top, left) and zeros around it.

    A negative `top` cuts rows off, and so does a frame that is too low.
    """
    _, H, W, C = x.shape
    height, width, _ = frame.shape
    for h in range(height):
        row = h - top
        inside = 0 <= row < H
        for w in range(left if inside else width):
            for c in range(C):
                frame[h, w, c] = ZERO
        if inside:
            for w in range(W):
                for c in range(C):
                    frame[h, left + w, c] = x[n, row, w, c]
            for w in range(left + W, width):
                for c in range(C):
                    frame[h, w, c] = ZERO


@part
def unframe_image(frame: Any, top: int, left: int, x: Any, n: int) -> None:
    """The other way: image n of x out of its frame."""
    _, H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                x[n, h, w, c] = frame[top + h, left + w, c]
