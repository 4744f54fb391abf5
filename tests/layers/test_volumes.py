"""Layers over volumes against Keras's, in drawn cases, and what they are made of. `test_table` has all their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import backends, layers, study
from minicnn.backends import asarray, to_numpy, volumes
from minicnn.backends.types import Window, window_over
from minicnn.models import Sequential
from tests.drawn import drawn_cases
from tests.layers.checks import check_layer
from tests.layers.test_table import values
from tests.ops.checks import Target, both_thread_counts, check_adjoint, forward_and_gradients, seeds

few_cases = drawn_cases(12)  # each is traced by TensorFlow anew
channels = st.sampled_from([1, 2, 3, 17])
small = st.integers(1, 3)
triples = st.tuples(small, small, small)
paddings = st.sampled_from(["valid", "same"])


@st.composite
def kernels(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """A volume's shape without channels, and a window's arguments."""
    size, strides, padding = draw(triples), draw(st.one_of(st.just((1, 1, 1)), triples)), draw(paddings)
    least = (1, 1, 1) if padding == "same" else size
    volume = tuple(extent + draw(st.integers(0, 4)) for extent in least)
    return (draw(st.integers(1, 2)), *volume), {"strides": strides, "padding": padding, "size": size}


@few_cases
@given(case=kernels(), C=channels, filters=channels, activation=st.sampled_from(["linear", "relu", "tanh"]), seed=seeds)
def test_convolution(target: Target, case: Any, C: int, filters: int, activation: str, seed: int) -> None:
    shape, arguments = case
    named = {"kernel_size": arguments.pop("size"), "filters": filters, "activation": activation, "bias_initializer": "ones"}
    check_layer("Conv3D", target, target.normal(seed, *shape, C), seed, **arguments, **named)


@few_cases
@given(case=kernels(), C=channels, filters=channels, activation=st.sampled_from(["linear", "relu"]), seed=seeds)
def test_transposed_convolution(target: Target, case: Any, C: int, filters: int, activation: str, seed: int) -> None:
    """With no stride above the kernel: TensorFlow's gradient of a convolution is wrong there in float64."""
    shape, arguments = case
    arguments["strides"] = tuple(map(min, arguments["strides"], arguments["size"]))
    named = {"kernel_size": arguments.pop("size"), "filters": filters, "activation": activation}
    check_layer("Conv3DTranspose", target, target.normal(seed, *shape, C), seed, **arguments, **named)


@few_cases
@given(case=kernels(), C=channels, name=st.sampled_from(["MaxPooling3D", "AveragePooling3D"]), seed=seeds)
def test_pooling(target: Target, case: Any, C: int, name: str, seed: int) -> None:
    """In float32: TensorFlow has no others on a CPU."""
    shape, arguments = case
    target = Target(target.backend, "float32")
    check_layer(name, target, values(target, seed, (*shape, C)), seed, pool_size=arguments.pop("size"), **arguments)


