"""Dense layers: convolutions of M images of one pixel."""

from __future__ import annotations

from minicnn.backends.cupy_gpu import conv
from minicnn.backends.types import Array, Window

_ONE_PIXEL = Window(size=(1, 1), strides=(1, 1), dilation=(1, 1), pads=(0, 0, 0, 0), output=(1, 1))


def dense_forward(x: Array, kernel: Array, bias: Array | None, relu: bool = False) -> Array:
    """`conv2d_forward` of M images of one pixel."""
    y, _ = conv.conv2d_forward(_pixels(x), kernel.reshape(1, 1, *kernel.shape), bias, _ONE_PIXEL, relu)
    return y.reshape(len(x), kernel.shape[1])


def dense_backward(
    dy: Array, x: Array, kernel: Array, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """`conv2d_backward` of M images of one pixel."""
    kernel_of_one = kernel.reshape(1, 1, *kernel.shape)
    y = None if y is None else _pixels(y)
    dx, dkernel, dbias = conv.conv2d_backward(_pixels(dy), _pixels(x), kernel_of_one, _ONE_PIXEL, y, need_dx=need_dx)
    return None if dx is None else dx.reshape(x.shape), dkernel.reshape(kernel.shape), dbias


def _pixels(rows: Array) -> Array:
    """(M, C) as images (M, 1, 1, C)."""
    M, C = rows.shape
    return rows.reshape(M, 1, 1, C)
