"""Files travel between Keras and minicnn both ways; files that are damaged or hostile do no harm."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import atomic, saving
from minicnn.layers import Layer
from minicnn.saving import weights_file
from minicnn.saving.state import pack_state, unpack_state

# --- models, written once for both libraries ---------------------------------------------


def sequential(k):
    layers = k.layers
    return k.Sequential(
        [
            k.Input((7, 6, 2)),
            layers.Conv2D(3, 3, padding="same", activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, (2, 3), strides=1, use_bias=False),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def functional(k):
    """Two outputs, a merge, a layer used twice, a model inside."""
    layers = k.layers
    image = k.Input((6, 5, 2), name="image")
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    twice = shared(shared(image))
    side = layers.ZeroPadding2D(1)(layers.Conv2D(2, 3)(image))
    inner = k.Sequential([k.Input((6, 5, 4)), layers.Flatten(), layers.Dense(3, activation="tanh")], name="inner")
    joined = layers.Concatenate()([twice, side])
    first = inner(joined)
    second = layers.Dense(2, name="second")(layers.GlobalAveragePooling2D()(layers.Add()([twice, side])))
    return k.Model(inputs=image, outputs=[first, second])


OPTIMIZERS = {
    "sgd": lambda k: k.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda k: k.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adam": lambda k: k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)),
    "adamw": lambda k: k.optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=1.0),
}
LOSSES = {sequential: "sparse_categorical_crossentropy", functional: ["mean_squared_error", "mean_absolute_error"]}
CASES = [(sequential, "adam"), (sequential, "rmsprop"), (functional, "sgd"), (functional, "adamw")]
IDS = [f"{make.__name__}-{optimizer}" for make, optimizer in CASES]


def data(make, seed=0):
    rng = np.random.default_rng(seed)
    if make is sequential:
        return rng.normal(size=(6, 7, 6, 2)).astype("float32"), rng.integers(0, 3, 6)
    return rng.normal(size=(6, 6, 5, 2)).astype("float32"), [
        rng.normal(size=(6, 3)).astype("float32"),
        rng.normal(size=(6, 2)).astype("float32"),
    ]


def trained(make, optimizer, k, steps=2):
    model = make(k)
    model.compile(OPTIMIZERS[optimizer](k), loss=LOSSES[make], metrics=["accuracy"] if make is sequential else None)
    for step in range(steps):
        model.train_on_batch(*data(make, step))
    return model


def outputs(model, x):
    results = model(x, training=False)
    return [np.asarray(result) for result in (results if isinstance(results, list) else [results])]


def assert_same(ours, theirs, x):
    for mine, other in zip(outputs(ours, x), outputs(theirs, x), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    for mine, other in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(other), err_msg=other.path)


@pytest.fixture(params=CASES, ids=IDS, scope="module")
def pair(request, tmp_path_factory):
    """(make, our trained model, Keras's trained model); training Keras's takes its time, so it is done once."""
    make, optimizer = request.param
    return make, trained(make, optimizer, minicnn), trained(make, optimizer, keras)


# --- both ways ----------------------------------------------------------------------------


def test_keras_loads_our_archive(pair, tmp_path):
    make, ours, _ = pair
    ours.save(tmp_path / "m.keras")
    assert_same(ours, keras.models.load_model(tmp_path / "m.keras"), data(make)[0])


def branching(module, calls, outputs):
    """A model of 1x1 convolutions and sums of pairs; `calls` are (kind, a, b): what each reads, by its number."""
    values = [module.layers.Input((2, 2, 3), name="input_a"), module.layers.Input((2, 2, 3), name="input_b")]
    shared = module.layers.Conv2D(3, 1, name="shared")
    for number, (kind, a, b) in enumerate(calls):
        if kind == "shared":
            values.append(shared(values[a]))
        elif kind == "sum":
            values.append(module.layers.Add(name=f"sum{number}")([values[a], values[b]]))
        else:
            values.append(module.layers.Conv2D(3, 1, name=f"conv{number}")(values[a]))
    return module.Model(values[:2], [values[i] for i in outputs])  # a list of one output is that one, as in Keras


@st.composite
def branching_graphs(draw):
    """Calls, and one or two outputs; each call reads values that came before it, often the same ones."""
    count = draw(st.integers(1, 9))
    before = [st.integers(max(0, number - 2), number + 1) for number in range(count)]
    calls = [(draw(st.sampled_from(["conv", "conv", "sum", "shared"])), draw(at), draw(at)) for at in before]
    outputs = [count + 1, *draw(st.lists(st.integers(2, count + 1), max_size=1))]
    return calls, outputs


@settings(max_examples=40)
@given(branching_graphs())
def test_layers_of_a_model_with_branches_stand_in_keras_s_order(graph):
    """By which alone files tell the weights of one Conv2D from those of another."""
    theirs, ours = branching(keras, *graph), branching(minicnn, *graph)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]


def test_a_model_with_parallel_branches_goes_both_ways(tmp_path):
    """Of equal shapes, which nobody would miss if they were exchanged."""
    calls = [("conv", 0, 0), ("conv", 2, 0), ("conv", 3, 0), ("conv", 2, 0), ("sum", 5, 4), ("conv", 1, 0), ("sum", 7, 6)]
    x = np.random.default_rng(0).random((2, 5, 2, 2, 3)).astype(np.float32)
    theirs, ours = branching(keras, calls, [8]), branching(minicnn, calls, [8])
    theirs.save(tmp_path / "theirs.keras")
    ours.save(tmp_path / "ours.keras")
    expected = theirs.predict(list(x), verbose=0), ours.predict(list(x), verbose=0)
    found = (
        minicnn.models.load_model(tmp_path / "theirs.keras").predict(list(x), verbose=0),
        keras.models.load_model(tmp_path / "ours.keras").predict(list(x), verbose=0),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(list(x), verbose=0), expected[0], rtol=1e-5, atol=1e-6)


def test_we_load_keras_s_archive(pair, tmp_path):
    make, _, theirs = pair
    theirs.save(tmp_path / "m.keras")
    assert_same(saving.load_model(tmp_path / "m.keras"), theirs, data(make)[0])


def convolutions(k):
    """Those that are not plain, of images and, behind them, of signals."""
    layers = k.layers
    return k.Sequential(
        [
            k.Input((7, 6, 4)),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu"),
            layers.Conv2D(4, 2, groups=4),
            layers.SeparableConv2D(3, 2, use_bias=False, depth_multiplier=2),
            layers.Conv2DTranspose(2, 3, strides=2, padding="same"),
            layers.Reshape((20, 8)),
            layers.DepthwiseConv1D(3),
            layers.SeparableConv1D(4, 3, pointwise_regularizer="l2"),
            layers.Conv1DTranspose(2, 3, strides=3, output_padding=1),
            layers.Reshape((7, 1, 7, 2)),
            layers.Conv3D(4, (2, 1, 3), groups=2),
            layers.MaxPooling3D((1, 1, 2)),
            layers.Conv3DTranspose(3, 2, strides=(1, 2, 3), output_padding=(0, 1, 2)),
        ]
    )


def test_other_convolutions_travel_both_ways(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 7, 6, 4)).astype("float32")
    ours, theirs = convolutions(minicnn), convolutions(keras)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    np.testing.assert_allclose(np.asarray(keras.models.load_model(tmp_path / "ours.keras")(x)), np.asarray(ours(x)), atol=1e-5)
    np.testing.assert_allclose(saving.load_model(tmp_path / "theirs.keras")(x), np.asarray(theirs(x)), atol=1e-5)


def test_weights_files_travel_both_ways(pair, tmp_path):
    make, ours, theirs = pair
    x = data(make)[0]
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    loaded = make(minicnn)
    loaded.compile(type(ours.optimizer).from_config(ours.optimizer.get_config()), loss="mse")
    loaded.load_weights(tmp_path / "theirs.weights.h5")
    assert_same(loaded, theirs, x)
    back = make(keras)
    back.compile(type(theirs.optimizer).from_config(theirs.optimizer.get_config()), loss="mse")
    back.optimizer.build(back.trainable_variables)
    back.load_weights(tmp_path / "ours.weights.h5")
    assert_same(ours, back, x)
    # Keras's weights are also taken out of its archive.
    theirs.save(tmp_path / "theirs.keras")
    again = make(minicnn)
    again.load_weights(tmp_path / "theirs.keras")
    for mine, other in zip(outputs(again, x), outputs(theirs, x)):
        np.testing.assert_allclose(mine, other, atol=1e-5)


def contents(path):
    """The file's datasets and their shapes."""
    found = {}
    with zipfile.ZipFile(path) as zipped, h5py.File(io.BytesIO(zipped.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_the_layout_is_keras_s(pair, tmp_path):
    _, ours, theirs = pair
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    mine = contents(tmp_path / "ours.keras")
    own = ("seed_generator", "minicnn_training")
    assert {name: shape for name, shape in mine.items() if not any(part in name for part in own)} == contents(
        tmp_path / "theirs.keras"
    )
    with zipfile.ZipFile(tmp_path / "ours.keras") as mine, zipfile.ZipFile(tmp_path / "theirs.keras") as other:
        assert mine.namelist() == other.namelist()


def test_training_goes_on_as_keras_s_would(tmp_path):
    """Two steps in Keras, then one more there and one here: the moments came along."""

    def make(k):
        return k.Sequential(
            [k.Input((4, 4, 2)), k.layers.Conv2D(3, 2, activation="tanh"), k.layers.Flatten(), k.layers.Dense(2)]
        )

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4, 4, 2)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    theirs = make(keras)
    theirs.compile(keras.optimizers.Adam(0.01), loss="mse")
    for _ in range(2):
        theirs.train_on_batch(x, y)
    theirs.save(tmp_path / "m.keras")
    ours = saving.load_model(tmp_path / "m.keras")
    assert ours.train_on_batch(x, y) == pytest.approx(float(theirs.train_on_batch(x, y)), rel=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def test_a_model_comes_back_as_it_was(pair, tmp_path):
    make, ours, _ = pair
    ours.save(tmp_path / "m.keras")
    loaded = saving.load_model(tmp_path / "m.keras")
    assert type(loaded) is type(ours)
    assert loaded.get_config() == ours.get_config()
    assert loaded.get_compile_config() == ours.get_compile_config()
    for mine, other in zip(ours.variables, loaded.variables, strict=True):  # random generators' states as well
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(outputs(ours, data(make)[0]), outputs(loaded, data(make)[0])):
        np.testing.assert_array_equal(mine, other)
    uncompiled = saving.load_model(tmp_path / "m.keras", compile=False)
    assert not uncompiled.compiled
    with pytest.raises(ValueError, match=r"You must call `compile\(\)`"):
        uncompiled.train_on_batch(*data(make))


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_what_compile_was_given_comes_back(tmp_path, name):
    model = functional(minicnn)
    model.compile(
        OPTIMIZERS["sgd"](minicnn),
        LOSSES[functional],
        loss_weights=[0.25, 2.0],
        metrics=[["mean_absolute_error"], []],
        weighted_metrics=[[], ["mean_squared_error"]],
    )
    x, y = data(functional)
    weights = [np.linspace(0, 1, 6), np.linspace(2, 1, 6)]
    expected = model.test_on_batch(x, y, sample_weight=weights, return_dict=True)
    model.save(tmp_path / name)
    again = saving.load_model(tmp_path / name)
    assert again.test_on_batch(x, y, sample_weight=weights, return_dict=True) == expected
    for each in (model, again):
        each.train_on_batch(x, y, sample_weight=weights)
    for mine, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_what_was_frozen_as_a_whole_stays_frozen(tmp_path, name):
    for trainable in (False, True):
        model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(2)], trainable=trainable)
        model.save(tmp_path / name)
        loaded = minicnn.models.load_model(tmp_path / name)
        assert (loaded.trainable, len(loaded.trainable_weights)) == (trainable, 2 * trainable)


def test_a_model_in_an_open_file():
    ours = sequential(minicnn)
    buffer = io.BytesIO()
    saving.save_model(ours, buffer)
    loaded = saving.load_model(buffer)
    np.testing.assert_array_equal(loaded.get_weights()[0], ours.get_weights()[0])


# --- the older format --------------------------------------------------------------------------


def test_older_files_travel_both_ways(pair, tmp_path):
    make, ours, theirs = pair
    x = data(make)[0]
    ours.save(tmp_path / "ours.h5")
    theirs.save(tmp_path / "theirs.h5")
    with h5py.File(tmp_path / "ours.h5") as mine, h5py.File(tmp_path / "theirs.h5") as other:
        for place in ("/", "model_weights"):
            assert dict.fromkeys(mine[place].attrs) == dict.fromkeys(other[place].attrs)
            assert all(mine[place].attrs[name] == other[place].attrs[name] for name in ("keras_version", "backend"))
    back = keras.models.load_model(tmp_path / "ours.h5")
    # Keras builds the optimizer of such a file without variables and then cannot set them; so it does with its own.
    assert len(back.optimizer.variables) == len(keras.models.load_model(tmp_path / "theirs.h5").optimizer.variables) <= 2
    for mine, other in zip(outputs(ours, x), outputs(back, x)):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    assert_same(saving.load_model(tmp_path / "theirs.h5"), theirs, x)
    assert_same(saving.load_model(tmp_path / "ours.h5"), ours, x)
    assert not saving.load_model(tmp_path / "theirs.h5", compile=False).compiled
    for by_name in (False, True):
        again = type(ours).from_config(ours.get_config())  # the names of its layers are the file's
        again.load_weights(tmp_path / "ours.h5", by_name=by_name)
        for mine, other in zip(outputs(again, x), outputs(ours, x)):
            np.testing.assert_array_equal(mine, other)
    ours.save_weights(tmp_path / "weights.h5")
    again = type(theirs).from_config(theirs.get_config())
    again.load_weights(tmp_path / "weights.h5")
    for mine, other in zip(outputs(again, x), outputs(ours, x)):
        np.testing.assert_allclose(mine, other, atol=1e-5)


def in_a_row(k, *names):
    return k.Sequential([k.Input((4,)), *(k.layers.Dense(4, name=name) for name in names)])


def test_older_files_by_name_and_not_by_place(tmp_path):
    in_a_row(keras, "a", "b").save(tmp_path / "m.h5")
    saved = keras.models.load_model(tmp_path / "m.h5")
    for k in (minicnn, keras):
        model = in_a_row(k, "b", "new", "a")
        before = [np.asarray(weight) for weight in model.get_layer("new").get_weights()]
        model.load_weights(tmp_path / "m.h5", by_name=True)
        for name in ("a", "b"):
            for one, other in zip(model.get_layer(name).get_weights(), saved.get_layer(name).get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)
        for one, other in zip(model.get_layer("new").get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)


def statistics_amid_weights(k):
    """A model inside, whose second layer has weights that are not trained, of the same shape as the others."""
    layers = k.layers
    inner = [k.Input((4,)), layers.Dense(4, use_bias=False), layers.BatchNormalization(), layers.Dense(4)]
    return k.Sequential([k.Input((4,)), k.Sequential(inner, name="inner"), layers.Dense(2, name="last")])


@pytest.mark.parametrize("frozen", [False, True])
def test_older_files_hold_the_weights_that_are_trained_first(tmp_path, frozen):
    x = np.random.default_rng(8).normal(size=(5, 4)).astype("float32")
    ours, theirs = statistics_amid_weights(minicnn), statistics_amid_weights(keras)
    for model in (ours, theirs):
        rng = np.random.default_rng(9)
        model.set_weights([rng.uniform(0.5, 1.5, np.shape(weight)) for weight in model.get_weights()])
        model.get_layer("inner").trainable = not frozen
    expected = outputs(theirs, x)
    ours.save(tmp_path / "ours.h5")
    theirs.save(tmp_path / "theirs.h5")
    for k, name in ((keras, "ours"), (minicnn, "theirs"), (minicnn, "ours")):
        for mine, other in zip(outputs(k.models.load_model(tmp_path / f"{name}.h5"), x), expected):
            np.testing.assert_allclose(mine, other, atol=1e-5)


def test_older_files_of_a_model_that_was_not_compiled(tmp_path):
    ours = sequential(minicnn)
    ours.save(tmp_path / "m.h5")
    loaded = saving.load_model(tmp_path / "m.h5")
    assert not loaded.compiled
    for mine, other in zip(loaded.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    trained_one = trained(sequential, "adam", minicnn)
    trained_one.save(tmp_path / "m.h5", include_optimizer=False)
    assert not saving.load_model(tmp_path / "m.h5").compiled


def test_names_that_do_not_fit_into_one_attribute(tmp_path):
    def make():
        layers = [minicnn.layers.Dense(1, name=f"{index:04d}" + 800 * "n") for index in range(90)]
        return minicnn.Sequential([minicnn.Input((1,)), *layers])

    ours, loaded = make(), make()
    ours.save(tmp_path / "m.h5")
    loaded.load_weights(tmp_path / "m.h5")
    for mine, other in zip(loaded.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.__delitem__("model_config"), "No model config found in the file at "),
        (lambda f: f.attrs.__setitem__("model_config", "{"), "is not readable as JSON"),
        (lambda f: f.attrs.__setitem__("model_config", np.ones(3)), "should hold JSON. Received: ndarray"),
        (lambda f: f.attrs.__setitem__("training_config", "[]"), "should hold a JSON object"),
        (lambda f: f.__delitem__("model_weights"), "holds no weights of layers"),
        (lambda f: f.__delitem__("model_weights/dense_a"), "Layer count mismatch when loading weights from file."),
        (lambda f: f.__delitem__("model_weights/dense_a/dense_a"), "Weight 'dense_a/kernel' of layer #0 "),
        (lambda f: f["model_weights/dense_a"].attrs.__setitem__("weight_names", [b"x"]), "Weight count mismatch for layer #0"),
        (
            lambda f: f["model_weights/dense_a"].attrs.__setitem__("weight_names", [b"/", b"../x"]),
            "Invalid H5 file, nothing at",
        ),
        (
            lambda f: (
                f.__delitem__("model_weights/dense_a/dense_a/bias"),
                f.__setitem__("model_weights/dense_a/dense_a/bias", 1),
            ),
            "Shape mismatch at '/model_weights/dense_a/dense_a/bias': expected (4,), received ()",
        ),
        (
            lambda f: (f.move("model_weights/dense_a", "x"), f.__setitem__("model_weights/dense_a", h5py.SoftLink("/x"))),
            "Not allowed: H5 file with SoftLink",
        ),
    ],
)
def test_older_files_that_hold_something_else(tmp_path, change, message):
    layers = [minicnn.layers.Dense(4, name="dense_a"), minicnn.layers.Dense(2, name="dense_b")]
    model = minicnn.Sequential([minicnn.Input((3,)), *layers])
    model.compile("adam", loss="mse")
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        change(file)
    with pytest.raises(ValueError, match=re.escape(message)):
        saving.load_model(tmp_path / "m.h5")


