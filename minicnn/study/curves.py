"""Learning curves: how loss and metrics went over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicnn.study.style import StudyFigure, color, styled

__all__ = ["learning_curves"]


def _curves(history: Any) -> dict[str, list[float]]:
    """The dict of lists in a `History` callback, a dict or a pandas.DataFrame."""
    history = getattr(history, "history", history)
    return {str(name): [float(value) for value in history[name]] for name in history}


@styled
def learning_curves(histories: Any, metrics: Sequence[str] | None = None, title: str | None = None) -> StudyFigure:
    """One panel a metric, training solid and validation dashed.

    Args:
        histories: what `fit` returned, its `.history`, or a dict of label -> one of these, to compare runs.
        metrics: which to draw; default all, `learning_rate` left out.
        title: above the figure.
        style: "light" or "dark".

    Raises:
        ValueError: for a history without epochs, or a metric that it lacks.
    """
    compared = isinstance(histories, Mapping) and any(
        hasattr(h, "history") or isinstance(h, Mapping) for h in histories.values()
    )
    runs = {str(label): _curves(h) for label, h in histories.items()} if compared else {"": _curves(histories)}
    known = list(dict.fromkeys(name.removeprefix("val_") for run in runs.values() for name in run))
    if not any(run and len(next(iter(run.values()))) for run in runs.values()):
        raise ValueError("The history has no epochs: nothing to draw.")
    chosen = list(metrics) if metrics is not None else [name for name in known if name not in ("learning_rate", "lr")]
    missing = [name for name in chosen if name not in known]
    if missing:
        raise ValueError(f"The history has no metric {missing[0]!r}. It has: {', '.join(known)}.")

    figure = StudyFigure(figsize=(4.6 * len(chosen) + 0.2, 3.6), layout="constrained")
    if title:
        figure.suptitle(title)
    for axis, name in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen):
        for index, (label, run) in enumerate(runs.items()):
            for key, dash, part in ((name, "-", "training"), (f"val_{name}", "--", "validation")):
                if key not in run:
                    continue
                values = run[key]
                shade = color(index if compared else int(part == "validation"))
                marker = "o" if len(values) == 1 else None
                axis.plot(range(1, len(values) + 1), values, dash, color=shade, marker=marker, label=f"{label} {part}".strip())
        axis.set(title=name.replace("_", " "), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(axis="y")
        axis.legend(fontsize=9)
    return figure
