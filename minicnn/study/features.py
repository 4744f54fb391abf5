"""What every layer makes of one image: its feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.layers import Dropout, Flatten, InputLayer, Reshape
from minicnn.models import Model
from minicnn.study.filters import named_layer
from minicnn.study.style import SEQUENTIAL, StudyFigure, class_name, color, show_image, styled

__all__ = ["feature_maps", "layer_outputs", "one_image"]

_UNCHANGED = (Dropout, Flatten, Reshape)  # in inference


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
    chosen = [layer for layer in model.operations if not isinstance(layer, InputLayer)]
    if layers is not None:
        chosen = [named_layer(model, layer) for layer in layers]
    watcher = Model(inputs=model.inputs, outputs=[layer.output for layer in chosen])
    values = watcher.predict(one_image(model, image), verbose=0)
    return {layer.name: np.asarray(value)[0] for layer, value in zip(chosen, values if len(chosen) > 1 else [values])}


@styled
def feature_maps(
    model: Any,
    image: Any,
    layers: Sequence[Any] | None = None,
    *,
    channels: int = 8,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
) -> StudyFigure:
    """The maps of all layers for one image: a row a layer, dark where the map is smallest, bright where it is largest.

    Vectors (dense layers) are drawn as bars.

    Args:
        model: a built model with one input.
        image: (H, W, channels), as the model was trained on.
        layers: layers or their names; default all but those that only reshape or drop out, which change no number here.
        channels: maps drawn of each layer, from the first on.
        class_names: of the last layer's bars; numbers without.
        style: "light" or "dark".
    """
    known = {layer.name: layer for layer in model.operations}
    if layers is None:
        layers = [layer for layer in model.operations if not isinstance(layer, (InputLayer, *_UNCHANGED))]
    outputs = layer_outputs(model, image, layers)
    figure = StudyFigure(figsize=(2.6 + channels, 1.25 * (len(outputs) + 1) + 0.4 * bool(title)), layout="constrained")
    if title:
        figure.suptitle(title)
    table = figure.add_gridspec(len(outputs) + 1, channels + 1, width_ratios=[2.2] + [1.0] * channels)

    def describe(row: int, *lines: str) -> None:
        axis = figure.add_subplot(table[row, 0])
        axis.set_axis_off()
        axis.text(0.0, 0.5, "\n".join(line for line in lines if line), va="center", fontsize=9, transform=axis.transAxes)

    describe(0, "image", "×".join(map(str, np.shape(one_image(model, image))[1:])))
    axis = figure.add_subplot(table[0, 1])
    axis.set_axis_off()
    show_image(axis, one_image(model, image)[0])
    for row, (name, value) in enumerate(outputs.items(), start=1):
        kind, size = type(known[name]).__name__ if name in known else "", "×".join(map(str, value.shape))
        if value.ndim != 3:
            describe(row, name, f"{kind} {size}")
            vector = value.reshape(-1)
            axis = figure.add_subplot(table[row, 1:])
            axis.bar(np.arange(len(vector)), vector, width=0.9 if len(vector) <= 64 else 1.0, color=color(0))
            axis.tick_params(labelsize=8)
            axis.set_xmargin(0.01)
            if len(vector) <= 20:
                names = class_names if row == len(outputs) and len(class_names or ()) == len(vector) else None
                axis.set_xticks(range(len(vector)), [class_name(index, names) for index in range(len(vector))])
            continue
        drawn = min(channels, value.shape[-1])
        describe(row, name, f"{kind} {size}", f"{drawn} of {value.shape[-1]} maps" if drawn < value.shape[-1] else "")
        for channel in range(drawn):
            axis = figure.add_subplot(table[row, channel + 1])
            axis.set_axis_off()
            axis.imshow(value[..., channel], cmap=SEQUENTIAL)
            axis.set_title(f"map {channel}", fontsize=8, pad=2)
    return figure
