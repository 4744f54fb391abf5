"""MobileNet: depthwise separable convolutions, 3×3 channel by channel, then 1×1 across them.

Source: Howard et al. 2017, MobileNets, arXiv:1704.04861.
"""

from __future__ import annotations

import warnings
from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import RELEASES, Asked, Release, batch_norm, network
from minicnn.layers import (
    Activation,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from minicnn.models import Model

__all__ = ["MobileNet", "decode_predictions", "default_size", "preprocess_input", "released_size"]

preprocess_input = preprocessing("tf")

_SIZES = (128, 160, 192, 224)  # of images, for which there are weights
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
_WIDTHS = {1.0: "1_0", 0.75: "7_5", 0.50: "5_0", 0.25: "2_5"}  # as the files' names have them


def default_size(size: tuple[int | None, int | None], sizes: tuple[int, ...]) -> int:
    """The height of images of this size, if there are weights for them; else 224."""
    height, width = size
    return height if height is not None and height == width and height in sizes else 224


def released_size(asked: Asked, sizes: tuple[int, ...]) -> int | None:
    """The size of images that a network's weights for ImageNet are of: that of `asked`, or 224 with a warning.

    Of a network with other weights, the height of its images.
    """
    height, width = asked.size
    if not asked.pretrained or (height == width and height in sizes):
        return height
    allowed = f"in {list(sizes)}" if len(sizes) > 1 else sizes[0]
    warnings.warn(
        f"`input_shape` is undefined or non-square, or `rows` is not {allowed}. "
        "Weights for input shape (224, 224) will be loaded as the default.",
        stacklevel=2,
    )
    return 224


def _block(x: Any, number: int, filters: int, strides: int, depth_multiplier: int) -> Any:
    if strides > 1:
        x = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
    depthwise = DepthwiseConv2D(
        (3, 3),
        padding="same" if strides == 1 else "valid",
        depth_multiplier=depth_multiplier,
        strides=(strides, strides),
        use_bias=False,
        name=f"conv_dw_{number}",
    )
    x = _norm_relu6(depthwise(x), f"conv_dw_{number}")
    pointwise = Conv2D(filters, (1, 1), padding="same", use_bias=False, name=f"conv_pw_{number}")
    return _norm_relu6(pointwise(x), f"conv_pw_{number}")


def _norm_relu6(x: Any, name: str) -> Any:
    return ReLU(6.0, name=f"{name}_relu")(batch_norm(x, f"{name}_bn"))


def _mobilenet(asked: Asked, alpha: float, depth_multiplier: int, dropout: float) -> Model:
    x: Any = asked.images(default_size(asked.size, _SIZES), min_size=32)
    if asked.pretrained and depth_multiplier != 1:
        raise ValueError(
            f"If imagenet weights are being loaded, depth multiplier must be 1.  Received depth_multiplier={depth_multiplier}"
        )
    if asked.pretrained and alpha not in _WIDTHS:
        raise ValueError(
            "If imagenet weights are being loaded, alpha can be one of `0.25`, `0.50`, `0.75` or `1.0` only.  "
            f"Received alpha={alpha}"
        )
    trained_on = released_size(asked, _SIZES)
    first = Conv2D(int(32 * alpha), (3, 3), padding="same", use_bias=False, strides=(2, 2), name="conv1")
    x = _norm_relu6(first(x), "conv1")
    for number, (filters, strides) in enumerate(_BLOCKS, 1):
        x = _block(x, number, int(filters * alpha), strides, depth_multiplier)
    if asked.include_top:
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(asked.classes, (1, 1), padding="same", name="conv_preds")(x)
        x = Reshape((asked.classes,), name="reshape_2")(x)
        x = Activation(activation=asked.classifier_activation, name="predictions")(x)
    else:
        x = asked.pooled(x)
    asked.name = asked.name or f"mobilenet_{alpha:0.2f}_{trained_on}"
    file = f"{RELEASES}mobilenet/mobilenet_{_WIDTHS.get(alpha)}_{trained_on}_tf"
    return asked.model(x, Release(file, without_top="_no_top"))


MobileNet = network(
    "MobileNet",
    _mobilenet,
    "input_shape alpha depth_multiplier dropout include_top weights input_tensor pooling classes classifier_activation name",
    alpha=1.0,
    depth_multiplier=1,
    dropout=1e-3,
)
