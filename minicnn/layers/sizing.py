"""Layers without weights that crop, pad, enlarge and repeat."""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import registry, shapes
from minicnn.backends import ops
from minicnn.backends.volumes import separably
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.spatial import Spatial
from minicnn.layers.symbolic import Shape

# The radius by which `ops.upsample2d_forward` knows a filter; 0 for none, repeated pixels.
_RADIUS = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}

# What errors call the sides of a volume.
_ONE_EACH = "(symmetric_dim1_{0}, symmetric_dim2_{0}, symmetric_dim3_{0})"
_TWO_EACH = "((left_dim1_{0}, right_dim1_{0}), (left_dim2_{0}, right_dim2_{0}), (left_dim3_{0}, right_dim3_{0}))"

Sides = tuple[tuple[int, int], ...]


def _positive_integer(value: Any, argument: str) -> int:
    """`value`, if it is a positive int; an error in Keras's words otherwise."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Expected an integer value for `{argument}`, got {type(value)}.")
    if value <= 0:
        raise ValueError(f"Argument `{argument}` should be a positive integer. Received: {argument}={value}")
    return value


def _reject_negative(cropping: Any) -> None:
    if isinstance(cropping, int) and cropping < 0:
        raise ValueError(f"`cropping` cannot be negative. Received: cropping={cropping}.")


@registry.register("layer")
class UpSampling2D(Spatial):
    """Images enlarged: FH times as high and FW times as wide.

    Args:
        size: FH and FW, an int for both.
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        interpolation: "nearest" repeats each pixel; "bilinear", "bicubic", "lanczos3" and "lanczos5" mix neighbours,
            see `ops.upsample2d_forward`.

    Input (N, H, W, C), output (N, H*FH, W*FW, C).
    """

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("size", "data_format", "interpolation")
    size: int | tuple[int, ...]

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.size = shapes.integers(size, self.rank, "size")
        self._factors = self._of_image(self.size)
        self.interpolation = interpolation.lower()
        self.input_spec = InputSpec(ndim=self.rank + 2)
        if self.interpolation not in _RADIUS:
            raise ValueError(
                f"Invalid `interpolation` argument: it should be one of {tuple(_RADIUS)}. "
                f"Received: interpolation={interpolation!r}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *image, C = self.image_shape(input_shape)
        larger = [None if size is None else size * factor for size, factor in zip(image, self._factors)]
        return self.given_shape((N, *larger, C))

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        x = self.images(x)
        image = x.shape[1:-1]
        radius = _RADIUS[self.interpolation]
        if radius:
            H, W = image
            y = ops.upsample2d_forward(x, (H * self._factors[0], W * self._factors[1]), radius)
        else:
            y = self._repeat(ops.upsample2d_nearest_forward, x)
        return self.as_given(y), image

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        image = saved
        dy, radius = self.images(dy), _RADIUS[self.interpolation]
        if radius:
            dx = ops.upsample2d_backward(dy, image, radius)
        else:
            dx = self._repeat(ops.upsample2d_nearest_backward, dy)
        return self.as_given(dx), ()

    def _repeat(self, op: Any, x: Any) -> Any:
        *depth, FH, FW = self._factors
        return separably(op, x, (FH, FW), (*depth, 1)) if depth else op(x, (FH, FW))


@registry.register("layer")
class UpSampling1D(UpSampling2D):
    """Each step of a signal `size` times.

    Input (N, L, C), output (N, L*size, C).
    """

    rank = 1
    _own_arguments: ClassVar[tuple[str, ...]] = ("size",)

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(_positive_integer(size, "size"), "channels_last", **kwargs)
        self.size = size


@registry.register("layer")
class UpSampling3D(UpSampling2D):
    """Volumes enlarged: each voxel `size` times along each axis.

    Args:
        size: (FD, FH, FW), an int for all.
        data_format: as in `UpSampling2D`.

    Input (N, D, H, W, C), output (N, D*FD, H*FH, W*FW, C).
    """

    rank = 3
    _own_arguments: ClassVar[tuple[str, ...]] = ("size", "data_format")

    def __init__(self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(size, data_format, **kwargs)


@registry.register("layer")
class RepeatVector(Layer):
    """A vector `n` times: input (N, C), output (N, n, C)."""

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("n",)

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = _positive_integer(n, "n")
        self.input_spec = InputSpec(ndim=2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, C = input_shape
        return (N, self.n, C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.upsample2d_nearest_forward(x[:, None, None], (1, self.n))[:, 0], None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.upsample2d_nearest_backward(dy[:, None], (1, self.n))[:, 0, 0], ()


class _Bordered(Spatial):
    """Base of the layers that take rows and columns away from the edges of images, or add some; of volumes also slices."""

    _sides: Sides  # ((top, bottom), (left, right)), of volumes behind (front, back)
    _sign: ClassVar[int]  # 1 for a padding, -1 for a cropping

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *image, C = self.image_shape(input_shape)
        sizes = [None if size is None else size + self._sign * sum(sides) for size, sides in zip(image, self._sides)]
        if any(size is not None and size <= 0 for size in sizes):
            # Keras has another sentence for signals.
            demand = (
                f"`cropping` parameter of `{type(self).__name__}` layer must be smaller than the input's length"
                if self.rank == 1
                else "Values in `cropping` argument should be smaller than the corresponding spatial dimension of the input"
            )
            raise ValueError(
                f"{demand}. Received: input_shape={tuple(input_shape)}, cropping={self._sides[-self.rank :]}. "
                f"Layer: '{self.name}'."
            )
        return self.given_shape((N, *sizes, C))

    def _with_border(self, x: Any) -> Any:
        return self.as_given(self._bordered(ops.zero_pad2d_forward, self.images(x)))

    def _without_border(self, y: Any) -> Any:
        return self.as_given(self._bordered(ops.zero_pad2d_backward, self.images(y)))

    def _bordered(self, op: Any, x: Any) -> Any:
        *depth, rows, columns = self._sides
        return separably(op, x, (*rows, *columns), (*depth[0], 0, 0)) if depth else op(x, (*rows, *columns))


class _Padding(_Bordered):
    """Base of the layers that put zeros around."""

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("padding", "data_format")
    _sign = 1

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return self._with_border(x), None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return self._without_border(dy), ()


class _Cropping(_Bordered):
    """Base of the layers that cut off what lies at the edges: each pass is the other's of a padding."""

    second_order = "linear"

    _own_arguments: ClassVar[tuple[str, ...]] = ("cropping",)
    _sign = -1

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        self.compute_output_shape(x.shape)  # raises
        return self._without_border(x), None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return self._with_border(dy), ()


