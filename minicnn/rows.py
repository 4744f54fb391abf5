"""Arrays as rows: the axes that an op runs along become one, the last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minicnn import backends, shapes

Axis = int | Sequence[int] | None  # one axis, several, or all


def to_rows(x: Any, axis: Axis) -> Any:
    """(..., C) of any array: `axis` last, several axes as one. No copy where they are last already."""
    if axis == -1:
        return x
    order, _, count = shapes.axes_last(x.ndim, axis)
    moved = x.transpose(order)
    kept = x.ndim - count
    return backends.asarray(moved.reshape(*moved.shape[:kept], math.prod(moved.shape[kept:])))


def from_rows(rows: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """The reverse of `to_rows`, for an array that had this shape (a single axis may have got another extent meanwhile)."""
    if axis == -1:
        return rows
    order, back, count = shapes.axes_last(len(shape), axis)
    moved = [shape[one] for one in order]
    if count == 1:
        moved[-1] = rows.shape[-1]
    return backends.asarray(rows.reshape(moved).transpose(back))
