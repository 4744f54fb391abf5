"""Convolution and its gradients with operands rounded to bfloat16, by the tile registers of `_amx`.

Used where `set_float32_matmul_precision("medium")` allows it and the processor has such registers: arrays, sums, bias,
ReLU and pooling stay float32, every product's two factors have 8 bits. The three loop nests are `conv`'s,

    forward            y[p, co]        = sum over taps t and ci of x[p + t, ci] * kernel[t, ci, co]
    kernel gradient    dkernel[t]^T    = sum over p of dy[p, co] * x[p + t, ci]
    input gradient     dx[p, ci]       = sum over taps t and co of dy[p - t, co] * kernel[t, ci, co]

and a pixel is one index p here: images lie flat, one behind the other, in a grid that has room for the zeros of the
padding between two rows and between two images (they serve both). So a tap is a fixed way from every pixel, and 32
pixels that follow each other are the rows of a tile wherever they begin. What a product gives for places of the grid
that are no pixels is not stored: an eighth to almost half of all, where maps are of 15 to 3 pixels a side.

Forward and input gradient read pixels as rows of channels. The kernel's gradient sums over pixels: it reads dy
transposed, and x in pairs of neighbours, once from even and once from odd pixels on, since a tap begins at either.

Source: Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740; Kalamkar et al. 2019, "A study of
bfloat16 for deep learning training", arXiv:1905.12322.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minicnn import config
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._amx import (
    PANEL,
    SIDE,
    Left,
    Product,
    Right,
    available,
    close_tiles,
    finish_16,
    multiply_tiles,
    open_tiles,
    pair_pixels,
    round_pixel,
    transpose_floats,
    transpose_pixels,
)
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._geometry import NO_POOL, Geometry, geometry_of
from minicnn.backends.numba_cpu._microkernel import NO_BOUND, NR, ZERO, address
from minicnn.backends.numba_cpu._panels import (
    NO_ARGMAX,
    NO_BIAS,
    WHOLE,
    OutputGradient,
    blocks_of,
    clear,
    fill_panels,
    start_row,
    sum_rows,
)
from minicnn.backends.numba_cpu._parallel import parallel_for
from minicnn.backends.numba_cpu._pool import MOST
from minicnn.backends.numba_cpu.pool import max_of_rows, memory_for_output
from minicnn.backends.types import Array, Window

FEWEST = 16  # channels on either side that are worth it: half of a tile's
TASK = 64  # pixels of a forward task, if an image has fewer
GROUP = 1024  # pixels of a group of images, whose layouts stay in the cores' L2
LINE = 64  # bytes of a cache line


class Grid(NamedTuple):
    """How images lie flat: pixel (h, w) of image n is number n*area + h*pitch + w, and `margin` zeros stand around all.

    Both x and dy lie so. The margin is a multiple of 32.
    """

    pitch: int
    area: int
    margin: int


@functools.lru_cache(maxsize=4096)
def _grid(H: int, W: int, window: Window) -> tuple[Grid, Geometry]:
    geometry = geometry_of(H, W, window)
    top, bottom, left, right = window.pads
    pitch = W + max(left, right)
    farthest = (geometry.KH - 1) * geometry.DH * pitch + (geometry.KW - 1) * geometry.DW
    return Grid(pitch, (H + max(top, bottom)) * pitch, _up_to(farthest, SIDE) + SIDE), geometry


def _up_to(number: int, step: int) -> int:
    return -(-number // step) * step


_whole = part(_up_to)


def pays(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> bool:
    """Whether this is allowed and can be, there are channels enough for the tiles, and stride and padding are ordinary."""
    (KH, KW, C_in, C_out), (top, bottom, left, right) = kernel_shape, window.pads
    return (
        config.float32_matmul_precision() == "medium"
        and available()
        and window.strides == (1, 1)
        and window.groups == 1
        and min(C_in, C_out) >= FEWEST
        and max(top, bottom) <= (KH - 1) * window.dilation[0]
        and max(left, right) <= (KW - 1) * window.dilation[1]
        and x_shape[0] * window.output[0] * window.output[1] >= TASK
    )


def _lines(workers: int, nbytes: int) -> np.ndarray:
    """Memory of so many bytes for each worker, (workers, bytes), with room to begin at a cache line."""
    return empty((workers, _up_to(nbytes, LINE) + LINE), np.uint8)


@part
def _aligned(memory: Any) -> Any:
    """Where a worker's memory begins: at its first cache line."""
    return (address(memory) + LINE - 1) // LINE * LINE


