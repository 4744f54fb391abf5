"""What needs little room in a page: arrays that follow from others, bit for bit.

The page computes a ReLU, a maximum or a move of numbers again in place of being sent the result. `collect` compares
every prediction with the engine's array, and one that differs in a bit is embedded as it is.

A convolution's sums are rounded, by each kernel in its own order. Here and in the page they are added up in float64, in
one and the same order, and rounded once; the page is then sent how far the engine's number is from that.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from minicnn.backends.types import Window

__all__ = ["Predicted", "backward", "conv_forward", "conv_kernel_gradient", "forward"]


class Predicted(NamedTuple):
    """An array, and a function that computes it as the page would: float32, right but for rounding."""

    array: np.ndarray
    predict: Callable[[], np.ndarray]

    def steps(self) -> np.ndarray:
        """How many float32 numbers lie between the prediction and the array: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
        away = _rank(self.array) - _rank(self.predict().reshape(self.array.shape))
        folded: np.ndarray = np.where(away < 0, -2 * away - 1, 2 * away)
        return folded.astype(np.int32)


def _rank(array: np.ndarray) -> np.ndarray:
    """The place of each number in the order of all float32 numbers; 0 for 0."""
    bits = np.ascontiguousarray(array, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def forward(op: dict[str, Any], inputs: list[np.ndarray]) -> np.ndarray | None:
    """The output that follows from the inputs, each with a batch axis of 1, channels last; None for an op that rounds."""
    if op["kind"] == "elementwise" and op["function"] in ("relu", "linear"):
        return np.maximum(inputs[0], 0) if op["function"] == "relu" else inputs[0]
    if op["kind"] == "move":
        flat = np.concatenate([one.reshape(-1) for one in inputs])
        return flat if op["index"] is None else np.where(op["index"] < 0, 0, flat[op["index"]])
    if op["kind"] == "maxpool" and inputs[0].ndim == 4:
        x = inputs[0]
        return np.array([[x[0, a:b, c:d].max(axis=(0, 1)) for c, d in op["columns"]] for a, b in op["rows"]])
    return None


def backward(op: dict[str, Any], x: np.ndarray, dy: np.ndarray) -> np.ndarray | None:
    """The gradient at the op's one input x; None for an op that rounds."""
    if op["kind"] == "elementwise" and op["function"] in ("relu", "linear"):
        return dy * (x > 0) if op["function"] == "relu" else dy
    if op["kind"] == "move" and op["index"] is None:
        return dy
    if op["kind"] == "maxpool" and x.ndim == 4:
        dx = np.zeros_like(x)
        dy = dy.reshape(len(op["rows"]), len(op["columns"]), -1)
        channels = np.arange(x.shape[3])
        for (oy, (a, b)), (ox, (c, d)) in product(enumerate(op["rows"]), enumerate(op["columns"])):
            argmax = x[0, a:b, c:d].reshape(-1, x.shape[3]).argmax(axis=0)
            dx[0, a + argmax // (d - c), c + argmax % (d - c), channels] += dy[oy, ox]
        return dx
    return None


def conv_forward(op: dict[str, Any], x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(OH, OW, C_out): bias + sum over ky, kx, ci, added in this order, of x * kernel.

    Args:
        x: (H, W, C_in). kernel: (KH, KW, C_in/groups, C_out).
    """
    window = _window(op)
    CG, C_out = kernel.shape[2:]
    y = np.zeros((*window.output, C_out))
    y += 0.0 if bias is None else bias
    for ky, kx, ci in product(*map(range, kernel.shape[:3])):
        (rows, from_rows), (columns, from_columns) = _inside(window, (ky, kx), x.shape)
        weights = kernel[ky, kx, ci].reshape(window.groups, -1).astype(np.float64)
        taken = x[from_rows, from_columns, ci::CG].astype(np.float64)
        y[rows, columns] += (taken[..., None] * weights).reshape(*taken.shape[:2], C_out)
    return y.astype(np.float32)


def conv_kernel_gradient(op: dict[str, Any], x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """(KH, KW, C_in/groups, C_out): the sum over oy, ox, added in this order, of x * dy."""
    window = _window(op)
    KH, KW = window.size
    top, _, left, _ = window.pads
    C_in, C_out = x.shape[2], dy.shape[2]
    dkernel = np.zeros((KH, KW, C_in // window.groups, C_out))
    for oy, ox in product(*map(range, window.output)):
        ys = oy * window.strides[0] - top + np.arange(KH) * window.dilation[0]
        xs = ox * window.strides[1] - left + np.arange(KW) * window.dilation[1]
        kys, kxs = (np.flatnonzero((at >= 0) & (at < size)) for at, size in zip((ys, xs), x.shape))
        patch = x[np.ix_(ys[kys], xs[kxs])].reshape(len(kys), len(kxs), window.groups, -1, 1).astype(np.float64)
        added = patch * dy[oy, ox].reshape(window.groups, 1, -1)
        dkernel[np.ix_(kys, kxs)] += added.swapaxes(2, 3).reshape(len(kys), len(kxs), -1, C_out)
    return dkernel.astype(np.float32)


def _window(op: dict[str, Any]) -> Window:
    return Window(**{name: op[name] for name in Window._fields})


def _inside(window: Window, tap: tuple[int, int], image: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Of rows and of columns: the outputs at which a tap of the window lies on the image, and where it lies there."""
    found = []
    for axis, pad in ((0, window.pads[0]), (1, window.pads[2])):
        stride, at = window.strides[axis], tap[axis] * window.dilation[axis] - pad
        first = max(0, -(at // stride))
        last = min(window.output[axis], (image[axis] - 1 - at) // stride + 1)
        start = first * stride + at
        found.append((slice(first, max(first, last)), slice(start, start + max(0, last - first) * stride, stride)))
    return found
