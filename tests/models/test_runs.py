"""Runs of one model that meet (in callbacks, signal handlers, threads) do not disturb each other."""

from __future__ import annotations

import copy
import signal
import sys
import threading

import numpy as np
import pytest

import minicnn
from minicnn import callbacks, layers, metrics

RNG = np.random.default_rng(8)
X, Y = RNG.random((20, 6, 6, 2), np.float32), RNG.integers(0, 3, 20)
X_OTHER, Y_OTHER = RNG.random((12, 6, 6, 2), np.float32), RNG.integers(0, 3, 12)
FIT = {"batch_size": 4, "epochs": 2, "verbose": 0, "validation_data": (X_OTHER, Y_OTHER)}


def new_model(metric="accuracy"):
    minicnn.set_random_seed(3)
    model = minicnn.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu", activity_regularizer="l2", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[metric, "sparse_categorical_crossentropy"])
    return model


def evaluate(model):
    return model.evaluate(X_OTHER, Y_OTHER, batch_size=5, verbose=0)


@pytest.fixture(scope="module")
def alone():
    """What training is without anything beside it: history, weights, and what `evaluate` says in each epoch's end."""
    model = new_model()
    return model.fit(X, Y, **FIT).history, model.get_weights()


def assert_same(model, alone):
    history, weights = alone
    assert model.history.history == history
    for mine, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, expected)


USES = {
    "evaluate": evaluate,
    "predict": lambda model: model.predict(X_OTHER, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(X_OTHER, Y_OTHER),
    "call": lambda model: model(X_OTHER),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_test_batch_end", "on_epoch_end"])
def test_a_callback_that_uses_the_model_disturbs_nothing(use, hook, alone):
    model, found = new_model(), []

    def compare(*_args, **_options):
        # A copy of the model, with nothing running beside it, says the same.
        expected = USES[use](copy.deepcopy(model))
        found.append(USES[use](model))
        np.testing.assert_array_equal(found[-1], expected)

    model.fit(X, Y, callbacks=[callbacks.LambdaCallback(**{hook: compare})], **FIT)
    assert found
    assert_same(model, alone)


@pytest.mark.parametrize("use", USES)
def test_a_signal_handler_that_uses_the_model_disturbs_nothing(use, alone):
    of_the_engine = (
        "training.py",
        "plan.py",
        "output_losses.py",
        "output_metrics.py",
        "compile.py",
        "memory.py",
        "conv.py",
        "base.py",
    )
    lines = handled = 0

    def interrupt_at(at):
        def trace(frame, event, argument):
            nonlocal lines, handled
            if not frame.f_code.co_filename.endswith(of_the_engine):
                return None
            if event == "line":
                lines += 1
                if lines == at:
                    handled += 1
                    signal.raise_signal(signal.SIGINT)
            return trace

        return trace

    def traced_fit(at):
        nonlocal lines
        model, lines = new_model(), 0
        before = sys.gettrace(), signal.signal(signal.SIGINT, lambda number, frame: USES[use](model))
        sys.settrace(interrupt_at(at))
        try:
            model.fit(X, Y, **FIT)
        finally:
            sys.settrace(before[0])
            signal.signal(signal.SIGINT, before[1])
        assert_same(model, alone)
        return lines

    total = traced_fit(None)
    for at in range(100, total, total // 25):
        traced_fit(at)
    assert handled >= 20


def test_an_evaluation_in_another_thread_disturbs_nothing(alone):
    """It begins in the middle of one epoch and ends in the middle of the next."""
    model, errors = new_model(), []
    evaluating, ended = threading.Event(), threading.Event()
    go_on = threading.Semaphore(0)

    class Slow(callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            evaluating.set()
            if not go_on.acquire(timeout=60):
                errors.append("fit did not go on")

    def work():
        try:
            model.evaluate(X_OTHER, Y_OTHER, batch_size=3, verbose=0, callbacks=[Slow()])
        except Exception as error:
            errors.append(error)
        ended.set()

    thread = threading.Thread(target=work)

    class Beside(callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            if self.batches == 3:
                thread.start()
                evaluating.wait(60)
            elif self.batches > 3:
                go_on.release()
                if self.batches == 8:
                    ended.wait(60)

    model.fit(X, Y, callbacks=[Beside()], **FIT)
    thread.join()
    assert ended.is_set()
    assert not errors
    assert_same(model, alone)


def test_metrics_that_the_user_made_hold_what_ran_last():
    """As in Keras: of an evaluation its own values, of `fit` those of its validation."""
    mine = metrics.SparseCategoricalAccuracy()
    model = new_model(mine)
    model.fit(X, Y, **FIT)
    assert float(mine.result()) == pytest.approx(model.history.history["val_sparse_categorical_accuracy"][-1])
    _, accuracy, _ = evaluate(model)
    assert float(mine.result()) == pytest.approx(accuracy)
    assert model.metrics[1] is mine
    seen = []
    in_training = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((evaluate(model), float(mine.result()), logs))
    )
    model.fit(X, Y, callbacks=[in_training], **FIT)
    for _, value, logs in seen:
        assert value == pytest.approx(logs["sparse_categorical_accuracy"])


class WithFile(metrics.Mean):
    """A metric that holds what cannot be copied."""

    def __init__(self):
        super().__init__(name="with_file")
        self.lock = threading.Lock()

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(np.asarray(1.0))


def test_a_metric_that_cannot_be_copied_is_named_where_it_would_have_to_be():
    model = new_model(WithFile())
    model.fit(X, Y, **FIT)
    assert evaluate(model)[1] == 1
    with pytest.raises(TypeError, match=r"while another run .*'with_file'.*cannot pickle"):
        model.fit(X, Y, callbacks=[callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: evaluate(model))], **FIT)
    assert evaluate(model)[1] == 1
