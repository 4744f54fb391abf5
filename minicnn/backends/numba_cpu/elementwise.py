"""Elementwise ops: a formula for one element, from which LLVM makes loops over vectors; runs of RUN elements are the tasks.

Constants are float32, since one float64 in a loop would make the whole loop float64.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from math import floor
from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu._vectormath import exp, expm1, exponentials, normal_cdf, sigmoid, softplus, tanh
from minicnn.backends.reference import elementwise as reference
from minicnn.backends.types import Array, Pads

F = np.float32
RUN = 8192  # elements of a task: with its results in a core's L2, and worth the call
ROWS = 64  # rows of a task, where a row is one problem

ZERO, HALF, ONE, TWO, THREE, FOUR, SIX = F(0), F(0.5), F(1), F(2), F(3), F(4), F(6)
BOUND = F(40)  # of the exponent in a mish
SELU_SCALE, SELU_ALPHA = F(1.0507009873554805), F(1.6732632423543772)
INVERSE_SQRT_2PI = F(0.3989422804014327)
SQRT_2_OVER_PI, GELU_CUBIC = F(0.7978845608028654), F(0.044715)


@part
def run(task: int, size: int) -> tuple[Any, Any]:
    """First and end element of a task's run; unsigned, or each index would be tested for being negative."""
    return np.uint64(task * RUN), np.uint64(min(size, (task + 1) * RUN))


