"""How kernels are compiled: for the processor that Numba is told, and by one process at a time."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from minicnn.backends.numba_cpu._compile import vectors_of
from minicnn.backends.numba_cpu._parallel import _flush_by_fpcr
from minicnn.backends.numba_cpu.loss import clip


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86's processors")
@pytest.mark.parametrize(
    ("processor", "features", "expected"),
    [
        ("x86-64", "", (4, False)),
        ("nehalem", "", (4, False)),
        ("haswell", "", (8, True)),
        ("znver3", "", (8, True)),
        ("skylake-avx512", "", (16, True)),
        ("znver4", "", (16, True)),
        ("znver4", "-avx512f", (8, True)),
        ("x86-64", "+avx2,+fma", (8, True)),
    ],
)
def test_vectors_are_the_processor_s(processor: str, features: str, expected: tuple[int, bool]) -> None:
    assert vectors_of(processor, features) == expected


def test_arm_flushes_subnormals_by_the_bit_of_its_register() -> None:
    """As its assembler says it: this processor need not be one."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    builder = ir.IRBuilder(ir.Function(module, ir.FunctionType(ir.VoidType(), []), "flush").append_basic_block())
    _flush_by_fpcr(module, builder)()
    builder.ret_void()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="apple-m1")
    instructions = machine.emit_assembly(llvm.parse_assembly(str(module)))
    # Bit 24 is FZ: Arm Architecture Reference Manual, FPCR.
    assert re.search(r"mrs\s+x(\d+), FPCR\s+orr\s+(x\d+), x\1, #0x1000000\s+msr\s+FPCR, \2\s+msr\s+FPCR, x\1\s", instructions)


def python(script: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def answer(process: subprocess.Popen[str], said: str = "") -> str:
    """The last line of its output."""
    output, _ = process.communicate(said)
    assert process.returncode == 0
    return output.strip().split("\n")[-1]


def test_a_named_processor_has_its_own_vectors_and_features() -> None:
    """Numba alone would give it the features of this machine."""
    script = (
        "import numba; from minicnn.backends.numba_cpu import _compile, _microkernel;"
        "print(_compile.VL, _microkernel.NR, 'avx512f' in str(numba.config.CPU_FEATURES))"
    )
    if platform.machine() in ("x86_64", "AMD64"):
        assert answer(python(script, NUMBA_CPU_NAME="haswell")) == "8 16 False"


def test_a_part_of_kernels_says_so_to_python() -> None:
    """It has no entry for Python; a call would end the process."""
    with pytest.raises(TypeError, match="clip is a part of kernels: only jitted functions can call it"):
        clip(1.0, 0.1)


KERNEL = """
from minicnn.backends.numba_cpu._compile import compiled

@compiled
def twice(x):
    return 2 * x
"""
CALL = """
import sys
from numba.core import event
from minicnn.backends import numba_cpu
sys.path.insert(0, {folder!r})
from kernel import twice

compiled = []

class Listener(event.Listener):
    def on_start(self, event):
        compiled.append(event.data["dispatcher"].py_func.__name__)
        print("compiling", flush=True)
        {pause}

    def on_end(self, event):
        pass

event.register("numba:compile", Listener())
print("ready", flush=True)
assert twice(21) == 42
print(compiled)
"""


def test_a_process_waits_for_another_that_compiles_the_same(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    beside_the_file = {"NUMBA_CACHE_DIR": ""}
    with python(CALL.format(folder=str(tmp_path), pause="sys.stdin.readline()"), **beside_the_file) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        assert first.stdout.readline() == "compiling\n"  # and stops there
        with python(CALL.format(folder=str(tmp_path), pause=""), **beside_the_file) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "ready\n"
            assert answer(first, "go on\n") == "['twice']"
            assert answer(second) == "[]"
