"""Image functions under the names of `keras.preprocessing`, and a kernel that whitens images."""

from __future__ import annotations

from minicnn.data import image_dataset_from_directory
from minicnn.preprocessing import image
from minicnn.preprocessing.whitening import whitening_kernel

__all__ = ["image", "image_dataset_from_directory", "whitening_kernel"]
