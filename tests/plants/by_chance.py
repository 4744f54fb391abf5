"""What changes drawn by chance (`python -m tests.mutants`) showed that no test saw, with the test that sees it now."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

PLANTS = [
    Plant(
        "a_bar_is_not_flushed",
        "callbacks/progbar.py",
        "        self._console.file.flush()\n",
        "        pass\n",
        ("tests/test_callbacks.py::test_bar_on_a_terminal",),
    ),
    Plant(
        "a_thousandth_of_a_second_is_a_thousand_millionths",
        "callbacks/progbar.py",
        "if seconds >= 1e-3:",
        "if seconds > 1e-3:",
        ("tests/test_callbacks.py::test_a_bar_s_width_and_unit",),
    ),
    Plant(
        "restarts_begin_whole_periods_off",
        "optimizers/schedules.py",
        "(1 - length) / (1 - self.t_mul)",
        "(1 - length) * (1 - self.t_mul)",
        ("tests/test_schedules.py::test_whole_curves_are_keras",),
    ),
    Plant(
        "averages_are_not_written_at_each_step",
        "optimizers/base.py",
        "ema_overwrite_frequency < 1)",
        "ema_overwrite_frequency <= 1)",
        ("tests/test_optimizers.py::test_averages_are_of_weights_before_they_are_constrained",),
    ),
    Plant(
        "averages_are_written_every_one_and_a_half_steps",
        "optimizers/base.py",
        "(not isinstance(ema_overwrite_frequency, int) or ema_overwrite_frequency < 1)",
        "(ema_overwrite_frequency < 1)",
        ("tests/test_optimizers.py::test_bad_arguments_are_named",),
    ),
    Plant(
        "a_missing_gradient_is_no_number",
        "optimizers/loss_scale.py",
        "[grad if grad is None else backends.asarray(grad) for grad in grads]",
        "[backends.asarray(grad) if grad is None else grad for grad in grads]",
        ("tests/test_optimizers.py::test_a_scaled_loss_leaves_a_variable_without_a_gradient_alone",),
    ),
    Plant(
        "a_path_stays_in_the_map",
        "optimizers/multi.py",
        "        del self._optimizer_map[key]\n",
        "        pass\n",
        ("tests/test_optimizers.py::test_groups_of_variables_are_updated_as_in_keras",),
    ),
    Plant(
        "the_largest_of_the_second_axis",
        "metrics/confusion.py",
        "np.take_along_axis(y_pred, largest, -1), -1)",
        "np.take_along_axis(y_pred, largest, -1), 1)",
        ("tests/test_metrics.py::test_metrics_of_further_axes_are_keras",),
    ),
    Plant(
        "one_step_is_one_number",
        "losses/targets.py",
        "if y_pred_shape[-1] == 1:",
        "if y_pred_shape[1] == 1:",
        ("tests/test_metrics.py::test_accuracy_is_what_the_shapes_say_under_the_name_asked_for",),
    ),
    Plant(
        "targets_of_any_rank_have_an_r2",
        "metrics/correlation.py",
        "if len(y_pred_shape) != 2 or len(y_true_shape) != 2:",
        "if len(y_pred_shape) != 2:",
        ("tests/test_metrics.py::test_scores_want_a_column_for_each_class",),
    ),
    Plant(
        "a_cross_entropy_in_a_list_is_no_name",
        "models/output_losses.py",
        "isinstance(identifier, (list, tuple)) and len(identifier) == 1 else identifier",
        "isinstance(identifier, (list, tuple)) and len(identifier) == 2 else identifier",
        ("tests/models/test_api.py::test_a_cross_entropy_is_the_one_that_the_targets_need",),
    ),
    Plant(
        "a_layer_is_not_told_what_its_call_said",
        "models/graph_config.py",
        "**named, training=told)",
        "**named)",
        ("tests/models/test_further_uses.py",),
    ),
    Plant(
        "augmentation_within_a_model_does_nothing",
        "models/graph.py",
        "elif unsaid and not within and node.layer._trains_by_default:",
        "elif False:",
        ("tests/models/test_further_uses.py",),
    ),
]
