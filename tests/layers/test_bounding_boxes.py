"""Boxes around objects in the layers of augmentation: against Keras's, and against the pixels that they hold."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import minicnn
from minicnn import layers

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((2, 5, 6, 3)).astype("float32")
BOXES = (RANDOM.random((2, 3, 4)) * 6).astype("float32")
LABELS = np.array([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("max_number", [0, 2, 3, 5])
@pytest.mark.parametrize("lone", [False, True])
def test_boxes_and_labels_are_as_many_as_keras_has(max_number: int, lone: bool) -> None:
    boxes = {"boxes": BOXES[0] if lone else BOXES, "labels": LABELS[0] if lone else LABELS}
    given: dict[str, Any] = {
        "images": IMAGES[0] if lone else IMAGES,
        "bounding_boxes": boxes,
        "labels": np.array([7, 8])[lone:],
    }
    arguments = {"max_number": max_number, "fill_value": -2, "bounding_box_format": "xyxy"}
    ours = layers.MaxNumBoundingBoxes(**arguments)(given)
    theirs = keras.layers.MaxNumBoundingBoxes(**arguments)({**given, "bounding_boxes": dict(boxes)})
    assert list(ours) == list(given)
    for key in ("images", "labels"):
        np.testing.assert_array_equal(ours[key], given[key])
    for key in ("boxes", "labels"):
        np.testing.assert_array_equal(ours["bounding_boxes"][key], theirs["bounding_boxes"][key])
    assert ours["bounding_boxes"]["boxes"].dtype == "float32"
    np.testing.assert_array_equal(given["bounding_boxes"]["boxes"], BOXES[0] if lone else BOXES)  # not changed in place


def test_lists_of_other_lengths_become_a_batch() -> None:
    boxes = {"boxes": [BOXES[0, :1].tolist(), [], BOXES[1].tolist()], "labels": [[1], [], [4, 5, 6]]}
    found = layers.MaxNumBoundingBoxes(2, bounding_box_format="xywh")(
        {"images": np.zeros((3, 4, 4, 1)), "bounding_boxes": boxes}
    )
    empty = np.full(4, -1)
    expected = [[BOXES[0, 0], empty], [empty, empty], BOXES[1, :2]]
    np.testing.assert_array_equal(found["bounding_boxes"]["boxes"], expected)
    np.testing.assert_array_equal(found["bounding_boxes"]["labels"], [[1, -1], [-1, -1], [4, 5]])


def test_in_a_pipeline_images_of_other_numbers_of_boxes_are_batched() -> None:
    layer = layers.MaxNumBoundingBoxes(4, bounding_box_format="xyxy")

    def with_boxes(count: int) -> dict[str, Any]:
        return {"images": IMAGES[0], "bounding_boxes": {"boxes": BOXES[0, :count], "labels": LABELS[0, :count]}}

    data = minicnn.data.Dataset.from_generator(lambda: (with_boxes(count) for count in (3, 1))).map(layer).batch(2)
    (batch,) = data
    assert np.shape(batch["bounding_boxes"]["boxes"]) == (2, 4, 4)
    np.testing.assert_array_equal(batch["bounding_boxes"]["labels"], [[1, 2, 3, -1], [1, -1, -1, -1]])


def test_images_alone_pass_and_the_config_goes_both_ways() -> None:
    layer = layers.MaxNumBoundingBoxes(5, fill_value=0, bounding_box_format="xyxy", name="boxes")
    np.testing.assert_array_equal(layer(IMAGES), IMAGES)
    model = minicnn.Sequential([minicnn.Input((5, 6, 3)), layer])
    assert model.output_shape == (None, 5, 6, 3)
    for other in (layers.MaxNumBoundingBoxes, keras.layers.MaxNumBoundingBoxes):
        copied = other.from_config(layer.get_config())
        assert (copied.max_number, copied.fill_value, copied.bounding_box_format) == (5, 0, "xyxy")
    theirs = keras.layers.MaxNumBoundingBoxes(5, name="boxes")
    assert layers.MaxNumBoundingBoxes.from_config(theirs.get_config()).max_number == 5


def test_errors() -> None:
    with pytest.raises(ValueError, match="`max_number` must be a whole number, 0 or more"):
        layers.MaxNumBoundingBoxes(-1)
    given = {"images": IMAGES, "bounding_boxes": {"boxes": BOXES, "labels": LABELS[:, :2]}}
    with pytest.raises(ValueError, match="pass `bounding_box_format`, for example 'xyxy'"):
        layers.MaxNumBoundingBoxes(2)(given)
    layer = layers.MaxNumBoundingBoxes(2, bounding_box_format="xyxy")
    with pytest.raises(ValueError, match=r"images have \[3, 3\] boxes, but \[2, 2\] labels"):
        layer(given)
    with pytest.raises(ValueError, match="a dict with the keys 'boxes' and 'labels'"):
        layer({"images": IMAGES, "bounding_boxes": BOXES})


MOVING: list[tuple[str, dict[str, Any], str]] = [
    ("RandomTranslation", {"height_factor": (0.2, 0.2), "width_factor": (-0.25, -0.25)}, "rel_xywh"),
    ("RandomZoom", {"height_factor": (0.3, 0.3), "width_factor": (-0.2, -0.2)}, "center_xywh"),
    ("RandomRotation", {"factor": (0.1, 0.1)}, "xyxy"),  # Keras rotates no boxes of other formats rightly
    ("RandomPerspective", {"scale": 0.0}, "xyxy"),
    ("RandomBrightness", {"factor": 0.2}, "xywh"),
    ("RandomErasing", {}, "yxyx"),
    ("Resizing", {"height": 10, "width": 12}, "rel_yxyx"),
    ("Resizing", {"height": 10, "width": 12, "pad_to_aspect_ratio": True}, "xyxy"),
    ("CenterCrop", {"height": 12, "width": 10}, "rel_xyxy"),
    ("CenterCrop", {"height": 30, "width": 10}, "xywh"),
]


@pytest.mark.parametrize("lone", [False, True])
@pytest.mark.parametrize(("name", "arguments", "form"), MOVING)
def test_boxes_move_as_keras_moves_them(name: str, arguments: dict[str, Any], form: str, lone: bool) -> None:
    corners = np.array([[[2, 3, 10, 12], [0, 0, 4, 4]], [[5, 5, 9, 20], [12, 1, 15, 6]]], "float32")
    boxes = np.asarray(keras.utils.bounding_boxes.convert_format(corners, "xyxy", form, 20, 16))
    images, labels = RANDOM.random((2, 20, 16, 3)).astype("float32"), np.array([[1, 2], [3, 4]])
    results = []
    for module in (minicnn, keras):
        layer = getattr(module.layers, name)(**arguments, bounding_box_format=form)
        assert layer.get_config()["bounding_box_format"] == form
        given = {"boxes": boxes[0] if lone else boxes.copy(), "labels": labels[0] if lone else labels}
        results.append(layer({"images": images[0] if lone else images, "bounding_boxes": given}, training=True))
    for key in ("boxes", "labels"):
        ours, theirs = (np.asarray(result["bounding_boxes"][key]) for result in results)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("make", "slack"),
    [
        (lambda form: layers.RandomFlip(bounding_box_format=form, seed=1), 0),
        (lambda form: layers.RandomCrop(24, 20, bounding_box_format=form, seed=1), 0),
        (lambda form: layers.Resizing(24, 30, crop_to_aspect_ratio=True, bounding_box_format=form), 1),
        (lambda form: layers.RandomTranslation(0.3, 0.3, "constant", "nearest", bounding_box_format=form, seed=1), 1),
        (lambda form: layers.RandomZoom(0.4, 0.4, "constant", bounding_box_format=form, seed=1), 1),
        (lambda form: layers.RandomRotation(0.3, "constant", bounding_box_format=form, seed=1), 1.5),
        (lambda form: layers.RandomShear(0.3, 0.2, fill_mode="constant", bounding_box_format=form, seed=1), 1.5),
        (lambda form: layers.RandomPerspective(scale=0.4, bounding_box_format=form, seed=1), 1.5),
    ],
)
@pytest.mark.parametrize("form", ["xyxy", "rel_center_xywh"])
def test_boxes_hold_what_they_held(make: Any, slack: float, form: str) -> None:
    """Objects are painted into masks, which move with the images: their pixels say where the boxes have to be."""
    draw, images = np.random.default_rng(4), np.zeros((12, 32, 40, 1), "float32")
    masks, corners = np.zeros((12, 32, 40, 1), "int32"), np.zeros((12, 1, 4), "float32")
    for mask, box in zip(masks, corners[:, 0], strict=True):
        left, top = draw.integers(0, 28), draw.integers(0, 20)
        right, bottom = left + draw.integers(6, 12), top + draw.integers(6, 12)
        mask[top:bottom, left:right], box[:] = 1, (left, top, right, bottom)
    boxes = keras.utils.bounding_boxes.convert_format(corners, "xyxy", form, 32, 40)
    given = {"boxes": np.asarray(boxes), "labels": np.ones((12, 1), int)}
    layer = make(form)
    found = layer({"images": images, "bounding_boxes": given, "segmentation_masks": masks}, training=True)
    moved, size = np.asarray(found["segmentation_masks"])[..., 0], found["images"].shape[1:3]
    after = keras.utils.bounding_boxes.convert_format(np.asarray(found["bounding_boxes"]["boxes"]), form, "xyxy", *size)
    seen = 0
    for mask, box, label in zip(moved, np.asarray(after)[:, 0], found["bounding_boxes"]["labels"][:, 0], strict=True):
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        if label == -1 or not rows.size:
            assert rows.size <= 1 or label != -1
            continue
        seen += 1
        np.testing.assert_allclose(box, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=slack + 1e-3)
    assert seen > 5
    again = layers.deserialize(layers.serialize(layer))
    assert again.bounding_box_format == form


def test_mixed_images_have_the_boxes_of_both() -> None:
    images, boxes = np.zeros((2, 5, 6, 3), "float32"), {"boxes": BOXES, "labels": LABELS}
    given = {"images": images, "labels": np.eye(2, dtype="float32"), "bounding_boxes": boxes}
    found = layers.MixUp(bounding_box_format="xyxy", seed=1)(given)["bounding_boxes"]
    theirs = keras.layers.MixUp(bounding_box_format="xyxy", seed=1)({**given, "bounding_boxes": dict(boxes)})
    assert found["boxes"].shape == tuple(theirs["bounding_boxes"]["boxes"].shape) == (2, 6, 4)
    assert found["labels"].shape == (2, 6)  # Keras puts them one below the other, (4, 3)
    drawn = layers.RandAugment(bounding_box_format="xyxy", seed=1)({"images": images, "bounding_boxes": boxes})
    assert drawn["bounding_boxes"]["boxes"].shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("layer", "boxes", "error", "message"),
    [
        (layers.RandomFlip(), {"boxes": BOXES, "labels": LABELS}, ValueError, "no bounding box format: pass"),
        (layers.RandomFlip(bounding_box_format="xyxy"), BOXES, ValueError, "a dict with the keys 'boxes' and 'labels'"),
        (layers.CutMix(bounding_box_format="xyxy"), {"boxes": BOXES, "labels": LABELS}, NotImplementedError, "CutMix moves no"),
        (
            layers.RandomElasticTransform(bounding_box_format="xyxy"),
            {"boxes": BOXES, "labels": LABELS},
            NotImplementedError,
            "RandomElasticTransform moves no",
        ),
        (
            layers.RandomFlip(bounding_box_format="xyxy"),
            {"boxes": [BOXES[0], BOXES[1, :2]], "labels": [LABELS[0], LABELS[1, :2]]},
            ValueError,
            r"put a `MaxNumBoundingBoxes` before it. Received: \[3, 2\]",
        ),
    ],
)
def test_boxes_that_cannot_be_moved(layer: Any, boxes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        layer({"images": IMAGES, "bounding_boxes": boxes}, training=True)
