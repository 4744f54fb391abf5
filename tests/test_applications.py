"""The networks of `minicnn.applications` are Keras's: layers, names, weights, outputs, files, errors."""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import re
import subprocess
import sys
import urllib.error
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import imagenet_utils as their_utils
from keras.src.legacy.saving import legacy_h5_format

import minicnn
from minicnn import applications, layers, models, utils
from minicnn.applications import (
    convnext,
    densenet,
    efficientnet,
    efficientnet_v2,
    imagenet_utils,
    mobilenet_v3,
    network,
    resnet,
    resnet_v2,
)
from minicnn.layers import scaling
from minicnn.models import Model, Sequential
from minicnn.variables import Variable

MODULES = [name for name in applications._NETWORKS if name != "imagenet_utils"]
NETWORKS = list(applications._MODULE_OF)


def keras_module(name):
    return importlib.import_module(f"keras.src.applications.{'resnet' if name == 'resnet50' else name}")


@pytest.fixture(autouse=True)
def rare_collections():
    """Models are made by the dozen here, and TensorFlow's many objects make each collection slow."""
    gc.disable()
    yield
    gc.enable()


# --- Keras's recipe, cooked with our layers ------------------------------------------------


class Recipe:
    """Makes a network twice: by our function, and by Keras's own, whose layers and models are minicnn's.

    So each layer, argument, name and connection can be compared, of the largest networks too, without TensorFlow. Weights
    are neither made nor loaded; which file would be downloaded is compared at once.
    """

    def __init__(self, patch):
        self.patch = patch
        self.release = None
        self.files = []
        patch.setattr(layers.Layer, "add_weight", lambda self, *args, **kwargs: Variable(0.0))
        patch.setattr(Model, "load_weights", lambda self, path: None)
        patch.setattr(network, "get_file", self.file_of)
        patch.setattr(network.Release, "file", self.file_of_release(network.Release.file))

    def file_of(self, fname, origin, cache_subdir="datasets", file_hash=None):
        self.files.append((fname, origin, cache_subdir, file_hash))
        return "weights.h5"

    def file_of_release(self, file):
        def noted(release, include_top):
            self.release = release
            return file(release, include_top)

        return noted

    def both(self, title, **arguments):
        module = keras_module(applications._MODULE_OF[title])
        home = keras_module("resnet") if title.startswith("ResNet") else module
        replaced = {
            "layers": layers,
            "Functional": Model,
            "Sequential": Sequential,
            "initializers": minicnn.initializers,
            "CustomScaleLayer": scaling.CustomScaleLayer,
            "LayerScale": scaling.LayerScale,
        }
        for name, ours in replaced.items():
            if hasattr(home, name):
                self.patch.setattr(home, name, ours)
        self.patch.setattr(home.file_utils, "get_file", self.file_of)
        self.files.clear()
        made = []
        for function in (getattr(applications, title), getattr(module, title)):
            utils.clear_session()
            made.append(function(**arguments))
        assert len(self.files) == (2 if arguments.get("weights", "imagenet") else 0)
        assert self.files[:1] == self.files[1:]
        return made


@pytest.fixture
def recipe(monkeypatch):
    return Recipe(monkeypatch)


def assert_same(ours, theirs):
    """One config, where the last axis of images is also the third."""
    texts = [json.dumps(model.get_config()).replace('"axis": -1', '"axis": 3') for model in (ours, theirs)]
    if texts[0] != texts[1]:  # say where: the whole is too long to read
        one, other = (json.loads(text) for text in texts)
        for layer, twin in zip(one.pop("layers"), other.pop("layers"), strict=True):
            assert layer == twin
        assert one == other


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("title", NETWORKS)
def test_a_network_follows_keras_s_recipe(recipe, title):
    assert_same(*recipe.both(title))
    hashes = getattr(keras_module(applications._MODULE_OF[title]), "WEIGHTS_HASHES", None)
    if hashes is None:  # of the file without the classifier, see below
        recipe.both(title, include_top=False, input_shape=(224, 192, 3))
    else:
        assert recipe.release.hashes in hashes.values()


