"""Quantiles, histograms, correlation; and the reductions that pass over what is no number (NaN)."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import config
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import add, cast, clip, divide, isnan, logical_not, multiply, sqrt, square, subtract, where
from minicnn.ops.nn import conv
from minicnn.ops.products import matmul, outer
from minicnn.ops.reductions import Axis, _axes, argmax, argmin, cumprod, cumsum, max, mean, min, prod, sum
from minicnn.ops.shaping import get_item, pad, reshape, swapaxes

# --- quantiles --------------------------------------------------------------------------

_METHODS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {  # the places below and above, of a place between them
    "linear": lambda xp, place: (xp.floor(place), xp.ceil(place)),
    "midpoint": lambda xp, place: (xp.floor(place), xp.ceil(place)),
    "lower": lambda xp, place: (xp.floor(place), xp.floor(place)),
    "higher": lambda xp, place: (xp.ceil(place), xp.ceil(place)),
    "nearest": lambda xp, place: (xp.round(place), xp.round(place)),
}


@op("x")
def _quantile(x: Any, q: Any, axis: Axis, method: str, keepdims: bool, skip_nan: bool) -> Any:
    """See `quantile`; with `skip_nan`, of the numbers among the elements only."""
    xp = namespace(x)
    axes = _axes(axis, x.ndim)
    order = [*(i for i in range(x.ndim) if i not in axes), *axes]
    kept = x.ndim - len(axes)
    turned = x.transpose(order)
    rows = turned.reshape(*turned.shape[:kept], -1)
    ranks = xp.argsort(rows, axis=-1, kind="stable")  # NaNs come last
    count = (rows == rows).sum(axis=-1, keepdims=True) if skip_nan else rows.shape[-1]
    place = xp.asarray(np.atleast_1d(np.asarray(q, "float64"))) * xp.maximum(count - 1, 0)
    place = xp.broadcast_to(place, (*rows.shape[:kept], place.shape[-1]))
    below, above = (part.astype(int) for part in _METHODS[method](xp, place))
    weight = (place - below if method == "linear" else 0.5 * (above > below)).astype(x.dtype)
    ordered = xp.take_along_axis(rows, ranks, axis=-1)
    low, high = (xp.take_along_axis(ordered, part, axis=-1) for part in (below, above))
    y = xp.moveaxis(low + weight * (high - low), -1, 0)
    if keepdims:
        y = y.reshape(len(y), *(1 if i in axes else size for i, size in enumerate(x.shape)))
    return y if np.ndim(q) else y[0], (order, turned.shape, ranks, below, above, weight)


@_quantile.gradient
def _(dy: Any, saved: Any) -> Any:
    """y is a mean of two elements of the sorted row: each gets its weight's part."""
    order, shape, ranks, below, above, weight = saved
    xp = namespace(dy)
    dy = xp.moveaxis(dy.reshape(weight.shape[-1], *weight.shape[:-1]), 0, -1)[..., None]
    places, weight = xp.arange(ranks.shape[-1]), weight[..., None]
    parts = dy * ((1 - weight) * (places == below[..., None]) + weight * (places == above[..., None]))
    rows = xp.take_along_axis(parts.sum(axis=-2), xp.argsort(ranks, axis=-1), axis=-1)
    return rows.reshape(shape).transpose(np.argsort(order).tolist())


def _quantiles(x: Any, q: Any, axis: Axis, method: str, keepdims: bool, skip_nan: bool = False) -> Any:
    if method not in _METHODS:
        raise ValueError(f"Invalid method: '{method}'. Method must be one of {list(_METHODS)}.")
    if str(x.dtype)[:5] != "float":
        x = cast(x, config.floatx())
    return _quantile(x, q, axis, method, keepdims, skip_nan)


def quantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """The value that a share q (one, or a list of them along a new first axis) of the elements along axes is below of.

    Args:
        method: what is taken between two elements: "linear", "lower", "higher", "midpoint" or "nearest".
    """
    return _quantiles(x, q, axis, method, keepdims)


def percentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """`quantile` with q from 0 to 100."""
    return _quantiles(x, np.asarray(q) / 100, axis, method, keepdims)


def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The element in the middle along axes; of an even number the mean of the two."""
    return _quantiles(x, 0.5, axis, "linear", keepdims)


# --- passing over NaN -------------------------------------------------------------------


def _passing(name: str, reduction: Any, instead: float) -> Any:
    """A reduction of x with `instead`, which changes nothing, in the place of each NaN."""

    def function(x: Any, axis: Axis = None, **named: Any) -> Any:
        return reduction(where(isnan(x), instead, x), axis, **named)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name[3:]}` of the numbers along axes: NaNs are passed over."
    return function


def _passing_extreme(name: str, reduction: Any, instead: float) -> Any:
    passing = _passing(name, reduction, instead)

    def function(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
        none = min(cast(isnan(x), "int32"), axis, keepdims) > 0
        return where(none, np.nan, passing(x, axis, keepdims=keepdims))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name[3:]}` of the numbers along axes; NaN where there is none."
    return function


nansum, nanprod = _passing("nansum", sum, 0.0), _passing("nanprod", prod, 1.0)
nancumsum, nancumprod = _passing("nancumsum", cumsum, 0.0), _passing("nancumprod", cumprod, 1.0)
nanargmax, nanargmin = _passing("nanargmax", argmax, -np.inf), _passing("nanargmin", argmin, np.inf)
nanmax, nanmin = _passing_extreme("nanmax", max, -np.inf), _passing_extreme("nanmin", min, np.inf)


def _known(x: Any, axis: Axis, keepdims: bool) -> tuple[Any, Any]:
    """Where x is a number, and how many it has along axes."""
    known = logical_not(isnan(x))
    return known, sum(cast(known, x.dtype), axis, keepdims)


def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean of the numbers along axes."""
    known, count = _known(x, axis, keepdims)
    return divide(sum(where(known, x, 0.0), axis, keepdims), count)


