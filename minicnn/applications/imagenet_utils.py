"""Pixels and classes of ImageNet, and the shapes that its networks take."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import activations, backends, config, ops
from minicnn.datasets.files import get_file

__all__ = [
    "correct_pad",
    "decode_predictions",
    "obtain_input_shape",
    "preprocess_input",
    "preprocessing",
    "require_three",
    "validate_activation",
]

_MEANS_BGR = (103.939, 116.779, 123.68)
_MEANS_RGB, _DEVIATIONS_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_CLASSES_URL = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
_CLASSES_MD5 = "c2c37ea517e94d9795004a39431a14cb"


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


def preprocessing(mode: str | None) -> Callable[..., Any]:
    """The `preprocess_input` of a network: `preprocess_input` in one mode; None for one whose first layers do it themselves."""

    def preprocess(x: Any, data_format: str | None = None) -> Any:
        return x if mode is None else preprocess_input(x, data_format, mode)

    preprocess.__name__ = preprocess.__qualname__ = "preprocess_input"
    preprocess.__doc__ = (
        "x, as it is: the network takes values in [0, 255]."
        if mode is None
        else f'Images of values in [0, 255] as this network takes them: `imagenet_utils.preprocess_input` in the mode "{mode}".'
    )
    return preprocess


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, Any]]]:
    """The most probable classes of ImageNet, of each image.

    Args:
        preds: (N, 1000), what a network returns.
        top: how many.

    Returns:
        Of each image a list of (WordNet's name, the class in words, probability), the most probable first. The words are in
        a small file that is downloaded, unless it is in Keras's cache.

    Raises:
        ValueError: for another shape (Keras's wording).
        OSError: where the file cannot be downloaded, saying where to put it.

    Source: ImageNet's 1000 classes of 2012, Russakovsky et al. 2015, arXiv:1409.0575.
    """
    shape = tuple(preds.shape)
    if len(shape) != 2 or shape[1] != 1000:
        raise ValueError(
            "`decode_predictions` expects a batch of predictions (i.e. a 2D array of shape (samples, 1000)). "
            f"Received array with shape: {shape}"
        )
    path = get_file("imagenet_class_index.json", _CLASSES_URL, cache_subdir="models", file_hash=_CLASSES_MD5)
    with open(path, encoding="utf-8") as file:
        classes = json.load(file)
    probabilities = np.asarray(backends.to_numpy(preds))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [[(*classes[str(place)], row[place]) for place in places] for places, row in zip(order, probabilities)]


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


def obtain_input_shape(
    input_shape: Any, default_size: int, min_size: int, data_format: str, require_flatten: bool, weights: Any = None
) -> tuple[int | None, ...]:
    """The shape of a network's images, without the batch axis: the one asked for, if the network can take it.

    Args:
        input_shape: what was asked for; None for the default.
        default_size: height and width by default. min_size: the smallest.
        data_format: "channels_last" or "channels_first".
        require_flatten: whether the network has its top, which needs to know the size.
        weights: "imagenet" for those trained there: three channels, and with the top the default size.

    Raises:
        ValueError: for a shape that does not fit (Keras's wording).
    """
    pretrained, last = weights == "imagenet", data_format == "channels_last"
    shape = tuple(input_shape) if input_shape else None
    channels: int | None = 3
    if not pretrained and shape and len(shape) == 3:
        channels = shape[-1 if last else 0]
        if channels not in (1, 3):
            warnings.warn(
                "This model usually expects 1 or 3 input channels. However, it was passed an input_shape with "
                f"{channels} input channels.",
                stacklevel=2,
            )
    default = (default_size, default_size, channels) if last else (channels, default_size, default_size)
    if pretrained and require_flatten:
        if shape not in (None, default):
            raise ValueError(
                "When setting `include_top=True` and loading `imagenet` weights, "
                f"`input_shape` should be {default}.  Received: input_shape={input_shape}"
            )
        return default
    if shape is None:
        unknown = (None, None, channels) if last else (channels, None, None)
        return default if require_flatten else unknown
    require_three(input_shape)
    if pretrained and shape[-1 if last else 0] != 3:
        raise ValueError(f"The input must have 3 channels; Received `input_shape={input_shape}`")
    if any(size is not None and size < min_size for size in (shape[:2] if last else shape[1:])):
        raise ValueError(f"Input size must be at least {min_size}x{min_size}; Received: input_shape={input_shape}")
    if require_flatten and None in shape:
        raise ValueError(
            f"If `include_top` is True, you should specify a static `input_shape`. Received: input_shape={input_shape}"
        )
    return shape


def require_three(input_shape: Any) -> None:
    """Raise ValueError if a shape has not three sizes (Keras's wording)."""
    if len(input_shape) != 3:
        raise ValueError(f"`input_shape` must be a tuple of three integers. Received: input_shape={input_shape}")


def validate_activation(classifier_activation: Any, weights: Any) -> None:
    """Raise ValueError if the last layer's activation is not that of the weights, softmax, or none (Keras's wording)."""
    if weights is None or activations.get(classifier_activation) in (None, activations.linear, activations.softmax):
        return
    raise ValueError(
        "Only `None` and `softmax` activations are allowed for the `classifier_activation` argument when using "
        f"pretrained weights, with `include_top=True`; Received: classifier_activation={classifier_activation}"
    )
