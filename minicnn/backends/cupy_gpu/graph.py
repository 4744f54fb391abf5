"""A training step as one CUDA graph: launched by one call, however many kernels it has.

A small model's step is some dozens of kernels of a few microseconds; launching each of them
costs as much again. A captured step is launched once.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from minicnn.backends.cupy_gpu.compile import is_on_device
from minicnn.backends.types import Array


def capture(step_function: Callable[..., Any], inputs: Sequence[Array], warmup: int = 2) -> StepGraph:
    """A `StepGraph` of `step_function` for batches like `inputs` (of their shapes and dtypes; their values are not read)."""
    return StepGraph(step_function, inputs, warmup)


class StepGraph:
    """A step that is computed a few times as written, then captured, then replayed.

    Every call of `replay` is exactly one step, however it comes about:

    1. The first `warmup` calls run `step_function`: kernels compile, memory is set aside.
    2. The next captures it (which computes nothing) and launches the capture.
    3. All later ones copy the batch into the fixed buffers and launch it again.

    Where a step cannot be captured, a warning says so once and it goes on as in 1.

    Args:
        step_function: called with one GPU array for each input; returns arrays, or None. A replay repeats its
            launches, not its Python lines, so that
            - it must change state in place, on the GPU: weights, slots, statistics, the step counter, random keys
              (`ops.draw_key_`), totals of metrics;
            - a Python number is frozen at its value during the capture: what changes from step to step, such as the
              learning rate, has to be an array of shape () on the GPU, written to outside;
            - it must not read results back (`float(loss)`) nor branch on them.
        inputs: arrays of the shapes and dtypes of a batch, from either side.
        warmup: how many steps to run as written before capturing; at least 1.

    Attributes:
        captured: whether steps are replayed.

    Results returned by a replay are written over by the next: copy what is to be kept.
    A batch of another shape (the last of an epoch) is run as written, and disturbs nothing.

    Host arrays are copied through pinned memory on a stream of their own, while the step before is still computing.
    """

    def __init__(self, step_function: Callable[..., Any], inputs: Sequence[Array], warmup: int = 2) -> None:
        if warmup < 1:
            raise ValueError(f"`warmup` must be at least 1: kernels compile in it. Received: warmup={warmup!r}")
        self._function = step_function
        self._warmup = warmup
        self._shapes = [(tuple(array.shape), np.dtype(array.dtype)) for array in inputs]
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._buffers = [cupy.empty(shape, dtype) for shape, dtype in self._shapes]
        self._slots = _Slots(self._shapes)
        # The graph's own: nothing else may be given memory that a replay writes to.
        self._pool = cupy.cuda.MemoryPool()
        self._graph: Any = None
        self._outputs: Any = None
        self._possible = True
        self._steps = 0

    @property
    def captured(self) -> bool:
        return self._graph is not None

    def replay(self, inputs: Sequence[Array]) -> Any:
        """One step on a batch; what the step function returned, on the GPU.

        The caller's stream waits for the step, the host does not.
        """
        outer = cupy.cuda.get_current_stream()
        self._stream.wait_event(outer.record())
        with self._stream:
            outputs = self._step(inputs)
        outer.wait_event(self._stream.record())
        return outputs

    def _step(self, inputs: Sequence[Array]) -> Any:
        if [(tuple(array.shape), np.dtype(array.dtype)) for array in inputs] != self._shapes:
            return self._function(*[cupy.asarray(array) for array in inputs])
        self._slots.load(inputs, self._buffers, self._stream)
        self._steps += 1
        if self._graph is None and self._possible and self._steps > self._warmup:
            self._capture()
        if self._graph is not None:
            self._graph.launch(self._stream)
            return self._outputs
        if not self._possible:
            return self._function(*self._buffers)
        with cupy.cuda.using_allocator(self._pool.malloc):
            return self._function(*self._buffers)

    def _capture(self) -> None:
        """Capture the step, or give it up for good with a warning."""
        self._stream.begin_capture()
        try:
            try:
                with cupy.cuda.using_allocator(self._pool.malloc):
                    outputs = self._function(*self._buffers)
            finally:
                graph = self._stream.end_capture()  # also after an error: the stream has to leave capture mode
        except Exception as error:
            # Whatever is wrong with the step itself comes up again when it is run as written.
            self._possible = False
            if isinstance(error, cupy.cuda.runtime.CUDARuntimeError) and isinstance(error.__context__, Exception):
                error = error.__context__  # what the capture failed of; ending a failed one is an error too
            warnings.warn(
                f"This training step cannot be captured into a CUDA graph and runs as written{_origin(error)}: {error}",
                stacklevel=4,
            )
            return
        self._graph, self._outputs = graph, outputs


class _Slots:
    """Two sets of staging arrays, in turn: a batch is copied to one while the step computes from the other.

    host array -> pinned memory (by the CPU) -> staging array (by the copy engine) -> the graph's buffer (by its stream)
    """

    def __init__(self, shapes: Sequence[tuple[tuple[int, ...], np.dtype]]) -> None:
        self._shapes = shapes
        self._stream: Any = None
        self._turn = 0

    def load(self, inputs: Sequence[Array], buffers: Sequence[Array], stream: Any) -> None:
        """Fill `buffers` with `inputs`, in the order of `stream`."""
        if all(is_on_device(array) for array in inputs):
            for array, buffer in zip(inputs, buffers):
                cupy.copyto(buffer, array)
            return
        if self._stream is None:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._pinned = [[_pinned(*shape) for shape in self._shapes] for _ in range(2)]
            self._staged = [[cupy.empty(*shape) for shape in self._shapes] for _ in range(2)]
            self._copied: list[Any] = [None, None]  # the event after which this slot's pinned memory is free
            self._used: list[Any] = [None, None]  # ... and its staging arrays
            self._stream.wait_event(stream.record())  # the staging arrays' memory may have had another use before
        turn = self._turn
        if self._copied[turn] is not None:
            self._copied[turn].synchronize()
            self._stream.wait_event(self._used[turn])
        with self._stream:
            for array, pinned, staged in zip(inputs, self._pinned[turn], self._staged[turn]):
                if is_on_device(array):
                    self._stream.wait_event(stream.record())
                    cupy.copyto(staged, array)
                else:
                    pinned[...] = array
                    staged.set(pinned, stream=self._stream)
            self._copied[turn] = self._stream.record()
        stream.wait_event(self._copied[turn])
        for buffer, staged in zip(buffers, self._staged[turn]):
            cupy.copyto(buffer, staged)
        self._used[turn] = stream.record()
        self._turn = 1 - turn


def _origin(error: Exception) -> str:
    """What asked for the impossible: the last function on the way to an error, but for CuPy's, backends' and conversions."""
    libraries = (str(Path(cupy.__file__).parent), str(Path(__file__).parents[1]))
    way = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in way if not frame.filename.startswith(libraries) and not frame.name.startswith("__")]
    return f", because of `{frames[-1].name}` ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _pinned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in page-locked host memory, which the copy engine reads without the CPU."""
    count = int(np.prod(shape))
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(count * dtype.itemsize), dtype, count).reshape(shape)
