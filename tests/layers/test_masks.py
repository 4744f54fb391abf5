"""Layers that look at masks against Keras's: values, gradients, masks handed on, statistics, files, training."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn import layers
from minicnn.saving import load_model

N, T, C = 5, 4, 3
RNG = np.random.default_rng(7)
HERE = RNG.random((3, N, T)) < 0.6
HERE[:, :, 0] = True  # of each sequence something counts
HERE[2, 1] = False  # but for one
X = RNG.normal(size=(3, N, T, C)).astype("float32")
STEPS = X * HERE[..., None]

# What a layer makes of one masked sequence; each in training and out of it.
ONE: dict[str, Any] = {
    "batch": lambda layers: layers.BatchNormalization(momentum=0.7),
    "batch, plain": lambda layers: layers.BatchNormalization(center=False, scale=False, epsilon=0.1),
    "batch, of steps": lambda layers: layers.BatchNormalization(axis=1, momentum=0.7),
    "batch, frozen": lambda layers: layers.BatchNormalization(trainable=False),
    "batch, renormalized": lambda layers: layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1.1, "dmax": 0.2}),
    "pooling": lambda layers: layers.GlobalAveragePooling1D(),
    "pooling, kept": lambda layers: layers.GlobalAveragePooling1D(keepdims=True),
    "lambda": lambda layers: layers.Lambda(lambda x, mask: x * 3, mask=lambda x, mask: mask),
}
# Of several sequences: which of them have a mask, and what is called on them.
SEVERAL: dict[str, Any] = {
    f"{kind}, {masked}": (masked, lambda module, x, kind=kind: getattr(module.layers, kind)()(x))
    for kind, masked in itertools.product(("Multiply", "Maximum", "Minimum", "Add"), ("111", "110", "011", "101", "010"))
}
for masked, given, arguments in (
    ("111", 3, {}),
    ("10", 2, {}),
    ("01", 2, {"use_causal_mask": True}),
    ("010", 3, {"attention_mask": RNG.random((1, T, T)) < 0.7}),
    ("001", 3, {"use_causal_mask": True, "attention_mask": RNG.random((1, T, T)) < 0.7}),
):
    SEVERAL[f"attention, {masked}, {' '.join(arguments)}"] = (
        masked,
        lambda module, x, given=given, arguments=arguments: module.layers.MultiHeadAttention(2, 3)(*x[:given], **arguments),
    )


def model_of(module: Any, kind: str) -> Any:
    """A graph of masked inputs, whose outputs are the result and (as numbers) its mask."""
    masked, make = ("1", lambda module, x: ONE[kind](module.layers)(x[0])) if kind in ONE else SEVERAL[kind]
    inputs = [module.Input((T, C)) for _ in masked]
    x = [module.layers.Masking()(one) if has == "1" else one for one, has in zip(inputs, masked, strict=True)]
    y = make(module, x)
    mask = getattr(y, "_keras_mask", None)
    made = y if mask is None else [y, module.ops.cast(mask, "float32")]
    return module.Model(inputs, made)


@pytest.mark.filterwarnings("ignore:.*destroy the mask:UserWarning")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [*ONE, *SEVERAL])
def test_layers_look_at_masks_as_keras_s(kind: str, training: bool) -> None:
    """The result, its mask, all gradients, and the weights after it, in a graph."""
    there, here = model_of(keras, kind), model_of(minicnn, kind)
    here.set_weights([np.asarray(w) + 0.25 for w in there.get_weights()])
    there.set_weights(here.get_weights())
    arrays = list(STEPS[: len(here.inputs)])
    found, gradients = [], []
    for module, model, tape in ((minicnn, here, minicnn.GradientTape()), (keras, there, tf.GradientTape())):
        x = [module.ops.convert_to_tensor(one) for one in arrays]
        with tape:
            tape.watch(x)
            y = model(x, training=training)
            y, *masks = y if isinstance(y, list) else [y]
            loss = module.ops.sum(y * np.cos(np.arange(y.shape[-1], dtype="float32")) * y)
        sources = [*x, *(w if module is minicnn else w.value for w in model.trainable_weights)]
        found.append([y, *masks, *model.get_weights()])
        gradients.append(tape.gradient(loss, sources))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_arrays_with_masks() -> None:
    """Without a graph: results and masks; a mask that is said; steps that nobody counts."""
    batch, pooling = (np.array(HERE[0]), np.array(HERE[2]))
    found = []
    for module in (minicnn, keras):
        there, x = module.layers, module.layers.Masking()(STEPS[0])
        with np.errstate(invalid="ignore"):  # 0 / 0
            empty = module.layers.GlobalAveragePooling1D()(X[0], mask=module.ops.convert_to_tensor(pooling))
        normalized = there.BatchNormalization()(X[0], mask=module.ops.convert_to_tensor(batch), training=True)
        softmax = there.Softmax(axis=[1, 2])(X[0], mask=module.ops.convert_to_tensor(X[0] > 0.9))
        softmax_of_floats = there.Softmax(axis=1)(X[0], mask=module.ops.convert_to_tensor(np.abs(X[0, :1])))
        lambdas = there.Lambda(lambda x, mask=None: x * 2, mask=batch)(X[0])
        attention = there.MultiHeadAttention(2, 3, kernel_initializer="ones")
        attended = attention(X[0], X[1], value_mask=module.ops.convert_to_tensor(batch), use_causal_mask=True)
        scored, scores = attention(x, module.layers.Masking()(STEPS[1]), return_attention_scores=True)
        tensors = [empty, normalized, softmax, softmax_of_floats, lambdas, lambdas._keras_mask, attended, scored, scores]
        found.append([np.asarray(one) for one in [*tensors, scored._keras_mask]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def network(module: Any) -> Any:
    """Words, some of them missing, and a mask that is an input of its own."""
    layers = module.layers
    words, seen = layers.Input((T,), name="words"), layers.Input((T,), dtype="bool", name="seen")
    x = layers.Embedding(6, C, mask_zero=True)(words)
    normalized = layers.BatchNormalization(momentum=0.8)(x)
    attended = layers.MultiHeadAttention(2, 3)(normalized, x, use_causal_mask=True)
    # Of other words: a Keras attention takes the masks from the very tensors that it is called on.
    others = [layers.Embedding(6, C, mask_zero=True)(words) for _ in range(2)]
    both = layers.Maximum()([layers.Multiply()([attended, others[0]]), layers.Minimum()([attended, others[1]])])
    other = layers.BatchNormalization()(layers.Dense(C)(both), mask=seen)
    pooled = layers.GlobalAveragePooling1D()(other)
    chosen = layers.Softmax()(layers.Flatten()(layers.Dense(1)(layers.Reshape((T, C))(x))), mask=seen)
    return module.Model([words, seen], layers.Dense(2)(layers.Concatenate()([pooled, layers.Flatten()(chosen)])))


WORDS = np.where(HERE[0], RNG.integers(1, 6, (N, T)), 0).astype("float32")
GIVEN = [WORDS, HERE[1]]
TARGETS = RNG.normal(size=(N, 2)).astype("float32")


@pytest.mark.filterwarnings("ignore:.*destroy the mask:UserWarning")
def test_a_network_with_masks_trains_as_keras_s() -> None:
    """Eight steps from Keras's weights, and one with frozen statistics."""
    here, there = network(minicnn), network(keras)
    here.set_weights(there.get_weights())
    for steps in (8, 1):
        losses = []
        for module, model in ((minicnn, here), (keras, there)):
            model.compile(module.optimizers.SGD(0.05), "mse", run_eagerly=True)
            losses.append([float(model.train_on_batch(GIVEN, TARGETS)) for _ in range(steps)])
        np.testing.assert_allclose(*losses, rtol=1e-4)
        for one, other in zip(here.weights, there.weights, strict=True):
            np.testing.assert_allclose(one, np.asarray(other), atol=1e-4, err_msg=one.path)
        for model in (here, there):
            next(layer for layer in model.layers if "batch" in layer.name).trainable = False


