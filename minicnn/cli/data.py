"""`minicnn data`: which data sets are on this machine, and fetching one."""

from __future__ import annotations

import click

from minicnn.cli.common import Dataset, Suggesting, print_table


@click.group(cls=Suggesting, invoke_without_command=True, short_help="List the data sets, or fetch one.")
@click.pass_context
def command(context: click.Context) -> None:
    """Say which data sets are on this machine and where; `minicnn data fetch NAME` downloads one."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@command.command("list")
def list_() -> None:
    """List the data sets, where they are, and how large."""
    from minicnn import datasets

    rows = []
    for entry in datasets.cached():
        size = f"{(entry.size or entry.download_size) / 1e6:.1f} MB"
        rows.append([entry.name, "here" if entry.path else "not here", size, entry.path or f"minicnn data fetch {entry.name}"])
    print_table(["data set", "", "size", "path, or how to get it"], rows, numbers=["size"])
    click.echo("looked in: " + ", ".join(map(str, datasets.search_dirs())))


@command.command(short_help="Download a data set, unless it is on this machine.")
@click.argument("name", type=Dataset, metavar="NAME")
def fetch(name: str) -> None:
    """Download the data set NAME, one that `minicnn data` lists, unless it is on this machine."""
    from minicnn import datasets

    click.echo(datasets.fetch(name))
