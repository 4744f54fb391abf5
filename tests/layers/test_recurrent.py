"""Recurrent layers against Keras's: states, masks and all gradients; cells of one's own; wrappers; files; training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backends, layers, ops
from minicnn.saving import load_model
from tests.drawn import drawn_cases
from tests.layers.checks import check_configs, pair_of
from tests.ops.checks import Target, seeds

few_cases = drawn_cases(4)
KINDS: dict[str, dict[str, Any]] = {
    "SimpleRNN": {},
    "GRU": {},
    "GRU before": {"reset_after": False},
    "LSTM": {"recurrent_activation": "hard_sigmoid"},
    "ConvLSTM2D": {"kernel_size": 3, "padding": "same"},
    "ConvLSTM1D": {"kernel_size": 2},
    "ConvLSTM3D": {"kernel_size": (1, 2, 2)},
}


def nested(value: Any) -> list[Any]:
    """As a flat list."""
    return [one for part in value for one in nested(part)] if isinstance(value, (list, tuple)) else [value]


def check_call(pair: tuple[Any, Any], target: Target, x: np.ndarray, states: Any, mask: Any, seed: int) -> None:
    """Outputs, states, and every gradient of a random sum of all of them."""
    ours, theirs = pair
    named_here = {} if states is None else {"initial_state": [ops.convert_to_tensor(one) for one in states]}
    named_there = {} if states is None else {"initial_state": [tf.constant(one) for one in states]}
    given_here = [ops.convert_to_tensor(x), *named_here.get("initial_state", [])]
    given_there = [tf.constant(x), *named_there.get("initial_state", [])]
    masks = ({}, {}) if mask is None else ({"mask": mask}, {"mask": tf.constant(mask)})
    theirs(given_there[0], **named_there, **masks[1])
    ours(given_here[0], **named_here, **masks[0])
    weights = [target.normal(seed + i, *weight.shape) for i, weight in enumerate(theirs.weights)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    with tf.GradientTape() as tape_there:
        tape_there.watch(given_there)
        expected = nested(theirs(given_there[0], **named_there, **masks[1]))
        dys = [target.normal(seed + 40 + i, *one.shape) for i, one in enumerate(expected)]
        total = sum(tf.reduce_sum(one * dy) for one, dy in zip(expected, dys))
    wanted = tape_there.gradient(total, [*given_there, *(weight.value for weight in theirs.trainable_weights)])
    with minicnn.GradientTape() as tape_here:
        tape_here.watch(given_here)
        found = nested(ours(given_here[0], **named_here, **masks[0]))
        total_here = sum(ops.sum(one * dy) for one, dy in zip(found, dys))
    gradients = tape_here.gradient(total_here, [*given_here, *ours.trainable_weights])
    for one, other in zip(found, expected, strict=True):
        target.check(np.ascontiguousarray(one), other)
    for one, other in zip(gradients, wanted, strict=True):
        target.check(np.ascontiguousarray(one), tf.convert_to_tensor(other), scale=1.0)


@pytest.mark.parametrize("kind", KINDS)
@few_cases
@given(data=st.data(), seed=seeds)
def test_states_masks_and_gradients_equal_keras_s(target: Target, kind: str, data: Any, seed: int) -> None:
    N, T, U = (data.draw(st.integers(1, 3)) for _ in range(3))
    flags = {name: data.draw(st.booleans()) for name in ("return_sequences", "return_state", "go_backwards")}
    masked, given_states = data.draw(st.booleans()), data.draw(st.booleans())
    flags["zero_output_for_mask"] = masked and data.draw(st.booleans())
    name = kind.split()[0]
    rest = {"ConvLSTM2D": (3, 2, 2), "ConvLSTM1D": (4, 2), "ConvLSTM3D": (2, 3, 2, 2)}.get(name, (2,))
    size = {"filters": U} if name.startswith("Conv") else {"units": U}
    pair = pair_of(name, target, **size, **KINDS[kind], **flags)
    x = target.normal(seed, N, T, *rest)
    # The first step of the first sample is masked: it has no output before.
    mask = np.random.default_rng(seed).random((N, T)) < 0.6 if masked else None
    shape = {"ConvLSTM2D": (N, 3, 2, U), "ConvLSTM1D": (N, 3, U), "ConvLSTM3D": (N, 2, 2, 1, U)}.get(name, (N, U))
    count = 2 if "LSTM" in name else 1
    states = [target.normal(seed + 7 + i, *shape) for i in range(count)] if given_states else None
    check_call(pair, target, x, states, mask, seed)


BIDIRECTIONAL: list[tuple[Any, dict[str, Any]]] = [
    (("LSTM", {"units": 2}), {}),
    (("LSTM", {"units": 2, "return_sequences": True, "return_state": True}), {"merge_mode": None}),
    (("GRU", {"units": 2, "return_sequences": True}), {"merge_mode": "mul"}),
    (("SimpleRNN", {"units": 3, "return_state": True}), {"merge_mode": "sum"}),
    (("ConvLSTM1D", {"filters": 2, "kernel_size": 2, "return_sequences": True}), {"merge_mode": "ave"}),
]


def both(module: Any, kind: tuple[str, dict[str, Any]], target: Target) -> Any:
    return getattr(module, kind[0])(**kind[1], dtype=target.dtype, name="inner")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("kind", "arguments"), BIDIRECTIONAL)
def test_bidirectional(target: Target, kind: Any, arguments: dict[str, Any], masked: bool) -> None:
    pair = tuple(
        module.Bidirectional(both(module, kind, target), name="b", dtype=target.dtype, **arguments)
        for module in (layers, keras.layers)
    )
    x = target.normal(3, 2, 3, *((4, 2) if kind[0].startswith("Conv") else (2,)))
    mask = np.array([[False, True, True], [True, False, True]]) if masked else None
    shapes = [tuple(shape) for shape in nested_shapes(pair[1].compute_output_shape(x.shape))]
    assert [tuple(shape) for shape in nested_shapes(pair[0].compute_output_shape(x.shape))] == shapes
    states = None
    if kind[0] == "LSTM" and kind[1].get("return_state"):
        states = [target.normal(20 + i, 2, 2) for i in range(4)]
    check_call(pair, target, x, states, mask, 5)  # type: ignore[arg-type]
    assert [w.path.split("/", 1)[1] for w in pair[0].weights] == [w.path.split("/", 1)[1] for w in pair[1].weights]
    for one, other in ((layers, pair[1]), (keras.layers, pair[0])):
        again = one.deserialize(json.loads(json.dumps((keras.layers if one is layers else layers).serialize(other))))
        assert again.backward_layer.go_backwards
        assert again.merge_mode == pair[0].merge_mode
        assert again.forward_layer.name == pair[0].forward_layer.name


def nested_shapes(shape: Any) -> list[Any]:
    return [shape] if not shape or not isinstance(shape[0], (list, tuple)) else list(shape)


def test_a_backward_layer_of_one_s_own(target: Target) -> None:
    pair = tuple(
        module.Bidirectional(
            module.LSTM(2, return_sequences=True, dtype=target.dtype),
            backward_layer=module.GRU(3, return_sequences=True, go_backwards=True, dtype=target.dtype),
            dtype=target.dtype,
        )
        for module in (layers, keras.layers)
    )
    check_call(pair, target, target.normal(0, 2, 3, 2), None, None, 5)  # type: ignore[arg-type]


class Sums(layers.Layer):
    """A cell whose one state, of two axes, is the sum of the steps so far: as Keras 2 wrote it."""

    state_size = minicnn.TensorShape([2, 3])

    def call(self, inputs: Any, states: Any) -> Any:
        total = inputs + states[0]
        return total, [total]


@pytest.mark.parametrize("several", [False, True])
def test_a_state_of_several_axes(several: bool) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 2, 3)).astype(np.float32)
    layer = layers.RNN([Sums(), Sums()] if several else Sums(), return_sequences=True, return_state=True)
    inputs = minicnn.Input((5, 2, 3))
    y, *states = minicnn.Model(inputs, layer(inputs))(x)
    expected = x.cumsum(1).cumsum(1) if several else x.cumsum(1)
    assert tuple(layer(inputs)[0].shape) == (None, 5, 2, 3)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    np.testing.assert_allclose(states[-1], expected[:, -1], rtol=1e-5)
    np.testing.assert_allclose(layer(x)[0], expected, rtol=1e-5)


class Minimal:
    """A cell of one's own, of either library."""

    @staticmethod
    def of(module: Any) -> Any:
        class MinimalRNNCell(module.layers.Layer):
            def __init__(self, units: int, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.units, self.state_size, self.output_size = units, units, units

            def build(self, input_shape: Any) -> None:
                self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
                self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), name="recurrent_kernel")
                self.built = True

            def call(self, inputs: Any, states: Any) -> Any:
                before = states[0]
                products = module.ops.matmul(inputs, self.kernel), module.ops.matmul(before, self.recurrent_kernel)
                y = module.ops.tanh(module.ops.add(*products))
                return y, [y]

        return MinimalRNNCell


