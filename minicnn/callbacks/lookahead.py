"""`Lookahead`: slow weights that follow the trained ones, and pull them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import backends
from minicnn.backends import ops
from minicnn.callbacks.base import Callback, Logs


class Lookahead(Callback):
    """Every `sync_period` steps the slow weights go towards the trained ones, which then go on from there.

        slow = slow + slow_step_size * (weights - slow);  weights = slow

    After training the model has the slow weights. They are all of the model's, statistics of normalizations included.

    Args:
        sync_period: steps from one to the next.
        slow_step_size: in [0, 1]; or a function of the number of steps done that returns it: airbench's schedule is
            `lambda step: 1 - 0.95**5 * (step / total_steps) ** 3`.

    The arguments' names are TensorFlow Addons'. Source: Zhang et al. 2019, arXiv:1907.08610; the schedule, and statistics
    among the weights: Jordan 2024, arXiv:2404.00498.
    """

    def __init__(self, sync_period: int = 6, slow_step_size: float | Callable[[int], float] = 0.5) -> None:
        super().__init__()
        if isinstance(sync_period, bool) or not isinstance(sync_period, (int, np.integer)) or sync_period < 1:
            raise ValueError(f"`sync_period` must be a positive integer. Received: sync_period={sync_period}")
        if not callable(slow_step_size) and not 0 <= slow_step_size <= 1:
            raise ValueError(f"`slow_step_size` must be in [0, 1], or a function. Received: slow_step_size={slow_step_size}")
        self.sync_period = int(sync_period)
        self.slow_step_size = slow_step_size
        self._slow: list[Any] | None = None
        self._step = 0

    def _weights(self) -> list[Any]:
        """The arrays of the model's weights, which are floats."""
        return [variable.value for variable in self.model.weights if variable.dtype.startswith("float")]

    def get_state(self) -> dict[str, Any]:
        return {"step": self._step, "slow": [backends.to_numpy(array) for array in self._slow or ()]}

    def set_state(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        self._slow = [backends.asarray(array.copy()) for array in state["slow"]] or None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._slow, self._step = None, 0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._slow is None:  # here, and not before: a model may get its weights with the first batch
            self._slow = [array.copy() for array in self._weights()]

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._step += 1
        if self._step % self.sync_period == 0 and self._slow is not None:
            size = self.slow_step_size(self._step) if callable(self.slow_step_size) else self.slow_step_size
            ops.exponential_average_(self._slow, self._weights(), 1 - float(size))
            self._write_slow()

    def on_train_end(self, logs: Logs = None) -> None:
        self._write_slow()
        self._slow = None

    def _write_slow(self) -> None:
        for weight, slow in zip(self._weights(), self._slow or ()):
            weight[...] = slow
