"""Elements of a data set: arrays, or tuples and dicts of them, nested at will."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minicnn import config
from minicnn.shapes import TensorShape


@dataclass(frozen=True)
class TensorSpec:
    """Shape and type of an array in an element; None for a dimension that varies, or for any shape at all.

    `tf.TensorSpec` is this, too; it may have a name.
    """

    shape: Any  # TensorShape, or None
    dtype: np.dtype[Any]
    name: str | None = field(compare=False, repr=False)

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None) -> None:
        sizes = None if shape is None else TensorShape(None if n is None else int(n) for n in TensorShape(shape))
        object.__setattr__(self, "shape", sizes)
        object.__setattr__(self, "name", name)
        # TensorFlow's types carry NumPy's
        object.__setattr__(self, "dtype", np.dtype(getattr(dtype, "as_numpy_dtype", dtype)))


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """`function` of the arrays that stand in the same place of all structures, in a structure like them.

    Examples:
        >>> map_structure(lambda a, b: a + b, (1, {"k": 2}), (10, {"k": 20}))
        (11, {'k': 22})
    """
    first, *others = structures
    if isinstance(first, dict):
        return {key: map_structure(function, *(structure[key] for structure in structures)) for key in first}
    if isinstance(first, tuple):
        if others:
            items = [map_structure(function, *together) for together in zip(*structures, strict=True)]
        else:
            items = [map_structure(function, item) for item in first]
        return type(first)(*items) if hasattr(first, "_fields") else tuple(items)
    return function(*structures)


def flatten(structure: Any) -> list[Any]:
    """The arrays of a structure, in order."""
    leaves: list[Any] = []
    map_structure(leaves.append, structure)
    return leaves


def _as_array(value: Any) -> Any:
    """Anything as a NumPy array, or as a NumPy scalar where it has no dimensions.

    Python's own numbers become float32 and int32, as in TensorFlow; what has a type keeps it.
    """
    if value is None:
        raise TypeError("an element holds None; did a function forget to return it?")
    array = np.asarray(value)
    if not hasattr(value, "dtype") and array.dtype.kind in "if" and not hasattr(_innermost(value), "dtype"):
        array = array.astype(config.floatx() if array.dtype.kind == "f" else np.int32)
    return array if array.ndim else array[()]


def _innermost(value: Any) -> Any:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value


def as_element(value: Any) -> Any:
    """A structure whose leaves are NumPy arrays or scalars; a list becomes an array, as in TensorFlow."""
    return map_structure(_as_array, value)


def spec_of(element: Any) -> Any:
    """The structure of `TensorSpec` of an element."""
    return map_structure(lambda leaf: TensorSpec(np.shape(leaf), leaf.dtype), element)


def slices(element: Any, index: int) -> Any:
    """The element at `index` along the first axis of every array, as copies: nobody can write into the source."""
    return map_structure(lambda leaf: leaf[index].copy(), element)


def stack(elements: Sequence[Any]) -> Any:
    """Elements of equal structure as one, with a new first axis.

    Raises:
        ValueError: naming the first element whose shape differs from the others'.
    """
    try:
        return map_structure(lambda *leaves: np.stack(leaves) if leaves[0].ndim else np.array(leaves), *elements)
    except ValueError:
        shapes = [[np.shape(leaf) for leaf in flatten(element)] for element in elements]
        position = next((place for place, found in enumerate(shapes) if found != shapes[0]), None)
        if position is None:
            raise
        raise ValueError(
            f"Cannot batch elements of different shapes. First element had shapes {shapes[0]} and element "
            f"{position} had shapes {shapes[position]}."
        ) from None
