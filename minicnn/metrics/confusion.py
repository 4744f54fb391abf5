"""Metrics of a two-class decision: counts of true and false positives and negatives, by threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import activations, backends, config, registry, serialization
from minicnn.losses.targets import as_array, match_ranks
from minicnn.metrics.base import Metric
from minicnn.tensor import as_tensor

_ALL = ("true_positives", "false_positives", "true_negatives", "false_negatives")


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator; 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _evenly_spaced(thresholds: Sequence[float]) -> bool:
    """Whether they are 0, 1/n, 2/n, ..., 1, for n of at least 2."""
    count = len(thresholds)
    return count > 2 and bool(np.allclose(thresholds, np.linspace(0, 1, count), atol=config.epsilon()))


def _sums(bins: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """For each threshold, the weight of the samples that lie above it, and of those that do not.

    Args:
        bins: (M, L), how many of the sorted thresholds a prediction exceeds. weights: (M, L).
        shape: (thresholds, L).

    Returns:
        Two arrays of `shape`.
    """
    thresholds, columns = shape
    cells = (bins * columns + np.arange(columns)).ravel()
    sums = np.bincount(cells, weights.ravel(), (thresholds + 1) * columns).reshape(thresholds + 1, columns)
    return sums[::-1].cumsum(axis=0)[::-1][1:], sums.cumsum(axis=0)[:-1]


class _ConfusionMetric(Metric):
    """Counts by threshold, each sample with its weight. A subclass sets `thresholds` and calls `_add_counts`."""

    _counts: tuple[str, ...] = _ALL
    thresholds: list[float]
    top_k: int | None = None
    class_id: int | None = None
    _by_column = False  # whether each column of the predictions is counted apart

    def _add_counts(self, *columns: int, names: Sequence[str] | None = None, clip: bool | None = None) -> None:
        """Create the counts, of shape (thresholds, *columns), under their own or other `names`.

        `clip`: whether predictions count as 0 to 1; in Keras they do where thresholds are evenly spaced.
        """
        self._clip = _evenly_spaced(self.thresholds) if clip is None else clip
        shape = (len(self.thresholds), *columns)
        self._cells = {
            count: self.add_variable(shape, "zeros", name=name) for count, name in zip(self._counts, names or self._counts)
        }
        for variable in self._cells.values():
            setattr(self, variable.name, variable)

    def _batch(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets, predictions and weights of one shape, of the class that is looked at."""
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
        return y_true, y_pred, weights

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: 0/1 targets and probabilities of one shape, and one weight a sample."""
        y_true, y_pred, weights = self._batch(y_true, y_pred, sample_weight)
        columns = y_pred.shape[-1] if self._by_column else 1
        order = np.argsort(np.asarray(self.thresholds, self.dtype), kind="stable")
        y_pred = np.where(np.isnan(y_pred), -np.inf, y_pred)  # which exceeds no threshold either
        if self._clip:
            y_pred = np.clip(y_pred, 0, 1)
        bins = np.searchsorted(np.asarray(self.thresholds, self.dtype)[order], y_pred).reshape(-1, columns)
        true, shape = (y_true != 0).reshape(-1, columns), (len(order), columns)
        weights = weights.reshape(-1, columns)
        sums = dict(zip(("true_positives", "false_negatives"), _sums(bins, weights * true, shape)))
        sums |= zip(("false_positives", "true_negatives"), _sums(bins, weights * ~true, shape))
        for count, variable in self._cells.items():
            by_threshold = np.empty(shape)
            by_threshold[order] = sums[count]
            variable.assign_add(by_threshold.reshape(variable.shape))

    def _rates(self) -> dict[str, np.ndarray]:
        tp, fp, tn, fn = (self._cells[count].numpy() for count in _ALL)
        return {
            "sensitivity": _ratio(tp, tp + fn),
            "recall": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "precision": _ratio(tp, tp + fp),
            "fall-out": _ratio(fp, fp + tn),
        }

    def _set_thresholds(self, thresholds: float | Sequence[float] | None, default: float) -> None:
        self.init_thresholds = thresholds
        given: Any = default if thresholds is None else thresholds
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        invalid = [each for each in given if thresholds is not None and (each is None or not 0 <= each <= 1)]
        if invalid:
            raise ValueError(f"Threshold values must be in [0, 1]. Received: {invalid}")
        self.thresholds = [float(each) for each in given]


class _Count(_ConfusionMetric):
    """The weight of one of the four cases."""

    def __init__(self, thresholds: float | Sequence[float] | None = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self._set_thresholds(thresholds, 0.5)
        self._add_counts(names=["accumulator"])

    def result(self) -> Any:
        count = self.accumulator.numpy()  # type: ignore[attr-defined]
        return as_tensor(count[0] if len(count) == 1 else count)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


@registry.register("metric", "true_positives")
class TruePositives(_Count):
    """How many positives were called so.

    Args:
        thresholds: above which a probability counts as positive; default 0.5. A list gives a list.
    """

    _counts = ("true_positives",)


@registry.register("metric", "false_positives")
class FalsePositives(_Count):
    """How many negatives were called positive; arguments as `TruePositives`."""

    _counts = ("false_positives",)


@registry.register("metric", "true_negatives")
class TrueNegatives(_Count):
    """How many negatives were called so; arguments as `TruePositives`."""

    _counts = ("true_negatives",)


@registry.register("metric", "false_negatives")
class FalseNegatives(_Count):
    """How many positives were called negative; arguments as `TruePositives`."""

    _counts = ("false_negatives",)


class _Rate(_ConfusionMetric):
    """true_positives / (true_positives + the other count)."""

    _direction = "up"

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self.top_k, self.class_id = top_k, class_id
        self._set_thresholds(thresholds, 0.5 if top_k is None else -1e10)  # of the k largest, all count
        self._add_counts()

    def result(self) -> Any:
        hits, others = (variable.numpy() for variable in self._cells.values())
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


class _BestRate(_ConfusionMetric):
    """The largest value of one rate among the thresholds where another one reaches what is demanded; 0 where none does.

    sensitivity = recall = tp / (tp + fn);  specificity = tn / (tn + fp);  precision = tp / (tp + fp)
    """

    _direction = "up"
    _demanded: str  # the rate, and the constructor's argument
    _reported: str

    def __init__(self, value: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"Argument `{self._demanded}` must be in the range [0, 1]. Received: {self._demanded}={value}")
        if num_thresholds <= 0:
            raise ValueError(f"Argument `num_thresholds` must be an integer > 0. Received: num_thresholds={num_thresholds}")
        super().__init__(dtype, name)
        self.value, self.num_thresholds, self.class_id = value, num_thresholds, class_id
        setattr(self, self._demanded, value)
        self.thresholds = [0.5] if num_thresholds == 1 else np.linspace(0, 1, num_thresholds).tolist()
        self._add_counts(clip=num_thresholds > 1)

    def result(self) -> Any:
        rates = self._rates()
        reached = rates[self._demanded] >= self.value
        return as_tensor(np.max(rates[self._reported], initial=0, where=reached))

    def get_config(self) -> dict[str, Any]:
        own = {"num_thresholds": self.num_thresholds, self._demanded: self.value, "class_id": self.class_id}
        return {**super().get_config(), **own}


@registry.register("metric", "sensitivity_at_specificity")
class SensitivityAtSpecificity(_BestRate):
    """The best share of positives found, where at least `specificity` of the negatives are called so.

    Args:
        specificity: in [0, 1].
        num_thresholds: how many, equally spaced over [0, 1]; 1 is 0.5 alone.
        class_id: look at this class only.
    """

    _demanded, _reported = "specificity", "sensitivity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


@registry.register("metric", "specificity_at_sensitivity")
class SpecificityAtSensitivity(_BestRate):
    """The best share of negatives called so, where at least `sensitivity` of the positives are found.

    Args:
        sensitivity: in [0, 1]. num_thresholds, class_id: as of `SensitivityAtSpecificity`.
    """

    _demanded, _reported = "sensitivity", "specificity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


@registry.register("metric", "precision_at_recall")
class PrecisionAtRecall(_BestRate):
    """The best precision, where at least `recall` of the positives are found.

    Args:
        recall: in [0, 1]. num_thresholds, class_id: as of `SensitivityAtSpecificity`.
    """

    _demanded, _reported = "recall", "precision"

    def __init__(
        self, recall: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)


@registry.register("metric", "recall_at_precision")
class RecallAtPrecision(_BestRate):
    """The best recall, where at least `precision` of what is called positive is.

    Args:
        precision: in [0, 1]. num_thresholds, class_id: as of `SensitivityAtSpecificity`.
    """

    _demanded, _reported = "precision", "recall"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)


@registry.register("metric", "auc")
class AUC(_ConfusionMetric):
    """Area under the ROC or the precision-recall curve, a sum over thresholds.

    Args:
        num_thresholds: how many, equally spaced over [0, 1].
        curve: "ROC", "PR", or "PRGAIN" (both rates as gains over the share of positives).
        summation_method: "interpolation" (trapezoids; for "PR" Davis & Goadrich 2006's
            interpolation), "minoring" or "majoring".
        thresholds: to be used in place of equally spaced ones.
        multi_label: one area for each column of the predictions, and their mean.
        num_labels: how many columns, where they shall be known before the first batch.
        label_weights: of the columns: in the mean of `multi_label`, or for all counts.
        from_logits: the predictions have not been through a sigmoid.

    Source: Flach & Kull 2015, "Precision-Recall-Gain Curves" (PRGAIN).
    """

    _direction = "up"

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
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        if str(curve).upper() not in ("ROC", "PR", "PRGAIN"):
            raise ValueError(f'Invalid AUC curve value: "{curve}". Expected values are ["PR", "ROC", "PRGAIN"]')
        if str(summation_method).lower() not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                f'Invalid AUC summation method value: "{summation_method}". '
                'Expected values are ["interpolation", "majoring", "minoring"]'
            )
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(f"Argument `num_thresholds` must be an integer > 1. Received: num_thresholds={num_thresholds}")
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is needed only when `multi_label` is True.")
        super().__init__(dtype, name)
        self.curve, self.summation_method, self.from_logits = str(curve).upper(), str(summation_method).lower(), from_logits
        self.multi_label, self.num_labels = multi_label, num_labels
        self.label_weights = None if label_weights is None else np.asarray(label_weights, self.dtype)
        self._by_column = multi_label
        self._given = thresholds is not None
        inner = np.linspace(0, 1, num_thresholds)[1:-1] if thresholds is None else sorted(thresholds)
        # One more threshold below 0 and one above 1, so that 0 and 1 themselves lie between two thresholds.
        self.thresholds = [-config.epsilon(), *(float(each) for each in inner), 1 + config.epsilon()]
        self.num_thresholds = len(self.thresholds)
        if num_labels or not multi_label:
            self._build((), (None, num_labels))

    def _build(self, y_true_shape: Any, y_pred_shape: Any) -> None:
        if self._variables:
            return
        if len(y_pred_shape) != 2:
            raise ValueError(
                f"`y_pred` must have rank 2 when `multi_label=True`. Found rank {len(y_pred_shape)}. "
                f"Full shape received for `y_pred`: {y_pred_shape}"
            )
        clip = not self._given or _evenly_spaced([0, *self.thresholds[1:-1], 1])
        self._add_counts(*y_pred_shape[1:] if self.multi_label else (), clip=clip)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        self._build(np.shape(y_true), np.shape(y_pred))
        super().update_state(y_true, activations.sigmoid(y_pred) if self.from_logits else y_pred, sample_weight)

    def _batch(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y_true, y_pred, weights = super()._batch(y_true, y_pred, sample_weight)
        return y_true, y_pred, weights if self.multi_label or self.label_weights is None else weights * self.label_weights

    def result(self) -> Any:
        if self.curve == "PR" and self.summation_method == "interpolation":
            steps = self._interpolated_pr()
        else:
            x, y = self._curve()
            below, above = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
            heights = {"interpolation": (below + above) / 2, "minoring": below, "majoring": above}
            steps = (x[:-1] - x[1:]) * heights[self.summation_method]
        areas = steps.sum(axis=0)
        if not self.multi_label:
            return as_tensor(areas)
        if self.label_weights is None:
            return as_tensor(areas.mean())
        return as_tensor(_ratio((areas * self.label_weights).sum(), self.label_weights.sum()))

    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """The curve's x and y at each threshold.

        recall gain = 1 - odds * fn / tp;  precision gain = 1 - odds * fp / tp;  odds = positives / negatives
        """
        rates = self._rates()
        if self.curve == "ROC":
            return rates["fall-out"], rates["recall"]
        if self.curve == "PR":
            return rates["recall"], rates["precision"]
        tp, fp, tn, fn = (self._cells[count].numpy() for count in _ALL)
        odds = _ratio(tp + fn, tn + fp)
        recall_gain = np.where(tp == 0, 0, 1 - odds * _ratio(fn, tp))
        return np.maximum(recall_gain, 0), np.where(tp == 0, 1, 1 - odds * _ratio(fp, tp))

    def _interpolated_pr(self) -> np.ndarray:
        """The integral of precision = tp / p over recall = tp / (tp + fn), step by step, where tp is linear in p = tp + fp.

        slope = dtp / dp;  intercept = tp - slope * p
        area of a step = slope * (dtp + intercept * log(p_before / p_after)) / (tp + fn)

        Source: Davis & Goadrich 2006, doi:10.1145/1143844.1143874.
        """
        tp, fp, _, fn = (self._cells[count].numpy() for count in _ALL)
        p = tp + fp
        dtp = tp[:-1] - tp[1:]
        slope = _ratio(dtp, np.maximum(p[:-1] - p[1:], 0))
        intercept = tp[1:] - slope * p[1:]
        ratio = np.where((p[:-1] > 0) & (p[1:] > 0), _ratio(p[:-1], p[1:]), 1)
        return _ratio(slope * (dtp + intercept * np.log(ratio)), tp[1:] + fn[1:])

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
        }
        return config | ({"thresholds": self.thresholds[1:-1]} if self._given else {})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AUC:
        return cls(
            **{**config, "label_weights": serialization.deserialize(config.get("label_weights"))}
        )  # Keras's are an array
