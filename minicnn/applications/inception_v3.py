"""InceptionV3: branches of convolutions of several sizes, side by side.

Source: Szegedy et al. 2015, Rethinking the Inception architecture for computer vision, arXiv:1512.00567 (table 1, figures
5 to 7 and 10).
"""

from __future__ import annotations

from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import Asked, batch_norm, channel_axis, network, tf_kernels
from minicnn.layers import Activation, AveragePooling2D, Concatenate, Conv2D, MaxPooling2D
from minicnn.models import Model

__all__ = ["InceptionV3", "average", "branch", "decode_predictions", "halved", "joined", "preprocess_input", "stem"]

preprocess_input = preprocessing("tf")

_RELEASE = tf_kernels("inception_v3", "inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63")
_TALL, _WIDE = (7, 1), (1, 7)


def convolution(x: Any, filters: int, kernel_size: Any, strides: int = 1, padding: str = "same") -> Any:
    """A convolution, batch normalization without gamma (the next layer's kernel can scale what a ReLU lets pass), a ReLU."""
    x = Conv2D(filters, kernel_size, strides=(strides, strides), padding=padding, use_bias=False)(x)
    return Activation("relu")(batch_norm(x, scale=False))


def branch(x: Any, *convolutions: tuple[int, Any]) -> Any:
    """SAME convolutions, one after the other: (filters, kernel size) of each."""
    for filters, kernel_size in convolutions:
        x = convolution(x, filters, kernel_size)
    return x


def halved(x: Any, filters: int) -> Any:
    """A 3×3 convolution of stride 2, which ends a branch."""
    return convolution(x, filters, (3, 3), strides=2, padding="valid")


def average(x: Any) -> Any:
    """The mean of 3×3 pixels around each, which begins a branch."""
    return AveragePooling2D((3, 3), strides=(1, 1), padding="same")(x)


def joined(branches: list[Any], name: str | None = None) -> Any:
    """The channels of all branches."""
    return Concatenate(axis=channel_axis(), name=name)(branches)


def stem(x: Any) -> Any:
    """What the network begins with: to 192 channels, and an eighth of the height and width."""
    x = convolution(x, 32, (3, 3), strides=2, padding="valid")
    x = convolution(x, 32, (3, 3), padding="valid")
    x = convolution(x, 64, (3, 3))
    x = MaxPooling2D((3, 3), strides=(2, 2))(x)
    x = convolution(x, 80, (1, 1), padding="valid")
    x = convolution(x, 192, (3, 3), padding="valid")
    return MaxPooling2D((3, 3), strides=(2, 2))(x)


def _split(x: Any, name: str | None) -> Any:
    """1×3 and 3×1 beside each other."""
    return joined([branch(x, (384, (1, 3))), branch(x, (384, (3, 1)))], name)


def _wide_block(x: Any, name: str, filters: int) -> Any:
    """7×7 convolutions, as 1×7 and 7×1."""
    branches = [
        branch(x, (192, (1, 1))),
        branch(x, (filters, (1, 1)), (filters, _WIDE), (192, _TALL)),
        branch(x, (filters, (1, 1)), (filters, _TALL), (filters, _WIDE), (filters, _TALL), (192, _WIDE)),
        branch(average(x), (192, (1, 1))),
    ]
    return joined(branches, name)


def _last_block(x: Any, number: int) -> Any:
    branches = [
        branch(x, (320, (1, 1))),
        _split(branch(x, (384, (1, 1))), name=f"mixed9_{number}"),
        _split(branch(x, (448, (1, 1)), (384, (3, 3))), name=None),
        branch(average(x), (192, (1, 1))),
    ]
    return joined(branches, f"mixed{9 + number}")


def _inception_v3(asked: Asked) -> Model:
    x = stem(asked.images(default_size=299, min_size=75))
    for number, pooled in enumerate((32, 64, 64)):
        branches = [
            branch(x, (64, (1, 1))),
            branch(x, (48, (1, 1)), (64, (5, 5))),
            branch(x, (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
            branch(average(x), (pooled, (1, 1))),
        ]
        x = joined(branches, f"mixed{number}")
    twice = halved(x, 384), halved(branch(x, (64, (1, 1)), (96, (3, 3))), 96)
    x = joined([*twice, MaxPooling2D((3, 3), strides=(2, 2))(x)], "mixed3")
    for number, filters in ((4, 128), (5, 160), (6, 160), (7, 192)):
        x = _wide_block(x, f"mixed{number}", filters)
    twice = halved(branch(x, (192, (1, 1))), 320), halved(branch(x, (192, (1, 1)), (192, _WIDE), (192, _TALL)), 192)
    x = joined([*twice, MaxPooling2D((3, 3), strides=(2, 2))(x)], "mixed8")
    for number in (0, 1):
        x = _last_block(x, number)
    return asked.model(asked.ended(x), _RELEASE)


InceptionV3 = network("InceptionV3", _inception_v3, name="inception_v3")
