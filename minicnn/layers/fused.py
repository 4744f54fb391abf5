"""What adjacent layers become when the backend has one op for them.

A plan replaces layers by these; a user never makes one. Each has the `forward` and
`backward` of a layer, over the weights of the layers it stands for.
"""

from __future__ import annotations

import copy
from typing import Any

from minicnn import activations, registry, shapes
from minicnn.backends import ops
from minicnn.layers.activation import Activation, ReLU, Softmax
from minicnn.layers.base import Layer
from minicnn.layers.conv import Conv2D
from minicnn.layers.dense import Dense
from minicnn.layers.normalization import BatchNormalization
from minicnn.layers.pooling import MaxPooling2D

__all__ = ["Penalized", "fuse", "is_own", "is_relu", "last_activation", "without_activation"]


def is_own(layer: Any) -> bool:
    """Whether a layer is one of minicnn's, and no class that a user wrote or derived."""
    return isinstance(layer, Fused) or bool(registry.aliases_of("layer", type(layer)))


def last_activation(layer: Layer) -> str | None:
    """The name of the activation that a layer ends with; None for none, or where more than that makes its output."""
    if layer.activity_regularizer is not None or not is_own(layer):
        return None
    if type(layer) is Softmax:
        return "softmax"
    function = getattr(layer, "activation", None)
    if function is None or function is activations.linear:
        return None
    return getattr(function, "__name__", None)


def without_activation(layer: Layer) -> Layer | None:
    """A twin of the layer, with the same weights, that leaves its activation out; None if it is nothing but that."""
    if isinstance(layer, (Activation, Softmax)):
        return None
    twin = copy.copy(layer)
    object.__setattr__(twin, "activation", activations.linear)
    return twin


class Fused:
    """Several layers as one: `forward` and `backward` over all their weights.

    Attributes:
        layers: those it stands for, in order. name: theirs. dtype, activity_regularizer: as a layer's.
    """

    activity_regularizer = None

    def __init__(self, *layers: Any) -> None:
        self.layers = layers
        self.name = "+".join(layer.name for layer in layers)
        self.dtype = layers[0].dtype
        self._weights_with_gradients = [weight for layer in layers for weight in layer._weights_with_gradients]

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        raise NotImplementedError

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        return self.backward(dy, saved)[1]


class _Convolution(Fused):
    """Base of what begins with a convolution: its arguments to the op, and its gradients' order."""

    def __init__(self, conv: Any, *others: Any) -> None:
        super().__init__(conv, *others)
        self.conv = conv

    def _window(self, shape: Any) -> tuple[Any, ...]:
        conv = self.conv
        conv.compute_output_shape(shape)  # raises where the kernel does not fit
        pads = shapes.resolve_padding(conv.padding, shape[1:3], conv.kernel_size, conv.strides, conv.dilation_rate)
        return conv.strides, pads, conv.dilation_rate

    @property
    def _bias(self) -> Any:
        return None if self.conv.bias is None else self.conv.bias.value

    def _grads(self, dkernel: Any, dbias: Any) -> tuple[Any, ...]:
        return (dkernel,) if self.conv.bias is None else (dkernel, dbias)


class Conv(_Convolution):
    """A convolution alone, with all its gradients in one pass."""

    ops = ("conv2d_backward",)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        window = self._window(x.shape)
        return ops.conv2d_forward(x, self.conv.kernel.value, self._bias, *window), (x, window)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x, window = saved
        dx, dkernel, dbias = ops.conv2d_backward(dy, x, self.conv.kernel.value, *window, True)
        return dx, self._grads(dkernel, dbias)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        x, window = saved
        return self._grads(*ops.conv2d_backward(dy, x, self.conv.kernel.value, *window, False)[1:])


