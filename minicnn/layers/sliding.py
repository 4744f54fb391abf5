"""What the convolutions have in common: a kernel that slides over an image, a signal or a volume."""

from __future__ import annotations

from typing import Any, ClassVar

from minicnn import regularizers, shapes
from minicnn.backends.volumes import window_over_space
from minicnn.layers.affine import Affine
from minicnn.layers.arguments import output_image, standardize_data_format, standardize_padding
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.spatial import Spatial
from minicnn.layers.symbolic import Shape


class Sliding(Affine, Spatial):
    """Base of the convolutions.

    Args:
        window: kernel_size, strides, padding, data_format and dilation_rate, as their users give them.
        others: as of `Affine` and `Layer`.
    """

    _takes_causal: ClassVar[bool] = False
    groups: int = 1

    def __init__(self, window: tuple[Any, Any, Any, Any, Any], **others: Any) -> None:
        super().__init__(**others)
        kernel_size, strides, padding, data_format, dilation_rate = window
        self.kernel_size = shapes.integers(kernel_size, self.rank, "kernel_size")
        self.strides = shapes.integers(strides, self.rank, "strides")
        self.padding = standardize_padding(padding, allow_causal=self._takes_causal)
        self.data_format = standardize_data_format(data_format, self.name)
        self.dilation_rate = shapes.integers(dilation_rate, self.rank, "dilation_rate")
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _reject_strides_with_dilation(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides > 1` not supported in conjunction with `dilation_rate > 1`. "
                f"Received: strides={self.strides} and dilation_rate={self.dilation_rate}"
            )

    def _expect_channels(self, C_in: int) -> None:
        """From now on refuse inputs of other channels."""
        self.input_spec = InputSpec(min_ndim=self.rank + 2, axes={1 if self._channels_first else -1: C_in})

    def _channels_out(self, C_in: Any) -> Any:
        """How many channels come out of so many."""
        raise NotImplementedError

    def _check_rank(self, input_shape: Shape) -> None:
        if len(input_shape) != self.rank + 2:
            kernel_shape = (*self.kernel_size, input_shape[-1], self._channels_out(input_shape[-1]))
            raise ValueError(
                "Kernel shape must have the same length as input, but received "
                f"kernel of shape {kernel_shape} and input of shape {tuple(input_shape)}."
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        N, *image, C_in = self.image_shape(input_shape)
        window, strides = self._of_image(self.kernel_size), self._of_image(self.strides)
        size = output_image(image, window, strides, self.padding, self._of_image(self.dilation_rate))
        if 0 in size:
            raise ValueError(
                f"Computed output size would be zero or negative. Received `inputs shape={tuple(input_shape)}`, "
                f"`kernel shape={(*self.kernel_size, C_in, self._channels_out(C_in))}`, "
                f"`dilation_rate={self.dilation_rate}`, `strides={self.strides}`, `padding={self.padding}`. "
                f"Layer: '{self.name}'."
            )
        return self.given_shape((N, *size, self._channels_out(C_in)))

    def window_over(self, input_shape: Shape) -> Any:
        """How the kernel slides over what the layer is given: a `Window`, over volumes a `Window3D`.

        Raises:
            ValueError: if it does not fit.
        """
        _, *image, _ = self.image_shape(input_shape)
        size, strides, dilation = map(self._of_image, (self.kernel_size, self.strides, self.dilation_rate))
        window = window_over_space(tuple(image), size, strides, self.padding, dilation, self.groups)
        if min(window.output) < 1:
            self.compute_output_shape(input_shape)  # raises
        return window

    def _of_images(self, kernel: Any) -> Any:
        """A kernel, or its gradient, as one over images: of signals, with a height of 1."""
        return kernel[None] if self.rank == 1 else kernel

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"activity_regularizer": regularizers.serialize(self.activity_regularizer)}


def check_filters(filters: Any) -> None:
    """Raise ValueError unless it is a positive integer (Keras's wording)."""
    if isinstance(filters, bool) or not hasattr(filters, "__index__") or filters <= 0:
        raise ValueError(
            f"Invalid value for argument `filters`. Expected a strictly positive value. Received filters={filters!r}."
        )
