"""Checks of the exercises of `lesson_augmentation_dropout.py`."""

import numpy as np

from _exercises import check, check_function
from minicnn.layers import Dropout


def check_1(answer):
    """What are the numbers that survive `Dropout(0.2)` multiplied by?"""
    check(
        1,
        answer,
        right=np.asarray(Dropout(0.2)(np.ones((1, 100), "float32"), training=True)).max(),
        why=[
            (1, "Then the mean would shrink: a fifth is gone."),
            (0.8, "That is the share that survives; the mean is to stay what it was."),
            (5, "That would be right if only a fifth survived."),
        ],
    )


def check_2(answer):
    """Dropout's way back. With dy at the layer's output, and kept = 1 where a number survived, else 0."""

    def by_slope(dy, kept, rate):
        """The layer is linear for one and the same mask: y_i = s · kept_i · x_i, with s taken from the layer itself."""
        scale = np.asarray(Dropout(rate)(np.ones((1, 1000), "float32"), training=True)).max()
        return dy * kept * scale

    check_function(
        2,
        answer,
        right=by_slope,
        cases=[(np.array([1.0, 2.0, -3.0]), np.array([1, 0, 1]), 0.5), (np.array([4.0, -1.0]), np.array([0, 1]), 0.25)],
        why=[
            (lambda dy, kept, rate: dy, "What was dropped had no part in the loss."),
            (lambda dy, kept, rate: dy * kept, "Forward, the survivors were scaled; what is the slope of that?"),
            (lambda dy, kept, rate: dy * kept * (1 - rate), "Forward, the survivors were made larger, not smaller."),
        ],
    )


def check_3(answer):
    """Shifts by -1, 0 or 1 pixel in each direction, mirrored left to right or not: how many images from one?"""
    picture = np.zeros((5, 5))
    picture[1:4, 1:3] = [[1, 2], [3, 4], [5, 6]]  # nothing at the edges that a shift could push out
    versions = {
        np.roll(mirrored, (down, right), (0, 1)).tobytes()
        for mirrored in (picture, picture[:, ::-1])
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    check(
        3,
        answer,
        right=len(versions),
        why=[
            (9, "These are the shifts; each of them can be mirrored."),
            (10, "Diagonal shifts count, and each shift can be mirrored."),
            (8, "One of the shifts is by nothing; and each can be mirrored."),
        ],
    )
