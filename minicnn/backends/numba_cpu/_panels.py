"""What the micro-kernel is handed: tables of offsets, matrices in panels of NR columns, images in a frame of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._microkernel import NR

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
    if first + NR <= C:
        for k in range(K):
            for j in range(NR):
                packed[block, k, j] = matrix[k, first + j]
    else:
        for k in range(K):
            for j in range(NR):
                packed[block, k, j] = matrix[k, first + j] if first + j < C else ZERO


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
        gradient: (NR,), scratch.
        totals: (blocks * NR,), to which the map's sum is added: the gradient of a bias.
    """
    _, PH, PW, C_out = dy.shape
    KH, KW, SH, SW, pool_top, pool_left, OH, OW = pool
    overlapping = SH < KH or SW < KW
    for block in range(panels.shape[0]):
        first = block * NR
        width = min(NR, C_out - first)
        if pooled:
            for oy in range(OH):
                for ox in range(OW):
                    for j in range(NR):
                        panels[block, top + oy, left + ox, j] = ZERO
        for py in range(PH):
            ky_begin, ky_end = taps_inside(py, SH, pool_top, KH, OH)
            for px in range(PW):
                for j in range(width):
                    g = dy[n, py, px, first + j]
                    gradient[j] = g if not relu or y[n, py, px, first + j] > ZERO else ZERO
                for j in range(width, NR):
                    gradient[j] = ZERO
                for j in range(NR):
                    totals[first + j] += gradient[j]
                if not pooled:
                    for j in range(NR):
                        panels[block, top + py, left + px, j] = gradient[j]
                else:
                    kx_begin, kx_end = taps_inside(px, SW, pool_left, KW, OW)
                    for ky in range(ky_begin, ky_end):
                        oy = top + py * SH + ky - pool_top
                        for kx in range(kx_begin, kx_end):
                            ox = left + px * SW + kx - pool_left
                            tap = winners.dtype.type(ky * KW + kx)
                            if overlapping:
                                for j in range(width):
                                    panels[block, oy, ox, j] += gradient[j] if winners[n, py, px, first + j] == tap else ZERO
                            else:
                                for j in range(width):
                                    panels[block, oy, ox, j] = gradient[j] if winners[n, py, px, first + j] == tap else ZERO


@part
def taps_inside(place: int, stride: int, before: int, window: int, size: int) -> tuple[int, int]:
    """First and end of a window's taps that fall on the image: 0 <= place*stride + tap - before < size."""
    begin = place * stride - before
    return max(0, -begin), min(window, size - begin)


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
