"""ResNet50 alone, under the name of older programs; see `resnet`."""

from minicnn.applications.resnet import ResNet50, decode_predictions, preprocess_input

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]
