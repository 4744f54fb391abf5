"""Inverses, determinants and decompositions of matrices: `keras.ops.linalg`. The matrices are the last two axes.

LAPACK computes them, through NumPy; their gradients are written here: from dY, the gradient at the result, to dA. Most are
in M. Giles, "An extended collection of matrix derivative results for forward and reverse mode algorithmic differentiation"
(2008). Where a result is no function of the matrix (the sign of an eigenvector), a loss must not depend on it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn import config
from minicnn.ops import reductions
from minicnn.ops.base import namespace, op
from minicnn.ops.elementwise import absolute, add, divide, log, maximum, multiply, sqrt, square
from minicnn.ops.products import _t, matmul
from minicnn.ops.rearranging import diagonal
from minicnn.ops.reductions import Axis, _axes, sum, vector_norm
from minicnn.ops.shaping import expand_dims, eye, moveaxis, ndim, reshape, squeeze, swapaxes, zeros_like

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "det",
    "eigh",
    "inv",
    "logdet",
    "lstsq",
    "matrix_rank",
    "norm",
    "normalize",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
]


def _check_square(name: str, x: Any) -> None:
    """Raise ValueError unless the last two axes are of one size."""
    shape = tuple(x.shape)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"`{name}` takes square matrices (..., M, M). Received an array of shape {shape}")


def _split(packed: Any, *shapes: tuple[int, ...]) -> tuple[Any, ...]:
    """The tensors of these shapes that an op laid one behind another along the last axis; axes before it are the batch's."""
    batch = [-1 if size is None else size for size in packed.shape[:-1]]
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    return tuple(
        reshape(packed[..., end - math.prod(shape) : end], (*batch, *shape)) for end, shape in zip(ends, shapes, strict=True)
    )


def _joined(parts: tuple[Any, ...], axes: tuple[int, ...]) -> Any:
    """Arrays of one batch, one behind another along one axis; the last so many axes of each are no batch's."""
    flat = [part.reshape(*part.shape[: part.ndim - n], -1) for part, n in zip(parts, axes, strict=True)]
    return namespace(*parts).concatenate(flat, -1)


def _unjoined(dy: Any, parts: tuple[Any, ...], axes: tuple[int, ...]) -> list[Any]:
    """The gradients at the arrays that `_joined` made one of."""
    ends = np.cumsum([math.prod(part.shape[part.ndim - n :]) for part, n in zip(parts, axes, strict=True)]).tolist()
    return [dy[..., start:end].reshape(part.shape) for part, start, end in zip(parts, [0, *ends], ends)]


# --- inverses ---------------------------------------------------------------------------


@op("x")
def _inv(x: Any) -> Any:
    y = namespace(x).linalg.inv(x)
    return y, y


@_inv.trial
def _(x: Any) -> Any:
    return x


@_inv.gradient
def _(dy: Any, y: Any) -> Any:
    # d(X^-1) = -X^-1 dX X^-1, so dx = -Y' dY Y'
    return -_t(y) @ dy @ _t(y)


def inv(x: Any) -> Any:
    """The inverse of each matrix.

    Raises:
        ValueError: for matrices that are not square.
        numpy.linalg.LinAlgError: for one that has none.
    """
    _check_square("inv", x)
    return _inv(x)


@op("a", "b")
def _solve(a: Any, b: Any, triangle: str | None = None) -> Any:
    """Y of A Y = B; of A, only the triangle that is named."""
    xp = namespace(a)
    a = a if triangle is None else getattr(xp, triangle)(a)
    y = xp.linalg.solve(a, b)
    return y, (a, y, triangle)


@_solve.trial
def _(a: Any, b: Any, triangle: str | None = None) -> Any:
    return namespace(a).matmul(a, b)


@_solve.gradient
def _(dy: Any, saved: Any) -> Any:
    # db = A'^-1 dY;  da = -db Y', where it was read
    a, y, triangle = saved
    xp = namespace(a)
    db = xp.linalg.solve(_t(a), dy)
    da = -db @ _t(y)
    return da if triangle is None else getattr(xp, triangle)(da), db


def _solution(name: str, a: Any, b: Any, triangle: str | None) -> Any:
    _check_square(name, a)
    is_vector = ndim(b) == ndim(a) - 1 and ndim(b) > 0
    if b.shape[-1 if is_vector else -2] != a.shape[-1] or (not is_vector and ndim(b) != ndim(a)):
        raise ValueError(
            f"`{name}` takes a (..., M, M) and b (..., M) or (..., M, N). Received: a.shape={tuple(a.shape)}, "
            f"b.shape={tuple(b.shape)}"
        )
    return _solve(a, b[..., None], triangle)[..., 0] if is_vector else _solve(a, b, triangle)


