"""Damaged files by the million, guided by the code that they reach.

    pip install ".[fuzz]"
    python -m tests.fuzz TARGET [SECONDS]

TARGET is one of keras, config, weights, h5, cifar, tar, npz, zip, picture; SECONDS are 600 by default. The files that
reach new code are kept in .fuzz/TARGET and are where the next run begins. A file that makes a loader raise anything
but `FileFormatError`, take more than ten seconds (the machine may be busy) or 2 GB, start a program or open a file
outside of its folder ends the run: it is written to .fuzz/crash-TARGET-..., and belongs into tests/test_hostile_files.py.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

_STARTED = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "socket.connect")
_folder: str | None = None  # the one that files may be opened in, once the target is ready


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: a loader starts nothing, and opens nothing outside of its folder but Python's own code."""
    if _folder is None:
        return
    opened = arguments[0] if event == "open" and isinstance(arguments[0], str) else None
    if event in _STARTED or (opened and not opened.startswith((_folder, sys.prefix, sys.base_prefix)) and opened[-3:] != ".py"):
        os.write(2, f"a loader caused {event} {arguments}\n".encode())
        os.abort()


def main() -> None:
    """Fuzz one target."""
    import atheris

    from tests.fuzz.targets import FOLDER, TARGETS

    if len(sys.argv) not in (2, 3) or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [SECONDS]")
    name, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 600
    target = TARGETS[name]
    kept = Path(".fuzz", name)
    kept.mkdir(parents=True, exist_ok=True)
    for seed, content in target.seeds().items():
        (kept / seed.replace(" ", "-")).write_bytes(content)
        assert target.read(content), f"the good file {seed!r} is refused"
    sys.addaudithook(_forbid)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-verbosity=1"]
    options.append(f"-artifact_prefix=.fuzz/crash-{name}-")

    def one(content: bytes) -> None:
        target.read(content)

    atheris.Setup([sys.argv[0], *options, str(kept)], one)
    global _folder
    _folder = str(FOLDER)
    atheris.Fuzz()


if __name__ == "__main__":
    import atheris

    # Only what is imported here is instrumented: the loaders and what they are made of.
    with atheris.instrument_imports(include=["minicnn", "tarfile", "zipfile", "pickletools", "PIL"]):
        importlib.import_module("tests.fuzz.targets")
        for kind in ("Bmp", "Gif", "Jpeg", "Png", "WebP"):
            importlib.import_module(f"PIL.{kind}ImagePlugin")
    main()
