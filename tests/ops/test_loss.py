"""Losses and accuracies against TensorFlow and Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu.elementwise import ROWS
from tests.ops.checks import Target, around, forward_and_gradients, gradient_cases, seeds, simple_cases, update_cases

rows = st.integers(1, 9) | st.sampled_from(around(ROWS))
columns = st.sampled_from([1, 2, 3, 5, 10, 16, 17, 33])
epsilons = st.sampled_from([1e-7, 1e-3, 0.05])
kinds = st.sampled_from(["one_hot", "shares", "any"])


def draw_targets(target: Target, kind: str, seed: int, M: int, C: int) -> np.ndarray:
    """Rows that are one-hot, that sum to 1, or that are any numbers in (0, 1)."""
    if kind == "one_hot":
        return np.eye(C, dtype=target.dtype)[np.random.default_rng(seed).integers(0, C, M)]
    targets = target.uniform(seed, M, C)
    return targets / targets.sum(axis=1, keepdims=True) if kind == "shares" else targets


def draw_probabilities(target: Target, seed: int, M: int, C: int, hard: bool) -> np.ndarray:
    """Values in (0, 1); if `hard`, some are exactly 0 or 1, where the clip bites."""
    p = target.uniform(seed, M, C)
    if hard:
        choice = np.random.default_rng(seed + 1).integers(0, 4, (M, C))
        p = np.where(choice == 0, 0, np.where(choice == 1, 1, p)).astype(target.dtype)
        p[:, 0] = 0.5  # no row sums to 0
    return p


def gradient_at(
    function: Callable[[Any], Any], predictions: np.ndarray, seed: int, target: Target
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The losses by row, random weights of the rows, and the gradient of their weighted sum."""
    losses, weights, (gradient,) = forward_and_gradients(function, [predictions], seed, target)
    return losses, weights, gradient


@gradient_cases
@given(M=rows, C=columns, kind=kinds, far=st.booleans(), seed=seeds)
def test_softmax_cross_entropy_equals_tensorflow(target: Target, M: int, C: int, kind: str, far: bool, seed: int) -> None:
    """Also for rows of targets that do not sum to 1, where TensorFlow's own fused op has no exact gradient."""
    logits = target.normal(seed, M, C) * (300 if far else 1)
    targets = draw_targets(target, kind, seed + 1, M, C)

    def loss(logits):
        return -tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=1)

    expected, weights, gradient = gradient_at(loss, logits, seed + 2, target)
    losses, probabilities = target.ops.softmax_cross_entropy_forward(logits, targets)
    target.check(losses, expected, scale=1)
    target.check(probabilities, tf.nn.softmax(logits))
    if kind != "any":
        target.check(losses, tf.nn.softmax_cross_entropy_with_logits(targets, logits), scale=1)
    target.check(target.ops.softmax_cross_entropy_backward(probabilities, targets, weights), gradient, scale=1)


@pytest.mark.parametrize("label_dtype", ["int32", "int64"])
@gradient_cases
@given(M=rows, C=columns, far=st.booleans(), seed=seeds)
def test_sparse_softmax_cross_entropy_equals_tensorflow(
    target: Target, label_dtype: str, M: int, C: int, far: bool, seed: int
) -> None:
    logits = target.normal(seed, M, C) * (300 if far else 1)
    labels = np.random.default_rng(seed).integers(0, C, M).astype(label_dtype)

    def loss(logits):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    expected, weights, gradient = gradient_at(loss, logits, seed + 2, target)
    losses, probabilities = target.ops.sparse_softmax_cross_entropy_forward(logits, labels)
    target.check(losses, expected, scale=1)
    target.check(probabilities, tf.nn.softmax(logits))
    target.check(target.ops.sparse_softmax_cross_entropy_backward(probabilities, labels, weights), gradient, scale=1)


@gradient_cases
@given(M=rows, C=columns, kind=kinds, hard=st.booleans(), epsilon=epsilons, seed=seeds)
def test_cross_entropy_equals_tensorflow(
    target: Target, M: int, C: int, kind: str, hard: bool, epsilon: float, seed: int
) -> None:
    probabilities = draw_probabilities(target, seed, M, C, hard)
    targets = draw_targets(target, kind, seed + 2, M, C)

    def loss(p):
        p = tf.clip_by_value(p / tf.reduce_sum(p, axis=1, keepdims=True), epsilon, 1 - epsilon)
        return -tf.reduce_sum(targets * tf.math.log(p), axis=1)

    expected, weights, gradient = gradient_at(loss, probabilities, seed + 3, target)
    losses = target.ops.cross_entropy_forward(probabilities, targets, epsilon)
    target.check(losses, expected)
    if epsilon == keras.config.epsilon():
        target.check(losses, keras.ops.categorical_crossentropy(targets, probabilities))
    # The gradient is a difference of terms as large as weight * target / p.
    scale = float(np.max(np.abs(weights))) / max(epsilon, 0.01)
    target.check(
        target.ops.cross_entropy_backward(probabilities, targets, weights, epsilon), gradient, scale=scale if C == 1 else 0
    )


