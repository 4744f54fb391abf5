"""`minicnn.ops` against `keras.ops`: values, gradients by a tape and in a graph, configs, on shapes that Hypothesis draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from hypothesis import given

import minicnn
from minicnn import ops
from minicnn.structure import flatten_struct
from tests.drawn import drawn_cases
from tests.ops.checks import TOLERANCES, seeds

Call = tuple[list[Any], dict[str, Any]]  # the arguments of a call; arrays of floats have gradients


class Draw:
    """Shapes and values of one case, all from one seed."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.random, self.dtype = np.random.default_rng(seed), dtype

    def shape(self, least: int = 1, most: int = 4) -> tuple[int, ...]:
        return tuple(self.random.integers(1, 5, self.random.integers(least, most + 1)).tolist())

    def normal(self, shape: Any = None) -> np.ndarray:
        """Values apart from each other and from 0, so that no maximum is shared."""
        shape = self.shape() if shape is None else shape
        count = int(np.prod(shape))
        values = self.random.permutation(np.arange(count) - count // 2 + 0.5) * (3 / (count + 3))
        return np.array(values.reshape(shape), self.dtype)

    def positive(self, shape: Any = None) -> np.ndarray:
        return np.abs(self.normal(shape)) + np.array(0.2137, self.dtype)  # apart from `normal`, too

    def inside(self, shape: Any = None) -> np.ndarray:
        """In (-1, 1)."""
        return np.array(self.normal(shape) / 1.7, self.dtype)

    def pair(self) -> list[np.ndarray]:
        """Two arrays that broadcast."""
        shape = self.shape()
        other = [1 if self.random.random() < 0.3 else size for size in shape][self.random.integers(0, len(shape)) :]
        both = [self.normal(shape), self.positive(tuple(other))]
        return both[:: self.random.choice([1, -1])]

    def axis(self, x: np.ndarray) -> int:
        return int(self.random.integers(-x.ndim, x.ndim))

    def axes(self, x: np.ndarray) -> Any:
        choice = self.random.integers(3)
        some = self.random.permutation(x.ndim)[: self.random.integers(1, x.ndim + 1)]
        return [None, self.axis(x), tuple(some.tolist())][choice]

    def number(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high))

    def gaps(self, shape: Any) -> np.ndarray:
        """Some of them no numbers, but never a whole row or column."""
        x = self.normal(shape)
        x[1:, ..., 1:][self.random.random(x[1:, ..., 1:].shape) < 0.2] = np.nan
        return x

    def places(self, shape: Any, count: int) -> np.ndarray:
        """So many different places, each with one number an axis."""
        flat = self.random.permutation(int(np.prod(shape)))[:count]
        return np.stack(np.unravel_index(flat, shape), axis=-1)

    def images(self) -> np.ndarray:
        N, H, W, C = self.random.integers([1, 4, 4, 1], [3, 8, 8, 4])
        return self.normal((N, H, W, C))

    def invertible(self, batch: tuple[int, ...] = (2,), M: int = 3) -> np.ndarray:
        """Square matrices far from singular, and not symmetric: in each row the diagonal outweighs the others."""
        diagonal = self.random.choice([1, -1], M)[:, None] * M * np.eye(M)
        return self.normal((*batch, M, M)) / 2 + np.array(diagonal, self.dtype)

    def definite(self, M: int = 3) -> np.ndarray:
        """Symmetric positive definite matrices."""
        x = self.invertible((2,), M)
        return x @ x.swapaxes(-1, -2) / 4 + np.eye(M, dtype=self.dtype)

    def whole(self, high: int = 50) -> list[np.ndarray]:
        """Two arrays of whole numbers that broadcast."""
        shape = self.shape(2)
        return [self.random.integers(1, high, size).astype("int32") for size in (shape, shape[1:])]


CASES: dict[str, Callable[[Draw], Call]] = {}


def case(*names: str) -> Callable[[Callable[[Draw], Call]], Callable[[Draw], Call]]:
    def enter(draw_call: Callable[[Draw], Call]) -> Callable[[Draw], Call]:
        CASES.update(dict.fromkeys(names, draw_call))
        return draw_call

    return enter


