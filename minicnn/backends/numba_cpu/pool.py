"""Pooling: one task an image, channels innermost, where they fill vectors; gradients are written by their image's task."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._panels import taps_inside, to_winner
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.shapes import window_output

__all__ = [
    "avgpool2d_backward",
    "avgpool2d_forward",
    "global_avgpool2d_backward",
    "global_avgpool2d_forward",
    "global_maxpool2d_backward",
    "global_maxpool2d_forward",
    "maxpool2d_backward",
    "maxpool2d_forward",
]

Array = Any
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


@part
def uncovered(H: int, W: int, OH: int, OW: int, pool_size: Pair, strides: Pair, pads: Pads) -> bool:
    """Whether some pixel is in no window or in several, so that its gradient must be added to zeros."""
    return pads != (0, 0, 0, 0) or strides != pool_size or OH * strides[0] != H or OW * strides[1] != W


def maxpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Array]:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.maxpool2d_forward(x, pool_size, strides, pads)
    N, H, W, C = x.shape
    shape = (N, *window_output((H, W), pool_size, strides, pads), C)
    y = empty(shape)
    winners = empty(shape, np.uint8 if pool_size[0] * pool_size[1] <= 256 else np.int32)
    _maxpool2d_forward(N, x.size * 4, x, y, winners, pool_size, strides, pads)
    return y, winners


@tasks
def _maxpool2d_forward(n: int, worker: int, x, y, winners, pool_size, strides, pads) -> None:  # type: ignore[no-untyped-def]
    max_of_rows(x[n], 0, x.shape[1], y, winners, n, 0, y.shape[1], pool_size, strides, pads)


@part
def max_of_rows(  # type: ignore[no-untyped-def]
    rows, row: int, H: int, y, winners, n: int, oy_begin: int, oy_end: int, pool_size, strides, pads
) -> None:
    """y[n, oy] and winners[n, oy] for oy_begin <= oy < oy_end, from `rows` (rows, W, C): the image's rows from `row` on."""
    _, W, C = rows.shape
    OW = y.shape[2]
    best, winner = np.empty(C, np.float32), np.empty(C, np.int32)
    for oy in range(oy_begin, oy_end):
        ky_begin, ky_end = taps_inside(oy, strides[0], pads[0], pool_size[0], H)
        for ox in range(OW):
            kx_begin, kx_end = taps_inside(ox, strides[1], pads[2], pool_size[1], W)
            top, left = oy * strides[0] + ky_begin - pads[0] - row, ox * strides[1] + kx_begin - pads[2]
            if pool_size == (2, 2) and ky_end - ky_begin == 2 and kx_end - kx_begin == 2:
                max_of_four(
                    rows[top, left],
                    rows[top, left + 1],
                    rows[top + 1, left],
                    rows[top + 1, left + 1],
                    y[n, oy, ox],
                    winners[n, oy, ox],
                )
                continue
            if ky_begin == ky_end or kx_begin == kx_end:  # on padding alone
                y[n, oy, ox], winners[n, oy, ox] = -np.inf, 0
                continue
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = rows[top + ky - ky_begin, left + kx - kx_begin]
                    tap = np.int32(ky * pool_size[1] + kx)
                    if ky == ky_begin and kx == kx_begin:
                        for c in range(C):
                            best[c] = pixel[c]
                            winner[c] = tap
                    else:
                        for c in range(C):
                            value, old, old_tap = pixel[c], best[c], winner[c]
                            larger = exceeds(value, old)
                            best[c] = value if larger else old
                            winner[c] = tap if larger else old_tap
            for c in range(C):
                y[n, oy, ox, c] = best[c]
                winners[n, oy, ox, c] = winner[c]


@part
def exceeds(value: Any, best: Any) -> Any:
    """value > best, and true of the first NaN."""
    return (not value <= best) & (best == best)


@part
def max_of_four(p0: Any, p1: Any, p2: Any, p3: Any, best: Any, winner: Any) -> None:
    """The window of 2 by 2, by far the commonest: four loads and no scratch memory."""
    for c in range(best.size):
        value, tap = p0[c], np.int32(0)
        if exceeds(p1[c], value):
            value, tap = p1[c], np.int32(1)
        if exceeds(p2[c], value):
            value, tap = p2[c], np.int32(2)
        if exceeds(p3[c], value):
            value, tap = p3[c], np.int32(3)
        best[c] = value
        winner[c] = tap


def maxpool2d_backward(
    dy: Array, winners: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads
) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.maxpool2d_backward(dy, winners, x_shape, pool_size, strides, pads)
    dx = empty(x_shape)
    _maxpool2d_backward(dx.shape[0], dx.size * 4, dy, winners, dx, pool_size, strides, pads)
    return dx


