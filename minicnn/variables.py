"""`Variable`: an array with a name, that lives where the backend computes."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from minicnn import backends, config, registry, serialization
from minicnn.shapes import TensorShape
from minicnn.tensor import as_op, as_tensor, watching

_alive: weakref.WeakSet[Variable] = weakref.WeakSet()
_frozen_or_freed = [0]
# [bytes that new variables may still take], of what is being read here; other threads have their own.
_allowance: ContextVar[list[int] | None] = ContextVar("allowance", default=None)


_TENSORFLOW = {"aggregation", "caching_device", "import_scope", "synchronization", "validate_shape", "variable_def"}


def trainable_changes() -> int:
    """How often a `trainable`, of any layer or variable, was changed so far: a plan that has seen them all is up to date."""
    return _frozen_or_freed[0]


def count_trainable_change() -> None:
    """To be called by what changes a `trainable`."""
    _frozen_or_freed[0] += 1


@contextlib.contextmanager
def limit_bytes(total: int) -> Iterator[None]:
    """Within the `with` block, new variables may take `total` bytes together: for configurations out of files.

    Raises:
        ValueError: before memory is taken for one too many.
    """
    before = _allowance.get()
    try:
        _allowance.set([total])
        yield
    finally:
        _allowance.set(before)


def _charge(size: int) -> None:
    allowance = _allowance.get()
    if allowance is not None:
        if size > allowance[0]:
            raise ValueError(f"A variable of {size} bytes exceeds what this file can hold ({allowance[0]} bytes are left).")
        allowance[0] -= size


class Variable(np.lib.mixins.NDArrayOperatorsMixin):
    """A weight, a statistic or an optimizer's slot.

    Args:
        initializer: an array, a number, or a callable `initializer(shape, dtype)`.
        shape: needed with a callable.
        dtype: default `config.floatx()` for floats; an array keeps its own integer type.
        trainable: whether optimizers update it.
        name: default "variable", "variable_1", ...
        regularizer, constraint: what `Layer.add_weight` was given.
        **tensorflow: TensorFlow's name of the first, `initial_value`; and what of its arguments has no effect here.

    Attributes:
        value: the array itself, of the current backend. Ops read this.
        path: "layer_name/variable_name".

    NumPy functions and operators take a Variable as the array it holds.
    """

    def __init__(
        self,
        initializer: Any = None,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        *,
        path: str | None = None,
        regularizer: Any = None,
        constraint: Any = None,
        **tensorflow: Any,
    ) -> None:
        initializer = tensorflow.pop("initial_value", initializer)
        if initializer is None or not _TENSORFLOW.issuperset(tensorflow):
            raise TypeError(
                "`Variable` takes an `initializer` (TensorFlow's `initial_value`), and none of the arguments "
                f"{sorted(tensorflow.keys() - _TENSORFLOW)}. Received: initializer={initializer}"
            )
        self.name = name or registry.unique_name("variable")
        self.path = path or self.name
        self._trainable = bool(trainable)
        self._is_assigned_by_graph = False
        self.regularizer = regularizer
        self.constraint = constraint
        if isinstance(initializer, str):
            initializer = serialization.get(initializer, "initializer")
        if callable(initializer) and not hasattr(initializer, "__array__"):
            if shape is None:
                raise ValueError("When creating a Variable from an initializer, the `shape` argument should be specified.")
            _charge(max(math.prod(shape), 0) * np.dtype(dtype or config.floatx()).itemsize)
            value = initializer(tuple(shape), dtype=dtype or config.floatx())
        else:
            value = (
                backends.to_numpy(initializer) if hasattr(initializer, "__cuda_array_interface__") else np.asarray(initializer)
            )
            if shape is not None and value.shape != tuple(shape):
                value = np.broadcast_to(value, tuple(shape))
            if dtype is None and value.dtype.kind == "f":
                dtype = config.floatx()
        # A copy of its own: an initializer may return what others hold.
        self._value = backends.asarray(np.array(backends.to_numpy(value), dtype=dtype, order="C"))
        _alive.add(self)

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        count_trainable_change()

    @property
    def value(self) -> Any:
        return self._value

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self._value.shape)

    def get_shape(self) -> TensorShape:
        """`shape`."""
        return self.shape

    @property
    def dtype(self) -> str:
        return str(self._value.dtype)

    @property
    def ndim(self) -> int:
        return len(self._value.shape)

    @property
    def size(self) -> int:
        return int(self._value.size)

    def numpy(self) -> np.ndarray:
        """A copy of the value as a NumPy array."""
        return np.array(backends.to_numpy(self._value))

    def read_value(self) -> Any:
        """A copy of the value as a tensor, through which gradients reach the variable."""
        return registry.operation("copied")(self)

    def assign(self, value: Any, use_locking: Any = None, name: Any = None, read_value: Any = None) -> Variable:
        """Replace the value, in place; the shape must match. TensorFlow's other arguments have no effect.

        Raises:
            ValueError: for another shape (Keras's wording); nothing has changed then.
        """
        return self._change(self._assign, value)

    def _change(self, change: Callable[..., None], *values: Any) -> Variable:
        """Make a change; within a `call` that is being traced, let the graph make it each time that it runs."""
        if watching.tracing:
            self._is_assigned_by_graph = True
            watching.tracing[-1].do(change, *values)
        else:
            change(*values)
        return self

    def _assign(self, value: Any) -> None:
        value = backends.to_numpy(value.value if isinstance(value, Variable) else value)
        value = np.asarray(value, dtype=self._value.dtype)
        if value.shape != self.shape:
            raise ValueError(
                "The shape of the target variable and the shape of the target value in `variable.assign(value)` must match. "
                f"variable.shape={self.shape}, Received: value.shape={value.shape}. Target variable: {self}"
            )
        if self._is_assigned_by_graph or watching.tapes:  # a gradient will read the value that was there before
            self._value = backends.asarray(np.array(value, order="C"))
        else:
            self._value[...] = backends.asarray(value)

    def assign_add(self, value: Any) -> Variable:
        """Add `value`, in place."""
        return self._change(self._assign_add, value)

    def _assign_add(self, value: Any) -> None:
        self._assign(self.numpy() + np.asarray(backends.to_numpy(value)))

    def assign_sub(self, value: Any) -> Variable:
        """Subtract `value`, in place."""
        return self._change(self._assign_sub, value)

    def _assign_sub(self, value: Any) -> None:
        self._assign(self.numpy() - np.asarray(backends.to_numpy(value)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_value": backends.to_numpy(self._value)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, perhaps made where another backend computed, lives where this one does and follows it."""
        self.__dict__.update(state, _value=backends.asarray(state["_value"]))
        _alive.add(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = backends.to_numpy(self._value)
        return np.array(value, dtype=dtype) if copy or (dtype is not None and value.dtype != dtype) else value

    def __array_ufunc__(self, ufunc: Callable[..., Any], method: str, *inputs: Any, **kwargs: Any) -> Any:
        if watching.tracing or (watching.tapes and self._value.dtype.kind == "f"):
            return as_op(ufunc, method, inputs, kwargs)
        plain = [np.asarray(item) if isinstance(item, Variable) else item for item in inputs]
        if any(isinstance(item, Variable) for item in kwargs.get("out", ())):
            del kwargs["out"]  # `v += 1` gives a tensor, as in Keras: a variable changes by `assign`
        result = getattr(ufunc, method)(*plain, **kwargs)
        return as_tensor(result) if isinstance(result, (np.ndarray, np.generic)) else result

    def __getitem__(self, index: Any) -> Any:
        if watching.tracing or watching.tapes:
            return registry.operation("get_item")(self, index)
        part = as_tensor(self.numpy()[index])
        # As a slice of TensorFlow's: `v[0, 1].assign(42)` changes the variable.
        part.__dict__["assign"] = lambda value: self._change(self._assign_at, index, value)
        return part

    def _assign_at(self, index: Any, value: Any) -> None:
        whole = self.numpy()
        whole[index] = np.asarray(backends.to_numpy(value))
        self._assign(whole)

    def scatter_nd_update(self, indices: Any, updates: Any) -> Variable:
        """Replace the elements (or slices) at places, in place; `indices` (..., axes), as of `ops.scatter_update`."""
        return self._change(self._assign_at, tuple(np.moveaxis(np.asarray(indices), -1, 0)), updates)

    def scatter_update(self, sparse_delta: Any) -> Variable:
        """Replace the rows that a `tf.IndexedSlices` names, in place."""
        return self._change(self._assign_at, np.asarray(sparse_delta.indices), sparse_delta.values)

    def __len__(self) -> int:
        return len(self._value)

    def __float__(self) -> float:
        return float(backends.to_numpy(self._value))

    def __int__(self) -> int:
        return int(backends.to_numpy(self._value))

    def __bool__(self) -> bool:
        return bool(backends.to_numpy(self._value))

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, value={backends.to_numpy(self._value)}>"

    __hash__ = object.__hash__  # identity: variables are dictionary keys


def _follow_backend() -> None:
    for variable in list(_alive):
        value = variable._value
        host = value.get() if hasattr(value, "get") else value  # from whichever backend held it
        variable._value = backends.asarray(host)


backends.on_backend_change(_follow_backend)
