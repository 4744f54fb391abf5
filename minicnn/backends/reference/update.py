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


def adagrad_update_(
    params: list[Array], grads: list[Array], accumulators: list[Array], learning_rate: Scalar, epsilon: float
) -> None:
    """a += g**2;  p -= learning_rate * g / sqrt(a + epsilon). Source: Duchi et al. 2011, JMLR 12."""
    for p, g, a in zip(params, grads, accumulators):
        a += g**2
        p -= learning_rate * g / array_namespace(p).sqrt(a + epsilon)


def adadelta_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    rho: float,
    epsilon: float,
) -> None:
    """v = rho * v + (1 - rho) * g**2;  change = g * sqrt(d + epsilon) / sqrt(v + epsilon)
    d = rho * d + (1 - rho) * change**2;  p -= learning_rate * change

    Args:
        slots: the mean squares of the gradients, v, and of the changes, d.

    Source: Zeiler 2012, arXiv:1212.5701.
    """
    for p, g, v, d in zip(params, grads, *slots):
        xp = array_namespace(p)
        v *= rho
        v += (1 - rho) * g**2
        change = g * xp.sqrt(d + epsilon) / xp.sqrt(v + epsilon)
        d *= rho
        d += (1 - rho) * change**2
        p -= learning_rate * change


def adamax_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """m += (1 - beta_1) * (g - m);  u = max(beta_2 * u, |g|);  p -= learning_rate / (1 - beta_1**step) * m / (u + epsilon)

    Args:
        slots: the means m, the largest decayed sizes u.

    Source: Kingma & Ba 2014, arXiv:1412.6980, section 7.1.
    """
    beta_1, beta_2 = betas
    rate = learning_rate / (1 - beta_1**step)
    for p, g, m, u in zip(params, grads, *slots):
        m += (1 - beta_1) * (g - m)
        u[...] = array_namespace(p).maximum(beta_2 * u, abs(g))
        p -= rate * m / (u + epsilon)


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
    """Adam with Nesterov's look ahead; mu(t) = beta_1 * (1 - 0.96**t / 2) takes the place of beta_1 in the correction.

        product *= mu(step)
        m += (1 - beta_1) * (g - m);  v += (1 - beta_2) * (g**2 - v)
        look = mu(step + 1) * m / (1 - product * mu(step + 1)) + (1 - mu(step)) * g / (1 - product)
        p -= learning_rate * look / (sqrt(v / (1 - beta_2**step)) + epsilon)

    Args:
        slots: the means m, the variances v.
        product: shape (), of all mu so far; 1 before the first step.

    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """
    beta_1, beta_2 = betas
    mu, next_mu = (beta_1 * (1 - 0.5 * 0.96 ** (step + i)) for i in (0, 1))
    product *= mu
    of_mean, of_grad, of_variance = next_mu / (1 - product * next_mu), (1 - mu) / (1 - product), 1 - beta_2**step
    for p, g, m, v in zip(params, grads, *slots):
        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g**2 - v)
        p -= learning_rate * (of_mean * m + of_grad * g) / (array_namespace(p).sqrt(v / of_variance) + epsilon)


