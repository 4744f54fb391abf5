"""Ops of networks: activations, convolution, pooling, losses. They compute by the backend's kernels, as the layers do."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import activations, backends, config, losses, registry, shapes
from minicnn.backends import ops as kernels
from minicnn.backends import volumes
from minicnn.backends.reference.im2col import col2im, im2col
from minicnn.backends.types import Window, window_over
from minicnn.layers.arguments import standardize_data_format
from minicnn.layers.attention import not_behind
from minicnn.ops.base import Op, op
from minicnn.ops.ctc import ctc_decode as ctc_decode  # as `keras.ops.nn` has it, too
from minicnn.ops.ctc import ctc_loss as ctc_loss
from minicnn.ops.elementwise import add, log10, multiply, rsqrt, square, subtract, where
from minicnn.ops.linalg import normalize as normalize
from minicnn.ops.products import einsum
from minicnn.ops.rearranging import depth_to_space as depth_to_space
from minicnn.ops.rearranging import space_to_depth as space_to_depth
from minicnn.ops.reductions import max, mean
from minicnn.ops.reductions import moments as moments
from minicnn.ops.shaping import expand_dims, repeat, reshape, squeeze, transpose

# --- activations ------------------------------------------------------------------------


def _activation(name: str) -> Op:
    """The op of an activation of `minicnn.activations`, under its name and with its arguments."""
    function = getattr(activations, name)

    def forward(x: Any, *arguments: Any, **named: Any) -> Any:
        y, residual = function.forward(
            backends.asarray(x, config.floatx() if x.dtype.kind in "iub" else None), *arguments, **named
        )
        return y, (residual, arguments, named)

    def backward(dy: Any, saved: Any) -> Any:
        residual, arguments, named = saved
        return function.backward(backends.asarray(dy), residual, *arguments, **named)

    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = function.__doc__
    forward.__wrapped__ = function  # type: ignore[attr-defined]  # whose arguments it takes
    return Op(forward, ("x",), differentiable=True).gradient(backward)


celu, elu, exponential, _gelu = map(_activation, ("celu", "elu", "exponential", "gelu"))
glu, hard_shrink, hard_sigmoid, hard_silu = map(_activation, ("glu", "hard_shrink", "hard_sigmoid", "hard_silu"))
hard_tanh, leaky_relu, log_sigmoid = map(_activation, ("hard_tanh", "leaky_relu", "log_sigmoid"))
log_softmax, relu, relu6, selu = map(_activation, ("log_softmax", "relu", "relu6", "selu"))
sigmoid, silu, soft_shrink, softmax = map(_activation, ("sigmoid", "silu", "soft_shrink", "softmax"))
softplus, softsign, sparse_plus = map(_activation, ("softplus", "softsign", "sparse_plus"))
sparse_sigmoid, sparsemax, squareplus = map(_activation, ("sparse_sigmoid", "sparsemax", "squareplus"))
mish, tanh, tanh_shrink, threshold = map(_activation, ("mish", "tanh", "tanh_shrink", "threshold"))
swish, hard_swish = silu, hard_silu


def gelu(x: Any, approximate: bool = True) -> Any:
    """`activations.gelu`, by default its approximation with tanh."""
    return _gelu(x, approximate)


# --- windows ----------------------------------------------------------------------------
# Of images (N, H, W, C); of volumes (N, D, H, W, C) by `volumes`; signals (N, L, C) are images of height 1.


def _window(x: Any, size: Any, strides: Any, padding: str, dilation: Any = 1, groups: int = 1) -> Any:
    """The window over images or volumes x."""
    settings = ((size, "size"), (strides, "strides"), (dilation, "dilation"))
    size, strides, dilation = (shapes.integers(value, x.ndim - 2, name) for value, name in settings)
    return volumes.window_over_space(x.shape[1:-1], size, strides, padding.lower(), dilation, groups)


def channels_of(x: Any, data_format: str | None) -> Any:
    """How many channels images, signals or volumes have; None if that is unknown."""
    return x.shape[1 if standardize_data_format(data_format) == "channels_first" else -1]


def _last(x: Any, data_format: str | None) -> Any:
    """What was given, with the channels last."""
    first = standardize_data_format(data_format) == "channels_first"
    return transpose(x, (0, *range(2, len(x.shape)), 1)) if first else x


def _back(y: Any, data_format: str | None) -> Any:
    space = range(1, len(y.shape) - 1)
    return transpose(y, (0, len(space) + 1, *space)) if standardize_data_format(data_format) == "channels_first" else y


@op("inputs", "kernel")
def _conv2d(inputs: Any, kernel: Any, strides: Any, padding: str, dilation_rate: Any) -> Any:
    """`conv2d_forward` of images and a kernel (KH, KW, C / groups, filters); of volumes, `conv3d_forward`."""
    x, kernel = backends.asarray(inputs), backends.asarray(kernel)
    window = _window(x, kernel.shape[:-2], strides, padding, dilation_rate, x.shape[-1] // kernel.shape[-2])
    convolve = kernels.conv2d_forward if x.ndim == 4 else volumes.conv3d_forward
    return convolve(x, kernel, None, window)[0], (x, kernel, window)


@_conv2d.gradient
def _(dy: Any, saved: Any) -> Any:
    convolve_back = kernels.conv2d_backward if dy.ndim == 4 else volumes.conv3d_backward
    dx, dkernel, _ = convolve_back(backends.asarray(dy), *saved)
    return dx, dkernel


@registry.register("convolution")
def conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1
) -> Any:
    """Convolution of images (N, H, W, C) by a kernel (KH, KW, C / groups, filters); of signals and volumes likewise.

    Raises:
        ValueError: for another number of axes.
    """
    rank = len(inputs.shape)
    if rank not in (3, 4, 5):
        raise ValueError(
            "`conv` takes signals (N, L, C), images (N, H, W, C) or volumes (N, D, H, W, C). "
            f"Received: inputs.shape={inputs.shape}"
        )
    x = _last(inputs, data_format)
    _check_channels("conv", x.shape[-1], kernel, kernel.shape[-2], grouped=True)
    if rank == 3:
        one = [[1, value if isinstance(value, int) else value[0]] for value in (strides, dilation_rate)]
        return _back(squeeze(_conv2d(expand_dims(x, 1), expand_dims(kernel, 0), one[0], padding, one[1]), 1), data_format)
    return _back(_conv2d(x, kernel, strides, padding, dilation_rate), data_format)


def _check_channels(name: str, C: int | None, kernel: Any, channels: int, grouped: bool = False) -> None:
    """Raise ValueError unless an input of C channels has as many as a kernel reads, or, in groups, some times as many."""
    if C is not None and (C % channels if grouped and channels else channels != C):
        raise ValueError(
            f"`{name}`: the input channels must match the kernel's. Received: {C} channels, kernel.shape={tuple(kernel.shape)}"
        )


def depthwise_conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1
) -> Any:
    """Convolution of each channel by itself, by a kernel (KH, KW, C, multiplier), of signals (K, C, multiplier)."""
    *size, C, multiplier = kernel.shape
    _check_channels("depthwise_conv", channels_of(inputs, data_format), kernel, C)
    own = reshape(kernel, (*size, 1, C * multiplier))
    return conv(inputs, own, strides, padding, data_format, dilation_rate)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`depthwise_conv`, then a convolution by a kernel of one place, (1, 1, C * multiplier, filters)."""
    h = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(h, pointwise_kernel, 1, "valid", data_format)


