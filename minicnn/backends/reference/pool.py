"""Pooling: the windows of `im2col`, reduced. Pooling windows have no dilation, and no groups."""

from __future__ import annotations

from math import inf

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.reference.im2col import col2im, im2col
from minicnn.backends.types import Array, Pair, Window


def _real_pixels(x: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """(1, OH, OW, KH*KW, 1): 1 where a place of a window lies on the image, 0 on the padding; dtype and device of x."""
    _, H, W, _ = x_shape
    real = im2col(array_namespace(x).ones((1, H, W, 1), x.dtype), window)
    return real.reshape(*real.shape[:3], -1, 1)


def _counts(x: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """(1, OH, OW, 1): how many real pixels a window has; 1 for none, to divide by."""
    return array_namespace(x).maximum(_real_pixels(x, x_shape, window).sum(axis=3), 1)


def maxpool2d_forward(x: Array, window: Window) -> tuple[Array, Array]:
    """Largest value of each window; padding is never the largest.

        y[n,oy,ox,c] = max over ky,kx of x[n, oy*SH + ky - top, ox*SW + kx - left, c]

    A NaN is a window's largest value, as for NumPy, JAX and PyTorch, and so is not lost before it reaches
    the loss. (TensorFlow's `max_pool2d` passes over NaNs on a CPU, its `reduce_max` does not.)

    Returns:
        y: (N, OH, OW, C); -inf where a window lies on padding alone.
        argmax: (N, OH, OW, C), int32 (uint8 where KH*KW <= 256): its place
            ky*KW + kx in its window; the first one, row by row, where several tie or are NaN.
    """
    # The padding counts as -inf.
    xp = array_namespace(x)
    KH, KW = window.size
    columns = im2col(x, window, fill=-inf)
    N, OH, OW, _, _, C = columns.shape
    columns = columns.reshape(N, OH, OW, KH * KW, C)
    y = columns.max(axis=3)
    # The first place that reaches the maximum, or holds the NaN; on the image, even where the image itself is -inf.
    on_image = _real_pixels(x, x.shape, window) > 0
    argmax = (on_image & ((columns == y[:, :, :, None, :]) | xp.isnan(columns))).argmax(axis=3)
    return y, argmax.astype(xp.uint8 if KH * KW <= 256 else xp.int32)


def maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """Gradient of `maxpool2d_forward`: each dy goes to the pixel that was the largest; overlapping windows add up.

    Returns:
        dx: (N, H, W, C).
    """
    # Each window's column is dy at its place and 0 elsewhere; `col2im` adds them up.
    xp = array_namespace(dy)
    KH, KW = window.size
    N, OH, OW, C = dy.shape
    places = xp.arange(KH * KW)[:, None]
    dcolumns = xp.where(argmax[:, :, :, None, :] == places, dy[:, :, :, None, :], 0)
    return col2im(dcolumns.reshape(N, OH, OW, KH, KW, C), x_shape, window)


def avgpool2d_forward(x: Array, window: Window) -> Array:
    """Mean of each window over its real pixels: padding is neither added nor counted.

        y[n,oy,ox,c] = sum over in-range ky,kx of x[...] / (number of in-range ky,kx)

    Returns:
        y: (N, OH, OW, C); 0, the empty sum, where a window lies on padding alone. (That takes pads as large as
            the window, which neither "same" nor "valid" are, and TensorFlow, Keras and PyTorch accept no others.)
    """
    # The windows' sums (padding adds 0) over their counts of real pixels.
    counts = _counts(x, x.shape, window)
    return im2col(x, window).sum(axis=(3, 4)) / counts


def avgpool2d_backward(dy: Array, x_shape: tuple[int, ...], window: Window) -> Array:
    """Gradient of `avgpool2d_forward`: each dy is shared equally among its window's real pixels.

    Returns:
        dx: (N, H, W, C).
    """
    # Each window's column is dy / count at every place; `col2im` drops what falls on the padding.
    xp = array_namespace(dy)
    counts = _counts(dy, x_shape, window)
    share = (dy / counts)[:, :, :, None, None, :]
    N, OH, OW, C = dy.shape
    dcolumns = xp.broadcast_to(share, (N, OH, OW, *window.size, C))
    return col2im(dcolumns, x_shape, window)


def global_maxpool2d_forward(x: Array) -> tuple[Array, Array]:
    """Largest value of each channel of each image; a NaN is one, as in `maxpool2d_forward`.

    Returns:
        y: (N, C).
        argmax: (N, C), int32: its place h*W + w; the first one where several tie or are NaN.
    """
    # One window, the image.
    xp = array_namespace(x)
    N, H, W, C = x.shape
    pixels = x.reshape(N, H * W, C)
    return pixels.max(axis=1), pixels.argmax(axis=1).astype(xp.int32)


def global_maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `global_maxpool2d_forward`: dx is dy at the largest pixel, 0 elsewhere; (N, H, W, C)."""
    # A comparison with every place, as in `maxpool2d_backward`.
    xp = array_namespace(dy)
    _, H, W, _ = x_shape
    places = xp.arange(H * W)[:, None]
    return xp.where(argmax[:, None, :] == places, dy[:, None, :], 0).reshape(x_shape)


def global_avgpool2d_forward(x: Array) -> Array:
    """Mean of each channel of each image: y[n,c] = mean over h,w of x[n,h,w,c]; (N, C)."""
    return x.mean(axis=(1, 2))


def global_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `global_avgpool2d_forward`: dx[n,h,w,c] = dy[n,c] / (H*W); (N, H, W, C)."""
    xp = array_namespace(dy)
    _, H, W, _ = x_shape
    return xp.broadcast_to((dy / (H * W))[:, None, None, :], x_shape).copy()


def _adaptive_windows(image: tuple[int, int], output: Pair) -> list[tuple[tuple[int, int], tuple[slice, ...]]]:
    """For each place (oy, ox) of the output its window of the image; they cover it, and where they must, overlap."""
    rows, columns = (
        [slice(o * size // count, -(-(o + 1) * size // count)) for o in range(count)] for size, count in zip(image, output)
    )
    return [((oy, ox), (slice(None), row, column)) for oy, row in enumerate(rows) for ox, column in enumerate(columns)]


def adaptive_avgpool2d_forward(x: Array, output: Pair) -> Array:
    """Mean of each of OH x OW windows, as equal as they can be.

        y[n,oy,ox,c] = mean of x[n,h,w,c] over floor(oy*H/OH) <= h < ceil((oy+1)*H/OH), and w likewise

    Args:
        x: (N, H, W, C). output: (OH, OW).

    Returns:
        y: (N, OH, OW, C).
    """
    N, H, W, C = x.shape
    y = array_namespace(x).empty((N, *output, C), x.dtype)
    for (oy, ox), window in _adaptive_windows((H, W), output):
        y[:, oy, ox] = x[window].mean(axis=(1, 2))
    return y


def adaptive_avgpool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `adaptive_avgpool2d_forward`: each dy is shared equally among its window's pixels; (N, H, W, C)."""
    _, H, W, _ = x_shape
    dx = array_namespace(dy).zeros(x_shape, dy.dtype)
    for (oy, ox), window in _adaptive_windows((H, W), dy.shape[1:3]):
        pixels = dx[window]
        pixels += dy[:, None, None, oy, ox] / (pixels.shape[1] * pixels.shape[2])
    return dx


def adaptive_maxpool2d_forward(x: Array, output: Pair) -> tuple[Array, Array]:
    """Largest value of each window of `adaptive_avgpool2d_forward`; a NaN is one.

    Returns:
        y: (N, OH, OW, C).
        argmax: (N, OH, OW, C), int32: its place in its window, row by row; the first one where several tie or are NaN.
    """
    xp = array_namespace(x)
    N, H, W, C = x.shape
    y, argmax = xp.empty((N, *output, C), x.dtype), xp.empty((N, *output, C), xp.int32)
    for (oy, ox), window in _adaptive_windows((H, W), output):
        pixels = x[window].reshape(N, -1, C)
        y[:, oy, ox], argmax[:, oy, ox] = pixels.max(axis=1), pixels.argmax(axis=1)
    return y, argmax


def adaptive_maxpool2d_backward(dy: Array, argmax: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `adaptive_maxpool2d_forward`: each dy goes to the pixel that was the largest; (N, H, W, C)."""
    xp = array_namespace(dy)
    _, H, W, _ = x_shape
    dx = xp.zeros(x_shape, dy.dtype)
    for (oy, ox), window in _adaptive_windows((H, W), dy.shape[1:3]):
        pixels = dx[window]
        places = xp.arange(pixels.shape[1] * pixels.shape[2]).reshape(1, *pixels.shape[1:3], 1)
        pixels += xp.where(places == argmax[:, None, None, oy, ox], dy[:, None, None, oy, ox], 0)
    return dx
