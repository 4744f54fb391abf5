"""Keras's `utils`: equal to Keras's own where both answer, and clear where ours refuses."""

from __future__ import annotations

import hashlib
import io
import random
import re
import tarfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minicnn
from minicnn import backend as K
from minicnn import config, layers, models, utils
from minicnn.data import Dataset


@settings(max_examples=100, deadline=None)
@given(
    labels=hnp.arrays(
        st.sampled_from(["int32", "uint8", "float32"]), hnp.array_shapes(max_dims=3, max_side=4), elements=st.integers(0, 4)
    ),
    classes=st.sampled_from([None, 5, 7]),
)
def test_to_categorical_is_keras_s(labels, classes):
    ours, theirs = utils.to_categorical(labels, classes), keras.utils.to_categorical(labels, classes)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("labels", [3, [1, 2], [[1], [2]], [[[1]]]])
def test_to_categorical_takes_numbers_and_lists(labels):
    np.testing.assert_array_equal(utils.to_categorical(labels), keras.utils.to_categorical(labels))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 2]])
def test_to_categorical_refuses_labels_out_of_range(labels):
    message = f"expects class numbers from 0 to 2 (num_classes=3). Received values from {min(labels)} to {max(labels)}"
    with pytest.raises(ValueError, match=re.escape(message)):
        utils.to_categorical(labels, 3)


def test_to_categorical_of_nothing():
    assert utils.to_categorical([], 3).shape == (0, 3)
    with pytest.raises(ValueError, match="cannot infer `num_classes` from an empty `x`"):
        utils.to_categorical([])


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_normalize_is_keras_s(axis, order):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    x[0, 1] = 0
    np.testing.assert_allclose(utils.normalize(x, axis, order), keras.utils.normalize(x, axis, order), rtol=1e-12)


