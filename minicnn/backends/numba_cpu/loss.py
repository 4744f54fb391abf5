"""Losses and the counts behind accuracies: a task is ROWS rows, a row is one sample.

`@row_loss` and `@row_gradients` make ops of the functions' names: of what is done with one row, and with a task's rows.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import part
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu._vectormath import exponentials, row_sum, sigmoid, softplus
from minicnn.backends.numba_cpu.elementwise import ROWS
from minicnn.backends.reference import loss as reference
from minicnn.backends.types import Array

F = np.float32
ZERO, ONE, TWO = F(0), F(1), F(2)


@part
def rows_of(task: int, rows: int) -> tuple[int, int]:
    """First and end row of a task."""
    return task * ROWS, min(rows, (task + 1) * ROWS)


def row_loss(of_row: Callable[..., Any]) -> Callable[..., Array]:
    """Decorator: of_row(predictions, targets, *numbers), a row's loss, becomes the reference's op of the same name."""
    result = part(of_row)

    def of_rows(task, worker, predictions, targets, losses, *numbers):  # type: ignore[no-untyped-def]
        for m in range(*rows_of(task, losses.size)):
            losses[m] = result(predictions[m], targets[m], *numbers)

    return _op(of_row, tasks(of_rows, source=of_row), 2)


def row_gradients(of_rows: Callable[..., None]) -> Callable[..., Array]:
    """Decorator: a task of_rows(task, worker, predictions, targets, weights, out, *numbers) becomes the reference's op."""
    return _op(of_rows, tasks(of_rows), 3)


