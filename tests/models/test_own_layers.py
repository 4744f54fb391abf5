"""Layers of a user's own in a model: what they hand over reaches the kernels whole, and what they hold is trained.

Keras does the same with layers that say the same, so it says what is right.
"""

from __future__ import annotations

import itertools
import textwrap

import keras
import numpy as np
import pytest

import minicnn
from minicnn import layers, study
from minicnn.layers import base
from minicnn.models.guards import NumericsError

RNG = np.random.default_rng(4)
X = RNG.random((24, 8, 9, 3), np.float32)
Y = RNG.integers(0, 3, 24)
ROWS = RNG.random((24, 7), np.float32)


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    minicnn.set_random_seed(7)


def losses_of_both(ours, theirs, optimizer="sgd", epochs=3, x=X, y=Y):
    """Train both from our weights, over the same batches; returns their losses."""
    theirs.set_weights(ours.get_weights())
    found = []
    for module, model in ((minicnn, ours), (keras, theirs)):
        model.compile(module.optimizers.get(optimizer), "sparse_categorical_crossentropy", run_eagerly=True)
        found.append(model.fit(x, y, batch_size=9, epochs=epochs, shuffle=False, verbose=0).history["loss"])
    return found


def trained_alike(ours, theirs, optimizer="sgd", epochs=3, x=X, y=Y):
    one, other = losses_of_both(ours, theirs, optimizer, epochs, x, y)
    np.testing.assert_allclose(one, other, rtol=1e-5)
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


# --- views and types ------------------------------------------------------------------


class Mirror(layers.Layer):
    """Left is right: a view, forward and backward."""

    def forward(self, x, training):
        return x[:, :, ::-1], None

    def backward(self, dy, saved):
        return dy[:, :, ::-1], ()


class Transposed(layers.Layer):
    """Rows are columns."""

    def compute_output_shape(self, input_shape):
        N, H, W, C = input_shape
        return N, W, H, C

    def forward(self, x, training):
        return x.transpose(0, 2, 1, 3), None

    def backward(self, dy, saved):
        return dy.transpose(0, 2, 1, 3), ()


class Cropped(layers.Layer):
    """The image without its frame of one pixel."""

    def compute_output_shape(self, input_shape):
        N, H, W, C = input_shape
        return N, H - 2, W - 2, C

    def forward(self, x, training):
        return x[:, 1:-1, 1:-1], x.shape

    def backward(self, dy, saved):
        dx = np.zeros(saved, dy.dtype)
        dx[:, 1:-1, 1:-1] = dy
        return dx, ()


class Exact(layers.Layer):
    """Doubled in float64, as NumPy's functions easily become, forward and backward."""

    def forward(self, x, training):
        return x * np.float64(2), None

    def backward(self, dy, saved):
        return dy * np.float64(2), ()


class ByRow(layers.Layer):
    """A factor for each row of the image; its gradient is a view of a float64 array with steps between its elements."""

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[1],), "ones", name="factor")

    def forward(self, x, training):
        return x * self.factor.value[:, None, None], x

    def backward(self, dy, saved):
        twice = np.repeat((dy * saved).sum(axis=(0, 2, 3), dtype=np.float64), 2)
        return dy * self.factor.value[:, None, None], (twice[::2],)


class KerasByRow(keras.layers.Layer):
    def build(self, input_shape):
        self.factor = self.add_weight(shape=(input_shape[1],), initializer="ones", name="factor")

    def call(self, x):
        return x * self.factor[:, None, None]


OWN = {
    "mirror": (Mirror, lambda: keras.layers.Lambda(lambda x: x[:, :, ::-1])),
    "transposed": (Transposed, lambda: keras.layers.Permute((2, 1, 3))),
    "cropped": (Cropped, lambda: keras.layers.Cropping2D(1)),
    "float64": (Exact, lambda: keras.layers.Rescaling(2.0)),
    "gradient": (ByRow, KerasByRow),
}


