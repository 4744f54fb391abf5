"""Metrics against Keras's: values over several batches, configs, names, and the words of errors."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backends, losses, metrics
from minicnn.backends import memory
from minicnn.variables import Variable
from tests.drawn import drawn_cases

SPARSE = ["SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy", "SparseCategoricalCrossentropy"]
ONE_HOT = ["CategoricalAccuracy", "TopKCategoricalAccuracy", "CategoricalCrossentropy"]
AT_LEAST = {
    "SensitivityAtSpecificity": "specificity",
    "SpecificityAtSensitivity": "sensitivity",
    "PrecisionAtRecall": "recall",
    "RecallAtPrecision": "precision",
}
COUNTS = ["TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"]
THRESHOLDS = ["Precision", "Recall", "AUC", *COUNTS, *AT_LEAST]
PROBABILITIES = ["KLDivergence", "Poisson", "MeanSquaredLogarithmicError", "F1Score", "FBetaScore", "BinaryIoU"]
BINARY = ["BinaryAccuracy", "BinaryCrossentropy", *THRESHOLDS, *PROBABILITIES]
REGRESSION = [
    "MeanSquaredError",
    "MeanAbsoluteError",
    "RootMeanSquaredError",
    "MeanAbsolutePercentageError",
    "LogCoshError",
    "Hinge",
    "SquaredHinge",
    "CategoricalHinge",
    "CosineSimilarity",
    "PearsonCorrelation",
    "ConcordanceCorrelation",
    "R2Score",
]
IOUS = ["IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"]
ALL = [*SPARSE, *ONE_HOT, *BINARY, *REGRESSION, *IOUS, "Accuracy"]
NUMBERED = [*THRESHOLDS, *IOUS, "BinaryIoU"]  # their automatic names have a number
OPTIONS = {  # all that a metric is drawn with
    "BinaryAccuracy": [{"threshold": 0.5}, {"threshold": 0.2}],
    "Precision": [
        {},
        {"thresholds": 0.3},
        {"thresholds": [0.2, 0.7]},
        {"thresholds": [0.7, 0.2, 0.5]},
        {"top_k": 1},
        {"class_id": 1},
        {"top_k": 2, "class_id": 0},
    ],
    "TruePositives": [{}, {"thresholds": 0.3}, {"thresholds": [0.7, 0.2, 0.5]}, {"thresholds": [0, 0.5, 1]}],
    "CategoricalCrossentropy": [{"label_smoothing": 0}, {"label_smoothing": 0.2}],
    "FBetaScore": [{}, {"beta": 2.0, "average": "macro"}, {"beta": 0.5, "threshold": 0.4}],
    "F1Score": [{}, {"average": "macro"}, {"average": "micro"}, {"average": "weighted", "threshold": 0.5}],
    "BinaryIoU": [{}, {"target_class_ids": [1]}, {"threshold": 0.3, "dtype": "float32"}],
    "IoU": [{"target_class_ids": [0, 2]}, {"target_class_ids": [1], "ignore_class": 0, "dtype": "float32"}],
    "MeanIoU": [{}, {"ignore_class": 1}, {"dtype": "float32"}, {"sparse_y_pred": False}],
    "OneHotMeanIoU": [{}, {"ignore_class": 1, "dtype": "float32"}, {"sparse_y_pred": True}],
    "R2Score": [
        {},
        {"class_aggregation": None},
        {"class_aggregation": "variance_weighted_average"},
        {"num_regressors": 1},
    ],
    "PearsonCorrelation": [{}, {"axis": -1}],
}
for name, same in {
    "Recall": "Precision",
    "FalsePositives": "TruePositives",
    "TrueNegatives": "TruePositives",
    "FalseNegatives": "TruePositives",
    "BinaryCrossentropy": "CategoricalCrossentropy",
    "OneHotIoU": "IoU",
    "ConcordanceCorrelation": "PearsonCorrelation",
}.items():
    OPTIONS[name] = OPTIONS[same]


def draw_options(data, name, classes):
    if "TopK" in name:
        return {"k": data.draw(st.integers(1, 3))}
    if name == "AUC":
        options = {
            "curve": data.draw(st.sampled_from(["ROC", "PR", "PRGAIN"])),
            "summation_method": data.draw(st.sampled_from(["interpolation", "minoring", "majoring"])),
        }
        weights = data.draw(st.sampled_from([{}, {"label_weights": [1.0, 3.0, 0.5, 2.0, 0.0][:classes]}]))
        return options | weights | data.draw(st.sampled_from([{}, {"num_thresholds": 7}, {"thresholds": [0.13, 0.5, 0.6]}]))
    if name in AT_LEAST:
        common = st.sampled_from([{}, {"num_thresholds": 1}, {"num_thresholds": 9}, {"class_id": 1}])
        return {AT_LEAST[name]: data.draw(st.sampled_from([0.0, 0.4, 0.8, 1.0])), **data.draw(common)}
    number = {"num_classes": classes} if name in IOUS else {}
    return number | data.draw(st.sampled_from(OPTIONS.get(name, [{}])))


SAMPLE = {"num_classes": 3, "target_class_ids": [0, 2], **dict.fromkeys(AT_LEAST.values(), 0.5)}


def needed(name):
    """The arguments that a metric has no default for."""
    return [key for key, one in inspect.signature(getattr(metrics, name)).parameters.items() if one.default is one.empty]


def draw_batch(data, name, classes, options):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    samples = data.draw(st.integers(3 if name == "R2Score" else 1, 6))  # a variance
    logits = rng.normal(0, 2, (samples, classes))
    labels = rng.integers(0, classes, samples)
    if name in SPARSE:
        y_true = labels[:, None] if data.draw(st.booleans()) else labels
    elif name in ("IoU", "MeanIoU"):
        y_true = rng.integers(-1, classes + 1, samples)
    elif name in (*ONE_HOT, "OneHotIoU", "OneHotMeanIoU"):
        y_true = np.eye(classes)[labels]
    elif name in ("R2Score", "LogCoshError", "CosineSimilarity", "PearsonCorrelation", "ConcordanceCorrelation"):
        y_true = rng.normal(0, 2, (samples, classes))
    elif name == "KLDivergence":
        y_true = rng.uniform(0.1, 1, (samples, classes))
    else:
        y_true = rng.integers(0, 2, (samples, classes)).astype(float)
    if name in BINARY:
        y_pred = 1 / (1 + np.exp(-logits))
        if name in THRESHOLDS:  # on 1/2 and eighths, or 5e-6 away: Keras finds the threshold by a rounded product
            y_pred = np.round(y_pred * 1024) / 1024
    elif name == "Accuracy":
        y_pred = rng.integers(0, 2, (samples, classes))
    elif options.get("sparse_y_pred", name in ("IoU", "MeanIoU")) and name in IOUS:
        y_pred = rng.integers(-1, classes + 1, samples)
    elif name in REGRESSION:
        y_pred = logits
    else:
        y_pred = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    weights = rng.uniform(0, 2, samples).astype("float32") if data.draw(st.booleans()) else None
    if weights is not None and name in THRESHOLDS:  # exact sums: Keras subtracts them
        weights = rng.integers(1, 512, samples).astype("float32") / 256
    if weights is not None and name in (*IOUS, "BinaryIoU"):  # one a pixel, and whole numbers
        weights = rng.integers(0, 3, y_true.size if name == "BinaryIoU" else samples)
    return y_true.astype("float32"), y_pred.astype("float32"), weights


@pytest.mark.parametrize("name", ALL)
@drawn_cases(15)
@given(data=st.data())
def test_results_over_two_batches_are_keras(name, data):
    classes = data.draw(st.integers(3, 5))
    options = draw_options(data, name, classes)
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for _ in range(2):
        y_true, y_pred, weights = draw_batch(data, name, classes, options)
        given = [np.copy(one) for one in (y_true, y_pred, weights)]
        ours.update_state(y_true, y_pred, sample_weight=weights)
        for one, before in zip((y_true, y_pred, weights), given):
            np.testing.assert_array_equal(one, before)  # the caller's own
        theirs.update_state(y_true, y_pred, sample_weight=weights)
        np.testing.assert_allclose(ours.result(), theirs.result().numpy(), rtol=2e-5, atol=1e-6)
    for variable, expected in zip(ours.variables, theirs.variables, strict=True):
        assert (variable.name, variable.trainable) == (expected.name, expected.trainable)
        largest = np.abs(expected.numpy()).max()  # Keras's counts are differences of sums
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=2e-5, atol=1e-6 * max(1, largest))
    ours.reset_state()
    assert all(not variable.numpy().any() for variable in ours.variables)
    there = getattr(keras.metrics, name)(**options, name="m")
    here = getattr(metrics, name)(**options, name="m")
    assert here._direction == getattr(there, "_direction", None)
    config = dict(there.get_config())
    if config.get("label_weights") is not None:
        config["label_weights"] = config["label_weights"].numpy().tolist()
    assert here.get_config() == config
    assert type(here).from_config(here.get_config()).get_config() == here.get_config()
    assert metrics.deserialize(keras.metrics.serialize(there)).get_config() == here.get_config()
    assert keras.metrics.deserialize(metrics.serialize(here)).get_config().keys() == config.keys()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("BinaryAccuracy", {}),
        ("Precision", {}),
        ("Precision", {"thresholds": [0.0, 0.25, 1.0]}),
        ("Recall", {}),
        ("Recall", {"thresholds": [0.0, 0.25, 1.0]}),
        ("AUC", {"num_thresholds": 5}),
        ("AUC", {"thresholds": [0.25, 0.5]}),
        ("AUC", {"num_thresholds": 3, "curve": "PR"}),
        ("BinaryIoU", {}),
        ("BinaryIoU", {"threshold": 0.25, "target_class_ids": [1]}),
    ],
)
def test_what_lies_on_a_threshold_counts_as_in_keras(name, options):
    """Also predictions of exactly 0 and 1."""
    y_pred = np.array([0, 0.25, 0.5, 0.75, 1, 0, 0.25, 0.5, 1], "float32")
    y_true = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1], "float32")
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    np.testing.assert_allclose(ours(y_true, y_pred), theirs(y_true, y_pred).numpy(), rtol=1e-6)
    for variable, expected in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-6)
    each = [np.asarray(module.binary_accuracy(y_true, y_pred, threshold=0.25)) for module in (metrics, keras.metrics)]
    np.testing.assert_array_equal(each[0], np.equal(y_pred > 0.25, y_true))
    assert each[0].mean() == each[1].mean()


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 0.5, 1.0]])
def test_scores_are_averaged_as_in_keras(average, weights):
    y_true = np.eye(3, dtype="float32")[[0, 0, 1, 2, 0]]  # classes of several sizes
    y_pred = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.5, 0.2, 0.3], [0.9, 0, 0.1]], "float32")
    weights = None if weights is None else np.array(weights, "float32")
    for beta in (0.5, 1.0, 2.0):
        ours, theirs = (module.FBetaScore(average, beta)(y_true, y_pred, weights) for module in (metrics, keras.metrics))
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5)
    assert repr(metrics.F1Score(name="f")) == "<F1Score name=f>"


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_a_score_of_what_lies_on_its_threshold_is_keras_s(threshold):
    y_true, y_pred = (
        np.eye(2, dtype="float32")[[0, 1, 1, 0]],
        np.array([[0.25, 0.5], [0.5, 0.25], [0.75, 0.5], [0.5, 0.75]], "f4"),
    )
    ours, theirs = (module.F1Score(threshold=threshold)(y_true, y_pred) for module in (metrics, keras.metrics))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
@drawn_cases(40)
@given(data=st.data())
def test_means_and_sums_reduce_ranks_and_weights_as_keras_does(name, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), max_size=3)))
    values = rng.normal(size=shape).astype("float32")
    axes = data.draw(st.integers(0, len(shape)))
    weights = data.draw(st.sampled_from([None, rng.uniform(0, 2, shape[:axes]).astype("float32")]))
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for _ in range(2):
        ours.update_state(values, sample_weight=weights)
        theirs.update_state(values, sample_weight=weights)
    np.testing.assert_allclose(ours.result(), theirs.result().numpy(), rtol=1e-5, atol=1e-5)


def test_a_mean_of_nothing_is_zero_and_numbers_count_by_their_weight():
    mean = metrics.Mean()
    assert mean.result().numpy() == 0
    mean.update_state(2.0, sample_weight=3)
    mean.update_state(4.0)
    assert mean.result().numpy() == pytest.approx(2.5)


@pytest.mark.parametrize("name", [*SPARSE[:1], *ONE_HOT[:1], "BinaryAccuracy"])
def test_accuracies_of_images_of_predictions(name):
    rng = np.random.default_rng(0)
    y_pred = rng.uniform(size=(2, 3, 4, 5)).astype("float32")
    y_true = rng.integers(0, 5, (2, 3, 4)) if name in SPARSE else rng.integers(0, 2, (2, 3, 4, 5)).astype("float32")
    weights = np.array([1.0, 3.0], "float32")
    assert getattr(metrics, name)()(y_true, y_pred, weights).numpy() == pytest.approx(
        float(getattr(keras.metrics, name)()(y_true, y_pred, weights))
    )


@pytest.mark.parametrize(
    "name",
    [
        "binary_accuracy",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
        "top_k_categorical_accuracy",
        "sparse_top_k_categorical_accuracy",
        "pearson_correlation",
        "concordance_correlation",
    ],
)
def test_functions_are_keras(name):
    rng = np.random.default_rng(1)
    y_pred = rng.uniform(size=(6, 8)).astype("float32")
    y_true = rng.integers(0, 8, 6) if name.startswith("sparse") else np.eye(8, dtype="float32")[rng.integers(0, 8, 6)]
    np.testing.assert_allclose(getattr(metrics, name)(y_true, y_pred), getattr(keras.metrics, name)(y_true, y_pred), atol=1e-6)


@pytest.mark.parametrize("name", ["top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy"])
@pytest.mark.parametrize("k", [1, 2])
def test_the_k_largest_of_images_of_predictions(name, k):
    """Keras's functions for rows, of all of them; several predictions of a row are as large as each other."""
    rng = np.random.default_rng(4)
    y_pred, labels = rng.integers(0, 3, (2, 3, 5)).astype("float32") / 4, rng.integers(0, 5, (2, 3))
    y_true, rows = (labels, labels.ravel()) if name.startswith("sparse") else (np.eye(5)[labels], np.eye(5)[labels.ravel()])
    expected = getattr(keras.metrics, name)(rows, y_pred.reshape(6, 5), k=k)
    np.testing.assert_array_equal(getattr(metrics, name)(y_true, y_pred, k=k), np.reshape(expected, (2, 3)))


