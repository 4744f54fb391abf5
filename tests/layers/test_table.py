"""One table of cases: shapes, values, gradients and configs of layers, each against Keras's of the same arguments.

Layers whose kernels are another layer's, or a few lines of NumPy, stand here; `test_against_keras` draws cases for the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minicnn import layers
from tests.layers.checks import check_layer
from tests.ops.checks import Target

ONES = np.ones((2, 3, 4))
FIRST = {"data_format": "channels_first"}
IMAGE, SIGNAL, ROWS = (2, 5, 6, 3), (3, 7, 4), (5, 6)

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
    "RepeatVector": [(ROWS, {"n": 1}), (ROWS, {"n": 4})],
    "Cropping2D": [
        (IMAGE, {}),
        (IMAGE, {"cropping": 1}),
        (IMAGE, {"cropping": (2, 1)}),
        (IMAGE, {"cropping": ((1, 3), (0, 5))}),
        (IMAGE, {"cropping": ((1, 3), (0, 1)), **FIRST}),
    ],
    "Cropping1D": [(SIGNAL, {}), (SIGNAL, {"cropping": 2}), (SIGNAL, {"cropping": (0, 6)})],
    "ZeroPadding1D": [(SIGNAL, {}), (SIGNAL, {"padding": 3}), (SIGNAL, {"padding": (0, 2), **FIRST})],
    "Permute": [(IMAGE, {"dims": (3, 1, 2)}), (SIGNAL, {"dims": [2, 1]}), (ROWS, {"dims": (1,)})],
    "Identity": [(IMAGE, {})],
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
    "MaxPooling1D": [(SIGNAL, {}), (SIGNAL, {"pool_size": 3, "strides": 1, "padding": "same"}), (SIGNAL, FIRST)],
    "AveragePooling1D": [
        (SIGNAL, {"pool_size": 2}),
        (SIGNAL, {"pool_size": 3, "strides": 2, "padding": "same"}),
        (SIGNAL, {"pool_size": 2, **FIRST}),
    ],
    "MaxPooling2D": [(IMAGE, FIRST), ((2, 3, 7, 4), {"pool_size": 3, "strides": 1, "padding": "same", **FIRST})],
    "AveragePooling2D": [(IMAGE, {"pool_size": (3, 2), **FIRST})],
    "GlobalMaxPooling1D": [(SIGNAL, {}), (SIGNAL, {"keepdims": True}), (SIGNAL, {"keepdims": True, **FIRST})],
    "GlobalAveragePooling1D": [(SIGNAL, {}), (SIGNAL, {"keepdims": True}), (SIGNAL, FIRST)],
    "GlobalMaxPooling2D": [(IMAGE, FIRST), (IMAGE, {"keepdims": True, **FIRST})],
    "GlobalAveragePooling2D": [(IMAGE, FIRST), (IMAGE, {"keepdims": True, **FIRST})],
    "ZeroPadding2D": [(IMAGE, {"padding": ((1, 0), (2, 3)), **FIRST})],
    "Subtract": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 1, 1, 3)], {}), ([(3, 4), SIGNAL], {})],
    "Multiply": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 1, 1, 3), IMAGE], {}), ([(2, 3), IMAGE], {}), ([ROWS], {})],
    "Average": [([IMAGE, IMAGE], {}), ([SIGNAL, (3, 4), SIGNAL], {}), ([ROWS], {})],
    "Maximum": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 5, 6, 1), IMAGE], {}), ([ROWS], {})],
    "Minimum": [([IMAGE, IMAGE], {}), ([IMAGE, (2, 5, 6, 1), IMAGE], {}), ([ROWS], {})],
    "Dot": [
        ([ROWS, ROWS], {"axes": 1}),
        ([ROWS, ROWS], {"axes": -1, "normalize": True}),
        ([SIGNAL, SIGNAL], {"axes": -1}),
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
    x = [values(target, i, one) for i, one in enumerate(shape)] if isinstance(shape, list) else values(target, index, shape)
    check_layer(name, target, x, index, **arguments)


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
    (lambda: layers.Cropping1D(2)(np.ones((1, 4, 1))), "Values in `cropping` argument should be smaller"),
    (lambda: layers.Permute((1, 3)), "Invalid permutation argument `dims` for Permute Layer"),
    (lambda: layers.Conv1D(2, (3, 3)), "The `kernel_size` argument must be a tuple of 1 integers"),
    (lambda: layers.Conv1D(2, 3, padding="full"), r"must be one of \('valid', 'same', 'causal'\)"),
    (lambda: layers.Conv2D(2, 3, padding="causal"), r"must be one of \('valid', 'same'\). Received: padding='causal'"),
    (lambda: layers.Conv1D(2, 5)(ONES), r"zero or negative.*kernel shape=\(5, 4, 2\)"),
    (lambda: layers.Conv1D(2, 2)(ONES[0]), "expected min_ndim=3, found ndim=2"),
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
