"""Image functions under the names of `keras.preprocessing`."""

from __future__ import annotations

from ..data import image_dataset_from_directory
from . import image

__all__ = ["image", "image_dataset_from_directory"]
