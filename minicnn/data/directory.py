"""`image_dataset_from_directory`: a folder of pictures, one subfolder a class, as a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minicnn import config, shapes
from minicnn.data.dataset import AUTOTUNE, Dataset
from minicnn.data.pictures import CHANNELS, check_data_format, read_picture
from minicnn.data.resize import INTERPOLATIONS, crop_resize, pad_resize, resize

_FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_LABEL_MODES = ("int", "categorical", "binary", None)
_MOST_THREADS = 8


def picture_files(directory: str, formats: tuple[str, ...] = _FORMATS, follow_links: bool = False) -> Iterator[str]:
    """The paths of all pictures under a folder: folders in order of their paths, files in order of their names."""
    for root, names in sorted(_folders(directory, follow_links)):
        for name in sorted(names):
            if name.lower().endswith(formats):
                yield os.path.join(root, name)


def _folders(directory: str, follow_links: bool) -> Iterator[tuple[str, list[str]]]:
    """(path, names of its files) of a folder and those under it, each once: links to folders may lead in a circle."""
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(directory, followlinks=follow_links):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # which `os.walk` would enter next
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()  # the same of two links is taken on every machine
        yield root, names


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: int | tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
    **kwargs: Any,
) -> Any:
    """A `Dataset` of the pictures in a folder, with Keras's arguments.

    Args:
        directory: has a subfolder of pictures (bmp, gif, jpeg, png) for each class, if `labels` is "inferred".
        labels: "inferred" (from the subfolders), None, or one number for each picture in the order of their paths.
        label_mode: "int" (int32), "categorical" (one-hot float32), "binary" (float32 of shape (1,)) or None.
        class_names: the subfolders to take, in the order wanted; by default all, sorted.
        color_mode: "grayscale", "rgb" or "rgba": 1, 3 or 4 channels.
        batch_size: None for single images.
        image_size: (height, width) that every picture is resized to.
        shuffle: in random order; else in that of the paths.
        seed: for the order; by default drawn from the global seed.
        validation_split: the part of the pictures, between 0 and 1, that is for validation.
        subset: "training", "validation", or "both" for a list of two; given exactly if `validation_split` is.
        interpolation: one of `resize.INTERPOLATIONS`.
        follow_links: whether to follow links to folders.
        crop_to_aspect_ratio: cut pictures to the proportions of `image_size` instead of distorting them. Older programs call it
            `smart_resize`.
        pad_to_aspect_ratio: put zeros around them instead.
        data_format: only "channels_last".
        format: accepted ("tf" or "grain"); the result is a `minicnn.data.Dataset`.
        verbose: say how many pictures and classes were found.

    Returns:
        A `Dataset` of float32 images with values 0 to 255, (batch, height, width, channels), and labels; it has
        attributes `class_names` and `file_paths`.

    Raises:
        ValueError: for arguments that do not fit each other, or a folder without pictures.
        FileNotFoundError: if there is no such folder.
    """
    if labels != "inferred" and labels is not None:
        if not isinstance(labels, (list, tuple)):
            raise ValueError(
                "`labels` argument should be a list/tuple of integer labels, of the same size as the number of image "
                "files in the target directory. If you wish to infer the labels from the subdirectory names in the "
                'target directory, pass `labels="inferred"`. If you wish to get a dataset that only contains images '
                f"(no labels), pass `labels=None`. Received: labels={labels}"
            )
        if class_names:
            raise ValueError(
                f'You can only pass `class_names` if `labels="inferred"`. Received: labels={labels}, and '
                f"class_names={class_names}"
            )
    if label_mode not in _LABEL_MODES:
        raise ValueError(
            f'`label_mode` argument must be one of "int", "categorical", "binary", or None. Received: label_mode={label_mode}'
        )
    if color_mode not in CHANNELS:
        raise ValueError(f'`color_mode` must be one of {{"rgb", "rgba", "grayscale"}}. Received: color_mode={color_mode}')
    if interpolation.lower() not in INTERPOLATIONS:
        raise ValueError(f"Argument `interpolation` should be one of {INTERPOLATIONS}. Received: interpolation={interpolation}")
    crop_to_aspect_ratio = kwargs.pop("smart_resize", crop_to_aspect_ratio)
    if kwargs:
        raise TypeError(f"Unknown keywords argument(s): {tuple(kwargs)}")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("Only one of `pad_to_aspect_ratio`, `crop_to_aspect_ratio` can be set to `True`.")
    if format not in ("tf", "grain"):
        raise ValueError(f'`format` should be either "tf" or "grain". Received: format={format}')
    check_data_format(data_format)
    _check_split(validation_split, subset, shuffle, seed)
    size = shapes.pair(image_size, "image_size")
    if labels is None or label_mode is None:
        labels = label_mode = None
    if seed is None:
        seed = config.next_seed()

    paths, numbers, names = _index(os.fspath(directory), labels, class_names, follow_links)
    if label_mode == "binary" and len(names or ()) != 2:
        raise ValueError(
            f'When passing `label_mode="binary"`, there must be exactly 2 class_names. Received: class_names={names}'
        )
    if verbose:
        belonging = f" belonging to {len(names)} classes" if names is not None else ""
        print(f"Found {len(paths)} files{belonging}.")
    if shuffle:  # all of them at once, before they are split; the same order as Keras's
        order = np.arange(len(paths))
        np.random.RandomState(seed % 2**32).shuffle(order)
        paths = [paths[place] for place in order]
        numbers = numbers[order] if numbers is not None else None

    fit = crop_resize if crop_to_aspect_ratio else pad_resize if pad_to_aspect_ratio else resize

    def load(path: str) -> np.ndarray:
        return fit(read_picture(str(path), color_mode), size, interpolation.lower())

    def build(chosen: slice, reshuffle: bool) -> Dataset:
        files = paths[chosen]
        if not files:
            raise ValueError(f"No images found in directory {directory}. Allowed formats: {_FORMATS}")
        dataset: Dataset = Dataset.from_tensor_slices(np.array(files))
        if numbers is not None:
            targets = _encode(numbers[chosen], str(label_mode), len(names or ()))
            dataset = Dataset.zip(dataset, Dataset.from_tensor_slices(targets))
        if reshuffle:
            dataset = dataset.shuffle((batch_size or 128) * 8, seed=seed)
        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        if numbers is not None:
            dataset = dataset.map(lambda path, target: (load(path), target), num_parallel_calls=threads)
        else:
            dataset = dataset.map(load, num_parallel_calls=threads)
        if batch_size is not None:
            dataset = dataset.batch(batch_size)
        dataset = dataset.prefetch(AUTOTUNE)
        dataset.class_names = list(names) if names is not None else None  # type: ignore[attr-defined]
        dataset.file_paths = files  # type: ignore[attr-defined]
        return dataset

    if not validation_split:
        return build(slice(None), shuffle)
    held_out = int(validation_split * len(paths))
    training, validation = slice(len(paths) - held_out), slice(len(paths) - held_out, None)
    if verbose and subset in ("training", "both"):
        print(f"Using {len(paths) - held_out} files for training.")
    if verbose and subset in ("validation", "both"):
        print(f"Using {held_out} files for validation.")
    if subset == "both":
        return [build(training, shuffle), build(validation, False)]
    return build(training if subset == "training" else validation, shuffle)


def _check_split(validation_split: float | None, subset: str | None, shuffle: bool, seed: int | None) -> None:
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1, received: {validation_split}")
    if bool(validation_split) != bool(subset):
        raise ValueError("If `subset` is set, `validation_split` must be set, and inversely.")
    if subset not in ("training", "validation", "both", None):
        raise ValueError(f'`subset` must be either "training", "validation" or "both", received: {subset}')
    if validation_split and shuffle and seed is None:
        raise ValueError(
            "If using `validation_split` and shuffling the data, you must provide a `seed` argument, to make sure that "
            "there is no overlap between the training and validation subset."
        )


def _index(
    directory: str, labels: str | Sequence[int] | None, class_names: Sequence[str] | None, follow_links: bool
) -> tuple[list[str], np.ndarray | None, list[str] | None]:
    """The pictures in a folder, their labels as int32 and the names of the classes (None where there are none)."""
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"Could not find directory {directory}")
    if labels != "inferred":
        if class_names is not None:
            raise ValueError("When `labels=None` (no labels), argument `class_names` cannot be specified.")
        paths = list(picture_files(directory, follow_links=follow_links))
        if labels is None:
            return paths, None, None
        if len(labels) != len(paths):
            raise ValueError(
                "Expected the lengths of `labels` to match the number of files in the target directory. len(labels) is "
                f"{len(labels)} while we found {len(paths)} files in directory {directory}."
            )
        return paths, np.array(labels, np.int32), [str(label) for label in sorted({int(label) for label in labels})]
    found = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith("."))
    if class_names is not None and not set(class_names) <= set(found):
        raise ValueError(
            "The `class_names` passed did not match the names of the subdirectories of the target directory. "
            f"Expected: {found} (or a subset of it), but received: class_names={class_names}"
        )
    names = list(class_names) if class_names is not None else found
    groups = [list(picture_files(os.path.join(directory, name), follow_links=follow_links)) for name in names]
    numbers = np.repeat(np.arange(len(names), dtype=np.int32), [len(group) for group in groups])
    return [path for group in groups for path in group], numbers, names


def _encode(numbers: np.ndarray, label_mode: str, classes: int) -> np.ndarray:
    if label_mode == "categorical":
        return np.eye(classes, dtype=np.float32)[numbers]
    return numbers.astype(np.float32)[:, None] if label_mode == "binary" else numbers
