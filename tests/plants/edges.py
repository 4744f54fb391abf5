"""Bugs at the edges: of 40 on drawn lines of kernels, ops and layers those that nothing saw, and holes that a reading found.

What is drawn from a normal distribution is never 0, equal, infinite or at a bound; a shape that is drawn is known; a layer
that is built is not called on another shape; and an argument in a test's table is in the config, but is it used?
"""

from __future__ import annotations

from tests.plants.plant import Plant

__all__ = ["PLANTS"]

_OPS = "tests/test_ops.py::"
_TABLE = "tests/layers/test_table.py::"

PLANTS = [
    # --- of the sample
    Plant(
        "doctor_tells_lapack_for_blas",
        "backends/reference/__init__.py",
        '["Build Dependencies"]["blas"]',
        '["Build Dependencies"]["lapack"]',
        ("tests/test_cli.py::test_the_reference_tells_what_multiplies_its_matrices",),
    ),
    Plant(
        "threshold_has_a_slope_at_the_threshold",
        "backends/reference/elementwise.py",
        "where(x > threshold, dy, 0)",
        "where(x >= threshold, dy, 0)",
        ("tests/ops/test_elementwise.py::test_bounded_activation_at_its_kinks",),
    ),
    Plant(
        "row_is_no_matrix_to_correlate",
        "ops/statistics.py",
        "        centred = reshape(centred, (1, -1))\n",
        "        pass\n",
        (_OPS + "test_a_row_correlates_with_itself_as_in_numpy",),
    ),
    Plant(
        "unique_is_filled_up_along_no_axis_from_the_end",
        "ops/indexing.py",
        "if i == axis % x.ndim else 0",
        "if i == axis else 0",
        (_OPS + "test_unique",),
    ),
    Plant(
        "infinity_has_no_name",
        "ops/linalg.py",
        'ord not in (1, -1, "inf", np.inf, -np.inf):',
        "ord not in (1, -1, np.inf, -np.inf):",
        (_OPS + "test_infinity_has_a_name",),
    ),
    Plant(
        "activation_of_a_transposed_convolution_never_trains",
        "layers/conv_transpose.py",
        "activate(activation, self.as_given(y), training)",
        "activate(activation, self.as_given(y), False)",
        ("tests/layers/test_layer.py::test_a_layer_given_as_an_activation_acts_in_training",),
    ),
    Plant(
        "watched_activation_without_its_named_arguments",
        "activations.py",
        "registry.operation(op_of.__name__)(x, *arguments, **named)",
        "registry.operation(op_of.__name__)(x, *arguments)",
        ("tests/test_activations.py::test_a_tape_watches_an_activation_with_its_arguments",),
    ),
    Plant(
        "true_is_a_size",
        "shapes.py",
        "    if isinstance(value, bool):\n        raise ValueError(message)\n    if isinstance(value, int) or",
        "    if isinstance(value, int) or",
        (_TABLE + "test_errors",),
    ),
    Plant(
        "weights_that_a_page_leaves_out_count_once",
        "study/explain/page.py",
        'record["left_out"] += 1',
        'record["left_out"] = 1',
        ("tests/test_explain.py::test_what_is_left_out_of_a_record_is_counted",),
    ),
    Plant(
        "second_process_starts_a_third",
        "backends/numba_cpu/_ahead.py",
        'os.environ | {_SWITCH: "0"}',
        'os.environ | {_SWITCH: "1"}',
        ("tests/ops/test_compile.py::test_a_second_process_compiles_where_there_are_two_cores",),
    ),
    Plant(
        "grid_of_a_gpu_has_columns_as_long_as_its_rows",
        "backends/cupy_gpu/gemm.py",
        "-(-cols // tile.BLOCK_N), chunks",
        "-(-cols // tile.BLOCK_M), chunks",
        ("tests/gpu/test_twins.py::test_a_grid_of_tiles_covers_its_product_once",),
    ),
    # --- of the reading
    Plant(
        "infinity_of_either_sign_is_positive",
        "ops/elementwise.py",
        "lambda xp, x: xp.isposinf(x)",
        "lambda xp, x: xp.isinf(x)",
        (_OPS + "test_at_the_edges",),
    ),
    Plant(
        "equal_values_are_searched_on_the_left_alone",
        "ops/statistics.py",
        "searchsorted(sorted_sequence, values, side=side)",
        "searchsorted(sorted_sequence, values)",
        (_OPS + "test_at_the_edges",),
    ),
    Plant(
        "strides_of_signals_are_numbers_alone",
        "ops/nn.py",
        "one = [[1, value if isinstance(value, int) else value[0]] for value in (size, strides)]",
        "one = [[1, value] for value in (size, strides)]",
        (_OPS + "test_at_the_edges",),
    ),
    Plant(
        "alpha_is_held_to_nothing",
        "layers/activation.py",
        "            constraint=self.alpha_constraint,\n",
        "",
        (_TABLE + "test_layer_equals_keras",),
    ),
    Plant(
        "unknown_sizes_cannot_be_enlarged",
        "layers/sizing.py",
        "None if size is None else size * factor for",
        "size * factor for",
        (_TABLE + "test_of_sizes_that_vary_the_output_s_vary_as_in_keras",),
    ),
    Plant(
        "mask_ends_at_an_identity",
        "layers/reshape.py",
        'class Identity(Layer):\n    """y = x."""\n\n    supports_masking = True\n',
        'class Identity(Layer):\n    """y = x."""\n',
        (_TABLE + "test_layer_equals_keras",),
    ),
    Plant(
        "recurrent_kernel_is_read_beyond_its_end",
        "layers/cell.py",
        "        self.input_spec = InputSpec(ndim=2, axes={-1: C_in})\n",
        "",
        (_TABLE + "test_a_built_layer_takes_other_shapes_where_keras_s_does",),
    ),
    Plant(
        "gamma_is_read_beyond_its_end",
        "layers/normalization.py",
        "        self.input_spec = _same_sizes(self.axis, input_shape)\n",
        "",
        (_TABLE + "test_a_built_layer_takes_other_shapes_where_keras_s_does",),
    ),
    Plant(
        "gradients_of_signals_come_with_their_channels_last",
        "layers/spatial.py",
        "        return moved_back(y, [1]) if self._channels_first else y",
        "        return moved_back(y, [1]) if self._channels_first and self.rank > 1 else y",
        (_TABLE + "test_channels_first_is_channels_last_transposed",),
    ),
]
