"""Layers without weights that crop, enlarge and repeat: of images (N, H, W, C), and of signals (N, L, C).

A signal is an image of height 1, and is computed as one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import registry, shapes
from minicnn.backends import ops
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape

# The radius by which `ops.upsample2d_forward` knows a filter; 0 for none, repeated pixels.
_RADIUS = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def _times(size: int | None, factor: int) -> int | None:
    return None if size is None else size * factor


def _positive_integer(value: Any, argument: str) -> int:
    """`value`, if it is a positive int; an error in Keras's words otherwise."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Expected an integer value for `{argument}`, got {type(value)}.")
    if value <= 0:
        raise ValueError(f"Argument `{argument}` should be a positive integer. Received: {argument}={value}")
    return value


@registry.register("layer")
class UpSampling2D(Layer):
    """Images enlarged: FH times as high and FW times as wide.

    Args:
        size: FH and FW, an int for both.
        data_format: None or "channels_last".
        interpolation: "nearest" repeats each pixel; "bilinear", "bicubic", "lanczos3" and "lanczos5" mix neighbours,
            see `ops.upsample2d_forward`.

    Input (N, H, W, C), output (N, H*FH, W*FW, C).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("size", "data_format", "interpolation")

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.size = shapes.pair(size, "size")
        self.interpolation = interpolation.lower()
        self.input_spec = InputSpec(ndim=4)
        if self.interpolation not in _RADIUS:
            raise ValueError(
                f"Invalid `interpolation` argument: it should be one of {tuple(_RADIUS)}. "
                f"Received: interpolation={interpolation!r}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, H, W, C = input_shape
        return (N, _times(H, self.size[0]), _times(W, self.size[1]), C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        if self.interpolation == "nearest":
            return ops.upsample2d_nearest_forward(x, self.size), None
        image = x.shape[1:3]
        _, *larger, _ = self.compute_output_shape(x.shape)
        return ops.upsample2d_forward(x, larger, _RADIUS[self.interpolation]), image

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        if self.interpolation == "nearest":
            return ops.upsample2d_nearest_backward(dy, self.size), ()
        image = saved
        return ops.upsample2d_backward(dy, image, _RADIUS[self.interpolation]), ()


@registry.register("layer")
class UpSampling1D(Layer):
    """Each step of a signal `size` times.

    Input (N, L, C), output (N, L*size, C).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("size",)

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = _positive_integer(size, "size")
        self.input_spec = InputSpec(ndim=3)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, L, C = input_shape
        return (N, _times(L, self.size), C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.upsample2d_nearest_forward(x[:, None], (1, self.size))[:, 0], None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.upsample2d_nearest_backward(dy[:, None], (1, self.size))[:, 0], ()


@registry.register("layer")
class RepeatVector(Layer):
    """A vector `n` times: input (N, C), output (N, n, C)."""

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


@registry.register("layer")
class Cropping2D(Layer):
    """Images without rows and columns at their edges.

    Args:
        cropping: an int for all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: None or "channels_last".

    Raises:
        ValueError: on an image of which nothing would be left.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("cropping", "data_format")

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        if isinstance(cropping, int) and cropping < 0:
            raise ValueError(f"`cropping` cannot be negative. Received: cropping={cropping}.")
        self.cropping = shapes.sides(
            cropping,
            "cropping",
            "(symmetric_height_crop, symmetric_width_crop)",
            "((top_crop, bottom_crop), (left_crop, right_crop))",
        )
        self.input_spec = InputSpec(ndim=4)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *image, C = input_shape
        cropped = [None if size is None else size - sum(sides) for size, sides in zip(image, self.cropping)]
        if any(size is not None and size <= 0 for size in cropped):
            raise ValueError(
                "Values in `cropping` argument should be smaller than the corresponding spatial dimension of the input. "
                f"Received: input_shape={tuple(input_shape)}, cropping={self.cropping}. Layer: '{self.name}'."
            )
        return (N, *cropped, C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        self.compute_output_shape(x.shape)  # raises
        # What is cropped is what padding adds: each pass is the other's of `ZeroPadding2D`.
        return ops.zero_pad2d_backward(x, (*self.cropping[0], *self.cropping[1])), None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.zero_pad2d_forward(dy, (*self.cropping[0], *self.cropping[1])), ()


@registry.register("layer")
class Cropping1D(Layer):
    """Signals (N, L, C) without steps at their ends.

    Args:
        cropping: an int for both ends, or (at the beginning, at the end).
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("cropping",)

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = shapes.pair(cropping, "cropping", allow_zero=True)
        self.input_spec = InputSpec(ndim=3)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, L, C = input_shape
        length = None if L is None else L - sum(self.cropping)
        if length is not None and length <= 0:
            raise ValueError(
                "`cropping` parameter of `Cropping1D` layer must be smaller than the input length. "
                f"Received: input_shape={tuple(input_shape)}, cropping={self.cropping}. Layer: '{self.name}'."
            )
        return (N, length, C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        self.compute_output_shape(x.shape)  # raises
        return ops.zero_pad2d_backward(x[:, None], (0, 0, *self.cropping))[:, 0], None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.zero_pad2d_forward(dy[:, None], (0, 0, *self.cropping))[:, 0], ()


@registry.register("layer")
class ZeroPadding2D(Layer):
    """Images with rows and columns of zeros around them.

    Args:
        padding: an int for all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: None or "channels_last".
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("padding", "data_format")

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.padding = shapes.sides(padding, "padding", "(rows, columns)", "((top, bottom), (left, right))")
        self.input_spec = InputSpec(ndim=4)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, *image, C = input_shape
        return (N, *(None if size is None else size + sum(sides) for size, sides in zip(image, self.padding)), C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.zero_pad2d_forward(x, (*self.padding[0], *self.padding[1])), None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.zero_pad2d_backward(dy, (*self.padding[0], *self.padding[1])), ()


@registry.register("layer")
class ZeroPadding1D(Layer):
    """Signals (N, L, C) with zeros at their ends.

    Args:
        padding: an int for both ends, or (at the beginning, at the end).
        data_format: None or "channels_last".
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("padding", "data_format")

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.padding = shapes.pair(padding, "padding", allow_zero=True)
        self.input_spec = InputSpec(ndim=3)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, L, C = input_shape
        return (N, None if L is None else L + sum(self.padding), C)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return ops.zero_pad2d_forward(x[:, None], (0, 0, *self.padding))[:, 0], None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return ops.zero_pad2d_backward(dy[:, None], (0, 0, *self.padding))[:, 0], ()
