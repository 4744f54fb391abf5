"""System calls of a child process, counted, and one of them made to fail: `ptrace` as strace uses it, in Python.

Every call that a folder is reached through is seen, whoever makes it: Python, its C libraries, NumPy, libhdf5. It needs
no program that may be missing, only Linux on x86-64, so the test suite runs it.

Source: `man 2 ptrace`; linux/ptrace.h; arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FAULTS", "LOOKS", "Outcome", "faults_of", "missing", "run"]

FAULTS = ("killed", "killed halfway", "no space once", "no space halfway", "no space from then on")

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_TRACESYSGOOD, _EXITKILL = 1, 0x100000
_RAX, _RDX, _ORIG_RAX = 8 * 10, 8 * 12, 8 * 15  # places in the registers of x86-64
_STOP_OF_CALL = signal.SIGTRAP | 0x80

# Which argument says what a call is about: a file that is open, a path, or a folder that is open and a path in it.
_CALLS = {
    "file": {
        0: "read", 1: "write", 3: "close", 5: "fstat", 8: "lseek", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv",
        20: "writev", 72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 78: "getdents", 91: "fchmod",
        93: "fchown", 217: "getdents64", 285: "fallocate", 40: "sendfile", 277: "sync_file_range",
    },
    "path": {
        2: "open", 4: "stat", 6: "lstat", 21: "access", 76: "truncate", 82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat",
        86: "link", 87: "unlink", 88: "symlink", 89: "readlink", 90: "chmod", 92: "chown", 94: "lchown", 132: "utime",
    },
    "path at": {
        257: "openat", 258: "mkdirat", 260: "fchownat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 265: "linkat",
        267: "readlinkat", 268: "fchmodat", 269: "faccessat", 280: "utimensat", 316: "renameat2", 332: "statx",
        437: "openat2", 439: "faccessat2",
    },
}  # fmt: skip
_ABOUT = {number: (about, name) for about, calls in _CALLS.items() for number, name in calls.items()}
_WRITES = ("write", "pwrite64")
_TAKES_SPACE = ("write", "writev", "pwrite64", "openat", "open", "creat", "mkdir", "mkdirat", "fsync", "fdatasync", "fallocate",
                "ftruncate", "truncate", "rename", "renameat", "renameat2", "link", "symlink", "close")  # fmt: skip

LOOKS = ("read", "fstat", "lseek", "ioctl", "pread64", "readv", "fcntl", "getdents", "getdents64", "stat", "lstat", "access",
         "readlink", "newfstatat", "readlinkat", "faccessat", "faccessat2", "statx")  # fmt: skip
"""Calls that change nothing on a disk: to be killed before one is to be killed before the next that does."""


class _Info(ctypes.Structure):
    """struct ptrace_syscall_info, with the part that a call's beginning has."""

    _fields_ = [
        ("op", ctypes.c_uint8),
        ("padding", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    ]


@dataclass
class Outcome:
    """What became of a child.

    Attributes:
        calls: (name, path) of each call that the folder was reached through.
        ended: "returned", "raised" or "killed".
        value: what it returned, or the message of what it raised. kind: the class of that.
        where: its traceback.
    """

    calls: list[tuple[str, str]] = field(default_factory=list)
    ended: str = "killed"
    value: Any = None
    kind: str = ""
    where: str = ""


def missing() -> str | None:
    """Why this machine cannot trace, or None."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"{sys.platform} on {platform.machine()}, not Linux on x86-64"
    try:
        run(lambda: 1, Path("/nowhere"))
    except OSError as error:
        return f"ptrace is refused here: {error}"
    return None


def run(act: Callable[[], Any], folder: Path | None, fault: str | None = None, at: int = -1) -> Outcome:
    """Call `act` in a forked child, with a fault at its call number `at` that the folder is reached through.

    Args:
        act: returns what JSON can hold.
        folder: None to let it run without looking.
        fault: one of `FAULTS`, or None.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _be_traced(act, reader, writer, follow=folder is not None)
    os.close(writer)
    outcome = Outcome()
    try:
        if folder is None:
            os.waitpid(child, 0)
        else:
            _follow(child, str(folder), fault, at, outcome)
    finally:
        with os.fdopen(reader) as answers:
            text = answers.read()
    if text:
        outcome.ended, outcome.value, outcome.kind, outcome.where = json.loads(text)
    return outcome


def _be_traced(act: Callable[[], Any], reader: int, writer: int, follow: bool) -> None:
    try:
        os.close(reader)
        if follow:
            _ptrace(_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            answer = ["returned", act(), "", ""]
        except BaseException as error:
            answer = ["raised", str(error), type(error).__name__, traceback.format_exc()]
        os.write(writer, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _ptrace(request: int, process: int, address: int, data: Any) -> int:
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    result = int(call(request, process, address, data))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request}: {os.strerror(ctypes.get_errno())}")
    return result


def _set(process: int, register: int, value: int) -> None:
    _ptrace(_POKEUSER, process, register, value & (2**64 - 1))


def _follow(child: int, folder: str, fault: str | None, at: int, outcome: Outcome) -> None:
    """Let the child run from call to call to its end."""
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        raise PermissionError(errno.EPERM, "a child may not be traced")
    _ptrace(_SETOPTIONS, child, 0, _TRACESYSGOOD | _EXITKILL)
    info, deliver = _Info(), 0
    fails = dies = halved = False  # the call that is under way; the process at its end; the write before
    while True:
        _ptrace(_SYSCALL, child, 0, deliver)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return
        deliver = 0 if os.WSTOPSIG(status) == _STOP_OF_CALL else os.WSTOPSIG(status)
        if deliver:
            continue
        _ptrace(_GET_SYSCALL_INFO, child, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == 2:  # the end of a call
            if dies:
                _kill(child)
                return
            if fails:
                _set(child, _RAX, -errno.ENOSPC)
            fails = False
            continue
        name, path = _call(child, info)
        if not f"{path}/".startswith(f"{folder}/"):
            continue
        number = len(outcome.calls)
        outcome.calls.append((name, path))
        fails = fault == "no space once" and number == at
        fails |= fault == "no space from then on" and number >= at and name in _TAKES_SPACE and _may_create(name, info)
        fails |= halved and name in _WRITES
        if fails:
            halved = False
            _set(child, _ORIG_RAX, -1)  # no call has this number: nothing is done
        elif number == at and fault == "killed":
            _kill(child)
            return
        elif number == at and fault in ("killed halfway", "no space halfway"):
            _set(child, _RDX, info.arguments[2] // 2)
            halved, dies = fault == "no space halfway", fault == "killed halfway"


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _may_create(name: str, info: _Info) -> bool:
    return name != "openat" or bool(info.arguments[2] & os.O_CREAT)


def faults_of(call: str) -> tuple[str, ...]:
    """The faults that a call can have: only what writes can be done by half, only what takes space can go on failing."""
    return tuple(
        fault
        for fault in FAULTS
        if (call in _WRITES or "halfway" not in fault) and (call in _TAKES_SPACE or fault != "no space from then on")
    )


def _call(child: int, info: _Info) -> tuple[str, str]:
    """The call's name and the path that it is about; "" where there is none."""
    about, name = _ABOUT.get(info.number, ("", ""))
    if about == "file":
        return name, _link(f"/proc/{child}/fd/{info.arguments[0]}")
    if about == "path":
        return name, _absolute(child, _text(child, info.arguments[0]), None)
    if about == "path at":
        return name, _absolute(child, _text(child, info.arguments[1]), ctypes.c_int(info.arguments[0] & 0xFFFFFFFF).value)
    return name, ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _absolute(child: int, path: str, folder: int | None) -> str:
    if path.startswith("/"):
        return os.path.normpath(path)
    start = _link(f"/proc/{child}/cwd" if folder in (None, -100) else f"/proc/{child}/fd/{folder}")
    return os.path.normpath(os.path.join(start, path)) if path else start


def _text(child: int, address: int) -> str:
    """A text in the child's memory."""
    if not address:
        return ""
    with open(f"/proc/{child}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        found = b""
        while b"\0" not in found:
            part = memory.read(min(256, 4096 - (address + len(found)) % 4096))  # not into a page that is not there
            if not part:
                break
            found += part
    return os.fsdecode(found.partition(b"\0")[0])
