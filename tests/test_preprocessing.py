"""`minicnn.preprocessing.image` against Keras's own functions, drawn with the same seed, and against SciPy."""

from __future__ import annotations

import io
import itertools
import re
import warnings

import keras.src.legacy.preprocessing.image as legacy
import keras.utils
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import config
from minicnn.config import set_random_seed
from minicnn.data import Dataset
from minicnn.layers import Conv2D, Dense, Flatten, Input
from minicnn.models import Sequential
from minicnn.preprocessing import alternating_flip, image, whitening_kernel

pytestmark = pytest.mark.filterwarnings("ignore:Please (import|use) `affine_transform`:DeprecationWarning")  # Keras's call


def picture(height=9, width=7, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, channels)).astype(np.float32)


LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}


class TestFunctions:
    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("random_rotation", (40,)),
            ("random_shift", (0.3, 0.2)),
            ("random_shear", (30,)),
            ("random_zoom", ((0.6, 1.5),)),
            ("random_zoom", ((1, 1),)),
        ],
    )
    @pytest.mark.parametrize("axes", [{}, LAST, {"row_axis": 1, "col_axis": 0, "channel_axis": 2}], ids=str)
    @pytest.mark.parametrize(
        "how",
        [{}, {"fill_mode": "constant", "cval": 9.0}, {"fill_mode": "reflect"}, {"fill_mode": "wrap", "interpolation_order": 0}],
        ids=str,
    )
    def test_geometry_is_keras_s(self, name, arguments, axes, how):
        x = picture() if axes else picture().transpose(2, 0, 1)
        for seed in range(3):
            np.random.seed(seed)
            expected = getattr(legacy, name)(x, *arguments, **axes, **how)
            np.random.seed(seed)
            ours = getattr(image, name)(x, *arguments, **axes, **how)
            assert ours.dtype == expected.dtype
            np.testing.assert_allclose(ours, expected, rtol=0, atol=255e-6)

    @settings(max_examples=60)
    @given(
        st.integers(1, 9),
        st.integers(1, 9),
        st.fixed_dictionaries(
            {},
            optional={
                "theta": st.floats(-180, 180),
                "tx": st.floats(-5, 5),
                "ty": st.floats(-5, 5),
                "shear": st.floats(-60, 60),
                "zx": st.floats(0.3, 3),
                "zy": st.floats(0.3, 3),
                "fill_mode": st.sampled_from(["nearest", "constant", "reflect", "wrap"]),
                "order": st.integers(0, 3),
            },
        ),
    )
    def test_affine_transform_over_drawn_parameters(self, height, width, parameters):
        x = picture(height, width, 2)
        expected = legacy.apply_affine_transform(x, **LAST, **parameters)
        np.testing.assert_allclose(image.apply_affine_transform(x, **LAST, **parameters), expected, rtol=0, atol=255e-5)

    def test_a_turn_and_a_shift_are_scipy_s(self):
        x = picture(8, 8)
        turned = scipy.ndimage.rotate(x, 90, axes=(0, 1), order=1)
        np.testing.assert_allclose(image.apply_affine_transform(x, theta=90, **LAST), turned, rtol=0, atol=255e-5)
        # x goes along the columns, in images whose rows come first: Keras's reading
        shifted = scipy.ndimage.shift(x, (1, -2, 0), order=1, mode="nearest")
        np.testing.assert_allclose(image.apply_affine_transform(x, tx=2, ty=-1, **LAST), shifted, rtol=0, atol=255e-5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"row_axis": 1, "col_axis": 1}, "must be distinct"),
            ({"row_axis": 3}, r"Invalid axis' indices: \{3\}"),
            ({"row_axis": 0, "col_axis": 2, "channel_axis": 1}, "first and last dimensions"),
            ({"fill_mode": "edge"}, "`fill_mode` must be one of .*Received: fill_mode='edge'"),
        ],
        ids=str,
    )
    def test_wrong_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            image.apply_affine_transform(picture(), theta=3, **arguments)
        with pytest.raises(ValueError, match=r"shape \(9, 7\)"):
            image.apply_affine_transform(picture()[..., 0], theta=3)

    @pytest.mark.parametrize("scale", [True, False])
    @pytest.mark.parametrize(
        "x",
        [
            *(picture(), picture(channels=1), picture() / 255, picture() - 300, picture() * 2),
            *((picture() - picture().min()) / 2, 255 - (picture() - picture().min()) / 2),  # from 0, and up to 255
        ],
    )
    def test_brightness_is_keras_s(self, x, scale):
        for seed in range(3):
            np.random.seed(seed)
            expected = legacy.random_brightness(x, (0.3, 1.8), scale)
            np.random.seed(seed)
            np.testing.assert_array_equal(image.random_brightness(x, (0.3, 1.8), scale), expected)
        np.testing.assert_array_equal(image.apply_brightness_shift(x, 0.5, scale), legacy.apply_brightness_shift(x, 0.5, scale))

    def test_channel_shift_and_flips_are_keras_s(self):
        x = picture()
        np.random.seed(1)
        expected = legacy.random_channel_shift(x, 50.0, channel_axis=2)
        np.random.seed(1)
        np.testing.assert_array_equal(image.random_channel_shift(x, 50.0, channel_axis=2), expected)
        for axis in range(3):
            np.testing.assert_array_equal(image.flip_axis(x, axis), legacy.flip_axis(x, axis))

    def test_pairs_are_asked_for(self):
        with pytest.raises(ValueError, match="`zoom_range` should be a tuple or list of two floats"):
            image.random_zoom(picture(), 0.5)
        with pytest.raises(ValueError, match="`brightness_range should be tuple or list of two floats"):
            image.random_brightness(picture(), (1, 2, 3))

    def test_one_seed_decides(self):
        def draw():
            set_random_seed(5)
            return image.random_rotation(picture(), 30, **LAST)

        np.testing.assert_array_equal(draw(), draw())


