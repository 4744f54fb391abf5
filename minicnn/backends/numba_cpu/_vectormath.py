"""Functions of one float32 number, of which LLVM makes loops over vectors: the mathematics library's are called one by one.

Each is a polynomial around which the number's range is reduced, without a branch and without a call. The coefficients
minimise the largest relative error (Lawson's iteration in float64, with values of 40 digits); what they are worth is in
each docstring, in units of the last place (ulp) of the float32 next to the exact value, over all numbers whose result is
no subnormal (those are taken for zero, as kernels do), and `tests/ops/test_vectormath.py` measures it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from minicnn.backends.numba_cpu._compile import instruction, part, reassociated

F, I = np.float32, np.int32  # noqa: E741

ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)
LOG2_E = F(1.4426950408889634)
LN2_HIGH, LN2_LOW = F(0.693145751953125), F(1.42860682030941723e-6)  # the first has 15 bits: its multiples are exact
TO_INTEGER = F(1.5 * 2**23)  # a number to which this is added has no bits left behind the point
INTEGER_BITS = I(np.array(TO_INTEGER).view(np.int32))
EXPONENT_BIAS, FRACTION_BITS = I(127), I(23)


def formula(function: Any) -> Any:
    """Decorator of a function for kernels, whose multiplications and additions may become one instruction."""
    return part(function, fastmath={"contract"})


@instruction(types.int32(types.float32))
def bits(builder: Any, x: Any) -> Any:
    """The bits of a float32."""
    return builder.bitcast(x, ir.IntType(32))


@instruction(types.float32(types.int32))
def of_bits(builder: Any, i: Any) -> Any:
    """The float32 of these bits."""
    return builder.bitcast(i, ir.FloatType())


@formula
def power_of_2(k: Any) -> Any:
    """2**k for -126 <= k <= 127."""
    return of_bits(I(I(k + EXPONENT_BIAS) << FRACTION_BITS))


@formula
def reduced(x: Any) -> Any:
    """The integer k nearest to x / ln 2, and r = x - k ln 2, |r| <= ln(2)/2; for |x| < 150."""
    shifted = x * LOG2_E + TO_INTEGER
    rounded = shifted - TO_INTEGER
    return I(bits(shifted) - INTEGER_BITS), (x - rounded * LN2_HIGH) - rounded * LN2_LOW


@formula
def small_expm1(r: Any) -> Any:
    """exp(r) - 1 for |r| <= ln(2)/2: r + r^2 Q(r)."""
    Q = F(0.0013882518978789449)
    Q = Q * r + F(0.008366520516574383)
    Q = Q * r + F(0.04166720062494278)
    Q = Q * r + F(0.1666654348373413)
    Q = Q * r + HALF
    return r + (r * r) * Q


@formula
def clipped(x: Any, lowest: Any, highest: Any) -> Any:
    """A NaN stays one."""
    x = lowest if x < lowest else x
    return highest if x > highest else x


@formula
def exp(x: Any) -> Any:
    """e**x to 2 ulp; 0 below -87.3, infinity above 88.7."""
    k, r = reduced(clipped(x, F(-104), F(89)))
    below = I(k >> I(1))  # in two steps: 2**128 is no float32, nor is 2**-150
    return (ONE + small_expm1(r)) * power_of_2(below) * power_of_2(I(k - below))


@formula
def expm1(x: Any) -> Any:
    """e**x - 1 to 2 ulp, near 0 too."""
    k, r = reduced(clipped(x, F(-18), F(89)))
    half = power_of_2(I(k - I(1)))
    return TWO * (half * small_expm1(r) + (half - HALF))


@formula
def tanh(x: Any) -> Any:
    """tanh x = e / (e + 2), e = exp(2 |x|) - 1, with the sign of x; to 3 ulp."""
    size = abs(x)
    e = expm1(TWO * (F(10) if size > F(10) else size))
    t = e / (e + TWO)
    return -t if x < ZERO else t


@formula
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) where x >= 0, exp(x) / (1 + exp(x)) below: no exponent is positive; to 3 ulp."""
    e = exp(-abs(x))
    return (ONE if x >= ZERO else e) / (ONE + e)


@formula
def log1p_of_share(u: Any) -> Any:
    """log(1 + u) for 0 <= u <= 1, as 2 artanh(s), s = u / (2 + u); to 2 ulp."""
    s = u / (TWO + u)
    v = s * s
    P = F(0.24289561808109283)
    P = P * v + F(0.21430739760398865)
    P = P * v + F(0.2861659824848175)
    P = P * v + F(0.39998888969421387)
    P = P * v + F(0.6666667461395264)
    return TWO * s + s * (v * P)


@formula
def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); to 3 ulp."""
    return (ZERO if x < ZERO else x) + log1p_of_share(exp(-abs(x)))


@formula
def normal_cdf(x: Any) -> Any:
    """Phi(x) = erfc(-x / sqrt 2) / 2, and exp(-x^2 / 2), with which it is made.

    erfc(z) = exp(-z^2) t P(t) with t = 1 / (1 + 0.3 z), for z >= 0; below 0, Phi(x) = 1 - Phi(-x): exact for large
    negative x too, where 1 + erf would cancel. To 8 ulp, and x^2 / 2 more for x < 0, by which the exponent is rounded.
    """
    size = abs(x)
    size = F(20) if size > F(20) else size
    density = exp(-HALF * (x * x))
    t = ONE / (ONE + F(0.21213203435596426) * size)  # 0.3 / sqrt 2
    u = t - F(0.625)  # the middle of where t lies: small, so that the first terms round by little
    P = F(-0.12943412363529205)
    P = P * u + F(-0.16207395493984222)
    P = P * u + F(0.19538529217243195)
    P = P * u + F(0.8389961123466492)
    P = P * u + F(1.3809919357299805)
    P = P * u + F(1.5179328918457031)
    P = P * u + F(1.2504640817642212)
    P = P * u + F(0.8043146133422852)
    P = P * u + F(0.4086330831050873)
    tail = HALF * density * (t * P)
    return (tail if x < ZERO else ONE - tail), density


@reassociated
def row_sum(x: Any) -> Any:
    """The sum of a row."""
    total = ZERO
    for c in range(x.size):
        total += x[c]
    return total


@formula
def in_order(i: Any) -> Any:
    """The bits of a float32 as an integer that is larger where the number is; its own inverse. A NaN is above all numbers.

    (A NaN with a sign is below them. Arithmetic on x86 makes such: `exponentials` does not need to see it here.)
    """
    return I(i ^ ((i >> I(31)) & I(0x7FFFFFFF)))


@formula
def exponentials(x: Any, y: Any) -> Any:
    """y = exp(x - max x) of a row, whose largest is 1; returns max x and the sum of y. One NaN makes the sum one."""
    best = in_order(bits(x[0]))
    for c in range(1, x.size):
        best = max(best, in_order(bits(x[c])))  # of floats, LLVM would compare one by one, for a NaN's sake
    largest = of_bits(in_order(best))
    for c in range(x.size):
        y[c] = exp(x[c] - largest)
    return largest, row_sum(y)
