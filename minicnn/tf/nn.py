"""TensorFlow's `tf.nn`: functions of `minicnn.ops` under its names and arguments. Images are (N, H, W, C).

Where a window or a stride is (1, rows, columns, 1), its middle counts; pooling takes (1, rows, columns, channels), too.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import ops, random
from minicnn.tf.arguments import named

__all__ = ["NN", "l2_normalize"]

LAST = "channels_last"  # whatever Keras's switch says


def _middle(sizes: Any, rank: int = 2) -> tuple[int, ...]:
    """(rows, columns), or of volumes (slices, rows, columns), of TensorFlow's ways to say them."""
    sizes = [sizes] if isinstance(sizes, (int, np.integer)) else list(sizes)
    if len(sizes) == rank + 2:
        if (sizes[0], sizes[-1]) != (1, 1):
            space = ", ".join(("slices", "rows", "columns")[-rank:])
            raise ValueError(f"minicnn has windows over space: (1, {space}, 1). Received: {tuple(sizes)}")
        sizes = sizes[1:-1]
    return tuple(int(size) for size in (sizes * rank if len(sizes) == 1 else sizes))


def _placed(x: Any, padding: Any, fill: float = 0.0) -> tuple[Any, str]:
    """The image, and "same" or "valid"; a list of pairs, one an axis, is padded right away."""
    if isinstance(padding, str):
        return x, padding.lower()
    return ops.pad(x, padding, constant_values=fill), "valid"


def _check(data_format: Any, images: str = "NHWC") -> None:
    if data_format not in (None, images):
        raise ValueError(f'minicnn stores channels last, "{images}". Received: data_format={data_format!r}')


def conv2d(input: Any, filters: Any, strides: Any, padding: Any, data_format: Any = "NHWC", dilations: Any = None) -> Any:
    """`ops.conv` of images."""
    _check(data_format)
    x, padding = _placed(input, padding)
    return ops.conv(x, filters, _middle(strides), padding, LAST, _middle(dilations or 1))


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: Any = None, dilations: Any = None
) -> Any:
    """`ops.depthwise_conv` of images."""
    _check(data_format)
    x, padding = _placed(input, padding)
    return ops.depthwise_conv(x, filter, _middle(strides), padding, LAST, _middle(dilations or 1))


def conv2d_transpose(input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME") -> Any:
    """`ops.conv_transpose` of images.

    Raises:
        ValueError: if the result has another height or width than `output_shape` says.
    """
    return _transposed(input, filters, output_shape, _middle(strides), padding)


def _transposed(x: Any, filters: Any, output_shape: Any, strides: Any, padding: str) -> Any:
    y = ops.conv_transpose(x, filters, strides, padding.lower(), data_format=LAST)
    if tuple(y.shape[1:-1]) != tuple(int(size) for size in output_shape[1:-1]):
        raise ValueError(f"The transposed convolution's result has the shape {y.shape}. Received: output_shape={output_shape}")
    return y


def max_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = "NHWC") -> Any:
    """`ops.max_pool` of images."""
    return _pooled(ops.max_pool, input, ksize, strides, padding, data_format, -np.inf)


def avg_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = "NHWC") -> Any:
    """`ops.average_pool` of images."""
    return _pooled(ops.average_pool, input, ksize, strides, padding, data_format, 0.0)


def _pooled(kind: Any, x: Any, ksize: Any, strides: Any, padding: Any, data_format: Any, fill: float) -> Any:
    """Pooling over rows and columns, and then over channels, where there is a window for them."""
    _check(data_format)
    x, padding = _placed(x, padding, fill)
    (window, channels), (steps, step) = _split_channels(ksize), _split_channels(strides)
    if _middle(window) != (1, 1) or _middle(steps) != (1, 1):
        x = kind(x, _middle(window), _middle(steps), padding, LAST)
    if (channels, step) == (1, 1):
        return x
    sizes = ops.shape(x)
    rows = ops.reshape(x, (-1, sizes[1] * sizes[2], sizes[3], 1))  # an image whose columns are the channels
    pooled = kind(rows, (1, channels), (1, step), padding, LAST)
    return ops.reshape(pooled, (-1, sizes[1], sizes[2], pooled.shape[2]))


