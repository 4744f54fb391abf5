"""The page: one HTML file with its numbers, its style and its program inside; it needs no network and no server."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np

from minicnn.study.explain.encode import encode
from minicnn.study.explain.exact import Predicted

__all__ = ["MOST_BYTES", "modules", "pack", "render", "stylesheet"]

MOST_BYTES = 10_000_000

# In the order in which they need each other; each is an ES module of its own in the folder `page`.
_MODULES = ("data", "functions", "ops", "losses", "explain", "draw", "formulas", "tours", "view", "main")
_LIBRARY = "vendor/htm-preact.js"
_FILES = resources.files(__package__) / "page"


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def stylesheet() -> str:
    return _read("page.css")


def modules() -> str:
    """The page's modules as one, so that a file on a disk or a notebook can hold them.

    What the last one exports, the widget of a notebook, is `entry`.
    """
    return "\n".join([_as_constants(_read(_LIBRARY)), *(_in_one_scope(_read(f"{name}.js")) for name in _MODULES)])


def _in_one_scope(source: str) -> str:
    """A module without its imports and exports: what it names is then seen by all of them."""
    source = re.sub(r"^import [^;]*;\n", "", source, flags=re.MULTILINE)
    source = re.sub(r"^export \{[^}]*\};\n", "", source, flags=re.MULTILINE)
    source = re.sub(r"^export default ", "const entry = ", source, flags=re.MULTILINE)
    return re.sub(r"^export (?=const|let|function|async|class)", "", source, flags=re.MULTILINE)


def _as_constants(library: str) -> str:
    """A library that ends in `export{a as b, ...};`, in a scope of its own: what it exports become constants."""
    body, exported = library.rsplit("export{", 1)
    pairs = [pair.split(" as ") for pair in exported.split("}")[0].split(",")]
    returned = ",".join(f"{public}:{private}" for private, public in pairs)
    return f"const {{{','.join(public for _, public in pairs)}}} = (() => {{{body}return {{{returned}}};}})();"


def pack(record: dict[str, Any], room: int = MOST_BYTES) -> str | None:
    """A record as JSON, its arrays encoded, for a page of at most `room` bytes; None where that is too little.

    To fit, the largest predictable arrays are sent as what they differ by from the prediction; then
    the largest weights after a step are left out, then gradients of weights. "left_out" counts them.
    """
    leaves = list(_leaves(record))
    sizes = []
    for holder, key, leaf in leaves:
        holder[key] = encode(leaf.array if isinstance(leaf, Predicted) else leaf)
        sizes.append(len(holder[key]["data"]))
    total = len(json.dumps(record)) + len(render("", ""))
    by_size = sorted(range(len(leaves)), key=lambda place: -sizes[place])
    for place in (place for place in by_size if isinstance(leaves[place][2], Predicted)):
        if total <= room:
            break
        holder, key, leaf = leaves[place]
        holder[key] = {"steps": encode(leaf.steps())}
        total += len(holder[key]["steps"]["data"]) - sizes[place]
    record["left_out"] = 0
    for holder, key in ((leaves[place][0], name) for name in ("after", "d") for place in by_size if leaves[place][1] == name):
        if total <= room:
            break
        if "name" in holder:  # of a weight, not of a value
            total -= len(json.dumps(holder[key]))
            holder[key] = None
            record["left_out"] += 1
    if total > room:
        return None
    return json.dumps(record, separators=(",", ":")).replace("<", "\\u003c")


def _leaves(part: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Every array in nested lists and dicts: (what holds it, its key, the array or `Predicted`)."""
    for key, item in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(item, (np.ndarray, Predicted)):
            yield part, key, item
        elif isinstance(item, (dict, list)):
            yield from _leaves(item)


def render(packed: str, title: str) -> str:
    """The whole HTML file."""
    parts = {"title": html.escape(title), "style": stylesheet(), "record": packed, "program": modules()}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("index.html"))
