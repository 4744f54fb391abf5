"""Augmentation that changes colors and sharpness, and no places; see `layers/augment.py` for what all of it shares."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry
from minicnn.backends import ops
from minicnn.layers import draws
from minicnn.layers.augment import (
    ImageLayer,
    RandomBrightness,
    RandomContrast,
    RandomLayer,
    Recoloring,
    as_floats,
    bounds_of,
    sorted_range,
)
from minicnn.layers.symbolic import Shape
from minicnn.seeds import SeedGenerator


class _OfRGB(ImageLayer):
    """Base of the layers whose images have three channels: red, green, blue."""

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        channels = input_shape[-3 if self.data_format == "channels_first" else -1]
        if channels not in (3, None):
            raise ValueError(
                f"Input images must have 3 channels, but received images with {channels} channels. Layer: '{self.name}'."
            )


class _ValueLayer(ImageLayer):
    """Base of the layers without chance that know their images' range of values."""

    def __init__(self, value_range: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.value_range = sorted_range(value_range)


@registry.register("layer")
class AutoContrast(_ValueLayer):
    """Each channel of each image stretched to the whole range of values, in training and inference alike.

    A channel of one value only stays.

    Args:
        value_range: (lowest, highest) value of the images, and of the result. data_format: see `RandomWarp`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "value_range")

    def __init__(self, value_range: Any = (0, 255), **kwargs: Any) -> None:
        super().__init__(value_range, **kwargs)

    def transform(self, x: Any, training: bool) -> Any:
        low, high = as_floats(self.value_range)
        smallest, largest = ops.channel_extremes(x)
        flat = largest <= smallest
        factors = np.where(flat, 1, (high - low) / np.where(flat, 1, largest - smallest)).astype(x.dtype)
        offsets = np.where(flat, 0, low - smallest * factors).astype(x.dtype)
        return ops.adjust_colors(x, factors, offsets, low, high)

    augment = transform  # as RandAugment calls it


@registry.register("layer")
class Equalization(_ValueLayer):
    """Each channel's values spread so that all are equally frequent in it: see `ops.equalize`.

    A channel's histogram is taken of all images of a batch together, as Keras does.

    Args:
        value_range: (lowest, highest) value of the images, and of the result.
        bins: how many ranges of values are told apart.
        data_format: see `RandomWarp`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "bins", "value_range")

    def __init__(self, value_range: Any = (0, 255), bins: int = 256, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(value_range, data_format, **kwargs)
        self.bins = bins

    def transform(self, x: Any, training: bool) -> Any:
        return ops.equalize(x, self.bins, *as_floats(self.value_range)) if training else x

    def augment(self, x: Any, words: Any) -> Any:
        return self.transform(x, True)


@registry.register("layer")
class ContrastLimitedAdaptiveHistogramEqualization(_ValueLayer):
    """The contrast of each part of an image brought out, in training and inference alike: see `ops.equalize_tiles`.

    Args:
        value_range: (lowest, highest) value of the images, and of the result.
        clip_limit: how much more frequent than all alike a value may count; 0 for no limit.
        tile_grid_size: into how many parts an image is cut, (rows, columns).
        data_format: see `RandomWarp`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("value_range", "clip_limit", "tile_grid_size", "data_format")

    def __init__(
        self,
        value_range: Any = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: Any = (8, 8),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format, **kwargs)
        self.clip_limit, self.tile_grid_size = clip_limit, tuple(tile_grid_size)

    def transform(self, x: Any, training: bool) -> Any:
        return ops.equalize_tiles(x, self.tile_grid_size, self.clip_limit, *as_floats(self.value_range))

    augment = transform  # as `RandomLayer`s have it


@registry.register("layer")
class Solarization(RandomLayer):
    """Values above a threshold turned round: highest - value + lowest.

    Args:
        addition_factor: what is added to all pixels before, as a fraction of the range of values: (lower, upper) within
            [0, 1], or f for (0, f).
        threshold_factor: the threshold, likewise.
        value_range: (lowest, highest) value of the images.
        seed: of the drawn numbers. data_format: see `RandomWarp`.
    """

    words_per_image = 2
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "value_range", "addition_factor", "threshold_factor", "seed")

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.addition_factor = bounds_of(addition_factor, "addition_factor", 0, 1)
        self.threshold_factor = bounds_of(threshold_factor, "threshold_factor", 0, 1)
        self.value_range = sorted_range(value_range)

    def levels(self, words: Any) -> tuple[Any, Any]:
        """What is added, and the threshold, of each image, on a scale from 0 to 255; (N,) each."""
        return 255 * draws.uniform(words[:, 0], *self.addition_factor), 255 * draws.uniform(words[:, 1], *self.threshold_factor)

    def augment(self, x: Any, words: Any) -> Any:
        additions, thresholds = (level.astype(x.dtype) for level in self.levels(words))
        return ops.solarize(x, additions, thresholds, *as_floats(self.value_range))


class _Recoloring(Recoloring):
    """`Recoloring` with Keras's order of arguments in the layers below."""

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(factor, value_range, seed, data_format=data_format, **kwargs)


@registry.register("layer")
class RandomPosterization(_Recoloring):
    """Images in fewer levels: of each value, on a scale from 0 to 255, only the highest bits.

    Args:
        factor: how many bits, from 1 to 8: (lower, upper), drawn from lower to upper - 1; f is (1, f).
        value_range, data_format, seed: see `Recoloring`.
    """

    _factor_bounds = (1, 8)

    def bits(self, words: Any) -> Any:
        """How many bits of each image stay, (N,)."""
        lower, upper = self.factor
        return draws.integers(words[:, 0], int(lower), max(int(upper), int(lower) + 1))

    def augment(self, x: Any, words: Any) -> Any:
        return ops.posterize(x, self.bits(words).astype(x.dtype), *as_floats(self.value_range))


@registry.register("layer")
class RandomHue(_OfRGB, _Recoloring):
    """Colors turned on the color wheel.

    Args:
        factor: how far, in half turns, to either side: (lower, upper) within [0, 1], or f for (0, f).
        value_range, data_format, seed: see `Recoloring`.
    """

    words_per_image = 2
    _factor_bounds = (0, 1)

    def shifts(self, words: Any) -> Any:
        """In whole turns, (N,)."""
        return (0.5 - (words[:, 0] > 2**31)) * draws.uniform(words[:, 1], *self.factor)

    def augment(self, x: Any, words: Any) -> Any:
        low, high = as_floats(self.value_range)
        shifts = self.shifts(words).astype(x.dtype)
        y = ops.adjust_hsv(ops.rescale(x, 1 / (high - low), -low / (high - low)), shifts, 0 * shifts + 1, 0.0, 1.0)
        size = 0 * shifts[:, None] + (high - low)
        return self._recolor(y, size, 0 * size + low)


@registry.register("layer")
class RandomSaturation(_OfRGB, _Recoloring):
    """Colors made paler or stronger: their saturation is multiplied by factor / (1 - factor).

    Args:
        factor: 0 makes gray, 1/2 changes nothing, 1 is as strong as can be; (lower, upper), or f for (-f, f), as in
            Keras 3.15 (saturations below 0 are 0).
        value_range: where the saturation stays, as in Keras 3.15. data_format, seed: see `Recoloring`.
    """

    def factors(self, words: Any) -> Any:
        """Of each image's saturation, (N,)."""
        factor = draws.uniform(words[:, 0], *self.factor)
        return factor / (1 - factor + 1e-7)

    def augment(self, x: Any, words: Any) -> Any:
        factors = self.factors(words).astype(x.dtype)
        return ops.adjust_hsv(x, 0 * factors, factors, *as_floats(self.value_range))


class _Blending(_Recoloring):
    """Base of the layers that mix an image with a changed one of it.

    A subclass writes `other(x)`.
    """

    def other(self, x: Any) -> Any:
        """The changed images."""
        raise NotImplementedError

    def shares(self, words: Any) -> Any:
        """How much of `other` is in each result, (N,); a negative share exaggerates the difference."""
        return draws.uniform(words[:, 0], *self.factor)

    def augment(self, x: Any, words: Any) -> Any:
        return ops.blend_images(x, self.other(x), self.shares(words).astype(x.dtype), *as_floats(self.value_range))


@registry.register("layer")
class RandomColorDegeneration(_OfRGB, _Blending):
    """Images mixed with their gray versions.

    Args:
        factor: the share of gray: (lower, upper), or f for (-f, f), as in Keras 3.15: a negative one strengthens colors.
        value_range, data_format, seed: see `Recoloring`.
    """

    def other(self, x: Any) -> Any:
        return ops.grayscale(x)


@registry.register("layer")
class RandomSharpness(_Blending):
    """Images blurred or sharpened: mixed with a smoothed version, each pixel of which is a mean of it and its neighbors.

    Args:
        factor: 0 blurs, 1/2 changes nothing, 1 sharpens; (lower, upper) within [0, 1], or f for (0, f).
        value_range, data_format, seed: see `Recoloring`.
    """

    _factor_bounds = (0, 1)

    def shares(self, words: Any) -> Any:
        return 1 - 2 * draws.uniform(words[:, 0], *self.factor)

    def other(self, x: Any) -> Any:
        kernel = np.ones((3, 3))
        kernel[1, 1] = 5
        return ops.filter2d(x, backends.asarray(kernel / 13, x.dtype))


@registry.register("layer")
class RandomGrayscale(_OfRGB, RandomLayer):
    """Images made gray, each with the same probability; they keep their three channels.

    Args:
        factor: the probability. data_format: see `RandomWarp`. seed: of the draws.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor")

    def __init__(self, factor: float = 0.5, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        if factor < 0 or factor > 1:
            raise ValueError(f"`factor` should be between 0 and 1. Received: factor={factor}")
        self.factor = factor

    def chosen(self, words: Any) -> Any:
        """Which images become gray, bool (N,)."""
        return draws.uniform(words[:, 0], 0, 1) < self.factor

    def augment(self, x: Any, words: Any) -> Any:
        return ops.choose_images(x, ops.grayscale(x), self.chosen(words))


@registry.register("layer")
class RandomInvert(Recoloring):
    """Images in complementary colors: highest value - pixel.

    Args:
        factor: the probability, drawn for each image: (lower, upper) within [0, 1], or f for (0, f).
        value_range, seed, data_format: see `Recoloring`.
    """

    words_per_image = 2
    _factor_bounds = (0, 1)

    def __init__(
        self,
        factor: Any = 1.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(factor, value_range, seed, data_format=data_format, **kwargs)

    def chosen(self, words: Any) -> Any:
        """Which images are inverted, bool (N,)."""
        return draws.within(words, self.factor)

    def augment(self, x: Any, words: Any) -> Any:
        return ops.choose_images(x, ops.rescale(x, -1.0, float(self.value_range[1])), self.chosen(words))


def gaussian_kernel(size: int, sigma: Any, radius: Any = None) -> Any:
    """exp(-d**2 / (2 sigma**2)) for distances d of at most `radius` from the middle of `size` places; their sum is 1.

    Args:
        sigma: an array of shape (1,), on the backend; so may be radius, default size // 2.
    """
    distance = np.arange(size, like=sigma) - (size - 1) / 2
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    if radius is not None:
        weights = np.where(np.abs(distance) <= radius, weights, 0)
    return weights / weights.sum()


@registry.register("layer")
class RandomGaussianBlur(RandomLayer):
    """Images blurred by a Gaussian kernel.

    Args:
        factor: the probability, drawn for each image: (lower, upper) within [0, 1], or f for (0, f).
        kernel_size: odd; (rows, columns), or an int for both.
        sigma: the kernel's standard deviation, drawn for each of its axes, once for a batch: (lower, upper) within
            [0, 1], or s for (0, s).
        value_range: (lowest, highest) value of the images; results are clipped to it.
        data_format: see `RandomWarp`. seed: of the drawn numbers.
    """

    words_per_image = 2
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor", "kernel_size", "sigma", "value_range", "seed")

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.factor = bounds_of(factor, "factor", 0, 1)
        self.kernel_size = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
        if len(self.kernel_size) != 2 or any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(f"kernel_size must be an odd number. Received: kernel_size={kernel_size}")
        self.sigma = bounds_of(sigma, "sigma", 0, 1)
        self.value_range = sorted_range(value_range)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """Words for the images, and two for the kernel."""
        return self.draw_words(count, generator), self.draw_words(1, generator)[0]

    def blurred(self, x: Any, sigmas: Any) -> Any:
        """The images under the kernel of these standard deviations, of its rows and of its columns; (2,)."""
        rows, columns = (gaussian_kernel(size, sigmas[i : i + 1]).astype(x.dtype) for i, size in enumerate(self.kernel_size))
        return ops.filter2d(ops.filter2d(x, rows[:, None]), columns[None])

    def augment(self, x: Any, words: Any) -> Any:
        of_images, of_kernel = words
        y = self.blurred(x, draws.uniform(of_kernel, *self.sigma) + 1e-6)
        return ops.blend_images(x, y, draws.within(of_images, self.factor).astype(x.dtype), *as_floats(self.value_range))


@registry.register("layer")
class RandomColorJitter(RandomLayer):
    """Brightness, contrast, saturation and hue changed, in this order: those whose factor is given.

    Args:
        value_range: (lowest, highest) value of the images.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: as `factor` in `RandomBrightness`,
            `RandomContrast`, `RandomSaturation` and `RandomHue`.
        seed: of the drawn numbers. data_format: see `RandomWarp`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = (
        "data_format",
        "value_range",
        "brightness_factor",
        "contrast_factor",
        "saturation_factor",
        "hue_factor",
        "seed",
    )

    def __init__(
        self,
        value_range: Any = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.value_range = value_range
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        common = {"value_range": value_range, "seed": seed, "data_format": self.data_format, "dtype": self.dtype}
        self.random_brightness = None if brightness_factor is None else RandomBrightness(brightness_factor, **common)
        self.random_contrast = None if contrast_factor is None else RandomContrast(contrast_factor, **common)
        self.random_saturation = None if saturation_factor is None else RandomSaturation(saturation_factor, **common)
        self.random_hue = None if hue_factor is None else RandomHue(hue_factor, **common)

    @property
    def _steps(self) -> list[RandomLayer]:
        steps = (self.random_brightness, self.random_contrast, self.random_saturation, self.random_hue)
        return [layer for layer in steps if layer is not None]

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        for layer in self._steps:
            layer.build_once(input_shape)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """The words of each step."""
        return [layer.draw_words(count, generator or self.generator) for layer in self._steps]

    def augment(self, x: Any, words: Any) -> Any:
        for layer, of_layer in zip(self._steps, words):
            x = layer.augment(x, of_layer)
        return x
