"""`ops.map` and its kin, as in Keras: on arrays, under a tape, in a graph."""

from __future__ import annotations

import operator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import minicnn
from minicnn import ops

RNG = np.random.default_rng(0)
XS, YS = RNG.standard_normal((4, 3, 2), np.float32), RNG.standard_normal((4, 2), np.float32)


def alike(found: Any, expected: Any) -> None:
    """The same structure, of the same numbers."""
    flat, wanted = keras.tree.flatten(found), keras.tree.flatten(expected)
    assert len(flat) == len(wanted)
    for one, other in zip(flat, wanted):
        np.testing.assert_allclose(one, np.asarray(other), rtol=1e-6, err_msg=str(expected))


CASES = {
    "map": lambda ops: ops.map(lambda x: ops.sum(x * x), XS),
    "map of a pair": lambda ops: ops.map(lambda pair: ops.sum(pair[0], axis=0) * pair[1], (XS, YS)),
    "map of a dict": lambda ops: ops.map(lambda one: {"twice": one["a"] * 2.0, "sum": ops.sum(one["b"])}, {"a": XS, "b": YS}),
    "map to a pair": lambda ops: ops.map(lambda x: (x[0], ops.max(x)), XS),
    "vectorized_map": lambda ops: ops.vectorized_map(lambda x: ops.sum(x * x, axis=0), XS),
    "vectorized_map of a list": lambda ops: ops.vectorized_map(lambda pair: pair[0][0] - pair[1], [XS, YS]),
    "cond": lambda ops: [ops.cond(flag, lambda: ops.add(XS, 1.0), lambda: ops.subtract(XS, 1.0)) for flag in (True, False)],
    "switch": lambda ops: [
        ops.switch(index, [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y], XS, 2.0) for index in (-3, 0, 1, 2, 7)
    ],
    "fori_loop": lambda ops: [ops.fori_loop(low, 5, lambda i, total: total * 2 + i, np.int32(1)) for low in (0, 2, 5, 7)],
    "while_loop": lambda ops: ops.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2.0), (np.int32(0), XS)),
    "while_loop of one": lambda ops: ops.while_loop(lambda i: i < 10, lambda i: i + 3, np.int32(0)),
    "while_loop, at most twice": lambda ops: ops.while_loop(
        lambda i: i < 10, lambda i: (i + 3,), (np.int32(0),), maximum_iterations=2
    ),
    "while_loop, never": lambda ops: ops.while_loop(lambda i: i < 0, lambda i: (i + 3,), (np.int32(5),)),
    "scan": lambda ops: ops.scan(lambda total, x: (total + x, total * x), np.zeros((3, 2), np.float32), XS),
    "scan, reversed": lambda ops: ops.scan(
        lambda total, x: (total + x, total - x), np.ones((3, 2), np.float32), XS, reverse=True
    ),
    "scan of a pair": lambda ops: ops.scan(
        lambda carry, xy: (carry * 0.5 + xy[1], carry + ops.sum(xy[0], axis=0)), np.zeros(2, np.float32), (XS, YS)
    ),
    "scan of a length": lambda ops: ops.scan(lambda total, _: (total * 2.0, total), np.float32(1.0), length=5),
}


@pytest.mark.parametrize("name", CASES)
def test_of_arrays(name: str) -> None:
    alike(CASES[name](ops), CASES[name](keras.ops))


def test_scan_needs_to_know_how_often() -> None:
    with pytest.raises(ValueError, match="Got no `xs` to scan over and `length` not provided"):
        ops.scan(lambda carry, _: (carry, carry), 0.0)


def test_gradients_under_a_tape() -> None:
    def loss(ops: Any, x: Any, w: Any) -> Any:
        return ops.sum(ops.map(lambda one: ops.matmul(one, w) ** 2, x)) + ops.sum(ops.scan(lambda c, one: (c * w, c), w, x)[0])

    w = RNG.standard_normal((2, 2), np.float32)
    found, expected = [], []
    ours, theirs = minicnn.Variable(w), tf.Variable(w)
    with minicnn.GradientTape() as tape:
        y = loss(ops, ops.convert_to_tensor(XS), ours)
    found = tape.gradient(y, ours)
    with tf.GradientTape() as tape:
        y = loss(keras.ops, tf.constant(XS), theirs)
    expected = tape.gradient(y, theirs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def capsule(module: Any) -> Any:
    """A layer that maps a function over the images, as capsule networks have it, with a weight that the function reads."""

    class Mapped(module.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(3, 4), initializer="glorot_uniform", name="w")
            self.fixed = self.add_weight(shape=(4,), initializer="ones", trainable=False, name="fixed")

        def call(self, x: Any) -> Any:
            return module.ops.map(
                lambda pair: module.ops.matmul(pair[0], self.w) * pair[1][:, None] + self.fixed, (x, x[:, :, 0])
            )

    model = module.Sequential([module.Input((5, 3)), module.layers.Dense(3), Mapped(), module.layers.Flatten()])
    model.compile(module.optimizers.SGD(0.1), "mse")
    return model


def test_in_a_graph_it_is_trained_as_in_keras() -> None:
    x, y = RNG.standard_normal((7, 5, 3), np.float32), RNG.standard_normal((7, 20), np.float32)
    ours, theirs = capsule(minicnn), capsule(keras)
    ours.set_weights(theirs.get_weights())
    logs = [model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0).history["loss"] for model in (ours, theirs)]
    np.testing.assert_allclose(*logs, rtol=1e-5)
    for w, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(w, expected, rtol=1e-4, atol=1e-6)


def test_in_a_graph_a_function_returns_one_tensor() -> None:
    with pytest.raises(
        ValueError, match=r"`map` of symbolic tensors needs a function that returns one tensor\. Received: tuple"
    ):
        ops.map(lambda x: (x, x), minicnn.Input((3,)))


def test_a_loop_in_a_graph_is_drawn_step_by_step() -> None:
    inputs = minicnn.Input((3, 2))
    outputs = ops.fori_loop(0, 3, lambda i, x: x * 2.0 + i, inputs)
    np.testing.assert_allclose(minicnn.Model(inputs, outputs).predict(XS, verbose=0), 8 * XS + 4, rtol=1e-6)


def test_a_condition_on_symbolic_values_names_the_line() -> None:
    condition = ops.sum(minicnn.Input((3,))) > 0
    with pytest.raises(TypeError, match=r"cannot be used as a boolean[\s\S]*ops.cond\(condition"):
        ops.cond(condition, operator.neg, operator.pos)
