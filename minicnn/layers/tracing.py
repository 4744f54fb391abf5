"""A `call` that a user wrote, as a piece of a graph: it is run once, on symbolic tensors.

Each op and layer in it then enters the graph, as in a functional model. A plan opens such a call, and runs what is inside.
What depends on `training` is traced twice, once for each value.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from minicnn import registry
from minicnn.layers.symbolic import KerasTensor, Node
from minicnn.structure import flatten_struct, map_struct, pack_struct
from minicnn.tensor import watching

__all__ = [
    "Trace",
    "call_traced",
    "not_traced",
    "running_trace",
    "said_training",
    "saying_training",
    "shapes_of",
    "takes",
    "takes_training",
    "trace",
]


class Trace:
    """What a `call` does to symbolic tensors.

    Attributes:
        inputs, outputs: of the piece of graph. struct: of what `call` returned. losses: what it gave to `add_loss`.
        effects: of calls that are there for what they do (`effect`). in_order: whether there is one, or within a call
            within this one; then the calls must run in the order in which `call` made them.
    """

    def __init__(self, inputs: list[KerasTensor]) -> None:
        self.inputs = inputs
        self.outputs: list[KerasTensor] = []
        self.struct: Any = None
        self.losses: list[KerasTensor] = []
        self.effects: list[KerasTensor] = []
        self.in_order = False

    def do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a function here, each time that the graph runs, with the values of the symbolic tensors among its arguments."""
        self.has_effect(registry.lookup("step", "Effect")(function, args, kwargs)())

    def has_effect(self, tensor: KerasTensor) -> None:
        """Keep the call that makes this tensor, though nobody may read it."""
        self.effects.append(tensor)
        self.in_order = True


def running_trace() -> Trace | None:
    """Of the innermost call that is being traced."""
    return watching.tracing[-1] if watching.tracing else None


MISSING: Any = object()
"""In the place of inputs that were not given, or by another name."""


def takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether a function has an argument of this name."""
    return argument in inspect.signature(function).parameters


def takes_training(function: Callable[..., Any]) -> bool:
    """Whether it does something else in training."""
    return takes(function, "training")


def said_training(training: bool | None) -> bool | None:
    """What a call on arrays says of `training`: itself, or else the call of a layer around it; None where nobody does."""
    return watching.training if training is None else bool(training)


@contextlib.contextmanager
def saying_training(training: bool | None) -> Iterator[None]:
    """Within the block, what `said_training` of a call that does not say it."""
    before, watching.training = watching.training, training
    try:
        yield
    finally:
        watching.training = before


@contextlib.contextmanager
def not_traced() -> Iterator[None]:
    """Within the block nothing is drawn into a graph: weights are made there, and have values at once."""
    before, watching.tracing = watching.tracing, ()
    try:
        yield
    finally:
        watching.tracing = before


@contextlib.contextmanager
def _into(one: Trace) -> Iterator[None]:
    before = watching.tracing
    watching.tracing = (*before, one)
    try:
        yield
    finally:
        watching.tracing = before


def trace(layer: Any, args: Any, kwargs: dict[str, Any]) -> Trace:
    """A layer's `call(*args, **kwargs)`, with other symbolic tensors in the place of those.

    Raises:
        ValueError: if it returns something else than tensors made of its inputs.
    """
    given = [item for item in flatten_struct([args, kwargs]) if isinstance(item, KerasTensor)]
    stand_ins = {}
    for tensor in given:
        twin = KerasTensor(tensor.shape, tensor.dtype, name=tensor.name)
        twin.trials = tensor.trials
        stand_ins[id(tensor)] = twin
    made = Trace(list(stand_ins.values()))

    args, kwargs = (map_struct(lambda item: stand_ins.get(id(item), item), given) for given in (args, kwargs))
    with _into(made):
        made.struct = layer._own_call(*args, **kwargs)
    made.outputs = flatten_struct(made.struct)
    for output in made.outputs:
        if not isinstance(output, KerasTensor):
            raise ValueError(
                f"Layer '{layer.name}': `call` of {type(layer).__name__} must return tensors that it computed from its inputs. "
                f"Received: {output!r}"
            )
    if layer.activity_regularizer is not None:  # a plan penalizes what its steps return
        with _into(made):
            penalized = {"activity_regularizer": layer.activity_regularizer, "name": layer.name, "dtype": layer.dtype}
            made.outputs = [registry.lookup("layer", "Identity")(**penalized)(output) for output in made.outputs]
    return made


def call_traced(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None) -> Any:
    """The symbolic outputs of a call of a layer that has a `call`, in the structure in which it returns them."""
    wanted: dict[bool | None, dict[str, Any]] = {None: kwargs}
    if takes_training(layer._own_call):
        values = (False, True) if training is None or not watching.tracing else (bool(training),)
        wanted = {value: {**kwargs, "training": value} for value in values}
    traces = {value: trace(layer, args, arguments) for value, arguments in wanted.items()}
    first, *others = traces.values()
    for other in others:
        if [tensor.shape for tensor in other.outputs] != [tensor.shape for tensor in first.outputs]:
            raise ValueError(f"Layer '{layer.name}': `call` returns other shapes in training.")
    unique = {id(item): item for item in flatten_struct([args, kwargs]) if isinstance(item, KerasTensor)}
    node = Node(layer, list(unique.values()), isinstance(args[0], (list, tuple)))
    node.traces, node.training, node.arguments = traces, training, (args, kwargs)
    for tensor in first.outputs:
        output = KerasTensor(tensor.shape, tensor.dtype, node=node)
        output.trials = tensor.trials
        node.outputs.append(output)
    around = running_trace()
    if around is not None and any(one.in_order for one in traces.values()):
        around.has_effect(node.outputs[0])
    return pack_struct(first.struct, node.outputs)


def shapes_of(args: Any) -> Any:
    """The shapes of what a layer is called on, in its structure; None for what has none."""
    if isinstance(args, dict):
        return {key: shapes_of(value) for key, value in args.items()}
    if isinstance(args, (list, tuple)):
        return [shapes_of(item) for item in args]
    return tuple(args.shape) if hasattr(args, "shape") else None
