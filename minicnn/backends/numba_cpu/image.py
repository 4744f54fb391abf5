"""Warping, resizing and recolouring of images: one task an image."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.reference import image as reference
from minicnn.backends.types import Array, Pair

THREE = np.uint64(3)
APART = 64  # floats between two threads' scratch rows: what one writes is not in a line that the other fetches ahead


@part
def folded(index: int, size: int, fill_mode: int) -> int:
    """The pixel that stands for pixel `index`; -1 for none, where the constant is filled in."""
    if 0 <= index < size:
        return index
    if fill_mode == 0:
        return -1
    if fill_mode == 1:
        return 0 if index < 0 else size - 1
    if fill_mode == 2:
        index %= 2 * size
        return index if index < size else 2 * size - 1 - index
    if fill_mode == 4:
        index %= max(2 * size - 2, 1)
        return index if index < size else 2 * size - 2 - index
    return index % size


def affine_warp2d(x: Array, matrices: Array, image: Pair, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """Parallel over n; a row's places are computed first, in vectors."""
    if x.dtype != np.float32:
        return reference.affine_warp2d(x, matrices, image, interpolation, fill_mode, fill_value)
    return _warped(x, matrices, image, _warp_bilinear if interpolation else _warp_nearest, fill_mode, fill_value)


def _warped(x: Array, matrices: Array, image: Pair, warp: Any, fill_mode: int, fill_value: float) -> Array:
    y = empty((x.shape[0], *image, x.shape[3]))
    row = MOST, 2, image[1] + APART
    pixels, shares = empty(row, np.int32), empty(row)
    warp(x.shape[0], y.size * 10, x, matrices, y, (pixels, shares), (fill_mode, np.float32(fill_value)))
    return y


@tasks
def _warp_nearest(n: int, worker: int, x: Any, matrices: Any, y: Any, scratch: Any, fill: Any) -> None:
    pixels, (fill_mode, fill_value) = scratch[0], fill
    _, H, W, C = x.shape
    _, OH, OW, _ = y.shape
    a0, a1, a2, b0, b1, b2 = matrices[n]
    half = np.float32(0.5)
    nearest_x, nearest_y = pixels[worker, 0], pixels[worker, 1]
    source, target = x.reshape(x.size), y.reshape(y.size)
    to = np.uint64(n * OH * OW * C)
    for oy in range(OH):
        for ox in range(OW):
            column = a0 * np.float32(ox) + a1 * np.float32(oy) + a2
            row = b0 * np.float32(ox) + b1 * np.float32(oy) + b2
            nearest_x[ox] = np.int32(column + (half if column >= 0 else -half))
            nearest_y[ox] = np.int32(row + (half if row >= 0 else -half))
        for ox in range(OW):
            ix, iy = folded(nearest_x[ox], W, fill_mode), folded(nearest_y[ox], H, fill_mode)
            if ix >= 0 and iy >= 0:
                at = np.uint64(((n * H + iy) * W + ix) * C)
                if C == 3:
                    for c in range(THREE):
                        target[to + c] = source[at + c]
                else:
                    for c in range(np.uint64(C)):
                        target[to + c] = source[at + c]
            else:
                for c in range(C):
                    y[n, oy, ox, c] = fill_value
            to += np.uint64(C)


@tasks
def _warp_bilinear(n: int, worker: int, x: Any, matrices: Any, y: Any, scratch: Any, fill: Any) -> None:
    (pixels, shares), (fill_mode, fill_value) = scratch, fill
    _, H, W, C = x.shape
    _, OH, OW, _ = y.shape
    a0, a1, a2, b0, b1, b2 = matrices[n]
    one = np.float32(1)
    left, top, right, down = pixels[worker, 0], pixels[worker, 1], shares[worker, 0], shares[worker, 1]
    source, target = x.reshape(x.size), y.reshape(y.size)
    to = np.uint64(n * OH * OW * C)
    for oy in range(OH):
        for ox in range(OW):
            column = a0 * np.float32(ox) + a1 * np.float32(oy) + a2
            row = b0 * np.float32(ox) + b1 * np.float32(oy) + b2
            whole_column, whole_row = np.floor(column), np.floor(row)
            left[ox], top[ox] = np.int32(whole_column), np.int32(whole_row)
            right[ox], down[ox] = column - whole_column, row - whole_row
        for ox in range(OW):
            r, d = right[ox], down[ox]
            w00, w01, w10, w11 = (one - d) * (one - r), (one - d) * r, d * (one - r), d * r
            x0, y0 = left[ox], top[ox]
            x1, y1 = folded(x0 + 1, W, fill_mode), folded(y0 + 1, H, fill_mode)
            x0, y0 = folded(x0, W, fill_mode), folded(y0, H, fill_mode)
            if min(x0, x1, y0, y1) >= 0:
                # Places are unsigned: not tested for being negative.
                i00, i01 = np.uint64(((n * H + y0) * W + x0) * C), np.uint64(((n * H + y0) * W + x1) * C)
                i10, i11 = np.uint64(((n * H + y1) * W + x0) * C), np.uint64(((n * H + y1) * W + x1) * C)
                if C == 3:  # a loop whose length is known is unrolled
                    for c in range(THREE):
                        target[to + c] = (
                            w00 * source[i00 + c] + w01 * source[i01 + c] + w10 * source[i10 + c] + w11 * source[i11 + c]
                        )
                else:
                    for c in range(np.uint64(C)):
                        target[to + c] = (
                            w00 * source[i00 + c] + w01 * source[i01 + c] + w10 * source[i10 + c] + w11 * source[i11 + c]
                        )
            else:
                for c in range(C):
                    p00 = fill_value if y0 < 0 or x0 < 0 else x[n, y0, x0, c]
                    p01 = fill_value if y0 < 0 or x1 < 0 else x[n, y0, x1, c]
                    p10 = fill_value if y1 < 0 or x0 < 0 else x[n, y1, x0, c]
                    p11 = fill_value if y1 < 0 or x1 < 0 else x[n, y1, x1, c]
                    y[n, oy, ox, c] = (one - d) * ((one - r) * p00 + r * p01) + d * ((one - r) * p10 + r * p11)
            to += np.uint64(C)


