"""Batch normalization."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from minicnn import constraints, initializers, registry, regularizers
from minicnn.backends import ops
from minicnn.layers.arguments import defined_channels, reject_unsupported
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape
from minicnn.variables import Variable

__all__ = ["BatchNormalization"]


@registry.register("layer")
class BatchNormalization(Layer):
    """Each channel to mean 0 and variance 1 over the batch, then gamma * x + beta (Ioffe & Szegedy 2015).

    In training, with the batch's own mean and variance, which also enter moving averages;
    otherwise, and where `trainable` is False, with those averages.

    Args:
        axis: the channels' axis: the last one, as -1 or its number.
        momentum: of the moving averages: average = momentum * average + (1 - momentum) * batch.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer,
            beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: names, objects or configs.
        synchronized, renorm, renorm_clipping, renorm_momentum: Keras's; not supported but at their defaults.

    Input and output (..., C). Weights, each (C,): gamma, beta, moving_mean, moving_variance (biased).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("axis", "momentum", "epsilon", "center", "scale", "synchronized", "renorm")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        reject_unsupported(self.name, synchronized=synchronized, renorm=renorm, renorm_clipping=renorm_clipping)
        self.axis = int(axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = bool(center)
        self.scale = bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.synchronized = False
        self.renorm = False
        self.renorm_momentum = renorm_momentum
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        if self.axis not in (-1, len(input_shape) - 1):
            raise ValueError(
                f"Layer '{self.name}': minicnn normalizes the last axis, where channels are. "
                f"Received: axis={self.axis} for an input of shape {input_shape}"
            )
        channels = defined_channels(input_shape, self.name)
        shape = (channels,)
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma",
                shape=shape,
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )
        if self.center:
            self.beta = self.add_weight(
                name="beta",
                shape=shape,
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
            )
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, initializer=self.moving_mean_initializer, trainable=False
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, initializer=self.moving_variance_initializer, trainable=False
        )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={-1: channels})
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if not -len(input_shape) <= self.axis < len(input_shape):
            raise ValueError(
                f"Axis {self.axis} is out of bounds for input shape {input_shape}. Received: axis={self.axis}. "
                f"Layer: '{self.name}'."
            )
        return input_shape

    def forward(self, x: Any, training: bool, relu: bool = False) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        gamma = None if self.gamma is None else self.gamma.value
        beta = None if self.beta is None else self.beta.value
        mean, variance = self.moving_mean.value, self.moving_variance.value
        of_the_batch = training and self.trainable
        if of_the_batch:
            y, mean, variance = ops.batchnorm_forward(x, gamma, beta, self.epsilon, relu)
            ops.moving_average_update_(self.moving_mean.value, mean, self.momentum)
            ops.moving_average_update_(self.moving_variance.value, variance, self.momentum)
        else:
            y = ops.batchnorm_inference(x, gamma, beta, mean, variance, self.epsilon, relu)
        return y, (x, mean, variance, y if relu else None, of_the_batch)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x, mean, variance, y, of_the_batch = saved
        gamma = None if self.gamma is None else self.gamma.value
        its_backward = ops.batchnorm_backward if of_the_batch else ops.batchnorm_inference_backward
        dx, dgamma, dbeta = its_backward(dy, x, gamma, mean, variance, self.epsilon, y)
        return dx, (dgamma,) * self.scale + (dbeta,) * self.center

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return 2 * prod(output_shape[1:])  # type: ignore[arg-type]  # as in inference: one factor and one summand a channel

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
            "renorm_clipping": None,
            "renorm_momentum": self.renorm_momentum,
        }