# --- layers that hold layers ----------------------------------------------------------------


def test_layers_inside_layers_stand_where_keras_puts_them(tmp_path):
    def make(k):
        class Branches(k.layers.Layer):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.stem = k.layers.Dense(3)
                self.arms = [k.layers.Dense(2), k.layers.Dense(2)]
                self.named = {"a": k.layers.Dense(1)}

            def build(self, input_shape):
                for layer, shape in [(self.stem, input_shape), (self.arms[0], (None, 3)), (self.arms[1], (None, 3))]:
                    layer.build(shape)
                self.named["a"].build((None, 3))
                self.scale = self.add_weight(shape=(2,), initializer="ones")
                self.built = True

            def call(self, x):
                stem = self.stem(x)
                return self.arms[0](stem) + self.arms[1](stem) + self.scale + self.named["a"](stem)

            def compute_output_shape(self, input_shape):
                return (input_shape[0], 2)

        return k.Sequential([k.Input((5,)), Branches()])

    ours, theirs = make(minicnn), make(keras)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    mine = contents(tmp_path / "ours.keras")
    del mine["minicnn_training/state"]
    assert mine == contents(tmp_path / "theirs.keras")


class Scale(Layer):
    def build(self, input_shape):
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

    def forward(self, x, training):
        return x * self.factor.value, x


