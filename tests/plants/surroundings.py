"""Bugs in callbacks, in saving, in data pipelines and preprocessing."""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]


PLANTS = [
    # --- callbacks
    Plant(
        "early_stopping_restores_only_where_it_stopped",  # as Keras 2
        "callbacks/early_stopping.py",
        "if self.restore_best_weights and self.best_weights is not None:",
        "if self.stopped_epoch > 0 and self.restore_best_weights and self.best_weights is not None:",
        ("tests/test_callbacks.py::test_early_stopping_does_what_keras_does",),
    ),
    Plant(
        "early_stopping_patience_ignores_the_baseline",
        "callbacks/early_stopping.py",
        "            if self.baseline is None or self._is_improvement(current, self.baseline):\n                self.wait = 0",
        "            self.wait = 0",
        ("tests/test_callbacks.py::test_early_stopping_does_what_keras_does",),
    ),
    Plant(
        "min_delta_with_the_wrong_sign",
        "callbacks/monitor.py",
        "delta = -self.min_delta if self.monitor_op is operator.lt else self.min_delta",
        "delta = self.min_delta if self.monitor_op is operator.lt else -self.min_delta",
        ("tests/test_callbacks.py::test_early_stopping_does_what_keras_does",),
    ),
    Plant(
        "plateau_waits_during_its_cooldown",
        "callbacks/schedule.py",
        "        elif not self.in_cooldown():",
        "        else:",
        ("tests/test_callbacks.py::test_reduce_lr_on_plateau_does_what_keras_does",),
    ),
    Plant(
        "history_is_told_first",  # before callbacks add to the logs
        "callbacks/callback_list.py",
        "self.callbacks.append(History())",
        "self.callbacks.insert(0, History())",
        ("tests/test_callbacks.py::test_what_one_callback_adds_to_the_logs_the_history_sees",),
    ),
    Plant(
        "csv_header_again_where_appended",
        "callbacks/csv_logger.py",
        'self._begin, self._rows = os.path.getsize(self.filename), ""\n        self._append_header = self._begin == 0',
        'self._begin, self._rows = os.path.getsize(self.filename), ""\n        self._append_header = True',
        ("tests/test_callbacks.py::test_csv_logger_writes_keras_s_bytes",),
    ),
    Plant(
        "infinite_loss_goes_on",
        "callbacks/nan.py",
        "not np.isfinite(loss) and not self.model.stop_training",
        "np.isnan(loss) and not self.model.stop_training",
        ("tests/test_callbacks.py::test_terminate_on_nan_says_where",),
    ),
    Plant(
        "checkpoint_threshold_ignored",
        "callbacks/checkpoint.py",
        "super().__init__(monitor, mode, initial_value_threshold)",
        "super().__init__(monitor, mode)",
        ("tests/test_callbacks.py::test_model_checkpoint_has_to_beat_its_threshold",),
    ),
    # --- saving
    Plant(
        "saving_replaces_a_link",
        "atomic.py",
        "target = os.path.realpath(path)",
        "target = os.path.abspath(path)",
        ("tests/test_saving.py::test_links_and_permissions_stay",),
    ),
    Plant(
        "include_optimizer_ignored",
        "saving/legacy_h5.py",
        "if include_optimizer and model.compiled:",
        "if model.compiled:",
        ("tests/test_saving.py::test_older_files_of_a_model_that_was_not_compiled",),
    ),
    Plant(
        "passes_not_restored",
        "models/training.py",
        'self._passes_done = state.get("passes_done", 0)',
        "self._passes_done = 0",
        ("tests/test_resume.py::test_a_file_counts_the_passes_of_all_fits",),
    ),
    Plant(
        "failed_load_leaves_half_of_the_weights",
        "saving/weights_file.py",
        "        for owner, store in before:\n            _load_variables(owner, store)\n        raise",
        "        raise",
        ("tests/test_saving.py::test_a_layer_that_objects_while_loading_leaves_the_others_alone",),
    ),
    Plant(
        "loaded_model_forgets_loss_weights",
        "models/compile.py",
        '            loss_weights=config.get("loss_weights"),\n',
        "",
        ("tests/test_saving.py::test_what_compile_was_given_comes_back",),
    ),
    Plant(
        "older_file_without_its_optimizer_state",
        "saving/files.py",
        "        if model.compiled:\n            read_legacy_optimizer(model, path)\n",
        "",
        ("tests/test_saving.py::test_older_files_travel_both_ways",),
    ),
    # --- data
    Plant(
        "shuffle_buffer_never_gives_its_last_place",
        "data/dataset.py",
        "random.integers(len(buffer), size=_DRAWS_AT_ONCE)",
        "random.integers(max(len(buffer) - 1, 1), size=_DRAWS_AT_ONCE)",
        ("tests/test_data.py::TestShuffle::test_every_place_of_the_buffer_is_drawn_from",),
    ),
    Plant(
        "reshuffles_where_it_should_not",
        "data/dataset.py",
        "number = _pass_numbers() if reshuffle_each_iteration in (None, True) else lambda: 0",
        "number = _pass_numbers()",
        ("tests/test_data.py::TestShuffle::test_passes_differ_unless_told_otherwise",),
    ),
    Plant(
        "cache_hands_out_its_own_arrays",
        "data/dataset.py",
        "            for element in kept:\n                yield map_structure(np.copy, element)",
        "            for element in kept:\n                yield element",
        ("tests/test_data.py::TestCache::test_what_is_kept_nobody_can_write_into",),
    ),
    Plant(
        "prefetch_ends_quietly_at_an_error",
        "data/prefetch.py",
        "                raise element.error",
        "                return",
        ("tests/test_data.py::TestMap::test_an_error_names_the_element_and_keeps_the_cause",),
    ),
    Plant(
        "parallel_map_gives_the_newest_first",
        "data/dataset.py",
        "                        if len(pending) > threads:\n                            yield pending.popleft().result()",
        "                        if len(pending) > threads:\n                            yield pending.pop().result()",
        ("tests/test_data.py::TestMap::test_threads_keep_the_order",),
    ),
    Plant(
        "centre_crop_rounds_the_odd_pixel_up",
        "shapes.py",
        "return (image[0] - height) // 2, (image[1] - width) // 2, height, width",
        "return (image[0] - height + 1) // 2, (image[1] - width + 1) // 2, height, width",
        ("tests/test_data.py::TestResize::test_keeping_proportions",),
    ),
    Plant(
        "image_iterator_has_an_empty_last_batch",  # where the batches come out even
        "preprocessing/image/iterators.py",
        "self.batch_index + 1 if start + self.batch_size < self.n else 0",
        "self.batch_index + 1 if start + self.batch_size <= self.n else 0",
        ("tests/test_preprocessing.py::TestFlowFromFiles::test_dataframe",),
    ),
    Plant(
        "image_iterator_draws_the_same_for_every_batch",
        "preprocessing/image/iterators.py",
        "np.random.RandomState(self.seed + self.total_batches_seen)",
        "np.random.RandomState(self.seed)",
        ("tests/test_preprocessing.py::TestFlow::test_batches_are_keras_s",),
    ),
    Plant(
        "featurewise_deviation_of_a_sample",  # ddof = 1
        "preprocessing/image/augmentation.py",
        "self.std = np.std(x, axis=(0, 1, 2))",
        "self.std = np.std(x, axis=(0, 1, 2), ddof=1)",
        ("tests/test_preprocessing.py::TestFlow::test_batches_are_keras_s",),
    ),
]