class TestFiles:
    @pytest.mark.parametrize(
        "x",
        [
            *(picture(), picture(channels=1), picture(channels=4), picture(channels=1) * 9, np.zeros((3, 3, 1))),
            *(picture().astype("uint8"), picture().astype("int16") - 100),
        ],
    )
    @pytest.mark.parametrize("scale", [True, False])
    def test_array_to_img_is_keras_s(self, x, scale):
        ours = image.array_to_img(x, scale=scale)
        with warnings.catch_warnings():  # Pillow deprecated the argument that Keras passes
            warnings.simplefilter("ignore")
            theirs = keras.utils.array_to_img(x, scale=scale)
        assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        array = image.img_to_array(ours)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, keras.utils.img_to_array(theirs))

    @pytest.fixture
    def path(self, tmp_path):
        image.save_img(tmp_path / "picture.png", picture(20, 30, 4))
        return tmp_path / "picture.png"

    @pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
    @pytest.mark.parametrize("keep_aspect_ratio", [False, True])
    @pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
    def test_load_img_is_keras_s(self, path, color_mode, keep_aspect_ratio, interpolation):
        for size in (None, (7, 11), (20, 30), (31, 8)):
            arguments = (color_mode, size, interpolation, keep_aspect_ratio)
            expected = keras.utils.load_img(path, *arguments)
            for source in (path, str(path), io.BytesIO(path.read_bytes())):
                np.testing.assert_array_equal(np.asarray(image.load_img(source, *arguments)), np.asarray(expected))

    def test_wrong_pictures(self, tmp_path, path):
        (tmp_path / "text.png").write_text("no picture")
        with pytest.raises(ValueError, match=r"text\.png cannot be read as a picture"):
            image.load_img(tmp_path / "text.png")
        with pytest.raises(FileNotFoundError):
            image.load_img(tmp_path / "none.png")
        with pytest.raises(TypeError, match="path should be path-like"):
            image.load_img(3)
        with pytest.raises(ValueError, match='color_mode must be "grayscale", "rgb", or "rgba"'):
            image.load_img(path, color_mode="cmyk")
        with pytest.raises(ValueError, match="Invalid interpolation method cubic"):
            image.load_img(path, target_size=(3, 3), interpolation="cubic")
        with pytest.raises(ValueError, match=r"rank 3 \(single image\). Got array with shape: \(9, 7\)"):
            image.array_to_img(picture()[..., 0])
        with pytest.raises(ValueError, match="Unsupported channel number: 2"):
            image.array_to_img(picture(channels=2))
        with pytest.raises(ValueError, match="Unsupported image shape"):
            image.img_to_array(np.zeros(3))
        with pytest.raises(ValueError, match="channels_last"):
            image.img_to_array(picture(), data_format="channels_first")

    def test_jpeg_has_no_transparency(self, tmp_path):
        with pytest.warns(UserWarning, match="does not support RGBA"):
            image.save_img(tmp_path / "a.jpg", picture(channels=4))
        assert image.load_img(tmp_path / "a.jpg").size == (7, 9)

    @pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
    def test_smart_resize_is_keras_s(self, interpolation):
        for shape in ((9, 7, 3), (2, 5, 12, 1)):
            x = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
            expected = keras.preprocessing.image.smart_resize(x, (6, 5), interpolation)
            np.testing.assert_allclose(image.smart_resize(x, (6, 5), interpolation), expected, rtol=0, atol=255e-5)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "uint8"])
    def test_types_are_those_asked_for(self, dtype):
        x = picture().astype("uint8")
        assert image.img_to_array(x, dtype=dtype).dtype == keras.utils.img_to_array(x, dtype=dtype).dtype == dtype
        if dtype == "float64":  # in float32 another number would be cut off
            x = np.array([0.0, 0.3, 0.7, 1.0])[None, :, None].repeat(3, 2) * 1e-3
            np.testing.assert_array_equal(image.array_to_img(x, dtype=dtype), keras.utils.array_to_img(x, dtype=dtype))

    @pytest.mark.parametrize("scale", [True, False])
    @pytest.mark.parametrize(("name", "file_format"), [("a.png", None), ("a.bmp", None), ("a.png", "bmp"), ("a.png", "JPG")])
    def test_save_img_is_keras_s(self, tmp_path, name, file_format, scale):
        for module, folder in ((image, "ours"), (keras.utils, "theirs")):
            (tmp_path / folder).mkdir()
            module.save_img(tmp_path / folder / name, picture(), file_format=file_format, scale=scale)
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
        memory = io.BytesIO()
        image.save_img(memory, picture(), file_format="png", scale=scale)
        np.testing.assert_array_equal(image.load_img(memory), image.array_to_img(picture(), scale=scale))
        image.save_img(tmp_path / "small.jpg", picture(40, 40), quality=5)
        image.save_img(tmp_path / "large.jpg", picture(40, 40), quality=95)
        assert (tmp_path / "small.jpg").stat().st_size < (tmp_path / "large.jpg").stat().st_size
        with pytest.raises(ValueError, match="incorrect rank"):
            image.smart_resize(np.zeros((3, 3)), (2, 2))


