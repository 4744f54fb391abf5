"""The fast GPU backend: CUDA kernels of our own, compiled at first use through CuPy.

Importing this package imports CuPy; nothing else of minicnn does. Where an op has no kernel
of its own, it is the reference backend's, whose lines take their array module from the array.
No op uses cuBLAS, cuDNN or cuRAND, so that a whole training step can be captured into one
CUDA graph (`graph.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import cupy
except ImportError as error:
    raise ImportError(
        'The backend "cupy" needs CuPy, which is not installed. In the folder of minicnn\'s sources, for a driver of CUDA 13: '
        'pip install ".[gpu13]"; '
        f'of CUDA 12: pip install ".[gpu12]". ({error})'
    ) from error

from minicnn.backends.cupy_gpu.compile import empty, set_tf32, tf32, to_device, to_host
from minicnn.backends.cupy_gpu.conv import (
    conv2d_backward_input,
    conv2d_backward_kernel,
    conv2d_forward,
)
from minicnn.backends.cupy_gpu.dense import (
    bias_backward,
    dense_backward_input,
    dense_backward_kernel,
    dense_forward,
)
from minicnn.backends.cupy_gpu.elementwise import (
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
from minicnn.backends.cupy_gpu.fused import (
    batchnorm_relu_backward,
    batchnorm_relu_forward,
    batchnorm_relu_inference,
    conv2d_relu_backward,
    conv2d_relu_forward,
    conv2d_relu_maxpool_backward,
    conv2d_relu_maxpool_forward,
    dense_relu_backward,
    dense_relu_forward,
)
from minicnn.backends.cupy_gpu.graph import StepGraph, capture
from minicnn.backends.cupy_gpu.image import adjust_colors, affine_warp2d, resize2d_bilinear, resize2d_nearest
from minicnn.backends.cupy_gpu.loss import (
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
from minicnn.backends.cupy_gpu.norm import (
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_inference,
    batchnorm_inference_backward,
    moving_average_update_,
)
from minicnn.backends.cupy_gpu.pool import (
    avgpool2d_backward,
    avgpool2d_forward,
    global_avgpool2d_backward,
    global_avgpool2d_forward,
    global_maxpool2d_backward,
    global_maxpool2d_forward,
    maxpool2d_backward,
    maxpool2d_forward,
)
from minicnn.backends.cupy_gpu.update import (
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
    "StepGraph",
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
    "capture",
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
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_maxpool_backward",
    "conv2d_relu_maxpool_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
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
    "set_tf32",
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
    "tf32",
    "to_numpy",
    "weight_decay_",
    "zero_pad2d_backward",
    "zero_pad2d_forward",
]


def check_available() -> None:
    """Whether this machine can compute on a GPU.

    Raises:
        RuntimeError: if there is no NVIDIA driver, or it is too old for this CuPy, or no device; or if MINICNN_TF32
            asks for what the card has not.
    """
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f'The backend "cupy" needs an NVIDIA driver for CUDA {cupy.cuda.runtime.runtimeGetVersion() // 1000}, which CuPy '
            f"{cupy.__version__} was built for, and found none that works ({error}). `nvidia-smi` shows what is installed."
        ) from error
    if devices == 0:
        raise RuntimeError('The backend "cupy" needs an NVIDIA GPU, and the driver sees none. Is CUDA_VISIBLE_DEVICES empty?')
    if tf32():
        set_tf32(True)


def asarray(value: Any, dtype: Any = None) -> Any:
    """`value` as a C-contiguous array on the GPU; no copy where it is one already. See `compile.to_device` for errors."""
    return to_device(value, dtype)


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array: waits for the GPU to have computed it, and copies it. See `compile.to_host` for errors."""
    return to_host(value)


def set_num_threads(threads: int) -> None:
    """Accept any positive number: CPU threads have no part in what a GPU computes.

    Raises:
        ValueError: if `threads` is no positive integer.
    """
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise ValueError(f"`threads` must be a positive integer. Received: threads={threads!r}")


def get_num_threads() -> int:
    """Always 1: the thread that launches kernels."""
    return 1


def synchronize() -> None:
    """Wait until the GPU has finished everything asked of it on the current stream."""
    cupy.cuda.get_current_stream().synchronize()


def describe() -> dict[str, Any]:
    """What this backend computes with, for `minicnn doctor`."""
    check_available()
    device = cupy.cuda.Device()
    properties = cupy.cuda.runtime.getDeviceProperties(device.id)
    capability = device.compute_capability
    return {
        "backend": "cupy",
        "device": properties["name"].decode(),
        "compute capability": f"{capability[:-1]}.{capability[-1]}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory": f"{properties['totalGlobalMem'] / 2**30:.1f} GiB",
        "driver": _version(cupy.cuda.runtime.driverGetVersion()),
        "cuda": _version(cupy.cuda.runtime.runtimeGetVersion()),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cupy": cupy.__version__,
        "tf32": tf32(),
    }


def _version(number: int) -> str:
    """CUDA's 13050 as "13.5"."""
    return f"{number // 1000}.{number % 1000 // 10}"
