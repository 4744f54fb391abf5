"""The surface that programs written for Keras touch, on models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import minicnn
from minicnn import callbacks, config, layers
from minicnn.models import Model, Sequential

RNG = np.random.default_rng(1)
X = RNG.random((20, 8, 8, 3), np.float32)
Y = RNG.integers(0, 3, 20)


def compiled(**kwargs):
    minicnn.set_random_seed(5)
    model = Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **kwargs)
    return model


def test_sequential_add_pop_and_deferred_building():
    model = Sequential(name="row")
    model.add(layers.Conv2D(4, 3, input_shape=(8, 8, 3)))
    model.add(layers.Flatten())
    model.add(layers.Dense(3))
    assert model.output_shape == (None, 3)
    assert model.input_shape == (None, 8, 8, 3)
    assert len(model.layers) == 3
    popped = model.pop()
    assert isinstance(popped, layers.Dense)
    assert model.output_shape == (None, 144)
    model.add(popped)  # which stands in one graph alone again
    assert popped.output is model.outputs[0]
    assert model(X).shape == (20, 3)
    deferred = Sequential([layers.Flatten(), layers.Dense(2)])
    assert not deferred.built
    assert deferred(X).shape == (20, 2)
    assert deferred.built
    assert [w.shape for w in deferred.weights] == [(192, 2), (2,)]


def test_layers_are_added_and_popped_between_predictions():
    x, model = RNG.random((5, 3)).astype("float32"), Sequential([layers.Input((3,)), layers.Rescaling(-2.0)])
    model.compile("sgd", "mse")
    expected = [-2 * x]
    for layer, result in ((layers.Rescaling(1.0, offset=1.0), 1 - 2 * x), (layers.ReLU(), np.maximum(1 - 2 * x, 0))):
        np.testing.assert_allclose(model.predict(x, verbose=0), expected[-1], rtol=1e-6)
        model.add(layer)
        expected.append(result)
    while len(expected) > 1:
        np.testing.assert_allclose(model.predict(x, verbose=0), expected[-1], rtol=1e-6)
        np.testing.assert_allclose(model.evaluate(x, 0 * x, verbose=0), (expected.pop() ** 2).mean(), rtol=1e-5)
        model.pop()
    np.testing.assert_allclose(model.predict(x, verbose=0), -2 * x, rtol=1e-6)


def test_older_spellings_are_understood():
    model = Sequential(
        [
            layers.Conv2D(4, (3, 3), data_format="channels_last", input_shape=(8, 8, 3)),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(3),
            layers.Activation("softmax"),
        ]
    )
    model.compile(loss=["categorical_crossentropy"], optimizer=minicnn.optimizers.SGD(lr=0.05, decay=1e-4), metrics=["acc"])
    history = model.fit(x=X, y=np.eye(3)[Y], batch_size=8, epochs=2, verbose=0, validation_split=0.25)
    assert list(history.history) == ["acc", "loss", "val_acc", "val_loss"]
    assert history is model.history
    assert history.epoch == [0, 1]


def test_feature_maps_of_every_layer():
    model = compiled()
    maps = Model(inputs=model.input, outputs=[layer.output for layer in model.layers])
    found = maps.predict(X, verbose=0)
    assert [f.shape for f in found] == [(20, 6, 6, 4), (20, 144), (20, 3)]
    np.testing.assert_array_equal(found[-1], model.predict(X, verbose=0))
    assert maps.layers[1] is model.layers[0]


def test_structures_of_inputs_and_outputs():
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    out = {"sum": layers.Add()([a, b]), "both": layers.Concatenate()([a, b])}
    model = Model({"a": a, "b": b}, out)
    x = {"b": np.ones((5, 4), np.float32), "a": 2 * np.ones((5, 4), np.float32)}
    found = model.predict(x, verbose=0)
    assert set(found) == {"sum", "both"}
    np.testing.assert_array_equal(found["sum"], 3)
    np.testing.assert_array_equal(found["both"][0], [2, 2, 2, 2, 1, 1, 1, 1])
    with pytest.raises(ValueError, match='Missing data for input "b"'):
        model.predict({"a": x["a"]}, verbose=0)


def test_iterables_of_every_kind():
    import tensorflow as tf

    import minicnn.data

    class Batches:
        """Keras's PyDataset protocol."""

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return X[index * 5 : index * 5 + 5], Y[index * 5 : index * 5 + 5]

        def on_epoch_end(self):
            pass

    def generator():
        while True:
            for start in range(0, 20, 5):
                yield X[start : start + 5], Y[start : start + 5]

    sources = {
        "list of arrays": {"x": X, "y": Y, "batch_size": 5, "shuffle": False},
        "generator": {"x": generator(), "steps_per_epoch": 4},
        "tf.data": {"x": tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)},
        "Dataset": {"x": minicnn.data.Dataset.from_tensor_slices((X, Y)).batch(5)},
        "sequence": {"x": Batches(), "shuffle": False},
    }
    results = {}
    for name, source in sources.items():
        model = compiled()
        model.fit(epochs=2, verbose=0, **source)
        results[name] = model.get_weights()
    for name, weights in results.items():
        for one, two in zip(results["generator"], weights, strict=True):
            np.testing.assert_array_equal(one, two, err_msg=name)


