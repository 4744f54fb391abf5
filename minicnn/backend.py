"""Keras's `backend`, as older programs import it: `from minicnn import backend as K`. Called, it names the backend in use.

>>> from minicnn import backend as K
>>> K.image_data_format()
'channels_last'
>>> K() in ("numba", "reference", "loops", "cupy")
True

What computes is in `minicnn.backends`, whose `ops` the layers call.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.backends import backend
from minicnn.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from minicnn.utils import clear_session, is_keras_tensor

__all__ = [
    "backend",
    "cast_to_floatx",
    "clear_session",
    "count_params",
    "epsilon",
    "floatx",
    "get_value",
    "image_data_format",
    "int_shape",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "ndim",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
    "standardize_dtype",
]


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The shape of an array, a variable or a symbolic tensor; None for the batch axis of the last."""
    return tuple(x.shape)


def ndim(x: Any) -> int:
    """How many axes it has."""
    return len(x.shape)


def count_params(x: Any) -> int:
    """How many numbers a variable or an array holds."""
    return int(np.prod(x.shape))


def get_value(x: Any) -> Any:
    """A variable's, or an array's, value as a NumPy array; a number as it is."""
    return x.numpy() if hasattr(x, "numpy") else np.asarray(backends.to_numpy(x)) if hasattr(x, "shape") else x


def set_value(x: Any, value: Any) -> None:
    """Give a variable another value."""
    x.assign(value)


def cast_to_floatx(x: Any) -> np.ndarray:
    """Numbers as an array of the type `floatx()`."""
    return np.asarray(x, dtype=config.floatx())


def standardize_dtype(dtype: Any) -> str:
    """A type by its name; None for `floatx()`."""
    return config.floatx() if dtype is None else np.dtype(getattr(dtype, "as_numpy_dtype", dtype)).name


def is_float_dtype(dtype: Any) -> bool:
    """Whether it is a type of floating-point numbers."""
    return np.dtype(standardize_dtype(dtype)).kind == "f"


def is_int_dtype(dtype: Any) -> bool:
    """Whether it is a type of whole numbers."""
    return np.dtype(standardize_dtype(dtype)).kind in "iu"


class _Backend(types.ModuleType):
    """This module, which can be called, too: `minicnn.backend()`."""

    def __call__(self) -> str:
        """The name of the backend in use: "numba", "reference", "loops" or "cupy"."""
        return backend()


sys.modules[__name__].__class__ = _Backend
