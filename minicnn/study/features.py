"""What every layer makes of one image: its feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.layers import InputLayer
from minicnn.models import Model
from minicnn.study.filters import named_layer
from minicnn.study.style import SEQUENTIAL, StudyFigure, color, show_image, styled

__all__ = ["feature_maps", "layer_outputs", "one_image"]


def one_image(model: Any, image: Any) -> np.ndarray:
    """`image`, with or without a batch axis, as a batch of one for `model`.

    Raises:
        ValueError: if it does not fit the model's input.
    """
    wanted = tuple(model.input_shape[1:])
    array = np.asarray(image)
    if array.shape != (1, *wanted) and array.shape != wanted:
        raise ValueError(f"Model '{model.name}' takes an image of shape {wanted}. Received: shape={array.shape}")
    return array.reshape(1, *wanted)


def layer_outputs(model: Any, image: Any, layers: Sequence[Any] | None = None) -> dict[str, np.ndarray]:
    """Each layer's output for one image, by the layer's name.

    Args:
        model: a built model with one input.
        image: (H, W, channels), as the model was trained on.
        layers: layers or their names; default all but the input.
    """
    chosen = [layer for layer in model.layers if not isinstance(layer, InputLayer)]
    if layers is not None:
        chosen = [named_layer(model, layer) for layer in layers]
    watcher = Model(inputs=model.inputs, outputs=[layer.output for layer in chosen])
    values = watcher.predict(one_image(model, image), verbose=0)
    return {layer.name: np.asarray(value)[0] for layer, value in zip(chosen, values if len(chosen) > 1 else [values])}


@styled
def feature_maps(
    model: Any, image: Any, layers: Sequence[Any] | None = None, *, channels: int = 8, title: str | None = None
) -> StudyFigure:
    """The maps of all layers for one image: a row a layer, dark where the map is smallest, bright where it is largest.

    Vectors (dense layers) are drawn as bars. Layers that only reshape are left out.

    Args:
        model: a built model with one input.
        image: (H, W, channels), as the model was trained on.
        layers: layers or their names; default all.
        channels: maps drawn of each layer, from the first on.
        style: "light" or "dark".
    """
    outputs = layer_outputs(model, image, layers)
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    outputs = {name: value for name, value in outputs.items() if kinds.get(name) not in ("Flatten", "Reshape")}
    figure = StudyFigure(figsize=(2.1 + channels, 1.12 * (len(outputs) + 1) + 0.4 * bool(title)), layout="constrained")
    if title:
        figure.suptitle(title)
    table = figure.add_gridspec(len(outputs) + 1, channels + 1, width_ratios=[1.9] + [1.0] * channels)

    def describe(row: int, text: str) -> None:
        axis = figure.add_subplot(table[row, 0])
        axis.set_axis_off()
        axis.text(0.0, 0.5, text, va="center", fontsize=9, transform=axis.transAxes)

    describe(0, f"image\n{'×'.join(map(str, model.input_shape[1:]))}")
    axis = figure.add_subplot(table[0, 1])
    axis.set_axis_off()
    show_image(axis, one_image(model, image)[0])
    for row, (name, value) in enumerate(outputs.items(), start=1):
        describe(row, f"{name}\n{'×'.join(map(str, value.shape))}")
        if value.ndim != 3:
            vector = value.reshape(-1)
            axis = figure.add_subplot(table[row, 1:])
            axis.bar(np.arange(len(vector)), vector, width=0.9 if len(vector) <= 64 else 1.0, color=color(0))
            axis.tick_params(labelsize=8)
            axis.set_xmargin(0.01)
            if len(vector) <= 20:
                axis.set_xticks(range(len(vector)))
            continue
        for channel in range(min(channels, value.shape[-1])):
            axis = figure.add_subplot(table[row, channel + 1])
            axis.set_axis_off()
            axis.imshow(value[..., channel], cmap=SEQUENTIAL)
    return figure
