"""Elementwise ops, each as its formula.

Activations come in pairs. A backward takes dy and whichever of x (input) and y (output) its formula
needs, so that the other need not be kept.

`where` computes both branches, so that an exponential in the branch not taken is first
bounded: exp(min(x, 0)) instead of exp(x).
"""

from __future__ import annotations

from math import floor, pi, prod, sqrt

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.types import Array, Pads

_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772


def relu_forward(x: Array) -> Array:
    """y = max(x, 0). Source: Nair & Hinton 2010."""
    # A NaN stays one.
    return array_namespace(x).maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """dx = dy where y > 0, else 0."""
    return array_namespace(dy).where(y > 0, dy, 0)


def bounded_relu_forward(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """The ReLU layer in full: x, but at most max_value, where x > threshold; negative_slope * (x - threshold) elsewhere.
    `max_value` may be infinity."""
    xp = array_namespace(x)
    below = negative_slope * (x - threshold) if negative_slope != 0 else 0  # not 0 times infinity
    return xp.where(x <= threshold, below, xp.minimum(x, max_value))


def bounded_relu_backward(dy: Array, x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    """dx = dy where threshold < x < max_value; 0 where x is above both, or at max_value; negative_slope * dy elsewhere."""
    xp = array_namespace(dy)
    return xp.where(x > threshold, xp.where(x >= max_value, 0, dy), negative_slope * dy)


def leaky_relu_forward(x: Array, negative_slope: float) -> Array:
    """y = x where x > 0, else negative_slope * x. Source: Maas et al. 2013."""
    return array_namespace(x).where(x > 0, x, negative_slope * x)


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float) -> Array:
    """dx = dy where x > 0, else negative_slope * dy."""
    return array_namespace(dy).where(x > 0, dy, negative_slope * dy)


def prelu_forward(x: Array, alpha: Array) -> Array:
    """y = x where x > 0, else alpha * x, alpha being learned.

    Args:
        x: (N, ...). alpha: as one image of x, with axes of size 1 where it is shared.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    return array_namespace(x).where(x > 0, x, alpha * x)


def prelu_backward(dy: Array, x: Array, alpha: Array) -> tuple[Array, Array]:
    """dx = dy where x > 0, else alpha * dy;  dalpha = sum of dy * x where x < 0, over all that share it; as alpha."""
    xp = array_namespace(dy)
    shared = tuple(axis for axis, size in enumerate((1, *alpha.shape)) if axis == 0 or size == 1)
    dalpha = xp.where(x > 0, 0, dy * x).sum(axis=shared, keepdims=True)
    return xp.where(x > 0, dy, alpha * dy), dalpha[0]


def elu_forward(x: Array, alpha: float) -> Array:
    """y = x where x > 0, else alpha * (exp(x) - 1). Source: Clevert et al. 2015, arXiv:1511.07289."""
    # exp(x) - 1 without cancellation near 0.
    xp = array_namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """dx = dy where x > 0, else dy * alpha * exp(x)."""
    xp = array_namespace(dy)
    return xp.where(x > 0, dy, dy * alpha * xp.exp(xp.minimum(x, 0)))


def selu_forward(x: Array) -> Array:
    """y = scale * elu(x, alpha), scale 1.0507009873554805, alpha 1.6732632423543772.

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """
    return _SELU_SCALE * elu_forward(x, _SELU_ALPHA)


def selu_backward(dy: Array, x: Array) -> Array:
    """dx = scale * (dy where x > 0, else dy * alpha * exp(x))."""
    return _SELU_SCALE * elu_backward(dy, x, _SELU_ALPHA)


def celu_forward(x: Array, alpha: float) -> Array:
    """y = x where x > 0, else alpha * (exp(x / alpha) - 1): an ELU without a kink. Source: Barron 2017, arXiv:1704.07483."""
    xp = array_namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0) / alpha))


def celu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """dx = dy where x > 0, else dy * exp(x / alpha)."""
    xp = array_namespace(dy)
    return dy * xp.exp(xp.minimum(x, 0) / alpha)


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


def erf(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x: 2 Phi(x sqrt 2) - 1."""
    return 2 * _normal_cdf(x * sqrt(2)) - 1


def erfc(x: Array) -> Array:
    """1 - erf(x): 2 Phi(-x sqrt 2)."""
    return 2 * _normal_cdf(-x * sqrt(2))


def gelu_forward(x: Array) -> Array:
    """y = x * Phi(x), Phi the normal distribution: x * (1 + erf(x / sqrt 2)) / 2.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    # Phi by its series: no error function is in the part of the array API that NumPy and CuPy share.
    return x * _normal_cdf(x)


def gelu_backward(dy: Array, x: Array) -> Array:
    """dx = dy * (Phi(x) + x * phi(x)), phi the normal density."""
    return dy * (_normal_cdf(x) + x * _normal_density(x))


def gelu_tanh_forward(x: Array) -> Array:
    """GELU's approximation: y = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))."""
    u = sqrt(2 / pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + array_namespace(x).tanh(u))


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """The derivative of `gelu_tanh_forward` times dy."""
    # dx = dy * ((1 + t) / 2 + x/2 * (1 - t**2) * du/dx), t = tanh(u), u the argument in `gelu_tanh_forward`.
    t = array_namespace(x).tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))
    du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


