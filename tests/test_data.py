"""`minicnn.data`: every transformation against `tf.data`, its threads and errors; folders of pictures against Keras."""

from __future__ import annotations

import gc
import io
import itertools
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minicnn import config, layers
from minicnn.data import (
    AUTOTUNE,
    INFINITE_CARDINALITY,
    UNKNOWN_CARDINALITY,
    Dataset,
    DatasetError,
    TensorSpec,
    experimental,
    image_dataset_from_directory,
)
from minicnn.data.resize import INTERPOLATIONS, crop_resize, pad_resize, resize
from minicnn.preprocessing.image import load_img


def worker_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minicnn-")]


@pytest.fixture(autouse=True)
def _no_thread_left_behind():
    before = worker_threads()
    yield
    assert worker_threads() == before


def assert_same(ours, theirs):
    """Equal structures, arrays, types."""
    assert isinstance(ours, (tuple, dict)) == isinstance(theirs, (tuple, dict))
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    else:
        theirs = theirs.numpy() if hasattr(theirs, "numpy") else theirs
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        np.testing.assert_array_equal(ours, theirs)


def double(e):
    return e * 2


def add(i, e):
    return e + i


X = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
Y = np.arange(6, dtype=np.int64)[:, None]
STRUCTURES = {"array": X, "tuple": (X, Y), "dict": {"image": X, "label": Y}, "nested": ({"a": X, "b": (Y, X)}, Y)}