def resize2d_bilinear(x: Array, image: Pair) -> Array:
    """A warp without turning: corners on corners, border pixels repeated."""
    if x.dtype != np.float32:
        return reference.resize2d_bilinear(x, image)
    across, along = x.shape[2] / image[1], x.shape[1] / image[0]
    matrix = np.array([across, 0, across / 2 - 0.5, 0, along, along / 2 - 0.5], np.float32)
    return _warped(x, np.tile(matrix, (x.shape[0], 1)), image, _warp_bilinear, 1, 0)


def resize2d_nearest(x: Array, image: Pair) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.resize2d_nearest(x, image)
    y = empty((x.shape[0], *image, x.shape[3]))
    _resize2d_nearest(x.shape[0], y.size * 4, x, y)
    return y


@tasks
def _resize2d_nearest(n: int, worker: int, x: Any, y: Any) -> None:
    _, H, W, C = x.shape
    _, OH, OW, _ = y.shape
    for oy in range(OH):
        iy = ((2 * oy + 1) * H) // (2 * OH)  # floor((oy + 1/2) * H / OH)
        for ox in range(OW):
            ix = ((2 * ox + 1) * W) // (2 * OW)
            for c in range(C):
                y[n, oy, ox, c] = x[n, iy, ix, c]


def adjust_colors(x: Array, factors: Array, offsets: Array, low: float, high: float) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.adjust_colors(x, factors, offsets, low, high)
    y = empty(x.shape)
    _adjust_colors(x.shape[0], x.size * 4, x, factors, offsets, np.float32(low), np.float32(high), y)
    return y


@tasks
def _adjust_colors(n: int, worker: int, x: Any, factors: Any, offsets: Any, low: Any, high: Any, y: Any) -> None:
    _, H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                y[n, h, w, c] = min(max(x[n, h, w, c] * factors[n, c] + offsets[n, c], low), high)


def upsample2d_nearest_forward(x: Array, size: Pair) -> Array:
    """Parallel over rows of pixels."""
    if x.dtype != np.float32:
        return reference.upsample2d_nearest_forward(x, size)
    (N, H, W, C), (FH, FW) = x.shape, size
    y = empty((N, H * FH, W * FW, C))
    _repeat(N * H, y.size, x.reshape(N * H, W, C), y.reshape(N * H, FH, W, FW, C))
    return y


@tasks
def _repeat(row: int, worker: int, x: Any, y: Any) -> None:
    _, FH, W, FW, C = y.shape
    for fy in range(FH):
        for w in range(W):
            for fx in range(FW):
                for c in range(C):
                    y[row, fy, w, fx, c] = x[row, w, c]


def upsample2d_nearest_backward(dy: Array, size: Pair) -> Array:
    """Parallel over rows of pixels."""
    if dy.dtype != np.float32:
        return reference.upsample2d_nearest_backward(dy, size)
    (N, OH, OW, C), (FH, FW) = dy.shape, size
    H, W = OH // FH, OW // FW
    dx = empty((N, H, W, C))
    _sum_blocks(N * H, dy.size, dy.reshape(N * H, FH, W, FW, C), dx.reshape(N * H, W, C))
    return dx


@tasks
def _sum_blocks(row: int, worker: int, dy: Any, dx: Any) -> None:
    _, FH, W, FW, C = dy.shape
    for w in range(W):
        for c in range(C):
            dx[row, w, c] = np.float32(0)
    for fy in range(FH):
        for w in range(W):
            for fx in range(FW):
                for c in range(C):
                    dx[row, w, c] += dy[row, fy, w, fx, c]


def upsample2d_forward(x: Array, image: Pair, radius: int) -> Array:
    """Along one axis after the other, parallel over what lies before it."""
    if x.dtype != np.float32:
        return reference.upsample2d_forward(x, image, radius)
    for axis, new_size in zip((1, 2), image):
        x = _banded(x, axis, *reference._mixing_band(x, x.shape[axis], new_size, radius))
    return x


def upsample2d_backward(dy: Array, image: Pair, radius: int) -> Array:
    """As the forward pass, with the transposed matrices."""
    if dy.dtype != np.float32:
        return reference.upsample2d_backward(dy, image, radius)
    for axis, size in zip((1, 2), image):
        dy = _banded(dy, axis, *reference._unmixing_band(dy, size, dy.shape[axis], radius))
    return dy


def _banded(x: Array, axis: int, matrix: Array, first: Array, width: int) -> Array:
    """matrix @ x along an axis, by the matrix's band."""
    before, behind = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    y = empty((*x.shape[:axis], len(matrix), *x.shape[axis + 1 :]))
    arrays = x.reshape(before, -1, behind), matrix, first, y.reshape(before, -1, behind)
    _band_product(before, y.size * width, *arrays, width)
    return y


@tasks
def _band_product(n: int, worker: int, x: Any, matrix: Any, first: Any, y: Any, width: int) -> None:
    _, size, behind = x.shape
    for i in range(matrix.shape[0]):
        for b in range(behind):
            y[n, i, b] = np.float32(0)
        for j in range(max(0, first[i]), min(size, first[i] + width)):
            weight = matrix[i, j]
            for b in range(behind):
                y[n, i, b] += weight * x[n, j, b]
