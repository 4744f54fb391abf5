"""Batch normalization, written as its equations."""

from __future__ import annotations

from minicnn.backends.spec import Array

__all__ = [
    "batchnorm_backward",
    "batchnorm_forward",
    "batchnorm_inference",
    "batchnorm_inference_backward",
    "moving_average_update_",
]


def _all_but_last(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def batchnorm_forward(x: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> tuple[Array, Array, Array]:
    """Two passes over x: the mean first, then the squares of the differences from it."""
    mean = x.mean(axis=_all_but_last(x))
    variance = ((x - mean) ** 2).mean(axis=_all_but_last(x))
    return batchnorm_inference(x, gamma, beta, mean, variance, epsilon), mean, variance


def batchnorm_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """The gradient with constant statistics, less what flows through the mean and the variance."""
    M = x.size // x.shape[-1]
    inverse_deviation = (variance + epsilon) ** -0.5
    dx, dgamma, dbeta = batchnorm_inference_backward(dy, x, gamma, mean, variance, epsilon)
    # dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / M - x_hat * dgamma / M); the first term is there
    x_hat = (x - mean) * inverse_deviation
    scale = inverse_deviation if gamma is None else gamma * inverse_deviation
    dx -= scale * (dbeta + x_hat * dgamma) / M
    return dx, dgamma, dbeta


def batchnorm_inference(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> Array:
    """As in the spec."""
    y = (x - mean) * (variance + epsilon) ** -0.5
    if gamma is not None:
        y *= gamma
    if beta is not None:
        y += beta
    return y


def batchnorm_inference_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """As in the spec."""
    inverse_deviation = (variance + epsilon) ** -0.5
    x_hat = (x - mean) * inverse_deviation
    dgamma = (dy * x_hat).sum(axis=_all_but_last(x))
    dbeta = dy.sum(axis=_all_but_last(x))
    dx = dy * (inverse_deviation if gamma is None else gamma * inverse_deviation)
    return dx, dgamma, dbeta


def moving_average_update_(average: Array, value: Array, momentum: float) -> None:
    """As in the spec."""
    average *= momentum
    average += (1 - momentum) * value