def test_normalize_along_the_first_axis():
    x = np.array([[3.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(x, 0), [[0.6, 0.0], [0.8, 0.0]], rtol=1e-15)


def test_set_random_seed_seeds_everything():
    def draw():
        utils.set_random_seed(7)
        layer = layers.Dense(3)
        layer.build((None, 2))
        return random.random(), np.random.rand(), layer.get_weights()[0].tolist()

    assert draw() == draw()
    with pytest.raises(
        ValueError, match=r"Expected `seed` argument to be an integer.*Received: seed=abc \(of type <class 'str'>\)"
    ):
        utils.set_random_seed("abc")


def test_clear_session_starts_names_again():
    utils.clear_session()
    first = [layers.Dense(1).name, layers.Dense(1).name]
    utils.clear_session()
    assert first == ["dense", "dense_1"] == [layers.Dense(1).name, layers.Dense(1).name]


class Doubling(layers.Layer):
    def forward(self, x, training):
        return 2 * x, None


def test_custom_objects_are_known_inside_a_scope_only():
    config = utils.serialize_keras_object(Doubling(name="twice"))
    assert config["class_name"] == "Doubling"
    assert config["registered_name"] == "Doubling"
    with pytest.raises(ValueError, match="Unknown object: 'Doubling'"):
        utils.deserialize_keras_object(config)
    with utils.custom_object_scope({"Doubling": Doubling}):
        assert utils.deserialize_keras_object(config).name == "twice"
    assert isinstance(utils.deserialize_keras_object(config, custom_objects={"Doubling": Doubling}), Doubling)
    with pytest.raises(ValueError, match="Unknown object: 'Doubling'"):
        utils.deserialize_keras_object(config)


def test_registered_classes_are_found_by_package_and_name():
    @utils.register_keras_serializable(package="tests", name="Twice")
    class Mine(Doubling):
        pass

    class Heir(Mine):
        pass

    try:
        assert utils.get_registered_name(Mine) == "tests>Twice"
        assert utils.get_registered_name(Heir) == "Heir"  # what is registered is the class, not its heirs
        assert utils.get_registered_object("tests>Twice") is Mine
        assert utils.get_registered_object("tests>Nothing") is None
        config = utils.serialize_keras_object(Mine())
        assert config["registered_name"] == "tests>Twice"
        assert type(utils.deserialize_keras_object(config)) is Mine
    finally:
        del utils.get_custom_objects()["tests>Twice"]


def test_only_classes_with_a_config_can_be_registered():
    with pytest.raises(ValueError, match=r"Cannot register a class that does not have a get_config\(\) method."):
        utils.register_keras_serializable()(type("Nothing", (), {}))


def test_layer_configs_are_keras_s():
    """What we serialize, Keras deserializes; what Keras serializes, we do."""
    for make in (
        lambda module: module.layers.Conv2D(
            4, 3, strides=2, padding="same", activation="relu", kernel_regularizer="l2", name="a"
        ),
        lambda module: module.layers.BatchNormalization(momentum=0.9, name="b"),
        lambda module: module.layers.Dropout(0.3, seed=5, name="c"),
    ):
        import minicnn

        ours, theirs = make(minicnn), make(keras)
        back = keras.saving.deserialize_keras_object(utils.serialize_keras_object(ours))
        assert back.get_config() == theirs.get_config()
        again = utils.deserialize_keras_object(keras.saving.serialize_keras_object(theirs))
        assert again.get_config() == ours.get_config()


@pytest.mark.parametrize("name", ["__lambda__", "function"])
def test_no_config_runs_code(name):
    config = {"class_name": name, "config": "os.system", "module": "builtins", "registered_name": "function"}
    with pytest.raises(ValueError, match=r"disallowed by default|minicnn loads none|Unknown object"):
        utils.deserialize_keras_object(config)


def test_what_a_file_cannot_hold_cannot_be_serialized():
    with pytest.raises(ValueError, match="A lambda cannot be serialized"):
        utils.serialize_keras_object(lambda x: x)
    with pytest.raises(TypeError, match="Cannot serialize object"):
        utils.serialize_keras_object(object())


def test_pictures_are_read_as_keras_reads_them(tmp_path):
    path = tmp_path / "picture.png"
    utils.save_img(path, np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8))
    ours, theirs = (lib.img_to_array(lib.load_img(path, target_size=(4, 6))) for lib in (utils, keras.utils))
    assert ours.shape == (4, 6, 3)
    np.testing.assert_array_equal(ours, theirs)
    assert utils.array_to_img(ours).size == (6, 4)
    assert utils.image_dataset_from_directory.__name__ == keras.utils.image_dataset_from_directory.__name__


def test_keras_tensors_are_told_from_arrays():
    assert utils.is_keras_tensor(layers.Input((3,)))
    assert not utils.is_keras_tensor(np.zeros(3))


@pytest.mark.parametrize("parts", [(1,), ([1],), (1, 2), (1, 2, 3)])
def test_batches_are_packed_and_unpacked_as_keras_does(parts):
    packed = utils.pack_x_y_sample_weight(*parts)
    assert packed == keras.utils.pack_x_y_sample_weight(*parts)
    assert utils.unpack_x_y_sample_weight(packed) == tuple(keras.utils.unpack_x_y_sample_weight(packed))
    with pytest.raises(ValueError, match="Data is expected to be in format"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))


# --- backend, as older programs import it ---------------------------------------------


def test_backend_is_keras_s_module_and_names_ours():
    assert minicnn.backend is K
    assert minicnn.backend() == K() == K.backend() in ("numba", "reference", "loops", "cupy")
    assert K.image_data_format() == "channels_last"
    assert K.epsilon() == config.epsilon()
    assert K.floatx() == "float32"
    assert K.int_shape(layers.Input((4, 5, 3))) == (None, 4, 5, 3)
    assert K.ndim(np.zeros((2, 3))) == 2
    assert K.count_params(np.zeros((2, 3))) == 6
    assert K.standardize_dtype(np.float64) == "float64"
    assert (K.is_float_dtype("int32"), K.is_int_dtype("uint8"), K.is_float_dtype(None)) == (False, True, True)
    assert K.cast_to_floatx([1, 2]).dtype == "float32"
    layer = layers.Dense(2)
    layer.build((None, 3))
    K.set_value(layer.kernel, np.ones((3, 2)))
    np.testing.assert_array_equal(K.get_value(layer.kernel), np.ones((3, 2)))
    assert K.get_value(3) == 3
    K.clear_session()
    assert layers.Dense(1).name == "dense"


