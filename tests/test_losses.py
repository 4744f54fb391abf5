"""Losses against Keras's on TensorFlow: values, gradients through every option, and the words of errors."""

from __future__ import annotations

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backends, config, losses
from minicnn.backends import memory
from tests.drawn import drawn_cases

REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None]
RNG = np.random.default_rng(0)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def draw_batch(data, name):
    """(y_true, y_pred, logits, weights) for the loss called `name`, in float64; images of predictions now and then."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    shape = (data.draw(st.integers(1, 5)), *data.draw(st.sampled_from([(), (), (2, 3)])))
    classes = data.draw(st.integers(2, 6))
    logits = rng.normal(0, 3, (*shape, classes))
    y_pred = logits
    if name.startswith("sparse"):
        y_true = rng.integers(0, classes, shape + ((1,) if data.draw(st.booleans()) else ()))
    elif name.startswith("categorical") or name == "kl_divergence":
        y_true = rng.dirichlet(np.ones(classes), shape)
    elif name.startswith("binary") or name in ("hinge", "squared_hinge", "dice", "tversky"):
        y_true = rng.integers(0, 2, (*shape, classes)).astype(float)
    else:
        y_true = rng.normal(0, 1, (*shape, classes))
    if name.startswith("binary") or name in ("dice", "tversky", "poisson"):
        y_pred = sigmoid(logits)
    elif "crossentropy" in name or name == "kl_divergence":
        y_pred = softmax(logits) * rng.uniform(0.5, 1, (*shape, 1))  # Keras divides by the sum
    weights = rng.uniform(0, 2, shape) if data.draw(st.booleans(), label="weighted") else None
    return y_true, y_pred, logits, weights


def draw_options(data, name):
    """Constructor arguments."""
    options = {"reduction": data.draw(st.sampled_from(REDUCTIONS))}
    options |= {argument: data.draw(strategy) for argument, strategy in OPTIONS.get(name, {}).items()}
    if "crossentropy" in name:
        options["from_logits"] = data.draw(st.booleans())
    if "crossentropy" in name and not name.startswith("sparse"):
        options["label_smoothing"] = data.draw(st.sampled_from([0.0, 0.1, 0.5]))
    return options


CLASSES = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
}
"""Those whose ops have kernels."""
FURTHER = {
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "huber": "Huber",
    "log_cosh": "LogCosh",
    "poisson": "Poisson",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
    "kl_divergence": "KLDivergence",
    "cosine_similarity": "CosineSimilarity",
    "dice": "Dice",
    "tversky": "Tversky",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
}
OTHERS = {"circle": "Circle", "categorical_generalized_cross_entropy": "CategoricalGeneralizedCrossEntropy"}  # of labels
ALL = CLASSES | FURTHER | OTHERS
ALIASES = ["mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "kld", "KLD", "bce", "BCE"]
OPTIONS = {
    "sparse_categorical_crossentropy": {"ignore_class": st.sampled_from([None, 0, 1])},
    "huber": {"delta": st.sampled_from([0.5, 1.0, 3.0])},
    "cosine_similarity": {"axis": st.just(-1)},
    "dice": {"axis": st.sampled_from([None, -1, (0, -1)])},
    "tversky": {"alpha": st.floats(0.1, 1), "beta": st.floats(0.1, 1), "axis": st.sampled_from([None, -1, (0, -1)])},
    "binary_focal_crossentropy": {"gamma": st.sampled_from([0, 0.5, 2]), "apply_class_balancing": st.booleans()},
    "categorical_focal_crossentropy": {"gamma": st.sampled_from([0, 0.5, 2]), "alpha": st.floats(0.1, 1)},
}


@pytest.fixture
def double():
    """float64 throughout, here and in Keras."""
    config.set_floatx("float64")
    keras.config.set_floatx("float64")
    yield
    config.set_floatx("float32")
    keras.config.set_floatx("float32")


def check_value_and_gradient(name, options, y_true, y_pred, weights=None):
    """Called, in a training step and differentiated, as Keras's loss of the same arguments."""
    theirs = getattr(keras.losses, ALL[name])(**options)
    with tf.GradientTape() as tape:
        x = tf.constant(y_pred)
        tape.watch(x)
        expected = theirs(tf.constant(y_true), x, sample_weight=weights)
        scalar = tf.reduce_sum(expected)
    expected_gradient = tape.gradient(scalar, x).numpy()

    given = [np.copy(one) for one in (y_true, y_pred, weights)]
    ours = getattr(losses, ALL[name])(**options)
    rtol = 1e-9 if backends.backend() == "reference" or name not in CLASSES else 1e-6
    tolerance = {"rtol": rtol, "atol": 1e-7 if name == "log_cosh" else 1e-12}  # Keras holds log(2) in float32
    np.testing.assert_allclose(ours(y_true, y_pred, sample_weight=weights), expected.numpy(), **tolerance)
    loss, saved = ours.forward(y_true, backends.asarray(y_pred), weights)
    np.testing.assert_allclose(
        float(loss), expected.numpy().mean() if options.get("reduction") in ("none", None) else expected.numpy(), **tolerance
    )
    gradient = backends.to_numpy(ours.backward(saved))
    for one, before in zip((y_true, y_pred, weights), given):
        np.testing.assert_array_equal(one, before)  # the caller's own
    np.testing.assert_allclose(gradient, expected_gradient, rtol=rtol, atol=1e-9 * np.abs(expected_gradient).max())


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", CLASSES)
@drawn_cases(100)
@given(data=st.data())
def test_value_and_gradient_are_keras(name, data):
    y_true, y_pred, logits, weights = draw_batch(data, name)
    options = draw_options(data, name)
    check_value_and_gradient(name, options, y_true, logits if options.get("from_logits") else y_pred, weights)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", FURTHER)