def around(module, own):
    """A network that has an own layer behind its input, between convolutions and before its dense layer."""
    return module.Sequential(
        [
            module.layers.Input(X.shape[1:]),
            own(),
            module.layers.Conv2D(5, 3, padding="same", activation="relu"),
            own(),
            module.layers.Conv2D(6, 2, padding="same", activation="relu"),
            own(),
            module.layers.Flatten(),
            module.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("name", OWN)
def test_what_an_own_layer_hands_over_is_what_kernels_read(name):
    own, their = OWN[name]
    model = around(minicnn, own)
    trained_alike(model, around(keras, their))
    predicted = model.predict(X, verbose=0)
    np.testing.assert_array_equal(model(X), predicted)


@pytest.mark.parametrize("activation", ["layer", "function"])
def test_an_own_activation_may_return_views(activation):
    class Reversed(layers.Layer):
        def forward(self, x, training):
            return x[..., ::-1], None

        def backward(self, dy, saved):
            return dy[..., ::-1], ()

    def reversed_(x):
        return x[..., ::-1]

    reversed_.forward = lambda x: (x[..., ::-1], None)
    reversed_.backward = lambda dy, kept: dy[..., ::-1]

    def model_of(module, activation):
        return module.Sequential(
            [
                module.layers.Input(X.shape[1:]),
                module.layers.Conv2D(5, 3, activation=activation),
                module.layers.Conv2D(4, 2, activation="relu"),
                module.layers.Flatten(),
                module.layers.Dense(6, activation=activation),
                module.layers.Dense(3, activation="softmax"),
            ]
        )

    ours = model_of(minicnn, Reversed() if activation == "layer" else reversed_)
    trained_alike(ours, model_of(keras, lambda x: x[..., ::-1]))


HELD = {
    "dense": lambda: layers.Dense(5, activation="gelu"),
    "convolution": lambda: layers.Conv2D(5, 3, activation="tanh"),
    "convolution of many channels": lambda: layers.Conv2D(32, 3, padding="same"),  # another kernel
    "strided convolution": lambda: layers.Conv2D(5, 2, strides=2, padding="same", activation="relu"),
    "max pooling": lambda: layers.MaxPooling2D(3, strides=2, padding="same"),
    "average pooling": lambda: layers.AveragePooling2D(2),
    "global max pooling": lambda: layers.GlobalMaxPooling2D(keepdims=True),
    "global average pooling": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "normalization": lambda: layers.BatchNormalization(),
    "softmax": lambda: layers.Softmax(),
    "dropout": lambda: layers.Dropout(0.5, seed=3),
    "padding": lambda: layers.ZeroPadding2D(((1, 2), (0, 3))),
    "rescaling": lambda: layers.Rescaling([1.0, 2.0] * 16),
}
DISORDERLY = {
    "turned": lambda array: array[:, ::-1, ::-1],
    "transposed": lambda array: np.asfortranarray(array),
    "every second": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "float64": lambda array: array.astype(np.float64),
    "turned float64": lambda array: array[..., ::-1].astype(np.float64)[..., ::-1],
    "read-only": lambda array: np.broadcast_to(array, array.shape)[..., ::-1],
}


@pytest.mark.parametrize("kind", DISORDERLY)
@pytest.mark.parametrize("name", HELD)
def test_a_layer_that_is_held_may_be_given_any_array(name, kind):
    """In either pass. The reference backend, which reads arrays as NumPy does, says what is right."""
    disorder = DISORDERLY[kind]
    x = np.random.default_rng(5).standard_normal((3, 8, 10, 32)).astype(np.float32)
    weights, found = None, []
    for backend in ("reference", "numba"):
        minicnn.set_backend(backend)
        try:
            layer = HELD[name]()
            layer.build(x.shape)
            weights = layer.get_weights() if weights is None else weights
            layer.set_weights(weights)
            given = disorder(x)
            before = given.copy()
            y, saved = layer.forward(given, True)
            dy = disorder(np.random.default_rng(6).standard_normal(np.shape(y)).astype(np.float32))
            dx, grads = layer.backward(dy, saved)
            found.append([np.array(array, np.float64) for array in (y, dx, *grads, *layer.weights)])
            np.testing.assert_array_equal(given, before)
        finally:
            minicnn.set_backend("numba")
    for ours, expected in zip(*found[::-1], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


def test_a_layer_may_hand_views_to_the_layers_that_it_holds():
    class Turned(layers.Layer):
        """dense(conv(x turned by 180 degrees)); its own gradient comes back turned."""

        def build(self, input_shape):
            self.conv = layers.Conv2D(5, 2, padding="same", activation="relu")
            self.dense = layers.Dense(4)
            self.conv.build(input_shape)
            self.dense.build((*input_shape[:-1], 5))

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 4)

        def forward(self, x, training):
            h, of_conv = self.conv.forward(x[:, ::-1, ::-1], training)
            y, of_dense = self.dense.forward(h.transpose(0, 2, 1, 3), training)
            return y.transpose(0, 2, 1, 3), (of_conv, of_dense)

        def backward(self, dy, saved):
            of_conv, of_dense = saved
            dh, dense_grads = self.dense.backward(dy.transpose(0, 2, 1, 3), of_dense)
            dx, conv_grads = self.conv.backward(dh.transpose(0, 2, 1, 3), of_conv)
            return dx[:, ::-1, ::-1], (*conv_grads, *dense_grads)

    class KerasTurned(keras.layers.Layer):
        def build(self, input_shape):
            self.conv = keras.layers.Conv2D(5, 2, padding="same", activation="relu")
            self.dense = keras.layers.Dense(4)
            self.conv.build(input_shape)
            self.dense.build((*input_shape[:-1], 5))

        def call(self, x):
            return self.dense(self.conv(x[:, ::-1, ::-1]))

    def model_of(module, own):
        return module.Sequential(
            [
                module.layers.Input(X.shape[1:]),
                module.layers.Conv2D(8, 3),
                own(),
                module.layers.Flatten(),
                module.layers.Dense(3, activation="softmax"),
            ]
        )

    trained_alike(model_of(minicnn, Turned), model_of(keras, KerasTurned))


def test_the_gradient_of_an_own_loss_may_lie_in_any_order():
    def scaled(y_true, y_pred):
        return ((y_pred - y_true) ** 2).sum(axis=-1)

    scaled.gradient = lambda y_true, y_pred: np.asfortranarray(2 * (y_pred - y_true).astype(np.float64))
    # Behind a convolution without an activation, whose kernel takes the gradient just as the loss returned it.
    ours, theirs = (
        module.Sequential([module.layers.Input(X.shape[1:]), module.layers.Conv2D(5, 2), module.layers.Conv2D(4, 2)])
        for module in (minicnn, keras)
    )
    theirs.set_weights(ours.get_weights())
    targets = RNG.random((24, 6, 7, 4), np.float32)
    for model, loss in ((ours, scaled), (theirs, lambda y_true, y_pred: keras.ops.sum((y_pred - y_true) ** 2, axis=-1))):
        model.compile("sgd", loss, run_eagerly=True)
        model.fit(X, targets, batch_size=9, epochs=2, shuffle=False, verbose=0)
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def mixed(module, first, second, third):
    image = module.layers.Input(X.shape[1:], name="image")
    a = module.layers.Conv2D(5, 3, activation="relu", dtype=first)(image)
    b = module.layers.Conv2D(5, 3, padding="same", dtype=second)(a)
    b = module.layers.ReLU(dtype=first)(module.layers.BatchNormalization(dtype=third)(b))
    joined = module.layers.Add(dtype=second)([a, b])
    outputs = module.layers.Dense(3, activation="softmax", dtype=third)(module.layers.Flatten()(joined))
    return module.Model(image, outputs)


@pytest.mark.parametrize("dtypes", list(itertools.product(["float32", "float64"], repeat=3)))
def test_layers_of_several_dtypes_are_cast_at_their_borders(dtypes):
    trained_alike(mixed(minicnn, *dtypes), mixed(keras, *dtypes))


def test_a_dtype_holds_for_weights_values_and_gradients():
    model = mixed(minicnn, "float32", "float64", "float32")
    conv = model.layers[2]
    assert [weight.dtype for weight in model.layers[1].weights + conv.weights] == ["float32"] * 2 + ["float64"] * 2
    _, found = model.gradients_at(X, np.ones((24, 3)))
    kinds = {name: [array.dtype.name for array in arrays] for name, arrays in found.items()}
    assert kinds == {layer.name: [layer.dtype] * 2 for layer in model.layers[1:]} | {"input": ["float32"] * 2}


@pytest.mark.parametrize(("layer", "weight"), [(1, 1), (2, 0), (3, 1)])
def test_the_nan_watch_names_the_layer_whatever_its_dtype(layer, weight):
    model = mixed(minicnn, "float32", "float64", "float32")
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_step([X], [Y], watch=True)  # all is well
    bad = model.layers[layer].weights[weight]
    bad.assign(np.where(np.arange(bad.size).reshape(bad.shape) == bad.size - 1, np.nan, bad.numpy()))
    with pytest.raises(NumericsError, match=f"forward pass of layer '{model.layers[layer].name}\\b"):
        model.train_step([X], [Y], watch=True)


def test_the_nan_watch_does_not_mind_large_numbers():
    """Finite ones, whose sum overflows, or is infinity less infinity on its way; warnings are errors here."""
    model = minicnn.Sequential(
        [layers.Input((4,)), layers.Rescaling([3e38, 3e38, -3e38, -3e38]), layers.Rescaling(1e-38), layers.Dense(3)]
    )
    model.compile("sgd", "mse")
    model.train_step([np.ones((64, 4), np.float32)], [np.ones((64, 3), np.float32)], watch=True)
    assert np.isfinite(model.get_weights()[0]).all()


# --- what a layer gets wrong is said --------------------------------------------------


class Wrong(layers.Layer):
    """Right but for what a test changes."""

    def __init__(self, y=lambda y: y, dx=lambda dx: dx, grads=lambda grads: grads, **arguments):
        super().__init__(name="wrong", **arguments)
        self.change_y, self.change_dx, self.change_grads = y, dx, grads

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
        self.shift = self.add_weight((input_shape[-1],), "zeros", name="shift")
        self.count = self.add_weight((), "zeros", trainable=False, name="count")

    def forward(self, x, training):
        return self.change_y(x * self.scale.value + self.shift.value), x

    def backward(self, dy, saved):
        grads = (dy * saved).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))
        return self.change_dx(dy * self.scale.value), self.change_grads(grads)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"grads": lambda grads: grads[:1]},
            ValueError,
            r"Layer 'wrong': `backward` returned 1 gradients, expected 2, one for each of: wrong/scale, wrong/shift",
        ),
        ({"grads": lambda grads: (*grads, 0.0)}, ValueError, r"'wrong': `backward` returned 3 gradients, expected 2"),
        ({"grads": lambda grads: ()}, ValueError, r"'wrong': `backward` returned 0 gradients, expected 2"),
        (
            {"grads": lambda grads: (grads[0], grads[1][:2])},
            ValueError,
            r"'wrong': `backward` returned a gradient of shape \(2,\) for 'wrong/shift', expected \(3,\)",
        ),
        ({"grads": lambda grads: (grads[0], None)}, ValueError, r"'wrong': .* of shape None for 'wrong/shift'"),
        (
            {"dx": lambda dx: dx[:, 1:]},
            ValueError,
            r"'wrong': `backward` returned dx of shape \(8, 7, 9, 3\), expected x's, \(8, 8, 9, 3\)",
        ),
        (
            {"y": lambda y: y[:, 1:-1]},
            ValueError,
            r"'wrong': `forward` returned an output of shape \(8, 6, 9, 3\), expected \(8, 8, 9, 3\): see `compute_out",
        ),
        ({"y": lambda y: y[..., None]}, ValueError, r"'wrong': `forward` returned an output of shape \(8, 8, 9, 3, 1\)"),
        ({"y": lambda y: y[:2]}, ValueError, r"'wrong': `forward` returned an output of shape \(2, 8, 9, 3\)"),
    ],
)
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_shapes_and_numbers_that_do_not_fit_are_errors(change, error, message, backend):
    minicnn.set_backend(backend)
    try:
        model = minicnn.Sequential(
            [
                layers.Input(X.shape[1:]),
                layers.Conv2D(3, 1),
                Wrong(**change),
                layers.Flatten(),
                layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = model.get_weights()
        with pytest.raises(error, match=message):
            model.fit(X, Y, batch_size=8, verbose=0)
        for weight, value in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, value)
        model.layers[1].change_y, model.layers[1].change_dx, model.layers[1].change_grads = [lambda value: value] * 3
        assert np.isfinite(model.fit(X, Y, batch_size=8, verbose=0).history["loss"]).all()
    finally:
        minicnn.set_backend("numba")


def test_one_array_may_be_the_gradient_of_two_weights():
    """Penalties and clipping change gradients in place, each weight's alone."""

    class TwoShifts(layers.Layer):
        def build(self, input_shape):
            self.a = self.add_weight((input_shape[-1],), "ones", regularizer="l2", name="a")
            self.b = self.add_weight((input_shape[-1],), "ones", name="b")

        def forward(self, x, training):
            return x + self.a.value + self.b.value, None

        def backward(self, dy, saved):
            sums = dy.sum(axis=0)
            return dy, (sums, sums)

    class KerasTwoShifts(keras.layers.Layer):
        def build(self, input_shape):
            self.a = self.add_weight(shape=(input_shape[-1],), initializer="ones", regularizer="l2", name="a")
            self.b = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="b")

        def call(self, x):
            return x + self.a + self.b

    rows = RNG.random((24, 5), np.float32)
    ours, theirs = (
        module.Sequential([module.layers.Input((5,)), own(), module.layers.Dense(3, activation="softmax")])
        for module, own in ((minicnn, TwoShifts), (keras, KerasTwoShifts))
    )
    trained_alike(ours, theirs, x=rows)


