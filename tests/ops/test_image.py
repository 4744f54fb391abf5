"""Upsampling against TensorFlow, and against its formula."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.checks import Target, check_adjoint, forward_and_gradients, gradient_cases, seeds

images = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 16, 17]))
factors = st.tuples(st.integers(1, 4), st.integers(1, 4))


@gradient_cases
@given(shape=images, size=factors, seed=seeds)
def test_nearest_upsampling_equals_tensorflow(target: Target, shape: tuple[int, ...], size: tuple[int, int], seed: int) -> None:
    x = target.normal(seed, *shape)
    expected, dy, (expected_dx,) = forward_and_gradients(
        lambda x: tf.repeat(tf.repeat(x, size[0], 1), size[1], 2), [x], seed + 1, target
    )
    y = target.ops.upsample2d_nearest_forward(x, size)
    np.testing.assert_array_equal(y, expected)
    target.check(y, expected)
    dx = target.ops.upsample2d_nearest_backward(dy, size)
    target.check(dx, expected_dx, scale=float(np.abs(dy).max()))
    check_adjoint(y, dy, x, dx, target)


def along(axis_size: int, new_size: int, radius: int) -> np.ndarray:
    """The formula in `upsample2d_forward`, an element of its matrix at a time."""

    def weight(distance: float) -> float:
        d = abs(distance)
        if d >= radius:
            return 0.0
        if radius == 1:
            return 1 - d
        if radius == 2:
            return 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        return float(np.sinc(d) * np.sinc(d / radius))

    matrix = np.zeros((new_size, axis_size))
    for o in range(new_size):
        for h in range(axis_size):
            matrix[o, h] = weight((o + 0.5) * axis_size / new_size - 0.5 - h)
        matrix[o] /= matrix[o].sum()
    return matrix


@gradient_cases
@given(
    shape=images,
    larger=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    radius=st.sampled_from([1, 2, 3, 5]),
    seed=seeds,
)
def test_smooth_upsampling_equals_its_formula(
    target: Target, shape: tuple[int, ...], larger: tuple[int, int], radius: int, seed: int
) -> None:
    (_, H, W, _), image = shape, (shape[1] + larger[0], shape[2] + larger[1])
    x, dy = target.normal(seed, *shape), target.normal(seed + 1, shape[0], *image, shape[3])
    rows, columns = along(H, image[0], radius), along(W, image[1], radius)
    y = target.ops.upsample2d_forward(x, image, radius)
    target.check(y, np.einsum("oh,pw,nhwc->nopc", rows, columns, x))
    dx = target.ops.upsample2d_backward(dy, (H, W), radius)
    target.check(dx, np.einsum("oh,pw,nopc->nhwc", rows, columns, dy), scale=float(np.abs(dy).max()))
    check_adjoint(y, dy, x, dx, target)
