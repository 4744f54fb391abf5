"""Pooling layers: over windows, over as many as are asked for, and over whole images; the same of signals and volumes."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import registry, shapes
from minicnn.backends import ops
from minicnn.backends.volumes import (
    adaptive_avgpool3d_backward,
    adaptive_avgpool3d_forward,
    adaptive_maxpool3d_backward,
    adaptive_maxpool3d_forward,
    avgpool3d_backward,
    avgpool3d_forward,
    maxpool3d_backward,
    maxpool3d_forward,
    window_over_space,
)
from minicnn.layers.arguments import output_image, standardize_data_format, standardize_padding
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.spatial import Spatial
from minicnn.layers.symbolic import Shape

__all__ = [
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
]


class Pooling(Spatial):
    """Base of the layers that reduce windows.

    Args:
        pool_size: the window, an int or (height, width); of a signal an int; of a volume (depth, height, width).
        strides: likewise; None for `pool_size`.
        padding: "valid" or "same"; padding is never a maximum nor counts in a mean.
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.

    Input (N, H, W, C), output (N, OH, OW, C); of signals (N, L, C), (N, OL, C); of volumes (N, D, H, W, C), (N, OD, OH, OW, C).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("pool_size", "padding", "strides", "data_format")

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = shapes.integers(pool_size, self.rank, "pool_size")
        self.strides = self.pool_size if strides is None else shapes.integers(strides, self.rank, "strides")
        self.padding = standardize_padding(padding)
        self.data_format = standardize_data_format(data_format, self.name)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *image, C = self.image_shape(input_shape)
        size = output_image(image, self._of_image(self.pool_size), self._of_image(self.strides), self.padding)
        if 0 in size:
            raise ValueError(
                f"Computed output size would be zero or negative. Received: `inputs.shape={tuple(input_shape)}`, "
                f"`pool_size={self.pool_size}`, `strides={self.strides}`, `padding={self.padding}`. Layer: '{self.name}'."
            )
        return self.given_shape((N, *size, C))

    def window_over(self, input_shape: Shape) -> Any:
        """How the window slides over what the layer is given: a `Window`, over volumes a `Window3D`.

        Raises:
            ValueError: if it does not fit.
        """
        _, *image, _ = self.image_shape(input_shape)
        window = window_over_space(tuple(image), self._of_image(self.pool_size), self._of_image(self.strides), self.padding)
        if min(window.output) < 1:
            self.compute_output_shape(input_shape)  # raises
        return window

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return prod(output_shape[1:]) * prod(self.pool_size)  # type: ignore[arg-type]


@registry.register("layer", "MaxPool2D")
class MaxPooling2D(Pooling):
    """The largest value of each window. Arguments and shapes: see `Pooling`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        window = self.window_over(x.shape)
        x = self.images(x)
        y, argmax = (ops.maxpool2d_forward if self.rank < 3 else maxpool3d_forward)(x, window)
        return self.as_given(y), (argmax, x.shape, window)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        argmax, x_shape, window = saved
        pool_back = ops.maxpool2d_backward if self.rank < 3 else maxpool3d_backward
        return self.as_given(pool_back(self.images(dy), argmax, x_shape, window)), ()


@registry.register("layer", "MaxPool1D")
class MaxPooling1D(MaxPooling2D):
    """The largest value of each window of a signal. Arguments and shapes: see `Pooling`."""

    rank = 1


@registry.register("layer", "MaxPool3D")
class MaxPooling3D(MaxPooling2D):
    """The largest value of each window of a volume. Arguments and shapes: see `Pooling`."""

    rank = 3


@registry.register("layer", "AvgPool2D")
class AveragePooling2D(Pooling):
    """The mean of each window. Arguments and shapes: see `Pooling`."""

    second_order = "linear"

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        window = self.window_over(x.shape)
        x = self.images(x)
        pool = ops.avgpool2d_forward if self.rank < 3 else avgpool3d_forward
        return self.as_given(pool(x, window)), (x.shape, window)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x_shape, window = saved
        pool_back = ops.avgpool2d_backward if self.rank < 3 else avgpool3d_backward
        return self.as_given(pool_back(self.images(dy), x_shape, window)), ()


@registry.register("layer", "AvgPool1D")
class AveragePooling1D(AveragePooling2D):
    """The mean of each window of a signal. Arguments and shapes: see `Pooling`."""

    rank = 1


@registry.register("layer", "AvgPool3D")
class AveragePooling3D(AveragePooling2D):
    """The mean of each window of a volume. Arguments and shapes: see `Pooling`."""

    rank = 3


class AdaptivePooling(Spatial):
    """Base of the layers that reduce as many windows as they are asked for, whatever the size of the image.

    Args:
        output_size: how many windows, an int or (height, width); of a signal an int; of a volume (depth, height, width).
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.

    Input (N, H, W, C), output (N, *output_size, C).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("output_size", "data_format")

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = (output_size,) * self.rank if isinstance(output_size, int) else output_size
        if not isinstance(sizes, (tuple, list)) or len(sizes) != self.rank:
            wanted = {1: "tuple of 1 integer", 2: "(height, width) tuple", 3: "(depth, height, width) tuple"}[self.rank]
            raise TypeError(
                f"`output_size` must be an integer or {wanted}. Received: {output_size} of type {type(output_size)}"
            )
        self.output_size = shapes.integers(sizes, self.rank, "output_size")
        self.data_format = standardize_data_format(data_format, self.name)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *_, C = self.image_shape(input_shape)
        return self.given_shape((N, *self._of_image(self.output_size), C))

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return prod(input_shape[1:])  # type: ignore[arg-type]


