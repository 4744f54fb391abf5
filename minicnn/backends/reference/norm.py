"""Normalizations, written as their equations: over the batch, over a row, over a group of channels, to length 1."""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.elementwise import relu_backward, relu_forward
from minicnn.backends.types import Array


def _all_but_last(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def batchnorm_forward(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, relu: bool = False
) -> tuple[Array, Array, Array]:
    """Batch normalization in training: each channel to mean 0 and variance 1 over all other axes; then ReLU if asked for.

        mean[c] = mean of x[...,c];  variance[c] = mean of (x[...,c] - mean[c])**2   (biased)
        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, or with `relu` max(that, 0)

    Args:
        x: (..., C).
        gamma, beta: (C,), or None for 1 and 0.
        relu: whether a ReLU follows.

    Returns:
        y: as x. mean, variance: (C,), for the backward pass and the moving statistics.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """
    # Two passes over x: the mean first, then the squares of the differences from it.
    mean = x.mean(axis=_all_but_last(x))
    variance = ((x - mean) ** 2).mean(axis=_all_but_last(x))
    return batchnorm_inference(x, gamma, beta, mean, variance, epsilon, relu), mean, variance


def batchnorm_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """Gradients of `batchnorm_forward`; the statistics depend on x too.

        x_hat = (x - mean) / sqrt(variance + epsilon);  M = x.size / C
        dbeta[c] = sum of dy;  dgamma[c] = sum of dy * x_hat
        dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / M - x_hat * dgamma / M)

    Args:
        gamma, beta: (C,), or None for 1 and 0. beta is read for the ReLU alone.
        relu: whether a ReLU followed: dy counts only where y > 0, and y is computed once more rather than kept.

    Returns:
        dx: as x. dgamma, dbeta: (C,).
    """
    # The gradient with constant statistics, less what flows through the mean and the variance.
    M = x.size // x.shape[-1]
    inverse_deviation = (variance + epsilon) ** -0.5
    dx, dgamma, dbeta = batchnorm_inference_backward(dy, x, gamma, beta, mean, variance, epsilon, relu)
    # dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / M - x_hat * dgamma / M); the first term is there
    x_hat = (x - mean) * inverse_deviation
    scale = inverse_deviation if gamma is None else gamma * inverse_deviation
    dx -= scale * (dbeta + x_hat * dgamma) / M
    return dx, dgamma, dbeta


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float, relu: bool = False
) -> Array:
    """Batch normalization with given statistics, then ReLU if asked for.

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, or with `relu` max(that, 0)
    """
    y = (x - mean) * (variance + epsilon) ** -0.5
    if gamma is not None:
        y *= gamma
    if beta is not None:
        y += beta
    return relu_forward(y) if relu else y


def batchnorm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """Gradients of `batchnorm_inference`, whose statistics are constants (a frozen layer).

    Args:
        gamma, beta, relu: as in `batchnorm_backward`.

    Returns:
        dx = gamma * dy / sqrt(variance + epsilon). dgamma, dbeta: (C,), as in `batchnorm_backward`.
    """
    if relu:
        dy = relu_backward(dy, batchnorm_inference(x, gamma, beta, mean, variance, epsilon))
    inverse_deviation = (variance + epsilon) ** -0.5
    x_hat = (x - mean) * inverse_deviation
    dgamma = (dy * x_hat).sum(axis=_all_but_last(x))
    dbeta = dy.sum(axis=_all_but_last(x))
    dx = dy * (inverse_deviation if gamma is None else gamma * inverse_deviation)
    return dx, dgamma, dbeta


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """average = momentum * average + (1 - momentum) * value, in place; any shape."""
    average *= momentum
    average += (1 - momentum) * value


def renorm_correction(
    mean: Array, variance: Array, average: Array, deviation: Array, epsilon: float, limits: tuple[float, float, float]
) -> tuple[Array, Array]:
    """What batch renormalization puts between the batch's statistics and their moving averages: y = x_hat * r + d.

        r = sqrt(variance + epsilon) / deviation,  d = (mean - average) / deviation,  each within its limits;
        the moving deviation is taken to be sqrt(epsilon) at least.

    Args:
        mean, variance: (C,), of the batch. average, deviation: (C,), moving.
        limits: (smallest r, largest r, largest size of d).

    Returns:
        r, d: (C,), constants to the gradient.

    Source: Ioffe 2017, arXiv:1702.03275, algorithm 1.
    """
    xp = array_namespace(mean)
    smallest_r, largest_r, largest_d = limits
    deviation = xp.maximum(deviation, epsilon**0.5)
    r, d = (variance + epsilon) ** 0.5 / deviation, (mean - average) / deviation
    return xp.clip(r, smallest_r, largest_r), xp.clip(d, -largest_d, largest_d)


