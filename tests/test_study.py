"""Pictures show the numbers that TensorFlow, SciPy's kin or plain arithmetic say they should show."""

from __future__ import annotations

import importlib

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import backends, config, layers, models, study, utils
from minicnn.backends.types import window_over
from minicnn.layers import (
    Add,
    BatchNormalization,
    Conv2D,
    Cropping2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    ReLU,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)
from minicnn.models import Model, Sequential
from minicnn.optimizers import SGD, schedules
from minicnn.registry import custom_object_scope
from minicnn.study import diagram
from minicnn.study.labels import class_indices, probabilities
from minicnn.study.style import displayable

NAMES = ("cat", "dog", "ship")


@pytest.fixture
def model():
    config.set_random_seed(3)
    return Sequential(
        [
            Input((9, 9, 3)),
            Conv2D(4, 3, activation="relu", name="conv"),
            MaxPooling2D(2, name="pool"),
            Conv2D(5, 2, activation="relu", name="deep"),
            Flatten(name="flat"),
            Dense(3, activation="softmax", name="scores"),
        ]
    )


@pytest.fixture
def image():
    return np.random.default_rng(0).random((9, 9, 3), dtype=np.float32)


def images_of(figure):
    return [np.asarray(shown.get_array()) for axis in figure.axes for shown in axis.get_images()]


def texts_of(figure):
    return [text.get_text() for axis in figure.axes for text in (axis.title, *axis.texts)]


# --- labels ---------------------------------------------------------------------------


def test_class_indices_of_every_form_of_labels():
    expected = [2, 0, 1]
    for labels in ([2, 0, 1], [[2], [0], [1]], np.eye(3)[[2, 0, 1]], np.array([2.0, 0.0, 1.0])):
        assert class_indices(labels).tolist() == expected
    assert class_indices([[0.7], [0.2]]).tolist() == [1, 0]


def test_probabilities_of_a_sigmoid_become_two_columns():
    np.testing.assert_allclose(probabilities([[0.75], [0.5]]), [[0.25, 0.75], [0.5, 0.5]])
    with pytest.raises(ValueError, match=r"shape \(N, classes\).*\(1, 2, 3\)"):
        probabilities(np.zeros((1, 2, 3)))


# --- style ----------------------------------------------------------------------------


def test_nothing_global_changes_and_the_background_follows_the_style():
    before = dict(matplotlib.rcParams)
    light = study.label_counts([0, 1, 1])
    dark = study.label_counts([0, 1, 1], style="dark")
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before
    brightness = [np.mean(figure.get_facecolor()[:3]) for figure in (light, dark)]
    assert brightness[0] == 1
    assert brightness[1] < 0.2
    assert light._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match='must be "light" or "dark"'):
        study.label_counts([0], style="grey")


@pytest.mark.parametrize("style", ["light", "dark"])
def test_every_figure_is_drawn_in_both_styles(model, image, style, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.random((7, 9, 9, 3)), rng.integers(0, 3, 7)
    predictions = rng.dirichlet(np.ones(3), 7)
    history = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.5], "accuracy": [0.1, 0.5]}
    recorder = study.GradientNorms()
    recorder.steps, recorder.norms = [0, 1], {"conv/kernel": [1.0, 0.5]}
    figures = [
        study.learning_curves(history, style=style),
        study.learning_curves({"a": history, "b": history}, title="two", style=style),
        study.sample_grid(images, labels, NAMES, style=style),
        study.label_counts({"train": labels, "test": labels}, NAMES, style=style),
        study.label_counts(np.arange(100), style=style),
        study.confusion_matrix(labels, predictions, NAMES, style=style),
        study.confusion_matrix(np.arange(100), np.arange(100), normalize=True, style=style),
        study.mistakes_gallery(images, labels, predictions, NAMES, style=style),
        study.mistakes_gallery(images, labels, np.eye(3)[labels], NAMES, style=style),
        study.filters(model, style=style),
        study.filters(model, "deep", style=style),
        study.filters(Sequential([Input((5, 5, 1)), Conv2D(3, 3)]), style=style),
        study.feature_maps(model, image, style=style),
        study.im2col_matrix(image, 3, padding="same", style=style),
        study.max_pool_argmax(image, 2, style=style),
        study.gradient_norms(recorder, style=style),
        study.saliency(model, image, style=style),
        study.grad_cam(model, image, class_names=NAMES, style=style),
        study.augmentation_preview(lambda picture: picture[::-1], image, style=style),
    ]
    for index, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{index}.png", dpi=30)


# --- data, training, results ----------------------------------------------------------


def test_learning_curves_draw_the_history():
    history = {"loss": [2.0, 1.0, 0.5], "val_loss": [2.1, 1.5, 1.2], "learning_rate": [1, 1, 1]}
    (axis,) = study.learning_curves(history).axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axis.lines}
    assert drawn == {"training": [2.0, 1.0, 0.5], "validation": [2.1, 1.5, 1.2]}
    assert axis.lines[0].get_xdata().tolist() == [1, 2, 3]
    compared = study.learning_curves({"adam": history, "sgd": {"loss": [3.0]}}, metrics=["loss"])
    assert [line.get_label() for line in compared.axes[0].lines] == ["adam training", "adam validation", "sgd training"]
    with pytest.raises(ValueError, match=r"no metric 'auc'.*loss, learning_rate"):
        study.learning_curves(history, metrics=["auc"])
    with pytest.raises(ValueError, match="no epochs"):
        study.learning_curves({"loss": []})


