"""What `ImageDataGenerator.flow...` return: batches of augmented images, without end, epoch after epoch.

They have a length, so that `fit` knows where an epoch ends. With a seed, batch k of an
iterator is drawn from NumPy's generator seeded with seed + k, which is Keras's rule, but
from one of the iterator's own; without, from the global one.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minicnn import config, shapes
from minicnn.data.directory import picture_files
from minicnn.data.pictures import CHANNELS
from minicnn.preprocessing.image.augmentation import Augmentation
from minicnn.preprocessing.image.files import array_to_img, img_to_array, load_img

_FORMATS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")


class Flow(NamedTuple):
    """How an iterator hands out its batches.

    Attributes:
        batch_size, shuffle, seed: see `Iterator`.
        save_to_dir: a folder to write every image into, to look at.
        save_prefix, save_format: what the names of these files begin and end with.
        dtype: of the batches; None for `config.floatx()`.
    """

    batch_size: int
    shuffle: bool
    seed: int | None
    save_to_dir: str | None
    save_prefix: str
    save_format: str
    dtype: Any


class Reading(NamedTuple):
    """How picture files become images and targets; the fields are the arguments of `flow_from_directory`."""

    target_size: Sequence[int]
    color_mode: str
    class_mode: str | None
    interpolation: str
    keep_aspect_ratio: bool


class Iterator:
    """Batches of `n` samples in order, or in an order drawn anew for every epoch; a subclass makes the batches.

    Args:
        n: how many samples there are.
        batch_size: samples a batch; the last one of an epoch may be smaller.
        shuffle: draw the order.
        seed: of all that is drawn; None for NumPy's global generator.
    """

    white_list_formats = _FORMATS

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int | None) -> None:
        self.n = n
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.batch_index = 0
        self.total_batches_seen = 0
        self.index_array: np.ndarray | None = None
        self.lock = threading.Lock()
        self._random: Any = np.random

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-self.n // self.batch_size)

    def __getitem__(self, idx: int) -> Any:
        """The batch at `idx` of the epoch's order."""
        if idx >= len(self):
            raise ValueError(f"Asked to retrieve element {idx}, but the Sequence has length {len(self)}")
        with self.lock:
            self._begin_batch()
            if self.index_array is None:
                self._set_index_array()
            assert self.index_array is not None
            return self._get_batches_of_transformed_samples(
                self.index_array[self.batch_size * idx : self.batch_size * (idx + 1)]
            )

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self.n == 0:
            raise ValueError("There are no images to make a batch of.")
        with self.lock:
            self._begin_batch()
            if self.batch_index == 0:
                self._set_index_array()
            assert self.index_array is not None
            start = self.batch_index * self.batch_size
            self.batch_index = self.batch_index + 1 if start + self.batch_size < self.n else 0
            return self._get_batches_of_transformed_samples(self.index_array[start : start + self.batch_size])

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch (for code that takes batches by their index)."""
        self._set_index_array()

    def get_state(self) -> dict[str, Any]:
        """The state that is carried from batch to batch, as plain data and arrays: `BackupAndRestore` saves it."""
        return {
            "batch_index": self.batch_index,
            "total_batches_seen": self.total_batches_seen,
            "index_array": self.index_array,
            "random": None if self._random is np.random else self._random.get_state(legacy=False),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from the state of an iterator with the same arguments."""
        self.batch_index, self.total_batches_seen = state["batch_index"], state["total_batches_seen"]
        self.index_array = state["index_array"]
        if state["random"] is not None:
            self._random = np.random.RandomState()
            self._random.set_state(state["random"])

    def reset(self) -> None:
        """Let `next` begin a new epoch."""
        self.batch_index = 0

    def _begin_batch(self) -> None:
        if self.seed is not None:
            self._random = np.random.RandomState(self.seed + self.total_batches_seen)
        self.total_batches_seen += 1

    def _set_index_array(self) -> None:
        self.index_array = self._random.permutation(self.n) if self.shuffle else np.arange(self.n)

    def _get_batches_of_transformed_samples(self, index_array: np.ndarray) -> Any:
        """The batch of the samples at these indices."""
        raise NotImplementedError


