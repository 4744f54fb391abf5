"""Convolution with a third of the multiplications: 3×3, 4×4 and 5×5 kernels of stride 1, tile by tile.

`_transforms` has the algebra. A tile of 6×6 pixels is transformed, channel by channel; the sum
over channels is then 36 matrix products, one for each place p of the transformed tile,

    forward            M_p  = V_p · U_p            (tiles × C_in) · (C_in × C_out)
    kernel gradient    dU_p = V_p^T · dM_p         (C_in × tiles) · (tiles × C_out)
    input gradient     dV_p = dM_p · U_p^T         (tiles × C_out) · (C_out × C_in)

all by the micro-kernel; and M transformed back gives m×m pixels of output. The gradients are
the transposed of each step: no other algorithm, the same numbers. dM serves both of them.

Tiles of several images make one product. Where U is small, a task works through a group of
images alone, all in its core's L2. Where U is large (it would be read anew by each task), all
threads work on one group and share the 36 products.

Compare `conv`, which needs no memory for transformed tiles and takes every stride and dilation;
`pays` tells which is faster. The same tolerance holds for both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu import _transforms
from minicnn.backends.numba_cpu._compile import VL, compiled, part
from minicnn.backends.numba_cpu._microkernel import NR, multiply
from minicnn.backends.numba_cpu._panels import blocks_of, clear, fill_panels, start_row, unframe_image
from minicnn.backends.numba_cpu._parallel import parallel_for
from minicnn.backends.numba_cpu._pool import MOST, get_num_threads
from minicnn.backends.numba_cpu._transforms import SIDE, apply, transform
from minicnn.backends.numba_cpu._walk import CHUNKS, NO_FLOOR, Walk, frames_for, image_of, sum_chunks
from minicnn.backends.numba_cpu.pool import max_of_rows
from minicnn.shapes import window_output

__all__ = ["forward", "gradients", "pays"]

Array = Any
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Pool = tuple[Pair, Pair, Pads]  # window, strides, pads

PLACES = SIDE * SIDE
KERNELS = (3, 4, 5)
SMALL = 64 * 64  # C_in * C_out up to which U and dU stay in L2 beside a group's tiles
GROUP, LARGE_GROUP = 64, 512  # tiles of a group, if there are as many
MOST_BYTES = 32 << 20  # of one image's transformed tiles, for each thread


class Tiling(NamedTuple):
    """How a map is covered by tiles, and the addresses of its transforms."""

    m: int  # pixels along a tile of output
    down: int
    across: int
    input: int
    kernel: int
    output: int
    output_gradient: int
    input_gradient: int
    kernel_gradient: int


def _tiling(r: int, OH: int, OW: int) -> Tiling:
    m = SIDE + 1 - r
    sizes = {_transforms.INPUT: 3, _transforms.INPUT_GRADIENT: 3}  # the same for every r
    return Tiling(m, -(-OH // m), -(-OW // m), *(transform(kind, sizes.get(kind, r)) for kind in range(6)))


def _walk(r: int, tiling: Tiling, pads: Pads) -> Walk:
    """Over an image in a frame that all tiles fit in."""
    height, width = tiling.down * tiling.m + r - 1, tiling.across * tiling.m + r - 1
    return Walk(r, r, 1, 1, 1, 1, pads[0], pads[2], height, width)


def _whole(channels: int) -> int:
    """Channels, up to whole vectors."""
    return -(-channels // VL) * VL


_whole_vectors = part(_whole)


def _places(workers: int, floats: int) -> np.ndarray:
    """Memory for the 36 places of tiles: (workers, places, step), step at least `floats`.

    A tile's 36 vectors lie a step apart. An odd number of cache lines spreads them over all sets of the L1.
    """
    return empty((workers, PLACES, (-(-floats // 16) | 1) * 16))


def pays(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair) -> bool:
    """Whether this is faster than the direct way, by multiplications.

    A tile costs 36 products a pair of channels, and its transforms about 350 a channel, stored and read again; the
    kernel's transform about 900 a pair, which one or two small images do not earn back (both measured).
    """
    r, KW, C_in, C_out = kernel_shape
    if (strides, dilation) != ((1, 1), (1, 1)) or r != KW or r not in KERNELS:
        return False
    OH, OW = window_output((x_shape[1], x_shape[2]), (r, r), strides, pads, dilation)
    N, m = x_shape[0], SIDE + 1 - r
    tiles = -(-OH // m) * -(-OW // m)
    channels = _whole(C_in) + _whole(C_out)
    if tiles * PLACES * 4 * channels > MOST_BYTES:
        return False
    direct = OH * OW * r * r * C_in * max(C_out, VL)
    return N * tiles * (PLACES * C_in * C_out + 350 * channels) + 900 * C_in * C_out < N * direct


def _group(N: int, tiles: int, wanted: int) -> int:
    """Images whose tiles are multiplied together."""
    return max(1, min(N, -(-wanted // tiles)))


# --- the steps, for one image or one place --------------------------------------------


@part
def _to_tiles(image: int, walk: Any, C_in: int, V: Any, own: int, slot: int, tiling: Any) -> None:
    """V[own, :, tiles of this slot, :] = B^T d B of every tile d of the image at this address."""
    width, step = _whole_vectors(C_in), V.shape[2]
    at = V.ctypes.data + 4 * (own * PLACES * step + slot * tiling.down * tiling.across * width)
    for ty in range(tiling.down):
        for tx in range(tiling.across):
            source = image + 4 * tiling.m * (ty * walk.width + tx) * C_in
            apply(tiling.input, source, walk.width * C_in, C_in, at, SIDE * step, step, C_in, 0, 0, 0, NO_FLOOR)
            at += 4 * width


@part
def _from_tiles(M: Any, own: int, slot: int, y: int, OH: int, OW: int, C_out: int, start: Any, tiling: Any, floor: Any) -> None:
    """The map at address y (OH, OW, C_out) = max(floor, A^T M A + start) of this slot's tiles."""
    width, step, m = _whole_vectors(C_out), M.shape[2], tiling.m
    at = M.ctypes.data + 4 * (own * PLACES * step + slot * tiling.down * tiling.across * width)
    for ty in range(tiling.down):
        for tx in range(tiling.across):
            target = y + 4 * m * (ty * OW + tx) * C_out
            rows, columns = OH - ty * m, OW - tx * m
            apply(
                tiling.output, at, SIDE * step, step, target, OW * C_out, C_out, C_out, rows, columns, start.ctypes.data, floor
            )
            at += 4 * width