@registry.register("layer")
class ZeroPadding2D(_Padding):
    """Images with rows and columns of zeros around them.

    Args:
        padding: an int for all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
    """

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.padding = self._sides = shapes.sides(padding, "padding", "(rows, columns)", "((top, bottom), (left, right))")
        self.input_spec = InputSpec(ndim=4)


@registry.register("layer")
class ZeroPadding1D(_Padding):
    """Signals (N, L, C) with zeros at their ends.

    Args:
        padding: an int for both ends, or (at the beginning, at the end).
        data_format: as in `ZeroPadding2D`.
    """

    rank = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.padding = shapes.pair(padding, "padding", allow_zero=True)
        self._sides = (0, 0), self.padding
        self.input_spec = InputSpec(ndim=3)


@registry.register("layer")
class ZeroPadding3D(_Padding):
    """Volumes with slices, rows and columns of zeros around them.

    Args:
        padding: an int for all sides, (slices, rows, columns), or ((front, back), (top, bottom), (left, right)).
        data_format: as in `ZeroPadding2D`.
    """

    rank = 3

    def __init__(self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        one_each, two_each = _ONE_EACH.format("pad"), _TWO_EACH.format("pad")
        self.padding = self._sides = shapes.sides(padding, "padding", one_each, two_each, axes=3)
        self.input_spec = InputSpec(ndim=5)


@registry.register("layer")
class Cropping2D(_Cropping):
    """Images without rows and columns at their edges.

    Args:
        cropping: an int for all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: as in `ZeroPadding2D`.

    Raises:
        ValueError: on an image of which nothing would be left.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("cropping", "data_format")

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        _reject_negative(cropping)
        two, four = "(symmetric_height_crop, symmetric_width_crop)", "((top_crop, bottom_crop), (left_crop, right_crop))"
        self.cropping = self._sides = shapes.sides(cropping, "cropping", two, four)
        self.input_spec = InputSpec(ndim=4)


@registry.register("layer")
class Cropping1D(_Cropping):
    """Signals (N, L, C) without steps at their ends.

    Args:
        cropping: an int for both ends, or (at the beginning, at the end).
    """

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = shapes.pair(cropping, "cropping", allow_zero=True)
        self._sides = (0, 0), self.cropping
        self.input_spec = InputSpec(ndim=3)


@registry.register("layer")
class Cropping3D(_Cropping):
    """Volumes without slices, rows and columns at their edges.

    Args:
        cropping: an int for all sides, (slices, rows, columns), or ((front, back), (top, bottom), (left, right)).
        data_format: as in `ZeroPadding2D`.

    Raises:
        ValueError: on a volume of which nothing would be left.
    """

    rank = 3
    _own_arguments: ClassVar[tuple[str, ...]] = ("cropping", "data_format")

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        _reject_negative(cropping)
        one_each, two_each = _ONE_EACH.format("crop"), _TWO_EACH.format("crop")
        self.cropping = self._sides = shapes.sides(cropping, "cropping", one_each, two_each, axes=3)
        self.input_spec = InputSpec(ndim=5)
