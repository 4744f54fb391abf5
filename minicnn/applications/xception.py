"""Xception: separable convolutions in residual blocks.

Source: Chollet 2016, Xception: Deep learning with depthwise separable convolutions, arXiv:1610.02357 (figure 5).
"""

from __future__ import annotations

from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import Asked, batch_norm, network, tf_kernels
from minicnn.layers import Activation, Add, Conv2D, MaxPooling2D, SeparableConv2D
from minicnn.models import Model

__all__ = ["Xception", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf")

_RELEASE = tf_kernels("xception", "xception", "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97")


def _relu(x: Any, name: str) -> Any:
    return Activation("relu", name=f"{name}_act")(x)


def _separable(x: Any, filters: int, name: str) -> Any:
    return batch_norm(SeparableConv2D(filters, (3, 3), padding="same", use_bias=False, name=name)(x), f"{name}_bn")


def _halving_block(x: Any, number: int, first: int, second: int) -> Any:
    """Two separable convolutions and a pooling of stride 2; beside them a 1×1 convolution of stride 2."""
    shortcut = batch_norm(Conv2D(second, (1, 1), strides=(2, 2), padding="same", use_bias=False)(x))
    if number > 2:  # before block 2 stands a ReLU
        x = _relu(x, f"block{number}_sepconv1")
    x = _separable(x, first, f"block{number}_sepconv1")
    x = _separable(_relu(x, f"block{number}_sepconv2"), second, f"block{number}_sepconv2")
    x = MaxPooling2D((3, 3), strides=(2, 2), padding="same", name=f"block{number}_pool")(x)
    return Add()([x, shortcut])


def _xception(asked: Asked) -> Model:
    x = asked.images(default_size=299, min_size=71)
    for number, filters, strides in ((1, 32, 2), (2, 64, 1)):
        name = f"block1_conv{number}"
        x = Conv2D(filters, (3, 3), strides=(strides, strides), use_bias=False, name=name)(x)
        x = _relu(batch_norm(x, f"{name}_bn"), name)
    for number, filters in ((2, 128), (3, 256), (4, 728)):
        x = _halving_block(x, number, filters, filters)
    for number in range(5, 13):
        shortcut = x
        for place in (1, 2, 3):
            name = f"block{number}_sepconv{place}"
            x = _separable(_relu(x, name), 728, name)
        x = Add()([x, shortcut])
    x = _halving_block(x, 13, 728, 1024)
    for place, filters in ((1, 1536), (2, 2048)):
        name = f"block14_sepconv{place}"
        x = _relu(_separable(x, filters, name), name)
    return asked.model(asked.ended(x), _RELEASE)


Xception = network("Xception", _xception, name="xception")
