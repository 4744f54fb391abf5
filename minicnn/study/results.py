"""How a trained model errs: the confusion matrix, and the images it was most wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.study.labels import class_indices, probabilities
from minicnn.study.style import SEQUENTIAL, StudyFigure, class_name, grid, label_panel, show_image, styled

__all__ = ["confusion_matrix", "mistakes_gallery"]

_MOST_WITH_NUMBERS = 25  # classes; numbers in smaller cells cannot be read


@styled
def confusion_matrix(
    y_true: Any, y_pred: Any, class_names: Sequence[str] | None = None, *, normalize: bool = False, title: str | None = None
) -> StudyFigure:
    """How often each true class (row) was taken for each predicted class (column).

    Args:
        y_true: class indices (N,) or (N, 1), or one-hot.
        y_pred: class indices, or what `predict` returned.
        class_names: by index; numbers without.
        normalize: shares of each row in per cent, in place of counts.
        style: "light" or "dark".
    """
    true, predicted = class_indices(y_true), class_indices(y_pred)
    if len(true) != len(predicted):
        raise ValueError(f"`y_true` and `y_pred` must have the same length. Received: {len(true)} and {len(predicted)}")
    classes = len(class_names) if class_names is not None else 1 + int(max(true.max(), predicted.max()))
    counts = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    small = classes <= _MOST_WITH_NUMBERS
    side = max(4.2, 0.56 * classes) if small else 8.5
    figure = StudyFigure(figsize=(side + 1.4, side + 0.6), layout="constrained")
    axis = figure.subplots()
    values = 100 * shares if normalize else counts
    shown = axis.imshow(values, cmap=SEQUENTIAL, vmin=0)
    figure.colorbar(shown, ax=axis, label="% of the true class" if normalize else "images", shrink=0.8)
    axis.set(xlabel="predicted", ylabel="true", title=title or "")
    axis.spines[:].set_visible(False)
    if small:
        names = [class_name(index, class_names) for index in range(classes)]
        slanted = max(map(len, names)) > 3
        axis.set_xticks(range(classes), names, rotation=40 if slanted else 0, ha="right" if slanted else "center")
        axis.set_yticks(range(classes), names)
        for row, column in zip(*np.nonzero(counts)):  # an empty cell says zero, and lets the mistakes stand out
            bright = values[row, column] > 0.55 * values.max()
            text = f"{values[row, column]:.0f}" if normalize else f"{counts[row, column]:d}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color="black" if bright else "white")
    return figure


@styled
def mistakes_gallery(
    images: Any,
    y_true: Any,
    y_pred: Any,
    class_names: Sequence[str] | None = None,
    *,
    count: int = 20,
    columns: int = 5,
    title: str | None = None,
) -> StudyFigure:
    """Wrongly classified images with their true and predicted names, the most confident mistakes first.

    Args:
        images: (N, H, W, channels).
        y_true: class indices (N,) or (N, 1), or one-hot.
        y_pred: what `predict` returned: probabilities (N, classes), or one sigmoid (N, 1).
        class_names: by index; numbers without.
        style: "light" or "dark".
    """
    true, rows = class_indices(y_true), probabilities(y_pred)
    if not len(images) == len(true) == len(rows):
        raise ValueError(
            f"`images`, `y_true` and `y_pred` must have the same length. Received: {len(images)}, {len(true)} and {len(rows)}"
        )
    predicted, confidence = rows.argmax(axis=1), rows.max(axis=1)
    wrong = np.flatnonzero(predicted != true)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    if len(wrong) == 0:
        figure, (axis,) = grid(1, 1, (5.0, 1.5), title)
        axis.text(0.5, 0.5, f"No mistakes in {len(true)} images", ha="center", va="center", transform=axis.transAxes)
        return figure
    labels = [
        f"{class_name(true[index], class_names)}\n"
        f"taken for {class_name(predicted[index], class_names)} ({100 * confidence[index]:.0f}%)"
        for index in wrong
    ]
    widest = max(len(line) for label in labels for line in label.splitlines())
    figure, axes = grid(len(wrong), columns, (max(1.75, 0.08 * widest), 2.1), title)  # a character is about 0.08 inches wide
    for axis, index, label in zip(axes, wrong, labels):
        show_image(axis, images[index])
        label_panel(axis, label)
    return figure
