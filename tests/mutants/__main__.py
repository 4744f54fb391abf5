"""Changes lines of the package by chance, one small change at a time, and counts which the tests see.

    pip install ".[mutants]"
    python -m tests.mutants trace tests/test_losses.py tests/models     # notes which test runs which line
    python -m tests.mutants try minicnn/losses minicnn/models --count 300 --seed 1
    python -m tests.mutants try minicnn/losses --uncovered              # lines that no test runs

`tests.plants` has the bugs that somebody thought of, and says for good which test catches each. This is the other half:
changes nobody chose (a statement left out, a condition turned, a comparison off by one, arguments exchanged or left out), each
tried on the tests that run its line. One takes a second or less: the package is imported once, a change is put into a fork of
that process as new bytecode. What survives is read by a person: many a change is none (a shortcut left out, a message, a
bound that cannot be reached), the others want a test, and a plant where the kind is new.

Only Python's own bytecode is changed: kernels that Numba compiles, and what runs at import, are left to `tests.plants`.
`trace` adds to what was noted before, and replaces what was noted of the same test files: trace again after tests have changed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

from tests.mutants.change import Change, changes
from tests.mutants.lines import Lines, trace

ROOT = Path(__file__).parents[2]


def drawn(paths: list[str], seed: int, count: int, lines: Lines) -> tuple[list[Change], list[Change]]:
    """So many changes below these paths, no two of one line, and those on the way whose line no test runs."""
    files = sorted(
        {file for path in paths for file in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))}
    )
    found = [change for file in files for change in changes(ROOT, str(file.relative_to(ROOT)))]
    random.Random(seed).shuffle(found)
    taken: dict[tuple[str, int], Change] = {}
    unseen: dict[tuple[str, int], Change] = {}
    for change in found:
        place = change.file, change.line
        if lines.runs.get(change.file, {}).get(change.line):
            if len(taken) < count:
                taken.setdefault(place, change)
        else:
            unseen.setdefault(place, change)
    return list(taken.values()), sorted(unseen.values(), key=lambda change: (change.file, change.line))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lines", type=Path, default=ROOT / "runs" / "lines.json", help="where `trace` notes (runs/lines.json)"
    )
    actions = parser.add_subparsers(required=True, dest="action")
    tracing = actions.add_parser("trace", help="run tests and note which lines each runs")
    tracing.add_argument("tests", nargs="+", help="what pytest is given")
    trying = actions.add_parser("try", help="draw changes and run their tests")
    trying.add_argument("paths", nargs="+", help="files and folders of the package")
    trying.add_argument("--count", type=int, default=100, metavar="N", help="changes to draw (default 100)")
    trying.add_argument("--seed", type=int, default=0, metavar="N", help="of the drawing (default 0)")
    trying.add_argument("--jobs", type=int, default=1, metavar="N", help="changes at a time (default 1)")
    trying.add_argument("--limit", type=float, default=90, metavar="SECONDS", help="for one change's tests (default 90)")
    trying.add_argument("--budget", type=float, default=30, metavar="SECONDS", help="of tests for one change (default 30)")
    trying.add_argument("--uncovered", action="store_true", help="only list the lines that no test runs")
    options = parser.parse_args()
    noted = Lines.read(options.lines) if options.lines.exists() else Lines()
    if options.action == "trace":
        noted.add(trace(ROOT, options.tests))
        noted.write(options.lines)
        return 0
    taken, unseen = drawn(options.paths, options.seed, options.count, noted)
    if options.uncovered:
        for change in unseen:
            print(f"{change.file}:{change.line}  {change.function}")
        return 0

    from tests.mutants.trial import Trials

    asked = [(change, noted.tests_of(change.file, change.line, options.budget)) for change in taken]
    counts: Counter[str] = Counter()
    for outcome in Trials(ROOT).run([(change, tests) for change, tests in asked if tests], options.jobs, options.limit):
        change = outcome.change
        said = outcome.caught_by or ("SURVIVES" if outcome.tried else "not tried")
        counts[said if outcome.caught_by is None else "caught"] += 1
        print(f"{change.file}:{change.line}  {change.kind}  {said}  {outcome.seconds:.1f} s", flush=True)
        if outcome.caught_by is None:
            print(f"    {' '.join(change.before.split())}\n    {' '.join(change.after.split()) or '(nothing)'}", flush=True)
    tried = counts["caught"] + counts["SURVIVES"]
    print(
        f"{counts['caught']} of {tried} caught, {counts['not tried']} could not be tried; {len(unseen)} lines that no test runs"
    )
    return 0 if counts["caught"] == tried else 1


if __name__ == "__main__":
    sys.exit(main())
