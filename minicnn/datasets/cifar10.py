"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from pathlib import Path

from minicnn.datasets import _cifar
from minicnn.datasets._store import Arrays, Download, Layout, Source, read

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_PICKLED = (tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",))
_BINARY = (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",))


def _read_pickles(path: Path) -> Arrays:
    train, test = (_cifar.read_pickles(path, files, ("labels",), (10,)) for files in _PICKLED)
    return train, test


def _read_binary(path: Path) -> Arrays:
    train, test = (_cifar.read_binary(path, files, (10,)) for files in _BINARY)
    return train, test


_PICKLED_FILES = (*_PICKLED[0], *_PICKLED[1])
_BINARY_FILES = (*_BINARY[0], *_BINARY[1])

SOURCE = Source(
    name="cifar10",
    layouts=(
        Layout("cifar-10-batches-py", _PICKLED_FILES, _read_pickles),
        Layout("cifar-10-batches-py-target/cifar-10-batches-py", _PICKLED_FILES, _read_pickles),  # Keras 3's place
        Layout("cifar-10-batches-bin", _BINARY_FILES, _read_binary),
        Layout(".", _PICKLED_FILES, _read_pickles),
        Layout(".", _BINARY_FILES, _read_binary),
        Layout("cifar-10-binary.tar.gz", (), _read_binary),
        Layout("cifar-10-python.tar.gz", (), _read_pickles),
        Layout("cifar-10-batches-py.tar.gz", (), _read_pickles),  # Keras 2's name for it
    ),
    downloads=(
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            170_052_171,
            "cifar-10-binary.tar.gz",
        ),
    ),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
)


def load_data() -> Arrays:
    """CIFAR-10, as Keras returns it.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shape (50000, 32, 32, 3) and (10000, 32, 32, 3),
        uint8 labels of shape (50000, 1) and (10000, 1), whose names are `CLASS_NAMES`.

    Raises:
        DatasetUnavailableError: if the files are neither found nor to be downloaded.
        ValueError: if what is found is damaged.
    """
    return read(SOURCE)
