"""A layer out of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import registry, serialization
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape

__all__ = ["Lambda"]


@registry.register("layer")
class Lambda(Layer):
    """y = function(x).

    Args:
        function: of an array (or of a list of them), and of `training` and the input's `mask` if it has arguments of these
            names.
        output_shape: of one image, or a function of the input's shape; by default the function is tried on ones.
        mask: the output's mask, or a function of the inputs and their mask that returns it; by default the mask ends here.
        arguments: further arguments of the function, by name.

    A file brings a named function by its name, which must be registered or among the `custom_objects`. The code of a
    Python lambda is loaded with `load_model(..., safe_mode=False)` alone, and refused otherwise.

    Examples:
        >>> Lambda(lambda x: x / 255)([[0, 255]]).tolist()
        [[0.0, 1.0]]
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask = mask
        self.supports_masking = mask is not None
        self.function = function
        self.arguments = arguments or {}
        self._output_shape = output_shape

    def call(self, x: Any, mask: Any = None, training: bool = False) -> Any:
        taken = inspect.signature(self.function).parameters
        own = {name: value for name, value in (("mask", mask), ("training", training)) if name in taken}
        return self.function(x, **self.arguments, **own)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """What the argument `mask` says."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def compute_output_shape(self, input_shape: Any) -> Shape:
        if callable(self._output_shape):
            return tuple(self._output_shape(input_shape))
        several = isinstance(input_shape[0], (tuple, list))
        if self._output_shape is not None:
            return (input_shape[0][0] if several else input_shape[0], *self._output_shape)

        def output_for(unknown: int) -> tuple[int, ...]:
            """The shape of the output where each unknown size is this one."""
            shapes = input_shape if several else [input_shape]
            ones = [np.ones([unknown if size is None else size for size in shape], self.dtype) for shape in shapes]
            return np.shape(self.call(ones if several else ones[0]))

        try:
            return tuple(a if a == b else None for a, b in zip(output_for(2), output_for(3), strict=True))
        except Exception as error:
            raise NotImplementedError(
                "We could not automatically infer the shape of the Lambda's output. Please specify the `output_shape` "
                f"argument for this Lambda layer. Layer: '{self.name}'. ({type(error).__name__}: {error})"
            ) from error

    def get_config(self) -> dict[str, Any]:
        settings = super().get_config() | {"function": serialization.serialize_function(self.function)}
        if self._output_shape is not None:
            shape = self._output_shape
            settings["output_shape"] = serialization.serialize_function(shape) if callable(shape) else shape
        if self.mask is not None:
            mask = self.mask
            settings["mask"] = serialization.serialize_function(mask) if callable(mask) else serialization.serialize(mask)
        return settings | {"arguments": serialization.serialize(self.arguments)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        read = {
            name: serialization.deserialize(config[name])
            for name in ("function", "output_shape", "mask", "arguments")
            if name in config
        }
        return super().from_config(config | read)
