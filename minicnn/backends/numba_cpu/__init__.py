"""The CPU backend: hand-written loops, compiled by Numba, around one SIMD micro-kernel.

Start reading at `conv` (the loops) and `_microkernel` (the product that they permute).
`_parallel` spreads tasks over threads, `_compile` says how kernels are compiled and cached.

float32 is what these kernels compute in. Arrays of float64, which exist for gradient checks, are
handed to the reference backend's function of the same name, op by op. Results do not depend
on the number of threads, bit by bit.
"""

from __future__ import annotations

from typing import Any

import llvmlite
import numba
import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import FMA, VL
from minicnn.backends.numba_cpu._microkernel import MR, NR
from minicnn.backends.numba_cpu._pool import LOOKING, get_num_threads, set_num_threads
from minicnn.backends.numba_cpu.conv import (
    conv2d_backward_input,
    conv2d_backward_kernel,
    conv2d_forward,
)
from minicnn.backends.numba_cpu.dense import (
    bias_backward,
    dense_backward_input,
    dense_backward_kernel,
    dense_forward,
)
from minicnn.backends.numba_cpu.elementwise import (
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
from minicnn.backends.numba_cpu.fused import (
    batchnorm_relu_backward,
    batchnorm_relu_forward,
    batchnorm_relu_inference,
    conv2d_backward,
    conv2d_maxpool_backward,
    conv2d_maxpool_forward,
    conv2d_relu_backward,
    conv2d_relu_forward,
    conv2d_relu_maxpool_backward,
    conv2d_relu_maxpool_forward,
    dense_backward,
    dense_relu_backward,
    dense_relu_forward,
)
from minicnn.backends.numba_cpu.image import adjust_colors, affine_warp2d, resize2d_bilinear, resize2d_nearest
from minicnn.backends.numba_cpu.loss import (
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
from minicnn.backends.numba_cpu.norm import (
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_inference,
    batchnorm_inference_backward,
    moving_average_update_,
)
from minicnn.backends.numba_cpu.pool import (
    avgpool2d_backward,
    avgpool2d_forward,
    global_avgpool2d_backward,
    global_avgpool2d_forward,
    global_maxpool2d_backward,
    global_maxpool2d_forward,
    maxpool2d_backward,
    maxpool2d_forward,
)
from minicnn.backends.numba_cpu.update import (
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
    "batchnorm_relu_backward",
    "batchnorm_relu_forward",
    "batchnorm_relu_inference",
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
    "conv2d_backward",
    "conv2d_backward_input",
    "conv2d_backward_kernel",
    "conv2d_forward",
    "conv2d_maxpool_backward",
    "conv2d_maxpool_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_maxpool_backward",
    "conv2d_relu_maxpool_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dense_backward",
    "dense_backward_input",
    "dense_backward_kernel",
    "dense_forward",
    "dense_relu_backward",
    "dense_relu_forward",
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


def check_available() -> None:
    """Numba was imported, and it has a pool of threads: nothing is missing."""


def asarray(value: Any, dtype: Any = None) -> np.ndarray:
    """`value` as a C-contiguous array of `dtype`; no copy where it is one already."""
    return np.asarray(value, dtype=dtype, order="C")


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array; no copy where it is one."""
    return np.asarray(value)


def synchronize() -> None:
    """Nothing to wait for: an op returns when its result is there."""


def describe() -> dict[str, Any]:
    """What this backend computes with, for `minicnn doctor`."""
    return {
        "backend": "numba",
        "device": numba.config.CPU_NAME,
        "threads": get_num_threads(),
        "threading_layer": f"own pool: looks for {LOOKING * 1e6:.0f} us, then sleeps",
        "vector_floats": VL,
        "fused_multiply_add": FMA,
        "tile": f"{MR} x {NR}",
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
    }
