"""`RunningMeans`: each run of a model has running means of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from minicnn.models.output_losses import OutputLosses
from minicnn.models.output_metrics import OutputMetrics

__all__ = ["RunningMeans"]


class _OfThread(threading.local):
    """The copies with which this thread runs the model, if any."""

    loss: OutputLosses | None = None
    metrics: OutputMetrics | None = None


class RunningMeans:
    """The losses and metrics that a model was compiled with, and the sums in them.

    A run (`fit`, `evaluate`, a single batch) adds to the model's own, which hold the metrics that the user made. A
    run that begins while another has these (in a callback, a signal handler, another thread) adds to copies.

    Attributes:
        loss, metrics: of the run that this thread is in; outside of any, the model's own. None before they are known.
    """

    def __init__(self, loss: OutputLosses | None = None, metrics: OutputMetrics | None = None) -> None:
        self._loss, self._metrics = loss, metrics
        self._holder: dict[str, object] = {}  # "run": the run that has the model's own
        self._copies = _OfThread()

    @property
    def loss(self) -> OutputLosses | None:
        return self._copies.loss or self._loss

    @loss.setter
    def loss(self, loss: OutputLosses | None) -> None:
        self._loss = loss

    @property
    def metrics(self) -> OutputMetrics | None:
        return self._copies.metrics or self._metrics

    @metrics.setter
    def metrics(self, metrics: OutputMetrics | None) -> None:
        self._metrics = metrics

    @contextlib.contextmanager
    def of_a_run(self) -> Iterator[None]:
        """Around a run: nobody else adds to what `loss` and `metrics` are in this thread until it ends.

        Raises:
            TypeError: for a metric that would have to be copied, and cannot be.
        """
        copies, run = self._copies, object()
        outer = copies.loss, copies.metrics
        try:
            # `setdefault` is one step, for other threads and for Ctrl-C: who comes second finds the first.
            mine = outer == (None, None) and self._holder.setdefault("run", run) is run
            if not mine and self._loss is not None and self._metrics is not None:
                copies.loss, copies.metrics = self._loss.with_own_means(), self._metrics.with_own_state()
            yield
        finally:
            copies.loss, copies.metrics = outer
            if self._holder.get("run") is run:
                del self._holder["run"]

    def __reduce__(self) -> tuple[type, tuple[OutputLosses | None, OutputMetrics | None]]:
        return RunningMeans, (self.loss, self.metrics)  # a copy of the model is in no run
