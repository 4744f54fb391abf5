"""How this backend compiles: the processor's vectors, a cache that notices edits, one line while it works.

Numba caches a compiled function beside its source file and trusts it as long as that one file
is unchanged. Kernels here call into sibling files, so the cache's stamp covers the whole
package: edit any kernel and all are compiled again; reinstall the same files and none are. Every
file of the cache carries a checksum: one that was cut short or changed is compiled again, not run.
Each processor and each set of its features has its own entries in the cache.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import inspect
import os
import pickle
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import caching, cgutils, event
from numba.core.ccallback import CFunc
from numba.core.codegen import get_host_cpu_features
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic

from minicnn.backends.numba_cpu import _ahead

try:
    import fcntl
except ImportError:  # Windows: processes that start together compile the same functions, each for itself
    fcntl = None  # type: ignore[assignment]

_PROBE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)

define <16 x float> @product(<16 x float> %a, <16 x float> %b) {
  %c = fmul <16 x float> %a, %b
  ret <16 x float> %c
}

define <16 x float> @sum_of_products(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %d = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %d
}
"""


def vectors_of(processor: str, features: str) -> tuple[int, bool]:
    """Floats in a vector of this processor, and whether it multiplies and adds in one instruction.

    LLVM knows both by name for every processor, but does not say: it is given 16 multiplications, and the instructions counted.
    """
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=processor, features=features)
    instructions = machine.emit_assembly(llvm.parse_assembly(_PROBE))
    fused = "fmaf" not in instructions  # the C library's function, in place of an instruction
    return 16 // len(re.findall(r"^\s+\w*mul", instructions, re.MULTILINE)), fused


llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
_chosen = numba.config.CPU_FEATURES is not None  # NUMBA_CPU_FEATURES
if not _chosen:
    # To a processor that NUMBA_CPU_NAME names, Numba would give the features of this machine, and so its vectors.
    numba.config.CPU_FEATURES = "" if numba.config.CPU_NAME else get_host_cpu_features()
numba.config.CPU_NAME = numba.config.CPU_NAME or llvm.get_host_cpu_name()

VL, FMA = vectors_of(numba.config.CPU_NAME, numba.config.CPU_FEATURES)
"""Floats in a vector, and whether they are multiplied and added in one instruction."""

if VL == 16 and not _chosen:
    # LLVM keeps loops to 256-bit vectors on some of these processors unless told not to.
    numba.config.CPU_FEATURES = f"{numba.config.CPU_FEATURES},-prefer-256-bit".removeprefix(",")


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
    """Only one process at a time looks for a function, compiles it and saves it: the next one waits, and then finds it.

    Numba's own cache leaves this open: each process compiles for itself, and two that save different
    signatures at once may give both the same file. Numba calls `save_overload` when `load_overload` found nothing.
    """

    _impl_class = _CacheFiles

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())
        self._lock_path = Path(self.cache_path, f"{self._impl.filename_base}.lock")
        self._alone = contextlib.ExitStack()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        with contextlib.suppress(OSError):  # a disk that is full: what is there is read all the same
            self._impl.locator.ensure_cache_path()
        self._alone.enter_context(_locked(self._lock_path))
        found = super().load_overload(signature, target_context)
        if found is not None:
            self._alone.close()
        return found

    def give_way(self) -> None:
        """Let other processes in, after a compilation that failed."""
        self._alone.close()

    def save_overload(self, signature: Any, data: Any) -> None:
        with self._alone, contextlib.suppress(OSError):  # a full disk costs the next start some seconds, nothing more
            self._sweep()
            super().save_overload(signature, data)

    def _sweep(self) -> None:
        """Remove what processes that were killed left of new files: nobody else writes this function's files now."""
        for path in Path(self.cache_path).glob(f"{glob.escape(self._impl.filename_base)}.*.tmp.*"):
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """No other process is in this block with the same file. The system takes the lock back from a process that is killed."""
    file = None
    with contextlib.suppress(OSError):  # another user's file, a file system without locks, or a full one
        file = open(path, "ab")  # noqa: SIM115 - closed below, where an error does not matter either
        if fcntl:
            fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file:
            with contextlib.suppress(OSError):
                file.close()


class _Part(CPUDispatcher):
    """A function that has no entry for Python."""

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.py_func.__name__} is a part of kernels: only jitted functions can call it.")


def part(function: Callable[..., Any], **options: Any) -> Any:
    """Decorator of a jitted function that only jitted functions call: it is cached within its callers.

    `error_model="numpy"`: a division by zero gives inf as in NumPy, and no branch that would keep
    LLVM from vectorising.

    Numba would compile an entry for Python and one for C with each, which took a fifth of the time of all compilation.
    """
    jit = numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)
    dispatcher = jit(function)
    dispatcher.__class__ = _Part
    return dispatcher


def reassociated(function: Callable[..., Any]) -> Any:
    """`part` for a sum along a row: LLVM may take its terms in another order, and so in vectors, the same for every call."""
    return part(function, fastmath={"reassoc", "contract"})


