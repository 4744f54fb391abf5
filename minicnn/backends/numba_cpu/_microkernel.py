"""One small product carries every convolution, both its gradients, and Dense.

    C[m, :NR] = start + sum over p, q of A[offsets[m] + p·step1 + q·step2] · B[p·step1 + q·step2 : +NR]

for the few rows m of one *tile*. The tile's sums stay in vector registers from the first
product to the last: each step loads one row of B (NR floats), and for each row of the tile
one float of A, spread over a vector. That is MR·NV fused multiply-adds for MR + NV loads, which
is what lets a core multiply at its peak.

A is never copied into shape. It is *addressed*: where row m begins is looked up in a table
of offsets, and two steps lead along the sum. Convolution is a matter of what one writes there:

|                         | a row is                | the table of offsets        | the sum runs over                 |
|-------------------------|-------------------------|-----------------------------|-----------------------------------|
| convolution, forward    | an output pixel         | its window's first pixel    | KH kernel rows of KW·C_in floats  |
| gradient of its kernel  | a weight (ky, kx, ci)   | its first pixel in the image| all output pixels (OH, OW)        |
| gradient of its input   | an output pixel of dy   | that pixel                  | the channels of dy                |
| dense                   | a sample                | its row                     | the features                      |

An im2col (the reference backend's way) would write each pixel KH·KW times to memory and
read it back to reach the same product; here pixels come straight from the image, in L1.

To see the instructions that come out:

    from minicnn.backends.numba_cpu._compile import assembly
    print(assembly("multiply"))

and look for the longest run of `vfmadd231ps` in one short loop: MR·NV of them, each with a sum of
its own as its destination, and beside them NV loads of B and, for each row, one broadcast of A.
Columns that one vector holds have tiles of their own, half as wide.

Emitted as LLVM vector IR, because no loop written in Python is sure to be kept in registers.

Sources: Goto & van de Geijn 2008, doi:10.1145/1356052.1356053; Van Zee & van de Geijn 2015 (BLIS),
doi:10.1145/2764454; Georganas et al. 2018 (direct convolutions by register blocking), arXiv:1808.05567.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minicnn.backends.numba_cpu._compile import VL, instruction, part, shared, words

NV = 4 if VL == 4 else 2
"""Vectors in a row of a tile: of short ones (ARM's NEON) more, so that a row has 16 columns or more on any processor."""

NR = NV * VL
"""Columns of a tile."""

MR = 12 if VL == 16 else 6
"""Most rows of a tile: MR·NV sums, NV vectors of B and one of A must fit the registers (32; with AVX 16)."""

NO_BOUND, ZERO = np.float32(-np.inf), np.float32(0)
"""What `multiply` takes for its lower bound: none, or a ReLU's."""

ZEROS = np.zeros(NR, np.float32)

STREAMED = 16 * 1024 * 1024
"""Bytes from which a result is out of a core's caches again before anyone reads it."""

LONG_SUM = 64
"""Products in a sum from which results come no faster than memory takes them."""


class Rows(NamedTuple):
    """The factor A: row m begins at offsets[m]; two steps, in floats, go along the sum.

    Here and below, `at` is the address of float32, `offsets` that of a table of int64 that count floats from `at`.
    """

    at: int
    offsets: int
    step1: int
    step2: int


class Panel(NamedTuple):
    """The factor B, read NR floats at a time, and its steps along the same sum."""

    at: int
    step1: int
    step2: int


class Tile(NamedTuple):
    """The result C: so many rows of at most NR columns; row m begins at offsets[m], nothing beyond its columns is touched.

    `streamed` is 1 where whole rows go to memory around the caches (`streams`), else 0.
    """

    at: int
    offsets: int
    rows: int
    columns: int
    streamed: int


class Start(NamedTuple):
    """Where the sums start from: at + step * the row's offset in C.

    A step of 0 takes one row for all (a bias, or zeros); the address of C with a step of 1 adds to what C holds.
    """

    at: int
    step: int


F32, I64, I32 = ir.FloatType(), ir.IntType(64), ir.IntType(32)
VECTOR = ir.VectorType(F32, VL)
LANES = ir.VectorType(I64, VL)
MASK = ir.VectorType(ir.IntType(1), VL)


def streams(array: np.ndarray, products: int) -> bool:
    """Whether a result, (..., C), of sums of so many products is better stored around the caches.

    A store to a line of memory that is not in the cache has the line read first, in vain if all of it is written, and it
    takes the place of another there. Where rows are whole lines, and the result too large to be kept, that is a third of the
    traffic. Other threads see what was stored so by the end of the task at the latest: the pool's words are written by
    instructions that wait for it (Intel, Software Developer's Manual 1, 10.4.6.2).
    """
    whole_lines = array.shape[-1] % NR == 0 and array.ctypes.data % 64 == 0
    return array.nbytes >= STREAMED and products >= LONG_SUM and whole_lines


@part
def address(array: Any) -> Any:
    """Where an array's numbers begin."""
    return np.int64(array.ctypes.data)


def spread(builder: Any, scalar: Any, kind: Any) -> Any:
    """A vector of VL times the same scalar."""
    lane0 = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(lane0, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, VL), [0] * VL))


