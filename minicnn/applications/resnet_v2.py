"""ResNet50V2, ResNet101V2, ResNet152V2: residual blocks that normalize before they convolve, so that sums stay as they are.

Source: He et al. 2016, Identity mappings in deep residual networks, arXiv:1603.05027.
"""

from __future__ import annotations

from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import norm_relu
from minicnn.applications.resnet import of_depth, stem
from minicnn.layers import Add, Conv2D, MaxPooling2D, ZeroPadding2D

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf")


def _block(x: Any, filters: int, name: str, strides: int, projected: bool) -> Any:
    before = norm_relu(x, f"{name}_preact")
    if projected:
        shortcut = Conv2D(4 * filters, 1, strides=strides, name=f"{name}_0_conv")(before)
    else:
        shortcut = MaxPooling2D(1, strides=strides)(x) if strides > 1 else x
    x = norm_relu(Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(before), f"{name}_1")
    x = ZeroPadding2D(((1, 1), (1, 1)), name=f"{name}_2_pad")(x)
    x = norm_relu(Conv2D(filters, 3, strides=strides, use_bias=False, name=f"{name}_2_conv")(x), f"{name}_2")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return Add(name=f"{name}_out")([shortcut, x])


def _body(x: Any, blocks: tuple[int, ...]) -> Any:
    x = stem(x, normalized=False)
    for stage, count in enumerate(blocks):
        for number in range(count):
            strides = 2 if number == count - 1 and stage < 3 else 1  # the last block of a stage halves the maps
            x = _block(x, 64 << stage, f"conv{stage + 2}_block{number + 1}", strides, projected=number == 0)
    return norm_relu(x, "post")


ResNet50V2 = of_depth("ResNet50V2", _body, (3, 4, 6, 3), "3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917")
ResNet101V2 = of_depth(
    "ResNet101V2", _body, (3, 4, 23, 3), "6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"
)
ResNet152V2 = of_depth(
    "ResNet152V2", _body, (3, 8, 36, 3), "a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"
)
