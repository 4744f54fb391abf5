"""TensorFlow's way to call a function: its names of the arguments, its seeds, and `name`, which has no effect here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["named", "one_seed"]


def named(function: Callable[..., Any], names: Sequence[str] = ()) -> Callable[..., Any]:
    """A function that takes its first arguments by these names, too, and TensorFlow's `name`."""
    own = dict(zip(names, inspect.signature(function).parameters))

    def renamed(*args: Any, name: Any = None, **kwargs: Any) -> Any:
        return function(*args, **{own.get(key, key): value for key, value in kwargs.items()})

    renamed.__name__, renamed.__doc__ = function.__name__, function.__doc__
    return renamed


def one_seed(seed: Any) -> Any:
    """A seed of two numbers, as the stateless functions take, as one."""
    if seed is None or np.ndim(seed) == 0:
        return None if seed is None else int(seed)
    first, second = (int(part) for part in np.asarray(seed).reshape(-1))
    return (first * 0x9E3779B1 + second) % 2**32
