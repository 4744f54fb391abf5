"""Elementwise ops: runs of RUN elements are the tasks, and LLVM turns each loop into vectors.

Constants are float32, since one float64 in a loop would make the whole loop float64.
"""

from __future__ import annotations

from math import erfc, floor
from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._parallel import tasks

__all__ = [
    "add_forward",
    "bounded_relu_backward",
    "bounded_relu_forward",
    "concatenate_backward",
    "concatenate_forward",
    "draw_key_",
    "dropout_backward",
    "dropout_forward",
    "elu_backward",
    "elu_forward",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "random_bits",
    "relu_backward",
    "relu_forward",
    "rescale",
    "selu_backward",
    "selu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
    "tanh_backward",
    "tanh_forward",
    "zero_pad2d_backward",
    "zero_pad2d_forward",
]

Array = Any
Pads = tuple[int, int, int, int]

F = np.float32
RUN = 8192  # elements of a task: with its results in a core's L2, and worth the call
ROWS = 64  # rows of a task, where a row is one problem

ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)
SELU_SCALE, SELU_ALPHA = F(1.0507009873554805), F(1.6732632423543772)
SQRT_HALF = F(0.7071067811865476)
INVERSE_SQRT_2PI = F(0.3989422804014327)
SQRT_2_OVER_PI, GELU_CUBIC = F(0.7978845608028654), F(0.044715)


