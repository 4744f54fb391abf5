"""One table of cases: shapes, values, gradients and configs of layers, each against Keras's of the same arguments.

Layers whose kernels are another layer's, or a few lines of NumPy, stand here; `test_against_keras` draws cases for the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import config, layers
from minicnn.models import Sequential
from minicnn.saving import load_model
from tests.layers.checks import check_configs, check_layer, pair_of
from tests.ops.checks import Target, gradient_cases, seeds

ONES = np.ones((2, 3, 4))
FIRST = {"data_format": "channels_first"}
IMAGE, SIGNAL, ROWS, VOLUME = (2, 5, 6, 3), (3, 7, 4), (5, 6), (2, 4, 5, 6, 3)

# Class -> (shape of the input, or a list of shapes; arguments)
CASES: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "UpSampling2D": [
        (IMAGE, {}),
        (IMAGE, {"size": 3}),
        (IMAGE, {"size": (1, 4), "data_format": "channels_last"}),
        ((1, 1, 1, 1), {"size": (5, 2), "interpolation": "Nearest"}),
        (IMAGE, {"size": (1, 3), **FIRST}),
    ],
    "UpSampling1D": [(SIGNAL, {}), (SIGNAL, {"size": 3}), ((1, 1, 1), {"size": 1})],
    "UpSampling3D": [(VOLUME, {}), (VOLUME, {"size": 3}), (VOLUME, {"size": (1, 3, 2), **FIRST})],
    "RepeatVector": [(ROWS, {"n": 1}), (ROWS, {"n": 4})],
    "Cropping2D": [
        (IMAGE, {}),
        (IMAGE, {"cropping": 1}),
        (IMAGE, {"cropping": (2, 1)}),
        (IMAGE, {"cropping": ((1, 3), (0, 5))}),
        (IMAGE, {"cropping": ((1, 3), (0, 1)), **FIRST}),
    ],
    "Cropping1D": [(SIGNAL, {}), (SIGNAL, {"cropping": 2}), (SIGNAL, {"cropping": (0, 6)})],
    "Cropping3D": [
        (VOLUME, {}),
        (VOLUME, {"cropping": (1, 0, 2)}),
        (VOLUME, {"cropping": ((1, 2), (0, 4), (5, 0))}),
        (VOLUME, {"cropping": ((0, 2), (1, 1), (2, 0)), **FIRST}),
    ],
    "ZeroPadding3D": [
        (VOLUME, {}),
        (VOLUME, {"padding": 2}),
        (VOLUME, {"padding": (0, 3, 1)}),
        (VOLUME, {"padding": ((1, 0), (2, 3), (0, 4)), **FIRST}),
    ],
    "ZeroPadding1D": [(SIGNAL, {}), (SIGNAL, {"padding": 3}), (SIGNAL, {"padding": (0, 2), **FIRST})],
    "Permute": [(IMAGE, {"dims": (3, 1, 2)}), (SIGNAL, {"dims": [2, 1]}), (ROWS, {"dims": (1,)})],
    "Identity": [(IMAGE, {})],
    "Rescaling": [(IMAGE, {"scale": 0.5, "offset": [1.0, 2.0, -1.5]}), (IMAGE, {"scale": [0.5, 2.0, -1.5]})],
    "EinsumDense": [
        (SIGNAL, {"equation": "abc,cd->abd", "output_shape": (7, 5), "bias_axes": "d", "activation": "tanh"}),
        (SIGNAL, {"equation": "abc,cde->abde", "output_shape": [7, 2, 3], "bias_axes": "de"}),
        (SIGNAL, {"equation": "abc,bcd->ad", "output_shape": 5}),
    ],
    "Attention": [
        ([(2, 3, 4), (2, 5, 4)], {}),
        ([(2, 3, 4), (2, 5, 6), (2, 5, 4)], {"use_scale": True}),
        ([(2, 3, 4), (2, 5, 4)], {"use_scale": True, "score_mode": "concat"}),
    ],
    "Flatten": [(IMAGE, FIRST), ((4,), FIRST)],
    "Conv1D": [
        (SIGNAL, {"filters": 3, "kernel_size": 3}),
        (SIGNAL, {"filters": 4, "kernel_size": (2,), "strides": 2, "padding": "same", "activation": "relu"}),
        (SIGNAL, {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, "use_bias": False}),
        (SIGNAL, {"filters": 4, "kernel_size": 9, "padding": "CAUSAL", "strides": 3, "activation": "tanh"}),
        (SIGNAL, {"filters": 4, "kernel_size": 2, "groups": 2, "kernel_regularizer": "l2"}),
        ((3, 40, 17), {"filters": 33, "kernel_size": 5, "padding": "same"}),
        (SIGNAL, {"filters": 5, "kernel_size": 2, **FIRST}),
    ],
    "Conv2D": [
        ((2, 3, 5, 6), {"filters": 7, "kernel_size": 3, "activation": "relu", **FIRST}),
        ((2, 3, 5, 6), {"filters": 7, "kernel_size": 2, "padding": "same", "activation": "softmax", **FIRST}),
    ],
    "Conv3D": [
        (VOLUME, {"filters": 4, "kernel_size": 3}),
        (VOLUME, {"filters": 4, "kernel_size": (1, 3, 2), "padding": "same", "activation": "relu"}),
        (VOLUME, {"filters": 2, "kernel_size": (4, 2, 2), "strides": (2, 1, 3), "padding": "SAME", "use_bias": False}),
        (VOLUME, {"filters": 2, "kernel_size": 1, "strides": 2, "activation": "tanh", "kernel_regularizer": "l2"}),
        (VOLUME, {"filters": 2, "kernel_size": (4, 5, 6), "activation": "softmax", "bias_constraint": "non_neg"}),
        ((1, 5, 8, 7, 17), {"filters": 33, "kernel_size": 3, "padding": "same"}),
        (VOLUME, {"filters": 5, "kernel_size": 2, "activation": "relu", **FIRST}),
    ],
    "Conv3DTranspose": [
        (VOLUME, {"filters": 4, "kernel_size": 3}),
        (VOLUME, {"filters": 4, "kernel_size": 2, "strides": 2, "activation": "relu", "kernel_regularizer": "l2"}),
        (VOLUME, {"filters": 2, "kernel_size": (3, 2, 4), "strides": (2, 1, 3), "padding": "same", "use_bias": False}),
        (VOLUME, {"filters": 2, "kernel_size": (1, 3, 2), "strides": (1, 3, 2), "output_padding": (0, 2, 0)}),
        (VOLUME, {"filters": 2, "kernel_size": (3, 5, 3), "strides": 2, "padding": "same", "output_padding": 0}),
        (VOLUME, {"filters": 2, "kernel_size": 1, "strides": 3, "padding": "same", "activation": "tanh"}),
    ],
    "Conv2DTranspose": [
        (IMAGE, {"filters": 4, "kernel_size": 3}),
        (IMAGE, {"filters": 4, "kernel_size": 2, "strides": 2, "activation": "relu", "kernel_regularizer": "l2"}),
        (IMAGE, {"filters": 2, "kernel_size": (3, 4), "strides": (2, 3), "padding": "same", "use_bias": False}),
        (IMAGE, {"filters": 2, "kernel_size": 3, "strides": (3, 2), "output_padding": (2, 0), "activation": "tanh"}),
        (IMAGE, {"filters": 2, "kernel_size": (3, 5), "strides": 2, "padding": "same", "output_padding": 0}),
        (IMAGE, {"filters": 2, "kernel_size": 1, "strides": 3, "padding": "same", "bias_initializer": "ones"}),
        (IMAGE, {"filters": 33, "kernel_size": 3, "padding": "same"}),
    ],
    "Conv1DTranspose": [
        (SIGNAL, {"filters": 3, "kernel_size": 3}),
        (SIGNAL, {"filters": 3, "kernel_size": (2,), "strides": 2, "padding": "same", "activation": "relu"}),
        (SIGNAL, {"filters": 5, "kernel_size": 4, "strides": 3, "output_padding": 1, "kernel_constraint": "non_neg"}),
    ],
    "SimpleRNN": [
        (SIGNAL, {"units": 5}),
        (SIGNAL, {"units": 3, "return_sequences": True, "activation": "relu", "use_bias": False, "kernel_regularizer": "l2"}),
        (SIGNAL, {"units": 2, "go_backwards": True, "activation": "softsign", "recurrent_initializer": "he_normal"}),
    ],
    "LSTM": [
        (SIGNAL, {"units": 5}),
        (SIGNAL, {"units": 3, "return_sequences": True, "go_backwards": True, "recurrent_regularizer": "l1", "unroll": True}),
        (SIGNAL, {"units": 2, "activation": "silu", "recurrent_activation": "hard_sigmoid", "unit_forget_bias": False}),
        ((2, 1, 3), {"units": 4, "use_bias": False, "recurrent_constraint": "non_neg", "bias_initializer": "ones"}),
    ],
    "GRU": [
        (SIGNAL, {"units": 5}),
        (SIGNAL, {"units": 3, "return_sequences": True, "reset_after": False, "go_backwards": True}),
        (SIGNAL, {"units": 2, "activation": "softplus", "recurrent_activation": "relu", "use_bias": False}),
        (SIGNAL, {"units": 2, "reset_after": False, "use_bias": False, "kernel_constraint": "non_neg"}),
    ],
    "ConvLSTM2D": [
        ((2, 3, *IMAGE[1:]), {"filters": 2, "kernel_size": 3, "padding": "same", "return_sequences": True}),
        ((2, 2, *IMAGE[1:]), {"filters": 3, "kernel_size": (2, 3), "strides": 2, "recurrent_activation": "hard_sigmoid"}),
        ((2, 2, *IMAGE[1:]), {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "use_bias": False, "go_backwards": True}),
    ],
    "ConvLSTM1D": [
        ((2, 3, *SIGNAL[1:]), {"filters": 2, "kernel_size": 3, "padding": "same", "return_sequences": True}),
        ((2, 2, *SIGNAL[1:]), {"filters": 3, "kernel_size": 2, "strides": 2, "activation": "relu", "bias_regularizer": "l2"}),
    ],
    "ConvLSTM3D": [((2, 2, 3, 4, 3, 2), {"filters": 2, "kernel_size": 2, "padding": "same", "return_sequences": True})],
    "Masking": [(SIGNAL, {"mask_value": 1 / 128})],
    "DepthwiseConv2D": [
        (IMAGE, {"kernel_size": 3}),
        (IMAGE, {"kernel_size": (2, 3), "padding": "same", "depth_multiplier": 3, "activation": "relu"}),
        (IMAGE, {"kernel_size": 3, "strides": 2, "padding": "SAME", "use_bias": False, "depthwise_regularizer": "l2"}),
        (IMAGE, {"kernel_size": 2, "dilation_rate": 2, "activation": "softmax", "depthwise_constraint": "non_neg"}),
        ((2, 9, 8, 34), {"kernel_size": 5, "padding": "same", "depthwise_initializer": "he_normal"}),
    ],
    "DepthwiseConv1D": [
        (SIGNAL, {"kernel_size": 3}),
        (SIGNAL, {"kernel_size": (2,), "strides": 2, "padding": "same", "depth_multiplier": 2, "activation": "tanh"}),
        (SIGNAL, {"kernel_size": 2, "dilation_rate": 3, "activation": "relu"}),
        (SIGNAL, {"kernel_size": 3, **FIRST}),
    ],
    "SeparableConv2D": [
        (IMAGE, {"filters": 4, "kernel_size": 3}),
        (IMAGE, {"filters": 5, "kernel_size": (2, 3), "padding": "same", "depth_multiplier": 2, "activation": "relu"}),
        (IMAGE, {"filters": 2, "kernel_size": 3, "strides": 2, "use_bias": False, "pointwise_regularizer": "l2"}),
        (IMAGE, {"filters": 3, "kernel_size": 2, "dilation_rate": (1, 2), "padding": "same", "activation": "softmax"}),
    ],
    "SeparableConv1D": [
        (SIGNAL, {"filters": 3, "kernel_size": 3, "depthwise_initializer": "ones"}),
        (SIGNAL, {"filters": 3, "kernel_size": 2, "strides": 2, "padding": "same", "depth_multiplier": 2}),
        (SIGNAL, {"filters": 3, "kernel_size": 3, "activation": "relu", **FIRST}),
    ],
    "MaxPooling1D": [(SIGNAL, {}), (SIGNAL, {"pool_size": 3, "strides": 1, "padding": "same"}), (SIGNAL, FIRST)],
    "AveragePooling1D": [
        (SIGNAL, {"pool_size": 2}),
        (SIGNAL, {"pool_size": 3, "strides": 2, "padding": "same"}),
        (SIGNAL, {"pool_size": 2, **FIRST}),
    ],
    "MaxPooling3D": [
        (VOLUME, {}),
        (VOLUME, {"pool_size": (1, 3, 2), "strides": (1, 2, 1), "padding": "same"}),
        (VOLUME, {"pool_size": 3, "strides": 1, "padding": "same", **FIRST}),
    ],
    "AveragePooling3D": [
        (VOLUME, {"pool_size": 2}),
        (VOLUME, {"pool_size": (3, 2, 3), "strides": (2, 1, 2), "padding": "same"}),
        (VOLUME, {"pool_size": 2, **FIRST}),
    ],
    "MaxPooling2D": [(IMAGE, FIRST), ((2, 3, 7, 4), {"pool_size": 3, "strides": 1, "padding": "same", **FIRST})],
    "AveragePooling2D": [(IMAGE, {"pool_size": (3, 2), **FIRST})],
    "GlobalMaxPooling1D": [(SIGNAL, {}), (SIGNAL, {"keepdims": True}), (SIGNAL, {"keepdims": True, **FIRST})],
    "GlobalAveragePooling1D": [(SIGNAL, {}), (SIGNAL, {"keepdims": True}), (SIGNAL, FIRST)],
    "GlobalMaxPooling2D": [(IMAGE, FIRST), (IMAGE, {"keepdims": True, **FIRST})],
    "GlobalAveragePooling2D": [(IMAGE, FIRST), (IMAGE, {"keepdims": True, **FIRST})],
    "GlobalMaxPooling3D": [(VOLUME, {}), (VOLUME, {"keepdims": True}), (VOLUME, {"keepdims": True, **FIRST})],
    "GlobalAveragePooling3D": [(VOLUME, {}), (VOLUME, {"keepdims": True}), (VOLUME, FIRST)],
    "ZeroPadding2D": [(IMAGE, {"padding": ((1, 0), (2, 3)), **FIRST})],
    "PReLU": [
        (IMAGE, {"alpha_initializer": "ones"}),
        (IMAGE, {"shared_axes": [1, 2], "alpha_regularizer": "l2"}),
        (SIGNAL, {"shared_axes": 1, "alpha_constraint": "non_neg"}),
    ],
    "AdaptiveAveragePooling2D": [
        ((2, 6, 9, 3), {"output_size": 3}),
        ((2, 5, 7, 3), {"output_size": (2, 3)}),
        ((2, 3, 5, 7), {"output_size": (5, 4), **FIRST}),
    ],
    "AdaptiveMaxPooling2D": [
        ((2, 6, 9, 3), {"output_size": 3}),
        ((2, 5, 7, 3), {"output_size": (2, 3)}),
        ((2, 3, 5, 7), {"output_size": (5, 4), **FIRST}),
    ],
    "AdaptiveAveragePooling3D": [(VOLUME, {"output_size": 3}), (VOLUME, {"output_size": (2, 1, 4), **FIRST})],
    "AdaptiveMaxPooling3D": [(VOLUME, {"output_size": (4, 3, 2)}), (VOLUME, {"output_size": 3, **FIRST})],
    "AdaptiveAveragePooling1D": [(SIGNAL, {"output_size": 3}), (SIGNAL, {"output_size": (7,), **FIRST})],
    "AdaptiveMaxPooling1D": [(SIGNAL, {"output_size": 3}), (SIGNAL, {"output_size": (2,), **FIRST})],
    "Dropout": [(IMAGE, {"rate": 0.5, "noise_shape": (None, 1, 1, None)}), (ROWS, {"rate": 0.25, "noise_shape": [5, 1]})],
    "SpatialDropout2D": [(IMAGE, {"rate": 0.5}), (IMAGE, {"rate": 0.5, **FIRST})],
    "SpatialDropout1D": [(SIGNAL, {"rate": 0.25})],
    "SpatialDropout3D": [(VOLUME, {"rate": 0.25}), (VOLUME, {"rate": 0.5, **FIRST})],
    "AlphaDropout": [(SIGNAL, {"rate": 0.25, "noise_shape": (None, 1, None)}), (ROWS, {"rate": 0.0})],
    "GaussianDropout": [(SIGNAL, {"rate": 0.25})],
    "GaussianNoise": [(SIGNAL, {"stddev": 0.25})],
    "ActivityRegularization": [(SIGNAL, {"l1": 0.25, "l2": 0.5})],
    "Normalization": [
        (IMAGE, {"axis": None, "mean": 2.0, "variance": 0.25}),
        (IMAGE, {"axis": (1, -1), "mean": [1.0, 2.0, 3.0], "variance": [0.5, 2.0, 4.0], "invert": True}),
        (SIGNAL, {"axis": 1, "mean": 1.0, "variance": 4.0, "invert": True}),
    ],
    "Subtract": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 1, 1, 3)], {}), ([(3, 4), SIGNAL], {})],
    "Multiply": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 1, 1, 3), IMAGE], {}), ([(2, 3), IMAGE], {}), ([ROWS], {})],
    "Average": [([IMAGE, IMAGE], {}), ([SIGNAL, (3, 4), SIGNAL], {}), ([ROWS], {})],
    "Maximum": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 5, 6, 1), IMAGE], {}), ([ROWS], {})],
    "Minimum": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 5, 6, 1), IMAGE], {}), ([ROWS], {})],
    "Dot": [
        ([ROWS, ROWS], {"axes": 1}),
        ([ROWS, ROWS], {"axes": -1, "normalize": True}),
        ([SIGNAL, SIGNAL], {"axes": -1}),
        ([(3, 4), SIGNAL], {"axes": -1}),
        ([SIGNAL, (3, 4, 7)], {"axes": (1, 2)}),
        ([SIGNAL, (3, 5, 7)], {"axes": [1, -1], "normalize": True}),
        ([(3, 4), SIGNAL], {"axes": (1, 2)}),
        ([SIGNAL, (3, 7)], {"axes": (1, 1)}),
        ([(2, 3, 4, 5), (2, 6, 4, 2)], {"axes": 2}),
    ],
    "LayerNormalization": [
        (IMAGE, {}),
        (ROWS, {"center": False, "epsilon": 1e-6}),
        (ROWS, {"scale": False, "beta_initializer": "ones"}),
        (IMAGE, {"axis": [1, 2, 3]}),
        (IMAGE, {"axis": [3, 1]}),
        (IMAGE, {"axis": (1, 3), "gamma_regularizer": "l2"}),
        (SIGNAL, {"axis": 1}),
        (SIGNAL, {"axis": [-2, -1], "beta_constraint": "non_neg"}),
    ],
    "GroupNormalization": [
        ((2, 5, 6, 4), {"groups": 2}),
        ((2, 5, 6, 4), {"groups": -1, "epsilon": 1e-5}),
        ((2, 5, 6, 4), {"groups": 1, "center": False}),
        ((2, 4, 5, 6), {"groups": 2, "axis": 1, "scale": False}),
        (ROWS, {"groups": 3}),
        (SIGNAL, {"groups": 2, "gamma_initializer": "zeros"}),
    ],
    "RMSNormalization": [(IMAGE, {}), (ROWS, {"epsilon": 1e-3}), (SIGNAL, {"axis": [-2, -1]})],
    "UnitNormalization": [(IMAGE, {}), (IMAGE, {"axis": 1}), (SIGNAL, {"axis": [1, 2]})],
    "BatchNormalization": [
        (IMAGE, {"axis": 1}),
        (IMAGE, {"axis": 2, "scale": False}),
        (SIGNAL, {"axis": -2, "center": False, "synchronized": True}),
        (SIGNAL, {"renorm": True}),
    ],
}
# Numbers of few bits: Keras rounds the root of epsilon to float32, also in a layer of float64.
RENORM = {"renorm": True, "epsilon": 2**-10, "momentum": 0.75, "renorm_momentum": 0.5}
IN_TRAINING: list[tuple[str, Any, dict[str, Any]]] = [
    ("BatchNormalization", IMAGE, {"axis": 1, "momentum": 0.5}),
    ("BatchNormalization", SIGNAL, {"axis": 1}),
    ("BatchNormalization", IMAGE, RENORM),
    ("BatchNormalization", IMAGE, RENORM | {"scale": False, "renorm_clipping": {"rmax": 1.5, "rmin": 0.5, "dmax": 0.25}}),
    ("BatchNormalization", ROWS, RENORM | {"center": False, "renorm_clipping": {"dmax": 4.0}}),
    ("BatchNormalization", IMAGE, RENORM | {"axis": 1, "renorm_clipping": {"rmin": 0.5}, "trainable": False}),
    (
        "BatchNormalization",
        ROWS,
        RENORM
        | {
            "moving_mean_initializer": "ones",
            "moving_variance_initializer": {"class_name": "Constant", "config": {"value": 4.0}},
        },
    ),
]


def values(target: Target, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Odd multiples of 1/128, no two of them equal: TensorFlow's gradient of a maximum over an axis shares among ties."""
    places = np.random.default_rng(seed).permutation(int(np.prod(shape))) * 2 + 1
    return ((places - places.size) / 128).reshape(shape).astype(target.dtype)


