"""Callbacks against Keras's own, driven through the same epochs; and what is ours alone."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import operator
import re
import struct
import sys
import time
from contextlib import redirect_stdout
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import minicnn
from minicnn import callbacks, losses, metrics
from minicnn.callbacks import progbar
from minicnn.models.guards import NumericsError

LOSSES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.5001, 0.75, 1.0, float("nan")]), min_size=1, max_size=12)


class FakeModel:
    """What the callbacks touch of a model."""

    built = True
    metrics: list = []

    def __init__(self):
        self.stop_training = False
        self.optimizer = SimpleNamespace(learning_rate=0.5, name="sgd")
        self.weights = [np.zeros(1)]
        self.saved: list[str] = []

    def get_weights(self):
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        self.weights = weights

    def save(self, path, overwrite):
        assert overwrite
        self.saved.append(path)

    def save_weights(self, path, overwrite):
        self.save(f"weights: {path}", overwrite)


def run(callback, logs_of_epochs, batches=0):
    """Epochs as `fit` runs them; returns the model, and one row an epoch of what changed."""
    model = FakeModel()
    callback.set_model(model)
    callback.set_params({"epochs": len(logs_of_epochs), "steps": batches, "verbose": 0})
    rows = []
    callback.on_train_begin()
    for epoch, logs in enumerate(logs_of_epochs):
        logs = dict(logs)
        model.weights = [np.full(1, float(epoch))]
        callback.on_epoch_begin(epoch)
        for batch in range(batches):
            callback.on_train_batch_begin(batch)
            callback.on_train_batch_end(batch, dict(logs))
        callback.on_epoch_end(epoch, logs)
        rows.append((model.stop_training, float(model.optimizer.learning_rate), tuple(model.saved), logs.get("learning_rate")))
        if model.stop_training:
            break
    callback.on_train_end()
    return model, rows


def both(name, arguments, logs_of_epochs, batches=0):
    """Ours and Keras's, with the same arguments through the same epochs, must do the same."""
    ours = run(getattr(callbacks, name)(**arguments), logs_of_epochs, batches)
    theirs = run(getattr(keras.callbacks, name)(**arguments), logs_of_epochs, batches)
    assert ours[1] == theirs[1]
    assert ours[0].weights == theirs[0].weights
    return ours


@settings(max_examples=60, deadline=None)
@given(
    values=LOSSES,
    patience=st.integers(0, 3),
    min_delta=st.sampled_from([0, 0.1, -0.1]),
    mode=st.sampled_from(["auto", "min", "max"]),
    baseline=st.sampled_from([None, 0.4]),
    restore=st.booleans(),
    start=st.integers(0, 2),
)
def test_early_stopping_does_what_keras_does(values, patience, min_delta, mode, baseline, restore, start):
    arguments = {
        "patience": patience,
        "min_delta": min_delta,
        "mode": mode,
        "baseline": baseline,
        "restore_best_weights": restore,
        "start_from_epoch": start,
    }
    both("EarlyStopping", arguments, [{"val_loss": value} for value in values])


@settings(max_examples=60, deadline=None)
@given(
    values=LOSSES,
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 2),
    min_lr=st.sampled_from([0.0, 0.2]),
    mode=st.sampled_from(["auto", "min", "max"]),
    factor=st.sampled_from([0.5, 0.1]),
    min_delta=st.sampled_from([0.01, 0.3, -0.3]),
)
def test_reduce_lr_on_plateau_does_what_keras_does(values, patience, cooldown, min_lr, mode, factor, min_delta):
    arguments = {"patience": patience, "cooldown": cooldown, "min_lr": min_lr, "mode": mode}
    arguments |= {"factor": factor, "min_delta": min_delta}
    both("ReduceLROnPlateau", arguments, [{"val_loss": value} for value in values])


@settings(max_examples=60, deadline=None)
@given(
    values=LOSSES,
    best=st.booleans(),
    mode=st.sampled_from(["auto", "min", "max"]),
    frequency=st.sampled_from(["epoch", 1, 2, 3, 7]),
    threshold=st.sampled_from([None, 0.6]),
    weights_only=st.booleans(),
)
def test_model_checkpoint_saves_when_keras_does(tmp_path_factory, values, best, mode, frequency, threshold, weights_only):
    ending = ".weights.h5" if weights_only else ".keras"
    batches = 0 if frequency == "epoch" else 3
    place = "{epoch:02d}-{val_loss:.2f}" if frequency == "epoch" else "{epoch:02d}-{batch}"
    arguments = {
        "filepath": str(tmp_path_factory.getbasetemp() / (place + ending)),
        "save_best_only": best,
        "mode": "min" if mode == "auto" and frequency != "epoch" else mode,  # Keras's own fails there
        "save_freq": frequency,
        "initial_value_threshold": threshold,
        "save_weights_only": weights_only,
    }
    if best and batches:
        return  # Keras's own asks for its comparison before it has one
    both("ModelCheckpoint", arguments, [{"val_loss": value} for value in values], batches)


