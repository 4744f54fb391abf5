"""Layers of several inputs."""

from __future__ import annotations

import functools
from math import prod
from typing import Any, ClassVar

from minicnn import config, registry
from minicnn.backends import ops
from minicnn.layers.axes import moved_back, moved_last
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

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """A mask of the output, of the inputs' masks: a list, with None for an input without one.

        Raises:
            ValueError: if `inputs` or `mask` is no list, or they are of several lengths.
        """
        if mask is None:
            return None
        for name, value in (("mask", mask), ("inputs", inputs)):
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"Layer '{self.name}': `{name}` should be a list. Received: {name}={value}")
        if len(mask) != len(inputs):
            raise ValueError(
                f"Layer '{self.name}': the lists `inputs` and `mask` should have the same length. "
                f"Received: {len(inputs)} inputs and {len(mask)} masks."
            )
        return self._merged_mask(list(inputs), list(mask))

    def _merged_mask(self, inputs: list[Any], masks: list[Any]) -> Any:
        """A step counts where it does in one of the inputs; all steps do where they all do in one."""
        if any(one is None for one in masks):
            return None
        return functools.reduce(registry.operation("logical_or"), masks)


def _with_masks(inputs: list[Any], mask: list[Any]) -> list[tuple[Any, Any]]:
    """The inputs in one rank, each with its mask as one of elements. An input of smaller rank has none, as in Keras."""
    rank = max(len(x.shape) for x in inputs)
    expand_dims, cast = registry.operation("expand_dims"), registry.operation("cast")
    pairs = []
    for x, one in zip(inputs, mask):
        of_elements = None if one is None or len(x.shape) < rank else expand_dims(cast(one, "bool"), -1)
        for _ in range(rank - len(x.shape)):
            x = expand_dims(x, 1)
        pairs.append((x, of_elements))
    return pairs


def _aligned(x: list[Any]) -> tuple[list[Any], list[tuple[Shape, Shape]]]:
    """The arrays in one rank, and the shape of each before and after."""
    rank = max(item.ndim for item in x)
    aligned = [item.reshape(item.shape[0], *(1,) * (rank - item.ndim), *item.shape[1:]) for item in x]
    return aligned, [(item.shape, full.shape) for item, full in zip(x, aligned)]


class _Elementwise(_Merge):
    """Base of the merges of inputs of one shape, or of shapes that broadcast to one, element by element.

    A subclass writes `merge` and `split`. An input of smaller rank gets axes of size 1 after the batch axis, as in
    Keras: (N, C) is merged as (N, 1, 1, C).
    """

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        output: Shape = tuple(input_shape[0][1:])
        for shape in input_shape[1:]:
            output = _broadcast(output, tuple(shape[1:]))
        return (_batch_size(input_shape), *output)

    def merge(self, xs: list[Any]) -> tuple[Any, Any]:
        """The output for arrays of one rank, and what `split` will read."""
        raise NotImplementedError

    def split(self, dy: Any, kept: Any, count: int) -> list[Any]:
        """The gradient for each of `count` arrays, in the shape of dy: broadcasting is undone behind it."""
        raise NotImplementedError

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        aligned, shapes = _aligned(x)
        y, kept = self.merge(aligned)
        return y, (kept, shapes)

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        kept, shapes = saved
        dx = []
        for gradient, (shape, aligned) in zip(self.split(dy, kept, len(shapes)), shapes):
            # Broadcasting repeats an input along an axis, so its gradient is the sum along that axis.
            repeated = tuple(axis for axis, size in enumerate(aligned) if size != dy.shape[axis])
            dx.append((gradient.sum(axis=repeated) if repeated else gradient).reshape(shape))
        return dx, ()

    def count_flops(self, input_shape: list[Shape], output_shape: Shape) -> int:
        return (len(input_shape) - 1) * prod(output_shape[1:])  # type: ignore[arg-type]


@registry.register("layer")
class Add(_Elementwise):
    """Sum of inputs of one shape, or of shapes that broadcast to one."""

    second_order = "linear"

    def forward(self, x: list[Any], training: bool, relu: bool = False) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        aligned, shapes = _aligned(x)
        y = ops.add_forward(aligned, relu)
        return y, (y if relu else None, shapes)

    def split(self, dy: Any, kept: Any, count: int) -> list[Any]:
        return [dy if kept is None else ops.relu_backward(dy, kept)] * count


@registry.register("layer")
class Average(_Elementwise):
    """Mean of inputs of one shape, or of shapes that broadcast to one."""

    second_order = "linear"

    def merge(self, xs: list[Any]) -> tuple[Any, Any]:
        return ops.rescale(ops.add_forward(xs), 1 / len(xs), 0.0), None

    def split(self, dy: Any, kept: Any, count: int) -> list[Any]:
        return [ops.rescale(dy, 1 / count, 0.0)] * count


