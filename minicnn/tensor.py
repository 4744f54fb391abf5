"""What calling a layer, a model or a loss on arrays returns: a NumPy array that also has `.numpy()`.

Code written for Keras says `model(x).numpy()`; code written for NumPy says `model(x) + 1`.
Both work. Training never makes one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import backends


class Tensor(np.ndarray):
    """A `numpy.ndarray` with Keras's `numpy()` method."""

    def numpy(self) -> np.ndarray:
        """The same values as a plain `numpy.ndarray`."""
        return np.asarray(self)


def as_tensor(value: Any) -> Any:
    """An array of the current backend, or a scalar, as a `Tensor`; lists and dicts element by element."""
    if isinstance(value, (list, tuple)):
        return type(value)(as_tensor(item) for item in value)
    if isinstance(value, dict):
        return {key: as_tensor(item) for key, item in value.items()}
    return np.asarray(backends.to_numpy(value)).view(Tensor)