@op("inputs", "kernel")
def _conv2d_transpose(inputs: Any, kernel: Any, strides: Any, padding: str, output_padding: Any, dilation_rate: Any) -> Any:
    """`conv2d_transpose_forward` of images and a kernel (KH, KW, C_out, C_in); of volumes, `conv3d_transpose_forward`."""
    x, kernel = backends.asarray(inputs), backends.asarray(kernel)
    rank, size, places = x.ndim - 2, kernel.shape[:-2], x.shape[1:-1]
    steps, dilation = shapes.integers(strides, rank, "strides"), shapes.integers(dilation_rate, rank, "dilation_rate")
    extra = (output_padding,) * rank if output_padding is None or isinstance(output_padding, int) else output_padding
    sizes = zip(places, size, steps, dilation, extra)
    image = tuple(shapes.transposed_size(at, K, step, padding.lower(), hole, more) for at, K, step, hole, more in sizes)
    window = volumes.transposed_window_over_space(places, image, size, steps, dilation)
    spread = kernels.conv2d_transpose_forward if rank == 2 else volumes.conv3d_transpose_forward
    return spread(x, kernel, None, window, image), (x, kernel, window)


@_conv2d_transpose.gradient
def _(dy: Any, saved: Any) -> Any:
    spread_back = kernels.conv2d_transpose_backward if dy.ndim == 4 else volumes.conv3d_transpose_backward
    dx, dkernel, _ = spread_back(backends.asarray(dy), *saved)
    return dx, dkernel


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Transposed convolution of images (N, H, W, C) by a kernel (KH, KW, filters, C); of signals and volumes likewise.

    Raises:
        ValueError: for another number of axes.
    """
    rank = len(inputs.shape)
    if rank not in (3, 4, 5):
        raise ValueError(f"`conv_transpose` takes signals, images or volumes. Received: inputs.shape={inputs.shape}")
    x = _last(inputs, data_format)
    _check_channels("conv_transpose", x.shape[-1], kernel, kernel.shape[-1])
    if rank != 3:
        return _back(_conv2d_transpose(x, kernel, strides, padding, output_padding, dilation_rate), data_format)
    one = [[1, value if isinstance(value, int) else value[0]] for value in (strides, dilation_rate)]
    extra = None if output_padding is None else [0, output_padding if isinstance(output_padding, int) else output_padding[0]]
    y = squeeze(_conv2d_transpose(expand_dims(x, 1), expand_dims(kernel, 0), one[0], padding, extra, one[1]), 1)
    return _back(y, data_format)


@op("inputs")
def _max_pool2d(inputs: Any, pool_size: Any, strides: Any, padding: str) -> Any:
    """`maxpool2d_forward` of images; of volumes, `maxpool3d_forward`."""
    x = backends.asarray(inputs)
    window = _window(x, pool_size, strides, padding)
    y, argmax = (kernels.maxpool2d_forward if x.ndim == 4 else volumes.maxpool3d_forward)(x, window)
    return y, (argmax, x.shape, window)


@_max_pool2d.gradient
def _(dy: Any, saved: Any) -> Any:
    return (kernels.maxpool2d_backward if dy.ndim == 4 else volumes.maxpool3d_backward)(backends.asarray(dy), *saved)


@op("inputs")
def _average_pool2d(inputs: Any, pool_size: Any, strides: Any, padding: str) -> Any:
    """`avgpool2d_forward` of images; of volumes, `avgpool3d_forward`."""
    x = backends.asarray(inputs)
    window = _window(x, pool_size, strides, padding)
    return (kernels.avgpool2d_forward if x.ndim == 4 else volumes.avgpool3d_forward)(x, window), (x.shape, window)


@_average_pool2d.gradient
def _(dy: Any, saved: Any) -> Any:
    return (kernels.avgpool2d_backward if dy.ndim == 4 else volumes.avgpool3d_backward)(backends.asarray(dy), *saved)


def _pool(pool: Callable[..., Any], x: Any, size: Any, strides: Any, padding: str, data_format: str | None) -> Any:
    x, strides = _last(x, data_format), size if strides is None else strides
    if len(x.shape) == 3:
        one = [[1, value if isinstance(value, int) else value[0]] for value in (size, strides)]
        return _back(squeeze(pool(expand_dims(x, 1), *one, padding), 1), data_format)
    return _back(pool(x, size, strides, padding), data_format)


def max_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None) -> Any:
    """The largest value of each window of images (N, H, W, C), of signals (N, L, C), or of volumes (N, D, H, W, C)."""
    return _pool(_max_pool2d, inputs, pool_size, strides, padding, data_format)


def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The mean of each window of images (N, H, W, C), of signals (N, L, C), or of volumes (N, D, H, W, C)."""
    return _pool(_average_pool2d, inputs, pool_size, strides, padding, data_format)