# --- layers that hold layers ----------------------------------------------------------


def blocks_of(module, layer_class):
    """The same block for both, over the module's own layers; what differs is `forward` and `backward`, or `call`."""

    class Holding(layer_class):
        def __init__(self, units, rate=0.0, **arguments):
            super().__init__(**arguments)
            self.units, self.rate = units, rate
            self.norm = module.layers.BatchNormalization(momentum=0.5)
            self.rows = [
                module.layers.Dense(units, activation="relu", kernel_regularizer="l2"),
                {"inner": module.layers.Dense(units, use_bias=False)},
            ]
            self._drop = module.layers.Dropout(rate)
            self.last = ()

        def build(self, input_shape):
            self.gain = self.add_weight(shape=(), initializer="ones", name="gain")
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")
            self.rows.append(module.layers.Dense(input_shape[-1], name="out"))
            self.norm.build(input_shape)
            self.rows[0].build(input_shape)
            self.rows[1]["inner"].build((*input_shape[:-1], self.units))
            self.rows[2].build((*input_shape[:-1], self.units))

        def get_config(self):
            return super().get_config() | {"units": self.units, "rate": self.rate}

    return Holding


class Block(blocks_of(minicnn, layers.Layer)):
    """gain * (norm -> dense -> dense -> dropout -> dense), and the input added."""

    def forward(self, x, training):
        saved = []
        h = x
        for layer in self.chain():
            h, kept = layer.forward(h, training)
            saved.append(kept)
        return x + self.gain.value * h, (h, saved)

    def backward(self, dy, saved):
        h, kept = saved
        dgain = (dy * h).sum()
        d, grads = dy * self.gain.value, []
        for layer, one in zip(self.chain()[::-1], kept[::-1]):
            d, of_layer = layer.backward(d, one)
            grads = [*of_layer, *grads]
        return dy + d, (dgain, *grads)

    def chain(self):
        return [self.norm, self.rows[0], self.rows[1]["inner"], self._drop, self.rows[2]]


