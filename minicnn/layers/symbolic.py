"""Symbolic tensors, and the graph that is recorded when layers are called on them."""

from __future__ import annotations

import itertools
import linecache
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from minicnn import registry
from minicnn.shapes import TensorShape
from minicnn.structure import map_struct
from minicnn.tensor import Symbolic, as_op

Shape = tuple[int | None, ...]

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _refuse(error: type[Exception], message: str, instead: str) -> NoReturn:
    """Raise an error that names the user's line: the innermost one that is no part of minicnn or NumPy."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_HERE, os.path.dirname(np.__file__), "<")):
        frame = frame.f_back
    place = ""
    if frame is not None:
        file, line = frame.f_code.co_filename, frame.f_lineno
        place = f'\nFile "{file}", line {line}, in {frame.f_code.co_name}: {linecache.getline(file, line).strip()}'
    raise error(f"{message}: a model's graph is made once, from symbolic tensors, which have no values. {instead}{place}")


class KerasTensor(Symbolic, np.lib.mixins.NDArrayOperatorsMixin):
    """A value that a model will have: its shape and dtype, and which layer makes it.

    Operators, and NumPy's functions of the same names as ops of `minicnn.ops`, are layers of the graph.

    Attributes:
        shape: with None for the batch axis. dtype: "float32", ... name.
        node: the call of a layer whose output it is.
        trials: of the output of an op, its value in the two computations that told its shape.
    """

    def __init__(
        self, shape: Sequence[int | None], dtype: str = "float32", name: str | None = None, node: Node | None = None
    ) -> None:
        self.shape = TensorShape(None if size is None else int(size) for size in shape)
        self.dtype = dtype
        self.name = name or registry.unique_name("keras_tensor")
        self.node = node
        self.trials: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def get_shape(self) -> TensorShape:
        """`shape`."""
        return self.shape

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        shapes = {item.shape for item in inputs if isinstance(item, KerasTensor)}
        alike = len(shapes) == 1 and () not in shapes and all(isinstance(item, KerasTensor) for item in inputs)
        if ufunc is np.add and alike:  # a layer's output has a batch axis, which the sum of two losses has not
            layer = registry.lookup("layer", "Add")()  # the layer, as residual networks mean it
            layer.is_operation = True
            return layer(list(inputs))
        return as_op(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in registry.names("operation"):
            return registry.operation(function.__name__)(*args, **kwargs)
        self.__array__()

    def __getitem__(self, key: Any) -> Any:
        return registry.operation("get_item")(self, key)

    def reshape(self, *newshape: Any) -> Any:
        """`minicnn.ops.reshape`."""
        shape = newshape[0] if isinstance(newshape[0], (tuple, list)) else newshape
        return registry.operation("reshape")(self, shape)

    def squeeze(self, axis: Any = None) -> Any:
        """`minicnn.ops.squeeze`."""
        return registry.operation("squeeze")(self, axis)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(
            ValueError,
            "A KerasTensor cannot be converted to an array",
            "Use functions of `minicnn.ops` in place of NumPy's, or a Model to get values.",
        )

    def __iter__(self) -> NoReturn:
        _refuse(
            TypeError,
            "Iterating over a symbolic KerasTensor is not supported",
            "Use `minicnn.ops.unstack(x, axis=...)`, or an op on the whole tensor.",
        )

    def __bool__(self) -> NoReturn:
        _refuse(
            TypeError,
            "A symbolic KerasTensor cannot be used as a boolean",
            "Use `minicnn.ops.where(condition, x, y)` in place of `if`.",
        )

    def __float__(self) -> NoReturn:
        _refuse(TypeError, "A symbolic KerasTensor is no number", "Compute with the tensor, by operators and `minicnn.ops`.")

    __int__ = __index__ = __float__

    def numpy(self) -> NoReturn:
        """There are no values."""
        _refuse(TypeError, "A symbolic KerasTensor has no `numpy()`", "Compute with the tensor, by `minicnn.ops`.")

    # By identity: tensors are looked for in lists and dicts. `ops.equal` compares values.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def trial_arrays(tensor: KerasTensor) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays that a tensor could be, which differ in the sizes that nobody knows yet: what an op's shape is found with."""
    if tensor.trials is None:
        make = np.ones if tensor.dtype.startswith("float") else np.zeros
        sizes = [[unknown[i > 0] if size is None else size for i, size in enumerate(tensor.shape)] for unknown in _UNKNOWN]
        return make(sizes[0], tensor.dtype), make(sizes[1], tensor.dtype)
    return tensor.trials


