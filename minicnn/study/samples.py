"""What is in a data set: some of its images with their names, and how many there are of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.study.labels import class_indices
from minicnn.study.style import StudyFigure, class_name, color, grid, label_panel, show_image, styled

__all__ = ["label_counts", "sample_grid"]


@styled
def sample_grid(
    images: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    *,
    count: int = 25,
    columns: int = 5,
    title: str | None = None,
) -> StudyFigure:
    """The first `count` images, each with the name of its class.

    Args:
        images: (N, H, W) or (N, H, W, channels), integers or floats.
        labels: (N,), (N, 1) or one-hot (N, classes); none by default.
        class_names: by index; numbers without.
        style: "light" or "dark".
    """
    count = min(count, len(images))
    if count < 1:
        raise ValueError(f"Nothing to draw: {len(images)} images, count={count}.")
    figure, axes = grid(count, columns, (1.5, 1.5 if labels is None else 1.75), title)
    names = None if labels is None else class_indices(labels[:count])
    for index, axis in enumerate(axes):
        show_image(axis, images[index])
        if names is not None:
            label_panel(axis, class_name(names[index], class_names))
    return figure


@styled
def label_counts(labels: Any, class_names: Sequence[str] | None = None, *, title: str | None = None) -> StudyFigure:
    """How many images each class has, as bars.

    Args:
        labels: as in `sample_grid`, or a dict of part -> labels, such as {"train": y_train, "test": y_test}.
        class_names: by index; numbers without.
        style: "light" or "dark".
    """
    parts = (
        {str(part): class_indices(y) for part, y in labels.items()}
        if isinstance(labels, Mapping)
        else {"": class_indices(labels)}
    )
    classes = len(class_names) if class_names is not None else 1 + max(int(y.max()) for y in parts.values())
    few = classes <= 25
    width = 0.8 / len(parts)
    figure = StudyFigure(figsize=(max(5.0, 0.55 * classes if few else 9.0), 3.6), layout="constrained")
    axis = figure.subplots()
    for index, (part, y) in enumerate(parts.items()):
        places = np.arange(classes) + width * (index - (len(parts) - 1) / 2)
        bars = axis.bar(places, np.bincount(y, minlength=classes), width, color=color(index), label=part)
        if few and len(parts) == 1:
            axis.bar_label(bars, fontsize=8, padding=2)
    if few:
        names = [class_name(index, class_names) for index in range(classes)]
        slanted = max(map(len, names)) > 5
        axis.set_xticks(range(classes), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")
    else:
        axis.set_xlabel("class")
    axis.set(ylabel="images", title=title or "")
    axis.grid(axis="y")
    axis.set_axisbelow(True)
    if len(parts) > 1:
        # Beside the bars: they may reach the top everywhere.
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