@registry.register("layer")
class AdaptiveAveragePooling2D(AdaptivePooling):
    """The mean of each window. Arguments and shapes: see `AdaptivePooling`."""

    second_order = "linear"

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        x = self.images(x)
        pool = ops.adaptive_avgpool2d_forward if self.rank < 3 else adaptive_avgpool3d_forward
        return self.as_given(pool(x, self._of_image(self.output_size))), x.shape

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x_shape = saved
        pool_back = ops.adaptive_avgpool2d_backward if self.rank < 3 else adaptive_avgpool3d_backward
        return self.as_given(pool_back(self.images(dy), x_shape)), ()


@registry.register("layer")
class AdaptiveAveragePooling1D(AdaptiveAveragePooling2D):
    """The mean of each window of a signal. Arguments and shapes: see `AdaptivePooling`."""

    rank = 1


@registry.register("layer")
class AdaptiveAveragePooling3D(AdaptiveAveragePooling2D):
    """The mean of each window of a volume. Arguments and shapes: see `AdaptivePooling`."""

    rank = 3


@registry.register("layer")
class AdaptiveMaxPooling2D(AdaptivePooling):
    """The largest value of each window. Arguments and shapes: see `AdaptivePooling`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        x = self.images(x)
        pool = ops.adaptive_maxpool2d_forward if self.rank < 3 else adaptive_maxpool3d_forward
        y, argmax = pool(x, self._of_image(self.output_size))
        return self.as_given(y), (argmax, x.shape)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        argmax, x_shape = saved
        pool_back = ops.adaptive_maxpool2d_backward if self.rank < 3 else adaptive_maxpool3d_backward
        return self.as_given(pool_back(self.images(dy), argmax, x_shape)), ()


@registry.register("layer")
class AdaptiveMaxPooling1D(AdaptiveMaxPooling2D):
    """The largest value of each window of a signal. Arguments and shapes: see `AdaptivePooling`."""

    rank = 1


@registry.register("layer")
class AdaptiveMaxPooling3D(AdaptiveMaxPooling2D):
    """The largest value of each window of a volume. Arguments and shapes: see `AdaptivePooling`."""

    rank = 3


class GlobalPooling(Spatial):
    """Base of the layers that reduce whole images, signals or volumes.

    Args:
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        keepdims: whether the output keeps its axes of extent 1.

    Input (N, H, W, C), output (N, C), or (N, 1, 1, C) with `keepdims`; of signals (N, L, C), (N, C), (N, 1, C). A volume
    (N, D, H, W, C) is one image to them, its slices one below the other.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "keepdims")

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.keepdims = bool(keepdims)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *image, C = self.image_shape(input_shape)
        return self.given_shape((N, *(1 for _ in image), C)) if self.keepdims else (N, C)

    def _one_image(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape (N, D*H, W, C) of volumes as images."""
        N, *rows, W, C = x_shape
        return N, prod(rows), W, C

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return prod(input_shape[1:])  # type: ignore[arg-type]


@registry.register("layer", "GlobalMaxPool2D")
class GlobalMaxPooling2D(GlobalPooling):
    """The largest value of each channel of each image. Arguments and shapes: see `GlobalPooling`."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        output_shape = self.compute_output_shape(x.shape)
        x = self.images(x)
        y, argmax = ops.global_maxpool2d_forward(x.reshape(self._one_image(x.shape)))
        return y.reshape(output_shape), (argmax, x.shape)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        argmax, x_shape = saved
        dx = ops.global_maxpool2d_backward(dy.reshape(argmax.shape), argmax, self._one_image(x_shape))
        return self.as_given(dx.reshape(x_shape)), ()


@registry.register("layer", "GlobalMaxPool1D")
class GlobalMaxPooling1D(GlobalMaxPooling2D):
    """The largest value of each channel of each signal. Arguments and shapes: see `GlobalPooling`."""

    rank = 1


@registry.register("layer", "GlobalMaxPool3D")
class GlobalMaxPooling3D(GlobalMaxPooling2D):
    """The largest value of each channel of each volume. Arguments and shapes: see `GlobalPooling`."""

    rank = 3


@registry.register("layer", "GlobalAvgPool2D")
class GlobalAveragePooling2D(GlobalPooling):
    """The mean of each channel of each image. Arguments and shapes: see `GlobalPooling`."""

    second_order = "linear"

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        output_shape = self.compute_output_shape(x.shape)
        x = self.images(x)
        return ops.global_avgpool2d_forward(x.reshape(self._one_image(x.shape))).reshape(output_shape), x.shape

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        N, *_, C = x_shape = saved
        dx = ops.global_avgpool2d_backward(dy.reshape(N, C), self._one_image(x_shape))
        return self.as_given(dx.reshape(x_shape)), ()


@registry.register("layer", "GlobalAvgPool1D")
class GlobalAveragePooling1D(GlobalAveragePooling2D):
    """The mean of each channel of each signal. Arguments and shapes: see `GlobalPooling`.

    With a mask (N, L), the mean of the steps that count; NaN where none does, as in Keras.
    """

    rank = 1
    supports_masking = True

    def masked_call(self, inputs: Any, mask: Any) -> Any:
        steps, channels = (1, 2) if self.data_format == "channels_last" else (2, 1)
        here = registry.operation("expand_dims")(registry.operation("cast")(mask, "bool"), channels)
        total, number = (
            registry.operation("sum")(one, steps, self.keepdims)
            for one in (registry.operation("where")(here, inputs, 0), registry.operation("cast")(here, self.dtype))
        )
        return registry.operation("divide")(total, number)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: there are no steps any more."""


@registry.register("layer", "GlobalAvgPool3D")
class GlobalAveragePooling3D(GlobalAveragePooling2D):
    """The mean of each channel of each volume. Arguments and shapes: see `GlobalPooling`."""

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D
