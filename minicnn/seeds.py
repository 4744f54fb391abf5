"""`SeedGenerator`: the key of a random layer, counted up once a use."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import config
from minicnn.backends import ops
from minicnn.variables import Variable


class SeedGenerator:
    """Draws the keys (seed, step) that dropout and augmentation turn into random numbers.

    Args:
        seed: an int in [0, 2**32); by default the next one of `config.next_seed`.
        name: for its state variable's path.

    Attributes:
        state: Variable, uint32 (2,): (seed, number of keys drawn). Saved with the model, so
            that training that is resumed draws what it would have drawn.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32):
            raise ValueError(f"Argument `seed` must be an integer in [0, 2**32). Received: seed={seed!r}")
        self.initial_seed = seed
        self.name = name or "seed_generator"
        state = np.array([config.next_seed() if seed is None else seed, 0], np.uint32)
        self.state = Variable(state, dtype="uint32", trainable=False, name="seed_generator_state", path=f"{self.name}/state")

    def next_key(self) -> Any:
        """The key of this use, uint32 (2,) on the backend; the next use gets another."""
        return ops.draw_key_(self.state.value)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        return cls(**config)
