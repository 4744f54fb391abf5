"""Models and layers written as a `call`: traced into the graph, trained as Keras trains the same class."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import minicnn
from minicnn import ops
from tests.ops.checks import TOLERANCES

RNG = np.random.default_rng(0)
X = RNG.random((24, 8, 8, 3), np.float32)
Y = RNG.integers(0, 3, 24)
ROWS = RNG.random((24, 6), np.float32)


def classes_of(module: Any) -> dict[str, Any]:
    """The same classes for minicnn and for Keras."""
    layers, ops = module.layers, module.ops

    class Scaled(layers.Layer):
        """Own weights, `ops`, operators, and a branch on `training`."""

        def __init__(self, units=5, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="w")
            self.b = self.add_weight(shape=(self.units,), initializer="ones", regularizer="l2", name="b")

        def call(self, inputs, training=False):
            y = ops.matmul(inputs, self.w * 2.0) + self.b
            if training:
                y = y * 1.5
            return ops.relu(y)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Network(module.Model):
        """Layers in attributes, lists and layers; a slice, a concatenation, a shape that is computed."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.convolution = layers.Conv2D(4, 3, activation="relu")
            self.norm = layers.BatchNormalization()
            self.pool = layers.MaxPooling2D()
            self.blocks = [Scaled(), layers.Dense(4, activation="tanh")]
            self.drop = layers.Dropout(0.0)
            self.out = layers.Dense(3, activation="softmax")

        def call(self, inputs, training=False):
            x = self.norm(self.convolution(inputs[:, ::-1] - 0.5), training=training)
            x = ops.concatenate([self.pool(x), self.pool(-x)], axis=-1)
            x = ops.reshape(x, (ops.shape(x)[0], -1))
            for block in self.blocks:
                x = block(x)
            return self.out(self.drop(x, training=training))

    class TwoInputs(module.Model):
        """A dict of inputs, two outputs, and a penalty."""

        def __init__(self):
            super().__init__()
            self.left, self.right = layers.Dense(4), layers.Dense(4)

        def call(self, inputs):
            a, b = self.left(inputs["a"]), self.right(inputs["b"])
            self.add_loss(0.1 * ops.mean(ops.square(a)))
            return [a * b, ops.sum(a, axis=-1, keepdims=True)]

    class Outer(module.Model):
        """A model that holds models of both kinds."""

        def __init__(self):
            super().__init__()
            inner = module.Input((6,))
            self.functional = module.Model(inner, layers.Dense(4, activation="relu")(inner))
            self.scaled = Scaled(3)

        def call(self, x):
            return ops.softmax(self.scaled(self.functional(x)), axis=-1)

    return {cls.__name__: cls for cls in (Scaled, Network, TwoInputs, Outer)}


OURS, THEIRS = classes_of(minicnn), classes_of(keras)


def pair(name: str, x: Any, loss: Any, **arguments: Any) -> tuple[Any, Any]:
    """Both models, built on data, with the same weights, compiled."""
    models = OURS[name](), THEIRS[name]()
    for model in models:
        model(x)
    models[0].set_weights(models[1].get_weights())
    for model in models:
        model.compile(optimizer="adam", loss=loss, run_eagerly=True, **arguments)  # eager Keras has less to trace
    return models


def trained_alike(ours: Any, theirs: Any, x: Any, y: Any) -> None:
    for ours_of, theirs_of in ((ours.weights, theirs.weights), (ours.trainable_weights, theirs.trainable_weights)):
        assert [(w.name, w.shape) for w in ours_of] == [(w.name, tuple(w.shape)) for w in theirs_of]
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    ours_log, theirs_log = (model.fit(x, y, **options).history for model in (ours, theirs))
    assert sorted(ours_log) == sorted(theirs_log)
    for name, values in theirs_log.items():
        np.testing.assert_allclose(ours_log[name], values, rtol=TOLERANCES["float32"], atol=1e-5)
    for w, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(w, expected, atol=2e-4)
    results = [model.predict(x, verbose=0) for model in (ours, theirs)]
    for y_ours, y_theirs in zip(*[r if isinstance(r, list) else [r] for r in results], strict=True):
        np.testing.assert_allclose(y_ours, y_theirs, atol=2e-4)
    np.testing.assert_allclose(ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), rtol=1e-3)


def test_a_subclassed_model_trains_as_in_keras():
    trained_alike(*pair("Network", X, "sparse_categorical_crossentropy", metrics=["accuracy"]), X, Y)


def test_a_model_that_holds_models_trains_as_in_keras():
    trained_alike(*pair("Outer", ROWS, "sparse_categorical_crossentropy"), ROWS, Y)