def test_a_layer_of_one_s_own(tmp_path):
    model = minicnn.Sequential([minicnn.Input((3,)), Scale()])
    model.layers[0].factor.assign([1.0, 2.0, 3.0])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"Unknown object: 'Scale'.*custom_objects"):
        saving.load_model(tmp_path / "m.keras")
    loaded = saving.load_model(tmp_path / "m.keras", custom_objects={"Scale": Scale})
    np.testing.assert_array_equal(loaded.layers[0].factor, [1.0, 2.0, 3.0])


def test_each_random_generator_of_a_layer_comes_back(tmp_path):
    class Noise(Layer):
        def __init__(self):
            super().__init__()
            self.coarse, self.fine = minicnn.random.SeedGenerator(1), minicnn.random.SeedGenerator(2)

        def forward(self, x, training):
            return x, None

    states = []
    for drawn in (3, 0):
        model = minicnn.Sequential([minicnn.Input((3,)), Noise()])
        for _ in range(drawn):
            model.layers[0].fine.next_key()
        if drawn:
            model.save_weights(tmp_path / "w.weights.h5")
        else:
            model.load_weights(tmp_path / "w.weights.h5")
        states.append([variable.numpy() for variable in model.variables])
    np.testing.assert_array_equal(*states)


def test_a_large_model_with_every_slot_comes_back(tmp_path):
    """Over a megabyte of weights, and four slots to each of them: what a file may have follows from both."""
    model = minicnn.Sequential([minicnn.Input((300,)), minicnn.layers.Dense(1000)])
    model.compile(minicnn.optimizers.Adam(amsgrad=True, use_ema=True, gradient_accumulation_steps=2), "mse")
    for _ in range(2):
        model.train_on_batch(np.ones((1, 300)), np.ones((1, 1000)))
    model.save(tmp_path / "m.keras")
    for mine, other in zip(state(model), state(saving.load_model(tmp_path / "m.keras")), strict=True):
        np.testing.assert_array_equal(mine, other)


