"""Bugs in the GPU's kernels, which the simulator sees with the few cases that it draws."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

PLANTS = [
    Plant(
        "pixel_gathers_from_an_output_behind_the_last",
        "backends/cupy_gpu/kernels/depthwise.cu",
        "|| y / SH >= OH ||",
        "|| y / SH > OH ||",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "pixel_gathers_from_a_window_before_the_first",
        "backends/cupy_gpu/kernels/pool.cu",
        "(at - size) / stride + 1; }",
        "(at - size) / stride; }",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "targets_are_summed_in_one_warp_s_width",
        "backends/cupy_gpu/kernels/loss.cu",
        "    real sum = 0;\n    for (int c = threadIdx.x; c < count; c += 32) sum += targets[start + c];",
        "    real sum = 0;\n    for (int c = threadIdx.x; c < min((int)count, 32); c += 32) sum += targets[start + c];",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "of_equals_the_last_is_the_largest",
        "backends/cupy_gpu/kernels/warp.cuh",
        "other_place < place)",
        "other_place > place)",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "norms_begin_at_the_first_tensor_of_each_launch",
        "backends/cupy_gpu/kernels/update.cu",
        "sqrt(squares[first + blockIdx.y])",
        "sqrt(squares[blockIdx.y])",
        ("tests/gpu/test_simulated_kernels.py::test_each_of_more_tensors_than_a_launch_takes_has_its_own_norm",),
    ),
    Plant(
        "last_taps_of_a_phase_are_left_out",
        "backends/cupy_gpu/kernels/conv2d_backward_input.cu",
        "(size - first + period - 1) / period : 0;",
        "(size - first) / period : 0;",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "images_are_dilated_alike_both_ways",
        "backends/cupy_gpu/kernels/patches.cuh",
        "return {ky * DH, kx * DW, ci};",
        "return {ky * DH, kx * DH, ci};",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "chunks_are_rectified_before_they_are_added",
        "backends/cupy_gpu/kernels/conv2d_forward.cu",
        "whole && relu,",
        "relu,",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "places_in_large_windows_take_one_byte",
        "backends/cupy_gpu/pool.py",
        "<= 256 else np.int32",
        "<= 512 else np.int32",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "chunk_of_a_sum_is_rounded_down",
        "backends/cupy_gpu/gemm.py",
        "return -(-depth // max(chunks, 1) // step) * step",
        "return depth // max(chunks, 1) // step * step",
        ("tests/gpu/test_simulated_ops.py",),
    ),
    Plant(
        "rows_of_a_depthwise_map_are_counted_by_its_width",
        "backends/cupy_gpu/kernels/depthwise.cu",
        "const int ox = row % OW, oy = row / OW % OH;",
        "const int ox = row % OW, oy = row / OW % OW;",
        ("tests/gpu/test_simulated_ops.py",),
    ),
]