def lamb_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Adam's change, brought to the length of the parameter it changes.

        m += (1 - beta_1) * (g - m);  v += (1 - beta_2) * (g**2 - v)
        change = m / (1 - beta_1**step) / (sqrt(v / (1 - beta_2**step)) + epsilon)
        p -= learning_rate * |p| / |change| * change;  the fraction is 1 where one of the lengths is 0

    Args:
        slots: the means m, the variances v.

    Source: You et al. 2019, arXiv:1904.00962.
    """
    beta_1, beta_2 = betas
    of_mean, of_variance = 1 - beta_1**step, 1 - beta_2**step
    for p, g, m, v in zip(params, grads, *slots):
        xp = array_namespace(p)
        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g**2 - v)
        change = m / of_mean / (xp.sqrt(v / of_variance) + epsilon)
        length, change_length = xp.sqrt((p**2).sum()), xp.sqrt((change**2).sum())
        both = (length > 0) & (change_length > 0)
        p -= learning_rate * xp.where(both, length / (change_length + (change_length == 0)), 1) * change


def lion_update_(
    params: list[Array], grads: list[Array], momenta: list[Array], learning_rate: Scalar, betas: tuple[float, float]
) -> None:
    """p -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g);  m = beta_2 * m + (1 - beta_2) * g.

    Source: Chen et al. 2023, arXiv:2302.06675.
    """
    beta_1, beta_2 = betas
    for p, g, m in zip(params, grads, momenta):
        p -= learning_rate * array_namespace(p).sign(beta_1 * m + (1 - beta_1) * g)
        m *= beta_2
        m += (1 - beta_2) * g


def ftrl_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    power: float,
    regularization: tuple[float, float, float],
    beta: float,
) -> None:
    """Follow the regularized leader: p is computed anew from sums over all gradients.

        n = a + g**2;  z += g + 2 * shrinkage * p - (n**-power - a**-power) / learning_rate * p;  a = n
        p = (clip(z, -l1, l1) - z) / ((n**-power + beta) / learning_rate + 2 * l2)

    Args:
        slots: the sums of squares a, the sums z.
        power: at most 0; -0.5 takes roots.
        regularization: l1, l2, shrinkage.

    Source: McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches", algorithm 1.
    """
    l1, l2, shrinkage = regularization
    for p, g, a, z in zip(params, grads, *slots):
        before = a**-power
        a += g**2
        now = a**-power
        z += g + 2 * shrinkage * p - (now - before) / learning_rate * p
        p[...] = (array_namespace(p).clip(z, -l1, l1) - z) / ((now + beta) / learning_rate + 2 * l2)


def muon_update_(
    params: list[Array],
    grads: list[Array],
    momenta: list[Array],
    learning_rate: Scalar,
    momentum: float,
    nesterov: bool,
    newton_schulz: tuple[int, tuple[float, float, float]],
    rms_rate: float | None,
) -> None:
    """Momentum whose matrices are replaced by the nearest orthogonal ones: all directions of a layer change alike.

        m = momentum * m + g;  x = g + momentum * m with `nesterov`, else m
        x /= |x|;  `steps` times  s = x x^T, x = a x + (b s + c s s) x   (which draws all singular values towards 1)
        p -= learning_rate * sqrt(max(rows, columns)) * rms_rate * x     (without the two factors where rms_rate is None)

    Args:
        params: (rows, columns) each.
        newton_schulz: steps, and (a, b, c).

    Cost: about 2 * steps * rows * columns * (2 * shorter side) FLOPs, more than a step of momentum by far.
    Source: Jordan et al. 2024, "Muon"; Liu et al. 2025, arXiv:2502.16982 (rms_rate).
    """
    steps, (a, b, c) = newton_schulz
    for p, g, m in zip(params, grads, momenta):
        m *= momentum
        m += g
        x = g + momentum * m if nesterov else m
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / ((x**2).sum() ** 0.5 + 1e-7)
        for _ in range(steps):
            s = x @ x.T
            x = a * x + (b * s + c * s @ s) @ x
        factor = 1.0 if rms_rate is None else max(p.shape) ** 0.5 * rms_rate
        p -= learning_rate * factor * (x.T if tall else x)


def adafactor_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array], list[Array]],
    learning_rate: Scalar,
    step: Scalar,
    beta_2_decay: float,
    epsilons: tuple[float, float],
    clip_threshold: float,
) -> None:
    """Mean squares as an outer product of a row and a column; the rate is relative to the parameter's size.

        q = g**2 + epsilon_1;  beta_2 = 1 - step**beta_2_decay
        r = beta_2 * r + (1 - beta_2) * mean of q over the last axis;  c likewise, over the last but one
        v = r / (mean of r over its last axis) * c;  for vectors and numbers v = beta_2 * v + (1 - beta_2) * q
        change = g / sqrt(v);  change /= max(1, rms(change) / clip_threshold)
        p -= min(learning_rate, 1 / sqrt(step)) * max(epsilon_2, rms(p)) * change

    Args:
        slots: r, c and v; those of vectors and numbers have unused r and c of shape ().
        epsilons: epsilon_1 and epsilon_2.

    Source: Shazeer & Stern 2018, arXiv:1804.04235.
    """
    for p, g, r, c, v in zip(params, grads, *slots):
        xp = array_namespace(p)
        squares, beta_2 = g**2 + epsilons[0], 1 - (1.0 * step) ** beta_2_decay
        if p.ndim < 2:
            v *= beta_2
            v += (1 - beta_2) * squares
        else:
            for mean, axis in ((r, -1), (c, -2)):
                mean *= beta_2
                mean += (1 - beta_2) * squares.mean(axis=axis)
            v[...] = (r / r.mean(axis=-1, keepdims=True))[..., None] * c[..., None, :]
        change = g / xp.sqrt(v)
        change = change / xp.maximum(xp.sqrt((change**2).mean()) / clip_threshold, 1)
        rate = xp.minimum(learning_rate, 1 / xp.sqrt(1.0 * step))
        p -= rate * xp.maximum(xp.sqrt((p**2).mean()), epsilons[1]) * change


def schedule_free_adamw_update_(
    params: list[Array],
    grads: list[Array],
    slots: tuple[list[Array], list[Array]],
    learning_rate: Scalar,
    step: Scalar,
    betas: tuple[float, float],
    epsilon: float,
    warmup_steps: int,
) -> None:
    """Adam's steps for z, of whose values x is the mean, without a schedule; gradients are taken between the two, at p.

        v += (1 - beta_2) * (g**2 - v);  x = (p - (1 - beta_1) * z) / beta_1
        z -= learning_rate * min(step / warmup_steps, 1) * g / (sqrt(v / (1 - beta_2**step)) + epsilon)
        x += (z - x) / step;  p = (1 - beta_1) * z + beta_1 * x

    Args:
        slots: z, the parameters at first; the variances v.

    Source: Defazio et al. 2024, arXiv:2405.15682.
    """
    beta_1, beta_2 = betas
    for p, g, z, v in zip(params, grads, *slots):
        xp = array_namespace(p)
        rate = learning_rate * xp.minimum(step / warmup_steps, 1) if warmup_steps else learning_rate
        v += (1 - beta_2) * (g**2 - v)
        x = (p - (1 - beta_1) * z) / beta_1
        z -= rate * g / (xp.sqrt(v / (1 - beta_2**step)) + epsilon)
        x += (z - x) / step
        p[...] = (1 - beta_1) * z + beta_1 * x


def all_finite(grads: list[Array]) -> bool:
    """Whether no gradient holds a NaN or an infinity. Waits for a device."""
    return all(bool(array_namespace(g).isfinite(g).all()) for g in grads)


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
