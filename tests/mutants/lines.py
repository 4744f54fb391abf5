"""Which tests run which line: `trace` runs them under coverage.py, `Lines` is what was noted, a JSON file."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SLOW = 8.0
"""Seconds from which a test is not asked."""


@dataclass
class Lines:
    """Attributes: runs: file -> line -> the passing tests that run it; seconds: test -> how long it takes."""

    runs: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Lines:
        """What was noted in a file."""
        noted = json.loads(path.read_text(encoding="utf-8"))
        names = noted["tests"]
        runs = {
            file: {int(line): [names[i] for i in numbers] for line, numbers in lines.items()}
            for file, lines in noted["runs"].items()
        }
        return cls(runs, dict(zip(names, noted["seconds"])))

    def write(self, path: Path) -> None:
        """Note it."""
        names = list(self.seconds)
        number = {name: i for i, name in enumerate(names)}
        runs = {
            file: {line: sorted(number[test] for test in tests if test in number) for line, tests in lines.items()}
            for file, lines in self.runs.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"tests": names, "seconds": list(self.seconds.values()), "runs": runs}), encoding="utf-8")

    def add(self, other: Lines) -> None:
        """Take what another run noted, too, in place of what was noted of its test files: tests go, and get other names."""
        again = {_file_of(test) for test in other.seconds}
        self.seconds = {test: took for test, took in self.seconds.items() if _file_of(test) not in again} | other.seconds
        for lines in self.runs.values():
            for line, tests in lines.items():
                lines[line] = [test for test in tests if test in self.seconds and _file_of(test) not in again]
        for file, lines in other.runs.items():
            mine = self.runs.setdefault(file, {})
            for line, tests in lines.items():
                mine[line] = [*dict.fromkeys([*mine.get(line, []), *tests])]

    def tests_of(self, file: str, line: int, seconds: float) -> list[str]:
        """Tests to ask about a line, that take so long together; no slow ones.

        Those that run least besides come first, but of one parametrized test no second case before the first of another.
        """
        tests = [test for test in self.runs.get(file, {}).get(line, []) if self.seconds.get(test, SLOW) < SLOW]
        cases: Counter[str] = Counter()
        ranked = []
        for test in sorted(tests, key=lambda test: (self._reach[test], test)):
            function = test.partition("[")[0]
            ranked.append((cases[function], len(ranked), test))
            cases[function] += 1
        taken = []
        for _, _, test in sorted(ranked):
            taken.append(test)
            seconds -= self.seconds[test]
            if seconds < 0:
                break
        return taken

    @functools.cached_property
    def _reach(self) -> Counter[str]:
        """How many lines a test runs."""
        return Counter(test for lines in self.runs.values() for tests in lines.values() for test in tests)


def _file_of(test: str) -> str:
    return test.partition("::")[0]


class _Tracer:
    """A plugin of pytest: a context of coverage.py for each test."""

    def __init__(self, root: Path) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=None, config_file=False, source=[str(root / "minicnn")])
        self.passed: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Iterator[Any]:
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.passed[report.nodeid] = self.passed.get(report.nodeid, 0.0) + report.duration
        if report.outcome != "passed":
            self.failed.add(report.nodeid)


def trace(root: Path, arguments: list[str]) -> Lines:
    """Run pytest with these arguments in this process, and note what runs which line.

    A test that fails or is skipped is not noted.
    """
    tracer = _Tracer(root)
    tracer.coverage.start()
    pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments], plugins=[tracer])
    tracer.coverage.stop()
    data, lines = tracer.coverage.get_data(), Lines()
    lines.seconds = {test: seconds for test, seconds in tracer.passed.items() if test not in tracer.failed}
    for path in data.measured_files():
        of_file = lines.runs[str(Path(path).relative_to(root))] = {}
        for line, tests in data.contexts_by_lineno(path).items():
            of_file[line] = [test for test in tests if test in lines.seconds]
    return lines
