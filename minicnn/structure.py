"""Lists, tuples and dicts of things, flat and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["flatten_struct", "map_struct", "pack_returned", "pack_struct"]


def flatten_struct(struct: Any) -> list[Any]:
    """A tensor, a list or a dict of tensors (also nested) as a flat list; dicts in the order of their keys' insertion."""
    if isinstance(struct, dict):
        return [item for value in struct.values() for item in flatten_struct(value)]
    if isinstance(struct, (list, tuple)):
        return [item for value in struct for item in flatten_struct(value)]
    return [struct]


def map_struct(function: Callable[[Any], Any], struct: Any) -> Any:
    """`function` of each thing that stands in lists, tuples and dicts, in the same structure."""
    if isinstance(struct, dict):
        return {key: map_struct(function, item) for key, item in struct.items()}
    if type(struct) in (list, tuple):
        return type(struct)(map_struct(function, item) for item in struct)
    return function(struct)


def pack_struct(struct: Any, flat: Sequence[Any]) -> Any:
    """The items of `flat` in the shape of `struct`: the inverse of `flatten_struct`."""
    return _pack(struct, iter(flat))


def pack_returned(struct: Any, flat: Sequence[Any]) -> Any:
    """`pack_struct`, as models return it: a list of one thing is that thing, as in Keras."""
    packed = pack_struct(struct, flat)
    return packed[0] if isinstance(packed, list) and len(packed) == 1 else packed


def _pack(part: Any, items: Iterator[Any]) -> Any:
    # No function within `pack_struct`: one that calls itself keeps `items` until Python's garbage collector comes by.
    if isinstance(part, dict):
        return {key: _pack(value, items) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        packed = [_pack(value, items) for value in part]
        return tuple(packed) if type(part) is tuple else packed
    return next(items)
