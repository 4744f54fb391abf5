"""The fuzzer's corpus: good files are read, and what stands in for a minute of fuzzing harms nothing."""

from __future__ import annotations

import random

import pytest

import minicnn
from tests.fuzz.targets import TARGETS


@pytest.fixture(autouse=True, scope="module")
def _backend_as_it_was():
    before = minicnn.backend()
    yield
    minicnn.set_backend(before)


@pytest.mark.parametrize("name", TARGETS)
def test_good_files_are_read(name):
    for content in TARGETS[name].seeds().values():
        assert TARGETS[name].read(content)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore:Skipping variable loading", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_refused_or_harmless(name):
    draw = random.Random(name)
    seeds = [*TARGETS[name].seeds().values()]
    for _ in range(40):
        content = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(content))
            content[at : at + draw.choice([1, 1, 4])] = draw.randbytes(draw.choice([1, 1, 4]))
        TARGETS[name].read(bytes(content[: draw.choice([len(content), draw.randint(1, len(content))])]))
