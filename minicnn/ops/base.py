"""`Op`: a function of tensors that computes on arrays and joins the graph on symbolic tensors.

An op is two functions of few lines, one above the other:

    @op("x1", "x2")                                   # which arguments are tensors
    def subtract(x1, x2):
        \"""x1 - x2, element by element.\"""
        return x1 - x2, (x1, x2)                      # the output, and what the gradient will read

    @subtract.gradient
    def _(dy, saved):                                 # dx1 = dy;  dx2 = -dy
        x1, x2 = saved
        return unbroadcast(dy, x1), unbroadcast(-dy, x2)

They are a layer's `forward` and `backward`, and called on symbolic tensors an op is one: `Operation`. So the plan of a
model runs it like any other layer. Called on arrays it computes at once, and tells the tapes that are recording.

The lines are written in what NumPy and CuPy share.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import backends, config, registry, serialization, tape
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import KerasTensor, Node, Slot, kept_trials, slotted, trial_arrays
from minicnn.layers.tracing import MISSING
from minicnn.shapes import repeated_axes
from minicnn.structure import map_struct
from minicnn.tensor import Tensor, as_tensor, is_watched, watching
from minicnn.variables import Variable

Twice = Callable[..., tuple[list[Any], list[Any]]]

__all__ = ["Op", "Operation", "namespace", "op", "unbroadcast"]


def namespace(*arrays: Any) -> Any:
    """The module, NumPy or CuPy, of the first argument that is an array; the others may be Python's numbers."""
    for array in arrays:
        if hasattr(array, "__cuda_array_interface__"):
            import sys

            return sys.modules["cupy"]
    return np


def unbroadcast(gradient: Any, like: Any) -> Any:
    """The gradient at an argument that was broadcast: what was repeated is summed. None for one of Python's numbers."""
    if isinstance(like, (bool, int, float)):
        return None
    axes = repeated_axes(gradient.shape, like.shape)
    return gradient.sum(axis=axes).reshape(like.shape) if axes else gradient