@pytest.mark.parametrize("name", ["pearson_correlation", "concordance_correlation"])
def test_a_correlation_with_what_is_constant_is_keras_s(name):
    """Without a warning."""
    y_true, y_pred = np.array([[1, 1, 1], [1, 2, 3], [1, 1, 1]], "float32"), np.array([[1, 2, 4], [2, 2, 2], [1, 1, 1]], "f4")
    ours, theirs = (getattr(module, name)(y_true, y_pred) for module in (metrics, keras.metrics))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("binary_accuracy", {"threshold": 0.3}),
        ("top_k_categorical_accuracy", {"k": 2}),
        ("sparse_top_k_categorical_accuracy", {"k": 2}),
        ("pearson_correlation", {"axis": 0}),
        ("concordance_correlation", {"axis": 0}),
    ],
)
def test_functions_take_keras_s_arguments(name, options):
    rng = np.random.default_rng(1)
    y_pred = rng.uniform(size=(9, 6)).astype("float32")
    y_true = rng.integers(0, 6, 9) if name.startswith("sparse") else np.eye(6, dtype="float32")[rng.integers(0, 6, 9)]
    y_true = y_true if name.startswith(("sparse", "top")) else rng.integers(0, 2, (9, 6)).astype("float32")
    expected = np.asarray(getattr(keras.metrics, name)(y_true, y_pred, **options))
    np.testing.assert_allclose(getattr(metrics, name)(y_true, y_pred, **options), expected, atol=1e-6)
    assert not np.allclose(expected.mean(), np.asarray(getattr(keras.metrics, name)(y_true, y_pred)).mean())


