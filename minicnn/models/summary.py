"""`model.summary()`: Keras's table, plus the FLOPs of each layer."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable
from typing import Any

from minicnn.layers import Layer
from minicnn.layers.symbolic import Node

__all__ = ["PlanTable", "flops_of", "print_summary", "readable_count", "readable_size", "sum_of_known"]


def readable_size(numbers: int | None, bytes_each: int = 4) -> str:
    """Memory of so many numbers, as Keras writes it.

    Examples:
        >>> readable_size(225610), readable_size(None)
        ('881.29 KB', '?')
    """
    if numbers is None:
        return "?"
    size = float(numbers * bytes_each)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    return f"{size:.2f} {unit}"


def readable_count(count: int | None) -> str:
    """A count in thousands, millions or billions.

    Examples:
        >>> readable_count(1_769_472), readable_count(None)
        ('1.77 M', '?')
    """
    if count is None:
        return "?"
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return str(count)


class PlanTable(list[dict[str, Any]]):
    """The rows of `model.plan()`: a list of dicts that prints as a table of at most 100 columns."""

    _LAYERS, _KERNEL, _SHAPE = 37, 22, 16  # widths

    def __repr__(self) -> str:
        head = f"{'layers that run as one':{self._LAYERS}}  {'kernel':{self._KERNEL}}  {'output shape':{self._SHAPE}}"
        lines = [f"{head}  {'FLOPs':>8}  {'output':>9}"]
        for row in self:
            names = textwrap.wrap(" + ".join(row["layers"]), self._LAYERS)
            kernel = textwrap.wrap(row["kernel"], self._KERNEL) or [""]
            shape = str(row["output_shape"]).replace("None, ", "", 1)
            flops = "-" if row["flops"] == 0 else readable_count(row["flops"])
            last = f"{shape[: self._SHAPE]:{self._SHAPE}}  {flops:>8}  {readable_size(row['bytes'], 1):>9}"
            for name, part in itertools.zip_longest(names, kernel, fillvalue=""):
                lines.append(f"{name:{self._LAYERS}}  {part:{self._KERNEL}}  {last}".rstrip())
                last = ""
        total = readable_count(sum_of_known(row["flops"] for row in self))
        lines.append(f"{len(self)} steps, {total} FLOPs forward; FLOPs and output of one image")
        return "\n".join(lines)


def _rows(model: Any, expand_nested: bool, depth: int = 0) -> list[dict[str, Any]]:
    rows = []
    nodes: list[Node] = getattr(model, "_nodes", [])
    of_layer: dict[int, list[Node]] = {}
    for node in nodes:
        of_layer.setdefault(id(node.layer), []).append(node)
    not_drawn = all(node.traces for node in nodes)  # the layers stand in a `call`
    straight = hasattr(model, "_is_sequential") or not_drawn
    for layer in model.operations:
        calls = of_layer.get(id(layer), []) or [node for node in layer._inbound_nodes[:1] if not_drawn and node.inputs]
        shape: Any = "?"
        if calls:
            shape = ", ".join(str(tensor.shape) for tensor in calls[0].outputs)
        elif layer._inbound_nodes and not layer._inbound_nodes[0].inputs:
            shape = str(layer._inbound_nodes[0].outputs[0].shape)
        flops = sum_of_known(
            flops_of(layer, [tensor.shape for tensor in node.inputs], node.takes_list, node.outputs[0].shape) for node in calls
        )
        sources = (
            ""
            if straight
            else "\n".join(
                f"{t.node.layer.name}[{t.node.layer._inbound_nodes.index(t.node)}][{t.node.outputs.index(t)}]"
                for n in calls
                for t in n.inputs
                if t.node
            )
        )
        rows.append(
            {
                "name": "  " * depth + layer.name,
                "class": type(layer).__name__,
                "shape": shape,
                "params": layer.count_params() if layer.built else None,
                "flops": flops,
                "connected": sources or "-",
                "trainable": layer.trainable,
            }
        )
        if expand_nested and hasattr(layer, "_nodes"):
            rows += _rows(layer, True, depth + 1)
    return rows


def flops_of(layer: Any, before: list[Any], takes_list: bool, after: Any) -> int | None:
    """Of one call on inputs of these shapes, one image; of all inner layers where a model is used as a layer.

    None where it depends on the image: where an extent is None.
    """
    if hasattr(layer, "_nodes"):
        return sum_of_known(
            flops_of(node.layer, [tensor.shape for tensor in node.inputs], node.takes_list, node.outputs[0].shape)
            for node in layer._nodes
            if node.layer is not layer  # a trained model whose layers stand in its `call`
        )
    known = all(extent is not None for shape in (*before, after) for extent in shape[1:])
    if not known and type(layer).count_flops is not Layer.count_flops:
        return None
    return int(layer.count_flops(before if takes_list else before[0], after))


def sum_of_known(counts: Iterable[int | None]) -> int | None:
    """Their sum; None if one is."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _totals(model: Any, rows: list[dict[str, Any]]) -> list[str]:
    """The model's name, and what stands under the table."""
    trained = sum(v.size for v in model.trainable_weights)
    frozen = sum(v.size for v in model.non_trainable_weights)
    slots = sum(v.size for v in model.optimizer.variables) if model.optimizer is not None and model.optimizer.built else 0
    lines = [
        f'Model: "{model.name}"',
        f" Total params: {trained + frozen + slots:,} ({readable_size(trained + frozen + slots)})",
    ]
    lines.append(f" Trainable params: {trained:,} ({readable_size(trained)})")
    lines.append(f" Non-trainable params: {frozen:,} ({readable_size(frozen)})")
    if slots:
        lines.append(f" Optimizer params: {slots:,} ({readable_size(slots)})")
    total = sum_of_known(row["flops"] for row in rows if not row["name"].startswith(" "))
    lines.append(f" FLOPs per image, forward: {readable_count(total)}")
    return lines


