"""`CSVLogger`: the history as a file that grows with every epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from minicnn.callbacks.base import Callback, Logs

__all__ = ["CSVLogger"]


class CSVLogger(Callback):
    """Writes a row an epoch: epoch, then the logs by name; "NA" where an epoch lacks one.

    Args:
        filename: e.g. "run/history.csv".
        separator: between the columns.
        append: add to a file that exists, as when training is resumed; its header stays.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.sep = separator
        self.filename = os.fspath(filename)
        self.append = append
        self.keys: list[str] | None = None
        self.csv_file: IO[str] | None = None
        self._append_header = True
        self._writer: csv.DictWriter[str] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._close()
        if self.append and os.path.exists(self.filename):
            self._append_header = os.path.getsize(self.filename) == 0
        mode = "a" if self.append else "w"
        self.csv_file = open(self.filename, mode, newline="", encoding="utf-8")  # noqa: SIM115 - open until training ends
        self.keys = self._writer = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        assert self.csv_file is not None
        if self._writer is None:
            self.keys = sorted(logs)
            if not any(name.startswith("val_") for name in self.keys):
                # A later epoch may be the first with a validation.
                self.keys += [f"val_{name}" for name in self.keys]
            self._writer = csv.DictWriter(self.csv_file, ["epoch", *self.keys], delimiter=self.sep)
            if self._append_header:
                self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **{name: _cell(logs.get(name, "NA")) for name in self.keys or ()}})
        self.csv_file.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self._close()

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = self._writer = None


def _cell(value: Any) -> Any:
    if isinstance(value, Iterable) and not isinstance(value, str) and np.ndim(value) > 0:  # type: ignore[arg-type]
        return f'"[{", ".join(map(str, value))}]"'
    return value