SETTINGS = {
    "nothing": {},
    "geometry": {
        "rotation_range": 30,
        "width_shift_range": 0.2,
        "height_shift_range": 0.1,
        "shear_range": 10,
        "zoom_range": 0.3,
    },
    "pixels": {"width_shift_range": 2, "height_shift_range": [-3, 1, 2]},
    "one pixel": {"width_shift_range": 1.0, "height_shift_range": [1.0]},
    "zoom pair": {"zoom_range": (0.5, 0.8), "fill_mode": "constant", "cval": 3.0, "interpolation_order": 0},
    "flips": {"horizontal_flip": True, "vertical_flip": True},
    "values": {"brightness_range": (0.5, 1.5), "channel_shift_range": 20.0, "rescale": 1 / 255},
    "each": {"samplewise_center": True, "samplewise_std_normalization": True, "preprocessing_function": lambda x: x + 1},
    "all": {
        "featurewise_center": True,
        "featurewise_std_normalization": True,
        "rotation_range": 20,
        "horizontal_flip": True,
        "rescale": 0.1,
    },
    "whitening": {"featurewise_center": True, "zca_whitening": True},
}
X = np.stack([picture(6, 6, seed=seed) for seed in range(10)])
Y = np.arange(10)


def assert_same_batches(ours, theirs, count):
    for a, b in itertools.islice(zip(ours, theirs, strict=True), count):
        a, b = ((p if isinstance(p, (tuple, list)) else (p,)) for p in (a, b))
        assert len(a) == len(b)
        for p, q in zip(a, b, strict=True):
            for inner, expected in zip(p, q, strict=True) if isinstance(p, list) else ((p, q),):
                assert inner.dtype == expected.dtype
                np.testing.assert_allclose(inner, expected, rtol=1e-5, atol=1e-3)


