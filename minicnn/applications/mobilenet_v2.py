"""MobileNetV2: inverted residual blocks, wide inside and narrow between them.

Source: Sandler et al. 2018, MobileNetV2: Inverted residuals and linear bottlenecks, arXiv:1801.04381 (table 2).
"""

from __future__ import annotations

from typing import Any

from minicnn.applications.imagenet_utils import correct_pad, decode_predictions, preprocessing
from minicnn.applications.mobilenet import default_size, released_size
from minicnn.applications.network import RELEASES, Asked, Release, batch_norm, channel_axis, network, rounded, spatial
from minicnn.layers import Add, Conv2D, DepthwiseConv2D, ReLU, ZeroPadding2D
from minicnn.models import Model

__all__ = ["MobileNetV2", "decode_predictions", "match_input_tensor", "preprocess_input", "slow_norm"]

preprocess_input = preprocessing("tf")

_SIZES = (96, 128, 160, 192, 224)  # of images, for which there are weights
_WIDTHS = (0.35, 0.50, 0.75, 1.0, 1.3, 1.4)
_STAGES = (  # expansion, filters, blocks, strides of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def match_input_tensor(asked: Asked) -> None:
    """Raise ValueError if `input_shape` and the shape of `input_tensor` are both given and contradict each other."""
    if asked.input_shape is None or asked.input_tensor is None:
        return
    tensor, shape = asked.input_tensor.shape, asked.input_shape
    width = -1 if channel_axis() == 1 else -2
    if tensor[width] != shape[width]:
        raise ValueError(
            f"input_tensor.shape[{4 + width}] must equal input_shape[{3 + width}]; Received "
            f"`input_tensor.shape={tensor}`, `input_shape={shape}`"
        )


def slow_norm(x: Any, name: str) -> Any:
    """Batch normalization whose averages follow slowly."""
    return batch_norm(x, name, epsilon=1e-3, momentum=0.999)


def _block(x: Any, number: int, expansion: int, filters: int, strides: int) -> Any:
    inputs, channels = x, x.shape[channel_axis()]
    prefix = f"block_{number}_" if number else "expanded_conv_"
    if number:
        x = Conv2D(expansion * channels, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
        x = ReLU(6.0, name=f"{prefix}expand_relu")(slow_norm(x, f"{prefix}expand_BN"))
    if strides == 2:
        x = ZeroPadding2D(correct_pad(x, 3), name=f"{prefix}pad")(x)
    padding = "same" if strides == 1 else "valid"
    x = DepthwiseConv2D(3, strides=strides, use_bias=False, padding=padding, name=f"{prefix}depthwise")(x)
    x = ReLU(6.0, name=f"{prefix}depthwise_relu")(slow_norm(x, f"{prefix}depthwise_BN"))
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = slow_norm(x, f"{prefix}project_BN")
    return Add(name=f"{prefix}add")([inputs, x]) if channels == filters and strides == 1 else x


def _mobilenet_v2(asked: Asked, alpha: float) -> Model:
    match_input_tensor(asked)
    of_tensor = asked.input_shape is None and asked.input_tensor is not None
    size = spatial(asked.input_tensor.shape[1:]) if of_tensor else asked.size
    x: Any = asked.images(default_size(size, _SIZES), min_size=32)
    if asked.pretrained and alpha not in _WIDTHS:
        raise ValueError(
            "If imagenet weights are being loaded, alpha must be one of `0.35`, `0.50`, `0.75`, `1.0`, `1.3` or `1.4` only; "
            f"Received `alpha={alpha}`"
        )
    trained_on = released_size(asked, _SIZES)
    x = Conv2D(rounded(32 * alpha), 3, strides=(2, 2), padding="same", use_bias=False, name="Conv1")(x)
    x = ReLU(6.0, name="Conv1_relu")(slow_norm(x, "bn_Conv1"))
    number = 0
    for expansion, filters, blocks, strides in _STAGES:
        for block in range(blocks):
            x = _block(x, number, expansion, rounded(int(filters * alpha)), strides if block == 0 else 1)
            number += 1
    x = Conv2D(rounded(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
    x = ReLU(6.0, name="out_relu")(slow_norm(x, "Conv_1_bn"))
    asked.name = asked.name or f"mobilenetv2_{alpha:0.2f}_{trained_on}"
    file = f"{RELEASES}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{trained_on}"
    return asked.model(asked.ended(x, average=None), Release(file, without_top="_no_top"))


MobileNetV2 = network(
    "MobileNetV2",
    _mobilenet_v2,
    "input_shape alpha include_top weights input_tensor pooling classes classifier_activation name",
    alpha=1.0,
)
