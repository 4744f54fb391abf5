"""The command line's entry: finds the subcommand, and turns a user's mistake into one line and an exit code."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from minicnn.cli.common import Suggesting

_COMMANDS = ("train", "evaluate", "predict", "summary", "study", "explain", "gradcheck", "data", "bench", "doctor", "warmup")

# What a user can cause: a wrong file, name, shape or number, data that cannot be downloaded, a backend that cannot run here.
_EXPECTED = (ValueError, OSError, ImportError, RuntimeError, ArithmeticError, MemoryError)


class _Commands(Suggesting):
    """Subcommands by name; `minicnn.cli.<name>.command` is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"minicnn.cli.{cmd_name}").command
        return command


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from minicnn import __version__

        click.echo(f"minicnn {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error (anywhere on the line).")
def _minicnn() -> None:
    """Convolutional networks, written by hand: train one, look inside, check its gradients.

    Start with `minicnn train digits`, which needs no download.
    """


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run the command line and exit: 0 when done, 1 for a failure, 2 for wrong usage.

    Args:
        arguments: default `sys.argv[1:]`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        sys.exit(_minicnn.main(given, prog_name="minicnn", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)  # 2 for wrong usage
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(1)
    except _EXPECTED as error:
        if debug:
            traceback.print_exc()
        else:
            click.echo(f"error: {_reason(error)}", err=True)
        sys.exit(1)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
