"""More ops that move elements: diagonals, turns, cuts, and axes by their names."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np

from minicnn import config
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import subtract
from minicnn.ops.reductions import sum
from minicnn.ops.shaping import (
    _at,
    concatenate,
    expand_dims,
    flip,
    ndim,
    ravel,
    reshape,
    split,
    swapaxes,
    transpose,
    zeros_like,
)
from minicnn.tensor import as_tensor

# --- diagonals --------------------------------------------------------------------------


def _on_diagonal(count: int, k: int) -> tuple[Any, Any]:
    """The rows and columns of the first `count` places of diagonal number k."""
    places = np.arange(count)
    return places + max(-k, 0), places + max(k, 0)


@op("x")
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements on a diagonal of two axes, along a new last axis."""
    return x.diagonal(offset, axis1, axis2), (x, offset, axis1, axis2)


@diagonal.gradient
def _(dy: Any, saved: Any) -> Any:
    x, offset, axis1, axis2 = saved
    xp = namespace(dy)
    dx = xp.zeros(x.shape, dy.dtype)
    rows, columns = _on_diagonal(dy.shape[-1], offset)
    xp.moveaxis(dx, (axis1, axis2), (-2, -1))[..., rows, columns] = dy
    return dx


@op("x")
def diagflat(x: Any, k: int = 0) -> Any:
    """A matrix of zeros with the elements of x on diagonal number k."""
    size = x.size + abs(k)
    y = namespace(x).zeros((size, size), x.dtype)
    places = _on_diagonal(x.size, k)
    y[places] = x.reshape(-1)
    return y, (x.shape, places)


@diagflat.gradient
def _(dy: Any, saved: Any) -> Any:
    shape, places = saved
    return dy[places].reshape(shape)


def diag(x: Any, k: int = 0) -> Any:
    """Of a row the matrix with it on diagonal number k; of a matrix that diagonal.

    Raises:
        ValueError: for another number of axes.
    """
    if ndim(x) not in (1, 2):
        raise ValueError(f"`x` must be 1-D or 2-D, but received: x.shape={tuple(x.shape)}")
    return diagflat(x, k) if ndim(x) == 1 else diagonal(x, k)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the elements on a diagonal of two axes."""
    return sum(diagonal(x, offset, axis1, axis2), -1)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """A matrix of ones on and below diagonal number k, and zeros above it."""
    return as_tensor(np.tri(N, M, k, dtype or config.floatx()))


# --- turning ----------------------------------------------------------------------------


def fliplr(x: Any) -> Any:
    """x in reverse along its second axis."""
    return flip(x, 1)


def flipud(x: Any) -> Any:
    """x in reverse along its first axis."""
    return flip(x, 0)


def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """x turned by so many quarter turns, from the first of two axes towards the second.

    Raises:
        ValueError: unless there are two different axes.
    """
    first, second = (axis % max(ndim(array), 1) for axis in axes)
    if ndim(array) < 2 or first == second:
        raise ValueError(f"Invalid axes: {axes}. `axes` must be two different ones of the input's, {tuple(array.shape)}")
    if k % 4 == 2:
        return flip(array, (first, second))
    if k % 4 == 1:
        return swapaxes(flip(array, second), first, second)
    return flip(swapaxes(array, first, second), second) if k % 4 == 3 else flip(array, ())


# --- cutting and joining ----------------------------------------------------------------


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """`split`, where the parts need not be of one size: the first ones may have one more."""
    if not isinstance(indices_or_sections, (int, np.integer)):
        return split(x, indices_or_sections, axis)
    size, more = divmod(x.shape[axis], indices_or_sections)
    cuts = np.cumsum([size + 1] * more + [size] * (indices_or_sections - more))[:-1].tolist()
    return split(x, cuts, axis)


def hsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along the second axis, or the only one."""
    return split(x, indices_or_sections, 0 if ndim(x) == 1 else 1)


def vsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along the first axis."""
    return split(x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along the third axis."""
    return split(x, indices_or_sections, 2)


def dstack(xs: Any) -> Any:
    """The tensors behind each other, along a third axis; a row counts as a matrix of one row."""
    rows = [reshape(x, (1, -1)) if ndim(x) < 2 else x for x in xs]
    return concatenate([expand_dims(x, -1) if ndim(x) == 2 else x for x in rows], axis=2)


def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """x2 behind x1 along an axis; of the elements of both as rows where there is none."""
    return concatenate([ravel(x1), ravel(x2)], 0) if axis is None else concatenate([x1, x2], axis)


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """What each element is above the one before it along an axis; n times."""
    for _ in range(n):
        a = subtract(_at(a, axis, slice(1, None)), _at(a, axis, slice(None, -1)))
    return a


