"""`ProgbarLogger`: training, evaluation and prediction as progress bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.callbacks.base import Callback, Logs
from minicnn.callbacks.progbar import Progbar, print_message


class ProgbarLogger(Callback):
    """Prints "Epoch 3/15" and a bar for every epoch; `fit` adds one unless `verbose=0`.

    Its batch hooks also take a function that returns the logs, and call it only when the bar
    is drawn, so that a step does not wait for its metrics.
    """

    takes_lazy_logs = True

    def __init__(self) -> None:
        super().__init__()
        self.verbose = 1
        self.epochs = 1
        self.target: int | None = None
        self.seen = 0
        self.progbar: Progbar | None = None
        self._in_fit = False

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def on_train_begin(self, logs: Logs = None) -> None:
        self._in_fit = True  # validation is silent

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self.verbose and self.epochs > 1:
            print_message(f"Epoch {epoch + 1}/{self.epochs}")
        self._start()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        if not self._in_fit:
            self._start()

    def on_test_end(self, logs: Logs = None) -> None:
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._start()

    def on_predict_end(self, logs: Logs = None) -> None:
        self._finish(None)

    def on_train_batch_end(self, batch: int, logs: Logs | Callable[[], Logs] = None) -> None:
        self._step(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | Callable[[], Logs] = None) -> None:
        if not self._in_fit:
            self._step(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | Callable[[], Logs] = None) -> None:
        self._step(batch, None)  # the logs are the outputs

    def close(self) -> None:
        """End the line of a bar that was interrupted."""
        if self.progbar is not None:
            self.progbar.close()

    def _start(self) -> None:
        self.seen = 0
        self.progbar = Progbar(self.target, verbose=self.verbose, stateless_metrics=())

    def _step(self, batch: int, logs: Logs | Callable[[], Logs]) -> None:
        self.seen = batch + 1
        if self.progbar is not None and self.progbar.is_due():
            plain = logs() if callable(logs) else logs
            self.progbar.update(self.seen, sorted((plain or {}).items()), finalize=False)

    def _finish(self, logs: Logs) -> None:
        if self.progbar is None:
            return
        if self.target is None:  # known from now on
            self.target = self.progbar.target = self.seen
        self.progbar.update(self.seen, (logs or {}).items(), finalize=True)
