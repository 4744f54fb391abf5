"""`minicnn doctor`: versions, processor, backends, and why one cannot run here."""

from __future__ import annotations

import os
import platform
from importlib import import_module, metadata
from typing import Any

import click

from minicnn.cli.common import print_table

_PACKAGES = ("numpy", "numba", "llvmlite", "h5py", "matplotlib", "scikit-learn", "pillow", "rich", "click")
_BACKENDS = {"numba": "numba_cpu", "reference": "reference", "cupy": "cupy_gpu"}


@click.command(short_help="Show versions, threads and backends.")
def command() -> int:
    """Show versions, processor, threads, vector width and which backends run here. Ends with 1 if the default one does not."""
    from minicnn import __version__, config

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows: list[tuple[str, Any]] = [
        ("minicnn", __version__),
        ("python", platform.python_version()),
        ("system", platform.platform()),
    ]
    rows += [("processor", _processor()), ("available cores", cores)]
    rows += [(package, _version(package)) for package in _PACKAGES]
    _print(rows, "machine")

    default, default_works = config.backend_name(), False
    for name, package in _BACKENDS.items():
        note = " (the default)" if name == default else ""
        try:
            module = import_module(f"minicnn.backends.{package}")
            module.check_available()
            facts: dict[str, Any] = module.describe()
        except Exception as error:  # whatever a driver or a compiler may raise: the reason is the answer
            _print([("not available", str(error) or type(error).__name__)], f"backend {name}{note}")
            continue
        default_works |= name == default
        _print([(key.replace("_", " "), value) for key, value in facts.items()], f"backend {name}{note}")
    if not default_works:
        click.echo(f"error: the default backend, {default!r}, does not run here", err=True)
    return int(not default_works)


def _print(rows: list[tuple[str, Any]], title: str) -> None:
    print_table(["", ""], rows, title=title, width=80)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