@drawn_cases(40)
@given(data=st.data())
def test_value_and_gradient_of_further_losses_are_keras(name, data):
    """Their ops, which every backend takes from the reference, are drawn in `tests/ops`."""
    y_true, y_pred, logits, weights = draw_batch(data, name)
    options = draw_options(data, name)
    if options.get("axis", -1) != -1:
        weights = None
    check_value_and_gradient(name, options, y_true, logits if options.get("from_logits") else y_pred, weights)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("cosine_similarity", 1),
        ("binary_crossentropy", 2),
        ("binary_focal_crossentropy", 1),
        ("categorical_crossentropy", 1),
        ("categorical_focal_crossentropy", 1),
    ],
)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_classes_may_lie_along_any_axis(name, axis, reduction):
    y_true, y_pred = RNG.uniform(0.1, 0.9, (2, 3, 4, 2, 5))
    weights = RNG.uniform(size=3)
    check_value_and_gradient(name, {"axis": axis, "reduction": reduction}, y_true, y_pred)
    if reduction != "none":
        ours, theirs = getattr(losses, ALL[name])(axis=axis), getattr(keras.losses, ALL[name])(axis=axis)
        weights = np.broadcast_to(weights[:, None, None], theirs.call(y_true, y_pred).shape)
        np.testing.assert_allclose(ours(y_true, y_pred, weights), theirs(y_true, y_pred, weights), rtol=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_labels_are_keras(reduction):
    embeddings = RNG.normal(size=(6, 4))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels, weights = np.array([0, 1, 0, 1, 2, 2]), RNG.uniform(size=6)
    for options in ({}, {"gamma": 10.0, "margin": 0.25, "remove_diagonal": False}):
        check_value_and_gradient("circle", options | {"reduction": reduction}, labels, embeddings, weights)
    for q in (0.2, 0.5):
        check_value_and_gradient(
            "categorical_generalized_cross_entropy", {"q": q, "reduction": reduction}, labels, softmax(embeddings), weights
        )


WITH_A_GRADIENT_AT_TARGETS = {
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "log_cosh",
    "cosine_similarity",
    "kl_divergence",
}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", [name for name in CLASSES | FURTHER if not name.startswith("sparse")])
def test_a_gradient_at_the_targets_is_tensorflow_s_or_is_refused(name):
    one, two = np.random.default_rng(2).dirichlet(np.ones(4), (2, 3))
    one[0, 0], one[1, 1], two[2, 2] = 0, 1.5, 1.5  # beyond the bounds to which some clip
    targets, y_true = tf.constant(one), minicnn.ops.convert_to_tensor(one)
    with tf.GradientTape() as theirs:
        theirs.watch(targets)
        expected = getattr(keras.losses, ALL[name])()(targets, two)
    with minicnn.GradientTape() as ours:
        ours.watch(y_true)
        loss = getattr(losses, ALL[name])()(y_true, minicnn.ops.convert_to_tensor(two))
    if name in WITH_A_GRADIENT_AT_TARGETS:
        np.testing.assert_allclose(ours.gradient(loss, y_true), theirs.gradient(expected, targets), rtol=1e-6)
    else:
        with pytest.raises(NotImplementedError, match="with respect to `y_pred` alone"):
            ours.gradient(loss, y_true)


def test_rows_that_are_alone_do_not_count_in_a_circle():
    """As in Keras, whose mean is over the others."""
    embeddings, labels = np.eye(5, 8, dtype="float32") * 0.5 + np.float32(0.1), np.array([0, 0, 1, 1, 2])
    ours, theirs = losses.Circle(), keras.losses.Circle()
    assert ours(labels, embeddings).numpy() == pytest.approx(theirs(labels, embeddings).numpy(), rel=1e-4)
    value, saved = ours.forward(labels, backends.asarray(embeddings))
    assert float(value) == pytest.approx(theirs(labels, embeddings).numpy(), rel=1e-4)
    assert np.isfinite(backends.to_numpy(ours.backward(saved))).all()


def test_a_circle_may_have_other_references():
    y_pred, references = RNG.normal(0, 0.3, (2, 4, 3)).astype("float32")
    labels, of_references = np.array([0, 1, 0, 1]), np.array([1, 1, 0, 0])
    expected = keras.losses.circle(labels, y_pred, of_references, references, remove_diagonal=False).numpy()
    actual = losses.circle(labels, y_pred, of_references, references, remove_diagonal=False)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_a_focal_loss_may_weigh_each_class():
    y_true, y_pred = np.eye(3)[[0, 2, 1]], softmax(RNG.normal(size=(3, 3)))
    expected = keras.losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.3, 0.6])(y_true, y_pred).numpy()
    loss = losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.3, 0.6])
    assert loss(y_true, y_pred).numpy() == pytest.approx(expected, rel=1e-5)
    assert losses.deserialize(losses.serialize(loss)).alpha == [0.1, 0.3, 0.6]