def solve(a: Any, b: Any) -> Any:
    """The x of a @ x = b: a (..., M, M), b (..., M) or (..., M, N)."""
    return _solution("solve", a, b, None)


def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """`solve` for a triangle: what stands in the other half of `a` is not read."""
    return _solution("solve_triangular", a, b, "tril" if lower else "triu")


@op("x")
def pinv(x: Any, rcond: float | None = None) -> Any:
    """The pseudo-inverse (Moore, Penrose) of each matrix (..., M, N): (..., N, M).

    Args:
        rcond: singular values below this share of the largest count as zero; None for max(M, N) times the dtype's epsilon.
    """
    rcond = max(x.shape[-2:]) * float(np.finfo(x.dtype).eps) if rcond is None else rcond
    y = namespace(x).linalg.pinv(x, rcond)
    return y, (x, y)


@pinv.gradient
def _(dy: Any, saved: Any) -> Any:
    """G. Golub and V. Pereyra, "The differentiation of pseudo-inverses" (1973):

    dY = -Y dX Y + Y Y' dX' (I - X Y) + (I - Y X) dX' Y' Y
    """
    x, y = saved
    xp = namespace(x)
    M, N = x.shape[-2:]
    beside, below = xp.eye(M, dtype=x.dtype) - x @ y, xp.eye(N, dtype=x.dtype) - y @ x
    return -_t(y) @ dy @ _t(y) + beside @ _t(dy) @ y @ _t(y) + _t(y) @ y @ _t(dy) @ below


def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """The shortest x for which |a @ x - b| is least: a (M, N), b (M,) or (M, K). `rcond`: see `pinv`."""
    return matmul(pinv(a, rcond), b)


# --- determinants -----------------------------------------------------------------------


@op("x")
def _det(x: Any) -> Any:
    y = namespace(x).linalg.det(x)
    return y, (x, y)


@_det.gradient
def _(dy: Any, saved: Any) -> Any:
    # dx = dy * det(X) * X'^-1
    x, y = saved
    return (dy * y)[..., None, None] * _t(namespace(x).linalg.inv(x))


def det(x: Any) -> Any:
    """The determinant of each matrix. The gradient needs its inverse."""
    _check_square("det", x)
    return _det(x)


@op("x")
def _slogdet(x: Any) -> Any:
    xp = namespace(x)
    return xp.stack(xp.linalg.slogdet(x), -1), x


@_slogdet.gradient
def _(dy: Any, x: Any) -> Any:
    # dx = dy * X'^-1, of the logarithm; the sign is constant
    return dy[..., 1, None, None] * _t(namespace(x).linalg.inv(x))


def slogdet(x: Any) -> tuple[Any, Any]:
    """(the sign of the determinant, the logarithm of its size)."""
    _check_square("slogdet", x)
    y = _slogdet(x)
    return y[..., 0], y[..., 1]


def logdet(x: Any) -> Any:
    """The logarithm of the determinant of a symmetric positive definite matrix, by `cholesky`."""
    return multiply(2, sum(log(diagonal(cholesky(x), axis1=-2, axis2=-1)), -1))


@op("x", differentiable=False)
def matrix_rank(x: Any, tol: float | None = None) -> Any:
    """How many singular values are above `tol`; None for max(M, N) times the dtype's epsilon times the largest."""
    xp = namespace(x)
    s = xp.linalg.svd(x, compute_uv=False)
    least = s.max(-1, keepdims=True) * max(x.shape[-2:]) * np.finfo(x.dtype).eps if tol is None else tol
    return (s > least).sum(-1).astype("int32")


# --- decompositions ---------------------------------------------------------------------


@op("x")
def _cholesky(x: Any) -> Any:
    xp = namespace(x)
    y = xp.linalg.cholesky(x)
    return y, y


@_cholesky.trial
def _(x: Any) -> Any:
    return x


@_cholesky.gradient
def _(dy: Any, y: Any) -> Any:
    """I. Murray, "Differentiation of the Cholesky decomposition" (2016): with P the lower triangle, its diagonal halved,

    dx = (S + S') / 2,  S = L'^-1 P(L' dL) L^-1
    """
    xp = namespace(y)
    middle = xp.tril(_t(y) @ dy)
    middle = middle - xp.tril(xp.triu(middle)) / 2
    inverse = xp.linalg.inv(y)
    s = _t(inverse) @ middle @ inverse
    return (s + _t(s)) / 2


