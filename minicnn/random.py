"""`minicnn.random`: tensors of random numbers, by the generator that all random layers draw from.

A seed is an int (the same numbers in every call), a `SeedGenerator` (other ones in each), or None; `name` is TensorFlow's,
without effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.backends import ops as kernels
from minicnn.config import set_random_seed as set_seed  # TensorFlow's name
from minicnn.layers.draws import GAMMA_WORDS, log_gamma
from minicnn.ops import argmax, argsort, cast, exp, floor, log, sigmoid, take, where
from minicnn.ops import shape as size_of
from minicnn.ops.base import op
from minicnn.ops.shaping import _ints
from minicnn.seeds import SeedGenerator
from minicnn.tensor import watching

__all__ = [
    "Generator",
    "SeedGenerator",
    "bernoulli",
    "beta",
    "categorical",
    "dropout",
    "gamma",
    "get_global_generator",
    "normal",
    "randint",
    "set_seed",
    "shuffle",
    "stateless_normal",
    "stateless_truncated_normal",
    "stateless_uniform",
    "truncated_normal",
    "uniform",
]


def _known(shape: Any) -> Any:
    """The shape with a number for the batch's size where it is None, as in `normal(x.shape)` in a `call` that is traced.

    Raises:
        ValueError: where another size is unknown, or there is no such call.
    """
    if not isinstance(shape, (tuple, list)) or None not in shape:
        return shape
    first = watching.tracing[-1].inputs[0] if watching.tracing else None
    if shape[0] is not None or None in shape[1:] or first is None:
        raise ValueError(f"Random numbers need a shape of known sizes: `ops.shape(x)` has them. Received: shape={tuple(shape)}")
    return (size_of(first)[0], *shape[1:])


def _generator(seed: Any) -> SeedGenerator:
    return seed if isinstance(seed, SeedGenerator) else SeedGenerator(seed)


@op(differentiable=False)
def _normal(shape: Any, stddev: float, dtype: str, generator: SeedGenerator) -> Any:
    """Normally distributed numbers, of mean 0."""
    return kernels.gaussian_noise(backends.asarray(np.zeros(_ints(shape), dtype)), stddev, generator.next_key())


@op(differentiable=False)
def _uniform(shape: Any, dtype: str, generator: SeedGenerator) -> Any:
    """Numbers from 0 to below 1: multiples of 2**-24, of 2**-32 in float64, of 2**-11 in float16; each dtype holds its own."""
    shape = _ints(shape)
    words = kernels.random_bits(generator.next_key(), int(np.prod(shape, dtype=int))).reshape(shape)
    bits = {8: 32, 4: 24}.get(np.dtype(dtype).itemsize, 11)
    return ((words >> (32 - bits)).astype("float32" if bits < 32 else dtype) * 2.0**-bits).astype(dtype)


def normal(shape: Any, mean: Any = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None, name: Any = None) -> Any:
    """Normally distributed numbers."""
    numbers = _normal(_known(shape), stddev, dtype or config.floatx(), _generator(seed))
    return numbers if isinstance(mean, float) and mean == 0 else numbers + mean


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None, name: Any = None) -> Any:
    """Numbers from `minval` to below `maxval`; whole ones for a dtype of integers."""
    if dtype is not None and np.dtype(dtype).kind in "iu":
        return randint(shape, minval, maxval, dtype, seed)
    numbers = _uniform(_known(shape), dtype or config.floatx(), _generator(seed))
    return numbers * (maxval - minval) + minval


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Whole numbers from `minval` to below `maxval`."""
    return cast(floor(_uniform(_known(shape), "float64", _generator(seed)) * (maxval - minval)) + minval, dtype)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None, name: Any = None
) -> Any:
    """Normally distributed numbers, those further than two standard deviations from the mean drawn again."""
    shape, generator = _known(shape), _generator(seed)
    numbers = _normal(shape, stddev, dtype or config.floatx(), generator)
    for _ in range(8):
        again = _normal(shape, stddev, dtype or config.floatx(), generator)
        numbers = where(abs(numbers) > 2 * stddev, again, numbers)
    return numbers + mean


