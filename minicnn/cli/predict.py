"""`minicnn predict`: what a saved model sees in pictures."""

from __future__ import annotations

import click

from minicnn.cli.common import class_names_beside, compute_options, configure, image_from, model_from, print_table

__all__ = ["command"]


@click.command(short_help="Classify pictures with a saved model.")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes to list.")
@compute_options
def command(model: str, images: tuple[str, ...], top: int, backend: str | None, threads: int | None) -> None:
    """Classify each IMAGE with MODEL (a .keras file or a run folder), and list the most probable classes.

    IMAGE is a picture file, resized to the model's input, or e.g. digits:3 for a test image of a data set.
    Class names are read from the settings.json beside the model.
    """
    import numpy as np

    from minicnn.study.labels import probabilities
    from minicnn.study.style import class_name

    configure(backend, threads)
    loaded = model_from(model)
    names = class_names_beside(model)
    batch = np.stack([image_from(image, loaded.input_shape[1:]) for image in images])
    rows = []
    for image, row in zip(images, probabilities(loaded.predict(batch, verbose=0))):
        if names is not None and len(names) != len(row):
            raise ValueError(f"The model has {len(row)} classes, but settings.json beside it names {len(names)}.")
        for rank, index in enumerate(np.argsort(-row, kind="stable")[:top]):
            rows.append([image if rank == 0 else "", class_name(index, names), f"{100 * row[index]:.1f}%"])
    print_table(["image", "class", "probability"], rows, numbers=["probability"])