ARGUMENTS = [
    ("VGG16", {"weights": None, "input_shape": (40, 32, 1), "classes": 3, "classifier_activation": "sigmoid"}),
    ("VGG16", {"include_top": False, "pooling": "max"}),
    ("ResNet50", {"include_top": False, "weights": None, "pooling": "avg", "input_shape": (None, None, 3)}),
    ("ResNet50V2", {"include_top": False, "pooling": "max"}),
    ("MobileNet", {"alpha": 0.25, "input_shape": (160, 160, 3), "dropout": 0.5}),
    ("MobileNet", {"weights": None, "alpha": 1.5, "depth_multiplier": 2, "include_top": False, "pooling": "avg"}),
    ("MobileNetV2", {"alpha": 1.4, "input_shape": (96, 96, 3)}),
    ("MobileNetV2", {"weights": None, "alpha": 0.35, "input_shape": (33, 47, 3), "name": "mine"}),
    ("MobileNetV3Small", {"minimalistic": True, "input_shape": (224, 224, 3), "include_preprocessing": False}),
    ("MobileNetV3Small", {"minimalistic": True, "include_top": False, "pooling": "avg"}),
    ("MobileNetV3Small", {"include_top": False, "alpha": 0.75}),
    ("MobileNetV3Large", {"alpha": 0.75, "input_shape": (224, 224, 3)}),
    ("MobileNetV3Large", {"weights": None, "alpha": 1.25, "dropout_rate": 0}),
    ("EfficientNetB0", {"weights": None, "include_top": False, "input_shape": (None, None, 1)}),
    ("EfficientNetB1", {"include_top": False, "pooling": "max"}),
    ("EfficientNetV2B3", {"weights": None, "input_shape": (64, 64, 1)}),
    ("EfficientNetV2B0", {"include_top": False, "pooling": "max"}),
    ("EfficientNetV2S", {"include_preprocessing": False}),
    ("ConvNeXtTiny", {"include_preprocessing": False, "weights": None, "name": "mine", "include_top": False}),
    ("ConvNeXtTiny", {"include_top": False, "pooling": "max"}),
    ("DenseNet121", {"include_top": False, "weights": None}),
]


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize(("title", "arguments"), ARGUMENTS, ids=str)
def test_its_arguments_change_it_as_keras_s_do(recipe, title, arguments):
    assert_same(*recipe.both(title, **arguments))


def test_channels_may_come_first(recipe):
    minicnn.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format("channels_first")
    try:
        for title in ("MobileNetV2", "MobileNetV3Small", "EfficientNetB0"):
            assert_same(*recipe.both(title, include_top=False, weights=None, input_shape=(3, 96, 80)))
        for title in ("DenseNet121", "NASNetMobile", "ConvNeXtTiny"):
            with pytest.raises(ValueError, match="does not support the `channels_first` image data format"):
                getattr(applications, title)()
    finally:
        minicnn.config.set_image_data_format("channels_last")
        keras.config.set_image_data_format("channels_last")


# --- against Keras's networks ---------------------------------------------------------------


def stacks(name, depths):
    """The stages of a residual network, by one of Keras's functions."""
    block = getattr(RESNET, f"stack_residual_blocks_{name}")

    def stack(x):
        for number, depth in enumerate(depths):
            first = {"stride1": 1} if number == 0 and name == "v1" else {}
            x = block(x, 64 << number, depth, name=f"conv{number + 2}", **first)
        return x

    return stack


def mobile_blocks(x, kernel, activation, se_ratio):
    block, relu = keras_module("mobilenet_v3")._inverted_res_block, keras_module("mobilenet_v3").relu
    x = block(x, 1, 16, 3, 2, se_ratio, relu, 0)
    x = block(x, 4, 24, kernel, 1, se_ratio, activation, 1)
    return block(x, 2.5, 24, 3, 1, None, activation, 2)


def ours_of(build, name, **settings):
    """A network of sizes that the public ones do not have."""
    return network.network("small", partial(build, **settings), name=name)


