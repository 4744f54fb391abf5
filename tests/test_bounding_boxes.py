"""`utils.bounding_boxes` against Keras's: drawn boxes, every pair of formats, gradients by TensorFlow's tape, in a graph."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn.utils import bounding_boxes as ours
from tests.drawn import drawn_cases
from tests.ops.checks import seeds

theirs = keras.utils.bounding_boxes
FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
HEIGHT, WIDTH = 60, 80
SHAPE = (HEIGHT, WIDTH, 3)
SIZE = {"height": HEIGHT, "width": WIDTH}


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Boxes (..., 4) as "xyxy", of at least one pixel, within the image and a little beyond."""
    random = np.random.default_rng(seed)
    corner = random.uniform(-10, [WIDTH, HEIGHT], (*shape, 2))
    return np.concatenate([corner, corner + random.uniform(1, 40, (*shape, 2))], axis=-1).astype("float32")


def close(a: Any, b: Any, atol: float = 1e-4) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


def in_a_graph(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """The function of symbolic tensors with a batch axis, as a saved and loaded model computes it."""
    inputs = [minicnn.Input(array.shape[1:]) for array in arrays]
    model = minicnn.Model(inputs, function(*inputs))
    copy = minicnn.Model.from_config(model.get_config())
    return copy.predict(list(arrays) if len(arrays) > 1 else arrays[0], verbose=0)


def check(function: Callable[[Any, Any], Any], *arrays: np.ndarray) -> None:
    """function(module, *arrays): values, and gradients of a weighted sum, are Keras's; a graph computes the same."""
    inputs = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        expected = function(theirs, *inputs)
        weights = np.random.default_rng(0).normal(size=expected.shape).astype("float32")
        total = tf.reduce_sum(expected * weights)
    gradients = tape.gradient(total, inputs)
    own = [minicnn.ops.convert_to_tensor(array) for array in arrays]
    with minicnn.GradientTape() as own_tape:
        for one in own:
            own_tape.watch(one)
        found = function(ours, *own)
        total = minicnn.ops.sum(found * weights)
    close(found, expected)
    for mine, other in zip(own_tape.gradient(total, own), gradients, strict=True):
        close(mine, other, 1e-4 * float(np.abs(other).max()))


def test_it_is_a_module_of_utils() -> None:
    assert importlib.import_module("minicnn.utils.bounding_boxes") is minicnn.utils.bounding_boxes
    assert sorted(ours.__all__) == sorted(name for name in vars(theirs) if not name.startswith("_"))


# --- formats ----------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [*itertools.product(FORMATS, FORMATS)])
def test_every_format_as_every_other(source: str, target: str) -> None:
    for shape in ((5,), (2, 5)):
        boxes = np.asarray(theirs.convert_format(drawn(1, *shape), "xyxy", source, **SIZE))
        expected = theirs.convert_format(boxes, source, target, **SIZE)
        close(ours.convert_format(boxes, source, target.upper(), **SIZE), expected)


def test_gradients_of_formats() -> None:
    check(lambda module, boxes: module.convert_format(boxes, "xywh", "rel_center_xywh", **SIZE), drawn(2, 2, 5))
    check(lambda module, boxes: module.convert_format(boxes, "rel_yxyx", "center_yxhw", **SIZE), drawn(3, 5))


def test_boxes_in_a_dict_or_a_list() -> None:
    boxes = {"boxes": drawn(0, 2, 3), "labels": np.ones((2, 3))}
    kept = boxes["boxes"].copy()
    found = ours.convert_format(boxes, "xyxy", "xywh")
    assert found["labels"] is boxes["labels"]
    np.testing.assert_array_equal(boxes["boxes"], kept)
    close(found["boxes"], theirs.convert_format(kept, "xyxy", "xywh"))
    close(ours.convert_format([[1, 2, 3, 5]], "xyxy", "xywh"), np.array([[1, 2, 2, 3]], "float32"))
    double = ours.convert_format(kept, "xyxy", "rel_xywh", np.int64(HEIGHT), np.array(WIDTH), dtype="float64")
    close(double, theirs.convert_format(kept, "xyxy", "rel_xywh", **SIZE, dtype="float64"))


# --- moved and cut off ------------------------------------------------------------------


@given(seed=seeds, fmt=st.sampled_from(["xyxy", "rel_xyxy"]))
@drawn_cases(20)
def test_clipped_boxes_lose_their_labels_where_nothing_is_left(seed: int, fmt: str) -> None:
    boxes = np.asarray(theirs.convert_format(drawn(seed, 2, 6) * 1.5 - 20, "xyxy", fmt, **SIZE))
    labels = np.arange(12, dtype="int32").reshape(2, 6)
    size = SIZE if fmt == "xyxy" else {}
    given_boxes = {"boxes": boxes, "labels": labels, "weights": 3}
    expected = theirs.clip_to_image_size(dict(given_boxes), **size, bounding_box_format=fmt)
    found = ours.clip_to_image_size(given_boxes, **size, bounding_box_format=fmt)
    close(found["boxes"], expected["boxes"])
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    assert found["weights"] == 3
    assert "labels" not in ours.clip_to_image_size({"boxes": boxes}, **size, bounding_box_format=fmt)


def test_cropped_and_padded_boxes() -> None:
    check(lambda module, boxes: module.crop(boxes, 7, 11, 40, 30), drawn(4, 2, 8))
    check(lambda module, boxes: module.pad(boxes, 7, 11), drawn(5, 8))
    whole = np.array([[[10, 20, 50, 60], [70, 80, 100, 120]]])
    close(ours.crop(whole, top=10, left=20, height=40, width=30), theirs.crop(whole, top=10, left=20, height=40, width=30))


@given(seed=seeds)
@drawn_cases(20)
def test_affine_transform(seed: int) -> None:
    random = np.random.default_rng(seed)
    angle, shear_x, shear_y = random.uniform(-60, 60, (3, 2)).astype("float32")
    tx, ty, cx, cy = random.uniform(-1, 1, (4, 2)).astype("float32")
    scale = random.uniform(0.5, 2, 2).astype("float32")
    center = {"center_x": cx, "center_y": cy} if seed % 2 else {}
    check(
        lambda module, boxes: module.affine_transform(
            boxes, *map(minicnn_or_tf(module), (angle, tx, ty, scale, shear_x, shear_y)), HEIGHT, WIDTH, **center
        ),
        drawn(seed, 2, 3),
    )


def minicnn_or_tf(module: Any) -> Callable[[np.ndarray], Any]:
    return minicnn.ops.convert_to_tensor if module is ours else tf.constant


def test_affine_transform_by_the_same_numbers_for_all() -> None:
    """Without a batch axis (which Keras's needs): a quarter turn about the center of 9 x 9 pixels."""
    found = ours.affine_transform(np.array([[1.0, 2, 3, 8]]), 90, 0, 0, 1, 0, 0, 9, 9)
    close(found, np.array([[2, 5, 8, 7]], "float32"))
    batch = ours.affine_transform(np.array([[[1.0, 2, 3, 8]]]), np.array([90.0]), 0, 0, 1, 0, 0, 9, 9)
    close(batch, np.array([[[2, 5, 8, 7]]], "float64"))


# --- deltas -----------------------------------------------------------------------------

VARIANCES = [None, [0.1, 0.1, 0.2, 0.3]]


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
@pytest.mark.parametrize("encoding", ["center_xywh", "center_yxhw"])
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("fmt", ["xywh", "rel_yxyx"])
def test_deltas_and_back(fmt: str, variance: Any, encoding: str, shape: tuple[int, ...]) -> None:
    anchors, boxes = (np.asarray(theirs.convert_format(one, "xyxy", fmt, **SIZE)) for one in (drawn(6, 4), drawn(7, *shape)))
    further = {"variance": variance, "image_shape": SHAPE}
    check(lambda module, a, b: module.encode_box_to_deltas(a, b, fmt, fmt, encoding, **further), anchors, boxes)
    deltas = np.asarray(theirs.encode_box_to_deltas(anchors, boxes, fmt, fmt, encoding, **further))
    check(lambda module, a, d: module.decode_deltas_to_boxes(a, d, fmt, "xyxy", encoding, **further), anchors, deltas)
    decoded = ours.decode_deltas_to_boxes(anchors, deltas, fmt, fmt, encoding, **further)
    np.testing.assert_allclose(decoded, boxes, rtol=1e-4, atol=1e-3)


def test_deltas_of_the_levels_of_a_pyramid() -> None:
    anchors = {"P3": drawn(0, 4), "P4": drawn(1, 2)}
    deltas = {level: np.full((3, *boxes.shape), 0.25, "float32") for level, boxes in anchors.items()}
    found, expected = (one.decode_deltas_to_boxes(anchors, deltas, "xyxy", "xywh") for one in (ours, theirs))
    assert set(found) == set(expected)
    for level, boxes in found.items():
        close(boxes, expected[level])


def test_a_box_without_a_size_has_deltas() -> None:
    flat = np.array([[3.0, 3, 3, 9]], "float32")
    for anchors, boxes in ((flat, drawn(0, 1)), (drawn(0, 1), flat)):
        found, expected = (one.encode_box_to_deltas(anchors, boxes, "xyxy", "xyxy") for one in (ours, theirs))
        close(found, expected)


# --- how well boxes agree ---------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((4,), (3,)), ((2, 4), (2, 3)), ((2, 4), (3,)), ((4,), (2, 3))])
@pytest.mark.parametrize("fmt", ["xyxy", "center_yxhw", "rel_xywh"])
def test_iou(fmt: str, shapes: Any) -> None:
    first, second = (np.asarray(theirs.convert_format(drawn(i, *shape), "xyxy", fmt, **SIZE)) for i, shape in enumerate(shapes))
    check(lambda module, a, b: module.compute_iou(a, b, fmt, image_shape=SHAPE), first, second)


@given(seed=seeds)
@drawn_cases(20)
def test_iou_and_ciou_of_drawn_boxes(seed: int) -> None:
    first, second = drawn(seed, 2, 4), drawn(seed + 1, 2, 4)
    check(lambda module, a, b: module.compute_iou(a, b, "xyxy"), first, second)
    check(lambda module, a, b: module.compute_ciou(a, b, "xyxy"), first, second)


@pytest.mark.parametrize("shapes", [((4,), (3,)), ((2, 4), (2, 3))])
def test_masked_iou(shapes: Any) -> None:
    first, second = (drawn(i, *shape) for i, shape in enumerate(shapes))
    first[..., 0, :], second[..., 1, :] = -1, [-5, -5, -2, -2]
    found, expected = (one.compute_iou(first, second, "xyxy", True, -7) for one in (ours, theirs))
    assert np.count_nonzero(np.asarray(found) == -7) == np.prod(shapes[0][:-1], dtype=int) * 6
    close(found, expected)


def test_masked_iou_of_one_set_for_a_batch() -> None:
    """Which Keras cannot transpose: as for each of the batch alone."""
    first, second = drawn(0, 4), drawn(1, 2, 3)
    second[:, 1] = -1
    found = np.asarray(ours.compute_iou(first, second, "xyxy", use_masking=True))
    for one, boxes in zip(found, second):
        close(one, theirs.compute_iou(first, boxes, "xyxy", use_masking=True))


def test_ciou_of_relative_boxes() -> None:
    """Keras refuses them, also with the image's shape."""
    first, second = drawn(0, 5), drawn(1, 5)
    relative = [theirs.convert_format(boxes, "xyxy", "rel_yxyx", **SIZE) for boxes in (first, second)]
    found = ours.compute_ciou(*map(np.asarray, relative), "rel_yxyx", image_shape=SHAPE)
    close(found, theirs.compute_ciou(first, second, "xyxy"), 1e-5)


def test_ciou_of_the_same_box_and_of_one_far_away() -> None:
    box = np.array([0, 0, 4, 4], "float32")
    assert float(ours.compute_ciou(box, box, "xyxy")) == pytest.approx(1, abs=1e-6)
    # No pixel in common: centers 6 apart, and 10 x 4 around both.
    assert float(ours.compute_ciou(box, box + np.array([6, 0, 6, 0], "float32"), "xyxy")) == pytest.approx(-36 / 116, abs=1e-6)


# --- in a graph -------------------------------------------------------------------------

GRAPHS: dict[str, Callable[..., Any]] = {
    "convert_format": lambda a, b: ours.convert_format(a, "xyxy", "rel_center_xywh", **SIZE),
    "clip_to_image_size": lambda a, b: ours.clip_to_image_size({"boxes": a, "labels": b[..., 0]}, **SIZE)["labels"],
    "crop": lambda a, b: ours.crop(a, 7, 11, 40, 30),
    "pad": lambda a, b: ours.pad(a, 7, 11),
    "affine_transform": lambda a, b: ours.affine_transform(a, 20.0, 0.1, 0.2, 1.5, 5.0, 6.0, HEIGHT, WIDTH),
    "encode_box_to_deltas": lambda a, b: ours.encode_box_to_deltas(a, b, "xyxy", "xyxy", variance=VARIANCES[1]),
    "decode_deltas_to_boxes": lambda a, b: ours.decode_deltas_to_boxes(a, b / 80, "xyxy", "xyxy", variance=VARIANCES[1]),
    "compute_iou": lambda a, b: ours.compute_iou(a, b, "xyxy", use_masking=True),
    "compute_ciou": lambda a, b: ours.compute_ciou(a, b, "xyxy"),
}


def test_every_function_has_a_graph() -> None:
    assert set(GRAPHS) == set(ours.__all__)


@pytest.mark.parametrize("name", GRAPHS)
def test_in_a_graph(name: str) -> None:
    boxes, others = drawn(8, 3, 4) - 5, drawn(9, 3, 4)
    expected = np.asarray(GRAPHS[name](boxes, others))
    close(in_a_graph(lambda a, b: GRAPHS[name](a, b + 0 * a), boxes, others), expected.astype("float32"))


# --- errors -----------------------------------------------------------------------------

BOXES = drawn(0, 2, 3)
ERRORS: list[tuple[Callable[[Any], Any], type[Exception], str | None]] = [
    (lambda m: m.convert_format(BOXES[..., :3], "xyxy", "xywh"), ValueError, "last dimension of 4"),
    (lambda m: m.convert_format(BOXES, "xyxy", "corners"), ValueError, "Invalid source or target format"),
    (lambda m: m.convert_format(BOXES, "xyxy", "rel_xyxy", height=3), ValueError, "must receive `height` and `width`"),
    (lambda m: m.clip_to_image_size({"boxes": BOXES}, **SIZE, bounding_box_format="xywh"), NotImplementedError, None),
    (lambda m: m.clip_to_image_size({"boxes": BOXES}, height=3), ValueError, "`height` and `width` must be set"),
    (lambda m: m.crop(BOXES, 1, 1, 1, 1, bounding_box_format="yxyx"), NotImplementedError, None),
    (lambda m: m.pad(BOXES, 1, 1, bounding_box_format="yxyx"), NotImplementedError, None),
    (lambda m: m.affine_transform(BOXES, *range(8), bounding_box_format="yxyx"), NotImplementedError, None),
    (lambda m: m.encode_box_to_deltas(BOXES[0], BOXES, "xyxy", "xyxy", variance=[1, 2]), ValueError, "must be length 4"),
    (lambda m: m.encode_box_to_deltas(BOXES[0], BOXES, "xyxy", "xyxy", "xywh"), ValueError, "`encoding_format` should be"),
    (lambda m: m.decode_deltas_to_boxes(BOXES[0], BOXES, "xyxy", "xyxy", variance=[1]), ValueError, "must be length 4"),
    (lambda m: m.decode_deltas_to_boxes(BOXES[0], BOXES, "xyxy", "xyxy", "xywh"), ValueError, "`encoded_format` should be"),
    (lambda m: m.compute_iou(BOXES[0, 0], BOXES, "xyxy"), ValueError, r"expects boxes1 to be batched"),
    (lambda m: m.compute_iou(BOXES, BOXES[None], "xyxy"), ValueError, r"expects boxes2 to be batched"),
    (lambda m: m.compute_iou(BOXES, BOXES, "rel_xyxy"), ValueError, "`image_shape` argument must be provided"),
    (lambda m: m.compute_ciou(BOXES, BOXES, "rel_xyxy"), ValueError, "`image_shape` argument must be provided"),
    (lambda m: m.compute_iou(BOXES, BOXES, "rel_xyxy", image_shape=(3, 4)), ValueError, None),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_what_is_refused(call: Callable[[Any], Any], error: type[Exception], message: str | None) -> None:
    for module in (ours, theirs):
        with pytest.raises(error, match=message):
            call(module)


def test_an_error_says_what_came() -> None:
    with pytest.raises(NotImplementedError, match=r"crop\(\) takes boxes in xyxy.*bounding_box_format=yxyx"):
        ours.crop(BOXES, 1, 1, 1, 1, bounding_box_format="yxyx")
    with pytest.raises(ValueError, match=r"`image_shape` must be \(height, width, channels\).*\(3, 4\)"):
        ours.compute_ciou(BOXES, BOXES, "rel_xyxy", image_shape=(3, 4))
    with pytest.raises(ValueError, match=r"must be length 4, got 0\.1"):
        ours.encode_box_to_deltas(BOXES, BOXES, "xyxy", "xyxy", variance=0.1)