@part
def _products(p: int, V: Any, own: int, tiles: int, U: Any, M: Any, table: Any, zeros: Any, C_in: int, C_out: int) -> None:
    """M_p = V_p · U_p for so many tiles. U: (1, places, step), a place in panels (C_out in blocks, C_in, NR)."""
    width = _whole_vectors(C_out)
    a = V.ctypes.data + 4 * (own * PLACES + p) * V.shape[2]
    b = U.ctypes.data + 4 * p * U.shape[2]
    c = M.ctypes.data + 4 * (own * PLACES + p) * M.shape[2]
    for begin in range(0, C_out, NR):
        multiply(
            a, table.ctypes.data, tiles, 1, 0, C_in, 1, b + 4 * begin * C_in, 0, NR, zeros.ctypes.data, 0, c + 4 * begin,
            table.ctypes.data + 8 * table.shape[1], min(NR, width - begin), NO_FLOOR,
        )  # fmt: skip


@part
def _kernel_tiles(task: int, worker: int, kernel: Any, U: Any, depth: int, tiling: Any) -> None:
    """U = G g G^T of the weights of one channel k for NR others. kernel: (r, r, K, C); a place of U: (C in blocks, depth, NR).

    Tasks of one block follow each other, so that memory is written in 36 straight streams.
    """
    r, _, K, C = kernel.shape
    step, k, begin = U.shape[2], task % K, task // K * NR
    source = kernel.ctypes.data + 4 * (k * C + begin)
    target = U.ctypes.data + 4 * (begin * depth + k * NR)
    apply(tiling.kernel, source, r * K * C, K * C, target, SIDE * step, step, min(NR, C - begin), 0, 0, 0, NO_FLOOR)


# --- forward ------------------------------------------------------------------------


