"""What stands beside the pictures: titles, axes, colours, numbers in cells, and how many panels there are."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

import minicnn
from minicnn import layers, study
from minicnn.models import Sequential
from tests.test_study import NAMES, images_of, texts_of

RANDOM = np.random.default_rng(4)
IMAGES, LABELS = RANDOM.random((7, 9, 9, 3)).astype("float32"), np.array([2, 0, 1, 1, 2, 0, 2])
PREDICTED = np.eye(3)[[2, 1, 1, 0, 2, 2, 0]] * 0.7 + 0.1
SMALL = [[0.0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 15], [12, 13, 14, 11]]
HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.5], "accuracy": [0.1, 0.5], "lr": [1.0, 0.5]}


@pytest.fixture
def net():
    minicnn.set_random_seed(3)
    return Sequential(
        [
            layers.Input((9, 9, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(5, 2, activation="relu", name="deep"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )


@pytest.fixture
def shot():
    return np.random.default_rng(0).random((9, 9, 3), dtype=np.float32)


def recorder():
    recorded = study.GradientNorms()
    recorded.steps = [0, 5]
    recorded.norms = {f"{name}/{kind}": [1.0, 0.5] for name in "abcdefgh" for kind in ("kernel", "bias")}
    return recorded


FOUND = study.RateSearch(np.array([0.01, 0.1, 1.0, 10.0]), np.array([3, 2.6, 0.4, 4]), np.array([3, 2.5, 0.5, 3]))
FIGURES = {
    "learning_curves": lambda net, shot, **named: study.learning_curves(HISTORY, **named),
    "sample_grid": lambda net, shot, **named: study.sample_grid(IMAGES, LABELS, **named),
    "label_counts": lambda net, shot, **named: study.label_counts(LABELS, **named),
    "confusion_matrix": lambda net, shot, **named: study.confusion_matrix(LABELS, PREDICTED, **named),
    "mistakes_gallery": lambda net, shot, **named: study.mistakes_gallery(IMAGES, LABELS, PREDICTED, **named),
    "filters": lambda net, shot, **named: study.filters(net, **named),
    "feature_maps": lambda net, shot, **named: study.feature_maps(net, shot, **named),
    "im2col_matrix": lambda net, shot, **named: study.im2col_matrix(shot, **named),
    "max_pool_argmax": lambda net, shot, **named: study.max_pool_argmax(shot, **named),
    "gradient_norms": lambda net, shot, **named: study.gradient_norms(recorder(), **named),
    "saliency": lambda net, shot, **named: study.saliency(net, shot, **named),
    "grad_cam": lambda net, shot, **named: study.grad_cam(net, shot, **named),
    "augmentation_preview": lambda net, shot, **named: study.augmentation_preview(lambda one: one, shot, **named),
    "rate_search": lambda net, shot, **named: study.rate_search(FOUND, **named),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_title_is_shown_where_one_is_given(name, net, shot):
    figures = FIGURES[name](net, shot, title="A title"), FIGURES[name](net, shot)
    titled, plain = ([*texts_of(figure), figure.get_suptitle()] for figure in figures)
    assert titled.count("A title") == 1
    assert "A title" not in plain
    if figures[0].get_suptitle() and name not in (
        "filters",
        "learning_curves",
        "feature_maps",
        "im2col_matrix",
        "max_pool_argmax",
    ):
        assert figures[0].get_figheight() > figures[1].get_figheight()  # room for it


@pytest.mark.parametrize(("columns", "places"), [(3, (3, 3)), (9, (7, 1)), (1, (1, 7))])
def test_panels_stand_in_columns(columns, places):
    figure = study.sample_grid(IMAGES, columns=columns)
    across, down = places
    specs = [axis.get_subplotspec() for axis in figure.axes[:7]]
    assert [(one.colspan.start, one.rowspan.start) for one in specs] == [(i % across, i // across) for i in range(7)]
    assert specs[0].get_gridspec().get_geometry() == (down, across)
    assert len(figure.axes) == across * down
    assert not any(axis.axison for axis in figure.axes)
    assert not [text for text in texts_of(figure) if text]  # no labels were given
    assert len(images_of(study.sample_grid(IMAGES, LABELS))) == 7
    with pytest.raises(ValueError, match="Nothing to draw: 7 images, count=0"):
        study.sample_grid(IMAGES, count=0)


def test_curves_of_one_run_and_of_several():
    figure = study.learning_curves(HISTORY)
    loss, accuracy = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["loss", "accuracy"]  # no rate
    assert (loss.get_xlabel(), loss.get_legend() is None) == ("epoch", False)
    solid, dashed = loss.lines
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--"]
    assert solid.get_color() != dashed.get_color()
    assert [line.get_label() for line in accuracy.lines] == ["training"]
    assert solid.get_marker() in ("None", None)
    assert study.learning_curves({"loss": [1.0]}).axes[0].lines[0].get_marker() == "o"  # one epoch is a point
    compared = study.learning_curves({"one": HISTORY, "two": HISTORY}, ["loss"]).axes[0].lines
    assert compared[0].get_color() == compared[1].get_color() != compared[2].get_color()


def test_bars_of_parts_stand_side_by_side():
    figure = study.label_counts({"train": [0, 0, 2], "test": [1]}, NAMES)
    (axis,) = figure.axes
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == [2, 0, 1, 0, 1, 0]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axis.patches]
    np.testing.assert_allclose(middles, [-0.2, 0.8, 1.8, 0.2, 1.2, 2.2])
    assert (axis.get_ylabel(), [text.get_text() for text in axis.get_legend().get_texts()]) == ("images", ["train", "test"])
    assert not axis.texts  # the numbers stand above the bars of one part only
    (axis,) = study.label_counts([0, 0, 2]).axes
    assert [text.get_text() for text in axis.texts] == ["2", "0", "1"]
    assert axis.get_legend() is None
    assert [tick.get_rotation() for tick in axis.get_xticklabels()] == [0] * 3
    slanted = study.label_counts([0, 1], ["a long name", "b"]).axes[0].get_xticklabels()
    assert [(tick.get_rotation(), tick.get_ha()) for tick in slanted] == [(35, "right")] * 2
    (many,) = study.label_counts(np.arange(26)).axes
    assert (many.get_xlabel(), len(many.texts)) == ("class", 0)


def test_the_cells_of_a_confusion_matrix_say_how_many():
    true, predicted = [0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 0, 2]
    axis = study.confusion_matrix(true, predicted, NAMES).axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")
    cells = {text.get_position(): (text.get_text(), to_hex(text.get_color())) for text in axis.texts}  # (column, row)
    black, white = "#000000", "#ffffff"
    assert cells == {
        (0, 0): ("2", black), (1, 0): ("1", white), (1, 1): ("1", white), (0, 2): ("1", white), (2, 2): ("1", white)
    }  # fmt: skip
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(NAMES)
    assert [tick.get_rotation() for tick in axis.get_xticklabels()] == [40] * 3  # "ship" is longer than three letters
    assert [tick.get_rotation() for tick in study.confusion_matrix(true, predicted).axes[0].get_xticklabels()] == [0] * 3
    shares = study.confusion_matrix(true, predicted, normalize=True)
    assert {text.get_text() for text in shares.axes[0].texts} == {"67", "33", "100", "50"}
    bars = [study.confusion_matrix(true, predicted, normalize=flag).axes[1].get_ylabel() for flag in (False, True)]
    assert bars == ["images", "% of the true class"]
    assert images_of(study.confusion_matrix(true, predicted, range(5)))[0].shape == (5, 5)  # as many as have names
    assert not study.confusion_matrix(np.arange(26), np.arange(26)).axes[0].texts


def test_mistakes_are_counted_and_wrapped():
    assert len(images_of(study.mistakes_gallery(IMAGES, LABELS, PREDICTED))) == 4
    figure = study.mistakes_gallery(IMAGES, LABELS, PREDICTED, count=3, columns=2)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)
    assert next(text for text in texts_of(figure) if text) == "0\ntaken for 1 (80%)"
    with pytest.raises(ValueError, match=r"must have the same length. Received: 7, 7 and 3"):
        study.mistakes_gallery(IMAGES, LABELS, PREDICTED[:3])
    with pytest.raises(ValueError, match=r"must have the same length. Received: 6, 7 and 7"):
        study.mistakes_gallery(IMAGES[:6], LABELS, PREDICTED)


def test_norms_of_kernels_are_lines_on_a_logarithmic_axis():
    axis = study.gradient_norms(recorder()).axes[0]
    assert [line.get_label() for line in axis.lines] == [f"{name}/kernel" for name in "abcdefgh"]
    assert axis.lines[0].get_xdata().tolist() == [0, 5]
    assert (axis.get_yscale(), axis.get_xlabel(), axis.get_ylabel()) == ("log", "step", "norm of the gradient")
    styles = [(line.get_color(), line.get_linestyle()) for line in axis.lines]
    assert len(set(styles)) == 8  # colours come again after six, with other dashes
    assert styles[0][0] == styles[6][0]
    (chosen,) = study.gradient_norms(recorder(), ["b/bias"]).axes[0].lines
    assert chosen.get_label() == "b/bias"
    no_kernel = recorder()
    no_kernel.norms = {"bn/gamma": [1.0, 2.0]}
    assert [line.get_label() for line in study.gradient_norms(no_kernel).axes[0].lines] == ["bn/gamma"]
    with pytest.raises(ValueError, match=r"No gradient was recorded for 'x'. Recorded: a/kernel, a/bias"):
        study.gradient_norms(recorder(), ["x"])
    with pytest.raises(ValueError, match=r"`every` must be at least 1. Received: every=0"):
        study.GradientNorms(0)


def test_norms_of_a_second_fit_come_behind_those_of_the_first():
    net = Sequential([layers.Input((3,)), layers.Dense(2, name="d")])
    net.compile("sgd", "mse")
    recorded = study.GradientNorms(every=2)
    for _ in range(2):
        net.fit(np.ones((6, 3)), np.ones((6, 2)), batch_size=2, verbose=0, callbacks=[recorded])
    assert recorded.steps == [0, 2, 4]
    assert [len(norms) for norms in recorded.norms.values()] == [3, 3]


def test_the_search_for_a_rate_draws_both_losses():
    axis = study.rate_search(FOUND).axes[0]
    each, smoothed, fastest, lowest = axis.lines
    np.testing.assert_array_equal(each.get_ydata(), FOUND.losses)
    np.testing.assert_array_equal(smoothed.get_ydata(), FOUND.smoothed)
    np.testing.assert_array_equal(smoothed.get_xdata(), FOUND.rates)
    assert [line.get_xdata()[0] for line in (fastest, lowest)] == [FOUND.steepest, FOUND.lowest]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("learning rate", "loss")
    low, high = axis.get_ylim()
    assert low < 0.4 < 3 < high
    assert each.get_color() == smoothed.get_color()
    assert each.get_alpha() < 1


def test_a_search_goes_on_from_the_beginning_of_its_batches():
    for x, y in (
        ({"a": np.ones((6, 2)), "b": np.zeros((6, 2))}, np.ones((6, 1))),
        ([np.ones((6, 2)), np.zeros((6, 2))], [np.ones((6, 1))]),
        ([((np.ones((3, 2)), np.ones((3, 2))), np.ones((3, 1)))] * 2, None),
    ):
        one, two = layers.Input((2,), name="a"), layers.Input((2,), name="b")
        net = minicnn.Model([one, two], layers.Dense(1)(layers.Add()([one, two])))
        net.compile("sgd", "mse")
        found = study.lr_find(net, x, y, batch_size=4, lowest=1e-4, highest=1e-3, steps=7)
        assert len(found.rates) == 7
        np.testing.assert_allclose(found.rates[[0, -1]], [1e-4, 1e-3])
    given = [np.random.default_rng(1).random((8, 2))] * 2, np.arange(8.0)
    drawn = [study.lr_find(net, *given, batch_size=2, steps=4, seed=seed).losses for seed in (0, 0, 1)]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()


def test_augmented_pictures_are_of_training_and_numbered():
    picture = RANDOM.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    layer = layers.RandomFlip("horizontal", seed=1)
    figure = study.augmentation_preview(layer, picture, count=12, columns=4)
    shown = images_of(figure)
    assert len(shown) == 13
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (4, 4)
    assert texts_of(figure)[:3] == ["original", "1", "2"]
    kinds = {
        ("same" if np.array_equal(one, picture) else "turned" if np.array_equal(one, picture[:, ::-1]) else "other")
        for one in shown[1:]
    }
    assert kinds == {"same", "turned"}
    mixed = images_of(study.augmentation_preview([lambda one: one[::-1], Sequential([layer])], picture, count=6))
    assert any(np.array_equal(one, picture[::-1, ::-1]) for one in mixed[1:])
    assert len(images_of(study.augmentation_preview(lambda one: one, picture))) == 10


def test_pooled_maps_write_their_numbers_and_mark_the_largest():
    plane = np.array(SMALL, "float32")
    for given in (plane, plane[..., None], plane[None, ..., None]):
        figure = study.max_pool_argmax(given)
        before, after, bar = figure.axes
        assert [axis.get_title() for axis in (before, after)] == ["before: 4×4", "after: 2×2"]
        np.testing.assert_array_equal(images_of(figure)[1], [[5, 7], [13, 15]])
        assert {text.get_position(): text.get_text() for text in after.texts} == {
            (0, 0): "5",
            (1, 0): "7",
            (0, 1): "13",
            (1, 1): "15",
        }
        assert before.collections[0].get_offsets().tolist() == [[1, 1], [3, 1], [1, 3], [3, 2]]
        colours = {text.get_text(): text.get_color() for text in before.texts}
        assert (colours["15"], colours["0"]) == ("black", "white")
        assert bar.get_ylabel() == "value"
        assert not after.collections
    wide = study.max_pool_argmax(RANDOM.random((13, 4)), (3, 2), strides=(2, 1))
    assert not wide.axes[0].texts
    assert images_of(wide)[1].shape == (6, 3)
    with pytest.raises(ValueError, match=r"A window of \(5, 5\) does not fit into a map of \(4, 4\)"):
        study.max_pool_argmax(plane, 5)


def test_panels_of_attribution_are_named(net, shot):
    chosen = int(net.predict(shot[None], verbose=0).argmax())
    figure = study.saliency(net, shot, class_names=NAMES, true_class=2)
    left, right, bar = figure.axes
    assert left.get_title().startswith(f"true: ship\n{NAMES[chosen]}: ")
    assert (right.get_title(), bar.get_ylabel()) == (f"saliency for {NAMES[chosen]}", "share of the largest")
    assert not study.saliency(net, shot, 1).axes[0].get_title().startswith("true")
    np.testing.assert_allclose(images_of(figure)[1], study.saliency_map(net, shot))
    cam = study.grad_cam(net, shot, 0, layer="conv")
    assert cam.axes[1].get_title() == "Grad-CAM for 0 in conv"
    assert study.grad_cam(net, shot, 0).axes[1].get_title() == "Grad-CAM for 0 in deep"
    _, grey, heat = images_of(cam)
    np.testing.assert_allclose(grey, shot.mean(-1), rtol=1e-6)
    small = study.grad_cam_map(net, shot, 0, "conv")
    np.testing.assert_allclose(heat, minicnn.image.resize(small[..., None], (9, 9))[..., 0], atol=1e-6)
    assert [shown.get_extent() for shown in cam.axes[1].get_images()] == [[-0.5, 8.5, 8.5, -0.5]] * 2


def test_maps_of_layers_stand_in_rows(net, shot):
    figure = study.feature_maps(net, shot, channels=3, class_names=NAMES)
    texts = [text for text in texts_of(figure) if text]
    assert texts[:2] == ["image\n9×9×3", "conv\nConv2D 7×7×4\n3 of 4 maps"]
    assert texts.count("map 2") == 3
    assert "map 3" not in texts
    scores = figure.axes[-1]
    assert [tick.get_text() for tick in scores.get_xticklabels()] == list(NAMES)
    np.testing.assert_allclose([bar.get_height() for bar in scores.patches], net.predict(shot[None], verbose=0)[0], rtol=1e-6)
    outputs = study.layer_outputs(net, shot[None])
    np.testing.assert_array_equal(images_of(figure)[1], outputs["conv"][..., 0])
    assert list(outputs) == ["conv", "pool", "deep", "flat", "scores"]
    only = [text for text in texts_of(study.feature_maps(net, shot, ["pool"], channels=9)) if text]
    assert only[:2] == ["image\n9×9×3", "pool\nMaxPooling2D 3×3×4"]
    assert only[-1] == "map 3"


def test_filters_have_their_numbers_and_scale():
    layer = layers.Conv2D(20, 3)
    layer.build((None, 5, 5, 3))
    kernel = layer.kernel.numpy()
    axis = study.filters(layer).axes[0]
    reach = np.percentile(np.abs(kernel), 99)
    assert {shown.get_clim() for shown in axis.get_images()} == {(-reach, reach)}
    texts = [text.get_text() for text in axis.texts]
    assert [text for text in texts if text.isdigit()] == [str(i) for i in range(20)]
    assert [text for text in texts if not text.isdigit()] == ["red", "green", "blue"] * 2  # two bands: 16 and 4
    first, last = axis.get_images()[0], axis.get_images()[-1]
    np.testing.assert_array_equal(first.get_array(), kernel[:, :, 0, 0])
    np.testing.assert_array_equal(last.get_array(), kernel[:, :, 2, 19])
    assert first.get_extent() == [0.05, 0.95, 0.95, 0.05]
    assert last.get_extent()[:2] == [3.05, 3.95]
    assert axis.get_title().endswith(": 20 filters of 3×3×3")
    assert study.filters(layer, count=5).axes[0].get_title().endswith(": 5 of 20 filters of 3×3×3")
    deep = layers.Conv2D(18, 2)
    deep.build((None, 5, 5, 20))
    axis = study.filters(deep).axes[0]
    assert axis.get_title().endswith(": 16 of 18 filters of 2×2, 16 of 20 input channels")
    assert axis.get_xlabel() == "columns: input channels; rows: filters"
    assert len(study.filters(deep, count=2, channels=4).axes[0].get_images()) == 8
