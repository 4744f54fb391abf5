"""How a kernel slides over an image: the zeros around it, and the chunks of images that are summed apart."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._microkernel import address
from minicnn.backends.numba_cpu._panels import pad_image
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.types import Window

CHUNKS = 16  # of images that are summed apart: the most threads a kernel gradient can use
FEW_CHUNKS = 8  # where sums would be short
SHORT_SUM = 128  # products: a chunk's sums are stored, and read again to be added to the others'


class Geometry(NamedTuple):
    """A `Window` over images of one size: ints alone, as compiled loops read them fastest."""

    KH: int
    KW: int
    SH: int
    SW: int
    DH: int
    DW: int
    top: int
    left: int
    height: int  # of the padded image; the image's own where there is no padding
    width: int
    OH: int
    OW: int


NO_POOL = Geometry(1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0)
NO_SCRATCH = np.zeros((1, 1, 1, 1), np.float32)
"""What stands for scratch memory, or a result, that nobody writes or reads."""


@functools.lru_cache(maxsize=4096)
def geometry_of(H: int, W: int, window: Window) -> Geometry:
    """The geometry of a window over images of H by W pixels."""
    top, bottom, left, right = window.pads
    padded = H + top + bottom, W + left + right
    return Geometry(*window.size, *window.strides, *window.dilation, top, left, *padded, *window.output)


def chunks_of(N: int, places: int) -> int:
    """Into how many chunks N images are cut, each of which gives so many products to a sum; whatever the number of threads."""
    return max(1, min(N, CHUNKS if N * places >= CHUNKS * SHORT_SUM else FEW_CHUNKS))


def memory_for_padding(geometry: Geometry, x_shape: tuple[int, ...], rows: int, images: int = 1) -> np.ndarray:
    """So many rows of as many padded images for each thread; nothing where an image needs no padding."""
    pads = (geometry.height, geometry.width) != x_shape[1:3]
    return empty((MOST * images, rows, geometry.width, x_shape[3])) if pads else NO_SCRATCH


@part
def padded_image(x: Any, n: int, row: int, padded: Any, slot: int, geometry: Any) -> int:
    """The address of image n with zeros around it, from row `row` on: in x itself where there is no padding."""
    _, H, W, C_in = x.shape
    if geometry.height == H and geometry.width == W:
        return address(x) + 4 * (n * H + row) * W * C_in
    pad_image(x, n, geometry.top - row, geometry.left, padded[slot])
    return address(padded[slot])


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
