"""A user's mistakes: each has a message that names what came and what was expected, and the model goes on working."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import layers
from minicnn.backends import ops
from minicnn.models import data_checks
from minicnn.models.guards import NumericsError

X = np.random.default_rng(0).random((12, 8, 8, 3), np.float32)
Y = np.arange(12) % 3


@pytest.fixture
def model():
    model = minicnn.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def still_works(model, before):
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    history = model.fit(X, Y, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


with_nan = X.copy()
with_nan[5, 2, 3, 1] = np.nan

CASES = {
    "wrong rank": (
        X[0],
        Y[:8],
        r"Data cardinality is ambiguous|expected ndim=4, found ndim=3|expected shape=\(None, 8, 8, 3\)",
    ),
    "wrong channels": (X[..., :1], Y, r"expected shape=\(None, 8, 8, 3\), found shape=\(12, 8, 8, 1\)"),
    "wrong size": (X[:, :6], Y, r"expected shape=\(None, 8, 8, 3\), found shape=\(12, 6, 8, 3\)"),
    "label too large": (
        X,
        np.arange(12) % 4,
        r"a label value of 3 which is outside the valid range of \[0, 3\).*have 3 classes",
    ),
    "label negative": (X, np.arange(12) % 4 - 1, r"a label value of -1 which is outside the valid range of \[0, 3\)"),
    "lengths differ": (X, Y[:11], r"(?s)Data cardinality is ambiguous.*'x' sizes: 12.*'y' sizes: 11"),
    "NaN pixel": (with_nan, Y, r"must be finite. Received nan in sample 5, at position \(2, 3, 1\)"),
    "empty": (X[:0], Y[:0], r"at least one sample"),
    "no targets": (X, None, r"no targets"),
    "strings": (np.array(["a"] * 12), Y, r"expected numbers"),
    "nothing": (None, Y, r"`x` is None"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_data(model, case):
    x, y, message = CASES[case]
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0)
    if y is not None and case not in ("no targets",):
        with pytest.raises(ValueError, match=message):
            model.evaluate(x, y, verbose=0)
    still_works(model, before)


@pytest.mark.parametrize("sample", [0, 1, -1])
def test_a_nan_is_found_wherever_it_is_in_large_data(model, sample):
    """Data are looked at in chunks: before, at and behind their border."""
    border = data_checks._CHUNK // X[0].size
    many = np.zeros((border + 2, *X.shape[1:]), np.float32)
    many[border + sample, 7, 7, 2] = np.nan
    message = rf"Received nan in sample {border + sample}, at position \(7, 7, 2\)"
    with pytest.raises(ValueError, match=message):
        model.fit(many, np.zeros(len(many), int), verbose=0)
    with pytest.raises(ValueError, match=message):
        model.predict(many, verbose=0)


@pytest.mark.parametrize("place", [0, data_checks._CHUNK - 1, data_checks._CHUNK, data_checks._CHUNK + 4])
def test_the_nan_watch_looks_at_every_element(place):
    """However many elements a layer's output has."""

    class Spoiled(layers.Layer):
        def forward(self, x, training):
            y = np.zeros_like(x)
            y.reshape(-1)[place] = np.nan
            return y, None

        def backward(self, dy, saved):
            return dy, ()

    wide = minicnn.Sequential([layers.Input((data_checks._CHUNK + 5,)), Spoiled(name="spoiled")])
    wide.compile("sgd", "mse")
    x = [np.zeros((1, data_checks._CHUNK + 5), np.float32)]
    with pytest.raises(NumericsError, match="forward pass of layer 'spoiled'"):
        wide.train_step(x, x, watch=True)


@pytest.mark.parametrize("x", [X[..., :1], with_nan, X[:0]], ids=["channels", "nan", "empty"])
def test_bad_data_for_predict(model, x):
    with pytest.raises(ValueError, match=r"found shape|must be finite|at least one sample"):
        model.predict(x, verbose=0)
    assert model.predict(X, verbose=0).shape == (12, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"`batch_size` must be a positive integer. Received: batch_size=0"),
        ({"batch_size": 2.5}, r"`batch_size` must be a positive integer"),
        ({"epochs": -1}, r"`epochs` must be a non-negative integer"),
        ({"validation_split": 1.5}, r"`validation_split` must be between 0 and 1"),
        ({"validation_split": 0.99}, r"Training data contains 12 samples, which is not sufficient"),
        ({"steps_per_epoch": 0}, r"must be a positive integer"),
        ({"class_weight": {0: 1}, "sample_weight": np.ones(12)}, r"`class_weight` and `sample_weight` at the same time"),
        ({"validation_freq": "often", "validation_data": (X, Y)}, r"Expected `validation_freq` to be a list or int"),
    ],
)
def test_bad_arguments_of_fit(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, verbose=0, **arguments)
    assert model.predict(X, verbose=0).shape == (12, 3)


def test_fit_before_compile():
    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(2)])
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises(ValueError, match=rf"You must call `compile\(\)` before calling `{method}\(\)`"):
            getattr(model, method)(np.ones((2, 4)), np.ones((2, 2)))
    assert model.predict(np.ones((2, 4)), verbose=0).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adamm"}, r"Unknown optimizer: 'adamm'. Did you mean 'adam'"),
        ({"loss": "categorical_cross"}, r"Unknown loss: 'categorical_cross'"),
        ({"loss": "mse", "device": "gpu"}, r"Argument\(s\) not recognized by `compile\(\)`: device"),
        ({"loss": ["mse", "mae"]}, r"multiple outputs"),
        ({"loss": {"nowhere": "mse"}}, r"key 'nowhere' does not correspond to any model output"),
    ],
)
def test_bad_arguments_of_compile_change_nothing(model, arguments, message):
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=message):
        model.compile(**arguments)
    assert model.optimizer is optimizer
    still_works(model, model.get_weights())


