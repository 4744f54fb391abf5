"""Sixty oversights: one of two cases forgotten, a condition that was true of all tests, a state that one more call shows.

All were written down before any was tried. The tests of their areas caught 35; 25 got tests, a few of which others of the
suite might have caught after minutes. What is named now is the test that catches it. One is gone: what it took away had
become needless.
"""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

_NUMBA = "backends/numba_cpu/"

PLANTS = [
    # --- kernels
    Plant(
        "conv_band_under_a_dilated_kernel_lacks_rows",
        _NUMBA + "conv.py",
        "read = (rows - 1) * geometry.SH + (geometry.KH - 1) * geometry.DH + 1",
        "read = (rows - 1) * geometry.SH + geometry.KH",
        ("tests/ops/test_conv.py::test_dilated_conv2d_equals_tensorflow",),
    ),
    Plant(
        "dilated_input_gradient_gathers_neighbours",
        _NUMBA + "conv.py",
        "(geometry.SH, geometry.SW, geometry.DH, geometry.DW) == (1, 1, 1, 1)",
        "(geometry.SH, geometry.SW) == (1, 1)",
        ("tests/ops/test_conv.py::test_dilated_conv2d_equals_tensorflow",),
    ),
    Plant(
        "grouped_convolution_forgets_its_relu",
        _NUMBA + "conv.py",
        "conv2d_forward)(x_g, kernel_g, bias_g, own, relu, pool)",
        "conv2d_forward)(x_g, kernel_g, bias_g, own, False, pool)",
        ("tests/ops/test_epilogues.py::test_grouped_convolution",),
    ),
    Plant(
        "relu_of_a_dilated_convolution_cuts_partial_sums_off",  # dilated across, a sum is made kernel row by kernel row
        _NUMBA + "conv.py",
        "lower_bound = weights.lower_bound if ky == outer - 1 else NO_BOUND",
        "lower_bound = weights.lower_bound",
        ("tests/ops/test_epilogues.py::test_convolution",),
    ),
    Plant(
        "winograd_kernel_gradient_of_the_last_group_alone",  # of more than 512 tiles, where channels are many
        _NUMBA + "winograd.py",
        "(0, 0, count * tiles, first > 0, call, workspace)",
        "(0, 0, count * tiles, False, call, workspace)",
        ("tests/ops/test_winograd.py::test_large_batches",),
    ),
    Plant(
        "depthwise_gradient_where_stride_and_dilation_share_a_factor",
        _NUMBA + "depthwise.py",
        "period = S // gcd(S, D)",
        "period = S",
        ("tests/ops/test_depthwise.py::test_depthwise_equals_tensorflow",),
    ),
    Plant(
        "depthwise_kernel_gradient_runs_past_an_image",  # whose number of rows is odd
        _NUMBA + "depthwise.py",
        "rows = min(end - row, OH - oy, SUMMED_ROWS)",
        "rows = min(end - row, SUMMED_ROWS)",
        ("tests/ops/test_depthwise.py::test_depthwise_of_many_pixels_equals_tensorflow",),
    ),
    Plant(
        "dilated_transposed_convolution_takes_places_for_disjoint",
        _NUMBA + "conv_transpose.py",
        "    once = once and window.dilation == (1, 1)\n",
        "",
        ("tests/ops/test_conv_transpose.py::test_places_overlap_where_a_window_as_large_as_its_stride_is_dilated",),
    ),
    Plant(
        "dense_input_gradient_of_many_samples_ignores_the_relu",
        _NUMBA + "pointwise.py",
        "                if relu:\n",
        "                if False:\n",
        ("tests/ops/test_epilogues.py::test_dense_gradients_of_many_samples",),
    ),
    Plant(
        "max_pooling_gradient_where_padding_hides_a_row",  # as many windows as fit, moved up by a row of padding
        _NUMBA + "pool.py",
        "    return add or (pool.height, pool.width) != (H, W)",
        "    return add",
        ("tests/ops/test_pool.py::test_pixels_under_no_window_get_no_gradient",),
    ),
    Plant(
        "batchnorm_mask_of_sums_forgets_beta",  # of the gradients of gamma and beta alone
        _NUMBA + "norm.py",
        "_behind_relu(dy[m, c], x[m, c], mean[c], scale[c], beta[c], relu)\n            total",
        "_behind_relu(dy[m, c], x[m, c], mean[c], scale[c], ZERO, relu)\n            total",
        ("tests/ops/test_epilogues.py::test_batchnorm_and_relu",),
    ),
    Plant(
        "average_pooling_gradient_of_overlapping_windows",
        _NUMBA + "pool.py",
        "pixel[c] += gradient[c] * share",
        "pixel[c] = gradient[c] * share",
        ("tests/ops/test_pool.py",),
    ),
    Plant(
        "layernorm_variance_cancels",  # mean of squares less square of the mean
        _NUMBA + "norm.py",
        "        total += (row[c] - mean) * (row[c] - mean)\n    return total / F(row.size)",
        "        total += row[c] * row[c]\n    return total / F(row.size) - mean * mean",
        ("tests/ops/test_norm.py::test_layernorm_equals_tensorflow",),
    ),
    Plant(
        "cross_entropy_clips_before_it_divides",
        _NUMBA + "loss.py",
        "clip(probabilities[c] / S, epsilon)",
        "clip(probabilities[c], epsilon) / S",
        ("tests/ops/test_loss.py::test_cross_entropy_equals_tensorflow",),
    ),
    Plant(
        "amsgrad_divides_by_the_variance_of_now",
        _NUMBA + "update.py",
        "p[i] -= rate * new_m / (np.sqrt(new_u) + epsilon)",
        "p[i] -= rate * new_m / (np.sqrt(new_v) + epsilon)",
        ("tests/ops/test_update.py::test_adam_equals_tensorflow",),
    ),
    Plant(
        "lion_steps_along_its_next_momentum",  # of which the sign alone counts
        _NUMBA + "update.py",
        "direction = beta_1 * m[i] + (ONE - beta_1) * g[i]",
        "direction = beta_2 * m[i] + (ONE - beta_2) * g[i]",
        ("tests/ops/test_update.py::test_rules_are_the_reference_s_in_float64",),
    ),
    Plant(
        "nearest_resize_takes_the_upper_pixel",
        _NUMBA + "image.py",
        "iy = ((2 * oy + 1) * H) // (2 * OH)",
        "iy = (oy * H) // OH",
        ("tests/layers/test_augment.py::test_resizing_equals_keras",),
    ),
    Plant(
        "fused_gradient_of_windows_that_overlap_one_way",
        _NUMBA + "_panels.py",
        "if pool.SH < pool.KH or pool.SW < pool.KW or",
        "if (pool.SH < pool.KH and pool.SW < pool.KW) or",
        ("tests/ops/test_epilogues.py::test_convolution_and_pooling",),
    ),
    # --- loop and data
    Plant(
        "loss_counts_the_penalty_of_weights_after_their_step",
        "models/training.py",
        "        self._track(plan, penalties, loss, own, y, predictions, sample_weight, masks)\n"
        "        # The gradient of the scaled loss, penalties and all, which the optimizer divides back.\n"
        "        optimizer.apply([optimizer.scale_loss(gradient) for gradient in gradients.values()], list(gradients))\n",
        "        # The gradient of the scaled loss, penalties and all, which the optimizer divides back.\n"
        "        optimizer.apply([optimizer.scale_loss(gradient) for gradient in gradients.values()], list(gradients))\n"
        "        self._track(plan, penalties, loss, own, y, predictions, sample_weight, masks)\n",
        ("tests/models/test_against_keras.py::test_the_penalty_of_a_frozen_weight_does_not_count",),
    ),
    Plant(
        "predict_after_a_stopped_predict_stops_at_once",
        "models/training.py",
        "        self.stop_predicting = False\n        parts:",
        "        parts:",
        ("tests/models/test_api.py::test_a_stopped_evaluation_or_prediction_does_not_stop_the_next",),
    ),
    Plant(
        "test_on_batch_goes_on_with_the_means_of_before",
        "models/training.py",
        '            self.reset_metrics()\n            self._step("test_step")',
        '            self._step("test_step")',
        ("tests/models/test_against_keras.py::test_train_and_test_on_batch_follow_keras",),
    ),
    Plant(
        "each_epoch_has_the_order_of_the_first",
        "models/data_adapter.py",
        "np.array([self.seed, number], np.uint64)",
        "np.array([self.seed, 0], np.uint64)",
        ("tests/models/test_fit_arguments.py::test_shuffling_is_a_permutation_that_depends_on_seed_and_pass",),
    ),
    Plant(
        "class_weight_of_labels_in_a_column",  # (N, 1): all of them class 0
        "models/data_checks.py",
        "    if target.ndim > 1 and target.shape[-1] == 1:\n        target = target[..., 0]\n    elif",
        "    if",
        ("tests/models/test_fit_arguments.py::test_fit_is_keras",),
    ),
    Plant(
        "validation_split_is_rounded_down",  # and not what is trained with
        "models/data_checks.py",
        "at = math.floor(size * (1 - fraction))",
        "at = size - math.floor(size * fraction)",
        ("tests/models/test_fit_arguments.py::test_fit_is_keras",),
    ),
    Plant(
        "convolution_takes_a_pooling_of_the_other_data_format",
        "models/fusion.py",
        "return step.layer.data_format == after.layer.data_format",
        "return True",
        ("tests/models/test_fusion.py::test_a_pooling_of_the_other_data_format_is_no_epilogue",),
    ),
    Plant(
        "another_reader_of_a_softmax_gets_its_logits",
        "models/fusion.py",
        "readers[i] == 1 else None",
        "readers[i] >= 1 else None",
        ("tests/models/test_fit_arguments.py::test_an_output_that_is_read_twice_keeps_its_activation",),
    ),
    Plant(
        "loss_of_the_second_output_takes_the_firsts_weights",
        "models/output_losses.py",
        "weights[i] if len(weights) > 1 else weights[0]",
        "weights[0]",
        ("tests/models/test_api.py::test_every_output_s_loss_and_metric_have_their_own_weights",),
    ),
    Plant(
        "one_array_for_two_gradients_is_penalized_twice",  # a user's layer may return it
        "models/guards.py",
        "            copy = backends.empty(variable.shape, variable.dtype)\n"
        "            copy[...] = backends.asarray(grad)\n"
        "            copies.append(copy)\n",
        "            copies.append(backends.asarray(grad, variable.dtype))\n",
        ("tests/models/test_own_layers.py::test_one_array_may_be_the_gradient_of_two_weights",),
    ),
    Plant(
        "shuffles_of_a_repeated_pass_come_again_in_the_next",
        "data/dataset.py",
        "itertools.count(running[0] << 32)",
        "itertools.count(running[0])",
        ("tests/test_data.py::TestInTraining::test_no_order_of_a_repeated_data_set_comes_again",),
    ),
    Plant(
        "frozen_layer_within_a_layer_trains",
        "layers/base.py",
        "return [v for v in self.weights if v.trainable and id(v) not in frozen] if self.trainable else []",
        "return [v for v in self.weights if v.trainable] if self.trainable else []",
        ("tests/models/test_own_layers.py::test_the_penalties_of_held_weights_count_and_those_of_frozen_ones_do_not",),
    ),
    # --- callbacks, and training that is resumed
    Plant(
        "validation_iterator_resumes_a_batch_early",
        "models/data_adapter.py",
        'range(self.taken, state["taken"])',
        'range(self.taken + 1, state["taken"])',
        ("tests/test_resume.py::test_the_place_in_the_data_comes_along",),
    ),
    Plant(
        "batches_of_a_resumed_epoch_are_numbered_from_zero",
        "models/run.py",
        "enumerate(left, self.batch)",
        "enumerate(left)",
        ("tests/test_resume.py::test_batches_keep_their_numbers",),
    ),
    Plant(
        "damaged_backup_hides_the_one_before",
        "callbacks/checkpoint.py",
        "except (OSError, ValueError):",
        "except OSError:",
        ("tests/test_resume.py::test_a_backup_with_a_changed_bit_is_not_used",),
    ),
    Plant(
        "backup_is_written_before_the_others_have_acted",  # where it stands before them in the list
        "callbacks/callback_list.py",
        'for callback in sorted(self.callbacks, key=lambda callback: getattr(callback, "runs_last", False))',
        "for callback in self.callbacks",
        ("tests/test_resume.py::test_the_learning_rate_that_a_plateau_left_comes_along",),
    ),
    Plant(
        "averages_of_an_inner_optimizer_are_not_found",
        "callbacks/swap_ema_weights.py",
        'optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)',
        "optimizer = self.model.optimizer",
        ("tests/test_callbacks.py::test_averages_are_swapped_in_as_keras_does",),
    ),
    Plant(
        "early_stopping_resumes_with_fresh_patience",
        "callbacks/early_stopping.py",
        '("best", "wait", "stopped_epoch", "best_weights", "best_epoch")',
        '("best", "stopped_epoch", "best_weights", "best_epoch")',
        ("tests/test_resume.py::test_early_stopping_stops_where_it_would_have_and_gives_back_the_best",),
    ),
    # --- saving
    Plant(
        "large_models_with_many_slots_cannot_be_read",
        "saving/weights_file.py",
        "2**20 + 8 * own + 2**14 * len(owners)",
        "2**20 + 3 * own + 2**14 * len(owners)",
        ("tests/test_saving.py::test_a_large_model_with_every_slot_comes_back",),
    ),
    Plant(
        "archives_skip_no_mismatch",
        "saving/files.py",
        "read_archived_weights(archive, model, skip_mismatch)",
        "read_archived_weights(archive, model)",
        ("tests/test_saving.py::test_skip_mismatch_loads_the_rest",),
    ),
    Plant(
        "names_but_the_last_64_kilobytes_are_lost",  # of many layers in an older file
        "saving/legacy_h5.py",
        'found += list(group.attrs[f"{attribute}{index}"])',
        'found = list(group.attrs[f"{attribute}{index}"])',
        ("tests/test_saving.py::test_names_that_do_not_fit_into_one_attribute",),
    ),
    Plant(
        "optimizer_of_other_slots_is_skipped_silently",
        "saving/weights_file.py",
        'return int(array_at(optimizer_group, "0", ())) == 0',
        'return int(array_at(optimizer_group, "0", ())) >= 0',
        ("tests/test_saving.py::test_another_optimizer_s_state_is_skipped_with_a_warning",),
    ),
    Plant(
        "second_random_generator_of_a_layer_is_not_saved",
        "saving/weights_file.py",
        "enumerate(layer._seed_generators):",
        "enumerate(layer._seed_generators[:1]):",
        ("tests/test_saving.py::test_each_random_generator_of_a_layer_comes_back",),
    ),
    # --- losses and metrics
    Plant(
        "sample_weights_in_a_column_are_refused",  # (N, 1)
        "losses/base.py",
        "            if given.ndim == len(shape) + 1 and given.shape[-1] == 1:\n"
        "                given = given.reshape(given.shape[:-1])\n",
        "",
        ("tests/test_losses.py::test_a_weight_a_sample_may_have_an_axis_of_one",),
    ),
    Plant(
        "dice_has_twice_its_epsilon",  # which masks that are all but empty show
        "losses/similarity.py",
        "return 0.5, 0.5, config.epsilon() / 2",
        "return 0.5, 0.5, config.epsilon()",
        ("tests/test_losses.py::test_value_and_gradient_of_further_losses_are_keras",),
    ),
    Plant(
        "focal_gradient_without_gamma_where_all_is_right",  # 0 times 1 / 0
        "backends/reference/loss.py",
        "slope = gamma * miss ** (gamma - 1) if gamma else 0",
        "slope = gamma * miss ** (gamma - 1)",
        ("tests/test_losses.py::test_a_focal_loss_without_gamma_is_the_cross_entropy",),
    ),
    Plant(
        "f_score_calls_every_class_of_an_empty_row",
        "metrics/fscore.py",
        "called = (y_pred >= y_pred.max(axis=-1, keepdims=True)) & (abs(y_pred) > 1e-9)",
        "called = y_pred >= y_pred.max(axis=-1, keepdims=True)",
        ("tests/test_metrics.py::test_a_row_of_zeros_calls_no_class",),
    ),
    Plant(
        "r2_of_constant_targets_is_minus_infinity",
        "metrics/correlation.py",
        "            scores = np.where(np.isinf(scores), 0, scores)\n",
        "",
        ("tests/test_metrics.py::test_an_r2_of_targets_that_are_all_alike_is_keras_s",),
    ),
    Plant(
        "classes_that_never_appear_lower_the_iou",
        "metrics/iou.py",
        "shares.sum() / ((union > 1e-9).sum() + config.epsilon())",
        "shares.sum() / (union.size + config.epsilon())",
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    Plant(
        "sorted_classes_beyond_the_k_th_count",
        "metrics/accuracy.py",
        "(labels[..., None] == predictions[..., :k])",
        "(labels[..., None] == predictions)",
        ("tests/test_metrics.py::test_top_k_of_sorted_class_numbers",),
    ),
    # --- optimizers
    Plant(
        "muon_scales_wide_matrices_by_their_rows",
        "backends/reference/update.py",
        "max(p.shape) ** 0.5 * rms_rate",
        "p.shape[0] ** 0.5 * rms_rate",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "lamb_leaves_zero_weights_as_they_are",
        "backends/reference/update.py",
        "length / (change_length + (change_length == 0)), 1) * change",
        "length / (change_length + (change_length == 0)), 0) * change",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "adafactor_s_rate_has_no_bound",
        "backends/reference/update.py",
        "rate = xp.minimum(learning_rate, 1 / xp.sqrt(1.0 * step))",
        "rate = learning_rate",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "schedule_free_warmup_never_ends",
        "backends/reference/update.py",
        "rate = learning_rate * xp.minimum(step / warmup_steps, 1) if warmup_steps else learning_rate",
        "rate = learning_rate * (step / warmup_steps) if warmup_steps else learning_rate",
        ("tests/test_optimizers.py::test_schedule_free_steps_are_the_paper_s",),
    ),
    Plant(
        "ftrl_shrinks_by_half",
        "backends/reference/update.py",
        "z += g + 2 * shrinkage * p - (now",
        "z += g + shrinkage * p - (now",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "cosine_without_a_peak_waits_for_its_warmup",
        "optimizers/schedules.py",
        "peak, start = self.initial_learning_rate, 0",
        "peak, start = self.initial_learning_rate, self.warmup_steps",
        ("tests/test_schedules.py::test_rates_are_keras",),
    ),
    Plant(
        "copied_optimizer_spares_the_original_s_variables",
        "optimizers/base.py",
        "twin._undecayed = {copied(variable) for variable in excluded}, names",
        "twin._undecayed = excluded, names",
        ("tests/models/test_copies.py::test_a_model_and_its_optimizer_stay_a_pair_in_any_order",),
    ),
    # --- ops, tapes, traced calls, augmentation, explanations
    Plant(
        "updates_that_lost_get_the_gradient_too",
        "ops/indexing.py",
        "share[key] * (updates == y[key])",
        "share[key]",
        ("tests/test_ops.py::test_values_and_gradients",),
    ),
    Plant(
        "end_of_an_inner_tape_ends_the_outer",
        "tape.py",
        "watching.tapes = tuple(tape for tape in watching.tapes if tape is not self)",
        "watching.tapes = ()",
        ("tests/test_tape.py::test_a_gradient_of_a_gradient_is_refused_where_it_is_asked_for",),
    ),
    Plant(
        "functional_model_believes_what_a_call_says_of_training",
        "layers/tracing.py",
        "(False, True) if training is None or not watching.tracing else (bool(training),)",
        "(False, True) if training is None else (bool(training),)",
        ("tests/models/test_traced.py::test_training_said_by_a_call",),
    ),
    Plant(
        "shear_along_columns_keeps_its_sign",
        "layers/augment.py",
        "draws.uniform(words[:, 2], *self.y_factor) * sign",
        "draws.uniform(words[:, 2], *self.y_factor)",
        ("tests/layers/test_augment.py::test_half_of_the_images_are_sheared_the_other_way",),
    ),
    Plant(
        "cutmix_takes_a_share_of_each_side",  # in place of the area
        "layers/mixing.py",
        "share = np.sqrt(1 - self.own_shares(words))",
        "share = 1 - self.own_shares(words)",
        ("tests/layers/test_color.py::test_a_cut_is_as_large_as_the_label_says",),
    ),
    Plant(
        "explained_step_is_not_of_the_scaled_loss",
        "study/explain/collect.py",
        "gradients = [twin.optimizer.scale_loss(of_weights[variable]) for variable in trained]",
        "gradients = [of_weights[variable] for variable in trained]",
        ("tests/test_explain.py::test_the_next_step_is_the_optimizers",),
    ),
]