@pytest.mark.parametrize(("name", "index"), [(name, index) for name, cases in CASES.items() for index in range(len(cases))])
def test_layer_equals_keras(target: Target, name: str, index: int) -> None:
    shape, arguments = CASES[name][index]
    if name.startswith("Conv") and FIRST.items() <= arguments.items() and target.dtype == "float64":
        pytest.skip("TensorFlow has it on a CPU in float32 alone")
    if (name.endswith("Pooling3D") and "Global" not in name) or (name == "Conv3DTranspose" and arguments["kernel_size"] == 1):
        target = Target(target.backend, "float32")  # TensorFlow has no others on a CPU, or wrong ones
    x = [values(target, i, one) for i, one in enumerate(shape)] if isinstance(shape, list) else values(target, index, shape)
    # Softmax's gradient is a difference.
    check_layer(name, target, x, index, terms=1.0 if arguments.get("activation") == "softmax" else 0.0, **arguments)


@pytest.mark.parametrize("name", CASES)
def test_of_sizes_that_vary_the_output_s_vary_as_in_keras(name: str) -> None:
    """Each axis by itself; a channel axis is one that most layers need to know."""
    for shape, arguments in CASES[name]:
        shapes = [*shape] if isinstance(shape, list) else [shape]
        for number, of_input in enumerate(shapes):
            for axis in range(1, len(of_input)):
                given_shapes = [(None, *one[1:]) for one in shapes]
                given_shapes[number] = tuple(None if i in (0, axis) else size for i, size in enumerate(of_input))
                of_inputs = given_shapes if isinstance(shape, list) else given_shapes[0]
                ours, theirs = pair_of(name, Target("reference", "float32"), **arguments)
                try:
                    expected = tuple(theirs.compute_output_shape(of_inputs))
                except (ValueError, TypeError):
                    continue  # it has to know
                assert tuple(ours.compute_output_shape(of_inputs)) == expected, (given_shapes, arguments)


