"""Reading HDF5 files that nobody vouches for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

__all__ = ["array_at", "group_at", "opened"]


@contextlib.contextmanager
def opened(file: BinaryIO | str, source: str) -> Iterator[Any]:
    """The file, open for reading, for the length of the block.

    Raises:
        ValueError: if it is no HDF5 file, or turns out to be damaged within the block.
    """
    import h5py

    try:
        with h5py.File(file, "r") as hdf5:
            yield hdf5
    except (KeyError, OSError, RuntimeError) as error:  # HDF5's own errors
        raise ValueError(f"{source} is not an HDF5 file, or it is damaged: {error}") from error


def group_at(file: Any, path: str) -> Any:
    """The group at `path`, or None; reached through plain links only."""
    import h5py

    current = file
    for name in path.split("/"):
        link = current.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"Not allowed: H5 file with {type(link).__name__} at '{path}'")
        current = current[name]
        if not isinstance(current, h5py.Group):
            raise ValueError(f"Invalid H5 file, expected Group at '{path}' but received {type(current).__name__}")
    return current


def array_at(group: Any, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A dataset as an array; its shape is compared before a byte is read."""
    import h5py

    where = f"'{group.name}/{key}'"
    link = group.get(key, getlink=True)
    if link is None:
        raise ValueError(f"Invalid H5 file, nothing at {where}")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"Not allowed: H5 file with {type(link).__name__} at {where}")
    dataset = group[key]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"Invalid H5 file, expected Dataset at {where}, received {type(dataset).__name__}")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"Not allowed: H5 file with data outside of itself at {where}")
    if dataset.shape != shape:
        raise ValueError(f"Shape mismatch at {where}: expected {shape}, received {dataset.shape}")
    if dataset.dtype.kind not in "fiub":
        raise ValueError(f"Expected numbers at {where}, received dtype {dataset.dtype}")
    return np.array(dataset)
