"""A layer out of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import registry, serialization
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape

__all__ = ["Lambda"]


@registry.register("layer")
class Lambda(Layer):
    """y = function(x).

    Args:
        function: of an array (or of a list of them), and of `training` if it has an argument of that name.
        output_shape: of one image, or a function of the input's shape; by default the function is tried on ones.
        mask: not supported.
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
        reject_unsupported(self.name, mask=mask is not None)
        self.function = function
        self.arguments = arguments or {}
        self._output_shape = output_shape

    def call(self, x: Any, training: bool = False) -> Any:
        takes_training = "training" in inspect.signature(self.function).parameters
        return self.function(x, **self.arguments, **({"training": training} if takes_training else {}))

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
        return settings | {"arguments": serialization.serialize(self.arguments)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        read = {
            name: serialization.deserialize(config[name])
            for name in ("function", "output_shape", "arguments")
            if name in config
        }
        return super().from_config(config | read)
