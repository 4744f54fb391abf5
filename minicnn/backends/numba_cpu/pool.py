"""Pooling: one task an image, channels innermost, where they fill vectors; gradients are written by their image's task."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._geometry import NO_POOL, Geometry, geometry_of
from minicnn.backends.numba_cpu._microkernel import address
from minicnn.backends.numba_cpu._panels import NO_ARGMAX, taps_inside, to_argmax
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu._pooling import Fours, max_of_fours, mean_of_fours, quarters_to_fours
from minicnn.backends.reference import pool as reference
from minicnn.backends.types import Array, Window


def places_fit_a_byte(window: Window) -> bool:
    """Whether uint8 numbers the window's pixels. The kernels that pool as an epilogue are compiled for these windows alone."""
    return window.size[0] * window.size[1] <= 256


def memory_for_argmax(shape: tuple[int, ...], window: Window) -> np.ndarray:
    """For the places of the largest pixels, of the smallest type that numbers them."""
    return empty(shape, np.uint8 if places_fit_a_byte(window) else np.int32)


def memory_for_output(N: int, C_out: int, window: Window, pool: Window | None) -> tuple[Array, Array, Geometry]:
    """For a convolution: y and argmax, behind a max pooling if there is one; and the pooling's geometry."""
    if pool is None:
        return empty((N, *window.output, C_out)), NO_ARGMAX, NO_POOL
    y = empty((N, *pool.output, C_out))
    return y, memory_for_argmax(y.shape, pool), geometry_of(*window.output, pool)


def maxpool2d_forward(x: Array, window: Window) -> tuple[Array, Array]:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.maxpool2d_forward(x, window)
    N, H, W, C = x.shape
    y = empty((N, *window.output, C))
    argmax = memory_for_argmax(y.shape, window)
    _maxpool2d_forward(N, x.size * 4, x, y, argmax, tuple(geometry_of(H, W, window)))
    return y, argmax


@tasks
def _maxpool2d_forward(n: int, worker: int, x: Any, y: Any, argmax: Any, geometry: Any) -> None:
    max_of_rows(x[n], 0, (y, argmax), n, (0, y.shape[1]), x.shape[1], Geometry(*geometry))


