"""`History`: what `fit` returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.callbacks.base import Callback, Logs


class History(Callback):
    """Records the logs of every epoch; every `fit` has one and returns it.

    Attributes:
        history: name -> list of values, one an epoch: "loss", each metric, and with validation
            "val_loss" and so on.
        epoch: the epochs' numbers.
        params: of the `fit` call.
    """

    state_attributes = ("history", "epoch")

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def __repr__(self) -> str:
        """How many epochs, and each number at the last one."""
        if not self.history:
            return "<History: no epochs>"
        numbers = (f"{name} {float(values[-1]):.4g}" for name, values in self.history.items() if np.ndim(values[-1]) == 0)
        count = max(map(len, self.history.values()))
        return f"<History: {count} epoch{'s' * (count != 1)}, at the end {', '.join(numbers)}; all in .history>"

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
