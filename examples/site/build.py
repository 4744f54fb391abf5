"""The documentation: `python examples/site/build.py` writes it into build/site, and fails on any warning.

Three kinds of pages are put together in build/pages: those written by hand, in `pages/` beside this file; the programs of
the gallery, the op reference, the API and the list of Keras's names, made here from the sources; and README.md's sections.
Zensical then makes the site of them, and checks every link between its pages.

A page includes from the repository, so that it cannot drift, by lines of four kinds:

    {{ source minicnn.models.training.Trainer.fit from="hooks = " mark="train_step(batch" }}
    {{ program programs/own_layer.py }}
    {{ readme "Try it" }}
    {{ doc minicnn.tape }}

The first becomes the source of that function (or class) without its docstring, from the first line that contains `from`
on, up to the one that contains `to`, lines with `mark` highlighted, with a link to its page of the API where it has one.
The second is a whole file, the third a section of README.md without its heading ("" is what stands before the first one),
the fourth a module's docstring.
What is not found stops the build.
"""

from __future__ import annotations

import ast
import base64
import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SITE = Path(__file__).parent
ROOT = SITE.parents[1]
EXAMPLES = ROOT / "examples"
BUILD = ROOT / "build"

HIDDEN = ("minicnn.cli",)  # the command line documents itself: `minicnn --help`
README_LINKS = {"examples/README.md": "gallery/index.md"}
README_FILES = ("benchmarks/cpu.png", "benchmarks/scaling.png", "LICENSE")

_DIRECTIVE = re.compile(r"^\{\{ (source|program|readme|doc) (.*) \}\}$", re.MULTILINE)
DEFINITIONS = (ast.ClassDef, ast.FunctionDef)

_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


class BuildError(ValueError):
    """A page asks for something that is not there."""


def main() -> int:
    """Write the pages, then the site; 0 where nothing is to complain about."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("KERAS_BACKEND", "jax")  # for `keras_names`: comes sooner than TensorFlow, and has the same names
    write_pages(BUILD / "pages")
    config = BUILD / "mkdocs.yml"
    config.write_text(configuration(), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    unread = False  # a docstring that is not understood is no warning to the generator, which only prints it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as generator:
        for line in generator.stdout or ():
            print(line, end="")
            unread |= line.startswith("griffe:")
    return generator.returncode or int(unread)


def write_pages(folder: Path) -> None:
    """All pages, in an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SITE / "pages", folder)
    for path in README_FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    for page in folder.rglob("*.md"):
        text = included(page.read_text(encoding="utf-8"), page.relative_to(folder))
        page.write_text(text, encoding="utf-8")
    for path, content in generated_pages():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def configuration() -> str:
    """The generator's: mkdocs.yml with its navigation filled."""
    import yaml

    config = yaml.safe_load((SITE / "mkdocs.yml").read_text(encoding="utf-8"))
    generated = generated_navigation()
    config["nav"] = [{title: generated.get(title, pages)} for entry in config["nav"] for title, pages in entry.items()]
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


# --- pages that are generated ------------------------------------------------------------


def generated_navigation() -> dict[str, list[Any]]:
    """The parts of the navigation whose pages are generated."""
    return {
        "Gallery": ["gallery/index.md", *(f"gallery/{path.stem}.md" for path in examples())],
        "Op reference": ["ops/index.md", *(f"ops/{path.stem}.md" for path in reference_files())],
        "API": ["api/index.md", *(_navigation_of(package) for package in packages())],
    }


def generated_pages() -> Iterator[tuple[str, str | bytes]]:
    """Path and content of each generated page, and of the pictures on them."""
    yield "keras_names.md", importlib.import_module("tests.coverage_of_keras").table()
    yield from gallery()
    yield "ops/index.md", ops_index()
    for path in reference_files():
        yield f"ops/{path.stem}.md", f"# {path.stem}\n\n::: minicnn.backends.reference.{path.stem}\n"
    yield "api/index.md", api_index()
    for module in modules():
        if page_of(module).startswith("api/"):
            yield page_of(module), module_page(module)


def gallery() -> Iterator[tuple[str, str | bytes]]:
    """A page for each example, the pictures on it, and the first page, which shows them all."""
    text = _with_links_of_the_site((EXAMPLES / "README.md").read_text(encoding="utf-8"))
    lines = [re.sub(r"`(\w+)\.py`", r"[`\1.py`](\1.md)", text), ""]
    for path in examples():
        page, pictures = as_page(path)
        yield f"gallery/{path.stem}.md", page
        yield from ((f"gallery/{name}", content) for name, content in pictures.items())
        if pictures:
            lines.append(f"[![{path.stem}: a figure]({next(iter(pictures))}){{ .figure }}]({path.stem}.md)")
    yield "gallery/index.md", "\n".join(lines)


def examples() -> list[Path]:
    """The programs of the gallery."""
    return sorted(EXAMPLES.glob("[!_]*.py"))


