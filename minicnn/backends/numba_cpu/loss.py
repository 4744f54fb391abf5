"""Losses and the counts behind accuracies: a task is ROWS rows, a row is one sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends import reference
from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu.elementwise import ROWS, sigmoid, softplus
from minicnn.backends.reference import accumulate_mean_

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

Array = Any

F = np.float32
ZERO, ONE, TWO = F(0), F(1), F(2)


def _per_row(kernel: Any, twin: Any, predictions: Array, targets: Array, *scalars: float) -> Array:
    """kernel(task, worker, predictions, targets, losses, *scalars): a number for each row; `twin` for float64."""
    if predictions.dtype != F:
        return twin(predictions, targets, *scalars)
    losses = empty((predictions.shape[0],))
    kernel(tasks_of(predictions), predictions.size * 10, predictions, targets, losses, *[F(s) for s in scalars])
    return losses


def _per_element(kernel: Any, twin: Any, predictions: Array, targets: Array, weights: Array, *scalars: float) -> Array:
    """kernel(task, worker, predictions, targets, weights, dpredictions, *scalars); `twin` for float64."""
    if predictions.dtype != F:
        return twin(predictions, targets, weights, *scalars)
    dpredictions = empty(predictions.shape)
    kernel(tasks_of(predictions), predictions.size * 10, predictions, targets, weights, dpredictions, *[F(s) for s in scalars])
    return dpredictions


def tasks_of(matrix: Array) -> int:
    """Tasks of ROWS rows."""
    return -(-matrix.shape[0] // ROWS)


@part
def rows_of(task: int, rows: int) -> tuple[int, int]:
    """First and end row of a task."""
    return task * ROWS, min(rows, (task + 1) * ROWS)


@part
def argmax(row: Any) -> int:
    """The first of the largest; the first NaN, if there is one, as NumPy has it."""
    best = 0
    for c in range(1, row.size):
        if not row[c] <= row[best] and row[best] == row[best]:
            best = c
    return best


@part
def clip(p: Any, epsilon: Any) -> Any:
    """p into [epsilon, 1 - epsilon]; a NaN stays one."""
    return epsilon if p < epsilon else (ONE - epsilon if p > ONE - epsilon else p)


# --- softmax and cross-entropy ------------------------------------------------------


@part
def log_softmax(logits: Any, probabilities: Any) -> Any:
    """Fills in the row's softmax; returns max + log(sum of exp(logits - max)), so that log_p = logits - that."""
    largest = logits[0]
    for c in range(1, logits.size):
        largest = max(largest, logits[c])
    total = ZERO
    for c in range(logits.size):
        probabilities[c] = np.exp(logits[c] - largest)
        total += probabilities[c]
    for c in range(logits.size):
        probabilities[c] /= total
    return largest + np.log(total)


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """As in the spec."""
    if logits.dtype != F:
        return reference.softmax_cross_entropy_forward(logits, targets)
    losses, probabilities = empty((logits.shape[0],)), empty(logits.shape)
    _softmax_cross_entropy_forward(tasks_of(logits), logits.size * 10, logits, targets, losses, probabilities)
    return losses, probabilities


@tasks
def _softmax_cross_entropy_forward(task: int, worker: int, logits: Any, targets: Any, losses: Any, probabilities: Any) -> None:
    for m in range(*rows_of(task, logits.shape[0])):
        normalizer = log_softmax(logits[m], probabilities[m])
        loss = ZERO
        for c in range(logits.shape[1]):
            loss -= targets[m, c] * (logits[m, c] - normalizer)
        losses[m] = loss


def softmax_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return _per_element(
        _softmax_cross_entropy_backward, reference.softmax_cross_entropy_backward, probabilities, targets, weights
    )


@tasks
def _softmax_cross_entropy_backward(
    task: int, worker: int, probabilities: Any, targets: Any, weights: Any, dlogits: Any
) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        total = ZERO
        for c in range(probabilities.shape[1]):
            total += targets[m, c]
        for c in range(probabilities.shape[1]):
            dlogits[m, c] = weights[m] * (probabilities[m, c] * total - targets[m, c])


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """As in the spec."""
    if logits.dtype != F:
        return reference.sparse_softmax_cross_entropy_forward(logits, labels)
    losses, probabilities = empty((logits.shape[0],)), empty(logits.shape)
    _sparse_softmax_cross_entropy_forward(tasks_of(logits), logits.size * 10, logits, labels, losses, probabilities)
    return losses, probabilities


