"""Digits: 1,797 real scans of handwritten digits, 8x8 pixels, that come with scikit-learn.

Needs no download. Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits",
UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49 (its test part).
"""

from __future__ import annotations

import numpy as np

from minicnn.data.resize import resize
from minicnn.datasets._store import Arrays, Source

CLASS_NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

SOURCE: Source | None = None  # nothing to look for or to download

_BRIGHTEST = 16  # a scan counts the ink in 4x4 dots
_TEST_SHARE = 5  # every fifth scan of a digit is for testing


def load_data(as_rgb32: bool = False) -> Arrays:
    """The digits, as (8, 8, 1) or, for models that want CIFAR's shape, as (32, 32, 3) images.

    Args:
        as_rgb32: scale the scans up to 32x32 pixels (bilinear) and repeat them in three channels.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of values 0 to 255, uint8 labels of shape (N,).
        The split is fixed: of each digit, every fifth scan is for testing (1,442 and 355 scans).
    """
    from sklearn.datasets import load_digits

    scans, y = load_digits(return_X_y=True)
    images = np.asarray(scans).reshape(-1, 8, 8, 1) * (255 / _BRIGHTEST)
    if as_rgb32:
        images = resize(images, (32, 32)).repeat(3, axis=-1)
    x = np.rint(images).astype(np.uint8)
    y = np.asarray(y).astype(np.uint8)
    # how many scans of the same digit come before each one
    rank = np.sum((y[:, None] == y) & np.tri(len(y), k=-1, dtype=bool), axis=1)
    test = rank % _TEST_SHARE == _TEST_SHARE - 1
    return (x[~test], y[~test]), (x[test], y[test])
