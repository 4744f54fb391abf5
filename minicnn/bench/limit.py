"""The machine's limit: the micro-kernel on data that lies in a core's L1, all threads at once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from minicnn.backends.numba_cpu._microkernel import MR, NR, multiply
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu._pool import get_num_threads

DEPTH = 128  # products of a sum: A, B and C of a tile take 12 + 16 + 1.5 KiB with AVX-512, less elsewhere
REPEATS = 2000


@tasks
def _tiles(task: int, worker: int, a: Any, b: Any, c: Any, table: Any, repeats: int) -> None:
    a_at = a.ctypes.data + 4 * task * a.shape[1]
    b_at = b.ctypes.data + 4 * task * b.shape[1]
    c_at = c.ctypes.data + 4 * task * c.shape[1]
    rows, columns = table.ctypes.data, table.ctypes.data + 8 * MR
    for _ in range(repeats):
        multiply(a_at, rows, MR, 1, 0, DEPTH, 1, b_at, 0, NR, c_at, 0, c_at, columns, NR, np.float32(-np.inf))


def flops_a_second(turns: int = 3) -> float:
    """The best of a few turns, in floating-point operations a second."""
    threads = get_num_threads()
    a, b = np.ones((threads, MR * DEPTH), np.float32), np.zeros((threads, DEPTH * NR), np.float32)
    c = np.zeros((threads, MR * NR), np.float32)
    table = np.stack([np.arange(MR) * DEPTH, np.arange(MR) * NR]).astype(np.int64)
    work = threads * REPEATS * 2 * MR * NR * DEPTH
    best = 0.0
    for _ in range(turns + 1):  # the first compiles
        began = time.perf_counter()
        _tiles(threads, work, a, b, c, table, REPEATS)
        best = max(best, work / (time.perf_counter() - began))
    return best
