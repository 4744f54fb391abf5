"""The metadata of a data set, under the names of tensorflow_datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.datasets._splits import parse_split


@dataclass(frozen=True)
class Image:
    """The feature "image": (height, width, channels) and the type of the pixels."""

    shape: tuple[int, ...]
    dtype: type[np.generic] = np.uint8


@dataclass(frozen=True)
class ClassLabel:
    """The feature "label": a number for each of `names`.

    Examples:
        >>> label = ClassLabel(("horses", "humans"))
        >>> label.num_classes, label.str2int("humans"), label.int2str(0)
        (2, 1, 'horses')
    """

    class_names: Sequence[str]
    shape: tuple[()] = ()
    dtype: type[np.generic] = np.int64

    @property
    def names(self) -> list[str]:
        """The classes' names, in the order of their numbers."""
        return list(self.class_names)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def str2int(self, str_value: str) -> int:
        """The number of a class.

        Raises:
            ValueError: for an unknown name.
        """
        if str_value not in self.class_names:
            raise ValueError(f"Unknown class: {str_value!r}. Known: {', '.join(self.class_names)}.")
        return list(self.class_names).index(str_value)

    def int2str(self, int_value: int) -> str:
        """The name of a class.

        Raises:
            ValueError: for a number that is none.
        """
        if not 0 <= int_value < len(self.class_names):
            raise ValueError(f"There is no class {int_value}: labels go from 0 to {len(self.class_names) - 1}.")
        return self.class_names[int(int_value)]


@dataclass(frozen=True)
class SplitInfo:
    """One split, or a part of one: its name and number of examples."""

    name: str
    num_examples: int


class Splits(Mapping[str, SplitInfo]):
    """The splits by name; parts of them too: `splits["train[:80%]"].num_examples`."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)

    def __getitem__(self, split: str) -> SplitInfo:
        try:
            return SplitInfo(split, sum(len(places) for _, places in parse_split(split, self._sizes)))
        except ValueError as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def total_num_examples(self) -> int:
        """Of all splits together."""
        return sum(self._sizes.values())


@dataclass(frozen=True)
class DatasetInfo:
    """Name, features, splits and home page of a data set."""

    name: str
    features: Mapping[str, Any]
    splits: Splits
    homepage: str
    supervised_keys: tuple[str, str] = ("image", "label")
