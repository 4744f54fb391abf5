"""Optimizer steps: a loop over the parameters around each rule."""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.spec import Array, Scalar

__all__ = [
    "accumulate_",
    "adam_update_",
    "clip_by_global_norm_",
    "clip_by_norm_",
    "clip_by_value_",
    "exponential_average_",
    "l1_l2_gradient_",
    "l1_l2_penalty",
    "momentum_update_",
    "nesterov_update_",
    "rmsprop_update_",
    "sgd_update_",
    "weight_decay_",
]


def sgd_update_(params: list[Array], grads: list[Array], learning_rate: Scalar) -> None:
    """As in the spec."""
    for p, g in zip(params, grads):
        p -= learning_rate * g


def momentum_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """As in the spec."""
    for p, g, m in zip(params, grads, momenta):
        m *= momentum
        m -= learning_rate * g
        p += m


def nesterov_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """As in the spec."""
    for p, g, m in zip(params, grads, momenta):
        m *= momentum
        m -= learning_rate * g
        p += momentum * m - learning_rate * g


def rmsprop_update_(
    params: list[Array],
    grads: list[Array],
    mean_squares: list[Array],
    mean_grads: list[Array] | None,
    momenta: list[Array] | None,
    learning_rate: Scalar,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """As in the spec."""
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
    means: list[Array],
    variances: list[Array],
    max_variances: list[Array] | None,
    learning_rate: Scalar,
    step: Scalar,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """As in the spec."""
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
    """As in the spec."""
    for p in params:
        p -= learning_rate * weight_decay * p


def exponential_average_(averages: list[Array], params: list[Array], momentum: float) -> None:
    """As in the spec."""
    for a, p in zip(averages, params):
        a *= momentum
        a += (1 - momentum) * p


def clip_by_value_(grads: list[Array], limit: float) -> None:
    """As in the spec."""
    for g in grads:
        g[...] = array_namespace(g).clip(g, -limit, limit)


def clip_by_norm_(grads: list[Array], limit: float) -> None:
    """Each gradient is a model of one parameter."""
    for g in grads:
        clip_by_global_norm_([g], limit)


def clip_by_global_norm_(grads: list[Array], limit: float) -> None:
    """As in the spec."""
    norm = sum((g**2).sum() for g in grads) ** 0.5
    for g in grads:
        g *= limit / array_namespace(g).maximum(norm, limit)


def l1_l2_penalty(param: Array, l1: float, l2: float) -> Scalar:
    """As in the spec."""
    return l1 * abs(param).sum() + l2 * (param**2).sum()


def l1_l2_gradient_(grad: Array, param: Array, l1: float, l2: float) -> None:
    """As in the spec."""
    grad += l1 * array_namespace(param).sign(param) + 2 * l2 * param


def accumulate_(target: Array, value: Array) -> None:
    """As in the spec."""
    target += value