# --- what does not fit ------------------------------------------------------------------------


def small(units=2):
    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(4), minicnn.layers.Dense(units)])
    model.compile("adam", loss="mse")
    return model


def state(model):
    return [variable.numpy() for variable in model.variables + model.optimizer.variables]


def assert_unchanged(model, before):
    for mine, other in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(mine, other)
    model.train_on_batch(np.ones((2, 3)), np.ones((2, model.output_shape[-1])))  # and still works


def test_weights_of_another_shape_change_nothing(tmp_path):
    small(units=3).save_weights(tmp_path / "w.weights.h5")
    model = small()
    model.optimizer.build(model.trainable_weights)
    before = state(model)
    with pytest.raises(
        ValueError, match=r"(?s)A total of 1 objects could not be loaded.*Shape mismatch at '/layers/dense_1/vars/"
    ):
        model.load_weights(tmp_path / "w.weights.h5")
    assert_unchanged(model, before)


@pytest.mark.parametrize("name", ["w.weights.h5", "m.keras"])
def test_skip_mismatch_loads_the_rest(tmp_path, name):
    other, model = small(units=3), small()
    other.save(tmp_path / name) if name == "m.keras" else other.save_weights(tmp_path / name)
    kept = model.layers[1].get_weights()
    with pytest.warns(UserWarning, match="A total of 1 objects could not be loaded"):
        model.load_weights(tmp_path / name, skip_mismatch=True)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], other.layers[0].get_weights()[0])
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], kept[0])


def test_a_layer_that_objects_while_loading_leaves_the_others_alone(tmp_path):
    class Fussy(Scale):
        objects = False

        def load_own_variables(self, store):
            if self.objects:
                raise RuntimeError("not today")
            super().load_own_variables(store)

    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(3), Fussy()])
    model.save_weights(tmp_path / "w.weights.h5")
    model.layers[0].kernel.assign(np.ones((3, 3)))
    model.layers[1].objects = True
    undo = model.layers[1].load_own_variables
    with pytest.raises(RuntimeError, match="not today"):
        model.load_weights(tmp_path / "w.weights.h5")
    assert undo is not None
    np.testing.assert_array_equal(model.layers[0].kernel, np.ones((3, 3)))


def test_another_optimizer_s_state_is_skipped_with_a_warning(tmp_path):
    model = small()
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
    model.save_weights(tmp_path / "w.weights.h5")
    model.compile("sgd", loss="mse")
    with pytest.warns(UserWarning, match=r"Skipping variable loading for optimizer 'sgd.*', because it has 2 variables"):
        model.load_weights(tmp_path / "w.weights.h5")
    fresh = small()  # its optimizer has nothing to lose, nor has the file's
    fresh.save_weights(tmp_path / "fresh.weights.h5")
    model.load_weights(tmp_path / "fresh.weights.h5")
    with h5py.File(tmp_path / "fresh.weights.h5", "a") as file:
        del file["minicnn_training"], file.attrs["minicnn_sha256"], file["optimizer/vars/0"]
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        model.load_weights(tmp_path / "fresh.weights.h5")


