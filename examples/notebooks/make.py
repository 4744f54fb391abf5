"""Make the notebooks of this folder from the programs and lessons in the folder above (by jupytext), and run them.

    python examples/notebooks/make.py                         # all: minutes
    python examples/notebooks/make.py unet lesson_optimizers  # these

A program that would download a data set is run with `--quick`; a reader changes that in the notebook's first cell. Needs
the extras `examples` and `notebook`. Cells are the program's own (`# %%`), and nothing is written here by hand: change the
program, and make its notebook anew. A test compares the two.
"""

from __future__ import annotations

import ast
import base64
import io
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell
from PIL import Image

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parent
MOST_BYTES = 80_000  # of a picture: notebooks are in the repository

BEFORE = """\
**Before the first run.** This notebook needs the checkout of minicnn that it comes from. On a machine of your own, install
it from there, `pip install ".[examples,notebook]"`, and open this file where it lies. In Colab, clone the checkout or upload
and unpack it, and say in the next cell where it is.\
"""

SETUP = """\
import importlib.util
import sys
from pathlib import Path

checkout = Path("../..").resolve()  # in Colab the folder that you unpacked, such as Path("/content/minicnn")
if not (checkout / "examples" / "_common.py").exists():
    raise FileNotFoundError(f"There is no checkout of minicnn in {checkout}: change the line that begins with `checkout`.")
if importlib.util.find_spec("minicnn") is None:
    %pip install --quiet "{checkout}[examples]"
sys.path.insert(0, str(checkout / "examples"))

%matplotlib inline
import _common
"""
QUICK = '_common.arguments = ["--quick", "--epochs", "15"]  # few images, nothing downloaded; [] for the whole of it'
WHOLE = '_common.arguments = []  # ["--quick"] for few images and two epochs, ["--style", "dark"] for a dark background'


def programs():
    """The files that notebooks are made of, by name."""
    return {path.stem: path for path in sorted(EXAMPLES.glob("[!_]*.py"))}


def downloads(source):
    """Whether a program needs a data set that is not installed with minicnn."""
    return re.search(r"^run = start\(.*\bdata=", source, re.MULTILINE) is not None


def notebook_of(path, arguments=None):
    """The notebook of a program, not yet run.

    Args:
        path: of the program.
        arguments: the line of the first cell that gives the program's; default QUICK where it would download something.
    """
    source = path.read_text(encoding="utf-8")
    docstring, *cells = jupytext.reads(source, fmt="py:percent").cells
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    arguments = arguments or (QUICK if downloads(source) else WHOLE)
    notebook.cells = [
        new_markdown_cell(_introduction(ast.literal_eval(docstring.source), path.name)),
        new_markdown_cell(BEFORE),
        new_code_cell(SETUP + arguments),
    ]
    titles = re.findall(r"^# %%(.*)$", source, re.MULTILINE)  # jupytext would read what is in brackets as the cell's type
    for title, cell in zip(titles, cells, strict=True):
        if cell.cell_type == "markdown":
            notebook.cells.append(new_markdown_cell(cell.source))
            continue
        if title:
            notebook.cells.append(new_markdown_cell("### " + re.sub(r"([*_<|\\])", r"\\\1", title.strip())))
        notebook.cells.append(new_code_cell(cell.source))
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same whenever it is made
    return notebook


def _introduction(docstring, name):
    """The docstring as text: its first line a heading, without the lines that say how to run the program."""
    title, *rest = docstring.strip().splitlines()
    rest = [line for line in rest if not line.startswith("    python ")]
    return f"# {title.rstrip('.')}\n" + "\n".join(rest).rstrip() + f"\n\nThe same as a program: `examples/{name}`."


def run(notebook, folder=FOLDER, **settings):
    """Run a notebook as Jupyter does, in that folder; outputs are put into it, and the first error is raised.

    Args:
        settings: for `nbclient.NotebookClient`, such as the kernel `km` of another notebook.
    """
    client = NotebookClient(
        notebook, timeout=1200, record_timing=False, resources={"metadata": {"path": str(folder)}}, **settings
    )
    try:
        client.execute()
    finally:
        if client.kc is not None:  # of a kernel that goes on
            client.kc.stop_channels()
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        if outputs and outputs[0].output_type == "stream":
            outputs[0].text = outputs[0].text.lstrip("\n")  # what sets a program's parts apart; here cells do
        for output in outputs:
            if "image/png" in output.get("data", {}):
                output.metadata = {}  # the size in pixels, which may change now
                output.data["image/png"] = _in_few_bytes(output.data["image/png"])
    return notebook


def _in_few_bytes(encoded):
    """A picture, base64, of at most MOST_BYTES: with fewer colours if it must be, and then with fewer pixels."""
    data = base64.b64decode(encoded)
    if len(data) <= MOST_BYTES:
        return encoded
    picture, share = Image.open(io.BytesIO(data)).convert("RGB"), 1.0
    while len(data) > MOST_BYTES:
        size = round(picture.width * share), round(picture.height * share)
        buffer = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).quantize(128).save(buffer, "png", optimize=True)
        data, share = buffer.getvalue(), share * 0.8
    return base64.b64encode(data).decode()


def main(names):
    found = programs()
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise SystemExit(f"No such program: {', '.join(unknown)}. There are: {', '.join(found)}")
    for name in names or found:
        notebook = run(notebook_of(found[name]))
        target = FOLDER / f"{name}.ipynb"
        nbformat.write(notebook, target)
        print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