# Images of other sizes, which Keras's refuse.
OTHER_SIZES = {"ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}


@pytest.mark.parametrize("name", [name for name, cases in CASES.items() if not isinstance(cases[0][0], list)])
def test_a_built_layer_takes_other_shapes_where_keras_s_does(name: str) -> None:
    """One more place along each axis, an axis less, and one more: no kernel may read beyond its weights."""
    for shape, arguments in CASES[name]:
        wider = [tuple(size + (i == axis) for i, size in enumerate(shape)) for axis in range(1, len(shape))]
        if name in OTHER_SIZES:
            wider = wider[-1:]
        ranks = [] if name.startswith("Adaptive") else [shape[:-1], (*shape, 2)]  # Keras's do not look
        layers_of_both = pair_of(name, Target("reference", "float32"), **arguments)
        for layer in layers_of_both:
            layer.build(shape)
        for other in (*wider, *(one for one in ranks if len(one) > 1)):
            taken = []
            for layer in layers_of_both:
                try:
                    taken.append(bool(layer(np.ones(other, "float32")).shape))
                except (ValueError, IndexError, tf.errors.OpError):
                    taken.append(False)
            assert taken[0] == taken[1], (other, arguments)


@pytest.mark.parametrize(("name", "shape", "arguments"), IN_TRAINING)
def test_layer_in_training_equals_keras(target: Target, name: str, shape: tuple[int, ...], arguments: dict[str, Any]) -> None:
    check_layer(name, target, target.normal(1, *shape), 2, training=True, terms=4.0, **arguments)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3", "lanczos5"])
@pytest.mark.parametrize(("image", "size"), [((5, 6), 2), ((1, 3), (4, 2)), ((2, 1), (3, 1)), ((9, 4), (1, 8))])
def test_smooth_upsampling(target: Target, interpolation: str, image: tuple[int, int], size: Any) -> None:
    """TensorFlow mixes in float32 alone, and takes bicubic's weights from a table of 1024 places, exact for powers of 2."""
    if target.dtype == "float64":
        pytest.skip("Keras computes it in float32")
    if interpolation == "bicubic" and 3 in np.atleast_1d(size):
        pytest.skip("its table has no thirds")
    check_layer("UpSampling2D", target, target.normal(0, 2, *image, 3), 0, size=size, interpolation=interpolation)


BAD: list[tuple[Any, str]] = [
    (lambda: layers.Conv2D(2, True), "`kernel_size` argument must be a tuple of 2 integers. Received kernel_size=True"),
    (lambda: layers.UpSampling2D(0), "The `size` argument must be a tuple of 2 integers"),
    (lambda: layers.UpSampling2D(interpolation="cubic"), "Invalid `interpolation` argument.*'cubic'"),
    (lambda: layers.UpSampling2D()(np.ones((2, 3, 4))), "expected ndim=4, found ndim=3"),
    (lambda: layers.UpSampling1D(2.0), "Expected an integer value for `size`, got <class 'float'>"),
    (lambda: layers.UpSampling1D(0), "Argument `size` should be a positive integer. Received: size=0"),
    (lambda: layers.RepeatVector(True), "Expected an integer value for `n`"),
    (lambda: layers.RepeatVector(-1), "Argument `n` should be a positive integer"),
    (lambda: layers.Cropping2D(-1), "`cropping` cannot be negative"),
    (lambda: layers.Cropping2D((1, 2, 3)), "`cropping` should have two elements"),
    (lambda: layers.Cropping2D(None), "`cropping` should be either an int, a tuple of 2 ints"),
    (lambda: layers.Cropping2D(((1, 2), 0.5)), "The `2nd entry of cropping` argument must be a tuple of 2 integers"),
    (lambda: layers.Cropping2D(3, name="crop")(np.ones((1, 6, 9, 1))), "should be smaller.*cropping.*Layer: 'crop'"),
    (lambda: layers.Cropping1D(2)(np.ones((1, 4, 1))), "`cropping` parameter of `Cropping1D` layer must be smaller"),
    (lambda: layers.PReLU().build((None, None, 3)), "the axes that `shared_axes` does not name must have a defined size"),
    (lambda: layers.AdaptiveMaxPooling2D((1, 2, 3)), r"`output_size` must be an integer or \(height, width\) tuple"),
    (lambda: layers.AdaptiveAveragePooling1D("3"), "`output_size` must be an integer or tuple of 1 integer"),
    (lambda: layers.AdaptiveAveragePooling1D(0), "`output_size` argument must be a tuple of 1 integers"),
    (lambda: layers.Dropout(0.5, noise_shape="one"), "Expected a tuple or list of integers. Received: noise_shape='one'"),
    (lambda: layers.Dropout(0.5, noise_shape=(1.5, 1)), "Expected all elements to be integers or None.*index 0: 1.5"),
    (lambda: layers.Dropout(0.5, noise_shape=(0, 1)), "positive integers or None.*index 0: 0"),
    (lambda: layers.Dropout(0.5, noise_shape=(2, 2, 4))(ONES, training=True), "`noise_shape` must have for each axis"),
    (lambda: layers.SpatialDropout1D(0.5)(ONES[0]), "expected ndim=3, found ndim=2"),
    (lambda: layers.SpatialDropout2D(2.0), "argument `rate`. Expected a float value between 0 and 1"),
    (lambda: layers.GaussianNoise(-1), "argument `stddev`. Expected a float value between 0 and 1. Received: stddev=-1"),
    (lambda: layers.GaussianDropout(1.0, name="noisy")(ONES, training=True), "Layer 'noisy': with `rate` 1 the noise"),
    (lambda: layers.AlphaDropout(1.0)(ONES, training=True), "with `rate` 1 the noise would be infinite"),
    (lambda: layers.Normalization(mean=1.0), "both `mean` and `variance` must be set"),
    (lambda: layers.Normalization(mean=[1.0, 2.0], variance=1.0), "must have the same shape"),
    (lambda: layers.Normalization(axis=None, mean=[1.0], variance=[1.0]), "The rank of `mean` must be less than or equal"),
    (lambda: layers.Normalization(axis=3)(ONES), "must be in the range .* Received inputs with ndim=3"),
    (lambda: layers.Normalization(axis=1).build((2, None, 3)), "must have a known shape"),
    (lambda: layers.Normalization().adapt([]), "received an empty iterable"),
    (lambda: layers.Normalization().adapt(3), "Unsupported data type: <class 'int'>"),
    (lambda: layers.Normalization().adapt([ONES, ONES[..., :2]]), r"`adapt` got data of an incompatible shape, \(2, 3, 2\)"),
    (lambda: layers.Embedding(0, 2), "`input_dim` must be a positive integer. Received: input_dim=0"),
    (lambda: layers.Permute((1, 3)), "Invalid permutation argument `dims` for Permute Layer"),
    (lambda: layers.Conv1D(2, (3, 3)), "The `kernel_size` argument must be a tuple of 1 integers"),
    (lambda: layers.Conv1D(2, 3, padding="full"), r"must be one of \('valid', 'same', 'causal'\)"),
    (lambda: layers.Conv2D(2, 3, padding="causal"), r"must be one of \('valid', 'same'\). Received: padding='causal'"),
    (lambda: layers.Conv1D(2, 5)(ONES), r"zero or negative.*kernel shape=\(5, 4, 2\)"),
    (lambda: layers.Conv1D(2, 2)(ONES[0]), "expected min_ndim=3, found ndim=2"),
    (lambda: layers.Conv2DTranspose(0, 2), "argument `filters`. Expected a strictly positive value. Received filters=0"),
    (lambda: layers.Conv2DTranspose(2, 0), "The `kernel_size` argument must be a tuple of 2 integers"),
    (lambda: layers.Conv2DTranspose(2, 3, 2, padding="causal"), r"must be one of \('valid', 'same'\)"),
    (
        lambda: layers.Conv2DTranspose(2, 3, (1, 2), output_padding=(1, 1)),
        "must be strictly less than `strides` for all dimensions. At dimension 0, `output_padding` is 1 but `strides` is 1",
    ),
    (lambda: layers.Conv1DTranspose(2, 3, 2, output_padding=-1), "`output_padding` argument must be a tuple of 1 integers"),
    (lambda: layers.Conv2DTranspose(2, 3, 2, dilation_rate=2), "`strides > 1` not supported in conjunction with"),
    (lambda: layers.Conv1DTranspose(2, 2)(ONES[0]), "expected min_ndim=3, found ndim=2"),
    (
        lambda: layers.Conv1DTranspose(2, 2, 2, padding="same", output_padding=0, name="up")(ONES[:, :1]),
        r"zero or negative.*`output_padding=\(0,\)`. Layer: 'up'",
    ),
    (lambda: layers.Conv3D(2, (3, 3)), r"The `kernel_size` argument must be a tuple of 3 integers. Received .*\(3, 3\)"),
    (lambda: layers.Conv3D(2, 3, 2, dilation_rate=2), "`strides > 1` not supported in conjunction with"),
    (lambda: layers.Conv3D(3, 2, groups=2), "must be evenly divisible by the number of groups.*groups=2, filters=3"),
    (lambda: layers.Conv3D(2, 2)(ONES), "expected min_ndim=5, found ndim=3"),
    (lambda: layers.Conv3D(2, 2)(ONES[None, ..., None, None]), r"kernel of shape \(2, 2, 2, 1, 2\) and input of shape"),
    (lambda: layers.Conv3D(2, 3)(ONES[None, ..., None]), r"zero or negative.*kernel shape=\(3, 3, 3, 1, 2\)"),
    (lambda: layers.Conv3D(2, 1).build((2, 3, 3, 3, None)), "the last dimension of the inputs must be defined"),
    (
        lambda: layers.Conv3DTranspose(2, 3, (2, 2, 1), output_padding=(1, 1, 1)),
        "At dimension 2, `output_padding` is 1 but `strides` is 1",
    ),
    (lambda: layers.MaxPooling3D((1, 2)), "The `pool_size` argument must be a tuple of 3 integers"),
    (lambda: layers.MaxPooling3D((3, 1, 1))(ONES[None, ..., None]), r"zero or negative.*`pool_size=\(3, 1, 1\)`"),
    (lambda: layers.GlobalMaxPooling3D()(ONES), "expected ndim=5, found ndim=3"),
    (lambda: layers.AdaptiveMaxPooling3D((1, 2)), r"`output_size` must be an integer or \(depth, height, width\) tuple"),
    (lambda: layers.UpSampling3D((2, 2)), "The `size` argument must be a tuple of 3 integers"),
    (lambda: layers.ZeroPadding3D((1, 2)), r"`padding` should have 3 elements. Received: padding=\(1, 2\)"),
    (lambda: layers.ZeroPadding3D(None), "an int, a tuple of 3 ints .*, or a tuple of 3 tuples of 2 ints .*right_dim3_pad"),
    (lambda: layers.Cropping3D(-1), "`cropping` cannot be negative"),
    (lambda: layers.Cropping3D(((1, 2), 0, 0.5)), "The `3rd entry of cropping` argument must be a tuple of 2 integers"),
    (lambda: layers.Cropping3D()(ONES[None, ..., None]), r"should be smaller.*cropping=\(\(1, 1\), \(1, 1\), \(1, 1\)\)"),
    (lambda: layers.SpatialDropout3D(0.5)(ONES), "expected ndim=5, found ndim=3"),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "argument `depth_multiplier`. Expected a strictly positive value"),
    (lambda: layers.DepthwiseConv2D((3, 3, 3)), "The `kernel_size` argument must be a tuple of 2 integers"),
    (lambda: layers.DepthwiseConv1D(3, padding="causal"), r"must be one of \('valid', 'same'\)"),
    (lambda: layers.DepthwiseConv1D(5)(ONES), r"zero or negative.*kernel shape=\(5, 4, 4\)"),
    (lambda: layers.DepthwiseConv2D(3)(ONES), "expected min_ndim=4, found ndim=3"),
    (lambda: layers.DepthwiseConv1D(2).build((2, 5, None)), "the last dimension of the inputs must be defined"),
    (lambda: layers.SeparableConv2D(-1, 3), "argument `filters`. Expected a strictly positive value. Received filters=-1"),
    (lambda: layers.SeparableConv1D(2, 3, depth_multiplier=0.5), "argument `depth_multiplier`"),
    (lambda: layers.SeparableConv1D(2, 5)(ONES), r"zero or negative.*kernel shape=\(5, 4, 2\)"),
    (lambda: layers.MaxPooling1D(4)(ONES), r"zero or negative.*`pool_size=\(4,\)`"),
    (lambda: layers.MaxPooling2D(data_format="NCHW"), "The `data_format` argument must be one of"),
    (lambda: layers.GlobalMaxPooling1D()(ONES[None]), "expected ndim=3, found ndim=4"),
    (lambda: layers.Subtract()([ONES] * 3), "`Subtract` layer should be called on exactly 2 inputs"),
    (lambda: layers.Multiply()(ONES), "A merge layer should be called on a list of inputs"),
    (lambda: layers.Maximum()([ONES, ONES[:, :2]]), "Inputs have incompatible shapes"),
    (lambda: layers.Dot(1.0), "Invalid type for argument `axes`: it should be a list or an int"),
    (lambda: layers.Dot((1, 2, 3)), "Invalid format for argument `axes`: it should contain two elements"),
    (lambda: layers.Dot((1, 2.0)), "list elements should be integers"),
    (lambda: layers.Dot(1)([ONES] * 3), "`Dot` layer should be called on a list of 2 inputs"),
    (lambda: layers.Dot(0)([ONES] * 2), "Cannot perform batch_dot over axis 0"),
    (lambda: layers.Dot((1, 2))([ONES, ONES]), r"Incompatible input shapes: axis values 3 \(at axis 1\) != 4 \(at axis 2\)"),
    (lambda: layers.LayerNormalization(axis="a"), "Expected an int or a list/tuple of ints for the argument 'axis'"),
    (lambda: layers.LayerNormalization(axis=3)(ONES), "Axis 3 is out of bounds for input shape"),
    (lambda: layers.LayerNormalization(axis=1).build((2, None, 3)), "should have a defined dimension"),
    (lambda: layers.LayerNormalization(rms_scaling=True), "`rms_scaling` is not supported by minicnn"),
    (lambda: layers.GroupNormalization(0), "invalid value for argument `groups`, expected a positive integer"),
    (lambda: layers.GroupNormalization(8)(ONES), r"Number of groups \(8\) cannot be more than the number of channels \(4\)"),
    (lambda: layers.GroupNormalization(3)(ONES), r"\(3\) must be a multiple of the number of channels \(4\)"),
    (lambda: layers.RMSNormalization(axis=1)(ONES), "`axis` must name the last axis, or the last ones"),
    (lambda: layers.UnitNormalization(axis=-4)(ONES), "Axis -4 is out of bounds"),
    (lambda: layers.BatchNormalization(axis=1).build((2, None, 3)), "Axis 1 of input tensor should have a defined dimension"),
    (
        lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"max": 1}),
        "Received invalid keys for `renorm_clipping` argument",
    ),
    (
        lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1, "rmin": 2}),
        "rmax should be greater than rmin",
    ),
    (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}), "dmax should be non-negative"),
    (lambda: layers.ZeroPadding1D("a"), "The `padding` argument must be a tuple of 2 integers"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "elu"}),
        ("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}),
        ("DepthwiseConv2D", {"kernel_size": (3, 2), "strides": (1, 2), "depth_multiplier": 2, "activation": "elu"}),
        ("SeparableConv2D", {"filters": 4, "kernel_size": 2, "dilation_rate": 2, "strides": 2, "padding": "same"}),
        ("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2, "output_padding": 1, "activation": "elu"}),
        ("Conv3DTranspose", {"filters": 2, "kernel_size": (1, 2, 3), "strides": 2, "padding": "same", "activation": "relu"}),
        ("Conv3D", {"filters": 2, "kernel_size": 2, "dilation_rate": (2, 1, 1), "groups": 2, "activation": "elu"}),
        ("DepthwiseConv1D", {"kernel_size": 2, "strides": 2, "depth_multiplier": 2, "activation": "tanh"}),
        ("ConvLSTM1D", {"filters": 3, "kernel_size": 2, "padding": "same", "return_sequences": True}),
        ("ConvLSTM2D", {"filters": 3, "kernel_size": (2, 1), "strides": (1, 2)}),
        ("UpSampling2D", {"size": (1, 2), "interpolation": "bilinear"}),
        ("AveragePooling2D", {"pool_size": 3, "strides": (1, 2), "padding": "same"}),
        ("RandomFlip", {"seed": 1}),
        ("RandomRotation", {"factor": 0.25, "seed": 1}),
        ("CenterCrop", {"height": 3, "width": 2}),
        ("RandomCrop", {"height": 3, "width": 4, "seed": 2}),
        ("Resizing", {"height": 9, "width": 4}),
    ],
)
def test_channels_first_is_channels_last_transposed(target: Target, name: str, arguments: dict[str, Any]) -> None:
    space = {"1": (6,), "3": (4, 5, 6)}.get(name.replace("Transpose", "")[-2], (5, 6))
    steps = (3,) if "LSTM" in name else ()
    x, place = target.normal(0, 2, *steps, *space, 4 if "groups" in arguments else 3), 1 + len(steps)

    def turned(y: Any) -> np.ndarray:
        """With the channels first: an output may have no axis of steps."""
        return np.ascontiguousarray(np.moveaxis(np.asarray(y), -1, place if y.ndim == x.ndim else 1))

    last = getattr(layers, name)(dtype=target.dtype, **arguments)
    first = getattr(layers, name)(dtype=target.dtype, **arguments, **FIRST)
    last.build(x.shape)
    expected, saved = last.forward(x, True)
    first.build(turned(x).shape)
    first.set_weights(last.get_weights())
    y, kept = first.forward(turned(x), True)
    np.testing.assert_array_equal(y, turned(expected))
    assert first.compute_output_shape((None, *turned(x).shape[1:])) == (None, *y.shape[1:])
    assert type(first).from_config(first.get_config()).data_format == "channels_first"
    if not name.startswith(("Random", "CenterCrop", "Resizing")):
        dy = target.normal(1, *expected.shape)
        expected_dx, expected_grads = last.backward(dy, saved)
        dx, grads = first.backward(turned(dy), kept)
        np.testing.assert_array_equal(dx, turned(expected_dx))
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            np.testing.assert_array_equal(grad, expected_grad)


