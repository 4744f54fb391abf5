"""Activations: plain functions on arrays, each with its forward and backward pass attached.

`leaky_relu(x, negative_slope=0.1)` computes, under Keras's name and signature. Layers train through

    y, residual = leaky_relu.forward(x, negative_slope=0.1)     # residual: x or y, whichever the derivative needs
    dx = leaky_relu.backward(dy, residual, negative_slope=0.1)

and so can a user's own function that has these two attributes. `functools.partial(leaky_relu, negative_slope=0.1)` is an
activation, too, and so is any function made of operators and of `minicnn.ops`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minicnn import backends, config, registry, serialization
from minicnn.backends import ops
from minicnn.rows import Axis, from_rows, to_rows
from minicnn.tape import GradientTape
from minicnn.tensor import as_tensor, is_watched

__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "forward_backward",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[..., Any]


class _Op(NamedTuple):
    """What computes an activation: the ops `{name}_forward` and `{name}_backward`, the numbers they take, and along what."""

    name: str
    numbers: tuple[float, ...] = ()
    axis: Axis = -1


@functools.cache
def _reads_output(op: str) -> bool:
    """Whether the backward op reads y, as the name of its second argument says; the others read x."""
    return "y" in inspect.signature(getattr(ops, f"{op}_backward")).parameters


def _activation(*extra_names: str) -> Callable[[Callable[..., _Op]], Any]:
    """Decorator: a function that says which op computes it becomes an activation, registered under its name and these.

    Called, the activation computes. Its attributes `forward` and `backward` are the two passes, and take the same arguments.
    (The function itself is given x to look at before the forward pass, and None before the backward pass.)
    """

    def make(op_of: Callable[..., _Op]) -> Any:
        def forward(x: Any, *arguments: Any, **named: Any) -> tuple[Any, Any]:
            op, numbers, axis = op_of(x, *arguments, **named)
            rows = to_rows(x, axis)
            y = getattr(ops, f"{op}_forward")(rows, *numbers)
            return from_rows(y, x.shape, axis), y if _reads_output(op) else rows

        def backward(dy: Any, residual: Any, *arguments: Any, **named: Any) -> Any:
            op, numbers, axis = op_of(None, *arguments, **named)
            dx = getattr(ops, f"{op}_backward")(to_rows(dy, axis), residual, *numbers)
            return from_rows(dx, dy.shape, axis)

        @functools.wraps(op_of)
        def activation(x: Any, *arguments: Any, **named: Any) -> Any:
            if is_watched(x):
                return registry.operation(op_of.__name__)(x, *arguments, **named)
            return as_tensor(forward(_asarray(x), *arguments, **named)[0])

        function: Any = registry.register("activation", *extra_names)(activation)
        function.forward, function.backward = forward, backward
        return function

    return make


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


# --- ReLU and its relatives ---------------------------------------------------------


@_activation()
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> _Op:
    """max(x, 0); in full: x above `threshold`, at most `max_value`, else negative_slope * (x - threshold)."""
    if negative_slope == 0 and max_value is None and threshold == 0:
        return _Op("relu")
    return _Op("bounded_relu", (negative_slope, math.inf if max_value is None else max_value, threshold))


@_activation()
def relu6(x: Any) -> _Op:
    """max(x, 0), at most 6."""
    return _Op("bounded_relu", (0.0, 6.0, 0.0))


@_activation()
def leaky_relu(x: Any, negative_slope: float = 0.2) -> _Op:
    """x where x > 0, else negative_slope * x."""
    return _Op("leaky_relu", (negative_slope,))


@_activation()
def elu(x: Any, alpha: float = 1.0) -> _Op:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return _Op("elu", (alpha,))


@_activation()
def selu(x: Any) -> _Op:
    """The ELU scaled so that activations keep zero mean and unit variance."""
    return _Op("selu")


@_activation()
def celu(x: Any, alpha: float = 1.0) -> _Op:
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""
    return _Op("celu", (alpha,))


@_activation()
def threshold(x: Any, threshold: float, default_value: float) -> _Op:
    """x where x > threshold, else default_value."""
    return _Op("threshold", (threshold, default_value))


# --- x times a gate -----------------------------------------------------------------


@_activation()
def gelu(x: Any, approximate: bool = False) -> _Op:
    """x * Phi(x), Phi the normal distribution function; `approximate` uses tanh in its place."""
    return _Op("gelu_tanh" if approximate else "gelu")


@_activation("swish")
def silu(x: Any) -> _Op:
    """x * sigmoid(x), also called swish."""
    return _Op("silu")


@_activation("hard_swish")
def hard_silu(x: Any) -> _Op:
    """x * hard_sigmoid(x), also called hard swish."""
    return _Op("hard_silu")


@_activation()
def mish(x: Any) -> _Op:
    """x * tanh(softplus(x))."""
    return _Op("mish")


@_activation()
def glu(x: Any, axis: int = -1) -> _Op:
    """a * sigmoid(b), a and b the first and the second half of x along `axis`."""
    if x is not None and x.shape[axis] % 2:
        raise ValueError(f"axis size must be divisible by 2. Received: x.shape={x.shape} with axis={axis}")
    return _Op("glu", axis=axis)


swish, hard_swish = silu, hard_silu


# --- sigmoids -----------------------------------------------------------------------


@_activation()
def sigmoid(x: Any) -> _Op:
    """1 / (1 + exp(-x))."""
    return _Op("sigmoid")


@_activation()
def hard_sigmoid(x: Any) -> _Op:
    """(x + 3) / 6 between -3 and 3, 0 below and 1 above."""
    return _Op("hard_sigmoid")


@_activation()
def sparse_sigmoid(x: Any) -> _Op:
    """(x + 1) / 2 between -1 and 1, 0 below and 1 above."""
    return _Op("sparse_sigmoid")


@_activation()
def log_sigmoid(x: Any) -> _Op:
    """log(1 / (1 + exp(-x)))."""
    return _Op("log_sigmoid")


@_activation()
def tanh(x: Any) -> _Op:
    """The hyperbolic tangent."""
    return _Op("tanh")


@_activation()
def hard_tanh(x: Any) -> _Op:
    """x between -1 and 1, -1 below and 1 above."""
    return _Op("hard_tanh")


@_activation()
def softsign(x: Any) -> _Op:
    """x / (1 + |x|)."""
    return _Op("softsign")


# --- shrinking towards 0 ------------------------------------------------------------


@_activation()
def tanh_shrink(x: Any) -> _Op:
    """x - tanh(x)."""
    return _Op("tanh_shrink")


@_activation()
def soft_shrink(x: Any, threshold: float = 0.5) -> _Op:
    """x - threshold above `threshold`, x + threshold below -threshold, 0 between them."""
    return _Op("soft_shrink", (threshold,))


@_activation()
def hard_shrink(x: Any, threshold: float = 0.5) -> _Op:
    """x where |x| > threshold, else 0."""
    return _Op("hard_shrink", (threshold,))


# --- positive functions -------------------------------------------------------------


@_activation()
def exponential(x: Any) -> _Op:
    """exp(x)."""
    return _Op("exponential")


@_activation()
def softplus(x: Any) -> _Op:
    """log(1 + exp(x))."""
    return _Op("softplus")


@_activation()
def squareplus(x: Any, b: float = 4) -> _Op:
    """(x + sqrt(x**2 + b)) / 2."""
    return _Op("squareplus", (b,))


@_activation()
def sparse_plus(x: Any) -> _Op:
    """(x + 1)**2 / 4 between -1 and 1, 0 below and x above."""
    return _Op("sparse_plus")


# --- shares of a whole --------------------------------------------------------------


@_activation()
def softmax(x: Any, axis: Axis = -1) -> _Op:
    """exp(x) / sum of exp(x) along `axis` (or several)."""
    return _Op("softmax", axis=axis)


@_activation()
def log_softmax(x: Any, axis: Axis = -1) -> _Op:
    """The logarithm of the softmax along `axis`."""
    return _Op("log_softmax", axis=axis)


@_activation()
def sparsemax(x: Any, axis: Axis = -1) -> _Op:
    """max(x - tau, 0), tau such that it sums to 1 along `axis`: a softmax that has zeros."""
    return _Op("sparsemax", axis=axis)


def forward_backward(activation: Any) -> tuple[Forward, Backward]:
    """The two passes of an activation, or of a `functools.partial` of one.

    A function without them (a user's own, an op) is differentiated by a tape, under which the backward pass computes it
    again.
    """
    if isinstance(activation, functools.partial) and hasattr(activation.func, "forward"):
        passes = forward_backward(activation.func)
        return functools.partial(passes[0], **activation.keywords), functools.partial(passes[1], **activation.keywords)

    def forward(x: Any) -> tuple[Any, Any]:
        return backends.asarray(activation(x)), x

    def backward(dy: Any, x: Any) -> Any:
        dx = _derivative(activation, backends.to_numpy(x), backends.to_numpy(dy))
        return backends.asarray(dx)

    if hasattr(activation, "forward") and not _is_op(activation):
        return activation.forward, getattr(activation, "backward", backward)
    return forward, backward


def _is_op(function: Any) -> bool:
    """Whether it is one of `minicnn.ops`, whose own two passes take their arguments by name."""
    return registry.holds("operation", function)


def _derivative(activation: Any, x: np.ndarray, dy: np.ndarray) -> Any:
    """dy times the derivative at x, from what a tape records of the function.

    Raises:
        NotImplementedError: if it computes with what has no derivative.
    """
    name = getattr(activation, "__name__", type(activation).__name__)
    tensor, dx, reason = as_tensor(x), None, ""
    try:
        with GradientTape() as tape:
            tape.watch(tensor)
            y = activation(tensor)
        dx = tape.gradient(y, tensor, dy)
    except TypeError as error:  # a function of NumPy's that is no op
        reason = f" ({error})"
    if dx is None:
        raise NotImplementedError(
            f"Activation {name!r} has no derivative, so a model cannot be trained with it{reason}. Write it with operators "
            f"and functions of `minicnn.ops`, or set `{name}.forward`, a function x -> (y, residual), and "
            f"`{name}.backward`, a function (dy, residual) -> dx."
        )
    return dx


def get(identifier: Any) -> Any:
    """The activation that a string, function or config stands for; None is `linear`, and an op the activation of its name."""
    if identifier is None:
        return linear
    if _is_op(identifier) and identifier.name in registry.names("activation"):
        return registry.lookup("activation", identifier.name)
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
