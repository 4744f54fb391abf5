"""Augmentation that erases parts of images, or mixes images and their labels; see `layers/augment.py`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry
from minicnn.backends import ops
from minicnn.layers import draws
from minicnn.layers.augment import RandomLayer, as_floats, bounds_of, refuse_boxes, sorted_range
from minicnn.seeds import SeedGenerator


def _box(words: Any, image: tuple[int, int], height_share: Any, width_share: Any) -> Any:
    """A box at a random place of each image, (N, 4) as `ops.paste_boxes` takes it: so much of the height and width of it."""
    height, width = height_share * image[0], width_share * image[1]
    top = draws.uniform(words[:, 0], 0, 1) * (image[0] - height)
    left = draws.uniform(words[:, 1], 0, 1) * (image[1] - width)
    return np.stack([top, top + height, left, left + width], axis=1)


@registry.register("layer")
class RandomErasing(RandomLayer):
    """A rectangle of each image filled with noise, or with a value.

    Args:
        factor: the probability, drawn for each image: (lower, upper) within [0, 1], or f for (0, f).
        scale: the squared share of the height, and of the width, that the rectangle takes; (lower, upper) or s for (0, s).
        fill_value: a number, or one for each of three channels; None for normally distributed numbers times the highest
            value. Either is clipped to `value_range`.
        value_range: (lowest, highest) value of the images.
        seed: of the drawn numbers. data_format: see `RandomWarp`.

    Source: Zhong et al. 2017, arXiv:1708.04896.
    """

    words_per_image = 6
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor", "scale", "fill_value", "value_range", "seed")

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.factor = bounds_of(factor, "factor", 0, 1)
        self.scale = bounds_of(scale, "scale", 0, 1)
        several = isinstance(fill_value, (tuple, list)) and len(fill_value) == 3
        if not several and fill_value is not None and not isinstance(fill_value, (int, float)):
            raise ValueError(
                "The `fill_value` argument should be a number (or a list of three numbers). "
                f"Received: fill_value={fill_value}. Layer: '{self.name}'."
            )
        self.fill_value = fill_value
        self.value_range = sorted_range(value_range)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """Words for the images, and the key of the noise."""
        return self.draw_words(count, generator), (generator or self.generator).next_key()

    def boxes(self, words: Any, image: tuple[int, int]) -> Any:
        """Each image's rectangle, as `ops.paste_boxes` takes it; empty where nothing is erased."""
        width, height = (np.sqrt(draws.uniform(words[:, i], *self.scale)) for i in (0, 1))
        erased = draws.within(words[:, 4:], self.factor)
        return _box(words[:, 2:], image, height * erased, width * erased)

    def fill(self, x: Any, key: Any) -> Any:
        """What is seen in the rectangles, an image for each of x."""
        low, high = as_floats(self.value_range)
        if self.fill_value is None:
            return np.clip(ops.gaussian_noise(0 * x, high, key), low, high)
        values = np.clip(self.fill_value, low, high)
        return backends.asarray(np.broadcast_to(values, x.shape), x.dtype)

    def augment(self, x: Any, words: Any) -> Any:
        of_images, key = words
        return ops.paste_boxes(x, self.fill(x, key), self.boxes(of_images, x.shape[1:3]).astype(x.dtype))


@registry.register("layer")
class RandomCutout(RandomLayer):
    """A rectangle about a random pixel of each image filled with a value: at the border, less of it is seen ("Cutout").

    Args:
        height_factor: its share of the image's height, as (lower, upper) within [0, 1], or f for (0, f); (0.5, 0.5) is half.
        width_factor: likewise of the width.
        fill_value: a number; 0 is the mean of normalized images.
        seed: of the drawn numbers. data_format: see `RandomWarp`.

    Name and factors are KerasCV's. A rectangle that lies within the image is `RandomErasing`'s.

    Source: DeVries & Taylor 2017, arXiv:1708.04552.
    """

    words_per_image = 4
    _own_arguments: ClassVar[tuple[str, ...]] = ("height_factor", "width_factor", "fill_value", "seed", "data_format")

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.height_factor, self.width_factor, self.fill_value = height_factor, width_factor, fill_value
        self._height_range = bounds_of(height_factor, "height_factor", 0, 1)
        self._width_range = bounds_of(width_factor, "width_factor", 0, 1)

    def boxes(self, words: Any, image: tuple[int, int]) -> Any:
        """Each image's rectangle, as `ops.paste_boxes` takes it: of whole pixels, and perhaps beyond the border."""
        edges = []
        for axis, bounds in enumerate((self._height_range, self._width_range)):
            extent = np.round(draws.uniform(words[:, axis], *bounds) * image[axis])
            first = draws.integers(words[:, 2 + axis], 0, image[axis]) - np.floor(extent / 2)
            edges += [first, first + extent]
        return np.stack(edges, axis=1)

    def augment(self, x: Any, words: Any) -> Any:
        fill = backends.asarray(np.full(x.shape, self.fill_value, x.dtype))
        return ops.paste_boxes(x, fill, self.boxes(words, x.shape[1:3]).astype(x.dtype))


