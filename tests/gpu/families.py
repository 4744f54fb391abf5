"""The tests of `tests/ops`, and those of `epilogues.py`, to be run with another `target` fixture."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import tests.ops


def families() -> dict[str, Callable[..., Any]]:
    """Every test of a target in any module of `tests/ops`, and in `epilogues.py`, by name."""
    modules = [
        f"tests.ops.{module.name}" for module in pkgutil.iter_modules(tests.ops.__path__) if module.name.startswith("test_")
    ]
    found: dict[str, Callable[..., Any]] = {}
    for module in (*modules, "tests.gpu.epilogues"):
        for name, item in vars(importlib.import_module(module)).items():
            if name.startswith("test_") and inspect.isfunction(item) and "target" in inspect.signature(item).parameters:
                assert name not in found, f"two tests of ops are called {name}"
                found[name] = item
    return found
