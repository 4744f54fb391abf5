"""Keras's `backend`, as older programs import it: `from minicnn import backend as K`. Called, it names the backend in use.

    >>> from minicnn import backend as K
    >>> K.image_data_format()
    'channels_last'
    >>> K() in ("numba", "reference", "loops", "cupy")
    True

Functions of tensors, as `K.mean` and `K.sqrt`, are those of `minicnn.ops`, by their older names too. (What the layers
call is in `minicnn.backends`.)
"""

from __future__ import annotations

import string
import sys
import types
from typing import Any

import numpy as np

from minicnn import backends, config, ops, random
from minicnn.backends import backend
from minicnn.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from minicnn.random import normal as random_normal
from minicnn.random import uniform as random_uniform
from minicnn.utils import clear_session, is_keras_tensor
from minicnn.variables import Variable

__all__ = [
    "Variable",
    "argmax",
    "argmin",
    "backend",
    "batch_dot",
    "batch_flatten",
    "batch_get_value",
    "batch_set_value",
    "bias_add",
    "cast_to_floatx",
    "clear_session",
    "concatenate",
    "constant",
    "count_params",
    "ctc_batch_cost",
    "ctc_decode",
    "depthwise_conv2d",
    "dropout",
    "epsilon",
    "eval",
    "expand_dims",
    "flatten",
    "floatx",
    "gather",
    "get_value",
    "image_data_format",
    "int_shape",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "l2_normalize",
    "moving_average_update",
    "ndim",
    "pool2d",
    "random_bernoulli",
    "random_normal",
    "random_uniform",
    "repeat_elements",
    "resize_images",
    "reverse",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
    "spatial_2d_padding",
    "standardize_dtype",
    "switch",
    "temporal_padding",
    "update",
    "update_add",
    "update_sub",
    "variable",
]


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The shape of an array, a variable or a symbolic tensor; None for the batch axis of the last."""
    return tuple(x.shape)


def ndim(x: Any) -> int:
    """How many axes it has."""
    return len(x.shape)


def count_params(x: Any) -> int:
    """How many numbers a variable or an array holds."""
    return int(np.prod(x.shape))


def get_value(x: Any) -> Any:
    """A variable's, or an array's, value as a NumPy array; a number as it is."""
    return x.numpy() if hasattr(x, "numpy") else np.asarray(backends.to_numpy(x)) if hasattr(x, "shape") else x


def set_value(x: Any, value: Any) -> None:
    """Give a variable another value."""
    x.assign(value)


def cast_to_floatx(x: Any) -> np.ndarray:
    """Numbers as an array of the type `floatx()`."""
    return np.asarray(x, dtype=config.floatx())


def standardize_dtype(dtype: Any) -> str:
    """A type by its name; None for `floatx()`."""
    return config.floatx() if dtype is None else np.dtype(getattr(dtype, "as_numpy_dtype", dtype)).name


def is_float_dtype(dtype: Any) -> bool:
    """Whether it is a type of floating-point numbers."""
    return np.dtype(standardize_dtype(dtype)).kind == "f"


def is_int_dtype(dtype: Any) -> bool:
    """Whether it is a type of whole numbers."""
    return np.dtype(standardize_dtype(dtype)).kind in "iu"


def argmax(x: Any, axis: int = -1) -> Any:
    """The place of the largest number along an axis."""
    return ops.argmax(x, axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """The place of the smallest number along an axis."""
    return ops.argmin(x, axis)


def concatenate(tensors: Any, axis: int = -1) -> Any:
    """Tensors side by side along an axis."""
    return ops.concatenate(tensors, axis)


def expand_dims(x: Any, axis: int = -1) -> Any:
    """x with a new axis of size 1."""
    return ops.expand_dims(x, axis)


def gather(reference: Any, indices: Any) -> Any:
    """The rows of `reference` at `indices`."""
    return ops.take(reference, indices, 0)


def flatten(x: Any) -> Any:
    """x as a vector."""
    return ops.reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """Each sample as a vector."""
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def l2_normalize(x: Any, axis: int | None = None) -> Any:
    """x / sqrt(max(sum of x**2 along the axis, epsilon))."""
    return ops.normalize(x, axis, epsilon=epsilon() ** 0.5)


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """For each sample, the sum of products along an axis of x and one of y.

    Args:
        x, y: (N, ...), of at least two axes.
        axes: which ones, the batch's axis counted; one number for both. By default the last of x, and the last but one of
            y (of a matrix the last).

    Returns:
        (N, the other axes of x, those of y); (N, 1) where there are none.

    Raises:
        ValueError: for axes of other sizes, or that of the batch.
    """
    ranks = len(x.shape), len(y.shape)
    if min(ranks) < 2:
        raise ValueError(f"`batch_dot` takes tensors of at least two axes. Received: shapes {x.shape} and {y.shape}")
    pair = (ranks[0] - 1, max(ranks[1] - 2, 1)) if axes is None else (axes, axes) if isinstance(axes, int) else tuple(axes)
    of_x, of_y = (axis % rank for axis, rank in zip(pair, ranks, strict=True))
    sizes = x.shape[of_x], y.shape[of_y]
    if 0 in (of_x, of_y) or (None not in sizes and sizes[0] != sizes[1]):
        raise ValueError(
            f"`batch_dot` takes axes of one size, none of them the batch's. Received: axes={axes}, "
            f"shapes {x.shape} and {y.shape}"
        )
    letters = iter(string.ascii_lowercase[2:])  # "a" is the batch, "b" what is summed
    names = [
        ["a", *("b" if axis == summed else next(letters) for axis in range(1, rank))]
        for rank, summed in zip(ranks, (of_x, of_y))
    ]
    left = [name for name in (*names[0], *names[1][1:]) if name != "b"]
    product = ops.einsum(f"{''.join(names[0])},{''.join(names[1])}->{''.join(left)}", x, y)
    return ops.expand_dims(product, 1) if len(left) == 1 else product


def variable(value: Any, dtype: Any = None, name: Any = None, constraint: Any = None) -> Variable:
    """A variable of this value."""
    return Variable(value, dtype=dtype, name=name, constraint=constraint)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """A tensor of these values, of the type `floatx()` by default."""
    tensor = ops.convert_to_tensor(value, dtype or config.floatx())
    return tensor if shape is None else ops.broadcast_to(tensor, shape)


def update(x: Variable, new_x: Any) -> Variable:
    """Give a variable another value."""
    return x.assign(new_x)


def update_add(x: Variable, increment: Any) -> Variable:
    """Add to a variable."""
    return x.assign_add(increment)


def update_sub(x: Variable, decrement: Any) -> Variable:
    """Subtract from a variable."""
    return x.assign_sub(decrement)


def moving_average_update(x: Variable, value: Any, momentum: float) -> Variable:
    """x = momentum * x + (1 - momentum) * value."""
    return x.assign(x.numpy() * momentum + np.asarray(value) * (1 - momentum))


def batch_get_value(tensors: Any) -> list[Any]:
    """The values of variables."""
    return [get_value(one) for one in tensors]


def batch_set_value(tuples: Any) -> None:
    """Give variables other values: pairs of both."""
    for one, value in tuples:
        set_value(one, value)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """One where the condition holds, the other elsewhere; functions without arguments are called for theirs."""
    chosen = [one() if callable(one) else one for one in (then_expression, else_expression)]
    for _ in range(len(chosen[0].shape) - len(condition.shape)):
        condition = ops.expand_dims(condition, -1)
    return ops.where(ops.cast(condition, "bool"), *chosen)


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """A bias for each channel added."""
    if (data_format or config.image_data_format()) == "channels_last":
        return x + bias
    return x + ops.reshape(bias, (-1, *(1 for _ in x.shape[2:])))


def depthwise_conv2d(
    x: Any, depthwise_kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1
) -> Any:
    """`ops.depthwise_conv`."""
    return ops.depthwise_conv(x, depthwise_kernel, strides, padding, data_format, dilation_rate)


def pool2d(
    x: Any, pool_size: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, pool_mode: str = "max"
) -> Any:
    """`ops.max_pool`, or `ops.average_pool` where `pool_mode` is "avg"."""
    if pool_mode not in ("max", "avg"):
        raise ValueError(f"Invalid pooling mode: {pool_mode}")
    return (ops.max_pool if pool_mode == "max" else ops.average_pool)(x, pool_size, strides, padding, data_format)


def resize_images(x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest") -> Any:
    """Images so many times as high and as wide."""
    rows, columns = x.shape[2:4] if data_format == "channels_first" else x.shape[1:3]
    size = (rows * height_factor, columns * width_factor)
    return ops.image.resize(x, size, interpolation, data_format=data_format)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Each element of an axis so many times."""
    return ops.repeat(x, rep, axis)


