"""`StepGraph` on a CUDA of paper: streams do nothing, and a graph is the list of launches made while capturing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minicnn.backends import cupy_gpu
from minicnn.backends.cupy_gpu import compile, graph, update


class DeviceArray(np.ndarray):
    """An array of the paper GPU."""

    def set(self, host: np.ndarray, stream: Any) -> None:
        self[...] = host


class Paper:
    """What `graph.py` uses of CuPy."""

    def __init__(self) -> None:
        self.recording: list[Callable[[], None]] | None = None
        event = SimpleNamespace(synchronize=lambda: None)
        self.outer = SimpleNamespace(record=lambda: event, wait_event=lambda event: None)
        paper = self

        class Stream(contextlib.AbstractContextManager):
            def __init__(self, non_blocking: bool) -> None: ...

            def __exit__(self, *exc: object) -> None: ...

            def record(self) -> Any:
                return event

            def wait_event(self, event: Any) -> None: ...

            def begin_capture(self) -> None:
                paper.recording = []

            def end_capture(self) -> Any:
                launches, paper.recording = paper.recording, None
                return SimpleNamespace(launch=lambda stream: [launch() for launch in launches or []])

        self.cuda = SimpleNamespace(
            Stream=Stream,
            MemoryPool=lambda: SimpleNamespace(malloc=None),
            using_allocator=lambda malloc: contextlib.nullcontext(),
            alloc_pinned_memory=bytearray,
            get_current_stream=lambda: self.outer,
        )

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        return np.empty(shape, dtype).view(DeviceArray)

    def asarray(self, array: np.ndarray) -> DeviceArray:
        return array.view(DeviceArray)

    def copyto(self, target: np.ndarray, source: np.ndarray) -> None:
        target[...] = source

    def launch(self, kernel: Callable[[], None]) -> None:
        if self.recording is None:
            kernel()
        else:
            self.recording.append(kernel)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    paper = Paper()
    monkeypatch.setattr(graph, "cupy", paper)
    monkeypatch.setattr(graph, "is_on_device", lambda array: isinstance(array, DeviceArray))
    return paper


class Step:
    """total += sum of x, by one launch; counts how often its Python lines run."""

    def __init__(self, paper: Paper) -> None:
        self.paper, self.total, self.result, self.runs = paper, np.zeros(()), np.zeros(()), 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.runs += 1

        def kernel() -> None:
            self.total += x.sum()
            self.result[...] = x.sum()

        self.paper.launch(kernel)
        return self.result


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("warmup", [1, 3])
def test_every_replay_is_one_step(paper: Paper, warmup: int, on_device: bool) -> None:
    step = Step(paper)
    batches = [np.full(4, i, np.float32) for i in range(8)]
    steps = cupy_gpu.capture(step, batches[:1], warmup)
    for i, batch in enumerate(batches):
        result = steps.replay([paper.asarray(batch) if on_device else batch])
        assert result == 4 * i
        assert steps.captured == (i >= warmup)
    assert step.total == sum(batch.sum() for batch in batches)
    assert step.runs == warmup + 1  # and once to be captured


def test_a_batch_of_another_shape_runs_as_written(paper: Paper) -> None:
    step = Step(paper)
    steps = cupy_gpu.capture(step, [np.zeros(4, np.float32)])
    for size in (4, 4, 4, 3, 4):
        assert steps.replay([np.ones(size, np.float32)]) == size
    assert step.total == 19
    assert step.runs == 4


def test_a_step_that_cannot_be_captured_says_so_once_and_goes_on(paper: Paper) -> None:
    step = Step(paper)

    def reads_back(x: np.ndarray) -> np.ndarray:
        result = step(x)
        if paper.recording is not None:
            raise RuntimeError("no copies to the host while capturing")
        return result

    steps = cupy_gpu.capture(reads_back, [np.zeros(4, np.float32)], warmup=1)
    batch = [np.ones(4, np.float32)]
    steps.replay(batch)
    with pytest.warns(UserWarning, match="cannot be captured .* runs as written: no copies to the host"):
        assert steps.replay(batch) == 4
    assert steps.replay(batch) == 4  # a warning would be an error here
    assert not steps.captured
    assert step.total == 12


def test_warmup_cannot_be_left_out(paper: Paper) -> None:
    with pytest.raises(ValueError, match=r"`warmup` must be at least 1.*warmup=0"):
        cupy_gpu.capture(lambda: None, [], warmup=0)


def test_numbers_of_a_step_are_read_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate on the GPU goes to the kernel by its address, a float by its value."""
    monkeypatch.setattr(update, "is_on_device", lambda value: isinstance(value, np.ndarray))
    rate = np.array(0.5)
    at, value = update._number(rate)
    assert at is rate
    assert value == 0.0
    assert update._number(0.5) == (None, 0.5)


def test_host_data_is_refused_while_a_step_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    capturing = SimpleNamespace(is_capturing=lambda: True)
    monkeypatch.setattr(compile.cupy.cuda, "get_current_stream", lambda: capturing)
    with pytest.raises(RuntimeError, match="cannot copy from the host"):
        compile.to_device(np.zeros(2, np.uint32))
