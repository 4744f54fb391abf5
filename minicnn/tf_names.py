"""TensorFlow's names for what is here: where a program says `import tensorflow as tf`, `import minicnn as tf` will do.

Looked up when used: `minicnn.reduce_mean` is `minicnn.ops.mean`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn import ops
from minicnn.ops.image_filters import batched, resize_by_area
from minicnn.tensor import Tensor
from minicnn.variables import Variable

__all__ = ["lookup"]

# Of the same meaning and arguments as the op of this name, or of another.
_SAME = """abs add argmax argmin argsort broadcast_to cast clip concat convert_to_tensor cos divide einsum equal exp expand_dims
    eye floor greater greater_equal less less_equal linspace logical_and logical_not logical_or maximum minimum
    multiply negative norm not_equal ones ones_like pad repeat reshape roll round shape sigmoid sign sin size sort split sqrt
    square squeeze stack stop_gradient subtract tanh tensordot tile transpose unstack where zeros zeros_like"""
_OTHER = {
    "clip_by_value": "clip",
    "concat": "concatenate",
    "fill": "full",
    "pow": "power",
    "reduce_all": "all",
    "reduce_any": "any",
    "reduce_logsumexp": "logsumexp",
    "reduce_max": "max",
    "reduce_mean": "mean",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "reduce_std": "std",
    "reduce_sum": "sum",
    "reduce_variance": "var",
    "reverse": "flip",
}
_OPS: dict[str, str] = {**{name: name for name in _SAME.split()}, **_OTHER}
_MATH = """abs exp expm1 log log1p pow reduce_max reduce_mean reduce_min reduce_std reduce_sum reduce_variance rsqrt sigmoid
    sqrt square tanh"""


def constant(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A tensor of these values."""
    tensor = ops.convert_to_tensor(value, dtype)
    return tensor if shape is None else ops.broadcast_to(tensor, shape)


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None) -> Any:
    """Numbers from `start` (0, where there is no limit) to below `limit`, `delta` apart."""
    return ops.arange(start, limit, delta, dtype) if limit is not None else ops.arange(0, start, delta, dtype)


def identity(input: Any) -> Any:
    """The tensor itself."""
    return ops.elementwise.constant(input)


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str) -> Any:
    """The windows of images, each as one vector; sizes, strides and rates are (1, rows, columns, 1)."""
    return ops.image.extract_patches(images, tuple(sizes[1:3]), tuple(strides[1:3]), tuple(rates[1:3]), padding.lower())


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The product of matrices, of which either may be transposed first."""
    return ops.matmul(matrix_transpose(a) if transpose_a else a, matrix_transpose(b) if transpose_b else b)


def resize(
    images: Any, size: Any, method: str = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False
) -> Any:
    """Images at another size, (height, width), of floats unless `method` is "nearest".

    Args:
        method: "area" (the mean of what a new pixel covers), or one of `ops.image.resize`.
        preserve_aspect_ratio: whether the largest size of the image's proportions is meant that `size` holds.
    """
    if preserve_aspect_ratio:
        H, W = images.shape[-3:-1]
        factor = min(size[0] / H, size[1] / W)
        size = (round(H * factor), round(W * factor))
    if method != "nearest" and str(images.dtype)[:5] != "float":
        images = ops.cast(images, "float32")
    if method != "area":
        return ops.image.resize(images, size, method, antialias)
    return batched(lambda x: resize_by_area(x, (int(size[0]), int(size[1]))), images)


def psnr(a: Any, b: Any, max_val: float) -> Any:
    """The peak signal-to-noise ratio of images, in decibels, one number an image: 10 log10(max_val**2 / mean((a - b)**2))."""
    return 10.0 * ops.log10(max_val**2 / ops.mean(ops.square(ops.subtract(a, b)), (-3, -2, -1)))


# Of an RGB pixel, a column each: Y, U, V. (ITU-R BT.601)
_YUV = np.array(
    [[0.299, -0.14714119, 0.61497538], [0.587, -0.28886916, -0.51496512], [0.114, 0.43601035, -0.10001026]], "float32"
)


def rgb_to_yuv(images: Any) -> Any:
    """Red, green and blue of each pixel as luma and two differences of colour."""
    return ops.matmul(images, _YUV)


def yuv_to_rgb(images: Any) -> Any:
    """The reverse of `rgb_to_yuv`."""
    return ops.matmul(images, np.linalg.inv(_YUV.astype("float64")).astype("float32"))


def gather(params: Any, indices: Any, axis: int = 0) -> Any:
    """The slices of `params` at these places of an axis."""
    return ops.take(params, indices, axis)


def squared_difference(x: Any, y: Any) -> Any:
    """(x - y)**2."""
    return ops.square(x - y)


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    """x divided by its length along axes."""
    return ops.normalize(x, axis, epsilon=epsilon**0.5)


def sigmoid_cross_entropy_with_logits(labels: Any = None, logits: Any = None) -> Any:
    """Binary cross-entropy of logits, element by element."""
    return ops.binary_crossentropy(labels, logits, from_logits=True)


def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: int = -1) -> Any:
    """Cross-entropy of one-hot labels and logits, one loss a row."""
    return ops.categorical_crossentropy(labels, logits, from_logits=True, axis=axis)


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    """Cross-entropy of labels and logits, one loss a row."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor or a variable."""
    return isinstance(x, (Tensor, Variable)) or ops.is_tensor(x)


