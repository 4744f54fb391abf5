"""Matrix products: dense layers, with the ReLU that may follow, products of pairs of arrays, and the rows of a table."""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.elementwise import relu_backward, relu_forward
from minicnn.backends.types import Array


def dense_forward(x: Array, kernel: Array, bias: Array | None, relu: bool = False) -> Array:
    """Affine map, then ReLU if asked for: y = x @ kernel + bias, or max(x @ kernel + bias, 0).

    Args:
        x: (M, C_in). kernel: (C_in, C_out). bias: (C_out,) or None.

    Returns:
        y: (M, C_out).

    Cost: 2*M*C_in*C_out FLOPs.
    """
    z = x @ kernel
    if bias is not None:
        z += bias
    return relu_forward(z) if relu else z


def dense_backward(
    dy: Array, x: Array, kernel: Array, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `dense_forward` with respect to x, its kernel and its bias.

        dz = dy, or if there was a ReLU: dy where y > 0, else 0
        dx = dz @ kernel.T;  dkernel = x.T @ dz;  dbias[co] = sum over m of dz[m,co]

    Args:
        dy: (M, C_out). x, kernel: as in the forward pass.
        y: what it returned, if there was a ReLU; None without.
        need_dx: False where nobody reads the gradient at the input.

    Returns:
        dx: as x; None without `need_dx`. dkernel: as kernel. dbias: (C_out,).

    Cost: twice the forward pass's, once without dx.
    """
    dz = dy if y is None else relu_backward(dy, y)
    return dz @ kernel.T if need_dx else None, x.T @ dz, dz.sum(axis=0)


def batch_dot_forward(a: Array, b: Array) -> Array:
    """A matrix product for each image: y[n,i,j] = sum over k of a[n,i,k] * b[n,j,k].

    Args:
        a: (N, I, K). b: (N, J, K).

    Returns:
        y: (N, I, J).

    Cost: 2*N*I*J*K FLOPs.
    """
    return a @ b.swapaxes(1, 2)


def batch_dot_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Gradients of `batch_dot_forward`: da[n,i,k] = sum over j of dy[n,i,j] * b[n,j,k];  db[n,j,k] = sum over i of dy * a."""
    return dy @ b, dy.swapaxes(1, 2) @ a


def embedding_forward(indices: Array, table: Array) -> Array:
    """Rows of a table: y[...,c] = table[indices[...],c], the product of one-hot vectors with it.

    Args:
        indices: (...), integers. table: (V, C).

    Returns:
        y: (..., C).
    """
    return table[indices]


def embedding_backward(dy: Array, indices: Array, table_shape: tuple[int, int]) -> Array:
    """Gradient of `embedding_forward` with respect to its table: each row is the sum of the dy that it was read for; (V, C)."""
    xp = array_namespace(dy)
    dtable = xp.zeros(table_shape, dy.dtype)
    xp.add.at(dtable, indices, dy)
    return dtable
