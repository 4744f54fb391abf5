"""Random changes and normalisation of images: what `ImageDataGenerator` does to each one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn import config
from minicnn.data.pictures import check_data_format
from minicnn.preprocessing.image.transforms import (
    NO_MOTION,
    Sampling,
    apply_brightness_shift,
    apply_channel_shift,
    draw_zoom,
    flip_axis,
    moved,
)

_EPSILON = 1e-6  # keeps a division by a standard deviation finite
_OVERRIDES = (  # (argument, the argument that it overrides, the value that it needs there)
    ("zca_whitening", "featurewise_std_normalization", False),
    ("zca_whitening", "featurewise_center", True),
    ("featurewise_std_normalization", "featurewise_center", True),
    ("samplewise_std_normalization", "samplewise_center", True),
)


class Augmentation:
    """The settings of an `ImageDataGenerator`, whose arguments are described there, and what they do to images."""

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: float | Sequence[int] = 0.0,
        height_shift_range: float | Sequence[int] = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | Sequence[float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], np.ndarray] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        check_data_format(data_format)
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(f"`validation_split` must be strictly between 0 and 1. Received: {validation_split}")
        if isinstance(zoom_range, (int, float)):
            zoom_range = (1 - zoom_range, 1 + zoom_range)
        elif len(zoom_range) != 2 or not all(isinstance(value, (int, float)) for value in zoom_range):
            raise ValueError(f"`zoom_range` should be a float or a tuple or list of two floats. Received: {zoom_range}")
        if brightness_range is not None and (not isinstance(brightness_range, (tuple, list)) or len(brightness_range) != 2):
            raise ValueError(f"`brightness_range should be tuple or list of two floats. Received: {brightness_range}")
        self.featurewise_center, self.samplewise_center = featurewise_center, samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range, self.zoom_range = rotation_range, shear_range, list(zoom_range)
        self.width_shift_range, self.height_shift_range = width_shift_range, height_shift_range
        self.brightness_range, self.channel_shift_range = brightness_range, channel_shift_range
        self.fill_mode, self.cval, self.interpolation_order = fill_mode, cval, interpolation_order
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.data_format = "channels_last"
        self.validation_split = validation_split
        self.dtype = dtype or config.floatx()
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None
        for argument, overridden, needed in _OVERRIDES:
            if getattr(self, argument) and bool(getattr(self, overridden)) is not needed:
                setattr(self, overridden, needed)
                warnings.warn(
                    f"This ImageDataGenerator specifies `{argument}`, which overrides setting of `{overridden}`.", stacklevel=2
                )

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """An image, or a batch, with `preprocessing_function`, `rescale` and the normalisations applied, in this order."""
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x = x * self.rescale
        if self.samplewise_center:
            x = x - np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x = x / (np.std(x, keepdims=True) + _EPSILON)
        if self.featurewise_center and self._fitted(self.mean, "featurewise_center"):
            x = x - self.mean
        if self.featurewise_std_normalization and self._fitted(self.std, "featurewise_std_normalization"):
            x = x / (self.std + _EPSILON)  # type: ignore[operator]
        if self.zca_whitening and self._fitted(self.zca_whitening_matrix, "zca_whitening"):
            x = (x.reshape(-1, np.prod(x.shape[-3:])) @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    @staticmethod
    def _fitted(statistic: np.ndarray | None, argument: str) -> bool:
        if statistic is None:
            warnings.warn(
                f"This ImageDataGenerator specifies `{argument}`, but it hasn't been fit on any training data. "
                "Fit it first by calling `.fit(numpy_data)`.",
                stacklevel=3,
            )
        return statistic is not None

    def get_random_transform(self, img_shape: Sequence[int], seed: int | None = None) -> dict[str, Any]:
        """Draw what to do to an image of this shape.

        Args:
            img_shape: (height, width, channels).
            seed: None draws from NumPy's global generator.

        Returns:
            The keyword arguments of `apply_transform`'s parameters: theta, tx, ty, shear, zx, zy, flip_horizontal,
            flip_vertical, channel_shift_intensity, brightness.
        """
        return self.draw_transform(img_shape, np.random if seed is None else np.random.RandomState(seed))

    def draw_transform(self, img_shape: Sequence[int], random: Any) -> dict[str, Any]:
        """`get_random_transform`, drawn from a `RandomState` (or `numpy.random`), in Keras's order."""
        theta = random.uniform(-self.rotation_range, self.rotation_range) if self.rotation_range else 0
        tx = _draw_shift(random, self.height_shift_range, img_shape[0])
        ty = _draw_shift(random, self.width_shift_range, img_shape[1])
        shear = random.uniform(-self.shear_range, self.shear_range) if self.shear_range else 0
        zx, zy = draw_zoom(random, self.zoom_range)
        flip_horizontal = (random.random() < 0.5) and self.horizontal_flip
        flip_vertical = (random.random() < 0.5) and self.vertical_flip
        shift = random.uniform(-self.channel_shift_range, self.channel_shift_range) if self.channel_shift_range else None
        return {
            "theta": theta,
            "tx": tx,
            "ty": ty,
            "shear": shear,
            "zx": zx,
            "zy": zy,
            "flip_horizontal": flip_horizontal,
            "flip_vertical": flip_vertical,
            "channel_shift_intensity": shift,
            "brightness": random.uniform(*self.brightness_range) if self.brightness_range is not None else None,
        }

    def apply_transform(self, x: np.ndarray, transform_parameters: dict[str, Any]) -> np.ndarray:
        """Do to an image (height, width, channels) what `get_random_transform` drew; what is not named is not done."""
        sampling = Sampling(0, 1, 2, self.fill_mode, self.cval, self.interpolation_order)
        x = moved(x, sampling, **{name: value for name, value in transform_parameters.items() if name in NO_MOTION})
        if transform_parameters.get("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, transform_parameters["channel_shift_intensity"], channel_axis=2)
        if transform_parameters.get("flip_horizontal"):
            x = flip_axis(x, 1)
        if transform_parameters.get("flip_vertical"):
            x = flip_axis(x, 0)
        if transform_parameters.get("brightness") is not None:
            x = apply_brightness_shift(x, transform_parameters["brightness"], scale=False)
        return x

    def random_transform(self, x: np.ndarray, seed: int | None = None) -> np.ndarray:
        """An image (height, width, channels), randomly changed."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Measure what the `featurewise` normalisations and the whitening need.

        Args:
            x: (N, height, width, channels).
            augment: measure randomly changed images instead.
            rounds: how many changed versions of each.
            seed: of the changes; None draws from NumPy's global generator.

        Raises:
            ValueError: if `x` has another rank.
        """
        x = np.array(x, dtype=self.dtype)
        if x.ndim != 4:
            raise ValueError(f"Input to `.fit()` should have rank 4. Got array with shape: {x.shape}")
        if x.shape[-1] not in (1, 3, 4):
            warnings.warn(
                "Expected input to be images with 1, 3 or 4 channels on axis 3. "
                f"However, it was passed an array with shape {x.shape} ({x.shape[-1]} channels).",
                stacklevel=2,
            )
        if self.rescale:
            x *= self.rescale
        if augment:
            random: Any = np.random if seed is None else np.random.RandomState(seed)
            x = np.stack(
                [self.apply_transform(image, self.draw_transform(image.shape, random)) for _ in range(rounds) for image in x]
            )
        if self.featurewise_center:
            self.mean = np.mean(x, axis=(0, 1, 2))[None, None]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(x, axis=(0, 1, 2))[None, None]
            x /= self.std + _EPSILON
        if self.zca_whitening:
            # x = V·S·Uᵀ; whitening is U·√N/(S + ε)·Uᵀ (Krizhevsky 2009, appendix A)
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            self.zca_whitening_matrix = (u * (np.sqrt(len(x)) / (s + self.zca_epsilon))) @ u.T


def _draw_shift(random: Any, amount: float | Sequence[int], size: int) -> float:
    """Pixels to shift by along an axis of `size` pixels."""
    if not np.any(amount):
        return 0
    if isinstance(amount, (int, np.integer)) or np.ndim(amount) == 1:  # whole pixels: one of these, to either side
        shift = random.choice(amount)
        shift = shift * random.choice([-1, 1])
    else:
        shift = random.uniform(-amount, amount)  # type: ignore[operator]
    return float(shift * size if np.max(amount) < 1 else shift)
