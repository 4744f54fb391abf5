"""The fully connected layer."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import activations, registry
from minicnn.backends import ops
from minicnn.layers.activation import activate, activate_backward
from minicnn.layers.affine import Affine
from minicnn.layers.arguments import defined_channels, reject_unsupported
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape

__all__ = ["Dense"]


@registry.register("layer")
class Dense(Affine):
    """y = activation(x @ kernel + bias), along the last axis.

    Args:
        units: how many outputs, C_out.
        activation, use_bias, kernel_initializer, ...: see `Affine`.

    Input (..., C_in) of rank 2 or more, output (..., C_out); kernel (C_in, C_out), bias (C_out,).

    Raises:
        ValueError: unless `units` is a positive int.
    """

    supports_masking = True

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("units",)

    def __init__(
        self,
        units: int,
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
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(units, bool) or not hasattr(units, "__index__") or units <= 0:
            raise ValueError(f"Received an invalid value for `units`, expected a positive integer. Received: units={units!r}")
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
        self.units = int(units)
        self.input_spec = InputSpec(min_ndim=2)
        reject_unsupported(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)

    def build(self, input_shape: Shape) -> None:
        C_in = defined_channels(input_shape, self.name)
        self._add_kernel_and_bias((C_in, self.units))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: C_in})
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(self, x: Any, training: bool, relu: bool = False) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        rows = x.reshape(-1, x.shape[-1])
        bias = None if self.bias is None else self.bias.value
        relu = relu or self.activation is activations.relu
        # z = x @ kernel + bias;  y = activation(z)
        y = ops.dense_forward(rows, self.kernel.value, bias, relu)
        residuals = x.shape, rows, y if relu else None
        activation = activations.linear if relu else self.activation
        y, kept = activate(activation, y.reshape(self.compute_output_shape(x.shape)), training)
        return y, (residuals, activation, kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        residuals, activation, kept = saved
        x_shape, rows, y = residuals
        dz = activate_backward(activation, dy, kept).reshape(-1, self.units)
        dx, dkernel, dbias = ops.dense_backward(dz, rows, self.kernel.value, y, need_dx)
        return None if dx is None else dx.reshape(x_shape), (dkernel,) if self.bias is None else (dkernel, dbias)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return 2 * prod(output_shape[1:]) * input_shape[-1]  # type: ignore[operator, arg-type]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"quantization_config": None}  # Keras's key, for its loader
