"""Images seen through maps of their places: affine, projective, elastic, or any."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minicnn import backends
from minicnn.backends import ops as kernels
from minicnn.backends.reference.image import fold_places
from minicnn.layers.augment import FILL_MODES, INTERPOLATIONS
from minicnn.layers.color import gaussian_kernel
from minicnn.layers.distortion import elastic_fields
from minicnn.layers.symbolic import KerasTensor
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import add, cast, convert_to_tensor, floor, multiply, round, subtract
from minicnn.ops.image_filters import on_channels_last
from minicnn.ops.shaping import expand_dims, unstack
from minicnn.seeds import SeedGenerator


@op("images", "maps")
def _warp(images: Any, maps: Any, interpolation: int, fill_mode: int, fill_value: float) -> Any:
    """`projective_warp2d` of images (N, H, W, C) under maps (N, 8), or one (1, 8) for all."""
    x = backends.asarray(images)
    maps = namespace(x).broadcast_to(backends.asarray(maps, x.dtype), (len(x), 8))
    y = kernels.projective_warp2d(x, maps, x.shape[1:3], interpolation, fill_mode, fill_value)
    return y, (x.shape, maps, interpolation, fill_mode)


@_warp.gradient
def _(dy: Any, saved: Any) -> Any:
    return kernels.projective_warp2d_backward(backends.asarray(dy), *saved), None


def _check(value: str, known: Any, argument: str) -> None:
    if value not in known:
        raise ValueError(f"Invalid value for argument `{argument}`. Expected of one {set(known)}. Received: {argument}={value}")


def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Images under maps (a0, a1, a2, b0, b1, b2, c0, c1), one each or one for all: the pixel (x, y) of the result is at

        ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k),  k = c0 x + c1 y + 1

    in the image. The gradient goes to the images; the maps have none.

    Args:
        interpolation: "nearest" or "bilinear".
        fill_mode: what is outside of the image: "constant" (`fill_value`), "nearest", "wrap", "mirror" or "reflect".
    """
    _check(interpolation, INTERPOLATIONS, "interpolation")
    _check(fill_mode, FILL_MODES, "fill_mode")
    maps = convert_to_tensor(transform)
    maps = maps if len(maps.shape) == 2 else expand_dims(maps, 0)
    codes = INTERPOLATIONS[interpolation], FILL_MODES[fill_mode], float(fill_value)
    return on_channels_last(lambda x: _warp(x, maps, *codes), images, data_format)


