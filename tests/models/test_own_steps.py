"""`train_step` and `test_step` of a class's own, `compute_loss`, `add_loss` and metrics: as Keras runs the same class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn

RNG = np.random.default_rng(0)
X = RNG.random((24, 6), np.float32)
Y = RNG.random((24, 1), np.float32)
OPTIONS = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
BOTH = ((minicnn, minicnn.GradientTape), (keras, tf.GradientTape))


def histories(build: Any, fit: Any) -> list[dict[str, list[float]]]:
    """What `fit` says of the models that `build` makes, with the same weights."""
    models = [build(module, tape_of) for module, tape_of in BOTH]
    weights = None
    found = []
    for model in models[::-1]:
        if weights is None:
            weights = model.get_weights()
        model.set_weights(weights)
        found.append(fit(model).history)
    theirs, ours = found
    assert sorted(ours) == sorted(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    return found


def functional(module: Any, cls: Any) -> Any:
    i = module.Input((6,))
    h = module.layers.Dense(5, activation="relu", kernel_regularizer="l2")(i)
    return cls(i, module.layers.Dense(1)(h))


def test_a_step_with_compute_loss_and_metrics():
    """Keras's guide: customizing what happens in `fit`."""

    def build(module, tape_of):
        class Custom(module.Model):
            def train_step(self, data):
                x, y = data
                with tape_of() as tape:
                    y_pred = self(x, training=True)
                    loss = self.compute_loss(y=y, y_pred=y_pred)
                gradients = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply(gradients, self.trainable_variables)
                for metric in self.metrics:
                    if metric.name == "loss":
                        metric.update_state(loss)
                    else:
                        metric.update_state(y, y_pred)
                return {"loss": self.metrics[0].result()}

        model = functional(module, Custom)
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
        return model

    histories(build, lambda model: model.fit(X, Y, **OPTIONS))


def test_a_step_with_metrics_of_its_own_and_validation():
    """Its own trackers, sample weights, and a `test_step`."""

    def build(module, tape_of):
        class Custom(module.Model):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.loss_tracker = module.metrics.Mean(name="loss")
                self.mae_metric = module.metrics.MeanAbsoluteError(name="mae")
                self.loss_fn = module.losses.MeanSquaredError()

            def train_step(self, data):
                x, y, sample_weight = data
                with tape_of() as tape:
                    y_pred = self(x, training=True)
                    loss = self.loss_fn(y, y_pred, sample_weight=sample_weight)
                gradients = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
                self.loss_tracker.update_state(loss)
                self.mae_metric.update_state(y, y_pred)
                return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

            def test_step(self, data):
                x, y = data
                self.loss_tracker.update_state(self.loss_fn(y, self(x, training=False)))
                return {"loss": self.loss_tracker.result()}

            @property
            def metrics(self):
                return [self.loss_tracker, self.mae_metric]

        model = functional(module, Custom)
        model.compile("sgd", run_eagerly=True)
        return model

    weights = np.linspace(0.5, 2, 24).astype("float32")
    found = histories(build, lambda model: model.fit(X, Y, sample_weight=weights, validation_data=(X, Y), **OPTIONS))
    assert sorted(found[1]) == ["loss", "mae", "val_loss"]


def test_a_test_step_alone():
    """Keras's guide, "Providing your own evaluation step": the loss that it adds up, from nothing with each evaluation."""

    def build(module, tape_of):
        class Custom(module.Model):
            def test_step(self, data):
                x, y = data
                y_pred = self(x, training=False)
                loss = self.compute_loss(y=y, y_pred=y_pred)
                for metric in self.metrics:
                    if metric.name == "loss":
                        metric.update_state(loss)
                    else:
                        metric.update_state(y, y_pred)
                return {metric.name: metric.result() for metric in self.metrics}

        model = functional(module, Custom)
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
        return model

    def fit(model):
        history = model.fit(X, Y, validation_data=(X, Y), **OPTIONS)
        for targets in (Y, Y + 9, Y):
            for name, value in model.evaluate(X, targets, batch_size=8, verbose=0, return_dict=True).items():
                history.history.setdefault(f"evaluated {name}", []).append(value)
        return history

    found = histories(build, fit)
    assert sorted(found[1]) == ["evaluated loss", "evaluated mae", "loss", "mae", "val_loss", "val_mae"]