@pytest.mark.parametrize("frequency", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_checkpoint_counts_batches_through_epochs_of_any_length(tmp_path, frequency, length):
    arguments = {"filepath": str(tmp_path / "{epoch:02d}-{batch}.keras"), "save_freq": frequency}
    model, _ = both("ModelCheckpoint", arguments, [{"loss": 1.0}] * 9, length)
    assert len(model.saved) == 9 * length // frequency


def test_the_best_of_some_batches_is_saved():
    """After every third batch, if the loss is then below that of all those times before; 4 batches an epoch."""
    saver = callbacks.ModelCheckpoint("{epoch}-{batch}.keras", "loss", save_best_only=True, save_freq=3)
    model = FakeModel()
    saver.set_model(model)
    losses = iter([9, 9, 5, 1, 9, 6, 9, 1, 4, 9, 9, 4])
    for epoch in range(3):
        saver.on_epoch_begin(epoch)
        for batch in range(4):
            saver.on_train_batch_end(batch, {"loss": next(losses)})
        saver.on_epoch_end(epoch, {"loss": 0})
    assert model.saved == ["1-3.keras", "3-1.keras"]


@pytest.mark.parametrize("arguments", [{}, {"delete_checkpoint": False}, {"delete_checkpoint": True}])
def test_a_backup_stays_after_training_if_it_is_told_to(tmp_path, arguments):
    left = []
    for module in (minicnn, keras):
        model = module.Sequential([module.layers.Input((2,)), module.layers.Dense(1)])
        model.compile("sgd", "mse")
        folder = tmp_path / module.__name__
        backup = module.callbacks.BackupAndRestore(folder, **arguments)
        model.fit(np.ones((3, 2)), np.ones((3, 1)), epochs=2, verbose=0, callbacks=[backup])
        left.append((folder / "latest.weights.h5").exists())
    assert left == [arguments.get("delete_checkpoint") is False] * 2


def test_neither_of_two_backups_stays(tmp_path):
    model = minicnn.Sequential([minicnn.layers.Input((2,)), minicnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    backup = callbacks.BackupAndRestore(tmp_path / "backup", double_checkpoint=True)
    model.fit(np.ones((3, 2)), np.ones((3, 1)), epochs=3, verbose=0, callbacks=[backup])
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("EarlyStopping", {"monitor": "loss", "patience": 1, "restore_best_weights": True}),
        ("EarlyStopping", {"monitor": "loss", "mode": "max", "start_from_epoch": 1}),
        ("ReduceLROnPlateau", {"monitor": "loss", "patience": 2, "factor": 0.5, "cooldown": 2}),
        ("ReduceLROnPlateau", {"monitor": "loss", "patience": 1, "factor": 0.5, "cooldown": 5}),  # the first run ends in it
        ("ModelCheckpoint", {"filepath": "{epoch}.keras", "monitor": "loss", "save_best_only": True}),
        ("ModelCheckpoint", {"filepath": "{epoch}.keras", "save_freq": 3}),
    ],
)
def test_a_callback_serves_a_second_fit_as_keras_s_does(name, arguments):
    """After a run that ended better than the next one begins, and in the middle of what was counted."""
    found = []
    for module in (callbacks, keras.callbacks):
        callback = getattr(module, name)(**arguments)
        runs = [
            run(callback, [{"loss": loss} for loss in losses], 2) for losses in ([0.5, 0.1, 0.2], [0.9, 0.8, 0.85, 0.9, 0.9])
        ]
        found.append([(rows, model.weights) for model, rows in runs])
    assert found[0] == found[1]


def test_a_history_that_is_passed_twice_goes_on_with_its_values_and_not_its_epochs():
    found = []
    for module in (callbacks, keras.callbacks):
        history = module.History()
        for values in ([0.5, 0.25], [0.125]):
            run(history, [{"loss": loss} for loss in values])
        found.append((history.epoch, history.history))
    assert found[0] == found[1] == ([0], {"loss": [0.5, 0.25, 0.125]})


def test_rows_of_a_second_fit_have_its_own_columns(tmp_path):
    for name, module in (("ours", callbacks), ("theirs", keras.callbacks)):
        logger = module.CSVLogger(str(tmp_path / name), append=True)
        for logs in ({"loss": 1.5, "val_loss": 2.0}, {"mae": 0.5, "loss": 1.0, "val_loss": 2.5}):
            run(logger, [logs] * 2)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize(
    "schedule", [lambda epoch, lr: lr * 0.5, lambda epoch: 0.1 / (epoch + 1), lambda e, lr: np.float32(lr)]
)
def test_learning_rate_scheduler_does_what_keras_does(schedule):
    both("LearningRateScheduler", {"schedule": schedule}, [{"loss": 1.0}] * 3)


def test_learning_rate_scheduler_wants_a_float():
    with pytest.raises(ValueError, match=r"The output of the `schedule` function should be a float. Got: nothing"):
        run(callbacks.LearningRateScheduler(lambda epoch, lr: "nothing"), [{}])


@pytest.mark.parametrize(
    "logs", [[{"loss": 1.5, "accuracy": 0.5}] * 2, [{"loss": 1.5, "val_loss": np.array([1, 2])}] * 2, [{}]]
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_csv_logger_writes_keras_s_bytes(tmp_path, logs, separator):
    for name, module in (("ours", callbacks), ("theirs", keras.callbacks)):
        for append in (False, True):
            run(module.CSVLogger(str(tmp_path / name), separator, append), logs)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert len(list(csv.reader(io.StringIO((tmp_path / "ours").read_text()), delimiter=separator))) == 1 + 2 * len(logs)


def test_rows_are_in_the_file_when_their_epochs_end(tmp_path):
    logger = callbacks.CSVLogger(tmp_path / "run.csv")
    logger.on_train_begin()
    for epoch in range(2):
        logger.on_epoch_end(epoch, {"loss": 0.5})
        assert (tmp_path / "run.csv").read_text().splitlines()[1:] == ["0,0.5,NA", "1,0.5,NA"][: epoch + 1]
    logger.close()


def test_logs_may_be_left_out(tmp_path):
    """As in a loop of a user's own."""
    for make in (
        lambda k: k.History(),
        lambda k: k.LearningRateScheduler(lambda epoch: 0.25),
        lambda k: k.TerminateOnNaN(),
        lambda k: k.CSVLogger(str(tmp_path / "run.csv")),
        lambda k: k.LambdaCallback(),
    ):
        found = []
        for module in (callbacks, keras.callbacks):
            callback, model = make(module), FakeModel()
            callback.set_model(model)
            callback.on_train_begin()
            for epoch in range(2):
                callback.on_epoch_begin(epoch)
                callback.on_train_batch_begin(0)
                callback.on_train_batch_end(0)
                callback.on_epoch_end(epoch)
            callback.on_train_end()
            found.append((model.saved, model.optimizer.learning_rate, getattr(callback, "epoch", None), model.stop_training))
        assert found[0] == found[1]
    for frequency in ("epoch", 1):  # Keras's fail
        saver, model = callbacks.ModelCheckpoint("{epoch}.keras", save_freq=frequency), FakeModel()
        saver.set_model(model)
        saver.on_epoch_begin(0)
        getattr(saver, "on_epoch_end" if frequency == "epoch" else "on_train_batch_end")(0)
        assert model.saved == ["1.keras"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("EarlyStopping", {"monitor": "loss", "patience": 2, "restore_best_weights": True}),
        ("ReduceLROnPlateau", {"monitor": "loss", "patience": 1, "cooldown": 1, "factor": 0.5}),
        ("ModelCheckpoint", {"filepath": "{epoch}.keras", "monitor": "loss", "save_best_only": True}),
    ],
)
def test_training_may_begin_with_an_epoch(name, arguments):
    """In a loop of a user's own that calls no `on_train_begin`."""
    found = []
    for module in (callbacks, keras.callbacks):
        callback, model, rows = getattr(module, name)(**arguments), FakeModel(), []
        callback.set_model(model)
        for epoch, loss in enumerate((0.5, 0.75, 0.75, 0.25, 0.5)):
            model.weights = [np.full(1, float(epoch))]
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"loss": loss})
            rows.append((model.stop_training, model.optimizer.learning_rate, list(model.saved)))
        found.append(rows)
    assert found[0] == found[1]


def test_a_missing_monitor_warns_and_names_what_there_is():
    with pytest.warns(UserWarning, match=r"Early stopping conditioned on metric `val_loss` .*not available. .* are: loss"):
        run(callbacks.EarlyStopping(), [{"loss": 1.0}])
    with pytest.warns(UserWarning, match=r"conditioned on metric `val_loss` .*not available. .* are: loss,learning_rate"):
        run(callbacks.ReduceLROnPlateau(), [{"loss": 1.0}])
    with pytest.warns(UserWarning, match=r"Can save best model only with val_loss available\."):
        run(callbacks.ModelCheckpoint("x.keras", save_best_only=True), [{"loss": 1.0}])


@pytest.mark.parametrize(("mode", "epochs"), [("min", [3]), ("max", [1, 4])])
def test_model_checkpoint_has_to_beat_its_threshold(tmp_path, mode, epochs):
    arguments = {"save_best_only": True, "initial_value_threshold": 0.6, "mode": mode}
    logs = [{"val_loss": value} for value in (0.7, 0.65, 0.5, 0.75)]
    model, _ = both("ModelCheckpoint", {"filepath": str(tmp_path / "{epoch}.keras"), **arguments}, logs)
    assert model.saved == [str(tmp_path / f"{epoch}.keras") for epoch in epochs]


def test_what_a_checkpoint_cannot_do(tmp_path):
    (tmp_path / "taken.keras").mkdir()
    with pytest.raises(OSError, match="Please specify a non-directory filepath"):
        run(callbacks.ModelCheckpoint(tmp_path / "taken.keras"), [{"loss": 1.0}])
    for module in (callbacks, keras.callbacks):
        checkpoint = module.ModelCheckpoint(str(tmp_path / "{epoch}.keras"), "loss", save_best_only=True, mode="min")
        with pytest.warns(UserWarning, match="Can save best model only when `monitor` is a scalar value"):
            model, _ = run(checkpoint, [{"loss": np.array([1.0, 2.0])}] * 2)
        assert len(model.saved) == 2


