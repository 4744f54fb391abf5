"""The documentation's pages: what they include is there, and the programs in them run. `.ci/run` builds the site itself."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "examples" / "site"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("site_build", SITE / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["own_layer", "own_optimizer", "own_kernel"])
def test_the_programs_run(name, capsys):
    """They check themselves: gradients against finite differences, a kernel against its twin, a step by hand."""
    variables = runpy.run_path(str(SITE / "programs" / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    accuracy = float(re.search(r"test accuracy.*: ([\d.]+)", printed)[1])
    assert accuracy > 0.7
    assert variables["model"].optimizer.iterations > 0


def test_every_page_finds_what_it_includes(build):
    for path in (SITE / "pages").rglob("*.md"):
        page = build.included(path.read_text(encoding="utf-8"), path.relative_to(SITE / "pages"))
        assert "{{" not in page, path
    tour = build.included((SITE / "pages" / "tour.md").read_text(encoding="utf-8"), Path("tour.md"))
    lines = (ROOT / "minicnn" / "models" / "training.py").read_text(encoding="utf-8").splitlines()
    (call,) = [line for line in lines if line.strip() == "train_step(batch_x, batch_y, weights)"]
    assert call in tour.splitlines()


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        ("source minicnn.models.training.Trainer.fitt", r"training.py has no Trainer.fitt"),
        ('source minicnn.models.training.Trainer.fit mark="no such line"', "Trainer.fit has no line with 'no such line'"),
        ('source minicnn.models.training.Trainer.fit from="no such line"', "Trainer.fit has no line with 'no such line'"),
        ('readme "No such section"', "README.md has no section 'No such section'"),
    ],
)
def test_what_is_not_there_stops_the_build(build, directive, message):
    with pytest.raises(build.BuildError, match=message):
        build.included(f"{{{{ {directive} }}}}", Path("page.md"))


def test_a_function_comes_without_its_docstring_and_from_where_it_is_asked_for(build):
    whole = build.source("minicnn.models.plan.Step.read", "../")
    assert '"""' not in whole
    assert "def read(self" in whole
    assert "return values[self.inputs[0]]" in whole
    part = build.source('minicnn.models.plan.Step.read from="if self" to="return [" mark="takes_list"', "")
    assert part.startswith('```python title="minicnn/models/plan.py, from line')
    assert part.splitlines()[0].endswith('hl_lines="1"')
    assert part.splitlines()[1:4] == [
        "        if self.takes_list:",
        "            return [values[i] for i in self.inputs]",
        "```",
    ]
    assert "](../api/minicnn.models.plan.md#minicnn.models.plan.Step.read)" in whole


def test_every_public_module_has_a_page(build):
    pages = dict.fromkeys(build.modules())
    assert {"minicnn", "minicnn.layers.conv", "minicnn.backends.numba_cpu.winograd", "minicnn.study"} <= set(pages)
    assert not [name for name in pages if "._" in name]
    listed = re.findall(r"\]\(minicnn\.layers\.conv\.md#minicnn\.layers\.conv\.(\w+)\)", build.module_page("minicnn.layers"))
    assert {"Conv1D", "Conv2D"} <= set(listed)


def test_every_op_of_the_contract_is_in_the_index(build):
    from minicnn.backends import reference

    index = build.ops_index()
    ops = [name for name in vars(reference.conv) if name.startswith("conv2d_")]
    assert len(ops) == 3
    for name in ops:
        assert f"[`{name}`](conv.md#minicnn.backends.reference.conv.{name})" in index
