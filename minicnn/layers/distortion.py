"""Augmentation that moves pixels by other maps than affine ones; see `layers/augment.py`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry
from minicnn.backends import ops
from minicnn.layers import draws
from minicnn.layers.augment import (
    FILL_MODES,
    INTERPOLATIONS,
    RandomWarp,
    as_floats,
    bounds_of,
    boxes_around,
    refuse_boxes,
    sorted_range,
)
from minicnn.layers.color import gaussian_kernel
from minicnn.seeds import SeedGenerator

_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # (x, y), in Keras's order


def homography(corners: Any, image: tuple[int, int]) -> Any:
    """The projective map that takes four points to the corners of an image, as `ops.projective_warp2d` takes it.

    The map of the unit square to the points (x0, y0), (x1, y1), (x2, y2), (x3, y3), in the order of the corners, is

        (x, y) = (a u + b v + x0, d u + e v + y0) / (g u + h v + 1)

    with g and h from two linear equations, a = x1 - x0 + g x1, b = x2 - x0 + h x2 and so on; its inverse is the
    adjugate of its matrix.

    Args:
        corners: (N, 4, 2), each (column, row). image: (height, width), both above 1.

    Returns:
        (N, 8).

    Source: Heckbert 1989, "Fundamentals of Texture Mapping and Image Warping", section 2.2.3.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (corners[:, i].T for i in range(4))
    x13, y13, x23, y23 = x1 - x3, y1 - y3, x2 - x3, y2 - y3
    xs, ys = x0 - x1 + x3 - x2, y0 - y1 + y3 - y2
    area = x13 * y23 - x23 * y13
    g, h = (xs * y23 - x23 * ys) / area, (x13 * ys - xs * y13) / area
    a, b, d, e = x1 - x0 + g * x1, x2 - x0 + h * x2, y1 - y0 + g * y1, y2 - y0 + h * y2
    inverse = [
        [e - y0 * h, x0 * h - b, b * y0 - x0 * e],
        [y0 * g - d, a - x0 * g, x0 * d - a * y0],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    last = inverse[2][2]
    rows = [[size * entry / last for entry in row] for size, row in zip((image[1] - 1, image[0] - 1), inverse)]
    return np.stack([*rows[0], *rows[1], inverse[2][0] / last, inverse[2][1] / last], axis=1)


@registry.register("layer")
class RandomPerspective(RandomWarp):
    """Images as seen from another place: their corners move, each by itself, as far as they are from the first one.

    Args:
        factor: the probability, drawn for each image: (lower, upper) within [0, 1], or f for (0, f).
        scale: a corner (x, y) goes to (x * (1 + s), y * (1 + t)), s and t between -scale/2 and scale/2; within [0, 1].
        interpolation, fill_value, seed, data_format: see `RandomWarp`; outside of the image is `fill_value`.
    """

    words_per_image = 10
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor", "scale", "interpolation", "fill_value", "seed")

    def __init__(
        self,
        factor: Any = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__("constant", interpolation, seed, fill_value, data_format, **kwargs)
        self.factor = bounds_of(factor, "factor", 0, 1)
        self.scale = bounds_of(scale, "scale", 0, 1) and scale

    def corners(self, words: Any, image: tuple[int, int]) -> Any:
        """Where each image's corners go, (N, 4, 2), each (column, row)."""
        shifts = draws.uniform(words[:, 2:], -0.5 * self.scale, 0.5 * self.scale).reshape(-1, 4, 2)
        size = np.array([[x * (image[1] - 1), y * (image[0] - 1)] for x, y in _CORNERS], like=shifts)
        return size * (1 + shifts)

    def warp(self, x: Any, words: Any, interpolation: str) -> Any:
        image = x.shape[1:3]
        if min(image) < 2:  # a line has no perspective
            return x
        matrices = homography(self.corners(words, image), image).astype(x.dtype)
        y = ops.projective_warp2d(x, matrices, image, INTERPOLATIONS[interpolation], 0, float(self.fill_value))
        return ops.choose_images(x, y, draws.within(words, self.factor))

    def augment_boxes(self, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
        if min(image) < 2:
            return boxes
        matrices = np.asarray(backends.to_numpy(homography(self.corners(words, image), image)), "float64")
        full = np.concatenate([matrices, np.ones((len(matrices), 1))], axis=1).reshape(-1, 3, 3)
        back = np.moveaxis(np.linalg.inv(full), 0, -1)[..., None]  # maps go from places of the output to the image's

        def moved(x: Any, y: Any) -> tuple[Any, Any]:
            across, down, depth = (row[0] * x + row[1] * y + row[2] for row in back)
            return across / depth, down / depth

        chosen = np.asarray(backends.to_numpy(draws.within(words, self.factor)), bool)[:, None, None]
        return boxes | {"boxes": np.where(chosen, boxes_around(boxes["boxes"], moved), boxes["boxes"])}


def elastic_fields(like: Any, alpha: Any, sigma: Any, kernel: Any, keys: tuple[Any, Any]) -> list[Any]:
    """Smooth random fields for images (N, H, W, C), (N, H, W) each: noise times sigma, filtered by the kernel, times alpha.

    Args:
        alpha, sigma: arrays of shape (1,). kernel: along an axis. keys: of the noise of each field.
    """
    fields, kernel = [], kernel.astype(like.dtype)
    for key in keys:
        noise = ops.gaussian_noise(np.zeros_like(like[..., :1]), 1.0, key) * sigma.astype(like.dtype)
        smooth = ops.filter2d(ops.filter2d(noise, kernel[:, None]), kernel[None])
        fields.append(smooth[..., 0] * alpha.astype(like.dtype))
    return fields


@registry.register("layer")
class RandomElasticTransform(RandomWarp):
    """Images distorted as if on rubber: each pixel moves by a smooth random field.

    The field is normally distributed noise, times sigma, smoothed by a Gaussian kernel of standard deviation sigma,
    times alpha; alpha is 0.1 * scale * the larger side of the image, sigma 0.05 * scale * its smaller side.

    Args:
        factor: the probability, drawn for each image: (lower, upper) within [0, 1], or f for (0, f).
        scale: drawn once for a batch: (lower, upper) within [0, 1], or s for (0, s).
        interpolation, fill_mode, fill_value, seed, data_format: see `RandomWarp`; `fill_mode` may be "mirror", too.
        value_range: (lowest, highest) value of the images; results are clipped to it.

    Source: Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801.
    """

    words_per_image = 2
    _fill_modes = ("constant", "nearest", "wrap", "mirror", "reflect")
    _own_arguments: ClassVar[tuple[str, ...]] = (
        "data_format",
        "factor",
        "scale",
        "interpolation",
        "fill_mode",
        "fill_value",
        "value_range",
        "seed",
    )

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.factor = bounds_of(factor, "factor", 0, 1)
        self.scale = bounds_of(scale, "scale", 0, 1)
        self.value_range = sorted_range(value_range)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """Words for the images, one for the scale, and the keys of the noise along both axes."""
        generator = generator or self.generator
        words, of_scale = self.draw_words(count, generator), self.draw_words(1, generator)[0, :1]
        return words, of_scale, (generator.next_key(), generator.next_key())

    def fields(self, like: Any, of_scale: Any, keys: tuple[Any, Any]) -> list[Any]:
        """How far each pixel moves down and to the right, (N, H, W) each."""
        H, W = like.shape[1:3]
        scale = draws.uniform(of_scale, *self.scale) + 1e-6
        alpha, sigma = 0.1 * max(H, W) * scale, 0.05 * min(H, W) * scale
        size = 6 * int(0.05 * min(H, W) * (self.scale[1] + 1e-6)) + 1  # of the largest kernel
        return elastic_fields(like, alpha, sigma, gaussian_kernel(size, sigma, 3 * np.floor(sigma)), keys)

    def warp(self, x: Any, words: Any, interpolation: str) -> Any:
        of_images, of_scale, keys = words
        down, right = self.fields(x, of_scale, keys)
        return ops.choose_images(
            x,
            ops.displace2d(x, down, right, INTERPOLATIONS[interpolation], FILL_MODES[self.fill_mode], float(self.fill_value)),
            draws.within(of_images, self.factor),
        )

    augment_boxes = refuse_boxes

    def augment(self, x: Any, words: Any) -> Any:
        return np.clip(super().augment(x, words), *as_floats(self.value_range))
