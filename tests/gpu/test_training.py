"""`fit` on the GPU backend, on simulated kernels and a CUDA of paper: what it captures, reads and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

import minicnn
from minicnn import callbacks, layers, losses, optimizers, zoo
from minicnn.backends import cupy_gpu
from minicnn.backends.cupy_gpu import compile
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
    "nadam": (lambda: {"optimizer": optimizers.Nadam(0.01, epsilon=0.1)}, {}),
    "adamax": (lambda: {"optimizer": optimizers.Adamax(0.01, epsilon=0.1)}, {}),
    "lamb": (lambda: {"optimizer": optimizers.Lamb(0.01, epsilon=0.1)}, {}),
    "adagrad": (lambda: {"optimizer": optimizers.Adagrad(0.01)}, {}),
    "adadelta": (lambda: {"optimizer": optimizers.Adadelta(0.5, epsilon=0.1)}, {}),
    "ftrl": (lambda: {"optimizer": optimizers.Ftrl(0.01)}, {}),
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


def check_captured_fit(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured, training ends with the bits that it has as written, and near those of the reference backend."""
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


@pytest.mark.parametrize("case", CASES)
def test_a_captured_fit_has_the_bits_of_the_written_one(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_captured_fit(case, monkeypatch)


@pytest.mark.parametrize("name", zoo.names())
def test_the_reference_models_are_captured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are trained; kernels that do nothing will do. A warning would be an error."""
    monkeypatch.setattr(compile, "_kernel", lambda *program: lambda grid, block, arguments: None)
    minicnn.set_backend("cupy")
    reference = zoo.get(name)
    shape = (32, 32, 3)[: len(reference.input_shape)]
    model = reference.build(input_shape=shape)
    of_pixels = len(model.output_shape) > 2  # an accuracy of these is computed on the host
    model.compile(reference.optimizer(), reference.loss, metrics=None if of_pixels else ["accuracy"])
    steps, train_step = [], model.train_step
    model.train_step = lambda *batch: steps.append(1) or train_step(*batch)
    labels = RNG.integers(0, 2, (12, *model.output_shape[1:-1]))
    model.fit(RNG.random((12, *shape), np.float32), labels, batch_size=2, verbose=0)
    assert len(steps) == 3


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


def test_a_step_that_cannot_be_captured_says_so_once_and_is_computed_all_the_same() -> None:
    """An average of the weights is taken or not by the number of the step, which Python would have to read."""

    def compiled() -> dict[str, Any]:
        return {"optimizer": optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)}

    with pytest.warns(UserWarning, match=r"cannot be captured .*, because of `_average` \(base\.py:\d+\)") as warned:
        written = trained("cupy", compiled())
    assert len(warned) == 1
    for ours, theirs in zip(state(written), state(trained("reference", compiled())), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))


def test_a_model_that_changes_during_training_is_captured_again() -> None:
    """A capture would go on with what was true when it was made."""

    class Recompile(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.get_layer(index=0).trainable = False
                self.model.optimizer.learning_rate = optimizers.schedules.PolynomialDecay(0.1, 4)
                self.model.compile(self.model.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])

    results = [
        state(trained(backend, {"optimizer": optimizers.SGD(0.05)}, callbacks=[Recompile()]))
        for backend in ("cupy", "reference")
    ]
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("label", [-1, 5])
def test_labels_are_looked_at_before_they_go_to_the_gpu(label: int) -> None:
    y = np.where(np.arange(26) == 20, label, Y)
    with pytest.raises(ValueError, match=rf"label value of {label} which is outside the valid range of \[0, 5\)"):
        trained("cupy", {"optimizer": "sgd"}, y=y, shuffle=False)


def test_data_on_the_gpu_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the order of the samples travels, once an epoch: nothing else is as large."""
    on_host = trained("cupy", {"optimizer": "sgd"})
    x, y = minicnn.backends.asarray(X), minicnn.backends.asarray(Y)
    copied: list[int] = []
    asarray = paper.namespace.asarray

    def watched(value: Any, *arguments: Any, **keywords: Any) -> Any:
        copied.append(value.size if isinstance(value, np.ndarray) else 0)
        return asarray(value, *arguments, **keywords)

    monkeypatch.setattr(paper.namespace, "asarray", watched)
    monkeypatch.setattr(paper.DeviceArray, "set", None)  # how batches of the host come
    on_device = trained("cupy", {"optimizer": "sgd"}, x=x, y=y)
    for ours, theirs in zip(state(on_device), state(on_host), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    weights = max(variable.size for variable in on_device.weights)
    assert [size for size in copied if size > weights] == []
    assert copied.count(len(X)) == 2


def test_out_of_memory_names_the_layer_and_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    minicnn.set_backend("cupy")
    model = small_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    empty = paper.namespace.empty

    def small_gpu(shape: tuple[int, ...], dtype: Any) -> Any:
        if np.prod(shape) > 3000:
            raise cupy_gpu.cupy.cuda.memory.OutOfMemoryError(int(np.prod(shape)) * 4, 0)
        return empty(shape, dtype)

    monkeypatch.setattr(paper.namespace, "empty", small_gpu)
    monkeypatch.setattr(cupy_gpu.cupy.cuda.runtime, "memGetInfo", lambda: (1000, 2000))
    name = model.layers[0].name
    with pytest.raises(
        MemoryError, match=rf"Layer '{name}[^']*', forward pass: The GPU has no room for an array of 12,800 bytes"
    ):
        model.fit(X[:25], Y[:25], batch_size=25, verbose=0)


def test_plans_join_epilogues_and_name_the_kernel() -> None:
    minicnn.set_backend("cupy")
    model = small_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    rows = model.plan()
    assert [row["op"] for row in rows if row["fused"]] == ["Conv2D+MaxPooling2D", "BatchNormalization+ReLU"]
    assert [row["kernel"] for row in rows if row["op"].startswith("Conv2D")] == ["implicit GEMM", "implicit GEMM"]


def test_weights_follow_the_backend_and_a_file_does_not_know_it(tmp_path: Path) -> None:
    """Saved on the GPU and loaded on a CPU, a model trains on as the one that moved there by itself."""
    model = trained("cupy", {"optimizer": optimizers.Adam(0.01)})
    assert all(isinstance(variable.value, paper.DeviceArray) for variable in (*model.weights, *model.optimizer.variables))
    there = model.predict(X, verbose=0)
    model.save(tmp_path / "there.keras")
    minicnn.set_backend("reference")
    assert all(isinstance(variable.value, np.ndarray) for variable in (*model.weights, *model.optimizer.variables))
    np.testing.assert_allclose(model.predict(X, verbose=0), there, rtol=0, atol=1e-6)
    model.save(tmp_path / "here.keras")
    configs = [ZipFile(tmp_path / name).read("config.json") for name in ("there.keras", "here.keras")]
    assert configs[0] == configs[1]
    loaded = minicnn.saving.load_model(tmp_path / "there.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=4, verbose=0, shuffle=False)
    for ours, theirs in zip(state(loaded)[:-2], state(model)[:-2], strict=True):  # but for the histories
        np.testing.assert_array_equal(ours, theirs)


def test_data_on_the_gpu_are_refused_by_a_backend_of_the_cpu() -> None:
    minicnn.set_backend("cupy")
    x = minicnn.backends.asarray(X)
    with pytest.raises(ValueError, match=r"Data for input '\w+' lie on a GPU, and the backend 'reference' computes on the CPU"):
        trained("reference", {"optimizer": "sgd"}, x=x)


def test_images_on_the_host_and_labels_on_the_gpu_go_together() -> None:
    minicnn.set_backend("cupy")
    y = minicnn.backends.asarray(Y)
    mixed, on_host = trained("cupy", {"optimizer": "sgd"}, y=y), trained("cupy", {"optimizer": "sgd"})
    for ours, theirs in zip(state(mixed), state(on_host), strict=True):
        np.testing.assert_array_equal(ours, theirs)