def test_unknown_metric_is_named(model):
    model.compile("sgd", "mse", metrics=["precission"])
    with pytest.raises(ValueError, match="Unknown metric: 'precission'"):
        model.fit(X, np.eye(3)[Y], verbose=0)


def test_kernel_larger_than_its_input():
    with pytest.raises(ValueError, match=r"(?i)negative|larger than"):
        minicnn.Sequential([layers.Input((4, 4, 3)), layers.Conv2D(2, 5)])
    model = minicnn.Sequential([layers.Input((4, 4, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"(?i)negative|larger than"):
        model.add(layers.Conv2D(2, 5))
    assert [layer.name for layer in model.layers] == [model.layers[0].name]
    assert model.predict(np.ones((1, 4, 4, 3)), verbose=0).shape == (1, 2, 2, 2)


def test_a_sequential_that_fails_to_build_can_be_mended():
    model = minicnn.Sequential([layers.Conv2D(2, 5)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"(?i)negative|larger than"):
        model.predict(np.ones((1, 3, 3, 1)), verbose=0)
    assert model.predict(np.ones((1, 6, 6, 1)), verbose=0).shape == (1, 2, 2, 2)


def test_duplicate_names_and_wrong_objects():
    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(2, name="same")])
    with pytest.raises(ValueError, match=r"unique names\. Name 'same'"):
        model.add(layers.Dense(2, name="same"))
    with pytest.raises(ValueError, match="Only instances of"):
        model.add("dense")
    with pytest.raises(ValueError, match="Only instances of"):
        model.add(layers.Dense)
    with pytest.raises(ValueError, match="no layers"):
        minicnn.Sequential().pop()


def test_disconnected_graph():
    a, b = layers.Input((4,)), layers.Input((4,))
    with pytest.raises(ValueError, match="`inputs` not connected to `outputs`"):
        minicnn.Model(a, layers.Dense(2)(b))


def test_a_model_without_a_graph_says_what_it_lacks():
    class Empty(minicnn.Model):
        pass

    with pytest.raises(ValueError, match=r"Model\(inputs=..., outputs=...\)"):
        minicnn.Model()
    model = Empty()
    model.compile("sgd", "mse")
    for call in (lambda: model(X), lambda: model.build(X.shape)):
        with pytest.raises(NotImplementedError, match=r"Model Empty does not have a `call\(\)` method"):
            call()
    with pytest.raises(ValueError, match="no input shape yet"):
        model.plan()


def test_a_layer_without_backward_says_what_to_write():
    class Squared(layers.Layer):
        def forward(self, x, training):
            return np.square(x), x

    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(3), Squared()])
    np.testing.assert_allclose(model(np.ones((1, 4))), np.square(model.layers[0](np.ones((1, 4)))))
    model.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match=r"Squared.*no `backward\(self, dy, saved\)`"):
        model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)


def test_empty_generators_and_misshapen_batches(model):
    with pytest.raises(ValueError, match="at least one batch"):
        model.fit(iter([]), verbose=0)
    with pytest.raises(ValueError, match="tuple of 4"):
        model.fit(iter([(X, Y, Y, Y)]), verbose=0)
    with pytest.raises(ValueError, match="`y` should not be passed"):
        model.fit(iter([(X, Y)]), Y, verbose=0)
    still_works(model, model.get_weights())


@pytest.mark.parametrize(("op", "pass_name"), [("dense_forward", "forward"), ("dense_backward", "backward")])
def test_a_layer_that_finds_no_memory_is_named(model, monkeypatch, op, pass_name):
    def full(*arguments):
        raise MemoryError("Unable to allocate 9.00 GiB")

    before = model.get_weights()
    calls = [lambda: model.fit(X, Y, verbose=0), lambda: model.train_on_batch(X, Y)]
    if pass_name == "forward":
        calls += [lambda: model.predict(X, verbose=0), lambda: model.evaluate(X, Y, verbose=0)]
    with monkeypatch.context() as patched:
        patched.setitem(ops.__dict__, op, full)
        for call in calls:
            with pytest.raises(MemoryError, match=f"^Layer '{model.layers[-1].name}', {pass_name} pass: Unable to allocate 9"):
                call()
    still_works(model, before)


def test_of_layers_in_layers_the_one_that_finds_no_memory_is_named(monkeypatch):
    class Outer(layers.Layer):
        def build(self, input_shape):
            self.inner = layers.Dense(2, name="inner")
            self.inner.build(input_shape)

        def forward(self, x, training):
            return self.inner.forward(x, training)

        def backward(self, dy, saved):
            return self.inner.backward(dy, saved)

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 2)

    def full(*arguments):
        raise MemoryError("Unable to allocate 9.00 GiB")

    model = minicnn.Sequential([layers.Input((4,)), Outer(name="outer")])
    model.compile("sgd", "mse")
    model.fit(np.ones((3, 4)), np.ones((3, 2)), verbose=0)
    monkeypatch.setitem(ops.__dict__, "dense_forward", full)
    with pytest.raises(MemoryError, match=r"^Layer 'inner', forward pass: Unable to allocate 9"):
        model.fit(np.ones((3, 4)), np.ones((3, 2)), verbose=0)
