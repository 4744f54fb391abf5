"""Choosing a backend: `ops.conv2d_forward(...)` is the chosen backend's own function.

`ops` has no wrapper between caller and kernel: `set_backend` puts the backend's functions
into it as attributes. A backend is imported when its first op is needed, so that
`import minicnn` loads neither Numba nor CuPy.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from minicnn import config

__all__ = [
    "asarray",
    "backend",
    "backend_module",
    "empty",
    "get_num_threads",
    "load",
    "on_device",
    "ops",
    "set_backend",
    "set_num_threads",
    "to_numpy",
]

_HOMES = {"numba": "numba_cpu", "reference": "reference", "loops": "reference.loops", "cupy": "cupy_gpu"}
# Of the reference: the ops.
_FILES = ("conv", "conv_transpose", "depthwise", "pool", "dense", "norm", "elementwise", "image", "loss", "update")
_lock = threading.RLock()
_name: str | None = None
_module: ModuleType | None = None
_on_change: list[Any] = []  # called with no argument after the backend changed (variables move their arrays)


class Ops:
    """The current backend's ops as attributes; `minicnn.backends.reference` says what each computes."""

    def __getattr__(self, name: str) -> Any:
        # Reached only while nothing is loaded, or for an op that the backend lacks.
        if name.startswith("__"):
            raise AttributeError(name)
        if _module is None:
            set_backend(config.backend_name())
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"The backend {_name!r} has no op {name!r}.")

    def __dir__(self) -> list[str]:
        return sorted(self.__dict__)


ops = Ops()


def load(name: str) -> dict[str, Callable[..., Any]]:
    """A backend's ops by name: each public function of the reference's files, or the backend's own in its place."""
    home = importlib.import_module(f"minicnn.backends.{_HOMES[name]}")
    found = {}
    for file in _FILES:
        contract = importlib.import_module(f"minicnn.backends.reference.{file}")
        own = importlib.import_module(f"{home.__name__}.{file}") if hasattr(home, "__path__") else home
        for op, function in vars(contract).items():
            if inspect.isfunction(function) and function.__module__ == contract.__name__ and not op.startswith("_"):
                found[op] = getattr(own, op, function)
    return found


def set_backend(name: str) -> None:
    """Compute with "numba" (CPU, the default), "reference" (readable NumPy), "loops" (plain loops, an element at a
    time, for small models under a debugger) or "cupy" (NVIDIA GPUs).

    Models keep their weights: the next step computes where the new backend does.

    Raises:
        ValueError: for an unknown name.
        ImportError, RuntimeError: if the backend cannot run here, with what it lacks; the
            previous backend then stays.
    """
    global _name, _module
    if name not in _HOMES:
        raise ValueError(f"Unknown backend: {name!r}. Expected one of {', '.join(map(repr, _HOMES))}.")
    with _lock:
        module = importlib.import_module(f"minicnn.backends.{_HOMES[name]}")
        module.check_available()
        functions = load(name)
        changed = _module is not module
        _name, _module = name, module
        ops.__dict__.clear()
        ops.__dict__.update(functions)
        if changed:
            for callback in list(_on_change):
                callback()


def backend() -> str:
    """The name of the backend in use: "numba", "reference", "loops" or "cupy"."""
    return _name or config.backend_name()


def backend_module() -> ModuleType:
    """The backend's package: its ops, and `asarray`, `to_numpy`, `set_num_threads`, ..."""
    if _module is None:
        set_backend(config.backend_name())
    assert _module is not None
    return _module


def on_device() -> bool:
    """Whether the backend's arrays lie on a device, which computes what it is asked while the host goes on."""
    return backend() == "cupy"


def on_backend_change(callback: Any) -> None:
    """Call `callback()` after every change of backend."""
    _on_change.append(callback)


def asarray(value: Any, dtype: Any = None) -> Any:
    """`value` as a C-contiguous array of the current backend; no copy where it is one already."""
    return backend_module().asarray(value, dtype)


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised C-contiguous array of the current backend: step memory (`memory.empty`) where that is the host's."""
    return backend_module().empty(shape, dtype)


def to_numpy(value: Any) -> Any:
    """An array of the current backend as a NumPy array."""
    return backend_module().to_numpy(value)


def set_num_threads(threads: int) -> None:
    """Compute with this many CPU threads; results do not depend on it (numba backend).

    Raises:
        ValueError: if `threads` is no integer between 1 and the number of available cores.
    """
    backend_module().set_num_threads(threads)


def get_num_threads() -> int:
    """How many CPU threads the current backend computes with."""
    return int(backend_module().get_num_threads())
