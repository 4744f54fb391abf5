"""The rows of a table, learned."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from minicnn import constraints, initializers, registry, regularizers
from minicnn.backends import ops
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape
from minicnn.variables import Variable

__all__ = ["Embedding"]


@registry.register("layer")
class Embedding(Layer):
    """Each number k of the input as row k of a table: such as labels as vectors, for a conditional generator.

    Args:
        input_dim: how many rows, V: the largest number is V - 1.
        output_dim: how long a row is, C.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the table: names, objects or configs.
        mask_zero: whether 0 stands for no number at all: such places are masked (see `masks`).
        weights: the table to begin with, (V, C), or a list of it.

    Input (...), whole numbers, which float32 holds up to 2**24; output (..., C). Weight: embeddings (V, C).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("input_dim", "output_dim")
    embeddings: Variable

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        for argument, value in (("input_dim", input_dim), ("output_dim", output_dim)):
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ValueError(
                    f"`{argument}` must be a positive integer. Received: {argument}={value} (of type {type(value).__name__})."
                )
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("Argument `input_length` is deprecated. Just remove it.", stacklevel=2)
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.mask_zero = self.supports_masking = bool(mask_zero)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        reject_unsupported(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        if weights is not None:
            self.build_once((None,))
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Shape | None = None) -> None:
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where the input is not 0, with `mask_zero`."""
        return registry.operation("not_equal")(inputs, 0) if self.mask_zero else None

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        indices = x.astype("int32")
        return ops.embedding_forward(indices, self.embeddings.value), (x, indices)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        x, indices = saved
        # A step from one whole number to the next has no slope.
        dx = ops.rescale(x, 0.0, 0.0) if need_dx else None
        return dx, (ops.embedding_backward(dy, indices, self.embeddings.shape),)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": regularizers.serialize(self.embeddings_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "embeddings_constraint": constraints.serialize(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
            "quantization_config": None,  # Keras's key, for its loader
        }
