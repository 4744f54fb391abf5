"""Arithmetic, element by element: each function, and its derivative in the line below it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.backends import ops as kernels
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

arcsinh = _unary("arcsinh", "The x of sinh", lambda xp, x: xp.arcsinh(x), lambda dy, x, y: dy / _xp(x).sqrt(1 + x * x))
arccosh = _unary(
    "arccosh", "The x of cosh, not below 0", lambda xp, x: xp.arccosh(x), lambda dy, x, y: dy / _xp(x).sqrt(x * x - 1)
)
arctanh = _unary("arctanh", "The x of tanh", lambda xp, x: xp.arctanh(x), lambda dy, x, y: dy / (1 - x * x))
cbrt = _unary("cbrt", "The cube root of x", lambda xp, x: xp.cbrt(x), lambda dy, x, y: dy / (3 * y * y))
deg2rad = _unary("deg2rad", "pi / 180 x", lambda xp, x: x * (math.pi / 180), lambda dy, x, y: dy * (math.pi / 180))
rad2deg = _unary("rad2deg", "180 / pi x", lambda xp, x: x * (180 / math.pi), lambda dy, x, y: dy * (180 / math.pi))
sinc = _unary(
    "sinc",
    "sin(pi x) / (pi x), and 1 where x is 0",
    lambda xp, x: xp.sinc(x),
    lambda dy, x, y: dy * _xp(x).where(x == 0, 0, (_xp(x).cos(math.pi * x) - y) / _xp(x).where(x == 0, 1, x)),
)
erf = _unary(
    "erf",
    "2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x",
    lambda xp, x: kernels.erf(x),
    lambda dy, x, y: dy * (2 / math.sqrt(math.pi)) * _xp(x).exp(-x * x),
)
erfc = _unary(
    "erfc", "1 - erf(x)", lambda xp, x: kernels.erfc(x), lambda dy, x, y: dy * (-2 / math.sqrt(math.pi)) * _xp(x).exp(-x * x)
)
fabs = _unary("fabs", "|x|, as a number of floats", lambda xp, x: xp.fabs(x), lambda dy, x, y: dy * _xp(x).sign(x))
copy = _unary("copy", "x itself, in memory of its own", lambda xp, x: x.copy(), lambda dy, x, y: dy)

signbit = _unary("signbit", "Whether x has a minus, as -0.0 has", lambda xp, x: xp.signbit(x))
isposinf = _unary("isposinf", "Whether x is infinity", lambda xp, x: xp.isposinf(x))
isneginf = _unary("isneginf", "Whether x is minus infinity", lambda xp, x: xp.isneginf(x))
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


@op("x", differentiable=False)
def view(x: Any, dtype: Any = None) -> Any:
    """The bytes of x as numbers of another dtype."""
    return x if dtype is None else x.view(np.dtype(dtype))


def saturate_cast(x: Any, dtype: Any) -> Any:
    """x in another dtype; what is beyond its range becomes its smallest, or largest, number."""
    x, wanted = convert_to_tensor(x), np.dtype(dtype)
    if wanted == np.bool_:
        return greater(x, 0)  # from 0 to 1, and then what is not 0
    own = np.dtype(x.dtype)
    bounds: Any = np.finfo(wanted) if wanted.kind == "f" else np.iinfo(wanted)
    low, high = (np.array(bound).astype(own) if own.kind == "f" else bound for bound in (bounds.min, bounds.max))
    if wanted.kind != "f" and own.kind == "f" and int(high) > bounds.max:  # rounded up: the largest float below it
        high = np.nextafter(high, np.array(0, own))
    if own.kind != "f":
        limits = (False, True) if own == np.bool_ else (np.iinfo(own).min, np.iinfo(own).max)
        low, high = max(low, limits[0]), min(high, limits[1])
    return cast(clip(x, low, high), wanted)


@op("x")
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """x with numbers for what is none: `nan`, and for the infinities the largest and the smallest number, or these."""
    return namespace(x).nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf), x


@nan_to_num.gradient
def _(dy: Any, saved: Any) -> Any:
    return dy * namespace(saved).isfinite(saved)


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
            None if isinstance(x, (bool, int, float)) or x.dtype.kind not in "fc" else unbroadcast(derivative(dy, *saved), x)
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
fmod = _binary(
    "fmod",
    "The rest of x1 / x2, with the sign of x1",
    lambda xp, a, b: xp.fmod(a, b),
    lambda dy, a, b, y: dy,
    lambda dy, a, b, y: -dy * _xp(dy).trunc(a / b),
)
fmax = _binary(
    "fmax",
    "The larger of the two, the other one where one is no number",
    lambda xp, a, b: xp.fmax(a, b),
    lambda dy, a, b, y: dy * ((a >= b) | (b != b)),
    lambda dy, a, b, y: dy * ((a < b) | (a != a)),
)
fmin = _binary(
    "fmin",
    "The smaller of the two, the other one where one is no number",
    lambda xp, a, b: xp.fmin(a, b),
    lambda dy, a, b, y: dy * ((a <= b) | (b != b)),
    lambda dy, a, b, y: dy * ((a > b) | (a != a)),
)
hypot = _binary(
    "hypot",
    "sqrt(x1**2 + x2**2)",
    lambda xp, a, b: xp.hypot(a, b),
    lambda dy, a, b, y: dy * a / y,
    lambda dy, a, b, y: dy * b / y,
)
logaddexp2 = _binary(
    "logaddexp2",
    "log2(2**x1 + 2**x2)",
    lambda xp, a, b: xp.logaddexp2(a, b),
    lambda dy, a, b, y: dy * _xp(dy).exp2(a - y),
    lambda dy, a, b, y: dy * _xp(dy).exp2(b - y),
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
heaviside = _binary(
    "heaviside",
    "0 where x1 < 0, 1 where x1 > 0, x2 where x1 is 0",
    lambda xp, a, b: xp.heaviside(a, b),
    lambda dy, a, b, y: 0 * dy,
    lambda dy, a, b, y: dy * (a == 0),
)
nextafter = _binary(
    "nextafter",
    "The number next to x1, on the way to x2",
    lambda xp, a, b: xp.nextafter(a, b),
    lambda dy, a, b, y: dy,
    lambda dy, a, b, y: 0 * dy,
)


@op("x1", "x2")
def ldexp(x1: Any, x2: Any) -> Any:
    """x1 * 2**x2, element by element, of whole x2."""
    return namespace(x1, x2).ldexp(x1, x2), (x1, x2)


@ldexp.gradient
def _(dy: Any, saved: Any) -> Any:
    x1, x2 = saved
    return unbroadcast(namespace(dy).ldexp(dy, x2), x1), None


# --- of whole numbers -------------------------------------------------------------------

gcd = _binary("gcd", "The greatest common divisor", lambda xp, a, b: xp.gcd(a, b))
lcm = _binary("lcm", "The least common multiple", lambda xp, a, b: xp.lcm(a, b))


@op("x", "y", differentiable=False)
def bitwise_and(x: Any, y: Any) -> Any:
    """The bits that both have."""
    return x & y


@op("x", "y", differentiable=False)
def bitwise_or(x: Any, y: Any) -> Any:
    """The bits that one of them has."""
    return x | y


@op("x", "y", differentiable=False)
def bitwise_xor(x: Any, y: Any) -> Any:
    """The bits that exactly one of them has."""
    return x ^ y


@op("x", "y", differentiable=False)
def left_shift(x: Any, y: Any) -> Any:
    """x, its bits moved up by y places."""
    return x << y


@op("x", "y", differentiable=False)
def right_shift(x: Any, y: Any) -> Any:
    """x, its bits moved down by y places."""
    return x >> y


bitwise_left_shift, bitwise_right_shift = left_shift, right_shift
bitwise_invert = bitwise_not = _unary("bitwise_invert", "The bits that x has not", lambda xp, x: ~x)


# --- comparisons, choices, and what is no number ----------------------------------------


@op("x1", "x2", differentiable=False)
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |x1 - x2| <= atol + rtol * |x2|, element by element."""
    return namespace(x1, x2).isclose(x1, x2, rtol, atol, equal_nan)


@op("x1", "x2", differentiable=False)
def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close: see `isclose`."""
    return namespace(x1, x2).isclose(x1, x2, rtol, atol, equal_nan).all()


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


@op("x")
def copied(x: Any) -> Any:
    """x in memory of its own, which no assignment to a variable changes."""
    return x.copy(), None


@copied.gradient
def _(dy: Any, saved: Any) -> Any:
    return dy


def array(x: Any, dtype: Any = None) -> Any:
    """x as a tensor: see `convert_to_tensor`."""
    return convert_to_tensor(x, dtype)


def dtype(x: Any) -> str:
    """The name of the dtype of x, "float32" for example."""
    found = getattr(x, "dtype", None)
    return str(found if found is not None else convert_to_tensor(x).dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """x as a NumPy array: plain values, which nothing records."""
    return np.asarray(x)
