"""Every argument of `fit`, held to Keras: one table of cases, each run here and there from the same weights."""

from __future__ import annotations

import contextlib
import itertools
import warnings

import keras
import numpy as np
import pytest

import minicnn
from minicnn.models.data_adapter import make_batches

RNG = np.random.default_rng(23)
SAMPLES, HELD_OUT, BATCH = 45, 23, 7  # neither number of samples is a multiple of a batch
X, X_VAL = RNG.random((SAMPLES, 6), np.float32), RNG.random((HELD_OUT, 6), np.float32)
Y, Y_VAL = RNG.integers(0, 3, SAMPLES), RNG.integers(0, 3, HELD_OUT)
HOT = np.eye(3, dtype=np.float32)
Z, Z_VAL = RNG.random((SAMPLES, 2), np.float32), RNG.random((HELD_OUT, 2), np.float32)
LARGE_X, LARGE_Y = RNG.random((400, 6), np.float32), RNG.integers(0, 3, 400)  # the kernels' tasks are 64 rows
WEIGHT, WEIGHT_VAL = RNG.random(SAMPLES, np.float32) * 2, RNG.random(HELD_OUT, np.float32) * 2
RUNS_OUT = "Your input ran out of data"


def in_batches(*arrays, size=BATCH):
    """Batches of arrays, as somebody else makes them."""
    return [tuple(array[i : i + size] for array in arrays) for i in range(0, len(arrays[0]), size)]


def sequence(k, *arrays):
    """The batches as a `PyDataset` of Keras's, and as what has its methods here."""

    class Batches(k.utils.PyDataset if k is keras else object):
        batches = in_batches(*arrays)

        def __len__(self):
            return len(self.batches)

        def __getitem__(self, index):
            return self.batches[index]

        def on_epoch_end(self):
            pass

    return Batches()


def endless(k):
    """Batches of numbers from 0 on."""

    class Batches(k.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            return in_batches(X, Y)[index % 5]

    return Batches()


def dataset(k, *arrays):
    import tensorflow as tf

    data = minicnn.data.Dataset if k is minicnn else tf.data.Dataset
    return data.from_tensor_slices(arrays).batch(BATCH)


def forever(*arrays):
    """A generator that never ends, with batches of its own size."""
    while True:
        yield from in_batches(*arrays)


def network(k):
    return k.Sequential([k.Input((6,)), k.layers.Dense(5, activation="tanh"), k.layers.Dense(3, activation="softmax")])


def two_outputs(k):
    x = k.Input((6,))
    h = k.layers.Dense(5, activation="tanh", kernel_regularizer="l2")(x)
    return k.Model(x, [k.layers.Dense(3, activation="softmax", name="kind")(h), k.layers.Dense(2, name="size")(h)])


def with_features(k):
    """A class and, without a loss, what it is read from."""
    x = k.Input((6,))
    h = k.layers.Dense(5, activation="tanh", name="features")(x)
    return k.Model(x, [k.layers.Dense(3, activation="softmax", name="kind")(h), h])


def regularized(k):
    """Penalties on weights and on an output."""
    return k.Sequential(
        [
            k.Input((6,)),
            k.layers.Dense(5, activation="tanh", kernel_regularizer="l2", activity_regularizer=k.regularizers.L2(0.05)),
            k.layers.Dense(3, activation="softmax", kernel_regularizer="l1"),
        ]
    )


def binary(k):
    return k.Sequential([k.Input((6,)), k.layers.Dense(1, activation="sigmoid")])


def penalized_between(k):
    """Penalties on what a plan would join: a convolution, its ReLU, and the pooling."""
    penalized = {"activity_regularizer": k.regularizers.L2(0.05)}
    blocks = [
        [k.layers.Conv2D(3, 2, **penalized), k.layers.ReLU(), k.layers.MaxPooling2D(2)],
        [k.layers.Conv2D(3, 2), k.layers.ReLU(**penalized), k.layers.MaxPooling2D(2)],
        [k.layers.Conv2D(3, 2), k.layers.ReLU(), k.layers.MaxPooling2D(2, **penalized)],
        [k.layers.Dense(3, **penalized), k.layers.ReLU()],
        [k.layers.Dense(3), k.layers.ReLU(**penalized)],
    ]
    x = k.Input((6,))
    image = k.layers.Reshape((3, 3, 1))(k.layers.Dense(9)(x))
    ends = []
    for block in blocks:
        y = image
        for layer in block:
            y = layer(y)
        ends.append(k.layers.Flatten()(y))
    return k.Model(x, k.layers.Dense(3, activation="softmax")(k.layers.Concatenate()(ends)))


def shared(k):
    """A layer that stands twice, a penalty that a layer adds twice, and an output of which another is computed."""

    class Twice(k.layers.Layer):
        def call(self, x):
            loss = k.ops.mean(k.ops.square(x))
            self.add_loss(loss)
            self.add_loss(loss)
            return x

    x, dense = k.Input((6,)), k.layers.Dense(6, activation="tanh")
    h = Twice()(dense(dense(x)))
    kind = k.layers.Dense(3, activation="softmax", name="kind")(h)
    return k.Model(x, [kind, k.layers.Dense(2, name="size")(k.layers.Concatenate()([h, kind]))])


class Case:
    """Arguments of `fit`, and of `compile` before it; what is not the same for both is a function of the module."""

    def __init__(self, *, build=network, optimizer=None, compile=None, warns=None, **arguments):
        self.build, self.warns = build, warns
        self.optimizer = optimizer or (lambda k, model: k.optimizers.SGD(0.5))
        self.compile = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **(compile or {})}
        self.arguments = {"x": X, "y": Y, "batch_size": BATCH, "epochs": 3, "shuffle": False, **arguments}

    def run(self, k, model):
        compile, arguments = ({name: made_for(k, value) for name, value in a.items()} for a in (self.compile, self.arguments))
        model.compile(self.optimizer(k, model), **compile)
        arguments = {name: value for name, value in arguments.items() if value is not None}
        expected = pytest.warns(UserWarning, match=self.warns) if self.warns else contextlib.nullcontext()
        with warnings.catch_warnings(), expected:
            if k is keras:
                warnings.filterwarnings("ignore", "`shuffle=True` was passed", UserWarning)
            return model.fit(verbose=0, **arguments)


