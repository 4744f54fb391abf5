"""Layers that change colors, erase, mix and distort, against Keras for the parameters that were drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn import layers, models
from minicnn.backends import ops
from minicnn.layers import augment, draws
from tests.drawn import drawn_cases
from tests.layers import test_augment
from tests.layers.checks import check_configs, pair_of
from tests.ops.checks import Target, seeds

TARGETS = test_augment.TARGETS  # for the fixture `target`
shapes = st.tuples(st.integers(1, 4), st.integers(2, 8), st.integers(2, 8), st.just(3))
Transformation = Callable[[Any, Any, tuple[int, ...]], Any]


def f32(values: Any) -> Any:
    return tf.constant(np.asarray(values), "float32")


def per_image(values: Any) -> Any:
    return f32(values)[:, None, None, None]


def erased(ours: Any, drawn: Any, shape: tuple[int, ...]) -> Any:
    words, key = drawn
    top, bottom, left, right = f32(ours.boxes(words, shape[1:3])).numpy().T
    theirs = keras.layers.RandomErasing()
    return {
        "apply_erasing": tf.constant(draws.within(words[:, 4:], ours.factor)),
        "batch_masks": theirs._generate_batch_mask(shape, (left, right, top, bottom)),
        "fill_value": tf.constant(ours.fill(np.zeros(shape, "float32"), key)),
    }


def cut(ours: Any, words: Any, shape: tuple[int, ...]) -> Any:
    top, bottom, left, right = f32(ours.boxes(words, shape[1:3])).numpy().T
    masks, weight = keras.layers.CutMix()._generate_batch_mask(shape, (left, right, top, bottom))
    return {"permutation_order": draws.permutation(words[:, 0]), "batch_masks": masks, "mix_weight": weight}


def seen_from_elsewhere(ours: Any, words: Any, shape: tuple[int, ...]) -> Any:
    H, W = shape[1:3]
    start = np.array([[0, 0], [W - 1, 0], [0, H - 1], [W - 1, H - 1]], "float32")
    return {
        "apply_perspective": tf.constant(draws.within(words, ours.factor)),
        "start_points": f32(start[None].repeat(shape[0], 0)),
        "end_points": f32(ours.corners(words, (H, W))),
    }


# Arguments, and Keras's transformation of what was drawn.
CASES: dict[str, tuple[dict[str, Any], Transformation]] = {
    "AutoContrast": ({}, lambda ours, words, shape: None),
    "ContrastLimitedAdaptiveHistogramEqualization": (
        {"tile_grid_size": (2, 3), "clip_limit": 3.0},
        lambda ours, words, shape: None,
    ),
    "CutMix": ({"factor": (0.3, 1)}, cut),
    "Equalization": ({"bins": 64}, lambda ours, words, shape: None),
    "MixUp": (
        {"alpha": 0.4},
        lambda ours, words, shape: {
            "mix_weight": f32(ours.own_shares(words)),
            "permutation_order": draws.permutation(words[:, 0]),
        },
    ),
    "RandomColorDegeneration": (
        {"factor": 0.8},
        lambda ours, words, shape: {"factor": per_image(ours.shares(words))},
    ),
    "RandomErasing": ({"factor": (0.2, 1), "scale": (0.1, 0.9)}, erased),
    "RandomGaussianBlur": (
        {"factor": 0.9, "kernel_size": 5, "sigma": (0.2, 1)},
        lambda ours, words, shape: {
            "should_apply_blur": tf.constant(draws.within(words[0], ours.factor)),
            "blur_factor": f32((draws.uniform(words[1], *ours.sigma) + 1e-6)[::-1]),  # Keras: of the columns first
        },
    ),
    "RandomGrayscale": ({}, lambda ours, words, shape: tf.constant(ours.chosen(words))[:, None, None, None]),
    "RandomHue": ({"factor": (0.1, 0.9)}, lambda ours, words, shape: {"factor": f32(ours.shifts(words))}),
    "RandomInvert": ({"factor": 0.8}, lambda ours, words, shape: {"apply_inversion": tf.constant(ours.chosen(words))}),
    "RandomPerspective": ({"scale": 0.6, "fill_value": 0.25}, seen_from_elsewhere),
    "RandomPosterization": (
        {"factor": (1, 8)},
        lambda ours, words, shape: {"shift_factor": tf.constant((8 - ours.bits(words)).astype("uint8"))},
    ),
    "RandomSaturation": ({"factor": 0.7}, lambda ours, words, shape: {"factor": f32(ours.factors(words))}),
    "RandomSharpness": (
        {"factor": (0.1, 0.9)},
        lambda ours, words, shape: {"factor": f32((1 - ours.shares(words)) / 2)},
    ),
    "RandomShear": (
        {"x_factor": (0.1, 0.4), "y_factor": (0, 0.3)},
        lambda ours, words, shape: {"shear_factor": f32(np.stack(ours.shears(words), 1))},
    ),
    "Solarization": (
        {"addition_factor": 0.5, "threshold_factor": (0.2, 0.7)},
        lambda ours, words, shape: {
            name: per_image(level) for name, level in zip(("additions", "thresholds"), ours.levels(words))
        },
    ),
}
SCIPY = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap", "mirror": "mirror"}
WITHOUT_A_RANGE = ("CutMix", "MixUp", "RandomGrayscale", "RandomPerspective", "RandomShear")
WITH_KERNELS = ("AutoContrast", "RandomErasing", "RandomHue", "RandomShear")
WITHOUT_CHANCE = ("AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "Equalization")


def pair_of_case(name: str, target: Target, bounds: tuple[int, int], seed: int) -> tuple[Any, Any]:
    arguments = dict(CASES[name][0])
    if name not in WITHOUT_A_RANGE:
        arguments["value_range"] = bounds
    if name not in WITHOUT_CHANCE:
        arguments["seed"] = seed
    return pair_of(name, target, **arguments)


@pytest.mark.parametrize("name", CASES)
@drawn_cases(100)
@given(shape=shapes, bounds=st.sampled_from([(0, 1), (0, 255), (-1, 1)]), seed=seeds)
def test_transformation_equals_keras(
    target: Target, name: str, shape: tuple[int, ...], bounds: tuple[int, int], seed: int
) -> None:
    if target.backend != "reference" and name not in WITH_KERNELS:
        pytest.skip("the reference's lines")
    ours, theirs = pair_of_case(name, target, bounds, seed)
    x = target.uniform(seed, *shape) * (bounds[1] - bounds[0]) + bounds[0]
    drawn = None if name in WITHOUT_CHANCE else ours.draw(shape[0])
    expected = theirs.transform_images(tf.constant(x), CASES[name][1](ours, drawn, shape))
    target.check(np.asarray(ours.augment(x, drawn)), expected)


@pytest.mark.parametrize("name", CASES)
def test_configs(target: Target, name: str) -> None:
    check_configs(*pair_of_case(name, target, (0, 255), 3))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("AugMix", {"num_chains": 2, "factor": (0.1, 0.4), "all_ops": False, "seed": 3}),
        ("RandAugment", {"value_range": (0, 1), "num_ops": 3, "factor": 0.4, "seed": 3}),
        ("RandomColorJitter", {"brightness_factor": 0.2, "hue_factor": (0.1, 0.2), "seed": 3}),
        ("RandomElasticTransform", {"factor": 0.5, "scale": (0.2, 0.7), "fill_mode": "mirror", "seed": 3}),
    ],
)
def test_configs_of_the_others(target: Target, name: str, arguments: dict[str, Any]) -> None:
    check_configs(*pair_of(name, target, **arguments))


@pytest.mark.parametrize("name", [*CASES, "RandAugment", "AugMix", "RandomColorJitter", "RandomElasticTransform"])
def test_channels_first_and_integers(target: Target, name: str) -> None:
    """The same pictures, whatever the order of the axes; and of whole numbers, which become floats."""
    images = (np.random.default_rng(0).random((4, 6, 5, 3)) * 255).astype("uint8")

    def made(**arguments: Any) -> Any:
        seeded = {} if name in WITHOUT_CHANCE else {"seed": 3}
        fill = {"fill_value": 7} if name == "RandomErasing" else {}
        return getattr(layers, name)(
            **(CASES[name][0] if name in CASES else test_augment.RANDOM[name]) | seeded | fill | arguments
        )

    y, of_floats = np.asarray(made()(images)), np.asarray(made()(images.astype("float32")))
    assert y.dtype == "float32"
    np.testing.assert_array_equal(y, of_floats)
    first = np.asarray(made(data_format="channels_first")(images.transpose(0, 3, 1, 2)))
    target.check(np.ascontiguousarray(first.transpose(0, 2, 3, 1)), y)


def test_color_jitter_of_given_strength_equals_keras(target: Target) -> None:
    arguments = {"brightness_factor": (0.2, 0.2), "contrast_factor": (0.3, 0.3), "saturation_factor": (0.4, 0.4)}
    ours, theirs = pair_of("RandomColorJitter", target, **arguments)
    x = target.uniform(1, 3, 5, 6, 3) * 255
    expected = np.asarray(theirs(x))
    # Keras draws its contrast between 1 - lower and 1 + upper, as we do: 0.7 to 1.3.
    words = ours.draw(3)
    words[1][:] = 2**31
    middle = np.asarray(ours.augment(x, words))
    steps = [layers.RandomBrightness((0.2, 0.2)), layers.RandomSaturation((0.4, 0.4))]
    for step in steps:
        x = np.asarray(step(x))
    target.check(middle, x)
    assert expected.shape == middle.shape


@drawn_cases(100)
@given(shape=shapes, mode=st.sampled_from(sorted(SCIPY)), bilinear=st.booleans(), seed=seeds)
def test_displacement_equals_scipy(target: Target, shape: tuple[int, ...], mode: str, bilinear: bool, seed: int) -> None:
    x = target.normal(seed, *shape)
    down, right = ((target.normal(seed + i, *shape[:3]) * 4) + 1 / 64 for i in (1, 2))
    oy, ox = np.mgrid[: shape[1], : shape[2]].astype("float32")
    expected = np.empty_like(x)
    for n in range(shape[0]):
        for c in range(3):
            places = [oy + down[n], ox + right[n]]
            expected[n, :, :, c] = scipy.ndimage.map_coordinates(
                x[n, :, :, c], places, order=int(bilinear), mode=SCIPY[mode], cval=0.5
            )
    target.check(ops.displace2d(x, down, right, int(bilinear), augment.FILL_MODES[mode], 0.5), expected)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.5])
def test_drawn_numbers_have_their_distribution(alpha: float) -> None:
    words = np.random.default_rng(5).integers(0, 2**32, (4000, draws.BETA_WORDS), np.uint32)
    if alpha >= 0.2:  # below, too many are so near to 1 that they are rounded to it
        weights = draws.beta(words, alpha)
        assert scipy.stats.kstest(weights, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    gamma = draws.log_gamma(words[:, : draws.GAMMA_WORDS], alpha)
    expected = scipy.stats.loggamma(alpha)
    assert scipy.stats.kstest(gamma, expected.cdf).pvalue > 1e-3


def test_permutations_are_permutations_and_all_of_them() -> None:
    words = np.random.default_rng(6).integers(0, 4, (2000, 3), np.uint32)  # many ties
    found = {tuple(draws.permutation(row).tolist()) for row in words}
    assert found == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}


def test_labels_are_mixed_as_the_images_are(target: Target) -> None:
    """Images of one value each, so that what comes out says how much of which image there is."""
    values = np.arange(1, 9, dtype="float32")
    images = np.broadcast_to(values[:, None, None, None], (8, 40, 50, 1)).copy()
    for layer, tolerance in ((layers.MixUp(alpha=1.0, seed=2), 1e-5), (layers.CutMix(seed=2), 0.4)):
        mixed = layer({"images": images, "labels": np.eye(8, dtype="float32"), "name": "kept"})
        assert mixed["name"] == "kept"
        labels = np.asarray(mixed["labels"])
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        assert (labels < 0.999).any()
        np.testing.assert_allclose(labels @ values, np.asarray(mixed["images"]).mean(axis=(1, 2, 3)), atol=tolerance)
        alone = layer({"images": images[0], "labels": np.eye(8, dtype="float32")[0]})
        np.testing.assert_allclose(alone["images"], images[0])
        np.testing.assert_allclose(alone["labels"], np.eye(8)[0])
        still = layer({"images": images, "labels": values}, training=False)
        np.testing.assert_array_equal(still["images"], images)


def test_a_cut_is_as_large_as_the_label_says() -> None:
    layer = layers.CutMix(seed=2)
    words = layer.draw_words(200)
    top, bottom, left, right = layer.boxes(words, (300, 200)).T
    np.testing.assert_allclose((bottom - top) * (right - left) / (300 * 200), 1 - layer.own_shares(words), atol=0.02)


GEOMETRY: dict[str, dict[str, Any]] = {
    "CenterCrop": {"height": 5, "width": 4},
    "CutMix": {},
    "RandAugment": {"factor": 0.0},
    "RandomCrop": {"height": 5, "width": 4},
    "RandomElasticTransform": {"interpolation": "nearest"},
    "RandomFlip": {},
    "RandomPerspective": {"interpolation": "nearest"},
    "RandomRotation": {"factor": 0.3, "interpolation": "nearest"},
    "RandomShear": {"x_factor": (0.1, 0.5), "interpolation": "nearest"},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.2, "interpolation": "nearest"},
    "RandomZoom": {"height_factor": 0.4, "interpolation": "nearest"},
    "Resizing": {"height": 5, "width": 4, "interpolation": "nearest"},
}


@pytest.mark.parametrize("name", [name for name in GEOMETRY if name != "RandAugment"])
@pytest.mark.parametrize("training", [True, False])
def test_masks_move_with_their_images(target: Target, name: str, training: bool) -> None:
    masks = np.random.default_rng(1).integers(0, 5, (4, 9, 8, 1))
    seeded = {} if name in ("CenterCrop", "Resizing") else {"seed": 3}
    layer = getattr(layers, name)(**GEOMETRY[name], **seeded)
    given = {"images": masks.astype("float32"), "segmentation_masks": masks, "labels": [1, 2, 3, 4]}
    moved = layer(given, training=training)
    if training or name in ("CenterCrop", "Resizing"):
        np.testing.assert_array_equal(moved["segmentation_masks"], moved["images"])
    assert np.asarray(moved["segmentation_masks"]).dtype == masks.dtype
    assert np.asarray(moved["segmentation_masks"]).shape == np.asarray(moved["images"]).shape
    if name != "CutMix":
        np.testing.assert_array_equal(moved["labels"], [1, 2, 3, 4])


def test_rand_augment_takes_all_its_layers_and_moves_masks(target: Target) -> None:
    layer = layers.RandAugment(num_ops=1, seed=1)
    x = target.uniform(1, 2, 6, 7, 3) * 255
    chosen = [layer.draw(2) for _ in range(200)]
    assert {type(step).__name__ for [(step, _)] in chosen} == {type(getattr(layer, name)).__name__ for name in layer._names}
    for drawn in chosen[:20]:
        [(step, words)] = drawn
        np.testing.assert_array_equal(layer.augment(x, drawn), step.augment(x, words))
        unmoved = np.array_equal(layer.augment_masks(x, drawn), x)
        assert unmoved or isinstance(step, (layers.RandomRotation, layers.RandomShear, layers.RandomTranslation))


def test_aug_mix_mixes_with_weights_that_sum_to_one(target: Target) -> None:
    x = target.uniform(1, 3, 6, 7, 3) * 255
    np.testing.assert_allclose(layers.AugMix(chain_depth=0, seed=1)(x), x, rtol=1e-5)
    layer = layers.AugMix(num_chains=4, seed=1)
    chains, shares, own = layer.draw(3)
    assert len(chains) == 4
    assert all(len(chain) <= 3 for chain in chains)
    np.testing.assert_allclose(shares.sum(), 1)
    assert 0 < own[0] < 1
    y = np.asarray(layer(x))
    assert y.min() >= 0
    assert y.max() <= 255


def test_pipeline_equals_its_layers(target: Target) -> None:
    x = target.uniform(1, 4, 6, 7, 3) * 255

    def parts() -> list[Any]:
        return [layers.RandomFlip(seed=1), layers.RandomErasing(seed=2), layers.Rescaling(1 / 255)]

    expected: Any = x
    for layer in parts():
        expected = layer(expected, training=True)
    pipeline = layers.Pipeline(parts())
    np.testing.assert_array_equal(pipeline(x), expected)
    again = layers.deserialize(layers.serialize(pipeline))
    np.testing.assert_array_equal(again(x), expected)
    whole = layers.Pipeline(parts()[:2])({"images": x, "labels": [1, 2, 3, 4]})
    np.testing.assert_allclose(whole["images"] / 255, expected, rtol=1e-6)
    np.testing.assert_array_equal(whole["labels"], [1, 2, 3, 4])
    assert keras.layers.deserialize(layers.serialize(pipeline)).layers[1].seed == 2
    still = pipeline(x, training=False)
    np.testing.assert_allclose(still, x / 255, rtol=1e-6)
    assert pipeline.compute_output_shape((None, 6, 7, 3)) == (None, 6, 7, 3)
    learned = layers.Pipeline([layers.Dense(4), layers.Dense(2)])
    y, saved = learned.forward(x[:, 0, 0], True) if learned.build((None, 3)) is None else (None, None)
    _, grads = learned.backward(np.ones_like(y), saved)
    assert [grad.shape for grad in grads] == [weight.shape for weight in learned.weights]
    with pytest.raises(ValueError, match="must contain a `layers` key"):
        layers.Pipeline.from_config({"name": "p"})


def test_augmentation_in_a_model_trains_and_travels_to_keras_and_back(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((16, 8, 8, 3)).astype("float32")
    names = ["RandAugment", "RandomErasing", "MixUp", "RandomGrayscale"]
    ranged = {"value_range": (0, 1)}
    steps = [
        getattr(layers, name)(seed=4, **(ranged if name.startswith("Rand") and name != names[3] else {})) for name in names
    ]
    model = models.Sequential([layers.Input((8, 8, 3)), *steps, layers.Flatten(), layers.Dense(2)])
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, np.zeros((16, 2)), batch_size=8, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    theirs = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(theirs.predict(x, verbose=0), expected, atol=1e-5)
    theirs.save(tmp_path / "back.keras")
    back = models.load_model(tmp_path / "back.keras")
    np.testing.assert_allclose(back.predict(x, verbose=0), expected, atol=1e-6)
    for mine, its in zip(model.layers[:4], models.load_model(tmp_path / "model.keras").layers[:4]):
        np.testing.assert_array_equal(mine.generator.state.numpy(), its.generator.state.numpy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomErasing(fill_value="a"), "`fill_value` argument should be a number"),
        (lambda: layers.RandomErasing(scale=2), r"`scale` argument should be a number .* Received: scale=2"),
        (lambda: layers.AutoContrast(value_range=(0, 1, 2)), "`value_range` argument should be a list of two numbers"),
        (lambda: layers.RandomGaussianBlur(kernel_size=4), "kernel_size must be an odd number. Received: kernel_size=4"),
        (lambda: layers.RandomGrayscale(factor=2), "`factor` should be between 0 and 1. Received: factor=2"),
        (lambda: layers.RandomPerspective(scale=3), r"`scale` argument should be a number"),
        (lambda: layers.RandomPosterization(0), r"in the range \[1, 8\]"),
        (lambda: layers.RandomShear(-0.1), r"`x_factor` argument should be a number"),
        (lambda: layers.Solarization(addition_factor=2), "`addition_factor` argument should be a number"),
        (lambda: layers.RandomElasticTransform(fill_mode="none"), "Unknown `fill_mode` none"),
        (lambda: layers.RandomColorDegeneration(0.5)(np.zeros((2, 4, 4, 1))), "must have 3 channels"),
        (lambda: layers.RandomHue(0.5)(np.zeros((2, 4, 4, 1))), "must have 3 channels"),
        (lambda: layers.MixUp()({"images": layers.Input((4, 4, 3)), "labels": layers.Input((2,))}), "layer takes images alone"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()


def test_masks_take_the_nearest_pixel_where_images_are_blended() -> None:
    masks = np.random.default_rng(1).integers(0, 2, (4, 9, 8, 1)) * 7
    for layer in (layers.RandomRotation(0.3, seed=3), layers.RandomPerspective(scale=0.5, seed=3)):
        moved = layer({"images": masks.astype("float32"), "segmentation_masks": masks}, training=True)
        assert set(np.unique(moved["segmentation_masks"])) == {0, 7}
        assert len(np.unique(moved["images"])) > 2


def test_what_is_erased_has_the_value_that_was_given_within_the_range() -> None:
    x = np.full((20, 8, 8, 3), 100.0, "float32")
    y = np.asarray(layers.RandomErasing(factor=(1, 1), scale=(0.2, 0.5), fill_value=(300, -5, 7), seed=1)(x, training=True))
    changed = y[(y != 100).any(axis=-1)]
    np.testing.assert_array_equal(np.unique(changed, axis=0), [[255, 0, 7]])
    widths = (y[..., 0] != 100).any(axis=1).sum(axis=1) / 8
    assert (widths > 0.2**0.5 - 0.2).all()
    assert (widths < 0.5**0.5 + 0.2).all()


@pytest.mark.parametrize("given", ["brightness", "contrast", "saturation", "hue"])
def test_each_part_of_a_color_jitter_is_its_layer(target: Target, given: str) -> None:
    x = target.uniform(1, 5, 6, 7, 3) * 255
    jitter = layers.RandomColorJitter(**{f"{given}_factor": (0.2, 0.5)}, seed=3)
    part = getattr(layers, f"Random{given.title()}")((0.2, 0.5), seed=3)
    np.testing.assert_array_equal(jitter(x, training=True), part(x, training=True))


def test_a_color_jitter_goes_from_brightness_to_hue(target: Target) -> None:
    x = target.uniform(1, 3, 5, 6, 3) * 255
    names = ("brightness", "contrast", "saturation", "hue")
    jitter = layers.RandomColorJitter(**{f"{name}_factor": (0.5, 0.9) for name in names}, seed=3)
    words = jitter.draw(3)
    expected = x
    for name, of_layer in zip(names, words, strict=True):
        expected = getattr(layers, f"Random{name.title()}")((0.5, 0.9)).augment(expected, of_layer)
    np.testing.assert_array_equal(jitter.augment(x, words), expected)


def test_a_blur_has_its_kernel_s_rows_and_columns() -> None:
    """A kernel of one row and five columns blurs along rows alone; Keras's has the same shape."""
    x = np.zeros((1, 7, 7, 3), "float32")
    x[0, 3, 3] = 1
    y = np.asarray(layers.RandomGaussianBlur(factor=(1, 1), kernel_size=(1, 5), sigma=(1, 1), seed=1)(x, training=True))
    assert (y[0, 3, 1:6] > 0).all()
    assert not np.delete(y[0], 3, axis=0).any()


def test_a_range_of_values_may_be_given_from_above(target: Target) -> None:
    for name in ("RandomBrightness", "AutoContrast", "RandomPosterization"):
        first = {} if name == "AutoContrast" else {"factor": 5 if name == "RandomPosterization" else 0.3}
        ours, theirs = pair_of(name, target, **first, value_range=(255, 0))
        assert ours.get_config()["value_range"] == list(theirs.get_config()["value_range"]) == [0, 255]


@pytest.mark.parametrize("name", WITHOUT_CHANCE)
def test_layers_without_chance_change_in_inference_what_keras_s_change(name: str) -> None:
    x = np.random.default_rng(4).uniform(20, 200, (2, 16, 16, 3)).astype("float32")
    ours, theirs = getattr(layers, name)(), getattr(keras.layers, name)()
    for training in (False, True):
        y, expected = np.asarray(ours(x, training=training)), np.asarray(theirs(x, training=training))
        np.testing.assert_allclose(y, expected, atol=1.5)  # a range of values of the histogram
        assert np.allclose(expected, x) == (name == "Equalization" and not training)
