"""Winograd's convolution against TensorFlow and its own adjoints; its matrices by exact fractions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numba
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu import _transforms, winograd
from minicnn.backends.numba_cpu._microkernel import address
from minicnn.backends.numba_cpu._transforms import Edges, Grid
from minicnn.backends.types import Window, window_over
from minicnn.shapes import resolve_padding
from tests.drawn import drawn_cases
from tests.ops.checks import Target, both_thread_counts, check_adjoint, ops_of, seeds

FLOAT32 = Target("numba", "float32")
MOST_WORK = 50e6  # products of a drawn case

cases = drawn_cases(100)


@dataclass(frozen=True)
class Case:
    """A convolution of stride 1, and a max pooling behind it or None."""

    x: tuple[int, int, int, int]
    kernel: tuple[int, int, int, int]
    padding: str
    pads: tuple[int, int, int, int]
    pool_size: tuple[int, int] | None = None
    pool_strides: tuple[int, int] = (2, 2)
    pool_padding: str = "valid"

    @property
    def window(self) -> Window:
        return window_over(self.x[1:3], self.kernel[:2], (1, 1), self.pads)

    @property
    def pool(self) -> Window | None:
        """Over the convolution's output."""
        return self.pool_size and window_over(self.window.output, self.pool_size, self.pool_strides, self.pool_padding)

    def arrays(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, kernel and bias."""
        return FLOAT32.normal(seed, *self.x), FLOAT32.normal(seed + 1, *self.kernel), FLOAT32.normal(seed + 2, self.kernel[3])


@st.composite
def convolutions(draw: st.DrawFn, *, pooled: bool = False) -> Case:
    """Few channels and many, maps that tiles cover exactly and maps that they do not; whether it pays or not."""
    r = draw(st.sampled_from(winograd.KERNELS))
    size = draw(st.integers(3, 21)), draw(st.integers(3, 21))
    C_in, C_out = draw(st.integers(8, 80)), draw(st.integers(8, 80))
    padding = draw(st.sampled_from(["same", "valid", "explicit"]))
    if padding == "explicit":
        # Padding around one pixel at least; beyond r - 1, windows lie on padding alone.
        top, left = draw(st.integers(0, r)), draw(st.integers(0, r))
        most = [extent + r - 2 - before for extent, before in zip(size, (top, left))]
        bottom, right = (draw(st.integers(0, min(r, limit))) for limit in most)
        pads = (top, bottom, left, right)
    else:
        pads = resolve_padding(padding, size, (r, r), (1, 1))
    image = size[0] + r - 1 - pads[0] - pads[1], size[1] + r - 1 - pads[2] - pads[3]
    batch = draw(st.integers(1, max(1, min(9, int(MOST_WORK / (size[0] * size[1] * r * r * C_in * C_out))))))
    case = Case((batch, *image, C_in), (r, r, C_in, C_out), padding, pads)
    if not pooled:
        return case
    pool_size, pool_padding = draw(st.sampled_from([(2, 2), (3, 3)])), draw(st.sampled_from(["same", "valid"]))
    return replace(case, pool_size=pool_size, pool_padding=pool_padding)


@contextlib.contextmanager
def driven(together: bool | None, places: int) -> Iterator[None]:
    """With all threads on one group of images; or each on its own, of about so many places, where there are enough; or not."""
    with pytest.MonkeyPatch.context() as patch:
        if together is not None:
            patch.setattr(winograd, "SMALL", 0 if together else 1 << 30)
            patch.setattr(winograd, "GROUP", places)
        yield


# As it chooses; groups of one image; bands of one row of tiles, of a few.
drivers = st.sampled_from([(None, 0), (True, 1), (False, 1), (False, 300), (False, 600)])


def tf_convolution(case: Case, x: Any, kernel: Any, bias: Any) -> Any:
    top, bottom, left, right = case.pads
    if case.padding == "same":
        return tf.nn.conv2d(x, kernel, 1, "SAME") + bias
    return tf.nn.conv2d(tf.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)]), kernel, 1, "VALID") + bias


def places(case: Case, argmax: np.ndarray) -> tuple[np.ndarray, ...]:
    """The index into the map (N, OH, OW, C_out) of each window's largest pixel."""
    assert case.pool is not None
    (_, KW), (SH, SW), (top, _, left, _) = case.pool.size, case.pool.strides, case.pool.pads
    n, py, px, c = np.ogrid[tuple(slice(extent) for extent in argmax.shape)]
    ky, kx = np.divmod(argmax.astype(int), KW)
    return n, py * SH + ky - top, px * SW + kx - left, c


@cases
@given(case=convolutions(), biased=st.booleans(), relu=st.booleans(), driver=drivers, seed=seeds)
def test_forward_equals_tensorflow(case: Case, biased: bool, relu: bool, driver: tuple[bool | None, int], seed: int) -> None:
    x, kernel, bias = case.arrays(seed)
    expected = tf_convolution(case, x, kernel, bias if biased else 0)
    with driven(*driver):
        y, argmax = both_thread_counts(winograd.forward, x, kernel, bias if biased else None, case.window, relu, None)
    FLOAT32.check(y, tf.nn.relu(expected) if relu else expected)
    assert argmax is None


@cases
@given(case=convolutions(pooled=True), biased=st.booleans(), relu=st.booleans(), driver=drivers, seed=seeds)
def test_pooled_forward_equals_tensorflow(
    case: Case, biased: bool, relu: bool, driver: tuple[bool | None, int], seed: int
) -> None:
    """Another pixel may be the largest than TensorFlow's where both are as large to the tolerance."""
    x, kernel, bias = case.arrays(seed)
    expected = tf_convolution(case, x, kernel, bias if biased else 0).numpy()
    expected = np.maximum(expected, 0) if relu else expected
    top, bottom, left, right = case.pool.pads
    padded = tf.pad(expected, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=expected.dtype.type(-np.inf))
    with driven(*driver):
        y, argmax = both_thread_counts(winograd.forward, x, kernel, bias if biased else None, case.window, relu, case.pool)
    FLOAT32.check(y, tf.nn.max_pool2d(padded, case.pool.size, case.pool.strides, "VALID"))
    assert argmax.dtype == np.uint8
    scale = float(np.max(np.abs(expected)))
    FLOAT32.check(y, expected[places(case, argmax)], scale)


@cases
@given(
    case=convolutions(pooled=True),
    relu=st.booleans(),
    pooled=st.booleans(),
    need_dx=st.booleans(),
    driver=drivers,
    seed=seeds,
)
def test_gradients_equal_tensorflow(
    case: Case, relu: bool, pooled: bool, need_dx: bool, driver: tuple[bool | None, int], seed: int
) -> None:
    """TensorFlow's of the convolution; before that dy goes to the pixels that were the largest, where a ReLU let them pass."""
    x, kernel, bias = case.arrays(seed)
    pool = case.pool if pooled else None
    y, argmax = winograd.forward(x, kernel, bias, case.window, relu, pool)
    dy = FLOAT32.normal(seed + 3, *y.shape)
    passed = np.where(y > 0, dy, 0) if relu else dy
    at_map = np.zeros((case.x[0], *case.window.output, case.kernel[3]), "float32")
    if pooled:
        np.add.at(at_map, places(case, argmax), passed)
    else:
        at_map[:] = passed
    variables = [tf.constant(array) for array in (x, kernel, bias)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        of_convolution = tf_convolution(case, *variables)
    expected = tape.gradient(of_convolution, variables, output_gradients=tf.constant(at_map))

    arguments = (dy, x, kernel, case.window, y if relu else None, pool, argmax, need_dx)
    with driven(*driver):
        gradients = both_thread_counts(winograd.backward, *arguments)
    if not need_dx:
        assert gradients[0] is None
    for actual, wanted in list(zip(gradients, expected, strict=True))[0 if need_dx else 1 :]:
        FLOAT32.check(actual, wanted)


@cases
@given(case=convolutions(), driver=drivers, seed=seeds)
def test_gradients_are_adjoints(case: Case, driver: tuple[bool | None, int], seed: int) -> None:
    x, kernel, _ = case.arrays(seed)
    with driven(*driver):
        y, _ = winograd.forward(x, kernel, None, case.window, False, None)
        dy = FLOAT32.normal(seed + 3, *y.shape)
        dx, dkernel, _ = winograd.backward(dy, x, kernel, case.window, None, None, None, True)
    check_adjoint(y, dy, x, dx, FLOAT32)
    check_adjoint(y, dy, kernel, dkernel, FLOAT32)


@pytest.mark.parametrize(("r", "stride"), [(4, 2), (6, 2), (6, 4), (3, 3)])
def test_bands_end_where_windows_do(r: int, stride: int) -> None:
    """Where a row of tiles is no multiple of the windows' stride; and rows of the map are behind the last window."""
    case = Case((2, 25, 23, 8), (r, r, 8, 16), "same", resolve_padding("same", (25, 23), (r, r), (1, 1)))
    case = replace(case, pool_size=(2, 2), pool_strides=(stride, stride))
    x, kernel, bias = case.arrays(0)
    y, argmax = ops_of("reference").conv2d_forward(x, kernel, bias, case.window, True, case.pool)
    dy = FLOAT32.normal(3, *y.shape)
    arguments = (dy, x, kernel, case.window, y, case.pool, argmax)
    with driven(False, 1):
        gradients = both_thread_counts(winograd.backward, *arguments, True)
    for actual, wanted in zip(gradients, ops_of("reference").conv2d_backward(*arguments), strict=True):
        FLOAT32.check(actual, wanted)


@drawn_cases(30)
@given(case=convolutions(pooled=True), pooled=st.booleans(), data=st.data(), seed=seeds)
def test_an_image_s_result_does_not_depend_on_the_batch(case: Case, pooled: bool, data: st.DataObject, seed: int) -> None:
    x, kernel, bias = case.arrays(seed)
    n = data.draw(st.integers(0, case.x[0] - 1))
    pool = case.pool if pooled else None
    among = winograd.forward(x, kernel, bias, case.window, True, pool)
    alone = winograd.forward(x[n : n + 1], kernel, bias, case.window, True, pool)
    for batch, one in zip(among, alone):
        if batch is not None:
            np.testing.assert_array_equal(batch[n : n + 1], one)


@pytest.mark.parametrize("C", [32, 96])  # below SMALL and above
def test_large_batches(C: int) -> None:
    """More images than a group holds, more groups than two threads take at once, chunks of several groups."""
    assert (36 * C * C > winograd.SMALL) == (C == 96)
    case = Case((90, 9, 8, C), (3, 3, C, C), "same", (1, 1, 1, 1))
    assert winograd.LARGE_GROUP < 90 * 3 * 2 * 36  # places of tiles
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.standard_normal(shape, np.float32) for shape in (case.x, case.kernel, (C,)))
    y, _ = both_thread_counts(winograd.forward, x, kernel, bias, case.window, False, None)
    variables = [tf.constant(array) for array in (x, kernel, bias)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        expected = tf_convolution(case, *variables)
    FLOAT32.check(y, expected)
    dy = rng.standard_normal(y.shape, np.float32)
    gradients = both_thread_counts(winograd.backward, dy, x, kernel, case.window, None, None, None, True)
    for actual, wanted in zip(gradients, tape.gradient(expected, variables, output_gradients=tf.constant(dy)), strict=True):
        FLOAT32.check(actual, wanted)


def test_pooling_of_256_taps() -> None:
    """Also the last of them, which is the largest in one channel."""
    window = (16, 16)
    case = Case((1, window[0] + 1, window[1] + 2, 8), (3, 3, 8, 8), "same", (1, 1, 1, 1), window, (1, 1))
    x, kernel, _ = case.arrays(0)
    x[0, window[0] - 1, window[1] - 1] = 100 * np.sign(kernel[1, 1, :, 0])
    kernel[:, :, :, 0] *= np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)[:, :, None]
    y, argmax = winograd.forward(x, kernel, None, case.window, False, case.pool)
    assert argmax is not None
    assert argmax.dtype == np.uint8
    assert argmax[0, 0, 0, 0] == window[0] * window[1] - 1
    expected = tf_convolution(case, x, kernel, 0).numpy()
    scale = float(np.max(np.abs(expected)))
    FLOAT32.check(y, tf.nn.max_pool2d(expected, window, 1, "VALID"), scale)
    FLOAT32.check(y, expected[places(case, argmax)], scale)
    dy = FLOAT32.normal(3, *y.shape)
    at_map = np.zeros_like(expected)
    np.add.at(at_map, places(case, argmax), dy)
    dx, _, _ = winograd.backward(dy, x, kernel, case.window, None, case.pool, argmax, True)
    FLOAT32.check(dx, tf.nn.conv2d_transpose(at_map, kernel, x.shape, 1, "SAME"))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_reach_the_output(value: float, relu: bool) -> None:
    """All of its tile's pixels, and so each that the direct sum reaches; never another image, nor a pixel a tile away."""
    case = Case((3, 12, 13, 20), (3, 3, 20, 24), "same", (1, 1, 1, 1))
    x, kernel, bias = case.arrays(0)
    finite, _ = winograd.forward(x, kernel, bias, case.window, relu, None)
    x[1, 5, 6, 7] = value
    y, _ = winograd.forward(x, kernel, bias, case.window, relu, None)
    assert not np.isfinite(y[1, 4:7, 5:8]).any()
    reached = np.zeros(y.shape, bool)
    reached[1, 4:8, 4:8] = True  # pixel (5, 6) lies under the windows of the tile (4:8, 4:8) alone
    assert not np.isfinite(y[reached]).any()
    np.testing.assert_array_equal(y[~reached], finite[~reached])


def test_arguments_are_left_alone() -> None:
    case = Case((2, 8, 8, 16), (3, 3, 16, 16), "same", (1, 1, 1, 1))
    arrays = [*case.arrays(0), FLOAT32.normal(3, 2, 8, 8, 16)]
    before = [array.copy() for array in arrays]
    x, kernel, bias, dy = arrays
    y, _ = winograd.forward(x, kernel, bias, case.window, True, None)
    winograd.backward(dy, x, kernel, case.window, y, None, None, True)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)