def test_a_model_without_weights_yet(tmp_path):
    model = minicnn.Sequential([minicnn.layers.Dense(2)])
    with pytest.raises(ValueError, match="You are saving a model that has not yet been built"):
        model.save_weights(tmp_path / "w.weights.h5")
    with pytest.warns(UserWarning, match="You are saving a model that has not yet been built") as told:
        model.save(tmp_path / "m.keras")
    assert told[0].filename == __file__
    assert not saving.load_model(tmp_path / "m.keras").built
    small().save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ValueError, match="You are loading weights into a model that has not yet been built"):
        model.load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m, at: m.save(at / "m.txt"), ValueError, "Invalid filepath extension for saving. Please add"),
        (
            lambda m, at: m.save_weights(at / "m.keras"),
            ValueError,
            "The filename must end in `.weights.h5`. Received: filepath=",
        ),
        (lambda m, at: m.load_weights(at / "m.txt"), ValueError, "File format not supported: filepath="),
        (lambda m, at: m.load_weights(at / "no.weights.h5"), FileNotFoundError, "no.weights.h5"),
        (lambda m, at: saving.load_model(at / "no.keras"), ValueError, "File not found: filepath="),
        (lambda m, at: saving.load_model(at / "m.txt"), ValueError, "File format not supported: filepath="),
        (lambda m, at: saving.load_model(at / "m.h5"), ValueError, "File not found: filepath="),
        (lambda m, at: m.save(at / "m.keras", banana=1), ValueError, "The following argument(s) are not supported: ['banana']"),
        (lambda m, at: m.save(at / "m.keras", zipped=False), ValueError, "`zipped=False` is not supported"),
        (lambda m, at: m.load_weights(at / "m.keras", banana=1), ValueError, "Invalid keyword arguments: {'banana': 1}"),
        (lambda m, at: m.load_weights(at / "m.weights.h5", by_name=True), ValueError, "`by_name` only supports loading legacy"),
    ],
)
def test_wrong_names_and_arguments(tmp_path, act, error, message):
    with pytest.raises(error, match=re.escape(message)):
        act(small(), tmp_path)
    assert os.listdir(tmp_path) == []


# --- whole or not at all -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_a_failing_save_leaves_the_old_file(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    model = small()

    def fail(file):
        raise OSError("disk full")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        model.save(path) if name == "m.keras" else model.save_weights(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


def test_the_new_file_is_complete_before_it_takes_the_name(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    small().save(path)
    steps = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(atomic.os, name, lambda *a, name=name, original=original: (steps.append(name), original(*a))[1])
    small().save(path)
    assert steps == ["fsync", "replace", "fsync"]  # the file, the name, the directory
    saving.load_model(path)


def test_links_and_permissions_stay(tmp_path):
    target, link = tmp_path / "real.keras", tmp_path / "link.keras"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    small().save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    saving.load_model(target)


def test_what_a_killed_save_left_is_swept_by_the_next(tmp_path):
    """Of this target only, of processes that are gone only, and nothing that anybody else may have named so."""
    path = tmp_path / "m.keras"
    code = (
        "import os, signal, sys\n"
        "from minicnn.atomic import replacing\n"
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for target in (path, tmp_path / "other.keras"):
        subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert len(os.listdir(tmp_path)) == 2
    others = {"m.keras.tmp", "m.keras.backup.tmp", f"m.keras.{os.getppid()}-01234567.tmp", "m.keras.12-0123.tmp"}
    for name in others:
        (tmp_path / name).write_bytes(b"")
    ours = tmp_path / f"m.keras.{os.getpid()}-01234567.tmp"  # of an earlier process with the number of this one
    ours.write_bytes(b"")
    with atomic.replacing(path) as running:
        assert not ours.exists()
        small().save(path)  # as another thread may
        running.write(b"")
    assert {name for name in os.listdir(tmp_path) if not name.startswith("other.keras.")} == {*others, "m.keras"}
    small().save(tmp_path / "other.keras")
    assert set(os.listdir(tmp_path)) == {*others, "m.keras", "other.keras"}


def test_a_file_is_never_readable_by_more_people_while_it_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        path = tmp_path / "m.keras"
        for mode, meanwhile in ((None, 0o644), (0o600, 0o600), (0o664, 0o644), (0o400, 0o400)):
            if mode is not None:
                path.chmod(mode)
            with atomic.replacing(path) as file:
                assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == meanwhile
            assert stat.S_IMODE(path.stat().st_mode) == (mode or 0o644)
    finally:
        os.umask(before)


@pytest.mark.parametrize("letter", ["a", "é"])
@pytest.mark.parametrize("bytes_of_name", [229, 230, 231, 242, 243, 249, 254, 255])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path, letter, bytes_of_name):
    name = (letter * 255).encode()[: bytes_of_name - 6].decode(errors="ignore") + ".keras"
    small().save(tmp_path / name)
    saving.load_model(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("answers", "written"), [(["y"], True), (["maybe", "n"], False)])
def test_overwriting_is_asked_about_on_request(tmp_path, monkeypatch, answers, written):
    path = tmp_path / "m.keras"
    path.write_bytes(b"old")
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: (questions.append(question), answers[len(questions) - 1])[1])
    small().save(path, overwrite=False)
    assert questions[0] == f"[WARNING] {path} already exists - overwrite? [y/n]"
    assert (path.read_bytes() != b"old") is written


# --- hostile files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A good archive, as {member: bytes}."""
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    model = small()
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
    model.save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(path, members, **compression):
    with zipfile.ZipFile(path, "w", **compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def with_config(members, change):
    config = json.loads(members["config.json"])
    change(config)
    return {**members, "config.json": json.dumps(config)}


def set_units(config, units):
    config["config"]["layers"][1]["config"]["units"] = units


def dense(config):
    return config["config"]["layers"][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {**m, "../evil": b""}, "Expected the members metadata.json, config.json and model.weights.h5"),
        (lambda m: {**m, "assets/x": b""}, "Expected the members"),
        (lambda m: {k: v for k, v in m.items() if k != "model.weights.h5"}, "Expected the members"),
        (lambda m: {**m, "config.json": b"{"}, "is not readable as JSON"),
        (lambda m: {**m, "config.json": b"\xff\xfe"}, "is not readable as JSON"),
        (lambda m: {**m, "config.json": b"[1]"}, "should hold a JSON object. Received: list"),
        (lambda m: {**m, "config.json": b"[" * 10**6}, "is not readable as JSON"),
        (lambda m: {**m, "config.json": b'{"a":' * 300 + b"1" + b"}" * 300}, "is nested more than 200 levels deep"),
        (lambda m: {**m, "config.json": b"{}"}, "describes no model. Received: None"),
        (
            lambda m: {**m, "config.json": json.dumps(dense(json.loads(m["config.json"])))},
            "describes no model. Received: 'Dense'",
        ),
        (lambda m: {**m, "config.json": b" " * 2**25}, "'config.json' in "),
        (lambda m: with_config(m, lambda c: c.pop("config")), "A Sequential model configuration must be a dictionary"),
        (lambda m: with_config(m, lambda c: c.update(config=5)), "describes no model that minicnn can make"),
        (lambda m: with_config(m, lambda c: c["config"].update(layers=7)), "describes no model that minicnn can make"),
        (lambda m: with_config(m, lambda c: dense(c).update(class_name="HashedCrossing")), "Unknown"),
        (lambda m: with_config(m, lambda c: dense(c).update(class_name="__lambda__")), "Python lambda"),
        (lambda m: with_config(m, lambda c: dense(c).update(class_name="system", module="os")), "Unknown"),
        (lambda m: with_config(m, lambda c: dense(c)["config"].update(activation={"class_name": "__lambda__"})), "lambda"),
        (lambda m: with_config(m, lambda c: dense(c)["config"].update(banana=1)), "banana"),
        (lambda m: with_config(m, lambda c: set_units(c, 10**9)), "exceeds what this file can hold"),
        (lambda m: with_config(m, lambda c: set_units(c, 10**30)), "exceeds what this file can hold"),
        (lambda m: {**m, "model.weights.h5": b""}, "is not an HDF5 file, or it is damaged"),
        (lambda m: {**m, "model.weights.h5": b"x" * 1000}, "is not an HDF5 file, or it is damaged"),
        (lambda m: {**m, "model.weights.h5": m["model.weights.h5"] + bytes(2**24)}, "at most "),
    ],
)
def test_archives_that_hold_something_else(tmp_path, saved, change, message):
    path = pack(tmp_path / "m.keras", change(saved))
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        saving.load_model(path)