def test_backend_sets_what_config_does():
    try:
        K.set_floatx("float64")
        K.set_epsilon(1e-3)
        K.set_image_data_format("channels_first")
        assert (config.floatx(), config.epsilon(), config.image_data_format()) == ("float64", 1e-3, "channels_first")
    finally:
        K.set_floatx("float32")
        K.set_epsilon(1e-7)
        K.set_image_data_format("channels_last")


def test_older_names_of_functions_of_tensors():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(K.sqrt(K.sum(K.square(x), axis=-1, keepdims=True)), lengths, rtol=1e-5)
    np.testing.assert_allclose(K.pow(x, 2), x**2, rtol=1e-5)
    np.testing.assert_array_equal(K.permute_dimensions(x, (1, 0)), x.T)
    np.testing.assert_array_equal(K.argmax(x), x.argmax(-1))
    np.testing.assert_array_equal(K.argmin(x), x.argmin(-1))
    np.testing.assert_array_equal(K.concatenate([x, x]), np.concatenate([x, x], -1))
    assert (K.expand_dims(x).shape, K.flatten(x).shape, K.batch_flatten(np.zeros((2, 3, 4))).shape) == (
        (3, 4, 1),
        (12,),
        (2, 12),
    )
    np.testing.assert_array_equal(K.gather(x, np.array([2, 0])), x[[2, 0]])
    np.testing.assert_allclose(K.l2_normalize(x, axis=1), x / lengths, rtol=1e-5)
    assert K.random_normal((2, 3)).shape == K.random_uniform((2, 3), 0.0, 2.0).shape == (2, 3)
    assert K.relu(layers.Input((3,))).shape == (None, 3)
    with pytest.raises(AttributeError, match="no attribute 'get_session'"):
        K.get_session()


def test_optimizers_have_their_older_names():
    assert isinstance(minicnn.optimizers.rmsprop(lr=1e-4, decay=1e-6), minicnn.optimizers.RMSprop)
    assert minicnn.optimizers.adadelta is minicnn.optimizers.Adadelta


def test_a_layer_takes_the_values_of_its_weights():
    weights = [np.full((3, 2), 0.5, "float32"), np.ones(2, "float32")]
    model = models.Sequential([layers.Input((3,)), layers.Dense(2, weights=weights)])
    for found, value in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, value)
    with pytest.raises(ValueError, match="expecting 2 weights"):
        layers.Dense(2, weights=weights[:1])(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("x", "y", "axes"),
    [
        ((2, 3), (2, 3), None),
        ((2, 3), (2, 3, 4), None),
        ((2, 4, 3), (2, 3, 5), None),
        ((2, 4, 3), (2, 3), (2, 1)),
        ((2, 4, 3), (2, 5, 3), 2),
        ((2, 4, 3, 5), (2, 3, 6), (2, -2)),
        ((2, 3, 4, 5), (2, 6, 4, 3), (1, 3)),
    ],
)
def test_batch_dot(x, y, axes):
    random = np.random.default_rng(0)
    x, y = random.standard_normal(x), random.standard_normal(y)
    np.testing.assert_allclose(K.batch_dot(x, y, axes), keras.src.legacy.backend.batch_dot(x, y, axes), rtol=1e-12)
    inputs = minicnn.Input(x.shape[1:]), minicnn.Input(y.shape[1:])
    model = minicnn.Model(inputs, K.batch_dot(*inputs, axes))
    np.testing.assert_allclose(model.predict([x, y], verbose=0), K.batch_dot(x, y, axes), rtol=1e-4, atol=1e-5)


def test_batch_dot_refuses_axes_that_do_not_fit():
    x, y = np.zeros((2, 3, 4)), np.zeros((2, 5, 4))
    for axes in ((1, 1), (0, 0)):
        with pytest.raises(ValueError, match=r"axes of one size, none of them the batch's. Received: axes="):
            K.batch_dot(x, y, axes)
    with pytest.raises(ValueError, match="at least two axes"):
        K.batch_dot(np.zeros(2), x)


