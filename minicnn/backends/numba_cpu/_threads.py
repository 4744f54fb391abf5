"""How many threads there may be: the cores of this process, or what the environment says."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_from_environment() -> int:
    """The number of threads to begin with: NUMBA_NUM_THREADS or OMP_NUM_THREADS, else the cores that this process may use."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP allows a list, one number a nesting level
        if first.isdigit() and int(first) > 0:
            return int(first)
    return cores()