def theirs_of(module, function, *arguments, **settings):
    return partial(getattr(keras_module(module), function), *arguments, **settings)


RESNET = keras_module("resnet")
V3 = {"size": "small", "units": 32, "alpha": 1.0, "minimalistic": False, "dropout_rate": 0.2, "include_preprocessing": True}
V3_BLOCKS = ((1, 16, 3, 2, True, False), (4, 24, 5, 1, True, True), (2.5, 24, 3, 1, False, True))
V2 = {"include_preprocessing": True, "variant": efficientnet_v2._Variant(0.5, 0.2, 64, 32, efficientnet_v2._B)}
RESIDUAL = {"blocks": (2, 2), "released": "", "hashes": ("", "")}
# One of a family: ours, Keras's, and what both are given. Where there is a way, they are shallow and narrow.
PAIRS = {
    "vgg16": (applications.VGG16, keras.applications.VGG16, {"include_top": False}),
    "resnet": (
        ours_of(resnet.residual_network, "resnet", body=resnet._body, **RESIDUAL),
        theirs_of("resnet", "ResNet", stacks("v1", (2, 2)), False, True),
        {},
    ),
    "resnet_v2": (
        ours_of(resnet.residual_network, "resnet", body=resnet_v2._body, **RESIDUAL),
        theirs_of("resnet", "ResNet", stacks("v2", (2, 2)), True, True),
        {},
    ),
    "mobilenet": (
        applications.MobileNet,
        keras.applications.MobileNet,
        {"alpha": 0.25, "include_top": False, "pooling": "avg", "input_shape": (45, 33, 3)},
    ),
    "mobilenet_v2": (
        applications.MobileNetV2,
        keras.applications.MobileNetV2,
        {"alpha": 0.35, "include_top": False, "input_shape": (96, 96, 3)},
    ),
    "mobilenet_v3": (
        ours_of(mobilenet_v3._mobilenet_v3, None, blocks=[mobilenet_v3._Block(*one) for one in V3_BLOCKS], **V3),
        theirs_of("mobilenet_v3", "MobileNetV3", mobile_blocks, 32),
        {},
    ),
    "xception": (
        applications.Xception,
        keras.applications.Xception,
        {"include_top": False, "pooling": "max", "input_shape": (71, 71, 3)},
    ),
    "inception_v3": (applications.InceptionV3, keras.applications.InceptionV3, {"input_shape": (75, 75, 3)}),
    "densenet": (
        ours_of(densenet._densenet, "densenet", depth=0, blocks=(2, 1, 1, 2), hashes=("", "")),
        theirs_of("densenet", "DenseNet", [2, 1, 1, 2]),
        {},
    ),
    "efficientnet": (
        ours_of(efficientnet._efficientnet, "efficientnet", width=0.5, depth=0.2, size=64, dropout=0.2, release=None),
        theirs_of("efficientnet", "EfficientNet", 0.5, 0.2, 64),
        {},
    ),
    "efficientnet_v2": (
        ours_of(efficientnet_v2._efficientnet_v2, "efficientnetv2-b0", release=None, **V2),
        theirs_of("efficientnet_v2", "EfficientNetV2", 0.5, 0.2, 64, name="efficientnetv2-b0"),
        {},
    ),
    "convnext": (
        ours_of(
            *(convnext._convnext, "convnext"),
            include_preprocessing=True,
            depths=(1, 2, 1, 1),
            channels=(8, 16, 32, 64),
            release=None,
        ),
        theirs_of("convnext", "ConvNeXt", [1, 2, 1, 1], [8, 16, 32, 64]),
        {},
    ),
}