@pytest.mark.usefixtures("double")
def test_a_focal_loss_without_gamma_is_the_cross_entropy():
    """Also of probabilities that are 0 and 1, right and wrong."""
    y_true, y_pred = np.array([[0.0, 1.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 0.7, 1.0]])
    with tf.GradientTape() as tape:
        x = tf.constant(y_pred)
        tape.watch(x)
        expected = keras.losses.BinaryCrossentropy()(y_true, x)
    loss = losses.BinaryFocalCrossentropy(gamma=0.0)
    value, saved = loss.forward(y_true, backends.asarray(y_pred))
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(loss.backward(saved), tape.gradient(expected, x), rtol=1e-6)


def test_one_loss_for_the_whole_batch_takes_weights_as_keras_does():
    y_true, y_pred, weights = RNG.integers(0, 2, (4, 3)), RNG.uniform(size=(4, 3)), RNG.uniform(size=4)
    for reduction in ("sum_over_batch_size", "sum"):
        expected = keras.losses.Dice(reduction)(y_true, y_pred, sample_weight=weights).numpy()
        assert losses.Dice(reduction)(y_true, y_pred, sample_weight=weights).numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("double")
@drawn_cases(30)
@given(data=st.data(), smoothing=st.sampled_from([0.1, 0.5]))
def test_labels_are_smoothed_as_their_one_hot_vectors(data, smoothing):
    """As Keras's loss of vectors with the same argument; with `ignore_class`, as the rows that it leaves."""
    y_true, y_pred, logits, weights = draw_batch(data, "sparse_categorical_crossentropy")
    options = draw_options(data, "sparse_categorical_crossentropy") | {"reduction": "sum"}
    x, classes, ignored = logits if options["from_logits"] else softmax(logits), y_pred.shape[-1], options["ignore_class"]
    labels = y_true.reshape(y_pred.shape[:-1])
    kept = np.where(labels == ignored, 0.0, 1.0 if weights is None else weights)
    theirs = keras.losses.CategoricalCrossentropy(options["from_logits"], smoothing, reduction="sum")
    with tf.GradientTape() as tape:
        tensor = tf.constant(x)
        tape.watch(tensor)
        expected = theirs(np.eye(classes)[labels], tensor, sample_weight=kept)
    ours = losses.SparseCategoricalCrossentropy(**options, label_smoothing=smoothing)
    loss, saved = ours.forward(y_true, backends.asarray(x), weights)
    np.testing.assert_allclose(float(loss), expected.numpy(), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ours(y_true, x, sample_weight=weights), expected.numpy(), rtol=1e-6, atol=1e-12)
    expected_gradient = tape.gradient(expected, tensor).numpy()
    scale = np.abs(expected_gradient).max()
    if options["from_logits"]:
        np.testing.assert_allclose(backends.to_numpy(ours.backward(saved)), expected_gradient, rtol=1e-6, atol=1e-9 * scale)


def test_smoothed_labels_in_a_model_and_a_config():
    """What a model that ends in softmax is trained with, on its logits; and Keras reads a config without the argument."""
    found = {}
    for loss, as_targets in (
        (losses.SparseCategoricalCrossentropy(label_smoothing=0.2), lambda y: y),
        (losses.CategoricalCrossentropy(label_smoothing=0.2), lambda y: np.eye(3, dtype="float32")[y]),
    ):
        minicnn.set_random_seed(1)
        model = minicnn.Sequential([minicnn.layers.Input((4,)), minicnn.layers.Dense(3, activation="softmax")])
        model.compile("sgd", loss, metrics=["accuracy"])
        rng = np.random.default_rng(0)
        x, y = rng.random((12, 4), np.float32), rng.integers(0, 3, 12)
        found[loss.name] = model.fit(x, as_targets(y), epochs=2, verbose=0).history
    assert found["sparse_categorical_crossentropy"]["loss"] == pytest.approx(found["categorical_crossentropy"]["loss"])
    assert found["sparse_categorical_crossentropy"]["accuracy"] == found["categorical_crossentropy"]["accuracy"]
    smooth = losses.SparseCategoricalCrossentropy(label_smoothing=0.2)
    assert losses.deserialize(losses.serialize(smooth)).label_smoothing == 0.2
    assert "label_smoothing" not in losses.SparseCategoricalCrossentropy().get_config()
    with pytest.raises(ValueError, match=r"`label_smoothing` must be in \[0, 1\). Received: label_smoothing=1"):
        losses.SparseCategoricalCrossentropy(label_smoothing=1)


BEYOND_KERAS = {"SparseCategoricalCrossentropy": [("label_smoothing", 0.0)]}


