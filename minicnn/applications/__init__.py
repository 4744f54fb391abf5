"""The networks of `keras.applications`: layers, names and weights are Keras's, so that its files of weights load.

    from minicnn.applications import MobileNetV2
    from minicnn.applications.mobilenet_v2 import preprocess_input

    base = MobileNetV2(input_shape=(96, 96, 3), include_top=False, weights="imagenet", pooling="avg")
    base.trainable = False
    model = Sequential([base, Dense(10, activation="softmax")])

Each paper has a module, with `preprocess_input` for what its networks take, and `decode_predictions` for what they return;
what all share is in `network`. A module is loaded when one of its networks is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_NETWORKS = {  # module -> its networks
    "convnext": "ConvNeXtBase ConvNeXtLarge ConvNeXtSmall ConvNeXtTiny ConvNeXtXLarge",
    "densenet": "DenseNet121 DenseNet169 DenseNet201",
    "efficientnet": "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6"
    " EfficientNetB7",
    "efficientnet_v2": "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2L EfficientNetV2M"
    " EfficientNetV2S",
    "imagenet_utils": "",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3Large MobileNetV3Small",
    "nasnet": "NASNetLarge NASNetMobile",
    "resnet": "ResNet101 ResNet152 ResNet50",
    "resnet50": "",
    "resnet_v2": "ResNet101V2 ResNet152V2 ResNet50V2",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}
_MODULE_OF = {name: module for module, names in _NETWORKS.items() for name in names.split()}

__all__ = [*_MODULE_OF, *_NETWORKS]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"minicnn.applications.{_MODULE_OF[name]}"), name)
    if name in _NETWORKS:
        return importlib.import_module(f"minicnn.applications.{name}")
    raise AttributeError(f"module 'minicnn.applications' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
