"""`GradientTape` against TensorFlow's, on the same programs with the same weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn import layers, ops

RNG = np.random.default_rng(0)
X = RNG.random((8, 8, 8, 2), np.float32)
Y = RNG.integers(0, 3, 8)


def network(module: Any) -> Any:
    return module.Sequential(
        [
            module.Input((8, 8, 2)),
            module.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            module.layers.BatchNormalization(),
            module.layers.MaxPooling2D(),
            module.layers.Flatten(),
            module.layers.Dense(3),
        ]
    )


def networks() -> tuple[Any, Any]:
    ours, theirs = network(minicnn), network(keras)
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def alike(ours: Any, theirs: Any, atol: float = 1e-5) -> None:
    for a, b in zip(ours, theirs, strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, rtol=1e-4)


# --- programs: each is run for minicnn and for TensorFlow ----------------------------------


def model_and_loss(module, tape_of, model):
    """A step of a custom loop: model, loss, penalties."""
    x = module.ops.convert_to_tensor(X)
    loss_of = module.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tape_of() as tape:
        loss = loss_of(Y, model(x, training=True))
        loss = loss + sum(model.losses)
    return [loss, *tape.gradient(loss, model.trainable_variables)]


def layer_by_layer(module, tape_of, model):
    """The layers called one by one, with operators between them."""
    with tape_of() as tape:
        h = module.ops.convert_to_tensor(X)
        for layer in model.layers:
            h = layer(h) * 0.5
        loss = module.ops.mean(h**2)
    return tape.gradient(loss, model.trainable_variables)


def at_the_input(module, tape_of, model):
    x = module.ops.convert_to_tensor(X)
    with tape_of() as tape:
        tape.watch(x)
        score = model(x)[:, 1]
    return [tape.gradient(score, x)]


def grad_cam(module, tape_of, model):
    """The gradient at a map in the middle: two models that share layers."""
    first = module.Model(model.inputs[0], model.layers[0].output)
    inner = module.Input(model.layers[0].output.shape[1:])
    h = inner
    for layer in model.layers[1:]:
        h = layer(h)
    last = module.Model(inner, h)
    with tape_of() as tape:
        maps = first(module.ops.convert_to_tensor(X))
        tape.watch(maps)
        score = last(maps)[:, 2]
    weights = module.ops.mean(tape.gradient(score, maps), axis=(0, 1, 2))
    return [weights, module.ops.maximum(maps @ weights[..., None], 0)]


def grad_cam_of_one_model(module, tape_of, model):
    """As keras-io writes it: the map is another output of the same model."""
    both = module.Model(model.inputs, [model.layers[0].output, model.layers[-1].output])
    with tape_of() as tape:
        maps, scores = both(module.ops.convert_to_tensor(X))
        score = scores[:, int(module.ops.argmax(scores[0]))]
    return [maps, tape.gradient(score, maps)]


def variables(module, tape_of, model):
    """Variables alone, in operators."""
    a, b = module.Variable([[1.0, 2.0], [3.0, 4.0]]), module.Variable([0.5, -1.0], trainable=True)
    with tape_of() as tape:
        y = module.ops.sum(module.ops.matmul(a, module.ops.exp(b)[:, None]) * 2.0 + b * b)
    return tape.gradient(y, [a, b])


def persistent(module, tape_of, model):
    x = module.ops.convert_to_tensor(X[0, :2, :2, 0])
    with tape_of(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        with tape.stop_recording():
            constant = y * 3.0
        z = module.ops.sum(y * constant)
    return [tape.gradient(z, x), tape.gradient(y, x), tape.gradient(y, x, output_gradients=y), tape.gradient(constant, x)]


def fan_out_and_targets(module, tape_of, model):
    """A value that is read twice, two targets, a source in the middle, one that nothing leads to."""
    x, other = module.ops.convert_to_tensor(X[0, 0]), module.ops.convert_to_tensor(X[1, 0])
    with tape_of() as tape:
        tape.watch([x, other])
        h = module.ops.sin(x)
        y, z = h + h * x, module.ops.sum(h, axis=0)
    return tape.gradient([y, z], [x, h, other])


def losses_of_every_kind(module, tape_of, model):
    """Functions, classes, reductions, weights, and one that is written with ops."""
    p = module.ops.convert_to_tensor(RNG_P)
    t = module.ops.convert_to_tensor(RNG_T)
    found = []
    for loss in (
        module.losses.mean_squared_error,
        module.losses.binary_crossentropy,
        module.losses.BinaryCrossentropy(reduction="sum"),
        module.losses.Huber(reduction=None),
        module.losses.CosineSimilarity(),
        module.losses.KLDivergence(),
        lambda t, p: module.ops.mean(module.ops.abs(t - p) ** 1.5, axis=-1),
    ):
        with tape_of() as tape:
            tape.watch(p)
            value = loss(t, p)
        found += [value, tape.gradient(value, p)]
    with tape_of() as tape:
        tape.watch(p)
        value = module.losses.MeanSquaredError()(t, p, sample_weight=np.arange(4.0, dtype="float32"))
    return [*found, value, tape.gradient(value, p)]


def at_an_input_that_is_a_variable(module, tape_of, model):
    """As style transfer: the picture is what is trained."""
    image = module.Variable(X[:1])
    features = module.Model(model.inputs, {"first": model.layers[0].output, "norm": model.layers[1].output})
    with tape_of() as tape:
        loss = sum(module.ops.mean(value**2) for value in features(image).values())
    gradient = tape.gradient(loss, image)
    module.optimizers.SGD(1.0).apply_gradients([(gradient, image)])
    return [gradient, image]


def targets_that_are_watched(module, tape_of, model):
    p, t = module.ops.convert_to_tensor(RNG_P), module.ops.convert_to_tensor(RNG_P[::-1] * 0.9)
    found = []
    for name in ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh", "CosineSimilarity", "KLDivergence"):
        with tape_of() as tape:
            tape.watch([p, t])
            value = getattr(module.losses, name)()(t, p)
        found += tape.gradient(value, [p, t])
    return found


def penalties_of_outputs(module, tape_of, model):
    """Of a convolution in the model's middle, and of a layer that the tape meets by itself."""
    layers, regularizer = module.layers, module.regularizers.L2(0.3)
    x = module.Input((6, 6, 2))
    h = layers.Conv2D(3, 3, activity_regularizer=regularizer, activation="relu", kernel_initializer="ones", name="h")(x)
    penalized = module.Model(x, layers.Dense(2, kernel_initializer="ones")(layers.Flatten()(h)))
    with tape_of() as tape:
        y = penalized(X[:, :6, :6, :2])
        loss = module.ops.mean(y) + sum(penalized.losses)
    return [sum(penalized.losses), *tape.gradient(loss, penalized.trainable_variables)]


