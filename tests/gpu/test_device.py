"""On a GPU: `pytest -m gpu`. Every op test again, one seed one result, training, and the captured step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minicnn
from minicnn import backends
from minicnn.backends import cupy_gpu
from tests.gpu.calls import ops
from tests.gpu.families import families
from tests.gpu.test_simulated_kernels import trained_weights
from tests.gpu.test_training import CASES, check_captured_fit
from tests.ops.checks import Target

pytestmark = pytest.mark.gpu


def to_device(value: Any) -> Any:
    if type(value) in (list, tuple):  # no `Window`
        return type(value)(to_device(item) for item in value)
    return cupy_gpu.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else value


def to_host(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(to_host(item) for item in value)
    return cupy_gpu.to_numpy(value) if hasattr(value, "get") else value


def update(host: Any, device: Any) -> None:
    """Copy arrays back, also those in lists and tuples."""
    if isinstance(host, np.ndarray):
        host[...] = cupy_gpu.to_numpy(device)
    elif isinstance(host, (list, tuple)):
        for pair in zip(host, device):
            update(*pair)


def on_device(op: Callable[..., Any]) -> Callable[..., Any]:
    """The op for NumPy arrays: copied there, computed, copied back; also the arguments, which it may have updated."""

    @functools.wraps(op)  # tests read its signature
    def call(*arguments: Any, **named: Any) -> Any:
        moved = to_device(arguments)
        result = to_host(op(*moved, **{name: to_device(value) for name, value in named.items()}))
        update(arguments, moved)
        return result

    return call


@dataclass(frozen=True)
class DeviceTarget(Target):
    """The GPU backend behind NumPy arrays."""

    @property
    def ops(self) -> Any:
        return SimpleNamespace(**{name: on_device(op) for name, op in backends.load("cupy").items()})


@pytest.fixture(scope="module", params=["float32", "float64"])
def target(request: pytest.FixtureRequest) -> DeviceTarget:
    cupy_gpu.check_available()
    return DeviceTarget("cupy", request.param)


globals().update(families())


def test_training_agrees_with_the_reference_and_repeats_its_bits() -> None:
    before = minicnn.backend()
    try:
        expected, first, second = trained_weights("reference"), trained_weights("cupy"), trained_weights("cupy")
    finally:
        minicnn.set_backend(before)
    for ours, again, theirs in zip(first, second, expected, strict=True):
        np.testing.assert_array_equal(ours, again)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("case", CASES)
def test_a_captured_fit_has_the_bits_of_the_written_one(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = minicnn.backend()
    try:
        check_captured_fit(case, monkeypatch)
    finally:
        minicnn.set_backend(before)


def captured_and_written(warmup: int) -> tuple[np.ndarray, bool]:
    """Ten steps of Adam with dropout on a dense layer; the rate changes on the way."""
    import cupy

    kernel, mean, variance = (cupy_gpu.asarray(np.full((8, 4), value, np.float32)) for value in (0.1, 0.0, 0.0))
    rate, step = cupy_gpu.asarray(np.array(0.1)), cupy_gpu.asarray(np.array(1.0))
    state = cupy_gpu.asarray(np.array([5, 0], np.uint32))

    def train(x: Any, labels: Any) -> Any:
        key = ops.draw_key_(state)
        dropped = ops.dropout_forward(x, 0.5, key)
        losses, probabilities = ops.sparse_softmax_cross_entropy_forward(ops.dense_forward(dropped, kernel, None), labels)
        dy = ops.sparse_softmax_cross_entropy_backward(probabilities, labels, losses)
        _, dkernel, _ = ops.dense_backward(dy, dropped, kernel, need_dx=False)
        ops.adam_update_([kernel], [dkernel], ([mean], [variance], None), rate, step, (0.9, 0.999), 1e-7)
        cupy.add(step, 1, out=step)
        return losses

    rng = np.random.default_rng(0)
    batches = [[rng.standard_normal((16, 8)).astype(np.float32), rng.integers(0, 4, 16)] for _ in range(10)]
    steps = cupy_gpu.capture(train, batches[0], warmup)
    for i, batch in enumerate(batches):
        rate.fill(0.1 / (i + 1))
        steps.replay(batch)
    return cupy_gpu.to_numpy(kernel), steps.captured


def test_a_captured_step_has_the_bits_of_the_written_one() -> None:
    captured, was_captured = captured_and_written(warmup=2)
    written, was_not = captured_and_written(warmup=10)
    assert was_captured
    assert not was_not
    np.testing.assert_array_equal(captured, written)


def test_tf32_is_near_float32_and_off_by_default() -> None:
    assert not cupy_gpu.tf32()
    rng = np.random.default_rng(0)
    x, kernel = (cupy_gpu.asarray(rng.standard_normal(shape).astype(np.float32)) for shape in ((64, 128), (128, 64)))
    exact = cupy_gpu.to_numpy(ops.dense_forward(x, kernel, None))
    cupy_gpu.set_tf32(True)
    try:
        rounded = cupy_gpu.to_numpy(ops.dense_forward(x, kernel, None))
    finally:
        cupy_gpu.set_tf32(False)
    assert 0 < np.abs(rounded - exact).max() < 2.0**-9 * np.abs(exact).max()
