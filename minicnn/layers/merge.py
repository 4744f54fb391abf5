"""Layers of several inputs."""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import registry
from minicnn.backends import ops
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape


def _batch_size(input_shape: list[Shape]) -> int | None:
    sizes = {shape[0] for shape in input_shape} - {None}
    if len(sizes) > 1:
        raise ValueError(f"Cannot merge tensors with different batch sizes. Received tensors with shapes {input_shape}")
    return sizes.pop() if sizes else None


def _broadcast(shape1: Shape, shape2: Shape) -> Shape:
    """The shape that two shapes broadcast to (without their batch axes), aligned at the end."""
    if len(shape1) < len(shape2):
        shape1, shape2 = shape2, shape1
    output: list[int | None] = list(shape1[: len(shape1) - len(shape2)])
    for i, j in zip(shape1[len(shape1) - len(shape2) :], shape2):
        if i is None or j is None:
            output.append(None)
        elif i == 1 or j == 1 or i == j:
            output.append(j if i == 1 else i)
        else:
            raise ValueError(f"Inputs have incompatible shapes. Received shapes {shape1} and {shape2}")
    return tuple(output)


class _Merge(Layer):
    """Base of the layers that take a list of inputs."""

    _demand = "A merge layer should be called on a list of inputs. Received: input_shape={} (not a list of shapes)."

    def build(self, input_shape: Any) -> None:
        if not input_shape or not isinstance(input_shape[0], (list, tuple)):
            raise ValueError(f"{self._demand.format(input_shape)} Layer: '{self.name}'.")
        self.compute_output_shape(input_shape)
        self.built = True


@registry.register("layer")
class Add(_Merge):
    """Sum of inputs of one shape, or of shapes that broadcast to one."""

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        output: Shape = tuple(input_shape[0][1:])
        for shape in input_shape[1:]:
            output = _broadcast(output, tuple(shape[1:]))
        return (_batch_size(input_shape), *output)

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        rank = max(item.ndim for item in x)
        # An input of smaller rank gets axes of size 1 after the batch axis, as in Keras: (N, C) is added as (N, 1, 1, C).
        aligned = [item.reshape(item.shape[0], *(1,) * (rank - item.ndim), *item.shape[1:]) for item in x]
        return ops.add_forward(aligned), [(item.shape, full.shape) for item, full in zip(x, aligned)]

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        dx = []
        for shape, aligned in saved:
            # Broadcasting repeats an input along an axis, so its gradient is the sum along that axis.
            repeated = tuple(axis for axis, size in enumerate(aligned) if size != dy.shape[axis])
            dx.append((dy.sum(axis=repeated) if repeated else dy).reshape(shape))
        return dx, ()


@registry.register("layer")
class Concatenate(_Merge):
    """The inputs one after another along `axis`.

    Args:
        axis: 0 is the batch axis; negative axes are counted from the end.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("axis",)
    _demand = "A `Concatenate` layer should be called on a list of at least 1 input. Received: input_shape={}."

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        rank = len(input_shape[0])
        axis = self.axis + rank if self.axis < 0 else self.axis
        matching = 0 <= axis < rank and all(len(shape) == rank for shape in input_shape)
        sizes = [{shape[i] for shape in input_shape} - {None} for i in range(rank)] if matching else []
        if not matching or any(len(found) > 1 for i, found in enumerate(sizes) if i != axis):
            raise ValueError(
                "A `Concatenate` layer requires inputs with matching shapes except for the concatenation axis. "
                f"Received: input_shape={input_shape}, axis={self.axis}. Layer: '{self.name}'."
            )
        along = [shape[axis] for shape in input_shape]
        output = [found.pop() if len(found) == 1 else None for found in sizes]
        output[axis] = None if None in along else sum(along)  # type: ignore[arg-type]
        return tuple(output)

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        return ops.concatenate_forward(list(x), self.axis), [item.shape[self.axis] for item in x]

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return ops.concatenate_backward(dy, saved, self.axis), ()


def add(inputs: list[Any], **kwargs: Any) -> Any:
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def concatenate(inputs: list[Any], axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)
