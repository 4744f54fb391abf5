"""Depthwise convolution: a thread owns one result and reads what it needs, forwards and backwards (`kernels/depthwise.cu`)."""

from __future__ import annotations

from minicnn.backends.cupy_gpu.compile import THREADS, blocks, column_chunks, empty, inputs, launch, real_type
from minicnn.backends.cupy_gpu.conv import _relu_and_bias_backward
from minicnn.backends.cupy_gpu.gemm import sum_chunks
from minicnn.backends.reference import depthwise as reference
from minicnn.backends.types import Array, Window


def depthwise_conv2d_forward(x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False) -> Array:
    """A thread owns one output."""
    x, kernel, bias = inputs("depthwise_conv2d_forward", x, kernel, bias)
    y = empty((len(x), *window.output, kernel.shape[2] * kernel.shape[3]), x.dtype)
    arguments = (x, kernel, bias, y, y.size, int(relu))
    _launch("depthwise_conv2d_forward", blocks(y.size), (THREADS,), arguments, x, kernel, window)
    return y


def depthwise_conv2d_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """A thread owns one pixel of dx; a block one chunk of the output's pixels, for 32 weights. dbias comes from the pass
    that goes back through the ReLU."""
    if len(x) == 0:
        return reference.depthwise_conv2d_backward(dy, x, kernel, window, y, need_dx)
    dz, dbias = _relu_and_bias_backward(dy, y, need_dz=True)
    dz, x, kernel = inputs("depthwise_conv2d_backward", dz, x, kernel)
    rows, dx = dz.size // dz.shape[3], None
    grid, rows_per_chunk = column_chunks(rows, kernel.size)
    partial = empty((grid[1], kernel.size), dz.dtype)
    sums = dz, x, partial, rows, rows_per_chunk
    _launch("depthwise_conv2d_backward_kernel", grid, (32, 8), sums, x, kernel, window)
    if need_dx:
        dx = empty(x.shape, x.dtype)
        gathers = dz, kernel, dx, dx.size
        _launch("depthwise_conv2d_backward_input", blocks(dx.size), (THREADS,), gathers, x, kernel, window)
    return dx, sum_chunks(partial).reshape(kernel.shape), dbias


def depthwise_conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """One thread a result."""
    return "direct"


def _launch(
    name: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    arguments: tuple[object, ...],
    x: Array,
    kernel: Array,
    window: Window,
) -> None:
    """Run kernel `name` under the constants of `kernels/depthwise.cu`."""
    (_, H, W, channels), (KH, KW, _, M), (OH, OW) = x.shape, kernel.shape, window.output
    (SH, SW), (DH, DW), (top, _, left, _) = window.strides, window.dilation, window.pads
    names = ("H", "W", "CHANNELS", "M", "KH", "KW", "OH", "OW", "SH", "SW", "DH", "DW", "TOP", "LEFT", "C")
    values = (H, W, channels, M, KH, KW, OH, OW, SH, SW, DH, DW, top, left, kernel.size)
    launch("depthwise.cu", name, grid, block, arguments, real_type(x), dict(zip(names, values)))
