"""What every layer does: names, weights, calls, configs; and the messages for what it cannot do."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import minicnn
from minicnn import activations, layers, registry
from tests.layers.checks import plain_config
from tests.ops.checks import Target

x = np.random.default_rng(0).standard_normal((2, 6, 7, 3)).astype("float32")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv2D(4, 3)(x[0]), r"expected min_ndim=4, found ndim=3. Full shape received: \(6, 7, 3\)"),
        (lambda: layers.Conv2D(4, 3)(x[None]), "Kernel shape must have the same length as input"),
        (lambda: layers.Conv2D(4, 8)(x), r"Computed output size would be zero or negative.*kernel shape=\(8, 8, 3, 4\)"),
        (lambda: layers.Conv2D(4, 3, dilation_rate=4)(x), "Computed output size would be zero or negative"),
        (lambda: layers.Conv2D(4, 3).build((None, 8, 8, None)), "last dimension of the inputs must be defined"),
        (lambda: layers.Conv2D(0, 3), "Invalid value for argument `filters`. Expected a strictly positive value"),
        (lambda: layers.Conv2D(2, (3, 3, 3)), "The `kernel_size` argument must be a tuple of 2 integers"),
        (lambda: layers.Conv2D(2, 0), "The `kernel_size` argument must be a tuple of 2 integers"),
        (lambda: layers.Conv2D(2, 3, strides=(1, 0)), "The `strides` argument must be a tuple of 2 integers"),
        (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), "`strides > 1` not supported in conjunction with"),
        (lambda: layers.Conv2D(2, 3, padding="full"), r"`padding` argument must be .*\('valid', 'same'\).*padding='full'"),
        (lambda: layers.Conv2D(2, 3, data_format="NCHW"), "The `data_format` argument must be one of"),
        (lambda: layers.Conv2D(2, 3, groups=0), "The number of groups must be a positive integer"),
        (lambda: layers.Conv2D(3, 3, groups=2), "must be evenly divisible by the number of groups"),
        (
            lambda: layers.Conv2D(4, 3, groups=2, name="conv").build((None, 5, 5, 3)),
            r"channels must be evenly divisible by the number of groups. Received groups=2, .* 3 channels .* Layer: 'conv'",
        ),
        (lambda: layers.Conv2D(4, 3, lora_rank=2), "`lora_rank` is not supported by minicnn"),
        (lambda: layers.Conv2D(4, 3, activation="rleu"), "Could not interpret activation function identifier: rleu"),
        (lambda: layers.Conv2D(4, 3, kernal=3), r"Unrecognized keyword arguments passed to Conv2D: \{'kernal': 3\}"),
        (lambda: layers.MaxPooling2D(8)(x), "Computed output size would be zero or negative"),
        (lambda: layers.MaxPooling2D()(x[0]), "expected ndim=4, found ndim=3"),
        (lambda: layers.AveragePooling2D(padding="VALDI"), "The `padding` argument must be one of"),
        (lambda: layers.GlobalMaxPooling2D()(x[0, 0]), "expected ndim=4, found ndim=2"),
        (lambda: layers.Dense(-1), "Received an invalid value for `units`, expected a positive integer"),
        (lambda: layers.Dense("4"), "Received an invalid value for `units`"),
        (lambda: layers.Dense(4)(x[0, 0, 0]), "expected min_ndim=2, found ndim=1"),
        (lambda: layers.Dense(4, quantization_config={"mode": "int8"}), "`quantization_config` is not supported"),
        (lambda: layers.BatchNormalization(axis=5)(x), "Axis 5 is out of bounds for input shape"),
        (lambda: layers.Softmax(axis=7)(x), r"different ones of an array of rank \d. Received: axis=7"),
        (lambda: layers.ReLU(max_value=-1), "max_value of a ReLU layer cannot be a negative value"),
        (lambda: layers.ReLU(negative_slope=-1), "negative_slope of a ReLU layer cannot be None or a negative value"),
        (lambda: layers.ReLU(threshold=None), "threshold of a ReLU layer cannot be None or a negative value"),
        (lambda: layers.LeakyReLU(-0.1), "negative_slope value of a Leaky ReLU layer cannot be None or negative"),
        (lambda: layers.Reshape((5, -1))(x), "The total size of the tensor must be unchanged"),
        (lambda: layers.Reshape((-1, -1)), "There must be at most one unknown dimension"),
        (lambda: layers.Reshape((-2, 3)), "Each dimension in `target_shape` must be a non-negative integer"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "`padding` should have two elements"),
        (lambda: layers.ZeroPadding2D(None), "`padding` should be either an int"),
        (lambda: layers.ZeroPadding2D(-1), "must be a tuple of 2 integers"),
        (lambda: layers.Add()(x), "A merge layer should be called on a list of inputs"),
        (lambda: layers.Add()([x, x[:, :2]]), "Inputs have incompatible shapes"),
        (lambda: layers.Concatenate()([x, x[:, :2]]), "requires inputs with matching shapes except for the concatenation"),
        (lambda: layers.Concatenate(axis=7)([x, x]), "requires inputs with matching shapes"),
        (lambda: layers.Dense(2, name="a/b"), "cannot contain character `/`"),
        (lambda: layers.Dense(2, dtype="float16"), "minicnn computes in one of"),
        (lambda: layers.Dense(2).count_params(), "the layer isn't built"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_error_leaves_the_layer_usable(target: Target) -> None:
    layer = layers.Conv2D(4, 3)
    before = np.asarray(layer(x))
    for bad in (x[..., :2], x[0], x[:, :2]):
        with pytest.raises(ValueError, match=r"(?i)layer"):
            layer(bad)
    np.testing.assert_array_equal(layer(x), before)
    unbuilt = layers.Conv2D(4, 7)
    with pytest.raises(ValueError, match="zero or negative"):
        unbuilt(x)
    assert not unbuilt.built
    assert unbuilt(np.zeros((1, 7, 7, 3), "float32")).shape == (1, 1, 1, 4)


@pytest.mark.parametrize(
    ("class_name", "arguments"),
    [
        ("Conv2D", (1, 1)),
        ("Convolution2D", (1, 1)),
        ("MaxPool2D", ()),
        ("AvgPool2D", (2,)),
        ("GlobalMaxPool2D", ()),
        ("GlobalAveragePooling2D", ()),
        ("Dense", (1,)),
        ("BatchNormalization", ()),
        ("Activation", ("relu",)),
        ("ReLU", ()),
        ("LeakyReLU", ()),
        ("ELU", ()),
        ("ZeroPadding2D", ()),
        ("RandomFlip", ()),
    ],
)
def test_automatic_names_are_keras_names(class_name: str, arguments: tuple[Any, ...]) -> None:
    registry.clear_names()
    keras.utils.clear_session()
    for _ in range(3):
        assert getattr(layers, class_name)(*arguments).name == getattr(keras.layers, class_name)(*arguments).name


def test_activation_may_be_a_layer_or_a_function(target: Target) -> None:
    """Programs of Keras 2 wrote `Dense(3, activation=LeakyReLU(alpha=0.1))`."""
    with pytest.warns(UserWarning, match="Argument `alpha` is deprecated"):
        slope = layers.LeakyReLU(alpha=0.125)
    rows = target.normal(0, 4, 5)
    layer, plain = layers.Dense(3, activation=slope, dtype=target.dtype), layers.Dense(3, dtype=target.dtype)
    layer.build(rows.shape)
    plain.build(rows.shape)
    plain.set_weights(layer.get_weights())
    z = np.asarray(plain(rows))
    target.check(np.asarray(layer(rows)), np.where(z > 0, z, z / 8))
    dy = target.normal(1, 4, 3)
    dx, grads = layer.backward(dy, layer.forward(rows, True)[1])
    expected_dx, expected_grads = plain.backward(np.where(z > 0, dy, dy / 8), plain.forward(rows, True)[1])
    target.check(dx, expected_dx)
    for gradient, expected in zip(grads, expected_grads):
        target.check(gradient, expected)
    assert isinstance(layers.deserialize(layers.serialize(layer)).activation, layers.LeakyReLU)

    own = layers.Dense(3, activation=lambda z: np.maximum(z, 0.5), dtype=target.dtype)
    assert np.min(own(rows)) >= 0.5
    dx, _ = own.backward(dy, own.forward(rows, True)[1])
    target.check(dx, np.where(np.asarray(rows @ own.kernel.numpy()) > 0.5, dy, 0) @ own.kernel.numpy().T)
    logits = layers.Dense(3, activation="softmax")
    logits.activation = None  # as Grad-CAM programs do
    assert logits(rows.astype("float32")).shape == (4, 3)
    assert layers.Dense(3).activation is activations.linear


def test_frozen_weights(target: Target) -> None:
    layer = layers.BatchNormalization()
    layer.build((None, 3))
    assert [len(w) for w in (layer.weights, layer.trainable_weights, layer.non_trainable_weights)] == [4, 2, 2]
    layer.trainable = False
    assert [len(w) for w in (layer.weights, layer.trainable_weights, layer.non_trainable_weights)] == [4, 0, 4]
    assert layer.get_config()["trainable"] is False


def test_losses_are_those_of_keras(target: Target) -> None:
    arguments = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l2", "bias_initializer": "ones"}
    ours, theirs = layers.Dense(4, **arguments), keras.layers.Dense(4, **arguments)
    rows = x[:, 0, 0]
    theirs(rows)
    ours.build(rows.shape)
    ours.set_weights(theirs.get_weights())
    ours(rows)
    np.testing.assert_allclose([float(loss) for loss in ours.losses], [float(loss) for loss in theirs.losses], rtol=1e-5)


def test_set_weights_changes_all_or_nothing() -> None:
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match="weight list of length 1, but the layer was expecting 2"):
        layer.set_weights([np.ones((3, 2))])
    with pytest.raises(ValueError, match=r"weight shape \(2,\) is not compatible with provided weight shape \(3,\)"):
        layer.set_weights([np.ones((3, 2)), np.ones(3)])
    for weight, value in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(weight, value)


class Scale(layers.Layer):
    """The example in the documentation of `Layer`."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return x * self.factor.value, x

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return dy * self.factor.value, ((dy * saved).sum(axis=tuple(range(saved.ndim - 1))),)


