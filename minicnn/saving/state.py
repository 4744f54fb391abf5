"""Plain data with arrays in it, as bytes: what training needs beside a model's variables to go on.

8 bytes     length of the JSON, little-endian
JSON        UTF-8; an array is {"__array__": [dtype, shape, where it begins among the arrays]}
arrays      one after the other, C order
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

__all__ = ["pack_state", "unpack_state"]

_ARRAY = "__array__"


def pack_state(state: dict[str, Any]) -> bytes:
    """The bytes of a dict of numbers, strings, lists, dicts with names as keys, and arrays of numbers.

    Raises:
        TypeError: for anything else in it.
    """
    arrays: list[bytes] = []
    size = 0

    def place(value: Any) -> Any:
        nonlocal size
        if isinstance(value, np.generic):
            return value.item()
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            raise TypeError(
                "The state of a training is made of numbers, strings, lists, dicts and arrays of numbers. "
                f"Received: {value!r} of type {type(value).__name__}"
            )
        begin, size = size, size + value.nbytes
        arrays.append(value.tobytes())
        return {_ARRAY: [value.dtype.str, value.shape, begin]}

    text = json.dumps(state, default=place).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *arrays])


def unpack_state(data: bytes, source: str) -> dict[str, Any]:
    """The reverse of `pack_state`; tuples have become lists.

    Args:
        source: how errors call the file.

    Raises:
        ValueError: for bytes that `pack_state` did not write.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    arrays = data[begin:]

    def opened(value: Any) -> Any:
        if isinstance(value, list):
            return [opened(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _ARRAY not in value:
            return {name: opened(item) for name, item in value.items()}
        name, shape, at = value[_ARRAY]
        dtype = np.dtype(str(name))
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of dtype {dtype}")
        return np.frombuffer(arrays, dtype, math.prod(shape), at).reshape(shape).copy()

    try:
        state = opened(json.loads(data[8:begin]))
        if not isinstance(state, dict):
            raise ValueError(f"a {type(state).__name__}, no dict")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"The state of the training in {source} cannot be read: {error}") from None
    return state
