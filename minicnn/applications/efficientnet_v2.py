"""EfficientNetV2: as EfficientNet, with full 3×3 convolutions in the first stages, in place of 1×1 and depthwise ones.

Source: Tan & Le 2021, EfficientNetV2: Smaller models and faster training, arXiv:2104.00298 (table 4).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from minicnn import initializers
from minicnn.applications.efficientnet import (
    DENSE_INITIALIZER,
    DROPPED,
    convolution,
    depthwise,
    expanded,
    norm_swish,
    projected,
    repeats_of,
    squeeze_excite,
)
from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import RELEASES, Asked, Release, batch_norm, channel_axis, network
from minicnn.layers import Normalization, Rescaling
from minicnn.models import Model

__all__ = [
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2L",
    "EfficientNetV2M",
    "EfficientNetV2S",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = preprocessing(None)

_MOMENTUM = 0.9  # of batch normalization's averages
_MEANS, _VARIANCES = [0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2]

_Stages = tuple[tuple[bool, int, int, int, int], ...]


class _Variant(NamedTuple):
    """One of the networks, whose stages are (fused, blocks, filters, expansion, strides of the first block)."""

    width: float
    depth: float
    size: int
    stem: int
    stages: _Stages


_B = (
    (True, 1, 16, 1, 1),
    (True, 2, 32, 4, 2),
    (True, 2, 48, 4, 2),
    (False, 3, 96, 4, 2),
    (False, 5, 112, 6, 1),
    (False, 8, 192, 6, 2),
)
_S = (
    (True, 2, 24, 1, 1),
    (True, 4, 48, 4, 2),
    (True, 4, 64, 4, 2),
    (False, 6, 128, 4, 2),
    (False, 9, 160, 6, 1),
    (False, 15, 256, 6, 2),
)
_M = (
    (True, 3, 24, 1, 1),
    (True, 5, 48, 4, 2),
    (True, 5, 80, 4, 2),
    (False, 7, 160, 4, 2),
    (False, 14, 176, 6, 1),
    (False, 18, 304, 6, 2),
    (False, 5, 512, 6, 1),
)
_L = (
    (True, 4, 32, 1, 1),
    (True, 7, 64, 4, 2),
    (True, 7, 96, 4, 2),
    (False, 10, 192, 4, 2),
    (False, 19, 224, 6, 1),
    (False, 25, 384, 6, 2),
    (False, 7, 640, 6, 1),
)


def _filters(count: int, width: float) -> int:
    """The nearest multiple of 8."""
    return max(8, int(count * width + 4) // 8 * 8)


def _block(x: Any, filters: int, expansion: int, strides: int, dropped: float, name: str) -> Any:
    inputs = x
    x = expanded(x, expansion, name, _MOMENTUM)
    x = norm_swish(depthwise(x, 3, f"{name}dwconv2", strides), name, _MOMENTUM)
    x = squeeze_excite(x, max(1, inputs.shape[channel_axis()] // 4), name)
    x = batch_norm(convolution(x, filters, 1, f"{name}project_conv"), f"{name}project_bn", momentum=_MOMENTUM)
    return projected(x, inputs, strides, dropped, name)


def _fused_block(x: Any, filters: int, expansion: int, strides: int, dropped: float, name: str) -> Any:
    inputs = x
    if expansion == 1:
        x = norm_swish(convolution(x, filters, 3, f"{name}project_conv", strides), f"{name}project_", _MOMENTUM)
    else:
        x = convolution(x, expansion * x.shape[channel_axis()], 3, f"{name}expand_conv", strides)
        x = norm_swish(x, f"{name}expand_", _MOMENTUM)
        x = batch_norm(convolution(x, filters, 1, f"{name}project_conv"), f"{name}project_bn", momentum=_MOMENTUM)
    return projected(x, inputs, strides, dropped, name)


def _efficientnet_v2(asked: Asked, include_preprocessing: bool, variant: _Variant, release: Release) -> Model:
    width, depth, size, stem, stages = variant
    x = asked.images(size, min_size=32)
    if include_preprocessing and stages is _B and asked.channels == 3:
        x = Rescaling(scale=1.0 / 255)(x)
        x = Normalization(mean=_MEANS, variance=_VARIANCES, axis=channel_axis())(x)
    elif include_preprocessing:
        x = Rescaling(scale=1.0 / 128.0, offset=-1)(x)
    x = norm_swish(convolution(x, _filters(stem, width), 3, "stem_conv", strides=2), "stem_", _MOMENTUM)
    done, blocks = 0, sum(stage[1] for stage in stages)  # of the network of depth 1, in Keras
    for number, (fused, count, filters, expansion, strides) in enumerate(stages, 1):
        block = _fused_block if fused else _block
        for repeat in range(repeats_of(count, depth)):
            name = f"block{number}{chr(ord('a') + repeat)}_"
            first = strides if repeat == 0 else 1
            x = block(x, _filters(filters, width), expansion, first, DROPPED * done / blocks, name)
            done += 1
    x = norm_swish(convolution(x, _filters(1280, width), 1, "top_conv"), "top_", _MOMENTUM)
    zeros = initializers.Constant(0.0)
    x = asked.ended(x, named=True, dropout=0.2, kernel_initializer=DENSE_INITIALIZER, bias_initializer=zeros)
    return asked.model(x, release)


def _variant(title: str, variant: _Variant, *hashes: str) -> Callable[..., Model]:
    name = f"efficientnetv2-{title.lower()}"
    release = Release(f"{RELEASES}efficientnet_v2/{name}", (hashes[0], hashes[1]))
    return network(
        f"EfficientNetV2{title}",
        partial(_efficientnet_v2, variant=variant, release=release),
        "include_top weights input_tensor input_shape pooling classes classifier_activation include_preprocessing name",
        include_preprocessing=True,
        name=name,
    )


EfficientNetV2B0 = _variant(
    "B0", _Variant(1.0, 1.0, 224, 32, _B), "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"
)
EfficientNetV2B1 = _variant(
    "B1", _Variant(1.0, 1.1, 240, 32, _B), "069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"
)
EfficientNetV2B2 = _variant(
    "B2", _Variant(1.1, 1.2, 260, 32, _B), "424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"
)
EfficientNetV2B3 = _variant(
    "B3", _Variant(1.2, 1.4, 300, 32, _B), "1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"
)
EfficientNetV2S = _variant(
    "S", _Variant(1.0, 1.0, 384, 24, _S), "e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"
)
EfficientNetV2M = _variant(
    "M", _Variant(1.0, 1.0, 480, 24, _M), "a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"
)
EfficientNetV2L = _variant(
    "L", _Variant(1.0, 1.0, 480, 32, _L), "27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"
)
