"""Boxes around objects: their formats, what cropping and padding does to them, how well two agree, and what a detector
learns of them. Reached as `minicnn.utils.bounding_boxes`, as in Keras.

A box is four numbers, in one of these formats (upper case is lower case):

    "xyxy"         left, top, right, bottom
    "yxyx"         top, left, bottom, right
    "xywh"         left, top, width, height
    "center_xywh"  x and y of the center, width, height
    "center_yxhw"  y and x of the center, height, width

in pixels; "rel_xyxy", "rel_yxyx", "rel_xywh" and "rel_center_xywh" are in widths and heights of the image. Boxes are
(N, 4), or (batch, N, 4). All functions are made of `minicnn.ops`: they compute on arrays, are layers of a graph on symbolic
tensors, and have gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minicnn import config, ops, registry

__all__ = [
    "affine_transform",
    "clip_to_image_size",
    "compute_ciou",
    "compute_iou",
    "convert_format",
    "crop",
    "decode_deltas_to_boxes",
    "encode_box_to_deltas",
    "pad",
]

Columns = tuple[Any, Any, Any, Any]

# A format's four numbers -> left, top, right, bottom; and back.
_TO_CORNERS: dict[str, Callable[..., Columns]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "yxyx": lambda y1, x1, y2, x2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "center_xywh": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
    "center_yxhw": lambda y, x, h, w: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
}
_FROM_CORNERS: dict[str, Callable[..., Columns]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "yxyx": lambda x1, y1, x2, y2: (y1, x1, y2, x2),
    "xywh": lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
    "center_xywh": lambda x1, y1, x2, y2: (x1 + (x2 - x1) / 2, y1 + (y2 - y1) / 2, x2 - x1, y2 - y1),
    "center_yxhw": lambda x1, y1, x2, y2: (y1 + (y2 - y1) / 2, x1 + (x2 - x1) / 2, y2 - y1, x2 - x1),
}
_FORMATS = (*_TO_CORNERS, "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
_CENTERED = ("center_xywh", "center_yxhw")


@registry.register("bounding_boxes")
def convert_format(boxes: Any, source: str, target: str, height: Any = None, width: Any = None, dtype: str = "float32") -> Any:
    """Boxes in another format.

    Args:
        boxes: (..., 4), or a dict with them under "boxes", of which a copy is returned.
        source, target: formats, see above.
        height, width: of the image, in pixels; for relative formats only.
        dtype: of the result.

    Raises:
        ValueError: for a last axis of another size, an unknown format, or a relative one without the image's size.

    Examples:
        >>> convert_format([[10, 20, 30, 60]], "xyxy", "center_xywh")
        Tensor([[20., 40., 20., 40.]], dtype=float32)
    """
    if isinstance(boxes, dict):
        return {**boxes, "boxes": convert_format(boxes["boxes"], source, target, height, width, dtype)}
    boxes = ops.cast(boxes, dtype)
    if not boxes.shape or boxes.shape[-1] != 4:
        raise ValueError(f"`boxes` must be a tensor with the last dimension of 4. Received: boxes.shape={boxes.shape}")
    source, target = source.lower(), target.lower()
    if source not in _FORMATS or target not in _FORMATS:
        raise ValueError(
            f"Invalid source or target format. Supported formats: {_FORMATS}. Received: source={source}, target={target}"
        )
    from_relative, to_relative = source.startswith("rel_"), target.startswith("rel_")
    if (from_relative or to_relative) and (height is None or width is None):
        raise ValueError(
            "convert_format() must receive `height` and `width` to convert relative formats. "
            f"Received: source={source}, target={target}, height={height}, width={width}"
        )
    if source == target:
        return boxes
    x1, y1, x2, y2 = _TO_CORNERS[source.removeprefix("rel_")](*ops.split(boxes, 4, axis=-1))
    if from_relative != to_relative:
        across, down = _factor(width, dtype), _factor(height, dtype)
        if from_relative:
            x1, y1, x2, y2 = x1 * across, y1 * down, x2 * across, y2 * down
        else:
            x1, y1, x2, y2 = x1 / across, y1 / down, x2 / across, y2 / down
    return ops.concatenate(_FROM_CORNERS[target.removeprefix("rel_")](x1, y1, x2, y2), axis=-1)


def _factor(size: Any, dtype: str) -> Any:
    """A size by which boxes can be multiplied and stay of their dtype: Python's numbers do as they are."""
    return size if isinstance(size, (int, float)) else ops.cast(size, dtype)