def test_auto_mode_asks_the_metric():
    stopping = callbacks.EarlyStopping("val_accuracy")
    model = FakeModel()
    model.metrics = [SimpleNamespace(name="loss"), SimpleNamespace(name="accuracy", _direction="up")]
    stopping.set_model(model)
    for epoch, value in enumerate([0.5, 0.6, 0.7]):
        stopping.on_epoch_end(epoch, {"val_accuracy": value})
    assert not model.stop_training
    stopping.on_epoch_end(3, {"val_accuracy": 0.65})
    assert model.stop_training
    with pytest.raises(ValueError, match=r"EarlyStopping callback received monitor=banana.*Pass `mode='max'`"):
        run(callbacks.EarlyStopping("banana"), [{"banana": 1.0}])


@pytest.mark.parametrize(
    ("metric", "monitor", "better"),
    [
        ("accuracy", "val_accuracy", "max"),
        ("acc", "acc", "max"),
        ("mae", "val_mae", "min"),
        ("auc", "auc", "max"),
        ("huber", "loss", "min"),
        (metrics.Precision(name="hits"), "val_hits", "max"),
        (metrics.MeanIoU(2), "mean_io_u", "max"),
        (metrics.F1Score(average="micro"), "val_f1_score", "max"),
        (metrics.MeanMetricWrapper(losses.log_cosh, name="mine"), "mine", "min"),
        (losses.squared_hinge, "val_squared_hinge", "min"),
    ],
)
def test_auto_mode_knows_what_is_better_from_the_metric_itself(metric, monitor, better):
    metric = [] if metric == "huber" else [metric]
    model = minicnn.models.Sequential([minicnn.layers.Input((2,)), minicnn.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "huber", metrics=metric)
    stopping = callbacks.EarlyStopping(monitor, patience=9, restore_best_weights=True)
    x, y = np.ones((4, 2)), np.array([[0.0], [1], [1], [0]])
    history = model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[stopping]).history[monitor]
    assert stopping.monitor_op is (operator.gt if better == "max" else operator.lt)
    assert stopping.best == (max if better == "max" else min)(history)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.ReduceLROnPlateau(factor=1.5), "does not support a factor >= 1.0. Received factor=1.5"),
        (lambda m: m.ModelCheckpoint("a.txt"), "The filepath provided must end in `.keras` (Keras model format). Received: "),
        (lambda m: m.ModelCheckpoint("a.keras", save_weights_only=True), "the filepath provided must end in `.weights.h5`"),
        (lambda m: m.ModelCheckpoint("a.keras", save_freq="often"), "Unrecognized save_freq: often. Expected save_freq are"),
        (lambda m: m.BackupAndRestore(""), "Empty `backup_dir` argument passed"),
        (
            lambda m: m.BackupAndRestore("x", save_freq="often"),
            "Invalid value for argument `save_freq`. Received: save_freq=often",
        ),
    ],
)
def test_wrong_arguments_get_keras_s_words(make, message):
    for module in (callbacks, keras.callbacks):
        with pytest.raises(ValueError, match=re.escape(message)):
            make(module)


def test_an_unknown_mode_falls_back_with_a_warning():
    with pytest.warns(UserWarning, match="EarlyStopping mode 'unknown' is unknown, fallback to auto mode"):
        callbacks.EarlyStopping(mode="unknown")


def test_a_placeholder_that_the_logs_lack_is_named():
    with pytest.raises(KeyError, match=r'Failed to format this callback filepath: "\{acc\}.keras"'):
        run(callbacks.ModelCheckpoint("{acc}.keras"), [{"loss": 1.0}])


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("values", [(1.0, 0.5, 0.7, 0.8), (0.8, 0.7, 0.5, 0.2)])
def test_verbose_messages_are_keras_s(tmp_path, capsys, verbose, values):
    logs, said = [{"val_loss": value} for value in values], []
    for module in (callbacks, keras.callbacks):
        path = str(tmp_path / "best.keras")
        for callback in (
            module.ModelCheckpoint(path, save_best_only=True, verbose=verbose),
            module.ModelCheckpoint(path, verbose=verbose),
            module.EarlyStopping(patience=2, restore_best_weights=True, verbose=verbose),
            module.EarlyStopping(patience=2, verbose=verbose),
            module.ReduceLROnPlateau(patience=1, factor=0.5, verbose=verbose),
            module.LearningRateScheduler(lambda epoch, lr: 0.25, verbose=verbose),
        ):
            run(callback, logs)
        said.append([line for line in capsys.readouterr().out.split("\n") if line])
    assert said[0] == said[1]
    assert bool(said[0]) == bool(verbose)


# --- the list ---------------------------------------------------------------------------


class Recorder(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls = []


HOOKS = [name for name in vars(keras.callbacks.Callback) if name.startswith("on_")]


def test_every_hook_of_keras_is_called_with_keras_s_arguments():
    calls = {}
    for module in (callbacks, keras.callbacks):
        seen = []

        def record(hook, seen=seen):
            def method(self, *arguments, **keywords):
                seen.append((hook, arguments, keywords))

            return method

        own = type("Own", (module.Callback,), {hook: record(hook) for hook in HOOKS})
        every = module.CallbackList([own()], model=FakeModel())
        for hook in HOOKS:
            if "batch" in hook or "epoch" in hook:
                getattr(every, hook)(3, {"b": np.float32(0.5), "a": np.array(2), "c": {"d": 1}})
            else:
                getattr(every, hook)({"loss": 1})
        calls[module] = sorted(seen, key=lambda call: call[0])
    assert calls[callbacks] == calls[keras.callbacks]
    assert {call[0] for call in calls[callbacks]} == set(HOOKS)


def test_older_names_of_the_batch_hooks_are_called():
    class Older(Recorder):
        def on_batch_begin(self, batch, logs=None):
            self.calls.append(("begin", batch, logs))

        def on_batch_end(self, batch, logs=None):
            self.calls.append(("end", batch, logs))

    older = Older()
    every = callbacks.CallbackList(older)
    every.on_train_batch_begin(2)
    every.on_train_batch_end(2, {"loss": 1.0})
    older.on_train_batch_begin(3, {"size": 2})  # called by somebody else than the list
    older.on_train_batch_end(3, {"loss": 2.0})
    assert older.calls == [
        *(("begin", 2, {}), ("end", 2, {"loss": 1.0})),
        *(("begin", 3, {"size": 2}), ("end", 3, {"loss": 2.0})),
    ]
    seen = []  # by what is no `Callback`, and has none of the other hooks
    own = SimpleNamespace(on_batch_end=lambda batch, logs: seen.append(batch), set_params=print, set_model=print)
    other = callbacks.CallbackList([own])
    other.on_train_batch_begin(0)
    other.on_train_batch_end(1)
    assert seen == [1]


def test_hooks_nobody_overrides_are_not_called_and_need_no_logs():
    def never():
        raise AssertionError("the logs were computed for nobody")

    every = callbacks.CallbackList([callbacks.EarlyStopping(), callbacks.ModelCheckpoint("x.keras")], add_history=True)
    assert not any(every._hooks[hook] for hook in every._hooks if "batch" in hook)
    every.on_train_batch_end(0, never)
    asked = []
    every.append(callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: asked.append(logs)))
    every.on_train_batch_end(0, lambda: {"loss": np.float32(0.5)})
    assert asked == [{"loss": 0.5}]


def test_what_one_callback_adds_to_the_logs_the_history_sees():
    model = FakeModel()
    every = callbacks.CallbackList([callbacks.LearningRateScheduler(lambda epoch, lr: 0.25)], add_history=True, model=model)
    logs = {"loss": np.float32(2)}
    every.on_train_begin()
    every.on_epoch_begin(0)
    every.on_epoch_end(0, logs)
    assert model.history.history == {"learning_rate": [0.25], "loss": [2.0]}
    assert model.history.epoch == [0]
    assert logs == {"loss": np.float32(2)}