class TestAgainstTensorFlow:
    """The same program in both libraries gives the same elements, length and specification."""

    PROGRAMS = {
        "nothing": lambda d, lib: d,
        "map": lambda d, lib: d.map(lambda *e: e),
        "enumerate": lambda d, lib: d.enumerate(start=3),
        "take": lambda d, lib: d.take(4),
        "take all": lambda d, lib: d.take(-1),
        "take none": lambda d, lib: d.take(0),
        "skip": lambda d, lib: d.skip(4),
        "skip all": lambda d, lib: d.skip(-1),
        "skip more": lambda d, lib: d.skip(9),
        "take more": lambda d, lib: d.take(9),
        "shard": lambda d, lib: d.shard(4, 1),
        "first shard": lambda d, lib: d.shard(4, 0),
        "only shard": lambda d, lib: d.shard(1, 0),
        "repeat": lambda d, lib: d.repeat(2),
        "repeat none": lambda d, lib: d.repeat(0),
        "repeat forever": lambda d, lib: d.repeat().take(15),
        "batch": lambda d, lib: d.batch(4),
        "batch, drop": lambda d, lib: d.batch(4, drop_remainder=True),
        "batch of batches": lambda d, lib: d.batch(2).batch(2),
        "mapped, then batch": lambda d, lib: d.map(lambda *e: e).batch(4),
        "concatenate": lambda d, lib: d.concatenate(d.take(2)),
        "zip": lambda d, lib: lib.zip((d, d.skip(1))),
        "zip, dict": lambda d, lib: lib.zip({"p": d, "q": (d, d)}),
        "cache": lambda d, lib: d.cache().repeat(2),
        "shuffled by one": lambda d, lib: d.shuffle(1),
        "prefetch": lambda d, lib: d.prefetch(2),
        "long": lambda d, lib: d.skip(1).repeat(2).cache().batch(3).prefetch(1).take(3),
    }

    @pytest.mark.parametrize("structure", STRUCTURES)
    @pytest.mark.parametrize("program", PROGRAMS)
    def test_elements_and_length(self, program, structure):
        run = self.PROGRAMS[program]
        ours = run(Dataset.from_tensor_slices(STRUCTURES[structure]), Dataset)
        theirs = run(tf.data.Dataset.from_tensor_slices(STRUCTURES[structure]), tf.data.Dataset)
        for _ in range(2):  # a data set can be iterated again
            for a, b in itertools.zip_longest(ours, theirs):
                assert_same(a, b)
        assert len(ours) == len(theirs)

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_element_spec(self, program):
        run = self.PROGRAMS[program]
        ours = run(Dataset.from_tensor_slices((X, Y)), Dataset).element_spec
        theirs = run(tf.data.Dataset.from_tensor_slices((X, Y)), tf.data.Dataset).element_spec
        plain = [(leaf.shape, leaf.dtype) for leaf in tf.nest.flatten(ours)]
        assert plain == [(tuple(leaf.shape), leaf.dtype.as_numpy_dtype) for leaf in tf.nest.flatten(theirs)]

    @settings(max_examples=25)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(["take", "skip", "repeat"]), st.integers(0, 7)),
                st.tuples(st.sampled_from(["batch"]), st.integers(1, 4)),
                st.tuples(st.sampled_from(["cache", "unbatch", "prefetch", "enumerate", "map"]), st.just(None)),
            ),
            max_size=5,
        )
    )
    def test_drawn_chains(self, steps):
        ours, theirs, batches = Dataset.range(5), tf.data.Dataset.range(5), 0
        for name, argument in steps:
            if name == "unbatch" and not batches:
                continue
            batches += {"batch": 1, "unbatch": -1}.get(name, 0)
            if name == "enumerate":  # keep one array an element
                ours, theirs = (data.enumerate().map(add) for data in (ours, theirs))
            elif name == "map":
                ours, theirs = (data.map(double) for data in (ours, theirs))
            else:
                argument = 1 if name == "prefetch" else argument
                arguments = () if argument is None else (argument,)
                ours, theirs = getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments)
        try:
            expected = [e.tolist() for e in theirs.as_numpy_iterator()]
        except tf.errors.InvalidArgumentError:  # batches of different sizes, batched
            with pytest.raises(ValueError, match="Cannot batch elements of different shapes"):
                list(ours)
            return
        assert [e.tolist() for e in ours] == expected
        if ours.cardinality() != UNKNOWN_CARDINALITY:
            assert len(ours) == len(expected)

    @pytest.mark.parametrize(("cycle", "block"), [(1, 1), (2, 1), (3, 2), (5, 3)])
    def test_interleave(self, cycle, block):
        def passes(kind):
            data = kind.range(5).interleave(lambda n: kind.range(n * 10, n * 10 + n), cycle_length=cycle, block_length=block)
            return [int(value) for value in data]

        assert passes(Dataset) == passes(tf.data.Dataset)
        with pytest.raises(ValueError, match="must be greater than zero"):
            Dataset.range(3).interleave(lambda n: Dataset.range(2), cycle_length=0)

    def test_take_while(self):
        for kind in (Dataset, tf.data.Dataset):
            assert [int(value) for value in kind.range(9).take_while(lambda n: n < 4)] == [0, 1, 2, 3]

    def test_list_files(self, tmp_path):
        for name in ("b.txt", "a.txt", "c.png"):
            (tmp_path / name).write_text(name)
        (tmp_path / "d.txt").mkdir()
        pattern = str(tmp_path / "*.txt")
        theirs = [path.decode() for path in tf.data.Dataset.list_files(pattern, shuffle=False).as_numpy_iterator()]
        assert list(Dataset.list_files(pattern, shuffle=False)) == [path for path in theirs if not path.endswith("d.txt")]
        several = [pattern, tmp_path / "*.png"]
        assert all(isinstance(path, str) for path in Dataset.list_files(pattern))  # which `open` takes
        assert sorted(Dataset.list_files(several, seed=1)) == [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.png")]
        with pytest.raises(ValueError, match="No files matched pattern"):
            Dataset.list_files(str(tmp_path / "*.jpg"))
        for i in range(20):
            (tmp_path / f"{i}.many").write_text("")
        many = str(tmp_path / "*.many")
        orders = [[*Dataset.list_files(many, seed=seed)] for seed in (3, 3, 4)]
        assert orders[0] == orders[1] != orders[2]
        by_name = [path.decode() for path in tf.data.Dataset.list_files(many, shuffle=False).as_numpy_iterator()]
        assert list(Dataset.list_files(many, shuffle=False)) == by_name
        assert list(Dataset.list_files(many, shuffle=True)) != by_name == sorted(Dataset.list_files(many, shuffle=True))

    def test_range(self):
        for arguments in ((5,), (2, 9), (9, 2, -3), (2, 2)):
            theirs = list(tf.data.Dataset.range(*arguments).as_numpy_iterator())
            assert list(Dataset.range(*arguments)) == theirs
            assert len(Dataset.range(*arguments)) == len(theirs)
        assert [(e.dtype, e.numpy()) for e in Dataset.range(1)] == [(np.int64, 0)]

    def test_filter_unbatch_flat_map_reduce(self):
        for ours, theirs in (
            (Dataset.range(9).filter(lambda e: e % 2 == 0), tf.data.Dataset.range(9).filter(lambda e: e % 2 == 0)),
            (Dataset.from_tensor_slices((X, Y)).batch(4).unbatch(), tf.data.Dataset.from_tensor_slices((X, Y))),
            (
                Dataset.range(3).flat_map(lambda e: Dataset.range(e)),
                tf.data.Dataset.range(3).flat_map(lambda e: tf.data.Dataset.range(e)),
            ),
        ):
            for a, b in itertools.zip_longest(ours, theirs):
                assert_same(a, b)
            assert ours.cardinality() == UNKNOWN_CARDINALITY
        assert Dataset.range(5).reduce(np.int64(1), lambda total, e: total + e) == 11
        assert Dataset.range(4).reduce(np.int64(0), lambda total, e: 10 * total + e) == 123

    def test_pythons_numbers_become_32_bit_as_in_tensorflow(self):
        for value in (1, 2.5, True, [1, 2], [[1.5]], [[True]], np.float64(3), np.arange(3), [np.arange(3.0)]):
            assert_same(
                next(iter(Dataset.range(1).map(lambda e, value=value: value))),
                next(iter(tf.data.Dataset.range(1).map(lambda e, value=value: value))),
            )

        for values in ([np.float64(1), np.float64(2)], [[np.arange(3)]], [1.5, 2.5], [[1], [2]], [True]):
            ours, theirs = (kind.from_tensor_slices(values).element_spec for kind in (Dataset, tf.data.Dataset))
            assert (ours.shape, ours.dtype) == (tuple(theirs.shape), theirs.dtype.as_numpy_dtype)

    def test_pythons_floats_follow_floatx(self):
        before = config.floatx()
        config.set_floatx("float64")
        try:
            specs = [Dataset.from_tensor_slices([1.5, 2.5]).element_spec, Dataset.range(2).map(lambda e: 0.5).element_spec]
        finally:
            config.set_floatx(before)
        assert [spec.dtype for spec in specs] == [np.float64, np.float64]

    @pytest.mark.parametrize("count", [0, 1])
    def test_specs_of_few_elements(self, count):
        """A function is called with an element like those that there would be."""

        def made(kind):
            data = kind.from_tensor_slices((X[:count], Y[:count]))
            doubled = data.map(lambda x, y: (x * 2, y))
            return [doubled, data.batch(2).map(lambda *e: e), doubled.batch(2), kind.zip((data, doubled)).map(lambda *e: e)]

        for ours, theirs in zip(made(Dataset), made(tf.data.Dataset)):
            for a, b in zip(tf.nest.flatten(ours.element_spec), tf.nest.flatten(theirs.element_spec), strict=True):
                assert (a.shape, a.dtype) == (tuple(b.shape), b.dtype.as_numpy_dtype)

    def test_cardinalities(self):
        for run in (
            lambda d: d.repeat(),
            lambda d: d.repeat().batch(2),
            lambda d: d.repeat().take(3),
            lambda d: d.repeat().skip(3),
            lambda d: d.repeat().repeat(2),
            lambda d: d.repeat().concatenate(d),
            lambda d: d.filter(lambda e: True),
            lambda d: d.filter(lambda e: True).batch(2),
            lambda d: d.filter(lambda e: True).take(2),
            lambda d: d.take(0).repeat(),
            lambda d: d.take(0).take(1),
            lambda d: d.take(0).skip(1),
            lambda d: type(d).zip((d, d.repeat())),
            lambda d: type(d).zip((d, d.filter(lambda e: True))),
        ):
            ours, theirs = run(Dataset.range(5)), run(tf.data.Dataset.range(5))
            expected = int(theirs.cardinality())
            if expected == int(tf.data.UNKNOWN_CARDINALITY):
                assert ours.cardinality() in (UNKNOWN_CARDINALITY, INFINITE_CARDINALITY)
            else:
                assert ours.cardinality() == expected
            assert experimental.cardinality(ours) == ours.cardinality()
        some = Dataset.range(5).filter(lambda e: True)
        assert [len(none) for none in (some.take(0), some.repeat(0))] == [0, 0]  # what TensorFlow does not know
        assert some.take(1).cardinality() == some.skip(1).cardinality() == some.shard(2, 1).cardinality() == UNKNOWN_CARDINALITY

    def test_a_number_of_elements_that_is_said(self):
        several = Dataset.range(5).filter(lambda e: e > 1)
        for data in (several.with_cardinality(3), several.apply(experimental.assert_cardinality(3))):
            assert (len(data), list(data), data.element_spec) == (3, [2, 3, 4], several.element_spec)
        theirs = tf.data.Dataset.range(5).filter(lambda e: e > 1).apply(tf.data.experimental.assert_cardinality(3))
        assert len(theirs) == 3
        assert several.with_cardinality(INFINITE_CARDINALITY).cardinality() == INFINITE_CARDINALITY
        assert list(several.with_cardinality(UNKNOWN_CARDINALITY)) == [2, 3, 4]
        for expected, found in ((0, "more"), (2, "more"), (4, "3")):
            came = []
            with pytest.raises(ValueError, match=f"Expected {expected} elements, received {found}"):
                came.extend(several.with_cardinality(expected))
            assert came == [2, 3, 4][:expected]
        assert list(several.take(0).with_cardinality(0)) == []

    def test_specs_of_what_functions_make(self):
        for ours, theirs in zip(
            *[
                (
                    data.batch(2).unbatch().element_spec,
                    data.batch(2).map(lambda e: e * 2).element_spec,
                    data.batch(2, drop_remainder=True).map(lambda e: e * 2).element_spec,
                    data.flat_map(lambda e, kind=kind: kind.range(3)).element_spec,
                    data.interleave(lambda e, kind=kind: kind.range(3).batch(2)).element_spec,
                    data.take_while(lambda e: e < 3).element_spec,
                    data.enumerate().map(lambda i, e: (e, i)).element_spec[1],
                    kind.from_tensor_slices(X).batch(4).map(lambda x: x * 2).element_spec,
                    kind.from_tensor_slices(X[:1]).map(lambda x: x * 2).element_spec,
                    kind.from_tensor_slices(X[:1]).batch(2).unbatch().map(lambda x: x * 2).element_spec,
                )
                for kind, data in ((Dataset, Dataset.range(5)), (tf.data.Dataset, tf.data.Dataset.range(5)))
            ]
        ):
            assert (ours.shape, ours.dtype) == (tuple(theirs.shape), theirs.dtype.as_numpy_dtype)

    def test_a_buffer_of_minus_one_holds_all(self):
        order = [int(e) for e in Dataset.range(50).shuffle(-1, seed=2)]
        assert sorted(order) == list(range(50))
        assert order == [int(e) for e in Dataset.range(50).shuffle(50, seed=2)]

    def test_the_constants(self):
        assert (AUTOTUNE, INFINITE_CARDINALITY, UNKNOWN_CARDINALITY) == (
            tf.data.AUTOTUNE,
            tf.data.INFINITE_CARDINALITY,
            tf.data.UNKNOWN_CARDINALITY,
        )
        assert experimental.AUTOTUNE == tf.data.experimental.AUTOTUNE


class TestLength:
    def test_infinite_and_unknown_have_none(self):
        with pytest.raises(TypeError, match=r"The dataset is infinite\."):
            len(Dataset.range(3).repeat())
        with pytest.raises(TypeError, match=r"The dataset length is unknown\."):
            len(Dataset.range(3).filter(lambda e: True))
        assert bool(Dataset.range(0))
        assert repr(Dataset.range(3).repeat()) == "<Dataset of infinitely many elements>"

    def test_repeating_nothing_ends(self):
        assert list(Dataset.range(3).filter(lambda e: False).repeat()) == []


class TestFromGenerator:
    def test_each_pass_calls_it_anew(self):
        data = Dataset.from_generator(lambda n: ((i, [i, i]) for i in range(n)), args=(3,))
        for _ in range(2):
            assert [(a, b.tolist()) for a, b in data] == [(0, [0, 0]), (1, [1, 1]), (2, [2, 2])]
        assert data.cardinality() == UNKNOWN_CARDINALITY
        assert data.element_spec == (TensorSpec((), np.int32), TensorSpec((2,), np.int32))

    @pytest.mark.parametrize("lib", [tf, None])
    def test_signature(self, lib):
        spec = lib.TensorSpec if lib else TensorSpec
        signature = (spec((None, 2), lib.float32 if lib else "float32"), spec((), lib.int64 if lib else np.int64))
        data = Dataset.from_generator(lambda: iter([([[1, 2]], 3)]), output_signature=signature)
        ((x, y),) = data
        assert (x.dtype, x.shape, y.dtype) == (np.float32, (1, 2), np.int64)
        assert data.element_spec == (TensorSpec((None, 2), np.float32), TensorSpec((), np.int64))

    def test_output_types(self):
        data = Dataset.from_generator(lambda: iter([([1, 2], 3)]), output_types=(tf.float32, tf.uint8))
        ((x, y),) = data
        assert (x.dtype, y.dtype) == (np.float32, np.uint8)

    def test_errors_name_the_element(self):
        def broken():
            yield 1
            raise OSError("the disk is gone")

        with pytest.raises(
            DatasetError, match=r"from_generator: broken failed on element 1: OSError: the disk is gone"
        ) as caught:
            list(Dataset.from_generator(broken))
        assert isinstance(caught.value.__cause__, OSError)
        data = Dataset.from_generator(lambda: iter([[1, 2], [1, 2, 3]]), output_signature=TensorSpec((2,), "int32"))
        with pytest.raises(DatasetError, match=r"element 1: .*shape \(2,\), received one of shape \(3,\)"):
            list(data)
        for parts in ((1,), (1, 2, 3)):
            of_two = Dataset.from_generator(lambda parts=parts: iter([parts]), output_types=(tf.int32, tf.int32))
            with pytest.raises(DatasetError, match="failed on element 0: ValueError"):
                list(of_two)
        with pytest.raises(TypeError, match="`generator` must be a Python callable"):
            Dataset.from_generator([1, 2])
        with pytest.raises(TypeError, match="together with `output_signature`"):
            Dataset.from_generator(broken, output_types=tf.int32, output_signature=TensorSpec(()))
        with pytest.raises(TypeError, match=r"`output_signature` needs a shape, .*Received: TensorSpec"):
            Dataset.from_generator(broken, output_signature=TensorSpec(None))


class TestSources:
    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ((X, Y[:3]), r"equal length. Received arrays of lengths \[6, 3\]"),
            (5, "at least one dimension"),
            ((), "at least one"),
        ],
    )
    def test_what_has_no_slices(self, tensors, message):
        with pytest.raises(ValueError, match=message):
            Dataset.from_tensor_slices(tensors)

    def test_from_tensors(self):
        data = Dataset.from_tensors((X, Y))
        ((x, y),) = data
        assert_same((x, y), (X, Y))
        assert len(data) == 1

    def test_nobody_can_write_into_the_arrays(self):
        x = np.zeros((3, 2))

        def scribble(element):
            element += 1
            return element

        for data in (
            Dataset.from_tensor_slices(x),
            Dataset.from_tensors(x),
            Dataset.from_tensor_slices(x).map(np.copy).cache(),
        ):
            for _ in range(2):
                assert all((e == 1).all() for e in data.map(scribble))
        assert (x == 0).all()

    def test_zip_wants_datasets(self):
        with pytest.raises(TypeError, match="`zip` needs data sets"):
            Dataset.zip((Dataset.range(3), [1, 2, 3]))
        assert list(Dataset.zip(Dataset.range(2), Dataset.range(5, 9))) == [(0, 5), (1, 6)]


