"""Filters of images: blur, edges, resampling, and the similarity that compares them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import config, registry
from minicnn.backends.reference.image import resampling_filter
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.color import gaussian_kernel
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import add, cast, divide, multiply, square, subtract
from minicnn.ops.nn import depthwise_conv
from minicnn.ops.reductions import mean
from minicnn.ops.shaping import expand_dims, moveaxis, pad, reshape, squeeze, transpose


def batched(function: Any, images: Any) -> Any:
    """`function` of images with a batch axis; without one as of a batch of one."""
    if len(images.shape) == 3:
        return squeeze(function(expand_dims(images, 0)), 0)
    if len(images.shape) != 4:
        raise ValueError(
            "Invalid images rank: expected rank 3 (single image) or rank 4 (batch of images). Received input with shape: "
            f"images.shape={images.shape}"
        )
    return function(images)


def on_channels_last(function: Any, images: Any, data_format: str | None) -> Any:
    """`function` of images (N, H, W, C), or one, in a format (None: `config.image_data_format()`); the result in that, too."""
    if standardize_data_format(data_format) == "channels_last":
        return batched(function, images)
    return moveaxis(batched(function, moveaxis(images, -3, -1)), -1, -3)


def _filtered(images: Any, kernel: np.ndarray, padding: str) -> Any:
    """Each channel of images (N, H, W, C) under one kernel (KH, KW)."""
    own = np.repeat(kernel.astype(str(images.dtype))[:, :, None, None], images.shape[-1], axis=2)
    return depthwise_conv(images, own, 1, padding, "channels_last")


def _gaussian(size: Any, sigma: Any) -> np.ndarray:
    """(KH, KW), the product of a kernel for the rows and one for the columns."""
    columns, rows = (gaussian_kernel(int(n), np.array([s], "float64")) for n, s in zip(size, sigma, strict=True))
    return np.outer(rows, columns).reshape([int(n) for n in size])  # as Keras has them where the sizes differ


def gaussian_blur(images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None) -> Any:
    """Images under a Gaussian kernel, with zeros around them.

    Args:
        sigma: the standard deviations along columns and rows, in pixels.
    """
    kernel = _gaussian(kernel_size, sigma)
    return on_channels_last(lambda x: _filtered(x, kernel, "same"), images, data_format)


def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """How much brighter images (N, H, W, C) get downwards and to the right: (N, H, W, C, 2). Source: Sobel & Feldman 1968."""
    first = standardize_data_format(data_format) == "channels_first"
    x = transpose(images, (0, 2, 3, 1)) if first else images
    down = np.outer([-1.0, 0.0, 1.0], [1.0, 2.0, 1.0])
    kernel = np.repeat(np.stack([down, down.T], -1)[:, :, None].astype(str(x.dtype)), x.shape[-1], axis=2)
    y = depthwise_conv(pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect"), kernel, 1, "valid", "channels_last")
    y = reshape(y, (-1, *x.shape[1:], 2))
    return transpose(y, (0, 3, 1, 2, 4)) if first else y


def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """The structural similarity of images, 1 where they are the same; one number an image.

        (2 m1 m2 + c1) (2 s12 + c2) / ((m1**2 + m2**2 + c1) (s1 + s2 + c2)),  c1 = (k1 max_val)**2, c2 = (k2 max_val)**2

    with m the means, s the variances and s12 the covariance under a Gaussian window; its mean over all places and channels.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    if len(image1.shape) == 3:
        one, two = expand_dims(image1, 0), expand_dims(image2, 0)
        return squeeze(ssim(one, two, max_val, filter_size, filter_sigma, k1, k2, data_format), 0)
    if standardize_data_format(data_format) == "channels_first":
        image1, image2 = transpose(image1, (0, 2, 3, 1)), transpose(image2, (0, 2, 3, 1))
    kernel = _gaussian((filter_size,) * 2, (filter_sigma,) * 2)
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    m1, m2 = (_filtered(x, kernel, "valid") for x in (image1, image2))
    s1, s2, s12 = (
        subtract(_filtered(multiply(a, b), kernel, "valid"), multiply(m, n))
        for a, b, m, n in ((image1, image1, m1, m1), (image2, image2, m2, m2), (image1, image2, m1, m2))
    )
    numerator = multiply(add(multiply(multiply(m1, m2), 2.0), c1), add(multiply(s12, 2.0), c2))
    denominator = multiply(add(add(square(m1), square(m2)), c1), add(add(s1, s2), c2))
    return mean(divide(numerator, denominator), (1, 2, 3))