def _vector_at(builder: Any, base: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(base, [offset]), VECTOR.as_pointer())


def _alignment(kind: Any) -> int:
    """Of a vector in memory: its numbers', float32 or bytes."""
    return 4 if kind.element == F32 else 1


def load_vector(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = _alignment(value.type)
    return value


def store_vector(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, pointer).align = _alignment(value.type)


def masked(builder: Any, inside: Any) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """load(pointer) and store(value, pointer) of a vector of float32 or of bytes.

    Args:
        inside: a mask of the lanes that are touched, the others are loaded as 0; or None for all.
    """
    if inside is None:
        return functools.partial(load_vector, builder), functools.partial(store_vector, builder)

    def call(operation: str, result: Any, kind: Any, *operands: Any) -> Any:
        name = f"llvm.masked.{operation}.v{VL}{'f32' if kind.element == F32 else 'i8'}.p0"
        function = ir.FunctionType(result, [operand.type for operand in operands])
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), operands)

    def load(pointer: Any) -> Any:
        kind = pointer.type.pointee
        return call("load", kind, kind, pointer, ir.Constant(I32, _alignment(kind)), inside, ir.Constant(kind, None))

    def store(value: Any, pointer: Any) -> Any:
        align = ir.Constant(I32, _alignment(value.type))
        return call("store", ir.VoidType(), value.type, value, pointer, align, inside)

    return load, store


def _phi(builder: Any, kind: Any, value: Any, block: Any) -> Any:
    node = builder.phi(kind)
    node.add_incoming(value, block)
    return node


def _emit_tile(module: Any, function: Any, block: Any, rows: int, vectors: int, done: Any) -> None:
    """The product for a tile of so many rows and vectors a row, from `block` to a branch to `done`.

    Long, because it is one loop's instructions in their order, which all name the same values.
    """
    a, a_rows, step1, step2, b, step_b1, step_b2, c, c_rows, _, columns, streamed, start, start_step, terms, run, bound = (
        function.args
    )
    builder = ir.IRBuilder(block)
    constant = lambda value: ir.Constant(I64, value)  # noqa: E731
    a, b, c, start = (builder.inttoptr(address, F32.as_pointer()) for address in (a, b, c, start))
    a_rows, c_rows = (builder.inttoptr(address, I64.as_pointer()) for address in (a_rows, c_rows))
    fma = cgutils.get_or_insert_function(module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{VL}f32")
    row_of_a = [builder.gep(a, [builder.load(builder.gep(a_rows, [constant(m)]))]) for m in range(rows)]
    offset_of_c = [builder.load(builder.gep(c_rows, [constant(m)])) for m in range(rows)]
    tile = [_vector_at(builder, c, builder.add(offset_of_c[m], constant(n * VL))) for m in range(rows) for n in range(vectors)]
    tile_start = [
        _vector_at(builder, start, builder.add(builder.mul(offset_of_c[m], start_step), constant(n * VL)))
        for m in range(rows)
        for n in range(vectors)
    ]
    # A tile that hangs over the matrix's last column does so with its last vector, and touches only what is inside.
    lanes = ir.Constant(LANES, [(vectors - 1) * VL + lane for lane in range(VL)])
    inside = builder.icmp_signed("<", lanes, spread(builder, columns, LANES))
    hangs_over = [n == vectors - 1 for _ in range(rows) for n in range(vectors)]
    whole = builder.icmp_signed("==", columns, constant(vectors * VL))
    load_inside, store_inside = masked(builder, inside)

    names = ("start_whole", "start_part", "outer", "inner", "outer_end", "end", "end_whole", "end_part", "cached", "around")
    start_whole, start_part, outer, inner, outer_end, end, end_whole, end_part, cached, around = (
        function.append_basic_block(f"{name}_{rows}_{vectors}") for name in names
    )
    builder.cbranch(whole, start_whole, start_part)
    builder.position_at_end(start_whole)
    initial_whole = [load_vector(builder, at) for at in tile_start]
    builder.branch(outer)
    builder.position_at_end(start_part)
    initial_part = [load_inside(at) if hangs else load_vector(builder, at) for at, hangs in zip(tile_start, hangs_over)]
    builder.branch(outer)

    builder.position_at_end(outer)
    p = _phi(builder, I64, constant(0), start_whole)
    p.add_incoming(constant(0), start_part)
    carried = [_phi(builder, VECTOR, value, start_whole) for value in initial_whole]
    for node, value in zip(carried, initial_part):
        node.add_incoming(value, start_part)
    a_outer, b_outer = builder.mul(p, step1), builder.mul(p, step_b1)
    left = builder.sub(terms, builder.mul(p, run))
    here = builder.select(builder.icmp_signed("<", left, run), left, run)  # the last run may be a shorter one
    builder.branch(inner)

    builder.position_at_end(inner)
    q, a_at, b_at = (_phi(builder, I64, value, outer) for value in (constant(0), a_outer, b_outer))
    sums = [_phi(builder, VECTOR, value, outer) for value in carried]
    row_of_b = [load_vector(builder, _vector_at(builder, b, builder.add(b_at, constant(n * VL)))) for n in range(vectors)]
    new = []
    for m in range(rows):
        value_of_a = spread(builder, builder.load(builder.gep(row_of_a[m], [a_at])), VECTOR)
        new += [builder.call(fma, [value_of_a, row_of_b[n], sums[m * vectors + n]]) for n in range(vectors)]
    after = [builder.add(q, constant(1)), builder.add(a_at, step2), builder.add(b_at, step_b2), *new]
    for node, value in zip([q, a_at, b_at, *sums], after):
        node.add_incoming(value, inner)
    builder.cbranch(builder.icmp_signed("<", after[0], here), inner, outer_end)

    builder.position_at_end(outer_end)
    p_next = builder.add(p, constant(1))
    for node, value in zip([p, *carried], [p_next, *new]):
        node.add_incoming(value, outer_end)
    builder.cbranch(builder.icmp_signed(">", left, run), outer, end)

    builder.position_at_end(end)
    lowest = spread(builder, bound, VECTOR)
    # A NaN compares false and so stays: ReLU must not hide it.
    final = [builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value) for value in new]
    builder.cbranch(whole, end_whole, end_part)
    builder.position_at_end(end_whole)
    builder.cbranch(builder.icmp_signed("==", streamed, constant(0)), cached, around)
    builder.position_at_end(cached)
    for value, at in zip(final, tile):
        store_vector(builder, value, at)
    builder.branch(done)
    builder.position_at_end(around)
    for value, at in zip(final, tile):
        store = builder.store(value, at)
        store.align = 4 * VL
        store.set_metadata("nontemporal", module.add_metadata([ir.Constant(I32, 1)]))
    builder.branch(done)
    builder.position_at_end(end_part)
    for value, at, hangs in zip(final, tile, hangs_over):
        if hangs:
            store_inside(value, at)
        else:
            store_vector(builder, value, at)
    builder.branch(done)