@pytest.mark.parametrize("name", ["pearson_correlation", "concordance_correlation", "binary_accuracy"])
@pytest.mark.parametrize("shapes", [((6,), (6, 1)), ((6, 1), (6,)), ((6, 4), (6, 4))])
def test_functions_take_whole_numbers_and_columns_for_rows(name, shapes):
    rng = np.random.default_rng(1)
    (true, pred), ours, theirs = shapes, getattr(metrics, name), getattr(keras.metrics, name)
    y_true, y_pred = rng.integers(0, 3, true), rng.integers(0, 3, pred).astype("float32")
    axis = {"axis": 0} if "correlation" in name else {}  # along which there is something to compare
    expected = np.asarray(theirs(y_true.astype("float32"), y_pred, **axis))
    found = np.asarray(ours(y_true, y_pred, **axis))
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_areas_of_classes_along_any_axis(name, axis, weighted):
    rng = np.random.default_rng(3)
    shape = (2, 4, 3) if axis == -1 else (2, 3, 4)  # three classes, four pixels
    y_true, y_pred = np.moveaxis(np.eye(3)[rng.integers(0, 3, (2, 4))], -1, axis), rng.random(shape)
    options = {"num_classes": 3, "axis": axis} | ({"target_class_ids": [0, 2]} if "Mean" not in name else {})
    if "OneHot" not in name:
        options |= {"sparse_y_true": False, "sparse_y_pred": False}
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options | {"axis": -1})
    weight = rng.integers(1, 4, (2, 4)) if weighted else None
    ours.update_state(y_true.astype("float32"), y_pred.astype("float32"), sample_weight=weight)
    y_true, y_pred = (np.moveaxis(one, axis, -1).astype("float32") for one in (y_true, y_pred))
    theirs.update_state(y_true, y_pred, sample_weight=weight)  # along another axis it fails
    assert float(ours.result()) == pytest.approx(float(theirs.result()), rel=1e-5)