# --- new tensors ------------------------------------------------------------------------


def empty_like(x: Any, dtype: Any = None) -> Any:
    """A tensor in the shape of x whose values nobody reads (zeros)."""
    return zeros_like(x, dtype)


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10, dtype: Any = None, axis: int = 0
) -> Any:
    """So many numbers from base**start to base**stop, each the same multiple of the one before it."""
    return as_tensor(np.logspace(start, stop, num, endpoint, base, axis=axis).astype(dtype or config.floatx()))


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """So many numbers from `start` to `stop`, each the same multiple of the one before it."""
    return as_tensor(np.geomspace(start, stop, num, endpoint, axis=axis).astype(dtype or config.floatx()))


# --- depth and places -------------------------------------------------------------------


def _spread(x: Any, B: int) -> Any:
    """Each pixel's channels as B x B pixels."""
    N, H, W, C = x.shape
    return x.reshape(N, H, W, B, B, C // B**2).transpose(0, 1, 3, 2, 4, 5).reshape(N, H * B, W * B, C // B**2)


def _gathered(x: Any, B: int) -> Any:
    """Each B x B pixels as one."""
    N, H, W, C = x.shape
    return x.reshape(N, H // B, B, W // B, B, C).transpose(0, 1, 3, 2, 4, 5).reshape(N, H // B, W // B, B * B * C)


@op("x")
def _depth_to_space(x: Any, block_size: int) -> Any:
    return _spread(x, block_size), block_size


@op("x")
def _space_to_depth(x: Any, block_size: int) -> Any:
    return _gathered(x, block_size), block_size


_depth_to_space.gradient(_gathered)
_space_to_depth.gradient(_spread)


def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Images (N, H, W, C) as larger ones, (N, H * B, W * B, C / B**2): each pixel's channels become B x B pixels."""
    if block_size < 2:
        raise ValueError(f"`block_size` must be at least 2. Received: block_size={block_size}")
    if data_format == "channels_first":
        return transpose(depth_to_space(transpose(x, (0, 2, 3, 1)), block_size), (0, 3, 1, 2))
    if x.shape[-1] % block_size**2:
        raise ValueError(f"`depth_to_space` needs a multiple of {block_size**2} channels. Received: x.shape={tuple(x.shape)}")
    return _depth_to_space(x, block_size)


def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """The reverse of `depth_to_space`: each B x B pixels become one, with B**2 times the channels."""
    B = block_size
    if B < 2:
        raise ValueError(f"`block_size` must be at least 2. Received: block_size={B}")
    if data_format == "channels_first":
        return transpose(space_to_depth(transpose(x, (0, 2, 3, 1)), B), (0, 3, 1, 2))
    if any(size is not None and size % B for size in x.shape[1:3]):
        raise ValueError(f"`space_to_depth` needs images that {B} x {B} pixels divide. Received: x.shape={tuple(x.shape)}")
    return _space_to_depth(x, B)


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """The axes of x by names: "b h w c -> b c h w" turns, "b (h p) w c -> ..." cuts one in two, "-> b (h w) c" joins two.

    Args:
        axes_lengths: the sizes of what is cut; of each axis one may be left out.

    Raises:
        ValueError: where the two sides are not of the same names, or do not fit the shape.

    Source: einops, Rogozhnikov 2022, "Einops: Clear and Reliable Tensor Manipulations with Einstein-like Notation".
    """
    source, _, target = pattern.partition("->")
    groups, wanted = ([part.strip("()").split() for part in re.findall(r"\w+|\(.*?\)", side)] for side in (source, target))
    names = [name for group in groups for name in group]
    order = [name for group in wanted for name in group]
    if sorted(names) != sorted(order) or len(set(names)) < len(names) or len(groups) != ndim(tensor):
        raise ValueError(f"Cannot rearrange '{pattern}' a tensor of the shape {tuple(tensor.shape)}.")
    sizes: dict[str, Any] = dict(axes_lengths)
    for group, size in zip(groups, tensor.shape):
        unknown = [name for name in group if name not in sizes]
        rest = prod(sizes[name] for name in group if name in sizes)
        if len(unknown) > 1 or (size is not None and size % rest):
            raise ValueError(f"Axis ({' '.join(group)}) of '{pattern}' has size {size}. Received: {axes_lengths}")
        sizes.update((name, None if size is None else size // rest) for name in unknown)
    apart = transpose(reshape(tensor, [sizes[name] for name in names]), [names.index(name) for name in order])
    joined = [[sizes[name] for name in group] for group in wanted]
    return reshape(apart, [None if None in group else prod(group) for group in joined])
