"""Dense layers: matrix products."""

from __future__ import annotations

from minicnn.backends.spec import Array

__all__ = ["bias_backward", "dense_backward_input", "dense_backward_kernel", "dense_forward"]


def dense_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    """As in the spec."""
    y = x @ kernel
    if bias is not None:
        y += bias
    return y


def dense_backward_input(dy: Array, kernel: Array) -> Array:
    """As in the spec."""
    return dy @ kernel.T


def dense_backward_kernel(x: Array, dy: Array) -> Array:
    """As in the spec."""
    return x.T @ dy


def bias_backward(dy: Array) -> Array:
    """As in the spec."""
    return dy.reshape(-1, dy.shape[-1]).sum(axis=0)
