"""From a picture file to an array of pixels."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from minicnn.untrusted import FileFormatError, reading, require_regular_file

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
_GREY_MODES = ("L", "I;16", "I")  # 8, 16 and 32 bits: kept as they are
# By list, whatever a file's name says: for some of its other formats Pillow starts a program (EPS: Ghostscript).
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_MOST_PIXELS = 50_000_000  # more than a telephone's 48 million; decoded they take 4 bytes each
_MOST_RUN_LENGTH_PIXELS = 2_000_000  # in a BMP of run lengths, which Pillow decodes in Python, up to 370 ns a pixel
_MOST_SCANS = 100  # of a JPEG; progressive ones have about ten. An empty one takes 12 bytes, and a walk over all pixels


def check_data_format(data_format: str | None) -> None:
    """Raise ValueError for "channels_first", which minicnn does not store; None stands for "channels_last"."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            'minicnn stores images as (batch, height, width, channels): `data_format` must be "channels_last". '
            f"Received: data_format={data_format!r}"
        )


def open_picture(
    file: str | bytes | os.PathLike[Any] | io.BytesIO, color_mode: str | None = "rgb", most_pixels: int = _MOST_PIXELS
) -> Any:
    """The picture in a file as a PIL image, read whole and converted to `color_mode`.

    Args:
        file: a path, or an open binary file: a PNG, JPEG, GIF, BMP or WebP picture.
        color_mode: "grayscale", "rgb" or "rgba"; None for the one that has the picture's channels. Grey pictures of 16 or 32
            bits keep their depth.
        most_pixels: height times width that it may have.

    Raises:
        FileFormatError: (a ValueError) naming the file, if it is no such picture.
        ValueError: for an unknown `color_mode`.
        FileNotFoundError: if there is no such file.
    """
    from PIL import Image

    if color_mode not in (None, *CHANNELS):
        raise ValueError(f'color_mode must be "grayscale", "rgb", or "rgba". Received: color_mode={color_mode!r}')
    name = "the open file" if isinstance(file, io.IOBase) else os.fsdecode(file)
    with reading(f"{name} cannot be read as a picture"):
        if not isinstance(file, io.IOBase):
            require_regular_file(file)
        try:
            image = Image.open(file, formats=_FORMATS)
        except Image.UnidentifiedImageError:
            raise FileFormatError(f"it is none of {', '.join(_FORMATS)}, or it is damaged") from None
        with image:
            if image.width * image.height > most_pixels:
                raise FileFormatError(f"it has {image.width} x {image.height} pixels, more than {most_pixels:,}")
            _check_effort(image)
            image.load()  # from here on the file is not needed
            color_mode = color_mode or _own_mode(image)
            if image.mode == _MODES[color_mode] or (color_mode == "grayscale" and image.mode in _GREY_MODES):
                return image
            return image.convert(_MODES[color_mode])


def _own_mode(image: Any) -> str:
    """The color mode that has the channels of a picture."""
    if image.mode in ("1", *_GREY_MODES):
        return "grayscale"
    return "rgba" if image.has_transparency_data else "rgb"


def _check_effort(image: Any) -> None:
    """Raise for a picture that takes a long time to decode, for its size."""
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        if image.width * image.height > _MOST_RUN_LENGTH_PIXELS:
            size = f"{image.width} x {image.height}"
            raise FileFormatError(
                f"it is compressed by run lengths, and has {size} pixels, more than {_MOST_RUN_LENGTH_PIXELS:,}"
            )
    elif image.format == "JPEG":
        # Between a scan's numbers, a byte 255 is followed by 0 or by the marker of what comes next.
        image.fp.seek(0)
        scans = image.fp.read().count(b"\xff\xda")
        if scans > _MOST_SCANS:
            raise FileFormatError(f"it has {scans:,} scans, more than {_MOST_SCANS}")


def read_picture(
    file: str | bytes | os.PathLike[Any] | io.BytesIO, color_mode: str | None = "rgb", most_pixels: int = _MOST_PIXELS
) -> np.ndarray:
    """The picture in a file as an array of shape (height, width, channels), uint8 unless it is deeper."""
    pixels = np.asarray(open_picture(file, color_mode, most_pixels))
    return pixels if pixels.ndim == 3 else pixels[..., None]
