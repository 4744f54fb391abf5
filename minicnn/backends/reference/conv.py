"""Convolution as im2col and one matrix product a group, with what follows it: ReLU, max pooling."""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.elementwise import relu_backward, relu_forward
from minicnn.backends.reference.im2col import col2im, im2col
from minicnn.backends.reference.pool import maxpool2d_backward, maxpool2d_forward
from minicnn.backends.types import Array, Window


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False, pool: Window | None = None
) -> tuple[Array, Array | None]:
    """2-D convolution (cross-correlation, as in every deep-learning library), then ReLU and max pooling if asked for.

        z[n,oy,ox,co] = bias[co] + sum over ky,kx,ci of
                        x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, ci] * kernel[ky,kx,ci,co]
        where pixels outside x count as 0;  y = z, relu_forward(z), maxpool2d_forward(z) or both, ReLU first.

    With G groups, output channel co sums over the C_in/G input channels of its own group, co // (C_out/G).

    Args:
        x: (N, H, W, C_in).
        kernel: (KH, KW, C_in/G, C_out).
        bias: (C_out,), or None for none.
        window: over x.
        relu: whether y is max(z, 0). pool: over z; None for none. (A fast backend does both before z goes to memory.)

    Returns:
        y: (N, OH, OW, C_out), or with `pool` its output's size.
        argmax: None without `pool`; with it as `maxpool2d_forward` returns it.

    Cost: 2*N*OH*OW*KH*KW*C_in/G*C_out FLOPs.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 2.
    """
    N, (OH, OW), C_out = x.shape[0], window.output, kernel.shape[3]
    # z[g, pixel, co] = sum over ky,kx,ci of columns[g, pixel, (ky,kx,ci)] * weights[g, (ky,kx,ci), co]
    z = _from_groups(_columns(x, window) @ _weights(kernel, window.groups)).reshape(N, OH, OW, C_out)
    if bias is not None:
        z += bias
    if relu:
        z = relu_forward(z)
    return (z, None) if pool is None else maxpool2d_forward(z, pool)


def conv2d_backward(
    dy: Array,
    x: Array,
    kernel: Array,
    window: Window,
    y: Array | None = None,
    pool: Window | None = None,
    argmax: Array | None = None,
    need_dx: bool = True,
) -> tuple[Array | None, Array, Array]:
    """Gradients of `conv2d_forward` with respect to its input, its kernel and its bias.

        dz[n,oy,ox,co] = the gradient at z: dy, taken back through the max pooling and the ReLU if there were any;
        dx[n,h,w,ci] = sum over ky,kx,co of dz[n,oy,ox,co] * kernel[ky,kx,ci,co]
        where oy*SH + ky*DH - top == h and ox*SW + kx*DW - left == w, and oy, ox are in range;
        dkernel[ky,kx,ci,co] = sum over n,oy,ox of
                               x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, ci] * dz[n,oy,ox,co]
        dbias[co] = sum over n,oy,ox of dz[n,oy,ox,co]

    Args:
        dy: as y, the loss's gradient there.
        x, kernel, window: as in the forward pass.
        y: what it returned, if there was a ReLU; None without.
        pool, argmax: of its max pooling; None without.
        need_dx: False where nobody reads the gradient at the input, as in a first layer.

    Returns:
        dx: as x; None without `need_dx`. dkernel: as kernel. dbias: (C_out,).

    Cost: twice the forward pass's, once without dx.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4.
    """
    N, (OH, OW), G, C_out = x.shape[0], window.output, window.groups, kernel.shape[3]
    if y is not None:  # first, though it came before the pooling: a pooled value is positive where its largest pixel is
        dy = relu_backward(dy, y)
    if pool is not None:
        dy = maxpool2d_backward(dy, argmax, (N, OH, OW, C_out), pool)
    dz = _to_groups(dy.reshape(N * OH * OW, C_out), G)
    # dkernel[g, (ky,kx,ci), co] = sum over pixels of columns[g, pixel, (ky,kx,ci)] * dz[g, pixel, co]
    dkernel = _from_groups(_columns(x, window).swapaxes(1, 2) @ dz).reshape(kernel.shape)
    return _input_gradient(dy, kernel, x.shape, window) if need_dx else None, dkernel, dy.sum(axis=(0, 1, 2))


def _input_gradient(dz: Array, kernel: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """dx of `conv2d_backward`, which is all of `conv2d_transpose_forward`."""
    (N, OH, OW, C_out), (KH, KW, _, _), G = dz.shape, kernel.shape, window.groups
    # dcolumns[g, pixel, (ky,kx,ci)] = sum over co of dz[g, pixel, co] * weights[g, (ky,kx,ci), co]
    dcolumns = _to_groups(dz.reshape(N * OH * OW, C_out), G) @ _weights(kernel, G).swapaxes(1, 2)
    dcolumns = array_namespace(dz).moveaxis(dcolumns.reshape(G, N, OH, OW, KH, KW, x_shape[3] // G), 0, 5)
    # Every window's share is added onto its pixels.
    return col2im(dcolumns.reshape(N, OH, OW, KH, KW, x_shape[3]), x_shape, window)


def _columns(x: Array, window: Window) -> Array:
    """`im2col`'s rows for each group of channels: (G, N*OH*OW, KH*KW*C_in/G)."""
    columns, G = im2col(x, window), window.groups
    N, OH, OW, KH, KW, C_in = columns.shape
    return _to_groups(columns.reshape(N * OH * OW * KH * KW, C_in), G).reshape(G, N * OH * OW, KH * KW * C_in // G)


def _weights(kernel: Array, G: int) -> Array:
    """The kernel as a matrix for each group of outputs: (G, KH*KW*C_in/G, C_out/G)."""
    return _to_groups(kernel.reshape(-1, kernel.shape[3]), G)


def _to_groups(matrix: Array, G: int) -> Array:
    """(M, C) as (G, M, C/G)."""
    M, C = matrix.shape
    return matrix.reshape(M, G, C // G).swapaxes(0, 1)


def _from_groups(matrices: Array) -> Array:
    """(G, M, C/G) as (M, C)."""
    G, M, each = matrices.shape
    return array_namespace(matrices).ascontiguousarray(matrices.swapaxes(0, 1)).reshape(M, G * each)


def conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """How the backend computes this convolution, in two or three words; for people who look at a plan."""
    return "im2col"
