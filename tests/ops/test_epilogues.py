"""What a fast backend does with a result at hand (ReLU, max pooling) equals the reference's separate passes over it.

On one thread and on two, to the last bit of each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu import conv, dense, pointwise
from minicnn.backends.numba_cpu._geometry import NO_POOL, geometry_of
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.numba_cpu.conv import MAP_BYTES
from minicnn.backends.types import window_over
from tests.ops.checks import MANY_IMAGES, Target, around, away_from_the_kink, both_thread_counts, gradient_cases, ops_of, seeds

FLOAT32 = Target("numba", "float32")
reference = ops_of("reference")


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """A convolution followed by a pooling, both fitting: sizes beside the vector's length, one pixel, padding, dilation."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if strides == (1, 1) else (1, 1)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    image = tuple(r + draw(st.integers(0, 7)) for r in reach)
    window = window_over(image, kernel, strides, draw(st.sampled_from(["same", "valid"])), dilation)
    pool_size = tuple(draw(st.integers(1, min(3, extent))) for extent in window.output)
    pool_strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return {
        "x": (draw(st.integers(1, 18)), *image, draw(st.integers(1, 18))),
        "C_out": draw(st.integers(1, 35)),
        "window": window,
        "pool": window_over(window.output, pool_size, pool_strides, draw(st.sampled_from(["same", "valid"]))),
    }


def check(name: str, *args: Any, scale: float = 0.0) -> Any:
    """Both backends on the same arguments; returns the reference's results. `scale`: see `Target.check`."""
    expected = getattr(reference, name)(*args)
    actual = both_thread_counts(getattr(FLOAT32.ops, name), *args)
    assert isinstance(actual, tuple) == isinstance(expected, tuple)
    pairs = zip(actual, expected, strict=True) if isinstance(expected, tuple) else [(actual, expected)]
    for got, wanted in pairs:
        assert (got is None) == (wanted is None)
        if wanted is not None and wanted.dtype == np.float32:
            FLOAT32.check(got, wanted, scale)
        elif wanted is not None:
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
    return expected


