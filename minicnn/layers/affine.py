"""What the convolutions and Dense have in common: kernels, a bias, an activation, and their arguments."""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import activations, constraints, initializers, regularizers
from minicnn.layers.activation import get_activation
from minicnn.layers.base import Layer
from minicnn.variables import Variable

_KINDS = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


class Affine(Layer):
    """Base of the layers that compute activation(linear map of x + bias).

    Args:
        activation: name, function, layer, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: names, objects or configs. A layer may call its kernels otherwise: see
            `_weighted`.
        kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint: likewise.

    Attributes:
        kernel, bias: Variables, once built; bias is None without `use_bias`.
    """

    _weighted: ClassVar[tuple[str, ...]] = ("kernel", "bias")  # what has an initializer, a regularizer and a constraint

    kernel: Variable
    bias: Variable | None

    def __init__(self, *, activation: Any, use_bias: bool, **kwargs: Any) -> None:
        own = {f"{name}_{kind}": kwargs.pop(f"{name}_{kind}") for name in self._weighted for kind in _KINDS}
        super().__init__(**kwargs)
        self.activation = get_activation(activation)
        self.use_bias = bool(use_bias)
        for argument, value in own.items():
            setattr(self, argument, _KINDS[argument.rpartition("_")[2]].get(value))

    def _add_weight_of(self, weighted: str, shape: tuple[int, ...], name: str) -> Variable:
        """A weight with the initializer, the regularizer and the constraint that the layer was given for it."""
        return self.add_weight(
            name=name, shape=shape, **{kind: getattr(self, f"{weighted}_{kind}") for kind in _KINDS}
        )  # fmt: skip

    def _add_bias(self, channels: int) -> None:
        self.bias = self._add_weight_of("bias", (channels,), "bias") if self.use_bias else None

    def _add_kernel_and_bias(self, kernel_shape: tuple[int, ...]) -> None:
        """Create the weights; the kernel's last axis is that of the outputs, and so the bias's only one."""
        self.kernel = self._add_weight_of("kernel", kernel_shape, "kernel")
        self._add_bias(kernel_shape[-1])

    def get_config(self) -> dict[str, Any]:
        own = {
            f"{name}_{kind}": module.serialize(getattr(self, f"{name}_{kind}"))
            for name in self._weighted
            for kind, module in _KINDS.items()
        }
        return super().get_config() | {"activation": activations.serialize(self.activation), "use_bias": self.use_bias} | own