@op("inputs")
def _adaptive_average_pool2d(inputs: Any, output_size: Any) -> Any:
    """`adaptive_avgpool2d_forward` of images; of volumes, `adaptive_avgpool3d_forward`."""
    x = backends.asarray(inputs)
    pool = kernels.adaptive_avgpool2d_forward if x.ndim == 4 else volumes.adaptive_avgpool3d_forward
    return pool(x, shapes.integers(output_size, x.ndim - 2, "output_size")), x.shape


@_adaptive_average_pool2d.gradient
def _(dy: Any, saved: Any) -> Any:
    pool_back = kernels.adaptive_avgpool2d_backward if dy.ndim == 4 else volumes.adaptive_avgpool3d_backward
    return pool_back(backends.asarray(dy), saved)


@op("inputs")
def _adaptive_max_pool2d(inputs: Any, output_size: Any) -> Any:
    """`adaptive_maxpool2d_forward` of images; of volumes, `adaptive_maxpool3d_forward`."""
    x = backends.asarray(inputs)
    pool = kernels.adaptive_maxpool2d_forward if x.ndim == 4 else volumes.adaptive_maxpool3d_forward
    y, argmax = pool(x, shapes.integers(output_size, x.ndim - 2, "output_size"))
    return y, (argmax, x.shape)


