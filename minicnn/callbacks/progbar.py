"""`Progbar`: one line with the progress, speed and metrics; and messages that are printed above it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_REFRESH_SECONDS = 0.1

_drawn: Progbar | None = None  # the bar whose line is on the screen and not yet ended


def print_message(text: str) -> None:
    """Print a line to the standard output, above the bar where one is running."""
    if _drawn is not None:
        _drawn.erase()
    print(text, flush=True)


class Progbar:
    """A progress bar in Keras's manner.

        782/782 ━━━━━━━━━━━━━━━━━━━━ 12s 15ms/step - accuracy: 0.4512 - loss: 1.5123

    On a terminal or in a notebook the line is redrawn in place, at most once an `interval`.
    Any other output, a file or a pipe, gets one plain line when the bar ends.

    Args:
        target: how many steps there will be; None if unknown.
        width: of the bar, in characters.
        verbose: 0 prints nothing, 1 a bar, 2 one line at the end.
        interval: seconds between two drawings.
        stateful_metrics: names of the values to show as they are; the others are averaged over the steps.
        stateless_metrics: the other way round: names of the values to average. Give one of the two.
        unit_name: what a step is called.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = _REFRESH_SECONDS,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Only one of `stateful_metrics` or `stateless_metrics` can be provided.")
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self._stateful = set(stateful_metrics or ())
        self._stateless = None if stateless_metrics is None else set(stateless_metrics)
        self._sums: dict[str, tuple[Any, int]] = {}  # name -> sum over steps, steps
        self._seen = 0
        self._start = time.perf_counter()
        self._after_first_step: float | None = None
        self._next_drawing = -math.inf
        self._console: Console | None = None
        self._drawn_width = 0

    def is_due(self) -> bool:
        """Whether `update` would draw now: ask this first where it takes time to compute the values."""
        return self.verbose == 1 and time.perf_counter() >= self._next_drawing

    def update(self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None) -> None:
        """Record the state after step `current`, and draw it if it is time.

        Args:
            current: steps done.
            values: (name, value) pairs.
            finalize: whether this is the last call; default when `current` reaches the target.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._take_in(name, value, max(current - self._seen, 1), finalize)
        self._seen = current
        now = time.perf_counter()
        if current == 1 and self._after_first_step is None:
            self._after_first_step = now
        if self.verbose == 0 or not (finalize or (self.verbose == 1 and now >= self._next_drawing)):
            return
        self._next_drawing = now + self.interval
        if self._console is None:
            self._console = _open_console()
        if self.verbose == 1 and self._console.is_terminal:
            self._draw(now, finalize)
        elif finalize:
            print(self._plain_line(now), flush=True)

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """`update`, `n` steps on."""
        self.update(self._seen + n, values)

    def erase(self) -> None:
        """Take the unfinished line off the screen; the next drawing puts it back."""
        if self._drawn_width:
            self._write("\r" + " " * self._drawn_width + "\r")
            self._drawn_width = 0
            self._next_drawing = -math.inf

    def close(self) -> None:
        """End an unfinished line, as after Ctrl-C; what is printed next starts a new one."""
        global _drawn
        if self._drawn_width:
            self._write("\n")
            self._drawn_width = 0
        if _drawn is self:
            _drawn = None

    def _take_in(self, name: str, value: Any, steps: int, finalize: bool) -> None:
        averaged = name in self._stateless if self._stateless is not None else name not in self._stateful
        if not averaged or finalize:
            self._sums[name] = (value, 1)
        else:
            total, seen = self._sums.get(name, (0, 0))
            self._sums[name] = (total + value * steps, seen + steps)

    def _draw(self, now: float, finalize: bool) -> None:
        global _drawn
        assert self._console is not None
        line = self._styled_line(now, finalize)
        if not finalize:  # a line that wraps could not be redrawn
            line.truncate(self._console.width - 1, overflow="ellipsis")
        with self._console.capture() as written:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        # One write a drawing, so that nothing flickers; the rest of a longer line before it is blanked.
        self._write("\r" + written.get() + " " * (self._drawn_width - line.cell_len) + ("\n" if finalize else ""))
        self._drawn_width = 0 if finalize else line.cell_len
        _drawn = None if finalize else self

    def _write(self, text: str) -> None:
        assert self._console is not None
        self._console.file.write(text)
        self._console.file.flush()

    def _styled_line(self, now: float, finalize: bool) -> Text:
        from rich.text import Text

        assert self._console is not None
        if self.target:
            done = min(int(self.width * self._seen / self.target), self.width)
            block = "-" if self._console.options.ascii_only else "━"
            line = Text.assemble((self._count(), "bold"), " ", (block * done, "green"), (block * (self.width - done), "white"))
        else:
            line = Text(f"{self._seen:7d}/Unknown")
        if self.target and not finalize:
            seconds = self._seconds_a_step(now) * (self.target - self._seen)
        else:
            seconds = now - self._start
        line.append(" ").append(_clock(seconds), "bold").append(f" {self._pace(now)}")
        return line.append("".join(f" - {name}: {value}" for name, value in self._shown_values()))

    def _plain_line(self, now: float) -> str:
        parts = [self._count(), f"{now - self._start:.0f}s", self._pace(now)]
        return " - ".join(parts + [f"{name}: {value}" for name, value in self._shown_values()])

    def _count(self) -> str:
        return f"{self._seen:{len(str(self.target))}d}/{self.target}" if self.target else f"{self._seen}/Unknown"

    def _seconds_a_step(self, now: float) -> float:
        # The first step makes the plan and compiles kernels: it says little about those to come.
        if self._after_first_step is not None and self._seen > 1:
            return (now - self._after_first_step) / (self._seen - 1)
        return (now - self._start) / self._seen if self._seen else 0.0

    def _pace(self, now: float) -> str:
        seconds = self._seconds_a_step(now)
        if seconds >= 1 or seconds == 0:
            return f"{seconds:.0f}s/{self.unit_name}"
        if seconds >= 1e-3:
            return f"{seconds * 1e3:.0f}ms/{self.unit_name}"
        return f"{seconds * 1e6:.0f}us/{self.unit_name}"

    def _shown_values(self) -> list[tuple[str, str]]:
        shown = []
        for name, (total, steps) in self._sums.items():
            try:
                mean = float(np.mean(total)) / max(1, steps)
            except (TypeError, ValueError):  # no number: as it is
                shown.append((name, str(total)))
            else:
                shown.append((name, f"{mean:.4f}" if abs(mean) > 1e-3 else f"{mean:.4e}"))
        return shown


def _clock(seconds: float) -> str:
    """12s, 1:05 or 2:00:07."""
    whole = int(seconds)
    if whole > 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}" if whole > 60 else f"{whole}s"


def _open_console() -> Console:
    """The standard output as it is now, to be redrawn on where it is a terminal or a notebook."""
    from rich.console import Console

    notebook = type(sys.stdout).__module__.startswith("ipykernel")
    console = Console(file=sys.stdout, force_jupyter=False, force_terminal=True if notebook else None, highlight=False)
    if console.is_dumb_terminal:
        return Console(file=sys.stdout, force_jupyter=False, force_terminal=False, highlight=False)
    return console
