"""Files that nobody vouches for: one error for all of them, short and safe to print."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

_LONGEST_HEAD, _LONGEST_TAIL = 1200, 400  # characters of a message that are kept


class FileFormatError(ValueError):
    """A file is damaged, or is not what it is read as; the message names the file and the reason."""


def printable(text: str) -> str:
    """`text` without control characters, which could steer a terminal, and without its middle if it is long.

    Examples:
        >>> printable("a\\x1b[2Jb")
        'a\\\\x1b[2Jb'
    """
    if len(text) > _LONGEST_HEAD + _LONGEST_TAIL:
        left_out = len(text) - _LONGEST_HEAD - _LONGEST_TAIL
        text = f"{text[:_LONGEST_HEAD]} [... {left_out} more characters ...] {text[-_LONGEST_TAIL:]}"
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii") for char in text
    )


@contextlib.contextmanager
def reading(source: object) -> Iterator[None]:
    """What goes wrong in the `with` block is the file's fault: it becomes a `FileFormatError` that names `source`.

    A missing file and a missing permission keep their own errors: there nothing was read.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file makes its reader fail in any way
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        named = "" if str(source) in str(error) else f"{source}: "
        # `from None`: a traceback would print the first error too, at its full length.
        raise FileFormatError(printable(f"{named}{kind}{error}")) from None


def require_regular_file(path: str | bytes | os.PathLike[str]) -> None:
    """Raise unless `path` is a file: to open a pipe waits for its writer, and a device has no end.

    Raises:
        FileFormatError: for a folder, a pipe, a device. FileNotFoundError: if there is nothing.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileFormatError(printable(f"{os.fsdecode(path)} is not a regular file."))


_MOST_UNPACKED = 100  # bytes out of one stored in a zip archive; Keras's bound, too
_LARGEST_ENTRY = 512  # bytes of one member in an archive's directory; names are short


def open_zip(file: Any, most_members: int) -> zipfile.ZipFile:
    """A zip archive whose members unpack to at most 100 times what is stored of them.

    Args:
        file: a path, or an open binary file.
        most_members: in an archive of more, the directory is not even read.

    Raises:
        FileFormatError: if its directory claims otherwise, or names another compression than none and deflate.
        zipfile.BadZipFile: if it is no archive.
    """
    if not hasattr(file, "read"):
        require_regular_file(file)
    with contextlib.nullcontext(file) if hasattr(file, "read") else open(file, "rb") as opened:
        stored = opened.seek(0, os.SEEK_END)
        end = zipfile._EndRecData(opened)  # type: ignore[attr-defined]
        if end and end[zipfile._ECD_SIZE] > most_members * _LARGEST_ENTRY:  # type: ignore[attr-defined]
            raise FileFormatError(f"its directory is larger than one of {most_members} members is")
    archive = zipfile.ZipFile(file)
    try:
        for member in archive.infolist():
            _check_member(member, stored)
    except FileFormatError:
        archive.close()
        raise
    return archive


def _check_member(member: zipfile.ZipInfo, stored: int) -> None:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(f"'{member.filename}' is packed by method {member.compress_type}; none and deflate are read")
    if member.compress_size > stored or member.file_size > _MOST_UNPACKED * member.compress_size:
        raise FileFormatError(
            f"'{member.filename}' claims to unpack {member.compress_size} bytes to {member.file_size}; at most "
            f"{_MOST_UNPACKED} times what is stored is read"
        )
