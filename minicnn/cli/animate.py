"""`minicnn study animate`: the moving pictures of `minicnn.study`, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minicnn.cli.common import Suggesting, picture_from, style_option

__all__ = ["command"]


@click.group(cls=Suggesting, short_help="Moving pictures: a kernel on its way, filters and curves over the epochs.")
def command() -> None:
    """Moving pictures, written to a file of the type of its ending: .gif, .html with buttons, or .mp4 where ffmpeg is.

    RUN is a folder that `minicnn train` wrote.
    """


def _film(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options `--out`, `--fps` and `--style`."""
    out = click.option(
        "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), callback=_known_ending, default=f"{name}.gif",
        show_default=True,
    )  # fmt: skip
    fps = click.option("--fps", type=click.IntRange(min=1), help="Frames a second; default 4 to 6.")
    return lambda function: out(fps(style_option(function)))


def _known_ending(ctx: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Known before the work, not after it."""
    from minicnn.study.animation import refuse_path

    try:
        refuse_path(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _save(film: Any, out: Path, fps: int | None) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    film.fps = fps or film.fps
    film.save(out)
    click.echo(out)


@command.command(short_help="A kernel slides over an image, and the map fills.")
@click.argument("image")
@click.option("--kernel-size", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--strides", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--padding", type=click.Choice(["valid", "same"]), default="valid", show_default=True)
@click.option("--frames", type=click.IntRange(min=1), default=100, show_default=True, help="At most; evenly left out.")
@_film("convolution")
def convolution(
    image: str, kernel_size: int, strides: int, padding: str, frames: int, out: Path, fps: int | None, style: str
) -> None:
    """A kernel slides over IMAGE, a picture file or e.g. digits:3; each frame shows the products, and the map so far."""
    from minicnn import study

    film = study.convolution_animation(
        picture_from(image).pixels, kernel_size, strides=strides, padding=padding, frames=frames, style=style
    )
    _save(film, out, fps)


@command.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_film("filters")
def filters(run: Path, out: Path, fps: int | None, style: str) -> None:
    """The kernels of the first convolution, before training and after each epoch."""
    from minicnn import study

    recorded = study.KernelHistory.load(_of_run(run, "filters.npz"))
    _save(study.filters_animation(recorded, style=style), out, fps)


@command.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_film("curves")
def curves(run: Path, out: Path, fps: int | None, style: str) -> None:
    """Loss and metrics, growing epoch by epoch."""
    from minicnn import study

    _save(study.curves_animation(_history(_of_run(run, "history.csv")), style=style), out, fps)


def _of_run(run: Path, name: str) -> Path:
    path = run / name
    if not path.exists():
        raise click.UsageError(f"There is no {name} in {run}: is it a folder that `minicnn train` wrote?")
    return path


def _history(path: Path) -> dict[str, list[float]]:
    """Name -> a value an epoch, of a run's history.csv."""
    import csv

    from minicnn.untrusted import reading

    with reading(path), open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {}) if name != "epoch"}
