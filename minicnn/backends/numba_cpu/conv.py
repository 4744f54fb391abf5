"""Convolution and its gradients: three loop nests around one micro-kernel (see `_microkernel`).

`forward_rows`, `input_gradient` and `kernel_gradient` below differ only in which two of the indices
(pixel, ky, kx, ci, co) span the tile and which are summed: the reference backend's im2col
product, permuted, and never stored. `fused` puts the same three between other neighbours.

float64 goes to the reference backend: it exists for gradient checks, not for speed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu import winograd
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._microkernel import NR, multiply
from minicnn.backends.numba_cpu._panels import (
    blocks_of,
    clear,
    pack,
    pack_taps,
    pixel_offsets,
    start_row,
    unframe_image,
)
from minicnn.backends.numba_cpu._parallel import even_parts, parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.numba_cpu._walk import CHUNKS, NO_FLOOR, Walk, frames_for, image_of, sum_chunks, walk_of
from minicnn.shapes import window_output

__all__ = ["conv2d_backward_input", "conv2d_backward_kernel", "conv2d_forward"]

Array = Any
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]

ZERO = np.float32(0)
BAND_BYTES = 192 * 1024  # of image that a task reads: with the kernel's panel it stays in a core's L2
FEW_PIXELS = 192  # of output, up to which to copy the kernel costs more than to read it row by row


def band_rows(N: int, rows: int, most: int) -> int:
    """Of so many output rows of each of N images, those of a task: at most `most`, fewer if the images are too few to share."""
    bands = max(-(-rows // max(1, most)), even_parts(N) if N < CHUNKS else 1)
    return max(1, -(-rows // bands))


# --- forward ------------------------------------------------------------------------


def conv2d_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """Parallel over bands of output rows; a tile is MR output pixels by NR output channels."""
    if x.dtype != np.float32:
        return reference.conv2d_forward(x, kernel, bias, strides, pads, dilation)
    return forward(x, kernel, bias, strides, pads, dilation, NO_FLOOR)


def forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, floor: np.float32) -> Array:
    """max(floor, conv2d_forward(...))."""
    if winograd.pays(x.shape, kernel.shape, strides, pads, dilation):
        return winograd.forward(x, kernel, bias, pads, floor)[0]
    KH, KW, C_in, C_out = kernel.shape
    OH, OW = window_output(x.shape[1:3], (KH, KW), strides, pads, dilation)
    walk = walk_of(x.shape, kernel.shape, strides, pads, dilation)
    rows = band_rows(x.shape[0], OH, BAND_BYTES // max(1, walk.SH * walk.width * C_in * 4))
    y = empty((x.shape[0], OH, OW, C_out))
    packed = memory_for_panels(kernel.shape, x.shape[0] * OH * OW)
    frames = frames_for(walk, x.shape, (rows - 1) * walk.SH + (KH - 1) * walk.DH + 1)
    _forward(x, kernel, start_row(bias, C_out), y, packed, frames, empty((2, rows * OW), np.int64), walk, floor)
    return y


class Panels(NamedTuple):
    """A kernel as the micro-kernel reads it: weight k of the channels from block*NR on is at `at` + block*`block` + k*`row`."""

    at: int
    block: int
    row: int


def memory_for_panels(kernel: tuple[int, ...], pixels: int) -> np.ndarray:
    """For `panels_of`: none where so few pixels are computed that the kernel is better read where it lies."""
    KH, KW, C_in, C_out = kernel
    packs = pixels > FEW_PIXELS or C_out % NR != 0
    return empty((blocks_of(C_out) if packs else 0, KH * KW * C_in, NR))


@part
def panels_of(kernel: Any, packed: Any) -> Any:
    """The kernel in panels, (blocks, KH*KW*C_in, NR), or as it is where there are none."""
    KH, KW, C_in, C_out = kernel.shape
    if packed.shape[0] == 0:
        return Panels(kernel.ctypes.data, NR, C_out)
    parallel_for(packed.shape[0], kernel.size, pack, (kernel.reshape(KH * KW * C_in, C_out), packed))
    return Panels(packed.ctypes.data, packed.shape[1] * NR, NR)


@part
def forward_rows(
    image: int, pixels: int, table: Any, panels: Any, start: Any, y: int, walk: Any, C_in: int, C_out: int, floor: Any
) -> None:
    """y[pixel, co] = max(floor, start[co] + sum over ky,kx,ci of image[pixel's window] * kernel[ky,kx,ci,co]).

    Args:
        image, y: addresses; `table` says where each pixel's window begins in one and its channels in the other.
    """
    a_rows, c_rows = table.ctypes.data, table.ctypes.data + 8 * table.shape[1]
    for block in range((C_out + NR - 1) // NR):
        columns = min(NR, C_out - block * NR)
        b = panels.at + 4 * block * panels.block
        begin, c = start.ctypes.data + 4 * block * NR, y + 4 * block * NR
        # The sum's extents: kernel rows, each one run of KW*C_in floats of the image; dilated, its taps one by one.
        outer, k1, step1, k2 = 1, walk.KH, walk.DH * walk.width * C_in, walk.KW * C_in
        if walk.DW != 1:
            outer, k1, step1, k2 = walk.KH, walk.KW, walk.DW * C_in, C_in
        for ky in range(outer):
            a = image + 4 * ky * walk.DH * walk.width * C_in
            if ky > 0:
                begin = c
            last = ky == outer - 1
            multiply(
                a,
                a_rows,
                pixels,
                k1,
                step1,
                k2,
                1,
                b,
                k2 * panels.row,
                panels.row,
                begin,
                min(ky, 1),
                c,
                c_rows,
                columns,
                floor if last else NO_FLOOR,
            )
            b += 4 * k1 * k2 * panels.row


@part
def _forward_band(
    task: int, worker: int, x: Any, panels: Any, start: Any, y: Any, frames: Any, table: Any, walk: Any, floor: Any
) -> None:
    _, OH, OW, C_out = y.shape
    rows = table.shape[1] // OW
    bands = (OH + rows - 1) // rows
    n, oy = task // bands, task % bands * rows
    image = image_of(x, n, oy * walk.SH, frames, worker, walk)
    at = y.ctypes.data + 4 * (n * OH + oy) * OW * C_out
    forward_rows(image, min(rows, OH - oy) * OW, table, panels, start, at, walk, x.shape[3], C_out, floor)


@compiled
def _forward(x, kernel, start, y, packed, frames, table, walk, floor):  # type: ignore[no-untyped-def]
    N, OH, OW, C_out = y.shape
    KH, KW, C_in, _ = kernel.shape
    panels = panels_of(kernel, packed)
    pixel_offsets(table[0], OW, walk.SH * walk.width * C_in, walk.SW * C_in)
    pixel_offsets(table[1], OW, OW * C_out, C_out)
    bands = (OH + table.shape[1] // OW - 1) // (table.shape[1] // OW)
    parallel_for(N * bands, y.size * KH * KW * C_in, _forward_band, (x, panels, start, y, frames, table, walk, floor))


# --- gradient with respect to the input ---------------------------------------------


def conv2d_backward_input(
    dy: Array, kernel: Array, x_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Parallel over n: each thread owns dx[n], so there are no races; a tile is MR pixels by NR input channels.

    A tile of products with one kernel tap is added to dx where that tap had read: pixels SW
    apart. So any stride costs the same, nothing is computed in vain, and there is no col2im.
    Where dx has no more pixels than dy (stride 1, padding "same"), pixels of dx gather instead: the
    same as a forward pass over dy with the kernel turned round, whose sums are longer.
    """
    if dy.dtype != np.float32:
        return reference.conv2d_backward_input(dy, kernel, x_shape, strides, pads, dilation)
    walk = walk_of(x_shape, kernel.shape, strides, pads, dilation)
    dx = empty(x_shape)
    panels, packed, table, frames, gathers = memory_for_input_gradient(dy.shape[1], dy.shape[2], kernel.shape, x_shape, walk)
    _backward_input(dy, kernel, dx, panels, packed, frames, table, walk, gathers)
    return dx


def memory_for_input_gradient(OH: int, OW: int, kernel: tuple[int, ...], x: tuple[int, ...], walk: Walk) -> tuple[Any, ...]:
    """Scratch memory, and whether `input_gradient` gathers."""
    _, H, W, C_in = x
    KH, KW, _, C_out = kernel
    gathers = (
        (walk.SH, walk.SW, walk.DH, walk.DW) == (1, 1, 1, 1)
        and 5 * H * W <= 6 * OH * OW
        and walk.top < KH
        and walk.left < KW
        and walk.height - H - walk.top < KH
        and walk.width - W - walk.left < KW
    )
    height, width = (H + KH - 1, W + KW - 1) if gathers else (OH, OW)
    panels = empty((MOST, blocks_of(C_out), height, width, NR))
    packed = empty((blocks_of(C_in), blocks_of(C_out), KH * KW, NR, NR))
    table = empty((2, H * W if gathers else OH * OW), np.int64)
    frames = frames_for(walk, x, 1 if gathers else walk.height)
    return panels, packed, table, frames, gathers


@part
def input_gradient(
    n: int, worker: int, panels: Any, packed: Any, dx: Any, frames: Any, table: Any, zeros: Any, walk: Any, gathers: bool
) -> None:
    """dx[n] from the panels of dy[n]: dx[pixel, ci] = sum over ky,kx,co of dy[...] * kernel[ky,kx,ci,co]."""
    _, H, W, C_in = dx.shape
    ci_blocks, co_blocks, taps, _, _ = packed.shape
    panel = panels.shape[2] * panels.shape[3] * NR
    dy = panels.ctypes.data + 4 * worker * co_blocks * panel
    pixels = table.shape[1]
    a_rows, c_rows = table.ctypes.data, table.ctypes.data + 8 * pixels
    framed = walk.height != H or walk.width != W
    target = dx.ctypes.data + 4 * n * H * W * C_in
    if not gathers:
        if framed:
            target = frames.ctypes.data + 4 * worker * frames.shape[1] * frames.shape[2] * frames.shape[3]
            clear(frames[worker].reshape(walk.height * walk.width * C_in))
        else:
            clear(dx[n].reshape(H * W * C_in))
    for ci_block in range(ci_blocks):
        columns = min(NR, C_in - ci_block * NR)
        b = packed.ctypes.data + 4 * ci_block * co_blocks * taps * NR * NR
        c = target + 4 * ci_block * NR
        if gathers:
            for co_block in range(co_blocks):
                a = dy + 4 * co_block * panel
                k2 = walk.KW * NR
                step1 = panels.shape[3] * NR
                begin = c if co_block > 0 else zeros.ctypes.data
                multiply(
                    a,
                    a_rows,
                    pixels,
                    walk.KH,
                    step1,
                    k2,
                    1,
                    b,
                    k2 * NR,
                    NR,
                    begin,
                    min(co_block, 1),
                    c,
                    c_rows,
                    columns,
                    NO_FLOOR,
                )
                b += 4 * taps * NR * NR
        else:
            for ky in range(walk.KH):
                for kx in range(walk.KW):
                    at = c + 4 * (ky * walk.DH * walk.width + kx * walk.DW) * C_in
                    multiply(
                        dy, a_rows, pixels, co_blocks, panel, NR, 1, b, taps * NR * NR, NR, at, 1, at, c_rows, columns, NO_FLOOR
                    )
                    b += 4 * NR * NR
    if framed and not gathers:
        unframe_image(frames[worker], walk.top, walk.left, dx, n)


@part
def input_offsets(table: Any, OW: int, W: int, C_in: int, panels: Any, walk: Any, gathers: bool) -> None:
    """The table for `input_gradient`: where a pixel of dy stands in a panel, and where in dx (or its frame)."""
    if gathers:
        pixel_offsets(table[0], W, panels.shape[3] * NR, NR)
        pixel_offsets(table[1], W, W * C_in, C_in)
    else:
        pixel_offsets(table[0], OW, OW * NR, NR)
        pixel_offsets(table[1], OW, walk.SH * walk.width * C_in, walk.SW * C_in)


@part
def border_of(walk: Any, gathers: bool) -> tuple[int, int]:
    """Where dy's first pixel stands in a panel: behind a border where dx gathers from beyond dy's edge."""
    return (walk.KH - 1 - walk.top, walk.KW - 1 - walk.left) if gathers else (0, 0)


@part
def _backward_input_image(
    n: int,
    worker: int,
    dy: Any,
    panels: Any,
    packed: Any,
    dx: Any,
    frames: Any,
    table: Any,
    zeros: Any,
    walk: Any,
    gathers: bool,
) -> None:
    _, OH, OW, C_out = dy.shape
    top, left = border_of(walk, gathers)
    if gathers:
        clear(panels[worker].reshape(panels[worker].size))
    for block in range(panels.shape[1]):
        for oy in range(OH):
            for ox in range(OW):
                for j in range(NR):
                    co = block * NR + j
                    panels[worker, block, top + oy, left + ox, j] = dy[n, oy, ox, co] if co < C_out else ZERO
    input_gradient(n, worker, panels, packed, dx, frames, table, zeros, walk, gathers)


@compiled
def _backward_input(dy, kernel, dx, panels, packed, frames, table, walk, gathers):  # type: ignore[no-untyped-def]
    N, _, W, C_in = dx.shape
    _, _, OW, C_out = dy.shape
    KH, KW, _, _ = kernel.shape
    taps = kernel.reshape(KH * KW, C_in, C_out)
    zeros = np.zeros(NR, np.float32)
    parallel_for(packed.shape[0] * packed.shape[1], kernel.size, pack_taps, (taps, packed, gathers))
    input_offsets(table, OW, W, C_in, panels, walk, gathers)
    parallel_for(
        N, dy.size * taps.size // C_out, _backward_input_image, (dy, panels, packed, dx, frames, table, zeros, walk, gathers)
    )


# --- gradient with respect to the kernel --------------------------------------------


def conv2d_backward_kernel(
    x: Array, dy: Array, kernel_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Parallel over chunks of images, summed at the end; a tile is MR weights (ky, kx, ci) by NR output channels."""
    if x.dtype != np.float32:
        return reference.conv2d_backward_kernel(x, dy, kernel_shape, strides, pads, dilation)
    KH, KW, C_in, C_out = kernel_shape
    walk = walk_of(x.shape, kernel_shape, strides, pads, dilation)
    dkernel = empty((KH, KW, C_in, C_out))
    panels = empty((MOST, blocks_of(C_out), dy.shape[1] * dy.shape[2], NR))
    partial, table, frames = memory_for_kernel_gradient(kernel_shape, x.shape, walk)
    _backward_kernel(x, dy, dkernel, partial, panels, frames, table, walk)
    return dkernel


def memory_for_kernel_gradient(kernel: tuple[int, ...], x: tuple[int, ...], walk: Walk) -> tuple[Any, ...]:
    """Scratch memory: the chunks' sums, a table of offsets, frames."""
    KH, KW, C_in, C_out = kernel
    partial = empty((max(1, min(x[0], CHUNKS)), KH * KW * C_in, C_out))
    return partial, empty((2, KH * KW * C_in), np.int64), frames_for(walk, x, walk.height)


@part
def kernel_gradient(
    image: int,
    dy: int,
    panel: int,
    OH: int,
    OW: int,
    row: int,
    partial: Any,
    chunk: int,
    add: bool,
    table: Any,
    zeros: Any,
    walk: Any,
    C_in: int,
) -> None:
    """partial[chunk, (ky, kx, ci), co] (+)= sum over oy,ox of image[oy*SH + ky*DH, ox*SW + kx*DW, ci] * dy[oy, ox, co].

    Args:
        image, dy: addresses: the image in its frame, and the first pixel of dy in panels, `panel` floats each with
            rows of `row` floats.
        add: to what is in `partial`, instead of replacing it.
    """
    _, taps, C_out = partial.shape
    a_rows, c_rows = table.ctypes.data, table.ctypes.data + 8 * taps
    for block in range((C_out + NR - 1) // NR):
        columns = min(NR, C_out - block * NR)
        b = dy + 4 * block * panel
        c = partial.ctypes.data + 4 * (chunk * taps * C_out + block * NR)
        begin = c if add else zeros.ctypes.data
        step1, step2 = walk.SH * walk.width * C_in, walk.SW * C_in
        multiply(image, a_rows, taps, OH, step1, OW, step2, b, row, NR, begin, 1 if add else 0, c, c_rows, columns, NO_FLOOR)


@part
def kernel_offsets(table: Any, walk: Any, C_in: int, C_out: int) -> None:
    """The table for `kernel_gradient`: where a weight (ky, kx, ci) meets the image first, and its row of the kernel."""
    for tap in range(walk.KH * walk.KW):
        ky, kx = tap // walk.KW, tap % walk.KW
        for ci in range(C_in):
            table[0, tap * C_in + ci] = (ky * walk.DH * walk.width + kx * walk.DW) * C_in + ci
            table[1, tap * C_in + ci] = (tap * C_in + ci) * C_out


@part
def _backward_kernel_chunk(
    chunk: int, worker: int, x: Any, dy: Any, partial: Any, panels: Any, frames: Any, table: Any, zeros: Any, walk: Any
) -> None:
    N, OH, OW, C_out = dy.shape
    chunks, _, _ = partial.shape
    blocks, pixels = panels.shape[1], panels.shape[2]
    at = panels.ctypes.data + 4 * worker * blocks * pixels * NR
    first, end = chunk * N // chunks, (chunk + 1) * N // chunks
    for n in range(first, end):
        image = image_of(x, n, 0, frames, worker, walk)
        for block in range(blocks):
            pack(block, worker, dy[n].reshape(pixels, C_out), panels[worker])
        kernel_gradient(image, at, pixels * NR, OH, OW, OW * NR, partial, chunk, n > first, table, zeros, walk, x.shape[3])


@compiled
def _backward_kernel(x, dy, dkernel, partial, panels, frames, table, walk):  # type: ignore[no-untyped-def]
    chunks, taps, C_out = partial.shape
    if dy.size == 0:
        clear(dkernel.reshape(dkernel.size))
        return
    kernel_offsets(table, walk, x.shape[3], C_out)
    zeros = np.zeros(NR, np.float32)
    parallel_for(chunks, dy.size * taps, _backward_kernel_chunk, (x, dy, partial, panels, frames, table, zeros, walk))
    parallel_for((taps + 7) // 8, partial.size, sum_chunks, (partial, dkernel.reshape(taps, C_out)))
