"""Fused ops as what they are: one op after the other. No plan calls these; fast ones are held to them."""

from __future__ import annotations

from minicnn.backends.reference.conv import conv2d_backward_input, conv2d_backward_kernel, conv2d_forward
from minicnn.backends.reference.dense import bias_backward, dense_backward_input, dense_backward_kernel, dense_forward
from minicnn.backends.reference.elementwise import relu_backward, relu_forward
from minicnn.backends.reference.norm import batchnorm_backward, batchnorm_forward, batchnorm_inference
from minicnn.backends.reference.pool import maxpool2d_backward, maxpool2d_forward
from minicnn.backends.spec import Array, Pads, Pair
from minicnn.shapes import window_output

__all__ = [
    "batchnorm_relu_backward",
    "batchnorm_relu_forward",
    "batchnorm_relu_inference",
    "conv2d_backward",
    "conv2d_maxpool_backward",
    "conv2d_maxpool_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_maxpool_backward",
    "conv2d_relu_maxpool_forward",
    "dense_backward",
    "dense_relu_backward",
    "dense_relu_forward",
]

Gradients = tuple[Array | None, Array, Array]


def conv2d_relu_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """As in the spec."""
    return relu_forward(conv2d_forward(x, kernel, bias, strides, pads, dilation))


def conv2d_backward(dy: Array, x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool) -> Gradients:
    """As in the spec."""
    dx = conv2d_backward_input(dy, kernel, x.shape, strides, pads, dilation) if need_dx else None
    return dx, conv2d_backward_kernel(x, dy, kernel.shape, strides, pads, dilation), bias_backward(dy)


def conv2d_relu_backward(
    dy: Array, x: Array, y: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool
) -> Gradients:
    """As in the spec."""
    return conv2d_backward(relu_backward(dy, y), x, kernel, strides, pads, dilation, need_dx)


def conv2d_maxpool_forward(
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
    """As in the spec."""
    return maxpool2d_forward(conv2d_forward(x, kernel, bias, strides, pads, dilation), pool_size, pool_strides, pool_pads)


def conv2d_maxpool_backward(
    dy: Array,
    x: Array,
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
    """As in the spec."""
    N, H, W, _ = x.shape
    KH, KW, _, C_out = kernel.shape
    map_shape = (N, *window_output((H, W), (KH, KW), strides, pads, dilation), C_out)
    dmap = maxpool2d_backward(dy, winners, map_shape, pool_size, pool_strides, pool_pads)
    return conv2d_backward(dmap, x, kernel, strides, pads, dilation, need_dx)


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
    """As in the spec."""
    return maxpool2d_forward(conv2d_relu_forward(x, kernel, bias, strides, pads, dilation), pool_size, pool_strides, pool_pads)


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
    """As in the spec."""
    dy = relu_backward(dy, y)
    return conv2d_maxpool_backward(dy, x, winners, kernel, strides, pads, dilation, pool_size, pool_strides, pool_pads, need_dx)


def dense_relu_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """As in the spec."""
    return relu_forward(dense_forward(x, kernel, bias))


def dense_backward(dy: Array, x: Array, kernel: Array, need_dx: bool) -> Gradients:
    """As in the spec."""
    return dense_backward_input(dy, kernel) if need_dx else None, dense_backward_kernel(x, dy), bias_backward(dy)


def dense_relu_backward(dy: Array, x: Array, y: Array, kernel: Array, need_dx: bool) -> Gradients:
    """As in the spec."""
    return dense_backward(relu_backward(dy, y), x, kernel, need_dx)


def batchnorm_relu_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """As in the spec."""
    y, mean, variance = batchnorm_forward(x, gamma, beta, epsilon)
    return relu_forward(y), mean, variance


def batchnorm_relu_backward(
    dy: Array, x: Array, y: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """As in the spec."""
    return batchnorm_backward(relu_backward(dy, y), x, gamma, mean, variance, epsilon)


def batchnorm_relu_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """As in the spec."""
    return relu_forward(batchnorm_inference(x, gamma, beta, mean, variance, epsilon))
