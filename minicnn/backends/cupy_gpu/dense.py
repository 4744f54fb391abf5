"""Dense layers: convolutions of images of one pixel."""

from __future__ import annotations

from minicnn.backends.cupy_gpu import conv
from minicnn.backends.cupy_gpu.compile import C_TYPES, empty, inputs, launch
from minicnn.backends.spec import Array

__all__ = [
    "affine",
    "bias_backward",
    "column_chunks",
    "dense_backward_input",
    "dense_backward_kernel",
    "dense_forward",
    "relu_bias_backward",
]

_ONE_PIXEL = ((1, 1), (0, 0, 0, 0), (1, 1))  # strides, pads, dilation
_LEAST_ROWS, _MOST_CHUNKS = 256, 256


def dense_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """`conv2d_forward` of M images of one pixel."""
    return affine(x, kernel, bias, relu=False)


def affine(x: Array, kernel: Array, bias: Array | None, relu: bool) -> Array:
    """`dense_forward`; with `relu` max(that, 0)."""
    (M, C_in), C_out = x.shape, kernel.shape[1]
    y = conv.convolution(x.reshape(M, 1, 1, C_in), kernel.reshape(1, 1, C_in, C_out), bias, *_ONE_PIXEL, relu=relu)
    return y.reshape(M, C_out)


def dense_backward_input(dy: Array, kernel: Array) -> Array:
    """`conv2d_backward_input` of M images of one pixel."""
    (M, C_out), C_in = dy.shape, kernel.shape[0]
    kernel = kernel.reshape(1, 1, C_in, C_out)
    dx = conv.conv2d_backward_input(dy.reshape(M, 1, 1, C_out), kernel, (M, 1, 1, C_in), *_ONE_PIXEL)
    return dx.reshape(M, C_in)


def dense_backward_kernel(x: Array, dy: Array) -> Array:
    """`conv2d_backward_kernel` of M images of one pixel."""
    (M, C_in), C_out = x.shape, dy.shape[1]
    dy = dy.reshape(M, 1, 1, C_out)
    dkernel = conv.conv2d_backward_kernel(x.reshape(M, 1, 1, C_in), dy, (1, 1, C_in, C_out), *_ONE_PIXEL)
    return dkernel.reshape(C_in, C_out)


def bias_backward(dy: Array) -> Array:
    """A block adds one chunk of rows; the chunks are added in order."""
    dy = inputs("bias_backward", dy)
    C = dy.shape[-1]
    rows = dy.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((grid[1], C), dy.dtype)
    launch(
        "dense.cu",
        "bias_backward",
        grid,
        (32, 8),
        (dy, partial, rows, rows_per_chunk),
        {"real": C_TYPES[dy.dtype.name]},
        {"C": C},
    )
    return conv.sum_chunks(partial)


def relu_bias_backward(dy: Array, y: Array, need_dx: bool) -> tuple[Array | None, Array]:
    """relu_backward(dy, y), None without `need_dx`, and its `bias_backward`: in one pass."""
    dy, y = inputs("relu_bias_backward", dy, y)
    C = dy.shape[-1]
    rows = dy.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((grid[1], C), dy.dtype)
    dx = empty(dy.shape, dy.dtype) if need_dx else None
    arguments = (dy, y, dx, partial, rows, rows_per_chunk)
    launch("dense.cu", "relu_bias_backward", grid, (32, 8), arguments, {"real": C_TYPES[dy.dtype.name]}, {"C": C})
    return dx, conv.sum_chunks(partial)


def column_chunks(rows: int, C: int) -> tuple[tuple[int, int], int]:
    """How sums down the columns of a matrix (rows, C) are cut (`kernels/columns.cuh`): the grid, and rows a chunk.

    The chunks depend on the shape alone.
    """
    rows_per_chunk = max(_LEAST_ROWS, -(-rows // _MOST_CHUNKS))
    return (-(-C // 32), -(-rows // rows_per_chunk)), rows_per_chunk
