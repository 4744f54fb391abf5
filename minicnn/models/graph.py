"""From symbolic tensors to an ordered list of layer calls."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

from minicnn.layers import Layer
from minicnn.layers.masks import mask_of
from minicnn.layers.symbolic import KerasTensor, Node
from minicnn.layers.tracing import Trace
from minicnn.variables import Variable

__all__ = [
    "Call",
    "Calls",
    "Graph",
    "branches",
    "calls_of",
    "check_calls",
    "flatten_calls",
    "layers_by_depth",
    "nodes_of",
    "nodes_of_trace",
    "topological_nodes",
]

_MOST_CALLS = 10_000


class Graph(Protocol):
    """What a model is to those who walk over it: nodes in topological order, from its inputs to its outputs."""

    name: str
    _inputs: list[KerasTensor]
    _outputs: list[KerasTensor]
    _nodes: list[Node]
    _graph_losses: list[KerasTensor]

    @property
    def trainable_weights(self) -> list[Variable]: ...


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
            if node is None or (not node.inputs and not node.takes_list):  # an op of variables alone takes an empty list
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


def layers_by_depth(
    inputs: list[KerasTensor], input_layers: list[Layer], outputs: list[KerasTensor], nodes: list[Node]
) -> list[Layer]:
    """The layers as Keras counts them, and as its files do, which know the second Conv2D of a model by that alone.

    The more calls lie between a layer and the outputs, the earlier it stands; of as many, the one that comes first on a
    walk from the outputs back to the inputs.

    Args:
        input_layers: of the inputs, in their order. nodes: see `topological_nodes`.
    """
    given = {id(tensor): layer for tensor, layer in zip(inputs, input_layers)}
    depths: dict[int, int] = {}  # of nodes and of layers, by their ids
    for node in reversed(nodes):
        depth = max(depths.get(id(node), 0), depths.get(id(node.layer), 0))
        depths[id(node.layer)] = depth
        for tensor in node.inputs:
            before = given.get(id(tensor), tensor.node)
            depths[id(before)] = max(depth + 1, depths.get(id(before), 0))
    met: dict[int, int] = {}
    seen: set[int] = set()
    stack = list(reversed(outputs))
    while stack:
        tensor = stack.pop()
        if id(tensor) in given:
            met.setdefault(id(given[id(tensor)]), len(met))
        elif tensor.node is not None and id(tensor.node) not in seen:
            seen.add(id(tensor.node))
            met.setdefault(id(tensor.node.layer), len(met))
            stack.extend(reversed(tensor.node.inputs))
    every = {id(layer): layer for layer in [*input_layers, *(node.layer for node in nodes)]}
    return sorted(every.values(), key=lambda layer: (-depths.get(id(layer), 0), met.get(id(layer), -1)))


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


@dataclass
class Call:
    """One layer call on numbered values: `values[output] = layer(values[inputs])`.

    Attributes:
        takes_list: whether the layer is given a list, not one array.
        dtype: of the output.
        training: what the call said of it, or one around it; None where that is left to whoever runs the model.
    """

    layer: Layer
    inputs: tuple[int, ...]
    takes_list: bool
    output: int
    dtype: str
    training: bool | None = None


class Calls(NamedTuple):
    """A model as straight-line code.

    Attributes:
        calls: in order. inputs, outputs: numbers of the model's input and output values.
        shapes: the symbolic shape of every value.
        losses: numbers of the values that `add_loss` was given.
        masks: of the outputs' masks; None for an output without one, and where they were not asked for.
    """

    calls: list[Call]
    inputs: list[int]
    outputs: list[int]
    shapes: list[tuple[int | None, ...]]
    losses: list[int]
    masks: list[int | None]


def nodes_of(model: Graph, masks: Sequence[KerasTensor] = ()) -> list[Node]:
    """The model's nodes, and those that `add_loss` of symbolic tensors and the outputs' masks need besides."""
    if not (model._graph_losses or masks):
        return model._nodes
    return topological_nodes(model._inputs, [*model._outputs, *model._graph_losses, *masks])


def nodes_of_trace(one: Trace, masks: Sequence[KerasTensor] = ()) -> list[Node]:
    """The nodes of what a `call` was traced to; where it has effects, in the order in which it made them."""
    nodes = topological_nodes(one.inputs, [*one.outputs, *one.losses, *one.effects, *masks])
    return sorted(nodes, key=lambda node: node.number) if one.in_order else nodes


def branches(model: Graph) -> bool:
    """Whether some `call` in the model was traced twice: what the model computes in training is another graph then."""
    return any(
        len(node.traces) > 1
        or any(_branches_within(one) for one in node.traces.values())
        or (not node.traces and hasattr(node.layer, "_nodes") and branches(node.layer))
        for node in nodes_of(model)
    )


def _branches_within(trace: Trace) -> bool:
    for node in nodes_of_trace(trace):
        if len(node.traces) > 1 or any(_branches_within(one) for one in node.traces.values()):
            return True
        if not node.traces and hasattr(node.layer, "_nodes") and branches(node.layer):
            return True
    return False


def says_training(model: Graph) -> bool:
    """Whether a layer of the model is told of training where it is called, or trains unless it is told."""
    return any(
        node.training is not None
        or node.layer._trains_by_default
        or (not node.traces and hasattr(node.layer, "_nodes") and says_training(node.layer))
        for node in nodes_of(model)
    )


def _masks_of(inputs: list[KerasTensor], outputs: list[KerasTensor]) -> list[KerasTensor]:
    """The outputs' masks that can be computed from the inputs: a model may begin behind the layer that made one."""
    found = []
    for mask in map(mask_of, outputs):
        with contextlib.suppress(ValueError):
            if mask is not None:
                topological_nodes(inputs, [mask])
                found.append(mask)
    return found


