"""From symbolic tensors to an ordered list of layer calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

from minicnn.layers import Layer
from minicnn.layers.symbolic import KerasTensor, Node
from minicnn.variables import Variable

__all__ = ["Call", "Graph", "calls_of", "check_calls", "flatten_calls", "flatten_struct", "pack_struct", "topological_nodes"]

_MOST_CALLS = 10_000


class Graph(Protocol):
    """What a model is to those who walk over it: nodes in topological order, from its inputs to its outputs."""

    name: str
    _inputs: list[KerasTensor]
    _outputs: list[KerasTensor]
    _nodes: list[Node]

    @property
    def trainable_weights(self) -> list[Variable]: ...


def flatten_struct(struct: Any) -> list[Any]:
    """A tensor, a list or a dict of tensors (also nested) as a flat list; dicts in the order of their keys' insertion."""
    if isinstance(struct, dict):
        return [item for value in struct.values() for item in flatten_struct(value)]
    if isinstance(struct, (list, tuple)):
        return [item for value in struct for item in flatten_struct(value)]
    return [struct]


def pack_struct(struct: Any, flat: Sequence[Any]) -> Any:
    """The items of `flat` in the shape of `struct`: the inverse of `flatten_struct`."""
    return _pack(struct, iter(flat))


def _pack(part: Any, items: Iterator[Any]) -> Any:
    # No function within `pack_struct`: one that calls itself keeps `items` until Python's garbage collector comes by.
    if isinstance(part, dict):
        return {key: _pack(value, items) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_pack(value, items) for value in part]
    return next(items)


def topological_nodes(inputs: list[KerasTensor], outputs: list[KerasTensor]) -> list[Node]:
    """The nodes between inputs and outputs, each after those it reads from.

    Raises:
        ValueError: if an output cannot be computed from the inputs, naming the tensor that is missing.
    """
    given = {id(tensor) for tensor in inputs}
    order: list[Node] = []
    finished: set[int] = set()
    # Depth first with a stack of our own: graphs may be deeper than Python's recursion limit.
    for output in outputs:
        stack: list[tuple[KerasTensor, bool]] = [(output, False)]
        while stack:
            tensor, inputs_done = stack.pop()
            node = tensor.node
            if id(tensor) in given or id(node) in finished:
                continue
            if node is None or not node.inputs:
                raise ValueError(
                    f"`inputs` not connected to `outputs`: {tensor!r} is needed to compute {output!r}, and is not among "
                    "the inputs."
                )
            if inputs_done:
                finished.add(id(node))
                order.append(node)
            else:
                stack.append((tensor, True))
                stack.extend((before, False) for before in reversed(node.inputs))
    return order


def calls_of(layer: Layer) -> int:
    """How many layer calls one call of a layer stands for: of a model all those inside it."""
    return getattr(layer, "_call_count", 0) or 1


def check_calls(name: str, count: int) -> int:
    """`count`, unless it is more layer calls than any network has.

    A model that calls the one inside it twice, thirty levels deep, is small to write and a billion calls to run.

    Raises:
        ValueError: naming the model.
    """
    if count > _MOST_CALLS:
        raise ValueError(f"Model '{name}' is made of more than {_MOST_CALLS} layer calls.")
    return count


class Call:
    """One layer call on numbered values: `values[output] = layer(values[inputs])`."""

    def __init__(self, layer: Layer, inputs: tuple[int, ...], takes_list: bool, output: int) -> None:
        self.layer = layer
        self.inputs = inputs
        self.takes_list = takes_list
        self.output = output


def flatten_calls(model: Graph) -> tuple[list[Call], list[int], list[int], list[tuple[int | None, ...]]]:
    """The model as straight-line code; models inside it are opened.

    Returns:
        calls: in order. inputs, outputs: numbers of the model's input and output values.
        shapes: the symbolic shape of every value.
    """
    calls: list[Call] = []
    shapes: list[tuple[int | None, ...]] = []

    def new_value(shape: tuple[int | None, ...]) -> int:
        shapes.append(shape)
        return len(shapes) - 1

    def walk(inner: Graph, arguments: list[int]) -> list[int]:
        number = {id(tensor): value for tensor, value in zip(inner._inputs, arguments)}
        for node in inner._nodes:
            read = [number[id(tensor)] for tensor in node.inputs]
            if hasattr(node.layer, "_nodes"):  # a model used as a layer
                results = walk(cast(Graph, node.layer), read)
            else:
                output = new_value(node.outputs[0].shape)
                calls.append(Call(node.layer, tuple(read), node.takes_list, output))
                results = [output]
            number.update({id(tensor): value for tensor, value in zip(node.outputs, results)})
        return [number[id(tensor)] for tensor in inner._outputs]

    inputs = [new_value(tensor.shape) for tensor in model._inputs]
    outputs = walk(model, inputs)
    return calls, inputs, outputs, shapes
