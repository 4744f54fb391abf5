"""EfficientNetB0 to B7: one network, made wider, deeper and for larger images in fixed proportions.

Source: Tan & Le 2019, EfficientNet: Rethinking model scaling for convolutional neural networks, arXiv:1905.11946 (table 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from minicnn.applications.imagenet_utils import correct_pad, decode_predictions, preprocessing
from minicnn.applications.network import Asked, Release, batch_norm, channel_axis, network, rounded
from minicnn.layers import (
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Multiply,
    Normalization,
    Rescaling,
    Reshape,
    ZeroPadding2D,
)
from minicnn.models import Model

__all__ = [
    "DENSE_INITIALIZER",
    "DROPPED",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetB5",
    "EfficientNetB6",
    "EfficientNetB7",
    "convolution",
    "decode_predictions",
    "depthwise",
    "expanded",
    "norm_swish",
    "preprocess_input",
    "projected",
    "repeats_of",
    "squeeze_excite",
]

preprocess_input = preprocessing(None)

DROPPED = 0.2  # of the last block's results, as wholes, in training; of the blocks before it linearly less

_DEVIATIONS = (0.229, 0.224, 0.225)
_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
DENSE_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"},
}
_STAGES = (  # kernel size, blocks, filters, expansion, strides of the first block
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)


def convolution(x: Any, filters: int, kernel_size: int, name: str, strides: int = 1, padding: str = "same") -> Any:
    """One without a bias, since batch normalization follows."""
    layer = Conv2D(
        filters, kernel_size, strides=strides, padding=padding, use_bias=False, kernel_initializer=_INITIALIZER, name=name
    )
    return layer(x)


def depthwise(x: Any, kernel_size: int, name: str, strides: int, padding: str = "same") -> Any:
    """One filter for each channel, likewise."""
    layer = DepthwiseConv2D(
        kernel_size, strides=strides, padding=padding, use_bias=False, depthwise_initializer=_INITIALIZER, name=name
    )
    return layer(x)


def norm_swish(x: Any, prefix: str, momentum: float = 0.99) -> Any:
    """Batch normalization and x * sigmoid(x)."""
    return Activation("swish", name=f"{prefix}activation")(batch_norm(x, f"{prefix}bn", momentum=momentum))


def expanded(x: Any, expansion: int, name: str, momentum: float = 0.99) -> Any:
    """1×1 to `expansion` times as many channels."""
    if expansion == 1:
        return x
    x = convolution(x, expansion * x.shape[channel_axis()], 1, f"{name}expand_conv")
    return norm_swish(x, f"{name}expand_", momentum)


def squeeze_excite(x: Any, squeezed: int, name: str) -> Any:
    """Each channel times a number from 0 to 1, which two dense layers find from the means of all (Hu et al. 2017)."""
    axis = channel_axis()
    filters = x.shape[axis]
    gate = GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
    gate = Reshape((1, 1, filters) if axis == 3 else (filters, 1, 1), name=f"{name}se_reshape")(gate)
    for count, activation, last in ((squeezed, "swish", "se_reduce"), (filters, "sigmoid", "se_expand")):
        dense = Conv2D(count, 1, padding="same", activation=activation, kernel_initializer=_INITIALIZER, name=f"{name}{last}")
        gate = dense(gate)
    return Multiply(name=f"{name}se_excite")([x, gate])


def projected(x: Any, inputs: Any, strides: int, dropped: float, name: str) -> Any:
    """What went into the block is added to what came out, where both are of one shape, in training not to all images."""
    if strides != 1 or inputs.shape[channel_axis()] != x.shape[channel_axis()]:
        return x
    if dropped > 0:
        x = Dropout(dropped, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return Add(name=f"{name}add")([x, inputs])


def repeats_of(count: int, depth: float) -> int:
    """A stage's blocks in a network `depth` times as deep."""
    return math.ceil(depth * count)


def _block(x: Any, kernel_size: int, filters: int, expansion: int, strides: int, dropped: float, name: str) -> Any:
    inputs = x
    x = expanded(x, expansion, name)
    if strides == 2:
        x = ZeroPadding2D(correct_pad(x, kernel_size), name=f"{name}dwconv_pad")(x)
    x = depthwise(x, kernel_size, f"{name}dwconv", strides, "valid" if strides == 2 else "same")
    x = norm_swish(x, name)
    x = squeeze_excite(x, max(1, inputs.shape[channel_axis()] // 4), name)
    x = batch_norm(convolution(x, filters, 1, f"{name}project_conv"), f"{name}project_bn")
    return projected(x, inputs, strides, dropped, name)


def _efficientnet(asked: Asked, width: float, depth: float, size: int, dropout: float, release: Release) -> Model:
    x = asked.images(size, min_size=32)
    x = Normalization(axis=channel_axis())(Rescaling(1.0 / 255.0)(x))
    if asked.pretrained:  # those weights were trained on images that were divided by the variance, not by its root
        x = Rescaling([1.0 / math.sqrt(deviation) for deviation in _DEVIATIONS])(x)
    x = ZeroPadding2D(correct_pad(x, 3), name="stem_conv_pad")(x)
    x = convolution(x, rounded(32 * width), 3, "stem_conv", strides=2, padding="valid")
    x = norm_swish(x, "stem_")
    done, blocks = 0, sum(repeats_of(stage[1], depth) for stage in _STAGES)
    for number, (kernel_size, count, filters, expansion, strides) in enumerate(_STAGES, 1):
        for repeat in range(repeats_of(count, depth)):
            name = f"block{number}{chr(ord('a') + repeat)}_"
            first = strides if repeat == 0 else 1
            x = _block(x, kernel_size, rounded(filters * width), expansion, first, DROPPED * done / blocks, name)
            done += 1
    x = norm_swish(convolution(x, rounded(1280 * width), 1, "top_conv"), "top_")
    return asked.model(asked.ended(x, named=True, dropout=dropout, kernel_initializer=DENSE_INITIALIZER), release)


def _sized(number: int, scale: tuple[float, float, int, float], *hashes: str) -> Callable[..., Model]:
    """The network Bn. `scale`: its width and depth, the height of its images, what is dropped before the last layer."""
    width, depth, size, dropout = scale
    name = f"efficientnetb{number}"
    release = Release(f"https://storage.googleapis.com/keras-applications/{name}", (hashes[0], hashes[1]))
    build = partial(_efficientnet, width=width, depth=depth, size=size, dropout=dropout, release=release)
    return network(f"EfficientNetB{number}", build, name=name)


EfficientNetB0 = _sized(0, (1.0, 1.0, 224, 0.2), "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d")
EfficientNetB1 = _sized(1, (1.0, 1.1, 240, 0.2), "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432")
EfficientNetB2 = _sized(2, (1.1, 1.2, 260, 0.3), "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39")
EfficientNetB3 = _sized(3, (1.2, 1.4, 300, 0.3), "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226")
EfficientNetB4 = _sized(4, (1.4, 1.8, 380, 0.4), "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba")
EfficientNetB5 = _sized(5, (1.6, 2.2, 456, 0.4), "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f")
EfficientNetB6 = _sized(6, (1.8, 2.6, 528, 0.5), "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743")
EfficientNetB7 = _sized(7, (2.0, 3.1, 600, 0.5), "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a")
