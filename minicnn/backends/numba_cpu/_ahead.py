"""Where nothing is compiled yet, a second process compiles the largest gradients while this one compiles what comes before.

Half of the time of a first start goes into two kernels, the gradients of a convolution by its two algorithms, and a training
step calls them last. Numba compiles one function at a time in a process (its compiler has a lock), so threads would not help.
`_compile`'s cache is where both processes meet: each takes what the other has compiled, and waits for what it is compiling.

What the second process does stands in `_gradients`. It ends when it is done, and with this one. It is not started where one
thread was asked for; on Windows, where processes have no lock to wait at; nor from a program that is not Python by its name
(an application with Python inside), whose file would be started once more.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path

from minicnn.backends.numba_cpu._threads import cores, threads_from_environment

_SWITCH = "MINICNN_COMPILE_AHEAD"
"""The environment variable that says 0 where all is to be compiled by one process, as in the second process itself."""

_SECOND = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
sys.path[:] = {path!r}
from minicnn.backends.numba_cpu._gradients import compile_gradients
compile_gradients()
"""


def start() -> subprocess.Popen[bytes] | None:
    """Start the second process, where that helps; None where it does not."""
    is_python = not hasattr(sys, "frozen") and Path(sys.executable or "").name.startswith("python")
    if not is_python or os.name != "posix" or os.environ.get(_SWITCH) == "0" or min(cores(), threads_from_environment()) < 2:
        return None
    try:
        second = subprocess.Popen(
            [sys.executable, "-c", _SECOND.format(path=sys.path)],
            env=os.environ | {_SWITCH: "0"},
            stdin=subprocess.PIPE,  # closed when this process ends, in whatever way, and read by the second one
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # no process to be had: this one compiles alone
        return None
    atexit.register(_end, second)
    return second


def _end(second: subprocess.Popen[bytes]) -> None:
    """What it has compiled is in the cache; the system takes back its lock on what it was compiling."""
    second.kill()
    second.communicate()