def test_the_default_data_format_is_a_switch() -> None:
    assert layers.Conv2D(2, 3).data_format == config.image_data_format() == "channels_last"
    config.set_image_data_format("channels_first")
    try:
        assert layers.Conv2D(2, 3).compute_output_shape((None, 3, 8, 9)) == (None, 2, 6, 7)
        assert layers.GlobalMaxPooling2D().compute_output_shape((None, 3, 8, 9)) == (None, 3)
    finally:
        config.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="`data_format` argument must be one of"):
        config.set_image_data_format("NCHW")


@gradient_cases
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=3), V=st.integers(1, 6), C=st.integers(1, 4), seed=seeds)
def test_embedding(target: Target, shape: list[int], V: int, C: int, seed: int) -> None:
    """Against a product with one-hot vectors."""
    layer = layers.Embedding(V, C, dtype=target.dtype, embeddings_regularizer="l2")
    labels = np.random.default_rng(seed).integers(0, V, shape)
    layer.build_once((None, *shape[1:]))
    table, dy = target.normal(seed, V, C), target.normal(seed + 1, *shape, C)
    layer.set_weights([table])
    one_hot = (labels[..., None] == np.arange(V)).astype(target.dtype)
    assert layer(labels).shape == (*shape, C) == layer.compute_output_shape(tuple(shape))
    y, saved = layer.forward(labels.astype(target.dtype), True)
    target.check(y, one_hot @ table)
    dx, (dtable,) = layer.backward(dy, saved)
    target.check(dtable, one_hot.reshape(-1, V).T @ dy.reshape(-1, C))
    assert dx.shape == labels.shape
    assert not dx.any()
    assert layer.backward(dy, saved, need_dx=False)[0] is None


