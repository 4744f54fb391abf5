"""`Run`: a `fit` that is under way, and its backup."""

from __future__ import annotations

from typing import Any

from minicnn import config
from minicnn.atomic import replacing
from minicnn.callbacks import BackupAndRestore, CallbackList
from minicnn.models.batches import set_state_of, state_of
from minicnn.saving.weights_file import read_weights, weights_bytes

__all__ = ["Run"]


class Run:
    """Where a `fit` stands: all that goes on from one batch to the next and is no variable of the model.

    Args:
        model: the model that is trained.
        source: of the batches.
        validation: the data of the validation, or None; of them what they remember from one to the next is kept.
        hooks: the callbacks; a `BackupAndRestore` among them gets this object, to save and load.

    Attributes:
        epoch: the epoch that is trained, or, between two of them, comes next.
        batch: how many batches of that epoch are done.
        logs: of the last epoch that ended.
        resumed: whether this goes on with an earlier run.
        over: whether that one was stopped: what is left is to end the epoch and the training.
    """

    def __init__(self, model: Any, source: Any, validation: Any, hooks: CallbackList) -> None:
        self.model, self.source, self.validation, self.hooks = model, source, validation, hooks
        self.epoch = self.batch = 0
        self.logs: dict[str, float] = {}
        self.resumed = self.over = False
        for callback in hooks.callbacks:
            if isinstance(callback, BackupAndRestore):
                callback.run = self

    def batches(self) -> Any:
        """What is left of the epoch."""
        return () if self.over else self.source.epoch(self.batch)

    def save_weights(self, path: str) -> None:
        """Write a backup: a `.weights.h5` file of the model, with this run's state in it."""
        with replacing(path) as file:
            file.write(weights_bytes(self.model, self.get_state()))

    def load_weights(self, path: str) -> None:
        """Go on with the run whose backup this is.

        Raises:
            ValueError: if the file is damaged, no backup, or that of another model, other data or other callbacks.
        """
        state = read_weights(self.model, path, path)
        if state is None:
            raise ValueError(f"{path} is no backup of a running `fit`: it holds weights only.")
        try:
            self.set_state(state)
        except (IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
            raise ValueError(f"{path} is the backup of a `fit` with other arguments: {error}") from error

    def get_state(self) -> dict[str, Any]:
        """Plain data and arrays; see `saving.state`."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "logs": self.logs,
            "stopped": self.model.stop_training,
            "means": self.model._running_means(),
            "source": self.source.get_state(),
            "validation": state_of(self.validation),
            "random": config.random_state(),
            "callbacks": self.hooks.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """The reverse of `get_state`."""
        self.epoch, self.batch, self.logs = state["epoch"], state["batch"], state["logs"]
        self.resumed, self.over = True, state["stopped"]
        self.model.stop_training = self.over
        self.model._set_running_means(state["means"])
        self.hooks.set_state(state["callbacks"])
        set_state_of(self.validation, state["validation"])  # which may draw random numbers once more
        config.set_random_state(state["random"])
        self.source.set_state(state["source"])
