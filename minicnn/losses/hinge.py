"""Hinge losses: 0 once a prediction is right by a margin."""

from __future__ import annotations

from typing import Any

from minicnn import registry
from minicnn.losses.base import RowLoss


@registry.register("loss")
class Hinge(RowLoss):
    """loss[m] = mean over c of max(1 - y_true * y_pred, 0).

    `y_true` is -1 or 1; where all of a batch are 0 or 1, a 0 counts as -1.
    """

    _op = "hinge"

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(name, reduction, dtype)

    def _numbers(self) -> tuple[Any, ...]:
        return (1,)


@registry.register("loss")
class SquaredHinge(RowLoss):
    """loss[m] = mean over c of max(1 - y_true * y_pred, 0)**2; targets as for `Hinge`."""

    _op = "hinge"

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "squared_hinge", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def _numbers(self) -> tuple[Any, ...]:
        return (2,)


@registry.register("loss")
class CategoricalHinge(RowLoss):
    """loss[m] = max(0, 1 + the largest y_pred of a wrong class - y_pred of the right one); `y_true` is one-hot."""

    _op = "categorical_hinge"

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "categorical_hinge", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)


@registry.register("loss")
def hinge(y_true: Any, y_pred: Any) -> Any:
    """Mean of max(1 - y_true * y_pred, 0), one loss a row; see `Hinge`."""
    return Hinge().call(y_true, y_pred)


@registry.register("loss")
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """Mean of max(1 - y_true * y_pred, 0)**2, one loss a row; see `SquaredHinge`."""
    return SquaredHinge().call(y_true, y_pred)


@registry.register("loss")
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """Hinge loss of one-hot targets, one loss a row; see `CategoricalHinge`."""
    return CategoricalHinge().call(y_true, y_pred)
