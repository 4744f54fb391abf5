"""Normalization layers: mean 0 and variance 1 over the batch, over a row, over groups of channels; length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, config, constraints, initializers, registry, regularizers
from minicnn.backends import ops
from minicnn.layers.arguments import reject_unsupported
from minicnn.layers.axes import moved_back, moved_last, resolve_axes
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape
from minicnn.variables import Variable

__all__ = ["BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization"]


class Normalizing(Layer):
    """Base of the layers that normalize, and then multiply by gamma and add beta.

    Args:
        axis: one axis, or several.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta, gamma: (initializer, regularizer, constraint) of each: names, objects or configs.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("axis", "epsilon", "center", "scale")

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        *,
        beta: tuple[Any, ...],
        gamma: tuple[Any, ...],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = float(epsilon)
        self.center = bool(center)
        self.scale = bool(scale)
        getters = initializers.get, regularizers.get, constraints.get
        self.beta_initializer, self.beta_regularizer, self.beta_constraint = (get(item) for get, item in zip(getters, beta))
        self.gamma_initializer, self.gamma_regularizer, self.gamma_constraint = (get(item) for get, item in zip(getters, gamma))
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def _add_gamma_and_beta(self, shape: tuple[int, ...]) -> None:
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma",
                shape=shape,
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )
        if self.center:
            self.beta = self.add_weight(
                name="beta",
                shape=shape,
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
            )

    def _gamma_and_beta(self) -> tuple[Any, Any]:
        """Their arrays, as one axis; None for what there is not."""
        return tuple(None if weight is None else weight.value.reshape(-1) for weight in (self.gamma, self.beta))  # type: ignore[return-value]

    def _gradients(self, dgamma: Any, dbeta: Any) -> tuple[Any, ...]:
        """Of the weights that there are, in their shape."""
        pairs = ((self.gamma, dgamma), (self.beta, dbeta))
        return tuple(gradient.reshape(weight.shape) for weight, gradient in pairs if weight is not None)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        resolve_axes(self.axis, input_shape, self.name)  # raises
        return input_shape

    def count_flops(self, input_shape: Shape, output_shape: Shape) -> int:
        return 2 * prod(output_shape[1:])  # type: ignore[arg-type]  # one factor and one summand, as batch normalization's

    def get_config(self) -> dict[str, Any]:
        settings = super().get_config()
        for name in ("beta", "gamma"):
            settings |= {
                f"{name}_initializer": initializers.serialize(getattr(self, f"{name}_initializer")),
                f"{name}_regularizer": regularizers.serialize(getattr(self, f"{name}_regularizer")),
                f"{name}_constraint": constraints.serialize(getattr(self, f"{name}_constraint")),
            }
        return settings


