"""Convolution and its gradients: three loop nests around one micro-kernel (see `_microkernel`).

The loops below differ only in which two of the five indices (pixel, ky, kx, ci, co) span the
tile and which are summed: the reference backend's im2col product, permuted, and never stored.
float64 goes to the reference backend: it exists for gradient checks, not for speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._microkernel import NR, multiply
from minicnn.backends.numba_cpu._panels import (
    blocks_of,
    frame_image,
    pack,
    pack_transposed,
    pixel_offsets,
    start_row,
    unframe_image,
)
from minicnn.backends.numba_cpu._parallel import get_num_threads, parallel_for
from minicnn.shapes import window_output

__all__ = ["conv2d_backward_input", "conv2d_backward_kernel", "conv2d_forward"]

Array = Any
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]

NO_FLOOR = np.float32(-np.inf)
BAND_BYTES = 192 * 1024  # of image that a task reads: with the kernel's panel it stays in a core's L2
CHUNKS = 16  # of images that are summed apart: the most threads a kernel gradient can use


def band_rows(N: int, OH: int, bytes_per_row: int) -> int:
    """Output rows of a task: the whole image if images are many and small, else less."""
    most = max(1, BAND_BYTES // max(1, bytes_per_row))
    if N < CHUNKS:
        most = min(most, -(-OH * N // CHUNKS))
    bands = -(-OH // most)
    return -(-OH // bands)


# --- forward ------------------------------------------------------------------------


def conv2d_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """Parallel over bands of output rows; a tile is MR output pixels by NR output channels."""
    if x.dtype != np.float32:
        return reference.conv2d_forward(x, kernel, bias, strides, pads, dilation)
    N, H, W, C_in = x.shape
    KH, KW, _, C_out = kernel.shape
    OH, OW = window_output((H, W), (KH, KW), strides, pads, dilation)
    y = empty((N, OH, OW, C_out))
    width = W + pads[2] + pads[3]
    rows = band_rows(N, OH, strides[0] * width * C_in * 4)
    frames = empty(
        (get_num_threads(), (rows - 1) * strides[0] + (KH - 1) * dilation[0] + 1, width, C_in) if any(pads) else (1, 1, 1, 1)
    )
    packed = empty((blocks_of(C_out), KH * KW * C_in, NR))
    _forward(
        x, kernel, start_row(bias, C_out), y, packed, frames, empty((2, rows * OW), np.int64), strides, pads, dilation, NO_FLOOR
    )
    return y


@part
def _forward_band(task: int, worker: int, x, packed, start, y, frames, table, KH, KW, strides, pads, dilation, floor) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C_in = x.shape
    _, OH, OW, C_out = y.shape
    rows = table.shape[1] // OW
    bands = (OH + rows - 1) // rows
    n, oy = task // bands, task % bands * rows
    rows = min(rows, OH - oy)
    width = W + pads[2] + pads[3]
    if pads == (0, 0, 0, 0):
        image = x.ctypes.data + 4 * (n * H + oy * strides[0]) * W * C_in
    else:
        frame_image(x, n, pads[0] - oy * strides[0], pads[2], frames[worker])
        image = frames.ctypes.data + 4 * worker * frames[0].size
    a_rows, c_rows = table.ctypes.data, table.ctypes.data + 8 * table.shape[1]
    for block in range(packed.shape[0]):
        columns = min(NR, C_out - block * NR)
        b = packed.ctypes.data + 4 * block * packed.shape[1] * NR
        begin = start.ctypes.data + 4 * block * NR
        c = y.ctypes.data + 4 * ((n * OH + oy) * OW * C_out + block * NR)
        if dilation[1] == 1:  # a kernel row is one run of KW*C_in floats of the image
            multiply(
                image,
                a_rows,
                rows * OW,
                KH,
                dilation[0] * width * C_in,
                KW * C_in,
                1,
                b,
                NR,
                begin,
                0,
                c,
                c_rows,
                columns,
                floor,
            )
        else:
            for ky in range(KH):
                multiply(
                    image + 4 * ky * dilation[0] * width * C_in,
                    a_rows,
                    rows * OW,
                    KW,
                    dilation[1] * C_in,
                    C_in,
                    1,
                    b + 4 * ky * KW * C_in * NR,
                    NR,
                    begin if ky == 0 else c,
                    0 if ky == 0 else 1,
                    c,
                    c_rows,
                    columns,
                    floor if ky == KH - 1 else NO_FLOOR,
                )


@compiled
def _forward(x, kernel, start, y, packed, frames, table, strides, pads, dilation, floor):  # type: ignore[no-untyped-def]
    N, _, W, C_in = x.shape
    _, OH, OW, C_out = y.shape
    KH, KW, _, _ = kernel.shape
    rows = table.shape[1] // OW
    parallel_for(packed.shape[0], kernel.size, pack, (kernel.reshape(KH * KW * C_in, C_out), packed))
    pixel_offsets(table[0], OW, strides[0] * (W + pads[2] + pads[3]) * C_in, strides[1] * C_in)
    pixel_offsets(table[1], OW, OW * C_out, C_out)
    parallel_for(
        N * ((OH + rows - 1) // rows),
        y.size * KH * KW * C_in,
        _forward_band,
        (x, packed, start, y, frames, table, KH, KW, strides, pads, dilation, floor),
    )


# --- gradient with respect to the input ---------------------------------------------


def conv2d_backward_input(
    dy: Array, kernel: Array, x_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Parallel over n: each thread owns dx[n], so there are no races; a tile is MR pixels of dy by NR input channels.

    A tile of products with one kernel tap is added to dx where that tap had read: pixels SW
    apart. So any stride costs the same, nothing is computed in vain, and there is no col2im.
    """
    if dy.dtype != np.float32:
        return reference.conv2d_backward_input(dy, kernel, x_shape, strides, pads, dilation)
    N, H, W, C_in = x_shape
    KH, KW, _, C_out = kernel.shape
    _, OH, OW, _ = dy.shape
    dx = empty((N, H, W, C_in))
    frames = empty((get_num_threads(), H + pads[0] + pads[1], W + pads[2] + pads[3], C_in) if any(pads) else (1, 1, 1, 1))
    packed = empty((KH * KW, blocks_of(C_in), C_out, NR))
    _backward_input(dy, kernel, dx, packed, frames, empty((2, OH * OW), np.int64), strides, pads, dilation)
    return dx


