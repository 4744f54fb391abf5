"""Optimizer steps: a loop over the parameters around each rule.

One call updates every parameter of a model: `params`, `grads` and an optimizer's slots are lists of arrays, one
entry a parameter. `learning_rate` is the rate of this step; `step` counts from 1.
"""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace, unit_rows
from minicnn.backends.types import Array, Scalar


def sgd_update_(params: list[Array], grads: list[Array], learning_rate: Scalar) -> None:
    """p -= learning_rate * g."""
    for p, g in zip(params, grads):
        p -= learning_rate * g


def momentum_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """m = momentum * m - learning_rate * g;  p += m. Source: Polyak 1964."""
    for p, g, m in zip(params, grads, momenta):
        m *= momentum
        m -= learning_rate * g
        p += m


def nesterov_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """m = momentum * m - learning_rate * g;  p += momentum * m - learning_rate * g. Source: Sutskever et al. 2013."""
    for p, g, m in zip(params, grads, momenta):
        m *= momentum
        m -= learning_rate * g
        p += momentum * m - learning_rate * g


def rmsprop_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array] | None, list[Array] | None],
    learning_rate: Scalar,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """v = rho * v + (1 - rho) * g**2;  p -= learning_rate * g / sqrt(v + epsilon).

    Args:
        slots: the mean squares v; the mean gradients a or None; the momenta m or None.
            With a (centered): a = rho * a + (1 - rho) * g, and v - a**2 in place of v under the root.
            With m: m = momentum * m + (the step above);  p -= m.

    Source: Tieleman & Hinton 2012; Graves 2013, arXiv:1308.0850 (centered).
    """
    mean_squares, mean_grads, momenta = slots
    for i, (p, g, v) in enumerate(zip(params, grads, mean_squares)):
        v *= rho
        v += (1 - rho) * g**2
        denominator = v + epsilon
        if mean_grads is not None:
            a = mean_grads[i]
            a *= rho
            a += (1 - rho) * g
            denominator -= a**2
        change = learning_rate * g / array_namespace(p).sqrt(denominator)
        if momenta is not None:
            m = momenta[i]
            m *= momentum
            m += change
            change = m
        p -= change


def adam_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array], list[Array] | None],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """rate = learning_rate * sqrt(1 - beta_2**step) / (1 - beta_1**step)
    m += (1 - beta_1) * (g - m);  v += (1 - beta_2) * (g**2 - v);  p -= rate * m / (sqrt(v) + epsilon)

    Args:
        slots: the means m, the variances v; the largest variances u (AMSGrad) or None.
            With u: u = max(u, v), and u in place of v under the root.
        betas: beta_1 and beta_2.

    Source: Kingma & Ba 2014, arXiv:1412.6980 (the form before section 2.1); Reddi et al. 2018, arXiv:1904.09237.
    """
    (means, variances, max_variances), (beta_1, beta_2) = slots, betas
    rate = learning_rate * (1 - beta_2**step) ** 0.5 / (1 - beta_1**step)
    for i, (p, g, m, v) in enumerate(zip(params, grads, means, variances)):
        xp = array_namespace(p)
        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g**2 - v)
        u = v
        if max_variances is not None:
            u = max_variances[i]
            u[...] = xp.maximum(u, v)
        p -= rate * m / (xp.sqrt(u) + epsilon)


def weight_decay_(params: list[Array], learning_rate: Scalar, weight_decay: float) -> None:
    """p -= learning_rate * weight_decay * p (decoupled). Source: Loshchilov & Hutter 2017, arXiv:1711.05101."""
    for p in params:
        p -= learning_rate * weight_decay * p


def exponential_average_(averages: list[Array], params: list[Array], momentum: float) -> None:
    """a = momentum * a + (1 - momentum) * p (Polyak averaging, `use_ema`)."""
    for a, p in zip(averages, params):
        a *= momentum
        a += (1 - momentum) * p


def clip_by_value_(grads: list[Array], limit: float) -> None:
    """Each element into [-limit, limit]."""
    for g in grads:
        g[...] = array_namespace(g).clip(g, -limit, limit)


def clip_by_norm_(grads: list[Array], limit: float) -> None:
    """Each gradient whose Euclidean norm exceeds `limit` is scaled down to it."""
    # As if the model had this one parameter.
    for g in grads:
        clip_by_global_norm_([g], limit)


def clip_by_global_norm_(grads: list[Array], limit: float) -> None:
    """All gradients by one factor, limit / max(norm of all together, limit). Source: Pascanu et al. 2012, arXiv:1211.5063."""
    norm = sum((g**2).sum() for g in grads) ** 0.5
    for g in grads:
        g *= limit / array_namespace(g).maximum(norm, limit)


def l1_l2_penalty(param: Array, l1: float, l2: float) -> Scalar:
    """l1 * sum of |p| + l2 * sum of p**2."""
    return l1 * abs(param).sum() + l2 * (param**2).sum()


def l1_l2_gradient_(grad: Array, param: Array, l1: float, l2: float) -> None:
    """grad += l1 * sign(p) + 2 * l2 * p."""
    grad += l1 * array_namespace(param).sign(param) + 2 * l2 * param


def orthogonal_penalty(param: Array, factor: float, epsilon: float) -> Scalar:
    """factor * mean over all pairs of rows of |cosine of the angle between them|; 0 for a single row.

    A row's length below `epsilon` counts as `epsilon`.
    """
    cosines, pairs = _cosines(unit_rows(param, epsilon)[0])
    return factor * abs(cosines).sum() / 2 / pairs


def orthogonal_gradient_(grad: Array, param: Array, factor: float, epsilon: float) -> None:
    """grad += the derivative of `orthogonal_penalty`.

    u = factor / pairs * sign(cosines) @ directions;  grad[r] += (u - directions[r] * (directions[r] . u)) / length[r]
    """
    # A direction does not change along itself: the second term takes that part of u away.
    directions, lengths = unit_rows(param, epsilon)
    cosines, pairs = _cosines(directions)
    u = factor / pairs * (array_namespace(param).sign(cosines) @ directions)
    along = (directions * u).sum(axis=1, keepdims=True) * (lengths > epsilon)
    grad += (u - directions * along) / lengths


def _cosines(directions: Array) -> tuple[Array, float]:
    """The cosines between all rows of length 1, 0 on the diagonal; and how many pairs there are, at least 1."""
    rows = len(directions)
    cosines = directions @ directions.T * (1 - array_namespace(directions).eye(rows, dtype=directions.dtype))
    return cosines, max(rows * (rows - 1) / 2, 1)


def accumulate_(target: Array, value: Array) -> None:
    """target += value: gradients add up where a value fans out or a weight is shared."""
    target += value
