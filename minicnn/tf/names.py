"""TensorFlow's names for what is here: where a program says `import tensorflow as tf`, `import minicnn as tf` will do.

Looked up when used: `minicnn.reduce_mean` is `minicnn.ops.mean`, which takes TensorFlow's names of its arguments, too.
"""

from __future__ import annotations

import enum
import inspect
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import initializers, mixed_precision, ops
from minicnn.tensor import Tensor, as_tensor
from minicnn.tf.arguments import named
from minicnn.tf.files import IMAGES, IO
from minicnn.tf.image import IMAGE
from minicnn.tf.math import LINALG, MATH
from minicnn.tf.module import Module
from minicnn.tf.nn import NN, l2_normalize
from minicnn.tf.run import RUN
from minicnn.tf.saved_model import SAVED_MODEL
from minicnn.tf.strings import STRINGS
from minicnn.tf.summary import SUMMARY
from minicnn.tf.tensor_array import TensorArray
from minicnn.tf.train import TRAIN
from minicnn.variables import Variable

__all__ = ["lookup"]

# Of the same meaning as the op of this name, whose arguments have these names too.
_SAME = """abs add broadcast_to cast ceil cos divide einsum equal exp expm1 eye floor greater greater_equal
    is_tensor isnan less less_equal log log1p logical_and logical_not logical_or logical_xor maximum meshgrid minimum mod
    multiply negative not_equal ones ones_like round rsqrt saturate_cast sigmoid sign sin softplus sqrt square stop_gradient
    subtract tan tanh tensordot transpose zeros zeros_like"""
# TensorFlow's name, the op's, and TensorFlow's names of the op's arguments, in their order.
_ARGUMENTS = """
    acos arccos x; asin arcsin x; atan arctan x; atan2 arctan2 y x; argsort argsort values axis; clip_by_value clip t
    clip_value_min clip_value_max; concat concatenate values axis; convert_to_tensor convert_to_tensor value dtype;
    expand_dims expand_dims input axis; fill full dims value; floordiv floor_divide x y; floormod mod x y; linspace
    linspace start stop num; norm norm tensor ord axis keepdims; pow power x y; repeat repeat input repeats axis; reshape
    reshape tensor shape; reverse flip tensor axis; truediv divide x y; is_nan isnan x; is_inf isinf x; is_finite isfinite
    x; searchsorted searchsorted sorted_sequence values side; space_to_depth space_to_depth input block_size;
    depth_to_space depth_to_space input block_size; roll roll input shift axis;  sort sort values axis;
    squeeze squeeze input axis; stack stack values axis; tile tile input multiples; transpose transpose a perm; unstack
    unstack value num axis"""
_REDUCTIONS = "all any logsumexp max mean min prod std sum var:variance"


def _table() -> dict[str, Callable[..., Any]]:
    table: dict[str, Callable[..., Any]] = {name: named(getattr(ops, name), []) for name in _SAME.split()}
    for entry in _ARGUMENTS.split(";"):
        name, op, *arguments = entry.split()
        table[name] = named(getattr(ops, op), arguments)
    for pair in _REDUCTIONS.split():
        op, _, other = pair.partition(":")
        table[f"reduce_{other or op}"] = named(getattr(ops, op), ["input_tensor"])
    return table


def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """A tensor of these values."""
    tensor = ops.convert_to_tensor(value, dtype)
    return tensor if shape is None else ops.broadcast_to(tensor, shape)


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: Any = None) -> Any:
    """Numbers from `start` (0, where there is no limit) to below `limit`, `delta` apart."""
    return ops.arange(start, limit, delta, dtype) if limit is not None else ops.arange(0, start, delta, dtype)


def identity(input: Any, name: Any = None) -> Any:
    """The tensor, in memory of its own: what a variable was before it is assigned to."""
    return ops.elementwise.copied(input)


def argmax(input: Any, axis: int = 0, output_type: Any = "int64", name: Any = None) -> Any:
    """The place of the largest number along an axis, by default the first."""
    return ops.cast(ops.argmax(input, axis), output_type)


def argmin(input: Any, axis: int = 0, output_type: Any = "int64", name: Any = None) -> Any:
    """The place of the smallest number along an axis, by default the first."""
    return ops.cast(ops.argmin(input, axis), output_type)


