"""The naive twins: what other backends' tests say holds for them on small cases; and the fast kernels agree with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minicnn
from minicnn import layers
from minicnn.backends.numba_cpu import winograd
from minicnn.backends.types import window_over
from tests.drawn import drawn_cases
from tests.ops import test_conv, test_conv_transpose, test_dense, test_depthwise, test_norm, test_pool
from tests.ops.checks import Target, ops_of, seeds
from tests.ops.windows import Windows, windows

FLOAT32 = Target("loops", "float32")
MOST_PIXELS = 2000  # under all windows of a drawn case
few_cases = drawn_cases(30)
few_channels = st.integers(1, 3)


@pytest.fixture(params=[FLOAT32, Target("loops", "float64")], ids=lambda target: target.dtype, scope="session")
def twin(request: pytest.FixtureRequest) -> Target:
    return request.param


def body(test: Callable[..., Any]) -> Callable[..., None]:
    """What a test does with one drawn case."""
    return test.hypothesis.inner_test  # type: ignore[attr-defined]


@st.composite
def small_windows(draw: st.DrawFn, **options: bool) -> Windows:
    case = draw(windows(**options))
    assume(case.batch * np.prod(case.geometry().output) * np.prod(case.window) <= MOST_PIXELS)
    return case


@few_cases
@given(case=small_windows(), C_in=few_channels, C_out=few_channels, with_bias=st.booleans(), seed=seeds)
def test_loops_of_a_convolution(twin: Target, case: Windows, C_in: int, C_out: int, with_bias: bool, seed: int) -> None:
    body(test_conv.test_conv2d_equals_tensorflow)(twin, case, C_in, C_out, with_bias, seed)
    body(test_conv.test_conv2d_gradients_are_adjoints)(twin, case, C_in, C_out, seed)


@few_cases
@given(case=small_windows(dilated=True), groups=few_channels, inputs=few_channels, outputs=few_channels, seed=seeds)
def test_loops_of_a_grouped_convolution(twin: Target, case: Windows, groups: int, inputs: int, outputs: int, seed: int) -> None:
    body(test_conv.test_grouped_conv2d_equals_tensorflow)(twin, case, groups, inputs, outputs, True, seed)


def test_loops_at_the_edges_of_a_convolution(twin: Target) -> None:
    test_conv.test_depthwise_conv2d_equals_tensorflow(twin, 2)
    test_conv.test_conv2d_of_no_images(twin, 2)
    test_conv.test_conv2d_leaves_its_arguments_alone(twin)
    test_conv.test_nan_pixel_reaches_exactly_the_windows_over_it(twin)


@few_cases
@given(case=small_windows(dilated=True), C=few_channels, M=few_channels, relu=st.booleans(), seed=seeds)
def test_loops_of_transposed_and_depthwise_convolutions(
    twin: Target, case: Windows, C: int, M: int, relu: bool, seed: int
) -> None:
    test_depthwise.check_against_tensorflow(twin, case, C, M, True, relu, seed)
    test_conv_transpose.check_against_tensorflow(twin, case, C, M, True, relu, seed)


@few_cases
@given(case=small_windows(pads_below_window=True), C=few_channels, ties=st.booleans(), seed=seeds)
def test_loops_of_a_pooling(twin: Target, case: Windows, C: int, ties: bool, seed: int) -> None:
    body(test_pool.test_maxpool2d_equals_tensorflow)(twin, case, C, ties, seed)
    body(test_pool.test_avgpool2d_equals_tensorflow)(twin, case, C, seed)
    body(test_pool.test_pool_gradients_are_adjoints)(twin, case, C, seed)


@few_cases
@given(case=small_windows(), C=few_channels, seed=seeds)
def test_loops_of_a_pooling_by_hand(twin: Target, case: Windows, C: int, seed: int) -> None:
    body(test_pool.test_maxpool2d_by_hand)(twin, case, C, seed)
    body(test_pool.test_avgpool2d_by_hand)(twin, case, C, seed)


def test_loops_at_the_edges_of_a_pooling(twin: Target) -> None:
    test_pool.test_argmax_of_windows_of_more_than_256_taps_is_int32(twin, (17, 17))
    test_pool.test_argmax_of_windows_of_more_than_256_taps_is_int32(twin, (16, 16))
    test_pool.test_pixels_under_no_window_get_no_gradient(twin, (5, 5), (0, 0, 0, 0))
    test_pool.test_padding_never_wins(twin)


@few_cases
@given(M=st.integers(1, 7), C_in=st.integers(1, 9), C_out=st.integers(1, 9), with_bias=st.booleans(), seed=seeds)
def test_loops_of_a_dense_layer(twin: Target, M: int, C_in: int, C_out: int, with_bias: bool, seed: int) -> None:
    body(test_dense.test_dense_equals_tensorflow)(twin, M, C_in, C_out, with_bias, seed)
    body(test_dense.test_dense_gradients_are_adjoints)(twin, M, C_in, C_out, seed)


@few_cases
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple),
    offset=st.sampled_from([0, 100]),
    scaled=st.booleans(),
    centered=st.booleans(),
    epsilon=test_norm.epsilons,
    seed=seeds,
)
def test_loops_of_batch_normalization(
    twin: Target, shape: tuple[int, ...], offset: int, scaled: bool, centered: bool, epsilon: float, seed: int
) -> None:
    body(test_norm.test_batchnorm_equals_tensorflow)(twin, shape, offset, scaled, centered, epsilon, seed)
    body(test_norm.test_batchnorm_inference_equals_tensorflow)(twin, shape, scaled, centered, epsilon, seed)


# --- the fast kernels and the reference against the loops -----------------------------


def check(backend: str, name: str, *args: Any) -> Any:
    """Another backend computes the loops' numbers; returns the loops' results."""
    expected = getattr(FLOAT32.ops, name)(*args)
    actual = getattr(ops_of(backend), name)(*args)
    pairs = zip(actual, expected, strict=True) if isinstance(expected, tuple) else [(actual, expected)]
    for got, wanted in pairs:
        assert (got is None) == (wanted is None)
        if wanted is not None and wanted.dtype == np.float32:
            FLOAT32.check(got, wanted, scale=1.0)
        elif wanted is not None:
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
    return expected


fast = pytest.mark.parametrize("backend", ["numba", "reference"])


@fast
@drawn_cases(40)
@given(
    case=small_windows(dilated=True),
    C_in=few_channels,
    C_out=few_channels,
    groups=st.integers(1, 2),
    relu=st.booleans(),
    pooled=st.booleans(),
    need_dx=st.booleans(),
    seed=seeds,
)
def test_a_convolution_and_what_follows_it_equal_the_loops(
    backend: str, case: Windows, C_in: int, C_out: int, groups: int, relu: bool, pooled: bool, need_dx: bool, seed: int
) -> None:
    """Sums are exact here (see `Target.normal`), so that the argmax must agree too."""
    x = FLOAT32.normal(seed, case.batch, *case.image, C_in * groups)
    kernel, bias = FLOAT32.normal(seed + 1, *case.window, C_in, C_out * groups), FLOAT32.normal(seed + 2, C_out * groups)
    window = case.geometry(groups)
    pool = window_over(window.output, (2, 2), (2, 2), "same") if pooled else None
    y, argmax = check(backend, "conv2d_forward", x, kernel, bias, window, relu, pool)
    dy = FLOAT32.normal(seed + 3, *y.shape)
    check(backend, "conv2d_backward", dy, x, kernel, window, y if relu else None, pool, argmax, need_dx)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_winograd_s_convolution_equals_the_loops(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of an image so small that it does not pay."""
    monkeypatch.setattr(winograd, "pays", lambda *shapes: True)
    x, kernel, bias = FLOAT32.normal(0, 2, 8, 9, 5), FLOAT32.normal(1, size, size, 5, 6), FLOAT32.normal(2, 6)
    window = window_over((8, 9), (size, size), (1, 1), "same")
    assert "Winograd" in ops_of("numba").conv2d_algorithm(x.shape, kernel.shape, window)
    y, _ = check("numba", "conv2d_forward", x, kernel, bias, window, True)
    check("numba", "conv2d_backward", FLOAT32.normal(3, *y.shape), x, kernel, window, y)


