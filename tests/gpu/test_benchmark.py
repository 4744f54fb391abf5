"""`benchmarks/gpu.py` on the paper GPU: minicnn's own engine, and the clock around it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minicnn
from minicnn import layers
from tests.gpu.simulator import needs_compiler, simulated_device

pytestmark = needs_compiler

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
RNG = np.random.default_rng(5)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "synchronize", lambda: None)
    with simulated_device():
        minicnn.set_backend("cupy")
        yield module


def build() -> Any:
    minicnn.set_random_seed(0)
    return minicnn.Sequential(
        [
            layers.Input((4, 4, 3)),
            layers.Conv2D(8, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def data(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in three colours, which are the classes."""
    labels = RNG.integers(0, 3, size)
    return (np.eye(3)[labels][:, None, None] + 0.1 * RNG.random((size, 4, 4, 3))).astype(np.float32), labels


@pytest.mark.parametrize("captured", [True, False])
def test_a_step_runs_as_written_only_where_it_is_not_captured(benchmark: ModuleType, captured: bool) -> None:
    engine = benchmark.Minicnn(build, captured)
    written, train_step = [], engine.model.train_step
    engine.model.train_step = lambda *batch: written.append(1) or train_step(*batch)
    step = benchmark.warmed_up(engine, *data(8))
    before = len(written)
    for _ in range(4):
        step()
    assert len(written) - before == (0 if captured else 4)


def test_the_clock_stops_at_the_accuracy(benchmark: ModuleType) -> None:
    train, test = data(42), data(12)
    reached = benchmark.time_to_accuracy(benchmark.Minicnn(build, captured=True), (train, test), 4, 0.9, 40)
    assert reached["seconds"] > 0
    assert reached["accuracies"][-1] >= 0.9 > max(reached["accuracies"][:-1], default=0)
    never = benchmark.time_to_accuracy(benchmark.Minicnn(build, captured=True), (train, test), 4, 1.1, 2)
    assert never["seconds"] is None
    assert len(never["accuracies"]) == 2