def draw_weights(model, x, rng):
    """Random values where there were zeros and ones, so that none is without effect; statistics that are near the images'."""
    normalizing = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in normalizing:
        layer.momentum = 0.0
    if normalizing:
        model(x, training=True)
    deviation = None
    for weight in reversed(model.weights):
        if weight.name == "kernel":
            if not normalizing:
                weight.assign(np.float32(2**0.5) * weight.numpy())  # for a ReLU halves the mean of squares
            continue
        factor, noise = rng.uniform(0.8, 1.25, weight.shape), rng.normal(0, 0.1, weight.shape)
        if weight.name == "moving_variance":
            deviation = np.sqrt(weight.numpy())
            weight.assign(weight.numpy() * factor)
        elif weight.name == "moving_mean":  # which stands before the variance
            weight.assign(weight.numpy() + deviation * noise)
        elif weight.name in ("gamma", "variance") or "layer_scale" in weight.path:
            weight.assign(factor)
        elif weight.name in ("beta", "bias", "mean"):
            weight.assign(noise if normalizing else 0.1 * noise)


def twins(module):
    """Ours and Keras's with the same weights, images, and what Keras's says of them."""
    utils.clear_session()
    keras.utils.clear_session()
    make_ours, make_theirs, arguments = PAIRS[module]
    arguments = {"input_shape": (32, 32, 3), "classes": 7, "classifier_activation": None, "weights": None} | arguments
    ours, theirs = make_ours(**arguments), make_theirs(**arguments)
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (3, *ours.input_shape[1:])).astype("float32")
    prepare = importlib.import_module(f"minicnn.applications.{module}").preprocess_input
    if prepare(x) is x:  # the network does it
        x = 127.5 * (x + 1)
    ours.set_weights(theirs.get_weights())
    draw_weights(ours, x, rng)
    theirs.set_weights(ours.get_weights())
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # before that it computes with the weights it had
    return ours, theirs, x, np.asarray(theirs(x))


def assert_near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def mobile():
    return twins("mobilenet_v2")


@pytest.mark.parametrize("module", PAIRS)
def test_a_network_computes_what_keras_s_computes(module, mobile):
    ours, theirs, x, expected = mobile if module == "mobilenet_v2" else twins(module)
    assert [(layer.name, type(layer).__name__) for layer in ours.layers] == [
        (layer.name, type(layer).__name__) for layer in theirs.layers
    ]
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, tuple(w.shape)) for w in theirs.weights]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    assert ours.name == theirs.name or ours.name.startswith("functional")
    assert (expected.std(axis=0) > 0.01 * np.abs(expected).max()).any()  # the images make a difference
    assert_near(ours.predict(x, verbose=0), expected)


# --- weights ----------------------------------------------------------------------------------


