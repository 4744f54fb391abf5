"""Image functions under the names of `keras.preprocessing`, a kernel that whitens images, and flips that alternate."""

from __future__ import annotations

from minicnn.data import image_dataset_from_directory, timeseries_dataset_from_array
from minicnn.preprocessing import image, sequence
from minicnn.preprocessing.flips import alternating_flip
from minicnn.preprocessing.whitening import whitening_kernel

__all__ = [
    "alternating_flip",
    "image",
    "image_dataset_from_directory",
    "sequence",
    "timeseries_dataset_from_array",
    "whitening_kernel",
]
