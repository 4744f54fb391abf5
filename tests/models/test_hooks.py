"""When each hook of a callback is called, with what, and what it is told of the call, beside Keras's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn

RNG = np.random.default_rng(5)
X, Y = RNG.random((10, 3), np.float32), RNG.random((10, 2), np.float32)
HOOKS = [
    name for name in vars(keras.callbacks.Callback) if name.startswith("on_") and name not in ("on_batch_begin", "on_batch_end")
]


def batches(k):
    kind = minicnn.data.Dataset if k is minicnn else tf.data.Dataset
    return kind.from_tensor_slices((X, Y)).batch(4)


def forever():
    while True:
        yield X[:4], Y[:4]


CALLS = {
    "fit": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 4, "epochs": 2, "shuffle": False}),
    "fit of a default batch": ("fit", lambda k: {"x": X, "y": Y, "shuffle": False}),
    "fit from a later epoch": ("fit", lambda k: {"x": X, "y": Y, "epochs": 4, "initial_epoch": 2, "shuffle": False}),
    "fit and validate": (
        "fit",
        lambda k: {
            "x": X,
            "y": Y,
            "batch_size": 4,
            "epochs": 3,
            "shuffle": False,
            "validation_data": (X[:7], Y[:7]),
            "validation_batch_size": 3,
            "validation_freq": 2,
        },
    ),
    "fit a Dataset": (
        "fit",
        lambda k: {"x": batches(k), "shuffle": False, "epochs": 2, "validation_data": batches(k), "validation_steps": 2},
    ),
    "fit a generator": ("fit", lambda k: {"x": forever(), "shuffle": False, "steps_per_epoch": 2, "epochs": 2}),
    "evaluate": ("evaluate", lambda k: {"x": X, "y": Y, "batch_size": 4}),
    "evaluate a Dataset, in part": ("evaluate", lambda k: {"x": batches(k), "steps": 2}),
    "evaluate a default batch": ("evaluate", lambda k: {"x": X, "y": Y}),
    "predict": ("predict", lambda k: {"x": X, "batch_size": 4}),
    "predict, in part": ("predict", lambda k: {"x": X, "batch_size": 3, "steps": 2}),
    "predict a Dataset": ("predict", lambda k: {"x": batches(k)}),
}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    array = np.asarray(value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value)
    return array.shape if array.ndim else round(float(array), 4)


def recorded(k, weights, call, verbose):
    """Every call of a hook: its name, position, logs and the settings that the callback was given before it."""
    model = k.Sequential([k.Input((3,)), k.layers.Dense(2, name="out")])
    model.set_weights(weights)
    model.compile(k.optimizers.SGD(0.1), "mse", metrics=["mae"], run_eagerly=True)
    seen = []

    def noting(hook):
        def note(self, *given, logs=None):
            *position, logs = (*given, logs) if len(given) < ("batch" in hook or "epoch" in hook) + 1 else given
            assert self.model is model
            seen.append((hook, position, plain(logs or {}), dict(self.params)))

        return note

    recorder = type("Recorder", (k.callbacks.Callback,), {hook: noting(hook) for hook in HOOKS})()
    method, arguments = CALLS[call]
    getattr(model, method)(**arguments(k), verbose=verbose, callbacks=[recorder])
    return seen


@pytest.mark.parametrize("call", CALLS)
def test_hooks_are_called_as_keras_calls_them(call):
    weights = [RNG.random((3, 2), np.float32), np.zeros(2, np.float32)]
    ours, theirs = (recorded(k, weights, call, 0) for k in (minicnn, keras))
    assert [one[:2] for one in ours] == [one[:2] for one in theirs]
    for (hook, position, logs, params), (*_, expected_logs, expected_params) in zip(ours, theirs):
        assert params == expected_params, hook
        assert logs.keys() == expected_logs.keys(), (hook, position)
        for name, value in logs.items():
            assert (
                value == pytest.approx(expected_logs[name], abs=2e-4)
                if isinstance(value, float)
                else value == expected_logs[name]
            )