def _flat(workers: int, pixels: int, grid: Grid, channels: int) -> np.ndarray:
    """Memory for pixels as rows of channels; and for one more, which pairs up with the last."""
    return _lines(workers, (pixels + 2 * grid.margin + 1) * _up_to(channels, SIDE) * 2)


# --- layouts ------------------------------------------------------------------------


@part
def _lay_flat(source: Any, size: Any, grid: Any, target: int, row: int, width: int) -> None:
    """One image's pixels, or `width` channels of them, from float32 to rows of bfloat16; zeros between image rows and behind.

    Args:
        source: address of the first pixel, floats from one to the next, and how many channels it has.
        size: H and W. target: where pixel 0 goes. row: channels from a pixel to the next there.
    """
    (at, step, channels), (H, W) = source, size
    for h in range(H):
        for w in range(W):
            round_pixel(at + 4 * (h * W + w) * step, target + 2 * (h * grid.pitch + w) * row, channels, width)
        _clear_pixels(target, h * grid.pitch + W, (h + 1) * grid.pitch, row, width)
    _clear_pixels(target, H * grid.pitch, grid.area, row, width)


@part
def _clear_pixels(at: int, first: int, end: int, row: int, width: int) -> None:
    for p in range(first, end):
        round_pixel(at, at + 2 * p * row, 0, width)


@part
def _pack_taps(block: int, worker: int, kernel: Any, packed: int, deep: int, backward: bool) -> None:
    """The kernel's weights as the factor B, for 32 columns: a panel for each tap and 32 terms of the sum, in pairs of these.

    Columns are output channels and the sum runs over input channels, or `backward` the other way round.

    Args:
        kernel: (taps, C_in, C_out). packed: address of the panels. deep: panels along a tap's sum.
    """
    taps, C_in, C_out = kernel.shape
    rows, turned = np.empty((SIDE, SIDE), np.uint16), np.empty((SIDE, SIDE), np.uint16)
    for tap in range(taps):
        for d in range(deep):
            # 32 input by 32 output channels, rounded.
            ci, co = (block * SIDE, d * SIDE) if backward else (d * SIDE, block * SIDE)
            for k in range(SIDE):
                source = address(kernel) + 4 * ((tap * C_in + ci + k) * C_out + co)
                round_pixel(source, address(rows) + 2 * SIDE * k, C_out - co if ci + k < C_in else 0, SIDE)
            from_rows = address(rows)
            if backward:
                from_rows = address(turned)
                for j in range(0, SIDE, 16):
                    transpose_pixels(address(rows) + 2 * j, 2 * SIDE, from_rows + 2 * SIDE * j, 2 * SIDE)
            target = packed + ((block * taps + tap) * deep + d) * PANEL
            for k in range(0, SIDE, 2):
                pair_pixels(from_rows + 2 * SIDE * k, from_rows + 2 * SIDE * (k + 1), target + 2 * SIDE * k)


@part
def _steps_along(taps: Any, deep: int, width: int, geometry: Any, grid: Any, backward: bool) -> None:
    """taps[tap*deep + d] = bytes from a pixel to where it meets channels 32*d.. under that tap."""
    for tap in range(geometry.KH * geometry.KW):
        way = _way_of(tap, geometry, grid)
        for d in range(deep):
            taps[tap * deep + d] = 2 * ((-way if backward else way) * width + d * SIDE)


@part
def _way_of(tap: int, geometry: Any, grid: Any) -> Any:
    """Pixels from an output's place in the grid to what this tap reads."""
    ky, kx = tap // geometry.KW, tap % geometry.KW
    return (ky * geometry.DH - geometry.top) * grid.pitch + kx * geometry.DW - geometry.left


@part
def _places(places: Any, H: int, W: int, pitch: int) -> None:
    """places[h*pitch + w] = h*W + w, the pixel that stands there; -1 where none does."""
    for p in range(places.size):
        h, w = p // pitch, p % pitch
        places[p] = h * W + w if h < H and w < W else -1


# --- forward, and the input gradient ------------------------------------------------


