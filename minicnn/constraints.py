"""Constraints: what an optimizer does to a weight after each update."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, config, registry, serialization
from minicnn.tensor import as_tensor

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]

Axis = int | list[int] | tuple[int, ...]


class Constraint:
    """Base class: a subclass writes `__call__(w)`, which returns the weights that `w` becomes."""

    def __call__(self, w: Any) -> Any:
        return w

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The reverse of `get_config`."""
        return cls(**config)


def _norms(w: np.ndarray, axis: Axis) -> np.ndarray:
    """Euclidean norms along `axis`, which keeps extent 1."""
    return np.sqrt(np.sum(np.square(w), axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=True))


@registry.register("constraint", "min_max_norm", "minmaxnorm")
class MinMaxNorm(Constraint):
    """Norms along `axis` between `min_value` and `max_value`: w * desired / (epsilon + norm), where

    desired = rate * clip(norm, min_value, max_value) + (1 - rate) * norm

    Args:
        min_value, max_value: bounds of the norm.
        rate: how strictly, in (0, 1]; below 1 the norm only moves towards the bounds.
        axis: the axes that one unit's weights span: 0 for a dense kernel, [0, 1, 2] for HWIO.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Any:
        w = backends.to_numpy(w)
        norms = _norms(w, self.axis)
        desired = self.rate * np.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return as_tensor(w * (desired / (config.epsilon() + norms)))

    def get_config(self) -> dict[str, Any]:
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


@registry.register("constraint", "max_norm", "maxnorm")
class MaxNorm(MinMaxNorm):
    """Norms along `axis` at most `max_value`. Source: Srivastava et al. 2014, JMLR 15."""

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        super().__init__(max_value=max_value, axis=axis)

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


@registry.register("constraint", "non_neg", "nonneg")
class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: Any) -> Any:
        return as_tensor(np.maximum(backends.to_numpy(w), 0))


@registry.register("constraint", "unit_norm", "unitnorm")
class UnitNorm(Constraint):
    """Norms along `axis` are 1: w / (epsilon + norm)."""

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        w = backends.to_numpy(w)
        return as_tensor(w / (config.epsilon() + _norms(w, self.axis)))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


# Keras also offers each class under the name that strings use.
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm

get, serialize, deserialize = serialization.functions_of("constraint")
