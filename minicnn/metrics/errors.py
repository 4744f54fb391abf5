"""The losses as metrics: their mean over an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import losses, registry
from minicnn.losses.targets import as_array
from minicnn.metrics.base import FunctionMetric, Mean
from minicnn.tensor import as_tensor

for _loss in losses.CLASSES:
    registry.register("metric function")(_loss)


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


@registry.register("metric", "root_mean_squared_error")
class RootMeanSquaredError(Mean):
    """Square root of the mean of (y_true - y_pred)**2."""

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
