"""Losses and the counts behind accuracies, one row of the batch at a time in one array expression.

Targets and predictions are matrices (M, C): a loss reshapes before it calls. A forward returns one loss
per row; a backward takes the rows' weights (M,): each the sample's weight, divided by the batch size.
"""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.elementwise import sigmoid_forward, softplus_forward
from minicnn.backends.types import Array


def _log_softmax(logits: Array) -> Array:
    """log_p = logits - max - log(sum of exp(logits - max)), row by row."""
    xp = array_namespace(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))


def _one_hot(labels: Array, like: Array) -> Array:
    """(M, C) in the dtype of `like`: 1 where c == labels[m]."""
    return (labels[:, None] == array_namespace(like).arange(like.shape[1])).astype(like.dtype)


def softmax_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Softmax and cross-entropy in one, without overflow.

        log_p = logits - max - log(sum of exp(logits - max));  loss[m] = -sum over c of targets * log_p

    Args:
        logits, targets: (M, C).

    Returns:
        losses: (M,). probabilities: (M, C), softmax of the logits.
    """
    log_p = _log_softmax(logits)
    return -(targets * log_p).sum(axis=1), array_namespace(logits).exp(log_p)


def softmax_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array) -> Array:
    """dlogits[m,c] = weights[m] * (probabilities[m,c] * (sum over c of targets[m]) - targets[m,c])."""
    return weights[:, None] * (probabilities * targets.sum(axis=1, keepdims=True) - targets)


def sparse_softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """As `softmax_cross_entropy_forward` for integer labels (M,): loss[m] = -log_p[m, labels[m]]."""
    xp = array_namespace(logits)
    log_p = _log_softmax(logits)
    return -log_p[xp.arange(len(labels)), labels], xp.exp(log_p)


def sparse_softmax_cross_entropy_backward(probabilities: Array, labels: Array, weights: Array) -> Array:
    """dlogits[m,c] = weights[m] * (probabilities[m,c] - (1 if c == labels[m] else 0))."""
    return weights[:, None] * (probabilities - _one_hot(labels, probabilities))


def cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """Cross-entropy of given probabilities, as Keras computes it: rows are divided by their sum,
    then clipped to [epsilon, 1 - epsilon]; loss[m] = -sum over c of targets * log(p); (M,)."""
    xp = array_namespace(probabilities)
    p = probabilities / probabilities.sum(axis=1, keepdims=True)
    return -(targets * xp.log(xp.clip(p, epsilon, 1 - epsilon))).sum(axis=1)


def cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """Gradient of `cross_entropy_forward` with respect to the probabilities, through the division
    and the clip (whose slope outside its bounds is 0); (M, C)."""
    # With p = probabilities / S:  dp = -weights * targets / p inside the clip's bounds, 0 outside;
    # dprobabilities = (dp - sum over c of dp * p) / S.
    xp = array_namespace(probabilities)
    S = probabilities.sum(axis=1, keepdims=True)
    p = probabilities / S
    clipped = xp.clip(p, epsilon, 1 - epsilon)
    dp = xp.where(p == clipped, -weights[:, None] * targets / clipped, 0)
    return (dp - (dp * p).sum(axis=1, keepdims=True)) / S


def binary_cross_entropy_forward(probabilities: Array, targets: Array, epsilon: float) -> Array:
    """Mean over c of -(t log p + (1 - t) log(1 - p)), p clipped to [epsilon, 1 - epsilon]; (M,)."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    return -(targets * xp.log(p) + (1 - targets) * xp.log(1 - p)).mean(axis=1)


def binary_cross_entropy_backward(probabilities: Array, targets: Array, weights: Array, epsilon: float) -> Array:
    """dp[m,c] = weights[m] / C * ((1 - t) / (1 - p) - t / p) inside the clip's bounds, 0 outside."""
    xp = array_namespace(probabilities)
    p = xp.clip(probabilities, epsilon, 1 - epsilon)
    dp = weights[:, None] / p.shape[1] * ((1 - targets) / (1 - p) - targets / p)
    return xp.where(p == probabilities, dp, 0)


def sigmoid_cross_entropy_forward(logits: Array, targets: Array) -> Array:
    """Binary cross-entropy from logits z: mean over c of max(z, 0) - z*t + log1p(exp(-|z|)); (M,)."""
    # max(z, 0) + log1p(exp(-|z|)) is softplus(z).
    return (softplus_forward(logits) - logits * targets).mean(axis=1)


def sigmoid_cross_entropy_backward(logits: Array, targets: Array, weights: Array) -> Array:
    """dz[m,c] = weights[m] / C * (sigmoid(z) - t)."""
    return weights[:, None] / logits.shape[1] * (sigmoid_forward(logits) - targets)


def squared_error_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of (prediction - target)**2; (M,)."""
    return ((predictions - targets) ** 2).mean(axis=1)


def squared_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] * 2 / C * (prediction - target)."""
    return weights[:, None] * 2 / predictions.shape[1] * (predictions - targets)


def absolute_error_forward(predictions: Array, targets: Array) -> Array:
    """loss[m] = mean over c of |prediction - target|; (M,)."""
    return abs(predictions - targets).mean(axis=1)


def absolute_error_backward(predictions: Array, targets: Array, weights: Array) -> Array:
    """dprediction[m,c] = weights[m] / C * sign(prediction - target); 0 where they are equal."""
    return weights[:, None] / predictions.shape[1] * array_namespace(predictions).sign(predictions - targets)


def categorical_matches(predictions: Array, targets: Array) -> Array:
    """1.0 where argmax of the prediction's row is argmax of the target's (first of ties), else 0.0; (M,)."""
    return (predictions.argmax(axis=1) == targets.argmax(axis=1)).astype(predictions.dtype)


def sparse_categorical_matches(predictions: Array, labels: Array) -> Array:
    """1.0 where argmax of the prediction's row is the label (M,), else 0.0; (M,), dtype of predictions."""
    return (predictions.argmax(axis=1) == labels).astype(predictions.dtype)


def binary_matches(predictions: Array, targets: Array, threshold: float) -> Array:
    """Mean over c of whether (prediction > threshold) equals the target; (M,)."""
    return ((predictions > threshold) == targets).mean(axis=1, dtype=predictions.dtype)


def accumulate_mean_(total: Array, count: Array, values: Array, weights: Array | None) -> None:
    """total += sum of values * weights; count += sum of weights (of ones where None). total, count: shape ()."""
    total += values.sum() if weights is None else (values * weights).sum()
    count += values.size if weights is None else weights.sum()
