"""Convolution with a quarter of the multiplications: kernels of 3×3 to 7×7 and stride 1, tile by tile.

`_transforms` has the algebra. A tile of 6×6 (or 7×7, 8×8) pixels is transformed, channel by channel; the sum
over channels is then 36 (49, 64) matrix products, one for each place p of the transformed tile,

    forward            M_p  = V_p · U_p            (tiles × C_in) · (C_in × C_out)
    kernel gradient    dU_p = V_p^T · dM_p         (C_in × tiles) · (tiles × C_out)
    input gradient     dV_p = dM_p · U_p^T         (tiles × C_out) · (C_out × C_in)

all by the micro-kernel; and M transformed back gives m×m pixels of output. The gradients are
the transposed of each step: no other algorithm, the same numbers. dM serves both of them.

Tiles of several images make one product. Where U is small, a task works through a group of
images alone, or through the bands of a large one, all in its core's L2. Where U is large (it
would be read anew by each task), all threads work on one group and share the products.

Compare `conv`, which needs no memory for transformed tiles and takes every stride and dilation;
`pays` tells which is faster. The same tolerance holds for both.
"""

from __future__ import annotations

import functools
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu import _transforms
from minicnn.backends.numba_cpu._compile import VL, compiled, part
from minicnn.backends.numba_cpu._geometry import (
    NO_POOL,
    NO_SCRATCH,
    Geometry,
    chunks_of,
    geometry_of,
    sum_chunks,
)
from minicnn.backends.numba_cpu._microkernel import NO_BOUND, NR, ZERO, ZEROS, Panel, Rows, Start, Tile, address, multiply
from minicnn.backends.numba_cpu._panels import (
    NO_ARGMAX,
    NO_BIAS,
    WHOLE,
    OutputGradient,
    are_disjoint,
    blocks_of,
    clear,
    fill_panels,
    row_offsets,
    start_row,
    sum_rows,
)
from minicnn.backends.numba_cpu._parallel import parallel_for
from minicnn.backends.numba_cpu._pool import MOST, get_num_threads
from minicnn.backends.numba_cpu._transforms import AT_ONE, EVERYWHERE, LARGE_SIDE, SIDE, Edges, Grid, apply, transform
from minicnn.backends.numba_cpu.pool import max_of_rows, memory_for_output
from minicnn.backends.types import Array, Window

KERNELS = range(3, LARGE_SIDE)
SMALL = 64 * 64 * 36  # numbers of U, and of dU, up to which both stay in L2 beside a group's tiles
GROUP, LARGE_GROUP = 64 * 36, 512 * 36  # places of a group's tiles, if there are as many
MOST_BYTES = 32 << 20  # of one image's transformed tiles, for each thread


class Tiling(NamedTuple):
    """How a map is covered by tiles, and the addresses of its transforms."""

    side: int  # pixels along a tile of input, which has side * side places
    m: int  # and of output
    down: int
    across: int
    input: int
    kernel: int
    output: int
    output_gradient: int
    input_gradient: int
    kernel_gradient: int


@functools.lru_cache(maxsize=4096)
def _tiling(H: int, W: int, window: Window) -> tuple[Tiling, Geometry]:
    """The tiling of a window's map, and the window's geometry."""
    r, side = window.size[0], side_of(window)
    sizes = {_transforms.INPUT: 3, _transforms.INPUT_GRADIENT: 3}  # the same for every r
    functions = (transform(kind, sizes.get(kind, r), side) for kind in range(6))
    return Tiling(side, side + 1 - r, *_tiles(window, side), *functions), geometry_of(H, W, window)