class TestFlow:
    @pytest.mark.parametrize("name", SETTINGS)
    @pytest.mark.parametrize("seed", [None, 4])
    def test_batches_are_keras_s(self, name, seed):
        """Two epochs and a bit, drawn from the same seed."""
        ours, theirs = image.ImageDataGenerator(**SETTINGS[name]), legacy.ImageDataGenerator(**SETTINGS[name])
        if name in ("all", "whitening"):
            ours.fit(X, augment=True, rounds=2, seed=1)
            theirs.fit(X, augment=True, rounds=2, seed=1)
        batches = []
        for generator in (ours, theirs):
            np.random.seed(11)
            batches.append(list(itertools.islice(generator.flow(X, Y, batch_size=4, seed=seed), 7)))
        assert_same_batches(*batches, 7)

    @pytest.mark.parametrize("seed", [None, 4])
    def test_by_index_as_fit_asks_for_them(self, seed):
        batches = []
        for module in (image, legacy):
            np.random.seed(11)
            flow = module.ImageDataGenerator(rotation_range=20).flow(X, Y, batch_size=4, seed=seed)
            batches.append([])
            for _ in range(2):
                batches[-1].extend(flow[index] for index in range(len(flow)))
                flow.on_epoch_end()
        assert len(batches[0]) == 6
        assert_same_batches(*batches, 6)
        with pytest.raises(ValueError, match="Asked to retrieve element 3, but the Sequence has length 3"):
            image.ImageDataGenerator().flow(X, batch_size=4)[3]

    @pytest.mark.parametrize("of", ["samplewise", "featurewise"])
    def test_pictures_of_next_to_no_contrast(self, of):
        settings = {f"{of}_center": True, f"{of}_std_normalization": True}
        faint = X / 255 * 1e-5
        ours, theirs = (module.ImageDataGenerator(**settings) for module in (image, legacy))
        for generator in (ours, theirs):
            generator.fit(faint)
        np.testing.assert_allclose(ours.standardize(faint[0].copy()), theirs.standardize(faint[0].copy()), rtol=1e-3, atol=1e-4)

    def test_one_image_is_transformed_as_in_keras(self):
        settings = {**SETTINGS["geometry"], **SETTINGS["flips"], **SETTINGS["values"]}
        generators = [module.ImageDataGenerator(**settings) for module in (image, legacy)]
        for seed in (1, None):
            found = []
            for generator in generators:
                np.random.seed(7)
                parameters = generator.get_random_transform((6, 8, 3), seed)
                found.append([parameters, generator.random_transform(picture(6, 8), seed)])
                found[-1].append(generator.apply_transform(picture(6, 8), parameters))
                found[-1].append(generator.standardize(picture(6, 8)))
            assert found[0][0] == found[1][0]
            for ours, theirs in zip(found[0][1:], found[1][1:]):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-3)

    @pytest.mark.parametrize("augment", [False, True])
    @pytest.mark.parametrize("rounds", [1, 3])
    @pytest.mark.parametrize("seed", [None, 2])
    def test_statistics_are_keras_s(self, augment, rounds, seed):
        settings = {"featurewise_center": True}
        settings |= {"zca_whitening": True, "zca_epsilon": 0.1} if rounds == 1 else {"featurewise_std_normalization": True}
        ours, theirs = (module.ImageDataGenerator(**settings, rotation_range=30) for module in (image, legacy))
        for generator in (ours, theirs):
            np.random.seed(3)
            generator.fit(X[:5], augment=augment, rounds=rounds, seed=seed)
        for name in ("mean", "std") if rounds > 1 else ("mean",):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5)
        np.testing.assert_allclose(ours.standardize(X[0].copy()), theirs.standardize(X[0].copy()), rtol=1e-3, atol=1e-3)

    def test_the_state_of_a_flow_comes_back(self):
        """Drawn by a seed: the rest of an epoch, in the order that it had."""
        flow = image.ImageDataGenerator(rotation_range=20).flow(X, Y, batch_size=4, seed=3)
        flow[0]
        state = flow.get_state()
        expected = [flow[1], flow[2], next(flow)]
        other = image.ImageDataGenerator(rotation_range=20).flow(X, Y, batch_size=4, seed=3)
        other.set_state(state)
        assert_same_batches([other[1], other[2], next(other)], expected, 3)
        other.set_state(state)
        other.on_epoch_end()
        again = image.ImageDataGenerator(rotation_range=20).flow(X, Y, batch_size=4, seed=3)
        again[0]
        again.on_epoch_end()
        np.testing.assert_array_equal(other.index_array, again.index_array)

    @pytest.mark.parametrize("dtype", ["float64", "float16"])
    def test_the_type_of_batches_is_the_one_asked_for(self, dtype):
        generators = [module.ImageDataGenerator(rescale=0.5, dtype=dtype) for module in (image, legacy)]
        assert_same_batches(*(generator.flow(X, Y, batch_size=4, shuffle=False) for generator in generators), 2)

    def test_what_comes_out(self):
        flow = image.ImageDataGenerator().flow
        assert next(flow(X, batch_size=3)).shape == (3, 6, 6, 3)
        x, y, w = next(flow(X, Y, sample_weight=Y * 2.0, batch_size=3))
        np.testing.assert_array_equal(y * 2, w)
        np.testing.assert_array_equal(x, X[y])
        (x, extra), y = next(flow((X, Y * 3), Y, batch_size=3))
        np.testing.assert_array_equal(extra, y * 3)
        assert len(flow(X, batch_size=3)) == 4
        in_order = flow(X, Y, batch_size=4, shuffle=False)
        assert [next(in_order)[1].tolist() for _ in range(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3]]
        next(in_order)
        in_order.reset()
        assert next(in_order)[1].tolist() == [0, 1, 2, 3]

    def test_labels_are_left_alone_and_the_source_too(self):
        before = X.copy()
        flow = image.ImageDataGenerator(rescale=2.0, preprocessing_function=lambda x: x - 1).flow(X, Y)
        x, y = next(flow)
        np.testing.assert_allclose(x, (X[y] - 1) * 2)
        np.testing.assert_array_equal(X, before)

    def test_the_global_generator_is_left_alone_with_a_seed(self):
        np.random.seed(3)
        expected = np.random.random()
        np.random.seed(3)
        next(image.ImageDataGenerator(rotation_range=3).flow(X, seed=1))
        assert np.random.random() == expected

    def test_subsets(self):
        labels = np.arange(10) % 2
        generators = image.ImageDataGenerator(validation_split=0.4), legacy.ImageDataGenerator(validation_split=0.4)
        for subset, count in (("training", 6), ("validation", 4)):
            ours, theirs = (g.flow(X, labels, shuffle=False, subset=subset) for g in generators)
            assert ours.n == count
            assert_same_batches(ours, theirs, 1)
            further, mine = np.arange(10) * 3, (slice(4, None) if subset == "training" else slice(4))
            (x, extra), y, weight = next(
                generators[0].flow((X, further), labels, shuffle=False, subset=subset, sample_weight=further + 1)
            )
            np.testing.assert_array_equal(x, X[mine])
            for array, expected in ((extra, further), (y, labels), (weight, further + 1)):
                np.testing.assert_array_equal(array, expected[mine])
        with pytest.raises(ValueError, match="different number of classes after the split"):
            generators[0].flow(X, np.arange(10) < 4, subset="training")
        generators[0].flow(X, np.arange(10) < 4, subset="training", ignore_class_split=True)
        with pytest.raises(ValueError, match="Invalid subset name: test"):
            generators[0].flow(X, Y, subset="test")

    def test_wrong_arguments(self):
        generator = image.ImageDataGenerator()
        with pytest.raises(ValueError, match=r"rank 4. You passed an array with shape \(6, 6, 3\)"):
            generator.flow(X[0])
        with pytest.raises(ValueError, match="should have the same length"):
            generator.flow(X, Y[:3])
        with pytest.warns(UserWarning, match=r"\(2 channels\)"):
            generator.flow(X[..., :2])
        for arguments, message in (
            ({"zoom_range": (1, 2, 3)}, "`zoom_range` should be"),
            ({"brightness_range": 0.5}, "`brightness_range should be"),
            ({"validation_split": 1.5}, "`validation_split` must be strictly between 0 and 1"),
            ({"data_format": "channels_first"}, "channels_last"),
        ):
            with pytest.raises(ValueError, match=message):
                image.ImageDataGenerator(**arguments)
        with pytest.raises(ValueError, match="should have rank 4"):
            generator.fit(X[0])

    @pytest.mark.parametrize("argument", ["featurewise_center", "featurewise_std_normalization", "zca_whitening"])
    def test_a_forgotten_fit_is_said(self, argument):
        generator = image.ImageDataGenerator(
            featurewise_center=True, **({argument: True} if argument != "featurewise_center" else {})
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            next(generator.flow(X))
        assert any(f"`{argument}`, but it hasn't been fit" in str(warning.message) for warning in caught)

    def test_overridden_settings_are_said(self):
        with pytest.warns(UserWarning, match="which overrides setting of `featurewise_center`"):
            assert image.ImageDataGenerator(featurewise_std_normalization=True).featurewise_center
        with pytest.warns(UserWarning, match="which overrides setting of `samplewise_center`"):
            assert image.ImageDataGenerator(samplewise_std_normalization=True).samplewise_center

    @pytest.mark.parametrize("source", ["arrays", "directory", "dataframe"])
    @pytest.mark.parametrize("save_format", [None, "jpeg"])
    def test_saving(self, tmp_path, folder, source, save_format):
        arguments = {"batch_size": 3, "shuffle": False, "save_to_dir": str(tmp_path), "save_prefix": "look"}
        arguments |= {"save_format": save_format} if save_format else {}
        generator = image.ImageDataGenerator()
        table = pd.DataFrame({"filename": [f"cats/{i}.png" for i in (0, 2, 3)], "class": ["a", "b", "b"]})
        if source == "arrays":
            flow = generator.flow(X, **arguments)
        elif source == "directory":
            flow = generator.flow_from_directory(folder, target_size=(6, 6), **arguments)
        else:
            flow = generator.flow_from_dataframe(table, folder, target_size=(6, 6), **arguments)
        next(flow)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert [name.split("_")[:2] for name in names] == [["look", "0"], ["look", "1"], ["look", "2"]]
        assert image.load_img(tmp_path / names[0]).size == (6, 6)
        assert {name.rpartition(".")[2] for name in names} == {save_format or "png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for name, count in (("cats", 5), ("dogs", 4)):
        (root / name / "more").mkdir(parents=True)
        for index in range(count):
            image.save_img(root / name / ("more" if index == 1 else "") / f"{index}.png", picture(8 + index, 9, seed=index))
    return root


class TestFlowFromFiles:
    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"class_mode": "binary", "color_mode": "grayscale"},
            {"class_mode": "sparse", "classes": ["dogs", "cats"], "interpolation": "bilinear"},
            {"class_mode": None, "color_mode": "rgba"},
            {"class_mode": "input", "keep_aspect_ratio": True},
            {"subset": "validation"},
            {"subset": "training", "shuffle": False},
            {"batch_size": 3, "shuffle": False},
            {"interpolation": "bilinear", "keep_aspect_ratio": True, "shuffle": False},
            {"seed": None, "shuffle": False, "class_mode": "binary"},
        ],
        ids=str,
    )
    def test_directory(self, folder, arguments, capsys):
        flows = []
        for module in (image, legacy):
            generator = module.ImageDataGenerator(rotation_range=10 * (arguments.get("seed", 2) or 0), validation_split=0.4)
            named = {"target_size": (6, 5), "batch_size": 4, "seed": 2, **arguments}
            flows.append(generator.flow_from_directory(str(folder), **named))
        ours, theirs = flows
        said = capsys.readouterr().out.splitlines()
        assert said[0] == said[1]
        assert ours.filenames == theirs.filenames
        assert ours.class_indices == theirs.class_indices
        assert (ours.samples, ours.num_classes, ours.image_shape) == (theirs.samples, theirs.num_classes, theirs.image_shape)
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        assert_same_batches(ours, theirs, 4)

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"class_mode": "binary"},
            {"class_mode": "sparse", "classes": ["cats", "dogs"]},
            {"class_mode": "categorical", "y_col": "several"},
            {"class_mode": "categorical", "classes": ["dogs"]},
            {"class_mode": "raw", "y_col": "number", "weight_col": "number"},
            {"class_mode": "multi_output", "y_col": ["number", "number"]},
            {"class_mode": None, "subset": "validation"},
            {"class_mode": "raw", "y_col": "number", "weight_col": "number", "subset": "training"},
            {"class_mode": "multi_output", "y_col": ["number", "number"], "weight_col": "number", "subset": "training"},
            {"class_mode": "categorical", "classes": ["dogs"], "weight_col": "number"},
            {"x_col": "again", "batch_size": 3, "shuffle": False},
            {"color_mode": "grayscale", "interpolation": "bilinear"},
            {"class_mode": "input", "validate_filenames": False},
        ],
        ids=str,
    )
    def test_dataframe(self, folder, arguments, capsys):
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
        kinds = [name.split("/")[0] for name in names]
        table = pd.DataFrame({"filename": names, "class": kinds, "number": np.arange(float(len(names)))})
        table["several"] = [[kind, "animals"] for kind in kinds]
        table["again"] = names[::-1]
        flows = []
        for module in (image, legacy):
            generator = module.ImageDataGenerator(validation_split=0.3)
            named = {"target_size": (6, 5), "batch_size": 4, "seed": 2, **arguments}
            flows.append(generator.flow_from_dataframe(table, str(folder), **named))
        said = capsys.readouterr().out.splitlines()
        assert said[0] == said[1]
        assert flows[0].filenames == flows[1].filenames
        assert_same_batches(*flows, 4)

    def test_a_table_without_a_generator(self, folder):
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
        table = pd.DataFrame({"filename": names})
        named = {"class_mode": None, "target_size": (6, 5), "batch_size": 4, "shuffle": False}
        flows = [module.DataFrameIterator(table, str(folder), **named) for module in (image, legacy)]
        assert_same_batches(*flows, 2)

    @pytest.mark.filterwarnings("ignore:Using .*tiff.* files with multiple bands")
    def test_files_of_every_ending_are_found_and_links_are_followed_if_told_to(self, tmp_path):
        endings = sorted({*legacy.Iterator.white_list_formats, *image.iterators._FORMATS, "txt", "PNG"})
        (tmp_path / "root" / "a").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        for number, ending in enumerate(endings):
            image.save_img(tmp_path / "root" / "a" / f"{number}.{ending}", picture(), file_format="png")
        image.save_img(tmp_path / "elsewhere" / "linked.png", picture())
        (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "elsewhere")
        for follow in (False, True):
            ours, theirs = (
                module.ImageDataGenerator().flow_from_directory(str(tmp_path / "root"), follow_links=follow)
                for module in (image, legacy)
            )
            assert sorted(ours.filenames) == sorted(theirs.filenames)
            assert any("linked" in name for name in ours.filenames) == follow

    def test_targets_that_are_the_input_may_be_written_to(self, folder):
        x, y = next(image.ImageDataGenerator().flow_from_directory(str(folder), target_size=(6, 5), class_mode="input"))
        np.testing.assert_array_equal(x, y)
        assert not np.shares_memory(x, y)

    def test_wrong_tables(self, folder):
        generator = image.ImageDataGenerator()
        table = pd.DataFrame({"filename": ["cats/0.png", "cats/none.png"], "class": ["a", "b"], "number": [1, 2]})
        with pytest.warns(UserWarning, match="Found 1 invalid image filename"):
            assert generator.flow_from_dataframe(table, folder).samples == 1
        with pytest.raises(TypeError, match="All values in column x_col=number must be strings"):
            generator.flow_from_dataframe(table, folder, x_col="number")
        with pytest.raises(TypeError, match="y_col must be a list"):
            generator.flow_from_dataframe(table, folder, class_mode="multi_output")
        with pytest.raises(TypeError, match="must be strings"):
            generator.flow_from_dataframe(table, folder, class_mode="binary", y_col="number", validate_filenames=False)
        with pytest.raises(ValueError, match=r"there must be 2 classes. Found 1"):
            generator.flow_from_dataframe(table.head(1), folder, class_mode="binary")

    def test_wrong_arguments(self, folder, tmp_path):
        generator = image.ImageDataGenerator()
        with pytest.raises(ValueError, match="Invalid class_mode: one-hot"):
            generator.flow_from_directory(folder, class_mode="one-hot")
        with pytest.raises(ValueError, match="Invalid color mode: cmyk"):
            generator.flow_from_directory(folder, color_mode="cmyk")
        with pytest.raises(FileNotFoundError):
            generator.flow_from_directory(tmp_path / "nowhere")
        with pytest.raises(ValueError, match="There are no images"):
            next(generator.flow_from_directory(tmp_path))