@op(differentiable=False)
def _log_gamma(shape: Any, alpha: Any, generator: SeedGenerator) -> Any:
    """Logarithms of gamma distributed numbers."""
    shape = _ints(shape)
    count = int(np.prod(shape, dtype=int))
    words = kernels.random_bits(generator.next_key(), count * GAMMA_WORDS).reshape(count, GAMMA_WORDS)
    return log_gamma(backends.to_numpy(words), np.broadcast_to(alpha, shape).reshape(-1)).reshape(shape)


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None, name: Any = None) -> Any:
    """Numbers of a gamma distribution of shape `alpha` (a number, or an array that broadcasts to `shape`) and scale 1.

    Where `alpha` is a list, it is TensorFlow's: so many numbers of each, in the shape (*shape, *alpha's).
    """
    if isinstance(alpha, (list, tuple)):
        shape = (*_ints(shape), *np.shape(alpha))
    return cast(exp(_log_gamma(_known(shape), alpha, _generator(seed))), dtype or config.floatx())


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of a beta distribution: A / (A + B) of two gamma distributed ones, of shapes `alpha` and `beta`."""
    shape, generator = _known(shape), _generator(seed)
    return cast(sigmoid(_log_gamma(shape, alpha, generator) - _log_gamma(shape, beta, generator)), dtype or config.floatx())


def bernoulli(shape: Any, p: float = 0.5, dtype: Any = None, seed: Any = None) -> Any:
    """1 with probability p, else 0."""
    return cast(_uniform(_known(shape), config.floatx(), _generator(seed)) < p, dtype or config.floatx())


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """inputs / (1 - rate) where kept, else 0.

    Args:
        noise_shape: of what is drawn, which the inputs' shape is broadcast from; None stands for their size, there or within.
    """
    sizes = size_of(inputs)
    shape = [own if size is None else size for size, own in zip(noise_shape or sizes, sizes, strict=True)]
    kept = bernoulli(tuple(shape), 1 - rate, inputs.dtype, seed)
    return inputs * kept / (1 - rate) if rate < 1 else inputs * kept


def shuffle(x: Any, axis: int = 0, seed: Any = None, name: Any = None) -> Any:
    """The slices of x along an axis in an order drawn by chance."""
    return take(x, argsort(_uniform((size_of(x)[axis],), "float64", _generator(seed))), axis)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None, name: Any = None) -> Any:
    """Classes drawn by their logits, (N, C) -> (N, num_samples): the largest of logits plus Gumbel noise."""
    N, C = logits.shape
    noise = -log(-log(uniform((N, num_samples, C), 1e-7, 1.0, seed=seed)))
    return cast(argmax(np.asarray(logits)[:, None] + noise, axis=-1), dtype)


# --- TensorFlow's ------------------------------------------------------------------------


class Generator:
    """A generator that is seeded by itself, as TensorFlow's; its numbers are minicnn's."""

    def __init__(self, seed: int | None = None) -> None:
        self._seeds = SeedGenerator(seed)

    @classmethod
    def from_seed(cls, seed: int, alg: Any = None) -> Generator:
        """One that draws the same numbers each time."""
        return cls(int(seed))

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """One that follows `set_random_seed` alone."""
        return cls()

    def normal(self, shape: Any, mean: Any = 0.0, stddev: float = 1.0, dtype: Any = None) -> Any:
        """`normal`."""
        return normal(shape, mean, stddev, dtype, self._seeds)

    def truncated_normal(self, shape: Any, mean: Any = 0.0, stddev: float = 1.0, dtype: Any = None) -> Any:
        """`truncated_normal`."""
        return truncated_normal(shape, mean, stddev, dtype, self._seeds)

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = None) -> Any:
        """`uniform`."""
        return uniform(shape, minval, maxval, dtype, self._seeds)

    def make_seeds(self, count: int = 1) -> Any:
        """Seeds for the stateless functions, (2, count)."""
        return randint((2, count), 0, 2**31 - 1, "int64", self._seeds)


def get_global_generator() -> Generator:
    """A generator that follows `set_random_seed`."""
    return Generator()


def _of_pair(seed: Any) -> int:
    """One seed of TensorFlow's two."""
    first, second = (int(one) & 0x7FFFFFFF for one in np.ravel(seed))
    return (first * 2654435761 + second) & 0x7FFFFFFF


def stateless_normal(shape: Any, seed: Any, mean: Any = 0.0, stddev: float = 1.0, dtype: Any = None) -> Any:
    """`normal` of TensorFlow's two seeds: the same numbers in each call."""
    return normal(shape, mean, stddev, dtype, _of_pair(seed))


def stateless_truncated_normal(shape: Any, seed: Any, mean: Any = 0.0, stddev: float = 1.0, dtype: Any = None) -> Any:
    """`truncated_normal` of TensorFlow's two seeds."""
    return truncated_normal(shape, mean, stddev, dtype, _of_pair(seed))


def stateless_uniform(shape: Any, seed: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = None) -> Any:
    """`uniform` of TensorFlow's two seeds."""
    return uniform(shape, minval, maxval, dtype, _of_pair(seed))