@pytest.mark.parametrize("name", ALL)
def test_signatures_are_keras(name):
    for item in (name, ALL[name]):
        ours, theirs = (inspect.signature(getattr(module, item)).parameters for module in (losses, keras.losses))
        expected = [(one.name, one.default) for one in theirs.values()] + BEYOND_KERAS.get(item, [])
        assert [(one.name, one.default) for one in ours.values()] == expected


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"])
@drawn_cases(30)
@given(data=st.data())
def test_a_pass_on_logits_is_the_activation_and_the_loss(name, data):
    y_true, _, logits, weights = draw_batch(data, name)
    options = draw_options(data, name) | {"from_logits": False}
    activation = tf.sigmoid if name == "binary_crossentropy" else tf.nn.softmax
    with tf.GradientTape() as tape:
        x = tf.constant(logits)
        tape.watch(x)
        value = getattr(keras.losses, CLASSES[name])(**options | {"from_logits": True})(y_true, x, sample_weight=weights)
    expected_gradient = tape.gradient(value, x).numpy()
    loss = getattr(losses, CLASSES[name])(**options)
    value_here, saved = loss.on_logits().forward(y_true, backends.asarray(logits), weights)
    probabilities = loss.on_logits().probabilities(saved)
    np.testing.assert_allclose(backends.to_numpy(probabilities), activation(logits).numpy(), rtol=1e-9)
    np.testing.assert_allclose(float(value_here), float(np.mean(value)), rtol=1e-9, atol=1e-12)
    gradient = backends.to_numpy(loss.on_logits().backward(saved))
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-9 * np.abs(expected_gradient).max())
    assert loss.from_logits is False


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"categorical_generalized_cross_entropy"}))  # whose q has no default
def test_functions_are_keras(name):
    y_pred = softmax(RNG.normal(size=(4, 3)).astype("float32"))
    labels = np.array([0, 2, 1, 1]) if name.startswith("sparse") else np.array([0, 0, 1, 1])
    y_true = labels if name.startswith("sparse") or name == "circle" else np.eye(3, dtype="float32")[labels]
    np.testing.assert_allclose(
        getattr(losses, name)(y_true, y_pred).numpy(), getattr(keras.losses, name)(y_true, y_pred).numpy(), rtol=1e-5, atol=1e-7
    )


def test_lists_and_integers_are_cast_as_keras_casts_them():
    for name in ("MeanSquaredError", "MeanAbsoluteError"):
        ours, theirs = getattr(losses, name)(), getattr(keras.losses, name)()
        assert ours([[0, 1], [0, 0]], [[1, 1], [1, 0]]).numpy() == theirs([[0, 1], [0, 0]], [[1, 1], [1, 0]]).numpy()
    assert losses.MeanSquaredError()([1.0], [2.0]).dtype == np.float32


@pytest.mark.parametrize(
    ("true_shape", "pred_shape"), [((4,), (4, 1)), ((4, 1), (4,)), ((2, 3, 1), (2, 3)), ((2, 3), (2, 3, 1))]
)
def test_ranks_that_differ_by_an_axis_of_one_are_matched_as_keras_does(true_shape, pred_shape):
    y_true, y_pred = RNG.integers(0, 2, true_shape).astype("float32"), RNG.uniform(0.1, 0.9, pred_shape).astype("float32")
    for name in ("MeanSquaredError", "BinaryCrossentropy"):
        expected = getattr(keras.losses, name)()(y_true, y_pred).numpy()
        np.testing.assert_allclose(getattr(losses, name)()(y_true, y_pred), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["MeanSquaredError", "MeanAbsolutePercentageError", "Huber", "LogCosh", "SquaredHinge", "KLDivergence"]
)
@pytest.mark.parametrize(
    ("true_shape", "pred_shape"), [((4, 5), (4, 1)), ((4, 1), (4, 5)), ((2, 4, 5), (4, 5)), ((4, 5), (1, 5, 1)), ((4, 5), (5,))]
)
def test_an_axis_of_one_is_repeated_as_keras_does(name, true_shape, pred_shape):
    y_true, y_pred = (RNG.uniform(0.1, 1, shape).astype("float32") for shape in (true_shape, pred_shape))
    with tf.GradientTape() as tape:
        x = tf.constant(y_pred)
        tape.watch(x)
        expected = getattr(keras.losses, name)()(y_true, x)
    loss = getattr(losses, name)()
    value, saved = loss.forward(y_true, backends.asarray(y_pred))
    np.testing.assert_allclose([value, loss(y_true, y_pred)], [expected] * 2, rtol=1e-5)
    np.testing.assert_allclose(loss.backward(saved), tape.gradient(expected, x), rtol=1e-4, atol=1e-6)


def test_a_model_of_one_output_is_trained_and_measured_on_several_targets_as_keras_does():
    x, y = RNG.normal(size=(8, 3)).astype("float32"), RNG.normal(size=(8, 10)).astype("float32")
    logs = []
    for K in (minicnn, keras):
        model = K.Sequential([K.Input((3,)), K.layers.Dense(1, kernel_initializer="ones")])
        model.compile(
            K.optimizers.SGD(0.1), "mse", metrics=[K.metrics.MeanSquaredError(), K.metrics.RootMeanSquaredError(), "mae"]
        )
        logs.append(list(model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history.values()))
    np.testing.assert_allclose(*logs, rtol=1e-4)