class Op:
    """A function of tensors, with its gradient.

    Args:
        function: of the arguments by name, arrays where they are tensors; returns the output and what its gradient reads
            (just the output, where there is none).
        tensors: the names of the arguments that are tensors; "*xs" for one that is a list of them.
        differentiable: whether there is a gradient.
    """

    def __init__(self, function: Callable[..., Any], tensors: tuple[str, ...], differentiable: bool) -> None:
        functools.update_wrapper(self, function)
        self.name = function.__name__
        self.tensors = {name.lstrip("*"): name.startswith("*") for name in tensors}
        self.differentiable = differentiable
        self._function = function
        self._signature = inspect.signature(function)
        self._backward: Callable[[Any, Any], Any] | None = None
        self._twice: Twice | None = None
        self._stand_in: Callable[..., Any] | None = None
        registry.register("operation", self.name)(self)

    def gradient(self, backward: Callable[[Any, Any], Any]) -> Op:
        """Decorator: `backward(dy, saved)` returns a gradient for each tensor, None where there is none; in order."""
        self._backward = backward
        return self

    def trial(self, stand_in: Callable[..., Any]) -> Op:
        """Decorator: what has the output's shape and dtype, for arrays of ones, of which the function may make none (a matrix
        without an inverse): a graph is drawn with it."""
        self._stand_in = stand_in
        return self

    def __call__(self, *args: Any, **named: Any) -> Any:
        bound = self._signature.bind(*args, **named)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        for name, several in self.tensors.items():
            if not several and isinstance(arguments[name], (list, tuple)):
                arguments[name] = _stacked(arguments[name])
        if _has(arguments, _is_symbolic):
            return Operation.of(self, arguments)
        return self._on_arrays(arguments)

    def symbolic(self, **arguments: Any) -> Any:
        """A call as a layer of a graph, though no argument of it is symbolic."""
        return Operation.of(self, arguments)

    def _on_arrays(self, arguments: dict[str, Any]) -> Any:
        sources = self.tensors_in(arguments)
        plain = self._plain(arguments)
        y, saved = self.forward(plain)
        y = as_tensor(y)
        if self.differentiable and tape.recording():

            def twice(dys: list[Any], us: list[Any]) -> tuple[Any, Any]:
                return self.backward_twice(plain, dys[0], us)

            tape.record(sources, [y], lambda dys: self.backward(np.asarray(dys[0]), saved), twice)
        return y

    def tensors_in(self, arguments: dict[str, Any]) -> list[Any]:
        """The tensors among the arguments, in the order of their gradients."""
        found: list[Any] = []
        for name, several in self.tensors.items():
            found += list(arguments[name]) if several else [arguments[name]]
        return found

    def _plain(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them: arrays of NumPy's, numbers beside an array as they are."""
        lonely = not any(hasattr(item, "dtype") for item in self.tensors_in(arguments))
        plain = dict(arguments)
        for name, several in self.tensors.items():
            value = arguments[name]
            plain[name] = [_as_array(item, lonely) for item in value] if several else _as_array(value, lonely)
        return plain

    def forward(self, arguments: dict[str, Any]) -> tuple[Any, Any]:
        """The output for arrays, in Keras's dtype, and what `backward` reads."""
        result = self._function(**arguments)
        y, saved = result if self.differentiable else (result, None)
        if getattr(y, "dtype", None) == np.float64 and not any(
            getattr(item, "dtype", None) == np.float64 for item in self.tensors_in(arguments)
        ):
            y = y.astype(arguments.get("dtype") or config.floatx())  # NumPy computes whole numbers in float64, Keras does not
        return y, saved

    def try_out(self, arguments: dict[str, Any]) -> Any:
        """An array in the output's shape and dtype."""
        return self.forward(arguments)[0] if self._stand_in is None else self._stand_in(**arguments)

    def backward(self, dy: Any, saved: Any) -> list[Any]:
        """The gradient at each tensor; None where there is none."""
        if self._backward is None or not self.differentiable:
            return []
        gradients = self._backward(dy, saved)
        return list(gradients) if isinstance(gradients, (tuple, list)) else [gradients]

    def has_twice(self, rule: Twice) -> None:
        """Set the gradient of its gradient: `rule(op, arguments, dy, us)`, see `ops/second_order.py`."""
        self._twice = rule

    def backward_twice(self, arguments: dict[str, Any], dy: Any, us: list[Any]) -> tuple[list[Any], list[Any]]:
        """The gradient of `backward`: at dy (in a list), and at each tensor; see `tape.py`.

        Args:
            us: the gradient at what `backward` returned for each tensor, None for zero.

        Raises:
            NotImplementedError: if nobody wrote it.
        """
        if self._twice is None:
            raise NotImplementedError(
                f"The gradient of a gradient leads through the op '{self.name}', which has no second derivative in minicnn."
            )
        return self._twice(self, arguments, dy, us)

    def with_tensors(self, arguments: dict[str, Any], tensors: list[Any]) -> dict[str, Any]:
        """The arguments with other tensors in the place of theirs."""
        items = iter(tensors)
        return arguments | {
            name: [next(items) for _ in arguments[name]] if several else next(items) for name, several in self.tensors.items()
        }

    def __reduce__(self) -> Any:
        return registry.lookup, ("operation", self.name)  # a copy is the op itself

    def __repr__(self) -> str:
        return f"<op {self.name}{self._signature}>"


def op(*tensors: str, differentiable: bool = True) -> Callable[[Callable[..., Any]], Op]:
    """Decorator: see `Op`."""
    return lambda function: Op(function, tensors, differentiable)


def _is_symbolic(value: Any) -> bool:
    """Whether a value is known when a model runs only: a symbolic tensor, or a variable while a model is traced."""
    return isinstance(value, KerasTensor) or (isinstance(value, Variable) and bool(watching.tracing))


def _has(value: Any, wanted: Callable[[Any], bool]) -> bool:
    if isinstance(value, dict):
        return any(_has(item, wanted) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_has(item, wanted) for item in value)
    return wanted(value)


def _is_followed(value: Any) -> bool:
    """Whether something wants to know which op reads a value: a graph, or a tape."""
    return is_watched(value) or _is_symbolic(value) or (isinstance(value, Variable) and bool(watching.tapes))


def _stacked(value: Any) -> Any:
    """A list of tensors in the place of a tensor, as one, so that gradients reach its items; a list of numbers as it is."""
    if not isinstance(value, (list, tuple)) or not _has(value, _is_followed):
        return value
    stack: Any = registry.operation("stack")
    return stack([item if _is_followed(item) else _as_array(item) for item in map(_stacked, value)])


def _as_array(value: Any, lonely: bool = True) -> Any:
    """A tensor as ops compute with it: NumPy's array. Python's numbers become one where no array stands beside them."""
    if value is None or (isinstance(value, (bool, int, float)) and not lonely):
        return value
    if isinstance(value, Variable):
        value = value.value
    known = hasattr(value, "dtype")
    array = np.asarray(backends.to_numpy(value) if known else value)
    if not known and array.dtype.kind in "fi":
        array = array.astype(config.floatx() if array.dtype.kind == "f" else "int32")
    return array


# --- on symbolic tensors ----------------------------------------------------------------


@registry.register("layer")
class Operation(Layer):
    """A call of an op as a layer: its inputs are the symbolic tensors among the arguments.

    Args:
        op: its name. arguments: as the call had them, with a `Slot` in the place of each symbolic tensor.

    Variables among the arguments belong to the layer in whose `call` they stand; the gradient reaches them from here.
    """

    autocast = False
    is_operation = True

    def __init__(self, op: str, arguments: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(name=kwargs.pop("name", None) or registry.unique_name(op.lstrip("_")), **kwargs)
        self.op = registry.operation(op)
        self.arguments = arguments
        self.built = True

    @classmethod
    def of(cls, op: Op, arguments: dict[str, Any]) -> Any:
        """The symbolic output of a call on these arguments."""

        def constant(value: Any) -> Any:
            return value if isinstance(value, (Slot, Variable)) else _as_array(value, lonely=False)

        given, inputs = slotted(arguments)
        placed = map_struct(lambda value: np.asarray(value) if isinstance(value, Tensor) else value, given)
        for name, several in op.tensors.items():
            placed[name] = [constant(item) for item in placed[name]] if several else constant(placed[name])
        return cls(op.name, placed)(inputs)

    def __call__(self, inputs: Any = MISSING, *args: Any, **kwargs: Any) -> Any:
        return self._connect(list(inputs), True)

    def _connect(self, tensors: list[KerasTensor], takes_list: bool) -> KerasTensor:
        """Shape and dtype of the output are found by computing it, twice, for two sizes of what is not known yet."""
        results = []
        for number in (0, 1):
            try:
                with np.errstate(all="ignore"):
                    filled = self._filled([trial_arrays(tensor)[number] for tensor in tensors])
                    results.append(np.asarray(self.op.try_out(filled)))
            except (ValueError, IndexError) as error:
                shapes = ", ".join(str(tensor.shape) for tensor in tensors)
                raise ValueError(f"Op '{self.op.name}' cannot be applied to inputs of the shapes {shapes}: {error}") from error
        first, second = results
        shape = [size if size == other else None for size, other in zip(first.shape, second.shape, strict=True)]
        self.dtype = str(first.dtype)
        node = Node(self, tensors, True)
        node.outputs = [KerasTensor(shape, self.dtype, node=node)]
        node.outputs[0].trials = kept_trials(first, second)
        return node.outputs[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        tensors = [KerasTensor(shape) for shape in input_shape]
        return Operation(self.op.name, self.arguments)._connect(tensors, True).shape

    def backward_twice(self, x: list[Any], dy: Any, us: list[Any], saved: Any) -> tuple[Any, list[Any], list[Any]]:
        """See `Layer.backward_twice`."""
        arguments = self._filled(x)
        leaves = self.op.tensors_in(self.arguments)
        along = [us[leaf.number] if isinstance(leaf, Slot) else None for leaf in leaves]
        (of_dy,), found = self.op.backward_twice(arguments, dy, along)
        dx: list[Any] = [None] * len(x)
        of_variables: dict[int, Any] = {}
        for leaf, gradient in zip(leaves, found):
            if isinstance(leaf, Slot) and gradient is not None:
                dx[leaf.number] = gradient if dx[leaf.number] is None else dx[leaf.number] + gradient
            elif isinstance(leaf, Variable) and gradient is not None:
                of_variables[id(leaf)] = of_variables.get(id(leaf), 0) + gradient
        return of_dy, dx, [of_variables.get(id(variable)) for variable in self._weights_with_gradients]

    def _output_for(self, inputs: list[Any]) -> tuple[Any, Any]:
        return self.op.forward(self._filled(inputs))

    def _filled(self, inputs: list[Any]) -> dict[str, Any]:
        """The op's arguments, with these in the slots."""
        # On a device the constants go there too; in a trial all is on the host.
        there = backends.to_numpy if inputs and isinstance(inputs[0], np.ndarray) else backends.asarray

        def fill(value: Any) -> Any:
            if isinstance(value, Slot):
                return inputs[value.number]
            if isinstance(value, (Variable, np.ndarray)):
                return there(getattr(value, "value", value))
            return value

        return map_struct(fill, self.arguments)

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        y, saved = self._output_for(x)
        return backends.asarray(y, self.dtype), (saved, [item.dtype for item in x])

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        inner, dtypes = saved
        dx: list[Any] = [None] * len(dtypes)
        of_variables: dict[int, Any] = {}
        for leaf, gradient in zip(self.op.tensors_in(self.arguments), self.op.backward(dy, inner)):
            if gradient is None or isinstance(gradient, tape.NoGradient):
                continue
            if isinstance(leaf, Slot):
                dx[leaf.number] = backends.asarray(gradient, dtypes[leaf.number])
            elif isinstance(leaf, Variable):  # a copy: what follows may change it in place
                before = of_variables.get(id(leaf), 0)
                of_variables[id(leaf)] = backends.asarray(before + gradient, leaf.dtype)
        return dx, tuple(of_variables.get(id(variable)) for variable in self._weights_with_gradients)

    @property
    def _weights_with_gradients(self) -> list[Variable]:
        leaves = self.op.tensors_in(self.arguments)
        return list({id(leaf): leaf for leaf in leaves if isinstance(leaf, Variable) and leaf.trainable}.values())

    def get_config(self) -> dict[str, Any]:
        if _has(self.arguments, lambda value: isinstance(value, Variable)):
            raise ValueError(
                f"Operation '{self.name}' reads a variable, which no file of a functional model can say. Let a layer hold it, "
                "which calls the op in its `call`."
            )
        return {"name": self.name, "op": self.op.name, "arguments": _encoded(self.arguments)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Operation:
        return cls(config["op"], _decoded(config["arguments"]), name=config.get("name"))


def _encoded(value: Any) -> Any:
    """A call's arguments as plain data."""
    if isinstance(value, Slot):
        return {"slot": value.number}
    if isinstance(value, slice):
        return {"slice": [_encoded(part) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(item) for item in value]}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, dict):
        return {name: _encoded(item) for name, item in value.items()}
    if isinstance(value, (np.dtype, type)):
        return np.dtype(value).name
    return serialization.serialize(value)


def _decoded(value: Any) -> Any:
    """The reverse of `_encoded`."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" in value:
        return serialization.deserialize(value)
    if len(value) == 1:
        if "slot" in value:
            return Slot(int(value["slot"]))
        if "slice" in value:
            return slice(*(_decoded(part) for part in value["slice"]))
        if "ellipsis" in value:
            return Ellipsis
        if "tuple" in value:
            return tuple(_decoded(item) for item in value["tuple"])
    return {name: _decoded(item) for name, item in value.items()}
