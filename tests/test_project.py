"""What the README, the checks and the package metadata promise each other."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import minicnn

ROOT = Path(__file__).parents[1]


def readme_commands():
    """The lines of the README's shell blocks."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines() if line]


def test_checks_run_the_readmes_test_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    (command,) = [line for line in readme_commands() if "pytest" in line]
    assert f"bash -c '{command}'\n" in script.read_text(encoding="utf-8")


def test_tensorflow_is_only_for_tests_and_benchmarks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == minicnn.__version__
    assert not [needed for needed in project["dependencies"] if "tensorflow" in needed]
    extras = project["optional-dependencies"]
    assert {name for name, needed in extras.items() if any(re.match(r"tensorflow\b(?!-)", one) for one in needed)} == {
        "test",
        "bench",
    }


def test_what_is_printed_installs_this_checkout():
    """`minicnn` on the package index is somebody else's project: nothing tells people to install it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] != "minicnn"
    assert all("minicnn[" not in needed for extra in project["optional-dependencies"].values() for needed in extra)
    texts = [ROOT / "README.md", *(ROOT / "examples").glob("*.md"), *(ROOT / "minicnn").rglob("*.py")]
    installs = [line for path in texts for line in re.findall(r"pip install ([^`\n#;&)]+)", path.read_text(encoding="utf-8"))]
    ours = [line for line in installs if "[" in line or "minicnn" in line or line.startswith(".")]
    assert len(ours) >= 6
    assert not [line for line in ours if not re.match(r'"?\.', line)]
    for line in ours:
        extra = re.search(r"\[(\w+)\]", line)
        assert extra is None or extra[1] in project["optional-dependencies"], line


def test_the_readmes_example_runs(monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Sequential" in block]
    assert len([line for line in example.splitlines() if line]) == 10
    scope: dict[str, object] = {}
    exec(compile(example.replace("epochs=20", "epochs=1"), "README.md", "exec"), scope)
    assert scope["model"].history.history["loss"]
