"""The ops under their longer names, `ops.numpy.sum` for `ops.sum`, as Keras has them."""

from __future__ import annotations

from typing import Any

from minicnn import ops


def __getattr__(name: str) -> Any:
    return getattr(ops, name)
