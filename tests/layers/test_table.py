"""One table of cases: shapes, values, gradients and configs of layers, each against Keras's of the same arguments.

Layers whose kernels are another layer's, or a few lines of NumPy, stand here; `test_against_keras` draws cases for the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import layers
from tests.layers.checks import check_layer
from tests.ops.checks import Target, gradient_cases, seeds

IMAGE, SIGNAL, ROWS = (2, 5, 6, 3), (3, 7, 4), (5, 6)

# Class -> (shape of the input, or a list of shapes; arguments)
CASES: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "UpSampling2D": [
        (IMAGE, {}),
        (IMAGE, {"size": 3}),
        (IMAGE, {"size": (1, 4), "data_format": "channels_last"}),
        ((1, 1, 1, 1), {"size": (5, 2), "interpolation": "Nearest"}),
    ],
    "UpSampling1D": [(SIGNAL, {}), (SIGNAL, {"size": 3}), ((1, 1, 1), {"size": 1})],
    "RepeatVector": [(ROWS, {"n": 1}), (ROWS, {"n": 4})],
    "Cropping2D": [
        (IMAGE, {}),
        (IMAGE, {"cropping": 1}),
        (IMAGE, {"cropping": (2, 1)}),
        (IMAGE, {"cropping": ((1, 3), (0, 5))}),
    ],
    "Cropping1D": [(SIGNAL, {}), (SIGNAL, {"cropping": 2}), (SIGNAL, {"cropping": (0, 6)})],
    "ZeroPadding1D": [(SIGNAL, {}), (SIGNAL, {"padding": 3}), (SIGNAL, {"padding": (0, 2)})],
}


@pytest.mark.parametrize(("name", "index"), [(name, index) for name, cases in CASES.items() for index in range(len(cases))])
def test_layer_equals_keras(target: Target, name: str, index: int) -> None:
    shape, arguments = CASES[name][index]
    x = [target.normal(i, *one) for i, one in enumerate(shape)] if isinstance(shape, list) else target.normal(index, *shape)
    check_layer(name, target, x, index, **arguments)


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
    (lambda: layers.Cropping1D(2)(np.ones((1, 4, 1))), "must be smaller than the input length"),
    (lambda: layers.ZeroPadding1D("a"), "The `padding` argument must be a tuple of 2 integers"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
