"""Pipelines of data in NumPy: `Dataset`, in the manner of `tf.data`, and folders of pictures."""

from __future__ import annotations

from . import experimental
from .dataset import AUTOTUNE, INFINITE_CARDINALITY, UNKNOWN_CARDINALITY, Dataset, DatasetError
from .directory import image_dataset_from_directory
from .structure import TensorSpec

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "Dataset",
    "DatasetError",
    "TensorSpec",
    "experimental",
    "image_dataset_from_directory",
]
