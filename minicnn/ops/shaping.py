"""Ops that move elements, and compute nothing: each gradient moves them back, and adds where an element was repeated."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import config
from minicnn.layers.symbolic import KerasTensor
from minicnn.ops.base import namespace, op, unbroadcast
from minicnn.tensor import as_tensor

Axis = Any  # an int, several of them, or None for all


def _ints(shape: Any) -> tuple[int, ...]:
    """A shape as ints: sizes may be arrays, where they were computed from another tensor's shape."""
    if isinstance(shape, (int, np.integer)) or getattr(shape, "ndim", 1) == 0:
        return (int(shape),)
    return tuple(-1 if size is None else int(size) for size in shape)


# --- shapes -----------------------------------------------------------------------------


def shape(x: Any) -> tuple[Any, ...]:
    """The shape of x as a tuple; of a symbolic tensor, a size that varies is a symbolic number."""
    if isinstance(x, KerasTensor):
        return tuple(_size_of_axis(x, axis) if size is None else size for axis, size in enumerate(x.shape))
    return tuple(np.shape(x))


@op("x", differentiable=False)
def _size_of_axis(x: Any, axis: int) -> Any:
    """The size of x along an axis, as a number of type int32."""
    return np.asarray(x.shape[axis], np.int32)


def size(x: Any) -> Any:
    """How many elements x has."""
    return int(np.prod(np.shape(x))) if not isinstance(x, KerasTensor) else _size(x)


@op("x", differentiable=False)
def _size(x: Any) -> Any:
    """How many elements x has, as a number of type int32."""
    return np.asarray(x.size, np.int32)


def ndim(x: Any) -> int:
    """How many axes x has."""
    return x.ndim if hasattr(x, "ndim") else np.ndim(x)


@op("x")
def reshape(x: Any, newshape: Any) -> Any:
    """The elements of x, in their order, in another shape; one of its sizes may be -1: as many as there are."""
    return x.reshape(_ints(newshape)), x.shape


@reshape.gradient
def _(dy: Any, saved: Any) -> Any:
    return dy.reshape(saved)


def ravel(x: Any) -> Any:
    """All elements of x, one after the other."""
    return reshape(x, (-1,))


@op("x")
def expand_dims(x: Any, axis: Axis) -> Any:
    """x with further axes of size 1, at these places of the result."""
    return namespace(x).expand_dims(x, tuple(axis) if isinstance(axis, list) else axis), x.shape


expand_dims.gradient(lambda dy, saved: dy.reshape(saved))


@op("x")
def squeeze(x: Any, axis: Axis = None) -> Any:
    """x without axes of size 1: these, or all that there are."""
    return namespace(x).squeeze(x, tuple(axis) if isinstance(axis, list) else axis), x.shape


squeeze.gradient(lambda dy, saved: dy.reshape(saved))


@op("x")
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axis i of the result is axis axes[i] of x; by default the reverse order."""
    axes = tuple(axes) if axes is not None else tuple(reversed(range(x.ndim)))
    return x.transpose(axes), axes


@transpose.gradient
def _(dy: Any, saved: Any) -> Any:
    return dy.transpose(sorted(range(dy.ndim), key=lambda axis: saved[axis] % dy.ndim))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    order = list(range(ndim(x)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """x with some axes moved to other places; the others keep their order."""
    source, destination = ([one] if isinstance(one, int) else list(one) for one in (source, destination))
    count = ndim(x)
    source, destination = ([axis % count for axis in axes] for axes in (source, destination))
    order = [axis for axis in range(count) if axis not in source]
    for place, axis in sorted(zip(destination, source)):
        order.insert(place, axis)
    return transpose(x, order)


@op("x")
def broadcast_to(x: Any, shape: Any) -> Any:
    """x repeated along the axes that it lacks, or has with size 1, to this shape."""
    return namespace(x).broadcast_to(x, _ints(shape)), x


@broadcast_to.gradient
def _(dy: Any, saved: Any) -> Any:
    return unbroadcast(dy, saved)


# --- parts, and parts put together ------------------------------------------------------


def _index(key: Any) -> Any:
    """An index as NumPy takes it: sizes and places that were computed are numbers."""
    if isinstance(key, tuple):
        return tuple(_index(part) for part in key)
    if isinstance(key, builtins.slice):
        return builtins.slice(*(None if part is None else int(part) for part in (key.start, key.stop, key.step)))
    return np.asarray(key) if isinstance(key, list) else key


@op("x")
def get_item(x: Any, key: Any) -> Any:
    """x[key]: slices, ints, `...`, `None`, masks and arrays of places, as NumPy takes them."""
    key = _index(key)
    return x[key], (x, key)


@get_item.gradient
def _(dy: Any, saved: Any) -> Any:
    x, key = saved
    dx = namespace(x).zeros_like(x)
    parts = key if isinstance(key, tuple) else (key,)
    if all(isinstance(part, (int, np.integer, builtins.slice)) or part is None or part is Ellipsis for part in parts):
        dx[key] = dy  # each element was taken once
    else:
        namespace(x).add.at(dx, key, dy)
    return dx


@op("x", "indices")
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements (along an axis: the slices) of x at these places; of x as a row where there is no axis."""
    return namespace(x).take(x, indices.astype(int) if hasattr(indices, "astype") else indices, axis=axis), (x, indices, axis)


@take.gradient
def _(dy: Any, saved: Any) -> Any:
    x, indices, axis = saved
    xp = namespace(x)
    dx = xp.zeros(x.size if axis is None else x.shape, dy.dtype)
    key = indices.astype(int) if hasattr(indices, "astype") else indices
    xp.add.at(dx, (builtins.slice(None),) * ((axis or 0) % builtins.max(x.ndim, 1)) + (key,), dy)
    return dx.reshape(x.shape), None


@op("x", "indices")
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """y[i, j, k] = x[i, indices[i, j, k], k] for axis 1, and so on."""
    indices = indices.astype(int)
    return namespace(x).take_along_axis(x, indices, axis=axis), (x, indices, axis)


@take_along_axis.gradient
def _(dy: Any, saved: Any) -> Any:
    x, indices, axis = saved
    xp = namespace(x)
    if axis is None:
        dx = xp.zeros(x.size, dy.dtype)
        xp.add.at(dx, indices, dy)
        return dx.reshape(x.shape), None
    places = list(xp.ogrid[tuple(builtins.slice(size) for size in indices.shape)])
    places[axis] = indices
    dx = xp.zeros(x.shape, dy.dtype)
    xp.add.at(dx, tuple(places), dy)
    return dx, None


@op("*xs")
def concatenate(xs: Any, axis: int = 0) -> Any:
    """The tensors one behind the other along an axis."""
    return namespace(*xs).concatenate(xs, axis), ([x.shape[axis] for x in xs], axis)


@concatenate.gradient
def _(dy: Any, saved: Any) -> Any:
    sizes, axis = saved
    return namespace(dy).split(dy, np.cumsum(sizes)[:-1].tolist(), axis)


@op("*x")
def stack(x: Any, axis: int = 0) -> Any:
    """Tensors of one shape along a new axis, at this place of the result."""
    return namespace(*x).stack(x, axis), (len(x), axis)


@stack.gradient
def _(dy: Any, saved: Any) -> Any:
    count, axis = saved
    return [dy.take(i, axis) for i in range(count)]


def _at(x: Any, axis: int, part: Any) -> Any:
    return get_item(x, (builtins.slice(None),) * (axis % ndim(x)) + (part,))


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """x cut along an axis: into so many parts of one size, or before each of these places.

    Raises:
        ValueError: if the size cannot be cut into so many parts.
    """
    extent = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        if extent is None or extent % indices_or_sections:
            raise ValueError(f"x of size {extent} along axis {axis} cannot be cut into {indices_or_sections} equal parts.")
        step = extent // indices_or_sections
        cuts = list(range(step, extent, step))
    else:
        cuts = [int(cut) for cut in indices_or_sections]
    return [_at(x, axis, builtins.slice(start, stop)) for start, stop in zip([0, *cuts], [*cuts, extent])]


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """The slices of x along an axis, as a list."""
    count = num if num is not None else x.shape[axis]
    if count is None:
        raise ValueError(
            f"Cannot infer argument `num` from shape {x.shape}. Either provide a tensor with a concrete shape in the `axis` "
            "dimension or explicitly pass the `num` argument."
        )
    return [_at(x, axis, i) for i in range(count)]