@pytest.mark.parametrize("weight_shape", [(3,), (3, 1), (3, 4), (3, 4, 1), (3, 1, 5), (1,), ()])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_are_of_samples_or_of_parts_of_them(weight_shape, reduction):
    """Of samples each a picture of 4 by 5 losses: as Keras weighs each of these."""
    y_true, y_pred = RNG.random((2, 3, 4, 5, 2), np.float32)
    weights = RNG.uniform(0.5, 2, weight_shape).astype("float32")
    each = np.broadcast_to(weights.reshape(weight_shape + (1,) * (3 - len(weight_shape))), (3, 4, 5))
    expected = keras.losses.MeanSquaredError(reduction=reduction)(y_true, y_pred, sample_weight=each).numpy()
    loss = losses.MeanSquaredError(reduction=reduction)
    np.testing.assert_allclose(loss(y_true, y_pred, sample_weight=weights), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.forward(y_true, backends.asarray(y_pred), weights)[0], expected.mean(), rtol=1e-5)


def test_a_weight_a_sample_may_have_an_axis_of_one():
    y_true, y_pred, weights = np.ones((3, 2), "float32"), np.zeros((3, 2), "float32"), np.array([1.0, 2.0, 3.0])
    expected = keras.losses.MeanSquaredError()(y_true, y_pred, sample_weight=weights).numpy()
    assert losses.MeanSquaredError()(y_true, y_pred, sample_weight=weights[:, None]).numpy() == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", ["CosineSimilarity", "Dice", "Tversky", "CategoricalCrossentropy", "BinaryCrossentropy", "BinaryFocalCrossentropy"]
)
def test_what_could_be_repeated_is_refused_where_it_would_mean_nothing(name):
    """As Keras does of cross-entropies; a cosine of such vectors comes out below -1 there."""
    for true_shape, pred_shape in (((4, 1), (4, 5)), ((1, 5), (4, 5)), ((4, 5), (1, 5))):
        with pytest.raises(ValueError, match=r"Arguments `target` and `output` must have"):
            getattr(losses, name)()(np.full(true_shape, 0.5, "float32"), np.full(pred_shape, 0.5, "float32"))


class Asymmetric(losses.Loss):
    """(y - p)**2, three times as dear where p is too small."""

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        return np.mean(np.where(error > 0, 3, 1) * error**2, axis=-1)

    def gradient(self, y_true, y_pred):
        error = y_true - y_pred
        return -2 * np.where(error > 0, 3, 1) * error / y_pred.shape[-1]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_users_loss_trains_with_its_gradient(reduction, weighted):
    y_true, y_pred = RNG.normal(size=(2, 5, 3)).astype("float32")
    weights = np.linspace(0.5, 2, 5) if weighted else None
    loss = Asymmetric(reduction=reduction)
    value, saved = loss.forward(y_true, backends.asarray(y_pred), weights)
    called = loss(y_true, y_pred, sample_weight=weights)
    assert float(value) == pytest.approx(float(np.mean(called)), rel=1e-5)
    step = 1e-2 * RNG.normal(size=y_pred.shape).astype("float32")
    up, down = (np.sum(loss(y_true, y_pred + sign * step, sample_weight=weights)) for sign in (1, -1))
    assert float((backends.to_numpy(loss.backward(saved)) * step).sum()) == pytest.approx(
        float(up - down) / 2, rel=0.05, abs=1e-4
    )


def test_a_users_loss_of_one_number_a_batch_trains():
    class Total(losses.Loss):
        def call(self, y_true, y_pred):
            return np.sum((y_true - y_pred) ** 2)

        def gradient(self, y_true, y_pred):
            return 2 * (y_pred - y_true)

    y_true, y_pred = np.zeros((3, 2), "float32"), np.ones((3, 2), "float32")
    value, saved = Total().forward(y_true, backends.asarray(y_pred))
    assert float(value) == 6
    np.testing.assert_array_equal(Total().backward(saved), np.full((3, 2), 2.0))


def test_a_users_loss_of_ops_has_a_gradient():
    """By a tape; where that does not see what is computed, the loss can be called and not trained with."""

    class Plain(losses.Loss):
        def call(self, y_true, y_pred):
            return np.mean(np.abs(y_true - y_pred), axis=-1)

    def plain(y_true, y_pred):
        return np.mean(np.abs(y_true - y_pred), axis=-1)

    class Unseen(losses.Loss):
        def call(self, y_true, y_pred):
            return np.mean(np.abs(y_true.numpy() - y_pred.numpy()), axis=-1)

    y_true, y_pred = np.zeros((3, 2), "float32"), np.ones((3, 2), "float32")
    for loss in (Plain(), losses.resolve(plain)):
        assert loss(y_true, y_pred).numpy() == 1
        _, saved = loss.forward(y_true, backends.asarray(y_pred))
        np.testing.assert_allclose(backends.to_numpy(loss.backward(saved)), np.full((3, 2), 1 / 6), rtol=1e-6)
    _, saved = Unseen().forward(y_true, backends.asarray(y_pred))
    with pytest.raises(NotImplementedError, match=r"Loss 'unseen.*' has no gradient.*gradient\(y_true, y_pred\)"):
        Unseen().backward(saved)
    with pytest.raises(NotImplementedError, match="must implement `call"):
        losses.Loss()(y_true, y_pred)


