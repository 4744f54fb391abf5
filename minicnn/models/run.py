"""`Run`: a `fit` that is under way: its epochs, what stands around each step, and its backup."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minicnn import config
from minicnn.atomic import replacing
from minicnn.callbacks import BackupAndRestore, CallbackList
from minicnn.layers.rnn import carried_states
from minicnn.models.data_adapter import CountedIterator, set_state_of, state_of
from minicnn.models.data_checks import apply_class_weight, unpack
from minicnn.saving.weights_file import read_weights, weights_bytes

__all__ = ["Run", "Validation"]


class Validation:
    """What is evaluated after an epoch, and after which.

    Args:
        data: as `fit(validation_data=)` takes them, or None.
        batch_size, steps: as in `evaluate`.
        frequency: every so many epochs, or the numbers of the epochs, from 1.
    """

    def __init__(self, data: Any, batch_size: int | None, steps: int | None, frequency: int | list[int]) -> None:
        once = hasattr(data, "__next__") and not hasattr(data, "__getitem__")
        self.data = CountedIterator(data) if once else data
        self.batch_size, self.steps, self.frequency = batch_size, steps, frequency

    def is_due(self, epoch: int) -> bool:
        """Whether it is after this epoch, counted from 1."""
        if self.data is None:
            return False
        if isinstance(self.frequency, (int, np.integer)):
            return epoch % int(self.frequency) == 0
        if isinstance(self.frequency, (list, tuple, set)):
            return epoch in self.frequency
        raise ValueError(
            f"Expected `validation_freq` to be a list or int. Received: validation_freq={self.frequency} of the type "
            f"{type(self.frequency)}."
        )

    def logs(self, model: Any, hooks: CallbackList) -> dict[str, float]:
        """Loss and metrics, under names that begin with "val_"."""
        source = model._source(unpack(self.data), self.batch_size, False, self.steps)
        return {f"val_{name}": value for name, value in model._evaluate(source, hooks).items()}


class Run:
    """Where a `fit` stands: all that goes on from one batch to the next and is no variable of the model.

    Args:
        model: the model that is trained.
        source: of the batches.
        validation: of its data what they remember from one epoch to the next is kept.
        hooks: the callbacks; a `BackupAndRestore` among them gets this object, to save and load.

    Attributes:
        epoch: the epoch that is trained, or, between two of them, comes next.
        batch: how many batches of that epoch are done.
        logs: of the last epoch that ended.
        resumed: whether this goes on with an earlier run.
        over: whether that one was stopped: what is left is to end the epoch and the training.
    """

    def __init__(self, model: Any, source: Any, validation: Validation, hooks: CallbackList) -> None:
        self.model, self.source, self.validation, self.hooks = model, source, validation, hooks
        self.epoch = self.batch = 0
        self.logs: dict[str, float] = {}
        self.resumed = self.over = False
        model.stop_training = False
        source.resume(model._passes_done)
        for callback in hooks.callbacks:
            if isinstance(callback, BackupAndRestore):
                callback.run = self

    def batches(self, first: int, last: int, class_weight: dict[int, float] | None) -> Iterator[tuple[Any, Any, Any]]:
        """The batches of the epochs from `first` to `last`, `last` excluded; a resumed run has its own first one.

        What stands before and after a step, an epoch and the whole is done here, while a step is left to whom the
        batches are handed.
        """
        model, hooks = self.model, self.hooks
        hooks.on_train_begin()
        if self.resumed:  # `BackupAndRestore` found an earlier run
            first = last if self.over and not self.batch else self.epoch
        for epoch in range(first, last):
            model.reset_metrics()
            self.epoch, self.batch = epoch, 0
            hooks.on_epoch_begin(epoch)  # where a run that is resumed takes its place within the epoch
            begun = self.batch > 0
            left = () if self.over else self.source.epoch(self.batch)
            for index, (x, y, weights) in enumerate(left, self.batch):
                begun = True
                model._prepare(x, y)
                y = model._targets(y)
                if class_weight is not None:
                    weights = apply_class_weight(class_weight, y, weights, len(model._outputs[0].shape))
                hooks.on_train_batch_begin(index)
                yield x, y, weights
                del x, y, weights
                self.batch = index + 1
                hooks.on_train_batch_end(index, model._logs)  # computed only if a callback reads them
                if model.stop_training:
                    break
            hooks.end_batches()
            if not begun:
                if epoch == first and not self.resumed:
                    raise ValueError(
                        "Expected data with at least one batch. Received an empty dataset or an exhausted generator."
                    )
                break
            self._end_epoch(epoch)
            if model.stop_training:
                break
        model._passes_done += self.source.position > 0  # another `fit` does not go on in the middle of this one's data

    def _end_epoch(self, epoch: int) -> None:
        self.logs = self.model._logs()
        if self.validation.is_due(epoch + 1):
            self.logs = {**self.logs, **self.validation.logs(self.model, self.hooks)}
        self.model._passes_done = self.source.passes
        self.epoch, self.batch = epoch + 1, 0
        self.hooks.on_epoch_end(epoch, self.logs)

    def stop(self, error: Any) -> None:
        """After the step in which a NaN was found."""
        error.batch = self.batch
        self.model._compiled_loss.track(math.nan, [], 1)
        self.hooks.on_numerics_error(error)
        self.model.stop_training = True

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
            "validation": state_of(self.validation.data),
            "random": config.random_state(),
            "recurrent": [variable.numpy() for variable in carried_states(self.model)],
            "callbacks": self.hooks.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """The reverse of `get_state`."""
        self.epoch, self.batch, self.logs = state["epoch"], state["batch"], state["logs"]
        self.resumed, self.over = True, state["stopped"]
        self.model.stop_training = self.over
        self.model._set_running_means(state["means"])
        self.hooks.set_state(state["callbacks"])
        set_state_of(self.validation.data, state["validation"])  # which may draw random numbers once more
        config.set_random_state(state["random"])
        self.source.set_state(state["source"])
        for variable, value in zip(carried_states(self.model), state.get("recurrent", [])):
            variable.assign(value)