def test_tensorflow_s_names_with_arguments_of_its_own():
    import tensorflow as tf

    x = np.random.default_rng(0).random((2, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(minicnn.image.rgb_to_yuv(x), tf.image.rgb_to_yuv(x), atol=1e-6)
    np.testing.assert_allclose(minicnn.image.yuv_to_rgb(x), tf.image.yuv_to_rgb(x), atol=1e-5)
    named = {"sizes": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "rates": [1, 1, 1, 1], "padding": "VALID"}
    np.testing.assert_array_equal(minicnn.image.extract_patches(x, **named), tf.image.extract_patches(x, **named))
    for arguments in ({"start": 5}, {"start": 1, "limit": 8, "delta": 3}):
        np.testing.assert_array_equal(minicnn.range(**arguments), tf.range(**arguments))
    np.testing.assert_array_equal(minicnn.identity(x), x)
    np.testing.assert_array_equal(minicnn.linalg.matrix_transpose(x), tf.linalg.matrix_transpose(x))
    for named in ({}, {"transpose_a": True}, {"transpose_b": True}):
        for one, other in ((minicnn.matmul, tf.matmul), (minicnn.linalg.matmul, tf.linalg.matmul)):
            np.testing.assert_allclose(
                one(x[:, :3, :3], x[:, 3:, :3], **named), other(x[:, :3, :3], x[:, 3:, :3], **named), 1e-5
            )
    np.testing.assert_allclose(minicnn.nn.gelu(x), tf.nn.gelu(x), atol=1e-6)
    for one, other in ((x, x[::-1]), (x[0], x[1])):
        np.testing.assert_allclose(minicnn.image.psnr(one, other, max_val=2), tf.image.psnr(one, other, max_val=2), rtol=1e-5)


@pytest.mark.parametrize("images", [(2, 6, 9, 3), (6, 9, 3)])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize(
    "named",
    [
        *({"size": size, "method": "area"} for size in ((3, 3), (4, 7), (11, 5))),
        {"size": (4, 4), "preserve_aspect_ratio": True},
        {"size": (4, 5), "method": "nearest"},
        {"size": (4, 5), "method": "lanczos3", "antialias": True},
    ],
)
def test_images_at_another_size_as_tensorflow_has_them(images, dtype, named):
    import tensorflow as tf

    x = np.random.default_rng(0).integers(0, 256, images).astype(dtype)
    y, expected = minicnn.image.resize(x, **named), np.asarray(tf.image.resize(x, **named))
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-3)


def test_the_gradient_of_means_over_areas():
    """By the adjoint: TensorFlow has none."""
    random = np.random.default_rng(1)
    x, dy = (minicnn.ops.convert_to_tensor(random.standard_normal(shape)) for shape in ((2, 6, 9, 3), (2, 4, 11, 3)))
    with minicnn.GradientTape() as tape:
        tape.watch(x)
        y = minicnn.image.resize(x, (4, 11), "area")
    np.testing.assert_allclose(np.sum(y * dy), np.sum(x * tape.gradient(y, x, dy)), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 7.5])
def test_gamma_and_beta_have_scipy_s_distributions(alpha):
    minicnn.set_random_seed(1)
    for drawn, expected in (
        (minicnn.random.gamma((5000,), alpha), scipy.stats.gamma(alpha)),
        (minicnn.random.beta((5000,), alpha, 2.0), scipy.stats.beta(alpha, 2)),
    ):
        assert scipy.stats.kstest(np.asarray(drawn), expected.cdf).pvalue > 1e-3
    assert minicnn.random.gamma((2, 3), np.array([0.5, 1, 2])).shape == (2, 3)


# --- get_file -------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder whose files have addresses, and an empty cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                info = content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_get_file_downloads_once(served, tmp_path, capsys):
    (served / "weights.bin").write_bytes(b"first")
    origin = (served / "weights.bin").as_uri()
    path = utils.get_file(origin=origin)
    assert path == str(tmp_path / "home/datasets/weights.bin")
    assert "Downloading file://" in capsys.readouterr().err
    (served / "weights.bin").write_bytes(b"second")
    assert Path(utils.get_file("weights.bin", origin)).read_bytes() == b"first"
    assert Path(utils.get_file("weights.bin", origin, force_download=True)).read_bytes() == b"second"
    for algorithm in ("md5", "sha256"):
        (served / "weights.bin").write_bytes(b"third" + algorithm.encode())
        right = hashlib.new(algorithm, b"third" + algorithm.encode()).hexdigest()
        assert Path(utils.get_file(origin=origin, file_hash=right)).read_bytes() == b"third" + algorithm.encode()
        assert "is downloaded again" in capsys.readouterr().out
    right = hashlib.md5(b"thirdsha256").hexdigest()
    other = utils.get_file("name", origin, md5_hash=right, cache_dir=tmp_path, cache_subdir="sub")
    assert other == str(tmp_path / "sub/name")


