"""The second micro-kernel: 32×32 products of bfloat16 numbers in the tile registers of a processor that has Intel's AMX.

    C[m, n] (+)= sum over steps and k < 32 of A[m, k] · B[k, n]        C float32, A and B bfloat16; m, n < 32

A bfloat16 is the upper half of a float32: the same range, 8 bits of precision. Their products are exact in float32, in
which they are summed. One instruction, `tdpbf16ps`, makes 16·16·32 of them: a step is four of these on four
tiles of C, which stay in registers from the first step to the last, two tiles of A and two of B:

- A tile of A holds 16 rows of 32 numbers, each row one cache line, rows a fixed way apart.
- A tile of B holds 16 *pairs* of rows: B[2i, n] and B[2i+1, n] beside each other for each of 16 columns n. Two tiles
  stand beside each other, so that a pair of rows is 32 columns and two cache lines.

Rows that do not begin with a cache line cost three times as much: whoever lays out A and B sees to it.

This file also has what turns float32 into these layouts: a pixel's channels rounded, two pixels paired, 32 pixels
transposed, all on whole vectors.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18 (AMX).
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minicnn.backends.numba_cpu._compile import VL, instruction, part, words
from minicnn.backends.numba_cpu._microkernel import NR, address

SIDE = 32
"""Rows and columns of a product, and numbers of a step along its sum."""

PANEL = 2 * SIDE * SIDE
"""Bytes of B that a step reads where they lie together."""

_TILE = 16
_BYTES, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_POINTER = _BYTES.as_pointer()


def _configuration() -> np.ndarray:
    """What `ldtilecfg` reads: palette 1, and for each of 8 tiles 16 rows of 64 bytes."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1
    configuration[16:32].view(np.uint16)[:] = 64
    configuration[48:56] = _TILE
    return configuration


CONFIGURATION = _configuration()


@functools.cache
def available() -> bool:
    """Whether this processor has these tiles, kernels are compiled for them, and the system lets this process use them."""
    compiled_for = {"+amx-tile", "+amx-bf16", "+avx512bf16"} <= set(str(numba.config.CPU_FEATURES).split(","))
    if not compiled_for or VL != 16 or NR != SIDE or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    # Linux keeps room for the tiles' 8 kB only in processes that ask: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
    return ctypes.CDLL(None, use_errno=True).syscall(158, 0x1023, 18) == 0


class Left(NamedTuple):
    """The factor A: where it begins, bytes from row to row, and the address of a table of bytes to add for each step."""

    at: int
    row: int
    steps: int


class Right(NamedTuple):
    """The factor B: where it begins, bytes from one pair of rows to the next, and from step to step."""

    at: int
    row: int
    step: int


class Product(NamedTuple):
    """C: where it begins, bytes from row to row, and 1 to add to what is there."""

    at: int
    row: int
    add: int


def _pointer(builder: Any, at: Any) -> Any:
    return builder.inttoptr(at, _POINTER)


def _call(builder: Any, name: str, *values: Any) -> Any:
    """An instruction of the processor that returns nothing."""
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), values)


@instruction(types.void(types.int64))
def _configure(builder: Any, at: Any) -> None:
    _call(builder, "ldtilecfg", _pointer(builder, at))


@part
def open_tiles() -> None:
    """A task that multiplies begins with this..."""
    _configure(address(CONFIGURATION))


@instruction(types.void())
def close_tiles(builder: Any) -> None:
    """...and ends with this: the system need not keep the tiles of a thread that uses none."""
    _call(builder, "tilerelease")


@instruction(types.void(words(Left), words(Right), words(Product), types.int64))
def multiply_tiles(builder: Any, a: Any, b: Any, c: Any, count: Any) -> None:
    """C (+)= A · B over `count` steps."""
    constant = lambda value: ir.Constant(_I64, value)  # noqa: E731
    tile = lambda i: ir.Constant(_BYTES, i)  # noqa: E731
    (a_at, a_row, a_steps), (b_at, b_row, b_step), (c_at, c_row, c_add) = (
        cgutils.unpack_tuple(builder, operand) for operand in (a, b, c)
    )
    sums = [
        (tile(2 * i + j), builder.add(c_at, builder.add(builder.mul(c_row, constant(_TILE * i)), constant(4 * _TILE * j))))
        for i in range(2)
        for j in range(2)
    ]
    with builder.if_else(builder.icmp_signed("!=", c_add, constant(0))) as (adds, begins):
        with adds:
            for register, at in sums:
                _call(builder, "tileloadd64", register, _pointer(builder, at), c_row)
        with begins:
            for register, _ in sums:
                _call(builder, "tilezero", register)
    steps = builder.inttoptr(a_steps, _I64.as_pointer())
    with cgutils.for_range(builder, count) as loop:
        a_here = builder.add(a_at, builder.load(builder.gep(steps, [loop.index])))
        b_here = builder.add(b_at, builder.mul(b_step, loop.index))
        for i in range(2):
            rows = builder.add(a_here, builder.mul(a_row, constant(_TILE * i)))
            _call(builder, "tileloadd64", tile(4 + i), _pointer(builder, rows), a_row)
        for j in range(2):
            columns = builder.add(b_here, constant(4 * _TILE * j))
            _call(builder, "tileloadd64", tile(6 + j), _pointer(builder, columns), b_row)
        for i in range(2):
            for j in range(2):
                _call(builder, "tdpbf16ps", tile(2 * i + j), tile(4 + i), tile(6 + j))
    for register, at in sums:
        _call(builder, "tilestored64", register, _pointer(builder, at), c_row)


# --- layouts ------------------------------------------------------------------------