def elementwise(arrays: int, work: int = 1) -> Callable[[Callable[..., Any]], Callable[..., Array]]:
    """Decorator: a formula for one element of one or two arrays, and numbers, becomes the reference's op of the same name.

    `work` is about how many operations an element takes. float64 goes to the reference.
    """

    def make(formula: Callable[..., Any]) -> Callable[..., Array]:
        twin, result = getattr(reference, formula.__name__), part(formula)

        def of_one(task, worker, x, y, *numbers):  # type: ignore[no-untyped-def]
            for i in range(*run(task, y.size)):
                y[i] = result(x[i], *numbers)

        def of_two(task, worker, dy, x, dx, *numbers):  # type: ignore[no-untyped-def]
            for i in range(*run(task, dx.size)):
                dx[i] = result(dy[i], x[i], *numbers)

        kernel = tasks(of_one if arrays == 1 else of_two, source=formula)

        @functools.wraps(twin, assigned=("__name__", "__qualname__", "__doc__"))
        def op(*args: Any, **named: Any) -> Array:
            if named:
                return op(*inspect.signature(twin).bind(*args, **named).args)
            shape, size = args[0].shape, args[0].size
            if args[0].dtype != F:
                return twin(*args)
            y = empty(shape)
            flat = [array.reshape(-1) for array in args[:arrays]]
            kernel(-(-size // RUN), size * work, *flat, y.reshape(-1), *[F(number) for number in args[arrays:]])
            return y

        return op

    return make


# --- ReLU and its relatives ---------------------------------------------------------


@elementwise(1)
def relu_forward(x: Any) -> Any:
    return ZERO if x < ZERO else x  # a NaN stays one


@elementwise(2)
def relu_backward(dy: Any, y: Any) -> Any:
    return dy if y > ZERO else ZERO


@elementwise(1)
def bounded_relu_forward(x: Any, negative_slope: Any, max_value: Any, threshold: Any) -> Any:
    below = negative_slope * (x - threshold) if negative_slope != ZERO else ZERO  # not 0 times infinity
    bounded = max_value if x >= max_value else x
    return below if x <= threshold else bounded


@elementwise(2)
def bounded_relu_backward(dy: Any, x: Any, negative_slope: Any, max_value: Any, threshold: Any) -> Any:
    bounded = ZERO if x >= max_value else dy
    return bounded if x > threshold else negative_slope * dy


@elementwise(1)
def leaky_relu_forward(x: Any, negative_slope: Any) -> Any:
    return x if x > ZERO else negative_slope * x


@elementwise(2)
def leaky_relu_backward(dy: Any, x: Any, negative_slope: Any) -> Any:
    return dy if x > ZERO else negative_slope * dy


# --- activations with an exponential ------------------------------------------------


@elementwise(1, work=4)
def elu_forward(x: Any, alpha: Any) -> Any:
    return x if x > ZERO else alpha * expm1(x)  # exp(x) - 1 without cancellation near 0


@elementwise(2, work=4)
def elu_backward(dy: Any, x: Any, alpha: Any) -> Any:
    return dy if x > ZERO else dy * alpha * exp(x)


@elementwise(1, work=4)
def selu_forward(x: Any) -> Any:
    return SELU_SCALE * (x if x > ZERO else SELU_ALPHA * expm1(x))


@elementwise(2, work=4)
def selu_backward(dy: Any, x: Any) -> Any:
    return SELU_SCALE * dy * (ONE if x > ZERO else SELU_ALPHA * exp(x))


@elementwise(1, work=4)
def gelu_forward(x: Any) -> Any:
    below, _ = normal_cdf(x)
    return x * below


@elementwise(2, work=4)
def gelu_backward(dy: Any, x: Any) -> Any:
    below, density = normal_cdf(x)
    return dy * (below + x * (INVERSE_SQRT_2PI * density))


@elementwise(1, work=4)
def gelu_tanh_forward(x: Any) -> Any:
    u = SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)
    return HALF * x * (ONE + tanh(u))


@elementwise(2, work=4)
def gelu_tanh_backward(dy: Any, x: Any) -> Any:
    """dx = dy * ((1 + t) / 2 + x/2 * (1 - t**2) * du/dx), t = tanh(u), u the argument in `gelu_tanh_forward`."""
    square = x * x
    t = tanh(SQRT_2_OVER_PI * x * (ONE + GELU_CUBIC * square))
    du = SQRT_2_OVER_PI * (ONE + THREE * GELU_CUBIC * square)
    return dy * HALF * (ONE + t + x * (ONE - t * t) * du)


@elementwise(1, work=4)
def silu_forward(x: Any) -> Any:
    return x * sigmoid(x)


@elementwise(2, work=4)
def silu_backward(dy: Any, x: Any) -> Any:
    s = sigmoid(x)
    return dy * s * (ONE + x * (ONE - s))


@part
def _bounded_exp(x: Any) -> Any:
    """exp(min(x, 40)), whose square float32 still holds."""
    return exp(BOUND if x > BOUND else x)


@elementwise(1, work=4)
def mish_forward(x: Any) -> Any:
    e = _bounded_exp(x)
    n = e * (e + TWO)
    return x * (n / (n + TWO))


@elementwise(2, work=4)
def mish_backward(dy: Any, x: Any) -> Any:
    e = _bounded_exp(x)
    n = e * (e + TWO)
    return dy * (n / (n + TWO) + x * (FOUR * e * (ONE + e) / (n + TWO) / (n + TWO)))


@part
def _hard_sigmoid(x: Any) -> Any:
    """(x + 3) / 6, within 0 and 1; a NaN stays one."""
    return (ZERO if x < -THREE else (SIX if x > THREE else x + THREE)) / SIX


@elementwise(1)
def hard_silu_forward(x: Any) -> Any:
    return x * _hard_sigmoid(x)


@elementwise(2)
def hard_silu_backward(dy: Any, x: Any) -> Any:
    inner = ZERO if x <= -THREE else dy * ((TWO * x + THREE) / SIX)
    return dy if x >= THREE else inner


@elementwise(1, work=4)
def sigmoid_forward(x: Any) -> Any:
    return sigmoid(x)


@elementwise(2)
def sigmoid_backward(dy: Any, y: Any) -> Any:
    return dy * y * (ONE - y)


@elementwise(1)
def hard_sigmoid_forward(x: Any) -> Any:
    return _hard_sigmoid(x)


@elementwise(2)
def hard_sigmoid_backward(dy: Any, y: Any) -> Any:
    return dy / SIX if ZERO < y < ONE else ZERO


@elementwise(1, work=4)
def tanh_forward(x: Any) -> Any:
    return tanh(x)


@elementwise(2)
def tanh_backward(dy: Any, y: Any) -> Any:
    return dy * (ONE - y * y)


@elementwise(1, work=4)
def softplus_forward(x: Any) -> Any:
    return softplus(x)


@elementwise(2, work=4)
def softplus_backward(dy: Any, x: Any) -> Any:
    return dy * sigmoid(x)


def softmax_forward(x: Array) -> Array:
    """Parallel over rows."""
    if x.dtype != F:
        return reference.softmax_forward(x)
    y = empty(x.shape)
    rows = x.reshape(-1, x.shape[-1])
    _softmax_forward(-(-rows.shape[0] // ROWS), x.size * 4, rows, y.reshape(rows.shape))
    return y


@tasks
def _softmax_forward(task: int, worker: int, x: Any, y: Any) -> None:
    M, C = x.shape
    for m in range(task * ROWS, min(M, task * ROWS + ROWS)):
        _, total = exponentials(x[m], y[m])
        for c in range(C):
            y[m, c] /= total


def softmax_backward(dy: Array, y: Array) -> Array:
    """Parallel over rows."""
    if dy.dtype != F:
        return reference.softmax_backward(dy, y)
    dx = empty(y.shape)
    rows = (y.size // max(1, y.shape[-1]), y.shape[-1])
    _softmax_backward(-(-rows[0] // ROWS), y.size * 4, dy.reshape(rows), y.reshape(rows), dx.reshape(rows))
    return dx


@tasks
def _softmax_backward(task: int, worker: int, dy: Any, y: Any, dx: Any) -> None:
    M, C = y.shape
    for m in range(task * ROWS, min(M, task * ROWS + ROWS)):
        dot = ZERO
        for c in range(C):
            dot += dy[m, c] * y[m, c]
        for c in range(C):
            dx[m, c] = y[m, c] * (dy[m, c] - dot)


# --- random -------------------------------------------------------------------------


WORDS = 256  # drawn at once: a buffer in L1


@part
def random_words(seed: Any, step: Any, first: int, words: Any) -> None:
    """words[4*i : 4*i + 4] = the four words of counter first + i; ten rounds of Philox, in vectors of counters."""
    multiplier0, multiplier1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    for i in range(WORDS // 4):
        c0, c1, c2, c3 = np.uint32(first + i), np.uint32(0), step, np.uint32(0)
        k0, k1 = seed, np.uint32(0)
        for _ in range(10):
            product0 = multiplier0 * np.uint64(c0)
            product1 = multiplier1 * np.uint64(c2)
            c0, c1 = np.uint32(product1 >> np.uint64(32)) ^ c1 ^ k0, np.uint32(product1)
            c2, c3 = np.uint32(product0 >> np.uint64(32)) ^ c3 ^ k1, np.uint32(product0)
            k0, k1 = np.uint32(k0 + np.uint32(0x9E3779B9)), np.uint32(k1 + np.uint32(0xBB67AE85))
        words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3] = c0, c1, c2, c3


def dropout_forward(x: Array, rate: float, key: Array) -> Array:
    """The words are drawn run by run in L1 and never stored."""
    if x.dtype != F:
        return reference.dropout_forward(x, rate, key)
    y = empty(x.shape)
    bound, scale = np.uint32(floor(rate * 2**32)), F(1 / (1 - rate))
    _dropout(-(-x.size // RUN), x.size * 10, x.reshape(-1), y.reshape(-1), bound, scale, key)
    return y


@tasks
def _dropout(task: int, worker: int, x: Any, y: Any, bound: Any, scale: Any, key: Any) -> None:
    words = np.empty(WORDS, np.uint32)
    for begin in range(task * RUN, min(x.size, (task + 1) * RUN), WORDS):
        random_words(key[0], key[1], begin // 4, words)
        source, target = x[begin : begin + WORDS], y[begin : begin + WORDS]
        for i in range(target.size):
            value = source[i] * scale
            target[i] = value if words[i] >= bound else ZERO


def dropout_backward(dy: Array, rate: float, key: Array) -> Array:
    """Dropout is linear once its mask is drawn, so that it is its own gradient."""
    return dropout_forward(dy, rate, key)


def random_bits(key: Array, count: int) -> Array:
    """Parallel over runs."""
    bits = empty((count,), np.uint32)
    _random_bits(-(-count // RUN), count * 10, key, bits)
    return bits


@tasks
def _random_bits(task: int, worker: int, key: Any, bits: Any) -> None:
    words = np.empty(WORDS, np.uint32)
    for begin in range(task * RUN, min(bits.size, (task + 1) * RUN), WORDS):
        random_words(key[0], key[1], begin // 4, words)
        target = bits[begin : begin + WORDS]
        for i in range(target.size):
            target[i] = words[i]


def draw_key_(state: Array) -> Array:
    """Into step memory."""
    key = empty((2,), np.uint32)
    key[...] = state
    state[1:] += np.uint32(1)
    return key


# --- moving data --------------------------------------------------------------------


def zero_pad2d_forward(x: Array, pads: Pads) -> Array:
    """Into step memory."""
    N, H, W, C = x.shape
    top, bottom, left, right = pads
    y = empty((N, H + top + bottom, W + left + right, C), x.dtype)
    y[:, :top] = 0
    y[:, top + H :] = 0
    y[:, top : top + H, :left] = 0
    y[:, top : top + H, left + W :] = 0
    y[:, top : top + H, left : left + W] = x
    return y


def zero_pad2d_backward(dy: Array, pads: Pads) -> Array:
    """Into step memory."""
    N, H, W, C = dy.shape
    top, bottom, left, right = pads
    dx = empty((N, H - top - bottom, W - left - right, C), dy.dtype)
    dx[...] = dy[:, top : H - bottom, left : W - right]
    return dx


@elementwise(1)
def rescale(x: Any, scale: Any, offset: Any) -> Any:
    return x * scale + offset


@tasks
def _add(task, worker, a, b, y, lower_bound):  # type: ignore[no-untyped-def]
    for i in range(*run(task, y.size)):
        z = a[i] + b[i]
        y[i] = lower_bound if z < lower_bound else z  # a NaN stays one


def add_forward(xs: list[Array], relu: bool = False) -> Array:
    """From left to right, into step memory; the ReLU is met with the last sum."""
    first, *others = xs
    if first.dtype == F and others and all(x.shape == first.shape for x in others):
        y, total = empty(first.shape), first
        for added, x in enumerate(others, 1):
            bound = ZERO if relu and added == len(others) else F(-np.inf)
            _add(-(-y.size // RUN), y.size, total.reshape(-1), x.reshape(-1), y.reshape(-1), bound)
            total = y
        return y
    y = empty(np.broadcast_shapes(*[x.shape for x in xs]), first.dtype)
    y[...] = first
    for x in others:
        np.add(y, x, out=y)
    return np.maximum(y, 0, out=y) if relu else y


def concatenate_forward(xs: list[Array], axis: int) -> Array:
    """Into step memory."""
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return np.concatenate(xs, axis=axis, out=empty(tuple(shape), xs[0].dtype))


def concatenate_backward(dy: Array, sizes: list[int], axis: int) -> list[Array]:
    """Into step memory."""
    pieces, begin = [], 0
    for size in sizes:
        here = [slice(None)] * dy.ndim
        here[axis] = slice(begin, begin + size)
        part_of_dy = dy[tuple(here)]
        piece = empty(part_of_dy.shape, dy.dtype)
        piece[...] = part_of_dy
        pieces.append(piece)
        begin += size
    return pieces
