"""Turning, shifting, shearing, zooming, brightening one image, by given or by drawn amounts.

The geometry is one affine map A, written for homogeneous (row, column) coordinates about
the image's centre: output pixel p shows what the input has at A · p, interpolated by
splines (SciPy). Drawn amounts come from NumPy's global generator in the order in which
Keras draws them, so the same seed gives the same images as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minicnn.preprocessing.image.files import array_to_img, img_to_array

_FILL_MODES = ("nearest", "constant", "reflect", "wrap", "mirror")
NO_MOTION = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1}


class Sampling(NamedTuple):
    """How the pixels of a moved image are read; the fields mean what they mean in `apply_affine_transform`.

    Attributes:
        row_axis, col_axis, channel_axis: which axis of the image is which; note the default, channels first.
        fill_mode, cval: what stands outside of the image.
        interpolation_order: of the spline.
    """

    row_axis: int = 1
    col_axis: int = 2
    channel_axis: int = 0
    fill_mode: str = "nearest"
    cval: float = 0.0
    interpolation_order: int = 1


def transform_matrix_offset_center(matrix: np.ndarray, x: int, y: int) -> np.ndarray:
    """A map of the plane as the same map about the centre of an image of `x` rows and `y` columns: T · M · T⁻¹."""
    centre = np.array([[1, 0, x / 2 - 0.5], [0, 1, y / 2 - 0.5], [0, 0, 1]])
    back = np.array([[1, 0, 0.5 - x / 2], [0, 1, 0.5 - y / 2], [0, 0, 1]])
    return np.asarray(centre @ matrix @ back)


def apply_affine_transform(
    x: np.ndarray,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> np.ndarray:
    """Turn, shift, shear and zoom an image: A = R(theta) · T(tx, ty) · S(shear) · Z(zx, zy).

    Args:
        x: an image of three axes; note the default order of the axes, channels first.
        theta: degrees.
        tx: pixels, along the columns if `col_axis` is above `row_axis`, else along the rows: Keras's reading of x.
        ty: pixels along the other axis.
        shear: degrees.
        zx: factor along tx's axis; above 1 the image shows more and becomes smaller.
        zy: factor along ty's axis.
        row_axis: which axis has the rows.
        col_axis: which axis has the columns.
        channel_axis: 0 or 2.
        fill_mode: what stands outside of the image: "nearest", "constant" (`cval`), "reflect" or "wrap".
        cval: the value outside, for "constant".
        order: of the spline, 0 to 5: 0 takes the nearest pixel, 1 interpolates linearly.

    Returns:
        An image of the shape and type of `x`; `x` itself if there is nothing to do.

    Raises:
        ValueError: for axes that are not three different ones, another rank, an unknown `fill_mode`.
    """
    axes = {row_axis, col_axis, channel_axis}
    if len(axes) != 3:
        raise ValueError("'row_axis', 'col_axis', and 'channel_axis' must be distinct")
    if axes != {0, 1, 2}:
        raise ValueError(f"Invalid axis' indices: {axes - {0, 1, 2}}")
    if x.ndim != 3:
        raise ValueError(f"Input arrays must be multi-channel 2D images. Received an array of shape {x.shape}")
    if channel_axis == 1:
        raise ValueError("Channels are allowed and the first and last dimensions.")
    if fill_mode not in _FILL_MODES:
        raise ValueError(f"`fill_mode` must be one of {_FILL_MODES}. Received: fill_mode={fill_mode!r}")

    matrix = np.eye(3)
    if theta != 0:
        angle = np.deg2rad(theta)
        matrix = matrix @ [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    if tx != 0 or ty != 0:
        matrix = matrix @ [[1, 0, tx], [0, 1, ty], [0, 0, 1]]
    if shear != 0:
        angle = np.deg2rad(shear)
        matrix = matrix @ [[1, -np.sin(angle), 0], [0, np.cos(angle), 0], [0, 0, 1]]
    if zx != 1 or zy != 1:
        matrix = matrix @ [[zx, 0, 0], [0, zy, 0], [0, 0, 1]]
    if np.array_equal(matrix, np.eye(3)):
        return x

    from scipy.ndimage import affine_transform

    matrix = transform_matrix_offset_center(matrix, x.shape[row_axis], x.shape[col_axis])
    if col_axis > row_axis:  # x is written before y above: Keras's convention, which programs written for it rely on
        matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    planes = np.moveaxis(x, channel_axis, 0)
    moved = [affine_transform(plane, matrix[:2, :2], matrix[:2, 2], order=order, mode=fill_mode, cval=cval) for plane in planes]
    return np.stack(moved, axis=channel_axis)


def moved(x: np.ndarray, sampling: Sampling, **motion: float) -> np.ndarray:
    """`apply_affine_transform` by the amounts that are named in `motion`; the others move nothing."""
    return apply_affine_transform(x, *(NO_MOTION | motion).values(), *sampling)  # type: ignore[call-arg, arg-type]


def random_rotation(x: np.ndarray, rg: float, *sampling: Any, **named: Any) -> np.ndarray:
    """Turn an image by an angle from [-rg, rg] degrees. Further arguments: those of `Sampling`."""
    return moved(x, Sampling(*sampling, **named), theta=np.random.uniform(-rg, rg))


def random_shift(x: np.ndarray, wrg: float, hrg: float, *sampling: Any, **named: Any) -> np.ndarray:
    """Shift an image, as Keras does: tx by up to `hrg` of its height, ty by up to `wrg` of its width.

    Which way tx goes: `apply_affine_transform`. Further arguments: those of `Sampling`.
    """
    how = Sampling(*sampling, **named)
    tx = np.random.uniform(-hrg, hrg) * x.shape[how.row_axis]
    return moved(x, how, tx=tx, ty=np.random.uniform(-wrg, wrg) * x.shape[how.col_axis])


def random_shear(x: np.ndarray, intensity: float, *sampling: Any, **named: Any) -> np.ndarray:
    """Shear an image by an angle from [-intensity, intensity] degrees. Further arguments: those of `Sampling`."""
    return moved(x, Sampling(*sampling, **named), shear=np.random.uniform(-intensity, intensity))


def random_zoom(x: np.ndarray, zoom_range: Sequence[float], *sampling: Any, **named: Any) -> np.ndarray:
    """Zoom an image, either axis by a factor of its own from `zoom_range`. Further arguments: those of `Sampling`.

    Raises:
        ValueError: if `zoom_range` is no pair.
    """
    if np.size(zoom_range) != 2:
        raise ValueError(f"`zoom_range` should be a tuple or list of two floats. Received: {zoom_range}")
    zx, zy = draw_zoom(np.random, zoom_range)
    return moved(x, Sampling(*sampling, **named), zx=zx, zy=zy)


def draw_zoom(random: Any, zoom_range: Sequence[float]) -> tuple[float, float]:
    """Drawn factors for rows and columns; for the range (1, 1), no random number is drawn."""
    if zoom_range[0] == 1 and zoom_range[1] == 1:
        return 1, 1
    zx, zy = random.uniform(zoom_range[0], zoom_range[1], 2)
    return zx, zy


def apply_channel_shift(x: np.ndarray, intensity: float, channel_axis: int = 0) -> np.ndarray:
    """Add `intensity` to every value of an image, within the range of values it has.

    `channel_axis` is accepted: all channels are shifted alike.
    """
    return np.clip(x + intensity, np.min(x), np.max(x))


def random_channel_shift(x: np.ndarray, intensity_range: float, channel_axis: int = 0) -> np.ndarray:
    """`apply_channel_shift` by an amount from [-intensity_range, intensity_range]."""
    return apply_channel_shift(x, np.random.uniform(-intensity_range, intensity_range), channel_axis)


def apply_brightness_shift(x: np.ndarray, brightness: float, scale: bool = True) -> np.ndarray:
    """Make an image brighter (above 1) or darker (below), as PIL does it: in whole numbers from 0 to 255.

    Args:
        x: (height, width, channels).
        brightness: the factor.
        scale: stretch the values to 0..255 first. Otherwise that is done only if they leave this range, and undone after.

    Returns:
        An image in `config.floatx()`.
    """
    from PIL import ImageEnhance

    least, largest = np.min(x), np.max(x)
    outside = bool(least < 0 or largest > 255)
    enhanced = ImageEnhance.Brightness(array_to_img(x, scale=outside or scale)).enhance(brightness)
    result = img_to_array(enhanced)
    if outside and not scale:
        result = result / 255 * (largest - least) + least
    return result


def random_brightness(x: np.ndarray, brightness_range: Sequence[float], scale: bool = True) -> np.ndarray:
    """`apply_brightness_shift` by a factor from `brightness_range`.

    Raises:
        ValueError: if `brightness_range` is no pair.
    """
    if np.size(brightness_range) != 2:
        raise ValueError(f"`brightness_range should be tuple or list of two floats. Received: {brightness_range}")
    return apply_brightness_shift(x, np.random.uniform(brightness_range[0], brightness_range[1]), scale)


def flip_axis(x: np.ndarray, axis: int) -> np.ndarray:
    """The image mirrored along an axis."""
    return np.flip(np.asarray(x), axis)
