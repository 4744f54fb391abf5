"""Every layer against Keras's: drawn cases of the output and of every gradient. Ops have more of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.checks import check_layer
from tests.ops.checks import Target, seeds, simple_cases
from tests.ops.windows import Windows, windows

pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # Keras's advice on a single class

# Arguments are few bits long, since Keras rounds those of a float64 layer to float32 on their way.
named_windows = windows(pads_below_window=True).filter(lambda case: case.padding != "explicit")
channels = st.sampled_from([1, 2, 3, 5, 8, 17])
# Not gelu and leaky_relu, whose constants TensorFlow rounds to float32 even in float64: the tests of ops have them.
activations = st.sampled_from(["linear", "relu", "elu", "selu", "silu", "sigmoid", "tanh", "softplus", "softmax"])
penalties = st.sampled_from([None, "l2", "l1"])
images = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), channels)
any_rank = st.one_of(images, st.tuples(st.integers(1, 4), channels), st.tuples(st.integers(1, 3), st.integers(1, 4), channels))


def size_of_terms(activation: str) -> float:
    """Softmax's gradient is a difference, which of a single class is 0: y * (dy - dy)."""
    return 1.0 if activation == "softmax" else 0.0


@st.composite
def conv_arguments(draw: st.DrawFn) -> tuple[tuple[int, ...], dict]:
    """An input shape and Conv2D's arguments; strides or dilation, not both."""
    case: Windows = draw(named_windows)
    strides, dilation, image = case.strides, (1, 1), case.image
    if strides == (1, 1) and draw(st.booleans()):
        dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        image = tuple(max(size, (k - 1) * d + 1) for size, k, d in zip(image, case.window, dilation))
    arguments = {
        "filters": draw(channels),
        "kernel_size": case.window if draw(st.booleans()) or case.window[0] != case.window[1] else case.window[0],
        "strides": strides,
        "padding": case.padding,
        "dilation_rate": dilation,
        "activation": draw(activations),
        "use_bias": draw(st.booleans()),
        "kernel_regularizer": draw(penalties),
        "bias_initializer": "ones",
    }
    return (case.batch, *image, draw(channels)), arguments


@simple_cases
@given(case=conv_arguments(), seed=seeds)
def test_conv2d(target: Target, case: tuple[tuple[int, ...], dict], seed: int) -> None:
    shape, arguments = case
    terms = size_of_terms(arguments["activation"])
    check_layer("Conv2D", target, target.normal(seed, *shape), seed, terms=terms, **arguments)


@simple_cases
@given(shape=any_rank, units=channels, activation=activations, use_bias=st.booleans(), penalty=penalties, seed=seeds)
def test_dense(
    target: Target, shape: tuple[int, ...], units: int, activation: str, use_bias: bool, penalty: str | None, seed: int
) -> None:
    check_layer(
        "Dense",
        target,
        target.normal(seed, *shape),
        seed,
        units=units,
        activation=activation,
        use_bias=use_bias,
        bias_regularizer=penalty,
        kernel_initializer="he_normal",
        terms=size_of_terms(activation),
    )


@simple_cases
@given(case=named_windows, C=channels, average=st.booleans(), default_strides=st.booleans(), seed=seeds)
def test_pooling(target: Target, case: Windows, C: int, average: bool, default_strides: bool, seed: int) -> None:
    strides = None if default_strides else case.strides
    x = target.normal(seed, case.batch, *case.image, C)
    name = "AveragePooling2D" if average else "MaxPooling2D"
    check_layer(name, target, x, seed, pool_size=case.window, strides=strides, padding=case.padding)


@simple_cases
@given(shape=images, average=st.booleans(), keepdims=st.booleans(), seed=seeds)
def test_global_pooling(target: Target, shape: tuple[int, ...], average: bool, keepdims: bool, seed: int) -> None:
    # Without ties: TensorFlow's gradient of a maximum over axes shares among them, ours goes to the first.
    size = int(np.prod(shape))
    x = (np.random.default_rng(seed).permutation(size).reshape(shape) - size / 2).astype(target.dtype)
    check_layer("GlobalAveragePooling2D" if average else "GlobalMaxPooling2D", target, x, seed, keepdims=keepdims)


@simple_cases
@given(
    shape=any_rank,
    center=st.booleans(),
    scale=st.booleans(),
    training=st.booleans(),
    trainable=st.booleans(),
    momentum=st.sampled_from([0.99, 0.9, 0.0]),
    epsilon=st.sampled_from([1e-3, 1e-2]),
    seed=seeds,
)
def test_batch_normalization(
    target: Target,
    shape: tuple[int, ...],
    center: bool,
    scale: bool,
    training: bool,
    trainable: bool,
    momentum: float,
    epsilon: float,
    seed: int,
) -> None:
    """A frozen layer (`trainable=False`) uses its moving statistics even in training."""
    x = target.normal(seed, *shape)
    # Of few rows, x - mean and dx are differences that all but cancel: of x and dy, over sqrt(variance + epsilon).
    deviations = np.sqrt(x.reshape(-1, shape[-1]).var(axis=0) + epsilon)
    check_layer(
        "BatchNormalization",
        target,
        x,
        seed,
        training=training,
        terms=float(np.abs(x).max() / deviations.min()) if training and trainable else 0.0,
        axis=len(shape) - 1 if center else -1,
        momentum=momentum,
        epsilon=epsilon,
        center=center,
        scale=scale,
        trainable=trainable,
    )


