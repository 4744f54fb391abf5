"""`minicnn study`: the pictures of `minicnn.study`, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minicnn.cli.animate import command as animate
from minicnn.cli.common import (
    Dataset,
    Range,
    Suggesting,
    load_data,
    names_of,
    picture_from,
    range_option,
    save_figure,
    style_option,
)
from minicnn.cli.given_model import MODEL_HELP, load_model, model_from

__all__ = ["command"]


@click.group(cls=Suggesting, short_help="Draw filters, feature maps, saliency and more.", epilog=MODEL_HELP)
def command() -> None:
    """Pictures of data and of what a model learnt, written to a file (of the type of its ending: .png, .svg, .pdf).

    IMAGE is a picture file, or e.g. digits:3 for a test image of a data set.
    """


def _drawing(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options `--out` and `--style`."""
    out = click.option(
        "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), callback=_known_ending, default=f"{name}.png",
        show_default=True,
    )  # fmt: skip
    return lambda function: out(style_option(function))


def _known_ending(ctx: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Known before the work, not after it."""
    if value.suffix not in (".png", ".svg", ".pdf"):
        raise click.BadParameter(f"{value} should end in .png, .svg or .pdf.")
    return value


def _save(figure: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, out)
    click.echo(out)


@command.command()
@click.argument("model")
@click.option("--layer", help="Name of a Conv2D; default the first.")
@_drawing("filters")
def filters(model: str, layer: str | None, out: Path, style: str) -> None:
    """The kernels of a convolution layer."""
    from minicnn import study

    _save(study.filters(model_from(model), layer, style=style), out)


@command.command()
@click.argument("model")
@click.argument("image")
@click.option("--channels", type=click.IntRange(min=1), default=8, show_default=True, help="Maps drawn of each layer.")
@range_option
@_drawing("features")
def features(model: str, image: str, channels: int, input_range: Range | None, out: Path, style: str) -> None:
    """The feature maps of all layers for one image."""
    from minicnn import study

    given = load_model(model, input_range)
    picture = given.picture(image)
    _save(study.feature_maps(given.model, picture.pixels, channels=channels, class_names=given.class_names, style=style), out)


@command.command()
@click.argument("model")
@click.argument("image")
@click.option("--class", "class_index", type=click.IntRange(min=0), help="Index of the class; default the predicted one.")
@range_option
@_drawing("saliency")
def saliency(model: str, image: str, class_index: int | None, input_range: Range | None, out: Path, style: str) -> None:
    """How strongly a class's score reacts to each pixel."""
    from minicnn import study

    given = load_model(model, input_range)
    picture = given.picture(image)
    figure = study.saliency(
        given.model, picture.pixels, class_index, given.class_names, true_class=picture.true_class, style=style
    )
    _save(figure, out)


@command.command(short_help="Grad-CAM: where a layer saw what speaks for a class.")
@click.argument("model")
@click.argument("image")
@click.option("--class", "class_index", type=click.IntRange(min=0), help="Index of the class; default the predicted one.")
@click.option("--layer", help="Name of a layer with maps; default the last Conv2D.")
@range_option
@_drawing("gradcam")
def gradcam(
    model: str, image: str, class_index: int | None, layer: str | None, input_range: Range | None, out: Path, style: str
) -> None:
    """Where a convolution layer saw what speaks for a class (Grad-CAM)."""
    from minicnn import study

    given = load_model(model, input_range)
    picture = given.picture(image)
    figure = study.grad_cam(
        given.model, picture.pixels, class_index, given.class_names, layer=layer, true_class=picture.true_class, style=style
    )
    _save(figure, out)


@command.command(short_help="Follow one pixel through the steps that `fit` runs.")
@click.argument("model")
@click.argument("image")
@click.option("--pixel", type=(int, int), metavar="ROW COLUMN", help="Default the centre of the image.")
@range_option
def trace(model: str, image: str, pixel: tuple[int, int] | None, input_range: Range | None) -> None:
    """Follow one pixel through the steps that `fit` runs: their ops, the values there, the sums behind them (printed)."""
    from minicnn import study

    given = load_model(model, input_range)
    click.echo(study.trace(given.model, given.picture(image).pixels, pixel))


@command.command(short_help="Convolution as a matrix product of patches.")
@click.argument("image")
@click.option("--kernel-size", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--strides", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--padding", type=click.Choice(["valid", "same"]), default="valid", show_default=True)
@click.option(
    "--place", type=(int, int), metavar="ROW COLUMN",
    help="The output pixel whose patch is marked; default the one whose patch varies most.",
)  # fmt: skip
@_drawing("im2col")
def im2col(
    image: str, kernel_size: int, strides: int, padding: str, place: tuple[int, int] | None, out: Path, style: str
) -> None:
    """The matrix whose rows are all patches of an image: convolution as a matrix product."""
    from minicnn import study

    pixels = picture_from(image).pixels
    _save(study.im2col_matrix(pixels, kernel_size, strides=strides, padding=padding, place=place, style=style), out)


@command.command()
@click.argument("dataset", type=Dataset, metavar="DATASET")
@click.option("--count", type=click.IntRange(min=1), default=25, show_default=True)
@_drawing("samples")
def samples(dataset: str, count: int, out: Path, style: str) -> None:
    """Images of a data set with their names."""
    from minicnn import study

    data = load_data(dataset)
    _save(study.sample_grid(data.x_train, data.y_train, names_of(dataset), count=count, title=dataset, style=style), out)


@command.command()
@click.argument("dataset", type=Dataset, metavar="DATASET")
@_drawing("labels")
def labels(dataset: str, out: Path, style: str) -> None:
    """How many images of each class a data set has."""
    from minicnn import study

    data = load_data(dataset)
    _save(study.label_counts({"train": data.y_train, "test": data.y_test}, names_of(dataset), title=dataset, style=style), out)


command.add_command(animate, "animate")
