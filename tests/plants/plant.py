"""`Plant`: one bug, as the text that it replaces and the tests that should see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Plant"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plant:
    """One bug.

    Attributes:
        name: unique; says what goes wrong.
        file: the source file, below `minicnn/`.
        before, after: exact text; `before` stands in the file once.
        tests: what pytest is given: files, or single tests of them (`file::test`).
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    @property
    def in_kernels(self) -> bool:
        """Whether kernels have to be compiled anew."""
        return self.file.startswith("backends/numba_cpu/")

    def path(self, root: Path = ROOT) -> Path:
        """The source file in a copy of the project."""
        return root / "minicnn" / self.file

    def put_into(self, root: Path) -> None:
        """Plant the bug in a copy of the project.

        Raises:
            ValueError: unless `before` stands in the file exactly once.
        """
        path = self.path(root)
        text = path.read_text(encoding="utf-8")
        self.check(text)
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")

    def check(self, text: str) -> None:
        """Raise ValueError unless `before` stands in `text`, the source file, exactly once."""
        if (count := text.count(self.before)) != 1:
            raise ValueError(f"Plant '{self.name}': its text stands {count} times in minicnn/{self.file}, not once.")
