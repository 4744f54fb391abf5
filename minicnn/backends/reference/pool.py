"""Pooling: the windows of `im2col`, reduced."""

from __future__ import annotations

from math import inf

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.im2col import col2im, im2col
from minicnn.backends.spec import Array, Pads, Pair

__all__ = [
    "avgpool2d_backward",
    "avgpool2d_forward",
    "global_avgpool2d_backward",
    "global_avgpool2d_forward",
    "global_maxpool2d_backward",
    "global_maxpool2d_forward",
    "maxpool2d_backward",
    "maxpool2d_forward",
]

_DENSE = (1, 1)  # a pooling window has no holes: its dilation


def _real_pixels(x: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """(1, OH, OW, KH*KW, 1): 1 where a place of a window lies on the image, 0 on the padding; dtype and device of x."""
    _, H, W, _ = x_shape
    real = im2col(array_namespace(x).ones((1, H, W, 1), x.dtype), pool_size, strides, pads, _DENSE)
    return real.reshape(*real.shape[:3], -1, 1)


def _counts(x: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """(1, OH, OW, 1): how many real pixels a window has; 1 for none, to divide by."""
    return array_namespace(x).maximum(_real_pixels(x, x_shape, pool_size, strides, pads).sum(axis=3), 1)


def maxpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Array]:
    """The padding counts as -inf."""
    xp = array_namespace(x)
    KH, KW = pool_size
    columns = im2col(x, pool_size, strides, pads, _DENSE, fill=-inf)
    N, OH, OW, _, _, C = columns.shape
    columns = columns.reshape(N, OH, OW, KH * KW, C)
    y = columns.max(axis=3)
    # The first place that reaches the maximum, or holds the NaN; on the image, even where the image itself is -inf.
    on_image = _real_pixels(x, x.shape, pool_size, strides, pads) > 0
    winners = (on_image & ((columns == y[:, :, :, None, :]) | xp.isnan(columns))).argmax(axis=3)
    return y, winners.astype(xp.uint8 if KH * KW <= 256 else xp.int32)


def maxpool2d_backward(
    dy: Array, winners: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's column is dy at the winner's place and 0 elsewhere; `col2im` adds them up."""
    xp = array_namespace(dy)
    KH, KW = pool_size
    N, OH, OW, C = dy.shape
    places = xp.arange(KH * KW)[:, None]
    dcolumns = xp.where(winners[:, :, :, None, :] == places, dy[:, :, :, None, :], 0)
    return col2im(dcolumns.reshape(N, OH, OW, KH, KW, C), x_shape, pool_size, strides, pads, _DENSE)


def avgpool2d_forward(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """The windows' sums (padding adds 0) over their counts of real pixels."""
    counts = _counts(x, x.shape, pool_size, strides, pads)
    return im2col(x, pool_size, strides, pads, _DENSE).sum(axis=(3, 4)) / counts


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """Each window's column is dy / count at every place; `col2im` drops what falls on the padding."""
    xp = array_namespace(dy)
    counts = _counts(dy, x_shape, pool_size, strides, pads)
    share = (dy / counts)[:, :, :, None, None, :]
    N, OH, OW, C = dy.shape
    dcolumns = xp.broadcast_to(share, (N, OH, OW, *pool_size, C))
    return col2im(dcolumns, x_shape, pool_size, strides, pads, _DENSE)


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """One window, the image."""
    xp = array_namespace(x)
    N, H, W, C = x.shape
    pixels = x.reshape(N, H * W, C)
    return pixels.max(axis=1), pixels.argmax(axis=1).astype(xp.int32)


def global_maxpool2d_backward(dy: Array, winners: Array, x_shape: tuple[int, ...]) -> Array:
    """A comparison with every place, as in `maxpool2d_backward`."""
    xp = array_namespace(dy)
    _, H, W, _ = x_shape
    places = xp.arange(H * W)[:, None]
    return xp.where(winners[:, None, :] == places, dy[:, None, :], 0).reshape(x_shape)


def global_avgpool2d_forward(x: Array) -> Array:
    """As in the spec."""
    return x.mean(axis=(1, 2))


def global_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """As in the spec."""
    xp = array_namespace(dy)
    _, H, W, _ = x_shape
    return xp.broadcast_to((dy / (H * W))[:, None, None, :], x_shape).copy()
