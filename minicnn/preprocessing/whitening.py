"""A first convolution that is computed from the images instead of learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["whitening_kernel"]


def whitening_kernel(images: Any, kernel_size: int = 2, epsilon: float = 5e-4, both_signs: bool = True) -> np.ndarray:
    """The kernel of a convolution whose maps are uncorrelated and of variance 1 over the images' patches.

    With the patches' covariance V diag(variances) V^T, filter i is the eigenvector V[:, i] / sqrt(variances[i] + epsilon),
    the largest variance first: principal components, scaled. A convolution of it (without a bias of the mean) is a layer
    that need not be trained:

        kernel = whitening_kernel(x_train[:5000])
        layer = Conv2D(kernel.shape[-1], 2, trainable=False)
        layer.build((None, *x_train.shape[1:]))
        layer.set_weights([kernel, np.zeros(kernel.shape[-1])])

    Args:
        images: (N, H, W, C); some thousands tell the covariance.
        kernel_size: of the patches.
        epsilon: added to the variances, so that directions with next to no variance are not blown up.
        both_signs: append each filter's negative, which a ReLU or a GELU behind needs to pass both halves on.

    Returns:
        float32 (kernel_size, kernel_size, C, filters), filters = kernel_size * kernel_size * C, twice that with `both_signs`.

    Raises:
        ValueError: for images of another rank, or smaller than a patch.

    Source: Page 2018, "How to Train Your ResNet", part 8; Jordan 2024, arXiv:2404.00498, section 3.1.

    Examples:
        >>> x = np.random.default_rng(0).uniform(size=(50, 8, 8, 3))
        >>> whitening_kernel(x).shape
        (2, 2, 3, 24)
    """
    images = np.asarray(images)
    if images.ndim != 4 or min(images.shape[1:3]) < kernel_size or len(images) == 0:
        raise ValueError(
            f"`images` must be (N, H, W, C) with patches of {kernel_size}x{kernel_size}. Received shape {images.shape}."
        )
    windows = np.lib.stride_tricks.sliding_window_view(images, (kernel_size, kernel_size), axis=(1, 2))
    C = images.shape[3]
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel_size * kernel_size * C).astype(np.float64)
    variances, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, bias=True).reshape(patches.shape[1], -1))
    filters = (vectors / np.sqrt(variances + epsilon))[:, ::-1]
    if both_signs:
        filters = np.concatenate([filters, -filters], axis=1)
    return filters.reshape(kernel_size, kernel_size, C, -1).astype(np.float32)
