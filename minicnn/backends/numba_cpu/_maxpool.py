"""The gradient behind a max pooling and a ReLU, led back to a row of pixels: vectors kept in registers.

In Python this is four masked stores for each load, and more arrays than LLVM is ready to prove
apart, so that it would not vectorise the loop. Written as vectors it is a handful of instructions a window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minicnn.backends.numba_cpu._compile import VL, instruction, shared, words
from minicnn.backends.numba_cpu._microkernel import I32, I64, LANES, MASK, NR, NV, VECTOR, load_vector, spread, store_vector

BYTES, INTS = ir.VectorType(ir.IntType(8), VL), ir.VectorType(I32, VL)


class Windows(NamedTuple):
    """A row of windows, for up to NR channels: addresses of the first one's values, and steps to the next one's.

    Attributes:
        dy, argmax: the gradient at the pooled pixel, and the largest pixel's place ky * KW + kx, of uint8; `step` numbers
            from one window to the next. Without a pooling: windows of one pixel, and argmax all 0.
        y, y_step: the ReLU's output likewise; without one, NR ones and a step of 0.
        windows, columns: how many windows and channels there are.
    """

    dy: int
    y: int
    y_step: int
    argmax: int
    step: int
    windows: int
    columns: int


class Pixels(NamedTuple):
    """Where the windows lie: the pixel under the first one's first tap, and the way from there, in floats.

    Attributes:
        row, window: to the row below, and to the next window.
        KH, KW: a window's size.
    """

    at: int
    row: int
    window: int
    KH: int
    KW: int


_OPERANDS = types.void(words(Windows), words(Pixels), types.int64)


@instruction(_OPERANDS)
def _row(builder: Any, windows: Any, pixels: Any, total: Any) -> None:
    dy, y, y_step, argmax, step, count, columns = cgutils.unpack_tuple(builder, windows)
    target, row, stride, KH, KW = cgutils.unpack_tuple(builder, pixels)
    module, constant = builder.module, lambda value: ir.Constant(I64, value)
    masked = {
        kind: cgutils.get_or_insert_function(
            module, ir.FunctionType(kind, [kind.as_pointer(), I32, MASK, kind]), f"llvm.masked.load.v{VL}{name}.p0"
        )
        for kind, name in ((VECTOR, "f32"), (BYTES, "i8"))
    }
    zero, no_bytes = ir.Constant(VECTOR, [0.0] * VL), ir.Constant(BYTES, [0] * VL)

    def at(base: Any, floats: Any, n: int) -> Any:
        address = builder.add(base, builder.mul(builder.add(floats, constant(n * VL)), constant(4)))
        return builder.inttoptr(address, VECTOR.as_pointer())

    def load(kind: Any, pointer: Any, n: int, nothing: Any) -> Any:
        return builder.call(masked[kind], [pointer, ir.Constant(I32, 1 if kind is BYTES else 4), inside[n], nothing])

    inside = []
    for n in range(NV):
        lanes = ir.Constant(LANES, [n * VL + lane for lane in range(VL)])
        inside.append(builder.icmp_signed("<", lanes, spread(builder, columns, LANES)))
    sums = [cgutils.alloca_once_value(builder, load_vector(builder, at(total, constant(0), n))) for n in range(NV)]
    with cgutils.for_range(builder, count) as loop:
        window = loop.index
        here, y_here = builder.mul(window, step), builder.mul(window, y_step)
        gradients, largest = [], []
        for n in range(NV):
            g = load(VECTOR, at(dy, here, n), n, zero)
            passed = builder.fcmp_ordered(">", load(VECTOR, at(y, y_here, n), n, zero), zero)
            g = builder.select(passed, g, zero)
            gradients.append(g)
            builder.store(builder.fadd(builder.load(sums[n]), g), sums[n])
            place = builder.inttoptr(builder.add(argmax, builder.add(here, constant(n * VL))), BYTES.as_pointer())
            largest.append(builder.zext(load(BYTES, place, n, no_bytes), INTS))
        first = builder.mul(window, stride)
        with cgutils.for_range(builder, KH) as down, cgutils.for_range(builder, KW) as across:
            tap = spread(builder, builder.trunc(builder.add(builder.mul(down.index, KW), across.index), I32), INTS)
            pixel = builder.add(builder.add(first, builder.mul(down.index, row)), builder.mul(across.index, constant(NR)))
            for n in range(NV):
                value = builder.select(builder.icmp_signed("==", largest[n], tap), gradients[n], zero)
                store_vector(builder, value, at(target, pixel, n))
    for n in range(NV):
        store_vector(builder, builder.load(sums[n]), at(total, constant(0), n))


@shared(_OPERANDS)
def maxpool_backward_row(windows, pixels, total):  # type: ignore[no-untyped-def]
    """The pixel at (ky, kx) under each window = the window's dy where y is positive and the largest pixel was there, else 0.

    For one row of windows that do not overlap and lie wholly on the map; 0 beyond the last channel.

    Args:
        windows, pixels: `Windows` and `Pixels`.
        total: the address of NR floats, to which dy behind the ReLU is added.
    """
    _row(windows, pixels, total)
