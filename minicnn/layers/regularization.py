"""Dropout."""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import registry
from minicnn.backends import ops
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.base import Layer
from minicnn.seeds import SeedGenerator


@registry.register("layer")
class Dropout(Layer):
    """In training, each element of y is 0 with probability `rate` and x / (1 - rate) otherwise; in inference y = x.

    Args:
        rate: in [0, 1].
        noise_shape: None; Keras's way to drop whole axes is not supported.
        seed: of the masks; default from `set_random_seed`.

    Source: Srivastava et al. 2014, JMLR 15.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("rate", "seed", "noise_shape")

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate <= 1:
            raise ValueError(
                f"Invalid value received for argument `rate`. Expected a float value between 0 and 1. Received: rate={rate}"
            )
        reject_unsupported(self.name, noise_shape=noise_shape)
        self.rate = rate
        self.noise_shape = None
        self.seed = seed
        if rate > 0:
            self.seed_generator = SeedGenerator(seed)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        if not training or self.rate == 0:
            return x, None
        key = self.seed_generator.next_key()
        return self._dropped(ops.dropout_forward, x, key), key

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return (dy if saved is None else self._dropped(ops.dropout_backward, dy, saved)), ()

    def _dropped(self, op: Any, x: Any, key: Any) -> Any:
        # With rate 1 every element is 0, and 1 / (1 - rate) would be infinite.
        return ops.rescale(x, 0.0, 0.0) if self.rate == 1 else op(x, self.rate, key)