def silu_forward(x: Array) -> Array:
    """y = x * sigmoid(x) (also called swish). Source: arXiv:1702.03118."""
    return x * sigmoid_forward(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    s = sigmoid_forward(x)
    return dy * s * (1 + x * (1 - s))


def mish_forward(x: Array) -> Array:
    """y = x * tanh(softplus(x)). Source: Misra 2019, arXiv:1908.08681."""
    # tanh(log(1 + e)) = ((1 + e)**2 - 1) / ((1 + e)**2 + 1), whose numerator is n = e * (e + 2).
    n = _mish_numerator(_bounded_exp(x))
    return x * (n / (n + 2))


def mish_backward(dy: Array, x: Array) -> Array:
    """dx = dy * (t + x * (1 - t**2) * sigmoid(x)), t = tanh(softplus(x))."""
    # With e = exp(x) and n as in `mish_forward`: (1 - t**2) * sigmoid(x) = 4 * e * (1 + e) / (n + 2)**2.
    e = _bounded_exp(x)
    n = _mish_numerator(e)
    return dy * (n / (n + 2) + x * (4 * e * (1 + e) / (n + 2) / (n + 2)))


def _bounded_exp(x: Array) -> Array:
    """exp(min(x, 40)), whose square float32 still holds; beyond, the tanh of a mish is 1 to all digits."""
    xp = array_namespace(x)
    return xp.exp(xp.minimum(x, 40))


def _mish_numerator(e: Array) -> Array:
    return e * (e + 2)


def hard_silu_forward(x: Array) -> Array:
    """y = x * hard_sigmoid(x) (also called hard swish). Source: Howard et al. 2019, arXiv:1905.02244."""
    return x * hard_sigmoid_forward(x)


def hard_silu_backward(dy: Array, x: Array) -> Array:
    """dx = dy where x >= 3, 0 where x <= -3, else dy * (2 * x + 3) / 6."""
    xp = array_namespace(dy)
    return xp.where(x >= 3, dy, xp.where(x <= -3, 0, dy * ((2 * x + 3) / 6)))


def sigmoid_forward(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), without overflow for any x."""
    # 1 / (1 + exp(-x)) where x >= 0, exp(x) / (1 + exp(x)) below: no exponent is positive.
    xp = array_namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """dx = dy * y * (1 - y)."""
    return dy * y * (1 - y)


def hard_sigmoid_forward(x: Array) -> Array:
    """y = (x + 3) / 6 between -3 and 3, 0 below and 1 above."""
    return array_namespace(x).clip(x + 3, 0, 6) / 6


def hard_sigmoid_backward(dy: Array, y: Array) -> Array:
    """dx = dy / 6 where 0 < y < 1, else 0."""
    return array_namespace(dy).where((y > 0) & (y < 1), dy / 6, 0)


def sparse_sigmoid_forward(x: Array) -> Array:
    """y = (x + 1) / 2 between -1 and 1, 0 below and 1 above. Source: Blondel et al. 2019, arXiv:1901.02324."""
    return array_namespace(x).clip((x + 1) / 2, 0, 1)


def sparse_sigmoid_backward(dy: Array, y: Array) -> Array:
    """dx = dy / 2 where 0 < y < 1, else 0."""
    return array_namespace(dy).where((y > 0) & (y < 1), dy / 2, 0)


def log_sigmoid_forward(x: Array) -> Array:
    """y = log(sigmoid(x)) = -softplus(-x)."""
    return -softplus_forward(-x)


def log_sigmoid_backward(dy: Array, x: Array) -> Array:
    """dx = dy * sigmoid(-x)."""
    return dy * sigmoid_forward(-x)


def tanh_forward(x: Array) -> Array:
    """y = tanh(x)."""
    return array_namespace(x).tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """dx = dy * (1 - y**2)."""
    return dy * (1 - y**2)


def tanh_shrink_forward(x: Array) -> Array:
    """y = x - tanh(x)."""
    return x - array_namespace(x).tanh(x)


def tanh_shrink_backward(dy: Array, x: Array) -> Array:
    """dx = dy * tanh(x)**2."""
    return dy * array_namespace(x).tanh(x) ** 2


def hard_tanh_forward(x: Array) -> Array:
    """y = x between -1 and 1, -1 below and 1 above."""
    return array_namespace(x).clip(x, -1, 1)


def hard_tanh_backward(dy: Array, x: Array) -> Array:
    """dx = dy where -1 <= x <= 1, else 0."""
    xp = array_namespace(dy)
    return xp.where(xp.abs(x) <= 1, dy, 0)


def softsign_forward(x: Array) -> Array:
    """y = x / (1 + |x|)."""
    return x / (1 + abs(x))


def softsign_backward(dy: Array, x: Array) -> Array:
    """dx = dy / (1 + |x|)**2."""
    return dy / (1 + abs(x)) ** 2


def soft_shrink_forward(x: Array, threshold: float) -> Array:
    """y = x - threshold above `threshold`, x + threshold below -threshold, 0 between them."""
    return x - array_namespace(x).clip(x, -threshold, threshold)


def soft_shrink_backward(dy: Array, x: Array, threshold: float) -> Array:
    """dx = dy where |x| > threshold, else 0."""
    return array_namespace(dy).where(abs(x) > threshold, dy, 0)


def hard_shrink_forward(x: Array, threshold: float) -> Array:
    """y = x where |x| > threshold, else 0."""
    return array_namespace(x).where(abs(x) <= threshold, 0, x)  # a NaN stays one


def hard_shrink_backward(dy: Array, x: Array, threshold: float) -> Array:
    """dx = dy where |x| > threshold, else 0."""
    return soft_shrink_backward(dy, x, threshold)


def threshold_forward(x: Array, threshold: float, default_value: float) -> Array:
    """y = x where x > threshold, else default_value."""
    return array_namespace(x).where(x <= threshold, default_value, x)  # a NaN stays one


def threshold_backward(dy: Array, x: Array, threshold: float, default_value: float) -> Array:
    """dx = dy where x > threshold, else 0, whatever `default_value` is."""
    return array_namespace(dy).where(x > threshold, dy, 0)


def exponential_forward(x: Array) -> Array:
    """y = exp(x)."""
    return array_namespace(x).exp(x)


def exponential_backward(dy: Array, y: Array) -> Array:
    """dx = dy * y."""
    return dy * y


def softplus_forward(x: Array) -> Array:
    """y = log(1 + exp(x)), without overflow: max(x, 0) + log1p(exp(-|x|))."""
    xp = array_namespace(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def softplus_backward(dy: Array, x: Array) -> Array:
    """dx = dy * sigmoid(x)."""
    return dy * sigmoid_forward(x)


def squareplus_forward(x: Array, b: float) -> Array:
    """y = (x + sqrt(x**2 + b)) / 2. Source: Barron 2021, arXiv:2112.11687."""
    return (x + array_namespace(x).sqrt(x**2 + b)) / 2


def squareplus_backward(dy: Array, x: Array, b: float) -> Array:
    """dx = dy * (1 + x / sqrt(x**2 + b)) / 2."""
    return dy * (1 + x / array_namespace(x).sqrt(x**2 + b)) / 2


def sparse_plus_forward(x: Array) -> Array:
    """y = (x + 1)**2 / 4 between -1 and 1, 0 below and x above."""
    xp = array_namespace(x)
    return xp.where(x < 1, (xp.clip(x, -1, 1) + 1) ** 2 / 4, x)


def sparse_plus_backward(dy: Array, x: Array) -> Array:
    """dx = dy * sparse_sigmoid(x)."""
    return dy * sparse_sigmoid_forward(x)


def softmax_forward(x: Array) -> Array:
    """y = exp(x - max) / sum of exp(x - max), over the last axis."""
    e = array_namespace(x).exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: Array, y: Array) -> Array:
    """dx = y * (dy - sum of dy * y over the last axis)."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax_forward(x: Array) -> Array:
    """y = x - max - log(sum of exp(x - max)), over the last axis."""
    xp = array_namespace(x)
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """dx = dy - exp(y) * (sum of dy over the last axis)."""
    return dy - array_namespace(y).exp(y) * dy.sum(axis=-1, keepdims=True)


def sparsemax_forward(x: Array) -> Array:
    """y = max(x - tau, 0), tau such that y sums to 1 over the last axis: the point of the simplex nearest to x.

        with z the sorted x, the largest first:
        k = how many j have 1 + j * z[j] > z[1] + ... + z[j];  tau = (z[1] + ... + z[k] - 1) / k

    Keras 3.15 adds up the sums of the first 1, 2, ..., k numbers in place of the last of them: its y does not sum to 1 where
    k > 1.

    Source: Martins & Astudillo 2016, arXiv:1602.02068, algorithm 1.
    """
    xp = array_namespace(x)
    x = x - x.max(axis=-1, keepdims=True)  # which moves tau by as much, and loses no digits of small differences
    z = xp.flip(xp.sort(x, axis=-1), axis=-1)
    sums = xp.cumsum(z, axis=-1)
    inside = 1 + xp.arange(1, x.shape[-1] + 1, dtype=x.dtype) * z > sums
    tau = ((z * inside).sum(axis=-1, keepdims=True) - 1) / inside.sum(axis=-1, keepdims=True, dtype=x.dtype)
    return xp.maximum(x - tau, 0)


def sparsemax_backward(dy: Array, y: Array) -> Array:
    """dx = dy - mean of dy over the places where y > 0, at those places; 0 elsewhere."""
    inside = y > 0
    mean = (dy * inside).sum(axis=-1, keepdims=True) / inside.sum(axis=-1, keepdims=True, dtype=dy.dtype)
    return array_namespace(dy).where(inside, dy - mean, 0)


def glu_forward(x: Array) -> Array:
    """y = a * sigmoid(b), a the first and b the second half of the last axis. Source: Dauphin et al. 2016, arXiv:1612.08083."""
    a, b = _halves(x)
    return a * sigmoid_forward(b)


def glu_backward(dy: Array, x: Array) -> Array:
    """da = dy * sigmoid(b);  db = dy * a * sigmoid(b) * (1 - sigmoid(b))."""
    a, b = _halves(x)
    s = sigmoid_forward(b)
    return array_namespace(dy).concatenate([dy * s, dy * a * s * (1 - s)], axis=-1)


def _halves(x: Array) -> tuple[Array, Array]:
    """The first and the second half of the last axis."""
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def _kept(shape: tuple[int, ...], rate: float, key: Array) -> Array:
    """The dropout mask: where word i of the stream reaches rate * 2**32."""
    return random_bits(key, prod(shape)).reshape(shape) >= floor(rate * 2**32)


def dropout_forward(x: Array, rate: float, key: Array) -> Array:
    """Inverted dropout: y = x / (1 - rate) where element i is kept, else 0.

        element i of x.ravel() is kept when word i of the stream `random_bits(key)` >= rate * 2**32
        (the bound floor(rate * 2**32), so that rate 0 keeps all).

    Args:
        rate: in [0, 1).
        key: uint32 (2,), (seed, step): the mask is a function of it and of i alone.

    Source: Srivastava et al. 2014, JMLR 15.
    """
    return array_namespace(x).where(_kept(x.shape, rate, key), x / (1 - rate), 0)


def dropout_backward(dy: Array, rate: float, key: Array) -> Array:
    """dx = dy / (1 - rate) where the forward pass kept the element, else 0: the mask is drawn again from `key`."""
    return dropout_forward(dy, rate, key)


def shared_dropout_forward(x: Array, noise_shape: tuple[int, ...], rate: float, key: Array) -> Array:
    """Dropout whose mask is drawn in `noise_shape` and broadcast to x: what shares a word is kept or dropped together.

    Args:
        noise_shape: as x's, but for axes of size 1 along which the mask is the same.
        rate, key: as in `dropout_forward`, with element i of the mask.

    Source: Tompson et al. 2015, arXiv:1411.4280 (whole channels).
    """
    return array_namespace(x).where(_kept(noise_shape, rate, key), x / (1 - rate), 0)


def shared_dropout_backward(dy: Array, noise_shape: tuple[int, ...], rate: float, key: Array) -> Array:
    """dx = dy / (1 - rate) where the forward pass kept the element, else 0."""
    return shared_dropout_forward(dy, noise_shape, rate, key)


def alpha_dropout_forward(x: Array, noise_shape: tuple[int, ...], rate: float, key: Array) -> Array:
    """Dropout for SELU: what is dropped gets SELU's least value, and mean 0 and variance 1 stay as they are.

        least = -scale * alpha of `selu_forward`;  a = 1 / sqrt((1 - rate) * (1 + rate * least**2));  b = -a * rate * least
        y = a * x + b where the element is kept, else a * least + b

    Args:
        noise_shape, key: as in `shared_dropout_forward`. rate: in [0, 1).

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """
    least = -_SELU_SCALE * _SELU_ALPHA
    a = _alpha_dropout_slope(rate)
    return a * array_namespace(x).where(_kept(noise_shape, rate, key), x, least) - a * rate * least


def alpha_dropout_backward(dy: Array, noise_shape: tuple[int, ...], rate: float, key: Array) -> Array:
    """dx = a * dy where the forward pass kept the element, else 0."""
    return array_namespace(dy).where(_kept(noise_shape, rate, key), _alpha_dropout_slope(rate) * dy, 0)


def _alpha_dropout_slope(rate: float) -> float:
    """a of `alpha_dropout_forward`."""
    return ((1 - rate) * (1 + rate * (_SELU_SCALE * _SELU_ALPHA) ** 2)) ** -0.5


def _normal(x: Array, key: Array) -> Array:
    """Normally distributed numbers, one for each element of x and of its dtype, by Box & Muller from pairs of words.

    Pair i of words u, v of the stream: z[2*i] = r * cos(2 pi v'), z[2*i + 1] = r * sin(2 pi v'), r = sqrt(-2 log u'),
    with u' = (u + 1/2) / 2**32, v' likewise, so that no logarithm is infinite. In float64, as the last bits of u count.
    """
    xp, pairs = array_namespace(x), -(-x.size // 2)
    u, v = ((random_bits(key, 2 * pairs).reshape(pairs, 2) + 0.5) * 2.0**-32).T
    r = (-2 * xp.log(u)) ** 0.5
    z = xp.stack([r * xp.cos(2 * pi * v), r * xp.sin(2 * pi * v)], axis=1)
    return z.ravel()[: x.size].reshape(x.shape).astype(x.dtype)


def gaussian_noise(x: Array, stddev: float, key: Array) -> Array:
    """y = x + stddev * z, z normally distributed; its gradient is dy.

    Args:
        key: uint32 (2,), (seed, step): element i of z is a function of it and of i alone.

    Source: Box & Muller 1958, doi:10.1214/aoms/1177706645 (normal numbers out of uniform ones).
    """
    return x + stddev * _normal(x, key)


def gaussian_dropout_forward(x: Array, stddev: float, key: Array) -> Array:
    """y = x * (1 + stddev * z), z as in `gaussian_noise`. Source: Srivastava et al. 2014, JMLR 15, section 10."""
    return x * (1 + stddev * _normal(x, key))


def gaussian_dropout_backward(dy: Array, stddev: float, key: Array) -> Array:
    """dx = dy * (1 + stddev * z): z is drawn again from `key`."""
    return gaussian_dropout_forward(dy, stddev, key)


def random_bits(key: Array, count: int) -> Array:
    """The stream of 32-bit words behind every random op: word i is word i % 4 of
    Philox4x32-10 with key (seed, 0) and counter (i // 4, 0, step, 0).

    Args:
        key: uint32 (2,), (seed, step). count: how many words, < 2**34.

    Returns:
        uint32 (count,).

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", doi:10.1145/2063384.2063405.
    """
    # All counters at once; 32-bit words held in uint64, where a product of two of them fits.
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
    """A copy of the generator's state (seed, step), uint32 (2,), to be used as a `key`; then step += 1 in `state`.

    On the device, so that a captured step draws a new key at every replay.
    """
    key = state.copy()
    state[1:] += 1  # a slice: uint32 wraps around in an array without a warning
    return key


def zero_pad2d_forward(x: Array, pads: Pads) -> Array:
    """x with rows and columns of zeros around it: (N, H + top + bottom, W + left + right, C)."""
    top, bottom, left, right = pads
    return array_namespace(x).pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def zero_pad2d_backward(dy: Array, pads: Pads) -> Array:
    """dy without the rows and columns that were added: (N, H, W, C)."""
    top, bottom, left, right = pads
    _, H, W, _ = dy.shape
    return dy[:, top : H - bottom, left : W - right, :].copy()


def rescale(x: Array, scale: float, offset: float) -> Array:
    """y = x * scale + offset."""
    return x * scale + offset


def add_forward(xs: list[Array], relu: bool = False) -> Array:
    """Sum of arrays of one shape (broadcasting, as NumPy's, otherwise), then ReLU if asked for: y = max(sum of xs, 0)."""
    # From left to right.
    y = xs[0].copy()
    for x in xs[1:]:
        y = y + x
    return relu_forward(y) if relu else y


def subtract_forward(a: Array, b: Array) -> Array:
    """y = a - b (broadcasting, as NumPy's)."""
    return a - b


def subtract_backward(dy: Array) -> tuple[Array, Array]:
    """da = dy, db = -dy."""
    return dy, -dy


def multiply_forward(xs: list[Array]) -> Array:
    """Product of arrays of one shape (broadcasting, as NumPy's, otherwise)."""
    y = xs[0].copy()
    for x in xs[1:]:
        y = y * x
    return y


def multiply_backward(dy: Array, xs: list[Array]) -> list[Array]:
    """dx of each array: dy times the product of all others, in the shape of y."""
    # Not y / x, which a 0 would stop.
    grads = []
    for i in range(len(xs)):
        grad = dy
        for other in xs[:i] + xs[i + 1 :]:
            grad = grad * other
        grads.append(grad)
    return grads


def maximum_forward(xs: list[Array]) -> Array:
    """The largest of the arrays, element by element (broadcasting, as NumPy's); a NaN is one."""
    y = xs[0].copy()
    for x in xs[1:]:
        y = array_namespace(y).maximum(y, x)
    return y


def minimum_forward(xs: list[Array]) -> Array:
    """The smallest of the arrays, element by element (broadcasting, as NumPy's); a NaN is one."""
    y = xs[0].copy()
    for x in xs[1:]:
        y = array_namespace(y).minimum(y, x)
    return y


def chosen_backward(dy: Array, xs: list[Array], y: Array) -> list[Array]:
    """Gradients of `maximum_forward` and `minimum_forward`: dy where an array is the first that is y, else 0."""
    xp, grads, left = array_namespace(dy), [], dy
    for x in xs:
        chosen = x == y
        grads.append(xp.where(chosen, left, 0))
        left = xp.where(chosen, 0, left)
    return grads


def concatenate_forward(xs: list[Array], axis: int) -> Array:
    """The arrays one after another along `axis` (which counts the batch axis, or is negative)."""
    return array_namespace(xs[0]).concatenate(xs, axis=axis)


def concatenate_backward(dy: Array, sizes: list[int], axis: int) -> list[Array]:
    """dy cut into pieces of `sizes` along `axis`."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return [piece.copy() for piece in array_namespace(dy).split(dy, ends, axis=axis)]
