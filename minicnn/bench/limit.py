"""The machine's limit: the micro-kernel on data that lies in a core's L1, all threads at once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from minicnn.backends.numba_cpu._microkernel import MR, NO_BOUND, NR, ZEROS, Panel, Rows, Start, Tile, address, multiply
from minicnn.backends.numba_cpu._parallel import tasks
from minicnn.backends.numba_cpu._pool import get_num_threads

DEPTH = 128  # products of a sum: A, B and C of a tile take 12 + 16 + 1.5 KiB with AVX-512, less elsewhere
REPEATS = 20_000


@tasks
def _tiles(task: int, worker: int, a: Any, b: Any, c: Any, table: Any, repeats: int) -> None:
    a_at = address(a) + 4 * task * a.shape[1]
    b_at = address(b) + 4 * task * b.shape[1]
    c_at = address(c) + 4 * task * c.shape[1]
    c_rows = Tile(c_at, address(table) + 8 * MR, MR, NR, 0)
    for _ in range(repeats):
        multiply(Rows(a_at, address(table), 0, 1), Panel(b_at, 0, NR), c_rows, Start(address(ZEROS), 0), DEPTH, DEPTH, NO_BOUND)


def flops_a_second(turns: int = 5) -> float:
    """The best of a few turns, in floating-point operations a second."""
    threads = get_num_threads()
    a, b = np.ones((threads, MR * DEPTH), np.float32), np.ones((threads, DEPTH * NR), np.float32)
    c = np.zeros((threads, MR * NR), np.float32)
    table = np.stack([np.arange(MR) * DEPTH, np.arange(MR) * NR]).astype(np.int64)
    work = threads * REPEATS * 2 * MR * NR * DEPTH
    best = 0.0
    for _ in range(turns + 1):  # the first compiles
        began = time.perf_counter()
        _tiles(threads, work, a, b, c, table, REPEATS)
        best = max(best, work / (time.perf_counter() - began))
    if not (c == DEPTH).all():
        raise RuntimeError(f"The micro-kernel made sums of {c.flat[0]} products in place of {DEPTH}: its limit is not known.")
    return best
