"""`ImageDataGenerator`: random augmentation and normalisation of images on their way into training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from minicnn.preprocessing.image.augmentation import Augmentation
from minicnn.preprocessing.image.iterators import DataFrameIterator, DirectoryIterator, NumpyArrayIterator


def _passed_on(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a method, for its iterator, which has them under the same names."""
    return {name: value for name, value in arguments.items() if name != "self"}


class ImageDataGenerator(Augmentation):
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
        return NumpyArrayIterator(image_data_generator=self, dtype=self.dtype, **_passed_on(locals()))

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
        return DirectoryIterator(image_data_generator=self, dtype=self.dtype, **_passed_on(locals()))

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
        return DataFrameIterator(image_data_generator=self, dtype=self.dtype, **_passed_on(locals()))