def test_get_file_refuses_what_is_not_the_file(served, tmp_path):
    (served / "weights.bin").write_bytes(b"changed")
    origin = (served / "weights.bin").as_uri()
    with pytest.raises(ValueError, match=r"Incomplete or corrupted file detected.* expected SHA-256 000.*, received"):
        utils.get_file(origin=origin, file_hash="0" * 64)
    assert not (tmp_path / "home").exists()
    with pytest.raises(OSError, match="missing"):
        utils.get_file(origin=(served / "missing").as_uri())
    for arguments, message in (
        ({}, 'Please specify the "origin" argument'),
        ({"origin": "https://example.org/"}, "Can't parse the file name"),
        ({"origin": origin, "fname": "a/b"}, "Paths are no longer accepted"),
        ({"origin": origin, "file_hash": "12"}, "`file_hash` must be the 64 digits"),
    ):
        with pytest.raises(ValueError, match=message):
            utils.get_file(**arguments)


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_get_file_unpacks_as_keras_does(served, tmp_path, write):
    write(served / "set.arc", {"set/a.txt": b"a", "set/deep/b.txt": b"b" * 5000, "set/c.txt": b"c"})
    origin = (served / "set.arc").as_uri()
    for number, named in enumerate(({}, {"fname": "set"}, {"fname": "set.arc"})):
        caches = [tmp_path / f"{whose}{number}" for whose in ("ours", "theirs")]
        caches[1].mkdir()  # or Keras takes another one
        ours = Path(utils.get_file(origin=origin, extract=True, cache_dir=caches[0], **named))
        theirs = Path(keras.utils.get_file(origin=origin, extract=True, cache_dir=str(caches[1]), **named))
        for path in ("set/a.txt", "set/deep/b.txt", "set/c.txt"):
            assert (ours / path).read_bytes() == (theirs / path).read_bytes()
        assert ours.relative_to(caches[0]) == theirs.relative_to(caches[1])
    again = utils.get_file(origin=origin, extract=True, cache_dir=tmp_path / "ours0")
    assert again.endswith("set.arc")
    assert not [path for path in (tmp_path / "ours0/datasets").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_nothing_is_unpacked_outside_of_its_folder(served, tmp_path, write):
    members = {"../outside": b"x", "/tmp/absolute_minicnn": b"x", "a/../../outside": b"x", "C:/x": b"x", "inside": b"ok"}
    write(served / "bad.arc", members)
    with pytest.warns(UserWarning, match="Skipping invalid path") as told:
        path = utils.get_file(origin=(served / "bad.arc").as_uri(), extract=True)
    for name, warning in zip(members, told):
        assert f"{name!r}, since it leads out of the folder" in str(warning.message)
    assert len(told) == 4
    found = [file.name for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert sorted(found) == ["bad.arc_archive", "inside"]
    assert Path(f"{path}/inside").read_bytes() == b"ok"


def test_links_are_left_out_and_bombs_refused(served, tmp_path):
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    write_tar(served / "link.tgz", {"link": link, "file": b"ok"})
    with pytest.warns(UserWarning, match="Skipping invalid path during archive extraction: 'link'"):
        path = utils.get_file("link", (served / "link.tgz").as_uri(), untar=True)
    assert [found.name for found in (tmp_path / "home/datasets/link").iterdir()] == ["file"]
    assert path == str(tmp_path / "home/datasets/link")
    write_zip(served / "bomb.zip", {"zeros": bytes(5_000_000)})
    import minicnn.datasets.files as files

    before, files._MOST_UNPACKED = files._MOST_UNPACKED, 100
    try:
        with pytest.raises(ValueError, match="unpacks to more than 100 times its size"):
            utils.get_file("bomb", (served / "bomb.zip").as_uri(), extract=True)
    finally:
        files._MOST_UNPACKED = before
    assert not (tmp_path / "home/datasets/bomb").exists()
    (served / "text.txt").write_bytes(b"no archive")
    with pytest.warns(UserWarning, match="Could not extract archive"):
        utils.get_file(origin=(served / "text.txt").as_uri(), extract=True)


# --- data -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool"])
def test_an_array_in_a_config_keeps_its_type(dtype):
    array = np.array([[0, 1], [1, 0]], dtype)
    again = utils.deserialize_keras_object(utils.serialize_keras_object(array))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


@pytest.mark.parametrize(
    "sizes", [{"left_size": 0.7}, {"right_size": 3}, {"left_size": 2, "right_size": 4}, {"left_size": 0.5, "right_size": 0.2}]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_split_dataset_is_keras_s(sizes, shuffle):
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    ours = utils.split_dataset((x, y), **sizes, shuffle=shuffle, seed=3)
    theirs = keras.utils.split_dataset((x, y), **sizes, shuffle=shuffle, seed=3)
    for mine, its in zip(ours, theirs):
        assert len(mine) == len(its)
        for (a, b), (c, d) in zip(mine, its):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)
    splits = []
    for number in (1, 1, 2):  # without a seed of its own, from Python's generator
        random.seed(number)
        splits.append([int(e) for e in utils.split_dataset(np.arange(50), 0.5, shuffle=True)[0]])
    assert splits[0] == splits[1] != splits[2]
    left, right = utils.split_dataset(Dataset.from_tensor_slices(x).batch(4), left_size=2)
    assert [batch.shape[0] for batch in (*left, *right)] == [4, 4, 2]


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({}, ValueError, "At least one of the `left_size` or `right_size`"),
        ({"left_size": "a"}, TypeError, "Invalid `left_size` Type"),
        ({"left_size": 1.5}, ValueError, "Received: left_size=1.5"),
        ({"right_size": 11}, ValueError, "Received: right_size=11"),
        ({"left_size": 0.7, "right_size": 0.7}, ValueError, "greater than 1"),
        ({"left_size": 7, "right_size": 7}, ValueError, "smaller than the number of samples, 10"),
        ({"left_size": 0.01}, ValueError, "one of the parts will be empty"),
    ],
)
def test_split_dataset_refuses(sizes, error, message):
    with pytest.raises(error, match=message):
        utils.split_dataset(np.zeros(10), **sizes)


