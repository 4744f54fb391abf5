"""The CPU backend: hand-written loops, compiled by Numba, around one SIMD micro-kernel.

Start reading at `conv` (the loops) and `_microkernel` (the product that they permute).
`_parallel` spreads tasks over threads, `_compile` says how kernels are compiled and cached.

Files and signatures are the reference backend's, whose docstrings say what each op computes; those here
say only how it differs. float32 is what these kernels compute in: arrays of float64, which exist for gradient
checks, are handed to the reference's function of the same name, op by op. Results do not depend on
the number of threads, bit by bit.
"""

from __future__ import annotations

from typing import Any

import llvmlite
import numba
import numpy as np

from minicnn.backends.memory import empty as empty
from minicnn.backends.numba_cpu._amx import available
from minicnn.backends.numba_cpu._compile import FMA, VL
from minicnn.backends.numba_cpu._microkernel import MR, NR
from minicnn.backends.numba_cpu._pool import LOOKING, get_num_threads
from minicnn.backends.numba_cpu._pool import set_num_threads as set_num_threads


def check_available() -> None:
    """Numba was imported, and it has a pool of threads: nothing is missing."""


def asarray(value: Any, dtype: Any = None) -> np.ndarray:
    """`value` as a C-contiguous array of `dtype`; no copy where it is one already."""
    return np.asarray(value, dtype=dtype, order="C")


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array; no copy where it is one."""
    return np.asarray(value)


def synchronize() -> None:
    """Nothing to wait for: an op returns when its result is there."""


def describe() -> dict[str, Any]:
    """What this backend computes with, for `minicnn doctor`."""
    return {
        "backend": "numba",
        "device": numba.config.CPU_NAME,
        "threads": get_num_threads(),
        "threading_layer": f"own pool: looks for {LOOKING * 1e6:.0f} us, then sleeps",
        "vector_floats": VL,
        "fused_multiply_add": FMA,
        "tile": f"{MR} x {NR}",
        "bfloat16_tiles": available(),
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
    }
