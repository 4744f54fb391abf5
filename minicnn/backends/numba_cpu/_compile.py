"""How this backend compiles: the host's vectors, a cache that notices edits, one line while it works.

Numba caches a compiled function beside its source file and trusts it as long as that one file
is unchanged. Kernels here call into sibling files, so the cache's stamp covers the whole
package: edit any kernel and all are compiled again; reinstall the same files and none are. Every
file of the cache carries a checksum: one that was cut short or changed is compiled again, not run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import caching, event
from numba.core.ccallback import CFunc

__all__ = ["FEATURES", "VL", "address_of", "assembly", "compiled", "part", "shared"]

FEATURES = dict(llvm.get_host_cpu_features())
if FEATURES.get("avx512f") and not (os.environ.get("NUMBA_CPU_NAME") or os.environ.get("NUMBA_CPU_FEATURES")):
    # LLVM keeps to 256-bit vectors on these processors unless told not to.
    numba.config.CPU_NAME = llvm.get_host_cpu_name()
    numba.config.CPU_FEATURES = ",".join(("+" if on else "-") + name for name, on in FEATURES.items()) + ",-prefer-256-bit"

VL = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
"""Floats in a vector."""


def _stamp_of_package() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()


_STAMP = _stamp_of_package()


def _stamped(locator: type) -> type:
    return type(locator.__name__, (locator,), {"get_source_stamp": lambda self: _STAMP})


@functools.cache  # one warning, not one for each kernel
def _others_may_write(folder: str) -> bool:
    """Whether other users can put files into a folder; with a warning, since a cache holds code that is run."""
    if os.name != "posix" or not os.path.isdir(folder):
        return False
    status = os.stat(folder)
    if status.st_uid in (0, os.getuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    warnings.warn(
        f"minicnn keeps no compiled kernels in NUMBA_CACHE_DIR={folder}: other users can write there, and what they write "
        f"would be run. Make it your own (`chmod go-w {folder}`), or name another folder.",
        stacklevel=2,
    )
    return True


class _UserProvided(caching.UserProvidedCacheLocator):
    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Any:
        locator = super().from_function(py_func, py_file)
        if locator is None or _others_may_write(numba.config.CACHE_DIR) or _others_may_write(locator.get_cache_path()):
            return None
        return locator


class _CacheFiles(caching.CompileResultCacheImpl):
    # First where the user says (NUMBA_CACHE_DIR), then beside the source, then in the user's own cache folder.
    _locator_classes = [
        _stamped(_UserProvided),
        _stamped(caching.InTreeCacheLocator),
        _stamped(caching.UserWideCacheLocator),
    ]


class _CheckedFiles(caching.IndexDataCacheFile):
    """Numba's index and code files, each behind a checksum: a file that does not match it counts as missing.

    Numba unpickles and runs what it finds; a damaged file would break every start until somebody deletes it.
    """

    def _load_index(self) -> dict[Any, str]:
        content = self._read(self._index_path)
        return {} if content is None else pickle.loads(content)

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, self._dump(overloads))

    def _load_data(self, name: str) -> Any:
        content = self._read(self._data_path(name))
        if content is None:
            raise FileNotFoundError(name)  # `load` takes it for "not there", and the kernel is compiled again
        return pickle.loads(content)

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), self._dump(data))

    def _checksum(self, path: str, content: bytes) -> bytes:
        belongs_to = repr((self._version, self._source_stamp, os.path.basename(path)))
        return hashlib.sha256(belongs_to.encode() + content).digest()

    def _read(self, path: str) -> bytes | None:
        try:
            sealed = Path(path).read_bytes()
        except OSError:
            return None
        checksum, content = sealed[: hashlib.sha256().digest_size], sealed[hashlib.sha256().digest_size :]
        return content if checksum == self._checksum(path, content) else None

    def _write(self, path: str, content: bytes) -> None:
        with self._open_for_write(path) as file:
            file.write(self._checksum(path, content) + content)


class _Cache(caching.FunctionCache):
    _impl_class = _CacheFiles

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the next start some seconds, nothing more
            super().save_overload(sig, data)


def part(function: Callable[..., Any]) -> Any:
    """Decorator of a jitted function that only jitted functions call: it is cached within its callers.

    `error_model="numpy"`: a division by zero gives inf as in NumPy, and no branch that would keep
    LLVM from vectorising.
    """
    return numba.njit(error_model="numpy")(function)


def compiled(function: Callable[..., Any], source: Callable[..., Any] | None = None) -> Any:
    """Decorator of a jitted function that Python calls: compiled once for each machine, then read from disk.

    `source`: the function whose name and line name the file in the cache, where `function` is a wrapper around it.

    It releases the GIL: other Python threads (a pipeline's `prefetch`) go on, and a kernel's own
    threads may need it, as they do when `tracemalloc` follows their allocations.
    """
    dispatcher = numba.njit(error_model="numpy", nogil=True)(function)
    with contextlib.suppress(RuntimeError):  # no folder can be written: compile anew in every process
        dispatcher._cache = _Cache(source or function)
    return dispatcher


def shared(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator of a jitted function that kernels link to by name: it is compiled once, not once in each of them."""

    def enter(function: Callable[..., Any]) -> Any:
        symbol = f"{__package__}.{function.__name__}"
        llvm.add_symbol(symbol, address_of(function, signature))
        _shared[function.__name__] = function, signature
        return numba.types.ExternalFunction(symbol, signature)

    return enter


def address_of(function: Callable[..., Any], signature: Any) -> int:
    """Compile a function now, for the whole process or from the cache; the address of its code."""
    callback: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    with contextlib.suppress(RuntimeError):
        callback._cache = _Cache(function)
    callback.compile()
    _alive.append(callback)
    return int(callback.address)


def assembly(name: str) -> str:
    """The instructions that a `shared` function is made of, such as "multiply"; compiled once more, since a cache keeps none.

    Raises:
        ValueError: for a name that is not shared.
    """
    if name not in _shared:
        raise ValueError(f"Unknown function: {name!r}. Expected one of {', '.join(map(repr, sorted(_shared)))}.")
    function, signature = _shared[name]
    callback: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    callback.compile()
    return str(callback._library.get_asm_str())


_alive: list[Any] = []  # compiled code goes when its object does
_shared: dict[str, tuple[Callable[..., Any], Any]] = {}


class _Announce(event.Listener):
    """One line on stderr when the first kernel that the cache lacks is compiled."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if not self.said and function.__module__.startswith(__package__):
            self.said = True
            print("minicnn: compiling kernels for this machine (once, some seconds)...", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announce())