@contextlib.contextmanager
def in_bands(nbytes: int) -> Iterator[None]:
    """With so many bytes of rows together, forward and in the kernel's gradient."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv, "BAND_BYTES", nbytes)
        yield


bands = st.sampled_from([1, conv.BAND_BYTES])  # of one row, of all


@gradient_cases
@given(
    case=convolutions(),
    relu=st.booleans(),
    biased=st.booleans(),
    need_dx=st.booleans(),
    band=bands,
    seed=seeds,
)
def test_convolution(case: dict[str, Any], relu: bool, biased: bool, need_dx: bool, band: int, seed: int) -> None:
    x, window = FLOAT32.normal(seed, *case["x"]), case["window"]
    kernel = FLOAT32.normal(seed + 1, *window.size, x.shape[3], case["C_out"])
    bias = FLOAT32.normal(seed + 2, case["C_out"]) if biased else None
    with in_bands(band):
        y, _ = check("conv2d_forward", x, kernel, bias, window, relu)
        dy = FLOAT32.normal(seed + 3, *y.shape)
        check("conv2d_backward", dy, x, kernel, window, y if relu else None, None, None, need_dx)


@gradient_cases
@given(
    case=convolutions(),
    relu=st.booleans(),
    biased=st.booleans(),
    need_dx=st.booleans(),
    band=bands,
    seed=seeds,
)
def test_convolution_and_pooling(case: dict[str, Any], relu: bool, biased: bool, need_dx: bool, band: int, seed: int) -> None:
    """Sums are exact here (see `Target.normal`), so that the argmax must agree too."""
    x, window, pool = FLOAT32.normal(seed, *case["x"]), case["window"], case["pool"]
    kernel = FLOAT32.normal(seed + 1, *window.size, x.shape[3], case["C_out"])
    bias = FLOAT32.normal(seed + 2, case["C_out"]) if biased else None
    with in_bands(band):
        y, argmax = check("conv2d_forward", x, kernel, bias, window, relu, pool)
        dy = FLOAT32.normal(seed + 3, *y.shape)
        check("conv2d_backward", dy, x, kernel, window, y if relu else None, pool, argmax, need_dx)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pooling", [None, (2, 2), (2, 3)])
def test_bands_of_three_rows_and_a_shorter_one(stride: int, pooling: tuple[int, int] | None) -> None:
    """Also where there are rows between windows, and behind the last ones."""
    x, kernel = FLOAT32.normal(0, 3, 34, 19, 3), FLOAT32.normal(1, 3, 2, 3, NR + 5)
    window = window_over((34, 19), (3, 2), (stride, stride), "valid")
    pool = window_over(window.output, pooling[:1] * 2, pooling[1:] * 2, "valid") if pooling else None
    y, argmax = check("conv2d_forward", x, kernel, None, window, True, pool)
    rows = 1 if pool is None else pool.strides[0]
    with in_bands(3 * rows * window.output[1] * 2 * NR * 4):
        geometries = geometry_of(34, 19, window), NO_POOL if pool is None else geometry_of(*window.output, pool)
        assert conv._backward_band(y.shape, *geometries, False)[0] == 3
        assert y.shape[1] % 3 > 0
        check("conv2d_backward", FLOAT32.normal(2, *y.shape), x, kernel, window, y, pool, argmax, False)


@gradient_cases
@given(
    image=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    groups=st.integers(2, 4),
    relu=st.booleans(),
    pooled=st.booleans(),
    need_dx=st.booleans(),
    seed=seeds,
)
def test_grouped_convolution(image: tuple[int, int], groups: int, relu: bool, pooled: bool, need_dx: bool, seed: int) -> None:
    x, kernel = FLOAT32.normal(seed, 2, *image, 2 * groups), FLOAT32.normal(seed + 1, 3, 2, 2, 3 * groups)
    window = window_over(image, (3, 2), (1, 2), "same", groups=groups)
    pool = window_over(window.output, (2, 2), (2, 1), "same") if pooled else None
    y, argmax = check("conv2d_forward", x, kernel, FLOAT32.normal(seed + 2, 3 * groups), window, relu, pool)
    check("conv2d_backward", FLOAT32.normal(seed + 3, *y.shape), x, kernel, window, y if relu else None, pool, argmax, need_dx)


@pytest.mark.parametrize("batch", MANY_IMAGES)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_many_images(batch: int, stride: int) -> None:
    """Images around as many as are summed apart in the kernel's gradient; with stride 1 dx gathers."""
    x, kernel = FLOAT32.normal(0, batch, 6, 7, 3), FLOAT32.normal(1, 2, 3, 3, NR + 1)
    window = window_over((6, 7), (2, 3), (stride, stride), (1, 0, 1, 1))
    y, _ = reference.conv2d_forward(x, kernel, None, window)
    check("conv2d_backward", FLOAT32.normal(2, *y.shape), x, kernel, window)


# Rows of an image of NR channels and one pixel a row that a task pools.
BAND = MAP_BYTES // (4 * NR)


@pytest.mark.parametrize("image", [(2, 70, 61), (1, BAND - 1, 1), (1, BAND, 1), (1, BAND + 1, 1), (1, 2 * BAND + 3, 1)])
@pytest.mark.parametrize("overlap", [0, 1])
def test_convolution_and_pooling_of_large_images(image: tuple[int, ...], overlap: int) -> None:
    """Large enough to be cut into bands, and for both threads to have work."""
    x, kernel = FLOAT32.normal(0, *image, 5), FLOAT32.normal(1, 1, 1, 5, NR)
    window = window_over(image[1:], (1, 1), (1, 1), "valid")
    pool = window_over(image[1:], (2 + overlap, 1), (2, 1), (overlap, 0, 0, 0))
    y, argmax = check("conv2d_forward", x, kernel, None, window, True, pool)
    check("conv2d_backward", FLOAT32.normal(2, *y.shape), x, kernel, window, y, pool, argmax)


