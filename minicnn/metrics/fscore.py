"""F-scores: precision and recall in one number, for each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, config, registry
from minicnn.losses.targets import Shape, as_array
from minicnn.metrics.base import Metric
from minicnn.tensor import as_tensor


@registry.register("metric", "f_beta_score")
class FBetaScore(Metric):
    """(1 + beta**2) * precision * recall / (beta**2 * precision + recall), of targets and predictions (N, classes).

    Args:
        average: None for a score for each class; "macro" for their mean, "weighted" for one weighted by how many samples
            a class has, "micro" for the score of all counts together.
        beta: recall counts beta times as much as precision.
        threshold: above which a probability counts as positive; None: the largest of a row does.
    """

    _direction = "up"
    _names = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                "Invalid `average` argument value. Expected one of: {None, 'micro', 'macro', 'weighted'}. "
                f"Received: average={average}"
            )
        if not isinstance(beta, float):
            raise ValueError(
                f"Invalid `beta` argument value. It should be a Python float. Received: beta={beta} of type '{type(beta)}'"
            )
        if beta <= 0.0:
            raise ValueError(f"Invalid `beta` argument value. It should be > 0. Received: beta={beta}")
        if threshold is not None and not isinstance(threshold, float):
            raise ValueError(
                "Invalid `threshold` argument value. It should be a Python float. "
                f"Received: threshold={threshold} of type '{type(threshold)}'"
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(
                f"Invalid `threshold` argument value. It should verify 0 < threshold <= 1. Received: threshold={threshold}"
            )
        self.average, self.beta, self.threshold = average, beta, threshold

    def _build(self, y_true_shape: Shape, y_pred_shape: Shape) -> None:
        if self._variables:
            return
        is_open = None in (y_pred_shape[-1], y_true_shape[-1])
        if len(y_pred_shape) != 2 or len(y_true_shape) != 2 or is_open:
            raise ValueError(
                "FBetaScore expects 2D inputs with shape (batch_size, output_dim)"
                f"{', with output_dim fully defined (not None)' if is_open else ''}. Received input "
                f"shapes: y_pred.shape={y_pred_shape} and y_true.shape={y_true_shape}."
            )
        shape = () if self.average == "micro" else y_pred_shape[1:]
        for name in self._names:
            setattr(self, name, self.add_variable(shape, "zeros", name=name))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: 0/1 targets and probabilities, both (N, classes), and one weight a sample."""
        y_true, y_pred = (np.asarray(backends.to_numpy(as_array(y)), self.dtype) for y in (y_true, y_pred))
        self._build(y_true.shape, y_pred.shape)
        if self.threshold is None:
            called = (y_pred >= y_pred.max(axis=-1, keepdims=True)) & (abs(y_pred) > 1e-9)
        else:
            called = y_pred > self.threshold
        weights = np.ones(1) if sample_weight is None else backends.to_numpy(as_array(sample_weight))
        weights = np.reshape(weights, (-1, 1))
        axis = None if self.average == "micro" else 0
        counted = called * y_true, called * (1 - y_true), ~called * y_true, y_true
        for variable, values in zip(self._variables, counted):
            variable.assign_add((values * weights).sum(axis=axis))

    def result(self) -> Any:
        hits, invented, missed, counts = (variable.numpy() for variable in self._variables)
        precision = hits / (hits + invented + config.epsilon())
        recall = hits / (hits + missed + config.epsilon())
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + config.epsilon())
        if self.average == "weighted":
            score = (score * (counts / (counts.sum() + config.epsilon()))).sum()
        elif self.average is not None:
            score = score.mean()
        return as_tensor(np.asarray(score, self.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "average": self.average, "beta": self.beta, "threshold": self.threshold}


@registry.register("metric", "f1_score")
class F1Score(FBetaScore):
    """`FBetaScore` with beta=1: the harmonic mean of precision and recall; arguments as there."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config
