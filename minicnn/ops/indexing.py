"""Ops that find places, and ops that write to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.layers.symbolic import KerasTensor
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import floor_divide, mod, where
from minicnn.tensor import as_tensor

# --- finding ----------------------------------------------------------------------------


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Of each element the first choice whose condition holds, else the default."""
    y = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        y = where(condition, choice, y)
    return y


@op("x1", "x2", differentiable=False)
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element of x1 is one of x2's; with `invert`, whether it is none."""
    return namespace(x1, x2).isin(x1, x2, invert=invert)


@op("x", differentiable=False)
def argpartition(x: Any, kth: int, axis: int = -1) -> Any:
    """Places along an axis, in an order where the elements before place `kth` are not above the one there, nor those behind
    it below it."""
    return namespace(x).argpartition(x, kth, axis=axis).astype("int32")


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """The places along each axis of the elements that have these numbers in a tensor of this shape."""
    places: list[Any] = []
    for size in reversed(shape):
        places.insert(0, mod(indices, size))
        indices = floor_divide(indices, size)
    return tuple(places)


def _values_of(name: str, x: Any) -> np.ndarray:
    """The values of x, as the shape of what is computed depends on them."""
    if isinstance(x, KerasTensor):
        raise ValueError(f"The shape of what `{name}` returns depends on values, which a symbolic tensor has not: {x}")
    return np.asarray(x)


def nonzero(x: Any) -> tuple[Any, ...]:
    """The places of the elements that are not 0, one tensor for each axis.

    Raises:
        ValueError: for a symbolic tensor.
    """
    return tuple(as_tensor(places.astype("int32")) for places in np.nonzero(_values_of("nonzero", x)))


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements of x (slices along an axis), in ascending order; or with `sorted=False` as they come.

    Args:
        return_index: also the first place of each. return_inverse: also the places in the result of the elements of x.
        return_counts: also how often each one is in x.
        size: how many there shall be: the last ones are left out, or `fill_value` (default 0) added.

    Raises:
        ValueError: for a symbolic tensor.
    """
    values, index, inverse, counts = np.unique(_values_of("unique", x), True, True, True, axis=axis)
    along = 0 if axis is None else axis
    order = np.arange(len(index)) if sorted else np.argsort(index)
    inverse = np.argsort(order)[inverse]
    values, index, counts = np.take(values, order, along), index[order], counts[order]
    if size is not None:
        values, index, counts = (
            _of_size(part, size, fill, axis_of)
            for part, fill, axis_of in ((values, fill_value or 0, along), (index, 1, 0), (counts, 0, 0))
        )
    asked = [(return_index, index), (return_inverse, inverse), (return_counts, counts)]
    results = [values, *(part.astype("int32") for wanted, part in asked if wanted)]
    return tuple(map(as_tensor, results)) if len(results) > 1 else as_tensor(values)


def _of_size(x: np.ndarray, size: int, fill: Any, axis: int) -> np.ndarray:
    """x with `size` places along an axis: without its last ones, or with more of `fill`."""
    x = np.take(x, np.arange(min(size, x.shape[axis])), axis)
    pairs = [(0, size - x.shape[i] if i == axis % x.ndim else 0) for i in range(x.ndim)]
    return np.pad(x, pairs, constant_values=fill)


# --- writing ----------------------------------------------------------------------------


def _key(indices: Any) -> tuple[Any, ...]:
    """Places (..., axes) as an index."""
    return tuple(indices[..., i].astype(int) for i in range(indices.shape[-1]))


@op("indices", "values")
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of this shape, to which values[i] is added at the place indices[i]."""
    xp = namespace(values)
    y = xp.zeros(tuple(int(size) for size in shape), values.dtype)
    xp.add.at(y, _key(indices), values)
    return y, _key(indices)


@scatter.gradient
def _(dy: Any, saved: Any) -> Any:
    return None, dy[saved]


_REDUCTIONS = {"add": "add", "max": "maximum", "min": "minimum", "mul": "multiply"}


