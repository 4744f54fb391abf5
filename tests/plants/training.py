"""Bugs in the training loop, in losses, metrics, optimizers and layers."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]


PLANTS = [
    # --- loop
    Plant(
        "fit_after_a_stopped_fit_stops_at_once",
        "models/run.py",
        "        model.stop_training = False\n        source.resume",
        "        source.resume",
        ("tests/models/test_api.py::test_a_stopped_fit_does_not_stop_the_next",),
    ),
    Plant(
        "initial_epoch_moves_the_end",
        "models/run.py",
        "for epoch in range(first, last):",
        "for epoch in range(first, first + last):",
        ("tests/test_resume.py::test_a_checkpoint_of_weights_goes_on_too",),
    ),
    Plant(
        "second_fit_repeats_the_orders_of_the_first",
        "models/run.py",
        "source.resume(model._passes_done)",
        "source.resume(0)",
        ("tests/test_resume.py::test_fit_again_goes_on_with_new_orders",),
    ),
    Plant(
        "evaluate_runs_layers_as_in_training",
        "models/training.py",
        "outputs = plan.forward(self._feed(x), False, penalties=penalties, masks=masks)",
        "outputs = plan.forward(self._feed(x), True, penalties=penalties, masks=masks)",
        ("tests/models/test_against_keras.py::test_training_follows_keras",),
    ),
    Plant(
        "mask_of_a_batch_normalization_is_no_part_of_its_gradient",
        "layers/normalization.py",
        "dvariance = -0.5 * scale * inverse_deviation * dgamma",
        "dvariance = 0 * dgamma",
        ("tests/layers/test_masks.py::test_layers_look_at_masks_as_keras_s",),
    ),
    Plant(
        "masked_steps_count_in_the_mean_of_a_loss",
        "losses/base.py",
        "weights *= _reciprocal(weights.size if ignored is None else (~ignored).sum())",
        "weights *= _reciprocal(weights.size)",
        ("tests/layers/test_masks.py::test_reductions_of_masked_losses",),
    ),
    Plant(
        "loss_is_the_mean_over_batches",  # whatever their sizes
        "models/output_losses.py",
        "parts = [(self._total, total * size), (self._samples, size)]",
        "parts = [(self._total, total), (self._samples, 1)]",
        ("tests/models/test_against_keras.py::test_training_follows_keras",),
    ),
    Plant(
        "shared_layer_keeps_its_last_gradient",
        "models/plan.py",
        "of_weights[variable] = grad if before is None else ops.add_forward([before, grad])",
        "of_weights[variable] = grad",
        ("tests/models/test_against_keras.py::test_graphs_with_several_outputs_follow_keras",),
    ),
    Plant(
        "loss_weights_without_effect_on_gradients",
        "models/output_losses.py",
        "gradients.append(d if self.factors[i] == 1.0 else d * d.dtype.type(self.factors[i]))",
        "gradients.append(d)",
        ("tests/models/test_against_keras.py::test_graphs_with_several_outputs_follow_keras",),
    ),
    Plant(
        "frozen_batchnorm_goes_on_averaging",
        "layers/normalization.py",
        "of_the_batch, correction = training and self.trainable, None",
        "of_the_batch, correction = training, None",
        ("tests/models/test_against_keras.py::test_class_weight_and_frozen_layers_follow_keras",),
    ),
    Plant(
        "dict_of_inputs_in_its_own_order",
        "models/data_checks.py",
        "parts = [data[name] for name in names]",
        "parts = [part for name, part in data.items() if name in names]",
        ("tests/models/test_api.py::test_structures_of_inputs_and_outputs",),
    ),
    Plant(
        "activity_penalty_gradient_not_by_batch",
        "models/guards.py",
        "return self.layer.backward(dy + penalty / len(y), inner, *need_dx)",
        "return self.layer.backward(dy + penalty, inner, *need_dx)",
        ("tests/models/test_against_keras.py::test_regularizers_and_constraints_follow_keras",),
    ),
    # --- losses
    Plant(
        "label_smoothing_over_the_other_classes",
        "losses/crossentropy.py",
        "_smooth(targets, self.label_smoothing, 1 / targets.shape[1])",
        "_smooth(targets, self.label_smoothing, 1 / (targets.shape[1] - 1))",
        ("tests/test_losses.py::test_value_and_gradient_are_keras",),
    ),
    Plant(
        "ignored_labels_count_in_the_mean",
        "losses/base.py",
        "_reciprocal(weights.size if ignored is None else (~ignored).sum())",
        "_reciprocal(weights.size)",
        ("tests/test_losses.py::test_value_and_gradient_are_keras",),
    ),
    Plant(
        "mean_with_sample_weight_divides_by_the_number",
        "losses/base.py",
        "weights *= _reciprocal(weights.sum())",
        "weights *= _reciprocal(weights.size)",
        ("tests/test_losses.py::test_value_and_gradient_are_keras",),
    ),
    Plant(
        "sparse_cross_entropy_gradient_where_clipped",
        "losses/crossentropy.py",
        "        dlogits *= inside\n",
        "",
        ("tests/test_losses.py::test_value_and_gradient_are_keras",),
    ),
    Plant(
        "saved_loss_forgets_ignore_class",
        "losses/crossentropy.py",
        '_own_arguments = ("from_logits", "ignore_class")',
        '_own_arguments = ("from_logits",)',
        ("tests/test_losses.py::test_config_round_trip_is_keras",),
    ),
    # --- metrics
    Plant(
        "auc_thresholds_end_at_zero_and_one",
        "metrics/confusion.py",
        "self.thresholds = [-config.epsilon(), *(float(each) for each in inner), 1 + config.epsilon()]",
        "self.thresholds = [0.0, *(float(each) for each in inner), 1.0]",
        ("tests/test_metrics.py::test_what_lies_on_a_threshold_counts_as_in_keras",),
    ),
    Plant(
        "precision_counts_what_lies_on_the_threshold",
        "metrics/confusion.py",
        "[order], y_pred).reshape",
        '[order], y_pred, "right").reshape',
        ("tests/test_metrics.py::test_what_lies_on_a_threshold_counts_as_in_keras",),
    ),
    Plant(
        "iou_divides_by_one_of_the_areas",
        "metrics/iou.py",
        "matrix.sum(axis=0) + matrix.sum(axis=1) - hits",
        "matrix.sum(axis=0)",
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    Plant(
        "a_share_at_a_share_forgets_equality",
        "metrics/confusion.py",
        "reached = rates[self._demanded] >= self.value",
        "reached = rates[self._demanded] > self.value",
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    Plant(
        "f_score_weighs_precision_for_recall",
        "metrics/fscore.py",
        "(square * precision + recall + config.epsilon())",
        "(precision + square * recall + config.epsilon())",
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    Plant(
        "a_log_cosh_metric_is_better_where_it_is_larger",
        "metrics/base.py",
        'self._direction = "down"',
        'self._direction = "up"',
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    Plant(
        "nadam_looks_no_step_ahead",
        "backends/reference/update.py",
        "of_mean, of_grad, of_variance = next_mu / (1 - product * next_mu)",
        "of_mean, of_grad, of_variance = mu / (1 - product * mu)",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "muon_decays_like_adam",
        "optimizers/muon.py",
        "(self.adam_weight_decay, self.weight_decay)):",
        "(self.weight_decay, self.weight_decay)):",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "a_scaled_loss_grows_a_step_late",
        "optimizers/loss_scale.py",
        "int(self.step_counter) == self.dynamic_growth_steps - 1",
        "int(self.step_counter) == self.dynamic_growth_steps",
        ("tests/test_optimizers.py::test_a_scaled_loss_skips_what_overflows_and_grows_after_good_steps",),
    ),
    Plant(
        "rows_are_appended_before_their_place_is_known",
        "callbacks/checkpoint.py",
        "isinstance(callback, CSVLogger) and callback.append",
        "isinstance(callback, CSVLogger) and not callback.append",
        ("tests/test_resume.py::test_rows_appended_before_the_first_backup_are_written_once",),
    ),
    Plant(
        "averages_stay_in_the_model_after_an_evaluation",
        "callbacks/swap_ema_weights.py",
        "    def on_test_end(self, logs: Logs = None) -> None:\n        self._swap(False)",
        "    def on_test_end(self, logs: Logs = None) -> None:\n        pass",
        ("tests/test_callbacks.py::test_averages_are_swapped_in_as_keras_does",),
    ),
    Plant(
        "top_k_takes_one_more",
        "metrics/accuracy.py",
        "((predictions > score).sum(axis=-1) < k)",
        "((predictions > score).sum(axis=-1) <= k)",
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    Plant(
        "metric_within_a_metric_is_not_reset",
        "metrics/base.py",
        "        for variable in self.variables:\n            variable.value.fill(0)",
        "        for variable in self._variables:\n            variable.value.fill(0)",
        ("tests/test_metrics.py::test_a_users_metric_keeps_its_state",),
    ),
    Plant(
        "weighted_metric_of_the_second_output_takes_the_firsts_weights",
        "models/output_metrics.py",
        "                weight = weights[output] if len(weights) > 1 else weights[0]",
        "                weight = weights[0]",
        ("tests/models/test_api.py::test_every_output_s_loss_and_metric_have_their_own_weights",),
    ),
    Plant(
        "root_mean_squared_error_is_a_mean_of_roots",
        "metrics/errors.py",
        "super().update_state(losses.mean_squared_error(y_true, y_pred), sample_weight)\n\n"
        "    def result(self) -> Any:\n"
        "        return as_tensor(np.sqrt(super().result()))",
        "super().update_state(np.sqrt(losses.mean_squared_error(y_true, y_pred)), sample_weight)\n\n"
        "    def result(self) -> Any:\n"
        "        return super().result()",
        ("tests/test_metrics.py::test_results_over_two_batches_are_keras",),
    ),
    # --- optimizers
    Plant(
        "schedule_is_a_step_ahead",
        "optimizers/base.py",
        "return self._learning_rate(self._iterations)",
        "return self._learning_rate(self._iterations + 1)",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "accumulated_gradients_are_summed_not_averaged",
        "optimizers/base.py",
        "_scaled(total, 1 / steps)",
        "_scaled(total, 1.0)",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "undecayed_names_match_at_their_beginning_only",
        "optimizers/base.py",
        "names.search(variable.name)",
        "names.match(variable.name)",
        ("tests/test_optimizers.py::test_weights_are_excluded_from_decay_by_what_stands_anywhere_in_their_names",),
    ),
    Plant(
        "averages_of_weights_begin_at_zero",
        "optimizers/base.py",
        "self.ema_momentum if updates else 0.0",
        "self.ema_momentum",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "averages_of_weights_written_back_a_step_early",
        "optimizers/base.py",
        "(updates + 1) % self.ema_overwrite_frequency == 0",
        "(updates + 2) % self.ema_overwrite_frequency == 0",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "adamw_decays_as_pytorchs",  # 0.01, where Keras has 0.004
        "optimizers/adam.py",
        "weight_decay: float = 0.004,",
        "weight_decay: float = 0.01,",
        ("tests/test_optimizers.py::test_float32_stays_with_keras_and_in_float32",),
    ),
    Plant(
        "polynomial_decay_begins_its_next_cycle_early",  # at a whole multiple of decay_steps
        "optimizers/schedules.py",
        "np.maximum(np.ceil(step / self.decay_steps), 1)",
        "(np.floor(step / self.decay_steps) + 1)",
        ("tests/test_schedules.py::test_rates_are_keras",),
    ),
    # --- layers
    Plant(
        "truncated_normal_without_its_correction",
        "initializers.py",
        "stddev / _TRUNCATED_STDDEV",
        "stddev",
        ("tests/test_initializers.py::test_distributions_are_what_their_names_say",),
    ),
    Plant(
        "random_crop_never_takes_the_last_row",
        "layers/augment.py",
        "image[0] - self.height + 1))",
        "max(image[0] - self.height, 1)))",
        ("tests/layers/test_augment.py::test_crops_are_windows_at_all_places",),
    ),
]