def one_hot(indices: Any, depth: int, axis: int = -1, dtype: Any = None) -> Any:
    """Labels as vectors of zeros with a one."""
    return ops.one_hot(indices, depth, axis, dtype)


def convert_image_dtype(image: Any, dtype: Any) -> Any:
    """Pixels of whole numbers, up to 255, as numbers from 0 to 1."""
    whole = np.asarray(image).dtype.kind in "iu"
    return ops.cast(image, dtype) / 255.0 if whole else ops.cast(image, dtype)


def matrix_transpose(a: Any) -> Any:
    """The last two axes exchanged."""
    return ops.swapaxes(a, -1, -2)


def gelu(features: Any, approximate: bool = False) -> Any:
    """x times the probability that a normally distributed number is below x."""
    return ops.gelu(features, approximate)


_OWN = (constant, gather, identity, is_tensor, matmul, one_hot, range, squared_difference)
_NN = (gelu, l2_normalize, sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits)


def _math() -> SimpleNamespace:
    named = {name: getattr(ops, _OPS.get(name, name)) for name in _MATH.split()}
    return SimpleNamespace(**named, l2_normalize=l2_normalize, squared_difference=squared_difference, softplus=ops.softplus)


def _nn() -> SimpleNamespace:
    more = {function.__name__: function for function in (*_NN, sparse_softmax_cross_entropy_with_logits)}
    return SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__} | more)


def _linalg() -> SimpleNamespace:
    return SimpleNamespace(einsum=ops.einsum, matmul=matmul, matrix_transpose=matrix_transpose, norm=ops.norm)


def _image() -> SimpleNamespace:
    named = {name: getattr(ops.image, name) for name in ops.image.__all__}
    own = (convert_image_dtype, extract_patches, psnr, resize, rgb_to_yuv, yuv_to_rgb)
    return SimpleNamespace(**{**named, **{function.__name__: function for function in own}})


def lookup(name: str) -> Any:
    """What TensorFlow calls `tf.name`.

    Raises:
        AttributeError: if it is not here.
    """
    if name in _OPS:
        return getattr(ops, _OPS[name])
    own = {function.__name__: function for function in _OWN}
    if name in own:
        return own[name]
    spaces = {"image": _image, "linalg": _linalg, "math": _math, "nn": _nn}
    if name in spaces:
        return spaces[name]()
    if name in ("float32", "float64", "int32", "int64", "uint8", "bool"):
        return np.dtype(name)
    if name == "newaxis":
        return None
    raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