class TestMap:
    @pytest.mark.parametrize("calls", [None, AUTOTUNE, 1, 3])
    @pytest.mark.parametrize("prefetch", [0, 2])
    def test_an_error_names_the_element_and_keeps_the_cause(self, calls, prefetch):
        def invert(x):
            if x == 4:
                raise ZeroDivisionError("x must not be 4")
            return 1 / x

        data = Dataset.range(1, 100).map(invert, num_parallel_calls=calls).prefetch(prefetch)
        seen = []
        with pytest.raises(
            DatasetError, match=r"^Dataset\.map: invert failed on element 3: ZeroDivisionError: x must not"
        ) as caught:
            seen.extend(data)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert seen == [] or len(seen) == 3  # list.extend keeps what came before

    def test_a_forgotten_return_is_named(self):
        with pytest.raises(DatasetError, match="element 0: TypeError: an element holds None; did a function forget"):
            next(iter(Dataset.range(3).map(lambda x: None)))

    def test_threads_keep_the_order(self):
        def slow_at_first(x):
            time.sleep(0.02 if x < 2 else 0)
            return x * 10

        data = Dataset.range(20).map(slow_at_first, num_parallel_calls=4)
        assert list(data) == [10 * x for x in range(20)]
        assert list(data.take(3)) == [0, 10, 20]

    @pytest.mark.parametrize("threads", [2, 4])
    def test_as_many_threads_as_asked_for(self, threads):
        together = threading.Barrier(threads)
        data = Dataset.range(2 * threads).map(lambda x: together.wait(5) * 0 + x, num_parallel_calls=threads)
        assert list(data) == list(range(2 * threads))

    def test_arguments(self):
        with pytest.raises(ValueError, match=r"`num_parallel_calls` must be positive or AUTOTUNE. Received: 0"):
            Dataset.range(3).map(lambda x: x, num_parallel_calls=0)

    def test_filter_names_the_element(self):
        with pytest.raises(DatasetError, match=r"Dataset\.filter: .* failed on element 2: ZeroDivisionError"):
            list(Dataset.range(-2, 5).filter(lambda x: 1 // int(x) > 0))


class TestBatch:
    @pytest.mark.parametrize(("lengths", "place"), [((2, 2, 3), 2), ((2, 3, 3), 1)])
    def test_different_shapes(self, lengths, place):
        data = Dataset.from_generator(lambda: (np.zeros(n) for n in lengths)).batch(3)
        message = rf"Cannot batch elements of different shapes.*\[\(2,\)\] and element {place} had shapes \[\(3,\)\]"
        with pytest.raises(ValueError, match=message):
            list(data)

    @pytest.mark.parametrize("size", [0, -1])
    def test_sizes(self, size):
        with pytest.raises(ValueError, match="`batch_size` must be greater than zero"):
            Dataset.range(3).batch(size)
        with pytest.raises(ValueError, match="`buffer_size` must be greater than zero"):
            Dataset.range(3).shuffle(size * 2 if size else 0)

    @pytest.mark.parametrize("index", [-1, 4])
    def test_no_such_shard(self, index):
        with pytest.raises(ValueError, match=rf"`index` must be in \[0, num_shards\)\. Received: num_shards=4, index={index}"):
            Dataset.range(9).shard(4, index)


class TestShuffle:
    def numbers(self, dataset):
        return [int(e) for e in dataset]

    @settings(max_examples=50)
    @given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 2**70))
    def test_a_rearrangement_that_the_seed_decides(self, count, buffer, seed):
        data = Dataset.range(count).shuffle(buffer, seed=seed)
        again = Dataset.range(count).shuffle(buffer, seed=seed)
        first, second = self.numbers(data), self.numbers(data)
        assert sorted(first) == sorted(second) == list(range(count))
        assert [first, second] == [self.numbers(again), self.numbers(again)]
        assert all(number <= place + buffer - 1 for place, number in enumerate(first))  # nothing from beyond the buffer

    def test_passes_differ_unless_told_otherwise(self):
        data = Dataset.range(50).shuffle(50, seed=3)
        assert self.numbers(data) != self.numbers(data)
        fixed = Dataset.range(50).shuffle(50, seed=3, reshuffle_each_iteration=False)
        assert self.numbers(fixed) == self.numbers(fixed) == self.numbers(Dataset.range(50).shuffle(50, seed=3))
        assert self.numbers(data.repeat(2))[:50] != self.numbers(data.repeat(2))[50:]

    def test_every_part_of_a_seed_counts(self):
        seeds = [3, -3, *(3 + 2**bit for bit in (1, 8, 16, 31, 32, 48, 63))]
        assert len({tuple(self.numbers(Dataset.range(50).shuffle(50, seed=seed))) for seed in seeds}) == len(seeds)
        small, large = (Dataset.range(50).shuffle(50, seed=seed) for seed in (3, 2**64 + 3))
        assert self.numbers(small) == self.numbers(large)

    def test_one_global_seed_decides_all(self):
        def run():
            config.set_random_seed(7)
            one, two = Dataset.range(50).shuffle(50), Dataset.range(50).shuffle(50)
            return self.numbers(one), self.numbers(two), self.numbers(one)

        first = run()
        assert first == run()
        assert len({tuple(numbers) for numbers in first}) == 3

    def test_images_and_indices_move_alike(self):
        """Slices of arrays are shuffled as indices, other elements as themselves: in the same order."""
        sliced = Dataset.from_tensor_slices((X, Y)).shuffle(4, seed=1).repeat(2).batch(4)
        other = Dataset.from_tensor_slices((X, Y)).map(lambda x, y: (x, y)).shuffle(4, seed=1).repeat(2).batch(4)
        for a, b in zip(sliced, other, strict=True):
            assert_same(a, b)

    def test_every_order_is_as_likely(self):
        orders = {}
        for seed in range(1200):
            order = tuple(self.numbers(Dataset.range(3).shuffle(3, seed=seed)))
            orders[order] = orders.get(order, 0) + 1
        assert len(orders) == 6
        assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 20.5  # chi squared, 5 degrees, p = 0.001

    @pytest.mark.parametrize("buffer", [2, 5])
    def test_every_place_of_the_buffer_is_drawn_from(self, buffer):
        """That an element of the first few is left to the end has a probability below 1e-9."""
        order = self.numbers(Dataset.range(100 + buffer).shuffle(buffer, seed=1))
        assert max(order.index(number) for number in range(buffer)) < 100

    def test_asking_for_the_spec_is_no_pass(self):
        data = Dataset.range(30).shuffle(30, seed=3).map(lambda e: e)
        before = self.numbers(Dataset.range(30).shuffle(30, seed=3))
        assert data.element_spec == TensorSpec((), np.int64)
        assert self.numbers(data) == before


