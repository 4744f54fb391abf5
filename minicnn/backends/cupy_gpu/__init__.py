"""The fast GPU backend: CUDA kernels of our own, compiled at first use through CuPy.

Importing this package imports CuPy; nothing else of minicnn does. An op without a kernel of its
own is the reference's (`minicnn.backends.load`), whose lines take their array module from the array.
No op but a convolution in groups uses cuBLAS, none uses cuDNN or cuRAND, so that a whole training
step can be captured into one CUDA graph (`graph.py`).
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

from minicnn.backends.cupy_gpu.compile import empty as empty
from minicnn.backends.cupy_gpu.compile import set_tf32 as set_tf32
from minicnn.backends.cupy_gpu.compile import tf32 as tf32
from minicnn.backends.cupy_gpu.compile import to_device, to_host
from minicnn.backends.cupy_gpu.graph import StepGraph as StepGraph
from minicnn.backends.cupy_gpu.graph import capture as capture


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
