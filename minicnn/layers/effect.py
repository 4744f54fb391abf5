"""A step of a graph that is there for what it does: a variable that a user's `call` assigns to, a metric that it updates.

Such a `call` is run once, on symbolic tensors (`tracing`). What it does to a variable then is no value yet: it becomes a step
of the graph, which does it each time that the model runs, where it stands among the other steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn import backends, registry
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import KerasTensor, Node, Slot, slotted
from minicnn.layers.tracing import MISSING
from minicnn.structure import map_struct


@registry.register("step")
class Effect(Layer):
    """A call of a function for what it does, as a layer without a gradient. Its output is of no use to anyone.

    Args:
        function: such as a variable's method. args, kwargs: what it is called with; symbolic tensors among them are the
            layer's inputs, and their values stand in their place when the model runs.

    Attributes:
        owner: whose method the function is: a variable, a metric.
    """

    autocast = False

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(name=registry.unique_name(function.__name__.lstrip("_")))
        self._function = function
        self.owner: Any = getattr(function, "__self__", None)
        self._arguments, self._inputs = slotted((args, kwargs))
        self.built = True

    def __call__(self, inputs: Any = MISSING, *args: Any, **kwargs: Any) -> Any:
        node = Node(self, self._inputs, takes_list=True)
        node.outputs = [KerasTensor((), self.dtype, node=node)]
        return node.outputs[0]

    def forward(self, x: list[Any], training: bool) -> tuple[Any, None]:
        args, kwargs = map_struct(lambda value: x[value.number] if isinstance(value, Slot) else value, self._arguments)
        self._function(*args, **kwargs)
        return backends.asarray(0.0, self.dtype), None

    def backward(self, dy: Any, saved: None) -> tuple[list[None], tuple[()]]:
        return [None] * len(self._inputs), ()