def test_a_layer_of_ones_own() -> None:
    layer = Scale()
    assert layer.name == "scale" or layer.name.startswith("scale_")
    np.testing.assert_array_equal(layer(x), x)
    assert [w.path for w in layer.weights] == [f"{layer.name}/factor"]
    dx, (dfactor,) = layer.backward(np.ones_like(x), layer.forward(x, True)[1])
    np.testing.assert_allclose(dfactor, x.sum(axis=(0, 1, 2)), rtol=1e-4)
    assert dx.shape == x.shape
    assert layer(layers.Input((6, 7, 3))).shape == (None, 6, 7, 3)

    class Doubled(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    doubled = Doubled()
    np.testing.assert_array_equal(doubled(x), 2 * x)
    y, saved = doubled.forward(x, True)  # as a layer that holds it calls it
    np.testing.assert_array_equal(doubled.backward(y, saved)[0], 4 * x)


@pytest.mark.parametrize(
    ("layer", "input_shape", "flops"),
    [
        (layers.Conv2D(16, 3), (None, 8, 8, 4), 2 * 6 * 6 * 16 * 3 * 3 * 4),
        (layers.Conv2D(16, 3, strides=2, padding="same"), (None, 8, 8, 4), 2 * 4 * 4 * 16 * 3 * 3 * 4),
        (layers.Dense(10), (None, 20), 2 * 20 * 10),
        (layers.Dense(10), (None, 7, 20), 7 * 2 * 20 * 10),
        (layers.MaxPooling2D(3), (None, 9, 9, 2), 3 * 3 * 2 * 9),
        (layers.GlobalAveragePooling2D(), (None, 9, 9, 2), 9 * 9 * 2),
        (layers.BatchNormalization(), (None, 9, 9, 2), 2 * 9 * 9 * 2),
        (layers.Conv2D(6, (2, 3), groups=2), (None, 8, 9, 4), 2 * 7 * 7 * 6 * 2 * 3 * 2),
        (layers.Conv2D(6, (2, 3), data_format="channels_first"), (None, 4, 8, 9), 2 * 7 * 7 * 6 * 2 * 3 * 4),
        (layers.Conv1D(6, 3, dilation_rate=2), (None, 9, 4), 2 * 5 * 6 * 3 * 4),
        (layers.DepthwiseConv2D((2, 3), depth_multiplier=2), (None, 8, 9, 4), 2 * 7 * 7 * 8 * 2 * 3),
        (layers.SeparableConv2D(5, (2, 3), depth_multiplier=2), (None, 8, 9, 4), 2 * 7 * 7 * 8 * (2 * 3 + 5)),
        (layers.Conv2DTranspose(5, (2, 3), strides=2), (None, 4, 3, 6), 2 * 4 * 3 * 6 * 2 * 3 * 5),
        (layers.AveragePooling1D(3, strides=2), (None, 9, 2), 4 * 2 * 3),
        (layers.LayerNormalization(), (None, 7, 5), 2 * 7 * 5),
        (layers.Add(), [(None, 3, 2)] * 3, 2 * 3 * 2),
        (layers.Dot(axes=(1, 2)), [(None, 4, 5), (None, 6, 4)], 2 * 5 * 6 * 4),
        (layers.Flatten(), (None, 9, 9, 2), 0),
    ],
)
def test_count_flops(layer: layers.Layer, input_shape: Any, flops: int) -> None:
    assert layer.count_flops(input_shape, layer.compute_output_shape(input_shape)) == flops


def test_unknown_extents() -> None:
    """Layers take images of any size, as fully convolutional models do."""
    shape = (None, None, 5, 3)
    assert layers.Conv2D(2, 3).compute_output_shape(shape) == (None, None, 3, 2)
    assert layers.MaxPooling2D().compute_output_shape(shape) == (None, None, 2, 3)
    assert layers.ZeroPadding2D().compute_output_shape(shape) == (None, None, 7, 3)
    assert layers.Flatten().compute_output_shape(shape) == (None, None)
    assert layers.Reshape((3, -1)).compute_output_shape(shape) == (None, 3, None)
    assert layers.Concatenate(1)([layers.Input(shape[1:]), layers.Input((4, 5, 3))]).shape == (None, None, 5, 3)
    assert layers.add([layers.Input(shape[1:]), layers.Input(shape[1:])]).shape == (None, None, 5, 3)
    assert layers.concatenate([layers.Input((4,)), layers.Input((5,))]).shape == (None, 9)


def test_aliases() -> None:
    assert layers.Convolution2D is layers.Conv2D
    assert layers.MaxPool2D is layers.MaxPooling2D
    assert layers.AvgPool2D is layers.AveragePooling2D
    assert layers.GlobalMaxPool2D is layers.GlobalMaxPooling2D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
    assert plain_config(layers.deserialize({"class_name": "MaxPool2D", "config": {"name": "p"}}))["pool_size"] == [2, 2]


def network_of_changed_layers(K):
    class Shifted(K.layers.Dense):
        def __init__(self, units, **kwargs):
            super().__init__(units, **kwargs)
            self.shift = K.Variable(np.linspace(0, 1, units).astype("float32"), name="shift")

        def call(self, inputs):
            return super().call(inputs) * 2 + self.shift

    class Residual(K.layers.Conv2D):
        def call(self, inputs):
            return K.ops.tanh(super().call(inputs)) + inputs

    class Doubled(K.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel * 2)

    class Centred(K.layers.Conv2D):
        def call(self, inputs):
            return self.convolution_op(inputs, self.kernel - K.ops.mean(self.kernel, axis=(0, 1, 2))) + self.bias

    class Squared(K.layers.BatchNormalization):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=(1,), initializer="ones", name="factor")
            super().build(input_shape)

        def call(self, inputs, training=None):
            return super().call(inputs, training=training) ** 2 * self.factor

    class Quiet(K.layers.Dropout):
        def call(self, inputs, training=None):
            return super().call(inputs, training=False)

    return K.Sequential(
        [
            K.Input((5, 5, 2)),
            Residual(2, 3, padding="same"),
            Doubled(2, 3, padding="same", activation="relu"),
            Centred(2, 2, padding="same"),
            Squared(),
            Quiet(0.5),
            K.layers.Flatten(),
            Shifted(3, use_bias=False),
        ]
    )


