"""Fused ops equal the ops that they stand for, and do not depend on the number of threads, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends import numba_cpu, spec
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.numba_cpu._walk import CHUNKS
from minicnn.backends.numba_cpu.fused import MAP_BYTES
from minicnn.backends.reference import fused as reference
from minicnn.shapes import resolve_padding, window_output
from tests.ops.checks import Target, around, both_thread_counts, gradient_cases, seeds

FLOAT32 = Target("numba_cpu", "float32")


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """A convolution followed by a pooling, both fitting: sizes beside the vector's length, one pixel, padding, dilation."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if strides == (1, 1) else (1, 1)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    image = tuple(r + draw(st.integers(0, 7)) for r in reach)
    pads = resolve_padding(draw(st.sampled_from(["same", "valid"])), image, kernel, strides, dilation)
    size = window_output(image, kernel, strides, pads, dilation)
    pool_size = tuple(draw(st.integers(1, min(3, extent))) for extent in size)
    pool_strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pool_pads = resolve_padding(draw(st.sampled_from(["same", "valid"])), size, pool_size, pool_strides)
    return {
        "x": (draw(st.integers(1, 18)), *image, draw(st.integers(1, 18))),
        "kernel": kernel,
        "C_out": draw(st.integers(1, 35)),
        "walk": (strides, pads, dilation),
        "pool": (pool_size, pool_strides, pool_pads),
    }


def check(name: str, *args: Any, scale: float = 0.0) -> Any:
    """Both backends on the same arguments; returns the reference's results. `scale`: see `Target.check`."""
    expected = getattr(reference, name)(*args)
    actual = both_thread_counts(getattr(numba_cpu, name), *args)
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


@gradient_cases
@given(case=convolutions(), relu=st.booleans(), biased=st.booleans(), need_dx=st.booleans(), seed=seeds)
def test_convolution(case: dict[str, Any], relu: bool, biased: bool, need_dx: bool, seed: int) -> None:
    x = FLOAT32.normal(seed, *case["x"])
    kernel = FLOAT32.normal(seed + 1, *case["kernel"], x.shape[3], case["C_out"])
    bias = FLOAT32.normal(seed + 2, case["C_out"]) if biased else None
    if relu:
        y = check("conv2d_relu_forward", x, kernel, bias, *case["walk"])
        dy = FLOAT32.normal(seed + 3, *y.shape)
        check("conv2d_relu_backward", dy, x, y, kernel, *case["walk"], need_dx)
    else:
        y = reference.conv2d_forward(x, kernel, bias, *case["walk"])
        dy = FLOAT32.normal(seed + 3, *y.shape)
        check("conv2d_backward", dy, x, kernel, *case["walk"], need_dx)


@gradient_cases
@given(case=convolutions(), relu=st.booleans(), biased=st.booleans(), need_dx=st.booleans(), seed=seeds)
def test_convolution_and_pooling(case: dict[str, Any], relu: bool, biased: bool, need_dx: bool, seed: int) -> None:
    """Sums are exact here (see `Target.normal`), so that the winners must agree too."""
    x = FLOAT32.normal(seed, *case["x"])
    kernel = FLOAT32.normal(seed + 1, *case["kernel"], x.shape[3], case["C_out"])
    bias = FLOAT32.normal(seed + 2, case["C_out"]) if biased else None
    windows = (*case["walk"], *case["pool"])
    if relu:
        y, winners = check("conv2d_relu_maxpool_forward", x, kernel, bias, *windows)
        dy = FLOAT32.normal(seed + 3, *y.shape)
        check("conv2d_relu_maxpool_backward", dy, x, y, winners, kernel, *windows, need_dx)
    else:
        y, winners = check("conv2d_maxpool_forward", x, kernel, bias, *windows)
        dy = FLOAT32.normal(seed + 3, *y.shape)
        check("conv2d_maxpool_backward", dy, x, winners, kernel, *windows, need_dx)


@pytest.mark.parametrize("batch", around(CHUNKS))
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_many_images(batch: int, stride: int) -> None:
    """Images around as many as are summed apart in the kernel's gradient; with stride 1 dx gathers."""
    x, kernel = FLOAT32.normal(0, batch, 6, 7, 3), FLOAT32.normal(1, 2, 3, 3, NR + 1)
    walk = ((stride, stride), (1, 0, 1, 1), (1, 1))
    y = reference.conv2d_forward(x, kernel, None, *walk)
    check("conv2d_backward", FLOAT32.normal(2, *y.shape), x, kernel, *walk, True)


# Rows of an image of NR channels and one pixel a row that a task pools.
BAND = MAP_BYTES // (4 * NR)


