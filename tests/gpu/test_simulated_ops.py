"""The kernels' own source, run on the CPU, against everything that ops are tested with.

The launch geometry, the index arithmetic, shared memory and barriers are the real ones; only
the compiler and the arrays are others (see `simulator.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gpu.families import families
from tests.gpu.simulator import needs_compiler, simulated
from tests.ops.checks import Target

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with simulated():
        yield Target("cupy", "float32")


globals().update(families())