case(
    *[
        "abs",
        "absolute",
        "negative",
        "square",
        "exp",
        "exp2",
        "expm1",
        "sin",
        "cos",
        "arctan",
        "sinh",
        "cosh",
        "sign",
        "floor",
        "ceil",
        "trunc",
        "isnan",
        "isinf",
        "isfinite",
    ]
)(lambda d: ([d.normal()], {}))
case(*["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "tan"])(lambda d: ([d.positive() / 3], {}))
case(*["arcsin", "arccos"])(lambda d: ([d.inside() / 2], {}))
case(*["add", "subtract", "multiply", "maximum", "minimum", "arctan2", "logaddexp", "divide", "true_divide"])(
    lambda d: (d.pair(), {})
)
case(*["equal", "not_equal", "greater", "greater_equal", "less", "less_equal"])(lambda d: ([np.round(x) for x in d.pair()], {}))
case(*["logical_and", "logical_or", "logical_xor"])(lambda d: ([x > 0.5 for x in d.pair()], {}))
case("logical_not")(lambda d: ([d.normal() > 0], {}))
case("divide_no_nan")(lambda d: ([d.normal((3, 4)), np.array(np.round(d.normal((4,))), d.dtype)], {}))
case("power")(lambda d: ([d.positive((2, 3)), d.normal((3,))], {}))
case("mod", "floor_divide")(lambda d: ([d.normal((2, 3)), d.positive((3,))], {}))
case("clip")(lambda d: ([d.normal(), -0.51, 0.77], {}))
case("cast")(lambda d: ([d.normal(), "float64"], {}))
case("round")(lambda d: ([d.normal(), d.number(0, 2)], {}))
case("where")(lambda d: ([d.normal((2, 3)) > 0, d.normal((2, 3)), d.normal((3,))], {}))
case("convert_to_tensor", "stop_gradient", "zeros_like", "ones_like", "ravel")(lambda d: ([d.normal()], {}))
case("full_like")(lambda d: ([d.normal(), 3], {}))

case(*["sum", "mean", "max", "min", "amax", "amin", "prod", "var", "logsumexp", "all", "any"])(
    lambda d: (lambda x: ([x], {"axis": d.axes(x), "keepdims": bool(d.number(0, 2))}))(d.normal())
)
case("count_nonzero")(lambda d: (lambda x: ([x], {"axis": d.axes(x)}))(np.round(d.normal())))
case("cumsum", "argmax", "argmin", "argsort", "sort")(lambda d: (lambda x: ([x], {"axis": d.axis(x)}))(d.normal()))
case("std")(lambda d: ([d.normal((3, 2, 4))], {"axis": [None, 0, (1, 2)][d.number(0, 3)], "keepdims": True}))
case("norm")(lambda d: (lambda x: ([x], {"ord": [None, 1, 2, np.inf][d.number(0, 4)], "axis": d.axis(x)}))(d.normal()))
case("normalize")(lambda d: (lambda x: ([x], {"axis": d.axis(x)}))(d.positive()))
case("moments")(lambda d: (lambda x: ([x], {"axes": [d.axis(x) % x.ndim], "keepdims": True}))(d.normal()))
case("average")(lambda d: (lambda x: ([x], {"axis": d.axis(x), "weights": d.positive(x.shape)}))(d.normal()))
case("top_k")(lambda d: ([d.normal((3, 5)), d.number(1, 5)], {}))
case("in_top_k")(lambda d: ([d.random.integers(0, 5, 3).astype("int32"), d.normal((3, 5))], {"k": d.number(1, 4)}))

case("reshape")(lambda d: (lambda x: ([x, [(-1,), (x.shape[0], -1)][d.number(0, 2)]], {}))(d.normal()))
case("transpose")(lambda d: (lambda x: ([x], {"axes": tuple(d.random.permutation(x.ndim).tolist())}))(d.normal()))
case("swapaxes")(lambda d: (lambda x: ([x, d.axis(x), d.axis(x)], {}))(d.normal()))
case("moveaxis")(lambda d: (lambda x: ([x, d.axis(x), d.axis(x)], {}))(d.normal()))
case("expand_dims")(lambda d: (lambda x: ([x, d.axis(x)], {}))(d.normal()))
case("squeeze")(lambda d: ([d.normal((2, 1, 3, 1))], {"axis": [None, 1, -1][d.number(0, 3)]}))
case("broadcast_to")(lambda d: ([d.normal((3, 1)), (2, 3, 4)], {}))
case("concatenate")(lambda d: (lambda x: ([[x, d.normal(x.shape)]], {"axis": d.axis(x)}))(d.normal()))
case("stack")(lambda d: (lambda x: ([[x, d.normal(x.shape), x * 2]], {"axis": d.axis(x)}))(d.normal()))
case("hstack", "vstack")(lambda d: (lambda x: ([[x, d.normal(x.shape)]], {}))(d.normal(d.shape(2))))
case("split")(lambda d: ([d.normal((2, 6, 3)), [2, 3, [1, 4]][d.number(0, 3)]], {"axis": 1}))
case("unstack")(lambda d: (lambda x: ([x], {"axis": d.axis(x)}))(d.normal()))
case("slice")(lambda d: ([d.normal((3, 4)), (d.number(0, 2), 1), (1, 2)], {}))
case("get_item")(
    lambda d: ([d.normal((3, 4, 5)), [1, slice(None, None, 2), (..., slice(1, 4)), (slice(None), None, 2)][d.number(0, 4)]], {})
)
case("take")(lambda d: (lambda x: ([x, np.array([[0, -1], [0, 0]])], {"axis": d.axis(x)}))(d.normal()))
case("take_along_axis")(lambda d: ([d.normal((3, 4)), d.random.integers(0, 3, (2, 4))], {"axis": 0}))
case("repeat")(lambda d: (lambda x: ([x, d.number(1, 4)], {"axis": d.axis(x)}))(d.normal()))
case("tile")(lambda d: ([d.normal((2, 3)), [(2, 1), (1, 2), (2, 2, 1)][d.number(0, 3)]], {}))
case("roll")(lambda d: (lambda x: ([x, d.number(-3, 4)], {"axis": d.axis(x)}))(d.normal()))
case("flip")(lambda d: (lambda x: ([x], {"axis": d.axis(x)}))(d.normal()))
case("pad")(lambda d: ([d.normal((4, 5)), ((1, 2), (0, 3))], {"mode": ["constant", "reflect", "symmetric"][d.number(0, 3)]}))
case("tril", "triu")(lambda d: ([d.normal((3, 4))], {"k": d.number(-1, 2)}))

case("matmul")(
    lambda d: (
        [
            [d.normal((3, 4)), d.normal((4, 2))],
            [d.normal((2, 3, 4)), d.normal((4, 5))],
            [d.normal((2, 1, 3, 4)), d.normal((5, 4, 2))],
            [d.normal((4,)), d.normal((4, 2))],
            [d.normal((2, 3, 4)), d.normal((4,))],
        ][d.number(0, 5)],
        {},
    )
)
case("dot")(lambda d: ([d.normal((2, 3, 4)), d.normal([(4,), (4, 5)][d.number(0, 2)])], {}))
case("tensordot")(lambda d: ([d.normal((2, 3, 4)), d.normal((3, 4, 5))], {"axes": [2, ([1, 2], [0, 1])][d.number(0, 2)]}))
case("outer")(lambda d: ([d.normal((2, 3)), d.normal((4,))], {}))
case("einsum")(
    lambda d: (
        [
            ["ij,jk->ik", d.normal((2, 3)), d.normal((3, 4))],
            ["bij,bkj->bik", d.normal((2, 3, 4)), d.normal((2, 5, 4))],
            ["ijk->k", d.normal((2, 3, 4))],
            ["i,ij,j->", d.normal((3,)), d.normal((3, 4)), d.normal((4,))],
        ][d.number(0, 4)],
        {},
    )
)

case(
    *[
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "silu",
        "elu",
        "selu",
        "celu",
        "softplus",
        "softsign",
        "softmax",
        "log_softmax",
        "log_sigmoid",
        "leaky_relu",
    ]
)(lambda d: ([d.normal()], {}))
case(
    *[
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "sparse_plus",
        "sparse_sigmoid",
        "squareplus",
        "soft_shrink",
        "hard_shrink",
        "tanh_shrink",
    ]
)(lambda d: ([d.normal() * 1.37], {}))
case(*["swish", "hard_swish"])(lambda d: ([d.normal((3, 4))], {}))
case("rms_normalization")(
    lambda d: ([d.normal((3, 2, 4))], [{}, {"axis": 1}, {"scale": d.normal((4,)), "epsilon": 0.01}][d.number(0, 3)])
)
case("layer_normalization")(
    lambda d: ([d.normal((3, 2, 4))], [{}, {"gamma": d.normal((4,)), "beta": d.normal((4,)), "epsilon": 0.01}][d.number(0, 2)])
)
case("gelu")(lambda d: ([d.normal()], [{"approximate": True}, {"approximate": False}, {}][d.number(0, 3)]))
case("threshold")(lambda d: ([d.normal(), 0.31, 0.2], {}))
case("glu")(lambda d: ([d.normal((2, 3, 4))], {"axis": [0, -1][d.number(0, 2)]}))
case("one_hot")(lambda d: ([d.random.integers(-1, 5, d.shape()).astype("int32"), 5], {"axis": [-1, 0][d.number(0, 2)]}))
case("multi_hot")(lambda d: ([d.random.integers(0, 5, (3, 2)).astype("int32"), 5], {}))
case("conv")(
    lambda d: (
        [d.images(), None],
        {"strides": d.number(1, 3), "padding": ["valid", "same"][d.number(0, 2)]},
    )
)
case("separable_conv")(lambda d: ([d.images(), None, None], {"strides": d.number(1, 3), "padding": "same"}))
case("depthwise_conv")(lambda d: ([d.images(), None], {"padding": ["valid", "same"][d.number(0, 2)]}))
case("max_pool", "average_pool")(
    lambda d: ([d.images(), d.number(1, 4)], {"strides": d.number(1, 3), "padding": ["valid", "same"][d.number(0, 2)]})
)
case("batch_normalization")(
    lambda d: (
        [d.normal((3, 2, 4)), d.normal((4,)), d.positive((4,))],
        {"axis": -1, "offset": d.normal((4,)), "scale": d.normal((4,))},
    )
)
case("binary_crossentropy")(
    lambda d: ([np.round(d.positive((3, 4))).clip(0, 1), d.inside((3, 4)) / 2 + 0.5], {"from_logits": bool(d.number(0, 2))})
)
case("categorical_crossentropy")(
    lambda d: ([np.eye(4, dtype=d.dtype)[[0, 2, 3]], d.positive((3, 4))], {"from_logits": bool(d.number(0, 2))})
)
case("sparse_categorical_crossentropy")(
    lambda d: ([np.array([0, 2, 3]), d.positive((3, 4)) / 9], {"from_logits": bool(d.number(0, 2))})
)
# "bicubic" without antialias has a test of its own: TensorFlow reads it from a table of 1024 entries.
RESIZES = [
    ("bilinear", False),
    ("nearest", False),
    ("bilinear", True),
    ("bicubic", True),
    ("lanczos3", True),
    ("lanczos5", False),
]
FITS = ({}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True, "fill_value": 0.5})


@case("image.resize")
def _(d: Draw) -> Call:
    # TensorFlow has the others' gradients in float32 only.
    interpolation, antialias = RESIZES[d.number(0, len(RESIZES) if d.dtype == "float32" else 2)]
    named = {"interpolation": interpolation, "antialias": antialias, **FITS[d.number(0, len(FITS))]}
    return [d.images(), (d.number(2, 10), d.number(2, 10))], named


case("image.rgb_to_grayscale")(lambda d: ([d.normal((2, 3, 4, 3))], {}))
case("image.extract_patches")(lambda d: ([d.images(), (2, 3)], {"padding": ["valid", "same"][d.number(0, 2)]}))
case("image.crop_images")(lambda d: ([d.images(), 1, 0, 1, 2], {}))
case("image.pad_images")(lambda d: ([d.images(), 1, 0, 1, 2], {}))
case("image.rgb_to_hsv")(lambda d: ([d.positive((2, 3, 3)) / 3], {}))
case("image.hsv_to_rgb")(lambda d: ([d.positive((2, 3, 3)) / 3], {}))
case("image.gaussian_blur")(lambda d: ([d.images(), (3, 3), (1.3, 0.7)], {}))
case("image.sobel_edges")(lambda d: ([d.images()], {}))
case("image.ssim")(lambda d: ([d.positive((2, 7, 6, 2)), d.positive((2, 7, 6, 2)) / 2], {"filter_size": 5, "max_val": 2.0}))
case("image.scale_and_translate")(
    lambda d: (
        [d.normal((2, 5, 6, 1)), (2, 7, 4, 1), [1.4, 0.6], [0.3, -0.2], (1, 2)],
        {"method": ["linear", "cubic", "lanczos3"][d.number(0, 3)], "antialias": bool(d.number(0, 2))},
    )
)
case("image.map_coordinates")(
    lambda d: (
        [d.normal((5, 4)), d.normal((2, 3, 4)) * 2 + 1.3],
        {"order": d.number(0, 2), "fill_mode": ["constant", "nearest", "wrap"][d.number(0, 3)], "fill_value": 0.5},
    )
)
case("image.affine_transform")(
    lambda d: (
        [d.images(), np.array([2, 1, -1, 1, 3, 0, 1, 0])],
        {
            "fill_mode": ["constant", "nearest"][d.number(0, 2)],
        },
    )
)
case("image.perspective_transform")(
    lambda d: ([d.images(), [[0, 0], [0, 3], [3, 0], [3, 3]], [[0, 0.3], [0.2, 3], [3, 0.1], [2.7, 3.3]]], {})
)
case("dot_product_attention")(lambda d: ([d.normal((2, 3, 2, 4)), d.normal((2, 5, 2, 4)), d.normal((2, 5, 2, 4))], {}))

case(
    *[
        "arcsinh",
        "cbrt",
        "deg2rad",
        "rad2deg",
        "sinc",
        "erf",
        "erfc",
        "fabs",
        "copy",
        "signbit",
        "isposinf",
        "isneginf",
        "array",
    ]
)(lambda d: ([d.normal()], {}))
case("arccosh")(lambda d: ([d.positive() + 1], {}))
case("arctanh")(lambda d: ([d.inside() / 2], {}))
case(*["fmax", "fmin", "hypot", "logaddexp2"])(lambda d: (d.pair(), {}))
case("fmod")(lambda d: ([d.normal((2, 3)), d.positive((3,))], {}))
case("nan_to_num")(lambda d: ([d.gaps((3, 4))], {"nan": 0.5, "posinf": 9.0, "neginf": -9.0}))
case("isclose", "allclose")(lambda d: ([d.normal((2, 3)), d.normal((2, 3)).round(1)], {"atol": 0.1}))
case("saturate_cast")(lambda d: ([d.normal() * 300, ["uint8", "int32", "float32"][d.number(0, 3)]], {}))
case("view")(lambda d: ([d.normal((2, 4)), "int32"], {}))

case("ptp")(lambda d: (lambda x: ([x], {"axis": d.axes(x), "keepdims": bool(d.number(0, 2))}))(d.normal()))
case("cumprod", "diff")(lambda d: (lambda x: ([x], {"axis": d.axis(x)}))(d.normal()))
case("quantile", "nanquantile")(
    lambda d: (
        [d.normal((3, 4, 2)), [0.3, [0.0, 0.41, 1.0]][d.number(0, 2)]],
        {
            "axis": [None, 0, -1, (0, 2)][d.number(0, 4)],
            "keepdims": bool(d.number(0, 2)),
            "method": ["linear", "lower", "higher", "midpoint", "nearest"][d.number(0, 5)],
        },
    )
)
case("percentile", "nanpercentile")(lambda d: ([d.normal((3, 4)), 37.0], {"axis": d.number(0, 2)}))
case("median")(lambda d: (lambda x: ([x], {"axis": d.axes(x), "keepdims": bool(d.number(0, 2))}))(d.normal()))
case(*["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanmedian"])(
    lambda d: ([d.gaps((3, 4, 2))], {"axis": [None, 0, -1, (0, 2)][d.number(0, 4)], "keepdims": bool(d.number(0, 2))})
)
case("nanstd")(lambda d: ([d.gaps((3, 4, 2))], {"axis": [None, (0, 2)][d.number(0, 2)]}))
case(*["nanargmax", "nanargmin", "nancumsum", "nancumprod"])(lambda d: ([d.gaps((5, 4))], {"axis": d.number(0, 2)}))
case("bincount")(lambda d: ([d.random.integers(0, 5, (7,)).astype("int32")], {"weights": d.normal((7,)), "minlength": 6}))
case("histogram")(lambda d: ([d.normal((9,))], {"bins": d.number(1, 6), "range": [None, (-0.51, 0.93)][d.number(0, 2)]}))
case("searchsorted")(lambda d: ([np.sort(d.normal((6,))), d.positive((4,))], {"side": ["left", "right"][d.number(0, 2)]}))
case("digitize")(lambda d: ([d.normal(), [-0.31, 0.0, 0.77]], {}))
case("corrcoef")(lambda d: ([d.random.standard_normal((3, 6)).astype(d.dtype)], {}))
case("correlate")(
    lambda d: ([d.normal((7,)), d.normal((d.number(1, 5),))], {"mode": ["valid", "full", "same"][d.number(0, 3)]})
)

case("select")(
    lambda d: ([[d.normal((2, 3)) > 0.3, d.normal((2, 3)) > 0], [d.normal((2, 3)), d.normal((2, 3))]], {"default": 0.5})
)
case("isin")(lambda d: ([d.random.integers(0, 5, (3, 4)), d.random.integers(0, 5, (2,))], {"invert": bool(d.number(0, 2))}))
case("unravel_index")(lambda d: ([d.random.integers(0, 24, (3,)).astype("int32"), (2, 3, 4)], {}))
case("scatter")(lambda d: ([d.random.integers(0, 3, (5, 1)), d.normal((5, 2)), (3, 2)], {}))
case("scatter_update")(
    lambda d: (
        [d.positive((4, 3)), d.places((4, 3), 5), d.normal((5,)) + np.array(0.0371, d.dtype)],
        {"reduction": [None, "add", "max", "min", "mul"][d.number(0, 5)]},
    )
)
case("slice_update")(lambda d: ([d.normal((4, 5)), (d.number(0, 3), 1), d.normal((2, 3))], {}))
case("segment_sum", "segment_max", "segment_min", "segment_prod")(
    lambda d: ([d.normal((6, 2)), d.random.integers(0, 3, 6).astype("int32")], {"num_segments": 3})
)

case("diag", "diagflat")(lambda d: ([d.normal((3,))], {"k": d.number(-2, 3)}))
case("diagonal", "trace")(lambda d: ([d.normal((3, 4, 3))], {"offset": d.number(-1, 2), "axis1": 0, "axis2": d.number(1, 3)}))
case("fliplr", "flipud")(lambda d: ([d.normal((2, 3, 2))], {}))
case("rot90")(lambda d: ([d.normal((2, 3, 4))], {"k": [1, 3][d.number(0, 2)]}))
case("array_split")(lambda d: ([d.normal((7, 3)), d.number(2, 5)], {"axis": d.number(0, 2)}))
case("hsplit", "vsplit", "dsplit")(lambda d: ([d.normal((4, 4, 2)), 2], {}))
case("dstack")(lambda d: (lambda x: ([[x, d.normal(x.shape)]], {}))(d.normal()))
case("append")(lambda d: ([d.normal((2, 3)), d.normal((2, 3))], {"axis": [None, 0, 1][d.number(0, 3)]}))
case("empty_like")(lambda d: ([d.normal()], {}))
case("depth_to_space")(lambda d: ([d.normal((2, 3, 2, 8)), 2], {}))
case("space_to_depth")(lambda d: ([d.normal((2, 4, 6, 3)), 2], {}))
case("rearrange")(
    lambda d: [
        [[d.normal((2, 3, 4, 2)), "b h w c -> b c h w"], {}],
        [[d.normal((2, 3, 4, 2)), "b h w c -> b (h w) c"], {}],
        [[d.normal((2, 4, 6, 2)), "b (h p) (w q) c -> b h w (p q c)"], {"h": 2, "p": 2, "w": 2, "q": 3}],
    ][d.number(0, 3)]
)

case("fft")(lambda d: (lambda x: ([(x, d.normal(x.shape))], {}))(d.normal()))
case("fft2", "ifft2")(lambda d: ([(d.normal((3, 2, 5)), d.normal((3, 2, 5)))], {}))
case("inner")(lambda d: ([d.normal((2, 3)), d.normal((4, 3))], {}))
case("vdot")(lambda d: ([d.normal((2, 3)), d.normal((2, 3))], {}))
case("cross")(
    lambda d: (
        [[d.normal((3, 4)), d.normal((3, 4))], {"axis": 0}] if d.number(0, 2) else [[d.normal((4, 3)), d.normal((4, 3))], {}]
    )
)
case("cdist")(lambda d: ([d.normal((3, 2)), d.positive((4, 2))], {}))
case("kron")(lambda d: ([d.normal((2, 3)), d.normal([(4,), (3, 2), (2, 1, 3)][d.number(0, 3)])], {}))
case("vander")(lambda d: ([d.normal((4,))], {"N": d.number(2, 6), "increasing": bool(d.number(0, 2))}))
case("trapezoid")(
    lambda d: [
        [[d.normal((3, 4)), d.normal((3, 4))], {"axis": 0}],
        [[d.normal((3, 4)), d.positive((4,))], {}],
        [[d.normal((3, 4, 2))], {"dx": 0.25, "axis": 1}],
    ][d.number(0, 3)]
)
case("inv", "det", "slogdet")(lambda d: ([d.invertible(M=d.number(1, 5))], {}))
case("logdet")(lambda d: ([d.definite(d.number(1, 5))], {}))
case("cholesky")(lambda d: ([d.definite(d.number(1, 5))], {"upper": bool(d.number(0, 2))}))
case("cholesky_inverse")(
    lambda d: (
        lambda upper: ([(np.triu if upper else np.tril)(d.invertible((), 3)) + np.eye(3, dtype=d.dtype)], {"upper": upper})
    )(bool(d.number(0, 2)))
)
case("solve")(lambda d: ([d.invertible((2,), 3), d.normal((2, 3, d.number(1, 4)))], {}))
case("solve_triangular")(
    lambda d: ([d.invertible((2,), 3) + 2 * np.eye(3, dtype=d.dtype), d.normal((2, 3, 2))], {"lower": bool(d.number(0, 2))})
)
case("matrix_rank")(lambda d: ([d.normal((3, 2)) @ d.normal((2, 4))], {}))
case("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm")(lambda d: (d.whole(), {}))
case("bitwise_left_shift", "left_shift", "bitwise_right_shift", "right_shift")(lambda d: (d.whole(9), {}))
case("bitwise_invert", "bitwise_not")(lambda d: (d.whole()[:1], {}))
case("heaviside")(lambda d: ([np.round(d.normal((3, 4))), d.normal((4,))], {}))
case("nextafter")(lambda d: (d.pair(), {}))
case("ldexp")(lambda d: ([d.normal((3, 4)), d.random.integers(-3, 4, 4).astype("int32")], {}))
case("psnr")(lambda d: ([d.normal((2, 3, 4)), d.positive((2, 3, 4))], {"max_val": 2.0}))
case("conv_transpose")(
    lambda d: ([d.images(), None], {"strides": d.number(1, 3), "padding": ["valid", "same"][d.number(0, 2)]})
)
case("adaptive_average_pool", "adaptive_max_pool")(
    lambda d: ([d.normal((2, 6, 8, 3)), [(2, 4), (4, 3), (5, 2)][d.number(0, 3)]], {})
)
case("unfold")(
    lambda d: (
        [d.normal((2, 6, 7, 3)), (d.number(1, 3), 2)],
        {"dilation": d.number(1, 3), "padding": d.number(0, 2), "stride": d.number(1, 3)},
    )
)


def drawn(name: str, seed: int, dtype: str) -> Call:
    draw = Draw(seed, dtype)
    args, named = CASES[name](draw)
    if name in ("conv", "depthwise_conv", "conv_transpose"):
        C = args[0].shape[3]
        args[1] = draw.normal({"conv": (2, 3, C, 3), "depthwise_conv": (2, 3, C, 2), "conv_transpose": (2, 3, 3, C)}[name])
    if name == "separable_conv":
        args[1:] = draw.normal((2, 3, args[0].shape[3], 2)), draw.normal((1, 1, 2 * args[0].shape[3], 3))
    return args, named


def find(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def is_source(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def mapped(function: Callable[[np.ndarray], Any], struct: Any) -> Any:
    """The arrays of a call, each in another form."""
    if isinstance(struct, dict):
        return {key: mapped(function, value) for key, value in struct.items()}
    if type(struct) in (list, tuple):
        return type(struct)(mapped(function, item) for item in struct)
    return function(struct) if isinstance(struct, np.ndarray) else struct


# Keras takes (4, 1, 1, 1) beside (4, 4, 1, 1) for a bias of the second axis.
INSTEAD_OF_KERAS: dict[str, Callable[..., Any]] = {"add": tf.add}


def theirs(name: str, call: Call, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], list[Any] | None]:
    """Keras's outputs, dys drawn for them (no floats stand for themselves), and TensorFlow's gradients of <outputs, dys>."""
    args, named = mapped(tf.constant, call[0]), mapped(tf.constant, call[1])
    sources = [one for one in flatten_struct([args, named]) if tf.is_tensor(one) and one.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        function = INSTEAD_OF_KERAS.get(name) or find(keras.ops, name)
        outputs = flatten_struct(function(*args, **named))
    arrays, random = [np.asarray(y) for y in outputs], np.random.default_rng(seed)
    dys = [np.array(random.standard_normal(y.shape), y.dtype) if y.dtype.kind == "f" else y for y in arrays]
    if name in NO_GRADIENT_THERE:
        return arrays, dys, None
    kept = [(y, tf.constant(dy)) for y, dy in zip(outputs, dys) if y.dtype.is_floating]
    return arrays, dys, tape.gradient([y for y, _ in kept], sources, [dy for _, dy in kept])


def check(actual: Any, expected: Any, dtype: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    largest = float(np.max(np.abs(expected), where=np.isfinite(expected), initial=1))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCES[dtype] * largest)


def check_slope(name: str, call: Call, seed: int) -> None:
    """The gradient against what the outputs change by when the arguments are moved a little, in float64."""
    random, step = np.random.default_rng(seed), 1e-6
    moves = mapped(lambda one: step * random.standard_normal(one.shape) if is_source(one) else np.zeros_like(one), call)
    call, moves = (mapped(ops.convert_to_tensor, one) for one in (call, moves))
    sources = [one for one in flatten_struct([*call]) if is_source(one)]
    with minicnn.GradientTape() as tape:
        tape.watch(sources)
        y = find(ops, name)(*call[0], **call[1])
    dy = random.standard_normal(y.shape)
    gradients = tape.gradient(y, sources, dy)

    def moved(sign: int) -> Any:
        shifts = (one for one in flatten_struct([*moves]) if isinstance(one, np.ndarray))
        args, named = (mapped(lambda one: one + sign * next(shifts), part) for part in call)
        return np.asarray(find(ops, name)(*args, **named))

    expected = np.sum(dy * (moved(1) - moved(-1))) / 2
    shifts = [one for one in flatten_struct([*moves]) if is_source(one)]
    actual = sum(np.sum(np.asarray(dx) * shift) for dx, shift in zip(gradients, shifts))
    assert abs(actual - expected) <= 1e-6 * step * max(1.0, abs(expected) / step)


# What Keras, on TensorFlow, computes with numbers of float32, also in float64; and what it does not compute in float64.
ROUNDED = {"leaky_relu", "gelu", "image.resize", "image.rgb_to_grayscale", "logaddexp", "logaddexp2"}
ROUNDED |= {"histogram", "quantile", "nanquantile", "percentile", "nanpercentile"}
ROUNDED |= {"image.affine_transform", "image.perspective_transform", "image.scale_and_translate"}
NO_GRADIENT_THERE = {
    "bincount",
    "slice_update",
    "image.hsv_to_rgb",
    "image.affine_transform",
    "image.perspective_transform",
}  # TensorFlow has none, or another
FLOAT32_ONLY = {"in_top_k"}
TARGETS_FIRST = {"binary_crossentropy", "categorical_crossentropy"}  # whose targets have no gradient here


def check_call(name: str, call: Call, seed: int, dtype: str) -> None:
    """Values, types, and the gradient of each array, as Keras's; the arguments stay as they are."""
    outputs, dys, gradients = theirs(name, call, seed)
    tolerance = "float32" if name in ROUNDED else dtype
    before = mapped(np.copy, call)

    args, named = mapped(ops.convert_to_tensor, call[0]), mapped(ops.convert_to_tensor, call[1])
    sources = [one for one in flatten_struct([args, named]) if is_source(one)]
    if name in TARGETS_FIRST:
        sources, gradients = sources[1:], gradients[1:]
    with minicnn.GradientTape() as tape:
        tape.watch(sources)
        ours = flatten_struct(find(ops, name)(*args, **named))
    for y, expected in zip(ours, outputs, strict=True):
        check(y, expected, tolerance)
        assert y.dtype.kind == expected.dtype.kind  # whole numbers may have other sizes
        if expected.dtype.kind == "f":
            assert y.dtype == expected.dtype
    floats = [(y, dy) for y, dy in zip(ours, dys) if dy.dtype.kind == "f"]
    found = tape.gradient([y for y, _ in floats], sources, [dy for _, dy in floats])
    for one, other in zip(flatten_struct([*call]), flatten_struct([*before])):
        np.testing.assert_array_equal(one, other)
    if gradients is None:
        check_slope(name, mapped(lambda one: one.astype("float64") if is_source(one) else one, call), seed)
        return
    for gradient, expected in zip(found, gradients, strict=True):
        if gradient is None or expected is None:  # which TensorFlow says as zeros at times
            assert not np.any(gradient if expected is None else expected)
        else:
            check(gradient, tf.convert_to_tensor(expected), tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:You are using a softmax")
@drawn_cases(8)
@given(seed=seeds)
def test_values_and_gradients(name: str, dtype: str, seed: int) -> None:
    if dtype == "float64" and name in FLOAT32_ONLY:
        pytest.skip("TensorFlow computes it in float32")
    check_call(name, drawn(name, seed, dtype), seed, dtype)


def further() -> list[tuple[str, list[Any], dict[str, Any]]]:
    """Calls with arguments that the cases above leave at their defaults."""
    d = Draw(11, "float32")
    x, matrix, row, images = d.normal((3, 4, 5)), d.normal((3, 4)), d.normal((6,)), d.normal((2, 6, 7, 4))
    turned, nan = np.ascontiguousarray(images.transpose(0, 3, 1, 2)), d.gaps((5, 4))
    volumes = d.normal((2, 5, 4, 6, 3))
    signals, whole = d.normal((2, 9, 4)), d.random.integers(0, 9, (3, 4)).astype("int32")
    gray, other = d.positive((2, 3, 9, 8)), d.positive((2, 3, 9, 8)) / 2
    query, key = d.normal((2, 3, 2, 4)), d.normal((2, 5, 2, 4))
    first = {"data_format": "channels_first"}
    heads = [query, key, d.normal((2, 5, 2, 4))]
    return [
        ("argmax", [matrix], {"axis": 1, "keepdims": True}),
        ("argmin", [matrix], {}),
        ("average", [d.normal((3, 3))], {"axis": 0, "weights": d.positive((3,))}),
        ("average", [matrix], {"axis": 1, "weights": d.positive((4,))}),
        ("average", [matrix], {}),
        ("bincount", [whole], {}),
        ("bincount", [whole], {"weights": d.normal((3, 4)), "minlength": 12}),
        ("batch_normalization", [matrix, d.normal((3,)), d.positive((3,))], {"axis": 0, "epsilon": 0.1}),
        ("categorical_crossentropy", [np.eye(4, dtype="float32"), d.positive((4, 4))], {"axis": 0}),
        ("conv", [images, d.normal((2, 2, 2, 6))], {"dilation_rate": 2}),
        ("conv", [images, d.normal((2, 2, 4, 3))], {"strides": (1, 2), "padding": "same"}),
        ("conv", [signals, d.normal((3, 4, 2))], {"strides": 2, "padding": "same"}),
        ("conv", [signals, d.normal((3, 4, 2))], {"dilation_rate": 2}),
        ("convert_to_tensor", [matrix * 3], {"dtype": "int32"}),
        ("convert_to_tensor", [matrix], {"dtype": "float64"}),
        ("array", [matrix * 3], {"dtype": "int32"}),
        ("cast", [matrix * 3, "int32"], {}),
        ("cast", [whole, "float32"], {}),
        ("conv_transpose", [images, d.normal((3, 3, 2, 4))], {"strides": 2, "output_padding": 1, "padding": "same"}),
        ("conv", [volumes, d.normal((2, 3, 1, 3, 2))], {"strides": (1, 2, 1), "padding": "same"}),
        ("conv", [volumes, d.normal((2, 2, 2, 5, 2))], first),
        ("conv_transpose", [volumes, d.normal((2, 3, 1, 2, 3))], {"strides": 2, "padding": "same"}),
        ("conv_transpose", [volumes, d.normal((2, 1, 3, 2, 3))], {"strides": (2, 1, 3), "output_padding": (1, 0, 2)}),
        ("max_pool", [volumes, 2], {"strides": (1, 2, 2)}),
        ("max_pool", [volumes, (1, 2, 3)], {"padding": "same"}),
        ("average_pool", [volumes, 2], {"strides": 1, "padding": "same"}),
        ("average_pool", [volumes, (2, 1, 2)], first),
        ("adaptive_average_pool", [volumes, (2, 3, 1)], {}),
        ("adaptive_max_pool", [volumes, 2], {}),
        ("image.extract_patches", [images], {"size": (2, 3), **first}),
        ("image.extract_patches", [volumes, (2, 1, 3)], {}),
        ("image.extract_patches_3d", [volumes, 2], {"strides": 1, "padding": "same"}),
        ("image.extract_patches_3d", [volumes[0], (1, 2, 2)], {}),
        ("depthwise_conv", [images, d.normal((2, 2, 4, 2))], {"dilation_rate": 2}),
        ("depthwise_conv", [images, d.normal((2, 2, 4, 2))], {"strides": 2}),
        ("separable_conv", [images, d.normal((2, 2, 4, 2)), d.normal((1, 1, 8, 3))], {"dilation_rate": 2}),
        ("max_pool", [signals, 3], {"strides": 2, "padding": "same"}),
        ("average_pool", [signals, 3], {"padding": "same"}),
        ("max_pool", [images, (2, 3)], {}),
        ("adaptive_average_pool", [signals, 4], {}),
        ("adaptive_max_pool", [signals, 4], {}),
        ("adaptive_max_pool", [turned, (3, 2)], first),
        ("adaptive_average_pool", [turned, 3], first),
        ("correlate", [d.normal((3,)), d.normal((7,))], {"mode": "same"}),
        ("correlate", [d.normal((3,)), d.normal((7,))], {"mode": "full"}),
        ("corrcoef", [whole], {}),
        ("cross", [d.normal((3, 2)), d.normal((3, 2))], {}),
        ("cross", [d.normal((4, 3)), d.normal((4, 3))], {"axisc": 0}),
        ("cross", [d.normal((3, 4)), d.normal((4, 3))], {"axisa": 0, "axisc": 0}),
        ("cumsum", [matrix], {}),
        ("cumprod", [matrix], {}),
        ("cumsum", [whole], {"axis": 1, "dtype": "float32"}),
        ("cumprod", [whole], {"axis": 1, "dtype": "float32"}),
        ("depth_to_space", [d.normal((2, 8, 3, 2)), 2, "channels_first"], {}),
        ("space_to_depth", [d.normal((2, 3, 4, 6)), 2, "channels_first"], {}),
        ("diag", [matrix], {"k": 1}),
        ("diag", [matrix], {"k": -2}),
        ("diff", [matrix], {"n": 2}),
        ("diff", [x], {"n": 2, "axis": 1}),
        ("dot_product_attention", heads, {"bias": d.normal((2, 2, 3, 5))}),
        ("dot_product_attention", heads, {"mask": d.normal((2, 2, 3, 5)) > 0}),
        ("dot_product_attention", heads, {"scale": 0.3}),
        ("dot_product_attention", heads, {"is_causal": True, "mask": d.normal((2, 1, 3, 5)) > -1}),
        ("dot_product_attention", [d.normal((2, 3, 4, 4)), *heads[1:]], {}),
        ("depthwise_conv", [signals, d.normal((3, 4, 2))], {"strides": 2, "padding": "same"}),
        ("separable_conv", [signals, d.normal((3, 4, 2)), d.normal((1, 8, 3))], {"dilation_rate": 2}),
        ("empty_like", [matrix], {"dtype": "int32"}),
        ("expand_dims", [matrix, (0, 2)], {}),
        ("flip", [matrix], {}),
        ("full_like", [matrix, 2.5], {"dtype": "int32"}),
        ("glu", [x[:, :, :4]], {"axis": 1}),
        ("image.affine_transform", [images, np.array([2, 1, -1, 1, 3, 0, 1, 0])], {"fill_value": 0.5}),
        ("image.affine_transform", [images, np.array([2, 1, -1, 1, 3, 0, 1, 0])], {"interpolation": "nearest"}),
        ("image.affine_transform", [images, np.array([2, 1, -1, 1, 3, 0, 1, 0])], {"fill_mode": "reflect"}),
        ("image.extract_patches", [images, 2], {"strides": 1}),
        ("image.extract_patches", [images, 2], {"dilation_rate": 2, "strides": 1}),
        ("image.gaussian_blur", [images, (3, 5), (1.3, 0.7)], {}),
        ("image.pad_images", [images[0], 1, 2, 3, 0], {}),
        ("image.pad_images", [images, None, 2], {"bottom_padding": 1, "target_height": 9, "target_width": 9}),
        ("image.crop_images", [turned, 1], {"right_cropping": 2, "target_height": 4, "target_width": 3, **first}),
        ("image.map_coordinates", [whole, d.positive((2, 5)), 1], {}),
        (
            "image.perspective_transform",
            [images, [[0, 0], [0, 3], [3, 0], [3, 3]], [[0, 0.3], [0.2, 3], [3, 0.1], [2.7, 3.3]]],
            {"interpolation": "nearest", "fill_value": 0.5},
        ),
        ("image.resize", [images[0], (4, 9)], {}),
        ("image.rgb_to_grayscale", [gray], first),
        ("image.rgb_to_grayscale", [gray[0, :, :, :3]], {}),
        ("image.rgb_to_grayscale", [d.random.integers(0, 256, (4, 5, 3)).astype("uint8")], {}),
        ("image.rgb_to_grayscale", [gray[..., :1]], {}),
        ("image.ssim", [gray, other], {"filter_size": 5, **first}),
        (
            "image.ssim",
            [turned.transpose(0, 2, 3, 1), images / 2],
            {"filter_size": 3, "filter_sigma": 0.8, "k1": 0.1, "k2": 0.2},
        ),
        ("isclose", [np.array([1, np.nan, 3], "float32"), np.array([1.1, np.nan, 4], "float32")], {"equal_nan": True}),
        ("isclose", [np.array([1, np.nan, 3], "float32"), np.array([1.1, np.nan, 4], "float32")], {"rtol": 0.2}),
        ("layer_normalization", [x], {"axis": 1}),
        ("leaky_relu", [matrix], {"negative_slope": 0.25}),
        ("logsumexp", [x], {"axis": (0, 2)}),
        ("max", [matrix], {"axis": 1, "initial": 0.5}),
        ("min", [matrix], {"axis": 0, "initial": -0.5}),
        ("mean", [whole], {"axis": 1}),
        ("median", [whole], {"axis": 1}),
        ("moments", [x], {"axes": [0, 2]}),
        ("moveaxis", [x, (0, 1), (2, 0)], {}),
        ("moveaxis", [x, (2, 0), (1, 2)], {}),
        ("moveaxis", [x, (0, 1), (1, 0)], {}),
        ("multi_hot", [whole, 9], {"dtype": "int32"}),
        ("multi_hot", [whole[0], 9], {}),
        ("multi_hot", [whole.reshape(3, 2, 2), 9], {}),
        ("segment_sum", [x, np.array([2, -1, 0], "int32")], {"num_segments": 3}),
        ("segment_max", [x[:2], np.array([1, -1], "int32")], {"num_segments": 2}),
        ("in_top_k", [np.array([0, 2, 3]), d.gaps((3, 4))], {"k": 2}),
        ("in_top_k", [np.array([1, 0, 4]), d.normal((3, 4))], {"k": 2}),
        ("cholesky_inverse", [np.tril(d.positive((3, 4, 4)))], {}),
        ("nan_to_num", [nan], {}),
        ("nanpercentile", [nan, 30.0], {"axis": 0, "keepdims": True, "method": "lower"}),
        ("percentile", [matrix, [30.0, 60.0]], {"axis": 0, "keepdims": True, "method": "higher"}),
        ("percentile", [matrix, 30.0], {"method": "nearest"}),
        ("norm", [matrix], {}),
        ("norm", [matrix], {"axis": 1, "keepdims": True}),
        ("norm", [row], {"ord": 1}),
        ("norm", [matrix], {"ord": 1}),
        ("norm", [matrix], {"ord": np.inf, "keepdims": True}),
        ("norm", [x], {"ord": 1, "axis": (2, 0)}),
        ("norm", [x], {"ord": np.inf, "axis": (0, -1)}),
        ("norm", [matrix], {"ord": "fro", "axis": (0, 1)}),
        *(("norm", [x], {"ord": order, "axis": 1}) for order in (0, 3, -1, -2, -np.inf)),
        *(("norm", [x], {"ord": order, "axis": (2, 0)}) for order in (2, -2, "nuc", -1, -np.inf)),
        ("norm", [x], {"ord": "nuc", "axis": (0, 2), "keepdims": True}),
        ("normalize", [matrix], {"order": 3}),
        ("normalize", [matrix], {"order": 1}),
        ("normalize", [matrix], {"epsilon": 100.0}),
        ("one_hot", [whole, 5], {"dtype": "int32", "axis": 1}),
        ("pad", [matrix, ((1, 0), (2, 1))], {"constant_values": 2}),
        ("quantile", [whole, 0.3], {"axis": 1}),
        ("relu", [matrix], {}),
        ("repeat", [matrix, [1, 0, 2]], {"axis": 0}),
        ("repeat", [matrix, [1, 0, 2, 1]], {"axis": 1}),
        ("repeat", [matrix, 2], {}),
        ("rms_normalization", [x], {"axis": (1, 2)}),
        ("roll", [matrix, (1, 2)], {"axis": (0, 1)}),
        ("roll", [matrix, 5], {}),
        ("round", [matrix * 10, -1], {}),
        ("scatter_update", [matrix, [[0, 0], [1, 2], [0, 0]], d.normal((3,))], {"reduction": "add"}),
        ("segment_sum", [matrix, np.array([0, 1, 1])], {}),
        ("segment_max", [matrix, np.array([0, 0, 1])], {}),
        ("selu", [matrix], {}),
        ("silu", [matrix], {}),
        ("split", [matrix, 2], {"axis": -1}),
        ("split", [matrix, [1]], {}),
        ("squeeze", [d.normal((1, 3, 1))], {"axis": (0, 2)}),
        ("squareplus", [matrix], {"b": 2}),
        ("soft_shrink", [matrix], {"threshold": 0.2}),
        ("hard_shrink", [matrix], {"threshold": 0.2}),
        ("softmax", [x], {"axis": 1}),
        ("log_softmax", [x], {"axis": 0}),
        ("elu", [matrix], {"alpha": 0.5}),
        ("celu", [matrix], {"alpha": 0.5}),
        ("sum", [whole], {"axis": 1}),
        ("take", [matrix, np.array([0, 5, 5])], {}),
        ("take_along_axis", [matrix, np.array([0, 5, 5])], {}),
        ("tensordot", [matrix, d.normal((3, 4))], {"axes": ([0, 1], [0, 1])}),
        ("tile", [matrix, 2], {}),
        ("transpose", [x], {}),
        ("unstack", [matrix], {"num": 3}),
        ("var", [whole.astype("float32")], {"axis": 1, "keepdims": True}),
        ("zeros_like", [matrix], {"dtype": "int32"}),
        ("ones_like", [matrix], {"dtype": "int32"}),
    ]


@pytest.mark.parametrize("call", further(), ids=lambda call: f"{call[0]} {', '.join(call[2])}")
def test_further_arguments(call: tuple[str, list[Any], dict[str, Any]]) -> None:
    name, *arguments = call
    check_call(name, (arguments[0], arguments[1]), 3, "float32")


INF, NAN = np.inf, np.nan


def at_the_edges() -> list[tuple[str, list[Any], dict[str, Any]]]:
    """Calls at zeros, ties, infinities, NaNs and bounds, which drawn numbers miss; and with axes and sizes said otherwise."""
    d = Draw(5, "float32")

    def row(*numbers: float) -> np.ndarray:
        return np.array(numbers, "float32")

    odd, ties = row(-INF, -2, -1, -0.0, 0, 0.5, 1, 3, INF, NAN), row(2, 1, 2, 0, 1, 2).reshape(2, 3)
    whole, holes = np.array([[3, 1, 3], [0, 1, 0]], "int32"), row(1, NAN, 3, 5, 4, 2, NAN, NAN).reshape(2, 4)
    signals, images, blocks = d.normal((2, 9, 4)), d.normal((2, 6, 7, 4)), d.normal((2, 3, 4))
    kernel, spreading, separate = d.normal((3, 4, 2)), d.normal((3, 2, 4)), d.normal((1, 8, 3))
    quotients = [row(-5, 5, -5, 5), row(3, -3, -3, 3)]
    small, wide = np.array([5, 250], "uint8"), np.array([-5, 300, 70000], "int32")
    groups, places = np.array([0, 0, 2, 2]), [[0], [0], [1]]
    of_odd = ["isposinf", "isneginf", "isinf", "isfinite", "isnan", "signbit", "nan_to_num", "logical_not"]
    return [
        *((name, [odd], {}) for name in of_odd),
        ("nan_to_num", [odd], {"nan": 7.0, "posinf": 9.0, "neginf": -8.0}),
        *((name, [odd[1:-2]], {}) for name in ("abs", "sign", "relu", "erf")),
        ("clip", [row(-2, -1, 0, 1, 2), -1.0, 1.0], {}),
        ("round", [row(0.5, 1.5, 2.5, -0.5, -1.5)], {}),
        *((name, [row(1, 2, 3), row(3, 2, 1)], {}) for name in ("maximum", "minimum")),
        *((name, [row(1, NAN, 3, 2), row(NAN, 2, 1, 2)], {}) for name in ("fmax", "fmin")),
        ("power", [row(0, 2, -2, 3), row(2, 0, 3, 1)], {}),
        ("hypot", [row(3, 0, 4), row(4, 2, 0)], {}),
        ("divide_no_nan", [row(0, 1, 2), row(0, 0, 4)], {}),
        *((name, quotients, {}) for name in ("mod", "floor_divide", "fmod")),
        ("max", [ties], {"axis": 1}),
        ("max", [ties], {}),
        ("min", [ties], {"axis": 0}),
        ("argmax", [ties], {"axis": 1}),
        ("argmin", [ties], {"axis": 0}),
        ("argsort", [ties], {}),
        ("sort", [ties], {}),
        ("top_k", [ties, 2], {}),
        *(("in_top_k", [np.array([2, 1], "int32"), ties], {"k": k}) for k in (1, 2)),
        ("prod", [ties], {"axis": 1}),
        ("prod", [row(2, 0, 0, 3)], {}),
        *(("searchsorted", [row(0, 1, 1, 3), row(1, 3, -1, 4)], {"side": side}) for side in ("left", "right")),
        ("digitize", [row(0, 1, 1.5, 3, 4, -1), [0.0, 1.0, 3.0]], {}),
        ("histogram", [row(0, 1, 2, 2, 3, 4)], {"bins": 4}),
        ("histogram", [row(0, 1, 2, 2, 3, 4)], {"bins": 2, "range": (1, 3)}),
        *((name, [np.stack([holes[0], 0 * holes[0] + NAN])], {"axis": 1}) for name in ("nanmax", "nanmin")),
        ("nanquantile", [holes, [0.3, 0.7]], {"axis": 1}),
        *((name, [holes], {"axis": 1}) for name in ("nanargmax", "nanargmin")),
        *((f"segment_{name}", [row(1, 1, 3, 2), groups], {"num_segments": 4}) for name in ("sum", "prod", "max", "min")),
        ("scatter_update", [row(1, 5, 2), places, row(3, 3, 5)], {"reduction": "max"}),
        ("scatter_update", [row(1, 5, 2), places, row(0.5, 0.5, 5)], {"reduction": "min"}),
        ("scatter_update", [row(1, 5, 2), places, row(3, 2, 5)], {"reduction": "mul"}),
        ("isclose", [row(1, 1, 0), row(1 + 2e-5, 1 + 5e-6, 1e-9)], {}),
        ("isclose", [row(1, 1), row(1.05, 1.2)], {"rtol": 0.1, "atol": 0.0}),
        *(("allclose", [row(1, 2), row(1, other)], {}) for other in (2 + 1e-5, 2.1)),
        *(("saturate_cast", [row(-300, -1.5, 0.5, 200.5, 300, 1e10), dtype], {}) for dtype in ("uint8", "int16", "bool")),
        ("saturate_cast", [np.array([1e300, -1e300]), "float32"], {}),
        *(("saturate_cast", [wide, dtype], {}) for dtype in ("uint8", "int16", "bool")),
        *(("saturate_cast", [small, dtype], {}) for dtype in ("int8", "int32")),
        ("saturate_cast", [np.array([True, False]), "uint8"], {}),
        ("one_hot", [whole, 4], {"axis": 2}),
        # signals, with tuples
        ("conv", [signals, kernel], {"strides": (2,)}),
        ("conv", [signals, kernel], {"dilation_rate": (2,)}),
        ("depthwise_conv", [signals, kernel], {"strides": 2, "padding": "same"}),
        ("separable_conv", [signals, kernel, separate], {"dilation_rate": (2,)}),
        ("max_pool", [signals, (3,)], {"strides": (2,)}),
        ("average_pool", [signals, (3,)], {}),
        ("adaptive_average_pool", [signals, (4,)], {}),
        ("adaptive_max_pool", [signals, (2,)], {}),
        ("conv_transpose", [signals, spreading], {"strides": (2,), "output_padding": (1,)}),
        ("conv_transpose", [signals, spreading], {"strides": 2, "output_padding": 1, "padding": "same"}),
        ("conv_transpose", [signals, spreading], {"dilation_rate": (2,)}),
        ("conv_transpose", [images, d.normal((3, 3, 2, 4))], {"dilation_rate": 2}),
        # axes from the end, of several; whole numbers
        ("cross", [d.normal((3, 2)), d.normal((3, 3))], {}),
        ("cross", [d.normal((2, 3)), d.normal((3, 3))], {"axisa": 0, "axisb": 0}),
        ("vander", [row(1, 2, 3)], {}),
        ("trapezoid", [d.normal((3, 4)), d.positive((3,))], {"axis": 0}),
        ("norm", [blocks], {"axis": (-2, -1), "ord": INF}),
        ("norm", [blocks], {"axis": (-1, -2), "ord": 1}),
        ("normalize", [ties + 1], {"order": 1, "axis": 0}),
        ("repeat", [ties, [1, 2, 0]], {"axis": -1}),
        ("roll", [blocks, (1, -1)], {"axis": (-1, 0)}),
        ("roll", [blocks, -2], {"axis": -1}),
        ("tile", [row(1, 2), (2, 2)], {}),
        ("swapaxes", [blocks, -1, 0], {}),
        ("hstack", [[row(1, 2), row(3)]], {}),
        ("dstack", [[row(1, 2), row(3, 4)]], {}),
        ("dstack", [[ties, ties + 1]], {}),
        ("hsplit", [row(1, 2, 3, 4), 2], {}),
        ("split", [d.normal((6, 4)), 3], {"axis": -2}),
        ("array_split", [d.normal((6, 5)), 3], {"axis": -1}),
        ("diff", [d.normal((4, 3))], {"axis": 0}),
        ("diff", [row(1, 4, 2, 8)], {"n": 3}),
        ("unravel_index", [np.array([5, 17], "int32"), (3, 2, 4)], {}),
        ("count_nonzero", [whole], {"axis": [0, 1]}),
        ("all", [whole > 0], {"axis": [0]}),
        ("any", [whole > 2], {"axis": (0, 1), "keepdims": True}),
        *((name, [whole], {"axis": 1}) for name in ("mean", "prod", "var", "max")),
        ("sum", [whole > 0], {}),
        *((name, [np.array([[200, 100]], "uint8")], {"axis": 1}) for name in ("sum", "mean", "cumsum")),
        ("average", [ties], {"axis": -1, "weights": row(1, 2, 3)}),
        ("average", [ties], {"axis": 0, "weights": ties + 1}),
        ("average", [ties], {"axis": (0, 1)}),
        ("moments", [blocks], {"axes": [-1, 0], "keepdims": True}),
        ("moments", [blocks], {"axes": -1}),
        ("glu", [blocks], {"axis": -1}),
        ("softmax", [blocks], {"axis": (0, 2)}),
        ("softmax", [blocks], {"axis": None}),
        ("binary_crossentropy", [row(0, 1, 1, 0), row(0, 1, 0.5, 1)], {}),
        ("categorical_crossentropy", [np.eye(3, dtype="float32"), np.eye(3, dtype="float32")[[0, 1, 1]]], {}),
        ("batch_normalization", [blocks, d.normal((3,)), d.positive((3,))], {"axis": -2, "scale": d.normal((3,))}),
        ("layer_normalization", [blocks], {"axis": (-1, -2)}),
        *((name, [ties * np.float32(1e-4)], {}) for name in ("layer_normalization", "rms_normalization")),
        ("image.crop_images", [images[0], 1, 2, 0, 1], {}),
        ("image.ssim", [d.positive((12, 13, 2)), d.positive((12, 13, 2)) / 2], {}),
        ("logsumexp", [row(1000, 1001, -1000)], {}),
        ("correlate", [d.normal((4,)), d.normal((4,))], {"mode": "same"}),
        ("correlate", [d.normal((5,)), d.normal((2,))], {"mode": "same"}),
        ("take", [ties, np.array([-1, 0])], {"axis": -1}),
        ("take_along_axis", [ties, np.array([[2, 0], [0, 0]])], {"axis": -1}),
        ("get_item", [ties, (None, slice(None, None, -1))], {}),
        ("get_item", [ties, np.array([True, False])], {}),
        ("isin", [whole, whole[1]], {}),
        ("expand_dims", [ties, [0, -1]], {}),
        ("squeeze", [ties[None, :, :, None], [0, -1]], {}),
        ("full_like", [whole, 2], {}),
        ("ones_like", [ties > 0], {}),
        *(("tensordot", [ties, ties.T], {"axes": axes}) for axes in ((1, 0), 0, [[-1], [-2]])),
        ("inner", [blocks, d.normal((5, 4))], {}),
        ("einsum", ["bij,bjk,bk->bi", blocks, d.normal((2, 4, 5)), d.normal((2, 5))], {}),
        ("matmul", [row(1, 2, 3), row(4, 5, 6)], {}),
        ("matmul", [row(1, 2, 3), blocks], {}),
    ]


@pytest.mark.parametrize("call", at_the_edges(), ids=lambda call: f"{call[0]} {', '.join(call[2])}")
def test_at_the_edges(call: tuple[str, list[Any], dict[str, Any]]) -> None:
    name, *arguments = call
    check_call(name, (arguments[0], arguments[1]), 3, "float32")


def test_gradients_where_tensorflow_has_none() -> None:
    """Of what is smooth there, or has a smallest value there: 0."""
    for function, x in ((ops.sinc, [0.0, 0.3]), (lambda x: ops.cdist(x[:, None], x[:, None]), [0.0, 0.0])):
        tensor = ops.convert_to_tensor(np.array(x, "float32"))
        with minicnn.GradientTape() as tape:
            tape.watch(tensor)
            y = function(tensor)
        assert np.asarray(tape.gradient(y, tensor))[0] == 0


@pytest.mark.parametrize("name", CASES)
def test_a_graph_of_it_computes_the_same(name: str) -> None:
    """Called on symbolic tensors: shape, values, gradients, and the config both ways."""
    call = drawn(name, 3, "float32")
    arrays = [one for one in flatten_struct([*call]) if is_source(one)][name in TARGETS_FIRST :]
    if not arrays:
        pytest.skip("no input of a model")
    symbols = {id(one): minicnn.layers.symbolic.KerasTensor(one.shape) for one in arrays}
    inputs = list(symbols.values())
    args, named = (mapped(lambda one: symbols.get(id(one), one), part) for part in call)
    outputs = flatten_struct(find(ops, name)(*args, **named))
    eager = [ops.convert_to_tensor(one) for one in arrays]
    again = {id(one): tensor for one, tensor in zip(arrays, eager)}
    args, named = (mapped(lambda one: again.get(id(one), one), part) for part in call)
    with minicnn.GradientTape() as tape:
        tape.watch(eager)
        expected = flatten_struct(find(ops, name)(*args, **named))
    if any(output is tensor for output in outputs for tensor in inputs):
        return
    model = minicnn.Model(inputs, outputs)
    copied = minicnn.Model.from_config(json.loads(json.dumps(model.get_config())))
    for one in (model, copied):
        for symbol, y in zip(one.outputs, expected, strict=True):
            assert symbol.shape == y.shape
            assert symbol.dtype == y.dtype
        found, _ = one.forward(arrays, False)
        for y, expected_y in zip(flatten_struct(found), expected, strict=True):
            check(y, expected_y, "float32")
    floats = [y for y in expected if y.dtype.kind == "f"]
    if len(floats) == len(expected):
        dx, _ = model.backward([np.ones_like(y) for y in expected], saved_of(model, arrays))
        for actual, gradient in zip([dx] if len(arrays) == 1 else dx, tape.gradient(floats, eager)):
            if gradient is None:
                assert actual is None or not np.any(actual)
            else:
                check(actual, gradient, "float32")


def saved_of(model: Any, arrays: list[np.ndarray]) -> Any:
    return model.forward(arrays, False)[1]


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"sorted": False},
        {"sorted": False, "return_index": True, "return_inverse": True, "return_counts": True},
        {"return_index": True, "return_inverse": True, "return_counts": True},
        {"axis": 1},
        {"size": 6, "fill_value": 9},
        {"size": 2},
        {"axis": -1, "size": 6, "fill_value": 9},
        {"axis": -1, "size": 2, "return_counts": True},
    ],
)
def test_unique(named: dict[str, Any]) -> None:
    for rows in ([[3, 1, 2, 3], [2, 2, 0, 1]], [[2, 3, 1, 3], [2, 3, 1, 2]]):
        x = np.array(rows, "int32")
        for y, expected in zip(
            flatten_struct(ops.unique(x, **named)), flatten_struct(keras.ops.unique(x, **named)), strict=True
        ):
            check(y, expected, "float32")


# What has a test of its own (here, in test_control, among the activations, or with random numbers), and what is no op.
NO_CASE = {"argpartition", "custom_gradient", "empty", "exponential", "fold", "mish", "nonzero", "sparsemax", "unique"}
NO_CASE |= {"ctc_decode", "ctc_loss", "eigh", "lstsq", "pinv", "qr", "svd"}  # in ops/test_ctc and ops/test_linalg
NO_CASE |= {"associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorized_map", "while_loop"}
NO_CASE |= {"Derivative", "Op", "Operation", "convert_to_numpy", "dtype", "is_tensor", "ndim", "shape", "size"}


def test_no_op_is_without_a_case() -> None:
    named = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert named - CASES.keys() - MADE.keys() == NO_CASE


def test_what_depends_on_values_takes_arrays_only() -> None:
    x = np.array([[3, 0], [0, 2]])
    for places, expected in zip(ops.nonzero(x), keras.ops.nonzero(x), strict=True):
        np.testing.assert_array_equal(places, expected)
    for name in ("unique", "nonzero"):
        with pytest.raises(ValueError, match=f"what `{name}` returns depends on values"):
            find(ops, name)(minicnn.Input((2,)))
    with pytest.raises(ValueError, match="use RandomElasticTransform"):
        ops.image.elastic_transform(minicnn.Input((8, 8, 3)))


def test_argpartition_puts_the_smallest_first() -> None:
    x = np.random.default_rng(0).permutation(9).astype("float32")
    places = np.asarray(ops.argpartition(x, 3))
    assert sorted(x[places[:4]]) == [0, 1, 2, 3]
    assert x[places[3]] == 3


def test_elastic_transform_depends_on_its_seed_alone() -> None:
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype("float32")
    one, same, other = (ops.image.elastic_transform(images, 2.0, 1.0, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)
    np.testing.assert_array_equal(ops.image.elastic_transform(images, 0.0, 1.0, seed=3), images)


@pytest.mark.parametrize("name", ["rgb_to_hsv", "hsv_to_rgb", "gaussian_blur", "sobel_edges", "resize", "pad_images"])
def test_images_with_their_channels_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by the argument, or by the switch (Keras's blur is another one with it)."""
    images = np.random.default_rng(0).random((2, 3, 5, 6)).astype("float32")
    named = {"resize": {"size": (7, 4)}, "pad_images": dict.fromkeys(["top_padding", "left_padding"], 1)}.get(name, {})
    named |= {"target_height": 8, "target_width": 8} if name == "pad_images" else {}
    expected = find(keras.ops.image, name)(images, **named, data_format="channels_first")
    check(find(ops.image, name)(images, **named, data_format="channels_first"), expected, "float32")
    monkeypatch.setattr(minicnn.config, "_image_data_format", "channels_first")
    check(find(ops.image, name)(images, **named), expected, "float32")


def test_the_switch_is_for_convolutions_and_not_for_tensorflow_s_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minicnn.config, "_image_data_format", "channels_first")
    draw = Draw(4, "float32")
    images, kernel = draw.normal((2, 6, 8, 3)), draw.normal((2, 3, 3, 4))
    expected = np.asarray(tf.nn.conv2d(images, kernel, 1, "VALID"))
    check(ops.conv(np.moveaxis(images, -1, 1), kernel), np.moveaxis(expected, -1, 1), "float32")
    check(minicnn.nn.conv2d(images, kernel, 1, "VALID"), expected, "float32")
    check(minicnn.image.rgb_to_hsv(np.abs(images)), tf.image.rgb_to_hsv(np.abs(images)), "float32")
    check(minicnn.image.ssim(images, images, 1.0, 3), tf.image.ssim(images, images, 1.0, 3), "float32")


def test_what_padding_and_colors_refuse() -> None:
    images = np.ones((2, 4, 5, 3), "float32")
    sides = dict.fromkeys(["left_padding", "right_padding"], 0)
    for module in (ops, keras.ops):
        with pytest.raises(ValueError, match="Must specify exactly two of top_padding, bottom_padding, target_height"):
            module.image.pad_images(images, top_padding=1, **sides)
        with pytest.raises(ValueError, match="bottom_padding must be >= 0"):
            module.image.pad_images(images, top_padding=3, target_height=6, **sides)
        with pytest.raises(ValueError, match="target_width must be >= 0"):
            module.image.crop_images(images, 0, 3, 0, 3)
        with pytest.raises(ValueError, match="Invalid images dtype: expected float dtype"):
            module.image.rgb_to_hsv(images.astype("uint8"))
        with pytest.raises(ValueError, match="must have positive height and width"):
            module.image.resize(images, (0, 3))
        with pytest.raises(TypeError, match="Expected an int or a tuple"):
            module.image.extract_patches(images, "3")


SIGNALS_OF_3, IMAGES_OF_3 = (2, 8, 3), (2, 6, 8, 3)
WITH_CHANNELS: list[tuple[str, tuple[int, ...], list[tuple[int, ...]], list[Any], dict[str, Any]]] = [
    # its name; the shapes of the input and of kernels; what else is given
    ("conv", IMAGES_OF_3, [(2, 3, 3, 4)], [], {"strides": (1, 2)}),
    ("conv", IMAGES_OF_3, [(2, 3, 3, 4)], [], {"padding": "same"}),
    ("conv", SIGNALS_OF_3, [(3, 3, 4)], [], {"strides": 2}),
    ("depthwise_conv", IMAGES_OF_3, [(2, 3, 3, 2)], [], {"strides": 2, "padding": "same"}),
    ("separable_conv", IMAGES_OF_3, [(2, 3, 3, 2), (1, 1, 6, 4)], [], {}),
    ("conv_transpose", IMAGES_OF_3, [(2, 3, 4, 3)], [], {"strides": 2}),
    ("conv_transpose", SIGNALS_OF_3, [(3, 4, 3)], [], {"strides": 2, "padding": "same"}),
    ("max_pool", IMAGES_OF_3, [], [(2, 3)], {"strides": 2, "padding": "same"}),
    ("max_pool", SIGNALS_OF_3, [], [3], {}),
    ("average_pool", IMAGES_OF_3, [], [(2, 3)], {}),
    ("average_pool", SIGNALS_OF_3, [], [3], {"strides": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("name", "shape", "of_kernels", "further_arguments", "named"), WITH_CHANNELS)
def test_channels_first_are_the_same_numbers_in_another_order(
    name: str, shape: Any, of_kernels: list[Any], further_arguments: list[Any], named: dict[str, Any]
) -> None:
    """As those of Keras with the channels last: TensorFlow has no convolutions of the other order on a CPU."""
    draw = Draw(4, "float32")
    x, kernels = draw.normal(shape), [draw.normal(of_kernel) for of_kernel in of_kernels]
    expected = np.asarray(find(keras.ops, name)(x, *kernels, *further_arguments, **named))
    y = find(ops, name)(np.moveaxis(x, -1, 1), *kernels, *further_arguments, **named, data_format="channels_first")
    check(y, np.moveaxis(expected, -1, 1), "float32")


@pytest.mark.parametrize("size", [(9, 4), (3, 11)])
def test_bicubic_resizing_without_antialias(size: tuple[int, int]) -> None:
    images = np.random.default_rng(2).random((2, 5, 6, 3)).astype("float32")
    expected = keras.ops.image.resize(images, size, "bicubic")
    np.testing.assert_allclose(ops.image.resize(images, size, "bicubic"), expected, atol=2e-3)


def test_resized_whole_numbers_are_rounded() -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, 6, 3)).astype("uint8")
    for interpolation in ("bilinear", "nearest", "lanczos3"):
        y = ops.image.resize(images, (4, 9), interpolation)
        expected = np.asarray(keras.ops.image.resize(images, (4, 9), interpolation))
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("size", "named", "message"),
    [
        ((4, 4), {"interpolation": "area"}, "Invalid value for argument `interpolation`.*Received: interpolation=area"),
        ((4, 4), {"fill_mode": "reflect"}, "Only 'constant' is supported. Received: fill_mode=reflect"),
        ((4, 4), {"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of `pad_to_aspect_ratio`"),
        ((4, 4, 3), {}, r"`size` must be a tuple of two elements \(height, width\). Received: size=\(4, 4, 3\)"),
    ],
)
def test_what_resize_refuses(size: Any, named: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.image.resize(np.zeros((5, 5, 1), "float32"), size, **named)


@pytest.mark.parametrize("named", [{"strides": 2}, {"strides": 2, "padding": "same", "output_padding": 1}])
def test_transposed_convolution_of_signals(named: dict[str, Any]) -> None:
    random = np.random.default_rng(1)
    x, kernel = (random.random(shape).astype("float32") for shape in ((2, 9, 4), (3, 5, 4)))
    check(ops.conv_transpose(x, kernel, **named), keras.ops.conv_transpose(x, kernel, **named), "float32")


def test_custom_gradient() -> None:
    @ops.custom_gradient
    def product(a: Any, b: Any) -> Any:
        return a * b, lambda upstream: (2 * upstream * b, 3 * upstream * a)

    a, b = ops.convert_to_tensor([2.0, 3.0]), ops.convert_to_tensor([4.0, 5.0])
    with minicnn.GradientTape() as tape:
        tape.watch([a, b])
        y = product(a, b)
    for gradient, expected in zip(tape.gradient(y, [a, b]), ([8, 10], [6, 9])):
        np.testing.assert_array_equal(gradient, expected)
    inputs = minicnn.Input((3,))
    model = minicnn.Model(inputs, product(inputs, inputs))
    x = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(model.backward(x, model.forward(x, False)[1])[0], 5 * x)


@pytest.mark.parametrize("k", range(-1, 5))
@pytest.mark.parametrize("axes", [(0, 1), (2, 1), (-1, 0)])
def test_quarter_turns(k: int, axes: tuple[int, int]) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(ops.rot90(x, k, axes), np.rot90(x, k, axes))


@pytest.mark.parametrize("named", [{}, {"dilation": 2, "padding": 1, "stride": 2}, {"padding": (0, 1)}])
def test_fold_puts_back_what_unfold_took(named: dict[str, Any]) -> None:
    """Each is the other's adjoint, and so its gradient. Keras's needs seconds to be traced: `unfold` is compared with it."""
    random = np.random.default_rng(5)
    x = ops.convert_to_tensor(random.standard_normal((2, 3, 6, 7)))
    columns = ops.convert_to_tensor(random.standard_normal(ops.unfold(x, (2, 3), **named).shape))
    with minicnn.GradientTape(persistent=True) as tape:
        tape.watch([x, columns])
        taken, put = ops.unfold(x, (2, 3), **named), ops.fold(columns, (6, 7), (2, 3), **named)
    np.testing.assert_allclose(np.sum(taken * columns), np.sum(x * put), rtol=1e-12)
    np.testing.assert_array_equal(tape.gradient(taken, x, columns), put)
    np.testing.assert_array_equal(tape.gradient(put, columns, x), taken)


MADE = {  # of numbers, not of tensors
    "arange": [(7,), (2, 9, 3), (2, 9, 3, "float32"), (0.5, 2.0, 0.25), (3.0,), (5, 1, -2)],
    "eye": [(3,), (2, 4), (3, 4, -1, "int32")],
    "full": [((2, 3), 0.5), ((2, 3), 2, "int32")],
    "identity": [(3,), (3, "int32")],
    "linspace": [(1.0, 2.5, 4), (1.0, 2.0, 4, False), (1.0, 2.0, 4, True, True)],
    "geomspace": [(1.0, 100.0, 5), (-0.5, -8.0, 4, False)],
    "logspace": [(0.0, 2.0, 5), (0.0, 2.0, 5, False, 3.0)],
    "meshgrid": [([1.0, 2.0, 3.0], [4.0, 5.0])],
    "ones": [((2, 3),), ((2, 3), "int32")],
    "tri": [(3,), (3, 4, 1), (3, 4, -1, "int32")],
    "zeros": [((2, 3), "int32")],
}


@pytest.mark.parametrize("name", MADE)
def test_arrays_made_of_numbers(name: str) -> None:
    for args in MADE[name]:
        found, expected = (flatten_struct(find(module, name)(*args)) for module in (ops, keras.ops))
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == np.asarray(other).dtype
            np.testing.assert_allclose(one, np.asarray(other), rtol=1e-6)


def test_longer_names_are_the_same_ops() -> None:
    assert ops.numpy.sum is ops.sum


def test_a_product_has_the_type_that_is_said() -> None:
    """Keras on TensorFlow leaves whole numbers as they are."""
    for name, last in (("prod", 6), ("cumprod", 6), ("cumsum", 5)):
        y = getattr(ops, name)(np.array([2, 3]), axis=0, dtype="float32")
        assert (y.dtype, np.ravel(y)[-1]) == (np.float32, last)


def test_a_row_correlates_with_itself_as_in_numpy() -> None:
    """Keras on TensorFlow takes matrices alone."""
    row = np.array([1, 4, 2, 8], "float32")
    np.testing.assert_allclose(ops.corrcoef(row), np.corrcoef(row), rtol=1e-6)


@pytest.mark.parametrize("axis", [1, (0, 1)])
def test_infinity_has_a_name(axis: Any) -> None:
    x = np.array([[1, -4, 2], [3, 1, -1]], "float32")
    np.testing.assert_array_equal(ops.norm(x, "inf", axis=axis), np.linalg.norm(x, np.inf, axis=axis))


def test_what_norms_and_gray_images_refuse() -> None:
    x = np.ones((3, 4), "float32")
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):  # in Keras TensorFlow's own error
        ops.logsumexp(x, axis=2)
    for module in (ops, keras.ops):
        with pytest.raises(ValueError, match=r"Invalid `ord` argument for matrix norm.*Received: ord=3"):
            module.norm(x, 3)
        with pytest.raises(ValueError, match=r"Invalid `ord` argument for vector norm.*Received: ord='?nuc"):
            module.norm(x, "nuc", axis=1)
        with pytest.raises(ValueError, match="Invalid axis values"):
            module.norm(x[None], 1)
        with pytest.raises(ValueError, match="Argument `order` must be an int >= 1"):
            module.normalize(x, order=0)
        with pytest.raises(ValueError, match="Invalid channel size: expected 3"):
            module.image.rgb_to_grayscale(np.ones((2, 4, 4, 2), "float32"))


def test_the_smallest_along_any_axis_come_first() -> None:
    x = np.random.default_rng(0).permutation(12).reshape(4, 3).astype("float32")
    places = np.asarray(ops.argpartition(x, 1, axis=0))
    np.testing.assert_array_equal(np.sort(np.take_along_axis(x, places, 0)[:2], axis=0), np.sort(x, axis=0)[:2])


def test_a_grid_has_its_rows_or_its_columns_first() -> None:
    for named in ({}, {"indexing": "xy"}, {"indexing": "ij"}):
        for one, other in zip(*(module.meshgrid([1.0, 2, 3], [4.0, 5], **named) for module in (ops, keras.ops)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_a_grid_has_gradients_and_a_graph(indexing: str) -> None:
    rows = [np.arange(size, dtype="float32") + 1 for size in (2, 3, 4)]
    inputs = [minicnn.Input(batch_shape=row.shape) for row in rows]
    grid = minicnn.Model(inputs, ops.meshgrid(*inputs, indexing=indexing))
    for one, other in zip(grid.forward(rows, False)[0], np.meshgrid(*rows, indexing=indexing), strict=True):
        np.testing.assert_array_equal(one, other)
    for module, tape in ((ops, minicnn.GradientTape()), (keras.ops, tf.GradientTape())):
        sources = [module.convert_to_tensor(row) for row in rows]
        with tape:
            tape.watch(sources)
            first, second, third = module.meshgrid(*sources, indexing=indexing)
            total = module.sum(first * first * second + third)
        x, y, z = rows
        for gradient, expected in zip(tape.gradient(total, sources), (8 * x * y.sum(), 4 * (x * x).sum() + 0 * y, 6 + 0 * z)):
            np.testing.assert_allclose(gradient, expected)


@pytest.mark.parametrize("subscripts", ["cb,ba", "ij,jk", "ba,bc", "ab"])
def test_letters_of_a_result_that_is_not_said_are_sorted(subscripts: str) -> None:
    """As NumPy sorts them; Keras gives the letters new names first."""
    sizes = {letter: size for size, letter in enumerate(sorted({*subscripts} - {","}), start=2)}
    arrays = [np.random.default_rng(0).normal(size=[sizes[letter] for letter in part]) for part in subscripts.split(",")]
    said = f"{subscripts}->{''.join(sorted(one for one in {*subscripts} - {','} if subscripts.count(one) == 1))}"
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    with minicnn.GradientTape(persistent=True) as tape:
        tape.watch(tensors)
        y, same = ops.einsum(subscripts, *tensors), ops.einsum(said, *tensors)
    np.testing.assert_allclose(y, np.einsum(subscripts, *arrays))
    dy = np.random.default_rng(1).normal(size=y.shape)
    for one, other in zip(tape.gradient(y, tensors, dy), tape.gradient(same, tensors, dy)):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect", "mirror", "wrap"])
@pytest.mark.parametrize("order", [0, 1])
def test_elements_at_any_place_are_scipy_s(fill_mode: str, order: int) -> None:
    """Keras on TensorFlow looks beyond the array where it is reflected."""
    random = np.random.default_rng(0)
    x, places = random.normal(size=(5, 4)), random.normal(size=(2, 30)) * 6 + 1.3
    expected = scipy.ndimage.map_coordinates(
        x, places, order=order, mode={"constant": "grid-constant", "wrap": "grid-wrap"}.get(fill_mode, fill_mode), cval=0.5
    )
    np.testing.assert_allclose(ops.image.map_coordinates(x, places, order, fill_mode, 0.5), expected, atol=1e-12)


def test_a_sum_of_no_exponentials_is_zero() -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0]], "float32")
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(ops.logsumexp(x, axis=1), [-np.inf, 1])


def test_sizes_of_a_graph_are_put_together_as_a_tensor() -> None:
    """What `ops.shape` returns holds symbolic numbers; in the place of a tensor it is one."""
    x = minicnn.Input((None, 3))
    sizes = ops.cast(ops.shape(x), "float32")
    assert (sizes.shape, sizes.dtype) == ((3,), "float32")
    assert ops.add(ops.shape(x), 1).dtype == "int32"
    pairs = ops.reshape([[ops.sum(x), 2.0], [1.0, ops.max(x)]], (4,))
    model = minicnn.Model(x, [sizes, pairs])
    found = minicnn.Model.from_config(model.get_config()).forward(np.full((2, 5, 3), 0.5, "float32"), False)[0]
    np.testing.assert_array_equal(found[0], [2, 5, 3])
    np.testing.assert_array_equal(found[1], [15, 2, 1, 0.5])
