"""Recurrent layers against Keras's: states, masks and all gradients; cells of one's own; wrappers; files; training."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import layers, ops
from tests.drawn import drawn_cases
from tests.layers.checks import pair_of
from tests.ops.checks import Target, seeds

few_cases = drawn_cases(6)
KINDS: dict[str, dict[str, Any]] = {
    "SimpleRNN": {},
    "GRU": {},
    "GRU before": {"reset_after": False},
    "LSTM": {"recurrent_activation": "hard_sigmoid"},
    "ConvLSTM2D": {"kernel_size": 3, "padding": "same"},
    "ConvLSTM1D": {"kernel_size": 2},
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
    rest = {"ConvLSTM2D": (3, 2, 2), "ConvLSTM1D": (4, 2)}.get(name, (2,))
    size = {"filters": U} if name.startswith("Conv") else {"units": U}
    pair = pair_of(name, target, **size, **KINDS[kind], **flags)
    x = target.normal(seed, N, T, *rest)
    # The first step of the first sample is masked: it has no output before.
    mask = np.random.default_rng(seed).random((N, T)) < 0.6 if masked else None
    shape = {"ConvLSTM2D": (N, 3, 2, U), "ConvLSTM1D": (N, 3, U)}.get(name, (N, U))
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
    return getattr(module, kind[0])(**kind[1], dtype=target.dtype)


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
