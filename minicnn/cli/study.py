"""`minicnn study`: the pictures of `minicnn.study`, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minicnn.cli.common import DATASETS, class_names_beside, image_from, load_data, model_from, names_of, style_option

__all__ = ["command"]


@click.group(short_help="Draw filters, feature maps, saliency and more.")
def command() -> None:
    """Pictures of data and of what a model learnt, written to a file (of the type of its ending: .png, .svg, .pdf).

    MODEL is a .keras file or a run folder. IMAGE is a picture file, or e.g. digits:3 for a test image of a data set.
    """


def _drawing(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options `--out` and `--style`."""
    out = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=f"{name}.png", show_default=True)
    return lambda function: out(style_option(function))


def _save(figure: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
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
@_drawing("features")
def features(model: str, image: str, channels: int, out: Path, style: str) -> None:
    """The feature maps of all layers for one image."""
    from minicnn import study

    loaded = model_from(model)
    _save(study.feature_maps(loaded, image_from(image, loaded.input_shape[1:]), channels=channels, style=style), out)


@command.command()
@click.argument("model")
@click.argument("image")
@click.option("--class", "class_index", type=click.IntRange(min=0), help="Index of the class; default the predicted one.")
@_drawing("saliency")
def saliency(model: str, image: str, class_index: int | None, out: Path, style: str) -> None:
    """How strongly a class's score reacts to each pixel."""
    from minicnn import study

    loaded = model_from(model)
    picture = image_from(image, loaded.input_shape[1:])
    _save(study.saliency(loaded, picture, class_index, class_names_beside(model), style=style), out)


@command.command()
@click.argument("model")
@click.argument("image")
@click.option("--class", "class_index", type=click.IntRange(min=0), help="Index of the class; default the predicted one.")
@click.option("--layer", help="Name of a layer with maps; default the last Conv2D.")
@_drawing("gradcam")
def gradcam(model: str, image: str, class_index: int | None, layer: str | None, out: Path, style: str) -> None:
    """Where a convolution layer saw what speaks for a class (Grad-CAM)."""
    from minicnn import study

    loaded = model_from(model)
    picture = image_from(image, loaded.input_shape[1:])
    _save(study.grad_cam(loaded, picture, class_index, class_names_beside(model), layer=layer, style=style), out)


@command.command()
@click.argument("model")
@click.argument("image")
@click.option("--pixel", type=(int, int), metavar="ROW COLUMN", help="Default the centre of the image.")
def trace(model: str, image: str, pixel: tuple[int, int] | None) -> None:
    """Follow one pixel through the steps that `fit` runs: their ops, the values there, the sums behind them (printed)."""
    from minicnn import study

    loaded = model_from(model)
    click.echo(study.trace(loaded, image_from(image, loaded.input_shape[1:]), pixel))


@command.command()
@click.argument("image")
@click.option("--kernel-size", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--strides", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--padding", type=click.Choice(["valid", "same"]), default="valid", show_default=True)
@click.option("--place", type=(int, int), default=(0, 0), metavar="ROW COLUMN", help="The output pixel whose patch is marked.")
@_drawing("im2col")
def im2col(image: str, kernel_size: int, strides: int, padding: str, place: tuple[int, int], out: Path, style: str) -> None:
    """The matrix whose rows are all patches of an image: convolution as a matrix product."""
    from minicnn import study

    _save(study.im2col_matrix(image_from(image), kernel_size, strides=strides, padding=padding, place=place, style=style), out)


@command.command()
@click.argument("dataset", type=click.Choice(DATASETS), metavar="DATASET")
@click.option("--count", type=click.IntRange(min=1), default=25, show_default=True)
@_drawing("samples")
def samples(dataset: str, count: int, out: Path, style: str) -> None:
    """Images of a data set with their names."""
    from minicnn import study

    data = load_data(dataset)
    _save(study.sample_grid(data.x_train, data.y_train, names_of(dataset), count=count, title=dataset, style=style), out)


@command.command()
@click.argument("dataset", type=click.Choice(DATASETS), metavar="DATASET")
@_drawing("labels")
def labels(dataset: str, out: Path, style: str) -> None:
    """How many images of each class a data set has."""
    from minicnn import study

    data = load_data(dataset)
    _save(study.label_counts({"train": data.y_train, "test": data.y_test}, names_of(dataset), title=dataset, style=style), out)
