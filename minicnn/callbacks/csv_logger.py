"""`CSVLogger`: the history as a file that grows with every epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from minicnn.atomic import naming, replacing
from minicnn.callbacks.base import Callback, Logs


class CSVLogger(Callback):
    """Writes a row an epoch: epoch, then the logs by name; "NA" where an epoch lacks one.

    Args:
        filename: e.g. "run/history.csv".
        separator: between the columns.
        append: add to a file that exists; its header stays.

    A training that `BackupAndRestore` resumes goes on behind its own rows; those of epochs that have to be run again
    are removed.
    """

    state_attributes = ("keys", "_begin", "_rows")

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.sep = separator
        self.filename = os.fspath(filename)
        self.append = append
        self.keys: list[str] | None = None
        self.csv_file: IO[str] | None = None
        self._append_header = True
        self._writer: csv.DictWriter[str] | None = None
        self._begin = 0  # bytes that stood in the file before
        self._rows = ""  # what this training wrote

    def on_train_begin(self, logs: Logs = None) -> None:
        self.close()
        self._open("a" if self.append else "w")
        self._end_the_last_row()
        self._begin, self._rows = os.path.getsize(self.filename), ""
        self._append_header = self._begin == 0
        self.keys = self._writer = None

    def _open(self, mode: str) -> None:
        with naming(self.filename):
            self.csv_file = open(self.filename, mode, newline="", encoding="utf-8")  # noqa: SIM115 - open until training ends

    def _end_the_last_row(self) -> None:
        """A training that was killed may have left half a row: the next one begins on a line of its own."""
        with naming(self.filename):
            size = os.path.getsize(self.filename)
            if size:
                with open(self.filename, "rb") as file:
                    file.seek(size - 1)
                    ended = file.read() in b"\r\n"
                if not ended:
                    self._add("\r\n")

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.close()
        rows = self._rows
        if os.path.isfile(self.filename):  # and no device
            with naming(self.filename), open(self.filename, "rb") as file:
                before = file.read(self._begin)
            with replacing(self.filename) as file:  # a kill between cutting and writing would lose rows that were there
                file.write(before + rows.encode())
            self._begin, rows = len(before), ""
        self._append_header = self._begin == 0
        self._open("a")
        self._add(rows)
        if self.keys is not None:
            self._writer = self._make_writer()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        assert self.csv_file is not None
        if self._writer is None:
            self.keys = sorted(logs)
            if not any(name.startswith("val_") for name in self.keys):
                # A later epoch may be the first with a validation.
                self.keys += [f"val_{name}" for name in self.keys]
            self._writer = self._make_writer()
            if self._append_header:
                self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **{name: _cell(logs.get(name, "NA")) for name in self.keys or ()}})

    def _make_writer(self) -> csv.DictWriter[str]:
        return csv.DictWriter(self, ["epoch", *(self.keys or ())], delimiter=self.sep)

    def write(self, row: str) -> None:
        """Add a row, also to what a backup keeps; the `csv` module's writer calls it."""
        self._add(row)
        self._rows += row

    def _add(self, text: str) -> None:
        assert self.csv_file is not None
        with naming(self.filename):
            self.csv_file.write(text)
            self.csv_file.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; also after an exception."""
        file, self.csv_file, self._writer = self.csv_file, None, None
        if file is not None:
            with naming(self.filename):
                file.close()


def _cell(value: Any) -> Any:
    if isinstance(value, Iterable) and not isinstance(value, str) and np.ndim(value) > 0:  # type: ignore[arg-type]
        return f'"[{", ".join(map(str, value))}]"'
    return value