@registry.register("layer")
class BatchNormalization(Normalizing):
    """Each channel to mean 0 and variance 1 over the batch, then gamma * x + beta (Ioffe & Szegedy 2015).

    In training, with the batch's own mean and variance, which also enter moving averages;
    otherwise, and where `trainable` is False, with those averages.

    Args:
        axis: the channels' axis.
        momentum: of the moving averages: average = momentum * average + (1 - momentum) * batch.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: names, objects or configs.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: likewise.
        renorm: batch renormalization (Ioffe 2017): training too normalizes by moving averages, the batch's statistics
            being corrected towards them, see `ops.renorm_correction`.
        renorm_clipping: {"rmin": ..., "rmax": ..., "dmax": ...}, the limits of the correction, each of them optional.
        renorm_momentum: of the averages that it corrects towards.
        synchronized: whether devices share their statistics; there is but one.

    With a mask, of one axis less than x (the last one), the batch's mean and variance are those of the elements that count.

    Input and output of any rank. Weights, each (C,): gamma, beta, moving_mean, moving_variance (biased); with `renorm`
    moving_stddev, renorm_mean, renorm_stddev besides.
    """

    supports_masking = True
    _own_arguments: ClassVar[tuple[str, ...]] = (
        *Normalizing._own_arguments,
        *("momentum", "synchronized", "renorm", "renorm_clipping", "renorm_momentum"),
    )

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        axis = int(axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis)
        beta = beta_initializer, beta_regularizer, beta_constraint
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        super().__init__(axis, epsilon, center, scale, beta=beta, gamma=gamma, **kwargs)
        self.momentum = float(momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.synchronized = synchronized
        self.renorm = renorm
        self.renorm_clipping = (renorm_clipping or {}) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        if renorm:
            self._renorm_limits()

    def _renorm_limits(self) -> tuple[float, float, float]:
        """The smallest and the largest r, and the largest d, of `ops.renorm_correction`.

        Raises:
            ValueError: if `renorm_clipping` has other names, or they contradict each other.
        """
        clipping = self.renorm_clipping
        names = ["rmax", "rmin", "dmax"]
        if set(clipping) - set(names):
            raise ValueError(
                f"Received invalid keys for `renorm_clipping` argument: {clipping}. Supported values: {names}. "
                f"Layer: '{self.name}'."
            )
        rmax, rmin, dmax = (math.inf if clipping.get(name) is None else float(clipping[name]) for name in names)
        rmin = 0.0 if rmin == math.inf else rmin
        if rmax < rmin:
            raise ValueError(
                f"rmax should be greater than rmin in the `renorm_clipping` argument. Received: rmax={rmax}, rmin={rmin}."
            )
        if dmax < 0:
            raise ValueError(f"dmax should be non-negative in the `renorm_clipping` argument. Received: dmax={dmax}.")
        return rmin, rmax, dmax

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        channels = _defined_size(input_shape, self.axis, self.name)
        self._add_gamma_and_beta((channels,))

        def add_statistic(name: str, initializer: Any) -> Variable:
            return self.add_weight(name=name, shape=(channels,), initializer=initializer, trainable=False)

        self.moving_mean = add_statistic("moving_mean", self.moving_mean_initializer)
        self.moving_variance = add_statistic("moving_variance", self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = add_statistic("moving_stddev", "zeros")
            self.renorm_mean = add_statistic("renorm_mean", self.moving_mean_initializer)
            self.renorm_stddev = add_statistic("renorm_stddev", "zeros")
            for stddev in (self.moving_stddev, self.renorm_stddev):
                stddev.assign(np.sqrt(self.moving_variance.numpy()))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        self.built = True

    def masked_call(self, inputs: Any, mask: Any) -> Any:
        """`forward` with a mask.

        Raises:
            ValueError: unless the mask has one axis less than the inputs (Keras's wording).
        """
        if len(mask.shape) != len(inputs.shape) - 1:
            raise ValueError(
                "The mask provided should be one dimension less than the inputs. "
                f"Received: mask.shape={mask.shape}, inputs.shape={inputs.shape}. Layer: '{self.name}'."
            )
        return _MaskedBatchNormalization(self)([inputs, mask])

    def forward(self, x: Any, training: bool, relu: bool = False, mask: Any = None) -> tuple[Any, Any]:
        """The output, and what `backward` will read; `relu`: a plan joined a ReLU that stands behind this layer."""
        here = None if mask is None else moved_last(np.broadcast_to((mask != 0)[..., None], x.shape), [self.axis])
        x = moved_last(x, [self.axis])
        gamma, beta = self._gamma_and_beta()
        mean, variance = self.moving_mean.value, self.moving_variance.value
        of_the_batch, correction = training and self.trainable, None
        if not of_the_batch:
            y = ops.batchnorm_inference(x, gamma, beta, mean, variance, self.epsilon, relu)
        elif self.renorm:
            mean, variance = self._moments(x, here)
            correction = r, d = self._correct(mean, variance)
            # gamma * (x_hat * r + d) + beta
            beta = (d if gamma is None else d * gamma) + (0 if beta is None else beta)
            gamma = r if gamma is None else r * gamma
            y = ops.batchnorm_inference(x, gamma, beta, mean, variance, self.epsilon, relu)
        else:
            if here is None:
                y, mean, variance = ops.batchnorm_forward(x, gamma, beta, self.epsilon, relu)
            else:
                mean, variance = self._moments(x, here)
                y = ops.batchnorm_inference(x, gamma, beta, mean, variance, self.epsilon, relu)
            ops.moving_average_update_(self.moving_mean.value, mean, self.momentum)
            ops.moving_average_update_(self.moving_variance.value, variance, self.momentum)
        saved = x, (gamma, beta, mean, variance, self.epsilon, relu), of_the_batch, correction, here
        return moved_back(y, [self.axis]), saved

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x, given, of_the_batch, correction, here = saved
        its_backward = ops.batchnorm_backward if of_the_batch and here is None else ops.batchnorm_inference_backward
        dx, dgamma, dbeta = its_backward(moved_last(dy, [self.axis]), x, *given)
        if of_the_batch and here is not None:
            gamma, _, mean, variance, *_ = given
            dx = dx + self._through_moments(dgamma, dbeta, x, gamma, mean, variance, here)
        if correction is not None:
            r, d = correction
            dgamma = dgamma * r + dbeta * d  # gamma is a factor of r and of d
        return moved_back(dx, [self.axis]), self._gradients(dgamma, dbeta)

    def _moments(self, x: Any, here: Any) -> tuple[Any, Any]:
        """Mean and variance of each channel, (C,), over the elements that count; over all if `here` is None.

        share = 1 / (their number + config.epsilon())
        mean = share * sum of x,  variance = share * sum of (x - mean)^2
        """
        if here is None:
            return ops.batchnorm_forward(x, None, None, self.epsilon)[1:]
        axes = tuple(range(x.ndim - 1))
        share = self._share(here, x.dtype)
        mean = np.where(here, x, 0).sum(axis=axes) * share
        return mean, (np.where(here, x - mean, 0) ** 2).sum(axis=axes) * share

    @staticmethod
    def _share(here: Any, dtype: Any) -> Any:
        return 1 / (here.sum(axis=tuple(range(here.ndim - 1))).astype(dtype) + config.epsilon())

    def _through_moments(self, dgamma: Any, dbeta: Any, x: Any, gamma: Any, mean: Any, variance: Any, here: Any) -> Any:
        """The part of dx that comes through the mean and the variance of `_moments`.

            dvariance = sum of dy * gamma * (x - mean) * -1/2 * (variance + epsilon)^(-3/2)
            dmean = -gamma * dbeta / sqrt(variance + epsilon) - 2 * dvariance * share * sum of (x - mean)
            dx = share * (dmean + 2 * dvariance * (x - mean)) where an element counts

        where share * sum of (x - mean), over those that count, is mean * share * config.epsilon().
        """
        share = self._share(here, x.dtype)
        inverse_deviation = (variance + self.epsilon) ** -0.5
        scale = inverse_deviation if gamma is None else gamma * inverse_deviation
        dvariance = -0.5 * scale * inverse_deviation * dgamma
        dmean = -scale * dbeta - 2 * config.epsilon() * dvariance * mean * share
        return np.where(here, share * (dmean + 2 * dvariance * (x - mean)), 0)

    def _correct(self, mean: Any, variance: Any) -> tuple[Any, Any]:
        """The correction of batch renormalization, by the averages as they are; then the averages move on."""
        r, d = ops.renorm_correction(
            mean, variance, self.renorm_mean.value, self.renorm_stddev.value, self.epsilon, self._renorm_limits()
        )
        moving = self.moving_mean, self.moving_variance, self.moving_stddev, self.renorm_mean, self.renorm_stddev
        averages = tuple(variable.value for variable in moving)
        ops.renorm_update_(averages, mean, variance, self.momentum, float(self.renorm_momentum), self.epsilon)
        return r, d

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


@registry.register("step")
class _MaskedBatchNormalization(Layer):
    """A batch normalization of [x, mask], as one step of a plan."""

    autocast = False  # a mask has another dtype
    supports_masking = True

    def __init__(self, normalization: BatchNormalization) -> None:
        super().__init__(name=normalization.name, dtype=normalization.dtype)
        self.normalization = normalization

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return input_shape[0]

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the layer around it says what becomes of a mask."""

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        y, saved = self.normalization.forward(backends.asarray(x[0], self.dtype), training, mask=x[1])
        return y, (saved, x[0].dtype)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        inner, dtype = saved
        dx, grads = self.normalization.backward(dy, inner)
        return [backends.asarray(dx, dtype), None], grads

    def count_flops(self, input_shape: Any, output_shape: Shape) -> int:
        return self.normalization.count_flops(input_shape[0], output_shape)


def _defined_size(input_shape: Shape, axis: int, layer_name: str) -> int:
    """The size of the input's `axis`, which the weights' shapes depend on.

    Raises:
        ValueError: if it is None (Keras's wording).
    """
    size = input_shape[axis]
    if size is None:
        raise ValueError(
            f"Axis {axis} of input tensor should have a defined dimension but the layer received an input with shape "
            f"{tuple(input_shape)}. Layer: '{layer_name}'."
        )
    return size


def _same_sizes(axes: Sequence[int], input_shape: Shape) -> InputSpec:
    """What refuses inputs of other sizes along these axes, the weights' shape.

    Their rank may be another one, as in Keras, where all axes are counted from the same end and so keep their order.
    """
    axes_of = {axis: input_shape[axis] for axis in axes}
    if len({axis < 0 for axis in axes}) > 1:
        return InputSpec(ndim=len(input_shape), axes=axes_of)
    return InputSpec(min_ndim=max(-axis if axis < 0 else axis + 1 for axis in axes), axes=axes_of)


def _axis_or_axes(axis: Any, layer: str) -> Any:
    """An int, or a list of ints; a TypeError for anything else."""
    if isinstance(axis, (list, tuple)):
        return list(axis)
    if not isinstance(axis, int):
        raise TypeError(f"{layer}: Expected an int or a list/tuple of ints for the argument 'axis', but received: {axis!r}")
    return axis


@registry.register("layer")
class LayerNormalization(Normalizing):
    """Each element of the batch, and each pixel, by itself to mean 0 and variance 1 along `axis`; then gamma * x + beta.

    Args:
        axis: the axis along which mean and variance are taken, or several; gamma and beta have its size.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: names,
            objects or configs.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
    """

    supports_masking = True

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        rms_scaling = kwargs.pop("rms_scaling", False)
        beta = beta_initializer, beta_regularizer, beta_constraint
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        super().__init__(_axis_or_axes(axis, "LayerNormalization"), epsilon, center, scale, beta=beta, gamma=gamma, **kwargs)
        reject_unsupported(self.name, rms_scaling=rms_scaling)  # deprecated there for not being what it says

    def build(self, input_shape: Shape) -> None:
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        axes = resolve_axes(self.axis, input_shape, self.name)
        self._add_gamma_and_beta(tuple(_defined_size(input_shape, axis, self.name) for axis in axes))
        self.input_spec = _same_sizes(self.axis, input_shape)
        self.built = True

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        axes = resolve_axes(self.axis, x.shape, self.name)
        moved = moved_last(x, axes)
        # Each normalized part as a row.
        rows = moved.reshape(-1, prod(moved.shape[-len(axes) :]))
        y, mean, inverse_deviation = ops.layernorm_forward(rows, *self._gamma_and_beta(), self.epsilon)
        return moved_back(y.reshape(moved.shape), axes), (rows, mean, inverse_deviation, axes)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        rows, mean, inverse_deviation, axes = saved
        gamma, _ = self._gamma_and_beta()
        moved = moved_last(dy, axes)
        dx, dgamma, dbeta = ops.layernorm_backward(moved.reshape(rows.shape), rows, gamma, mean, inverse_deviation)
        return moved_back(dx.reshape(moved.shape), axes), self._gradients(dgamma, dbeta)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rms_scaling": False}  # Keras's key, for its loader


@registry.register("layer")
class GroupNormalization(Normalizing):
    """The pixels of each image, in each group of channels, to mean 0 and variance 1; then gamma * x + beta, by channel.

    Args:
        groups: into how many groups the channels are cut, which must divide their number; -1 for one a channel, which
            is instance normalization.
        axis: the channels' axis.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: names,
            objects or configs.

    Source: Wu & He 2018, arXiv:1803.08494.
    """

    supports_masking = True

    _own_arguments: ClassVar[tuple[str, ...]] = ("groups", *Normalizing._own_arguments)

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(groups, bool) or not isinstance(groups, int) or (groups <= 0 and groups != -1):
            raise ValueError(
                "Received an invalid value for argument `groups`, expected a positive integer "
                f"(or `-1` for instance normalization). Received: groups={groups}"
            )
        beta = beta_initializer, beta_regularizer, beta_constraint
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        super().__init__(axis, epsilon, center, scale, beta=beta, gamma=gamma, **kwargs)
        self.groups = groups

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        channels = _defined_size(input_shape, self.axis, self.name)
        if self.groups == -1:
            self.groups = channels
        if channels < self.groups:
            raise ValueError(
                f"Number of groups ({self.groups}) cannot be more than the number of channels ({channels}). "
                f"Layer: '{self.name}'."
            )
        if channels % self.groups != 0:
            raise ValueError(
                f"Number of groups ({self.groups}) must be a multiple of the number of channels ({channels}). "
                f"Layer: '{self.name}'."
            )
        self._add_gamma_and_beta((channels,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        self.built = True

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        moved = moved_last(x, [self.axis])
        pixels = moved.reshape(x.shape[0], -1, moved.shape[-1])
        y, mean, inverse_deviation = ops.groupnorm_forward(pixels, *self._gamma_and_beta(), self.groups, self.epsilon)
        return moved_back(y.reshape(moved.shape), [self.axis]), (pixels, mean, inverse_deviation)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        pixels, mean, inverse_deviation = saved
        gamma, _ = self._gamma_and_beta()
        moved = moved_last(dy, [self.axis])
        dx, dgamma, dbeta = ops.groupnorm_backward(moved.reshape(pixels.shape), pixels, gamma, mean, inverse_deviation)
        return moved_back(dx.reshape(moved.shape), [self.axis]), self._gradients(dgamma, dbeta)


@registry.register("layer")
class RMSNormalization(Layer):
    """y = scale * x / sqrt(mean of x**2 + epsilon), along `axis`.

    Args:
        axis: the last axis, or the last ones: the weight `scale`, of their shape, is aligned at the end.
        epsilon: see the formula.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467.
    """

    _own_arguments: ClassVar[tuple[str, ...]] = ("axis", "epsilon")

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _axis_or_axes(axis, "RMSNormalization")
        self.epsilon = epsilon

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        resolve_axes(self.axis, input_shape, self.name)  # raises
        return input_shape

    def build(self, input_shape: Shape) -> None:
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        axes = resolve_axes(self.axis, input_shape, self.name)
        if axes != tuple(range(len(input_shape) - len(axes), len(input_shape))):
            raise ValueError(
                f"Layer '{self.name}': `axis` must name the last axis, or the last ones. "
                f"Received: axis={self.axis} for an input of shape {tuple(input_shape)}"
            )
        shape = tuple(_defined_size(input_shape, axis, self.name) for axis in axes)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.input_spec = _same_sizes(range(-len(axes), 0), input_shape)
        self.built = True

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        rows = x.reshape(-1, self.scale.size)
        y, inverse_size = ops.rmsnorm_forward(rows, self.scale.value.reshape(-1), float(self.epsilon))
        return y.reshape(x.shape), (rows, inverse_size)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        rows, inverse_size = saved
        dx, dscale = ops.rmsnorm_backward(dy.reshape(rows.shape), rows, self.scale.value.reshape(-1), inverse_size)
        return dx.reshape(dy.shape), (dscale.reshape(self.scale.shape),)


@registry.register("layer")
class UnitNormalization(Layer):
    """What lies along `axis` as a vector of length 1.

    Args:
        axis: an axis, or several.
    """

    supports_masking = True

    _own_arguments: ClassVar[tuple[str, ...]] = ("axis",)

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _axis_or_axes(axis, "UnitNormalization")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        resolve_axes(self.axis, input_shape, self.name)  # raises
        return input_shape

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        axes = resolve_axes(self.axis, x.shape, self.name)
        moved = moved_last(x, axes)
        rows = moved.reshape(-1, prod(moved.shape[-len(axes) :]))
        return moved_back(ops.unitnorm_forward(rows, 1e-12).reshape(moved.shape), axes), rows

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        rows = saved
        axes = resolve_axes(self.axis, dy.shape, self.name)
        moved = moved_last(dy, axes)
        dx = ops.unitnorm_backward(moved.reshape(rows.shape), rows, 1e-12)
        return moved_back(dx.reshape(moved.shape), axes), ()
