"""The documentation's pages: what they include is there, and the programs in them run. `.ci/run` builds the site itself."""

from __future__ import annotations

import base64
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
    assert call.strip() in [line.strip() for line in tour.splitlines()]


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
        "if self.takes_list:",
        "    return [values[i] for i in self.inputs]",
        "```",
    ]
    assert "](../api/minicnn.models.plan.md#minicnn.models.plan.Step.read)" in whole


def test_links_between_files_lead_to_pages_or_nowhere(build):
    assert "[examples/](gallery/index.md)" in build.readme("Ten lines")
    assert "](benchmarks/cpu.png)" in build.readme("Fast, and why")
    linked = "[a](examples/README.md) [b](examples/nothing.txt) [c](https://example.org) ![d](benchmarks/cpu.png)"
    expected = "[a](gallery/index.md) b [c](https://example.org) ![d](benchmarks/cpu.png)"
    assert build._with_links_of_the_site(linked) == expected


def test_an_example_is_a_page_of_its_cells(build):
    page, _ = build.as_page(ROOT / "examples" / "lesson_convolution.py")
    assert page.startswith("# lesson_convolution.py\n")
    assert "\nA 5×5 image under a 3×3 kernel" in page
    assert "\n## One output pixel: lay the kernel on the image" in page
    assert "\noy, ox = 1, 1\n" in page


def test_a_notebook_brings_what_was_printed_and_drawn(build, tmp_path, monkeypatch):
    import nbformat

    png = (ROOT / "benchmarks" / "cpu.png").read_bytes()
    output = [
        nbformat.v4.new_output("stream", name="stdout", text="one\ntwo\n"),
        nbformat.v4.new_output("stream", name="stderr"),
    ]
    data = {"image/png": base64.b64encode(png).decode(), "text/plain": "<Figure>"}
    output.append(nbformat.v4.new_output("display_data", data=data))
    cells = [nbformat.v4.new_markdown_cell("# A title\n\nAnd a line."), nbformat.v4.new_code_cell("draw()", outputs=output)]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "drawn.ipynb")
    monkeypatch.setattr(build, "EXAMPLES", tmp_path)
    page, pictures = build.as_page(tmp_path / "drawn.py")
    assert pictures == {"drawn-1.png": png}
    parts = [part for part in page.split("\n\n") if part]
    assert parts == [
        "# drawn.py",
        "## A title",
        "And a line.",
        "```python\ndraw()\n```",
        "```text\none\ntwo\n```",
        "![drawn: figure 1](drawn-1.png)",
    ]


def test_every_public_module_has_a_page(build):
    pages = dict.fromkeys(build.modules())
    assert {"minicnn", "minicnn.layers.conv", "minicnn.backends.numba_cpu.winograd", "minicnn.study"} <= set(pages)
    assert not [name for name in pages if "._" in name]
    listed = re.findall(
        r"\]\(\.\./api/minicnn\.layers\.conv\.md#minicnn\.layers\.conv\.(\w+)\)", build.module_page("minicnn.layers")
    )
    assert {"Conv1D", "Conv2D"} <= set(listed)


def test_every_op_of_the_contract_is_in_the_index(build):
    from minicnn.backends.reference import conv

    index = build.ops_index()
    ops = [name for name in vars(conv) if name.startswith("conv2d_")]
    assert len(ops) == 3
    for name in ops:
        assert f"[`{name}`](conv.md#minicnn.backends.reference.conv.{name})" in index
