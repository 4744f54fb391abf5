"""What every test stands on: a quiet TensorFlow, one thread, memory that is not clean, drawn cases that are always the same."""

from __future__ import annotations

import os

# Read by TensorFlow when it is imported, which only the test modules do. One thread: the tensors are tiny.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by NumPy
# Read by Numba when it is imported. Two threads on every machine, for the tests that compare one with two.
os.environ["NUMBA_NUM_THREADS"] = "2"
# Every core has a worker already: none needs a second process to compile for it.
os.environ["MINICNN_COMPILE_AHEAD"] = "0"

import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from minicnn.backends import memory, numba_cpu

# No deadline: the first call of an op may compile it. Derandomized: a failure is a failure for everybody.
settings.register_profile("minicnn", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("minicnn")


# What is imported and collected, a million objects, stays to the end: the garbage collector, which TensorFlow's and
# Keras's many small objects call often, does not look through it again each time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The cores belong to the tests that run beside each other. A test that needs two threads sets them."""
    numba_cpu.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def memory_is_nan_until_it_is_written() -> Iterator[None]:
    """`memory.empty` gives NaN in place of what the memory held before: what is not written shows in the results.

    Integers are -1 (or the largest, unsigned). It holds in an arena and outside, and in every thread.
    """
    view = memory.Arena.view

    def filled(arena: memory.Arena, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = np.empty(shape, dtype) if arena is outside else view(arena, shape, dtype)
        if not array.dtype.hasobject:
            array.reshape(-1).view(np.uint8).fill(0xFF)
        return array

    outside = memory.Arena()

    class Current(threading.local):
        arena = outside

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_current", Current())
        patch.setattr(memory.Arena, "view", filled)
        yield
