"""Accuracies: how often the prediction is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, config, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.targets import as_array, as_floats, as_labels, cast, match_ranks, matrix_shape
from minicnn.metrics.base import FunctionMetric, Mean
from minicnn.tensor import as_tensor


def _check_shapes(name: str, y_true: Array, y_pred: Array, expected: tuple[int, ...]) -> None:
    if y_true.shape != expected:
        raise ValueError(f"{name}: y_true of shape {y_true.shape} does not fit predictions of shape {y_pred.shape}.")


def _without_unit_axis(labels: Array, y_pred: Array) -> Array:
    """Labels (N, 1) beside predictions (N, C) as (N,)."""
    return labels.reshape(labels.shape[:-1]) if labels.ndim == y_pred.ndim and labels.shape[-1] == 1 else labels


# --- one value a row, by the ops that a training step uses ------------------------------


def _categorical_matches(y_true: Any, y_pred: Any) -> Array:
    """1 where the largest prediction is the largest target; the shape of `y_pred` without its last axis."""
    predictions, targets = as_floats(y_pred), as_array(y_true)
    _check_shapes("categorical_accuracy", targets, predictions, predictions.shape)
    rows = matrix_shape(predictions.shape)
    matches = ops.categorical_matches(predictions.reshape(rows), cast(targets, predictions.dtype).reshape(rows))
    return matches.reshape(predictions.shape[:-1])


def _sparse_categorical_matches(y_true: Any, y_pred: Any) -> Array:
    """1 where the largest prediction is the label's."""
    predictions = as_floats(y_pred)
    labels = _without_unit_axis(as_array(y_true), predictions)
    _check_shapes("sparse_categorical_accuracy", labels, predictions, predictions.shape[:-1])
    rows = predictions.reshape(matrix_shape(predictions.shape))
    return ops.sparse_categorical_matches(rows, as_labels(labels)).reshape(predictions.shape[:-1])


def _binary_matches(y_true: Any, y_pred: Any, threshold: float) -> Array:
    """For each row, the share of its predictions that are on the target's side of the threshold."""
    targets, predictions = match_ranks(as_array(y_true), as_floats(y_pred))
    _check_shapes("binary_accuracy", targets, predictions, predictions.shape)
    rows = matrix_shape(predictions.shape) if predictions.ndim > 1 else (predictions.size, 1)
    targets = cast(targets, predictions.dtype).reshape(rows)
    matches = ops.binary_matches(predictions.reshape(rows), targets, threshold)
    return matches.reshape(predictions.shape[:-1]) if predictions.ndim > 1 else matches


# --- functions --------------------------------------------------------------------------


@registry.register("metric function")
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_true equals y_pred, element by element."""
    y_true, y_pred = match_ranks(*(np.asarray(backends.to_numpy(as_array(y))) for y in (y_true, y_pred)))
    return as_tensor((y_true == y_pred).astype(config.floatx()))


@registry.register("metric function")
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where (y_pred > threshold) equals y_true, element by element."""
    y_true, y_pred = match_ranks(*(np.asarray(backends.to_numpy(as_array(y))) for y in (y_true, y_pred)))
    return as_tensor(((y_pred > threshold) == y_true).astype(config.floatx()))


@registry.register("metric function")
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest prediction of a row is its largest target."""
    return as_tensor(_categorical_matches(y_true, y_pred))


@registry.register("metric function")
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest prediction of a row is its label's."""
    return as_tensor(_sparse_categorical_matches(y_true, y_pred))


@registry.register("metric function")
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where the largest target is among the k largest predictions of a row."""
    return sparse_top_k_categorical_accuracy(np.argmax(backends.to_numpy(as_array(y_true)), axis=-1), y_pred, k)


@registry.register("metric function")
def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Any:
    """1 where fewer than k predictions of a row exceed the label's; 0 where one of them is no finite number, as in Keras.

    Args:
        from_sorted_ids: `y_pred` holds class numbers, the likeliest first, in place of scores.
    """
    predictions = np.asarray(backends.to_numpy(as_array(y_pred)))
    labels = _without_unit_axis(np.asarray(backends.to_numpy(as_array(y_true))), predictions)
    _check_shapes("top_k_categorical_accuracy", labels, predictions, predictions.shape[:-1])
    if from_sorted_ids:
        matches = (labels[..., None] == predictions[..., :k]).any(axis=-1)
    else:
        score = np.take_along_axis(predictions, labels[..., None].astype(np.int64), axis=-1)
        matches = np.isfinite(predictions).all(axis=-1) & ((predictions > score).sum(axis=-1) < k)
    return as_tensor(matches.astype(config.floatx()))


# --- classes ----------------------------------------------------------------------------


@registry.register("metric", "accuracy")
class Accuracy(FunctionMetric):
    """How often predictions equal labels; compile's "accuracy" is not this one, see `resolve`."""

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


@registry.register("metric", "binary_accuracy")
class BinaryAccuracy(FunctionMetric):
    """How often a probability is on the right side of `threshold`."""

    _direction = "up"

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return _binary_matches(y_true, y_pred, self._fn_kwargs["threshold"])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch; weights may be one a sample, or one a prediction."""
        shape = np.shape(sample_weight)
        if len(shape) > 1 and len(shape) == np.ndim(y_pred) and shape[-1] > 1:
            Mean.update_state(self, binary_accuracy(y_true, y_pred, self._fn_kwargs["threshold"]), sample_weight)
        else:
            super().update_state(y_true, y_pred, sample_weight)


@registry.register("metric", "categorical_accuracy")
class CategoricalAccuracy(FunctionMetric):
    """How often the likeliest class is the one-hot target's."""

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return _categorical_matches(y_true, y_pred)


@registry.register("metric", "sparse_categorical_accuracy")
class SparseCategoricalAccuracy(FunctionMetric):
    """How often the likeliest class is the integer label's."""

    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return _sparse_categorical_matches(y_true, y_pred)


@registry.register("metric", "top_k_categorical_accuracy")
class TopKCategoricalAccuracy(FunctionMetric):
    """How often the one-hot target's class is among the k likeliest."""

    _direction = "up"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


@registry.register("metric", "sparse_top_k_categorical_accuracy")
class SparseTopKCategoricalAccuracy(FunctionMetric):
    """How often the integer label is among the k likeliest classes."""

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if not config["from_sorted_ids"]:
            del config["from_sorted_ids"]
        return config