@op("inputs", "indices", "updates")
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """`inputs` with updates[i] written at the place indices[i]; with a reduction, what is there plus, times, ... it.

    Args:
        reduction: None, "add", "max", "min" or "mul".
    """
    if reduction not in (None, *_REDUCTIONS):
        raise ValueError(f"Unsupported reduction: {reduction}")
    xp, y, key = namespace(inputs), inputs.copy(), _key(indices)
    if reduction is None:
        y[key] = updates
    else:
        getattr(xp, _REDUCTIONS[reduction]).at(y, key, updates)
    return y, (inputs, key, updates, reduction, y)


@scatter_update.gradient
def _(dy: Any, saved: Any) -> Any:
    inputs, key, updates, reduction, y = saved
    if reduction == "add":
        return dy, None, dy[key]
    xp, dx = namespace(dy), dy.copy()
    if reduction is None:
        dx[key] = 0
        return dx, None, dy[key]
    if reduction == "mul":  # the product of the others, which needs updates without zeros
        xp.multiply.at(dx, key, updates)
        return dx, None, dy[key] * y[key] / updates
    # The largest, or smallest: those that are it share the gradient.
    count = (y == inputs).astype(dy.dtype)
    xp.add.at(count, key, (updates == y[key]).astype(dy.dtype))
    share = dy / count
    return share * (y == inputs), None, share[key] * (updates == y[key])


@op("inputs", "updates")
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """`inputs` with the block `updates` written where it begins at these places."""
    block = tuple(slice(int(start), int(start) + size) for start, size in zip(start_indices, updates.shape))
    y = inputs.copy()
    y[block] = updates
    return y, block


@slice_update.gradient
def _(dy: Any, saved: Any) -> Any:
    dx = dy.copy()
    dx[saved] = 0
    return dx, dy[saved]


# --- segments ---------------------------------------------------------------------------


def _segments(name: str, what: str, reduction: str, start: Any, gradient: Any) -> Any:
    """An op that reduces the rows of each segment. `gradient(dy, data, y, ids)`: at the data, of what stands at their place."""

    def function(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
        xp, ids = namespace(data), segment_ids.astype(int)
        if ids.ndim != 1:
            raise ValueError(f"Argument `segment_ids` should be an 1-D vector, got shape: {ids.shape}")
        if len(ids) != len(data):
            raise ValueError(
                f"Argument `segment_ids` and `data` should have same leading dimension. Got {ids.shape} v.s. {data.shape}."
            )
        count = int(ids.max()) + 1 if num_segments is None else int(num_segments)
        y = xp.full((count, *data.shape[1:]), start(data.dtype), data.dtype)
        rows = xp.flatnonzero(ids >= 0)
        getattr(xp, reduction).at(y, ids[rows], data[rows])
        return y, (data, y, ids[rows], rows)

    def backward(dy: Any, saved: Any) -> Any:
        data, y, ids, rows = saved
        dx = namespace(dy).zeros_like(data)
        dx[rows] = gradient(dy[ids], data[rows], y, ids)
        return dx, None

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"y[i] = the {what} of all data[j] whose segment_ids[j] is i; -1 is none."
    return op("data", "segment_ids")(function).gradient(backward)


def _lowest(dtype: Any) -> Any:
    return (np.finfo if dtype.kind == "f" else np.iinfo)(dtype).min


def _highest(dtype: Any) -> Any:
    return (np.finfo if dtype.kind == "f" else np.iinfo)(dtype).max


def _shared(dy: Any, data: Any, y: Any, ids: Any) -> Any:
    """Those that are the largest, or smallest, share the gradient."""
    chosen = (data == y[ids]).astype(dy.dtype)
    count = namespace(dy).zeros_like(y)
    namespace(dy).add.at(count, ids, chosen)
    return dy * chosen / count[ids]


segment_sum = _segments("segment_sum", "sum", "add", lambda dtype: 0, lambda dy, data, y, ids: dy)
segment_prod = _segments("segment_prod", "product", "multiply", lambda dtype: 1, lambda dy, data, y, ids: dy * y[ids] / data)
segment_max = _segments("segment_max", "largest", "maximum", _lowest, _shared)
segment_min = _segments("segment_min", "smallest", "minimum", _highest, _shared)