@pytest.mark.parametrize("pool_size", [(16, 16), (1, 257), (257, 1), (17, 17)])
@pytest.mark.parametrize("relu", [False, True])
def test_windows_of_more_than_256_taps(relu: bool, pool_size: tuple[int, int]) -> None:
    """Also the last of them, which is the largest in one channel."""
    image = pool_size[0] + 1, pool_size[1] + 2
    x, kernel = FLOAT32.normal(0, 2, *image, 3), FLOAT32.normal(1, 1, 1, 3, 5)
    x[0, pool_size[0] - 1, pool_size[1] - 1] = 50 * np.sign(kernel[0, 0, :, 0])
    window, pool = window_over(image, (1, 1), (1, 1), "valid"), window_over(image, pool_size, (1, 1), "valid")
    y, argmax = check("conv2d_forward", x, kernel, None, window, relu, pool)
    assert argmax[0, 0, 0, 0] == pool_size[0] * pool_size[1] - 1
    check("conv2d_backward", FLOAT32.normal(2, *y.shape), x, kernel, window, y if relu else None, pool, argmax)


@pytest.mark.parametrize("pool_size", [(2, 2), (3, 3)])
@pytest.mark.parametrize("relu", [False, True])
def test_nan_reaches_the_pooled_map(relu: bool, pool_size: tuple[int, int]) -> None:
    x, kernel = FLOAT32.normal(0, 2, 12, 11, 3), FLOAT32.normal(1, 3, 3, 3, 20)
    x[1, 5, 6, 2] = np.nan
    window = window_over((12, 11), (3, 3), (1, 1), "same")
    y, _ = check("conv2d_forward", x, kernel, None, window, relu, window_over((12, 11), pool_size, (2, 2), (1, 1, 1, 1)))
    assert np.isnan(y[1]).any(axis=(0, 1)).all()
    assert not np.isnan(y[0]).any()


@gradient_cases
@given(
    M=st.integers(1, 40),
    C_in=st.integers(1, 40),
    C_out=st.integers(1, 40),
    need_dx=st.booleans(),
    seed=seeds,
    relu=st.booleans(),
)
def test_dense(M: int, C_in: int, C_out: int, need_dx: bool, seed: int, relu: bool) -> None:
    x, kernel, bias = FLOAT32.normal(seed, M, C_in), FLOAT32.normal(seed + 1, C_in, C_out), FLOAT32.normal(seed + 2, C_out)
    y = check("dense_forward", x, kernel, bias, relu)
    check("dense_backward", FLOAT32.normal(seed + 3, M, C_out), x, kernel, y if relu else None, need_dx)


@pytest.mark.parametrize("M", [3, 5])
def test_dense_relu_looks_at_the_whole_sum(M: int) -> None:
    """Sums of more features than a task takes at once: what is negative halfway may be positive in the end."""
    C_in = 2 * dense.DEPTH + 3
    x, kernel = FLOAT32.normal(0, M, C_in), FLOAT32.normal(1, C_in, 20)
    check("dense_forward", x, kernel, FLOAT32.normal(2, 20), True)


@pytest.mark.parametrize("M", around(pointwise.FEWEST))
def test_dense_gradients_of_many_samples(M: int) -> None:
    """Around as many as are worth chunks of their own."""
    x, kernel = FLOAT32.normal(0, M, 5), FLOAT32.normal(1, 5, NR + 3)
    y = check("dense_forward", x, kernel, None, True)
    check("dense_backward", FLOAT32.normal(2, *y.shape), x, kernel, y)


@gradient_cases
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(1, 35)), seed=seeds)
def test_batchnorm_and_relu(shape: tuple[int, ...], seed: int) -> None:
    x, dy = FLOAT32.normal(seed, *shape), FLOAT32.normal(seed + 1, *shape)
    gamma, beta = FLOAT32.normal(seed + 2, shape[-1]), FLOAT32.normal(seed + 3, shape[-1])
    _, mean, variance = check("batchnorm_forward", x, gamma, beta, 1e-3, True)
    dy = away_from_the_kink(dy, reference.batchnorm_inference(x, gamma, beta, mean, variance, 1e-3))
    # Where one dy passes the ReLU, at an x near the mean, the sum of dy * x_hat has one tiny term; dy itself is of size 1.
    check("batchnorm_backward", dy, x, gamma, beta, mean, variance, 1e-3, True, scale=1.0)
    check("batchnorm_inference_backward", dy, x, gamma, beta, mean, variance, 1e-3, True, scale=1.0)
    check("batchnorm_inference", x, gamma, beta, mean, variance, 1e-3, True)
