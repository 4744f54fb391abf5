"""Categorical, sparse categorical and binary cross-entropy, of probabilities and of logits."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from minicnn import config, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.losses.base import RowLoss
from minicnn.losses.targets import as_array, as_labels, cast, check_labels


class _CrossEntropy(RowLoss):
    """What the cross-entropies share: `from_logits`, and the pass on logits.

    Where a model ends in softmax (sigmoid for the binary one), the two derivatives cancel to
    a difference; so training takes the loss `on_logits` of what entered that activation.
    """

    _activation: str
    _broadcasts = False
    _own_arguments: tuple[str, ...] = ("from_logits", "label_smoothing", "axis")

    def __init__(self, name: str | None, reduction: str | None, dtype: Any, from_logits: bool, axis: int) -> None:
        if isinstance(axis, bool):
            raise ValueError(f"`axis` must be of type `int`. Received: axis={axis} of type {type(axis)}")
        super().__init__(name, reduction, dtype)
        self.from_logits = from_logits
        self.axis = axis

    def on_logits(self) -> _CrossEntropy:
        """This loss, of what enters the activation that it belongs to."""
        if self.from_logits:
            warnings.warn(
                f'"`{self.name}` received `from_logits=True`, but the `output` argument was produced by a '
                f'{self._activation} activation and thus does not represent logits. Was this intended?"',
                stacklevel=2,
            )
        twin = copy.copy(self)
        twin.from_logits = True
        return twin

    def probabilities(self, saved: Any) -> Array:
        """What the activation makes of the logits, from what `forward` saved: the model's output."""
        return saved[0].reshape(saved[-1])


def _smooth(targets: Array, label_smoothing: float, share: float) -> Array:
    """targets * (1 - label_smoothing) + label_smoothing * share."""
    return ops.rescale(targets, 1.0 - label_smoothing, label_smoothing * share) if label_smoothing else targets


@registry.register("loss")
class CategoricalCrossentropy(_CrossEntropy):
    """Cross-entropy of one-hot targets: loss[m] = -sum over c of y_true * log(y_pred).

    Args:
        from_logits: `y_pred` has not been through softmax.
        label_smoothing: s in [0, 1): targets become y_true * (1 - s) + s / C.
        axis: of the classes.
    """

    _activation = "Softmax"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype, from_logits, axis)
        self.label_smoothing = label_smoothing

    def _targets(self, y_true: Any, y_pred: Array) -> tuple[Array, Array]:
        if y_pred.shape[-1] == 1:
            warnings.warn(
                f"In loss {self.name}, expected y_pred.shape to be (batch_size, num_classes) with num_classes > 1. "
                f"Received: y_pred.shape={y_pred.shape}. Consider using 'binary_crossentropy' if you only have 2 classes.",
                SyntaxWarning,
                stacklevel=4,
            )
        targets, predictions = super()._targets(y_true, y_pred)
        return _smooth(targets, self.label_smoothing, 1 / targets.shape[1]), predictions

    def _hint(self, y_true: Array, y_pred: Array) -> str:
        if y_true.shape in (y_pred.shape[:-1], (*y_pred.shape[:-1], 1)):
            return ". For integer labels use 'sparse_categorical_crossentropy', or `utils.to_categorical(labels)`."
        return ""

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        if self.from_logits:
            return ops.softmax_cross_entropy_forward(predictions, targets)
        return ops.cross_entropy_forward(predictions, targets, config.epsilon()), predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        if self.from_logits:
            return ops.softmax_cross_entropy_backward(residual, targets, weights)
        return ops.cross_entropy_backward(residual, targets, weights, config.epsilon())


@registry.register("loss")
class BinaryCrossentropy(_CrossEntropy):
    """Cross-entropy of 0/1 targets: loss[m] = -mean over c of (t log p + (1 - t) log(1 - p)).

    Args:
        from_logits: `y_pred` has not been through a sigmoid.
        label_smoothing: s in [0, 1): targets become y_true * (1 - s) + s / 2.
        axis: that the mean is over.
    """

    _activation = "Sigmoid"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype, from_logits, axis)
        self.label_smoothing = label_smoothing

    def _targets(self, y_true: Any, y_pred: Array) -> tuple[Array, Array]:
        targets, predictions = super()._targets(y_true, y_pred)
        return _smooth(targets, self.label_smoothing, 1 / 2), predictions

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        if self.from_logits:
            return ops.sigmoid_cross_entropy_forward(predictions, targets), predictions
        return ops.binary_cross_entropy_forward(predictions, targets, config.epsilon()), predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        if self.from_logits:
            return ops.sigmoid_cross_entropy_backward(residual, targets, weights)
        return ops.binary_cross_entropy_backward(residual, targets, weights, config.epsilon())

    def probabilities(self, saved: Any) -> Array:
        return ops.sigmoid_forward(saved[0]).reshape(saved[-1])


