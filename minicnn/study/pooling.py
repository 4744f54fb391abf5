"""What max pooling takes: the largest pixel of each window."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, shapes
from minicnn.backends import ops
from minicnn.backends.types import window_over
from minicnn.study.style import SEQUENTIAL, StudyFigure, color, styled

__all__ = ["max_pool_argmax"]

_MOST_NUMBERS = 12  # rows or columns of a map whose values are written into its pixels


@styled
def max_pool_argmax(
    feature_map: Any,
    pool_size: Any = 2,
    *,
    strides: Any = None,
    padding: str = "valid",
    channel: int = 0,
    title: str | None = None,
) -> StudyFigure:
    """A map before and after max pooling, with the largest pixel of each window marked: these alone get a gradient.

    Args:
        feature_map: (H, W), (H, W, channels) or (1, H, W, channels).
        pool_size: an int, or (height, width). strides: likewise; default `pool_size`.
        padding: "valid" or "same".
        channel: which one to draw.
        style: "light" or "dark".
    """
    maps = np.asarray(feature_map, np.float32)
    maps = maps[0] if maps.ndim == 4 else maps
    plane = maps if maps.ndim == 2 else maps[..., channel]
    size = shapes.pair(pool_size, "pool_size")
    window = window_over(plane.shape, size, size if strides is None else shapes.pair(strides, "strides"), padding)
    if min(window.output) < 1:
        raise ValueError(f"A window of {size} does not fit into a map of {plane.shape} with padding {padding!r}.")
    pooled, argmax = ops.maxpool2d_forward(backends.asarray(plane[None, :, :, None].copy()), window)
    pooled, argmax = (np.asarray(backends.to_numpy(array))[0, :, :, 0] for array in (pooled, argmax))
    # argmax = ky * KW + kx, in the window at (oy * SH - top, ox * SW - left)
    oy, ox = np.indices(argmax.shape)
    rows = oy * window.strides[0] - window.pads[0] + argmax // size[1]
    cols = ox * window.strides[1] - window.pads[2] + argmax % size[1]

    figure = StudyFigure(figsize=(8.6, 4.2), layout="constrained")
    if title:
        figure.suptitle(title)
    low, high = float(plane.min()), float(plane.max())
    for axis, values, name in zip(figure.subplots(1, 2), (plane, pooled), ("before", "after")):
        shown = axis.imshow(values, cmap=SEQUENTIAL, vmin=low, vmax=high)
        axis.set(title=f"{name}: {values.shape[0]}×{values.shape[1]}", xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if max(values.shape) <= _MOST_NUMBERS:
            for place in np.ndindex(*values.shape):
                bright = shown.norm(values[place]) > 0.55
                text = f"{values[place]:.2g}"
                axis.text(place[1], place[0], text, ha="center", va="center", fontsize=8, color="black" if bright else "white")
        if name == "before":
            size = 4200 / max(values.shape) ** 2 * 10
            axis.scatter(cols, rows, s=size, marker="s", facecolors="none", edgecolors=color(1), linewidths=1.8)
    figure.colorbar(shown, ax=figure.axes, shrink=0.8, label="value")
    return figure
