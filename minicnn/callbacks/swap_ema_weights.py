"""`SwapEMAWeights`: evaluate with the averaged weights, train with the others."""

from __future__ import annotations

from typing import Any

from minicnn.callbacks.base import Callback, Logs


class SwapEMAWeights(Callback):
    """Puts the optimizer's averages (`use_ema=True`) into the model for evaluation and prediction, and back afterwards.

    Args:
        swap_on_epoch: from the end of an epoch to the beginning of the next one as well, so that a `ModelCheckpoint`
            behind this callback saves the averages; after the last epoch they stay.
    """

    state_attributes = ("_swapped",)

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._swapped = False

    def _averaged(self) -> Any:
        """The optimizer that averages."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if not optimizer.use_ema:
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer. "
                f"Received: use_ema={optimizer.use_ema}"
            )
        return optimizer

    def _swap(self, averages_in_model: bool) -> None:
        if self._swapped == averages_in_model:
            return
        optimizer = self._averaged()
        for variable, average in zip(optimizer._trainable_variables, optimizer._averages):
            weight = variable.numpy()
            variable.assign(average)
            average.assign(weight)
        self._swapped = averages_in_model

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if not self.swap_on_epoch:
            return
        self._swap(True)
        if epoch == (self.params or {}).get("epochs", 0) - 1:  # the averages are the model now
            optimizer = self._averaged()
            for variable, average in zip(optimizer._trainable_variables, optimizer._averages):
                average.assign(variable)

    def on_test_begin(self, logs: Logs = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Logs = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Logs = None) -> None:
        self._swap(False)
