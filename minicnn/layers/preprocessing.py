"""A layer that learns its numbers from data before training: mean and variance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, config, registry
from minicnn.backends import ops
from minicnn.layers.axes import moved_back, moved_last
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape

__all__ = ["Normalization"]


@registry.register("layer")
class Normalization(Layer):
    """y = (x - mean) / sqrt(variance), the root being `config.epsilon()` at least; in training and inference alike.

    Args:
        axis: the axes that have a mean and a variance of their own for each of their places; -1 for each channel, None
            for one mean and one variance of all numbers.
        mean, variance: the numbers, of the shape of these axes or to be broadcast to it. By default `adapt` finds them.
        invert: y = x * sqrt(variance) + mean instead.

    Weights, where `adapt` finds them: mean and variance, of the shape of the axes, and count, which is not used.
    """

    supports_masking = True

    _own_arguments: ClassVar[tuple[str, ...]] = ("axis", "invert")

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.input_mean = mean
        self.input_variance = variance
        self.invert = invert
        if (mean is None) != (variance is None):
            raise ValueError(
                "When setting values directly, both `mean` and `variance` must be set. "
                f"Received: mean={mean} and variance={variance}"
            )
        if np.shape(mean) != np.shape(variance):
            raise ValueError(
                "When setting values directly, `mean` and `variance` must have the same shape. "
                f"Received: mean shape {np.shape(mean)} and variance shape {np.shape(variance)}"
            )
        if np.ndim(mean) > len(self.axis):
            raise ValueError(
                f"The rank of `mean` must be less than or equal to the number of axes ({len(self.axis)}). "
                f"Received: mean shape {np.shape(mean)} for axis {self.axis}"
            )

    def build(self, input_shape: Shape) -> None:
        rank = len(input_shape)
        if any(not -rank <= axis < rank for axis in self.axis):
            raise ValueError(
                "All `axis` values must be in the range [-ndim, ndim). "
                f"Received inputs with ndim={rank}, while axis={self.axis}"
            )
        self._kept = sorted(axis % rank for axis in self.axis)
        shape = tuple(input_shape[axis] for axis in self._kept)
        if None in shape:
            raise ValueError(
                "All `axis` values to be kept must have a known shape. "
                f"Received axis={self.axis}, inputs.shape={tuple(input_shape)}. Layer: '{self.name}'."
            )
        self._shape: tuple[int, ...] = shape
        self.input_spec = InputSpec(ndim=rank, axes=dict(zip(self._kept, shape))) if shape else None
        self._broadcast_shape = tuple(size if axis in self._kept else 1 for axis, size in enumerate(input_shape))
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(name="mean", shape=self._shape, initializer="zeros", trainable=False)
            self.adapt_variance = self.add_weight(name="variance", shape=self._shape, initializer="ones", trainable=False)
            self.count = self.add_weight(name="count", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.built = True

    def _of_axes(self, given: Any, adapted: str) -> Any:
        """The mean, or the variance, as an array of the shape of the axes."""
        if given is None:
            return getattr(self, adapted).value
        return backends.asarray(np.broadcast_to(np.asarray(given), self._shape), self.dtype)

    @property
    def mean(self) -> Any:
        """The mean, as it broadcasts to the input; None before there is one."""
        return self._of_axes(self.input_mean, "adapt_mean").reshape(self._broadcast_shape) if self.built else None

    @property
    def variance(self) -> Any:
        """The variance, as it broadcasts to the input; None before there is one."""
        return self._of_axes(self.input_variance, "adapt_variance").reshape(self._broadcast_shape) if self.built else None

    def adapt(self, data: Any) -> None:
        """Find mean and variance: of an array, or of batches (a data set, a generator, a list of arrays).

        Of a batch that is a tuple, its first entry counts.

        Raises:
            ValueError: for no batches at all, and for batches that do not fit the layer.
        """
        whole = isinstance(data, np.ndarray) or hasattr(data, "shape")
        batches: Iterable[Any] = [data] if whole else data
        if not hasattr(batches, "__iter__") and hasattr(batches, "__getitem__") and hasattr(batches, "__len__"):
            batches = (data[i] for i in range(len(data)))  # a `PyDataset`
        if not hasattr(batches, "__iter__"):
            raise TypeError(f"Unsupported data type: {type(data)}. `adapt` takes arrays, data sets and iterables of batches.")
        count, mean, variance = 0, np.zeros(()), np.zeros(())
        for batch in batches:
            x = np.asarray(batch[0] if isinstance(batch, (tuple, list)) else batch, np.float64)
            self.build_once((None, *x.shape[1:]))
            others = tuple(axis for axis in range(x.ndim) if axis not in self._kept)
            if tuple(x.shape[axis] for axis in self._kept if axis < x.ndim) != self._shape:
                raise ValueError(
                    f"Layer '{self.name}': `adapt` got data of an incompatible shape, {x.shape}; the layer was built for "
                    f"{self._shape} along the axes {self.axis}."
                )
            new = math.prod(x.shape[axis] for axis in others)
            share, difference = new / (count + new), x.mean(axis=others) - mean
            mean = mean + difference * share
            variance = variance * (1 - share) + x.var(axis=others) * share + difference**2 * share * (1 - share)
            count += new
        if count == 0:
            raise ValueError(f"Layer '{self.name}': adapt() received an empty iterable (no batches). Expected at least one.")
        if self.input_mean is None:
            self.adapt_mean.assign(mean)
            self.adapt_variance.assign(variance)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        moved = moved_last(x, self._kept)
        mean = self._of_axes(self.input_mean, "adapt_mean").reshape(-1)
        root = np.maximum(np.sqrt(self._of_axes(self.input_variance, "adapt_variance").reshape(-1)), config.epsilon())
        zeros, ones = 0 * mean, 0 * mean + 1
        # Batch normalization with statistics as they are: y = gamma * (x - mean) / sqrt(1) + beta
        rows = moved.reshape(-1, mean.size)
        statistics = (root, mean, zeros, ones) if self.invert else (1 / root, None, mean, ones)
        y = ops.batchnorm_inference(rows, *statistics, 0.0)
        return moved_back(y.reshape(moved.shape), self._kept), (rows, statistics)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        rows, statistics = saved
        moved = moved_last(dy, self._kept)
        dx = ops.batchnorm_inference_backward(moved.reshape(rows.shape), rows, *statistics, 0.0)[0]
        return moved_back(dx.reshape(moved.shape), self._kept), ()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "mean": np.array(self.input_mean).tolist(),
            "variance": np.array(self.input_variance).tolist(),
        }
