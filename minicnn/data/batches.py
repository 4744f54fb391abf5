"""A user's own batches as a class, `PyDataset`; and data divided in two, `split_dataset`."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from minicnn.data.dataset import Dataset

__all__ = ["PyDataset", "split_dataset"]


class PyDataset:
    """Base of a user's class that says how many batches there are and makes each; older programs call it `Sequence`.

        class Pictures(PyDataset):
            def __len__(self):
                return math.ceil(len(self.paths) / 32)

            def __getitem__(self, index):
                ...
                return images, labels

    Args:
        workers, use_multiprocessing, max_queue_size: accepted; batches are made one after the other.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        """Batch number `index`: (x, y), (x, y, sample_weight) or x."""
        raise NotImplementedError(f"{type(self).__name__} needs a method `__getitem__(self, index)`.")

    def __len__(self) -> int:
        """How many batches there are.

        Raises:
            TypeError: if they have no end.
        """
        if type(self).num_batches is PyDataset.num_batches:
            raise NotImplementedError(f"{type(self).__name__} needs a method `__len__(self)`.")
        if self.num_batches is None:
            raise TypeError(f"{type(self).__name__} has no length: its batches have no end.")
        return int(self.num_batches)

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; a class that returns None has no last one."""
        return self.__dict__["num_batches"] if "num_batches" in self.__dict__ else len(self)

    @num_batches.setter
    def num_batches(self, value: int | None) -> None:  # programs keep their count under this name, for `__len__` to return
        self.__dict__["num_batches"] = value

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch: to shuffle, say."""


def split_dataset(
    dataset: Any,
    left_size: float | int | None = None,
    right_size: float | int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Dataset, Dataset]:
    """Data divided in two, for training and testing, say.

    Args:
        dataset: an array, a tuple or list of arrays of one length, or a `Dataset`, whose elements are held in memory.
        left_size: of the first part: how many samples, as an int, or which share, as a float; by default what the
            second leaves.
        right_size: of the second part, likewise.
        shuffle: put the samples in random order first; the order of Keras for the same `seed`.
        seed: by default drawn from Python's generator.

    Raises:
        ValueError: for sizes that are missing, negative or too large (Keras's wording).
        TypeError: for a size that is no number.
    """
    if left_size is None and right_size is None:
        raise ValueError(
            "At least one of the `left_size` or `right_size` must be specified. Received: left_size=None and right_size=None"
        )
    if not isinstance(dataset, Dataset):
        dataset = Dataset.from_tensor_slices(tuple(dataset) if isinstance(dataset, list) else dataset)
    elements = list(dataset)
    left, right = _sizes(left_size, right_size, len(elements))
    if shuffle:
        random.Random(random.randint(0, 10**6) if seed is None else seed).shuffle(elements)
    return _held(elements[:left]), _held(elements[len(elements) - right :])


def _held(elements: list[Any]) -> Dataset:
    return Dataset.range(len(elements)).map(lambda index: elements[index])


def _sizes(left: Any, right: Any, total: int) -> tuple[int, int]:
    """How many samples the two parts have."""
    given = {"left_size": left, "right_size": right}
    for name, size in given.items():
        if size is not None and (isinstance(size, bool) or not isinstance(size, (int, float, np.number))):
            raise TypeError(f"Invalid `{name}` Type. Expected: int or float or None. Received: {size} of type {type(size)}")
        most = 1 if isinstance(size, (float, np.floating)) else total
        if size is not None and not 0 < size <= most:
            raise ValueError(
                f"`{name}` should be a positive integer of at most the number of samples, {total}, or a float in the "
                f"range (0, 1]. Received: {name}={size}"
            )
    if all(isinstance(size, (float, np.floating)) for size in (left, right)) and left + right > 1:
        raise ValueError(
            "The sum of `left_size` and `right_size` is greater than 1. It must be less than or equal to 1. "
            f"Received: left_size={left}, right_size={right}"
        )
    counts = [round(size * total) if isinstance(size, (float, np.floating)) else size for size in (left, right)]
    first, second = (total - counts[1] if counts[0] is None else counts[0], counts[1])
    second = total - first if second is None else second
    if first + second > total:
        raise ValueError(
            f"The sum of `left_size` and `right_size` should be smaller than the number of samples, {total}. "
            f"Received: left_size={left}, right_size={right}"
        )
    if not first or not second:
        raise ValueError(
            f"With `dataset` of length={total}, `left_size`={left} and `right_size`={right}, one of the parts will be "
            "empty. Adjust any of the aforementioned parameters."
        )
    return int(first), int(second)