@pytest.mark.parametrize(
    "name", ["Mean", "Sum", "MeanSquaredError", "BinaryAccuracy", "Precision", "AUC", "F1Score", "R2Score"]
)
def test_what_is_added_up_in_float64_stays_exact(name):
    ours, theirs = (getattr(module, name)(dtype="float64") for module in (metrics, keras.metrics))
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 2, (8, 3)).astype("float64"), rng.random((8, 3))
    batch = (y_pred,) if name in ("Mean", "Sum") else (y_true, y_pred)
    for _ in range(2):
        ours.update_state(*batch)
        theirs.update_state(*batch)
    for variable, expected in zip(ours.variables, theirs.variables, strict=True):
        assert variable.dtype == "float64"  # some of Keras's stay in float32
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-6)


def test_top_k_of_sorted_class_numbers():
    y_true, y_pred = np.array([2, 1]), np.array([[1, 0, 2], [2, 0, 1]], "float32")
    for k in (1, 2, 3):
        ours = metrics.SparseTopKCategoricalAccuracy(k=k, from_sorted_ids=True)
        theirs = keras.metrics.SparseTopKCategoricalAccuracy(k=k, from_sorted_ids=True)
        assert ours(y_true, y_pred).numpy() == float(theirs(y_true, y_pred))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_of_scores_that_are_no_numbers(k):
    y_true = np.array([0, 1, 0, 2, 2])
    nan, inf = np.nan, np.inf
    y_pred = [[nan, 0.1, 0.2], [0.1, nan, 0.2], [0.1, nan, 0.2], [inf, 0.1, 0.2], [0.1, 0.3, 0.2]]
    y_pred = np.array(y_pred, "float32")
    theirs = keras.metrics.sparse_top_k_categorical_accuracy(y_true, y_pred, k=k).numpy()
    np.testing.assert_array_equal(metrics.sparse_top_k_categorical_accuracy(y_true, y_pred, k=k), theirs)
    assert list(theirs) == [0, 0, 0, 0, k > 1]