def percentage(y_true, y_pred):
    """Of which neither argument can stand in the other's place."""
    return np.mean(abs(y_true - y_pred) / y_true, axis=-1)


def of_percentage(y_true, y_pred):
    return np.sign(y_pred - y_true) / y_true / y_pred.shape[-1]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("by", ["a tape", "the function's own gradient", "a class"])
@pytest.mark.parametrize("true_shape", [(4, 3), (4,)])
def test_a_loss_of_ones_own_gets_targets_and_predictions_in_their_places(reduction, by, true_shape):
    """Keras's percentage error, divided by 100: its value, its gradient, and the ranks that it matches."""
    y_true = RNG.uniform(0.5, 1, true_shape).astype("float32")
    y_pred = RNG.uniform(0.5, 1, (4, 3 if len(true_shape) == 2 else 1)).astype("float32")
    weights = np.array([1, 2, 0.5, 3], "float32")
    if by == "a class":
        cls = type("Percentage", (losses.Loss,), {"call": lambda self, *batch: percentage(*losses.base.match_ranks(*batch))})
        ours = cls(reduction=reduction)
    else:
        fn = lambda y_true, y_pred: percentage(y_true, y_pred)  # noqa: E731  which takes an attribute of its own
        if by != "a tape":
            fn.gradient = of_percentage
        ours = losses.LossFunctionWrapper(fn, reduction=reduction, name="percentage")
    theirs, x = keras.losses.MeanAbsolutePercentageError(reduction=reduction), tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = theirs(y_true, x, weights)
    value, saved = ours.forward(y_true, backends.asarray(y_pred), weights)
    np.testing.assert_allclose(value, np.mean(expected) / 100, rtol=1e-5)
    np.testing.assert_allclose(ours(y_true, y_pred, weights), expected / 100, rtol=1e-5)
    np.testing.assert_allclose(ours.backward(saved), tape.gradient(expected, x) / 100, rtol=1e-5)


def test_automatic_names_are_keras_s():
    names = []
    for module in (losses, keras.losses):
        cls = type("MyOwnLoss", (module.Loss,), {"call": lambda self, y_true, y_pred: y_pred})
        names.append([re.sub(r"_\d+$", "_N", one.name) for one in (cls(), cls(), cls(name="a"))])
    assert names[0][1:] == names[1][1:] == ["my_own_loss_N", "a"]


def test_a_users_function_trains_with_its_gradient_attribute():
    def plain(y_true, y_pred):
        return np.mean((y_true - y_pred) ** 2, axis=-1)

    plain.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1]
    y_true, y_pred = RNG.normal(size=(2, 4, 3)).astype("float32")
    loss, builtin = losses.resolve(plain), losses.MeanSquaredError()
    gradients = [
        backends.to_numpy(each.backward(each.forward(y_true, backends.asarray(y_pred))[1])) for each in (loss, builtin)
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-5)


KEPT = {"Huber": {"delta": 2.5}, "CosineSimilarity": {"axis": 1}}  # arguments that Keras's own configs forget, but take


@pytest.mark.parametrize("name", ALL.values())
def test_config_round_trip_is_keras(name):
    kept = KEPT.get(name, {})
    ours, theirs = getattr(losses, name)(reduction="sum", **kept), getattr(keras.losses, name)(reduction="sum", **kept)
    assert ours.get_config() == theirs.get_config() | kept
    assert losses.deserialize(losses.serialize(ours)).get_config() == ours.get_config()
    serialized = keras.losses.serialize(theirs)
    assert losses.serialize(ours) == serialized | {"config": serialized["config"] | kept}
    ours = type(ours).from_config(theirs.get_config())
    again = losses.deserialize(keras.losses.serialize(theirs))
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config()
    if name != "CategoricalGeneralizedCrossEntropy":  # which Keras 3.15 cannot read, not even from itself
        assert keras.losses.deserialize(losses.serialize(ours)).get_config() == theirs.get_config()


def test_the_arguments_of_a_wrapped_function_come_back():
    loss = losses.LossFunctionWrapper(losses.huber, reduction="sum", name="mine", delta=0.25)
    again = losses.deserialize(losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    for each in (loss, again):
        assert float(each([[0.0]], [[2.0]])) == float(keras.losses.Huber(0.25)([[0.0]], [[2.0]])) == 0.25 * 2 - 0.25**2 / 2


def test_a_gradient_that_is_written_takes_the_arguments_of_its_function():
    """That of huber: of Keras's for the class with the same argument, and of a tape where none is written."""

    def huber(y_true, y_pred, delta=1.0):
        off = abs(y_pred - y_true)
        return np.mean(np.where(off <= delta, off**2 / 2, delta * off - delta**2 / 2), axis=-1)

    def slope(y_true, y_pred, delta=1.0):
        return np.clip(y_pred - y_true, -delta, delta) / y_pred.shape[-1]

    huber.gradient = slope
    y_true, y_pred = np.zeros((3, 2), "float32"), np.array([[0.1, -2], [1, 3], [-0.2, 0.6]], "float32")
    ours, theirs = losses.LossFunctionWrapper(huber, delta=0.25), keras.losses.Huber(0.25)
    y = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y)
        expected = theirs(y_true, y)
    value, saved = ours.forward(y_true, y_pred)
    assert float(value) == pytest.approx(float(expected))
    np.testing.assert_allclose(ours.backward(saved), tape.gradient(expected, y), rtol=1e-6)


