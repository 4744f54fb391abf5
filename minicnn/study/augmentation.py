"""What augmentation makes of an image, before a model trains on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.study.style import StudyFigure, grid, label_panel, show_image, styled

__all__ = ["augmentation_preview"]


@styled
def augmentation_preview(
    augment: Any, image: Any, *, count: int = 9, columns: int = 5, title: str | None = None
) -> StudyFigure:
    """An image, and `count` augmented versions of it.

    Args:
        augment: a layer or model with random layers (called with `training=True`), a list of
            such layers, or a function of one image (H, W, channels).
        image: (H, W, channels).
        style: "light" or "dark".
    """
    picture = np.asarray(image)
    figure, axes = grid(count + 1, columns, (1.5, 1.7), title)
    show_image(axes[0], picture)
    label_panel(axes[0], "original", accent=0)
    for axis, number in zip(axes[1:], range(1, count + 1)):
        changed = _augmented(augment, picture)
        if picture.dtype.kind in "ui":
            changed = np.rint(changed).clip(0, 255).astype(picture.dtype)
        show_image(axis, changed)
        label_panel(axis, str(number))
    return figure


def _augmented(augment: Any, picture: np.ndarray) -> np.ndarray:
    if isinstance(augment, (list, tuple)):
        for one in augment:
            picture = _augmented(one, picture)
        return picture
    if hasattr(augment, "get_config"):  # a layer or a model: batches, and random in training only
        return np.asarray(augment(picture[None].astype(np.float32), training=True))[0]
    return np.asarray(augment(picture))