@part
def max_of_rows(rows: Any, row: int, outputs: Any, n: int, span: Any, H: int, pool: Any) -> None:
    """y[n, oy] and argmax[n, oy] for span[0] <= oy < span[1].

    Args:
        rows: (rows, W, C), those of an image of height H from `row` on.
        outputs: y and argmax.
    """
    y, argmax = outputs
    _, W, C = rows.shape
    best, place = np.empty(C, np.float32), np.empty(C, np.int32)
    for oy in range(span[0], span[1]):
        ky_begin, ky_end = taps_inside(oy, pool.SH, pool.top, pool.KH, H)
        top, whole = oy * pool.SH + ky_begin - pool.top - row, 0
        if _are_fours(pool, ky_end - ky_begin):
            whole = min(y.shape[2], (W - 2) // pool.SW + 1)
            results = address(y[n, oy]), address(argmax[n, oy])
            max_of_fours(Fours(address(rows[top]), W * C, pool.SW * C, results[0], results[1], whole, C))
        for ox in range(whole, y.shape[2]):
            kx_begin, kx_end = taps_inside(ox, pool.SW, pool.left, pool.KW, W)
            left = ox * pool.SW + kx_begin - pool.left
            if ky_begin == ky_end or kx_begin == kx_end:  # on padding alone
                y[n, oy, ox], argmax[n, oy, ox] = -np.inf, 0
                continue
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = rows[top + ky - ky_begin, left + kx - kx_begin]
                    tap = np.int32(ky * pool.KW + kx)
                    if ky == ky_begin and kx == kx_begin:
                        for c in range(C):
                            best[c] = pixel[c]
                            place[c] = tap
                    else:
                        for c in range(C):
                            value, old, old_tap = pixel[c], best[c], place[c]
                            larger = exceeds(value, old)
                            best[c] = value if larger else old
                            place[c] = tap if larger else old_tap
            for c in range(C):
                y[n, oy, ox, c] = best[c]
                argmax[n, oy, ox, c] = place[c]


@part
def exceeds(value: Any, best: Any) -> Any:
    """value > best, and true of the first NaN."""
    return (not value <= best) & (best == best)


def maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.maxpool2d_backward(dy, argmax, x_shape, window)
    dx = empty(x_shape)
    _maxpool2d_backward(dx.shape[0], dx.size * 4, dy, argmax, dx, tuple(geometry_of(*x_shape[1:3], window)))
    return dx


@part
def _adds(pool: Any, H: int, W: int) -> bool:
    """Whether some pixel is in no window or in several, so that its gradient must be added to zeros."""
    add = (pool.SH, pool.SW) != (pool.KH, pool.KW) or (pool.OH * pool.SH, pool.OW * pool.SW) != (H, W)
    return add or (pool.height, pool.width) != (H, W)


@tasks
def _maxpool2d_backward(n: int, worker: int, dy: Any, argmax: Any, dx: Any, geometry: Any) -> None:
    pool = Geometry(*geometry)
    _, H, W, _ = dx.shape
    add = _adds(pool, H, W)
    if add:
        dx[n] = 0
    for oy in range(pool.OH):
        ky_begin, ky_end = taps_inside(oy, pool.SH, pool.top, pool.KH, H)
        for ox in range(pool.OW):
            kx_begin, kx_end = taps_inside(ox, pool.SW, pool.left, pool.KW, W)
            gradient, largest = dy[n, oy, ox], argmax[n, oy, ox]
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = dx[n, oy * pool.SH + ky - pool.top, ox * pool.SW + kx - pool.left]
                    to_argmax(gradient, largest, np.int32(ky * pool.KW + kx), add, pixel)


def avgpool2d_forward(x: Array, window: Window) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.avgpool2d_forward(x, window)
    N, H, W, C = x.shape
    y = empty((N, *window.output, C))
    _avgpool2d_forward(N, x.size * 4, x, y, tuple(geometry_of(H, W, window)))
    return y


@tasks
def _avgpool2d_forward(n: int, worker: int, x: Any, y: Any, geometry: Any) -> None:
    pool = Geometry(*geometry)
    _, H, W, C = x.shape
    for oy in range(pool.OH):
        ky_begin, ky_end = taps_inside(oy, pool.SH, pool.top, pool.KH, H)
        top, whole = oy * pool.SH - pool.top, 0
        if _are_fours(pool, ky_end - ky_begin):
            whole = min(pool.OW, (W - 2) // pool.SW + 1)
            mean_of_fours(Fours(address(x[n, top]), W * C, pool.SW * C, address(y[n, oy]), 0, whole, C))
        for ox in range(whole, pool.OW):
            kx_begin, kx_end = taps_inside(ox, pool.SW, pool.left, pool.KW, W)
            mean, left = y[n, oy, ox], ox * pool.SW - pool.left
            for c in range(C):
                mean[c] = 0
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = x[n, top + ky, left + kx]
                    for c in range(C):
                        mean[c] += pixel[c]
            pixels = np.float32(max(1, (ky_end - ky_begin) * (kx_end - kx_begin)))
            for c in range(C):
                mean[c] /= pixels


@part
def _are_fours(pool: Any, rows: int) -> bool:
    """Whether a row of windows, so many of whose rows are on the image, begins with whole ones of 2 by 2: the commonest."""
    return pool.KH == 2 and pool.KW == 2 and rows == 2 and pool.left == 0


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.avgpool2d_backward(dy, x_shape, window)
    dx = empty(x_shape)
    _avgpool2d_backward(dx.shape[0], dx.size * 4, dy, dx, tuple(geometry_of(*x_shape[1:3], window)))
    return dx


@tasks
def _avgpool2d_backward(n: int, worker: int, dy: Any, dx: Any, geometry: Any) -> None:
    pool = Geometry(*geometry)
    _, H, W, C = dx.shape
    add = _adds(pool, H, W)
    if add:
        dx[n] = 0
    for oy in range(pool.OH):
        ky_begin, ky_end = taps_inside(oy, pool.SH, pool.top, pool.KH, H)
        if _are_fours(pool, ky_end - ky_begin) and not add:
            quarters_to_fours(Fours(address(dx[n, oy * 2]), W * C, 2 * C, address(dy[n, oy]), 0, pool.OW, C))
            continue
        for ox in range(pool.OW):
            kx_begin, kx_end = taps_inside(ox, pool.SW, pool.left, pool.KW, W)
            share = np.float32(1) / np.float32((ky_end - ky_begin) * (kx_end - kx_begin))
            gradient = dy[n, oy, ox]
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = dx[n, oy * pool.SH + ky - pool.top, ox * pool.SW + kx - pool.left]
                    if add:
                        for c in range(C):
                            pixel[c] += gradient[c] * share
                    else:
                        for c in range(C):
                            pixel[c] = gradient[c] * share


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.global_maxpool2d_forward(x)
    N, H, W, C = x.shape
    y, argmax = empty((N, C)), empty((N, C), np.int32)
    _global_maxpool2d_forward(N, x.size * 4, x.reshape(N, H * W, C), y, argmax)
    return y, argmax


@tasks
def _global_maxpool2d_forward(n: int, worker: int, x: Any, y: Any, argmax: Any) -> None:
    _, pixels, C = x.shape
    for c in range(C):
        y[n, c] = x[n, 0, c]
        argmax[n, c] = 0
    for pixel in range(1, pixels):
        for c in range(C):
            larger = exceeds(x[n, pixel, c], y[n, c])
            y[n, c] = x[n, pixel, c] if larger else y[n, c]
            argmax[n, c] = np.int32(pixel) if larger else argmax[n, c]


def global_maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...]) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.global_maxpool2d_backward(dy, argmax, x_shape)
    dx = empty(x_shape)
    N, H, W, C = dx.shape
    _global_maxpool2d_backward(N, dx.size, dy, argmax, dx.reshape(N, H * W, C))
    return dx


@tasks
def _global_maxpool2d_backward(n: int, worker: int, dy: Any, argmax: Any, dx: Any) -> None:
    dx[n] = 0
    for c in range(dx.shape[2]):
        dx[n, argmax[n, c], c] = dy[n, c]


def global_avgpool2d_forward(x: Array) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.global_avgpool2d_forward(x)
    N, H, W, C = x.shape
    y = empty((N, C))
    _global_avgpool2d_forward(N, x.size * 4, x.reshape(N, H * W, C), y)
    return y


@tasks
def _global_avgpool2d_forward(n: int, worker: int, x: Any, y: Any) -> None:
    _, pixels, C = x.shape
    for c in range(C):
        y[n, c] = 0
    for pixel in range(pixels):
        for c in range(C):
            y[n, c] += x[n, pixel, c]
    for c in range(C):
        y[n, c] /= np.float32(pixels)


def global_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.global_avgpool2d_backward(dy, x_shape)
    dx = empty(x_shape)
    N, H, W, C = dx.shape
    _global_avgpool2d_backward(N, dx.size, dy, dx.reshape(N, H * W, C))
    return dx


@tasks
def _global_avgpool2d_backward(n: int, worker: int, dy: Any, dx: Any) -> None:
    _, pixels, C = dx.shape
    for pixel in range(pixels):
        for c in range(C):
            dx[n, pixel, c] = dy[n, c] / np.float32(pixels)