STACKS: dict[str, Any] = {
    "of one's own": lambda module, dtype: Minimal.of(module)(3, dtype=dtype),
    "LSTMs": lambda module, dtype: stacked(module, dtype, *(module.layers.LSTMCell(n, dtype=dtype) for n in (3, 2))),
    "GRUs": lambda module, dtype: stacked(module, dtype, *(module.layers.GRUCell(n, dtype=dtype) for n in (2, 3))),
    "mixed": lambda module, dtype: stacked(
        module, dtype, module.layers.LSTMCell(3, dtype=dtype), Minimal.of(module)(2, dtype=dtype)
    ),
}


def stacked(module: Any, dtype: str, *cells: Any) -> Any:
    return module.layers.StackedRNNCells(list(cells), dtype=dtype)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cells", STACKS)
def test_cells_in_an_rnn(target: Target, cells: str, masked: bool) -> None:
    """One step of a plan for each of minicnn's cells; each step of others drawn into the graph."""
    flags = {"return_sequences": True, "go_backwards": masked, "dtype": target.dtype, "name": "r"}
    pair = tuple(module.layers.RNN(STACKS[cells](module, target.dtype), **flags) for module in (minicnn, keras))
    x = target.normal(2, 2, 3, 4)
    mask = np.array([[False, True, False], [True, True, False]]) if masked else None
    check_call(pair, target, x, None, mask, 5)  # type: ignore[arg-type]
    assert [w.name for w in pair[0].weights] == [w.name for w in pair[1].weights]
    inputs = layers.Input((3, 4), dtype=target.dtype)
    model = minicnn.Model(inputs, pair[0](inputs))
    runs = [step for step in model.plan() if step["op"] == "OverTime"]
    assert len(runs) == {"of one's own": 0, "LSTMs": 2, "GRUs": 2, "mixed": 3}[cells]
    if not masked:
        target.check(model.predict(x, verbose=0), np.asarray(pair[0](x)))
    if cells == "GRUs":
        check_configs_by_reading(*pair)


