"""Every op test runs once for each target."""

from __future__ import annotations

import pytest

from tests.ops.checks import Target

TARGETS = [Target("reference", "float64"), Target("reference", "float32"), Target("numba", "float32")]


@pytest.fixture(params=TARGETS, ids=lambda target: f"{target.backend}-{target.dtype}", scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    return request.param
