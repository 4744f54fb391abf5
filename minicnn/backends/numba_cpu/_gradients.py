"""What the second process does that `_ahead` starts: compile the gradients of a convolution."""

from __future__ import annotations

import numpy as np

from minicnn.backends.numba_cpu import conv, winograd
from minicnn.backends.types import window_over


def compile_gradients() -> None:
    """Call them by both algorithms, on an image of zeros."""
    dense, strided = (window_over((9, 9), (3, 3), (step, step), "valid") for step in (1, 2))
    x, kernel = np.zeros((1, 9, 9, 4), np.float32), np.zeros((3, 3, 4, 4), np.float32)
    dy, strided_dy = (np.zeros((1, *window.output, 4), np.float32) for window in (dense, strided))
    winograd.backward(dy, x, kernel, dense, None, None, None, True)  # the first that a step asks for: of the last layer
    conv.conv2d_backward(strided_dy, x, kernel, strided)