@tasks
def _sparse_softmax_cross_entropy_forward(
    task: int, worker: int, logits: Any, labels: Any, losses: Any, probabilities: Any
) -> None:
    for m in range(*rows_of(task, logits.shape[0])):
        losses[m] = log_softmax(logits[m], probabilities[m]) - logits[m, labels[m]]


def sparse_softmax_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array) -> Array:
    """As in the spec."""
    return _per_element(
        _sparse_softmax_cross_entropy_backward, reference.sparse_softmax_cross_entropy_backward, probabilities, labels, weights
    )


@tasks
def _sparse_softmax_cross_entropy_backward(
    task: int, worker: int, probabilities: Any, labels: Any, weights: Any, dlogits: Any
) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        for c in range(probabilities.shape[1]):
            dlogits[m, c] = weights[m] * (probabilities[m, c] - (ONE if c == labels[m] else ZERO))


# --- cross-entropy of given probabilities -------------------------------------------


@part
def row_sum(row: Any) -> Any:
    """Sum of a row."""
    total = ZERO
    for c in range(row.size):
        total += row[c]
    return total


def cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """As in the spec."""
    return _per_row(_cross_entropy_forward, reference.cross_entropy_forward, probabilities, targets, epsilon)


@tasks
def _cross_entropy_forward(task: int, worker: int, probabilities: Any, targets: Any, losses: Any, epsilon: Any) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        S = row_sum(probabilities[m])
        loss = ZERO
        for c in range(probabilities.shape[1]):
            loss -= targets[m, c] * np.log(clip(probabilities[m, c] / S, epsilon))
        losses[m] = loss


def cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """With p = probabilities / S:  dp = -weights * targets / p inside the clip's bounds, 0 outside;
    dprobabilities = (dp - sum over c of dp * p) / S."""
    return _per_element(_cross_entropy_backward, reference.cross_entropy_backward, probabilities, targets, weights, epsilon)


@tasks
def _cross_entropy_backward(
    task: int, worker: int, probabilities: Any, targets: Any, weights: Any, dprobabilities: Any, epsilon: Any
) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        S = row_sum(probabilities[m])
        dot = ZERO
        for c in range(probabilities.shape[1]):
            p = probabilities[m, c] / S
            dp = -weights[m] * targets[m, c] / p if clip(p, epsilon) == p else ZERO
            dprobabilities[m, c] = dp
            dot += dp * p
        for c in range(probabilities.shape[1]):
            dprobabilities[m, c] = (dprobabilities[m, c] - dot) / S


def binary_cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """As in the spec."""
    return _per_row(_binary_cross_entropy_forward, reference.binary_cross_entropy_forward, probabilities, targets, epsilon)


@tasks
def _binary_cross_entropy_forward(task: int, worker: int, probabilities: Any, targets: Any, losses: Any, epsilon: Any) -> None:
    C = probabilities.shape[1]
    for m in range(*rows_of(task, probabilities.shape[0])):
        loss = ZERO
        for c in range(C):
            p, t = clip(probabilities[m, c], epsilon), targets[m, c]
            loss -= t * np.log(p) + (ONE - t) * np.log(ONE - p)
        losses[m] = loss / F(C)


def binary_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """As in the spec."""
    return _per_element(
        _binary_cross_entropy_backward, reference.binary_cross_entropy_backward, probabilities, targets, weights, epsilon
    )


@tasks
def _binary_cross_entropy_backward(
    task: int, worker: int, probabilities: Any, targets: Any, weights: Any, dprobabilities: Any, epsilon: Any
) -> None:
    C = probabilities.shape[1]
    for m in range(*rows_of(task, probabilities.shape[0])):
        for c in range(C):
            p, t = probabilities[m, c], targets[m, c]
            dp = weights[m] / F(C) * ((ONE - t) / (ONE - p) - t / p)
            dprobabilities[m, c] = dp if clip(p, epsilon) == p else ZERO


def sigmoid_cross_entropy_forward(logits: Array, targets: Array) -> Array:
    """max(z, 0) + log1p(exp(-|z|)) is softplus(z)."""
    return _per_row(_sigmoid_cross_entropy_forward, reference.sigmoid_cross_entropy_forward, logits, targets)


@tasks
def _sigmoid_cross_entropy_forward(task: int, worker: int, logits: Any, targets: Any, losses: Any) -> None:
    C = logits.shape[1]
    for m in range(*rows_of(task, logits.shape[0])):
        loss = ZERO
        for c in range(C):
            loss += softplus(logits[m, c]) - logits[m, c] * targets[m, c]
        losses[m] = loss / F(C)


