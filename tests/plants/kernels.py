"""Bugs in the kernels of `backends/numba_cpu`."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

_NUMBA = "backends/numba_cpu/"

PLANTS = [
    Plant(
        "dense_relu_cuts_partial_sums_off",  # beyond DEPTH input features a sum is made in several goes
        _NUMBA + "dense.py",
        "floor if end == C_in else NO_FLOOR,",
        "floor,",
        ("tests/ops/test_fused.py::test_dense_relu_looks_at_the_whole_sum",),
    ),
    Plant(
        "dense_of_few_samples_forgets_the_last_features",  # those beyond a multiple of four, but for one
        _NUMBA + "dense.py",
        "    while k < end:\n        row0 = kernel[k]",
        "    if k < end:\n        row0 = kernel[k]",
        ("tests/ops/test_dense.py::test_dense_equals_tensorflow",),
    ),
    Plant(
        "conv_kernel_gradient_ignores_dilation_across",
        _NUMBA + "conv.py",
        "(ky * walk.DH * walk.width + kx * walk.DW) * C_in + ci",
        "(ky * walk.DH * walk.width + kx) * C_in + ci",
        ("tests/ops/test_conv.py::test_dilated_conv2d_equals_tensorflow",),
    ),
    Plant(
        "conv_input_gradient_swaps_asymmetric_padding",
        _NUMBA + "conv.py",
        "(walk.KH - 1 - walk.top, walk.KW - 1 - walk.left)",
        "(walk.top, walk.left)",
        ("tests/ops/test_conv.py::test_conv2d_equals_tensorflow",),
    ),
    Plant(
        "conv_band_begins_at_the_output_row",  # and not at stride times that row
        _NUMBA + "conv.py",
        "image = image_of(x, n, oy * walk.SH, frames, worker, walk)",
        "image = image_of(x, n, oy, frames, worker, walk)",
        ("tests/ops/test_conv.py::test_conv2d_equals_tensorflow",),
    ),
    Plant(
        "conv_kernel_gradient_chunks_follow_the_threads",
        _NUMBA + "conv.py",
        "partial = empty((max(1, min(x[0], CHUNKS)), KH * KW * C_in, C_out))",
        "partial = empty((max(1, min(x[0], get_num_threads())), KH * KW * C_in, C_out))",
        ("tests/ops/test_threads.py::test_direct_convolution",),
    ),
    Plant(
        "fused_pooling_takes_windows_for_disjoint",  # the last row of overlapping ones is missing
        _NUMBA + "fused.py",
        "oy_end = min(OH, (py_end - 1) * strides[0] - pads[0] + pool_size[0])",
        "oy_end = min(OH, (py_end - 1) * strides[0] - pads[0] + min(strides[0], pool_size[0]))",
        ("tests/ops/test_fused.py::test_convolution_and_pooling",),
    ),
    Plant(
        "fused_kernel_gradient_without_its_last_taps",  # those beyond a multiple of eight
        _NUMBA + "fused.py",
        "parallel_for((taps + 7) // 8, partial.size, sum_chunks",
        "parallel_for(taps // 8, partial.size, sum_chunks",
        ("tests/ops/test_fused.py::test_convolution",),
    ),
    Plant(
        "winograd_chunk_adds_to_memory_as_it_was",  # every chunk but the first
        _NUMBA + "winograd.py",
        "chunk, tiles, first > begin, V",
        "chunk, tiles, first > 0, V",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "average_pooling_gradient_counts_padding",
        _NUMBA + "pool.py",
        "share = np.float32(1) / np.float32((ky_end - ky_begin) * (kx_end - kx_begin))",
        "share = np.float32(1) / np.float32(pool_size[0] * pool_size[1])",
        ("tests/ops/test_pool.py::test_avgpool2d_by_hand",),
    ),
    Plant(
        "global_max_pooling_winner_in_16_bits",  # images of more than 65,536 pixels
        _NUMBA + "pool.py",
        "y, winners = empty((N, C)), empty((N, C), np.int32)",
        "y, winners = empty((N, C)), empty((N, C), np.uint16)",
        ("tests/ops/test_pool.py::test_global_maxpool2d_equals_tensorflow",),
    ),
    Plant(
        "batchnorm_merges_runs_with_a_wrong_count",  # where a chunk has several runs, and is not the first
        _NUMBA + "norm.py",
        "merge(mean, deviation, F(begin - first), run_mean",
        "merge(mean, deviation, F(begin), run_mean",
        ("tests/ops/test_norm.py::test_batchnorm_equals_tensorflow",),
    ),
    Plant(
        "batchnorm_inference_epsilon_outside_the_root",
        _NUMBA + "norm.py",
        "    for c in range(x.shape[1]):\n"
        "        factors[0, c] = mean[c]\n"
        "        factors[1, c] = gamma[c] / np.sqrt(variance[c] + epsilon)",
        "    for c in range(x.shape[1]):\n"
        "        factors[0, c] = mean[c]\n"
        "        factors[1, c] = gamma[c] / (np.sqrt(variance[c]) + epsilon)",
        ("tests/ops/test_norm.py::test_batchnorm_inference_equals_tensorflow",),
    ),
    Plant(
        "moving_average_momentum_swapped",
        _NUMBA + "norm.py",
        "average[i] = momentum * average[i] + (ONE - momentum) * value[i]",
        "average[i] = (ONE - momentum) * average[i] + momentum * value[i]",
        ("tests/ops/test_norm.py::test_moving_average",),
    ),
    Plant(
        "dropout_repeats_its_mask_every_run",  # of 8192 elements
        _NUMBA + "elementwise.py",
        "        random_words(key[0], key[1], begin // 4, words)\n        source",
        "        random_words(key[0], key[1], begin % RUN // 4, words)\n        source",
        ("tests/ops/test_elementwise.py::test_dropout_of_a_large_array",),
    ),
    Plant(
        "leaky_relu_gradient_at_zero",
        _NUMBA + "elementwise.py",
        "dx[i] = dy[i] if x[i] > ZERO else negative_slope * dy[i]",
        "dx[i] = dy[i] if x[i] >= ZERO else negative_slope * dy[i]",
        ("tests/ops/test_elementwise.py::test_activation_at_its_kink",),
    ),
    Plant(
        "zero_padding_gradient_swaps_top_and_bottom",
        _NUMBA + "elementwise.py",
        "dx[...] = dy[:, top : H - bottom, left : W - right]",
        "dx[...] = dy[:, bottom : H - top, left : W - right]",
        ("tests/ops/test_elementwise.py::test_zero_pad2d_equals_tensorflow",),
    ),
    Plant(
        "cross_entropy_largest_logit_without_the_last_class",  # exp overflows where that is much the largest
        _NUMBA + "loss.py",
        "    for c in range(1, logits.size):\n        largest",
        "    for c in range(1, logits.size - 1):\n        largest",
        ("tests/ops/test_loss.py::test_softmax_cross_entropy_equals_tensorflow",),
    ),
    Plant(
        "binary_matches_on_the_threshold",
        _NUMBA + "loss.py",
        "predictions[m, c] > threshold",
        "predictions[m, c] >= threshold",
        ("tests/ops/test_loss.py",),
    ),
    Plant(
        "absolute_error_gradient_at_zero",
        _NUMBA + "loss.py",
        "np.sign(predictions[m, c] - targets[m, c])",
        "(ONE if predictions[m, c] >= targets[m, c] else -ONE)",
        ("tests/ops/test_loss.py",),
    ),
    Plant(
        "rmsprop_epsilon_outside_the_root",
        _NUMBA + "update.py",
        "        denominator = v[i] + epsilon\n"
        "        if centered != ZERO:\n"
        "            a[i] = rho * a[i] + (ONE - rho) * g[i]\n"
        "            denominator -= a[i] * a[i]\n"
        "        change = learning_rate * g[i] / np.sqrt(denominator)",
        "        denominator = v[i]\n"
        "        if centered != ZERO:\n"
        "            a[i] = rho * a[i] + (ONE - rho) * g[i]\n"
        "            denominator -= a[i] * a[i]\n"
        "        change = learning_rate * g[i] / (np.sqrt(denominator) + epsilon)",
        ("tests/ops/test_update.py::test_rmsprop_equals_tensorflow",),
    ),
]
