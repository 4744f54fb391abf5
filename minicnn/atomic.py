"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["may_write", "naming", "replacing"]

_LONGEST_NAME = 255  # bytes that common file systems allow
_growing: set[str] = set()  # temporary files that this process is writing


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends.

    Until then, and for good if the block raises or the machine stops, `path` is what it was:
    the new file grows beside it, is flushed to the disk, and is renamed in one step. It is never
    readable by more people than `path` is. What a process that was killed left of its own new
    file is removed first.

    Raises:
        OSError: naming `path`, and not the file beside it, for a disk that is full, for one.
    """
    target = os.path.realpath(path)  # a link goes on pointing where it did
    folder, name = os.path.split(target)
    _sweep(folder, name)
    ending = f".{os.getpid()}-{os.urandom(4).hex()}.tmp"
    beside = os.path.join(folder, _stem(name) + ending)
    _growing.add(beside)
    try:
        with naming(target, instead_of=beside):
            with open(beside, "xb", opener=lambda new, flags: os.open(new, flags, _mode_of_new(target))) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                os.chmod(beside, os.stat(target).st_mode & 0o7777)
            os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that brought us here says more
            os.unlink(beside)
        raise
    finally:
        _growing.discard(beside)
    _flush_directory(folder)


@contextlib.contextmanager
def naming(path: str, instead_of: str | None = None) -> Iterator[None]:
    """A system's error in the block names `path`, where it names no file (as when a write fails) or `instead_of`."""
    try:
        yield
    except io.UnsupportedOperation as error:  # a file that cannot be told to go to a place: it has no errno
        raise io.UnsupportedOperation(f"{path}: {error}").with_traceback(error.__traceback__) from None
    except OSError as error:
        if error.errno is None or error.filename not in (None, instead_of):
            raise
        raise OSError(error.errno, error.strerror, path).with_traceback(error.__traceback__) from None


def _mode_of_new(target: str) -> int:
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        return 0o666  # less the process's mask


def _stem(name: str) -> str:
    """A name, cut so that the longest ending of a temporary file has room behind it."""
    room = _LONGEST_NAME - len(f".{2**32}-12345678.tmp")
    return os.fsencode(name)[:room].decode(errors="ignore")


def _sweep(folder: str, name: str) -> None:
    """Remove the temporary files for a target whose processes are gone."""
    ours = re.compile(re.escape(_stem(name)) + r"\.(\d{1,10})-[0-9a-f]{8}\.tmp")
    with contextlib.suppress(OSError):  # a folder that cannot be listed is written to all the same
        for found in os.listdir(folder):
            match = ours.fullmatch(found)
            path = os.path.join(folder, found)
            if match and not _in_use(path, int(match[1])):
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _in_use(path: str, process: int) -> bool:
    if process == os.getpid():  # also that of an earlier container, where every training is process 1
        return path in _growing
    if os.name == "nt":
        return False  # a file that is open cannot be removed there; and signal 0 would not be harmless
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _flush_directory(path: str) -> None:
    """Make a rename in a directory durable, where the system has directories that can be opened."""
    with contextlib.suppress(OSError):
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def may_write(path: str, overwrite: bool) -> bool:
    """Whether `path` may be written; asks at the terminal if it exists and `overwrite` is False."""
    if overwrite or not os.path.exists(path):
        return True
    answer = input(f"[WARNING] {path} already exists - overwrite? [y/n]").strip().lower()
    while answer not in ("y", "n"):
        answer = input('Enter "y" (overwrite) or "n" (cancel).').strip().lower()
    return answer == "y"
