"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from minicnn.datasets import _cifar
from minicnn.datasets._store import Arrays, Download, Layout, Source, find, read

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


# MD5s of the Python version: https://www.cs.toronto.edu/~kriz/cifar.html names the archive's, its readers check the files'.
_ORIGINALS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-batches-py.tar.gz": "c58f30108f718f92721af3b95e74349a",
}


def provenance() -> tuple[Path | None, bool]:
    """Where `load_data` finds the files, and whether they are the original ones, by their checksums.

    Of the binary version the archive alone has a published one; unpacked, it counts as unknown.
    """
    found = find(SOURCE)
    if found is None:
        return None, False
    archive = SOURCE.downloads[0]
    known = _ORIGINALS | {archive.to: archive.digest}
    for path in found.files:
        algorithm = "sha256" if path.name == archive.to else "md5"
        with path.open("rb") as file:
            if path.name not in known or hashlib.file_digest(file, algorithm).hexdigest() != known[path.name]:
                return found.path, False
    return found.path, True


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