def print_summary(
    model: Any,
    line_length: int | None = None,
    print_fn: Any = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
) -> None:
    """Print the table; see `Model.summary`."""
    import io
    import sys

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = _rows(model, expand_nested)
    if layer_range is not None:
        names = [row["name"] for row in rows]
        for name in layer_range:
            if name not in names:
                raise ValueError(f"Passed layer_range={layer_range} does not match any layer in the model: no layer '{name}'.")
        rows = rows[names.index(layer_range[0]) : names.index(layer_range[1]) + 1]
    straight = hasattr(model, "_is_sequential")
    table = Table(show_lines=not straight, highlight=False)
    table.add_column("Layer (type)", overflow="fold")
    table.add_column("Output Shape", overflow="fold")
    table.add_column("Param #", justify="right")
    table.add_column("FLOPs", justify="right")
    if not straight:
        table.add_column("Connected to", overflow="fold")
    if show_trainable:
        table.add_column("Trainable", justify="center")
    for row in rows:
        cells = [
            f"{escape(row['name'])} ({row['class']})",
            escape(row["shape"]),
            "0 (unbuilt)" if row["params"] is None else f"{row['params']:,}",
            "-" if row["flops"] == 0 else readable_count(row["flops"]),
        ]
        if not straight:
            cells.append(escape(row["connected"]))
        if show_trainable:
            cells.append("Y" if row["trainable"] else "N")
        table.add_row(*cells)
    lines = _totals(model, rows)
    target = io.StringIO() if print_fn is not None else sys.stdout
    # A file or a notebook has no width of its own: leave room for what is to be shown.
    width = line_length or (None if print_fn is None and sys.stdout.isatty() else 100)
    console = Console(file=target, width=width, highlight=False)
    console.print(lines[0], style="bold", markup=False)
    console.print(table)
    for line in lines[1:]:
        console.print(line, markup=False)
    if print_fn is not None:
        print_fn(target.getvalue())  # type: ignore[union-attr]
