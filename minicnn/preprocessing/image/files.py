"""Between picture files, PIL images and arrays."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import numpy as np

from minicnn import config, shapes
from minicnn.data.pictures import check_data_format, open_picture
from minicnn.data.resize import crop_resize

_RESAMPLING = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")  # PIL's names, in lower case


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """A PIL image as an array.

    Args:
        img: a PIL image, or anything with its (height, width) or (height, width, channels) numbers.
        data_format: only "channels_last".
        dtype: by default `config.floatx()`.

    Returns:
        (height, width, channels), values as they are (0 to 255).

    Raises:
        ValueError: if it has another rank.
    """
    check_data_format(data_format)
    x = np.asarray(img, dtype=dtype or config.floatx())
    if x.ndim not in (2, 3):
        raise ValueError(f"Unsupported image shape: {x.shape}")
    return x if x.ndim == 3 else x[..., None]


def array_to_img(x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None) -> Any:
    """An array as a PIL image.

    Args:
        x: (height, width, channels) with 1, 3 or 4 channels.
        data_format: only "channels_last".
        scale: stretch the values so that the least becomes 0 and the largest 255.
        dtype: what to compute in; by default `config.floatx()`.

    Raises:
        ValueError: if it has another rank or number of channels.
    """
    from PIL import Image

    check_data_format(data_format)
    x = np.asarray(x, dtype=dtype or config.floatx())
    if x.ndim != 3:
        raise ValueError(f"Expected image array to have rank 3 (single image). Got array with shape: {x.shape}")
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"Unsupported channel number: {x.shape[2]}")
    if scale:
        x = x - np.min(x)
        largest = np.max(x)
        if largest != 0:
            x /= largest
        x *= 255
    if x.shape[2] == 1:
        deep = np.max(x) > 255  # more than 8 bits
        return Image.fromarray(x[..., 0].astype("int32" if deep else "uint8"))
    return Image.fromarray(x.astype("uint8"))


def load_img(
    path: str | bytes | os.PathLike[Any] | io.BytesIO,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """A picture file as a PIL image.

    Args:
        path: of the file, or an open one in memory.
        color_mode: "grayscale", "rgb" or "rgba".
        target_size: (height, width) to resize to.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos": as PIL resizes, which is Keras's rule
            here. (`image_dataset_from_directory` and the command line resize as `tf.image.resize` does.)
        keep_aspect_ratio: cut the picture to the proportions of `target_size`, in the middle, before resizing.

    Raises:
        ValueError: naming the file if it is no picture; for unknown arguments.
        FileNotFoundError: if there is no such file.
    """
    from PIL import Image

    if not isinstance(path, (str, bytes, os.PathLike, io.BytesIO)):
        raise TypeError(f"path should be path-like or io.BytesIO, not {type(path)}")
    image = open_picture(path, color_mode)
    if target_size is None:
        return image
    height, width = shapes.pair(target_size, "target_size")
    if image.size == (width, height):
        return image
    if interpolation not in _RESAMPLING:
        raise ValueError(
            f"Invalid interpolation method {interpolation} specified. Supported methods are {', '.join(_RESAMPLING)}"
        )
    box = None
    if keep_aspect_ratio:
        top, left, crop_height, crop_width = shapes.largest_window((image.height, image.width), (height, width))
        box = (left, top, left + crop_width, top + crop_height)
    return image.resize((width, height), Image.Resampling[interpolation.upper()], box=box)


def save_img(
    path: str | os.PathLike[str] | io.BytesIO,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as a picture file.

    Args:
        path: of the file, or an open one in memory (then `file_format` is needed).
        x: (height, width, channels).
        data_format: only "channels_last".
        file_format: by default from the name's ending.
        scale: as in `array_to_img`.
        **kwargs: for PIL's `Image.save`.
    """
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = os.path.splitext(path)[1][1:]
    if file_format is not None and file_format.lower() == "jpg":
        file_format = "jpeg"
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format is not None and file_format.lower() == "jpeg":
        warnings.warn("The JPEG format does not support RGBA images, converting to RGB.", stacklevel=2)
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


def smart_resize(
    x: Any, size: tuple[int, int], interpolation: str = "bilinear", data_format: str = "channels_last"
) -> np.ndarray:
    """Resize an image, or a batch of images, without changing its proportions: the largest fitting window is taken.

    Args:
        x: (height, width, channels) or (N, height, width, channels).
        size: (height, width) wanted.
        interpolation: as in `image_dataset_from_directory`.
        data_format: only "channels_last".
    """
    check_data_format(data_format)
    x = np.asarray(x)
    if x.ndim not in (3, 4):
        raise ValueError(
            "Expected an image array with shape `(height, width, channels)`, or `(batch_size, height, width, channels)`, "
            f"but got input with incorrect rank, of shape {x.shape}."
        )
    return crop_resize(x, shapes.pair(size, "size"), interpolation)
