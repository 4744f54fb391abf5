"""Elementwise ops, each as its formula.

`where` computes both branches, so that an exponential in the branch not taken is first
bounded: exp(min(x, 0)) instead of exp(x).
"""

from __future__ import annotations

from math import floor, pi, prod, sqrt

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.spec import Array, Pads

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

_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772


def relu_forward(x: Array) -> Array:
    """A NaN stays one."""
    return array_namespace(x).maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return array_namespace(dy).where(y > 0, dy, 0)


def bounded_relu_forward(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """As in the spec."""
    xp = array_namespace(x)
    return xp.where(x >= max_value, max_value, xp.where(x >= threshold, x, negative_slope * (x - threshold)))


def bounded_relu_backward(dy: Array, x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """As in the spec."""
    xp = array_namespace(dy)
    return xp.where(x >= max_value, 0, xp.where(x > threshold, dy, negative_slope * dy))


def leaky_relu_forward(x: Array, negative_slope: float) -> Array:
    """As in the spec."""
    return array_namespace(x).where(x > 0, x, negative_slope * x)


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float) -> Array:
    """As in the spec."""
    return array_namespace(dy).where(x > 0, dy, negative_slope * dy)


def elu_forward(x: Array, alpha: float) -> Array:
    """exp(x) - 1 without cancellation near 0."""
    xp = array_namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """As in the spec."""
    xp = array_namespace(dy)
    return xp.where(x > 0, dy, dy * alpha * xp.exp(xp.minimum(x, 0)))


def selu_forward(x: Array) -> Array:
    """As in the spec."""
    return _SELU_SCALE * elu_forward(x, _SELU_ALPHA)


def selu_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return _SELU_SCALE * elu_backward(dy, x, _SELU_ALPHA)


def _normal_cdf(x: Array) -> Array:
    """Phi(x) = 1/2 + phi(x) * (x + x**3 / 3 + x**5 / (3*5) + x**7 / (3*5*7) + ...).

    All terms have one sign, so that nothing cancels; beyond 8.5 Phi is 0 or 1 in float64.
    Source: Abramowitz & Stegun 1964, 26.2.11.
    """
    xp = array_namespace(x)
    x = xp.clip(x, -8.5, 8.5)
    term = x
    total = x
    for n in range(1, 160):  # the last terms are below 1e-18 of the sum at 8.5
        term = term * (x * x) / (2 * n + 1)
        total = total + term
    return 0.5 + _normal_density(x) * total


def _normal_density(x: Array) -> Array:
    """phi(x) = exp(-x**2 / 2) / sqrt(2 pi)."""
    return array_namespace(x).exp(-0.5 * x * x) / sqrt(2 * pi)


def gelu_forward(x: Array) -> Array:
    """Phi by its series: no error function is in the part of the array API that NumPy and CuPy share."""
    return x * _normal_cdf(x)


def gelu_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return dy * (_normal_cdf(x) + x * _normal_density(x))


def gelu_tanh_forward(x: Array) -> Array:
    """As in the spec."""
    u = sqrt(2 / pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + array_namespace(x).tanh(u))


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """dx = dy * ((1 + t) / 2 + x/2 * (1 - t**2) * du/dx), t = tanh(u), u the argument in `gelu_tanh_forward`."""
    t = array_namespace(x).tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))
    du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


def silu_forward(x: Array) -> Array:
    """As in the spec."""
    return x * sigmoid_forward(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    s = sigmoid_forward(x)
    return dy * s * (1 + x * (1 - s))


def sigmoid_forward(x: Array) -> Array:
    """1 / (1 + exp(-x)) where x >= 0, exp(x) / (1 + exp(x)) below: no exponent is positive."""
    xp = array_namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return dy * y * (1 - y)


def tanh_forward(x: Array) -> Array:
    """As in the spec."""
    return array_namespace(x).tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return dy * (1 - y**2)


def softplus_forward(x: Array) -> Array:
    """As in the spec."""
    xp = array_namespace(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def softplus_backward(dy: Array, x: Array) -> Array:
    """As in the spec."""
    return dy * sigmoid_forward(x)


def softmax_forward(x: Array) -> Array:
    """As in the spec."""
    e = array_namespace(x).exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: Array, y: Array) -> Array:
    """As in the spec."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def _kept(shape: tuple[int, ...], rate: float, key: Array) -> Array:
    """The dropout mask: where word i of the stream reaches rate * 2**32."""
    return random_bits(key, prod(shape)).reshape(shape) >= floor(rate * 2**32)


def dropout_forward(x: Array, rate: float, key: Array) -> Array:
    """As in the spec."""
    return array_namespace(x).where(_kept(x.shape, rate, key), x / (1 - rate), 0)


def dropout_backward(dy: Array, rate: float, key: Array) -> Array:
    """As in the spec: dropout is linear once its mask is drawn, so that it is its own gradient."""
    return dropout_forward(dy, rate, key)


def random_bits(key: Array, count: int) -> Array:
    """All counters at once; 32-bit words held in uint64, where a product of two of them fits."""
    xp = array_namespace(key)
    low_word = 0xFFFFFFFF
    seed, step = key.astype(xp.uint64)
    c0 = xp.arange(-(-count // 4), dtype=xp.uint64)  # one counter yields four words
    c1 = c3 = xp.zeros_like(c0)
    c2 = c1 + step
    k0, k1 = seed, xp.zeros_like(seed)
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1 = (product1 >> 32) ^ c1 ^ k0, product1 & low_word
        c2, c3 = (product0 >> 32) ^ c3 ^ k1, product0 & low_word
        # Weyl sequences: the golden ratio's and sqrt(3) - 1's leading bits
        k0, k1 = (k0 + 0x9E3779B9) & low_word, (k1 + 0xBB67AE85) & low_word
    return xp.stack([c0, c1, c2, c3], axis=1).ravel()[:count].astype(xp.uint32)


def draw_key_(state: Array) -> Array:
    """As in the spec."""
    key = state.copy()
    state[1:] += 1  # a slice: uint32 wraps around in an array without a warning
    return key


def zero_pad2d_forward(x: Array, pads: Pads) -> Array:
    """As in the spec."""
    top, bottom, left, right = pads
    return array_namespace(x).pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def zero_pad2d_backward(dy: Array, pads: Pads) -> Array:
    """As in the spec."""
    top, bottom, left, right = pads
    _, H, W, _ = dy.shape
    return dy[:, top : H - bottom, left : W - right, :].copy()


def rescale(x: Array, scale: float, offset: float) -> Array:
    """As in the spec."""
    return x * scale + offset


def add_forward(xs: list[Array]) -> Array:
    """From left to right."""
    y = xs[0].copy()
    for x in xs[1:]:
        y = y + x
    return y


def concatenate_forward(xs: list[Array], axis: int) -> Array:
    """As in the spec."""
    return array_namespace(xs[0]).concatenate(xs, axis=axis)


def concatenate_backward(dy: Array, sizes: list[int], axis: int) -> list[Array]:
    """As in the spec."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return [piece.copy() for piece in array_namespace(dy).split(dy, ends, axis=axis)]