_UNKNOWN = ((2, 48), (3, 67))  # sizes to try: of the batch, of another axis
_LARGEST_TRIAL = 64  # numbers of an op's output that are kept: shapes computed of shapes are few
_LARGEST_SHAPE = 8  # axes


def kept_trials(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What later trials need of an op's output: the values of small ones, the shapes of others (which take no memory)."""
    if math.prod(first.shape) <= _LARGEST_TRIAL and first.dtype.kind in "iub":
        return first, second
    few_floats = first.ndim < 2 and first.size <= _LARGEST_SHAPE and first.dtype.kind == "f"
    if few_floats and np.isfinite(first).all() and np.isfinite(second).all():
        return first, second  # sizes that were divided, and are rounded later
    one = np.ones((), first.dtype) if first.dtype.kind == "f" else np.zeros((), first.dtype)
    return np.broadcast_to(one, first.shape), np.broadcast_to(one, second.shape)


def carry_trials(node: Node, find_shapes: Callable[[Any], Any]) -> None:
    """Give a layer's outputs the trials that it would make of those of its inputs.

    Without them a batch axis that an op has multiplied (the windows of all images, one below the other) would begin anew
    behind the layer, as one of any size.

    Args:
        find_shapes: the layer's `compute_output_shape`.
    """
    if all(tensor.trials is None for tensor in node.inputs):
        return
    pairs = zip(*(trial_arrays(tensor) for tensor in node.inputs))
    given = [[array.shape for array in arrays] for arrays in pairs]
    found = [find_shapes(shapes if node.takes_list else shapes[0]) for shapes in given]
    first, second = ([shapes] if len(node.outputs) == 1 else shapes for shapes in found)
    for output, *shapes in zip(node.outputs, first, second):
        output.trials = kept_trials(*(np.zeros(shape, output.dtype) for shape in shapes))


@dataclass(frozen=True)
class Slot:
    """The place of a node's input among the arguments of a function."""

    number: int


def slotted(struct: Any) -> tuple[Any, list[KerasTensor]]:
    """A structure with a `Slot` in the place of each symbolic tensor, and these tensors, in order."""
    tensors: list[KerasTensor] = []

    def place(value: Any) -> Any:
        if not isinstance(value, KerasTensor):
            return value
        tensors.append(value)
        return Slot(len(tensors) - 1)

    return map_struct(place, struct), tensors


_numbers = itertools.count()


class Node:
    """One call of a layer on symbolic tensors.

    Attributes:
        number: which grows from each call to the next.
        layer: the layer, or model, that was called. inputs: the tensors that it was called on.
        outputs: the tensors that it returned (one for a layer, as many as a model has for a model).
        takes_list: whether the layer gets a list, as merges do.
        training: what the call said of it, which counts within another `call`; None where it said nothing.
        traces: of a layer whose `call` a user wrote: the pieces of graph that it made, by the value of `training` (None
            where it has no such argument). arguments: (args, kwargs) of such a call.
    """

    def __init__(self, layer: Any, inputs: list[KerasTensor], takes_list: bool) -> None:
        self.number = next(_numbers)
        self.layer = layer
        self.inputs = inputs
        self.takes_list = takes_list
        self.training: bool | None = None
        self.traces: dict[bool | None, Any] = {}
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self.outputs: list[KerasTensor] = []
        layer._inbound_nodes.append(self)

    def output_shapes(self, input_shapes: list[Shape]) -> list[Shape]:
        """Of this call on inputs of such shapes."""
        if input_shapes == [tensor.shape for tensor in self.inputs]:
            return [tensor.shape for tensor in self.outputs]
        found = self.layer.compute_output_shape(input_shapes if self.takes_list else input_shapes[0])
        return [tuple(found)] if len(self.outputs) == 1 else [tuple(shape) for shape in found]


def is_symbolic(value: Any) -> bool:
    """Whether `value` is a KerasTensor or a list, tuple or dict that holds one."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(is_symbolic(item) for item in value)
    return isinstance(value, KerasTensor)


def get_source_inputs(tensor: KerasTensor) -> list[KerasTensor]:
    """The tensors of `Input` that a symbolic tensor is computed from, each once; the tensor itself if it is one of them."""
    found: list[KerasTensor] = []
    seen: set[int] = set()
    stack = [tensor]
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if one.node is None or not (one.node.inputs or one.node.takes_list):
            found.append(one)
        else:
            stack.extend(reversed(one.node.inputs))
    return found
