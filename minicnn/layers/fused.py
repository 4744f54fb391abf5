"""What adjacent layers become when the backend has one op for them.

A plan replaces layers by these; a user never makes one. Each has the `forward` and
`backward` of a layer, over the weights of the layers it stands for.
"""

from __future__ import annotations

import copy
from typing import Any

from minicnn import activations
from minicnn.layers.activation import Activation, Softmax
from minicnn.layers.base import Layer

__all__ = ["Penalized", "fuse", "last_activation", "without_activation"]


def last_activation(layer: Layer) -> str | None:
    """The name of the activation that a layer ends with; None for none, or where its output is penalized."""
    if layer.activity_regularizer is not None:
        return None
    if type(layer) is Softmax:
        return "softmax"
    function = getattr(layer, "activation", None)
    if function is None or function is activations.linear:
        return None
    return getattr(function, "__name__", None)


def without_activation(layer: Layer) -> Layer | None:
    """A twin of the layer, with the same weights, that leaves its activation out; None if it is nothing but that."""
    if isinstance(layer, (Activation, Softmax)):
        return None
    twin = copy.copy(layer)
    object.__setattr__(twin, "activation", activations.linear)
    return twin


def fuse(steps: list[Any], outputs: set[int]) -> list[Any]:
    """The steps, adjacent ones made one where the backend has an op for them; `outputs` must stay."""
    return steps


class Penalized(Layer):
    """A layer with an activity regularizer: its penalty joins the loss, its gradient dy.

    Both are divided by the batch size, as Keras does.
    """

    def __init__(self, layer: Any, regularizer: Any, penalties: list[Any]) -> None:
        self.__dict__.update(
            layer=layer,
            regularizer=regularizer,
            penalties=penalties,
            name=layer.name,
            dtype=layer.dtype,
            _variables=layer._variables,
        )

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        y, saved = self.layer.forward(x, training)
        self.penalties.append(self.regularizer(y) / len(y))
        return y, (y, saved)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        y, inner = saved
        penalty = dy * 0
        self.regularizer.gradient_(penalty, y)
        return self.layer.backward(dy + penalty / len(y), inner)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        return self.backward(dy, saved)[1]
