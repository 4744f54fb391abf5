"""Which pixels a prediction hangs on: saliency and Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable

from minicnn.data.resize import resize
from minicnn.layers import Activation, Softmax
from minicnn.layers.affine import Affine
from minicnn.models import Model
from minicnn.study.features import one_image
from minicnn.study.filters import last_convolution, named_layer
from minicnn.study.labels import model_probabilities
from minicnn.study.style import SEQUENTIAL, StudyFigure, class_name, displayable, label_panel, show_image, styled

__all__ = ["grad_cam", "grad_cam_map", "saliency", "saliency_map"]

_OVER_GREY = "plasma"  # no grey in it: it stands out from the image beneath

_Explained = tuple[np.ndarray, int, float]  # the map, the class it explains, that class's probability


def _scores_model(model: Any) -> Any:
    """The model up to its scores, without a last softmax or sigmoid, whose gradient vanishes where the model is sure."""
    last = model.operations[-1]
    if isinstance(last, (Softmax, Activation)):
        return Model(model.inputs, last.input)
    if not isinstance(last, Affine):
        return model
    linear = type(last).from_config({**last.get_config(), "activation": None, "name": f"{last.name}_scores"})
    scores = Model(model.inputs, linear(last.input))
    linear.set_weights(last.get_weights())
    return scores


def _gradients(model: Any, image: Any, class_index: int | None, layers: list[str]) -> tuple[dict[str, Any], int, float]:
    """Values and gradients at the layers, for the score of a class; that class, and its probability.

    One sigmoid scores class 1; the score of class 0 is its negative.
    """
    if any(size != 1 for size in model.output_shape[1:-1]):
        raise ValueError(
            f"Saliency and Grad-CAM explain one class of an image. Model '{model.name}' yields {model.output_shape}: a class "
            "for each place."
        )
    x = one_image(model, image)
    prediction = np.asarray(model.predict(x, verbose=0))[0].reshape(-1)
    rows = model_probabilities(model, prediction[None])[0]
    chosen = int(rows.argmax()) if class_index is None else int(class_index)
    if not 0 <= chosen < len(rows):
        raise ValueError(f"Model '{model.name}' has {len(rows)} classes. Received: class_index={class_index}")

    def seed(scores: Any) -> np.ndarray:
        seed = np.zeros(scores.shape, np.float32)
        seed.reshape(-1)[0 if len(prediction) == 1 else chosen] = -1.0 if len(prediction) == 1 and chosen == 0 else 1.0
        return seed

    _, found = _scores_model(model).gradients_at(x, seed, layers=layers)
    return found, chosen, float(rows[chosen])


def saliency_map(model: Any, image: Any, class_index: int | None = None) -> np.ndarray:
    """How strongly the class's score reacts to each pixel: max over channels of |dscore/dx|, from 0 to 1; (H, W).

    Args:
        model: a built classifier with one image as input.
        image: (H, W, channels), as the model was trained on.
        class_index: default the predicted class.

    Source: Simonyan et al. 2013, arXiv:1312.6034.
    """
    return _saliency(model, image, class_index)[0]


def _saliency(model: Any, image: Any, class_index: int | None) -> _Explained:
    found, chosen, probability = _gradients(model, image, class_index, [])
    return _up_to_one(np.abs(found["input"][1][0]).max(axis=-1)), chosen, probability


def grad_cam_map(model: Any, image: Any, class_index: int | None = None, layer: Any = None) -> np.ndarray:
    """Where a convolution layer saw what speaks for the class, from 0 to 1; (OH, OW) of that layer.

        weight[c] = mean over oy,ox of dscore/dA[oy,ox,c]
        map[oy,ox] = relu(sum over c of weight[c] * A[oy,ox,c])

    Args:
        model, image, class_index: as in `saliency_map`.
        layer: a layer with maps (its output is A), or its name; default the last Conv2D.

    Source: Selvaraju et al. 2016, arXiv:1610.02391.
    """
    return _grad_cam(model, image, class_index, layer)[0]


def _grad_cam(model: Any, image: Any, class_index: int | None, layer: Any) -> _Explained:
    watched = last_convolution(model) if layer is None else named_layer(model, layer)
    if len(watched.output.shape) != 4:
        raise ValueError(
            f"Grad-CAM needs a layer with maps (N, H, W, C). Layer '{watched.name}' yields {watched.output.shape}."
        )
    found, chosen, probability = _gradients(model, image, class_index, [watched.name])
    maps, gradient = (array[0] for array in found[watched.name])
    return _up_to_one(np.maximum(maps @ gradient.mean(axis=(0, 1)), 0)), chosen, probability


def _up_to_one(values: np.ndarray) -> np.ndarray:
    return values / (values.max() or 1.0)


@styled
def saliency(
    model: Any,
    image: Any,
    class_index: int | None = None,
    class_names: Sequence[str] | None = None,
    *,
    true_class: int | None = None,
    title: str | None = None,
) -> StudyFigure:
    """The image, and beside it how strongly the class's score reacts to each pixel.

    Args:
        model, image, class_index: see `saliency_map`.
        class_names: by index; numbers without.
        true_class: index of the class that the image shows, where it is known.
        style: "light" or "dark".
    """
    heat, chosen, probability = _saliency(model, image, class_index)
    figure, axis, extent = _image_and_panel(model, image, (chosen, probability, true_class), class_names, title)
    label_panel(axis, f"saliency for {class_name(chosen, class_names)}")
    shown = axis.imshow(heat, cmap=SEQUENTIAL, extent=extent, vmin=0, vmax=1)
    figure.colorbar(shown, ax=figure.axes, shrink=0.9, label="share of the largest")
    return figure


@styled
def grad_cam(
    model: Any,
    image: Any,
    class_index: int | None = None,
    class_names: Sequence[str] | None = None,
    *,
    layer: Any = None,
    true_class: int | None = None,
    title: str | None = None,
) -> StudyFigure:
    """The image, and over it where a convolution layer saw what speaks for the class; where nothing does, it stays as it is.

    Args:
        model, image, class_index, layer: see `grad_cam_map`.
        class_names: by index; numbers without.
        true_class: index of the class that the image shows, where it is known.
        style: "light" or "dark".
    """
    heat, chosen, probability = _grad_cam(model, image, class_index, layer)
    figure, axis, extent = _image_and_panel(model, image, (chosen, probability, true_class), class_names, title)
    watched = last_convolution(model) if layer is None else named_layer(model, layer)
    label_panel(axis, f"Grad-CAM for {class_name(chosen, class_names)} in {watched.name}")
    H, W = int(extent[2] + 0.5), int(extent[1] + 0.5)
    grey = displayable(one_image(model, image)).reshape(H, W, -1).mean(axis=-1)
    axis.imshow(grey, cmap="gray", extent=extent, vmin=0)
    heat = resize(heat[..., None], (H, W))[..., 0]
    shown = axis.imshow(heat, cmap=_OVER_GREY, alpha=0.75 * heat, extent=extent, vmin=0, vmax=1)
    bar = figure.colorbar(ScalarMappable(shown.norm, shown.cmap), ax=figure.axes, shrink=0.9)
    bar.set_label("share of the largest")
    return figure


def _image_and_panel(
    model: Any,
    image: Any,
    found: tuple[int, float, int | None],
    class_names: Sequence[str] | None,
    title: str | None,
) -> tuple[StudyFigure, Any, tuple[float, ...]]:
    """A figure with the image on the left; the panel on the right, and the extent that lays any map over the image."""
    one = one_image(model, image)
    H, W = one.shape[1:3]
    panel = 3.0  # inches that a panel is wide
    figure = StudyFigure(figsize=(2 * panel + 1.1, panel * H / W + 0.45 + 0.3 * bool(title)), layout="constrained")
    if title:
        figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        axis.set_axis_off()
    show_image(left, one)
    chosen, probability, true_class = found
    truth = "" if true_class is None else f"true: {class_name(true_class, class_names)}\n"
    label_panel(left, f"{truth}{class_name(chosen, class_names)}: {100 * probability:.0f}% by the model")
    return figure, right, (-0.5, W - 0.5, H - 0.5, -0.5)