# --- where it is used ---------------------------------------------------------------


def test_ops_take_this_way_exactly_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for name in ("forward", "backward"):
        original = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *args, own=original, name=name: taken.append(name) or own(*args))
    x, kernel, _ = Case((8, 8, 8, 16), (3, 3, 16, 16), "same", (1, 1, 1, 1)).arrays(0)
    ops = FLOAT32.ops
    for stride, way in ((1, ["forward", "backward"]), (2, [])):
        window = window_over((8, 8), (3, 3), (stride, stride), (1, 1, 1, 1))
        assert winograd.pays(x.shape, kernel.shape, window) == bool(way)
        name = ops.conv2d_algorithm(x.shape, kernel.shape, window)
        assert name == ("Winograd F(4x4, 3x3)" if way else "direct")
        for relu, pooled in product((False, True), repeat=2):
            taken.clear()
            pool = window_over(window.output, (2, 2), (2, 2), "valid") if pooled else None
            y, argmax = ops.conv2d_forward(x, kernel, None, window, relu, pool)
            ops.conv2d_backward(np.ones_like(y), x, kernel, window, y if relu else None, pool, argmax)
            assert taken == way, (relu, pooled)


def test_grouped_convolutions_do_not_take_this_way() -> None:
    """It has no groups: they would be multiplied with each other."""
    window = window_over((16, 16), (3, 3), (1, 1), "same")
    assert winograd.pays((8, 16, 16, 32), (3, 3, 32, 32), window)
    assert not winograd.pays((8, 16, 16, 64), (3, 3, 32, 64), window._replace(groups=2))


