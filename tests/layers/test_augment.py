"""Augmentation against TensorFlow, Keras and SciPy, for the parameters that were drawn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn import backends, config, layers
from minicnn.backends import ops
from tests.drawn import drawn_cases
from tests.layers.checks import check_configs, pair_of
from tests.ops.checks import Target, seeds

# Both in float32, in which TensorFlow resizes and takes its matrices.
TARGETS = {"numba": Target("numba", "float32"), "reference": Target("reference", "float32")}
FILL_MODES = {"constant": 0, "nearest": 1, "reflect": 2, "wrap": 3}
some_cases = drawn_cases(50)

images = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3, 4]))
factors = st.floats(-0.875, 0.875, width=16)
ranges = st.one_of(factors.map(abs), st.tuples(factors, factors))
fill_modes = st.sampled_from(["constant", "nearest", "reflect"])


def exact_matrices(seed: int, N: int, dtype: str) -> np.ndarray:
    """Maps whose places are odd multiples of 1/128: exact in float32, and never halfway between pixels."""
    random = np.random.default_rng(seed)
    turns = random.integers(-96, 97, (N, 2, 2)) / 64
    shifts = (2 * random.integers(-500, 500, (N, 2, 1)) + 1) / 128
    return np.concatenate([turns, shifts], axis=2).reshape(N, 6).astype(dtype)


@drawn_cases(200)
@given(shape=images, OH=st.integers(1, 8), OW=st.integers(1, 8), fill_mode=fill_modes, bilinear=st.booleans(), seed=seeds)
def test_affine_warp2d_equals_tensorflow(
    target: Target, shape: tuple[int, ...], OH: int, OW: int, fill_mode: str, bilinear: bool, seed: int
) -> None:
    x, matrices = target.normal(seed, *shape), exact_matrices(seed, shape[0], target.dtype)
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=np.concatenate([matrices, np.zeros((shape[0], 2), "float32")], axis=1),
        output_shape=(OH, OW),
        fill_value=0.75,
        interpolation="BILINEAR" if bilinear else "NEAREST",
        fill_mode=fill_mode.upper(),
    )
    target.check(ops.affine_warp2d(x, matrices, (OH, OW), int(bilinear), FILL_MODES[fill_mode], 0.75), expected)


@drawn_cases(200)
@given(shape=images, mode=st.sampled_from(list(FILL_MODES)), bilinear=st.booleans(), seed=seeds)
def test_affine_warp2d_equals_scipy(target: Target, shape: tuple[int, ...], mode: str, bilinear: bool, seed: int) -> None:
    """SciPy interpolates past the border to its constant as we do; it calls our wrap "grid-wrap"."""
    N, H, W, C = shape
    x, matrices = target.normal(seed, *shape), exact_matrices(seed, N, target.dtype)
    oy, ox = np.mgrid[:H, :W]
    expected = np.empty_like(x)
    for n, (a0, a1, a2, b0, b1, b2) in enumerate(matrices):
        places = [b0 * ox + b1 * oy + b2, a0 * ox + a1 * oy + a2]
        for c in range(C):
            expected[n, :, :, c] = scipy.ndimage.map_coordinates(
                x[n, :, :, c],
                places,
                order=int(bilinear),
                mode={"constant": "grid-constant", "wrap": "grid-wrap"}.get(mode, mode),
                cval=0.75,
            )
    target.check(target.ops.affine_warp2d(x, matrices, (H, W), int(bilinear), FILL_MODES[mode], 0.75), expected)


@drawn_cases(200)
@given(
    shape=images,
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    interpolation=st.sampled_from(["bilinear", "nearest"]),
    fit=st.sampled_from([{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True, "fill_value": 0.5}]),
    seed=seeds,
)
def test_resizing_equals_keras(
    target: Target, shape: tuple[int, ...], height: int, width: int, interpolation: str, fit: dict[str, Any], seed: int
) -> None:
    ours, theirs = pair_of("Resizing", target, height=height, width=width, interpolation=interpolation, **fit)
    check_configs(ours, theirs)
    x = target.normal(seed, *shape)
    target.check(np.asarray(ours(x)), theirs(x))
    assert ours.compute_output_shape((None, *shape[1:])) == theirs.compute_output_shape((None, *shape[1:]))
    np.testing.assert_array_equal(ours(x[0]), ours(x)[0])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_resizing_by_wider_filters_equals_keras(target: Target, interpolation: str, antialias: bool) -> None:
    x = target.normal(3, 2, 9, 12, 3)
    for height, width, fit in ((5, 16, {}), (4, 3, {"crop_to_aspect_ratio": True}), (20, 7, {"pad_to_aspect_ratio": True})):
        arguments: dict[str, Any] = {"interpolation": interpolation, "antialias": antialias, **fit}
        ours, theirs = pair_of("Resizing", target, height=height, width=width, **arguments)
        check_configs(ours, theirs)
        # TensorFlow takes the weights of "bicubic" without antialias from a table of 1024 places.
        tolerance = 5e-3 if (interpolation, antialias) == ("bicubic", False) else 1e-5
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=tolerance)


@some_cases
@given(shape=images, height=st.integers(1, 9), width=st.integers(1, 9), seed=seeds)
def test_center_crop_equals_keras(target: Target, shape: tuple[int, ...], height: int, width: int, seed: int) -> None:
    ours, theirs = pair_of("CenterCrop", target, height=height, width=width)
    check_configs(ours, theirs)
    x = target.normal(seed, *shape)
    for training in (True, False):
        target.check(np.asarray(ours(x, training=training)), theirs(x, training=training))
    assert ours.compute_output_shape(shape) == theirs.compute_output_shape(shape)


@some_cases
@given(shape=images, factor=ranges, fill_mode=fill_modes, seed=seeds)
def test_rotation_equals_keras(target: Target, shape: tuple[int, ...], factor: Any, fill_mode: str, seed: int) -> None:
    ours, theirs = pair_of("RandomRotation", target, factor=factor, fill_mode=fill_mode, fill_value=0.5, seed=seed)
    check_configs(ours, theirs)
    x, words = target.normal(seed, *shape), ours.draw_words(shape[0])
    none = np.zeros(shape[0], "float32")
    matrices = theirs._compute_affine_matrix(
        center_x=0.5,
        center_y=0.5,
        angle=tf.constant(np.rad2deg(ours.angles(words)), "float32"),
        translate_x=none,
        translate_y=none,
        scale=none + 1,
        shear_x=none,
        shear_y=none,
        height=shape[1],
        width=shape[2],
    )
    target.check(ours.augment(x, words), theirs.transform_images(x, {"rotation_matrix": matrices}))


@some_cases
@given(shape=images, height=ranges, width=st.one_of(st.none(), ranges), fill_mode=fill_modes, seed=seeds)
def test_zoom_equals_keras(target: Target, shape: tuple[int, ...], height: Any, width: Any, fill_mode: str, seed: int) -> None:
    ours, theirs = pair_of("RandomZoom", target, height_factor=height, width_factor=width, fill_mode=fill_mode, seed=seed)
    check_configs(ours, theirs)
    x, words = target.normal(seed, *shape), ours.draw_words(shape[0])
    rows, columns = (tf.constant(zoom[:, None], "float32") for zoom in ours.zooms(words))
    transformation = {"height_zoom": rows, "width_zoom": columns, "input_shape": shape}
    target.check(ours.augment(x, words), theirs.transform_images(x, transformation))


@pytest.mark.parametrize("width", [None, (-0.1, 0.3)])
def test_zoom_keeps_proportions_unless_it_has_a_factor_for_each_axis(target: Target, width: Any) -> None:
    layer = layers.RandomZoom((-0.2, 0.4), width, seed=3)
    rows, columns = (np.asarray(zooms) for zooms in layer.zooms(layer.draw_words(3000)))
    low, high = (-0.2, 0.4) if width is None else width
    for zooms, ends in ((rows, (0.8, 1.4)), (columns, (1 + low, 1 + high))):
        np.testing.assert_allclose([zooms.min(), zooms.max()], ends, atol=2e-3)
        assert ends[0] <= zooms.min()
        assert zooms.max() <= ends[1]
    if width is None:
        np.testing.assert_array_equal(rows, columns)
    else:
        assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.1


@some_cases
@given(shape=images, height=ranges, width=ranges, fill_mode=fill_modes, seed=seeds)
def test_translation_equals_keras(
    target: Target, shape: tuple[int, ...], height: Any, width: Any, fill_mode: str, seed: int
) -> None:
    ours, theirs = pair_of(
        "RandomTranslation", target, height_factor=height, width_factor=width, fill_mode=fill_mode, seed=seed
    )
    check_configs(ours, theirs)
    x, words = target.normal(seed, *shape), ours.draw_words(shape[0])
    down, right = ours.shifts(words, shape[1:3])
    transformation = {"translations": tf.constant(np.stack([right, down], 1), "float32"), "input_shape": shape}
    target.check(ours.augment(x, words), theirs.transform_images(x, transformation))


@some_cases
@given(shape=images, factor=ranges, seed=seeds)
def test_brightness_equals_keras(target: Target, shape: tuple[int, ...], factor: Any, seed: int) -> None:
    ours, theirs = pair_of("RandomBrightness", target, factor=factor, value_range=(-2, 1), seed=seed)
    check_configs(ours, theirs)
    x, words = target.uniform(seed, *shape) * 3 - 2, ours.draw_words(shape[0])
    deltas = tf.constant(ours.shifts(words)[:, None, None], "float32")
    target.check(ours.augment(x, words), theirs.transform_images(tf.constant(x), {"rgb_delta": deltas}))


@some_cases
@given(shape=images, factor=st.floats(0, 1, width=16), seed=seeds)
def test_contrast_equals_keras(target: Target, shape: tuple[int, ...], factor: float, seed: int) -> None:
    ours, theirs = pair_of("RandomContrast", target, factor=factor, value_range=(-2, 1), seed=seed)
    check_configs(ours, theirs)
    x, words = target.uniform(seed, *shape) * 3 - 2, ours.draw_words(shape[0])
    contrasts = tf.constant(ours.contrasts(words)[:, None, None], "float32")
    target.check(ours.augment(x, words), theirs.transform_images(tf.constant(x), {"contrast_factor": contrasts}))


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flips_mirror_about_half_of_the_images(target: Target, mode: str) -> None:
    ours, theirs = pair_of("RandomFlip", target, mode=mode, seed=5)
    check_configs(ours, theirs)
    x = target.normal(0, 400, 3, 4, 2)
    y = np.asarray(ours(x))
    mirrored = {
        "none": x,
        "across": x[:, :, ::-1],
        "along": x[:, ::-1],
        "both": x[:, ::-1, ::-1],
    }
    counts = {name: int((y == image).all(axis=(1, 2, 3)).sum()) for name, image in mirrored.items()}
    possible = {"horizontal": ["none", "across"], "vertical": ["none", "along"]}.get(mode, list(mirrored))
    assert sum(counts.values()) == 400
    assert sum(counts[name] for name in possible) == 400
    for name in possible:  # 5 standard deviations of a binomial distribution
        share = 1 / len(possible)
        assert abs(counts[name] - 400 * share) < 5 * (400 * share * (1 - share)) ** 0.5


def test_half_of_the_images_are_sheared_the_other_way() -> None:
    """Along both axes: Keras multiplies both factors by one sign."""
    layer = layers.RandomShear(x_factor=(0.1, 0.4), y_factor=(0.2, 0.3), seed=5)
    across, along = layer.shears(layer.draw_words(400))
    np.testing.assert_array_equal(np.sign(across), np.sign(along))
    assert abs((across < 0).sum() - 200) < 50  # 5 standard deviations


def test_crops_are_windows_at_all_places(target: Target) -> None:
    ours, theirs = pair_of("RandomCrop", target, height=2, width=3, seed=3)
    check_configs(ours, theirs)
    x = np.arange(4 * 5, dtype=target.dtype).reshape(1, 4, 5, 1).repeat(300, axis=0)
    y = np.asarray(ours(x))
    tops, lefts = np.divmod(y[:, 0, 0, 0].astype(int), 5)
    for image, top, left in zip(y, tops, lefts):
        np.testing.assert_array_equal(image, x[0, top : top + 2, left : left + 3])
    assert set(zip(tops.tolist(), lefts.tolist())) == {(top, left) for top in range(3) for left in range(3)}
    # In inference the largest central window of that aspect ratio, resized: Keras says so, and Resizing does it.
    resizing = keras.layers.Resizing(2, 3, crop_to_aspect_ratio=True)
    target.check(np.asarray(ours(x[:2], training=False)), resizing(x[:2]))
    target.check(np.asarray(ours(x[:2, :1])), resizing(x[:2, :1]))


RANDOM: dict[str, dict[str, Any]] = {
    "AugMix": {},
    "RandAugment": {},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {"brightness_factor": 0.3, "contrast_factor": 0.4, "saturation_factor": 0.4, "hue_factor": 0.3},
    "RandomElasticTransform": {"scale": (0.5, 1)},
    "RandomCutout": {"height_factor": (0.3, 0.5), "width_factor": 0.5},
    "RandomErasing": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.4},
    "RandomInvert": {},
    "RandomPerspective": {"scale": 0.5},
    "RandomPosterization": {"factor": 5},
    "RandomSaturation": {"factor": (0.1, 0.4)},
    "RandomSharpness": {"factor": 0.7},
    "RandomShear": {"x_factor": (0.1, 0.4), "y_factor": (0, 0.3)},
    "Solarization": {"addition_factor": 0.5, "threshold_factor": 0.7},
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.2},
    "RandomZoom": {"height_factor": 0.3},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": (-0.1, 0.2)},
    "RandomBrightness": {"factor": 0.3},
    "RandomContrast": {"factor": 0.5},
}


@pytest.mark.parametrize("class_name", RANDOM)
def test_random_layers(target: Target, class_name: str) -> None:
    """Called alone they augment; in inference they do not; a seed decides; an image's draw is its own."""
    x = target.uniform(1, 6, 8, 9, 3) * 255
    layer = getattr(layers, class_name)(seed=4, **RANDOM[class_name])
    first, second = np.asarray(layer(x)), np.asarray(layer(x, training=True))
    assert first.shape == x.shape
    assert not np.array_equal(first, x)
    assert not np.array_equal(first, second)
    y, saved = layer.forward(x, False)
    assert y is x
    assert layer.backward(y, saved) == (y, ())
    config = layer.get_config() | {"seed": 4}  # which Keras leaves out of RandomGrayscale's
    again = type(layer).from_config(config)
    np.testing.assert_array_equal(again(x), first)
    if class_name not in ("AugMix", "RandAugment"):  # in which Equalization looks at all images of a batch
        np.testing.assert_array_equal(again(x[:2]), second[:2])
        single = type(layer).from_config(config)
        np.testing.assert_array_equal(single(x[0]), first[0])
    with pytest.raises(ValueError, match="rank 3"):
        type(layer).from_config(layer.get_config())(x[0, 0])
    y, saved = layer.forward(x, True)
    with pytest.raises(NotImplementedError, match="no gradient with respect to its images"):
        layer.backward(y, saved)


