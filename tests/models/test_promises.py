"""What the design promises of the training loop: depth, memory, determinism."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import minicnn
from minicnn import backends, callbacks, layers

RNG = np.random.default_rng(3)
X = RNG.random((160, 16, 16, 3), np.float32)
Y = RNG.integers(0, 10, 160)


def model_with_everything():
    minicnn.set_random_seed(11)
    model = minicnn.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.2),
            layers.Conv2D(12, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.AveragePooling2D(2),
            layers.DepthwiseConv2D(2, activation="relu"),
            layers.Conv2DTranspose(8, 3, padding="same", activation="relu"),
            layers.Conv2DTranspose(8, 2, strides=2, activation="relu"),
            layers.SeparableConv2D(8, 2),
            layers.Conv2D(8, 3, groups=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(24, activation="elu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# --- the way of a pixel -----------------------------------------------------------------


def ways_of(run, backend):
    """Every way by which `run` comes to compiled code, or, where nothing is compiled, to an op.

    A way is all Python frames, whatever they are called, from `run`'s own method of the model to the last one before the
    kernel; {name of the kernel: its ways}.
    """
    run()  # what it calls is compiled: a kernel could not be while the functions that it calls are listened to
    ways = {}

    def listening(name, function):
        def called(*args, **kwargs):
            frames, walker = [], sys._getframe(1)
            while walker is not None and walker.f_code.co_name != "ways_of":
                frames.append(walker.f_code)
                walker = walker.f_back
            ways.setdefault(name, []).append([code.co_qualname for code in reversed(frames)][1:])  # without the lambda
            return function(*args, **kwargs)

        return called

    with pytest.MonkeyPatch.context() as patch:
        if backend == "numba":
            for module in [m for name, m in sys.modules.items() if name.startswith("minicnn.backends.numba_cpu.")]:
                for name, function in list(vars(module).items()):
                    if isinstance(function, Dispatcher) and function.__module__ == module.__name__:
                        patch.setattr(module, name, listening(f"{module.__name__.split('.')[-1]}.{name}", function))
        else:  # the op's own frame is the last one
            for name, function in list(vars(backends.ops).items()):
                patch.setitem(vars(backends.ops), name, listening(name, function))
        run()
    if backend != "numba":
        for name in ways:
            for way in ways[name]:
                way.append(name)
    return ways


@pytest.fixture(params=["numba", "reference", "loops"])
def backend(request):
    minicnn.set_backend(request.param)
    yield request.param
    minicnn.set_backend("numba")


def test_from_fit_to_the_kernel_are_at_most_six_frames(backend):
    x, y = X[:2, :7, :7], Y[:2]
    minicnn.set_random_seed(1)
    model = minicnn.Sequential(
        [
            layers.Input((7, 7, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, strides=2),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=1, verbose=0)
    for run, first, passes in (
        (lambda: model.fit(x, y, epochs=1, verbose=0), ["Trainer.fit", "Trainer.train_step"], ["forward", "backward"]),
        (lambda: model.predict(x, verbose=0), ["Trainer.predict"], ["forward"]),
    ):
        ways = [way for of_kernel in ways_of(run, backend).values() for way in of_kernel]
        assert max(len(way) for way in ways) <= 6, max(ways, key=len)
        for name in passes:
            of_conv = [way for way in ways if f"conv2d_{name}" in way]
            # Each of the two layers, fused or not, passes through the page that a student reads.
            assert len(of_conv) >= 2
            for way in of_conv:
                assert way[: len(first) + 3] == [*first, f"Plan.{name}", f"Conv2D.{name}", f"conv2d_{name}"]


def test_so_it_is_with_the_other_convolutions(backend):
    """Without a stride and with one, channel by channel and in groups; Winograd's kernels among them."""
    minicnn.set_random_seed(1)
    model = minicnn.Sequential(
        [
            layers.Input((8, 8, 4)),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Conv2DTranspose(16 if backend == "numba" else 2, 3, activation="relu"),
            layers.Conv2DTranspose(16 if backend == "numba" else 2, 3, padding="same"),
            layers.Conv2DTranspose(4, 2, strides=2, activation="relu"),
            layers.SeparableConv2D(4, 3, strides=2),
            layers.Conv2D(4, 2, groups=2, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, groups=4, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = RNG.random((8 if backend == "numba" else 1, 8, 8, 4), np.float32), Y[: 8 if backend == "numba" else 1]
    model.fit(x, y, epochs=1, verbose=0)
    for run in (lambda: model.fit(x, y, epochs=1, verbose=0), lambda: model.predict(x, verbose=0)):
        found = ways_of(run, backend)
        ways = [way for of_kernel in found.values() for way in of_kernel]
        assert max(len(way) for way in ways) <= 6, max(ways, key=len)
        assert backend != "numba" or any(name.startswith("winograd.") for name in found)


class Traced(callbacks.Callback):
    """The peak of NumPy's array memory within each step."""

    def __init__(self):
        super().__init__()
        self.peaks = []

    def on_train_batch_begin(self, batch, logs=None):
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]

    def on_train_batch_end(self, batch, logs=None):
        self.peaks.append(tracemalloc.get_traced_memory()[1] - self.before)


def test_after_the_first_batch_a_step_allocates_no_array():
    model = model_with_everything()
    model.fit(X, Y, batch_size=32, epochs=1, verbose=0)  # compiled kernels, made metrics
    model._forget_plans()
    traced = Traced()
    tracemalloc.start()
    try:
        model.fit(X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[traced])
    finally:
        tracemalloc.stop()
    first, *later = traced.peaks
    smallest_activation = 32 * 10 * 4  # the output layer's, in bytes
    assert first > 50 * smallest_activation
    # Views and other small Python objects come and go; an array of the batch would be larger than all of them.
    assert max(later) < 40_000, traced.peaks
    assert arrays_allocated_in_a_step(model) == []


def arrays_allocated_in_a_step(model):
    """Where NumPy allocated array data that outlived its statement, during a third step."""
    domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    grown = []

    class Snapshots(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = tracemalloc.take_snapshot().filter_traces([domain])

        def on_train_batch_end(self, batch, logs=None):
            after = tracemalloc.take_snapshot().filter_traces([domain])
            if batch > 1:
                grown.extend(str(s) for s in after.compare_to(self.before, "lineno") if s.size_diff > 0)

    tracemalloc.start()
    try:
        model.fit(X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[Snapshots()])
    finally:
        tracemalloc.stop()
    return grown


class Losses(callbacks.Callback):
    """The logs of every batch, kept."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(logs)


def test_logs_are_computed_for_those_who_read_them_only(monkeypatch):
    model = model_with_everything()
    computed = []
    monkeypatch.setattr(model, "_logs", lambda logs=model._logs: computed.append(1) or logs())
    model.fit(X, Y, batch_size=32, epochs=1, verbose=0)
    assert len(computed) == 1  # the epoch's
    reader = Losses()
    model.fit(X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[reader, Losses()])
    assert len(computed) == 1 + 5 + 1  # once a batch, however many read them
    assert [type(value) for logs in reader.logs for value in logs.values()] == [float] * 10
    assert reader.logs[-1] == {name: values[-1] for name, values in model.history.history.items()}


@pytest.mark.skipif(minicnn.backends.backend() != "numba", reason="threads are the numba backend's")
def test_one_seed_gives_the_same_bits_with_one_thread_and_with_two():
    weights = []
    before = minicnn.backends.get_num_threads()
    try:
        for threads in (1, 2):
            minicnn.set_num_threads(threads)
            model = model_with_everything()
            model.fit(X, Y, batch_size=32, epochs=2, verbose=0)
            weights.append(model.get_weights())
    finally:
        minicnn.set_num_threads(before)
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_backends_train_alike():
    movements = []
    try:
        for backend in ("numba", "reference"):
            minicnn.set_backend(backend)
            model = model_with_everything()
            before = model.get_weights()
            model.fit(X, Y, batch_size=32, epochs=1, verbose=0)
            movements.append([after - start for after, start in zip(model.get_weights(), before, strict=True)])
    finally:
        minicnn.set_backend("numba")
    # Of each weight: five steps add up the rounding errors of sums of at most some thousand products.
    for weight, one, two in zip(model.weights, *movements, strict=True):
        assert np.linalg.norm(one - two) < 1e-4 * np.linalg.norm(two), weight.path