def frozen_and_watched(module, tape_of, model):
    """What is not trained has a gradient where it is watched; a list of numbers in the place of dy."""
    given = np.array([3.0, 4.0], "float32")
    frozen, free = module.Variable(given, trainable=False), module.Variable(given * 2)
    found = []
    for watched in (False, True):
        with tape_of(persistent=True) as tape:
            if watched:
                tape.watch(frozen if module is minicnn else frozen.value)  # Keras's is no variable of TensorFlow's
            y = frozen * free
        found += tape.gradient(y, [frozen if module is minicnn else frozen.value, free])
        found.append(tape.gradient(y, free, output_gradients=module.ops.convert_to_tensor([0.5, 2.0])))
    return found


RNG_P = RNG.uniform(0.1, 0.9, (4, 3)).astype("float32")
RNG_T = np.round(RNG.uniform(0, 1, (4, 3))).astype("float32")

PROGRAMS = [
    model_and_loss,
    layer_by_layer,
    at_the_input,
    grad_cam,
    grad_cam_of_one_model,
    variables,
    persistent,
    fan_out_and_targets,
    losses_of_every_kind,
    targets_that_are_watched,
    at_an_input_that_is_a_variable,
    penalties_of_outputs,
    frozen_and_watched,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(program):
    ours, theirs = networks()
    alike(program(minicnn, minicnn.GradientTape, ours), program(keras, tf.GradientTape, theirs))


def test_a_training_loop():
    """TensorFlow's quickstart for experts: losses and weights after some steps."""

    class OursModel(minicnn.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.flat, self.out = layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(3)

        def call(self, x):
            return self.out(self.flat(self.conv(x)))

    class TheirsModel(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.flat = keras.layers.Conv2D(3, 3, activation="relu"), keras.layers.Flatten()
            self.out = keras.layers.Dense(3)

        call = OursModel.call

    def run(module, tape_of, function, model, weights):
        model(X)
        if weights is not None:
            model.set_weights(weights)
        begun = model.get_weights()
        loss_object = module.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer, mean = module.optimizers.Adam(0.01), module.metrics.Mean(name="train_loss")

        @function
        def step(images, labels):
            with tape_of() as tape:
                loss = loss_object(labels, model(images, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            mean(loss)

        for _ in range(5):
            step(X, Y)
        return begun, [mean.result(), *model.get_weights()]

    weights, theirs = run(keras, tf.GradientTape, tf.function, TheirsModel(), None)
    _, ours = run(minicnn, minicnn.GradientTape, minicnn.function, OursModel(), weights)
    alike(ours, theirs, atol=1e-4)


def test_what_a_model_returns_is_a_tensor():
    ours, _ = networks()
    y = ours(X)
    assert isinstance(y.numpy(), np.ndarray)
    assert type(y.numpy()) is np.ndarray
    assert float((y + 1).numpy().sum() - y.numpy().sum()) == pytest.approx(24, rel=1e-4)
    assert f"{ops.mean(y) * 0:.2f}" in ("0.00", "-0.00")
    total = ops.sum(y)
    total += 1.0
    assert total.shape == ()


def test_numpy_functions_and_methods_are_recorded():
    x = ops.convert_to_tensor(X[0, 0])
    with minicnn.GradientTape() as tape:
        tape.watch(x)
        y = np.exp(x).mean() + x.reshape(-1)[2] + np.sqrt(x).sum(axis=0).max() * 0
    np.testing.assert_allclose(tape.gradient(y, x), np.exp(X[0, 0]) / 16 + np.eye(16)[2].reshape(8, 2), rtol=1e-5)


def test_a_layer_with_control_flow_on_values_has_a_gradient_on_arrays():
    class Either(layers.Layer):
        def call(self, x):
            return x * 2.0 if ops.sum(x) > 0 else x * 3.0

    x = ops.convert_to_tensor(X[0, 0])
    layer = Either()
    for sign, factor in ((1, 2), (-1, 3)):
        with minicnn.GradientTape() as tape:
            tape.watch(x)
            y = layer(x * sign)
        np.testing.assert_allclose(tape.gradient(y, x), np.full((8, 2), sign * factor))


def test_a_frozen_variable_has_no_gradient():
    ours, _ = networks()
    ours.layers[0].trainable = False
    with minicnn.GradientTape() as tape:
        y = ours(X)
    assert len(tape.gradient(y, ours.trainable_variables)) == 4
    with minicnn.GradientTape(persistent=True) as tape:
        y = ours(X)
    assert tape.gradient(y, ours.layers[0].kernel) is None
    (gradient,) = tape.gradient(y, [ours.layers[-1].bias], output_gradients=np.ones((8, 3)))  # doubles
    assert (gradient.dtype, gradient.tolist()) == ("float32", [8.0] * 3)
    with minicnn.GradientTape(watch_accessed_variables=False) as tape:
        y = ours(X)
    assert tape.gradient(y, ours.trainable_variables) == [None] * 4
    zeros = tape.__class__(watch_accessed_variables=False)
    with zeros:
        y = ours(X)
    found = zeros.gradient(y, ours.trainable_variables, unconnected_gradients="zero")
    assert not any(np.any(one) for one in found)


def test_errors():
    x = ops.convert_to_tensor(X)
    with minicnn.GradientTape() as tape:
        with pytest.raises(ValueError, match=r"ndarray.*convert_to_tensor"):
            tape.watch(X)
        tape.watch(x)
        with pytest.raises(ValueError, match="already-active tape"), tape:
            pass
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(RuntimeError, match="non-persistent GradientTape can only be used to compute one set"):
        tape.gradient(y, x)
    with pytest.raises(ValueError, match="unconnected_gradients: 'ones'"):
        minicnn.GradientTape().gradient(y, x, unconnected_gradients="ones")
    with pytest.raises(ValueError, match="source of a gradient is a tensor"):
        minicnn.GradientTape().gradient(y, X)


def test_jacobians_are_tensorflows():
    x, w = X[0, :3, :4, 0], X[1, :4, :2, 0]
    found = []
    for root, tapes in ((minicnn, minicnn.GradientTape), (tf, tf.GradientTape)):
        one, two, unused = root.convert_to_tensor(x), root.convert_to_tensor(w), root.Variable(1.0)
        with tapes() as tape, tapes(persistent=True) as again:
            for each in (tape, again):
                each.watch([one, two])
            y = root.tanh(root.matmul(one, two))
        of_x, of_w, of_none = tape.jacobian(y, [one, two, unused])
        assert of_none is None
        found.append((of_x, of_w, again.jacobian(y, two), again.batch_jacobian(y, one)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_gradient_of_a_gradient_is_refused_where_it_is_asked_for():
    ours, _ = networks()
    x = ops.convert_to_tensor(X)
    with minicnn.GradientTape() as outer:
        with minicnn.GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(ours(x))
        gradient = inner.gradient(y, x)
        penalty = ops.mean((ops.sum(gradient**2, axis=-1) - 1.0) ** 2)
        loss = ops.sum(ours(x)) + 0.0 * y
    with pytest.raises(NotImplementedError, match="gradient of a gradient leads through layer"):
        outer.gradient(penalty, ours.trainable_variables)
    with minicnn.GradientTape() as outer:  # computed inside, and not asked for: all is well
        with minicnn.GradientTape() as inner:
            loss = ops.sum(ours(x))
        inner.gradient(loss, ours.trainable_variables)
    assert all(one is not None for one in outer.gradient(loss, ours.trainable_variables))


def test_a_loss_has_no_gradient_at_its_targets():
    x = ops.convert_to_tensor(RNG_P)
    with minicnn.GradientTape() as tape:
        tape.watch(x)
        loss = minicnn.losses.BinaryCrossentropy()(x * 1.0, x)
    with pytest.raises(NotImplementedError, match="with respect to `y_pred` alone"):
        tape.gradient(loss, x)


def test_jacobians_of_what_is_not_connected_are_zero_where_that_is_asked_for():
    found = []
    for root, tapes in ((minicnn, minicnn.GradientTape), (tf, tf.GradientTape)):
        x, unused = root.Variable(X[0, :2, 0]), root.Variable(X[0, :3, 0])
        with tapes() as tape:
            y = root.convert_to_tensor(x) * 2.0
        found.append(
            tape.jacobian(y, [x, unused], unconnected_gradients="zero" if root is minicnn else tf.UnconnectedGradients.ZERO)
        )
        with pytest.raises(RuntimeError, match="non-persistent"):
            tape.jacobian(y, x)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_variables_are_listed_in_the_order_in_which_they_were_seen():
    a, b, c = (minicnn.Variable(float(i)) for i in range(3))
    with minicnn.GradientTape() as tape:
        ops.multiply(b, 2.0) + ops.multiply(a, 3.0)
        ops.multiply(b, c)
    assert [float(one) for one in tape.watched_variables()] == [1, 0, 2]


LISTS = {  # a function that takes a list of tensors where it takes a tensor: each library's own names
    "sum": (tf.reduce_sum, ops.sum),
    "largest": (tf.reduce_max, ops.max),
    "square": (tf.square, ops.square),
    "softmax": (tf.nn.softmax, ops.softmax),
    "reshape": (lambda x: tf.reshape(x, (4,)), lambda x: ops.reshape(x, (4,))),
    "tensor": (tf.convert_to_tensor, ops.convert_to_tensor),
    "nested": (lambda x: tf.reduce_mean([[a, 2 * a] for a in x]), lambda x: ops.mean([[a, 2 * a] for a in x])),
}


@pytest.mark.parametrize("kind", LISTS)
def test_gradients_reach_the_tensors_of_a_list(kind):
    """As of the losses that a program appends to a list and sums."""
    found = []
    for library, function in zip((tf, minicnn), LISTS[kind], strict=True):
        weight, x = library.Variable([1.0, 2.0]), library.constant([3.0, 4.0])
        with library.GradientTape() as tape:
            tape.watch(x)
            y = function([weight, x * x])
            total = library.reduce_sum(y * y)
        found.append([np.asarray(y), *(np.asarray(one) for one in tape.gradient(total, [weight, x]))])
    for ours, theirs in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_list_of_symbolic_tensors_is_one():
    a, b = minicnn.Input((3,)), minicnn.Input((3,))
    values = [X[:2, 0, :3, 0], X[:2, 1, :3, 0]]
    model = minicnn.Model([a, b], ops.sum([a, ops.square(b)], axis=0))
    np.testing.assert_allclose(model.predict(values, verbose=0), values[0] + values[1] ** 2, rtol=1e-6)