@pytest.mark.parametrize(
    ("x", "kernel", "strides", "dilation"),
    [
        ((2, 16, 16, 32), (3, 3, 32, 32), (2, 2), (1, 1)),
        ((2, 16, 16, 32), (3, 3, 32, 32), (1, 2), (1, 1)),
        ((2, 16, 16, 32), (3, 3, 32, 32), (1, 1), (2, 2)),
        ((2, 16, 16, 32), (3, 4, 32, 32), (1, 1), (1, 1)),
        ((2, 16, 16, 32), (2, 2, 32, 32), (1, 1), (1, 1)),  # as many products as the direct way
        ((2, 16, 16, 32), (8, 8, 32, 32), (1, 1), (1, 1)),  # larger than a tile leaves room for
        ((2, 16, 16, 3), (3, 3, 3, 32), (1, 1), (1, 1)),  # the transforms cost more than they save
        ((32, 32, 32, 3), (3, 3, 3, 256), (1, 1), (1, 1)),  # sums over three channels are no faster than over a vector's
        ((2, 3, 3, 32), (3, 3, 32, 32), (1, 1), (1, 1)),  # one pixel of a tile
        ((0, 16, 16, 32), (3, 3, 32, 32), (1, 1), (1, 1)),
        ((1, 10, 10, 128), (3, 3, 128, 128), (1, 1), (1, 1)),  # one image does not earn back the kernel's transform
        ((1, 300, 300, 32), (3, 3, 32, 32), (1, 1), (1, 1)),  # transformed, far beyond the caches
    ],
)
def test_it_does_not_pay(x: tuple, kernel: tuple, strides: tuple, dilation: tuple) -> None:
    assert winograd.pays((2, 16, 16, 32), (3, 3, 32, 32), window_over((16, 16), (3, 3), (1, 1), "valid"))
    assert not winograd.pays(x, kernel, window_over(x[1:3], kernel[:2], strides, "valid", dilation))


