"""Every layer test runs on the fast backend in float32, and on the reference in float64 (or as its file says in TARGETS)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from minicnn import backends
from tests.ops.checks import Target

TARGETS = {"numba": Target("numba", "float32"), "reference": Target("reference", "float64")}


@pytest.fixture(params=list(TARGETS), scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    before = backends.backend()
    backends.set_backend(request.param)
    yield getattr(request.module, "TARGETS", TARGETS)[request.param]
    backends.set_backend(before)
