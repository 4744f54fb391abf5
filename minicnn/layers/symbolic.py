"""Symbolic tensors, and the graph that is recorded when layers are called on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import registry

Shape = tuple[int | None, ...]


class KerasTensor:
    """A value that a model will have: its shape and dtype, and which layer makes it.

    Attributes:
        shape: with None for the batch axis. dtype: "float32", ... name.
        node: the call of a layer whose output it is.
    """

    def __init__(
        self, shape: Sequence[int | None], dtype: str = "float32", name: str | None = None, node: Node | None = None
    ) -> None:
        self.shape: Shape = tuple(None if size is None else int(size) for size in shape)
        self.dtype = dtype
        self.name = name or registry.unique_name("keras_tensor")
        self.node = node

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            "A KerasTensor cannot be converted to an array: it is symbolic and has no values. "
            "Use a layer to compute with it, or a Model to get values from it."
        )

    def __iter__(self) -> Any:
        raise TypeError("Iterating over a symbolic KerasTensor is not supported.")

    def __bool__(self) -> bool:
        raise TypeError("A symbolic KerasTensor cannot be used as a boolean.")

    def __add__(self, other: Any) -> Any:
        """The layer `Add`, which residual networks write as `+`; looked up by its name, since its file imports this one."""
        if not isinstance(other, KerasTensor):
            return NotImplemented
        return registry.lookup("layer", "Add")()([self, other])

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


class Node:
    """One call of a layer on symbolic tensors.

    Attributes:
        layer: the layer, or model, that was called. inputs: the tensors that it was called on.
        outputs: the tensors that it returned (one for a layer, as many as a model has for a model).
        takes_list: whether the layer gets a list, as merges do.
    """

    def __init__(self, layer: Any, inputs: list[KerasTensor], takes_list: bool) -> None:
        self.layer = layer
        self.inputs = inputs
        self.takes_list = takes_list
        self.outputs: list[KerasTensor] = []
        layer._inbound_nodes.append(self)


def is_symbolic(value: Any) -> bool:
    """Whether `value` is a KerasTensor or a list, tuple or dict that holds one."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(is_symbolic(item) for item in value)
    return isinstance(value, KerasTensor)
