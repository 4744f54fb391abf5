"""What the micro-kernel's docstring promises of the instructions that come out."""

from __future__ import annotations

import platform
import re

import pytest

from minicnn.backends.numba_cpu._compile import FEATURES, assembly
from minicnn.backends.numba_cpu._microkernel import MR, NV


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not FEATURES.get("fma"), reason="reads the names of x86's instructions"
)
def test_all_sums_of_a_tile_stay_in_registers() -> None:
    loops = re.split(r"^\.L\w+:$", assembly("multiply"), flags=re.MULTILINE)
    sums = [re.findall(r"vfmadd\w+ps\s.*%([xyz]mm\d+)$", loop, flags=re.MULTILINE) for loop in loops]
    largest = max(sums, key=len)
    assert len(largest) == MR * NV  # so many multiplications in one loop, none of them spilled to be loaded again,
    assert len(set(largest)) == MR * NV  # each with a register of its own to sum in


def test_assembly_knows_its_functions() -> None:
    with pytest.raises(ValueError, match=r"Unknown function: 'divide'. Expected one of .*'multiply'"):
        assembly("divide")