def _split_channels(sizes: Any) -> tuple[Any, int]:
    """A window of four sizes as one of images alone, and its size over channels; others cover one channel."""
    if isinstance(sizes, (int, np.integer)) or len(sizes) != 4:
        return sizes, 1
    return [sizes[0], *sizes[1:3], 1], int(sizes[3])


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


def weighted_cross_entropy_with_logits(labels: Any, logits: Any, pos_weight: Any) -> Any:
    """Binary cross-entropy of logits, element by element, in which positive labels count `pos_weight` times."""
    # (1 - y) * x + (1 + (w - 1) * y) * log(1 + exp(-x))
    weight = (pos_weight - 1.0) * labels + 1.0
    return (1.0 - labels) * logits + weight * ops.softplus(-logits)


def conv1d(input: Any, filters: Any, stride: Any, padding: str, data_format: str = "NWC", dilations: Any = None) -> Any:
    """`ops.conv` of signals (N, L, C)."""
    if data_format != "NWC":
        raise ValueError(f'minicnn stores signals as "NWC". Received: data_format={data_format!r}')
    return ops.conv(input, filters, _one(stride), padding.lower(), LAST, _one(dilations or 1))


def _one(size: Any) -> int:
    """A stride along a signal, of TensorFlow's ways to say it: an int, (stride,) or (1, stride, 1)."""
    sizes = [size] if isinstance(size, (int, np.integer)) else list(size)
    return int(sizes[len(sizes) // 2])


def convolution(input: Any, filters: Any, strides: Any = None, padding: str = "VALID", dilations: Any = None) -> Any:
    """`ops.conv` of images, signals or volumes."""
    return ops.conv(input, filters, strides or 1, padding.lower(), LAST, dilations or 1)


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: str) -> Any:
    """A convolution whose kernel's places are `rate` pixels apart."""
    return ops.conv(value, filters, 1, padding.lower(), LAST, rate)


def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: str, data_format: Any = None
) -> Any:
    """A convolution of each channel by itself, and one of 1 by 1 behind it."""
    return conv2d(depthwise_conv2d(input, depthwise_filter, strides, padding, data_format), pointwise_filter, 1, "VALID")


def max_pool1d(input: Any, ksize: Any, strides: Any, padding: str) -> Any:
    """`ops.max_pool` of signals (N, L, C)."""
    return ops.max_pool(input, _one(ksize), _one(strides), padding.lower(), LAST)


def avg_pool1d(input: Any, ksize: Any, strides: Any, padding: str) -> Any:
    """`ops.average_pool` of signals (N, L, C)."""
    return ops.average_pool(input, _one(ksize), _one(strides), padding.lower(), LAST)


def conv3d(input: Any, filters: Any, strides: Any, padding: str, data_format: Any = "NDHWC", dilations: Any = None) -> Any:
    """`ops.conv` of volumes."""
    _check(data_format, "NDHWC")
    return ops.conv(input, filters, _middle(strides, 3), padding.lower(), LAST, _middle(dilations or 1, 3))


def conv3d_transpose(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME", data_format: Any = "NDHWC"
) -> Any:
    """`ops.conv_transpose` of volumes. Errors: see `conv2d_transpose`."""
    _check(data_format, "NDHWC")
    return _transposed(input, filters, output_shape, _middle(strides, 3), padding)


def max_pool3d(input: Any, ksize: Any, strides: Any, padding: str, data_format: Any = "NDHWC") -> Any:
    """`ops.max_pool` of volumes."""
    _check(data_format, "NDHWC")
    return ops.max_pool(input, _middle(ksize, 3), _middle(strides, 3), padding.lower(), LAST)


def avg_pool3d(input: Any, ksize: Any, strides: Any, padding: str, data_format: Any = "NDHWC") -> Any:
    """`ops.average_pool` of volumes."""
    _check(data_format, "NDHWC")
    return ops.average_pool(input, _middle(ksize, 3), _middle(strides, 3), padding.lower(), LAST)