def test_a_call_around_that_of_a_layer_of_minicnns_is_keras(tmp_path):
    draw = np.random.default_rng(5)
    x, y = draw.normal(size=(12, 5, 5, 2)).astype("float32"), draw.normal(size=(12, 3)).astype("float32")
    ours, theirs = network_of_changed_layers(minicnn), network_of_changed_layers(keras)
    names = [[weight.path.split("/")[-1] for weight in model.weights] for model in (ours, theirs)]
    assert sorted(names[0]) == sorted(names[1])
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        values = {weight.name: weight.numpy() for weight in other.weights}
        for weight in mine.weights:
            weight.assign(values[weight.name])
    logs = []
    for K, model in ((minicnn, ours), (keras, theirs)):
        model.compile(K.optimizers.SGD(0.001), "mse")
        logs.append(model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*logs, rtol=1e-4)
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-3, atol=1e-4)
    ours.save_weights(tmp_path / "a.weights.h5")
    again = network_of_changed_layers(minicnn)
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(again(x), ours(x))


def test_dropout_that_always_drops_does_so_in_inference():
    class Always(minicnn.layers.Dropout):
        def call(self, inputs, training=None):
            return super().call(inputs, training=True)

    x = np.ones((50, 20), "float32")
    model = minicnn.Sequential([minicnn.Input((20,)), Always(0.5, seed=1)])
    for found in (model.predict(x, verbose=0), model(x), Always(0.5, seed=1)(x)):
        assert 0.4 < (np.asarray(found) == 0).mean() < 0.6
    assert (np.asarray(model(x)) != np.asarray(model(x))).any()