def test_a_model_without_a_call_two_optimizers_and_data_alone():
    """As keras-io's GAN: two networks, x without y, its own `compile`."""

    def build(module, tape_of):
        ops = module.ops

        class GAN(module.Model):
            def __init__(self):
                super().__init__()
                dense = module.layers.Dense
                self.discriminator = module.Sequential([module.Input((6,)), dense(4, activation="tanh"), dense(1)])
                self.generator = module.Sequential([module.Input((2,)), dense(6)])

            def compile(self, d_optimizer, g_optimizer, loss_fn):
                super().compile(run_eagerly=True)
                self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn
                self.d_loss_metric = module.metrics.Mean(name="d_loss")
                self.g_loss_metric = module.metrics.Mean(name="g_loss")

            @property
            def metrics(self):
                return [self.d_loss_metric, self.g_loss_metric]

            def train_step(self, real):
                batch_size = ops.shape(real)[0]
                noise = ops.reshape(ops.arange(batch_size * 2, dtype="float32") / 10, (batch_size, 2))
                combined = ops.concatenate([self.generator(noise), real], axis=0)
                labels = ops.concatenate([ops.ones((batch_size, 1)), ops.zeros((batch_size, 1))], axis=0)
                with tape_of() as tape:
                    d_loss = self.loss_fn(labels, self.discriminator(combined))
                grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
                self.d_optimizer.apply_gradients(zip(grads, self.discriminator.trainable_weights))
                with tape_of() as tape:
                    g_loss = self.loss_fn(ops.zeros((batch_size, 1)), self.discriminator(self.generator(noise)))
                grads = tape.gradient(g_loss, self.generator.trainable_weights)
                self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_weights))
                self.d_loss_metric.update_state(d_loss)
                self.g_loss_metric.update_state(g_loss)
                return {"d_loss": self.d_loss_metric.result(), "g_loss": self.g_loss_metric.result()}

        model = GAN()
        adam = module.optimizers.Adam
        model.compile(adam(0.01), adam(0.02), module.losses.BinaryCrossentropy(from_logits=True))
        return model

    histories(build, lambda model: model.fit(X, **OPTIONS))


def test_super_train_step():
    class Counting(minicnn.Model):
        steps = 0

        def train_step(self, data):
            self.steps += 1
            return super().train_step(data)

    model, plain = functional(minicnn, Counting), functional(minicnn, minicnn.Model)
    plain.set_weights(model.get_weights())
    results = []
    for one in (model, plain):
        one.compile("adam", "mse", metrics=["mae"])
        results.append(one.fit(X, Y, validation_split=0.25, **OPTIONS).history)
    assert model.steps == 9
    assert results[0] == results[1]
    assert model.train_on_batch(X, Y, return_dict=True) == plain.train_on_batch(X, Y, return_dict=True)


def test_losses_added_by_layers():
    """In `call` of a layer within a functional model: `fit`, `evaluate` and `model.losses`."""

    def build(module, tape_of):
        class Sparse(module.layers.Layer):
            def call(self, x):
                self.add_loss(module.ops.sum(module.ops.square(x - 1.0)))
                return x

        i = module.Input((6,))
        model = module.Model(i, module.layers.Dense(1)(Sparse()(module.layers.Dense(4, activation="relu")(i))))
        model.compile("adam", "mse", run_eagerly=True)
        return model

    histories(build, lambda model: model.fit(X, Y, validation_data=(X, Y), **OPTIONS))
    model = build(minicnn, minicnn.GradientTape)
    with minicnn.GradientTape() as tape:
        model(X)
        total = sum(model.losses)
    gradients = tape.gradient(total, model.trainable_variables)
    assert len(model.losses) == 1
    assert np.any(gradients[0])


def autoencoder(seed: int = 0) -> Any:
    """Keras's older examples: the loss is computed from the model's own tensors, and `compile` is given none."""
    layers, ops = minicnn.layers, minicnn.ops
    x = minicnn.Input((6,))
    code = layers.Dense(3, activation="tanh", name="code", kernel_initializer=minicnn.initializers.GlorotUniform(seed))(x)
    y = layers.Dense(6, name="y", kernel_initializer=minicnn.initializers.GlorotUniform(seed + 1))(code)
    model = minicnn.Model(x, y)
    model.add_loss(ops.mean(ops.sum(ops.square(y - x), axis=-1)))
    model.add_loss(0.1 * ops.mean(ops.sum(ops.square(code), axis=-1)))  # one more, not another one
    return model


def test_a_loss_of_the_models_own_tensors_and_none_in_compile():
    """Keras 3 has no such `add_loss`: the same training there, written as a step."""

    class Written(keras.Model):
        def train_step(self, data):
            with tf.GradientTape() as tape:
                code, y = self(data, training=True)
                loss = tf.reduce_mean(tf.reduce_sum((y - data) ** 2, -1) + 0.1 * tf.reduce_sum(code**2, -1))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

    model = autoencoder()
    x = keras.Input((6,))
    code = keras.layers.Dense(3, activation="tanh")(x)
    theirs = Written(x, [code, keras.layers.Dense(6)(code)])
    theirs.set_weights(model.get_weights())
    for one in (model, theirs):
        one.compile("adam", run_eagerly=True)
        one.fit(X, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for ours, expected in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)

    code, y = (np.asarray(one) for one in theirs(X))
    expected = np.mean(np.sum((y - X) ** 2, -1) + 0.1 * np.sum(code**2, -1))
    np.testing.assert_allclose(model.evaluate(X, verbose=0), expected, rtol=1e-5)
    history = model.fit(X, epochs=1, validation_data=(X, None), verbose=0).history
    assert sorted(history) == ["loss", "val_loss"]
    own = model.evaluate(X, verbose=0)
    model.compile("sgd", "mse")  # the two add up
    np.testing.assert_allclose(model.evaluate(X, X, verbose=0), np.mean((model.predict(X, verbose=0) - X) ** 2) + own, 1e-5)


