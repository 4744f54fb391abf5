"""What few programs do with a model: data in dicts that are split, losses of the class's own, a NaN in the middle, a copy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import minicnn
from minicnn import callbacks, layers
from minicnn.models import Model, Sequential, clone_model

RNG = np.random.default_rng(31)
X, OTHER = RNG.random((11, 4)).astype("float32"), RNG.random((11, 3)).astype("float32")
Y, Z = RNG.random((11, 2)).astype("float32"), RNG.random((11, 1)).astype("float32")


def two(k):
    a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
    h = k.layers.Concatenate()([a, b])
    return k.Model({"a": a, "b": b}, {"y": k.layers.Dense(2, name="y")(h), "z": k.layers.Dense(1, name="z")(h)})


def both(build):
    minicnn.set_random_seed(3)
    ours, theirs = build(minicnn), build(keras)
    theirs.set_weights(ours.get_weights())
    return (minicnn, ours), (keras, theirs)


def same(found):
    ours, theirs = found
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize("weighted", [False, True])
def test_data_in_dicts_and_lists_are_split_for_validation(weighted, kind):
    def build(k):
        model = two(k)
        return model if kind is dict else k.Model(list(model.input.values()), list(model.output.values()))

    def given(**parts):
        return dict(reversed(parts.items())) if kind is dict else list(parts.values())

    found = []
    for k, model in both(build):
        model.compile(
            k.optimizers.SGD(0.1),
            given(y="mse", z="mae"),
            loss_weights=given(y=2.0, z=0.5),
            metrics={"z": ["mse"]},
        )
        weights = given(y=np.arange(11.0), z=np.arange(11.0)[::-1].copy()) if weighted else None
        history = model.fit(
            given(a=X, b=OTHER),
            given(y=Y, z=Z),
            sample_weight=weights,
            batch_size=3,
            epochs=2,
            shuffle=False,
            validation_split=0.3,
            verbose=0,
        )
        found.append(history.history)
    same(found)


def test_a_class_reads_its_data_by_their_keys():
    """In its `call`, which is traced when the first batch shows the keys, and in a step of its own."""

    def build(k):
        class Own(k.Model):
            def __init__(self):
                super().__init__()
                self.first, self.second = k.layers.Dense(2), k.layers.Dense(2)
                self.first.build((None, 4))
                self.second.build((None, 3))

            def call(self, given):
                return self.first(given["a"]) - self.second(given["b"])

            def test_step(self, data):
                given, y = data
                return {"error": k.ops.mean(k.ops.abs(self(given) - y)), "width": given["a"].shape[-1]}

        return Own()

    found = []
    for k, model in both(build):
        model.compile(k.optimizers.SGD(0.1), "mse", run_eagerly=True)
        data = {"b": OTHER, "a": X}, Y
        history = model.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=data).history
        found.append(history | {"predicted": model.predict(data[0], verbose=0)})
    same(found)
    names = []

    class Graph(Model):
        def train_step(self, data):
            given, _ = data
            names.append({key: value.shape for key, value in given.items()})

    made = two(minicnn)
    model = Graph(made.input, made.output)
    model.compile("sgd", "mse")
    model.fit({"b": OTHER, "a": X}, {"y": Y, "z": Z}, batch_size=11, verbose=0)
    assert names == [{"a": (11, 4), "b": (11, 3)}]


def test_losses_and_metrics_in_dicts_come_back_from_a_file(tmp_path):
    (_, model), _ = both(two)
    model.compile("sgd", {"y": "mse", "z": "huber"}, loss_weights={"y": 0.5, "z": 1.0}, metrics={"z": ["mae"], "y": "mse"})
    data = {"a": X, "b": OTHER}, {"y": Y, "z": Z}
    expected = model.evaluate(*data, verbose=0, return_dict=True)
    model.save(tmp_path / "m.keras")
    for load in (minicnn.models.load_model, keras.models.load_model):
        same([load(tmp_path / "m.keras").evaluate(*data, verbose=0, return_dict=True), expected])


@pytest.mark.parametrize("what", ["loss", "metrics", "both"])
def test_a_class_may_have_a_loss_or_metrics_of_its_own(what):
    """And no step: Keras's goes through them."""

    def build(k):
        class Own(k.Sequential):
            if what != "metrics":

                def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                    penalty = 0.1 * k.ops.mean(k.ops.abs(y_pred)) + (k.ops.mean(x) if training else 0.0)
                    return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight) + penalty

            if what != "loss":

                def compute_metrics(self, x, y, y_pred, sample_weight=None):
                    return {**super().compute_metrics(x, y, y_pred, sample_weight), "largest": k.ops.max(y_pred)}

        return Own([k.Input((4,)), k.layers.Dense(3, activation="tanh"), k.layers.Dropout(0.0), k.layers.Dense(2)])

    found, weights = [], []
    for k, model in both(build):
        model.compile(
            k.optimizers.SGD(0.1, momentum=0.9),
            "mse",
            loss_weights=[0.5],
            metrics=["mae"],
            weighted_metrics=["mse"],
            run_eagerly=k is keras,
        )
        history = model.fit(
            X, Y, sample_weight=np.arange(11.0), batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=(X, Y)
        ).history
        found.append(history)
        weights.append(model.get_weights())
    same(found)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_nan_ends_training_with_the_weights_before_it(capsys):
    model = Sequential([layers.Input((4,)), layers.Dense(2, name="first"), layers.Activation("exponential", name="grows")])
    model.compile("sgd", "mse")
    x = X.copy()
    x[5:] = 1e30  # beyond what exp can hold
    seen, kept = [], []

    class Watch(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            kept.append([weight.copy() for weight in self.model.get_weights()])

        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, logs["loss"]))

    model.layers[0].kernel.assign(np.ones((4, 2)))
    with np.errstate(all="ignore"):
        history = model.fit(
            x, Y, batch_size=5, epochs=3, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN(), Watch()]
        )
    assert (
        "Batch 1: Invalid loss, terminating training: NaN or infinity first appeared in the forward pass of layer 'grows'"
        in (capsys.readouterr().out)
    )
    assert [batch for batch, _ in seen] == [0, 1]
    assert np.isnan(seen[1][1])
    assert len(history.epoch) == 1
    assert np.isnan(history.history["loss"]).all()
    for weight, before in zip(model.get_weights(), kept[1], strict=True):
        np.testing.assert_array_equal(weight, before)


