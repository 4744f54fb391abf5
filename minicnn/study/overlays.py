"""Boxes with their names, and masks, drawn onto images: arrays of whole numbers from 0 to 255."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minicnn.bounding_boxes import convert_format
from minicnn.layers.arguments import standardize_data_format

__all__ = [
    "Boxes",
    "Pen",
    "channels_last",
    "checked_boxes",
    "checked_masks",
    "draw_bounding_boxes",
    "draw_segmentation_masks",
    "mark",
    "whole",
]

_LETTERS = 30  # pixels of a font whose capitals are as high as those of OpenCV, which Keras draws with, at `font_scale=1`
_SMALLEST = 8  # pixels of letters that can still be read
_LUMA = np.array([0.299, 0.587, 0.114])  # how bright red, green and blue are, ITU-R BT.601

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom: the first pixel, and the first one after


class Boxes(NamedTuple):
    """Boxes of one color, in pixels.

    Attributes:
        corners: (N, boxes, 4), "xyxy". labels: (N, boxes), integers. confidences: (N, boxes) or None.
        names: class -> text. color: (red, green, blue), from 0 to 255.
    """

    corners: np.ndarray
    labels: np.ndarray
    confidences: np.ndarray | None
    names: Mapping[int, str]
    color: Sequence[int]


class Pen(NamedTuple):
    """How wide lines are in pixels, how bold letters are, and how large: 1 are capitals of 21 pixels."""

    line_thickness: int
    text_thickness: int
    font_scale: float


# --- images -----------------------------------------------------------------------------


def _are_channels_first(data_format: str | None) -> bool:
    return standardize_data_format(data_format, "minicnn.visualization") == "channels_first"


def channels_last(images: Any, data_format: str | None) -> np.ndarray:
    """Images (N, H, W, C), of another order if `data_format`, or where it is None the configuration, says so.

    Raises:
        ValueError: unless they are (N, H, W, C) with 1, 3 or 4 channels, or the same with the channels first.
    """
    pictures = np.asarray(images)
    if pictures.ndim != 4:
        raise ValueError(f"`images` must be batched 4D tensor. Received: images.shape={pictures.shape}")
    if _are_channels_first(data_format):
        pictures = pictures.transpose(0, 2, 3, 1)
    if pictures.shape[-1] not in (1, 3, 4):
        raise ValueError(f"`images` must have 1, 3 or 4 channels. Received: images.shape={np.shape(images)}")
    return pictures


def whole(images: np.ndarray) -> np.ndarray:
    """Images within [0, 255], of their dtype; floats that do not exceed 1 are taken as 0..1."""
    if images.dtype.kind == "f" and images.max(initial=0) <= 1:
        images = images * 255
    return np.clip(images, 0, 255)


# --- boxes ------------------------------------------------------------------------------


def draw_bounding_boxes(
    images: Any,
    bounding_boxes: dict[str, Any],
    bounding_box_format: str,
    class_mapping: Mapping[int, str] | None = None,
    color: Sequence[int] = (128, 128, 128),
    line_thickness: int = 2,
    text_thickness: int | None = 1,
    font_scale: float = 1.0,
    data_format: str | None = None,
) -> np.ndarray:
    """Images with boxes around what is in them, and its name.

    A name stands on a ground of the box's color, above the box or where there is room: wholly in the image, and not on
    another name. Letters that would not fit are made smaller. (Keras draws with OpenCV, in the box's color on the image.)

    Args:
        images: (N, H, W, channels), with 1, 3 or 4 channels: whole numbers from 0 to 255, or floats, which are taken as
            0..1 if none exceeds 1. In one channel a color is its brightness.
        bounding_boxes: "boxes" (N, boxes, 4), "labels" (N, boxes), -1 where there is no box, and maybe "confidences"
            (N, boxes).
        bounding_box_format: see `utils.bounding_boxes`.
        class_mapping: class -> its name. What has none gets a box only.
        color: (red, green, blue), from 0 to 255.
        line_thickness: pixels. text_thickness: 1 is regular, more is bolder; None for that of lines.
        font_scale: 1 are capitals of 21 pixels, at most an eighth of the image's height.
        data_format: order of the images' axes, "channels_last" or "channels_first"; by default what is configured.

    Returns:
        uint8, of the shape of `images`.

    Raises:
        ValueError: for images without a batch axis, or boxes that are not as described. TypeError: unless they are a dict.
    """
    pictures = channels_last(images, data_format)
    boxes = checked_boxes(bounding_boxes, bounding_box_format, pictures.shape[:3], class_mapping, color)
    drawn = mark(whole(pictures).astype("uint8"), [boxes], Pen(line_thickness, text_thickness or line_thickness, font_scale))
    return drawn.transpose(0, 3, 1, 2) if _are_channels_first(data_format) else drawn


def checked_boxes(
    bounding_boxes: Any, form: str, size: tuple[int, ...], names: Mapping[int, str] | None, color: Sequence[int]
) -> Boxes:
    """Boxes of a batch of images, of size (N, H, W), as `draw_bounding_boxes` is given them."""
    if not isinstance(bounding_boxes, dict):
        raise TypeError(
            f"`bounding_boxes` should be a dict. Received: bounding_boxes={bounding_boxes} of type {type(bounding_boxes)}"
        )
    if "boxes" not in bounding_boxes or "labels" not in bounding_boxes:
        raise ValueError(
            f"`bounding_boxes` should be a dict containing 'boxes' and 'labels' keys. Received: bounding_boxes={bounding_boxes}"
        )
    if len(color) != 3:
        raise ValueError(f"A color must be three numbers from 0 to 255: red, green, blue. Received: color={color}")
    corners = np.asarray(convert_format(bounding_boxes["boxes"], form, "xyxy", size[1], size[2]))
    labels = np.asarray(bounding_boxes["labels"]).astype("int64")
    confidences = bounding_boxes.get("confidences")
    confidences = None if confidences is None else np.asarray(confidences)
    for key, found in (("labels", labels), ("confidences", confidences)):
        if found is not None and (corners.ndim != 3 or found.shape != corners.shape[:2] or len(found) != size[0]):
            raise ValueError(
                f"`bounding_boxes` of {size[0]} images must be 'boxes' ({size[0]}, boxes, 4) and '{key}' ({size[0]}, boxes). "
                f"Received: boxes.shape={corners.shape}, {key}.shape={found.shape}"
            )
    return Boxes(corners, labels, confidences, names or {}, color)


def mark(images: np.ndarray, groups: Sequence[Boxes], pen: Pen) -> np.ndarray:
    """The images, (N, H, W, C) in uint8, themselves: now with boxes, and above all of these their names."""
    height, width, channels = images.shape[1:]
    for index, image in enumerate(images):
        names: list[tuple[str, list[int], Sequence[int]]] = []
        for boxes in groups:
            for place, label in enumerate(boxes.labels[index].tolist()):
                x1, y1, x2, y2 = corners = boxes.corners[index, place].astype(int).tolist()
                if label == -1 or x2 < 0 or y2 < 0 or x1 >= width or y1 >= height:
                    continue
                _frame(image, corners, _ink(boxes.color, channels), pen.line_thickness)
                if label in boxes.names:
                    confidence = "" if boxes.confidences is None else f" | {boxes.confidences[index, place]:.2f}"
                    names.append((f"{boxes.names[label]}{confidence}", corners, boxes.color))
        taken: list[Rectangle] = []
        for text, corners, color in names:
            _write(image, text, corners, color, pen, taken)
    return images


def _ink(color: Sequence[int], channels: int) -> np.ndarray:
    """A color in one channel, its brightness, in three, or in four: opaque."""
    if channels == 1:
        return np.rint(np.dot(_LUMA, color)).astype("uint8")[None]
    return np.array([*color, 255][:channels], "uint8")


def _frame(image: np.ndarray, corners: Sequence[int], ink: np.ndarray, thickness: int) -> None:
    """Lines along the corners' pixels, as thick inwards as outwards, or by one pixel less."""
    x1, y1, x2, y2 = corners
    outside, inside = thickness // 2, (thickness - 1) // 2
    for low, high in ((y1 - outside, y1 + inside), (y2 - inside, y2 + outside)):
        image[max(low, 0) : max(high + 1, 0), max(x1 - outside, 0) : max(x2 + outside + 1, 0)] = ink
    for low, high in ((x1 - outside, x1 + inside), (x2 - inside, x2 + outside)):
        image[max(y1 - outside, 0) : max(y2 + outside + 1, 0), max(low, 0) : max(high + 1, 0)] = ink


def _fitting(text: str, size: int, width: int) -> tuple[Any, str]:
    """A font of so many pixels, or of fewer, in which the text is no wider than `width`; if need be the text's beginning."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    if font.getlength(text) > width:
        font = ImageFont.load_default(max(_SMALLEST, int(size * width / font.getlength(text))))
    while len(text) > 1 and font.getlength(text) > width:
        text = f"{text.rstrip('.')[:-1]}."
    return font, text


def _write(
    image: np.ndarray, text: str, corners: Sequence[int], color: Sequence[int], pen: Pen, taken: list[Rectangle]
) -> None:
    """The text near a box, on a ground of its color. Where it stands is added to `taken`."""
    from PIL import Image, ImageDraw

    height, width, channels = image.shape
    size = min(round(_LETTERS * pen.font_scale), max(_SMALLEST, height // 8))
    margin = max(1, size // 6)
    font, text = _fitting(text, size, width - 2 * margin)
    bold = (pen.text_thickness - 1) * font.size // (2 * _LETTERS)
    ascent, descent = font.getmetrics()
    ground = (round(font.getlength(text)) + 2 * margin + 2 * bold, ascent + descent + 2 * bold)
    left, top, right, bottom = _place(ground, corners, (height, width), pen.line_thickness, taken)
    taken.append((left, top, right, bottom))
    image[top:bottom, left:right] = _ink(color, channels)
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    letters = _ink((0, 0, 0) if np.dot(_LUMA, color) > 127 else (255, 255, 255), channels)
    fill = int(letters[0]) if channels == 1 else tuple(letters.tolist())
    ImageDraw.Draw(picture).text((left + margin + bold, top + bold), text, fill, font, stroke_width=bold)
    image[...] = np.asarray(picture).reshape(image.shape)


def _place(
    ground: tuple[int, int], corners: Sequence[int], size: tuple[int, int], thickness: int, taken: Sequence[Rectangle]
) -> Rectangle:
    """Where a ground (width, height) stands: above the box, below it, or within it at the top or the bottom, at the left or
    the right, moved into the image; or else above or below what is taken already, not far from the box's top: the first that
    is free, or that covers least of what is taken."""
    x1, y1, x2, y2 = corners
    outside = thickness // 2
    beside = [top for other in taken for top in (other[1] - ground[1], other[3])]
    tops = (y1 - ground[1], y2 + outside + 1, y1, y2 - ground[1], *sorted(beside, key=lambda top: abs(top - y1)))
    lefts = (x1 - outside, x2 + outside + 1 - ground[0])
    found = []
    for left, top in itertools.product(lefts, tops):
        left = min(max(left, 0), max(size[1] - ground[0], 0))
        top = min(max(top, 0), max(size[0] - ground[1], 0))
        found.append((left, top, left + ground[0], top + ground[1]))
    return min(found, key=lambda place: sum(_common(place, other) for other in taken))


def _common(first: Rectangle, second: Rectangle) -> int:
    """How many pixels are in both."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


# --- masks ------------------------------------------------------------------------------


def draw_segmentation_masks(
    images: Any,
    segmentation_masks: Any,
    num_classes: int | None = None,
    color_mapping: Mapping[int, Sequence[int]] | None = None,
    alpha: float = 0.8,
    blend: bool = True,
    ignore_index: int = -1,
    data_format: str | None = None,
) -> np.ndarray:
    """Images with each pixel in the color of its class:

        (1 - alpha) image + alpha color, rounded down

    as in Keras, but for what its own description promises and its code does not: the class of the number `num_classes`, the
    highest, is drawn; masks may have no channel; `color_mapping` may lack classes, which are left as they are; and what is
    ignored is ignored without blending, too. The class 0, the background, is blended with black unless `ignore_index` is 0
    or `color_mapping` lacks it.

    Args:
        images: (N, H, W, channels), whole numbers from 0 to 255 or floats: see `draw_bounding_boxes`.
        segmentation_masks: (N, H, W) or (N, H, W, 1), integers: the class of each pixel.
        num_classes: the highest number of a class that is drawn; by default the highest of the masks.
        color_mapping: class -> (red, green, blue), from 0 to 255. By default the class i has the color (i, 127 i, 31 i)
            modulo 255.
        alpha: from 0, the image, to 1, the colors alone.
        blend: whether to; False for the colors alone.
        ignore_index: the class of pixels that are left as they are.
        data_format: order of the axes of images and masks, "channels_last" or "channels_first"; by default what is configured.

    Returns:
        uint8, (N, H, W, channels), three for images of one.

    Raises:
        ValueError: for images without a batch axis, masks of another size, an alpha outside of [0, 1]. TypeError: for masks
            that are no integers.
    """
    pictures = whole(channels_last(images, data_format)).astype("float32")
    if not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={alpha}")
    masks = checked_masks(segmentation_masks, pictures.shape[:3], data_format)
    if pictures.shape[-1] == 1:
        pictures = pictures.repeat(3, axis=-1)
    highest = int(masks.max(initial=0)) if num_classes is None else num_classes
    painted = pictures.copy()
    for index in np.unique(masks).tolist():
        color = color_mapping.get(index) if color_mapping is not None else _palette(index)
        if 0 <= index <= highest and index != ignore_index and color is not None:
            painted[masks == index, :3] = color
    if blend:
        mixed = pictures * np.float32(1 - alpha) + painted * np.float32(alpha)
        painted = np.where((masks == ignore_index)[..., None], pictures, mixed)
    return painted.astype("uint8")


def checked_masks(segmentation_masks: Any, size: tuple[int, ...], data_format: str | None) -> np.ndarray:
    """Masks of images of this size, (N, H, W), in the same shape."""
    masks = np.asarray(segmentation_masks)
    if masks.dtype.kind not in "iu":
        raise TypeError(f"`segmentation_masks` must be in integer dtype. Received: segmentation_masks.dtype={masks.dtype}")
    channel = 1 if _are_channels_first(data_format) else -1
    if masks.ndim == 4 and masks.shape[channel] == 1:
        masks = masks.squeeze(channel)
    if masks.shape != tuple(size):
        raise ValueError(
            f"`segmentation_masks` must be {tuple(size)}, as the images, with one channel or none. "
            f"Received: segmentation_masks.shape={np.shape(segmentation_masks)}"
        )
    return masks


def _palette(index: int) -> list[int]:
    """Keras's color of a class."""
    return [index % 255, 127 * index % 255, 31 * index % 255]
