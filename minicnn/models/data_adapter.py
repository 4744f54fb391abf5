"""Data adapters: where batches come from. Arrays, any iterable or generator of batches, indexable sequences.

Every adapter yields `(x, y, sample_weight)`, three lists with one array per model input or
output (y and sample_weight may be None), in the model's order.
"""

from __future__ import annotations

import contextvars
import itertools
import warnings
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from minicnn import backends, config
from minicnn.backends import memory
from minicnn.models.data_checks import Batch, as_batch, unpack

__all__ = ["ArrayBatches", "CountedIterator", "IterableBatches", "SequenceBatches", "make_batches", "set_state_of", "state_of"]


class _Source:
    """What `fit`, `evaluate` and `predict` read batches from, and close when they are done with it.

    A pass is once through the data. An epoch is one pass; with `limit` it is so many batches, and the next epoch goes
    on in the same pass, until that is over: then a new one begins with the next epoch, as in Keras.

    A subclass defines `_pass`: the batches of the pass number `passes`, without the first `position`.

    Attributes:
        passes: the number of the running pass, which is how many passes were finished.
        position: how many batches of that pass were taken; the one that is being trained counts. 0 between two passes.
        length: batches of a pass; None where nobody knows.
        limit: batches of an epoch (`steps_per_epoch`); None for a pass.
        batch_size: samples a batch; None where others make the batches.
        seed: of the orders of the samples, where this shuffles them.

    What `get_state` returns, and the number of the batch in its epoch, are all that is needed to go on elsewhere: see
    `set_state` and `epoch`.
    """

    def __init__(self, length: int | None, limit: int | None, batch_size: int | None = None) -> None:
        self.passes = self.position = 0
        self.length, self.limit, self.batch_size = length, limit, batch_size
        self.in_training = False
        self.seed: int | None = None
        self._batches: Generator[Batch, None, None] | None = None  # of the running pass

    @property
    def steps(self) -> int | None:
        """Batches of an epoch, so far as that is known."""
        return self.limit or self.length

    def resume(self, passes: int, position: int = 0) -> None:
        """In training: go on with the pass number `passes` of the model's training, after `position` of its batches."""
        self.close()
        self.passes, self.position, self.in_training = passes, position, True

    def get_state(self) -> dict[str, Any]:
        """The place in the data, as plain data."""
        return {"passes": self.passes, "position": self.position, "seed": self.seed}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where another source of the same data stood."""
        self.resume(state["passes"], state["position"])
        self.seed = state["seed"]

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from where the last one stopped; without the first `done`, if that is resumed.

        Warns where the data end before the epoch does.
        """
        wanted = None if self.limit is None else self.limit - done
        before = self.position
        yield from self._next(wanted)
        if wanted and self.position == before > 0 and not done:
            # Data of unknown length ended exactly with the last epoch.
            self._end_pass()
            before = 0
            yield from self._next(wanted)
        missing = wanted is not None and self.position - before < wanted
        if wanted is None or missing or self.position == self.length:
            self._end_pass()
        if missing:
            warnings.warn(
                "Your input ran out of data; interrupting training. Make sure that your dataset or generator can "
                "generate at least "
                "`steps_per_epoch * epochs` batches. You may need to use the `.repeat()` function when building your dataset.",
                stacklevel=2,
            )

    def _next(self, count: int | None) -> Iterator[Batch]:
        """The next `count` batches of the running pass, or the rest of it. Keeps none: the next may take its memory."""
        if self._batches is None:
            self._batches = self._pass()
        return map(self._taken, itertools.islice(self._batches, count))

    def _taken(self, batch: Batch) -> Batch:
        self.position += 1
        return batch

    def _end_pass(self) -> None:
        self.close()
        self.passes, self.position = self.passes + 1, 0

    def _pass(self) -> Generator[Batch, None, None]:
        raise NotImplementedError

    def close(self) -> None:
        """End the running pass, and with it a `Dataset`'s background thread."""
        if self._batches is not None:
            self._batches.close()
        self._batches = None


