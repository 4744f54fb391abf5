"""Mirror images that come every other epoch, instead of by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import config

__all__ = ["alternating_flip"]


def alternating_flip(images: Any, indices: Any, epoch: int | None = None, seed: int = 0) -> np.ndarray:
    """Images, each of them mirrored from left to right in every other epoch; a hash of its index says in which.

    Flipped at random, half of the images look in an epoch as in the one before. In turns, two epochs show every image and
    its mirror image. A pipeline that knows which image is which:

        places = np.arange(len(x_train))
        batches = Dataset.from_tensor_slices((places, x_train, y_train)).shuffle(len(places)).batch(128)
        batches = batches.map(lambda places, x, y: (alternating_flip(x, places), y))

    Args:
        images: (N, H, W, C).
        indices: (N,), each image's number in the data set.
        epoch: from 0; by default that of the `fit` that reads the pipeline, and 0 elsewhere.
        seed: of the hash.

    Returns:
        The mirrored and the other images, a new array of the type of `images`.

    Raises:
        ValueError: for images of another rank, or another number of indices.

    Source: Jordan 2024, arXiv:2404.00498; the hash: SplitMix64, Steele et al. 2014, doi:10.1145/2660193.2660195.

    Examples:
        >>> x = np.arange(2.0).reshape(1, 1, 2, 1)
        >>> [alternating_flip(x, [1], epoch)[0, 0, :, 0].tolist() for epoch in range(3)]
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    images, indices = np.asarray(images), np.asarray(indices)
    if images.ndim != 4 or indices.shape != images.shape[:1]:
        raise ValueError(
            "`images` must be (N, H, W, C), and `indices` (N,). "
            f"Received: images.shape={images.shape}, indices.shape={indices.shape}"
        )
    if epoch is None:
        running = config.running_pass.get()
        epoch = running[0] if running else 0
    mirrored = (_bits(indices, seed) + np.uint64(epoch)) % np.uint64(2) == 1
    flipped = images.copy()
    flipped[mirrored] = images[mirrored, :, ::-1]
    return flipped


def _bits(indices: np.ndarray, seed: int) -> np.ndarray:
    """For each index 0 or 1, half of them each."""
    z = (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)  # modulo 2**64
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z >> np.uint64(63)
