"""Dense layers and biases against TensorFlow, and their adjoints."""

from __future__ import annotations

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from minicnn.backends.numba_cpu import pointwise
from minicnn.backends.numba_cpu._geometry import CHUNKS
from minicnn.backends.numba_cpu._microkernel import MR, NR, STREAMED
from minicnn.backends.numba_cpu.dense import BLOCKS, DEPTH, FEW, GROUP, PART, PARTS, SAMPLES, SUMMED_ROWS, TOGETHER, WIDE
from minicnn.backends.types import window_over
from tests.ops.checks import Target, around, both_thread_counts, check_adjoint, forward_and_gradients, gradient_cases, seeds

extents = st.sampled_from([1, 2, 3, 5, 7, 8, 16, 17, 31, 33, 64])


@gradient_cases
@given(M=extents, C_in=extents, C_out=extents, with_bias=st.booleans(), seed=seeds)
def test_dense_equals_tensorflow(target: Target, M: int, C_in: int, C_out: int, with_bias: bool, seed: int) -> None:
    ops = target.ops
    x, kernel = target.normal(seed, M, C_in), target.normal(seed + 1, C_in, C_out)
    bias = target.normal(seed + 2, C_out) if with_bias else None

    def affine(x, kernel, bias=None):
        y = tf.matmul(x, kernel)
        return y if bias is None else tf.nn.bias_add(y, bias)

    inputs = [x, kernel] if bias is None else [x, kernel, bias]
    y, dy, gradients = forward_and_gradients(affine, inputs, seed + 3, target)
    target.check(ops.dense_forward(x, kernel, bias), y)
    dx, dkernel, dbias = ops.dense_backward(dy, x, kernel)
    target.check(dx, gradients[0])
    target.check(dkernel, gradients[1])
    target.check(dbias, tf.reduce_sum(dy, axis=0) if bias is None else gradients[2])


FLOAT32 = Target("numba", "float32")
LARGE = [
    (1, PARTS * PART // 64 + 7, 65),  # more parts of a kernel than are taken
    (FEW - 1, PART + 1, 3),
    (FEW, 3 * PART // 100, 100),
    (FEW + 1, DEPTH + 1, NR + 1),
    (40, 2 * DEPTH + 3, NR + 1),
    *zip(around(DEPTH), around(WIDE), around(NR)),
    *zip(around(NR), around(TOGETHER), around(2 * NR)),
    *[(M, STREAMED // (4 * 8 * NR), 8 * NR) for M in (5, DEPTH + 1)],  # a kernel's gradient that goes around the caches, or not
    *zip(around(SAMPLES), around(GROUP), around(NR)),
    *zip(around(NR), around(DEPTH), around(BLOCKS * NR)),
    # Many rows: chunks, in runs; columns of x, the last of them for the bias; more panels of dy than are summed at once.
    *[(M, 2 * MR, 3) for M in around(pointwise.FEWEST)],
    *[(pointwise.FEWEST + 5, C_in, NR + 1) for C_in in around(MR)],
    *[(pointwise.FEWEST + 5, NR + 1, C_out) for C_out in around(pointwise.SUMMED * NR)],
    (CHUNKS * pointwise.DEPTH + 3, 5, NR + 3),
    (2 * CHUNKS * pointwise.DEPTH - 1, 2, 3),
]


@pytest.mark.parametrize("shape", LARGE)
def test_large_products_equal_tensorflow(target: Target, shape: tuple[int, int, int]) -> None:
    """Beyond what a task takes, along each extent."""
    M, C_in, C_out = shape
    x, kernel, bias, dy = (target.normal(i, *s) for i, s in enumerate([(M, C_in), (C_in, C_out), (C_out,), (M, C_out)]))
    target.check(target.ops.dense_forward(x, kernel, bias), tf.matmul(x, kernel) + bias)
    dx, dkernel, dbias = target.ops.dense_backward(dy, x, kernel)
    target.check(dx, tf.matmul(dy, kernel, transpose_b=True))
    target.check(dkernel, tf.matmul(x, dy, transpose_a=True))
    target.check(dbias, tf.reduce_sum(dy, axis=0))
    y = tf.nn.relu(target.normal(4, M, C_out))  # where a ReLU let nothing through, nothing comes back
    dx, dkernel, dbias = target.ops.dense_backward(dy, x, kernel, y.numpy())
    dz = tf.where(y > 0, dy, 0)
    target.check(dx, tf.matmul(dz, kernel, transpose_b=True))
    target.check(dkernel, tf.matmul(x, dz, transpose_a=True))
    target.check(dbias, tf.reduce_sum(dz, axis=0))


@pytest.mark.parametrize("shape", LARGE)
def test_large_products_have_the_same_bits_for_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    M, C_in, C_out = shape
    x, kernel, dy = FLOAT32.normal(0, M, C_in), FLOAT32.normal(1, C_in, C_out), FLOAT32.normal(2, M, C_out)
    both_thread_counts(FLOAT32.ops.dense_forward, x, kernel, None)
    both_thread_counts(FLOAT32.ops.dense_backward, dy, x, kernel)
    both_thread_counts(FLOAT32.ops.dense_backward, dy, x, kernel, FLOAT32.ops.relu_forward(dy))


@gradient_cases
@given(M=extents, C_in=extents, C_out=extents, seed=seeds)
def test_dense_gradients_are_adjoints(target: Target, M: int, C_in: int, C_out: int, seed: int) -> None:
    ops = target.ops
    x, kernel, dy = target.normal(seed, M, C_in), target.normal(seed + 1, C_in, C_out), target.normal(seed + 2, M, C_out)
    y = ops.dense_forward(x, kernel, None)
    dx, dkernel, _ = ops.dense_backward(dy, x, kernel)
    check_adjoint(y, dy, x, dx, target)
    check_adjoint(y, dy, kernel, dkernel, target)


@pytest.mark.parametrize("rows", around(SUMMED_ROWS))
def test_bias_gradient_of_many_rows(target: Target, rows: int) -> None:
    dy, x, kernel = target.normal(0, rows, 5), target.normal(1, rows, 3), target.normal(2, 3, 5)
    for need_dx in (True, False):
        _, _, dbias = target.ops.dense_backward(dy, x, kernel, None, need_dx)
        target.check(dbias, tf.reduce_sum(dy, axis=0))


@gradient_cases
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=seeds)
def test_bias_gradient_sums_over_all_other_axes(target: Target, shape: list[int], seed: int) -> None:
    """Of rows, which are all but the last axis together, and of images."""
    x, bias = target.normal(seed, *shape), target.normal(seed + 1, shape[-1])
    _, dy, (_, expected) = forward_and_gradients(tf.add, [x, bias], seed + 2, target)
    C_out = shape[-1]
    inputs = target.normal(seed + 3, dy.size // C_out, 2)
    target.check(target.ops.dense_backward(dy.reshape(-1, C_out), inputs, target.normal(seed + 4, 2, C_out))[2], expected)
    N, H, W = [1] * (4 - len(shape)) + shape[:-1]
    window, kernel = window_over((H, W), (1, 1), (1, 1), "valid"), target.normal(seed + 4, 1, 1, 2, C_out)
    dy, inputs = dy.reshape(N, H, W, C_out), inputs.reshape(N, H, W, 2)
    target.check(target.ops.conv2d_backward(dy, inputs, kernel, window)[2], expected)
