"""Convolution layers."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import activations, registry
from minicnn.backends import ops
from minicnn.backends.volumes import conv3d_algorithm, conv3d_backward, conv3d_forward
from minicnn.layers.activation import activate, activate_backward
from minicnn.layers.arguments import defined_channels, reject_unsupported
from minicnn.layers.sliding import Sliding, check_filters
from minicnn.layers.symbolic import Shape

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D"]


@registry.register("layer", "Convolution2D")
class Conv2D(Sliding):
    """2-D convolution: y = activation(x * kernel + bias).

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: an int, or (height, width). Only one of strides and dilation_rate may exceed 1.
        padding: "valid" (none) or "same" (TensorFlow's: ceil(size / stride) output pixels, the odd zero after).
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        groups: into how many groups the channels are cut: C_in and C_out must be multiples of it.
        activation, use_bias, kernel_initializer, ...: see `Affine`.

    Input (N, H, W, C_in), output (N, OH, OW, C_out); kernel (KH, KW, C_in/groups, C_out), bias (C_out,).

    Raises:
        ValueError: for arguments out of range, and for an input smaller than the kernel ("valid").
    """

    second_order = "linear"

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
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        self.groups = groups
        check_filters(filters)
        if groups <= 0:
            raise ValueError(f"The number of groups must be a positive integer. Received: groups={groups}.")
        if filters % groups != 0:
            raise ValueError(
                "The number of filters must be evenly divisible by the number of groups. "
                f"Received: groups={groups}, filters={filters}."
            )
        self._reject_strides_with_dilation()
        reject_unsupported(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A class that replaces `convolution_op`, and nothing around it, computes by that."""
        super().__init_subclass__(**kwargs)
        if "convolution_op" in vars(cls) and not {"call", "forward"} & set(vars(cls)):
            cls.call = _call_by_convolution_op  # type: ignore[assignment]

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution alone, without bias and activation, by any kernel: for a `call` of one's own. See `ops.conv`."""
        convolve = registry.lookup("convolution", "conv")
        return convolve(inputs, kernel, self.strides, self.padding, self.data_format, self.dilation_rate)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # an input that does not fit is refused before there are weights
        C_in = defined_channels(self.image_shape(input_shape), self.name)
        if C_in % self.groups != 0:
            raise ValueError(
                "The number of input channels must be evenly divisible by the number of groups. Received "
                f"groups={self.groups}, but the input has {C_in} channels (full input shape is {input_shape}). "
                f"Layer: '{self.name}'."
            )
        self._add_kernel_and_bias((*self.kernel_size, C_in // self.groups, int(self.filters)))
        self._expect_channels(C_in)
        self.built = True

    def _channels_out(self, C_in: Any) -> Any:
        return self.filters

    def forward(self, x: Any, training: bool, relu: bool = False, pool: Any = None) -> tuple[Any, Any]:
        """The output, and what `backward` will read.

        Args:
            relu, pool: what a plan joined to this layer: a ReLU behind it, and a max pooling behind that.
        """
        window = self.window_over(x.shape)
        x = self.images(x)
        z_shape = (x.shape[0], *window.output, self.filters)
        pool_window = None if pool is None else pool.window_over(self.given_shape(z_shape))
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        # z = x * kernel + bias;  y = activation(z), pooled
        if self.rank == 3:
            y, argmax = conv3d_forward(x, self.kernel.value, bias, window, relu, pool_window)
        else:
            y, argmax = ops.conv2d_forward(x, self._of_images(self.kernel.value), bias, window, relu, pool_window)
        residuals = x, window, y if relu else None, pool_window, argmax
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, self.as_given(y), training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x, window, y, pool_window, argmax = residuals
        dz = self.images(activate_backward(activation, dy, kept))
        kernel = self._of_images(self.kernel.value)
        if self.rank == 3:
            dx, dkernel, dbias = conv3d_backward(dz, x, kernel, window, y, pool_window, argmax, need_dx)
        else:
            dx, dkernel, dbias = ops.conv2d_backward(dz, x, kernel, window, y, pool_window, argmax, need_dx)
        dkernel = dkernel.reshape(self.kernel.shape)
        return self.as_given(dx) if need_dx else None, (dkernel,) if self.bias is None else (dkernel, dbias)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        C_in = self.image_shape(input_shape)[-1] // self.groups
        return 2 * prod(output_shape[1:]) * prod(self.kernel_size) * C_in  # type: ignore[arg-type]

    def algorithm(self, input_shape: Shape) -> str:
        if None in input_shape:
            return "depends on the image"
        x_shape = self.image_shape(input_shape)
        kernel_shape = (*self._of_image(self.kernel_size), x_shape[-1] // self.groups, self.filters)
        algorithm = ops.conv2d_algorithm if self.rank < 3 else conv3d_algorithm
        return algorithm(x_shape, kernel_shape, self.window_over(input_shape))


def _call_by_convolution_op(layer: Any, inputs: Any) -> Any:
    y = layer.convolution_op(inputs, layer.kernel)
    if layer.use_bias:
        y = y + (layer.bias if layer.data_format == "channels_last" else layer.bias[(slice(None), *[None] * layer.rank)])
    return layer.activation(y)


@registry.register("layer", "Convolution1D")
class Conv1D(Conv2D):
    """1-D convolution, of signals, which are images of height 1: y = activation(x * kernel + bias).

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: ints. Only one of strides and dilation_rate may exceed 1.
        padding: "valid", "same", or "causal": zeros before the signal alone, so that no output knows of later steps.
        data_format, groups: as in `Conv2D`.
        activation, use_bias, kernel_initializer, ...: see `Affine`.

    Input (N, L, C_in), output (N, OL, C_out); kernel (K, C_in/groups, C_out), bias (C_out,).
    """

    rank = 1
    _takes_causal = True


@registry.register("layer", "Convolution3D")
class Conv3D(Conv2D):
    """3-D convolution, of volumes and videos: y = activation(x * kernel + bias). See `minicnn.backends.volumes`.

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: an int, or (depth, height, width). Only one of strides and dilation_rate may
            exceed 1.
        padding, data_format, groups: as in `Conv2D`.
        activation, use_bias, kernel_initializer, ...: see `Affine`.

    Input (N, D, H, W, C_in), output (N, OD, OH, OW, C_out); kernel (KD, KH, KW, C_in/groups, C_out), bias (C_out,).
    """

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