def test_a_call_above_finds_only_what_is_built():
    class Forgetful(minicnn.layers.Dense):
        def build(self, input_shape):
            self.built = True

        def call(self, x):
            return super().call(x)

    class Bare(minicnn.layers.Layer):
        def call(self, x):
            return super().call(x)

    dense = minicnn.layers.Dense(3)
    np.testing.assert_array_equal(dense.call(x), dense(x))
    with pytest.raises(ValueError, match=r"has no weight 'kernel': let its `build` call `super\(\).build"):
        Forgetful(3)(np.ones((2, 2), "float32"))
    with pytest.raises(NotImplementedError, match=r"Layer Bare does not have a `call\(\)` method implemented"):
        Bare()(np.ones((2, 2), "float32"))


def test_inputs_may_be_given_by_the_name_that_call_has_for_them():
    class Times(minicnn.layers.Layer):
        def call(self, images, factor=2):
            return images * factor

    class Doubling(minicnn.Model):
        def call(self, images, training=False):
            return images + images

    np.testing.assert_array_equal(Times()(images=x), 2 * x)
    np.testing.assert_array_equal(Times()(factor=3, images=x), 3 * x)
    np.testing.assert_array_equal(Doubling()(images=x), 2 * x)
    np.testing.assert_array_equal(minicnn.layers.Flatten()(inputs=x), x.reshape(2, -1))
    image = minicnn.Input((6, 7, 3))
    model = minicnn.Model(image, Times()(factor=3, images=image))
    np.testing.assert_array_equal(model(inputs=x), 3 * x)
    with pytest.raises(TypeError, match="missing a required argument: 'images'"):
        Times()(factor=3)
    with pytest.raises(TypeError, match="missing a required argument: 'inputs'"):
        minicnn.layers.Flatten()()


