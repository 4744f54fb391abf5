"""Depthwise convolution layers, and separable ones, which mix the channels afterwards."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import activations, registry
from minicnn.backends import ops
from minicnn.backends.types import window_over
from minicnn.layers.activation import activate, activate_backward
from minicnn.layers.arguments import defined_channels
from minicnn.layers.conv import Conv1D, Conv2D
from minicnn.layers.sliding import Sliding, check_filters
from minicnn.layers.symbolic import Shape
from minicnn.variables import Variable

__all__ = [
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
]


def _check_depth_multiplier(depth_multiplier: Any) -> None:
    if isinstance(depth_multiplier, bool) or not hasattr(depth_multiplier, "__index__") or depth_multiplier <= 0:
        raise ValueError(
            "Invalid value for argument `depth_multiplier`. Expected a strictly positive value. "
            f"Received depth_multiplier={depth_multiplier!r}."
        )


@registry.register("layer")
class DepthwiseConv2D(Sliding):
    """2-D depthwise convolution: each channel is convolved alone; y = activation(x * kernel + bias).

    Args:
        kernel_size, strides, dilation_rate: an int, or (height, width).
        padding: "valid" (none) or "same" (TensorFlow's: ceil(size / stride) output pixels, the odd zero after).
        depth_multiplier: how many outputs each channel has, M.
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        activation, use_bias, depthwise_initializer, ...: see `Affine`.

    Input (N, H, W, C), output (N, OH, OW, C*M); kernel (KH, KW, C, M), bias (C*M,).

    Raises:
        ValueError: for arguments out of range, and for an input smaller than the kernel ("valid").
    """

    second_order = "linear"

    _weighted = ("depthwise", "bias")
    _own_arguments: ClassVar[tuple[str, ...]] = (
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "data_format",
        "dilation_rate",
    )

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            (kernel_size, strides, padding, data_format, dilation_rate),
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.depth_multiplier = depth_multiplier
        _check_depth_multiplier(depth_multiplier)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # an input that does not fit is refused before there are weights
        C = defined_channels(self.image_shape(input_shape), self.name)
        self.kernel = self._add_weight_of("depthwise", (*self.kernel_size, C, self.depth_multiplier), "kernel")
        self._add_bias(C * self.depth_multiplier)
        self._expect_channels(C)
        self.built = True

    def _channels_out(self, C_in: Any) -> Any:
        return None if C_in is None else C_in * self.depth_multiplier

    def forward(self, x: Any, training: bool, relu: bool = False) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        window = self.window_over(x.shape)
        x = self.images(x)
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        # z = x * kernel + bias, channel by channel;  y = activation(z)
        y = ops.depthwise_conv2d_forward(x, self._of_images(self.kernel.value), bias, window, relu)
        residuals = x, window, y if relu else None
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, self.as_given(y), training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x, window, y = residuals
        dz = self.images(activate_backward(activation, dy, kept))
        dx, dkernel, dbias = ops.depthwise_conv2d_backward(dz, x, self._of_images(self.kernel.value), window, y, need_dx)
        dkernel = dkernel.reshape(self.kernel.shape)
        return self.as_given(dx) if need_dx else None, (dkernel,) if self.bias is None else (dkernel, dbias)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return 2 * prod(output_shape[1:]) * prod(self.kernel_size)  # type: ignore[arg-type]

    def algorithm(self, input_shape: Shape) -> str:
        if None in input_shape:
            return "depends on the image"
        x_shape = self.image_shape(input_shape)
        kernel_shape = (*self._of_image(self.kernel_size), x_shape[3], self.depth_multiplier)
        return ops.depthwise_conv2d_algorithm(x_shape, kernel_shape, self.window_over(input_shape))


@registry.register("layer")
class DepthwiseConv1D(DepthwiseConv2D):
    """1-D depthwise convolution, of signals, which are images of height 1: see `DepthwiseConv2D`.

    Input (N, L, C), output (N, OL, C*M); kernel (K, C, M), bias (C*M,).
    """

    rank = 1


@registry.register("layer", "SeparableConvolution2D")
class SeparableConv2D(Sliding):
    """2-D separable convolution: a depthwise one, then one of 1×1 that mixes the channels.

        h = x * depthwise_kernel, channel by channel;  y = activation(h * pointwise_kernel + bias)

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: of the depthwise convolution: an int, or (height, width).
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        depth_multiplier: how many channels of h each channel of x has, M.
        activation, use_bias, depthwise_initializer, pointwise_initializer, ...: see `Affine`.

    Input (N, H, W, C_in), output (N, OH, OW, C_out); depthwise_kernel (KH, KW, C_in, M), pointwise_kernel
    (1, 1, C_in*M, C_out), bias (C_out,).

    Raises:
        ValueError: for arguments out of range, and for an input smaller than the kernel ("valid").
    """

    _weighted = ("depthwise", "pointwise", "bias")
    _own_arguments: ClassVar[tuple[str, ...]] = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "depth_multiplier",
    )

    depthwise_kernel: Variable
    pointwise_kernel: Variable

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            (kernel_size, strides, padding, data_format, dilation_rate),
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.filters = filters
        self.depth_multiplier = depth_multiplier
        _check_depth_multiplier(depth_multiplier)
        check_filters(filters)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        C_in = defined_channels(self.image_shape(input_shape), self.name)
        M = self.depth_multiplier
        self.depthwise_kernel = self._add_weight_of("depthwise", (*self.kernel_size, C_in, M), "depthwise_kernel")
        pointwise_shape = (*(1,) * self.rank, C_in * M, int(self.filters))
        self.pointwise_kernel = self._add_weight_of("pointwise", pointwise_shape, "pointwise_kernel")
        self._add_bias(int(self.filters))
        self._expect_channels(C_in)
        self.built = True

    def _channels_out(self, C_in: Any) -> Any:
        return self.filters

    def forward(self, x: Any, training: bool, relu: bool = False) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        window = self.window_over(x.shape)
        pixel = window_over(window.output, (1, 1), (1, 1), "valid")
        x = self.images(x)
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        h = ops.depthwise_conv2d_forward(x, self._of_images(self.depthwise_kernel.value), None, window)
        y, _ = ops.conv2d_forward(h, self._of_images(self.pointwise_kernel.value), bias, pixel, relu)
        residuals = x, window, h, pixel, y if relu else None
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, self.as_given(y), training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x, window, h, pixel, y = residuals
        dz = self.images(activate_backward(activation, dy, kept))
        dh, dpointwise, dbias = ops.conv2d_backward(dz, h, self._of_images(self.pointwise_kernel.value), pixel, y)
        depthwise_kernel = self._of_images(self.depthwise_kernel.value)
        dx, ddepthwise, _ = ops.depthwise_conv2d_backward(dh, x, depthwise_kernel, window, None, need_dx)
        grads = ddepthwise.reshape(self.depthwise_kernel.shape), dpointwise.reshape(self.pointwise_kernel.shape)
        return self.as_given(dx) if need_dx else None, grads if self.bias is None else (*grads, dbias)

    def in_two(self) -> tuple[DepthwiseConv2D, Conv2D]:
        """The two convolutions that it is made of, with its own weights: what lies between them can be seen."""
        depthwise_class, pointwise_class = (DepthwiseConv1D, Conv1D) if self.rank == 1 else (DepthwiseConv2D, Conv2D)
        depthwise = depthwise_class(
            self.kernel_size,
            self.strides,
            self.padding,
            self.depth_multiplier,
            self.data_format,
            self.dilation_rate,
            use_bias=False,
            name=f"{self.name}:depthwise",
            dtype=self.dtype,
        )
        pointwise = pointwise_class(
            self.filters,
            1,
            data_format=self.data_format,
            activation=self.activation,
            use_bias=self.use_bias,
            activity_regularizer=self.activity_regularizer,
            name=f"{self.name}:pointwise",
            dtype=self.dtype,
        )
        depthwise.kernel, depthwise.bias = self.depthwise_kernel, None
        pointwise.kernel, pointwise.bias = self.pointwise_kernel, self.bias
        depthwise.built = pointwise.built = True
        return depthwise, pointwise

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        _, OH, OW, C_out = self.image_shape(output_shape)
        mixed = self.image_shape(input_shape)[3] * self.depth_multiplier
        return 2 * OH * OW * mixed * (prod(self.kernel_size) + C_out)

    def algorithm(self, input_shape: Shape) -> str:
        if None in input_shape:
            return "depends on the image"
        x_shape, window = self.image_shape(input_shape), self.window_over(input_shape)
        mixed = x_shape[3] * self.depth_multiplier
        depthwise_shape = (*self._of_image(self.kernel_size), x_shape[3], self.depth_multiplier)
        depthwise = ops.depthwise_conv2d_algorithm(x_shape, depthwise_shape, window)
        pixel = window_over(window.output, (1, 1), (1, 1), "valid")
        pointwise = ops.conv2d_algorithm((x_shape[0], *window.output, mixed), (1, 1, mixed, self.filters), pixel)
        return depthwise if depthwise == pointwise else f"{depthwise}, {pointwise}"


@registry.register("layer", "SeparableConvolution1D")
class SeparableConv1D(SeparableConv2D):
    """1-D separable convolution, of signals, which are images of height 1: see `SeparableConv2D`.

    Input (N, L, C_in), output (N, OL, C_out); depthwise_kernel (K, C_in, M), pointwise_kernel (1, C_in*M, C_out).
    """

    rank = 1


SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
