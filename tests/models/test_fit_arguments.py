"""Every argument of `fit`, held to Keras: one table of cases, each run here and there from the same weights."""

from __future__ import annotations

import contextlib
import warnings

import keras
import numpy as np
import pytest

import minicnn

RNG = np.random.default_rng(23)
SAMPLES, HELD_OUT, BATCH = 45, 23, 7  # neither number of samples is a multiple of a batch
X, X_VAL = RNG.random((SAMPLES, 6), np.float32), RNG.random((HELD_OUT, 6), np.float32)
Y, Y_VAL = RNG.integers(0, 3, SAMPLES), RNG.integers(0, 3, HELD_OUT)
HOT = np.eye(3, dtype=np.float32)
WEIGHT, WEIGHT_VAL = RNG.random(SAMPLES, np.float32) * 2, RNG.random(HELD_OUT, np.float32) * 2
RUNS_OUT = "Your input ran out of data"


def in_batches(*arrays, size=BATCH):
    """Batches of arrays, as somebody else makes them."""
    return [tuple(array[i : i + size] for array in arrays) for i in range(0, len(arrays[0]), size)]


def sequence(k, *arrays):
    """The batches as a `PyDataset` of Keras's, and as what has its methods here."""

    class Batches(k.utils.PyDataset if k is keras else object):
        batches = in_batches(*arrays)

        def __len__(self):
            return len(self.batches)

        def __getitem__(self, index):
            return self.batches[index]

        def on_epoch_end(self):
            pass

    return Batches()


def dataset(k, *arrays):
    import tensorflow as tf

    data = minicnn.data.Dataset if k is minicnn else tf.data.Dataset
    return data.from_tensor_slices(arrays).batch(BATCH)


def forever(*arrays):
    """A generator that never ends, with batches of its own size."""
    while True:
        yield from in_batches(*arrays)


class Case:
    """Arguments of `fit`: the same for both, or made for one of them by a function of its module."""

    def __init__(self, *, loss="sparse_categorical_crossentropy", warns=None, compile=None, **arguments):
        self.loss, self.warns, self.compile = loss, warns, compile or {}
        self.arguments = {"x": X, "y": Y, "batch_size": BATCH, "epochs": 3, "shuffle": False, **arguments}

    def run(self, k, model):
        model.compile(k.optimizers.SGD(0.5), self.loss, **{"metrics": ["accuracy"], **self.compile})
        arguments = {name: value(k) if callable(value) else value for name, value in self.arguments.items()}
        arguments = {name: value for name, value in arguments.items() if value is not None}
        expected = pytest.warns(UserWarning, match=self.warns) if self.warns else contextlib.nullcontext()
        with warnings.catch_warnings(), expected:
            if k is keras:
                warnings.filterwarnings("ignore", "`shuffle=True` was passed|Gap between", UserWarning)
            return model.fit(verbose=0, **arguments)


OTHERS = {"y": None, "batch_size": None, "shuffle": None}  # batches that others make bring all this
CASES = {
    "steps below the batches there are": Case(steps_per_epoch=3, epochs=5, warns=RUNS_OUT),
    "steps that divide the batches": Case(batch_size=5, steps_per_epoch=3, epochs=5),
    "steps beyond the batches there are": Case(steps_per_epoch=9, warns=RUNS_OUT),
    "steps without a batch size": Case(batch_size=None, steps_per_epoch=4),
    "a Dataset with steps": Case(x=lambda k: dataset(k, X, Y), steps_per_epoch=3, epochs=5, warns=RUNS_OUT, **OTHERS),
    "a Dataset repeated, with steps": Case(x=lambda k: dataset(k, X, Y).repeat(), steps_per_epoch=4, **OTHERS),
    "a generator with steps": Case(x=lambda k: forever(X, Y), steps_per_epoch=4, **OTHERS),
    "a sequence with steps": Case(
        x=lambda k: sequence(k, X, Y), steps_per_epoch=3, epochs=5, warns=RUNS_OUT, **OTHERS | {"shuffle": False}
    ),
}


def network(k):
    return k.Sequential([k.Input((6,)), k.layers.Dense(5, activation="tanh"), k.layers.Dense(3, activation="softmax")])


def twins(build=network):
    """Our model and Keras's with our weights."""
    minicnn.set_random_seed(3)
    ours, theirs = build(minicnn), build(keras)
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def assert_same_run(ours, theirs, history, expected):
    """The same numbers in every epoch, and the same weights after the last."""
    assert history.epoch == expected.epoch
    assert list(history.history) == list(expected.history)
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-4, atol=2e-6, err_msg=mine.path)


@pytest.mark.parametrize("name", CASES)
def test_fit_is_keras(name):
    ours, theirs = twins()
    assert_same_run(ours, theirs, *(CASES[name].run(k, model) for k, model in ((minicnn, ours), (keras, theirs))))
