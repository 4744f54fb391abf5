"""What programs take from `keras.applications` beside its pretrained networks, of which minicnn has none."""

from minicnn.applications import imagenet_utils

__all__ = ["imagenet_utils"]