@_adaptive_max_pool2d.gradient
def _(dy: Any, saved: Any) -> Any:
    pool_back = kernels.adaptive_maxpool2d_backward if dy.ndim == 4 else volumes.adaptive_maxpool3d_backward
    return pool_back(backends.asarray(dy), *saved)


def _adaptive_pool(pool: Op, x: Any, output_size: Any, data_format: str | None) -> Any:
    x = _last(x, data_format)
    if len(x.shape) != 3:
        return _back(pool(x, output_size), data_format)
    one = [1, output_size if isinstance(output_size, int) else output_size[0]]
    return _back(squeeze(pool(expand_dims(x, 1), one), 1), data_format)


def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The means of as many windows as asked for of images (N, H, W, C), of signals (N, L, C), or of volumes (N, D, H, W, C)."""
    return _adaptive_pool(_adaptive_average_pool2d, inputs, output_size, data_format)


def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The largest values of as many windows as asked for of images, of signals, or of volumes: see `adaptive_average_pool`."""
    return _adaptive_pool(_adaptive_max_pool2d, inputs, output_size, data_format)


# --- windows as columns -----------------------------------------------------------------


def _columns_over(image: Any, size: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    """The window of `fold` and `unfold` over an image of this height and width."""
    size, dilation, stride = (
        shapes.pair(value, name) for value, name in ((size, "kernel_size"), (dilation, "dilation"), (stride, "stride"))
    )
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    return window_over(tuple(image), size, stride, (rows, rows, columns, columns), dilation)


@op("x")
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Each window of images (N, C, H, W) as a column, (N, C * KH * KW, places): `im2col`.

    Args:
        padding: how many rows and columns of zeros at each side.
    """
    images = backends.asarray(x).transpose(0, 2, 3, 1)
    window = _columns_over(images.shape[1:3], kernel_size, dilation, padding, stride)
    columns = im2col(images, window).transpose(0, 5, 3, 4, 1, 2)
    return columns.reshape(len(x), -1, window.output[0] * window.output[1]), (images.shape, window)


def _folded(columns: Any, x_shape: Any, window: Window) -> Any:
    """Columns, (N, C * KH * KW, places), added up as images (N, C, H, W) where they came from: `col2im`."""
    N, _, _, C = x_shape
    columns = columns.reshape(N, C, *window.size, *window.output).transpose(0, 4, 5, 2, 3, 1)
    return col2im(columns, x_shape, window).transpose(0, 3, 1, 2)


@unfold.gradient
def _(dy: Any, saved: Any) -> Any:
    return _folded(backends.asarray(dy), *saved)


@op("x")
def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Columns (N, C * KH * KW, places) added up as images (N, C, H, W): what `unfold` took from a place goes back there."""
    image = shapes.pair(output_size, "output_size")
    window = _columns_over(image, kernel_size, dilation, padding, stride)
    x = backends.asarray(x)
    x_shape = (len(x), *image, x.shape[1] // (window.size[0] * window.size[1]))
    return _folded(x, x_shape, window), (x.shape, window)


@fold.gradient
def _(dy: Any, saved: Any) -> Any:
    shape, window = saved
    columns = im2col(backends.asarray(dy).transpose(0, 2, 3, 1), window)
    return columns.transpose(0, 5, 3, 4, 1, 2).reshape(shape)


# --- normalization ----------------------------------------------------------------------


def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with one of each for each place along the axis."""
    rank = len(x.shape)
    along = [-1 if i == axis % rank else 1 for i in range(rank)]
    mean, variance, offset, scale = (None if one is None else reshape(one, along) for one in (mean, variance, offset, scale))
    factor = rsqrt(add(variance, epsilon))
    factor = factor if scale is None else multiply(factor, scale)
    y = multiply(subtract(x, mean), factor)
    return y if offset is None else add(y, offset)


def layer_normalization(x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float | None = None) -> Any:
    """x less its mean along axes, divided by its standard deviation, times gamma, plus beta."""
    centred = subtract(x, mean(x, axis, True))
    epsilon = config.epsilon() if epsilon is None else epsilon
    y = multiply(centred, rsqrt(add(mean(square(centred), axis, True), epsilon)))
    y = y if gamma is None else multiply(y, gamma)
    return y if beta is None else add(y, beta)


def rms_normalization(x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None) -> Any:
    """x divided by the root of its mean square along axes, times `scale` if there is one."""
    epsilon = config.epsilon() if epsilon is None else epsilon
    y = multiply(x, rsqrt(add(mean(square(x), axis, True), epsilon)))
    return y if scale is None else multiply(y, scale)


# --- targets and losses -----------------------------------------------------------------


@op("x", differentiable=False)
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Labels as vectors of zeros with a one, along a new axis; a label that is no class gives zeros."""
    places = np.arange(num_classes).reshape([-1] + [1] * (-axis - 1 if axis < 0 else x.ndim - axis))
    labels = x.reshape((*x.shape[: axis % (x.ndim + 1)], 1, *x.shape[axis % (x.ndim + 1) :]))
    return (labels == backends.asarray(places) if backends.on_device() else labels == places).astype(dtype or config.floatx())


def multi_hot(inputs: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """A set of labels, along axis 1 (of a vector 0), as one vector of zeros, with a one at each."""
    return max(one_hot(inputs, num_classes, axis, dtype), axis=min(len(inputs.shape) - 1, 1))


@op("y_true", "y_pred")
def rows_of_loss(y_true: Any, y_pred: Any, loss: Any) -> Any:
    """What a loss of minicnn is for each row, by its kernels."""
    y_true, y_pred = np.asarray(backends.to_numpy(y_true)), backends.asarray(y_pred)
    return backends.to_numpy(loss.call(y_true, y_pred)), (y_true, y_pred, loss)


@rows_of_loss.gradient
def _(dy: Any, saved: Any) -> Any:
    y_true, y_pred, loss = saved
    by_row = copy.copy(loss)
    by_row.reduction = "none"
    dy_pred = by_row.backward(by_row.forward(y_true, y_pred, dy)[1])
    return by_row.gradient_at_targets(y_true, y_pred, dy), dy_pred


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(t log p + (1 - t) log(1 - p)), element by element."""
    return losses.binary_crossentropy(expand_dims(target, -1), expand_dims(output, -1), from_logits)


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Cross-entropy of one-hot targets, one loss a row."""
    return losses.categorical_crossentropy(target, output, from_logits, axis=axis)


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Cross-entropy of integer labels, one loss a row."""
    return losses.sparse_categorical_crossentropy(target, output, from_logits, axis=axis)


def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """10 log10(max_val**2 / mean((x1 - x2)**2)): the peak signal-to-noise ratio, in decibels.

    Raises:
        ValueError: where the shapes differ.
    """
    if tuple(x1.shape) != tuple(x2.shape):
        raise ValueError(f"Input shapes {x1.shape} and {x2.shape} must match for PSNR calculation. ")
    return subtract(20 * math.log10(max_val), multiply(10.0, log10(mean(square(subtract(x1, x2))))))


# --- attention --------------------------------------------------------------------------


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
) -> Any:
    """softmax(query @ key.T * scale + bias) @ value for each head; all of the shape (N, T, heads, size).

    Key and value may have fewer heads, each of which several heads of the query look at (Ainslie et al. 2023,
    arXiv:2305.13245).

    Args:
        mask: where it is false, nothing is looked at. scale: default 1 / sqrt(size).
        is_causal: whether nothing behind a query's own place is looked at.
        flash_attention: not True: there is one way to compute it.

    Raises:
        ValueError: for inputs of other than four axes, and for `flash_attention=True`.
    """
    if flash_attention:
        raise ValueError("`flash_attention=True` is not supported: minicnn has one way to compute attention.")
    if len(query.shape) != 4:
        raise ValueError(
            "`dot_product_attention` only supports 4D inputs. "
            f"Received: query.shape={query.shape}, key.shape={key.shape}, value.shape={value.shape}."
        )
    if key.shape[2] != query.shape[2]:
        key, value = (repeat(one, query.shape[2] // one.shape[2], axis=2) for one in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = einsum("bthd,bshd->bhts", multiply(query, scale), key)
    logits = logits if bias is None else add(logits, bias)
    logits = logits if mask is None else where(mask, logits, -1e9)
    if is_causal:
        logits = where(not_behind(logits), logits, -1e9)
    return einsum("bhts,bshd->bthd", softmax(logits), value)
