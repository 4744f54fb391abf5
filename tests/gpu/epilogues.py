"""Tests of what may follow an op in the same call, for simulated kernels and for a GPU: see `families.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.backends.types import window_over
from tests.ops.checks import Target, away_from_the_kink, ops_of, seeds
from tests.ops.test_epilogues import convolutions

reference = ops_of("reference")
epilogue_cases = settings(max_examples=60)
extents = st.integers(1, 40)
VALID = window_over((4, 4), (3, 3), (1, 1), "valid")


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
    kernel = target.normal(seed + 1, *case["window"].size, x.shape[3], case["C_out"])
    return x, kernel, target.normal(seed + 2, case["C_out"]) if biased else None


@epilogue_cases
@given(case=convolutions(), biased=st.booleans(), need_dx=st.booleans(), seed=seeds)
def test_convolution_and_relu(target: Target, case: dict[str, Any], biased: bool, need_dx: bool, seed: int) -> None:
    x, kernel, bias = drawn(target, case, biased, seed)
    y, _ = check(target, "conv2d_forward", x, kernel, bias, case["window"], True)
    dy = target.normal(seed + 3, *y.shape)
    check(target, "conv2d_backward", dy, x, kernel, case["window"], y, None, None, need_dx)


@epilogue_cases
@given(case=convolutions(), relu=st.booleans(), biased=st.booleans(), need_dx=st.booleans(), seed=seeds)
def test_convolution_and_pooling(
    target: Target, case: dict[str, Any], relu: bool, biased: bool, need_dx: bool, seed: int
) -> None:
    x, kernel, bias = drawn(target, case, biased, seed)
    # The argmax agree: in float32 sums are exact (see `Target.normal`), in float64 no two values are near each other.
    y, argmax = check(target, "conv2d_forward", x, kernel, bias, case["window"], relu, case["pool"])
    dy = target.normal(seed + 3, *y.shape)
    check(target, "conv2d_backward", dy, x, kernel, case["window"], y if relu else None, case["pool"], argmax, need_dx)


def test_a_long_sum_is_rectified_after_its_last_chunk(target: Target) -> None:
    """A deep convolution of few pixels is summed in chunks, which may be negative one by one."""
    x, kernel, bias = target.normal(0, 1, 4, 4, 300), target.normal(1, 3, 3, 300, 7), target.normal(2, 7)
    y, _ = check(target, "conv2d_forward", x, kernel, bias, VALID, True)
    assert 0 < np.count_nonzero(y) < y.size


@epilogue_cases
@given(M=extents, C_in=extents, C_out=extents, need_dx=st.booleans(), seed=seeds)
def test_dense_and_relu(target: Target, M: int, C_in: int, C_out: int, need_dx: bool, seed: int) -> None:
    x, kernel, bias = target.normal(seed, M, C_in), target.normal(seed + 1, C_in, C_out), target.normal(seed + 2, C_out)
    y = check(target, "dense_forward", x, kernel, bias, True)
    check(target, "dense_backward", target.normal(seed + 3, M, C_out), x, kernel, y, need_dx)


@epilogue_cases
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(1, 35)), seed=seeds)
def test_batch_normalization_and_relu(target: Target, shape: tuple[int, ...], seed: int) -> None:
    x, dy = target.normal(seed, *shape), target.normal(seed + 1, *shape)
    gamma, beta = target.normal(seed + 2, shape[-1]), target.normal(seed + 3, shape[-1])
    _, mean, variance = check(target, "batchnorm_forward", x, gamma, beta, 1e-3, True)
    dy = away_from_the_kink(dy, reference.batchnorm_inference(x, gamma, beta, mean, variance, 1e-3))
    # Where one dy passes the ReLU, at an x near the mean, the sum of dy * x_hat has one tiny term; dy itself is of size 1.
    check(target, "batchnorm_backward", dy, x, gamma, beta, mean, variance, 1e-3, True, scale=1.0)
    check(target, "batchnorm_inference", x, gamma, beta, mean, variance, 1e-3, True)
    check(target, "batchnorm_inference_backward", dy, x, gamma, beta, mean, variance, 1e-3, True, scale=1.0)


def test_relu_lets_nan_through(target: Target) -> None:
    x = np.full((1, 1, 1, 2), np.nan, target.dtype)
    kernel = np.ones((1, 1, 2, 3), target.dtype)
    window = window_over((1, 1), (1, 1), (1, 1), "valid")
    assert np.isnan(target.ops.conv2d_forward(x, kernel, None, window, True)[0]).all()
    assert np.isnan(target.ops.dense_forward(x.reshape(1, 2), kernel.reshape(2, 3), None, True)).all()
