"""The kernels' own source, run on the CPU, against everything that ops are tested with.

The launch geometry, the index arithmetic, shared memory and barriers are the real ones; only
the compiler and the arrays are others (see `simulator.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import settings

from tests.drawn import LEAST
from tests.gpu.families import families
from tests.gpu.simulator import needs_compiler, simulated
from tests.ops.checks import Target

pytestmark = needs_compiler

TESTS = families()
SHARE = 4  # of the cases: formulas are tested by all of them on the CPU's backends, here it is the addresses
SETTINGS = "_hypothesis_internal_use_settings"  # nothing public tells of a decorated test, or changes it


@pytest.fixture(scope="module", autouse=True)
def fewer_cases() -> Iterator[None]:
    """A quarter of the cases of each test, which is the same function as in `tests/ops`."""
    with contextlib.ExitStack() as stack:
        for test in TESTS.values():
            if (drawn := getattr(test, SETTINGS, None)) is not None:
                some = settings(drawn, max_examples=max(drawn.max_examples // SHARE, LEAST))
                stack.enter_context(mock.patch.object(test, SETTINGS, some))
        yield


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with simulated():
        yield Target("cupy", "float32")


globals().update(TESTS)
