"""Products and sums of products: of matrices, vectors, polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.ops.base import namespace, op, unbroadcast
from minicnn.ops.elementwise import greater, multiply, power, sqrt, square, subtract, where
from minicnn.ops.rearranging import diff
from minicnn.ops.reductions import sum
from minicnn.ops.shaping import expand_dims, full_like, moveaxis, ndim, ravel, reshape, stack, unstack


def _t(x: Any) -> Any:
    return x.swapaxes(-1, -2)


@op("x1", "x2")
def matmul(x1: Any, x2: Any) -> Any:
    """The matrix product over the last two axes; the others broadcast. A tensor of one axis counts as a row, or a column.

    y[i,j] = sum over k of x1[i,k] * x2[k,j]
    """
    return namespace(x1, x2).matmul(x1, x2), (x1, x2)


@matmul.gradient
def _(dy: Any, saved: Any) -> Any:
    # dx1 = dy @ x2.T;  dx2 = x1.T @ dy
    x1, x2 = saved
    a = x1[None] if x1.ndim == 1 else x1
    b = x2[:, None] if x2.ndim == 1 else x2
    if x2.ndim == 1:
        dy = dy[..., None]
    if x1.ndim == 1:
        dy = dy[..., None, :]
    return unbroadcast(dy @ _t(b), a).reshape(x1.shape), unbroadcast(_t(a) @ dy, b).reshape(x2.shape)


def _letters(subscripts: str, operands: list[Any]) -> tuple[list[str], str]:
    """The letters of each operand and of the result."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow:
        result = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    return inputs, result


@op("*operands")
def _einsum(operands: Any, subscripts: str) -> Any:
    """The sum of products that letters name: see `einsum`."""
    return namespace(*operands).einsum(subscripts, *operands, optimize=True), (operands, subscripts)


@_einsum.gradient
def _(dy: Any, saved: Any) -> Any:
    """The gradient at an operand is an einsum, too: of dy and the other operands, to the operand's letters."""
    operands, subscripts = saved
    inputs, result = _letters(subscripts, operands)
    xp = namespace(dy)
    gradients = []
    for i, (own, x) in enumerate(zip(inputs, operands)):
        others = [(letters, y) for j, (letters, y) in enumerate(zip(inputs, operands)) if j != i]
        known = set(result).union(*(letters for letters, _ in others))
        # A letter that nothing else has was summed: its gradient is the same along that axis.
        kept = "".join(letter for letter in own if letter in known)
        names = ",".join([result, *(letters for letters, _ in others)])
        part = xp.einsum(f"{names}->{kept}", dy, *(y for _, y in others), optimize=True)
        part = part.reshape([x.shape[k] if letter in known else 1 for k, letter in enumerate(own)])
        gradients.append(xp.ascontiguousarray(xp.broadcast_to(part, x.shape)))
    return gradients


def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """The sum of products that letters name: "ij,jk->ik" is a matrix product.

    Raises:
        ValueError: for `...`, or a letter that one operand has twice.
    """
    inputs, _ = _letters(subscripts, list(operands))
    if "..." in subscripts or any(len(set(one)) < len(one) for one in inputs):
        raise ValueError(f"einsum takes each letter once an operand, and no `...`. Received: subscripts={subscripts!r}")
    return _einsum(list(operands), subscripts)


def dot(x1: Any, x2: Any) -> Any:
    """The product over the last axis of x1 and the last but one of x2 (or its only one)."""
    return tensordot(x1, x2, ([-1], [-2 if ndim(x2) > 1 else -1])) if ndim(x1) and ndim(x2) else x1 * x2


def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """The sum of products over these axes of the one and the other."""
    n1, n2 = ndim(x1), ndim(x2)
    if isinstance(axes, int):
        axes = (list(range(n1 - axes, n1)), list(range(axes)))
    first, second = ([one] if isinstance(one, int) else list(one) for one in axes)
    letters = "abcdefghijklmnopqrstuvwxyz"
    own, other = list(letters[:n1]), list(letters[n1 : n1 + n2])
    for i, j in zip(first, second):
        other[j] = own[i]
    summed = {own[i] for i in first}
    result = [letter for letter in (*own, *other) if letter not in summed]
    return einsum(f"{''.join(own)},{''.join(other)}->{''.join(result)}", x1, x2)


def inner(x1: Any, x2: Any) -> Any:
    """The sum of products over the last axis of both."""
    return tensordot(x1, x2, ([-1], [-1])) if ndim(x1) and ndim(x2) else multiply(x1, x2)


def vdot(x1: Any, x2: Any) -> Any:
    """The sum of products of all elements."""
    return tensordot(ravel(x1), ravel(x2), 1)


def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The vector that is perpendicular to both; of vectors of two numbers each, its third one.

    Args:
        axisa, axisb, axisc: along which the vectors of x1, x2 and the result lie; `axis`: all three.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = (unstack(x, axis=along) for x, along in ((x1, axisa), (x2, axisb)))
    z = subtract(multiply(a[0], b[1]), multiply(a[1], b[0]))
    if len(a) == len(b) == 2:
        return z
    zero = full_like(z, 0)
    a, b = ([*vector, zero] if len(vector) == 2 else vector for vector in (a, b))
    x, y = (subtract(multiply(a[i], b[j]), multiply(a[j], b[i])) for i, j in ((1, 2), (2, 0)))
    return stack([x, y, z], axisc)


def cdist(x: Any, y: Any) -> Any:
    """z[i,j] = the Euclidean distance of x[i] and y[j]; further axes broadcast. Where it is 0, so is its gradient."""
    squares = sum(square(subtract(expand_dims(x, -2), expand_dims(y, -3))), -1)
    apart = greater(squares, 0)
    return where(apart, sqrt(where(apart, squares, 1.0)), 0.0)


def outer(x1: Any, x2: Any) -> Any:
    """y[i,j] = x1[i] * x2[j], of all elements."""
    return reshape(x1, (-1, 1)) * reshape(x2, (1, -1))


def kron(x1: Any, x2: Any) -> Any:
    """Kronecker's product: a block x1[i,j] * x2 for each element of x1, of any rank; the lower rank gets axes in front."""
    rank = max(ndim(x1), ndim(x2))
    a, b = ((1,) * (rank - ndim(x)) + tuple(x.shape) for x in (x1, x2))
    beside = reshape(x1, [size for one in a for size in (one, 1)]) * reshape(x2, [size for one in b for size in (1, one)])
    return reshape(beside, [m * n for m, n in zip(a, b)])


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of each number of a vector, a row for each: from x**(N - 1) to 1, or the other way round; N as x is long."""
    powers = np.arange(x.shape[0] if N is None else N, dtype=x.dtype)
    return power(expand_dims(x, -1), powers if increasing else powers[::-1])


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral along an axis of lines from point to point: y at the places x, or at distances of dx."""
    y = moveaxis(y, axis, -1)
    steps = dx if x is None else diff(x) if ndim(x) == 1 else moveaxis(diff(x, axis=axis), axis, -1)
    return sum(multiply((y[..., 1:] + y[..., :-1]) / 2, steps), -1)