def check_configs_by_reading(ours: Any, theirs: Any) -> None:
    """Each library reads the other's config."""
    for one, other in ((layers, theirs), (keras.layers, ours)):
        written = json.loads(json.dumps((keras.layers if one is layers else layers).serialize(other)))
        again = one.deserialize(written)
        assert [cell.units for cell in again.cell.cells] == [cell.units for cell in other.cell.cells]


@pytest.mark.parametrize(("name", "count"), [("LSTMCell", 2), ("GRUCell", 1), ("SimpleRNNCell", 1)])
def test_a_cell_called_by_itself(target: Target, name: str, count: int) -> None:
    ours, theirs = pair_of(name, target, units=3)
    check_configs(ours, theirs)
    x, states = target.normal(0, 2, 4), [target.normal(i + 1, 2, 3) for i in range(count)]
    y_there, after_there = theirs(tf.constant(x), [tf.constant(one) for one in states])
    ours(x, states)
    ours.set_weights([np.asarray(weight) for weight in theirs.weights])
    y, after = ours(x, states)
    for one, other in zip([y, *after], [y_there, *after_there], strict=True):
        target.check(np.ascontiguousarray(one), other)
    zeros = ours.get_initial_state(batch_size=4)
    assert [one.shape for one in zeros] == [(4, 3)] * count
    assert not any(np.any(one) for one in zeros)


