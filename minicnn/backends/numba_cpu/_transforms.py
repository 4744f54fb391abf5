"""Winograd's transforms: a small matrix on both sides of a tile, for a vector of channels at a time.

A convolution of m outputs with r weights in one dimension is a product of polynomials, and a
polynomial of degree 5 is known from its values at 6 points. So 6 multiplications make

    y (m) = A^T [ (G g) * (B^T d) ]      d: 6 pixels, g: r weights, m = 7 - r,

where the direct way takes m * r: in two dimensions 36 against 144 for a 3×3 kernel (m = 4).
G and A^T evaluate a polynomial at the points, B^T interpolates:

    A^T[i, j] = p_j^i        G[j, k] = p_j^k / prod over l != j of (p_j - p_l)
    B^T[j, :] = the coefficients of prod over l != j of (x - p_l)

with the sixth point at infinity, where a polynomial's value is its leading coefficient. All
kernels share the points, and so B^T; only m and r differ. Everything is linear, so the gradients
are the same three matrices transposed (`winograd`).

Sources: Lavin & Gray 2016, arXiv:1509.09308; the points, which cost the least precision, from
Barabasz, Anderson, Soodhalter & Gregg 2020, arXiv:1803.10986.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.backends.numba_cpu._compile import VL, address_of, instruction, words
from minicnn.backends.numba_cpu._microkernel import I32, I64, LANES, MASK, NO_BOUND, VECTOR, load_vector, spread, store_vector

SIDE = 6
"""Pixels along a tile of input."""

POINTS = (Fraction(0), Fraction(-1), Fraction(1), Fraction(1, 2), Fraction(-2))

Matrix = tuple[tuple[Fraction, ...], ...]

# What a transform does with its tile; each with the kernel's size r in `transform`.
INPUT, KERNEL, OUTPUT, OUTPUT_GRADIENT, INPUT_GRADIENT, KERNEL_GRADIENT = range(6)


def matrices(r: int) -> tuple[Matrix, Matrix, Matrix]:
    """A^T (m, 6), G (6, r) and B^T (6, 6) for r weights and m = 7 - r outputs."""
    m = SIDE + 1 - r
    one, zero = Fraction(1), Fraction(0)

    def polynomial(roots: list[Fraction]) -> tuple[Fraction, ...]:
        """Coefficients of the product of (x - root), lowest first, filled up with zeros."""
        coefficients = [one]
        for root in roots:
            shifted, scaled = [zero, *coefficients], [*(-root * c for c in coefficients), zero]
            coefficients = [a + b for a, b in zip(shifted, scaled)]
        return (*coefficients, *[zero] * (SIDE - len(coefficients)))

    others = [[q for q in POINTS if q != p] for p in POINTS]
    evaluate = tuple((*(p**i for p in POINTS), one if i == m - 1 else zero) for i in range(m))
    weights = [tuple(p**k / prod(p - q for q in rest) for k in range(r)) for p, rest in zip(POINTS, others)]
    infinity = tuple(one if k == r - 1 else zero for k in range(r))
    interpolate = (*(polynomial(rest) for rest in others), polynomial(list(POINTS)))
    return evaluate, (*weights, infinity), interpolate


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix))


def _matrix(kind: int, r: int) -> Matrix:
    evaluate, weights, interpolate = matrices(r)
    return {
        INPUT: interpolate,
        KERNEL: weights,
        OUTPUT: evaluate,
        OUTPUT_GRADIENT: _transposed(evaluate),
        INPUT_GRADIENT: _transposed(interpolate),
        KERNEL_GRADIENT: _transposed(weights),
    }[kind]


def _combine(builder: Any, fma: Any, coefficients: tuple[Fraction, ...], values: list[Any]) -> Any:
    """The sum of coefficient * value, an addition where a coefficient is one."""
    terms = sorted((-c, i) for i, c in enumerate(coefficients) if c)  # a positive one first
    total = None
    for minus, i in terms:
        c, value = -minus, values[i]
        if total is None:
            total = value if c == 1 else builder.fmul(ir.Constant(VECTOR, [float(c)] * VL), value)
        elif c == 1:
            total = builder.fadd(total, value)
        elif c == -1:
            total = builder.fsub(total, value)
        else:
            total = builder.call(fma, [ir.Constant(VECTOR, [float(c)] * VL), value, total])
    return total


class Grid(NamedTuple):
    """The pixels of a tile: the address of the first one, and the way to the next row and column, in floats."""

    at: int
    row: int
    column: int


class Finish(NamedTuple):
    """What OUTPUT does with its tile: rows and columns that lie on the map, the address of the bias, 0 for a ReLU or -inf."""

    rows: int
    columns: int
    start: int
    lower_bound: Any


NO_FINISH = Finish(0, 0, 0, NO_BOUND)
_FINISH = types.NamedTuple((types.int64, types.int64, types.int64, types.float32), Finish)
_SIGNATURE = types.void(words(Grid), words(Grid), types.int64, _FINISH)


def _masked(builder: Any, inside: Any) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """load(pointer) and store(value, pointer) of a vector; `inside` a mask of the lanes that are channels, or None for all."""
    if inside is None:
        return functools.partial(load_vector, builder), functools.partial(store_vector, builder)
    module, align = builder.module, ir.Constant(I32, 4)
    kinds = [VECTOR.as_pointer(), I32, MASK, VECTOR]
    load = cgutils.get_or_insert_function(module, ir.FunctionType(VECTOR, kinds), f"llvm.masked.load.v{VL}f32.p0")
    store = cgutils.get_or_insert_function(
        module, ir.FunctionType(ir.VoidType(), [VECTOR, *kinds[:3]]), f"llvm.masked.store.v{VL}f32.p0"
    )
    zero = ir.Constant(VECTOR, [0.0] * VL)
    return (
        lambda pointer: builder.call(load, [pointer, align, inside, zero]),
        lambda value, pointer: builder.call(store, [value, pointer, align, inside]),
    )


def _emit_vector(builder: Any, kind: int, matrix: Matrix, grids: list[list[Any]], finish: list[Any], inside: Any) -> None:
    """One vector of channels of a tile, between two grids; `inside` as in `_masked`."""
    constant = lambda value: ir.Constant(I64, value)  # noqa: E731
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{VL}f32")
    load, store = _masked(builder, inside)
    _, store_whole = _masked(builder, None)
    source, target = grids
    rows_inside, columns_inside, start, lower_bound = finish

    def at(grid: list[Any], i: int, j: int) -> Any:
        base, row, column = grid
        offset = builder.add(builder.mul(row, constant(4 * i)), builder.mul(column, constant(4 * j)))
        return builder.inttoptr(builder.add(base, offset), VECTOR.as_pointer())

    size, columns_of = len(matrix[0]), []
    for j in range(size):
        values = [load(at(source, i, j)) for i in range(size)]
        columns_of.append([_combine(builder, fma, row, values) for row in matrix])
    if kind == OUTPUT:
        bias, lowest = load(builder.inttoptr(start, VECTOR.as_pointer())), spread(builder, lower_bound, VECTOR)
        nowhere = cgutils.alloca_once(builder, VECTOR)
    for i in range(len(matrix)):
        for j, row in enumerate(matrix):
            value = _combine(builder, fma, row, [column[i] for column in columns_of])
            pointer = at(target, i, j)
            if kind == OUTPUT:
                value = builder.fadd(value, bias)
                # A NaN compares false and so stays: ReLU must not hide it.
                value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
                on_map = builder.and_(
                    builder.icmp_signed("<", constant(i), rows_inside), builder.icmp_signed("<", constant(j), columns_inside)
                )
                pointer = builder.select(on_map, pointer, nowhere)
            if kind == INPUT_GRADIENT:  # tiles overlap
                value = builder.fadd(value, load_vector(builder, pointer))
            # Scratch memory is written in whole vectors, a user's array not beyond its last channel.
            (store if kind in (OUTPUT, KERNEL_GRADIENT) else store_whole)(value, pointer)


@intrinsic(prefer_literal=True)
def _tile(typingctx: Any, kind: Any, r: Any, source: Any, target: Any, channels: Any, finish: Any) -> Any:
    which, matrix = kind.literal_value, _matrix(kind.literal_value, r.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, target, finish = (cgutils.unpack_tuple(builder, values[i]) for i in (2, 3, 5))
        channels, constant = values[4], lambda value: ir.Constant(I64, value)
        rows, columns, start, lower_bound = finish
        with cgutils.for_range(builder, builder.udiv(builder.add(channels, constant(VL - 1)), constant(VL))) as loop:
            begin = builder.mul(loop.index, constant(4 * VL))
            grids = [[builder.add(base, begin), row, column] for base, row, column in (source, target)]
            here = [rows, columns, builder.add(start, begin), lower_bound]
            left = builder.sub(channels, builder.mul(loop.index, constant(VL)))
            with builder.if_else(builder.icmp_signed(">=", left, constant(VL))) as (whole, part):
                with whole:
                    _emit_vector(builder, which, matrix, grids, here, None)
                with part:
                    lanes = ir.Constant(LANES, list(range(VL)))
                    inside = builder.icmp_signed("<", lanes, spread(builder, left, LANES))
                    _emit_vector(builder, which, matrix, grids, here, inside)
        return context.get_dummy_value()

    return types.void(kind, r, source, target, types.int64, finish), codegen


@functools.cache
def transform(kind: int, r: int) -> int:
    """The address of a compiled transform for kernels of r×r, for `apply`; compiled when it is first asked for.

    kind: INPUT          V = B^T d B        6×6 pixels                       -> 6×6
          KERNEL         U = G g G^T        r×r weights                      -> 6×6
          OUTPUT         y = A^T M A        6×6 -> m×m pixels, plus the bias, at least the bound, and only those on the map
          OUTPUT_GRADIENT  dM = A dy A^T    m×m pixels                       -> 6×6
          INPUT_GRADIENT   dd += B dV B^T   6×6 -> 6×6 pixels, added to what is there
          KERNEL_GRADIENT  dg = G^T dU G    6×6 -> r×r weights
    """

    def tile(source, target, channels, finish):  # type: ignore[no-untyped-def]
        _tile(kind, r, source, target, channels, finish)

    return address_of(tile, _SIGNATURE)


@instruction(types.void(types.int64, *_SIGNATURE.args))
def apply(builder: Any, transform: Any, source: Any, target: Any, channels: Any, finish: Any) -> None:
    """Run a `transform` on one tile.

    Args:
        source, target: `Grid`s. Scratch memory (all targets but OUTPUT's and KERNEL_GRADIENT's) is written in whole vectors.
        channels: how many.
        finish: for OUTPUT; else `NO_FINISH`.
    """
    operands = source, target, channels, finish
    function = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands]).as_pointer()
    builder.call(builder.inttoptr(transform, function), operands)
