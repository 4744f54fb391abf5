"""How a kernel walks over an image: the frame of zeros around it, and the chunks of images that are summed apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._panels import frame_image
from minicnn.backends.numba_cpu._pool import MOST

__all__ = ["CHUNKS", "NO_FLOOR", "Walk", "frames_for", "image_of", "sum_chunks", "walk_of"]

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]

NO_FLOOR = np.float32(-np.inf)
CHUNKS = 16  # of images that are summed apart: the most threads a kernel gradient can use


class Walk(NamedTuple):
    """How a kernel walks over an image that stands in a frame of zeros."""

    KH: int
    KW: int
    SH: int
    SW: int
    DH: int
    DW: int
    top: int
    left: int
    height: int  # of the frame; the image's own where there is no padding
    width: int


def walk_of(image: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair) -> Walk:
    """The walk of a kernel (KH, KW, ...) over an image (N, H, W, C)."""
    height, width = image[1] + pads[0] + pads[1], image[2] + pads[2] + pads[3]
    return Walk(kernel[0], kernel[1], *strides, *dilation, pads[0], pads[2], height, width)


def frames_for(walk: Walk, image: tuple[int, ...], rows: int) -> np.ndarray:
    """A frame of so many rows for each thread; next to nothing where the image needs none."""
    framed = (walk.height, walk.width) != (image[1], image[2])
    return empty((MOST, rows, walk.width, image[3])) if framed else empty((1, 1, 1, 1))


@part
def image_of(x: Any, n: int, row: int, frames: Any, worker: int, walk: Any) -> int:
    """Address of image n in its frame, from the frame's `row` on: x itself where there is no padding."""
    _, H, W, C_in = x.shape
    if walk.height == H and walk.width == W:
        return x.ctypes.data + 4 * (n * H + row) * W * C_in
    frame_image(x, n, walk.top - row, walk.left, frames[worker])
    return frames.ctypes.data + 4 * worker * frames.shape[1] * frames.shape[2] * frames.shape[3]


@part
def sum_chunks(task: int, worker: int, partial: Any, total: Any) -> None:
    """total (M, C) = the sum of partial (chunks, M, C) in the order of the chunks; a task does 8 rows."""
    chunks, M, C = partial.shape
    for m in range(task * 8, min(task * 8 + 8, M)):
        for c in range(C):
            total[m, c] = partial[0, m, c]
        for chunk in range(1, chunks):
            for c in range(C):
                total[m, c] += partial[chunk, m, c]