def cholesky(x: Any, upper: bool = False) -> Any:
    """The triangle L with L @ L' = x, of symmetric positive definite matrices (..., M, M); with `upper` it is L'.

    Raises:
        ValueError: for matrices that are not square.
        numpy.linalg.LinAlgError: for one that is not positive definite.
    """
    _check_square("cholesky", x)
    y = _cholesky(x)
    return swapaxes(y, -1, -2) if upper else y


def cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """The inverse of a matrix, from its Cholesky factor: inv(x @ x'), or inv(x' @ x) with `upper`."""
    identity = add(zeros_like(x), eye(x.shape[-1], dtype=x.dtype))  # one for each matrix of a batch, whose size is unknown
    inverse = solve_triangular(x, identity, lower=not upper)
    turned = swapaxes(inverse, -1, -2)
    return matmul(inverse, turned) if upper else matmul(turned, inverse)


@op("x")
def _qr(x: Any, mode: str) -> Any:
    q, r = namespace(x).linalg.qr(x, mode)
    return _joined((q, r), (2, 2)), (x, q, r)


@_qr.gradient
def _(dy: Any, saved: Any) -> Any:
    x, q, r = saved
    dq, dr = _unjoined(dy, (q, r), (2, 2))
    M, N = x.shape[-2:]
    if q.shape[-1] > N:
        raise NotImplementedError(f'`qr` has a gradient with mode="reduced" only, for more rows than columns: {M} x {N}')
    if M >= N:
        return _dx_of_qr(q, r, dq, dr)
    # X = [A B] = Q [U V]: of A it is the decomposition, and V = Q' B
    b, dv = x[..., M:], dr[..., M:]
    return namespace(x).concatenate([_dx_of_qr(q, r[..., :M], dq + b @ _t(dv), dr[..., :M]), q @ dv], -1)


def _dx_of_qr(q: Any, r: Any, dq: Any, dr: Any) -> Any:
    """S. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2018), for M >= N:

    dx = (dQ + Q S) R'^-1,  S = the symmetric matrix with the lower triangle of  R dR' - dQ' Q
    """
    xp = namespace(q)
    lower = xp.tril(r @ _t(dr) - _t(dq) @ q)
    symmetric = lower + _t(xp.tril(lower, -1))
    return _t(xp.linalg.solve(r, _t(dq + q @ symmetric)))