class ArrayBatches(_Source):
    """Slices of arrays held in memory, reshuffled in every pass by (seed, number of the pass).

    Args:
        arrays: x, y, sample_weight: lists of arrays, one an input or output, or None.
        batch_size: samples a batch; the last may be smaller.
        shuffle: False, True, or "batch" (keeps neighbours together: shuffles whole batches; a smaller one stays last).
        seed: of the order; the same seed and pass give the same order.
        limit: batches an epoch.
    """

    def __init__(
        self, arrays: Batch, batch_size: int, shuffle: bool | str = False, seed: int = 0, limit: int | None = None
    ) -> None:
        self.x, self.y, self.weights = arrays
        self.size = len(self.x[0])
        self.batch_size: int
        super().__init__(-(-self.size // batch_size), limit, batch_size)
        self.shuffle, self.seed = shuffle, seed

    def order(self, number: int) -> np.ndarray | None:
        """The permutation of the pass of this number, or None for the order of the arrays."""
        if not self.shuffle:
            return None
        generator = np.random.Generator(np.random.Philox(key=np.array([self.seed, number], np.uint64)))
        if self.shuffle == "batch":
            order = np.arange(self.size)
            whole = order[: self.size // self.batch_size * self.batch_size].reshape(-1, self.batch_size)  # a view
            whole[:] = generator.permutation(whole)
            return order
        return generator.permutation(self.size)

    def _pass(self) -> Generator[Batch, None, None]:
        groups = (self.x, self.y, self.weights)
        order = moved = self.order(self.passes)
        if order is not None and not all(isinstance(array, np.ndarray) for arrays in groups for array in arrays or ()):
            moved = backends.asarray(order)  # to the device once, and not batch by batch
        for start in range(self.position * self.batch_size, self.size, self.batch_size):
            batch = slice(start, min(start + self.batch_size, self.size))
            yield tuple(
                None if arrays is None else [_cut(a, batch, order if isinstance(a, np.ndarray) else moved) for a in arrays]
                for arrays in groups
            )  # type: ignore[misc]


def _cut(array: Any, batch: slice, order: Any) -> Any:
    """A batch of an array, in `order`; None stands for the array's own."""
    if order is None:
        return array[batch]
    rows = order[batch]
    if not isinstance(array, np.ndarray):
        return array[rows]
    out = memory.empty((len(rows), *array.shape[1:]), array.dtype)
    # mode="clip": with "raise", NumPy would fill a copy first. The rows are a permutation of what is there.
    return np.take(array, rows, axis=0, out=out, mode="clip")


class IterableBatches(_Source):
    """Batches that somebody else makes: generators, `Dataset`s, `tf.data` and PyTorch loaders.

    A generator cannot be started again: all that it yields is one pass.
    """

    def __init__(self, source: Any, split: Callable[[Any], Batch], limit: int | None) -> None:
        self.source, self.split = source, split
        self.once = iter(source) is source
        self.first = 0  # the pass that training began with
        self._began: dict[str, Any] = {}  # the random generators when the pass began, and the sum of its first batch
        super().__init__(None if self.once else _length(source), limit)

    def resume(self, passes: int, position: int = 0) -> None:
        super().resume(passes, position)
        self.first = passes

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "first": self.first, "began": self._began if self.position else {}}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.first, self._began = state["first"], state["began"]
        if self.once and self.passes > self.first:  # the one pass of a generator was over
            self.source = iter(())

    def _pass(self) -> Generator[Batch, None, None]:
        if self.position:
            config.set_random_state(self._began["random"])
        elif self.in_training:
            self._began = {"random": config.random_state()}
        # The data are read within the pass that they belong to, which decides how a `Dataset` shuffles them.
        within = contextvars.copy_context()
        within.run(config.running_pass.set, [self.passes] if self.in_training else None)
        batches = within.run(iter, self.source)
        try:
            for index in range(self.position):  # trained with in the run that is resumed
                self._pass_over(index, within.run(next, batches, _END))
            while (item := within.run(next, batches, _END)) is not _END:
                batch = self.split(item)
                if self.in_training and "sum" not in self._began:
                    self._began["sum"] = _sum_of(batch)
                yield batch
                del item, batch
            if self.limit is None:
                self.length = self.position  # known now, if it was not before
        finally:
            close = getattr(batches, "close", None)
            if close is not None and not self.once:  # a user's own iterator stays open
                close()

    def _pass_over(self, index: int, item: Any) -> None:
        name = type(self.source).__name__
        if item is _END:
            raise ValueError(f"the {name} ends after {index} batches; training had taken {self.position} of them.")
        if index == 0 and _sum_of(self.split(item)) != self._began["sum"]:
            warnings.warn(
                f"The {name} begins with another batch than in the run that is resumed, so training will not end as that "
                "one would have. Make it draw its random numbers from a seed.",
                stacklevel=2,
            )


_END = object()


def _sum_of(batch: Batch) -> int:
    """A checksum of a batch."""
    total = 0
    for array in itertools.chain(*(arrays or () for arrays in batch)):
        total = zlib.crc32(np.asarray(backends.to_numpy(array)).tobytes(), total)
    return total


class CountedIterator:
    """An iterator that counts what was taken from it, so that another of the same kind can be put where it stood."""

    def __init__(self, iterator: Any) -> None:
        self.iterator, self.taken = iterator, 0

    def __iter__(self) -> CountedIterator:
        return self

    def __next__(self) -> Any:
        item = next(self.iterator)
        self.taken += 1
        return item

    def get_state(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def set_state(self, state: dict[str, Any]) -> None:
        for _ in range(self.taken, state["taken"]):
            next(self)


def state_of(data: Any) -> dict[str, Any] | None:
    """What data that remember something from one batch to the next, and can say it, have to say."""
    return data.get_state() if hasattr(data, "get_state") and hasattr(data, "set_state") else None


def set_state_of(data: Any, state: dict[str, Any] | None) -> None:
    """Give data what `state_of` returned."""
    if state is not None:
        data.set_state(state)


def _length(source: Any) -> int | None:
    """`len(source)`, or None: a `tf.data` or generator-backed `Dataset` of unknown length raises."""
    try:
        return len(source)
    except TypeError:
        return None


class SequenceBatches(_Source):
    """An object with `__len__` and `__getitem__` that yields batches (Keras's `PyDataset`, `Sequence`, image generators).

    Its `on_epoch_begin` and `on_epoch_end` are called with every epoch. If it remembers something from one batch to the
    next, a training that was killed needs its `get_state()`, which returns plain data and arrays, and `set_state(state)`.
    """

    def __init__(self, source: Any, split: Callable[[Any], Batch], shuffle: bool, seed: int, limit: int | None) -> None:
        length = _length(source)
        if length is None and limit is None:
            raise ValueError(
                f"{type(source).__name__} has no last batch: `steps_per_epoch`, or `steps`, says how many an epoch has."
            )
        super().__init__(length, limit, getattr(source, "batch_size", None))
        self.source, self.split, self.shuffle, self.seed = source, split, shuffle, seed

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "data": state_of(self.source)}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        set_state_of(self.source, state["data"])
        if state["data"] is None and self.passes and _has_own_epoch_end(type(self.source)):
            warnings.warn(
                f"{type(self.source).__name__} has an `on_epoch_end`, and no `get_state` and `set_state`: what it changed "
                "in the run that is resumed is lost.",
                stacklevel=2,
            )

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        if hasattr(self.source, "on_epoch_begin") and not done:
            self.source.on_epoch_begin()
        yield from super().epoch(done)
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _pass(self) -> Generator[Batch, None, None]:
        self.length = length = _length(self.source)
        if length is None:
            for index in itertools.count(self.position):
                yield self.split(self.source[index])
            return
        order = np.arange(length)
        if self.shuffle:
            np.random.Generator(np.random.Philox(key=np.array([self.seed, self.passes], np.uint64))).shuffle(order)
        for index in order[self.position :]:
            yield self.split(self.source[int(index)])


def _has_own_epoch_end(kind: type) -> bool:
    """Whether somebody wrote an `on_epoch_end` for these data: that of Keras's base class does nothing."""
    writer = next((base for base in kind.__mro__ if "on_epoch_end" in vars(base)), None)
    return writer is not None and writer.__module__.split(".")[0] not in ("keras", "minicnn", "tensorflow", "tf_keras")


def make_batches(
    data: tuple[Any, Any, Any],
    names: tuple[list[str], list[str], list[str]],
    batch_size: int | None,
    shuffle: bool | str,
    seed: int,
    steps: int | None,
    targets: bool = True,
) -> ArrayBatches | IterableBatches | SequenceBatches:
    """The adapter that fits what the user passed.

    Args:
        data: x, y, sample_weight. names: as of `as_batch`.
        steps: batches an epoch.
        targets: whether more than x is read of what an iterable yields.

    Raises:
        ValueError: for empty data, lengths that differ, NaN pixels, arguments that do not go
            together with an iterable (Keras's wording).
    """
    x, y, sample_weight = data
    if steps is not None and (not isinstance(steps, (int, np.integer)) or steps <= 0):
        raise ValueError(f"`steps_per_epoch` (or `steps`) must be a positive integer. Received: {steps!r}")
    is_sequence = hasattr(x, "__getitem__") and hasattr(x, "__len__") and hasattr(x, "on_epoch_end") and not hasattr(x, "shape")
    is_arrays = hasattr(x, "shape") or isinstance(x, (list, tuple, dict)) or hasattr(x, "iloc")
    if not is_arrays and (is_sequence or hasattr(x, "__iter__")):
        for argument, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"When providing `x` as a {type(x).__name__}, `{argument}` should not be passed. "
                    f"Instead, it should be included as part of the {type(x).__name__}."
                )

        def split(item: Any) -> Batch:
            x, y, weights = unpack(item)
            return as_batch(x, y, weights, names) if targets else as_batch(x, None, None, names)

        if is_sequence:
            return SequenceBatches(x, split, bool(shuffle), seed, steps)
        return IterableBatches(x, split, steps)
    if not is_arrays:
        raise ValueError(f"Unrecognized data type: x={x!r} (of type {type(x)})")
    if batch_size is not None and (
        isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1
    ):
        raise ValueError(f"`batch_size` must be a positive integer. Received: batch_size={batch_size!r}")
    arrays = as_batch(x, y, sample_weight, names)
    size = len(arrays[0][0])
    default = min(32, size) if steps is None else -(-size // steps)
    return ArrayBatches(arrays, int(batch_size or default), shuffle, seed, steps)
