"""Arithmetic, element by element: each function, and its derivative in the line below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.ops.base import Op, namespace, op, unbroadcast

# --- of one tensor ----------------------------------------------------------------------

Derivative = Callable[..., Any]


def _unary(name: str, formula: str, forward: Callable[[Any, Any], Any], backward: Derivative | None = None) -> Op:
    """An op of one tensor: `forward(xp, x)`, and `backward(dy, x, y)` where there is a derivative."""

    def function(x: Any) -> Any:
        y = forward(namespace(x), x)
        return y if backward is None else (y, (x, y))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{formula}, element by element."
    made = Op(function, ("x",), differentiable=backward is not None)
    return made if backward is None else made.gradient(lambda dy, saved: backward(dy, *saved))


def _xp(x: Any) -> Any:
    return namespace(x)


absolute = abs = _unary("absolute", "|x|", lambda xp, x: xp.abs(x), lambda dy, x, y: dy * _xp(x).sign(x))
negative = _unary("negative", "-x", lambda xp, x: -x, lambda dy, x, y: -dy)
reciprocal = _unary("reciprocal", "1 / x", lambda xp, x: 1 / x, lambda dy, x, y: -dy * y * y)
square = _unary("square", "x**2", lambda xp, x: x * x, lambda dy, x, y: 2 * dy * x)
sqrt = _unary("sqrt", "The square root of x", lambda xp, x: xp.sqrt(x), lambda dy, x, y: dy / (2 * y))
rsqrt = _unary("rsqrt", "1 / sqrt(x)", lambda xp, x: 1 / xp.sqrt(x), lambda dy, x, y: -dy * y / (2 * x))
exp = _unary("exp", "e**x", lambda xp, x: xp.exp(x), lambda dy, x, y: dy * y)
exp2 = _unary("exp2", "2**x", lambda xp, x: xp.exp2(x), lambda dy, x, y: dy * y * x.dtype.type(np.log(2)))
expm1 = _unary("expm1", "e**x - 1", lambda xp, x: xp.expm1(x), lambda dy, x, y: dy * (y + 1))
log = _unary("log", "The natural logarithm of x", lambda xp, x: xp.log(x), lambda dy, x, y: dy / x)
log1p = _unary("log1p", "log(1 + x)", lambda xp, x: xp.log1p(x), lambda dy, x, y: dy / (1 + x))
log2 = _unary("log2", "The logarithm to base 2", lambda xp, x: xp.log2(x), lambda dy, x, y: dy / (x * x.dtype.type(np.log(2))))
log10 = _unary(
    "log10", "The logarithm to base 10", lambda xp, x: xp.log10(x), lambda dy, x, y: dy / (x * x.dtype.type(np.log(10)))
)
sin = _unary("sin", "The sine of x", lambda xp, x: xp.sin(x), lambda dy, x, y: dy * _xp(x).cos(x))
cos = _unary("cos", "The cosine of x", lambda xp, x: xp.cos(x), lambda dy, x, y: -dy * _xp(x).sin(x))
tan = _unary("tan", "The tangent of x", lambda xp, x: xp.tan(x), lambda dy, x, y: dy * (1 + y * y))
arcsin = _unary("arcsin", "The angle whose sine is x", lambda xp, x: xp.arcsin(x), lambda dy, x, y: dy / _xp(x).sqrt(1 - x * x))
arccos = _unary(
    "arccos", "The angle whose cosine is x", lambda xp, x: xp.arccos(x), lambda dy, x, y: -dy / _xp(x).sqrt(1 - x * x)
)
arctan = _unary("arctan", "The angle whose tangent is x", lambda xp, x: xp.arctan(x), lambda dy, x, y: dy / (1 + x * x))
sinh = _unary("sinh", "(e**x - e**-x) / 2", lambda xp, x: xp.sinh(x), lambda dy, x, y: dy * _xp(x).cosh(x))
cosh = _unary("cosh", "(e**x + e**-x) / 2", lambda xp, x: xp.cosh(x), lambda dy, x, y: dy * _xp(x).sinh(x))

sign = _unary("sign", "-1, 0 or 1, as x is negative, 0 or positive", lambda xp, x: xp.sign(x))
floor = _unary("floor", "The largest whole number that is not above x", lambda xp, x: xp.floor(x))
ceil = _unary("ceil", "The smallest whole number that is not below x", lambda xp, x: xp.ceil(x))
trunc = _unary("trunc", "x without its fraction", lambda xp, x: xp.trunc(x))
isnan = _unary("isnan", "Whether x is no number", lambda xp, x: xp.isnan(x))
isinf = _unary("isinf", "Whether x is infinite", lambda xp, x: xp.isinf(x))
isfinite = _unary("isfinite", "Whether x is a finite number", lambda xp, x: xp.isfinite(x))
logical_not = _unary("logical_not", "Whether x is 0 or false", lambda xp, x: xp.logical_not(x))


@op("x", differentiable=False)
def round(x: Any, decimals: int = 0) -> Any:
    """x to so many decimals; halves go to the even neighbour."""
    return namespace(x).round(x, decimals)


@op("x")
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x, but at least x_min and at most x_max."""
    return namespace(x).clip(x, x_min, x_max), (x, x_min, x_max)