def _only_corners(name: str, given: str, known: tuple[str, ...] = ("xyxy",)) -> None:
    if given not in known:
        raise NotImplementedError(f"{name}() takes boxes in {' or '.join(known)}. Received: bounding_box_format={given}")


def _clipped(boxes: Any, height: Any, width: Any) -> Any:
    """Corners moved into [0, width] and [0, height]."""
    x1, y1, x2, y2 = ops.split(boxes, 4, axis=-1)
    sides = [ops.clip(x1, 0, width), ops.clip(y1, 0, height), ops.clip(x2, 0, width), ops.clip(y2, 0, height)]
    return ops.concatenate(sides, axis=-1)


@registry.register("bounding_boxes")
def clip_to_image_size(
    bounding_boxes: dict[str, Any], height: Any = None, width: Any = None, bounding_box_format: str = "xyxy"
) -> dict[str, Any]:
    """Boxes cut off at the image's borders; the label of one of which nothing is left becomes -1.

    Args:
        bounding_boxes: "boxes" (..., N, 4) and, if there are any, "labels" (..., N). What else is in it is kept.
        height, width: of the image, in pixels; not needed for relative boxes.
        bounding_box_format: "xyxy" or "rel_xyxy".

    Returns:
        Another dict.

    Raises:
        NotImplementedError: for another format. ValueError: for boxes in pixels without the image's size.
    """
    _only_corners("clip_to_image_size", bounding_box_format, ("xyxy", "rel_xyxy"))
    if bounding_box_format == "rel_xyxy":
        height = width = 1
    elif height is None or width is None:
        raise ValueError(
            f"`height` and `width` must be set if `bounding_box_format='xyxy'`. Received: height={height}, width={width}"
        )
    boxes = _clipped(ops.convert_to_tensor(bounding_boxes["boxes"]), height, width)
    clipped = {**bounding_boxes, "boxes": boxes}
    if bounding_boxes.get("labels") is not None:
        x1, y1, x2, y2 = ops.unstack(boxes, axis=-1)
        clipped["labels"] = ops.where((x2 - x1) * (y2 - y1) > 0, bounding_boxes["labels"], -1)
    return clipped


def crop(boxes: Any, top: Any, left: Any, height: Any, width: Any, bounding_box_format: str = "xyxy") -> Any:
    """Boxes as they are in a part of the image, and cut off at its borders.

    Args:
        top, left: where the part begins. height, width: its size. All in pixels.
        bounding_box_format: "xyxy".
    """
    _only_corners("crop", bounding_box_format)
    return _clipped(_shifted(boxes, -left, -top), height, width)


def pad(boxes: Any, top: Any, left: Any, height: Any = None, width: Any = None, bounding_box_format: str = "xyxy") -> Any:
    """Boxes as they are in an image that was padded with so many rows at the top and columns at the left.

    Args:
        height, width: without effect. bounding_box_format: "xyxy".
    """
    _only_corners("pad", bounding_box_format)
    return _shifted(boxes, left, top)


