"""How kernels are compiled: for the processor that Numba is told, and by one process at a time."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from minicnn.backends.numba_cpu import _ahead
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


# --- a second process that compiles ahead ---------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run, in place of running them, on a machine with two cores."""
    commands: list[list[str]] = []

    def popen(command: list[str], env: dict[str, str], **_: object) -> object:
        assert env["MINICNN_COMPILE_AHEAD"] == "0"  # or it would start a third
        commands.append(command)
        raise OSError("no process to be had")  # which must not matter

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(_ahead, "cores", lambda: 2)
    monkeypatch.setenv("MINICNN_COMPILE_AHEAD", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    return commands


@pytest.mark.skipif(os.name != "posix", reason="Windows has no lock that processes wait at")
def test_a_second_process_compiles_where_there_are_two_cores(started: list[list[str]]) -> None:
    _ahead.start()
    assert [command[0] for command in started] == [sys.executable]


@pytest.mark.parametrize("case", ["switch", "one core", "one thread", "frozen", "another program", "no program"])
def test_one_process_compiles_where_a_second_does_not_help(
    case: str, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "switch":
        monkeypatch.setenv("MINICNN_COMPILE_AHEAD", "0")
    elif case == "one core":
        monkeypatch.setattr(_ahead, "cores", lambda: 1)
    elif case == "one thread":
        monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    elif case == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "/usr/bin/blender" if case == "another program" else None)
    _ahead.start()
    assert started == []


def test_what_is_compiled_ahead_is_what_fit_calls() -> None:
    """One signature each: else a first training would compile the same kernels once more, for other types."""
    script = (
        "import numpy as np; from minicnn import zoo; from minicnn.backends.numba_cpu import _gradients, conv, winograd;"
        "_gradients.compile_gradients();"
        "before = conv._backward.signatures + winograd._backward.signatures;"
        "model = zoo.cifar_small();"
        "model.compile(loss='sparse_categorical_crossentropy');"
        "model.train_on_batch(np.zeros((32, 32, 32, 3), np.float32), np.zeros(32, int));"
        "after = conv._backward.signatures + winograd._backward.signatures;"
        "print(len(before), after == before)"
    )
    assert answer(python(script)) == "2 True"


def runs(process: int) -> bool:
    """Whether it is there, and is no zombie that nobody has waited for."""
    stat = Path(f"/proc/{process}/stat")
    try:
        os.kill(process, 0)
        return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(os.name != "posix", reason="Windows has no lock that processes wait at")
@pytest.mark.parametrize("killed", [False, True])
def test_the_second_process_ends_with_the_first(killed: bool, tmp_path: Path) -> None:
    """Also where the first is killed. Its cache is empty, so it would compile for some time."""
    script = (
        "import os, sys; from minicnn.backends.numba_cpu import _ahead; _ahead.cores = lambda: 2;"
        f"os.environ.update(MINICNN_COMPILE_AHEAD='1', NUMBA_NUM_THREADS='2', NUMBA_CACHE_DIR={str(tmp_path)!r});"
        "print(_ahead.start().pid, flush=True); sys.stdin.readline(); print('ends')"
    )
    with python(script) as first:
        assert first.stdout is not None
        second = int(first.stdout.readline())
        assert runs(second)
        if killed:
            first.kill()
            first.communicate()
        else:
            assert answer(first, "go on\n") == "ends"
    deadline = time.monotonic() + 10
    while runs(second) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(second)
