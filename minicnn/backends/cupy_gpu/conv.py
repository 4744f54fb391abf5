"""Convolution as implicit GEMM: one tiled product, addressed in three ways (`kernels/gemm.cuh`).

| | rows | columns | summed over |
|---|---|---|---|
| forward | n, oy, ox | co | ky, kx, ci |
| input gradient | n, h, w | ci | ky, kx, co |
| kernel gradient | ky, kx, ci | co | n, oy, ox |

A ReLU costs no pass over memory of its own: forwards it is applied before a result is written,
backwards where the gradient is read anyway. Groups of channels are left to the reference's
lines, whose product is cuBLAS's, so that a step with groups cannot be captured. So is a batch
of no images: a launch has at least one block.
"""

from __future__ import annotations

from math import gcd

from minicnn.backends.cupy_gpu.compile import column_chunks, empty, inputs, launch, real_type, vector_width
from minicnn.backends.cupy_gpu.gemm import Product, multiply, sum_chunks
from minicnn.backends.cupy_gpu.pool import _maxpool2d_relu_backward, maxpool2d_backward, maxpool2d_forward
from minicnn.backends.reference import conv as reference
from minicnn.backends.types import Array, Window


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False, pool: Window | None = None
) -> tuple[Array, Array | None]:
    """A block owns a tile of output pixels and channels. A pooling is a launch of its own."""
    if window.groups > 1 or len(x) == 0:
        return reference.conv2d_forward(x, kernel, bias, window, relu, pool)
    x, kernel, bias = inputs("conv2d_forward", x, kernel, bias)
    (KH, KW, C_in, C_out), (OH, OW), N = kernel.shape, window.output, len(x)
    vectors = {"VECTOR": vector_width(C_in, x), "KERNEL_VECTOR": vector_width(C_out, kernel)}
    geometry = _geometry(x.shape, kernel.shape, window)
    product = Product("conv2d_forward", N * OH * OW, C_out, KH * KW * C_in, geometry, vectors)
    y = multiply(product, (x, kernel, bias), (N, OH, OW, C_out), bias, (int(relu),))
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
    """dbias is added up in the pass that goes back through the ReLU. With a pooling behind the ReLU that pass reads
    the pooled pixels alone: each dy goes to one pixel of the convolution's output, so that the sum is the same."""
    if window.groups > 1 or len(x) == 0:
        return reference.conv2d_backward(dy, x, kernel, window, y, pool, argmax, need_dx)
    z_shape = (len(x), *window.output, kernel.shape[3])
    if pool is not None and y is None:  # no ReLU: the pooling first
        dy, pool = maxpool2d_backward(dy, argmax, z_shape, pool), None
    dz, dbias = _relu_and_bias_backward(dy, y, need_dz=pool is None)
    if pool is not None:
        dz = _maxpool2d_relu_backward(dy, argmax, y, z_shape, pool)
    dx = _backward_input(dz, kernel, x.shape, window) if need_dx else None
    return dx, _backward_kernel(dz, x, kernel.shape, window), dbias


def conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """For groups what the reference answers."""
    return "implicit GEMM" if window.groups == 1 else reference.conv2d_algorithm(x_shape, kernel_shape, window)


def _backward_input(dz: Array, kernel: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """dx. Gathers: a block owns a tile of input pixels and channels, of one phase of the stride."""
    dz, kernel = inputs("conv2d_backward", dz, kernel)
    (N, H, W, C_in), (KH, KW, _, C_out), (SH, SW), (DH, DW) = x_shape, kernel.shape, window.strides, window.dilation
    geometry = _geometry(x_shape, kernel.shape, window)
    geometry["PERIOD_Y"], geometry["PERIOD_X"] = SH // gcd(SH, DH), SW // gcd(SW, DW)
    depth = -(-KH // geometry["PERIOD_Y"]) * -(-KW // geometry["PERIOD_X"]) * C_out
    rows = N * -(-H // SH) * -(-W // SW)
    vectors = {"VECTOR": vector_width(C_out, dz, kernel)}
    product = Product("conv2d_backward_input", rows, C_in, depth, geometry, vectors, phases=SH * SW)
    return multiply(product, (dz, kernel), x_shape)


def _backward_kernel(dz: Array, x: Array, kernel_shape: tuple[int, ...], window: Window) -> Array:
    """dkernel. A block owns a tile of taps and channels, over one chunk of the output pixels of all images."""
    dz, x = inputs("conv2d_backward", dz, x)
    (N, OH, OW, C_out), (KH, KW, C_in, _) = dz.shape, kernel_shape
    vectors = {"VECTOR": vector_width(C_in, x), "KERNEL_VECTOR": vector_width(C_out, dz)}
    geometry = _geometry(x.shape, kernel_shape, window)
    product = Product("conv2d_backward_kernel", KH * KW * C_in, C_out, N * OH * OW, geometry, vectors)
    return multiply(product, (x, dz), kernel_shape)


def _relu_and_bias_backward(dy: Array, y: Array | None, need_dz: bool) -> tuple[Array | None, Array]:
    """dz, and dbias, its sum over the pixels, in one pass: a block adds one chunk of pixels; chunks are added in order.

    Without y, dz is dy; with y, the output of a ReLU, dy where y > 0, else 0 (not stored without `need_dz`: None).
    """
    dy, y = inputs("conv2d_backward", dy, y)
    C = dy.shape[-1]
    rows = dy.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((grid[1], C), dy.dtype)
    dz = dy if y is None else empty(dy.shape, dy.dtype) if need_dz else None
    name, arrays = ("bias_backward", (dy,)) if y is None else ("relu_bias_backward", (dy, y, dz))
    launch("bias.cu", name, grid, (32, 8), (*arrays, partial, rows, rows_per_chunk), real_type(dy), {"C": C})
    return dz, sum_chunks(partial)


def _geometry(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> dict[str, int]:
    """The constants of `kernels/patches.cuh`."""
    (_, H, W, C_in), (KH, KW, _, C_out), (OH, OW) = x_shape, kernel_shape, window.output
    (SH, SW), (DH, DW), (top, _, left, _) = window.strides, window.dilation, window.pads
    names = ("H", "W", "C_IN", "KH", "KW", "C_OUT", "OH", "OW", "SH", "SW", "DH", "DW", "TOP", "LEFT")
    return dict(zip(names, (H, W, C_in, KH, KW, C_out, OH, OW, SH, SW, DH, DW, top, left)))
