"""A model's layers as boxes and arrows: `plot_model`, by Graphviz where it is installed, else by Matplotlib."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.patches

from minicnn.models.graph import flatten_calls
from minicnn.study.style import StudyFigure, color, styled

__all__ = ["model_to_dot", "plot_model"]

_LINE, _LETTER = 0.19, 0.085  # inches that a line of text is high and a letter wide
_GAP, _BETWEEN = 0.35, 0.3  # inches between rows of boxes and between boxes of a row
_LARGEST = 30_000  # pixels of a side: Matplotlib draws up to 65,536


class Box(NamedTuple):
    """One call of a layer.

    Attributes:
        lines: what is written in the box.
        sources: the numbers of the boxes whose output it reads.
    """

    lines: tuple[str, ...]
    sources: tuple[int, ...]


def _calls(model: Any, expand_nested: bool) -> list[tuple[Any, Any, list[Any], list[int]]]:
    """(layer or None for an input, its output's shape, the shapes it reads, the calls that make these) in order."""
    found: list[tuple[Any, Any, list[Any], list[int]]] = [(None, tensor.shape, [], []) for tensor in model._inputs]
    if expand_nested:
        flat = flatten_calls(model)
        shapes, place = flat.shapes, {value: number for number, value in enumerate(flat.inputs)}
        for call in flat.calls:
            found.append((call.layer, shapes[call.output], [shapes[i] for i in call.inputs], [place[i] for i in call.inputs]))
            place[call.output] = len(found) - 1
        return found
    place = {id(tensor): number for number, tensor in enumerate(model._inputs)}
    for node in model._nodes:
        outputs = [tensor.shape for tensor in node.outputs]
        sources = [place[id(tensor)] for tensor in node.inputs]
        found.append((node.layer, outputs[0] if len(outputs) == 1 else outputs, [t.shape for t in node.inputs], sources))
        place.update({id(tensor): len(found) - 1 for tensor in node.outputs})
    return found


def _boxes(model: Any, show: dict[str, bool], expand_nested: bool) -> list[Box]:
    """The model's calls as boxes; `show` says what is written in them.

    Raises:
        ValueError: if the model is not built.
    """
    if not getattr(model, "built", False) or not getattr(model, "_nodes", None):
        raise ValueError(
            "This model has not yet been built. Build the model first by calling `build()` or by calling the model on a batch "
            "of data."
        )
    boxes = []
    for number, (layer, shape, shapes, sources) in enumerate(_calls(model, expand_nested)):
        name = model._inputs[number].name if layer is None else layer.name
        kind = "InputLayer" if layer is None else type(layer).__name__
        lines = [f"{name} ({kind})" if show["layer_names"] else kind]
        activation = getattr(layer, "activation", None)
        if show["layer_activations"] and activation is not None:
            lines.append(f"Activation: {getattr(activation, '__name__', type(activation).__name__)}")
        if show["shapes"]:
            given = shapes[0] if len(shapes) == 1 else shapes
            lines += [*([] if layer is None else [f"Input shape: {given}"]), f"Output shape: {shape}"]
        if show["dtype"]:
            lines.append(f"Output dtype: {model._inputs[number].dtype if layer is None else layer.dtype}")
        if show["trainable"] and layer is not None and layer.weights:
            lines.append("Trainable" if layer.trainable else "Non-trainable")
        boxes.append(Box(tuple(lines), tuple(dict.fromkeys(sources))))
    return boxes


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Any:
    """The model as a `pydot.Dot`, for Graphviz. Arguments as in `plot_model`.

    Args:
        subgraph: make a `pydot.Cluster` instead, to be put into another graph.

    Raises:
        ImportError: without the library `pydot`.
    """
    if importlib.util.find_spec("pydot") is None:
        raise ImportError("You must install pydot (`pip install pydot`) for model_to_dot to work.")
    pydot = importlib.import_module("pydot")
    show = _shown(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    dot = pydot.Cluster(model.name, label=model.name) if subgraph else pydot.Dot(model.name, rankdir=rankdir, dpi=dpi)
    dot.set_node_defaults(shape="box", fontname="DejaVu Sans", fontsize=11)
    for number, box in enumerate(_boxes(model, show, expand_nested)):
        dot.add_node(pydot.Node(f"{model.name}_{number}", label="\n".join(box.lines)))
        for source in box.sources:
            dot.add_edge(pydot.Edge(f"{model.name}_{source}", f"{model.name}_{number}"))
    return dot


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Any:
    """Draw a model's layers into a picture file.

    Args:
        to_file: its name; the ending says the format (png, pdf, svg).
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable: what to write into the boxes.
        rankdir: "TB" from top to bottom, "LR" from left to right.
        expand_nested: show the layers of models within the model.
        dpi: pixels an inch.

    Returns:
        What a notebook displays. Graphviz draws where the library `pydot` and the program `dot` are installed, else
        Matplotlib.

    Raises:
        ValueError: if the model is not built, and for another `rankdir`.
    """
    kwargs.pop("splines", None)
    if kwargs:
        raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
    if rankdir not in ("TB", "LR"):
        raise ValueError(f"`rankdir` must be 'TB' or 'LR'. Received: rankdir={rankdir!r}")
    show = _shown(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    boxes = _boxes(model, show, expand_nested)
    file = Path(to_file)
    file = file if file.suffix else file.with_name(f"{file.name}.png")
    if importlib.util.find_spec("pydot") is None or shutil.which("dot") is None:
        figure = _drawn(boxes, rankdir)
        figure.savefig(file, dpi=min(dpi, _LARGEST / max(figure.get_size_inches())))
        return figure
    given = {f"show_{name}": value for name, value in show.items()}
    model_to_dot(model, rankdir=rankdir, expand_nested=expand_nested, dpi=dpi, **given).write(str(file), format=file.suffix[1:])
    if importlib.util.find_spec("IPython") is None or file.suffix == ".pdf":
        return None
    return importlib.import_module("IPython.display").Image(filename=str(file))


def _shown(shapes: bool, dtype: bool, layer_names: bool, layer_activations: bool, trainable: bool) -> dict[str, bool]:
    return {
        "shapes": shapes,
        "dtype": dtype,
        "layer_names": layer_names,
        "layer_activations": layer_activations,
        "trainable": trainable,
    }


class _Rows:
    """Boxes in rows, each below all those that it reads; an arrow that passes a row has a place of its own in it.

    Attributes:
        rows: lists of items: the number of a box, or (source, target) of an arrow that passes.
        of: box -> its row.
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.of: list[int] = []
        for box in boxes:
            self.of.append(1 + max((self.of[source] for source in box.sources), default=-1))
        for number, box in enumerate(boxes):  # an input stands above what first reads it
            if not box.sources:
                readers = [self.of[reader] for reader, other in enumerate(boxes) if number in other.sources]
                self.of[number] = min(readers, default=1) - 1
        self.rows: list[list[Any]] = [[] for _ in range(1 + max(self.of))]
        above: dict[Any, list[Any]] = {}
        for number, box in enumerate(boxes):
            self.rows[self.of[number]].append(number)
            above[number] = []
            for source in box.sources:
                last: Any = source
                for row in range(self.of[source] + 1, self.of[number]):
                    self.rows[row].append((source, number, row))
                    above[source, number, row] = [last]
                    last = (source, number, row)
                above[number].append(last)
        self.above = above
        below: dict[Any, list[Any]] = {}
        for item, sources in above.items():
            for source in sources:
                below.setdefault(source, []).append(item)
        for _ in range(2):  # so that few arrows cross: each item below (then above) the middle of its neighbors
            self._sort(self.rows, above)
            self._sort(self.rows[::-1], below)

    @staticmethod
    def _sort(rows: list[list[Any]], neighbors: dict[Any, list[Any]]) -> None:
        place: dict[Any, float] = {}
        for row in rows:
            middle = {}
            for index, item in enumerate(row):
                near = [place[other] for other in neighbors.get(item, []) if other in place]
                middle[item] = sum(near) / len(near) if near else index - (len(row) - 1) / 2
            row.sort(key=middle.__getitem__)
            place.update({item: index - (len(row) - 1) / 2 for index, item in enumerate(row)})


@styled
def _drawn(boxes: Sequence[Box], rankdir: str) -> StudyFigure:
    """The boxes and their arrows as a figure."""
    rows, across = _Rows(boxes), rankdir == "LR"
    widths = [_LETTER * max(map(len, box.lines)) + 0.2 for box in boxes]
    height = _LINE * max(len(box.lines) for box in boxes) + 0.14
    thick = max(widths) if across else height  # a row, across itself
    step = thick + _GAP
    centers: dict[Any, tuple[float, float]] = {}  # along the row; and across the rows
    for depth, row in enumerate(rows.rows):
        sizes = [0.25 if isinstance(item, tuple) else height if across else widths[item] for item in row]
        along = -(sum(sizes) + _BETWEEN * (len(row) - 1)) / 2
        for item, size in zip(row, sizes):
            centers[item] = (along + size / 2, depth * step)
            along += size + _BETWEEN
    longest = height if across else max(widths)
    reach = max(abs(along) for along, _ in centers.values()) + longest / 2 + 0.1
    deep = (len(rows.rows) - 1) * step + thick + 0.2
    figure = StudyFigure(figsize=(deep, 2 * reach) if across else (2 * reach, deep))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    start, end = -thick / 2 - 0.1, deep - thick / 2 - 0.1
    axis.set(xlim=(start, end) if across else (-reach, reach), ylim=(reach, -reach) if across else (end, start))

    def at(item: Any, side: float) -> tuple[float, float]:
        """The middle of an item, or of its side towards the row above (-1) or below (1)."""
        along, depth = centers[item]
        half = widths[item] / 2 if across and not isinstance(item, tuple) else thick / 2
        return (depth + side * half, along) if across else (along, depth + side * half)

    ink, face = matplotlib.rcParams["text.color"], matplotlib.rcParams["axes.facecolor"]
    for item, sources in rows.above.items():
        passes = isinstance(item, tuple)
        for source in sources:
            arrow = {"arrowstyle": "-" if passes else "-|>", "color": ink, "shrinkA": 0, "shrinkB": 0, "lw": 1}
            axis.annotate("", at(item, -1), at(source, 1), arrowprops=arrow)
        if passes:
            axis.plot(*zip(at(item, -1), at(item, 1)), color=ink, lw=1)
            continue
        x, y = at(item, 0)
        box = matplotlib.patches.FancyBboxPatch(
            (x - widths[item] / 2, y - height / 2),
            widths[item],
            height,
            boxstyle="round,pad=0,rounding_size=0.06",
            fc=face,
            ec=color(0),
            lw=1.2,
        )
        axis.add_patch(box)
        axis.text(x, y, "\n".join(boxes[item].lines), ha="center", va="center", fontsize=9, linespacing=1.35)
    return figure
