"""Layers, under Keras 3's names."""

from minicnn import serialization
from minicnn.layers.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from minicnn.layers.augment import (
    CenterCrop,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    Resizing,
)
from minicnn.layers.base import Layer
from minicnn.layers.conv import Conv2D, Convolution2D
from minicnn.layers.dense import Dense
from minicnn.layers.input import Input, InputLayer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.merge import Add, Concatenate, add, concatenate
from minicnn.layers.normalization import BatchNormalization
from minicnn.layers.pooling import (
    AveragePooling2D,
    AvgPool2D,
    GlobalAveragePooling2D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    GlobalMaxPooling2D,
    MaxPool2D,
    MaxPooling2D,
)
from minicnn.layers.regularization import Dropout
from minicnn.layers.reshape import Flatten, Rescaling, Reshape
from minicnn.layers.spatial import (
    Cropping1D,
    Cropping2D,
    RepeatVector,
    UpSampling1D,
    UpSampling2D,
    ZeroPadding1D,
    ZeroPadding2D,
)

_, serialize, deserialize = serialization.functions_of("layer")

__all__ = [
    "Activation",
    "Add",
    "AveragePooling2D",
    "AvgPool2D",
    "BatchNormalization",
    "CenterCrop",
    "Concatenate",
    "Conv2D",
    "Convolution2D",
    "Cropping1D",
    "Cropping2D",
    "Dense",
    "Dropout",
    "ELU",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "MaxPooling2D",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "Softmax",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "add",
    "concatenate",
    "deserialize",
    "serialize",
]
