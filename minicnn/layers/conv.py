"""Convolution layers."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import activations, registry, regularizers, shapes
from minicnn.backends import ops
from minicnn.backends.types import Window, window_over
from minicnn.layers.activation import activate, activate_backward
from minicnn.layers.affine import Affine
from minicnn.layers.arguments import (
    defined_channels,
    output_image,
    reject_unsupported,
    standardize_data_format,
    standardize_padding,
)
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape

__all__ = ["Conv2D", "Convolution2D"]


@registry.register("layer", "Convolution2D")
class Conv2D(Affine):
    """2-D convolution: y = activation(x * kernel + bias).

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: an int, or (height, width). Only one of strides and dilation_rate may exceed 1.
        padding: "valid" (none) or "same" (TensorFlow's: ceil(size / stride) output pixels, the odd zero after).
        data_format: None or "channels_last".
        groups: into how many groups the channels are cut: C_in and C_out must be multiples of it. More than one is
            computed by the reference backend's lines, at their speed.
        activation, use_bias, kernel_initializer, ...: see `Affine`.

    Input (N, H, W, C_in), output (N, OH, OW, C_out); kernel (KH, KW, C_in/groups, C_out), bias (C_out,).

    Raises:
        ValueError: for arguments out of range, and for an input smaller than the kernel ("valid").
    """

    _own_arguments: ClassVar[tuple[str, ...]] = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "groups",
    )

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.filters = filters
        self.kernel_size = shapes.pair(kernel_size, "kernel_size")
        self.strides = shapes.pair(strides, "strides")
        self.padding = standardize_padding(padding)
        self.data_format = standardize_data_format(data_format, self.name)
        self.dilation_rate = shapes.pair(dilation_rate, "dilation_rate")
        self.groups = groups
        self.input_spec = InputSpec(min_ndim=4)
        if isinstance(filters, bool) or not hasattr(filters, "__index__") or filters <= 0:
            raise ValueError(
                f"Invalid value for argument `filters`. Expected a strictly positive value. Received filters={filters!r}."
            )
        if groups <= 0:
            raise ValueError(f"The number of groups must be a positive integer. Received: groups={groups}.")
        if filters % groups != 0:
            raise ValueError(
                "The number of filters must be evenly divisible by the number of groups. "
                f"Received: groups={groups}, filters={filters}."
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides > 1` not supported in conjunction with `dilation_rate > 1`. "
                f"Received: strides={self.strides} and dilation_rate={self.dilation_rate}"
            )
        reject_unsupported(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # an input that does not fit is refused before there are weights
        C_in = defined_channels(input_shape, self.name)
        if C_in % self.groups != 0:
            raise ValueError(
                "The number of input channels must be evenly divisible by the number of groups. Received "
                f"groups={self.groups}, but the input has {C_in} channels (full input shape is {input_shape}). "
                f"Layer: '{self.name}'."
            )
        self._add_kernel_and_bias((*self.kernel_size, C_in // self.groups, int(self.filters)))
        self.input_spec = InputSpec(min_ndim=4, axes={-1: C_in})
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        kernel_shape = (*self.kernel_size, input_shape[-1], self.filters)  # as Keras's messages say it
        if len(input_shape) != 4:
            raise ValueError(
                "Kernel shape must have the same length as input, but received "
                f"kernel of shape {kernel_shape} and input of shape {tuple(input_shape)}."
            )
        image = output_image(input_shape[1:3], self.kernel_size, self.strides, self.padding, self.dilation_rate)
        if 0 in image:
            raise ValueError(
                f"Computed output size would be zero or negative. Received `inputs shape={tuple(input_shape)}`, "
                f"`kernel shape={kernel_shape}`, `dilation_rate={self.dilation_rate}`, "
                f"`strides={self.strides}`, `padding={self.padding}`. Layer: '{self.name}'."
            )
        return (input_shape[0], *image, self.filters)

    def window_over(self, input_shape: Shape) -> Window:
        """How the kernel slides over images (N, H, W, C).

        Raises:
            ValueError: if it does not fit.
        """
        window = window_over(input_shape[1:3], self.kernel_size, self.strides, self.padding, self.dilation_rate, self.groups)
        if min(window.output) < 1:
            self.compute_output_shape(input_shape)  # raises
        return window

    def forward(self, x: Any, training: bool, relu: bool = False, pool: Any = None) -> tuple[Any, Any]:
        """The output, and what `backward` will read.

        Args:
            relu, pool: what a plan joined to this layer: a ReLU behind it, and a `MaxPooling2D` behind that.
        """
        window = self.window_over(x.shape)
        pool_window = None if pool is None else pool.window_over((x.shape[0], *window.output, self.filters))
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        # z = x * kernel + bias;  y = activation(z), pooled
        y, argmax = ops.conv2d_forward(x, self.kernel.value, bias, window, relu, pool_window)
        residuals = x, window, y if relu else None, pool_window, argmax
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, y, training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x, window, y, pool_window, argmax = residuals
        dz = activate_backward(activation, dy, kept)
        dx, dkernel, dbias = ops.conv2d_backward(dz, x, self.kernel.value, window, y, pool_window, argmax, need_dx)
        return dx, (dkernel,) if self.bias is None else (dkernel, dbias)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return 2 * prod(output_shape[1:]) * prod(self.kernel_size) * input_shape[-1] // self.groups  # type: ignore[operator, arg-type]

    def algorithm(self, input_shape: Shape) -> str:
        if None in input_shape:
            return "depends on the image"
        kernel_shape = (*self.kernel_size, input_shape[-1] // self.groups, self.filters)  # type: ignore[operator]
        return ops.conv2d_algorithm(input_shape, kernel_shape, self.window_over(input_shape))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"activity_regularizer": regularizers.serialize(self.activity_regularizer)}


Convolution2D = Conv2D
