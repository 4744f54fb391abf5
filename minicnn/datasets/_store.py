"""Where data sets are: the folders that are searched, the files that are known, and the download.

A data set is looked for in `MINICNN_DATA_DIR`, then in Keras's own cache, then in
minicnn's; only what is in none of them is downloaded, checked against its SHA-256 and
moved into place whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minicnn.atomic import replacing
from minicnn.untrusted import FileFormatError, printable

DataDir = str | os.PathLike[str] | None
Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # (x_train, y_train), (x_test, y_test)

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30.0


class DatasetUnavailableError(FileNotFoundError):
    """The files of a data set are not on this machine and cannot be downloaded; the message says what was tried."""


@dataclass(frozen=True)
class Layout:
    """One way in which a data set's files may be arranged in a folder.

    Attributes:
        root: what is looked for in a folder: a subfolder, a file, or "." for the folder itself.
        files: what must lie in the subfolder; empty if `root` is a file.
        read: from the path of `root` to the arrays.
    """

    root: str
    files: tuple[str, ...]
    read: Callable[[Path], Arrays]

    def present(self, folder: Path) -> list[Path]:
        """The files of this layout in `folder`, or an empty list if one is missing."""
        root = folder / self.root
        paths = [root / name for name in self.files] if self.files else [root]
        here = all(path.exists() if self.files else path.is_file() for path in paths)
        return paths if here else []


@dataclass(frozen=True)
class Download:
    """A file that can be downloaded.

    Attributes:
        url: its address.
        digest: its SHA-256 (64 digits) or MD5 (32); None if nobody knows.
        size: in bytes; None if nobody knows.
        to: the place in the cache folder it goes to.
    """

    url: str
    digest: str | None
    size: int | None
    to: str

    @property
    def algorithm(self) -> str:
        """Which of the two digests it is."""
        return "md5" if self.digest and len(self.digest) == 32 else "sha256"

    def refused(self, found: str) -> str:
        """Why a file of this digest is not the one meant; "" if it is, or may be."""
        name = {"md5": "MD5", "sha256": "SHA-256"}[self.algorithm]
        return "" if self.digest in (None, found) else f"expected {name} {self.digest}, received {found}"


@dataclass(frozen=True)
class Source:
    """A data set's name, the layouts it is found in (the first one is taken), its downloads and its home page."""

    name: str
    layouts: tuple[Layout, ...]
    downloads: tuple[Download, ...]
    homepage: str


@dataclass(frozen=True)
class Found:
    """A data set on this machine: its layout, the path of the layout's root, its files."""

    layout: Layout
    path: Path
    files: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(
            sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else path.stat().st_size
            for path in self.files
        )


def _own_cache() -> Path:
    return Path.home() / ".minicnn" / "datasets"


def _chosen_dirs(data_dir: DataDir) -> list[Path]:
    """The folders that the user named: an argument, the environment's."""
    return [Path(folder).expanduser() for folder in (data_dir, os.environ.get("MINICNN_DATA_DIR")) if folder]


def search_dirs(data_dir: DataDir = None) -> list[Path]:
    """The folders that data sets are looked for in, in order.

    `data_dir` where it is given, `MINICNN_DATA_DIR` where it is set, Keras's cache (`$KERAS_HOME/datasets`,
    by default `~/.keras/datasets`), minicnn's cache (`~/.minicnn/datasets`).
    """
    return [*_chosen_dirs(data_dir), keras_home() / "datasets", _own_cache()]