def test_a_dict_of_inputs_two_outputs_and_a_penalty():
    x = {"a": ROWS, "b": ROWS[:, ::-1].copy()}
    y = [RNG.random((24, 4), np.float32), RNG.random((24, 1), np.float32)]
    ours, theirs = pair("TwoInputs", x, "mse")
    np.testing.assert_allclose(ours(x) and ours.losses, theirs(x) and theirs.losses, rtol=1e-5)
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    losses = [model.fit(x, y, **options).history["loss"] for model in (ours, theirs)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_traced_layer_in_a_functional_model():
    """It trains, and the model goes into a file and out of it, once the class is registered."""
    models = []
    for module, classes in ((minicnn, OURS), (keras, THEIRS)):
        i = module.Input((6,))
        h = classes["Scaled"](5)(i) + 1.0
        models.append(module.Model(i, module.layers.Dense(3, activation="softmax")(module.ops.exp(-h) / 2)))
    ours, theirs = models
    ours.set_weights(theirs.get_weights())
    for model in models:
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    trained_alike(ours, theirs, ROWS, Y)


def test_what_is_traced_runs_as_a_plan():
    """`fit` runs the layers inside; neighbours are joined, and there is no tape."""
    model = OURS["Network"]()
    model.build((None, 8, 8, 3))
    names = [name for row in model.plan() for name in row["layers"]]
    assert model.convolution.name in names
    assert model.blocks[1].name in names
    assert model.name not in names
    assert any("matmul" in name for name in names)


@pytest.mark.parametrize("build", [lambda m: m.build((None, 8, 8, 3)), lambda m: m(X), lambda m: m.predict(X, verbose=0)])
def test_when_a_model_is_traced(build):
    model = OURS["Network"]()
    assert not model.built
    build(model)
    assert model.built
    assert model.output_shape == (None, 3)
    again = RNG.random((2, 10, 10, 3), np.float32)
    with pytest.raises(ValueError, match="w"):  # its weights fit the first size alone
        model(again)


def test_files(tmp_path: Path):
    """Weights both ways with Keras; the whole model among ourselves, with a registered class."""
    ours, theirs = pair("Network", X, "sparse_categorical_crossentropy")
    for model in (ours, theirs):
        model.fit(X, Y, verbose=0)
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)
    theirs.save_weights(tmp_path / "b.weights.h5")
    ours.load_weights(tmp_path / "b.weights.h5")
    ours.save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="Network"):
        minicnn.models.load_model(tmp_path / "a.keras")
    loaded = minicnn.models.load_model(tmp_path / "a.keras", custom_objects=OURS)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), ours.predict(X, verbose=0))
    loaded.fit(X, Y, verbose=0)
    as_keras = keras.models.load_model(tmp_path / "a.keras", custom_objects=THEIRS)
    np.testing.assert_allclose(as_keras.predict(X, verbose=0), ours.predict(X, verbose=0), atol=1e-5)
    theirs.save(tmp_path / "b.keras")
    loaded = minicnn.models.load_model(tmp_path / "b.keras", custom_objects=OURS)
    np.testing.assert_allclose(loaded.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)
    i = minicnn.Input((6,))
    model = minicnn.Model(i, OURS["Scaled"](4)(i)[:, ::2] * np.ones(2, "float32"))
    model.save(tmp_path / "f.keras")
    loaded = minicnn.models.load_model(tmp_path / "f.keras", custom_objects=OURS)
    np.testing.assert_array_equal(loaded(ROWS), model(ROWS))
    json.dumps(model.get_config())


def test_a_call_of_several_arguments_goes_into_a_file(tmp_path: Path):
    class Distances(minicnn.layers.Layer):
        def call(self, anchor, others, scale=1.0, shift=None):
            return [minicnn.ops.abs(anchor - other) * scale + shift for other in others]

    a, b, c = (minicnn.Input((6,)) for _ in range(3))
    model = minicnn.Model([a, b, c], Distances()(a, [b, c], scale=2.0, shift=c))
    model.save(tmp_path / "a.keras")
    loaded = minicnn.models.load_model(tmp_path / "a.keras", custom_objects={"Distances": Distances})
    x = [ROWS, ROWS * 2, ROWS * 3]
    for y, expected, factor in zip(loaded.predict(x, verbose=0), model.predict(x, verbose=0), (2, 4), strict=True):
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_allclose(y, ROWS * (factor + 3), rtol=1e-6)
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(OURS_BUILT := minicnn.Model(a, minicnn.ops.exp(a) * 2.0)))
    np.testing.assert_array_equal(copies[0].predict(x, verbose=0)[0], model.predict(x, verbose=0)[0])
    np.testing.assert_array_equal(copies[1](ROWS), OURS_BUILT(ROWS))


