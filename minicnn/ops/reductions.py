"""Sums, means and the like along axes; and what comes from sorting."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from minicnn import config
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import (
    absolute,
    cast,
    divide,
    exp,
    isfinite,
    log,
    multiply,
    not_equal,
    power,
    sqrt,
    square,
    stop_gradient,
    subtract,
    where,
)
from minicnn.ops.shaping import ndim, reshape, squeeze, take_along_axis

Axis = Any  # an int, several of them, or None for all


def _axes(axis: Axis, count: int) -> tuple[int, ...]:
    """Axes counted from 0.

    Raises:
        ValueError: for one that a tensor of so many axes has not.
    """
    if axis is None:
        return tuple(range(count))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    for one in axes:
        if not -count <= one < count:
            raise ValueError(f"axis {one} is out of bounds for a tensor of {count} dimensions. Received: axis={axis}")
    return tuple(one % count for one in axes)


def _spread(dy: Any, like: Any, axes: tuple[int, ...]) -> Any:
    """Of a reduction's output, along what was reduced: sizes 1 where the axes were."""
    return dy.reshape([1 if i in axes else size for i, size in enumerate(like.shape)])


@op("x")
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum along axes."""
    axes = _axes(axis, x.ndim)
    return x.sum(axis=axes, keepdims=keepdims, dtype=x.dtype if x.dtype.kind == "f" else None), (x, axes)


@sum.gradient
def _(dy: Any, saved: Any) -> Any:
    x, axes = saved
    return namespace(x).broadcast_to(_spread(dy, x, axes), x.shape)


@op("x")
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean along axes."""
    axes = _axes(axis, x.ndim)
    return x.mean(axis=axes, keepdims=keepdims), (x, axes)


@mean.gradient
def _(dy: Any, saved: Any) -> Any:
    x, axes = saved
    count = x.size // builtins.max(dy.size, 1)
    return namespace(x).broadcast_to(_spread(dy / count, x, axes), x.shape)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean squared distance from the mean."""
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The square root of `var`."""
    return sqrt(var(x, axis, keepdims))