def test_embedding_configs_and_weights(target: Target) -> None:
    arguments = {"input_dim": 4, "output_dim": 2, "embeddings_constraint": "non_neg"}
    check_configs(*pair_of("Embedding", target, **arguments))
    table = target.normal(0, 4, 2)
    for given_table in ([table], table, table.tolist()):
        layer = layers.Embedding(**arguments, weights=given_table, dtype=target.dtype)
        np.testing.assert_array_equal(layer([[3, 0]]), table[None, [3, 0]])
    with pytest.warns(UserWarning, match="`input_length` is deprecated"):
        layers.Embedding(4, 2, input_length=3)


def test_statistics_of_a_renormalization_begin_as_in_keras() -> None:
    four = {"class_name": "Constant", "config": {"value": 4.0}}
    arguments = {"renorm": True, "moving_mean_initializer": "ones", "moving_variance_initializer": four}
    ours, theirs = layers.BatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments)
    for layer in (ours, theirs):
        layer.build((None, 3))
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other), err_msg=one.name)


@pytest.mark.parametrize("axis", [-1, None, (1, 3), (-1, 2), 2])
def test_normalization_adapts(target: Target, axis: Any) -> None:
    """To an array, and to the same images in batches of different size; as Keras does."""
    x = target.normal(0, 9, 4, 5, 3) * 2 + 1
    whole, theirs = pair_of("Normalization", target, axis=axis)
    in_batches = layers.Normalization(axis, dtype=target.dtype)
    check_configs(whole, theirs)
    whole.adapt(x)
    in_batches.adapt((x[:2], "labels") if i == 0 else x[2 : 2 + 7 * i] for i in range(2))
    theirs.adapt(x)
    assert [w.shape for w in whole.weights] == [tuple(w.shape) for w in theirs.weights]
    for layer in (whole, in_batches):
        np.testing.assert_allclose(layer(x), theirs(x), rtol=0, atol=1e-5 if target.dtype == "float32" else 1e-12)
    np.testing.assert_allclose(whole.mean, theirs.mean, atol=1e-5)
    np.testing.assert_allclose(whole.variance, theirs.variance, rtol=1e-5)
    inverse = layers.Normalization(axis, invert=True, dtype=target.dtype)
    inverse.adapt(x)
    np.testing.assert_allclose(inverse(whole(x)), x, rtol=0, atol=1e-4)
    whole.adapt(-x)  # anew
    np.testing.assert_allclose(whole.mean, -theirs.mean, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("SpatialDropout1D", (3, 1, 5)),
        ("SpatialDropout2D", (3, 1, 1, 5)),
        ("SpatialDropout3D", (3, 1, 1, 1, 5)),
        ("AlphaDropout", None),
    ],
)
def test_what_shares_a_mask_is_dropped_together(target: Target, name: str, shared: tuple[int, ...] | None) -> None:
    layer = getattr(layers, name)(0.5, seed=1, dtype=target.dtype)
    ones = np.ones((3, *(4,) * (len(shared or (0, 0)) - 2), 5), target.dtype)
    y, saved = layer.forward(ones, True)
    dx, _ = layer.backward(ones, saved)
    np.testing.assert_array_equal(dx > 0, y > 0)
    assert len(np.unique(y)) == 2
    if shared is not None:
        np.testing.assert_array_equal(y, np.broadcast_to(y.max(axis=tuple(range(1, y.ndim - 1)), keepdims=True), y.shape))
        target.check(dx, y)


