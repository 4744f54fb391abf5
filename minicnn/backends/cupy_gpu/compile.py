"""From CUDA source to a launch: the only file that hands anything to the GPU.

Kernels lie in `kernels/*.cu`. Their constants (shapes, tile sizes, the float type) are
defined at compilation, so that index arithmetic is by constants; NVRTC compiles a kernel at
its first use with new ones, and CuPy keeps the result on disk. The batch size is no
constant: a last, smaller batch compiles nothing.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from minicnn.backends.types import Array

C_TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long", "uint8": "unsigned char"}
THREADS = 256  # of a block that goes along an array
OPTIONS = ("-std=c++17",)  # of the compiler
FOLDER = Path(__file__).parent / "kernels"  # of the sources
_LEAST_TF32_CAPABILITY = 80
_LEAST_ROWS, _MOST_CHUNKS = 256, 256  # of a chunk; of a column
_Constants = tuple[tuple[str, Any], ...]
_tf32 = os.environ.get("MINICNN_TF32", "0") == "1"


def set_tf32(enabled: bool) -> None:
    """Let convolutions and dense layers multiply float32 on tensor cores, inputs rounded to TF32's 10-bit mantissa.

    Off by default (the environment variable MINICNN_TF32=1 switches it on): results then agree
    with the CPU's to float32 rounding. Sums are kept in float32 either way.

    Raises:
        RuntimeError: if the card has no TF32 tensor cores (compute capability below 8.0).
    """
    global _tf32
    if enabled and int(cupy.cuda.Device().compute_capability) < _LEAST_TF32_CAPABILITY:
        raise RuntimeError(
            "TF32 needs a card of compute capability 8.0 or higher. "
            f"Received: compute capability {cupy.cuda.Device().compute_capability}."
        )
    _tf32 = bool(enabled)


def tf32() -> bool:
    """Whether float32 products run on tensor cores; see `set_tf32`."""
    return _tf32


# --- arrays ---------------------------------------------------------------------------


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised C-contiguous array on the GPU.

    Raises:
        MemoryError: if the GPU has no room, with the bytes asked for.
    """
    try:
        return cupy.empty(shape, dtype)
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise _no_room(shape, dtype) from error


def to_device(value: Any, dtype: Any = None) -> Array:
    """`value` as a C-contiguous array on the GPU; no copy where it is one already.

    Raises:
        MemoryError: if the GPU has no room, with the bytes asked for.
        RuntimeError: for host data while a step is being captured.
    """
    if not isinstance(value, cupy.ndarray):
        value = np.asarray(value)
        if cupy.cuda.get_current_stream().is_capturing():
            raise RuntimeError(
                f"An array of the host ({value.dtype}, shape {value.shape}) cannot be copied to the GPU while a step is being "
                "captured: each replay would see the values of now. Put it there before the step."
            )
    try:
        return cupy.asarray(value, dtype=dtype, order="C")
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise _no_room(value.shape, dtype or value.dtype) from error


def to_host(value: Any) -> np.ndarray:
    """`value` as a NumPy array: waits for the GPU to have computed it, and copies it.

    Raises:
        RuntimeError: while a step is being captured: nothing is computed then.
    """
    if isinstance(value, cupy.ndarray) and cupy.cuda.get_current_stream().is_capturing():
        raise RuntimeError(
            f"An array of the GPU ({value.dtype}, shape {value.shape}) cannot be read while a step is being captured: nothing "
            "is computed then."
        )
    return cupy.asnumpy(value)


def _no_room(shape: tuple[int, ...], dtype: Any) -> MemoryError:
    free, total = cupy.cuda.runtime.memGetInfo()
    return MemoryError(
        f"The GPU has no room for an array of {int(np.prod(shape)) * np.dtype(dtype).itemsize:,} bytes (shape {tuple(shape)}, "
        f"dtype {np.dtype(dtype)}): {free:,} of its {total:,} bytes are free. A smaller batch needs less."
    )


def is_on_device(array: Any) -> bool:
    """Whether `array` is a CuPy array."""
    return isinstance(array, cupy.ndarray)


def inputs(op: str, *arrays: Array | None) -> Any:
    """The float arrays of one call, ready for a kernel: on the GPU, of one dtype, C-contiguous (copied if not).

    None stays None.

    Raises:
        TypeError: for an array that is not on the GPU, or dtypes that differ.
    """
    ready: list[Array | None] = []
    dtype = None
    for array in arrays:
        if array is None:
            ready.append(None)
            continue
        if not is_on_device(array):
            raise TypeError(
                f"{op} computes on the GPU and got arrays of two kinds. Expected: CuPy arrays only "
                f"(`minicnn.backends.asarray` makes one). Received: {type(array).__module__}.{type(array).__name__}."
            )
        dtype = dtype or array.dtype
        if array.dtype != dtype:
            raise TypeError(f"{op} needs arrays of one dtype. Received: {dtype} and {array.dtype}.")
        ready.append(array if array.flags.c_contiguous else array.copy(order="C"))
    if dtype is not None and dtype.name not in ("float32", "float64"):
        raise TypeError(f"{op} computes in float32 or float64. Received: {dtype}.")
    return ready[0] if len(ready) == 1 else ready


def address(array: Array) -> int:
    """Where the array's first element lies on the GPU."""
    return int(array.data.ptr)


def vector_width(extent: int, *arrays: Array) -> int:
    """How many neighbours one load of 16 bytes takes from arrays whose last axis has `extent` elements; 1 if it cannot."""
    width = 16 // arrays[0].dtype.itemsize
    return width if extent % width == 0 and all(address(array) % 16 == 0 for array in arrays) else 1


def real_type(array: Array) -> dict[str, str]:
    """The C type `real` that a source leaves open: the array's."""
    return {"real": C_TYPES[array.dtype.name]}


# --- kernels --------------------------------------------------------------------------


@functools.cache
def source(file: str) -> str:
    """The CUDA source of a kernel file, with its `#include "..."` lines replaced by what they name.

    Inlined rather than left to the compiler, so that CuPy's cache on disk notices a change in either.
    """
    text = (FOLDER / file).read_text(encoding="utf-8")
    return re.sub(r'^#include "(\S+)"$', lambda match: source(match[1]), text, flags=re.MULTILINE)


def program(file: str, constants: Iterable[tuple[str, Any]]) -> str:
    """The source of a kernel file under its constants.

    They are text and no options of the compiler, which would have them replace names in its own headers too.
    """
    return "".join(f"#define {name} {value}\n" for name, value in constants) + source(file)


@functools.cache
def _kernel(file: str, name: str, types: _Constants, tile: _Constants, geometry: _Constants) -> Any:
    return cupy.RawModule(code=program(file, (*types, *tile, *geometry)), options=OPTIONS).get_function(name)


def launch(
    file: str,
    name: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    arguments: tuple[Any, ...],
    types: Mapping[str, str],
    geometry: Mapping[str, int],
    tile: Mapping[str, int] | None = None,
) -> None:
    """Run kernel `name` of `kernels/{file}` on the current stream.

    Args:
        grid, block: blocks and threads a block, up to three extents each.
        arguments: arrays, ints (`long long` there), floats (`double`), None (a null pointer), or a NumPy
            record of size 1 (a struct, by value).
        types: names of C types that the source leaves open, such as `real`.
        geometry: the constants that are only computed with.
        tile: the constants that sizes of arrays and templates depend on.
    """
    kernel = _kernel(file, name, tuple(types.items()), tuple((tile or {}).items()), tuple(geometry.items()))
    kernel(grid, block, arguments)


def blocks(size: int) -> tuple[int]:
    """The grid for a kernel that goes along `size` elements with `THREADS` threads a block."""
    return (max(1, min(-(-size // THREADS), 1 << 16)),)


def column_chunks(rows: int, C: int) -> tuple[tuple[int, int], int]:
    """How sums down the columns of a matrix (rows, C) are cut (`kernels/columns.cuh`): the grid, and rows a chunk.

    The chunks depend on the shape alone.
    """
    rows_per_chunk = max(_LEAST_ROWS, -(-rows // _MOST_CHUNKS))
    return (-(-C // 32), -(-rows // rows_per_chunk)), rows_per_chunk