def pool(input: Any, window_shape: Any, pooling_type: str, strides: Any = None, padding: str = "VALID") -> Any:
    """`ops.max_pool` ("MAX") or `ops.average_pool` ("AVG") of images, signals or volumes."""
    kinds = {"MAX": ops.max_pool, "AVG": ops.average_pool}
    if pooling_type not in kinds:
        raise ValueError(f'`pooling_type` must be "MAX" or "AVG". Received: pooling_type={pooling_type!r}')
    return kinds[pooling_type](input, window_shape, strides or 1, padding.lower(), LAST)


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Any:
    """x / (bias + alpha * sum of squares of the channels at most `depth_radius` away)**beta, as AlexNet has it."""
    channels = np.arange(input.shape[-1])
    near = (np.abs(channels[:, None] - channels) <= depth_radius).astype("float32")
    return input / (bias + alpha * ops.matmul(ops.square(input), near)) ** beta


def crelu(features: Any, axis: int = -1) -> Any:
    """ReLU of x and of -x, side by side along an axis."""
    return ops.relu(ops.concatenate([features, -features], axis))


def ctc_loss(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: int | None = None,
) -> Any:
    """`ops.ctc_loss` of labels (N, L) and logits (T, N, C), or with `logits_time_major=False` (N, T, C)."""
    logits = ops.transpose(logits, (1, 0, 2)) if logits_time_major else logits
    return ops.ctc_loss(labels, logits, label_length, logit_length, 0 if blank_index is None else blank_index)


def zero_fraction(value: Any) -> Any:
    """Which share of the elements is 0."""
    return ops.mean(ops.cast(ops.equal(value, 0), "float32"))


def compute_average_loss(per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None) -> Any:
    """The sum of losses (each times its weight), divided by the size of the batch: by default how many there are."""
    losses = per_example_loss if sample_weight is None else per_example_loss * sample_weight
    return ops.sum(losses) / float(losses.shape[0] if global_batch_size is None else global_batch_size)


def scale_regularization_loss(regularization_loss: Any) -> Any:
    """The sum of a penalty: there is one device, which it need not be divided by."""
    return ops.sum(regularization_loss)


_OWN = (
    *(atrous_conv2d, avg_pool1d, avg_pool2d, avg_pool3d, batch_normalization, bias_add, compute_average_loss, conv1d, conv2d),
    *(conv2d_transpose, conv3d, conv3d_transpose, convolution, crelu, ctc_loss, depthwise_conv2d, dropout, embedding_lookup),
    *(gelu, l2_loss, l2_normalize, leaky_relu, local_response_normalization, max_pool1d, max_pool2d, max_pool3d, moments, pool),
    *(
        scale_regularization_loss,
        separable_conv2d,
        sigmoid_cross_entropy_with_logits,
        softmax,
        softmax_cross_entropy_with_logits,
    ),
    *(sparse_softmax_cross_entropy_with_logits, weighted_cross_entropy_with_logits, zero_fraction),
)
_ARGUMENTS = {  # TensorFlow's names of the first arguments
    **{key: ["features"] for key in ["crelu", "elu", "relu", "relu6", "selu", "softplus", "softsign", "silu"]},
    **{"log_softmax": ["logits"], "depth_to_space": ["input"], "space_to_depth": ["input"], "top_k": ["input"]},
}
NN = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__})
NN.__dict__.update({name: named(getattr(ops, name), names) for name, names in _ARGUMENTS.items() if hasattr(ops, name)})
NN.__dict__.update({name: named(getattr(ops, name)) for name in ("sigmoid", "tanh", "in_top_k", "erf", "log_sigmoid")})
NN.__dict__.update({own.__name__: named(own) for own in _OWN})
NN.__dict__.update(avg_pool=NN.avg_pool2d, max_pool=NN.max_pool2d, swish=NN.silu, lrn=NN.local_response_normalization)
