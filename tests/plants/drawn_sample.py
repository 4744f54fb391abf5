"""Of a sample that was drawn, not chosen, and of what earlier readings left: the bugs that nothing saw, and what now does.

Files by a generator of random numbers; in them either the first change that a rule finds in a drawn line, or what a tired
programmer does: a reset forgotten, an axis that is another one, an argument passed over.
"""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

PLANTS = [
    Plant(
        "processor_is_known_by_two_names_or_none",
        "backends/reference/__init__.py",
        "platform.processor() or platform.machine()",
        "platform.processor() and platform.machine()",
        ("tests/test_cli.py::test_doctor_names_backends_and_reasons",),
    ),
    Plant(
        "flattened_picture_has_two_rows",
        "data/resize.py",
        "(max(int(inner_height), 1), max(int(inner_width), 1))",
        "(max(int(inner_height), 2), max(int(inner_width), 1))",
        ("tests/test_data.py::TestResize::test_keeping_proportions",),
    ),
    Plant(
        "first_of_two_convolutions_has_the_global_dtype",
        "layers/depthwise.py",
        '            name=f"{self.name}:depthwise",\n            dtype=self.dtype,\n',
        '            name=f"{self.name}:depthwise",\n',
        ("tests/layers/test_layer.py::test_a_separable_convolution_is_made_of_two",),
    ),
    Plant(
        "a_call_counts_before_a_forward_of_the_same_class",
        "layers/inherited.py",
        'if one is base or "forward" in vars(one):',
        'if one is base or ("forward" in vars(one) and "call" not in vars(one)):',
        ("tests/layers/test_layer.py::test_of_a_call_and_a_forward_the_nearer_one_counts",),
    ),
    Plant(
        "equalization_changes_in_inference",
        "layers/color.py",
        "return ops.equalize(x, self.bins, *as_floats(self.value_range)) if training else x",
        "return ops.equalize(x, self.bins, *as_floats(self.value_range))",
        ("tests/layers/test_color.py::test_layers_without_chance_change_in_inference_what_keras_s_change",),
    ),
    Plant(
        "columns_of_filters_are_all_but_their_height",
        "optimizers/adagrad.py",
        "row, column = shape[:-1], (*shape[:-2], *shape[-1:])",
        "row, column = shape[:-1], shape[1:]",
        ("tests/test_optimizers.py::test_five_steps_are_keras",),
    ),
    Plant(
        "older_hook_before_a_batch_is_forgotten",
        "callbacks/base.py",
        "        self.on_batch_begin(batch, logs=logs)\n",
        "",
        ("tests/test_callbacks.py::test_older_names_of_the_batch_hooks_are_called",),
    ),
    Plant(
        "branches_run_from_the_last_to_the_first",
        "models/graph.py",
        "stack.extend((before, False) for before in reversed(node.inputs))",
        "stack.extend((before, False) for before in node.inputs)",
        ("tests/models/test_api.py::test_branches_run_in_the_order_in_which_they_are_read",),
    ),
    Plant(
        "second_loss_of_tensors_replaces_the_first",
        "models/model.py",
        'self._graph_losses += [registry.operation("sum")(one) for one in symbolic]',
        'self._graph_losses = [registry.operation("sum")(one) for one in symbolic]',
        ("tests/models/test_own_steps.py::test_a_loss_of_the_models_own_tensors_and_none_in_compile",),
    ),
    Plant(
        "plan_outlives_another_compile",
        "models/compile.py",
        "        self._target_shapes = None\n        self._forget_plans()\n\n    def get_compile_config",
        "        self._target_shapes = None\n\n    def get_compile_config",
        ("tests/models/test_api.py::test_a_model_that_is_compiled_anew_trains_as_one_that_never_was",),
    ),
    Plant(
        "depthwise_half_knows_the_last_axis_alone",
        "ops/nn.py",
        "h = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)",
        "h = depthwise_conv(inputs, depthwise_kernel, strides, padding, None, dilation_rate)",
        ("tests/test_ops.py::test_channels_first_are_the_same_numbers_in_another_order",),
    ),
    Plant(
        "multi_hot_rows_have_one_type",
        "ops/nn.py",
        "return max(one_hot(inputs, num_classes, axis, dtype), axis=min(len(inputs.shape) - 1, 1))",
        "return max(one_hot(inputs, num_classes, axis), axis=min(len(inputs.shape) - 1, 1))",
        ("tests/test_ops.py::test_further_arguments",),
    ),
    Plant(
        "tensor_keeps_the_type_that_it_had",
        "ops/elementwise.py",
        "    if dtype is not None:\n        return cast(x, dtype)\n    return constant(x)",
        "    return constant(x)",
        ("tests/test_ops.py::test_further_arguments",),
    ),
    Plant(
        "search_for_a_rate_leaves_its_mean",
        "study/rates.py",
        "        model.reset_metrics()\n    finite",
        "    finite",
        ("tests/test_study.py::test_lr_find_takes_whole_batches_alone",),
    ),
    Plant(
        "film_of_any_layer_is_called_the_first",
        "study/epochs.py",
        'name = recorded.layer or "first convolution"',
        'name = "first convolution"',
        ("tests/test_animation.py::test_a_frame_shows_the_kernel_of_its_epoch",),
    ),
    Plant(
        "groups_cost_as_much_as_all_channels",
        "layers/conv.py",
        "C_in = self.image_shape(input_shape)[-1] // self.groups\n        return 2 *",
        "C_in = self.image_shape(input_shape)[-1]\n        return 2 *",
        ("tests/layers/test_layer.py::test_count_flops",),
    ),
    Plant(
        "percentage_error_has_targets_for_predictions",
        "losses/regression.py",
        '    _op = "percentage_error"\n',
        '    _op = "percentage_error"\n    _symmetric = True\n',
        ("tests/test_losses.py::test_a_gradient_at_the_targets_is_tensorflow_s_or_is_refused",),
    ),
    Plant(
        "variables_of_a_metric_have_its_type_alone",
        "metrics/base.py",
        "dtype=dtype or self.dtype,",
        "dtype=self.dtype,",
        ("tests/test_metrics.py::test_a_users_metric_keeps_its_state",),
    ),
    Plant(
        "validation_moves_the_bar_of_training",
        "callbacks/progress.py",
        "        if not self._in_fit:\n            self._step(batch, logs)\n",
        "        self._step(batch, logs)\n",
        ("tests/test_callbacks.py::test_the_batches_of_a_validation_do_not_move_the_bar",),
    ),
    Plant(
        "rate_goes_on_cooling_in_the_next_fit",
        "callbacks/schedule.py",
        "        self.best = None\n        self.cooldown_counter = 0\n",
        "        self.best = None\n",
        ("tests/test_callbacks.py::test_a_callback_serves_a_second_fit_as_keras_s_does",),
    ),
    Plant(
        "layer_that_was_taken_off_stays_in_its_graph",
        "models/sequential.py",
        "            layer._inbound_nodes.remove(node)\n",
        "",
        ("tests/models/test_api.py::test_sequential_add_pop_and_deferred_building",),
    ),
]
