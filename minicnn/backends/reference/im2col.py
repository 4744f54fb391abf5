"""im2col and col2im: every window of an image as one row of a matrix, and back.

A convolution is a matrix product once each place of the window has become a row that
holds the pixels under it:

    image 3x3   window 2x2   rows (one per place)
    a b c                    a b d e
    d e f       ->           b c e f
    g h i                    d e g h
                             e f h i

A pixel stands in as many rows as windows cover it (here `e` in all four): that costs
memory, KH*KW times the image at stride 1, and is why fast kernels address the windows in
place instead. `col2im` is the adjoint: it adds every copy back onto its pixel.
Source: Chellapilla et al. 2006, "High performance convolutional neural networks for document processing".
"""

from __future__ import annotations

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.types import Array, Window


def im2col(x: Array, window: Window, fill: float = 0.0) -> Array:
    """columns[n,oy,ox,ky,kx,c] = x[n, oy*SH + ky*DH - top, ox*SW + kx*DW - left, c], or `fill` outside x.

    Args:
        x: (N, H, W, C).

    Returns:
        columns: (N, OH, OW, KH, KW, C). Reshaped to (N*OH*OW, KH*KW*C), a row is a window.
    """
    xp = array_namespace(x)
    (KH, KW), (SH, SW), (DH, DW) = window.size, window.strides, window.dilation
    (top, bottom, left, right), (OH, OW) = window.pads, window.output
    padded = xp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    rows = SH * xp.arange(OH)[:, None] + DH * xp.arange(KH)  # (OH, KH): the image row under each row of the window
    cols = SW * xp.arange(OW)[:, None] + DW * xp.arange(KW)  # (OW, KW)
    return xp.ascontiguousarray(padded[:, rows[:, None, :, None], cols[None, :, None, :], :])


def col2im(columns: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """x[n,h,w,c] = sum of the columns that `im2col` copied from that pixel; what came from the padding is dropped.

    Args:
        columns: (N, OH, OW, KH, KW, C).

    Returns:
        x: (N, H, W, C) = x_shape.
    """
    xp = array_namespace(columns)
    (KH, KW), (SH, SW), (DH, DW) = window.size, window.strides, window.dilation
    (top, bottom, left, right), (OH, OW) = window.pads, window.output
    N, H, W, C = x_shape
    padded = xp.zeros((N, top + H + bottom, left + W + right, C), columns.dtype)
    # At one place (ky, kx) of the window no pixel comes twice, so that a strided slice can be added at once.
    for ky in range(KH):
        for kx in range(KW):
            rows = slice(ky * DH, ky * DH + (OH - 1) * SH + 1, SH)
            cols = slice(kx * DW, kx * DW + (OW - 1) * SW + 1, SW)
            padded[:, rows, cols, :] += columns[:, :, :, ky, kx, :]
    return xp.ascontiguousarray(padded[:, top : top + H, left : left + W, :])