@pytest.mark.parametrize("class_name", RANDOM)
def test_same_stream_on_every_backend_and_thread_count(class_name: str) -> None:
    x = TARGETS["numba"].uniform(1, 16, 12, 12, 3) * 255
    before = backends.backend()

    def augmented(backend: str, threads: int) -> np.ndarray:
        backends.set_backend(backend)
        threads_before = backends.get_num_threads()
        backends.set_num_threads(threads)
        try:
            return np.asarray(getattr(layers, class_name)(seed=7, **RANDOM[class_name])(x))
        finally:
            backends.set_num_threads(threads_before)

    try:
        one = augmented("numba", 1)
        np.testing.assert_array_equal(augmented("numba", 2), one)
        TARGETS["reference"].check(augmented("reference", 1), one)
    finally:
        backends.set_backend(before)


def test_whole_pixels_over_a_reflected_border(target: Target) -> None:
    """A factor of (p + 1/2) / size: all (2 p + 1)^2 shifts alike often, over the border of `np.pad(mode="reflect")`."""
    p, (N, H, W, C) = 2, (500, 7, 9, 2)
    x = target.uniform(0, 1, H, W, C).repeat(N, axis=0)
    layer = layers.RandomTranslation((p + 0.5) / H, (p + 0.5) / W, fill_mode="mirror", interpolation="nearest", seed=3)
    y = np.asarray(layer(x, training=True))
    padded = np.pad(x[0], [(p, p), (p, p), (0, 0)], mode="reflect")
    crops = [padded[i : i + H, j : j + W] for i in range(2 * p + 1) for j in range(2 * p + 1)]
    counts = [int((y == crop).all(axis=(1, 2, 3)).sum()) for crop in crops]
    assert sum(counts) == N
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert layer.get_config()["fill_mode"] == "mirror"


