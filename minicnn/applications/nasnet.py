"""NASNetMobile and NASNetLarge: two kinds of cells, found by a search, each of which reads the two before it.

Source: Zoph et al. 2017, Learning transferable architectures for scalable image recognition, arXiv:1707.07012 (NASNet-A,
figure 4).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from minicnn.applications.imagenet_utils import correct_pad, decode_predictions, preprocessing
from minicnn.applications.network import RELEASES, Asked, Release, batch_norm, network, require_channels_last
from minicnn.layers import (
    Activation,
    Add,
    AveragePooling2D,
    Concatenate,
    Conv2D,
    Cropping2D,
    MaxPooling2D,
    SeparableConv2D,
    ZeroPadding2D,
)
from minicnn.models import Model

__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf")


def _relu(x: Any, name: str | None = None) -> Any:
    return Activation("relu", name=name)(x)


def _norm(x: Any, name: str) -> Any:
    return batch_norm(x, name, momentum=0.9997, epsilon=1e-3)


def _pointwise(x: Any, filters: int, name: str) -> Any:
    return Conv2D(filters, (1, 1), padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)


def _separable(x: Any, filters: int, size: int, name: str, strides: int = 1) -> Any:
    """Twice a ReLU, a separable convolution and batch normalization; the first convolution has the strides."""
    x, padding = _relu(x), "same"
    if strides == 2:
        x, padding = ZeroPadding2D(correct_pad(x, size), name=f"separable_conv_1_pad_{name}")(x), "valid"
    for place in (1, 2):
        if place == 2:
            x, padding, strides = _relu(x), "same", 1
        layer = SeparableConv2D(
            filters,
            (size, size),
            strides=(strides, strides),
            padding=padding,
            use_bias=False,
            name=f"separable_conv_{place}_{name}",
        )
        x = _norm(layer(x), f"separable_conv_{place}_bn_{name}")
    return x


def _average(x: Any, name: str) -> Any:
    return AveragePooling2D((3, 3), strides=(1, 1), padding="same", name=name)(x)


def _added(first: Any, second: Any, name: str | None = None) -> Any:
    return Add(name=name)([first, second])


def _halved(x: Any, filters: int, name: str) -> Any:
    """Every other pixel, and beside them those one further down and to the right."""
    x = _relu(x, f"adjust_relu_1_{name}")
    parts = []
    for number in (1, 2):
        part = x
        if number == 2:
            part = Cropping2D(((1, 0), (1, 0)))(ZeroPadding2D(((0, 1), (0, 1)))(part))
        part = AveragePooling2D((1, 1), strides=(2, 2), padding="valid", name=f"adjust_avg_pool_{number}_{name}")(part)
        parts.append(_pointwise(part, filters // 2, f"adjust_conv_{number}_{name}"))
    return _norm(Concatenate()(parts), f"adjust_bn_{name}")


def _adjusted(before: Any, x: Any, filters: int, name: str) -> Any:
    """The cell before the last, of the shape that this cell needs; the last one where there is none before it."""
    if before is None:
        return x
    if before.shape[2] != x.shape[2]:
        return _halved(before, filters, name)
    if before.shape[3] != filters:
        return _norm(_pointwise(_relu(before), filters, f"adjust_conv_projection_{name}"), f"adjust_bn_{name}")
    return before


def _beginning(x: Any, before: Any, filters: int, kind: str, name: str) -> tuple[Any, Any]:
    """What both kinds of cells compute first: (the last cell, the one before it), both with so many filters."""
    before = _adjusted(before, x, filters, name)
    x = _pointwise(_relu(x), filters, f"{kind}_conv_1_{name}")
    return _norm(x, f"{kind}_bn_1_{name}"), before


def _normal_cell(x: Any, before: Any, filters: int, name: str) -> Any:
    h, p = _beginning(x, before, filters, "normal", name)
    y1 = _added(
        _separable(h, filters, 5, f"normal_left1_{name}"),
        _separable(p, filters, 3, f"normal_right1_{name}"),
        f"normal_add_1_{name}",
    )
    y2 = _added(
        _separable(p, filters, 5, f"normal_left2_{name}"),
        _separable(p, filters, 3, f"normal_right2_{name}"),
        f"normal_add_2_{name}",
    )
    y3 = _added(_average(h, f"normal_left3_{name}"), p, f"normal_add_3_{name}")
    y4 = _added(_average(p, f"normal_left4_{name}"), _average(p, f"normal_right4_{name}"), f"normal_add_4_{name}")
    y5 = _added(_separable(h, filters, 3, f"normal_left5_{name}"), h, f"normal_add_5_{name}")
    return Concatenate(name=f"normal_concat_{name}")([p, y1, y2, y3, y4, y5])


def _reduction_cell(x: Any, before: Any, filters: int, name: str) -> Any:
    h, p = _beginning(x, before, filters, "reduction", name)
    padded = ZeroPadding2D(correct_pad(h, 3), name=f"reduction_pad_1_{name}")(h)

    def pooled(pooling: type, place: str) -> Any:
        return pooling((3, 3), strides=(2, 2), padding="valid", name=f"reduction_{place}_{name}")(padded)

    y1 = _added(
        _separable(h, filters, 5, f"reduction_left1_{name}", strides=2),
        _separable(p, filters, 7, f"reduction_right1_{name}", strides=2),
        f"reduction_add_1_{name}",
    )
    y2 = _added(
        pooled(MaxPooling2D, "left2"),
        _separable(p, filters, 7, f"reduction_right2_{name}", strides=2),
        f"reduction_add_2_{name}",
    )
    y3 = _added(
        pooled(AveragePooling2D, "left3"),
        _separable(p, filters, 5, f"reduction_right3_{name}", strides=2),
        f"reduction_add3_{name}",
    )
    y4 = _added(y2, _average(y1, f"reduction_left4_{name}"))
    y5 = _added(_separable(y1, filters, 3, f"reduction_left4_{name}"), pooled(MaxPooling2D, "right5"), f"reduction_add4_{name}")
    return Concatenate(name=f"reduction_concat_{name}")([y2, y3, y4, y5])


def _nasnet(asked: Asked, size: int, cells: int, filters: tuple[int, int], skips: bool, release: Release) -> Model:
    """`cells`: normal ones in each of three stages. `filters`: of the stem, and of the first stage, which double.
    `skips`: whether the first cell of a stage reads what the reduction before it did, as the cell before the last."""
    require_channels_last("NASNet")
    if asked.pretrained and asked.input_shape is not None and None in asked.input_shape:
        raise ValueError(
            "When specifying the input shape of a NASNet and loading `ImageNet` weights, the input_shape argument must be "
            f"static (no None entries). Got: `input_shape={asked.input_shape}`."
        )
    if not asked.include_top and asked.input_shape is None:
        asked.input_shape = (size, size, 3)  # sizes decide which cells are halved
    stem, width = filters
    images = asked.images(size, min_size=32)
    x = Conv2D(stem, (3, 3), strides=(2, 2), use_bias=False, kernel_initializer="he_normal", name="stem_conv1")(images)
    x = _norm(x, "stem_bn1")
    before = None
    for number, count in ((1, width // 4), (2, width // 2)):
        x, before = _reduction_cell(x, before, count, f"stem_{number}"), x
    for stage in range(3):
        if stage > 0:
            last = x
            x = _reduction_cell(x, before, width << stage, f"reduce_{stage * cells}")
            before = before if skips else last
        for cell in range(cells):
            number = stage * cells + cell + (stage > 0)
            x, before = _normal_cell(x, before, width << stage, str(number)), x
    return asked.model(asked.ended(_relu(x), average=None), release)


def _of_size(title: str, hashes: tuple[str, str], **settings: Any) -> Any:
    name = f"nasnet_{title.lower()}"
    release = Release(f"{RELEASES}nasnet/NASNet-{title.lower()}", hashes, "-no-top", (f"{name}.h5", f"{name}_no_top.h5"))
    return network(
        f"NASNet{title}",
        partial(_nasnet, release=release, **settings),
        "input_shape include_top weights input_tensor pooling classes classifier_activation name",
        name=name,
    )


NASNetMobile = _of_size(
    "Mobile",
    ("020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
    size=224,
    cells=4,
    filters=(32, 44),
    skips=False,
)
NASNetLarge = _of_size(
    "Large",
    ("11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"),
    size=331,
    cells=6,
    filters=(96, 168),
    skips=True,
)
