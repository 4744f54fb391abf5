"""Winograd's transforms: a small matrix on both sides of a tile, for a vector of channels at a time.

A convolution of m outputs with r weights in one dimension is a product of polynomials, and a
polynomial of degree s - 1 is known from its values at s points. So s multiplications make

    y (m) = A^T [ (G g) * (B^T d) ]      d: s pixels, g: r weights, m = s + 1 - r,

where the direct way takes m * r: in two dimensions 36 against 144 for a 3×3 kernel (s = 6, m = 4), and 64 against 400
for a 5×5 one (s = 8, m = 4). G and A^T evaluate a polynomial at the points, B^T interpolates:

    A^T[i, j] = p_j^i        G[j, k] = p_j^k / prod over l != j of (p_j - p_l)
    B^T[j, :] = the coefficients of prod over l != j of (x - p_l)

with the last point at infinity, where a polynomial's value is its leading coefficient. All
kernels share the points, and so B^T; only m and r differ. Everything is linear, so the gradients
are the same three matrices transposed (`winograd`).

More points save more products and cost precision: against a result's typical size, the typical error of float32 is 7e-7 with 6
points, 1.7e-6 with 7 and 2.3e-6 with 8, where the direct sum's is 1e-7 (3×3 kernels over 20 channels of normally distributed
numbers).

Sources: Lavin & Gray 2016, arXiv:1509.09308; the points, which cost the least precision, from
Barabasz, Anderson, Soodhalter & Gregg 2020, arXiv:1803.10986.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.backends.numba_cpu._compile import VL, address_of, instruction, words
from minicnn.backends.numba_cpu._microkernel import I64, LANES, NO_BOUND, VECTOR, masked, spread

_HALF = Fraction(1, 2)
POINTS = {
    6: (Fraction(0), Fraction(-1), Fraction(1), _HALF, Fraction(-2)),
    7: (Fraction(0), Fraction(-1), Fraction(1), _HALF, -_HALF, Fraction(-2)),
    8: (Fraction(0), Fraction(-1), Fraction(1), _HALF, -_HALF, Fraction(2), Fraction(-2)),
}
"""The points but the one at infinity, for so many pixels along a tile of input: its side."""

SIDE, *_, LARGE_SIDE = POINTS
AT_ONE = 2
"""Which point is 1, where a polynomial's value is the sum of its coefficients."""

Matrix = tuple[tuple[Fraction, ...], ...]

# What a transform does with its tile; each with the kernel's size r in `transform`.
INPUT, KERNEL, OUTPUT, OUTPUT_GRADIENT, INPUT_GRADIENT, KERNEL_GRADIENT = range(6)


def matrices(r: int, side: int = SIDE) -> tuple[Matrix, Matrix, Matrix]:
    """A^T (m, side), G (side, r) and B^T (side, side) for r weights and m = side + 1 - r outputs."""
    m, points = side + 1 - r, POINTS[side]
    one, zero = Fraction(1), Fraction(0)

    def polynomial(roots: list[Fraction]) -> tuple[Fraction, ...]:
        """Coefficients of the product of (x - root), lowest first, filled up with zeros."""
        coefficients = [one]
        for root in roots:
            shifted, scaled = [zero, *coefficients], [*(-root * c for c in coefficients), zero]
            coefficients = [a + b for a, b in zip(shifted, scaled)]
        return (*coefficients, *[zero] * (side - len(coefficients)))

    others = [[q for q in points if q != p] for p in points]
    evaluate = tuple((*(p**i for p in points), one if i == m - 1 else zero) for i in range(m))
    weights = [tuple(p**k / prod(p - q for q in rest) for k in range(r)) for p, rest in zip(points, others)]
    infinity = tuple(one if k == r - 1 else zero for k in range(r))
    interpolate = (*(polynomial(rest) for rest in others), polynomial(list(points)))
    return evaluate, (*weights, infinity), interpolate


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix))


def _matrix(kind: int, r: int, side: int) -> Matrix:
    evaluate, weights, interpolate = matrices(r, side)
    return {
        INPUT: interpolate,
        KERNEL: weights,
        OUTPUT: evaluate,
        OUTPUT_GRADIENT: _transposed(evaluate),
        INPUT_GRADIENT: _transposed(interpolate),
        KERNEL_GRADIENT: _transposed(weights),
    }[kind]


_Row = dict[int, Fraction]  # a sum of values: which, and how often


