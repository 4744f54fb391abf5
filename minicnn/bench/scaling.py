"""How minicnn's time grows with the work: batch, pixels, channels, threads. In this process; no peers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn import backends, zoo
from minicnn.bench.report import exponent
from minicnn.layers import Conv2D, Dense, GlobalAveragePooling2D, Input
from minicnn.models import Sequential


def _step(model: Any, shape: tuple[int, ...], batch: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    x, y = rng.random((batch, *shape), np.float32), rng.integers(0, 10, batch)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return lambda: model.train_on_batch(x, y)


def _three_convolutions(size: int, channels: int) -> Any:
    """Work in proportion to size² and, but for the first layer and the last, to channels²."""
    layers = [Input((size, size, channels)), *(Conv2D(channels, 3, padding="same", activation="relu") for _ in range(3))]
    return Sequential([*layers, GlobalAveragePooling2D(), Dense(10, activation="softmax")])


def _seconds(steps: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The median over rounds of a step's seconds; the steps take turns, each for a tenth of a second."""
    for step in steps:
        step()
        step()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, own in zip(steps, times):
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < 0.1 or count < 2:
                step()
                count += 1
            own.append((time.perf_counter() - began) / count)
    return [statistics.median(own) for own in times]


def curves(threads: int, rounds: int = 5) -> dict[str, dict[str, Any]]:
    """{what grows: {"x": values, "seconds": of a training step, "exponent": the fitted one}}.

    "batch" grows `cifar_dropout`; "pixels" and "channels in × channels out" a stack of three 3×3 convolutions;
    "threads" (whose exponent is at best -1) `cifar_wide`.
    """
    backends.set_num_threads(threads)
    shape = (32, 32, 3)
    batches, sizes, channels = (16, 32, 64, 128, 256, 512), (8, 16, 32, 64, 128), (16, 32, 64, 128, 256)
    found = {
        "batch": (batches, [_step(zoo.cifar_dropout(), shape, batch) for batch in batches]),
        "pixels": ([s * s for s in sizes], [_step(_three_convolutions(s, 32), (s, s, 32), 16) for s in sizes]),
        "channels in × channels out": (
            [c * c for c in channels],
            [_step(_three_convolutions(16, c), (16, 16, c), 16) for c in channels],
        ),
    }
    result: dict[str, dict[str, Any]] = {}
    for name, (x, steps) in found.items():
        seconds = _seconds(steps, rounds)
        result[name] = {"x": list(x), "seconds": seconds, "exponent": exponent(x, seconds)}
    if threads > 1:
        wide, counts = _step(zoo.cifar_wide(), shape, 32), [2**i for i in range(threads.bit_length()) if 2**i <= threads]

        def with_threads(count: int) -> Callable[[], Any]:
            def step() -> None:
                backends.set_num_threads(count)
                wide()

            return step

        seconds = _seconds([with_threads(count) for count in counts], rounds)
        result["threads"] = {"x": counts, "seconds": seconds, "exponent": exponent(counts, seconds)}
        backends.set_num_threads(threads)
    return result