def _shifted(boxes: Any, right: Any, down: Any) -> Any:
    x1, y1, x2, y2 = ops.split(ops.convert_to_tensor(boxes), 4, axis=-1)
    return ops.concatenate([x1 + right, y1 + down, x2 + right, y2 + down], axis=-1)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Any,
    width: Any,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """The smallest upright boxes around boxes that were shifted, rotated, sheared and scaled about a center, in this order.

        r, u, v = -angle, -shear_x, -shear_y;  dx, dy = x - cx + tx, y - cy + ty
        a = cos(r - v) / cos(v);  b = a tan(u) + sin(r);  c = -sin(r - v) / cos(v);  d = cos(r) - c tan(u)
        x' = cx + scale (d dx - b dy)
        y' = cy + scale (a dy - c dx)

    as Keras computes it. (Where boxes are rotated and sheared along x, the matrix (d, -b; -c, a) is no product of a rotation
    and a shear: its determinant is 1 - 2 a c tan(u).)

    Args:
        boxes: (N, 4) or (batch, N, 4), corners in pixels.
        angle, shear_x, shear_y: in degrees, and like all that follow a number or one for each image, (batch,).
        translate_x, translate_y: tx / (width - 1), ty / (height - 1).
        height, width: of the image, in pixels.
        center_x, center_y: cx / (width - 1), cy / (height - 1); by default 0.5.
        bounding_box_format: "xyxy".

    Returns:
        Boxes of the dtype of `angle`, float32 for a number.
    """
    _only_corners("affine_transform", bounding_box_format)
    dtype = str(getattr(angle, "dtype", config.floatx()))

    def beside(x: Any) -> Any:
        x = ops.cast(x, dtype)
        return ops.expand_dims(x, -1) if len(x.shape) else x  # each image's for all of its boxes

    r, u, v = (beside(degrees) * (-math.pi / 180) for degrees in (angle, shear_x, shear_y))
    a, c = ops.cos(r - v) / ops.cos(v), -ops.sin(r - v) / ops.cos(v)
    b, d = a * ops.tan(u) + ops.sin(r), ops.cos(r) - c * ops.tan(u)
    across, down, scale = beside(width) - 1, beside(height) - 1, beside(scale)
    cx = beside(0.5 if center_x is None else center_x) * across
    cy = beside(0.5 if center_y is None else center_y) * down
    left, top, right, bottom = ops.unstack(ops.cast(boxes, dtype), axis=-1)
    xs, ys = [], []
    for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)):
        dx, dy = x - cx + beside(translate_x) * across, y - cy + beside(translate_y) * down
        xs.append(cx + scale * (d * dx - b * dy))
        ys.append(cy + scale * (a * dy - c * dx))
    x, y = ops.stack(xs, axis=-1), ops.stack(ys, axis=-1)
    return ops.stack([ops.min(x, axis=-1), ops.min(y, axis=-1), ops.max(x, axis=-1), ops.max(y, axis=-1)], axis=-1)


def _size_of(image_shape: Any) -> tuple[Any, Any]:
    """(height, width) of an image's shape, None for what is not known."""
    if image_shape is None:
        return None, None
    if len(image_shape) != 3:
        raise ValueError(f"`image_shape` must be (height, width, channels). Received: image_shape={image_shape}")
    return image_shape[0], image_shape[1]