@registry.register("layer")
class Subtract(_Elementwise):
    """The first of two inputs less the second."""

    second_order = "linear"

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if len(input_shape) != 2:
            raise ValueError(
                "A `Subtract` layer should be called on exactly 2 inputs. "
                f"Received: input_shape={input_shape}. Layer: '{self.name}'."
            )

    def merge(self, xs: list[Any]) -> tuple[Any, Any]:
        return ops.subtract_forward(*xs), None

    def split(self, dy: Any, kept: Any, count: int) -> list[Any]:
        return list(ops.subtract_backward(dy))


@registry.register("layer")
class Multiply(_Elementwise):
    """Product of inputs of one shape, or of shapes that broadcast to one.

    Steps of an input that its mask leaves out are no factors; where all inputs have masks, a step that none counts is 0.
    """

    def masked_call(self, inputs: list[Any], mask: list[Any]) -> Any:
        where, pairs = registry.operation("where"), _with_masks(inputs, mask)
        y = functools.reduce(registry.operation("multiply"), [x if here is None else where(here, x, 1) for x, here in pairs])
        if any(here is None for _, here in pairs):
            return y
        return where(functools.reduce(registry.operation("logical_or"), [here for _, here in pairs]), y, 0)

    def merge(self, xs: list[Any]) -> tuple[Any, Any]:
        return ops.multiply_forward(xs), xs

    def split(self, dy: Any, kept: Any, count: int) -> list[Any]:
        xs = kept
        return ops.multiply_backward(dy, xs)


class _Chosen(_Elementwise):
    """Base of the merges that choose one of the inputs, element by element; of equal ones the first gets the gradient.

    With masks, from the first input to the last: a step that one of two leaves out is the other's; behind an input without a
    mask, what was chosen counts everywhere.
    """

    chosen_op: ClassVar[str]

    def masked_call(self, inputs: list[Any], mask: list[Any]) -> Any:
        where, choose = registry.operation("where"), registry.operation(self.chosen_op)
        (y, counts), *others = _with_masks(inputs, mask)
        for x, here in others:
            x = x if here is None else where(here, x, y)
            y = choose(y if counts is None else where(counts, y, x), x)
            counts = None if here is None or counts is None else registry.operation("logical_or")(counts, here)
        return y

    def choose(self, xs: list[Any]) -> Any:
        """The chosen elements."""
        raise NotImplementedError

    def merge(self, xs: list[Any]) -> tuple[Any, Any]:
        y = self.choose(xs)
        return y, (xs, y)

    def split(self, dy: Any, kept: Any, count: int) -> list[Any]:
        xs, y = kept
        return ops.chosen_backward(dy, xs, y)


@registry.register("layer")
class Maximum(_Chosen):
    """The largest of the inputs, element by element."""

    chosen_op = "maximum"

    def choose(self, xs: list[Any]) -> Any:
        return ops.maximum_forward(xs)


@registry.register("layer")
class Minimum(_Chosen):
    """The smallest of the inputs, element by element."""

    chosen_op = "minimum"

    def choose(self, xs: list[Any]) -> Any:
        return ops.minimum_forward(xs)