class _Mixing(RandomLayer):
    """Base of the layers that mix each image of a batch with another one, and their labels with the same weight.

    A subclass writes `augment` and `own_shares`.
    """

    def own_shares(self, words: Any) -> Any:
        """How much each result has of its own image, (N,)."""
        raise NotImplementedError

    def augment_labels(self, labels: Any, words: Any) -> Any:
        weights = self.own_shares(words).reshape(-1, *[1] * (labels.ndim - 1)).astype(self.dtype)
        return weights * labels + (1 - weights) * labels[draws.permutation(words[:, 0])]

    def augment_masks(self, masks: Any, words: Any) -> Any:
        return self.augment(masks, words)

    augment_boxes = refuse_boxes


@registry.register("layer")
class MixUp(_Mixing):
    """Each image mixed with another one of its batch, y = w * x + (1 - w) * x', and its label likewise.

    Args:
        alpha: w is drawn from a beta distribution of parameters (alpha, alpha): the smaller, the less is mixed.
        data_format: see `RandomWarp`. seed: of the drawn numbers.

    Labels are vectors, as of `to_categorical`: `MixUp()({"images": images, "labels": labels})`.

    Source: Zhang et al. 2017, arXiv:1710.09412.
    """

    words_per_image = 1 + draws.BETA_WORDS
    _blends_masks = True
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "alpha", "seed")

    def __init__(self, alpha: float = 0.2, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.alpha = alpha

    def own_shares(self, words: Any) -> Any:
        return draws.beta(words[:, 1:], self.alpha)

    def augment_boxes(self, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
        """Those of both images."""
        others = backends.to_numpy(draws.permutation(words[:, 0]))
        return {key: np.concatenate([value, value[others]], axis=1) for key, value in boxes.items()}

    def augment(self, x: Any, words: Any) -> Any:
        others = x[draws.permutation(words[:, 0])]
        return ops.blend_images(others, x, self.own_shares(words).astype(x.dtype), -math.inf, math.inf)


@registry.register("layer")
class CutMix(_Mixing):
    """A rectangle of each image replaced by that of another one of its batch, and the labels mixed by their areas.

    Args:
        factor: the rectangle's share of the image is 1 - w, w of a beta distribution of parameters (alpha, alpha), and
            alpha is drawn for a batch: (lower, upper) within [0, 1], or f for (0, f).
        seed: of the drawn numbers. data_format: see `RandomWarp`.

    Labels are vectors, as in `MixUp`. One image alone stays as it is.

    Source: Yun et al. 2019, arXiv:1905.04899.
    """

    words_per_image = 3 + draws.BETA_WORDS
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor", "seed")

    def __init__(self, factor: Any = 1.0, seed: int | None = None, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.factor = bounds_of(factor, "factor", 0, 1)

    def draw_words(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """As of any layer; and a last column that is the same for all images."""
        words = super().draw_words(count, generator)
        shared = ops.random_bits((generator or self.generator).next_key(), 1)
        return np.concatenate([words, np.repeat(shared[None], count, axis=0)], axis=1)

    def own_shares(self, words: Any) -> Any:
        alpha = draws.uniform(words[:, -1], *self.factor) + 1e-6
        return draws.beta(words[:, 3:-1], alpha)

    def boxes(self, words: Any, image: tuple[int, int]) -> Any:
        """Each image's rectangle, as `ops.paste_boxes` takes it."""
        share = np.sqrt(1 - self.own_shares(words))
        return _box(words[:, 1:], image, share, share)

    def augment(self, x: Any, words: Any) -> Any:
        others = x[draws.permutation(words[:, 0])]
        return ops.paste_boxes(x, others, self.boxes(words, x.shape[1:3]).astype(x.dtype))