def test_nested_lists_defaults_and_params():
    mine, bar = Recorder(), callbacks.ProgbarLogger()
    every = callbacks.CallbackList([[mine], [bar]], add_history=True, add_progbar=True, verbose=2, epochs=3, steps=7)
    assert [type(callback).__name__ for callback in every.callbacks] == ["Recorder", "ProgbarLogger", "History"]
    assert mine.params == {"verbose": 2, "epochs": 3, "steps": 7}
    assert (bar.verbose, bar.epochs, bar.target) == (2, 3, 7)


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in ("on_batch_begin", "on_batch_end")])
def test_lambda_callback_calls_a_function_at_its_own_hook_alone(hook):
    calls = []
    every = callbacks.CallbackList(callbacks.LambdaCallback(**{hook: lambda *given, **named: calls.append((*given, named))}))
    for other in HOOKS:
        if "batch" in other or "epoch" in other:
            getattr(every, other)(HOOKS.index(other), {"loss": 2})
        else:
            getattr(every, other)({"loss": 2})
    expected = [HOOKS.index(hook)] if "batch" in hook or "epoch" in hook else []
    assert len(calls) == 1
    *given, named = calls[0]
    assert [*given, *named.values()] == [*expected, {"loss": 2.0}]


@pytest.mark.parametrize("frozen", ["a bias", "a layer", "a bias, averaged"])
def test_a_callback_freezes_and_frees_weights_during_fit(frozen):
    """As Keras does step by step, eagerly; compiled, it goes on with what was trained when it was compiled."""
    found = []
    for module in (minicnn, keras):
        model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(4), module.layers.Dense(2)])
        rng = np.random.default_rng(0)
        model.set_weights([rng.normal(size=weight.shape).astype("float32") for weight in model.get_weights()])
        averaged = "averaged" in frozen
        optimizer = module.optimizers.SGD(0.1, momentum=0.9, use_ema=averaged and module is minicnn)
        model.compile(optimizer, "mse", run_eagerly=True)
        layer, history = model.layers[0], []

        def before(epoch, logs, layer=layer, model=model, history=history):
            trainable = epoch != 1 if frozen != "a bias, averaged" else epoch < 2
            (layer if frozen == "a layer" else layer.bias).trainable = trainable
            history.append(model.get_weights())

        callback = module.callbacks.LambdaCallback(on_epoch_begin=before)
        x, y = rng.random((12, 3)).astype("float32"), rng.random((12, 2)).astype("float32")
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[callback])
        found.append([*history, *([] if averaged else [model.get_weights()])])
    for ours, theirs in zip(*found, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    changed = [not np.array_equal(before[1], after[1]) for before, after in itertools.pairwise(found[0])]
    assert changed == ([True, True] if frozen == "a bias, averaged" else [True, False, True])


def normalized_model():
    """With statistics, which no optimizer updates."""
    minicnn.set_random_seed(3)
    model = minicnn.Sequential(
        [minicnn.layers.Input((3,)), minicnn.layers.BatchNormalization(), minicnn.layers.Dense(2, activation="softmax")]
    )
    model.compile(minicnn.optimizers.SGD(0.5, momentum=0.9), "sparse_categorical_crossentropy")
    return model


def fitted(*given, epochs=4, model=None):
    model = model or normalized_model()
    rng = np.random.default_rng(1)
    x, y = rng.random((12, 3), np.float32), rng.integers(0, 2, 12)
    model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(given))
    return [variable.numpy() for variable in model.weights]


def test_lookahead_is_the_paper_s():
    """One weight under gradient descent, w - rate * dloss/dw, with slow + a * (w - slow) after every second step."""
    rate, x, y, sizes = 0.1, 2.0, 3.0, {2: 0.5, 4: 0.25, 6: 1.0}
    w = slow = 0.5
    expected = []
    for step in range(1, 8):
        w -= rate * 2 * (w * x - y) * x
        if step % 2 == 0:
            slow = slow + sizes[step] * (w - slow)
            w = slow
        expected.append(w)
    layer = minicnn.layers.Dense(1, use_bias=False, kernel_initializer=minicnn.initializers.Constant(0.5))
    model = minicnn.Sequential([minicnn.layers.Input((1,)), layer])
    model.compile(minicnn.optimizers.SGD(rate), "mse")
    seen = []
    note = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(float(layer.kernel[0, 0])))
    lookahead = callbacks.Lookahead(2, slow_step_size=sizes.__getitem__)
    model.fit(np.full((7, 1), x), np.full((7, 1), y), batch_size=1, shuffle=False, verbose=0, callbacks=[lookahead, note])
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    assert float(layer.kernel[0, 0]) == pytest.approx(slow)  # the last step's is not kept


