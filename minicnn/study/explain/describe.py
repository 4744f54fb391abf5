"""What each step of a plan computes, in words that the page understands: its op and its geometry, never its name.

The page has one explanation for each `kind` of op. What a layer does is read from its class; of a layer without weights
that stands in no table here it is found by trial whether it only moves numbers, as padding, cropping, flattening,
concatenating, and dropout at inference do.
"""

from __future__ import annotations

import functools
import inspect
from math import prod
from typing import Any

import numpy as np

from minicnn import activations, backends, layers
from minicnn.layers.pooling import AdaptivePooling, GlobalPooling, Pooling
from minicnn.models import fusion
from minicnn.ops.base import Operation

__all__ = ["Described", "describe", "view"]

Described = dict[str, Any]  # {"kind": ..., geometry}, plain data

UNKNOWN: Described = {"kind": "unknown"}
MOST_MOVED = 1 << 24  # that float32 tells apart

# Element by element: which of the page's functions, and with which numbers.
_FUNCTIONS = {
    name: getattr(activations, name)
    for name in (
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "softsign", "silu"),
        *("exponential", "hard_sigmoid", "hard_silu", "gelu", "mish", "log_sigmoid"),
    )
}
# Of `minicnn.ops`, which is what a model written as a `call` is made of.
_BINARY = {"add": "add", "subtract": "subtract", "multiply": "multiply", "maximum": "maximum", "minimum": "minimum"}
_MERGES = {
    layers.Add: "add",
    layers.Average: "average",
    layers.Subtract: "subtract",
    layers.Multiply: "multiply",
    layers.Maximum: "maximum",
    layers.Minimum: "minimum",
}


def view(shape: tuple[int, ...], channels_first: bool) -> Described:
    """Any value as an image: (rows, columns, channels), and how far apart neighbours lie. A vector is one pixel, and the
    slices of a volume lie one below the other.

    Args:
        shape: without the batch axis.
        channels_first: whether the channels come before the pixels.

    Examples:
        >>> view((3, 8, 9), True)
        {'shape': [8, 9, 3], 'strides': [9, 1, 72]}
        >>> view((3, 2, 8, 9), True)["shape"]
        [16, 9, 3]
    """
    if channels_first and len(shape) in (2, 3, 4):
        C, *rows, W = shape
        H = prod(rows)
        return {"shape": [H, W, C], "strides": [W, 1, H * W]}
    C = shape[-1] if shape else 1
    H, W = (1, 1) if len(shape) < 2 else (prod(shape[:-2]), shape[-2])
    return {"shape": [H, W, C], "strides": [W * C, C, 1]}


def describe(step: Any, inputs: list[np.ndarray], output: np.ndarray) -> Described:
    """The op of a step, and what the page has to know of it beside weights and values.

    Args:
        step: of a plan that splits activations off and joins nothing.
        inputs, output: its values, with a batch axis of 1.
    """
    layer = step.layers[0]
    if not fusion.is_own(layer) or step.penalized:
        return UNKNOWN
    if not inputs:
        return UNKNOWN
    if type(layer) in _MERGES:
        return {"kind": _MERGES[type(layer)]}
    found = _operation(layer, inputs) if isinstance(layer, Operation) else _op(layer, inputs[0].shape)
    return (_moved(layer, inputs, step.takes_list, output) if found is None else found) or UNKNOWN


def _operation(layer: Operation, inputs: list[np.ndarray]) -> Described | None:
    """An op of `minicnn.ops` as a layer; None where it has no entry."""
    name, arguments = layer.op.name, layer.arguments
    tensors = layer.op.tensors_in(arguments)
    if len(tensors) == len(inputs) == 2 and name in _BINARY:
        return {"kind": _BINARY[name]} if inputs[0].ndim == inputs[1].ndim else UNKNOWN
    if len(tensors) == 2 and isinstance(tensors[1], (int, float)) and name in ("add", "subtract", "multiply", "divide"):
        number = float(tensors[1])
        scale = number if name == "multiply" else 1 / number if name == "divide" and number else 1.0
        return _elementwise("rescale", scale, {"add": number, "subtract": -number}.get(name, 0.0))
    settings = {key: value for key, value in arguments.items() if key not in layer.op.tensors}
    plain = all(inspect.signature(layer.op).parameters[key].default == value for key, value in settings.items())
    return _elementwise(name) if name in _FUNCTIONS and plain else None


@functools.singledispatch
def _op(layer: Any, x_shape: tuple[int, ...]) -> Described | None:
    """None for a layer that has no entry."""
    return None


@_op.register
def _(layer: layers.Conv2D, x_shape: tuple[int, ...]) -> Described:
    return _slid("conv", layer, x_shape)


@_op.register
def _(layer: layers.DepthwiseConv2D, x_shape: tuple[int, ...]) -> Described:
    return _slid("conv", layer, x_shape) | {"groups": layer.image_shape(x_shape)[3]}


@_op.register
def _(layer: layers.Conv2DTranspose, x_shape: tuple[int, ...]) -> Described:
    return _slid("transposed", layer, x_shape)


def _slid(kind: str, layer: Any, x_shape: tuple[int, ...]) -> Described:
    """A kernel that slides over the input; transposed, over the output. Of one over volumes the page knows nothing."""
    shown = layer.activation is activations.linear and layer.rank < 3
    return {"kind": kind, **layer.window_over(x_shape)._asdict()} if shown else UNKNOWN


@_op.register
def _(layer: layers.Dense, x_shape: tuple[int, ...]) -> Described:
    return {"kind": "dense"} if layer.activation is activations.linear else UNKNOWN


