"""Image functions under the names of `keras.preprocessing`."""

from __future__ import annotations

from minicnn.data import image_dataset_from_directory
from minicnn.preprocessing import image

__all__ = ["image", "image_dataset_from_directory"]
