"""Whole models, trained step by step beside Keras from the same weights on the same batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn

RNG = np.random.default_rng(7)
X = RNG.random((48, 12, 12, 3), np.float32)  # no multiple of the batches of 20: each epoch ends with a smaller one
LABELS = RNG.integers(0, 4, 48)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]


def small_cnn(k, last="softmax"):
    """The same program under both names."""
    return k.Sequential(
        [
            k.Input((12, 12, 3)),
            k.layers.Conv2D(8, 3, padding="same", use_bias=False),
            k.layers.BatchNormalization(),
            k.layers.Activation("relu"),
            k.layers.MaxPooling2D(2),
            k.layers.Conv2D(12, 3, strides=2, activation="relu", kernel_regularizer=k.regularizers.L2(1e-3)),
            k.layers.AveragePooling2D(2, padding="same"),
            k.layers.Flatten(),
            k.layers.Dense(16, activation="tanh"),
            k.layers.Dense(4, activation=last),
        ]
    )


def two_heads(k):
    """Merges, a shared layer, a model used as a layer, two outputs."""
    image = k.Input((12, 12, 3), name="image")
    shared = k.layers.Conv2D(3, 3, padding="same", activation="relu", name="shared")
    a = shared(image)
    b = shared(a)
    joined = k.layers.Concatenate()([a, b])
    joined = k.layers.Add()([joined, k.layers.Conv2D(6, 1)(image)])
    inner_in = k.Input((12, 12, 6))
    inner = k.Model(inner_in, k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(5, 3, strides=2)(inner_in)))
    features = inner(joined)
    label = k.layers.Dense(4, activation="softmax", name="label")(features)
    size = k.layers.Dense(1, name="size")(features)
    return k.Model(image, [label, size])


def twins(build):
    """Our model and Keras's with our weights."""
    ours, theirs = build(minicnn), build(keras)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def assert_same_weights(ours, theirs, tolerance=2e-4):
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        other = np.asarray(other)
        assert np.abs(mine.numpy() - other).max() <= tolerance * max(1.0, np.abs(other).max()), mine.path


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("target", ["sparse", "one-hot", "weighted"])
def test_training_follows_keras(optimizer, target):
    ours, theirs = twins(small_cnn)
    loss = "categorical_crossentropy" if target == "one-hot" else "sparse_categorical_crossentropy"
    y = ONE_HOT if target == "one-hot" else LABELS
    extra = {"sample_weight": np.linspace(0.1, 2, 48, dtype=np.float32)} if target == "weighted" else {}
    histories = []
    for model in (ours, theirs):
        model.compile(optimizer, loss, metrics=["accuracy"])
        history = model.fit(X, y, batch_size=20, epochs=2, shuffle=False, verbose=0, validation_data=(X[:10], y[:10]), **extra)
        histories.append(history.history)
    assert list(histories[0]) == list(histories[1])
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=2e-4, atol=2e-5)
    assert_same_weights(ours, theirs)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-4)
    np.testing.assert_allclose(ours.evaluate(X, y, verbose=0), theirs.evaluate(X, y, verbose=0), rtol=2e-4)


def test_graphs_with_several_outputs_follow_keras():
    ours, theirs = twins(two_heads)
    size = RNG.random((48, 1), np.float32)
    logs = []
    for model in (ours, theirs):
        model.compile(
            "sgd",
            loss={"label": "sparse_categorical_crossentropy", "size": "mse"},
            loss_weights={"size": 2.0, "label": 0.7},  # in another order than the outputs
            metrics={"label": "accuracy"},
        )
        logs.append(model.fit(X, {"label": LABELS, "size": size}, batch_size=20, epochs=2, shuffle=False, verbose=0).history)
    assert sorted(logs[0]) == sorted(logs[1])
    for name in logs[1]:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=2e-4, atol=1e-5)
    assert_same_weights(ours, theirs)
    for mine, other in zip(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)


def test_metrics_of_one_name_have_keras_s_names_in_the_logs():
    logs = []
    for k, model in zip((minicnn, keras), twins(small_cnn)):
        accuracies = [k.metrics.SparseCategoricalAccuracy(name="right") for _ in range(3)]
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=accuracies)
        logs.append(model.evaluate(X, LABELS, verbose=0, return_dict=True))
    assert sorted(logs[0]) == sorted(logs[1])


def test_class_weight_and_frozen_layers_follow_keras():
    ours, theirs = twins(small_cnn)
    weights = {0: 0.5, 1: 2.0, 2: 1.0, 3: 3.0}
    for model in (ours, theirs):
        model.layers[0].trainable = False
        model.layers[1].trainable = False
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(X, LABELS, batch_size=20, epochs=1, shuffle=False, verbose=0, class_weight=weights)
    assert_same_weights(ours, theirs)


