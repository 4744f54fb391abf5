"""Warping, resizing and recolouring of images: one task an image."""

from __future__ import annotations

from math import floor, trunc
from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._parallel import tasks

__all__ = ["adjust_colors", "affine_warp2d", "resize2d_bilinear", "resize2d_nearest"]

Array = Any
Pair = tuple[int, int]


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
    return index % size


def affine_warp2d(x: Array, matrices: Array, image: Pair, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.affine_warp2d(x, matrices, image, interpolation, fill_mode, fill_value)
    y = empty((x.shape[0], *image, x.shape[3]))
    warp = _warp_bilinear if interpolation else _warp_nearest
    warp(x.shape[0], y.size * 20, x, matrices, y, fill_mode, np.float32(fill_value))
    return y


@tasks
def _warp_nearest(n: int, worker: int, x, matrices, y, fill_mode, fill_value) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C = x.shape
    _, OH, OW, _ = y.shape
    a0, a1, a2, b0, b1, b2 = matrices[n]
    half = np.float32(0.5)
    for oy in range(OH):
        for ox in range(OW):
            column = a0 * np.float32(ox) + a1 * np.float32(oy) + a2
            row = b0 * np.float32(ox) + b1 * np.float32(oy) + b2
            ix = folded(trunc(column + (half if column >= 0 else -half)), W, fill_mode)
            iy = folded(trunc(row + (half if row >= 0 else -half)), H, fill_mode)
            for c in range(C):
                y[n, oy, ox, c] = fill_value if ix < 0 or iy < 0 else x[n, iy, ix, c]


@tasks
def _warp_bilinear(n: int, worker: int, x, matrices, y, fill_mode, fill_value) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C = x.shape
    _, OH, OW, _ = y.shape
    a0, a1, a2, b0, b1, b2 = matrices[n]
    one = np.float32(1)
    for oy in range(OH):
        for ox in range(OW):
            column = a0 * np.float32(ox) + a1 * np.float32(oy) + a2
            row = b0 * np.float32(ox) + b1 * np.float32(oy) + b2
            left, top = floor(column), floor(row)
            right, down = column - np.float32(left), row - np.float32(top)
            x0, x1 = folded(left, W, fill_mode), folded(left + 1, W, fill_mode)
            y0, y1 = folded(top, H, fill_mode), folded(top + 1, H, fill_mode)
            if min(x0, x1, y0, y1) >= 0:
                w00, w01, w10, w11 = (one - down) * (one - right), (one - down) * right, down * (one - right), down * right
                for c in range(C):
                    y[n, oy, ox, c] = (
                        w00 * x[n, y0, x0, c] + w01 * x[n, y0, x1, c] + w10 * x[n, y1, x0, c] + w11 * x[n, y1, x1, c]
                    )
                continue
            for c in range(C):
                p00 = fill_value if y0 < 0 or x0 < 0 else x[n, y0, x0, c]
                p01 = fill_value if y0 < 0 or x1 < 0 else x[n, y0, x1, c]
                p10 = fill_value if y1 < 0 or x0 < 0 else x[n, y1, x0, c]
                p11 = fill_value if y1 < 0 or x1 < 0 else x[n, y1, x1, c]
                y[n, oy, ox, c] = (one - down) * ((one - right) * p00 + right * p01) + down * (
                    (one - right) * p10 + right * p11
                )


def resize2d_bilinear(x: Array, image: Pair) -> Array:
    """A warp without turning: corners on corners, border pixels repeated."""
    if x.dtype != np.float32:
        return reference.resize2d_bilinear(x, image)
    y = empty((x.shape[0], *image, x.shape[3]))
    across, along = x.shape[2] / image[1], x.shape[1] / image[0]
    matrix = np.array([across, 0, across / 2 - 0.5, 0, along, along / 2 - 0.5], np.float32)
    _warp_bilinear(x.shape[0], y.size * 20, x, np.broadcast_to(matrix, (x.shape[0], 6)), y, 1, np.float32(0))
    return y


def resize2d_nearest(x: Array, image: Pair) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.resize2d_nearest(x, image)
    y = empty((x.shape[0], *image, x.shape[3]))
    _resize2d_nearest(x.shape[0], y.size * 4, x, y)
    return y


@tasks
def _resize2d_nearest(n: int, worker: int, x, y) -> None:  # type: ignore[no-untyped-def]
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
def _adjust_colors(n: int, worker: int, x, factors, offsets, low, high, y) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                y[n, h, w, c] = min(max(x[n, h, w, c] * factors[n, c] + offsets[n, c], low), high)
