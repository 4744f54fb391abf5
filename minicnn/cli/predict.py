"""`minicnn predict`: what a model sees in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from minicnn.cli.common import Range, compute_options, configure, print_table, range_option
from minicnn.cli.given_model import MODEL_HELP, GivenModel, load_model

if TYPE_CHECKING:
    import numpy as np


_ON_BLACK = ("digits", "fashion_mnist", "mnist")  # data sets whose images are light on black


@click.command(short_help="Classify pictures with a model.", epilog=MODEL_HELP)
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes to list.")
@click.option("--invert", is_flag=True, help="Swap light and dark: for a picture of black on white.")
@range_option
@compute_options
def command(
    model: str,
    images: tuple[str, ...],
    top: int,
    invert: bool,
    input_range: Range | None,
    backend: str | None,
    threads: int | None,
) -> None:
    """Classify each IMAGE with MODEL, and list the most probable classes.

    IMAGE is a picture file, resized to the model's input, or e.g. digits:3 for a test image of a data set.
    Class names are read from the settings.json beside the model.
    """
    import numpy as np

    from minicnn.study.labels import model_probabilities
    from minicnn.study.style import class_name

    configure(backend, threads)
    given = load_model(model, input_range)
    rows = []
    for image in images:
        picture = given.picture(image)
        pixels = given.input_range[1] - picture.pixels if invert else picture.pixels
        row = model_probabilities(given.model, given.model.predict(pixels[None], verbose=0))[0]
        if given.class_names is not None and len(given.class_names) != len(row):
            raise ValueError(f"The model has {len(row)} classes, but settings.json beside it names {len(given.class_names)}.")
        for rank, index in enumerate(np.argsort(-row, kind="stable")[:top]):
            named = [image, picture.true_name or ""] if rank == 0 else ["", ""]
            rows.append([*named, class_name(index, given.class_names), f"{100 * row[index]:.1f}%"])
        if picture.true_name is None and _is_black_on_white(given, pixels):
            click.echo(
                f"hint: {image} is dark on a light ground, and the images of {given.dataset} are light on black: try --invert",
                err=True,
            )
    columns = ["image", "true class", "class", "probability"]
    if not any(row[1] for row in rows):  # the class of a picture file is not known
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    print_table(columns, rows, numbers=["probability"])


def _is_black_on_white(given: GivenModel, pixels: np.ndarray) -> bool:
    """Whether a picture's edge is light where the edges of what the model was trained on are black."""
    import numpy as np

    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return given.dataset in _ON_BLACK and float(edge.mean()) > 0.6 * given.input_range[1]