@functools.cache
def _program(matrix: Matrix) -> tuple[list[_Row], list[_Row]]:
    """How to multiply by a matrix with fewer additions: sums of two that several rows share are made first.

    Points in pairs share most of their polynomials: B^T takes 16 multiply-adds so, where its rows one by one take 20.

    Returns:
        the shared sums, each a value more behind those of the vector, then the rows, of the values of both.
    """
    rows: list[_Row] = [{i: c for i, c in enumerate(row) if c} for row in matrix]
    sums: list[_Row] = []
    while True:
        pairs = Counter((i, j, row[j] / row[i]) for row in rows for i, j in itertools.combinations(sorted(row), 2))
        (i, j, ratio), count = max(pairs.items(), key=lambda item: item[1], default=((0, 0, Fraction(0)), 0))
        if count < 2:
            return sums, rows
        sums.append({i: Fraction(1), j: ratio})
        for row in rows:
            if i in row and j in row and row[j] / row[i] == ratio:
                row[len(matrix[0]) + len(sums) - 1] = row.pop(i)
                del row[j]


def _combine(builder: Any, fma: Any, row: _Row, values: list[Any]) -> Any:
    """The sum of coefficient * value: it begins with a value that needs no multiplication, where there is one."""
    first = min(row, key=lambda i: (row[i] != 1, row[i] != -1, i))
    total, c = values[first], row[first]
    if c == -1:
        total = builder.fneg(total)  # becomes a part of the multiply-add
    elif c != 1:
        total = builder.fmul(ir.Constant(VECTOR, [float(c)] * VL), total)
    for i, c in row.items():
        if i == first:
            continue
        if c == 1:
            total = builder.fadd(total, values[i])
        elif c == -1:
            total = builder.fsub(total, values[i])
        else:
            total = builder.call(fma, [ir.Constant(VECTOR, [float(c)] * VL), values[i], total])
    return total


def _multiplied(builder: Any, fma: Any, matrix: Matrix, values: list[Any]) -> list[Any]:
    """The matrix times a vector of values."""
    sums, rows = _program(matrix)
    values = list(values)
    for row in sums:
        values.append(_combine(builder, fma, row, values))
    return [_combine(builder, fma, row, values) for row in rows]


class Grid(NamedTuple):
    """The pixels of a tile: the address of the first one, and the way to the next row and column, in floats."""

    at: int
    row: int
    column: int


class Edges(NamedTuple):
    """Which pixels of a tile lie on the image, or the map, and what OUTPUT adds.

    Attributes:
        top, bottom, left, right: rows `top` to before `bottom`, columns `left` to before `right`. INPUT and OUTPUT_GRADIENT
            take zeros for the others, OUTPUT and INPUT_GRADIENT leave them out.
        start, lower_bound: the address of the bias; 0 for a ReLU or -inf.
    """

    top: int
    bottom: int
    left: int
    right: int
    start: int
    lower_bound: Any


EVERYWHERE = Edges(0, LARGE_SIDE, 0, LARGE_SIDE, 0, NO_BOUND)
_EDGES = types.NamedTuple((*[types.int64] * 5, types.float32), Edges)
_SIGNATURE = types.void(words(Grid), words(Grid), types.int64, _EDGES)


def _emit_vector(
    builder: Any, kind: int, matrix: Matrix, grids: list[list[Any]], edges: list[Any], inside: Any, cut: bool
) -> None:
    """One vector of channels of a tile, between two grids; `inside` as in `masked`; `cut`: by the edges."""
    constant = lambda value: ir.Constant(I64, value)  # noqa: E731
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{VL}f32")
    load, store = masked(builder, inside)
    _, store_whole = masked(builder, None)
    source, target = grids
    top, bottom, left, right, start, lower_bound = edges
    zero = ir.Constant(VECTOR, [0.0] * VL)
    nowhere = cgutils.alloca_once_value(builder, zero) if cut else None

    def within(first: Any, end: Any) -> list[Any]:
        pixels = [constant(i) for i in range(max(len(matrix), len(matrix[0])))]
        return [builder.and_(builder.icmp_signed(">=", i, first), builder.icmp_signed("<", i, end)) for i in pixels]

    rows_within, columns_within = (within(top, bottom), within(left, right)) if cut else ([], [])

    def at(grid: list[Any], i: int, j: int, may_be_cut: bool = False) -> Any:
        base, row, column = grid
        offset = builder.add(builder.mul(row, constant(4 * i)), builder.mul(column, constant(4 * j)))
        pointer = builder.inttoptr(builder.add(base, offset), VECTOR.as_pointer())
        if not (cut and may_be_cut):
            return pointer
        return builder.select(builder.and_(rows_within[i], columns_within[j]), pointer, nowhere)

    size, columns_of = len(matrix[0]), []
    for j in range(size):
        values = [load(at(source, i, j, kind in (INPUT, OUTPUT_GRADIENT))) for i in range(size)]
        columns_of.append(_multiplied(builder, fma, matrix, values))
    if kind == OUTPUT:
        bias, lowest = load(builder.inttoptr(start, VECTOR.as_pointer())), spread(builder, lower_bound, VECTOR)
    for i in range(len(matrix)):
        for j, value in enumerate(_multiplied(builder, fma, matrix, [column[i] for column in columns_of])):
            pointer = at(target, i, j, kind in (OUTPUT, INPUT_GRADIENT))
            if kind == OUTPUT:
                value = builder.fadd(value, bias)
                # A NaN compares false and so stays: ReLU must not hide it.
                value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
            if kind == INPUT_GRADIENT:  # tiles overlap
                value = builder.fadd(value, load(pointer))
            # Scratch memory is written in whole vectors, a user's array not beyond its last channel.
            (store if kind in (OUTPUT, KERNEL_GRADIENT, INPUT_GRADIENT) else store_whole)(value, pointer)