class TestCache:
    def test_a_complete_pass_is_kept(self):
        calls = []
        data = Dataset.range(4).map(lambda x: calls.append(int(x)) or x).cache()
        next(iter(data))
        assert calls == [0]
        for _ in range(3):
            assert list(data) == [0, 1, 2, 3]
        assert calls == [0, 0, 1, 2, 3]

    def test_files_are_refused(self):
        with pytest.raises(ValueError, match="`cache` keeps elements in memory"):
            Dataset.range(4).cache("somewhere")

    def test_what_is_kept_nobody_can_write_into(self):
        """The first pass gives copies of what it keeps, and so do those that are served from it."""
        data = Dataset.from_tensor_slices(np.arange(6.0).reshape(3, 2)).map(lambda row: row + 1).cache()
        for _ in range(3):
            rows = list(data)
            np.testing.assert_array_equal(rows, np.arange(6.0).reshape(3, 2) + 1)
            for row in rows:
                row[:] = -1

    def test_shuffled_and_cached_keeps_its_order(self):
        data = Dataset.from_tensor_slices(np.arange(50)).shuffle(50, seed=1).cache()
        assert list(data) == list(data)


class TestPrefetch:
    def test_it_works_ahead_in_another_thread(self):
        threads, made = [], []
        more = threading.Event()

        def make(x):
            threads.append(threading.current_thread())
            made.append(int(x))
            if len(made) == 3:
                more.set()
            return x

        iterator = iter(Dataset.range(9).map(make).prefetch(2))
        assert next(iterator) == 0
        assert more.wait(5)  # elements 1 and 2 come without being asked for
        assert threading.current_thread() not in threads
        assert list(iterator) == list(range(1, 9))

    def test_it_does_not_run_away(self):
        made = []
        iterator = iter(Dataset.range(100).map(lambda x: made.append(x) or x).prefetch(3))
        next(iterator)
        time.sleep(0.1)
        assert len(made) <= 5  # one taken, three waiting, one in hand
        iterator.close()

    def test_an_early_end_leaves_no_thread(self):
        for element in Dataset.range(1000).prefetch(2):
            if element == 3:
                break
        assert not worker_threads()
        iterator = iter(Dataset.range(1000).prefetch(2).map(lambda x: x).batch(2))
        next(iterator)
        assert worker_threads()
        del iterator
        gc.collect()
        assert not worker_threads()

    def test_an_exception_above_or_below_leaves_no_thread(self):
        def fail(x):
            raise ValueError("no")

        pipelines = (
            Dataset.range(1000).map(fail).prefetch(2),
            Dataset.range(1000).prefetch(2).map(fail),
            Dataset.range(1000).prefetch(2).map(lambda x: x, num_parallel_calls=2).filter(fail).prefetch(1),
            Dataset.zip(Dataset.range(1000).prefetch(2), Dataset.range(1000).map(fail).prefetch(2)).repeat(),
            Dataset.range(1000).prefetch(2).batch(3).map(fail).shuffle(5).cache(),
            Dataset.range(1000).prefetch(2).take(3).concatenate(Dataset.range(3).map(fail)),
        )
        for data in pipelines:
            with pytest.raises(DatasetError) as caught:
                for _ in data:
                    pass
            assert not worker_threads()
            del caught

    def test_nested(self):
        data = Dataset.range(50).prefetch(1).map(lambda x: x + 1).prefetch(2).batch(7).prefetch(3)
        assert [e.tolist() for e in data] == [list(range(s, min(s + 7, 51))) for s in range(1, 51, 7)]

    def test_interruptions_pass(self):
        def interrupt(x):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(Dataset.range(3).map(interrupt).prefetch(1))

    def test_what_a_generator_returned_is_closed_and_not_what_it_came_from(self):
        closed = []

        class Numbers:
            def __iter__(self):
                return Pass()

            def close(self):
                raise AssertionError("the source is not ours to close")

        class Pass:
            def __init__(self):
                self.numbers = iter(range(9))

            def __iter__(self):
                return self

            def __next__(self):
                return next(self.numbers)

            def close(self):
                closed.append(next(self.numbers))

        numbers = Numbers()
        data = Dataset.from_generator(lambda: numbers)
        assert list(data.take(2)) == list(data.take(2)) == [0, 1]
        assert closed == [2, 2]

    def test_arguments(self):
        with pytest.raises(ValueError, match="`buffer_size` must be at least 0, or AUTOTUNE"):
            Dataset.range(3).prefetch(-5)
        assert list(Dataset.range(3).prefetch(AUTOTUNE)) == [0, 1, 2]


