"""Step memory: how much of it there is, whose it is, and that no array is ever written over."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import callbacks, layers
from minicnn.backends import memory

RNG = np.random.default_rng(5)

# A step: how many floats it asks for, and how many requests later each array is dropped.
steps_of_a_model = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 4)), min_size=1, max_size=12)


def run_step(arena, step):
    """Ask for the arrays of a step; the addresses of the blocks they lay in. No two arrays alive at once share one."""
    alive, found = [], []
    with arena:
        for position, (size, lifetime) in enumerate(step):
            alive = [(until, array) for until, array in alive if until >= position]
            array = memory.empty((size,))
            assert array.ctypes.data % memory.ALIGNMENT == 0 or size == 0
            assert not any(np.shares_memory(array, other) for _, other in alive)
            alive.append((position + lifetime, array))
            found.append(None if size == 0 else array.ctypes.data)
            del array
    return found


def test_small_blocks_share_large_pages_and_keep_them():
    arena = memory.Arena()
    with arena:
        arrays = [memory.empty((size,), np.uint8) for size in (100, 1 << 20, 3 << 20, 1, 2 << 20, 3 << 20, 64)]
    first = arrays[0].ctypes.data
    assert first % memory.LARGE_PAGE == 0
    # One behind the other from whole lines on; the sixth begins a slab of its own.
    assert [array.ctypes.data - first for array in arrays[:5]] == [0, 128, 128 + (1 << 20), 128 + (4 << 20), 192 + (4 << 20)]
    assert arrays[5].ctypes.data % memory.LARGE_PAGE == 0
    assert arrays[6].ctypes.data == arrays[5].ctypes.data + (3 << 20)
    last = arrays[4]
    last.fill(7)
    del arena, arrays
    assert (last == 7).all()


@given(earlier=st.lists(steps_of_a_model, max_size=6), step=steps_of_a_model)
def test_a_step_that_ran_once_allocates_nothing_when_it_runs_again(earlier, step):
    arena = memory.Arena()
    for one in earlier:
        run_step(arena, one)
    first, held = run_step(arena, step), arena.nbytes
    for _ in range(3):
        assert run_step(arena, step) == first
        assert arena.nbytes == held


def growing_step(n):
    """Activations, scratch memory and gradients of something with n rows."""
    return [(64 * n, 5), (16 * n, 0), (32 * n, 3), (8, 9), (16 * n, 1), (32 * n, 0), (64 * n, 0), (10 * n, 0)]


@pytest.mark.parametrize("order", ["growing", "shrinking", "shuffled"])
def test_two_thousand_sizes_stay_within_twice_the_need_of_the_largest(order):
    sizes = list(range(1, 2001))
    if order != "growing":
        sizes = sizes[::-1] if order == "shrinking" else RNG.permutation(sizes).tolist()
    alone, arena = memory.Arena(), memory.Arena()
    run_step(alone, growing_step(2000))
    most = 0
    for n in sizes:
        run_step(arena, growing_step(n))
        most = max(most, arena.nbytes)
    assert alone.nbytes <= most <= 2 * alone.nbytes
    assert len(arena._known) <= memory._MOST_KNOWN


def test_shapes_are_not_remembered_for_ever():
    arena = memory.Arena()
    with arena:
        memory.empty((1024,))
        for n in range(2 * memory._MOST_KNOWN):
            memory.empty((1, 1, 512 + n % 512, *(1,) * (n // 512)))
            assert len(arena._known) <= memory._MOST_KNOWN


def test_an_array_that_is_kept_is_never_written_over():
    arena, kept = memory.Arena(), []
    for n in range(1, 200):
        with arena:
            kept.append(memory.zeros((n, 10)))
            kept[-1] += n
            for size in (n, 2 * n, 150):
                memory.empty((size, 10)).fill(-1)
    assert all((array == n).all() for n, array in enumerate(kept, 1))


def test_a_signal_handler_in_the_middle_of_any_instruction_takes_no_block_that_is_being_taken():
    arena, interrupted = memory.Arena(), 0
    for at in range(200):
        with arena:
            memory.empty((100,))  # one free block, for which both ask
            count, theirs = 0, []

            def trace(frame, event, argument, at=at, theirs=theirs):
                nonlocal count
                if frame.f_code is not memory.Arena.view.__code__:
                    return None
                frame.f_trace_opcodes = True
                if event == "opcode":
                    if count == at:
                        theirs.append(memory.empty((100,)))
                    count += 1
                return trace

            before = sys.gettrace()
            sys.settrace(trace)
            try:
                ours = memory.empty((100,))
            finally:
                sys.settrace(before)
            interrupted += len(theirs)
            assert not any(np.shares_memory(ours, array) for array in theirs), f"instruction {at}"
            del ours, theirs
    assert interrupted > 20


# --- in models ----------------------------------------------------------------------------------


def model_of_any_size():
    minicnn.set_random_seed(1)
    model = minicnn.Sequential(
        [
            layers.Input((None, None, 2)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def pictures(size, number=2):
    return RNG.random((number, size, size, 2), np.float32)


@pytest.mark.parametrize("method", ["fit", "predict", "train_on_batch"])
def test_pictures_of_many_sizes_hold_no_more_than_twice_what_the_largest_needs(method):
    def run(model, size):
        targets = () if method == "predict" else (np.zeros(2, int),)
        options = {} if method == "train_on_batch" else {"verbose": 0}
        getattr(model, method)(pictures(size), *targets, **options)

    # Not always the largest picture: which kernel pays depends on the size, and on the processor's vectors.
    model, largest_need = model_of_any_size(), 0
    for size in range(4, 104):
        alone = model_of_any_size()
        run(alone, size)
        largest_need = max(largest_need, alone._memory.arena.nbytes)
        run(model, size)
        assert model._memory.arena.nbytes <= 2 * largest_need


def test_a_smaller_last_batch_and_validation_allocate_nothing_once_they_have_all_run():
    held = []
    blocks = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: held.append([id(block[0]) for block in model._memory.arena._blocks])
    )
    # Validation in much larger batches than training's is left out: together their steps may need more than the bound of
    # twice the largest, and then some blocks are made anew in each epoch (on processors with vectors of 8, for one).
    for samples, batch, held_out, validation_batch in [(45, 32, 21, 32), (63, 32, 45, 32), (24, 8, 90, 8)]:
        model = model_of_any_size()
        model.fit(
            pictures(16, samples),
            np.zeros(samples, int),
            batch_size=batch,
            epochs=4,
            verbose=0,
            callbacks=[blocks],
            validation_data=(pictures(16, held_out), np.zeros(held_out, int)),
            validation_batch_size=validation_batch,
        )
        assert held[0]
        assert held[0] == held[1] == held[2] == held[3]
        held.clear()


class Interrupted(callbacks.Callback):
    def __init__(self, hook, error):
        super().__init__()
        self.error = error
        setattr(self, hook, self.stop)

    def stop(self, *_args, **_options):
        self.model.predict(pictures(8), verbose=0)
        if self.error is not None:
            raise self.error("in the middle")


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_test_batch_begin", "on_test_end", "on_epoch_end"])
def test_fit_leaves_the_step_memory_as_it_found_it(hook, error):
    model, outer = model_of_any_size(), memory.Arena()
    data = pictures(8, 6), np.zeros(6, int)

    def fit():
        try:
            model.fit(*data, batch_size=2, verbose=0, validation_data=data, callbacks=[Interrupted(hook, error)])
        except (ValueError, KeyboardInterrupt):
            assert error is not None
        else:
            assert error is None

    before = memory._current.arena
    fit()
    assert memory._current.arena is before
    with outer:
        fit()
        assert memory._current.arena is outer
    assert memory._current.arena is before


def test_wherever_ctrl_c_strikes_the_step_memory_is_left_as_it_was_found():
    model = model_of_any_size()
    data = pictures(8, 4), np.zeros(4, int)
    fit = {"batch_size": 2, "verbose": 0, "validation_data": data}
    model.fit(*data, **fit)
    of_the_engine = ("training.py", "plan.py", "output_losses.py", "data_adapter.py", "sgd.py", "dense.py")
    lines = 0

    def interrupt_at(at):
        def trace(frame, event, argument):
            nonlocal lines
            if not frame.f_code.co_filename.endswith(of_the_engine):
                return None
            if event == "line":
                lines += 1
                if lines == at:
                    raise KeyboardInterrupt
            return trace

        return trace

    def traced_fit(at):
        nonlocal lines
        lines, before = 0, sys.gettrace()
        sys.settrace(interrupt_at(at))
        try:
            model.fit(*data, **fit)
        finally:
            sys.settrace(before)

    before = memory._current.arena
    traced_fit(None)
    total = lines
    assert total > 500
    for at in range(1, total, total // 60):
        with pytest.raises(KeyboardInterrupt):
            traced_fit(at)
        assert memory._current.arena is before
        assert not model._means._holder


def traced_arrays():
    """Bytes in arrays that were made since `tracemalloc.start()`."""
    domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([domain]).traces)


def test_after_fit_a_model_that_is_gone_holds_no_memory():
    model = model_of_any_size()
    data = pictures(16, 50), np.zeros(50, int)
    model.fit(*data, verbose=0, validation_data=data)
    gc.collect()
    gc.disable()  # what is not needed goes at once, and not when it comes by
    tracemalloc.start()
    try:
        for n in range(1, 50):
            model(data[0][:n])
        assert traced_arrays() == 0
        del model
        gc.collect()
        assert traced_arrays() == 0
    finally:
        tracemalloc.stop()
        gc.enable()


def test_threads_that_predict_with_one_model_have_memory_of_their_own():
    model, x = model_of_any_size(), pictures(16, 8)
    expected = model.predict(x, batch_size=2, verbose=0)
    both = threading.Barrier(2, timeout=60)
    arenas, found = {}, {}

    class Together(callbacks.Callback):
        def on_predict_batch_begin(self, batch, logs=None):
            both.wait()
            arenas[threading.get_ident()] = model._memory.arena

    def predict(name):
        found[name] = model.predict(x, batch_size=2, verbose=0, callbacks=[Together()])

    threads = [threading.Thread(target=predict, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(arena) for arena in arenas.values()}) == 2
    for name in "ab":
        np.testing.assert_array_equal(found[name], expected)


def test_a_copy_of_a_model_takes_no_step_memory_along():
    model = model_of_any_size()
    x = pictures(32, 4)
    expected = model.predict(x, verbose=0)
    assert model._memory.arena.nbytes > 0
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin._memory.arena.nbytes == 0
        np.testing.assert_array_equal(twin.predict(x, verbose=0), expected)
    assert len(pickle.dumps(model)) < model._memory.arena.nbytes