def keras_home() -> Path:
    """Keras's own folder: `$KERAS_HOME`, by default `~/.keras`."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()


def find(source: Source, data_dir: DataDir = None) -> Found | None:
    """Where the data set is on this machine, or None."""
    for folder in search_dirs(data_dir):
        for layout in source.layouts:
            files = layout.present(folder)
            if files:
                return Found(layout, folder / layout.root, tuple(files))
    return None


def fetch(source: Source, data_dir: DataDir = None, *, download: bool = True, verbose: bool = True) -> Found:
    """Find a data set, or download it into the first folder that the user named (minicnn's cache if none).

    Raises:
        DatasetUnavailableError: saying which folders and addresses were tried, and how to place the files by hand.
    """
    found = find(source, data_dir)
    if found:
        return found
    folder = [*_chosen_dirs(data_dir), _own_cache()][0]
    for item in source.downloads:
        if (folder / item.to).is_file():
            continue
        if not download:
            raise DatasetUnavailableError(_unavailable(source, data_dir, folder, "Downloading was not allowed."))
        try:
            download_file(item, folder / item.to, verbose)
        except (OSError, http.client.HTTPException, ValueError) as error:
            tried = f"Tried to download: {item.url} ({getattr(error, 'reason', None) or error})"
            raise DatasetUnavailableError(_unavailable(source, data_dir, folder, tried)) from error
    found = find(source, data_dir)
    if not found:
        raise DatasetUnavailableError(f"{source.name}: {folder} does not keep the files that were downloaded into it.")
    return found


def read(source: Source, data_dir: DataDir = None, download: bool = True) -> Arrays:
    """The data set's arrays, from wherever they are found or fetched.

    Raises:
        DatasetUnavailableError: as `fetch`.
        FileFormatError: (a ValueError) naming the path, if what is found there is not the data set.
    """
    found = fetch(source, data_dir, download=download)
    try:
        return found.layout.read(found.path)
    except Exception as error:
        message = (
            f"{source.name}: {found.path} cannot be read: {error}. Move it away, and the data set is looked for elsewhere."
        )
        raise FileFormatError(printable(message)) from None  # a traceback would print the first error at its full length


def _unavailable(source: Source, data_dir: DataDir, folder: Path, tried: str) -> str:
    lines = [f"{source.name} is not on this machine and could not be downloaded."]
    lines += ["Looked for: " + ", ".join(dict.fromkeys(layout.root for layout in source.layouts if layout.root != "."))]
    lines += ["In:"] + [f"  {path}" for path in search_dirs(data_dir)]
    lines += [tried]
    lines += ["To place the files by hand, get them on any machine and put"]
    lines += [f"  {item.url}  ({item.size or 0:,} bytes)  at  {folder / item.to}" for item in source.downloads]
    lines += ["or set MINICNN_DATA_DIR to a folder that has them. The data set `digits` needs no download."]
    return "\n".join(lines)


def download_file(download: Download, target: Path, verbose: bool) -> None:
    """Download to a temporary file beside `target`, check it, and move it into place whole.

    Where that fails, the folders that were made for it go again.
    """
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    request = urllib.request.Request(download.url, headers={"User-Agent": "minicnn"})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file, urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            _copy_checked(response, file, download, verbose)
    except BaseException:
        with contextlib.suppress(OSError):
            for folder in made:  # from the innermost out; one that somebody else has filled meanwhile stays
                folder.rmdir()
        raise


def _copy_checked(response: Any, file: BinaryIO, download: Download, verbose: bool) -> None:
    digest, received = hashlib.new(download.algorithm), 0
    with _progress(download, verbose) as advance:
        while chunk := _received(response):
            received += len(chunk)
            if download.size is not None and received > download.size:
                break
            digest.update(chunk)
            file.write(chunk)
            advance(len(chunk))
    if download.size is not None and received != download.size:
        more = "more than " if received > download.size else ""
        raise ValueError(f"expected {download.size:,} bytes, received {more}{min(received, download.size):,}")
    if wrong := download.refused(digest.hexdigest()):
        raise ValueError(wrong)


def _received(response: Any) -> bytes:
    """The next piece; an error of the network is none of the file that is written."""
    try:
        return bytes(response.read(_CHUNK))
    except OSError as error:
        raise OSError(f"the connection broke off: {error}") from error


@contextlib.contextmanager
def _progress(download: Download, verbose: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; one plain line where that is no terminal."""
    if not verbose:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        size = "" if download.size is None else f" ({download.size:,} bytes)"
        console.print(f"Downloading {download.url}{size}", soft_wrap=True, highlight=False)
        yield lambda count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(Path(download.to).name, total=download.size)
        yield lambda count: bar.advance(task, count)