def as_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """An example as a page, and its pictures: cell by cell, with what was printed and drawn where its notebook has that."""
    import jupytext

    notebook = EXAMPLES / "notebooks" / f"{path.stem}.ipynb"
    cells = jupytext.read(notebook if notebook.exists() else path).cells
    parts, pictures = [f"# {path.stem}.py"], {}
    for number, cell in enumerate(cells):
        title = cell.metadata.get("title", "")  # of a program's cell; a notebook has it as a heading
        parts.append(f"## {title[:1].upper() + title[1:]}" if title else "")
        if cell.cell_type == "markdown":
            parts.append(re.sub(r"^#+ ", "## ", cell.source))
        elif number == 0:  # a program begins with its docstring
            parts.append(ast.get_docstring(ast.parse(cell.source)) or "")
        else:
            parts.append(_fenced(cell.source))
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture is not None:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(picture)
                parts.append(f"![{path.stem}: figure {len(pictures)}]({name})")
            elif output.get("name") == "stdout":
                parts.append(f"```text\n{output.text.strip(chr(10))}\n```")
    return "\n\n".join(parts), pictures


def reference_files() -> list[Path]:
    """The files of the op contract, in the order in which a network meets them."""
    order = ["conv", "conv_transpose", "depthwise", "pool", "dense", "elementwise", "norm", "loss", "update", "image"]
    found = {path.stem: path for path in (ROOT / "minicnn" / "backends" / "reference").glob("[!_]*.py")}
    return [found.pop(name) for name in order] + list(found.values())


def ops_index() -> str:
    """The op contract: which ops there are, a line each."""
    lines = ["# Op reference", "", _docstring("minicnn.backends.reference"), ""]
    for path in reference_files():
        module = f"minicnn.backends.reference.{path.stem}"
        tree = _tree(path)
        lines += [f"## [{path.stem}]({path.stem}.md)", "", _docstring(module).partition("\n")[0], "", "| op | |", "|---|---|"]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                lines.append(f"| [`{node.name}`]({path.stem}.md#{module}.{node.name}) | {_summary(node)} |")
        lines.append("")
    return "\n".join(lines)


# --- the API -----------------------------------------------------------------------------


@functools.cache
def modules() -> list[str]:
    """All public modules, packages before what they hold."""
    found = []
    for path in sorted((ROOT / "minicnn").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        name = ".".join(parts)
        private = any(part.startswith("_") for part in parts)
        if not private and not any(name == hidden or name.startswith(f"{hidden}.") for hidden in HIDDEN):
            found.append(name)
    return sorted(found, key=lambda name: name.split("."))


def page_of(module: str) -> str:
    """The page that documents a module: the op reference has its own."""
    package, _, file = module.rpartition(".")
    return f"ops/{file}.md" if package == "minicnn.backends.reference" else f"api/{module}.md"


def packages() -> list[str]:
    """The modules right below `minicnn`."""
    return ["minicnn", *(name for name in modules() if name.count(".") == 1)]


def _navigation_of(package: str) -> Any:
    """A module's page; of a package, a section with its own first."""
    inside = [] if package == "minicnn" else [name for name in modules() if name.startswith(f"{package}.")]
    title = package.removeprefix("minicnn.")
    if not inside:
        return {title: f"api/{package}.md"}
    below = [{name.removeprefix(f"{package}."): page_of(name)} for name in inside if page_of(name).startswith("api/")]
    return {title: [{"(all names)": f"api/{package}.md"}, *below]}


def api_index() -> str:
    """The packages, a line each."""
    rows = [f"| [`{name}`]({name}.md) | {_docstring(name).partition(chr(10))[0]} |" for name in packages()]
    return "\n".join(["# API", "", "| module | |", "|---|---|", *rows])


def module_page(module: str) -> str:
    """What a module defines, by mkdocstrings; what a package only passes on is listed, with links to where that is."""
    path = _path_of(module)
    tree = _tree(path)
    lines = [f"# {module}", "", f"::: {module}"]
    if path.name != "__init__.py":
        return "\n".join(lines)
    own = [node.name for node in tree.body if isinstance(node, DEFINITIONS) and not node.name.startswith("_")]
    lines += ["    options:", f"      members: {own or False}", ""]
    passed_on = sorted(_passed_on(tree).items(), key=lambda item: item[0].lower())
    if passed_on:
        lines += ["## Names", "", "| name | |", "|---|---|"]
        lines += [f"| {_linked(name, home)} | {_summary(_definition(home, name))} |" for name, home in passed_on]
    return "\n".join(lines)


def _passed_on(tree: ast.Module) -> dict[str, str]:
    """Name -> module that defines it, of what a package's `__init__` imports from modules inside or beside it."""
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minicnn.")]
    return {name.name: node.module or "" for node in imports for name in node.names if not name.name.startswith("_")}


def _definition(home: str, name: str) -> Any:
    """The class or function of that name in a module; None for anything else."""
    tree = _tree(_path_of(home))
    return next((node for node in tree.body if isinstance(node, DEFINITIONS) and node.name == name), None)


def _linked(name: str, home: str) -> str:
    """A name, with a link to its entry, or else to the page of its module."""
    if home not in modules():
        return f"`{name}`"
    node = _definition(home, name)
    anchor = f"#{home}.{name}" if node is not None and ast.get_docstring(node) else ""
    return f"[`{name}`](../{page_of(home)}{anchor})"


# --- code and prose that pages include ---------------------------------------------------


def included(markdown: str, path: Path) -> str:
    """A page with what its directives ask for."""
    to_root = "../" * (len(path.parts) - 1)

    def replaced(found: re.Match[str]) -> str:
        kind, rest = found.groups()
        if kind == "source":
            return source(rest, to_root)
        return {"program": program, "readme": readme, "doc": _docstring}[kind](rest.strip('"'))

    return _DIRECTIVE.sub(replaced, markdown)


def program(path: str) -> str:
    """A whole program."""
    return _fenced((SITE / path).read_text(encoding="utf-8").rstrip(), f"examples/site/{path}")


def readme(heading: str) -> str:
    """A section of README.md, its links those of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = re.split(r"^#{1,2} (.+)\n", text, flags=re.MULTILINE)
    named = dict(zip(sections[1::2], sections[2::2]))
    named[""] = named.pop("minicnn")
    if heading not in named:
        raise BuildError(f"README.md has no section {heading!r}. It has: {', '.join(named)}.")
    return _with_links_of_the_site(named[heading])


def _with_links_of_the_site(text: str) -> str:
    """A file's text with links to other files: to the page made of one, or none where there is no such page."""

    def replaced(link: re.Match[str]) -> str:
        shown, target = link.groups()
        if target in README_LINKS:
            return f"[{shown}]({README_LINKS[target]})"
        return link[0] if target in README_FILES or target.startswith(("http", "#")) else shown

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)]+)\)", replaced, text)