class TestInTraining:
    """`fit`, `evaluate` and `predict` take data sets, and close them however training ends."""

    @pytest.fixture
    def model(self):
        import minicnn

        minicnn.set_random_seed(1)
        model = minicnn.Sequential([minicnn.Input((2, 2)), minicnn.layers.Flatten(), minicnn.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    def test_the_same_as_arrays(self, model):
        data = Dataset.from_tensor_slices((X, Y)).map(lambda x, y: (x / 24, y)).batch(4).prefetch(2)
        weights = model.get_weights()
        from_data = model.fit(data, epochs=2, validation_data=data, verbose=0).history
        model.set_weights(weights)
        arrays = {"x": X / 24, "y": Y, "batch_size": 4, "shuffle": False}
        from_arrays = model.fit(**arrays, epochs=2, validation_data=(X / 24, Y), verbose=0).history
        assert {name: pytest.approx(values) for name, values in from_arrays.items()} == from_data
        assert model.evaluate(data, verbose=0) == pytest.approx(from_data["val_loss"][-1])
        np.testing.assert_allclose(model.predict(data.take(1), verbose=0), model.predict(X[:4] / 24, verbose=0), rtol=1e-6)

    def test_no_order_of_a_repeated_data_set_comes_again(self, model):
        """It is shuffled twice in each of three epochs, each time anew, as TensorFlow does."""
        seen = []

        def note(index):
            seen.append(int(index))
            return np.full((2, 2), index, "float32"), np.float32(0)

        data = Dataset.from_tensor_slices(np.arange(20)).shuffle(20).repeat(2).map(note).batch(8)
        model.fit(data, epochs=3, verbose=0)
        orders = np.reshape(seen, (6, 20))
        np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(20), (6, 1)))
        assert len({tuple(order) for order in orders.tolist()}) == 6

    def test_prediction_reads_no_labels(self, model):
        import minicnn

        outputs = minicnn.Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers])
        flat, dense = outputs.predict(Dataset.from_tensor_slices((X, Y)).batch(1).take(1), verbose=0)
        np.testing.assert_array_equal(flat, X[:1].reshape(1, 4))
        np.testing.assert_array_equal(dense, model.predict(X[:1], verbose=0))

    @pytest.mark.parametrize("steps", [None, 3])
    def test_an_exception_in_training_leaves_no_thread(self, model, steps):
        from minicnn.callbacks import Callback

        class Stop(Callback):
            def on_train_batch_end(self, batch, logs=None):
                raise RuntimeError("stop")

        data = Dataset.from_tensor_slices((X, Y)).repeat().batch(2).prefetch(2)
        with pytest.raises(RuntimeError, match="stop") as caught:
            model.fit(data, steps_per_epoch=steps, callbacks=[Stop()], verbose=0)
        assert not worker_threads()
        assert caught.tb is not None  # whoever keeps the traceback keeps no thread with it


