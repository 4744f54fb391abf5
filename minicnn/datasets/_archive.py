"""Reading chosen files out of a folder or a tar archive; nothing is ever unpacked onto the disk."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

__all__ = ["read_files"]


def read_files(path: Path, names: Sequence[str], limit: int) -> list[bytes]:
    """The contents of the files `names` in the folder or tar archive `path`, in that order.

    Args:
        path: a folder that has the files, or a tar archive (any compression) that has them in any folder.
        names: file names, without folders.
        limit: the most bytes one of them may have.

    Raises:
        ValueError: if one is missing or larger than `limit`, or the archive is damaged.
    """
    found = _from_folder(path, names, limit) if path.is_dir() else _from_tar(path, names, limit)
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return [found[name] for name in names]


def _from_folder(path: Path, names: Sequence[str], limit: int) -> dict[str, bytes]:
    found = {}
    for name in names:
        if (path / name).is_file():
            _check_size(name, (path / name).stat().st_size, limit)
            found[name] = (path / name).read_bytes()
    return found


def _from_tar(path: Path, names: Sequence[str], limit: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:  # one pass: a compressed archive cannot be searched without reading it
                name = PurePosixPath(member.name).name
                if name in names and name not in found and member.isfile():
                    _check_size(name, member.size, limit)
                    content = archive.extractfile(member)
                    found[name] = content.read() if content else b""
                if len(found) == len(names):
                    break
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"it is not a whole tar archive ({error})") from error
    return found


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"{name} has {size:,} bytes, more than the {limit:,} that it may have")
