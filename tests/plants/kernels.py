"""Bugs in the kernels of `backends/numba_cpu`."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

_NUMBA = "backends/numba_cpu/"

PLANTS = [
    Plant(
        "dense_relu_cuts_partial_sums_off",  # beyond DEPTH input features a sum is made in several goes
        _NUMBA + "dense.py",
        "lower_bound if end == C_in else NO_BOUND,",
        "lower_bound,",
        ("tests/ops/test_epilogues.py::test_dense_relu_looks_at_the_whole_sum",),
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
        "(ky * geometry.DH * geometry.width + kx * geometry.DW) * C_in + ci",
        "(ky * geometry.DH * geometry.width + kx) * C_in + ci",
        ("tests/ops/test_conv.py::test_dilated_conv2d_equals_tensorflow",),
    ),
    Plant(
        "conv_input_gradient_swaps_asymmetric_padding",
        _NUMBA + "conv.py",
        "(geometry.KH - 1 - geometry.top, geometry.KW - 1 - geometry.left)",
        "(geometry.top, geometry.left)",
        ("tests/ops/test_conv.py::test_conv2d_equals_tensorflow",),
    ),
    Plant(
        "conv_band_begins_at_the_output_row",  # and not at stride times that row
        _NUMBA + "conv.py",
        "image = padded_image(x, n, oy * geometry.SH, workspace.padded, worker, geometry)",
        "image = padded_image(x, n, oy, workspace.padded, worker, geometry)",
        ("tests/ops/test_conv.py::test_conv2d_equals_tensorflow",),
    ),
    Plant(
        "conv_kernel_gradient_chunks_follow_the_threads",
        _NUMBA + "conv.py",
        "chunks, blocks = chunks_of(N, geometry.OH * geometry.OW), blocks_of(C_out)",
        "chunks, blocks = max(1, min(N, winograd.get_num_threads())), blocks_of(C_out)",
        ("tests/ops/test_threads.py::test_direct_convolution",),
    ),
    Plant(
        "kernel_gradient_of_fewer_images_together_with_one_of_those_before",
        _NUMBA + "conv.py",
        "kernel_gradient(under, dy, some, workspace",
        "kernel_gradient(under, dy, images, workspace",
        ("tests/ops/test_epilogues.py::test_convolution_of_many_images",),
    ),
    Plant(
        "images_together_are_all_the_first",
        _NUMBA + "conv.py",
        "padded_image(x, n + i, 0, workspace.padded, slots + i, geometry)",
        "padded_image(x, n, 0, workspace.padded, slots + i, geometry)",
        ("tests/ops/test_epilogues.py::test_convolution_of_many_images",),
    ),
    Plant(
        "kernel_gradient_of_images_together_for_the_last_row_alone",
        _NUMBA + "conv.py",
        "Start(c.at, 1) if add or oy > 0 else",
        "Start(c.at, 1) if add else",
        ("tests/ops/test_epilogues.py::test_convolution_of_many_images",),
    ),
    Plant(
        "fused_pooling_takes_windows_for_disjoint",  # the last row of overlapping ones is missing
        _NUMBA + "conv.py",
        "oy_end = min(OH, (py_end - 1) * pool.SH - pool.top + pool.KH)",
        "oy_end = min(OH, (py_end - 1) * pool.SH - pool.top + min(pool.SH, pool.KH))",
        ("tests/ops/test_epilogues.py::test_convolution_and_pooling",),
    ),
    Plant(
        "kernel_gradient_of_the_last_band_alone",
        _NUMBA + "conv.py",
        "add = n > first or py > 0",
        "add = n > first",
        ("tests/ops/test_epilogues.py::test_convolution",),
    ),
    Plant(
        "kernel_gradient_of_a_short_band_with_the_rows_of_the_one_before",
        _NUMBA + "conv.py",
        "most - (band - py_end + py) * stride",
        "most",
        ("tests/ops/test_epilogues.py::test_bands_of_three_rows_and_a_shorter_one",),
    ),
    Plant(
        "max_of_four_takes_over_from_nan",  # the first NaN stays
        _NUMBA + "_pooling.py",
        'builder.and_(builder.fcmp_unordered(">", value, best), builder.fcmp_ordered("ord", best, best))',
        'builder.fcmp_unordered(">", value, best)',
        ("tests/ops/test_pool.py",),
    ),
    Plant(
        "max_of_four_one_window_too_many",  # where the last hangs over the edge
        _NUMBA + "pool.py",
        "whole = min(y.shape[2], (W - 2) // pool.SW + 1)",
        "whole = min(y.shape[2], (W - 1) // pool.SW + 1)",
        ("tests/ops/test_pool.py",),
    ),
    Plant(
        "fused_kernel_gradient_without_its_last_taps",  # those beyond a multiple of eight
        _NUMBA + "conv.py",
        "parallel_for((taps + 7) // 8, workspace.partial.size, sum_chunks",
        "parallel_for(taps // 8, workspace.partial.size, sum_chunks",
        ("tests/ops/test_epilogues.py::test_convolution",),
    ),
    Plant(
        "winograd_chunk_adds_to_memory_as_it_was",  # every chunk but the first
        _NUMBA + "winograd.py",
        "add = count * (span[1] - top) * tiling.across, first > begin or top > 0",
        "add = count * (span[1] - top) * tiling.across, first > 0 or top > 0",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_large_tiles_lack_their_last_products",  # all 36 of a small tile are there
        _NUMBA + "winograd.py",
        "for p in range(tiling.side**2):\n                _gradients",
        "for p in range(36):\n                _gradients",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_kernel_gradient_of_the_last_band_alone",
        _NUMBA + "winograd.py",
        "first > begin or top > 0",
        "first > begin",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_last_band_meets_the_one_before",  # where the map ends before it does
        _NUMBA + "winograd.py",
        "            clear(panel)  # the map may end before the band does",
        "            pass",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_bands_end_within_windows",
        _NUMBA + "winograd.py",
        "min(tiling.down, -(-rows // step) * step)",
        "min(tiling.down, rows)",
        ("tests/ops/test_winograd.py::test_bands_end_where_windows_do",),
    ),
    Plant(
        "winograd_input_gradient_of_the_last_band_alone",
        _NUMBA + "winograd.py",
        "    if span[0] == 0:\n        clear(dx[first + slot])",
        "    if True:\n        clear(dx[first + slot])",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_gradient_of_the_bias_at_another_place",  # of a convolution that neither a ReLU nor a pooling follows
        _NUMBA + "winograd.py",
        "AT_ONE * (call.tiling.side + 1)",
        "AT_ONE * call.tiling.side",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_gradient_from_beyond_the_map",
        _NUMBA + "winograd.py",
        "edges = Edges(0, height - ty * m, 0, width - tx * m, 0, NO_BOUND)",
        "edges = Edges(0, height - ty * m, 0, m, 0, NO_BOUND)",
        ("tests/ops/test_winograd.py::test_gradients_equal_tensorflow",),
    ),
    Plant(
        "winograd_large_tiles_where_they_cost_more",
        _NUMBA + "winograd.py",
        "if places[side] <= share * places[best]:",
        "if places[side] >= share * places[best]:",
        ("tests/ops/test_winograd.py::test_tiles_are_larger_where_that_saves_a_fifth_or_a_quarter",),
    ),
    Plant(
        "dense_kernel_gradient_without_its_last_rows",
        _NUMBA + "dense.py",
        "for row in range(0, rows, TOGETHER):",
        "for row in range(0, max(rows - TOGETHER, 1), TOGETHER):",
        ("tests/ops/test_dense.py::test_large_products_equal_tensorflow",),
    ),
    Plant(
        "average_pooling_gradient_counts_padding",
        _NUMBA + "pool.py",
        "share = np.float32(1) / np.float32((ky_end - ky_begin) * (kx_end - kx_begin))",
        "share = np.float32(1) / np.float32(pool.KH * pool.KW)",
        ("tests/ops/test_pool.py::test_avgpool2d_by_hand",),
    ),
    Plant(
        "global_max_pooling_argmax_in_16_bits",  # images of more than 65,536 pixels
        _NUMBA + "pool.py",
        "y, argmax = empty((N, C)), empty((N, C), np.int32)",
        "y, argmax = empty((N, C)), empty((N, C), np.uint16)",
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
        "a_machine_stays_crowded",
        _NUMBA + "_pool.py",
        "_store(CROWDED, _load(CROWDED) - 1)",
        "_store(CROWDED, _load(CROWDED))",
        ("tests/test_thread_pool.py",),
    ),
    Plant(
        "batchnorm_rows_of_one_row_count_as_columns",  # several rows as one row: its channels are merged with wrong weights
        _NUMBA + "norm.py",
        "merge(mean, variance, F(begin // C * rows)",
        "merge(mean, variance, F(begin * rows)",
        ("tests/ops/test_norm.py::test_batchnorm_equals_tensorflow",),
    ),
    Plant(
        "batchnorm_gradient_of_the_first_of_several_rows",
        _NUMBA + "norm.py",
        "for column in range(columns):\n            dbeta",
        "for column in range(C):\n            dbeta",
        ("tests/ops/test_norm.py::test_batchnorm_equals_tensorflow",),
    ),
    Plant(
        "batchnorm_epsilon_outside_the_root",
        _NUMBA + "norm.py",
        "/ np.sqrt(variance[c] + epsilon)\n        factors[2, column]",
        "/ (np.sqrt(variance[c]) + epsilon)\n        factors[2, column]",
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
        "return dy if x > ZERO else negative_slope * dy",
        "return dy if x >= ZERO else negative_slope * dy",
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
        "exp_ends_at_2_to_the_127",  # the exponent in one step
        _NUMBA + "_vectormath.py",
        "power_of_2(below) * power_of_2(I(k - below))",
        "power_of_2(k)",
        ("tests/ops/test_vectormath.py",),
    ),
    Plant(
        "tanh_of_large_numbers_overflows",
        _NUMBA + "_vectormath.py",
        "F(10) if size > F(10) else size",
        "size",
        ("tests/ops/test_vectormath.py",),
    ),
    Plant(
        "normal_cdf_of_a_coefficient_short",  # the sixth digit of one coefficient
        _NUMBA + "_vectormath.py",
        "F(1.2504640817642212)",
        "F(1.25046)",
        ("tests/ops/test_vectormath.py",),
    ),
    Plant(
        "dense_kernel_gradient_of_the_first_samples",  # each DEPTH samples replace what is there
        _NUMBA + "dense.py",
        "start = Start(at, 1) if begin > 0 else Start(address(ZEROS), 0)\n                a, b = Rows(address(own)",
        "start = Start(address(ZEROS), 0)\n                a, b = Rows(address(own)",
        ("tests/ops/test_dense.py",),
    ),
    Plant(
        "input_gradient_of_many_rows_forgets_the_panels_before",  # which it sums some at a time
        _NUMBA + "pointwise.py",
        "Start(at, 1) if begin > 0 else",
        "",
        ("tests/ops/test_dense.py",),
    ),
    Plant(
        "cross_entropy_largest_logit_without_the_last_class",  # exp overflows where that is much the largest
        _NUMBA + "_vectormath.py",
        "    for c in range(1, x.size):\n        best",
        "    for c in range(1, x.size - 1):\n        best",
        ("tests/ops/test_loss.py::test_softmax_cross_entropy_equals_tensorflow",),
    ),
    Plant(
        "binary_matches_on_the_threshold",
        _NUMBA + "loss.py",
        "predictions[c] > threshold",
        "predictions[c] >= threshold",
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
    Plant(
        "slices_of_groups_lie_side_by_side",  # as if there were one group
        "backends/volumes.py",
        "slices = backends.empty((N, OD, H, W, groups, KD, C // groups), x.dtype)",
        "slices, groups = backends.empty((N, OD, H, W, 1, KD, C), x.dtype), 1",
        ("tests/layers/test_volumes.py::test_convolution_by_its_formula",),
    ),
    Plant(
        "slices_before_a_volume_are_not_zero",
        "backends/volumes.py",
        "        place[..., : taps.start, :] = 0\n",
        "",
        ("tests/layers/test_volumes.py::test_slices_are_gathered_and_scattered",),
    ),
    Plant(
        "a_joined_pooling_of_volumes_is_behind_a_relu_of_its_own",  # which is that of the largest of all slices
        "backends/volumes.py",
        "y = None if y is None else pooled_in_slices",
        "y = None",
        ("tests/layers/test_volumes.py::test_a_plan_joins_relu_and_pooling",),
    ),
]