def test_a_compressed_archive_is_read_and_a_bomb_is_not(tmp_path, saved):
    saving.load_model(pack(tmp_path / "m.keras", saved, compression=zipfile.ZIP_DEFLATED))
    bomb = pack(tmp_path / "b.keras", {**saved, "model.weights.h5": bytes(2**27)}, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**20
    with pytest.raises(ValueError, match=f"bytes to {2**27}; at most 100 times what is stored"):
        saving.load_model(bomb)


def test_a_member_twice(tmp_path, saved):
    path = pack(tmp_path / "m.keras", saved)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="Expected the members"):
        saving.load_model(path)


@pytest.mark.parametrize("named", [{"banana": 1}, {"module_objects": {}}, {"module_objects": {}, "banana": 1}])
def test_no_other_arguments_to_read_a_config(named):
    with pytest.raises(ValueError, match="Unrecognized keyword arguments passed to deserialize_keras_object"):
        saving.deserialize_keras_object({}, **named)
    assert saving.deserialize_keras_object({}, module_objects=None) == {}


def test_no_archive_at_all(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"is not a `\.keras` zip file, or it is damaged"):
        saving.load_model(tmp_path / "m.keras")


def outside(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros((3, 4), "float32")
    return str(tmp_path / "other.h5")


def replace(make):
    def change(file, tmp_path):
        del file["layers/dense/vars/0"]
        make(file["layers/dense/vars"], tmp_path)

    return change


def virtual(group, tmp_path):
    layout = h5py.VirtualLayout((3, 4), "float32")
    layout[:] = h5py.VirtualSource(outside(tmp_path), "x", (3, 4))
    group.create_virtual_dataset("0", layout)


def set_state(file, state):
    del file["minicnn_training/state"]
    file["minicnn_training/state"] = state


def training_state(text):
    """A state of other JSON, as who wishes harm would write it: with its checksum."""

    def change(file, tmp_path):
        state = len(text).to_bytes(8, "little") + text
        set_state(file, np.frombuffer(state, np.uint8))
        described = f"minicnn_training/state |u1 ({len(state)},)\n".encode()
        file.attrs["minicnn_sha256"] = np.bytes_(hashlib.sha256(described + state).hexdigest().encode())

    return change


def older(change):
    """A file without checksums, such as Keras writes."""

    def changed(file, tmp_path):
        del file["minicnn_training"], file.attrs["minicnn_sha256"]
        change(file)

    return changed


def linked_group(file, tmp_path):
    del file["layers/dense"]
    file["layers/dense"] = h5py.SoftLink("/layers/dense_1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(lambda g, at: g.__setitem__("0", h5py.SoftLink("/layers/dense/vars/1"))), "H5 file with SoftLink"),
        (replace(lambda g, at: g.__setitem__("0", h5py.ExternalLink(outside(at), "x"))), "H5 file with ExternalLink"),
        (replace(virtual), "data outside of itself"),
        (
            replace(lambda g, at: g.create_dataset("0", (3, 4), "f4", external=[(outside(at), 0, 48)])),
            "data outside of itself",
        ),
        (linked_group, "H5 file with SoftLink at '/layers/dense'"),
        (replace(lambda g, at: g.create_group("0")), "expected Dataset at"),
        (replace(lambda g, at: g.create_dataset("0", (10**9, 10**6), "f4", chunks=(1, 1), fillvalue=1)), "Shape mismatch"),
        (replace(lambda g, at: g.create_dataset("0", data=np.full((3, 4), b"a"))), "Expected numbers at"),
        (replace(lambda g, at: g.create_dataset("0", data=np.ones((3, 4), "c8"))), "Expected numbers at"),
        (replace(lambda g, at: None), "is damaged: what stands at 'layers/dense/vars'"),
        (lambda f, at: f.__delitem__("layers"), "is damaged: what stands at 'layers/dense/vars'"),
        (older(lambda f: f.__delitem__("layers/dense/vars/0")), "expected 2 variables, but received 1 variables"),
        (older(lambda f: f.__delitem__("layers")), "expected 2 variables, but received 0 variables"),
        (training_state(b"{"), "The state of the training in "),
        (training_state(b"[]"), "cannot be read: a list, no dict"),
        (training_state(b'{"model": {"a": -1}}'), "should hold non-negative integers. Received: {'a': -1}"),
        (training_state(b"{}"), "should hold non-negative integers. Received: None"),
        (training_state(b'{"model": {}, "run": 3}'), "is none: 'run' is int"),
        (training_state(b'{"model": {}, "sums": []}'), "is none: 'sums' is list"),
        (training_state(b'{"model": {"__array__": ["<f4", [9], 0]}}'), "cannot be read: "),
        (training_state(b'{"model": {"__array__": ["O", [1], 0]}}'), "cannot be read: an array of dtype object"),
        (training_state(b'{"model": {"__array__": 3}}'), "cannot be read: "),
        (lambda f, at: set_state(f, h5py.SoftLink("/layers/dense/vars/0")), "H5 file with SoftLink"),
        (lambda f, at: set_state(f, np.ones(9)), "is damaged: what stands at 'minicnn_training'"),
        (lambda f, at: f.__delitem__("minicnn_training"), "is damaged: what stands at 'minicnn_training'"),
        (lambda f, at: f.attrs.__delitem__("minicnn_sha256"), "is damaged: what stands at 'minicnn_training'"),
        (lambda f, at: f.attrs.__setitem__("minicnn_sha256", "text"), "is damaged: what stands at 'minicnn_training'"),
        (lambda f, at: f["layers/dense/vars/0"].__setitem__((1, 2), 7), "is damaged: what stands at 'layers/dense/vars'"),
        (lambda f, at: f.move("optimizer", "other"), "is damaged: what stands at 'optimizer/vars'"),
        (older(lambda f: f.attrs.__setitem__("minicnn_training_state", "[]")), "should hold non-negative integers"),
        (older(lambda f: f.attrs.__setitem__("minicnn_training_state", "{")), "Expecting property name"),
        (older(lambda f: f.attrs.__setitem__("minicnn_training_state", np.ones(3))), "in "),
    ],
)
def test_weights_files_that_hold_something_else(tmp_path, change, message):
    path = tmp_path / "w.weights.h5"
    small().save_weights(path)
    with h5py.File(path, "a") as file:
        change(file, tmp_path)
    model = small()
    model.optimizer.build(model.trainable_weights)
    before = state(model)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.load_weights(path)
    assert_unchanged(model, before)


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_damaged_files_raise_clearly_or_load(saved, draw, tmp_path_factory):
    """Bytes overwritten or cut off anywhere: a ValueError, or a model; nothing else, and no half-loaded one."""
    at = tmp_path_factory.mktemp("damaged")
    content = bytearray(pack(at / "m.keras", saved).read_bytes())
    if draw.draw(st.booleans()):
        del content[draw.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(draw.draw(st.integers(1, 8))):
            content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    (at / "m.keras").write_bytes(content)
    with contextlib.suppress(ValueError):
        assert saving.load_model(at / "m.keras").built


@pytest.mark.parametrize("name", ["w.weights.h5", "m.keras"])
@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 2**20), change=st.integers(1, 255))
def test_no_changed_byte_is_taken_for_a_weight(saved, name, tmp_path_factory, place, change):
    """One byte is another than was written: an error, or the numbers that were saved."""
    path = tmp_path_factory.mktemp("rot") / name
    if name == "m.keras":
        pack(path, saved)
    else:
        path.write_bytes(saved["model.weights.h5"])
    model = small()
    model.load_weights(path)
    expected = [*state(model), *model._training_state().values()]
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    model = small()
    try:
        model.load_weights(path)
    except ValueError:
        return
    found = [*state(model), *model._training_state().values()]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_attributes_are_of_fixed_length(saved):
    """Those of variable length lie in HDF5's global heap, which it reads without end when it is damaged."""
    found = {}
    with h5py.File(io.BytesIO(saved["model.weights.h5"])) as file:
        file.visititems(lambda name, item: found.update({(name, key): item.attrs.get_id(key).dtype for key in item.attrs}))
        found.update({("", key): file.attrs.get_id(key).dtype for key in file.attrs})
    assert {dtype.kind for dtype in found.values()} == {"S"}
    assert ("", "minicnn_sha256") in found
    assert ("layers/dense/vars", "name") in found
    assert b"GCOL" not in saved["model.weights.h5"]