def spatial_2d_padding(x: Any, padding: Any = ((1, 1), (1, 1)), data_format: Any = None) -> Any:
    """Zeros around images: ((top, bottom), (left, right))."""
    first = (data_format or config.image_data_format()) == "channels_first"
    border = [tuple(side) for side in padding]
    return ops.pad(x, [(0, 0), (0, 0), *border] if first else [(0, 0), *border, (0, 0)])


def temporal_padding(x: Any, padding: tuple[int, int] = (1, 1)) -> Any:
    """Zeros before and after signals (N, L, C)."""
    return ops.pad(x, [(0, 0), tuple(padding), (0, 0)])


def ctc_batch_cost(y_true: Any, y_pred: Any, input_length: Any, label_length: Any) -> Any:
    """`ops.ctc_loss` of probabilities, (N, 1); the blank is the last class.

    Args:
        y_true: (N, L), labels. y_pred: (N, T, C), softmax of each step. input_length, label_length: (N, 1).
    """
    lengths = (ops.cast(ops.squeeze(one, -1), "int32") for one in (label_length, input_length))
    return ops.expand_dims(ops.ctc_loss(y_true, ops.log(y_pred + config.epsilon()), *lengths, mask_index=-1), 1)


def ctc_decode(
    y_pred: Any, input_length: Any, greedy: bool = True, beam_width: int = 100, top_paths: int = 1
) -> tuple[list[Any], Any]:
    """`ops.ctc_decode` of probabilities, the last class being the blank: a list of each path's labels, (N, T), and scores."""
    strategy, logits = "greedy" if greedy else "beam_search", ops.log(y_pred + config.epsilon())
    paths, scores = ops.ctc_decode(logits, input_length, strategy, beam_width, top_paths, mask_index=-1)
    return list(paths), scores


