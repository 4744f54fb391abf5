"""Pipelines of data in NumPy: `Dataset`, in the manner of `tf.data`, and folders of pictures."""

from __future__ import annotations

from minicnn.data import experimental
from minicnn.data.batches import PyDataset, split_dataset
from minicnn.data.dataset import AUTOTUNE, INFINITE_CARDINALITY, UNKNOWN_CARDINALITY, Dataset, DatasetError
from minicnn.data.directory import image_dataset_from_directory
from minicnn.data.sequences import pad_sequences, timeseries_dataset_from_array
from minicnn.data.structure import TensorSpec

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "Dataset",
    "DatasetError",
    "PyDataset",
    "TensorSpec",
    "experimental",
    "image_dataset_from_directory",
    "pad_sequences",
    "split_dataset",
    "timeseries_dataset_from_array",
]