@clip.gradient
def _(dy: Any, saved: Any) -> Any:
    # The bounds themselves belong to x, as in TensorFlow.
    x, x_min, x_max = saved
    return dy * ((x >= x_min) & (x <= x_max))


@op("x")
def cast(x: Any, dtype: Any) -> Any:
    """x in another dtype."""
    return x.astype(np.dtype(dtype)), x.dtype


@cast.gradient
def _(dy: Any, saved: Any) -> Any:
    return dy.astype(saved) if saved.kind == "f" and dy.dtype.kind == "f" else None


@op("variable", differentiable=False)
def stop_gradient(variable: Any) -> Any:
    """The same values, as a constant: no gradient goes back through it."""
    return variable


# --- of two tensors, which broadcast ----------------------------------------------------


def _binary(
    name: str, formula: str, forward: Callable[[Any, Any, Any], Any], *derivatives: Derivative, dtype: Any = None
) -> Op:
    """An op of two tensors: `forward(xp, x1, x2)`, and where there are derivatives one for each, of (dy, x1, x2, y)."""

    def function(x1: Any, x2: Any) -> Any:
        y = forward(namespace(x1, x2), x1, x2)
        return (y, (x1, x2, y)) if derivatives else y

    def backward(dy: Any, saved: Any) -> list[Any]:
        return [
            None if isinstance(x, (bool, int, float)) or x.dtype.kind != "f" else unbroadcast(derivative(dy, *saved), x)
            for x, derivative in zip(saved, derivatives)
        ]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{formula}, element by element."
    return Op(function, ("x1", "x2"), differentiable=bool(derivatives)).gradient(backward)


add = _binary("add", "x1 + x2", lambda xp, a, b: a + b, lambda dy, a, b, y: dy, lambda dy, a, b, y: dy)
subtract = _binary("subtract", "x1 - x2", lambda xp, a, b: a - b, lambda dy, a, b, y: dy, lambda dy, a, b, y: -dy)
multiply = _binary("multiply", "x1 * x2", lambda xp, a, b: a * b, lambda dy, a, b, y: dy * b, lambda dy, a, b, y: dy * a)
divide = true_divide = _binary(
    "divide", "x1 / x2", lambda xp, a, b: a / b, lambda dy, a, b, y: dy / b, lambda dy, a, b, y: -dy * y / b
)
divide_no_nan = _binary(
    "divide_no_nan",
    "x1 / x2, and 0 where x2 is 0",
    lambda xp, a, b: xp.where(b == 0, 0, a / xp.where(b == 0, 1, b)),
    lambda dy, a, b, y: _xp(dy).where(b == 0, 0, dy / _xp(dy).where(b == 0, 1, b)),
    lambda dy, a, b, y: _xp(dy).where(b == 0, 0, -dy * y / _xp(dy).where(b == 0, 1, b)),
)
power = _binary(
    "power",
    "x1**x2",
    lambda xp, a, b: xp.power(a, b),
    lambda dy, a, b, y: dy * b * _xp(dy).power(a, b - 1),
    lambda dy, a, b, y: dy * y * _xp(dy).log(_xp(dy).where(a > 0, a, 1)),
)
maximum = _binary(
    "maximum",
    "The larger of the two",
    lambda xp, a, b: xp.maximum(a, b),
    lambda dy, a, b, y: dy * (a >= b),
    lambda dy, a, b, y: dy * (a < b),
)
minimum = _binary(
    "minimum",
    "The smaller of the two",
    lambda xp, a, b: xp.minimum(a, b),
    lambda dy, a, b, y: dy * (a <= b),
    lambda dy, a, b, y: dy * (a > b),
)
arctan2 = _binary(
    "arctan2",
    "The angle of the point (x2, x1)",
    lambda xp, a, b: xp.arctan2(a, b),
    lambda dy, a, b, y: dy * b / (a * a + b * b),
    lambda dy, a, b, y: -dy * a / (a * a + b * b),
)
logaddexp = _binary(
    "logaddexp",
    "log(exp(x1) + exp(x2))",
    lambda xp, a, b: xp.logaddexp(a, b),
    lambda dy, a, b, y: dy * _xp(dy).exp(a - y),
    lambda dy, a, b, y: dy * _xp(dy).exp(b - y),
)
mod = _binary(
    "mod",
    "The rest of x1 / x2",
    lambda xp, a, b: a % b,
    lambda dy, a, b, y: dy,
    lambda dy, a, b, y: -dy * _xp(dy).floor(a / b),
)
floor_divide = _binary("floor_divide", "floor(x1 / x2)", lambda xp, a, b: a // b)
equal = _binary("equal", "x1 == x2", lambda xp, a, b: a == b)
not_equal = _binary("not_equal", "x1 != x2", lambda xp, a, b: a != b)
greater = _binary("greater", "x1 > x2", lambda xp, a, b: a > b)
greater_equal = _binary("greater_equal", "x1 >= x2", lambda xp, a, b: a >= b)
less = _binary("less", "x1 < x2", lambda xp, a, b: a < b)
less_equal = _binary("less_equal", "x1 <= x2", lambda xp, a, b: a <= b)
logical_and = _binary("logical_and", "Whether both are true", lambda xp, a, b: xp.logical_and(a, b))
logical_or = _binary("logical_or", "Whether one is true", lambda xp, a, b: xp.logical_or(a, b))
logical_xor = _binary("logical_xor", "Whether exactly one is true", lambda xp, a, b: xp.logical_xor(a, b))


@op("condition", "x1", "x2")
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2."""
    return namespace(condition).where(condition, x1, x2), (condition, x1, x2)


@where.gradient
def _(dy: Any, saved: Any) -> Any:
    condition, x1, x2 = saved
    kept = condition.astype(bool)
    return None, unbroadcast(dy * kept, x1), unbroadcast(dy * ~kept, x2)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """x as a tensor: a list, a number or an array; a symbolic tensor stays one."""
    if dtype is not None:
        return cast(x, dtype)
    return constant(x)


@op("x")
def constant(x: Any) -> Any:
    """x itself. In a graph, a value that every step reads."""
    return x, None


@constant.gradient
def _(dy: Any, saved: Any) -> Any:
    return dy


def convert_to_numpy(x: Any) -> np.ndarray:
    """x as a NumPy array: plain values, which nothing records."""
    return np.asarray(x)