@gradient_cases
@given(M=rows, C=columns, hard=st.booleans(), epsilon=epsilons, seed=seeds)
def test_binary_cross_entropy_equals_tensorflow(target: Target, M: int, C: int, hard: bool, epsilon: float, seed: int) -> None:
    probabilities = draw_probabilities(target, seed, M, C, hard)
    targets = (target.uniform(seed + 2, M, C) > 0.5).astype(target.dtype)

    def loss(p):
        p = tf.clip_by_value(p, epsilon, 1 - epsilon)
        return -tf.reduce_mean(targets * tf.math.log(p) + (1 - targets) * tf.math.log(1 - p), axis=1)

    expected, weights, gradient = gradient_at(loss, probabilities, seed + 3, target)
    losses = target.ops.binary_cross_entropy_forward(probabilities, targets, epsilon)
    target.check(losses, expected)
    if epsilon == keras.config.epsilon():
        target.check(losses, tf.reduce_mean(keras.ops.binary_crossentropy(targets, probabilities), axis=1))
    target.check(target.ops.binary_cross_entropy_backward(probabilities, targets, weights, epsilon), gradient)


@pytest.mark.parametrize("name", ["cross_entropy_forward", "binary_cross_entropy_forward"])
def test_a_nan_is_not_clipped_to_a_probability(target: Target, name: str) -> None:
    """A network that diverged must not look as if it were only very wrong."""
    probabilities = np.full((3, 2), 0.5, target.dtype)
    probabilities[1, 0] = np.nan
    losses = getattr(target.ops, name)(probabilities, np.eye(3, 2, dtype=target.dtype), 1e-7)
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])


@gradient_cases
@given(M=rows, C=columns, far=st.booleans(), seed=seeds)
def test_sigmoid_cross_entropy_equals_tensorflow(target: Target, M: int, C: int, far: bool, seed: int) -> None:
    logits = target.normal(seed, M, C) * (300 if far else 1)
    targets = target.uniform(seed + 1, M, C)

    def loss(z):
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, z), axis=1)

    expected, weights, gradient = gradient_at(loss, logits, seed + 2, target)
    target.check(target.ops.sigmoid_cross_entropy_forward(logits, targets), expected)
    target.check(target.ops.sigmoid_cross_entropy_backward(logits, targets, weights), gradient)


@pytest.mark.parametrize(("name", "distance"), [("squared_error", tf.square), ("absolute_error", tf.abs)])
@gradient_cases
@given(M=rows, C=columns, ties=st.booleans(), seed=seeds)
def test_error_equals_tensorflow(target: Target, name: str, distance: Any, M: int, C: int, ties: bool, seed: int) -> None:
    """Where prediction and target are equal, both gradients are 0."""
    draw = target.few_values if ties else target.normal
    predictions, targets = draw(seed, M, C), draw(seed + 1, M, C)

    def loss(p):
        return tf.reduce_mean(distance(p - targets), axis=1)

    expected, weights, gradient = gradient_at(loss, predictions, seed + 2, target)
    target.check(getattr(target.ops, f"{name}_forward")(predictions, targets), expected)
    target.check(getattr(target.ops, f"{name}_backward")(predictions, targets, weights), gradient)


def one_of(*values: Any) -> Any:
    return st.sampled_from(values)


