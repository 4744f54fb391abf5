"""Pooling: a thread owns one result and reads what it needs, forwards and backwards (`kernels/pool.cu`)."""

from __future__ import annotations

import numpy as np

from minicnn.backends.cupy_gpu.compile import C_TYPES, THREADS, blocks, empty, inputs, launch, real_type
from minicnn.backends.types import Array, Window


def maxpool2d_forward(x: Array, window: Window) -> tuple[Array, Array]:
    """A thread owns one output."""
    x = inputs("maxpool2d_forward", x)
    y = empty((len(x), *window.output, x.shape[3]), x.dtype)
    argmax = empty(y.shape, np.uint8 if window.size[0] * window.size[1] <= 256 else np.int32)
    _launch("maxpool2d_forward", (x, y, argmax, y.size), y, x.shape, window, argmax.dtype.name)
    return y, argmax


def maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """A thread owns one input pixel and gathers from the windows over it whose largest value it was."""
    return _maxpool2d_relu_backward(dy, argmax, None, x_shape, window)


def _maxpool2d_relu_backward(dy: Array, argmax: Array, y: Array | None, x_shape: tuple[int, ...], window: Window) -> Array:
    """`maxpool2d_backward`; with y, the pooling's output, of relu_backward(dy, y)."""
    dy, y = inputs("maxpool2d_backward", dy, y)
    dx = empty(x_shape, dy.dtype)
    _launch("maxpool2d_backward", (dy, argmax, y, dx, dx.size), dx, x_shape, window, argmax.dtype.name)
    return dx


def avgpool2d_forward(x: Array, window: Window) -> Array:
    """A thread owns one output."""
    x = inputs("avgpool2d_forward", x)
    y = empty((len(x), *window.output, x.shape[3]), x.dtype)
    _launch("avgpool2d_forward", (x, y, y.size), y, x.shape, window)
    return y


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """A thread owns one input pixel and gathers from the windows over it."""
    dy = inputs("avgpool2d_backward", dy)
    dx = empty(x_shape, dy.dtype)
    _launch("avgpool2d_backward", (dy, dx, dx.size), dx, x_shape, window)
    return dx


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """A thread owns one channel of one image."""
    x = inputs("global_maxpool2d_forward", x)
    y = empty((x.shape[0], x.shape[3]), x.dtype)
    argmax = empty(y.shape, np.int32)
    _launch("global_maxpool2d_forward", (x, y, argmax, y.size), y, x.shape, _whole_image(x.shape))
    return y, argmax


def global_maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...]) -> Array:
    """A thread owns one input pixel."""
    dy = inputs("global_maxpool2d_backward", dy)
    dx = empty(x_shape, dy.dtype)
    _launch("global_maxpool2d_backward", (dy, argmax, dx, dx.size), dx, x_shape, _whole_image(x_shape))
    return dx


def global_avgpool2d_forward(x: Array) -> Array:
    """A thread owns one channel of one image."""
    x = inputs("global_avgpool2d_forward", x)
    y = empty((x.shape[0], x.shape[3]), x.dtype)
    _launch("global_avgpool2d_forward", (x, y, y.size), y, x.shape, _whole_image(x.shape))
    return y


def global_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """A thread owns one input pixel."""
    dy = inputs("global_avgpool2d_backward", dy)
    dx = empty(x_shape, dy.dtype)
    _launch("global_avgpool2d_backward", (dy, dx, dx.size), dx, x_shape, _whole_image(x_shape))
    return dx


def _whole_image(x_shape: tuple[int, ...]) -> Window:
    """The one window that is the image."""
    _, H, W, _ = x_shape
    return Window(size=(H, W), strides=(1, 1), dilation=(1, 1), pads=(0, 0, 0, 0), output=(1, 1))


def _launch(
    name: str,
    arguments: tuple[object, ...],
    owned: Array,
    x_shape: tuple[int, ...],
    window: Window,
    argmax_type: str = "int32",
) -> None:
    """Run kernel `name` with one thread for each element of `owned`."""
    (_, H, W, C), (KH, KW), (OH, OW), (SH, SW) = x_shape, window.size, window.output, window.strides
    names = ("H", "W", "C", "KH", "KW", "OH", "OW", "SH", "SW", "TOP", "LEFT")
    geometry = dict(zip(names, (H, W, C, KH, KW, OH, OW, SH, SW, window.pads[0], window.pads[2])))
    types = real_type(owned) | {"argmax_t": C_TYPES[argmax_type]}
    launch("pool.cu", name, blocks(owned.size), (THREADS,), arguments, types, geometry)