class TestAlternatingFlip:
    def seen(self, epoch, seed=0, n=400):
        """Whether each image is mirrored."""
        x = np.arange(2.0).reshape(1, 1, 2, 1).repeat(n, axis=0)
        return alternating_flip(x, np.arange(n), epoch, seed)[:, 0, 0, 0] == 1

    def test_each_image_is_mirrored_in_every_other_epoch(self):
        first = self.seen(0)
        assert 150 < first.sum() < 250
        for epoch in range(1, 5):
            np.testing.assert_array_equal(self.seen(epoch), first ^ (epoch % 2 == 1))
        assert 100 < (self.seen(0, seed=1) ^ first).sum() < 300
        assert scipy.stats.pearsonr(first[:-1], first[1:]).pvalue > 1e-3  # neighbours tell nothing of each other

    def test_the_hash_is_splitmix64(self):
        """Its first numbers from the seed 0: e220a839..., 6e789e6a..., 06c45d18..., f88bb8a8..., 1b39896a..."""
        np.testing.assert_array_equal(self.seen(0, n=5), [True, False, False, True, False])

    def test_an_image_s_number_counts_and_not_its_place(self):
        x = np.random.default_rng(0).integers(0, 255, (9, 4, 5, 3)).astype(np.uint8)
        order = np.random.default_rng(1).permutation(9)
        y = alternating_flip(x[order], order, 3, seed=2)
        np.testing.assert_array_equal(y, alternating_flip(x, np.arange(9), 3, seed=2)[order])
        assert y.dtype == np.uint8
        assert not np.shares_memory(y, x)
        mirrored = (y != x[order]).any(axis=(1, 2, 3))
        np.testing.assert_array_equal(y[mirrored], x[order][mirrored][:, :, ::-1])

    def test_a_pipeline_knows_the_epoch_of_fit(self):
        x, places = np.arange(2.0).reshape(1, 1, 2, 1).repeat(8, axis=0), np.arange(8)
        seen = []

        def flipped(places, x):
            y = alternating_flip(x, places)
            seen.append((places, y[:, 0, 0, 0]))
            return y, y[:, 0, 0]

        batches = Dataset.from_tensor_slices((places, x)).shuffle(8).batch(8).map(flipped)
        model = Sequential([Input((1, 2, 1)), Flatten(), Dense(1)])
        model.compile("sgd", "mse")
        seen.clear()
        model.fit(batches, epochs=3, verbose=0)
        for epoch, (order, left) in enumerate(seen[-3:]):
            np.testing.assert_array_equal(left == 1, self.seen(epoch, n=8)[order])

    def test_outside_of_a_fit_it_is_the_first_epoch(self):
        x, places = np.arange(64.0).reshape(16, 2, 2, 1), np.arange(16)
        np.testing.assert_array_equal(alternating_flip(x, places), alternating_flip(x, places, 0))
        assert (alternating_flip(x, places) != alternating_flip(x, places, 1)).any()

    def test_an_epoch_that_is_given_counts_within_a_fit_too(self):
        running = config.running_pass.set([1])
        try:
            first, second = self.seen(0), self.seen(1)
        finally:
            config.running_pass.reset(running)
        np.testing.assert_array_equal(first, self.seen(0))
        np.testing.assert_array_equal(second, ~first)

    def test_wrong_arguments(self):
        for images, indices in ((np.zeros((2, 3, 3)), [0, 1]), (np.zeros((2, 3, 3, 1)), [0])):
            with pytest.raises(ValueError, match=r"`images` must be \(N, H, W, C\), and `indices` \(N,\). Received"):
                alternating_flip(images, indices)


