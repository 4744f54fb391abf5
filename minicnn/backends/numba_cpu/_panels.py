"""What the micro-kernel is handed: tables of offsets, kernels in panels of NR columns, images in a frame of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._microkernel import NR

__all__ = ["blocks_of", "frame_image", "pack", "pack_transposed", "pixel_offsets", "start_row", "unframe_image"]


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
    if width == NR:
        for k in range(K):
            for j in range(NR):
                packed[block, k, j] = matrix[k, first + j]
    else:
        for k in range(K):
            for j in range(NR):
                packed[block, k, j] = matrix[k, first + j] if j < width else np.float32(0)


@part
def pack_transposed(panel: int, worker: int, matrices: Any, packed: Any) -> None:
    """packed[tap, block, k, j] = matrices[tap, block*NR + j, k], 0 beyond.

    matrices: (taps, C, K); packed: (taps, blocks, K, NR); panel: tap * blocks + block.
    """
    _, C, K = matrices.shape
    tap, block = panel // packed.shape[1], panel % packed.shape[1]
    first = block * NR
    width = min(NR, C - first)
    for j in range(width):
        for k in range(K):
            packed[tap, block, k, j] = matrices[tap, first + j, k]
    for j in range(width, NR):
        for k in range(K):
            packed[tap, block, k, j] = 0


@part
def frame_image(x: Any, n: int, top: int, left: int, frame: Any) -> None:
    """Image n of x into `frame` (height, width, C) with pixel (0, 0) at (top, left) and zeros around it.

    A negative `top` cuts rows off, and so does a frame that is too low.
    """
    _, H, W, C = x.shape
    height, width, _ = frame.shape
    for h in range(height):
        row = h - top
        if 0 <= row < H:
            for w in range(left):
                for c in range(C):
                    frame[h, w, c] = 0
            for w in range(W):
                for c in range(C):
                    frame[h, left + w, c] = x[n, row, w, c]
            for w in range(left + W, width):
                for c in range(C):
                    frame[h, w, c] = 0
        else:
            for w in range(width):
                for c in range(C):
                    frame[h, w, c] = 0


@part
def unframe_image(frame: Any, top: int, left: int, x: Any, n: int) -> None:
    """The other way: image n of x out of its frame."""
    _, H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                x[n, h, w, c] = frame[top + h, left + w, c]
