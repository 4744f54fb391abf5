"""Axes of an input brought to where ops expect them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import backends


def resolve_axes(axes: int | Sequence[int], shape: Sequence[int | None], layer_name: str) -> tuple[int, ...]:
    """`axes` of an input of `shape` as sorted numbers from 0 on.

    Raises:
        ValueError: for an axis that the input does not have (Keras's wording).
    """
    found = []
    for axis in [axes] if isinstance(axes, int) else axes:
        if not -len(shape) <= axis < len(shape):
            raise ValueError(
                f"Axis {axis} is out of bounds for input shape {tuple(shape)}. Received: axis={axes}. Layer: '{layer_name}'."
            )
        found.append(axis % len(shape))
    return tuple(sorted(found))


def _are_last(axes: Sequence[int], x: Any) -> bool:
    """Whether `x` has these axes behind all others, in this order: as mostly, and sooner told than moved."""
    return all(axis % x.ndim == x.ndim - len(axes) + i for i, axis in enumerate(axes))


def moved_last(x: Any, axes: Sequence[int]) -> Any:
    """`x` with `axes` behind all others, C-contiguous: x itself where they are."""
    return backends.asarray(x if _are_last(axes, x) else np.moveaxis(x, axes, range(-len(axes), 0)))


def moved_back(x: Any, axes: Sequence[int]) -> Any:
    """What `moved_last` made of an array, undone."""
    return backends.asarray(x if _are_last(axes, x) else np.moveaxis(x, range(-len(axes), 0), axes))
