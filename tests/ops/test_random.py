"""The random stream against TensorFlow's Philox generator, and against Random123's published vectors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.checks import Target, seeds, update_cases


def tf_random_bits(seed: int, step: int, count: int) -> np.ndarray:
    """TensorFlow's words for key (seed, 0), counter (0, 0, step, 0); it counts up in the lowest counter word."""
    philox = 1
    key, counter = tf.constant([seed], tf.uint64), tf.constant([0, step], tf.uint64)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[count], key=key, counter=counter, alg=philox, dtype=tf.uint32
    ).numpy()


@update_cases
@given(seed=seeds, step=seeds, count=st.integers(1, 300))
def test_random_bits_equal_tensorflow(target: Target, seed: int, step: int, count: int) -> None:
    bits = target.ops.random_bits(np.array([seed, step], np.uint32), count)
    assert bits.dtype == np.uint32
    np.testing.assert_array_equal(bits, tf_random_bits(seed, step, count))


def test_a_long_stream_equals_tensorflow(target: Target) -> None:
    bits = target.ops.random_bits(np.array([2**32 - 1, 1], np.uint32), 300_001)
    np.testing.assert_array_equal(bits, tf_random_bits(2**32 - 1, 1, 300_001))


def test_random_bits_equal_the_published_vector(target: Target) -> None:
    """Random123's known answer for philox4x32-10 with key and counter 0."""
    bits = target.ops.random_bits(np.zeros(2, np.uint32), 4)
    assert [hex(word) for word in bits] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


@pytest.mark.parametrize(("step", "next_step"), [(0, 1), (41, 42), (2**32 - 1, 0)])
def test_draw_key_hands_out_the_state_and_counts(target: Target, step: int, next_step: int) -> None:
    state = np.array([7, step], np.uint32)
    key = target.ops.draw_key_(state)
    assert key.dtype == state.dtype == np.uint32
    np.testing.assert_array_equal(key, [7, step])
    np.testing.assert_array_equal(state, [7, next_step])
    assert not np.shares_memory(key, state)
