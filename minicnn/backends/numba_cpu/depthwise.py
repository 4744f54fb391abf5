"""Depthwise convolution: three loop nests around one product, whose vectors are channels (see `_channelwise`).

Forward, and backward to the input, an image is gathered from another: at each place along an axis a run of the
kernel's taps meets pixels. Which taps, and where, is the same for all images and rows, and is worked out once for a
window (`Axis`), with paddings, strides and dilations in it. So both are one loop nest, and nothing is padded.
float64 goes to the reference backend.
"""

from __future__ import annotations

import functools
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._channelwise import MOST, Extent, Pixels, Start, multiply_channelwise, tile
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._geometry import CHUNKS, sum_chunks
from minicnn.backends.numba_cpu._microkernel import NO_BOUND, NR, ZERO, Panel, address
from minicnn.backends.numba_cpu._panels import NO_BIAS, clear, start_row
from minicnn.backends.numba_cpu._parallel import even_parts, parallel_for
from minicnn.backends.numba_cpu.elementwise import relu_backward
from minicnn.backends.reference import depthwise as reference
from minicnn.backends.types import Array, Window

TASK_ROWS = 32  # of output that a task computes at most
SUMMED_ROWS = 2  # of output that a sum of dkernel goes through at once: they, and the rows of x that they meet, stay in L1
WEIGHT_BYTES = 16384  # of a kernel that are read again and again


class Axis(NamedTuple):
    """Which taps each place of a window meets along one axis, and where.

    Attributes:
        places: (5, runs), of runs of places that meet as many taps: a run's first place; how many it has; its first
            tap; how many taps (there may be none); the pixel under that tap at the first place.
        place_step, source_step: from place to place of a run; what it is in pixels.
        tap_step, pixel_step: from tap to tap; what it is in pixels.
    """

    places: np.ndarray
    place_step: int
    source_step: int
    tap_step: int
    pixel_step: int


def _runs(places: list[tuple[int, int, int, int]], place_step: int) -> np.ndarray:
    """`Axis.places` of (place, first tap, taps, pixel), in order: neighbours with the same taps make one run."""
    runs: list[list[int]] = []
    for place, first, count, pixel in places:
        if runs and runs[-1][2:4] == [first, count] and runs[-1][0] + runs[-1][1] * place_step == place:
            runs[-1][1] += 1
        else:
            runs.append([place, 1, first, count, pixel])
    return np.array(runs, np.int64).reshape(-1, 5).T.copy()


@functools.lru_cache(maxsize=4096)
def _axis(size: int, window: Window, axis: int) -> Axis:
    """Forward, along an axis of an image of so many pixels: an output pixel gathers the pixels under its taps."""
    K, S, D, before = window.size[axis], window.strides[axis], window.dilation[axis], window.pads[2 * axis]
    places = []
    for o in range(window.output[axis]):
        taps = [k for k in range(K) if 0 <= o * S + k * D - before < size]
        first = taps[0] if taps else 0
        places.append((o, first, len(taps), o * S + first * D - before))
    return Axis(_runs(places, 1), 1, S, 1, D)