def test_label_counts_are_bincounts():
    labels = np.array([[0], [2], [2], [1], [2]])
    (axis,) = study.label_counts(labels, NAMES).axes
    assert [bar.get_height() for bar in axis.patches] == np.bincount(labels.ravel()).tolist()
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list(NAMES)


def test_sample_grid_shows_the_images_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    figure = study.sample_grid(images, [0, 2, 1, 1], NAMES, count=3)
    for shown, image in zip(images_of(figure), images):
        np.testing.assert_array_equal(shown, image)
    assert [text for text in texts_of(figure) if text] == ["cat", "ship", "dog"]


def test_confusion_matrix_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    true, predictions = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    expected = sklearn.metrics.confusion_matrix(true, predictions.argmax(1))
    np.testing.assert_array_equal(images_of(study.confusion_matrix(true[:, None], predictions, NAMES))[0], expected)
    shares = sklearn.metrics.confusion_matrix(true, predictions.argmax(1), normalize="true")
    np.testing.assert_allclose(images_of(study.confusion_matrix(np.eye(3)[true], predictions, normalize=True))[0], 100 * shares)
    with pytest.raises(ValueError, match=r"same length. Received: 2 and 3"):
        study.confusion_matrix([0, 1], [0, 1, 2])


def test_mistakes_come_most_confident_first():
    images = np.arange(4)[:, None, None] * np.ones((4, 2, 2)) / 4
    predictions = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.05, 0.9, 0.05], [0.2, 0.3, 0.5]])
    figure = study.mistakes_gallery(images, [1, 1, 0, 0], predictions, NAMES)
    assert [text for text in texts_of(figure) if text] == [
        "cat\ntaken for dog (90%)",
        "dog\ntaken for cat (60%)",
        "cat\ntaken for ship (50%)",
    ]
    assert [float(shown[0, 0]) for shown in images_of(figure)] == [0.5, 0.0, 0.75]
    assert "No mistakes in 2 images" in texts_of(study.mistakes_gallery(images[:2], [0, 1], predictions[:2]))


def test_long_names_of_mistakes_stand_side_by_side():
    names = ["a rather long name of a class", "another one that is as long"]
    figure = study.mistakes_gallery(np.zeros((4, 2, 2)), [0, 1, 0, 1], np.eye(2)[[1, 0, 1, 0]], names, columns=2)
    figure.draw_without_rendering()
    left, right = (axis.title.get_window_extent() for axis in figure.axes[:2])
    assert 0 <= left.x0 < left.x1 < right.x0 < right.x1 <= figure.bbox.width


# --- inside a model -------------------------------------------------------------------


