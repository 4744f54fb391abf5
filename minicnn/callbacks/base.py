"""`Callback`: the hooks that training, evaluation and prediction call."""

from __future__ import annotations

from typing import Any

Logs = dict[str, Any] | None


class Callback:
    """Base of all callbacks: override the hooks you need; a hook that is not overridden costs nothing.

    Attributes:
        params: dict with "verbose", "epochs" and "steps" (None while their number is unknown).
        model: the model that is trained, evaluated or asked.

    `logs` holds the loss and the metrics so far, as floats; at the end of an epoch those of
    the validation too, as "val_loss" and so on. What one callback adds to the epoch's logs,
    later ones and the history see. Set `self.model.stop_training = True` to end training
    after the running batch's epoch.

    A callback that remembers something from one epoch or batch to the next names these attributes
    in its class, so that `BackupAndRestore` keeps them and a training that was killed goes on as if
    it had not been:

        class CountUp(Callback):
            state_attributes = ("seen",)

            def on_train_begin(self, logs=None):
                self.seen = 0  # then a training that is resumed puts its own number in this place

            def on_train_batch_end(self, batch, logs=None):
                self.seen += 1

    For more than attributes override `get_state` and `set_state`.
    """

    state_attributes: tuple[str, ...] = ()
    params: dict[str, Any] | None = None
    model: Any = None

    def __init__(self) -> None:
        self.params = None
        self.model = None

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the settings of the call that begins."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Take the model."""
        self.model = model

    def get_state(self) -> dict[str, Any]:
        """What is needed to continue training in another process: the `state_attributes`.

        Returns:
            A dict of plain data: numbers, strings, None, lists, dicts whose keys are strings, NumPy arrays of numbers.
        """
        return {name: getattr(self, name) for name in self.state_attributes}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned in the earlier process (tuples have become lists).

        Called after `on_train_begin`; and once more after `on_epoch_begin`, where training goes on within an epoch.
        """
        for name in self.state_attributes:
            setattr(self, name, state[name])

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Older name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before an epoch of training; `epoch` counts from 0, `logs` is empty."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training step; `batch` counts from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training step; `logs` is averaged over the epoch so far."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a batch of `evaluate`, or of the validation in `fit`."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a batch of `evaluate`, or of the validation in `fit`."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a batch of `predict`; `logs["outputs"]` holds its outputs."""

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch; `logs` is that epoch's."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before an evaluation or a validation."""

    def on_test_end(self, logs: Logs = None) -> None:
        """After an evaluation or a validation."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """After a prediction."""
