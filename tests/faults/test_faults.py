"""Files that are written survive a kill at every call that changes the disk, and a full disk at every one.

Each scenario runs in a process of its own, since it forks and must not do so from one that has threads. What is left out here,
calls that only look at the disk, `python -m tests.faults` tries too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import ptrace
from tests.faults.scenarios import SCENARIOS

# On Linux a tracer that does not work is an error, not a reason to pass over these tests: nothing else would notice.
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="system calls are followed with Linux's ptrace")


@linux_only
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_write_survives_kills_and_full_disks(name):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--changes-only", name],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def overwrite(folder: Path) -> str:
    """As one writes a file without further thought."""
    (folder / "file").write_text("new" * 100)
    return "done"


@linux_only
@pytest.mark.parametrize(
    ("fault", "call", "ended", "left"),
    [
        ("killed", "openat", "killed", "old"),
        ("killed", "write", "killed", ""),
        ("killed halfway", "write", "killed", ("new" * 100)[:150]),
        ("no space once", "openat", "raised", "old"),
        ("no space halfway", "write", "raised", "new" * 100),  # the rest is written when the file is closed
        ("no space from then on", "write", "raised", ""),
        (None, "", "returned", "new" * 100),
    ],
)
def test_the_faults_are_what_they_are_called(tmp_path, fault, call, ended, left):
    (tmp_path / "file").write_text("old")
    calls = [name for name, path in ptrace.run(lambda: overwrite(tmp_path), tmp_path).calls if path == str(tmp_path / "file")]
    (tmp_path / "file").write_text("old")
    outcome = ptrace.run(lambda: overwrite(tmp_path), tmp_path, fault, calls.index(call) if call else -1)
    assert outcome.ended == ended
    assert (tmp_path / "file").read_text() == left
    if ended == "raised":
        assert outcome.kind == "OSError"
        assert "No space left on device" in outcome.value