@pytest.mark.parametrize("image", [(2, 70, 61), (1, BAND - 1, 1), (1, BAND, 1), (1, BAND + 1, 1), (1, 2 * BAND + 3, 1)])
@pytest.mark.parametrize("overlap", [0, 1])
def test_convolution_and_pooling_of_large_images(image: tuple[int, ...], overlap: int) -> None:
    """Large enough to be cut into bands, and for both threads to have work."""
    x, kernel = FLOAT32.normal(0, *image, 5), FLOAT32.normal(1, 1, 1, 5, NR)
    windows = ((1, 1), (0, 0, 0, 0), (1, 1), (2 + overlap, 1), (2, 1), (overlap, 0, 0, 0))
    y, winners = check("conv2d_relu_maxpool_forward", x, kernel, None, *windows)
    check("conv2d_relu_maxpool_backward", FLOAT32.normal(2, *y.shape), x, y, winners, kernel, *windows, True)


@pytest.mark.parametrize("pool_size", [(16, 16), (1, 257), (257, 1), (17, 17)])
@pytest.mark.parametrize("relu", ["", "_relu"])
def test_windows_of_more_than_256_taps(relu: str, pool_size: tuple[int, int]) -> None:
    """Also the last of them, which wins in one channel."""
    x, kernel = FLOAT32.normal(0, 2, pool_size[0] + 1, pool_size[1] + 2, 3), FLOAT32.normal(1, 1, 1, 3, 5)
    x[0, pool_size[0] - 1, pool_size[1] - 1] = 50 * np.sign(kernel[0, 0, :, 0])
    windows = ((1, 1), (0, 0, 0, 0), (1, 1), pool_size, (1, 1), (0, 0, 0, 0))
    y, winners = check(f"conv2d{relu}_maxpool_forward", x, kernel, None, *windows)
    assert winners[0, 0, 0, 0] == pool_size[0] * pool_size[1] - 1
    seen = [y, winners] if relu else [winners]
    check(f"conv2d{relu}_maxpool_backward", FLOAT32.normal(2, *y.shape), x, *seen, kernel, *windows, True)


@pytest.mark.parametrize("pool_size", [(2, 2), (3, 3)])
@pytest.mark.parametrize("relu", ["", "_relu"])
def test_nan_reaches_the_pooled_map(relu: str, pool_size: tuple[int, int]) -> None:
    x, kernel = FLOAT32.normal(0, 2, 12, 11, 3), FLOAT32.normal(1, 3, 3, 3, 20)
    x[1, 5, 6, 2] = np.nan
    windows = ((1, 1), (1, 1, 1, 1), (1, 1), pool_size, (2, 2), (1, 1, 1, 1))
    y, _ = check(f"conv2d{relu}_maxpool_forward", x, kernel, None, *windows)
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
    dy = FLOAT32.normal(seed + 3, M, C_out)
    if relu:
        y = check("dense_relu_forward", x, kernel, bias)
        check("dense_relu_backward", dy, x, y, kernel, need_dx)
    else:
        check("dense_backward", dy, x, kernel, need_dx)


@pytest.mark.parametrize("M", [3, 5])
def test_dense_relu_looks_at_the_whole_sum(M: int) -> None:
    """Sums of more features than a task takes at once: what is negative halfway may be positive in the end."""
    C_in = 2 * numba_cpu.dense.DEPTH + 3
    x, kernel = FLOAT32.normal(0, M, C_in), FLOAT32.normal(1, C_in, 20)
    check("dense_relu_forward", x, kernel, FLOAT32.normal(2, 20))


@gradient_cases
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(1, 35)), seed=seeds)
def test_batchnorm_and_relu(shape: tuple[int, ...], seed: int) -> None:
    x, dy = FLOAT32.normal(seed, *shape), FLOAT32.normal(seed + 1, *shape)
    gamma, beta = FLOAT32.normal(seed + 2, shape[-1]), FLOAT32.normal(seed + 3, shape[-1])
    _, mean, variance = check("batchnorm_relu_forward", x, gamma, beta, 1e-3)
    y = numba_cpu.batchnorm_relu_forward(x, gamma, beta, 1e-3)[0]
    # Where one dy passes the ReLU, at an x near the mean, the sum of dy * x_hat has one tiny term; dy itself is of size 1.
    check("batchnorm_relu_backward", dy, x, y, gamma, mean, variance, 1e-3, scale=1.0)
    check("batchnorm_relu_inference", x, gamma, beta, mean, variance, 1e-3)


@pytest.mark.parametrize("name", [name for file in spec.FUSED.values() for name in file])
def test_reference_has_each(name: str) -> None:
    assert callable(getattr(reference, name))
    assert callable(getattr(numba_cpu, name))
