"""Elementwise ops: one pass over memory each (`kernels/elementwise.cu`, where the formulas are), dropout included.

Copies and sums, which one CuPy call already does in a pass, have no kernels: the reference's lines run.
"""

from __future__ import annotations

from math import floor

import numpy as np

from minicnn.backends.cupy_gpu.compile import C_TYPES, THREADS, blocks, empty, inputs, launch, real_type, to_device
from minicnn.backends.types import Array

_ROWS = 4  # of a block, in a softmax


def relu_forward(x: Array) -> Array:
    """One pass."""
    return _map("relu_forward", x)


def relu_backward(dy: Array, y: Array) -> Array:
    """One pass."""
    return _map_backward("relu_backward", dy, y)


def bounded_relu_forward(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """One pass."""
    return _map("bounded_relu_forward", x, negative_slope, max_value, threshold)


def bounded_relu_backward(dy: Array, x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """One pass."""
    return _map_backward("bounded_relu_backward", dy, x, negative_slope, max_value, threshold)


def leaky_relu_forward(x: Array, negative_slope: float) -> Array:
    """One pass."""
    return _map("leaky_relu_forward", x, negative_slope)


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float) -> Array:
    """One pass."""
    return _map_backward("leaky_relu_backward", dy, x, negative_slope)


def elu_forward(x: Array, alpha: float) -> Array:
    """One pass."""
    return _map("elu_forward", x, alpha)


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """One pass."""
    return _map_backward("elu_backward", dy, x, alpha)


def selu_forward(x: Array) -> Array:
    """One pass."""
    return _map("selu_forward", x)


def selu_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("selu_backward", dy, x)


def gelu_forward(x: Array) -> Array:
    """One pass."""
    return _map("gelu_forward", x)


def gelu_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("gelu_backward", dy, x)


def gelu_tanh_forward(x: Array) -> Array:
    """One pass."""
    return _map("gelu_tanh_forward", x)


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("gelu_tanh_backward", dy, x)


def silu_forward(x: Array) -> Array:
    """One pass."""
    return _map("silu_forward", x)


def silu_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("silu_backward", dy, x)


def mish_forward(x: Array) -> Array:
    """One pass."""
    return _map("mish_forward", x)


def mish_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("mish_backward", dy, x)


def hard_silu_forward(x: Array) -> Array:
    """One pass."""
    return _map("hard_silu_forward", x)


def hard_silu_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("hard_silu_backward", dy, x)


def sigmoid_forward(x: Array) -> Array:
    """One pass."""
    return _map("sigmoid_forward", x)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """One pass."""
    return _map_backward("sigmoid_backward", dy, y)


def hard_sigmoid_forward(x: Array) -> Array:
    """One pass."""
    return _map("hard_sigmoid_forward", x)


def hard_sigmoid_backward(dy: Array, y: Array) -> Array:
    """One pass."""
    return _map_backward("hard_sigmoid_backward", dy, y)


def tanh_forward(x: Array) -> Array:
    """One pass."""
    return _map("tanh_forward", x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """One pass."""
    return _map_backward("tanh_backward", dy, y)


def softplus_forward(x: Array) -> Array:
    """One pass."""
    return _map("softplus_forward", x)


def softplus_backward(dy: Array, x: Array) -> Array:
    """One pass."""
    return _map_backward("softplus_backward", dy, x)


def softmax_forward(x: Array) -> Array:
    """A warp owns a row."""
    x = inputs("softmax_forward", x)
    y = empty(x.shape, x.dtype)
    _launch_rows("softmax_forward", (x, y), y)
    return y


def softmax_backward(dy: Array, y: Array) -> Array:
    """A warp owns a row."""
    dy, y = inputs("softmax_backward", dy, y)
    dx = empty(y.shape, y.dtype)
    _launch_rows("softmax_backward", (dy, y, dx), dx)
    return dx


def dropout_forward(x: Array, rate: float, key: Array) -> Array:
    """A thread draws four words at a time, and stores no mask."""
    x = inputs("dropout_forward", x)
    y = empty(x.shape, x.dtype)
    arguments = (to_device(key), x, y, floor(rate * 2**32), 1.0 - rate, x.size)
    _launch_random("dropout", arguments, -(-x.size // 4), C_TYPES[x.dtype.name])
    return y


def dropout_backward(dy: Array, rate: float, key: Array) -> Array:
    """The forward pass, of dy."""
    return dropout_forward(dy, rate, key)


def random_bits(key: Array, count: int) -> Array:
    """A thread draws four words at a time."""
    bits = empty((count,), np.uint32)
    _launch_random("random_bits", (to_device(key), bits, count), -(-count // 4))
    return bits


def draw_key_(state: Array) -> Array:
    """One thread."""
    key = empty((2,), np.uint32)
    _launch_random("draw_key", (state, key), 1)
    return key


def _map(name: str, x: Array, p: float = 0.0, q: float = 0.0, r: float = 0.0) -> Array:
    """y[i] = formula(x[i]), the formula having up to three parameters."""
    x = inputs(name, x)
    y = empty(x.shape, x.dtype)
    _launch_elements(name, (x, y, float(p), float(q), float(r), y.size), y)
    return y


def _map_backward(name: str, dy: Array, residual: Array, p: float = 0.0, q: float = 0.0, r: float = 0.0) -> Array:
    """dx[i] = formula(dy[i], residual[i])."""
    dy, residual = inputs(name, dy, residual)
    dx = empty(dy.shape, dy.dtype)
    _launch_elements(name, (dy, residual, dx, float(p), float(q), float(r), dx.size), dx)
    return dx


def _launch_elements(name: str, arguments: tuple[object, ...], owned: Array) -> None:
    launch("elementwise.cu", name, blocks(owned.size), (THREADS,), arguments, real_type(owned), {})


def _launch_rows(name: str, arguments: tuple[object, ...], owned: Array) -> None:
    count = owned.shape[-1]
    rows = owned.size // count
    grid, block = (-(-rows // _ROWS),), (32, _ROWS)
    launch("elementwise.cu", name, grid, block, (*arguments, rows, count), real_type(owned), {})


def _launch_random(name: str, arguments: tuple[object, ...], draws: int, real: str = "float") -> None:
    launch("random.cu", name, blocks(draws), (THREADS,) if draws > 1 else (1,), arguments, {"real": real}, {})
