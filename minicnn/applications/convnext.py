"""ConvNeXtTiny to XLarge: residual blocks of a 7×7 depthwise convolution and two dense layers across the channels.

Source: Liu et al. 2022, A ConvNet for the 2020s, arXiv:2201.03545 (section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import RELEASES, Asked, Release, network, require_channels_last
from minicnn.layers import Activation, Conv2D, Dense, GlobalAveragePooling2D, LayerNormalization, Normalization
from minicnn.layers.scaling import LayerScale
from minicnn.models import Model, Sequential

__all__ = [
    "ConvNeXtBase",
    "ConvNeXtLarge",
    "ConvNeXtSmall",
    "ConvNeXtTiny",
    "ConvNeXtXLarge",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = preprocessing(None)

_EPSILON = 1e-6  # of layer normalization
_FIRST_SCALE = 1e-6  # of what a block adds


def _block(x: Any, channels: int, name: str) -> Any:
    inputs = x
    x = Conv2D(channels, 7, padding="same", groups=channels, name=f"{name}_depthwise_conv")(x)
    x = LayerNormalization(epsilon=_EPSILON, name=f"{name}_layernorm")(x)
    x = Dense(4 * channels, name=f"{name}_pointwise_conv_1")(x)
    x = Activation("gelu", name=f"{name}_gelu")(x)
    x = Dense(channels, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(_FIRST_SCALE, channels, name=f"{name}_layer_scale")(x)
    return inputs + Activation("linear", name=f"{name}_identity")(x)


def _reduction(channels: int, stage: int, name: str | None) -> Sequential:
    """What stands before a stage: a convolution that takes 2×2 pixels for one (the first 4×4), and layer normalization."""
    if stage == 0:
        patches = Conv2D(channels, kernel_size=4, strides=4, name=f"{name}_stem_conv")
        return Sequential([patches, LayerNormalization(epsilon=_EPSILON, name=f"{name}_stem_layernorm")], name=f"{name}_stem")
    before = LayerNormalization(epsilon=_EPSILON, name=f"{name}_downsampling_layernorm_{stage - 1}")
    halving = Conv2D(channels, kernel_size=2, strides=2, name=f"{name}_downsampling_conv_{stage - 1}")
    return Sequential([before, halving], name=f"{name}_downsampling_block_{stage - 1}")


def _convnext(
    asked: Asked, include_preprocessing: bool, depths: tuple[int, ...], channels: tuple[int, ...], release: Release
) -> Model:
    require_channels_last("ConvNeXt")
    name = asked.name
    x: Any = asked.images(default_size=224, min_size=32)
    if include_preprocessing and asked.channels == 3:
        means = [255 * mean for mean in (0.485, 0.456, 0.406)]
        variances = [(255 * deviation) ** 2 for deviation in (0.229, 0.224, 0.225)]
        x = Normalization(mean=means, variance=variances, name=f"{name}_prestem_normalization")(x)
    reductions = [_reduction(count, stage, name) for stage, count in enumerate(channels)]
    for stage, (depth, count) in enumerate(zip(depths, channels)):
        x = reductions[stage](x)
        for block in range(depth):
            x = _block(x, count, f"{name}_stage_{stage}_block_{block}")
    if asked.include_top:
        x = GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
        x = LayerNormalization(epsilon=_EPSILON, name=f"{name}_head_layernorm")(x)
        x = asked.predictions(x, name=f"{name}_head_dense")
    else:
        x = LayerNormalization(epsilon=_EPSILON)(asked.pooled(x))
    return asked.model(x, release)


def _of_size(size: str, deepest: int, first: int, *hashes: str) -> Callable[..., Model]:
    """`deepest`: the blocks of the third stage. `first`: the channels of the first, which double from stage to stage."""
    name = f"convnext_{size.lower()}"
    release = Release(f"{RELEASES}convnext/{name}", (hashes[0], hashes[1]))
    channels = (first, 2 * first, 4 * first, 8 * first)
    return network(
        f"ConvNeXt{size}",
        partial(_convnext, depths=(3, 3, deepest, 3), channels=channels, release=release),
        "include_top include_preprocessing weights input_tensor input_shape pooling classes classifier_activation name",
        include_preprocessing=True,
        name=name,
    )


ConvNeXtTiny = _of_size(
    "Tiny",
    9,
    96,
    "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
    "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
)
ConvNeXtSmall = _of_size(
    "Small",
    27,
    96,
    "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
    "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
)
ConvNeXtBase = _of_size(
    "Base",
    27,
    128,
    "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
    "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
)
ConvNeXtLarge = _of_size(
    "Large",
    27,
    192,
    "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
    "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
)
ConvNeXtXLarge = _of_size(
    "XLarge",
    27,
    256,
    "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
    "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
)
