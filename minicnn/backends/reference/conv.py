"""Convolution as im2col and one matrix product."""

from __future__ import annotations

from minicnn.backends.reference.im2col import col2im, im2col
from minicnn.backends.spec import Array, Pads, Pair

__all__ = ["conv2d_backward_input", "conv2d_backward_kernel", "conv2d_forward"]


def conv2d_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """One product: (N*OH*OW, KH*KW*C_in) windows times the (KH*KW*C_in, C_out) kernel."""
    KH, KW, C_in, C_out = kernel.shape
    columns = im2col(x, (KH, KW), strides, pads, dilation)
    N, OH, OW = columns.shape[:3]
    # y[n,oy,ox,co] = sum over ky,kx,ci of columns[n,oy,ox, ky,kx,ci] * kernel[ky,kx,ci, co]
    y = columns.reshape(N * OH * OW, KH * KW * C_in) @ kernel.reshape(KH * KW * C_in, C_out)
    if bias is not None:
        y += bias
    return y.reshape(N, OH, OW, C_out)


def conv2d_backward_input(
    dy: Array, kernel: Array, x_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """The product turned round, then every window's share is added onto its pixels."""
    KH, KW, C_in, C_out = kernel.shape
    N, OH, OW = dy.shape[:3]
    # dcolumns[n,oy,ox, ky,kx,ci] = sum over co of dy[n,oy,ox, co] * kernel[ky,kx,ci, co]
    dcolumns = dy.reshape(N * OH * OW, C_out) @ kernel.reshape(KH * KW * C_in, C_out).T
    return col2im(dcolumns.reshape(N, OH, OW, KH, KW, C_in), x_shape, (KH, KW), strides, pads, dilation)


def conv2d_backward_kernel(
    x: Array, dy: Array, kernel_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """The same windows as in the forward pass, transposed, times dy."""
    KH, KW, C_in, C_out = kernel_shape
    columns = im2col(x, (KH, KW), strides, pads, dilation)
    N, OH, OW = columns.shape[:3]
    # dkernel[ky,kx,ci, co] = sum over n,oy,ox of columns[n,oy,ox, ky,kx,ci] * dy[n,oy,ox, co]
    dkernel = columns.reshape(N * OH * OW, KH * KW * C_in).T @ dy.reshape(N * OH * OW, C_out)
    return dkernel.reshape(KH, KW, C_in, C_out)
