"""Every write cut short at every system call, and told "no space left" at every one.

    python -m tests.faults [--changes-only] [SCENARIO ...]

For each scenario (`scenarios.py`) the calls that reach its folder are counted first. Then it is run once for each call and
fault, from the same beginning: the process is killed before the call; killed when a write is half done; the call fails with
"no space left on device", once; a write is half done and the next one fails; from that call on all fails that takes space.
After each

- what stood there before can be read, or what was to be written; nothing else is taken for either,
- an error has a class and a message that say so and name the file, and no temporary file is left,
- what returned without an error has written everything,
- the same once more, undisturbed, works, ends as it always does, and sweeps what a killed process has left.

Prints a table; exits with 1 if anything did not hold. Needs Linux on x86-64.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults import ptrace
from tests.faults.scenarios import SCENARIOS, Scenario


def problems(scenario: Scenario, folder: Path, changes_only: bool = False) -> Iterator[str]:
    """What did not hold, a line each; first of all a line that says how many faults were tried.

    Args:
        changes_only: leave out the calls that only look at the disk.
    """
    before = folder.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir()
    scenario.prepare(before)
    _fresh(folder, before)
    old = scenario.state(folder)
    undisturbed = ptrace.run(lambda: scenario.act(folder), folder)
    if undisturbed.ended != "returned":
        yield f"undisturbed, it {undisturbed.ended}: {undisturbed.where}"
        return
    new, files = scenario.state(folder), _files(folder)
    faults = [
        (fault, at)
        for fault in ptrace.FAULTS
        for at, (call, _) in enumerate(undisturbed.calls)
        if fault in ptrace.faults_of(call) and not (changes_only and call in ptrace.LOOKS)
    ]
    yield f"{len(undisturbed.calls)} calls, {len(faults)} faults"
    for fault, at in faults:
        _fresh(folder, before)
        outcome = ptrace.run(lambda: scenario.act(folder), folder, fault, at)
        call, path = outcome.calls[at] if at < len(outcome.calls) else ("", "")
        where = f"{fault}, call {at}, {call} {Path(path).relative_to(folder) if path else ''}"
        yield from (f"{where}: {problem}" for problem in _after(scenario, folder, outcome, old, new, call))
        again = ptrace.run(lambda: scenario.act(folder), None)
        if again.ended != "returned" or again.value != undisturbed.value:
            yield f"{where}: once more, it {again.ended}: {again.value}"
        elif scenario.ends_alike and (now := _state(scenario, folder)) != new:
            yield f"{where}: once more, it ends with {now}, not {new}"
        if _files(folder) != files:
            yield f"{where}: once more, it leaves {sorted(_files(folder) ^ files)}"


def _after(
    scenario: Scenario, folder: Path, outcome: ptrace.Outcome, old: dict[str, Any], new: dict[str, Any], call: str
) -> Iterator[str]:
    now = _state(scenario, folder)
    if isinstance(now, str):
        yield f"what is left cannot be read: {now}"
        return
    for name in {**old, **now}:
        if name in old and name not in now:
            yield f"{name} is gone"
        elif name != "log.csv" and now[name] not in (old.get(name), new.get(name, now[name])):
            yield f"{name} is {now[name]}, neither {old.get(name)} nor {new.get(name)}"
    if outcome.ended == "returned" and scenario.error and now != new:
        yield f"it returned, with {now} and not {new}"
    if outcome.ended == "raised":
        if scenario.error is None:
            yield f"it raised {outcome.kind}: {outcome.value}"
        elif not any(name in outcome.value for name in scenario.named) or ".tmp" in outcome.value:
            yield f"{outcome.kind} names no file: {outcome.value}"
        elif "No space left on device" not in outcome.value and call not in ptrace.LOOKS:
            yield f"{outcome.kind} does not say why: {outcome.value}"
        if call not in ("unlink", "rmdir") and (left := _temporary(folder)):
            yield f"it raised and left {left}"


def _state(scenario: Scenario, folder: Path) -> Any:
    try:
        return scenario.state(folder)
    except Exception as error:  # whatever a torn file causes
        return f"{type(error).__name__}: {error}"


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _temporary(folder: Path) -> list[str]:
    return [name for name in _files(folder) if ".tmp" in name or ".part" in name]


def _fresh(folder: Path, before: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)


def main() -> None:
    """Try all that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default all: {', '.join(SCENARIOS)}")
    parser.add_argument(
        "--changes-only", action="store_true", help="leave out the calls that only look (as the test suite does)"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(SCENARIOS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if why := ptrace.missing():
        sys.exit(f"system calls cannot be followed on this machine: {why}")
    failed = 0
    with tempfile.TemporaryDirectory() as parent:
        for name in arguments.scenarios or SCENARIOS:
            counts, *found = problems(SCENARIOS[name], Path(parent, "folder"), arguments.changes_only)
            print(f"{name:<15} {counts:<24} {len(found)} did not hold", flush=True)
            print(*(f"    {problem}" for problem in found), sep="\n", end="\n" if found else "", flush=True)
            failed += len(found)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
