"""Depthwise convolution: every channel of the image is convolved alone, with kernels of its own."""

from __future__ import annotations

from minicnn.backends.reference.conv import conv2d_backward, conv2d_forward
from minicnn.backends.types import Array, Window


def depthwise_conv2d_forward(x: Array, kernel: Array, bias: Array | None, window: Window, relu: bool = False) -> Array:
    """Depthwise 2-D convolution, then ReLU if asked for.

        z[n,oy,ox,c*M + m] = bias[c*M + m] + sum over ky,kx of
                             x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, c] * kernel[ky,kx,c,m]
        where pixels outside x count as 0;  y = z or max(z, 0)

    A convolution of as many groups as x has channels: C_in = C groups of one channel in and M out.

    Args:
        x: (N, H, W, C).
        kernel: (KH, KW, C, M): M, the depth multiplier, is how many outputs each channel has.
        bias: (C*M,), or None for none.
        window: over x; its `groups` are not looked at.
        relu: whether y is max(z, 0).

    Returns:
        y: (N, OH, OW, C*M).

    Cost: 2*N*OH*OW*KH*KW*C*M FLOPs, so few for the numbers that it reads and writes that memory sets the pace.
    Source: Chollet 2017, arXiv:1610.02357; Howard et al. 2017, arXiv:1704.04861.
    """
    return conv2d_forward(x, _of_groups(kernel), bias, window._replace(groups=x.shape[3]), relu)[0]


def depthwise_conv2d_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `depthwise_conv2d_forward` with respect to its input, its kernel and its bias.

        dz = dy, or if there was a ReLU: dy where y > 0, else 0
        dx[n,h,w,c] = sum over ky,kx,m of dz[n,oy,ox,c*M + m] * kernel[ky,kx,c,m]
        where oy*SH + ky*DH - top == h and ox*SW + kx*DW - left == w, and oy, ox are in range;
        dkernel[ky,kx,c,m] = sum over n,oy,ox of
                             x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, c] * dz[n,oy,ox,c*M + m]
        dbias[c*M + m] = sum over n,oy,ox of dz[n,oy,ox,c*M + m]

    Args:
        dy: as y, the loss's gradient there.
        x, kernel, window: as in the forward pass.
        y: what it returned, if there was a ReLU; None without.
        need_dx: False where nobody reads the gradient at the input.

    Returns:
        dx: as x; None without `need_dx`. dkernel: as kernel. dbias: (C*M,).

    Cost: twice the forward pass's, once without dx.
    """
    window = window._replace(groups=x.shape[3])
    dx, dkernel, dbias = conv2d_backward(dy, x, _of_groups(kernel), window, y, need_dx=need_dx)
    return dx, dkernel.reshape(kernel.shape), dbias


def _of_groups(kernel: Array) -> Array:
    """The kernel of the same convolution in groups: (KH, KW, C, M) as (KH, KW, 1, C*M)."""
    KH, KW, C, M = kernel.shape
    return kernel.reshape(KH, KW, 1, C * M)


def depthwise_conv2d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window) -> str:
    """How the backend computes this depthwise convolution, in two or three words."""
    return "im2col"