@pytest.mark.parametrize("make", [lambda K: K.layers.CenterCrop(4, 5), lambda K: K.layers.Resizing(3, 3)])
def test_a_list_of_images_is_a_batch(make):
    np.testing.assert_allclose(make(minicnn)(list(x)), make(keras)(list(x)), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="images in a list must have one shape"):
        make(minicnn)([x[0], x[0, 1:]])


@pytest.mark.parametrize(
    "arguments",
    [
        {"strides": 2, "padding": "same"},
        {"dilation_rate": 2, "depth_multiplier": 3},
        {"data_format": "channels_first"},
        {"activation": "tanh", "use_bias": False},
        {"bias_initializer": "ones", "dtype": "float64"},
    ],
)
@pytest.mark.parametrize(("kind", "shape"), [(layers.SeparableConv1D, (2, 9, 5)), (layers.SeparableConv2D, (2, 9, 5, 8))])
def test_a_separable_convolution_is_made_of_two(kind: Any, shape: tuple[int, ...], arguments: dict[str, Any]) -> None:
    layer = kind(4, 3, **arguments)
    x = np.random.default_rng(1).normal(size=shape).astype(layer.dtype)
    expected = layer(x)
    depthwise, pointwise = layer.in_two()
    between = depthwise(x)
    y = pointwise(between)
    assert np.asarray(between).dtype == np.asarray(y).dtype == layer.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert {id(w) for part in (depthwise, pointwise) for w in part.weights} == set(map(id, layer.weights))


