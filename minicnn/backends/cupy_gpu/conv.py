"""Convolution as implicit GEMM: one tiled product, addressed in three ways (`kernels/gemm.cuh`).

| | rows | columns | summed over |
|---|---|---|---|
| forward | n, oy, ox | co | ky, kx, ci |
| input gradient | n, h, w | ci | ky, kx, co |
| kernel gradient | ky, kx, ci | co | n, oy, ox |

Where rows and columns make too few tiles to fill a card, the sum is cut into chunks, which a
second kernel adds in order. Tiles and chunks follow from shapes alone and nothing is added
atomically: one seed gives the same bits on every run.

A ReLU costs no pass over memory of its own: forwards it is applied before a result is written,
backwards where the gradient is read anyway. Groups of channels are left to the reference's
lines; their product is cuBLAS's, so that a step with groups cannot be captured.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from minicnn.backends.cupy_gpu.compile import (
    THREADS,
    blocks,
    column_chunks,
    empty,
    inputs,
    launch,
    real_type,
    tf32,
    vector_width,
)
from minicnn.backends.cupy_gpu.pool import maxpool2d_backward, maxpool2d_forward, maxpool2d_relu_backward
from minicnn.backends.reference import conv as reference
from minicnn.backends.types import Array, Window

_FULL = 200  # tiles that keep a large card busy
_LEAST_DEPTH = 128  # products a chunk should have, to be worth adding up


class Tile(NamedTuple):
    """What a block and a thread of it own, rows x columns, and how far a block steps along the sum."""

    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    THREAD_M: int
    THREAD_N: int

    @property
    def threads(self) -> int:
        return (self.BLOCK_M // self.THREAD_M) * (self.BLOCK_N // self.THREAD_N)

    def covering(self, rows: int, cols: int) -> int:
        """How many tiles cover a matrix."""
        return -(-rows // self.BLOCK_M) * -(-cols // self.BLOCK_N)


TILES = {
    "16 columns": Tile(128, 16, 16, 4, 4),
    "32 columns": Tile(128, 32, 16, 8, 4),
    "few rows": Tile(32, 64, 16, 4, 4),
    "square": Tile(64, 64, 16, 4, 4),
    "tall": Tile(128, 64, 16, 8, 4),
    "large": Tile(128, 128, 16, 8, 8),
}


def choose_tile(rows: int, cols: int, dtype: str) -> Tile:
    """The largest tile (fewest reads for a product) of which there are still enough, fitted to narrow matrices."""
    if cols <= 16:
        return TILES["16 columns"]
    if cols <= 32:
        return TILES["32 columns"]
    if rows <= 32:
        return TILES["few rows"]
    for name in ("large", "tall"):
        # Two pairs of such tiles in float64 would not fit into a block's 48 KiB of shared memory.
        if dtype == "float32" and cols % TILES[name].BLOCK_N == 0 and TILES[name].covering(rows, cols) >= _FULL:
            return TILES[name]
    return TILES["square"]


def choose_chunk(tiles: int, depth: int, step: int) -> int:
    """How much of a sum over `depth` one block adds: all, unless there are few tiles. A multiple of `step`."""
    chunks = min(-(-_FULL // tiles), depth // _LEAST_DEPTH) if tiles < _FULL // 2 else 1
    return -(-depth // max(chunks, 1) // step) * step


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False, pool: Window | None = None
) -> tuple[Array, Array | None]:
    """A block owns a tile of output pixels and channels. A pooling is a launch of its own."""
    if window.groups > 1:
        return reference.conv2d_forward(x, kernel, bias, window, relu, pool)
    x, kernel, bias = inputs("conv2d_forward", x, kernel, bias)
    (KH, KW, C_in, C_out), (OH, OW), N = kernel.shape, window.output, len(x)
    vectors = {"VECTOR": vector_width(C_in, x), "KERNEL_VECTOR": vector_width(C_out, kernel)}
    geometry = _geometry(x.shape, kernel.shape, window)
    product = _Product("conv2d_forward", N * OH * OW, C_out, KH * KW * C_in, geometry, vectors)
    y = _multiply(product, (x, kernel, bias), (N, OH, OW, C_out), bias, (int(relu),))
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
    """dbias comes from the pass behind the ReLU. With ReLU and pooling that pass reads the pooled pixels alone:
    each dy goes to one pixel of the convolution's output, which leaves the sum as it is."""
    if window.groups > 1:
        return reference.conv2d_backward(dy, x, kernel, window, y, pool, argmax, need_dx)
    z_shape = (len(x), *window.output, kernel.shape[3])
    if pool is not None and y is None:
        dy, pool = maxpool2d_backward(dy, argmax, z_shape, pool), None
    dz, dbias = _relu_and_bias_backward(dy, y, need_dz=pool is None)
    if pool is not None:
        dz = maxpool2d_relu_backward(dy, argmax, y, z_shape, pool)
    dx = _backward_input(dz, kernel, x.shape, window) if need_dx else None
    return dx, _backward_kernel(dz, x, kernel.shape, window), dbias


def conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """The reference's, for groups."""
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
    product = _Product("conv2d_backward_input", rows, C_in, depth, geometry, vectors, phases=SH * SW)
    return _multiply(product, (dz, kernel), x_shape)


def _backward_kernel(dz: Array, x: Array, kernel_shape: tuple[int, ...], window: Window) -> Array:
    """dkernel. A block owns a tile of taps and channels, over one chunk of the output pixels of all images."""
    dz, x = inputs("conv2d_backward", dz, x)
    (N, OH, OW, C_out), (KH, KW, C_in, _) = dz.shape, kernel_shape
    vectors = {"VECTOR": vector_width(C_in, x), "KERNEL_VECTOR": vector_width(C_out, dz)}
    geometry = _geometry(x.shape, kernel_shape, window)
    product = _Product("conv2d_backward_kernel", KH * KW * C_in, C_out, N * OH * OW, geometry, vectors)
    return _multiply(product, (x, dz), kernel_shape)


def _relu_and_bias_backward(dy: Array, y: Array | None, need_dz: bool) -> tuple[Array | None, Array]:
    """dz, which is dy without a ReLU, and behind one dy where y > 0, else 0 (None without `need_dz`); and dbias,
    its sum over the pixels. One pass: a block adds one chunk of pixels, and the chunks are added in order."""
    dy, y = inputs("conv2d_backward", dy, y)
    C = dy.shape[-1]
    rows = dy.size // C
    grid, rows_per_chunk = column_chunks(rows, C)
    partial = empty((grid[1], C), dy.dtype)
    dz = dy if y is None else empty(dy.shape, dy.dtype) if need_dz else None
    name, arrays = ("bias_backward", (dy,)) if y is None else ("relu_bias_backward", (dy, y, dz))
    launch("bias.cu", name, grid, (32, 8), (*arrays, partial, rows, rows_per_chunk), real_type(dy), {"C": C})
    return dz, _sum_chunks(partial)


class _Product(NamedTuple):
    """A matrix product (rows, depth) x (depth, columns) by the kernel `name`, and what that is compiled with."""

    name: str
    rows: int
    cols: int
    depth: int
    geometry: dict[str, int]
    vectors: dict[str, int]  # how many channels one load takes
    phases: int = 1  # products of these sizes


def _geometry(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> dict[str, int]:
    """The constants of `kernels/patches.cuh`."""
    (_, H, W, C_in), (KH, KW, _, C_out), (OH, OW) = x_shape, kernel_shape, window.output
    (SH, SW), (DH, DW), (top, _, left, _) = window.strides, window.dilation, window.pads
    names = ("H", "W", "C_IN", "KH", "KW", "C_OUT", "OH", "OW", "SH", "SW", "DH", "DW", "TOP", "LEFT")
    return dict(zip(names, (H, W, C_in, KH, KW, C_out, OH, OW, SH, SW, DH, DW, top, left)))


def _multiply(
    product: _Product,
    operands: tuple[Array | None, ...],
    shape: tuple[int, ...],
    bias: Array | None = None,
    relu: tuple[int, ...] = (),
) -> Array:
    """Launch a product; a result of `shape`. `relu` is that argument of the kernel, if it has one."""
    name, rows, cols, depth, geometry, vectors, phases = product
    first: Array = operands[0]
    tile = choose_tile(rows, cols, first.dtype.name)
    chunk = choose_chunk(tile.covering(rows, cols) * phases, depth, tile.BLOCK_K)
    chunks = -(-depth // chunk)
    out = empty((chunks, *shape), first.dtype)
    grid = (-(-rows // tile.BLOCK_M), -(-cols // tile.BLOCK_N), chunks * phases)
    constants = {**tile._asdict(), **vectors, "TF32": int(tf32() and first.dtype.name == "float32")}
    arguments = (*operands, out, len(first), chunk, *relu)
    launch(f"{name}.cu", name, grid, (tile.threads,), arguments, real_type(first), geometry, constants)
    return out[0] if chunks == 1 else _sum_chunks(out, bias, *relu)


def _sum_chunks(partial: Array, bias: Array | None = None, relu: int = 0) -> Array:
    """The sum over the first axis, in order, plus `bias` along the last; with `relu` max(that, 0)."""
    y = empty(partial.shape[1:], partial.dtype)
    arguments = (partial, bias, y, len(partial), y.size, relu)
    launch("chunks.cu", "sum_chunks", blocks(y.size), (THREADS,), arguments, real_type(y), {"C": y.shape[-1]})
    return y
