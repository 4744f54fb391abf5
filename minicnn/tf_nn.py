"""TensorFlow's `tf.nn`: functions of `minicnn.ops` under its names and arguments. Images are (N, H, W, C).

Where a window or a stride is (1, rows, columns, 1), its middle counts.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import ops, random

__all__ = ["NN", "l2_normalize"]


def _middle(sizes: Any) -> tuple[int, int]:
    """(rows, columns) of TensorFlow's ways to say them."""
    sizes = [sizes] if isinstance(sizes, (int, np.integer)) else list(sizes)
    if len(sizes) == 4 and (sizes[0], sizes[3]) != (1, 1):
        raise ValueError(f"minicnn has windows over rows and columns: (1, rows, columns, 1). Received: {tuple(sizes)}")
    rows, *columns = sizes[1:3] if len(sizes) == 4 else sizes
    return int(rows), int(columns[0] if columns else rows)


def _placed(x: Any, padding: Any, fill: float = 0.0) -> tuple[Any, str]:
    """The image, and "same" or "valid"; a list of pairs, one an axis, is padded right away."""
    if isinstance(padding, str):
        return x, padding.lower()
    return ops.pad(x, padding, constant_values=fill), "valid"


def _check(data_format: Any) -> None:
    if data_format not in (None, "NHWC"):
        raise ValueError(f'minicnn stores images as "NHWC". Received: data_format={data_format!r}')


def conv2d(input: Any, filters: Any, strides: Any, padding: Any, data_format: Any = "NHWC", dilations: Any = None) -> Any:
    """`ops.conv` of images."""
    _check(data_format)
    x, padding = _placed(input, padding)
    return ops.conv(x, filters, _middle(strides), padding, None, _middle(dilations or 1))


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: Any = None, dilations: Any = None
) -> Any:
    """`ops.depthwise_conv` of images."""
    _check(data_format)
    x, padding = _placed(input, padding)
    return ops.depthwise_conv(x, filter, _middle(strides), padding, None, _middle(dilations or 1))


def conv2d_transpose(input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME") -> Any:
    """`ops.conv_transpose` of images.

    Raises:
        ValueError: if the result has another height or width than `output_shape` says.
    """
    y = ops.conv_transpose(input, filters, _middle(strides), padding.lower())
    if tuple(y.shape[1:3]) != tuple(int(size) for size in output_shape[1:3]):
        raise ValueError(f"The transposed convolution's result has the shape {y.shape}. Received: output_shape={output_shape}")
    return y


def max_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = "NHWC") -> Any:
    """`ops.max_pool` of images."""
    _check(data_format)
    x, padding = _placed(input, padding, -np.inf)
    return ops.max_pool(x, _middle(ksize), _middle(strides), padding)


def avg_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = "NHWC") -> Any:
    """`ops.average_pool` of images."""
    _check(data_format)
    x, padding = _placed(input, padding)
    return ops.average_pool(x, _middle(ksize), _middle(strides), padding)


def bias_add(value: Any, bias: Any, data_format: Any = None) -> Any:
    """A bias for each channel added."""
    _check(data_format)
    return value + bias


def leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    """x where it is positive, else alpha * x."""
    return ops.leaky_relu(features, alpha)


def gelu(features: Any, approximate: bool = False) -> Any:
    """x times the probability that a normally distributed number is below x."""
    return ops.gelu(features, approximate)


def softmax(logits: Any, axis: int = -1) -> Any:
    """exp(x) / sum of exp(x) along an axis."""
    return ops.softmax(logits, axis)


def dropout(x: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x / (1 - rate) where kept, else 0."""
    return random.dropout(x, rate, noise_shape, seed)


def moments(x: Any, axes: Any, keepdims: bool = False) -> Any:
    """The mean and the variance along axes."""
    return ops.moments(x, axes, keepdims)


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset; scale and offset may be None."""
    factor = ops.rsqrt(variance + variance_epsilon) * (1.0 if scale is None else scale)
    return (x - mean) * factor + (0.0 if offset is None else offset)


def l2_loss(t: Any) -> Any:
    """Half the sum of squares."""
    return ops.sum(ops.square(t)) * 0.5


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    """x divided by its length along axes."""
    return ops.normalize(x, axis, epsilon=epsilon**0.5)


def embedding_lookup(params: Any, ids: Any) -> Any:
    """The rows of `params` at these places."""
    return ops.take(params, ids, 0)


def sigmoid_cross_entropy_with_logits(labels: Any = None, logits: Any = None) -> Any:
    """Binary cross-entropy of logits, element by element."""
    return ops.binary_crossentropy(labels, logits, from_logits=True)


def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: int = -1) -> Any:
    """Cross-entropy of one-hot labels and logits, one loss a row."""
    return ops.categorical_crossentropy(labels, logits, from_logits=True, axis=axis)


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    """Cross-entropy of labels and logits, one loss a row."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


_OWN = (
    *(avg_pool2d, batch_normalization, bias_add, conv2d, conv2d_transpose, depthwise_conv2d, dropout, embedding_lookup, gelu),
    *(l2_loss, l2_normalize, leaky_relu, max_pool2d, moments, softmax, sigmoid_cross_entropy_with_logits),
    *(softmax_cross_entropy_with_logits, sparse_softmax_cross_entropy_with_logits),
)
NN = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__})
NN.__dict__.update({own.__name__: own for own in _OWN}, avg_pool=avg_pool2d, max_pool=max_pool2d, swish=ops.silu)