@_op.register
def _(layer: Pooling, x_shape: tuple[int, ...]) -> Described:
    if layer.rank == 3:
        return UNKNOWN
    _, H, W, _ = layer.image_shape(x_shape)
    window = layer.window_over(x_shape)
    top, _, left, _ = window.pads
    spans = []
    for axis, pad, extent in ((0, top, H), (1, left, W)):
        starts = [at * window.strides[axis] - pad for at in range(window.output[axis])]
        spans.append([[max(start, 0), min(start + window.size[axis], extent)] for start in starts])
    return _pool(isinstance(layer, layers.MaxPooling2D), *spans)


@_op.register
def _(layer: GlobalPooling, x_shape: tuple[int, ...]) -> Described:
    _, *rows, W, _ = layer.image_shape(x_shape)
    return _pool(isinstance(layer, layers.GlobalMaxPooling2D), [[0, prod(rows)]], [[0, W]])


@_op.register
def _(layer: AdaptivePooling, x_shape: tuple[int, ...]) -> Described:
    if layer.rank == 3:
        return UNKNOWN
    _, H, W, _ = layer.image_shape(x_shape)
    counts = layer._of_image(layer.output_size)
    spans = [[[at * size // n, -(-(at + 1) * size // n)] for at in range(n)] for size, n in zip((H, W), counts)]
    return _pool(isinstance(layer, layers.AdaptiveMaxPooling2D), *spans)


def _pool(largest: bool, rows: list[list[int]], columns: list[list[int]]) -> Described:
    """Pooling of any kind: from where to where each window reaches, row by row and column by column."""
    return {"kind": "maxpool" if largest else "avgpool", "rows": rows, "columns": columns}


@_op.register
def _(layer: layers.BatchNormalization, x_shape: tuple[int, ...]) -> Described:
    if layer.axis not in (-1, len(x_shape) - 1) or layer.renorm:
        return UNKNOWN
    return {"kind": "normalize", "epsilon": layer.epsilon}


@_op.register
def _(layer: layers.LayerNormalization, x_shape: tuple[int, ...]) -> Described:
    if layer.axis not in ([-1], [len(x_shape) - 1]):
        return UNKNOWN
    return {"kind": "standardize", "groups": 1, "pixels": False, "epsilon": layer.epsilon}


@_op.register
def _(layer: layers.GroupNormalization, x_shape: tuple[int, ...]) -> Described:
    if layer.axis not in (-1, len(x_shape) - 1):
        return UNKNOWN
    return {"kind": "standardize", "groups": layer.groups, "pixels": True, "epsilon": layer.epsilon}


@_op.register
def _(layer: layers.Activation, x_shape: tuple[int, ...]) -> Described:
    if layer.activation is activations.softmax:
        return {"kind": "softmax"}
    for name, function in _FUNCTIONS.items():
        if layer.activation is function:
            return _elementwise(name)
    return UNKNOWN


@_op.register
def _(layer: layers.Softmax, x_shape: tuple[int, ...]) -> Described:
    return {"kind": "softmax"} if layer.along_classes else UNKNOWN


@_op.register
def _(layer: layers.ReLU, x_shape: tuple[int, ...]) -> Described:
    if fusion.is_relu(layer):
        return _elementwise("relu")
    largest = None if layer.max_value is None else float(layer.max_value)
    return _elementwise("bounded_relu", float(layer.negative_slope), largest, float(layer.threshold))


@_op.register
def _(layer: layers.LeakyReLU, x_shape: tuple[int, ...]) -> Described:
    return _elementwise("leaky_relu", float(layer.negative_slope))


@_op.register
def _(layer: layers.PReLU, x_shape: tuple[int, ...]) -> Described:
    return {"kind": "prelu"} if len(x_shape) <= 4 else UNKNOWN


@_op.register
def _(layer: layers.ELU, x_shape: tuple[int, ...]) -> Described:
    return _elementwise("elu", float(layer.alpha))


@_op.register
def _(layer: layers.Rescaling, x_shape: tuple[int, ...]) -> Described:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return UNKNOWN
    return _elementwise("rescale", float(layer.scale), float(layer.offset))


def _elementwise(function: str, *numbers: float | None) -> Described:
    return {"kind": "elementwise", "function": function, "numbers": list(numbers)}


def _moved(layer: Any, inputs: list[np.ndarray], takes_list: bool, output: np.ndarray) -> Described | None:
    """Where each number of the output came from, if the layer does nothing but move numbers; else None.

    "index" has one entry an output number: which number of all inputs, one input after another, or -1 for a zero that
    stands in no input; None where every number stays at its place.
    """
    total = sum(x.size for x in inputs)
    if layer.weights or total >= MOST_MOVED:
        return None
    flat = np.concatenate([x.reshape(-1) for x in inputs])
    if len(inputs) == 1 and np.array_equal(flat, output.reshape(-1)):
        return {"kind": "move", "index": None}
    numbers, starts = np.arange(1, total + 1), np.cumsum([0, *(x.size for x in inputs)])
    marked = [
        backends.asarray(numbers[start : start + x.size].reshape(x.shape), layer.dtype) for start, x in zip(starts, inputs)
    ]
    found = backends.to_numpy(layer.forward(marked if takes_list else marked[0], False)[0]).reshape(-1)
    index = np.rint(found).astype(np.int32) - 1
    if index.min(initial=0) < -1 or index.max(initial=-1) >= total:
        return None
    if not np.array_equal(np.where(index < 0, 0, flat[index]), output.reshape(-1)):
        return None
    return {"kind": "move", "index": index}