def test_a_generator_may_fill_one_array_again_and_again():
    """Also where the model hands its input on: what was predicted of one batch is kept when the next one comes."""
    model = Sequential([layers.Input((3,)), layers.Dropout(0.5)])
    rows = np.arange(24, dtype=np.float32).reshape(4, 2, 3)

    def batches():
        buffer = np.empty((2, 3), np.float32)
        for part in rows:
            buffer[...] = part
            yield (buffer,)

    np.testing.assert_array_equal(model.predict(batches(), steps=4, verbose=0), rows.reshape(8, 3))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8)])
def test_a_last_axis_of_one_may_be_missing_or_there_as_in_keras(shape):
    """MNIST's images have no channel axis; a grey picture's have one."""
    models = []
    for module in (minicnn, keras):
        inputs = module.layers.Input(shape)
        models.append(module.Model(inputs, module.layers.Flatten()(module.layers.Rescaling(2.0)(inputs))))
    ours, theirs = models
    for x in (X[..., :1], X[..., 0]):
        expected = 2 * X[..., 0].reshape(20, 64)
        np.testing.assert_array_equal(np.asarray(theirs(x)), expected)
        np.testing.assert_array_equal(np.asarray(ours(x)), expected)
        np.testing.assert_array_equal(ours.predict(x, verbose=0), expected)


def test_class_weight_of_a_single_batch_is_keras_s():
    minicnn.set_random_seed(3)
    ours, theirs = (
        module.Sequential(
            [module.layers.Input(X.shape[1:]), module.layers.Flatten(), module.layers.Dense(3, activation="softmax")]
        )
        for module in (minicnn, keras)
    )
    theirs.set_weights(ours.get_weights())
    found = []
    for model in (ours, theirs):
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        found.append([float(model.train_on_batch(X, Y, class_weight={0: 4.0, 2: 0.25})) for _ in range(3)])
        found.append([float(model.test_on_batch(X, Y))])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-5)
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def test_shuffling_is_a_function_of_seed_and_epoch():
    first, again = compiled(), compiled()
    for model in (first, again):
        model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_recompiling_keeps_the_weights_and_trains_on():
    model = compiled()
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert int(model.optimizer.iterations) == 0
    model.fit(X, Y, verbose=0)


def test_interrupting_leaves_a_usable_model():
    class Interrupt(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.epochs_seen == 1:
                raise KeyboardInterrupt

        epochs_seen = 0

        def on_epoch_end(self, epoch, logs=None):
            self.epochs_seen += 1

    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, verbose=0, callbacks=[Interrupt()])
    assert len(model.history.history["loss"]) == 1
    assert model.predict(X, verbose=0).shape == (20, 3)
    model.fit(X, Y, epochs=1, verbose=0)


def test_stop_training_and_initial_epoch():
    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 3

    history = compiled().fit(X, Y, epochs=10, initial_epoch=2, verbose=0, callbacks=[Stop()])
    assert history.epoch == [2, 3]


