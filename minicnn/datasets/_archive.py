"""Reading chosen files out of a folder or a tar archive; nothing is ever unpacked onto the disk."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

_LARGEST_HEADER = 2**16  # bytes of a long name, or of another extended header of a member
_MOST_MEMBERS = 1000
_MOST_UNPACKED = 100  # bytes out of one that is stored; pictures of noise hardly shrink


def read_files(path: Path, names: Sequence[str], limit: int) -> list[bytes]:
    """The contents of the files `names` in the folder or tar archive `path`, in that order.

    Args:
        path: a folder that has the files, or a tar archive (any compression) that has them in any folder.
        names: file names, without folders.
        limit: the most bytes one of them may have.

    Raises:
        ValueError: if one is missing or larger than `limit`, or the archive is damaged, or unpacks to more than 100
            times its size.
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


class _Member(tarfile.TarInfo):
    """A member whose header is short: `tarfile` reads long names and extended headers whole, whatever size they claim."""

    @classmethod
    def frombuf(cls, *arguments: Any) -> Any:
        member = super().frombuf(*arguments)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def _from_tar(path: Path, names: Sequence[str], limit: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    most = 2**20 + _MOST_UNPACKED * path.stat().st_size
    try:
        with tarfile.open(path, tarinfo=_Member) as archive:
            # One pass: a compressed archive cannot be searched without reading it.
            for count, member in enumerate(archive):
                name = PurePosixPath(member.name).name
                if name in names and name not in found and member.isfile() and not member.issparse():
                    _check_size(name, member.size, limit)
                if member.offset_data + member.size > most or count >= _MOST_MEMBERS:
                    raise tarfile.ReadError(f"it unpacks to more than {_MOST_UNPACKED} times its size, or has too many members")
                if name in names and name not in found and member.isfile() and not member.issparse():
                    content = archive.extractfile(member)
                    found[name] = content.read() if content else b""
                if len(found) == len(names):
                    break
    except ValueError:
        raise
    except Exception as error:  # of the tar format, of the compression, of the system
        raise ValueError(f"it is not a whole tar archive ({error})") from error
    return found


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"{name} has {size:,} bytes, more than the {limit:,} that it may have")