class TestWhiteningKernel:
    def images(self):
        """Neighbouring pixels and channels that are alike."""
        noise = np.random.default_rng(0).standard_normal((60, 12, 12, 3))
        smooth = scipy.ndimage.gaussian_filter(noise, (0, 1, 1, 0.5))
        return (smooth / smooth.std() + 0.5).astype(np.float32)

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_maps_are_uncorrelated_and_of_variance_1(self, size):
        x = self.images()
        kernel = whitening_kernel(x, size, epsilon=1e-8)
        assert kernel.shape == (size, size, 3, 2 * size * size * 3)
        layer = Conv2D(kernel.shape[-1], size, use_bias=False, trainable=False)
        layer.build((None, *x.shape[1:]))
        layer.set_weights([kernel])
        maps = np.asarray(layer(x)).reshape(-1, kernel.shape[-1])
        half = size * size * 3
        np.testing.assert_allclose(np.cov(maps[:, :half], rowvar=False), np.eye(half), atol=1e-2)
        np.testing.assert_array_equal(maps[:, half:], -maps[:, :half])
        few = whitening_kernel(x[:2, :4, :4], 1, epsilon=0, both_signs=False)[0, 0]  # over these pixels themselves
        np.testing.assert_allclose(np.cov(x[:2, :4, :4].reshape(-1, 3) @ few, rowvar=False, bias=True), np.eye(3), atol=1e-4)

    def test_filters_are_scikit_learn_s_whitened_components(self):
        from sklearn.decomposition import PCA

        x = self.images()
        patches = [x[:, i : i + 11, j : j + 11].reshape(-1, 3) for i in (0, 1) for j in (0, 1)]
        pca = PCA().fit(np.concatenate(patches, axis=1))
        kernel = whitening_kernel(x, 2, epsilon=0.1, both_signs=False).reshape(12, 12).T
        expected = pca.components_ / np.sqrt(pca.explained_variance_ + 0.1)[:, None]
        signs = np.sign((kernel * expected).sum(axis=1))
        np.testing.assert_allclose(kernel, expected * signs[:, None], rtol=1e-3, atol=1e-3)

    def test_what_are_no_images_is_refused(self):
        for shape in ((4, 4, 3), (2, 1, 4, 3), (0, 4, 4, 3)):
            with pytest.raises(ValueError, match=rf"patches of 2x2. Received shape {re.escape(str(shape))}"):
                whitening_kernel(np.zeros(shape))


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_pixels_as_networks_for_imagenet_expect_them(mode, data_format):
    from minicnn.applications import imagenet_utils

    images = np.random.default_rng(1).integers(0, 256, (2, 3, 5, 3)).astype("float32")  # either axis has three places
    expected = keras.applications.imagenet_utils.preprocess_input(images.copy(), data_format, mode)
    np.testing.assert_allclose(imagenet_utils.preprocess_input(images, data_format, mode), expected, rtol=1e-5, atol=1e-4)
    one = imagenet_utils.preprocess_input(images[0].astype("uint8"), data_format, mode)
    np.testing.assert_allclose(one, expected[0], rtol=1e-5, atol=1e-4)
    inputs = minicnn.Input((3, 5, 3))
    model = minicnn.Model(inputs, imagenet_utils.preprocess_input(inputs, data_format, mode))
    np.testing.assert_allclose(model(images), expected, rtol=1e-5, atol=1e-4)
    for wrong in ({"mode": "jax"}, {"data_format": "last"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            imagenet_utils.preprocess_input(images, **wrong)


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (None, None)])
@pytest.mark.parametrize("kernel_size", [3, (5, 3)])
def test_the_border_before_a_stride_of_two_is_keras(size, kernel_size):
    from keras.src.applications.imagenet_utils import correct_pad

    from minicnn.applications import imagenet_utils

    ours = imagenet_utils.correct_pad(minicnn.Input((*size, 3)), kernel_size)
    assert ours == correct_pad(keras.Input((*size, 3)), kernel_size)
