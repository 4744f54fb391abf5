"""Transposed convolution layers: from a map to a larger one."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import activations, registry, shapes
from minicnn.backends import ops
from minicnn.backends.volumes import (
    conv3d_transpose_algorithm,
    conv3d_transpose_backward,
    conv3d_transpose_forward,
    transposed_window_over_space,
)
from minicnn.layers.activation import activate, activate_backward
from minicnn.layers.arguments import defined_channels
from minicnn.layers.sliding import Sliding, check_filters
from minicnn.layers.symbolic import Shape

__all__ = [
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Convolution1DTranspose",
    "Convolution2DTranspose",
    "Convolution3DTranspose",
]


@registry.register("layer", "Convolution2DTranspose")
class Conv2DTranspose(Sliding):
    """2-D transposed convolution: the gradient of `Conv2D` at its input, as a forward pass; then bias and activation.

    It goes from what a convolution of these arguments puts out to what it is given (sometimes called "deconvolution",
    which it is not: it undoes shapes, no values).

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: an int, or (height, width). Only one of strides and dilation_rate may exceed 1.
        padding: "valid", or "same": `strides` times as many pixels come out.
        output_padding: an int, or (height, width), below `strides`: how many of the sizes that lead to the same convolution
            to go beyond the smallest one. None: see `shapes.transposed_size`.
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        activation, use_bias, kernel_initializer, ...: see `Affine`.

    Input (N, H, W, C_in), output (N, H', W', C_out); kernel (KH, KW, C_out, C_in), bias (C_out,).

    Raises:
        ValueError: for arguments out of range, and for an output without pixels.
    """

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "output_padding",
        "data_format",
        "dilation_rate",
    )

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            (kernel_size, strides, padding, data_format, dilation_rate),
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
        self.output_padding: tuple[int, ...] | None = None
        check_filters(filters)
        if output_padding is not None:
            self.output_padding = shapes.integers(output_padding, self.rank, "output_padding", allow_zero=True)
            for axis, (extra, stride) in enumerate(zip(self.output_padding, self.strides)):
                if extra >= stride:
                    raise ValueError(
                        f"`output_padding` must be strictly less than `strides` for all dimensions. At dimension {axis}, "
                        f"`output_padding` is {extra} but `strides` is {stride}. Received: "
                        f"output_padding={self.output_padding}, strides={self.strides}"
                    )
        self._reject_strides_with_dilation()

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        C_in = defined_channels(self.image_shape(input_shape), self.name)
        self.kernel = self._add_weight_of("kernel", (*self.kernel_size, int(self.filters), C_in), "kernel")
        self._add_bias(int(self.filters))
        self._expect_channels(C_in)
        self.built = True

    def _channels_out(self, C_in: Any) -> Any:
        return self.filters

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        N, *places, _ = self.image_shape(input_shape)
        window, strides, dilation = map(self._of_image, (self.kernel_size, self.strides, self.dilation_rate))
        extra: tuple[int | None, ...] = (None,) * len(places)
        if self.output_padding is not None:
            extra = (*(0,) * (self.rank == 1), *self.output_padding)
        image = [
            None if size is None else shapes.transposed_size(size, K, S, self.padding, D, more)
            for size, K, S, D, more in zip(places, window, strides, dilation, extra)
        ]
        if any(size is not None and size < 1 for size in image):
            raise ValueError(
                f"Computed output size would be zero or negative. Received `inputs shape={tuple(input_shape)}`, "
                f"`kernel_size={self.kernel_size}`, `strides={self.strides}`, `padding={self.padding}`, "
                f"`output_padding={self.output_padding}`. Layer: '{self.name}'."
            )
        return self.given_shape((N, *image, self.filters))

    def window_over(self, input_shape: Shape) -> Any:
        """How the kernel slides over the *output*, one place for each pixel of the input."""
        _, *places, _ = self.image_shape(input_shape)
        image = self._output_image(input_shape)
        size, strides, dilation = map(self._of_image, (self.kernel_size, self.strides, self.dilation_rate))
        return transposed_window_over_space(tuple(places), image, size, strides, dilation)

    def _output_image(self, input_shape: Shape) -> tuple[int, ...]:
        """The output's (height, width), or (depth, height, width)."""
        return self.image_shape(self.compute_output_shape(input_shape))[1:-1]

    def forward(self, x: Any, training: bool, relu: bool = False) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        window, image = self.window_over(x.shape), self._output_image(x.shape)
        x = self.images(x)
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        # z = what a convolution's backward pass makes of x, + bias;  y = activation(z)
        spread = ops.conv2d_transpose_forward if self.rank < 3 else conv3d_transpose_forward
        y = spread(x, self._of_images(self.kernel.value), bias, window, image, relu)
        residuals = x, window, y if relu else None
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, self.as_given(y), training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x, window, y = residuals
        dz = self.images(activate_backward(activation, dy, kept))
        kernel = self._of_images(self.kernel.value)
        spread_back = ops.conv2d_transpose_backward if self.rank < 3 else conv3d_transpose_backward
        dx, dkernel, dbias = spread_back(dz, x, kernel, window, y, need_dx)
        dkernel = dkernel.reshape(self.kernel.shape)
        return self.as_given(dx) if need_dx else None, (dkernel,) if self.bias is None else (dkernel, dbias)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return 2 * prod(input_shape[1:]) * prod(self.kernel_size) * self.filters  # type: ignore[arg-type]

    def algorithm(self, input_shape: Shape) -> str:
        if None in input_shape:
            return "depends on the image"
        x_shape = self.image_shape(input_shape)
        kernel_shape = (*self._of_image(self.kernel_size), self.filters, x_shape[-1])
        algorithm = ops.conv2d_transpose_algorithm if self.rank < 3 else conv3d_transpose_algorithm
        return algorithm(x_shape, kernel_shape, self.window_over(input_shape), self._output_image(input_shape))


@registry.register("layer", "Convolution1DTranspose")
class Conv1DTranspose(Conv2DTranspose):
    """1-D transposed convolution, of signals, which are images of height 1: see `Conv2DTranspose`.

    Input (N, L, C_in), output (N, L', C_out); kernel (K, C_out, C_in), bias (C_out,).
    """

    rank = 1


@registry.register("layer", "Convolution3DTranspose")
class Conv3DTranspose(Conv2DTranspose):
    """3-D transposed convolution, of volumes: see `Conv2DTranspose`, and `minicnn.backends.volumes`.

    Input (N, D, H, W, C_in), output (N, D', H', W', C_out); kernel (KD, KH, KW, C_out, C_in), bias (C_out,).
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Any = None,
        *others: Any,
        **kwargs: Any,
    ) -> None:
        # In Keras, `data_format` comes before `output_padding` here, and behind it for images and signals.
        super().__init__(filters, kernel_size, strides, padding, output_padding, data_format, *others, **kwargs)


Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
