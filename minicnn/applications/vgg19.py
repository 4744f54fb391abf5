"""VGG19: VGG16 with a fourth convolution in each of the last three blocks; see `vgg16`."""

from __future__ import annotations

from functools import partial

from minicnn.applications.imagenet_utils import decode_predictions
from minicnn.applications.network import network, tf_kernels
from minicnn.applications.vgg16 import preprocess_input, vgg

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

_RELEASE = tf_kernels("vgg19", "vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6")

VGG19 = network("VGG19", partial(vgg, depths=(2, 2, 4, 4, 4), release=_RELEASE), name="vgg19")
