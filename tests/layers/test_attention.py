"""Layers that hold other layers, with Keras's: values, gradients, weights by name and order, configs, files both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn import layers, ops
from tests.layers.checks import check_configs

# Keras rounds 1 / sqrt(key_dim) to float32: 1 / 2 is the same.
HEADS: list[dict[str, Any]] = [
    {"num_heads": 2, "key_dim": 4},
    {"num_heads": 1, "key_dim": 4, "value_dim": 5, "use_bias": False, "output_shape": 8},
    {"num_heads": 2, "key_dim": 4, "use_gate": True, "kernel_regularizer": "l2", "kernel_initializer": "he_normal"},
]


def apart(weights: Any) -> list[Any]:
    """Path below the layer, and shape."""
    return [(weight.path.split("/", 1)[1], tuple(weight.shape)) for weight in weights]


def largest_difference(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return float(np.max(np.abs(actual - expected)) / max(1.0, np.max(np.abs(expected))))


@pytest.mark.parametrize("masked", ["", "given", "causal", "given, causal"])
@pytest.mark.parametrize("arguments", HEADS)
def test_multi_head_attention(arguments: dict[str, Any], masked: str) -> None:
    ours = layers.MultiHeadAttention(**arguments, name="a", dtype="float64")
    theirs = keras.layers.MultiHeadAttention(**arguments, name="a", dtype="float64")
    random = np.random.default_rng(4)
    query, value, key = (random.standard_normal((2, *shape)) for shape in ((5, 6), (7, 4), (7, 3)))
    named: dict[str, Any] = {"attention_mask": random.random((2, 5, 7)) < 0.6} if "given" in masked else {}
    named |= {"use_causal_mask": True} if "causal" in masked else {}
    theirs(query, value, key)
    ours(query, value, key)
    assert apart(ours.weights) == apart(theirs.weights)
    ours.set_weights([np.asarray(weight) for weight in theirs.weights])
    with tf.GradientTape() as tape:
        query_there = tf.constant(query)
        tape.watch(query_there)
        y_there, scores_there = theirs(query_there, value, key, return_attention_scores=True, **named)
        loss_there = tf.reduce_sum(y_there**2)
    with minicnn.GradientTape() as ours_tape:
        query_here = ops.convert_to_tensor(query)
        ours_tape.watch(query_here)
        y, scores = ours(query_here, value, key, return_attention_scores=True, **named)
        loss = ops.sum(y * y)
    assert largest_difference(y, y_there) < 1e-10
    assert largest_difference(scores, scores_there) < 1e-10
    found = ours_tape.gradient(loss, [query_here, *ours.trainable_weights])
    wanted = tape.gradient(loss_there, [query_there, *(weight.value for weight in theirs.trainable_weights)])
    for gradient, expected in zip(found, wanted, strict=True):
        assert largest_difference(gradient, expected) < 1e-10
    fresh = [module.layers.MultiHeadAttention(**arguments, name="a") for module in (minicnn, keras)]
    check_configs(*fresh)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.MultiHeadAttention(0, 3), "invalid value for argument `num_heads`, expected a positive integer"),
        (lambda: layers.MultiHeadAttention(2, 3, value_dim=-1), "argument `value_dim`, expected a positive integer or `None`"),
        (lambda: layers.MultiHeadAttention(2, 3, sliding_window=2), "sliding_window"),
        (lambda: layers.MultiHeadAttention(2, 3)(np.ones((1, 2, 3))), r"is called on \(query, value\)"),
        (
            lambda: layers.MultiHeadAttention(2, 3)(*[np.ones((1, 2, 2, 3))] * 2, use_causal_mask=True),
            "a causal mask needs one axis of places",
        ),
        (lambda: layers.Attention()([np.ones((1, 2, 3))] * 2, mask=np.ones((1, 2))), "mask must be a list"),
        (
            lambda: layers.MultiHeadAttention(2, 3)(*map(np.ones, [(1, 2, 3), (1, 2, 3), (1, 4, 3)])),
            "except the last",
        ),
        (lambda: layers.Attention(score_mode="sum"), "Expected one of {'dot', 'concat'}"),
        (lambda: layers.Attention()(np.ones((1, 2, 3))), r"namely \[query, value\] or \[query, value, key\]"),
        (lambda: layers.EinsumDense("ab->ab", 3), r"must be in the form \[X\],\[Y\]->\[Z\]"),
        (lambda: layers.EinsumDense("ab,bc->ac", (3, 4))(np.ones((1, 2))), "does not fit an input of shape"),
        (lambda: layers.SpectralNormalization(layers.Dense(2), power_iterations=0), "`power_iterations` should be greater"),
        (lambda: layers.SpectralNormalization(layers.ReLU())(np.ones((1, 2))), "has no attribute 'kernel' nor 'embeddings'"),
        (lambda: layers.SpectralNormalization("dense"), "isn't a supported layer type"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"use_scale": True, "score_mode": "concat"}])
def test_attention_with_masks(arguments: dict[str, Any], causal: bool) -> None:
    """Given as a list, or those that the inputs have; in a graph likewise."""
    random = np.random.default_rng(4)
    query, value = (random.standard_normal((3, *shape)).astype("float32") for shape in ((5, 4), (7, 4)))
    masks = [random.random((3, 5)) < 0.6, random.random((3, 7)) < 0.6]
    masks[1][:, 0] = True  # causal attention sees no other from the first place
    query[~masks[0]], value[~masks[1]] = 0, 0
    ours, theirs = layers.Attention(**arguments), keras.layers.Attention(**arguments)
    for given in (masks, [None, masks[1]], [masks[0], None]):
        named = {"mask": given, "use_causal_mask": causal, "return_attention_scores": True}
        found, expected = ours([query, value], **named), theirs([query, value], **named)
        assert isinstance(found, tuple)
        for one, other in zip(found, expected, strict=True):
            assert largest_difference(one, other) < 1e-5
    results = []
    for module in (minicnn, keras):
        inputs = [module.Input(shape[1:]) for shape in (query.shape, value.shape)]
        masked = [module.layers.Masking()(one) for one in inputs]
        y = module.layers.Attention(**arguments, name="a")(masked, use_causal_mask=causal)
        assert y._keras_mask is not None
        model = module.Model(inputs, [y * 1.0])
        again = module.Model.from_config(model.get_config())
        results += [np.asarray(one.predict([query, value], verbose=0)) for one in (model, again)]
    for result in results[:3]:
        assert largest_difference(result, results[3]) < 1e-5
    images = random.standard_normal((2, 3, 5, 4)).astype("float32")
    assert largest_difference(ours([images, images]), theirs([images, images])) < 1e-5


@pytest.mark.parametrize(
    ("equation", "shape", "size", "bias_axes"),
    [
        ("...c,cd->...d", (2, 5, 5, 3), 4, "d"),  # of other sizes, Keras says the shape with its axes turned round
        ("...bc,bc->...b", (2, 5, 6, 3), 6, None),
        ("...c,cde->...de", (2, 5, 3), (4, 2), "de"),
        ("bc...,cd->bd...", (2, 3, 5, 6), 4, "d"),
        ("bc...,cde->bde...", (2, 3, 5), (4, 2), "e"),
    ],
)
def test_an_equation_with_axes_left_out(equation: str, shape: tuple[int, ...], size: Any, bias_axes: str | None) -> None:
    ours, theirs = (
        module.layers.EinsumDense(equation, size, bias_axes=bias_axes, activation="tanh") for module in (minicnn, keras)
    )
    x = np.random.default_rng(4).standard_normal(shape).astype("float32")
    assert ours.compute_output_shape((None, *shape[1:])) == theirs.compute_output_shape((None, *shape[1:]))
    theirs(x)
    ours(x)
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    ours.set_weights([np.random.default_rng(5).standard_normal(w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    assert largest_difference(ours(x), theirs(x)) < 1e-5
    again = layers.EinsumDense.from_config(theirs.get_config())
    assert again(minicnn.Input(shape[1:])).shape == (None, *ours(x).shape[1:])


def transformer(module: Any) -> Any:
    """A block of a vision transformer, attention over both axes of an image, and spectral normalization."""
    images = module.Input((4, 4, 6))
    x = module.layers.Reshape((16, 6))(images)
    y = module.layers.MultiHeadAttention(2, 3, dropout=0.1, name="rows")(x, x)
    y = module.layers.LayerNormalization()(module.layers.Add()([x, y]))
    z = module.layers.MultiHeadAttention(2, 3, attention_axes=(1, 2), name="images")(images, images)
    w = module.layers.Attention(use_scale=True)([x, x])
    v = module.layers.EinsumDense("abc,cd->abd", (16, 3), bias_axes="d", activation="relu")(x)
    u = module.layers.SpectralNormalization(module.layers.Conv2D(3, 3, name="c"), power_iterations=2)(images)
    flat = [module.layers.Flatten()(one) for one in (y, z, w, v, u)]
    return module.Model(images, module.layers.Dense(2)(module.layers.Concatenate()(flat)))


def test_files_go_both_ways(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, 4, 6)).astype("float32")
    for source, target in ((keras, minicnn), (minicnn, keras)):
        model = transformer(source)
        model.compile("sgd", "mse")
        model.fit(x, np.zeros((3, 2)), verbose=0)
        model.save(tmp_path / "model.keras")
        copy = target.models.load_model(tmp_path / "model.keras")
        assert largest_difference(copy.predict(x, verbose=0), model.predict(x, verbose=0)) < 1e-5


def test_spectral_normalization_trains_as_kerass() -> None:
    random = np.random.default_rng(2)
    x, y = random.standard_normal((4, 6, 6, 2)).astype("float32"), random.standard_normal((4, 2)).astype("float32")

    def network(module: Any) -> Any:
        wrap, images = module.layers.SpectralNormalization, module.Input((6, 6, 2))
        h = wrap(module.layers.Conv2D(3, 3, name="c"), power_iterations=2, name="first")(images)
        return module.Model(images, wrap(module.layers.Dense(2, name="d"), name="last")(module.layers.Flatten()(h)))

    theirs, ours = network(keras), network(minicnn)
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]
    ours.set_weights(theirs.get_weights())
    for model in (ours, theirs):
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    for weight, expected in zip(ours.get_weights(), theirs.get_weights()):
        assert largest_difference(weight, expected) < 1e-5
    kernel = ours.get_layer("first").layer.kernel.numpy().reshape(-1, 3)
    assert np.linalg.norm(kernel, 2) < 1.1  # but for the last step's update
