"""The fuzzer's corpus: good files are read, and what stands in for a minute of fuzzing harms nothing."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

import minicnn
from tests.fuzz import __main__ as fuzzer
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


@pytest.mark.parametrize(
    ("event", "arguments", "forbidden"),
    [
        ("open", ("/folder/m.keras", "rb", 0), False),
        ("open", (Path("/folder/m.keras"), "rb", 0), False),
        ("open", (3, "rb", 0), False),
        ("open", (f"{sys.prefix}/lib/x.pyc", "rb", 0), False),
        ("open", ("/folder/../etc/passwd", "rb", 0), True),
        ("open", (Path("/etc/passwd"), "rb", 0), True),
        ("open", (b"/etc/passwd", None, 0), True),
        ("os.rename", ("/folder/a", "/elsewhere/b", -1, -1), True),
        ("os.listdir", ("/folder",), False),
        ("os.listdir", ("/folders",), True),
        ("subprocess.Popen", ("gs", ["gs"], None, None), True),
        ("os.posix_spawn", ("gs", ["gs"], {}), True),
        ("socket.connect", (None, ("example.org", 80)), True),
        ("ctypes.dlopen", ("/folder/x.so",), True),
        ("import", ("zlib", None, None, None, None), False),
    ],
)
def test_what_the_fuzzer_forbids(monkeypatch, event, arguments, forbidden):
    monkeypatch.setattr(fuzzer, "_folder", "/folder")
    assert fuzzer.is_forbidden(event, arguments) == forbidden
