"""The product of a depthwise convolution: as `_microkernel`'s, but A is read as vectors of channels, and mixes none.

    C[m, j] = start + sum over p < k1, q < k2 of A[m·pixel + p·step1 + q·step2 + j] · B[p·step1 + q·step2 + j]

for the few pixels m of one *tile* and NR channels j. As there, sums stay in registers from the first product to the
last, and nothing is copied into shape, but addressed. For each weight vector of B one vector of A is read for each
pixel: MOST + 1 loads for MOST multiply-adds, about what a core can do at once (it loads as many vectors as it
multiplies). So it is memory that sets the pace, unless a kernel is large.

|                         | a pixel of the tile is     | the sum runs over                             |
|-------------------------|----------------------------|-----------------------------------------------|
| forward                 | an output pixel            | the kernel's taps                             |
| gradient of its input   | an input pixel             | those taps that read it, stride by stride     |
| gradient of its kernel  | a tap (kx)                 | the pixels of an output row                   |
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minicnn.backends.numba_cpu._compile import VL, instruction, part, words
from minicnn.backends.numba_cpu._microkernel import (
    F32,
    I32,
    I64,
    LANES,
    NV,
    VECTOR,
    Panel,
    load_vector,
    masked,
    spread,
    store_vector,
)

MOST = 12 if VL == 16 else 6
"""Most pixels of a tile: MOST·NV sums and NV weights must fit the registers (32 with AVX-512, else 16)."""


class Pixels(NamedTuple):
    """A, and C: pixel m begins m * `pixel` floats behind the address `at`; two steps, in floats, go along the sum of A."""

    at: int
    pixel: int
    step1: int
    step2: int


class Extent(NamedTuple):
    """Of a tile: pixels and channels. Of its sum: k1 by k2 terms, of which there may be none.

    `ahead`: how many floats behind A's pixels lie those of a tile that is computed later, which are fetched meanwhile: the
    processor does not guess what is read next where that is pieces of rows.
    """

    pixels: int
    channels: int
    k1: int
    k2: int
    ahead: int


class Start(NamedTuple):
    """Where the sums start from: pixel m at `at` + m * `pixel`; 0 takes one row for all (a bias)."""

    at: int
    pixel: int


_OPERANDS = types.void(words(Pixels), words(Panel), words(Pixels), words(Start), words(Extent), types.float32)


def _emit_tile(builder: Any, function: Any, pixels: int, vectors: int, whole: bool) -> None:
    """The sums of a tile of so many pixels and vectors a pixel; not `whole`: whose last vector hangs over the channels."""
    a, pixel, step1, step2, b, step_b1, step_b2, c, pixel_c, _, _, start, pixel_start, _, channels, k1, k2, ahead, bound = (
        function.args
    )
    declare = lambda kind, name: cgutils.get_or_insert_function(function.module, kind, f"llvm.{name}")  # noqa: E731
    fma = declare(ir.FunctionType(VECTOR, [VECTOR] * 3), f"fma.v{VL}f32")
    prefetch = declare(ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[I32] * 3]), "prefetch.p0")
    to_read, into_l2, data = (ir.Constant(I32, flag) for flag in (0, 2, 1))
    lanes = ir.Constant(LANES, [(vectors - 1) * VL + lane for lane in range(VL)])
    load_last, store_last = masked(
        builder, None if whole else builder.icmp_signed("<", lanes, spread(builder, channels, LANES))
    )
    numbers = [ir.Constant(I64, number) for number in range(max(pixels, vectors) + 1)]
    by_number = list(itertools.product(range(pixels), range(vectors)))

    def vector(base: Any, offset: Any, n: int) -> Any:
        """Where vector n of a pixel is."""
        at = builder.gep(base, [builder.add(offset, ir.Constant(I64, n * VL))])
        return builder.bitcast(at, VECTOR.as_pointer())

    def read(base: Any, offset: Any, n: int) -> Any:
        at = vector(base, offset, n)
        return load_last(at) if n == vectors - 1 else load_vector(builder, at)

    a, b, c, start = (builder.inttoptr(at, F32.as_pointer()) for at in (a, b, c, start))
    rows = [builder.gep(a, [builder.mul(pixel, numbers[m])]) for m in range(pixels)]
    for m, n in by_number:
        at = builder.bitcast(vector(rows[m], ahead, n), ir.IntType(8).as_pointer())
        builder.call(prefetch, [at, to_read, into_l2, data])
    # LLVM keeps these in registers.
    sums = [cgutils.alloca_once_value(builder, read(start, builder.mul(pixel_start, numbers[m]), n)) for m, n in by_number]
    with cgutils.for_range(builder, k1) as outer:
        a_row, b_row = builder.mul(outer.index, step1), builder.mul(outer.index, step_b1)
        with cgutils.for_range(builder, k2) as inner:
            at = builder.add(a_row, builder.mul(inner.index, step2))
            b_at = builder.add(b_row, builder.mul(inner.index, step_b2))
            weights = [read(b, b_at, n) for n in range(vectors)]
            for (m, n), total in zip(by_number, sums):
                builder.store(builder.call(fma, [read(rows[m], at, n), weights[n], builder.load(total)]), total)
    lowest = spread(builder, bound, VECTOR)
    for (m, n), total in zip(by_number, sums):
        value, at = builder.load(total), vector(c, builder.mul(pixel_c, numbers[m]), n)
        # A NaN compares false and so stays: ReLU must not hide it.
        value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
        if n == vectors - 1:
            store_last(value, at)
        else:
            store_vector(builder, value, at)
    builder.ret_void()


def _tile_function(module: Any) -> Any:
    """The LLVM function of this module that computes a tile: a switch over its pixels and vectors, whole ones or not."""
    name = "minicnn_channelwise_tile"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 18 + [F32]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")  # else the loops around it take LLVM as long again
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    otherwise = function.append_basic_block("otherwise")
    ir.IRBuilder(otherwise).ret_void()
    pixels, channels = function.args[13], function.args[14]
    vectors = builder.udiv(builder.add(channels, ir.Constant(I64, VL - 1)), ir.Constant(I64, VL))
    hangs_over = builder.zext(builder.icmp_signed("!=", builder.mul(vectors, ir.Constant(I64, VL)), channels), I64)
    number = builder.add(builder.mul(vectors, ir.Constant(I64, 2)), hangs_over)
    choice = builder.switch(builder.add(builder.mul(number, ir.Constant(I64, MOST + 1)), pixels), otherwise)
    for vectors, rest, pixels in itertools.product(range(1, NV + 1), (0, 1), range(1, MOST + 1)):
        block = function.append_basic_block(f"tile_{pixels}_{vectors}_{rest}")
        choice.add_case(ir.Constant(I64, (2 * vectors + rest) * (MOST + 1) + pixels), block)
        _emit_tile(ir.IRBuilder(block), function, pixels, vectors, not rest)
    return function


@instruction(_OPERANDS)
def tile(builder: Any, a: Any, b: Any, c: Any, start: Any, extent: Any, lower_bound: Any) -> None:
    """C = max(lower_bound, start + the sums), of one tile: at most MOST pixels and NR channels."""
    numbers = [number for group in (a, b, c, start, extent) for number in cgutils.unpack_tuple(builder, group)]
    builder.call(_tile_function(builder.module), [*numbers, lower_bound])


@part
def multiply_channelwise(a: Any, b: Any, c: Any, start: Any, extent: Any, lower_bound: Any) -> None:
    """C = max(lower_bound, start + the sums) of any number of pixels, tile by tile, of nearly equal numbers.

    Args:
        a, c: `Pixels`, of which c takes no steps. b, start, extent: `Panel`, `Start`, `Extent`; at most NR channels.
        lower_bound: 0 for a ReLU, -inf for none.
    """
    tiles = (extent.pixels + MOST - 1) // MOST
    m = 0
    for i in range(tiles):
        end = extent.pixels * (i + 1) // tiles
        rows = Pixels(a.at + 4 * m * a.pixel, a.pixel, a.step1, a.step2)
        target, begin = Pixels(c.at + 4 * m * c.pixel, c.pixel, 0, 0), Start(start.at + 4 * m * start.pixel, start.pixel)
        tile(rows, b, target, begin, Extent(end - m, extent.channels, extent.k1, extent.k2, extent.ahead), lower_bound)
        m = end