class _ImageIterator(Iterator):
    """An iterator whose samples go through an `ImageDataGenerator`, and into a folder if one is named."""

    def __init__(self, image_data_generator: Augmentation, n: int, flow: Flow) -> None:
        super().__init__(n, flow.batch_size, flow.shuffle, flow.seed)
        self.image_data_generator = image_data_generator
        self.save_to_dir, self.save_prefix, self.save_format = flow.save_to_dir, flow.save_prefix, flow.save_format
        self.dtype = flow.dtype or config.floatx()

    def _image(self, index: int) -> np.ndarray:
        """One sample as it is, (height, width, channels)."""
        raise NotImplementedError

    def _images(self, index_array: np.ndarray) -> np.ndarray:
        """The samples, augmented and standardised, (N, height, width, channels)."""
        generator = self.image_data_generator
        images = []
        for index in index_array:
            image = self._image(int(index))
            parameters = generator.draw_transform(image.shape, self._random)
            images.append(generator.standardize(generator.apply_transform(image, parameters)))
        batch = np.asarray(np.stack(images), dtype=self.dtype)
        if self.save_to_dir:
            for index, image in zip(index_array, batch, strict=True):
                name = f"{self.save_prefix}_{index}_{self._random.randint(10**7)}.{self.save_format}"
                array_to_img(image, scale=True).save(os.path.join(self.save_to_dir, name))
        return batch


