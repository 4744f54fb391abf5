"""The kernels' own exp, tanh and the like: errors in units of the last place against float64, and that they are vectors."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import scipy.special

from minicnn.backends.numba_cpu import _vectormath

# The exact function, between where it is tested, and the error that its docstring allows, in ulp.
FUNCTIONS: dict[str, tuple[Callable[..., Any], float, float, Callable[[np.ndarray], Any]]] = {
    "exp": (np.exp, -87.3, 88.7, lambda x: 2),
    "expm1": (np.expm1, -30, 88.7, lambda x: 2),
    "tanh": (np.tanh, -30, 30, lambda x: 3),
    "sigmoid": (scipy.special.expit, -87.3, 100, lambda x: 3),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))), -87.3, 100, lambda x: 3),
    "log1p_of_share": (np.log1p, 0, 1, lambda x: 2),
    "normal_cdf": (scipy.special.ndtr, -12.8, 30, lambda x: 8 + np.where(x < 0, x * x / 2, 0)),
}
functions = pytest.mark.parametrize("name", FUNCTIONS)


def loop_over(name: str) -> Any:
    """A compiled loop of the function over x, into y."""
    function = getattr(_vectormath, name)
    if name == "normal_cdf":

        @numba.njit(error_model="numpy")
        def loop(x, y):  # type: ignore[no-untyped-def]
            for i in range(np.uint64(x.size)):
                y[i] = function(x[i])[0]

    else:

        @numba.njit(error_model="numpy")
        def loop(x, y):  # type: ignore[no-untyped-def]
            for i in range(np.uint64(x.size)):
                y[i] = function(x[i])

    return loop


def values(loop: Any, x: Any) -> np.ndarray:
    x = np.asarray(x, np.float32)
    y = np.empty_like(x)
    loop(x, y)
    return y


@functions
def test_error_in_units_of_the_last_place(name: str) -> None:
    exact, lowest, highest, allowed = FUNCTIONS[name]
    evenly = np.linspace(lowest, highest, 1_000_003)
    small = np.exp(np.random.default_rng(0).uniform(-30, 2, 300_000))  # of every size, near 0
    x = np.concatenate([evenly, small, -small]).astype(np.float32)
    x = x[(lowest <= x) & (x <= highest)]
    expected = exact(x.astype(np.float64))
    normal = abs(expected) >= np.finfo(np.float32).tiny
    error = abs(values(loop_over(name), x) - expected)[normal] / np.spacing(abs(expected[normal]).astype(np.float32))
    assert (error <= np.broadcast_to(allowed(x.astype(np.float64)), x.shape)[normal]).all(), error.max()


@functions
def test_at_the_ends(name: str) -> None:
    exact, lowest, _, _ = FUNCTIONS[name]
    far = np.array([-np.inf, -1e30, -200, 200, 1e30, np.inf] if lowest < 0 else [0, 1])
    loop = loop_over(name)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(values(loop, far), exact(far).astype(np.float32))
    assert np.isnan(values(loop, [np.nan, -np.nan])).all()


@functions
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads the names of x86's instructions")
def test_a_loop_computes_vectors_and_calls_nothing(name: str) -> None:
    loop = loop_over(name)
    values(loop, np.zeros(1))
    (assembly,) = loop.inspect_asm().values()
    assert re.search(r"vmulps\s.*%[yz]mm", assembly) or re.search(r"mulps\s.*%xmm", assembly)
    body = assembly[: assembly.index("cpython")] if "cpython" in assembly else assembly
    assert not re.search(r"call\w*\s.*(exp|tanh|erf|log)", body)


@pytest.mark.parametrize("size", [1, 7, 10, 16, 33, 1000])
def test_exponentials_of_a_row(size: int) -> None:
    row = numba.njit(lambda x, y: _vectormath.exponentials(x, y))
    rng = np.random.default_rng(size)
    for x in (rng.standard_normal(size) * 10, -rng.uniform(1, 80, size), np.full(size, -3.0)):
        x = x.astype(np.float32)
        y = np.empty_like(x)
        largest, total = row(x, y)
        exact = np.exp((x - x.max()).astype(np.float64))
        assert largest == x.max()
        np.testing.assert_allclose(y, exact, rtol=3e-7, atol=1e-37)
        np.testing.assert_allclose(total, exact.sum(), rtol=1e-6)


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_a_nan_in_a_row_makes_its_sum_one(nan: float) -> None:
    row = numba.njit(lambda x, y: _vectormath.exponentials(x, y))
    for place in range(20):
        x = np.ones(20, np.float32)
        x[place] = nan
        assert np.isnan(row(x, np.empty_like(x))[1])
