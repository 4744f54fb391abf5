"""MobileNetV3Small and MobileNetV3Large: inverted residual blocks, some of which weigh their channels.

Source: Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244 (tables 1 and 2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from minicnn.applications.imagenet_utils import correct_pad, decode_predictions, preprocessing
from minicnn.applications.mobilenet import released_size
from minicnn.applications.mobilenet_v2 import match_input_tensor, slow_norm
from minicnn.applications.network import RELEASES, Asked, Release, channel_axis, network, rounded, spatial
from minicnn.layers import (
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    Rescaling,
    ZeroPadding2D,
)
from minicnn.models import Model

__all__ = ["MobileNetV3Large", "MobileNetV3Small", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing(None)


class _Block(NamedTuple):
    """A block: how much wider it is inside, its filters, kernel size and strides; whether it weighs its channels, and has
    the hard swish (a ReLU otherwise). "Minimalistic" networks have 3×3 kernels and ReLU alone, and weigh nothing."""

    expansion: float
    filters: int
    kernel_size: int
    strides: int
    weighs: bool
    swish: bool


_SMALL = (
    _Block(1, 16, 3, 2, True, False),
    _Block(72 / 16, 24, 3, 2, False, False),
    _Block(88 / 24, 24, 3, 1, False, False),
    _Block(4, 40, 5, 2, True, True),
    *(_Block(6, 40, 5, 1, True, True),) * 2,
    *(_Block(3, 48, 5, 1, True, True),) * 2,
    _Block(6, 96, 5, 2, True, True),
    *(_Block(6, 96, 5, 1, True, True),) * 2,
)
_LARGE = (
    _Block(1, 16, 3, 1, False, False),
    _Block(4, 24, 3, 2, False, False),
    _Block(3, 24, 3, 1, False, False),
    _Block(3, 40, 5, 2, True, False),
    *(_Block(3, 40, 5, 1, True, False),) * 2,
    _Block(6, 80, 3, 2, False, True),
    _Block(2.5, 80, 3, 1, False, True),
    *(_Block(2.3, 80, 3, 1, False, True),) * 2,
    *(_Block(6, 112, 3, 1, True, True),) * 2,
    _Block(6, 160, 5, 2, True, True),
    *(_Block(6, 160, 5, 1, True, True),) * 2,
)
_HASHES = {
    "large_224_0.75": ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
    "large_224_1.0": ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
    "large_minimalistic_224_1.0": ("675e7b876c45c57e9e63e6d90a36599c", "ec5221f64a2f6d1ef965a614bdae7973"),
    "small_224_0.75": ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
    "small_224_1.0": ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "small_minimalistic_224_1.0": ("99cd97fb2fcdad2bf028eb838de69e37", "cde8136e733e811080d9fcd8a252f7e4"),
}


def _activated(x: Any, swish: bool) -> Any:
    return Activation("hard_swish")(x) if swish else ReLU()(x)


def _pointwise(x: Any, filters: int, name: str, **settings: Any) -> Any:
    return Conv2D(filters, 1, padding="same", name=name, **settings)(x)


def _weighed(x: Any, prefix: str) -> Any:
    """Each channel times a number from 0 to 1, which two dense layers find from the means of all (Hu et al. 2017)."""
    filters = x.shape[channel_axis()]
    gate = GlobalAveragePooling2D(keepdims=True, name=f"{prefix}squeeze_excite_avg_pool")(x)
    gate = _pointwise(gate, rounded(filters * 0.25), f"{prefix}squeeze_excite_conv")
    gate = ReLU(name=f"{prefix}squeeze_excite_relu")(gate)
    gate = _pointwise(gate, filters, f"{prefix}squeeze_excite_conv_1")
    gate = ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)  # the hard sigmoid
    return Multiply(name=f"{prefix}squeeze_excite_mul")([x, gate])


def _block(x: Any, number: int, block: _Block) -> Any:
    inputs, channels = x, x.shape[channel_axis()]
    prefix = f"expanded_conv_{number}_" if number else "expanded_conv_"
    if number:
        x = _pointwise(x, rounded(channels * block.expansion), f"{prefix}expand", use_bias=False)
        x = _activated(slow_norm(x, f"{prefix}expand_bn"), block.swish)
    if block.strides == 2:
        x = ZeroPadding2D(correct_pad(x, block.kernel_size), name=f"{prefix}depthwise_pad")(x)
    padding = "same" if block.strides == 1 else "valid"
    depthwise = DepthwiseConv2D(
        block.kernel_size, strides=block.strides, padding=padding, use_bias=False, name=f"{prefix}depthwise"
    )
    x = _activated(slow_norm(depthwise(x), f"{prefix}depthwise_bn"), block.swish)
    if block.weighs:
        x = _weighed(x, prefix)
    x = slow_norm(_pointwise(x, block.filters, f"{prefix}project", use_bias=False), f"{prefix}project_bn")
    return Add(name=f"{prefix}add")([inputs, x]) if block.strides == 1 and channels == block.filters else x


def _images(asked: Asked, alpha: float, minimalistic: bool) -> Any:
    """The tensor of images, of any size that is not said: the network is convolutions to its end."""
    match_input_tensor(asked)
    if asked.input_shape is None:
        known = (None, None) if asked.input_tensor is None else spatial(asked.input_tensor.shape[1:])
        asked.input_shape = (*known, 3) if channel_axis() == 3 else (3, *known)
    height, width = asked.size
    if height and width and min(height, width) < 32:
        raise ValueError(f"Input size must be at least 32x32; Received `input_shape={asked.input_shape}`")
    if asked.pretrained:
        if alpha not in ((1.0,) if minimalistic else (0.75, 1.0)):
            raise ValueError(
                "If imagenet weights are being loaded, alpha can be one of `0.75`, `1.0` for non minimalistic or `1.0` for "
                f"minimalistic only. Received: alpha={alpha}"
            )
        released_size(asked, (224,))  # warns
    return asked.start()


def _classified(asked: Asked, x: Any, units: int, swish: bool, dropout_rate: float) -> Any:
    x = GlobalAveragePooling2D(keepdims=True)(x)
    x = _activated(_pointwise(x, units, "conv_2"), swish)
    if dropout_rate > 0:
        x = Dropout(dropout_rate)(x)
    x = Flatten()(_pointwise(x, asked.classes, "logits"))
    return Activation(activation=asked.classifier_activation, name="predictions")(x)


def _mobilenet_v3(asked: Asked, size: str, units: int, blocks: tuple[_Block, ...], **others: Any) -> Model:
    alpha, minimalistic, dropout_rate, include_preprocessing = (
        others[key] for key in ("alpha", "minimalistic", "dropout_rate", "include_preprocessing")
    )
    x = _images(asked, alpha, minimalistic)
    swish = not minimalistic
    if include_preprocessing:
        x = Rescaling(scale=1.0 / 127.5, offset=-1.0)(x)
    x = Conv2D(16, 3, strides=(2, 2), padding="same", use_bias=False, name="conv")(x)
    x = _activated(slow_norm(x, "conv_bn"), swish)
    for number, block in enumerate(blocks):
        scaled = block._replace(filters=rounded(block.filters * alpha))
        if minimalistic:
            scaled = scaled._replace(kernel_size=3, weighs=False, swish=False)
        x = _block(x, number, scaled)
    x = _pointwise(x, rounded(6 * x.shape[channel_axis()]), "conv_1", use_bias=False)
    x = _activated(slow_norm(x, "conv_1_bn"), swish)
    if asked.include_top:
        x = _classified(asked, x, rounded(units * max(alpha, 1.0)), swish, dropout_rate)
    else:
        x = asked.pooled(x, named=True)
    released = f"{size}{'_minimalistic' if minimalistic else ''}_224_{float(alpha)}"
    file = f"{RELEASES}mobilenet_v3/weights_mobilenet_v3_{released}_float"
    return asked.model(x, Release(file, _HASHES.get(released, (None, None)), without_top="_no_top_v2"))


def _of_size(size: str, units: int, blocks: tuple[_Block, ...]) -> Callable[..., Model]:
    title = f"MobileNetV3{size.capitalize()}"
    return network(
        title,
        partial(_mobilenet_v3, size=size, units=units, blocks=blocks),
        "input_shape alpha minimalistic include_top weights input_tensor classes pooling dropout_rate classifier_activation"
        " include_preprocessing name",
        alpha=1.0,
        minimalistic=False,
        dropout_rate=0.2,
        include_preprocessing=True,
        name=title,
    )


MobileNetV3Small = _of_size("small", 1024, _SMALL)
MobileNetV3Large = _of_size("large", 1280, _LARGE)