def _tiles(window: Window, side: int) -> tuple[int, int]:
    """How many tiles of this side cover the map, down and across."""
    m = side + 1 - window.size[0]
    OH, OW = window.output
    return -(-OH // m), -(-OW // m)


def _chunks(N: int, tiling: Tiling) -> int:
    """Into how many chunks N images are cut for the kernel's gradient."""
    return chunks_of(N, tiling.down * tiling.across)


@functools.lru_cache(maxsize=4096)
def side_of(window: Window) -> int:
    """Pixels along a tile of input: 6; or 7 or 8, which are less precise, where that saves a fifth or a quarter of products.

    Which one does depends on how many pixels of the tiles hang over the map: 13×13 pixels take 3×3 tiles of 5×5 (of side 7,
    for a 3×3 kernel), but 4×4 tiles of 4×4.
    """
    if window.size[0] > SIDE:
        return LARGE_SIDE
    best, places = SIDE, {side: prod(_tiles(window, side)) * side * side for side in _transforms.POINTS}
    for side, share in ((7, 0.8), (8, 0.75)):
        if places[side] <= share * places[best]:
            best = side
    return best


def _whole(channels: int) -> int:
    """Channels, up to whole vectors."""
    return -(-channels // VL) * VL


_whole_vectors = part(_whole)


def _places(workers: int, places: int, floats: int) -> np.ndarray:
    """Memory for the places of tiles: (workers, places, step), step at least `floats`.

    A tile's vectors lie a step apart. An odd number of cache lines spreads them over all sets of the L1.
    """
    return empty((workers, places, (-(-floats // 16) | 1) * 16))


@functools.lru_cache(maxsize=4096)
def pays(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> bool:
    """Whether this is faster than the direct way, by multiplications.

    A place costs a product a pair of channels, and its transforms about 10 a channel, stored and read again; the
    kernel's transform about 25 a pair, which one or two small images do not earn back (both measured). Sums over fewer
    channels than a vector holds take as long as if there were as many.
    """
    r, KW, C_in, C_out = kernel_shape
    if (window.strides, window.dilation, window.groups) != ((1, 1), (1, 1), 1) or r != KW or r not in KERNELS:
        return False
    (OH, OW), N, side = window.output, x_shape[0], side_of(window)
    places, channels = side * side, _whole(C_in) + _whole(C_out)
    of_image = prod(_tiles(window, side)) * places
    if of_image * 4 * channels > MOST_BYTES:
        return False
    direct = OH * OW * r * r * C_in * max(C_out, VL)
    return N * of_image * (max(C_in, VL) * max(C_out, VL) + 10 * channels) + 25 * places * C_in * C_out < N * direct


class Group(NamedTuple):
    """Tiles that are multiplied together: those of so many images; or of one image so many rows, a band of it."""

    images: int
    rows: int


def _group(N: int, tiling: Tiling, wanted: int) -> Group:
    """As many images as come nearest to so many places."""
    of_image = tiling.down * tiling.across * tiling.side**2
    return Group(max(1, min(N, (wanted + of_image // 2) // of_image)), tiling.down)


def _group_or_band(N: int, tiling: Tiling, pool: Geometry) -> Group:
    """As many images, or rows of one, as a core's L2 holds. Bands end where a row of the pooling's windows does."""
    of_row, step = tiling.across * tiling.side**2, pool.SH // gcd(pool.SH, tiling.m)
    if tiling.down * of_row <= 2 * GROUP:
        return _group(N, tiling, GROUP)
    rows = max(1, (GROUP + of_row // 2) // of_row)
    return Group(1, min(tiling.down, -(-rows // step) * step))


# --- the steps, for one image or one place --------------------------------------------


@part
def _tile_of(image: Any, n: int, ty: int, tx: int, geometry: Any, tiling: Any) -> Any:
    """Tile (ty, tx) of image n, of images (N, H, W, C), and which of it lies on the image."""
    _, H, W, C = image.shape
    h, w = ty * tiling.m - geometry.top, tx * tiling.m - geometry.left
    return Grid(address(image) + 4 * ((n * H + h) * W + w) * C, W * C, C), Edges(-h, H - h, -w, W - w, 0, NO_BOUND)


@part
def _to_tiles(own: int, slot: int, x: Any, n: int, V: Any, span: Any, geometry: Any, tiling: Any) -> None:
    """V[own, :, tiles of this slot, :] = B^T d B of every tile d of image n, in rows of tiles from span[0] to span[1]."""
    C_in, step = x.shape[3], V.shape[2]
    width = _whole_vectors(C_in)
    at = address(V[own]) + 4 * slot * tiling.down * tiling.across * width
    for ty in range(span[0], span[1]):
        for tx in range(tiling.across):
            source, edges = _tile_of(x, n, ty, tx, geometry, tiling)
            apply(tiling.input, source, Grid(at, tiling.side * step, step), C_in, edges)
            at += 4 * width


@part
def _from_tiles(own: int, slot: int, M: Any, target: Any, span: Any, epilogue: Any, tiling: Any) -> None:
    """The map y = max(lower bound, A^T M A + start) of this slot's tiles, in rows of tiles from span[0] to span[1].

    target: the address of y, and its size (OH, OW, C_out). epilogue: start and lower bound.
    """
    (y, OH, OW, C_out), (start, lower_bound) = target, epilogue
    width, step, m = _whole_vectors(C_out), M.shape[2], tiling.m
    at = address(M[own]) + 4 * slot * tiling.down * tiling.across * width
    for ty in range(span[0], span[1]):
        for tx in range(tiling.across):
            pixels = Grid(y + 4 * m * (ty * OW + tx) * C_out, OW * C_out, C_out)
            edges = Edges(0, OH - ty * m, 0, OW - tx * m, address(start), lower_bound)
            apply(tiling.output, Grid(at, tiling.side * step, step), pixels, C_out, edges)
            at += 4 * width


@part
def _kernel_tiles(task: int, worker: int, kernel: Any, U: Any, depth: int, tiling: Any) -> None:
    """U = G g G^T of the weights of one channel k for NR others. kernel: (r, r, K, C); a place of U: (C in blocks, depth, NR).

    Tasks of one block follow each other, so that memory is written in a straight stream for each place.
    """
    r, _, K, C = kernel.shape
    step, k, begin = U.shape[2], task % K, task // K * NR
    source = Grid(address(kernel) + 4 * (k * C + begin), r * K * C, K * C)
    target = Grid(address(U) + 4 * (begin * depth + k * NR), tiling.side * step, step)
    apply(tiling.kernel, source, target, min(NR, C - begin), EVERYWHERE)


# --- forward ------------------------------------------------------------------------


class ForwardWorkspace(NamedTuple):
    """Scratch memory of a forward pass: the places of transformed tiles (see `_places`), and a thread's images.

    Attributes:
        U: the transformed kernel, (1, places, step), a place in panels (C_out in blocks, C_in, NR).
        V, M: transformed tiles of the input and of the output, (workers, places, step).
        maps: each thread's map before it is pooled, (threads, OH, OW, C_out).
    """

    U: Any
    V: Any
    M: Any
    maps: Any


def forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool, pool: Window | None
) -> tuple[Array, Array | None]:
    """`conv2d_forward` of float32, where it pays."""
    (N, H, W, C_in), C_out = x.shape, kernel.shape[3]
    tiling, geometry = _tiling(H, W, window)
    places = tiling.side**2
    y, argmax, pooling = memory_for_output(N, C_out, window, pool)
    group = _group_or_band(N, tiling, NO_POOL)
    together = places * C_in * C_out > SMALL or -(-N // group.images) < 2 * get_num_threads()
    if together:
        group = _group(N, tiling, LARGE_GROUP)
    workers, tiles = 1 if together else MOST, group.images * group.rows * tiling.across
    workspace = ForwardWorkspace(
        U=_places(1, places, blocks_of(C_out) * C_in * NR),
        V=_places(workers, places, tiles * _whole(C_in)),
        M=_places(workers, places, tiles * _whole(C_out)),
        maps=NO_SCRATCH if pool is None else empty((MOST, *window.output, C_out)),
    )
    arrays = x, kernel, NO_BIAS if bias is None else bias, y, argmax
    flags = relu, pool is not None, together
    _forward(arrays, tuple(workspace), tuple(geometry), tuple(tiling), tuple(pooling), flags, tuple(group))
    return y, None if pool is None else argmax


class Forward(NamedTuple):
    """What each step of a forward pass is given."""

    x: Any
    y: Any
    argmax: Any
    start: Any
    lower_bound: Any
    table: Any  # where a tile begins in V, and where in M
    geometry: Any
    tiling: Any
    pool: Any
    pooled: bool


@part
def _transform_image(slot: int, worker: int, first: int, own: int, span: Any, call: Any, workspace: Any) -> None:
    _to_tiles(own, slot, call.x, first + slot, workspace.V, span, call.geometry, call.tiling)


@part
def _multiply_place(p: int, worker: int, own: int, tiles: int, call: Any, workspace: Any) -> None:
    """M_p = V_p · U_p for so many tiles."""
    C_in, C_out = call.x.shape[3], call.y.shape[3]
    width, offsets = _whole_vectors(C_out), address(call.table)
    b, c = address(workspace.U[0, p]), address(workspace.M[own, p])
    a, start = Rows(address(workspace.V[own, p]), offsets, 0, 1), Start(address(ZEROS), 0)
    for begin in range(0, C_out, NR):
        tile = Tile(c + 4 * begin, offsets + 8 * call.table.shape[1], tiles, min(NR, width - begin), 0)
        multiply(a, Panel(b + 4 * begin * C_in, 0, NR), tile, start, C_in, C_in, NO_BOUND)


@part
def _finish_image(slot: int, worker: int, first: int, own: int, span: Any, call: Any, workspace: Any) -> None:
    """y of one image, from its tiles: pooled when the last ones are there."""
    n, OH, OW, C_out = first + slot, call.geometry.OH, call.geometry.OW, call.y.shape[3]
    rows = workspace.maps[worker if call.pooled else 0]
    at = address(rows) if call.pooled else address(call.y) + 4 * n * OH * OW * C_out
    _from_tiles(own, slot, workspace.M, (at, OH, OW, C_out), span, (call.start, call.lower_bound), call.tiling)
    if call.pooled and span[1] == call.tiling.down:
        max_of_rows(rows, 0, (call.y, call.argmax), n, (0, call.y.shape[1]), OH, call.pool)


@part
def _forward_group(task: int, worker: int, call: Any, workspace: Any, group: Any) -> None:
    """All steps for a group of images, or for the bands of one."""
    images, rows = group
    first, down = task * images, call.tiling.down
    count = min(images, call.x.shape[0] - first)
    for begin in range(0, down, rows):
        span = begin, min(begin + rows, down)
        for slot in range(count):
            _transform_image(slot, worker, first, worker, span, call, workspace)
        for p in range(call.tiling.side**2):
            _multiply_place(p, worker, worker, count * (span[1] - begin) * call.tiling.across, call, workspace)
        for slot in range(count):
            _finish_image(slot, worker, first, worker, span, call, workspace)


@compiled
def _forward(arrays, workspace, geometry, tiling, pool, flags, group):  # type: ignore[no-untyped-def]
    (x, kernel, bias, y, argmax), (relu, pooled, together) = arrays, flags
    workspace, geometry, tiling = ForwardWorkspace(*workspace), Geometry(*geometry), Tiling(*tiling)
    N, C_in, C_out = x.shape[0], x.shape[3], y.shape[3]
    (images, rows), tiles, places, whole = group, tiling.down * tiling.across, tiling.side**2, (0, tiling.down)
    table = np.empty((2, images * rows * tiling.across), np.int64)
    row_offsets(table[0], _whole_vectors(C_in))
    row_offsets(table[1], _whole_vectors(C_out))
    start, lower_bound = start_row(bias, C_out), ZERO if relu else NO_BOUND
    call = Forward(x, y, argmax, start, lower_bound, table, geometry, tiling, Geometry(*pool), pooled)
    parallel_for(C_in * ((C_out + NR - 1) // NR), places * kernel.size, _kernel_tiles, (kernel, workspace.U, C_in, tiling))
    work = places * tiles * C_in * C_out
    if not together:
        parallel_for((N + images - 1) // images, N * work, _forward_group, (call, workspace, group))
        return
    for first in range(0, N, images):
        count = min(images, N - first)
        parallel_for(count, count * work, _transform_image, (first, 0, whole, call, workspace))
        parallel_for(places, count * work, _multiply_place, (0, count * tiles, call, workspace))
        parallel_for(count, count * work, _finish_image, (first, 0, whole, call, workspace))


# --- gradients ----------------------------------------------------------------------


class BackwardWorkspace(NamedTuple):
    """Scratch memory of a backward pass, as in `ForwardWorkspace`.

    Attributes:
        V, dM: transformed tiles of the input and of the gradient at the map; a place of dM in panels (blocks, tiles, NR).
        dU: each chunk's gradient of the transformed kernel, (chunks, places * C_in, C_out); dU_total: their sum.
        transposed: the kernel with its channels exchanged, (r, r, C_out, C_in); U: that, transformed.
        panels: each thread's gradient at the map of one image, or a band of it, (threads, blocks, height, width, NR).
        totals: the bias's gradient for each chunk or slot, (chunks, blocks * NR).
    """

    V: Any
    dM: Any
    dU: Any
    dU_total: Any
    transposed: Any
    U: Any
    panels: Any
    totals: Any


def _backward_workspace(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], tiling: Tiling, group: Group, need_dx: bool
) -> BackwardWorkspace:
    (N, _, _, C_in), (r, _, _, C_out) = x_shape, kernel_shape
    together = tiling.side**2 * C_in * C_out > SMALL
    workers, chunks, blocks = (1, 1, blocks_of(C_out)) if together else (MOST, _chunks(N, tiling), blocks_of(C_out))
    tiles, places = group.images * group.rows * tiling.across, tiling.side**2
    dU = empty((chunks, places * C_in, C_out))
    return BackwardWorkspace(
        V=_places(workers, places, tiles * _whole(C_in)),
        dM=_places(workers, places, blocks * tiles * NR),
        dU=dU,
        dU_total=dU[0] if chunks == 1 else empty((places * C_in, C_out)),
        transposed=empty((r, r, C_out, C_in)) if need_dx else NO_SCRATCH,
        U=_places(1, places, blocks_of(C_in) * NR * blocks * NR) if need_dx else NO_SCRATCH[0],
        panels=empty((MOST, blocks, group.rows * tiling.m, tiling.across * tiling.m, NR)),
        totals=empty((group.images if together else chunks, blocks * NR)),
    )


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
    """`conv2d_backward` of float32, where it pays."""
    (N, H, W, C_in), C_out = x.shape, kernel.shape[3]
    tiling, geometry = _tiling(H, W, window)
    together = tiling.side**2 * C_in * C_out > SMALL
    chunks = 1 if together else _chunks(N, tiling)
    pooling = NO_POOL if pool is None else geometry_of(*window.output, pool)
    if together:
        group = _group(N, tiling, LARGE_GROUP)
    elif are_disjoint(pooling, dy.shape[1], dy.shape[2], *window.output):
        group = _group_or_band(-(-N // chunks), tiling, pooling)
    else:
        group = _group(-(-N // chunks), tiling, GROUP)
    workspace = _backward_workspace(x.shape, kernel.shape, tiling, group, need_dx)
    dx, dkernel, dbias = empty(x.shape) if need_dx else NO_SCRATCH, empty(kernel.shape), empty((C_out,))
    inputs = dy, dy if y is None else y, NO_ARGMAX if argmax is None else argmax, x, kernel
    flags = y is not None, pool is not None, need_dx, together
    shape = tuple(geometry), tuple(tiling), tuple(pooling), tuple(group)
    _backward(inputs, (dx, dkernel, dbias), tuple(workspace), shape, flags)
    return dx if need_dx else None, dkernel, dbias


class Backward(NamedTuple):
    """What each step of a backward pass is given."""

    x: Any
    gradient: Any  # an OutputGradient
    dx: Any
    tiles: Any  # a table: where a tile begins in a panel of dM, and where in V
    weights: Any  # a table: where a channel of the input begins in V, and where in dU
    geometry: Any
    tiling: Any
    need_dx: bool


@part
def _transform_both(slot: int, worker: int, first: int, own: int, total: int, span: Any, call: Any, workspace: Any) -> None:
    """V of image first + slot, and dM from dy behind its pooling and ReLU, in rows of tiles from span[0] to span[1].

    The map's sum is added to totals[total], or to the slot's own where that is negative.
    """
    n, gradient = first + slot, call.gradient
    _to_tiles(own, slot, call.x, n, workspace.V, span, call.geometry, call.tiling)
    totals = workspace.totals[slot if total < 0 else total]
    if gradient.pooled or gradient.relu:
        _gradient_to_tiles(own, slot, n, workspace.panels[worker], span, totals, call, workspace)
    else:
        _dy_to_tiles(own, slot, n, span, totals, call, workspace)


@part
def _gradient_to_tiles(own: int, slot: int, n: int, panel: Any, span: Any, totals: Any, call: Any, workspace: Any) -> None:
    """dM of the gradient at the map, led back into panels first."""
    gradient, (begin, end), (m, stride) = call.gradient, span, (call.tiling.m, call.gradient.pool.SH)
    windows = WHOLE
    if end - begin < call.tiling.down:
        windows = begin * m // stride, min((end * m + stride - 1) // stride, gradient.dy.shape[1])
        if end == call.tiling.down:
            clear(panel)  # the map may end before the band does
    fill_panels(n, gradient, windows, panel, (0, 0), totals)
    _, height, width, _ = panel.shape
    _pixels_to_tiles(own, slot, (address(panel), height * width * NR, NR), (height, width), end - begin, call, workspace)


@part
def _dy_to_tiles(own: int, slot: int, n: int, span: Any, totals: Any, call: Any, workspace: Any) -> None:
    """dM where dy is the gradient at the map: of its tiles as they lie.

    The sum of a tile is the value of its polynomial at the point 1, and so is there already.
    """
    tiling, dy, place = call.tiling, call.gradient.dy, AT_ONE * (call.tiling.side + 1)
    (_, OH, OW, C_out), top, rows = dy.shape, span[0] * call.tiling.m, span[1] - span[0]
    at = address(dy) + 4 * (n * OH + top) * OW * C_out
    _pixels_to_tiles(own, slot, (at, NR, C_out), (OH - top, OW), rows, call, workspace)
    for block in range((C_out + NR - 1) // NR):
        begin = (block * call.tiles.shape[1] + slot * tiling.down * tiling.across) * NR
        sums, total = workspace.dM[own, place], totals[block * NR : block * NR + NR]
        for tile in range(rows * tiling.across):
            values = sums[begin + tile * NR : begin + tile * NR + NR]
            for c in range(NR):
                total[c] += values[c]


@part
def _pixels_to_tiles(own: int, slot: int, source: Any, size: Any, rows: int, call: Any, workspace: Any) -> None:
    """dM = A dy A^T of so many rows of tiles.

    Args:
        source: the address of their first pixel, and the ways to the next NR channels and to the next pixel, in floats.
        size: height and width of what lies there, from that pixel on.
    """
    (at, block_step, column), (height, width), tiling = source, size, call.tiling
    row, step, C_out, m = width * column, workspace.dM.shape[2], workspace.dU.shape[2], tiling.m
    for block in range((C_out + NR - 1) // NR):
        target = address(workspace.dM[own]) + 4 * (block * call.tiles.shape[1] + slot * tiling.down * tiling.across) * NR
        for ty in range(rows):
            for tx in range(tiling.across):
                pixels = Grid(at + 4 * (block * block_step + ty * m * row + tx * m * column), row, column)
                edges = Edges(0, height - ty * m, 0, width - tx * m, 0, NO_BOUND)
                channels = min(NR, C_out - block * NR)
                apply(tiling.output_gradient, pixels, Grid(target, tiling.side * step, step), channels, edges)
                target += 4 * NR


@part
def _gradients_of_place(p: int, worker: int, own: int, chunk: int, tiles: int, add: bool, call: Any, workspace: Any) -> None:
    """dU_p (+)= V_p^T · dM_p, then dV_p = dM_p · U_p^T in V's place."""
    T, C_in, C_out = call.tiles.shape[1], call.weights.shape[1], workspace.dU.shape[2]
    width, blocks = _whole_vectors(C_in), (C_out + NR - 1) // NR
    V, dM, offsets, zeros = address(workspace.V[own, p]), address(workspace.dM[own, p]), address(call.weights), address(ZEROS)
    a = Rows(V, offsets, 0, width)
    for block in range(blocks):
        c = address(workspace.dU[chunk, p * C_in]) + 4 * block * NR
        tile = Tile(c, offsets + 8 * C_in, C_in, min(NR, C_out - block * NR), 0)
        start = Start(c, 1) if add else Start(zeros, 0)
        multiply(a, Panel(dM + 4 * block * T * NR, 0, NR), tile, start, tiles, tiles, NO_BOUND)
    if call.need_dx:
        b, offsets = address(workspace.U[0, p]), address(call.tiles)
        a = Rows(dM, offsets, T * NR, 1)
        for begin in range(0, C_in, NR):
            tile = Tile(V + 4 * begin, offsets + 8 * T, tiles, min(NR, width - begin), 0)
            multiply(a, Panel(b + 4 * begin * blocks * NR, NR * NR, NR), tile, Start(zeros, 0), C_out, NR, NO_BOUND)


@part
def _input_gradient(slot: int, worker: int, first: int, own: int, span: Any, call: Any, workspace: Any) -> None:
    """dx of image first + slot: the overlapping sum of B dV B^T of its tiles, in rows of them from span[0] to span[1]."""
    tiling, dx = call.tiling, call.dx
    if span[0] == 0:
        clear(dx[first + slot])
    width, step = _whole_vectors(dx.shape[3]), workspace.V.shape[2]
    at = address(workspace.V[own]) + 4 * slot * tiling.down * tiling.across * width
    for ty in range(span[0], span[1]):
        for tx in range(tiling.across):
            target, edges = _tile_of(dx, first + slot, ty, tx, call.geometry, tiling)
            apply(tiling.input_gradient, Grid(at, tiling.side * step, step), target, dx.shape[3], edges)
            at += 4 * width


@part
def _gradients_of_chunk(chunk: int, worker: int, call: Any, workspace: Any, group: Any) -> None:
    """All steps for a chunk of images, a group or a band after the other."""
    (images, rows), tiling = group, call.tiling
    N, chunks = call.x.shape[0], workspace.dU.shape[0]
    begin, end = chunk * N // chunks, (chunk + 1) * N // chunks
    for first in range(begin, end, images):
        count = min(images, end - first)
        for top in range(0, tiling.down, rows):
            span = top, min(top + rows, tiling.down)
            for slot in range(count):
                _transform_both(slot, worker, first, worker, chunk, span, call, workspace)
            tiles, add = count * (span[1] - top) * tiling.across, first > begin or top > 0
            for p in range(tiling.side**2):
                _gradients_of_place(p, worker, worker, chunk, tiles, add, call, workspace)
            if call.need_dx:
                for slot in range(count):
                    _input_gradient(slot, worker, first, worker, span, call, workspace)


@part
def _transpose(co: int, worker: int, kernel: Any, transposed: Any) -> None:
    """transposed[ky, kx, co, ci] = kernel[ky, kx, ci, co]."""
    KH, KW, C_in, _ = kernel.shape
    for ky in range(KH):
        for kx in range(KW):
            for ci in range(C_in):
                transposed[ky, kx, co, ci] = kernel[ky, kx, ci, co]


@part
def _from_kernel_tiles(ci: int, worker: int, dU: Any, dkernel: Any, tiling: Any) -> None:
    """dkernel[:, :, ci, :] = G^T dU G."""
    r, _, C_in, C_out = dkernel.shape
    step = C_in * C_out
    source = Grid(address(dU) + 4 * ci * C_out, tiling.side * step, step)
    apply(tiling.kernel_gradient, source, Grid(address(dkernel) + 4 * ci * C_out, r * step, step), C_out, EVERYWHERE)


@part
def _transform_kernel(kernel: Any, workspace: Any, tiling: Any) -> None:
    """U of the transposed kernel."""
    C_in, C_out = kernel.shape[2], kernel.shape[3]
    parallel_for(C_out, kernel.size, _transpose, (kernel, workspace.transposed))
    depth = (C_out + NR - 1) // NR * NR
    arguments = workspace.transposed, workspace.U, depth, tiling
    parallel_for(C_out * ((C_in + NR - 1) // NR), tiling.side**2 * kernel.size, _kernel_tiles, arguments)


@compiled
def _backward(inputs, outputs, workspace, shape, flags):  # type: ignore[no-untyped-def]
    (dy, y, argmax, x, kernel), (dx, dkernel, dbias), (relu, pooled, need_dx, together) = inputs, outputs, flags
    geometry, tiling, pool, group = Geometry(*shape[0]), Tiling(*shape[1]), Geometry(*shape[2]), shape[3]
    workspace = BackwardWorkspace(*workspace)
    N, C_in, C_out = x.shape[0], kernel.shape[2], kernel.shape[3]
    if relu or pooled:
        clear(workspace.panels)  # beyond the map it stays zero
    clear(workspace.totals)
    (images, rows), tiles, places, whole = group, tiling.down * tiling.across, tiling.side**2, (0, tiling.down)
    table, weights = np.empty((2, images * rows * tiling.across), np.int64), np.empty((2, C_in), np.int64)
    row_offsets(table[0], NR)
    row_offsets(table[1], _whole_vectors(C_in))
    row_offsets(weights[0], 1)
    row_offsets(weights[1], C_out)
    if need_dx:
        _transform_kernel(kernel, workspace, tiling)
    gradient = OutputGradient(dy, y, argmax, relu, pooled, pool, geometry.OH, geometry.OW)
    call = Backward(x, gradient, dx, table, weights, geometry, tiling, need_dx)
    work, dU, dU_total = 2 * places * tiles * C_in * C_out, workspace.dU, workspace.dU_total
    if together:
        for first in range(0, N, images):
            count = min(images, N - first)
            parallel_for(count, count * work, _transform_both, (first, 0, -1, whole, call, workspace))
            parallel_for(places, count * work, _gradients_of_place, (0, 0, count * tiles, first > 0, call, workspace))
            if need_dx:
                parallel_for(count, count * work, _input_gradient, (first, 0, whole, call, workspace))
    else:
        parallel_for(dU.shape[0], N * work, _gradients_of_chunk, (call, workspace, group))
    if dU.shape[0] > 1:
        parallel_for((dU.shape[1] + 7) // 8, dU.size, sum_chunks, (dU, dU_total))
    parallel_for(C_in, dU_total.size, _from_kernel_tiles, (dU_total, dkernel, tiling))
    sum_rows(workspace.totals, dbias)