def _running(function: Any, neutral: int, x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
    """`ops.cumsum` or `ops.cumprod`, from the end with `reverse`, and of those before each element alone with `exclusive`."""
    x = ops.convert_to_tensor(x)
    x = ops.flip(x, axis) if reverse else x
    if exclusive:
        count, rank = x.shape[axis], len(x.shape)
        border = [[int(i == axis % rank), 0] for i in np.arange(rank).tolist()]
        x, _ = ops.split(ops.pad(x, border, constant_values=neutral), [count], axis)
    y = function(x, axis)
    return ops.flip(y, axis) if reverse else y


def cumsum(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None) -> Any:
    """The sums of the elements up to each, along an axis: without itself (`exclusive`), from the end (`reverse`)."""
    return _running(ops.cumsum, 0, x, axis, exclusive, reverse)


def cumprod(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None) -> Any:
    """The products of the elements up to each, along an axis: without itself (`exclusive`), from the end (`reverse`)."""
    return _running(ops.cumprod, 1, x, axis, exclusive, reverse)


def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: Any = None, name: Any = None) -> list[Any]:
    """The tensor cut along an axis, into so many parts of one size, or into parts of these sizes; -1 stands for the rest."""
    if isinstance(num_or_size_splits, (int, np.integer)):
        return ops.split(value, num_or_size_splits, axis)
    sizes = [int(size) for size in num_or_size_splits]
    if -1 in sizes:
        sizes[sizes.index(-1)] = value.shape[axis] - sum(size for size in sizes if size >= 0)
    if sum(sizes) != value.shape[axis]:
        raise ValueError(
            f"`num_or_size_splits` must sum to the size of axis {axis}, {value.shape[axis]}. Received: {num_or_size_splits}"
        )
    return ops.split(value, np.cumsum(sizes)[:-1], axis)


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: Any = None) -> Any:
    """The tensor with a border, by axis: of a constant, or of itself turned over ("REFLECT", "SYMMETRIC")."""
    return ops.pad(tensor, paddings, mode.lower(), **({"constant_values": constant_values} if mode == "CONSTANT" else {}))


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: Any = None) -> Any:
    """The product of matrices, of which either may be transposed first."""
    return ops.matmul(matrix_transpose(a) if transpose_a else a, matrix_transpose(b) if transpose_b else b)


def gather(params: Any, indices: Any, axis: int | None = None, batch_dims: int = 0, name: Any = None) -> Any:
    """The slices of `params` at these places of an axis, by default the first behind the `batch_dims`.

    Args:
        batch_dims: how many first axes the indices share with `params`: each of their places has indices of its own.
    """
    axis = batch_dims if axis is None else axis
    if not batch_dims:
        return ops.take(params, indices, axis)
    rank, own = len(params.shape), len(indices.shape)
    if axis != batch_dims or own != batch_dims + 1:
        raise ValueError(
            "With `batch_dims`, `axis` must be the one behind them, and `indices` have one axis more. "
            f"Received: axis={axis}, batch_dims={batch_dims}, indices.shape={tuple(indices.shape)}"
        )
    for _ in np.arange(rank - own).tolist():
        indices = ops.expand_dims(indices, -1)
    sizes = ops.shape(params)
    return ops.take_along_axis(params, ops.broadcast_to(indices, (*ops.shape(indices)[:own], *sizes[own:])), axis)


def squared_difference(x: Any, y: Any, name: Any = None) -> Any:
    """(x - y)**2."""
    return ops.square(x - y)


def divide_no_nan(x: Any, y: Any) -> Any:
    """x / y, and 0 where y is 0."""
    zero = ops.equal(y, 0.0)
    return ops.where(zero, 0.0, x / ops.where(zero, 1.0, y))


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor or a variable."""
    return isinstance(x, (Tensor, Variable)) or ops.is_tensor(x)


def one_hot(
    indices: Any, depth: int, on_value: Any = 1, off_value: Any = 0, axis: int = -1, dtype: Any = "float32", name: Any = None
) -> Any:
    """Labels as vectors of `off_value` with one `on_value`."""
    hot = ops.one_hot(indices, depth, axis, dtype)
    return hot if (on_value, off_value) == (1, 0) else hot * (on_value - off_value) + off_value


def matrix_transpose(a: Any) -> Any:
    """The last two axes exchanged."""
    return ops.swapaxes(a, -1, -2)


class constant_initializer(initializers.Constant):
    """`initializers.Constant`, whose array, where it does not broadcast, is put into the shape row by row."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        values = np.asarray(self.value)
        if values.size == math.prod(shape) > 1:
            return initializers.Constant(values.reshape(tuple(shape)))(shape, dtype)
        return super().__call__(shape, dtype)