def made_for(k, value):
    return value(k) if callable(value) else value


def sums(k):
    """A loss whose mean over an epoch tells how large the batches were."""
    return k.losses.SparseCategoricalCrossentropy(reduction="sum")


def slow(k, model):
    return k.optimizers.SGD(0.02)


def ema(k, model, **options):
    return k.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8, **options)


def decays_all_but_one(k, model):
    optimizer = k.optimizers.SGD(0.1, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_list=[model.trainable_variables[2]])
    return optimizer


OTHERS = {"y": None, "batch_size": None, "shuffle": None}  # batches that others make bring all this
ONE_HOT = {"loss": "categorical_crossentropy"}
VALIDATION = {"validation_data": (X_VAL, Y_VAL)}
TWO = {"build": two_outputs, "y": [Y, Z]}
TWO_LOSSES = {"loss": ["sparse_categorical_crossentropy", "mse"], "metrics": None}
ONE_LOSS = {"loss": ["sparse_categorical_crossentropy", None], "metrics": None}
CASES = {
    # how many batches, of what size
    "batch size": Case(),
    "default batch size": Case(batch_size=None),
    "a batch of more rows than a task": Case(x=LARGE_X, y=LARGE_Y, batch_size=150),
    "the size of a batch in the mean of the loss": Case(compile={"loss": sums}, optimizer=slow),
    "epochs": Case(epochs=1),
    "no epochs": Case(epochs=0),
    "initial epoch": Case(initial_epoch=2),
    "steps below the batches there are": Case(steps_per_epoch=3, epochs=5, warns=RUNS_OUT),
    "steps that divide the batches": Case(batch_size=5, steps_per_epoch=3, epochs=5),
    "steps beyond the batches there are": Case(steps_per_epoch=9, warns=RUNS_OUT),
    "steps without a batch size": Case(batch_size=None, steps_per_epoch=4),
    # what the batches come from
    "a Dataset": Case(x=lambda k: dataset(k, X, Y), **OTHERS),
    "a Dataset with steps": Case(x=lambda k: dataset(k, X, Y), steps_per_epoch=3, epochs=5, warns=RUNS_OUT, **OTHERS),
    "a Dataset repeated, with steps": Case(x=lambda k: dataset(k, X, Y).repeat(), steps_per_epoch=4, **OTHERS),
    "a generator with steps": Case(x=lambda k: forever(X, Y), steps_per_epoch=4, **OTHERS),
    "a generator with weights": Case(x=lambda k: forever(X, Y, WEIGHT), steps_per_epoch=4, **OTHERS),
    "a sequence": Case(x=lambda k: sequence(k, X, Y), **OTHERS | {"shuffle": False}),
    "a sequence with steps": Case(
        x=lambda k: sequence(k, X, Y), steps_per_epoch=3, epochs=5, warns=RUNS_OUT, **OTHERS | {"shuffle": False}
    ),
    "a sequence without an end": Case(x=endless, steps_per_epoch=4, **OTHERS | {"shuffle": False}),
    # validation
    "validation split": Case(validation_split=0.3),
    "validation split that leaves one sample": Case(x=X[:4], y=Y[:4], validation_split=0.75),
    "validation split of one sample": Case(x=X[:4], y=Y[:4], validation_split=0.25),
    "validation split of weighted samples": Case(validation_split=0.3, sample_weight=WEIGHT),
    "validation data": Case(**VALIDATION),
    "validation data in a list": Case(validation_data=[X_VAL, Y_VAL]),
    "validation data with weights": Case(
        validation_data=(X_VAL, Y_VAL, WEIGHT_VAL), compile={"metrics": None, "weighted_metrics": ["accuracy"]}
    ),
    "validation data before a split": Case(validation_split=0.3, **VALIDATION),
    "validation data in a Dataset": Case(validation_data=lambda k: dataset(k, X_VAL, Y_VAL)),
    "validation data in a Dataset with steps": Case(validation_data=lambda k: dataset(k, X_VAL, Y_VAL), validation_steps=2),
    "validation batch size": Case(validation_batch_size=5, compile={"loss": sums}, optimizer=slow, **VALIDATION),
    "the batch size for validation": Case(compile={"loss": sums}, optimizer=slow, **VALIDATION),
    "validation steps": Case(validation_steps=2, **VALIDATION),
    "validation frequency": Case(validation_freq=2, epochs=5, **VALIDATION),
    "validation in listed epochs": Case(validation_freq=[1, 4], epochs=5, **VALIDATION),
    # weights of samples and classes
    "sample weight": Case(sample_weight=WEIGHT),
    "sample weight in a column": Case(sample_weight=WEIGHT[:, None]),
    "class weight": Case(class_weight={0: 0.3, 1: 2.0, 2: 1.5}),
    "class weight for some classes": Case(class_weight={2: 4.0}),
    "class weight of labels in a column": Case(class_weight={0: 0.3, 2: 4.0}, y=Y[:, None]),
    "class weight of labels in float": Case(class_weight={0: 0.3, 2: 4.0}, y=Y.astype(np.float32)),
    "class weight of one-hot targets": Case(class_weight={0: 0.3, 2: 4.0}, y=HOT[Y], compile=ONE_HOT),
    "class weight of two classes": Case(
        class_weight={1: 3.0}, y=(Y > 0).astype(np.float32), build=binary, compile={"loss": "binary_crossentropy"}
    ),
    "class weight with a Dataset": Case(x=lambda k: dataset(k, X, Y), class_weight={0: 0.3, 2: 4.0}, **OTHERS),
    "class weight and weighted metrics": Case(class_weight={0: 0.3, 2: 4.0}, compile={"weighted_metrics": ["acc"]}),
    # what is reported
    "weighted metrics": Case(
        sample_weight=WEIGHT, compile={"weighted_metrics": ["sparse_categorical_crossentropy"]}, **VALIDATION
    ),
    "weighted metrics without weights": Case(compile={"metrics": None, "weighted_metrics": ["accuracy"]}),
    "metrics of one name": Case(
        sample_weight=WEIGHT, compile={"metrics": ["accuracy", "accuracy"], "weighted_metrics": ["accuracy", "accuracy"]}
    ),
    "metrics in a list for each output": Case(compile={"metrics": [["accuracy", "sparse_categorical_crossentropy"]]}),
    "two outputs": Case(compile=TWO_LOSSES, validation_data=(X_VAL, [Y_VAL, Z_VAL]), **TWO),
    "two outputs, loss weights": Case(compile=TWO_LOSSES | {"loss_weights": [0.5, 1.5]}, optimizer=slow, **TWO),
    "two outputs, a weight each": Case(compile=TWO_LOSSES, sample_weight=[WEIGHT, 2 - WEIGHT], **TWO),
    "two outputs, metrics of one name": Case(
        compile=TWO_LOSSES | {"metrics": [["accuracy"], ["mae", "mae"]], "weighted_metrics": [["accuracy"], ["mae"]]},
        sample_weight=[WEIGHT, 2 - WEIGHT],
        **TWO,
    ),
    "two outputs, one read by the other": Case(compile=TWO_LOSSES, build=shared, y=[Y, Z], optimizer=slow),
    "two outputs, accuracies of labels and of one-hot targets": Case(
        compile={"loss": ["sparse_categorical_crossentropy", "mse"], "metrics": [["accuracy"], ["accuracy"]]},
        build=two_outputs,
        y=[Y, HOT[Y % 2, :2]],
    ),
    "two outputs, a target": Case(compile=ONE_LOSS, build=with_features),
    "two outputs, a target in a list": Case(
        compile=ONE_LOSS, build=with_features, y=[Y, None], validation_data=(X_VAL, [Y_VAL])
    ),
    "two outputs, a target by its name": Case(compile=ONE_LOSS, build=with_features, y={"kind": Y}),
    "penalties on outputs that are joined otherwise": Case(build=penalized_between),
    # the optimizer at the end of a step, and of training
    "averaged weights": Case(optimizer=ema),
    "averaged weights, now and then": Case(optimizer=lambda k, model: ema(k, model, ema_overwrite_frequency=4)),
    "weights that do not decay": Case(optimizer=decays_all_but_one),
    "a scaled loss": Case(optimizer=lambda k, model: k.optimizers.SGD(0.1, loss_scale_factor=8.0), build=regularized),
    "a scaled loss, clipped": Case(optimizer=lambda k, model: k.optimizers.SGD(0.1, loss_scale_factor=8.0, clipnorm=0.05)),
    # callbacks
    "a scheduled rate": Case(callbacks=lambda k: [k.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)]),
    "stopped early": Case(
        epochs=9, callbacks=lambda k: k.callbacks.EarlyStopping("loss", min_delta=0.01), validation_split=0.2
    ),
}