class LabelLoss(RowLoss):
    """A loss of integer labels (N,) or (N, 1), beside predictions that have one number a class."""

    ignore_class: int | None = None

    def _targets(self, y_true: Any, y_pred: Array) -> tuple[Array, Array]:
        """The labels (M,), beside the predictions."""
        labels = as_array(y_true)
        if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
            labels = labels.reshape(labels.shape[:-1])
        if labels.ndim != y_pred.ndim - 1:
            raise ValueError(
                f"{self.name}: Argument `output` must have rank (ndim) `target.ndim - 1`. "
                f"Received: target.shape={labels.shape}, output.shape={y_pred.shape}"
                ". For one-hot targets use 'categorical_crossentropy'."
            )
        if labels.shape != y_pred.shape[:-1]:
            raise ValueError(
                f"{self.name}: Arguments `target` and `output` must have the same shape up until the last dimension: "
                f"target.shape={labels.shape}, output.shape={y_pred.shape}"
            )
        if isinstance(labels, np.ndarray):
            self.check_targets(labels, y_pred.shape)
        ignored = self._ignored(labels, None)
        if ignored is not None:
            labels = labels * ~ignored  # as class 0, which is one; its weight is 0
        return as_labels(labels), y_pred

    def check_targets(self, y_true: np.ndarray, y_pred_shape: Any) -> None:
        check_labels(y_true, y_pred_shape[-1], self.name, self.ignore_class)

    def _ignored(self, y_true: Any, losses: Any) -> Array | None:
        if self.ignore_class is None:
            return None
        ignored = as_array(y_true) == self.ignore_class
        return ignored.reshape(ignored.shape[:-1]) if ignored.ndim > 1 and ignored.shape[-1] == 1 else ignored


@registry.register("loss")
class SparseCategoricalCrossentropy(LabelLoss, _CrossEntropy):
    """Cross-entropy of integer labels (N,) or (N, 1): loss[m] = -log(y_pred[m, label[m]]).

    Probabilities are clipped to [epsilon, 1 - epsilon] and then divided by their sum, as Keras
    does here (and the other way round in `CategoricalCrossentropy`).

    Args:
        from_logits: `y_pred` has not been through softmax.
        ignore_class: a label that counts as no sample at all.
        axis: of the classes; -1 only.
        label_smoothing: s in [0, 1): as of `CategoricalCrossentropy` with the labels' one-hot vectors. (Keras has it there
            only.)
    """

    _activation = "Softmax"
    _own_arguments = ("from_logits", "ignore_class")

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name, reduction, dtype, from_logits, axis)
        if axis != -1:
            raise ValueError(f"Only axis=-1 is currently supported. Received: axis={axis}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1). Received: label_smoothing={label_smoothing}")
        self.ignore_class = ignore_class
        self.label_smoothing = label_smoothing

    def _targets(self, y_true: Any, y_pred: Array) -> tuple[Array, Array]:
        labels, predictions = super()._targets(y_true, y_pred)
        if not self.label_smoothing:
            return labels, predictions
        classes = y_pred.shape[-1]
        one_hot = cast(labels[:, None] == np.arange(classes, like=labels), y_pred.dtype)
        return _smooth(one_hot, self.label_smoothing, 1 / classes), predictions

    def _of_logits(self, direction: str) -> Any:
        """The op on logits, of labels or, where these are smoothed, of vectors."""
        return getattr(ops, f"{'' if self.label_smoothing else 'sparse_'}softmax_cross_entropy_{direction}")

    def _forward_rows(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        if self.from_logits:
            return self._of_logits("forward")(predictions, targets)
        logits = self._clip(predictions)
        losses, _ = self._of_logits("forward")(np.log(logits, out=logits), targets)
        return losses, predictions

    def _backward_rows(self, residual: Array, targets: Array, weights: Array) -> Array:
        """On probabilities p: softmax(log(clip(p))) - onehot, divided by p inside the clip's bounds, 0 outside."""
        if self.from_logits:
            return self._of_logits("backward")(residual, targets, weights)
        p = self._clip(residual)
        inside = np.equal(p, residual, out=ops.rescale(residual, 1.0, 0.0), casting="unsafe")
        logits = ops.rescale(p, 1.0, 0.0)
        _, probabilities = self._of_logits("forward")(np.log(logits, out=logits), targets)
        dlogits = self._of_logits("backward")(probabilities, targets, weights)
        dlogits /= p
        dlogits *= inside
        return dlogits

    def get_config(self) -> dict[str, Any]:
        smoothing = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}  # which Keras does not know
        return {**super().get_config(), **smoothing}

    @staticmethod
    def _clip(probabilities: Array) -> Array:
        """A copy in [epsilon, 1 - epsilon]."""
        p = ops.rescale(probabilities, 1.0, 0.0)
        np.maximum(p, config.epsilon(), out=p)
        return np.minimum(p, 1 - config.epsilon(), out=p)


@registry.register("loss")
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """Cross-entropy of one-hot targets, one loss a row; see `CategoricalCrossentropy`."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


@registry.register("loss")
def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """Cross-entropy of integer labels, one loss a row; see `SparseCategoricalCrossentropy`."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis).call(y_true, y_pred)


@registry.register("loss", "bce", "BCE")
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """Cross-entropy of 0/1 targets, one loss a row; see `BinaryCrossentropy`."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)
