"""The gradient behind a max pooling and a ReLU, led back to a row of pixels: vectors kept in registers.

In Python this is four masked stores for each load, and more arrays than LLVM is ready to prove
apart, so that it would not vectorise the loop. Written as vectors it is a handful of instructions a window.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.backends.numba_cpu._compile import VL, shared
from minicnn.backends.numba_cpu._microkernel import I32, I64, LANES, MASK, NR, NV, VECTOR, load_vector, spread

__all__ = ["unpool_row"]

BYTES, INTS = ir.VectorType(ir.IntType(8), VL), ir.VectorType(I32, VL)


@intrinsic
def _row(
    typingctx: Any,
    dy: Any,
    y: Any,
    y_step: Any,
    winners: Any,
    windows: Any,
    step: Any,
    columns: Any,
    target: Any,
    KH: Any,
    KW: Any,
    row: Any,
    stride: Any,
    total: Any,
) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dy, y, y_step, winners, windows, step, columns, target, KH, KW, row, stride, total = args
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
        with cgutils.for_range(builder, windows) as loop:
            window = loop.index
            here, ours = builder.mul(window, step), builder.mul(window, y_step)
            gradients, won = [], []
            for n in range(NV):
                g = load(VECTOR, at(dy, here, n), n, zero)
                passed = builder.fcmp_ordered(">", load(VECTOR, at(y, ours, n), n, zero), zero)
                g = builder.select(passed, g, zero)
                gradients.append(g)
                builder.store(builder.fadd(builder.load(sums[n]), g), sums[n])
                place = builder.inttoptr(
                    builder.add(winners, builder.add(here, constant(n * VL))), BYTES.as_pointer()
                )  # a byte each
                won.append(builder.zext(load(BYTES, place, n, no_bytes), INTS))
            first = builder.mul(window, stride)
            with cgutils.for_range(builder, KH) as down, cgutils.for_range(builder, KW) as across:
                tap = spread(builder, builder.trunc(builder.add(builder.mul(down.index, KW), across.index), I32), INTS)
                pixel = builder.add(builder.add(first, builder.mul(down.index, row)), builder.mul(across.index, constant(NR)))
                for n in range(NV):
                    value = builder.select(builder.icmp_signed("==", won[n], tap), gradients[n], zero)
                    builder.store(value, at(target, pixel, n)).align = 4
        for n in range(NV):
            builder.store(builder.load(sums[n]), at(total, constant(0), n)).align = 4
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13), codegen


@shared(types.void(*[types.int64] * 13))
def unpool_row(dy, y, y_step, winners, windows, step, columns, target, KH, KW, row, stride, total):  # type: ignore[no-untyped-def]
    """target[ky, window*stride + kx, :] = dy[window, :] where y is positive and this tap won, else 0; total += dy behind y.

    For one row of windows that do not overlap and lie wholly on the map, and NR channels; 0 beyond the last channel.
    All arrays are addresses, all steps count floats (of winners, bytes).

    Args:
        dy, winners: of the first window; `step` from one to the next; winners are uint8, ky * KW + kx. Without a pooling:
            KH = KW = 1 and winners all 0.
        y, y_step: the ReLU's output likewise; without one, the address of NR ones and a step of 0.
        columns: channels there are, at most NR.
        target: the panel's pixel under the first window's first tap, `row` floats to the pixel below; windows `stride` apart.
        total: NR floats.
    """
    _row(dy, y, y_step, winners, windows, step, columns, target, KH, KW, row, stride, total)
