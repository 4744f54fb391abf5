"""Ops in one: a ReLU costs no pass over memory of its own, forwards or backwards.

Forwards it is applied before a result is written; backwards where the gradient is read anyway.
"""

from __future__ import annotations

from minicnn.backends.cupy_gpu.conv import conv2d_backward_input, conv2d_backward_kernel, convolution
from minicnn.backends.cupy_gpu.dense import affine, dense_backward_input, dense_backward_kernel, relu_bias_backward
from minicnn.backends.cupy_gpu.norm import gradients, normalized, statistics
from minicnn.backends.cupy_gpu.pool import gather_from_winners, maxpool2d_forward
from minicnn.backends.spec import Array, Pads, Pair
from minicnn.shapes import window_output

__all__ = [
    "batchnorm_relu_backward",
    "batchnorm_relu_forward",
    "batchnorm_relu_inference",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_maxpool_backward",
    "conv2d_relu_maxpool_forward",
    "dense_relu_backward",
    "dense_relu_forward",
]

Gradients = tuple[Array | None, Array, Array]


def conv2d_relu_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """One launch."""
    return convolution(x, kernel, bias, strides, pads, dilation, relu=True)


def conv2d_relu_backward(
    dy: Array, x: Array, y: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool
) -> Gradients:
    """dbias comes from the pass that takes the ReLU back."""
    d, dbias = relu_bias_backward(dy, y, need_dx=True)
    dx = conv2d_backward_input(d, kernel, x.shape, strides, pads, dilation) if need_dx else None
    return dx, conv2d_backward_kernel(x, d, kernel.shape, strides, pads, dilation), dbias


def conv2d_relu_maxpool_forward(
    x: Array,
    kernel: Array,
    bias: Array | None,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
) -> tuple[Array, Array]:
    """The map between is stored, but nothing of it is kept for the way back."""
    return maxpool2d_forward(
        convolution(x, kernel, bias, strides, pads, dilation, relu=True), pool_size, pool_strides, pool_pads
    )


def conv2d_relu_maxpool_backward(
    dy: Array,
    x: Array,
    y: Array,
    winners: Array,
    kernel: Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
    need_dx: bool,
) -> Gradients:
    """dbias is summed over the pooled pixels: each dy goes to one pixel of the map."""
    _, dbias = relu_bias_backward(dy, y, need_dx=False)
    KH, KW, _, C_out = kernel.shape
    map_shape = (len(x), *window_output(x.shape[1:3], (KH, KW), strides, pads, dilation), C_out)
    d = gather_from_winners(dy, winners, y, map_shape, pool_size, pool_strides, pool_pads)
    dx = conv2d_backward_input(d, kernel, x.shape, strides, pads, dilation) if need_dx else None
    return dx, conv2d_backward_kernel(x, d, kernel.shape, strides, pads, dilation), dbias


def dense_relu_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """One launch."""
    return affine(x, kernel, bias, relu=True)


def dense_relu_backward(dy: Array, x: Array, y: Array, kernel: Array, need_dx: bool) -> Gradients:
    """dbias comes from the pass that takes the ReLU back."""
    d, dbias = relu_bias_backward(dy, y, need_dx=True)
    return dense_backward_input(d, kernel) if need_dx else None, dense_backward_kernel(x, d), dbias


def batchnorm_relu_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Statistics, then one pass."""
    mean, variance = statistics(x)
    return normalized(x, gamma, beta, mean, variance, epsilon, relu=True), mean, variance


def batchnorm_relu_backward(
    dy: Array, x: Array, y: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """The passes of `batchnorm_backward`, which read y besides."""
    return gradients(dy, x, y, gamma, mean, variance, epsilon)


def batchnorm_relu_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """One pass."""
    return normalized(x, gamma, beta, mean, variance, epsilon, relu=True)
