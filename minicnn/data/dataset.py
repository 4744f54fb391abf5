"""`Dataset`: pipelines of elements, under the names and meanings of `tf.data.Dataset`, in NumPy.

A `Dataset` is a recipe: each method returns a new one, nothing is computed before it is
iterated, and every iteration starts anew. Elements are NumPy arrays, or tuples and dicts
of them; a tuple is spread over the arguments of the functions given to `map` and `filter`.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import contextvars
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from minicnn import config
from minicnn.data.prefetch import END, closing_iterator, prefetched
from minicnn.data.structure import TensorSpec, as_element, flatten, map_structure, slices, spec_of, stack
from minicnn.tensor import Tensor, Text

AUTOTUNE = -1
INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2

_AUTOTUNED_BUFFER = 2
_DRAWS_AT_ONCE = 1024

_Result = TypeVar("_Result")


class DatasetError(RuntimeError):
    """A function in a pipeline failed; the message names the element, `__cause__` is the original exception."""


class Dataset:
    """A sequence of elements, as a recipe. Made by `from_tensor_slices`, `from_generator`, `range`, `zip`.

    Examples:
        >>> data = Dataset.from_tensor_slices(([1, 2, 3], ["a", "b", "c"])).map(lambda x, y: (x * 10, y)).batch(2)
        >>> for x, y in data:
        ...     print(x, y)
        [10 20] ['a' 'b']
        [30] ['c']
        >>> len(data)
        2
    """

    def __init__(
        self,
        iterate: Callable[[], Iterator[Any]],
        cardinality: int,
        first: Callable[[], Any],
        spec: Callable[[], Any] | None = None,
        source: tuple[Any, Callable[[], Iterable[int]]] | None = None,
    ) -> None:
        """Internal: use the class methods.

        Args:
            iterate: starts one pass over the elements.
            cardinality: their number, or one of the two constants.
            first: an element like all others, for `element_spec`; must not count as a pass.
            spec: the elements' `TensorSpec`s, where `first` does not say it all.
            source: where the elements are slices of arrays: these, and what starts one pass over their indices. So
                long as that holds, a pipeline moves indices instead of images, and a batch is cut out at once.
        """
        self._iterate = iterate
        self._cardinality = cardinality
        self._first = first
        self._spec = spec or (lambda: spec_of(first()))
        self._source = source

    @staticmethod
    def _sliced(arrays: Any, indices: Callable[[], Iterable[int]], cardinality: int) -> Dataset:
        """The slices of `arrays` at the indices of a pass."""

        def iterate() -> Iterator[Any]:
            with closing_iterator(indices()) as places:
                for index in places:
                    yield slices(arrays, index)

        def spec() -> Any:
            return map_structure(lambda leaf: TensorSpec(leaf.shape[1:], leaf.dtype), arrays)

        def first() -> Any:
            some = map_structure(lambda leaf: leaf if len(leaf) else np.zeros((1, *leaf.shape[1:]), leaf.dtype), arrays)
            return slices(some, 0)

        return Dataset(iterate, cardinality, first, spec, (arrays, indices))

    def _rearranged(self, rearrange: Callable[[Iterator[Any]], Iterator[Any]], cardinality: int | None = None) -> Dataset:
        """This data set's elements in the order, number and selection that `rearrange` makes of a pass over them."""
        return self._composed(lambda passes: _closing(rearrange, passes()), cardinality)

    def _composed(
        self, compose: Callable[[Callable[[], Iterable[Any]]], Iterator[Any]], cardinality: int | None = None
    ) -> Dataset:
        """As `_rearranged`, for what starts any number of passes itself."""
        number = self._cardinality if cardinality is None else cardinality
        if self._source is not None:
            arrays, indices = self._source
            return Dataset._sliced(arrays, lambda: compose(indices), number)
        return Dataset(lambda: compose(self._iterate), number, self._first, self._spec)

    # ---- sources

    @staticmethod
    def from_tensors(tensors: Any) -> Dataset:
        """One element: `tensors` itself."""
        element = as_element(tensors)
        return Dataset(lambda: iter((map_structure(np.copy, element),)), 1, lambda: element)

    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """The slices of arrays along their first axis.

        Args:
            tensors: an array, or a tuple or dict of arrays (nested at will) of equal length.

        Raises:
            ValueError: if their lengths differ, or one has no first axis.
        """
        arrays = as_element(tensors)
        leaves = flatten(arrays)
        if not leaves or any(not np.ndim(leaf) for leaf in leaves):
            raise ValueError("`from_tensor_slices` needs arrays of at least one dimension, to slice along the first.")
        lengths = [len(leaf) for leaf in leaves]
        if len(set(lengths)) != 1:
            raise ValueError(f"`from_tensor_slices` needs arrays of equal length. Received arrays of lengths {lengths}.")

        return Dataset._sliced(arrays, lambda: builtins.range(lengths[0]), lengths[0])

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any = None,
        output_shapes: Any = None,
        args: tuple[Any, ...] = (),
        output_signature: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """What a generator yields.

        Args:
            generator: a function that returns an iterable; called anew for every pass.
            output_types: the types that elements are converted to, in a structure like theirs.
            output_shapes: their shapes, None for dimensions that vary.
            args: arguments of `generator`.
            output_signature: types and shapes together, as `TensorSpec`s; not with the two before.

        Raises:
            TypeError: if `generator` is not callable.
            DatasetError: while iterating, naming the element at which the generator failed or that has another shape.
        """
        if not callable(generator):
            raise TypeError(f"`generator` must be a Python callable. Received: {generator!r}")
        if output_signature is not None and (output_types is not None or output_shapes is not None):
            raise TypeError("`output_types` and `output_shapes` cannot be given together with `output_signature`.")
        signature = None
        if output_signature is not None:
            signature = map_structure(_of_known_rank, output_signature)

        def convert(value: Any) -> Any:
            if signature is not None:
                return map_structure(_conform, signature, value)
            if output_types is not None:
                return map_structure(lambda dtype, leaf: _conform(TensorSpec((), dtype), leaf, rank=False), output_types, value)
            return as_element(value)

        def iterate() -> Iterator[Any]:
            with closing_iterator(generator(*args)) as values:
                for index in itertools.count():
                    try:
                        element = convert(next(values))
                    except StopIteration:
                        return
                    except Exception as error:
                        raise _failure("from_generator", generator, index, error) from error
                    yield element

        def first() -> Any:
            with closing_iterator(iterate()) as elements:
                return next(elements)

        return Dataset(iterate, UNKNOWN_CARDINALITY, first, (lambda: signature) if signature is not None else None)

    @staticmethod
    def range(*args: int, output_type: Any = np.int64) -> Dataset:
        """The integers of Python's `range(*args)`."""
        numbers = builtins.range(*args)
        dtype = np.dtype(getattr(output_type, "as_numpy_dtype", output_type))
        return Dataset(lambda: (dtype.type(number) for number in numbers), len(numbers), lambda: dtype.type(0))

    @staticmethod
    def list_files(file_pattern: Any, shuffle: bool | None = None, seed: int | None = None, name: str | None = None) -> Dataset:
        """The paths of the files that a pattern fits, as strings.

        Args:
            file_pattern: with `*`, `?` and `[...]`; or a list of patterns.
            shuffle: in random order, another one in each pass; by default they are. Else in that of their names.
            seed: of that order.

        Raises:
            ValueError: if there are none.
        """
        patterns = [file_pattern] if isinstance(file_pattern, (str, os.PathLike)) else list(file_pattern)
        paths = sorted({path for pattern in patterns for path in glob.glob(os.fspath(pattern)) if os.path.isfile(path)})
        if not paths:
            raise ValueError(f"No files matched pattern: {', '.join(map(str, patterns))}")
        files = Dataset.from_tensor_slices(np.array(paths))
        return files.shuffle(len(paths), seed=seed) if shuffle in (None, True) else files

    @staticmethod
    def zip(*args: Any, datasets: Any = None) -> Dataset:
        """Elements of several data sets side by side, until the shortest ends.

        Args:
            args: data sets, or one tuple or dict of data sets (nested at will).
        """
        structure = datasets if datasets is not None else args[0] if len(args) == 1 else tuple(args)
        parts = flatten(structure)
        if not parts or not all(isinstance(part, Dataset) for part in parts):
            raise TypeError(f"`zip` needs data sets, or a tuple or dict of them. Received: {structure!r}")

        def gather(values: Iterable[Any]) -> Any:
            remaining = iter(values)
            return map_structure(lambda _: next(remaining), structure)

        def iterate() -> Iterator[Any]:
            with contextlib.ExitStack() as closing:
                iterators = [closing.enter_context(closing_iterator(part._iterate())) for part in parts]
                for values in builtins.zip(*iterators):
                    yield gather(values)

        numbers = [part._cardinality for part in parts]
        finite = [number for number in numbers if number != INFINITE_CARDINALITY]
        cardinality = UNKNOWN_CARDINALITY if UNKNOWN_CARDINALITY in numbers else min(finite) if finite else INFINITE_CARDINALITY
        return Dataset(
            iterate,
            cardinality,
            lambda: gather(part._first() for part in parts),
            lambda: gather(part.element_spec for part in parts),
        )

    # ---- element by element

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """`map_func` of every element.

        Args:
            map_func: takes an element (a tuple's parts as separate arguments), returns one; a list counts as a tuple.
            num_parallel_calls: how many threads call it; the order stays. None and `AUTOTUNE` call it in the
                thread that iterates, so that random numbers it draws come in one order; more threads pay where it
                waits or computes outside of Python (reading and decoding pictures).
            deterministic: accepted; the order never changes.

        Raises:
            DatasetError: while iterating, naming the element that `map_func` failed on.
        """
        threads = 1 if num_parallel_calls is None or num_parallel_calls == AUTOTUNE else num_parallel_calls
        if threads < 1:
            raise ValueError(f"`num_parallel_calls` must be positive or AUTOTUNE. Received: {num_parallel_calls}")

        def call(index: int, element: Any) -> Any:
            try:
                result = _apply(map_func, element)
                return as_element(tuple(result) if isinstance(result, list) else result)
            except Exception as error:
                raise _failure("map", map_func, index, error) from error

        def serial() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements:
                for index, element in builtins.enumerate(elements):
                    yield call(index, element)

        def parallel() -> Iterator[Any]:
            pending: collections.deque[Any] = collections.deque()
            pool = ThreadPoolExecutor(threads, thread_name_prefix="minicnn-map")
            try:
                with closing_iterator(self._iterate()) as elements:
                    for index, element in builtins.enumerate(elements):
                        pending.append(pool.submit(call, index, element))
                        if len(pending) > threads:
                            yield pending.popleft().result()
                    while pending:
                        yield pending.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

        def first() -> Any:
            return call(0, self._first())

        def spec() -> Any:
            """That of the first result; its first dimension varies where all those of the argument do."""
            specs = spec_of(first())
            if all(leaf.shape[:1] == (None,) for leaf in flatten(self.element_spec)):
                return map_structure(lambda leaf: TensorSpec((None, *leaf.shape[1:]) if leaf.shape else (), leaf.dtype), specs)
            return specs

        return Dataset(serial if threads == 1 else parallel, self._cardinality, first, spec)

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements for which `predicate` is true; it takes them as `map_func` does.

        Raises:
            DatasetError: while iterating, naming the element that `predicate` failed on.
        """

        def iterate() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements:
                for index, element in builtins.enumerate(elements):
                    try:
                        wanted = bool(_apply(predicate, element))
                    except Exception as error:
                        raise _failure("filter", predicate, index, error) from error
                    if wanted:
                        yield element

        return Dataset(iterate, UNKNOWN_CARDINALITY, self._first, self._spec)

    def flat_map(self, map_func: Callable[..., Dataset], name: str | None = None) -> Dataset:
        """The elements of the data sets that `map_func` makes of the elements, one after the other."""

        def iterate() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements:
                for element in elements:
                    with closing_iterator(_apply(map_func, element)._iterate()) as inner:
                        yield from inner

        return Dataset(
            iterate,
            UNKNOWN_CARDINALITY,
            lambda: _apply(map_func, self._first())._first(),
            lambda: _apply(map_func, self._first()).element_spec,
        )

    def interleave(
        self,
        map_func: Callable[..., Dataset],
        cycle_length: int | None = None,
        block_length: int = 1,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """The elements of the data sets that `map_func` makes of the elements, in turns.

        Args:
            cycle_length: how many of them are open at once; None and `AUTOTUNE` stand for 1. When one ends, the next
                takes its place.
            block_length: how many elements of one come before the next one's turn.
            num_parallel_calls, deterministic: accepted; the order is always the same.

        Raises:
            ValueError: for a length below 1.
        """
        cycle = 1 if cycle_length in (None, AUTOTUNE) else cycle_length
        if cycle is None or cycle < 1 or block_length < 1:
            raise ValueError(
                "`cycle_length` and `block_length` must be greater than zero. "
                f"Received: cycle_length={cycle_length}, block_length={block_length}"
            )

        def iterate() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements, contextlib.ExitStack() as closing:

                def opened() -> Iterator[Any] | None:
                    element = next(elements, END)
                    if element is END:
                        return None
                    return closing.enter_context(closing_iterator(_apply(map_func, element)._iterate()))

                places = [opened() for _ in builtins.range(cycle)]
                while any(place is not None for place in places):
                    for index, place in builtins.enumerate(places):
                        block = list(itertools.islice(place, block_length)) if place is not None else []
                        yield from block
                        if len(block) < block_length:
                            places[index] = opened()

        return Dataset(
            iterate,
            UNKNOWN_CARDINALITY,
            lambda: _apply(map_func, self._first())._first(),
            lambda: _apply(map_func, self._first()).element_spec,
        )

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """Pairs of a number, counted from `start`, and the element."""

        def iterate() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements:
                for index, element in builtins.enumerate(elements, start):
                    yield np.int64(index), element

        return Dataset(
            iterate,
            self._cardinality,
            lambda: (np.int64(start), self._first()),
            lambda: (TensorSpec((), np.int64), self.element_spec),
        )

    # ---- which, how often, in which order

    def take(self, count: int, name: str | None = None) -> Dataset:
        """The first `count` elements; all of them for -1."""
        if count < 0:
            return self
        # unknown stays unknown, it is negative
        known = count if count == 0 or self._cardinality == INFINITE_CARDINALITY else min(count, self._cardinality)
        return self._rearranged(lambda elements: itertools.islice(elements, count), known)

    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements before the first for which `predicate` is false."""

        def iterate() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements:
                yield from itertools.takewhile(lambda element: bool(_apply(predicate, element)), elements)

        return Dataset(iterate, UNKNOWN_CARDINALITY, self._first, self._spec)

    def skip(self, count: int, name: str | None = None) -> Dataset:
        """All but the first `count` elements; none for -1."""
        if count < 0:
            return self.take(0)
        known = max(self._cardinality - count, 0) if self._cardinality >= 0 else self._cardinality
        return self._rearranged(lambda elements: itertools.islice(elements, count, None), known)

    def shard(self, num_shards: int, index: int, name: str | None = None) -> Dataset:
        """Every `num_shards`-th element, beginning with the one at `index`."""
        if not 0 <= index < num_shards:
            raise ValueError(f"`index` must be in [0, num_shards). Received: num_shards={num_shards}, index={index}")
        known = len(builtins.range(index, self._cardinality, num_shards)) if self._cardinality >= 0 else self._cardinality
        return self._rearranged(lambda elements: itertools.islice(elements, index, None, num_shards), known)

    def repeat(self, count: int | None = None, name: str | None = None) -> Dataset:
        """All elements `count` times over; without end for None or -1."""
        times = -1 if count is None or count < 0 else count

        def compose(passes: Callable[[], Iterable[Any]]) -> Iterator[Any]:
            for _ in itertools.count() if times < 0 else builtins.range(times):
                empty = True
                with closing_iterator(passes()) as elements:
                    for element in elements:
                        empty = False
                        yield element
                if empty:
                    return

        if times < 0:
            return self._composed(compose, 0 if self._cardinality == 0 else INFINITE_CARDINALITY)
        return self._composed(compose, self._cardinality * times if self._cardinality >= 0 or not times else None)

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """The elements of this data set, then those of another."""

        def iterate() -> Iterator[Any]:
            for part in (self, dataset):
                with closing_iterator(part._iterate()) as elements:
                    yield from elements

        numbers = (self._cardinality, dataset._cardinality)
        cardinality = sum(numbers) if min(numbers) >= 0 else UNKNOWN_CARDINALITY
        if INFINITE_CARDINALITY in numbers:
            cardinality = INFINITE_CARDINALITY
        return Dataset(iterate, cardinality, self._first, self._spec)

    def shuffle(
        self, buffer_size: int, seed: int | None = None, reshuffle_each_iteration: bool | None = None, name: str | None = None
    ) -> Dataset:
        """The elements in random order: each is drawn from a buffer that the coming ones refill.

        Args:
            buffer_size: how many elements the buffer holds; as many as there are for an even shuffle.
            seed: the order is a function of it and of the number of the pass; by default drawn from the global seed.
                In `fit` that is the model's count of passes, which is saved with it: a run that is resumed goes on
                with the orders it would have had. (Where a pass stood, in the middle of an epoch or with
                `steps_per_epoch`, only `BackupAndRestore` saves.)
            reshuffle_each_iteration: whether each pass has an order of its own; by default it has.
        """
        if buffer_size == INFINITE_CARDINALITY:  # in TensorFlow, this means all elements
            buffer_size = max(self._cardinality, 1)
        if buffer_size < 1:
            raise ValueError(f"`buffer_size` must be greater than zero. Received: buffer_size={buffer_size}")
        key = config.next_seed() if seed is None else int(seed) % 2**64
        number = _pass_numbers() if reshuffle_each_iteration in (None, True) else lambda: 0

        def rearrange(elements: Iterator[Any]) -> Iterator[Any]:
            random = np.random.Generator(np.random.Philox(key=np.array([key, number()], np.uint64)))
            buffer = list(itertools.islice(elements, buffer_size))
            draws: Iterator[int] = iter(())
            for element in elements:
                place = next(draws, None)
                if place is None:
                    draws = iter(random.integers(len(buffer), size=_DRAWS_AT_ONCE).tolist())
                    place = next(draws)
                chosen, buffer[place] = buffer[place], element
                yield chosen
            for place in random.permutation(len(buffer)).tolist():
                yield buffer[place]

        return self._rearranged(rearrange)

    # ---- batches

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """`batch_size` elements as one, with a new first axis.

        Args:
            batch_size: at least 1.
            drop_remainder: leave out a last batch that is smaller.
            num_parallel_calls: accepted; stacking is one copy.
            deterministic: accepted.

        Raises:
            ValueError: while iterating, if the shapes in a batch differ.
        """
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be greater than zero. Received: batch_size={batch_size}")

        def iterate() -> Iterator[Any]:
            arrays, elements = self._source or (None, self._iterate)
            with closing_iterator(elements()) as remaining:
                while chunk := list(itertools.islice(remaining, batch_size)):
                    if len(chunk) == batch_size or not drop_remainder:
                        yield stack(chunk) if self._source is None else map_structure(lambda leaf: leaf[chunk], arrays)

        def spec() -> Any:
            size = batch_size if drop_remainder else None
            return map_structure(lambda leaf: TensorSpec((size, *leaf.shape), leaf.dtype), self.element_spec)

        rounded = self._cardinality if drop_remainder else self._cardinality + batch_size - 1
        cardinality = rounded // batch_size if self._cardinality >= 0 else self._cardinality
        rows = batch_size if drop_remainder else 1
        return Dataset(iterate, cardinality, lambda: stack([self._first()] * rows), spec)

    def unbatch(self, name: str | None = None) -> Dataset:
        """The slices of every element along its first axis: undoes `batch`."""

        def iterate() -> Iterator[Any]:
            with closing_iterator(self._iterate()) as elements:
                for element in elements:
                    for index in builtins.range(len(flatten(element)[0])):
                        yield slices(element, index)

        def spec() -> Any:
            return map_structure(lambda leaf: TensorSpec(leaf.shape[1:], leaf.dtype), self.element_spec)

        endless = self._cardinality == INFINITE_CARDINALITY
        return Dataset(
            iterate, INFINITE_CARDINALITY if endless else UNKNOWN_CARDINALITY, lambda: slices(self._first(), 0), spec
        )

    # ---- when

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """The elements of the first complete pass, kept in memory for all later ones.

        Args:
            filename: only "" (memory).
        """
        if filename:
            raise ValueError(f"`cache` keeps elements in memory; it writes no files. Received: filename={filename!r}")
        if self._source is not None and isinstance(self._source[1](), builtins.range):
            return self  # slices of arrays in their order are in memory
        kept: list[Any] | None = None

        def iterate() -> Iterator[Any]:
            nonlocal kept
            if kept is None:
                found = []
                context = contextvars.copy_context()  # the same elements, whichever pass comes first
                context.run(config.running_pass.set, None)
                with closing_iterator(self._iterate()) as elements:
                    while (element := context.run(next, elements, END)) is not END:
                        found.append(element)
                        yield map_structure(np.copy, element)  # a copy: the consumer may write into it
                kept = found
                return
            for element in kept:
                yield map_structure(np.copy, element)

        return Dataset(iterate, self._cardinality, self._first, self._spec)

    def prefetch(self, buffer_size: int = AUTOTUNE, name: str | None = None) -> Dataset:
        """The same elements, up to `buffer_size` of them computed ahead in a background thread.

        The thread ends with the pass, with an exception (which reaches the consumer), and when the iterator is closed.
        """
        if buffer_size == AUTOTUNE:
            buffer_size = _AUTOTUNED_BUFFER
        if buffer_size < 0:
            raise ValueError(f"`buffer_size` must be at least 0, or AUTOTUNE. Received: buffer_size={buffer_size}")
        if buffer_size == 0:
            return self
        return Dataset(lambda: prefetched(self._iterate, buffer_size), self._cardinality, self._first, self._spec)

    # ---- looking in

    def apply(self, transformation_func: Callable[[Dataset], _Result]) -> _Result:
        """`transformation_func` of this data set: so that a user's function can be part of a chain of calls."""
        return transformation_func(self)

    def with_options(self, options: Any, name: str | None = None) -> Dataset:
        """This data set; options only steer TensorFlow's execution."""
        return self

    def reduce(self, initial_state: Any, reduce_func: Callable[[Any, Any], Any], name: str | None = None) -> Any:
        """`reduce_func(state, element)` over all elements, beginning with `initial_state`; the last state."""
        state = as_element(initial_state)
        with closing_iterator(self._iterate()) as elements:
            for element in elements:
                state = as_element(reduce_func(state, element))
        return state

    def get_single_element(self, name: str | None = None) -> Any:
        """The element of a data set that has one.

        Raises:
            ValueError: if it has none, or more.
        """
        found = list(itertools.islice(iter(self), 2))
        if len(found) != 1:
            raise ValueError(
                f"Dataset had {'more than one element' if found else 'no element'}: `get_single_element` takes one."
            )
        return found[0]

    def as_numpy_iterator(self) -> Iterator[Any]:
        """One pass over plain NumPy arrays."""
        return self._iterate()

    @property
    def element_spec(self) -> Any:
        """Shape and type of the elements, as `TensorSpec`s in a structure like theirs.

        Where a function makes the elements (`map`, `from_generator`), it is called once to see.
        """
        return self._spec()

    def cardinality(self) -> int:
        """The number of elements, `INFINITE_CARDINALITY` or `UNKNOWN_CARDINALITY`."""
        return self._cardinality

    def with_cardinality(self, expected: int) -> Dataset:
        """The same elements, of which there are said to be so many (what a generator cannot know).

        Raises:
            ValueError: while iterating, if there are more or fewer.
        """

        def iterate() -> Iterator[Any]:
            count = 0
            with closing_iterator(self._iterate()) as elements:
                for element in elements:
                    count += 1
                    if count > expected >= 0:
                        break
                    yield element
            if count != expected >= 0:
                raise ValueError(f"Expected {expected} elements, received {'more' if count > expected else count}.")

        return Dataset(iterate, expected, self._first, self._spec)

    def __len__(self) -> int:
        if self._cardinality == INFINITE_CARDINALITY:
            raise TypeError("The dataset is infinite.")
        if self._cardinality == UNKNOWN_CARDINALITY:
            raise TypeError("The dataset length is unknown.")
        return self._cardinality

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        """One pass. What is a number, an array or text has Keras's `.numpy()`, too."""
        with closing_iterator(self._iterate()) as elements:
            for element in elements:
                yield map_structure(
                    lambda leaf: Text(leaf) if isinstance(leaf, str) else np.asarray(leaf).view(Tensor), element
                )

    def __repr__(self) -> str:
        count = {INFINITE_CARDINALITY: "infinitely many", UNKNOWN_CARDINALITY: "an unknown number of"}
        return f"<Dataset of {count.get(self._cardinality, self._cardinality)} elements>"


