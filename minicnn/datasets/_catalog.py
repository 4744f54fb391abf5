"""All data sets by name: which are on this machine, where, and how large."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from minicnn.datasets import _store, cifar10, cifar100, digits, fashion_mnist, horses_or_humans, mnist
from minicnn.registry import did_you_mean

_MODULES = (cifar10, cifar100, digits, fashion_mnist, horses_or_humans, mnist)

MODULES: dict[str, ModuleType] = {module.__name__.rpartition(".")[2]: module for module in _MODULES}
"""The one list of the data sets: name -> module."""


@dataclass(frozen=True)
class CachedDataset:
    """What is known of a data set's files.

    Attributes:
        name: the data set's name.
        path: where it was found, or None.
        size: bytes on disk; 0 if it was not found.
        download_size: bytes that `fetch` would download if it is not there.
    """

    name: str
    path: Path | None
    size: int
    download_size: int


def module(name: str) -> ModuleType:
    """The module of a data set.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in MODULES:
        raise ValueError(f"Unknown data set: {name!r}.{did_you_mean(name, MODULES)} Known: {', '.join(MODULES)}.")
    return MODULES[name]


def cached() -> list[CachedDataset]:
    """For every data set, where on this machine it is found (see `search_dirs`) and how large it is."""
    entries = []
    for name, held in MODULES.items():
        if held.SOURCE is None:
            path = _digits_file()
            entries.append(CachedDataset(name, path, path.stat().st_size, 0))
            continue
        found = _store.find(held.SOURCE)
        download_size = sum(download.size for download in held.SOURCE.downloads)
        entries.append(CachedDataset(name, found.path if found else None, found.size if found else 0, download_size))
    return entries


def fetch(name: str, *, verbose: bool = True) -> Path:
    """Download a data set unless it is found on this machine; its path.

    Raises:
        ValueError: for an unknown name.
        DatasetUnavailableError: saying which folders and addresses were tried, and how to place the files by hand.
    """
    held = module(name)
    return _digits_file() if held.SOURCE is None else _store.fetch(held.SOURCE, verbose=verbose).path


def _digits_file() -> Path:
    """Where scikit-learn keeps the digits; found without importing it."""
    from importlib.util import find_spec

    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise _store.DatasetUnavailableError("digits comes with scikit-learn, which is not installed.")
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