WRAPPED: dict[str, Any] = {
    "a layer": (lambda module, dtype: module.layers.Conv2D(2, 3, activation="relu", dtype=dtype), (2, 3, 5, 4, 2)),
    "a recurrent one": (lambda module, dtype: module.layers.LSTM(3, dtype=dtype), (2, 3, 4, 2)),
    "a dense one": (lambda module, dtype: module.layers.Dense(3, dtype=dtype), (2, 3, 4)),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_time_distributed(target: Target, kind: str) -> None:
    make, shape = WRAPPED[kind]
    pair = tuple(
        module.layers.TimeDistributed(make(module, target.dtype), name="t", dtype=target.dtype) for module in (minicnn, keras)
    )
    x = target.normal(0, *shape)
    check_call(pair, target, x, None, None, 5)  # type: ignore[arg-type]
    assert tuple(pair[0].compute_output_shape(shape)) == tuple(pair[1].compute_output_shape(shape))
    assert [w.name for w in pair[0].weights] == [w.name for w in pair[1].weights]
    inputs = layers.Input((None, *shape[2:]), dtype=target.dtype)  # of any number of steps
    model = minicnn.Model(inputs, pair[0](inputs))
    assert model.output_shape[:2] == (None, None)
    for steps in (1, 3):
        target.check(model.predict(x[:, :steps], verbose=0), np.asarray(pair[0](x[:, :steps])))


def test_a_model_for_each_step(target: Target) -> None:
    """A model inside is opened: its convolution and ReLU are one step of the plan."""
    inner = minicnn.Sequential(
        [layers.Input((6, 5, 2)), layers.Conv2D(3, 3), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dropout(0.5)]
    )
    model = minicnn.Sequential([layers.Input((4, 6, 5, 2)), layers.TimeDistributed(inner), layers.GRU(3)])
    assert "Conv2D+ReLU" in [row["op"] for row in model.plan()]
    x = target.normal(0, 2, 4, 6, 5, 2).astype("float32")
    expected = model.layers[1](np.stack([np.asarray(inner(x[:, t])) for t in range(4)], axis=1))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


# --- in models -------------------------------------------------------------------------


def video_model(module: Any) -> Any:
    return module.Sequential(
        [
            module.layers.Input((3, 6, 5, 2)),
            module.layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True),
            module.layers.BatchNormalization(),
            module.layers.ConvLSTM2D(2, 2),
            module.layers.Flatten(),
            module.layers.Dense(3, activation="softmax"),
        ]
    )


def reading_model(module: Any) -> Any:
    """A convolution's columns read from both sides, with states handed on and a mask."""
    layers = module.layers
    image, mask = layers.Input((6, 4, 1)), layers.Input((6,), dtype="bool")
    x = layers.Reshape((6, 8))(layers.Conv2D(2, 3, padding="same", activation="relu")(image))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x, mask=mask)
    x = layers.TimeDistributed(layers.Dense(4, activation="tanh"))(x)
    x, state = layers.GRU(3, return_sequences=True, return_state=True, recurrent_regularizer="l2")(x)
    x = layers.LSTM(3, activity_regularizer="l1")(x, initial_state=[state, state])  # which a SimpleRNN of Keras forgets
    return module.Model([image, mask], layers.Dense(3, activation="softmax")(x))


def masking_model(module: Any) -> Any:
    """Masks that layers make and hand on by themselves."""
    layers = module.layers
    steps, words = layers.Input((4, 2)), layers.Input((4,))
    first = layers.LSTM(3, return_sequences=True)(layers.Dropout(0.25)(layers.Masking()(steps)))
    second = layers.GRU(3)(layers.Embedding(5, 3, mask_zero=True)(words))
    return module.Model([steps, words], layers.Dense(2)(layers.Concatenate()([layers.LSTM(2)(first), second])))


RNG = np.random.default_rng(2)
STEPS = RNG.normal(size=(6, 4, 2)).astype("float32") * (RNG.random((6, 4, 1)) < 0.7)
DATA: dict[Any, Any] = {
    video_model: RNG.normal(size=(6, 3, 6, 5, 2)).astype("float32"),
    reading_model: [RNG.normal(size=(6, 6, 4, 1)).astype("float32"), RNG.random((6, 6)) < 0.7],
    masking_model: [STEPS.astype("float32"), RNG.integers(0, 5, (6, 4)).astype("float32")],
}


