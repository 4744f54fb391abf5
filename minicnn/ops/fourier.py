"""Fourier transforms. A complex tensor is a pair of real ones: (its real part, its imaginary part)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.ops.base import op

__all__ = ["fft", "fft2", "ifft2"]


@op("real", "imaginary")
def _transformed(real: Any, imaginary: Any, axes: tuple[int, ...], inverse: bool) -> Any:
    """The transform along axes, its real and its imaginary part along a new last axis.

    y[k] = sum over n of x[n] * exp(-2i pi k n / N); the inverse has the opposite sign, and is divided by N
    """
    y = (np.fft.ifftn if inverse else np.fft.fftn)(real + 1j * imaginary, axes=axes)
    return np.stack([y.real, y.imag], -1).astype(real.dtype), (axes, inverse)


@_transformed.gradient
def _(dy: Any, saved: Any) -> Any:
    """The adjoint: the sum with the opposite sign. So it is the inverse transform without the division by N, and the other
    way round."""
    axes, inverse = saved
    z = dy[..., 0] + 1j * dy[..., 1]
    count = np.prod([z.shape[axis] for axis in axes])
    dx = np.fft.fftn(z, axes=axes) / count if inverse else np.fft.ifftn(z, axes=axes) * count
    return dx.real.astype(dy.dtype), dx.imag.astype(dy.dtype)


def _parts(x: Any, axes: tuple[int, ...], inverse: bool) -> tuple[Any, Any]:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"Input `x` should be a tuple of two tensors - real and imaginary. Received: x={x}")
    if tuple(x[0].shape) != tuple(x[1].shape):
        raise ValueError(f"The real and the imaginary part must have one shape. Received: {x[0].shape} and {x[1].shape}")
    if len(x[0].shape) < len(axes):
        raise ValueError(f"Input should have rank >= {len(axes)}. Received: input.shape = {x[0].shape}")
    y = _transformed(*x, axes=axes, inverse=inverse)
    return y[..., 0], y[..., 1]


def fft(x: Any) -> tuple[Any, Any]:
    """The Fourier transform along the last axis, of and as (real, imaginary)."""
    return _parts(x, (-1,), False)


def fft2(x: Any) -> tuple[Any, Any]:
    """The Fourier transform along the last two axes, of and as (real, imaginary)."""
    return _parts(x, (-2, -1), False)


def ifft2(x: Any) -> tuple[Any, Any]:
    """The inverse of `fft2`."""
    return _parts(x, (-2, -1), True)
