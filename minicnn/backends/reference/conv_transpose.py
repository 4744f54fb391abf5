"""Transposed convolution: the convolution's gradient with respect to its input, as a forward pass."""

from __future__ import annotations

from minicnn.backends.reference.conv import _input_gradient, conv2d_backward, conv2d_forward
from minicnn.backends.reference.elementwise import relu_backward, relu_forward
from minicnn.backends.types import Array, Pair, Window


def conv2d_transpose_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window, image: Pair, relu: bool = False
) -> Array:
    """Transposed 2-D convolution, then ReLU if asked for: each pixel of x spreads the whole kernel over y.

        z[n,h,w,co] = bias[co] + sum over ky,kx,ci of x[n,oy,ox,ci] * kernel[ky,kx,co,ci]
        where oy*SH + ky*DH - top == h and ox*SW + kx*DW - left == w, and oy, ox are in range;  y = z or max(z, 0)

    Without bias and ReLU it is dx of `conv2d_backward` for dz = x, with the same kernel and window: so the window
    slides over y, and its places are the pixels of x. It undoes the shapes of a convolution, not its values.

    Args:
        x: (N, OH, OW, C_in), with (OH, OW) = `window.output`.
        kernel: (KH, KW, C_out, C_in): the outputs come first.
        bias: (C_out,), or None for none.
        window: over y, of one group. image: y's (H, W), which a stride leaves open.
        relu: whether y is max(z, 0).

    Returns:
        y: (N, H, W, C_out).

    Cost: 2*N*OH*OW*KH*KW*C_in*C_out FLOPs.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4; Zeiler et al. 2010, doi:10.1109/CVPR.2010.5539957.
    """
    z = _input_gradient(x, kernel, (len(x), *image, kernel.shape[2]), window)
    if bias is not None:
        z += bias
    return relu_forward(z) if relu else z


def conv2d_transpose_backward(
    dy: Array, x: Array, kernel: Array, window: Window, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `conv2d_transpose_forward` with respect to its input, its kernel and its bias.

        dz = dy, or if there was a ReLU: dy where y > 0, else 0
        dx[n,oy,ox,ci] = sum over ky,kx,co of dz[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, co] * kernel[ky,kx,co,ci]
        dkernel[ky,kx,co,ci] = sum over n,oy,ox of dz[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, co] * x[n,oy,ox,ci]
        dbias[co] = sum over n,h,w of dz[n,h,w,co]

    The first is a convolution of dz; the second a convolution's dkernel, with dz for its image and x for its gradient.

    Args:
        dy: (N, H, W, C_out), the loss's gradient at y.
        x, kernel, window: as in the forward pass.
        y: what it returned, if there was a ReLU; None without.
        need_dx: False where nobody reads the gradient at the input.

    Returns:
        dx: as x; None without `need_dx`. dkernel: as kernel. dbias: (C_out,).

    Cost: twice the forward pass's, once without dx.
    """
    dz = dy if y is None else relu_backward(dy, y)
    dx = conv2d_forward(dz, kernel, None, window)[0] if need_dx else None
    _, dkernel, _ = conv2d_backward(x, dz, kernel, window, need_dx=False)
    return dx, dkernel, dz.sum(axis=(0, 1, 2))


def conv2d_transpose_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window, image: Pair) -> str:
    """How the backend computes this transposed convolution, in two or three words."""
    return "col2im"