@pytest.mark.parametrize("make", [video_model, reading_model])
def test_training_goes_as_keras_s(make: Any) -> None:
    """Three epochs from the same weights: losses and weights."""
    y = np.random.default_rng(1).integers(0, 3, 6)
    models = make(minicnn), make(keras)
    models[0].set_weights(models[1].get_weights())
    histories = []
    for module, model in zip((minicnn, keras), models):
        more = {"run_eagerly": True} if module is keras else {}
        model.compile(module.optimizers.Adam(0.01), "sparse_categorical_crossentropy", **more)
        histories.append(model.fit(DATA[make], y, batch_size=3, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*histories, rtol=2e-4)
    for one, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_allclose(one, np.asarray(other), atol=2e-4, err_msg=one.path)


@pytest.mark.parametrize("make", DATA)
def test_files_travel_both_ways(tmp_path: Path, make: Any) -> None:
    ours, theirs = make(minicnn), make(keras)
    assert [w.path.split("/")[-1] for w in ours.weights] == [w.path.split("/")[-1] for w in theirs.weights]
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    expected = ours.predict(DATA[make], verbose=0), theirs.predict(DATA[make], verbose=0)
    there, here = keras.models.load_model(tmp_path / "ours.keras"), load_model(tmp_path / "theirs.keras")
    np.testing.assert_allclose(there.predict(DATA[make], verbose=0), expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(here.predict(DATA[make], verbose=0), expected[1], rtol=1e-4, atol=1e-5)
    ours.set_weights(theirs.get_weights())  # in the same order
    np.testing.assert_allclose(ours.predict(DATA[make], verbose=0), expected[1], rtol=1e-4, atol=1e-5)
    again = load_model(tmp_path / "ours.keras")
    np.testing.assert_array_equal(again.predict(DATA[make], verbose=0), expected[0])


def test_a_penalty_is_of_the_output_and_of_the_states() -> None:
    x = DATA[masking_model][0]
    ours, theirs = (module.LSTM(3, return_state=True, activity_regularizer="l2") for module in (layers, keras.layers))
    theirs(x)
    ours(x)
    ours.set_weights(theirs.get_weights())
    theirs(x)
    ours(x)
    assert float(sum(ours.losses)) == pytest.approx(float(sum(theirs.losses)), rel=1e-5)
    inputs = layers.Input(x.shape[1:])
    model = minicnn.Model(inputs, ours(inputs)[0])
    model.compile("sgd", "mse")
    y = model.predict(x, verbose=0)
    assert model.evaluate(x, y, batch_size=6, verbose=0) == pytest.approx(float(sum(theirs.losses)), rel=1e-5)


def test_a_recurrent_layer_is_one_step_of_the_plan() -> None:
    model = video_model(minicnn)
    assert [row["op"] for row in model.plan()] == ["OverTime", "BatchNormalization", "OverTime", "Flatten", "Dense"]
    # 2 FLOPs for each weight of the two kernels, at each of 30 pixels and of 3 steps.
    assert model.plan()[0]["flops"] == 2 * 3 * 30 * 9 * (2 + 3) * 12
    assert model.layers[0].count_flops((None, 3, 6, 5, 2), (None, 3, 6, 5, 3)) == 2 * 3 * 30 * 9 * (2 + 3) * 12
    both_ways = layers.TimeDistributed(layers.Bidirectional(layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)])))
    both_ways.build_once((None, 7, 3, 2))
    assert both_ways.count_flops((None, 7, 3, 2), (None, 7, 10)) == 7 * 2 * 3 * 2 * ((2 + 4) * 16 + (4 + 5) * 15)


@pytest.mark.parametrize("make", [video_model, reading_model])
def test_threads_and_backends_compute_the_same(make: Any) -> None:
    y = np.random.default_rng(1).integers(0, 3, 6)
    found = []
    for backend, threads in (("numba", 1), ("numba", 2), ("reference", 1)):
        with_backend(backend, threads)
        try:
            minicnn.set_random_seed(3)
            model = make(minicnn)
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(DATA[make], y, batch_size=3, epochs=2, verbose=0)
            found.append(model.get_weights())
        finally:
            with_backend("numba", 1)
    for one, two, plain in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, plain, atol=2e-4)


def with_backend(backend: str, threads: int) -> None:
    backends.set_backend(backend)
    backends.set_num_threads(threads)


def test_a_stateful_layer_goes_on_where_the_last_batch_ended() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    for name in ("LSTM", "GRU"):
        ours, theirs = (getattr(module, name)(4, stateful=True, name="s") for module in (layers, keras.layers))
        whole = getattr(layers, name)(4)
        theirs(x[:, :2])
        theirs.reset_state()
        inputs = layers.Input(batch_shape=(2, 2, 3))
        model = minicnn.Model(inputs, ours(inputs))
        assert not model.non_trainable_weights
        ours.set_weights([np.asarray(w) for w in theirs.weights])
        whole.build(x.shape)
        whole.set_weights(ours.get_weights())
        for _ in range(2):
            for begin in (0, 2, 4):
                y = model.predict(x[:, begin : begin + 2], verbose=0)
                np.testing.assert_allclose(y, np.asarray(theirs(x[:, begin : begin + 2])), atol=1e-6)
            for one, other in zip(ours.states, theirs.states, strict=True):
                np.testing.assert_allclose(one, np.asarray(other), atol=1e-6)
            np.testing.assert_allclose(y, whole(x), atol=1e-6)
            ours.reset_states()
            theirs.reset_state()
        with pytest.raises(ValueError, match=r"- Expected batch size: 2\n- Received batch size: 3"):
            model.predict(np.ones((3, 2, 3)), verbose=0)
    both_ways = layers.Bidirectional(layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)], stateful=True))
    y = both_ways(x)
    assert np.any(both_ways.states[0])
    assert not np.allclose(both_ways(x), y)
    both_ways.reset_state()
    np.testing.assert_array_equal(both_ways(x), y)


