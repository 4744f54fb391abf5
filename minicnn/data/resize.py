"""Changing the size of an image, as `tf.image.resize` does (without antialiasing), axis by axis.

Output pixel o of an axis looks at the place c = (o + 1/2) · S / size - 1/2 of the S input pixels,
and is the sum of the input pixels i near it, weighted with kernel(i - c); weights of pixels
outside the image are dropped and the others scaled to sum 1.

Kernels: Keys 1981 (bicubic, a = -1/2), Duchon 1979 (Lanczos), Mitchell & Netravali 1988.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn.shapes import largest_window


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(x))


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """The cubics of Mitchell & Netravali: (0, 1/2) is Keys's, (1/3, 1/3) their own choice."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b) / 6
        far = ((-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c) / 6
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    return kernel


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0)


def _gaussian(x: np.ndarray) -> np.ndarray:
    """Radius 3/2, standard deviation a third of it."""
    return np.where(np.abs(x) < 1.5, np.exp(-(x**2) / (2 * 0.5**2)), 0)


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {  # with their radii
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic(0, 0.5), 2),
    "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
    "gaussian": (_gaussian, 2),
    "mitchellcubic": (_cubic(1 / 3, 1 / 3), 2),
}
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def _taps(size: int, wanted: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """For each of `wanted` output pixels the input pixels it looks at and their weights, both (wanted, taps)."""
    scale = size / wanted
    start = np.arange(wanted) * scale
    if interpolation == "nearest":
        index = np.floor(start + 0.5 * scale).astype(np.int64)[:, None]
        weight = np.ones_like(index, dtype=np.float64)
    elif interpolation == "area":  # the share of the output pixel that each input pixel covers
        index = np.floor(start).astype(np.int64)[:, None] + np.arange(int(np.ceil(scale)) + 1)
        weight = np.minimum(index + 1, (start + scale)[:, None]) - np.maximum(index, start[:, None])
        weight = np.maximum(weight, 0)
    else:
        kernel, radius = _KERNELS[interpolation]
        centre = start + 0.5 * scale - 0.5
        index = np.floor(centre).astype(np.int64)[:, None] + np.arange(1 - radius, 1 + radius)
        weight = kernel(index - centre[:, None])
    weight = np.where((index >= 0) & (index < size), weight, 0)
    return np.clip(index, 0, size - 1), (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """An image at another size.

    Args:
        image: (..., height, width, channels), any number type.
        size: (height, width) wanted.
        interpolation: one of `INTERPOLATIONS`.

    Returns:
        (..., size[0], size[1], channels) float32; values can leave the image's range where the kernel has negative weights.

    Raises:
        ValueError: for an unknown interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"Argument `interpolation` should be one of {INTERPOLATIONS}. Received: interpolation={interpolation}")
    result = np.asarray(image, dtype=np.float32)
    for axis, wanted in ((-3, size[0]), (-2, size[1])):
        if result.shape[axis] == wanted and interpolation not in ("gaussian", "mitchellcubic"):  # these smooth even so
            continue
        index, weight = _taps(result.shape[axis], wanted, interpolation)
        shape = (-1, *(1,) * (-axis - 1))
        result = np.sum(
            [weight[:, tap].reshape(shape) * result.take(index[:, tap], axis) for tap in range(index.shape[1])], axis=0
        )
    return result


def crop_resize(image: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """`resize` of the largest window in the middle of the image that has the proportions of `size`."""
    top, left, height, width = largest_window(image.shape[-3:-1], size)
    return resize(image[..., top : top + height, left : left + width, :], size, interpolation)


def pad_resize(image: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """`resize` into `size` without changing the image's proportions; zeros around it."""
    height, width = image.shape[-3:-1]
    ratio = max(height / size[0], width / size[1])
    inner_height, inner_width = height / ratio, width / ratio
    inner = resize(image, (max(int(inner_height), 1), max(int(inner_width), 1)), interpolation)
    top, left = int((size[0] - inner_height) / 2), int((size[1] - inner_width) / 2)
    padded = np.zeros((*image.shape[:-3], *size, image.shape[-1]), np.float32)
    padded[..., top : top + inner.shape[-3], left : left + inner.shape[-2], :] = inner
    return padded