def twins(build=network):
    """Our model and Keras's with our weights."""
    minicnn.set_random_seed(3)
    ours, theirs = build(minicnn), build(keras)
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def assert_same_run(ours, theirs, history, expected):
    """The same numbers in every epoch, and the same weights after the last."""
    assert history.epoch == expected.epoch
    assert list(history.history) == list(expected.history)
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-4, atol=2e-6, err_msg=mine.path)


@pytest.mark.parametrize("name", CASES)
def test_fit_is_keras(name):
    case = CASES[name]
    ours, theirs = twins(case.build)
    assert_same_run(ours, theirs, *(case.run(k, model) for k, model in ((minicnn, ours), (keras, theirs))))


def heard_by(k, model, steps):
    """What the callbacks hear of batches: their numbers, and at their ends the loss."""
    said = []
    listener = k.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: said.append(batch),
        on_train_batch_end=lambda batch, logs: said.append((batch, round(logs["loss"], 4))),
    )
    listener.on_test_batch_begin, listener.on_test_batch_end = listener.on_train_batch_begin, listener.on_train_batch_end
    listener.on_predict_batch_end = lambda batch, logs: said.append((batch,))
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=steps)
    arguments = {"batch_size": 5, "verbose": 0, "callbacks": [listener]}
    model.fit(X, Y, shuffle=False, epochs=2, validation_data=(X_VAL[:15], Y_VAL[:15]), **arguments)
    model.predict(X, **arguments)
    return said


