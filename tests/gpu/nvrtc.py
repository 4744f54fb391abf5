"""NVRTC without CuPy and without a GPU: every version that pip installed, each for the cards it knows.

NVRTC 13 no longer compiles for cards before compute capability 7.5, which NVRTC 12 does; the two
lie side by side in the wheels `nvidia-cuda-nvrtc` and `nvidia-cuda-nvrtc-cu12`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path


class CompilationError(Exception):
    """What NVRTC has against a source."""


class Nvrtc:
    """One version of the compiler."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        architectures = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(architectures))
        self.architectures = tuple(architectures)

    def compile(self, source: str, name: str, architecture: int, options: Sequence[str]) -> bytes:
        """Machine code for cards of one compute capability (80 for 8.0); the assembler has run, with its limits."""
        program = ctypes.c_void_p()
        create = self._library.nvrtcCreateProgram
        self._check(create(ctypes.byref(program), source.encode(), name.encode(), 0, None, None))
        try:
            flags = [f"--gpu-architecture=sm_{architecture}".encode(), *[option.encode() for option in options]]
            status = self._library.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
            if status != 0:
                log = self._result(program, "ProgramLog").decode()
                raise CompilationError(f"{name} for sm_{architecture}: {log[:4000]}")
            return self._result(program, "CUBIN")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _result(self, program: ctypes.c_void_p, kind: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{kind}")(program, text))
        return text.raw

    @staticmethod
    def _check(status: int) -> None:
        assert status == 0, f"NVRTC answers with status {status}"


@functools.cache
def compiler_for(architecture: int) -> Nvrtc:
    """An installed NVRTC that compiles for cards of this compute capability."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    patterns = ("*/lib/libnvrtc.so.*", "*/bin/**/nvrtc64_*.dll")
    paths = [path for folder in folders for pattern in patterns for path in sorted(folder.glob(pattern))]
    compilers = [Nvrtc(path) for path in paths if ".alt." not in path.name]
    for compiler in compilers:
        if architecture in compiler.architectures:
            return compiler
    raise RuntimeError(
        f"No installed NVRTC compiles for sm_{architecture}; found {[compiler.architectures for compiler in compilers]}. "
        "The wheel nvidia-cuda-nvrtc knows sm_75 and later, nvidia-cuda-nvrtc-cu12 sm_70 too."
    )
