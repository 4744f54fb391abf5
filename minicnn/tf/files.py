"""TensorFlow's `tf.io`: files of pictures read and written; and `tf.image`'s functions that need them."""

from __future__ import annotations

import glob
import io
import os
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn.atomic import replacing
from minicnn.data.pictures import read_picture
from minicnn.tensor import as_tensor
from minicnn.tf.image import between, convert_image_dtype
from minicnn.untrusted import reading, require_regular_file

__all__ = ["IMAGES", "IO"]


def read_file(filename: Any) -> bytes:
    """What is in a file."""
    name = _text(filename)
    with reading(f"{name} cannot be read"):
        require_regular_file(name)
        with open(name, "rb") as file:
            return file.read()


def _text(value: Any) -> str:
    """A path, or a name that a data set may hand over as an array of one."""
    value = value.item() if isinstance(value, np.ndarray) else value
    return os.fsdecode(value)


_MODES = {0: None, 1: "grayscale", 3: "rgb", 4: "rgba"}


def decode_image(contents: Any, channels: int = 0, dtype: Any = "uint8", expand_animations: bool = True) -> Any:
    """A picture's pixels, (H, W, C), from the bytes of its file.

    Args:
        contents: of a PNG, JPEG, GIF, BMP or WebP file; of a GIF the first picture is taken.
        channels: 1, 3 or 4; 0 for as many as it has.
        dtype: "uint8" for 0 to 255; of floats for 0 to 1.
        expand_animations: no effect.
    """
    if channels not in _MODES:
        raise ValueError(f"`channels` must be 0, 1, 3 or 4. Received: channels={channels}")
    data = contents.item() if isinstance(contents, np.ndarray) else contents
    return convert_image_dtype(as_tensor(read_picture(io.BytesIO(data), _MODES[channels])), dtype)


def encode_png(image: Any, compression: int = -1) -> bytes:
    """The bytes of a PNG file, of pixels (H, W, 1, 3 or 4) from 0 to 255."""
    return _encoded(image, "PNG")


def encode_jpeg(image: Any, format: str = "", quality: int = 95) -> bytes:
    """The bytes of a JPEG file, of pixels (H, W, 1 or 3) from 0 to 255."""
    return _encoded(image, "JPEG", quality=quality)


def _encoded(image: Any, kind: str, **options: Any) -> bytes:
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ValueError(f"`image` must be of uint8, (H, W, C). Received: {pixels.dtype}, shape {pixels.shape}")
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()


def write_file(filename: Any, contents: bytes) -> None:
    """Write bytes into a file, whose folder is made."""
    name = _text(filename)
    os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
    with replacing(name) as file:
        file.write(contents)


def adjust_jpeg_quality(image: Any, jpeg_quality: int) -> Any:
    """A picture as it is after a JPEG file of this quality, 0 to 100; of floats where it is of floats, 0 to 1."""
    pixels = np.asarray(convert_image_dtype(image, "uint8", saturate=True))
    return convert_image_dtype(decode_image(encode_jpeg(pixels, quality=int(jpeg_quality))), np.asarray(image).dtype)


def random_jpeg_quality(image: Any, min_jpeg_quality: int, max_jpeg_quality: int, seed: Any = None) -> Any:
    """`adjust_jpeg_quality` of a quality from the first to below the second."""
    return adjust_jpeg_quality(image, int(between(min_jpeg_quality, max_jpeg_quality, seed)))


_CODERS: dict[str, Any] = {f"decode_{kind}": decode_image for kind in ("bmp", "image", "jpeg", "png")}
_CODERS |= {"encode_jpeg": encode_jpeg, "encode_png": encode_png}
IMAGES: dict[str, Any] = {
    **_CODERS,
    "adjust_jpeg_quality": adjust_jpeg_quality,
    "random_jpeg_quality": random_jpeg_quality,
    "stateless_random_jpeg_quality": random_jpeg_quality,
}
_GFILE = SimpleNamespace(
    GFile=open,
    exists=os.path.exists,
    glob=lambda pattern: glob.glob(os.fspath(pattern)),
    isdir=os.path.isdir,
    listdir=os.listdir,
    makedirs=lambda path: os.makedirs(path, exist_ok=True),
    mkdir=os.mkdir,
    remove=os.remove,
)
IO = SimpleNamespace(
    gfile=_GFILE,
    matching_files=lambda pattern: as_tensor(np.array(sorted(glob.glob(_text(pattern))))),
    read_file=read_file,
    write_file=write_file,
    **_CODERS,
)