def test_a_loss_of_tensors_is_in_no_file_and_follows_from_the_model(tmp_path):
    model = autoencoder()
    model.compile("sgd")
    with pytest.warns(UserWarning, match="Call `add_loss` again after loading"):
        model.save(tmp_path / "model.keras")
    loaded = minicnn.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ValueError, match="No loss to compute"):
        loaded.fit(X, verbose=0)
    outer = minicnn.Input((6,))
    nested = minicnn.Model(outer, model(outer))
    nested.compile("sgd")
    np.testing.assert_allclose(nested.evaluate(X, verbose=0), model.evaluate(X, verbose=0), rtol=1e-6)
    with pytest.raises(ValueError, match="layer 'stranger', which is no layer of its own"):
        model.add_loss(minicnn.layers.Dense(1, name="stranger")(model.inputs[0]))
    with pytest.raises(ValueError, match="has a `call`: `add_loss` of symbolic tensors belongs there"):
        WithPenalty().add_loss(model.outputs[0])


class WithPenalty(minicnn.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = minicnn.layers.Dense(2)

    def call(self, x: Any) -> Any:
        y = self.dense(x)
        self.add_loss(minicnn.ops.mean(y**2))
        return y


def test_a_call_s_own_loss_suffices():
    model = WithPenalty()
    model.compile("sgd")
    first = model.fit(X, batch_size=24, epochs=3, verbose=0).history["loss"]
    assert first[0] > first[1] > first[2] > 0
    np.testing.assert_allclose(model.evaluate(X, verbose=0), np.mean(model.predict(X, verbose=0) ** 2), rtol=1e-5)


def test_a_step_written_for_keras_2():
    """`compiled_loss` and `compiled_metrics`, as the examples of keras-io of 2020 to 2022 call them."""

    class Older(minicnn.Model):
        def train_step(self, data):
            x, y = data
            with minicnn.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
            self.optimizer.apply_gradients(zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables))
            self.compiled_metrics.update_state(y, y_pred)
            return {**{m.name: m.result() for m in self.metrics if m.name != "loss"}, "own": loss}

    logs = []
    for cls in (Older, minicnn.Model):
        minicnn.set_random_seed(3)
        model = functional(minicnn, cls)
        model.compile("sgd", "mse", metrics=["mae"])
        history = model.fit(X, Y, **OPTIONS | {"batch_size": 24}).history
        logs.append([history["mae"], history["own" if cls is Older else "loss"]])
    np.testing.assert_allclose(*logs, rtol=1e-5)


def test_metrics_of_compile_where_the_targets_are_made_of_the_inputs():
    """Data without targets, as keras-io's masked autoencoders train: the metrics are one of `metrics` until they see some."""

    def build(module, tape_of):
        class Autoencoder(module.Model):
            def _updated(self, x, y_pred):
                logs = {}
                for metric in self.metrics:
                    metric.update_state(x[:, :1], y_pred)
                    logs[metric.name] = metric.result()
                return logs

            def train_step(self, x):
                with tape_of() as tape:
                    y_pred = self(x, training=True)
                    loss = self.compute_loss(y=x[:, :1], y_pred=y_pred)
                self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
                return self._updated(x, y_pred)

            def test_step(self, x):
                return self._updated(x, self(x))

        model = functional(module, Autoencoder)
        model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mse"], run_eagerly=True)
        return model

    found = []

    def fit(model):
        assert [metric.name for metric in model.metrics] == ["loss", "compile_metrics"]
        history = model.fit(X, **OPTIONS, validation_data=(X[:9],))
        found.append(model.evaluate(X, verbose=0))
        return history

    histories(build, fit)
    np.testing.assert_allclose(*found, rtol=1e-4)
    assert len(found[0]) == 3


