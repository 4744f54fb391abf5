"""Convolutions whose operands are rounded to bfloat16, against TensorFlow's of operands that it rounded itself.

Of 8 bits, products are exact in float32: what is left is the order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn import config
from minicnn.backends.numba_cpu import bfloat16
from minicnn.backends.numba_cpu._amx import available
from minicnn.backends.types import Window, window_over
from tests.drawn import drawn_cases
from tests.ops.checks import TOLERANCES, both_thread_counts, ops_of, seeds

OPS = ops_of("numba")
tiles = pytest.mark.skipif(not available(), reason="this processor has no tiles for bfloat16")
cases = drawn_cases(60)


@pytest.fixture(autouse=True)
def medium() -> Iterator[None]:
    config.set_float32_matmul_precision("medium")
    yield
    config.set_float32_matmul_precision("highest")


@dataclass(frozen=True)
class Case:
    """A convolution of stride 1 with enough channels."""

    x: tuple[int, int, int, int]
    kernel: tuple[int, int, int, int]
    pads: tuple[int, int, int, int]
    dilation: tuple[int, int]

    @property
    def window(self) -> Window:
        return window_over(self.x[1:3], self.kernel[:2], (1, 1), self.pads, self.dilation)

    def arrays(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, kernel, bias and dy, with all their digits in use."""
        rng = np.random.default_rng(seed)
        shapes = self.x, self.kernel, self.kernel[3:], (self.x[0], *self.window.output, self.kernel[3])
        return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)  # type: ignore[return-value]


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Channels around one and two tiles', images of fewer and of more than 32 pixels, several groups of images."""
    size, dilation = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    extent = [(taps - 1) * step for taps, step in zip(size, dilation)]
    top, bottom, left, right = (draw(st.integers(0, extent[axis])) for axis in (0, 0, 1, 1))
    H = draw(st.integers(max(1, extent[0] + 1 - top - bottom), 13))
    W = draw(st.integers(max(1, extent[1] + 1 - left - right), 13))
    outputs = (H + top + bottom - extent[0]) * (W + left + right - extent[1])
    fewest = -(-bfloat16.TASK // outputs)
    N = draw(st.integers(fewest, fewest + 20))
    C_in, C_out = (draw(st.sampled_from([16, 17, 31, 32, 33, 48, 63, 64, 65])) for _ in range(2))
    return Case((N, H, W, C_in), (*size, C_in, C_out), (top, bottom, left, right), dilation)


def rounded(*arrays: np.ndarray) -> list[np.ndarray]:
    """As TensorFlow rounds, in float64."""
    return [tf.cast(tf.cast(array, tf.bfloat16), tf.float64).numpy() for array in arrays]


def tf_convolution(case: Case, x: Any, kernel: Any) -> Any:
    """A sum over taps, since TensorFlow has no gradients of dilated convolutions on a CPU."""
    (KH, KW, _, _), (DH, DW), (top, bottom, left, right) = case.kernel, case.dilation, case.pads
    padded = tf.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
    OH, OW = case.window.output
    taps = [(ky, kx) for ky in range(KH) for kx in range(KW)]
    return tf.add_n([padded[:, ky * DH :, kx * DW :][:, :OH, :OW] @ kernel[ky, kx] for ky, kx in taps])


def check(actual: np.ndarray, expected: Any) -> None:
    expected = np.asarray(expected)
    assert (actual.dtype, actual.shape, actual.flags.c_contiguous) == (np.float32, expected.shape, True)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@tiles
@cases
@given(case=convolutions(), biased=st.booleans(), relu=st.booleans(), seed=seeds)
def test_forward_equals_tensorflow(case: Case, biased: bool, relu: bool, seed: int) -> None:
    x, kernel, bias, _ = case.arrays(seed)
    y, argmax = OPS.conv2d_forward(x, kernel, bias if biased else None, case.window, relu)
    expected = tf_convolution(case, *rounded(x, kernel)) + (bias.astype("float64") if biased else 0)
    check(y, tf.nn.relu(expected) if relu else expected)
    assert argmax is None
    assert OPS.conv2d_algorithm(x.shape, kernel.shape, case.window) == "bfloat16 tiles"


@tiles
@cases
@given(case=convolutions(), need_dx=st.booleans(), pixels=st.sampled_from([1, 100, bfloat16.GROUP]), seed=seeds)
def test_gradients_equal_tensorflow(case: Case, need_dx: bool, pixels: int, seed: int) -> None:
    """Summed over groups of 4 images and more."""
    x, kernel, _, dy = case.arrays(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bfloat16, "GROUP", pixels)
        dx, dkernel, dbias = OPS.conv2d_backward(dy, x, kernel, case.window, need_dx=need_dx)
    inputs = [tf.constant(array) for array in rounded(x, kernel)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = tf_convolution(case, *inputs)
    expected = tape.gradient(y, inputs, tf.constant(rounded(dy)[0]))
    check(dkernel, expected[1])
    check(dbias, dy.astype("float64").sum((0, 1, 2)))
    if need_dx:
        check(dx, expected[0])
    else:
        assert dx is None


@tiles
@drawn_cases(15)
@given(case=convolutions(), seed=seeds)
def test_results_do_not_depend_on_threads(case: Case, seed: int) -> None:
    x, kernel, bias, dy = case.arrays(seed)
    both_thread_counts(lambda *arrays: OPS.conv2d_forward(*arrays, case.window, True), x, kernel, bias)
    both_thread_counts(lambda *arrays: OPS.conv2d_backward(*arrays, case.window), dy, x, kernel)


@tiles
@pytest.mark.parametrize(("size", "strides", "padding"), [((2, 2), (2, 2), "valid"), ((3, 3), (2, 2), "same")])
@pytest.mark.parametrize(("N", "side"), [(3, 9), (40, 3)])
def test_what_follows_is_done_as_by_its_own_ops(N: int, side: int, size: Any, strides: Any, padding: str) -> None:
    """Bias, ReLU and max pooling, of several images a task too; and the way back through them."""
    case = Case((N, side, side, 33), (3, 3, 33, 40), (1, 1, 1, 1), (1, 1))
    x, kernel, bias, _ = case.arrays(1)
    pool = window_over(case.window.output, size, strides, padding)
    y, argmax = OPS.conv2d_forward(x, kernel, bias, case.window, True, pool)
    whole, _ = OPS.conv2d_forward(x, kernel, bias, case.window, True)
    for one, other in zip((y, argmax), OPS.maxpool2d_forward(whole, pool), strict=True):
        np.testing.assert_array_equal(one, other)
    dy = np.random.default_rng(2).standard_normal(y.shape, np.float32)
    gradients = OPS.conv2d_backward(dy, x, kernel, case.window, y, pool, argmax)
    back = OPS.maxpool2d_backward(OPS.relu_backward(dy, y), argmax, whole.shape, pool)
    dx, dkernel, dbias = OPS.conv2d_backward(back, x, kernel, case.window)
    np.testing.assert_array_equal(gradients[0], dx)
    np.testing.assert_array_equal(gradients[1], dkernel)
    np.testing.assert_allclose(gradients[2], dbias, rtol=0, atol=1e-5 * np.abs(dbias).max())  # summed in another order


@tiles
def test_groups_are_convolutions_of_their_own() -> None:
    case = Case((8, 8, 8, 32), (3, 3, 32, 32), (1, 1, 1, 1), (1, 1))
    x, kernel, _, dy = (np.repeat(array, 2, axis=-1) for array in case.arrays(7))
    kernel = np.ascontiguousarray(kernel)
    window = case.window._replace(groups=2)
    assert OPS.conv2d_algorithm(x.shape, kernel.shape, window) == "bfloat16 tiles"
    y, _ = OPS.conv2d_forward(x, kernel, None, window)
    dx, dkernel, _ = OPS.conv2d_backward(dy, x, kernel, window)
    for group in (slice(0, 32), slice(32, 64)):
        own = [np.ascontiguousarray(array[..., group]) for array in (dy, x, kernel)]
        np.testing.assert_array_equal(y[..., group], OPS.conv2d_forward(own[1], own[2], None, case.window)[0])
        of_group = OPS.conv2d_backward(*own, case.window)
        np.testing.assert_array_equal(dx[..., group], of_group[0])
        np.testing.assert_array_equal(dkernel[..., group], of_group[1])


@tiles
def test_nan_and_infinity_stay() -> None:
    """NaNs of every kind: one whose bits are all ones would be 0 if a half were added to it."""
    case = Case((2, 6, 6, 32), (3, 3, 32, 32), (1, 1, 1, 1), (1, 1))
    x, kernel, bias, _ = case.arrays(3)
    x[0, 2, 3, 5] = np.array(0xFFFFFFFF, np.uint32).view(np.float32)
    x[1, 0, 0, 0] = np.inf
    expected = tf_convolution(case, *rounded(x, kernel)).numpy() + bias
    for relu in (False, True):
        y, _ = OPS.conv2d_forward(x, kernel, bias, case.window, relu)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_array_equal(np.isposinf(y), np.isposinf(expected))
        assert np.isneginf(y).any() != relu


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kernel": (3, 3, 15, 32), "x": (8, 8, 8, 15)}, "few input channels"),
        ({"kernel": (3, 3, 32, 15)}, "few output channels"),
        ({"x": (1, 7, 9, 32)}, "few pixels"),
        ({"pads": (3, 1, 1, 1)}, "a border that is wider than the kernel reaches"),
        ({"pads": (1, 1, 1, 3)}, "a border that is wider than the kernel reaches"),
    ],
)
def test_where_it_does_not_pay(change: dict[str, Any], why: str) -> None:
    del why
    case = Case(**{"x": (8, 8, 8, 32), "kernel": (3, 3, 32, 32), "pads": (1, 1, 1, 1), "dilation": (1, 1), **change})
    assert not bfloat16.pays(case.x, case.kernel, case.window)
    x, kernel, bias, dy = case.arrays(4)
    results = [*OPS.conv2d_forward(x, kernel, bias, case.window)[:1], *OPS.conv2d_backward(dy, x, kernel, case.window)]
    config.set_float32_matmul_precision("highest")
    same = [*OPS.conv2d_forward(x, kernel, bias, case.window)[:1], *OPS.conv2d_backward(dy, x, kernel, case.window)]
    for one, other in zip(results, same, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("has_tiles", [True, False])
def test_only_where_it_is_allowed_and_can_be(precision: str, has_tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_tiles and not available():
        pytest.skip("this processor has no tiles for bfloat16")
    monkeypatch.setattr(bfloat16, "available", lambda: has_tiles)
    config.set_float32_matmul_precision(precision)
    case = Case((8, 8, 8, 32), (3, 3, 32, 32), (1, 1, 1, 1), (1, 1))
    used = OPS.conv2d_algorithm(case.x, case.kernel, case.window)
    assert used == ("bfloat16 tiles" if has_tiles and precision == "medium" else "Winograd F(4x4, 3x3)")
    x, kernel, _, _ = case.arrays(5)
    y, _ = OPS.conv2d_forward(x, kernel, None, case.window)
    exact = tf_convolution(case, x.astype("float64"), kernel.astype("float64")).numpy()
    error = np.abs(y - exact).max() / np.abs(exact).max()
    assert (error > 1e-3) == (used == "bfloat16 tiles")
    assert error < (1e-2 if used == "bfloat16 tiles" else TOLERANCES["float32"])


def test_another_stride_or_dtype_is_as_ever() -> None:
    x, kernel = np.ones((8, 8, 8, 32), np.float32), np.ones((3, 3, 32, 32), np.float32)
    assert not bfloat16.pays(x.shape, kernel.shape, window_over((8, 8), (3, 3), (2, 1), "valid"))
    assert not bfloat16.pays(x.shape, (3, 3, 16, 32), window_over((8, 8), (3, 3), (1, 1), "valid")._replace(groups=2))
    x = np.random.default_rng(6).standard_normal((8, 8, 8, 32))
    y, _ = OPS.conv2d_forward(x, kernel.astype("float64"), None, window_over((8, 8), (3, 3), (1, 1), "valid"))
    np.testing.assert_allclose(y, tf.nn.conv2d(x, kernel.astype("float64"), 1, "VALID"), rtol=1e-12)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown precision: 'low'\. Expected one of 'highest', 'high', 'medium'\."):
        config.set_float32_matmul_precision("low")
    assert config.float32_matmul_precision() == "medium"
