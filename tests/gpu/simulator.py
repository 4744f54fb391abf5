"""The GPU backend without a GPU: its CUDA sources, compiled for the CPU by g++ and run thread by thread.

`simulated()` puts NumPy arrays and these kernels under `minicnn.backends.cupy_gpu`, so that
its ops, launch geometry included, can be called on any machine and held against the others.
What it cannot show: speed, and whatever NVRTC compiles differently.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cupy
import numpy as np
import pytest

from minicnn import backends
from minicnn.backends import cupy_gpu
from minicnn.backends.cupy_gpu import compile, graph, update
from tests.gpu import paper

HEADER = Path(__file__).with_name("simulator.h")
COMPILER = shutil.which("g++")
# Without -fno-gnu-unique, all libraries would share the `__shared__` arrays of templates, whatever their sizes.
OPTIONS = ("-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fno-gnu-unique")
LIBRARIES = Path(tempfile.gettempdir()) / f"minicnn-simulator-{os.getuid() if hasattr(os, 'getuid') else 0}"

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs g++; the twins run without")

thread_order = SimpleNamespace(descending=False)


@contextlib.contextmanager
def numpy_arrays(kernels: Callable[..., Any]) -> Iterator[None]:
    """Within the block, the GPU backend's ops take and return NumPy arrays.

    Args:
        kernels: in place of `compile._kernel`: (file, name, types, tile, geometry) -> what is called to launch.
    """
    cuda = SimpleNamespace(memory=cupy.cuda.memory, get_current_stream=paper.Stream)
    namespace = SimpleNamespace(empty=_empty, ndarray=np.ndarray, asarray=np.asarray, asnumpy=np.asarray, cuda=cuda)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(compile, "cupy", namespace))
        stack.enter_context(mock.patch.object(compile, "_kernel", kernels))
        for module in (compile, update):
            stack.enter_context(mock.patch.object(module, "address", lambda array: array.ctypes.data))
        yield


def simulated() -> contextlib.AbstractContextManager[None]:
    """Within the block, the GPU backend's ops compute on NumPy arrays with simulated kernels."""
    return numpy_arrays(_kernel)


@contextlib.contextmanager
def simulated_device() -> Iterator[None]:
    """Within the block, the GPU backend can be chosen: simulated kernels, and the paper GPU's arrays and graphs."""

    def kernel(*program: Any) -> Any:
        run = _kernel(*program)
        return lambda *launch: paper.enqueue(lambda: run(*launch))

    before = backends.backend()
    with contextlib.ExitStack() as stack:
        for module in (compile, graph):
            stack.enter_context(mock.patch.object(module, "cupy", paper.namespace))
        stack.enter_context(mock.patch.object(compile, "_kernel", kernel))
        stack.enter_context(mock.patch.object(cupy_gpu, "check_available"))
        try:
            yield
        finally:
            backends.set_backend(before)


def _empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory in which whatever a kernel fails to write shows."""
    array = np.empty(shape, dtype)
    array.fill(np.nan if array.dtype.kind == "f" else 77)
    return array


@functools.cache
def _kernel(file: str, name: str, types: Any, tile: Any, geometry: Any) -> Any:
    names = tuple(key for key, _ in geometry)
    library = _library(file, (*types, *tile), names)
    function = getattr(library, f"simulate_{name}")
    values = (ctypes.c_int * len(names))(*[value for _, value in geometry])

    def run(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        held = [_argument(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(held))(*[ctypes.addressof(item) for item in held])
        library.set_geometry(values, len(names))
        function(_extents(grid), _extents(block), pointers, thread_order.descending)

    return run


def _extents(sizes: tuple[int, ...]) -> Any:
    return (ctypes.c_uint * 3)(*[*sizes, 1, 1][:3])


def _argument(value: Any) -> Any:
    """A ctypes object that holds what a CUDA launch would pass; the same rules as CuPy's."""
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, np.ndarray) and value.dtype.kind == "V":
        return (ctypes.c_char * value.nbytes).from_buffer(value)
    if isinstance(value, paper.DeviceArray):
        value = value.memory
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, int):
        return ctypes.c_longlong(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    raise TypeError(f"a kernel takes no {type(value)}")


def _program(file: str, constants: tuple[tuple[str, Any], ...], geometry: tuple[str, ...]) -> str:
    variables = [(key, f"geometry[{i}]") for i, key in enumerate(geometry)]
    text = compile.program(file, [*constants, *variables]).replace(compile.source("tensor_core.cuh"), "")
    names = re.findall(r"^(?:KERNEL|MAP|MAP_BACKWARD)\b\s*(?:__launch_bounds__\(THREADS\)\s*)?\(?(\w+)[(,]", text, re.MULTILINE)
    entries = [
        f'extern "C" void simulate_{name}(const unsigned* grid, const unsigned* block, void** arguments, bool descending) '
        f"{{ simulate({name}, grid, block, arguments, descending); }}\n"
        for name in names
    ]
    return HEADER.read_text(encoding="utf-8") + text + "".join(entries)


@functools.cache
def _library(file: str, constants: tuple[tuple[str, Any], ...], geometry: tuple[str, ...]) -> ctypes.CDLL:
    program = _program(file, constants, geometry)
    target = LIBRARIES / f"{Path(file).stem}-{hashlib.sha256((program + str(OPTIONS)).encode()).hexdigest()[:16]}.so"
    if not target.exists():
        LIBRARIES.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=LIBRARIES) as folder:
            built = Path(folder) / "library.so"
            command = [str(COMPILER), *OPTIONS, "-x", "c++", "-", "-o", str(built)]
            result = subprocess.run(command, input=program, capture_output=True, text=True)
            if result.returncode != 0:
                raise RuntimeError(f"g++ refuses {file} with {dict(constants)}:\n{result.stderr[:4000]}")
            built.replace(target)
    return ctypes.CDLL(str(target))