def test_the_gradient_of_a_stateful_layer_is_of_the_states_that_it_began_with() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    stateful, plain = layers.LSTM(3, stateful=True), layers.LSTM(3)
    stateful(x)
    plain(x)
    plain.set_weights(stateful.get_weights())
    before = [variable.numpy() for variable in stateful.states]
    found = []
    for layer, more in ((stateful, {}), (plain, {"initial_state": before})):
        with minicnn.GradientTape() as tape:
            loss = ops.sum(ops.square(layer(x, **more)))
        found.append(tape.gradient(loss, layer.trainable_weights))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dropout_draws_one_mask_for_all_steps(target: Target) -> None:
    x = target.normal(0, 3, 5, 40)
    layer = layers.SimpleRNN(4, dropout=0.5, seed=1, activation="linear", dtype=target.dtype)
    layer.build(x.shape)
    with minicnn.GradientTape() as tape:
        inputs = ops.convert_to_tensor(x)
        tape.watch(inputs)
        y = ops.sum(layer(inputs, training=True))
    dropped = np.asarray(tape.gradient(y, inputs)) == 0
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], x.shape))
    assert 0.3 < dropped.mean() < 0.7
    for name, recurrent in (("LSTM", 0.0), ("GRU", 0.5), ("SimpleRNN", 0.5)):
        layer = getattr(layers, name)(20, recurrent_dropout=recurrent, dropout=0.5 - recurrent, seed=2, dtype=target.dtype)
        np.testing.assert_array_equal(layer(x), layer(x))
        assert not np.allclose(layer(x), layer(x, training=True))


def test_recurrent_dropout_is_differentiated(target: Target) -> None:
    """By differences, with the same masks: a generator of the same state draws them again."""
    x = target.normal(0, 2, 3, 3)
    for name, more in (("LSTM", {}), ("GRU", {}), ("GRU", {"reset_after": False}), ("SimpleRNN", {})):
        layer = getattr(layers, name)(3, recurrent_dropout=0.5, dropout=0.25, seed=5, dtype="float64", **more)
        layer(x)
        state = layer.cell.seed_generator.state.numpy()

        def loss(layer: Any = layer, state: Any = state) -> Any:
            layer.cell.seed_generator.state.assign(state)
            return ops.sum(ops.square(layer(x.astype("float64"), training=True)))

        with minicnn.GradientTape() as tape:
            total = loss()
        for weight, gradient in zip(layer.trainable_weights, tape.gradient(total, layer.trainable_weights), strict=True):
            direction, value = np.random.default_rng(1).normal(size=weight.shape), weight.numpy()
            ends = []
            for sign in (1, -1):
                weight.assign(value + sign * 1e-6 * direction)
                ends.append(float(loss()))
            weight.assign(value)
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(
                float(np.sum(np.asarray(gradient) * direction)), rel=1e-5, abs=1e-8
            )


# --- masks and errors ------------------------------------------------------------------


def test_layers_make_masks_and_hand_them_on() -> None:
    """On arrays and in a graph, from the layer that makes one to the layer that looks at it."""
    steps = DATA[masking_model][0]
    words = DATA[masking_model][1]
    for make, x in (
        (lambda module: [module.layers.Masking(), module.layers.Dense(3), module.layers.LayerNormalization()], steps),
        (lambda module: [module.layers.Embedding(5, 3, mask_zero=True), module.layers.Activation("relu")], words),
    ):
        found, expected, drawn = x, x, layers.Input(x.shape[1:])
        for ours, theirs in zip(make(minicnn), make(keras), strict=True):
            found, expected, drawn = ours(found), theirs(expected), ours(drawn)
            np.testing.assert_array_equal(found._keras_mask, expected._keras_mask)
        assert drawn._keras_mask.shape == (None, 4)
    layer = layers.LSTM(3, return_sequences=True)
    masked = layers.Masking()(steps)
    np.testing.assert_array_equal(layer(masked), layer(steps, mask=np.any(steps != 0, axis=-1)))
    np.testing.assert_array_equal(layer(masked)._keras_mask, masked._keras_mask)
    assert getattr(layers.LSTM(3)(masked), "_keras_mask", None) is None


