"""What the networks of `minicnn.applications` share: Keras's arguments, the input, the top, the weights.

A network is a function `build(asked, ...)` that puts its layers together, and `network` makes of it what programs call:

    def _vgg(asked, depths):
        x = asked.images(default_size=224, min_size=32)
        ...                                           # its convolutions
        x = asked.predictions(x) if asked.include_top else asked.pooled(x)
        return asked.model(x, Release(...))

    VGG16 = network("VGG16", partial(_vgg, depths=(2, 2, 3, 3, 3)), name="vgg16")
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minicnn import config
from minicnn.applications.imagenet_utils import obtain_input_shape, require_three, validate_activation
from minicnn.datasets.files import get_file
from minicnn.layers import (
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
)
from minicnn.layers.symbolic import KerasTensor, get_source_inputs
from minicnn.models import Model

__all__ = [
    "EPSILON",
    "RELEASES",
    "Asked",
    "Release",
    "batch_norm",
    "channel_axis",
    "network",
    "norm_relu",
    "require_channels_last",
    "rounded",
    "spatial",
    "tf_kernels",
]

RELEASES = "https://storage.googleapis.com/tensorflow/keras-applications/"
"""Where Keras keeps nearly all of its files of weights."""

EPSILON = 1.001e-5
"""Of batch normalization, in residual and dense networks."""

_DEFAULTS: dict[str, Any] = {
    "include_top": True,
    "weights": "imagenet",
    "input_tensor": None,
    "input_shape": None,
    "pooling": None,
    "classes": 1000,
    "classifier_activation": "softmax",
    "name": None,
}
_MEANINGS = {
    "include_top": "whether it ends in a classifier; else it ends in its last maps, as others build on them.",
    "weights": """"imagenet" for those that were trained there (downloaded, unless they are in Keras's cache), None for new
        ones, or the path of a file that has them (`.weights.h5`, `.h5`, `.keras`; of minicnn or of Keras).""",
    "input_tensor": "a symbolic tensor of images, in the place of a new `Input`.",
    "input_shape": "(height, width, channels) of the images. With the classifier and weights of ImageNet it is fixed.",
    "pooling": 'without the classifier, "avg" or "max" over the last maps; None for the maps themselves.',
    "classes": "how many the classifier tells apart; 1000 with weights of ImageNet.",
    "classifier_activation": "of its last layer; None for the sums before it.",
    "name": "of the model.",
    # Of some networks:
    "alpha": "the layers have so many times the filters of the paper's.",
    "depth_multiplier": "channels that a depthwise convolution makes of each.",
    "dropout": "what share of the means is dropped before the classifier, in training.",
    "dropout_rate": "what share of the means is dropped before the classifier, in training.",
    "minimalistic": "without 5×5 kernels, hard swish and the weighing of channels.",
    "include_preprocessing": "whether it takes values in [0, 255], which its first layers scale.",
}
_DOCSTRING = """The network {title}, as in `keras.applications`.

Args:
{arguments}

Returns:
    A `Model`.

Raises:
    ValueError: for arguments that do not go together (Keras's wording).
    OSError: where the weights cannot be downloaded, saying which file to put where.
"""


def network(
    title: str, build: Callable[..., Model], arguments: str = " ".join(_DEFAULTS), **defaults: Any
) -> Callable[..., Model]:
    """The function by which programs make a network, with Keras's arguments in Keras's order.

    Args:
        title: its name.
        build: makes the model: `build(asked, **others)`, the others being the arguments that only this network has.
        arguments: their names, in order.
        **defaults: of `name`, and of those that only this network has.
    """
    known = _DEFAULTS | defaults
    signature = inspect.Signature(
        [inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=known[key]) for key in arguments.split()]
    )

    def create(*args: Any, **kwargs: Any) -> Model:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{title}() {error}") from None
        given.apply_defaults()
        values = dict(given.arguments)
        return build(Asked(**{key: values.pop(key) for key in _DEFAULTS}), **values)

    create.__name__ = create.__qualname__ = title
    create.__module__ = "minicnn.applications"
    create.__signature__ = signature  # type: ignore[attr-defined]
    described = "\n".join(f"    {key}: {_MEANINGS[key]}" for key in arguments.split())
    create.__doc__ = _DOCSTRING.format(title=title, arguments=described)
    return create


@dataclass(frozen=True)
class Release:
    """The files of a network's weights, as trained on ImageNet.

    Attributes:
        address: of the one with the classifier, without its ending `.h5`.
        hashes: MD5 or SHA-256 of the file with the classifier, and of the one without; None where nobody has told them.
        without_top: what the name of the latter ends in.
        saved_as: the names in the cache, where they are not those of the address.
    """

    address: str
    hashes: tuple[str | None, str | None] = (None, None)
    without_top: str = "_notop"
    saved_as: tuple[str, str] | None = None

    def file(self, include_top: bool) -> str:
        """The path of the file on this machine, which is downloaded if it is not there."""
        url = f"{self.address}{'' if include_top else self.without_top}.h5"
        names = self.saved_as or (url.rpartition("/")[2],) * 2
        which = 0 if include_top else 1
        return get_file(names[which], url, cache_subdir="models", file_hash=self.hashes[which])


@dataclass
class Asked:
    """What a program asked of a network: the arguments that all have, see `network`. What cannot be is refused at once."""

    include_top: bool
    weights: Any
    input_tensor: Any
    input_shape: Any
    pooling: Any
    classes: int
    classifier_activation: Any
    name: str | None

    def __post_init__(self) -> None:
        weights = self.weights
        if weights not in (None, "imagenet") and not (isinstance(weights, (str, os.PathLike)) and os.path.exists(weights)):
            raise ValueError(
                "The `weights` argument should be either `None` (random initialization), 'imagenet' (pre-training on "
                f"ImageNet), or the path to the weights file to be loaded.  Received: weights={weights}"
            )
        if self.pretrained and self.include_top and self.classes != 1000:
            raise ValueError(
                "If using `weights='imagenet'` with `include_top=True`, `classes` should be 1000.  "
                f"Received classes={self.classes}"
            )
        if self.input_shape is not None:
            require_three(self.input_shape)
        if self.include_top:
            validate_activation(self.classifier_activation, self.weights)
        elif self.pooling not in (None, "avg", "max"):
            raise ValueError(f"`pooling` should be None, 'avg' or 'max'. Received: pooling={self.pooling!r}")
        if self.input_tensor is not None and not isinstance(self.input_tensor, KerasTensor):
            raise ValueError(
                "Argument `input_tensor` must be a KerasTensor. Received invalid type: "
                f"input_tensor={self.input_tensor} (of type {type(self.input_tensor)})"
            )

    @property
    def pretrained(self) -> bool:
        """Whether the weights are to be those of ImageNet."""
        return isinstance(self.weights, str) and self.weights == "imagenet"

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width of `input_shape`."""
        height, width = (None, None) if self.input_shape is None else spatial(self.input_shape)
        return height, width

    @property
    def channels(self) -> int | None:
        """Channels of `input_shape`, once `images` has found it."""
        channels: int | None = self.input_shape[channel_axis() - 1]
        return channels

    def images(self, default_size: int, min_size: int) -> KerasTensor:
        """The tensor that the network begins with. From then on `input_shape` is that of its images."""
        data_format = config.image_data_format()
        self.input_shape = obtain_input_shape(
            self.input_shape, default_size, min_size, data_format, self.include_top, self.weights
        )
        return self.start()

    def start(self) -> KerasTensor:
        """The same, where `input_shape` is already right."""
        if self.input_tensor is None:
            self.input_tensor = Input(shape=self.input_shape)
        tensor: KerasTensor = self.input_tensor
        return tensor

    def pooled(self, x: Any, named: bool = False) -> Any:
        """The end without a classifier: the maps, or their means or maxima; `named` as in Keras, or automatically."""
        if self.pooling == "avg":
            return GlobalAveragePooling2D(name="avg_pool" if named else None)(x)
        if self.pooling == "max":
            return GlobalMaxPooling2D(name="max_pool" if named else None)(x)
        return x

    def predictions(self, x: Any, name: str = "predictions", **dense: Any) -> Any:
        """A dense layer with as many units as there are classes."""
        return Dense(self.classes, activation=self.classifier_activation, name=name, **dense)(x)

    def ended(self, x: Any, average: str | None = "avg_pool", named: bool = False, dropout: float = 0.0, **dense: Any) -> Any:
        """The end that most networks have: the maps' means, of which some are dropped, and a dense layer; or `pooled`.

        Args:
            average: the name of the layer of the means. named: see `pooled`. dense: further settings of the dense layer.
        """
        if not self.include_top:
            return self.pooled(x, named)
        x = GlobalAveragePooling2D(name=average)(x)
        if dropout > 0:
            x = Dropout(dropout, name="top_dropout")(x)
        return self.predictions(x, **dense)

    def model(self, outputs: Any, release: Release) -> Model:
        """The model that ends in `outputs`, with its weights."""
        sources = get_source_inputs(self.input_tensor)
        model = Model(sources[0] if len(sources) == 1 else sources, outputs, name=self.name)
        if self.weights is not None:
            model.load_weights(release.file(self.include_top) if self.pretrained else self.weights)
        return model


def channel_axis() -> int:
    """The axis of the channels, by `config.image_data_format()`."""
    return 1 if config.image_data_format() == "channels_first" else 3


def batch_norm(x: Any, name: str | None = None, **settings: Any) -> Any:
    """Batch normalization over the channels, by a layer of this name and settings."""
    return BatchNormalization(axis=channel_axis(), name=name, **settings)(x)


def rounded(filters: float, divisor: int = 8) -> int:
    """A number of filters as the multiple of `divisor` that is near, and not below nine tenths of it."""
    near = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * filters else near + divisor


def norm_relu(x: Any, name: str) -> Any:
    """Batch normalization and ReLU, by layers called `name`_bn and `name`_relu, as residual and dense networks have them."""
    return Activation("relu", name=f"{name}_relu")(batch_norm(x, f"{name}_bn", epsilon=EPSILON))


def tf_kernels(folder: str, name: str, *hashes: str) -> Release:
    """The release of a network of the first years, whose files are all called alike."""
    return Release(f"{RELEASES}{folder}/{name}_weights_tf_dim_ordering_tf_kernels", (hashes[0], hashes[1]))


def spatial(shape: Any) -> Any:
    """Height and width of a shape without its batch axis."""
    first = channel_axis() % 3  # of (height, width, channels) 0, of (channels, height, width) 1
    return tuple(shape[first : first + 2])


def require_channels_last(title: str) -> None:
    """Raise ValueError where channels come first (Keras's wording)."""
    if config.image_data_format() == "channels_first":
        raise ValueError(
            f"{title} does not support the `channels_first` image data format. "
            "Switch to `channels_last` by `config.set_image_data_format`."
        )
