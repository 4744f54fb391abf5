"""`get_file`: a file of the network in a cache on this machine, and archives unpacked."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import shutil
import stat
import tarfile
import urllib.error
import urllib.parse
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from minicnn.datasets._store import Download, download_file, keras_home
from minicnn.untrusted import reading

__all__ = ["get_file"]

_MOST_UNPACKED = 1000  # bytes out of one that is stored: an archive that promises more was made to fill a disk
_MOST_MEMBERS = 10_000_000


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str | os.PathLike[str] = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | list[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Download a file, unless it is in the cache.

    Args:
        fname: the name it gets there; by default the last part of its address.
        origin: its address.
        untar: as `extract`, for tar archives.
        md5_hash: as `file_hash`, an MD5.
        file_hash: its SHA-256 or MD5: what has another is refused, and downloaded again if it lies in the cache.
        cache_subdir: the folder in the cache; or an absolute one.
        hash_algorithm: "sha256", "md5" or "auto" (by the length of `file_hash`).
        extract: unpack the archive.
        archive_format: what it may be: "tar", "zip" or a list of them; "auto" for either.
        cache_dir: the cache; by default Keras's, `$KERAS_HOME` or `~/.keras`.
        force_download: download even if it is there.

    Returns:
        The path of the file; of the folder that it was unpacked to, if it was: `fname`, or NAME_extracted for NAME.zip.

    Raises:
        ValueError: without `origin`, for a file of another hash or a `fname` with folders, for a damaged archive.
        OSError: if it cannot be downloaded, saying where to put it by hand. Either way the cache is left as it was.

    Of an archive only files and folders are unpacked, and only inside of its folder; links are left out, with a warning.
    """
    if origin is None:
        raise ValueError('Please specify the "origin" argument (URL of the file to download).')
    name = os.fspath(fname) if fname else os.path.basename(urllib.parse.urlsplit(origin).path)
    if not name:
        raise ValueError(
            f"Can't parse the file name from the origin provided: '{origin}'. Please specify the `fname` argument."
        )
    if os.sep in name:
        raise ValueError(
            "Paths are no longer accepted as the `fname` argument. To specify the file's parent directory, use "
            f"the `cache_dir` argument. Received: fname={name}"
        )
    folder = (Path(cache_dir).expanduser() if cache_dir else keras_home()) / cache_subdir
    unpack = extract or untar
    file, unpacked = _places(folder, name, named=bool(fname)) if unpack else (folder / name, folder / name)
    download = Download(origin, _digest(file_hash or md5_hash, hash_algorithm), None, name)
    fresh = force_download or not file.is_file() or _is_another(file, download)
    if fresh:
        try:
            download_file(download, file, verbose=True)
        except ValueError as error:
            raise ValueError(f"Incomplete or corrupted file detected. {origin}: {error}.") from error
        except (http.client.HTTPException, urllib.error.URLError) as error:
            raise OSError(
                f"URL fetch failure on {origin}: {error}. To place the file by hand, get it on any machine and put it at {file}"
            ) from error
    if unpack and (fresh or not unpacked.is_dir()):
        formats = "tar" if untar else archive_format
        _unpack(
            file, unpacked, ["tar", "zip"] if formats == "auto" else [formats] if isinstance(formats, str) else formats or []
        )
    return str(unpacked)


def _places(folder: Path, name: str, named: bool) -> tuple[Path, Path]:
    """Where an archive goes and where it is unpacked to: Keras's places."""
    if named and "." in name:
        return folder / name, folder / f"{name.partition('.')[0]}_extracted"
    return folder / f"{name}_archive", folder / name


def _digest(file_hash: str | None, algorithm: str) -> str | None:
    lengths = {"sha256": (64,), "md5": (32,), "auto": (32, 64)}
    if file_hash is not None and len(file_hash) not in lengths.get(algorithm, ()):
        raise ValueError(
            "`file_hash` must be the 64 digits of a SHA-256 or the 32 of an MD5, and `hash_algorithm` that one or 'auto'. "
            f"Received: file_hash={file_hash!r}, hash_algorithm={algorithm!r}"
        )
    return file_hash


def _is_another(file: Path, download: Download) -> bool:
    """Whether a file in the cache is not the one meant."""
    if download.digest is None:
        return False
    with open(file, "rb") as content:
        wrong = download.refused(hashlib.file_digest(content, download.algorithm).hexdigest())
    if wrong:
        print(f"{file} is incomplete or outdated: {wrong}. It is downloaded again.")
    return bool(wrong)


def _unpack(file: Path, target: Path, formats: list[str]) -> None:
    """Unpack an archive into a new folder that then takes the place of `target`."""
    for name in formats:
        if name not in ("tar", "zip"):
            raise NotImplementedError(f"`archive_format` must be of 'tar' and 'zip'. Received: {name!r}")
    if "tar" in formats and tarfile.is_tarfile(file):
        members = _of_tar(file)
    elif "zip" in formats and zipfile.is_zipfile(file):
        members = _of_zip(file)
    else:
        warnings.warn(f"Could not extract archive {file}: it is none of {formats}.", stacklevel=3)
        return
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    most = 2**20 + _MOST_UNPACKED * file.stat().st_size
    try:
        beside.mkdir(parents=True)
        with reading(file):
            for count, (name, content) in enumerate(members):
                most -= _write(beside, name, content, most)
                if count >= _MOST_MEMBERS or most < 0:
                    raise ValueError(f"it unpacks to more than {_MOST_UNPACKED} times its size, or has too many members")
        if target.is_dir():
            shutil.rmtree(target)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _of_tar(file: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    """(name, content) of each member; no content of a folder."""
    with tarfile.open(file) as archive:
        for member in archive:
            if member.isdir() or member.isfile():
                yield member.name, archive.extractfile(member) if member.isfile() else None  # type: ignore[misc]
            else:
                _left_out(member.name, "it is no file or folder")


def _of_zip(file: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                _left_out(info.filename, "it is a link")
            elif info.is_dir():
                yield info.filename, None
            else:
                with archive.open(info) as content:
                    yield info.filename, content  # type: ignore[misc]


def _left_out(name: str, reason: str) -> None:
    warnings.warn(f"Skipping invalid path during archive extraction: {name!r}, since {reason}.", stacklevel=4)


def _write(folder: Path, name: str, content: Any, most: int) -> int:
    """One member into the folder; how many bytes it has. A path that leads out of the folder is left out."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "."]
    if not parts:
        return 0
    if ".." in parts or parts[0] == "/" or ":" in parts[0]:
        _left_out(name, "it leads out of the folder")
        return 0
    path = folder.joinpath(*parts)
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with open(path, "wb") as file:
        while (chunk := content.read(1 << 18)) and size <= most:
            file.write(chunk)
            size += len(chunk)
    return size
