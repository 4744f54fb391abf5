"""Functions on one image at a time, with the names, arguments and results of `keras.preprocessing.image`.

Older programs augment with these. What they draw comes from NumPy's global generator, as
in Keras, so that `set_random_seed` makes them repeat themselves; the layers that begin
with `Random` are faster and augment whole batches.
"""

from __future__ import annotations

from minicnn.data import image_dataset_from_directory
from minicnn.preprocessing.image.files import array_to_img, img_to_array, load_img, save_img, smart_resize
from minicnn.preprocessing.image.generator import ImageDataGenerator
from minicnn.preprocessing.image.iterators import DataFrameIterator, DirectoryIterator, Iterator, NumpyArrayIterator
from minicnn.preprocessing.image.transforms import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    flip_axis,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
    transform_matrix_offset_center,
)

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "flip_axis",
    "image_dataset_from_directory",
    "img_to_array",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
    "transform_matrix_offset_center",
]