class KerasBlock(blocks_of(keras, keras.layers.Layer)):
    def call(self, x, training=False):
        h = self.rows[0](self.norm(x, training=training))
        h = self._drop(self.rows[1]["inner"](h), training=training)
        return x + self.gain * self.rows[2](h)


KerasBlock.__name__ = "Block"  # under which a file keeps its weights


def with_block(module, own, rate=0.0):
    return module.Sequential(
        [
            module.layers.Input((7,)),
            module.layers.Dense(5, activation="tanh"),
            own(6, rate, name="block"),
            module.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("frozen", [(), ("block",), ("norm",), ("first", "out"), ("kernel",)])
def test_what_a_layer_holds_is_trained(frozen):
    models = with_block(minicnn, Block), with_block(keras, KerasBlock)
    for model in models:
        block = model.layers[1]
        parts = {
            "block": block,
            "norm": block.norm,
            "first": block.rows[0],
            "out": block.rows[2],
            "kernel": block.rows[0].kernel,
        }
        for name in frozen:
            parts[name].trainable = False
    ours, theirs = (model.layers[1] for model in models)
    for kind in ("weights", "trainable_weights", "non_trainable_weights"):
        assert [w.path.split("/")[-1] for w in getattr(ours, kind)] == [w.path.split("/")[-1] for w in getattr(theirs, kind)]
    before = ours.get_weights()
    trained_alike(*models, x=ROWS)
    moved = [not np.array_equal(one, other) for one, other in zip(before, ours.get_weights())]
    trained = {id(weight) for weight in ours.trainable_weights}
    statistics = () if "norm" in frozen or "block" in frozen else ours.norm.non_trainable_weights
    trained |= {id(weight) for weight in statistics}
    assert moved == [id(weight) in trained for weight in ours.weights]


def test_the_penalties_of_held_weights_count_and_those_of_frozen_ones_do_not():
    models = with_block(minicnn, Block), with_block(keras, KerasBlock)
    models[1].set_weights(models[0].get_weights())
    found = []
    for frozen in (False, True):
        for model in models:
            model.layers[1].rows[0].trainable = not frozen
            model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
            found.append(float(model.evaluate(ROWS, Y, verbose=0)))
    np.testing.assert_allclose(found[0::2], found[1::2], rtol=1e-5)
    kernel = models[0].layers[1].rows[0].kernel.numpy().astype("float64")
    np.testing.assert_allclose(found[0] - found[2], 0.01 * (kernel**2).sum(), rtol=1e-3)


def test_held_layers_are_listed_saved_and_loaded(tmp_path):
    model, theirs = with_block(minicnn, Block), with_block(keras, KerasBlock)
    block = model.layers[1]
    assert [w.path.split("/")[0] for w in block.weights] == ["block"] * 11
    assert block.weights[-1].path == "block/out/bias"
    assert len({w.path for w in model.weights}) == len(model.weights) == len(theirs.weights)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(ROWS, Y, epochs=1, verbose=0)
    with minicnn.utils.custom_object_scope({"Block": Block}):
        for name in ("model.keras", "model.h5"):
            model.save(tmp_path / name)
            loaded = minicnn.models.load_model(tmp_path / name)
            for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(model.predict(ROWS, verbose=0), loaded.predict(ROWS, verbose=0))
    model.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    for one, other in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_held_dropout_draws_what_a_seed_says(tmp_path):
    def trained():
        minicnn.set_random_seed(5)
        model = with_block(minicnn, Block, 0.5)
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(ROWS, Y, epochs=2, verbose=0)
        return model

    model = trained()
    generator = model.layers[1]._drop.seed_generator
    assert any(generator.state is variable for variable in model.variables)
    assert generator.state.numpy()[1] == 2  # a key for each step
    for one, other in zip(model.get_weights(), trained().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    model.save_weights(tmp_path / "a.weights.h5")
    again = with_block(minicnn, Block, 0.5)
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(again.layers[1]._drop.seed_generator.state.numpy(), generator.state.numpy())


def test_a_held_layer_that_is_shared_is_listed_once_and_its_gradients_are_summed():
    class Twice(layers.Layer):
        """dense(dense(x))."""

        def build(self, input_shape):
            self.dense = layers.Dense(input_shape[-1], activation="tanh")
            self.again = [self.dense]
            self.dense.build(input_shape)

        def forward(self, x, training):
            h, one = self.dense.forward(x, training)
            y, two = self.dense.forward(h, training)
            return y, (one, two)

        def backward(self, dy, saved):
            dh, second = self.dense.backward(dy, saved[1])
            dx, first = self.dense.backward(dh, saved[0])
            return dx, [a + b for a, b in zip(first, second)]

    class KerasTwice(keras.layers.Layer):
        def build(self, input_shape):
            self.dense = keras.layers.Dense(input_shape[-1], activation="tanh")
            self.dense.build(input_shape)

        def call(self, x):
            return self.dense(self.dense(x))

    ours, theirs = (
        module.Sequential([module.layers.Input((7,)), own(), module.layers.Dense(3, activation="softmax")])
        for module, own in ((minicnn, Twice), (keras, KerasTwice))
    )
    trained_alike(ours, theirs, x=ROWS)


def holders_of_models(module, layer_class):
    """u * v, where (u, v) = pair(inner(x), x): a row of layers, and a graph of two inputs and outputs with a shared layer."""

    class Holding(layer_class):
        def build(self, input_shape):
            shape = tuple(input_shape[1:])
            self.inner = module.Sequential(
                [
                    module.layers.Input(shape),
                    module.layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2"),
                    module.layers.ReLU(),
                    module.layers.BatchNormalization(momentum=0.5),
                    module.layers.Conv2D(3, 1, activation="tanh"),
                ],
                name="inner",
            )
            a, b = module.layers.Input(shape), module.layers.Input(shape)
            shared = module.layers.Conv2D(2, 2, activation="relu", name="shared")
            u = module.layers.Add()([shared(a), shared(b)])
            self.pair = [module.Model([a, b], [u, module.layers.Conv2D(2, 1)(u)], name="pair")]

        def compute_output_shape(self, input_shape):
            N, H, W, _ = input_shape
            return N, H - 1, W - 1, 2

    return Holding


class HoldsModels(holders_of_models(minicnn, layers.Layer)):
    def forward(self, x, training):
        h, of_inner = self.inner.forward(x[:, ::-1], training)
        (u, v), of_pair = self.pair[0].forward([h, x], training)
        return u * v, (u, v, of_inner, of_pair)

    def backward(self, dy, saved):
        u, v, of_inner, of_pair = saved
        (dh, dx), pair_grads = self.pair[0].backward([dy * v, dy * u], of_pair)
        dturned, inner_grads = self.inner.backward(dh, of_inner)
        return dx + dturned[:, ::-1], (*inner_grads, *pair_grads)


class KerasHoldsModels(holders_of_models(keras, keras.layers.Layer)):
    def call(self, x, training=False):
        u, v = self.pair[0]([self.inner(x[:, ::-1], training=training), x], training=training)
        return u * v


KerasHoldsModels.__name__ = "HoldsModels"


def with_models(module, own):
    return module.Sequential(
        [
            module.layers.Input(X.shape[1:]),
            module.layers.Conv2D(3, 1),
            own(name="holder"),
            module.layers.Flatten(),
            module.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("frozen", [False, True])
def test_models_that_a_layer_holds_are_trained(frozen, tmp_path):
    ours, theirs = with_models(minicnn, HoldsModels), with_models(keras, KerasHoldsModels)
    for model in (ours, theirs):
        model.layers[1].inner.trainable = not frozen
    before = ours.layers[1].get_weights()
    trained_alike(ours, theirs)
    moved = [not np.array_equal(one, other) for one, other in zip(before, ours.layers[1].get_weights(), strict=True)]
    assert moved == [not frozen] * 8 + [True] * 4
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    if not frozen:
        with minicnn.utils.custom_object_scope({"HoldsModels": HoldsModels}):
            assert all(check.passed for check in study.gradcheck(ours))


def test_an_activity_penalty_of_a_held_layer_is_refused():
    model = with_block(minicnn, Block)
    model.layers[1].rows[0].activity_regularizer = minicnn.regularizers.L2(0.1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(NotImplementedError, match=r"Layer 'dense.*', which layer 'block' holds, has an `activity_regularizer`"):
        model.fit(ROWS, Y, verbose=0)


def test_a_held_layer_that_is_replaced_is_gone():
    layer = Block(4)
    layer.rows = []
    layer._drop = None
    assert [held.name for held in layer._flatten_layers(include_self=False)] == [layer.norm.name]


def test_the_layers_in_the_documentation_are_right():
    """`Scale` and `Residual`, as the documentation of `Layer` writes them."""
    lines = [line for line in base.__doc__.splitlines() if line.startswith("    ") or not line]
    written = {"Layer": layers.Layer, "Dense": layers.Dense}
    exec(textwrap.dedent("\n".join(lines)), written)
    own = {name: written[name] for name in ("Scale", "Residual")}
    model = minicnn.Sequential(
        [layers.Input((5,)), own["Scale"](), own["Residual"](name="residual"), layers.Dense(3, activation="softmax")]
    )
    held = model.layers[1]._held_layers
    assert [weight.path for weight in model.layers[1].trainable_weights] == [
        f"residual/{layer.name}/{weight}" for layer in held for weight in ("kernel", "bias")
    ]
    with minicnn.utils.custom_object_scope(own):
        checks = study.gradcheck(model)
    assert len(checks) == (1 + 1) + (1 + 4) + (1 + 2) + 2 * 7
    assert all(check.passed for check in checks)


def test_a_first_layer_needs_no_gradient_of_the_data_but_one_behind_it_does():
    class Scaled(minicnn.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def forward(self, x, training):
            return x * self.scale.value, x

        def backward(self, dy, x, need_dx=True):
            return (dy * self.scale.value if need_dx and self.honest else None), (np.sum(dy * x),)

    def trained(position, honest):
        layers = [minicnn.layers.Dense(2, kernel_initializer="ones")]
        layers.insert(position, Scaled())
        layers[position].honest = honest
        model = minicnn.Sequential([minicnn.Input((3,)), *layers])
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        return model.get_weights()

    for one, other in zip(trained(0, True), trained(0, False), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="`backward` returned"):
        trained(1, False)
