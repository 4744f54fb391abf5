"""`CapturedStep`: a training step as one launch, where the backend computes on a device."""

from __future__ import annotations

import functools
from typing import Any

from minicnn import backends

__all__ = ["CapturedStep"]


class CapturedStep:
    """`train_step`, run as written a few times, then captured, then replayed: see the GPU backend's `StepGraph`.

    A replay repeats kernels, and no line of Python. So what differs from step to step comes in as an array: the
    batch, which may lie on the host still, and the learning rate where a schedule says it. All else that a step
    reads or changes (weights, slots, statistics, keys, counters, means) lies on the device already.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._captured_for: tuple[Any, ...] = ()  # plan, optimizer, rate, means: with another one, the step is another
        self._graph: Any = None
        self._iteration = 0  # counted on the host too, where reading the optimizer's would wait for the device

    def __call__(self, x: list[Any], y: list[Any] | None, sample_weight: list[Any] | None = None) -> None:
        """One step on a batch. Does not wait for it."""
        optimizer = self._model.optimizer
        parts = (self._model._plan_for("train"), optimizer, optimizer._learning_rate, self._model._means.loss)
        changed = [id(part) for part in parts] != [id(part) for part in self._captured_for]
        if changed:
            self._iteration = int(optimizer._iterations)
        rate = optimizer.scheduled_rate(self._iteration)
        inputs = [*x, *(y or ()), *(sample_weight or ()), *(() if rate is None else (rate,))]
        if changed:
            step = functools.partial(self._run, len(x), len(y or ()), rate is not None)
            self._graph, self._captured_for = backends.backend_module().capture(step, inputs), parts
        self._graph.replay(inputs)
        self._iteration += 1

    def _run(self, inputs: int, outputs: int, scheduled: bool, *arrays: Any) -> None:
        """The step as written, on arrays of the device."""
        x, y, rest = arrays[:inputs], arrays[inputs : inputs + outputs], arrays[inputs + outputs :]
        weights, rate = (rest[:-1], rest[-1]) if scheduled else (rest, None)
        with self._model.optimizer.at_rate(rate):
            self._model.train_step(list(x), list(y) or None, list(weights) or None)