@tasks
def _maxpool2d_backward(n: int, worker: int, dy, winners, dx, pool_size, strides, pads) -> None:  # type: ignore[no-untyped-def]
    _, H, W, _ = dx.shape
    _, OH, OW, _ = dy.shape
    add = uncovered(H, W, OH, OW, pool_size, strides, pads)
    if add:
        dx[n] = 0
    for oy in range(OH):
        ky_begin, ky_end = taps_inside(oy, strides[0], pads[0], pool_size[0], H)
        for ox in range(OW):
            kx_begin, kx_end = taps_inside(ox, strides[1], pads[2], pool_size[1], W)
            gradient, winner = dy[n, oy, ox], winners[n, oy, ox]
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = dx[n, oy * strides[0] + ky - pads[0], ox * strides[1] + kx - pads[2]]
                    to_winner(gradient, winner, np.int32(ky * pool_size[1] + kx), add, pixel)


def avgpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.avgpool2d_forward(x, pool_size, strides, pads)
    N, H, W, C = x.shape
    y = empty((N, *window_output((H, W), pool_size, strides, pads), C))
    _avgpool2d_forward(N, x.size * 4, x, y, pool_size, strides, pads)
    return y


@tasks
def _avgpool2d_forward(n: int, worker: int, x, y, pool_size, strides, pads) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C = x.shape
    _, OH, OW, _ = y.shape
    for oy in range(OH):
        ky_begin, ky_end = taps_inside(oy, strides[0], pads[0], pool_size[0], H)
        for ox in range(OW):
            kx_begin, kx_end = taps_inside(ox, strides[1], pads[2], pool_size[1], W)
            mean = y[n, oy, ox]
            for c in range(C):
                mean[c] = 0
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = x[n, oy * strides[0] + ky - pads[0], ox * strides[1] + kx - pads[2]]
                    for c in range(C):
                        mean[c] += pixel[c]
            pixels = np.float32(max(1, (ky_end - ky_begin) * (kx_end - kx_begin)))
            for c in range(C):
                mean[c] /= pixels


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.avgpool2d_backward(dy, x_shape, pool_size, strides, pads)
    dx = empty(x_shape)
    _avgpool2d_backward(dx.shape[0], dx.size * 4, dy, dx, pool_size, strides, pads)
    return dx


@tasks
def _avgpool2d_backward(n: int, worker: int, dy, dx, pool_size, strides, pads) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C = dx.shape
    _, OH, OW, _ = dy.shape
    dx[n] = 0
    for oy in range(OH):
        ky_begin, ky_end = taps_inside(oy, strides[0], pads[0], pool_size[0], H)
        for ox in range(OW):
            kx_begin, kx_end = taps_inside(ox, strides[1], pads[2], pool_size[1], W)
            share = np.float32(1) / np.float32((ky_end - ky_begin) * (kx_end - kx_begin))
            gradient = dy[n, oy, ox]
            for ky in range(ky_begin, ky_end):
                for kx in range(kx_begin, kx_end):
                    pixel = dx[n, oy * strides[0] + ky - pads[0], ox * strides[1] + kx - pads[2]]
                    for c in range(C):
                        pixel[c] += gradient[c] * share


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.global_maxpool2d_forward(x)
    N, H, W, C = x.shape
    y, winners = empty((N, C)), empty((N, C), np.int32)
    _global_maxpool2d_forward(N, x.size * 4, x.reshape(N, H * W, C), y, winners)
    return y, winners


@tasks
def _global_maxpool2d_forward(n: int, worker: int, x, y, winners) -> None:  # type: ignore[no-untyped-def]
    _, pixels, C = x.shape
    for c in range(C):
        y[n, c] = x[n, 0, c]
        winners[n, c] = 0
    for pixel in range(1, pixels):
        for c in range(C):
            larger = exceeds(x[n, pixel, c], y[n, c])
            y[n, c] = x[n, pixel, c] if larger else y[n, c]
            winners[n, c] = np.int32(pixel) if larger else winners[n, c]


def global_maxpool2d_backward(dy: Array, winners: Array, x_shape: tuple[int, ...]) -> Array:
    """Parallel over n."""
    if dy.dtype != np.float32:
        return reference.global_maxpool2d_backward(dy, winners, x_shape)
    dx = empty(x_shape)
    N, H, W, C = dx.shape
    _global_maxpool2d_backward(N, dx.size, dy, winners, dx.reshape(N, H * W, C))
    return dx


@tasks
def _global_maxpool2d_backward(n: int, worker: int, dy, winners, dx) -> None:  # type: ignore[no-untyped-def]
    dx[n] = 0
    for c in range(dx.shape[2]):
        dx[n, winners[n, c], c] = dy[n, c]


def global_avgpool2d_forward(x: Array) -> Array:
    """Parallel over n."""
    if x.dtype != np.float32:
        return reference.global_avgpool2d_forward(x)
    N, H, W, C = x.shape
    y = empty((N, C))
    _global_avgpool2d_forward(N, x.size * 4, x.reshape(N, H * W, C), y)
    return y


@tasks
def _global_avgpool2d_forward(n: int, worker: int, x, y) -> None:  # type: ignore[no-untyped-def]
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
def _global_avgpool2d_backward(n: int, worker: int, dy, dx) -> None:  # type: ignore[no-untyped-def]
    _, pixels, C = dx.shape
    for pixel in range(pixels):
        for c in range(C):
            dx[n, pixel, c] = dy[n, c] / np.float32(pixels)
