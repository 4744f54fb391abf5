"""`load`: data sets as `Dataset`s with their metadata, in the manner of `tensorflow_datasets.load`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from minicnn.data import Dataset
from minicnn.data.experimental import assert_cardinality
from minicnn.datasets import _catalog, _store
from minicnn.datasets._splits import parse_split
from minicnn.datasets._store import DataDir
from minicnn.datasets.info import ClassLabel, DatasetInfo, Image, Splits
from minicnn.registry import did_you_mean


class Builder(Protocol):
    """What reads one data set: one of minicnn's own readers, or a wrapper around a builder of tensorflow_datasets."""

    @property
    def info(self) -> Any:
        """Features, splits, home page."""

    def download_and_prepare(self) -> None:
        """Make the files ready on this machine."""

    def as_dataset(
        self, split: Any = None, batch_size: int | None = None, shuffle_files: bool = False, as_supervised: bool = False
    ) -> Any:
        """The examples; arguments as in `load`."""


def load(
    name: str,
    *,
    split: Any = None,
    data_dir: DataDir = None,
    batch_size: int | None = None,
    shuffle_files: bool = False,
    download: bool = True,
    as_supervised: bool = False,
    with_info: bool = False,
    **kwargs: Any,
) -> Any:
    """A data set by name.

    Through tensorflow_datasets where that is installed and has the files, else through minicnn's own readers where
    they find the files, else through whichever can download them.

    Args:
        name: "cifar10", "cifar100", "digits", "fashion_mnist", "horses_or_humans", "mnist", or another that
            tensorflow_datasets knows, if it is installed.
        split: "train", "test", parts and sums of them ("train[:80%]", "train[1000:]+test"), or a list, tuple or dict
            of such; None for a dict of all splits.
        data_dir: the folder to look in first and to download to.
        batch_size: elements are batches of this size; -1 for all examples as arrays instead of a `Dataset`.
        shuffle_files: a new order for every pass, drawn from the global seed.
        download: whether files may be downloaded.
        as_supervised: elements are (image, label) instead of {"image": ..., "label": ...}.
        with_info: return a pair of the data and its info.
        **kwargs: what else `tensorflow_datasets.load` takes is accepted; it steers TensorFlow's execution.

    Returns:
        Data in the structure of `split`: `Dataset`s of uint8 images (height, width, channels) and int64 labels. With
        `with_info` a pair of that and an info with `features["image"].shape`, `features["label"].num_classes`,
        `.names`, `.str2int`, `.int2str`, and `splits[...].num_examples`.

    Raises:
        ValueError: for an unknown name or split.
        DatasetUnavailableError: if the files are neither found nor downloaded, with what was tried.

    Examples:
        >>> train, info = load("digits", split="train", as_supervised=True, with_info=True)
        >>> len(train), info.features["image"].shape, info.features["label"].num_classes
        (1442, (8, 8, 1), 10)
    """
    chosen = builder(name, data_dir=data_dir, download=download)
    examples = chosen.as_dataset(split, batch_size, shuffle_files, as_supervised)
    return (examples, chosen.info) if with_info else examples


def builder(name: str, *, data_dir: DataDir = None, download: bool = True) -> Builder:
    """What reads the data set `name`: has `info`, `download_and_prepare()` and `as_dataset(...)`; arguments as in `load`."""
    name = name.partition(":")[0]  # a version after the name is accepted, and ignored
    module = _catalog.MODULES.get(name)
    if module is not None and module.SOURCE is None:
        return _OwnBuilder(name, data_dir)
    foreign, reason = _foreign_builder(name, data_dir)
    if foreign is not None and foreign.prepared():
        return foreign
    if module is not None and (_store.find(module.SOURCE, data_dir) or not download):
        return _OwnBuilder(name, data_dir, download)
    if foreign is not None and download:
        try:
            foreign.download_and_prepare()
        except Exception as error:  # of any kind: minicnn's own download may still work
            reason = f"{type(error).__name__}: {error}"
        else:
            return foreign
    if module is not None:
        return _OwnBuilder(name, data_dir)
    hint = did_you_mean(name, _catalog.MODULES)
    raise ValueError(
        f"Unknown data set: {name!r}.{hint} minicnn reads {', '.join(_catalog.MODULES)}; tensorflow_datasets, which has "
        f"more, was of no help ({reason})."
    )


def list_builders() -> list[str]:
    """The names of the data sets that minicnn itself reads."""
    return list(_catalog.MODULES)


def as_numpy(dataset: Any) -> Any:
    """`dataset` itself: elements are NumPy arrays anyway."""
    return dataset


