"""Step memory: after the first batch, `empty` allocates nothing.

A training step asks for the same arrays in the same order every time. Inside
`with arena:`, `empty` hands out blocks that the arena keeps, and takes a block again as
soon as nobody looks at it any more. "Nobody looks" is CPython's own reference count: an
array handed out is a view whose `base` is the block, so a block without views has just the
references of the arena. Nothing needs to be released by hand, and an array that someone
keeps (a callback, a user) is never written over.

Which block: the oldest free one that is large enough, and at most twice as large. So a smaller
last batch computes in the memory of the full ones. And a step that ran once finds the same blocks
when it runs again, since a block made later also comes later: it allocates nothing.

Small blocks are cut one after the other from slabs that lie in the system's large pages. A processor keeps the addresses
of a few dozen pages at hand, of which a kernel that goes through as many arrays, or rows, uses one each.

How many blocks: twice the bytes that the largest step had in use at once, if one step does not need more. Those
whose last use is longest ago go.
"""

from __future__ import annotations

import ctypes
import threading
from math import prod
from sys import getrefcount
from typing import Any

import numpy as np
from numpy import ndarray

__all__ = ["Arena", "ArenaOfThread", "empty", "zeros"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
LARGE_PAGE = 2 << 20
SLAB = 4 * LARGE_PAGE  # NumPy asks the system for large pages from 4 MiB on
_MOST_KNOWN = 4096  # (shape, dtype) that an arena remembers: more than the steps of one program ask for


class _Current(threading.local):
    """The arena of the step that this thread computes, if any."""

    arena: Arena | None = None


_current = _Current()

# Its memory, to which arrays refer, and [where the first aligned byte is, how many bytes there are from there on, the step of
# its last use, how many bytes this use takes].
_Block = tuple[Any, list[int]]


class Arena:
    """Blocks of memory for the steps of one thread. Use as a context manager around them; `with` blocks may be nested.

    A signal handler may compute in the same arena in the middle of any line. So what it may meet changes in one
    assignment, and a block is taken only if one array alone looks at it after the array was made.

    Attributes:
        nbytes: bytes held in all blocks.
    """

    def __init__(self) -> None:
        self._blocks: tuple[_Block, ...] = ()  # the oldest first
        # (shape, dtype) -> that dtype, its bytes and the blocks that will do: found once, and not at each step
        self._known: dict[tuple[tuple[int, ...], Any], tuple[np.dtype, int, list[_Block]]] = {}
        self._outer: list[Arena | None] = []  # what was in use before each `with` block that was entered
        self._rest: list[tuple[Any, int]] = []  # a slab, and where what is left of it begins
        self._step = 0
        self._largest = 0  # bytes that a step had in use at once

    @property
    def nbytes(self) -> int:
        return sum(length for _, (_, length, _, _) in self._blocks)

    def new_step(self) -> None:
        """Another step begins, within the same `with` block."""
        self._step += 1

    def __enter__(self) -> Arena:
        self.new_step()
        self._outer.append(_current.arena)
        _current.arena = self
        return self

    def __exit__(self, *exc: object) -> None:
        _current.arena = self._outer.pop()

    def view(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array over a free block; over a new one if all that will do are in use."""
        try:
            exact, size, blocks = self._known[shape, dtype]
        except KeyError:
            exact, size, blocks = self._find(shape, dtype)
        for block, use in blocks:
            if getrefcount(block) == _FREE:
                array = ndarray(shape, exact, block, use[0])
                if getrefcount(block) == _FREE + 1:  # nobody else took it in between
                    use[2], use[3] = self._step, size
                    return array
        return self._over_new_block(shape, exact, size)

    def _find(self, shape: tuple[int, ...], dtype: Any) -> tuple[np.dtype, int, list[_Block]]:
        """What `_known` holds for a shape and dtype, entered into it."""
        known = self._known if len(self._known) < _MOST_KNOWN else {}
        exact = np.dtype(dtype)
        size = exact.itemsize * prod(shape)
        found = known[shape, dtype] = exact, size, [held for held in self._blocks if size <= held[1][1] <= 2 * size]
        self._known = known
        return found

    def _over_new_block(self, shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
        if size == 0:
            return np.empty(shape, dtype)
        self._make_room(size)
        block: Any
        if 2 * size <= SLAB:
            block, offset = self._cut(size), 0
        else:
            block = np.empty(size + ALIGNMENT, np.uint8)  # owns its memory: the base of every view of it
            offset = -block.ctypes.data % ALIGNMENT
        self._blocks, self._known = (*self._blocks, (block, [offset, size, self._step, size])), {}
        return np.ndarray(shape, dtype, block, offset)

    def _cut(self, size: int) -> Any:
        """So many bytes of a slab: an object that is the base of every array over it, and keeps the slab."""
        try:
            slab, begin = self._rest.pop()  # a signal handler meanwhile finds none, and begins another slab
        except IndexError:
            begin = SLAB
        if begin + size > SLAB:
            whole = np.empty(SLAB + LARGE_PAGE, np.uint8)
            slab, begin = whole[-whole.ctypes.data % LARGE_PAGE :][:SLAB], 0
        self._rest.append((slab, begin + -(-size // ALIGNMENT) * ALIGNMENT))
        return (ctypes.c_byte * size).from_buffer(slab, begin)

    def _make_room(self, size: int) -> None:
        """Let go of blocks until one of `size` bytes fits. An array that lies in one of them keeps it alive."""
        in_use = size
        for block, (_, _, step, taken) in self._blocks:
            if step == self._step and getrefcount(block) != _FREE:
                in_use += taken
        self._largest = max(self._largest, in_use)
        excess = self.nbytes + size - 2 * self._largest
        gone = set()
        for block, (_, length, step, _) in sorted(self._blocks, key=lambda held: held[1][2]):
            if excess <= 0 or step == self._step:
                break
            gone.add(id(block))
            excess -= length
        if gone:
            self._blocks, self._known = tuple(held for held in self._blocks if id(held[0]) not in gone), {}


def _references_of_a_free_block() -> int:
    blocks = [(np.empty(1, np.uint8), [0])]
    for block, _ in blocks:
        count = getrefcount(block)
    return count


_FREE = _references_of_a_free_block()


class ArenaOfThread(threading.local):
    """An arena for each thread that asks; it goes when its thread ends.

    Attributes:
        arena: this thread's.
    """

    def __init__(self) -> None:
        self.arena = Arena()


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An uninitialised C-contiguous array: from the arena of this step, or a new one outside of any."""
    arena = _current.arena
    if arena is None:
        return np.empty(shape, dtype)
    return arena.view(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """As `empty`, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
