"""Pooling: a thread owns one result and reads what it needs, forwards and backwards (`kernels/pool.cu`)."""

from __future__ import annotations

import numpy as np

from minicnn.backends.cupy_gpu.compile import C_TYPES, THREADS, blocks, empty, inputs, launch
from minicnn.backends.spec import Array, Pads, Pair
from minicnn.shapes import window_output

__all__ = [
    "avgpool2d_backward",
    "avgpool2d_forward",
    "gather_from_winners",
    "global_avgpool2d_backward",
    "global_avgpool2d_forward",
    "global_maxpool2d_backward",
    "global_maxpool2d_forward",
    "maxpool2d_backward",
    "maxpool2d_forward",
]


def maxpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Array]:
    """A thread owns one output."""
    x = inputs("maxpool2d_forward", x)
    OH, OW = window_output(x.shape[1:3], pool_size, strides, pads)
    y = empty((len(x), OH, OW, x.shape[3]), x.dtype)
    winners = empty(y.shape, np.uint8 if pool_size[0] * pool_size[1] <= 256 else np.int32)
    _launch("maxpool2d_forward", (x, y, winners, y.size), y, x.shape, (OH, OW), pool_size, strides, pads, winners.dtype.name)
    return y, winners


def maxpool2d_backward(
    dy: Array, winners: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads
) -> Array:
    """A thread owns one input pixel and gathers from the windows over it that it won."""
    return gather_from_winners(dy, winners, None, x_shape, pool_size, strides, pads)


def gather_from_winners(
    dy: Array, winners: Array, y: Array | None, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads
) -> Array:
    """`maxpool2d_backward`; with y, the pooling's output, of relu_backward(dy, y)."""
    dy, y = inputs("maxpool2d_backward", dy, y)
    dx = empty(x_shape, dy.dtype)
    arguments = (dy, winners, y, dx, dx.size)
    _launch("maxpool2d_backward", arguments, dx, x_shape, dy.shape[1:3], pool_size, strides, pads, winners.dtype.name)
    return dx


def avgpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """A thread owns one output."""
    x = inputs("avgpool2d_forward", x)
    OH, OW = window_output(x.shape[1:3], pool_size, strides, pads)
    y = empty((len(x), OH, OW, x.shape[3]), x.dtype)
    _launch("avgpool2d_forward", (x, y, y.size), y, x.shape, (OH, OW), pool_size, strides, pads)
    return y


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """A thread owns one input pixel and gathers from the windows over it."""
    dy = inputs("avgpool2d_backward", dy)
    dx = empty(x_shape, dy.dtype)
    _launch("avgpool2d_backward", (dy, dx, dx.size), dx, x_shape, dy.shape[1:3], pool_size, strides, pads)
    return dx


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """A thread owns one channel of one image."""
    x = inputs("global_maxpool2d_forward", x)
    y = empty((x.shape[0], x.shape[3]), x.dtype)
    winners = empty(y.shape, np.int32)
    _launch_global("global_maxpool2d_forward", (x, y, winners, y.size), y, x.shape)
    return y, winners


def global_maxpool2d_backward(dy: Array, winners: Array, x_shape: tuple[int, ...]) -> Array:
    """A thread owns one input pixel."""
    dy = inputs("global_maxpool2d_backward", dy)
    dx = empty(x_shape, dy.dtype)
    _launch_global("global_maxpool2d_backward", (dy, winners, dx, dx.size), dx, x_shape)
    return dx


def global_avgpool2d_forward(x: Array) -> Array:
    """A thread owns one channel of one image."""
    x = inputs("global_avgpool2d_forward", x)
    y = empty((x.shape[0], x.shape[3]), x.dtype)
    _launch_global("global_avgpool2d_forward", (x, y, y.size), y, x.shape)
    return y


def global_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """A thread owns one input pixel."""
    dy = inputs("global_avgpool2d_backward", dy)
    dx = empty(x_shape, dy.dtype)
    _launch_global("global_avgpool2d_backward", (dy, dx, dx.size), dx, x_shape)
    return dx


def _launch(
    name: str,
    arguments: tuple[object, ...],
    owned: Array,
    x_shape: tuple[int, ...],
    output: Pair,
    pool_size: Pair,
    strides: Pair,
    pads: Pads,
    winner: str = "int32",
) -> None:
    """Run kernel `name` with one thread for each element of `owned`."""
    (_, H, W, C), (OH, OW), (KH, KW), (SH, SW), (top, _, left, _) = x_shape, output, pool_size, strides, pads
    names = ("H", "W", "C", "KH", "KW", "OH", "OW", "SH", "SW", "TOP", "LEFT")
    geometry = dict(zip(names, (H, W, C, KH, KW, OH, OW, SH, SW, top, left)))
    types = {"real": C_TYPES[owned.dtype.name], "winner_t": C_TYPES[winner]}
    launch("pool.cu", name, blocks(owned.size), (THREADS,), arguments, types, geometry)


def _launch_global(name: str, arguments: tuple[object, ...], owned: Array, x_shape: tuple[int, ...]) -> None:
    """As `_launch`, for the one window that is the image."""
    _, H, W, _ = x_shape
    _launch(name, arguments, owned, x_shape, (1, 1), (H, W), (1, 1), (0, 0, 0, 0))
