"""The kernels' own source, run on the CPU, against everything that ops are tested with.

The launch geometry, the index arithmetic, shared memory and barriers are the real ones; only
the compiler and the arrays are others (see `simulator.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from minicnn import backends
from tests.gpu.families import families
from tests.gpu.simulator import needs_compiler, simulated
from tests.ops.checks import Target

pytestmark = needs_compiler


class SimulatedTarget(Target):
    """The GPU backend, whatever it takes from the reference included."""

    @property
    def ops(self) -> Any:
        return SimpleNamespace(**backends.load("cupy"))


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with simulated():
        yield SimulatedTarget("cupy_gpu", "float32")


globals().update(families())
