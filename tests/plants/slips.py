"""Slips: a wrong variable, a bound that is off by one, an argument or a state that is passed over, a missing copy.

Sixty were written down before any was tried; five turned out to change nothing, and are not here. Of the 45 outside the
kernels the tests of their areas caught 29, tried several at a time, and 16 got tests, which are named; of the ten in
kernels, tried one at a time, 9, and one got a test.
"""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

_NUMBA = "backends/numba_cpu/"
_OPTIMIZERS = ("tests/test_optimizers.py",)
_CALLBACKS = ("tests/test_callbacks.py",)
_METRICS = ("tests/test_metrics.py",)
_LOSSES = ("tests/test_losses.py",)
_DATA = ("tests/test_data.py",)
_PREPROCESSING = ("tests/test_preprocessing.py",)
_SAVING = ("tests/test_saving.py",)
_RESUME = ("tests/test_resume.py",)

PLANTS = [
    # --- kernels
    Plant(
        "one_by_one_convolution_that_strides_across_is_taken_for_dense",
        _NUMBA + "conv.py",
        "window.strides == (1, 1) and not any",
        "window.strides[0] == 1 and not any",
        ("tests/ops/test_conv.py::test_conv2d_of_single_pixels_equals_tensorflow",),
    ),
    Plant(
        "winograd_forward_without_the_images_of_an_unfinished_group",
        _NUMBA + "winograd.py",
        "    for first in range(0, N, images):\n        count = min(images, N - first)\n"
        "        parallel_for(count, count * work, _transform_image",
        "    for first in range(0, N - images + 1, images):\n        count = min(images, N - first)\n"
        "        parallel_for(count, count * work, _transform_image",
        ("tests/ops/test_winograd.py",),
    ),
    Plant(
        "dense_forward_without_its_last_blocks",  # where tasks share them unevenly
        _NUMBA + "dense.py",
        "for block in range(part_of * blocks // parts, (part_of + 1) * blocks // parts):\n            first = block * NR",
        "for block in range(part_of * (blocks // parts), (part_of + 1) * (blocks // parts)):\n            first = block * NR",
        ("tests/ops/test_dense.py",),
    ),
    Plant(
        "pointwise_gradients_without_their_last_rows",
        _NUMBA + "pointwise.py",
        "begin, end = chunk * M // chunks, (chunk + 1) * M // chunks",
        "begin, end = chunk * (M // chunks), (chunk + 1) * (M // chunks)",
        ("tests/ops/test_dense.py",),
    ),
    Plant(
        "depthwise_rectangle_walked_down_writes_across",
        _NUMBA + "depthwise.py",
        "lines, line_y, line_x, pixels, pixel_y, pixel_x = pixels, pixel_y, pixel_x, lines, line_y, line_x",
        "lines, line_x, pixels, pixel_x = pixels, pixel_x, lines, line_x",
        ("tests/ops/test_depthwise.py",),
    ),
    Plant(
        "max_pooling_of_padding_alone_keeps_the_window_before",
        _NUMBA + "pool.py",
        "if ky_begin == ky_end or kx_begin == kx_end:",
        "if ky_begin == ky_end and kx_begin == kx_end:",
        ("tests/ops/test_pool.py",),
    ),
    Plant(
        "batchnorm_of_more_than_2048_channels_has_runs_of_no_rows",
        _NUMBA + "norm.py",
        "run = max(1, RUN_BYTES // (4 * C))",
        "run = RUN_BYTES // (4 * C)",
        ("tests/ops/test_norm.py",),
    ),
    Plant(
        "clipped_nan_becomes_a_probability",
        _NUMBA + "loss.py",
        "return epsilon if p < epsilon else (",
        "return epsilon if not p >= epsilon else (",
        ("tests/ops/test_loss.py::test_a_nan_is_not_clipped_to_a_probability",),
    ),
    Plant(
        "norm_of_large_gradients_overflows",  # squares in float32
        _NUMBA + "update.py",
        "square += np.float64(x[i]) * x[i]",
        "square += np.float64(x[i] * x[i])",
        ("tests/ops/test_update.py::test_norms_whose_squares_no_float32_holds",),
    ),
    Plant(
        "hard_silu_gradient_where_it_becomes_the_identity",
        _NUMBA + "elementwise.py",
        "return dy if x >= THREE else inner",
        "return dy if x > THREE else inner",
        ("tests/ops/test_elementwise.py",),
    ),
    # --- loop
    Plant(
        "predictions_for_one_batch_are_views_of_the_data",  # where the model hands them on
        "models/training.py",
        'outputs = _copied(self._plan_for("predict").forward(self._feed(arrays), False))',
        'outputs = [backends.to_numpy(one) for one in self._plan_for("predict").forward(self._feed(arrays), False)]',
        ("tests/models/test_api.py::test_predictions_are_no_views_of_the_data",),
    ),
    Plant(
        "sequence_is_shuffled_alike_in_each_epoch",
        "models/data_adapter.py",
        "np.array([self.seed, self.passes], np.uint64)",
        "np.array([self.seed, 0], np.uint64)",
        ("tests/models/test_fit_arguments.py", "tests/models/test_api.py", "tests/test_resume.py"),
    ),
    Plant(
        "column_for_a_vector_of_samples_keeps_its_axis",
        "models/compile.py",
        "elif array.ndim == len(demanded) + 1 and array.shape[-1] == 1:",
        "elif array.ndim == len(demanded) + 1 and array.shape[-1] == 0:",
        ("tests/models/test_api.py", "tests/models/test_bad_inputs.py", "tests/models/test_against_keras.py"),
    ),
    Plant(
        "own_test_step_goes_on_with_the_means_of_before",
        "models/compile.py",
        'own = self._has_own("train_step") or self._has_own("test_step")',
        'own = self._has_own("train_step")',
        ("tests/models/test_own_steps.py::test_a_test_step_alone",),
    ),
    Plant(
        "nan_is_named_by_its_place_in_a_chunk",
        "models/data_checks.py",
        "in sample {start + place[0]}, at",
        "in sample {place[0]}, at",
        ("tests/models/test_bad_inputs.py",),
    ),
    Plant(
        "loss_weights_in_a_dict_belong_to_outputs_in_its_order",
        "models/output_losses.py",
        "        return [given.get(name) for name in names]",
        "        return [*given.values(), *[None] * (len(names) - len(given))]",
        ("tests/models/test_against_keras.py::test_graphs_with_several_outputs_follow_keras",),
    ),
    # --- data
    Plant(
        "skipping_beyond_the_end_leaves_fewer_than_nothing",
        "data/dataset.py",
        "known = max(self._cardinality - count, 0) if self._cardinality >= 0 else",
        "known = self._cardinality - count if self._cardinality >= 0 else",
        _DATA,
    ),
    Plant(
        "data_zipped_with_endless_ones_have_no_end",
        "data/dataset.py",
        "min(finite) if finite else INFINITE_CARDINALITY",
        "min(numbers) if finite else INFINITE_CARDINALITY",
        _DATA,
    ),
    Plant(
        "number_of_a_shard_is_rounded_down",
        "data/dataset.py",
        "known = len(builtins.range(index, self._cardinality, num_shards)) if",
        "known = self._cardinality // num_shards if",
        _DATA,
    ),
    Plant(
        "pictures_to_validate_on_come_in_another_order_each_time",
        "data/directory.py",
        "build(validation, False)]",
        "build(validation, shuffle)]",
        _DATA,
    ),
    Plant(
        "right_part_of_divided_data_begins_where_the_left_one_ends",  # where both together are not all of it
        "data/batches.py",
        "elements[len(elements) - right :]",
        "elements[left : left + right]",
        (*_DATA, "tests/test_utils.py"),
    ),
    # --- older generators of images
    Plant(
        "rounds_of_statistics_change_each_image_in_turn",
        "preprocessing/image/augmentation.py",
        "for _ in range(rounds) for image in x]",
        "for image in x for _ in range(rounds)]",
        _PREPROCESSING,
    ),
    Plant(
        "targets_that_are_the_input_are_the_very_array",
        "preprocessing/image/iterators.py",
        "y: Any = x.copy()",
        "y: Any = x",
        ("tests/test_preprocessing.py::TestFlowFromFiles::test_targets_that_are_the_input_may_be_written_to",),
    ),
    Plant(
        "weights_of_a_frame_are_those_of_its_first_rows",
        "preprocessing/image/iterators.py",
        "self.weights = self.weights[rows]",
        "self.weights = self.weights[: len(rows)]",
        ("tests/test_preprocessing.py::TestFlowFromFiles::test_dataframe",),
    ),
    Plant(
        "order_of_a_running_epoch_is_not_kept",
        "preprocessing/image/iterators.py",
        '"index_array": self.index_array,',
        '"index_array": None,',
        (*_RESUME, *_PREPROCESSING),
    ),
    # --- saving
    Plant(
        "range_of_the_input_is_not_read",
        "saving/files.py",
        "        model.input_range = read_archived_range(archive)\n",
        "",
        ("tests/test_cli.py::test_the_range_of_input_goes_with_the_file",),
    ),
    Plant(
        "seed_of_the_order_of_samples_is_not_restored",
        "models/training.py",
        '        self._shuffle_seed = state.get("shuffle_seed", self._shuffle_seed)\n',
        "",
        (*_RESUME, *_SAVING),
    ),
    Plant(
        "arrays_of_a_state_cannot_be_written_to",
        "saving/state.py",
        "math.prod(shape), at).reshape(shape).copy()",
        "math.prod(shape), at).reshape(shape)",
        _RESUME,
    ),
    Plant(
        "arrays_of_a_config_lose_their_type",
        "serialization.py",
        'return np.array(inner["value"], dtype=inner["dtype"])',
        'return np.array(inner["value"])',
        ("tests/test_utils.py::test_an_array_in_a_config_keeps_its_type",),
    ),
    Plant(
        "loaded_model_forgets_its_weighted_metrics",
        "models/compile.py",
        '            weighted_metrics=_map_leaves(_metric_of, config.get("weighted_metrics")),\n',
        "",
        _SAVING,
    ),
    Plant(
        "frozen_sequential_thaws_when_it_is_loaded",
        "models/sequential.py",
        '        model._trainable = config.get("trainable", True)\n',
        "",
        ("tests/test_saving.py::test_what_was_frozen_as_a_whole_stays_frozen",),
    ),
    # --- callbacks
    Plant(
        "histograms_begin_with_the_last_epoch_of_a_period",
        "callbacks/tensorboard.py",
        "epoch % self.histogram_freq == 0",
        "(epoch + 1) % self.histogram_freq == 0",
        ("tests/test_callbacks.py::test_tensorboard_writes_what_keras_s_writes",),
    ),
    Plant(
        "older_one_of_two_backups_stays_behind",
        "callbacks/checkpoint.py",
        "for path in (self._path_before, self._path):",
        "for path in (self._path,):",
        ("tests/test_callbacks.py::test_neither_of_two_backups_stays",),
    ),
    Plant(
        "lookahead_counts_on_in_the_next_fit",
        "callbacks/lookahead.py",
        "        self._slow, self._step = None, 0\n",
        "        self._slow = None\n",
        ("tests/test_callbacks.py::test_lookahead_counts_the_steps_of_each_fit",),
    ),
    Plant(
        "plateau_remembers_the_best_of_the_fit_before",
        "callbacks/schedule.py",
        "    def on_train_begin(self, logs: Logs = None) -> None:\n        self.best = None\n",
        "    def on_train_begin(self, logs: Logs = None) -> None:\n",
        ("tests/test_callbacks.py::test_a_callback_serves_a_second_fit_as_keras_s_does",),
    ),
    Plant(
        "first_step_counts_in_the_pace",
        "callbacks/progbar.py",
        "return (now - self._after_first_step) / (self._seen - 1)",
        "return (now - self._after_first_step) / self._seen",
        ("tests/test_callbacks.py::test_the_first_step_does_not_count_in_the_pace",),
    ),
    # --- losses and metrics
    Plant(
        "wrapped_loss_forgets_the_arguments_of_its_function",
        "losses/base.py",
        '"fn": serialization.serialize(self.fn), **serialization.serialize(self._fn_kwargs)}',
        '"fn": serialization.serialize(self.fn)}',
        ("tests/test_losses.py::test_the_arguments_of_a_wrapped_function_come_back",),
    ),
    Plant(
        "binary_labels_are_smoothed_by_their_columns",
        "losses/crossentropy.py",
        "_smooth(targets, self.label_smoothing, 1 / 2)",
        "_smooth(targets, self.label_smoothing, 1 / targets.shape[1])",
        _LOSSES,
    ),
    Plant(
        "focal_loss_of_logits_without_its_sigmoid_s_slope",
        "losses/focal.py",
        "return ops.sigmoid_backward(dp, residual) if self.from_logits else dp",
        "return dp",
        _LOSSES,
    ),
    Plant(
        "weights_of_labels_count_in_the_mean_of_areas_alone",  # and not where all labels are one
        "metrics/confusion.py",
        "return y_true, y_pred, weights if self.multi_label or self.label_weights is None else weights * self.label_weights",
        "return y_true, y_pred, weights",
        _METRICS,
    ),
    Plant(
        "probability_on_the_threshold_is_no_pixel",
        "metrics/iou.py",
        "y_pred >= self.threshold",
        "y_pred > self.threshold",
        ("tests/test_metrics.py::test_what_lies_on_a_threshold_counts_as_in_keras",),
    ),
    Plant(
        "sorted_classes_are_scores_after_loading",
        "metrics/accuracy.py",
        '        if not config["from_sorted_ids"]:\n',
        '        if config["from_sorted_ids"]:\n',
        _METRICS,
    ),
    Plant(
        "second_metric_of_one_name_replaces_the_first",
        "models/output_metrics.py",
        "            if taken[name] > 1:\n                name += ",
        "            if taken[name] > 2:\n                name += ",
        ("tests/models/test_against_keras.py::test_metrics_of_one_name_have_keras_s_names_in_the_logs",),
    ),
    # --- optimizers, initializers, regularizers
    Plant(
        "averages_of_accumulated_steps_count_calls",
        "optimizers/base.py",
        "updates = int(self.iterations)",
        "updates = int(self._iterations)",
        _OPTIMIZERS,
    ),
    Plant(
        "averages_under_a_scaled_loss_are_not_written_back",
        "optimizers/loss_scale.py",
        "        self.inner_optimizer.finalize_variable_values(var_list)",
        "        super().finalize_variable_values(var_list)",
        ("tests/test_optimizers.py::test_averages_under_a_scaled_loss_are_written",),
    ),
    Plant(
        "groups_do_not_divide_by_the_scale_of_the_loss",
        "optimizers/multi.py",
        "            optimizer.loss_scale_factor = self.loss_scale_factor\n",
        "",
        _OPTIMIZERS,
    ),
    Plant(
        "cycle_of_a_polynomial_begins_with_a_division_by_zero",
        "optimizers/schedules.py",
        "np.maximum(np.ceil(step / self.decay_steps), 1) if",
        "np.ceil(step / self.decay_steps) if",
        ("tests/test_schedules.py",),
    ),
    Plant(
        "coupled_decay_takes_excluded_weights_too",
        "optimizers/sgd.py",
        "self.decoupled_weight_decay or not self._decays(variable)",
        "self.decoupled_weight_decay",
        _OPTIMIZERS,
    ),
    Plant(
        "recipe_trains_its_whitening_kernel_with_the_bias",  # as it did, and nothing failed but the accuracy
        "recipes.py",
        "whitening.bias.trainable = epoch",
        "whitening.trainable = epoch",
        ("tests/test_recipes.py::test_the_first_bias_is_trained_for_some_epochs",),
    ),
    Plant(
        "recipe_takes_the_momentum_of_keras",  # as it did
        "recipes.py",
        '"rate_in_momentum": False}',
        '"rate_in_momentum": True}',
        ("tests/test_recipes.py::test_a_run_ends_with_the_program_s_weights",),
    ),
    Plant(
        "momentum_of_gradients_takes_the_rate_in_all_the_same",
        "optimizers/sgd.py",
        "update_(steps, grads, momentums, -1.0, self.momentum)\n        ops.sgd_update_(params, steps, learning_rate)",
        "update_(steps, grads, momentums, -learning_rate, self.momentum)\n        ops.sgd_update_(params, steps, 1.0)",
        ("tests/test_optimizers.py::test_momentum_of_gradients_is_pytorch_s",),
    ),
    Plant(
        "orthogonal_matrices_have_the_signs_of_their_factorization",
        "initializers.py",
        "        q = q * np.sign(np.diag(r))\n",
        "",
        ("tests/test_initializers.py",),
    ),
    Plant(
        "saved_orthogonal_regularizer_forgets_its_mode",
        "regularizers.py",
        'return {"factor": self.factor, "mode": self.mode}',
        'return {"factor": self.factor}',
        ("tests/test_regularizers.py",),
    ),
    # --- layers
    Plant(
        "variance_of_batches_that_differ_is_too_large",
        "layers/preprocessing.py",
        "difference**2 * share * (1 - share)",
        "difference**2 * share",
        ("tests/layers/test_table.py::test_normalization_adapts",),
    ),
    Plant(
        "averages_of_a_renormalization_begin_at_zero",
        "layers/normalization.py",
        'add_statistic("renorm_mean", self.moving_mean_initializer)',
        'add_statistic("renorm_mean", "zeros")',
        ("tests/layers/test_table.py::test_statistics_of_a_renormalization_begin_as_in_keras",),
    ),
    Plant(
        "scores_are_scaled_by_the_size_of_the_values",
        "layers/attention.py",
        "1 / math.sqrt(self.key_dim)",
        "1 / math.sqrt(self.value_dim)",
        ("tests/layers/test_attention.py::test_multi_head_attention",),
    ),
    # --- study and command line
    Plant(
        "moved_views_are_moved_one_way_alone",
        "study/tta.py",
        "for start in (0, 2 * translate):",
        "for start in (0, translate):",
        ("tests/test_study.py::test_predict_tta_is_the_mean_over_scipy_s_shifts",),
    ),
    Plant(
        "history_counts_epochs_from_zero",
        "cli/train.py",
        "writer.writerows([epoch + 1, *values]",
        "writer.writerows([epoch, *values]",
        ("tests/test_cli.py",),
    ),
]
