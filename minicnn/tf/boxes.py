"""TensorFlow's `tf.image`: boxes on images. They are (top, left, bottom, right), as shares of the image's height and width."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minicnn import ops, random
from minicnn.ops.base import op
from minicnn.tensor import as_tensor
from minicnn.tf.arguments import one_seed

__all__ = ["combined_non_max_suppression", "draw_bounding_boxes", "non_max_suppression", "sample_distorted_bounding_box"]


def draw_bounding_boxes(images: Any, boxes: Any, colors: Any = None) -> Any:
    """Images with frames of one pixel.

    Args:
        images: (N, H, W, C). boxes: (N, B, 4), of (top, left, bottom, right) as shares of the image.
        colors: (K, C), taken in turn; by default yellow, blue, red, lime.
    """
    drawn = np.array(images)
    H, W, C = drawn.shape[1:]
    default = [[1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1]]
    palette = np.asarray(default if colors is None else colors, drawn.dtype)[:, :C]
    for image, of_image in zip(drawn, np.asarray(boxes)):
        for i, box in enumerate(of_image):
            top, left, bottom, right = (int(share * (size - 1)) for share, size in zip(box, (H, W, H, W)))
            if top > bottom or left > right or bottom < 0 or right < 0 or top >= H or left >= W:
                continue
            rows, columns = slice(max(top, 0), min(bottom, H - 1) + 1), slice(max(left, 0), min(right, W - 1) + 1)
            for row in {top, bottom} & set(range(H)):
                image[row, columns] = palette[i % len(palette)]
            for column in {left, right} & set(range(W)):
                image[rows, column] = palette[i % len(palette)]
    return as_tensor(drawn)


def non_max_suppression(
    boxes: Any, scores: Any, max_output_size: Any, iou_threshold: float = 0.5, score_threshold: float = float("-inf")
) -> Any:
    """Which boxes (B, 4), of (y1, x1, y2, x2), to keep: the best first, none that overlaps a kept one by more.

    Args:
        scores: (B,); boxes of at most `score_threshold` go at once. max_output_size: how many are kept at most.
        iou_threshold: the largest intersection, divided by the union, of two that are kept.

    Returns:
        their places, int32.
    """
    boxes, scores = np.asarray(boxes, "float64"), np.asarray(scores)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    areas = (high - low).prod(1)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if len(kept) >= int(max_output_size) or not scores[i] > score_threshold:
            break
        common = np.clip(np.minimum(high[i], high[kept]) - np.maximum(low[i], low[kept]), 0, None).prod(1)
        union = areas[i] + areas[kept] - common
        if not (common > iou_threshold * union).any():
            kept.append(i)
    return as_tensor(np.array(kept, "int32"))


class Detections(NamedTuple):
    """What `combined_non_max_suppression` keeps, of N images: zeros behind the valid ones."""

    nmsed_boxes: Any
    nmsed_scores: Any
    nmsed_classes: Any
    valid_detections: Any


@op("boxes", "scores", differentiable=False)
def _detections(boxes: Any, scores: Any, most: tuple[int, int], thresholds: tuple[float, float]) -> Any:
    """(N, detections, 7): of each kept box its four numbers, its score, its class, and a one; zeros behind these."""
    per_class, total = most
    found = np.zeros((len(boxes), total, 7), scores.dtype)
    for image, (of_image, its_scores) in enumerate(zip(boxes, scores)):
        kept: list[Any] = []
        for number, column in enumerate(its_scores.T):
            own = of_image[:, min(number, of_image.shape[1] - 1)]  # of one for each class, or of one for all
            places = np.asarray(non_max_suppression(own, column, per_class, *thresholds))
            kept += [[*own[place], column[place], number, 1] for place in places]
        best = sorted(kept, key=lambda row: -row[4])[:total]
        found[image, : len(best)] = np.reshape(best, (-1, 7))
    return found


@_detections.trial
def _(boxes: Any, scores: Any, most: tuple[int, int], thresholds: tuple[float, float]) -> Any:
    return np.zeros((len(boxes), most[1], 7), scores.dtype)


def combined_non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size_per_class: Any,
    max_total_size: Any,
    iou_threshold: float = 0.5,
    score_threshold: float = float("-inf"),
    pad_per_class: bool = False,
    clip_boxes: bool = True,
) -> Detections:
    """`non_max_suppression` of each image and class by itself, and then an image's best boxes of all classes. In a graph, too.

    Args:
        boxes: (N, B, classes, 4), or (N, B, 1, 4) for the same of all classes. scores: (N, B, classes).
        max_output_size_per_class, max_total_size: how many are kept at most of a class, and of an image.
        iou_threshold, score_threshold: see `non_max_suppression`.
        pad_per_class: whether no more places are returned than all classes may fill.
        clip_boxes: whether to cut boxes off at 0 and 1.

    Returns:
        boxes (N, detections, 4), scores (N, detections), classes (N, detections) as floats, and how many of these are no
        filling, (N,) int32; the best first.
    """
    boxes, scores = ops.convert_to_tensor(boxes), ops.convert_to_tensor(scores)
    per_class, total = int(max_output_size_per_class), int(max_total_size)
    if pad_per_class:
        total = min(total, per_class * scores.shape[-1])
    found = _detections(boxes, scores, (per_class, total), (float(iou_threshold), float(score_threshold)))
    kept = found[..., :4]
    valid = ops.cast(ops.sum(found[..., 6], axis=1), "int32")
    return Detections(ops.clip(kept, 0, 1) if clip_boxes else kept, found[..., 4], found[..., 5], valid)


class DistortedBox(NamedTuple):
    """What `sample_distorted_bounding_box` returns."""

    begin: Any
    size: Any
    bboxes: Any


def sample_distorted_bounding_box(
    image_size: Any,
    bounding_boxes: Any,
    seed: Any = None,
    min_object_covered: float = 0.1,
    aspect_ratio_range: Any = None,
    area_range: Any = None,
    max_attempts: int | None = None,
    use_image_if_no_bounding_boxes: bool | None = None,
) -> Any:
    """A part of an image, at a random place, of a random area and ratio of width to height, on which enough of a box is seen.

    Args:
        image_size: (H, W, C). bounding_boxes: (1, B, 4) or (0, 0, 4).
        min_object_covered: the least share of the area of one of the boxes on the part.
        aspect_ratio_range: of width / height, default (0.75, 1.33). area_range: of the image's area, default (0.05, 1).
        max_attempts: after so many, default 100, it is the whole image.
        use_image_if_no_bounding_boxes: whether the image counts as the box where there is none.

    Returns:
        begin (top, left, 0) and size (height, width, -1), as `slice` takes them; and the part as a box, (1, 1, 4).

    Raises:
        ValueError: without any box, if the image is not to count as one.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 6.
    """
    H, W = (int(size) for size in np.asarray(image_size)[:2])
    given = np.asarray(bounding_boxes, "float64").reshape(-1, 4)
    if not len(given) and not use_image_if_no_bounding_boxes:
        raise ValueError("No bounding boxes provided as input: `use_image_if_no_bounding_boxes=True` takes the image for one.")
    covered = (given if len(given) else np.array([[0, 0, 1, 1]])) * (H, W, H, W)
    attempts = 100 if max_attempts is None else int(max_attempts)
    draws = np.asarray(random.uniform((attempts, 4), seed=one_seed(seed)), "float64")
    part = (0, 0, H, W)
    for draw in draws:
        tried = _part_of((H, W), area_range or (0.05, 1.0), aspect_ratio_range or (0.75, 1.33), draw)
        if tried is not None and _share_seen(covered, tried).max() >= min_object_covered:
            part = tried
            break
    top, left, bottom, right = part
    begin, size = np.array([top, left, 0], "int32"), np.array([bottom - top, right - left, -1], "int32")
    box = np.array(part, "float32") / np.array([H, W, H, W], "float32")
    return DistortedBox(as_tensor(begin), as_tensor(size), as_tensor(box.reshape(1, 1, 4)))


def _part_of(whole: tuple[int, int], areas: Any, ratios: Any, draw: Any) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right), in pixels, by four draws from [0, 1); None where no such area fits."""
    H, W = whole
    ratio = ratios[0] + draw[0] * (ratios[1] - ratios[0])
    least, most = (share * H * W for share in areas)
    lowest, highest = (round(math.sqrt(area / ratio)) for area in (least, most))
    highest = min(highest, H, math.floor((W + 0.5 - 1e-7) / ratio))
    lowest = min(lowest, highest)
    height = lowest + int(draw[1] * (highest - lowest + 1))
    width = round(height * ratio)
    if width * height < least:
        height, width = height + 1, round((height + 1) * ratio)
    if width * height > most:
        height, width = height - 1, round((height - 1) * ratio)
    if not (least <= width * height <= most and 0 < width <= W and 0 < height <= H):
        return None
    top, left = int(draw[2] * (H - height + 1)), int(draw[3] * (W - width + 1))
    return top, left, top + height, left + width


def _share_seen(boxes: np.ndarray, part: tuple[int, int, int, int]) -> np.ndarray:
    """Which share of each box's area is on a part of the image."""
    low, high = np.maximum(boxes[:, :2], part[:2]), np.minimum(boxes[:, 2:], part[2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.clip(high - low, 0, None).prod(1) / np.maximum(areas, 1e-12)