def _extreme(name: str, which: str) -> Any:
    def function(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
        axes = _axes(axis, x.ndim)
        more = {} if initial is None else {"initial": initial}
        y = getattr(x, name)(axis=axes, keepdims=keepdims, **more)
        return y, (x, y, axes)

    def backward(dy: Any, saved: Any) -> Any:
        x, y, axes = saved
        chosen = x == _spread(y, x, axes)
        count = chosen.sum(axis=axes, keepdims=True)  # none, where `initial` is beyond all of them
        return chosen * _spread(dy, x, axes) / namespace(x).maximum(count, 1).astype(dy.dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {which} along axes. Where several are, its gradient is shared among them."
    return op("x")(function).gradient(backward)


max, min = _extreme("max", "largest element"), _extreme("min", "smallest element")
amax, amin = max, min


@op("x")
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product along axes."""
    axes = _axes(axis, x.ndim)
    return x.prod(axis=axes, keepdims=keepdims, dtype=dtype), (x, axes)


@prod.gradient
def _(dy: Any, saved: Any) -> Any:
    # The product of the others: all that come before times all that come behind, so that a 0 does no harm.
    x, axes = saved
    xp = namespace(x)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = [*kept, *axes]
    rows = x.transpose(order).reshape([x.shape[i] for i in kept] + [-1])
    one = xp.ones_like(rows[..., :1])
    before = xp.concatenate([one, xp.cumprod(rows[..., :-1], axis=-1)], axis=-1)
    behind = xp.concatenate([xp.cumprod(rows[..., :0:-1], axis=-1)[..., ::-1], one], axis=-1)
    others = (before * behind).reshape([x.shape[i] for i in order])
    return _spread(dy, x, axes) * others.transpose(np.argsort(order).tolist())


@op("x")
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """y[i] = x[0] + ... + x[i] along an axis; of x as a row where there is none."""
    return namespace(x).cumsum(x, axis, dtype=dtype or x.dtype), (x.shape, axis)


@cumsum.gradient
def _(dy: Any, saved: Any) -> Any:
    shape, axis = saved
    xp = namespace(dy)
    along = 0 if axis is None else axis
    return xp.flip(xp.cumsum(xp.flip(dy, along), along), along).reshape(shape)


@op("x")
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """y[i] = x[0] * ... * x[i] along an axis; of x as a row where there is none."""
    y = namespace(x).cumprod(x, axis, dtype=dtype or x.dtype)
    return y, (x, y, axis)


@cumprod.gradient
def _(dy: Any, saved: Any) -> Any:
    # dx[i] = sum over j >= i of dy[j] * y[j] / x[i], which needs an x without zeros.
    x, y, axis = saved
    xp = namespace(x)
    along = 0 if axis is None else axis
    return xp.flip(xp.cumsum(xp.flip(dy * y, along), along), along).reshape(x.shape) / x


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum of exp(x)) along axes, without overflow."""
    largest = max(x, axis, True)
    largest = stop_gradient(where(isfinite(largest), largest, 0.0))  # of nothing but -inf, the sum is 0
    total = log(sum(exp(subtract(x, largest)), axis, True))
    y = total + largest
    return y if keepdims else squeeze(y, tuple(_axes(axis, len(x.shape))))


def vector_norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """The length of the vectors along axes (of all elements, for None): (sum of |x|**ord)**(1 / ord), by default of order 2.

    Args:
        ord: a number; infinity for the largest |x|, minus infinity for the smallest, 0 for how many are not 0.

    Raises:
        ValueError: for any other text than "inf", and TensorFlow's "euclidean".
    """
    if ord in (None, 2, "euclidean"):
        return sqrt(sum(square(x), axis, keepdims))
    if ord == 1:
        return sum(absolute(x), axis, keepdims)
    if ord in ("inf", np.inf):
        return max(absolute(x), axis, keepdims)
    if ord == -np.inf:
        return min(absolute(x), axis, keepdims)
    if isinstance(ord, str):
        raise ValueError(f"Invalid `ord` argument for vector norm. Expected a number or 'inf'. Received: ord={ord!r}")
    if ord == 0:
        return sum(cast(not_equal(x, 0), getattr(x, "dtype", None) or config.floatx()), axis, keepdims)
    return power(sum(power(absolute(x), ord), axis, keepdims), 1 / ord)


def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element less the smallest, along axes."""
    return subtract(max(x, axis, keepdims), min(x, axis, keepdims))


def moments(x: Any, axes: Axis, keepdims: bool = False, synchronized: bool = False) -> tuple[Any, Any]:
    """Mean and variance along axes."""
    return mean(x, axes, keepdims), var(x, axes, keepdims)


def average(x: Any, axis: Axis = None, weights: Any = None) -> Any:
    """The mean along axes, weighted: by an array of the shape of x, or a row of weights along one axis."""
    if weights is None:
        return mean(x, axis)
    if axis is not None and ndim(weights) == 1 < len(x.shape):
        (along,) = _axes(axis, len(x.shape))
        weights = reshape(weights, [-1 if i == along else 1 for i in range(len(x.shape))])
        return divide(sum(multiply(x, weights), axis), sum(weights))
    return divide(sum(multiply(x, weights), axis), sum(weights, axis))


def _plain(name: str, doc: str, dtype: Any = None) -> Any:
    def function(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
        y = getattr(namespace(x), name)(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
        return y if dtype is None else y.astype(dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return op("x", differentiable=False)(function)


all = _plain("all", "Whether all elements along axes are true.")
any = _plain("any", "Whether an element along axes is true.")
argmax = _plain("argmax", "The place of the largest element along an axis, the first of several.", "int32")
argmin = _plain("argmin", "The place of the smallest element along an axis, the first of several.", "int32")


@op("x", differentiable=False)
def count_nonzero(x: Any, axis: Axis = None) -> Any:
    """How many elements along axes are not 0."""
    return (x != 0).sum(axis=tuple(axis) if isinstance(axis, list) else axis).astype("int32")


@op("x", differentiable=False)
def argsort(x: Any, axis: int = -1) -> Any:
    """The places of the elements along an axis, in ascending order of their values."""
    return namespace(x).argsort(x, axis=axis, kind="stable").astype("int32")


def sort(x: Any, axis: int = -1) -> Any:
    """The elements along an axis in ascending order."""
    return take_along_axis(x, argsort(x, axis), axis)


@op("x", differentiable=False)
def _largest(x: Any, k: int) -> Any:
    """The places of the k largest elements along the last axis, the largest first."""
    return namespace(x).argsort(-x, axis=-1, kind="stable")[..., :k].astype("int32")


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest elements along the last axis, the largest first, and their places."""
    places = _largest(x, k)
    return take_along_axis(x, places, -1), places


@op("targets", "predictions", differentiable=False)
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the target's prediction is among the row's k largest; not so where a prediction is no finite number."""
    xp, classes = namespace(predictions), predictions.shape[1]
    targets = targets.astype(int)
    own = predictions[np.arange(len(targets)), targets.clip(0, classes - 1)]
    known = (targets >= 0) & (targets < classes) & xp.isfinite(predictions).all(axis=1)
    return ((predictions > own[:, None]).sum(axis=1) < k) & known
