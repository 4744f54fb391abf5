"""Constructor arguments that several layers share, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import shapes


def standardize_padding(padding: Any) -> str:
    """The padding "valid" or "same", however it is capitalised.

    Raises:
        ValueError: for anything else.
    """
    name = padding.lower() if isinstance(padding, str) else padding
    if name not in ("valid", "same"):
        raise ValueError(f"The `padding` argument must be one of ('valid', 'same'). Received: padding={padding!r}")
    return name


def standardize_data_format(data_format: Any, layer_name: str) -> str:
    """The format "channels_last", which None also stands for.

    Raises:
        ValueError: for "channels_first", which minicnn does not store, and for unknown formats.
    """
    name = "channels_last" if data_format is None else str(data_format).lower()
    if name == "channels_first":
        raise ValueError(
            f"Layer '{layer_name}': minicnn stores images as (batch, height, width, channels), so that `data_format` must be "
            f"'channels_last'. Received: data_format={data_format!r}"
        )
    if name != "channels_last":
        raise ValueError(
            "The `data_format` argument must be one of ('channels_first', 'channels_last'). "
            f"Received: data_format={data_format!r}"
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
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int | None, int | None]:
    """Output (height, width) of a window that slides over an image of (height, width).

    A size that is None stays None; where the image is smaller than the window, the output is 0.

    >>> output_image((32, None), (3, 3), (2, 2), "valid")
    (15, None)
    """

    def along(axis: int) -> int | None:
        size, stride, step = image[axis], strides[axis], dilation[axis]
        if size is None:
            return None
        pads = shapes.same_pads(size, window[axis], stride, step) if padding == "same" else (0, 0)
        return max(shapes.padded_window(size, window[axis], stride, *pads, step), 0)

    return along(0), along(1)
