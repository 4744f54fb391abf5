"""TensorFlow's `tf.image`: whole images cut, padded, turned, recoloured, one or a batch.

Images are (H, W, C) or (N, H, W, C). What is drawn by chance comes from minicnn's generator: other numbers than TensorFlow's
for the same seed, as everywhere.
"""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import ops, random
from minicnn.ops.image_filters import batched, resize_by_area
from minicnn.tf.arguments import named, one_seed
from minicnn.tf.boxes import (
    combined_non_max_suppression,
    draw_bounding_boxes,
    non_max_suppression,
    sample_distorted_bounding_box,
)
from minicnn.tf.nn import LAST

__all__ = ["IMAGE", "between", "convert_image_dtype"]

# --- sizes and places ------------------------------------------------------------------


class ResizeMethod:
    """The names of the ways to resize."""

    AREA = "area"
    BICUBIC = "bicubic"
    BILINEAR = "bilinear"
    LANCZOS3 = "lanczos3"
    LANCZOS5 = "lanczos5"
    NEAREST_NEIGHBOR = "nearest"


def resize(
    images: Any, size: Any, method: str = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False
) -> Any:
    """Images at another size, (height, width), of floats unless `method` is "nearest".

    Args:
        method: "area" (the mean of what a new pixel covers), or one of `ops.image.resize`.
        preserve_aspect_ratio: whether the largest size of the image's proportions is meant that `size` holds.
    """
    if preserve_aspect_ratio:
        H, W = images.shape[-3:-1]
        factor = min(size[0] / H, size[1] / W)
        size = (round(H * factor), round(W * factor))
    if method != "nearest" and str(images.dtype)[:5] != "float":
        images = ops.cast(images, "float32")
    if method != "area":
        return ops.image.resize(images, size, method, antialias, data_format=LAST)
    return batched(lambda x: resize_by_area(x, (int(size[0]), int(size[1]))), images)


def crop_to_bounding_box(image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int) -> Any:
    """The part of an image that begins at these offsets and has this size.

    Raises:
        ValueError: if it does not lie within the image.
    """
    top, left, height, width = map(int, (offset_height, offset_width, target_height, target_width))
    H, W = image.shape[-3:-1]
    if min(top, left) < 0 or min(height, width) <= 0 or top + height > H or left + width > W:
        raise ValueError(
            f"`crop_to_bounding_box` takes a box within the image, of at least one pixel. Received: offset ({top}, {left}), "
            f"target ({height}, {width}), of an image of ({H}, {W})"
        )
    return ops.get_item(image, (..., slice(top, top + height), slice(left, left + width), slice(None)))


def pad_to_bounding_box(image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int) -> Any:
    """The image at these offsets in zeros of this size.

    Raises:
        ValueError: if it does not fit in there.
    """
    top, left, height, width = map(int, (offset_height, offset_width, target_height, target_width))
    H, W = image.shape[-3:-1]
    bottom, right = height - top - H, width - left - W
    if min(top, left, bottom, right) < 0:
        raise ValueError(
            f"`pad_to_bounding_box` takes a target that holds the image. Received: offset ({top}, {left}), "
            f"target ({height}, {width}), for an image of ({H}, {W})"
        )
    return ops.image.pad_images(image, top, left, bottom, right, data_format=LAST)


def central_crop(image: Any, central_fraction: float) -> Any:
    """The middle of an image: this share of its height and of its width."""
    if not 0 < central_fraction <= 1:
        raise ValueError(f"`central_fraction` must be in (0, 1]. Received: central_fraction={central_fraction}")
    H, W = image.shape[-3:-1]
    top, left = (int((size - size * central_fraction) / 2) for size in (H, W))
    return crop_to_bounding_box(image, top, left, H - 2 * top, W - 2 * left)


