"""`Trials`: the package is loaded once, each change is put into a fork of that process, and its tests run there."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.change import Change

_NOTHING_CHANGED, _NO_TEST_RAN = 77, {3, 4, 5, 99}
_LOADED = ("hypothesis", "hypothesis.extra.numpy", "scipy.stats", "scipy.signal", "keras", "matplotlib.pyplot", "PIL.Image")


@dataclass(frozen=True)
class Outcome:
    """What became of one change.

    Attributes:
        caught_by: the test that failed ("hangs", "crashes ..."), None if all passed.
        tried: whether tests ran and came to an end, and the change was in a function that exists.
    """

    change: Change
    caught_by: str | None
    tried: bool
    seconds: float


class _Unshrunk:
    """A failing case need not be made small: that it fails is enough."""

    def pytest_collection_finish(self, session: Any) -> None:
        from hypothesis import Phase, settings

        profile = settings.get_profile("minicnn")
        settings.register_profile("mutants", profile, phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")


class Trials:
    """Of changes in the package below `root`, which is imported here; a fork sees a change as new bytecode of its functions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        sys.path.insert(0, str(root))
        os.chdir(root)
        import tests.conftest  # noqa: F401  its environment, before anything reads that

        for name in _LOADED:
            importlib.import_module(name)
        import minicnn

        for module in pkgutil.walk_packages(minicnn.__path__, "minicnn."):
            if not any(part in module.name for part in ("cupy", "__main__", "worker")):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)
        self.functions: dict[str, list[types.FunctionType]] = {}
        package = str(root / "minicnn")
        for found in gc.get_objects():
            if isinstance(found, types.FunctionType) and found.__code__.co_filename.startswith(package):
                self.functions.setdefault(found.__code__.co_filename, []).append(found)
        # A collection in a fork would look through all of this, and copy the pages it writes to.
        gc.collect()
        gc.freeze()

    def run(self, asked: list[tuple[Change, list[str]]], jobs: int, limit: float) -> Iterator[Outcome]:
        """Try each change on its tests, so many at a time, each for at most `limit` seconds.

        One that ran out of time and had a processor for less than half of it was kept from working: it was not tried.
        """
        running: dict[int, tuple[Change, float, Any]] = {}
        asked = asked[::-1]
        while asked or running:
            while asked and len(running) < jobs:
                change, tests = asked.pop()
                said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed when it is read
                sys.stdout.flush()
                if not (process := os.fork()):
                    self._child(change, tests, said.fileno())
                running[process] = change, time.monotonic(), said
            time.sleep(0.02)
            for process in list(running):
                change, begun, said = running[process]
                ended, status = os.waitpid(process, os.WNOHANG)
                seconds = time.monotonic() - begun
                if not ended and seconds <= limit:
                    continue
                # Its own processes end with it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                del running[process]
                said.seek(0)
                if ended:
                    yield Outcome(change, *_judged(os.waitstatus_to_exitcode(status), said.read()), seconds)
                else:
                    used = os.wait4(process, 0)[2]
                    worked = used.ru_utime + used.ru_stime >= limit / 2
                    yield Outcome(change, "hangs" if worked else None, worked, seconds)
                said.close()

    def _child(self, change: Change, tests: list[str], said: int) -> None:
        """In the fork: never returns."""
        code = 99
        try:
            os.setsid()
            os.dup2(said, 1)
            os.dup2(said, 2)
            import pytest

            options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain"]
            if not any(test.startswith("minicnn") for test in tests):
                options += ["-o", "addopts="]  # modules of tests hold no doctests: to look for them takes longer than a test
            code = int(pytest.main([*options, *tests], plugins=[_Unshrunk()])) if self._put(change) else _NOTHING_CHANGED
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _put(self, change: Change) -> bool:
        """Give the functions of the file the bytecode of the changed text; whether one got another."""
        path = str(self.root / change.file)
        new: dict[tuple[str, int], types.CodeType] = {}

        def collect(code: types.CodeType) -> None:
            for constant in code.co_consts:
                if isinstance(constant, types.CodeType):
                    new.setdefault((constant.co_qualname, constant.co_firstlineno), constant)
                    collect(constant)

        collect(compile(change.applied(Path(path).read_bytes()), path, "exec"))
        changed = False
        for function in self.functions.get(path, []):
            code = new.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
            if code is not None and code != function.__code__ and code.co_freevars == function.__code__.co_freevars:
                function.__code__, changed = code, True
        return changed


def _judged(code: int, output: str) -> tuple[str | None, bool]:
    """Which test caught it, and whether any ran."""
    if code < 0:
        return f"crashes with signal {-code}", True
    if code == _NOTHING_CHANGED or code in _NO_TEST_RAN:
        return None, False
    failed = [line.split(" ", 1)[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return (None, True) if code == 0 else (failed[0].split(" - ")[0] if failed else f"exit status {code}", True)
