"""What the micro-kernel's docstring promises of the instructions that come out."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from minicnn.backends.numba_cpu._compile import FMA, assembly
from minicnn.backends.numba_cpu._microkernel import MR, NV


def loops(instructions: str) -> Iterator[str]:
    """The innermost loops: each from its label to the jump back to it."""
    for label, block in re.findall(r"^(\S+):$((?:\n\s.*)*)", instructions, flags=re.MULTILINE):
        back = re.search(rf"^\s+j\w+\s+{re.escape(label)}$", block, flags=re.MULTILINE)
        if back:
            yield block[: back.start()]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64") or not FMA, reason="reads the names of x86's instructions")
def test_all_sums_of_a_tile_stay_in_registers() -> None:
    """However often LLVM unrolls the loop, which depends on the processor."""
    sums = {
        loop: Counter(re.findall(r"vfmadd\w+ps\s.*%([xyz]mm\d+)$", loop, flags=re.M)) for loop in loops(assembly("multiply"))
    }
    largest = max(sums, key=lambda loop: len(sums[loop]))
    assert len(sums[largest]) == MR * NV  # each sum has a register of its own,
    assert len(set(sums[largest].values())) == 1  # to which each step adds once,
    assert not re.findall(r"^\s+vmov\w+\s+%[xyz]mm\d+, .*\)$", largest, flags=re.M)  # and which is not stored in between


def test_assembly_knows_its_functions() -> None:
    with pytest.raises(ValueError, match=r"Unknown function: 'divide'. Expected one of .*'multiply'"):
        assembly("divide")
