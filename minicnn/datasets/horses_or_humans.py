"""Horses or humans: 1,283 rendered pictures of 300x300 pixels, two classes.

Source: L. Moroney, "Horses or Humans Dataset", 2019, http://laurencemoroney.com/horses-or-humans-dataset.
Creative Commons Attribution 2.0.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minicnn.data.pictures import read_picture
from minicnn.datasets._store import Arrays, Download, Layout, Source, read
from minicnn.untrusted import open_zip

CLASS_NAMES = ("horses", "humans")

_ADDRESS = "https://storage.googleapis.com/download.tensorflow.org/data/"
_PARTS = ("horse-or-human", "validation-horse-or-human")
_LARGEST_PICTURE = 10_000_000  # bytes of a PNG file; those published have at most 200,000 or so
_MOST_PICTURES = 1500  # in one archive; the larger one has 1,027, and folders
_PIXELS = 300


def _pictures(path: Path) -> Iterator[tuple[str, bytes | Path]]:
    """(class name, PNG file) of every picture in a zip archive or a folder, in the order of their names."""
    if path.is_dir():
        for name in CLASS_NAMES:
            for picture in sorted((path / name).glob("*.png")):
                yield name, picture
        return
    with open_zip(path, _MOST_PICTURES) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            folder, _, name = info.filename.rpartition("/")
            kind = folder.rpartition("/")[-1]
            if kind in CLASS_NAMES and name.endswith(".png") and not name.startswith("."):
                if info.file_size > _LARGEST_PICTURE:
                    raise ValueError(f"{info.filename} has {info.file_size:,} bytes, more than {_LARGEST_PICTURE:,}")
                yield kind, archive.read(info)


def _read_part(path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for name, picture in _pictures(path):
        image = read_picture(io.BytesIO(picture) if isinstance(picture, bytes) else picture, "rgb", _PIXELS**2)
        if image.shape != (_PIXELS, _PIXELS, 3):
            raise ValueError(f"a picture of {name} has shape {image.shape}, not ({_PIXELS}, {_PIXELS}, 3)")
        images.append(image)
        labels.append(CLASS_NAMES.index(name))
    if not images:
        raise ValueError(f"{path.name} has no pictures in folders named {' and '.join(CLASS_NAMES)}")
    return np.stack(images), np.array(labels, dtype=np.uint8)


def _read_zips(folder: Path) -> Arrays:
    train, test = (_read_part(folder / f"{part}.zip") for part in _PARTS)
    return train, test


def _read_folders(folder: Path) -> Arrays:
    train, test = (_read_part(folder / part) for part in _PARTS)
    return train, test


_FOLDERS = tuple(f"{part}/{name}" for part in _PARTS for name in CLASS_NAMES)

SOURCE = Source(
    name="horses_or_humans",
    layouts=(
        Layout(".", _FOLDERS, _read_folders),
        Layout("horses_or_humans", _FOLDERS, _read_folders),
        Layout(".", tuple(f"{part}.zip" for part in _PARTS), _read_zips),
        Layout("horses_or_humans", tuple(f"{part}.zip" for part in _PARTS), _read_zips),
    ),
    downloads=(
        Download(
            _ADDRESS + "horse-or-human.zip",
            "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9",
            149_574_867,
            "horse-or-human.zip",
        ),
        Download(
            _ADDRESS + "validation-horse-or-human.zip",
            "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0",
            11_480_187,
            "validation-horse-or-human.zip",
        ),
    ),
    homepage="http://laurencemoroney.com/horses-or-humans-dataset",
)


def load_data() -> Arrays:
    """Horses or humans as arrays.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shape (1027, 300, 300, 3) and (256, 300, 300, 3),
        uint8 labels of shape (1027,) and (256,): 0 for horses, 1 for humans. About 350 MB.

    Raises:
        DatasetUnavailableError: if the files are neither found nor to be downloaded.
        ValueError: if what is found is damaged.
    """
    return read(SOURCE)
