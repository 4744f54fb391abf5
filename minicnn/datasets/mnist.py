"""MNIST: 70,000 scans of handwritten digits, 28x28 pixels.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", 1998; http://yann.lecun.com/exdb/mnist/. Creative Commons Attribution-ShareAlike 3.0.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from minicnn.datasets._idx import FILES, check_digits, read_idx_folder
from minicnn.datasets._npz import read_npz
from minicnn.datasets._store import Arrays, Download, Layout, Source, read

CLASS_NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def _read_npz(path: Path) -> Arrays:
    x_train, y_train, x_test, y_test = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    return check_digits((x_train, y_train)), check_digits((x_test, y_test))


SOURCE = Source(
    name="mnist",
    layouts=(
        Layout("mnist.npz", (), _read_npz),
        Layout("mnist", FILES, read_idx_folder),
        Layout("MNIST/raw", FILES, read_idx_folder),  # torchvision's place
    ),
    downloads=(
        Download(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
            "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            11_490_434,
            "mnist.npz",
        ),
    ),
    homepage="http://yann.lecun.com/exdb/mnist/",
)


def load_data(path: str = "mnist.npz") -> Arrays:
    """MNIST, as Keras returns it.

    Args:
        path: the file's name in the data folders, or an absolute path.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shape (60000, 28, 28) and (10000, 28, 28),
        uint8 labels of shape (60000,) and (10000,).

    Raises:
        DatasetUnavailableError: if the file is neither found nor to be downloaded.
        ValueError: if what is found is damaged.
    """
    if path == "mnist.npz":
        return read(SOURCE)
    named = dataclasses.replace(SOURCE.downloads[0], to=path)
    return read(dataclasses.replace(SOURCE, layouts=(Layout(path, (), _read_npz),), downloads=(named,)))
