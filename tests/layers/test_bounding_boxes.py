"""`MaxNumBoundingBoxes` against Keras's."""

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
