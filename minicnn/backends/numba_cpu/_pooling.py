"""Pooling over a row of windows, and the gradient led back through a maximum and a ReLU: vectors kept in registers.

In Python the latter is four masked stores for each load, and more arrays than LLVM is ready to prove
apart, so that it would not vectorise the loop; and a loop over the few channels of each window is made for
longer ones. Written as vectors both are a handful of instructions a window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minicnn.backends.numba_cpu._compile import VL, instruction, shared, words
from minicnn.backends.numba_cpu._microkernel import I32, I64, LANES, NR, NV, VECTOR, load_vector, masked, spread, store_vector

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
    constant, zero = lambda value: ir.Constant(I64, value), ir.Constant(VECTOR, [0.0] * VL)

    def at(base: Any, floats: Any, n: int) -> Any:
        address = builder.add(base, builder.mul(builder.add(floats, constant(n * VL)), constant(4)))
        return builder.inttoptr(address, VECTOR.as_pointer())

    load = []  # of each vector of channels
    for n in range(NV):
        lanes = ir.Constant(LANES, [n * VL + lane for lane in range(VL)])
        load.append(masked(builder, builder.icmp_signed("<", lanes, spread(builder, columns, LANES)))[0])

    def emit(vectors: int) -> None:
        """All windows of the row, so many vectors of channels each."""
        sums = [cgutils.alloca_once_value(builder, load_vector(builder, at(total, constant(0), n))) for n in range(vectors)]
        with cgutils.for_range(builder, count) as loop:
            window = loop.index
            here, y_here = builder.mul(window, step), builder.mul(window, y_step)
            gradients, largest = [], []
            for n in range(vectors):
                g = load[n](at(dy, here, n))
                passed = builder.fcmp_ordered(">", load[n](at(y, y_here, n)), zero)
                g = builder.select(passed, g, zero)
                gradients.append(g)
                builder.store(builder.fadd(builder.load(sums[n]), g), sums[n])
                place = builder.inttoptr(builder.add(argmax, builder.add(here, constant(n * VL))), BYTES.as_pointer())
                largest.append(builder.zext(load[n](place), INTS))
            first = builder.mul(window, stride)
            with cgutils.for_range(builder, KH) as down, cgutils.for_range(builder, KW) as across:
                tap = spread(builder, builder.trunc(builder.add(builder.mul(down.index, KW), across.index), I32), INTS)
                pixel = builder.add(builder.add(first, builder.mul(down.index, row)), builder.mul(across.index, constant(NR)))
                for n in range(vectors):
                    value = builder.select(builder.icmp_signed("==", largest[n], tap), gradients[n], zero)
                    store_vector(builder, value, at(target, pixel, n))
        for n in range(vectors):
            store_vector(builder, builder.load(sums[n]), at(total, constant(0), n))

    filled = builder.udiv(builder.add(columns, constant(VL - 1)), constant(VL))
    for vectors in range(1, NV + 1):
        with builder.if_then(builder.icmp_signed("==", filled, constant(vectors))):
            emit(vectors)


@shared(_OPERANDS)
def maxpool_backward_row(windows, pixels, total):  # type: ignore[no-untyped-def]
    """The pixel at (ky, kx) under each window = the window's dy where y is positive and the largest pixel was there, else 0.

    For one row of windows that do not overlap and lie wholly on the map; 0 beyond the last channel, in whole vectors.

    Args:
        windows, pixels: `Windows` and `Pixels`.
        total: the address of NR floats, to which dy behind the ReLU is added.
    """
    _row(windows, pixels, total)


class Fours(NamedTuple):
    """A row of windows of 2 by 2 pixels that lie wholly on the map, and where their results go.

    Attributes:
        at: the address of the first window's first pixel. row, window: from there to the row below and to the next window, in
            floats. y, argmax: the addresses of the first window's results, of float32 and uint8.
        windows, channels: how many there are; a pixel's channels lie together, and so do results.
    """

    at: int
    row: int
    window: int
    y: int
    argmax: int
    windows: int
    channels: int


def _over_fours(builder: Any, fours: Any, body: Callable[..., None]) -> None:
    """body(load, store, pixels, results) for each vector of channels of each window.

    pixels: where the window's four lie, 0 and 1 above, 2 and 3 below. results(kind, size, address): where the window's own
    numbers lie, of so many bytes each, from that of the first window on.
    """
    at, row, stride, _, _, windows, channels = cgutils.unpack_tuple(builder, fours)
    constant = lambda value: ir.Constant(I64, value)  # noqa: E731

    def vector(kind: Any, base: Any, size: int, *offsets: Any) -> Any:
        for offset in offsets:
            base = builder.add(base, builder.mul(offset, constant(size)))
        return builder.inttoptr(base, kind.as_pointer())

    with cgutils.for_range(builder, windows) as loop:
        first, out = builder.mul(loop.index, stride), builder.mul(loop.index, channels)
        with cgutils.for_range(builder, builder.udiv(builder.add(channels, constant(VL - 1)), constant(VL))) as vectors:
            begin = builder.mul(vectors.index, constant(VL))
            rest = builder.sub(channels, begin)
            inside = builder.icmp_signed("<", ir.Constant(LANES, list(range(VL))), spread(builder, rest, LANES))
            pixels = [
                vector(VECTOR, at, 4, first, begin, *down, *across) for down in ((), (row,)) for across in ((), (channels,))
            ]

            def results(kind: Any, size: int, address: Any) -> Any:
                return vector(kind, address, size, out, begin)

            with builder.if_else(builder.icmp_signed(">=", rest, constant(VL))) as (whole, part):
                with whole:
                    body(*masked(builder, None), pixels, results)
                with part:
                    body(*masked(builder, inside), pixels, results)


@instruction(types.void(words(Fours)))
def _max_of_fours(builder: Any, fours: Any) -> None:
    y, argmax = (builder.extract_value(fours, place) for place in (3, 4))
    places = [ir.Constant(INTS, [tap] * VL) for tap in range(4)]

    def emit(load: Any, store: Any, pixels: list[Any], results: Any) -> None:
        values = [load(pixel) for pixel in pixels]
        best, place = values[0], places[0]
        for value, tap in zip(values[1:], places[1:]):
            # Larger, or the first NaN: not (value <= best), unless the best is one already.
            larger = builder.and_(builder.fcmp_unordered(">", value, best), builder.fcmp_ordered("ord", best, best))
            best, place = builder.select(larger, value, best), builder.select(larger, tap, place)
        store(best, results(VECTOR, 4, y))
        store(builder.trunc(place, BYTES), results(BYTES, 1, argmax))

    _over_fours(builder, fours, emit)


@instruction(types.void(words(Fours)))
def _mean_of_fours(builder: Any, fours: Any) -> None:
    y, quarter = builder.extract_value(fours, 3), ir.Constant(VECTOR, [0.25] * VL)

    def emit(load: Any, store: Any, pixels: list[Any], results: Any) -> None:
        total, *others = (load(pixel) for pixel in pixels)
        for value in others:
            total = builder.fadd(total, value)
        store(builder.fmul(total, quarter), results(VECTOR, 4, y))

    _over_fours(builder, fours, emit)


@instruction(types.void(words(Fours)))
def _quarters_to_fours(builder: Any, fours: Any) -> None:
    y, quarter = builder.extract_value(fours, 3), ir.Constant(VECTOR, [0.25] * VL)

    def emit(load: Any, store: Any, pixels: list[Any], results: Any) -> None:
        share = builder.fmul(load(results(VECTOR, 4, y)), quarter)
        for pixel in pixels:
            store(share, pixel)

    _over_fours(builder, fours, emit)


@shared(types.void(words(Fours)))
def max_of_fours(fours):  # type: ignore[no-untyped-def]
    """The largest of each window's four pixels, channel by channel, and its place: 0 and 1 above, 2 and 3 below."""
    _max_of_fours(fours)


@shared(types.void(words(Fours)))
def mean_of_fours(fours):  # type: ignore[no-untyped-def]
    """The mean of each window's four pixels, channel by channel; `argmax` is not read."""
    _mean_of_fours(fours)


@shared(types.void(words(Fours)))
def quarters_to_fours(fours):  # type: ignore[no-untyped-def]
    """Each of a window's four pixels = a quarter of its y, which is read: the mean's gradient; `argmax` is not read."""
    _quarters_to_fours(fours)