def test_weights_without_checksums_and_state_are_loaded(tmp_path):
    """As Keras writes them, and as older versions did, with the seed in an attribute."""
    model, path = small(), tmp_path / "w.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["minicnn_training"], file.attrs["minicnn_sha256"]
        file.attrs["minicnn_training_state"] = json.dumps({"epochs_done": 3, "passes_done": 3, "shuffle_seed": 5})
        file["layers/dense/vars/0"][1, 2] = 7
    other = small()
    other.load_weights(path)
    assert other.layers[0].get_weights()[0][1, 2] == 7
    assert other._training_state() == {"passes_done": 3, "shuffle_seed": 5}
    np.testing.assert_array_equal(other.layers[1].get_weights()[0], model.layers[1].get_weights()[0])
    with h5py.File(path, "a") as file:  # the layout of TensorFlow 2.13
        file.move("layers", "_layer_checkpoint_dependencies")
    other = small()
    other.load_weights(path)
    assert other.layers[0].get_weights()[0][1, 2] == 7
    np.testing.assert_array_equal(other.layers[1].get_weights()[0], model.layers[1].get_weights()[0])


def test_a_checksum_is_of_all_of_an_array_and_of_its_type(tmp_path):
    model = minicnn.Sequential([minicnn.Input((40,)), minicnn.layers.Dense(50)])

    def changed(place):
        def change(array):
            array.flat[place] += 1
            return array

        return change

    path = tmp_path / "w.weights.h5"
    for change in (changed(0), changed(1000), changed(-1), lambda array: array.view(np.int32)):
        model.save_weights(path)
        with h5py.File(path, "a") as file:
            array = file["layers/dense/vars/0"][()]
            del file["layers/dense/vars/0"]
            file["layers/dense/vars/0"] = change(array)
        with pytest.raises(ValueError, match="is damaged: what stands at 'layers/dense/vars' is not what was saved there"):
            model.load_weights(path)
    model = small()
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["optimizer/vars/2"]
    with pytest.raises(ValueError, match="is damaged: what stands at 'optimizer/vars' is not what was saved there"):
        model.load_weights(path)


