"""What a convolution layer looks for: its kernels as pictures."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

from minicnn.layers import Conv2D
from minicnn.study.style import DIVERGING, StudyFigure, grid, label_panel, styled

__all__ = ["filters", "last_convolution", "named_layer"]


def named_layer(model: Any, layer: Any) -> Any:
    """A layer of `model`, by name; a layer itself comes back as it is.

    Raises:
        ValueError: for an unknown name, with the known ones.
    """
    if not isinstance(layer, str):
        return layer
    known = {held.name: held for held in model.layers}
    if layer not in known:
        raise ValueError(f"Model '{model.name}' has no layer {layer!r}. Its layers: {', '.join(known)}.")
    return known[layer]


def last_convolution(model: Any) -> Any:
    """The model's last `Conv2D`.

    Raises:
        ValueError: if it has none.
    """
    found = [layer for layer in model.layers if isinstance(layer, Conv2D)]
    if not found:
        raise ValueError(
            f"Model '{model.name}' has no Conv2D layer. Its layers: {', '.join(layer.name for layer in model.layers)}."
        )
    return found[-1]


@styled
def filters(
    model: Any, layer: Any = None, *, count: int | None = None, channels: int = 16, title: str | None = None
) -> StudyFigure:
    """The kernels of a convolution layer.

    On 3 input channels a kernel is a colour picture, grey where its weights are 0. Otherwise
    every row is a filter, every column an input channel, and one colour scale, zero in its
    middle, holds for the whole figure.

    Args:
        model: a built model, or a Conv2D layer.
        layer: the layer or its name; default the first Conv2D of the model.
        count: filters drawn at most; default 64, or 16 where each is a row.
        channels: input channels drawn at most, where they are drawn one by one.
        style: "light" or "dark".

    Raises:
        ValueError: if the layer is no Conv2D or is not built.
    """
    if isinstance(model, Conv2D):
        layer = model
    elif layer is None:
        layer = next((held for held in model.layers if isinstance(held, Conv2D)), None) or last_convolution(model)
    else:
        layer = named_layer(model, layer)
    if not isinstance(layer, Conv2D) or not layer.built:
        raise ValueError(f"Expected a built Conv2D layer. Received: {layer!r}")
    kernel = layer.kernel.numpy()  # (KH, KW, C_in, C_out)
    C_in, C_out = kernel.shape[2:]
    reach = float(np.abs(kernel).max()) or 1.0
    title = title or f"{layer.name}: {C_out} filters, {kernel.shape[0]}×{kernel.shape[1]}×{C_in}"
    filters_drawn = min(C_out, count or (64 if C_in in (1, 3) else 16))
    if C_in == 3:
        figure, axes = grid(filters_drawn, 8, (1.0, 1.2), title)
        for index, axis in enumerate(axes):
            axis.imshow(0.5 + 0.5 * kernel[..., index] / reach)
            label_panel(axis, str(index))
        return figure

    if C_in == 1:  # a row of filters, eight at a time
        columns = min(8, filters_drawn)
        rows = -(-filters_drawn // columns)
        tiles = [kernel[..., 0, index] for index in range(filters_drawn)]
    else:
        rows, columns = filters_drawn, min(channels, C_in)
        tiles = [kernel[:, :, channel, index] for index in range(rows) for channel in range(columns)]
    mosaic = _mosaic(tiles, rows, columns)
    figure = StudyFigure(figsize=(0.45 * columns + 2.2, 0.45 * rows + 1.0), layout="constrained")
    axis = figure.subplots()
    axis.set_facecolor(matplotlib.rcParams["grid.color"])  # the lines between the tiles
    shown = axis.imshow(mosaic, cmap=DIVERGING, vmin=-reach, vmax=reach)
    axis.spines[:].set_visible(False)
    KH, KW = kernel.shape[:2]
    if C_in == 1:
        axis.set(xticks=[], yticks=[])
    else:
        axis.set_xticks(np.arange(columns) * (KW + 1) + KW / 2 + 0.5, [str(index) for index in range(columns)], fontsize=8)
        axis.set_yticks(np.arange(rows) * (KH + 1) + KH / 2 + 0.5, [str(index) for index in range(rows)], fontsize=8)
        axis.set(xlabel="input channel", ylabel="filter")
        axis.tick_params(length=0)
    axis.set_title(title)
    figure.colorbar(shown, ax=axis, label="weight", shrink=0.8)
    return figure


def _mosaic(tiles: list[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """Tiles side by side, one pixel of NaN (drawn as background) around each."""
    KH, KW = tiles[0].shape
    mosaic = np.full((rows * (KH + 1) + 1, columns * (KW + 1) + 1), np.nan)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        mosaic[row * (KH + 1) + 1 :, column * (KW + 1) + 1 :][:KH, :KW] = tile
    return mosaic
