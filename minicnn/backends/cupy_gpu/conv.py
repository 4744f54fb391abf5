"""Convolution as implicit GEMM: one tiled product, addressed in three ways (`kernels/gemm.cuh`).

| | rows | columns | summed over |
|---|---|---|---|
| forward | n, oy, ox | co | ky, kx, ci |
| input gradient | n, h, w | ci | ky, kx, co |
| kernel gradient | ky, kx, ci | co | n, oy, ox |

Where rows and columns make too few tiles to fill a card, the sum is cut into chunks, which a
second kernel adds in order. Tiles and chunks follow from shapes alone and nothing is added
atomically: one seed gives the same bits on every run.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from minicnn.backends.cupy_gpu.compile import C_TYPES, THREADS, blocks, empty, inputs, launch, tf32, vector_width
from minicnn.backends.spec import Array, Pads, Pair
from minicnn.shapes import window_output

__all__ = ["conv2d_backward_input", "conv2d_backward_kernel", "conv2d_forward", "convolution", "sum_chunks"]

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


def conv2d_forward(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """A block owns a tile of output pixels and channels."""
    return convolution(x, kernel, bias, strides, pads, dilation, relu=False)


def convolution(x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, relu: bool) -> Array:
    """`conv2d_forward`; with `relu` max(that, 0), before a tile is written."""
    x, kernel, bias = inputs("conv2d_forward", x, kernel, bias)
    N, H, W, C_in = x.shape
    KH, KW, _, C_out = kernel.shape
    OH, OW = window_output((H, W), (KH, KW), strides, pads, dilation)
    geometry = _geometry(x.shape, kernel.shape, (OH, OW), strides, pads, dilation)
    vectors = {"VECTOR": vector_width(C_in, x), "KERNEL_VECTOR": vector_width(C_out, kernel)}
    sizes = (N * OH * OW, C_out, KH * KW * C_in)
    return _product("conv2d_forward", (x, kernel, bias), (N, OH, OW, C_out), sizes, geometry, vectors, bias, (int(relu),))


def conv2d_backward_input(
    dy: Array, kernel: Array, x_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """Gathers: a block owns a tile of input pixels and channels, of one phase of the stride."""
    dy, kernel = inputs("conv2d_backward_input", dy, kernel)
    N, H, W, C_in = x_shape
    KH, KW, _, C_out = kernel.shape
    SH, SW = strides
    geometry = _geometry(x_shape, kernel.shape, dy.shape[1:3], strides, pads, dilation)
    geometry["PERIOD_Y"], geometry["PERIOD_X"] = SH // gcd(SH, dilation[0]), SW // gcd(SW, dilation[1])
    depth = -(-KH // geometry["PERIOD_Y"]) * -(-KW // geometry["PERIOD_X"]) * C_out
    rows = N * -(-H // SH) * -(-W // SW)
    vectors = {"VECTOR": vector_width(C_out, dy, kernel)}
    return _product("conv2d_backward_input", (dy, kernel), x_shape, (rows, C_in, depth), geometry, vectors, phases=SH * SW)


def conv2d_backward_kernel(
    x: Array, dy: Array, kernel_shape: tuple[int, ...], strides: Pair, pads: Pads, dilation: Pair
) -> Array:
    """A block owns a tile of taps and channels, over one chunk of the output pixels of all images."""
    x, dy = inputs("conv2d_backward_kernel", x, dy)
    N, OH, OW, C_out = dy.shape
    KH, KW, C_in, _ = kernel_shape
    geometry = _geometry(x.shape, kernel_shape, (OH, OW), strides, pads, dilation)
    vectors = {"VECTOR": vector_width(C_in, x), "KERNEL_VECTOR": vector_width(C_out, dy)}
    sizes = (KH * KW * C_in, C_out, N * OH * OW)
    return _product("conv2d_backward_kernel", (x, dy), kernel_shape, sizes, geometry, vectors)


def sum_chunks(partial: Array, bias: Array | None = None, relu: int = 0) -> Array:
    """The sum over the first axis, in order, plus `bias` along the last; with `relu` max(that, 0)."""
    y = empty(partial.shape[1:], partial.dtype)
    arguments = (partial, bias, y, len(partial), y.size, relu)
    launch(
        "chunks.cu", "sum_chunks", blocks(y.size), (THREADS,), arguments, {"real": C_TYPES[y.dtype.name]}, {"C": y.shape[-1]}
    )
    return y


def _geometry(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], output: Pair, strides: Pair, pads: Pads, dilation: Pair
) -> dict[str, int]:
    """The constants of `kernels/patches.cuh`."""
    (_, H, W, C_in), (KH, KW, _, C_out), (OH, OW) = x_shape, kernel_shape, output
    (SH, SW), (DH, DW), (top, _, left, _) = strides, dilation, pads
    names = ("H", "W", "C_IN", "KH", "KW", "C_OUT", "OH", "OW", "SH", "SW", "DH", "DW", "TOP", "LEFT")
    return dict(zip(names, (H, W, C_in, KH, KW, C_out, OH, OW, SH, SW, DH, DW, top, left)))


def _product(
    name: str,
    operands: tuple[Array | None, ...],
    shape: tuple[int, ...],
    sizes: tuple[int, int, int],
    geometry: dict[str, int],
    vectors: dict[str, int],
    bias: Array | None = None,
    relu: tuple[int, ...] = (),
    phases: int = 1,
) -> Array:
    """Launch the product `name` of (rows, columns, summed over) = `sizes`; a result of `shape`.

    `relu` is that argument of the kernel, if it has one.
    """
    rows, cols, depth = sizes
    dtype = operands[0].dtype  # type: ignore[union-attr]
    tile = choose_tile(rows, cols, dtype.name)
    chunk = choose_chunk(tile.covering(rows, cols) * phases, depth, tile.BLOCK_K)
    chunks = -(-depth // chunk)
    out = empty((chunks, *shape), dtype)
    grid = (-(-rows // tile.BLOCK_M), -(-cols // tile.BLOCK_N), chunks * phases)
    constants = {**tile._asdict(), **vectors, "TF32": int(tf32() and dtype.name == "float32")}
    arguments = (*operands, out, len(operands[0]), chunk, *relu)  # type: ignore[arg-type]
    launch(f"{name}.cu", name, grid, (tile.threads,), arguments, {"real": C_TYPES[dtype.name]}, geometry, constants)
    return out[0] if chunks == 1 else sum_chunks(out, bias, *relu)
