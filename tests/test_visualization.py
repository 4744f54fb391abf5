"""`minicnn.visualization` against Keras's: where the lines of boxes are, what masks blend to, what a gallery holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import matplotlib.patches
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from minicnn import config
from minicnn import visualization as ours
from minicnn.study.overlays import Boxes, Pen, mark
from tests.drawn import drawn_cases
from tests.ops.checks import seeds

theirs = keras.visualization
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 200, (2, 48, 64, 3), "uint8")
BOXES = {
    "boxes": np.array([[[10, 20, 40, 40], [5, 5, 20, 12]], [[-6, 8, 30, 70], [0, 0, 9, 9]]], "float32"),
    "labels": np.array([[0, 1], [1, -1]]),
}
COLOR = (255, 220, 210)  # none of the images' pixels
NAMES = {0: "cat", 1: "dog"}


# --- boxes ------------------------------------------------------------------------------


@pytest.mark.parametrize("thickness", [1, 2, 3, 5])
@pytest.mark.parametrize("fmt", ["xyxy", "rel_yxyx", "center_xywh"])
def test_lines_are_where_keras_draws_them(fmt: str, thickness: int) -> None:
    """The pixels on which a box's border lies have its color; none outside of Keras's lines, which are wider, is changed."""
    boxes = {**BOXES, "boxes": keras.utils.bounding_boxes.convert_format(BOXES["boxes"], "xyxy", fmt, 48, 64)}
    kept = IMAGES.copy()
    found, expected, borders = (
        module.draw_bounding_boxes(IMAGES, dict(boxes), fmt, color=COLOR, line_thickness=width)
        for module, width in ((ours, thickness), (theirs, thickness), (theirs, 1))
    )
    np.testing.assert_array_equal(IMAGES, kept)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    painted = (found == COLOR).all(-1)
    beyond = (painted & ~(expected == COLOR).all(-1)).sum()
    assert beyond <= (12 if thickness == 2 else 0)  # the corners of three boxes: OpenCV's are round
    assert not ((borders == COLOR).all(-1) & ~painted).any()
    np.testing.assert_array_equal(found[~painted], IMAGES[~painted])
    assert painted[0, 30, :30].sum() == thickness  # a border in the middle of an image
    assert not painted[1, 20, 10:25].any()  # the inside
    if thickness == 1:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floats_become_bytes_as_keras_s(scale: float) -> None:
    images = RNG.random((2, 48, 64, 3), np.float32) * np.float32(scale)
    found, expected = (
        one.draw_bounding_boxes(images, dict(BOXES), "xyxy", line_thickness=1, color=COLOR) for one in (ours, theirs)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("channels", "ink"), [(1, [229]), (4, [*COLOR, 255])])
def test_colors_in_one_channel_and_in_four(channels: int, ink: list[int]) -> None:
    """One channel has the brightness: 0.299 red + 0.587 green + 0.114 blue."""
    images = np.zeros((2, 48, 64, channels), "uint8")
    drawn = ours.draw_bounding_boxes(images, BOXES, "xyxy", NAMES, COLOR, font_scale=0.5)
    assert drawn.shape == images.shape
    np.testing.assert_array_equal(drawn[0, 30, 10], ink)


def test_boxes_on_images_with_their_channels_first() -> None:
    found = ours.draw_bounding_boxes(IMAGES.transpose(0, 3, 1, 2), BOXES, "xyxy", NAMES, data_format="channels_first")
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), ours.draw_bounding_boxes(IMAGES, BOXES, "xyxy", NAMES))


def covered(images: np.ndarray, boxes: Any, names: Any, **arguments: Any) -> np.ndarray:
    """Where names make a difference."""
    with_names, without = (ours.draw_bounding_boxes(images, boxes, "xyxy", one, **arguments) for one in (names, None))
    return (with_names != without).any(-1)


def test_names_are_in_the_image_and_can_be_read() -> None:
    images = np.full((1, 256, 256, 3), 250, "uint8")
    for corners in ([2, 2, 60, 60], [200, 200, 255, 255], [0, 0, 255, 255], [230, -20, 300, 40]):
        boxes = {"boxes": np.array([[corners]], "float32"), "labels": np.array([[0]])}
        rows, columns = np.nonzero(covered(images, boxes, {0: "elephant"}, color=(250, 240, 0))[0])
        assert (np.ptp(columns), np.ptp(rows)) >= (100, 20)
        drawn = ours.draw_bounding_boxes(images, boxes, "xyxy", {0: "elephant"}, (250, 240, 0))[0]
        assert (drawn == 0).all(-1).sum() > 200  # black letters on yellow
        drawn = ours.draw_bounding_boxes(images, boxes, "xyxy", {0: "elephant"}, (120, 0, 60))[0]
        edges = drawn[[0, -1, *range(256), *range(256)], [0, -1, *[0] * 256, *[255] * 256]]
        assert (drawn == 255).all(-1).sum() > 200  # white ones on purple,
        assert not (edges == 255).all(-1).any()  # not cut off


def test_what_has_no_name_or_is_elsewhere_gets_none() -> None:
    assert not covered(IMAGES, BOXES, {7: "cat"}).any()
    outside = {"boxes": np.array([[[70, 5, 90, 20]], [[-30, -30, -3, -3]]], "float32"), "labels": np.zeros((2, 1))}
    np.testing.assert_array_equal(ours.draw_bounding_boxes(IMAGES, outside, "xyxy", NAMES), IMAGES)


def test_confidences_and_bold_letters_make_names_wider() -> None:
    images = np.full((2, 300, 300, 3), 50, "uint8")
    area = covered(images, BOXES, NAMES).sum()
    assert covered(images, {**BOXES, "confidences": np.full((2, 2), 0.5)}, NAMES).sum() > 1.5 * area
    assert area < covered(images, BOXES, NAMES, text_thickness=3).sum()
    assert covered(images, BOXES, NAMES, font_scale=0.5).sum() < area / 2
    thick = covered(images, BOXES, NAMES, line_thickness=3, text_thickness=None)
    np.testing.assert_array_equal(thick, covered(images, BOXES, NAMES, line_thickness=3, text_thickness=3))


def test_long_names_on_small_images() -> None:
    boxes = {"boxes": np.array([[[5, 5, 30, 30]]], "float32"), "labels": np.array([[0]])}
    found = covered(np.zeros((1, 32, 32, 3), "uint8"), boxes, {0: "a name far too long for so small an image"})
    assert found.any(axis=(0, 1)).sum() == 32  # from the left to the right
    assert 8 <= found.any(axis=(0, 2)).sum() <= 14  # one line


@given(seed=seeds)
@drawn_cases(10)
def test_names_do_not_cover_each_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 200, (1, 4, 2))
    corners = np.concatenate([corner, corner + random.uniform(10, 100, (1, 4, 2))], -1)
    corners[0, 1] = corners[0, 0]  # as of a right prediction
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    groups = [Boxes(corners[:, i : i + 1], np.array([[0]]), None, {0: "cat"}, color) for i, color in enumerate(colors)]
    pen = Pen(1, 1, 0.7)

    def inked(groups: list[Boxes]) -> np.ndarray:
        """How many pixels are letters: black on yellow and green, white on red and blue."""
        drawn = mark(np.full((1, 256, 256, 3), 99, "uint8"), groups, pen)[0]
        return np.array([(drawn == shade).all(-1).sum() for shade in (0, 255)])

    np.testing.assert_array_equal(inked(groups), sum(inked([one]) for one in groups))


# --- masks ------------------------------------------------------------------------------


@given(seed=seeds)
@drawn_cases(40)
def test_masks_blend_as_keras_s(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = random.uniform(1, 255, (2, 5, 6, 3)).astype(random.choice(["uint8", "float32"]))
    classes = int(random.integers(1, 12))
    masks = random.integers(-1, classes, (2, 5, 6, 1))
    arguments: dict[str, Any] = {"alpha": float(random.uniform()), "ignore_index": int(random.integers(-1, classes))}
    if seed % 3 == 0:
        arguments["color_mapping"] = {i: tuple(random.integers(0, 256, 3).tolist()) for i in range(classes)}
    found = ours.draw_segmentation_masks(images, masks, classes, **arguments)
    expected = theirs.draw_segmentation_masks(images, masks, classes, **arguments)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


MASKS = RNG.integers(0, 4, (2, 48, 64, 1))


def test_masks_without_blending() -> None:
    expected = np.asarray(theirs.draw_segmentation_masks(IMAGES, MASKS, 4, blend=False))
    np.testing.assert_array_equal(ours.draw_segmentation_masks(IMAGES, MASKS, 4, blend=False), expected.astype("uint8"))
    ignored = ours.draw_segmentation_masks(IMAGES, MASKS, 4, blend=False, ignore_index=2)
    np.testing.assert_array_equal(ignored, np.where(MASKS == 2, IMAGES, expected).astype("uint8"))


@pytest.mark.parametrize("classes", [None, 3])
def test_the_class_of_the_highest_number_is_drawn(classes: int | None) -> None:
    found = ours.draw_segmentation_masks(IMAGES, MASKS, classes)
    np.testing.assert_array_equal(found, theirs.draw_segmentation_masks(IMAGES, MASKS, 4))
    fewer = ours.draw_segmentation_masks(IMAGES, MASKS, 2)
    np.testing.assert_array_equal(fewer, np.where(MASKS <= 2, found, IMAGES))


def test_classes_without_a_color_are_left() -> None:
    found = ours.draw_segmentation_masks(IMAGES, MASKS, color_mapping={1: (9, 8, 7), 3: (200, 1, 2)}, alpha=1)
    expected = np.where(MASKS == 1, [9, 8, 7], np.where(MASKS == 3, [200, 1, 2], IMAGES))
    np.testing.assert_array_equal(found, expected)


def test_masks_in_other_forms() -> None:
    expected = ours.draw_segmentation_masks(IMAGES, MASKS)
    np.testing.assert_array_equal(ours.draw_segmentation_masks(IMAGES, MASKS[..., 0]), expected)
    first = [array.transpose(0, 3, 1, 2) for array in (IMAGES, MASKS)]
    np.testing.assert_array_equal(ours.draw_segmentation_masks(*first, data_format="channels_first"), expected)
    np.testing.assert_array_equal(ours.draw_segmentation_masks(IMAGES / np.float32(255), MASKS), expected)
    gray = IMAGES[..., :1]
    np.testing.assert_array_equal(
        ours.draw_segmentation_masks(gray, MASKS), ours.draw_segmentation_masks(gray.repeat(3, -1), MASKS)
    )
    opaque = np.concatenate([IMAGES, np.full_like(gray, 255)], -1)
    np.testing.assert_array_equal(ours.draw_segmentation_masks(opaque, MASKS)[..., :3], expected)


# --- galleries --------------------------------------------------------------------------


def panels(figure: Any) -> list[np.ndarray]:
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


def titles(figure: Any) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.images]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9])
def test_a_gallery_shows_every_image(count: int) -> None:
    images = RNG.integers(0, 256, (count, 6, 5, 3), "uint8")
    for image, shown in zip(images, panels(ours.plot_image_gallery(images)), strict=True):
        np.testing.assert_array_equal(shown, image)
    figure = ours.plot_image_gallery(images, cols=2)
    assert len(panels(figure)) == count
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (-(-count // 2), min(count, 2))
    assert len(panels(ours.plot_image_gallery(images, rows=1, cols=2))) == min(count, 2)


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (0, 255)])
def test_values_as_bytes(value_range: tuple[int, int]) -> None:
    low, high = value_range
    images = np.arange(256, dtype="float32").reshape(1, 16, 16, 1) / 255 * (high - low) + low
    (shown,) = panels(ours.plot_image_gallery(images, value_range=value_range))
    np.testing.assert_array_equal(shown, np.arange(256).reshape(16, 16))


def test_names_of_classes() -> None:
    names = {0: "cat", 1: "dog"}
    assert titles(ours.plot_image_gallery(IMAGES, [0, 1], label_map=names)) == ["Label: cat", "Label: dog"]
    both = ours.plot_image_gallery(IMAGES, np.array([[0], [1]]), [[0.1, 0.9], [0.8, 0.2]], names)
    assert titles(both) == ["Label: cat\nPred: dog", "Label: dog\nPred: cat"]
    assert titles(ours.plot_image_gallery(IMAGES, y_pred=[7], label_map=names)) == ["Pred: Unknown", ""]


def test_titles_stay_above_their_own_images() -> None:
    figure = ours.plot_image_gallery(IMAGES, [0, 0], [0, 0], {0: "a name that is far too long to be written in a line"}, rows=1)
    figure.draw_without_rendering()
    left, right = (axis.title.get_window_extent() for axis in figure.axes)
    assert left.x1 < right.x0
    assert left.y1 <= figure.bbox.y1


def test_a_gallery_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gallery.png"
    ours.plot_image_gallery(IMAGES, path=path, dpi=50)
    with Image.open(path) as picture:
        assert picture.mode == "RGBA"
        assert 90 <= picture.width <= 115  # one column of 2 inches
        assert np.asarray(picture)[..., 3].min() == 0  # transparent around the images


def test_show_is_pyplot_s(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    figure = ours.plot_image_gallery(IMAGES)
    assert shown == []
    assert plt.get_fignums() == []
    figure = ours.plot_image_gallery(IMAGES, show=True)
    assert shown == [figure]
    assert plt.get_fignums() == []
    assert panels(figure)[0].shape == IMAGES.shape[1:]


def test_boxes_in_a_gallery() -> None:
    """Of images of 48 rows, eight times as large: the lines are where `draw_bounding_boxes` puts them on such."""
    figure = ours.plot_bounding_box_gallery(IMAGES, "xyxy", BOXES, class_mapping=NAMES, line_thickness=3, font_scale=0.7)
    larger = IMAGES.repeat(8, 1).repeat(8, 2)
    boxes = {**BOXES, "boxes": BOXES["boxes"] * 8}
    expected = ours.draw_bounding_boxes(larger, boxes, "xyxy", NAMES, (0, 188, 212), 3, 3, 0.7)
    for shown, image in zip(panels(figure), expected, strict=True):
        np.testing.assert_array_equal(shown, image)


def test_both_kinds_of_boxes_in_a_gallery() -> None:
    predicted = {**BOXES, "confidences": np.full((2, 2), 0.75)}
    images = IMAGES[..., :1] / np.float32(255)
    figure = ours.plot_bounding_box_gallery(
        images, "xyxy", BOXES, predicted, (0, 1), ground_truth_mapping={0: "cat"}, prediction_mapping=NAMES, legend=True
    )
    first = panels(figure)[0]
    for color in ((0, 188, 212), (255, 235, 59)):
        assert (first == color).all(-1).sum() > 1000
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Ground Truth", "Prediction"]
    own = [matplotlib.patches.Patch(label="mine")]
    plain = ours.plot_bounding_box_gallery(images, "xyxy", legend_handles=own, rows=1, cols=1)
    assert [text.get_text() for text in plain.legends[0].get_texts()] == ["mine"]
    np.testing.assert_array_equal(panels(plain)[0], IMAGES[0, ..., 0])


def test_masks_in_a_gallery() -> None:
    figure = ours.plot_segmentation_mask_gallery(IMAGES, 3, y_true=MASKS, y_pred=MASKS[..., 0].astype("float32"), alpha=0.5)
    drawn = ours.draw_segmentation_masks(IMAGES, MASKS, 3, alpha=0.5)
    expected = [IMAGES[0], drawn[0], drawn[0], IMAGES[1], drawn[1], drawn[1]]
    for shown, image in zip(panels(figure), expected, strict=True):
        np.testing.assert_array_equal(shown, image)
    scaled = ours.plot_segmentation_mask_gallery(IMAGES / np.float32(255), 3, (0, 1), MASKS, alpha=0.5)
    for shown, image in zip(panels(scaled), [IMAGES[0], drawn[0], IMAGES[1], drawn[1]], strict=True):
        np.testing.assert_array_equal(shown, image)


@pytest.fixture
def channels_first() -> Iterator[None]:
    config.set_image_data_format("channels_first")
    yield
    config.set_image_data_format("channels_last")


def test_galleries_of_images_with_their_channels_first(channels_first: None) -> None:
    images, masks = IMAGES.transpose(0, 3, 1, 2), MASKS.transpose(0, 3, 1, 2)
    for data_format in (None, "channels_first"):
        for figure in (
            ours.plot_image_gallery(images, data_format=data_format),
            ours.plot_bounding_box_gallery(images, "xyxy", data_format=data_format),
            ours.plot_segmentation_mask_gallery(images, 3, data_format=data_format),
        ):
            np.testing.assert_array_equal(panels(figure)[1], IMAGES[1])
        drawn = panels(ours.plot_segmentation_mask_gallery(images, 3, y_true=masks, data_format=data_format))[1]
        np.testing.assert_array_equal(drawn, ours.draw_segmentation_masks(IMAGES, MASKS, 3, data_format="channels_last")[0])


# --- errors -----------------------------------------------------------------------------

BOTH: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda m: m.draw_bounding_boxes(IMAGES[0], BOXES, "xyxy"), ValueError, "`images` must be batched 4D tensor"),
    (lambda m: m.draw_bounding_boxes(IMAGES, BOXES["boxes"], "xyxy"), TypeError, "`bounding_boxes` should be a dict"),
    (lambda m: m.draw_bounding_boxes(IMAGES, {"boxes": 1}, "xyxy"), ValueError, "containing 'boxes' and 'labels' keys"),
    (lambda m: m.draw_segmentation_masks(IMAGES[0], MASKS), ValueError, "`images` must be batched 4D tensor"),
    (lambda m: m.draw_segmentation_masks(IMAGES, MASKS / 2), TypeError, "must be in integer dtype.*float"),
    (lambda m: m.plot_image_gallery(IMAGES, path="x.png", show=True), ValueError, "either `path` to be set, or `show`"),
    (lambda m: m.plot_image_gallery(IMAGES, [0, 1]), ValueError, "a `label_map` must also be provided"),
    (lambda m: m.plot_image_gallery(IMAGES[0]), ValueError, "batch your"),
    (lambda m: m.plot_bounding_box_gallery(IMAGES[0], "xyxy"), ValueError, "`images` must be batched 4D tensor"),
    (lambda m: m.plot_bounding_box_gallery(IMAGES, "xyxy", legend=1, legend_handles=[1]), ValueError, "`legend` OR `legend_h"),
    (lambda m: m.plot_segmentation_mask_gallery(IMAGES[0], 3), ValueError, "`images` must be batched 4D tensor"),
]


@pytest.mark.parametrize(("call", "error", "message"), BOTH)
def test_what_both_refuse(call: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    for module in (ours, theirs):
        with pytest.raises(error, match=message):
            call(module)
        plt.close("all")


OWN: list[tuple[Callable[[], Any], str]] = [
    (lambda: ours.draw_bounding_boxes(IMAGES[..., :2], BOXES, "xyxy"), r"1, 3 or 4 channels.*\(2, 48, 64, 2\)"),
    (lambda: ours.draw_bounding_boxes(IMAGES[:1], BOXES, "xyxy"), r"'labels' \(1, boxes\).*labels.shape=\(2, 2\)"),
    (lambda: ours.draw_bounding_boxes(IMAGES, {**BOXES, "confidences": [1]}, "xyxy"), r"confidences.shape=\(1,\)"),
    (lambda: ours.draw_bounding_boxes(IMAGES, BOXES, "xyxy", color=(1, 2)), r"three numbers.*color=\(1, 2\)"),
    (lambda: ours.draw_segmentation_masks(IMAGES, MASKS, alpha=2), r"`alpha` must be in \[0, 1\].*alpha=2"),
    (lambda: ours.draw_segmentation_masks(IMAGES, MASKS[:, 1:]), r"must be \(2, 48, 64\).*\(2, 47, 64, 1\)"),
    (lambda: ours.plot_image_gallery(IMAGES[:0]), r"Nothing to draw: images.shape=\(0, 48, 64, 3\)"),
    (lambda: ours.plot_image_gallery(IMAGES, value_range=(1, 1)), r"two different numbers.*\(1, 1\)"),
]


@pytest.mark.parametrize(("call", "message"), OWN)
def test_what_cannot_be_drawn(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
