"""Errors: how far a prediction is from its target, number by number."""

from __future__ import annotations

from typing import Any

from minicnn import config, registry
from minicnn.losses.base import RowLoss


@registry.register("loss")
class MeanSquaredError(RowLoss):
    """loss[m] = mean over c of (y_true - y_pred)**2."""

    _op = "squared_error"
    _symmetric = True

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)


@registry.register("loss")
class MeanAbsoluteError(RowLoss):
    """loss[m] = mean over c of |y_true - y_pred|."""

    _op = "absolute_error"
    _symmetric = True

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_error", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)


@registry.register("loss")
class MeanAbsolutePercentageError(RowLoss):
    """loss[m] = 100 * mean over c of |y_true - y_pred| / max(|y_true|, epsilon)."""

    _op = "percentage_error"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def _numbers(self) -> tuple[Any, ...]:
        return (config.epsilon(),)


@registry.register("loss")
class MeanSquaredLogarithmicError(RowLoss):
    """loss[m] = mean over c of (log(1 + y_true) - log(1 + y_pred))**2, both at least epsilon."""

    _op = "logarithmic_error"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def _numbers(self) -> tuple[Any, ...]:
        return (config.epsilon(),)


@registry.register("loss")
class Huber(RowLoss):
    """loss[m] = mean over c of e**2 / 2 where e = |y_true - y_pred| <= delta, else delta * e - delta**2 / 2.

    Args:
        delta: where the parabola goes over into its tangents. (In a config, too; Keras's have none, but are read with one.)
    """

    _op = "huber"
    _symmetric = True
    _own_arguments = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.delta = delta

    def _numbers(self) -> tuple[Any, ...]:
        return (self.delta,)


@registry.register("loss")
class LogCosh(RowLoss):
    """loss[m] = mean over c of log(cosh(y_pred - y_true)): a parabola near 0, |error| - log(2) far away."""

    _op = "log_cosh"
    _symmetric = True

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "log_cosh", dtype: Any = None) -> None:
        super().__init__(name, reduction, dtype)


@registry.register("loss")
class Poisson(RowLoss):
    """loss[m] = mean over c of y_pred - y_true * log(y_pred + epsilon)."""

    _op = "poisson"

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(name, reduction, dtype)

    def _numbers(self) -> tuple[Any, ...]:
        return (config.epsilon(),)


@registry.register("loss", "mse", "MSE")
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Mean over the last axis of (y_true - y_pred)**2."""
    return MeanSquaredError().call(y_true, y_pred)


@registry.register("loss", "mae", "MAE")
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """Mean over the last axis of |y_true - y_pred|."""
    return MeanAbsoluteError().call(y_true, y_pred)


@registry.register("loss", "mape", "MAPE")
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """Mean error in percent of the target, one loss a row; see `MeanAbsolutePercentageError`."""
    return MeanAbsolutePercentageError().call(y_true, y_pred)


@registry.register("loss", "msle", "MSLE")
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """Mean squared difference of logarithms, one loss a row; see `MeanSquaredLogarithmicError`."""
    return MeanSquaredLogarithmicError().call(y_true, y_pred)


@registry.register("loss")
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """A squared error that grows linearly beyond delta, one loss a row; see `Huber`."""
    return Huber(delta).call(y_true, y_pred)


@registry.register("loss", "logcosh")
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """Mean logarithm of the error's hyperbolic cosine, one loss a row; see `LogCosh`."""
    return LogCosh().call(y_true, y_pred)


@registry.register("loss")
def poisson(y_true: Any, y_pred: Any) -> Any:
    """Poisson loss of counts, one loss a row; see `Poisson`."""
    return Poisson().call(y_true, y_pred)