STATE = {
    "numbers": [1, -2.5, True, None, "é", np.float32(0.1), np.int64(2**40), np.bool_(True)],
    "arrays": {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in ("?", "u1", "<i8", "<f2", "<f4", ">f8")},
    "shapes": [np.array(7.0), np.zeros((0, 3)), np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)],
    "empty": {},
}


def test_a_state_comes_back_with_its_arrays():
    data = pack_state(STATE)
    again = unpack_state(data, "s")
    assert again["numbers"] == [1, -2.5, True, None, "é", float(np.float32(0.1)), 2**40, True]
    assert again["empty"] == {}
    for name in ("arrays", "shapes"):
        pairs = zip(again[name].values(), STATE[name].values()) if name == "arrays" else zip(again[name], STATE[name])
        for ours, array in pairs:
            assert (ours.dtype, ours.shape, ours.flags.writeable) == (array.dtype, array.shape, True)
            np.testing.assert_array_equal(ours, array)
    for wrong in (object(), np.array(["text"]), np.array([None])):
        with pytest.raises(TypeError, match="The state of a training is made of numbers"):
            pack_state({"x": [wrong]})
    text = json.dumps({"x": {"__array__": ["S1", [1], 0]}}).encode()
    for damaged in (data[:-1], data[:7], data[:8], pack_state([1]), len(text).to_bytes(8, "little") + text + b"a"):
        with pytest.raises(ValueError, match=r"The state of the training in s cannot be read"):
            unpack_state(damaged, "s")


@pytest.mark.parametrize(
    ("found", "expected"),
    [([0, 1], (0, 1)), ([0, 255], (0, 255)), (None, None), ("no file", None), ([0, 2], ""), (0, ""), ("0, 1", "")],
)
def test_the_range_of_input_stands_in_the_metadata(tmp_path, saved, found, expected):
    model = small()
    model.input_range = expected or None
    model.save(tmp_path / "ours.keras")
    assert saving.load_model(tmp_path / "ours.keras").input_range == (expected or None)
    members = dict(saved)
    metadata = {**json.loads(members.pop("metadata.json")), "minicnn_input_range": found}
    if found != "no file":
        members["metadata.json"] = json.dumps(metadata)
    pack(tmp_path / "m.keras", members)
    if expected == "":
        with pytest.raises(ValueError, match=r"the range of input should be \[0, 1\] or \[0, 255\]. Received"):
            saving.load_model(tmp_path / "m.keras")
    else:
        assert saving.load_model(tmp_path / "m.keras").input_range == expected


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_damaged_weights_change_nothing_or_everything(saved, draw, tmp_path_factory):
    content = bytearray(saved["model.weights.h5"])
    if draw.draw(st.booleans()):
        del content[draw.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(draw.draw(st.integers(1, 8))):
            content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "w.weights.h5"
    path.write_bytes(content)
    model = small()
    model.optimizer.build(model.trainable_weights)
    before = state(model)
    try:
        model.load_weights(path)
    except ValueError:
        for mine, other in zip(state(model), before, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_keras_s_lambda_layers_are_refused_unless_the_user_says_so(tmp_path):
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    theirs.save(tmp_path / "m.keras")
    for arguments in ({}, {"safe_mode": True}, {"compile": False}):
        with pytest.raises(ValueError, match=r"Python lambda.*`safe_mode=False`"):
            saving.load_model(tmp_path / "m.keras", **arguments)
    ours = saving.load_model(tmp_path / "m.keras", safe_mode=False)
    np.testing.assert_array_equal(ours.predict(np.zeros((2, 3)), verbose=0), np.ones((2, 3)))
    with pytest.raises(ValueError, match="Python lambda"):  # it held for that one file
        saving.load_model(tmp_path / "m.keras")


def test_the_limits_leave_room_for_every_file_of_keras(pair, tmp_path):
    _, _, theirs = pair
    theirs.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as file:
        size = file.getinfo("model.weights.h5").file_size
    assert size < weights_file.expected_bytes(saving.load_model(tmp_path / "m.keras", compile=False)) / 4


def test_lambdas_are_loaded_where_the_program_said_so_once(tmp_path, monkeypatch):
    monkeypatch.setattr(minicnn.config, "_safe_mode", True)
    minicnn.Sequential([minicnn.Input((2,)), minicnn.layers.Lambda(lambda x: x * 3)]).save(tmp_path / "m.keras")
    minicnn.config.enable_unsafe_deserialization()
    again = saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(np.ones((1, 2), np.float32)), [[3, 3]])


def test_a_layer_whose_config_has_no_name_is_found_in_its_graph(tmp_path):
    @saving.register_keras_serializable("test_a_layer_whose_config_has_no_name")
    class Scaled(Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {"factor": self.factor}

    inputs = minicnn.Input((4,))
    model = minicnn.Model(inputs, minicnn.layers.Dense(1)(Scaled(2.0)(Scaled(0.5)(inputs))))
    path, x = tmp_path / "model.keras", np.ones((2, 4), np.float32)
    model.save(path)
    for _ in range(2):  # what was loaded has other names, and is saved and loaded with those
        loaded = minicnn.models.load_model(path)
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        loaded.save(path)


def test_a_class_of_built_models_has_weights_to_save(tmp_path):
    class Pair(minicnn.Model):
        def __init__(self):
            super().__init__()
            self.first = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(2)])
            self.second = minicnn.Sequential([minicnn.Input((2,)), minicnn.layers.Dense(1)])

        def train_step(self, data):
            return {"loss": 0.0}

    one, other = Pair(), Pair()
    one.save_weights(tmp_path / "pair.weights.h5")
    other.load_weights(tmp_path / "pair.weights.h5")
    for part in ("first", "second"):
        for weight, expected in zip(getattr(other, part).get_weights(), getattr(one, part).get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)
    one.second = minicnn.Sequential([minicnn.layers.Dense(1)])
    with pytest.raises(ValueError, match="not yet been built"):
        one.save_weights(tmp_path / "other.weights.h5")


def test_assets_that_are_not_saved_are_told_of(tmp_path):
    class Words(minicnn.layers.Dense):
        def save_assets(self, inner_path):
            raise AssertionError("nobody calls this")

    model = minicnn.Sequential([minicnn.layers.Input((2,)), Words(1)])
    with pytest.warns(UserWarning, match="What `save_assets` of layers/words writes is not saved"):
        model.save(tmp_path / "words.keras")
