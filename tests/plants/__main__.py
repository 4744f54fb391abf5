"""Plants bugs, one at a time, in a copy of the package, and counts which the tests catch.

    python -m tests.plants                  # all plants of the catalogue
    python -m tests.plants --only adam      # those whose names contain "adam"
    python -m tests.plants --list           # names, files and tests, without running anything

For each plant: copy `minicnn` and `tests` into a temporary folder, replace the plant's text there, run the
plant's tests with `pytest -x`, and note the test that failed first. Before that, the same tests run in a copy
without a plant: a test that fails there would catch everything. The exit status is 0 only if every plant is caught.

A plant is caught where a test fails, where the process crashes, and where it hangs (`--timeout`, said so in the
table). A test file that cannot be imported, or a test that is not there, catches nothing: the run ends with an error.

Why not mutmut or cosmic-ray: they change operators and constants one by one. What slips through tests here is of
another kind: the tail of a loop that no test's array reaches, the state that is not saved, the weight that one of
two gradients forgets, a default that is not Keras's. And a change in a kernel costs a compilation of half a minute,
so that a few bugs that somebody thought about tell more than thousands of random ones.

The cache of compiled kernels is stamped with the contents of all of `backends/numba_cpu` and lies beside them. A copy
takes it along and has its own, so that a plant elsewhere costs no compilation, one in a kernel is really
compiled, and neither touches the cache of the original.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.plants.catalogue import PLANTS
from tests.plants.plant import ROOT, Plant

_COPIED = ("minicnn", "tests", "pyproject.toml", "README.md")  # what tests read
# A failing case need not be made small: that it fails is enough.
_UNSHRUNK = """
from hypothesis import Phase

settings.register_profile("plants", settings.get_profile("minicnn"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("plants")
"""


@dataclass
class Outcome:
    """What the tests said: the one that failed first (or "hangs", "crashes ..."), None if all passed."""

    caught_by: str | None
    seconds: float
    output: str
    broken: bool  # pytest ran no test


def copy_of_project(folder: str) -> Path:
    """The package and its tests in a folder of their own, compiled kernels included."""
    root = Path(folder)
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy2(ROOT / name, root / name)
    with open(root / "tests" / "conftest.py", "a", encoding="utf-8") as conftest:
        conftest.write(_UNSHRUNK)
    return root


def run_tests(root: Path, tests: Iterable[str], timeout: float | None, *options: str) -> Outcome:
    """Run tests in a copy of the project."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("NUMBA_CACHE_DIR", None)  # else all copies would share one
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *options, *tests]
    begun, hangs = time.monotonic(), False
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        # A session of its own, so that a hanging test's own processes end with it.
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=said, stderr=said, start_new_session=True)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            hangs = True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        output = said.read()
    failed = re.search(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", output, re.MULTILINE)
    caught_by = None
    if hangs:
        caught_by = "hangs"
    elif process.returncode < 0:
        caught_by = f"crashes with signal {-process.returncode}"
    elif process.returncode == 1 and failed:
        caught_by = failed[1]
    broken = caught_by is None and process.returncode != 0
    return Outcome(caught_by, time.monotonic() - begun, output, broken)


def try_out(plant: Plant, timeout: float) -> Outcome:
    """Put one plant into a copy of the project and run its tests."""
    with tempfile.TemporaryDirectory(prefix="plants-") as folder:
        root = copy_of_project(folder)
        plant.put_into(root)
        return run_tests(root, plant.tests, timeout, "-x")


def chosen(names: list[str]) -> list[Plant]:
    """The plants whose names contain one of `names`; all without any."""
    plants = [plant for plant in PLANTS if not names or any(name in plant.name for name in names)]
    if not plants:
        raise SystemExit(f"No plant's name contains {' or '.join(map(repr, names))}.")
    return plants


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.plants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="plants whose names contain one of these")
    parser.add_argument("--list", action="store_true", help="print the plants and end")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="plants at a time (default 1)")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for one plant's tests (default 600)")
    parser.add_argument("--no-baseline", action="store_true", help="trust that the tests pass without a plant")
    parser.add_argument("--verbose", action="store_true", help="print what pytest said of each plant")
    options = parser.parse_args()
    plants = chosen(options.only)
    width = max(len(plant.name) for plant in plants)
    if options.list:
        for plant in plants:
            print(f"{plant.name:{width}}  {plant.file}  {' '.join(plant.tests)}")
        return 0

    if not options.no_baseline:
        with tempfile.TemporaryDirectory(prefix="plants-") as folder:
            tests = sorted({test for plant in plants for test in plant.tests})
            baseline = run_tests(copy_of_project(folder), tests, None)
        if baseline.caught_by or baseline.broken:
            print(baseline.output)
            print("The tests have to pass without a plant first.")
            return 2
        print(f"{'(no plant)':{width}}  all tests pass  {baseline.seconds:.0f} s", flush=True)

    caught, broken = 0, 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for plant, outcome in zip(plants, pool.map(lambda plant: try_out(plant, options.timeout), plants)):
            said = outcome.caught_by or ("NO TEST RAN" if outcome.broken else "SURVIVES")
            print(f"{plant.name:{width}}  {said}  {outcome.seconds:.0f} s", flush=True)
            if options.verbose or outcome.broken:
                print(outcome.output, flush=True)
            caught += outcome.caught_by is not None
            broken += outcome.broken
    print(f"{caught} of {len(plants)} caught, {len(plants) - caught - broken} survive, {broken} could not be tried")
    return 0 if caught == len(plants) else 1


if __name__ == "__main__":
    sys.exit(main())
