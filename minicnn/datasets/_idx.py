"""The IDX format of MNIST and its relatives: a big-endian header, then the bytes.

Format: http://yann.lecun.com/exdb/mnist/: two zero bytes, the type (8: unsigned byte),
the number of dimensions, each dimension in four bytes, the data.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from minicnn.datasets._store import Arrays

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

_LARGEST_ARRAY = 100_000_000  # MNIST's training images have 47 million bytes


def _read_idx(path: Path, rank: int) -> np.ndarray:
    """The array in one gzipped IDX file of unsigned bytes; its header must fit its length."""
    try:
        with gzip.open(path) as file:
            data = file.read(_LARGEST_ARRAY + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is not a whole gzip file ({error})") from error
    start = 4 + 4 * rank
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], ">u4")) if len(data) >= start else ()
    if data[:4] != bytes((0, 0, 8, rank)) or len(data) != start + math.prod(shape):
        raise ValueError(f"{path.name} is no IDX file of rank {rank}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def read_idx_folder(folder: Path) -> Arrays:
    """Training and test images (N, 28, 28) and labels (N,) of the four files `FILES` in a folder."""
    x_train, y_train, x_test, y_test = (_read_idx(folder / name, rank) for name, rank in zip(FILES, (3, 1, 3, 1)))
    return check_digits((x_train, y_train)), check_digits((x_test, y_test))


def check_digits(part: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels), if they are grey images of 28x28 pixels and as many labels of ten classes."""
    x, y = part
    if x.shape != (len(y), 28, 28) or y.ndim != 1 or y.dtype.kind not in "iu" or (y.size and not 0 <= y.min() <= y.max() < 10):
        raise ValueError(
            f"it has images of shape {x.shape}, and labels of shape {y.shape} and dtype {y.dtype}: expected (N, 28, 28), and N "
            "integers from 0 to 9"
        )
    return part
