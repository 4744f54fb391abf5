"""Keras's `utils`: equal to Keras's own where both answer, and clear where ours refuses."""

from __future__ import annotations

import random
import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minicnn import layers, utils


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
