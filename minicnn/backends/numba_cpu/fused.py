"""Adjacent ops in one pass: what lies between them stays in a core's L1 and L2 and is never stored whole.

Forward, a task computes a band of a convolution's rows, with bias and ReLU while each tile is still
in registers, and pools it at once. Backward, a task takes one image after the other: the
gradient is led back through pooling and ReLU into panels for the micro-kernel, which serve
both the kernel's gradient and the input's; the bias's is summed on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu import conv, dense, norm, winograd
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.numba_cpu._panels import (
    blocks_of,
    clear,
    fill_panels,
    pack_taps,
    pixel_offsets,
    start_row,
)
from minicnn.backends.numba_cpu._parallel import parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.numba_cpu._walk import NO_FLOOR, frames_for, image_of, sum_chunks, walk_of
from minicnn.backends.numba_cpu.conv import (
    ZERO,
    border_of,
    forward_rows,
    input_gradient,
    input_offsets,
    kernel_gradient,
    kernel_offsets,
    panels_of,
)
from minicnn.backends.numba_cpu.elementwise import relu_backward
from minicnn.backends.numba_cpu.pool import max_of_rows
from minicnn.backends.reference import fused as reference
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

Array = Any
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Gradients = tuple[Array | None, Array, Array]

F = np.float32
MAP_BYTES = 128 * 1024  # of a convolution's output that a task computes before it pools


# --- convolution, ReLU, max pooling -------------------------------------------------


def conv2d_relu_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """The ReLU is the last thing that a tile meets in its registers."""
    if x.dtype != F:
        return reference.conv2d_relu_forward(x, kernel, bias, strides, pads, dilation)
    return conv.forward(x, kernel, bias, strides, pads, dilation, ZERO)


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
    """Parallel over bands of pooled rows."""
    if x.dtype != F:
        return reference.conv2d_maxpool_forward(x, kernel, bias, strides, pads, dilation, pool_size, pool_strides, pool_pads)
    return _pooled(x, kernel, bias, strides, pads, dilation, pool_size, pool_strides, pool_pads, NO_FLOOR)


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
    """Parallel over bands of pooled rows."""
    if x.dtype != F:
        return reference.conv2d_relu_maxpool_forward(
            x, kernel, bias, strides, pads, dilation, pool_size, pool_strides, pool_pads
        )
    return _pooled(x, kernel, bias, strides, pads, dilation, pool_size, pool_strides, pool_pads, ZERO)


def _pooled(
    x: Array,
    kernel: Array,
    bias: Array | None,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
    floor: np.float32,
) -> tuple[Array, Array]:
    if winograd.pays(x.shape, kernel.shape, strides, pads, dilation):
        return winograd.forward(x, kernel, bias, pads, floor, (pool_size, pool_strides, pool_pads))
    N = x.shape[0]
    KH, KW, _, C_out = kernel.shape
    OH, OW = window_output(x.shape[1:3], (KH, KW), strides, pads, dilation)
    PH, PW = window_output((OH, OW), pool_size, pool_strides, pool_pads)
    walk = walk_of(x.shape, kernel.shape, strides, pads, dilation)
    band = conv.band_rows(N, PH, min(MAP_BYTES // (OW * C_out * 4), OH) // pool_strides[0])  # pooled rows of a task
    rows = min(OH, (band - 1) * pool_strides[0] + pool_size[0])
    y = empty((N, PH, PW, C_out))
    winners = empty((N, PH, PW, C_out), np.uint8 if pool_size[0] * pool_size[1] <= 256 else np.int32)
    packed = conv.memory_for_panels(kernel.shape, N * OH * OW)
    frames = frames_for(walk, x.shape, (rows - 1) * walk.SH + (KH - 1) * walk.DH + 1)
    maps = empty((MOST, rows, OW, C_out))
    _forward(
        x,
        kernel,
        start_row(bias, C_out),
        y,
        winners,
        packed,
        frames,
        maps,
        empty((2, rows * OW), np.int64),
        walk,
        OH,
        band,
        pool_size,
        pool_strides,
        pool_pads,
        floor,
    )
    return y, winners


@part
def _forward_band(  # type: ignore[no-untyped-def]
    task: int, worker: int, x, panels, start, y, winners, frames, maps, table, walk, OH, band, pool_size, strides, pads, floor
) -> None:
    _, PH, _, C_out = y.shape
    _, _, OW, _ = maps.shape
    bands = (PH + band - 1) // band
    n, py = task // bands, task % bands * band
    py_end = min(py + band, PH)
    # The rows of the map that these windows see.
    oy = max(0, py * strides[0] - pads[0])
    oy_end = min(OH, (py_end - 1) * strides[0] - pads[0] + pool_size[0])
    image = image_of(x, n, oy * walk.SH, frames, worker, walk)
    rows = maps[worker]
    forward_rows(image, (oy_end - oy) * OW, table, panels, start, rows.ctypes.data, walk, x.shape[3], C_out, floor)
    max_of_rows(rows, oy, OH, y, winners, n, py, py_end, pool_size, strides, pads)


@compiled
def _forward(  # type: ignore[no-untyped-def]
    x, kernel, start, y, winners, packed, frames, maps, table, walk, OH, band, pool_size, strides, pads, floor
):
    N, PH, _, C_out = y.shape
    _, _, C_in, _ = kernel.shape
    OW = maps.shape[2]
    panels = panels_of(kernel, packed)
    pixel_offsets(table[0], OW, walk.SH * walk.width * C_in, walk.SW * C_in)
    pixel_offsets(table[1], OW, OW * C_out, C_out)
    parallel_for(
        N * ((PH + band - 1) // band),
        N * OH * OW * kernel.size,
        _forward_band,
        (x, panels, start, y, winners, frames, maps, table, walk, OH, band, pool_size, strides, pads, floor),
    )


def conv2d_backward(dy: Array, x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool) -> Gradients:
    """Parallel over chunks of images."""
    if dy.dtype != F:
        return reference.conv2d_backward(dy, x, kernel, strides, pads, dilation, need_dx)
    return _gradients(dy, x, None, None, kernel, strides, pads, dilation, (1, 1), (1, 1), (0, 0, 0, 0), need_dx)


def conv2d_relu_backward(
    dy: Array, x: Array, y: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, need_dx: bool
) -> Gradients:
    """Parallel over chunks of images."""
    if dy.dtype != F:
        return reference.conv2d_relu_backward(dy, x, y, kernel, strides, pads, dilation, need_dx)
    return _gradients(dy, x, y, None, kernel, strides, pads, dilation, (1, 1), (1, 1), (0, 0, 0, 0), need_dx)


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
    """Parallel over chunks of images."""
    if dy.dtype != F:
        return reference.conv2d_maxpool_backward(
            dy, x, winners, kernel, strides, pads, dilation, pool_size, pool_strides, pool_pads, need_dx
        )
    return _gradients(dy, x, None, winners, kernel, strides, pads, dilation, pool_size, pool_strides, pool_pads, need_dx)


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
    """Parallel over chunks of images."""
    if dy.dtype != F:
        return reference.conv2d_relu_maxpool_backward(
            dy, x, y, winners, kernel, strides, pads, dilation, pool_size, pool_strides, pool_pads, need_dx
        )
    return _gradients(dy, x, y, winners, kernel, strides, pads, dilation, pool_size, pool_strides, pool_pads, need_dx)


def _gradients(
    dy: Array,
    x: Array,
    y: Array | None,
    winners: Array | None,
    kernel: Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    pool_size: Pair,
    pool_strides: Pair,
    pool_pads: Pads,
    need_dx: bool,
) -> Gradients:
    """Of a convolution, with y behind a ReLU, with winners behind a max pooling."""
    if winograd.pays(x.shape, kernel.shape, strides, pads, dilation):
        return winograd.gradients(dy, x, y, winners, kernel, pads, (pool_size, pool_strides, pool_pads), need_dx)
    KH, KW, _, C_out = kernel.shape
    OH, OW = window_output(x.shape[1:3], (KH, KW), strides, pads, dilation)
    walk = walk_of(x.shape, kernel.shape, strides, pads, dilation)
    dkernel, dbias = empty(kernel.shape), empty((C_out,))
    partial, kernel_table, frames = conv.memory_for_kernel_gradient(kernel.shape, x.shape, walk)
    totals = empty((partial.shape[0], blocks_of(C_out) * NR))
    if need_dx:
        dx = empty(x.shape)
        panels, packed, table, dx_frames, gathers = conv.memory_for_input_gradient(OH, OW, kernel.shape, x.shape, walk)
    else:
        dx, gathers = empty((1, 1, 1, 1)), False
        panels = empty((MOST, blocks_of(C_out), OH, OW, NR))
        packed, table, dx_frames = empty((1, 1, 1, 1, 1)), empty((1, 1), np.int64), frames
    pool = (*pool_size, *pool_strides, pool_pads[0], pool_pads[2], OH, OW)
    relu, pooled = y is not None, winners is not None
    y = dy if y is None else y
    winners = empty((1, 1, 1, 1), np.uint8) if winners is None else winners
    sums = partial, totals, empty((MOST, dy.shape[2], NR))
    tables = kernel_table, table
    _backward(
        dy, x, y, winners, kernel, dx, dkernel, dbias, panels, packed, frames, dx_frames, sums, tables,
        walk, pool, relu, pooled, need_dx, gathers,
    )  # fmt: skip
    return dx if need_dx else None, dkernel, dbias


@part
def _backward_chunk(  # type: ignore[no-untyped-def]
    chunk: int, worker: int, dy, x, y, winners, dx, panels, packed, frames, dx_frames, sums, tables, zeros,
    walk, pool, relu, pooled, need_dx, gathers,
) -> None:  # fmt: skip
    partial, totals, gradient = sums
    kernel_table, table = tables
    N, C_in = x.shape[0], x.shape[3]
    chunks = partial.shape[0]
    _, _, height, width, _ = panels.shape
    top, left = border_of(walk, gathers)
    panel = panels[worker]
    clear(totals[chunk])
    clear(panel.reshape(panel.size))  # the border stays zero
    at = panel.ctypes.data + 4 * (top * width + left) * NR
    first, end = chunk * N // chunks, (chunk + 1) * N // chunks
    for n in range(first, end):
        fill_panels(n, dy, y, winners, panel, top, left, pool, relu, pooled, gradient[worker], totals[chunk])
        image = image_of(x, n, 0, frames, worker, walk)
        OH, OW = pool[6], pool[7]
        kernel_gradient(
            image, at, height * width * NR, OH, OW, width * NR, partial, chunk, n > first, kernel_table, zeros, walk, C_in
        )
        if need_dx:
            input_gradient(n, worker, panels, packed, dx, dx_frames, table, zeros, walk, gathers)


@compiled
def _backward(  # type: ignore[no-untyped-def]
    dy, x, y, winners, kernel, dx, dkernel, dbias, panels, packed, frames, dx_frames, sums, tables,
    walk, pool, relu, pooled, need_dx, gathers,
):  # fmt: skip
    partial, totals, _ = sums
    kernel_table, table = tables
    KH, KW, C_in, C_out = kernel.shape
    chunks, taps, _ = partial.shape
    if dy.size == 0:
        clear(dkernel.reshape(dkernel.size))
        clear(dbias)
        return
    zeros = np.zeros(NR, np.float32)
    kernel_offsets(kernel_table, walk, C_in, C_out)
    if need_dx:
        blocks = packed.shape[0] * packed.shape[1]
        parallel_for(blocks, kernel.size, pack_taps, (kernel.reshape(KH * KW, C_in, C_out), packed, gathers))
        input_offsets(table, pool[7], x.shape[2], C_in, panels, walk, gathers)
    parallel_for(
        chunks,
        x.shape[0] * pool[6] * pool[7] * kernel.size,
        _backward_chunk,
        (
            dy,
            x,
            y,
            winners,
            dx,
            panels,
            packed,
            frames,
            dx_frames,
            sums,
            tables,
            zeros,
            walk,
            pool,
            relu,
            pooled,
            need_dx,
            gathers,
        ),
    )
    parallel_for((taps + 7) // 8, partial.size, sum_chunks, (partial, dkernel.reshape(taps, C_out)))
    clear(dbias)
    for chunk in range(chunks):
        for co in range(C_out):
            dbias[co] += totals[chunk, co]


# --- dense --------------------------------------------------------------------------


def dense_relu_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """The ReLU is the last thing that a tile meets in its registers."""
    if x.dtype != F:
        return reference.dense_relu_forward(x, kernel, bias)
    return dense.forward(x, kernel, bias, ZERO)


def dense_backward(dy: Array, x: Array, kernel: Array, need_dx: bool) -> Gradients:
    """Three products' worth of calls: next to them, what lies between is small."""
    dx = dense.dense_backward_input(dy, kernel) if need_dx else None
    return dx, dense.dense_backward_kernel(x, dy), dense.bias_backward(dy)


def dense_relu_backward(dy: Array, x: Array, y: Array, kernel: Array, need_dx: bool) -> Gradients:
    """As `dense_backward`."""
    return dense_backward(relu_backward(dy, y), x, kernel, need_dx)


# --- batch normalization and ReLU ---------------------------------------------------


def batchnorm_relu_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """The ReLU belongs to the second pass."""
    if x.dtype != F:
        return reference.batchnorm_relu_forward(x, gamma, beta, epsilon)
    return norm.forward(x, gamma, beta, epsilon, ZERO)


def batchnorm_relu_backward(
    dy: Array, x: Array, y: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """Both passes look at y for the ReLU's mask."""
    if x.dtype != F:
        return reference.batchnorm_relu_backward(dy, x, y, gamma, mean, variance, epsilon)
    return norm.gradients(dy, x, y, gamma, mean, variance, epsilon, True, True)


def batchnorm_relu_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """One pass."""
    if x.dtype != F:
        return reference.batchnorm_relu_inference(x, gamma, beta, mean, variance, epsilon)
    return norm.inference(x, gamma, beta, mean, variance, epsilon, ZERO)
