"""`minicnn evaluate`: a saved model on a data set's test images."""

from __future__ import annotations

import click

from minicnn.cli.common import DATASETS, compute_options, configure, load_data, model_from

__all__ = ["command"]


@click.command(short_help="Evaluate a saved model on a data set.")
@click.argument("model")
@click.argument("dataset", type=click.Choice(DATASETS), metavar="DATASET")
@compute_options
def command(model: str, dataset: str, backend: str | None, threads: int | None) -> None:
    """Evaluate MODEL (a .keras file or a run folder) on the test images of DATASET: loss, accuracy, a report per class."""
    from minicnn.cli.assess import assess, loss_for, print_report

    configure(backend, threads)
    loaded = model_from(model)
    loaded.compile(loss=loss_for(loaded))  # labels are integers here, whatever it was trained with
    data = load_data(dataset, loaded.input_shape[1:])
    print_report(assess(loaded, data.x_test, data.y_test, data.class_names), data.y_test, data.class_names)