@pytest.mark.parametrize("name", [*CLASSES, *CLASSES.values(), *FURTHER, *FURTHER.values(), "circle", "Circle", *ALIASES])
def test_names_stand_for_what_they_stand_for_in_keras(name):
    ours, theirs = losses.get(name), keras.losses.get(name)
    if isinstance(theirs, keras.losses.Loss):
        assert ours.get_config().items() >= theirs.get_config().items()
    else:
        assert ours.__name__ == theirs.__name__
    assert isinstance(losses.resolve([name]), losses.Loss)
    assert losses.resolve(name).name == (theirs.name if isinstance(theirs, keras.losses.Loss) else name)


def test_get_takes_classes_instances_functions_and_configs():
    instance = losses.MeanSquaredError()
    assert losses.get(instance) is instance
    assert losses.get(losses.mean_squared_error) is losses.mean_squared_error
    assert isinstance(losses.get(losses.MeanSquaredError), losses.MeanSquaredError)
    assert losses.get({"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}).from_logits is True
    assert losses.get(None) is None
    assert losses.resolve(None) is None
    for bad in ("mean_squared", 3, {"class_name": "Nothing", "config": {}}):
        with pytest.raises(ValueError, match="Could not interpret loss identifier"):
            losses.get(bad)
    with pytest.raises(ValueError, match="Did you mean 'mean_squared_error'"):
        losses.get("mean_square_error")


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [((8,), (8, 10), "sparse"), ((8, 1), (8, 10), "sparse"), ((8, 10), (8, 10), "categorical"), ((8, 1), (8, 1), "binary")],
)
def test_crossentropy_by_shape(true, pred, expected):
    assert type(losses.resolve("crossentropy", true, pred)).__name__.lower().startswith(expected)


def test_labels_out_of_range_name_the_loss_the_label_and_the_classes():
    y_pred = np.full((3, 4), 0.25, "float32")
    for labels, label in (([0, 4, 1], "4"), ([0, -1, 2], "-1"), ([[0.0], [np.nan], [1.0]], "nan")):
        message = rf"sparse_categorical_crossentropy: Received a label value of {label}.* outside the valid range of \[0, 4\)"
        with pytest.raises(ValueError, match=message):
            losses.SparseCategoricalCrossentropy().forward(np.array(labels), backends.asarray(y_pred))
        with pytest.raises(ValueError, match=message):
            losses.sparse_categorical_crossentropy(np.array(labels), y_pred)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2)])
