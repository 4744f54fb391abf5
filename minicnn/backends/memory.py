"""Step memory: after the first batch, `empty` allocates nothing.

A training step asks for the same arrays in the same order every time. Inside
`with arena:`, `empty` hands out blocks that the arena keeps, and takes a block again as
soon as nobody looks at it any more. "Nobody looks" is CPython's own reference count: an
array handed out is a view whose `base` is the block, so a block without views has just the
references of the arena. Nothing needs to be released by hand, and an array that someone
keeps (a callback, a user) is never written over.
"""

from __future__ import annotations

import sys
import threading
from math import prod
from typing import Any

import numpy as np

__all__ = ["Arena", "empty", "zeros"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_current = threading.local()


class Arena:
    """Blocks of memory by size. Use as a context manager around a step.

    Attributes:
        nbytes: bytes held in all blocks.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, list[tuple[np.ndarray, int]]] = {}  # nbytes -> (block, offset to alignment)
        # (shape, dtype) -> that dtype, its nbytes and the blocks of that size: reckoned once, not at each step
        self._known: dict[tuple[tuple[int, ...], Any], tuple[np.dtype, int, list[tuple[np.ndarray, int]]]] = {}
        self.nbytes = 0

    def __enter__(self) -> Arena:
        self._outer = getattr(_current, "arena", None)
        _current.arena = self
        return self

    def __exit__(self, *exc: object) -> None:
        _current.arena = self._outer

    def view(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array over a free block of exactly its size; a new block only if all of that size are in use."""
        known = self._known.get((shape, dtype))
        if known is None:
            exact = np.dtype(dtype)
            nbytes = exact.itemsize * prod(shape)
            known = self._known[shape, dtype] = exact, nbytes, self._blocks.setdefault(nbytes, [])
        exact, nbytes, blocks = known
        for block, offset in blocks:
            if sys.getrefcount(block) == _FREE:
                return np.ndarray(shape, exact, block, offset)
        if nbytes == 0:
            return np.empty(shape, exact)
        block = np.empty(nbytes + ALIGNMENT, np.uint8)  # owns its memory: the base of every view of it
        offset = -block.ctypes.data % ALIGNMENT
        blocks.append((block, offset))
        self.nbytes += nbytes
        return np.ndarray(shape, exact, block, offset)


def _references_of_a_free_block() -> int:
    blocks = [(np.empty(1, np.uint8), 0)]
    for block, _ in blocks:
        count = sys.getrefcount(block)
    return count


_FREE = _references_of_a_free_block()


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An uninitialised C-contiguous array: from the arena of this step, or a new one outside of any."""
    arena = getattr(_current, "arena", None)
    if arena is None:
        return np.empty(shape, dtype)
    return arena.view(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """As `empty`, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
