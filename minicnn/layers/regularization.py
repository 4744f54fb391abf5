"""Layers that act in training alone, on chance, and a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from minicnn import registry, regularizers
from minicnn.backends import ops
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.seeds import SeedGenerator


class _Random(Layer):
    """Base of the layers that change what passes by chance, in training alone.

    Args:
        argument: what a subclass calls the next one, for its message. amount: how strong the change is, in [0, 1].
        seed: of the random numbers; default from `set_random_seed`.

    A subclass writes `change` and `change_back`.
    """

    supports_masking = True

    def __init__(self, argument: str, amount: float, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= amount <= 1:
            raise ValueError(
                f"Invalid value received for argument `{argument}`. Expected a float value between 0 and 1. "
                f"Received: {argument}={amount}"
            )
        self.seed = seed
        self._idle = amount == 0
        if not self._idle:
            self.seed_generator = SeedGenerator(seed)

    def change(self, x: Any, key: Any) -> Any:
        """The output in training."""
        raise NotImplementedError

    def change_back(self, dy: Any, key: Any) -> Any:
        """The gradient at its input: what `change` drew is drawn again."""
        raise NotImplementedError

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        if not training or self._idle:
            return x, None
        key = self.seed_generator.next_key()
        return self.change(x, key), key

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        key = saved
        return dy if key is None else self.change_back(dy, key), ()


@registry.register("layer")
class Dropout(_Random):
    """In training, each element of y is 0 with probability `rate` and x / (1 - rate) otherwise; in inference y = x.

    Args:
        rate: in [0, 1].
        noise_shape: shape of the mask, which is broadcast to x: 1 for an axis along which all is kept or dropped together,
            None for an axis of its own.
        seed: of the masks; default from `set_random_seed`.

    Source: Srivastava et al. 2014, JMLR 15.
    """

    second_order = "slopes"

    _own_arguments: ClassVar[tuple[str, ...]] = ("rate", "seed", "noise_shape")

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__("rate", rate, seed, **kwargs)
        self.rate = rate
        self.noise_shape = _standardized(noise_shape)

    def _shape_of_noise(self, x: Any) -> tuple[int, ...]:
        """The mask's shape for x.

        Raises:
            ValueError: if it does not broadcast to x's.
        """
        given = x.shape if self.noise_shape is None else self.noise_shape
        shape = tuple(size if wanted is None else wanted for wanted, size in zip(given, x.shape))
        if len(given) != x.ndim or any(wanted not in (1, size) for wanted, size in zip(shape, x.shape)):
            raise ValueError(
                f"Layer '{self.name}': `noise_shape` must have for each axis of the input its size, 1 or None. "
                f"Received: noise_shape={self.noise_shape} for an input of shape {x.shape}"
            )
        return shape

    def change(self, x: Any, key: Any) -> Any:
        shape = self._shape_of_noise(x)
        if self.rate == 1:  # every element is 0, and 1 / (1 - rate) would be infinite
            return ops.rescale(x, 0.0, 0.0)
        if shape == x.shape:
            return ops.dropout_forward(x, self.rate, key)
        return ops.shared_dropout_forward(x, shape, self.rate, key)

    def change_back(self, dy: Any, key: Any) -> Any:
        shape = self._shape_of_noise(dy)
        if self.rate == 1:
            return ops.rescale(dy, 0.0, 0.0)
        if shape == dy.shape:
            return ops.dropout_backward(dy, self.rate, key)
        return ops.shared_dropout_backward(dy, shape, self.rate, key)


def _standardized(noise_shape: Any) -> tuple[int | None, ...] | None:
    """`noise_shape` as a tuple.

    Raises:
        ValueError: if it is no sequence of positive ints and Nones (Keras's wording).
    """
    if noise_shape is None:
        return None
    what = "Invalid value received for argument `noise_shape`."
    if isinstance(noise_shape, str) or not hasattr(noise_shape, "__iter__"):
        raise ValueError(f"{what} Expected a tuple or list of integers. Received: noise_shape={noise_shape!r}")
    noise_shape = tuple(noise_shape)
    for index, size in enumerate(noise_shape):
        if size is not None and not isinstance(size, int):
            raise ValueError(
                f"{what} Expected all elements to be integers or None. Received element at index {index}: {size!r}"
            )
        if size is not None and size <= 0:
            raise ValueError(
                f"{what} Expected all dimensions to be positive integers or None. "
                f"Received negative or zero value at index {index}: {size}"
            )
    return noise_shape


@registry.register("layer")
class SpatialDropout2D(Dropout):
    """Dropout of whole channels of images.

    Args:
        rate: in [0, 1].
        data_format: "channels_last" or "channels_first"; None for `config.image_data_format()`.
        seed: of the masks; default from `set_random_seed`.

    Source: Tompson et al. 2015, arXiv:1411.4280.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("rate", "seed", "data_format")
    _rank: ClassVar[int] = 2

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = standardize_data_format(data_format, self.name)
        space = (1,) * self._rank
        self.noise_shape = (None, None, *space) if self.data_format == "channels_first" else (None, *space, None)
        self.input_spec = InputSpec(ndim=self._rank + 2)

    def get_config(self) -> dict[str, Any]:
        return _without_trainable(super().get_config())


@registry.register("layer")
class SpatialDropout3D(SpatialDropout2D):
    """Dropout of whole channels of volumes (N, D, H, W, C). Arguments: see `SpatialDropout2D`."""

    _rank = 3


@registry.register("layer")
class SpatialDropout1D(Dropout):
    """Dropout of whole channels of signals (N, L, C). Arguments: see `SpatialDropout2D`."""

    _own_arguments: ClassVar[tuple[str, ...]] = ("rate", "seed")

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, (None, 1, None), seed, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def get_config(self) -> dict[str, Any]:
        return _without_trainable(super().get_config())


def _without_trainable(settings: dict[str, Any]) -> dict[str, Any]:
    """A config without the argument that Keras's layers of these names do not take."""
    return {name: value for name, value in settings.items() if name != "trainable"}


@registry.register("layer")
class AlphaDropout(Dropout):
    """Dropout for networks of SELUs, which keeps mean 0 and variance 1: see `ops.alpha_dropout_forward`.

    Args:
        rate: in [0, 1).
        noise_shape, seed: see `Dropout`.

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """

    def change(self, x: Any, key: Any) -> Any:
        _below_one(self)
        return ops.alpha_dropout_forward(x, self._shape_of_noise(x), self.rate, key)

    def change_back(self, dy: Any, key: Any) -> Any:
        return ops.alpha_dropout_backward(dy, self._shape_of_noise(dy), self.rate, key)


@registry.register("layer")
class GaussianDropout(_Random):
    """In training, y = x times normally distributed numbers of mean 1 and variance rate / (1 - rate); in inference y = x.

    Args:
        rate: in [0, 1): the noise is as strong as that of a dropout of this rate.
        seed: of the noise; default from `set_random_seed`.

    Source: Srivastava et al. 2014, JMLR 15, section 10.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("rate", "seed")

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__("rate", rate, seed, **kwargs)
        self.rate = rate

    @property
    def _stddev(self) -> float:
        return (self.rate / (1 - self.rate)) ** 0.5

    def change(self, x: Any, key: Any) -> Any:
        _below_one(self)
        return ops.gaussian_dropout_forward(x, self._stddev, key)

    def change_back(self, dy: Any, key: Any) -> Any:
        return ops.gaussian_dropout_backward(dy, self._stddev, key)


def _below_one(layer: Any) -> None:
    if layer.rate == 1:
        raise ValueError(f"Layer '{layer.name}': with `rate` 1 the noise would be infinite. Received: rate={layer.rate}")


@registry.register("layer")
class GaussianNoise(_Random):
    """In training, y = x plus normally distributed numbers of mean 0; in inference y = x.

    Args:
        stddev: their standard deviation, in [0, 1].
        seed: of the noise; default from `set_random_seed`.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("stddev", "seed")

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__("stddev", stddev, seed, **kwargs)
        self.stddev = stddev

    def change(self, x: Any, key: Any) -> Any:
        return ops.gaussian_noise(x, float(self.stddev), key)

    def change_back(self, dy: Any, key: Any) -> Any:
        return dy


@registry.register("layer")
class ActivityRegularization(Layer):
    """y = x, with a penalty on it: l1 * sum of |x| + l2 * sum of x**2, divided by the batch size.

    Args:
        l1, l2: the factors.
    """

    supports_masking = True

    _own_arguments: ClassVar[tuple[str, ...]] = ("l1", "l2")

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1 = l1
        self.l2 = l2

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        return x, None

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        return dy, ()

    def get_config(self) -> dict[str, Any]:
        settings = super().get_config()
        del settings["activity_regularizer"]
        return settings