@part
def _backward_input_image(n: int, worker: int, dy, packed, dx, frames, table, KH, KW, pads, dilation) -> None:  # type: ignore[no-untyped-def]
    _, H, W, C_in = dx.shape
    _, OH, OW, C_out = dy.shape
    framed = pads != (0, 0, 0, 0)
    if framed:
        frames[worker] = 0
        target = frames.ctypes.data + 4 * worker * frames[0].size
    else:
        dx[n] = 0
        target = dx.ctypes.data + 4 * n * H * W * C_in
    width = W + pads[2] + pads[3]
    a_rows, c_rows = table.ctypes.data, table.ctypes.data + 8 * table.shape[1]
    for block in range(packed.shape[1]):
        columns = min(NR, C_in - block * NR)
        for ky in range(KH):
            for kx in range(KW):
                b = packed.ctypes.data + 4 * ((ky * KW + kx) * packed.shape[1] + block) * C_out * NR
                c = target + 4 * ((ky * dilation[0] * width + kx * dilation[1]) * C_in + block * NR)
                multiply(
                    dy.ctypes.data + 4 * n * OH * OW * C_out,
                    a_rows,
                    OH * OW,
                    1,
                    0,
                    C_out,
                    1,
                    b,
                    NR,
                    c,
                    1,
                    c,
                    c_rows,
                    columns,
                    NO_FLOOR,
                )
    if framed:
        unframe_image(frames[worker], pads[0], pads[2], dx, n)


@compiled
def _backward_input(dy, kernel, dx, packed, frames, table, strides, pads, dilation):  # type: ignore[no-untyped-def]
    N, _, W, C_in = dx.shape
    _, _, OW, C_out = dy.shape
    KH, KW, _, _ = kernel.shape
    parallel_for(
        packed.shape[0] * packed.shape[1], kernel.size, pack_transposed, (kernel.reshape(KH * KW, C_in, C_out), packed)
    )
    pixel_offsets(table[0], OW, OW * C_out, C_out)
    pixel_offsets(table[1], OW, strides[0] * (W + pads[2] + pads[3]) * C_in, strides[1] * C_in)
    parallel_for(N, dy.size * KH * KW * C_in, _backward_input_image, (dy, packed, dx, frames, table, KH, KW, pads, dilation))


