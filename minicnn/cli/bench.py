"""`minicnn bench`: minicnn against Keras and PyTorch on this machine's CPU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from minicnn.bench.worker import ENGINES, ISAS
from minicnn.cli.common import print_table, save_figure

# A worker for every engine is alive at once: with the models' own batches they would need 24 GB.
_BATCHES = {"humans_300": 32, "airbench94": 128}
_MEMORY = {"cifar_wide": 128, "humans_300": 128}
_QUIET = 0.95  # share of a core's time that a process gets on a quiet machine; the system takes the rest


@click.command(short_help="Time training and inference against Keras and PyTorch.")
@click.argument("models", nargs=-1)
@click.option(
    "--model", "own", metavar="FILE_OR_IMPORT", help="Your own: a .keras file, a run folder, or package.module:function."
)
@click.option("--engine", "engines", multiple=True, type=click.Choice(list(ENGINES)), help="Default: all that are installed.")
@click.option("--threads", type=click.IntRange(min=1), help="For every engine; default all cores.")
@click.option("--isa", type=click.Choice(list(ISAS)), help="Keep every engine to these instructions; default the machine's.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the reference model's; 32 for your own.")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Turns that each engine takes.")
@click.option(
    "--busy", type=click.IntRange(min=0), multiple=True, default=(1,), show_default=True, metavar="N",
    help="Time training beside N busy processes, too; may be given several times; 0 for not at all.",
)  # fmt: skip
@click.option("--start-up/--no-start-up", default=True, help="Time the start too, from the import to the first step.")
@click.option("--memory/--no-memory", default=True, help="Measure peak memory too, at batch 128.")
@click.option("--scaling/--no-scaling", default=True, help="Measure too how time grows with the work.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/bench"), show_default=True,
    help="Folder for results.json, chart.png and scaling.png.",
)  # fmt: skip
def command(
    models: tuple[str, ...],
    own: str | None,
    engines: tuple[str, ...],
    threads: int | None,
    isa: str | None,
    batch_size: int | None,
    out: Path,
    **measured: Any,
) -> None:
    """Train and run MODELS (names of reference models; default all) on minicnn and on every peer that is installed.

    The peers come with `pip install ".[bench]"`. Engines work in processes of their own, on the same cores, and
    take turns; figures are medians. Let nothing else run meanwhile. All stay in memory until a model is done: for
    humans_300 and all eight, that is more than 24 GB; choose some with --engine.
    """
    os.environ.update(ISAS.get(isa or "", {}))  # for the workers, and for Numba here, which reads it when it is imported

    from minicnn import backends, zoo
    from minicnn.bench import limit, measure, report

    if threads is not None:
        backends.set_num_threads(threads)
    threads = backends.get_num_threads()
    chosen = list(engines) or measure.installed_engines()
    names = list(models) or ([] if own else zoo.names())
    cases = {name: _case(name, batch_size or _BATCHES.get(name)) for name in names}
    if own:
        cases[Path(own).stem if Path(own).exists() else own] = _own_case(own, batch_size or 32)
    beside = sorted({processes for processes in measured["busy"] if processes})
    out.mkdir(parents=True, exist_ok=True)

    machine = _describe(threads, isa)
    document: dict[str, Any] = {"machine": machine}
    _check_quiet(document, threads)
    document["limit"] = limit.flops_a_second()
    click.echo(f"limit: {document['limit'] / 1e9:.0f} GFLOP/s (the micro-kernel on data in L1, {threads} threads)")
    document["models"] = {}
    for name, case in cases.items():
        result = measure.speed(case, chosen, threads, measured["rounds"], _say, beside)
        document["models"][name] = result | {"batch": case["batch"], "flops": case["flops"]}
        _show(name, document["models"][name], document["limit"], beside)
        _write(out, document)
    if not any(result["train"] for result in document["models"].values()):
        raise click.ClickException("No engine could train a model; the tables say why.")
    for line in report.summary(document["models"]):
        click.echo(line)
    if measured["memory"]:
        document["memory"] = {
            name: measure.memory(_case(name, batch, 2), chosen, threads, _say)
            for name, batch in _MEMORY.items() if name in cases
        }  # fmt: skip
        for name, peaks in document["memory"].items():
            rows = sorted(((ENGINES[k], _megabytes(v)) for k, v in peaks.items()), key=lambda row: float(row[1].split()[0]))
            print_table(["engine", "peak MB"], rows, title=f"{name}, batch {_MEMORY[name]}: memory", numbers=["peak MB"])
    if measured["start_up"]:
        document["start"] = measure.start_up(_case("cifar_small", None), chosen, threads, say=_say)
        rows = [(ENGINES.get(k, k), f"{v:.2f}" if isinstance(v, float) else v) for k, v in document["start"].items()]
        print_table(["", "seconds"], rows, title="from the import to the end of the first step of cifar_small")
    if measured["scaling"]:
        from minicnn.bench.scaling import curves

        _say("how time grows")
        document["scaling"] = curves(threads)
        for name, curve in document["scaling"].items():
            click.echo(f"time grows with {name} to the power of {curve['exponent']:.2f}")
        save_figure(report.scaling_chart(document["scaling"], f"{machine['device']}, {threads} threads"), out / "scaling.png")
    _check_quiet(document, threads)
    _write(out, document)
    title = f"{machine['device']}, {threads} threads; {_versions(machine)}"
    save_figure(report.chart(document["models"], title), out / "chart.png")
    click.echo(f"written: {out}")


def _describe(threads: int, isa: str | None) -> dict[str, Any]:
    """The machine, for the document and on the terminal; and which instructions all engines are kept to."""
    from minicnn.bench import measure

    machine = measure.describe_machine(threads) | ({"isa": isa} if isa else {})
    size = f"{machine['vector_floats']} floats a vector"
    click.echo(f"{machine['device']}, {size}, {threads} of {machine['cores']} cores\n{_versions(machine)}")
    if isa:
        click.echo(f"every engine is kept to {isa}: {', '.join(f'{name}={value}' for name, value in ISAS[isa].items())}")
    return machine


def _versions(machine: dict[str, Any]) -> str:
    return ", ".join(f"{package} {version}" for package, version in machine["versions"].items())


def _case(name: str, batch: int | None, steps: int | None = None) -> dict[str, Any]:
    from minicnn import zoo
    from minicnn.bench import measure

    try:
        reference = zoo.get(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="MODELS") from error
    return measure.case_of(reference.build(), reference.optimizer(), reference.loss, batch or reference.batch_size, steps)


def _own_case(source: str, batch: int) -> dict[str, Any]:
    """A model of one's own, with its own compile settings where it has some."""
    from minicnn import optimizers
    from minicnn.bench import measure
    from minicnn.cli.given_model import model_from

    try:
        model = model_from(source)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--model") from error
    optimizer = model.optimizer if model.compiled else optimizers.get("adam")
    loss = model.loss if model.compiled and isinstance(model.loss, str) else None
    if loss is None:
        loss = "binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy"
    return measure.case_of(model, optimizer, loss, batch)


