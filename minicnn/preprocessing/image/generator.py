"""`ImageDataGenerator`: random augmentation and normalisation of images on their way into training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn import config
from minicnn.preprocessing.image.iterators import DataFrameIterator, DirectoryIterator, NumpyArrayIterator
from minicnn.preprocessing.image.transforms import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    draw_zoom,
    flip_axis,
)

__all__ = ["ImageDataGenerator"]

_EPSILON = 1e-6  # keeps a division by a standard deviation finite


class ImageDataGenerator:
    """Batches of randomly changed images, with Keras's arguments.

    Args:
        featurewise_center: subtract the mean of each channel over the data set (call `fit` first).
        samplewise_center: subtract each image's own mean.
        featurewise_std_normalization: divide by the standard deviation of each channel over the data set.
        samplewise_std_normalization: divide by each image's own standard deviation.
        zca_whitening: decorrelate the pixels (call `fit` first).
        zca_epsilon: added to the singular values.
        rotation_range: degrees to either side.
        width_shift_range: below 1 a part of the width, else columns; a list of columns to choose from, with either sign.
        height_shift_range: likewise for the height. (As in Keras 3, what is drawn from it is `tx`, which moves an image
            with channels last along its columns; see `apply_affine_transform`.)
        brightness_range: pair of factors.
        shear_range: degrees to either side.
        zoom_range: pair of factors; a number z stands for (1 - z, 1 + z).
        channel_shift_range: what is added to all values, at most.
        fill_mode: what stands outside of a moved image: "nearest", "constant" (`cval`), "reflect", "wrap".
        cval: the value outside, for "constant".
        horizontal_flip: mirror every other image, at random, left to right.
        vertical_flip: likewise upside down.
        rescale: a factor for all values, before the normalisations.
        preprocessing_function: takes and returns an image, after the changes, before `rescale`.
        data_format: only "channels_last".
        validation_split: the part, between 0 and 1, that `subset="validation"` takes.
        interpolation_order: of the spline that moved images are read with.
        dtype: of the batches; by default `config.floatx()`.
    """

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
        if data_format is not None:
            config.set_image_data_format(data_format)
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(f"`validation_split` must be strictly between 0 and 1. Received: {validation_split}")
        if isinstance(zoom_range, (int, float)):
            zoom_range = (1 - zoom_range, 1 + zoom_range)
        elif len(zoom_range) != 2 or not all(isinstance(value, (int, float)) for value in zoom_range):
            raise ValueError(f"`zoom_range` should be a float or a tuple or list of two floats. Received: {zoom_range}")
        if brightness_range is not None and (not isinstance(brightness_range, (tuple, list)) or len(brightness_range) != 2):
            raise ValueError(f"`brightness_range should be tuple or list of two floats. Received: {brightness_range}")
        if zca_whitening and featurewise_std_normalization:
            featurewise_std_normalization = False
            _warn_overridden("zca_whitening", "featurewise_std_normalization")
        if zca_whitening and not featurewise_center:
            featurewise_center = True
            _warn_overridden("zca_whitening", "featurewise_center")
        if featurewise_std_normalization and not featurewise_center:
            featurewise_center = True
            _warn_overridden("featurewise_std_normalization", "featurewise_center")
        if samplewise_std_normalization and not samplewise_center:
            samplewise_center = True
            _warn_overridden("samplewise_std_normalization", "samplewise_center")
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening = zca_whitening
        self.zca_epsilon = zca_epsilon
        self.rotation_range = rotation_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range = brightness_range
        self.shear_range = shear_range
        self.zoom_range = list(zoom_range)
        self.channel_shift_range = channel_shift_range
        self.fill_mode = fill_mode
        self.cval = cval
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rescale = rescale
        self.preprocessing_function = preprocessing_function
        self.data_format = "channels_last"
        self.validation_split = validation_split
        self.interpolation_order = interpolation_order
        self.dtype = dtype or config.floatx()
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Batches of arrays, without end.

        Args:
            x: (N, height, width, channels), or a pair of that and further arrays that go along unchanged.
            y: targets of length N.
            batch_size: images a batch.
            shuffle: draw the order anew for each epoch.
            sample_weight: of length N.
            seed: of all that is drawn; None for NumPy's global generator.
            save_to_dir: a folder to write every image into, to look at.
            save_prefix: what their names begin with.
            save_format: their names' ending.
            ignore_class_split: do not check that both subsets have all classes.
            subset: "training" or "validation", with `validation_split`.

        Raises:
            ValueError: for lengths or ranks that do not fit, an unknown subset, subsets with different classes.
        """
        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            seed=seed,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            ignore_class_split=ignore_class_split,
            subset=subset,
            dtype=self.dtype,
        )

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Batches of the pictures in a folder that has a subfolder for each class, without end.

        Args:
            directory: the folder.
            target_size: (height, width) of the images.
            color_mode: "rgb", "rgba" or "grayscale".
            classes: the subfolders to take, in order; by default all, sorted.
            class_mode: "categorical" (one-hot), "binary", "sparse" (numbers), "input" (the images) or None (no targets).
            follow_links: whether to follow links to folders.
            interpolation: as in `load_img`.
            keep_aspect_ratio: as in `load_img`.

        Other arguments are those of `flow`.
        """
        return DirectoryIterator(
            directory,
            self,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            follow_links=follow_links,
            subset=subset,
            interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
            dtype=self.dtype,
        )

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
    ) -> DataFrameIterator:
        """Batches of the pictures that a pandas table names, without end.

        Args:
            dataframe: the table.
            directory: what the names are relative to.
            x_col: the column of file names.
            y_col: the column of targets, a list of columns for "multi_output".
            weight_col: a column of sample weights.
            class_mode: also "raw" (the column as it is) and "multi_output" (several columns).
            validate_filenames: leave out, with a warning, what is no picture file.

        Other arguments are those of `flow_from_directory`.
        """
        return DataFrameIterator(
            dataframe,
            directory,
            self,
            x_col=x_col,
            y_col=y_col,
            weight_col=weight_col,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            interpolation=interpolation,
            dtype=self.dtype,
            validate_filenames=validate_filenames,
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
        geometry = {
            name: transform_parameters[name]
            for name in ("theta", "tx", "ty", "shear", "zx", "zy")
            if name in transform_parameters
        }
        x = apply_affine_transform(
            x,
            **geometry,
            row_axis=0,
            col_axis=1,
            channel_axis=2,
            fill_mode=self.fill_mode,
            cval=self.cval,
            order=self.interpolation_order,
        )
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


def _warn_overridden(argument: str, overridden: str) -> None:
    warnings.warn(f"This ImageDataGenerator specifies `{argument}`, which overrides setting of `{overridden}`.", stacklevel=3)