def test_of_a_call_and_a_forward_the_nearer_one_counts() -> None:
    """And of both in one class the `forward`."""

    class Both(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

        def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
            return 3 * x, None

        def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
            return 3 * dy, ()

    class Called(Both):
        def call(self, x: Any) -> Any:
            return 5 * x

    x = np.arange(6, dtype="float32").reshape(2, 3)
    for kind, factor in ((Both, 3), (Called, 5), (type("Heir", (Both,), {}), 3)):
        np.testing.assert_array_equal(kind()(x), factor * x)
        model = minicnn.Sequential([minicnn.Input((3,)), kind()])
        np.testing.assert_array_equal(model.predict(x, verbose=0), factor * x)


def of_layers_and_calls(K):
    """What a program sees of layers that it builds, calls and freezes: one list for both packages."""
    layers, ops, seen = K.layers, K.ops, []
    stateless = [layers.MaxPooling2D(), layers.ReLU(), layers.Dropout(0.5), layers.Identity()]
    seen.append([layer.built for layer in [*stateless, layers.Dense(2), layers.Conv2D(2, 3)]])

    class Gated(layers.Layer):
        def build(self, gate_shape, x_shape):
            self.shapes = (tuple(x_shape)[1:], tuple(gate_shape)[1:])
            self.count = self.add_weight(dtype="int32", trainable=False)
            self.flag = self.add_weight(shape=(2,), dtype="bool", trainable=False)
            self.factor = self.add_weight(shape=(3,))

        def call(self, x, gate):
            return x * gate

    gated = Gated()
    gated(np.ones((2, 5, 3), "float32"), gate=np.ones((2, 1, 3), "float32"))
    seen.append([gated.shapes, int(gated.count), np.asarray(gated.flag).tolist(), gated.count.dtype, gated.flag.dtype])
    seen.append(list(gated.get_build_config()))
    gated.trainable = False
    seen.append([weight.trainable for weight in gated.weights])
    gated.trainable = True
    seen.append([weight.trainable for weight in gated.weights])

    class Inner(layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.9, seed=1)

        def call(self, x, training=False):
            return self.drop(x)

    class Outer(layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    class Silent(Outer):
        def call(self, x, training=False):
            return self.inner(x, training=False)

    ones = np.ones((8, 8), "float32")
    for layer in (Inner(), Outer(Inner()), Silent(Inner()), Silent(Outer(Inner()))):
        seen.append([float(ops.min(layer(ones, **said))) for said in ({}, {"training": True}, {"training": False}, {})])

    class WithLoss(layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x

    layer = WithLoss()
    model = K.Sequential([layer])
    outer = K.Sequential([model])
    for one in (layer, layer, model, outer):
        one(np.ones((1,), "float32"))
        seen.append([float(loss) for loss in one.losses])
    with K.utils.custom_object_scope(None):
        seen.append(type(layers.deserialize(layers.serialize(layers.RandomZoom((0.1, 0.2))))).__name__)
    seen.append(layers.RandomTranslation.from_config(layers.RandomTranslation((-0.1, 0.2), 0.1).get_config()).height_factor)
    return seen


def test_what_a_program_sees_of_layers_is_keras():
    assert of_layers_and_calls(minicnn) == of_layers_and_calls(keras)


@pytest.mark.parametrize("K", [minicnn, keras], ids=["minicnn", "keras"])
def test_what_a_layer_cannot_be_called_with(K):
    class Wrong(K.layers.Layer):
        def build(self, x_shape, y_shape):
            self.built = True

        def call(self, x, z):
            return x + z

    class Nameless(Wrong):
        def build(self, x_shape, size):
            self.built = True

    ones = np.ones((2, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match=r"`name` must be passed as a keyword argument.*name='kernel'"):
        Wrong().add_weight("kernel", shape=(2,))
    with pytest.raises(ValueError, match="`shape` was passed both positionally and as"):
        Wrong().add_weight((2,), shape=(2,))
    with pytest.raises(ValueError, match="Only input tensors may be passed as positional arguments"):
        K.layers.BatchNormalization()(ones, True)
    with pytest.raises(TypeError, match="positional argument"):
        K.layers.Conv2D(2, 3)(ones, ones)
    with pytest.raises(TypeError, match="size"):
        K.layers.Conv2D(2, 3)(ones, size=3)
    with pytest.raises(ValueError, match=r"`y_shape`, but `call\(\)` does not have argument `y`"):
        Wrong()(ones, ones)
    with pytest.raises(ValueError, match="argument `size`, which does not end in `_shape`"):
        Nameless()(ones, ones)
    with pytest.raises(ValueError, match=r"`kernel_size`.*\(1, 0\), including values \{0\} that do not satisfy `value > 0`"):
        K.layers.Conv2D(2, (1, 0))


@pytest.mark.parametrize("scale", [[1.0, 2.0, 3.0], 2.0])
def test_rescaling_of_channels_that_come_first_is_keras(scale):
    images = np.random.default_rng(5).random((2, 3, 4, 5), np.float32)
    results = []
    for K in (minicnn, keras):
        K.config.set_image_data_format("channels_first")
        try:
            results.append(np.asarray(K.layers.Rescaling(scale, 0.5)(images)))
        finally:
            K.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_a_class_without_a_config_of_its_own_has_that_of_its_arguments(tmp_path):
    found = []
    for K in (minicnn, keras):

        class Scaled(K.layers.Layer):
            def __init__(self, factor, offsets=(1, 2), **kwargs):
                super().__init__(**kwargs)
                self.factor, self.offsets = factor, offsets

            def call(self, x):
                return x * self.factor + self.offsets[1]

        class Silent(Scaled):
            def get_config(self):
                return super().get_config() | {"factor": 7}

        layer = Scaled(3.0, name="scaled", trainable=False)
        config = layer.get_config()
        found.append({key: config[key] for key in ("name", "trainable", "factor", "offsets")})
        found.append(sorted(set(Silent(3.0).get_config()) & {"factor", "offsets"}))
        model = K.Sequential([K.Input((2,)), layer])
        model.save(tmp_path / "m.keras")
        with K.utils.custom_object_scope({"Scaled": Scaled}):
            again = K.saving.load_model(tmp_path / "m.keras")
        found.append(np.asarray(again(np.ones((1, 2)))).tolist())
    assert found[:3] == found[3:]
    assert found[0]["factor"] == 3.0


def test_adapt_takes_a_pydataset_and_build_no_shape():
    data = np.random.default_rng(4).random((7, 5)).astype("float32")
    means = []
    for K in (minicnn, keras):

        class Batches(K.utils.PyDataset):
            def __len__(self):
                return 3

            def __getitem__(self, index):
                return data[3 * index : 3 * index + 3]

        layer = K.layers.Normalization()
        layer.adapt(Batches())
        means.append(np.asarray(layer.mean))
        embedding = K.layers.Embedding(4, 3)
        embedding.build()
        assert embedding.embeddings.shape == (4, 3)
    np.testing.assert_allclose(*means, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("Dense", {"units": 5}, (20, 3)),
        ("Conv2D", {"filters": 5, "kernel_size": 2}, (2, 5, 6, 3)),
        ("Conv1D", {"filters": 5, "kernel_size": 2}, (2, 9, 3)),
        ("Conv3D", {"filters": 3, "kernel_size": 2}, (1, 4, 5, 4, 3)),
        ("Conv2DTranspose", {"filters": 5, "kernel_size": 2}, (2, 5, 6, 3)),
        ("Conv3DTranspose", {"filters": 3, "kernel_size": 2}, (1, 4, 3, 4, 3)),
        ("DepthwiseConv2D", {"kernel_size": 2}, (2, 5, 6, 3)),
        ("SeparableConv2D", {"filters": 5, "kernel_size": 2}, (2, 5, 6, 3)),
    ],
)
def test_a_layer_given_as_an_activation_acts_in_training(name: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    """What it drops then gives no gradient; in inference it drops nothing."""
    layer = getattr(layers, name)(**arguments, activation=layers.Dropout(0.5, seed=1), bias_initializer="ones")
    x = np.random.default_rng(0).random(shape, np.float32)
    still = np.asarray(layer(x))
    y, saved = layer.forward(x, True)
    assert 0.3 < np.mean(y == 0) < 0.7
    np.testing.assert_allclose(y[y != 0], 2 * still[y != 0], rtol=1e-5)
    dbias = layer.backward(np.ones_like(y), saved)[1][-1]
    np.testing.assert_allclose(dbias, 2 * (y != 0).reshape(-1, y.shape[-1]).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(layer.forward(x, False)[0], still)
