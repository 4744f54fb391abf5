"""Augmentation: images flipped, turned, moved, cropped and recoloured at random, in training only.

The random numbers for image n of a batch depend only on the layer's key and on n, and are made
by the backend: they are the same on every backend and for every number of threads.

Every layer here also takes a dict, as Keras's do: {"images": ..., "labels": ..., "segmentation_masks": ...}. What
moves pixels moves those of the masks with them (each takes the nearest pixel's value); what mixes images mixes labels.
Boxes around objects, "bounding_boxes": {"boxes": (N, B, 4), "labels": (N, B)}, move with them, too, and are cut off at the
borders; of a box of which nothing is left the label becomes -1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry, shapes
from minicnn.backends import ops
from minicnn.layers import draws
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.axes import moved_back, moved_last
from minicnn.layers.base import Layer
from minicnn.layers.symbolic import Shape, is_symbolic
from minicnn.layers.tracing import MISSING, said_training
from minicnn.seeds import SeedGenerator
from minicnn.tensor import as_tensor

# Codes of `ops.affine_warp2d`
INTERPOLATIONS = {"nearest": 0, "bilinear": 1}
_RESIZINGS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
FILL_MODES = {"constant": 0, "nearest": 1, "reflect": 2, "wrap": 3, "mirror": 4}

_WARP_ARGUMENTS = ("fill_mode", "interpolation", "seed", "fill_value", "data_format")

Range = tuple[float, float]


def _warped(x: Any, maps: tuple[Any, ...], size: tuple[int, int], interpolation: str, fill_mode: str, fill_value: float) -> Any:
    """Each image of `x` under its map, as images of (height, width) = `size`: see `ops.affine_warp2d`."""
    # NumPy's functions on CuPy's arrays are CuPy's: nothing leaves the device.
    matrices = np.stack(maps, axis=1).astype(x.dtype)
    return ops.affine_warp2d(x, matrices, size, INTERPOLATIONS[interpolation], FILL_MODES[fill_mode], float(fill_value))


def boxes_around(boxes: Any, moved: Callable[[Any, Any], tuple[Any, Any]]) -> np.ndarray:
    """The smallest upright boxes around boxes (N, B, 4) whose corners move: `moved(x, y)`, (N, B) each, says where to."""
    left, top, right, bottom = np.moveaxis(np.asarray(boxes, "float64"), -1, 0)
    xs, ys = zip(*(moved(x, y) for x in (left, right) for y in (top, bottom)))
    sides = [np.min(xs, axis=0), np.min(ys, axis=0), np.max(xs, axis=0), np.max(ys, axis=0)]
    return np.stack(sides, axis=-1).astype("float32")


def refuse_boxes(layer: ImageLayer, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
    """The `augment_boxes` of a layer that moves pixels in a way that boxes do not follow."""
    raise NotImplementedError(f"Layer '{layer.name}': {type(layer).__name__} moves no bounding boxes, as Keras's does not.")


def bounds_of(factor: Any, argument: str, low: float, high: float) -> Range:
    """`factor` as (lower, upper): a number f stands for (-f, f), but not below `low`.

    Raises:
        ValueError: if it does not lie in [low, high].
    """
    numbers = list(factor) if isinstance(factor, (tuple, list)) else [factor]
    real = all(isinstance(number, (int, float, np.number)) and not isinstance(number, bool) for number in numbers)
    single = not isinstance(factor, (tuple, list))
    if not real or (not single and len(numbers) != 2) or min(numbers) < low or max(numbers) > high:
        raise ValueError(
            f"The `{argument}` argument should be a number (or a list of two numbers) in the range [{low}, {high}]. "
            f"Received: {argument}={factor}"
        )
    if single:
        return max(-abs(factor), low), abs(factor)
    lower, upper = sorted(numbers)
    return lower, upper


def sorted_range(value_range: Any) -> list[float]:
    """`value_range` as [lowest, highest].

    Raises:
        ValueError: if it is not two numbers.
    """
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
        raise ValueError(f"The `value_range` argument should be a list of two numbers. Received: value_range={value_range}")
    return sorted(value_range)


def as_floats(value_range: Any) -> Range:
    """Its two numbers as ops take them."""
    low, high = value_range
    return float(low), float(high)


class ImageLayer(Layer):
    """Base of the layers that take images: (N, H, W, C), or one image (H, W, C).

    A subclass writes `transform(x, training)`, for batches.

    Args:
        data_format: see `RandomWarp`. bounding_box_format: what the four numbers of boxes are, such as "xyxy", see
            `utils.bounding_boxes`; needed for those alone.
    """

    _trains_by_default = True
    _blends_masks: ClassVar[bool] = False  # whether masks of whole numbers become others in between

    def __init__(self, data_format: str | None = None, bounding_box_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        self.bounding_box_format = bounding_box_format

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) not in (3, 4):
            raise ValueError(
                f"Layer '{self.name}': Expected image tensor to have rank 3 (single image) or 4 (batch of images). "
                f"Received: data.shape={input_shape}"
            )
        self.built = True

    def __call__(self, inputs: Any = MISSING, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """As any layer; a list of images is a batch. Of a dict with "images", a dict in which what belongs to these is changed
        with them.

        Raises:
            NotImplementedError: for symbolic tensors in a dict, and for bounding boxes that the layer cannot move.
            ValueError: for bounding boxes without a `bounding_box_format`, or of another shape than (..., B, 4).
        """
        if isinstance(inputs, (list, tuple)) and not is_symbolic(inputs):
            sizes = [np.shape(image) for image in inputs]
            if len({*sizes}) > 1:
                raise ValueError(f"Layer '{self.name}': images in a list must have one shape. Received: {sizes}")
            inputs = np.stack([np.asarray(image) for image in inputs])
        if not isinstance(inputs, dict):
            return super().__call__(inputs, *args, training=training, **kwargs)
        if is_symbolic(inputs):
            raise NotImplementedError(
                f"Layer '{self.name}': a dict of images, labels, bounding boxes and segmentation masks is transformed as data "
                f"(say, in `Dataset.map`); a model's layer takes images alone. Received keys: {list(inputs)}"
            )
        images = np.asarray(inputs["images"])
        self.build_once(images.shape)
        lone = images.ndim == 3
        batch = {}
        for key, axes in self._parts:
            if key in inputs:
                value = backends.asarray(np.asarray(inputs[key]), None if key == "labels" else self.dtype)
                batch[key] = moved_last(value[None] if lone else value, axes)
        if "bounding_boxes" in inputs:
            batch["bounding_boxes"] = self._corners(inputs["bounding_boxes"], batch["images"].shape[1:3], lone)
        said = said_training(training)
        changed = self.transform_parts(batch, self._trains_by_default if said is None else said)
        found = dict(inputs)
        for key, axes in self._parts:
            if key in changed:
                value = as_tensor(moved_back(changed[key], axes))
                whole = key == "segmentation_masks" and np.issubdtype(np.asarray(inputs[key]).dtype, np.integer)
                value = value.astype(np.asarray(inputs[key]).dtype) if whole and not self._blends_masks else value
                found[key] = value[0] if lone else value
        if changed.get("bounding_boxes") is not batch.get("bounding_boxes"):
            size = changed["images"].shape[1:3]
            boxes = registry.lookup("bounding_boxes", "clip_to_image_size")(changed["bounding_boxes"], *size)
            boxes = registry.lookup("bounding_boxes", "convert_format")(boxes, "xyxy", self.bounding_box_format, *size)
            moved = {key: as_tensor(value)[0] if lone else as_tensor(value) for key, value in boxes.items()}
            found["bounding_boxes"] = {**inputs["bounding_boxes"], **moved}
        return found

    def _corners(self, given: Any, image: tuple[int, int], lone: bool) -> dict[str, Any]:
        """Boxes as (N, B, 4), left, top, right and bottom in pixels; and labels (N, B), if there are any."""
        if not self.bounding_box_format:
            raise ValueError(
                f"Layer '{self.name}' was given 'bounding_boxes', but no bounding box format: pass `bounding_box_format`, "
                "for example 'xyxy', to its constructor."
            )
        if not isinstance(given, dict) or "boxes" not in given:
            raise ValueError(
                f"Layer '{self.name}' expects `bounding_boxes` to be a dict with the keys 'boxes' and 'labels'. "
                f"Received: bounding_boxes={given}"
            )
        batch = {key: [given[key]] if lone else given[key] for key in ("boxes", "labels") if given.get(key) is not None}
        if len({np.shape(one) for one in batch["boxes"]}) > 1:
            raise ValueError(
                f"Layer '{self.name}' takes as many boxes for each image of a batch: put a `MaxNumBoundingBoxes` before it. "
                f"Received: {[len(one) for one in batch['boxes']]}"
            )
        arrays = {key: np.asarray(value) for key, value in batch.items()}
        corners = registry.lookup("bounding_boxes", "convert_format")(arrays, self.bounding_box_format, "xyxy", *image)
        return {key: np.asarray(value) for key, value in corners.items()}

    def get_config(self) -> dict[str, Any]:
        own = {} if self.bounding_box_format is None else {"bounding_box_format": self.bounding_box_format}
        return super().get_config() | own

    def transform(self, x: Any, training: bool) -> Any:
        """The images that come out for the batch `x`."""
        raise NotImplementedError

    def transform_masks(self, masks: Any, training: bool) -> Any:
        """The masks of these images: unchanged, unless a layer moves pixels."""
        return masks

    def transform_boxes(self, boxes: dict[str, Any], image: tuple[int, int]) -> dict[str, Any]:
        """ "boxes" (N, B, 4), corners in pixels, and "labels" of images of (height, width): unchanged, unless pixels move."""
        return boxes

    def transform_parts(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        """What comes out for a batch's "images" and, where they are there, "labels", "bounding_boxes", "segmentation_masks"."""
        changed = {**batch, "images": self.transform(batch["images"], training)}
        if "bounding_boxes" in batch:
            changed["bounding_boxes"] = self.transform_boxes(batch["bounding_boxes"], batch["images"].shape[1:3])
        if "segmentation_masks" in batch:
            changed["segmentation_masks"] = self.transform_masks(batch["segmentation_masks"], training)
        return changed

    @property
    def _parts(self) -> tuple[tuple[str, list[int]], ...]:
        """What a dict may hold, and the axes of each that `transform` takes last."""
        return ("images", self._channel_axes), ("labels", []), ("segmentation_masks", self._channel_axes)

    @property
    def _channel_axes(self) -> list[int]:
        """The axis that is put last before `transform`, if it is not."""
        return [-3] if self.data_format == "channels_first" else []

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        moved = moved_last(x, self._channel_axes)
        batch = moved[None] if x.ndim == 3 else moved
        y = self.transform(batch, training)
        if y is batch:  # as in inference
            return x, True
        return moved_back(y.reshape(y.shape[-x.ndim :]), self._channel_axes), False

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        unchanged = saved
        if unchanged:
            return dy, ()
        raise NotImplementedError(
            f"Layer '{self.name}': {type(self).__name__} has no gradient with respect to its images. "
            "Put it before the first layer with weights, where none is needed."
        )