@pytest.mark.parametrize("ignored", [-1, 1, 7])
def test_an_ignored_label_may_lie_anywhere_and_the_others_may_not(shape, ignored):
    """It has no loss, also of the function alone, and none of the rest is let through."""
    labels = np.array([0, ignored, 2, ignored]).reshape(shape)
    y_pred = softmax(RNG.normal(size=(*(shape if shape[-1] != 1 else shape[:1]), 3))).astype("float32")
    ours, theirs = (
        np.asarray(module.sparse_categorical_crossentropy(labels, y_pred, ignore_class=ignored))
        for module in (losses, keras.losses)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert (ours == 0).sum() == 2
    for reduction in REDUCTIONS:
        ours, theirs = (
            module.SparseCategoricalCrossentropy(ignore_class=ignored, reduction=reduction)(labels, y_pred)
            for module in (losses, keras.losses)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    with pytest.raises(ValueError, match=r"Received a label value of 3(\.0)? which is outside"):
        losses.SparseCategoricalCrossentropy(ignore_class=ignored)(np.where(labels == 0, 3, labels), y_pred)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean_absolute_percentage_error", {}),
        ("sparse_categorical_crossentropy", {"ignore_class": 1}),
        ("binary_crossentropy", {"label_smoothing": 0.2}),
        ("circle", {"gamma": 10.0}),
    ],
)
def test_a_loss_on_a_tape_is_keras_s(name, options, reduction, weighted):
    """Of whole numbers too, which it casts."""
    labels, weights = np.array([0, 1, 1, 2, 0]), np.array([1, 2, 0.5, 3, 1]) if weighted else None
    y_true = labels if name in ("circle", "sparse_categorical_crossentropy") else np.eye(3)[labels].astype("int64")
    y_true, y_pred = y_true + (name == "mean_absolute_percentage_error"), softmax(RNG.normal(size=(5, 3)))
    found = []
    for module, tape in ((minicnn, minicnn.GradientTape()), (keras, tf.GradientTape())):
        x = module.ops.convert_to_tensor(y_pred)
        with tape:
            tape.watch(x)
            loss = getattr(module.losses, ALL[name])(reduction=reduction, **options)(y_true, x, sample_weight=weights)
        found.append((np.asarray(loss), np.asarray(tape.gradient(loss, x))))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_shapes_that_do_not_fit_are_named():
    y_pred = np.full((3, 4), 0.25, "float32")
    for name in ("MeanSquaredError", "Dice", "CategoricalCrossentropy", "BinaryCrossentropy"):
        with pytest.raises(
            ValueError, match=r"must have the same shape. Received: target.shape=\(3, 2\), output.shape=\(3, 4\)"
        ):
            getattr(losses, name)()(np.ones((3, 2)), y_pred)
        with pytest.raises(ValueError, match=r"must have the same rank \(ndim\). Received: target.shape=\(3,\)"):
            getattr(losses, name)()(np.ones(3), y_pred)
    with pytest.raises(ValueError, match="For integer labels use 'sparse_categorical_crossentropy'"):
        losses.CategoricalCrossentropy()(np.ones((3, 1)), y_pred)
    with pytest.raises(ValueError, match=r"Received: target.shape=\(3, 4\), output.shape=\(3, 4\). For one-hot targets use"):
        losses.SparseCategoricalCrossentropy()(np.ones((3, 4)), y_pred)
    with pytest.raises(ValueError, match="same shape up until the last dimension"):
        losses.SparseCategoricalCrossentropy()(np.ones(2), y_pred)
    with pytest.raises(
        ValueError, match=r"`sample_weight` must have one weight a sample.*Received: sample_weight.shape=\(2,\)"
    ):
        losses.MeanSquaredError()(np.ones((3, 4)), y_pred, sample_weight=[1.0, 2.0])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"Invalid value for argument `reduction`.*Received: reduction=average"):
        losses.MeanSquaredError(reduction="average")
    with pytest.raises(ValueError, match=r"Only axis=-1 is currently supported. Received: axis=1"):
        losses.SparseCategoricalCrossentropy(axis=1)
    with pytest.raises(ValueError, match="`axis` must be of type `int`"):
        losses.CategoricalCrossentropy(axis=True)
    with pytest.raises(ValueError, match=r"q must be in the interval \(0, 1\). Received: q=1"):
        losses.CategoricalGeneralizedCrossEntropy(q=1)
    with pytest.raises(
        ValueError, match=r"circle: expected labels of shape \(N,\).*y_true.shape=\(2,\), y_pred.shape=\(3, 4\)"
    ):
        losses.Circle()([0, 1], np.ones((3, 4)))
    with pytest.warns(SyntaxWarning, match="Consider using 'binary_crossentropy'"):
        losses.CategoricalCrossentropy()(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.warns(UserWarning, match="produced by a Softmax activation"):
        losses.CategoricalCrossentropy(from_logits=True).on_logits()


@pytest.mark.parametrize("name", CLASSES)
def test_no_pass_makes_memory_after_the_first(name):
    y_pred = backends.asarray(np.full((6, 3), 1 / 3, "float32"))
    y_true = np.array([0, 1, 2, 0, 1, 2], "uint8") if name.startswith("sparse") else np.eye(3)[[0, 1, 2, 0, 1, 2]]
    loss, arena, held = losses.resolve(name), memory.Arena(), []
    for _ in range(3):
        with arena:
            loss.backward(loss.forward(y_true, y_pred, np.ones(6))[1])
        held.append(arena.nbytes)
    assert held[0] > 0
    assert held[1] == held[2]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight_shape", [None, (), (1,), (3,), (3, 1)])
def test_a_loss_in_a_graph_is_that_of_arrays(reduction, weight_shape):
    shapes = [(3, 2), (3, 2), *([] if weight_shape is None else [weight_shape])]
    arrays = [RNG.random((4, *shape), np.float32) for shape in shapes]
    symbols = [minicnn.layers.symbolic.KerasTensor((None, *shape)) for shape in shapes]
    loss = losses.MeanSquaredError(reduction=reduction)
    model = minicnn.Model(symbols, loss(*symbols))
    found, _ = model.forward([backends.asarray(array) for array in arrays], False)
    np.testing.assert_allclose(found, loss(*arrays), rtol=1e-5)


def test_a_loss_of_float64_computes_in_it():
    value = losses.MeanSquaredError(dtype="float64")([[1.0, 0.0]], [[1.0 + 1e-9, 0.0]])
    assert value.dtype == np.float64
    assert float(value) == pytest.approx(5e-19, rel=1e-6)


@pytest.mark.parametrize("name", ["SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy"])
def test_probabilities_beyond_the_clip_have_no_gradient(name):
    p = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.25, 0.25]], "float32")
    labels = np.array([1, 2, 0])
    y = labels if name.startswith("Sparse") else np.eye(3, dtype="float32")[labels]
    found = []
    for module, tape in ((minicnn, minicnn.GradientTape()), (keras, tf.GradientTape())):
        x = module.ops.convert_to_tensor(p)
        with tape:
            tape.watch(x)
            loss = getattr(module.losses, name)()(y, x)
        found.append(np.asarray(tape.gradient(loss, x)))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
