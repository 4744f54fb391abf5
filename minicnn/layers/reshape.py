"""Layers without weights that reshape or scale their input."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, config, registry, serialization
from minicnn.backends import ops
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.axes import moved_back, moved_last
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape


@registry.register("layer")
class Flatten(Layer):
    """(N, ...) to (N, product of the rest); (N,) to (N, 1).

    Args:
        data_format: "channels_last" or "channels_first", of which the channels are put last; None for
            `config.image_data_format()`.
    """

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format",)

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.input_spec = InputSpec(min_ndim=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else prod(rest))  # type: ignore[arg-type]

    @property
    def _axes(self) -> list[int]:
        """Which axes are put last."""
        return [1] if self.data_format == "channels_first" else []

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        axes = self._axes if x.ndim > 1 else []
        moved = moved_last(x, axes)
        return moved.reshape(self.compute_output_shape(x.shape)), (moved.shape, axes)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        moved_shape, axes = saved
        return moved_back(dy.reshape(moved_shape), axes), ()


@registry.register("layer")
class Reshape(Layer):
    """(N, ...) to (N, *target_shape).

    Args:
        target_shape: without the batch axis; one size may be -1, which is inferred.

    Raises:
        ValueError: for sizes below -1 or several -1; on a call, where input and output have different numbers of elements.
    """

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("target_shape",)

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        if any(size < -1 for size in self.target_shape):
            raise ValueError(
                "Each dimension in `target_shape` must be a non-negative integer, or `-1` for a single unknown dimension. "
                f"Received: target_shape={self.target_shape}."
            )
        if self.target_shape.count(-1) > 1:
            raise ValueError(
                "There must be at most one unknown dimension (-1) in `target_shape`. "
                f"Received: target_shape={self.target_shape}."
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *rest = input_shape
        if None in rest:
            return (N, *(None if size == -1 else size for size in self.target_shape))
        total = prod(rest)  # type: ignore[arg-type]
        known = prod(size for size in self.target_shape if size != -1)
        if -1 not in self.target_shape and total == known:
            return (N, *self.target_shape)
        if -1 not in self.target_shape or known == 0 or total % known:
            raise ValueError(
                f"Layer '{self.name}': The total size of the tensor must be unchanged. "
                f"Received: input_shape={tuple(rest)}, target_shape={self.target_shape}"
            )
        return (N, *(total // known if size == -1 else size for size in self.target_shape))

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return x.reshape(self.compute_output_shape(x.shape)), x.shape

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return dy.reshape(saved), ()


@registry.register("layer")
class Permute(Layer):
    """The axes of each element of the batch in another order.

    Args:
        dims: the order, of the numbers from 1 to the number of axes; 1 is the first behind the batch axis.
    """

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("dims",)

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must be consecutive and "
                f"start from 1. Received dims={dims}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return backends.asarray(x.transpose(0, *self.dims)), None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        order = (0, *self.dims)
        return backends.asarray(dy.transpose([order.index(axis) for axis in range(dy.ndim)])), ()


@registry.register("layer")
class Identity(Layer):
    """y = x."""

    supports_masking = True

    second_order = "linear"

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return x, None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return dy, ()


@registry.register("layer")
class Rescaling(Layer):
    """y = x * scale + offset, in training and inference alike.

    Args:
        scale, offset: numbers, or one number a channel.

    Examples:
        >>> Rescaling(1 / 255)([[0, 255]]).tolist()
        [[0.0, 1.0]]
    """

    supports_masking = True

    second_order = "linear"

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset

    @property
    def _by_channel(self) -> bool:
        return np.ndim(self.scale) > 0 or np.ndim(self.offset) > 0

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        if not self._by_channel:
            return ops.rescale(x, float(self.scale), float(self.offset)), None
        x = moved_last(x, self._channel_axes(x))
        # Batch normalization with the statistics 0 and 1: y = scale * (x - 0) / sqrt(1) + offset
        scale, offset, zeros, ones = (
            backends.asarray(np.broadcast_to(value, x.shape[-1:]), x.dtype) for value in (self.scale, self.offset, 0, 1)
        )
        y = ops.batchnorm_inference(x, scale, offset, zeros, ones, 0.0)
        return moved_back(y, self._channel_axes(x)), (x, scale, zeros, ones)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        if saved is None:
            return ops.rescale(dy, float(self.scale), 0.0), ()
        x, scale, zeros, ones = saved
        axes = self._channel_axes(dy)
        dx = ops.batchnorm_inference_backward(moved_last(dy, axes), x, scale, None, zeros, ones, 0.0)[0]
        return moved_back(dx, axes), ()

    @staticmethod
    def _channel_axes(x: Any) -> list[int]:
        """The channels' axis of images, where it is not the last."""
        return [-3] if config.image_data_format() == "channels_first" and x.ndim > 2 else []

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "scale": serialization.serialize(self.scale),
            "offset": serialization.serialize(self.offset),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return super().from_config(
            config | {name: serialization.deserialize(config[name]) for name in ("scale", "offset") if name in config}
        )
