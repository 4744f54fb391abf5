"""Intersection over union: how far the areas that were marked as a class and those that are of it coincide."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import backends, config, registry
from minicnn.losses.targets import as_array
from minicnn.metrics.base import Metric
from minicnn.tensor import as_tensor


@registry.register("metric", "io_u")
class IoU(Metric):
    """Mean over classes of tp / (tp + fp + fn), counted in pixels; classes that never appear are left out.

    Args:
        num_classes: of targets and predictions, which are whole numbers below it; others do not count.
        target_class_ids: the classes to report.
        dtype: of the counts; default "int64".
        ignore_class: a target whose pixels do not count.
        sparse_y_true, sparse_y_pred: False where they hold a number for each class along `axis`, the largest the right one.
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(dtype or "int64", name)
        if max(target_class_ids) >= num_classes:
            raise ValueError(f"Target class id {max(target_class_ids)} is out of range, which is [0, {num_classes}).")
        self.num_classes, self.target_class_ids = num_classes, list(target_class_ids)
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.total_cm = self.add_variable((num_classes, num_classes), "zeros", name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch; `sample_weight`: one a pixel, or one an image."""
        true = self._classes(y_true, self.sparse_y_true)
        pred = self._classes(y_pred, self.sparse_y_pred).ravel()
        weights = None if sample_weight is None else self._weights(sample_weight, true.shape)
        true = true.ravel()
        counted = (true >= 0) & (true < self.num_classes) & (pred >= 0) & (pred < self.num_classes)
        if self.ignore_class is not None:
            counted &= true != self.ignore_class
        cells = (true * self.num_classes + pred)[counted]
        matrix = np.bincount(cells, None if weights is None else weights[counted], self.num_classes**2)
        self.total_cm.assign_add(matrix.reshape(self.num_classes, self.num_classes))

    def _classes(self, values: Any, sparse: bool) -> np.ndarray:
        values = np.asarray(backends.to_numpy(as_array(values)))
        return (values if sparse else values.argmax(axis=self.axis)).astype(np.int64)

    def _weights(self, sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray:
        weights = np.asarray(backends.to_numpy(as_array(sample_weight)))
        if weights.dtype.kind == "f" and "int" in self.dtype:
            warnings.warn(
                "You are passing weight as `float`, but dtype is `int`. This may result in an incorrect weight due to type "
                "casting. Consider using integer weights.",
                stacklevel=3,
            )
        weights = weights.astype(self.dtype)
        if weights.size != np.prod(shape):
            weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape)
        return weights.ravel()

    def result(self) -> Any:
        matrix = self.total_cm.numpy()
        hits = matrix.diagonal()
        union = (matrix.sum(axis=0) + matrix.sum(axis=1) - hits)[self.target_class_ids]
        shares = np.where(union > 1e-9, hits[self.target_class_ids] / (union + config.epsilon()), 0)
        return as_tensor(np.float32(shares.sum() / ((union > 1e-9).sum() + config.epsilon())))

    def _own_config(self, *arguments: str) -> dict[str, Any]:
        return {**super().get_config(), **{argument: getattr(self, argument) for argument in arguments}}

    def get_config(self) -> dict[str, Any]:
        return self._own_config("num_classes", "target_class_ids", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")


@registry.register("metric", "binary_io_u")
class BinaryIoU(IoU):
    """`IoU` of two classes: a probability of at least `threshold` is class 1.

    Args:
        target_class_ids: the classes to report: (0,), (1,) or both.
        threshold: of the probabilities.
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of 0/1 targets and probabilities."""
        y_pred = np.asarray(backends.to_numpy(as_array(y_pred)), np.float32)
        super().update_state(y_true, y_pred >= self.threshold, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return self._own_config("target_class_ids", "threshold")


@registry.register("metric", "mean_io_u")
class MeanIoU(IoU):
    """`IoU` of all classes; arguments as there."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return self._own_config("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")


@registry.register("metric", "one_hot_io_u")
class OneHotIoU(IoU):
    """`IoU` of one-hot targets and of a probability for each class; arguments as there."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return self._own_config("num_classes", "target_class_ids", "ignore_class", "sparse_y_pred", "axis")


@registry.register("metric", "one_hot_mean_io_u")
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot targets and of a probability for each class; arguments as there."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return self._own_config("num_classes", "ignore_class", "sparse_y_pred", "axis")
