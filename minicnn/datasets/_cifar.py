"""What CIFAR-10 and CIFAR-100 share: rows of 3,072 bytes, red, green and blue planes of 32x32 pixels.

Format: https://www.cs.toronto.edu/~kriz/cifar.html, in its Python layout (a pickled dict of
`data` (N, 3072) uint8 and lists of labels) and its binary one (label bytes, then the 3,072).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minicnn.datasets import _archive, _unpickle

_PIXELS = 3 * 32 * 32
_LARGEST_FILE = 400_000_000  # CIFAR-100's training file, the largest, has 155 million bytes

_Part = tuple[np.ndarray, np.ndarray]


def _images(rows: np.ndarray) -> np.ndarray:
    """(N, 3072) planes to (N, 32, 32, 3) pixels, contiguous."""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def read_binary(path: Path, files: Sequence[str], classes: Sequence[int]) -> _Part:
    """Images and labels of binary files, one after the other.

    Args:
        path: a folder or tar archive.
        files: the names of the files.
        classes: the number of classes of each label byte (one for CIFAR-10, coarse and fine for CIFAR-100).

    Returns:
        (N, 32, 32, 3) uint8 images and (N, len(classes)) uint8 labels.
    """
    width = len(classes) + _PIXELS
    parts = []
    for name, data in zip(files, _archive.read_files(path, files, _LARGEST_FILE)):
        if not data or len(data) % width:
            raise ValueError(f"{name} has {len(data):,} bytes, not a multiple of {width:,}")
        parts.append(np.frombuffer(data, np.uint8).reshape(-1, width))
        _check_labels(name, parts[-1][:, : len(classes)], classes)
    records = np.concatenate(parts)
    return _images(records[:, len(classes) :]), records[:, : len(classes)].copy()


def read_pickles(path: Path, files: Sequence[str], keys: Sequence[str], classes: Sequence[int]) -> _Part:
    """Images and labels of pickled files; `keys` are the names of the label lists, one for each of `classes`."""
    images, labels = [], []
    for name, data in zip(files, _archive.read_files(path, files, _LARGEST_FILE)):
        content = _unpickle.loads(data)
        if not isinstance(content, dict) or any(key not in content for key in ("data", *keys)):
            raise ValueError(f"{name} is no dict with {', '.join(('data', *keys))}")
        rows = content["data"]
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != _PIXELS:
            raise ValueError(f"{name} has no `data` of shape (N, {_PIXELS}) in uint8")
        if not all(isinstance(label, (int, np.integer)) for key in keys for label in content[key]):
            raise ValueError(f"{name} has labels that are no integers")
        columns = np.array([content[key] for key in keys]).T
        if columns.shape != (len(rows), len(keys)) or columns.dtype.kind not in "iu":
            raise ValueError(f"{name} has {len(rows)} images and labels of shape {columns.shape}")
        _check_labels(name, columns, classes)
        images.append(rows)
        labels.append(columns.astype(np.uint8))
    return _images(np.concatenate(images)), np.concatenate(labels)


def _check_labels(name: str, labels: np.ndarray, classes: Sequence[int]) -> None:
    if labels.size and (labels.min() < 0 or (labels.max(axis=0) >= np.array(classes)).any()):
        raise ValueError(f"{name} has labels up to {labels.max()}, outside of {max(classes)} classes")
