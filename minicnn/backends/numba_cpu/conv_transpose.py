"""Transposed convolution: kernels of `conv`, and one loop nest more, for strides.

Without a stride it is a convolution with the kernel turned round, and so Winograd's where that pays. With one, each tap
of the kernel adds its products where it falls, as in `conv.input_gradient`. The gradients are a convolution and a
convolution's gradient. float64 goes to the reference backend.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._geometry import Geometry, geometry_of
from minicnn.backends.numba_cpu._microkernel import NO_BOUND, NR, ZERO, Panel, Rows, Start, Tile, address, multiply
from minicnn.backends.numba_cpu._panels import NO_BIAS, blocks_of, pack_transposed, pixel_offsets, start_row
from minicnn.backends.numba_cpu._parallel import parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.numba_cpu.conv import conv2d_algorithm, conv2d_backward, conv2d_forward, other_way
from minicnn.backends.numba_cpu.dense import sum_of_rows
from minicnn.backends.numba_cpu.elementwise import relu_backward
from minicnn.backends.reference import conv_transpose as reference
from minicnn.backends.types import Array, Pair, Window


def conv2d_transpose_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, image: Pair, relu: bool = False
) -> Array:
    """Parallel over images and blocks of output channels; a tile is MR pixels of x by NR output channels, under one tap."""
    if x.dtype != np.float32:
        return reference.conv2d_transpose_forward(x, kernel, bias, window, image, relu)
    KH, KW, C_out, C_in = kernel.shape
    turned = _turned_round(window, image)
    if turned is not None:
        turned_kernel = empty((KH, KW, C_in, C_out))
        np.copyto(turned_kernel, kernel[::-1, ::-1].swapaxes(2, 3))
        other = other_way(x.shape, turned_kernel.shape, turned)
        return (other.forward if other else conv2d_forward)(x, turned_kernel, bias, turned, relu, None)[0]
    geometry = geometry_of(*image, window)
    # Whether each pixel of y is under one place of the window: then nothing needs adding up.
    once = window.size == window.strides and image == (geometry.OH * geometry.SH, geometry.OW * geometry.SW)
    once = once and window.dilation == (1, 1)
    y = empty((len(x), *image, C_out))
    packed = empty((KH * KW, blocks_of(C_out), C_in, NR))
    sums = empty((1, 1, 1, NR) if once else (MOST, geometry.height, geometry.width, NR))
    _spread((x, kernel, NO_BIAS if bias is None else bias, y), packed, sums, tuple(geometry), relu, once)
    return y


@functools.lru_cache(maxsize=4096)
def _turned_round(window: Window, image: Pair) -> Window | None:
    """The window over x of a plain convolution with the kernel turned round; None where a stride (or a cut) forbids it."""
    if window.strides != (1, 1):
        return None
    (KH, KW), (DH, DW), (top, _, left, _), (OH, OW) = window.size, window.dilation, window.pads, window.output
    down, across = (KH - 1) * DH, (KW - 1) * DW
    pads = (down - top, image[0] - OH + top, across - left, image[1] - OW + left)
    return Window(window.size, (1, 1), window.dilation, pads, image) if min(pads) >= 0 else None


@part
def _pack_tap(task: int, worker: int, kernel: Any, packed: Any) -> None:
    """One block of one tap. kernel: (taps, C_out, C_in); packed: (taps, blocks, C_in, NR)."""
    blocks = packed.shape[1]
    pack_transposed(task % blocks, worker, kernel[task // blocks], packed[task // blocks])


@part
def _spread_block(task: int, worker: int, arrays: Any, weights: Any, sums: Any, table: Any, geometry: Any) -> None:
    """NR channels of y[n]: they start from the bias, and each tap of the kernel adds to pixels a stride apart."""
    (x, y), (packed, start, lower_bound, once) = arrays, weights
    (_, H, W, C_out), (_, blocks, C_in, _) = y.shape, packed.shape
    n, block = task // blocks, task % blocks
    first = block * NR
    columns = min(NR, C_out - first)
    target, pixel = (address(y[n]) + 4 * first, C_out) if once else (address(sums[worker]), NR)
    if not once:
        for h in range(geometry.height):
            for w in range(geometry.width):
                for j in range(NR):
                    sums[worker, h, w, j] = start[first + j]
    a = Rows(address(x[n]), address(table), 0, 1)
    for tap in range(geometry.KH * geometry.KW):
        ky, kx = tap // geometry.KW, tap % geometry.KW
        at = target + 4 * (ky * geometry.DH * geometry.width + kx * geometry.DW) * pixel
        c = Tile(at, address(table) + 8 * table.shape[1], table.shape[1], columns, 0)
        begin = Start(address(start) + 4 * first, 0) if once else Start(at, 1)
        multiply(a, Panel(address(packed[tap, block]), 0, NR), c, begin, C_in, C_in, lower_bound if once else NO_BOUND)
    if not once:
        for h in range(H):
            for w in range(W):
                for j in range(columns):
                    value = sums[worker, geometry.top + h, geometry.left + w, j]
                    y[n, h, w, first + j] = lower_bound if value < lower_bound else value


@compiled
def _spread(arrays, packed, sums, geometry, relu, once):  # type: ignore[no-untyped-def]
    x, kernel, bias, y = arrays
    geometry = Geometry(*geometry)
    (N, OH, OW, C_in), (KH, KW, C_out, _) = x.shape, kernel.shape
    taps, blocks, _, _ = packed.shape
    parallel_for(taps * blocks, kernel.size, _pack_tap, (kernel.reshape(KH * KW, C_out, C_in), packed))
    table, pixel = np.empty((2, OH * OW), np.int64), C_out if once else NR
    pixel_offsets(table[0], OW, OW * C_in, C_in)
    pixel_offsets(table[1], OW, geometry.SH * geometry.width * pixel, geometry.SW * pixel)
    weights = packed, start_row(bias, C_out), ZERO if relu else NO_BOUND, once
    parallel_for(N * blocks, N * OH * OW * kernel.size, _spread_block, ((x, y), weights, sums, table, geometry))


def conv2d_transpose_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Parallel as the convolution, and the gradient of its kernel."""
    if dy.dtype != np.float32:
        return reference.conv2d_transpose_backward(dy, x, kernel, window, y, need_dx)
    dz = dy if y is None else relu_backward(dy, y)
    other = other_way(dz.shape, kernel.shape, window)
    convolve, back = (other.forward, other.backward) if other else (conv2d_forward, conv2d_backward)
    dx = convolve(dz, kernel, None, window, False, None)[0] if need_dx else None
    _, dkernel, _ = back(x, dz, kernel, window, None, None, None, False)
    return dx, dkernel, sum_of_rows(dz.reshape(-1, dz.shape[3]))


def conv2d_transpose_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window, image: Pair) -> str:
    """What the convolution with the kernel turned round takes; with a stride the loops of this file."""
    turned, (KH, KW, C_out, C_in) = _turned_round(window, image), kernel_shape
    return "direct" if turned is None else conv2d_algorithm(x_shape, (KH, KW, C_in, C_out), turned)