class ConvReLU(_Convolution):
    """Convolution, ReLU."""

    ops = ("conv2d_relu_forward", "conv2d_relu_backward")

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        window = self._window(x.shape)
        y = ops.conv2d_relu_forward(x, self.conv.kernel.value, self._bias, *window)
        return y, (x, y, window)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x, y, window = saved
        dx, dkernel, dbias = ops.conv2d_relu_backward(dy, x, y, self.conv.kernel.value, *window, True)
        return dx, self._grads(dkernel, dbias)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        x, y, window = saved
        return self._grads(*ops.conv2d_relu_backward(dy, x, y, self.conv.kernel.value, *window, False)[1:])


class _ConvolutionPool(_Convolution):
    def _windows(self, shape: Any) -> tuple[Any, ...]:
        pool = self.layers[-1]
        pads = pool.pads_of(self.conv.compute_output_shape(shape))
        return (*self._window(shape), pool.pool_size, pool.strides, pads)


class ConvMaxPool(_ConvolutionPool):
    """Convolution, max pooling; the map between them is never stored."""

    ops = ("conv2d_maxpool_forward", "conv2d_maxpool_backward")

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        windows = self._windows(x.shape)
        y, winners = ops.conv2d_maxpool_forward(x, self.conv.kernel.value, self._bias, *windows)
        return y, (x, winners, windows)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x, winners, windows = saved
        dx, dkernel, dbias = ops.conv2d_maxpool_backward(dy, x, winners, self.conv.kernel.value, *windows, True)
        return dx, self._grads(dkernel, dbias)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        x, winners, windows = saved
        return self._grads(*ops.conv2d_maxpool_backward(dy, x, winners, self.conv.kernel.value, *windows, False)[1:])


class ConvReLUMaxPool(_ConvolutionPool):
    """Convolution, ReLU, max pooling; the maps between them are never stored."""

    ops = ("conv2d_relu_maxpool_forward", "conv2d_relu_maxpool_backward")

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        windows = self._windows(x.shape)
        y, winners = ops.conv2d_relu_maxpool_forward(x, self.conv.kernel.value, self._bias, *windows)
        return y, (x, y, winners, windows)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        x, y, winners, windows = saved
        dx, dkernel, dbias = ops.conv2d_relu_maxpool_backward(dy, x, y, winners, self.conv.kernel.value, *windows, True)
        return dx, self._grads(dkernel, dbias)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        x, y, winners, windows = saved
        kernel = self.conv.kernel.value
        return self._grads(*ops.conv2d_relu_maxpool_backward(dy, x, y, winners, kernel, *windows, False)[1:])


class DenseReLU(Fused):
    """Dense layer, ReLU."""

    ops = ("dense_relu_forward", "dense_relu_backward")

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        dense = self.layers[0]
        bias = None if dense.bias is None else dense.bias.value
        y = ops.dense_relu_forward(x.reshape(-1, x.shape[-1]), dense.kernel.value, bias)
        return y.reshape(dense.compute_output_shape(x.shape)), (x, y)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        dx, *grads = self._gradients(dy, saved, True)
        return dx.reshape(saved[0].shape), tuple(grads)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        return self._gradients(dy, saved, False)[1:]

    def _gradients(self, dy: Any, saved: Any, need_dx: bool) -> tuple[Any, ...]:
        dense = self.layers[0]
        x, y = saved
        rows = x.reshape(-1, x.shape[-1])
        found: tuple[Any, ...] = ops.dense_relu_backward(dy.reshape(y.shape), rows, y, dense.kernel.value, need_dx)
        return found if dense.bias is not None else found[:2]


