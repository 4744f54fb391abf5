"""Every argument of `evaluate`, `predict` and the methods for one batch, held to Keras: one table, run here and there."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn

RNG = np.random.default_rng(29)
N = 11
X, OTHER = RNG.random((N, 4), np.float32), RNG.random((N, 3), np.float32)
Y, Z = RNG.integers(0, 3, N), RNG.random((N, 2), np.float32)
WEIGHT = RNG.random(N, np.float32) * 2


def one(k):
    """Its loss is a sum: what it comes to over batches tells how large they were."""
    model = k.Sequential([k.Input((4,)), k.layers.Dense(5, activation="tanh"), k.layers.Dense(3, activation="softmax")])
    loss = k.losses.SparseCategoricalCrossentropy(reduction="sum")
    model.compile(
        k.optimizers.SGD(0.02),
        loss,
        metrics=["accuracy"],
        weighted_metrics=["sparse_categorical_crossentropy"],
        run_eagerly=k is keras,
    )
    return model


def two(k):
    """Two inputs and two outputs. (Of several batches Keras has other means of their losses if it runs eagerly.)"""
    a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
    h = k.layers.Concatenate()([a, b])
    kind, size = k.layers.Dense(3, activation="softmax", name="kind")(h), k.layers.Dense(2, name="size")(h)
    model = k.Model([a, b], [kind, size])
    model.compile(
        k.optimizers.SGD(0.02),
        ["sparse_categorical_crossentropy", k.losses.MeanSquaredError(reduction="sum")],
        loss_weights=[0.5, 2.0],
        metrics=[["accuracy"], ["mae"]],
        run_eagerly=k is keras,
    )
    return model


def data(k, *arrays, size=4):
    kind = minicnn.data.Dataset if k is minicnn else tf.data.Dataset
    return kind.from_tensor_slices(arrays).batch(size)


def forever(*arrays):
    while True:
        for i in range(0, N, 4):
            yield tuple(array[i : i + 4] for array in arrays)


BOTH = {"a": X, "b": OTHER}
EVALUATE = {
    "a batch size": (one, lambda k: {"x": X, "y": Y, "batch_size": 4}),
    "no batch size": (one, lambda k: {"x": X, "y": Y}),
    "a dict": (one, lambda k: {"x": X, "y": Y, "return_dict": True}),
    "weights": (one, lambda k: {"x": X, "y": Y, "sample_weight": WEIGHT, "batch_size": 4}),
    "some batches": (one, lambda k: {"x": X, "y": Y, "batch_size": 4, "steps": 2}),
    "so many batches": (one, lambda k: {"x": X, "y": Y, "steps": 3}),
    "a Dataset": (one, lambda k: {"x": data(k, X, Y)}),
    "a weighted Dataset, in part": (one, lambda k: {"x": data(k, X, Y, WEIGHT), "steps": 2}),
    "a generator": (one, lambda k: {"x": forever(X, Y, WEIGHT), "steps": 4}),
    "two outputs": (two, lambda k: {"x": [X, OTHER], "y": [Y, Z]}),
    "two outputs by name": (two, lambda k: {"x": BOTH, "y": {"size": Z, "kind": Y}, "return_dict": True}),
    "two outputs, weights": (two, lambda k: {"x": BOTH, "y": [Y, Z], "sample_weight": [WEIGHT, 2 - WEIGHT]}),
}
PREDICT = {
    "a batch size": (one, lambda k: {"x": X, "batch_size": 4}),
    "some batches": (one, lambda k: {"x": X, "batch_size": 4, "steps": 2}),
    "a Dataset": (one, lambda k: {"x": data(k, X)}),
    "a Dataset, in part": (one, lambda k: {"x": data(k, X, Y, WEIGHT), "steps": 2}),
    "two outputs": (two, lambda k: {"x": {"b": OTHER, "a": X}, "batch_size": 4}),
}
TRAIN_ON_BATCH = {
    "a batch": (one, lambda k: {"x": X, "y": Y}),
    "a dict": (one, lambda k: {"x": X, "y": Y, "return_dict": True}),
    "weights": (one, lambda k: {"x": X, "y": Y, "sample_weight": WEIGHT}),
    "weights of classes": (one, lambda k: {"x": X, "y": Y, "class_weight": {0: 0.5, 2: 3.0}}),
    "two outputs": (two, lambda k: {"x": [X, OTHER], "y": [Y, Z], "sample_weight": [WEIGHT, 2 - WEIGHT]}),
}
TEST_ON_BATCH = {name: case for name, case in TRAIN_ON_BATCH.items() if name != "weights of classes"}
PREDICT_ON_BATCH = {
    "a batch": (one, lambda k: {"x": X}),
    "two outputs": (two, lambda k: {"x": [X, OTHER]}),
    "two inputs by name": (two, lambda k: {"x": {"b": OTHER, "a": X}}),
}
TABLES = {
    "evaluate": EVALUATE,
    "predict": PREDICT,
    "train_on_batch": TRAIN_ON_BATCH,
    "test_on_batch": TEST_ON_BATCH,
    "predict_on_batch": PREDICT_ON_BATCH,
}


def flat(result):
    if isinstance(result, dict):
        return [*result, *(np.asarray(value) for value in result.values())]
    return [np.asarray(value) for value in (result if isinstance(result, list) else [result])]


@pytest.mark.parametrize(("method", "name"), [(method, name) for method, table in TABLES.items() for name in table])
def test_results_are_keras_s(method, name):
    build, arguments = TABLES[method][name]
    minicnn.set_random_seed(3)
    models = build(minicnn), build(keras)
    models[1].set_weights(models[0].get_weights())
    silent = {} if method.endswith("on_batch") else {"verbose": 0}
    for _ in range(2):  # the second time, nothing is left of the first
        found = [
            flat(getattr(model, method)(**arguments(k), **silent)) for k, model in zip((minicnn, keras), models, strict=True)
        ]
        for ours, theirs in zip(*found, strict=True):
            if isinstance(ours, str):
                assert ours == theirs
            else:
                np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)
    for mine, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    if method in ("evaluate", "train_on_batch", "test_on_batch"):
        assert len(models[0].metrics_names) == len([one for one in found[0] if not isinstance(one, str)])


@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_older_names_for_generators_take_steps(method):
    arguments = {"steps_per_epoch" if method == "fit" else "steps": 2}
    model = one(minicnn)
    weights = model.get_weights()
    source = (lambda: forever(X, Y)) if method != "predict" else (lambda: forever(X))
    older = getattr(model, f"{method}_generator")(source(), **arguments, verbose=0, workers=2, max_queue_size=3)
    model.set_weights(weights)
    newer = getattr(model, method)(source(), **arguments, verbose=0)
    older, newer = (one.history["loss"] if method == "fit" else one for one in (older, newer))
    np.testing.assert_allclose(older, newer, rtol=1e-6)
    with pytest.raises(TypeError, match="speed"):
        getattr(model, f"{method}_generator")(source(), **arguments, speed=2)
