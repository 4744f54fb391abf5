"""Keras's `utils`: labels as vectors, seeds, pictures from files, and names for a user's own classes."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn import bounding_boxes, registry
from minicnn.callbacks.progbar import Progbar
from minicnn.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
    set_random_seed,
)
from minicnn.layers.symbolic import KerasTensor, get_source_inputs
from minicnn.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_object,
    register_keras_serializable,
)
from minicnn.registry import registered_name as get_registered_name
from minicnn.saving import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:  # else loaded when first used, see _LAZY
    from minicnn.data import (
        PyDataset,
        image_dataset_from_directory,
        pad_sequences,
        split_dataset,
        timeseries_dataset_from_array,
    )
    from minicnn.data import PyDataset as Sequence  # its older name
    from minicnn.preprocessing.image import array_to_img, img_to_array, load_img, save_img

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "bounding_boxes",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",  # noqa: F822
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "image_dataset_from_directory",
    "img_to_array",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "load_img",
    "model_to_dot",  # noqa: F822
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",  # noqa: F822
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]

# No package, but `from minicnn.utils.bounding_boxes import convert_format` is a module of it.
sys.modules[f"{__name__}.bounding_boxes"] = bounding_boxes

# Loaded when first used: pipelines of data, pictures, what downloads, and what draws.
_LAZY = {
    "PyDataset": "minicnn.data",
    "Sequence": "minicnn.data",
    "array_to_img": "minicnn.preprocessing.image",
    "get_file": "minicnn.datasets.files",
    "image_dataset_from_directory": "minicnn.data",
    "img_to_array": "minicnn.preprocessing.image",
    "load_img": "minicnn.preprocessing.image",
    "model_to_dot": "minicnn.study.diagram",
    "plot_model": "minicnn.study.diagram",
    "pad_sequences": "minicnn.data",
    "save_img": "minicnn.preprocessing.image",
    "split_dataset": "minicnn.data",
    "timeseries_dataset_from_array": "minicnn.data",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'minicnn.utils' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), "PyDataset" if name == "Sequence" else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers as rows of zeros with a one.

    Args:
        x: integers from 0 to num_classes - 1, any shape; a last axis of extent 1 is dropped.
        num_classes: default the largest of x, plus 1.

    Returns:
        float64, shape of x + (num_classes,).

    Raises:
        ValueError: for a number outside of that range.

    Examples:
        >>> to_categorical([0, 2, 1], num_classes=3)
        array([[1., 0., 0.],
               [0., 0., 1.],
               [0., 1., 0.]])
    """
    labels = np.asarray(x, dtype="int64")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if not num_classes:
        if labels.size == 0:
            raise ValueError("`to_categorical` cannot infer `num_classes` from an empty `x`.")
        num_classes = int(labels.max()) + 1
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"`to_categorical` expects class numbers from 0 to {num_classes - 1} (num_classes={num_classes}). "
            f"Received values from {labels.min()} to {labels.max()}."
        )
    rows = np.zeros((labels.size, num_classes))
    rows[np.arange(labels.size), labels.reshape(-1)] = 1
    return rows.reshape(*labels.shape, num_classes)


def normalize(x: Any, axis: int = -1, order: int | float = 2) -> np.ndarray:
    """x divided by its norm along an axis; what has norm 0 stays 0.

    Args:
        axis: along which the norm is taken. order: of the norm, 2 for the Euclidean.
    """
    array = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(array, order, axis))
    norm[norm == 0] = 1
    return array / np.expand_dims(norm, axis)


def clear_session(free_memory: bool = True) -> None:
    """Start automatic layer names again: the next Conv2D is "conv2d"."""
    registry.clear_names()


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a symbolic tensor, as `Input` returns it."""
    return isinstance(x, KerasTensor)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """(x,), (x, y) or (x, y, sample_weight), as data sets give them; x alone if it is no tuple or list."""
    if y is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """What `pack_x_y_sample_weight` packed; None for what is not there.

    Raises:
        ValueError: for a tuple of any other length (Keras's wording).
    """
    data = tuple(data) if isinstance(data, list) else data
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, "
            f"found: {tuple(type(part).__name__ for part in data)}"
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight
