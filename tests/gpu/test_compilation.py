"""Every kernel source through NVRTC, under the constants that real calls give it, for three generations of cards."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from minicnn.backends.cupy_gpu import compile
from tests.gpu.calls import call_every_op
from tests.gpu.nvrtc import CompilationError, compiler_for
from tests.gpu.simulator import numpy_arrays

LEAST_TF32 = 80
CARDS = (70, 80, 90)  # V100, A100, H100

Program = tuple[str, tuple[tuple[str, Any], ...]]  # file, constants


@functools.cache
def programs(dtype: str) -> tuple[Program, ...]:
    """What `call_every_op` compiles: files under their constants, each file and set of tiles once."""
    found: dict[Any, Program] = {}

    def record(file: str, name: str, types: Any, tile: Any, geometry: Any) -> Any:
        found.setdefault((file, types, tile), (file, (*types, *tile, *geometry)))
        return lambda grid, block, arguments: None

    with numpy_arrays(record):
        call_every_op(lambda *shape: np.empty(shape, dtype), dtype)
    return tuple(found.values())


def test_calls_reach_every_file_and_tile() -> None:
    files = {path.name for path in compile.FOLDER.glob("*.cu")}
    assert {file for file, _ in programs("float32")} == files
    products = {tuple(constants[1:6]) for file, constants in programs("float32") if file == "conv2d_forward.cu"}
    assert len(products) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("card", CARDS)
def test_kernels_compile(card: int, dtype: str) -> None:
    """To machine code: the assembler knows each card's registers and shared memory."""
    for file, constants in programs(dtype):
        assert compiler_for(card).compile(compile.program(file, constants), file, card, compile.OPTIONS)


@pytest.mark.parametrize("card", [card for card in CARDS if card >= LEAST_TF32])
def test_tensor_core_kernels_compile(card: int) -> None:
    for file, constants in programs("float32"):
        if ("TF32", 0) in constants:
            tf32 = tuple((key, 1 if key == "TF32" else value) for key, value in constants)
            assert compiler_for(card).compile(compile.program(file, tf32), file, card, compile.OPTIONS)


def test_a_wrong_source_does_not_compile() -> None:
    with pytest.raises(CompilationError, match="undefined"):
        compiler_for(80).compile("__global__ void f(float* x) { *x = undefined; }", "f.cu", 80, compile.OPTIONS)