@pytest.mark.parametrize(("size", "before", "behind"), [(4, 2, 1), (3, 1, 1)])
def test_cutout_is_a_square_about_any_pixel(target: Target, size: int, before: int, behind: int) -> None:
    """DeVries & Taylor 2017: of fixed size, its middle anywhere, so that less of it may be seen."""
    N, H, W = 800, 8, 6
    x = 1 + target.uniform(0, N, H, W, 2)
    y = np.asarray(layers.RandomCutout((size / H, size / H), (size / W, size / W), fill_value=-7, seed=5)(x, training=True))
    hidden = (y == -7).all(axis=3)
    np.testing.assert_array_equal(np.where(hidden[..., None], x, y), x)
    rows, columns = hidden.any(axis=2), hidden.any(axis=1)
    np.testing.assert_array_equal(hidden, rows[:, :, None] & columns[:, None, :])
    for extent, seen in ((H, rows), (W, columns)):  # from some before the middle to some behind it, as far as there are pixels
        pixels = np.arange(extent)
        possible = [tuple((place - before <= pixels) & (pixels <= place + behind)) for place in range(extent)]
        counts = [sum(tuple(one) == shown for one in seen) for shown in possible]
        assert sum(counts) == N
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    smaller = np.asarray(layers.RandomCutout(0.5, (0.5, 1), seed=5)(x, training=True) == 0).all(axis=3)
    assert {int(n) for n in smaller.any(axis=2).sum(axis=1)} == {0, 1, 2, 3, 4}
    with pytest.raises(ValueError, match=r"`width_factor` argument should be a number .* Received: width_factor=2"):
        layers.RandomCutout(0.5, 2)


