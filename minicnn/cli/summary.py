"""`minicnn summary`: a model's layers."""

from __future__ import annotations

import click

from minicnn.cli.given_model import MODEL_HELP, model_from


@click.command(short_help="List a model's layers, parameters and FLOPs.", epilog=MODEL_HELP)
@click.argument("model")
def command(model: str) -> None:
    """List the layers of MODEL."""
    from minicnn import zoo

    loaded = model_from(model)
    loaded.summary()
    if model in zoo.MODELS:
        reference = zoo.get(model)
        click.echo(f"batch size {reference.batch_size}, {type(reference.optimizer()).__name__}, {reference.loss}")
        click.echo(f"source: {reference.source}")
