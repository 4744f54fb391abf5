"""VGG16: thirteen 3×3 convolutions in five blocks, each pooled, and three dense layers.

Source: Simonyan & Zisserman 2014, Very deep convolutional networks for large-scale image recognition, arXiv:1409.1556
(VGG16 is configuration D there, VGG19 configuration E).
"""

from __future__ import annotations

from functools import partial

from minicnn.applications.imagenet_utils import decode_predictions, preprocessing
from minicnn.applications.network import Asked, Release, network, tf_kernels
from minicnn.layers import Conv2D, Dense, Flatten, MaxPooling2D
from minicnn.models import Model

__all__ = ["VGG16", "decode_predictions", "preprocess_input", "vgg"]

_FILTERS = (64, 128, 256, 512, 512)

preprocess_input = preprocessing("caffe")


def vgg(asked: Asked, depths: tuple[int, ...], release: Release) -> Model:
    """A network with so many convolutions in each of its five blocks."""
    x = asked.images(default_size=224, min_size=32)
    for block, (filters, depth) in enumerate(zip(_FILTERS, depths), 1):
        for number in range(1, depth + 1):
            x = Conv2D(filters, (3, 3), activation="relu", padding="same", name=f"block{block}_conv{number}")(x)
        x = MaxPooling2D((2, 2), strides=(2, 2), name=f"block{block}_pool")(x)
    if not asked.include_top:
        return asked.model(asked.pooled(x), release)
    x = Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = Dense(4096, activation="relu", name=name)(x)
    return asked.model(asked.predictions(x), release)


_RELEASE = tf_kernels("vgg16", "vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc")

VGG16 = network("VGG16", partial(vgg, depths=(2, 2, 3, 3, 3), release=_RELEASE), name="vgg16")
