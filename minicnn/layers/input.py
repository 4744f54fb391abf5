"""`Input` and `InputLayer`: the beginning of a graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from minicnn import registry
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import KerasTensor, Node


@registry.register("layer")
class InputLayer(Layer):
    """A model's input.

    Args:
        shape: without the batch axis. batch_size: an int, or None for any.
        batch_shape: the shape with the batch axis, in place of `shape` and `batch_size`.
        dtype: what batches are converted to; default `config.floatx()`.
        name: default "input_layer", "input_layer_1", ...
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if "input_shape" in kwargs:
            warnings.warn("Argument `input_shape` is deprecated. Use `shape` instead.", stacklevel=2)
            shape = kwargs.pop("input_shape")
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        for argument, value in (("sparse", sparse), ("ragged", ragged), ("optional", optional), ("input_tensor", input_tensor)):
            if value is not None and value is not False:
                raise ValueError(f"InputLayer: `{argument}` is not supported by minicnn. Received: {argument}={value!r}")
        if kwargs.pop("tensor", None) is not None:
            raise ValueError("Input: `tensor` is not supported by minicnn.")
        if shape is not None and batch_shape is not None:
            raise ValueError("You cannot pass both `shape` and `batch_shape` at the same time.")
        if batch_size is not None and batch_shape is not None:
            raise ValueError("You cannot pass both `batch_size` and `batch_shape` at the same time.")
        if shape is None and batch_shape is None:
            raise ValueError("You must pass a `shape` argument.")
        if shape is not None:
            batch_shape = (batch_size, *([shape] if isinstance(shape, int) else shape))
        assert batch_shape is not None
        for extent in batch_shape:
            if extent is not None and (isinstance(extent, bool) or not hasattr(extent, "__index__") or extent < 0):
                raise ValueError(
                    f"Cannot convert '{tuple(batch_shape)}' to a shape. "
                    f"Every extent must be a non-negative int or None. Found invalid entry {extent!r}"
                )
        # Integer inputs (images, labels) are converted to floats.
        super().__init__(name=name, dtype=dtype if _is_float(dtype) else None, **kwargs)
        self.batch_shape = tuple(None if extent is None else int(extent) for extent in batch_shape)
        self._batch_input_shape = self.batch_shape
        self.sparse = self.ragged = self.optional = False
        self.built = True
        node = Node(self, [], False)
        node.outputs = [KerasTensor(self.batch_shape, self.dtype, name=self.name, node=node)]

    @property
    def input(self) -> Any:
        """The tensor that it gives, as Keras 2 had it: `model.get_layer("image").input`."""
        return self.output

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return x, None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return dy, ()

    def get_config(self) -> dict[str, Any]:
        return {"batch_shape": self.batch_shape, "dtype": self.dtype, "sparse": False, "ragged": False, "name": self.name}


def _is_float(dtype: Any) -> bool:
    name = getattr(dtype, "name", dtype)
    return dtype is None or not isinstance(name, str) or not name.startswith(("int", "uint", "bool"))


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> KerasTensor:
    """A symbolic tensor to build a functional model on; the arguments are those of `InputLayer`.

    Examples:
        >>> Input(shape=(32, 32, 3), name="image").shape
        (None, 32, 32, 3)
    """
    return InputLayer(**locals()).output