class Weights(NamedTuple):
    """The kernel as the factor B, and what its sums start from and are bounded by.

    Attributes:
        packed: address of the panels. blocks: of 32 columns. steps: along the sum.
        ways: table of bytes from a pixel to where each step reads.
    """

    packed: Any
    blocks: int
    steps: int
    ways: Any
    start: Any
    lower_bound: Any


@part
def _convolve(source: int, row: int, count: int, weights: Any, places: Any, target: Any, scratch: Any) -> None:
    """target[pixel, c] = max(lower bound, start[c] + sum over steps) for so many images that lie flat from `source` on.

    Args:
        row: bytes of a flat pixel. places: of one image, whose area it is as long as.
        target: address of (count, pixels, C); with the pixels of an image, and C. scratch: (32, 32).
    """
    at, pixels, C = target
    area, sums = places.size, Product(address(scratch), 4 * SIDE, 0)
    for block in range(weights.blocks):
        begin = block * SIDE
        b, start = Right(weights.packed + block * weights.steps * PANEL, 4 * SIDE, PANEL), address(weights.start) + 4 * begin
        for p in range(0, count * area, SIDE):
            multiply_tiles(Left(source + p * row, row, address(weights.ways)), b, sums, weights.steps)
            n, place = p // area, p % area
            for i in range(min(SIDE, count * area - p)):
                if places[place] >= 0:
                    pixel = at + 4 * ((n * pixels + places[place]) * C + begin)
                    for c in range(0, min(SIDE, C - begin), 16):
                        finish_16(
                            sums.at + 4 * (i * SIDE + c), start + 4 * c, weights.lower_bound, pixel + 4 * c, C - begin - c
                        )
                place += 1
                if place == area:
                    n, place = n + 1, 0


class ForwardWorkspace(NamedTuple):
    """Scratch memory of a forward pass: the packed kernel, and each thread's flat images, product and maps before pooling."""

    packed: Any
    flat: Any
    scratch: Any
    maps: Any


def forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool, pool: Window | None
) -> tuple[Array, Array | None]:
    """`conv2d_forward` of float32; parallel over images, some together where they are small."""
    (N, H, W, C_in), (KH, KW, _, C_out) = x.shape, kernel.shape
    grid, geometry = _grid(H, W, window)
    images = max(1, min(-(-TASK // grid.area), N))
    y, argmax, pooling = memory_for_output(N, C_out, window, pool)
    workspace = ForwardWorkspace(
        packed=_lines(1, _up_to(C_out, SIDE) * KH * KW * _up_to(C_in, SIDE) * 2),
        flat=_flat(MOST, images * grid.area, grid, C_in),
        scratch=empty((MOST, SIDE, SIDE)),
        maps=empty((1, 1, 1, 1, 1) if pool is None else (MOST, images, *window.output, C_out)),
    )
    arrays = x, kernel, NO_BIAS if bias is None else bias, y, argmax
    _forward(arrays, tuple(workspace), tuple(geometry), tuple(grid), tuple(pooling), relu, pool is not None, images)
    return y, None if pool is None else argmax


@part
def _weights(kernel: Any, packed: Any, epilogue: Any, geometry: Any, grid: Any, backward: bool, needed: bool) -> Any:
    """The kernel packed, if it is needed."""
    KH, KW, C_in, C_out = kernel.shape
    columns, depth = (C_in, C_out) if backward else (C_out, C_in)
    blocks, width = (columns + SIDE - 1) // SIDE, _whole(depth, SIDE)
    deep, at = width // SIDE, _aligned(packed)
    if needed:
        parallel_for(blocks, 4 * kernel.size, _pack_taps, (kernel.reshape(KH * KW, C_in, C_out), at, deep, backward))
    ways = np.empty(KH * KW * deep, np.int64)
    _steps_along(ways, deep, width, geometry, grid, backward)
    start, lower_bound = epilogue
    return Weights(at, blocks, ways.size, ways, start, lower_bound)


@part
def _forward_images(task: int, worker: int, arrays: Any, workspace: Any, weights: Any, places: Any, shape: Any) -> None:
    x, y, argmax = arrays
    geometry, grid, pool, pooled, images = shape
    (N, H, W, C_in), C_out, pixels = x.shape, y.shape[3], geometry.OH * geometry.OW
    first = task * images
    count, width = min(images, N - first), _whole(C_in, SIDE)
    source = _aligned(workspace.flat[worker]) + 2 * grid.margin * width
    _clear_pixels(source, -grid.margin, 0, width, width)
    for slot in range(count):
        image = address(x) + 4 * (first + slot) * H * W * C_in, C_in, C_in
        _lay_flat(image, (H, W), grid, source + 2 * slot * grid.area * width, width, width)
    _clear_pixels(source, count * grid.area, _whole(count * grid.area, SIDE) + grid.margin - SIDE, width, width)
    maps = workspace.maps[worker if pooled else 0]
    target = address(maps) if pooled else address(y) + 4 * first * pixels * C_out
    open_tiles()
    _convolve(source, 2 * width, count, weights, places, (target, pixels, C_out), workspace.scratch[worker])
    close_tiles()
    if pooled:
        for slot in range(count):
            max_of_rows(maps[slot], 0, (y, argmax), first + slot, (0, y.shape[1]), geometry.OH, pool)


@compiled
def _forward(arrays, workspace, geometry, grid, pool, relu, pooled, images):  # type: ignore[no-untyped-def]
    x, kernel, bias, y, argmax = arrays
    workspace, geometry, grid, pool = ForwardWorkspace(*workspace), Geometry(*geometry), Grid(*grid), Geometry(*pool)
    epilogue = start_row(bias, y.shape[3]), ZERO if relu else NO_BOUND
    weights = _weights(kernel, workspace.packed[0], epilogue, geometry, grid, False, True)
    places = np.empty(grid.area, np.int64)
    _places(places, geometry.OH, geometry.OW, grid.pitch)
    shape = geometry, grid, pool, pooled, images
    work = x.shape[0] * geometry.OH * geometry.OW * kernel.size
    tasks = (x.shape[0] + images - 1) // images
    parallel_for(tasks, work, _forward_images, ((x, y, argmax), workspace, weights, places, shape))


# --- gradients ----------------------------------------------------------------------


class BackwardWorkspace(NamedTuple):
    """Scratch memory of a backward pass, for a group of images.

    Attributes:
        x, dy: as flat pixels. pairs: x in pairs of neighbours, from even and from odd pixels on.
        transposed: dy, (C_out, pixels).
        sums: the kernel's gradient with its channels exchanged, (taps, C_out, C_in) up to whole tiles.
        packed: the kernel, for the input's gradient.
        panels: each thread's gradient at the map of one image. totals: its sum for each image, the bias's gradient.
        scratch: each thread's product.
    """

    x: Any
    dy: Any
    pairs: Any
    transposed: Any
    sums: Any
    packed: Any
    panels: Any
    totals: Any
    scratch: Any


def backward(
    dy: Array,
    x: Array,
    kernel: Array,
    window: Window,
    y: Array | None,
    pool: Window | None,
    argmax: Array | None,
    need_dx: bool,
) -> tuple[Array | None, Array, Array]:
    """`conv2d_backward` of float32: for a group of images after the other, each step parallel over what it makes."""
    (N, H, W, C_in), (KH, KW, _, C_out) = x.shape, kernel.shape
    grid, geometry = _grid(H, W, window)
    images = max(1, min(N, max(4, GROUP // grid.area)))
    pixels, wide_in, wide_out = _up_to(images * grid.area, SIDE), _up_to(C_in, SIDE), _up_to(C_out, SIDE)
    workspace = BackwardWorkspace(
        x=_flat(1, pixels, grid, C_in),
        dy=_flat(1, pixels, grid, C_out),
        pairs=_lines(2, (pixels // 2 + grid.margin) * wide_in * 4),
        transposed=_lines(1, wide_out * _row_of(pixels)),
        sums=_lines(1, KH * KW * wide_in * wide_out * 4),
        packed=_lines(1, wide_in * KH * KW * wide_out * 2),
        panels=empty((MOST, blocks_of(C_out), *window.output, NR)),
        totals=empty((N, wide_out)),
        scratch=empty((MOST, SIDE, SIDE)),
    )
    dx, dkernel, dbias = empty(x.shape if need_dx else (1, 1, 1, 1)), empty(kernel.shape), empty((C_out,))
    pooling = NO_POOL if pool is None else geometry_of(*window.output, pool)
    inputs = dy, dy if y is None else y, NO_ARGMAX if argmax is None else argmax, x, kernel
    flags = y is not None, pool is not None, need_dx
    _backward(inputs, (dx, dkernel, dbias), tuple(workspace), (tuple(geometry), tuple(grid), tuple(pooling)), flags, images)
    return dx if need_dx else None, dkernel, dbias


def _row_of(pixels: int) -> int:
    """Bytes of a transposed row: an odd number of cache lines, which spreads the 32 rows of two tiles over all sets of L1."""
    return (pixels * 2 // LINE | 1) * LINE


_row = part(_row_of)


@part
def _lay_both(slot: int, worker: int, first: int, x: Any, gradient: Any, workspace: Any, grid: Any) -> None:
    """x and dy of image first + slot as flat pixels, dy from behind its pooling and ReLU; the map's sum to `totals`."""
    (_, H, W, C_in), panel, n = x.shape, workspace.panels[worker], first + slot
    width = _whole(C_in, SIDE)
    target = _aligned(workspace.x[0]) + 2 * (grid.margin + slot * grid.area) * width
    _lay_flat((address(x) + 4 * n * H * W * C_in, C_in, C_in), (H, W), grid, target, width, width)
    clear(workspace.totals[n])
    fill_panels(n, gradient, WHOLE, panel, (0, 0), workspace.totals[n])
    blocks, OH, OW, _ = panel.shape
    width = blocks * NR
    target = _aligned(workspace.dy[0]) + 2 * (grid.margin + slot * grid.area) * width
    for block in range(blocks):
        _lay_flat((address(panel[block]), NR, NR), (OH, OW), grid, target + 2 * block * NR, width, NR)


@part
def _pair_and_transpose(block: int, worker: int, wide_in: int, wide_out: int, workspace: Any, grid: Any, rows: Any) -> None:
    """32 pixels of x in pairs, and 32 of dy transposed. Pairs exist for the margin too: blocks count from its beginning.

    rows: bytes of a transposed row, and how many pixels dy has.
    """
    transposed_row, pixels = rows
    p = block * SIDE
    x = _aligned(workspace.x[0]) + 2 * p * wide_in
    for odd in range(2):
        target = _aligned(workspace.pairs[odd]) + 2 * p * wide_in
        for i in range(0, SIDE, 2):
            a = x + 2 * (i + odd) * wide_in
            for c in range(0, wide_in, SIDE):
                pair_pixels(a + 2 * c, a + 2 * wide_in + 2 * c, target + 2 * i * wide_in + 4 * c)
    own = p - grid.margin
    if 0 <= own < pixels:
        dy, target = _aligned(workspace.dy[0]) + 2 * p * wide_out, _aligned(workspace.transposed[0]) + 2 * own
        for c in range(0, wide_out, 16):
            transpose_pixels(dy + 2 * c, 2 * wide_out, target + c * transposed_row, transposed_row)


@part
def _kernel_gradient(task: int, worker: int, taps: int, wide: Any, add: int, workspace: Any, ways: Any, steps: Any) -> None:
    """sums[tap, co, ci] (+)= sum over pixels p of dy[p, co] * x[p + way of the tap, ci], for 32 co and 32 ci and all taps.

    Args:
        wide: C_in and C_out up to whole tiles. ways: of each tap, from the beginning of the margin.
        steps: for `Left`, and bytes of a transposed row.
    """
    wide_in, wide_out = wide
    along, row = steps
    co, ci = task // (wide_in // SIDE) * SIDE, task % (wide_in // SIDE) * SIDE
    a = Left(_aligned(workspace.transposed[0]) + co * row, row, address(along))
    open_tiles()
    for tap in range(taps):
        way = ways[tap]
        at = _aligned(workspace.pairs[way % 2]) + 4 * (way // 2 * wide_in + ci)
        c = _aligned(workspace.sums[0]) + 4 * ((tap * wide_out + co) * wide_in + ci)
        multiply_tiles(a, Right(at, 4 * wide_in, 2 * SIDE * wide_in), Product(c, 4 * wide_in, add), along.size)
    close_tiles()


@part
def _input_gradient(task: int, worker: int, first: int, last: int, dx: Any, workspace: Any, weights: Any, shape: Any) -> None:
    """dx of some images of the group that begins with image `first` and ends before `last`."""
    grid, places, width, together = shape
    _, H, W, C_in = dx.shape
    slot = task * together
    count = min(together, last - first - slot)
    source = _aligned(workspace.dy[0]) + 2 * (grid.margin + slot * grid.area) * width
    target = address(dx) + 4 * (first + slot) * H * W * C_in, H * W, C_in
    open_tiles()
    _convolve(source, 2 * width, count, weights, places, target, workspace.scratch[worker])
    close_tiles()


@part
def _exchange(tap: int, worker: int, sums: Any, dkernel: Any) -> None:
    """dkernel[tap, ci, co] = sums[tap, co, ci]."""
    _, C_in, C_out = dkernel.shape
    own, block = address(dkernel[tap]), np.empty((16, 16), np.float32)
    for co in range(0, C_out, 16):
        for ci in range(0, C_in, 16):
            source = address(sums[tap, co]) + 4 * ci
            if co + 16 <= C_out and ci + 16 <= C_in:
                transpose_floats(source, 4 * sums.shape[2], own + 4 * (ci * C_out + co), 4 * C_out)
                continue
            transpose_floats(source, 4 * sums.shape[2], address(block), 4 * 16)
            for i in range(min(16, C_in - ci)):
                for o in range(min(16, C_out - co)):
                    dkernel[tap, ci + i, co + o] = block[i, o]


@compiled
def _backward(inputs, outputs, workspace, layout, flags, images):  # type: ignore[no-untyped-def]
    (dy, y, argmax, x, kernel), (dx, dkernel, dbias), (relu, pooled, need_dx) = inputs, outputs, flags
    workspace, geometry, grid, pool = (
        BackwardWorkspace(*workspace),
        Geometry(*layout[0]),
        Grid(*layout[1]),
        Geometry(*layout[2]),
    )
    (N, H, W, C_in), C_out, taps = x.shape, kernel.shape[3], geometry.KH * geometry.KW
    wide_in, wide_out = _whole(C_in, SIDE), _whole(C_out, SIDE)
    gradient = OutputGradient(dy, y, argmax, relu, pooled, pool, geometry.OH, geometry.OW)
    clear(workspace.panels)  # where no window of the pooling lies it stays zero
    work = geometry.OH * geometry.OW * kernel.size
    epilogue = np.zeros(wide_in, np.float32), NO_BOUND
    weights = _weights(kernel, workspace.packed[0], epilogue, geometry, grid, True, need_dx)
    ways, places, together = np.empty(taps, np.int64), np.empty(grid.area, np.int64), max(1, min(images, TASK // grid.area))
    for tap in range(taps):
        ways[tap] = grid.margin + _way_of(tap, geometry, grid)
    _places(places, H, W, grid.pitch)
    for first in range(0, N, images):
        count = min(images, N - first)
        pixels = _whole(count * grid.area, SIDE)
        row, along = _row(pixels), np.arange(pixels // SIDE) * (2 * SIDE)
        for array, wide in ((workspace.x, wide_in), (workspace.dy, wide_out)):
            begin = _aligned(array[0]) + 2 * grid.margin * wide
            _clear_pixels(begin, -grid.margin, 0, wide, wide)
            _clear_pixels(begin, count * grid.area, pixels + grid.margin, wide, wide)
        parallel_for(count, count * work, _lay_both, (first, x, gradient, workspace, grid))
        blocks = (pixels + 2 * grid.margin) // SIDE
        parallel_for(blocks, count * work, _pair_and_transpose, (wide_in, wide_out, workspace, grid, (row, pixels)))
        tasks = (wide_in // SIDE) * (wide_out // SIDE)
        parallel_for(
            tasks, count * work, _kernel_gradient, (taps, (wide_in, wide_out), min(first, 1), workspace, ways, (along, row))
        )
        if need_dx:
            shape = grid, places, wide_out, together
            tasks = (count + together - 1) // together
            parallel_for(tasks, count * work, _input_gradient, (first, first + count, dx, workspace, weights, shape))
    begin = _aligned(workspace.sums[0]) - address(workspace.sums[0])
    sums = workspace.sums[0][begin : begin + 4 * taps * wide_out * wide_in].view(np.float32).reshape(taps, wide_out, wide_in)
    parallel_for(taps, 8 * dkernel.size, _exchange, (sums, dkernel.reshape(taps, C_in, C_out)))
    sum_rows(workspace.totals, dbias)