def test_apply_and_options():
    assert list(Dataset.range(3).apply(lambda d: d.skip(1)).with_options(None).as_numpy_iterator()) == [1, 2]


class TestResize:
    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    @pytest.mark.parametrize("size", [(7, 5), (11, 13), (3, 20), (1, 1), (40, 2)])
    def test_against_tensorflow(self, interpolation, size):
        image = np.random.default_rng(0).uniform(0, 255, (11, 9, 3)).astype(np.float32)
        expected = tf.image.resize(image, size, method=interpolation).numpy()
        ours = resize(image, size, interpolation)
        assert ours.dtype == np.float32
        # TensorFlow looks the cubic kernel up in a table of 1,024 places
        np.testing.assert_allclose(ours, expected, rtol=0, atol=0.5 if interpolation == "bicubic" else 255e-5)

    @pytest.mark.parametrize("shape", [(11, 9, 3), (4, 9, 1), (10, 10, 3), (8, 40, 3), (20, 4, 1)])
    def test_keeping_proportions(self, shape):
        from keras.src.utils.image_utils import smart_resize

        image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        np.testing.assert_allclose(crop_resize(image, (5, 8)), smart_resize(image, (5, 8)), rtol=0, atol=255e-5)
        np.testing.assert_allclose(pad_resize(image, (5, 8)), tf.image.resize_with_pad(image, 5, 8), rtol=0, atol=255e-5)

    @settings(max_examples=40, deadline=None)
    @given(st.tuples(*[st.integers(1, 40)] * 4), st.sampled_from(["bilinear", "nearest"]), st.integers(0, 9))
    def test_pictures_and_layers_are_resized_alike(self, sizes, interpolation, seed):
        """A picture that training or `minicnn predict` reads, one that `Resizing` gets, and one of `load_img`'s nearest."""
        H, W, height, width = sizes
        pixels = np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)
        ours = resize(pixels, (height, width), interpolation)
        layer = layers.Resizing(height, width, interpolation=interpolation)
        np.testing.assert_allclose(np.asarray(layer(pixels[None].astype(np.float32)))[0], ours, atol=1e-3)
        if interpolation == "nearest":
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "png")
            np.testing.assert_array_equal(np.asarray(load_img(file, target_size=(height, width))), ours)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of three classes, of several sizes, modes and file formats without losses."""
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for name, count in (("cats", 5), ("dogs", 4), ("eels", 3)):
        (root / name / "more").mkdir(parents=True)
        for index in range(count):
            place = root / name / ("more" if index == 2 else "") / f"{index}.{('png', 'bmp', 'PNG')[index % 3]}"
            Image.fromarray(random.integers(0, 256, (9 + index, 12, 3), dtype=np.uint8)).save(place)
        (root / name / "notes.txt").write_text("no picture")
    (root / ".hidden").mkdir()
    (root / "README").write_text("no class")
    return root


class TestImageDatasetFromDirectory:
    def keras(self, folder, **arguments):
        from keras.utils import image_dataset_from_directory as theirs

        return theirs(folder, verbose=False, **arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"label_mode": "categorical", "batch_size": 5},
            {"label_mode": "binary", "class_names": ["dogs", "cats"]},
            {"label_mode": None},
            {"labels": None, "batch_size": None},
            {"labels": None, "label_mode": "binary"},
            {"labels": list(range(12)), "color_mode": "rgb"},
            {"color_mode": "rgba"},
            {"interpolation": "nearest"},
            {"crop_to_aspect_ratio": True},
            {"pad_to_aspect_ratio": True},
        ],
        ids=str,
    )
    def test_what_keras_reads(self, folder, arguments):
        arguments = {"image_size": (8, 6), "shuffle": False, **arguments}
        ours = image_dataset_from_directory(folder, verbose=False, **arguments)
        theirs = self.keras(folder, **arguments)
        count = 0
        for a, b in itertools.zip_longest(ours, theirs):
            image, expected = (a[0], b[0]) if isinstance(a, tuple) else (a, b)
            assert image.dtype == np.float32
            np.testing.assert_allclose(image, expected, atol=1e-2)
            if isinstance(a, tuple):
                assert_same(a[1], b[1])
            count += 1
        assert count == len(ours) == len(theirs)
        assert ours.class_names == theirs.class_names
        assert ours.file_paths == theirs.file_paths

    def test_pictures_of_every_ending_are_found_and_links_are_followed_if_told_to(self, tmp_path):
        from keras.src.utils.image_dataset_utils import ALLOWLIST_FORMATS

        (tmp_path / "root" / "a").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        for number, ending in enumerate([*ALLOWLIST_FORMATS, ".tif", ".txt", ".PNG"]):
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "root" / "a" / f"{number}{ending}", "png")
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "elsewhere" / "linked.png")
        (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "elsewhere")
        for follow, labels in itertools.product((False, True), ("inferred", None)):
            arguments = {"follow_links": follow, "labels": labels, "shuffle": False, "image_size": (4, 4)}
            ours = image_dataset_from_directory(tmp_path / "root", verbose=False, **arguments).file_paths
            assert ours == self.keras(str(tmp_path / "root"), **arguments).file_paths
            assert any("linked" in path for path in ours) == follow

    def test_an_older_name_for_cutting_to_proportions(self, folder):
        arguments = {"image_size": (8, 6), "shuffle": False, "batch_size": 12, "verbose": False}
        ((older, _),), ((newer, _),) = (
            image_dataset_from_directory(folder, **arguments, **{name: True})
            for name in ("smart_resize", "crop_to_aspect_ratio")
        )
        np.testing.assert_array_equal(older, newer)

    def test_the_order_in_a_pass_is_of_the_seed_and_another_one_in_the_next(self, folder):
        def orders(seed):
            data = image_dataset_from_directory(folder, image_size=(4, 4), seed=seed, batch_size=5, verbose=False)
            return [np.concatenate([images for images, _ in data]).tobytes() for _ in range(2)]

        assert orders(3) == orders(3)
        assert len({*orders(3), *orders(4)}) == 4
        of_global_seeds = []
        for seed in (1, 1, 2):
            config.set_random_seed(seed)
            of_global_seeds.append(orders(None))
        assert of_global_seeds[0] == of_global_seeds[1] != of_global_seeds[2]

    def test_grey_pictures(self, tmp_path):
        from PIL import Image

        (tmp_path / "a").mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (7, 9), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
        ((images, _),) = image_dataset_from_directory(tmp_path, image_size=(7, 9), color_mode="grayscale", verbose=False)
        np.testing.assert_array_equal(images[0, ..., 0], pixels)

    @pytest.mark.parametrize(
        ("mode", "color_mode"), [("L", "rgb"), ("L", "rgba"), ("RGBA", "rgb"), ("RGB", "rgba"), ("RGB", "grayscale")]
    )
    def test_pictures_of_one_kind_as_those_of_another(self, tmp_path, mode, color_mode):
        (tmp_path / "a").mkdir()
        channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
        pixels = np.random.default_rng(0).integers(0, 256, (7, 9, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
        arguments = {"image_size": (7, 9), "color_mode": color_mode, "labels": None}
        (ours,) = image_dataset_from_directory(tmp_path, verbose=False, **arguments)
        (theirs,) = self.keras(str(tmp_path), **arguments)
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1 if color_mode == "grayscale" else 0)  # Pillow rounds

    @pytest.mark.parametrize("seed", [0, 13])
    def test_the_split_is_keras_s(self, folder, seed):
        arguments = {"validation_split": 0.3, "seed": seed, "image_size": (4, 4)}
        for subset in ("training", "validation"):
            ours = image_dataset_from_directory(folder, subset=subset, verbose=False, **arguments)
            assert ours.file_paths == self.keras(folder, subset=subset, **arguments).file_paths
        both = image_dataset_from_directory(folder, subset="both", verbose=False, **arguments)
        assert len(both) == 2
        assert not set(both[0].file_paths) & set(both[1].file_paths)

    def test_of_both_subsets_only_the_first_is_shuffled_anew(self, folder):
        arguments = {"validation_split": 0.5, "subset": "both", "seed": 5, "image_size": (4, 4), "batch_size": 4}
        (train, ours), (_, theirs) = (
            image_dataset_from_directory(folder, verbose=False, **arguments),
            self.keras(folder, **arguments),
        )
        passes = [[np.concatenate(part) for part in zip(*data, strict=True)] for data in (ours, ours, theirs, theirs)]
        for images, labels in passes[1:]:
            np.testing.assert_allclose(images, passes[0][0], atol=1e-2)
            np.testing.assert_array_equal(labels, passes[0][1])
        orders = {np.concatenate([images for images, _ in train]).tobytes() for _ in range(4)}
        assert len(orders) > 1

    def test_labels_stay_with_their_pictures(self, folder):
        data = image_dataset_from_directory(folder, image_size=(4, 4), seed=3, batch_size=None, verbose=False)
        labels = {
            path: ["cats", "dogs", "eels"].index(path.removeprefix(f"{folder}/").split("/")[0]) for path in data.file_paths
        }
        ordered = image_dataset_from_directory(folder, image_size=(4, 4), shuffle=False, batch_size=None, verbose=False)
        known = {image.tobytes(): labels[path] for (image, _), path in zip(ordered, ordered.file_paths, strict=True)}
        for _ in range(2):
            assert all(known[image.tobytes()] == label for image, label in data)
        assert sum(1 for _ in data) == 12

    def test_what_it_says(self, folder, capsys):
        image_dataset_from_directory(folder, validation_split=0.25, subset="both", seed=1)
        assert capsys.readouterr().out == (
            "Found 12 files belonging to 3 classes.\nUsing 9 files for training.\nUsing 3 files for validation.\n"
        )
        for subset in ("training", "validation"):
            image_dataset_from_directory(folder, validation_split=0.25, subset=subset, seed=1, labels=None)
            number = {"training": 9, "validation": 3}[subset]
            assert capsys.readouterr().out == f"Found 12 files.\nUsing {number} files for {subset}.\n"
        image_dataset_from_directory(folder, validation_split=0.25, subset="both", seed=1, verbose=False)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"labels": "guessed"}, "`labels` argument should be a list/tuple of integer labels"),
            ({"labels": [1, 2]}, r"len\(labels\) is 2 while we found 12 files"),
            ({"labels": [1] * 12, "class_names": ["cats"]}, "You can only pass `class_names` if"),
            ({"labels": None, "class_names": ["cats"]}, "argument `class_names` cannot be specified"),
            ({"label_mode": "one-hot"}, "`label_mode` argument must be one of"),
            ({"label_mode": "binary"}, "there must be exactly 2 class_names"),
            ({"class_names": ["cats", "mice"]}, "did not match the names of the subdirectories"),
            ({"color_mode": "cmyk"}, "`color_mode` must be one of"),
            ({"interpolation": "magic"}, "Argument `interpolation` should be one of"),
            ({"image_size": (3, 4, 5)}, "image_size"),
            ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of"),
            ({"validation_split": 1.0, "subset": "training", "seed": 1}, "`validation_split` must be between 0 and 1"),
            ({"validation_split": -0.1, "subset": "training", "seed": 1}, "`validation_split` must be between 0 and 1"),
            ({"validation_split": 0.5}, "If `subset` is set, `validation_split` must be set, and inversely"),
            ({"validation_split": 0.5, "subset": "test", "seed": 1}, '`subset` must be either "training"'),
            ({"validation_split": 0.5, "subset": "training"}, "you must provide a `seed` argument"),
            ({"validation_split": 0.01, "subset": "validation", "seed": 1}, "No images found in directory"),
            ({"data_format": "channels_first"}, "channels_last"),
            ({"format": "torch"}, '`format` should be either "tf" or "grain"'),
        ],
        ids=str,
    )
    def test_wrong_arguments(self, folder, arguments, message):
        with pytest.raises(ValueError, match=message):
            image_dataset_from_directory(folder, verbose=False, **arguments)

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"Could not find directory .*nowhere"):
            image_dataset_from_directory(tmp_path / "nowhere")

    def test_a_broken_picture_is_named(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
        with pytest.raises(DatasetError, match=r"failed on element 0: FileFormatError: .*broken\.png cannot be read"):
            list(image_dataset_from_directory(tmp_path, verbose=False))
