"""Decompositions against TensorFlow's, whose vectors may have the other sign; pseudo-inverses; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

import minicnn
from minicnn import ops
from minicnn.layers import Input
from minicnn.models import Model

RANDOM = np.random.default_rng(5)
SHAPES = [(3, 3), (5, 3), (3, 5), (2, 4, 3), (2, 3, 4), (1, 1)]
SQUARES = [(3, 3), (2, 4, 4), (1, 1)]


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    return RANDOM.standard_normal(shape)


def signed(parts: list[Any], vectors: dict[int, int]) -> list[Any]:
    """The parts, each vector turned so that its largest element is positive; by part, the axis along which a vector is."""
    turned = []
    for i, part in enumerate(parts):
        if i in vectors:
            array = np.asarray(part)
            axis = vectors[i]
            largest = np.take_along_axis(array, np.abs(array).argmax(axis, keepdims=True), axis)
            part = part * np.sign(largest)
        turned.append(part)
    return turned


# By name: our function and TensorFlow's, both in our order; which parts are vectors, along which axis.
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], dict[int, int]]] = {
    "eigh": (ops.eigh, tf.linalg.eigh, {1: -2}),
    "qr": (ops.qr, tf.linalg.qr, {0: -2, 1: -1}),
    "svd": (lambda x: ops.svd(x, full_matrices=False), lambda x: keras.ops.svd(x, full_matrices=False), {0: -2, 2: -1}),
    "values": (lambda x: [ops.svd(x, compute_uv=False)], lambda x: [tf.linalg.svd(x, compute_uv=False)], {}),
    "pinv": (lambda x: [ops.pinv(x)], lambda x: [keras.ops.linalg.pinv(x)], {}),
}


def factors_of_r(parts: list[Any], name: str) -> list[Any]:
    """`qr`: the sign of a column of q is the sign of a row of r, so r is turned with q."""
    if name != "qr":
        return signed(parts, CASES[name][2])
    q, r = parts
    array = np.asarray(q)
    sign = np.sign(np.take_along_axis(array, np.abs(array).argmax(-2, keepdims=True), -2))
    return [q * sign, r * np.swapaxes(sign, -1, -2)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in CASES for shape in (SQUARES if name == "eigh" else SHAPES)],
)
def test_values_and_gradients(name: str, shape: tuple[int, ...]) -> None:
    own, other, _ = CASES[name]
    x = drawn(shape)
    if name == "eigh":
        x = x + np.swapaxes(x, -1, -2)
    source = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(source)
        expected = factors_of_r(list(other(source)), name)
    dys = [drawn(tuple(part.shape)) for part in expected]
    gradient = tape.gradient(expected, source, [tf.constant(dy) for dy in dys])

    tensor = ops.convert_to_tensor(x)
    with minicnn.GradientTape() as ours:
        ours.watch(tensor)
        parts = factors_of_r(list(own(tensor)), name)
    for part, wanted in zip(parts, expected, strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-10)
    np.testing.assert_allclose(ours.gradient(parts, tensor, dys), gradient, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_svd_and_qr_of_whole_bases(shape: tuple[int, ...]) -> None:
    x = drawn(shape)
    u, s, vt = (np.asarray(part) for part in ops.svd(x))
    K = s.shape[-1]
    np.testing.assert_allclose(u[..., :K] * s[..., None, :] @ vt[..., :K, :], x, atol=1e-12)
    for basis in (u, vt):
        size = basis.shape[-1]
        assert basis.shape == (*shape[:-2], size, size)
        np.testing.assert_allclose(basis @ np.swapaxes(basis, -1, -2), np.broadcast_to(np.eye(size), basis.shape), atol=1e-12)
    q, r = ops.qr(x, mode="complete")
    assert q.shape == (*shape[:-2], shape[-2], shape[-2])
    np.testing.assert_allclose(np.asarray(q) @ np.asarray(r), x, atol=1e-12)


def test_solutions_of_vectors_and_of_too_many_equations() -> None:
    a, b = drawn((2, 3, 3)), drawn((2, 3))
    np.testing.assert_allclose(ops.solve(a, b), np.stack([np.linalg.solve(*pair) for pair in zip(a, b)]), atol=1e-12)
    for lower in (True, False):
        expected = np.stack([scipy.linalg.solve_triangular(*pair, lower=lower) for pair in zip(a, b)])
        np.testing.assert_allclose(ops.solve_triangular(a, b, lower), expected, atol=1e-12)
    for shape in ((5, 3), (3, 5)):
        a = drawn(shape)
        for b in (drawn(shape[:1]), drawn((shape[0], 2))):
            np.testing.assert_allclose(ops.lstsq(a, b), scipy.linalg.lstsq(a, b)[0], atol=1e-12)


def test_small_singular_values() -> None:
    x = np.diag([3.0, 1e-3])
    assert np.asarray(ops.pinv(x, 0.01))[1, 1] == 0
    assert np.asarray(ops.pinv(x))[1, 1] == pytest.approx(1000)
    assert int(ops.matrix_rank(x)) == 2
    assert int(ops.matrix_rank(x, tol=0.01)) == 1


def test_in_a_graph() -> None:
    """Several outputs, of matrices in a batch of unknown size, are outputs of a model."""
    inputs = Input((4, 3))
    q, r = ops.qr(inputs)
    w, v = ops.eigh(ops.matmul(ops.swapaxes(inputs, 1, 2), inputs))
    sign, size = ops.slogdet(r)
    model = Model(inputs, [q, r, w, v, sign, size])
    assert [output.shape for output in model.outputs] == [(None, 4, 3), (None, 3, 3), (None, 3), (None, 3, 3), (None,), (None,)]
    x = drawn((5, 4, 3)).astype("float32")
    q, r, w, v, sign, size = model.predict(x, verbose=0)
    np.testing.assert_allclose(q @ r, x, atol=1e-5)
    np.testing.assert_allclose(v * w[:, None] @ v.swapaxes(1, 2), x.swapaxes(1, 2) @ x, atol=1e-4)
    np.testing.assert_allclose(sign * np.exp(size), np.linalg.det(r), rtol=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda: ops.inv(drawn((3, 2))),
            ValueError,
            r"`inv` takes square matrices \(..., M, M\). Received an array of shape \(3, 2\)",
        ),
        (lambda: ops.det(drawn((3,))), ValueError, "`det` takes square"),
        (lambda: ops.cholesky(-np.eye(2)), np.linalg.LinAlgError, "positive definite"),
        (lambda: ops.solve(drawn((3, 3)), drawn((2, 2))), ValueError, r"a.shape=\(3, 3\), b.shape=\(2, 2\)"),
        (lambda: ops.qr(drawn((3, 3)), mode="r"), ValueError, "`mode` argument value not supported"),
        (lambda: ops.associative_scan(3, drawn((3, 3))), ValueError, "`f` should be a callable"),
        (
            lambda: ops.associative_scan(ops.add, [drawn((3, 3)), drawn((2, 3))]),
            ValueError,
            "must have the same first dimension",
        ),
    ],
)
def test_what_is_refused(call: Callable[[], Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize(("reverse", "axis"), [(False, 0), (True, 1), (False, -1)])
def test_associative_scan(length: int, reverse: bool, axis: int) -> None:
    """A linear recurrence h = a * h + b, as pairs (a, b): (a2 * a1, a2 * b1 + b2) joins two steps. No order can be mistaken."""

    def joined(first: Any, second: Any) -> Any:
        return [second[0] * first[0], second[0] * first[1] + second[1]]

    shape = [2, 3, 4]
    shape[axis] = length
    a, b = drawn(tuple(shape)), drawn(tuple(shape))
    states, h = [], np.zeros_like(np.take(a, 0, axis))
    for i in reversed(range(length)) if reverse else range(length):
        h = np.take(a, i, axis) * h + np.take(b, i, axis)
        states.append(h)
    expected = np.stack(states[::-1] if reverse else states, axis)
    np.testing.assert_allclose(ops.associative_scan(joined, [a, b], reverse, axis)[1], expected, atol=1e-12)
    x = Input((length, 2))
    y = ops.associative_scan(ops.add, x, reverse, 1)
    given = drawn((3, length, 2)).astype("float32")
    summed = given[:, ::-1].cumsum(1)[:, ::-1] if reverse else given.cumsum(1)
    np.testing.assert_allclose(Model(x, y).predict(given, verbose=0), summed, atol=1e-5)
