"""What a convolution layer looks for: its kernels as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.layers import Conv2D
from minicnn.study.style import DIVERGING, StudyFigure, styled

__all__ = ["convolution_of", "draw_kernel", "filters", "has_convolution", "last_convolution", "named_layer"]

_TILE = 0.45  # inches that a kernel of one channel is wide
_ACROSS = 16  # filters side by side
_CHANNEL_NAMES = {1: ("",), 3: ("red", "green", "blue")}  # of images


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


def _is_convolution(layer: Any) -> bool:
    """Whether it is a convolution of images, not of signals."""
    return isinstance(layer, Conv2D) and layer.rank == 2


def has_convolution(model: Any) -> bool:
    """Whether the model has a convolution of images among its layers."""
    return any(_is_convolution(layer) for layer in model.layers)


def last_convolution(model: Any) -> Any:
    """The model's last `Conv2D`.

    Raises:
        ValueError: if it has none.
    """
    found = [layer for layer in model.layers if _is_convolution(layer)]
    if not found:
        raise ValueError(
            f"Model '{model.name}' has no Conv2D layer. Its layers: {', '.join(layer.name for layer in model.layers)}."
        )
    return found[-1]


def convolution_of(model: Any, layer: Any = None) -> Any:
    """A built convolution: `model` if it is one itself, else the layer of that name, else the model's first.

    Raises:
        ValueError: if the layer is no Conv2D or is not built.
    """
    if _is_convolution(model):
        layer = model
    elif layer is None:
        layer = next((held for held in model.layers if _is_convolution(held)), None) or last_convolution(model)
    else:
        layer = named_layer(model, layer)
    if not _is_convolution(layer) or not layer.built:
        raise ValueError(f"Expected a built Conv2D layer. Received: {layer!r}")
    return layer


@styled
def filters(
    model: Any, layer: Any = None, *, count: int | None = None, channels: int = 16, title: str | None = None
) -> StudyFigure:
    """The kernels of a convolution layer: purple where a weight is negative, white at 0, orange where it is positive.

    One scale holds for the whole figure; weights beyond its ends (one in a hundred) have the colour of the end. Of
    images (1 or 3 input channels) a column is a filter, a row an input channel. Of maps a row is a filter, a column
    an input channel.

    Args:
        model: a built model, or a Conv2D layer.
        layer: the layer or its name; default the first Conv2D of the model.
        count: filters drawn at most; default 64, or 16 where each is a row.
        channels: input channels drawn at most, where each is a column.
        style: "light" or "dark".

    Raises:
        ValueError: if the layer is no Conv2D or is not built.
    """
    layer = convolution_of(model, layer)
    kernel = layer.kernel.numpy()  # (KH, KW, C_in, C_out)
    figure, _ = draw_kernel(kernel, np.abs(kernel), layer.name, count, channels, title)
    return figure


def draw_kernel(
    kernel: np.ndarray, sizes: np.ndarray, name: str, count: int | None, channels: int, title: str | None
) -> tuple[StudyFigure, list[tuple[Any, int, int]]]:
    """`filters` of a kernel (KH, KW, C_in, C_out), on a scale for weights as large as `sizes`.

    Returns:
        The figure, and for each picture in it the input channel and the filter that it shows.
    """
    KH, KW, C_in, C_out = kernel.shape
    of_images = C_in in _CHANNEL_NAMES
    drawn = min(C_out, count or (64 if of_images else 16))
    if of_images:
        across, bands = min(_ACROSS, drawn), [range(i, min(i + _ACROSS, drawn)) for i in range(0, drawn, _ACROSS)]
        rows: list[tuple[str, list[int], list[int]]] = []  # its name, its filters, its input channels
        for band in bands:
            rows += [(name, list(band), [channel] * len(band)) for channel, name in enumerate(_CHANNEL_NAMES[C_in])]
        gap = 1.6  # between bands, in tiles: room for the numbers of the filters
    else:
        across = min(channels, C_in)
        bands, gap = [range(drawn)], 0.0
        rows = [(str(index), [index] * across, list(range(across))) for index in range(drawn)]
    shown_of = f"{drawn} filters" if drawn == C_out else f"{drawn} of {C_out} filters"
    size = f"{KH}×{KW}×{C_in}" if of_images or across == C_in else f"{KH}×{KW}, {across} of {C_in} input channels"
    title = title or f"{name}: {shown_of} of {size}"

    height = len(rows) + gap * (len(bands) - 1)
    figure = StudyFigure(figsize=(_TILE * across + 2.4, _TILE * height + 1.2), layout="constrained")
    axis = figure.subplots()
    reach = float(np.percentile(sizes, 99)) or 1.0
    pictures: list[tuple[Any, int, int]] = []
    top = 0.0
    for number, (label, row_filters, row_channels) in enumerate(rows):
        if of_images and number and number % C_in == 0:
            top += gap
        for left, (index, channel) in enumerate(zip(row_filters, row_channels)):
            picture = axis.imshow(
                kernel[:, :, channel, index], cmap=DIVERGING, vmin=-reach, vmax=reach,
                extent=(left + 0.05, left + 0.95, top + 0.95, top + 0.05),
            )  # fmt: skip
            pictures.append((picture, channel, index))
            if number % C_in == 0 if of_images else number == 0:
                heading = str(index) if of_images else str(channel)
                axis.text(left + 0.5, top - 0.05, heading, ha="center", va="bottom", fontsize=8)
        if label:
            axis.text(-0.15, top + 0.5, label, ha="right", va="center", fontsize=8)
        top += 1
    axis.set(xlim=(0, across), ylim=(top, -0.5), aspect="equal")
    axis.set(xticks=[], yticks=[], xlabel="" if of_images else "columns: input channels; rows: filters")
    axis.spines[:].set_visible(False)
    axis.set_title(title, pad=10)
    extend = "both" if sizes.max() > reach else "neither"
    figure.colorbar(axis.get_images()[0], ax=axis, label="weight", shrink=min(1.0, 2.6 / (_TILE * height)), extend=extend)
    return figure, pictures