def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Images as seen from elsewhere: what is at four points (x, y), (4, 2) or (N, 4, 2), comes to four others.

    Source: Heckbert 1989, "Fundamentals of Texture Mapping and Image Warping", section 2.2.2.
    """
    _check(interpolation, INTERPOLATIONS, "interpolation")
    start, end = (np.asarray(points, "float64") for points in (start_points, end_points))
    if start.shape != end.shape or start.ndim not in (2, 3) or start.shape[-2:] != (4, 2):
        raise ValueError(
            "start_points and end_points must have the same shape, (4, 2) for a single image or (N, 4, 2) for a batch. "
            f"Received start_points.shape={start.shape}, end_points.shape={end.shape}"
        )
    maps = _homography(start.reshape(-1, 4, 2), end.reshape(-1, 4, 2))
    codes = INTERPOLATIONS[interpolation], FILL_MODES["constant"], float(fill_value)
    return on_channels_last(lambda x: _warp(x, maps, *codes), images, data_format)


def _homography(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The maps (N, 8) that take the points `end` to the points `start`: of each point two equations, linear in the map."""
    x, y = end[..., 0], end[..., 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = [
        np.stack([x, y, one, zero, zero, zero, -start[..., 0] * x, -start[..., 0] * y], -1),
        np.stack([zero, zero, zero, x, y, one, -start[..., 1] * x, -start[..., 1] * y], -1),
    ]
    targets = np.concatenate([start[..., 0], start[..., 1]], axis=1)
    return np.linalg.solve(np.concatenate(rows, axis=1), targets[..., None])[..., 0]


@op("x", "places")
def _gathered(x: Any, places: Any, fill_mode: int, fill_value: float) -> Any:
    """The elements of x at whole places (axes, ...), filled outside of x."""
    key = tuple(fold_places(place.astype(int), size, fill_mode) for place, size in zip(places, x.shape))
    inside = namespace(x).ones(places.shape[1:], bool)
    if fill_mode == 0:
        for place, size in zip(places, x.shape):
            inside = inside & (place >= 0) & (place < size)
    return namespace(x).where(inside, x[key], x.dtype.type(fill_value)), (x.shape, key, inside)


@_gathered.gradient
def _(dy: Any, saved: Any) -> Any:
    shape, key, inside = saved
    dx = namespace(dy).zeros(shape, dy.dtype)
    namespace(dy).add.at(dx, key, dy * inside)
    return dx, None


def map_coordinates(inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0) -> Any:
    """`inputs` at given places, (axes, ...): one coordinate for each of its axes.

    Args:
        order: 0, the nearest element, or 1, linear between the neighbours. fill_mode, fill_value: see `affine_transform`.
    """
    _check(fill_mode, FILL_MODES, "fill_mode")
    inputs, coordinates = convert_to_tensor(inputs), convert_to_tensor(coordinates)
    if coordinates.shape[0] != len(inputs.shape):
        raise ValueError(
            "First dim of `coordinates` must be the same as the rank of `inputs`. Received inputs with shape: "
            f"{inputs.shape} and coordinate leading dim of {coordinates.shape[0]}"
        )
    if order not in (0, 1):
        raise NotImplementedError("map_coordinates currently requires order<=1")
    code = FILL_MODES[fill_mode]
    if order == 0:
        return _gathered(inputs, round(coordinates), code, fill_value)
    first = floor(coordinates)
    upper = unstack(subtract(coordinates, first), axis=0)
    whole = str(inputs.dtype)[:5] != "float"
    y: Any = None
    for corner in itertools.product((0, 1), repeat=len(upper)):
        shift = np.array(corner, str(first.dtype)).reshape(-1, *[1] * (len(coordinates.shape) - 1))
        part = _gathered(inputs, add(first, shift), code, fill_value)
        for side, weight in zip(corner, upper):
            part = multiply(part, weight if side else subtract(1.0, weight))
        y = part if y is None else add(y, part)
    return cast(round(y), inputs.dtype) if whole else y


@op("images")
def _displaced(images: Any, down: Any, right: Any, interpolation: int, fill_mode: int, fill_value: float) -> Any:
    """`displace2d` of images (N, H, W, C)."""
    x = backends.asarray(images)
    return kernels.displace2d(x, down, right, interpolation, fill_mode, fill_value), (down, right, interpolation, fill_mode)


@_displaced.gradient
def _(dy: Any, saved: Any) -> Any:
    return kernels.displace2d_backward(backends.asarray(dy), *saved)


def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images distorted as if on rubber: see `layers.RandomElasticTransform`, whose fields these are.

    Raises:
        ValueError: for a symbolic tensor, as each call draws numbers: the layer does so in each step.
    """
    _check(interpolation, INTERPOLATIONS, "interpolation")
    _check(fill_mode, FILL_MODES, "fill_mode")
    if isinstance(images, KerasTensor):
        raise ValueError(f"`elastic_transform` draws its fields at once. In a model, use RandomElasticTransform: {images}")
    generator = SeedGenerator(seed)
    keys = (generator.next_key(), generator.next_key())

    def distort(x: Any) -> Any:
        like = backends.asarray(np.asarray(x))
        width = backends.asarray(np.array([sigma], "float64"))
        kernel = gaussian_kernel(6 * int(sigma) | 1, width)
        down, right = elastic_fields(like, 0 * width + alpha, width, kernel, keys)
        return _displaced(x, down, right, INTERPOLATIONS[interpolation], FILL_MODES[fill_mode], float(fill_value))

    return on_channels_last(distort, images, data_format)
