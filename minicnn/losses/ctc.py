"""Connectionist temporal classification: a loss of sequences whose labels have no place in time."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, registry
from minicnn.backends import ops
from minicnn.losses.base import Loss
from minicnn.losses.targets import Array, as_array, check_labels

__all__ = ["CTC", "ctc"]

_BLANK = 0


def _check_shapes(y_true: Any, y_pred: Any) -> None:
    if len(y_true.shape) != 2:
        raise ValueError(
            "Targets `y_true` are expected to be a tensor of shape `(batch_size, max_length)` in integer format. "
            f"Received: y_true.shape={tuple(y_true.shape)}"
        )
    if len(y_pred.shape) != 3:
        raise ValueError(
            "Logits `y_pred` are expected to be a tensor of shape `(batch_size, max_length, num_classes)`. "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )


@registry.register("loss")
def ctc(y_true: Any, y_pred: Any) -> Any:
    """-log of the probability that the steps spell the labels: see `ops.ctc_loss`. One loss a sample.

    Args:
        y_true: (N, L), labels from 1 on; 0 is the blank, and fills up what is shorter than L.
        y_pred: (N, T, C), logits.
    """
    _check_shapes(y_true, y_pred)
    names = ("add", "cast", "ctc_loss", "full_like", "not_equal", "sum", "_size_of_axis")
    add, cast, ctc_loss, full_like, not_equal, total, size = (registry.operation(name) for name in names)
    label_length = total(cast(not_equal(y_true, _BLANK), "int32"), -1)
    steps = add(full_like(label_length, 0), size(y_pred, 1))
    return ctc_loss(y_true, y_pred, label_length, steps, _BLANK)


@registry.register("loss")
class CTC(Loss):
    """See `ctc`.

    Args:
        reduction, name, dtype: as of any `Loss`.
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "ctc", dtype: Any = None) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ctc(y_true, y_pred)

    def forward(self, y_true: Any, y_pred: Array, sample_weight: Any = None, mask: Any = None) -> tuple[Array, Any]:
        _check_shapes(as_array(y_true), y_pred)
        labels = np.asarray(backends.to_numpy(as_array(y_true))).astype(np.int32)
        check_labels(labels.reshape(-1), y_pred.shape[2], self.name)
        lengths = (labels != _BLANK).sum(axis=1), np.full(len(labels), y_pred.shape[1])
        labels, *counts = (backends.asarray(one, np.int32) for one in (labels, *lengths))
        losses, log_p, alpha = ops.ctc_forward(y_pred, labels, *counts, _BLANK)
        weights = self._weights(losses.shape, sample_weight, y_pred.dtype, self._left_out(losses.shape, None, mask))
        return self._total(losses, weights), (log_p, alpha, labels, tuple(counts), losses, weights)

    def backward(self, saved: Any) -> Array:
        log_p, alpha, labels, lengths, losses, weights = saved
        return ops.ctc_backward(log_p, alpha, labels, lengths, _BLANK, losses, weights)
