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
from fractions import Fraction
from math import prod
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.backends.numba_cpu._compile import VL, address_of
from minicnn.backends.numba_cpu._microkernel import F32, I32, I64, LANES, MASK, VECTOR, load_vector, spread

__all__ = ["POINTS", "SIDE", "apply", "matrices", "transform"]

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


@intrinsic(prefer_literal=True)
def _tile(
    typingctx: Any,
    kind: Any,
    r: Any,
    source: Any,
    source_row: Any,
    source_column: Any,
    target: Any,
    target_row: Any,
    target_column: Any,
    columns: Any,
    rows_inside: Any,
    columns_inside: Any,
    start: Any,
    floor: Any,
) -> Any:
    which, matrix = kind.literal_value, _matrix(kind.literal_value, r.literal_value)
    of_user = which in (OUTPUT, KERNEL_GRADIENT)  # written where nothing may be touched beyond the last channel

    def emit(module: Any, builder: Any, args: Any, inside: Any) -> None:
        """One vector of channels of a tile; `inside` a mask of the lanes that are channels, or None for all."""
        source, source_row, source_column, target, target_row, target_column, rows_inside, columns_inside, start, floor = args
        constant = lambda value: ir.Constant(I64, value)  # noqa: E731
        kinds = [VECTOR.as_pointer(), I32, MASK, VECTOR]
        masked_load = cgutils.get_or_insert_function(module, ir.FunctionType(VECTOR, kinds), f"llvm.masked.load.v{VL}f32.p0")
        masked_store = cgutils.get_or_insert_function(
            module, ir.FunctionType(ir.VoidType(), [VECTOR, *kinds[:3]]), f"llvm.masked.store.v{VL}f32.p0"
        )
        fma = cgutils.get_or_insert_function(module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{VL}f32")
        zero, align = ir.Constant(VECTOR, [0.0] * VL), ir.Constant(I32, 4)

        def at(base: Any, row: Any, i: int, column: Any, j: int) -> Any:
            offset = builder.add(builder.mul(row, constant(4 * i)), builder.mul(column, constant(4 * j)))
            return builder.inttoptr(builder.add(base, offset), VECTOR.as_pointer())

        def load(pointer: Any) -> Any:
            return (
                load_vector(builder, pointer) if inside is None else builder.call(masked_load, [pointer, align, inside, zero])
            )

        size, columns_of = len(matrix[0]), []
        for j in range(size):
            values = [load(at(source, source_row, i, source_column, j)) for i in range(size)]
            columns_of.append([_combine(builder, fma, row, values) for row in matrix])
        begun = load(builder.inttoptr(start, VECTOR.as_pointer())) if which == OUTPUT else None
        lowest = spread(builder, floor, VECTOR) if which == OUTPUT else None
        spare = cgutils.alloca_once(builder, VECTOR) if which == OUTPUT else None
        for i in range(len(matrix)):
            for j, row in enumerate(matrix):
                value = _combine(builder, fma, row, [column[i] for column in columns_of])
                pointer = at(target, target_row, i, target_column, j)
                if which == OUTPUT:
                    value = builder.fadd(value, begun)
                    # A NaN compares false and so stays: ReLU must not hide it.
                    value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
                    drawn = builder.and_(
                        builder.icmp_signed("<", constant(i), rows_inside),
                        builder.icmp_signed("<", constant(j), columns_inside),
                    )
                    pointer = builder.select(drawn, pointer, spare)  # pixels beyond the map's edge go nowhere
                if which == INPUT_GRADIENT:  # tiles overlap
                    value = builder.fadd(value, load_vector(builder, pointer))
                if inside is not None and of_user:
                    builder.call(masked_store, [value, pointer, align, inside])
                else:
                    builder.store(value, pointer).align = 4

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        module = builder.module
        _, _, source, source_row, source_column, target, target_row, target_column, columns, *rest = args
        vectors = builder.udiv(builder.add(columns, ir.Constant(I64, VL - 1)), ir.Constant(I64, VL))
        rows_inside, columns_inside, start, floor = rest
        with cgutils.for_range(builder, vectors) as loop:
            begin = builder.mul(loop.index, ir.Constant(I64, 4 * VL))
            here = [
                builder.add(source, begin),
                source_row,
                source_column,
                builder.add(target, begin),
                target_row,
                target_column,
            ]
            here += [rows_inside, columns_inside, builder.add(start, begin), floor]
            left = builder.sub(columns, builder.mul(loop.index, ir.Constant(I64, VL)))
            with builder.if_else(builder.icmp_signed(">=", left, ir.Constant(I64, VL))) as (whole, part):
                with whole:
                    emit(module, builder, here, None)
                with part:
                    lanes = ir.Constant(LANES, list(range(VL)))
                    emit(module, builder, here, builder.icmp_signed("<", lanes, spread(builder, left, LANES)))
        return context.get_dummy_value()

    return types.void(kind, r, *[types.int64] * 10, types.float32), codegen


_SIGNATURE = types.void(*[types.int64] * 10, types.float32)


@functools.cache
def transform(kind: int, r: int) -> int:
    """The address of a compiled transform for kernels of r×r, for `apply`; compiled when it is first asked for.

    kind: INPUT          V = B^T d B        6×6 pixels                       -> 6×6
          KERNEL         U = G g G^T        r×r weights                      -> 6×6
          OUTPUT         y = A^T M A        6×6 -> m×m pixels, plus `start`, at least `floor`, and only those inside
          OUTPUT_GRADIENT  dM = A dy A^T    m×m pixels                       -> 6×6
          INPUT_GRADIENT   dd += B dV B^T   6×6 -> 6×6 pixels, added to what is there
          KERNEL_GRADIENT  dg = G^T dU G    6×6 -> r×r weights
    """

    def tile(source, source_row, source_column, target, target_row, target_column, columns, rows_inside, columns_inside, start, floor):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
        _tile(kind, r, source, source_row, source_column, target, target_row, target_column, columns, rows_inside, columns_inside, start, floor)  # fmt: skip  # noqa: E501

    return address_of(tile, _SIGNATURE)


@intrinsic
def apply(
    typingctx: Any,
    transform: Any,
    source: Any,
    source_row: Any,
    source_column: Any,
    target: Any,
    target_row: Any,
    target_column: Any,
    columns: Any,
    rows_inside: Any,
    columns_inside: Any,
    start: Any,
    floor: Any,
) -> Any:
    """Run a `transform` on one tile.

    Args:
        source, target: addresses of the tile's first pixel; steps from row to row and column to column count floats.
        columns: channels. Scratch memory (all targets but OUTPUT's and KERNEL_GRADIENT's) is written in whole vectors.
        rows_inside, columns_inside, start, floor: for OUTPUT: how much of the tile is stored, the bias's address.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [I64] * 10 + [F32]).as_pointer()
        builder.call(builder.inttoptr(args[0], function), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, *[types.int64] * 10, types.float32), codegen
