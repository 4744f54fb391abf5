"""Optimizer steps: one loop over each parameter's elements, each read and written once.

New values are kept in locals: an array written and read back keeps LLVM from vectorising.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backends.memory import empty
from minicnn.backends.numba_cpu._compile import compiled, part
from minicnn.backends.numba_cpu._parallel import parallel_for, tasks
from minicnn.backends.numba_cpu.elementwise import RUN, F, run
from minicnn.backends.reference import update as reference
from minicnn.backends.types import Array, Scalar

ZERO, ONE, TWO = F(0), F(1), F(2)


def _each(kernel: Any, work: int, lists: list[list[Array]], *scalars: float) -> None:
    """kernel(task, worker, *arrays, *scalars) over runs of the flat arrays of each parameter."""
    numbers = [F(scalar) for scalar in scalars]
    for arrays in zip(*lists, strict=True):
        size = arrays[0].size
        kernel(-(-size // RUN), size * work, *[array.reshape(-1) for array in arrays], *numbers)


def _is_float64(params: list[Array]) -> bool:
    return bool(params) and params[0].dtype != F


def sgd_update_(params: list[Array], grads: list[Array], learning_rate: Scalar) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.sgd_update_(params, grads, learning_rate)
    _each(_sgd, 2, [params, grads], float(learning_rate))


@tasks
def _sgd(task: int, worker: int, p: Any, g: Any, learning_rate: Any) -> None:
    for i in range(*run(task, p.size)):
        p[i] -= learning_rate * g[i]


def momentum_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.momentum_update_(params, grads, momenta, learning_rate, momentum)
    _each(_momentum, 4, [params, grads, momenta], float(learning_rate), momentum)


@tasks
def _momentum(task: int, worker: int, p: Any, g: Any, m: Any, learning_rate: Any, momentum: Any) -> None:
    for i in range(*run(task, p.size)):
        new_m = momentum * m[i] - learning_rate * g[i]
        m[i] = new_m
        p[i] += new_m


def nesterov_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, momentum: float
) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.nesterov_update_(params, grads, momenta, learning_rate, momentum)
    _each(_nesterov, 4, [params, grads, momenta], float(learning_rate), momentum)


@tasks
def _nesterov(task: int, worker: int, p: Any, g: Any, m: Any, learning_rate: Any, momentum: Any) -> None:
    for i in range(*run(task, p.size)):
        step = learning_rate * g[i]
        new_m = momentum * m[i] - step
        m[i] = new_m
        p[i] += momentum * new_m - step


def rmsprop_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array] | None, list[Array] | None],
    learning_rate: Scalar,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """A slot that is None is given the gradients in its place, and left alone."""
    if _is_float64(params):
        return reference.rmsprop_update_(params, grads, slots, learning_rate, rho, momentum, epsilon)
    mean_squares, mean_grads, momenta = slots
    lists = [params, grads, mean_squares, mean_grads or grads, momenta or grads]
    _each(_rmsprop, 8, lists, float(learning_rate), rho, momentum, epsilon, mean_grads is not None, momenta is not None)


@tasks
def _rmsprop(task: int, worker: int, p: Any, g: Any, v: Any, *rest: Any) -> None:
    a, m, learning_rate, rho, momentum, epsilon, centered, with_momentum = rest
    for i in range(*run(task, p.size)):
        v[i] = rho * v[i] + (ONE - rho) * g[i] * g[i]
        denominator = v[i] + epsilon
        if centered != ZERO:
            a[i] = rho * a[i] + (ONE - rho) * g[i]
            denominator -= a[i] * a[i]
        change = learning_rate * g[i] / np.sqrt(denominator)
        if with_momentum != ZERO:
            m[i] = momentum * m[i] + change
            change = m[i]
        p[i] -= change


def adam_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array], list[Array] | None],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Adam and AMSGrad have a loop each."""
    if _is_float64(params):
        return reference.adam_update_(params, grads, slots, learning_rate, step, betas, epsilon)
    (means, variances, max_variances), (beta_1, beta_2) = slots, betas
    rate = float(learning_rate) * (1 - beta_2 ** int(step)) ** 0.5 / (1 - beta_1 ** int(step))
    lists = [params, grads, means, variances]
    if max_variances is None:
        _each(_adam, 10, lists, rate, 1 - beta_1, 1 - beta_2, epsilon)
    else:
        _each(_amsgrad, 10, [*lists, max_variances], rate, 1 - beta_1, 1 - beta_2, epsilon)


