"""Which neighbours a plan joins: a ReLU and a max pooling become epilogues of the layer before them.

A kernel has each result at hand, in registers or in cache, when it stores it. What follows element by element or window
by window costs next to nothing there, and a pass over memory anywhere else.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from minicnn import activations, registry
from minicnn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Dense,
    DepthwiseConv1D,
    DepthwiseConv2D,
    Layer,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    ReLU,
    SeparableConv1D,
    SeparableConv2D,
    Softmax,
)
from minicnn.models.graph import Calls

__all__ = ["activations_of_outputs", "fuse", "is_own", "is_relu", "last_activation", "without_activation"]


_TAKE_RELU: tuple[type[Layer], ...] = (
    Add,
    BatchNormalization,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Dense,
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
)
# Which layer takes which.
_POOLINGS: dict[type[Layer], type[Layer]] = {Conv1D: MaxPooling1D, Conv2D: MaxPooling2D, Conv3D: MaxPooling3D}


def is_own(layer: Any) -> bool:
    """Whether a layer is one of minicnn's, and no class that a user wrote or derived."""
    return any(registry.holds(family, type(layer)) for family in ("layer", "step"))


def is_relu(layer: Layer) -> bool:
    """Whether a layer computes plain max(x, 0) and nothing else."""
    if type(layer) is ReLU:
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return type(layer) is Activation and layer.activation is activations.relu


def last_activation(layer: Layer) -> str | None:
    """The name of the activation that a layer ends with; None for none, or where more than that makes its output."""
    if layer.activity_regularizer is not None or not is_own(layer):
        return None
    if type(layer) is Softmax:
        return "softmax" if layer.along_classes else None
    function = getattr(layer, "activation", None)
    if function is None or function is activations.linear:
        return None
    return getattr(function, "__name__", None)


def activations_of_outputs(flat: Calls) -> list[str | None]:
    """For each output of a model the `last_activation` of the layer that makes it, None where something else reads it too.

    Only where nobody but the one loss reads an activation may it be left to that loss.
    """
    made_by = {call.output: call.layer for call in flat.calls}
    readers = Counter([*flat.outputs, *(value for call in flat.calls for value in call.inputs)])
    return [last_activation(made_by[i]) if i in made_by and readers[i] == 1 else None for i in flat.outputs]


def without_activation(layer: Layer) -> Layer | None:
    """A twin of the layer, with the same weights, that leaves its activation out; None if it is nothing but that."""
    if isinstance(layer, (Activation, Softmax)):
        return None
    twin = copy.copy(layer)
    object.__setattr__(twin, "activation", activations.linear)
    return twin


def _formats_agree(step: Any, after: Any) -> bool:
    return step.layer.data_format == after.layer.data_format


def fuse(steps: list[Any], outputs: set[int]) -> list[Any]:
    """The steps, with epilogues joined to the step before them; the values `outputs` must stay.

    A value may disappear inside a step if exactly one step reads it and nobody else asks for it.
    """
    readers: dict[int, list[Any]] = {}
    for step in steps:
        for value in step.inputs:
            readers.setdefault(value, []).append(step)

    def only_reader(step: Any) -> Any:
        """The step behind this one, if the value between them may disappear."""
        after = readers.get(step.output, [])
        if len(after) != 1 or step.output in outputs or step.layer.activity_regularizer is not None:
            return None
        return after[0] if after[0].layer.dtype == step.layer.dtype else None

    joined: set[int] = set()
    for step in steps:
        if id(step) in joined or type(step.layer) not in _TAKE_RELU:
            continue
        row: list[Any] = [step]
        arguments: dict[str, Any] = {}
        activation = getattr(step.layer, "activation", activations.linear)
        after = only_reader(step)
        if activation is activations.linear and after is not None and is_relu(after.layer):
            arguments["relu"] = True
            row.append(after)
            after = only_reader(after)
        pooling = _POOLINGS.get(type(step.layer)) if activation in (activations.linear, activations.relu) else None
        if pooling is not None and after is not None and type(after.layer) is pooling and _formats_agree(step, after):
            arguments["pool"] = after.layer
            row.append(after)
        if row[-1].layer.activity_regularizer is None:
            step.join(row[1:], arguments)
            joined.update(id(one) for one in row[1:])
    return [step for step in steps if id(step) not in joined]