@pytest.mark.parametrize(
    ("output", "r", "name"),
    [
        ((16, 16), 3, "F(4x4, 3x3)"),  # 16 tiles of 36 products, or 9 of 64: as many
        ((12, 12), 3, "F(4x4, 3x3)"),  # 9 of 36, or 4 of 64: a fifth fewer
        ((6, 6), 3, "F(6x6, 3x3)"),  # 4 of 36, or one of 64
        ((13, 13), 3, "F(5x5, 3x3)"),  # 16 of 36, or 9 of 49
        ((11, 12), 4, "F(4x4, 4x4)"),  # 16 of 36, or 9 of 49
        ((7, 7), 3, "F(4x4, 3x3)"),  # 4 of 36, or 4 of 49
        ((3, 3), 4, "F(3x3, 4x4)"),  # one
        ((15, 15), 4, "F(5x5, 4x4)"),
        ((16, 16), 5, "F(4x4, 5x5)"),
        ((2, 2), 5, "F(2x2, 5x5)"),
        ((15, 16), 6, "F(3x3, 6x6)"),
        ((16, 15), 7, "F(2x2, 7x7)"),
    ],
)
def test_tiles_are_larger_where_that_saves_a_fifth_or_a_quarter(output: tuple[int, int], r: int, name: str) -> None:
    image = output[0] + r - 1, output[1] + r - 1
    window = window_over(image, (r, r), (1, 1), "valid")
    assert FLOAT32.ops.conv2d_algorithm((64, *image, 64), (r, r, 64, 64), window) == f"Winograd {name}"


