"""A CUDA of paper: what the GPU backend uses of CuPy, on the host.

Its arrays do not mix with the host's and cannot be read unnoticed. While a stream captures, nothing is computed:
work is written down, and launching the graph does it. So a captured step does on paper what it does on a GPU:
Python lines run once, work runs at each replay, and whoever asks for a result in between is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np

__all__ = ["DeviceArray", "Stream", "enqueue", "namespace", "reads"]


class Graph:
    """The work of a captured step, and the arrays that it needs."""

    def __init__(self) -> None:
        self.work: list[Callable[[], Any]] = []
        self.arrays: list[np.ndarray] = []

    def launch(self, stream: Any) -> None:
        for work in self.work:
            work()


_graph: Graph | None = None  # the one that is being captured
reads: list[np.ndarray] = []  # every array that the host asked for


def enqueue(work: Callable[[], Any]) -> None:
    """Do some work, or write it down while a step is captured."""
    if _graph is None:
        work()
    else:
        _graph.work.append(work)


def _result(compute: Callable[[], Any]) -> DeviceArray:
    """A new array, of what `compute` returns."""
    with contextlib.nullcontext() if _graph is None else np.errstate(all="ignore"):
        memory = np.asarray(compute())
    if _graph is not None:
        _graph.work.append(lambda: np.copyto(memory, compute()))
        _graph.arrays.append(memory)
    return DeviceArray(memory)


def _memory(value: Any) -> Any:
    """A device array's memory, also within lists and tuples; scalars as they are; arrays of the host are refused."""
    if isinstance(value, (list, tuple)):
        return type(value)(_memory(item) for item in value)
    if isinstance(value, np.ndarray):
        raise TypeError("an array on the GPU and one on the host")
    return value.memory if isinstance(value, DeviceArray) else value


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the paper GPU, with CuPy's methods as far as they are needed."""

    __hash__ = object.__hash__

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.data = SimpleNamespace(ptr=memory.ctypes.data)
        self.__cuda_array_interface__ = {"data": (memory.ctypes.data, False)}

    shape = property(lambda self: self.memory.shape)
    dtype = property(lambda self: self.memory.dtype)
    ndim = property(lambda self: self.memory.ndim)
    size = property(lambda self: self.memory.size)
    flags = property(lambda self: self.memory.flags)

    def __len__(self) -> int:
        return len(self.memory)

    # --- computing ------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **arguments: Any) -> Any:
        plain = [_memory(item) for item in inputs]
        if out is None:
            return _result(lambda: getattr(ufunc, method)(*plain, **arguments))
        targets = _memory(out)
        enqueue(lambda: getattr(ufunc, method)(*plain, out=targets, **arguments))
        return out[0]

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        plain, named = _memory(arguments), {name: _memory(value) for name, value in keywords.items()}
        return _result(lambda: function(*plain, **named))

    def sum(self, *arguments: Any, **keywords: Any) -> DeviceArray:
        return _result(lambda: self.memory.sum(*arguments, **keywords))

    def mean(self, *arguments: Any, **keywords: Any) -> DeviceArray:
        return _result(lambda: self.memory.mean(*arguments, **keywords))

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        return _result(lambda: self.memory.astype(dtype)) if copy or self.dtype != dtype else self

    def copy(self, order: str = "C") -> DeviceArray:
        return _result(lambda: self.memory.copy(order=order))

    def reshape(self, *shape: Any) -> DeviceArray:
        assert self.memory.flags.c_contiguous, "a reshape that would copy"
        return DeviceArray(self.memory.reshape(*shape))

    def __getitem__(self, key: Any) -> DeviceArray:
        selected = np.asarray(self.memory[_memory(key)])
        if np.shares_memory(selected, self.memory):
            return DeviceArray(selected)
        return _result(lambda: self.memory[_memory(key)])

    def fill(self, value: Any) -> None:
        enqueue(lambda: self.memory.fill(value))

    def __setitem__(self, key: Any, value: Any) -> None:
        plain = _memory(value)
        enqueue(lambda: self.memory.__setitem__(_memory(key), plain))

    # --- to and from the host -------------------------------------------------------------

    def get(self) -> np.ndarray:
        if _graph is not None:
            raise RuntimeError("the host reads while a step is captured")
        reads.append(self.memory)
        return self.memory.copy()

    def set(self, host: np.ndarray, stream: Any = None) -> None:
        assert _graph is None, "the host writes while a step is captured"
        self.memory[...] = host

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


DeviceArray.__module__ = "numpy"  # where the reference backend's lines then find their functions


class Stream(contextlib.AbstractContextManager):
    """A stream on which all work is done before the next line."""

    def __init__(self, non_blocking: bool = False) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def record(self) -> Any:
        return SimpleNamespace(synchronize=lambda: None)

    def wait_event(self, event: Any) -> None: ...

    def synchronize(self) -> None:
        assert _graph is None, "the host waits while a step is captured"

    def is_capturing(self) -> bool:
        return _graph is not None

    def begin_capture(self) -> None:
        global _graph
        _graph = Graph()

    def end_capture(self) -> Graph:
        global _graph
        assert _graph is not None
        graph, _graph = _graph, None
        return graph


def _empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    memory = np.empty(shape, dtype)
    memory.fill(np.nan if memory.dtype.kind == "f" else 77)  # so that what nobody writes shows
    if _graph is not None:
        _graph.arrays.append(memory)
    return DeviceArray(memory)


def _asarray(value: Any, dtype: Any = None, order: Any = None) -> DeviceArray:
    if isinstance(value, DeviceArray):
        value = value.astype(dtype or value.dtype, copy=False)
        return value if value.flags.c_contiguous else value.copy()
    assert _graph is None, "the host writes while a step is captured"
    return DeviceArray(np.array(value, dtype, order="C"))


def _copyto(target: DeviceArray, source: DeviceArray) -> None:
    plain = _memory(source)
    enqueue(lambda: np.copyto(target.memory, plain))


namespace = SimpleNamespace(
    __file__=cupy.__file__,
    ndarray=DeviceArray,
    empty=_empty,
    asarray=_asarray,
    asnumpy=lambda value: value.get() if isinstance(value, DeviceArray) else np.asarray(value),
    copyto=_copyto,
    cuda=SimpleNamespace(
        Stream=Stream,
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        using_allocator=lambda malloc: contextlib.nullcontext(),
        alloc_pinned_memory=bytearray,
        get_current_stream=Stream,
        memory=cupy.cuda.memory,
        runtime=cupy.cuda.runtime,
    ),
)