def test_lookahead_takes_statistics_too():
    start = [variable.numpy() for variable in normalized_model().weights]
    for one, other in zip(fitted(callbacks.Lookahead(2, 0.0)), start, strict=True):  # slow weights that stay
        np.testing.assert_array_equal(one, other)
    for one, other in zip(fitted(callbacks.Lookahead(1, 1.0)), fitted(), strict=True):  # that follow at once
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_lookahead_goes_on_after_a_kill(tmp_path):
    class Kill(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.params["epochs"] == 4 and self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1

    kill = Kill()
    kill.left = 7
    backup = callbacks.BackupAndRestore(tmp_path, save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        fitted(callbacks.Lookahead(3), backup, kill)
    resumed = fitted(callbacks.Lookahead(3), callbacks.BackupAndRestore(tmp_path, save_freq=1))
    for one, other in zip(resumed, fitted(callbacks.Lookahead(3)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_lookahead_counts_the_steps_of_each_fit():
    """After a fit of three steps, one more is no second one: the slow weights stay where they were."""
    lookahead, model = callbacks.Lookahead(2), normalized_model()
    before = fitted(lookahead, epochs=1, model=model)
    rng = np.random.default_rng(5)
    model.fit(rng.random((4, 3), np.float32), rng.integers(0, 2, 4), batch_size=4, verbose=0, callbacks=[lookahead])
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_lookahead_names_bad_arguments():
    for period in (0, True, 2.5):
        with pytest.raises(ValueError, match=rf"`sync_period` must be a positive integer. Received: sync_period={period}"):
            callbacks.Lookahead(period)
    assert (callbacks.Lookahead().sync_period, callbacks.Lookahead().slow_step_size) == (6, 0.5)  # TensorFlow Addons'
    with pytest.raises(ValueError, match=r"`slow_step_size` must be in .*Received: slow_step_size=-0.1"):
        callbacks.Lookahead(5, -0.1)
    with pytest.raises(ValueError, match=r"`slow_step_size` must be in \[0, 1\], or a function. Received: slow_step_size=2"):
        callbacks.Lookahead(5, 2)


def test_terminate_on_nan_says_where(capsys):
    callback = callbacks.TerminateOnNaN()
    model = FakeModel()
    callback.set_model(model)
    callback.on_batch_end(0, {"loss": 1.0})
    assert not model.stop_training
    callback.on_numerics_error(NumericsError("conv2d_1", "backward", 12))
    callback.on_batch_end(12, {"loss": float("nan")})
    assert model.stop_training
    assert capsys.readouterr().out == (
        "Batch 12: Invalid loss, terminating training: "
        "NaN or infinity first appeared in the backward pass of layer 'conv2d_1' at batch 12\n"
    )
    for loss in (float("nan"), float("inf")):
        model.stop_training = False
        callback.on_batch_end(3, {"loss": loss})
        assert model.stop_training
        assert capsys.readouterr().out == "Batch 3: Invalid loss, terminating training\n"
    model.stop_training = False
    strict = callbacks.TerminateOnNaN(raise_error=True)
    strict.set_model(model)
    with pytest.raises(RuntimeError, match=r"NaN or Inf loss encountered at batch 3. Loss value: nan"):
        strict.on_batch_end(3, {"loss": float("nan")})


# --- the bar ----------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Shows what was flushed."""

    encoding = "utf-8"
    flushed = ""

    def isatty(self):
        return True

    def flush(self):
        self.flushed = self.getvalue()


@pytest.fixture
def terminal(monkeypatch):
    """What says that it is a terminal, 80 characters wide; a test writes to it inside `redirect_stdout`."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def shown(screen):
    """What stands on the screen in the end: lines, without colours, each from its last carriage return on."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.flushed)
    assert "\x1b" not in text
    lines = []
    for line in text.split("\n"):
        cells: list[str] = []
        for piece in line.split("\r"):
            cells[: len(piece)] = piece
        lines.append("".join(cells).rstrip())
    return lines


def fit_like(bar, steps, epochs=1):
    bar.on_train_begin()
    for epoch in range(epochs):
        bar.on_epoch_begin(epoch)
        for batch in range(steps):
            bar.on_train_batch_end(batch, {"loss": 0.5, "accuracy": 0.0})
        bar.on_epoch_end(epoch, {"accuracy": 0.25, "loss": 1e-5, "val_loss": 2.0})
    bar.on_train_end()


def logger(**params):
    bar = callbacks.ProgbarLogger()
    bar.set_params({"verbose": 1, "epochs": 1, "steps": 5, **params})
    return bar


def test_bar_on_a_terminal(terminal):
    with redirect_stdout(terminal):
        fit_like(logger(epochs=2), 5, epochs=2)
    one = r"5/5 ━━━━━━━━━━━━━━━━━━━━ 0s \d+[mu]s/step - accuracy: 0.2500 - loss: 1.0000e-05 - val_loss: 2.0000"
    assert re.fullmatch(rf"Epoch 1/2\n{one}\nEpoch 2/2\n{one}\n", "\n".join(shown(terminal)))


def test_plain_lines_where_the_output_is_no_terminal(capsys):
    for verbose in (1, 2, "auto"):
        fit_like(logger(verbose=verbose, epochs=2, steps=5), 5, epochs=2)
        lines = capsys.readouterr().out.split("\n")
        one = r"5/5 - 0s - \d+[mu]s/step - accuracy: 0.2500 - loss: 1.0000e-05 - val_loss: 2.0000"
        assert re.fullmatch(rf"Epoch 1/2\n{one}\nEpoch 2/2\n{one}\n", "\n".join(lines))
    fit_like(logger(verbose=0, epochs=2), 5, epochs=2)
    assert capsys.readouterr().out == ""


def test_an_unknown_number_of_steps_is_known_after_the_first_epoch(terminal):
    bar = logger(steps=None)
    with redirect_stdout(terminal):
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(0, {"loss": 0.5})
    assert re.fullmatch(r" +1/Unknown 0s \S+/step - loss: 0.5000", shown(terminal)[-1])
    with redirect_stdout(terminal):
        bar.on_epoch_end(0, {"loss": 0.5})
    assert shown(terminal)[-2].startswith("1/1 ━━━━━━━━━━━━━━━━━━━━ 0s ")
    assert bar.target == 1


def test_drawing_is_throttled_and_logs_are_read_only_then(terminal, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    asked = []

    def logs():
        asked.append(now[0])
        return {"loss": 0.5}

    every = callbacks.CallbackList(callbacks.ProgbarLogger(), verbose=1, epochs=1, steps=1000)
    with redirect_stdout(terminal):
        every.on_epoch_begin(0)
        for batch in range(500):
            now[0] += 0.004
            every.on_train_batch_end(batch, logs)
    assert len(asked) in (20, 21)  # 2 seconds at 10 a second, and the first
    assert np.diff(asked).min() > 0.0999
    assert re.fullmatch(r" 4\d\d/1000 ━{20} 2s 4ms/step - loss: 0.5000", shown(terminal)[-1])


def test_a_bar_knows_little_of_a_call_that_says_nothing():
    bar = callbacks.ProgbarLogger()
    bar.set_params({})
    assert (bar.verbose, bar.epochs, bar.target) == (1, 1, None)


def test_a_bar_that_is_told_nothing_shows_training_and_then_an_evaluation(capsys):
    """Whose batches are within a training those of a validation, and silent."""
    bar = callbacks.ProgbarLogger()
    for training in (True, False):
        if training:
            bar.on_train_begin()
            bar.on_epoch_begin(0)
            for batch in range(3):
                bar.on_train_batch_end(batch, {"loss": 0.5})
        bar.on_test_begin()
        for batch in range(2):
            bar.on_test_batch_end(batch, {"loss": 0.25})
        bar.on_test_end({"loss": 0.25})
        if training:
            bar.on_epoch_end(0, {"loss": 0.5})
            bar.on_train_end()
    lines = capsys.readouterr().out.splitlines()
    assert [(line[:3], line[-12:]) for line in lines] == [("3/3", "loss: 0.5000"), ("2/3", "loss: 0.2500")]


CLOCKS = {0.4: "0s", 59: "59s", 60: "60s", 61: "1:01", 65: "1:05", 3600: "60:00", 3601: "1:00:01", 7207: "2:00:07"}  # Keras's


@pytest.mark.parametrize("seconds", CLOCKS)
def test_clock(seconds):
    assert progbar._clock(seconds) == CLOCKS[seconds]


@pytest.mark.parametrize(
    ("width", "unit_name", "seconds"),
    [(10, "step", 2.0), (10, "step", 1.0), (30, "file", 0.25), (20, "batch", 3e-5), (10, "step", 1e-3)],
)
def test_a_bar_s_width_and_unit(terminal, monkeypatch, width, unit_name, seconds):
    now = [0.0]
    monkeypatch.setattr(progbar.time, "perf_counter", lambda: now[0])
    with redirect_stdout(terminal):
        bar = progbar.Progbar(8, width=width, unit_name=unit_name, interval=0)
        for step in (1, 2):
            now[0] += seconds
            bar.update(step)
    pace = {2.0: "2s", 1.0: "1s", 0.25: "250ms", 3e-5: "30us", 1e-3: "1ms"}[seconds]
    left = f"{6 * seconds:.0f}s" if seconds != 0.25 else "1s"
    assert shown(terminal)[-1] == f"2/8 {'━' * width} {left} {pace}/{unit_name}"
    with redirect_stdout(terminal):
        now[0] += seconds
        bar.update(8)
    assert shown(terminal)[-2].startswith(f"8/8 {'━' * width} {int(3 * seconds)}s ")  # in the end, how long it took


def test_a_bar_draws_as_often_as_its_interval_says(terminal, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progbar.time, "perf_counter", lambda: now[0])
    drawn = []
    with redirect_stdout(terminal):
        bar = progbar.Progbar(100, interval=2)
        for step in range(1, 12):
            before = terminal.tell()
            bar.update(step)
            now[0] += 1
            drawn.append(terminal.tell() > before)
    assert drawn == [step % 2 == 0 for step in range(11)]


def test_a_running_line_never_wraps(terminal):
    bar = logger(steps=5)
    with redirect_stdout(terminal):
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(0, {f"a_metric_with_a_long_name_{i}": 0.5 for i in range(5)})
    assert len(shown(terminal)[-1]) == 79


def test_messages_stand_above_the_bar(terminal):
    bar = logger(steps=2)
    with redirect_stdout(terminal):
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(0, {"loss": 0.5})
        progbar.print_message("Epoch 1: saving model")
        bar.on_train_batch_end(1, {"loss": 0.5})
        bar.on_epoch_end(0, {"loss": 0.5})
    lines = shown(terminal)
    assert lines[0] == "Epoch 1: saving model"
    assert lines[1].startswith("2/2 ━")
    assert lines[2:] == [""]


def test_a_bar_comes_back_after_a_message(terminal):
    """With the next batch, and not after an interval."""
    bar = logger(steps=3)
    with redirect_stdout(terminal):
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(0, {"loss": 0.5})
        progbar.print_message("said")
        bar.on_train_batch_end(1, {"loss": 0.25})
    lines = shown(terminal)
    assert lines[0] == "said"
    assert re.fullmatch(r"2/3 ━{20} 0s \S+/step - loss: 0.2500", lines[1])
    with redirect_stdout(terminal):
        bar.close()
        progbar.print_message("more")  # below the bar that ended, which is not erased
    assert shown(terminal)[1:] == [lines[1], "more", ""]


def test_an_interrupted_bar_ends_its_line(terminal):
    bar = logger(steps=2)
    with redirect_stdout(terminal):
        with contextlib.suppress(KeyboardInterrupt), callbacks.CallbackList([bar]):
            bar.on_epoch_begin(0)
            bar.on_train_batch_end(0, {"loss": 0.5})
            raise KeyboardInterrupt
        bar.close()
        print("next", flush=True)
    assert shown(terminal)[1:] == ["next", ""]
    assert "\x1b[?25l" not in terminal.getvalue()  # the cursor was never hidden


def test_output_that_cannot_write_the_bar_s_character(terminal):
    terminal.encoding = "ascii"
    with redirect_stdout(terminal):
        fit_like(logger(), 5)
    assert shown(terminal)[0].startswith("5/5 -------------------- 0s")


@pytest.mark.parametrize("steps", [(1, 2, 3), (1, 4, 9), (3, 3, 5)])
@pytest.mark.parametrize("arguments", [{}, {"stateful_metrics": ["a"]}, {"stateless_metrics": ["a"]}])
def test_progbar_averages_as_keras_s_does(capsys, arguments, steps):
    lines = []
    for module in (progbar, keras.utils):
        bar = module.Progbar(steps[-1], verbose=2, **arguments)
        for step, value in zip(steps[:2], (1.0, 4.0)):
            bar.update(step, [("a", value), ("b", 2 * value)])
        bar.add(steps[2] - steps[1])
        lines.append(re.sub(r"\d+[mu]?s", "T", capsys.readouterr().out))
    assert re.sub(r"T - +T", "T - T", lines[1]) == lines[0]


def test_the_first_step_does_not_count_in_the_pace(capsys, monkeypatch):
    """It compiles: as in Keras, what is shown is the mean of those behind it."""
    now = [0.0]
    monkeypatch.setattr(progbar.time, "perf_counter", lambda: now[0])
    bar = progbar.Progbar(3)
    for step, seconds in ((1, 10.0), (2, 11.0), (3, 14.0)):
        now[0] = seconds
        bar.update(step)
    assert capsys.readouterr().out == "3/3 - 14s - 2s/step\n"


def test_the_batches_of_a_validation_do_not_move_the_bar(capsys):
    model = minicnn.Sequential([minicnn.layers.Input((2,)), minicnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2)), np.ones((8, 1))
    model.fit(x, y, batch_size=2, epochs=2, validation_data=(x[:2], y[:2]), verbose=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if "val_loss" in line]
    assert [line.split(" ")[0] for line in lines] == ["4/4"] * 2


def test_progbar_takes_one_of_two_lists():
    with pytest.raises(ValueError, match="Only one of `stateful_metrics` or `stateless_metrics` can be provided"):
        progbar.Progbar(3, stateful_metrics=["a"], stateless_metrics=["a"])


def test_fit_on_a_terminal_keeps_one_line_an_epoch(terminal, tmp_path):
    """The validation inside an epoch, and what callbacks print, do not tear the bar."""
    before = minicnn.backend()
    minicnn.set_backend("reference")
    try:
        model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(1)])
        model.compile("sgd", loss="mse")
        x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
        saving = callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", verbose=1)
        with redirect_stdout(terminal):
            model.fit(x, y, epochs=2, batch_size=2, validation_data=(x, y), callbacks=[saving])
            model.evaluate(x, y)
            model.predict(x)
    finally:
        minicnn.set_backend(before)
    lines = [re.sub(r"\d+[mu]?s", "T", re.sub(r"loss: \S+", "loss: L", line)) for line in shown(terminal)]
    bar = "━" * 20
    epoch = [f"4/4 {bar} T T/step - loss: L - val_loss: L"]
    assert lines[0] == "Epoch 1/2"
    assert lines[3:5] == [*epoch, "Epoch 2/2"]
    assert lines[7:] == [*epoch, f"1/1 {bar} T T/step - loss: L", f"1/1 {bar} T T/step", ""]
    assert all(line.startswith(("Epoch 1: ", "Epoch 2: ")) for line in lines[1:3] + lines[5:7])


# --- TensorBoard --------------------------------------------------------------------


def events(folder):
    """(tag, step) -> summary value, of all files of a folder, their checksums verified by the reader's own function."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    found = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            record, (crc,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
            assert crc == masked_crc32c(record)
            event, data = Event.FromString(record), data[16 + size :]
            found |= {(value.tag, event.step): value for value in event.summary.value}
    return found


def content_of(value):
    """The numbers of a summary: a scalar, a histogram, or its pictures' pixels."""
    tensor = value.tensor
    if value.tag.endswith("/image"):
        return np.stack([np.asarray(Image.open(io.BytesIO(png)), int) for png in tensor.string_val[2:]]).ravel() / 255
    if tensor.float_val:
        return np.array(tensor.float_val)
    kind = {1: "float32", 2: "float64"}.get(tensor.dtype)
    if kind is None:  # a text
        return np.zeros(0)
    return np.frombuffer(tensor.tensor_content, kind) if tensor.tensor_content else np.array(tensor.double_val)


def watched_training(k, folder, **options):
    """A small training with TensorBoard among the callbacks, of minicnn or of Keras."""
    k.utils.set_random_seed(3)
    dense = k.layers.Dense(3, activation="softmax", name="dense")
    model = k.Sequential([k.layers.Input((4, 4, 1)), k.layers.Conv2D(1, 3, name="conv"), k.layers.Flatten(), dense])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    data = rng.normal(size=(6, 4, 4, 1)).astype("float32"), rng.integers(0, 3, 6)
    weights = np.random.default_rng(1)
    model.set_weights([weights.normal(size=weight.shape).astype("float32") for weight in model.get_weights()])
    board = k.callbacks.TensorBoard(str(folder), **options)
    model.fit(*data, batch_size=2, epochs=2, validation_data=data, verbose=0, callbacks=[board], shuffle=False)
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"histogram_freq": 2},
        {"histogram_freq": 1, "write_images": True, "update_freq": "batch", "write_steps_per_second": True},
    ],
)
def test_tensorboard_writes_what_keras_s_writes(tmp_path, options):
    pytest.importorskip("tensorboard")
    watched_training(keras, tmp_path / "theirs", **options)
    model = watched_training(minicnn, tmp_path / "ours", **options)
    for name in ("train", "validation"):
        ours, theirs = events(tmp_path / "ours" / name), events(tmp_path / "theirs" / name)
        theirs = {(re.sub(r"^sequential(_\d+)?/", "", tag), step): value for (tag, step), value in theirs.items()}
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert value.metadata.plugin_data.plugin_name == theirs[key].metadata.plugin_data.plugin_name
            assert value.tensor.dtype == theirs[key].tensor.dtype
            assert value.tensor.tensor_shape == theirs[key].tensor.tensor_shape
            if "steps_per_second" not in key[0]:
                np.testing.assert_allclose(content_of(value), content_of(theirs[key]), rtol=1e-4, atol=1e-5, err_msg=str(key))
    written = events(tmp_path / "ours" / "train")
    rates = [written["epoch_learning_rate", epoch].tensor.float_val[0] for epoch in range(2)]
    assert rates == [np.float32(0.01)] * 2
    if options.get("histogram_freq") == 1:
        kernel = written["dense/kernel/histogram", 1]
        assert np.frombuffer(kernel.tensor.tensor_content, "float64").reshape(-1, 3)[:, 2].sum() == model.get_weights()[2].size
        picture = written["dense/kernel/image", 1].tensor.string_val
        assert Image.open(io.BytesIO(picture[2])).size == (int(picture[0]), int(picture[1])) == (4, 3)


@pytest.mark.parametrize(
    "shape", [(3,), (1, 4), (4, 2), (2, 4), (2, 3, 4), (3, 3, 1, 2), (2, 4, 5, 3), (2, 4, 5, 2), (1, 1, 3, 5)]
)
def test_weights_become_pictures_as_in_keras(shape):
    """Keras's lines write at once: they are given a writer that keeps what it gets."""
    from minicnn.callbacks.tensorboard import _as_pictures

    weight, kept = np.random.default_rng(0).random(shape).astype("float32"), []
    writer = SimpleNamespace(image=lambda name, pictures, step: kept.append(np.asarray(pictures)))
    board = type("Board", (keras.callbacks.TensorBoard,), {"summary": writer})
    board("unused")._log_weight_as_image(weight, "w", 0)
    ours = _as_pictures(weight)
    assert (ours is None) == (not kept)
    if kept:
        np.testing.assert_array_equal(ours, kept[0])


def test_tensorboard_writes_every_so_many_batches(tmp_path):
    pytest.importorskip("tensorboard")
    watched_training(minicnn, tmp_path, update_freq=2)
    assert [step for tag, step in events(tmp_path / "train") if tag == "batch_loss"] == [2, 4, 6]


def test_tensorboard_counts_by_the_clock_and_through_a_kill(tmp_path, monkeypatch):
    """Steps of one second behind half a second of reading; as Keras, the second training counts its batches anew."""
    pytest.importorskip("tensorboard")
    now, model, state = [0.0], FakeModel(), None
    monkeypatch.setattr(minicnn.callbacks.tensorboard.time, "perf_counter", lambda: now[0])
    model.optimizer.iterations, model.layers = 0, []
    for folder, epochs in (("first", 1), ("first, resumed", 2), ("first", 2)):
        board = callbacks.TensorBoard(tmp_path / folder, write_graph=False, update_freq=2, write_steps_per_second=True)
        board.set_model(model)
        board.on_train_begin()
        if folder == "first, resumed":
            board.set_state(state)
        for epoch in range(epochs - 1, epochs):
            board.on_epoch_begin(epoch)
            for batch in range(3):
                now[0] += 0.5
                board.on_train_batch_begin(batch)
                now[0] += 1.0
                model.optimizer.iterations += 1
                board.on_train_batch_end(batch, {"loss": batch} if epochs == 1 else (lambda batch=batch: {"loss": batch}))
            board.on_test_end({"loss": 2.5})
            board.on_epoch_end(epoch, {"loss": 1.0, "val_loss": 2.0})
        state = board.get_state()
        board.on_train_end()
    found = {folder: events(tmp_path / folder / "train") for folder in ("first", "first, resumed")}
    numbers = {folder: {key: float(content_of(value)[0]) for key, value in of.items()} for folder, of in found.items()}
    rates = {("epoch_steps_per_second", 0): 2 / 3, ("epoch_learning_rate", 0): 0.5}
    steps = {("batch_loss", 2): 1, ("batch_steps_per_second", 2): 1}
    again = {(name, 1): value for (name, _), value in rates.items()}
    assert numbers["first"] == pytest.approx({**rates, **steps, **again, ("epoch_loss", 0): 1, ("epoch_loss", 1): 1})
    more = {("batch_loss", 4): 0, ("batch_loss", 6): 2, ("batch_steps_per_second", 4): 1, ("batch_steps_per_second", 6): 1}
    assert numbers["first, resumed"] == pytest.approx({**more, **again, ("epoch_loss", 1): 1})
    validation = events(tmp_path / "first" / "validation")
    expected = {("evaluation_loss_vs_iterations", step): 2.5 for step in (3, 9)}
    expected |= {("epoch_loss", epoch): 2.0 for epoch in range(2)}
    assert {key: float(content_of(value)[0]) for key, value in validation.items()} == expected


