"""Checking and converting the targets, predictions and labels that users pass: types, shapes and ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.backends import memory
from minicnn.backends.types import Array

Shape = tuple[int, ...]


def cast(value: Any, dtype: Any) -> Array:
    """`value` as a C-contiguous array of `dtype` where the backend computes; a cast is made in step memory."""
    if isinstance(value, np.ndarray) and (value.dtype != dtype or not value.flags.c_contiguous):
        cast_value = memory.empty(value.shape, dtype)
        np.copyto(cast_value, value, casting="unsafe")
        value = cast_value
    return backends.asarray(value, dtype)


def as_array(value: Any) -> Array:
    """Lists and the like as an array; arrays, on whichever device, as they are."""
    return value if hasattr(value, "reshape") and hasattr(value, "dtype") else np.asarray(value)


def as_labels(value: Any) -> Array:
    """Labels of any shape as ops take them, (M,): int32 on the host, unchanged on a device, whose kernels take any type."""
    value = as_array(value)
    return cast(value, value.dtype if backends.on_device() else np.dtype(np.int32)).reshape(-1)


def as_floats(value: Any) -> Array:
    """`value` as a float array where the backend computes."""
    value = as_array(value)
    return cast(value, value.dtype if str(value.dtype) in ("float32", "float64") else config.floatx())


def match_ranks(a: Array, b: Array) -> tuple[Array, Array]:
    """(N,) beside (N, 1) becomes (N, 1); beyond rank 2 the last axis of size 1 is dropped instead."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b.reshape(-1, 1)) if b.ndim == 1 else (a.reshape(a.shape[:-1]), b)
    if b.ndim == a.ndim + 1:
        b, a = match_ranks(b, a)
    return a, b


def target_kind(y_true_shape: Shape, y_pred_shape: Shape) -> str:
    """What "accuracy" or "crossentropy" means for these shapes, as in Keras: "binary", "sparse" or "categorical"."""
    if y_pred_shape[-1] == 1:
        return "binary"
    return "sparse" if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1 else "categorical"


def check_labels(labels: np.ndarray, classes: int, name: str, ignored: int | None = None) -> None:
    """Refuse labels outside [0, classes).

    Args:
        labels: any shape, on the host. Those on a device are not looked at: that would wait for it.
        classes: how many classes a prediction has.
        name: of the loss, for the message.
        ignored: one more label that may be there.
    """
    if ignored is not None:
        labels = labels[labels != ignored]
    if labels.size == 0 or _are_below(classes, labels):
        return
    low, high = labels.min(), labels.max()
    if not (low >= 0 and high < classes):
        wrong = high if low >= 0 else low
        raise ValueError(
            f"{name}: Received a label value of {wrong} which is outside the valid range of [0, {classes}). "
            f"The predictions have {classes} classes, so labels are integers from 0 to {classes - 1}."
        )


def _are_below(classes: int, labels: np.ndarray) -> bool:
    """Whether integers lie in [0, classes), in one pass: as unsigned ones, the negative are the largest. False for floats."""
    if labels.dtype.kind not in "iu" or not labels.flags.c_contiguous:
        return False
    return bool(np.maximum.reduce(labels.view(f"u{labels.itemsize}"), axis=None) < classes)


def as_matrix(rows: Array) -> Array:
    """(..., C) as (M, C)."""
    return rows.reshape(matrix_shape(rows.shape))


def matrix_shape(shape: Shape) -> tuple[int, int]:
    """(..., C) as (M, C)."""
    return math.prod(shape[:-1]), shape[-1]


def with_mask(sample_weight: Any, mask: Array) -> Array:
    """Weights of the elements that a mask (N, T, ...) counts: 1, or their sample's; 0 for the others. Where the mask lies."""
    weights = backends.asarray((mask != 0).astype(config.floatx()))
    if sample_weight is None:
        return weights
    given = backends.asarray(as_array(sample_weight), weights.dtype)
    return weights * given.reshape(given.shape + (1,) * (weights.ndim - given.ndim))
