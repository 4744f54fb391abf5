"""How closely predictions follow targets: the explained share of the variance, and two correlations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from minicnn import backends, config, registry
from minicnn.losses.targets import Shape, as_array, match_ranks
from minicnn.metrics.base import FunctionMetric, Metric
from minicnn.tensor import as_tensor


def _pair(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    y_pred = np.asarray(backends.to_numpy(as_array(y_pred)))
    return match_ranks(np.asarray(backends.to_numpy(as_array(y_true)), y_pred.dtype), y_pred)


@registry.register("metric function")
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Mean over `axis` of the product of both, each less its mean and divided by its standard deviation: from -1 to 1.

    NaN where one of them is constant.
    """
    y_true, y_pred = ((y - y.mean(axis=axis, keepdims=True)) for y in _pair(y_true, y_pred))
    with np.errstate(invalid="ignore", divide="ignore"):
        return as_tensor(np.mean(y_true * y_pred, axis=axis) / (y_true.std(axis=axis) * y_pred.std(axis=axis)))


@registry.register("metric function")
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """2 * covariance / (var(y_true) + var(y_pred) + (mean(y_true) - mean(y_pred))**2): 1 only where both are equal.

    Source: Lin 1989, doi:10.2307/2532051.
    """
    y_true, y_pred = _pair(y_true, y_pred)
    mean_true, mean_pred = y_true.mean(axis=axis, keepdims=True), y_pred.mean(axis=axis, keepdims=True)
    covariance = np.mean((y_true - mean_true) * (y_pred - mean_pred), axis=axis)
    apart = np.squeeze(mean_true - mean_pred, axis) ** 2
    return as_tensor(2 * covariance / (y_true.var(axis=axis) + y_pred.var(axis=axis) + apart + config.epsilon()))


@registry.register("metric", "pearson_correlation")
class PearsonCorrelation(FunctionMetric):
    """Mean of `pearson_correlation`.

    Args:
        axis: along which targets and predictions are compared.
    """

    _direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)


@registry.register("metric", "concordance_correlation")
class ConcordanceCorrelation(FunctionMetric):
    """Mean of `concordance_correlation`; arguments as `PearsonCorrelation`."""

    _direction = "up"

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)


@registry.register("metric", "r2_score")
class R2Score(Metric):
    """1 - sum of (y_true - y_pred)**2 / sum of (y_true - mean)**2, for each column of (N, outputs).

    Args:
        class_aggregation: "uniform_average" of the columns, "variance_weighted_average" (by the columns' variances), or
            None for a score each.
        num_regressors: of how many independent variables the prediction is made, for the adjusted score; 0 for the plain
            one.
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        valid = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in valid:
            raise ValueError(
                f"Invalid value for argument `class_aggregation`. Expected one of {valid}. "
                f"Received: class_aggregation={class_aggregation}"
            )
        if num_regressors < 0:
            raise ValueError(
                f"Invalid value for argument `num_regressors`. Expected a value >= 0. Received: num_regressors={num_regressors}"
            )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable(name="num_samples")

    def _build(self, y_true_shape: Shape, y_pred_shape: Shape) -> None:
        if len(self._variables) > 1:
            return
        if len(y_pred_shape) != 2 or len(y_true_shape) != 2:
            raise ValueError(
                "R2Score expects 2D inputs with shape (batch_size, output_dim). Received input "
                f"shapes: y_pred.shape={y_pred_shape} and y_true.shape={y_true_shape}."
            )
        columns = y_pred_shape[1:]
        self.squared_sum = self.add_variable(columns, name="squared_sum")
        self.sum = self.add_variable(columns, name="sum")
        self.total_mse = self.add_variable(columns, name="residual")
        self.count = self.add_variable(columns, name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of targets and predictions (N, outputs), and one weight a sample or a number."""
        y_pred, y_true = (np.asarray(backends.to_numpy(as_array(y)), self.dtype) for y in (y_pred, y_true))
        y_true, y_pred = match_ranks(y_true, y_pred)
        self._build(y_true.shape, y_pred.shape)
        weights = np.asarray(1 if sample_weight is None else backends.to_numpy(as_array(sample_weight)), self.dtype)
        weights = np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, y_true.shape)
        self.sum.assign_add((y_true * weights).sum(axis=0))
        self.squared_sum.assign_add((y_true**2 * weights).sum(axis=0))
        self.total_mse.assign_add(((y_true - y_pred) ** 2 * weights).sum(axis=0))
        self.count.assign_add(weights.sum(axis=0))
        self.num_samples.assign_add(y_true.size)

    def result(self) -> Any:
        with np.errstate(invalid="ignore", divide="ignore"):
            total = self.squared_sum - self.sum * (self.sum / self.count)
            scores = 1 - self.total_mse / total
            scores = np.where(np.isinf(scores), 0, scores)
            if self.class_aggregation == "uniform_average":
                scores = scores.mean()
            elif self.class_aggregation == "variance_weighted_average":
                scores = (total * scores).sum() / total.sum()
        return as_tensor(np.asarray(self._adjusted(scores), self.dtype))

    def _adjusted(self, score: Any) -> Any:
        """1 - (1 - score) * (n - 1) / (n - p - 1), for n numbers and p regressors."""
        freedom = float(self.num_samples) - self.num_regressors - 1
        if self.num_regressors == 0:
            return score
        if freedom <= 0:
            cause = (
                "Division by zero in Adjusted R2 score"
                if freedom == 0
                else ("More independent predictors than datapoints in adjusted R2 score")
            )
            warnings.warn(f"{cause}. Falling back to standard R2 score.", stacklevel=3)
            return score
        return 1 - (1 - score) * (float(self.num_samples) - 1) / freedom

    def get_config(self) -> dict[str, Any]:
        own = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **own}
