"""`minicnn.ops.image`: pictures as tensors (N, H, W, C) or (H, W, C)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.backends import ops as kernels
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import cast, multiply, round, saturate_cast
from minicnn.ops.image_filters import batched, gaussian_blur, on_channels_last, scale_and_translate, sobel_edges, ssim
from minicnn.ops.image_maps import affine_transform, elastic_transform, map_coordinates, perspective_transform
from minicnn.ops.nn import channels_of, conv
from minicnn.ops.reductions import sum
from minicnn.ops.shaping import expand_dims, get_item, pad, squeeze
from minicnn.shapes import largest_window

__all__ = [
    "affine_transform",
    "crop_images",
    "elastic_transform",
    "extract_patches",
    "extract_patches_3d",
    "gaussian_blur",
    "hsv_to_rgb",
    "map_coordinates",
    "pad_images",
    "perspective_transform",
    "resize",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "scale_and_translate",
    "sobel_edges",
    "ssim",
]

_INTERPOLATIONS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic")
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


def _at_size(x: Any, size: tuple[int, int], interpolation: str, antialias: bool) -> Any:
    """Images (N, H, W, C) at another size; whole numbers are rounded."""
    if interpolation == "nearest":
        return _resize(x, size, interpolation)
    whole = str(x.dtype)[:5] != "float"
    y = cast(x, config.floatx()) if whole else x
    if interpolation == "bilinear" and not antialias:
        y = _resize(y, size, interpolation)
    else:
        N, H, W, C = x.shape
        scale = (size[0] / H, size[1] / W)
        y = scale_and_translate(y, (N, *size, C), scale, (0, 0), (1, 2), interpolation, antialias)
    return saturate_cast(round(y), x.dtype) if whole else y


def resize(
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images at another size, (height, width).

    Args:
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: whether the filter widens where images shrink, so that every pixel counts (not for "nearest").
        crop_to_aspect_ratio: take the largest window in the middle that has the proportions of `size`.
        pad_to_aspect_ratio: put pixels of `fill_value` around the image until it has them, as many on both sides.

    Raises:
        ValueError: for another interpolation or `fill_mode`, for both of crop and pad, for a size of other than two
            numbers, and for images of other than three or four axes.
    """
    if interpolation not in _INTERPOLATIONS:
        raise ValueError(
            "Invalid value for argument `interpolation`. Expected of one "
            f"{_INTERPOLATIONS}. Received: interpolation={interpolation}"
        )
    if fill_mode != "constant":
        raise ValueError(
            f"Invalid value for argument `fill_mode`. Only 'constant' is supported. Received: fill_mode={fill_mode}"
        )
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`.")
    if len(size) != 2:
        raise ValueError(f"Argument `size` must be a tuple of two elements (height, width). Received: size={size}")
    size = (int(size[0]), int(size[1]))
    if min(size) <= 0:
        raise ValueError(f"`size` must have positive height and width. Received: size={size}")

    def fitted(x: Any) -> Any:
        H, W = x.shape[1:3]
        if crop_to_aspect_ratio:
            top, left, height, width = largest_window((H, W), size)
            x = get_item(x, (slice(None), slice(top, top + height), slice(left, left + width)))
        elif pad_to_aspect_ratio:
            sides = [max(W * size[0] // size[1] - H, 0) // 2, max(H * size[1] // size[0] - W, 0) // 2]
            x = pad(x, [[0, 0], *([side, side] for side in sides), [0, 0]], constant_values=fill_value) if any(sides) else x
        return _at_size(x, size, interpolation, antialias)

    return on_channels_last(fitted, images, data_format)


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """0.2989 red + 0.587 green + 0.114 blue, as one channel in the images' dtype; one channel alone stays as it is.

    Raises:
        ValueError: for another number of channels.
    """

    def gray(x: Any) -> Any:
        if x.shape[-1] == 1:
            return x
        if x.shape[-1] != 3:
            raise ValueError(
                "Invalid channel size: expected 3 (RGB) or 1 (Grayscale). "
                f"Received input with shape: images.shape={tuple(images.shape)}"
            )
        whole = str(x.dtype)[:5] != "float"
        y = cast(x, config.floatx()) if whole else x
        y = sum(multiply(y, np.array([0.2989, 0.587, 0.114], str(y.dtype))), axis=-1, keepdims=True)
        return cast(y, x.dtype) if whole else y

    return on_channels_last(gray, images, data_format)


@op("images")
def _rgb_to_hsv(images: Any) -> Any:
    """`rgb_to_hsv` of colors (..., 3)."""
    x = backends.asarray(images)
    y = kernels.rgb_to_hsv(x)
    return y, (x, y)


@_rgb_to_hsv.gradient
def _(dy: Any, saved: Any) -> Any:
    # V = largest, S = D / V, H = (place + (p - q) / D) / 6, D = V - smallest; p, q are the colors that follow the largest.
    x, y = saved
    xp = namespace(x)
    dH, dS, dV = (dy[..., c : c + 1] for c in range(3))
    V = y[..., 2:]
    D = V - x.min(axis=-1, keepdims=True)
    gray, safe_D, safe_V = D <= 0, xp.where(D > 0, D, 1), xp.where(V > 0, V, 1)
    colors = xp.arange(3)
    is_largest = colors == xp.argmax(x, axis=-1)[..., None]
    is_smallest = colors == 2 - xp.argmin(x[..., ::-1], axis=-1)[..., None]
    sign = xp.roll(is_largest, 1, -1) * 1 - xp.roll(is_largest, 2, -1) * 1  # of p and q
    of_hue = xp.where(gray, 0, dH / (6 * safe_D))
    dD = -of_hue * (sign * x).sum(axis=-1, keepdims=True) / safe_D + xp.where(V > 0, dS / safe_V, 0)
    at_largest = dV + dD - xp.where(V > 0, dS * D / safe_V**2, 0)
    return of_hue * sign + at_largest * is_largest - dD * is_smallest


@op("images")
def _hsv_to_rgb(images: Any) -> Any:
    """`hsv_to_rgb` of colors (..., 3)."""
    x = backends.asarray(images)
    return kernels.hsv_to_rgb(x), x


@_hsv_to_rgb.gradient
def _(dy: Any, saved: Any) -> Any:
    # y = V (1 - S + S r), r = clip(share, 0, 1) of each color
    xp = namespace(saved)
    H, S, V = (saved[..., c : c + 1] for c in range(3))
    turn = xp.concatenate([6 * H - 3, 6 * H - 2, 6 * H - 4], axis=-1)
    away = xp.asarray(np.array([1, -1, -1], saved.dtype))
    share = away * xp.abs(turn) + xp.asarray(np.array([-1, 2, 2], saved.dtype))
    slope = 6 * away * xp.sign(turn) * ((share >= 0) & (share <= 1))
    r = xp.clip(share, 0, 1)
    parts = (dy * V * S * slope, dy * V * (r - 1), dy * (1 - S + S * r))
    return xp.stack([part.sum(axis=-1) for part in parts], axis=-1)


def _colors(x: Any) -> Any:
    """Images (N, H, W, 3) as they are.

    Raises:
        ValueError: for images of another number of channels, or of whole numbers.
    """
    if x.shape[-1] != 3:
        raise ValueError(f"Input images must have 3 channels, but received images with {x.shape[-1]} channels.")
    if str(x.dtype)[:5] != "float":
        raise ValueError(f"Invalid images dtype: expected float dtype. Received: images.dtype={x.dtype}")
    return x


def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Red, green and blue, between 0 and 1, as hue (in turns), saturation and value: see `kernels.adjust_hsv`."""
    return on_channels_last(lambda x: _rgb_to_hsv(_colors(x)), images, data_format)


def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """The reverse of `rgb_to_hsv`."""
    return on_channels_last(lambda x: _hsv_to_rgb(_colors(x)), images, data_format)


def _sides(size: int | None, sign: int, given: dict[str, int | None]) -> tuple[int, int]:
    """How much to put (`sign` 1) or to take (-1) before and behind an axis: of both and of the new size, two are given.

    Raises:
        ValueError: for more or fewer than two of them, for one that would be negative, and for a new size of an axis whose
            size is unknown.
    """
    said = ", ".join(f"{name}={value}" for name, value in given.items())
    if list(given.values()).count(None) != 1:
        raise ValueError(f"Must specify exactly two of {', '.join(given)}. Received: {said}")
    for name, value in given.items():
        if value is not None and value < 0:
            raise ValueError(f"{name} must be >= 0. Received: {said}")
    before, behind, target = given.values()
    if target is not None:
        if size is None:
            raise ValueError(f"{list(given)[-1]} is for images of a known size. Received: {said}")
        rest = sign * (target - size)
        if before is None:
            before = rest - int(behind or 0)
        else:
            behind = rest - before
    sides = int(before or 0), int(behind or 0)
    for name, value in zip(given, (*sides, 0 if size is None else size + sign * (sides[0] + sides[1]))):
        if value < 0:
            raise ValueError(f"{name} must be >= 0. Received: {said}, which makes it {value} for images of size {size}")
    return sides


def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images with rows and columns of zeros around them: of either two say, of both sides and the target, what the third is.

    Raises:
        ValueError: for more or fewer than two of them, and where one would be negative.
    """

    def padded(x: Any) -> Any:
        named_rows = {"top_padding": top_padding, "bottom_padding": bottom_padding, "target_height": target_height}
        named_columns = {"left_padding": left_padding, "right_padding": right_padding, "target_width": target_width}
        rows, columns = _sides(x.shape[1], 1, named_rows), _sides(x.shape[2], 1, named_columns)
        return pad(x, [[0, 0], list(rows), list(columns), [0, 0]])

    return on_channels_last(padded, images, data_format)


def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images without some rows and columns at their sides, said as in `pad_images`.

    Raises:
        ValueError: as there.
    """

    def cropped(x: Any) -> Any:
        named_rows = {"top_cropping": top_cropping, "bottom_cropping": bottom_cropping, "target_height": target_height}
        named_columns = {"left_cropping": left_cropping, "right_cropping": right_cropping, "target_width": target_width}
        (top, bottom), (left, right) = _sides(x.shape[1], -1, named_rows), _sides(x.shape[2], -1, named_columns)
        return get_item(x, (slice(None), slice(top, -bottom or None), slice(left, -right or None)))

    return on_channels_last(cropped, images, data_format)


def extract_patches(
    images: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The windows of images, each as one vector (N, OH, OW, KH * KW * C); with a size of three axes, those of volumes.

    It is a convolution whose kernels each take one pixel of the window.
    """
    if isinstance(size, (tuple, list)) and len(size) == 3:
        return extract_patches_3d(images, size, strides, dilation_rate, padding, data_format)
    if not isinstance(size, (int, tuple, list)):
        raise TypeError(f"Invalid `size` argument. Expected an int or a tuple. Received: size={size!r}")
    size = (size, size) if isinstance(size, int) else tuple(size)
    return batched(lambda x: _windows(x, size, strides, dilation_rate, padding, data_format), images)


def extract_patches_3d(
    volumes: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The windows of volumes, each as one vector (N, OD, OH, OW, KD * KH * KW * C): see `extract_patches`."""
    size = (size,) * 3 if isinstance(size, int) else tuple(size)
    if len(size) != 3:
        raise TypeError(f"Invalid `size` argument. Expected an int or a tuple of length 3. Received: size={size}")
    if len(volumes.shape) == 4:
        volumes = expand_dims(volumes, 0)
        return squeeze(_windows(volumes, size, strides, dilation_rate, padding, data_format), 0)
    return _windows(volumes, size, strides, dilation_rate, padding, data_format)


def _windows(x: Any, size: tuple[int, ...], strides: Any, dilation: Any, padding: str, data_format: str | None) -> Any:
    C = channels_of(x, data_format)
    outputs = math.prod(size) * C
    kernel = np.eye(outputs, dtype="float32").reshape(*size, C, outputs)
    return conv(x, kernel, size if strides is None else strides, padding, data_format, dilation)