@tasks
def _adam(task: int, worker: int, p: Any, g: Any, m: Any, v: Any, *numbers: Any) -> None:
    rate, one_minus_beta_1, one_minus_beta_2, epsilon = numbers
    for i in range(*run(task, p.size)):
        new_m = m[i] + one_minus_beta_1 * (g[i] - m[i])
        new_v = v[i] + one_minus_beta_2 * (g[i] * g[i] - v[i])
        m[i], v[i] = new_m, new_v
        p[i] -= rate * new_m / (np.sqrt(new_v) + epsilon)


@tasks
def _amsgrad(task: int, worker: int, p: Any, g: Any, m: Any, v: Any, u: Any, *numbers: Any) -> None:
    rate, one_minus_beta_1, one_minus_beta_2, epsilon = numbers
    for i in range(*run(task, p.size)):
        new_m = m[i] + one_minus_beta_1 * (g[i] - m[i])
        new_v = v[i] + one_minus_beta_2 * (g[i] * g[i] - v[i])
        new_u = new_v if new_v > u[i] else u[i]
        m[i], v[i], u[i] = new_m, new_v, new_u
        p[i] -= rate * new_m / (np.sqrt(new_u) + epsilon)


def adagrad_update_(
    params: list[Array], grads: list[Array], accumulators: list[Array], learning_rate: Scalar, epsilon: float
) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.adagrad_update_(params, grads, accumulators, learning_rate, epsilon)
    _each(_adagrad, 6, [params, grads, accumulators], float(learning_rate), epsilon)


@tasks
def _adagrad(task: int, worker: int, p: Any, g: Any, a: Any, learning_rate: Any, epsilon: Any) -> None:
    for i in range(*run(task, p.size)):
        new_a = a[i] + g[i] * g[i]
        a[i] = new_a
        p[i] -= learning_rate * g[i] / np.sqrt(new_a + epsilon)


def adadelta_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    rho: float,
    epsilon: float,
) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.adadelta_update_(params, grads, slots, learning_rate, rho, epsilon)
    _each(_adadelta, 10, [params, grads, *slots], float(learning_rate), rho, epsilon)


@tasks
def _adadelta(task: int, worker: int, p: Any, g: Any, v: Any, d: Any, *numbers: Any) -> None:
    learning_rate, rho, epsilon = numbers
    for i in range(*run(task, p.size)):
        new_v = rho * v[i] + (ONE - rho) * g[i] * g[i]
        change = g[i] * np.sqrt(d[i] + epsilon) / np.sqrt(new_v + epsilon)
        v[i] = new_v
        d[i] = rho * d[i] + (ONE - rho) * change * change
        p[i] -= learning_rate * change


def adamax_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.adamax_update_(params, grads, slots, learning_rate, step, betas, epsilon)
    rate = float(learning_rate) / (1 - betas[0] ** int(step))
    _each(_adamax, 8, [params, grads, *slots], rate, 1 - betas[0], betas[1], epsilon)


@tasks
def _adamax(task: int, worker: int, p: Any, g: Any, m: Any, u: Any, *numbers: Any) -> None:
    rate, one_minus_beta_1, beta_2, epsilon = numbers
    for i in range(*run(task, p.size)):
        new_m = m[i] + one_minus_beta_1 * (g[i] - m[i])
        decayed, size = beta_2 * u[i], abs(g[i])
        new_u = decayed if decayed > size else size
        m[i], u[i] = new_m, new_u
        p[i] -= rate * new_m / (new_u + epsilon)


def nadam_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    product: Array,
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """One loop; the factors are computed in float64."""
    if _is_float64(params):
        return reference.nadam_update_(params, grads, slots, product, learning_rate, step, betas, epsilon)
    beta_1, beta_2 = betas
    mu, next_mu = (beta_1 * (1 - 0.5 * 0.96 ** (int(step) + i)) for i in (0, 1))
    product *= mu
    of_mean = float(learning_rate) * next_mu / (1 - float(product) * next_mu)
    of_grad = float(learning_rate) * (1 - mu) / (1 - float(product))
    numbers = of_mean, of_grad, 1 / (1 - beta_2 ** int(step)), 1 - beta_1, 1 - beta_2, epsilon
    _each(_nadam, 12, [params, grads, *slots], *numbers)


@tasks
def _nadam(task: int, worker: int, p: Any, g: Any, m: Any, v: Any, *numbers: Any) -> None:
    of_mean, of_grad, of_variance, one_minus_beta_1, one_minus_beta_2, epsilon = numbers
    for i in range(*run(task, p.size)):
        new_m = m[i] + one_minus_beta_1 * (g[i] - m[i])
        new_v = v[i] + one_minus_beta_2 * (g[i] * g[i] - v[i])
        m[i], v[i] = new_m, new_v
        p[i] -= (of_mean * new_m + of_grad * g[i]) / (np.sqrt(of_variance * new_v) + epsilon)


