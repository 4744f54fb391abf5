"""Damaged files by the million, guided by the code that they reach.

    pip install ".[fuzz]"
    python -m tests.fuzz TARGET [SECONDS]

TARGET is one of keras, config, weights, state, h5, cifar, tar, idx, npz, zip, picture; SECONDS are 600 by default. The
files that reach new code are kept in .fuzz/TARGET and are where the next run begins. A run ends at the first file with
which a loader raises anything but `FileFormatError`, takes more than five seconds of the processor (code that is followed
is several times slower than usual) or 200 MB (450 for a picture, which may have 50 million pixels), hangs, starts a
program, or touches a file outside of its folder. That file is written to .fuzz/crash-TARGET-..., and belongs into
tests/test_hostile_files.py.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

_MOST_SECONDS = 5.0

_STARTS = (
    *("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn"),
    *("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "ctypes."),
)
_TOUCHES = (
    *("open", "os.chmod", "os.chown", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"),
    *("os.symlink", "os.truncate", "shutil.", "tempfile."),
)
_folder: str | None = None  # the one that files may be opened in, once the target is ready


def _is_outside(argument: Any) -> bool:
    """Whether an argument of an event is a path that a loader has no business with; Python's own code is none."""
    if not isinstance(argument, (str, bytes, os.PathLike)):
        return False
    path = os.path.abspath(os.fsdecode(argument))
    return not f"{path}{os.sep}".startswith((f"{_folder}{os.sep}", sys.prefix, sys.base_prefix)) and not path.endswith(".py")


def is_forbidden(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an event of Python's auditing is none of a loader's: it starts nothing, and touches nothing outside."""
    paths = arguments[:1] if event == "open" else arguments  # behind it stands the mode
    return event.startswith(_STARTS) or (event.startswith(_TOUCHES) and any(map(_is_outside, paths)))


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook."""
    if _folder is not None and is_forbidden(event, arguments):
        os.write(2, f"a loader caused {event} {arguments}\n".encode(errors="backslashreplace"))
        os.abort()


def _most_memory() -> int:
    """Bytes that this process had at most."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
    options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=65536", "-verbosity=1"]
    options.append(f"-artifact_prefix=.fuzz/crash-{name}-")

    memory = _most_memory() + target.most_bytes

    def one(content: bytes) -> None:
        began = time.process_time()
        target.read(content)
        took = time.process_time() - began
        assert took < _MOST_SECONDS, f"it took {took:.1f} s of the processor"
        assert _most_memory() < memory, f"it took {(_most_memory() - memory + target.most_bytes) >> 20} MB"

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