def _for_each_split(split: Any, select: Callable[[str], Any]) -> Any:
    """`select` of every split named in a structure."""
    if isinstance(split, dict):
        return {key: _for_each_split(value, select) for key, value in split.items()}
    if isinstance(split, (list, tuple)):
        return type(split)(_for_each_split(value, select) for value in split)
    return select(str(split))


def _batched(dataset: Dataset, batch_size: int | None) -> Any:
    if batch_size == -1:
        return next(iter(dataset.batch(max(len(dataset), 1))))
    return dataset if batch_size is None else dataset.batch(batch_size)


class _OwnBuilder:
    """One of minicnn's own data sets; read when it is first asked for anything."""

    def __init__(self, name: str, data_dir: DataDir, download: bool = True) -> None:
        self.name = name
        self._data_dir = data_dir
        self._download = download
        self._arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def info(self) -> DatasetInfo:
        """Features and splits, from the data themselves."""
        arrays = self._read()
        module = _catalog.MODULES[self.name]
        return DatasetInfo(
            name=self.name,
            features={"image": Image(arrays["train"][0].shape[1:]), "label": ClassLabel(module.CLASS_NAMES)},
            splits=Splits({split: len(labels) for split, (_, labels) in arrays.items()}),
            homepage=module.SOURCE.homepage if module.SOURCE else "https://doi.org/10.24432/C50P49",
        )

    def download_and_prepare(self) -> None:
        self._read()

    def as_dataset(
        self, split: Any = None, batch_size: int | None = None, shuffle_files: bool = False, as_supervised: bool = False
    ) -> Any:
        arrays = self._read()
        sizes = {name: len(labels) for name, (_, labels) in arrays.items()}

        def select(text: str) -> Any:
            parts = [(arrays[name], slice(places.start, places.stop)) for name, places in parse_split(text, sizes)]
            images, labels = (
                np.concatenate([pair[index][places] for pair, places in parts])
                if len(parts) > 1
                else parts[0][0][index][parts[0][1]]
                for index in range(2)
            )
            dataset = Dataset.from_tensor_slices((images, labels) if as_supervised else {"image": images, "label": labels})
            if shuffle_files and len(dataset):
                dataset = dataset.shuffle(len(dataset))
            return _batched(dataset, batch_size)

        return _for_each_split({name: name for name in sizes} if split is None else split, select)

    def _read(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Images (N, height, width, channels) and labels (N,) in int64, by split."""
        if not self._arrays:
            module = _catalog.MODULES[self.name]
            loaded = _store.read(module.SOURCE, self._data_dir, self._download) if module.SOURCE else module.load_data()
            for split, (x, y) in zip(("train", "test"), loaded, strict=True):
                finest = y.reshape(len(y), -1)[:, -1]  # of CIFAR-100's two labels, the one of 100 classes
                self._arrays[split] = (x if x.ndim == 4 else x[..., None], finest.astype(np.int64))
        return self._arrays


class _ForeignBuilder:
    """A builder of tensorflow_datasets; its examples become `Dataset`s."""

    def __init__(self, library: Any, inner: Any) -> None:
        self._library = library
        self._inner = inner

    @property
    def info(self) -> Any:
        """tensorflow_datasets' own."""
        return self._inner.info

    def prepared(self) -> bool:
        """Whether the files are on this machine."""
        return bool(self._inner.data_path.exists())

    def download_and_prepare(self) -> None:
        self._inner.download_and_prepare()

    def as_dataset(
        self, split: Any = None, batch_size: int | None = None, shuffle_files: bool = False, as_supervised: bool = False
    ) -> Any:
        splits = self._inner.info.splits

        def select(text: str) -> Any:
            examples = self._inner.as_dataset(split=text, shuffle_files=shuffle_files, as_supervised=as_supervised)
            dataset = Dataset.from_generator(lambda: self._library.as_numpy(examples))
            return _batched(dataset.apply(assert_cardinality(splits[text].num_examples)), batch_size)

        return _for_each_split({name: name for name in splits} if split is None else split, select)


def _foreign_builder(name: str, data_dir: DataDir) -> tuple[_ForeignBuilder | None, str]:
    """tensorflow_datasets' builder, or None and why there is none."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        return None, f"it cannot be imported: {error}"
    try:
        inner = tensorflow_datasets.builder(name, data_dir=data_dir)
    except Exception as error:  # it has errors of its own for an unknown name, a folder, the network
        return None, f"{type(error).__name__}: {error}"
    return _ForeignBuilder(tensorflow_datasets, inner), "downloading was not allowed"
