"""Losses and the counts behind accuracies; a warp a row (`kernels/loss.cu`).

Those that a classifier trains with have kernels; of the others the reference's lines run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.cupy_gpu.compile import C_TYPES, empty, inputs, is_on_device, launch, real_type
from minicnn.backends.reference import loss as reference
from minicnn.backends.types import Array

_ROWS = 4  # of a block


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """A warp owns a row."""
    logits, targets = inputs("softmax_cross_entropy_forward", logits, targets)
    losses, probabilities = empty(logits.shape[:1], logits.dtype), empty(logits.shape, logits.dtype)
    _launch("softmax_cross_entropy_forward", (logits, targets, losses, probabilities), logits)
    return losses, probabilities


def softmax_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array) -> Array:
    """A warp owns a row."""
    probabilities, targets, weights = inputs("softmax_cross_entropy_backward", probabilities, targets, weights)
    dlogits = empty(probabilities.shape, probabilities.dtype)
    _launch("softmax_cross_entropy_backward", (probabilities, targets, weights, dlogits), probabilities)
    return dlogits


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """A warp owns a row."""
    logits = inputs("sparse_softmax_cross_entropy_forward", logits)
    losses, probabilities = empty(logits.shape[:1], logits.dtype), empty(logits.shape, logits.dtype)
    labels = _labels("sparse_softmax_cross_entropy_forward", labels)
    _launch("sparse_softmax_cross_entropy_forward", (logits, labels, losses, probabilities), logits, labels.dtype.name)
    return losses, probabilities


def sparse_softmax_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array) -> Array:
    """A warp owns a row."""
    probabilities, weights = inputs("sparse_softmax_cross_entropy_backward", probabilities, weights)
    dlogits = empty(probabilities.shape, probabilities.dtype)
    labels = _labels("sparse_softmax_cross_entropy_backward", labels)
    arguments = (probabilities, labels, weights, dlogits)
    _launch("sparse_softmax_cross_entropy_backward", arguments, probabilities, labels.dtype.name)
    return dlogits


def categorical_matches(predictions: Array, targets: Array) -> Array:
    """A warp owns a row."""
    predictions, targets = inputs("categorical_matches", predictions, targets)
    matches = empty(predictions.shape[:1], predictions.dtype)
    _launch("categorical_matches", (predictions, targets, matches), predictions)
    return matches


def sparse_categorical_matches(predictions: Array, labels: Array) -> Array:
    """A warp owns a row."""
    predictions = inputs("sparse_categorical_matches", predictions)
    matches = empty(predictions.shape[:1], predictions.dtype)
    labels = _labels("sparse_categorical_matches", labels)
    _launch("sparse_categorical_matches", (predictions, labels, matches), predictions, labels.dtype.name)
    return matches


def accumulate_mean_(total: Array, count: Array, values: Array, weights: Array | None) -> None:
    """One warp adds everything, in an order that only the size decides; totals of whole numbers as in the reference."""
    kinds = (total.dtype.name, count.dtype.name)
    if kinds[0] != kinds[1] or kinds[0] not in ("float32", "float64"):
        reference.accumulate_mean_(total, count, values, weights)
        return
    values, weights = inputs("accumulate_mean_", values, weights)
    types = real_type(values) | {"label_t": "int", "total_t": C_TYPES[kinds[0]]}
    launch("loss.cu", "accumulate_mean", (1,), (32,), (total, count, values, weights, values.size), types, {})


def _labels(op: str, labels: Array) -> Array:
    """Labels as a kernel takes them: on the GPU, int32 or int64, C-contiguous."""
    if not is_on_device(labels):
        raise TypeError(f"{op} computes on the GPU. Expected: labels in a CuPy array. Received: {type(labels).__name__}.")
    if labels.dtype.name not in ("int32", "int64"):
        labels = labels.astype(np.int32)
    return labels if labels.flags.c_contiguous else labels.copy(order="C")


def _launch(name: str, arguments: tuple[Any, ...], matrix: Array, label: str = "int32") -> None:
    """Run kernel `name` with a warp for each row of `matrix`."""
    rows, count = matrix.shape
    types = real_type(matrix) | {"label_t": C_TYPES[label], "total_t": "float"}
    launch("loss.cu", name, (-(-rows // _ROWS),), (32, _ROWS), (*arguments, rows, count), types, {})
