"""What layers over space have in common: images, signals or volumes, channels last or first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from minicnn.layers.axes import moved_back, moved_last
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape


class Spatial(Layer):
    """Base of layers over images (N, H, W, C), over signals (N, L, C), which are images of height 1, and over volumes
    (N, D, H, W, C), which have ops of their own (`minicnn.backends.volumes`).

    With `data_format="channels_first"` they are given as (N, C, H, W), (N, C, L) and (N, C, D, H, W). Ops know channels
    last alone: each pass begins with `images` and ends with `as_given`, which cost nothing but where channels come first,
    and then a transposed copy each.
    """

    rank: ClassVar[int] = 2  # how many axes space has: 2 for images, 1 for signals, 3 for volumes
    data_format: str = "channels_last"

    @property
    def _channels_first(self) -> bool:
        return self.data_format == "channels_first"

    def images(self, x: Any) -> Any:
        """What the layer was given, as images (N, H, W, C), or as volumes (N, D, H, W, C)."""
        if self._channels_first:
            x = moved_last(x, [1])
        return x[:, None] if self.rank == 1 else x

    def as_given(self, y: Any) -> Any:
        """Images, or volumes, as what the layer is given: `images` undone."""
        if self.rank == 1:
            y = y[:, 0]
        return moved_back(y, [1]) if self._channels_first else y

    def image_shape(self, shape: Shape) -> tuple[Any, ...]:
        """The shape (N, H, W, C), or (N, D, H, W, C), of `images` of an array of `shape`."""
        N, *rest = shape
        space, C = (rest[1:], rest[0]) if self._channels_first else (rest[:-1], rest[-1])
        return N, *self._of_image(space), C

    def given_shape(self, shape: Shape) -> Shape:
        """The shape of `as_given` of images, or volumes, of `shape`."""
        N, *space, C = shape
        space = space[-self.rank :]
        return (N, C, *space) if self._channels_first else (N, *space, C)

    def _of_image(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """A number for each axis of space, such as a window's size, as (height, width), or (depth, height, width)."""
        return (1, *values) if self.rank == 1 else tuple(values)