def test_constants_that_go_through_layers_train_them():
    """Positions for an embedding: nothing symbolic, and weights all the same."""

    def positioned(module):
        class Positioned(module.layers.Layer):
            def __init__(self):
                super().__init__()
                self.embedding = module.layers.Embedding(6, 1)

            def call(self, x):
                positions = module.ops.arange(0, 6, 1)
                return x + module.ops.squeeze(self.embedding(positions), -1)

        i = module.Input((6,))
        return module.Model(i, module.layers.Dense(3, activation="softmax")(Positioned()(i)))

    ours, theirs = positioned(minicnn), positioned(keras)
    ours.set_weights(theirs.get_weights())
    for model in (ours, theirs):
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    trained_alike(ours, theirs, ROWS, Y)


def test_a_variable_that_stands_twice_in_an_op():
    """And an op of variables alone."""

    class Squared(minicnn.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(6,), initializer="ones", name="w")

        def call(self, x):
            return x + minicnn.ops.multiply(self.w, self.w)

    model = minicnn.Sequential([minicnn.Input((6,)), Squared()])
    y, saved = model.forward(ROWS, True)
    np.testing.assert_allclose(y, ROWS + 1)
    dx, (dw,) = model.backward(np.ones_like(ROWS), saved)
    np.testing.assert_array_equal(dx, np.ones_like(ROWS))
    np.testing.assert_allclose(dw, np.full(6, 2 * len(ROWS)))


def test_summary(capsys):
    model = OURS["Network"]()
    model.build((None, 8, 8, 3))
    model.summary()
    text = capsys.readouterr().out
    assert "(None, 6, 6, 4)" in text
    assert "scaled" in text


@pytest.mark.parametrize("kind", ["call", "functional", "traced"])
def test_training_said_by_a_call(kind):
    """Within a `call` it counts; in a functional model `fit` says it anew, as in Keras."""
    means = []
    for module in (minicnn, keras):
        norm = module.layers.BatchNormalization()

        class Inner(module.layers.Layer):
            def __init__(self, norm):
                super().__init__()
                self.norm = norm

            def call(self, x):
                return self.norm(x, training=False)

        class Told(Inner):
            def call(self, x, training=False):
                return self.norm(x, training=training)

        i = module.Input((6,))
        if kind == "functional":
            base = module.Sequential([module.Input((6,)), norm])
        else:
            base = (Told if kind == "traced" else Inner)(norm)
        model = module.Model(
            i, module.layers.Dense(1, kernel_initializer="ones")(base(i, training=False) if kind != "call" else base(i))
        )
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(ROWS, ROWS[:, :1], epochs=2, shuffle=False, verbose=0)
        means.append(np.asarray(norm.moving_mean))
    np.testing.assert_allclose(*means, atol=1e-6)
    assert np.any(means[0]) == (kind != "call")


# --- what cannot be traced ----------------------------------------------------------------


def layer_of(function: Any) -> Any:
    class Own(minicnn.layers.Layer):
        def call(self, x):
            return function(x)

    return Own()


def if_positive(x):
    if minicnn.ops.sum(x) > 0:  # the line
        return x
    return -x


def by_element(x):
    return sum(row for row in x)  # the line


def as_number(x):
    return x * float(minicnn.ops.sum(x))  # the line


def by_numpy(x):
    return np.linalg.inv(x)  # the line


def as_values(x):
    return x.numpy()  # the line


@pytest.mark.parametrize(
    ("function", "instead"),
    [
        (if_positive, "ops.where"),
        (by_element, "ops.unstack"),
        (as_number, "operators"),
        (by_numpy, "minicnn.ops"),
        (as_values, "minicnn.ops"),
    ],
)
def test_what_depends_on_values_is_an_error_that_names_the_line(function, instead):
    line = function.__code__.co_firstlineno
    with pytest.raises((TypeError, ValueError), match=re.escape(instead)) as caught:
        layer_of(function)(minicnn.Input((4,)))
    assert re.search(rf'test_traced.py", line ({line + 1}|{line + 2}), in {function.__name__}.*# the line', str(caught.value))


def test_what_depends_on_values_runs_on_arrays():
    np.testing.assert_array_equal(layer_of(if_positive)(-ROWS), ROWS)