def _tile_function(module: Any) -> Any:
    """The LLVM function `tile` of this module: a switch over its rows, 1 to MR, and the vectors that its columns fill."""
    name = "minicnn_tile"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 16 + [F32]), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    done = function.append_basic_block("done")
    rows, columns = function.args[9], function.args[10]
    vectors = builder.udiv(builder.add(columns, ir.Constant(I64, VL - 1)), ir.Constant(I64, VL))
    choice = builder.switch(builder.add(builder.mul(vectors, ir.Constant(I64, MR)), rows), done)
    for vectors, rows in itertools.product(range(1, NV + 1), range(1, MR + 1)):
        block = function.append_basic_block(f"rows_{rows}_{vectors}")
        choice.add_case(ir.Constant(I64, vectors * MR + rows), block)
        _emit_tile(module, function, block, rows, vectors, done)
    ir.IRBuilder(done).ret_void()
    return function


_OPERANDS = types.void(words(Rows), words(Panel), words(Tile), words(Start), types.int64, types.int64, types.float32)


@instruction(_OPERANDS)
def _tile(builder: Any, a: Any, b: Any, c: Any, start: Any, terms: Any, run: Any, lower_bound: Any) -> None:
    numbers = [number for group in (a, b, c, start) for number in cgutils.unpack_tuple(builder, group)]
    builder.call(_tile_function(builder.module), [*numbers, terms, run, lower_bound])


@shared(_OPERANDS)
def multiply(a, b, c, start, terms, run, lower_bound):  # type: ignore[no-untyped-def]
    """C = max(lower_bound, start + A · B), tile by tile, of nearly equal heights.

    Args:
        a, b, c, start: `Rows`, `Panel`, `Tile` and `Start`.
        terms: of each sum, at least 1; `run` of them lie step2 apart, then step1 leads to where the next run begins.
        lower_bound: 0 for a ReLU, -inf for none.
    """
    tiles = (c.rows + MR - 1) // MR
    m = 0
    for i in range(tiles):
        end = c.rows * (i + 1) // tiles
        rows = Rows(a.at, a.offsets + 8 * m, a.step1, a.step2)
        _tile(rows, b, Tile(c.at, c.offsets + 8 * m, end - m, c.columns, c.streamed), start, terms, run, lower_bound)
        m = end