def qr(x: Any, mode: str = "reduced") -> tuple[Any, Any]:
    """q of orthogonal columns and a triangle r, with q @ r = x.

    Args:
        x: (..., M, N).
        mode: "reduced", q (..., M, K) and r (..., K, N) with K = min(M, N); or "complete", with K = M.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(
            f"`mode` argument value not supported. Expected one of {{'reduced', 'complete'}}. Received: mode={mode}"
        )
    if ndim(x) < 2:
        raise ValueError(f"Input should have rank >= 2. Received: x.shape={tuple(x.shape)}")
    M, N = x.shape[-2:]
    K = M if mode == "complete" else min(M, N)
    q, r = _split(_qr(x, mode), (M, K), (K, N))
    return q, r


@op("x")
def _eigh(x: Any) -> Any:
    w, v = namespace(x).linalg.eigh(x)
    return _joined((w, v), (1, 2)), (w, v)


@_eigh.gradient
def _(dy: Any, saved: Any) -> Any:
    """With F[i,j] = 1 / (w[j] - w[i]), 0 on the diagonal: S = V (diag(dw) + F * (V' dV)) V', of which LAPACK read the lower
    triangle: S + S' there, S on the diagonal."""
    w, v = saved
    xp = namespace(w)
    dw, dv = _unjoined(dy, (w, v), (1, 2))
    eye = xp.eye(w.shape[-1], dtype=w.dtype)
    f = (1 - eye) / (w[..., None, :] - w[..., :, None] + eye)
    s = v @ (eye * dw[..., None, :] + f * (_t(v) @ dv)) @ _t(v)
    return xp.tril(s + _t(s)) - eye * s


def eigh(x: Any) -> tuple[Any, Any]:
    """Eigenvalues w (..., M), ascending, and eigenvectors v (..., M, M), columns, of symmetric matrices: x @ v = v * w.

    The lower triangle is read. The gradient at v is infinite where two eigenvalues are equal.
    """
    _check_square("eigh", x)
    M = x.shape[-1]
    w, v = _split(_eigh(x), (M,), (M, M))
    return w, v


@op("x")
def _svd(x: Any, full_matrices: bool) -> Any:
    u, s, vt = namespace(x).linalg.svd(x, full_matrices)
    return _joined((u, s, vt), (2, 1, 2)), (u, s, vt)


@_svd.gradient
def _(dy: Any, saved: Any) -> Any:
    """J. Townsend, "Differentiating the singular value decomposition" (2016). With F[i,j] = 1 / (s[j]^2 - s[i]^2),

    dx = U ((F * (U' dU - dU' U)) S + S (F * (V' dV - dV' V)) + diag(ds)) V'
         + (I - U U') dU S^-1 V' + U S^-1 dV' (I - V V')
    """
    u, s, vt = saved
    xp = namespace(s)
    du, ds, dvt = _unjoined(dy, (u, s, vt), (2, 1, 2))
    K = s.shape[-1]
    if xp.any(du[..., K:]) or xp.any(dvt[..., K:, :]):
        raise NotImplementedError("`svd` has no gradient at the vectors that only full_matrices=True adds")
    u, du, v, dv = u[..., :K], du[..., :K], _t(vt[..., :K, :]), _t(dvt[..., :K, :])
    eye, inverse = xp.eye(K, dtype=s.dtype), 1 / s[..., None, :]
    squares = s[..., None, :] ** 2 - s[..., :, None] ** 2
    f = (1 - eye) / (squares + eye)
    of_u, of_v = _t(u) @ du, _t(v) @ dv
    middle = f * (of_u - _t(of_u)) * s[..., None, :] + s[..., :, None] * f * (of_v - _t(of_v)) + eye * ds[..., None, :]
    outside = (du - u @ of_u) * inverse @ _t(v) + u * inverse @ _t(dv - v @ of_v)
    return u @ middle @ _t(v) + outside


@op("x")
def _singular_values(x: Any) -> Any:
    u, s, vt = namespace(x).linalg.svd(x, False)
    return s, (u, vt)


@_singular_values.gradient
def _(dy: Any, saved: Any) -> Any:
    # dx = U diag(ds) V'
    u, vt = saved
    return u * dy[..., None, :] @ vt


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values and vectors: u @ diag(s) @ vt = x.

    Args:
        x: (..., M, N); K = min(M, N).
        full_matrices: u is (..., M, M) and vt (..., N, N); else (..., M, K) and (..., K, N).
        compute_uv: whether (u, s, vt) is returned, or s (..., K) alone, descending.

    The gradients at u and vt are infinite where two singular values are equal, or one is zero.
    """
    if not compute_uv:
        return _singular_values(x)
    M, N = x.shape[-2:]
    K = min(M, N)
    return _split(_svd(x, full_matrices), (M, M if full_matrices else K), (K,), (N if full_matrices else K, N))


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """The length of the vectors along an axis, or the norm of the matrices along two (all axes, for None).

    Args:
        ord: of vectors see `reductions.vector_norm`. Of matrices None or "fro" (the root of the sum of squares); 1 or
            infinity, the largest sum of sizes of a column, or of a row; 2, the largest singular value; -1, minus infinity
            and -2, the smallest of these; or "nuc", the sum of the singular values.

    Raises:
        ValueError: for another `ord`, and for more than two axes with any.
    """
    axes = _axes(axis, ndim(x))
    if len(axes) == 1 or ord in (None, "euclidean") or (len(axes) == 2 and ord == "fro"):
        return vector_norm(x, None if ord == "fro" and len(axes) == 2 else ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError(f"Invalid axis values: a norm has one or two axes with `ord`. Received: axis={axis}, ord={ord!r}")
    if ord in ("nuc", 2, -2):
        values = _singular_values(moveaxis(x, axes, (-2, -1)))
        y = {"nuc": sum, 2: reductions.max, -2: reductions.min}[ord](values, -1)
        return expand_dims(y, tuple(sorted(axes))) if keepdims else y
    if ord not in (1, -1, "inf", np.inf, -np.inf):
        raise ValueError(
            "Invalid `ord` argument for matrix norm. Expected None, 'fro', 'nuc', 1, 2 or inf, or minus one of these numbers. "
            f"Received: ord={ord!r}"
        )
    rows, columns = axes if ord in (1, -1) else axes[::-1]
    largest = reductions.max if ord in (1, "inf", np.inf) else reductions.min
    y = largest(sum(absolute(x), rows, True), columns, True)
    return y if keepdims else squeeze(y, axes)


def normalize(x: Any, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """x divided by its `norm` of an order along an axis, at least `epsilon`.

    Raises:
        ValueError: for an order that is no whole number from 1 on.
    """
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"Argument `order` must be an int >= 1. Received: order={order}")
    least = config.epsilon() if epsilon is None else epsilon
    if order == 2:
        return divide(x, sqrt(maximum(sum(square(x), axis, True), least**2)))
    return divide(x, maximum(norm(x, order, axis, True), least))