def test_batches_of_an_unknown_number_that_end_with_an_epoch_begin_again():
    model = Sequential([layers.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    begun = []

    def batches():
        begun.append(len(begun))
        for start in range(0, 8, 2):
            yield X[start : start + 2], Y[start : start + 2]

    data = minicnn.data.Dataset.from_generator(batches)
    history = model.fit(data, steps_per_epoch=2, epochs=5, verbose=0)
    assert len(history.epoch) == 5
    assert len(begun) == 3  # four batches each
    assert int(model.optimizer.iterations) == 10


def test_a_clone_keeps_what_is_frozen_and_named():
    for k in (minicnn, keras):
        inner = k.Sequential([k.Input((4,)), k.layers.Dense(3)], trainable=False, name="inner")
        outer = k.Sequential([k.Input((4,)), inner, k.layers.Dense(2)], name="outer")
        for recursive in (False, True):
            other = (clone_model if k is minicnn else k.models.clone_model)(outer, recursive=recursive)
            assert (other.name, [layer.name for layer in other.layers]) == (outer.name, [layer.name for layer in outer.layers])
            assert other.layers[0] is not inner
            assert other.layers[0].trainable is (k is keras and not recursive)  # Keras's config of a Sequential loses it
    given = Sequential([layers.Input((4,)), layers.Dense(2)], trainable=False)
    assert clone_model(given, clone_function=lambda layer: layer).trainable is False


def test_a_function_that_calls_the_clones_is_told_what_the_calls_were_told():
    for k, clone in ((minicnn, clone_model), (keras, keras.models.clone_model)):
        x, told = k.Input((4,)), {}
        dropped = k.layers.Dropout(0.5, name="drop")(x, training=True)

        def call(layer, *args, told=told, **kwargs):
            told[layer.name] = kwargs
            return layer(*args, **kwargs)

        clone(k.Model(x, k.layers.Dense(2, name="last")(dropped)), call_function=call)
        assert {name: kwargs for name, kwargs in told.items() if name in ("drop", "last")} == {
            "drop": {"training": True},
            "last": {},
        }


def test_a_sequential_that_begins_with_a_model_or_was_built_by_hand():
    for k in (minicnn, keras):
        inner = k.Sequential([k.Input((4,), dtype="int32"), k.layers.Rescaling(0.5), k.layers.Dense(3)])
        outer = k.Sequential([inner, k.layers.Dense(2)])
        assert outer.built
        assert (outer.input_shape, outer.count_params()) == ((None, 4), 15 + 8)
        late = k.Sequential([k.layers.Dense(3)])
        late.build((None, 4))
        again = k.Sequential.from_config(late.get_config())
        assert again.built
        assert again.count_params() == 15
        assert not k.Sequential.from_config(k.Sequential([k.layers.Dense(3)]).get_config()).built


def test_what_a_notebook_shows_of_a_model():
    model = Sequential([layers.Input((4,)), layers.Dense(2, name="a<b")], name="m")
    shown = model._repr_html_()
    assert shown.startswith("<pre>")
    assert "a&lt;b" in shown
    assert repr(model) == "<Sequential name=m, built=True>"


def test_states_of_the_layers_are_forgotten():
    def build(k):
        layer = k.layers.SimpleRNN(2, stateful=True)
        return k.Sequential([k.Input(batch_shape=(2, 3, 1)), layer])

    found = []
    for _, model in both(build):
        x = np.ones((2, 3, 1), "float32")
        first, second = (np.asarray(model(x)) for _ in range(2))
        model.reset_states() if hasattr(model, "reset_states") else model.layers[0].reset_states()
        found.append({"first": first, "second": second, "again": np.asarray(model(x))})
        np.testing.assert_array_equal(found[-1]["again"], first)
        assert not np.array_equal(first, second)
    same(found)


def test_a_traced_model_is_called_with_lists_and_dicts_of_other_shapes():
    class Sums(Model):
        def call(self, inputs):
            parts = inputs.values() if isinstance(inputs, dict) else inputs
            return sum(minicnn.ops.sum(part, axis=-1) for part in parts)

    named = Sums()
    for width in (2, 3):
        x = {"a": np.ones((2, width)), "b": np.full((2, width), 2.0)}
        np.testing.assert_allclose(named(x), [3 * width] * 2)
        np.testing.assert_allclose(named.predict(x, verbose=0), [3 * width] * 2)
    listed = Sums()
    np.testing.assert_allclose(listed([np.ones((2, 2)), np.ones((2, 3))]), [5, 5])
    plain = Sequential([layers.Input((2,)), layers.Dense(1, kernel_initializer="ones")])
    np.testing.assert_allclose(plain([[1, 2], [3, 4]]), [[3], [7]])


def unbuilt():
    model = Sequential([layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def one_target():
    """Of two outputs, one has a loss."""
    x = layers.Input((4,))
    h = layers.Dense(3, name="features")(x)
    model = Model(x, [layers.Dense(2, name="class")(h), h])
    model.compile("sgd", ["mse", None])
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two(minicnn)([layers.Input((4,))]), r"expects 2 input\(s\), but it received 1 input tensors"),
        (lambda: Model([np.ones(3)], [layers.Input((2,))]), r"All `inputs` values must be KerasTensors. Received: inputs="),
        (lambda: Sequential([layers.Dense(1)]).count_params(), "You tried to call `count_params` on layer"),
        (lambda: Sequential([layers.Dense(1)]).build(), "`build` needs an `input_shape`"),
        (lambda: Sequential().build((None, 2)), "cannot be built because it has no layers"),
        (lambda: two(minicnn).predict([X, OTHER, X], verbose=0), r"has 2 inputs \['a', 'b'\], but received 3 array\(s\)"),
        (lambda: unbuilt().fit([X, OTHER], Y), "cannot be used|ambiguous|inhomogeneous"),
        (lambda: unbuilt().fit([X, X], Y), r"(?s)Data cardinality is ambiguous.*'x' sizes: 2.*'y' sizes: 11"),
        (lambda: one_target().fit(X, [Y, Y, Y]), r"has 2 outputs \['class', 'features'\], but received 3 array\(s\)"),
        (lambda: one_target().fit(X, {"features": Y}), 'Missing data for output "class"'),
        (
            lambda: clone_model(type("Own", (Model,), {"call": lambda self, x: x})(), X),
            "are only supported for Sequential models",
        ),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def told(k, said, nested):
    """A batch normalization that was told of training where it was called, in a model or in one within."""
    images = k.Input((3,))
    h = k.layers.BatchNormalization()(images, **({} if said is None else {"training": said}))
    model = k.Model(images, k.layers.Rescaling(2.0)(h))
    if not nested:
        return model
    outer = k.Input((3,))
    return k.Model(outer, model(outer))


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("said", [None, False, True])
def test_what_a_layer_was_told_of_training_counts_where_nobody_says_anything_else(said, nested, copied):
    x = 3 * OTHER + 1
    for ask in (
        lambda model: model(x),
        lambda model: model(x, training=False),
        lambda model: model(x, training=True),
        lambda model: model.predict(x, verbose=0),
    ):
        found = []
        for k in (minicnn, keras):
            model = told(k, said, nested)
            if copied:
                model = type(model).from_config(model.get_config())
            found.append([np.asarray(ask(model)), *(np.asarray(value) for value in model.get_weights())])
        for mine, theirs in zip(*found):
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-6)


def test_augmentation_within_a_called_model_augments_unless_it_is_told():
    images = RNG.random((16, 6, 6, 1)).astype("float32")

    def changes(model, **said):
        return bool((np.asarray(model(images, **said)) != images).any())

    for k in (minicnn, keras):
        for first in ([], [k.Input((6, 6, 1))]):
            model = k.Sequential([*first, k.layers.RandomFlip("horizontal", seed=3)])
            assert [changes(model), changes(model, training=False), changes(model, training=True)] == [True, False, True], k
            assert (model.predict(images, verbose=0) == images).all()
        for said in (None, False, True):
            x = k.Input((6, 6, 1))
            model = k.Model(x, k.layers.RandomFlip("vertical")(x, **({} if said is None else {"training": said})))
            for one in (model, k.Model.from_config(model.get_config())):
                assert [changes(one), changes(one, training=False), changes(one, training=True)] == [
                    said is not False,
                    False,
                    True,
                ]
