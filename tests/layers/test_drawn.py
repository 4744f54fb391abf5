"""What augmentation draws is distributed as in Keras; and what layers of chance do with a seed, and in inference."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats

from minicnn import layers, ops
from tests.layers.test_augment import TARGETS
from tests.layers.test_color import CASES, f32

SHAPE = (1500, 12, 10, 3)  # many small images
MORE: dict[str, Any] = {  # of the layers that change places, and those without a table: as Keras keeps what was drawn
    "RandomBrightness": lambda ours, words, shape: {"rgb_delta": ours.shifts(words)[:, None, None]},
    "RandomContrast": lambda ours, words, shape: {"contrast_factor": ours.contrasts(words)[:, None, None]},
    "RandomTranslation": lambda ours, words, shape: {"translations": f32(np.stack(ours.shifts(words, shape[1:3])[::-1], 1))},
    "RandomZoom": lambda ours, words, shape: dict(zip(("height_zoom", "width_zoom"), map(f32, ours.zooms(words)))),
}
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("CutMix", {"factor": (0.3, 0.6)}),
    ("MixUp", {"alpha": 0.7}),
    ("RandomBrightness", {"factor": (-0.2, 0.4), "value_range": (-1, 1)}),
    ("RandomBrightness", {"factor": 0.3}),
    ("RandomColorDegeneration", {"factor": (0.2, 0.5)}),
    ("RandomContrast", {"factor": (0.1, 0.4)}),
    ("RandomContrast", {"factor": 0.3}),
    ("RandomErasing", {"factor": (0.2, 0.9), "scale": (0.1, 0.4)}),
    ("RandomGrayscale", {"factor": 0.2}),
    ("RandomHue", {"factor": (0.2, 0.6)}),
    ("RandomInvert", {"factor": (0.6, 0.8)}),
    ("RandomInvert", {"factor": 0.4}),
    ("RandomPerspective", {"factor": (0.6, 0.8), "scale": 0.4}),
    ("RandomPosterization", {"factor": (3, 6)}),
    ("RandomSaturation", {"factor": (0.2, 0.6)}),
    ("RandomSharpness", {"factor": (0.2, 0.7)}),
    ("RandomShear", {"x_factor": (0.1, 0.4), "y_factor": (0.2, 0.3)}),
    ("RandomShear", {"x_factor": 0.4, "y_factor": 0.3}),
    ("RandomTranslation", {"height_factor": (-0.1, 0.3), "width_factor": 0.2}),
    ("RandomZoom", {"height_factor": (-0.1, 0.3), "width_factor": (0.2, 0.4)}),
    ("Solarization", {"addition_factor": 0.3, "threshold_factor": 0.6}),
]


def numbers_of(transformation: Any) -> dict[str, np.ndarray]:
    """What was drawn, by name: of masks the share that they cover, of each image."""
    found = transformation if isinstance(transformation, dict) else {"chosen": transformation}
    arrays = {key: np.asarray(value, "float64") for key, value in found.items() if "order" not in key and "fill" not in key}
    if "apply_erasing" in arrays:
        arrays["batch_masks"] = arrays["batch_masks"] * arrays["apply_erasing"][:, None, None, None]
    return {
        key: value.reshape(len(value), -1).mean(axis=1, keepdims=True) if "masks" in key else value.reshape(len(value), -1)
        for key, value in arrays.items()
    }


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
def test_what_is_drawn_is_distributed_as_keras_s(name: str, arguments: dict[str, Any]) -> None:
    ours = getattr(layers, name)(**arguments, seed=3)
    theirs = getattr(keras.layers, name)(**arguments, seed=3)
    of_keras = (CASES[name][1] if name in CASES else MORE[name])(ours, ours.draw(SHAPE[0]), SHAPE)
    found, expected = numbers_of(of_keras), numbers_of(theirs.get_random_transformation(np.zeros(SHAPE, "float32")))
    compared = found.keys() & expected.keys()
    assert compared
    for key in compared:
        assert found[key].shape == expected[key].shape, key
        for ours_of_image, theirs_of_image in zip(found[key].T, expected[key].T, strict=True):
            assert scipy.stats.ks_2samp(ours_of_image, theirs_of_image).pvalue > 1e-3, key


def test_rotations_are_drawn_from_their_range() -> None:
    for factor, (low, high) in (((-0.1, 0.3), (-0.1, 0.3)), (0.2, (-0.2, 0.2))):
        layer = layers.RandomRotation(factor, seed=2)
        turns = np.asarray(layer.angles(layer.draw_words(1500))) / (2 * np.pi)
        assert scipy.stats.kstest(turns, scipy.stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_a_blur_is_drawn_from_its_range_for_each_axis() -> None:
    layer = layers.RandomGaussianBlur(factor=(0.5, 0.5), kernel_size=(1, 7), sigma=(0.6, 0.8), value_range=(-9, 9), seed=2)
    spots = np.zeros((200, 3, 9, 1), "float32")
    spots[:, 1, 4] = 1
    widths = []
    for _ in range(20):
        y = np.asarray(layer(spots, training=True))
        blurred = (y != spots).any(axis=(1, 2, 3))
        assert 60 < blurred.sum() < 140
        row = y[blurred][0, 1, :, 0]
        assert not np.delete(y, 1, axis=1).any()  # rows by a kernel of one
        np.testing.assert_allclose(row.sum(), 1, rtol=1e-5)
        widths.append((-0.5 / np.log(row[5] / row[4])) ** 0.5)
    assert 0.6 <= min(widths) < 0.63
    assert 0.77 < max(widths) <= 0.8


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.0, 1.0)])
def test_an_elastic_field_is_as_strong_as_keras_s(scale: tuple[float, float]) -> None:
    """alpha * sigma times the length of the kernel, which smooths the noise: of images that are no squares."""
    layer = layers.RandomElasticTransform(scale=scale, seed=4)
    like, (_, of_scale, keys) = np.zeros((60, 40, 80, 1), "float32"), layer.draw(60)
    alpha, sigma = keras.layers.RandomElasticTransform().get_elastic_transform_params(40, 80, scale[0] + 1e-6)
    places = np.arange(-int(3 * sigma), int(3 * sigma) + 1)
    kernel = np.exp(-0.5 * (places / sigma) ** 2)
    expected = alpha * sigma * ((kernel / kernel.sum()) ** 2).sum()
    for field in layer.fields(like, of_scale, keys):
        assert np.asarray(field)[:, 10:-10, 10:-10].std() == pytest.approx(expected, rel=0.1)


def test_an_elastic_transform_stays_within_the_range_of_values() -> None:
    x = TARGETS["numba"].uniform(0, 2, 12, 12, 3) * 300
    y = np.asarray(layers.RandomElasticTransform(value_range=(20, 200), seed=1)(x, training=True))
    assert (y.min(), y.max()) == (20, 200)


# --- layers with chance of other kinds ------------------------------------------------------------


def attended(scores_of: Any, **arguments: Any) -> Any:
    """A layer of attention, and what it is called with: values that are all one, so that y is the sum of the scores."""
    rows = np.random.default_rng(0).normal(size=(8, 5, 4)).astype("float32")
    if scores_of is layers.Attention:
        return layers.Attention(dropout=0.5, **arguments), ([rows, rows],)
    return layers.MultiHeadAttention(2, 4, dropout=0.5, **arguments), (rows, rows)


@pytest.mark.parametrize("kind", [layers.Attention, layers.MultiHeadAttention])
def test_scores_are_dropped_in_training_and_a_seed_says_which(kind: Any) -> None:
    layer, inputs = attended(kind, seed=3)
    still = np.asarray(layer(*inputs))
    np.testing.assert_array_equal(layer(*inputs, training=False), still)
    y = np.asarray(layer(*inputs, training=True))
    assert not np.allclose(y, still)
    for seed, same in ((3, True), (4, False)):
        again, _ = attended(kind, seed=seed)
        again(*inputs)
        again.set_weights(layer.get_weights())
        assert np.array_equal(again(*inputs, training=True), y) == same


def test_scores_of_attention_are_those_that_count() -> None:
    """As in Keras, which returns them after the dropout: (N, T, S)."""
    layer, (rows,) = attended(layers.Attention, seed=3)
    y, scores = layer(rows, training=True, return_attention_scores=True)
    np.testing.assert_allclose(y, np.asarray(scores) @ rows[1], rtol=1e-5, atol=1e-6)
    assert 0.3 < np.mean(np.asarray(scores) == 0) < 0.7
    theirs = keras.layers.Attention()(rows, return_attention_scores=True)
    for found, expected in zip(layer(rows, return_attention_scores=True), theirs):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_attention_with_dropout_computes_in_its_dtype() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 3, 4))
    layer = layers.Attention(dropout=0.5, dtype="float64", seed=1)
    layer.build([rows.shape, rows.shape])
    y = layer([rows, rows], training=True)
    assert np.asarray(y).dtype == "float64"
    _, scores = layer([rows, rows], training=False, return_attention_scores=True)
    weights = np.exp(rows @ rows.transpose(0, 2, 1))
    np.testing.assert_allclose(scores, weights / weights.sum(axis=-1, keepdims=True), rtol=1e-12)


def test_weights_of_one_attention_begin_apart() -> None:
    """Each projection has an initializer of its own, also where one with a seed was given: as Keras clones them."""
    layer = layers.MultiHeadAttention(2, 4)
    layer(*[np.zeros((1, 3, 8), "float32")] * 2)
    query, key, value = (np.asarray(dense.kernel) for dense in (layer.query_dense, layer.key_dense, layer.value_dense))
    assert not np.allclose(query, key)
    assert not np.allclose(key, value)


@pytest.mark.parametrize(
    ("make", "shape", "together"),
    [
        (lambda: layers.SpatialDropout2D(0.5, data_format="channels_first", seed=1), (3, 20, 4, 4), (2, 3)),
        (lambda: layers.AlphaDropout(0.5, noise_shape=(None, 1, 20), seed=1), (3, 4, 20), (1,)),
        (lambda: layers.Dropout(0.5, noise_shape=(3, 1, 20), seed=1), (3, 4, 20), (1,)),
    ],
)
def test_what_is_dropped_together(make: Any, shape: tuple[int, ...], together: tuple[int, ...]) -> None:
    y = np.asarray(make()(np.ones(shape, "float32"), training=True))
    first = np.min(y, axis=together, keepdims=True)
    np.testing.assert_array_equal(y, np.broadcast_to(first, shape))
    assert 0.3 < np.mean(first == first.min()) < 0.7


@pytest.mark.parametrize("name", ["add", "average", "maximum", "minimum", "multiply", "subtract", "concatenate", "dot"])
def test_functions_that_merge_are_keras_s(name: str) -> None:
    one, two = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    for named in ({}, *({"axis": 1} for _ in range(name == "concatenate")), *({"axes": 1} for _ in range(name == "dot"))):
        found = getattr(layers, name)([ops.convert_to_tensor(one), ops.convert_to_tensor(two)], **named)
        np.testing.assert_allclose(found, getattr(keras.layers, name)([one, two], **named), rtol=1e-4, atol=1e-5)
