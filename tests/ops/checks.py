"""What the tests of all ops share: the backends to test, drawn arrays, TensorFlow's gradients, closeness."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from minicnn import backends
from minicnn.backends import numba_cpu
from minicnn.backends.numba_cpu._geometry import CHUNKS, FEW_CHUNKS
from tests.drawn import drawn_cases

TOLERANCES = {"float32": 1e-4, "float64": 1e-10}  # of the largest value

gradient_cases = drawn_cases(200)
simple_cases = drawn_cases(80)  # ops element by element, of which there are many, and layers around an op that has its own
update_cases = drawn_cases(50)  # ops without a gradient
seeds = st.integers(0, 2**32 - 1)


@functools.cache
def ops_of(backend: str) -> SimpleNamespace:
    """A backend's ops as attributes, whichever backend is in use."""
    return SimpleNamespace(**backends.load(backend))


@dataclass(frozen=True)
class Target:
    """One backend in one dtype, and what its results are held to."""

    backend: str
    dtype: str

    @property
    def ops(self) -> SimpleNamespace:
        return ops_of(self.backend)

    def skip_reference_s_lines(self, op: str) -> None:
        """Skip a test of an op that this backend takes from the reference as it is, whose own target tests it."""
        if self.backend != "reference" and getattr(self.ops, op) is getattr(ops_of("reference"), op):
            pytest.skip(f"the reference's {op}")

    def normal(self, seed: int, *shape: int) -> np.ndarray:
        """Normally distributed values, none of them 0.

        In float32 they are odd multiples of 1/128. Sums of their products are then exact, in any
        order, so that no difference in rounding hides behind (or is excused by) cancellation.
        """
        values = np.random.default_rng(seed).standard_normal(shape)
        if self.dtype == "float32":
            values = (np.floor(values * 64) + 0.5) / 64
        return np.array(values, self.dtype)  # an array of shape () too

    def uniform(self, seed: int, *shape: int) -> np.ndarray:
        """Values in (0, 1)."""
        values = np.random.default_rng(seed).uniform(0.01, 0.99, shape)
        return values.astype(self.dtype)

    def few_values(self, seed: int, *shape: int) -> np.ndarray:
        """Whole numbers from -2 to 2: many ties, many zeros."""
        return np.random.default_rng(seed).integers(-2, 3, shape).astype(self.dtype)

    def check(self, actual: Any, expected: Any, scale: float = 0.0) -> None:
        """`actual` is an array of the dtype, C-contiguous, and equals `expected` to the tolerance; NaN and inf where it is.

        Args:
            scale: size of the terms, where the result is their difference and may be all but 0.
        """
        expected = np.asarray(expected)
        assert isinstance(actual, (np.ndarray, np.generic)), type(actual)
        assert actual.dtype == self.dtype
        assert actual.shape == expected.shape
        assert actual.flags.c_contiguous
        largest = max(float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected))), scale)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCES[self.dtype] * largest)


def forward_and_gradients(
    function: Callable[..., Any], inputs: Sequence[np.ndarray], dy_seed: int, target: Target
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """TensorFlow's y = function(*inputs), a random dy of its shape, and the gradients of <y, dy> at the inputs."""
    tensors = [tf.constant(array) for array in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y = function(*tensors)
    dy = target.normal(dy_seed, *y.shape)
    gradients = tape.gradient(y, tensors, output_gradients=tf.constant(dy), unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return y.numpy(), dy, [gradient.numpy() for gradient in gradients]


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """<a, b>, summed in float64."""
    return float(np.sum(a.astype("float64") * b.astype("float64")))


def check_adjoint(fx: np.ndarray, dy: np.ndarray, x: np.ndarray, dx: np.ndarray, target: Target) -> None:
    """<f(x), dy> == <x, f*(dy)>, to the tolerance of the sum of the sizes of the terms."""
    terms = dot(np.abs(fx), np.abs(dy)) + dot(np.abs(x), np.abs(dx))
    assert abs(dot(fx, dy) - dot(x, dx)) <= TOLERANCES[target.dtype] * terms


def around(block: int) -> list[int]:
    """Lengths on both sides of what a kernel takes at once: one less, as many, one more; and two blocks and a rest."""
    return [block - 1, block, block + 1, 2 * block + 3]


MANY_IMAGES = [*around(FEW_CHUNKS), *around(CHUNKS)]
"""Around as many as are summed apart in a kernel's gradient, of small maps and of others."""


def away_from_the_kink(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dy, but 0 where what a ReLU reads, y, is within rounding of 0: backends that compute it anew may take either side."""
    return np.where(np.abs(y) < 1e-4, dy.dtype.type(0), dy)


def both_thread_counts(function: Any, *args: Any) -> Any:
    """The function's results with one thread, after checking that two give the same bits.

    They are compared on other numbers than `Target.normal`'s, whose sums are the same in any order: on such that are rounded.
    """
    rounded = [_rounded(value) if isinstance(value, np.ndarray) else value for value in args]
    one = function(*rounded)
    numba_cpu.set_num_threads(2)
    try:
        two = function(*rounded)
    finally:
        numba_cpu.set_num_threads(1)
    for a, b in zip(_flat(one), _flat(two), strict=True):
        np.testing.assert_array_equal(a, b)
    return function(*args)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values of the same signs with all their digits in use; whole numbers (labels, places) as they are."""
    if values.dtype.kind != "f":
        return values
    return values * np.random.default_rng(values.size).uniform(0.5, 1, values.shape).astype(values.dtype)


def _flat(results: Any) -> list[np.ndarray]:
    return [array for array in (results if isinstance(results, tuple) else (results,)) if array is not None]
