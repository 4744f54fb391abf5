"""Figures of a run as rows of tables and as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np

from minicnn.bench.worker import ENGINES
from minicnn.study.style import StudyFigure, color, styled


def best_peer(figures: Mapping[str, float]) -> tuple[str, float] | None:
    """The fastest engine that is not minicnn, and its figure; None if there is none."""
    peers = {engine: value for engine, value in figures.items() if engine != "minicnn"}
    if not peers:
        return None
    engine = min(peers, key=peers.__getitem__)
    return engine, peers[engine]


def training_rows(result: Mapping[str, Any], limit: float) -> list[tuple[str, ...]]:
    """One row an engine: microseconds an image, times minicnn's, GFLOP/s and their share of the machine's limit."""
    train, own = result["train"], result["train"].get("minicnn")
    rows = []
    for engine, value in sorted(train.items(), key=lambda item: item[1]):
        rate = result["flops"] / value / 1e3
        share = f"{1e9 * rate / limit:.0%}" if limit else ""
        rows.append((ENGINES[engine], f"{value:.1f}", f"{value / own:.2f}" if own else "", f"{rate:.1f}", share))
    return rows + [(ENGINES[engine], "-", "", "", error) for engine, error in result["errors"].items()]


def busy_rows(result: Mapping[str, Any], beside: Sequence[int]) -> list[tuple[str, ...]]:
    """One row an engine: microseconds an image in training, alone and beside so many busy processes."""
    kinds = ["train", *(f"train beside {processes}" for processes in beside)]
    engines = sorted(result[kinds[1]], key=result[kinds[1]].__getitem__)
    return [
        (ENGINES[engine], *(f"{result[kind][engine]:.1f}" if engine in result[kind] else "-" for kind in kinds))
        for engine in engines
    ]


def inference_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row an engine: microseconds an image at batch 256, microseconds a call at batch 1."""
    columns = ("predict 256", "call 256", "predict 1", "call 1")
    engines = sorted(result["train"], key=result["train"].__getitem__)
    return [
        (ENGINES[engine], *(f"{result[name][engine]:.1f}" if engine in result[name] else "-" for name in columns))
        for engine in engines
    ]


def summary(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many times as fast as the best peer minicnn trains, model by model, and the geometric mean."""
    lines, factors = [], []
    for model, result in results.items():
        peer = best_peer(result["train"])
        if peer is None or "minicnn" not in result["train"]:
            continue
        factors.append(peer[1] / result["train"]["minicnn"])
        lines.append(f"{model}: {factors[-1]:.2f} times as fast as {ENGINES[peer[0]]}")
    if len(factors) > 1:
        mean = exp(sum(map(log, factors)) / len(factors))
        lines.append(f"geometric mean over {len(factors)} models: {mean:.2f} times as fast as the best peer on each")
    return lines


@styled
def chart(results: Mapping[str, Mapping[str, Any]], title: str | None = None) -> StudyFigure:
    """Bars: time of a training step an image, one panel a model, engines from fast to slow; minicnn stands out.

    A model that no engine could train has no panel.
    """
    results = {model: result for model, result in results.items() if result["train"]}
    figure = StudyFigure(figsize=(11, 0.6 + 2.9 * -(-len(results) // 2)))
    figure.set_layout_engine("constrained", h_pad=0.12)
    axes = list(figure.subplots(-(-len(results) // 2), min(2, len(results)), squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    for axis, (model, result) in zip(axes, results.items()):
        axis.set_axis_on()
        entries = sorted(result["train"].items(), key=lambda item: -item[1])
        values = [value for _, value in entries]
        axis.barh(range(len(entries)), values, color=[color(1 if name == "minicnn" else 0) for name, _ in entries], height=0.7)
        axis.set_yticks(range(len(entries)), [ENGINES[name] for name, _ in entries], fontsize=8)
        for i, value in enumerate(values):
            axis.annotate(f"{value:,.0f}", (value, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
        axis.set_xlim(0, max(values) * 1.2)
        axis.set_title(f"{model}, batch {result['batch']}")
        axis.set_xlabel("microseconds an image in a training step", fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.locator_params(axis="x", nbins=5)
        axis.xaxis.set_major_formatter("{x:,.0f}")
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def exponent(work: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log(seconds) over log(work), by least squares: 1 where time grows as the work does."""
    return float(np.polyfit(np.log(work), np.log(seconds), 1)[0])


@styled
def scaling_chart(curves: Mapping[str, Mapping[str, Any]], title: str | None = None) -> StudyFigure:
    """Time of a step over what grows, logarithmic, one panel each, with the fitted exponent and a line of exponent 1."""
    figure = StudyFigure(figsize=(3.4 * len(curves), 3.4), layout="constrained")
    for axis, (name, curve) in zip(figure.subplots(1, len(curves), squeeze=False).flat, curves.items()):
        x, seconds = np.array(curve["x"], float), np.array(curve["seconds"])
        axis.loglog(x, 1e3 * seconds, "o-", color=color(0), label=f"exponent {curve['exponent']:.2f}")
        falls = name == "threads"  # more of them share the same work: half the time with twice as many
        growth = x[0] / x if falls else x / x[-1]
        axis.loglog(x, 1e3 * seconds[0 if falls else -1] * growth, "--", color=color(1), label="in proportion")
        axis.set_xticks(x, [f"{value:,.0f}" for value in x], fontsize=8)
        axis.minorticks_off()
        for value, step in zip(x, 1e3 * seconds):  # above the line, on the side that it comes down from
            axis.annotate(
                f"{step:.3g}", (value, step), xytext=(5 if falls else -5, 5), textcoords="offset points",
                ha="left" if falls else "right", fontsize=8,
            )  # fmt: skip
        axis.set_yticks([])
        axis.margins(x=0.14, y=0.12)
        axis.set_xlabel(name)
        axis.set_ylabel("milliseconds a training step")
        axis.legend(fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure
