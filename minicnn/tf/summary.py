"""TensorFlow's `tf.summary`: what a program writes for TensorBoard by itself. Needs the extra "tensorboard".

writer = tf.summary.create_file_writer("logs")
with writer.as_default():
    tf.summary.scalar("loss", 0.5, step=1)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import backends
from minicnn.callbacks.tensorboard import EventFile

__all__ = ["SUMMARY"]

_writers: list[SummaryWriter] = []  # those whose `with` blocks are open, the innermost last


class SummaryWriter:
    """A file of events in a folder.

    Raises:
        ImportError: if the package `tensorboard` is not installed.
    """

    def __init__(self, logdir: Any) -> None:
        self._file = EventFile(os.fspath(logdir))
        self.step: int | None = None

    @contextlib.contextmanager
    def as_default(self, step: Any = None) -> Iterator[SummaryWriter]:
        """Within the `with` block, summaries go to this file."""
        self.step = None if step is None else int(step)
        _writers.append(self)
        try:
            yield self
        finally:
            _writers.remove(self)
            self.flush()

    def set_as_default(self, step: Any = None) -> None:
        """From now on, summaries go to this file."""
        self.step = None if step is None else int(step)
        _writers.append(self)

    def flush(self) -> None:
        """Write what is not yet in the file."""
        self._file.flush()

    def close(self) -> None:
        """Write all, and close the file."""
        self._file.close()


def create_file_writer(
    logdir: Any, max_queue: Any = None, flush_millis: Any = None, filename_suffix: Any = None
) -> SummaryWriter:
    """A `SummaryWriter`; its file is made at once."""
    return SummaryWriter(logdir)


def _write(kind: str, name: str, data: Any, step: Any) -> bool:
    """Whether it was written: nothing is where no writer is the default one, as in TensorFlow."""
    if not _writers:
        return False
    step = _writers[-1].step if step is None else int(step)
    if step is None:
        raise ValueError(f"The summary {name!r} needs a `step`: give it one, or the writer's `as_default(step)`.")
    getattr(_writers[-1]._file, kind)(name, data, step)
    return True


def scalar(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Write a number."""
    return _write("scalar", name, float(np.asarray(backends.to_numpy(data))), step)


def histogram(name: str, data: Any, step: Any = None, buckets: Any = None, description: Any = None) -> bool:
    """Write how often numbers occur."""
    return _write("histogram", name, np.asarray(backends.to_numpy(data)), step)


def image(name: str, data: Any, step: Any = None, max_outputs: int = 3, description: Any = None) -> bool:
    """Write pictures (N, H, W, C), of floats from 0 to 1 or of uint8: at most three, and `max_outputs`."""
    pictures = np.asarray(backends.to_numpy(data))[:max_outputs]
    return _write("images", name, pictures / 255.0 if pictures.dtype == np.uint8 else pictures, step)


def text(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Write a text."""
    return _write("text", name, str(data), step)


def no_trace(*args: Any, **kwargs: Any) -> None:
    """Nothing: there is no graph of TensorFlow's to trace."""


SUMMARY = SimpleNamespace(
    SummaryWriter=SummaryWriter,
    create_file_writer=create_file_writer,
    histogram=histogram,
    image=image,
    scalar=scalar,
    text=text,
    trace_export=no_trace,
    trace_off=no_trace,
    trace_on=no_trace,
)