def test_errors_of_a_call():
    with pytest.raises(ValueError, match=r"`call` of Own must return tensors.*Received: 3"):
        layer_of(lambda x: 3)(minicnn.Input((4,)))
    with pytest.raises(ValueError, match=r"Op 'matmul' cannot be applied to inputs of the shapes \(None, 4\)"):
        layer_of(lambda x: minicnn.ops.matmul(x, np.ones((3, 2))))(minicnn.Input((4,)))

    class Grows(minicnn.layers.Layer):
        def call(self, x, training=False):
            return minicnn.ops.concatenate([x, x], axis=-1) if training else x

    with pytest.raises(ValueError, match="returns other shapes in training"):
        Grows()(minicnn.Input((4,)))


def windows(x, size):
    _, H, W, C = x.shape
    x = ops.transpose(ops.reshape(x, (-1, H // size, size, W // size, size, C)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, size * size, C))


class InWindows(minicnn.layers.Layer):
    """A shifted window's attention, cut down: images as windows in the batch axis, a layer on them, and images again."""

    def __init__(self):
        super().__init__()
        self.dense = minicnn.layers.Dense(3)
        self.masked = Masked()

    def call(self, x):
        _, H, W, _ = x.shape
        x = self.masked(
            self.dense(windows(x, 2)), mask=minicnn.Variable(np.arange(H * W / 4, dtype="float32"), trainable=False)
        )
        x = ops.transpose(ops.reshape(x, (-1, H // 2, W // 2, 2, 2, 3)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, H, W, 3))


class Masked(minicnn.layers.Layer):
    def call(self, x, mask=None):
        if mask is None:
            return x
        count = mask.shape[0]
        x = ops.reshape(x, (-1, count, *x.shape[1:])) * ops.reshape(mask, (1, count, 1, 1))
        return ops.reshape(x, (-1, *x.shape[2:]))


def test_a_layer_keeps_what_an_op_did_to_the_batch_axis():
    inputs = minicnn.Input((4, 6, 2))
    layer = InWindows()
    model = minicnn.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 4, 6, 3)
    x = np.random.default_rng(0).random((5, 4, 6, 2), np.float32)
    kernel, bias = layer.dense.get_weights()
    factors = np.arange(6).reshape(2, 3).repeat(2, 0).repeat(2, 1)[..., None]
    np.testing.assert_allclose(model.predict(x, verbose=0), (x @ kernel + bias) * factors, rtol=1e-5, atol=1e-6)
    inner = minicnn.Sequential([minicnn.layers.Dense(3)])
    moved = ops.reshape(inner(windows(inputs, 2)), (-1, 4 * 6, 3))
    assert moved.shape == (None, 24, 3)


def test_a_layer_and_a_model_hand_a_mask_to_a_call_that_takes_one():
    class Model(minicnn.Model):
        def call(self, x, mask=None):
            return x if mask is None else x * mask

    x, mask = np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(Model()(minicnn.ops.convert_to_tensor(x), mask=mask), [mask, mask])
    with pytest.raises(ValueError, match=r"takes no mask. Received: mask="):
        minicnn.layers.Dense(2)(x, mask=mask)


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        ("normal", ()),
        ("uniform", ()),
        ("truncated_normal", ()),
        ("randint", (0, 1 << 20)),
        ("gamma", (2.0,)),
        ("beta", (2.0, 3.0)),
    ],
)
def test_random_numbers_of_a_traced_shape_are_drawn_for_the_batch(draw, arguments):
    function = getattr(minicnn.random, draw)

    class Noisy(minicnn.Model):
        def call(self, x):
            kept = minicnn.random.bernoulli((x.shape[0], 1), 1.0) + minicnn.random.bernoulli(x.shape, 0.0)
            return x + minicnn.ops.cast(function(x.shape, *arguments), "float32") * kept

    noisy = Noisy()
    drawn = [noisy.predict(np.zeros((count, 4)), verbose=0) for count in (5, 3)]
    assert [one.shape for one in drawn] == [(5, 4), (3, 4)]
    assert np.unique(drawn[0]).size == 20
    with pytest.raises(ValueError, match=r"shape of known sizes.*Received: shape=\(None, 4\)"):
        minicnn.random.normal(minicnn.Input((4,)).shape)


@pytest.mark.parametrize("trained", [False, True])
def test_a_model_whose_layers_stand_in_a_call_has_a_row_in_another_s_summary(trained: bool) -> None:
    class Net(minicnn.Model):
        def __init__(self) -> None:
            super().__init__(name="net")
            self.dense = minicnn.layers.Dense(2)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.dense(x)

    net, x = Net(), minicnn.Input((3,), name="numbers")
    if trained:
        net.compile("sgd", "mse")
        net.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    lines: list[str] = []
    minicnn.Model(x, net(x)).summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert all(name in text for name in ("numbers", "(None, 3)", "net (Net)", "(None, 2)", "Total params: 8"))
