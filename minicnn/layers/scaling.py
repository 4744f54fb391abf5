"""Layers that weaken what a residual block adds. Keras has them inside of its applications, and in their files."""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import initializers, registry
from minicnn.backends import ops
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape

__all__ = ["CustomScaleLayer", "LayerScale"]


@registry.register("layer")
class CustomScaleLayer(Layer):
    """y = x + scale * residual, of a list [x, residual] of one shape (Szegedy et al. 2016, arXiv:1602.07261, section 3.3)."""

    _keras_module, _keras_class_name = "keras.src.applications.inception_resnet_v2", "CustomScaleLayer"
    _own_arguments: ClassVar[tuple[str, ...]] = ("scale",)
    second_order = "linear"

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return tuple(input_shape[0])

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        x, residual = x
        return ops.add_forward([x, ops.rescale(residual, float(self.scale), 0.0)]), None

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return [dy, ops.rescale(dy, float(self.scale), 0.0)], ()


@registry.register("layer")
class LayerScale(Layer):
    """y = gamma * x, a learned factor for each channel (Touvron et al. 2021, arXiv:2103.17239).

    Args:
        init_values: of gamma, at first. projection_dim: how many channels x has.
    """

    _keras_module, _keras_class_name = "keras.src.applications.convnext", "LayerScale"
    _own_arguments: ClassVar[tuple[str, ...]] = ("init_values", "projection_dim")

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != self.projection_dim:
            raise ValueError(
                f"Layer '{self.name}': `projection_dim` should be the number of channels. Received: "
                f"projection_dim={self.projection_dim} for an input of shape {tuple(input_shape)}"
            )
        self.gamma = self.add_weight(shape=(self.projection_dim,), initializer=initializers.Constant(self.init_values))
        self.built = True

    def _parameters(self) -> tuple[Any, None, Any, Any, float]:
        """Batch normalization with mean 0 and variance 1 is y = gamma * (x - 0) / sqrt(1)."""
        gamma = self.gamma.value
        return gamma, None, 0 * gamma, 0 * gamma + 1, 0.0

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.batchnorm_inference(x, *self._parameters()), x

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        dx, dgamma, _ = ops.batchnorm_inference_backward(dy, saved, *self._parameters())
        return dx, (dgamma,)