@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize(("strides", "dilation"), [((1, 1, 1), (2, 1, 3)), ((1, 1, 1), (3, 2, 1)), ((2, 3, 1), (1, 1, 1))])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolution_by_its_formula(
    target: Target, groups: int, strides: tuple[int, ...], dilation: tuple[int, ...], padding: str
) -> None:
    """Groups and dilation, which TensorFlow's kernels of a CPU do not have: a plain convolution by a kernel with zeros in
    the gaps and between the groups."""
    x, kernel = target.normal(0, 2, 6, 7, 8, 10), target.normal(1, 2, 3, 2, 10 // groups, 10)
    reach = [(size - 1) * step + 1 for size, step in zip(kernel.shape, dilation)]
    apart = np.zeros((*reach, 10, 10), target.dtype)
    inside = np.kron(np.eye(groups), np.ones((10 // groups, 10 // groups)))
    apart[:: dilation[0], :: dilation[1], :: dilation[2]] = np.tile(kernel, (1, 1, 1, groups, 1)) * inside

    def convolve(x: Any, apart: Any) -> Any:
        return tf.nn.conv3d(x, apart, (1, *strides, 1), padding.upper())

    expected, dy, (expected_dx, dapart) = forward_and_gradients(convolve, [x, apart], 2, target)
    taken = (dapart[:: dilation[0], :: dilation[1], :: dilation[2]] * inside).reshape(2, 3, 2, groups, 10 // groups, 10)
    layer = layers.Conv3D(10, (2, 3, 2), strides, padding, None, dilation, groups, use_bias=False, dtype=target.dtype)
    layer.build(x.shape)
    layer.set_weights([kernel])
    y, saved = layer.forward(asarray(x), True)
    target.check(to_numpy(y), expected)
    dx, (dkernel,) = layer.backward(asarray(dy), saved)
    target.check(to_numpy(dx), expected_dx)
    target.check(to_numpy(dkernel), taken.sum(axis=3))


def gathered(x: np.ndarray, depth: Window, groups: int) -> np.ndarray:
    """The formula of `gather`, number by number."""
    (N, D, H, W, C), KD, OD = x.shape, depth.size[0], depth.output[0]
    slices = np.zeros((N, OD, H, W, groups, KD, C // groups), x.dtype)
    for n, oz, kz, g in np.ndindex(N, OD, KD, groups):
        d = oz * depth.strides[0] + kz * depth.dilation[0] - depth.pads[0]
        if 0 <= d < D:
            slices[n, oz, :, :, g, kz] = x[n, d, :, :, g * (C // groups) : (g + 1) * (C // groups)]
    return slices.reshape(N * OD, H, W, KD * C)


@drawn_cases(40)
@given(
    D=st.integers(1, 7),
    slide=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    C=st.sampled_from([(1, 1), (3, 1), (4, 2), (3, 3)]),
    seed=seeds,
)
def test_slices_are_gathered_and_scattered(
    target: Target, D: int, slide: tuple[int, int, int], pads: tuple[int, int], C: tuple[int, int], seed: int
) -> None:
    size, stride, dilation = slide
    depth = window_over((max(D, (size - 1) * dilation + 1), 1), (size, 1), (stride, 1), (*pads, 0, 0), (dilation, 1))
    depth = depth._replace(output=(depth.output[0] + 1, 1))  # also a place beyond the last slice
    x = target.normal(seed, 2, D, 3, 2, C[0])
    slices = volumes.gather(x, depth, C[1])
    np.testing.assert_array_equal(slices, gathered(x, depth, C[1]))
    dy = target.normal(seed + 1, *slices.shape)
    check_adjoint(slices, dy, x, volumes.scatter(dy, x.shape, depth, C[1]), target)


def test_a_kernel_of_one_slice_copies_nothing(target: Target) -> None:
    x, depth = target.normal(0, 2, 5, 3, 4, 2), window_over((5, 1), (1, 1), (1, 1), "same")
    slices = volumes.gather(x, depth)
    assert np.shares_memory(slices, x)
    assert np.shares_memory(volumes.scatter(slices, x.shape, depth), slices)
    every_other = volumes.gather(x, window_over((5, 1), (1, 1), (2, 1), "same"))
    np.testing.assert_array_equal(every_other, x[:, ::2].reshape(6, 3, 4, 2))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_first_of_several_maxima_has_the_gradient(target: Target, padding: str) -> None:
    """First in (d, h, w) order; by a search through each window."""
    x = np.random.default_rng(0).integers(0, 2, (2, 5, 6, 5, 3)).astype(target.dtype)
    layer = layers.MaxPooling3D((2, 3, 2), (2, 2, 1), padding, dtype=target.dtype)
    y, saved = layer.forward(asarray(x), True)
    dy = target.normal(1, *y.shape)
    window = layer.window_over(x.shape)
    fronts = window.depth.pads[0], window.image.pads[0], window.image.pads[2]
    expected = np.zeros_like(x)
    for n, *place, c in np.ndindex(*y.shape):
        starts = [at * step - pad for at, step, pad in zip(place, layer.strides, fronts)]
        spans = [slice(max(start, 0), start + size) for start, size in zip(starts, layer.pool_size)]
        under = x[(n, *spans, c)]
        first = np.unravel_index(under.argmax(), under.shape)
        expected[(n, *(span.start + at for span, at in zip(spans, first)), c)] += dy[(n, *place, c)]
        assert to_numpy(y)[(n, *place, c)] == under.max()
    target.check(to_numpy(layer.backward(asarray(dy), saved)[0]), expected)


@pytest.mark.parametrize(("pool_size", "strides"), [((2, 2, 2), None), ((1, 2, 2), None), ((3, 2, 1), (2, 1, 2))])
@pytest.mark.parametrize("relu", [False, True])
def test_a_plan_joins_relu_and_pooling(target: Target, relu: bool, pool_size: Any, strides: Any) -> None:
    x, kernel, bias = target.normal(0, 2, 6, 7, 8, 3), target.normal(1, 3, 3, 3, 3, 5), target.normal(2, 5)
    convolution = layers.Conv3D(5, 3, padding="same")
    behind = [layers.ReLU()] if relu else []
    model = Sequential([layers.Input(x.shape[1:]), convolution, *behind, layers.MaxPooling3D(pool_size, strides)])
    convolution.set_weights([kernel, bias])
    (step,) = model.training_plan().steps
    assert step.kind == "Conv3D+" + "ReLU+" * relu + "MaxPooling3D"

    def by_tensorflow(x: Any, kernel: Any, bias: Any) -> Any:
        z = tf.nn.conv3d(x, kernel, (1, 1, 1, 1, 1), "SAME") + bias
        return tf.nn.max_pool3d(tf.nn.relu(z) if relu else z, pool_size, strides or pool_size, "VALID")

    x, kernel, bias = (array.astype("float32") for array in (x, kernel, bias))
    expected, dy, gradients = forward_and_gradients(by_tensorflow, [x, kernel, bias], 3, Target(target.backend, "float32"))
    y, saved = step.layer.forward(asarray(x), True, **step.epilogues)
    dx, grads = step.layer.backward(asarray(dy), saved)
    for actual, wanted in zip((y, dx, *grads), (expected, *gradients), strict=True):
        np.testing.assert_allclose(to_numpy(actual), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.fixture
def numba() -> Iterator[None]:
    before = backends.backend()
    backends.set_backend("numba")
    yield
    backends.set_backend(before)


@pytest.mark.usefixtures("numba")
def test_one_thread_and_two_give_the_same_bits() -> None:
    def step(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
        window = volumes.window3d_over(x.shape[1:4], (3, 3, 3), (1, 1, 1), "same")
        pool = volumes.window3d_over(window.output, (2, 2, 2), (2, 2, 2), "valid")
        y, argmax = volumes.conv3d_forward(x, kernel, bias, window, True, pool)
        back = volumes.conv3d_backward(y - 1, x, kernel, window, y, pool, argmax)
        wider = volumes.transposed_window3d(y.shape[1:4], x.shape[1:4], (2, 2, 2), (2, 2, 2))
        turned = np.ascontiguousarray(kernel[:2, :2, :2])
        z = volumes.conv3d_transpose_forward(y, turned, None, wider, x.shape[1:4])
        return y, *back, z, *volumes.conv3d_transpose_backward(z, y, turned, wider)

    random = np.random.default_rng(0)
    arrays = (random.standard_normal(shape, np.float32) for shape in ((2, 8, 16, 16, 12), (3, 3, 3, 12, 20), (20,)))
    both_thread_counts(step, *arrays)


@pytest.mark.usefixtures("numba")
def test_what_is_told_of_a_model_of_volumes() -> None:
    minicnn.set_random_seed(0)  # of the gradients that are checked below, none at a kink
    model = Sequential(
        [
            layers.Input((6, 8, 8, 6)),
            layers.Conv3D(4, (3, 3, 3), padding="same", activation="relu"),
            layers.MaxPooling3D(2),
            layers.Conv3DTranspose(3, 2, strides=2),
            layers.GlobalAveragePooling3D(),
        ]
    )
    rows = model.training_plan().describe()
    assert [row["op"] for row in rows] == ["Conv3D+MaxPooling3D", "Conv3DTranspose", "GlobalAveragePooling3D"]
    assert [row["kernel"] for row in rows] == ["Winograd F(4x4, 3x3), 3 slices", "direct, 2 slices", ""]
    assert model.layers[0].count_flops((None, 6, 8, 8, 6), (None, 6, 8, 8, 4)) == 2 * 6 * 8 * 8 * 4 * 27 * 6
    assert model.layers[0].algorithm((None, 6, None, 8, 6)) == "depends on the image"
    assert layers.Conv3D(4, (1, 3, 3)).algorithm((8, 6, 8, 8, 2)) == layers.Conv2D(4, 3).algorithm((48, 8, 8, 2))
    x = np.random.default_rng(0).standard_normal((6, 8, 8, 6)).astype("float32")
    traced = study.trace(model, x)
    assert (traced.pixel, {call.place for call in traced.calls}) == (None, {None})
    assert traced.calls[0].ops == ("conv2d_forward", "maxpool2d_forward")
    assert "Winograd F(4x4, 3x3), 3 slices" in str(traced)
    assert all(check.passed for check in study.gradcheck(model))