def over_elements(kernel: Any, twin: Any, arrays: tuple[Array, ...], *scalars: float, work: int = 1) -> Array:
    """kernel(task, worker, *arrays, y, *scalars) over runs of flat arrays of one shape; `twin` of the reference for float64."""
    shape, size = arrays[0].shape, arrays[0].size
    if arrays[0].dtype != F:
        return twin(*arrays, *scalars)
    y = empty(shape)
    kernel(-(-size // RUN), size * work, *[array.reshape(-1) for array in arrays], y.reshape(-1), *[F(s) for s in scalars])
    return y


@part
def run(task: int, size: int) -> tuple[Any, Any]:
    """First and end element of a task's run; unsigned, or each index would be tested for being negative."""
    return np.uint64(task * RUN), np.uint64(min(size, (task + 1) * RUN))


# --- ReLU and its relatives ---------------------------------------------------------


def relu_forward(x: Array) -> Array:
    """A NaN stays one."""
    return over_elements(_relu_forward, reference.relu_forward, (x,))


@tasks
def _relu_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = ZERO if x[i] < ZERO else x[i]


def relu_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return over_elements(_relu_backward, reference.relu_backward, (dy, y))


@tasks
def _relu_backward(task: int, worker: int, dy: Any, y: Any, dx: Any) -> None:
    for i in range(*run(task, y.size)):
        dx[i] = dy[i] if y[i] > ZERO else ZERO


def bounded_relu_forward(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """As in the spec."""
    return over_elements(_bounded_relu_forward, reference.bounded_relu_forward, (x,), negative_slope, max_value, threshold)


@tasks
def _bounded_relu_forward(task: int, worker: int, x: Any, y: Any, negative_slope: Any, max_value: Any, threshold: Any) -> None:
    for i in range(*run(task, x.size)):
        inner = x[i] if x[i] >= threshold else negative_slope * (x[i] - threshold)
        y[i] = max_value if x[i] >= max_value else inner


def bounded_relu_backward(dy: Array, x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """As in the spec."""
    return over_elements(_bounded_relu_backward, reference.bounded_relu_backward, (dy, x), negative_slope, max_value, threshold)


@tasks
def _bounded_relu_backward(
    task: int, worker: int, dy: Any, x: Any, dx: Any, negative_slope: Any, max_value: Any, threshold: Any
) -> None:
    for i in range(*run(task, x.size)):
        inner = dy[i] if x[i] > threshold else negative_slope * dy[i]
        dx[i] = ZERO if x[i] >= max_value else inner


def leaky_relu_forward(x: Array, negative_slope: float) -> Array:
    """As in the spec."""
    return over_elements(_leaky_relu_forward, reference.leaky_relu_forward, (x,), negative_slope)


@tasks
def _leaky_relu_forward(task: int, worker: int, x: Any, y: Any, negative_slope: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = x[i] if x[i] > ZERO else negative_slope * x[i]


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float) -> Array:
    """As in the spec."""
    return over_elements(_leaky_relu_backward, reference.leaky_relu_backward, (dy, x), negative_slope)


@tasks
def _leaky_relu_backward(task: int, worker: int, dy: Any, x: Any, dx: Any, negative_slope: Any) -> None:
    for i in range(*run(task, x.size)):
        dx[i] = dy[i] if x[i] > ZERO else negative_slope * dy[i]


# --- activations with an exponential ------------------------------------------------


def elu_forward(x: Array, alpha: float) -> Array:
    """exp(x) - 1 without cancellation near 0."""
    return over_elements(_elu_forward, reference.elu_forward, (x,), alpha, work=10)


@tasks
def _elu_forward(task: int, worker: int, x: Any, y: Any, alpha: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = x[i] if x[i] > ZERO else alpha * np.expm1(x[i])


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """As in the spec."""
    return over_elements(_elu_backward, reference.elu_backward, (dy, x), alpha, work=10)


@tasks
def _elu_backward(task: int, worker: int, dy: Any, x: Any, dx: Any, alpha: Any) -> None:
    for i in range(*run(task, x.size)):
        dx[i] = dy[i] if x[i] > ZERO else dy[i] * alpha * np.exp(x[i])


def selu_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_selu_forward, reference.selu_forward, (x,), work=10)


@tasks
def _selu_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = SELU_SCALE * (x[i] if x[i] > ZERO else SELU_ALPHA * np.expm1(x[i]))


def selu_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return over_elements(_selu_backward, reference.selu_backward, (dy, x), work=10)


@tasks
def _selu_backward(task: int, worker: int, dy: Any, x: Any, dx: Any) -> None:
    for i in range(*run(task, x.size)):
        dx[i] = SELU_SCALE * dy[i] * (ONE if x[i] > ZERO else SELU_ALPHA * np.exp(x[i]))


@part
def normal_cdf(x: Any) -> Any:
    """Phi(x) = erfc(-x / sqrt 2) / 2: exact for large negative x too, where 1 + erf would cancel."""
    return HALF * F(erfc(-x * SQRT_HALF))


def gelu_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_gelu_forward, reference.gelu_forward, (x,), work=20)


@tasks
def _gelu_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = x[i] * normal_cdf(x[i])


def gelu_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return over_elements(_gelu_backward, reference.gelu_backward, (dy, x), work=30)


@tasks
def _gelu_backward(task: int, worker: int, dy: Any, x: Any, dx: Any) -> None:
    for i in range(*run(task, x.size)):
        dx[i] = dy[i] * (normal_cdf(x[i]) + x[i] * INVERSE_SQRT_2PI * np.exp(-HALF * x[i] * x[i]))


def gelu_tanh_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_gelu_tanh_forward, reference.gelu_tanh_forward, (x,), work=20)


@tasks
def _gelu_tanh_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        u = SQRT_2_OVER_PI * (x[i] + GELU_CUBIC * x[i] * x[i] * x[i])
        y[i] = HALF * x[i] * (ONE + np.tanh(u))


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """dx = dy * ((1 + t) / 2 + x/2 * (1 - t**2) * du/dx), t = tanh(u), u the argument in `gelu_tanh_forward`."""
    return over_elements(_gelu_tanh_backward, reference.gelu_tanh_backward, (dy, x), work=20)


@tasks
def _gelu_tanh_backward(task: int, worker: int, dy: Any, x: Any, dx: Any) -> None:
    for i in range(*run(task, x.size)):
        square = x[i] * x[i]
        t = np.tanh(SQRT_2_OVER_PI * x[i] * (ONE + GELU_CUBIC * square))
        du = SQRT_2_OVER_PI * (ONE + F(3) * GELU_CUBIC * square)
        dx[i] = dy[i] * HALF * (ONE + t + x[i] * (ONE - t * t) * du)


@part
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) where x >= 0, exp(x) / (1 + exp(x)) below: no exponent is positive."""
    e = np.exp(-abs(x))
    return (ONE if x >= ZERO else e) / (ONE + e)


def silu_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_silu_forward, reference.silu_forward, (x,), work=10)


@tasks
def _silu_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = x[i] * sigmoid(x[i])


def silu_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return over_elements(_silu_backward, reference.silu_backward, (dy, x), work=10)


@tasks
def _silu_backward(task: int, worker: int, dy: Any, x: Any, dx: Any) -> None:
    for i in range(*run(task, x.size)):
        s = sigmoid(x[i])
        dx[i] = dy[i] * s * (ONE + x[i] * (ONE - s))


def sigmoid_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_sigmoid_forward, reference.sigmoid_forward, (x,), work=10)


@tasks
def _sigmoid_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = sigmoid(x[i])


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return over_elements(_sigmoid_backward, reference.sigmoid_backward, (dy, y))


@tasks
def _sigmoid_backward(task: int, worker: int, dy: Any, y: Any, dx: Any) -> None:
    for i in range(*run(task, y.size)):
        dx[i] = dy[i] * y[i] * (ONE - y[i])


def tanh_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_tanh_forward, reference.tanh_forward, (x,), work=20)


@tasks
def _tanh_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = np.tanh(x[i])


def tanh_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return over_elements(_tanh_backward, reference.tanh_backward, (dy, y))


@tasks
def _tanh_backward(task: int, worker: int, dy: Any, y: Any, dx: Any) -> None:
    for i in range(*run(task, y.size)):
        dx[i] = dy[i] * (ONE - y[i] * y[i])


@part
def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return (ZERO if x < ZERO else x) + np.log1p(np.exp(-abs(x)))


def softplus_forward(x: Array) -> Array:
    """As in the spec."""
    return over_elements(_softplus_forward, reference.softplus_forward, (x,), work=20)


@tasks
def _softplus_forward(task: int, worker: int, x: Any, y: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = softplus(x[i])


def softplus_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return over_elements(_softplus_backward, reference.softplus_backward, (dy, x), work=10)


@tasks
def _softplus_backward(task: int, worker: int, dy: Any, x: Any, dx: Any) -> None:
    for i in range(*run(task, x.size)):
        dx[i] = dy[i] * sigmoid(x[i])


def softmax_forward(x: Array) -> Array:
    """Parallel over rows."""
    if x.dtype != F:
        return reference.softmax_forward(x)
    y = empty(x.shape)
    rows = x.reshape(-1, x.shape[-1])
    _softmax_forward(-(-rows.shape[0] // ROWS), x.size * 10, rows, y.reshape(rows.shape))
    return y


@tasks
def _softmax_forward(task: int, worker: int, x: Any, y: Any) -> None:
    M, C = x.shape
    for m in range(task * ROWS, min(M, task * ROWS + ROWS)):
        largest = x[m, 0]
        for c in range(1, C):
            largest = max(largest, x[m, c])
        total = ZERO
        for c in range(C):
            y[m, c] = np.exp(x[m, c] - largest)
            total += y[m, c]
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
    """As in the spec."""
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
    """As in the spec."""
    key = empty((2,), np.uint32)
    key[...] = state
    state[1:] += np.uint32(1)
    return key


# --- moving data --------------------------------------------------------------------


def zero_pad2d_forward(x: Array, pads: Pads) -> Array:
    """As in the spec."""
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
    """As in the spec."""
    N, H, W, C = dy.shape
    top, bottom, left, right = pads
    dx = empty((N, H - top - bottom, W - left - right, C), dy.dtype)
    dx[...] = dy[:, top : H - bottom, left : W - right]
    return dx


def rescale(x: Array, scale: float, offset: float) -> Array:
    """As in the spec."""
    return over_elements(_rescale, reference.rescale, (x,), scale, offset)


@tasks
def _rescale(task: int, worker: int, x: Any, y: Any, scale: Any, offset: Any) -> None:
    for i in range(*run(task, x.size)):
        y[i] = x[i] * scale + offset


def add_forward(xs: list[Array]) -> Array:
    """From left to right."""
    y = empty(np.broadcast_shapes(*[x.shape for x in xs]), xs[0].dtype)
    y[...] = xs[0]
    for x in xs[1:]:
        np.add(y, x, out=y)
    return y


def concatenate_forward(xs: list[Array], axis: int) -> Array:
    """As in the spec."""
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return np.concatenate(xs, axis=axis, out=empty(tuple(shape), xs[0].dtype))


def concatenate_backward(dy: Array, sizes: list[int], axis: int) -> list[Array]:
    """As in the spec."""
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