@pytest.mark.parametrize("asked", ["accuracy", "acc", "Accuracy"])
@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        ((8,), (8, 10), metrics.SparseCategoricalAccuracy),
        ((8, 1), (8, 10), metrics.SparseCategoricalAccuracy),
        ((8, 10), (8, 10), metrics.CategoricalAccuracy),
        ((8, 1), (8, 1, 10), metrics.SparseCategoricalAccuracy),
        ((8, 1, 10), (8, 1, 10), metrics.CategoricalAccuracy),
        ((8, 5, 1), (8, 5, 1), metrics.BinaryAccuracy),
        ((8, 1), (8, 1), metrics.BinaryAccuracy),
        ((8,), (8, 1), metrics.BinaryAccuracy),
    ],
)
def test_accuracy_is_what_the_shapes_say_under_the_name_asked_for(asked, true, pred, expected):
    metric = metrics.resolve(asked, true, pred)
    assert type(metric) is expected
    assert metric.name == asked


def test_what_compile_takes_becomes_a_metric_with_the_name_asked_for():
    def share_above_half(y_true, y_pred):
        return np.mean(y_pred > 0.5, axis=-1)

    shapes = (4, 2), (4, 2)
    assert metrics.resolve("mse", *shapes).name == "mse"
    assert metrics.resolve("AUC", *shapes).name == "AUC"
    assert metrics.resolve(metrics.CategoricalAccuracy(name="mine"), *shapes).name == "mine"
    assert metrics.resolve(losses.mean_squared_error, *shapes).name == "mean_squared_error"
    custom = metrics.resolve(share_above_half, *shapes)
    assert custom.name == "share_above_half"
    assert custom(np.zeros((2, 2)), np.array([[1.0, 0.0], [1.0, 1.0]])).numpy() == 0.75
    with pytest.raises(ValueError, match="Expected metric, received `None`"):
        metrics.resolve(None, *shapes)
    with pytest.raises(ValueError, match=r"Could not interpret metric identifier: acuracy.*Did you mean"):
        metrics.resolve("acuracy", *shapes)


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in ALL if name not in AT_LEAST and name not in IOUS),
        *("mse", "MAE", "bce", "categorical_accuracy", "precision", "Mean", "sum", "MAPE", "msle", "log_cosh_error"),
        *("f1_score", "f_beta_score", "binary_io_u", "true_negatives", "kl_divergence", "cosine_similarity", "r2_score"),
    ],
)
def test_names_stand_for_what_they_stand_for_in_keras(name):
    ours, theirs = metrics.get(name), keras.metrics.get(name)
    assert type(ours).__name__ == type(theirs).__name__
    if type(ours).__name__ not in NUMBERED:
        assert metrics.serialize(ours) == keras.metrics.serialize(theirs)
        assert metrics.deserialize(keras.metrics.serialize(theirs)).get_config() == ours.get_config()


def test_a_wrapped_function_survives_its_config():
    ours, theirs = (
        m.MeanMetricWrapper(f, name="w")
        for m, f in ((metrics, losses.mean_squared_error), (keras.metrics, keras.losses.mean_squared_error))
    )
    assert metrics.serialize(ours) == keras.metrics.serialize(theirs)
    again = metrics.deserialize(metrics.serialize(ours))
    assert again(np.zeros((2, 2)), np.ones((2, 2))).numpy() == 1


def test_the_arguments_of_a_wrapped_function_come_back():
    y_true, y_pred = np.zeros((2, 2), "float32"), np.array([[0.1, 2], [1, 3]], "float32")
    ours, theirs = (
        m.MeanMetricWrapper(f, name="w", delta=0.25) for m, f in ((metrics, losses.huber), (keras.metrics, keras.losses.huber))
    )
    assert metrics.serialize(ours)["config"]["delta"] == keras.metrics.serialize(theirs)["config"]["delta"] == 0.25
    expected = float(theirs(y_true, y_pred))
    for metric in (
        ours,
        metrics.deserialize(metrics.serialize(ours)),
        metrics.MeanMetricWrapper.from_config(ours.get_config()),
    ):
        assert float(metric(y_true, y_pred)) == pytest.approx(expected)