def test_noise_has_the_mean_and_deviation_that_it_says(target: Target) -> None:
    x = np.full((400, 500), 2, target.dtype)
    error = 6 / x.size**0.5
    z = np.asarray(layers.GaussianNoise(0.5, seed=1, dtype=target.dtype)(x, training=True)) - x
    assert abs(z.mean()) < 0.5 * error
    assert abs(z.std() / 0.5 - 1) < error
    assert abs((z**3).mean()) < 15 * error  # no skew
    assert abs((z**4).mean() / 0.5**4 - 3) < 30 * error  # a normal distribution's tails
    assert abs(np.corrcoef(z[:, :-1].ravel(), z[:, 1:].ravel())[0, 1]) < error
    layer = layers.GaussianDropout(0.2, seed=1, dtype=target.dtype)
    y, saved = layer.forward(x, True)
    assert abs(y.mean() / 2 - 1) < 0.5 * error
    assert abs((y / 2).std() / 0.5 - 1) < error
    dx, _ = layer.backward(x, saved)
    target.check(dx, y)
    np.testing.assert_allclose((y / 2 - 1) / 0.5, z / 0.5, atol=1e-5)  # of one seed, one noise
    normal = layers.AlphaDropout(0.3, seed=2, dtype=target.dtype)(z / 0.5, training=True)
    assert abs(np.mean(normal)) < 2 * error
    assert abs(np.std(normal) - 1) < 2 * error