class RandomLayer(ImageLayer):
    """Base of the layers that change images at random in training, and leave them unchanged in inference.

    A subclass writes `augment(x, words)` and says how many random 32-bit words it needs for an image. (One that needs
    other random numbers writes `draw`, and gets in the place of `words` what that returns.)
    """

    words_per_image: ClassVar[int] = 1

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.generator = SeedGenerator(seed)

    def augment(self, x: Any, words: Any) -> Any:
        """The changed images; `words` (N, words_per_image) are the random 32-bit words to draw from."""
        raise NotImplementedError

    def augment_labels(self, labels: Any, words: Any) -> Any:
        """The labels of the changed images: unchanged, unless images are mixed."""
        return labels

    def augment_masks(self, masks: Any, words: Any) -> Any:
        """The masks of the changed images: unchanged, unless pixels move."""
        return masks

    def augment_boxes(self, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
        """The boxes in the changed images, as of `transform_boxes`: unchanged, unless pixels move."""
        return boxes

    def draw_words(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """(count, words_per_image) new random words of the layer's (or another) generator: row n does not depend on `count`."""
        key = (generator or self.generator).next_key()
        return ops.random_bits(key, count * self.words_per_image).reshape(count, self.words_per_image)

    def draw(self, count: int, generator: SeedGenerator | None = None) -> Any:
        """What `augment` needs of chance for `count` images."""
        return self.draw_words(count, generator)

    def transform(self, x: Any, training: bool) -> Any:
        return self.augment(x, self.draw(x.shape[0])) if training else x

    def transform_parts(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        if not training:
            return batch
        drawn = self.draw(len(batch["images"]))
        image = batch["images"].shape[1:3]
        changes = {
            "images": self.augment,
            "labels": self.augment_labels,
            "segmentation_masks": self.augment_masks,
            "bounding_boxes": lambda boxes, words: self.augment_boxes(boxes, words, image),
        }
        return {key: changes[key](value, drawn) for key, value in batch.items()}


class RandomWarp(RandomLayer):
    """Base of the layers that move pixels: each image is warped by its own affine map.

    Args:
        fill_mode: the pixels outside of the image: "reflect", "wrap", "constant" (`fill_value`) or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: of the drawn numbers; default from `set_random_seed`.
        fill_value: see `fill_mode`.
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.

    A subclass writes `maps(words, image)`. Of its constructor's `*args` and `**kwargs` the signature is spelled out here.
    """

    _fill_modes: ClassVar[tuple[str, ...]] = ("constant", "nearest", "reflect", "wrap")
    _first_edge: ClassVar[float] = 0.0  # where boxes have their 0, in pixels before the middle of the first pixel: as in Keras

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own, common = (list(inspect.signature(init).parameters.values()) for init in (cls.__init__, RandomWarp.__init__))
        if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in own):
            cls.__init__.__signature__ = inspect.Signature([*own[:-2], *common[1:]])  # type: ignore[attr-defined]

    def __init__(
        self,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        if fill_mode not in self._fill_modes:
            raise NotImplementedError(f"Unknown `fill_mode` {fill_mode}. Expected of one {self._fill_modes}.")
        if interpolation not in INTERPOLATIONS:
            raise NotImplementedError(f"Unknown `interpolation` {interpolation}. Expected of one {tuple(INTERPOLATIONS)}.")
        self.fill_mode = fill_mode
        self.interpolation = interpolation
        self.fill_value = fill_value

    def maps(self, words: Any, image: tuple[int, int]) -> tuple[Any, ...]:
        """(a0, a1, a2, b0, b1, b2), each (N,), for images of (height, width): see `ops.affine_warp2d`."""
        raise NotImplementedError

    def warp(self, x: Any, words: Any, interpolation: str) -> Any:
        """Each image under its own map."""
        image = x.shape[1:3]
        return _warped(x, self.maps(words, image), image, interpolation, self.fill_mode, self.fill_value)

    def augment(self, x: Any, words: Any) -> Any:
        return self.warp(x, words, self.interpolation)

    def augment_masks(self, masks: Any, words: Any) -> Any:
        return self.warp(masks, words, "nearest")

    def augment_boxes(self, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
        # maps go from places of the output to the image's: boxes go back.
        a0, a1, a2, b0, b1, b2 = (np.asarray(backends.to_numpy(one), "float64")[:, None] for one in self.maps(words, image))
        area = a0 * b1 - a1 * b0
        area = np.where(area == 0, np.inf, area)

        def moved(x: Any, y: Any) -> tuple[Any, Any]:
            x, y = x - self._first_edge - a2, y - self._first_edge - b2
            return (b1 * x - a1 * y) / area + self._first_edge, (a0 * y - b0 * x) / area + self._first_edge

        return boxes | {"boxes": boxes_around(boxes["boxes"], moved)}


@registry.register("layer")
class RandomFlip(RandomWarp):
    """Images mirrored, in each direction of `mode` with probability 1/2.

    Args:
        mode: "horizontal" (left and right change places), "vertical", or "horizontal_and_vertical":
            each direction is drawn by itself, so that an image is mirrored in one of them, in both or in neither.
        seed, data_format: see `RandomWarp`.
    """

    words_per_image = 2
    _first_edge = 0.5
    _own_arguments: ClassVar[tuple[str, ...]] = ("seed", "mode", "data_format")

    def __init__(
        self, mode: str = "horizontal_and_vertical", seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(interpolation="nearest", seed=seed, data_format=data_format, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(
                f"Layer '{self.name}': `mode` must be 'horizontal', 'vertical' or 'horizontal_and_vertical'. "
                f"Received: mode={mode!r}"
            )
        self.mode = mode

    def maps(self, words: Any, image: tuple[int, int]) -> tuple[Any, ...]:
        # -1 where mirrored, else 1
        across = 1.0 - 2.0 * ((words[:, 0] < 2**31) & ("horizontal" in self.mode))
        along = 1.0 - 2.0 * ((words[:, 1] < 2**31) & ("vertical" in self.mode))
        zero = 0 * across
        # column = ox, or W - 1 - ox
        return across, zero, (1 - across) / 2 * (image[1] - 1), zero, along, (1 - along) / 2 * (image[0] - 1)


@registry.register("layer")
class RandomRotation(RandomWarp):
    """Images turned about their centers.

    Args:
        factor: the angle in whole turns, as (lower, upper) or f for (-f, f): 0.1 is up to 36 degrees in either
            direction. Positive angles turn counter-clockwise.
        fill_mode, interpolation, seed, fill_value, data_format: see `RandomWarp`; in this order.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor", "fill_mode", "fill_value", "interpolation", "seed")

    def __init__(self, factor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.factor = bounds_of(factor, "factor", -1, 1)

    def angles(self, words: Any) -> Any:
        """The drawn angles in radians, (N,)."""
        return 2 * math.pi * draws.uniform(words[:, 0], *self.factor)

    def maps(self, words: Any, image: tuple[int, int]) -> tuple[Any, ...]:
        angle = self.angles(words)
        cos, sin = np.cos(angle), np.sin(angle)
        cx, cy = (image[1] - 1) / 2, (image[0] - 1) / 2
        # (column, row) = center + [[cos, -sin], [sin, cos]] ((ox, oy) - center)
        return cos, -sin, cx - cos * cx + sin * cy, sin, cos, cy - sin * cx - cos * cy


class _HeightWidthWarp(RandomWarp):
    """Base of the layers with a factor for the height and one for the width."""

    words_per_image = 2
    _own_arguments: ClassVar[tuple[str, ...]] = ("height_factor", "width_factor", *_WARP_ARGUMENTS)

    def __init__(self, height_factor: Any, width_factor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height_range = bounds_of(height_factor, "height_factor", -1, 1)
        self._width_range = bounds_of(width_factor, "width_factor", -1, 1)

    def _factors(self, words: Any) -> tuple[Any, Any]:
        """The drawn factors of height and width, each (N,)."""
        return draws.uniform(words[:, 0], *self._height_range), draws.uniform(words[:, 1], *self._width_range)


@registry.register("layer")
class RandomZoom(_HeightWidthWarp):
    """Images zoomed about their centers.

    Args:
        height_factor: as (lower, upper) or f for (-f, f), above -1; 0.2 shows 20% more rows (zooms out), -0.2 fewer.
        width_factor: likewise; None to keep the aspect ratio.
        fill_mode, interpolation, seed, fill_value, data_format: see `RandomWarp`; in this order.
    """

    def __init__(self, height_factor: Any, width_factor: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(height_factor, height_factor if width_factor is None else width_factor, *args, **kwargs)
        self.width_factor = width_factor
        if self._height_range[1] == -1 or self._width_range[1] == -1:
            raise ValueError(
                f"Layer '{self.name}': a factor of -1 shows no pixel. "
                f"Received: height_factor={height_factor}, width_factor={width_factor}"
            )

    def zooms(self, words: Any) -> tuple[Any, Any]:
        """How many times as many rows and columns are shown, each (N,)."""
        height, width = self._factors(words)
        return 1 + height, 1 + (height if self.width_factor is None else width)

    def maps(self, words: Any, image: tuple[int, int]) -> tuple[Any, ...]:
        height, width = self.zooms(words)
        zero = 0 * height
        return width, zero, (image[1] - 1) / 2 * (1 - width), zero, height, (image[0] - 1) / 2 * (1 - height)


@registry.register("layer")
class RandomTranslation(_HeightWidthWarp):
    """Images shifted.

    Args:
        height_factor: as (lower, upper) or f for (-f, f): the shift down, as a fraction of the height.
        width_factor: likewise, to the right.
        fill_mode: "mirror", too, which Keras does not have: the image reflected about its outermost pixels.
        interpolation, seed, fill_value, data_format: see `RandomWarp`; in this order.

    By whole pixels, -p to p of H alike often, with a factor of (p + 1/2) / H and interpolation="nearest".
    """

    _fill_modes = (*RandomWarp._fill_modes, "mirror")

    def shifts(self, words: Any, image: tuple[int, int]) -> tuple[Any, Any]:
        """The drawn shifts down and to the right in pixels, each (N,)."""
        down, right = self._factors(words)
        return down * image[0], right * image[1]

    def maps(self, words: Any, image: tuple[int, int]) -> tuple[Any, ...]:
        down, right = self.shifts(words, image)
        zero = 0 * down
        return zero + 1, zero, -right, zero, zero + 1, -down


@registry.register("layer")
class RandomShear(RandomWarp):
    """Images sheared: pixel (row, column) of the output shows the image at (row + sy * column, column + sx * row).

    Args:
        x_factor: sx, as (lower, upper) or f for (-f, f); for half of the images sx and sy get the other sign.
        y_factor: sy, likewise.
        interpolation, fill_mode, fill_value, data_format, seed: see `RandomWarp`.
    """

    words_per_image = 3
    _own_arguments: ClassVar[tuple[str, ...]] = ("x_factor", "y_factor", *_WARP_ARGUMENTS)

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.x_factor = self._bounds(x_factor, "x_factor")
        self.y_factor = self._bounds(y_factor, "y_factor")

    @staticmethod
    def _bounds(factor: Any, argument: str) -> Range:
        if isinstance(factor, (tuple, list)):
            return bounds_of(factor, argument, -1, 1)
        largest = bounds_of(factor, argument, 0, 1)[1]
        return -largest, largest

    def shears(self, words: Any) -> tuple[Any, Any]:
        """sx and sy, (N,) each."""
        sign = 1 - 2 * (words[:, 0] > 2**31)
        return draws.uniform(words[:, 1], *self.x_factor) * sign, draws.uniform(words[:, 2], *self.y_factor) * sign

    def maps(self, words: Any, image: tuple[int, int]) -> tuple[Any, ...]:
        across, along = self.shears(words)
        zero = 0 * across
        return zero + 1, across, zero, along, zero + 1, zero


class Recoloring(RandomLayer):
    """Base of the layers that change colors within a range of values.

    Args:
        value_range: (lowest, highest) value of the images; results are clipped to it.
        seed: of the drawn numbers; default from `set_random_seed`.
    """

    _factor_bounds: ClassVar[Range] = (-1, 1)
    _own_arguments: ClassVar[tuple[str, ...]] = ("data_format", "factor", "value_range", "seed")

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.factor = bounds_of(factor, "factor", *self._factor_bounds)
        self.value_range = sorted_range(value_range)

    def _recolor(self, x: Any, factors: Any, offsets: Any) -> Any:
        """x * factors + offsets, (N, C) or (N, 1) each, clipped."""
        factors, offsets = (
            (np.repeat(a, x.shape[3], axis=1) if a.shape[1] == 1 else a).astype(x.dtype) for a in (factors, offsets)
        )
        return ops.adjust_colors(x, factors, offsets, *as_floats(self.value_range))


@registry.register("layer")
class RandomBrightness(Recoloring):
    """Images made brighter or darker: a number is added to all pixels of an image.

    Args:
        factor: that number as a fraction of the value range, as (lower, upper) or f for (-f, f), within [-1, 1].
        value_range, seed: see `Recoloring`.
    """

    def shifts(self, words: Any) -> Any:
        """What is added to each image, (N, 1)."""
        return draws.uniform(words, *self.factor) * (self.value_range[1] - self.value_range[0])

    def augment(self, x: Any, words: Any) -> Any:
        shifts = self.shifts(words)
        return self._recolor(x, 0 * shifts + 1, shifts)


@registry.register("layer")
class RandomContrast(Recoloring):
    """Images with more or less contrast: (pixel - mean) * f + mean, by channel and image.

    Args:
        factor: f is drawn from [1 - lower, 1 + upper); a number u is (0, u), as in Keras 3, within [0, 1].
        value_range, seed: see `Recoloring`.
    """

    _factor_bounds = (0, 1)

    def contrasts(self, words: Any) -> Any:
        """f of each image, (N, 1)."""
        return draws.uniform(words, 1 - self.factor[0], 1 + self.factor[1])

    def augment(self, x: Any, words: Any) -> Any:
        contrasts = self.contrasts(words)
        return self._recolor(x, contrasts, ops.global_avgpool2d_forward(x) * (1 - contrasts))


class _Resized(ImageLayer):
    """Base of the layers whose output images have the size (height, width)."""

    antialias = False

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        for argument, value in (("height", height), ("width", width)):
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
                raise ValueError(
                    f"Layer '{self.name}': `{argument}` must be a positive integer. Received: {argument}={value!r}"
                )
        self.height = int(height)
        self.width = int(width)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        *batch, _, _, C = (*input_shape[:-3], None, None, input_shape[-3]) if self._channel_axes else input_shape
        return (*batch, C, self.height, self.width) if self._channel_axes else (*batch, self.height, self.width, C)

    def transform_masks(self, masks: Any, training: bool) -> Any:
        return self._fitted(masks, "nearest")

    def transform_boxes(self, boxes: dict[str, Any], image: tuple[int, int]) -> dict[str, Any]:
        top, left, height, width = self._window(image)
        down, across = self.height / height, self.width / width
        return boxes | {"boxes": boxes_around(boxes["boxes"], lambda x, y: ((x - left) * across, (y - top) * down))}

    def _window(self, image: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, height, width) of what is seen in the output of an image of (height, width).

        By default the largest window of the output's aspect ratio, in the middle.
        """
        return shapes.largest_window(image, (self.height, self.width))

    def _fitted(self, x: Any, interpolation: str) -> Any:
        """What is seen of x, at the new size."""
        return self._scaled(self._cropped(x, *self._window(x.shape[1:3])), interpolation)

    def _cropped(self, x: Any, top: int, left: int, height: int, width: int) -> Any:
        _, H, W, _ = x.shape
        return ops.zero_pad2d_backward(x, (top, H - top - height, left, W - left - width))

    def _scaled(self, x: Any, interpolation: str) -> Any:
        size = self.height, self.width
        if x.shape[1:3] == size:
            return x
        if interpolation not in INTERPOLATIONS or (self.antialias and interpolation == "bilinear"):
            resample = registry.lookup("resampling", "scale_and_translate")
            scale = [new / old for new, old in zip(size, x.shape[1:3])]
            y = resample(x, (len(x), *size, x.shape[-1]), scale, (0, 0), (1, 2), interpolation, self.antialias)
            return backends.asarray(y, x.dtype)
        resize = ops.resize2d_bilinear if interpolation == "bilinear" else ops.resize2d_nearest
        return resize(x, size)


@registry.register("layer")
class CenterCrop(_Resized):
    """The central window of (height, width), in training and inference alike.

    Of a smaller image, the largest window of that aspect ratio is taken and resized.

    Args:
        height, width: of the output. data_format: see `RandomWarp`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("height", "width", "data_format")

    def transform(self, x: Any, training: bool) -> Any:
        return self._fitted(x, "bilinear")

    def _window(self, image: tuple[int, int]) -> tuple[int, int, int, int]:
        H, W = image
        if self.height > H or self.width > W:
            return super()._window(image)
        return (H - self.height) // 2, (W - self.width) // 2, self.height, self.width


@registry.register("layer")
class RandomCrop(_Resized, RandomLayer):
    """In training, a window of (height, width) at a random place, drawn for each image.

    In inference, and of a smaller image, the largest window of that aspect ratio is taken and resized.

    Args:
        height, width: of the output. seed: of the places. data_format: see `RandomWarp`.
    """

    words_per_image = 2
    _own_arguments: ClassVar[tuple[str, ...]] = ("height", "width", "seed", "data_format")

    def __init__(self, height: int, width: int, seed: int | None = None, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(height, width, seed=seed, data_format=data_format, **kwargs)

    def places(self, words: Any, image: tuple[int, int]) -> tuple[Any, Any]:
        """Top row and left column of each window, (N,) each."""
        top = np.floor(draws.uniform(words[:, 0], 0, image[0] - self.height + 1))
        return top, np.floor(draws.uniform(words[:, 1], 0, image[1] - self.width + 1))

    def augment(self, x: Any, words: Any) -> Any:
        top, left = self.places(words, x.shape[1:3])
        zero = 0 * top
        maps = zero + 1, zero, left, zero, zero + 1, top
        return _warped(x, maps, (self.height, self.width), "nearest", "constant", 0.0)

    def augment_masks(self, masks: Any, words: Any) -> Any:
        return self.augment(masks, words)

    def augment_boxes(self, boxes: dict[str, Any], words: Any, image: tuple[int, int]) -> dict[str, Any]:
        top, left = (np.asarray(backends.to_numpy(one), "float64")[:, None] for one in self.places(words, image))
        return boxes | {"boxes": boxes_around(boxes["boxes"], lambda x, y: (x - left, y - top))}

    def _fits(self, x: Any) -> bool:
        return x.shape[1] >= self.height and x.shape[2] >= self.width

    def transform(self, x: Any, training: bool) -> Any:
        return self.augment(x, self.draw_words(x.shape[0])) if training and self._fits(x) else self._fitted(x, "bilinear")

    def transform_parts(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        if training and self._fits(batch["images"]):
            return RandomLayer.transform_parts(self, batch, training)
        return ImageLayer.transform_parts(self, batch, training)


@registry.register("layer")
class Resizing(_Resized):
    """Images at another size, in training and inference alike.

    Args:
        height, width: of the output.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: take the largest window of the target's aspect ratio, instead of distorting.
        pad_to_aspect_ratio: pad to that aspect ratio with `fill_value`, instead.
        fill_mode: "constant". fill_value: see there.
        antialias: whether the filter widens where images shrink, so that every pixel counts (not for "nearest").
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = (
        "height",
        "width",
        "interpolation",
        "crop_to_aspect_ratio",
        "pad_to_aspect_ratio",
        "fill_mode",
        "fill_value",
        "antialias",
        "data_format",
    )

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, data_format, **kwargs)
        if interpolation not in _RESIZINGS:
            raise ValueError(
                f"Layer '{self.name}': Invalid value for argument `interpolation`. Expected of one {_RESIZINGS}. "
                f"Received: interpolation={interpolation}"
            )
        if fill_mode != "constant":
            raise ValueError(
                f"Invalid value for argument `fill_mode`. Only `'constant'` is supported. Received: fill_mode={fill_mode}"
            )
        if pad_to_aspect_ratio and crop_to_aspect_ratio:
            raise ValueError("Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`.")
        self.interpolation = interpolation
        self.crop_to_aspect_ratio = bool(crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = bool(pad_to_aspect_ratio)
        self.fill_mode = fill_mode
        self.fill_value = fill_value
        self.antialias = bool(antialias)

    def transform(self, x: Any, training: bool) -> Any:
        return self._fitted(x, self.interpolation)

    def _fitted(self, x: Any, interpolation: str) -> Any:
        if self.crop_to_aspect_ratio:
            return super()._fitted(x, interpolation)
        return self._scaled(self._padded(x) if self.pad_to_aspect_ratio else x, interpolation)

    def _border(self, image: tuple[int, int]) -> tuple[int, int]:
        """Rows, and columns, that are put before and behind an image, as many as in Keras."""
        H, W = image
        height, width = W * self.height // self.width, H * self.width // self.height  # that fit the width and the height
        return max(height - H, 0) // 2, max(width - W, 0) // 2

    def _window(self, image: tuple[int, int]) -> tuple[int, int, int, int]:
        if self.crop_to_aspect_ratio:
            return super()._window(image)
        rows, columns = self._border(image) if self.pad_to_aspect_ratio else (0, 0)
        return -rows, -columns, image[0] + 2 * rows, image[1] + 2 * columns

    def _padded(self, x: Any) -> Any:
        rows, columns = self._border(x.shape[1:3])
        fill = float(self.fill_value)
        return ops.rescale(ops.zero_pad2d_forward(ops.rescale(x, 1.0, -fill), (rows, rows, columns, columns)), 1.0, fill)