def reverse(x: Any, axes: Any) -> Any:
    """x turned over along axes."""
    return ops.flip(x, axes)


def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x / (1 - level) where kept, else 0."""
    return random.dropout(x, level, noise_shape, seed)


def random_bernoulli(shape: Any, p: float = 0.0, dtype: Any = None, seed: Any = None) -> Any:
    """1 with probability p, else 0."""
    return random.bernoulli(shape, p, dtype, seed)


def eval(x: Any) -> Any:
    """`get_value`."""
    return get_value(x)


_OLDER = {"pow": "power", "permute_dimensions": "transpose", "conv1d": "conv", "conv2d": "conv"}


class _Backend(types.ModuleType):
    """This module, which can be called, too: `minicnn.backend()`."""

    def __call__(self) -> str:
        """The name of the backend in use: "numba", "reference", "loops" or "cupy"."""
        return backend()

    def __getattr__(self, name: str) -> Any:
        for home in () if name.startswith("_") else (ops, ops.nn):
            if hasattr(home, _OLDER.get(name, name)):
                return getattr(home, _OLDER.get(name, name))
        if name in ("map_fn", "foldl", "name_scope", "truncated_normal"):
            return getattr(sys.modules["minicnn"].random if name == "truncated_normal" else sys.modules["minicnn"], name)
        raise AttributeError(f"module 'minicnn.backend' has no attribute {name!r}")


sys.modules[__name__].__class__ = _Backend