def _checked_encoding(argument: str, encoding: str, variance: Any) -> Any:
    """The variance as a tensor, None where there is none."""
    if encoding not in _CENTERED:
        raise ValueError(f"`{argument}` should be one of 'center_xywh' or 'center_yxhw', got {encoding}")
    if variance is None:
        return None
    factors = ops.cast(variance, "float32")
    if tuple(factors.shape[-1:]) != (4,):
        raise ValueError(f"`variance` must be length 4, got {variance}")
    return factors


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """What a detector learns: where a box is, seen from its anchor (x, y the center of the box, xa, ya of the anchor):

        ((x - xa) / wa, (y - ya) / ha, log(w / wa), log(h / ha)) / variance

    with every size at least `config.epsilon()`.

    Args:
        anchors: (N, 4). boxes: (N, 4) or (batch, N, 4): one for each anchor.
        anchor_format, box_format: see above.
        encoding_format: "center_xywh", in the order of the formula, or "center_yxhw".
        variance: four numbers, that the deltas may be of about the same size; none by default.
        image_shape: (height, width, channels); needed for relative formats.

    Returns:
        Deltas of the shape of `boxes`.

    Raises:
        ValueError: for another encoding, or a variance that is not four numbers.

    Source: Girshick et al. 2014, "Rich feature hierarchies for accurate object detection" (R-CNN), arXiv:1311.2524,
    appendix C.
    """
    variance = _checked_encoding("encoding_format", encoding_format, variance)
    size = _size_of(image_shape)
    anchors = convert_format(anchors, anchor_format, encoding_format, *size)
    boxes = convert_format(boxes, box_format, encoding_format, *size)
    anchor_sizes = ops.maximum(anchors[..., 2:], config.epsilon())
    shifts = (boxes[..., :2] - anchors[..., :2]) / anchor_sizes
    growths = ops.log(ops.maximum(boxes[..., 2:], config.epsilon()) / anchor_sizes)
    deltas = ops.concatenate([shifts, growths], axis=-1)
    return deltas if variance is None else deltas / variance


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """The boxes that a detector means: `encode_box_to_deltas` backwards.

        x = xa + wa dx;  y = ya + ha dy;  w = wa exp(dw);  h = ha exp(dh);  (dx, dy, dw, dh) = deltas * variance

    Args:
        anchors: (N, 4). boxes_delta: (N, 4) or (batch, N, 4). Or both are dicts, of one entry for each level of a pyramid.
        anchor_format: see above. box_format: of the result.
        encoded_format, variance, image_shape: as they were encoded.

    Raises:
        ValueError: for another encoding, or a variance that is not four numbers.
    """
    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        further = (anchor_format, box_format, encoded_format, variance, image_shape)
        return {level: decode_deltas_to_boxes(anchor, boxes_delta[level], *further) for level, anchor in anchors.items()}
    variance = _checked_encoding("encoded_format", encoded_format, variance)
    size = _size_of(image_shape)
    anchors = convert_format(anchors, anchor_format, encoded_format, *size)
    deltas = boxes_delta if variance is None else boxes_delta * variance
    centers = deltas[..., :2] * anchors[..., 2:] + anchors[..., :2]
    sizes = ops.exp(deltas[..., 2:]) * anchors[..., 2:]
    return convert_format(ops.concatenate([centers, sizes], axis=-1), encoded_format, box_format, *size)


def _corners(boxes: Any, bounding_box_format: str, image_shape: Any) -> Any:
    """Boxes as "xyxy", in pixels."""
    if bounding_box_format.lower().startswith("rel_") and image_shape is None:
        raise ValueError(
            "When using relative bounding box formats (e.g. `rel_yxyx`) the `image_shape` argument must be provided. "
            f"Received `image_shape`: {image_shape}"
        )
    return convert_format(boxes, bounding_box_format, "xyxy", *_size_of(image_shape))


