"""DenseNet121, DenseNet169, DenseNet201: each block's maps are added to those of all before it, as further channels.

Source: Huang et al. 2016, Densely connected convolutional networks, arXiv:1608.06993 (table 1, growth rate 32).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import (
    EPSILON,
    Asked,
    batch_norm,
    channel_axis,
    network,
    norm_relu,
    require_channels_last,
    tf_kernels,
)
from minicnn.layers import Activation, AveragePooling2D, Concatenate, Conv2D, MaxPooling2D, ZeroPadding2D
from minicnn.models import Model

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("torch")

_GROWTH = 32  # channels that a block adds


def _block(x: Any, name: str) -> Any:
    new = Conv2D(4 * _GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(norm_relu(x, f"{name}_0"))
    new = Conv2D(_GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(norm_relu(new, f"{name}_1"))
    return Concatenate(axis=channel_axis(), name=f"{name}_concat")([x, new])


def _transition(x: Any, name: str) -> Any:
    """Half the channels, height and width."""
    x = norm_relu(x, name)
    x = Conv2D(x.shape[channel_axis()] // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


def _densenet(asked: Asked, depth: int, blocks: tuple[int, ...], hashes: tuple[str, ...]) -> Model:
    require_channels_last("DenseNet")
    x = ZeroPadding2D(((3, 3), (3, 3)))(asked.images(default_size=224, min_size=32))
    x = norm_relu(Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x), "conv1")
    x = ZeroPadding2D(((1, 1), (1, 1)))(x)
    x = MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, count in enumerate(blocks, 2):
        for number in range(1, count + 1):
            x = _block(x, f"conv{stage}_block{number}")
        if stage < 5:
            x = _transition(x, f"pool{stage}")
    x = Activation("relu", name="relu")(batch_norm(x, "bn", epsilon=EPSILON))
    return asked.model(asked.ended(x, named=True), tf_kernels("densenet", f"densenet{depth}", *hashes))


def _of_depth(depth: int, blocks: tuple[int, ...], *hashes: str) -> Callable[..., Model]:
    build = partial(_densenet, depth=depth, blocks=blocks, hashes=hashes)
    return network(f"DenseNet{depth}", build, name=f"densenet{depth}")


DenseNet121 = _of_depth(121, (6, 12, 24, 16), "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738")
DenseNet169 = _of_depth(169, (6, 12, 32, 32), "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b")
DenseNet201 = _of_depth(201, (6, 12, 48, 32), "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1")