def sigmoid_cross_entropy_backward(logits: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return _per_element(_sigmoid_cross_entropy_backward, reference.sigmoid_cross_entropy_backward, logits, targets, weights)


@tasks
def _sigmoid_cross_entropy_backward(task: int, worker: int, logits: Any, targets: Any, weights: Any, dlogits: Any) -> None:
    C = logits.shape[1]
    for m in range(*rows_of(task, logits.shape[0])):
        for c in range(C):
            dlogits[m, c] = weights[m] / F(C) * (sigmoid(logits[m, c]) - targets[m, c])


# --- errors -------------------------------------------------------------------------


def squared_error_forward(predictions: Array, targets: Array) -> Array:
    """As in the spec."""
    return _per_row(_squared_error_forward, reference.squared_error_forward, predictions, targets)


@tasks
def _squared_error_forward(task: int, worker: int, predictions: Any, targets: Any, losses: Any) -> None:
    C = predictions.shape[1]
    for m in range(*rows_of(task, predictions.shape[0])):
        loss = ZERO
        for c in range(C):
            loss += (predictions[m, c] - targets[m, c]) ** 2
        losses[m] = loss / F(C)


def squared_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return _per_element(_squared_error_backward, reference.squared_error_backward, predictions, targets, weights)


@tasks
def _squared_error_backward(task: int, worker: int, predictions: Any, targets: Any, weights: Any, dpredictions: Any) -> None:
    C = predictions.shape[1]
    for m in range(*rows_of(task, predictions.shape[0])):
        for c in range(C):
            dpredictions[m, c] = weights[m] * TWO / F(C) * (predictions[m, c] - targets[m, c])


def absolute_error_forward(predictions: Array, targets: Array) -> Array:
    """As in the spec."""
    return _per_row(_absolute_error_forward, reference.absolute_error_forward, predictions, targets)


@tasks
def _absolute_error_forward(task: int, worker: int, predictions: Any, targets: Any, losses: Any) -> None:
    C = predictions.shape[1]
    for m in range(*rows_of(task, predictions.shape[0])):
        loss = ZERO
        for c in range(C):
            loss += abs(predictions[m, c] - targets[m, c])
        losses[m] = loss / F(C)


def absolute_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """As in the spec."""
    return _per_element(_absolute_error_backward, reference.absolute_error_backward, predictions, targets, weights)


@tasks
def _absolute_error_backward(task: int, worker: int, predictions: Any, targets: Any, weights: Any, dpredictions: Any) -> None:
    C = predictions.shape[1]
    for m in range(*rows_of(task, predictions.shape[0])):
        for c in range(C):
            dpredictions[m, c] = weights[m] / F(C) * np.sign(predictions[m, c] - targets[m, c])


# --- accuracies ---------------------------------------------------------------------


def categorical_matches(predictions: Array, targets: Array) -> Array:
    """As in the spec."""
    return _per_row(_categorical_matches, reference.categorical_matches, predictions, targets)


@tasks
def _categorical_matches(task: int, worker: int, predictions: Any, targets: Any, matches: Any) -> None:
    for m in range(*rows_of(task, predictions.shape[0])):
        matches[m] = ONE if argmax(predictions[m]) == argmax(targets[m]) else ZERO


def sparse_categorical_matches(predictions: Array, labels: Array) -> Array:
    """As in the spec."""
    return _per_row(_sparse_categorical_matches, reference.sparse_categorical_matches, predictions, labels)


@tasks
def _sparse_categorical_matches(task: int, worker: int, predictions: Any, labels: Any, matches: Any) -> None:
    for m in range(*rows_of(task, predictions.shape[0])):
        matches[m] = ONE if argmax(predictions[m]) == labels[m] else ZERO


def binary_matches(predictions: Array, targets: Array, threshold: float) -> Array:
    """As in the spec."""
    return _per_row(_binary_matches, reference.binary_matches, predictions, targets, threshold)


@tasks
def _binary_matches(task: int, worker: int, predictions: Any, targets: Any, matches: Any, threshold: Any) -> None:
    C = predictions.shape[1]
    for m in range(*rows_of(task, predictions.shape[0])):
        equal = 0
        for c in range(C):
            equal += (ONE if predictions[m, c] > threshold else ZERO) == targets[m, c]
        matches[m] = F(equal) / F(C)
