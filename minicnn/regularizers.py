"""Regularizers: penalties on weights that enter the loss, and their gradients."""

from __future__ import annotations

import math
from typing import Any

from minicnn import backends, config, registry, serialization, tape
from minicnn.backends import ops
from minicnn.tensor import Tensor, as_tensor
from minicnn.variables import Variable

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]


class Regularizer:
    """Base class: a subclass writes `__call__(x)` and `get_config()`, and `gradient_(grad, x)` where no tape finds it."""

    def __call__(self, x: Any) -> Any:
        """The penalty of the weights `x`, a scalar."""
        return 0.0

    def penalty(self, x: Any) -> Any:
        """The penalty of an array of the backend, left where that computes: what a training step asks for."""
        return self(x)

    def gradient_(self, grad: Any, x: Any) -> None:
        """Add the penalty's derivative with respect to `x` to `grad`, in place.

        By default a tape finds it, where `__call__` is made of operators and of functions of `minicnn.ops`.

        Raises:
            NotImplementedError: where it is not.
        """
        weights = as_tensor(x)
        with tape.GradientTape() as recorded:
            recorded.watch(weights)
            penalty = self(weights)
        found = recorded.gradient(penalty, weights) if isinstance(penalty, Tensor) else None
        if found is None:
            raise NotImplementedError(
                f"Regularizer {type(self).__name__!r} has no gradient, so a model cannot be trained with it: it is not made of "
                "operators and functions of `minicnn.ops`, which have one. Use these, or define `gradient_(self, grad, x)`, "
                "which adds d penalty / d x to the array `grad`."
            )
        grad += backends.asarray(found)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(f"{self} does not implement get_config()")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The reverse of `get_config`."""
        return cls(**config)


def _non_negative(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (float, int)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"Invalid value for argument {name}: expected a non-negative float. Received: {name}={value}")
    return float(value)


class _OwnRegularizer(Regularizer):
    """One whose `penalty` and `gradient_` are ops: what it does for a `Variable`, or for an array of any kind."""

    def __call__(self, x: Any) -> Any:
        return as_tensor(self.penalty(x.value if isinstance(x, Variable) else backends.asarray(x)))


@registry.register("regularizer", "l1_l2", "l1l2")
class L1L2(_OwnRegularizer):
    """l1 * sum of |x| + l2 * sum of x**2."""

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _non_negative(0.0 if l1 is None else l1, "l1")
        self.l2 = _non_negative(0.0 if l2 is None else l2, "l2")

    def penalty(self, x: Any) -> Any:
        return ops.l1_l2_penalty(x, self.l1, self.l2)

    def gradient_(self, grad: Any, x: Any) -> None:
        """grad += l1 * sign(x) + 2 * l2 * x."""
        ops.l1_l2_gradient_(grad, x.value if isinstance(x, Variable) else x, self.l1, self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


@registry.register("regularizer", "l1")
class L1(L1L2):
    """l1 * sum of |x|, which drives weights to exactly 0."""

    def __init__(self, l1: float | None = 0.01) -> None:
        super().__init__(l1=0.01 if l1 is None else l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


@registry.register("regularizer", "l2")
class L2(L1L2):
    """l2 * sum of x**2, which keeps weights small."""

    def __init__(self, l2: float | None = 0.01) -> None:
        super().__init__(l2=0.01 if l2 is None else l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


@registry.register("regularizer", "orthogonal_regularizer")
class OrthogonalRegularizer(_OwnRegularizer):
    """factor * mean of |cosine of the angle between two rows (or columns) of a matrix|, over all pairs of them.

    Args:
        factor: how much it counts.
        mode: "rows" or "columns": what shall become orthogonal.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _non_negative(factor, "factor")
        if mode not in ("rows", "columns"):
            raise ValueError(f'Invalid value for argument `mode`. Expected one of {{"rows", "columns"}}. Received: mode={mode}')
        self.mode = mode

    def _rows(self, x: Any) -> Any:
        if len(x.shape) != 2:
            raise ValueError(f"Inputs to OrthogonalRegularizer must have rank 2. Received: inputs.shape={x.shape}")
        return x if self.mode == "rows" else x.T

    def penalty(self, x: Any) -> Any:
        return ops.orthogonal_penalty(self._rows(x), self.factor, config.epsilon())

    def gradient_(self, grad: Any, x: Any) -> None:
        """Add the penalty's derivative with respect to `x` to `grad`, in place."""
        x = x.value if isinstance(x, Variable) else x
        ops.orthogonal_gradient_(self._rows(grad), self._rows(x), self.factor, config.epsilon())

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


# Keras also offers each class under the name that strings use.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

get, serialize, deserialize = serialization.functions_of("regularizer")
