"""Constructor arguments that several layers share, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import config, shapes


def standardize_padding(padding: Any, allow_causal: bool = False) -> str:
    """The padding "valid", "same" or (of signals) "causal", however it is capitalised.

    Raises:
        ValueError: for anything else.
    """
    name = padding.lower() if isinstance(padding, str) else padding
    allowed = ("valid", "same", "causal") if allow_causal else ("valid", "same")
    if name not in allowed:
        raise ValueError(f"The `padding` argument must be one of {allowed}. Received: padding={padding!r}")
    return name


def standardize_data_format(data_format: Any, layer_name: str | None = None) -> str:
    """The format "channels_last" or "channels_first", however it is capitalised; None for `config.image_data_format()`.

    Args:
        layer_name: that the error says, where it is a layer's.

    Raises:
        ValueError: for anything else.
    """
    name = config.image_data_format() if data_format is None else str(data_format).lower()
    if name not in ("channels_first", "channels_last"):
        raise ValueError(
            "The `data_format` argument must be one of ('channels_first', 'channels_last'). "
            f"Received: data_format={data_format!r}." + ("" if layer_name is None else f" Layer: '{layer_name}'.")
        )
    return name


def defined_channels(input_shape: Sequence[int | None], layer_name: str) -> int:
    """The size of the input's last axis, which the weights' shapes depend on.

    Raises:
        ValueError: if it is None.
    """
    if input_shape[-1] is None:
        raise ValueError(
            f"Layer '{layer_name}': the last dimension of the inputs must be defined. Full input shape received: {input_shape}"
        )
    return input_shape[-1]


def reject_unsupported(layer_name: str, **arguments: Any) -> None:
    """Raise ValueError for the first argument that is true: it asks for something that minicnn does not have."""
    for argument, value in arguments.items():
        if value:
            raise ValueError(f"Layer '{layer_name}': `{argument}` is not supported by minicnn. Received: {argument}={value!r}")


def output_image(
    image: Sequence[int | None],
    window: Sequence[int],
    strides: Sequence[int],
    padding: str,
    dilation: Sequence[int] = (1, 1, 1),
) -> tuple[int | None, ...]:
    """Output (height, width) of a window that slides over an image of (height, width); of a volume likewise.

    A size that is None stays None; where the image is smaller than the window, the output is 0.

        >>> output_image((32, None), (3, 3), (2, 2), "valid")
        (15, None)
    """

    def along(axis: int) -> int | None:
        size, stride, step = image[axis], strides[axis], dilation[axis]
        if size is None:
            return None
        pads = shapes.axis_pads(padding, size, window[axis], stride, step)
        return max(shapes.padded_window(size, window[axis], stride, *pads, step), 0)

    return tuple(along(axis) for axis in range(len(image)))