def test_binary_model_and_logits_follow_keras():
    y = (LABELS > 1).astype(np.float32)[:, None]

    def build(k, activation):
        return k.Sequential([k.Input((12, 12, 3)), k.layers.Flatten(), k.layers.Dense(1, activation=activation)])

    for activation, from_logits in (("sigmoid", False), (None, True)):
        ours, theirs = twins(lambda k, activation=activation: build(k, activation))
        values = []
        for k, model in ((minicnn, ours), (keras, theirs)):
            model.compile("sgd", k.losses.BinaryCrossentropy(from_logits=from_logits), metrics=["acc"])
            values.append(model.fit(X, y, batch_size=20, epochs=1, shuffle=False, verbose=0).history)
        np.testing.assert_allclose(values[0]["loss"], values[1]["loss"], rtol=1e-4)
        np.testing.assert_allclose(values[0]["acc"], values[1]["acc"], rtol=1e-6)
        assert_same_weights(ours, theirs)


def test_regularizers_and_constraints_follow_keras():
    def build(k):
        return k.Sequential(
            [
                k.Input((12, 12, 3)),
                k.layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint=k.constraints.MaxNorm(0.6)),
                k.layers.Flatten(),
                k.layers.Dense(
                    4,
                    activation="softmax",
                    kernel_regularizer=k.regularizers.L1L2(1e-3, 1e-2),
                    activity_regularizer=k.regularizers.L2(1e-2),
                ),
            ]
        )

    ours, theirs = twins(build)
    losses = []
    for model in (ours, theirs):
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.fit(X, LABELS, batch_size=20, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4)
    assert_same_weights(ours, theirs)


def test_train_and_test_on_batch_follow_keras():
    ours, theirs = twins(small_cnn)
    for model in (ours, theirs):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for start in (0, 16):
        batch = X[start : start + 16], LABELS[start : start + 16]
        np.testing.assert_allclose(ours.train_on_batch(*batch), theirs.train_on_batch(*batch), rtol=2e-4)
    np.testing.assert_allclose(ours.test_on_batch(X, LABELS), theirs.test_on_batch(X, LABELS), rtol=2e-4)
    np.testing.assert_allclose(ours.predict_on_batch(X), theirs.predict_on_batch(X), atol=1e-4)


def test_the_penalty_of_a_frozen_weight_does_not_count():
    def model(k):
        frozen = k.layers.Dense(4, kernel_regularizer="l2", trainable=False)
        return k.Sequential([k.Input((5,)), frozen, k.layers.Dense(2, kernel_regularizer="l1")])

    ours, theirs = model(minicnn), model(keras)
    theirs.set_weights(ours.get_weights())
    x, y = np.random.default_rng(0).random((6, 5), np.float32), np.ones((6, 2), np.float32)
    for one in (ours, theirs):
        one.compile("sgd", "mse")
    np.testing.assert_allclose(ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(ours.train_on_batch(x, y), theirs.train_on_batch(x, y), rtol=1e-5)


@pytest.mark.parametrize(("of_softmax", "of_loss"), [(-1, -1), (1, 1), (1, -1), (-1, 1)])
def test_a_softmax_and_a_loss_may_have_other_axes(of_softmax, of_loss):
    """Both along the last axis are computed as one, all else one after the other. (Keras would always take the logits.)"""
    x, y = RNG.normal(size=(6, 3, 4)).astype("float32"), RNG.uniform(size=(6, 3, 5)).astype("float32")
    y /= y.sum(axis=of_loss, keepdims=True)
    kernel = np.linspace(-1, 1, 20, dtype="float32").reshape(4, 5)
    k = tf.Variable(kernel)
    with tf.GradientTape() as tape:
        p = tf.nn.softmax(x @ k, axis=of_softmax)
        p = p / tf.reduce_sum(p, axis=of_loss, keepdims=True)
        loss = tf.reduce_mean(-tf.reduce_sum(y * tf.math.log(p), axis=of_loss))
    model = minicnn.Sequential([minicnn.Input((3, 4)), minicnn.layers.Dense(5, use_bias=False)])
    model.add(minicnn.layers.Softmax(axis=of_softmax))
    model.set_weights([kernel])
    model.compile(minicnn.optimizers.SGD(0.5), minicnn.losses.CategoricalCrossentropy(axis=of_loss))
    history = model.fit(x, y, verbose=0)
    assert history.history["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.5 * tape.gradient(loss, k), rtol=1e-4, atol=1e-5)
