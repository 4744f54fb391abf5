"""Reading `.npz` files of numbers: zip archives of arrays, each behind a header with its dtype and shape."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minicnn.untrusted import open_zip

_MOST_MEMBERS = 64


def read_npz(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays `names` of an `.npz` file; no memory is taken that the file does not fill.

    Raises:
        ValueError: if one is missing, is no array of finite numbers, or has not the size that its header claims.
    """
    with open_zip(path, _MOST_MEMBERS) as archive:
        return [_read_npy(archive, f"{name}.npy") for name in names]


def npz_names(path: Path) -> list[str]:
    """The names of the arrays in an `.npz` file."""
    with open_zip(path, _MOST_MEMBERS) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _read_npy(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    if name not in archive.namelist():
        raise ValueError(f"it lacks {name}")
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(file)
        if dtype.kind not in "biuf":
            raise ValueError(f"Object arrays cannot be loaded, nor text: {name} has dtype {dtype}")
        size = math.prod(shape) * dtype.itemsize
        data = file.read(size + 1) if size < archive.getinfo(name).file_size else b""
        if len(data) != size:
            raise ValueError(f"{name} has not the bytes of an array of shape {shape} and dtype {dtype}")
    value = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return value.copy()
