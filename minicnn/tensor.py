"""What calling a layer, a model, a loss or an op on arrays returns: a NumPy array that also has `.numpy()`.

Code written for Keras says `model(x).numpy()`; code written for NumPy says `model(x) + 1`.
Both work. Training never makes one.

While a tape records, or a model is traced, an operator or a NumPy function of a tensor is the op of `minicnn.ops` of that
name, so that there is a gradient: `as_op` says which.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minicnn import backends, registry
from minicnn.shapes import TensorShape

__all__ = ["Symbolic", "Tensor", "as_op", "as_tensor", "is_watched", "watching"]


class _Watching(threading.local):
    """Who looks at what this thread computes.

    Attributes:
        tapes: that record, the outermost first. tracing: the calls of layers that are being traced, one within the other.
        training: what the innermost call on arrays that runs says of it; None where none does.
    """

    tapes: tuple[Any, ...] = ()
    tracing: tuple[Any, ...] = ()
    training: bool | None = None


watching = _Watching()


class Symbolic:
    """Base of symbolic tensors, which have no values."""


def is_watched(*values: Any) -> bool:
    """Whether a function of these is a layer of a graph, or an entry of a tape: whether it has to be called as an op."""
    return any(isinstance(one, Symbolic) or (watching.tapes and isinstance(one, Tensor)) for one in values)


# NumPy's functions whose op has another name; reductions by the function that they repeat.
_OPS = {"remainder": "mod", "invert": "logical_not", "bitwise_and": "logical_and", "bitwise_or": "logical_or"}
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}


def as_op(ufunc: Callable[..., Any], method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The op that a NumPy function stands for, of its arguments. An operator such as `+=` gives a new tensor.

    Raises:
        TypeError: if there is none.
    """
    name = getattr(ufunc, "__name__", "")
    if method == "reduce" and name in _REDUCTIONS:
        return registry.operation(_REDUCTIONS[name])(inputs[0], kwargs.get("axis"), bool(kwargs.get("keepdims")))
    name = _OPS.get(name, name)
    if method != "__call__" or name not in registry.names("operation"):
        raise TypeError(f"`np.{name}` has no gradient: use a function of `minicnn.ops` on tensors.")
    return registry.operation(name)(*inputs)


_sizes = np.ndarray.shape.__get__


class Tensor(np.ndarray):
    """A `numpy.ndarray` with Keras's `numpy()` method."""

    def numpy(self) -> Any:
        """The same values as a plain `numpy.ndarray`; of text, as in TensorFlow, bytes (UTF-8), and an array of them."""
        return as_bytes(self) if self.dtype.kind == "U" else np.asarray(self)

    @property
    def shape(self) -> TensorShape:
        """The sizes of the axes."""
        return tuple.__new__(TensorShape, _sizes(self))  # past `TensorShape.__new__`: asked for often

    @shape.setter
    def shape(self, value: Any) -> None:
        np.ndarray.shape.__set__(self, value)  # type: ignore[attr-defined]

    def get_shape(self) -> TensorShape:
        """`shape`."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Check the sizes (None: any), which a tensor that has its values knows already; ValueError where one is another."""
        if shape is None:
            return
        wanted = TensorShape(shape)
        if len(wanted) != self.ndim or any(size not in (None, own) for size, own in zip(wanted, self.shape)):
            raise ValueError(f"Tensor's shape {tuple(self.shape)} is not compatible with supplied shape {tuple(wanted)}.")

    @property
    def device(self) -> str:  # type: ignore[override]
        """Where the values are, as TensorFlow calls it: in the host's memory, for every backend."""
        return "/device:CPU:0"

    def __str__(self) -> str:
        return str(np.asarray(self))

    def __repr__(self) -> str:
        return repr(np.asarray(self)).replace("\n", "\n ").replace("array(", "Tensor(", 1)

    def __float__(self) -> float:
        return float(self.item())  # of one element in any shape; a NumPy array must have no axes

    def __int__(self) -> int:
        return int(self.item())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if watching.tapes and self.dtype.kind == "f":
            return as_op(ufunc, method, inputs, kwargs)
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = tuple(_plain(item) for item in out)
        result = getattr(ufunc, method)(*(_plain(item) for item in inputs), **kwargs)
        if out is not None:
            return out[0] if len(out) == 1 else out
        return as_tensor(result) if isinstance(result, (np.ndarray, np.generic, tuple)) else result

    def __getitem__(self, key: Any) -> Any:
        if watching.tapes:
            return registry.operation("get_item")(self, key)
        found = super().__getitem__(key)
        return found if isinstance(found, np.ndarray) else np.asarray(found).view(Tensor)  # one element has `numpy()`, too

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:  # type: ignore[override] # an element counts as the number that it is, as one of NumPy's arrays does
        if self.ndim:
            raise TypeError("unhashable type: 'Tensor'")
        return hash(self.item())

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """`numpy.ndarray.reshape`, recorded where a tape records."""
        if watching.tapes and not kwargs:
            return registry.operation("reshape")(self, shape[0] if isinstance(shape[0], (tuple, list)) else shape)
        return super().reshape(*shape, **kwargs)


class Text(np.str_):  # type: ignore[misc] # NumPy's stubs call it final, NumPy does not
    """A `str` with TensorFlow's `numpy()` method."""

    def numpy(self) -> bytes:
        """The characters in UTF-8."""
        return self.encode()


def as_bytes(text: Any) -> Any:
    """An array of text as bytes (UTF-8): one of them, or an array of objects; any other array as it is."""
    plain = np.asarray(text)
    if plain.dtype.kind != "U":
        return plain
    return np.char.encode(plain, "utf-8").astype(object)[()]


def _plain(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, Tensor) else value


def as_tensor(value: Any) -> Any:
    """An array of the current backend, or a scalar, as a `Tensor`; lists and dicts element by element."""
    if isinstance(value, (list, tuple)):
        return type(value)(as_tensor(item) for item in value)
    if isinstance(value, dict):
        return {key: as_tensor(item) for key, item in value.items()}
    return np.asarray(backends.to_numpy(value)).view(Tensor)
