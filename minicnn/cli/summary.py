"""`minicnn summary`: a model's layers."""

from __future__ import annotations

import click

from minicnn.cli.common import model_from

__all__ = ["command"]


@click.command(short_help="List a model's layers, parameters and FLOPs.")
@click.argument("model")
def command(model: str) -> None:
    """List the layers of MODEL: a .keras file, a run folder, or the name of a reference model."""
    from minicnn import zoo

    loaded = model_from(model, reference=True)
    loaded.summary()
    if model in zoo.MODELS:
        reference = zoo.get(model)
        click.echo(f"batch size {reference.batch_size}, {type(reference.optimizer()).__name__}, {reference.loss}")
        click.echo(f"source: {reference.source}")