epsilon = st.just(keras.config.epsilon())
# op -> Keras's function of (targets, predictions, *numbers), what targets and predictions are, and strategies for the numbers.
LOSSES: dict[str, tuple[Any, str, str, dict[str, Any]]] = {
    "huber": (keras.losses.huber, "numbers", "numbers", {"delta": one_of(0.5, 1.0, 2.5)}),
    "log_cosh": (
        lambda t, p: tf.reduce_mean(tf.math.log(tf.cosh(p - t)), axis=1),
        "numbers",
        "numbers",
        {},
    ),  # Keras: float32's log(2)
    "percentage_error": (
        lambda t, p, epsilon: keras.losses.mean_absolute_percentage_error(t, p),
        "numbers",
        "numbers",
        {"epsilon": epsilon},
    ),
    "logarithmic_error": (
        lambda t, p, epsilon: keras.losses.mean_squared_logarithmic_error(t, p),
        "numbers",
        "numbers",
        {"epsilon": epsilon},
    ),
    "poisson": (lambda t, p, epsilon: keras.losses.poisson(t, p), "shares", "probabilities", {"epsilon": epsilon}),
    "kl_divergence": (lambda t, p, epsilon: keras.losses.kl_divergence(t, p), "shares", "hard", {"epsilon": epsilon}),
    "hinge": (
        lambda t, p, power: (keras.losses.hinge if power == 1 else keras.losses.squared_hinge)(t, p),
        "signs",
        "numbers",
        {"power": one_of(1, 2)},
    ),
    "categorical_hinge": (keras.losses.categorical_hinge, "one_hot", "few values", {}),
    "cosine_similarity": (lambda t, p, epsilon: keras.losses.cosine_similarity(t, p), "any", "numbers", {"epsilon": epsilon}),
    "binary_focal_cross_entropy": (
        lambda t, p, gamma, alpha, epsilon: keras.losses.binary_focal_crossentropy(t, p, alpha is not None, alpha or 0, gamma),
        "one_hot",
        "probabilities",
        {"gamma": one_of(0.0, 0.5, 2.0), "alpha": one_of(None, 0.25), "epsilon": epsilon},
    ),
    "focal_cross_entropy": (
        lambda t, p, gamma, alpha, epsilon: keras.losses.categorical_focal_crossentropy(t, p, alpha, gamma),
        "shares",
        "hard",
        {"gamma": one_of(0.0, 0.5, 2.0), "alpha": one_of(0.25, 1.0), "epsilon": epsilon},
    ),
    "tversky": (
        lambda t, p, alpha, beta, epsilon: keras.losses.tversky(t, p, alpha, beta, axis=1),
        "any",
        "probabilities",
        {"alpha": one_of(0.5, 0.2), "beta": one_of(0.5, 1.3), "epsilon": epsilon},
    ),
}


def draw(target: Target, kind: str, seed: int, M: int, C: int) -> np.ndarray:
    """A matrix of what losses are given, by its kind."""
    if kind == "numbers":
        return target.normal(seed, M, C)
    if kind == "few values":  # ties, but no two terms of 0
        return target.few_values(seed, M, C) + np.dtype(target.dtype).type(0.25)
    if kind == "signs":  # -1 and 1, or 0 and 1
        targets = (target.uniform(seed, M, C) > 0.5).astype(target.dtype)
        return targets if seed % 2 else 2 * targets - 1
    if kind in ("hard", "probabilities"):
        return draw_probabilities(target, seed, M, C, hard=kind == "hard")
    return draw_targets(target, kind, seed, M, C)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore:In loss categorical_focal_crossentropy, expected:SyntaxWarning")  # of a single class
@simple_cases
@given(data=st.data(), M=rows, C=columns, seed=seeds)
def test_loss_equals_keras(target: Target, name: str, data: st.DataObject, M: int, C: int, seed: int) -> None:
    target.skip_reference_s_lines(f"{name}_forward")
    function, of_targets, of_predictions, strategies = LOSSES[name]
    numbers = {number: data.draw(strategy) for number, strategy in strategies.items()}
    targets, predictions = draw(target, of_targets, seed, M, C), draw(target, of_predictions, seed + 1, M, C)
    expected, weights, gradient = gradient_at(lambda p: function(targets, p, **numbers), predictions, seed + 2, target)
    target.check(getattr(target.ops, f"{name}_forward")(predictions, targets, **numbers), expected, scale=1)
    target.check(getattr(target.ops, f"{name}_backward")(predictions, targets, weights, **numbers), gradient, scale=1)


@gradient_cases
@given(M=rows, C=columns, q=st.sampled_from([0.25, 0.5, 0.7]), seed=seeds)
def test_generalized_cross_entropy_equals_keras(target: Target, M: int, C: int, q: float, seed: int) -> None:
    target.skip_reference_s_lines("generalized_cross_entropy_forward")
    probabilities = target.uniform(seed, M, C)
    labels = np.random.default_rng(seed).integers(0, C, M)
    expected, weights, gradient = gradient_at(
        lambda p: keras.losses.categorical_generalized_cross_entropy(labels, p, q), probabilities, seed + 1, target
    )
    target.check(target.ops.generalized_cross_entropy_forward(probabilities, labels, q), expected)
    target.check(target.ops.generalized_cross_entropy_backward(probabilities, labels, weights, q), gradient)


