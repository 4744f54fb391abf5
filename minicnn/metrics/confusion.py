"""Metrics of a two-class decision: counts of true and false positives and negatives, by threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import activations, backends, config, registry
from minicnn.losses.targets import as_array, match_ranks
from minicnn.metrics.base import Metric
from minicnn.tensor import as_tensor


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator; 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


class _ConfusionMetric(Metric):
    """Counts by threshold, each sample with its weight. `self.thresholds` is set by the subclass."""

    _counts: tuple[str, ...]  # of "true_positives", "false_positives", "true_negatives", "false_negatives"
    thresholds: list[float]
    top_k: int | None = None
    class_id: int | None = None

    def _add_counts(self) -> None:
        for count in self._counts:
            setattr(self, count, self.add_variable((len(self.thresholds),), "zeros", name=count))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: 0/1 targets and probabilities of one shape, and one weight a sample."""
        y_pred, y_true = match_ranks(*(np.asarray(backends.to_numpy(as_array(y)), self.dtype) for y in (y_pred, y_true)))
        if y_true.shape != y_pred.shape:
            raise ValueError(f"{self.name}: y_true of shape {y_true.shape} does not fit predictions of shape {y_pred.shape}.")
        weights = np.asarray(1.0 if sample_weight is None else backends.to_numpy(as_array(sample_weight)), self.dtype)
        if y_pred.ndim == 1 and weights.ndim == 2:
            weights = weights[:, 0]
        weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (y_pred.ndim - weights.ndim)), y_pred.shape)
        if self.top_k is not None:  # the others never count as positive
            largest = np.argsort(-y_pred, axis=-1, kind="stable")[..., : self.top_k]
            chosen = np.full_like(y_pred, -np.inf)
            np.put_along_axis(chosen, largest, np.take_along_axis(y_pred, largest, -1), -1)
            y_pred = chosen
        if self.class_id is not None:
            if y_pred.ndim == 1:
                raise ValueError(
                    "When class_id is provided, y_pred must be a 2D array with shape (num_samples, num_classes), "
                    f"found shape: {y_pred.shape}"
                )
            y_true, y_pred, weights = (values[..., self.class_id] for values in (y_true, y_pred, weights))
        positive = y_pred.ravel() > np.asarray(self.thresholds, self.dtype)[:, None]
        true = y_true.ravel() != 0
        cells = {
            "true_positives": positive & true,
            "false_positives": positive & ~true,
            "true_negatives": ~positive & ~true,
            "false_negatives": ~positive & true,
        }
        for count in self._counts:
            getattr(self, count).assign_add(cells[count] @ weights.ravel())


class _Rate(_ConfusionMetric):
    """true_positives / (true_positives + the other count)."""

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self.init_thresholds = thresholds
        self.top_k, self.class_id = top_k, class_id
        default = 0.5 if top_k is None else -1e10  # of the k largest, all count
        given = default if thresholds is None else thresholds
        self.thresholds = [float(each) for each in given] if isinstance(given, (list, tuple)) else [float(given)]  # type: ignore[arg-type]
        if thresholds is not None:
            invalid = [each for each in self.thresholds if not 0 <= each <= 1]
            if invalid:
                raise ValueError(f"Threshold values must be in [0, 1]. Received: {invalid}")
        self._add_counts()

    def result(self) -> Any:
        hits, others = (getattr(self, count).numpy() for count in self._counts)
        rate = _ratio(hits, hits + others)
        return as_tensor(rate[0] if len(rate) == 1 else rate)

    def get_config(self) -> dict[str, Any]:
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


@registry.register("metric", "precision")
class Precision(_Rate):
    """Of what was called positive, how much is.

    Args:
        thresholds: above which a probability counts as positive; default 0.5. A list gives a list.
        top_k: count the k largest of a row as positive instead.
        class_id: look at this class only.
    """

    _counts = ("true_positives", "false_positives")


@registry.register("metric", "recall")
class Recall(_Rate):
    """Of what is positive, how much was called so; arguments as `Precision`."""

    _counts = ("true_positives", "false_negatives")


@registry.register("metric", "auc")
class AUC(_ConfusionMetric):
    """Area under the ROC or the precision-recall curve, a sum over thresholds.

    Args:
        num_thresholds: how many, equally spaced over [0, 1].
        curve: "ROC" or "PR".
        summation_method: "interpolation" (trapezoids; for "PR" Davis & Goadrich 2006's
            interpolation), "minoring" or "majoring".
        thresholds: to be used in place of equally spaced ones.
        from_logits: the predictions have not been through a sigmoid.
        multi_label, num_labels, label_weights: Keras's, not supported.
    """

    _counts = ("true_positives", "false_positives", "true_negatives", "false_negatives")

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        if multi_label or num_labels is not None or label_weights is not None:
            raise ValueError("AUC: the arguments `multi_label`, `num_labels` and `label_weights` are not supported by minicnn.")
        if str(curve).upper() not in ("ROC", "PR"):
            raise ValueError(f'Invalid `curve` argument value "{curve}". Expected one of: "ROC", "PR"')
        if str(summation_method).lower() not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                f'Invalid `summation_method` argument value "{summation_method}". '
                'Expected one of: "interpolation", "minoring", "majoring"'
            )
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(f"Argument `num_thresholds` must be an integer > 1. Received: num_thresholds={num_thresholds}")
        super().__init__(dtype, name)
        self.curve, self.summation_method, self.from_logits = str(curve).upper(), str(summation_method).lower(), from_logits
        self._given = thresholds is not None
        inner = np.linspace(0, 1, num_thresholds)[1:-1] if thresholds is None else sorted(thresholds)
        # One more threshold below 0 and one above 1, so that 0 and 1 themselves lie between two thresholds.
        self.thresholds = [-config.epsilon(), *(float(each) for each in inner), 1 + config.epsilon()]
        self.num_thresholds = len(self.thresholds)
        self._add_counts()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        super().update_state(y_true, activations.sigmoid(y_pred) if self.from_logits else y_pred, sample_weight)

    def result(self) -> Any:
        tp, fp, tn, fn = (getattr(self, count).numpy() for count in self._counts)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return as_tensor(self._interpolated_pr(tp, fp, fn))
        recall = _ratio(tp, tp + fn)
        x, y = (_ratio(fp, fp + tn), recall) if self.curve == "ROC" else (recall, _ratio(tp, tp + fp))
        below, above = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
        heights = {"interpolation": (below + above) / 2, "minoring": below, "majoring": above}
        return as_tensor(np.sum((x[:-1] - x[1:]) * heights[self.summation_method]))

    @staticmethod
    def _interpolated_pr(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> Any:
        """The integral of precision = tp / p over recall = tp / (tp + fn), where tp is linear in p = tp + fp.

        slope = dtp / dp;  intercept = tp - slope * p
        area of a step = slope * (dtp + intercept * log(p_before / p_after)) / (tp + fn)

        Source: Davis & Goadrich 2006, doi:10.1145/1143844.1143874.
        """
        p = tp + fp
        dtp = tp[:-1] - tp[1:]
        slope = _ratio(dtp, np.maximum(p[:-1] - p[1:], 0))
        intercept = tp[1:] - slope * p[1:]
        ratio = np.where((p[:-1] > 0) & (p[1:] > 0), _ratio(p[:-1], p[1:]), 1)
        return np.sum(_ratio(slope * (dtp + intercept * np.log(ratio)), tp[1:] + fn[1:]))

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": False,
            "num_labels": None,
            "label_weights": None,
            "from_logits": self.from_logits,
        }
        return config | ({"thresholds": self.thresholds[1:-1]} if self._given else {})
