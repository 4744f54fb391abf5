"""Checks of the exercises of `lesson_fast_convolution.py`."""

import numpy as np

from _exercises import check_function
from minicnn.backends.numba_cpu import _transforms
from minicnn.backends.reference.im2col import im2col
from minicnn.layers import Conv2D


def check_1(answer):
    """How many bytes im2col copies for one image, stride 1, no padding, float32."""

    def by_array(height, width, channels, kernel):
        image = np.zeros((1, height, width, channels), "float32")
        return im2col(image, Conv2D(1, kernel).window_over(image.shape)).nbytes

    check_function(
        1,
        answer,
        right=by_array,
        cases=[(8, 8, 3, 3), (9, 7, 4, 5), (6, 6, 1, 1)],
        why=[
            (lambda *a: by_array(*a) // 4, "A float32 has four bytes."),
            (lambda H, W, C, K: 4 * H * W * C * K * K, "A window that would hang over the edge makes no row."),
        ],
    )


def check_2(answer):
    """Where in the flat image (row by row, channels side by side) the window of output pixel (oy, ox) begins."""

    def by_counting(oy, ox, width, channels, stride):
        numbered = np.arange(40 * width * channels).reshape(40, width, channels)  # each number is its own place
        return numbered[oy * stride, ox * stride, 0]

    check_function(
        2,
        answer,
        right=by_counting,
        cases=[(0, 0, 9, 3, 1), (2, 1, 9, 3, 1), (3, 2, 7, 4, 2)],
        why=[
            (lambda oy, ox, W, C, S: oy * W + ox, "A pixel is as many numbers as it has channels."),
            (lambda oy, ox, W, C, S: (oy * W + ox) * C, "The window moves by the stride."),
        ],
    )


def check_3(answer):
    """How many times fewer multiplications Winograd has, for m×m outputs of an r×r kernel from a tile of 6×6."""

    def by_matrices(m, r):
        AT, G, BT = _transforms.matrices(r)
        return len(AT) ** 2 * len(G[0]) ** 2 / len(BT) ** 2

    check_function(
        3,
        answer,
        right=by_matrices,
        cases=[(4, 3), (3, 4), (2, 5)],
        why=[(lambda m, r: m * r / 6, "That is the answer in one dimension; tiles have two.")],
    )
