"""`StepGraph` on a CUDA of paper (`paper.py`): what a replay does, and what cannot be captured."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backends import cupy_gpu
from minicnn.backends.cupy_gpu import compile, graph, update
from tests.gpu import paper
from tests.gpu.paper import DeviceArray


@pytest.fixture(autouse=True)
def _on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (compile, graph):
        monkeypatch.setattr(module, "cupy", paper.namespace)


class Step:
    """total += sum of x, on the device; counts how often its Python lines run."""

    def __init__(self) -> None:
        self.total, self.runs = DeviceArray(np.zeros(())), 0

    def __call__(self, x: DeviceArray) -> DeviceArray:
        self.runs += 1
        result = x.sum()
        np.add(self.total, result, out=self.total)
        return result


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("warmup", [1, 3])
def test_every_replay_is_one_step(warmup: int, on_device: bool) -> None:
    step = Step()
    batches = [np.full(4, i, np.float32) for i in range(8)]
    steps = cupy_gpu.capture(step, batches[:1], warmup)
    for i, batch in enumerate(batches):
        result = steps.replay([DeviceArray(batch) if on_device else batch])
        assert float(result) == 4 * i
        assert steps.captured == (i >= warmup)
    assert float(step.total) == sum(batch.sum() for batch in batches)
    assert step.runs == warmup + 1  # and once to be captured


def test_a_batch_of_another_shape_runs_as_written() -> None:
    step = Step()
    steps = cupy_gpu.capture(step, [np.zeros(4, np.float32)])
    for size in (4, 4, 4, 3, 4):
        assert float(steps.replay([np.ones(size, np.float32)])) == size
    assert float(step.total) == 19
    assert step.runs == 4


def test_a_step_that_cannot_be_captured_says_so_once_and_goes_on() -> None:
    step = Step()

    def reads_back(x: DeviceArray) -> DeviceArray:
        result = step(x)
        cupy_gpu.to_numpy(result)
        return result

    steps = cupy_gpu.capture(reads_back, [np.zeros(4, np.float32)], warmup=1)
    batch = [np.ones(4, np.float32)]
    steps.replay(batch)
    with pytest.warns(
        UserWarning,
        match=r"cannot be captured into a CUDA graph and runs as written, because of `reads_back` \(test_graph\.py:\d+\): "
        r"An array of the GPU \(float32, shape \(\)\) cannot be read",
    ):
        assert float(steps.replay(batch)) == 4
    assert float(steps.replay(batch)) == 4  # a warning would be an error here
    assert not steps.captured
    assert float(step.total) == 12


def test_the_error_that_ended_a_capture_is_the_one_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA refuses what does not go into a graph, and then to end the capture in order."""
    end_capture = paper.Stream.end_capture

    def invalidated(stream: paper.Stream) -> None:
        end_capture(stream)
        raise paper.namespace.cuda.runtime.CUDARuntimeError(901)  # cudaErrorStreamCaptureInvalidated

    def impossible(x: DeviceArray) -> None:
        if paper.Stream().is_capturing():
            raise ValueError("not in a graph")

    monkeypatch.setattr(paper.Stream, "end_capture", invalidated)
    steps = cupy_gpu.capture(impossible, [np.zeros(4, np.float32)], warmup=1)
    steps.replay([np.zeros(4, np.float32)])
    with pytest.warns(UserWarning, match=r"because of `impossible` .*: not in a graph"):
        steps.replay([np.zeros(4, np.float32)])


def test_warmup_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"`warmup` must be at least 1.*warmup=0"):
        cupy_gpu.capture(lambda: None, [], warmup=0)


def test_numbers_of_a_step_are_read_where_they_lie() -> None:
    """A learning rate on the GPU goes to the kernel by its address, a float by its value."""
    rate = DeviceArray(np.array(0.5))
    at, kind, value = update._number(rate)
    assert at is rate
    assert (kind, value) == (2, 0.0)
    assert update._number(0.5) == (None, 0, 0.5)


def test_host_data_is_refused_while_a_step_is_captured() -> None:
    stream = paper.Stream()
    stream.begin_capture()
    try:
        with pytest.raises(RuntimeError, match=r"host \(uint32, shape \(2,\)\) cannot be copied to the GPU while a step is"):
            compile.to_device(np.zeros(2, np.uint32))
    finally:
        stream.end_capture()