class Largest(metrics.Metric):
    """The largest prediction so far, by way of Keras's subclassing."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.largest = self.add_variable(shape=(), initializer="zeros", name="largest")
        self.calls = self.add_weight(name="calls", initializer="zeros", dtype="int32")
        self.mean = metrics.Mean()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(np.maximum(self.largest, np.max(y_pred)))
        self.calls.assign_add(1)
        self.mean.update_state(y_pred)

    def result(self):
        return self.largest


def test_a_users_metric_keeps_its_state():
    metric = Largest()
    assert float(metric([0.0], [3.0])) == 3
    metric.update_state([0.0], [2.0])
    assert float(metric.result()) == 3
    assert [variable.path for variable in metric.variables[:2]] == ["largest/largest", "largest/calls"]
    assert [float(variable) for variable in metric.variables] == [3, 2, 5, 2]
    assert all(isinstance(variable, Variable) for variable in metric.variables)
    assert [variable.dtype for variable in metric.variables] == ["float32", "int32", "float32", "float32"]
    assert Largest(dtype="float64").largest.dtype == "float64"
    metric.reset_state()
    assert [float(variable) for variable in metric.variables] == [0, 0, 0, 0]
    assert Largest.from_config(metric.get_config()).name == "largest"


def test_errors_name_what_is_wrong():
    class Forgetful(metrics.Metric):
        def __init__(self):
            self.add_variable((), "zeros")

    with pytest.raises(RuntimeError, match=r"You forgot to call `super\(\).__init__\(\)`"):
        Forgetful()
    with pytest.raises(NotImplementedError, match="must implement `update_state"):
        metrics.Metric()(1)
    for metric in (
        "CategoricalAccuracy",
        "BinaryAccuracy",
        "SparseCategoricalAccuracy",
        "TopKCategoricalAccuracy",
        "Precision",
    ):
        with pytest.raises(ValueError, match=r"y_true of shape \(3.*does not fit predictions of shape \(4, 3\)"):
            getattr(metrics, metric)()(np.ones((3, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"Threshold values must be in \[0, 1\]. Received: \[1.5\]"):
        metrics.Precision(thresholds=[0.5, 1.5])
    with pytest.raises(ValueError, match="When class_id is provided"):
        metrics.Recall(class_id=1)(np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("AUC", {"curve": "PRC"}, 'Invalid AUC curve value: "PRC". Expected values are'),
        ("AUC", {"summation_method": "middle"}, 'Invalid AUC summation method value: "middle"'),
        ("AUC", {"num_thresholds": 1}, "`num_thresholds` must be an integer > 1"),
        ("AUC", {"num_labels": 2}, "`num_labels` is needed only when `multi_label` is True."),
        (
            "SensitivityAtSpecificity",
            {"specificity": 2},
            r"`specificity` must be in the range \[0, 1\]. Received: specificity=2",
        ),
        ("RecallAtPrecision", {"num_thresholds": 0}, "Argument `num_thresholds` must be an integer > 0."),
        ("FBetaScore", {"average": "mean"}, "Invalid `average` argument value. Expected one of"),
        ("FBetaScore", {"beta": 1}, "Invalid `beta` argument value. It should be a Python float"),
        ("FBetaScore", {"beta": -1.0}, "Invalid `beta` argument value. It should be > 0"),
        ("F1Score", {"threshold": 1}, "Invalid `threshold` argument value. It should be a Python float"),
        ("F1Score", {"threshold": 2.0}, "Invalid `threshold` argument value. It should verify 0 < threshold <= 1"),
        ("IoU", {"num_classes": 2}, "Target class id 2 is out of range"),
        ("R2Score", {"class_aggregation": "sum"}, "Invalid value for argument `class_aggregation`. Expected one of"),
        ("R2Score", {"num_regressors": -1}, "Invalid value for argument `num_regressors`. Expected a value >= 0"),
    ],
)
def test_wrong_arguments_get_keras_s_words(name, options, message):
    for module in (metrics, keras.metrics):
        with pytest.raises(ValueError, match=message):
            getattr(module, name)(**{key: SAMPLE[key] for key in needed(name)} | options)


@pytest.mark.parametrize("name", ["F1Score", "R2Score"])
def test_scores_want_a_column_for_each_class(name):
    flat, columns, deep = (np.ones(shape, "float32") for shape in (3, (3, 2), (3, 2, 2)))
    for module in (metrics, keras.metrics):
        for y_true, y_pred in ((flat, flat), (flat, columns), (deep, columns), (columns, deep)):
            with pytest.raises(ValueError, match=r"expects 2D inputs with shape \(batch_size, output_dim\)"):
                getattr(module, name)()(y_true, y_pred)


@pytest.mark.parametrize("curve", ["ROC", "PR", "PRGAIN"])
@pytest.mark.parametrize("options", [{}, {"label_weights": [1.0, 3.0, 0.5]}, {"num_labels": 3}])
def test_areas_label_by_label(curve, options):
    rng = np.random.default_rng(5)
    options = {"curve": curve, "multi_label": True, "thresholds": [0.1, 0.4, 0.5, 0.8], **options}
    ours, theirs = metrics.AUC(**options), keras.metrics.AUC(**options)
    for weights in (None, rng.uniform(0, 2, 20).astype("float32")):
        y_true, y_pred = rng.integers(0, 2, (20, 3)).astype("float32"), rng.uniform(size=(20, 3)).astype("float32")
        ours.update_state(y_true, y_pred, weights)
        theirs.update_state(y_true, y_pred, None if weights is None else weights[:, None].repeat(3, axis=1))
        assert float(ours.result()) == pytest.approx(float(theirs.result()), rel=1e-5)
    for variable, expected in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("weights", [None, np.array([0.5, 1.5, 2.0], "float32"), np.array([[0.5], [1.5], [2.0]], "float32")])
def test_ignored_labels_have_no_weight(weights):
    y_true, y_pred = np.array([0, 1, 2]), np.array([[0.8, 0.1, 0.1], [0.05, 0.95, 0], [0.1, 0.8, 0.1]], "float32")
    ours, theirs = (m.SparseCategoricalCrossentropy(ignore_class=0) for m in (metrics, keras.metrics))
    assert float(ours(y_true, y_pred, weights)) == pytest.approx(float(theirs(y_true, y_pred, weights)), rel=1e-5)
    images = np.stack([y_true] * 2), np.stack([y_pred] * 2)
    by_image = metrics.SparseCategoricalCrossentropy(ignore_class=0)(*images, np.array([1.0, 3.0], "float32"))
    assert float(by_image) == pytest.approx(-(np.log(0.95) + np.log(0.1)) / 2, rel=1e-5)


@pytest.mark.parametrize("weights", [[[1, 0], [0, 1]], [[1, 0]], [1, 0], [[1], [0]]])
def test_accuracies_weigh_samples_or_single_predictions(weights):
    y_true, y_pred = np.array([[1, 1], [0, 0]], "float32"), np.array([[0.98, 1], [0, 0.6]], "float32")
    for name, options in (("BinaryAccuracy", {}), ("BinaryAccuracy", {"threshold": 0.7}), ("Accuracy", {})):
        ours, theirs = (
            getattr(m, name)(**options)(y_true, y_pred, np.array(weights, "float32")) for m in (metrics, keras.metrics)
        )
        assert float(ours) == pytest.approx(float(theirs))


def test_iou_counts_images_and_warns_of_cut_weights():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 3, (2, 4, 4)), rng.integers(0, 3, (2, 4, 4))
    ours, theirs = metrics.MeanIoU(3), keras.metrics.MeanIoU(3)
    assert float(ours(y_true, y_pred)) == pytest.approx(float(theirs(y_true, y_pred)))
    by_image = metrics.MeanIoU(3, dtype="float32")
    by_pixel = keras.metrics.MeanIoU(3, dtype="float32")
    weights = np.array([0.5, 2], "float32")
    expected = by_pixel(y_true, y_pred, np.repeat(weights, 16))
    assert float(by_image(y_true, y_pred, weights)) == pytest.approx(float(expected))
    with pytest.warns(UserWarning, match="passing weight as `float`, but dtype is `int`"):
        ours.update_state(y_true, y_pred, weights)


def test_a_row_of_zeros_calls_no_class():
    y_true, y_pred = np.array([[1, 0]] * 3, "float32"), np.array([[0, 0], [0.6, 0.4], [1e-6, 0]], "float32")
    np.testing.assert_allclose(metrics.F1Score()(y_true, y_pred), keras.metrics.F1Score()(y_true, y_pred), rtol=1e-6)


def test_of_predictions_as_large_as_each_other_the_first_are_the_largest():
    y_true, y_pred = np.zeros((1, 40), "float32"), np.full((1, 40), 0.5, "float32")
    y_true[0, [0, 2, 3, 17, 30]] = 1
    for k in (1, 3, 20):
        ours, theirs = (module.Precision(top_k=k)(y_true, y_pred) for module in (metrics, keras.metrics))
        assert float(ours) == pytest.approx(float(theirs))


@pytest.mark.parametrize("aggregation", [None, "uniform_average", "variance_weighted_average"])
def test_an_r2_of_targets_that_are_all_alike_is_keras_s(aggregation):
    y_true, y_pred = np.array([[1, 2], [1, 3], [1, 5]], "float32"), np.array([[0.5, 2], [1.5, 3], [1, 4]], "float32")
    ours, theirs = (module.R2Score(class_aggregation=aggregation)(y_true, y_pred) for module in (metrics, keras.metrics))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_an_adjusted_r2_of_few_samples_falls_back():
    y_true, y_pred = np.array([[0.0], [1.0], [2.0]]), np.array([[0.1], [1.0], [2.1]])
    for regressors, cause in ((2, "Division by zero"), (3, "More independent predictors than datapoints")):
        with pytest.warns(UserWarning, match=cause):
            assert float(metrics.R2Score(num_regressors=regressors)(y_true, y_pred)) == pytest.approx(0.99)


@pytest.mark.parametrize(
    "name", ["SparseCategoricalAccuracy", "CategoricalAccuracy", "BinaryAccuracy", "MeanSquaredError", "Mean"]
)
def test_no_update_makes_memory_after_the_first(name):
    y_pred = backends.asarray(np.full((6, 3), 1 / 3, "float32"))
    y_true = np.zeros(6, "uint8") if name in SPARSE else np.eye(3)[[0, 1, 2, 0, 1, 2]]
    metric, arena, held = getattr(metrics, name)(), memory.Arena(), []
    for _ in range(3):
        with arena:
            if name == "Mean":
                metric.update_state(np.asarray(0.5), sample_weight=np.asarray(32))
            else:
                metric.update_state(y_true, y_pred, np.ones(6))
        held.append(arena.nbytes)
    assert held[1] == held[2] > 0


@pytest.mark.parametrize("name", [*THRESHOLDS, "BinaryAccuracy", "RootMeanSquaredError", "BinaryIoU"])
def test_one_prediction_a_sample_is_weighed_as_in_keras(name):
    """And with the weights in a column alike, which Keras has for some only."""
    rng = np.random.default_rng(2)
    y_true, y_pred = rng.integers(0, 2, 9).astype("float32"), (rng.integers(0, 64, 9) / 64).astype("float32")
    weights = rng.integers(1, 5, 9)
    options = {key: SAMPLE[key] for key in needed(name)}
    ours, again, theirs = (getattr(module, name)(**options) for module in (metrics, metrics, keras.metrics))
    given = weights if name == "BinaryIoU" else weights.astype("float32")  # whole numbers, of counts
    for metric, of_metric in ((ours, given), (again, given[:, None]), (theirs, given)):
        metric.update_state(y_true, y_pred, of_metric)
    np.testing.assert_allclose([ours.result(), again.result()], [theirs.result().numpy()] * 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [("Precision", {"thresholds": [0.2, 0.7]}), ("Recall", {}), ("TrueNegatives", {}), ("AUC", {"thresholds": [0.13, 0.5]})],
)
def test_predictions_that_are_no_probabilities_count_as_in_keras(name, options):
    y_true = np.array([0, 1, 1, 0, 1, 0], "float32")
    y_pred = np.array([0.1, np.nan, 0.9, 1.7, -0.4, 0.6], "float32")
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for metric in (ours, theirs):
        metric.update_state(y_true, y_pred)
    for variable, expected in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), err_msg=expected.name)


@pytest.mark.parametrize("name", [*(name for name in ALL if name not in ("F1Score", "FBetaScore", "R2Score")), "Mean", "Sum"])
def test_a_result_of_nothing_is_keras_s(name):
    options = {key: SAMPLE[key] for key in needed(name)}
    ours, theirs = (getattr(module, name)(**options).result() for module in (metrics, keras.metrics))
    np.testing.assert_array_equal(ours, np.asarray(theirs))


def holding(module):
    """A metric whose state lies in lists and dicts, and in what is put there later."""

    class Holding(module.metrics.Metric):
        def __init__(self):
            super().__init__(name="holding")
            self.parts, self.by_name = [], {"sum": module.metrics.Sum(name="all")}
            self.parts.append(module.metrics.Mean(name="first"))
            self.more = {"more": [module.Variable(0.0), module.Variable(1.0)]}

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.parts[0].update_state(y_pred)
            self.by_name["sum"].update_state(y_pred)
            self.more["more"][0].assign(2.0)

        def result(self):
            return self.parts[0].result() + self.by_name["sum"].result()

    return Holding()


def test_what_a_metric_holds_in_lists_and_dicts_is_its_state():
    results = []
    for module in (minicnn, keras):
        metric = holding(module)
        assert len(metric.variables) == 5
        metric.update_state(np.zeros(2), np.array([1.0, 3.0], "float32"))
        before = float(metric.result())
        metric.reset_state()
        results.append((before, float(metric.result()), sorted(float(np.asarray(one)) for one in metric.variables)))
    assert results[0] == results[1] == (6.0, 0.0, [0.0] * 5)


def test_metrics_of_further_axes_are_keras():
    rng = np.random.default_rng(8)
    cases = [  # metric, arguments, labels, predictions, weights
        ("Precision", {"top_k": 2}, (4, 3, 5), (4, 3, 5), None),
        ("Recall", {"top_k": 1, "class_id": 3}, (4, 2, 5), (4, 2, 5), None),
        ("BinaryAccuracy", {}, (7,), (7,), (7,)),
        ("BinaryAccuracy", {"threshold": 0.3}, (7, 3), (7, 3), (7,)),
    ]
    for name, arguments, of_labels, of_predictions, of_weights in cases:
        y_true, y_pred = rng.integers(0, 2, of_labels).astype("float32"), rng.random(of_predictions, np.float32)
        weights = None if of_weights is None else rng.random(of_weights, np.float32)
        found = []
        for module in (metrics, keras.metrics):
            metric = getattr(module, name)(**arguments)
            metric.update_state(y_true, y_pred, sample_weight=weights)
            found.append(np.asarray(metric.result()))
        np.testing.assert_allclose(*found, rtol=1e-6, err_msg=f"{name} {arguments}")