def _op(function: Callable[..., Any], kernel: Any, arrays: int) -> Any:
    """The op with the reference's name and signature, of 2 arrays (losses) or 3 (gradients); float64 goes to the reference."""
    twin = getattr(reference, function.__name__)

    @functools.wraps(twin, assigned=("__name__", "__qualname__", "__doc__"))
    def op(*args: Any, **named: Any) -> Array:
        if named:
            return op(*inspect.signature(twin).bind(*args, **named).args)
        predictions = args[0]
        if predictions.dtype != F:
            return twin(*args)
        M, C = predictions.shape
        out = empty((M,) if arrays == 2 else (M, C))
        kernel(-(-M // ROWS), M * C * 10, *args[:arrays], out, *[F(number) for number in args[arrays:]])
        return out

    return op


def tasks_of(matrix: Array) -> int:
    """Tasks of ROWS rows."""
    return -(-matrix.shape[0] // ROWS)


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
    largest, total = exponentials(logits, probabilities)
    for c in range(logits.size):
        probabilities[c] /= total
    return largest + np.log(total)


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Parallel over rows."""
    if logits.dtype != F:
        return reference.softmax_cross_entropy_forward(logits, targets)
    losses, probabilities = empty((logits.shape[0],)), empty(logits.shape)
    _softmax_cross_entropy_forward(tasks_of(logits), logits.size * 4, logits, targets, losses, probabilities)
    return losses, probabilities


@tasks
def _softmax_cross_entropy_forward(task: int, worker: int, logits: Any, targets: Any, losses: Any, probabilities: Any) -> None:
    for m in range(*rows_of(task, logits.shape[0])):
        normalizer = log_softmax(logits[m], probabilities[m])
        loss = ZERO
        for c in range(logits.shape[1]):
            loss -= targets[m, c] * (logits[m, c] - normalizer)
        losses[m] = loss


@row_gradients
def softmax_cross_entropy_backward(
    task: int, worker: int, probabilities: Any, targets: Any, weights: Any, dlogits: Any
) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        total = row_sum(targets[m])
        for c in range(probabilities.shape[1]):
            dlogits[m, c] = weights[m] * (probabilities[m, c] * total - targets[m, c])


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Parallel over rows."""
    if logits.dtype != F:
        return reference.sparse_softmax_cross_entropy_forward(logits, labels)
    losses, probabilities = empty((logits.shape[0],)), empty(logits.shape)
    _sparse_softmax_cross_entropy_forward(tasks_of(logits), logits.size * 4, logits, labels, losses, probabilities)
    return losses, probabilities


@tasks
def _sparse_softmax_cross_entropy_forward(
    task: int, worker: int, logits: Any, labels: Any, losses: Any, probabilities: Any
) -> None:
    for m in range(*rows_of(task, logits.shape[0])):
        losses[m] = log_softmax(logits[m], probabilities[m]) - logits[m, labels[m]]


@row_gradients
def sparse_softmax_cross_entropy_backward(
    task: int, worker: int, probabilities: Any, labels: Any, weights: Any, dlogits: Any
) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        for c in range(probabilities.shape[1]):
            dlogits[m, c] = weights[m] * (probabilities[m, c] - (ONE if c == labels[m] else ZERO))


# --- cross-entropy of given probabilities -------------------------------------------


@row_loss
def cross_entropy_forward(probabilities: Any, targets: Any, epsilon: Any) -> Any:
    S = row_sum(probabilities)
    loss = ZERO
    for c in range(probabilities.size):
        loss -= targets[c] * np.log(clip(probabilities[c] / S, epsilon))
    return loss


@row_gradients
def cross_entropy_backward(
    task: int, worker: int, probabilities: Any, targets: Any, weights: Any, dprobabilities: Any, epsilon: Any
) -> None:
    """With p = probabilities / S:  dp = -weights[m] * targets / p inside the clip's bounds, 0 outside;
    dprobabilities = (dp - sum over c of dp * p) / S."""
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


@row_loss
def binary_cross_entropy_forward(probabilities: Any, targets: Any, epsilon: Any) -> Any:
    loss = ZERO
    for c in range(probabilities.size):
        p, t = clip(probabilities[c], epsilon), targets[c]
        loss -= t * np.log(p) + (ONE - t) * np.log(ONE - p)
    return loss / F(probabilities.size)


@row_gradients
def binary_cross_entropy_backward(
    task: int, worker: int, probabilities: Any, targets: Any, weights: Any, dprobabilities: Any, epsilon: Any
) -> None:
    for m in range(*rows_of(task, probabilities.shape[0])):
        for c in range(probabilities.shape[1]):
            p, t = probabilities[m, c], targets[m, c]
            dp = weights[m] / F(probabilities.shape[1]) * ((ONE - t) / (ONE - p) - t / p)
            dprobabilities[m, c] = dp if clip(p, epsilon) == p else ZERO


@row_loss
def sigmoid_cross_entropy_forward(logits: Any, targets: Any) -> Any:
    """max(z, 0) + log1p(exp(-|z|)) is softplus(z)."""
    loss = ZERO
    for c in range(logits.size):
        loss += softplus(logits[c]) - logits[c] * targets[c]
    return loss / F(logits.size)


@row_gradients
def sigmoid_cross_entropy_backward(task: int, worker: int, logits: Any, targets: Any, weights: Any, dlogits: Any) -> None:
    for m in range(*rows_of(task, logits.shape[0])):
        for c in range(logits.shape[1]):
            dlogits[m, c] = weights[m] / F(logits.shape[1]) * (sigmoid(logits[m, c]) - targets[m, c])


# --- errors -------------------------------------------------------------------------


@row_loss
def squared_error_forward(predictions: Any, targets: Any) -> Any:
    loss = ZERO
    for c in range(predictions.size):
        loss += (predictions[c] - targets[c]) ** 2
    return loss / F(predictions.size)


@row_gradients
def squared_error_backward(task: int, worker: int, predictions: Any, targets: Any, weights: Any, dpredictions: Any) -> None:
    for m in range(*rows_of(task, predictions.shape[0])):
        for c in range(predictions.shape[1]):
            dpredictions[m, c] = weights[m] * TWO / F(predictions.shape[1]) * (predictions[m, c] - targets[m, c])


@row_loss
def absolute_error_forward(predictions: Any, targets: Any) -> Any:
    loss = ZERO
    for c in range(predictions.size):
        loss += abs(predictions[c] - targets[c])
    return loss / F(predictions.size)


@row_gradients
def absolute_error_backward(task: int, worker: int, predictions: Any, targets: Any, weights: Any, dpredictions: Any) -> None:
    for m in range(*rows_of(task, predictions.shape[0])):
        for c in range(predictions.shape[1]):
            dpredictions[m, c] = weights[m] / F(predictions.shape[1]) * np.sign(predictions[m, c] - targets[m, c])


# --- accuracies ---------------------------------------------------------------------


@row_loss
def categorical_matches(predictions: Any, targets: Any) -> Any:
    return ONE if argmax(predictions) == argmax(targets) else ZERO


@row_loss
def sparse_categorical_matches(predictions: Any, label: Any) -> Any:
    return ONE if argmax(predictions) == label else ZERO


@row_loss
def binary_matches(predictions: Any, targets: Any, threshold: Any) -> Any:
    equal = 0
    for c in range(predictions.size):
        equal += (ONE if predictions[c] > threshold else ZERO) == targets[c]
    return F(equal) / F(predictions.size)