@registry.register("layer")
class Dot(_Merge):
    """Sum of products along an axis of each of two inputs, for each image.

    Args:
        axes: an axis of both inputs, or (of the first, of the second); not 0, the batch axis.
        normalize: whether vectors along these axes are first brought to length 1, so that the result is the cosine
            of the angle between them.

    Output: the axes of the first input without the summed one, then those of the second without that and the batch
    axis; (N, 1) where nothing is left.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("axes", "normalize")

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axes, int):
            if not isinstance(axes, (list, tuple)):
                raise TypeError(f"Invalid type for argument `axes`: it should be a list or an int. Received: axes={axes}")
            if len(axes) != 2:
                raise ValueError(f"Invalid format for argument `axes`: it should contain two elements. Received: axes={axes}")
            if not all(isinstance(axis, int) for axis in axes):
                raise ValueError(f"Invalid format for argument `axes`: list elements should be integers. Received: axes={axes}")
        self.axes = axes
        self.normalize = normalize

    def compute_output_shape(self, input_shape: Any) -> Shape:
        if len(input_shape) != 2 or not isinstance(input_shape[0], (list, tuple)):
            raise ValueError(
                "A `Dot` layer should be called on a list of 2 inputs. "
                f"Received: input_shape={input_shape}. Layer: '{self.name}'."
            )
        _batch_size(input_shape)
        first, second = (list(shape) for shape in input_shape)
        axes = self._axes_of(len(first), len(second))
        sizes = [shape[axis] for shape, axis in zip((first, second), axes)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f"Incompatible input shapes: axis values {sizes[0]} (at axis {axes[0]}) != {sizes[1]} (at axis {axes[1]}). "
                f"Full input shapes: {tuple(first)}, {tuple(second)}"
            )
        del first[axes[0]], second[axes[1]], second[0]
        output = first + second
        return tuple(output) if len(output) > 1 else (*output, 1)

    def build(self, input_shape: Any) -> None:
        self.compute_output_shape(input_shape)  # raises
        self.built = True

    def _axes_of(self, *ranks: int) -> list[int]:
        """The summed axis of each input.

        Raises:
            ValueError: if there is no such axis, or it is the batch axis.
        """
        axes = [self.axes] * 2 if isinstance(self.axes, int) else list(self.axes)
        found = [axis + rank if axis < 0 else axis for axis, rank in zip(axes, ranks)]
        if not all(0 < axis < rank for axis, rank in zip(found, ranks)):
            raise ValueError(
                "Cannot perform batch_dot over axis 0, nor over an axis that an input does not have. "
                f"Received: axes={self.axes} for inputs of ranks {ranks}. Layer: '{self.name}'."
            )
        return found

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        # Each input as matrices (N, rest, K), K the summed axis.
        axes = self._axes_of(*(item.ndim for item in x))
        rows = [_rows(item, axis) for item, axis in zip(x, axes)]
        factors = [ops.unitnorm_forward(matrix, config.epsilon()) for matrix in rows] if self.normalize else rows
        y = ops.batch_dot_forward(*factors).reshape(self.compute_output_shape([item.shape for item in x]))
        return y, (rows, factors, axes, [item.shape for item in x])

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        rows, factors, axes, shapes = saved
        a, b = factors
        gradients = ops.batch_dot_backward(dy.reshape(len(a), a.shape[1], b.shape[1]), a, b)
        if self.normalize:
            gradients = [ops.unitnorm_backward(gradient, matrix, config.epsilon()) for gradient, matrix in zip(gradients, rows)]
        return [_from_rows(gradient, axis, shape) for gradient, axis, shape in zip(gradients, axes, shapes)], ()

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the steps are summed over, or stand beside those of the other input."""

    def count_flops(self, input_shape: list[Shape], output_shape: Shape) -> int:
        axis = self._axes_of(*map(len, input_shape))[0]
        return 2 * prod(output_shape[1:]) * input_shape[0][axis]  # type: ignore[arg-type, operator]


def _rows(x: Any, axis: int) -> Any:
    """(N, ...) as (N, the rest, K), K its `axis`."""
    return moved_last(x, [axis]).reshape(x.shape[0], -1, x.shape[axis])


def _from_rows(rows: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """Back to `shape`."""
    rest = [size for i, size in enumerate(shape) if i != axis]
    return moved_back(rows.reshape(*rest, shape[axis]), [axis])


@registry.register("layer")
class Concatenate(_Merge):
    """The inputs one after another along `axis`.

    Args:
        axis: 0 is the batch axis; negative axes are counted from the end.
    """

    second_order = "linear"

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

    def _merged_mask(self, inputs: list[Any], masks: list[Any]) -> Any:
        """The masks one after another along `axis`, as masks of elements; a step counts where one of its elements does."""
        if all(one is None for one in masks):
            return None
        of_elements = []
        for x, mask in zip(inputs, masks):
            missing = len(x.shape) - (0 if mask is None else len(mask.shape))
            if missing:
                whole = registry.operation("full_like")(x, True, "bool")
                for _ in range(0 if mask is None else missing):
                    mask = registry.operation("expand_dims")(mask, -1)
                mask = whole if mask is None else registry.operation("logical_and")(mask, whole)
            of_elements.append(mask)
        return registry.operation("any")(registry.operation("concatenate")(of_elements, self.axis), -1)

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        return ops.concatenate_forward(list(x), self.axis), [item.shape[self.axis] for item in x]

    def backward(self, dy: Any, saved: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return ops.concatenate_backward(dy, saved, self.axis), ()


def add(inputs: list[Any], **kwargs: Any) -> Any:
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def average(inputs: list[Any], **kwargs: Any) -> Any:
    """`Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def concatenate(inputs: list[Any], axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: list[Any], axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)


def maximum(inputs: list[Any], **kwargs: Any) -> Any:
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: list[Any], **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def multiply(inputs: list[Any], **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def subtract(inputs: list[Any], **kwargs: Any) -> Any:
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)
