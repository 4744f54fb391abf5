"""Integer arithmetic on shapes: what a window needs, what it yields, what it costs.

Ground level: ints and tuples only, so that layers, ops and tests can all stand on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

Pads = tuple[int, int, int, int]  # (top, bottom, left, right)


class TensorShape(tuple):
    """The shape of a tensor or a variable: a tuple of sizes (None: unknown), with TensorFlow's methods of a shape.

    Examples:
        >>> TensorShape([None, 28, 28]).as_list()
        [None, 28, 28]
    """

    __slots__ = ()

    def __new__(cls, dims: int | Iterable[int | None] | None = ()) -> TensorShape:
        return super().__new__(cls, (dims,) if dims is None or isinstance(dims, int) else dims)

    def as_list(self) -> list[int | None]:
        """The sizes."""
        return list(self)

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self)

    ndims = rank

    def is_fully_defined(self) -> bool:
        """Whether every size is known."""
        return None not in self

    def num_elements(self) -> int | None:
        """The product of the sizes; None where one is unknown."""
        return math.prod(self) if self.is_fully_defined() else None


def integers(value: int | Sequence[int], count: int, argument: str, *, allow_zero: bool = False) -> tuple[int, ...]:
    """`3` or `(3, ..., 3)` as `count` ints; an error that names `argument` otherwise (Keras's wording).

    Examples:
        >>> integers(3, 2, "kernel_size")
        (3, 3)
    """
    message = f"The `{argument}` argument must be a tuple of {count} integers. Received {argument}={value!r}"
    if isinstance(value, bool):
        raise ValueError(message)
    if isinstance(value, int) or hasattr(value, "__index__"):
        values = (int(value),) * count
    else:
        try:
            values = tuple(int(v) for v in value)
            exact = all(v == w for v, w in zip(values, value))
        except (TypeError, ValueError):
            raise ValueError(message) from None
        if len(values) != count or not exact:
            raise ValueError(message)
    too_small = {v for v in values if v < (0 if allow_zero else 1)}
    if too_small:
        demand = "value >= 0" if allow_zero else "value > 0"
        raise ValueError(f"{message}, including values {too_small} that do not satisfy `{demand}`")
    return values


def repeated_axes(shape: Sequence[int], original: Sequence[int]) -> tuple[int, ...]:
    """The axes of `shape` along which an array of shape `original` was repeated by broadcasting.

    Examples:
        >>> repeated_axes((2, 8, 10), (8, 1))
        (0, 2)
    """
    extra = len(shape) - len(original)
    return (*range(extra), *(i + extra for i, size in enumerate(original) if size == 1 and shape[i + extra] != 1))


def pair(value: int | Sequence[int], argument: str, *, allow_zero: bool = False) -> tuple[int, int]:
    """`3` or `(3, 3)` as two ints: `integers` of a height and a width."""
    return integers(value, 2, argument, allow_zero=allow_zero)  # type: ignore[return-value]


def sides(value: Any, argument: str, one_each: str, two_each: str, axes: int = 2) -> tuple[tuple[int, int], ...]:
    """An int for all sides, (rows, columns) or ((top, bottom), (left, right)) as the last of these (Keras's wording).

    Args:
        one_each, two_each: what an error calls the second and the third.
        axes: 3 for volumes.

    Examples:
        >>> sides((1, (0, 2)), "padding", "...", "...")
        ((1, 1), (0, 2))
    """
    if not isinstance(value, int) and not hasattr(value, "__len__"):
        raise ValueError(
            f"`{argument}` should be either an int, a tuple of {axes} ints {one_each}, or a tuple of {axes} tuples of 2 ints "
            f"{two_each}. Received: {argument}={value!r}."
        )
    given = (value,) * axes if isinstance(value, int) else value
    if len(given) != axes:
        raise ValueError(f"`{argument}` should have {'two' if axes == 2 else axes} elements. Received: {argument}={value!r}.")
    return tuple(pair(one, f"{nth} entry of {argument}", allow_zero=True) for nth, one in zip(("1st", "2nd", "3rd"), given))


def same_pads(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis, as (before, after).

    The output has ceil(size / stride) pixels; what is missing is padded, the odd one after.

        >>> same_pads(5, 2, 2)
        (0, 1)
    """
    output = -(-size // stride)
    reach = (window - 1) * dilation + 1
    missing = max((output - 1) * stride + reach - size, 0)
    return missing // 2, missing - missing // 2


def axis_pads(padding: str, size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """`"valid"` (none), `"same"` or `"causal"` (all before, so that a window ends where it stands), as (before, after)."""
    if padding == "same":
        return same_pads(size, window, stride, dilation)
    return ((window - 1) * dilation if padding == "causal" else 0, 0)


def resolve_padding(
    padding: str, image: tuple[int, int], window: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Pads:
    """`"valid"`, `"same"` or `"causal"` as (top, bottom, left, right) for an image of (height, width)."""
    top, bottom = axis_pads(padding, image[0], window[0], strides[0], dilation[0])
    left, right = axis_pads(padding, image[1], window[1], strides[1], dilation[1])
    return (top, bottom, left, right)


def axes_last(rank: int, axis: int | Sequence[int] | None) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """How to put some axes of an array last, as one, and back again.

    Args:
        axis: one or several, negative ones from the end; None for all.

    Returns:
        order: for `transpose`; those of `axis` come last. back: the order that undoes it. count: how many came last.

    Raises:
        ValueError: for an axis that an array of this rank does not have, or twice the same.

    Examples:
        >>> axes_last(4, 1)
        ((0, 2, 3, 1), (0, 3, 1, 2), 1)
    """
    chosen = range(rank) if axis is None else axis if isinstance(axis, Sequence) else (axis,)
    last = [one + rank if one < 0 else one for one in chosen]
    if len(set(last)) != len(last) or not set(last) <= set(range(rank)):
        raise ValueError(f"Axes must be different ones of an array of rank {rank}. Received: axis={axis}")
    order = (*(one for one in range(rank) if one not in last), *last)
    return order, tuple(order.index(one) for one in range(rank)), len(last)


def padded_window(size: int, window: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """How many places a window has along one axis: floor((size + pads - reach) / stride) + 1; 0 or less if none."""
    reach = (window - 1) * dilation + 1
    return (size + before + after - reach) // stride + 1


def window_output(
    image: tuple[int, int], window: tuple[int, int], strides: tuple[int, int], pads: Pads, dilation: tuple[int, int] = (1, 1)
) -> tuple[int, int]:
    """Output (height, width) of a window sliding over an image of (height, width).

    Examples:
        >>> window_output((32, 32), (3, 3), (1, 1), (0, 0, 0, 0))
        (30, 30)
    """
    top, bottom, left, right = pads
    return (
        padded_window(image[0], window[0], strides[0], top, bottom, dilation[0]),
        padded_window(image[1], window[1], strides[1], left, right, dilation[1]),
    )


def largest_window(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the largest window, in the middle of an image, that has the proportions of `size`.

    Examples:
        >>> largest_window((30, 40), (10, 10))
        (0, 5, 30, 30)
    """
    height = max(min(image[0], image[1] * size[0] // size[1]), 1)
    width = max(min(image[1], image[0] * size[1] // size[0]), 1)
    return (image[0] - height) // 2, (image[1] - width) // 2, height, width


def transposed_size(size: int, window: int, stride: int, padding: str, dilation: int = 1, extra: int | None = None) -> int:
    """Pixels along an axis of the image over which a window has `size` places: what a transposed convolution yields.

    A stride leaves it open. As in Keras:

        "valid": (size - 1) * stride + reach + extra, by default with so many extra that no stride's pixel is missing
        "same": size * stride, or (size - 1) * stride + reach % 2 + extra

    Args:
        extra: `output_padding`; None for the default.

    Examples:
        >>> transposed_size(4, 3, 2, "valid"), transposed_size(4, 3, 2, "same"), transposed_size(4, 3, 2, "same", extra=0)
        (9, 8, 7)
    """
    reach = (window - 1) * dilation + 1
    if padding == "valid":
        return (size - 1) * stride + reach + (max(stride - reach, 0) if extra is None else extra)
    return size * stride if extra is None else (size - 1) * stride + reach % 2 + extra


def transposed_pads(size: int, image: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """(before, after) with which a window has `size` places over so many pixels: what is missing, the odd one after.

    Examples:
        >>> transposed_pads(4, 8, 3, 2)
        (0, 1)
    """
    missing = max((size - 1) * stride + (window - 1) * dilation + 1 - image, 0)
    return missing // 2, missing - missing // 2
