"""Each argument of optimizers, metrics and loss functions does what Keras's does, and does something.

`test_signatures` knows that an argument is there, `test_configs` that it is kept: neither that it is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.optimizers.base_optimizer import BaseOptimizer

from minicnn import config, losses, metrics, optimizers
from minicnn.variables import Variable
from tests.test_configs import NO_TABLE, another

RNG = np.random.default_rng(6)


def own(function: Any, known: Any = ()) -> Iterator[tuple[str, Any]]:
    """The arguments of a function that are not among those known, with their defaults."""
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in known and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            yield name, parameter.default


# --- optimizers -----------------------------------------------------------------------------------

OPTIMIZERS = sorted(
    name for name in set(dir(optimizers)) & set(dir(keras.optimizers)) - {*NO_TABLE, "ScheduleFreeAdamW"} if name[0].isupper()
)
INSTEAD = {  # of what would not be seen, or diverges
    "epsilon": 0.1,
    "epsilon_1": 0.1,
    "epsilon_2": 5.0,
    "exclude_layers": ["kernel"],
    "muon_a": 3.2,
    "muon_b": -4.6,
    "muon_c": 1.9,
}
BESIDE_STEP = {  # arguments that say little alone
    ("Adam", "amsgrad"): {"beta_2": 0.1},
    ("AdamW", "amsgrad"): {"beta_2": 0.1},
    ("SGD", "nesterov"): {"momentum": 0.5},
}
NO_EFFECT = [("Adafactor", "relative_step")]
GRADIENTS = [{"kernel": (3, 2), "embeddings": (2, 2), "bias": (2,), "filters": (2, 3, 1, 2)}] * 3


def steps(module: Any, name: str, arguments: dict[str, Any]) -> np.ndarray:
    """The weights after three steps, in float64."""
    kind, as_grad = (Variable, np.asarray) if module is optimizers else (keras.Variable, keras.ops.convert_to_tensor)
    rng = np.random.default_rng(6)
    variables = [kind(rng.normal(size=shape), dtype="float64", name=key) for key, shape in GRADIENTS[0].items()]
    exact = {key: np.float64(value) if isinstance(value, float) else value for key, value in arguments.items()}
    optimizer = getattr(module, name)(**exact)
    for shapes in GRADIENTS:
        optimizer.apply([as_grad(rng.normal(size=shape)) for shape in shapes.values()], variables)
    return np.concatenate([np.ravel(variable) for variable in variables])


@pytest.fixture
def double() -> Iterator[None]:
    """float64 throughout, here and in Keras."""
    config.set_floatx("float64")
    keras.config.set_floatx("float64")
    yield
    config.set_floatx("float32")
    keras.config.set_floatx("float32")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_argument_of_an_optimizer(name: str) -> None:
    common = inspect.signature(BaseOptimizer).parameters
    arguments = list(own(getattr(keras.optimizers, name), common))
    floats = {key: default for key, default in arguments if isinstance(default, float)} | {"learning_rate": 0.25}
    plain: dict[str, np.ndarray] = {}
    for key, default in arguments:
        beside = floats | BESIDE_STEP.get((name, key), {})
        value = INSTEAD.get(key) or another(key, default)
        expected = steps(keras.optimizers, name, beside | {key: value})
        found = steps(optimizers, name, beside | {key: value})
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7, err_msg=key)
        if (name, key) not in NO_EFFECT:
            if str(beside) not in plain:
                plain[str(beside)] = steps(keras.optimizers, name, beside)
            assert np.abs(plain[str(beside)] - expected).max() > 1e-5, key


# --- losses ---------------------------------------------------------------------------------------

LOSSES = [function.__name__ for function in losses.CLASSES]
FOR_LOSSES: dict[str, Any] = {
    "alpha": 0.4,
    "apply_class_balancing": True,
    "axis": 0,
    "beta": 0.2,
    "delta": 0.25,
    "from_logits": True,
    "gamma": 1.0,
    "ignore_class": 1,
    "label_smoothing": 0.2,
    "margin": 0.1,
    "q": 0.3,
    "ref_embeddings": RNG.normal(0, 0.3, (4, 4)).astype("float32"),
    "ref_labels": np.array([1, 2, 0, 1]),
    "remove_diagonal": False,
}
BESIDE_LOSS: dict[tuple[str, str], dict[str, Any]] = {
    ("binary_focal_crossentropy", "alpha"): {"apply_class_balancing": True},
    ("circle", "ref_embeddings"): {"ref_labels": np.array([0, 1, 2, 0]), "remove_diagonal": False},
    ("circle", "ref_labels"): {"ref_embeddings": FOR_LOSSES["ref_embeddings"], "remove_diagonal": False},
}
ONE_AXIS = ["sparse_categorical_crossentropy"]


@pytest.mark.parametrize("name", LOSSES)
def test_each_argument_of_a_function_of_losses(name: str) -> None:
    """And of its class, which is called with the same arguments."""
    ours, theirs = getattr(losses, name), getattr(keras.losses, name)
    labels = np.array([0, 2, 1, 1])
    y_pred = RNG.dirichlet(np.ones(4), 4).astype("float32")
    of_labels = name.startswith("sparse") or name in ("circle", "categorical_generalized_cross_entropy")
    y_true = labels if of_labels else np.eye(4, dtype="float32")[labels]
    if name in ("dice", "tversky"):  # masks: else as much is missed as is invented
        y_pred *= np.array([[0.2], [0.5], [0.9], [1]], "float32")
    for key, default in own(ours, ("y_true", "y_pred")):
        if key == "axis" and name in ONE_AXIS:
            continue
        beside = BESIDE_LOSS.get((name, key), {})
        given = beside | {key: FOR_LOSSES[key]}
        expected = np.asarray(theirs(y_true, y_pred, **given))
        np.testing.assert_allclose(ours(y_true, y_pred, **given), expected, rtol=1e-4, atol=1e-6, err_msg=key)
        if "ref_" not in key:
            loss = losses.CLASSES[ours](reduction=None, **given)
            np.testing.assert_allclose(loss(y_true, y_pred), expected, rtol=1e-4, atol=1e-6, err_msg=key)
        if default is not inspect.Parameter.empty:
            plain = np.asarray(theirs(y_true, y_pred, **beside)) if beside or "ref_" not in key else expected + 1
            assert plain.shape != expected.shape or np.abs(plain - expected).max() > 1e-4, key


# --- metrics --------------------------------------------------------------------------------------

NEEDED = {
    "num_classes": 4,
    "target_class_ids": [0, 2],
    **dict.fromkeys(("precision", "recall", "sensitivity", "specificity"), 0.4),
}
FOR_METRICS: dict[str, Any] = {
    "average": "macro",
    "axis": 0,
    "beta": 2.0,
    "class_aggregation": "variance_weighted_average",
    "class_id": 1,
    "curve": "PR",
    "from_logits": True,
    "ignore_class": 1,
    "k": 2,
    "label_smoothing": 0.2,
    "label_weights": [1.0, 3.0, 0.5, 2.0],
    "multi_label": True,
    "num_labels": 4,
    "num_regressors": 2,
    "num_thresholds": 4,
    "summation_method": "minoring",
    "target_class_ids": [1],
    "threshold": 0.3,
    "thresholds": [0.13, 0.71],
    "top_k": 2,
}
BESIDE_METRIC: dict[str, dict[str, Any]] = {
    "label_weights": {"multi_label": True},
    "num_labels": {"multi_label": True, "thresholds": [0.13, 0.71]},
    "summation_method": {"num_thresholds": 4},
}
# Tests of their own: what changes what is given to the metric, and what Keras has for one axis alone.
ELSEWHERE = {"sparse_y_true", "sparse_y_pred", "from_sorted_ids", "name", "dtype", "fn"}
OF_ONE_AXIS = {"IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU", "SparseCategoricalCrossentropy"}
OF_LABELS = {"SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy", "SparseCategoricalCrossentropy", "IoU", "MeanIoU"}
METRICS = sorted(
    name
    for name in set(dir(metrics)) & set(dir(keras.metrics)) - {"Metric", "MeanMetricWrapper", "Mean", "Sum"}
    if inspect.isclass(getattr(metrics, name)) and getattr(metrics, name).__name__ == name
)


def batch_for(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    labels = np.arange(12) % 4
    guesses = labels.copy()
    guesses[[0, 4, 5, 10, 2]] = [1, 1, 2, 3, 3]  # each class is missed, and invented, at another rate
    y_pred = (0.5 * rng.dirichlet(np.ones(4), 12) + 0.5 * np.eye(4)[guesses]).astype("float32")
    if name in ("IoU", "MeanIoU"):
        y_pred = guesses
    if name in OF_LABELS:
        return labels, y_pred
    if name.startswith(("R2", "Cosine", "Pearson", "Concordance")):
        return rng.normal(size=(12, 4)).astype("float32"), rng.normal(size=(12, 4)).astype("float32")
    return np.eye(4, dtype="float32")[labels], y_pred


@pytest.mark.parametrize("name", METRICS)
def test_each_argument_of_a_metric(name: str) -> None:
    ours, theirs = getattr(metrics, name), getattr(keras.metrics, name)
    needed = {key: NEEDED[key] for key, default in own(theirs) if default is inspect.Parameter.empty}
    y_true, y_pred = batch_for(name)

    def result(kind: Any, arguments: dict[str, Any]) -> np.ndarray:
        metric = kind(**needed | arguments)
        for part in (slice(7), slice(7, None)):
            metric.update_state(y_true[part], y_pred[part])
        return np.asarray(metric.result())

    for key, _ in own(theirs, ELSEWHERE | (needed.keys() - {"target_class_ids"})):
        if key == "axis" and name in OF_ONE_AXIS:
            continue
        beside = BESIDE_METRIC.get(key, {})
        expected = result(theirs, beside | {key: FOR_METRICS[key]})
        np.testing.assert_allclose(result(ours, beside | {key: FOR_METRICS[key]}), expected, rtol=1e-4, atol=1e-6, err_msg=key)
        plain = result(theirs, beside)
        if key != "num_labels":
            assert plain.shape != expected.shape or np.abs(plain - expected).max() > 1e-4, key