def test_what_a_sequence_is_told_it_remembers():
    ours, theirs = (k.utils.PyDataset(3, use_multiprocessing=True, max_queue_size=7) for k in (minicnn, keras))
    for data in (ours, theirs):
        assert (data.workers, data.use_multiprocessing, data.max_queue_size) == (3, True, 7)


class Doubles(utils.Sequence):
    """Older programs do not call the base class's constructor."""

    def __init__(self):
        self.ends = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        x = np.full((4, 2), index, "float32")
        return x, x.sum(axis=1, keepdims=True)

    def on_epoch_end(self):
        self.ends += 1


def test_a_user_s_batches_and_the_older_names_of_fit_evaluate_and_predict():
    model = models.Sequential([layers.Input((2,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer="sgd", loss="mse")
    data = Doubles()
    assert len(model.fit_generator(data, epochs=2, verbose=0, workers=4, use_multiprocessing=True).history["loss"]) == 2
    assert data.ends == 2
    assert model.evaluate_generator(data, verbose=0, workers=2) == model.evaluate(data, verbose=0)
    np.testing.assert_array_equal(model.predict_generator(data, verbose=0), model.predict(data, verbose=0))
    assert utils.PyDataset is utils.Sequence

    class Counted(utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.num_batches = 3

        def __len__(self):
            return self.num_batches

    assert len(Counted()) == Counted().num_batches == 3
    with pytest.raises(NotImplementedError, match="needs a method `__getitem__"):
        utils.PyDataset()[0]
    with pytest.raises(NotImplementedError, match="needs a method `__len__"):
        len(utils.PyDataset())


def test_metrics_names_are_those_of_what_evaluate_returns():
    x = layers.Input((3,))
    model = models.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(2, name="b")(x)])
    model.compile(optimizer="sgd", loss=["mse", "mae"], metrics=[["mae"], None])
    data = np.ones((4, 3)), [np.zeros((4, 1)), np.zeros((4, 2))]
    losses = model.train_on_batch(*data)
    by_name = model.evaluate(*data, verbose=0, return_dict=True)
    assert sorted(model.metrics_names) == sorted(by_name)
    assert len(losses) == len(model.metrics_names)
    np.testing.assert_array_equal(model.evaluate(*data, verbose=0), [by_name[name] for name in model.metrics_names])


@pytest.mark.parametrize(("units", "activation"), [(3, "softmax"), (1, "sigmoid")])
def test_predict_classes(units, activation):
    model = models.Sequential([layers.Input((4,)), layers.Dense(units, activation=activation)])
    x = np.random.default_rng(0).normal(size=(9, 4))
    probabilities = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict_proba(x), probabilities)
    expected = probabilities.argmax(axis=-1) if units > 1 else (probabilities > 0.5).astype("int32")
    np.testing.assert_array_equal(model.predict_classes(x), expected)


def test_policies_of_precision_are_taken_for_what_minicnn_has_of_them():
    from minicnn import mixed_precision

    assert config.dtype_policy() == mixed_precision.Policy("float32")
    try:
        for name, precision in (("mixed_bfloat16", "medium"), ("mixed_float16", "highest"), ("float32", "highest")):
            mixed_precision.set_global_policy(name)
            assert mixed_precision.global_policy().name == name
            assert config.float32_matmul_precision() == precision
            mixed_precision.set_dtype_policy("float32")
            mixed_precision.set_global_policy(mixed_precision.Policy(name))
            assert config.float32_matmul_precision() == precision
            layer = minicnn.layers.Dense(2, dtype=mixed_precision.Policy(name))
            assert (
                layer(np.ones((1, 3))).dtype == layer.kernel.dtype == mixed_precision.global_policy().compute_dtype == "float32"
            )
        with pytest.raises(ValueError, match="Cannot convert 'foo' to a mixed precision DTypePolicy"):
            mixed_precision.set_global_policy("foo")
        assert repr(config.dtype_policy()) == '<DTypePolicy "float32">'
    finally:
        config.set_dtype_policy("float32")


def test_policies_by_name_and_config():
    from minicnn import dtype_policies

    policy, theirs = dtype_policies.get("mixed_float16"), keras.dtype_policies.get("mixed_float16")
    assert dtype_policies.serialize(policy) == keras.dtype_policies.serialize(theirs)
    assert dtype_policies.deserialize(keras.dtype_policies.serialize(theirs)) == policy == dtype_policies.get(policy)
    assert dtype_policies.get(None) == minicnn.config.dtype_policy()
    for module in (minicnn, keras):
        with pytest.raises(ValueError, match="Cannot convert"):
            module.dtype_policies.get("mixed_bfloat15")
        with pytest.raises(ValueError, match="Cannot interpret `dtype` argument"):
            module.dtype_policies.get(3)
    with pytest.raises(ValueError, match="Expected the config of a DTypePolicy"):
        dtype_policies.deserialize({"class_name": "QuantizedDTypePolicy", "config": {}})


def test_registered_names_are_found_from_saving_too():
    assert minicnn.saving.get_registered_name is minicnn.utils.get_registered_name
    assert minicnn.saving.get_registered_object is minicnn.utils.get_registered_object


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dropout_keeps_the_type_and_drops_all_at_one(dtype):
    x = np.ones((4, 6), dtype)
    for module in (minicnn, keras):
        half = np.asarray(module.random.dropout(x, 0.5, seed=3))
        assert half.dtype == dtype
        assert set(np.unique(half)) == {0, 2}
        np.testing.assert_array_equal(module.random.dropout(x, 1.0, seed=3), 0 * x)
        columns = np.asarray(module.random.dropout(x, 0.5, noise_shape=(1, 6), seed=3))
        assert (columns == columns[0]).all()
    assert np.asarray(minicnn.random.dropout(x, 0.5, noise_shape=(None, 1), seed=3)).shape == x.shape
    assert minicnn.random.categorical(x, 5, dtype="int64", seed=3).dtype == "int64"