def _check_quiet(document: dict[str, Any], threads: int) -> None:
    """Measure how much of the cores' time other programs take, and print a warning if it is too much."""
    from minicnn.bench import measure

    share = measure.quiet_share(threads)
    document["machine"].setdefault("free", []).append(share)
    if share < _QUIET:
        click.echo(
            f"This machine is not quiet: other programs take {1 - share:.0%} of the {threads} cores. Figures may be off.",
            err=True,
        )


def _show(name: str, result: dict[str, Any], limit: float, beside: list[int]) -> None:
    from minicnn.bench import report

    columns = ["engine", "µs an image", "times minicnn", "GFLOP/s", "of the limit"]
    title = f"{name}, batch {result['batch']}: training"
    print_table(columns, report.training_rows(result, limit), title=title, numbers=columns[1:])
    if beside:
        columns = ["engine", "alone", *(f"beside {processes}" for processes in beside)]
        title = f"{name}: training on a busy machine, µs an image"
        print_table(columns, report.busy_rows(result, beside), title=title, numbers=columns[1:])
    columns = ["engine", "predict, 256", "model(x), 256", "predict, 1", "model(x), 1"]
    print_table(columns, report.inference_rows(result), title=f"{name}: inference, µs an image", numbers=columns[1:])


def _megabytes(peak: Any) -> str:
    return f"{peak / 1e6:.0f}" if isinstance(peak, int) else f"inf {peak}"


def _write(out: Path, document: dict[str, Any]) -> None:
    from minicnn.atomic import replacing

    with replacing(out / "results.json") as file:  # an hour's measurements are not lost to a kill
        file.write((json.dumps(document, indent=1) + "\n").encode())


def _say(line: str) -> None:
    """Progress, on one line of a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{line}", err=True, nl=False)
