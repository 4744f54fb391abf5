"""The gradient of an op's gradient: what a gradient penalty or a Hessian needs (see `tape.py`).

For y = f(x), dx = f'(x)^T dy and the gradient u at dx, it is

    at dy: f'(x) u            at x: d/de of f'(x + e u)^T dy, at e = 0

Both are derivatives along u. For ops made of NumPy's analytic functions they are found by a complex step: f and its gradient
are computed at x + i h u with h so small that h**2 vanishes; the imaginary part, divided by h, is the derivative, to the last
bits of float64, since nothing is subtracted. (Squire and Trapp 1998, SIAM Review 40.) Comparisons of complex numbers look at
the real part first, so that `maximum` and `where` choose as they do for real ones.

Ops whose kernels take real numbers only are linear in each of their tensors, which gives the two by their own forward and
backward; and a rectifier's slope does not change with x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.ops import elementwise, image, nn, products, reductions, shaping
from minicnn.ops.base import Op

_STEP = 1e-30


def _complex_step(op: Op, arguments: dict[str, Any], dy: Any, us: list[Any]) -> tuple[list[Any], list[Any]]:
    tensors = op.tensors_in(arguments)
    moved = [
        np.asarray(x, "complex128") + (0 if u is None else 1j * _STEP * np.asarray(u, "float64")) if _is_float(x) else x
        for x, u in zip(tensors, us)
    ]
    y, saved = op._function(**op.with_tensors(arguments, moved))
    found = op.backward(np.asarray(dy, "complex128"), saved)
    of_tensors = [None if g is None or not _is_float(x) else _along(g, x.dtype) for g, x in zip(found, tensors)]
    return [_along(y, dy.dtype)], of_tensors


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _along(value: Any, dtype: Any) -> Any:
    return (np.imag(value) / _STEP).astype(dtype)


def _linear_in_each(op: Op, arguments: dict[str, Any], dy: Any, us: list[Any]) -> tuple[list[Any], list[Any]]:
    """f(x1, x2) = sum of x1[i] x2[j] c[i,j,k]: its derivative along u is f(u1, x2) + f(x1, u2)."""
    tensors = op.tensors_in(arguments)
    of_dy: Any = 0
    of_tensors: list[Any] = [None] * len(tensors)
    for i, u in enumerate(us):
        if u is None:
            continue
        replaced = [np.asarray(u, x.dtype) if i == j else x for j, x in enumerate(tensors)]
        y, saved = op.forward(op.with_tensors(arguments, replaced))
        of_dy = of_dy + y
        for j, gradient in enumerate(op.backward(dy, saved)):
            if j != i and gradient is not None:
                of_tensors[j] = gradient if of_tensors[j] is None else of_tensors[j] + gradient
    return [of_dy], of_tensors


def _slopes(op: Op, arguments: dict[str, Any], dy: Any, us: list[Any]) -> tuple[list[Any], list[Any]]:
    """y = slope * x, element by element: the slope of u is that of x."""
    _, saved = op.forward(arguments)
    return op.backward(np.asarray(us[0], dy.dtype), saved)[:1], [None]


def _of_slope(slope: Any, curvature: Any) -> Any:
    """The rule of y = f(x), element by element, from f'(x) and f''(x) as functions of (x, y)."""

    def rule(op: Op, arguments: dict[str, Any], dy: Any, us: list[Any]) -> tuple[list[Any], list[Any]]:
        x, u = arguments["x"], us[0]
        y, _ = op.forward(arguments)
        return [slope(x, y) * u], [curvature(x, y) * dy * u]

    return rule


_ANALYTIC = {
    elementwise: """negative reciprocal square sqrt rsqrt exp exp2 expm1 log log1p log2 log10 sin cos tan arcsin arccos arctan
        sinh cosh arcsinh arccosh arctanh add subtract multiply divide power maximum minimum where""",
    reductions: "sum mean",
    shaping: """reshape expand_dims squeeze transpose broadcast_to get_item take concatenate stack repeat tile roll flip
        pad""",
    products: "matmul _einsum",
}
_LINEAR_IN_EACH = {nn: "_conv2d _conv2d_transpose _average_pool2d", image: "_resize"}
_SLOPES = {elementwise: "absolute constant copied cast", nn: "relu leaky_relu"}

for _rule, _table in ((_complex_step, _ANALYTIC), (_linear_in_each, _LINEAR_IN_EACH), (_slopes, _SLOPES)):
    for _module, _names in _table.items():
        for _name in _names.split():
            getattr(_module, _name).has_twice(_rule)

nn.sigmoid.has_twice(_of_slope(lambda x, y: y * (1 - y), lambda x, y: y * (1 - y) * (1 - 2 * y)))
nn.tanh.has_twice(_of_slope(lambda x, y: 1 - y * y, lambda x, y: -2 * y * (1 - y * y)))
nn.softplus.has_twice(_of_slope(lambda x, y: -np.expm1(-y), lambda x, y: -np.expm1(-y) * np.exp(-y)))