# --- the transforms -----------------------------------------------------------------


@pytest.mark.parametrize("side", _transforms.POINTS)
@pytest.mark.parametrize("r", [2, 3, 4, 5])
def test_matrices_make_a_correlation_of_a_product(r: int, side: int) -> None:
    """y[i] = sum over k of g[k] * d[i + k], for every d and g: as exact fractions."""
    evaluate, weights, interpolate = _transforms.matrices(r, side)
    m = side + 1 - r
    assert (len(evaluate), len(evaluate[0])) == (m, side)
    assert (len(weights), len(weights[0])) == (side, r)
    assert (len(interpolate), len(interpolate[0])) == (side, side)
    assert evaluate[0][_transforms.AT_ONE] == evaluate[1][_transforms.AT_ONE] == 1
    for i, k, pixel in product(range(m), range(r), range(side)):
        assert sum(evaluate[i][j] * weights[j][k] * interpolate[j][pixel] for j in range(side)) == (pixel == i + k)


@numba.njit
def run(transform, source, target, channels, inside, start, lower_bound):  # type: ignore[no-untyped-def]
    """Apply a transform to tiles (rows, columns, channels)."""
    of_source = Grid(address(source), source.shape[1] * source.shape[2], source.shape[2])
    of_target = Grid(address(target), target.shape[1] * target.shape[2], target.shape[2])
    _transforms.apply(transform, of_source, of_target, channels, Edges(*inside, address(start), lower_bound))