@simple_cases
@given(shape=any_rank, activation=activations, seed=seeds)
def test_activation(target: Target, shape: tuple[int, ...], activation: str, seed: int) -> None:
    check_layer("Activation", target, target.normal(seed, *shape), seed, activation=activation, terms=size_of_terms(activation))


@simple_cases
@given(
    shape=any_rank,
    max_value=st.sampled_from([None, 0.5, 6.0, 1.25]),
    negative_slope=st.sampled_from([0.0, 0.125, 2.0]),
    threshold=st.sampled_from([0.0, 0.25]),
    seed=seeds,
)
def test_relu(
    target: Target, shape: tuple[int, ...], max_value: float | None, negative_slope: float, threshold: float, seed: int
) -> None:
    # Inputs are odd multiples of 1/128, so that none lies on a kink.
    check_layer(
        "ReLU",
        target,
        target.normal(seed, *shape),
        seed,
        max_value=max_value,
        negative_slope=negative_slope,
        threshold=threshold,
    )


@simple_cases
@given(shape=any_rank, slope=st.sampled_from([0.0, 0.125, 0.3125, 1.5]), seed=seeds)
def test_leaky_relu(target: Target, shape: tuple[int, ...], slope: float, seed: int) -> None:
    check_layer("LeakyReLU", target, target.normal(seed, *shape), seed, negative_slope=slope)


@simple_cases
@given(shape=any_rank, alpha=st.sampled_from([1.0, 0.125, 2.0]), seed=seeds)
def test_elu(target: Target, shape: tuple[int, ...], alpha: float, seed: int) -> None:
    check_layer("ELU", target, target.normal(seed, *shape), seed, alpha=alpha)


@simple_cases
@given(shape=images, axis=st.sampled_from([-1, -1, 1, 2, -2, [-1], [1, 2], [3, 1]]), seed=seeds)
def test_softmax(target: Target, shape: tuple[int, ...], axis: int | list[int], seed: int) -> None:
    check_layer("Softmax", target, target.normal(seed, *shape), seed, terms=size_of_terms("softmax"), axis=axis)


@simple_cases
@given(shape=any_rank, seed=seeds)
def test_flatten(target: Target, shape: tuple[int, ...], seed: int) -> None:
    check_layer("Flatten", target, target.normal(seed, *shape), seed)


@simple_cases
@given(shape=images, order=st.permutations([0, 1, 2]), unknown=st.sampled_from([None, 0, 1, 2]), seed=seeds)
def test_reshape(target: Target, shape: tuple[int, ...], order: list[int], unknown: int | None, seed: int) -> None:
    target_shape = [shape[1:][axis] for axis in order]
    if unknown is not None:
        target_shape[unknown] = -1
    check_layer("Reshape", target, target.normal(seed, *shape), seed, target_shape=tuple(target_shape))


@simple_cases
@given(
    shape=images,
    padding=st.one_of(
        st.integers(0, 3),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
        st.tuples(*(st.tuples(st.integers(0, 3), st.integers(0, 3)) for _ in range(2))),
    ),
    seed=seeds,
)
def test_zero_padding2d(target: Target, shape: tuple[int, ...], padding: int | tuple, seed: int) -> None:
    check_layer("ZeroPadding2D", target, target.normal(seed, *shape), seed, padding=padding)


@simple_cases
@given(shape=any_rank, scale=st.sampled_from([1 / 256, 2.0, 0.625]), offset=st.sampled_from([0.0, -1.0]), seed=seeds)
def test_rescaling(target: Target, shape: tuple[int, ...], scale: float, offset: float, seed: int) -> None:
    check_layer("Rescaling", target, target.normal(seed, *shape), seed, scale=scale, offset=offset)


@simple_cases
@given(shape=images, numbers=st.lists(st.floats(-4, 4, width=16), min_size=17, max_size=17), shift=st.booleans(), seed=seeds)
def test_rescaling_by_channel(target: Target, shape: tuple[int, ...], numbers: list[float], shift: bool, seed: int) -> None:
    scale, offset = numbers[: shape[-1]], numbers[-shape[-1] :] if shift else 0.5
    check_layer("Rescaling", target, target.normal(seed, *shape), seed, scale=scale, offset=offset)


@simple_cases
@given(shape=any_rank, count=st.integers(1, 4), seed=seeds)
def test_add(target: Target, shape: tuple[int, ...], count: int, seed: int) -> None:
    check_layer("Add", target, [target.normal(seed + i, *shape) for i in range(count)], seed)


@simple_cases
@given(shape=images, kept=st.lists(st.booleans(), min_size=3, max_size=3), without_space=st.booleans(), seed=seeds)
def test_add_broadcasts(target: Target, shape: tuple[int, ...], kept: list[bool], without_space: bool, seed: int) -> None:
    N, *rest = shape
    smaller = (N, shape[-1]) if without_space else (N, *(extent if keep else 1 for extent, keep in zip(rest, kept)))
    check_layer("Add", target, [target.normal(seed, *smaller), target.normal(seed + 1, *shape)], seed)


@simple_cases
@given(
    shape=images,
    axis=st.sampled_from([-1, 1, 2, 3, -2]),
    extents=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=seeds,
)
def test_concatenate(target: Target, shape: tuple[int, ...], axis: int, extents: list[int], seed: int) -> None:
    def with_extent(extent: int) -> tuple[int, ...]:
        resized = list(shape)
        resized[axis] = extent
        return tuple(resized)

    check_layer(
        "Concatenate", target, [target.normal(seed + i, *with_extent(n)) for i, n in enumerate(extents)], seed, axis=axis
    )