def lion_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, betas: tuple[float, float]
) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.lion_update_(params, grads, momenta, learning_rate, betas)
    _each(_lion, 6, [params, grads, momenta], float(learning_rate), *betas)


@tasks
def _lion(task: int, worker: int, p: Any, g: Any, m: Any, learning_rate: Any, beta_1: Any, beta_2: Any) -> None:
    for i in range(*run(task, p.size)):
        direction = beta_1 * m[i] + (ONE - beta_1) * g[i]
        sign = ONE if direction > ZERO else (-ONE if direction < ZERO else direction)  # NaN stays
        m[i] = beta_2 * m[i] + (ONE - beta_2) * g[i]
        p[i] -= learning_rate * sign


def weight_decay_(params: list[Array], learning_rate: Scalar, weight_decay: float) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.weight_decay_(params, learning_rate, weight_decay)
    _each(_weight_decay, 1, [params], float(learning_rate) * weight_decay)


@tasks
def _weight_decay(task: int, worker: int, p: Any, rate: Any) -> None:
    for i in range(*run(task, p.size)):
        p[i] -= rate * p[i]


def exponential_average_(averages: list[Array], params: list[Array], momentum: float) -> None:
    """One loop."""
    if _is_float64(params):
        return reference.exponential_average_(averages, params, momentum)
    _each(_exponential_average, 2, [averages, params], momentum)


@tasks
def _exponential_average(task: int, worker: int, a: Any, p: Any, momentum: Any) -> None:
    for i in range(*run(task, p.size)):
        a[i] = momentum * a[i] + (ONE - momentum) * p[i]


def clip_by_value_(grads: list[Array], limit: float) -> None:
    """In place, without a copy."""
    for g in grads:
        np.clip(g, -limit, limit, out=g)


def clip_by_norm_(grads: list[Array], limit: float) -> None:
    """Each gradient is a model of one parameter, as in the reference."""
    for g in grads:
        clip_by_global_norm_([g], limit)


def clip_by_global_norm_(grads: list[Array], limit: float) -> None:
    """Sums are of float64; nothing is done where the norm is small enough."""
    if _is_float64(grads):
        return reference.clip_by_global_norm_(grads, limit)
    norm = sum(_sums(g)[1] for g in grads) ** 0.5
    if not norm <= limit:
        _each(_scale, 1, [grads], limit / norm)


@tasks
def _scale(task: int, worker: int, g: Any, factor: Any) -> None:
    for i in range(*run(task, g.size)):
        g[i] *= factor


def _sums(x: Array) -> tuple[float, float]:
    """Sum of |x| and of x**2, run by run, so that the number of threads does not matter."""
    return _sum_runs(x.reshape(-1), empty((-(-x.size // RUN), 2), np.float64))


@part
def _sum_run(task: int, worker: int, x: Any, partial: Any) -> None:
    absolute, square = np.float64(0), np.float64(0)
    for i in range(*run(task, x.size)):
        absolute += abs(x[i])
        square += np.float64(x[i]) * x[i]
    partial[task, 0], partial[task, 1] = absolute, square


@compiled
def _sum_runs(x, partial):  # type: ignore[no-untyped-def]
    parallel_for(partial.shape[0], x.size * 4, _sum_run, (x, partial))
    return partial[:, 0].sum(), partial[:, 1].sum()


def l1_l2_penalty(param: Array, l1: float, l2: float) -> Scalar:
    """Sums are of float64."""
    if param.dtype != F:
        return reference.l1_l2_penalty(param, l1, l2)
    absolute, square = _sums(param)
    return F(l1 * absolute + l2 * square)


def l1_l2_gradient_(grad: Array, param: Array, l1: float, l2: float) -> None:
    """One loop."""
    if param.dtype != F:
        return reference.l1_l2_gradient_(grad, param, l1, l2)
    _each(_l1_l2_gradient, 4, [[grad], [param]], l1, 2 * l2)


@tasks
def _l1_l2_gradient(task: int, worker: int, g: Any, p: Any, l1: Any, twice_l2: Any) -> None:
    for i in range(*run(task, p.size)):
        sign = ONE if p[i] > ZERO else (-ONE if p[i] < ZERO else ZERO)
        g[i] += l1 * sign + twice_l2 * p[i]


def accumulate_(target: Array, value: Array) -> None:
    """One loop."""
    if target.dtype != F or target.shape != value.shape:
        return reference.accumulate_(target, value)
    _each(_accumulate, 1, [[target], [value]])


@tasks
def _accumulate(task: int, worker: int, target: Any, value: Any) -> None:
    for i in range(*run(task, target.size)):
        target[i] += value[i]