class BatchNormReLU(Fused):
    """Batch normalization, ReLU."""

    ops = ("batchnorm_relu_forward", "batchnorm_relu_backward", "batchnorm_relu_inference")

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        norm = self.layers[0]
        gamma = None if norm.gamma is None else norm.gamma.value
        beta = None if norm.beta is None else norm.beta.value
        moving_mean, moving_variance = norm.moving_mean.value, norm.moving_variance.value
        if not (training and norm.trainable):
            y = ops.batchnorm_relu_inference(x, gamma, beta, moving_mean, moving_variance, norm.epsilon)
            return y, (x, y, moving_mean, moving_variance, False)
        y, mean, variance = ops.batchnorm_relu_forward(x, gamma, beta, norm.epsilon)
        ops.moving_average_update_(moving_mean, mean, norm.momentum)
        ops.moving_average_update_(moving_variance, variance, norm.momentum)
        return y, (x, y, mean, variance, True)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        norm = self.layers[0]
        x, y, mean, variance, of_the_batch = saved
        gamma = None if norm.gamma is None else norm.gamma.value
        if of_the_batch:
            dx, dgamma, dbeta = ops.batchnorm_relu_backward(dy, x, y, gamma, mean, variance, norm.epsilon)
        else:
            passed = ops.relu_backward(dy, y)
            dx, dgamma, dbeta = ops.batchnorm_inference_backward(passed, x, gamma, mean, variance, norm.epsilon)
        return dx, (dgamma,) * norm.scale + (dbeta,) * norm.center


def fuse(steps: list[Any], outputs: set[int]) -> list[Any]:
    """The steps, adjacent ones made one where the backend has an op for them; `outputs` must stay.

    A value may disappear inside a fused step if exactly one step reads it and nobody else asks for it.
    """
    readers: dict[int, list[Any]] = {}
    for step in steps:
        for value in step.inputs:
            readers.setdefault(value, []).append(step)

    def next_step(step: Any) -> Any:
        after = readers.get(step.output, [])
        if len(after) != 1 or step.output in outputs or step.layer.activity_regularizer is not None:
            return None
        return after[0] if after[0].layer.dtype == step.layer.dtype else None

    gone: set[int] = set()
    for step in steps:
        if id(step) in gone:
            continue
        row = [step]
        relu = getattr(step.layer, "activation", None) is activations.relu and isinstance(step.layer, (Conv2D, Dense))
        linear = getattr(step.layer, "activation", None) is activations.linear
        after = next_step(step)
        if (linear or isinstance(step.layer, BatchNormalization)) and after is not None and is_relu(after.layer):
            relu = True
            row.append(after)
            after = next_step(after)
        pooled = isinstance(step.layer, Conv2D) and (relu or linear) and after is not None and type(after.layer) is MaxPooling2D
        kind: type[Fused] | None = None
        if type(step.layer) is Conv2D and (relu or linear):
            kind = (ConvReLUMaxPool if relu else ConvMaxPool) if pooled else ConvReLU if relu else Conv
        elif type(step.layer) is Dense and relu:
            kind = DenseReLU
        elif type(step.layer) is BatchNormalization and relu:
            kind = BatchNormReLU
        if kind is None or any(not hasattr(ops, name) for name in kind.ops):  # type: ignore[attr-defined]
            continue
        if pooled:
            row.append(after)
        last = row[-1]
        if last.layer.activity_regularizer is not None:
            continue
        # The first step becomes the whole row; what it swallowed is gone.
        step.layer = kind(*(one.layer for one in row))
        step.names = tuple(name for one in row for name in one.names)
        step.output = last.output
        gone.update(id(one) for one in row[1:])
    return [step for step in steps if id(step) not in gone]


def is_relu(layer: Layer) -> bool:
    """Whether a layer of its own computes plain max(x, 0)."""
    if type(layer) is ReLU:
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return type(layer) is Activation and layer.activation is activations.relu


class Penalized(Layer):
    """A layer with an activity regularizer: its penalty joins the loss, its gradient dy.

    Both are divided by the batch size, as Keras does.
    """

    def __init__(self, layer: Any, regularizer: Any, penalties: list[Any]) -> None:
        self.layer: Any
        self.regularizer: Any
        self.penalties: list[Any]
        self.__dict__.update(
            layer=layer,
            regularizer=regularizer,
            penalties=penalties,
            name=layer.name,
            dtype=layer.dtype,
        )

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        y, saved = self.layer.forward(x, training)
        self.penalties.append(self.regularizer.penalty(y) / len(y))
        return y, (y, saved)

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        y, inner = saved
        penalty = dy * 0
        self.regularizer.gradient_(penalty, y)
        return self.layer.backward(dy + penalty / len(y), inner)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        return self.backward(dy, saved)[1]
