"""What a `call` does to variables and metrics: done each time that the model runs, in the order of the lines, as in Keras."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import minicnn
from minicnn import ops, study
from tests.ops.checks import TOLERANCES

RNG = np.random.default_rng(0)
X = RNG.random((24, 6, 6, 2), np.float32)
ROWS = RNG.random((24, 5), np.float32)
Y = RNG.integers(0, 3, 24)


def classes_of(module: Any) -> dict[str, Any]:
    """The same classes for minicnn and for Keras."""
    layers, ops = module.layers, module.ops

    class Masked(layers.Layer):
        """PixelCNN's convolution, which sees what is above and to the left: its kernel is masked anew for each call."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.convolution = layers.Conv2D(4, 3, padding="same", activation="relu")

        def build(self, input_shape):
            self.convolution.build(input_shape)
            shape = tuple(self.convolution.kernel.shape)
            self.mask = np.zeros(shape, np.float32)
            self.mask[0], self.mask[1, :2] = 1, 1
            self.convolution.kernel.assign(0.5 * np.sign(np.cos(np.arange(np.prod(shape)).reshape(shape))))

        def call(self, inputs):
            self.convolution.kernel.assign(self.convolution.kernel * self.mask)
            return self.convolution(inputs)

    class Normalized(layers.Layer):
        """Batch normalization as a course writes it: running means of what is seen in training."""

        def build(self, input_shape):
            shape = (input_shape[-1],)
            self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
            self.moving_mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="moving_mean")
            self.moving_variance = self.add_weight(shape=shape, initializer="ones", trainable=False, name="moving_variance")

        def move(self, variable, value):
            return variable.assign(0.9 * variable + 0.1 * value)

        def call(self, inputs, training=False):
            if training:
                mean, variance = ops.mean(inputs, axis=(0, 1, 2)), ops.var(inputs, axis=(0, 1, 2))
                self.move(self.moving_mean, mean)
                self.move(self.moving_variance, variance)
            else:
                mean, variance = self.moving_mean, self.moving_variance
            return self.gamma * (inputs - mean) / ops.sqrt(variance + 1e-3)

    class Counting(layers.Layer):
        """Reads a variable before and after a line that changes it; a second layer changes one that nobody reads."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
            self.calls = self.add_weight(shape=(), initializer="ones", trainable=False, name="calls")
            self.inner = Largest()

        def call(self, inputs):
            scaled = inputs * self.scale
            before = scaled * self.calls
            self.calls.assign_add(1.0)
            between = scaled * self.calls
            self.calls.assign_sub(0.25)
            self.inner(inputs)
            return 0.01 * (before + 10.0 * between + 100.0 * scaled * self.calls)

    class Largest(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

        def call(self, inputs):
            self.seen.assign(ops.maximum(self.seen, ops.max(inputs)))
            return inputs

    class Endpoint(layers.Layer):
        """keras-io's endpoint layer: loss and metric of labels that come in as an input."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.loss_fn = module.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.right = module.metrics.SparseCategoricalAccuracy(name="right")

        def call(self, logits, targets):
            self.add_loss(self.loss_fn(targets, logits))
            self.right.update_state(targets, logits)
            return ops.softmax(logits)

    return {cls.__name__: cls for cls in (Masked, Normalized, Counting, Largest, Endpoint)}


OURS, THEIRS = classes_of(minicnn), classes_of(keras)


def network(module: Any, layer: Any, image: bool = True) -> Any:
    model = module.Sequential([module.Input((6, 6, 2) if image else (5,)), layer])
    for one in [module.layers.GlobalAveragePooling2D()] * image + [module.layers.Dense(3)]:
        model.add(one)
    model.compile(module.optimizers.SGD(0.1), module.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def pair(name: str, image: bool = True) -> tuple[Any, Any]:
    """Two networks around a layer, with the same weights."""
    ours, theirs = network(minicnn, OURS[name](), image), network(keras, THEIRS[name](), image)
    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def alike(ours: Any, theirs: Any) -> None:
    for w, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(w, expected, rtol=TOLERANCES["float32"], atol=1e-5)


@pytest.mark.parametrize("name", ["Masked", "Normalized", "Counting"])
def test_a_model_trains_and_predicts_as_in_keras(name: str) -> None:
    ours, theirs = pair(name)
    options = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0, "validation_data": (X[:8], Y[:8])}
    logs = [model.fit(X, Y, **options).history for model in (ours, theirs)]
    for key, values in logs[1].items():
        np.testing.assert_allclose(logs[0][key], values, rtol=TOLERANCES["float32"])
    alike(ours, theirs)
    for _ in range(2):
        y, expected = (model.predict(X, batch_size=12, verbose=0) for model in (ours, theirs))
        np.testing.assert_allclose(y, expected, rtol=TOLERANCES["float32"], atol=1e-5)
        alike(ours, theirs)


