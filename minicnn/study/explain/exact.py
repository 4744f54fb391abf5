"""What needs no room in a page: values that follow from others without rounding, bit for bit.

The page computes a ReLU, a maximum or a move of numbers again in place of being sent the result. `collect` compares
every prediction with the engine's array, and one that differs in a bit is embedded as it is.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

__all__ = ["backward", "forward"]


def forward(op: dict[str, Any], inputs: list[np.ndarray]) -> np.ndarray | None:
    """The output that follows from the inputs, each with a batch axis of 1; None for an op that rounds."""
    x = inputs[0]
    if op["kind"] == "elementwise" and op["function"] in ("relu", "linear"):
        return np.maximum(x, 0) if op["function"] == "relu" else x
    if op["kind"] == "move":
        flat = np.concatenate([one.reshape(-1) for one in inputs])
        return flat if op["index"] is None else np.where(op["index"] < 0, 0, flat[op["index"]])
    if op["kind"] == "maxpool" and x.ndim == 4:
        return np.array([[x[0, a:b, c:d].max(axis=(0, 1)) for c, d in op["columns"]] for a, b in op["rows"]])
    return None


def backward(op: dict[str, Any], x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> np.ndarray | None:
    """The gradient at the op's one input x; None for an op that rounds."""
    if op["kind"] == "elementwise" and op["function"] in ("relu", "linear"):
        return dy * (x > 0) if op["function"] == "relu" else dy
    if op["kind"] == "move" and op["index"] is None:
        return dy
    if op["kind"] == "maxpool" and x.ndim == 4:
        dx = np.zeros_like(x)
        y, dy = (array.reshape(len(op["rows"]), len(op["columns"]), -1) for array in (y, dy))
        channels = np.arange(x.shape[3])
        for (oy, (a, b)), (ox, (c, d)) in product(enumerate(op["rows"]), enumerate(op["columns"])):
            argmax = x[0, a:b, c:d].reshape(-1, x.shape[3]).argmax(axis=0)
            dx[0, a + argmax // (d - c), c + argmax % (d - c), channels] += dy[oy, ox]
        return dx
    return None
