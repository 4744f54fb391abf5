"""What is refused, and in which words: the checks that no other test runs into. A check that is lost lets nonsense through."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minicnn import callbacks, layers, losses, metrics, optimizers
from minicnn.data import Dataset, experimental, image_dataset_from_directory
from minicnn.data.resize import resize
from minicnn.layers import Dense, Input
from minicnn.models import Model, Sequential
from minicnn.optimizers import schedules

X, Y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")


def compiled(loss: Any = "mse") -> Sequential:
    model = Sequential([Input((3,)), Dense(2)])
    model.compile("sgd", loss)
    return model


def two_inputs() -> Model:
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model([a, b], [Dense(2, name="one")(a), Dense(2, name="two")(b)])
    model.compile("sgd", "mse")
    return model


def hook(callback: Any, name: str, *arguments: Any, **model: Any) -> None:
    callback.set_model(SimpleNamespace(**model))
    getattr(callback, name)(*arguments)


def read(data: Dataset) -> list[Any]:
    return list(data)


class Pair(layers.Layer):
    def call(self, x: Any) -> Any:
        return x, x


class OneWeightMore(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return np.mean(y_pred, axis=-1)

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred[:, :1]


SAME = Input((3,), name="same")
REFUSED = {
    # models: how they are made
    "an unknown argument": (
        lambda: Model(SAME, Dense(1)(SAME), speed=3),
        ValueError,
        "Unrecognized keyword arguments passed to",
    ),
    "one tensor twice": (lambda: Model([SAME, SAME], Dense(1)(SAME)), ValueError, "`inputs` holds the same tensor twice"),
    "no output": (lambda: Model(SAME, []), ValueError, "`outputs` is empty"),
    "two layers of a name": (
        lambda: Model(SAME, Dense(1, name="d")(Dense(2, name="d")(SAME))),
        ValueError,
        'The name "d" is used 2 times in the model. All layer names should be unique.',
    ),
    "an input that is not first": (
        lambda: Sequential([Dense(1), Input((3,))]),
        ValueError,
        "an Input can only be added first",
    ),
    "two inputs in a row": (
        lambda: Sequential([Input((3,)), layers.InputLayer((4,))]),
        ValueError,
        "has already been configured to use input shape (None, 3)",
    ),
    "a name that is taken": (
        lambda: Sequential([Dense(1, name="d"), Dense(1, name="d")]),
        ValueError,
        "All layers added to a Sequential model should have unique names. Name 'd'",
    ),
    "two outputs in a row": (
        lambda: Sequential([Input((3,)), Pair()]),
        ValueError,
        "All layers in a Sequential model should have a single output tensor",
    ),
    "building nothing": (lambda: Sequential().build((None, 3)), ValueError, "cannot be built because it has no layers"),
    "building for no shape": (lambda: Sequential([Dense(1)]).build(), ValueError, "`build` needs an `input_shape`"),
    "calling nothing": (lambda: Sequential()(X), ValueError, "cannot be called because it has no layers"),
    "popping nothing": (lambda: Sequential().pop(), ValueError, "There are no layers in the model"),
    "layers that are set": (
        lambda: setattr(compiled(), "layers", []),
        AttributeError,
        "`Sequential.layers` attribute is reserved",
    ),
    "layers of a graph that are set": (
        lambda: setattr(two_inputs(), "layers", []),
        AttributeError,
        "`Model.layers` attribute is reserved",
    ),
    "half a config": (lambda: Sequential.from_config({"name": "m"}), ValueError, "must be a dictionary containing the 'name'"),
    "a layer by name and number": (
        lambda: compiled().get_layer("dense", 0),
        ValueError,
        "Provide only a layer name or a layer index. Received: index=0, name=dense",
    ),
    "a layer by nothing": (lambda: compiled().get_layer(), ValueError, "Provide either a layer name or layer index"),
    "a mask": (lambda: compiled()(X, mask=X), ValueError, "takes no mask"),
    # what they are given
    "too few arrays": (
        lambda: two_inputs().predict([X], verbose=0),
        ValueError,
        "The model has 2 inputs ['a', 'b'], but received 1",
    ),
    "an array for two inputs": (lambda: two_inputs().predict(X, verbose=0), ValueError, "but received 1 array(s)"),
    "None among arrays": (lambda: two_inputs().predict([X, None], verbose=0), ValueError, "No data for input 'b'"),
    "a scalar": (lambda: compiled().predict_on_batch(np.float32(3)), ValueError, "Data for input"),
    "no data at all": (lambda: compiled().fit(3, Y, verbose=0), ValueError, "Unrecognized data type: x=3"),
    "a generator for one batch": (
        lambda: compiled().train_on_batch(iter([(X, Y)])),
        ValueError,
        "Expected the arrays of one batch",
    ),
    "no batches to predict": (
        lambda: compiled().predict(iter([]), verbose=0),
        ValueError,
        "Expected data with at least one batch",
    ),
    "no batches to evaluate": (
        lambda: compiled().evaluate(iter([]), verbose=0),
        ValueError,
        "Expected data with at least one batch",
    ),
    "two weights for a batch": (
        lambda: compiled().train_on_batch(X, Y, sample_weight=X[:, 0], class_weight={0: 1.0}),
        ValueError,
        "Arguments `sample_weight` and `class_weight` cannot be specified at the same time",
    ),
    "weights of classes for two outputs": (
        lambda: two_inputs().fit([X, X], [Y, Y], class_weight={0: 2.0}, verbose=0),
        ValueError,
        "`class_weight` is only supported for Models with a single output",
    ),
    "a split of a generator": (
        lambda: compiled().fit(iter([(X, Y)]), validation_split=0.5, verbose=0),
        ValueError,
        "`validation_split` is only supported for tensors or NumPy arrays",
    ),
    "metrics for fewer outputs": (
        lambda: two_inputs().compile("sgd", "mse", metrics=["mae", "mse", "mae"]),
        ValueError,
        "For a model with multiple outputs, when providing the `metrics` argument as a list",
    ),
    "rows that are no layers": (
        lambda: compiled().summary(layer_range=["first", "last"]),
        ValueError,
        "layer_range=['first', 'last'] does not match any layer",
    ),
    # callbacks
    "a backup of what is not built": (
        lambda: hook(callbacks.BackupAndRestore("x"), "on_train_begin", built=False),
        ValueError,
        "your model must be built before you call `fit()`",
    ),
    "an unknown argument of a plateau": (
        lambda: callbacks.ReduceLROnPlateau(speed=3),
        TypeError,
        "Unrecognized keyword arguments passed to ReduceLROnPlateau: {'speed': 3}",
    ),
    "a rate that no optimizer has": (
        lambda: hook(callbacks.LearningRateScheduler(lambda epoch: 0.1), "on_epoch_begin", 0, optimizer=object()),
        ValueError,
        'Optimizer must have a "learning_rate" attribute',
    ),
    "states of other callbacks": (
        lambda: callbacks.CallbackList([callbacks.EarlyStopping()]).set_state({"ReduceLROnPlateau": {}}),
        ValueError,
        "other callbacks than it began with. Expected: ['ReduceLROnPlateau'], received: ['EarlyStopping']",
    ),
    # data
    "a shard that is not there": (lambda: Dataset.range(4).shard(2, 2), ValueError, "`index` must be in [0, num_shards)"),
    "more elements than said": (
        lambda: read(Dataset.range(4).with_cardinality(3)),
        ValueError,
        "Expected 3 elements, received more",
    ),
    "fewer elements than said": (
        lambda: read(Dataset.range(2).apply(experimental.assert_cardinality(3))),
        ValueError,
        "Expected 3 elements, received 2",
    ),
    "one element of two": (lambda: Dataset.range(2).get_single_element(), ValueError, "more than one element"),
    "one element of none": (lambda: Dataset.range(0).get_single_element(), ValueError, "no element"),
    "an unknown argument of pictures": (
        lambda: image_dataset_from_directory(".", speed=3),
        TypeError,
        "Unknown keywords argument(s): ('speed',)",
    ),
    "an unknown interpolation": (
        lambda: resize(np.zeros((2, 2, 1)), (3, 3), "magic"),
        ValueError,
        "Argument `interpolation` should be one of",
    ),
    # losses, metrics, optimizers
    "a gradient of another shape": (
        lambda: OneWeightMore().backward(OneWeightMore().forward(Y, Y, None)[1]),
        ValueError,
        "must return the shape of y_pred, (4, 2). Received: (4, 1)",
    ),
    "weights of another length in a graph": (
        lambda: losses.MeanSquaredError()(Input((2,)), Input((2,)), sample_weight=Y[:, 0]),
        ValueError,
        "Op 'multiply' cannot be applied to inputs of the shapes",
    ),
    "an area of labels without columns": (
        lambda: metrics.AUC(multi_label=True).update_state(Y[:, 0], Y[:, 0]),
        ValueError,
        "`y_pred` must have rank 2 when `multi_label=True`",
    ),
    "targets of another shape": (
        lambda: metrics.Precision().update_state(Y, Y[:3]),
        ValueError,
        "does not fit predictions of shape",
    ),
    "a metric without a result": (lambda: metrics.Metric().result(), NotImplementedError, "must implement `result()`"),
    "a schedule without a rate": (lambda: schedules.LearningRateSchedule()(3), NotImplementedError, "__call__"),
    "a slot of another shape": (
        lambda: (lambda one: (one.build([]), one.set_weights([np.zeros(3), 0.1])))(optimizers.SGD()),
        ValueError,
        "Optimizer variable",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_is_refused(name: str) -> None:
    act, error, message = REFUSED[name]
    with pytest.raises(error, match=re.escape(message)):
        act()
