"""The tiled product behind convolutions and dense layers, launched (`kernels/gemm.cuh`).

Where rows and columns make too few tiles to fill a card, the sum is cut into chunks, which a
second kernel adds in order. Tiles and chunks follow from shapes alone and nothing is added
atomically: one seed gives the same bits on every run.
"""

from __future__ import annotations

from typing import NamedTuple

from minicnn.backends.cupy_gpu.compile import THREADS, blocks, empty, launch, real_type, tf32
from minicnn.backends.types import Array

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


class Product(NamedTuple):
    """A matrix product (rows, depth) x (depth, columns) by the kernel `name`, and what that is compiled with."""

    name: str
    rows: int
    cols: int
    depth: int
    geometry: dict[str, int]
    vectors: dict[str, int]  # how many channels one load takes
    phases: int = 1  # products of these sizes


def multiply(
    product: Product,
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
    return out[0] if chunks == 1 else sum_chunks(out, bias, *relu)


def sum_chunks(partial: Array, bias: Array | None = None, relu: int = 0) -> Array:
    """The sum over the first axis, in order, plus `bias` along the last; with `relu` max(that, 0)."""
    y = empty(partial.shape[1:], partial.dtype)
    arguments = (partial, bias, y, len(partial), y.size, relu)
    launch("chunks.cu", "sum_chunks", blocks(y.size), (THREADS,), arguments, real_type(y), {"C": y.shape[-1]})
    return y
