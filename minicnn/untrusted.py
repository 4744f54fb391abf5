"""Files that nobody vouches for: one error for all of them, short and safe to print."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

__all__ = ["FileFormatError", "printable", "reading", "require_regular_file"]

_LONGEST_HEAD, _LONGEST_TAIL = 1200, 400  # characters of a message that are kept


class FileFormatError(ValueError):
    """A file is damaged, or is not what it is read as; the message names the file and the reason."""


def printable(text: str) -> str:
    """`text` without control characters, which could steer a terminal, and without its middle if it is long.

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
