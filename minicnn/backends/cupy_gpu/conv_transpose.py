"""Transposed convolution by the kernels of `conv`: its input gradient, forwards; then its other two passes."""

from __future__ import annotations

from minicnn.backends.cupy_gpu.conv import _backward_input, _backward_kernel, _relu_and_bias_backward, conv2d_forward
from minicnn.backends.cupy_gpu.elementwise import relu_forward
from minicnn.backends.reference import conv_transpose as reference
from minicnn.backends.types import Array, Pair, Window


def conv2d_transpose_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, image: Pair, relu: bool = False
) -> Array:
    """A block owns a tile of y's pixels and channels. Bias and ReLU are launches of their own."""
    if len(x) == 0:
        return reference.conv2d_transpose_forward(x, kernel, bias, window, image, relu)
    z = _backward_input(x, kernel, (len(x), *image, kernel.shape[2]), window)
    if bias is not None:
        z += bias
    return relu_forward(z) if relu else z


def conv2d_transpose_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """dbias is added up in the pass that goes back through the ReLU."""
    if len(x) == 0:
        return reference.conv2d_transpose_backward(dy, x, kernel, window, y, need_dx)
    dz, dbias = _relu_and_bias_backward(dy, y, need_dz=True)
    dx = conv2d_forward(dz, kernel, None, window)[0] if need_dx else None
    return dx, _backward_kernel(x, dz, kernel.shape, window), dbias


def conv2d_transpose_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window, image: Pair) -> str:
    """As the convolution."""
    return "implicit GEMM"
