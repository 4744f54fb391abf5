"""ResNet50, ResNet101, ResNet152: blocks of three convolutions, to whose result what went in is added.

Source: He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385 (table 1, with the stride of a
stage in its first 1×1 convolution).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import EPSILON, Asked, batch_norm, network, norm_relu, tf_kernels
from minicnn.layers import Activation, Add, Conv2D, MaxPooling2D, ZeroPadding2D
from minicnn.models import Model

__all__ = [
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "decode_predictions",
    "of_depth",
    "preprocess_input",
    "residual_network",
    "stem",
]

preprocess_input = preprocessing("caffe")


def stem(x: Any, normalized: bool) -> Any:
    """What a residual network begins with: a 7×7 convolution and a max pooling, both of stride 2."""
    x = ZeroPadding2D(((3, 3), (3, 3)), name="conv1_pad")(x)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    if normalized:
        x = norm_relu(x, "conv1")
    x = ZeroPadding2D(((1, 1), (1, 1)), name="pool1_pad")(x)
    return MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _block(x: Any, filters: int, name: str, strides: int, projected: bool) -> Any:
    """1×1 to `filters` channels, 3×3, 1×1 to four times as many; `projected`: what is added goes through a 1×1, too."""
    shortcut = x
    if projected:
        shortcut = Conv2D(4 * filters, 1, strides=strides, name=f"{name}_0_conv")(x)
        shortcut = batch_norm(shortcut, f"{name}_0_bn", epsilon=EPSILON)
    x = norm_relu(Conv2D(filters, 1, strides=strides, name=f"{name}_1_conv")(x), f"{name}_1")
    x = norm_relu(Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x), f"{name}_2")
    x = batch_norm(Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3_bn", epsilon=EPSILON)
    return Activation("relu", name=f"{name}_out")(Add(name=f"{name}_add")([shortcut, x]))


def _body(x: Any, blocks: tuple[int, ...]) -> Any:
    x = stem(x, normalized=True)
    for stage, count in enumerate(blocks):
        for number in range(count):
            first = number == 0
            name = f"conv{stage + 2}_block{number + 1}"
            x = _block(x, 64 << stage, name, strides=2 if first and stage > 0 else 1, projected=first)
    return x


def residual_network(
    asked: Asked, body: Callable[..., Any], blocks: tuple[int, ...], released: str, hashes: tuple[str, ...]
) -> Model:
    """A residual network.

    Args:
        body: `body(images, blocks)`: its last maps.
        blocks: how many there are in each of its four stages.
        released, hashes: its name in the name of the files of its weights, and theirs; see `tf_kernels`.
    """
    x = body(asked.images(default_size=224, min_size=32), blocks)
    return asked.model(asked.ended(x, named=True), tf_kernels("resnet", released, *hashes))


def of_depth(title: str, body: Callable[..., Any], blocks: tuple[int, ...], *hashes: str) -> Callable[..., Model]:
    """One of the networks: see `residual_network`."""
    name = title.lower()
    build = partial(residual_network, body=body, blocks=blocks, released=name, hashes=hashes)
    return network(title, build, name=name)


ResNet50 = of_depth("ResNet50", _body, (3, 4, 6, 3), "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626")
ResNet101 = of_depth("ResNet101", _body, (3, 4, 23, 3), "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21")
ResNet152 = of_depth("ResNet152", _body, (3, 8, 36, 3), "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c")