# --- gradient with respect to the kernel --------------------------------------------


def conv2d_backward_kernel(
    x: Array, dy: Array, kernel_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Parallel over chunks of images, summed at the end; a tile is MR weights (ky, kx, ci) by NR output channels."""
    if x.dtype != np.float32:
        return reference.conv2d_backward_kernel(x, dy, kernel_shape, strides, pads, dilation)
    N, H, W, C_in = x.shape
    KH, KW, _, C_out = kernel_shape
    _, OH, OW, _ = dy.shape
    dkernel = empty((KH, KW, C_in, C_out))
    threads = get_num_threads()
    frames = empty((threads, H + pads[0] + pads[1], W + pads[2] + pads[3], C_in) if any(pads) else (1, 1, 1, 1))
    panels = empty((threads, blocks_of(C_out), OH * OW, NR))
    partial = empty((max(1, min(N, CHUNKS)), KH * KW * C_in, C_out))
    _backward_kernel(x, dy, dkernel, partial, panels, frames, empty((2, KH * KW * C_in), np.int64), strides, pads, dilation)
    return dkernel


@part
def _backward_kernel_chunk(chunk: int, worker: int, x, dy, partial, panels, frames, table, zeros, strides, pads) -> None:  # type: ignore[no-untyped-def]
    N, H, W, C_in = x.shape
    _, OH, OW, C_out = dy.shape
    chunks, taps, _ = partial.shape
    width = W + pads[2] + pads[3]
    a_rows, c_rows = table.ctypes.data, table.ctypes.data + 8 * taps
    first, end = chunk * N // chunks, (chunk + 1) * N // chunks
    for n in range(first, end):
        if pads == (0, 0, 0, 0):
            image = x.ctypes.data + 4 * n * H * W * C_in
        else:
            frame_image(x, n, pads[0], pads[2], frames[worker])
            image = frames.ctypes.data + 4 * worker * frames[0].size
        for block in range(panels.shape[1]):
            pack(block, worker, dy[n].reshape(OH * OW, C_out), panels[worker])
            b = panels.ctypes.data + 4 * (worker * panels.shape[1] + block) * OH * OW * NR
            c = partial.ctypes.data + 4 * (chunk * taps * C_out + block * NR)
            columns = min(NR, C_out - block * NR)
            # The chunk's first image starts from zeros, the others add.
            begin, begin_step = (zeros.ctypes.data, 0) if n == first else (c, 1)
            multiply(
                image,
                a_rows,
                taps,
                OH,
                strides[0] * width * C_in,
                OW,
                strides[1] * C_in,
                b,
                NR,
                begin,
                begin_step,
                c,
                c_rows,
                columns,
                NO_FLOOR,
            )


@part
def sum_chunks(task: int, worker: int, partial: Any, total: Any) -> None:
    """total (M, C) = the sum of partial (chunks, M, C) in the order of the chunks; a task does 8 rows."""
    chunks, M, C = partial.shape
    for m in range(task * 8, min(task * 8 + 8, M)):
        for c in range(C):
            total[m, c] = partial[0, m, c]
        for chunk in range(1, chunks):
            for c in range(C):
                total[m, c] += partial[chunk, m, c]


@compiled
def _backward_kernel(x, dy, dkernel, partial, panels, frames, table, strides, pads, dilation):  # type: ignore[no-untyped-def]
    N, _, W, C_in = x.shape
    KH, KW, _, C_out = dkernel.shape
    width = W + pads[2] + pads[3]
    tap = 0
    for ky in range(KH):
        for kx in range(KW):
            for ci in range(C_in):
                table[0, tap] = (ky * dilation[0] * width + kx * dilation[1]) * C_in + ci
                table[1, tap] = tap * C_out
                tap += 1
    if N == 0:
        dkernel[:] = 0
        return
    zeros = np.zeros(NR, np.float32)
    parallel_for(
        partial.shape[0],
        dy.size * tap,
        _backward_kernel_chunk,
        (x, dy, partial, panels, frames, table, zeros, strides, pads),
    )
    parallel_for((tap + 7) // 8, partial.size, sum_chunks, (partial, dkernel.reshape(tap, C_out)))