def test_merges_join_the_masks_of_their_inputs() -> None:
    """On arrays as Keras's; in a graph, too, where the mask is computed with the rest."""
    steps = DATA[masking_model][0]
    other = np.where(np.arange(4)[:, None] % 2, steps[::-1], 0).astype("float32")
    for name in ("Add", "Subtract", "Average", "Concatenate", "Multiply", "Maximum", "Minimum"):
        masks = []
        for module in (minicnn, keras):
            merge, masking = getattr(module.layers, name)(), module.layers.Masking()
            masked = [masking(steps), masking(other)]
            drawn = [masking(module.Input(steps.shape[1:])) for _ in masked]
            assert merge(drawn)._keras_mask.shape == (None, 4)
            masks.append(np.asarray(merge(masked)._keras_mask))
            mixed = merge([masked[0], module.ops.convert_to_tensor(other)])
            masks.append(np.asarray(getattr(mixed, "_keras_mask", None)))
        np.testing.assert_array_equal(masks[0], masks[2])
        np.testing.assert_array_equal(masks[1], masks[3])
        with pytest.raises(ValueError, match="`mask` should be a list"):
            merge.compute_mask(masked, masks[0])
    here, there = (module.layers.Input((4, 2)) for module in (minicnn, keras))
    for module, tensor in ((minicnn, here), (keras, there)):
        masked = module.layers.Masking()(tensor)
        model = module.Model(tensor, module.layers.Add()([masked, masked])._keras_mask)
        np.testing.assert_array_equal(model.predict(steps[..., :2], verbose=0), np.any(steps[..., :2] != 0, axis=-1))


def test_a_mask_that_nobody_looks_at_is_no_secret() -> None:
    masked = layers.Masking()(layers.Input((4, 2)))
    with pytest.warns(UserWarning, match="does not support masking and will therefore destroy the mask"):
        flat = layers.Flatten()(masked)
    assert getattr(flat, "_keras_mask", None) is None
    with pytest.warns(UserWarning, match=r"'inner' .* destroy the mask"):
        minicnn.Sequential([layers.Input((4, 2)), layers.Dense(2)], name="inner")(masked)


class Stateless:
    def call(self, inputs: Any, states: Any) -> Any:
        return inputs, states


