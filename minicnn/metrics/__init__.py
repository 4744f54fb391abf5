"""Metrics: what is reported of training, and summed up over an epoch.

`metric.update_state(y_true, y_pred, sample_weight=None)` adds a batch, `metric.result()` is the
value so far, `metric.reset_state()` starts again. The metrics of a training step (means,
accuracies, losses) are summed by ops and allocate no memory.
"""

from __future__ import annotations

from typing import Any

from minicnn import registry, serialization
from minicnn.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    mean_absolute_error,
    mean_squared_error,
    sparse_categorical_crossentropy,
)
from minicnn.losses.targets import Shape, target_kind
from minicnn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from minicnn.metrics.base import Mean, MeanMetricWrapper, Metric, Sum
from minicnn.metrics.confusion import AUC, Precision, Recall
from minicnn.metrics.errors import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
)

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "Sum",
    "TopKCategoricalAccuracy",
    "binary_accuracy",
    "binary_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "mean_absolute_error",
    "mean_squared_error",
    "resolve",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]

get, serialize, deserialize = serialization.functions_of("metric")


_ACCURACIES: dict[str, type[Metric]] = {
    "binary": BinaryAccuracy,
    "sparse": SparseCategoricalAccuracy,
    "categorical": CategoricalAccuracy,
}


def resolve(identifier: Any, y_true_shape: Shape, y_pred_shape: Shape) -> Metric:
    """What `compile(metrics=[identifier])` reports: always a `Metric`, under the name it was asked for.

    Args:
        identifier: as for `get`; "accuracy" or "acc" is the accuracy that the shapes of a batch
            make sense for, as in Keras.
        y_true_shape, y_pred_shape: of a batch.
    """
    if identifier is None:
        raise ValueError("Expected metric, received `None`")
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        metric: Any = _ACCURACIES[target_kind(y_true_shape, y_pred_shape)]()
    else:
        metric = get(identifier)
    name = getattr(metric, "name", None) or registry.snake_case(getattr(metric, "__name__", type(metric).__name__))
    if not isinstance(metric, Metric):
        metric = MeanMetricWrapper(metric, name)
    metric.name = identifier if isinstance(identifier, str) else name
    return metric
