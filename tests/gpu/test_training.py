"""`fit` on the GPU backend, on simulated kernels and a CUDA of paper: what it captures, reads and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minicnn
from minicnn import callbacks, layers, losses, optimizers
from minicnn.backends import cupy_gpu
from tests.gpu import paper
from tests.gpu.simulator import needs_compiler, simulated_device

pytestmark = needs_compiler

RNG = np.random.default_rng(8)
X = RNG.random((26, 6, 6, 3), np.float32)  # six batches of four, and one of two
Y = RNG.integers(0, 5, 26)


@pytest.fixture(autouse=True)
def _on_paper() -> Iterator[None]:
    with simulated_device():
        yield


def small_model() -> minicnn.Model:
    minicnn.set_random_seed(4)
    return minicnn.Sequential(
        [
            layers.Input(shape=(6, 6, 3)),
            layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2"),
            layers.MaxPooling2D(2),
            layers.Conv2D(6, 2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(5, activation="softmax", activity_regularizer="l1"),
        ]
    )


def trained(backend: str, compiled: dict[str, Any], **arguments: Any) -> minicnn.Model:
    """A small model after two epochs in batches of four."""
    minicnn.set_backend(backend)
    model = small_model()
    model.compile(**{"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled})
    model.fit(arguments.pop("x", X), arguments.pop("y", Y), batch_size=4, epochs=2, verbose=0, **arguments)
    return model


def state(model: minicnn.Model) -> list[np.ndarray]:
    """Weights, slots and history."""
    history = [np.array(values) for _, values in sorted(model.history.history.items())]
    return [*model.get_weights(), *(np.array(variable) for variable in model.optimizer.variables), *history]


class Halved(callbacks.Callback):
    """Half the learning rate after every third batch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch % 3 == 2:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2


# A large epsilon keeps Adam and RMSprop from blowing rounding errors up: they divide by the gradient's size.
CASES: dict[str, tuple[Any, dict[str, Any]]] = {  # what `compile` gets, what `fit` gets
    "adam": (lambda: {"optimizer": optimizers.Adam(0.01, epsilon=0.1, clipnorm=1.0)}, {}),
    "schedule": (lambda: {"optimizer": optimizers.SGD(optimizers.schedules.ExponentialDecay(0.2, 3, 0.5), 0.9)}, {}),
    "a rate set on the way": (lambda: {"optimizer": optimizers.AdamW(0.01, epsilon=0.1)}, {"callbacks": [Halved()]}),
    "weights": (
        lambda: {"optimizer": optimizers.RMSprop(0.01, epsilon=0.1), "weighted_metrics": ["accuracy"]},
        {"sample_weight": RNG.random(26)},
    ),
    "class weights": (lambda: {"optimizer": "sgd"}, {"class_weight": {1: 2.0, 3: 0.5}}),
    "pixels": (lambda: {"optimizer": "sgd"}, {"x": (X * 255).astype(np.uint8), "validation_split": 0.2}),
    "ignored labels": (
        lambda: {
            "optimizer": optimizers.SGD(0.05),
            "loss": losses.SparseCategoricalCrossentropy(ignore_class=2),
            "metrics": [],
        },
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_captured_fit_has_the_bits_of_the_written_one(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, arguments = CASES[case]
    graphs: list[cupy_gpu.StepGraph] = []

    def capture(step: Any, inputs: Any, warmup: int = 2) -> cupy_gpu.StepGraph:
        graphs.append(cupy_gpu.StepGraph(step, inputs, warmup))
        return graphs[-1]

    monkeypatch.setattr(cupy_gpu, "capture", capture)
    captured = trained("cupy", compiled(), **arguments)
    assert [graph.captured for graph in graphs] == [True]
    monkeypatch.setattr(cupy_gpu, "capture", lambda step, inputs: capture(step, inputs, warmup=100))
    written = trained("cupy", compiled(), **arguments)
    assert not graphs[-1].captured
    expected = trained("reference", compiled(), **arguments)
    for ours, again, theirs in zip(state(captured), state(written), state(expected), strict=True):
        np.testing.assert_array_equal(ours, again)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))


def test_a_replay_runs_no_python_and_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of reads, at the end of the epoch, and of steps as written, for six batches and for twelve."""
    minicnn.set_backend("cupy")
    counts = []
    for repeats in (1, 2):
        model = small_model()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        steps, train_step = [], model.train_step
        monkeypatch.setattr(model, "train_step", lambda *batch, step=train_step, steps=steps: steps.append(1) or step(*batch))
        paper.reads.clear()
        model.fit(np.tile(X[:24], (repeats, 1, 1, 1)), np.tile(Y[:24], repeats), batch_size=4, verbose=0)
        counts.append((len(steps), len(paper.reads)))
    assert counts[0] == counts[1]
    assert counts[0][0] == 3  # two as written, one captured
