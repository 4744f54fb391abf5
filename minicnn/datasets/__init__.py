"""Data sets of images: `cifar10`, `cifar100`, `mnist`, `fashion_mnist`, `horses_or_humans`, `digits`.

Each module has `load_data()`, with Keras's return values, and `CLASS_NAMES`. `load` gives
the same data in the manner of `tensorflow_datasets.load`. `cached` says what is on this
machine and where, `fetch` downloads one.
"""

from __future__ import annotations

from minicnn.datasets import cifar10, cifar100, digits, fashion_mnist, horses_or_humans, mnist
from minicnn.datasets._catalog import CachedDataset, cached, fetch
from minicnn.datasets._store import DatasetUnavailableError, search_dirs
from minicnn.datasets.info import ClassLabel, DatasetInfo
from minicnn.datasets.loading import as_numpy, builder, list_builders, load

__all__ = [
    "CachedDataset",
    "ClassLabel",
    "DatasetInfo",
    "DatasetUnavailableError",
    "as_numpy",
    "builder",
    "cached",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "fetch",
    "horses_or_humans",
    "list_builders",
    "load",
    "mnist",
    "search_dirs",
]
