"""Augmentation made of several layers of it: policies that choose among them, and a pipeline of layers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry, serialization
from minicnn.backends import ops
from minicnn.layers import draws
from minicnn.layers.augment import (
    ImageLayer,
    RandomBrightness,
    RandomContrast,
    RandomLayer,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    as_floats,
    bounds_of,
)
from minicnn.layers.base import Layer
from minicnn.layers.color import (
    AutoContrast,
    Equalization,
    RandomColorDegeneration,
    RandomPosterization,
    RandomSharpness,
    Solarization,
)
from minicnn.layers.symbolic import Shape
from minicnn.layers.tracing import MISSING
from minicnn.seeds import SeedGenerator

_GEOMETRY = ("random_shear", "random_translation", "random_rotation")
_TONES = ("random_posterization", "solarization", "auto_contrast", "equalization")
_COLORS = ("random_brightness", "random_color_degeneration", "random_contrast", "random_sharpness")


class _Policy(RandomLayer):
    """Base of the layers that draw, for a batch, which of their layers to apply to it.

    The choice is read by Python: on a GPU, a step with such a layer in its model is run as written, not replayed.
    In a data set's `map`, where Keras's guides put them, that does not matter.
    """

    factor: tuple[float, float]
    value_range: Any

    def _make_layers(self, names: tuple[str, ...], interpolation: str) -> None:
        """The layers as attributes, as Keras calls them: their states have these names in a file."""
        factor = self.factor
        common: dict[str, Any] = {"seed": self.seed, "data_format": self.data_format, "dtype": self.dtype}
        valued = common | {"value_range": self.value_range}
        unseeded = {key: value for key, value in valued.items() if key != "seed"}
        makers = {
            "random_shear": lambda: RandomShear(factor, factor, interpolation, **common),
            "random_translation": lambda: RandomTranslation(factor, factor, interpolation=interpolation, **common),
            "random_rotation": lambda: RandomRotation(factor, interpolation=interpolation, **common),
            "random_brightness": lambda: RandomBrightness(factor, **valued),
            "random_color_degeneration": lambda: RandomColorDegeneration(factor, **valued),
            "random_contrast": lambda: RandomContrast(factor, **valued),
            "random_sharpness": lambda: RandomSharpness(factor, **valued),
            "random_posterization": lambda: RandomPosterization(max(1, int(8 * factor[1])), **valued),
            "solarization": lambda: Solarization(factor, factor, **valued),
            "auto_contrast": lambda: AutoContrast(**unseeded),
            "equalization": lambda: Equalization(**unseeded),
        }
        self._names = names
        for name in names:
            setattr(self, name, makers[name]())

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        for name in self._names:
            getattr(self, name).build_once(input_shape)

    def _drawn_layers(self, count: int, images: int, last: int, generator: SeedGenerator) -> list[tuple[ImageLayer, Any]]:
        """`count` layers, each with its own random numbers for so many images; choices from len(names) to last - 1 are none."""
        chosen = draws.integers(ops.random_bits(generator.next_key(), count), 0, last)
        layers = [getattr(self, self._names[i]) for i in map(int, backends.to_numpy(chosen)) if i < len(self._names)]
        return [(layer, layer.draw(images, generator) if isinstance(layer, RandomLayer) else None) for layer in layers]


@registry.register("layer")
class RandAugment(_Policy):
    """`num_ops` layers, drawn for a batch out of eleven, one after the other.

    Args:
        value_range: (lowest, highest) value of the images.
        num_ops: how many layers.
        factor: of each of them: (lower, upper) within [0, 1], or f for (0, f).
        interpolation: "bilinear" or "nearest".
        seed: of the drawn numbers. data_format: see `RandomWarp`.

    Source: Cubuk et al. 2019, arXiv:1909.13719.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "value_range", "num_ops", "factor", "interpolation", "seed")

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_ops: int = 2,
        factor: Any = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.value_range = value_range
        self.num_ops = num_ops
        self.factor = bounds_of(factor, "factor", 0, 1)
        self.interpolation = interpolation
        self._make_layers((*_GEOMETRY, *_COLORS, *_TONES), interpolation)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """The layers, each with what it drew."""
        return self._drawn_layers(self.num_ops, count, len(self._names), generator or self.generator)

    def augment(self, x: Any, words: Any) -> Any:
        for layer, drawn in words:
            x = layer.augment(x, drawn)
        return x

    def augment_boxes(self, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
        for layer, drawn in words:
            boxes = layer.augment_boxes(boxes, drawn, image) if isinstance(layer, RandomLayer) else boxes
        return boxes

    def augment_masks(self, masks: Any, words: Any) -> Any:
        for layer, drawn in words:
            masks = layer.augment_masks(masks, drawn) if isinstance(layer, RandomLayer) else masks
        return masks


@registry.register("layer")
class AugMix(_Policy):
    """Images mixed with a mixture of several chains of changes of them; the chains are drawn for a batch.

    Args:
        value_range: (lowest, highest) value of the images; results are clipped to it.
        num_chains: how many chains.
        chain_depth: how many layers are in each, at most.
        factor: of each layer: (lower, upper) within [0, 1], or f for (0, f).
        alpha: the chains' weights have a Dirichlet distribution of parameters alpha, the images' own weight has a beta
            distribution of (alpha, alpha).
        all_ops: whether brightness, contrast, sharpness and strength of color are changed, too.
        interpolation: "bilinear" or "nearest".
        seed: of the drawn numbers. data_format: see `RandomWarp`.

    Source: Hendrycks et al. 2019, arXiv:1912.02781.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = (
        "data_format",
        "value_range",
        "num_chains",
        "chain_depth",
        "factor",
        "alpha",
        "all_ops",
        "interpolation",
        "seed",
    )

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Any = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.value_range = value_range
        self.num_chains = num_chains
        self.chain_depth = chain_depth
        self.factor = bounds_of(factor, "factor", 0, 1)
        self.alpha = alpha
        self.all_ops = all_ops
        self.interpolation = interpolation
        self._make_layers((*_GEOMETRY, *_TONES, *(_COLORS if all_ops else ())), interpolation)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """The chains; their weights, (num_chains,); and the images' own, (1,)."""
        generator = generator or self.generator
        words = ops.random_bits(generator.next_key(), draws.BETA_WORDS + self.num_chains * draws.GAMMA_WORDS)
        own = draws.beta(words[None, : draws.BETA_WORDS], self.alpha)
        gamma = draws.log_gamma(words[draws.BETA_WORDS :].reshape(self.num_chains, -1), self.alpha)
        shares = np.exp(gamma - gamma.max())
        none = len(self._names) + 1
        chains = [self._drawn_layers(self.chain_depth, count, none, generator) for _ in range(self.num_chains)]
        return chains, shares / shares.sum(), own

    def augment(self, x: Any, words: Any) -> Any:
        chains, shares, own = words
        mixture = 0 * x
        for chain, share in zip(chains, shares):
            changed = x
            for layer, drawn in chain:
                changed = layer.augment(changed, drawn)
            mixture = mixture + changed * share.astype(x.dtype)
        return ops.blend_images(mixture, x, own.astype(x.dtype), *as_floats(self.value_range))


@registry.register("layer")
class Pipeline(Layer):
    """Layers one after the other, as one layer: in a data set's `map`, or in a model.

    Args:
        layers: the layers.
    """

    _trains_by_default = True

    def __init__(self, layers: list[Layer], name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._pipeline_layers = list(layers)  # Keras's name, which its files have

    @property
    def layers(self) -> list[Layer]:
        """The layers, in their order."""
        return self._pipeline_layers

    def __call__(self, inputs: Any = MISSING, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """As any layer; a dict goes through each layer."""
        if not isinstance(inputs, dict):
            return super().__call__(inputs, *args, training=training, **kwargs)
        for layer in self.layers:
            inputs = layer(inputs, training=training)
        return inputs

    def build(self, input_shape: Shape) -> None:
        for layer in self.layers:
            layer.build_once(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        saved = []
        for layer in self.layers:
            x, of_layer = layer.forward(x, training)
            saved.append(of_layer)
        return x, saved

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        grads: tuple[Any, ...] = ()
        for layer, of_layer in zip(reversed(self.layers), reversed(saved)):
            dy, of_weights = layer.backward(dy, of_layer)
            grads = (*of_weights, *grads)
        return dy, grads

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "layers": serialization.serialize(self.layers)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Pipeline:
        layers = config.get("layers")
        if not isinstance(layers, (list, tuple)):
            raise ValueError(
                "`Pipeline` config must contain a `layers` key mapping to a list of serialized layers. "
                f"Received config with layers={layers}."
            )
        return cls(**{**config, "layers": [serialization.deserialize(layer) for layer in layers]})