@pytest.mark.filterwarnings("ignore:.*destroy the mask:UserWarning")
def test_files_of_networks_with_masks_travel_both_ways(tmp_path: Path) -> None:
    here, there = network(minicnn), network(keras)
    expected = here.predict(GIVEN, verbose=0)
    here.save(tmp_path / "ours.keras")
    there.save(tmp_path / "theirs.keras")
    for model in (
        keras.models.load_model(tmp_path / "ours.keras"),
        load_model(tmp_path / "ours.keras"),
        load_model(tmp_path / "theirs.keras"),
        minicnn.models.clone_model(here),
    ):
        model.set_weights(here.get_weights())
        np.testing.assert_allclose(model.predict(GIVEN, verbose=0), expected, atol=1e-5)
        assert len(model.layers) == len(here.layers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.BatchNormalization()(X[0], mask=HERE[0, :, 0]), r"one dimension less .*mask.shape=\(5,\)"),
        (lambda: layers.Softmax()(X[0], mask=HERE[0]), r"must be broadcastable .*mask.shape=\(5, 4\)"),
        (lambda: layers.GlobalAveragePooling2D()(X, mask=HERE), "takes no mask"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- masked outputs in the loss and the metrics -------------------------------------------


def tagger(module: Any) -> Any:
    """Two outputs with masks, one of classes, and one without."""
    layers = module.layers
    words, steps = layers.Input((T,), name="words"), layers.Input((T, C), name="steps")
    x = layers.LSTM(4, return_sequences=True)(layers.Embedding(6, C, mask_zero=True)(words))
    tags = layers.Dense(3, activation="softmax", name="tags")(x)
    y = layers.GRU(4, return_sequences=True)(layers.Masking()(steps))
    return module.Model([words, steps], [tags, layers.Add(name="rest")([x, y]), layers.GRU(2, name="last")(y)])


def test_masked_outputs_train_as_keras_s() -> None:
    """Eight steps from Keras's weights, the last in `fit`, and an evaluation: losses, metrics, weights."""
    here, there = tagger(minicnn), tagger(keras)
    here.set_weights(there.get_weights())
    x = [WORDS, STEPS[1]]
    y = [RNG.integers(0, 3, (N, T)), RNG.normal(size=(N, T, 4)).astype("float32"), TARGETS]
    results = []
    for module, model in ((minicnn, here), (keras, there)):
        model.compile(
            module.optimizers.SGD(0.1),
            ["sparse_categorical_crossentropy", "mse", "mae"],
            loss_weights=[1.0, 0.5, 2.0],
            metrics=[["accuracy", "sparse_categorical_crossentropy"], ["mae", module.metrics.RootMeanSquaredError()], ["mse"]],
            run_eagerly=True,
        )
        for _ in range(7):
            model.train_on_batch(x, y)
        history = model.fit(x, y, batch_size=N, verbose=0).history
        results.append((history, model.evaluate(x, y, verbose=0, return_dict=True)))
    for found, expected in zip(*results, strict=True):
        assert found.keys() == expected.keys()
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=name)
    for one, other in zip(here.weights, there.weights, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), atol=1e-5, err_msg=one.path)


