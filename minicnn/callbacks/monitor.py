"""`MonitorCallback`: is the number that a callback watches better than before?"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

from minicnn.callbacks.base import Callback


class MonitorCallback(Callback):
    """Base of the callbacks that watch one number of the logs.

    Args:
        monitor: its name in the logs.
        mode: "min" or "max", whether less or more is better; "auto" asks the metric.
        baseline: the best value to begin with; None takes the first.
        min_delta: a change of no more than this is no improvement.
    """

    state_attributes: tuple[str, ...] = ("best",)

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0
    ) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto mode.", stacklevel=3)
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Callable[[Any, Any], bool] | None = None

    def _set_monitor_op(self) -> None:
        """Find out whether less or more is better; possible once the model's metrics exist."""
        self.monitor_op = operator.gt if self._direction() == "max" else operator.lt

    def _direction(self) -> str:
        if self.mode != "auto":
            return self.mode
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return "min"
        for metric in getattr(self.model, "metrics", ()):
            # With several outputs the logs say "output_accuracy", and a second one is "accuracy_1".
            if re.fullmatch(rf"(.*_)?{re.escape(metric.name)}(_\d+)?", name):
                direction = getattr(metric, "_direction", None)
                if direction is not None:
                    return "max" if direction == "up" else "min"
        raise ValueError(
            f"{type(self).__name__} callback received monitor={self.monitor}, but it isn't able to automatically determine "
            "whether that metric should be maximized or minimized. Pass `mode='max'` in order to monitor based on the highest "
            "metric value, or pass `mode='min'` in order to use the lowest value."
        )

    def _is_improvement(self, value: Any, reference: Any) -> bool:
        if reference is None:
            return True
        if self.monitor_op is None:
            self._set_monitor_op()
        assert self.monitor_op is not None
        delta = -self.min_delta if self.monitor_op is operator.lt else self.min_delta
        return bool(self.monitor_op(value - delta, reference))
