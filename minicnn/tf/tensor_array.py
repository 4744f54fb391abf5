"""TensorFlow's `tf.TensorArray`: tensors that a loop writes, by their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import ops

__all__ = ["TensorArray"]


class TensorArray:
    """A list of tensors of one dtype. What was not written is read as zeros, if any other was.

    Args:
        dtype: of the tensors. size: how many they are. dynamic_size: whether they may become more.
        unused: TensorFlow's further arguments, which have no effect here.
    """

    def __init__(self, dtype: Any, size: Any = 0, dynamic_size: bool = False, **unused: Any) -> None:
        self.dtype, self.dynamic_size = np.dtype(dtype), bool(dynamic_size)
        self._items: list[Any] = [None] * int(size)

    def size(self) -> int:
        """How many tensors there are."""
        return len(self._items)

    def write(self, index: Any, value: Any) -> TensorArray:
        """This array, with a tensor of this number.

        Raises:
            IndexError: for a number beyond its size, unless that is dynamic.
        """
        place = int(index)
        if place < 0 or (place >= len(self._items) and not self.dynamic_size):
            raise IndexError(f"A TensorArray of size {len(self._items)} that is not dynamic has no number {place}.")
        self._items += [None] * (place + 1 - len(self._items))
        self._items[place] = ops.cast(value, self.dtype)
        return self

    def read(self, index: Any) -> Any:
        """The tensor of this number."""
        found = self._items[int(index)]
        if found is not None:
            return found
        written = next((item for item in self._items if item is not None), None)
        if written is None:
            raise ValueError(f"Number {int(index)} of a TensorArray was read, but nothing was written to it.")
        return ops.zeros_like(written)

    def stack(self) -> Any:
        """All tensors as one, along a new first axis."""
        return self.gather(range(len(self._items)))

    def gather(self, indices: Any) -> Any:
        """The tensors of these numbers as one, along a new first axis."""
        return ops.stack([self.read(index) for index in indices])

    def concat(self) -> Any:
        """All tensors as one, along their first axis."""
        return ops.concatenate([self.read(index) for index in range(len(self._items))])

    def unstack(self, value: Any) -> TensorArray:
        """This array, with the slices of a tensor along its first axis in it."""
        for index, part in enumerate(ops.unstack(ops.convert_to_tensor(value))):
            self.write(index, part)
        return self
