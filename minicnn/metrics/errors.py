"""The losses as metrics: their mean over an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, losses, registry
from minicnn.losses.targets import as_array
from minicnn.metrics.base import FunctionMetric, Mean
from minicnn.tensor import as_tensor

for _loss in losses.CLASSES:
    registry.register("metric function")(_loss)


def _cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    return -losses.cosine_similarity(y_true, y_pred, axis)


@registry.register("metric", "mean_squared_error", "mse", "MSE")
class MeanSquaredError(FunctionMetric):
    """Mean of (y_true - y_pred)**2."""

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


@registry.register("metric", "mean_absolute_error", "mae", "MAE")
class MeanAbsoluteError(FunctionMetric):
    """Mean of |y_true - y_pred|."""

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


@registry.register("metric", "mean_absolute_percentage_error", "mape", "MAPE")
class MeanAbsolutePercentageError(FunctionMetric):
    """Mean of 100 * |y_true - y_pred| / |y_true|."""

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


@registry.register("metric", "mean_squared_logarithmic_error", "msle", "MSLE")
class MeanSquaredLogarithmicError(FunctionMetric):
    """Mean of (log(1 + y_true) - log(1 + y_pred))**2."""

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


@registry.register("metric", "log_cosh_error")
class LogCoshError(FunctionMetric):
    """Mean of log(cosh(y_pred - y_true))."""

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.log_cosh, name, dtype)


@registry.register("metric", "poisson")
class Poisson(FunctionMetric):
    """Mean of y_pred - y_true * log(y_pred)."""

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.poisson, name, dtype)


@registry.register("metric", "kl_divergence")
class KLDivergence(FunctionMetric):
    """Mean over the rows of sum of y_true * log(y_true / y_pred)."""

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


@registry.register("metric", "hinge")
class Hinge(FunctionMetric):
    """Mean of max(1 - y_true * y_pred, 0), with targets of -1 or 1 (0 counts as -1)."""

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.hinge, name, dtype)


@registry.register("metric", "squared_hinge")
class SquaredHinge(FunctionMetric):
    """Mean of max(1 - y_true * y_pred, 0)**2, with targets of -1 or 1 (0 counts as -1)."""

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


@registry.register("metric", "categorical_hinge")
class CategoricalHinge(FunctionMetric):
    """Mean over the rows of max(best wrong score - right score + 1, 0), of one-hot targets."""

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)


@registry.register("metric", "cosine_similarity")
class CosineSimilarity(FunctionMetric):
    """Mean cosine of the angle between y_true and y_pred: 1 for the same direction (the loss is its negative).

    Args:
        axis: that the vectors lie along.
    """

    _direction = "up"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(_cosine_similarity, name, dtype, axis=axis)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if config["axis"] == -1:  # Keras's has none
            del config["axis"]
        return config


@registry.register("metric", "root_mean_squared_error")
class RootMeanSquaredError(Mean):
    """Square root of the mean of (y_true - y_pred)**2."""

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch."""
        y_true, y_pred = as_array(y_true), as_array(y_pred)
        if y_pred.ndim == 1:  # one number a sample
            y_true, y_pred = y_true.reshape(-1, 1), y_pred.reshape(-1, 1)
        super().update_state(losses.mean_squared_error(y_true, y_pred), sample_weight)

    def result(self) -> Any:
        return as_tensor(np.sqrt(super().result()))


@registry.register("metric", "categorical_crossentropy")
class CategoricalCrossentropy(FunctionMetric):
    """Mean cross-entropy of one-hot targets."""

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, dtype, **options)


@registry.register("metric", "sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(FunctionMetric):
    """Mean cross-entropy of integer labels."""

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **options)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch. With weights, ignored labels do not count; without, they count as 0, as in Keras."""
        ignored = self._fn_kwargs["ignore_class"]
        if sample_weight is not None and ignored is not None:
            rows = tuple(np.delete(np.shape(y_pred), self._fn_kwargs["axis"]))
            counted = np.reshape(backends.to_numpy(as_array(y_true)), rows) != ignored
            weights = np.asarray(backends.to_numpy(as_array(sample_weight)), self.dtype)
            one_a_sample = (-1, *(1,) * (counted.ndim - 1))
            sample_weight = counted * weights.reshape(rows if weights.size == counted.size else one_a_sample)
        super().update_state(y_true, y_pred, sample_weight)


@registry.register("metric", "binary_crossentropy", "bce", "BCE")
class BinaryCrossentropy(FunctionMetric):
    """Mean cross-entropy of 0/1 targets."""

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(losses.binary_crossentropy, name, dtype, **options)