def test_callbacks_hear_of_the_first_and_the_last_of_several_batches():
    ours, theirs = twins()
    heard = heard_by(minicnn, ours, 3)
    assert heard == heard_by(keras, theirs, 3)
    assert ours.get_compile_config()["steps_per_execution"] == 3
    numbers = [one if isinstance(one, int) else one[:1] for one in heard_by(minicnn, ours, 4)]
    assert numbers[:6] == [0, (3,), 4, (7,), 8, (8,)]  # the last one, which has no others
    with pytest.raises(ValueError, match=r"`steps_per_execution` must be a positive integer\. Received: 0"):
        ours.compile("sgd", "mse", steps_per_execution=0)


# --- what Keras cannot be asked: it shuffles otherwise, and takes no class weights beside others --------------


def taken(model):
    """A list that gets the rows of every batch that the model trains on: their indices in X."""
    batches, train_step = [], model.train_step

    def watched(x, *rest, **options):
        batches.append([int(np.flatnonzero((row == X).all(1))[0]) for row in x[0]])
        return train_step(x, *rest, **options)

    model.train_step = watched
    return batches


def trained(seed=3, **arguments):
    """The batches of two epochs, as indices, one list an epoch."""
    minicnn.set_random_seed(seed)
    model = network(minicnn)
    model.compile("sgd", "sparse_categorical_crossentropy")
    batches = taken(model)
    model.fit(**{"x": X, "y": Y, "batch_size": BATCH, **arguments}, epochs=2, verbose=0)
    return batches[: len(batches) // 2], batches[len(batches) // 2 :]


SIZES = [BATCH] * 6 + [SAMPLES - 6 * BATCH]


def test_shuffling_is_a_permutation_that_depends_on_seed_and_pass():
    first, second = trained()
    for epoch in (first, second):
        assert [len(batch) for batch in epoch] == SIZES
        assert sorted(itertools.chain(*epoch)) == list(range(SAMPLES))
    other, _ = trained(seed=4)
    orders = {tuple(itertools.chain(*epoch)) for epoch in (first, second, other, [range(SAMPLES)])}
    assert len(orders) == 4
    assert trained() == (first, second)


@pytest.mark.parametrize("shuffle", [True, "batch"])
@pytest.mark.parametrize("weight", ["sample_weight", "class_weight"])
def test_shuffled_samples_keep_their_targets_and_weights(shuffle, weight):
    minicnn.set_random_seed(3)
    model, seen = network(minicnn), []
    model.compile("sgd", "sparse_categorical_crossentropy")

    def watched(x, y, weights=None, **options):
        seen.extend(zip(x[0].tolist(), y[0].tolist(), weights[0].tolist(), strict=True))

    model.train_step = watched
    by_class = {0: 0.5, 1: 2.0, 2: 3.0}
    expected = WEIGHT.tolist() if weight == "sample_weight" else [by_class[label] for label in Y.tolist()]
    given = WEIGHT if weight == "sample_weight" else by_class
    model.fit(X, Y, batch_size=BATCH, shuffle=shuffle, verbose=0, **{weight: given})
    order = [row for row, _, _ in seen]
    assert order != X.tolist()
    assert sorted(seen) == sorted(zip(X.tolist(), Y.tolist(), expected, strict=True))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_next_fit_begins_a_pass_of_its_own(steps):
    """Also after one that ended in the middle of a pass, whose samples would else come once more in the same order."""
    first, second = trained()
    minicnn.set_random_seed(3)
    model = network(minicnn)
    model.compile("sgd", "sparse_categorical_crossentropy")
    batches = taken(model)
    for _ in range(2):
        model.fit(X, Y, batch_size=BATCH, steps_per_epoch=steps, verbose=0)
    assert batches == first[:steps] + second[:steps]


def test_shuffling_by_batches_moves_whole_batches():
    whole = [list(range(i, min(i + BATCH, SAMPLES))) for i in range(0, SAMPLES, BATCH)]
    first, second = trained(shuffle="batch")
    assert sorted(first) == sorted(second) == whole
    assert first != whole
    assert first != second
    assert trained(shuffle="batch", seed=4)[0] != first


def test_a_sequence_is_shuffled_by_batches_and_told_where_epochs_begin_and_end():
    class Told:
        calls = ()

        def __len__(self):
            return 9

        def __getitem__(self, index):
            self.calls += (index,)
            return X[index * 5 : index * 5 + 5], Y[index * 5 : index * 5 + 5]

        def on_epoch_begin(self):
            self.calls += ("begin",)

        def on_epoch_end(self):
            self.calls += ("end",)

    data = Told()
    trained(x=data, y=None, batch_size=None, shuffle=False)
    assert data.calls == ("begin", *range(9), "end") * 2
    data = Told()
    trained(x=data, y=None, batch_size=None)
    assert data.calls[::11] == ("begin", "begin")
    assert data.calls[10::11] == ("end", "end")
    orders = data.calls[1:10], data.calls[12:21], tuple(range(9))
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert len(set(orders)) == 3


def test_the_number_of_validation_batches():
    seen = []

    def evaluated(**arguments):
        seen.clear()
        batches = minicnn.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
        trained(validation_data=(X_VAL, Y_VAL), callbacks=[batches], **arguments)
        return list(seen)

    assert evaluated() == [0, 1, 2, 3] * 2  # 23 samples in batches of 7, as those of training
    assert evaluated(validation_batch_size=5) == [0, 1, 2, 3, 4] * 2
    assert evaluated(validation_batch_size=5, validation_steps=2) == [0, 1] * 2


@pytest.mark.parametrize("column", [False, True])
def test_class_weight_multiplies_the_weights_that_batches_bring(column):
    factors = {0: 0.3, 2: 4.0}
    ours, theirs = twins()
    weight = WEIGHT[:, None] if column else WEIGHT
    product = WEIGHT * np.array([factors.get(label, 1.0) for label in Y], np.float32)
    case = Case(x=lambda k: forever(X, Y, weight), class_weight=factors, steps_per_epoch=7, **OTHERS)
    expected = Case(sample_weight=product)
    assert_same_run(ours, theirs, case.run(minicnn, ours), expected.run(keras, theirs))


@pytest.mark.parametrize("targets", ["labels", "labels in a column", "one-hot"])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weight_of_many_positions_weighs_each(targets, weighted):
    """Of an output (N, 2, 3), say a label for each of two pixels."""

    def build(k):
        return k.Sequential([k.Input((6,)), k.layers.Reshape((2, 3)), k.layers.Dense(3, activation="softmax")])

    labels = np.stack([Y, Y[::-1]], axis=1)
    y = {"labels": labels, "labels in a column": labels[..., None], "one-hot": HOT[labels]}[targets]
    factors = {0: 0.3, 2: 4.0}
    product = np.select([labels == 0, labels == 2], [0.3, 4.0], 1.0).astype(np.float32)
    if weighted:
        product *= WEIGHT[:, None]
    batches = (X, y, WEIGHT) if weighted else (X, y)
    compile = {"loss": "categorical_crossentropy" if targets == "one-hot" else "sparse_categorical_crossentropy"}
    case = Case(x=lambda k: forever(*batches), class_weight=factors, steps_per_epoch=7, compile=compile, **OTHERS)
    expected = Case(y=y, sample_weight=product, compile=compile)
    ours, theirs = twins(build)
    assert_same_run(ours, theirs, case.run(minicnn, ours), expected.run(keras, theirs))


def test_an_output_that_is_read_twice_keeps_its_activation():
    """A loss that computes softmax by itself must not take it away from the other loss, nor from the metrics."""
    minicnn.set_random_seed(3)
    x = minicnn.Input((6,))
    scores = minicnn.layers.Dense(3)(x)
    for probabilities in (minicnn.layers.Dense(3, activation="softmax")(x), minicnn.layers.Softmax()(scores)):
        model = minicnn.Model(x, [probabilities, probabilities])
        p = model.predict(X, verbose=0)[0].astype(np.float64)
        entropy, error = -np.log(p[np.arange(SAMPLES), Y]), ((p - HOT[Y]) ** 2).mean(axis=1)
        for losses, y, expected in (
            (["sparse_categorical_crossentropy", "mse"], [Y, HOT[Y]], entropy + error),
            (["sparse_categorical_crossentropy", "categorical_crossentropy"], [Y, HOT[Y]], 2 * entropy),
        ):
            model.compile(minicnn.optimizers.SGD(0.0), losses)
            history = model.fit(X, y, batch_size=BATCH, verbose=0).history
            np.testing.assert_allclose(history["loss"], [expected.mean()], rtol=1e-5)
            np.testing.assert_allclose(model.evaluate(X, y, verbose=0, return_dict=True)["loss"], expected.mean(), rtol=1e-5)


def test_an_output_that_is_listed_twice_counts_twice():
    ours, _ = twins()
    twice = minicnn.Model(ours.input, [ours.output, ours.output])
    before, found = ours.get_weights(), []
    for model, y, factors in ((ours, Y, [3.0]), (twice, [Y, Y], [1.0, 2.0])):
        model.set_weights(before)
        model.compile(minicnn.optimizers.SGD(0.1), "sparse_categorical_crossentropy", loss_weights=factors)
        model.fit(X, y, batch_size=BATCH, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_added_twice_counts_twice():
    found = []
    for factor, times in ((2.0, 1), (1.0, 2)):
        ours, _ = twins()
        loss = factor * minicnn.ops.mean(minicnn.ops.square(ours.layers[0].output))
        for _ in range(times):
            ours.add_loss(loss)
        ours.compile(minicnn.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        history = ours.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0).history
        found.append([history["loss"], *ours.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_is_trained_may_change_between_any_two_steps():
    """Also where as many weights are trained afterwards, and without another `compile`."""
    minicnn.set_random_seed(3)
    model = minicnn.Sequential([minicnn.Input((6,)), *(minicnn.layers.Dense(6) for _ in range(3))])
    model.compile(minicnn.optimizers.SGD(0.1), "mse")
    model.fit(X, X, verbose=0)
    for trained in ([0], [1], [2], [0, 2], [1, 2]):
        for index, layer in enumerate(model.layers):
            layer.trainable = index in trained
        before = [layer.get_weights() for layer in model.layers]
        model.fit(X, X, verbose=0)
        changed = [
            any((one != other).any() for one, other in zip(layer.get_weights(), weights))
            for layer, weights in zip(model.layers, before)
        ]
        assert [index for index, did in enumerate(changed) if did] == trained


def test_evaluate_lists_its_numbers_in_keras_s_order():
    minicnn.set_random_seed(3)
    for case in (
        Case(compile={"metrics": ["sparse_categorical_crossentropy", "accuracy"], "weighted_metrics": ["acc"]}),
        CASES["two outputs, metrics of one name"],
    ):
        ours, theirs = twins(case.build)
        lists = []
        for k, model in ((minicnn, ours), (keras, theirs)):
            model.compile(**{name: made_for(k, value) for name, value in case.compile.items()})
            lists.append(model.evaluate(X, case.arguments["y"], batch_size=BATCH, verbose=0))
        np.testing.assert_allclose(*lists, rtol=2e-5)


def test_half_floats_whose_sum_overflows_are_data_like_others():
    x = np.full((300, 6), 1000, np.float16)
    assert x.sum(dtype=np.float64) > np.finfo(np.float16).max
    model = network(minicnn)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(x, np.zeros(300), verbose=0).history["loss"]).all()
    x[7, 2] = np.inf
    with pytest.raises(ValueError, match=r"must be finite. Received inf in sample 7, at position \(2,\)"):
        model.fit(x, np.zeros(300), verbose=0)


# --- where a source of batches stands -------------------------------------------------


def sources():
    arguments = {"names": (["x"], ["y"], []), "seed": 5, "steps": None, "batch_size": None}
    names = {
        "arrays": {"x": X, "y": Y, "batch_size": BATCH, "shuffle": True},
        "arrays with steps": {"x": X, "y": Y, "batch_size": BATCH, "shuffle": True, "steps": 3},
        "Dataset": {"x": lambda: minicnn.data.Dataset.from_tensor_slices((X, Y)).shuffle(20, seed=3).batch(BATCH)},
        "Dataset with steps": {
            "x": lambda: minicnn.data.Dataset.from_tensor_slices((X, Y)).shuffle(20, seed=3).repeat().batch(BATCH),
            "steps": 3,
        },
        "generator": {"x": lambda: forever(X, Y), "steps": 3},
        "sequence": {"x": sequence(minicnn, X, Y), "shuffle": True},
        "sequence with steps": {"x": sequence(minicnn, X, Y), "shuffle": True, "steps": 3},
    }
    return {name: {"y": None, "shuffle": False, **arguments, **given} for name, given in names.items()}


@pytest.mark.parametrize("name", sources())
@pytest.mark.filterwarnings("ignore:Your input ran out of data", "ignore:Batches has an `on_epoch_end`")
def test_a_source_goes_on_where_another_stood(name):
    """From any batch of three epochs on: by its state and the batch of the epoch."""

    def fresh(state=None):
        given = sources()[name]
        x, y = given.pop("x"), given.pop("y")
        source = make_batches((x() if callable(x) else x, y, None), **given)
        source.resume(0)
        if state is not None:
            source.set_state(state)
        return source

    def rest(source, epoch, done=0):
        rows = []
        for _epoch in range(epoch, 3):
            rows.append([y.tolist() for _, (y,), _ in source.epoch(done)])
            done = 0
        return rows

    whole, places, source = [], [], fresh()
    for epoch in range(3):
        whole.append([])
        places.append((epoch, 0, source.get_state()))
        for done, (_, (y,), _) in enumerate(source.epoch(), 1):
            whole[-1].append(y.tolist())
            places.append((epoch, done, source.get_state()))
    for epoch, done, state in places:
        expected = [whole[epoch][done:], *whole[epoch + 1 :]]
        assert rest(fresh(state), epoch, done) == expected, (epoch, done)
