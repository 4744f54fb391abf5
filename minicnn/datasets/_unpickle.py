"""Reading the pickles in which CIFAR was published, without running anything they name.

A pickle is a program: it names functions and has them called. This reader knows three
things only, NumPy's array, its dtype and the bytes that Python 2 wrote, and builds even
those from stand-ins of its own, so that no constructor outside this file is ever called.
Everything else that a file names is refused before it is looked up.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["loads"]

_PLAIN_TYPES = frozenset("biufc")  # NumPy's kinds of numbers


class _DType:
    """Stands in for `numpy.dtype`: a number type and its byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(code, str) or len(code) > 4 or np.dtype(code).kind not in _PLAIN_TYPES:
            raise pickle.UnpicklingError(f"array of {code!r}: only arrays of plain numbers are read")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"array of byte order {order!r}")
        self.order = order

    def resolve(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands in for `numpy.ndarray`: keeps what the pickle says about an array, for `_plain` to build."""

    def __init__(self, *ignored: Any) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran_order, data = state
        self.value = _array(data, dtype, shape, "F" if fortran_order else "C")


def _array(data: Any, dtype: _DType, shape: Any, order: str) -> np.ndarray:
    """The bytes of one array as that array; its size is checked against its shape."""
    if not isinstance(dtype, _DType) or not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array without its type or its bytes")
    resolved = dtype.resolve()
    if len(data) != math.prod(shape) * resolved.itemsize:
        raise pickle.UnpicklingError(f"an array of shape {shape} and type {resolved} in {len(data)} bytes")
    return np.frombuffer(data, resolved).reshape(shape, order="F" if order == "F" else "C")


def _frombuffer(data: Any, dtype: _DType, shape: Any, order: str) -> _Array:
    """How protocol 5 spells an array."""
    array = _Array()
    array.value = _array(data, dtype, shape, order)
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 spells bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}; only NumPy arrays and plain containers are read, nothing was run"
            )
        return lambda *arguments: known(*arguments)  # a throwaway: a pickle may set attributes on what it is handed


def _plain(value: Any) -> Any:
    """Arrays out of their stand-ins, text out of Python 2's bytes; lists and dicts all the way down."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def loads(data: bytes) -> Any:
    """The NumPy arrays, numbers, texts, lists and dicts in a pickle.

    Args:
        data: the whole pickle, any protocol, from Python 2 or 3.

    Raises:
        pickle.UnpicklingError: if it names anything but an array, or is damaged. Nothing it names is called.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise pickle.UnpicklingError(f"it is damaged ({type(error).__name__}: {error})") from error