@intrinsic(prefer_literal=True)
def _tile(typingctx: Any, kind: Any, r: Any, side: Any, source: Any, target: Any, channels: Any, edges: Any) -> Any:
    which, matrix = kind.literal_value, _matrix(kind.literal_value, r.literal_value, side.literal_value)
    before, after = len(matrix[0]), len(matrix)
    # Pixels along the side that may hang over: of the input or the output, or of their gradients.
    along = {INPUT: before, OUTPUT_GRADIENT: before, OUTPUT: after, INPUT_GRADIENT: after}.get(which)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, target, edges = (cgutils.unpack_tuple(builder, values[i]) for i in (3, 4, 6))
        channels, constant = values[5], lambda value: ir.Constant(I64, value)
        top, bottom, left, right, start, lower_bound = edges
        uncut = ir.Constant(ir.IntType(1), 1)
        for first, end in ((top, bottom), (left, right)) if along else ():
            uncut = builder.and_(uncut, builder.icmp_signed("<=", first, constant(0)))
            uncut = builder.and_(uncut, builder.icmp_signed(">=", end, constant(along)))
        with cgutils.for_range(builder, builder.udiv(builder.add(channels, constant(VL - 1)), constant(VL))) as loop:
            begin = builder.mul(loop.index, constant(4 * VL))
            grids = [[builder.add(base, begin), row, column] for base, row, column in (source, target)]
            here = [top, bottom, left, right, builder.add(start, begin), lower_bound]
            rest = builder.sub(channels, builder.mul(loop.index, constant(VL)))
            lanes = ir.Constant(LANES, list(range(VL)))
            inside = builder.icmp_signed("<", lanes, spread(builder, rest, LANES))

            def emit(inside: Any) -> None:
                if along is None:
                    _emit_vector(builder, which, matrix, grids, here, inside, False)
                    return
                with builder.if_else(uncut) as (middle, edge):
                    with middle:
                        _emit_vector(builder, which, matrix, grids, here, inside, False)
                    with edge:
                        _emit_vector(builder, which, matrix, grids, here, inside, True)

            with builder.if_else(builder.icmp_signed(">=", rest, constant(VL))) as (whole, part):
                with whole:
                    emit(None)
                with part:
                    emit(inside)
        return context.get_dummy_value()

    return types.void(kind, r, side, source, target, types.int64, edges), codegen


@functools.cache
def transform(kind: int, r: int, side: int) -> int:
    """The address of a compiled transform for kernels of r×r, for `apply`; compiled when it is first asked for.

    kind: INPUT          V = B^T d B        s×s pixels (s: the side), zeros beyond the image -> s×s
          KERNEL         U = G g G^T        r×r weights                      -> s×s
          OUTPUT         y = A^T M A        s×s -> m×m pixels, plus the bias, at least the bound, and only those on the map
          OUTPUT_GRADIENT  dM = A dy A^T    m×m pixels, zeros beyond the map -> s×s
          INPUT_GRADIENT   dd += B dV B^T   s×s -> s×s pixels, added to what is there, only those on the image
          KERNEL_GRADIENT  dg = G^T dU G    s×s -> r×r weights
    """

    def tile(source, target, channels, edges):  # type: ignore[no-untyped-def]
        _tile(kind, r, side, source, target, channels, edges)

    return address_of(tile, _SIGNATURE)


@instruction(types.void(types.int64, *_SIGNATURE.args))
def apply(builder: Any, transform: Any, source: Any, target: Any, channels: Any, edges: Any) -> None:
    """Run a `transform` on one tile.

    Args:
        source, target: `Grid`s. Scratch memory (transformed tiles) is written in whole vectors.
        channels: how many.
        edges: for INPUT, OUTPUT and their gradients; else `EVERYWHERE`.
    """
    operands = source, target, channels, edges
    function = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands]).as_pointer()
    builder.call(builder.inttoptr(transform, function), operands)