@simple_cases
@given(
    M=st.integers(2, 9),
    C=columns,
    gamma=st.sampled_from([1.0, 80.0]),
    margin=st.sampled_from([0.25, 0.4]),
    remove_diagonal=st.booleans(),
    seed=seeds,
)
def test_circle_equals_keras(
    target: Target, M: int, C: int, gamma: float, margin: float, remove_diagonal: bool, seed: int
) -> None:
    """Two of the labels stand there twice or more often, so that no row is alone: there Keras's gradient is NaN."""
    target.skip_reference_s_lines("circle_forward")
    embeddings = target.normal(seed, 2 * M, C)
    embeddings /= np.sqrt((embeddings**2).sum(axis=1, keepdims=True))
    labels = np.arange(2 * M) % max(M // 2, 2)
    numbers = {"gamma": gamma, "margin": margin, "remove_diagonal": remove_diagonal}
    expected, weights, gradient = gradient_at(lambda p: keras.losses.circle(labels, p, **numbers), embeddings, seed + 1, target)
    target.check(target.ops.circle_forward(embeddings, labels, embeddings, labels, **numbers), expected, scale=gamma)
    target.check(target.ops.circle_backward(embeddings, labels, weights, **numbers), gradient, scale=gamma)


def test_circle_of_a_row_that_is_alone(target: Target) -> None:
    """No other of its label, or no other label: no loss, and no gradient (in Keras NaN)."""
    embeddings = np.eye(3, 4, dtype=target.dtype)
    weights = np.ones(3, target.dtype)
    for labels in (np.arange(3), np.zeros(3, int)):
        losses = target.ops.circle_forward(embeddings, labels, embeddings, labels, 80.0, 0.4, True)
        target.check(losses, np.zeros(3))
        target.check(target.ops.circle_backward(embeddings, labels, weights, 80.0, 0.4, True), np.zeros((3, 4)))


def test_a_direction_of_no_length_has_none(target: Target) -> None:
    """Its cosine is 0, and its gradient as if a length of epsilon were there."""
    p, t, weights = np.zeros((1, 3), target.dtype), np.eye(1, 3, dtype=target.dtype), np.ones(1, target.dtype)
    target.check(target.ops.cosine_similarity_forward(p, t, 0.5), np.zeros(1))
    target.check(target.ops.cosine_similarity_backward(p, t, weights, 0.5), -2 * t)


@update_cases
@given(M=rows, C=columns, seed=seeds)
def test_matches_equal_tensorflow(target: Target, M: int, C: int, seed: int) -> None:
    """Few values: the first of several equal predictions counts."""
    predictions, targets = target.few_values(seed, M, C), target.few_values(seed + 1, M, C)
    labels = np.random.default_rng(seed + 2).integers(0, C, M).astype("int32")
    answers = (target.uniform(seed + 3, M, C) > 0.5).astype(target.dtype)
    best = tf.argmax(predictions, axis=1)
    ops = target.ops
    expected = tf.cast(best == tf.argmax(targets, axis=1), target.dtype)
    target.check(ops.categorical_matches(predictions, targets), expected)
    target.check(ops.sparse_categorical_matches(predictions, labels), tf.cast(best == labels, target.dtype))
    expected = tf.reduce_mean(tf.cast(tf.cast(predictions > 1, target.dtype) == answers, target.dtype), axis=1)
    target.check(ops.binary_matches(predictions, answers, 1.0), expected)


@update_cases
@given(batches=st.lists(st.integers(1, 70), min_size=1, max_size=3), weighted=st.booleans(), seed=seeds)
def test_accumulate_mean_equals_keras(target: Target, batches: list[int], weighted: bool, seed: int) -> None:
    mean = keras.metrics.Mean(dtype=target.dtype)
    total, count = np.zeros((), target.dtype), np.zeros((), target.dtype)
    for i, size in enumerate(batches):
        values = target.uniform(seed + i, size)
        weights = target.uniform(seed + i + 10, size) if weighted else None
        mean.update_state(values, weights)
        target.ops.accumulate_mean_(total, count, values, weights)
    target.check(total, mean.total)
    target.check(count, mean.count)
    target.check(total / count, mean.result())
