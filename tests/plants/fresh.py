"""Six of 32 plants that escaped the tests of their areas at first go; all 32 were written down before any was tried.

That was after every argument of every public function had been compared with Keras's. The tests that they got are named.
"""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

PLANTS = [
    Plant(
        "warm_up_of_a_cosine_is_as_long_as_its_decay",
        "optimizers/schedules.py",
        "* step / max(start, 1) + self.initial_learning_rate",
        "* step / self.decay_steps + self.initial_learning_rate",
        ("tests/test_schedules.py::test_whole_curves_are_keras",),
    ),
    Plant(
        "history_counts_on_through_a_second_fit",
        "callbacks/history.py",
        "    def on_train_begin(self, logs: Logs = None) -> None:\n        self.epoch = []\n\n",
        "",
        ("tests/test_callbacks.py::test_a_history_that_is_passed_twice_goes_on_with_its_values_and_not_its_epochs",),
    ),
    Plant(
        "wrapped_metric_forgets_the_arguments_of_its_function",
        "metrics/base.py",
        '"fn": serialization.serialize(self._fn), **serialization.serialize(self._fn_kwargs)}',
        '"fn": serialization.serialize(self._fn)}',
        ("tests/test_metrics.py::test_the_arguments_of_a_wrapped_function_come_back",),
    ),
    Plant(
        "written_gradient_of_a_wrapped_loss_without_its_arguments",
        "losses/base.py",
        "gradient(y_true, matched, **self._fn_kwargs)",
        "gradient(y_true, matched)",
        ("tests/test_losses.py::test_a_gradient_that_is_written_takes_the_arguments_of_its_function",),
    ),
    Plant(
        "seeds_of_a_shuffle_have_a_byte",
        "data/dataset.py",
        "int(seed) % 2**64",
        "int(seed) % 2**8",
        ("tests/test_data.py::TestShuffle::test_every_part_of_a_seed_counts",),
    ),
    Plant(
        "pixels_up_to_255_are_swapped_about_one",
        "cli/predict.py",
        "given.input_range[1] - picture.pixels if invert",
        "1.0 - picture.pixels if invert",
        ("tests/test_cli.py::test_light_and_dark_are_swapped_within_the_range_of_the_pixels",),
    ),
    # --- what a `call` does to variables and metrics
    Plant(
        "effects_run_in_the_order_of_a_walk",
        "models/graph.py",
        "key=lambda node: node.number) if one.in_order else nodes",
        "key=lambda node: node.number) if False else nodes",
        ("tests/models/test_effects.py::test_a_model_trains_and_predicts_as_in_keras",),
    ),
    Plant(
        "an_assignment_overwrites_what_a_gradient_reads",
        "variables.py",
        "if self._is_assigned_by_graph or watching.tapes:",
        "if watching.tapes:",
        ("tests/models/test_effects.py::test_a_model_trains_and_predicts_as_in_keras",),
    ),
    Plant(
        "an_effect_that_nobody_reads_is_dropped",
        "layers/tracing.py",
        "        around.has_effect(node.outputs[0])",
        "        pass",
        ("tests/models/test_effects.py::test_a_model_trains_and_predicts_as_in_keras",),
    ),
    Plant(
        "build_within_a_call_is_traced",
        "layers/tracing.py",
        "before, watching.tracing = watching.tracing, ()",
        "before = watching.tracing",
        ("tests/models/test_effects.py::test_what_build_assigns_is_assigned_once_though_it_is_built_within_a_call",),
    ),
    Plant(
        "metrics_of_layers_go_on_in_the_next_epoch",
        "models/compile.py",
        "if own else self._held_metrics:",
        "if own else ():",
        ("tests/models/test_effects.py::test_a_metric_in_a_call_is_in_the_logs_of_fit_and_evaluate",),
    ),
]