def compiled(function: Callable[..., Any], source: Callable[..., Any] | None = None) -> Any:
    """Decorator of a jitted function that Python calls: compiled once for each machine, then read from disk.

    `source`: the function whose name and line name the file in the cache, where `function` is a wrapper around it.

    It releases the GIL: other Python threads (a pipeline's `prefetch`) go on, and a kernel's own
    threads may need it, as they do when `tracemalloc` follows their allocations.

    Named tuples cost a call some 3 us each, plain ones next to nothing: callers pass `tuple(window)`, and the
    function begins with `window = Window(*window)`.
    """
    dispatcher: Any = numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True)(function)
    with contextlib.suppress(RuntimeError):  # no folder can be written: compile anew in every process
        dispatcher._cache = _Cache(source or function)
    compile_for = dispatcher._compile_for_args

    def compile_or_copy(*args: Any) -> Any:
        # What is returned is called with the same arguments.
        if not all(map(_is_read_as_it_lies, args)):
            return functools.partial(_call_on_copies, dispatcher)
        try:
            return compile_for(*args)
        except BaseException:
            if isinstance(dispatcher._cache, _Cache):
                dispatcher._cache.give_way()  # else other processes would wait for this function until this one ends
            raise

    dispatcher._compile_for_args = compile_or_copy
    return dispatcher


def _is_read_as_it_lies(argument: Any) -> bool:
    if isinstance(argument, tuple):
        return all(map(_is_read_as_it_lies, argument))
    return not isinstance(argument, np.ndarray) or (argument.flags.c_contiguous and argument.flags.aligned)


def _call_on_copies(dispatcher: Any, *args: Any) -> Any:
    """Call a kernel, which reads arrays by their addresses, on C-contiguous copies of those that are not: a user's views.

    Numba tells arrays of another order by their type, and so looks for a kernel of its own for them. There is never one:
    that is where such a call comes here, and one on contiguous arrays pays nothing for it.
    """
    copies = [_in_order(argument) for argument in args]
    if dispatcher.py_func.__code__.co_flags & inspect.CO_VARARGS:  # Numba hands over what `*args` takes as one tuple
        result = dispatcher(*copies[:-1], *copies[-1])
    else:
        result = dispatcher(*copies)
    for argument, copy in zip(args, copies):
        _write_back(argument, copy)
    return result


def _in_order(argument: Any) -> Any:
    """An argument, also a tuple of them, with C-contiguous copies of the arrays that are not."""
    if _is_read_as_it_lies(argument):
        return argument
    if isinstance(argument, tuple):
        return tuple(map(_in_order, argument))
    return np.array(argument, order="C")


def _write_back(argument: Any, copy: Any) -> None:
    """What a kernel wrote into a copy."""
    if isinstance(argument, tuple):
        for part, its_copy in zip(argument, copy):
            _write_back(part, its_copy)
    elif copy is not argument and argument.flags.writeable:
        argument[...] = copy


def instruction(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: emit(builder, *values), which writes LLVM's instructions, becomes a function of kernels."""

    def make(emit: Callable[..., Any]) -> Any:
        def define(typingctx: Any, *arguments: Any) -> Any:
            def codegen(context: Any, builder: Any, _: Any, values: Any) -> Any:
                result = emit(builder, *values)
                return context.get_dummy_value() if signature.return_type is numba.types.void else result

            return signature, codegen

        # Numba counts the arguments, and would hand over `*arguments` as one tuple.
        names = ["typingctx", *(f"value{i}" for i in range(len(signature.args)))]
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        define.__name__, define.__signature__ = emit.__name__, inspect.Signature(parameters)  # type: ignore[attr-defined]
        return intrinsic(define)

    return make


def shared(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator of a jitted function that kernels link to by name: it is compiled once, not once in each of them.

    Arguments are numbers and tuples of numbers (`words`). A tuple is handed over as its numbers, in registers as far as
    they go: to name what belongs together costs nothing.
    """

    def enter(function: Callable[..., Any]) -> Any:
        symbol = f"{__package__}.{function.__name__}"
        llvm.add_symbol(symbol, address_of(function, signature))
        _shared[function.__name__] = function, signature

        def call(builder: Any, *values: Any) -> None:
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, symbol), values)

        call.__name__ = function.__name__
        entry = instruction(signature)(call)
        entry.symbol = symbol
        return entry

    return enter


def words(names: type) -> Any:
    """The type of a named tuple of int64."""
    return numba.types.NamedUniTuple(numba.types.int64, len(names._fields), names)  # type: ignore[attr-defined]


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
    """When the first kernel that the cache lacks is compiled: one line on stderr, and a second process that helps."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if not self.said and function.__module__.startswith(__package__):
            self.said = True
            print("minicnn: compiling kernels for this machine (once, some seconds)...", file=sys.stderr, flush=True)
            _ahead.start()

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announce())
