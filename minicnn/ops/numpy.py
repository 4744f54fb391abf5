"""The ops under their longer names, `ops.numpy.sum` for `ops.sum`, as Keras has them."""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(sys.modules["minicnn.ops"], name)