def test_tensorboard_s_errors(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    with pytest.raises(ValueError, match="`embeddings_freq` and `embeddings_metadata` are not supported"):
        callbacks.TensorBoard(tmp_path, embeddings_freq=1)
    with pytest.raises(ValueError, match=r"embeddings_freq=0, embeddings_metadata=words\.tsv"):
        callbacks.TensorBoard(tmp_path, embeddings_metadata="words.tsv")
    with pytest.warns(UserWarning, match="`profile_batch` is for TensorFlow's profiler"):
        callbacks.TensorBoard(tmp_path, profile_batch=2)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r'needs the package `tensorboard`: pip install "\.\[tensorboard\]"'):
        callbacks.TensorBoard(tmp_path)


# --- older arguments, and averages ----------------------------------------------------


@pytest.mark.parametrize(("period", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4])])
def test_model_checkpoint_s_older_period(tmp_path, period, epochs):
    model, _ = run(callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.hdf5"), period=period), [{"loss": 1.0}] * 5)
    assert model.saved == [str(tmp_path / f"{epoch}.hdf5") for epoch in epochs]
    with pytest.raises(TypeError, match=r"Unrecognized keyword arguments passed to ModelCheckpoint: .'periods': 2"):
        callbacks.ModelCheckpoint("x.keras", periods=2)


@pytest.mark.parametrize("name", ["w.h5", "w.hdf5"])
def test_weights_under_older_names_go_to_keras_and_back(tmp_path, name):
    ours, theirs = (
        k.Sequential([k.layers.Input((3,)), k.layers.Dense(4, name="a"), k.layers.Dense(2, name="b")]) for k in (minicnn, keras)
    )
    ours.compile("sgd", "mse")
    checkpoint = callbacks.ModelCheckpoint(str(tmp_path / name), save_weights_only=True)
    ours.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=[checkpoint])
    theirs.load_weights(tmp_path / name)
    again = minicnn.Sequential([minicnn.layers.Input((3,)), minicnn.layers.Dense(4), minicnn.layers.Dense(2)])
    again.load_weights(tmp_path / name)
    for one, two, three in zip(ours.get_weights(), theirs.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(("swap_on_epoch", "wrapped"), [(False, True), (True, False)])
def test_averages_are_swapped_in_as_keras_does(swap_on_epoch, wrapped):
    found = []
    for k in (minicnn, keras):
        model = k.Sequential([k.layers.Input((3,)), k.layers.Dense(2, kernel_initializer="ones")])
        optimizer = k.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        model.compile(k.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer, "mse")
        seen = []
        note = k.callbacks.LambdaCallback(on_epoch_end=lambda *_, model=model, seen=seen: seen.extend(model.get_weights()))
        x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
        swap = k.callbacks.SwapEMAWeights(swap_on_epoch)
        history = model.fit(x, y, batch_size=2, epochs=3, validation_data=(x, y), verbose=0, callbacks=[swap, note])
        found.append([*history.history["val_loss"], *map(np.asarray, seen), *model.get_weights()])
        model.set_weights([0 * weight for weight in model.get_weights()])  # the averages were written over them
        found[-1].append(model.predict(x, verbose=0, callbacks=[k.callbacks.SwapEMAWeights()]))
        if k is minicnn:  # swapped back; Keras's stay after a prediction
            np.testing.assert_array_equal(model.predict(x, verbose=0), np.zeros((4, 2)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    model = minicnn.Sequential([minicnn.layers.Input((3,)), minicnn.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="SwapEMAWeights must be used when `use_ema=True` is set on the optimizer"):
        model.evaluate(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=[callbacks.SwapEMAWeights()])


def test_the_file_of_a_training_that_was_broken_off_is_closed(tmp_path):
    logger = callbacks.CSVLogger(tmp_path / "run.csv")
    logger.on_train_begin()
    first = logger.csv_file
    logger.on_train_begin()
    assert first.closed
    logger.on_epoch_end(0, {"loss": 0.5})
    logger.close()
    assert (tmp_path / "run.csv").read_text().splitlines() == ["epoch,loss,val_loss", "0,0.5,NA"]


def test_half_a_row_that_a_kill_left_is_ended(tmp_path):
    path = tmp_path / "run.csv"
    path.write_bytes(b"epoch,loss\r\n0,0.5\r\n1,0.")
    run(callbacks.CSVLogger(path, append=True), [{"loss": 0.25, "val_loss": 1.0}])
    assert path.read_bytes() == b"epoch,loss\r\n0,0.5\r\n1,0.\r\n0,0.25,1.0\r\n"


def test_a_checkpoint_of_batches_goes_on_counting(tmp_path):
    """From its state, in the middle of an epoch."""
    first, second = (callbacks.ModelCheckpoint("{epoch}-{batch}.keras", "loss", save_freq=3) for _ in range(2))
    saved = []
    for batches, saver in ((range(4), first), (range(4, 8), second)):
        model = FakeModel()
        saver.set_model(model)
        if saver is second:
            saver.set_state(first.get_state())
        saver.on_epoch_begin(0)
        for batch in batches:
            saver.on_train_batch_end(batch, {"loss": 1.0})
        saved += model.saved
    assert saved == ["1-3.keras", "1-6.keras"]


RESUMED = {
    "stopping": lambda: callbacks.EarlyStopping(patience=2, min_delta=0.1, restore_best_weights=True, verbose=1),
    "stopping below": lambda: callbacks.EarlyStopping(patience=3, baseline=0.4, start_from_epoch=1, verbose=1),
    "plateau": lambda: callbacks.ReduceLROnPlateau(patience=1, factor=0.5, verbose=1),
    "plateau that waits": lambda: callbacks.ReduceLROnPlateau(patience=2, factor=0.5, cooldown=3),
    "best": lambda: callbacks.ModelCheckpoint("{epoch}.keras", save_best_only=True, initial_value_threshold=0.6, verbose=1),
    "every 4 batches": lambda: callbacks.ModelCheckpoint("{epoch}-{batch}.keras", save_freq=4),
    "the best of 4 batches": lambda: callbacks.ModelCheckpoint("{epoch}.keras", save_best_only=True, save_freq=4),
}


@pytest.mark.parametrize("name", RESUMED)
@settings(max_examples=25, deadline=None)
@given(values=LOSSES, cut=st.integers(0, 8))
def test_a_callback_goes_on_with_the_state_of_another(name, values, cut):
    """Whose training was killed after an epoch; what is remembered goes through plain data, as in a backup."""
    found = []
    for killed in (None, cut):
        callback, model, written = RESUMED[name](), FakeModel(), io.StringIO()
        callback.set_model(model)
        with redirect_stdout(written):
            callback.on_train_begin()
            for epoch, value in enumerate(values):
                if epoch == killed:
                    state = {key: list(part) if isinstance(part, tuple) else part for key, part in callback.get_state().items()}
                    callback = RESUMED[name]()
                    callback.set_model(model)
                    callback.on_train_begin()
                    callback.set_state(state)
                model.weights = [np.full(1, float(epoch))]
                callback.on_epoch_begin(epoch)
                for batch in range(3):
                    callback.on_train_batch_end(batch, {"val_loss": value + batch / 8})
                callback.on_epoch_end(epoch, {"val_loss": value})
                if model.stop_training:
                    break
            callback.on_train_end()
        found.append((epoch, model.saved, model.optimizer.learning_rate, model.weights, written.getvalue()))
    assert found[0] == found[1]


def test_a_counter_of_batches_is_not_wanted_where_another_training_had_none():
    """A backup of every epoch, read by a program that saves after some batches since; and the other way round."""
    for make in (
        lambda frequency: callbacks.ModelCheckpoint("{epoch}.keras", save_freq=frequency),
        lambda frequency: callbacks.BackupAndRestore("folder", save_freq=frequency),
    ):
        of_epochs, of_batches = make("epoch"), make(5)
        before = of_batches.get_state()
        of_batches.set_state(of_epochs.get_state())
        assert of_batches.get_state() == before
        of_epochs.set_state(of_batches.get_state())
        assert of_epochs.get_state()["counter"] is None


def test_a_list_of_callbacks_may_be_made_by_the_program():
    """`fit` then adds none of its own, as in Keras."""
    found = []
    for module in (minicnn, keras):
        model = module.Sequential([module.layers.Input((2,)), module.layers.Dense(1)])
        model.compile("sgd", "mse")
        seen = []
        note = module.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs, seen=seen: seen.append(epoch))
        every = module.callbacks.CallbackList([note], add_history=True, model=model, epochs=2, verbose=0, steps=1)
        history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=every)
        found.append((seen, history.epoch, [type(one).__name__ for one in every.callbacks]))
    assert found[0] == found[1] == ([0, 1], [0, 1], ["LambdaCallback", "History"])


def test_what_is_no_number_is_shown_as_it_is(capsys):
    bar = progbar.Progbar(1, verbose=2, stateless_metrics=())
    bar.update(1, [("a", "text"), ("b", 0.5), ("c", 1e-3), ("d", np.array([1.0, 2.0]))])
    assert capsys.readouterr().out.endswith(" - a: text - b: 0.5000 - c: 1.0000e-03 - d: 1.5000\n")


@pytest.mark.parametrize("name", ["ReduceLROnPlateau", "LearningRateScheduler"])
def test_rates_of_several_optimizers(name, capsys):
    """Each of a `MultiOptimizer`'s own, in the logs and in what is printed."""
    said, histories = [], []
    for k in (minicnn, keras):
        rates = {"": k.optimizers.SGD(0.01, name="slow"), ".*first/.*": k.optimizers.SGD(0.1, name="fast")}
        optimizer = k.optimizers.MultiOptimizer(k.optimizers.OptimizerMap(rates.pop(""), rates))
        layers = [k.layers.Dense(2, name="first"), k.layers.Dense(1, name="second")]
        model = k.Sequential([k.Input((3,)), *layers])
        model.compile(optimizer, "mse")
        if name == "ReduceLROnPlateau":
            callback = k.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=1e6, min_lr=0.03, verbose=1)
        else:
            callback = k.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5, verbose=1)
        capsys.readouterr()
        history = model.fit(np.ones((4, 3)), np.ones((4, 1)), epochs=4, verbose=0, callbacks=[callback]).history
        histories.append({key: np.round(values, 6).tolist() for key, values in history.items() if key != "loss"})
        said.append(re.findall(r"(?:fast|slow) learning rate to [.0-9]{5}", capsys.readouterr().out))
    assert set(histories[0]) == {"learning_rate_slow", "learning_rate_fast"}
    assert histories[0] == histories[1]
    assert sorted(said[0]) == sorted(said[1])
    assert said[0]
