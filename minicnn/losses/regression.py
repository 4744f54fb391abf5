"""Mean squared and mean absolute error."""

from __future__ import annotations

from typing import Any

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.base import RowLoss


@registry.register("loss")
class MeanSquaredError(RowLoss):
    """loss[m] = mean over c of (y_true - y_pred)**2."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        return ops.squared_error_forward(predictions, targets), predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        return ops.squared_error_backward(residual, targets, weights)


@registry.register("loss")
class MeanAbsoluteError(RowLoss):
    """loss[m] = mean over c of |y_true - y_pred|."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_error", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        return ops.absolute_error_forward(predictions, targets), predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        return ops.absolute_error_backward(residual, targets, weights)


@registry.register("loss", "mse", "MSE")
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Mean over the last axis of (y_true - y_pred)**2."""
    return MeanSquaredError().call(y_true, y_pred)


@registry.register("loss", "mae", "MAE")
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """Mean over the last axis of |y_true - y_pred|."""
    return MeanAbsoluteError().call(y_true, y_pred)
