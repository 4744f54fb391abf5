"""What max pooling kept: the pixel that won each window."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends, shapes
from minicnn.backends import ops
from minicnn.study.style import SEQUENTIAL, StudyFigure, color, styled

__all__ = ["max_pool_winners"]

_MOST_NUMBERS = 12  # rows or columns of a map whose values are written into its pixels


@styled
def max_pool_winners(
    feature_map: Any,
    pool_size: Any = 2,
    *,
    strides: Any = None,
    padding: str = "valid",
    channel: int = 0,
    title: str | None = None,
) -> StudyFigure:
    """A map before and after max pooling, with the winners marked: these pixels alone get a gradient.

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
    window = shapes.pair(pool_size, "pool_size")
    steps = window if strides is None else shapes.pair(strides, "strides")
    pads = shapes.resolve_padding(padding, plane.shape, window, steps)
    if min(shapes.window_output(plane.shape, window, steps, pads)) < 1:
        raise ValueError(f"A window of {window} does not fit into a map of {plane.shape} with padding {padding!r}.")
    pooled, winners = ops.maxpool2d_forward(backends.asarray(plane[None, :, :, None].copy()), window, steps, pads)
    pooled, winners = (np.asarray(backends.to_numpy(array))[0, :, :, 0] for array in (pooled, winners))
    # winner = ky * KW + kx, in the window at (oy * SH - top, ox * SW - left)
    oy, ox = np.indices(winners.shape)
    rows = oy * steps[0] - pads[0] + winners // window[1]
    cols = ox * steps[1] - pads[2] + winners % window[1]

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
