"""`minicnn explain`: a page on which every number of one image's way through a model can be opened."""

from __future__ import annotations

from pathlib import Path

import click

from minicnn.cli.common import Range, range_option
from minicnn.cli.given_model import MODEL_HELP, load_model

__all__ = ["command"]


@click.command(short_help="Open any number: one HTML page for a model and an image.", epilog=MODEL_HELP)
@click.argument("model")
@click.argument("image")
@click.option("--label", type=click.IntRange(min=0), help="Index of the class; default the known one, or the predicted one.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), default="page.html", show_default=True,
    help="The file to write.",
)  # fmt: skip
@range_option
def command(model: str, image: str, label: int | None, out: Path, input_range: Range | None) -> None:
    """Write a page on which every number can be opened: as the sum it is, forward and backward.

    IMAGE is a picture file, or e.g. digits:3 for a test image of a data set. The page needs no network and no server.
    """
    from minicnn import study

    given = load_model(model, input_range)
    picture = given.picture(image)
    y = picture.true_class if label is None else label
    page = study.explain(given.model, picture.pixels, y, class_names=given.class_names, title=f"{given.model.name}: {image}")
    click.echo(page.save(out))
