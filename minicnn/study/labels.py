"""Labels and predictions as people pass them, as vectors of class indices; a model's outputs as probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.layers import Softmax

__all__ = ["class_indices", "ends_in_logits", "model_probabilities", "probabilities"]

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")


def class_indices(labels: Any) -> np.ndarray:
    """Class indices (N,) out of (N,), (N, 1) integers, one-hot or probability rows (N, C), or sigmoids (N, 1).

    Examples:
        >>> class_indices([[0.1, 0.9], [0.8, 0.2]]), class_indices([[3], [1]]), class_indices([[0.7], [0.2]])
        (array([1, 0]), array([3, 1]), array([1, 0]))
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        return array.argmax(axis=1)
    array = array.reshape(-1)
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        return (array > 0.5).astype(np.int64)
    return array.astype(np.int64)


def probabilities(predictions: Any) -> np.ndarray:
    """Probability rows (N, C); one sigmoid p becomes the two columns 1 - p and p.

    Raises:
        ValueError: for anything but (N, C) or (N,) numbers.
    """
    array = np.asarray(predictions, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"Expected predictions of shape (N, classes). Received: shape={array.shape}")
    return np.concatenate([1 - array, array], axis=1) if array.shape[1] == 1 else array


def ends_in_logits(model: Any) -> bool:
    """Whether a classifier's outputs are scores that a softmax or sigmoid must still go over.

    The last layer's activation tells; of a layer that has none, such as one of a user's own, the compiled loss's
    `from_logits` does.
    """
    last = model.outputs[0].node.layer
    while hasattr(last, "outputs"):  # a model used as a layer
        last = last.outputs[0].node.layer
    if isinstance(last, Softmax):
        return False
    if hasattr(last, "activation"):
        name = getattr(last.activation, "__name__", type(last.activation).__name__)  # a function, a layer, or None
        return name.lower() not in _PROBABILITIES
    loss = model._compiled_loss.losses[0] if model._compiled_loss else None
    return bool(getattr(loss, "from_logits", True))


def model_probabilities(model: Any, outputs: Any) -> np.ndarray:
    """What `model` predicted as probability rows (N, C): `probabilities` of its outputs, logits through their link first.

    Logits become softmax(z), or sigmoid(z) where there is one unit.
    """
    array = np.asarray(outputs, dtype=np.float64)
    if ends_in_logits(model):
        if array.shape[-1] == 1:
            array = 0.5 * (1 + np.tanh(0.5 * array))  # the sigmoid, without overflow
        else:
            array = np.exp(array - array.max(axis=-1, keepdims=True))
            array /= array.sum(axis=-1, keepdims=True)
    return probabilities(array)
