"""Connectionist temporal classification: against TensorFlow, against all paths one by one, and as programs call it."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backend, losses, ops
from tests.drawn import drawn_cases
from tests.ops.checks import Target, seeds

some_cases = drawn_cases(8)


def spelled(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """Without repetitions, then without blanks."""
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def log_probability(logits: np.ndarray, labels: tuple[int, ...], blank: int) -> float:
    """The logarithm of the sum over all paths that spell the labels."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    T, C = p.shape
    paths = itertools.product(range(C), repeat=T)
    total = sum(np.prod([p[t, k] for t, k in enumerate(path)]) for path in paths if spelled(path, blank) == labels)
    return float(np.log(total)) if total else -np.inf


@some_cases
@given(T=st.integers(1, 4), L=st.integers(0, 3), blank=st.integers(0, 2), data=st.data(), seed=seeds)
def test_the_loss_is_the_sum_over_all_paths(target: Target, T: int, L: int, blank: int, data: Any, seed: int) -> None:
    """Samples shorter than the batch, too, and labels that do not fit into the steps."""
    logits = target.normal(seed, 2, T, 3)
    classes = [k for k in range(3) if k != blank]
    labels = np.array([[data.draw(st.sampled_from(classes)) for _ in range(L)] for _ in range(2)], np.int32).reshape(2, L)
    label_lengths = np.array([L, data.draw(st.integers(0, L))], np.int32)
    steps = np.array([T, data.draw(st.integers(1, T))], np.int32)
    expected = [
        -log_probability(logits[n, : steps[n]].astype("float64"), tuple(labels[n, : label_lengths[n]].tolist()), blank)
        for n in range(2)
    ]
    found, log_p, alpha = target.ops.ctc_forward(logits, labels, label_lengths, steps, blank)
    target.check(found, np.array(expected), scale=1)
    weights = target.normal(seed + 1, 2)
    dlogits = target.ops.ctc_backward(log_p, alpha, labels, (label_lengths, steps), blank, found, weights)
    assert dlogits.dtype == target.dtype
    assert np.isfinite(dlogits).all()
    if target.dtype == "float64":
        direction = target.normal(seed + 2, *logits.shape)
        ends = [target.ops.ctc_forward(logits + e * direction, labels, label_lengths, steps, blank)[0] for e in (1e-6, -1e-6)]
        with np.errstate(invalid="ignore"):
            slope = np.where(np.isfinite(found), (ends[0] - ends[1]) / 2e-6, 0) @ weights
        assert np.sum(dlogits * direction) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@some_cases