def as_published(model, path):
    """Write weights as the files of `keras.applications` have them."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_file_of_keras_s_is_read(tmp_path, mobile, ending):
    _, theirs, x, expected = mobile
    path = tmp_path / f"mobile{ending}"
    as_published(theirs, path) if ending == ".h5" else theirs.save_weights(path)
    ours = applications.MobileNetV2(weights=path, alpha=0.35, include_top=False, input_shape=(96, 96, 3))
    assert_near(ours.predict(x, verbose=0), expected)
    with pytest.raises(ValueError, match=r"[Mm]ismatch|expected"):
        applications.MobileNetV2(weights=str(path), alpha=0.5, include_top=False, input_shape=(96, 96, 3))


def test_weights_of_imagenet_come_from_keras_s_cache(tmp_path, monkeypatch, mobile):
    _, theirs, x, expected = mobile
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    as_published(theirs, tmp_path / "models" / name)
    ours = applications.MobileNetV2(alpha=0.35, include_top=False, input_shape=(96, 96, 3))
    assert_near(ours.predict(x, verbose=0), expected)


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise urllib.error.URLError("the network is down")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refused)
    url = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    place = tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with pytest.raises(OSError, match=f"{re.escape(url)}.*the network is down.*put it at {re.escape(str(place))}"):
        applications.VGG16(include_top=False, input_shape=(32, 32, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_network_is_trained_as_part_of_another():
    base = applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg")
    base.trainable = False
    before = base.get_weights()
    model = Sequential([base, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    model.fit(rng.uniform(-1, 1, (8, 32, 32, 3)).astype("float32"), rng.integers(0, 3, 8), batch_size=4, verbose=0)
    for old, new in zip(before, base.get_weights()):
        np.testing.assert_array_equal(old, new)
    base.trainable = True
    for layer in base.layers[:-4]:
        layer.trainable = False
    assert [weight.path for weight in base.trainable_weights] == ["Conv_1/kernel", "Conv_1_bn/gamma", "Conv_1_bn/beta"]


def test_an_input_tensor_may_stand_anywhere(recipe):
    images = layers.Input((64, 48, 3), name="images")
    scaled = layers.Rescaling(2.0, name="scaled")(images)
    model = applications.MobileNetV2(input_tensor=scaled, weights=None, include_top=False)
    assert model.inputs == [images]
    assert [layer.name for layer in model.layers][:3] == ["images", "scaled", "Conv1"]
    assert model.output_shape == (None, 2, 2, 1280)
    assert applications.MobileNetV3Small(input_tensor=images, weights=None).input_shape == (None, 64, 48, 3)
    both = layers.Add()([scaled, layers.Input((64, 48, 3), name="second"), images])
    assert [one.name for one in utils.get_source_inputs(both)] == ["images", "second"]
    assert utils.get_source_inputs(images) == [images]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "arguments"),
    [
        ("VGG16", {"weights": "no such file"}),
        ("VGG16", {"classes": 10}),
        ("VGG16", {"input_shape": (200, 200, 3)}),
        ("VGG19", {"input_shape": (31, 40, 3), "weights": None}),
        ("ResNet50", {"input_shape": (32, 32), "weights": None}),
        ("ResNet50", {"input_shape": (32, 32, 4), "include_top": False}),
        ("ResNet50", {"input_shape": (None, 32, 3), "weights": None}),
        ("Xception", {"input_shape": (70, 71, 3), "weights": None}),
        ("InceptionV3", {"input_shape": (75, 74, 3), "weights": None}),
        ("MobileNet", {"depth_multiplier": 2}),
        ("MobileNet", {"alpha": 0.3}),
        ("MobileNetV2", {"alpha": 0.3}),
        ("MobileNetV3Small", {"alpha": 0.5}),
        ("MobileNetV3Small", {"alpha": 0.75, "minimalistic": True}),
        ("MobileNetV3Small", {"input_shape": (31, 32, 3), "weights": None}),
        ("NASNetMobile", {"input_shape": (None, 32, 3), "include_top": False}),
    ],
    ids=str,
)
def test_what_keras_refuses_is_refused_in_its_words(title, arguments):
    """Or in words that one of its networks has: they say the same in several ways."""
    with pytest.raises(ValueError, match=r"\w") as theirs:
        getattr(keras.applications, title)(**arguments)
    with pytest.raises(ValueError, match=r"\w") as ours:
        getattr(applications, title)(**arguments)

    def words(error):
        text = re.sub(r"Received:? *(argument)?.*", "", str(error.value), flags=re.DOTALL)
        return re.sub(r"[\s`'\".;,]+", "", text)

    assert words(ours) == words(theirs)
    value = next(iter(arguments.values()))
    assert str(value) in str(ours.value)


def test_further_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"`pooling` should be None, 'avg' or 'max'\. Received: pooling='mean'"):
        applications.VGG16(include_top=False, weights=None, pooling="mean")
    with pytest.raises(ValueError, match="Argument `input_tensor` must be a KerasTensor"):
        applications.VGG16(include_top=False, weights=None, input_tensor=np.zeros((1, 32, 32, 3)))
    images = layers.Input((64, 48, 3))
    with pytest.raises(ValueError, match=r"must equal input_shape\[1\]; Received `input_tensor.shape=\(None, 64, 48, 3\)`"):
        applications.MobileNetV2(input_tensor=images, input_shape=(64, 64, 3), include_top=False, weights=None)
    for title in ("MobileNet", "MobileNetV2", "MobileNetV3Large"):
        with pytest.raises(ValueError, match=r"`input_shape` must be a tuple of three integers. Received: input_shape=\(32,\)"):
            getattr(applications, title)(input_shape=(32,), weights=None)
    with pytest.raises(TypeError, match=r"ResNet50\(\) got an unexpected keyword argument 'widht'"):
        applications.ResNet50(widht=2)
    with pytest.raises(AttributeError, match="no attribute 'ResNet18'"):
        applications.ResNet18


def test_unusual_images_are_warned_about(recipe):
    with pytest.warns(UserWarning, match="usually expects 1 or 3 input channels. However.* 4 input channels"):
        applications.ResNet50(weights=None, input_shape=(32, 32, 4))
    with pytest.warns(UserWarning, match=r"or `rows` is not in \[128, 160, 192, 224\]. Weights for input shape \(224, 224\)"):
        ours, theirs = recipe.both("MobileNet", include_top=False)
    assert ours.name == theirs.name == "mobilenet_1.00_224"


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_the_activation_of_pretrained_weights_is_given(weights):
    for activation in ("softmax", None, "linear", "relu", minicnn.activations.softmax, minicnn.activations.sigmoid):
        their_activation = getattr(keras.activations, activation.__name__) if callable(activation) else activation
        try:
            their_utils.validate_activation(their_activation, weights)
        except ValueError as error:
            message = str(error).partition("=")[0]
            with pytest.raises(ValueError, match=re.escape(message)):
                imagenet_utils.validate_activation(activation, weights)
        else:
            imagenet_utils.validate_activation(activation, weights)
    with pytest.raises(ValueError, match="Received: classifier_activation=relu"):
        applications.ResNet50(classifier_activation="relu")


SHAPES = [None, (32,), (64, 64, 3), (224, 224, 3), (20, 64, 3), (64, None, 1), (3, 64, 64), (1, 64, None), (None,) * 3]


@pytest.mark.filterwarnings("ignore:This model usually expects")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_input_shapes_are_found_as_keras_finds_them(data_format):
    for shape in SHAPES:
        for top in (True, False):
            for weights in ("imagenet", None):
                arguments = (shape, 224, 32, data_format, top, weights)
                found = []
                for module in (imagenet_utils, their_utils):
                    try:
                        found.append(module.obtain_input_shape(*arguments))
                    except (ValueError, TypeError) as error:
                        found.append(str(error).partition("eceived")[0].rstrip(" R").rstrip(".;"))
                assert found[0] == found[1], arguments


# --- images and classes -------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_images_are_prepared_as_keras_prepares_them(name):
    images = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3)).astype("float32")
    ours, theirs = importlib.import_module(f"minicnn.applications.{name}"), keras_module(name)
    np.testing.assert_allclose(ours.preprocess_input(images), theirs.preprocess_input(images.copy()), rtol=1e-5, atol=1e-4)
    assert ours.preprocess_input.__name__ == "preprocess_input"
    assert ours.decode_predictions is imagenet_utils.decode_predictions
    for title in getattr(keras.applications, name, theirs).__dict__:
        assert title.startswith("_") or hasattr(ours, title), title


def test_classes_are_told_as_keras_tells_them(tmp_path, monkeypatch):
    classes = {str(number): [f"n{number:08}", f"class {number}"] for number in range(1000)}
    path = tmp_path / "imagenet_class_index.json"
    path.write_text(json.dumps(classes))
    asked = []

    def file_of(*args, **kwargs):
        asked.append((args, kwargs))
        return str(path)

    monkeypatch.setattr(imagenet_utils, "get_file", file_of)
    monkeypatch.setattr(their_utils, "CLASS_INDEX", None)
    monkeypatch.setattr(their_utils.file_utils, "get_file", file_of)
    predictions = np.random.default_rng(1).random((3, 1000)).astype("float32")
    for top in (1, 5):
        ours = imagenet_utils.decode_predictions(predictions, top)
        assert ours == their_utils.decode_predictions(predictions, top)
        assert [len(row) for row in ours] == [top] * 3
    assert asked[0] == asked[1]
    tensor = minicnn.ops.convert_to_tensor(predictions)
    assert imagenet_utils.decode_predictions(tensor) == imagenet_utils.decode_predictions(predictions)
    with pytest.raises(ValueError, match=r"a 2D array of shape \(samples, 1000\)\)\. Received array with shape: \(2, 10\)"):
        imagenet_utils.decode_predictions(np.zeros((2, 10)))


# --- names and layers ---------------------------------------------------------------------------


def test_a_module_is_loaded_when_it_is_used():
    script = (
        "import sys, minicnn; from minicnn.applications import VGG16; import minicnn.applications as a\n"
        "assert a.vgg16.VGG16 is VGG16 and a.resnet50.ResNet50 is a.ResNet50 is a.resnet.ResNet50\n"
        "print(*(name for name in sys.modules if name.startswith('minicnn.applications.')))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(minicnn.__file__).parents[1]
    )
    loaded = {name.rpartition(".")[2] for name in printed.stdout.split()}
    assert loaded == {"vgg16", "resnet", "resnet50", "network", "imagenet_utils"}
    assert set(NETWORKS) <= set(dir(applications))


def test_a_network_says_what_it_takes():
    function = applications.ResNet50
    assert (function.__name__, function.__module__) == ("ResNet50", "minicnn.applications")
    for title in NETWORKS:
        function = getattr(applications, title)
        for argument in inspect.signature(function).parameters:
            assert f"    {argument}: " in function.__doc__


def test_layers_of_residual_blocks_are_keras_s():
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    rng = np.random.default_rng(0)
    x, residual, dy, gamma = (rng.normal(size=shape).astype("float32") for shape in [(2, 3, 4, 5)] * 3 + [(5,)])
    pairs = (
        (scaling.CustomScaleLayer(0.17, name="a"), CustomScaleLayer(0.17, name="a"), [x, residual]),
        (scaling.LayerScale(1e-6, 5, name="a"), LayerScale(1e-6, 5, name="a"), x),
    )
    for ours, theirs, given in pairs:
        shape = [one.shape for one in given] if isinstance(given, list) else given.shape
        ours.build(shape)
        theirs.build(shape)
        for weight, their_weight in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), their_weight.numpy())
            weight.assign(gamma)
            their_weight.assign(gamma)
        tensors = [tf.constant(one) for one in given] if isinstance(given, list) else tf.constant(given)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            expected = theirs(tensors)
        sources = [tensors, [weight.value for weight in theirs.weights]]
        expected_dx, expected_grads = tape.gradient(expected, sources, output_gradients=tf.constant(dy))
        y, saved = ours.forward(given, True)
        dx, grads = ours.backward(dy, saved)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        for found, wanted in zip(
            [*dx, *grads] if isinstance(given, list) else [dx, *grads], tf.nest.flatten([expected_dx, expected_grads])
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        assert ours.compute_output_shape(shape) == x.shape
        again = layers.deserialize(keras.saving.serialize_keras_object(theirs))
        back = keras.saving.deserialize_keras_object(layers.serialize(ours))
        assert type(again) is type(ours)
        assert type(back) is type(theirs)
        assert again.get_config() == ours.get_config()
    with pytest.raises(ValueError, match=r"`projection_dim` should be the number of channels\. Received: projection_dim=4"):
        scaling.LayerScale(1e-6, 4).build((None, 2, 2, 5))


def test_ops_are_none_of_a_model_s_layers():
    counted = []
    for k in (minicnn, keras):
        x = k.Input((4,), name="x")
        y = k.layers.Dense(4, name="dense")(x)
        model = k.Model(x, k.ops.relu(x + y) * 2.0)
        counted.append([layer.name for layer in model.layers])
    assert counted[0] == counted[1] == ["x", "dense"]
    ours = models.Model(x := minicnn.Input((4,)), x + layers.Dense(4)(x))
    assert len(ours.operations) == 3
    assert ours.get_layer(ours.operations[-1].name) is ours.operations[-1]
    again = models.clone_model(ours)
    assert [layer.name for layer in again.layers] == [layer.name for layer in ours.layers]
    there = keras.Model.from_config(ours.get_config())  # what it does not know of does it no harm
    np.testing.assert_allclose(there(np.ones((1, 4))).shape, (1, 4))