X = np.ones((2, 3, 4), "float32")
BAD: list[tuple[Any, str]] = [
    (lambda: layers.LSTM(0), "`units`, expected a positive integer, got 0"),
    (lambda: layers.GRU(2, use_cudnn="yes"), r"argument `use_cudnn`\. Expected one of .* Received: use_cudnn=yes"),
    (lambda: layers.LSTM(2, unknown=1), "Unrecognized keyword arguments passed to LSTM: {'unknown': 1}"),
    (lambda: layers.LSTM(2)(X[0]), "expected ndim=3, found ndim=2"),
    (lambda: layers.ConvLSTM2D(2, 3)(X), "expected ndim=5, found ndim=3"),
    (lambda: layers.ConvLSTM2D(0, 3), "argument `filters`. Expected a strictly positive value"),
    (lambda: layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2), "`strides > 1` not supported in conjunction with"),
    (lambda: layers.ConvLSTM1D(2, 3)(layers.Input((3, None, 2))), "only support static input shapes for the spatial dimension"),
    (lambda: layers.ConvLSTM1D(2, 3)(layers.Input((3, 5, None))), "The channel dimension of the inputs"),
    (lambda: layers.ConvLSTM1D(2, 9)(np.ones((2, 3, 4, 2))), "Computed output size would be zero or negative"),
    (lambda: layers.LSTM(2).build((None, 3, None)), "the last dimension of the inputs must be defined"),
    (lambda: layers.LSTM(2, name="r")(X, initial_state=[np.ones((2, 3))] * 2), r"Layer 'r': `initial_state` must have 2 state"),
    (lambda: layers.RNN(3), "Argument `cell` should have a `call` method. Received: cell=3"),
    (lambda: layers.RNN(Stateless()), "The RNN cell should have a `state_size` attribute"),
    (lambda: layers.StackedRNNCells([Stateless()]), "All cells must have a `state_size` attribute"),
    (lambda: layers.RNN(Minimal.of(minicnn)(2))(layers.Input((None, 3))), "whose steps are drawn into the graph one by one"),
    (lambda: layers.GRU(2, stateful=True)(layers.Input((3, 4))), "the batch size must be static. Found dynamic batch size"),
    (lambda: layers.Wrapper(3), "Layer 3 supplied to Wrapper isn't a supported layer type"),
    (lambda: layers.TimeDistributed(3), "Please initialize `TimeDistributed` layer with a `Layer` instance. Received: 3"),
    (lambda: layers.TimeDistributed(layers.Dense(2))(X[0]), "with at least 3 dimensions, received"),
    (lambda: layers.TimeDistributed(layers.Dense(2))(X, mask=X[:, :2, 0]), "that is incompatible with the input shape"),
    (
        lambda: layers.TimeDistributed(layers.ReLU(), name="t")(layers.Input((3, None, 2))),
        "'t': all sizes of a step must be known",
    ),
    (lambda: layers.Bidirectional(3), "Please initialize `Bidirectional` layer with a `Layer` instance"),
    (lambda: layers.Bidirectional(layers.GRU(2), backward_layer=3), "`backward_layer` need to be a `Layer` instance"),
    (lambda: layers.Bidirectional(layers.GRU(2), "max"), "Invalid merge mode. Received: max"),
    (lambda: layers.Bidirectional(layers.GRU(2), backward_layer=layers.GRU(2)), "should have different `go_backwards` value"),
    (
        lambda: layers.Bidirectional(layers.GRU(2), backward_layer=layers.GRU(2, go_backwards=True, return_state=True)),
        'the same value for attribute "return_state", got "False" for forward layer',
    ),
    (lambda: layers.Bidirectional(layers.GRU(2)).reset_state(), "Layer must be stateful"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, AttributeError), match=message):
        make()


def test_weights_to_begin_with_and_the_bias_of_the_forget_gate() -> None:
    both_ways = layers.Bidirectional(layers.LSTM(2), weights=[np.full(s, 0.5) for s in ((3, 8), (2, 8), (8,))] * 2)
    both_ways.build_once((None, 4, 3))
    assert all(np.all(weight == 0.5) for weight in both_ways.get_weights())
    layer = layers.LSTM(2, bias_initializer="ones")
    layer.build_once((None, 4, 3))
    np.testing.assert_array_equal(layer.weights[2], np.ones(8))
    layer = layers.ConvLSTM1D(2, 3)
    layer.build_once((None, 4, 5, 3))
    np.testing.assert_array_equal(layer.weights[2], [0, 0, 1, 1, 0, 0, 0, 0])
    assert (layer.filters, layer.kernel_size) == (2, (3,))


def test_a_stateful_layer_takes_the_size_of_its_batches_as_keras_2_did() -> None:
    model = minicnn.Sequential([layers.LSTM(3, input_shape=(4, 2), batch_size=5, stateful=True), layers.Dense(1)])
    assert model.input_shape == (5, 4, 2)
    assert model.output_shape == (5, 1)
    x = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    theirs = keras.Sequential([keras.Input(batch_shape=(5, 4, 2)), keras.layers.LSTM(3, stateful=True), keras.layers.Dense(1)])
    theirs.set_weights(model.get_weights())
    first, second = (theirs.predict_on_batch(x) for _ in range(2))
    for expected in (first, second):
        np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-6)
    model.reset_states()
    np.testing.assert_allclose(model.predict_on_batch(x), first, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RNN(layers.GRUCell(2)),
        lambda: layers.RNN([layers.LSTMCell(2), layers.SimpleRNNCell(3)]),
        lambda: layers.Bidirectional(layers.LSTM(2)),
        lambda: layers.ConvLSTM1D(2, 1, data_format="channels_first"),
    ],
)
def test_sequences_of_other_sizes_than_its_weights_are_refused(make: Any) -> None:
    layer, space = make(), (6,) if "conv" in make().name else ()
    layer(np.ones((2, 3, 4, *space), "float32"))
    with pytest.raises(ValueError, match=r"expected axis -?[12] of input shape to have value 4, .*\(2, 3, 5"):
        layer(np.ones((2, 3, 5, *space), "float32"))
    with pytest.raises(ValueError, match="ndim"):
        layer(np.ones((2, 4, *space), "float32"))
