"""Masks: which steps of a sequence count. A tensor's is a tensor (N, T) in its attribute `_keras_mask`, as in Keras.

`Masking` and `Embedding(mask_zero=True)` make one; layers whose `call` has an argument `mask` are given it, as are those with
a `masked_call`; layers that support masking hand it on to what they return, in `compute_mask`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from minicnn.layers.symbolic import KerasTensor
from minicnn.structure import flatten_struct, map_struct

__all__ = ["MASK_ARGUMENTS", "attach_masks", "leave_out_of_config", "mask_of", "masked_outputs"]


MASK_ARGUMENTS = ("mask", "query_mask", "value_mask", "key_mask")
"""The arguments of a `call` that take the masks of its other arguments."""


def mask_of(inputs: Any) -> Any:
    """The mask of a tensor; of several in a list or a dict theirs, in that structure. None where there is none."""
    if isinstance(inputs, (list, tuple, dict)):
        masks = map_struct(mask_of, inputs)
        return masks if any(one is not None for one in flatten_struct(masks)) else None
    return getattr(inputs, "_keras_mask", None)


def attach_masks(layer: Any, inputs: Any, outputs: Any, mask: Any) -> None:
    """Give what a layer returned the masks that it says.

    Args:
        mask: that the layer was given, or that its input has; None for none.
    """
    if not layer.supports_masking:
        if mask is not None:
            warnings.warn(
                f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask attached to it. "
                "However, this layer does not support masking and will therefore destroy the mask information. Downstream "
                "layers will not see the mask.",
                stacklevel=3,
            )
        return
    for tensor, one in zip(flatten_struct(outputs), flatten_struct(layer.compute_mask(inputs, mask))):
        if one is not None:
            tensor._keras_mask = one
            if one is not mask:
                _mark(one, {id(tensor) for tensor in flatten_struct([inputs, mask])})


def _mark(mask: Any, inputs: set[int]) -> None:
    """Tell the ops that compute a mask from these tensors that they do: no file says so, as calling the layer makes them."""
    if isinstance(mask, KerasTensor) and mask.node is not None and id(mask) not in inputs and mask.node.layer.is_operation:
        mask.node.layer.makes_mask = True
        for tensor in mask.node.inputs:
            _mark(tensor, inputs)


def leave_out_of_config(outputs: Any, names: Iterable[str]) -> None:
    """Forget that the call which returned these was given masks, as these arguments: its inputs will have them again."""
    first = flatten_struct(outputs)[0]
    if isinstance(first, KerasTensor) and first.node is not None:
        for name in names:
            first.node.arguments[1].pop(name, None)


def masked_outputs(outputs: list[Any]) -> list[Any]:
    """Those of a model's outputs that have a mask, also within its own `call`."""
    found = []
    for tensor in outputs:
        traces = [] if tensor.node is None else list(tensor.node.traces.values())
        inner = [one.outputs[tensor.node.outputs.index(tensor)] for one in traces]
        if any(getattr(one, "_keras_mask", None) is not None for one in [tensor, *inner]):
            found.append(tensor)
    return found
