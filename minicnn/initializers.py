"""Initializers: the values that weights start with.

Random ones read the stream `ops.random_bits(seed, block)`, so that one seed gives the same
weights on every backend. An instance draws its seed when it is made and gives the same
values at every call, as in Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minicnn import backends, config, registry, serialization
from minicnn.backends import ops
from minicnn.tensor import as_tensor

__all__ = [
    "Constant",
    "Dirac",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "dirac",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

Shape = Sequence[int]

_BLOCK = 1 << 20  # words drawn at a time: bounds the memory beside the weights themselves
_TRUNCATED_STDDEV = 0.87962566103423978  # of a standard normal distribution cut off at +-2


class Initializer:
    """Base class: a subclass writes `__call__(shape, dtype=None)` and `get_config()`."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        """An array of `shape`, of `dtype` (default `config.floatx()`)."""
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The reverse of `get_config`."""
        return cls(**config)

    def clone(self) -> Any:
        """Another instance with the same arguments."""
        return type(self).from_config(self.get_config())


@registry.register("initializer", "zeros", "zero")
class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return as_tensor(np.zeros(tuple(shape), dtype or config.floatx()))


@registry.register("initializer", "ones", "one")
class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return as_tensor(np.ones(tuple(shape), dtype or config.floatx()))


@registry.register("initializer", "constant")
class Constant(Initializer):
    """All `value`: a number, or an array that broadcasts to the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return as_tensor(np.array(np.broadcast_to(np.asarray(self.value, dtype or config.floatx()), tuple(shape))))

    def get_config(self) -> dict[str, Any]:
        return {"value": serialization.serialize(self.value)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constant:
        return cls(serialization.deserialize(config["value"]))


@registry.register("initializer", "identity", "IdentityInitializer")
class Identity(Initializer):
    """`gain` on the diagonal of a matrix, 0 elsewhere."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        if len(shape) != 2:
            raise ValueError(
                f"Identity matrix initializer can only be used for 2D matrices. Received: shape={shape} of rank {len(shape)}."
            )
        return as_tensor((self.gain * np.eye(shape[0], shape[1])).astype(dtype or config.floatx()))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


