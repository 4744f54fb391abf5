"""Labels and predictions as people pass them, as vectors of class indices."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["class_indices", "probabilities"]


def class_indices(labels: Any) -> np.ndarray:
    """Class indices (N,) out of (N,), (N, 1) integers, one-hot or probability rows (N, C), or sigmoids (N, 1).

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
