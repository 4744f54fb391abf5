"""Batch normalization, written as its equations."""

from __future__ import annotations

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
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float, y: Array | None = None
) -> tuple[Array, Array, Array]:
    """Gradients of `batchnorm_forward`; the statistics depend on x too.

        x_hat = (x - mean) / sqrt(variance + epsilon);  M = x.size / C
        dbeta[c] = sum of dy;  dgamma[c] = sum of dy * x_hat
        dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / M - x_hat * dgamma / M)

    Args:
        y: what the forward pass returned, if a ReLU followed (then dy counts only where y > 0); None without.

    Returns:
        dx: as x. dgamma, dbeta: (C,).
    """
    # The gradient with constant statistics, less what flows through the mean and the variance.
    M = x.size // x.shape[-1]
    inverse_deviation = (variance + epsilon) ** -0.5
    dx, dgamma, dbeta = batchnorm_inference_backward(dy, x, gamma, mean, variance, epsilon, y)
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
    dy: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, epsilon: float, y: Array | None = None
) -> tuple[Array, Array, Array]:
    """Gradients of `batchnorm_inference`, whose statistics are constants (a frozen layer).

    Args:
        y: as in `batchnorm_backward`.

    Returns:
        dx = gamma * dy / sqrt(variance + epsilon). dgamma, dbeta: (C,), as in `batchnorm_backward`.
    """
    if y is not None:
        dy = relu_backward(dy, y)
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