def _words(seed: int, wanted: int) -> Iterator[np.ndarray]:
    """The endless stream of 32-bit words of one seed, in blocks of an even length.

    One block has enough for `wanted` numbers (of which 4.6% may be thrown away), or `_BLOCK` words.
    """
    count = min(_BLOCK, 2 * (wanted * 9 // 16) + 64)
    block = 0
    while True:
        yield backends.to_numpy(ops.random_bits(backends.asarray(np.array([seed, block], np.uint32)), count))
        block += 1


def _uniform(words: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Uniform numbers in [0, 1), multiples of 2**-24: exact in float32."""
    for bits in words:
        yield (bits >> np.uint32(8)) * 2.0**-24


def _normal(words: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Standard normal numbers, a pair from two words u and v in (0, 1).

        r = sqrt(-2 log u);  r * cos(2 pi v), r * sin(2 pi v)

    Source: Box & Muller 1958, doi:10.1214/aoms/1177706645.
    """
    for bits in words:
        u, v = ((bits + 0.5) * 2.0**-32).reshape(-1, 2).T
        radius, angle = np.sqrt(-2 * np.log(u)), 2 * math.pi * v
        yield np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()


def _truncated_normal(words: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Standard normal numbers, those outside (-2, 2) left out."""
    for numbers in _normal(words):
        yield numbers[np.abs(numbers) < 2]


class _RandomInitializer(Initializer):
    """What random initializers share: the seed, and filling an array from a stream.

    Args:
        seed: an int in [0, 2**32), or None for the next one of `config.next_seed`.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(f"`seed` argument should be an integer. Received: seed={seed}")
        if seed is not None and not 0 <= seed < 2**32:
            raise ValueError(f"`seed` argument should be in [0, 2**32). Received: seed={seed}")
        self._init_seed = seed
        self.seed = config.next_seed() if seed is None else int(seed)

    def _draw(
        self,
        numbers: Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]],
        shape: Shape,
        dtype: Any,
        scale: float,
        offset: float,
    ) -> Any:
        """An array of `scale * number + offset`."""
        values = np.empty(math.prod(shape), dtype or config.floatx())
        stream = numbers(_words(self.seed, values.size))
        filled = 0
        while filled < values.size:
            block = next(stream)[: values.size - filled]
            values[filled : filled + block.size] = block * scale + offset
            filled += block.size
        return as_tensor(values.reshape(tuple(shape)))

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._init_seed}


@registry.register("initializer", "random_normal", "normal")
class RandomNormal(_RandomInitializer):
    """Normal distribution of `mean` and `stddev`."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return self._draw(_normal, shape, dtype, self.stddev, self.mean)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


@registry.register("initializer", "truncated_normal")
class TruncatedNormal(RandomNormal):
    """Normal distribution whose values further than two `stddev` from `mean` are drawn again."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return self._draw(_truncated_normal, shape, dtype, self.stddev, self.mean)


@registry.register("initializer", "random_uniform", "uniform")
class RandomUniform(_RandomInitializer):
    """Uniform distribution on [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return self._draw(_uniform, shape, dtype, self.maxval - self.minval, self.minval)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


def _fans(shape: Shape, input_axes: Sequence[int] | None, output_axes: Sequence[int] | None) -> tuple[int, int]:
    """(inputs that one output reads, outputs that one input reaches) of a kernel (..., in, out)."""
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        fan = shape[0] if shape else 1
        return fan, fan
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


@registry.register("initializer", "variance_scaling")
class VarianceScaling(_RandomInitializer):
    """Zero mean and variance scale / fan, so that signals keep their size from layer to layer.

    Args:
        scale: positive.
        mode: "fan_in", "fan_out" or "fan_avg" (the mean of both): which fan divides.
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".
        seed: an int, or None.
        input_axes, output_axes: the kernel's axes that count as inputs and outputs; by
            default a kernel is (..., inputs, outputs).

    Source: He et al. 2015, arXiv:1502.01852; Glorot & Bengio 2010.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        modes = ("fan_in", "fan_out", "fan_avg")
        distributions = ("uniform", "truncated_normal", "untruncated_normal")
        if scale <= 0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        if mode not in modes:
            raise ValueError(f"Invalid `mode` argument: {mode}. Please use one of {modes}")
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in distributions:
            raise ValueError(f"Invalid `distribution` argument: {distribution}. Please use one of {distributions}")
        super().__init__(seed)
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        fan_in, fan_out = _fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "uniform":
            limit = math.sqrt(3) * stddev  # the variance of a uniform distribution on [-a, a) is a**2 / 3
            return self._draw(_uniform, shape, dtype, 2 * limit, -limit)
        if self.distribution == "untruncated_normal":
            return self._draw(_normal, shape, dtype, stddev, 0.0)
        return self._draw(_truncated_normal, shape, dtype, stddev / _TRUNCATED_STDDEV, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _Scaled(VarianceScaling):
    """A `VarianceScaling` with a name of its own: (scale, mode, distribution) are the class's."""

    _rule: tuple[float, str, str]

    def __init__(
        self, seed: int | None = None, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
    ) -> None:
        super().__init__(*self._rule, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._init_seed, "input_axes": self.input_axes, "output_axes": self.output_axes}


@registry.register("initializer", "glorot_uniform")
class GlorotUniform(_Scaled):
    """Uniform, variance 2 / (fan_in + fan_out): Keras's default. Source: Glorot & Bengio 2010."""

    _rule = (1.0, "fan_avg", "uniform")


@registry.register("initializer", "glorot_normal")
class GlorotNormal(_Scaled):
    """Truncated normal, variance 2 / (fan_in + fan_out). Source: Glorot & Bengio 2010."""

    _rule = (1.0, "fan_avg", "truncated_normal")


@registry.register("initializer", "he_uniform")
class HeUniform(_Scaled):
    """Uniform, variance 2 / fan_in: for ReLU. Source: He et al. 2015, arXiv:1502.01852."""

    _rule = (2.0, "fan_in", "uniform")


@registry.register("initializer", "he_normal")
class HeNormal(_Scaled):
    """Truncated normal, variance 2 / fan_in: for ReLU. Source: He et al. 2015, arXiv:1502.01852."""

    _rule = (2.0, "fan_in", "truncated_normal")


@registry.register("initializer", "lecun_uniform")
class LecunUniform(_Scaled):
    """Uniform, variance 1 / fan_in. Source: LeCun et al. 1998, "Efficient BackProp"."""

    _rule = (1.0, "fan_in", "uniform")


@registry.register("initializer", "lecun_normal")
class LecunNormal(_Scaled):
    """Truncated normal, variance 1 / fan_in: for SELU. Source: LeCun et al. 1998, "Efficient BackProp"."""

    _rule = (1.0, "fan_in", "truncated_normal")


@registry.register("initializer", "orthogonal", "OrthogonalInitializer")
class Orthogonal(_RandomInitializer):
    """`gain` times a random matrix whose columns (rows, where those are fewer) are orthogonal to each other and of length 1.

    A kernel of shape (..., inputs, outputs) is one of outputs columns. All such matrices are equally likely: it is Q of a
    matrix of normal numbers A = Q R, each column with the sign that makes R's diagonal positive.

    Source: Saxe et al. 2014, arXiv:1312.6120; Mezzadri 2007, arXiv:math-ph/0609050 (the signs).
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        if len(shape) < 2:
            raise ValueError(
                f"The tensor to initialize must be at least two-dimensional. Received: shape={shape} of rank {len(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self._draw(_normal, (max(rows, columns), min(rows, columns)), "float64", 1.0, 0.0))
        q = q * np.sign(np.diag(r))
        q = q.T if rows < columns else q
        return as_tensor((self.gain * q).reshape(tuple(shape)).astype(dtype or config.floatx()))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}


@registry.register("initializer", "dirac")
class Dirac(Initializer):
    """A convolution that passes its input on: filter i copies channel i, with a 1 in the middle of its window.

        kernel[KH // 2, KW // 2, i, g * filters + i] = 1  for i < min(C_in, filters), in each group g; all else is 0

    Args:
        groups: of the convolution; each has filters = C_out / groups of its own.
        rest: an initializer (or its name) for the filters beyond the channels, which have nothing to copy; PyTorch's
            `dirac_` leaves them at zero, and so does None.

    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388; with random filters for the rest: Jordan 2024, arXiv:2404.00498.
    """

    def __init__(self, groups: int = 1, rest: Any = None) -> None:
        if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
            raise ValueError(f"Argument `groups` must be a positive integer. Received: groups={groups}")
        self.groups, self.rest = int(groups), get(rest)

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        if not 3 <= len(shape) <= 5 or shape[-1] % self.groups:
            raise ValueError(
                "Dirac initializes kernels of convolutions, (..., C_in, C_out) with one to three axes before these, and C_out "
                f"a multiple of the {self.groups} group(s). Received: shape={tuple(shape)}"
            )
        *window, inputs, outputs = shape
        filters = outputs // self.groups
        copies = min(inputs, filters)
        kernel = np.array((self.rest or Zeros())(shape, dtype))
        grouped = kernel.reshape(*window, inputs, self.groups, filters)  # a view
        grouped[..., :copies] = 0
        middle = grouped[tuple(extent // 2 for extent in window)]
        for i in range(copies):
            middle[i, :, i] = 1
        return as_tensor(kernel)

    def get_config(self) -> dict[str, Any]:
        return {"groups": self.groups, "rest": serialize(self.rest) if self.rest else None}


# Keras also offers each class under the name that strings use.
zeros, ones, constant = Zeros, Ones, Constant
random_normal, truncated_normal, random_uniform = RandomNormal, TruncatedNormal, RandomUniform
variance_scaling = VarianceScaling
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
identity = IdentityInitializer = Identity
dirac = Dirac
orthogonal = OrthogonalInitializer = Orthogonal


def get(identifier: Any) -> Any:
    """The initializer that a string, class, instance, function, config or array stands for."""
    if not isinstance(identifier, np.ndarray):
        return serialization.get(identifier, "initializer")

    def from_array(shape: Shape, dtype: Any = None) -> Any:
        if tuple(shape) != identifier.shape:
            raise ValueError(
                f"Expected `shape` to be {identifier.shape} for direct tensor as initializer. Received shape={shape}"
            )
        return as_tensor(np.array(identifier, dtype or config.floatx()))

    return from_array


_, serialize, deserialize = serialization.functions_of("initializer")
