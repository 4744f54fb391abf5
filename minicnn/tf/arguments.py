"""TensorFlow's way to call a function: its names of the arguments, and `name`, which has no effect here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["named"]


def named(function: Callable[..., Any], names: Sequence[str] = ()) -> Callable[..., Any]:
    """A function that takes its first arguments by these names, too, and TensorFlow's `name`."""
    own = dict(zip(names, inspect.signature(function).parameters))

    def renamed(*args: Any, name: Any = None, **kwargs: Any) -> Any:
        return function(*args, **{own.get(key, key): value for key, value in kwargs.items()})

    renamed.__name__, renamed.__doc__ = function.__name__, function.__doc__
    return renamed