def source(directive: str, to_root: str) -> str:
    """The lines of an object as a code block under its file's name, and a link to its entry in the API."""
    name, options = directive.split()[0], dict(_ATTRIBUTE.findall(directive))
    path, node = _node_of(name)
    lines = path.read_text(encoding="utf-8").splitlines()
    numbers = [n for n in range(_begin(node), node.end_lineno + 1) if n not in _docstring_lines(node)]
    if "from" in options:
        numbers = numbers[_index(options["from"], numbers, lines, name) :]
    if "to" in options:
        numbers = numbers[: _index(options["to"], numbers, lines, name) + 1]
    marked = [str(i) for i, n in enumerate(numbers, 1) if "mark" in options and options["mark"] in lines[n - 1]]
    if "mark" in options and not marked:
        raise BuildError(f"{name} has no line with {options['mark']!r}.")
    where = f"{path.relative_to(ROOT)}, from line {numbers[0]}"
    code = _fenced(textwrap.dedent("\n".join(lines[n - 1] for n in numbers)), where, " ".join(marked))
    return f"{code}\n\n{_link_to(name, to_root)}"


def _fenced(code: str, title: str = "", marked: str = "") -> str:
    options = (f' title="{title}"' if title else "") + (f' hl_lines="{marked}"' if marked else "")
    return f"```python{options}\n{code}\n```"


def _index(text: str, numbers: list[int], lines: list[str], name: str) -> int:
    for index, number in enumerate(numbers):
        if text in lines[number - 1]:
            return index
    raise BuildError(f"{name} has no line with {text!r}.")


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _path_of(module: str) -> Path:
    stem = ROOT.joinpath(*module.split("."))
    return stem / "__init__.py" if (stem / "__init__.py").exists() else stem.with_suffix(".py")


def _node_of(name: str) -> tuple[Path, Any]:
    """The file of a dotted name and its node there."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        path = _path_of(".".join(parts[:cut]))
        if path.exists():
            break
    else:
        raise BuildError(f"There is no module for {name}.")
    node: Any = _tree(path)
    for part in parts[cut:]:
        inside = [one for one in node.body if getattr(one, "name", None) == part]
        if not inside:
            raise BuildError(f"{path.relative_to(ROOT)} has no {'.'.join(parts[cut:])}.")
        node = inside[0]
    return path, node


def _begin(node: Any) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)]) if hasattr(node, "lineno") else 1


def _docstring_lines(node: Any) -> range:
    """The lines of a node's docstring, and the blank one behind it."""
    if ast.get_docstring(node) is None:
        return range(0)
    first = node.body[0]
    return range(first.lineno, first.end_lineno + 1)


def _link_to(name: str, to_root: str) -> str:
    """To the entry of a function or method, where the API has one."""
    module = next(module for module in reversed(modules()) if name.startswith(f"{module}."))
    private = any(part.startswith("_") for part in name.split("."))
    _, node = _node_of(name)
    if private or ast.get_docstring(node) is None:
        return ""
    where = "the op reference" if page_of(module).startswith("ops/") else "the API"
    return f"[`{name.removeprefix(f'{module}.')}` in {where}]({to_root}{page_of(module)}#{name}){{ .source }}"


def _docstring(module: str) -> str:
    return ast.get_docstring(_tree(_path_of(module))) or ""


def _summary(node: Any) -> str:
    """The first line of a docstring, as a table's cell takes it."""
    text = "" if node is None else ast.get_docstring(node) or ""
    return text.partition("\n")[0].replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