def _intersection(first: Columns, second: Columns) -> Any:
    """The area that boxes have in common, of their left, top, right and bottom."""
    left, top = ops.maximum(first[0], second[0]), ops.maximum(first[1], second[1])
    right, bottom = ops.minimum(first[2], second[2]), ops.minimum(first[3], second[3])
    return ops.maximum(right - left, 0.0) * ops.maximum(bottom - top, 0.0)


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Any = None,
) -> Any:
    """How much of two boxes is common to both (intersection over union), for each box of one set and each of another:

        IoU = intersection / (area1 + area2 - intersection + epsilon)

    from 0, no pixel, to 1, the same box.

    Args:
        boxes1: (N, 4) or (batch, N, 4). boxes2: (M, 4) or (batch, M, 4).
        use_masking: whether pairs in which all corners of a box are negative, as of boxes that fill up a batch, get
            `mask_val` in place of their IoU.
        image_shape: (height, width, channels); needed for relative formats.

    Returns:
        (N, M), or (batch, N, M) where either has a batch axis.

    Raises:
        ValueError: for another number of axes, or a relative format without the image's shape.

    Examples:
        >>> compute_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2]], "xyxy").round(3)
        array([[1.   , 0.333]], dtype=float32)
    """
    boxes1, boxes2 = ops.convert_to_tensor(boxes1), ops.convert_to_tensor(boxes2)
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if len(boxes.shape) not in (2, 3):
            raise ValueError(
                f"compute_iou() expects {name} to be batched, or to be unbatched: of 3 axes or of 2. Received: "
                f"len(boxes1.shape)={len(boxes1.shape)}, len(boxes2.shape)={len(boxes2.shape)}"
            )
    boxes1, boxes2 = (_corners(boxes, bounding_box_format, image_shape) for boxes in (boxes1, boxes2))
    first = ops.split(boxes1, 4, axis=-1)  # each (..., N, 1)
    second = [ops.swapaxes(side, -1, -2) for side in ops.split(boxes2, 4, axis=-1)]  # each (..., 1, M)
    common = _intersection(tuple(first), tuple(second))
    area1, area2 = ((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (first, second))
    iou = common / (area1 + area2 - common + config.epsilon())
    if not use_masking:
        return iou
    masked1 = ops.max(boxes1, axis=-1, keepdims=True) < 0
    masked2 = ops.swapaxes(ops.max(boxes2, axis=-1, keepdims=True), -1, -2) < 0
    return ops.where(ops.logical_or(masked1, masked2), float(mask_val), iou)


def compute_ciou(boxes1: Any, boxes2: Any, bounding_box_format: str, image_shape: Any = None) -> Any:
    """How well boxes agree, also where they have no pixel in common (complete IoU), each with its counterpart:

        CIoU = IoU - distance**2 / diagonal**2 - alpha v
        v = 4 / pi**2 (arctan(w2 / h2) - arctan(w1 / h1))**2;  alpha = v / (1 - IoU + v)

    with the distance of the centers, the diagonal of the smallest box around both, and v for unlike aspect ratios. Heights,
    areas and alpha have `config.epsilon()` added so that none is divided by 0. 1 - CIoU is a loss; gradients go through
    alpha, too (in the paper it is a constant).

    Args:
        boxes1, boxes2: (..., 4), of shapes that broadcast.
        image_shape: (height, width, channels); needed for relative formats. (Keras refuses these with it as well.)

    Returns:
        (...,): from -2 to 1, of the same box.

    Raises:
        ValueError: for a relative format without the image's shape.

    Source: Zheng et al. 2020, "Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression",
    arXiv:1911.08287, section 3.3.
    """
    corners = (_corners(boxes, bounding_box_format, image_shape) for boxes in (boxes1, boxes2))
    first, second = (tuple(ops.unstack(boxes, axis=-1)) for boxes in corners)
    epsilon = config.epsilon()
    (w1, h1), (w2, h2) = ((x2 - x1, y2 - y1 + epsilon) for x1, y1, x2, y2 in (first, second))
    common = _intersection(first, second)
    iou = common / (w1 * h1 + w2 * h2 - common + 2 * epsilon)
    width = ops.maximum(first[2], second[2]) - ops.minimum(first[0], second[0])
    height = ops.maximum(first[3], second[3]) - ops.minimum(first[1], second[1])
    diagonal2 = ops.square(width) + ops.square(height) + epsilon
    (x1, y1), (x2, y2) = (((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (first, second))
    distance2 = ops.square(x1 - x2) + ops.square(y1 - y2)
    v = (4 / math.pi**2) * ops.square(ops.arctan(w2 / h2) - ops.arctan(w1 / h1))
    alpha = v / (v - iou + (1 + epsilon))
    return iou - (distance2 / diagonal2 + alpha * v)