def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean squared distance of the numbers along axes from their mean."""
    known, count = _known(x, axis, keepdims)
    distance = subtract(where(known, x, 0.0), nanmean(x, axis, True))
    return divide(sum(square(where(known, distance, 0.0)), axis, keepdims), count)


def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The square root of `nanvar`."""
    return sqrt(nanvar(x, axis, keepdims))


def nanquantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """`quantile` of the numbers along axes; NaN where there is none."""
    return _quantiles(x, q, axis, method, keepdims, skip_nan=True)


def nanpercentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """`nanquantile` with q from 0 to 100."""
    return _quantiles(x, np.asarray(q) / 100, axis, method, keepdims, skip_nan=True)


def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """`median` of the numbers along axes; NaN where there is none."""
    return _quantiles(x, 0.5, axis, "linear", keepdims, skip_nan=True)


# --- counting ---------------------------------------------------------------------------


@op("x", "weights")
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each whole number from 0 on is in x, or in each row of x; with `weights`, their sum where it is."""
    xp = namespace(x)
    size = builtins.max(int(x.max()) + 1 if x.size else 0, minlength)
    rows = x.reshape(-1, x.shape[-1])
    y = xp.zeros((len(rows), size), "int32" if weights is None else weights.dtype)
    places = (xp.arange(len(rows))[:, None], rows)
    xp.add.at(y, places, 1 if weights is None else weights.reshape(rows.shape))
    return y.reshape(*x.shape[:-1], size), (places, None if weights is None else weights.shape)


@bincount.gradient
def _(dy: Any, saved: Any) -> Any:
    places, shape = saved
    return None, None if shape is None else dy.reshape(-1, dy.shape[-1])[places].reshape(shape)


@op("x", "edges", differentiable=False)
def _counts(x: Any, edges: Any) -> Any:
    """How many elements are in each bin; those on a bound in the higher one, and those on the last in the last."""
    xp = namespace(x)
    inside = x[(x >= edges[0]) & (x <= edges[-1])]
    return xp.bincount(xp.searchsorted(edges[1:-1], inside, side="right"), minlength=len(edges) - 1).astype(x.dtype)


def histogram(x: Any, bins: int = 10, range: Any = None) -> tuple[Any, Any]:
    """How many elements are in each of `bins` ranges of one width, and the bounds of these.

    Args:
        range: (lowest, highest) bound; None for the smallest and largest element.
    """
    if range is not None and not range[0] < range[1]:
        raise ValueError(f"`range` must be (lower, upper) with lower < upper. Received: range={range}")
    low, high = (min(x), max(x)) if range is None else range
    shares = np.linspace(0, 1, bins + 1).astype(str(x.dtype))
    edges = add(multiply(1 - shares, low), multiply(shares, high))
    return _counts(x, edges), edges


@op("sorted_sequence", "values", differentiable=False)
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """How many numbers of the sequence are below each value ("left"), or not above it ("right")."""
    return namespace(values).searchsorted(sorted_sequence, values, side=side).astype("int32")


def digitize(x: Any, bins: Any) -> Any:
    """The number of the bin that each element falls in: how many of these bounds are not above it."""
    return searchsorted(np.asarray(bins, str(x.dtype)), x, side="right")


# --- correlation ------------------------------------------------------------------------


def corrcoef(x: Any) -> Any:
    """The correlation of each two rows of x, between -1 and 1."""
    if str(x.dtype)[:5] != "float":
        x = cast(x, config.floatx())
    centred = subtract(x, mean(x, -1, True))
    if len(x.shape) == 1:
        centred = reshape(centred, (1, -1))
    covariance = matmul(centred, swapaxes(centred, -1, -2))
    lengths = sqrt(sum(square(centred), -1))
    y = clip(divide(covariance, outer(lengths, lengths)), -1.0, 1.0)
    return reshape(y, ()) if len(x.shape) == 1 else y


def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """y[i] = sum over j of x1[i + j] * x2[j], with zeros outside of x1.

    Args:
        mode: which i: "valid", where x2 lies within x1; "full", where they touch; "same", as many as x1 has, in the middle.
    """
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"Invalid mode: '{mode}'. Mode must be one of: 'full', 'same', 'valid'.")
    x1, x2 = (x if str(x.dtype)[:5] == "float" else cast(x, config.floatx()) for x in (x1, x2))
    n, m = x1.shape[0], x2.shape[0]
    if mode != "valid":
        x1 = pad(x1, [[m - 1, m - 1]])
    y = reshape(conv(reshape(x1, (1, -1, 1)), reshape(x2, (-1, 1, 1)), data_format="channels_last"), (-1,))
    if mode != "same":
        return y
    count = n if n > m else m
    start = (n + m - 1 - count) // 2
    return get_item(y, slice(start, start + count))
