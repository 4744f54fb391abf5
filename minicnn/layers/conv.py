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
from minicnn.layers.spatial import Spatial
from minicnn.layers.symbolic import Shape

__all__ = ["Conv1D", "Conv2D", "Convolution1D", "Convolution2D"]


@registry.register("layer", "Convolution2D")
class Conv2D(Affine, Spatial):
    """2-D convolution: y = activation(x * kernel + bias).

    Args:
        filters: how many output channels, C_out.
        kernel_size, strides, dilation_rate: an int, or (height, width). Only one of strides and dilation_rate may exceed 1.
        padding: "valid" (none) or "same" (TensorFlow's: ceil(size / stride) output pixels, the odd zero after).
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
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
        self.kernel_size = shapes.integers(kernel_size, self.rank, "kernel_size")
        self.strides = shapes.integers(strides, self.rank, "strides")
        self.padding = standardize_padding(padding, allow_causal=self.rank == 1)
        self.data_format = standardize_data_format(data_format, self.name)
        self.dilation_rate = shapes.integers(dilation_rate, self.rank, "dilation_rate")
        self.groups = groups
        self.input_spec = InputSpec(min_ndim=self.rank + 2)
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
        C_in = defined_channels(self.image_shape(input_shape), self.name)
        if C_in % self.groups != 0:
            raise ValueError(
                "The number of input channels must be evenly divisible by the number of groups. Received "
                f"groups={self.groups}, but the input has {C_in} channels (full input shape is {input_shape}). "
                f"Layer: '{self.name}'."
            )
        self._add_kernel_and_bias((*self.kernel_size, C_in // self.groups, int(self.filters)))
        self.input_spec = InputSpec(min_ndim=self.rank + 2, axes={1 if self._channels_first else -1: C_in})
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != self.rank + 2:
            raise ValueError(
                "Kernel shape must have the same length as input, but received "
                f"kernel of shape {(*self.kernel_size, input_shape[-1], self.filters)} and input of shape {tuple(input_shape)}."
            )
        N, *image, C_in = self.image_shape(input_shape)
        window, strides = self._of_image(self.kernel_size), self._of_image(self.strides)
        size = output_image(image, window, strides, self.padding, self._dilation)
        if 0 in size:
            raise ValueError(
                f"Computed output size would be zero or negative. Received `inputs shape={tuple(input_shape)}`, "
                f"`kernel shape={(*self.kernel_size, C_in, self.filters)}`, `dilation_rate={self.dilation_rate}`, "
                f"`strides={self.strides}`, `padding={self.padding}`. Layer: '{self.name}'."
            )
        return self.given_shape((N, *size, self.filters))

    @property
    def _dilation(self) -> tuple[int, int]:
        return self._of_image(self.dilation_rate)

    def window_over(self, input_shape: Shape) -> Window:
        """How the kernel slides over what the layer is given.

        Raises:
            ValueError: if it does not fit.
        """
        _, H, W, _ = self.image_shape(input_shape)
        size, strides = self._of_image(self.kernel_size), self._of_image(self.strides)
        window = window_over((H, W), size, strides, self.padding, self._dilation, self.groups)
        if min(window.output) < 1:
            self.compute_output_shape(input_shape)  # raises
        return window

    def forward(self, x: Any, training: bool, relu: bool = False, pool: Any = None) -> tuple[Any, Any]:
        """The output, and what `backward` will read.

        Args:
            relu, pool: what a plan joined to this layer: a ReLU behind it, and a max pooling behind that.
        """
        window = self.window_over(x.shape)
        x = self.images(x)
        z_shape = self.given_shape((x.shape[0], *window.output, self.filters))
        pool_window = None if pool is None else pool.window_over(z_shape)
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        # z = x * kernel + bias;  y = activation(z), pooled
        y, argmax = ops.conv2d_forward(x, self._kernel_of_images(), bias, window, relu, pool_window)
        residuals = x, window, y if relu else None, pool_window, argmax
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, self.as_given(y), training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x, window, y, pool_window, argmax = residuals
        dz = self.images(activate_backward(activation, dy, kept))
        kernel = self._kernel_of_images()
        dx, dkernel, dbias = ops.conv2d_backward(dz, x, kernel, window, y, pool_window, argmax, need_dx)
        dkernel = dkernel.reshape(self.kernel.shape)
        return self.as_given(dx) if need_dx else None, (dkernel,) if self.bias is None else (dkernel, dbias)

    def _kernel_of_images(self) -> Any:
        """The kernel as (KH, KW, C_in/groups, C_out)."""
        kernel = self.kernel.value
        return kernel if self.rank == 2 else kernel[None]

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        C_in = self.image_shape(input_shape)[3] // self.groups
        return 2 * prod(output_shape[1:]) * prod(self.kernel_size) * C_in  # type: ignore[arg-type]

    def algorithm(self, input_shape: Shape) -> str:
        if None in input_shape:
            return "depends on the image"
        x_shape = self.image_shape(input_shape)
        kernel_shape = (*self._of_image(self.kernel_size), x_shape[3] // self.groups, self.filters)
        return ops.conv2d_algorithm(x_shape, kernel_shape, self.window_over(input_shape))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"activity_regularizer": regularizers.serialize(self.activity_regularizer)}


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


Convolution1D, Convolution2D = Conv1D, Conv2D
