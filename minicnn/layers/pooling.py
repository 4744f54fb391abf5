"""Pooling layers: over windows, and over whole images."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import registry, shapes
from minicnn.backends import ops
from minicnn.backends.types import Window, window_over
from minicnn.layers.arguments import output_image, standardize_data_format, standardize_padding
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape

__all__ = [
    "AveragePooling2D",
    "AvgPool2D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "MaxPool2D",
    "MaxPooling2D",
]


class Pooling2D(Layer):
    """Base of the layers that reduce windows.

    Args:
        pool_size: the window, an int or (height, width).
        strides: likewise; None for `pool_size`.
        padding: "valid" or "same"; padding is never a maximum nor counts in a mean.
        data_format: None or "channels_last".

    Input (N, H, W, C), output (N, OH, OW, C).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("pool_size", "padding", "strides", "data_format")

    def __init__(
        self,
        pool_size: Any = (2, 2),
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = shapes.pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else shapes.pair(strides, "strides")
        self.padding = standardize_padding(padding)
        self.data_format = standardize_data_format(data_format, self.name)
        self.input_spec = InputSpec(ndim=4)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image = output_image(input_shape[1:3], self.pool_size, self.strides, self.padding)
        if 0 in image:
            raise ValueError(
                f"Computed output size would be zero or negative. Received: `inputs.shape={tuple(input_shape)}`, "
                f"`pool_size={self.pool_size}`, `strides={self.strides}`, `padding={self.padding}`. Layer: '{self.name}'."
            )
        return (input_shape[0], *image, input_shape[3])

    def window_over(self, input_shape: Shape) -> Window:
        """How the window slides over images (N, H, W, C).

        Raises:
            ValueError: if it does not fit.
        """
        window = window_over(input_shape[1:3], self.pool_size, self.strides, self.padding)
        if min(window.output) < 1:
            self.compute_output_shape(input_shape)  # raises
        return window

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return prod(output_shape[1:]) * prod(self.pool_size)  # type: ignore[arg-type]


@registry.register("layer", "MaxPool2D")
class MaxPooling2D(Pooling2D):
    """The largest value of each window. Arguments and shapes: see `Pooling2D`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        window = self.window_over(x.shape)
        y, argmax = ops.maxpool2d_forward(x, window)
        return y, (argmax, x.shape, window)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        argmax, x_shape, window = saved
        return ops.maxpool2d_backward(dy, argmax, x_shape, window), ()


@registry.register("layer", "AvgPool2D")
class AveragePooling2D(Pooling2D):
    """The mean of each window. Arguments and shapes: see `Pooling2D`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        window = self.window_over(x.shape)
        return ops.avgpool2d_forward(x, window), (x.shape, window)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x_shape, window = saved
        return ops.avgpool2d_backward(dy, x_shape, window), ()


class GlobalPooling2D(Layer):
    """Base of the layers that reduce whole images.

    Args:
        data_format: None or "channels_last".
        keepdims: whether the output keeps its axes of extent 1.

    Input (N, H, W, C), output (N, C), or (N, 1, 1, C) with `keepdims`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "keepdims")

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.keepdims = bool(keepdims)
        self.input_spec = InputSpec(ndim=4)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, _, _, C = input_shape
        return (N, 1, 1, C) if self.keepdims else (N, C)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return prod(input_shape[1:])  # type: ignore[arg-type]


@registry.register("layer", "GlobalMaxPool2D")
class GlobalMaxPooling2D(GlobalPooling2D):
    """The largest value of each channel of each image. Arguments and shapes: see `GlobalPooling2D`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        y, argmax = ops.global_maxpool2d_forward(x)
        return y.reshape(self.compute_output_shape(x.shape)), (argmax, x.shape)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        argmax, x_shape = saved
        return ops.global_maxpool2d_backward(dy.reshape(argmax.shape), argmax, x_shape), ()


@registry.register("layer", "GlobalAvgPool2D")
class GlobalAveragePooling2D(GlobalPooling2D):
    """The mean of each channel of each image. Arguments and shapes: see `GlobalPooling2D`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        y = ops.global_avgpool2d_forward(x)
        return y.reshape(self.compute_output_shape(x.shape)), x.shape

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        N, _, _, C = x_shape = saved
        return ops.global_avgpool2d_backward(dy.reshape(N, C), x_shape), ()


MaxPool2D = MaxPooling2D
AvgPool2D = AveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalAvgPool2D = GlobalAveragePooling2D
