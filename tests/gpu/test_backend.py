"""The GPU backend's package: what it offers and refuses. It needs no GPU to be held to that."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from minicnn import backends
from minicnn.backends import cupy_gpu
from minicnn.backends.cupy_gpu import compile
from minicnn.backends.cupy_gpu.elementwise import relu_backward, relu_forward
from minicnn.backends.types import window_over
from tests.gpu.calls import call_every_op, own_ops
from tests.gpu.simulator import numpy_arrays


def test_the_backend_has_every_op() -> None:
    ops = backends.load("cupy")
    assert list(ops) == list(backends.load("reference"))
    assert all(callable(op) for op in ops.values())


def test_groups_of_channels_are_left_to_the_reference() -> None:
    """To the bit, also with what follows; on arrays of the host no kernel of the GPU could be launched."""
    ours, theirs = backends.load("cupy"), backends.load("reference")
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 6, 6, 4)), rng.standard_normal((3, 3, 2, 6))
    window, pool = window_over((6, 6), (3, 3), (1, 1), "same", groups=2), window_over((6, 6), (2, 2), (2, 2), "valid")
    results = []
    for ops in (ours, theirs):
        y, argmax = ops["conv2d_forward"](x, kernel, kernel[0, 0, 0], window, True, pool)
        results.append([y, argmax, *ops["conv2d_backward"](y, x, kernel, window, y, pool, argmax)])
    for own, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(own, expected)
    algorithms = [ours["conv2d_algorithm"](x.shape, kernel.shape, window._replace(groups=groups)) for groups in (1, 2)]
    assert algorithms == ["implicit GEMM", theirs["conv2d_algorithm"](x.shape, kernel.shape, window)]


def test_every_own_op_is_launched_by_the_calls_of_the_compilation_test() -> None:
    called: set[str] = set()

    def trace(frame, event, argument):  # type: ignore[no-untyped-def]
        if event == "call" and ".cupy_gpu." in frame.f_globals.get("__name__", ""):
            called.add(frame.f_code.co_name)

    with numpy_arrays(lambda *program: lambda grid, block, arguments: None):
        sys.setprofile(trace)
        try:
            call_every_op(lambda *shape: np.empty(shape, np.float32), "float32")
        finally:
            sys.setprofile(None)
    assert {op for op in own_ops() if not op.endswith("_algorithm")} <= called  # those only answer


def test_without_cupy_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['cupy'] = None; import minicnn.backends.cupy_gpu"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'ImportError: The backend "cupy" needs CuPy' in result.stderr
    assert 'pip install ".[gpu13]"' in result.stderr


def test_no_driver_and_no_device_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = cupy_gpu.cupy.cuda.runtime

    def no_driver() -> int:
        raise runtime.CUDARuntimeError(35)  # cudaErrorInsufficientDriver

    monkeypatch.setattr(runtime, "getDeviceCount", no_driver)
    with pytest.raises(RuntimeError, match="needs an NVIDIA driver for CUDA 1"):
        cupy_gpu.check_available()
    monkeypatch.setattr(runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(RuntimeError, match="needs an NVIDIA GPU, and the driver sees none"):
        cupy_gpu.check_available()


def test_host_arrays_and_mixed_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"dense_forward computes on the GPU.*Received: numpy\.ndarray"):
        compile.inputs("dense_forward", np.zeros((2, 2), np.float32))
    with numpy_arrays(lambda *program: lambda grid, block, arguments: None):
        with pytest.raises(TypeError, match=r"relu_backward needs arrays of one dtype\. Received: float32 and float64"):
            relu_backward(np.zeros(3, np.float32), np.zeros(3))
        with pytest.raises(TypeError, match=r"relu_forward computes in float32 or float64\. Received: int64"):
            relu_forward(np.zeros(3, int))


def test_out_of_memory_names_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    error = cupy_gpu.cupy.cuda.memory.OutOfMemoryError

    def full(shape: object, dtype: object) -> None:
        raise error(4000, 0)

    monkeypatch.setattr(cupy_gpu.cupy, "empty", full)
    monkeypatch.setattr(cupy_gpu.cupy.cuda.runtime, "memGetInfo", lambda: (1000, 2000))
    with pytest.raises(MemoryError, match=r"no room for an array of 4,000 bytes \(shape \(10, 100\), dtype float32\): 1,000"):
        compile.empty((10, 100), np.float32)
