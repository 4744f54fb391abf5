"""The contract, and the readable backend: each op's formula, shapes, cost, errors and source, above its lines of NumPy.

The public functions of `conv`, `conv_transpose`, `depthwise`, `pool`, `dense`, `norm`, `elementwise`, `image`, `loss` and
`update` are the ops.
Another backend has files of the same names, with functions of the same names and signatures, for what it does in
another way; whatever it does not define is taken from here (see `minicnn.backends.load`).

Slow where it must be to be plain (an explicit im2col, one pass over memory per operator)
and written in the part of the array API that NumPy and CuPy share, so that the GPU backend
can run the same lines. `loops` is slower and plainer still.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from minicnn.backends.memory import empty as empty

_threads = 1


def check_available() -> None:
    """NumPy is always there."""


def asarray(value: Any, dtype: Any = None) -> np.ndarray:
    """`value` as a C-contiguous array of `dtype`; no copy where it is one already."""
    return np.asarray(value, dtype=dtype, order="C")


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array; no copy where it is one."""
    return np.asarray(value)


def set_num_threads(threads: int) -> None:
    """Remember `threads`. NumPy computes on one, its BLAS on as many as OMP_NUM_THREADS said at the start.

    Raises:
        ValueError: if `threads` is no positive integer.
    """
    global _threads
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise ValueError(f"`threads` must be a positive integer. Received: threads={threads!r}")
    _threads = int(threads)


def get_num_threads() -> int:
    """What `set_num_threads` was last given; 1 before."""
    return _threads


def synchronize() -> None:
    """Nothing to wait for: a NumPy call returns when its result is there."""


def describe() -> dict[str, Any]:
    """What this backend computes with, for `minicnn doctor`."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "backend": "reference",
        "device": platform.processor() or platform.machine(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
    }