_RADII = dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), 1)
_RADII |= {"cubic": 2, "bicubic": 2, "tricubic": 2, "lanczos3": 3, "lanczos5": 5}


@op("x")
def _mixed(x: Any, matrix: np.ndarray, axis: int) -> Any:
    """x times a matrix along an axis."""
    xp = namespace(x)
    matrix = xp.asarray(matrix).astype(x.dtype)
    return xp.moveaxis(xp.tensordot(x, matrix, ([axis], [0])), -1, axis), (matrix, axis)


@_mixed.gradient
def _(dy: Any, saved: Any) -> Any:
    matrix, axis = saved
    xp = namespace(dy)
    return xp.moveaxis(xp.tensordot(dy, matrix, ([axis], [1])), -1, axis)


def _resampling(size: int, new_size: int, scale: float, shift: float, radius: int, antialias: bool) -> np.ndarray:
    """(size, new_size): how much of each pixel there is in each new one, whose place is (o + 1/2 - shift) / scale - 1/2."""
    places = (np.arange(new_size) + 0.5 - shift) / scale - 0.5
    wide = max(1 / scale, 1.0) if antialias else 1.0
    weights = resampling_filter((places - np.arange(size)[:, None]) / wide, radius)
    total = weights.sum(axis=0, keepdims=True)
    weights = np.where(np.abs(total) > 1e-4, weights / np.where(total == 0, 1, total), 0)
    return np.where((places >= -0.5) & (places <= size - 0.5), weights, 0)


@registry.register("resampling")
def scale_and_translate(
    images: Any, output_shape: Any, scale: Any, translation: Any, spatial_dims: Any, method: str, antialias: bool = True
) -> Any:
    """Images resampled along axes: pixel p goes to (p + 1/2) * scale + translation - 1/2.

    Args:
        output_shape: of the result. scale, translation: a number for each of these axes (no gradient goes there).
        method: "linear", "cubic", "lanczos3" or "lanczos5". antialias: whether the filter widens where images shrink.

    Raises:
        ValueError: for another method.
    """
    if method not in _RADII:
        raise ValueError(f"Invalid value for argument `method`. Expected of one {set(_RADII)}. Received: method={method}")
    whole = str(images.dtype)[:5] != "float"
    y = cast(images, config.floatx()) if whole else images
    for number, axis in enumerate(spatial_dims):
        axis %= len(images.shape)
        steps = float(scale[number]), float(translation[number])
        y = _mixed(y, _resampling(images.shape[axis], output_shape[axis], *steps, _RADII[method], antialias), axis)
    return cast(_rounded(y, images), images.dtype) if whole else y


def _areas(size: int, new_size: int) -> np.ndarray:
    """(size, new_size): the share that each pixel has of each new one, which lies over size / new_size of them."""
    edges = np.arange(new_size + 1) * (size / new_size)
    pixels = np.arange(size)[:, None]
    return np.clip(np.minimum(pixels + 1, edges[1:]) - np.maximum(pixels, edges[:-1]), 0, None) * (new_size / size)


def resize_by_area(images: Any, size: Any) -> Any:
    """Images (N, H, W, C) at another size, (height, width): each new pixel is the mean of the area that it covers."""
    for axis, new_size in zip((1, 2), size):
        images = _mixed(images, _areas(images.shape[axis], new_size), axis)
    return images


@op("y", "images", differentiable=False)
def _rounded(y: Any, images: Any) -> Any:
    """Whole numbers, within the range of the images."""
    xp = namespace(y)
    return xp.clip(xp.round(y), images.min(), images.max())