class Within:
    """A model of one masked output, in a `call` of its own."""

    def __new__(cls, module: Any) -> Any:
        class Model(module.Model):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.masking, self.run = module.layers.Masking(), module.layers.GRU(3, return_sequences=True)
                self.classes = module.layers.Dense(3, activation="softmax")

            def call(self, x: Any) -> Any:
                return self.classes(self.run(self.masking(x)))

        return Model()


LABELS = RNG.integers(0, 3, (N, T))
LOSSES: dict[str, Any] = {
    "mean": lambda losses: losses.SparseCategoricalCrossentropy(),
    "sum": lambda losses: losses.SparseCategoricalCrossentropy(reduction="sum"),
    "of the weights": lambda losses: losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight"),
    "ignoring": lambda losses: losses.SparseCategoricalCrossentropy(ignore_class=1),
    "own": lambda losses: lambda y_true, y_pred: (y_pred[..., 0] - 0.25) ** 2,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_reductions_of_masked_losses(kind: str, weighted: bool) -> None:
    """Two steps of a model that is a `call`, whose second batch counts nothing."""
    models, results = [], []
    weights = np.arange(N * T, dtype="float32").reshape(N, T) / 8 if weighted else None
    for module in (minicnn, keras):
        model = Within(module)
        model.compile(
            module.optimizers.SGD(0.1),
            LOSSES[kind](module.losses),
            weighted_metrics=["accuracy"],
            run_eagerly=True,
        )
        model(STEPS[2])
        if models:
            models[0].set_weights(model.get_weights())
        models.append(model)
    for model in models:
        results.append([model.train_on_batch(x, LABELS, sample_weight=weights) for x in (STEPS[2], 0 * STEPS[2])])
    np.testing.assert_allclose(*results, rtol=2e-5)
    for one, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_allclose(one, np.asarray(other), atol=1e-5, err_msg=one.path)


def test_masks_that_no_loss_can_read() -> None:
    class Own(minicnn.Model):
        def train_step(self, data: Any) -> Any:
            return {}

    x = layers.Input((T, C))
    y = layers.LSTM(2, return_sequences=True)(layers.Masking()(x))
    model = Own(x, y)
    model.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match=r"has an output with a mask, .* and steps of its own"):
        model.fit(STEPS[0], STEPS[0][..., :2], verbose=0)
    behind = minicnn.Model(y, layers.Dense(2)(y))  # which begins where the mask is made already
    behind.compile("sgd", "mse")
    np.testing.assert_array_equal(np.isfinite(behind.train_on_batch(STEPS[0][..., :2], STEPS[0][..., :2])), True)
    flat = minicnn.Model(x, layers.Lambda(lambda x: x[:, 0], mask=lambda x, mask: mask)(layers.Masking()(x)))
    flat.compile("sgd", "mse")
    with pytest.raises(
        ValueError, match=r"the mask of the predictions, of shape \(5, 4\), does not fit losses of shape \(5,\)"
    ):
        flat.evaluate(STEPS[0], STEPS[0][:, 0], verbose=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda layers: layers.EinsumDense("abc,cd->ad", 2, activity_regularizer="l2", kernel_initializer="ones"),
        lambda layers: layers.GlobalAveragePooling1D(activity_regularizer="l1"),
    ],
    ids=["a call", "of a mask"],
)
@pytest.mark.filterwarnings("ignore:.*destroy the mask:UserWarning")
def test_what_runs_as_a_call_is_penalized_in_a_model(make: Any) -> None:
    found = []
    for module in (minicnn, keras):
        x = module.Input((T, C))
        model = module.Model(x, make(module.layers)(module.layers.Masking()(x)))
        model.compile("sgd", "mse", run_eagerly=True)
        found.append(model.evaluate(STEPS[0], model.predict(STEPS[0], verbose=0), verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert found[0] > 0
