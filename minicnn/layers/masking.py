"""`Masking`: which steps of a sequence are there at all."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry, serialization
from minicnn.layers.base import Layer

__all__ = ["Masking"]


@registry.register("layer")
class Masking(Layer):
    """y = x, with a mask: a step of (N, T, C) whose numbers are all `mask_value` is left out by the layers behind.

    Args:
        mask_value: a number.

    Recurrent layers leave such steps out. Layers that support masking hand the mask on, others end it, with a warning.
    """

    supports_masking = True
    _own_arguments: ClassVar[tuple[str, ...]] = ("mask_value",)

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = serialization.deserialize(mask_value)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """(N, T), whether any number of the step is another."""
        not_equal, any_of = (registry.operation(name) for name in ("not_equal", "any"))
        return any_of(not_equal(inputs, self.mask_value), -1)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        here = (x != self.mask_value).any(axis=-1, keepdims=True)
        return backends.asarray(np.where(here, x, 0), x.dtype), here

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return backends.asarray(np.where(saved, dy, 0), dy.dtype), ()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mask_value": serialization.serialize(self.mask_value)}
