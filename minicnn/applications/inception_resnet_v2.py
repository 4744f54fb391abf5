"""InceptionResNetV2: Inception's branches in residual blocks, whose results are weakened before they are added.

Source: Szegedy et al. 2016, Inception-v4, Inception-ResNet and the impact of residual connections on learning,
arXiv:1602.07261.
"""

from __future__ import annotations

from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.inception_v3 import average, branch, halved, joined, stem
from minicnn.applications.network import Asked, batch_norm, channel_axis, network, tf_kernels
from minicnn.layers import Activation, Conv2D, MaxPooling2D
from minicnn.layers.scaling import CustomScaleLayer
from minicnn.models import Model

__all__ = ["InceptionResNetV2", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf")

_RELEASE = tf_kernels(
    "inception_resnet_v2", "inception_resnet_v2", "e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4"
)

# The branches of a residual block, each (filters, kernel size) of its convolutions.
_BRANCHES: dict[str, tuple[tuple[tuple[int, Any], ...], ...]] = {
    "block35": (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3))),
    "block17": (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1)))),
    "block8": (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1)))),
}
# Of the last reduction: the convolutions of a branch, and the filters of the one of stride 2 at its end.
_REDUCTION: tuple[Any, ...] = ((((256, 1),), 384), (((256, 1),), 288), (((256, 1), (288, 3)), 320))


def _residual(x: Any, kind: str, number: int, scale: float, rectified: bool = True) -> Any:
    mixed = joined([branch(x, *convolutions) for convolutions in _BRANCHES[kind]], f"{kind}_{number}_mixed")
    residual = Conv2D(x.shape[channel_axis()], 1, padding="same", name=f"{kind}_{number}_conv")(mixed)
    x = CustomScaleLayer(scale)([x, residual])
    return Activation("relu", name=f"{kind}_{number}_ac")(x) if rectified else x


def _inception_resnet_v2(asked: Asked) -> Model:
    x = stem(asked.images(default_size=299, min_size=75))
    branches = [branch(x, (96, 1)), branch(x, (48, 1), (64, 5)), branch(x, (64, 1), (96, 3), (96, 3))]
    x = joined([*branches, branch(average(x), (64, 1))], "mixed_5b")
    for number in range(1, 11):
        x = _residual(x, "block35", number, scale=0.17)
    branches = [halved(x, 384), halved(branch(x, (256, 1), (256, 3)), 384)]
    x = joined([*branches, MaxPooling2D(3, strides=2)(x)], "mixed_6a")
    for number in range(1, 21):
        x = _residual(x, "block17", number, scale=0.1)
    branches = [halved(branch(x, *before), filters) for before, filters in _REDUCTION]
    x = joined([*branches, MaxPooling2D(3, strides=2)(x)], "mixed_7a")
    for number in range(1, 10):
        x = _residual(x, "block8", number, scale=0.2)
    x = _residual(x, "block8", 10, scale=1.0, rectified=False)
    x = batch_norm(Conv2D(1536, 1, padding="same", use_bias=False, name="conv_7b")(x), "conv_7b_bn", scale=False)
    return asked.model(asked.ended(Activation("relu", name="conv_7b_ac")(x)), _RELEASE)


InceptionResNetV2 = network("InceptionResNetV2", _inception_resnet_v2, name="inception_resnet_v2")
