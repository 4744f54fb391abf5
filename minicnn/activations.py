"""Activations: plain functions on arrays, each with its forward and backward pass attached.

`relu(x)` computes, under Keras's name and signature. Layers train through

    y, residual = relu.forward(x)        # residual: x or y, whichever the derivative needs
    dx = relu.backward(dy, residual)

and so can a user's own function that has these two attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import backends, config, registry, serialization
from minicnn.backends import ops
from minicnn.tensor import as_tensor

__all__ = [
    "deserialize",
    "elu",
    "forward_backward",
    "gelu",
    "get",
    "leaky_relu",
    "linear",
    "relu",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "swish",
    "tanh",
]

Forward = Callable[[Any], tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]


def _differentiable(op: str, keeps: str, *parameters: float) -> Callable[[Any], Any]:
    """Attach `forward` and `backward`, the ops `{op}_forward` and `{op}_backward` at the default `parameters`.

    Args:
        keeps: "x" or "y", what the backward op reads.
    """

    def attach(function: Any) -> Any:
        def forward(x: Any) -> tuple[Any, Any]:
            y = getattr(ops, f"{op}_forward")(x, *parameters)
            return y, x if keeps == "x" else y

        def backward(dy: Any, residual: Any) -> Any:
            return getattr(ops, f"{op}_backward")(dy, residual, *parameters)

        function.forward, function.backward = forward, backward
        return function

    return attach


def _asarray(x: Any) -> Any:
    """`x` as a float array where the backend computes."""
    dtype = getattr(x, "dtype", None)
    return backends.asarray(x, dtype if str(dtype) in ("float32", "float64") else config.floatx())


@registry.register("activation")
def linear(x: Any) -> Any:
    """y = x."""
    return x


linear.forward = lambda x: (x, None)
linear.backward = lambda dy, residual: dy


@registry.register("activation")
@_differentiable("relu", "y")
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """max(x, 0); in full: `max_value` above it, x from `threshold` on, negative_slope * (x - threshold) below."""
    if negative_slope == 0 and max_value is None and threshold == 0:
        return as_tensor(ops.relu_forward(_asarray(x)))
    bound = math.inf if max_value is None else max_value
    return as_tensor(ops.bounded_relu_forward(_asarray(x), negative_slope, bound, threshold))


@registry.register("activation")
@_differentiable("leaky_relu", "x", 0.2)
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where x > 0, else negative_slope * x."""
    return as_tensor(ops.leaky_relu_forward(_asarray(x), negative_slope))


@registry.register("activation")
@_differentiable("elu", "x", 1.0)
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return as_tensor(ops.elu_forward(_asarray(x), alpha))


@registry.register("activation")
@_differentiable("selu", "x")
def selu(x: Any) -> Any:
    """The ELU scaled so that activations keep zero mean and unit variance."""
    return as_tensor(ops.selu_forward(_asarray(x)))


@registry.register("activation")
@_differentiable("gelu", "x")
def gelu(x: Any, approximate: bool = False) -> Any:
    """x * Phi(x), Phi the normal distribution function; `approximate` uses tanh in its place."""
    return as_tensor(ops.gelu_tanh_forward(_asarray(x)) if approximate else ops.gelu_forward(_asarray(x)))


@registry.register("activation", "swish")
@_differentiable("silu", "x")
def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish."""
    return as_tensor(ops.silu_forward(_asarray(x)))


swish = silu


@registry.register("activation")
@_differentiable("sigmoid", "y")
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return as_tensor(ops.sigmoid_forward(_asarray(x)))


@registry.register("activation")
@_differentiable("tanh", "y")
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return as_tensor(ops.tanh_forward(_asarray(x)))


@registry.register("activation")
@_differentiable("softplus", "x")
def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return as_tensor(ops.softplus_forward(_asarray(x)))


@registry.register("activation")
@_differentiable("softmax", "y")
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum of exp(x) along `axis`."""
    x = _asarray(x)
    if axis in (-1, x.ndim - 1):
        return as_tensor(ops.softmax_forward(x))
    y = as_tensor(ops.softmax_forward(backends.asarray(np.moveaxis(x, axis, -1))))
    return np.moveaxis(y, -1, axis)


def forward_backward(activation: Any) -> tuple[Forward, Backward]:
    """The two passes of an activation.

    A function without them still works forward; its backward raises NotImplementedError.
    """
    name = getattr(activation, "__name__", type(activation).__name__)

    def forward(x: Any) -> tuple[Any, Any]:
        return backends.asarray(activation(x)), None

    def backward(dy: Any, residual: Any) -> Any:
        raise NotImplementedError(
            f"Activation {name!r} has no derivative, so a model cannot be trained with it: minicnn does not differentiate by "
            f"itself. Set `{name}.forward`, a function x -> (y, residual), and `{name}.backward`, a function (dy, residual) "
            "-> dx."
        )

    return getattr(activation, "forward", forward), getattr(activation, "backward", backward)


def get(identifier: Any) -> Any:
    """The activation that a string, function or config stands for; None is `linear`."""
    if identifier is None:
        return linear
    try:
        return serialization.get(identifier, "activation")
    except ValueError as error:
        raise ValueError(str(error).replace("activation identifier", "activation function identifier")) from None


def serialize(activation: Any) -> Any:
    """An activation of minicnn as its name, another one as a config."""
    fn_config = serialization.serialize(activation)
    known = registry.aliases_of("activation", activation)
    return fn_config["config"] if known else fn_config


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The activation that a name or a config describes."""
    return serialization.deserialize(config, "activation", custom_objects)