class UnconnectedGradients(enum.Enum):
    """What `GradientTape.gradient` returns where nothing leads from the target to a source."""

    NONE = "none"
    ZERO = "zero"


def unique(x: Any, out_idx: Any = "int32") -> tuple[Any, Any]:
    """The different elements of a vector in the order of their first places, and which of them each element is."""
    values, first, inverse = np.unique(np.asarray(ops.convert_to_tensor(x)), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return as_tensor(values[order]), as_tensor(np.argsort(order)[inverse].astype(out_idx))


def _as_it_is(f: Callable[..., Any]) -> Callable[..., Any]:
    """`tf.recompute_grad` and `keras.remat`: save no memory here."""
    return f


def random_normal_initializer(mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> Any:
    """`initializers.RandomNormal`."""
    return initializers.RandomNormal(mean, stddev, seed)


def random_uniform_initializer(minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> Any:
    """`initializers.RandomUniform`."""
    return initializers.RandomUniform(minval, maxval, seed)


_OWN = (
    *(UnconnectedGradients, argmax, argmin, constant, constant_initializer, cumprod, cumsum, gather, identity, is_tensor),
    *(matmul, one_hot, pad, random_normal_initializer, random_uniform_initializer, range, split, squared_difference, unique),
)
_MORE: dict[str, Any] = {"Module": Module, "Tensor": Tensor, "TensorArray": TensorArray, "newaxis": None}
_MORE |= {"ones_initializer": initializers.Ones, "zeros_initializer": initializers.Zeros}
_MORE |= {"custom_gradient": ops.custom_gradient, "as_dtype": np.dtype, "recompute_grad": _as_it_is, **RUN}
_MORE |= {"remat": _as_it_is, "DTypePolicy": mixed_precision.DTypePolicy}
_DTYPES = "bool float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 complex64 half double"
_NAMES: dict[str, Any] = _table() | {own.__name__: own for own in _OWN} | _MORE
_NAMES |= {name: named(function) for name, function in MATH.items()}
_NAMES |= {name: np.dtype(name) for name in _DTYPES.split()} | {"string": np.dtype(object)}

_MATH = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__})
_MATH.__dict__.update({name: item for name, item in _NAMES.items() if inspect.isfunction(item)})
_MATH.__dict__.update(divide_no_nan=divide_no_nan, l2_normalize=l2_normalize)
_LINALG = SimpleNamespace(einsum=ops.einsum, eye=ops.eye, matmul=matmul, matrix_transpose=matrix_transpose)
_LINALG.__dict__.update(**LINALG, l2_normalize=l2_normalize, norm=_NAMES["norm"], tensordot=ops.tensordot)
IMAGE.__dict__.update({name: named(function) for name, function in IMAGES.items()})
_NAMES |= {
    "image": IMAGE,
    "io": IO,
    "linalg": _LINALG,
    "math": _MATH,
    "nn": NN,
    "saved_model": SAVED_MODEL,
    "strings": STRINGS,
    "summary": SUMMARY,
    "train": TRAIN,
}
_NAMES["dtypes"] = SimpleNamespace(**{name: _NAMES[name] for name in (*_DTYPES.split(), "as_dtype", "cast", "saturate_cast")})


class _Version(SimpleNamespace):
    """TensorFlow's `tf.version.VERSION`, and Keras's `keras.version()`."""

    def __call__(self) -> str:
        return str(self.VERSION)


def lookup(name: str) -> Any:
    """What TensorFlow calls `tf.name`.

    Raises:
        AttributeError: if it is not here.
    """
    if name == "version":  # of minicnn, which is loaded by now
        return _Version(VERSION=sys.modules["minicnn"].__version__)
    if name in _NAMES:
        return _NAMES[name]
    raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
