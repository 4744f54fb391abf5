"""The readable backend: NumPy, each op as its formula.

Slow where it must be to be plain (an explicit im2col, one pass over memory per operator)
and written in the part of the array API that NumPy and CuPy share, so that the GPU backend
can run the same lines. The other backends are tested against this one.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.reference.conv import conv2d_backward_input, conv2d_backward_kernel, conv2d_forward
from minicnn.backends.reference.dense import bias_backward, dense_backward_input, dense_backward_kernel, dense_forward
from minicnn.backends.reference.elementwise import (
    add_forward,
    bounded_relu_backward,
    bounded_relu_forward,
    concatenate_backward,
    concatenate_forward,
    draw_key_,
    dropout_backward,
    dropout_forward,
    elu_backward,
    elu_forward,
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    random_bits,
    relu_backward,
    relu_forward,
    rescale,
    selu_backward,
    selu_forward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    softmax_backward,
    softmax_forward,
    softplus_backward,
    softplus_forward,
    tanh_backward,
    tanh_forward,
    zero_pad2d_backward,
    zero_pad2d_forward,
)
from minicnn.backends.reference.image import adjust_colors, affine_warp2d, resize2d_bilinear, resize2d_nearest
from minicnn.backends.reference.loss import (
    absolute_error_backward,
    absolute_error_forward,
    accumulate_mean_,
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    binary_matches,
    categorical_matches,
    cross_entropy_backward,
    cross_entropy_forward,
    sigmoid_cross_entropy_backward,
    sigmoid_cross_entropy_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    sparse_categorical_matches,
    sparse_softmax_cross_entropy_backward,
    sparse_softmax_cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from minicnn.backends.reference.norm import (
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_inference,
    batchnorm_inference_backward,
    moving_average_update_,
)
from minicnn.backends.reference.pool import (
    avgpool2d_backward,
    avgpool2d_forward,
    global_avgpool2d_backward,
    global_avgpool2d_forward,
    global_maxpool2d_backward,
    global_maxpool2d_forward,
    maxpool2d_backward,
    maxpool2d_forward,
)
from minicnn.backends.reference.update import (
    accumulate_,
    adam_update_,
    clip_by_global_norm_,
    clip_by_norm_,
    clip_by_value_,
    exponential_average_,
    l1_l2_gradient_,
    l1_l2_penalty,
    momentum_update_,
    nesterov_update_,
    rmsprop_update_,
    sgd_update_,
    weight_decay_,
)

__all__ = [
    "absolute_error_backward",
    "absolute_error_forward",
    "accumulate_",
    "accumulate_mean_",
    "adam_update_",
    "add_forward",
    "adjust_colors",
    "affine_warp2d",
    "asarray",
    "avgpool2d_backward",
    "avgpool2d_forward",
    "batchnorm_backward",
    "batchnorm_forward",
    "batchnorm_inference",
    "batchnorm_inference_backward",
    "bias_backward",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_forward",
    "binary_matches",
    "bounded_relu_backward",
    "bounded_relu_forward",
    "categorical_matches",
    "check_available",
    "clip_by_global_norm_",
    "clip_by_norm_",
    "clip_by_value_",
    "concatenate_backward",
    "concatenate_forward",
    "conv2d_backward_input",
    "conv2d_backward_kernel",
    "conv2d_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dense_backward_input",
    "dense_backward_kernel",
    "dense_forward",
    "describe",
    "draw_key_",
    "dropout_backward",
    "dropout_forward",
    "elu_backward",
    "elu_forward",
    "empty",
    "exponential_average_",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "get_num_threads",
    "global_avgpool2d_backward",
    "global_avgpool2d_forward",
    "global_maxpool2d_backward",
    "global_maxpool2d_forward",
    "l1_l2_gradient_",
    "l1_l2_penalty",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "maxpool2d_backward",
    "maxpool2d_forward",
    "momentum_update_",
    "moving_average_update_",
    "nesterov_update_",
    "random_bits",
    "relu_backward",
    "relu_forward",
    "rescale",
    "resize2d_bilinear",
    "resize2d_nearest",
    "rmsprop_update_",
    "selu_backward",
    "selu_forward",
    "set_num_threads",
    "sgd_update_",
    "sigmoid_backward",
    "sigmoid_cross_entropy_backward",
    "sigmoid_cross_entropy_forward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
    "sparse_categorical_matches",
    "sparse_softmax_cross_entropy_backward",
    "sparse_softmax_cross_entropy_forward",
    "squared_error_backward",
    "squared_error_forward",
    "synchronize",
    "tanh_backward",
    "tanh_forward",
    "to_numpy",
    "weight_decay_",
    "zero_pad2d_backward",
    "zero_pad2d_forward",
]

_threads = 1


def check_available() -> None:
    """NumPy is always there."""


def asarray(value: Any, dtype: Any = None) -> np.ndarray:
    """`value` as a C-contiguous array of `dtype`; no copy where it is one already."""
    return np.asarray(value, dtype=dtype, order="C")


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array; no copy where it is one."""
    return np.asarray(value)


def set_num_threads(threads: int) -> None:
    """Remember `threads`. NumPy computes on one, its BLAS on as many as OMP_NUM_THREADS said at the start.

    Raises:
        ValueError: if `threads` is no positive integer.
    """
    global _threads
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise ValueError(f"`threads` must be a positive integer. Received: threads={threads!r}")
    _threads = int(threads)


def get_num_threads() -> int:
    """What `set_num_threads` was last given; 1 before."""
    return _threads


def synchronize() -> None:
    """Nothing to wait for: a NumPy call returns when its result is there."""


def describe() -> dict[str, Any]:
    """What this backend computes with, for `minicnn doctor`."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "backend": "reference",
        "device": platform.processor() or platform.machine(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
    }