def flatten_calls(model: Graph, training: bool | None = False, with_masks: bool = False) -> Calls:
    """The model as straight-line code; models inside it are opened, and what a `call` was traced to.

    Args:
        training: which of two traces is taken, where a call does not say it itself. None: nobody says, so that what each
            layer was told in its call counts, and then its default.
        with_masks: whether it computes the masks of its outputs, too.
    """
    made = Calls([], [], [], [], [], [])
    mask_numbers: dict[int, int] = {}  # of a value's mask

    def new_value(shape: tuple[int | None, ...]) -> int:
        made.shapes.append(shape)
        return len(made.shapes) - 1

    def masks_among(inputs: list[KerasTensor], outputs: list[KerasTensor]) -> list[KerasTensor]:
        return _masks_of(inputs, outputs) if with_masks else []

    def note_masks(masks: list[KerasTensor], outputs: list[KerasTensor], number: dict[int, int]) -> None:
        known = {id(mask) for mask in masks}
        mask_numbers.update({number[id(one)]: number[id(mask_of(one))] for one in outputs if id(mask_of(one)) in known})

    def walk(nodes: list[Node], number: dict[int, int], said: bool | None, within: bool = False) -> None:
        """The nodes' calls, from numbered tensors on. `said`: what a call around them says of training.

        Within a `call`, what a layer is told counts. In a functional model it does only where nobody says anything else: `fit`
        and `predict` do, `model(x)` does not, as in Keras.
        """
        for node in nodes:
            read = [number[id(tensor)] for tensor in node.inputs]
            own, unsaid = said, training is None and said is None
            if node.training is not None and (within or unsaid):
                own = node.training
            elif unsaid and not within and node.layer._trains_by_default:
                own = True
            if node.traces:
                one = node.traces.get(bool(training) if own is None else own) or next(iter(node.traces.values()))
                inner = dict(zip(map(id, one.inputs), read))
                masks = masks_among(one.inputs, one.outputs)
                walk(nodes_of_trace(one, masks), inner, own, within=True)
                note_masks(masks, one.outputs, inner)
                made.losses.extend(inner[id(tensor)] for tensor in one.losses)
                results = [inner[id(tensor)] for tensor in one.outputs]
            elif hasattr(node.layer, "_nodes"):  # a model used as a layer
                model = cast(Graph, node.layer)
                inner = dict(zip(map(id, model._inputs), read))
                masks = masks_among(model._inputs, model._outputs)
                walk(nodes_of(model, masks), inner, own)
                note_masks(masks, model._outputs, inner)
                made.losses.extend(inner[id(tensor)] for tensor in model._graph_losses)
                results = [inner[id(tensor)] for tensor in model._outputs]
            else:
                results = [new_value(node.outputs[0].shape)]
                made.calls.append(Call(node.layer, tuple(read), node.takes_list, results[0], node.outputs[0].dtype, own))
            number.update({id(tensor): value for tensor, value in zip(node.outputs, results)})

    made.inputs.extend(new_value(tensor.shape) for tensor in model._inputs)
    number = dict(zip(map(id, model._inputs), made.inputs))
    masks = masks_among(model._inputs, model._outputs)
    walk(nodes_of(model, masks), number, None)
    note_masks(masks, model._outputs, number)
    made.losses.extend(number[id(tensor)] for tensor in model._graph_losses)
    made.outputs.extend(number[id(tensor)] for tensor in model._outputs)
    made.masks.extend(mask_numbers.get(value) for value in made.outputs)
    return made