def in_tensorflow(model, image):
    """The fixture's model in TensorFlow's own ops: maps of both convolutions, and the scores before the softmax."""
    kernel, bias, deep_kernel, deep_bias, dense_kernel, dense_bias = (tf.constant(w) for w in model.get_weights())
    x = tf.constant(image[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        conv = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
        pool = tf.nn.max_pool2d(conv, 2, 2, "VALID")
        deep = tf.nn.relu(tf.nn.conv2d(pool, deep_kernel, 1, "VALID") + deep_bias)
        scores = tf.reshape(deep, (1, -1)) @ dense_kernel + dense_bias
        per_class = [scores[0, index] for index in range(3)]
    return tape, x, conv, pool, deep, per_class


def test_layer_outputs_are_those_of_tensorflow(model, image):
    _, _, conv, pool, deep, scores = in_tensorflow(model, image)
    found = study.layer_outputs(model, image)
    assert list(found) == ["conv", "pool", "deep", "flat", "scores"]
    for name, expected in (("conv", conv), ("pool", pool), ("deep", deep)):
        np.testing.assert_allclose(found[name], expected[0], atol=1e-5)
    np.testing.assert_allclose(found["scores"], tf.nn.softmax(tf.stack(scores)), atol=1e-5)
    assert list(study.layer_outputs(model, image[None], ["pool"])) == ["pool"]
    with pytest.raises(ValueError, match=r"has no layer 'conv9'. Its layers: .*conv"):
        study.layer_outputs(model, image, ["conv9"])
    with pytest.raises(ValueError, match=r"takes an image of shape \(9, 9, 3\). Received: shape=\(8, 9, 3\)"):
        study.layer_outputs(model, image[:8])


def test_looking_at_a_model_leaves_frozen_layers_frozen(model, image):
    model.get_layer("conv").trainable = False
    study.layer_outputs(model, image)
    study.saliency_map(model, image)
    study.gradcheck(model, directions=1)
    assert not model.get_layer("conv").trainable


@pytest.mark.parametrize("chosen", [0, 2])
def test_saliency_and_grad_cam_agree_with_gradient_tape(model, image, chosen):
    tape, x, _, _, deep, scores = in_tensorflow(model, image)
    dx = np.abs(tape.gradient(scores[chosen], x).numpy()[0]).max(-1)
    np.testing.assert_allclose(study.saliency_map(model, image, chosen), dx / dx.max(), atol=1e-5)

    weights = tape.gradient(scores[chosen], deep).numpy()[0].mean((0, 1))
    heat = np.maximum((deep.numpy()[0] * weights).sum(-1), 0)
    np.testing.assert_allclose(study.grad_cam_map(model, image, chosen), heat / (heat.max() or 1), atol=1e-5)


def test_saliency_does_not_vanish_where_the_model_is_sure(model, image):
    weights = model.get_weights()
    model.set_weights([*weights[:4], 1000 * weights[4], weights[5]])
    assert model.predict(image[None], verbose=0).max() == 1
    assert study.saliency_map(model, image).max() == 1


def test_attribution_with_a_softmax_layer_and_with_one_sigmoid(image):
    config.set_random_seed(1)
    sigmoid = Sequential([Input((9, 9, 3)), Conv2D(2, 3), Flatten(), Dense(1, activation="sigmoid")])
    np.testing.assert_allclose(study.saliency_map(sigmoid, image, 0), study.saliency_map(sigmoid, image, 1), atol=1e-6)
    inputs = Input((9, 9, 3))
    separate = Model(inputs, Softmax()(Dense(3)(Flatten()(inputs))))
    assert study.saliency_map(separate, image).shape == (9, 9)
    with pytest.raises(ValueError, match="has no Conv2D layer"):
        study.grad_cam_map(separate, image)
    with pytest.raises(ValueError, match=r"has 3 classes. Received: class_index=3"):
        study.saliency_map(separate, image, 3)


def test_filters_are_the_kernel(model):
    kernel = model.get_layer("conv").get_weights()[0]
    figure = study.filters(model)  # filters side by side: all of the first input channel, then the second, then the third
    for number, shown in enumerate(images_of(figure)[: 3 * 4]):
        np.testing.assert_array_equal(shown, kernel[:, :, number // 4, number % 4])
    assert {"red", "green", "blue", "0", "3"} <= set(texts_of(figure))
    deep = model.get_layer("deep").get_weights()[0]
    tiles = images_of(study.filters(model, "deep"))
    for number in range(5 * 4):  # a row is a filter
        np.testing.assert_array_equal(tiles[number], deep[:, :, number % 4, number // 4])
    with pytest.raises(ValueError, match="Expected a built Conv2D"):
        study.filters(model, "flat")


def test_filters_share_one_scale_with_a_colour_bar_and_say_how_many_there_are(model):
    figure = study.filters(model, "deep", count=2, channels=3)
    axis, bar = figure.axes
    limits = {shown.get_clim() for shown in axis.get_images()}
    assert len(limits) == 1
    ((low, high),) = limits
    assert low == -high < 0
    assert bar.get_ylim() == (low, high)
    assert axis.get_title() == "deep: 2 of 5 filters of 2×2, 3 of 4 input channels"
    assert study.filters(model).axes[0].get_title() == "conv: 4 filters of 3×3×3"


def test_grad_cam_leaves_the_image_visible_and_says_what_is_true(model, image):
    figure = study.grad_cam(model, image, 1, NAMES, true_class=2)
    left, right = figure.axes[:2]
    assert left.get_title().startswith("true: ship\ndog: ")
    assert right.get_title() == "Grad-CAM for dog in deep"
    grey, heat = right.get_images()
    np.testing.assert_allclose(np.asarray(grey.get_array()), image.mean(-1), atol=1e-6)
    assert np.asarray(heat.get_alpha()).min() == 0  # where nothing speaks for the class, the image is as it was
    assert np.asarray(heat.get_alpha()).max() <= 0.75
    figure.draw_without_rendering()
    below = right.get_window_extent().y0 / figure.bbox.height
    assert below < 0.05  # no blank strip under the pictures


def test_feature_maps_carry_names(model, image):
    texts = texts_of(study.feature_maps(model, image, channels=3, class_names=NAMES))
    assert "conv\nConv2D 7×7×4\n3 of 4 maps" in texts
    assert texts.count("map 2") == 3  # conv, pool, deep
    assert not any("flat" in text for text in texts)
    bars = study.feature_maps(model, image, class_names=NAMES).axes[-1]
    assert [tick.get_text() for tick in bars.get_xticklabels()] == list(NAMES)


def test_attribution_of_logits_tells_probabilities(image):
    config.set_random_seed(1)
    logits = Sequential([Input((9, 9, 3)), Conv2D(2, 3), Flatten(), Dense(3)])
    z = logits.predict(image[None], verbose=0)[0].astype(np.float64)
    p = np.exp(z) / np.exp(z).sum()
    assert f"1: {100 * p[1]:.0f}% by the model" in texts_of(study.saliency(logits, image, 1))


def test_gradient_norms_are_those_of_gradient_tape(model):
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 9, 9, 3), dtype=np.float32), rng.integers(0, 3, 4)
    weights = [tf.Variable(w) for w in model.get_weights()]
    with tf.GradientTape() as tape:
        conv = tf.nn.relu(tf.nn.conv2d(x, weights[0], 1, "VALID") + weights[1])
        pool = tf.nn.max_pool2d(conv, 2, 2, "VALID")
        deep = tf.nn.relu(tf.nn.conv2d(pool, weights[2], 1, "VALID") + weights[3])
        scores = tf.reshape(deep, (4, -1)) @ weights[4] + weights[5]
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))
    expected = [float(tf.norm(gradient)) for gradient in tape.gradient(loss, weights)]

    recorder = study.GradientNorms(every=2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[recorder])
    assert recorder.steps == [0, 2]
    first = [recorder.norms[variable.path][0] for variable in model.weights]
    np.testing.assert_allclose(first, expected, rtol=1e-4)
    assert list(recorder.norms) == [variable.path for variable in model.weights]
    assert "apply" not in vars(model.optimizer)
    drawn = study.gradient_norms(recorder).axes[0].lines
    assert [line.get_label() for line in drawn] == ["conv/kernel", "deep/kernel", "scores/kernel"]
    with pytest.raises(ValueError, match="Nothing was recorded"):
        study.gradient_norms(study.GradientNorms())


# --- how an op works ------------------------------------------------------------------


def test_im2col_rows_are_the_sliding_windows():
    picture = np.random.default_rng(0).random((6, 7))
    _, patch, kernel, product, matrix = images_of(study.im2col_matrix(picture, (3, 2), strides=2, place=(1, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 2))[::2, ::2]
    np.testing.assert_allclose(matrix, windows.reshape(-1, 6))
    np.testing.assert_allclose(patch, windows[1, 2])
    np.testing.assert_allclose(product, windows[1, 2] * kernel)
    with pytest.raises(ValueError, match="does not fit"):
        study.im2col_matrix(picture, 8)


def test_im2col_of_small_numbers_shows_them_bright_and_as_they_are():
    figure = study.im2col_matrix([[0.0, 9, 0], [0, 0, 9]], 2, place=(0, 0))
    shown, patch, _, _, matrix = images_of(figure)
    np.testing.assert_array_equal(shown, [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(patch, [[0, 1], [0, 0]])
    np.testing.assert_array_equal(matrix, [[0, 9, 0, 0], [9, 0, 0, 9]])
    assert [text.get_text() for text in figure.axes[1].texts] == ["0", "9", "0", "0"]


def test_im2col_multiplies_a_patch_with_something_in_it():
    picture = np.zeros((9, 9))
    picture[6:, 5:] = 1
    figure = study.im2col_matrix(picture, 3)
    _, patch, kernel, product, _ = images_of(figure)
    assert 0 < patch.sum() < 9
    np.testing.assert_array_equal(kernel, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel's
    np.testing.assert_array_equal(product, patch * kernel)
    assert figure.axes[3].get_title().endswith(f"the output: {(patch * kernel).sum():.3g}")
    own = images_of(study.im2col_matrix(picture, 2, kernel=[[1, 2], [3, 4]], place=(7, 7)))
    np.testing.assert_array_equal(own[3], [[1, 2], [3, 4]])
    with pytest.raises(
        ValueError, match=r"`kernel` must be of shape \(2, 2\), or \(2, 2, 1\). Received: kernel.shape=\(3, 3\)"
    ):
        study.im2col_matrix(picture, 2, kernel=np.ones((3, 3)))


def test_im2col_names_the_places_there_are():
    picture = np.random.default_rng(0).random((6, 7))
    with pytest.raises(ValueError, match=r"rows 0\.\.3 and columns 0\.\.4"):
        study.im2col_matrix(picture, 3, place=(4, 0))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pool_argmax_are_tensorflow_argmax(padding):
    plane = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    pooled, winners = tf.nn.max_pool_with_argmax(plane[None, :, :, None], 3, 2, padding.upper())
    figure = study.max_pool_argmax(plane, 3, strides=2, padding=padding)
    np.testing.assert_allclose(images_of(figure)[1], pooled[0, :, :, 0])
    places = figure.axes[0].collections[0].get_offsets()  # (column, row)
    assert {(int(y) * 5 + int(x)) for x, y in places} == set(winners.numpy().ravel().tolist())


def test_augmentation_preview_draws_the_original_first():
    picture = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    shown = images_of(study.augmentation_preview([lambda p: p[::-1], lambda p: p[:, ::-1]], picture, count=2))
    np.testing.assert_array_equal(shown[0], picture)
    np.testing.assert_array_equal(shown[1], picture[::-1, ::-1])
    assert len(shown) == 3


# --- trace ----------------------------------------------------------------------------


def test_trace_names_the_ops_and_shows_tensorflows_values(model, image):
    before = dict(vars(backends.ops))
    traced = study.trace(model, image, (4, 4))
    _, _, conv, pool, deep, scores = in_tensorflow(model, image)
    del conv  # is never stored: ReLU and pooling are epilogues of the convolution
    by_layer = {call.layer: call for call in traced.calls}
    assert list(by_layer) == ["conv+pool", "deep", "flat", "scores"]
    assert by_layer["conv+pool"].ops == ("conv2d_forward",)
    window = window_over((9, 9), (3, 3), (1, 1), "valid")
    assert by_layer["conv+pool"].algorithm == backends.ops.conv2d_algorithm((32, 9, 9, 3), (3, 3, 3, 4), window) != ""
    assert by_layer["conv+pool"].kind == "Conv2D+MaxPooling2D"
    assert by_layer["flat"].ops == ()
    for name, maps in (("conv+pool", pool), ("deep", deep)):
        np.testing.assert_allclose(by_layer[name].values, maps.numpy()[0][by_layer[name].place], atol=1e-5)
    np.testing.assert_allclose(by_layer["scores"].values, tf.nn.softmax(tf.stack(scores)), atol=1e-5)
    np.testing.assert_array_equal(traced.pixel_values, image[4, 4])
    assert f"ops.conv2d_forward, by {by_layer['conv+pool'].algorithm}" in str(traced)
    assert "conv+pool (Conv2D+MaxPooling2D): 9×9×3 -> 3×3×4" in str(traced)
    assert "no op: the same numbers in another shape" in str(traced)
    assert dict(vars(backends.ops)) == before  # the listeners are gone
    with pytest.raises(ValueError, match=r"within 9×9. Received: pixel=\(9, 0\)"):
        study.trace(model, image, (9, 0))


def random_steps():
    """Layers that do something else in training, and one of a user's own."""
    config.set_random_seed(4)
    model = Sequential(
        [
            Input((9, 9, 3)),
            Conv2D(4, 3, name="conv"),
            BatchNormalization(name="norm"),
            ReLU(name="relu"),
            Dropout(0.5, name="drop"),
            Mirrored(name="mirror"),
            Flatten(name="flat"),
            Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_trace_lists_the_ops_that_fit_calls(image, monkeypatch):
    model = random_steps()
    before = [variable.numpy() for variable in model.variables]
    traced = study.trace(model, image)
    for variable, value in zip(model.variables, before):  # statistics and random states, too
        np.testing.assert_array_equal(variable, value)
    called = []

    def listening(name, function):
        return lambda *a, **k: called.append(name) or function(*a, **k)

    with monkeypatch.context() as patched:
        for name, function in list(vars(backends.ops).items()):
            patched.setitem(vars(backends.ops), name, listening(name, function))
        model.fit(image[None], np.array([1]), verbose=0)
        fitted, called[:] = list(called), []
        model.predict(image[None], verbose=0)
    in_training = [name for call in traced.calls for name in call.ops]
    assert fitted[: len(in_training)] == in_training  # the rest are the loss, the way back and the update
    assert [name for call in traced.calls for name in call.predict_ops] == [n for n in called if n != "softmax_forward"]
    text = str(traced)
    assert "in training ops.draw_key_, ops.dropout_forward\n      otherwise no op: its input is passed on" in text
    assert "no op: the layer's own code" in text  # the mirror
    assert "otherwise ops.batchnorm_inference" in text
    (activation, probabilities), *others = traced.left_to_the_loss
    assert (activation, others) == ("softmax", [])
    np.testing.assert_allclose(probabilities, tf.nn.softmax(traced.calls[-1].values), rtol=1e-5)


@settings(max_examples=40)
@given(st.data())
def test_a_traced_sum_is_the_value(data):
    H, W, C = (data.draw(st.integers(4, 8)) for _ in range(3))
    kernel = data.draw(st.integers(1, 3))
    stride, dilation = data.draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]))
    conv = Conv2D(
        3, kernel, strides=stride, dilation_rate=dilation, padding="same", bias_initializer="normal", activation="relu"
    )
    pooling = [MaxPooling2D(2, padding="same")] if data.draw(st.booleans()) else []
    model = Sequential([Input((H, W, C)), conv, *pooling])
    image = np.random.default_rng(H * W * C).standard_normal((H, W, C), np.float32)
    pixel = data.draw(st.integers(0, H - 1)), data.draw(st.integers(0, W - 1))
    call = study.trace(model, image, pixel).calls[0]
    found = call.sum
    before_relu = tf.nn.conv2d(image[None], conv.kernel.value, stride, "SAME", dilations=dilation).numpy()[0]
    np.testing.assert_allclose(found.total, before_relu[found.place][found.channel], atol=1e-4)
    np.testing.assert_allclose(found.bias, conv.bias.value[found.channel])
    np.testing.assert_allclose(call.values[found.channel], max(0, found.total + found.bias), atol=1e-4)
    assert call.values[found.channel] == call.values.max()
    ones = tf.nn.conv2d(np.ones((1, H, W, C)), np.ones(conv.kernel.shape), stride, "SAME", dilations=dilation).numpy()[0]
    assert found.count == ones[found.place][0]
    sizes = [abs(term.x * term.weight) for term in found.largest]
    assert sizes == sorted(sizes, reverse=True)
    assert [term.x for term in found.largest] == [image[term.at] for term in found.largest]
    pads = [max(0, ((-(-n // stride)) - 1) * stride + (kernel - 1) * dilation + 1 - n) // 2 for n in (H, W)]
    for term in found.largest:
        ky, kx = ((term.at[i] + pads[i] - found.place[i] * stride) // dilation for i in (0, 1))
        assert term.weight == conv.kernel.value[ky, kx, term.at[2], found.channel]
    assert found.pooled == 1 or pooling
    assert f"= {found.total + found.bias:.4g}, then relu" in str(call)


def test_a_dense_layer_shows_its_terms():
    model = Sequential([Input((4,)), Dense(2, activation="tanh", name="dense")])
    model.set_weights([np.array([[1, 5], [2, -6], [3, 7], [4, 8]]), np.array([0, 0.5])])
    call = study.trace(model, np.array([1.0, -1.0, 0.5, 0.0])).calls[0]
    # 1·5 + -1·-6 + 0.5·7 + 0·8 = 14.5
    assert (call.sum.channel, call.sum.count, call.sum.total, call.sum.bias) == (1, 4, 14.5, 0.5)
    assert [(term.at, term.x, term.weight) for term in call.sum.largest] == [((1,), -1, -6), ((0,), 1, 5), ((2,), 0.5, 7)]
    assert "channel 1: 14.5 + bias 0.5 = 15, then tanh" in str(call)
    assert "the sum of 4 terms input × kernel: (-1 × -6 at 1) + (1 × 5 at 0) + (0.5 × 7 at 2) + ..." in str(call)


@settings(max_examples=60)
@given(st.data())
def test_the_followed_window_holds_the_pixel(data):
    H, W = (data.draw(st.integers(3, 9)) for _ in range(2))
    kernel, stride = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    layer = Conv2D(1, kernel, strides=stride, padding=data.draw(st.sampled_from(["valid", "same"])), kernel_initializer="ones")
    model = Sequential([Input((H, W, 1)), ZeroPadding2D(data.draw(st.integers(0, 1))), layer])
    pixel = data.draw(st.integers(0, H - 1)), data.draw(st.integers(0, W - 1))
    image = np.zeros((H, W, 1), np.float32)
    image[pixel] = 1
    seen = model.predict(image[None], verbose=0)[0]
    followed = study.trace(model, image, pixel).calls[-1]
    # A stride may step over a pixel; wherever a window sees it, the followed one does.
    assert followed.values[0] == seen.max()


def test_a_pixel_is_followed_through_cropping_and_upsampling():
    image = np.arange(24, dtype=np.float32).reshape(4, 6, 1)
    model = Sequential([Input((4, 6, 1)), Cropping2D(((1, 0), (0, 2))), UpSampling2D((2, 3)), Cropping2D(1)])
    assert [call.values[0] for call in study.trace(model, image, (2, 3)).calls] == [image[2, 3, 0]] * 3


# --- gradcheck ------------------------------------------------------------------------


class Broken(Layer):
    """Forgets the factor in its gradient."""

    def forward(self, x, training):
        return 3.0 * x, None

    def backward(self, dy, saved):
        return dy, ()


def test_gradcheck_passes_a_model_with_dropout_statistics_and_merges():
    inputs = Input((5, 5, 2))
    x = Conv2D(3, 3, padding="same", activation="gelu", kernel_regularizer="l2", name="conv")(inputs)
    x = Add(name="add")([x, BatchNormalization(name="norm")(x)])
    x = Dropout(0.4)(MaxPooling2D(2)(x))
    model = Model(inputs, Dense(3, activation="softmax", name="scores")(Flatten()(x)))
    weights = model.get_weights()
    backend = backends.backend()
    checks = study.gradcheck(model)
    assert all(check.passed for check in checks)
    assert max(check.error for check in checks if check.layer != "fit on numba") < 1e-6
    rows = {(check.layer, check.gradient) for check in checks}
    assert {("conv", "dx"), ("conv", "kernel"), ("norm", "gamma"), ("add", "dx[1]"), ("training step", "scores/bias")} <= rows
    fitted = [check for check in checks if check.layer == "fit on numba"]
    assert [check.gradient for check in fitted] == [check.gradient for check in checks if check.layer == "training step"]
    assert max(check.error for check in fitted) < 1e-5
    for before, after in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(before, after)
    assert (backends.backend(), config.floatx(), model.weights[0].dtype) == (backend, "float32", "float32")


def test_gradcheck_finds_the_broken_layer_and_what_it_spoils():
    model = Sequential([Input((4,)), Dense(3, name="before"), Broken(name="broken"), Dense(2, name="after")])
    with custom_object_scope({"Broken": Broken}):
        failed = {(check.layer, check.gradient) for check in study.gradcheck(model) if not check.passed}
    assert failed == {("broken", "dx"), ("training step", "before/kernel"), ("training step", "before/bias")}


class Mirrored(Layer):
    """Right, and a view: only the plan makes an array of it that kernels can read."""

    def forward(self, x, training):
        return x[:, ::-1], None

    def backward(self, dy, saved):
        return dy[:, ::-1], ()


def mirrored():
    return Sequential(
        [
            Input((5, 5, 2)),
            Conv2D(4, 3, name="conv"),
            BatchNormalization(name="norm"),
            Conv2D(3, 2, activation="relu", name="relu"),
            Flatten(),
            Mirrored(name="mirrored"),
            Dense(3, activation="softmax", name="scores"),
        ]
    )


def failures(model):
    with custom_object_scope({"Mirrored": Mirrored}):
        return {(check.layer, check.gradient) for check in study.gradcheck(model) if not check.passed}


def test_gradcheck_passes_a_layer_that_returns_views():
    assert failures(mirrored()) == set()  # a bias before batch normalization included, whose gradient vanishes


def test_gradcheck_sees_ops_that_only_fit_calls(monkeypatch):
    module = importlib.import_module("minicnn.backends.numba_cpu.conv")
    right = module.conv2d_backward

    def wrong_bias_behind_a_relu(dy, x, kernel, window, y=None, *rest):
        dx, dkernel, dbias = right(dy, x, kernel, window, y, *rest)
        return dx, dkernel, dbias if y is None else 1.01 * dbias

    with monkeypatch.context() as patched:
        patched.setattr(module, "conv2d_backward", wrong_bias_behind_a_relu)
        backends.set_backend(backends.backend())
        failed = failures(mirrored())
    backends.set_backend(backends.backend())
    assert failed == {("fit on numba", "relu/bias")}


def test_a_class_for_each_pixel_is_not_explained_as_one():
    model = Sequential([Input((8, 8, 1)), Conv2D(4, 3, padding="same"), Conv2D(3, 1, activation="softmax", name="last")])
    for explain in (study.saliency_map, study.grad_cam_map):
        with pytest.raises(ValueError, match=r"yields \(None, 8, 8, 3\): a class for each place"):
            explain(model, np.zeros((8, 8, 1)))


# --- rates --------------------------------------------------------------------------


def quadratic(rate=0.01):
    """w of a loss of (w - x)^2 over the batch: gradient descent is w - 2 rate (w - mean x)."""
    model = Sequential([Input((1,)), Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(SGD(rate), "mse")
    return model


def test_lr_find_follows_gradient_descent_and_leaves_no_trace():
    model = quadratic()
    x, y = np.ones((8, 1), np.float32), np.full((8, 1), 3.0, np.float32)
    state = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    found = study.lr_find(model, x, y, batch_size=8, lowest=1e-3, highest=10, steps=40)
    w, expected = 1.0, []
    for rate in np.geomspace(1e-3, 10, 40)[: len(found.rates)]:
        expected.append((w - 3) ** 2)
        w -= 2 * np.float32(rate) * (w - 3)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-3, atol=1e-6)
    weights = 0.9 ** np.arange(len(expected))[::-1]
    assert found.smoothed[-1] == pytest.approx(np.average(found.losses, weights=weights), rel=1e-5)
    assert found.smoothed[-1] > 4 * found.smoothed.min() or len(found.rates) == 40
    assert found.steepest < found.lowest < 10
    for variable, before in zip((*model.variables, *model.optimizer.variables), state, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_lr_find_makes_the_weights_of_a_model_and_trains_none_of_them():
    model = Sequential([Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(SGD(0.5, momentum=0.9), "mse")
    study.lr_find(model, np.ones((8, 2)), np.zeros((8, 1)), batch_size=8, steps=5)
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((2, 1)))
    assert int(model.optimizer.iterations) == 0


def test_lr_find_takes_data_sets_and_stops_at_what_is_no_number():
    batches = [(np.ones((4, 1)), np.full((4, 1), 1e30))] * 2
    with np.errstate(all="ignore"):
        found = study.lr_find(quadratic(), batches, steps=50)
    assert np.isfinite(found.losses).all()
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 50


def test_lr_find_refuses_what_it_cannot_search():
    x, y = np.ones((8, 1)), np.ones((8, 1))
    with pytest.raises(ValueError, match="needs a compiled model"):
        study.lr_find(Sequential([Input((1,)), Dense(1)]), x, y)
    with pytest.raises(ValueError, match="compile with a number, not with a schedule"):
        study.lr_find(quadratic(schedules.CosineDecay(0.1, 10)), x, y)
    with pytest.raises(ValueError, match=r"0 < lowest < highest. Received: lowest=1, highest=0.1"):
        study.lr_find(quadratic(), x, y, lowest=1, highest=0.1)
    with pytest.raises(ValueError, match=r"at least 3 steps. Received: steps=2"):
        study.lr_find(quadratic(), x, y, steps=2)


def test_rate_search_marks_both_rates():
    found = study.RateSearch(np.array([0.01, 0.1, 1.0, 10.0]), np.array([3, 2.5, 0.5, 4]), np.array([3, 2.5, 0.5, 4]))
    assert (found.steepest, found.lowest) == (0.1, 1.0)
    (axis,) = study.rate_search(found, style="dark").axes
    assert axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.get_legend().get_texts()][2:] == ["falls fastest: 0.1", "is lowest: 1"]


# --- test-time augmentation ------------------------------------------------------------


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("translate", [0, 1, 2])
def test_predict_tta_is_the_mean_over_scipy_s_shifts(mirror, translate):
    from scipy.ndimage import shift

    model = Sequential([Input((5, 6, 2)), Flatten(), Dense(3)])  # linear: no view hides behind another
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 2)).astype(np.float32)
    kernel, bias = model.get_weights()
    views = [(x, 0.5 if translate else 1.0)]
    if translate:
        moves = [(0, way * translate, way * translate, 0) for way in (1, -1)]
        views += [(shift(x, move, order=0, mode="mirror"), 0.25) for move in moves]
    if mirror:
        views = [(seen, share / 2) for view, share in views for seen in (view, np.flip(view, 2))]
    expected = sum(share * (view.reshape(4, -1) @ kernel + bias) for view, share in views)
    np.testing.assert_allclose(study.predict_tta(model, x, mirror=mirror, translate=translate), expected, atol=1e-5)


def test_predict_tta_refuses_what_are_no_images():
    model = Sequential([Input((4, 4, 1)), Flatten(), Dense(1)])
    with pytest.raises(ValueError, match=r"images \(N, H, W, C\). Received an array of shape \(4, 4, 1\)"):
        study.predict_tta(model, np.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match=r"less than the image's \(4, 4\). Received: 4"):
        study.predict_tta(model, np.zeros((1, 4, 4, 1)), translate=4)


# --- a model's picture -----------------------------------------------------------------


def branched():
    image, more = layers.Input((8, 8, 3), name="image"), layers.Input((4,), name="more")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(image)
    y = layers.Conv2D(4, 3, padding="same", name="second")(x)
    y = layers.BatchNormalization(name="norm")(y)
    x = layers.Add(name="sum")([x, y])
    inner = models.Sequential(
        [layers.Input((8, 8, 4)), layers.Flatten(name="flat"), layers.Dense(3, name="inside")], name="inner"
    )
    return models.Model([image, more], layers.Concatenate(name="both")([inner(x), more]))


def test_plot_model_draws_each_call_and_each_arrow(tmp_path, monkeypatch):
    monkeypatch.setattr(diagram.shutil, "which", lambda program: None)  # no Graphviz
    figure = utils.plot_model(branched(), tmp_path / "model", show_shapes=True, show_layer_names=True, dpi=40)
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert [text.splitlines()[0] for text in texts] == [
        "image (InputLayer)",
        "more (InputLayer)",
        "first (Conv2D)",
        "second (Conv2D)",
        "norm (BatchNormalization)",
        "sum (Add)",
        "inner (Sequential)",
        "both (Concatenate)",
    ]
    assert "Input shape: [(None, 3), (None, 4)]" in texts[-1]
    assert "Output shape: (None, 7)" in texts[-1]
    places = {text.get_text().split()[0]: text.get_position() for text in figure.axes[0].texts if text.get_text()}
    assert places["image"][1] < places["first"][1] < places["second"][1] < places["sum"][1] < places["inner"][1]
    assert places["more"][1] == places["inner"][1]  # beside what is read with it
    arrows = [text for text in figure.axes[0].texts if not text.get_text()]
    assert len(arrows) == 8 + 2  # the way around `second` and `norm` has a bend at each
    nested = utils.plot_model(branched(), tmp_path / "nested.svg", expand_nested=True, rankdir="LR")
    assert "Flatten" in [text.get_text() for text in nested.axes[0].texts]


def test_plot_model_says_what_is_asked_for(tmp_path):
    model = models.Sequential([layers.Input((3,)), layers.Dense(2, activation="relu", trainable=False)])
    boxes = diagram._boxes(model, diagram._shown(False, True, False, True, True), False)
    assert boxes[1].lines == ("Dense", "Activation: relu", "Output dtype: float32", "Non-trainable")
    for make, message in (
        (lambda: utils.plot_model(models.Sequential([layers.Dense(1)]), tmp_path / "a.png"), "has not yet been built"),
        (lambda: utils.plot_model(model, tmp_path / "a.png", rankdir="BT"), "`rankdir` must be 'TB' or 'LR'"),
        (lambda: utils.plot_model(model, tmp_path / "a.png", what=1), "Unrecognized keyword arguments"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(diagram.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match="You must install pydot"):
            utils.model_to_dot(model)


def test_model_to_dot_is_a_graph_of_pydot():
    pytest.importorskip("pydot")
    dot = utils.model_to_dot(branched(), show_shapes=True)
    assert len(dot.get_nodes()) == 8 + 1  # and the defaults
    assert len(dot.get_edges()) == 8
    assert "norm (BatchNormalization)" in dot.to_string()


def test_counts_of_classes_without_images_are_zero():
    (axis,) = study.label_counts([1, 1, 0], NAMES).axes
    assert [bar.get_height() for bar in axis.patches] == [1, 2, 0]


@pytest.mark.parametrize(("largest", "divisor"), [(0.5, 1), (12.0, 12), (16.0, 16), (17.0, 255), (255.0, 255)])
def test_floats_are_taken_for_shares_or_bytes_by_what_they_reach(largest, divisor):
    picture = np.array([[0.0, largest], [largest / 2, 0.0]])
    np.testing.assert_allclose(displayable(picture), picture / divisor)


def test_augmented_whole_numbers_are_rounded_and_stay_in_their_range():
    picture = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    shown = images_of(study.augmentation_preview(lambda p: 1.5 * p - 20.0, picture, count=1))
    np.testing.assert_array_equal(shown[1], np.rint(1.5 * picture - 20).clip(0, 255))


def test_lr_find_takes_whole_batches_alone(monkeypatch):
    model, sizes = quadratic(), []
    train = model.train_on_batch

    def noted(x, y, **named):
        sizes.append(len(x))
        return train(x, y, **named)

    monkeypatch.setattr(model, "train_on_batch", noted)
    study.lr_find(model, np.ones((10, 1)), np.full((10, 1), 3.0), batch_size=4, steps=5)
    assert sizes == [4] * 5
    assert [float(metric.result()) for metric in model.metrics] == [0]  # none of it is left


def test_predict_tta_hands_the_batch_size_on():
    class Listening:
        def predict(self, x, batch_size, verbose):
            assert (batch_size, verbose) == (3, 0)
            return x[:, 0, 0]

    assert study.predict_tta(Listening(), np.ones((5, 4, 4, 1)), batch_size=3).shape == (5, 1)


def test_a_seed_decides_what_gradcheck_draws():
    model = Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(1)])
    errors = [[one.error for one in study.gradcheck(model, seed=seed)] for seed in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]


def test_of_several_maps_the_first_is_pooled_unless_another_is_named():
    maps = np.random.default_rng(0).random((4, 4, 3), np.float32)
    for named, channel in (({}, 0), ({"channel": 2}, 2)):
        np.testing.assert_array_equal(images_of(study.max_pool_argmax(maps, **named))[0], maps[..., channel])