@given(N=st.integers(1, 4), T=st.integers(6, 12), L=st.integers(1, 3), C=st.integers(2, 6), seed=seeds)
def test_the_loss_and_its_gradient_equal_tensorflow_s(target: Target, N: int, T: int, L: int, C: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = target.normal(seed, N, T, C)
    labels = random.integers(1, C, (N, L)).astype(np.int32)
    label_lengths, steps = random.integers(1, L + 1, N).astype(np.int32), random.integers(6, T + 1, N).astype(np.int32)
    given_there = tf.constant(logits.astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(given_there)
        expected = tf.nn.ctc_loss(labels, given_there, label_lengths, steps, logits_time_major=False, blank_index=0)
    weights = target.normal(seed + 1, N)
    gradient = tape.gradient(expected, given_there, output_gradients=tf.constant(weights.astype("float32")))
    found, log_p, alpha = target.ops.ctc_forward(logits, labels, label_lengths, steps, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    dlogits = target.ops.ctc_backward(log_p, alpha, labels, (label_lengths, steps), 0, found, weights)
    np.testing.assert_allclose(dlogits, gradient, atol=2e-4)


def test_the_loss_of_a_model_is_keras_s() -> None:
    y_true = np.array([[1, 2, 2], [3, 0, 0]])
    y_pred = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")
    ours, theirs = losses.CTC(), keras.losses.CTC()
    assert ours.get_config() == {key: value for key, value in theirs.get_config().items() if key in ours.get_config()}
    assert float(ours(y_true, y_pred)) == pytest.approx(float(theirs(y_true, y_pred)), rel=1e-5)
    np.testing.assert_allclose(losses.ctc(y_true, y_pred), keras.losses.ctc(y_true, y_pred), rtol=1e-5)
    with tf.GradientTape() as there:
        x_there = tf.constant(y_pred)
        there.watch(x_there)
        loss_there = theirs(y_true, x_there, sample_weight=tf.constant([1.0, 3.0]))
    expected = there.gradient(loss_there, x_there)
    loss, saved = ours.forward(y_true, y_pred, np.array([1.0, 3.0]))
    assert float(loss) == pytest.approx(float(loss_there), rel=1e-5)
    np.testing.assert_allclose(ours.backward(saved), expected, atol=1e-5)
    with minicnn.GradientTape() as here:
        x = ops.convert_to_tensor(y_pred)
        here.watch(x)
        recorded = ours(y_true, x, np.array([1.0, 3.0]))
    np.testing.assert_allclose(here.gradient(recorded, x), expected, atol=1e-5)
    model = minicnn.Sequential([minicnn.Input((8, 4)), minicnn.layers.Dense(4)])
    model.compile(minicnn.optimizers.Adam(0.1), loss="ctc")
    history = model.fit(y_pred, y_true, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    for bad, message in ((y_true[0], "Targets `y_true` are expected"), (y_true + 9, "labels")):
        with pytest.raises(ValueError, match=message):
            ours.forward(bad, y_pred)
    with pytest.raises(ValueError, match="Logits `y_pred` are expected"):
        ours.forward(y_true, y_pred[0])


def test_older_programs_calls() -> None:
    """Of probabilities, with the last class for the blank; lengths have an axis more."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(2, 7, 4)).astype("float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    labels, ones = np.array([[0, 2], [1, 1]]), np.ones((2, 1))
    found = backend.ctc_batch_cost(labels, probabilities, 7 * ones, 2 * ones)
    sparse = tf.sparse.from_dense(tf.constant(labels + 1))
    sparse = tf.SparseTensor(sparse.indices, tf.cast(sparse.values - 1, "int32"), sparse.dense_shape)
    wanted = tf.compat.v1.nn.ctc_loss(sparse, tf.math.log(tf.transpose(probabilities, (1, 0, 2)) + 1e-7), tf.constant([7, 7]))
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-5)
    assert found.shape == (2, 1)
    paths, scores = backend.ctc_decode(probabilities, np.array([7.0, 5.0]))
    expected, expected_scores = keras.ops.ctc_decode(np.log(probabilities + 1e-7), np.array([7, 5]), mask_index=3)
    np.testing.assert_array_equal(paths[0], expected[0])
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    time_first = minicnn.nn.ctc_loss(labels + 1, logits.transpose(1, 0, 2), np.array([2, 2]), np.array([7, 6]))
    expected = tf.nn.ctc_loss(labels + 1, logits.transpose(1, 0, 2), np.array([2, 2]), np.array([7, 6]), blank_index=0)
    np.testing.assert_allclose(time_first, expected, rtol=1e-5)


@pytest.mark.parametrize("mask_index", [0, 2, -1])
@pytest.mark.parametrize("merge", [True, False])
def test_greedy_decoding_equals_keras_s(mask_index: int, merge: bool) -> None:
    logits = np.random.default_rng(3).normal(size=(4, 9, 3)).astype("float32")
    lengths = np.array([9, 5, 1, 7])
    named = {"merge_repeated": merge, "mask_index": mask_index % 3}
    found, expected = ops.ctc_decode(logits, lengths, **named), keras.ops.ctc_decode(logits, lengths, **named)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
    assert found[0].dtype == "int32"


def test_beam_search_finds_the_likeliest_labels() -> None:
    """With beams for everything, the sums over all paths; with fewer, what Keras finds."""
    logits = np.random.default_rng(3).normal(size=(2, 4, 3)).astype("float32")
    found, scores = ops.ctc_decode(logits, np.array([4, 3]), "beam_search", beam_width=100, top_paths=3)
    assert found.shape == (3, 2, 4)
    for n, T in ((0, 4), (1, 3)):
        every = {spelled(path, 0) for path in itertools.product(range(3), repeat=T)}
        known = sorted(((log_probability(logits[n, :T].astype("float64"), one, 0), one) for one in every), reverse=True)
        for index in range(3):
            assert tuple(k for k in found[index, n].tolist() if k >= 0) == known[index][1]
            assert float(scores[n, index]) == pytest.approx(known[index][0], abs=1e-4)
    longer = np.random.default_rng(4).normal(size=(3, 12, 5)).astype("float32") * 2
    lengths = np.array([12, 9, 12])
    found, scores = ops.ctc_decode(longer, lengths, "beam_search", beam_width=50, top_paths=2, mask_index=4)
    expected, expected_scores = keras.ops.ctc_decode(longer, lengths, "beam_search", beam_width=50, top_paths=2, mask_index=4)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scores, expected_scores, rtol=2e-2)  # of what is left out, TensorFlow counts some again
    with pytest.raises(ValueError, match=r"Invalid strategy fast\. Supported values are 'greedy' and 'beam_search'"):
        ops.ctc_decode(logits, lengths, "fast")
    with pytest.raises(ValueError, match="`ctc_decode` needs values"):
        ops.ctc_decode(minicnn.Input((4, 3)), lengths)


def test_a_layer_that_adds_the_loss_trains() -> None:
    """The endpoint of programs that read text in pictures: its lengths are computed in the graph."""

    class Endpoint(minicnn.layers.Layer):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            count = ops.cast(ops.shape(y_true)[0], "int64")
            steps = ops.cast(ops.shape(y_pred)[1], "int64") * ops.ones((count, 1), "int64")
            labels = ops.cast(ops.shape(y_true)[1], "int64") * ops.ones((count, 1), "int64")
            self.add_loss(backend.ctc_batch_cost(y_true, y_pred, steps, labels))
            return y_pred

    x, labels = minicnn.Input((8, 5)), minicnn.Input((None,))
    y = minicnn.layers.Dense(4, activation="softmax", name="classes")(x)
    model = minicnn.Model([x, labels], Endpoint()(labels, y))
    model.compile("adam")
    data = [np.random.default_rng(0).normal(size=(6, 8, 5)), np.array([[0, 1], [2, 1], [2, 2], [0, 0], [1, 2], [2, 0]])]
    probabilities = minicnn.Model(x, model.get_layer("classes").output).predict(data[0], verbose=0)
    expected = backend.ctc_batch_cost(data[1], probabilities, np.full((6, 1), 8), np.full((6, 1), 2))
    history = model.fit(data, batch_size=6, epochs=20, verbose=0).history["loss"]
    assert history[0] == pytest.approx(float(np.sum(expected)), rel=1e-5)
    assert history[-1] < history[0]
