"""Bugs in ops, in the tape, and in what is traced."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

PLANTS = [
    Plant(
        "a_broadcast_axis_is_not_summed",
        "shapes.py",
        "return (*range(extra), *(i + extra for i, size in enumerate(original) if size == 1 and shape[i + extra] != 1))",
        "return (*range(extra),)",
        ("tests/test_ops.py::test_values_and_gradients",),
    ),
    Plant(
        "a_reduction_s_gradient_forgets_the_count",
        "ops/reductions.py",
        "_spread(dy / count, x, axes)",
        "_spread(dy, x, axes)",
        ("tests/test_ops.py::test_values_and_gradients",),
    ),
    Plant(
        "transposing_back_by_the_same_order",
        "ops/shaping.py",
        "dy.transpose(sorted(range(dy.ndim), key=lambda axis: saved[axis] % dy.ndim))",
        "dy.transpose(saved)",
        ("tests/test_ops.py::test_values_and_gradients",),
    ),
    Plant(
        "the_tape_keeps_the_last_gradient_alone",
        "tape.py",
        "gradients[id(tensor)] = gradient if before is None else before + gradient",
        "gradients[id(tensor)] = gradient",
        ("tests/test_tape.py::test_programs",),
    ),
    Plant(
        "a_source_in_the_middle_loses_its_gradient",
        "tape.py",
        "if id(one) not in sources:",
        "if True:",
        ("tests/test_tape.py::test_programs",),
    ),
    Plant(
        "training_takes_the_other_trace",
        "models/graph.py",
        "node.traces.get(bool(training) if own is None else own)",
        "node.traces.get(False)",
        ("tests/models/test_traced.py::test_a_subclassed_model_trains_as_in_keras",),
    ),
    Plant(
        "what_a_call_says_of_training_is_passed_over",
        "models/graph.py",
        "if node.training is not None and (within or unsaid):",
        "if False:",
        ("tests/models/test_traced.py::test_training_said_by_a_call",),
    ),
    Plant(
        "added_losses_have_no_gradient",
        "models/training.py",
        "saved, of_losses=ones)",
        "saved)",
        ("tests/models/test_own_steps.py::test_losses_added_by_layers",),
    ),
    Plant(
        "a_variable_read_twice_counts_once",
        "ops/base.py",
        "before = of_variables.get(id(leaf), 0)",
        "before = 0",
        ("tests/models/test_traced.py::test_a_variable_that_stands_twice_in_an_op",),
    ),
]
