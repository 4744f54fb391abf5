"""Galleries: many images in one figure, with classes, boxes or masks. Reached as `minicnn.visualization`, as in Keras."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.patches
import numpy as np

from minicnn.layers.augment import sorted_range
from minicnn.study.labels import class_indices
from minicnn.study.overlays import Pen, channels_last, checked_boxes, checked_masks, draw_segmentation_masks, mark, whole
from minicnn.study.style import StudyFigure, grid, show_image, styled

__all__ = ["plot_bounding_box_gallery", "plot_image_gallery", "plot_segmentation_mask_gallery"]

_LETTERS = 8  # points of the titles
_LINE = 0.16  # inches that one of their lines is high
_PIXELS = 384  # of the shorter side of images with boxes, at least: less would not hold lines and letters


def _bytes(images: np.ndarray, value_range: Any) -> np.ndarray:
    """Images of values in `value_range` as whole numbers from 0 to 255; floats that do not exceed 1 are 0..1 in any case."""
    low, high = sorted_range(value_range)
    if low == high:
        raise ValueError(f"`value_range` must be two different numbers. Received: value_range={value_range}")
    if (low, high) == (0, 255):
        return np.rint(whole(images)).astype("uint8")
    return np.rint(np.clip((images.astype("float64") - low) / (high - low), 0, 1) * 255).astype("uint8")


@styled
def plot_image_gallery(
    images: Any,
    y_true: Any = None,
    y_pred: Any = None,
    label_map: Mapping[int, str] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    value_range: tuple[float, float] = (0, 255),
    scale: float = 2,
    path: Any = None,
    show: bool | None = None,
    transparent: bool = True,
    dpi: float = 60,
    legend_handles: Sequence[Any] | None = None,
    data_format: str | None = None,
) -> StudyFigure:
    """Images in rows and columns, each with the name of its class, of the predicted one, or of both.

    Args:
        images: (N, H, W, channels), with 1, 3 or 4 channels.
        y_true, y_pred: (N,), classes; also one-hot or as probabilities, (N, classes).
        label_map: class -> its name; "Unknown" for what it lacks.
        rows, cols: of the gallery; by default as many columns as rows, or one less, for all images. With both, the images
            that have room. (Keras leaves some out where the columns are not said.)
        value_range: the values of black and white. Floats that do not exceed 1 are taken as 0..1 where it is not said.
        scale: inches that an image is wide.
        path: a file for the figure, by its ending.
        show: whether to show it by pyplot, in a window or a notebook; not by default: a notebook shows what a cell returns.
        transparent, dpi: of the file.
        legend_handles: Matplotlib's, for a legend below.
        data_format: order of the images' axes, "channels_last" or "channels_first"; by default what is configured.
        style: "light" or "dark".

    Returns:
        The figure. (Keras returns None, and shows it where neither `path` nor `show` is given.)

    Raises:
        ValueError: for `path` and `show` at once, classes without names, images without a batch axis, or no image.
    """
    if path is not None and show:
        raise ValueError(f"Expected either `path` to be set, or `show` to be true. Received: path={path}, show={show}")
    if (y_true is not None or y_pred is not None) and label_map is None:
        raise ValueError("If `y_true` or `y_pred` are provided, a `label_map` must also be provided.")
    if np.ndim(images) != 4:
        raise ValueError(
            f"plot_image_gallery() requires you to batch your samples together. Received: images.shape={np.shape(images)}"
        )
    pictures = channels_last(images, data_format)
    if rows is None:
        rows = math.ceil(len(pictures) / cols) if cols else math.ceil(math.sqrt(len(pictures)))
    cols = cols or math.ceil(len(pictures) / max(rows, 1))
    pictures = _bytes(pictures[: rows * cols], value_range)
    if len(pictures) == 0:
        raise ValueError(f"Nothing to draw: images.shape={np.shape(images)}, rows={rows}, cols={cols}.")
    titles = _titles(len(pictures), y_true, y_pred, label_map or {}, scale)
    figure = _figure(pictures, titles, cols, scale, legend_handles)
    if path is not None:
        figure.savefig(path, pad_inches=0.02, bbox_inches="tight", transparent=transparent, dpi=dpi)
    elif show:
        _show(figure)
    return figure


def _titles(count: int, y_true: Any, y_pred: Any, label_map: Mapping[int, str], scale: float) -> list[str]:
    """What is written above each image, in lines that are no wider than it."""
    width = max(8, int(scale * 72 / (0.6 * _LETTERS)))
    lines: list[list[str]] = [[] for _ in range(count)]
    for word, labels in (("Label", y_true), ("Pred", y_pred)):
        for index, label in enumerate([] if labels is None else class_indices(labels)[:count].tolist()):
            lines[index] += textwrap.wrap(f"{word}: {label_map.get(label, 'Unknown')}", width)
    return ["\n".join(one) for one in lines]


def _figure(
    pictures: np.ndarray, titles: Sequence[str], cols: int, scale: float, legend_handles: Sequence[Any] | None
) -> StudyFigure:
    lines = max(title.count("\n") + bool(title) for title in titles)
    figure, axes = grid(len(pictures), cols, (scale, scale * pictures.shape[1] / pictures.shape[2] + _LINE * lines))
    for axis, picture, title in zip(axes, pictures, titles, strict=True):
        show_image(axis, picture)
        axis.images[0].set_interpolation("antialiased")  # many pixels on few, where lines and letters would be lost
        axis.set_title(title, fontsize=_LETTERS, pad=3)
    if legend_handles:
        figure.legend(handles=legend_handles, loc="outside lower center", ncols=len(legend_handles), fontsize=_LETTERS + 1)
        figure.set_figheight(figure.get_figheight() + 0.3)
    return figure


def _show(figure: StudyFigure) -> None:
    """Show a figure that pyplot does not know, and let pyplot forget it again."""
    import matplotlib.pyplot as plt

    size = figure.get_size_inches()
    plt.figure(FigureClass=lambda *args, **kwargs: figure, figsize=size)  # type: ignore[arg-type]
    plt.show()
    plt.close(figure)


def plot_bounding_box_gallery(
    images: Any,
    bounding_box_format: str,
    y_true: dict[str, Any] | None = None,
    y_pred: dict[str, Any] | None = None,
    value_range: tuple[float, float] = (0, 255),
    true_color: Sequence[int] = (0, 188, 212),
    pred_color: Sequence[int] = (255, 235, 59),
    line_thickness: int = 2,
    font_scale: float = 1.0,
    text_thickness: int | None = None,
    class_mapping: Mapping[int, str] | None = None,
    ground_truth_mapping: Mapping[int, str] | None = None,
    prediction_mapping: Mapping[int, str] | None = None,
    legend: bool = False,
    legend_handles: Sequence[Any] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    data_format: str | None = None,
    **kwargs: Any,
) -> StudyFigure:
    """Images with the true boxes around what is in them, those that a model finds, or both.

    Images whose shorter side has less than 384 pixels are enlarged by a whole number, and what is drawn on larger ones is as
    much wider: in the figure lines and letters are of one size.

    Args:
        images: (N, H, W, channels), with 1, 3 or 4 channels.
        bounding_box_format: see `utils.bounding_boxes`.
        y_true, y_pred: boxes, as `draw_bounding_boxes` takes them.
        value_range: see `plot_image_gallery`.
        true_color, pred_color: (red, green, blue), from 0 to 255.
        line_thickness, font_scale, text_thickness: see `draw_bounding_boxes`, for images of 384 pixels.
        class_mapping: class -> its name. ground_truth_mapping, prediction_mapping: in its place for the boxes of one kind.
        legend: whether to say which color is which. legend_handles: Matplotlib's, for a legend of one's own.
        rows, cols, data_format: see `plot_image_gallery`.
        kwargs: further arguments of `plot_image_gallery`.

    Returns:
        The figure.

    Raises:
        ValueError: for images without a batch axis, or both kinds of legend; and as `plot_image_gallery`.
    """
    if legend and legend_handles:
        raise ValueError("Only pass `legend` OR `legend_handles` to `plot_bounding_box_gallery()`.")
    pictures = _bytes(channels_last(images, data_format), value_range)
    size = pictures.shape[:3]
    groups = [
        checked_boxes(boxes, bounding_box_format, size, names or class_mapping, color)
        for boxes, names, color in (
            (y_true, ground_truth_mapping, true_color),
            (y_pred, prediction_mapping, pred_color),
        )
        if boxes is not None
    ]
    if groups:
        times = max(1, _PIXELS // min(size[1:]))
        wider = max(1.0, min(size[1:]) / _PIXELS)
        pen = Pen(round(line_thickness * wider), round((text_thickness or line_thickness) * wider), font_scale * wider)
        pictures = pictures if pictures.shape[-1] > 1 else pictures.repeat(3, axis=-1)
        larger = pictures.repeat(times, axis=1).repeat(times, axis=2)
        pictures = mark(larger, [one._replace(corners=one.corners * times) for one in groups], pen)
    if legend:
        legend_handles = [
            matplotlib.patches.Patch(color=(red / 255, green / 255, blue / 255), label=label)
            for (red, green, blue), label in ((true_color, "Ground Truth"), (pred_color, "Prediction"))
        ]
    return plot_image_gallery(
        pictures, legend_handles=legend_handles, rows=rows, cols=cols, data_format="channels_last", **kwargs
    )


def plot_segmentation_mask_gallery(
    images: Any,
    num_classes: int,
    value_range: tuple[float, float] = (0, 255),
    y_true: Any = None,
    y_pred: Any = None,
    color_mapping: Mapping[int, Sequence[int]] | None = None,
    blend: bool = True,
    alpha: float = 0.8,
    ignore_index: int = -1,
    data_format: str | None = None,
    **kwargs: Any,
) -> StudyFigure:
    """A row for each image: the image, then with its true mask, then with that which a model finds, as far as they are given.

    Args:
        images: (N, H, W, channels), with 1, 3 or 4 channels.
        num_classes, color_mapping, blend, alpha, ignore_index: see `draw_segmentation_masks`.
        value_range: see `plot_image_gallery`.
        y_true, y_pred: (N, H, W) or (N, H, W, 1): the class of each pixel.
        data_format: of images and masks, see `plot_image_gallery`.
        kwargs: further arguments of `plot_image_gallery`.

    Returns:
        The figure.

    Raises:
        ValueError: as `draw_segmentation_masks` and `plot_image_gallery`.
    """
    pictures = _bytes(channels_last(images, data_format), value_range)
    pictures = pictures if pictures.shape[-1] > 1 else pictures.repeat(3, axis=-1)
    columns = [pictures]
    for masks in (y_true, y_pred):
        if masks is not None:
            masks = checked_masks(np.asarray(masks).astype("int32"), pictures.shape[:3], data_format)
            drawn = (num_classes, color_mapping, alpha, blend, ignore_index, "channels_last")
            columns.append(draw_segmentation_masks(pictures, masks, *drawn))
    panels = np.stack(columns, axis=1).reshape(-1, *pictures.shape[1:])
    return plot_image_gallery(panels, rows=len(pictures), cols=len(columns), data_format="channels_last", **kwargs)
