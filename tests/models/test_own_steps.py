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


def test_errors():
    class Silent(minicnn.Model):
        def train_step(self, data):
            return {}

    model = functional(minicnn, Silent)
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        model.fit(X, Y)
    model.compile("sgd")
    model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="No loss to compute"):
        model.evaluate(X, Y, verbose=0)
    plain = minicnn.Sequential([minicnn.Input((6,)), minicnn.layers.Dense(1)])
    plain.compile("sgd")
    with pytest.raises(ValueError, match="No loss to compute"):
        plain.compute_loss(y=Y, y_pred=Y)