@functools.lru_cache(maxsize=4096)
def _axis_backward(size: int, window: Window, axis: int) -> Axis:
    """Backward: a pixel h gathers from the outputs o that read it, o*S + k*D - before == h, from every period-th tap."""
    K, S, D, before = window.size[axis], window.strides[axis], window.dilation[axis], window.pads[2 * axis]
    period = S // gcd(S, D)
    places = []
    for phase in range(S):  # pixels a stride apart meet the same taps
        for h in range(phase, size, S):
            meeting = [(k, (h + before - k * D) // S) for k in range(K) if (h + before - k * D) % S == 0]
            inside = [(k, o) for k, o in meeting if 0 <= o < window.output[axis]]
            first, pixel = inside[0] if inside else (0, 0)
            places.append((h, first, len(inside), pixel))
    return Axis(_runs(places, S), S, 1, period, -period * D // S)


# --- forward ------------------------------------------------------------------------


def depthwise_conv2d_forward(x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False) -> Array:
    """Parallel over images and bands of rows; a tile is 6 pixels of a row by NR channels."""
    if x.dtype != np.float32:
        return reference.depthwise_conv2d_forward(x, kernel, bias, window, relu)
    KH, KW, C, M = kernel.shape
    (N, H, W, _), y = x.shape, empty((len(x), *window.output, C * M))
    axes = tuple(_axis(H, window, 0)), tuple(_axis(W, window, 1))
    arrays = _repeated(x, M), kernel.reshape(KH, KW, C * M), NO_BIAS if bias is None else bias, y
    _gather(arrays, axes, _band(N, y.shape[1]), relu)
    return y


def _repeated(x: Array, M: int) -> Array:
    """Each channel M times, as the outputs want it: (N, H, W, C*M)."""
    return x if M == 1 else np.repeat(x, M, axis=3)


def _band(N: int, rows: int) -> int:
    """Rows of a task: fewer where the images are too few to share."""
    bands = max(-(-rows // TASK_ROWS), even_parts(N) if N < CHUNKS else 1)
    return max(1, -(-rows // bands))


class Rectangle(NamedTuple):
    """Places of a window that meet the same taps, as steps in floats through y (or dz) and x.

    Attributes:
        y, x: where its first place is, and the pixel under that place's first tap, from their arrays' beginnings.
        lines, line_y, line_x: how many lines of places there are, and the way from one to the next.
        pixels, pixel_y, pixel_x: likewise of the places along a line.
        ky, kx, taps_y, taps_x: its first tap, and how many it meets.
    """

    y: int
    x: int
    lines: int
    line_y: int
    line_x: int
    pixels: int
    pixel_y: int
    pixel_x: int
    ky: int
    kx: int
    taps_y: int
    taps_x: int


@part
def _rectangle(down: Any, across: Any, runs: Any, span: Any, widths: Any, C: int) -> Any:
    """Where a run of rows crosses a run of columns, as far as its rows lie in the span (first, end). widths: of y and x."""
    (i, j), (OW, W) = runs, widths
    place, step = down.places[0, i], down.place_step
    skip = max(0, (span[0] - place + step - 1) // step)
    rows = max(0, min(down.places[1, i], (span[1] - place + step - 1) // step) - skip)
    y = (place + skip * step) * OW + across.places[0, j]
    x = (down.places[4, i] + skip * down.source_step) * W + across.places[4, j]
    return Rectangle(
        y * C, x * C,
        rows, step * OW * C, down.source_step * W * C,
        across.places[1, j], across.place_step * C, across.source_step * C,
        down.places[2, i], across.places[2, j], down.places[3, i], across.places[3, j],
    )  # fmt: skip


@part
def _gather_band(task: int, worker: int, arrays: Any, down: Any, across: Any, band: int, lower_bound: Any) -> None:
    """So many rows of one image of y, rectangle by rectangle. Each is walked through along its longer side."""
    x, kernel, start, y = arrays
    (_, _, W, C), (_, OH, OW, _), (KH, KW, _) = x.shape, y.shape, kernel.shape
    bands = (OH + band - 1) // band
    n, begin = task // bands, task % bands * band
    together = max(1, WEIGHT_BYTES // (4 * KH * KW * NR)) * NR  # channels, whose weights stay in L1
    for i in range(down.places.shape[1]):
        for j in range(across.places.shape[1]):
            r = _rectangle(down, across, (i, j), (begin, min(begin + band, OH)), (OW, W), C)
            lines, line_y, line_x, pixels, pixel_y, pixel_x = r.lines, r.line_y, r.line_x, r.pixels, r.pixel_y, r.pixel_x
            if pixels < MOST and lines > pixels:
                lines, line_y, line_x, pixels, pixel_y, pixel_x = pixels, pixel_y, pixel_x, lines, line_y, line_x
            x_at, y_at = address(x[n]) + 4 * r.x, address(y[n]) + 4 * r.y
            b_at = address(kernel) + 4 * (r.ky * KW + r.kx) * C
            ahead = (r.taps_y - 1) * down.pixel_step * W * C + line_x  # what the next line reads and this one does not
            for first in range(0, C, together):
                for line in range(lines):
                    tiles = (pixels + MOST - 1) // MOST  # of nearly equal numbers of pixels
                    for k in range(tiles):
                        pixel, end = pixels * k // tiles, pixels * (k + 1) // tiles
                        a_at, c_at = x_at + 4 * (line * line_x + pixel * pixel_x), y_at + 4 * (line * line_y + pixel * pixel_y)
                        for c in range(first, min(first + together, C), NR):
                            tile(
                                Pixels(a_at + 4 * c, pixel_x, down.pixel_step * W * C, across.pixel_step * C),
                                Panel(b_at + 4 * c, down.tap_step * KW * C, across.tap_step * C),
                                Pixels(c_at + 4 * c, pixel_y, 0, 0),
                                Start(address(start) + 4 * c, 0),
                                Extent(end - pixel, min(NR, C - c), r.taps_y, r.taps_x, ahead),
                                lower_bound,
                            )


@compiled
def _gather(arrays, axes, band, relu):  # type: ignore[no-untyped-def]
    x, kernel, bias, y = arrays
    down, across = Axis(*axes[0]), Axis(*axes[1])
    N, OH, _, C = y.shape
    arrays, lower_bound = (x, kernel, start_row(bias, C), y), ZERO if relu else NO_BOUND
    tasks, work = N * ((OH + band - 1) // band), y.size * kernel.shape[0] * kernel.shape[1]
    parallel_for(tasks, work, _gather_band, (arrays, down, across, band, lower_bound))


# --- gradients ----------------------------------------------------------------------


def depthwise_conv2d_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """dx as the forward pass; dkernel and dbias in parallel over chunks of the output's rows, which are added in order."""
    if dy.dtype != np.float32:
        return reference.depthwise_conv2d_backward(dy, x, kernel, window, y, need_dx)
    (N, H, W, C), (KH, KW, _, M) = x.shape, kernel.shape
    dz = dy if y is None else relu_backward(dy, y)
    partial, total = empty((CHUNKS, KH * KW + 1, C * M)), empty((KH * KW + 1, C * M))
    axes = tuple(_axis(H, window, 0)), tuple(_axis(W, window, 1))
    _kernel_gradient(_repeated(x, M), dz, partial, total, axes, KW)
    dkernel, dbias = total[:-1].reshape(kernel.shape), total[-1]
    if not need_dx:
        return None, dkernel, dbias
    dx = empty((N, H, W, C * M))
    axes = tuple(_axis_backward(H, window, 0)), tuple(_axis_backward(W, window, 1))
    _gather((dz, kernel.reshape(KH, KW, C * M), NO_BIAS, dx), axes, _band(N, H), False)
    return dx if M == 1 else dx.reshape(N, H, W, C, M).sum(axis=4), dkernel, dbias


@part
def _kernel_rows(chunk: int, worker: int, arrays: Any, partial: Any, down: Any, across: Any, KW: int) -> None:
    """partial[chunk] = this chunk's share of dkernel (KH*KW, C), and of dbias behind it.

    A tile is the taps of a kernel's row, by NR channels; the sum runs over the places that meet them.
    """
    x, dz = arrays
    (N, OH, OW, C), W, taps, sums = dz.shape, x.shape[2], partial.shape[1] - 1, partial[chunk]
    clear(sums)
    row, end = chunk * N * OH // CHUNKS, (chunk + 1) * N * OH // CHUNKS
    while row < end:
        n, oy = row // OH, row % OH
        rows = min(end - row, OH - oy, SUMMED_ROWS)
        for h in range(oy, oy + rows):
            for w in range(OW):
                for c in range(C):
                    sums[taps, c] += dz[n, h, w, c]
        for i in range(down.places.shape[1]):
            for j in range(across.places.shape[1]):
                r = _rectangle(down, across, (i, j), (oy, oy + rows), (OW, W), C)
                for c in range(0, C, NR):
                    for k in range(r.taps_y if r.lines > 0 else 0):
                        at = address(x[n]) + 4 * (r.x + k * down.pixel_step * W * C + c)
                        c_at = address(sums) + 4 * (((r.ky + k) * KW + r.kx) * C + c)
                        multiply_channelwise(
                            Pixels(at, across.pixel_step * C, r.line_x, r.pixel_x),
                            Panel(address(dz[n]) + 4 * (r.y + c), r.line_y, r.pixel_y),
                            Pixels(c_at, C, 0, 0),
                            Start(c_at, C),
                            Extent(r.taps_x, min(NR, C - c), r.lines, r.pixels, 0),
                            NO_BOUND,
                        )
        row += rows


@compiled
def _kernel_gradient(x, dz, partial, total, axes, KW):  # type: ignore[no-untyped-def]
    chunks, sums, _ = partial.shape
    parallel_for(chunks, dz.size * sums, _kernel_rows, ((x, dz), partial, Axis(*axes[0]), Axis(*axes[1]), KW))
    parallel_for((sums + 7) // 8, partial.size, sum_chunks, (partial, total))


def depthwise_conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """The loops of this file."""
    return "direct"
