"""Convolution and its gradients: three loop nests around one micro-kernel (see `_microkernel`).

`forward_rows`, `kernel_gradient` and `input_gradient` below differ only in which two of the indices
(pixel, ky, kx, ci, co) span the tile and which are summed: the reference backend's im2col
product, permuted, and never stored.

What follows a convolution is done while its result is at hand. Forward, a task computes a band of rows, with
bias and ReLU while each tile is still in registers, and pools it at once. Backward, a task takes one image after the
other: the gradient is led back through pooling and ReLU into panels for the micro-kernel, which serve
both the kernel's gradient and the input's; the bias's is summed on the way.

`winograd` does the same with fewer multiplications, where that is faster, and `bfloat16` with shorter ones, where that is
allowed. Groups of channels are convolved one after the
other, each from a copy of its own, unless every channel is one: then it is a depthwise convolution. float64 goes to the
reference backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu import bfloat16, pointwise, winograd
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._geometry import (
    CHUNKS,
    NO_POOL,
    NO_SCRATCH,
    Geometry,
    chunks_of,
    geometry_of,
    memory_for_padding,
    padded_image,
    sum_chunks,
)
from minicnn.backends.numba_cpu._microkernel import (
    NO_BOUND,
    NR,
    ZERO,
    ZEROS,
    Panel,
    Rows,
    Start,
    Tile,
    address,
    multiply,
    streams,
)
from minicnn.backends.numba_cpu._panels import (
    NO_ARGMAX,
    NO_BIAS,
    OutputGradient,
    are_disjoint,
    blocks_of,
    clear,
    crop_image,
    fill_panels,
    pack,
    pack_taps,
    pixel_offsets,
    start_row,
    sum_rows,
)
from minicnn.backends.numba_cpu._parallel import even_parts, parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.numba_cpu.depthwise import (
    depthwise_conv2d_algorithm,
    depthwise_conv2d_backward,
    depthwise_conv2d_forward,
)
from minicnn.backends.numba_cpu.elementwise import relu_backward
from minicnn.backends.numba_cpu.pool import (
    max_of_rows,
    maxpool2d_backward,
    maxpool2d_forward,
    memory_for_output,
    places_fit_a_byte,
)
from minicnn.backends.reference import conv as reference
from minicnn.backends.types import Array, Window

BAND_BYTES = 192 * 1024  # of image, or of the gradient at a map, that a task reads: it stays in a core's L2 with a panel
MAP_BYTES = 128 * 1024  # of output that a task computes before it pools
MANY_CHANNELS = 64  # of the input, from which the gradients of a 1x1 convolution are worth the copies that `pointwise` makes
FEW_PLACES = 32  # of a map, up to which images are taken together for the gradient of the kernel
FEW_PIXELS = 192  # of output, up to which to copy the kernel costs more than to read it row by row


def other_way(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> ModuleType | None:
    """The module that convolves one group faster than the loops of this file do; None for these loops."""
    if bfloat16.pays(x_shape, kernel_shape, window):
        return bfloat16
    return winograd if winograd.pays(x_shape, kernel_shape, window) else None


# --- forward ------------------------------------------------------------------------


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False, pool: Window | None = None
) -> tuple[Array, Array | None]:
    """Parallel over bands of output rows; a tile is MR output pixels by NR output channels."""
    if x.dtype != np.float32:
        return reference.conv2d_forward(x, kernel, bias, window, relu, pool)
    if pool is not None and not places_fit_a_byte(pool):
        return maxpool2d_forward(conv2d_forward(x, kernel, bias, window, relu)[0], pool)
    if window.groups != 1:
        if kernel.shape[2] == 1:
            y = depthwise_conv2d_forward(x, _depthwise(kernel, window), bias, window, relu)
            return (y, None) if pool is None else maxpool2d_forward(y, pool)
        ys, argmaxes = [], []
        own = window._replace(groups=1)
        for x_g, kernel_g, bias_g in _of_groups(window, x, kernel, bias):
            other = other_way(x_g.shape, kernel_g.shape, own)
            y, argmax = (other.forward if other else conv2d_forward)(x_g, kernel_g, bias_g, own, relu, pool)
            ys.append(y)
            argmaxes.append(argmax)
        return _joined(ys), None if pool is None else _joined(argmaxes)
    if other := other_way(x.shape, kernel.shape, window):
        return other.forward(x, kernel, bias, window, relu, pool)
    geometry = geometry_of(x.shape[1], x.shape[2], window)
    y, argmax, pooling = memory_for_output(x.shape[0], kernel.shape[3], window, pool)
    band, workspace = _forward_workspace(x.shape, kernel.shape, geometry, None if pool is None else pooling)
    arrays = x, kernel, NO_BIAS if bias is None else bias, y, argmax
    streamed = pool is None and streams(y, kernel.size // kernel.shape[3])
    _forward(arrays, tuple(workspace), tuple(geometry), tuple(pooling), relu, pool is not None, streamed, band)
    return y, None if pool is None else argmax


class ForwardWorkspace(NamedTuple):
    """Scratch memory of a forward pass.

    Attributes:
        packed: the kernel in panels, (blocks, KH*KW*C_in, NR); no block where it is better read where it lies.
        padded: each thread's rows of a padded image.
        maps: each thread's rows of output before they are pooled, (threads, rows, OW, C_out).
    """

    packed: Any
    padded: Any
    maps: Any


def _forward_workspace(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], geometry: Geometry, pool: Geometry | None
) -> tuple[int, ForwardWorkspace]:
    """How many rows of the result a task computes, its band; and the memory for that."""
    (N, _, _, C_in), C_out, (OH, OW) = x_shape, kernel_shape[3], (geometry.OH, geometry.OW)
    if pool is None:
        rows = band = _band_rows(N, OH, BAND_BYTES // max(1, geometry.SH * geometry.width * C_in * 4))
        maps = NO_SCRATCH
    else:
        band = _band_rows(N, pool.OH, min(MAP_BYTES // (OW * C_out * 4), OH) // pool.SH)
        rows = min(OH, (band - 1) * pool.SH + pool.KH)
        maps = empty((MOST, rows, OW, C_out))
    packs = N * OH * OW > FEW_PIXELS or C_out % NR != 0
    packed = empty((blocks_of(C_out) if packs else 0, geometry.KH * geometry.KW * C_in, NR))
    read = (rows - 1) * geometry.SH + (geometry.KH - 1) * geometry.DH + 1
    return band, ForwardWorkspace(packed, memory_for_padding(geometry, x_shape, read), maps)


def _band_rows(N: int, rows: int, most: int) -> int:
    """Of so many output rows of each of N images, those of a task: at most `most`, fewer if the images are too few to share."""
    bands = max(-(-rows // max(1, most)), even_parts(N) if N < CHUNKS else 1)
    return max(1, -(-rows // bands))


class Weights(NamedTuple):
    """A kernel as `forward_rows` reads it: weight k of the channels from block*NR on is at `at` + block*`block` + k*`row`.

    Attributes:
        start: what the sums start from: the bias, or zeros.
        lower_bound: of the result: 0 for a ReLU.
    """

    at: int
    block: int
    row: int
    start: Any
    lower_bound: Any


@part
def _weights_of(kernel: Any, packed: Any, bias: Any, relu: bool) -> Any:
    """The kernel in panels, or as it is where there is no memory for them."""
    KH, KW, C_in, C_out = kernel.shape
    start, lower_bound = start_row(bias, C_out), ZERO if relu else NO_BOUND
    if packed.shape[0] == 0:
        return Weights(address(kernel), NR, C_out, start, lower_bound)
    parallel_for(packed.shape[0], kernel.size, pack, (kernel.reshape(KH * KW * C_in, C_out), packed))
    return Weights(address(packed), packed.shape[1] * NR, NR, start, lower_bound)


@part
def forward_rows(
    image: int, y: int, pixels: int, table: Any, weights: Any, geometry: Any, channels: Any, streamed: bool
) -> None:
    """y[pixel, co] = max(lower bound, start[co] + sum over ky,kx,ci of image[pixel's window] * kernel[ky,kx,ci,co]).

    Args:
        image, y: addresses; `table` says where each pixel's window begins in one and its channels in the other.
        channels: C_in and C_out. streamed: whether y goes to memory around the caches.
    """
    C_in, C_out = channels
    a_rows, c_rows = address(table), address(table) + 8 * table.shape[1]
    # The sum's extents: kernel rows, each one run of KW*C_in floats of the image; dilated, its taps one by one.
    outer, k1, step1, k2 = 1, geometry.KH, geometry.DH * geometry.width * C_in, geometry.KW * C_in
    if geometry.DW != 1:
        outer, k1, step1, k2 = geometry.KH, geometry.KW, geometry.DW * C_in, C_in
    for block in range((C_out + NR - 1) // NR):
        b = weights.at + 4 * block * weights.block
        c = Tile(y + 4 * block * NR, c_rows, pixels, min(NR, C_out - block * NR), 1 if streamed and outer == 1 else 0)
        start = Start(address(weights.start) + 4 * block * NR, 0)
        for ky in range(outer):
            a = Rows(image + 4 * ky * geometry.DH * geometry.width * C_in, a_rows, step1, 1)
            lower_bound = weights.lower_bound if ky == outer - 1 else NO_BOUND
            multiply(a, Panel(b, k2 * weights.row, weights.row), c, start, k1 * k2, k2, lower_bound)
            b += 4 * k1 * k2 * weights.row
            start = Start(c.at, 1)


@part
def _forward_band(
    task: int, worker: int, arrays: Any, weights: Any, table: Any, workspace: Any, geometries: Any, band: Any
) -> None:
    """So many rows of y."""
    x, y, argmax = arrays
    geometry, pool = geometries
    rows, pooled, streamed = band
    (_, PH, _, C_out), OH, OW = y.shape, geometry.OH, geometry.OW
    bands = (PH + rows - 1) // rows
    n, py = task // bands, task % bands * rows
    py_end = min(py + rows, PH)
    # The rows of the map that are computed: with a pooling, those that its windows see.
    oy = max(0, py * pool.SH - pool.top)
    oy_end = min(OH, (py_end - 1) * pool.SH - pool.top + pool.KH)
    image = padded_image(x, n, oy * geometry.SH, workspace.padded, worker, geometry)
    target = workspace.maps[worker if pooled else 0]
    at = address(target) if pooled else address(y) + 4 * (n * OH + oy) * OW * C_out
    forward_rows(image, at, (oy_end - oy) * OW, table, weights, geometry, (x.shape[3], C_out), streamed)
    if pooled:
        max_of_rows(target, oy, (y, argmax), n, (py, py_end), OH, pool)


@compiled
def _forward(arrays, workspace, geometry, pool, relu, pooled, streamed, band):  # type: ignore[no-untyped-def]
    x, kernel, bias, y, argmax = arrays
    workspace, geometry, pool = ForwardWorkspace(*workspace), Geometry(*geometry), Geometry(*pool)
    (N, PH, _, C_out), C_in, OH, OW = y.shape, x.shape[3], geometry.OH, geometry.OW
    weights = _weights_of(kernel, workspace.packed, bias, relu)
    table = np.empty((2, min(OH, (band - 1) * pool.SH + pool.KH) * OW), np.int64)
    pixel_offsets(table[0], OW, geometry.SH * geometry.width * C_in, geometry.SW * C_in)
    pixel_offsets(table[1], OW, OW * C_out, C_out)
    parallel_for(
        N * ((PH + band - 1) // band),
        N * OH * OW * kernel.size,
        _forward_band,
        ((x, y, argmax), weights, table, workspace, (geometry, pool), (band, pooled, streamed)),
    )


# --- gradients ----------------------------------------------------------------------


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
    """Parallel over chunks of images: a thread owns dx[n] and its chunk's sums, so there are no races."""
    if dy.dtype != np.float32:
        return reference.conv2d_backward(dy, x, kernel, window, y, pool, argmax, need_dx)
    if window.groups != 1 or not (pool is None or places_fit_a_byte(pool)):
        if y is not None:
            dy = relu_backward(dy, y)
        if pool is not None:
            dy = maxpool2d_backward(dy, argmax, (len(x), *window.output, kernel.shape[3]), pool)
        y = pool = argmax = None
    if window.groups != 1:
        if kernel.shape[2] == 1:
            dx, dkernel, dbias = depthwise_conv2d_backward(dy, x, _depthwise(kernel, window), window, None, need_dx)
            return dx, dkernel.reshape(kernel.shape), dbias
        own, results = window._replace(groups=1), []
        for dy_g, x_g, kernel_g in _of_groups(window, dy, x, kernel):
            other = other_way(x_g.shape, kernel_g.shape, own)
            results.append((other.backward if other else conv2d_backward)(dy_g, x_g, kernel_g, own, None, None, None, need_dx))
        dxs, dkernels, dbiases = zip(*results)
        return _joined(dxs) if need_dx else None, _joined(dkernels), np.concatenate(dbiases)
    if other := other_way(x.shape, kernel.shape, window):
        return other.backward(dy, x, kernel, window, y, pool, argmax, need_dx)
    if _is_pointwise(window, x) and pool is None and pointwise.pays(x.size // x.shape[3], *kernel.shape[2:]):
        rows = [None if array is None else array.reshape(-1, array.shape[3]) for array in (dy, x, y)]
        dx, dkernel, dbias = pointwise.backward(rows[0], rows[1], kernel[0, 0], rows[2], need_dx)
        return None if dx is None else dx.reshape(x.shape), dkernel.reshape(kernel.shape), dbias
    geometry = geometry_of(x.shape[1], x.shape[2], window)
    pooling = NO_POOL if pool is None else geometry_of(*window.output, pool)
    gathers = need_dx and _gathers(x.shape, geometry)
    dx, dkernel, dbias = empty(x.shape) if need_dx else NO_SCRATCH, empty(kernel.shape), empty((kernel.shape[3],))
    band = _backward_band(dy.shape, geometry, pooling, need_dx)
    images = _images_together(x.shape, geometry)
    workspace = _backward_workspace(x.shape, kernel.shape, geometry, (images, band[1]), need_dx, gathers)
    inputs = dy, dy if y is None else y, NO_ARGMAX if argmax is None else argmax, x, kernel
    flags = y is not None, pool is not None, need_dx, gathers
    _backward(inputs, (dx, dkernel, dbias), tuple(workspace), tuple(geometry), tuple(pooling), flags, (*band, images))
    return dx if need_dx else None, dkernel, dbias


def _is_pointwise(window: Window, x: Array) -> bool:
    """Whether each pixel of the output is a product with one pixel: a dense layer over pixels, of channels enough."""
    return window.size == (1, 1) and window.strides == (1, 1) and not any(window.pads) and x.shape[3] >= MANY_CHANNELS


def _gathers(x_shape: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether `input_gradient` is faster by gathering: where dx has no more pixels than dy (stride 1, padding "same")."""
    _, H, W, _ = x_shape
    return (
        (geometry.SH, geometry.SW, geometry.DH, geometry.DW) == (1, 1, 1, 1)
        and 5 * H * W <= 6 * geometry.OH * geometry.OW
        and max(geometry.top, geometry.height - H - geometry.top) < geometry.KH
        and max(geometry.left, geometry.width - W - geometry.left) < geometry.KW
    )


def _backward_band(dy_shape: tuple[int, ...], geometry: Geometry, pool: Geometry, need_dx: bool) -> tuple[int, int]:
    """Rows of windows whose gradient is in panels at a time, and how many rows of the map they are.

    As many as stay in L2 for all weights of the kernel. The input's gradient takes the whole map, and so do windows of a
    pooling that overlap.
    """
    _, PH, PW, C_out = dy_shape
    if need_dx or 0 in dy_shape or not are_disjoint(pool, PH, PW, geometry.OH, geometry.OW):
        return PH, geometry.OH
    row = pool.SH * geometry.OW * blocks_of(C_out) * NR * 4
    band = -(-PH // -(-PH // max(1, BAND_BYTES // row)))
    return band, (band - 1) * pool.SH + pool.KH


def _images_together(x_shape: tuple[int, ...], geometry: Geometry) -> int:
    """Over how many images of a chunk one sum of the kernel's gradient runs.

    Over one, and all pixels of its map, if these are not FEW_PLACES: a tile's sums are loaded and stored for each image.
    """
    if geometry.OH * geometry.OW > FEW_PLACES:
        return 1
    bytes_of_image = 4 * geometry.height * geometry.width * x_shape[3]
    images = -(-x_shape[0] // chunks_of(x_shape[0], geometry.OH * geometry.OW))
    return max(1, min(images, BAND_BYTES // max(1, bytes_of_image)))


class BackwardWorkspace(NamedTuple):
    """Scratch memory of a backward pass; a slot is an image of those that a thread has together.

    Attributes:
        partial: each chunk's sum of the kernel's gradient, (chunks, KH*KW*C_in, C_out).
        totals: and of the bias's, (chunks, blocks * NR).
        panels: the gradient at the map of each slot's image, or at some rows of it, (slots, co_blocks, height, width, NR).
        padded: each slot's padded image.
        packed: the kernel in panels for `input_gradient`, (ci_blocks, co_blocks, KH*KW, NR, NR).
        padded_dx: each thread's padded gradient of an image.
    """

    partial: Any
    totals: Any
    panels: Any
    padded: Any
    packed: Any
    padded_dx: Any


def _backward_workspace(
    x_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    geometry: Geometry,
    together: tuple[int, int],
    need_dx: bool,
    gathers: bool,
) -> BackwardWorkspace:
    """`together`: the images of a thread, and the rows of the map, that are in panels at a time."""
    (N, H, W, C_in), (KH, KW, _, C_out), (images, rows) = x_shape, kernel_shape, together
    chunks, blocks = chunks_of(N, geometry.OH * geometry.OW), blocks_of(C_out)
    height, width = (H + KH - 1, W + KW - 1) if gathers else (rows, geometry.OW)
    return BackwardWorkspace(
        partial=empty((chunks, KH * KW * C_in, C_out)),
        totals=empty((chunks, blocks * NR)),
        panels=empty((MOST * images, blocks, height, width, NR)),
        padded=memory_for_padding(geometry, x_shape, geometry.height, images),
        packed=empty((blocks_of(C_in), blocks, KH * KW, NR, NR) if need_dx else (1, 1, 1, 1, 1)),
        padded_dx=memory_for_padding(geometry, x_shape, geometry.height) if need_dx and not gathers else NO_SCRATCH,
    )


@part
def kernel_gradient(image: int, dy: Any, images: int, partial: Any, add: bool, table: Any, geometry: Any, C_in: int) -> None:
    """partial[(ky, kx, ci), co] (+)= sum over n,oy,ox of image[n, oy*SH + ky*DH, ox*SW + kx*DW, ci] * dy[n, oy, ox, co].

    A tile is MR weights (ky, kx, ci) by NR output channels. One sum runs over oy and ox; where images are together, over n
    and ox, and another one adds to it for each oy.

    Args:
        image: address of the padded image's pixels under the first row of dy. dy: its map's gradient, as `Panel`'s steps:
            the address of the first pixel in the first panel, the way to the next panel, and from row to row; and how
            many rows.
        images: how many lie one behind the other, as do their panels.
        add: to what is in `partial`, instead of replacing it.
        table: where a weight (ky, kx, ci) meets the image first, and its row of the kernel.
    """
    at, panel, row, rows = dy
    taps, C_out = partial.shape
    blocks, row_of_image = (C_out + NR - 1) // NR, geometry.SH * geometry.width * C_in
    sums, runs, step, step_of_dy = 1, rows, row_of_image, row
    if images > 1:
        sums, runs, step, step_of_dy = rows, images, geometry.height * geometry.width * C_in, blocks * panel
    for block in range(blocks):
        c = Tile(address(partial) + 4 * block * NR, address(table) + 8 * taps, taps, min(NR, C_out - block * NR), 0)
        for oy in range(sums):
            a = Rows(image + 4 * oy * row_of_image, address(table), step, geometry.SW * C_in)
            b = Panel(at + 4 * (block * panel + oy * row), step_of_dy, NR)
            start = Start(c.at, 1) if add or oy > 0 else Start(address(ZEROS), 0)
            multiply(a, b, c, start, runs * geometry.OW, geometry.OW, NO_BOUND)


@part
def kernel_offsets(table: Any, geometry: Any, C_in: int, C_out: int) -> None:
    """The table for `kernel_gradient`."""
    for tap in range(geometry.KH * geometry.KW):
        ky, kx = tap // geometry.KW, tap % geometry.KW
        for ci in range(C_in):
            table[0, tap * C_in + ci] = (ky * geometry.DH * geometry.width + kx * geometry.DW) * C_in + ci
            table[1, tap * C_in + ci] = (tap * C_in + ci) * C_out


@part
def input_gradient(n: int, slot: int, worker: int, dx: Any, workspace: Any, table: Any, geometry: Any, gathers: bool) -> None:
    """dx[n] from the panels of dy[n], those of a slot: dx[pixel, ci] = sum over ky,kx,co of dy[...] * kernel[ky,kx,ci,co].

    A tile is MR pixels by NR input channels. A tile of products with one kernel tap is added to dx where that tap had
    read: pixels SW apart. So any stride costs the same, nothing is computed in vain, and there is no col2im.
    With `gathers`, pixels of dx collect instead: the same as a forward pass over dy with the kernel's taps in
    reverse order, whose sums are longer.
    """
    _, H, W, C_in = dx.shape
    ci_blocks, co_blocks, taps, _, _ = workspace.packed.shape
    C_out = workspace.partial.shape[2]
    _, _, height, width, _ = workspace.panels.shape
    panel, dy = height * width * NR, address(workspace.panels[slot])
    pixels, a_rows, c_rows = table.shape[1], address(table), address(table) + 8 * table.shape[1]
    padded = not gathers and (geometry.height != H or geometry.width != W)
    if not gathers:
        clear(workspace.padded_dx[worker] if padded else dx[n])
    target = address(workspace.padded_dx[worker]) if padded else address(dx[n])
    for ci_block in range(ci_blocks):
        columns = min(NR, C_in - ci_block * NR)
        b = address(workspace.packed[ci_block])
        c = target + 4 * ci_block * NR
        if gathers:
            for co_block in range(co_blocks):
                a = Rows(dy + 4 * co_block * panel, a_rows, width * NR, 1)
                start = Start(c, 1) if co_block > 0 else Start(address(ZEROS), 0)
                weights = Panel(b, geometry.KW * NR * NR, NR)
                multiply(a, weights, Tile(c, c_rows, pixels, columns, 0), start, taps * NR, geometry.KW * NR, NO_BOUND)
                b += 4 * taps * NR * NR
        else:
            a = Rows(dy, a_rows, panel, 1)
            for tap in range(taps):
                ky, kx = tap // geometry.KW, tap % geometry.KW
                at = c + 4 * (ky * geometry.DH * geometry.width + kx * geometry.DW) * C_in
                weights = Panel(b, taps * NR * NR, NR)
                multiply(a, weights, Tile(at, c_rows, pixels, columns, 0), Start(at, 1), C_out, NR, NO_BOUND)
                b += 4 * NR * NR
    if padded:
        crop_image(workspace.padded_dx[worker], geometry.top, geometry.left, dx, n)


@part
def _backward_chunk(
    chunk: int, worker: int, x: Any, gradient: Any, dx: Any, workspace: Any, geometry: Any, tables: Any
) -> None:
    """A chunk's images, some after the other, and each a band of rows after the other."""
    kernel_table, input_table, need_dx, gathers, (band, most, images) = tables
    (N, _, _, C_in), slots, totals = x.shape, worker * images, workspace.totals[chunk]
    PH, stride = gradient.dy.shape[1], gradient.pool.SH
    chunks, panels = workspace.partial.shape[0], workspace.panels[slots : slots + images]
    _, _, height, width, _ = panels.shape
    # dx gathers from beyond dy's edge too: from a border of zeros.
    top, left = (geometry.KH - 1 - geometry.top, geometry.KW - 1 - geometry.left) if gathers else (0, 0)
    clear(totals)
    clear(panels)  # the border stays zero
    at = address(panels) + 4 * (top * width + left) * NR
    first, end = chunk * N // chunks, (chunk + 1) * N // chunks
    for n in range(first, end, images):
        some = min(images, end - n)
        image = padded_image(x, n, 0, workspace.padded, slots, geometry)
        for i in range(1, some):
            padded_image(x, n + i, 0, workspace.padded, slots + i, geometry)
        for py in range(0, PH, band):
            py_end = min(py + band, PH)
            for i in range(some):
                fill_panels(n + i, gradient, (py, py_end), panels[i], (top, left), totals)
            dy = at, height * width * NR, width * NR, most - (band - py_end + py) * stride
            under = image + 4 * py * stride * geometry.SH * geometry.width * C_in
            add = n > first or py > 0
            kernel_gradient(under, dy, some, workspace.partial[chunk], add, kernel_table, geometry, C_in)
        if need_dx:
            for i in range(some):
                input_gradient(n + i, slots + i, worker, dx, workspace, input_table, geometry, gathers)


@compiled
def _backward(inputs, outputs, workspace, geometry, pool, flags, band):  # type: ignore[no-untyped-def]
    (dy, y, argmax, x, kernel), (dx, dkernel, dbias), (relu, pooled, need_dx, gathers) = inputs, outputs, flags
    workspace, geometry, pool = BackwardWorkspace(*workspace), Geometry(*geometry), Geometry(*pool)
    (_, H, W, _), (KH, KW, C_in, C_out) = x.shape, kernel.shape
    (chunks, taps, _), OH, OW = workspace.partial.shape, geometry.OH, geometry.OW
    if dy.size == 0:
        clear(dkernel)
        clear(dbias)
        return
    kernel_table = np.empty((2, taps), np.int64)
    kernel_offsets(kernel_table, geometry, C_in, C_out)
    # Where `input_gradient` finds a pixel of dy in a panel, and where the pixel of dx (padded) that it adds to.
    input_table = np.empty((2, H * W if gathers else OH * OW), np.int64)
    if need_dx:
        packed = workspace.packed
        parallel_for(
            packed.shape[0] * packed.shape[1], kernel.size, pack_taps, (kernel.reshape(KH * KW, C_in, C_out), packed, gathers)
        )
        pixel_offsets(input_table[0], W if gathers else OW, workspace.panels.shape[3] * NR, NR)
        if gathers:
            pixel_offsets(input_table[1], W, W * C_in, C_in)
        else:
            pixel_offsets(input_table[1], OW, geometry.SH * geometry.width * C_in, geometry.SW * C_in)
    gradient = OutputGradient(dy, y, argmax, relu, pooled, pool, OH, OW)
    tables = kernel_table, input_table, need_dx, gathers, band
    work = x.shape[0] * OH * OW * kernel.size
    parallel_for(chunks, work, _backward_chunk, (x, gradient, dx, workspace, geometry, tables))
    parallel_for((taps + 7) // 8, workspace.partial.size, sum_chunks, (workspace.partial, dkernel.reshape(taps, C_out)))
    sum_rows(workspace.totals, dbias)


# --- groups -------------------------------------------------------------------------


def _of_groups(window: Window, *arrays: Array | None) -> list[tuple[Array, ...]]:
    """For each group its channels of all arrays, (..., C) as (..., C/G): copies, as kernels read what lies together."""
    parts: list[Any] = []
    for array in arrays:
        if array is None:
            parts.append([None] * window.groups)
            continue
        *shape, C = array.shape
        own = empty((window.groups, *shape, C // window.groups), array.dtype)
        np.copyto(own, np.moveaxis(array.reshape(*shape, window.groups, C // window.groups), -2, 0))
        parts.append(own)
    return list(zip(*parts))


def _joined(parts: Sequence[Array]) -> Array:
    """G of (..., C/G) as (..., C)."""
    *shape, C = parts[0].shape
    whole = empty((*shape, len(parts), C), parts[0].dtype)
    for group, part_of_group in enumerate(parts):
        whole[..., group, :] = part_of_group
    return whole.reshape(*shape, len(parts) * C)


def _depthwise(kernel: Array, window: Window) -> Array:
    """The kernel of as many groups as x has channels, (KH, KW, 1, C*M), as that of a depthwise convolution."""
    KH, KW, _, outputs = kernel.shape
    return kernel.reshape(KH, KW, window.groups, outputs // window.groups)


def conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """Winograd's, `bfloat16`'s, or the loops of this file (of one group, where there are several), or of `depthwise`."""
    (N, H, W, C_in), (r, KW, C_in_of_group, C_out), G = x_shape, kernel_shape, window.groups
    if G != 1 and C_in_of_group == 1:
        return depthwise_conv2d_algorithm(x_shape, (r, KW, C_in, C_out // G), window)
    other = other_way((N, H, W, C_in // G), (r, KW, C_in_of_group, C_out // G), window._replace(groups=1))
    if other is not winograd:
        return "direct" if other is None else "bfloat16 tiles"
    m = winograd.side_of(window) + 1 - r
    return f"Winograd F({m}x{m}, {r}x{r})"