def test_every_output_s_loss_and_metric_have_their_own_weights():
    x = layers.Input((4,))
    model = Model(x, [layers.Dense(2, name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("sgd", ["mse", "mse"], weighted_metrics=[["mean_absolute_error"], ["mean_absolute_error"]])
    inputs, targets = RNG.random((6, 4)), [RNG.random((6, 2)), RNG.random((6, 1))]
    weights = [np.array([1.0, 0, 0, 2, 0, 1]), np.array([0.0, 3, 1, 0, 2, 0])]
    logs = model.evaluate(inputs, targets, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)
    for name, target, prediction, weight in zip("ab", targets, model.predict(inputs, verbose=0), weights, strict=True):
        expected = np.average(np.abs(target - prediction).mean(axis=1), weights=weight)
        assert logs[f"{name}_mean_absolute_error"] == pytest.approx(expected, rel=1e-5)
        weighted = weight * ((target - prediction) ** 2).mean(axis=1)
        expected = (weighted[:4].mean() + weighted[4:].mean()) / 2  # over two batches, as Keras has it
        assert logs[f"{name}_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_stopped_fit_does_not_stop_the_next():
    model = compiled()
    stop = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    assert model.fit(X, Y, epochs=3, verbose=0, callbacks=[stop]).epoch == [0]
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [0, 1, 2]


def test_predictions_are_no_views_of_the_data():
    """Also where the model hands on what it is given."""
    model, x = Sequential([layers.Input((4,)), layers.Flatten(), layers.Dropout(0.5)]), RNG.random((5, 4), np.float32)
    for predicted in (model.predict_on_batch(x), model.predict(x, verbose=0)):
        np.testing.assert_array_equal(predicted, x)
        assert not np.shares_memory(predicted, x)


def test_a_stopped_evaluation_or_prediction_does_not_stop_the_next():
    class Stop(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = True

        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = True

    model = compiled()
    whole, first = (model.evaluate(X[:count], Y[:count], batch_size=8, verbose=0) for count in (20, 8))
    assert model.evaluate(X, Y, batch_size=8, verbose=0, callbacks=[Stop()]) == first
    assert model.evaluate(X, Y, batch_size=8, verbose=0) == whole
    assert len(model.predict(X, batch_size=8, verbose=0, callbacks=[Stop()])) == 8
    assert len(model.predict(X, batch_size=8, verbose=0)) == 20


def test_validation_frequency_and_steps():
    history = compiled().fit(
        X, Y, epochs=4, verbose=0, validation_data=(X, Y), validation_freq=[1, 3], validation_steps=1, validation_batch_size=4
    )
    assert len(history.history["val_loss"]) == 2


def test_summary_lists_layers_shapes_parameters_and_flops():
    text, model = [], compiled()
    model.summary(print_fn=text.append)
    table = "\n".join(text)
    for part in ("conv2d", "(None, 6, 6, 4)", "112", "435", "Total params: 547", "FLOPs"):
        assert part in table
    assert table.splitlines()[0] == f'Model: "{model.name}"'


def test_what_a_summary_is_asked_to_show():
    inner = minicnn.Sequential([minicnn.Input((4,)), minicnn.layers.Dense(3, name="inside")], name="inner")
    x = minicnn.Input((4,), name="x")
    frozen = minicnn.layers.Dense(4, name="frozen", trainable=False)
    model = minicnn.Model(x, minicnn.layers.Dense(2, name="last")(inner(frozen(x))))
    model.compile(minicnn.optimizers.SGD(momentum=0.9), "mse")

    def shown(**options):
        text = []
        model.summary(print_fn=text.append, **options)
        rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text[0].splitlines() if line.startswith("│")]
        return text[0], {row[0]: row[1:] for row in rows if row[0]}

    text, rows = shown()
    assert list(rows) == ["x (InputLayer)", "frozen (Dense)", "inner (Sequential)", "last (Dense)"]
    assert rows["last (Dense)"] == ["(None, 2)", "8", "12", "inner[0][0]"]
    assert "Total params: 43 " in text
    assert " Trainable params: 23 " in text
    assert "Non-trainable params: 20 " in text
    assert "Optimizer params" not in text
    _, rows = shown(expand_nested=True)
    assert rows["inside (Dense)"][-1] == "-"  # what is connected is the model around it, as in Keras
    _, rows = shown(layer_range=("frozen", "inner"))
    assert list(rows) == ["frozen (Dense)", "inner (Sequential)"]
    _, rows = shown(show_trainable=True)
    assert [row[-1] for row in rows.values()] == ["Y", "N", "Y", "Y"]
    assert max(map(len, shown(line_length=60)[0].splitlines())) <= 60 < max(map(len, text.splitlines()))
    model.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
    twice, printed = minicnn.layers.Dense(4, name="twice"), []
    minicnn.Model(x, twice(twice(x))).summary(print_fn=printed.append)
    (row,) = [line for line in printed[0].splitlines() if "twice (Dense)" in line]
    assert [cell.strip() for cell in row.split("│")[3:5]] == ["20", str(2 * 2 * 4 * 4)]
    text, _ = shown()
    assert "Total params: 68 " in text  # the iteration and the rate, too
    assert "Optimizer params: 25 " in text


def test_a_model_from_its_json_and_a_clone_of_it():
    class Doubled(minicnn.layers.Layer):
        def call(self, x):
            return x * 2

    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(2), Doubled()])
    again = minicnn.models.model_from_json(model.to_json(indent=2), custom_objects={"Doubled": Doubled})
    assert model.to_json(indent=2).startswith('{\n  "')
    clone = minicnn.models.clone_model(model)
    for copied in (again, clone):
        assert [type(layer).__name__ for layer in copied.layers] == ["Dense", "Doubled"]
        assert not np.array_equal(copied.get_weights()[0], model.get_weights()[0])
        copied.set_weights(model.get_weights())
        np.testing.assert_array_equal(copied.predict(np.ones((2, 3)), verbose=0), model.predict(np.ones((2, 3)), verbose=0))


def test_an_input_layers_input_is_its_tensor_as_keras_2_had_it():
    model = minicnn.Sequential([minicnn.Input((3,), name="image"), layers.Dense(2)])
    begin = model.inputs[0].node.layer
    assert begin.input is begin.output is model.inputs[0]


def net(k):
    """A graph with a merge, an op, a layer that is called twice and, in it, another model."""
    inner = k.Sequential([k.Input((6,)), k.layers.Dense(4, name="deep"), k.layers.ReLU(name="relu")], name="inner")
    x = k.Input((5,), name="x")
    first = k.layers.Dense(6, activation="tanh", name="first")
    again = k.layers.Dense(6, use_bias=False, name="again")
    y = again(again(first(x)))
    y = k.layers.Add(name="sum")([y, first(x)])
    return k.Model(x, {"out": inner(y * 2), "other": k.layers.Dropout(0.5, name="drop")(y)}, name="net")


@pytest.mark.parametrize("recursive", [False, True])
def test_a_clone_by_a_function_has_the_graph_and_other_layers(recursive):
    seen = {}
    for k in (keras, minicnn):
        calls = []

        def clone(layer, calls=calls, k=k):
            if not isinstance(layer, (k.layers.Layer, k.Model)):  # an op, which Keras counts among the layers
                return layer
            calls.append(layer.name if not type(layer).__name__.startswith(("Mul", "Op")) else "op")
            settings = layer.get_config() | ({"units": 3} if layer.name == "deep" else {})
            return type(layer).from_config(settings)

        model = net(k)
        other = k.models.clone_model(model, clone_function=clone, recursive=recursive)
        seen[k.__name__] = (
            {name for name in calls if name != "op"},
            len(calls) == len(set(calls)),
            other.output["out"].shape,
            [w.shape for w in other.weights],
        )
        assert not {id(w) for w in model.weights} & {id(w) for w in other.weights}
    assert seen["minicnn"] == seen["keras"]
    assert seen["minicnn"][2] == (None, 3 if recursive else 4)


def test_a_clone_that_shares_its_layers_and_calls_others_between_them():
    model = net(minicnn)
    begin = minicnn.Input((5,))

    def doubled(layer, *args, **kwargs):
        y = layer(*args, **kwargs)
        return y * 2 if layer.name == "first" else y

    other = minicnn.models.clone_model(model, begin, clone_function=lambda layer: layer, call_function=doubled)
    assert other.inputs[0] is begin
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    first, again = (model.get_layer(name) for name in ("first", "again"))
    y = 2 * np.asarray(first(x))
    y = np.asarray(again(again(y))) + y
    np.testing.assert_allclose(other.predict(x, verbose=0)["out"], model.get_layer("inner")(2 * y), atol=1e-5)


@pytest.mark.parametrize("k", [keras, minicnn])
def test_a_clone_of_a_compiled_model_is_compiled_and_starts_anew(k):
    model = k.Sequential([k.Input((3,)), k.layers.Dense(1)])
    model.compile(k.optimizers.SGD(0.25, momentum=0.5), loss=k.losses.MeanAbsoluteError(), metrics=["mse"])
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    model.fit(x, y, verbose=0)
    clone = k.models.clone_model(model)
    assert int(clone.optimizer.iterations) == 0
    assert float(clone.optimizer.learning_rate) == 0.25
    clone.set_weights(model.get_weights())
    before = [w.copy() for w in model.get_weights()]
    logs = clone.train_on_batch(x, y, return_dict=True)
    assert set(logs) == {"loss", "mse"}
    for one, same in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize(
    ("make", "named", "said"),
    [
        (lambda: minicnn.Sequential([minicnn.Input((3,))]), {"call_function": print}, "not supported with Sequential"),
        (lambda: minicnn.Sequential([minicnn.Input((3,))]), {"input_tensors": [1]}, "a single KerasTensor"),
        (lambda: net(minicnn), {"input_tensors": [minicnn.Input((5,))] * 2}, "same structure as model.input"),
        (lambda: net(minicnn), {"clone_function": 3}, "to be a callable"),
    ],
)
def test_what_clone_model_refuses(make, named, said):
    with pytest.raises(ValueError, match=said):
        minicnn.models.clone_model(make(), **named)


def test_models_are_named_as_in_keras():
    minicnn.utils.clear_session()
    keras.utils.clear_session()
    found = []
    for k in (minicnn, keras):

        class MyOwn(k.Model):
            def call(self, x):
                return x

        x = k.Input((3,))
        models = [k.Sequential(), k.Sequential(name="mine"), k.Model(x, k.layers.Dense(1)(x)), k.Sequential(), MyOwn()]
        models += [k.Model(x, k.layers.Dense(1)(x), name="other"), k.Model(x, k.layers.Dense(1)(x)), MyOwn(name="own")]
        found.append([model.name for model in models])
    assert found[0] == found[1]


def test_a_class_of_a_model_takes_its_inputs_in_a_list():
    class Joined(minicnn.Model):
        def __init__(self):
            super().__init__()
            self.dense = minicnn.layers.Dense(2)

        def call(self, inputs):
            a, b = inputs
            return self.dense(a) + b

    rng = np.random.default_rng(0)
    a, b, y = rng.random((6, 3)), rng.random((6, 2)), rng.random((6, 2))
    model = Joined()
    model.compile("sgd", "mse")
    model.fit([a, b], y, epochs=2, verbose=0)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict([a, b], verbose=0), a @ kernel + bias + b, rtol=1e-5)


def test_batches_to_validate_on_are_taken_once_from_an_iterator_of_one_s_own():
    class Once:
        def __init__(self):
            self.left = 3

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return np.ones((2, 3)), np.ones((2, 2))

    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(2)])
    model.compile("sgd", "mse")
    once = Once()
    model.fit(np.ones((4, 3)), np.ones((4, 2)), validation_data=once, validation_steps=2, verbose=0)
    assert once.left == 1


