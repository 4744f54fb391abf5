"""`minicnn.ops.image`: pictures as tensors (N, H, W, C) or (H, W, C)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends
from minicnn.backends import ops as kernels
from minicnn.ops.base import namespace, op
from minicnn.ops.nn import conv
from minicnn.ops.reductions import sum
from minicnn.ops.shaping import expand_dims, get_item, pad, squeeze

__all__ = ["crop_images", "extract_patches", "pad_images", "resize", "rgb_to_grayscale"]

_KERNELS = {"bilinear": "resize2d_bilinear", "nearest": "resize2d_nearest"}


@op("images")
def _resize(images: Any, size: Any, interpolation: str) -> Any:
    """`resize2d_bilinear` or `resize2d_nearest` of images (N, H, W, C)."""
    x = backends.asarray(images)
    size = (int(size[0]), int(size[1]))
    return getattr(kernels, _KERNELS[interpolation])(x, size), (x.shape, size, interpolation)


@_resize.gradient
def _(dy: Any, saved: Any) -> Any:
    """y = R @ x along each axis, so dx = R.T @ dy: R is what becomes of the identity matrix."""
    shape, size, interpolation = saved
    xp = namespace(dy)
    for axis in (1, 2):
        pixels = backends.asarray(np.eye(shape[axis], dtype=dy.dtype).reshape(1, shape[axis], 1, shape[axis]))
        R = getattr(kernels, _KERNELS[interpolation])(pixels, (size[axis - 1], 1))[0, :, 0]
        dy = xp.moveaxis(xp.tensordot(dy, R, ([axis], [0])), -1, axis)
    return dy


def _batched(function: Any, images: Any) -> Any:
    """`function` of images with a batch axis; without one as of a batch of one."""
    if len(images.shape) == 3:
        return squeeze(function(expand_dims(images, 0)), 0)
    if len(images.shape) != 4:
        raise ValueError(
            "Invalid images rank: expected rank 3 (single image) or rank 4 (batch of images). Received input with shape: "
            f"images.shape={images.shape}"
        )
    return function(images)


def resize(images: Any, size: Any, interpolation: str = "bilinear", antialias: bool = False, **kwargs: Any) -> Any:
    """Images at another size, (height, width).

    Raises:
        ValueError: for another interpolation than "bilinear" and "nearest", and what else is not there.
    """
    unknown = [name for name, value in kwargs.items() if value not in (None, False, "channels_last")]
    if interpolation not in _KERNELS or antialias or unknown:
        raise ValueError(
            f"`resize` computes interpolation='bilinear' or 'nearest', of channels_last, without antialias. "
            f"Received: interpolation={interpolation!r}, antialias={antialias}{''.join(f', {name}' for name in unknown)}"
        )
    return _batched(lambda x: _resize(x, size, interpolation), images)


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """0.2989 red + 0.587 green + 0.114 blue, as one channel."""
    return sum(images * np.array([0.2989, 0.587, 0.114], "float32"), axis=-1, keepdims=True)


def pad_images(
    images: Any, top_padding: int = 0, left_padding: int = 0, bottom_padding: int = 0, right_padding: int = 0
) -> Any:
    """Images with so many rows and columns of zeros around them."""
    sides = [[top_padding, bottom_padding], [left_padding, right_padding]]
    return _batched(lambda x: pad(x, [[0, 0], *sides, [0, 0]]), images)


def crop_images(
    images: Any, top_cropping: int = 0, left_cropping: int = 0, bottom_cropping: int = 0, right_cropping: int = 0
) -> Any:
    """Images without so many rows and columns at their sides."""

    def crop(x: Any) -> Any:
        H, W = x.shape[1:3]
        rows, columns = slice(top_cropping, H - bottom_cropping), slice(left_cropping, W - right_cropping)
        return get_item(x, (slice(None), rows, columns))

    return _batched(crop, images)


def extract_patches(images: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid") -> Any:
    """The windows of images, each as one vector (N, OH, OW, KH * KW * C).

    It is a convolution whose kernels each take one pixel of the window.
    """
    KH, KW = (size, size) if isinstance(size, int) else size

    def windows(x: Any) -> Any:
        C = x.shape[3]
        kernel = np.eye(KH * KW * C, dtype="float32").reshape(KH, KW, C, KH * KW * C)
        return conv(x, kernel, (KH, KW) if strides is None else strides, padding, None, dilation_rate)

    return _batched(windows, images)
