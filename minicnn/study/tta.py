"""Test-time augmentation: the mean of what a model says of a picture mirrored and moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["predict_tta"]


def predict_tta(model: Any, x: Any, *, mirror: bool = True, translate: int = 1, batch_size: int = 256) -> np.ndarray:
    """Predictions averaged over views of each image: as it is and moved along the diagonal, and each of these mirrored.

    Half of the weight lies on the image in its place, half on the two that are moved, as in airbench (Jordan 2024, "94% on
    CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, section 3). What is moved in is the reflected border.

    Args:
        model: of one input and one output, of probabilities or logits.
        x: (N, H, W, C).
        mirror: whether to take views from left to right, too.
        translate: by how many pixels to move up and left, and down and right; 0 for not at all.
        batch_size: of `predict`.

    Returns:
        (N, ...), as `model.predict(x)`.

    Raises:
        ValueError: for x of another rank, or a `translate` that is negative or not smaller than the image.

    Examples:
        >>> import numpy as np
        >>> class FirstPixel:
        ...     def predict(self, x, batch_size, verbose):
        ...         return x[:, 0, 0]
        >>> x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
        >>> float(predict_tta(FirstPixel(), x, translate=0)[0, 0])  # of 1 and its mirror image 2
        1.5
    """
    x = np.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"`x` must be images (N, H, W, C). Received an array of shape {x.shape}.")
    if not 0 <= translate < min(x.shape[1:3]):
        raise ValueError(f"`translate` must be at least 0 and less than the image's {x.shape[1:3]}. Received: {translate}")
    total: Any = 0.0
    for view, share in _moved(x, translate):
        views = [view, view[:, :, ::-1]] if mirror else [view]
        for seen in views:
            total = total + model.predict(seen, batch_size=batch_size, verbose=0) * np.float32(share / len(views))
    return np.asarray(total)


def _moved(x: np.ndarray, translate: int) -> Iterator[tuple[np.ndarray, float]]:
    """The images in their place and moved, with their shares of the mean."""
    yield x, 0.5 if translate else 1.0
    if translate:
        _, H, W, _ = x.shape
        padded = np.pad(x, [(0, 0), (translate, translate), (translate, translate), (0, 0)], mode="reflect")
        for start in (0, 2 * translate):
            yield padded[:, start : start + H, start : start + W], 0.25
