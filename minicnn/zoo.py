"""The reference models, by name: small networks that courses and books train first.

    from minicnn import zoo

    reference = zoo.get("cifar_dropout")
    model = reference.build()
    model.compile(optimizer=reference.optimizer(), loss=reference.loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=reference.batch_size, epochs=reference.epochs)

All take images scaled to [0, 1] (`airbench94`: to mean 0 and variance 1; `conv1d`: signals) and integer labels
(`unet_small`: one for each pixel), and end in probabilities. "VALID" and "SAME" are TensorFlow's paddings; a convolution
is VALID unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from minicnn import registry
from minicnn.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    Input,
    LayerNormalization,
    MaxPooling1D,
    MaxPooling2D,
    ReLU,
    Rescaling,
)
from minicnn.models import Model, Sequential
from minicnn.optimizers import SGD, Adam, Optimizer, RMSprop
from minicnn.optimizers.schedules import InverseTimeDecay

Shape = tuple[int, ...]  # (height, width, channels); of signals (steps, channels)
_Build = TypeVar("_Build", bound=Callable[..., Model])


@dataclass(frozen=True)
class ReferenceModel:
    """A model and the settings it is trained with.

    Attributes:
        build: `build(input_shape=..., classes=...)` returns the uncompiled model.
        dataset: the data set it was made for, as `minicnn.datasets` names it; "" for none that is there.
        input_shape: (height, width, channels) of that data set; of signals (steps, channels).
        batch_size, epochs: how it is trained.
        optimizer: returns a new optimizer.
        loss: its name, for integer labels.
        source: where the architecture comes from.
    """

    build: Callable[..., Model]
    dataset: str = "cifar10"
    input_shape: Shape = (32, 32, 3)
    batch_size: int = 32
    epochs: int = 15
    optimizer: Callable[[], Optimizer] = Adam
    loss: str = "sparse_categorical_crossentropy"
    source: str = ""

    @property
    def name(self) -> str:
        """The name under which `get` finds it."""
        return self.build.__name__


MODELS: dict[str, ReferenceModel] = {}


def _reference(source: str, **settings: Any) -> Callable[[_Build], _Build]:
    """Decorator: enter a function that builds a model into `MODELS`, with the settings that the model is trained with."""

    def enter(build: _Build) -> _Build:
        MODELS[build.__name__] = ReferenceModel(build, source=source, **settings)
        return build

    return enter


@_reference("the first CNN of introductory courses; after LeCun et al. 1998, Gradient-based learning", batch_size=32, epochs=9)
def cifar_small(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """Two 4×4 convolutions, each pooled, and a dense layer: 225,610 parameters on CIFAR-10.

    Args:
        input_shape: (height, width, channels), at least 13×13.
        classes: how many probabilities it ends in.
    """
    return Sequential(
        [
            Input(shape=input_shape),
            Conv2D(32, (4, 4), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(32, (4, 4), activation="relu"),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dense(256, activation="relu"),
            Dense(classes, activation="softmax"),
        ],
        name="cifar_small",
    )


@_reference(
    "course program with SGD and dropout; Srivastava et al. 2014, Dropout, JMLR 15",
    epochs=20,
    # The older `SGD(lr=0.05, decay=1e-4)`: rate / (1 + decay * step).
    optimizer=lambda: SGD(InverseTimeDecay(0.05, decay_steps=1, decay_rate=1e-4)),
)
def cifar_wide(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """Three wide 3×3 convolutions (256, 256, 128), each pooled and dropped out; most of its time is convolution.

    Args:
        input_shape: (height, width, channels), at least 22×22.
        classes: how many probabilities it ends in.
    """
    model = Sequential([Input(shape=input_shape)], name="cifar_wide")
    for filters in (256, 256, 128):
        model.add(Conv2D(filters, (3, 3), activation="relu"))
        model.add(MaxPooling2D((2, 2)))
        model.add(Dropout(0.3))
    model.add(Flatten())
    model.add(Dense(512, activation="relu"))
    model.add(Dense(256, activation="relu"))
    model.add(Dense(classes, activation="softmax"))
    return model


@_reference("course program that compares optimizers; Srivastava et al. 2014, Dropout, JMLR 15", batch_size=64)
def cifar_dropout(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """Two 3×3 convolutions with dropout that grows with depth (0.2, 0.3, 0.4).

    Args:
        input_shape: (height, width, channels), at least 10×10.
        classes: how many probabilities it ends in.
    """
    return Sequential(
        [
            Input(shape=input_shape),
            Conv2D(32, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Dropout(0.2),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Dropout(0.3),
            Flatten(),
            Dense(128, activation="relu"),
            Dropout(0.4),
            Dense(classes, activation="softmax"),
        ],
        name="cifar_dropout",
    )


@_reference("course program in the functional style; Springenberg et al. 2014, arXiv:1412.6806", batch_size=128)
def cifar_strided(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Model:
    """Strides in place of pooling: 3×3 convolutions of stride 2 with 32, 64 and 128 filters. Functional.

    Args:
        input_shape: (height, width, channels), at least 15×15.
        classes: how many probabilities it ends in.
    """
    inputs = Input(shape=input_shape)
    x = inputs
    for filters in (32, 64, 128):
        x = Conv2D(filters, (3, 3), strides=2, activation="relu")(x)
    x = Flatten()(x)
    x = Dropout(0.5)(x)
    x = Dense(1024, activation="relu")(x)
    x = Dropout(0.2)(x)
    outputs = Dense(classes, activation="softmax")(x)
    return Model(inputs, outputs, name="cifar_strided")


@_reference(
    "course program on Moroney's Horses or Humans",
    dataset="horses_or_humans",
    input_shape=(300, 300, 3),
    batch_size=128,
    optimizer=lambda: RMSprop(0.001),
    loss="binary_crossentropy",
)
def humans_300(input_shape: Shape = (300, 300, 3), classes: int = 2) -> Sequential:
    """Large pictures, two classes, one sigmoid: nearly all of its parameters are in the first dense layer.

    Args:
        input_shape: (height, width, channels), at least 10×10.
        classes: 2 ends in one sigmoid (the probability of class 1), more in a softmax.
    """
    return Sequential(
        [
            Input(shape=input_shape),
            Conv2D(16, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(32, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dense(512, activation="relu"),
            Dense(1, activation="sigmoid") if classes == 2 else Dense(classes, activation="softmax"),
        ],
        name="humans_300",
    )


@_reference("Simonyan & Zisserman 2014, arXiv:1409.1556; Ioffe & Szegedy 2015, arXiv:1502.03167", batch_size=64)
def vgg_bn(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """Pairs of SAME 3×3 convolutions at 32, 64 and 128 filters, each followed by batch normalization and ReLU.

    The convolutions have no bias: the normalization that follows would subtract it again.

    Args:
        input_shape: (height, width, channels), at least 8×8.
        classes: how many probabilities it ends in.
    """
    model = Sequential([Input(shape=input_shape)], name="vgg_bn")
    for filters in (32, 64, 128):
        for _ in range(2):
            model.add(Conv2D(filters, (3, 3), padding="same", use_bias=False))
            model.add(BatchNormalization())
            model.add(ReLU())
        model.add(MaxPooling2D((2, 2)))
    model.add(Flatten())
    model.add(Dense(classes, activation="softmax"))
    return model


@_reference("Howard et al. 2017, arXiv:1704.04861, for small images: fewer strides", batch_size=64)
def mobilenet_small(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """Depthwise separable convolutions: 3×3 channel by channel, then 1×1 across them, each normalized and rectified.

    Args:
        input_shape: (height, width, channels), at least 8×8.
        classes: how many probabilities it ends in.
    """
    model = Sequential([Input(shape=input_shape)], name="mobilenet_small")
    model.add(Conv2D(32, (3, 3), padding="same", use_bias=False))
    model.add(BatchNormalization())
    model.add(ReLU())
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)):
        model.add(DepthwiseConv2D((3, 3), strides=strides, padding="same", use_bias=False))
        model.add(BatchNormalization())
        model.add(ReLU())
        model.add(Conv2D(filters, (1, 1), use_bias=False))
        model.add(BatchNormalization())
        model.add(ReLU())
    model.add(GlobalAveragePooling2D())
    model.add(Dense(classes, activation="softmax"))
    return model


@_reference("Ronneberger et al. 2015, arXiv:1505.04597", dataset="", input_shape=(64, 64, 3), batch_size=16)
def unet_small(input_shape: Shape = (64, 64, 3), classes: int = 3) -> Model:
    """A class for each pixel: two poolings down, two transposed convolutions up, and what was there before beside it.

    Args:
        input_shape: (height, width, channels), height and width multiples of 4.
        classes: how many probabilities each pixel ends in.
    """

    def twice(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = Conv2D(filters, (3, 3), padding="same", activation="relu")(x)
        return x

    inputs = Input(shape=input_shape)
    x, before = inputs, []
    for filters in (32, 64):
        before.append(twice(x, filters))
        x = MaxPooling2D((2, 2))(before[-1])
    x = twice(x, 128)
    for filters in (64, 32):
        x = Conv2DTranspose(filters, (2, 2), strides=2)(x)
        x = twice(Concatenate()([before.pop(), x]), filters)
    outputs = Conv2D(classes, (1, 1), activation="softmax")(x)
    return Model(inputs, outputs, name="unet_small")


@_reference("Liu et al. 2022, arXiv:2201.03545, for small images, without its layer scale", batch_size=64)
def convnext_tiny_32(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Model:
    """Residual blocks of a 7×7 depthwise convolution, a layer normalization, and two 1×1 with a GELU between them.

    Args:
        input_shape: (height, width, channels), at least 8×8.
        classes: how many probabilities it ends in.
    """
    inputs = Input(shape=input_shape)
    x = Conv2D(64, (2, 2), strides=2)(inputs)
    x = LayerNormalization(epsilon=1e-6)(x)
    for channels in (64, 128, 256):
        if channels != 64:
            x = LayerNormalization(epsilon=1e-6)(x)
            x = Conv2D(channels, (2, 2), strides=2)(x)
        for _ in range(2):
            h = DepthwiseConv2D((7, 7), padding="same")(x)
            h = LayerNormalization(epsilon=1e-6)(h)
            h = Conv2D(4 * channels, (1, 1), activation="gelu")(h)
            x = Add()([x, Conv2D(channels, (1, 1))(h)])
    x = GlobalAveragePooling2D()(x)
    x = LayerNormalization(epsilon=1e-6)(x)
    outputs = Dense(classes, activation="softmax")(x)
    return Model(inputs, outputs, name="convnext_tiny_32")


@_reference(
    "Wang et al. 2017, arXiv:1611.06455 (its fully convolutional network)", dataset="", input_shape=(256, 8), batch_size=64
)
def conv1d(input_shape: Shape = (256, 8), classes: int = 6) -> Sequential:
    """Signals, such as of sensors: three 1-D convolutions, two of them pooled, and the mean over time.

    Args:
        input_shape: (steps, channels), at least 4 steps.
        classes: how many probabilities it ends in.
    """
    return Sequential(
        [
            Input(shape=input_shape),
            Conv1D(64, 7, padding="same", activation="relu"),
            MaxPooling1D(2),
            Conv1D(128, 5, padding="same", activation="relu"),
            MaxPooling1D(2),
            Conv1D(128, 3, padding="same", activation="relu"),
            GlobalAveragePooling1D(),
            Dropout(0.5),
            Dense(classes, activation="softmax"),
        ],
        name="conv1d",
    )


@_reference("He et al. 2015, arXiv:1512.03385, section 4.2, with 1×1 convolutions where the size changes", batch_size=128)
def resnet20(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Model:
    """Residual blocks: pairs of SAME 3×3 convolutions at 16, 32 and 64 filters, three pairs each, and what went in added.

    Args:
        input_shape: (height, width, channels), at least 4×4.
        classes: how many probabilities it ends in.
    """

    def convolution(x: Any, filters: int, strides: int, size: int = 3) -> Any:
        return BatchNormalization()(Conv2D(filters, size, strides, padding="same", use_bias=False)(x))

    inputs = Input(shape=input_shape)
    x = ReLU()(convolution(inputs, 16, 1))
    for filters in (16, 32, 64):
        for strides in (1 if filters == 16 else 2, 1, 1):
            y = ReLU()(convolution(x, filters, strides))
            y = convolution(y, filters, 1)
            if strides == 2:
                x = convolution(x, filters, strides, size=1)
            x = ReLU()(Add()([x, y]))
    x = GlobalAveragePooling2D()(x)
    outputs = Dense(classes, activation="softmax")(x)
    return Model(inputs, outputs, name="resnet20")


@_reference(
    "Jordan 2024, arXiv:2404.00498; trained as there by `minicnn.recipes`",
    batch_size=1024,
    epochs=10,
    optimizer=lambda: SGD(0.1, momentum=0.85, nesterov=True),
)
def airbench94(
    input_shape: Shape = (32, 32, 3), classes: int = 10, widths: tuple[int, int, int] = (64, 256, 256)
) -> Sequential:
    """A frozen 2×2 convolution that is to whiten the images, three pairs of SAME 3×3 ones, and a small factor on the logits.

    Its images have mean 0 and variance 1. `recipes.initialize` computes the first kernel from them and makes identities of
    the others; as built here, all are random.

    Args:
        input_shape: (height, width, channels), at least 25×25.
        classes: how many probabilities it ends in.
        widths: filters of the three pairs.
    """
    whitening = 2 * 2 * 2 * input_shape[-1]  # each eigenvector of a 2×2 patch, and its negative
    model = Sequential([Input(shape=input_shape)], name="airbench94")
    model.add(Conv2D(whitening, (2, 2), trainable=False, name="whitening"))
    model.add(Activation("gelu"))
    for filters in widths:
        for pool in (True, False):
            model.add(Conv2D(filters, (3, 3), padding="same", use_bias=False))
            if pool:
                model.add(MaxPooling2D((2, 2)))
            model.add(BatchNormalization(scale=False, momentum=0.6, epsilon=1e-12))
            model.add(Activation("gelu"))
    model.add(MaxPooling2D((3, 3)))
    model.add(Flatten())
    model.add(Dense(classes, use_bias=False, name="head"))
    model.add(Rescaling(1 / 9, name="logits"))
    model.add(Activation("softmax"))
    return model


@_reference(
    "LeCun et al. 1998, Gradient-based learning; widths as in Caffe's LeNet",
    batch_size=50,
    optimizer=lambda: SGD(0.01, momentum=0.9),
)
def lenet5(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """Two SAME 5×5 convolutions of 20 and 50 filters, each averaged over 2×2 pixels, and 500 units.

    Args:
        input_shape: (height, width, channels), at least 4×4.
        classes: how many probabilities it ends in.
    """
    return Sequential(
        [
            Input(shape=input_shape),
            Conv2D(20, (5, 5), padding="same", activation="relu"),
            AveragePooling2D((2, 2)),
            Conv2D(50, (5, 5), padding="same", activation="relu"),
            AveragePooling2D((2, 2)),
            Flatten(),
            Dense(500, activation="relu"),
            Dense(classes, activation="softmax"),
        ],
        name="lenet5",
    )


@_reference("Springenberg et al. 2014, arXiv:1412.6806; Ioffe & Szegedy 2015, arXiv:1502.03167", batch_size=64)
def strided_bn(input_shape: Shape = (32, 32, 3), classes: int = 10) -> Sequential:
    """SAME 3×3 convolutions in pairs, the second of stride 2, each normalized and rectified; widths that are no powers of two.

    Args:
        input_shape: (height, width, channels).
        classes: how many probabilities it ends in.
    """
    model = Sequential([Input(shape=input_shape)], name="strided_bn")
    for filters in (24, 40, 72):
        for strides in (1, 2):
            model.add(Conv2D(filters, (3, 3), strides=strides, padding="same", use_bias=False))
            model.add(BatchNormalization())
            model.add(ReLU())
    model.add(GlobalAveragePooling2D())
    model.add(Dense(classes, activation="softmax"))
    return model


def names() -> list[str]:
    """The names of all reference models, in the order of this file.

    Examples:
        >>> names()[:6]
        ['cifar_small', 'cifar_wide', 'cifar_dropout', 'cifar_strided', 'humans_300', 'vgg_bn']
        >>> names()[6:]
        ['mobilenet_small', 'unet_small', 'convnext_tiny_32', 'conv1d', 'resnet20', 'airbench94', 'lenet5', 'strided_bn']
    """
    return list(MODELS)


def get(name: str) -> ReferenceModel:
    """The reference model called `name`.

    Raises:
        ValueError: for an unknown name, with the known ones.
    """
    found: ReferenceModel = registry.entry(MODELS, name, "reference model")
    return found