class NumpyArrayIterator(_ImageIterator):
    """Batches of arrays; see `ImageDataGenerator.flow`.

    Yields `x`, `(x, y)` or `(x, y, sample_weight)`, whatever was given. `x` may be a pair of the images and
    further arrays, which go along unchanged.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        image_data_generator: Augmentation,
        batch_size: int = 32,
        shuffle: bool = False,
        sample_weight: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
        dtype: Any = None,
    ) -> None:
        further: list[Any] = []
        if isinstance(x, (tuple, list)):
            x, rest = x
            further = [np.asarray(array) for array in (rest if isinstance(rest, list) else [rest])]
        x = np.asarray(x, dtype=dtype or config.floatx())
        targets = [np.asarray(array) for array in (y, sample_weight) if array is not None]
        if x.ndim != 4:
            raise ValueError(f"Input data in `NumpyArrayIterator` should have rank 4. You passed an array with shape {x.shape}")
        for name, arrays in (("further arrays", further), ("`y` and `sample_weight`", targets)):
            if any(len(array) != len(x) for array in arrays):
                lengths = [len(array) for array in arrays]
                raise ValueError(
                    f"`x` (images tensor) and {name} should have the same length. Found: x.shape = {x.shape}, lengths {lengths}"
                )
        if x.shape[-1] not in (1, 3, 4):
            warnings.warn(
                "NumpyArrayIterator expects images with 1, 3 or 4 channels on axis 3. "
                f"However, it was passed an array with shape {x.shape} ({x.shape[-1]} channels).",
                stacklevel=3,
            )
        if subset is not None:
            chosen = _subset(subset, image_data_generator.validation_split, len(x))
            if y is not None and not ignore_class_split:
                rest_of_y = np.delete(targets[0], np.arange(len(x))[chosen], axis=0)
                if not np.array_equal(np.unique(targets[0][chosen]), np.unique(rest_of_y)):
                    raise ValueError(
                        "Training and validation subsets have different number of classes after the split. If your numpy "
                        "arrays are sorted by the label, you might want to shuffle them."
                    )
            x, further, targets = x[chosen], [a[chosen] for a in further], [a[chosen] for a in targets]
        flow = Flow(batch_size, shuffle, seed, save_to_dir, save_prefix, save_format, dtype)
        super().__init__(image_data_generator, len(x), flow)
        self.x = x
        self.x_misc = further
        self.y = targets[0] if y is not None else None
        self.sample_weight = targets[-1] if sample_weight is not None else None

    def _image(self, index: int) -> np.ndarray:
        return self.x[index].astype(self.dtype)

    def _get_batches_of_transformed_samples(self, index_array: np.ndarray) -> Any:
        x: Any = self._images(index_array)
        if self.x_misc:
            x = [x, *(array[index_array] for array in self.x_misc)]
        if self.y is None:
            return x
        batch = (x, self.y[index_array])
        return batch if self.sample_weight is None else (*batch, self.sample_weight[index_array])


class _FileIterator(_ImageIterator):
    """Batches of picture files with labels encoded as `class_mode` says."""

    _class_modes: tuple[str | None, ...] = ("categorical", "binary", "sparse", "input", None)

    filepaths: list[str]
    classes: Any
    class_indices: dict[str, int]
    weights: np.ndarray | None = None

    def __init__(self, image_data_generator: Augmentation, filepaths: list[str], reading: Reading, flow: Flow) -> None:
        if reading.color_mode not in CHANNELS:
            raise ValueError(f'Invalid color mode: {reading.color_mode}; expected "rgb", "rgba", or "grayscale".')
        super().__init__(image_data_generator, len(filepaths), flow)
        self.filepaths = filepaths
        self.samples = len(filepaths)
        self.target_size = shapes.pair(tuple(reading.target_size), "target_size")
        self.color_mode, self.class_mode = reading.color_mode, reading.class_mode
        self.image_shape = (*self.target_size, CHANNELS[self.color_mode])
        self.interpolation, self.keep_aspect_ratio = reading.interpolation, reading.keep_aspect_ratio

    @classmethod
    def _check_class_mode(cls, class_mode: str | None) -> None:
        if class_mode not in cls._class_modes:
            raise ValueError(f"Invalid class_mode: {class_mode}; expected one of: {cls._class_modes}")

    @property
    def labels(self) -> Any:
        """The label of every file."""
        return self.classes

    def _image(self, index: int) -> np.ndarray:
        image = load_img(self.filepaths[index], self.color_mode, self.target_size, self.interpolation, self.keep_aspect_ratio)
        return img_to_array(image, dtype=self.dtype)

    def _get_batches_of_transformed_samples(self, index_array: np.ndarray) -> Any:
        x = self._images(index_array)
        if self.class_mode is None:
            return x
        if self.class_mode == "input":
            y: Any = x.copy()
        elif self.class_mode in ("binary", "sparse"):
            y = np.array([self.classes[index] for index in index_array], dtype=self.dtype)
        elif self.class_mode == "categorical":
            y = np.zeros((len(x), len(self.class_indices)), dtype=self.dtype)
            for row, index in zip(y, index_array, strict=True):
                row[self.classes[index]] = 1  # one class, or a list of several
        elif self.class_mode == "multi_output":
            y = [column[index_array] for column in self.classes]
        else:
            y = self.classes[index_array]
        return (x, y) if self.weights is None else (x, y, self.weights[index_array])


class DirectoryIterator(_FileIterator):
    """Batches of the pictures in a folder, one subfolder a class; see `ImageDataGenerator.flow_from_directory`."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        image_data_generator: Augmentation,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = None,
    ) -> None:
        self._check_class_mode(class_mode)
        self.directory = os.fspath(directory)
        names = list(classes or sorted(entry.name for entry in os.scandir(directory) if entry.is_dir()))
        self.class_indices = {name: number for number, name in enumerate(names)}
        self.num_classes = len(names)
        filepaths, numbers = [], []
        for number, name in enumerate(names):
            found = list(picture_files(os.path.join(self.directory, name), _FORMATS, follow_links))
            if subset is not None:
                found = found[_subset(subset, image_data_generator.validation_split, len(found))]
            filepaths += found
            numbers += [number] * len(found)
        print(f"Found {len(filepaths)} images belonging to {self.num_classes} classes.")
        self.classes = np.array(numbers, dtype="int32")
        self.filenames = [os.path.relpath(path, self.directory) for path in filepaths]
        reading = Reading(target_size, color_mode, class_mode, interpolation, keep_aspect_ratio)
        flow = Flow(batch_size, shuffle, seed, save_to_dir, save_prefix, save_format, dtype)
        super().__init__(image_data_generator, filepaths, reading, flow)