def test_data_of_any_structure_reach_a_step_as_they_stand():
    """As keras-io's SimCLR and AdaMatch zip data sets, each with batches of a size of its own; a dict, and three parts."""

    def build(module, tape_of):
        class Holder(module.Model):
            def __init__(self):
                super().__init__()
                self.net = module.Sequential([module.Input((6,)), module.layers.Dense(1)])

            def train_step(self, data):
                (weak, strong), target, scale = data
                ((images, _),) = target["target"]
                with tape_of() as tape:
                    y_pred = self.net(module.ops.concatenate([weak, strong[0], images], axis=0))
                    loss = module.ops.mean(y_pred * y_pred) * module.ops.mean(scale)
                self.optimizer.apply(tape.gradient(loss, self.net.trainable_variables), self.net.trainable_variables)
                return {"own": loss}

            def test_step(self, data):
                images, labels = data
                return {"error": module.ops.mean(module.ops.abs(self.net(images) - labels))}

        model = Holder()
        model.compile("adam", run_eagerly=True)
        return model

    def fit(model):
        module = minicnn if isinstance(model, minicnn.Model) else tf
        of = module.data.Dataset.from_tensor_slices
        source = module.data.Dataset.zip((of(X).batch(4), of((X[::-1],)).batch(3)))
        target = of(((X, Y),)).batch(8).map(lambda pair: {"target": (pair,)})
        data = module.data.Dataset.zip((source, target, of(Y).batch(6)))
        return model.fit(data, epochs=2, verbose=0, shuffle=False, validation_data=of((X, Y)).batch(8))

    first, second = histories(build, fit)
    assert first["own"][0] > first["own"][1]
    assert len(second["val_error"]) == 2


def test_a_sum_of_two_numbers_within_a_layer():
    """As a loss in a `Lambda` adds its parts (YAD2K's retrain_yolo.py); the numbers have no batch axis."""
    values = []
    for module in (keras, minicnn):
        i = module.Input((6,))

        def parts(x, K=module):
            return 0.5 * (K.ops.sum(x) + K.ops.sum(x * x))

        model = module.Model(i, module.layers.Lambda(parts, output_shape=(1,))(i))
        values.append(np.asarray(model(X)))
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_an_assignment_in_a_layer_of_a_network_that_another_model_calls():
    """As d2l.ai writes batch normalization by hand, in a `Sequential` that a `Model` holds."""

    def build(module):
        class Shift(module.layers.Layer):
            def build(self, input_shape):
                self.mean = self.add_weight(shape=input_shape[-1:], initializer="zeros", trainable=False)

            def call(self, x, training=None):
                if not training:
                    return x - self.mean
                mean = module.ops.mean(x, axis=0)
                self.mean.assign(0.9 * self.mean + 0.1 * mean)
                return x - mean

        class Net(module.Model):
            def __init__(self):
                super().__init__()
                self.net = module.Sequential([module.Input((6,)), Shift()])

            def call(self, x):
                return self.net(x)

        return Net()

    found = []
    for module in (keras, minicnn):
        model = build(module)
        found.append([np.asarray(y) for y in (model(X, training=True), model(X), model.net.layers[-1].mean)])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_errors():
    class Silent(minicnn.Model):
        def train_step(self, data):
            return {}

    model = functional(minicnn, Silent)
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        model.fit(X, Y)
    model.compile("sgd")
    model.fit(X, Y, verbose=0)
    penalty = 0.01 * np.sum(model.layers[1].kernel.numpy() ** 2)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), penalty, rtol=1e-5)  # a regularizer's is a loss, too
    plain = minicnn.Sequential([minicnn.Input((6,)), minicnn.layers.Dense(1)])
    plain.compile("sgd")
    with pytest.raises(ValueError, match="No loss to compute"):
        plain.compute_loss(y=Y, y_pred=Y)
    for run in (plain.fit, plain.evaluate):
        with pytest.raises(ValueError, match="No loss to compute"):
            run(X, Y, verbose=0)


def test_a_model_without_a_call_trains_by_its_step_with_the_loss_that_compile_was_given():
    logs = []
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(8, 3)).astype("float32"), draw.normal(size=(8, 2)).astype("float32")
    for K, tape in ((minicnn, minicnn.GradientTape), (keras, tf.GradientTape)):

        class Holder(K.Model):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def train_step(self, data):
                images, targets = data
                with tape() as recorded:  # noqa: B023
                    found = self.inner(images)
                    loss = self.compute_loss(y=targets, y_pred=found)
                weights = self.inner.trainable_weights
                self.optimizer.apply_gradients(zip(recorded.gradient(loss, weights), weights))
                return self.compute_metrics(images, targets, found) | {"error": loss}

        model = Holder(K.Sequential([K.Input((3,)), K.layers.Dense(2, kernel_initializer="ones")]))
        model.compile(K.optimizers.SGD(0.1), K.losses.MeanSquaredError(), metrics=["mae"])
        history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
        logs.append([[float(value) for value in history[name]] for name in ("error", "mae")])
    np.testing.assert_allclose(*logs, rtol=1e-5)