def _closing(rearrange: Callable[[Iterator[Any]], Iterator[Any]], elements: Iterable[Any]) -> Iterator[Any]:
    """`rearrange(elements)`, whose input is closed when it ends."""
    with closing_iterator(elements) as iterator:
        yield from rearrange(iterator)


def _pass_numbers() -> Callable[[], int]:
    """Numbers the passes of a shuffle: 0, 1, 2, ...; those within the n-th pass of a model's training from n * 2**32 on."""
    apart, within = itertools.count(), itertools.count()
    last: list[int] | None = None

    def number() -> int:
        nonlocal last, within
        running = config.running_pass.get()
        if running is None:
            return next(apart)
        if running is not last:
            last, within = running, itertools.count(running[0] << 32)
        return next(within)

    return number


def _apply(function: Callable[..., Any], element: Any) -> Any:
    return function(*element) if isinstance(element, tuple) else function(element)


def _failure(method: str, function: Callable[..., Any], index: int, error: Exception) -> DatasetError:
    name = getattr(function, "__name__", type(function).__name__)
    return DatasetError(f"Dataset.{method}: {name} failed on element {index}: {type(error).__name__}: {error}")


def _of_known_rank(leaf: Any) -> TensorSpec:
    """minicnn's spec for any library's."""
    if leaf.shape is None:
        raise TypeError(f"`output_signature` needs a shape, in which None may stand for a size. Received: {leaf}")
    return TensorSpec(leaf.shape, leaf.dtype)


def _conform(spec: TensorSpec, value: Any, rank: bool = True) -> Any:
    """`value` as an array of the type, and where `rank` of the shape, that `spec` asks for."""
    array = np.asarray(value, dtype=spec.dtype)
    fits = len(array.shape) == len(spec.shape) and all(want in (None, size) for want, size in zip(spec.shape, array.shape))
    if rank and not fits:
        raise ValueError(f"expected an array of shape {spec.shape}, received one of shape {array.shape}")
    return array if array.ndim else array[()]