class _BFloat(ir.Type):
    """LLVM's type of such numbers, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"


def _vector(kind: Any, lanes: int) -> Any:
    return ir.VectorType(kind, lanes)


_FLOATS = _vector(ir.FloatType(), 16)


def _load(builder: Any, at: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(at, kind.as_pointer()))
    value.align = 2
    return value


def _store(builder: Any, value: Any, at: Any) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer())).align = 2


def _shuffled(builder: Any, first: Any, second: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(_vector(_I32, len(lanes)), lanes))


def _there(builder: Any, lanes: Any) -> Any:
    """A mask of the first so many of 16 lanes."""
    indices = _vector(_I64, 16)
    lane0 = builder.insert_element(ir.Constant(indices, ir.Undefined), lanes, ir.Constant(_I32, 0))
    return builder.icmp_signed("<", ir.Constant(indices, list(range(16))), _shuffled(builder, lane0, lane0, [0] * 16))


@instruction(types.void(types.int64, types.int64, types.int64))
def _round_16(builder: Any, source: Any, target: Any, lanes: Any) -> None:
    """16 numbers from float32 to bfloat16 (to nearest, ties to even), of which only so many are there: 0 for the others."""
    there, align = _there(builder, lanes), ir.Constant(_I32, 4)
    kind = ir.FunctionType(_FLOATS, [_FLOATS.as_pointer(), _I32, there.type, _FLOATS])
    masked_load = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.load.v16f32.p0")
    pointer = builder.inttoptr(source, _FLOATS.as_pointer())
    values = builder.call(masked_load, [pointer, align, there, ir.Constant(_FLOATS, [0.0] * 16)])
    rounded = builder.fptrunc(values, _vector(_BFloat(), 16))
    _store(builder, builder.bitcast(rounded, _vector(_I16, 16)), target)


@part
def round_pixel(source: int, target: int, channels: int, width: int) -> None:
    """So many float32 at `source` as `width` bfloat16 at `target`, zeros behind them; width: a multiple of 16."""
    for begin in range(0, width, 16):
        _round_16(source + 4 * begin, target + 2 * begin, channels - begin)


@instruction(types.void(types.int64, types.int64, types.int64))
def pair_pixels(builder: Any, first: Any, second: Any, target: Any) -> None:
    """32 channels of two pixels as pairs (first, second): 128 bytes."""
    kind = _vector(_I16, 32)
    a, b = _load(builder, first, kind), _load(builder, second, kind)
    for half in range(2):
        lanes = [lane for c in range(16 * half, 16 * half + 16) for lane in (c, 32 + c)]
        _store(builder, _shuffled(builder, a, b, lanes), builder.add(target, ir.Constant(_I64, 64 * half)))


def _along(builder: Any, at: Any, row: Any, i: int) -> Any:
    return builder.add(at, builder.mul(row, ir.Constant(_I64, i)))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """16 vectors of 16 words: for s = 1, 2, 4, 8, words exchange bit s of their lane with bit s of their vector's number."""
    rows = list(rows)
    for s in (1, 2, 4, 8):
        low = [lane if not lane & s else 16 + lane - s for lane in range(16)]
        high = [lane + s if not lane & s else 16 + lane for lane in range(16)]
        for i in range(16):
            if not i & s:
                a, b = rows[i], rows[i | s]
                rows[i], rows[i | s] = _shuffled(builder, a, b, low), _shuffled(builder, a, b, high)
    return rows


_TWO_PLACES = types.void(types.int64, types.int64, types.int64, types.int64)


@instruction(_TWO_PLACES)
def transpose_pixels(builder: Any, source: Any, source_row: Any, target: Any, target_row: Any) -> None:
    """16 channels of 32 pixels: target[c, p] = source[p, c], rows so many bytes apart. Two neighbours make a word."""
    pixels = [_load(builder, _along(builder, source, source_row, p), _vector(_I16, 16)) for p in range(32)]
    pairs = [lane for c in range(16) for lane in (c, 16 + c)]
    words = [_shuffled(builder, pixels[2 * i], pixels[2 * i + 1], pairs) for i in range(16)]
    rows = _transposed(builder, [builder.bitcast(pair, _vector(_I32, 16)) for pair in words])
    for c in range(16):
        _store(builder, rows[c], _along(builder, target, target_row, c))


@instruction(_TWO_PLACES)
def transpose_floats(builder: Any, source: Any, source_row: Any, target: Any, target_row: Any) -> None:
    """16 by 16 float32: target[j, i] = source[i, j], rows so many bytes apart."""
    rows = _transposed(builder, [_load(builder, _along(builder, source, source_row, i), _FLOATS) for i in range(16)])
    for j in range(16):
        _store(builder, rows[j], _along(builder, target, target_row, j))


@instruction(types.void(types.int64, types.int64, types.float32, types.int64, types.int64))
def finish_16(builder: Any, sums: Any, start: Any, lower_bound: Any, target: Any, lanes: Any) -> None:
    """target = max(lower bound, start + sums), 16 numbers or only so many. A NaN compares false and so stays."""
    there, align = _there(builder, lanes), ir.Constant(_I32, 4)
    value = builder.fadd(_load(builder, sums, _FLOATS), _load(builder, start, _FLOATS))
    lane0 = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), lower_bound, ir.Constant(_I32, 0))
    lowest = _shuffled(builder, lane0, lane0, [0] * 16)
    value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
    kind = ir.FunctionType(ir.VoidType(), [_FLOATS, _FLOATS.as_pointer(), _I32, there.type])
    masked_store = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.store.v16f32.p0")
    builder.call(masked_store, [value, builder.inttoptr(target, _FLOATS.as_pointer()), align, there])
