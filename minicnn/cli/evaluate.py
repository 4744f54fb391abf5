"""`minicnn evaluate`: a saved model on a data set's test images."""

from __future__ import annotations

import click

from minicnn.cli.common import Dataset, Range, compute_options, configure, load_data, range_option
from minicnn.cli.given_model import MODEL_HELP, load_model, refuse_fewer_outputs


@click.command(short_help="Evaluate a model on a data set.", epilog=MODEL_HELP)
@click.argument("model")
@click.argument("dataset", type=Dataset, metavar="DATASET")
@range_option
@compute_options
def command(model: str, dataset: str, input_range: Range | None, backend: str | None, threads: int | None) -> None:
    """Evaluate MODEL on the test images of DATASET: loss, accuracy, a report per class.

    DATASET is a name that `minicnn data` lists.

    The loss is the one that the model was compiled with; where there is none, the cross-entropy that fits its outputs.
    """
    from minicnn.cli.assess import assess, compile_for_classes, print_report

    configure(backend, threads)
    given = load_model(model, input_range)
    data = load_data(dataset, given.input_shape, given.input_range)
    refuse_fewer_outputs(given.model, len(data.class_names))
    compile_for_classes(given.model)
    print_report(assess(given.model, data.x_test, data.y_test), data.y_test, data.class_names)
