"""`EarlyStopping`: end training when it no longer helps."""

from __future__ import annotations

import warnings
from typing import Any

from minicnn.callbacks.base import Logs
from minicnn.callbacks.monitor import MonitorCallback
from minicnn.callbacks.progbar import print_message


class EarlyStopping(MonitorCallback):
    """Stops when the watched number has not improved for `patience` epochs.

    Args:
        monitor: name of the number in the logs.
        min_delta: a smaller change is no improvement.
        patience: epochs without improvement before stopping.
        verbose: 1 prints what it does.
        mode: "min", "max" or "auto".
        baseline: the number has to beat this too, or patience runs on.
        restore_best_weights: leave the model with the weights of its best epoch.
        start_from_epoch: epochs to let pass before watching.
    """

    state_attributes = ("best", "wait", "stopped_epoch", "best_weights", "best_epoch")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_weights: list[Any] | None = None
        self.best_epoch = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()  # one instance may serve several `fit` calls

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.monitor_op is None:
            self._set_monitor_op()
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            print_message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print_message(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs: Logs) -> Any:
        """The watched number, or None with a warning where the logs lack it."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {','.join(logs or {})}",
                stacklevel=2,
            )
        return value
