"""What several files of ops share: an array's module, so that one line runs on a CPU and on a GPU; rows of length 1."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["array_namespace", "unit_rows"]


def array_namespace(array: Any) -> Any:
    """`numpy` for a NumPy array, `cupy` for a CuPy one.

    Nothing is imported: whoever made the array has imported its module.

        >>> import numpy
        >>> array_namespace(numpy.zeros(3)).__name__
        'numpy'
    """
    return sys.modules[type(array).__module__.partition(".")[0]]


def unit_rows(rows: Any, epsilon: float) -> tuple[Any, Any]:
    """Each row of a matrix divided by its length, and the lengths (M, 1), those below `epsilon` as `epsilon`."""
    xp = array_namespace(rows)
    length = xp.maximum(xp.sqrt((rows**2).sum(axis=1, keepdims=True)), epsilon)
    return rows / length, length