def doubled(x: Any) -> Any:
    return 2 * x


def test_lambda(tmp_path: Path) -> None:
    assert layers.Lambda(lambda x: x[:, ::2] * 3)(layers.Input((5, 4))).shape == (None, 3, 4)
    assert layers.Lambda(lambda x: x, output_shape=(7,)).compute_output_shape((None, 3)) == (None, 7)
    assert layers.Lambda(lambda x: x, output_shape=lambda shape: (shape[0], 8)).compute_output_shape((2, 3)) == (2, 8)
    assert layers.Lambda(lambda xs: xs[0] @ xs[1])([layers.Input((2, 3)), layers.Input((3, 4))]).shape == (None, 2, 4)
    with pytest.raises(NotImplementedError, match="We could not automatically infer the shape of the Lambda's output"):
        layers.Lambda(lambda x: x.reshape(7)).compute_output_shape((None, 5))
    with pytest.raises(ValueError, match=r"Op 'reshape' cannot be applied to inputs of the shapes \(None, 5\)"):
        layers.Lambda(lambda x: x.reshape(7))(layers.Input((5,)))
    scaled = layers.Lambda(lambda x, by, training: x * by if training else x, arguments={"by": 3})
    np.testing.assert_array_equal(scaled(ONES), ONES)
    np.testing.assert_array_equal(scaled(ONES, training=True), 3 * ONES)


