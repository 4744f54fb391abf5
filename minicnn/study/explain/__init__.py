"""Open any number: one HTML file that shows where every number of a network came from, forward and backward.

`collect` runs one image through the model's plan and keeps every value and gradient; `describe` says what each step
computes; `encode` and `page` put both into a file, whose program is in the folder `page`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minicnn.study.explain.collect import MOST_WEIGHTS, collect
from minicnn.study.explain.page import MOST_BYTES, pack, render

__all__ = ["Explanation", "explain"]


class Explanation:
    """What `explain` returns: a page that opens from a disk, and within a notebook where it is a cell's last line.

    Attributes:
        title: of the page. record: its numbers, as JSON.
    """

    def __init__(self, title: str, record: str) -> None:
        self.title = title
        self.record = record

    @property
    def html(self) -> str:
        """The whole file."""
        return render(self.record, self.title)

    def save(self, path: Any) -> Path:
        """Write the page to a file; returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html, encoding="utf-8")
        return path

    def widget(self) -> Any:
        """The page as a widget of a notebook; its `hash` is the selection, to read and to set. Needs `anywidget`."""
        from minicnn.study.explain.widget import Explorer

        return Explorer(record=self.record)

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: 800px; border: 0"></iframe>'


def explain(
    model: Any, x: Any, y: Any = None, *, class_names: Sequence[str] | None = None, title: str | None = None
) -> Explanation:
    """A page on which every number of one image's way through a model can be opened.

    Forward, a number is shown as the sum it is; backward, its gradient as the sum over all that it went into; a weight's
    gradient as the sum over all places. Each sum is computed in the page, beside the engine's number. Values are those of
    inference: nothing is dropped out, and batch normalization uses its running means.

    Args:
        model: a built model; what `fit` joins and which kernels it runs is shown where it is compiled.
        x: one image as the model takes it, with or without a batch axis; of several inputs a list.
        y: the class's index, or the target as the loss takes it; of several outputs a list or a dict. None for the
            class that the model predicts; where there are no classes, gradients are those of the largest output.
        class_names: by index; numbers without.
        title: default the model's name.

    Raises:
        ValueError: if `x` or `y` do not fit the model, or the numbers would not fit into a page of 10 MB.

    Examples:
        >>> from minicnn.layers import Dense, Input
        >>> from minicnn.models import Sequential
        >>> page = explain(Sequential([Input(shape=(4,)), Dense(3, activation="softmax")]), [0.1, 0.2, 0.3, 0.4])
        >>> page.html.startswith("<!doctype html>")
        True
    """
    title = title or model.name
    for most_weights in (MOST_WEIGHTS, MOST_WEIGHTS // 8, 0):
        record = collect(model, x, y, most_weights)
        record["class_names"] = None if class_names is None else [str(name) for name in class_names]
        record["optimizer"] = type(model.optimizer).__name__ if model.optimizer is not None else None
        record["title"] = title
        packed = pack(record)
        if packed is not None:
            return Explanation(title, packed)
    raise ValueError(
        f"Model '{model.name}': the values and gradients of this image alone take more than the {MOST_BYTES:,} bytes of a "
        "page. Give it a smaller image."
    )
