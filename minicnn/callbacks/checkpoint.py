"""`ModelCheckpoint` and `BackupAndRestore`: the model saved to disk during training."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

import numpy as np

from minicnn.callbacks.base import Callback, Logs
from minicnn.callbacks.csv_logger import CSVLogger
from minicnn.callbacks.monitor import MonitorCallback
from minicnn.callbacks.progbar import print_message


class _BatchCounter:
    """Counts batches, across epochs, and tells when `frequency` of them have passed."""

    def __init__(self, frequency: int) -> None:
        self.frequency = frequency
        self._since = 0
        self._last: int | None = None

    def get_state(self) -> list[int | None]:
        return [self._since, self._last]

    def set_state(self, state: list[Any]) -> None:
        self._since, self._last = state

    def is_time(self, batch: int) -> bool:
        new_epoch = self._last is None or batch <= self._last
        self._since += batch + 1 if new_epoch else batch - (self._last or 0)
        self._last = batch
        if self._since < self.frequency:
            return False
        self._since = 0
        return True


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, after every epoch or some batches.

    A file appears whole or not at all, and an older one stays until then.

    Args:
        filepath: with names in braces filled in: "{epoch:02d}-{val_loss:.2f}.keras". Ends in
            ".keras", or in ".weights.h5" with `save_weights_only`; or in ".h5" or ".hdf5", as in older programs.
        monitor: name of the number that `save_best_only` watches.
        verbose: 1 prints what it does.
        save_best_only: save only when the number improved.
        save_weights_only: save the weights (and the optimizer's state), not the whole model.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or after how many batches.
        initial_value_threshold: the number to beat at first.
        period: older programs': save after every so many epochs.

    A model saved after epoch k goes on as if it had never stopped, but for the callbacks, which begin anew (use
    `BackupAndRestore` to resume those as well):
    `load_model(path).fit(..., initial_epoch=k)`.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.period = kwargs.pop("period", 1)
        if kwargs:
            raise TypeError(f"Unrecognized keyword arguments passed to ModelCheckpoint: {kwargs}")
        self.verbose = verbose
        self.filepath = os.fspath(filepath)
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._counter: _BatchCounter | None = None
        self._current_epoch = 0
        if isinstance(save_freq, int):
            self._counter = _BatchCounter(save_freq)
            # Instance attribute: a checkpoint after every epoch costs a batch nothing.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]
        elif save_freq != "epoch":
            raise ValueError(f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values")
        if save_weights_only and not self.filepath.endswith((".h5", ".hdf5")):
            raise ValueError(
                "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end in `.weights.h5` "
                f"(Keras weights format). Received: filepath={self.filepath}"
            )
        if not save_weights_only and not self.filepath.endswith((".keras", ".h5", ".hdf5")):
            raise ValueError(
                f"The filepath provided must end in `.keras` (Keras model format). Received: filepath={self.filepath}"
            )

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "counter": self._counter and self._counter.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if self._counter is not None and state["counter"] is not None:
            self._counter.set_state(state["counter"])

    def _after_batch(self, batch: int, logs: Logs = None) -> None:
        if self._counter is not None and self._counter.is_time(batch):
            self._save(self._current_epoch, batch, logs or {})

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._current_epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch" and (epoch + 1) % self.period == 0:
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> None:
        path = self._path(epoch, batch, logs)
        if self.save_best_only and not self._improved(epoch, logs, path):
            return
        if not self.save_best_only and self.verbose > 0:
            print_message(f"Epoch {epoch + 1}: saving model to {path}")
        if os.path.isdir(path):
            raise OSError(
                f"Please specify a non-directory filepath for ModelCheckpoint. Filepath used is an existing directory: {path}"
            )
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose > 0:
            print_message(f"Epoch {epoch + 1}: finished saving model to {path}")

    def _improved(self, epoch: int, logs: dict[str, Any], path: str) -> bool:
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(f"Can save best model only with {self.monitor} available.", stacklevel=3)
            return True
        if np.ndim(current) > 0:
            warnings.warn(
                f"Can save best model only when `monitor` is a scalar value. Received: {current}. "
                "Falling back to `save_best_only=False`.",
                stacklevel=3,
            )
            return True
        before = "None" if self.best is None else f"{self.best:.5f}"
        if not self._is_improvement(current, self.best):
            if self.verbose > 0:
                print_message(f"Epoch {epoch + 1}: {self.monitor} did not improve from {before}")
            return False
        if self.verbose > 0:
            print_message(f"Epoch {epoch + 1}: {self.monitor} improved from {before} to {current:.5f}, saving model to {path}")
        self.best = current
        return True

    def _path(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> str:
        fields = {"epoch": epoch + 1, **logs}
        if batch is not None:
            fields.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**fields)
        except KeyError as error:
            raise KeyError(f'Failed to format this callback filepath: "{self.filepath}". Reason: {error}') from None


class BackupAndRestore(Callback):
    """Lets a `fit` that was killed go on where it was when the same program is started again.

    One file takes in all that decides how training goes on: weights, optimizer, random generators (minicnn's, Python's
    and NumPy's global ones), the place in the data, the means of the running epoch, the history and what the other
    callbacks remember (`Callback.get_state`). The next `fit` with this callback takes it from there, and ends with the
    same bits and the same history as one that was never killed. A `fit` that ends in order removes the file.

    The data have to be the same again. Arrays and sequences go on at their place (a sequence that `on_epoch_end`
    changes needs `get_state` and `set_state`, as `ImageDataGenerator.flow` has them). A `Dataset` or a generator is
    read once more, up to the batch where training goes on: a `Dataset` from the beginning of the pass, a generator from
    its own. If that gives other batches than before, a warning says so.

    Args:
        backup_dir: where the file lies. Nothing else in it is touched; it is removed if it is empty in the end.
        save_freq: "epoch", or after how many batches.
        double_checkpoint: keep the backup before the last, and use it if the last cannot be read.
        delete_checkpoint: remove the file when `fit` ends in order.
    """

    runs_last = True
    run: Any = None  # the `fit` under way, which `fit` sets: it saves and loads like a model, and more than a model

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed")
        if save_freq != "epoch" and not isinstance(save_freq, int):
            raise ValueError(
                f"Invalid value for argument `save_freq`. Received: save_freq={save_freq}. "
                "Expected either 'epoch' or an integer value."
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._path = os.path.join(self.backup_dir, "latest.weights.h5")
        self._path_before = os.path.join(self.backup_dir, "previous.weights.h5")
        self._within_epoch = False
        self._counter: _BatchCounter | None = None
        if isinstance(save_freq, int) and save_freq:
            self._counter = _BatchCounter(save_freq)
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def get_state(self) -> dict[str, Any]:
        return {"counter": self._counter and self._counter.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        if self._counter is not None and state["counter"] is not None:
            self._counter.set_state(state["counter"])

    def on_train_begin(self, logs: Logs = None) -> None:
        if not self.model.built:
            raise ValueError(
                "To use the BackupAndRestore callback, your model must be built before you call `fit()`. "
                f"Model {self.model} is unbuilt. You can build it beforehand by calling it on a batch of data."
            )
        # A crash between two renames may leave only the older file.
        if not os.path.exists(self._path) and not os.path.exists(self._path_before):
            others = () if self.run is None else self.run.hooks.callbacks
            if any(isinstance(callback, CSVLogger) and callback.append for callback in others):
                self._save()  # where its rows begin has to be known before the first
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        try:
            self._load()
        except (OSError, ValueError):
            if not os.path.exists(self._path_before):
                raise
            os.replace(self._path_before, self._path)
            self._load()
        self._within_epoch = self.run is not None and self.run.batch > 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self._within_epoch:
            # What other callbacks have just done (set the learning rate, for example) they did before the kill, too.
            self._load()
            self._within_epoch = False

    def _load(self) -> None:
        (self.run or self.model).load_weights(self._path)

    def _after_batch(self, batch: int, logs: Logs = None) -> None:
        if self._counter is not None and self._counter.is_time(batch):
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save()

    def _save(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint and os.path.exists(self._path):
            os.replace(self._path, self._path_before)
        (self.run or self.model).save_weights(self._path)

    def on_train_end(self, logs: Logs = None) -> None:
        self.run = None
        if self.delete_checkpoint:
            for path in (self._path_before, self._path):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)
            with contextlib.suppress(OSError):  # files of the user's own lie there, or it is a link
                os.rmdir(self.backup_dir)