def lambda_model(function: Any) -> tuple[Sequential, np.ndarray]:
    """A trained model that begins with a `Lambda`, and what it predicts."""
    model = Sequential([layers.Input((4,)), layers.Lambda(function), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(ONES[0], ONES[0, :, :2], verbose=0)
    return model, model.predict(ONES[0], verbose=0)


def test_a_file_brings_a_function_by_its_name(tmp_path: Path) -> None:
    model, expected = lambda_model(doubled)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="doubled"):
        load_model(tmp_path / "model.keras", safe_mode=False)
    loaded = load_model(tmp_path / "model.keras", custom_objects={"doubled": doubled})
    np.testing.assert_array_equal(loaded.predict(ONES[0], verbose=0), expected)


def test_a_file_brings_a_lambda_if_the_user_says_so(tmp_path: Path) -> None:
    offset = 2.5
    for function in (lambda x: 3 * x, lambda x, by=3: x * by + offset):
        model, expected = lambda_model(function)
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=r"deserialization of a Python lambda.*`safe_mode=False`"):
            load_model(tmp_path / "model.keras")
        loaded = load_model(tmp_path / "model.keras", safe_mode=False)
        np.testing.assert_array_equal(loaded.predict(ONES[0], verbose=0), expected)
        if function.__closure__ is None:  # what a lambda closes over, Keras writes and cannot read
            theirs = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
            np.testing.assert_allclose(theirs.predict(ONES[0], verbose=0), expected, rtol=1e-6)


def test_an_older_name_of_the_slope_is_taken() -> None:
    with pytest.warns(UserWarning, match="Argument `alpha` is deprecated"):
        layer = layers.LeakyReLU(alpha=0.5)
    np.testing.assert_array_equal(layer(-ONES), -0.5 * ONES)
    assert layer.get_config()["negative_slope"] == 0.5


def test_a_channel_that_is_constant_is_divided_by_what_keras_divides_by() -> None:
    x = np.stack([np.full(6, 3.0), np.arange(6.0)], axis=1).astype("float32")
    ours, theirs = layers.Normalization(), keras.layers.Normalization()
    for layer in (ours, theirs):
        layer.adapt(x)
    np.testing.assert_allclose(ours(x + 1), theirs(x + 1), rtol=1e-5)


def test_a_function_of_several_inputs_may_say_its_shape() -> None:
    for module in (layers, keras.layers):
        layer = module.Lambda(lambda xs: xs[0], output_shape=(3, 4))
        assert tuple(layer.compute_output_shape([(None, 3, 4), (None, 5)])) == (None, 3, 4)


def test_a_penalty_on_outputs_has_two_parts() -> None:
    layer, theirs = layers.ActivityRegularization(l1=0.25, l2=0.5), keras.layers.ActivityRegularization(l1=0.25, l2=0.5)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    theirs(x)
    model = Sequential([layers.Input((3,)), layer])
    model.compile("sgd", "mse")
    expected = float(theirs.losses[0])
    assert model.evaluate(x, x, batch_size=4, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_lambda_of_an_op_is_written_as_keras_writes_it() -> None:
    configs = [module.layers.serialize(module.layers.Lambda(module.ops.square)) for module in (minicnn, keras)]
    assert configs[0]["config"]["function"] == configs[1]["config"]["function"]
    again = layers.deserialize(configs[1])
    np.testing.assert_array_equal(again(3 * np.ones((1, 2), "float32")), np.full((1, 2), 9))