def resize_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Any:
    """The middle of an image, or the image in the middle of zeros, axis by axis."""
    H, W = image.shape[-3:-1]
    more = target_height - H, target_width - W
    top, left = (max(-size // 2, 0) for size in more)
    cropped = crop_to_bounding_box(image, top, left, min(target_height, H), min(target_width, W))
    above, before = (max(size // 2, 0) for size in more)
    return pad_to_bounding_box(cropped, above, before, target_height, target_width)


def resize_with_pad(
    image: Any, target_height: int, target_width: int, method: str = "bilinear", antialias: bool = False
) -> Any:
    """The whole image, as large as it fits in the middle of zeros of this size."""
    H, W = image.shape[-3:-1]
    ratio = max(H / target_height, W / target_width)
    resized = resize(image, (int(H / ratio), int(W / ratio)), method, antialias=antialias)
    top, left = (max(0, int((target - size / ratio) / 2)) for target, size in ((target_height, H), (target_width, W)))
    return pad_to_bounding_box(resized, top, left, target_height, target_width)


def crop_and_resize(
    image: Any, boxes: Any, box_indices: Any, crop_size: Any, method: str = "bilinear", extrapolation_value: float = 0.0
) -> Any:
    """Boxes of images, all at one size.

    Args:
        image: (N, H, W, C).
        boxes: (B, 4), of (top, left, bottom, right) as shares of the image, its first pixel 0 and its last 1.
        box_indices: (B,), which image each is cut from.
        crop_size: (height, width) of the result. method: "bilinear" or "nearest".
        extrapolation_value: of places outside the image.

    Returns:
        (B, height, width, C), of floats. There is a gradient for the images, none for the boxes.
    """
    if method not in ("bilinear", "nearest"):
        raise ValueError(f'`method` must be "bilinear" or "nearest". Received: method={method!r}')
    boxes = np.asarray(boxes, "float64")
    of_box = np.asarray(box_indices).reshape(-1, 1, 1)
    places = []  # of the rows, (B, height, 1), and of the columns, (B, 1, width)
    for i, (size, wanted) in enumerate(zip(image.shape[1:3], crop_size)):
        steps = np.arange(wanted) / (wanted - 1) if wanted > 1 else np.array([0.5])
        along = (boxes[:, i, None] + steps * (boxes[:, i + 2] - boxes[:, i])[:, None]) * (size - 1)
        places.append(along[:, :, None] if i == 0 else along[:, None, :])
    within_rows, within_columns = ((p >= 0) & (p <= size - 1) for p, size in zip(places, image.shape[1:3]))
    inside = (within_rows & within_columns)[..., None]
    rows, columns = (np.clip(p, 0, size - 1) for p, size in zip(places, image.shape[1:3]))
    if method == "nearest":
        found = ops.get_item(image, (of_box, np.floor(rows + 0.5).astype(int), np.floor(columns + 0.5).astype(int)))
        return ops.where(inside, ops.cast(found, "float32"), extrapolation_value)
    total: Any = 0.0
    for row in (0, 1):
        for column in (0, 1):
            y, x = np.floor(rows).astype(int), np.floor(columns).astype(int)
            share_y, share_x = rows - y, columns - x
            weight = (share_y if row else 1 - share_y) * (share_x if column else 1 - share_x)
            corner = (of_box, np.minimum(y + row, image.shape[1] - 1), np.minimum(x + column, image.shape[2] - 1))
            total = total + ops.cast(ops.get_item(image, corner), "float32") * weight[..., None].astype("float32")
    return ops.where(inside, total, extrapolation_value)


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str) -> Any:
    """The windows of images, each as one vector; sizes, strides and rates are (1, rows, columns, 1)."""
    return ops.image.extract_patches(images, tuple(sizes[1:3]), tuple(strides[1:3]), tuple(rates[1:3]), padding.lower(), LAST)


def flip_left_right(image: Any) -> Any:
    """The image mirrored."""
    return ops.flip(image, -2)


def flip_up_down(image: Any) -> Any:
    """The image with its last row first."""
    return ops.flip(image, -3)


def transpose(image: Any) -> Any:
    """Rows as columns."""
    return ops.swapaxes(image, -3, -2)


def rot90(image: Any, k: int = 1) -> Any:
    """The image turned counter-clockwise, by k times 90 degrees."""
    turns = {0: lambda x: x, 1: lambda x: flip_up_down(transpose(x)), 3: lambda x: transpose(flip_up_down(x))}
    turns[2] = lambda x: flip_up_down(flip_left_right(x))
    return turns[int(k) % 4](image)


# --- values ------------------------------------------------------------------------------


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False) -> Any:
    """Pixels of another type: floats go from 0 to 1, whole numbers from 0 to the largest of their type.

    Args:
        saturate: whether floats outside that range become the nearest whole number in it.
    """
    old, new = np.dtype(str(image.dtype)), np.dtype(getattr(dtype, "as_numpy_dtype", dtype))
    if old == new or (old.kind == "f" and new.kind == "f"):
        return ops.cast(image, new.name)
    if old.kind == "f":
        scaled = image * (np.iinfo(new).max + 0.5)
        return ops.cast(ops.clip(scaled, 0, np.iinfo(new).max) if saturate else scaled, new.name)
    largest = np.iinfo(old).max
    if new.kind == "f":
        return ops.cast(image, new.name) * (1.0 / largest)
    other = np.iinfo(new).max  # whole numbers both: a power of two between them
    factor = (other + 1) // (largest + 1) if other > largest else (largest + 1) // (other + 1)
    return ops.cast(image, new.name) * factor if other > largest else ops.cast(image // factor, new.name)


def _as_floats(image: Any, change: Any) -> Any:
    """`change` of an image of floats, in the image's own type again."""
    if str(image.dtype)[:5] == "float":
        return change(image)
    return convert_image_dtype(change(convert_image_dtype(image, "float32")), image.dtype, saturate=True)


def adjust_brightness(image: Any, delta: Any) -> Any:
    """The image plus `delta`, which is a share of the range of values."""
    return _as_floats(image, lambda x: x + delta)


def adjust_contrast(images: Any, contrast_factor: Any) -> Any:
    """Each pixel's distance from its channel's mean times a factor."""

    def change(x: Any) -> Any:
        mean = ops.mean(x, (-3, -2), keepdims=True)
        return (x - mean) * contrast_factor + mean

    return _as_floats(images, change)


def _in_hsv(image: Any, change: Any) -> Any:
    """An RGB image of whom `change` made other hues and saturations."""

    def recolored(x: Any) -> Any:
        hsv = ops.image.rgb_to_hsv(x, LAST)
        hue, saturation, value = (ops.get_item(hsv, (..., slice(i, i + 1))) for i in range(3))
        return ops.image.hsv_to_rgb(ops.concatenate([*change(hue, saturation), value], axis=-1), LAST)

    return _as_floats(image, recolored)


def adjust_saturation(image: Any, saturation_factor: Any) -> Any:
    """The saturation of an RGB image times a factor, 1 at most."""
    return _in_hsv(image, lambda hue, saturation: (hue, ops.clip(saturation * saturation_factor, 0.0, 1.0)))


def adjust_hue(image: Any, delta: Any) -> Any:
    """The hue of an RGB image turned by `delta` of a full circle."""
    return _in_hsv(image, lambda hue, saturation: ((hue + delta) - ops.floor(hue + delta), saturation))


def adjust_gamma(image: Any, gamma: float = 1, gain: float = 1) -> Any:
    """gain * x**gamma."""
    return _as_floats(image, lambda x: gain * x**gamma)


def grayscale_to_rgb(images: Any) -> Any:
    """One channel three times."""
    return ops.concatenate([images] * 3, axis=-1)


def per_image_standardization(image: Any) -> Any:
    """(x - mean) / max(standard deviation, 1 / sqrt(count)), over all values of an image."""
    x = ops.cast(image, "float32")
    count = int(np.prod(image.shape[-3:]))
    deviation = ops.maximum(ops.std(x, (-3, -2, -1), keepdims=True), 1 / count**0.5)
    return (x - ops.mean(x, (-3, -2, -1), keepdims=True)) / deviation


def _differences(images: Any) -> tuple[Any, Any]:
    """Each pixel's lower neighbour minus it, and its right neighbour minus it."""
    below = ops.get_item(images, (..., slice(1, None), slice(None), slice(None)))
    right = ops.get_item(images, (..., slice(1, None), slice(None)))
    above = ops.get_item(images, (..., slice(None, -1), slice(None), slice(None)))
    return below - above, right - ops.get_item(images, (..., slice(None, -1), slice(None)))


def total_variation(images: Any) -> Any:
    """The sum of the distances of neighbouring pixels' values, one number an image."""
    return sum(ops.sum(ops.abs(part), (-3, -2, -1)) for part in _differences(images))


def image_gradients(image: Any) -> tuple[Any, Any]:
    """The differences to the pixel below and to that on the right, of the image's shape: zero in the last row and column."""
    down, right = _differences(image)
    return ops.pad(down, [[0, 0], [0, 1], [0, 0], [0, 0]]), ops.pad(right, [[0, 0], [0, 0], [0, 1], [0, 0]])


def psnr(a: Any, b: Any, max_val: float) -> Any:
    """The peak signal-to-noise ratio of images, in decibels, one number an image: 10 log10(max_val**2 / mean((a - b)**2))."""
    a, b = (ops.cast(image, "float32") if np.dtype(str(image.dtype)).kind in "iu" else image for image in (a, b))
    return 10.0 * ops.log10(max_val**2 / ops.mean(ops.square(ops.subtract(a, b)), (-3, -2, -1)))


# Of an RGB pixel, a column each: Y, U, V. (ITU-R BT.601)
_YUV = np.array(
    [[0.299, -0.14714119, 0.61497538], [0.587, -0.28886916, -0.51496512], [0.114, 0.43601035, -0.10001026]], "float32"
)


def rgb_to_yuv(images: Any) -> Any:
    """Red, green and blue of each pixel as luma and two differences of colour."""
    return ops.matmul(images, _YUV)


def yuv_to_rgb(images: Any) -> Any:
    """The reverse of `rgb_to_yuv`."""
    return ops.matmul(images, np.linalg.inv(_YUV.astype("float64")).astype("float32"))


# --- chance ------------------------------------------------------------------------------


def random_crop(value: Any, size: Any, seed: Any = None) -> Any:
    """A part of this size, at a random place.

    Raises:
        ValueError: if the tensor is smaller than that.
    """
    size = [whole if part == -1 else int(part) for part, whole in zip(size, value.shape, strict=True)]
    if any(part > whole for part, whole in zip(size, value.shape)):
        raise ValueError(f"`random_crop` takes a `size` within the tensor. Received: size={size}, of {tuple(value.shape)}")
    shares = np.asarray(random.uniform((len(size),), seed=one_seed(seed)), "float64")
    starts = [int(share * (whole - part + 1)) for share, whole, part in zip(shares, value.shape, size)]
    return ops.get_item(value, tuple(slice(start, start + part) for start, part in zip(starts, size)))


def _coins(image: Any, seed: Any) -> Any:
    """True with probability 1/2: one for an image, one for each of a batch."""
    shape = (image.shape[0], 1, 1, 1) if len(image.shape) == 4 else ()
    return random.uniform(shape, seed=one_seed(seed)) < 0.5


def random_flip_left_right(image: Any, seed: Any = None) -> Any:
    """Every second image mirrored, by chance."""
    return ops.where(_coins(image, seed), flip_left_right(image), image)


def random_flip_up_down(image: Any, seed: Any = None) -> Any:
    """Every second image upside down, by chance."""
    return ops.where(_coins(image, seed), flip_up_down(image), image)


def between(lower: Any, upper: Any, seed: Any) -> float:
    """A number drawn from that range."""
    if lower > upper:
        raise ValueError(f"`upper` must be at least `lower`. Received: lower={lower}, upper={upper}")
    return float(random.uniform((), lower, upper, seed=one_seed(seed)))


def random_brightness(image: Any, max_delta: float, seed: Any = None) -> Any:
    """`adjust_brightness` by something from -max_delta to max_delta."""
    return adjust_brightness(image, between(-max_delta, max_delta, seed))


def random_contrast(image: Any, lower: float, upper: float, seed: Any = None) -> Any:
    """`adjust_contrast` by a factor from `lower` to `upper`."""
    return adjust_contrast(image, between(lower, upper, seed))


def random_saturation(image: Any, lower: float, upper: float, seed: Any = None) -> Any:
    """`adjust_saturation` by a factor from `lower` to `upper`."""
    return adjust_saturation(image, between(lower, upper, seed))


def random_hue(image: Any, max_delta: float, seed: Any = None) -> Any:
    """`adjust_hue` by something from -max_delta to max_delta."""
    return adjust_hue(image, between(-max_delta, max_delta, seed))


# --- boxes -------------------------------------------------------------------------------


_OWN = (
    *(combined_non_max_suppression, draw_bounding_boxes, non_max_suppression, sample_distorted_bounding_box),
    *(adjust_brightness, adjust_contrast, adjust_gamma, adjust_hue, adjust_saturation, central_crop, convert_image_dtype),
    *(crop_and_resize, crop_to_bounding_box, extract_patches, flip_left_right, flip_up_down, grayscale_to_rgb),
    *(image_gradients, pad_to_bounding_box, per_image_standardization, psnr, random_brightness, random_contrast),
    *(random_crop, random_flip_left_right, random_flip_up_down, random_hue, random_saturation, resize, resize_with_crop_or_pad),
    *(resize_with_pad, rgb_to_yuv, rot90, total_variation, transpose, yuv_to_rgb, ResizeMethod),
)
# TensorFlow's stateless functions take the seed that the others may.
_STATELESS = (
    *(random_brightness, random_contrast, random_crop, random_flip_left_right, random_flip_up_down, random_hue),
    *(random_saturation, sample_distorted_bounding_box),
)
_NAMED = {own.__name__: own for own in _OWN} | {f"stateless_{own.__name__}": own for own in _STATELESS}

IMAGE = SimpleNamespace(
    **{
        name: functools.partial(one, data_format=LAST) if "data_format" in inspect.signature(one).parameters else one
        for name, one in vars(ops.image).items()
        if name in ops.image.__all__
    }
)
IMAGE.__dict__.update({name: named(own) if inspect.isfunction(own) else own for name, own in _NAMED.items()})
