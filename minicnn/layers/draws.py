"""Random numbers of several distributions out of random 32-bit words, for each image by itself.

A word is a function of a layer's key and of its place alone, so what is made of it here is the same on every backend
and for every number of threads. NumPy's functions on CuPy's arrays are CuPy's: nothing leaves the device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_TRIES = 8  # of the rejection sampling of `log_gamma`: each fails in less than 5% of cases, all together in 4e-11
GAMMA_WORDS = 3 * _TRIES + 1
BETA_WORDS = 2 * GAMMA_WORDS


def uniform(words: Any, low: float, high: float) -> Any:
    """Numbers in [low, high), float64, of the shape of the words."""
    return words * 2.0**-32 * (high - low) + low


def within(words: Any, bounds: tuple[float, float]) -> Any:
    """Whether each image is changed, where the probability is itself drawn from `bounds`; words (N, 2) -> bool (N,)."""
    return uniform(words[:, 1], 0, 1) < uniform(words[:, 0], *bounds)


def integers(words: Any, low: int, high: int) -> Any:
    """Integers in [low, high), as float64."""
    return np.floor(uniform(words, low, high))


def log_gamma(words: Any, alpha: Any) -> Any:
    """Logarithms of numbers of a gamma distribution of shape `alpha` and scale 1; words (N, GAMMA_WORDS) -> (N,).

    With d = alpha + 2/3, c = 1 / sqrt(9 d), normal z and uniform u: d v, v = (1 + c z)**3, is of shape alpha + 1 where
    v > 0 and log u < z**2 / 2 + d - d v + d log v; and G(alpha) = G(alpha + 1) * U**(1 / alpha).

    Args:
        alpha: a positive number, or one for each row.

    Source: Marsaglia & Tsang 2000, doi:10.1145/358407.358414.
    """
    d = alpha + 2 / 3
    d = d[:, None] if np.ndim(d) else d
    first, second, third = ((words[:, i:-1:3] + 0.5) * 2.0**-32 for i in range(3))
    z = np.sqrt(-2 * np.log(first)) * np.cos(2 * math.pi * second)
    v = (1 + z / np.sqrt(9 * d)) ** 3
    log_v = np.log(np.maximum(v, 1e-300))
    accepted = (v > 0) & (np.log(third) < z**2 / 2 + d - d * v + d * log_v)
    chosen = np.argmax(accepted, axis=1)[:, None]  # the first
    larger = np.take_along_axis(log_v, chosen, axis=1)[:, 0] + np.log(d if np.ndim(d) == 0 else d[:, 0])
    return larger + np.log((words[:, -1] + 0.5) * 2.0**-32) / alpha


def beta(words: Any, alpha: Any) -> Any:
    """Numbers of a beta distribution of both parameters `alpha`: A / (A + B) of two gamma distributed ones.

    Args:
        words: (N, BETA_WORDS). alpha: as in `log_gamma`.
    """
    a, b = (log_gamma(words[:, half], alpha) for half in (slice(GAMMA_WORDS), slice(GAMMA_WORDS, None)))
    return 1 / (1 + np.exp(np.clip(b - a, -700, 700)))


def permutation(words: Any) -> Any:
    """A random order of N things: how many of the words (N,) are smaller than each, or equal and before it.

    Counted, since what sorts on a GPU cannot be part of a captured step.
    """
    place = np.arange(len(words), like=words)
    smaller = words[None] < words[:, None]
    return (smaller | ((words[None] == words[:, None]) & (place[None] < place[:, None]))).sum(axis=1)
