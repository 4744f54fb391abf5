"""What the micro-kernel's docstring promises of the instructions that come out."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from minicnn.backends.numba_cpu._compile import FMA, assembly
from minicnn.backends.numba_cpu._microkernel import MR, NV


def sums_of(loop: str) -> Counter[str]:
    """How often a loop adds products to each register: the last operand on x86, the first on ARM."""
    return Counter(re.findall(r"vfmadd\w+ps\s.*%([xyz]mm\d+)$", loop, flags=re.M) + re.findall(r"fmla\s+(v\d+)", loop))


def loops(instructions: str) -> Iterator[str]:
    """The innermost loops: each from its label to the jump back to it."""
    for label, block in re.findall(r"^(\S+):$((?:\n\s.*)*)", instructions, flags=re.MULTILINE):
        back = re.search(rf"^\s+(?:j\w+|b\.\w+)\s+{re.escape(label)}$", block, flags=re.MULTILINE)
        if back:
            yield block[: back.start()]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64") or not FMA, reason="reads the names of x86's instructions")
def test_all_sums_of_a_tile_stay_in_registers() -> None:
    """However often LLVM unrolls the loop, which depends on the processor."""
    sums = {loop: sums_of(loop) for loop in loops(assembly("multiply"))}
    largest = max(sums, key=lambda loop: len(sums[loop]))
    assert len(sums[largest]) == MR * NV  # each sum has a register of its own,
    assert len(set(sums[largest].values())) == 1  # to which each step adds once,
    assert not re.findall(r"^\s+vmov\w+\s+%[xyz]mm\d+, .*\)$", largest, flags=re.M)  # and which is not stored in between


# The tile's code for processors that need not be this one, made of vectors as long as theirs; with MR and NV, as JSON.
OF_PROCESSORS = """
import json, sys
from llvmlite import binding, ir
from minicnn.backends.numba_cpu._microkernel import MR, NV, _tile_function

triple, *processors = sys.argv[1:]
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
module = ir.Module()
module.triple = triple
_tile_function(module).linkage = ""
found = []
for processor in processors:
    compiled = binding.parse_assembly(str(module))
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(compiled, passes)
    found.append(machine.emit_assembly(compiled))
print(json.dumps([MR, NV, found]))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the vectors' lengths are those of x86's processors")
@pytest.mark.parametrize(
    ("vectors_of", "triple", "processors", "expected"),
    [
        ("haswell", "x86_64-unknown-linux-gnu", ["haswell"], 12),
        ("skylake-avx512", "x86_64-unknown-linux-gnu", ["skylake-avx512", "znver4"], 24),
        ("nehalem", "aarch64-unknown-linux-gnu", ["apple-m1", "neoverse-v1"], 24),
    ],
)
def test_the_tile_of_every_laptop_stays_in_registers(
    vectors_of: str, triple: str, processors: list[str], expected: int
) -> None:
    """A step multiplies and adds once for each sum; beside, it loads, steps on, and moves no vector to the stack."""
    command, environment = (
        [sys.executable, "-c", OF_PROCESSORS, triple, *processors],
        os.environ | {"NUMBA_CPU_NAME": vectors_of},
    )
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    rows, vectors, assemblies = json.loads(printed)
    assert rows * vectors == expected
    assert len(assemblies) == len(processors)
    for instructions in assemblies:
        largest = max(loops(instructions), key=lambda loop: len(sums_of(loop)))
        found = sums_of(largest)
        assert len(found) == expected
        [steps] = set(found.values())  # LLVM may unroll the loop
        others = [line for line in re.findall(r"^\s+[a-z].*", largest, flags=re.M) if not sums_of(line)]
        assert len(others) <= (2 * rows + vectors) * steps
        assert not [line for line in others if re.search(r"^\s+st[rp]|%[xyz]mm\d+, .*\)|\(%rsp\), %[xyz]mm|\[sp", line)]


def test_assembly_knows_its_functions() -> None:
    with pytest.raises(ValueError, match=r"Unknown function: 'divide'. Expected one of .*'multiply'"):
        assembly("divide")