def test_what_build_assigns_is_assigned_once_though_it_is_built_within_a_call() -> None:
    layer = OURS["Masked"]()

    class Outer(minicnn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.masked, self.pool = layer, minicnn.layers.GlobalAveragePooling2D()

        def call(self, x: Any) -> Any:
            return self.pool(self.masked(x))

    model = Outer()
    model.compile(minicnn.optimizers.SGD(0.1), "mse")
    model.fit(X, RNG.random((24, 4), np.float32), epochs=1, verbose=0)
    kernel = layer.convolution.kernel.numpy()
    assert (kernel[2] != 0).any()  # what the last update put behind the mask is cleared by the next call only
    model.predict(X, verbose=0)
    again = layer.convolution.kernel.numpy()
    np.testing.assert_array_equal(again[0], kernel[0])  # not where `build` began
    assert (np.abs(again[0]) != 0.5).all()
    assert not again[2].any()


def test_a_metric_in_a_call_is_in_the_logs_of_fit_and_evaluate() -> None:
    def build(module: Any, layers: dict[str, Any]) -> Any:
        rows, targets = module.Input((5,)), module.Input((1,), dtype="int32")
        logits = module.layers.Dense(3)(rows)
        model = module.Model([rows, targets], layers["Endpoint"](name="endpoint")(logits, targets))
        model.compile(module.optimizers.SGD(0.5))
        return model

    ours, theirs = build(minicnn, OURS), build(keras, THEIRS)
    ours.set_weights(theirs.get_weights())
    inputs, options = [ROWS, Y[:, None]], {"batch_size": 7, "verbose": 0}
    logs = [model.fit(inputs, epochs=3, shuffle=False, **options).history for model in (ours, theirs)]
    assert logs[0].keys() == logs[1].keys() == {"loss", "right"}
    for key, values in logs[1].items():
        np.testing.assert_allclose(logs[0][key], values, rtol=1e-5)
    found, expected = (model.evaluate(inputs, return_dict=True, **options) for model in (ours, theirs))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)
    assert [metric.name for metric in ours.metrics] == [metric.name for metric in theirs.metrics]


def test_a_metric_of_ones_own_gets_tensors() -> None:
    class Sum(minicnn.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="sum")
            self.total = self.add_variable((), "zeros")

        def update_state(self, values: Any, sign: float = 1.0) -> None:
            self.total.assign_add(sign * values.numpy().sum())

        def result(self) -> Any:
            return self.total.numpy()

    class Summing(minicnn.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.sum = Sum()

        def call(self, x: Any) -> Any:
            self.sum.update_state(values=2.0 * x, sign=-1.0)
            return x

    model = minicnn.Sequential([minicnn.Input((5,)), Summing(), minicnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    log = model.fit(ROWS, ROWS[:, :1], batch_size=5, epochs=2, verbose=0).history
    np.testing.assert_allclose(log["sum"], [-2 * ROWS.sum(dtype=np.float64)] * 2, rtol=1e-6)


def test_effects_of_a_copy_are_its_own() -> None:
    model = network(minicnn, OURS["Largest"](), image=False)
    model.predict(ROWS, verbose=0)
    twin = copy.deepcopy(model)
    twin.predict(ROWS + 5, verbose=0)
    assert float(twin.layers[0].seen) == float((ROWS + 5).max())
    assert float(model.layers[0].seen) == float(ROWS.max())


def test_a_file_holds_what_was_assigned(tmp_path: Path) -> None:
    model = network(minicnn, OURS["Counting"]())
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = minicnn.saving.load_model(tmp_path / "model.keras", custom_objects={"Counting": OURS["Counting"]})
    for one in (model, again):
        one.fit(X, Y, epochs=1, verbose=0)
    for w, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(w, expected)


def test_under_a_tape() -> None:
    """y = (before + 10 between + 100 after) / 100, of calls = 1, 2 and 1.75, is 1.96 x."""
    layer = OURS["Counting"]()
    model = minicnn.Sequential([minicnn.Input((5,)), layer])
    x = minicnn.convert_to_tensor(ROWS)
    with minicnn.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
    np.testing.assert_allclose(y, 1.96 * ROWS, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x), np.full_like(ROWS, 1.96), rtol=1e-6)
    assert float(layer.calls) == 1.75


def test_a_shape_that_does_not_match_is_an_error_that_changes_nothing() -> None:
    class Wrong(minicnn.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.sizes = self.add_weight(shape=(3,), initializer="ones", trainable=False)

        def call(self, x: Any) -> Any:
            self.sizes.assign(ops.sum(x, axis=0))
            return x

    layer = Wrong()
    with pytest.raises(ValueError, match=r"must match\. variable\.shape=\(3,\), Received: value\.shape=\(5,\)"):
        minicnn.Sequential([minicnn.Input((5,)), layer]).predict(ROWS, verbose=0)
    np.testing.assert_array_equal(layer.sizes.numpy(), np.ones(3))


def test_a_gradient_is_of_the_value_that_was_read() -> None:
    variable, factor = minicnn.Variable(np.float32(3.0)), minicnn.Variable(np.float32(2.0))
    with minicnn.GradientTape() as tape:
        y = variable * factor
        factor.assign(7.0)
    assert float(tape.gradient(y, variable)) == 2.0


@pytest.mark.parametrize("name", ["Masked", "Normalized", "Counting", "Largest"])
def test_whoever_looks_leaves_variables_as_they_were(name: str, tmp_path: Path) -> None:
    model = network(minicnn, OURS[name]())
    model.fit(X, Y, epochs=1, verbose=0)
    model.predict(X, verbose=0)
    before = model.get_weights()
    trace = study.trace(model, X[0])
    assert [call.layer.rstrip("_0123456789") for call in trace.calls][-2:] == ["global_average_pooling2d", "dense"]
    np.testing.assert_allclose(trace.calls[-1].values, minicnn.Model(model.inputs, model.outputs).predict(X[:1], verbose=0)[0])
    model.set_weights(before)
    study.explain(model, X[0], 1).save(tmp_path / "page.html")
    for w, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, expected)
