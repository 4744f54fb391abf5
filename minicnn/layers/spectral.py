"""`SpectralNormalization`: a layer whose kernel stretches no input by more than 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import initializers, registry
from minicnn.backends import to_numpy
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape
from minicnn.layers.wrappers import Wrapper
from minicnn.variables import Variable


def _unit(vector: Any) -> Any:
    """The vector with length 1."""
    return vector / max(float(to_numpy(np.sqrt((vector * vector).sum()))), 1e-12)


@registry.register("layer")
class SpectralNormalization(Wrapper):
    """Another layer, whose kernel is divided by its largest singular value in each step of training.

    With W the kernel as a matrix of as many columns as its last axis has places, u a row that is kept from step to step:

        v = u W.T / |u W.T|,  u = v W / |v W|   power_iterations times;   kernel = kernel / (v W u.T)

    Args:
        layer: what is wrapped, with a `kernel` or `embeddings`.
        power_iterations: how often u is improved in a step.

    The weights are the kernel, u, (1, C_out), which is not trained, and the layer's others.
    The gradient is the layer's, at the divided kernel.

    Source: Miyato et al. 2018, arXiv:1802.05957.
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if power_iterations <= 0:
            raise ValueError(f"`power_iterations` should be greater than zero. Received: `power_iterations={power_iterations}`")
        self.power_iterations = power_iterations

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        kernel = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if kernel is None:
            raise ValueError(f"{type(self.layer).__name__} object has no attribute 'kernel' nor 'embeddings'")
        self.kernel: Variable = kernel
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        start = initializers.TruncatedNormal(stddev=0.02)
        self.vector_u = self.add_weight((1, self.kernel.shape[-1]), start, trainable=False, name="vector_u")
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.compute_output_shape(input_shape)

    def _normalize(self) -> None:
        """One step's u, and the kernel divided; a kernel of zeros stays."""
        kernel, u = self.kernel.value, self.vector_u.value
        if not to_numpy(kernel).any():
            return
        W = kernel.reshape(-1, kernel.shape[-1])
        for _ in range(self.power_iterations):
            v = _unit(u @ W.T)
            u = _unit(v @ W)
        self.kernel.assign(kernel / (v @ W @ u.T))
        self.vector_u.assign(u)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        if training:
            self._normalize()
        return self.layer.forward(x, training)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return self.layer.backward(dy, saved)

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return self.layer.count_flops(input_shape, output_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"power_iterations": self.power_iterations}
