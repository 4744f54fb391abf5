"""A plan that fuses computes what the layers one by one compute."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import layers
from minicnn.models import fusion

RNG = np.random.default_rng(2)
X = RNG.random((10, 13, 13, 3), np.float32)
Y = RNG.integers(0, 4, 10)


def chain():
    return [
        layers.Conv2D(5, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2, padding="same"),
        layers.Conv2D(6, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        layers.ReLU(),
        layers.Conv2D(4, 2),
        layers.MaxPooling2D(2),
        layers.Conv2DTranspose(5, 2, strides=2),
        layers.Activation("relu"),
        layers.SeparableConv2D(4, 2),
        layers.ReLU(),
        layers.Conv2D(6, 1, strides=2),
        layers.Activation("relu"),
        layers.Flatten(),
        layers.Dense(7),
        layers.ReLU(),
        layers.Dense(4, activation="softmax"),
    ]


def trained(frozen=()):
    minicnn.set_random_seed(3)
    model = minicnn.Sequential([layers.Input((13, 13, 3)), *chain()])
    for index in frozen:
        model.layers[index].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    return model


@pytest.fixture(params=["numba", "reference"])
def on(request):
    minicnn.set_backend(request.param)
    yield request.param
    minicnn.set_backend("numba")


@pytest.mark.parametrize("frozen", [(), (0,), (3,), (0, 2, 3)])
def test_fused_training_is_training(on, monkeypatch, frozen):
    fused = trained(frozen)
    assert [row["layers"] for row in fused.plan() if row["fused"]] != []
    monkeypatch.setattr(fusion, "fuse", lambda steps, outputs: steps)
    plain = trained(frozen)
    assert not any(row["fused"] for row in plain.plan())
    for one, two in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fused.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-4, atol=1e-6)


def test_what_is_fused(on):
    model = minicnn.Sequential([layers.Input((13, 13, 3)), *chain()])
    assert [row["op"] for row in model.plan()] == [
        "Conv2D+MaxPooling2D",
        "Conv2D",
        "BatchNormalization+ReLU",
        "DepthwiseConv2D+ReLU",
        "Conv2D+MaxPooling2D",
        "Conv2DTranspose+Activation",
        "SeparableConv2D+ReLU",
        "Conv2D+Activation",
        "Flatten",
        "Dense+ReLU",
        "Dense",
    ]


@pytest.mark.parametrize("spoil", [{"max_value": 6.0}, {"negative_slope": 0.1}, {"threshold": 0.5}])
def test_another_relu_is_no_epilogue(spoil):
    model = minicnn.Sequential([layers.Input((5, 5, 1)), layers.Conv2D(2, 3), layers.ReLU(**spoil), layers.MaxPooling2D(2)])
    assert [row["op"] for row in model.plan()] == ["Conv2D", "ReLU", "MaxPooling2D"]


def test_a_pooling_of_the_other_data_format_is_no_epilogue(on):
    """It takes rows for channels, so that its windows lie over columns and channels."""
    image = layers.Input((13, 13, 3))
    maps = layers.Conv2D(4, 2, activation="relu")(image)
    pooled = minicnn.Model(image, layers.MaxPooling2D(2, data_format="channels_first")(maps))
    assert [row["op"] for row in pooled.plan()] == ["Conv2D", "MaxPooling2D"]
    expected = minicnn.Model(image, maps).predict(X, verbose=0).reshape(-1, 12, 6, 2, 2, 2).max(axis=(3, 5))
    np.testing.assert_array_equal(pooled.predict(X, verbose=0), expected)


def test_a_layer_of_a_user_takes_no_epilogue():
    class Own(layers.Conv2D):
        pass

    model = minicnn.Sequential([layers.Input((5, 5, 1)), Own(2, 3), layers.ReLU(), layers.MaxPooling2D(2)])
    assert [row["op"] for row in model.plan()] == ["Own", "ReLU", "MaxPooling2D"]


@pytest.mark.parametrize("activation", ["relu", None])
def test_an_image_too_small_for_the_window_is_refused_as_without_fusion(on, activation):
    image = layers.Input((None, None, 1))
    model = minicnn.Model(image, layers.MaxPooling2D(3, name="pool")(layers.Conv2D(8, 3, activation=activation)(image)))
    assert len(model._plan_for("predict").steps) == 1
    assert model.predict(np.zeros((2, 5, 5, 1)), verbose=0).shape == (2, 1, 1, 8)
    with pytest.raises(ValueError, match=r"output size would be zero .* `inputs.shape=\(2, 2, 2, 8\)`.* Layer: 'pool'"):
        model.predict(np.zeros((2, 4, 4, 1)), verbose=0)


def test_a_value_that_somebody_reads_is_not_fused_away(on):
    image = layers.Input((13, 13, 3))
    a = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    b = layers.MaxPooling2D(1)(a)
    model = minicnn.Model(image, layers.Add()([a, b]))
    assert [row["op"] for row in model.plan()] == ["Conv2D", "MaxPooling2D", "Add"]
    maps = minicnn.Model(image, [a, b])
    assert [row["op"] for row in maps.plan()] == ["Conv2D", "MaxPooling2D"]
    np.testing.assert_array_equal(*maps.predict(X, verbose=0))


def test_a_sum_takes_the_relu_behind_it(on, monkeypatch):
    def trained():
        minicnn.set_random_seed(3)
        image = layers.Input((13, 13, 3))
        x = layers.Conv2D(4, 3, padding="same")(image)
        x = layers.ReLU()(layers.Add()([x, layers.Conv2D(4, 1)(image), layers.GlobalAveragePooling2D(keepdims=True)(x)]))
        model = minicnn.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(X, Y, batch_size=5, epochs=2, verbose=0)
        return model

    fused = trained()
    assert "Add+ReLU" in [row["op"] for row in fused.plan()]
    monkeypatch.setattr(fusion, "fuse", lambda steps, outputs: steps)
    for one, two in zip(fused.get_weights(), trained().get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