class DataFrameIterator(_FileIterator):
    """Batches of the pictures that a table names; see `ImageDataGenerator.flow_from_dataframe`."""

    _class_modes = (*_FileIterator._class_modes, "multi_output", "raw")

    def __init__(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        image_data_generator: Augmentation | None = None,
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
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = None,
        validate_filenames: bool = True,
    ) -> None:
        generator = image_data_generator or Augmentation()
        self._check_class_mode(class_mode)
        if class_mode == "multi_output" and not isinstance(y_col, list):
            raise TypeError(f'If class_mode="{class_mode}", y_col must be a list. Received {type(y_col).__name__}.')
        names = list(dataframe[x_col])
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"All values in column x_col={x_col} must be strings.")
        self.directory = os.fspath(directory or "")
        paths = [os.path.join(self.directory, name) for name in names]
        rows = np.arange(len(paths))
        if validate_filenames:
            rows = np.array([r for r in rows if paths[r].lower().endswith(_FORMATS) and os.path.isfile(paths[r])], dtype=int)
            if len(rows) < len(paths):
                warnings.warn(
                    f'Found {len(paths) - len(rows)} invalid image filename(s) in x_col="{x_col}". '
                    "These filename(s) will be ignored.",
                    stacklevel=3,
                )
        belonging = ""
        if class_mode in ("categorical", "binary", "sparse"):
            rows = self._label(list(dataframe[y_col]), rows, classes, str(class_mode))
            belonging = f" belonging to {len(self.class_indices)} classes"
        elif class_mode == "multi_output":
            self.classes = [np.array(list(dataframe[column])) for column in y_col]
        elif class_mode == "raw":
            self.classes = np.asarray(dataframe[y_col])
        if weight_col is not None:
            self.weights = np.asarray(dataframe[weight_col])
        if subset is not None:
            rows = rows[_subset(subset, generator.validation_split, len(rows))]
        validated = "validated" if validate_filenames else "non-validated"
        print(f"Found {len(rows)} {validated} image filenames{belonging}.")
        self.filenames = [names[row] for row in rows]
        if isinstance(self.weights, np.ndarray):
            self.weights = self.weights[rows]
        if class_mode == "multi_output":
            self.classes = [column[rows] for column in self.classes]
        elif class_mode == "raw":
            self.classes = self.classes[rows]
        elif class_mode in ("categorical", "binary", "sparse"):
            self.classes = [self.classes[row] for row in rows]
        reading = Reading(target_size, color_mode, class_mode, interpolation, keep_aspect_ratio)
        flow = Flow(batch_size, shuffle, seed, save_to_dir, save_prefix, save_format, dtype)
        super().__init__(generator, [paths[row] for row in rows], reading, flow)

    def _label(self, values: list[Any], rows: np.ndarray, classes: Sequence[str] | None, class_mode: str) -> np.ndarray:
        """Number the classes, set every row's label (a list where a row has several), return the rows that have one."""
        several = class_mode == "categorical"
        if not all(isinstance(value, (str, list, tuple) if several else str) for value in values):
            kind = "type string, list or tuple" if several else "strings"
            raise TypeError(f'If class_mode="{class_mode}", the values of y_col must be {kind}.')
        lists = [[value] if isinstance(value, str) else list(value) for value in values]
        known = list(dict.fromkeys(classes)) if classes else sorted({name for row in rows for name in lists[row]})
        if class_mode == "binary" and len(known) != 2:
            raise ValueError(f'If class_mode="binary" there must be 2 classes. Found {len(known)} classes.')
        self.class_indices = {name: number for number, name in enumerate(known)}
        numbers = [[self.class_indices[name] for name in names if name in self.class_indices] for names in lists]
        self.classes = [
            found[0] if isinstance(value, str) and found else found for value, found in zip(values, numbers, strict=True)
        ]
        return np.array([row for row in rows if numbers[row]], dtype=int)


def _subset(subset: str, validation_split: float, count: int) -> slice:
    """Which of `count` samples belong to a subset: the first ones are for validation."""
    if subset not in ("training", "validation"):
        raise ValueError(f'Invalid subset name: {subset}; expected "training" or "validation".')
    boundary = int(validation_split * count)
    return slice(boundary) if subset == "validation" else slice(boundary, None)
