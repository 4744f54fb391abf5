"""Names that older programs look for under `tf.data.experimental`."""

from __future__ import annotations

from collections.abc import Callable

from minicnn.data.dataset import AUTOTUNE, INFINITE_CARDINALITY, UNKNOWN_CARDINALITY, Dataset

__all__ = ["AUTOTUNE", "INFINITE_CARDINALITY", "UNKNOWN_CARDINALITY", "assert_cardinality", "cardinality"]


def cardinality(dataset: Dataset) -> int:
    """`dataset.cardinality()`."""
    return dataset.cardinality()


def assert_cardinality(expected_cardinality: int) -> Callable[[Dataset], Dataset]:
    """For `Dataset.apply`: the same elements, of which there are said to be so many.

    Raises:
        ValueError: while iterating, if there are more or fewer.
    """
    return lambda dataset: dataset.with_cardinality(expected_cardinality)