def matrix_of(kind: int, r: int, side: int) -> np.ndarray:
    """What `transform` documents, M in target = M source M^T."""
    evaluate, weights, interpolate = (np.array(matrix, float) for matrix in _transforms.matrices(r, side))
    return {
        _transforms.INPUT: interpolate,
        _transforms.KERNEL: weights,
        _transforms.OUTPUT: evaluate,
        _transforms.OUTPUT_GRADIENT: evaluate.T,
        _transforms.INPUT_GRADIENT: interpolate.T,
        _transforms.KERNEL_GRADIENT: weights.T,
    }[kind]


def check_transform(size: tuple[int, int, int], C: int, edges: tuple[int, int, int, int], lower_bound: float) -> None:
    """size: kind, r and side."""
    kind, matrix, rng = size[0], matrix_of(*size), np.random.default_rng(C)
    after, before = matrix.shape
    source, target = rng.standard_normal((before, before, C), np.float32), rng.standard_normal((after, after, 96), np.float32)
    start, untouched = rng.standard_normal(C, np.float32), target.copy()
    top, bottom, left, right = edges
    pixels = source.astype(float)
    if kind in (_transforms.INPUT, _transforms.OUTPUT_GRADIENT):  # zeros beyond the image or the map, whatever lies there
        pixels = np.zeros_like(pixels)
        pixels[max(0, top) : bottom, max(0, left) : right] = source[max(0, top) : bottom, max(0, left) : right]
    wanted = np.einsum("ik,klc,jl->ijc", matrix, pixels, matrix)
    if kind == _transforms.OUTPUT:
        wanted = np.maximum(wanted + start, lower_bound)
    if kind == _transforms.INPUT_GRADIENT:
        wanted += untouched[:, :, :C]
    run(_transforms.transform(*size), source, target, C, edges, start, np.float32(lower_bound))
    if kind in (_transforms.OUTPUT, _transforms.INPUT_GRADIENT):
        on_map = np.zeros((after, after, 1), bool)
        on_map[max(0, top) : bottom, max(0, left) : right] = True
        wanted = np.where(on_map, wanted, untouched[:, :, :C])
    np.testing.assert_allclose(target[:, :, :C], wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    scratch = kind in (_transforms.INPUT, _transforms.KERNEL, _transforms.OUTPUT_GRADIENT)  # where whole vectors are written
    end = winograd._whole(C) if scratch else C
    np.testing.assert_array_equal(target[:, :, end:], untouched[:, :, end:])


@pytest.mark.parametrize(
    ("r", "side"), [(3, 6), (4, 6), (5, 6), (3, 7), (4, 7), (5, 7), (6, 7), (3, 8), (4, 8), (5, 8), (6, 8), (7, 8)]
)
@pytest.mark.parametrize("kind", range(6))
def test_compiled_transform_is_its_matrix(kind: int, r: int, side: int) -> None:
    m = side + 1 - r
    for C in (1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 80):
        for edges, lower_bound in (
            ((0, side, 0, side), -np.inf),
            ((-3, side, -1, 9), 0),
            ((0, 1, 0, m - 1), 0),
            ((1, side, 2, 5), -0.5),
            ((-2, 5, 1, side), -0.5),
            ((0, 0, 0, side), 0),
        ):
            check_transform((kind, r, side), C, edges, lower_bound)
