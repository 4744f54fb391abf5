"""Losses and the counts behind accuracies, one row of the batch at a time in one array expression."""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.elementwise import sigmoid_forward, softplus_forward
from minicnn.backends.spec import Array

__all__ = [
    "absolute_error_backward",
    "absolute_error_forward",
    "accumulate_mean_",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_forward",
    "binary_matches",
    "categorical_matches",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "sigmoid_cross_entropy_backward",
    "sigmoid_cross_entropy_forward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "sparse_categorical_matches",
    "sparse_softmax_cross_entropy_backward",
    "sparse_softmax_cross_entropy_forward",
    "squared_error_backward",
    "squared_error_forward",
]


def _log_softmax(logits: Array) -> Array:
    """log_p = logits - max - log(sum of exp(logits - max)), row by row."""
    xp = array_namespace(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))


def _one_hot(labels: Array, like: Array) -> Array:
    """(M, C) in the dtype of `like`: 1 where c == labels[m]."""
    return (labels[:, None] == array_namespace(like).arange(like.shape[1])).astype(like.dtype)


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """As in the spec."""
    log_p = _log_softmax(logits)
    return -(targets * log_p).sum(axis=1), array_namespace(logits).exp(log_p)


def softmax_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return weights[:, None] * (probabilities * targets.sum(axis=1, keepdims=True) - targets)


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """As in the spec."""
    xp = array_namespace(logits)
    log_p = _log_softmax(logits)
    return -log_p[xp.arange(len(labels)), labels], xp.exp(log_p)


def sparse_softmax_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array) -> Array:
    """As in the spec."""
    return weights[:, None] * (probabilities - _one_hot(labels, probabilities))


def cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """As in the spec."""
    xp = array_namespace(probabilities)
    p = probabilities / probabilities.sum(axis=1, keepdims=True)
    return -(targets * xp.log(xp.clip(p, epsilon, 1 - epsilon))).sum(axis=1)


def cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """With p = probabilities / S:  dp = -weights * targets / p inside the clip's bounds, 0 outside;
    dprobabilities = (dp - sum over c of dp * p) / S."""
    xp = array_namespace(probabilities)
    S = probabilities.sum(axis=1, keepdims=True)
    p = probabilities / S
    clipped = xp.clip(p, epsilon, 1 - epsilon)
    dp = xp.where(p == clipped, -weights[:, None] * targets / clipped, 0)
    return (dp - (dp * p).sum(axis=1, keepdims=True)) / S


def binary_cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """As in the spec."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    return -(targets * xp.log(p) + (1 - targets) * xp.log(1 - p)).mean(axis=1)


def binary_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """As in the spec."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    dp = weights[:, None] / p.shape[1] * ((1 - targets) / (1 - p) - targets / p)
    return xp.where(p == probabilities, dp, 0)


def sigmoid_cross_entropy_forward(logits: Array, targets: Array) -> Array:
    """max(z, 0) + log1p(exp(-|z|)) is softplus(z)."""
    return (softplus_forward(logits) - logits * targets).mean(axis=1)


def sigmoid_cross_entropy_backward(logits: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return weights[:, None] / logits.shape[1] * (sigmoid_forward(logits) - targets)


def squared_error_forward(predictions: Array, targets: Array) -> Array:
    """As in the spec."""
    return ((predictions - targets) ** 2).mean(axis=1)


def squared_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return weights[:, None] * 2 / predictions.shape[1] * (predictions - targets)


def absolute_error_forward(predictions: Array, targets: Array) -> Array:
    """As in the spec."""
    return abs(predictions - targets).mean(axis=1)


def absolute_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return weights[:, None] / predictions.shape[1] * array_namespace(predictions).sign(predictions - targets)


def categorical_matches(predictions: Array, targets: Array) -> Array:
    """As in the spec."""
    return (predictions.argmax(axis=1) == targets.argmax(axis=1)).astype(predictions.dtype)


def sparse_categorical_matches(predictions: Array, labels: Array) -> Array:
    """As in the spec."""
    return (predictions.argmax(axis=1) == labels).astype(predictions.dtype)


def binary_matches(predictions: Array, targets: Array, threshold: float) -> Array:
    """As in the spec."""
    return ((predictions > threshold) == targets).mean(axis=1, dtype=predictions.dtype)


def accumulate_mean_(total: Array, count: Array, values: Array, weights: Array | None) -> None:
    """As in the spec."""
    total += values.sum() if weights is None else (values * weights).sum()
    count += values.size if weights is None else weights.sum()
