"""The ops of a convolutional network as plain loops over their indices, an element at a time.

What the reference says with arrays, written out: as slow as Python, and made to be read, or to be stepped through
under a debugger. `minicnn.set_backend("loops")` runs a whole model this way (a small one: in a minute, some ten
million products of a convolution). Ops that are not here are the reference's lines of NumPy.

Indices: image n; place oy, ox of the window in the output; tap ky, kx of the window; the pixel h, w under that tap;
channel ci of the input, co of the output; c where the two are one; row m of a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isnan, sqrt
from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.reference import (  # noqa: F401 - this backend's too
    asarray,
    check_available,
    empty,
    get_num_threads,
    set_num_threads,
    synchronize,
    to_numpy,
)
from minicnn.backends.reference.elementwise import relu_backward, relu_forward
from minicnn.backends.types import Array, Pair, Window

Index = tuple[int, ...]


def describe() -> dict[str, Any]:
    """As the reference, whose NumPy does the rest."""
    return reference.describe() | {"backend": "loops"}


def _pixels_under(window: Window, oy: int, ox: int, H: int, W: int) -> Iterator[tuple[int, int, int, int]]:
    """(ky, kx, h, w): each tap of the window at its place (oy, ox), and the pixel under it; none on the padding."""
    (KH, KW), (SH, SW), (DH, DW), (top, _, left, _) = window.size, window.strides, window.dilation, window.pads
    for ky in range(KH):
        for kx in range(KW):
            h, w = oy * SH + ky * DH - top, ox * SW + kx * DW - left
            if 0 <= h < H and 0 <= w < W:
                yield ky, kx, h, w


# --- convolution --------------------------------------------------------------------


def _products(x_shape: Index, kernel_shape: Index, window: Window) -> Iterator[tuple[Index, Index, Index]]:
    """Every product of a convolution, as the indices of its output, its pixel and its weight.

    The whole convolution is this one nest of loops: each output is the sum of its products pixel * weight. The
    derivative of a product with respect to its pixel is the weight, and with respect to its weight the pixel:
    so the same nest gives both gradients.
    """
    (N, H, W, C_in), (_, _, _, C_out), (OH, OW) = x_shape, kernel_shape, window.output
    inputs, outputs = C_in // window.groups, C_out // window.groups  # channels of a group
    for n in range(N):
        for oy in range(OH):
            for ox in range(OW):
                for ky, kx, h, w in _pixels_under(window, oy, ox, H, W):
                    for ci in range(inputs):
                        for co in range(C_out):
                            group = co // outputs
                            yield (n, oy, ox, co), (n, h, w, group * inputs + ci), (ky, kx, ci, co)


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False, pool: Window | None = None
) -> tuple[Array, Array | None]:
    """z[n,oy,ox,co] = bias[co] + sum over ky,kx,ci of x[n,h,w,ci] * kernel[ky,kx,ci,co]; then ReLU, max pooling."""
    z = np.zeros((x.shape[0], *window.output, kernel.shape[3]), x.dtype)
    if bias is not None:
        for n, oy, ox, co in np.ndindex(z.shape):
            z[n, oy, ox, co] = bias[co]
    for output, pixel, weight in _products(x.shape, kernel.shape, window):
        z[output] += x[pixel] * kernel[weight]
    y = relu_forward(z) if relu else z
    return (y, None) if pool is None else maxpool2d_forward(y, pool)


def conv2d_backward(
    dy: Array,
    x: Array,
    kernel: Array,
    window: Window,
    y: Array | None = None,
    pool: Window | None = None,
    argmax: Array | None = None,
    need_dx: bool = True,
) -> tuple[Array | None, Array, Array]:
    """With dz = dy, back through the max pooling and the ReLU, each sum over the products that it takes part in:

    dx[n,h,w,ci]          = sum of dz[n,oy,ox,co] * kernel[ky,kx,ci,co]
    dkernel[ky,kx,ci,co]  = sum of dz[n,oy,ox,co] * x[n,h,w,ci]
    dbias[co]             = sum over n,oy,ox of dz[n,oy,ox,co]
    """
    dz = dy if y is None else relu_backward(dy, y)
    if pool is not None:
        dz = maxpool2d_backward(dz, argmax, (x.shape[0], *window.output, kernel.shape[3]), pool)
    dx, dkernel, dbias = np.zeros_like(x), np.zeros_like(kernel), np.zeros(kernel.shape[3], kernel.dtype)
    for output, pixel, weight in _products(x.shape, kernel.shape, window):
        dkernel[weight] += dz[output] * x[pixel]
        if need_dx:
            dx[pixel] += dz[output] * kernel[weight]
    for n, oy, ox, co in np.ndindex(dz.shape):
        dbias[co] += dz[n, oy, ox, co]
    return dx if need_dx else None, dkernel, dbias


def conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """The nest of loops."""
    return "loops over n oy ox ky kx ci co"


# --- transposed convolution: the same products, where x and y change places ---------------


def conv2d_transpose_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, image: Pair, relu: bool = False
) -> Array:
    """z[n,h,w,co] = bias[co] + sum of x[n,oy,ox,ci] * kernel[ky,kx,co,ci]; then ReLU."""
    z = np.zeros((x.shape[0], *image, kernel.shape[2]), x.dtype)
    if bias is not None:
        for n, h, w, co in np.ndindex(z.shape):
            z[n, h, w, co] = bias[co]
    for place, pixel, weight in _products(z.shape, kernel.shape, window):
        z[pixel] += x[place] * kernel[weight]
    return relu_forward(z) if relu else z


def conv2d_transpose_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """With dz = dy, back through the ReLU, each sum over the products that it takes part in:

    dx[n,oy,ox,ci]        = sum of dz[n,h,w,co] * kernel[ky,kx,co,ci]
    dkernel[ky,kx,co,ci]  = sum of dz[n,h,w,co] * x[n,oy,ox,ci]
    dbias[co]             = sum over n,h,w of dz[n,h,w,co]
    """
    dz = dy if y is None else relu_backward(dy, y)
    dx, dkernel, dbias = np.zeros_like(x), np.zeros_like(kernel), np.zeros(kernel.shape[2], kernel.dtype)
    for place, pixel, weight in _products(dz.shape, kernel.shape, window):
        dkernel[weight] += dz[pixel] * x[place]
        if need_dx:
            dx[place] += dz[pixel] * kernel[weight]
    for n, h, w, co in np.ndindex(dz.shape):
        dbias[co] += dz[n, h, w, co]
    return dx if need_dx else None, dkernel, dbias


def conv2d_transpose_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window, image: Pair) -> str:
    """The nest of loops."""
    return "loops over n oy ox ky kx co ci"


# --- depthwise convolution: a channel c of x, with M outputs of its own -------------------


def depthwise_conv2d_forward(x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False) -> Array:
    """z[n,oy,ox,c*M + m] = bias[c*M + m] + sum over ky,kx of x[n,h,w,c] * kernel[ky,kx,c,m]; then ReLU."""
    (N, H, W, _), (_, _, C, M) = x.shape, kernel.shape
    z = np.zeros((N, *window.output, C * M), x.dtype)
    for n, oy, ox, c, m in np.ndindex(*z.shape[:3], C, M):
        z[n, oy, ox, c * M + m] = 0 if bias is None else bias[c * M + m]
        for ky, kx, h, w in _pixels_under(window, oy, ox, H, W):
            z[n, oy, ox, c * M + m] += x[n, h, w, c] * kernel[ky, kx, c, m]
    return relu_forward(z) if relu else z


def depthwise_conv2d_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """With dz = dy, back through the ReLU, each sum over the products that it takes part in:

    dx[n,h,w,c]         = sum of dz[n,oy,ox,c*M + m] * kernel[ky,kx,c,m]
    dkernel[ky,kx,c,m]  = sum of dz[n,oy,ox,c*M + m] * x[n,h,w,c]
    dbias[c*M + m]      = sum over n,oy,ox of dz[n,oy,ox,c*M + m]
    """
    dz = dy if y is None else relu_backward(dy, y)
    (_, H, W, C), M = x.shape, kernel.shape[3]
    dx, dkernel, dbias = np.zeros_like(x), np.zeros_like(kernel), np.zeros(C * M, kernel.dtype)
    for n, oy, ox, c, m in np.ndindex(*dz.shape[:3], C, M):
        dbias[c * M + m] += dz[n, oy, ox, c * M + m]
        for ky, kx, h, w in _pixels_under(window, oy, ox, H, W):
            dkernel[ky, kx, c, m] += dz[n, oy, ox, c * M + m] * x[n, h, w, c]
            if need_dx:
                dx[n, h, w, c] += dz[n, oy, ox, c * M + m] * kernel[ky, kx, c, m]
    return dx if need_dx else None, dkernel, dbias


def depthwise_conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """The nest of loops."""
    return "loops over n oy ox c m ky kx"


# --- pooling ------------------------------------------------------------------------


def maxpool2d_forward(x: Array, window: Window) -> tuple[Array, Array]:
    """y[n,oy,ox,c] = max over ky,kx of x[n,h,w,c], and argmax its tap ky*KW + kx: the first of equal ones, or a NaN."""
    (N, H, W, C), (KH, KW) = x.shape, window.size
    y = np.full((N, *window.output, C), -inf, x.dtype)
    argmax = np.zeros(y.shape, np.uint8 if KH * KW <= 256 else np.int32)
    for n, oy, ox, c in np.ndindex(y.shape):
        largest = None
        for ky, kx, h, w in _pixels_under(window, oy, ox, H, W):
            value = x[n, h, w, c]
            if largest is None or value > largest or (isnan(value) and not isnan(largest)):
                largest = y[n, oy, ox, c] = value
                argmax[n, oy, ox, c] = ky * KW + kx
    return y, argmax


def maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """dx[n,h,w,c] = sum of the dy[n,oy,ox,c] whose largest pixel this was."""
    _, H, W, _ = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    for n, oy, ox, c in np.ndindex(dy.shape):
        for ky, kx, h, w in _pixels_under(window, oy, ox, H, W):
            if ky * window.size[1] + kx == argmax[n, oy, ox, c]:
                dx[n, h, w, c] += dy[n, oy, ox, c]
    return dx


def avgpool2d_forward(x: Array, window: Window) -> Array:
    """y[n,oy,ox,c] = mean of the pixels x[n,h,w,c] under the window; 0 if it lies on padding alone."""
    N, H, W, C = x.shape
    y = np.zeros((N, *window.output, C), x.dtype)
    for n, oy, ox, c in np.ndindex(y.shape):
        pixels = [x[n, h, w, c] for _, _, h, w in _pixels_under(window, oy, ox, H, W)]
        if pixels:
            y[n, oy, ox, c] = sum(pixels) / len(pixels)
    return y


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """dx[n,h,w,c] = sum over the windows above this pixel of dy[n,oy,ox,c] / how many pixels the window has."""
    _, H, W, _ = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    for n, oy, ox, c in np.ndindex(dy.shape):
        pixels = [(h, w) for _, _, h, w in _pixels_under(window, oy, ox, H, W)]
        for h, w in pixels:
            dx[n, h, w, c] += dy[n, oy, ox, c] / len(pixels)
    return dx


# --- dense --------------------------------------------------------------------------


def dense_forward(x: Array, kernel: Array, bias: Array | None, relu: bool = False) -> Array:
    """z[m,co] = bias[co] + sum over ci of x[m,ci] * kernel[ci,co]; then ReLU."""
    (M, C_in), (_, C_out) = x.shape, kernel.shape
    z = np.zeros((M, C_out), x.dtype)
    for m, co in np.ndindex(M, C_out):
        z[m, co] = 0 if bias is None else bias[co]
        for ci in range(C_in):
            z[m, co] += x[m, ci] * kernel[ci, co]
    return relu_forward(z) if relu else z


def dense_backward(
    dy: Array, x: Array, kernel: Array, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """With dz = dy, back through the ReLU:

    dx[m,ci]       = sum over co of dz[m,co] * kernel[ci,co]
    dkernel[ci,co] = sum over m of dz[m,co] * x[m,ci]
    dbias[co]      = sum over m of dz[m,co]
    """
    dz = dy if y is None else relu_backward(dy, y)
    dx, dkernel, dbias = np.zeros_like(x), np.zeros_like(kernel), np.zeros(kernel.shape[1], kernel.dtype)
    for m, co in np.ndindex(dz.shape):
        dbias[co] += dz[m, co]
        for ci in range(x.shape[1]):
            dkernel[ci, co] += dz[m, co] * x[m, ci]
            if need_dx:
                dx[m, ci] += dz[m, co] * kernel[ci, co]
    return dx if need_dx else None, dkernel, dbias


# --- batch normalization: a row m is all axes but the channels ------------------------


def batchnorm_forward(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, relu: bool = False
) -> tuple[Array, Array, Array]:
    """mean[c] = sum over m of x[m,c] / M;  variance[c] = sum over m of (x[m,c] - mean[c])**2 / M; then y with them."""
    rows = x.reshape(-1, x.shape[-1])
    M, C = rows.shape
    mean, variance = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for m, c in np.ndindex(M, C):
        mean[c] += rows[m, c] / M
    for m, c in np.ndindex(M, C):
        variance[c] += (rows[m, c] - mean[c]) ** 2 / M
    return batchnorm_inference(x, gamma, beta, mean, variance, epsilon, relu), mean, variance


def batchnorm_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """As if mean and variance were constants; and from dx what flows back through the two:

    dx[m,c] = gamma[c] / sqrt(variance[c] + epsilon) * (dz[m,c] - dbeta[c] / M - x_hat[m,c] * dgamma[c] / M)
    """
    dx, dgamma, dbeta = batchnorm_inference_backward(dy, x, gamma, beta, mean, variance, epsilon, relu)
    rows, drows = x.reshape(-1, x.shape[-1]), dx.reshape(-1, x.shape[-1])
    M, C = rows.shape
    for m, c in np.ndindex(M, C):
        slope = (1 if gamma is None else gamma[c]) / sqrt(variance[c] + epsilon)
        x_hat = (rows[m, c] - mean[c]) / sqrt(variance[c] + epsilon)
        drows[m, c] -= slope * (dbeta[c] + x_hat * dgamma[c]) / M
    return dx, dgamma, dbeta


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float, relu: bool = False
) -> Array:
    """x_hat[m,c] = (x[m,c] - mean[c]) / sqrt(variance[c] + epsilon);  y = gamma[c] * x_hat + beta[c]; then ReLU."""
    rows, y = x.reshape(-1, x.shape[-1]), np.zeros_like(x)
    of_y = y.reshape(rows.shape)
    for m, c in np.ndindex(rows.shape):
        x_hat = (rows[m, c] - mean[c]) / sqrt(variance[c] + epsilon)
        of_y[m, c] = (1 if gamma is None else gamma[c]) * x_hat + (0 if beta is None else beta[c])
    return relu_forward(y) if relu else y


def batchnorm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """With dz = dy, back through the ReLU, whose y is computed once more:

    dx[m,c] = gamma[c] * dz[m,c] / sqrt(variance[c] + epsilon)
    dgamma[c] = sum over m of dz[m,c] * x_hat[m,c];  dbeta[c] = sum over m of dz[m,c]
    """
    dz = relu_backward(dy, batchnorm_inference(x, gamma, beta, mean, variance, epsilon)) if relu else dy
    rows, dx, dgamma, dbeta = x.reshape(-1, x.shape[-1]), np.zeros_like(x), np.zeros_like(mean), np.zeros_like(mean)
    dz, drows = dz.reshape(rows.shape), dx.reshape(rows.shape)
    for m, c in np.ndindex(rows.shape):
        x_hat = (rows[m, c] - mean[c]) / sqrt(variance[c] + epsilon)
        dgamma[c] += dz[m, c] * x_hat
        dbeta[c] += dz[m, c]
        drows[m, c] = (1 if gamma is None else gamma[c]) * dz[m, c] / sqrt(variance[c] + epsilon)
    return dx, dgamma, dbeta
