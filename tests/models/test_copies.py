"""Copies: by `copy.deepcopy` and `pickle`, before, after and in the middle of training."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import backends, callbacks, layers, optimizers, variables
from minicnn.variables import Variable

RNG = np.random.default_rng(29)
X, Y = RNG.random((45, 6, 6, 2), np.float32), RNG.integers(0, 3, 45)
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def make(optimizer="adam"):
    """A model with all that has a state: statistics, dropout's masks, slots, an order of the samples."""
    minicnn.set_random_seed(7)
    model = minicnn.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    return model


def fit(model, epochs=1, **arguments):
    return model.fit(X, Y, batch_size=7, epochs=epochs, verbose=0, **arguments).history


def assert_same_bits(model, other):
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


@copies
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optimizers.SGD(0.1, momentum=0.9, use_ema=True),
        lambda: optimizers.RMSprop(optimizers.schedules.ExponentialDecay(0.01, 5, 0.9), gradient_accumulation_steps=2),
        lambda: optimizers.AdamW(amsgrad=True, global_clipnorm=1.0, loss_scale_factor=2.0),
    ],
    ids=["SGD", "RMSprop", "AdamW"],
)
def test_a_copy_of_a_trained_model_trains_on_as_the_model_does(copied, optimizer):
    model = make(optimizer())
    fit(model)
    before = model.get_weights()
    other = copied(model)
    expected = fit(model, 2)
    after = model.get_weights()
    for one, two in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)
    assert fit(other, 2) == expected
    for one, two in zip(model.get_weights(), after, strict=True):  # and did not touch the model
        np.testing.assert_array_equal(one, two)
    assert_same_bits(other, model)


@copies
def test_a_model_copied_by_a_callback_trains_on_as_the_model_does(copied):
    class Snapshot(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.copy = copied(self.model)

    model, snapshot = make(), Snapshot()
    fit(model, 3, callbacks=[snapshot])
    fit(snapshot.copy, 3, initial_epoch=1)
    assert_same_bits(snapshot.copy, model)


@copies
@pytest.mark.parametrize("trained", [False, True])
def test_a_copy_keeps_what_does_not_decay(copied, trained):
    model = make(optimizers.SGD(0.1, weight_decay=0.5))
    model.optimizer.exclude_from_weight_decay(var_list=[model.trainable_variables[0]])
    if trained:
        fit(model)
    other, plain = copied(model), make(optimizers.SGD(0.1, weight_decay=0.5))
    for one in (model, other, plain):
        fit(one)
    assert_same_bits(other, model)
    assert np.abs(plain.get_weights()[0]).max() < np.abs(model.get_weights()[0]).max()


@pytest.mark.parametrize("built", [False, True])
def test_a_copied_optimizer_updates_the_same_variables_with_slots_of_its_own(built):
    weights = [Variable(np.ones(3, "float32")), Variable(np.ones(2, "float32"))]
    optimizer = optimizers.Adam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=weights[:1])
    grads = [np.zeros(3, "float32"), np.zeros(2, "float32")]
    if built:
        optimizer.apply(grads, weights)
    other = copy.deepcopy(optimizer)
    start, results = [variable.numpy() for variable in weights], []
    for one in (optimizer, other):
        for variable, value in zip(weights, start):
            variable.assign(value)
        one.apply([np.full(3, 0.2, "float32"), grads[1]], weights)
        results.append([variable.numpy() for variable in (*weights, *one.variables)])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not set(optimizer.variables) & set(other.variables)
    np.testing.assert_array_equal(results[0][1], start[1] * np.float32(1 - 0.1 * 0.5))  # decayed; its gradient was 0
    assert results[0][0][0] == pytest.approx(start[0][0] - 0.1, rel=0.1)  # not decayed: Adam's step alone


@copies
@pytest.mark.parametrize("optimizer_first", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_a_model_and_its_optimizer_stay_a_pair_in_any_order(copied, optimizer_first, trained):
    model = make(optimizers.AdamW(0.01, use_ema=True))
    model.optimizer.exclude_from_weight_decay(var_list=[model.trainable_variables[0]])
    if trained:
        fit(model)
    before = model.get_weights()
    if optimizer_first:
        optimizer, other = copied((model.optimizer, model))
    else:
        other, optimizer = copied((model, model.optimizer))
    assert other.optimizer is optimizer
    expected = fit(model, 2)
    after = model.get_weights()
    for one, two in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)
    assert fit(other, 2) == expected
    for one, two in zip(model.get_weights(), after, strict=True):
        np.testing.assert_array_equal(one, two)
    assert_same_bits(other, model)


@copies
def test_a_copied_callback_serves_another_model(copied):
    model, stopping = make(), callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    fit(model, callbacks=[stopping])
    other, expected = make(), make()
    again = callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    assert fit(other, 4, callbacks=[copied(stopping)]) == fit(expected, 4, callbacks=[again])
    assert_same_bits(other, expected)


class OnDevice(np.ndarray):
    """An array of another backend."""


@copies
def test_copied_variables_follow_the_backend(copied, monkeypatch):
    model = make()
    fit(model)
    other = copied(model)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(backends, "asarray", lambda value, dtype=None: np.array(value, dtype).view(OnDevice))
            variables._follow_backend()
            for variable in [*other.weights, *other.optimizer.variables]:
                assert isinstance(variable.value, OnDevice), variable.path
            there = copied(other)
            assert all(isinstance(variable.value, OnDevice) for variable in there.weights)
    finally:
        variables._follow_backend()
    for one in (other, there):
        assert not any(isinstance(variable.value, OnDevice) for variable in one.weights)
