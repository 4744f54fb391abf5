"""Bugs that an earlier suite let through."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

_NUMBA = "backends/numba_cpu/"
_FIT = ("tests/models/test_fit_arguments.py",)

PLANTS = [
    # --- kernels: what no drawn case was large enough for, or clean memory hid
    Plant(
        "updates_without_their_tails",  # elements beyond a multiple of 8192, of every optimizer
        _NUMBA + "update.py",
        "        kernel(-(-size // RUN), size * work,",
        "        kernel(max(1, size // RUN), size * work,",
        ("tests/ops/test_update.py",),
    ),
    Plant(
        "clip_and_penalty_sums_without_their_tails",
        _NUMBA + "update.py",
        "_sum_runs(x.reshape(-1), empty((-(-x.size // RUN), 2), np.float64))",
        "_sum_runs(x.reshape(-1), empty((max(1, x.size // RUN), 2), np.float64))",
        ("tests/ops/test_update.py",),
    ),
    Plant(
        "bias_gradient_without_its_last_rows",  # beyond a multiple of 512
        _NUMBA + "dense.py",
        "empty((max(1, -(-M // SUMMED_ROWS)), C))",
        "empty((max(1, M // SUMMED_ROWS), C))",
        ("tests/ops/test_dense.py",),
    ),
    Plant(
        "conv_kernel_gradient_without_its_last_images",  # more than 16, and no multiple of 16
        _NUMBA + "conv.py",
        "    first, end = chunk * N // chunks, (chunk + 1) * N // chunks",
        "    first, end = chunk * (N // chunks), (chunk + 1) * (N // chunks)",
        ("tests/ops/test_conv.py",),
    ),
    Plant(
        "fused_kernel_gradient_without_its_last_images",
        _NUMBA + "conv.py",
        "    first, end = chunk * N // chunks, (chunk + 1) * N // chunks",
        "    first, end = chunk * (N // chunks), (chunk + 1) * (N // chunks)",
        ("tests/ops/test_epilogues.py",),
    ),
    Plant(
        "winograd_kernel_gradient_without_its_last_images",
        _NUMBA + "winograd.py",
        "    begin, end = chunk * N // chunks, (chunk + 1) * N // chunks",
        "    begin, end = chunk * (N // chunks), (chunk + 1) * (N // chunks)",
        ("tests/ops/test_winograd.py",),
    ),
    Plant(
        "max_pooling_argmax_in_8_bits",  # windows of more than 256 taps
        _NUMBA + "pool.py",
        "np.uint8 if places_fit_a_byte(window) else np.int32",
        "np.uint8",
        ("tests/ops/test_pool.py",),
    ),
    Plant(
        "fused_max_pooling_argmax_in_8_bits",
        _NUMBA + "pool.py",
        "np.uint8 if places_fit_a_byte(window) else np.int32",
        "np.uint8",
        ("tests/ops/test_epilogues.py",),
    ),
    Plant(
        "a_byte_counts_to_257",
        _NUMBA + "pool.py",
        "return window.size[0] * window.size[1] <= 256",
        "return window.size[0] * window.size[1] <= 257",
        ("tests/ops/test_epilogues.py",),
    ),
    Plant(
        "max_pooling_gradient_leaves_uncovered_columns",  # as the memory was
        _NUMBA + "pool.py",
        "(pool.OH * pool.SH, pool.OW * pool.SW) != (H, W)",
        "pool.OH * pool.SH != H",
        ("tests/ops/test_pool.py",),
    ),
    Plant(
        "dense_sums_of_few_samples_follow_the_threads",
        _NUMBA + "dense.py",
        "parts = max(1, min(PARTS, kernel.size // PART))",
        "from minicnn.backends.numba_cpu._pool import get_num_threads\n"
        "        parts = max(1, min(get_num_threads(), kernel.size // PART))",
        ("tests/ops/test_threads.py::test_dense",),
    ),
    # --- the arguments of `fit`
    Plant(
        "validation_split_from_the_beginning",
        "models/data_checks.py",
        "before, after = slice(0, at), slice(at, size)",
        "before, after = slice(size - at, size), slice(0, size - at)",
        _FIT,
    ),
    Plant(
        "class_weight_of_a_class_that_is_not_named",
        "models/data_checks.py",
        "class_weight.get(int(label), 1.0)",
        "class_weight.get(int(label), 0.0)",
        _FIT,
    ),
    Plant(
        "class_weight_without_effect_on_one_hot_targets",
        "models/data_checks.py",
        "    elif target.ndim > 1 and target.ndim == output_rank:\n        target = np.argmax(target, axis=-1)",
        "    elif target.ndim > 1 and target.ndim == output_rank:\n        return weights",
        _FIT,
    ),
    Plant(
        "class_weight_drops_the_sample_weight",
        "models/data_checks.py",
        "    if weights is None:\n        return [factors]\n",
        "    return [factors]\n",
        _FIT,
    ),
    Plant(
        "weighted_metrics_without_weights",
        "models/output_metrics.py",
        "metric.update_state(targets[output], predictions[output], sample_weight=weight)",
        "metric.update_state(targets[output], predictions[output])",
        _FIT,
    ),
    Plant(
        "validation_ignores_its_sample_weight",
        "models/run.py",
        "model._source(unpack(self.data), self.batch_size, False, self.steps)",
        "model._source((*unpack(self.data)[:2], None), self.batch_size, False, self.steps)",
        _FIT,
    ),
    Plant(
        "validation_ignores_its_batch_size",
        "models/training.py",
        "validation_batch_size or batch_size",
        "batch_size",
        _FIT,
    ),
    Plant(
        "validation_freq_counts_from_zero",
        "models/run.py",
        "self.validation.is_due(epoch + 1)",
        "self.validation.is_due(epoch)",
        _FIT,
    ),
    Plant(
        "nan_check_ends_after_its_first_chunk",  # of 4 million elements
        "models/data_checks.py",
        "for start in range(0, len(array), rows):",
        "for start in range(0, min(rows, len(array)), rows):",
        ("tests/models/test_bad_inputs.py",),
    ),
    Plant(
        "data_with_steps_begin_anew_each_epoch",
        "models/data_adapter.py",
        "if wanted is None or missing or self.position == self.length:",
        "if wanted is None or self.position > before:",
        _FIT,
    ),
    Plant(
        "sequence_is_not_told_of_the_end_of_an_epoch",
        "models/data_adapter.py",
        '        if hasattr(self.source, "on_epoch_end"):\n            self.source.on_epoch_end()\n',
        "",
        _FIT,
    ),
    Plant(
        "batch_size_from_steps_where_it_is_given",
        "models/data_adapter.py",
        "int(batch_size or default)",
        "int((batch_size or default) if steps is None else default)",
        _FIT,
    ),
    Plant(
        "steps_of_arrays_ignored",
        "models/data_adapter.py",
        "super().__init__(-(-self.size // batch_size), limit, batch_size)",
        "super().__init__(-(-self.size // batch_size), None, batch_size)",
        _FIT,
    ),
    Plant(
        "steps_of_a_sequence_ignored",
        "models/data_adapter.py",
        'super().__init__(length, limit, getattr(source, "batch_size", None))',
        'super().__init__(length, None, getattr(source, "batch_size", None))',
        _FIT,
    ),
    Plant(
        "shuffle_batch_without_effect",
        "models/data_adapter.py",
        "        if not self.shuffle:\n            return None",
        '        if not self.shuffle or self.shuffle == "batch":\n            return None',
        _FIT,
    ),
    Plant(
        "shuffling_ignores_the_seed",
        "models/data_adapter.py",
        "        generator = np.random.Generator(np.random.Philox(key=np.array([self.seed, number], np.uint64)))",
        "        generator = np.random.Generator(np.random.Philox(key=np.array([0, number], np.uint64)))",
        _FIT,
    ),
    # --- around it
    Plant(
        "penalty_of_a_frozen_weight_counts",
        "models/plan.py",
        "[v for v in trained if v.regularizer is not None]",
        "[v for v in model.weights if v.regularizer is not None]",
        ("tests/models/test_against_keras.py::test_the_penalty_of_a_frozen_weight_does_not_count",),
    ),
    Plant(
        "averages_of_weights_not_written_back_after_fit",
        "models/training.py",
        "        self.optimizer.finalize_variable_values(self.trainable_weights)\n",
        "",
        _FIT,
    ),
    Plant(
        "save_best_only_saves_any_where_batches_are_counted",
        "callbacks/checkpoint.py",
        "if self.save_best_only and not self._improved(epoch, logs, path):",
        "if self.save_best_only and batch is None and not self._improved(epoch, logs, path):",
        ("tests/test_callbacks.py",),
    ),
    Plant(
        "undecayed_variables_decay",
        "optimizers/base.py",
        "return variable not in excluded and not (names and names.search(variable.name))",
        "return not (names and names.search(variable.name))",
        ("tests/test_optimizers.py::test_weights_are_excluded_from_decay_by_what_stands_anywhere_in_their_names",),
    ),
    Plant(
        "loss_rows_beyond_whole_tasks",  # of 64 rows
        _NUMBA + "loss.py",
        "return -(-matrix.shape[0] // ROWS)",
        "return max(1, matrix.shape[0] // ROWS)",
        ("tests/ops/test_loss.py",),
    ),
]