def renorm_update_(
    averages: tuple[Array, Array, Array, Array, Array],
    mean: Array,
    variance: Array,
    momentum: float,
    renorm_momentum: float,
    epsilon: float,
) -> None:
    """The moving statistics of batch renormalization, in place: two pairs, one for inference and one for training.

        deviation = sqrt(variance + epsilon)
        moving_mean, moving_deviation: averages of mean, deviation by `momentum`;
        renorm_mean, renorm_deviation: averages of the same by `renorm_momentum`;
        moving_variance = max(moving_deviation**2 - epsilon, 0)

    Args:
        averages: moving_mean, moving_variance, moving_deviation, renorm_mean, renorm_deviation, each (C,).
        mean, variance: (C,), of the batch.
    """
    moving_mean, moving_variance, moving_deviation, renorm_mean, renorm_deviation = averages
    deviation = (variance + epsilon) ** 0.5
    moving_average_update_(moving_mean, mean, momentum)
    moving_average_update_(moving_deviation, deviation, momentum)
    moving_average_update_(renorm_mean, mean, renorm_momentum)
    moving_average_update_(renorm_deviation, deviation, renorm_momentum)
    moving_variance[...] = relu_forward(moving_deviation**2 - epsilon)


def layernorm_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Layer normalization: each row to mean 0 and variance 1, then a factor and a summand for each of its places.

        mean[m] = mean of x[m];  variance[m] = mean of (x[m] - mean[m])**2   (biased)
        y[m,c] = gamma[c] * (x[m,c] - mean[m]) / sqrt(variance[m] + epsilon) + beta[c]

    Args:
        x: (M, C). gamma, beta: (C,), or None for 1 and 0.

    Returns:
        y: (M, C). mean, inverse_deviation: (M,), 1 / sqrt(variance + epsilon), for the backward pass.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
    """
    x_hat, mean, inverse_deviation = _standardized(x, (1,), epsilon)
    return _affine(x_hat, gamma, beta), mean[:, 0], inverse_deviation[:, 0]


def layernorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, inverse_deviation: Array
) -> tuple[Array, Array, Array]:
    """Gradients of `layernorm_forward`; the statistics depend on x too.

        x_hat = (x - mean) * inverse_deviation;  g = gamma * dy
        dx[m,c] = inverse_deviation[m] * (g[m,c] - mean of g[m] - x_hat[m,c] * mean of g[m] * x_hat[m])
        dgamma[c] = sum over m of dy * x_hat;  dbeta[c] = sum over m of dy

    Returns:
        dx: (M, C). dgamma, dbeta: (C,).
    """
    inverse_deviation = inverse_deviation[:, None]
    x_hat = (x - mean[:, None]) * inverse_deviation
    dx = _standardized_backward(_affine(dy, gamma, None), x_hat, inverse_deviation, (1,))
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


def groupnorm_forward(
    x: Array, gamma: Array | None, beta: Array | None, groups: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """Group normalization: the pixels of each image, in each of G groups of channels, to mean 0 and variance 1.

        mean[n,g] = mean of x[n,s,c] over all s and the channels c of group g = c // (C/G);  variance likewise   (biased)
        y[n,s,c] = gamma[c] * (x[n,s,c] - mean[n,g]) / sqrt(variance[n,g] + epsilon) + beta[c]

    Args:
        x: (N, S, C), the pixels in any order. gamma, beta: (C,), or None for 1 and 0. groups: G.

    Returns:
        y: (N, S, C). mean, inverse_deviation: (N, 1, G, 1), for the backward pass.

    Source: Wu & He 2018, arXiv:1803.08494.
    """
    N, S, C = x.shape
    x_hat, mean, inverse_deviation = _standardized(x.reshape(N, S, groups, C // groups), (1, 3), epsilon)
    return _affine(x_hat.reshape(x.shape), gamma, beta), mean, inverse_deviation


def groupnorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, inverse_deviation: Array
) -> tuple[Array, Array, Array]:
    """Gradients of `groupnorm_forward`: those of `layernorm_backward`, means being over what was normalized together.

    Returns:
        dx: (N, S, C). dgamma, dbeta: (C,).
    """
    (N, S, C), groups = x.shape, mean.shape[2]
    grouped = (N, S, groups, C // groups)
    x_hat = (x.reshape(grouped) - mean) * inverse_deviation
    dx = _standardized_backward(_affine(dy, gamma, None).reshape(grouped), x_hat, inverse_deviation, (1, 3))
    return dx.reshape(x.shape), (dy * x_hat.reshape(x.shape)).sum(axis=(0, 1)), dy.sum(axis=(0, 1))


def rmsnorm_forward(x: Array, scale: Array, epsilon: float) -> tuple[Array, Array]:
    """Each row divided by its root mean square: y[m,c] = scale[c] * x[m,c] / sqrt(mean of x[m]**2 + epsilon).

    Args:
        x: (M, C). scale: (C,).

    Returns:
        y: (M, C). inverse_size: (M,), 1 / the root, for the backward pass.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467.
    """
    inverse_size = ((x**2).mean(axis=1, keepdims=True) + epsilon) ** -0.5
    return x * inverse_size * scale, inverse_size[:, 0]


def rmsnorm_backward(dy: Array, x: Array, scale: Array, inverse_size: Array) -> tuple[Array, Array]:
    """Gradients of `rmsnorm_forward`.

        x_hat = x * inverse_size;  g = scale * dy
        dx[m,c] = inverse_size[m] * (g[m,c] - x_hat[m,c] * mean of g[m] * x_hat[m]);  dscale[c] = sum over m of dy * x_hat

    Returns:
        dx: (M, C). dscale: (C,).
    """
    inverse_size = inverse_size[:, None]
    x_hat, g = x * inverse_size, dy * scale
    return inverse_size * (g - x_hat * (g * x_hat).mean(axis=1, keepdims=True)), (dy * x_hat).sum(axis=0)


def unitnorm_forward(x: Array, epsilon: float) -> Array:
    """Vectors along the last axis brought to length 1: y = x / max(|x|, epsilon)."""
    return x / _lengths(x, epsilon)


def unitnorm_backward(dy: Array, x: Array, epsilon: float) -> Array:
    """Gradient of `unitnorm_forward`: dx = (dy - y * sum of dy * y) / |x|, and dy / epsilon where |x| is below epsilon."""
    xp, lengths = array_namespace(x), _lengths(x, epsilon)
    y = x / lengths
    along = (dy * y).sum(axis=-1, keepdims=True)
    return (dy - y * xp.where(lengths > epsilon, along, 0)) / lengths


def _lengths(x: Array, epsilon: float) -> Array:
    """(..., 1): the lengths of vectors along the last axis, `epsilon` at least."""
    return array_namespace(x).maximum((x**2).sum(axis=-1, keepdims=True) ** 0.5, epsilon)


def _affine(x_hat: Array, gamma: Array | None, beta: Array | None) -> Array:
    """gamma * x_hat + beta; the gradient at x_hat, for dy in its place, is gamma * dy."""
    y = x_hat if gamma is None else x_hat * gamma
    return y if beta is None else y + beta


def _standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """x over `axes` to mean 0 and variance 1; the mean, and 1 / sqrt(variance + epsilon), as they broadcast to x."""
    mean = x.mean(axis=axes, keepdims=True)
    difference = x - mean
    inverse_deviation = ((difference**2).mean(axis=axes, keepdims=True) + epsilon) ** -0.5
    return difference * inverse_deviation, mean, inverse_deviation


def _standardized_backward(g: Array, x_hat: Array, inverse_deviation: Array, axes: tuple[int, ...]) -> Array:
    """The gradient at x for the gradient g at x_hat: what shifts or stretches x leaves x_hat as it is."""
    along = (g * x_hat).mean(axis=axes, keepdims=True)
    return inverse_deviation * (g - g.mean(axis=axes, keepdims=True) - x_hat * along)
