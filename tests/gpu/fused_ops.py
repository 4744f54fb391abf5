"""Tests of the fused ops that the GPU backend offers, for simulated kernels and for a GPU: see `families.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.backends.reference import fused as reference
from tests.ops.checks import Target, seeds
from tests.ops.test_fused import convolutions

fused_cases = settings(max_examples=60)
extents = st.integers(1, 40)


def check(target: Target, name: str, *args: Any, scale: float = 0.0) -> Any:
    """Both backends on the same arguments; returns the reference's results. `scale`: see `Target.check`."""
    expected = getattr(reference, name)(*args)
    actual = getattr(target.ops, name)(*args)
    pairs = zip(actual, expected, strict=True) if isinstance(expected, tuple) else [(actual, expected)]
    for got, wanted in pairs:
        assert (got is None) == (wanted is None)
        if wanted is not None and wanted.dtype.kind == "f":
            target.check(got, wanted, scale)
        elif wanted is not None:
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
    return expected


def drawn(target: Target, case: dict[str, Any], biased: bool, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x = target.normal(seed, *case["x"])
    kernel = target.normal(seed + 1, *case["kernel"], x.shape[3], case["C_out"])
    return x, kernel, target.normal(seed + 2, case["C_out"]) if biased else None


@fused_cases
@given(case=convolutions(), biased=st.booleans(), need_dx=st.booleans(), seed=seeds)
def test_convolution_and_relu(target: Target, case: dict[str, Any], biased: bool, need_dx: bool, seed: int) -> None:
    x, kernel, bias = drawn(target, case, biased, seed)
    y = check(target, "conv2d_relu_forward", x, kernel, bias, *case["walk"])
    check(target, "conv2d_relu_backward", target.normal(seed + 3, *y.shape), x, y, kernel, *case["walk"], need_dx)


@fused_cases
@given(case=convolutions(), biased=st.booleans(), need_dx=st.booleans(), seed=seeds)
def test_convolution_relu_and_pooling(target: Target, case: dict[str, Any], biased: bool, need_dx: bool, seed: int) -> None:
    x, kernel, bias = drawn(target, case, biased, seed)
    windows = (*case["walk"], *case["pool"])
    # The winners agree: in float32 sums are exact (see `Target.normal`), in float64 no two values are near each other.
    y, winners = check(target, "conv2d_relu_maxpool_forward", x, kernel, bias, *windows)
    dy = target.normal(seed + 3, *y.shape)
    check(target, "conv2d_relu_maxpool_backward", dy, x, y, winners, kernel, *windows, need_dx)


def test_a_long_sum_is_rectified_after_its_last_chunk(target: Target) -> None:
    """A deep convolution of few pixels is summed in chunks, which may be negative one by one."""
    x, kernel, bias = target.normal(0, 1, 4, 4, 300), target.normal(1, 3, 3, 300, 7), target.normal(2, 7)
    y = check(target, "conv2d_relu_forward", x, kernel, bias, (1, 1), (0, 0, 0, 0), (1, 1))
    assert 0 < np.count_nonzero(y) < y.size


@fused_cases
@given(M=extents, C_in=extents, C_out=extents, need_dx=st.booleans(), seed=seeds)
def test_dense_and_relu(target: Target, M: int, C_in: int, C_out: int, need_dx: bool, seed: int) -> None:
    x, kernel, bias = target.normal(seed, M, C_in), target.normal(seed + 1, C_in, C_out), target.normal(seed + 2, C_out)
    y = check(target, "dense_relu_forward", x, kernel, bias)
    check(target, "dense_relu_backward", target.normal(seed + 3, M, C_out), x, y, kernel, need_dx)


@fused_cases
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(1, 35)), seed=seeds)
def test_batch_normalization_and_relu(target: Target, shape: tuple[int, ...], seed: int) -> None:
    x, dy = target.normal(seed, *shape), target.normal(seed + 1, *shape)
    gamma, beta = target.normal(seed + 2, shape[-1]), target.normal(seed + 3, shape[-1])
    y, mean, variance = check(target, "batchnorm_relu_forward", x, gamma, beta, 1e-3)
    # Where one dy passes the ReLU, at an x near the mean, the sum of dy * x_hat has one tiny term; dy itself is of size 1.
    check(target, "batchnorm_relu_backward", dy, x, y, gamma, mean, variance, 1e-3, scale=1.0)
    check(target, "batchnorm_relu_inference", x, gamma, beta, mean, variance, 1e-3)


def test_relu_lets_nan_through(target: Target) -> None:
    x = np.full((1, 1, 1, 2), np.nan, target.dtype)
    kernel = np.ones((1, 1, 2, 3), target.dtype)
    assert np.isnan(target.ops.conv2d_relu_forward(x, kernel, None, (1, 1), (0, 0, 0, 0), (1, 1))).all()
    assert np.isnan(target.ops.dense_relu_forward(x.reshape(1, 2), kernel.reshape(2, 3), None)).all()