def hstack(xs: Any) -> Any:
    """The tensors beside each other: along the second axis, or the only one."""
    return concatenate(xs, axis=0 if ndim(xs[0]) == 1 else 1)


def vstack(xs: Any) -> Any:
    """The tensors below each other: along the first axis, rows where they have one axis only."""
    return concatenate([reshape(x, (1, -1)) if ndim(x) < 2 else x for x in xs], axis=0)


def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """The block of this shape that begins at these places."""
    return get_item(inputs, tuple(builtins.slice(int(s), int(s) + int(n)) for s, n in zip(start_indices, shape)))


# --- repeating, turning, padding --------------------------------------------------------


@op("x")
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element (each slice along an axis) so many times in a row.

    Args:
        repeats: one number, or one for each element along the axis.
    """
    counts = np.ravel(repeats).tolist()
    repeats = counts[0] if len(counts) == 1 else counts
    return namespace(x).repeat(x, repeats, axis), (x.shape, repeats, axis)


@repeat.gradient
def _(dy: Any, saved: Any) -> Any:
    # dx[i] = the sum of dy over the copies of slice i
    shape, repeats, axis = saved
    if isinstance(repeats, list):
        xp, along = namespace(dy), dy if axis is None else namespace(dy).moveaxis(dy, axis, 0)
        dx = xp.zeros((len(repeats), *along.shape[1:]), dy.dtype)
        xp.add.at(dx, np.repeat(np.arange(len(repeats)), repeats), along)
        return dx.reshape(shape) if axis is None else xp.moveaxis(dx, 0, axis)
    if axis is None:
        return dy.reshape(-1, repeats).sum(axis=1).reshape(shape)
    axis %= len(shape)
    return dy.reshape(*shape[: axis + 1], repeats, *shape[axis + 1 :]).sum(axis=axis + 1)


@op("x")
def tile(x: Any, repeats: Any) -> Any:
    """x so many times along each axis, as a whole."""
    repeats = _ints(repeats)
    return namespace(x).tile(x, repeats), (x.shape, repeats)


@tile.gradient
def _(dy: Any, saved: Any) -> Any:
    shape, repeats = saved
    count = builtins.max(len(shape), len(repeats))
    shape_full = (1,) * (count - len(shape)) + tuple(shape)
    repeats = (1,) * (count - len(repeats)) + tuple(repeats)
    blocks = [one for pair in zip(repeats, shape_full) for one in pair]
    return dy.reshape(blocks).sum(axis=tuple(range(0, 2 * count, 2))).reshape(shape)


@op("x")
def roll(x: Any, shift: Any, axis: Axis = None) -> Any:
    """x moved by `shift` places along an axis, what falls off the end coming in at the start."""
    return namespace(x).roll(x, shift, axis), (shift, axis)


@roll.gradient
def _(dy: Any, saved: Any) -> Any:
    shift, axis = saved
    back = [-one for one in shift] if isinstance(shift, (tuple, list)) else -shift
    return namespace(dy).roll(dy, back, axis)


@op("x")
def flip(x: Any, axis: Axis = None) -> Any:
    """x in reverse along an axis, several, or all."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    return namespace(x).flip(x, axis), axis


@flip.gradient
def _(dy: Any, saved: Any) -> Any:
    return namespace(dy).flip(dy, saved)


@op("x")
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """x with a border: of a constant, its edge ("edge"), or itself turned over ("reflect", "symmetric").

    Args:
        pad_width: an int, (before, after) for all axes, or one such pair for each.
    """
    pairs = np.broadcast_to(np.asarray(pad_width, int), (x.ndim, 2)).tolist()
    more = {"constant_values": constant_values or 0} if mode == "constant" else {}
    return namespace(x).pad(x, pairs, mode=mode, **more), (x.shape, pairs, mode)