def test_one_global_seed_decides(target: Target) -> None:
    x = target.uniform(0, 4, 6, 6, 3)

    def drawn() -> np.ndarray:
        config.set_random_seed(11)
        return np.asarray(layers.RandomRotation(0.3)(x))

    np.testing.assert_array_equal(drawn(), drawn())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomRotation(2), r"`factor` argument should be a number .* Received: factor=2"),
        (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), "list of two numbers"),
        (lambda: layers.RandomRotation(0.1, fill_mode="mirror"), "Unknown `fill_mode` mirror"),
        (lambda: layers.RandomZoom(0.1, interpolation="cubic"), "Unknown `interpolation` cubic"),
        (lambda: layers.RandomZoom((-1, -1)), "shows no pixel"),
        (lambda: layers.RandomTranslation("a", 0.1), "`height_factor` argument should be a number"),
        (lambda: layers.RandomFlip("diagonal"), "`mode` must be 'horizontal'"),
        (lambda: layers.RandomFlip(data_format="NCHW"), "`data_format` argument must be one of"),
        (lambda: layers.RandomContrast(-0.5), r"in the range \[0, 1\]"),
        (lambda: layers.RandomBrightness(0.1, value_range=1), "`value_range` argument should be a list of two numbers"),
        (lambda: layers.Resizing(0, 2), "`height` must be a positive integer"),
        (lambda: layers.Resizing(2, 2, interpolation="lanczos4"), "interpolation=lanczos4"),
        (lambda: layers.Resizing(2, 2, fill_mode="reflect"), "Only `'constant'` is supported"),
        (lambda: layers.Resizing(2, 2, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "Only one of"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()