@pytest.mark.parametrize("name", ["crossentropy", "ce", [["Crossentropy"]]])
@pytest.mark.parametrize("targets", ["labels", "one-hot", "binary"])
def test_a_cross_entropy_is_the_one_that_the_targets_need(name, targets):
    x, labels = np.random.default_rng(0).random((6, 4)), np.array([0, 1, 2, 2, 1, 0])
    units, y, kind = {
        "labels": (3, labels, "sparse_categorical_crossentropy"),
        "one-hot": (3, np.eye(3)[labels], "categorical_crossentropy"),
        "binary": (1, labels[:, None] % 2, "binary_crossentropy"),
    }[targets]
    losses = []
    for loss in (name, kind):
        minicnn.set_random_seed(1)
        activation = "sigmoid" if units == 1 else "softmax"
        model = minicnn.Sequential([minicnn.Input((4,)), minicnn.layers.Dense(units, activation=activation)])
        model.compile("sgd", loss)
        losses.append(model.fit(x, y, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_a_metric_of_several_numbers_has_several_names():
    class Ends(minicnn.metrics.Metric):
        def __init__(self):
            super().__init__(name="ends")
            self.least = self.add_weight(name="least", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.least.assign(np.min(y_pred))

        def result(self):
            return {"least": self.least, "twice": self.least * 2}

    model = minicnn.Sequential([minicnn.Input((3,)), minicnn.layers.Dense(2, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=[Ends()])
    logs = model.evaluate(np.ones((4, 3)), np.ones((4, 2)), verbose=0, return_dict=True)
    assert (logs["least"], logs["twice"]) == (3, 6)


def test_one_array_of_weights_serves_every_output():
    x = minicnn.Input((3,))
    model = minicnn.Model(x, [minicnn.layers.Dense(2)(x), minicnn.layers.Dense(1)(x)])
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    data, targets, weight = rng.random((4, 3)), [rng.random((4, 2)), rng.random((4, 1))], rng.random(4)
    one, both = (model.evaluate(data, targets, sample_weight=given, verbose=0) for given in (weight, [weight, weight]))
    assert one == pytest.approx(both)


def test_get_layer_and_counts():
    model = compiled()
    assert model.get_layer(index=0) is model.layers[0]
    assert model.get_layer(model.layers[1].name) is model.layers[1]
    with pytest.raises(ValueError, match="No such layer: nothing"):
        model.get_layer("nothing")
    with pytest.raises(ValueError, match="index 9 but model only has 3 layers"):
        model.get_layer(index=9)
    assert model.count_params() == 547


def test_calling_a_model_returns_something_like_a_tensor():
    model = compiled()
    out = model(X[:2])
    np.testing.assert_allclose(out.numpy(), model.predict(X[:2], verbose=0), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(out).sum(axis=1), 1, rtol=1e-5)


def test_plan_tells_what_runs():
    model = compiled()
    rows = model.plan()
    assert sum(row["flops"] for row in rows) == 2 * 36 * 27 * 4 + 2 * 144 * 3
    assert [name for row in rows for name in row["layers"]] == [layer.name for layer in model.layers]


def test_branches_run_in_the_order_in_which_they_are_read():
    x = layers.Input((4, 4, 2))
    a, b = (layers.Conv2D(2, 3, padding="same", name=name)(x) for name in "ab")
    c = layers.Conv2D(2, 3, padding="same", name="c")(b)
    for read, names in (([a, c], "abc"), ([c, a], "bca"), ([b, c, a], "bca")):
        rows = Model(x, layers.Concatenate(name="joined")(read)).plan()
        assert [name for row in rows for name in row["layers"]] == [*names, "joined"]


def test_a_model_that_is_compiled_anew_trains_as_one_that_never_was():
    """Also where the loss before took the last activation into its own kernel, and the metrics were others."""
    one, fresh = compiled(), compiled()
    one.train_on_batch(X, Y)
    one.predict(X, verbose=0)
    fresh.set_weights(one.get_weights())
    targets, results = np.eye(3, dtype=np.float32)[Y], []
    for model in (one, fresh):
        model.compile(minicnn.optimizers.SGD(0.5), "mean_squared_error", metrics=["mae"])
        results.append([model.train_on_batch(X, targets, return_dict=True) for _ in range(2)])
    assert results[0] == results[1]
    for mine, expected in zip(one.get_weights(), fresh.get_weights()):
        np.testing.assert_array_equal(mine, expected)


def test_a_model_for_images_of_any_size_says_what_it_does_not_know():
    model = minicnn.Sequential(
        [
            layers.Input((None, None, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    plan = model.plan()
    assert [(row["flops"], row["bytes"]) for row in plan] == [(None, None), (0, None), (None, 4 * 4), (2 * 4 * 3, 3 * 4)]
    lines = str(plan).splitlines()
    assert "(None, None, 4)" in lines[1]
    assert lines[1].split()[-2:] == ["?", "?"]
    assert lines[2].split()[-2:] == ["-", "?"]
    assert lines[-1].startswith("4 steps, ? FLOPs forward")
    printed = []
    model.summary(print_fn=printed.append)
    assert "FLOPs per image, forward: ?" in printed[0]
    inside = layers.Input((None, None, 3))
    outer = Model(inside, layers.Dense(2)(model(inside)))
    assert [row["flops"] for row in outer.plan()] == [None, 0, None, 24, 2 * 3 * 2]
    outer.summary(print_fn=printed.append)
    assert "FLOPs per image, forward: ?" in printed[1]


def test_uint8_pixels_are_taken_as_floats():
    pixels = (X * 255).astype(np.uint8)
    model = compiled()
    np.testing.assert_allclose(model.predict(pixels, verbose=0), model.predict(pixels.astype(np.float32), verbose=0))
    model.fit(pixels, Y, verbose=0)


def test_a_model_of_doubles_reads_doubles(monkeypatch):
    """Not one digit less, in all that a batch goes through."""
    monkeypatch.setattr(config, "_floatx", "float64")
    minicnn.set_random_seed(5)
    x, y = RNG.random((7, 3)), RNG.random((7, 2))
    model = Sequential([layers.Input((3,)), layers.Dense(2, name="last")])
    model.compile(minicnn.optimizers.SGD(0.25), "mse", metrics=["mae"])
    kernel, bias = model.get_weights()
    error = x @ kernel + bias - y
    expected = {"loss": (error**2).mean(), "mae": np.abs(error).mean()}
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(model.predict(x, verbose=0), x @ kernel + bias, **close)
    np.testing.assert_allclose(model(x), x @ kernel + bias, **close)
    for found in (model.evaluate(x, y, verbose=0, return_dict=True), model.train_on_batch(x, y, return_dict=True)):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, **close)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.25 * x.T @ error / 7, **close)


def test_the_older_name_for_fitting_generators():
    def batches():
        while True:
            yield X, Y

    weights = compiled().get_weights()
    histories = []
    for method, older in (("fit", {}), ("fit_generator", {"workers": 4, "use_multiprocessing": False})):
        model = compiled()
        model.set_weights(weights)
        histories.append(getattr(model, method)(batches(), steps_per_epoch=2, epochs=3, verbose=0, **older).history)
    assert histories[0] == histories[1]
    assert len(histories[0]["loss"]) == 3


def test_tf_keras_where_a_program_imports_tensorflow_as_tf():
    assert minicnn.keras.models.Sequential is minicnn.models.Sequential
    assert minicnn.keras.datasets.cifar10 is minicnn.datasets.cifar10


def test_plan_prints_as_a_table_and_is_a_list_of_dicts():
    plan = compiled().plan()
    assert isinstance(plan, list)
    assert all(type(row) is dict for row in plan)
    lines = str(plan).splitlines()
    assert max(map(len, lines)) <= 100
    assert "FLOPs" in lines[0]
    assert len([line for line in lines if "conv2d" in line]) == 1
    assert plan[0]["kernel"] == "direct"
    assert "direct" in lines[1]
    assert "(6, 6, 4)" in lines[1]
    assert "576.00 B" in lines[1]
    assert f"{plan[0]['flops'] / 1000:.2f} K" in lines[1]
    assert lines[-1].startswith(f"{len(plan)} steps")
    long = type(plan)([plan[0] | {"layers": [f"a_layer_with_a_long_name_{i}" for i in range(9)]}])
    assert max(map(len, str(long).splitlines())) <= 100
    assert "a_layer_with_a_long_name_8" in str(long)


def test_history_says_what_it_holds():
    history = compiled().fit(X, Y, epochs=2, validation_data=(X, Y), verbose=0)
    text = repr(history)
    assert text.startswith("<History: 2 epochs, at the end ")
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert f"{name} {history.history[name][-1]:.4g}" in text
    assert repr(callbacks.History()) == "<History: no epochs>"


def test_last_values_are_safe_to_keep():
    """What a callback keeps is not written over by later steps, although steps reuse memory."""
    kept = []

    class Keep(callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            kept.append(logs["outputs"])

    model = compiled()
    expected = model.predict(X, batch_size=5, verbose=0)
    model.predict(X, batch_size=5, verbose=0, callbacks=[Keep()])
    np.testing.assert_array_equal(np.concatenate(kept), expected)


def test_a_list_of_one_output_is_that_output_as_in_keras():
    x = np.ones((2, 3), np.float32)
    for module in (keras, minicnn):
        i = module.layers.Input((3,))
        model = module.Model(i, [module.layers.Dense(2, kernel_initializer="ones")(i)])
        assert model.input_shape == (None, 3)
        assert model.output_shape == (None, 2)
        np.testing.assert_array_equal(model.predict(x, verbose=0), np.full((2, 2), 3.0))
        np.testing.assert_array_equal(model.predict_on_batch(x), np.full((2, 2), 3.0))
        np.testing.assert_array_equal(np.asarray(model(x)), np.full((2, 2), 3.0))


@pytest.mark.parametrize("K", [minicnn, keras], ids=["minicnn", "keras"])
def test_a_sequential_knows_its_shapes_when_it_is_built(K):
    names = ("input_shape", "output_shape", "inputs", "outputs")
    model = K.Sequential([K.layers.Dense(8)])
    assert not any(hasattr(model, name) for name in names)
    model.build((None, 4))
    assert all(hasattr(model, name) for name in names)
    model.build((None, 4))
    with pytest.raises(ValueError, match=r"already been configured to use input shape \(None, 4\)"):
        model.build((None, 5))