@pad.gradient
def _(dy: Any, saved: Any) -> Any:
    shape, pairs, mode = saved
    if mode == "constant":
        return dy[tuple(builtins.slice(before, before + size) for (before, _), size in zip(pairs, shape))]
    # Along each axis by itself: each place of the border is a copy of a place of x, and its gradient goes there.
    xp = namespace(dy)
    for axis, (pair, size) in enumerate(zip(pairs, shape)):
        source = np.pad(np.arange(size), pair, mode=mode)
        dx = xp.zeros((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
        xp.add.at(dx, (builtins.slice(None),) * axis + (xp.asarray(source),), dy)
        dy = dx
    return dy


def _triangle(keep: str) -> Any:
    def function(x: Any, k: int = 0) -> Any:
        return getattr(namespace(x), keep)(x, k), k

    side = "on and below" if keep == "tril" else "on and above"
    function.__name__ = function.__qualname__ = keep
    function.__doc__ = f"x where it lies {side} diagonal number k of the last two axes, else 0."
    return op("x")(function).gradient(lambda dy, k: getattr(namespace(dy), keep)(dy, k))


tril, triu = _triangle("tril"), _triangle("triu")


# --- new tensors ------------------------------------------------------------------------


@op(differentiable=False)
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor of one number."""
    return np.full(_ints(shape), fill_value, dtype or config.floatx())


def zeros(shape: Any, dtype: Any = None) -> Any:
    """A tensor of zeros."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = None) -> Any:
    """A tensor of ones."""
    return full(shape, 1, dtype)


@op("x", differentiable=False)
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor of one number, in the shape and dtype of x."""
    return namespace(x).full_like(x, fill_value, dtype=dtype)


def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros in the shape and dtype of x."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones in the shape and dtype of x."""
    return full_like(x, 1, dtype)


@op(differentiable=False)
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """start, start + step, ... below `stop`; from 0 where there is one number alone."""
    whole = all(
        one is None or isinstance(one, (int, np.integer)) or getattr(one, "dtype", np.dtype("f")).kind in "iu"
        for one in (start, stop, step)
    )
    if stop is None:
        start, stop = 0, start
    return np.arange(start, stop, 1 if step is None else step).astype(dtype or ("int32" if whole else config.floatx()))


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None) -> Any:
    """So many numbers at equal distances, from `start` to `stop`; with `retstep` also the distance."""
    values, step = np.linspace(start, stop, num, endpoint, retstep=True)
    numbers, distance = (as_tensor(np.asarray(one, dtype or config.floatx())) for one in (values, step))
    return (numbers, distance) if retstep else numbers


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """A matrix of zeros, with ones on diagonal number k."""
    return as_tensor(np.eye(N, M, k, dtype or config.floatx()))


def identity(n: int, dtype: Any = None) -> Any:
    """The identity matrix."""
    return eye(n, dtype=dtype)


@op("*xs")
def _grid(xs: Any, axes: list[int], place: int) -> Any:
    """The numbers xs[place] at each point of a grid, along whose axis axes[i] lie the numbers xs[i]."""
    xp = namespace(*xs)
    sizes = [xs[axes.index(axis)].size for axis in range(len(axes))]
    row = xs[place].reshape([size if axis == axes[place] else 1 for axis, size in enumerate(sizes)])
    return xp.array(xp.broadcast_to(row, sizes)), ([x.shape for x in xs], axes, place)


@_grid.gradient
def _(dy: Any, saved: Any) -> Any:
    shapes, axes, place = saved
    dx = dy.sum(axis=tuple(axis for axis in axes if axis != axes[place])).reshape(shapes[place])
    return [dx if i == place else None for i in range(len(shapes))]


def meshgrid(*x: Any, indexing: str = "xy") -> list[Any]:
    """The coordinates of a grid, from those along its axes: these in order with "ij"; with "xy" the second are along the first
    axis, the rows."""
    axes = list(range(len(x)))
    if indexing == "xy":
        axes[:2] = axes[:2][::-1]
    return [_grid(list(x), axes, place) for place in range(len(x))]


def empty(shape: Any, dtype: Any = None) -> Any:
    """A tensor whose values nobody reads (zeros)."""
    return zeros(shape, dtype)


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor: of values, or symbolic."""
    return hasattr(x, "shape") and hasattr(x, "dtype")
