"""Reading the pickles in which CIFAR was published, without running anything they name.

A pickle is a program for a stack machine: it names functions and has them called. This machine is
our own. It knows the instructions that numbers, texts, containers and NumPy's arrays are written
with, and three names; what those build are stand-ins of this file, so no other constructor is ever
called. Python's own `pickletools` splits a pickle into instructions and holds every size that they
claim against the bytes that are there.
"""

from __future__ import annotations

import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

_PLAIN_TYPES = frozenset("biufc")  # NumPy's kinds of numbers


class _DType:
    """Stands in for `numpy.dtype`: a number type and its byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(code, str) or len(code) > 4 or np.dtype(code).kind not in _PLAIN_TYPES:
            raise pickle.UnpicklingError(f"array of {code!r}: only arrays of plain numbers are read")
        self.code, self.order = code, "="

    def build(self, state: Any) -> None:
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

    def build(self, state: Any) -> None:
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


def _function(module: Any, name: Any) -> Callable[..., Any]:
    known = _KNOWN.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if known is None:
        raise pickle.UnpicklingError(
            f"it names {module}.{name}; only NumPy arrays and plain containers are read, nothing was run"
        )
    return known


# Instructions by what they do with their argument; the names are those of `pickletools`.
_BYTES_OF_PYTHON_2 = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))
_PUSHED = _BYTES_OF_PYTHON_2 | {
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _run(data: bytes) -> Any:
    """What is left on the stack when the pickle stops."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    encoded = 0  # bytes that `_encode` made; a valid pickle encodes each text once

    def popped(count: int) -> list[Any]:
        """The last `count` objects, taken off the stack."""
        if count > len(stack) - (marks[-1] if marks else 0):
            raise pickle.UnpicklingError("an instruction takes more than the stack has")
        found = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return found

    def since_mark() -> list[Any]:
        found = stack[marks[-1] :]
        del stack[marks.pop() :]
        return found

    argument: Any
    for instruction, argument, _ in pickletools.genops(data):
        name = instruction.name
        if name in _PUSHED:
            stack.append(argument.encode("latin1") if name in _BYTES_OF_PYTHON_2 else argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("APPEND", "APPENDS"):
            items = popped(1) if name == "APPEND" else since_mark()
            _of_type(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = popped(2) if name == "SETITEM" else since_mark()
            if name == "DICT":
                stack.append({})
            # Only plain keys: the hash of nested tuples, each of which holds the next one twice, would take for ever.
            _of_type(dict, stack[-1]).update(zip(map(_key, items[::2]), items[1::2], strict=True))
        elif name in ("LIST", "TUPLE"):
            stack.append((list if name == "LIST" else tuple)(since_mark()))
        elif name in _TUPLES:
            stack.append(tuple(popped(_TUPLES[name])))
        elif name == "GLOBAL":
            stack.append(_function(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_function(*popped(2)))
        elif name == "REDUCE":
            function, arguments = popped(2)
            if function not in _KNOWN.values():
                raise pickle.UnpicklingError("it calls what is no function")
            stack.append(function(*_of_type(tuple, arguments)))
            encoded += len(stack[-1]) if function is _encode else 0
            if encoded > len(data):
                raise pickle.UnpicklingError("it spells the same bytes many times")
        elif name == "BUILD":
            (state,) = popped(1)
            if not isinstance(stack[-1], (_Array, _DType)):
                raise pickle.UnpicklingError("it changes what is no array")
            stack[-1].build(state)
        elif name == "STOP":
            return stack.pop()
        else:
            raise pickle.UnpicklingError(f"it has the instruction {name}; only arrays and plain containers are read")
    raise pickle.UnpicklingError("it does not end")


def _of_type(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise pickle.UnpicklingError(f"a {kind.__name__} was expected, not a {type(value).__name__}")
    return value


def _key(value: Any) -> Any:
    if not isinstance(value, (str, bytes, int, float)):
        raise pickle.UnpicklingError(f"a dict has a key of type {type(value).__name__}")
    return value


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Stand-ins become arrays, Python 2's bytes become text, also inside lists and dicts; each object is converted once."""
    if id(value) not in done:
        if isinstance(value, _Array):
            done[id(value)] = value.value
        elif isinstance(value, dict):
            done[id(value)] = {_plain(key, done): _plain(item, done) for key, item in value.items()}
        elif isinstance(value, (list, tuple)):
            done[id(value)] = [_plain(item, done) for item in value]
        else:
            return value.decode("utf-8") if isinstance(value, bytes) else value
    return done[id(value)]


def loads(data: bytes) -> Any:
    """The NumPy arrays, numbers, texts, lists and dicts in a pickle.

    Args:
        data: the whole pickle, any protocol, from Python 2 or 3.

    Raises:
        pickle.UnpicklingError: if it names anything but an array, or is damaged. Nothing it names is called.
    """
    try:
        return _plain(_run(data), {})
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise pickle.UnpicklingError(f"it is damaged ({type(error).__name__}: {error})") from error