def forward(
    x: Array, kernel: Array, bias: Array | None, pads: Pads, floor: np.float32, pool: Pool | None = None
) -> tuple[Array, Array | None]:
    """y = max(floor, convolution + bias), and max-pooled with `pool`; with the winners of the pooling, or None.

    Float32, where `pays`.
    """
    N, _, _, C_in = x.shape
    r, _, _, C_out = kernel.shape
    OH, OW = window_output(x.shape[1:3], (r, r), (1, 1), pads, (1, 1))
    tiling = _tiling(r, OH, OW)
    walk, tiles = _walk(r, tiling, pads), tiling.down * tiling.across
    images = _group(N, tiles, GROUP)
    together = C_in * C_out > SMALL or -(-N // images) < 2 * get_num_threads()
    if together:
        images = _group(N, tiles, LARGE_GROUP)
    workers = 1 if together else MOST
    V, M = (_places(workers, images * tiles * _whole(channels)) for channels in (C_in, C_out))
    U, table = _places(1, blocks_of(C_out) * C_in * NR), empty((2, images * tiles), np.int64)
    frames = frames_for(walk, x.shape, walk.height)
    if pool is None:
        y, winners, maps = empty((N, OH, OW, C_out)), None, empty((1, 1, 1, 1))
        sizes: Any = ((1, 1), (1, 1), (0, 0, 0, 0))
    else:
        PH, PW = window_output((OH, OW), pool[0], pool[1], pool[2])
        y = empty((N, PH, PW, C_out))
        winners = empty(y.shape, np.uint8 if pool[0][0] * pool[0][1] <= 256 else np.int32)
        maps, sizes = empty((MOST, OH, OW, C_out)), pool
    none = empty((1, 1, 1, 1), np.uint8) if winners is None else winners
    size = OH, OW
    start = start_row(bias, C_out)
    _forward(x, kernel, start, y, none, U, V, M, frames, maps, table, walk, tiling, size, sizes, floor, images, together)
    return y, winners


@part
def _transform_image(slot: int, worker: int, first: int, own: int, x: Any, V: Any, frames: Any, walk: Any, tiling: Any) -> None:
    _to_tiles(image_of(x, first + slot, 0, frames, worker, walk), walk, x.shape[3], V, own, slot, tiling)


@part
def _multiply_place(
    p: int, worker: int, own: int, tiles: int, V: Any, U: Any, M: Any, table: Any, zeros: Any, C_in: int, C_out: int
) -> None:
    _products(p, V, own, tiles, U, M, table, zeros, C_in, C_out)


@part
def _finish_image(
    slot: int, worker: int, first: int, own: int, M: Any, y: Any, winners: Any, maps: Any, start: Any, tiling: Any, size: Any,
    pool: Any, floor: Any,
) -> None:  # fmt: skip
    OH, OW = size
    C_out, n = y.shape[3], first + slot
    if maps.size == 1:
        _from_tiles(M, own, slot, y.ctypes.data + 4 * n * OH * OW * C_out, OH, OW, C_out, start, tiling, floor)
        return
    window, strides, pads = pool
    rows = maps[worker]
    _from_tiles(M, own, slot, rows.ctypes.data, OH, OW, C_out, start, tiling, floor)
    max_of_rows(rows, 0, OH, y, winners, n, 0, y.shape[1], window, strides, pads)


@part
def _forward_group(
    task: int, worker: int, x: Any, start: Any, y: Any, winners: Any, U: Any, V: Any, M: Any, frames: Any, maps: Any,
    table: Any, zeros: Any, walk: Any, tiling: Any, size: Any, pool: Any, floor: Any, images: int,
) -> None:  # fmt: skip
    first = task * images
    count = min(images, x.shape[0] - first)
    for slot in range(count):
        _transform_image(slot, worker, first, worker, x, V, frames, walk, tiling)
    for p in range(PLACES):
        _products(p, V, worker, count * tiling.down * tiling.across, U, M, table, zeros, x.shape[3], y.shape[3])
    for slot in range(count):
        _finish_image(slot, worker, first, worker, M, y, winners, maps, start, tiling, size, pool, floor)


@compiled
def _forward(  # type: ignore[no-untyped-def]
    x, kernel, start, y, winners, U, V, M, frames, maps, table, walk, tiling, size, pool, floor, images, together
):
    N, C_in, C_out = x.shape[0], x.shape[3], y.shape[3]
    parallel_for(C_in * ((C_out + NR - 1) // NR), PLACES * kernel.size, _kernel_tiles, (kernel, U, C_in, tiling))
    for t in range(table.shape[1]):
        table[0, t], table[1, t] = t * _whole_vectors(C_in), t * _whole_vectors(C_out)
    zeros = np.zeros(NR, np.float32)
    tiles = tiling.down * tiling.across
    work = PLACES * tiles * C_in * C_out
    if not together:
        parallel_for(
            (N + images - 1) // images,
            N * work,
            _forward_group,
            (x, start, y, winners, U, V, M, frames, maps, table, zeros, walk, tiling, size, pool, floor, images),
        )
        return
    for first in range(0, N, images):
        count = min(images, N - first)
        parallel_for(count, count * work, _transform_image, (first, 0, x, V, frames, walk, tiling))
        parallel_for(PLACES, count * work, _multiply_place, (0, count * tiles, V, U, M, table, zeros, C_in, C_out))
        parallel_for(count, count * work, _finish_image, (first, 0, M, y, winners, maps, start, tiling, size, pool, floor))


# --- gradients ----------------------------------------------------------------------


def gradients(
    dy: Array,
    x: Array,
    y: Array | None,
    winners: Array | None,
    kernel: Array,
    pads: Pads,
    pool: Pool,
    need_dx: bool,
) -> tuple[Array | None, Array, Array]:
    """dx (or None), dkernel and dbias of a convolution, with y behind a ReLU, with winners behind a max pooling.

    Float32, where `pays`.
    """
    N, _, _, C_in = x.shape
    r, _, _, C_out = kernel.shape
    OH, OW = window_output(x.shape[1:3], (r, r), (1, 1), pads, (1, 1))
    tiling = _tiling(r, OH, OW)
    walk, tiles = _walk(r, tiling, pads), tiling.down * tiling.across
    together = C_in * C_out > SMALL
    chunks = 1 if together else min(N, CHUNKS)
    images = _group(-(-N // chunks), tiles, LARGE_GROUP if together else GROUP)
    workers, blocks = 1 if together else MOST, blocks_of(C_out)
    V, dM = _places(workers, images * tiles * _whole(C_in)), _places(workers, blocks * images * tiles * NR)
    dU = empty((chunks, PLACES * C_in, C_out))
    dU_total = dU[0] if chunks == 1 else empty((PLACES * C_in, C_out))
    table, weights = empty((2, images * tiles), np.int64), empty((2, C_in), np.int64)
    frames = frames_for(walk, x.shape, walk.height)
    panels = empty((MOST, blocks, tiling.down * tiling.m, tiling.across * tiling.m, NR))
    totals = empty((images if together else chunks, blocks * NR))
    scratch = empty((MOST, dy.shape[2], NR))
    dkernel, dbias = empty(kernel.shape), empty((C_out,))
    if need_dx:
        dx = empty(x.shape)
        turned, U = empty((r, r, C_out, C_in)), _places(1, blocks_of(C_in) * NR * blocks * NR)
        dframes = empty((MOST, walk.height, walk.width, _whole(C_in)))
    else:
        dx = turned = dframes = empty((1, 1, 1, 1))
        U = empty((1, 1, 1))
    window = (*pool[0], *pool[1], pool[2][0], pool[2][2], OH, OW)
    relu, pooled = y is not None, winners is not None
    y = dy if y is None else y
    winners = empty((1, 1, 1, 1), np.uint8) if winners is None else winners
    _gradients(
        (dy, y, winners, x, kernel), (dx, dkernel, dbias), (turned, U, V, dM, dU, dU_total), (frames, dframes, panels),
        (totals, scratch), (table, weights), walk, tiling, window, (relu, pooled, need_dx, together), images,
    )  # fmt: skip
    return dx if need_dx else None, dkernel, dbias


@part
def _transform_both(
    slot: int, worker: int, first: int, own: int, total: int, sources: Any, V: Any, dM: Any, room: Any, sums: Any,
    T: int, walk: Any, tiling: Any, window: Any, flags: Any,
) -> None:  # fmt: skip
    """V of image first + slot, and dM from dy behind its pooling and ReLU.

    The map's sum is added to totals[total], or to the slot's own where that is negative.
    """
    dy, y, winners, x, _ = sources
    frames, _, panels = room
    totals, scratch = sums
    relu, pooled, _, _ = flags
    n, panel = first + slot, panels[worker]
    _to_tiles(image_of(x, n, 0, frames, worker, walk), walk, x.shape[3], V, own, slot, tiling)
    fill_panels(n, dy, y, winners, panel, 0, 0, window, relu, pooled, scratch[worker], totals[slot if total < 0 else total])
    blocks, _, width, _ = panel.shape
    step, m = dM.shape[2], tiling.m
    for block in range(blocks):
        at = dM.ctypes.data + 4 * (own * PLACES * step + (block * T + slot * tiling.down * tiling.across) * NR)
        for ty in range(tiling.down):
            for tx in range(tiling.across):
                source = panel.ctypes.data + 4 * ((block * panel.shape[1] + ty * m) * width + tx * m) * NR
                apply(tiling.output_gradient, source, width * NR, NR, at, SIDE * step, step, NR, 0, 0, 0, NO_FLOOR)
                at += 4 * NR


@part
def _gradients_of_place(
    p: int, worker: int, own: int, chunk: int, tiles: int, add: bool, V: Any, dM: Any, U: Any, dU: Any, tables: Any,
    zeros: Any, need_dx: bool,
) -> None:  # fmt: skip
    """dU_p (+)= V_p^T · dM_p, then dV_p = dM_p · U_p^T in V's place."""
    table, weights = tables
    T, C_in, C_out = table.shape[1], weights.shape[1], dU.shape[2]
    width, blocks = _whole_vectors(C_in), (C_out + NR - 1) // NR
    a = V.ctypes.data + 4 * (own * PLACES + p) * V.shape[2]
    of_dM = dM.ctypes.data + 4 * (own * PLACES + p) * dM.shape[2]
    for block in range(blocks):
        c = dU.ctypes.data + 4 * ((chunk * PLACES + p) * C_in * C_out + block * NR)
        multiply(
            a, weights.ctypes.data, C_in, 1, 0, tiles, width, of_dM + 4 * block * T * NR, 0, NR,
            c if add else zeros.ctypes.data, 1 if add else 0, c, weights.ctypes.data + 8 * C_in, min(NR, C_out - block * NR),
            NO_FLOOR,
        )  # fmt: skip
    if need_dx:
        b = U.ctypes.data + 4 * p * U.shape[2]
        for begin in range(0, C_in, NR):
            multiply(
                of_dM, table.ctypes.data, tiles, blocks, T * NR, NR, 1, b + 4 * begin * blocks * NR, NR * NR, NR,
                zeros.ctypes.data, 0, a + 4 * begin, table.ctypes.data + 8 * T, min(NR, width - begin), NO_FLOOR,
            )  # fmt: skip


@part
def _input_gradient(
    slot: int, worker: int, first: int, own: int, V: Any, dx: Any, dframes: Any, walk: Any, tiling: Any
) -> None:
    """dx of image first + slot: the overlapping sum of B dV B^T of its tiles."""
    frame = dframes[worker]
    clear(frame.reshape(frame.size))
    width, step, m = frame.shape[2], V.shape[2], tiling.m
    at = V.ctypes.data + 4 * (own * PLACES * step + slot * tiling.down * tiling.across * width)
    for ty in range(tiling.down):
        for tx in range(tiling.across):
            target = frame.ctypes.data + 4 * m * (ty * walk.width + tx) * width
            apply(tiling.input_gradient, at, SIDE * step, step, target, walk.width * width, width, width, 0, 0, 0, NO_FLOOR)
            at += 4 * width
    unframe_image(frame, walk.top, walk.left, dx, first + slot)


@part
def _gradients_of_chunk(
    chunk: int, worker: int, sources: Any, dx: Any, products: Any, room: Any, sums: Any, tables: Any, zeros: Any, walk: Any,
    tiling: Any, window: Any, flags: Any, images: int,
) -> None:  # fmt: skip
    U, V, dM, dU = products
    N, chunks, need_dx = sources[0].shape[0], dU.shape[0], flags[2]
    T = tables[0].shape[1]
    begin, end = chunk * N // chunks, (chunk + 1) * N // chunks
    for first in range(begin, end, images):
        count = min(images, end - first)
        for slot in range(count):
            _transform_both(slot, worker, first, worker, chunk, sources, V, dM, room, sums, T, walk, tiling, window, flags)
        tiles = count * tiling.down * tiling.across
        for p in range(PLACES):
            _gradients_of_place(p, worker, worker, chunk, tiles, first > begin, V, dM, U, dU, tables, zeros, need_dx)
        if need_dx:
            for slot in range(count):
                _input_gradient(slot, worker, first, worker, V, dx, room[1], walk, tiling)


@part
def _turn(co: int, worker: int, kernel: Any, turned: Any) -> None:
    """turned[ky, kx, co, ci] = kernel[ky, kx, ci, co]."""
    KH, KW, C_in, _ = kernel.shape
    for ky in range(KH):
        for kx in range(KW):
            for ci in range(C_in):
                turned[ky, kx, co, ci] = kernel[ky, kx, ci, co]


@part
def _from_kernel_tiles(ci: int, worker: int, dU: Any, dkernel: Any, tiling: Any) -> None:
    """dkernel[:, :, ci, :] = G^T dU G."""
    r, _, C_in, C_out = dkernel.shape
    step = C_in * C_out
    source, target = dU.ctypes.data + 4 * ci * C_out, dkernel.ctypes.data + 4 * ci * C_out
    apply(tiling.kernel_gradient, source, SIDE * step, step, target, r * step, step, C_out, 0, 0, 0, NO_FLOOR)


@compiled
def _gradients(sources, found, products, room, sums, tables, walk, tiling, window, flags, images):  # type: ignore[no-untyped-def]
    _, _, _, x, kernel = sources
    dx, dkernel, dbias = found
    turned, U, V, dM, dU, dU_total = products
    totals, panels = sums[0], room[2]
    table, weights = tables
    _, _, need_dx, together = flags
    N, C_in, C_out = x.shape[0], kernel.shape[2], kernel.shape[3]
    zeros = np.zeros(NR, np.float32)
    clear(panels.reshape(panels.size))  # beyond the map it stays zero
    clear(totals.reshape(totals.size))
    for t in range(table.shape[1]):
        table[0, t], table[1, t] = t * NR, t * _whole_vectors(C_in)
    for ci in range(C_in):
        weights[0, ci], weights[1, ci] = ci, ci * C_out
    if need_dx:
        if C_out % NR:
            clear(U.reshape(U.size))
        parallel_for(C_out, kernel.size, _turn, (kernel, turned))
        blocks = (C_in + NR - 1) // NR
        parallel_for(C_out * blocks, PLACES * kernel.size, _kernel_tiles, (turned, U, (C_out + NR - 1) // NR * NR, tiling))
    tiles = tiling.down * tiling.across
    work = 2 * PLACES * tiles * C_in * C_out
    if together:
        for first in range(0, N, images):
            count = min(images, N - first)
            parallel_for(
                count,
                count * work,
                _transform_both,
                (first, 0, -1, sources, V, dM, room, sums, table.shape[1], walk, tiling, window, flags),
            )
            parallel_for(
                PLACES,
                count * work,
                _gradients_of_place,
                (0, 0, count * tiles, first > 0, V, dM, U, dU, tables, zeros, need_dx),
            )
            if need_dx:
                parallel_for(count, count * work, _input_gradient, (first, 0, V, dx, room[1], walk, tiling))
    else:
        parallel_for(
            dU.shape[0],
            N * work,
            _gradients_of_chunk,
            (sources, dx, (U, V, dM, dU), room, sums, tables, zeros, walk, tiling, window, flags, images),
        )
    if dU.shape[0] > 1:
        parallel_for((dU.shape[1] + 7) // 8, dU.size, sum_chunks, (dU, dU_total))
    parallel_for(C_in, dU_total.size, _from_kernel_tiles, (dU_total, dkernel, tiling))
    clear(dbias)
    for row in range(totals.shape[0]):
        for co in range(C_out):
            dbias[co] += totals[row, co]
