"""Pixels as networks for ImageNet expect them, and the borders that they put around images."""

from __future__ import annotations

from typing import Any

from minicnn import config, ops

__all__ = ["correct_pad", "preprocess_input"]

_MEANS_BGR = (103.939, 116.779, 123.68)
_MEANS_RGB, _DEVIATIONS_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Images of values in [0, 255], (H, W, 3) or (N, H, W, 3), as networks were trained on them; x stays as it is.

    Args:
        data_format: "channels_last" or "channels_first"; default `config.image_data_format()`.
        mode: "caffe": blue first, less the mean of each channel. "tf": from -1 to 1. "torch": from 0 to 1, less the mean
            of each channel, divided by its standard deviation.

    Raises:
        ValueError: for another mode or format (Keras's wording).
    """
    if mode not in ("caffe", "tf", "torch"):
        raise ValueError(f"Expected mode to be one of `caffe`, `tf` or `torch`. Received: mode={mode}")
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            f"Expected data_format to be one of `channels_first` or `channels_last`. Received: data_format={data_format}"
        )
    if str(x.dtype) not in ("float32", "float64"):
        x = ops.cast(x, config.floatx())
    if mode == "tf":
        return ops.subtract(ops.divide(x, 127.5), 1.0)
    last = data_format == "channels_last"
    shape = (3,) if last else (3, 1, 1)

    def of_channels(values: Any) -> Any:
        return ops.reshape(ops.convert_to_tensor(list(values), str(x.dtype)), shape)

    if mode == "torch":
        return ops.divide(ops.subtract(ops.divide(x, 255.0), of_channels(_MEANS_RGB)), of_channels(_DEVIATIONS_RGB))
    return ops.subtract(ops.flip(x, -1 if last else -3), of_channels(_MEANS_BGR))


def correct_pad(inputs: Any, kernel_size: int | tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The `ZeroPadding2D` before a convolution of stride 2, as those networks have it: ((top, bottom), (left, right)).

    Args:
        inputs: the images' tensor, whose height and width decide.
    """
    sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    first = 2 if config.image_data_format() == "channels_first" else 1
    extents = inputs.shape[first : first + 2]
    less = [1 if extents[0] is None else 1 - extent % 2 for extent in extents]
    top, left = (size // 2 - one for size, one in zip(sizes, less))
    return (top, sizes[0] // 2), (left, sizes[1] // 2)