@fast
@pytest.mark.parametrize("relu", [False, True])
def test_dense_and_batch_normalization_equal_the_loops(backend: str, relu: bool) -> None:
    x, kernel, dy = FLOAT32.normal(0, 5, 7), FLOAT32.normal(1, 7, 9), FLOAT32.normal(2, 5, 9)
    y = check(backend, "dense_forward", x, kernel, FLOAT32.normal(3, 9), relu)
    check(backend, "dense_backward", dy, x, kernel, y if relu else None)
    x, dy, gamma, beta = (FLOAT32.normal(i, *shape) for i, shape in enumerate([(2, 3, 4, 5), (2, 3, 4, 5), (5,), (5,)]))
    _, mean, variance = check(backend, "batchnorm_forward", x, gamma, beta, 1e-3, relu)
    check(backend, "batchnorm_inference", x, gamma, beta, mean, variance, 1e-3, relu)
    for name in ("batchnorm_backward", "batchnorm_inference_backward"):
        check(backend, name, dy, x, gamma, beta, mean, variance, 1e-3, relu)


def trained(backend: str) -> list[np.ndarray]:
    """The weights of a small network with every op that the loops write out, after two epochs."""
    minicnn.set_backend(backend)
    minicnn.utils.set_random_seed(3)
    model = minicnn.Sequential(
        [
            layers.Input((6, 7, 2)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(4, 3, padding="same", groups=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.AveragePooling2D(2, 1),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(5, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = FLOAT32.normal(0, 12, 6, 7, 2)
    model.fit(x, np.arange(12) % 3, batch_size=6, epochs=2, verbose=0)
    model.predict(x, verbose=0)
    return model.get_weights()


def test_a_whole_model_trains_in_loops() -> None:
    before = minicnn.backend()
    try:
        expected, actual = trained("reference"), trained("loops")
        assert minicnn.backends.backend() == "loops"
        assert minicnn.backends.backend_module().describe()["backend"] == "loops"
    finally:
        minicnn.set_backend(before)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
