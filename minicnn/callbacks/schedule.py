"""`ReduceLROnPlateau` and `LearningRateScheduler`: the learning rate, epoch by epoch."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.callbacks.base import Callback, Logs
from minicnn.callbacks.monitor import MonitorCallback
from minicnn.callbacks.progbar import print_message


def optimizers_by_rate(optimizer: Any) -> dict[str, Any]:
    """The optimizers that have a learning rate, each under the name of its rate in the logs: those in a `MultiOptimizer`."""
    if hasattr(optimizer, "optimizers"):
        return {f"learning_rate_{one.name}": one for one in optimizer.optimizers}
    return {"learning_rate": optimizer}


def rates_of(optimizer: Any) -> dict[str, float]:
    """The learning rates, by their names in the logs."""
    return {name: float(one.learning_rate) for name, one in optimizers_by_rate(optimizer).items()}


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when the watched number has not improved for `patience` epochs.

    The history then has a "learning_rate": the one the epoch was trained with. (Of a `MultiOptimizer`, "learning_rate_" and
    the name of each of its optimizers.)

    Args:
        monitor: name of the number in the logs.
        factor: below 1.
        patience: epochs without improvement before it acts.
        verbose: 1 prints what it does.
        mode: "min", "max" or "auto".
        min_delta: a smaller change is no improvement.
        cooldown: epochs to wait after it acted.
        min_lr: the learning rate goes no lower.
        epsilon: the older name of `min_delta`.
    """

    state_attributes = ("best", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(monitor, mode, min_delta=kwargs.pop("epsilon", min_delta))
        if kwargs:
            raise TypeError(f"Unrecognized keyword arguments passed to ReduceLROnPlateau: {kwargs}")
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.monitor_op is None:
            self._set_monitor_op()
        logs = {} if logs is None else logs
        logs.update(rates_of(self.model.optimizer))
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {','.join(logs)}.",
                stacklevel=2,
            )
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                reduced = [self._reduce(*item, epoch) for item in optimizers_by_rate(self.model.optimizer).items()]
                if any(reduced):
                    self.cooldown_counter = self.cooldown
                    self.wait = 0

    def _reduce(self, name: str, optimizer: Any, epoch: int) -> bool:
        rate = float(optimizer.learning_rate)
        if rate <= np.float32(self.min_lr):
            return False
        rate = max(rate * self.factor, self.min_lr)
        optimizer.learning_rate = rate
        if self.verbose > 0:
            print_message(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing {_said(name, optimizer)} to {rate}.")
        return True

    def in_cooldown(self) -> bool:
        """Whether it acted less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of every epoch.

    Args:
        schedule: function of the epoch (from 0) and, if it takes two arguments, the present
            learning rate; returns the new one, a float.
        verbose: 1 prints it.
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        for name, optimizer in optimizers_by_rate(self.model.optimizer).items():
            self._schedule(name, optimizer, epoch)

    def _schedule(self, name: str, optimizer: Any, epoch: int) -> None:
        if not hasattr(optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        arguments: tuple[Any, ...] = (epoch, float(optimizer.learning_rate))
        rate = self.schedule(*arguments[: _positional_arguments(self.schedule)])
        if not isinstance(rate, (float, np.floating)) and not (isinstance(rate, np.ndarray) and rate.ndim == 0):
            raise ValueError(f"The output of the `schedule` function should be a float. Got: {rate}")
        optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            print_message(f"Epoch {epoch + 1}: LearningRateScheduler setting {_said(name, optimizer)} to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            logs.update(rates_of(self.model.optimizer))


def _said(name: str, optimizer: Any) -> str:
    """How messages call a rate."""
    return "learning rate" if name == "learning_rate" else f"{optimizer.name} learning rate"


def _positional_arguments(function: Callable[..., Any]) -> int:
    """1 for the older `schedule(epoch)`, 2 for `schedule(epoch, lr)`."""
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return 1
    except ValueError:  # a builtin that does not tell
        pass
    return 2
