"""Ops of volumes (N, D, H, W, C), made of the backend's ops of images: a volume is a stack of images.

A convolution adds up the slices under its kernel as it adds up channels:

    z[n,oz,oy,ox,co] = bias[co] + sum over kz,ky,kx,ci of
                       x[n, oz*SD + kz*DD - front, oy*SH + ky*DH - top, ox*SW + kx*DW - left, ci] * kernel[kz,ky,kx,ci,co]

So `gather` puts the KD slices under it side by side, as KD*C_in channels, and what is left is a convolution of N*OD images
by a kernel (KH, KW, KD*C_in, C_out), with all its kernels and epilogues. Its gradient at the input has KD*C_in channels
again, which `scatter` adds to the slices that they came from. A transposed convolution does that forwards.

All else is done in each slice, and then along depth, where a volume is an image of height D and width 1 whose one pixel
in a row is a slice: the mean of means, and the maximum of maxima, of which the first one in (d, h, w) stays the first.

Arguments and results are those of the ops of images (`minicnn.backends.reference`), with `Window3D` for `Window`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from minicnn import backends
from minicnn.backends import ops
from minicnn.backends.types import Array, Window, transposed_window, window_over

__all__ = [
    "Window3D",
    "adaptive_avgpool3d_backward",
    "adaptive_avgpool3d_forward",
    "adaptive_maxpool3d_backward",
    "adaptive_maxpool3d_forward",
    "avgpool3d_backward",
    "avgpool3d_forward",
    "conv3d_algorithm",
    "conv3d_backward",
    "conv3d_forward",
    "conv3d_transpose_algorithm",
    "conv3d_transpose_backward",
    "conv3d_transpose_forward",
    "gather",
    "maxpool3d_backward",
    "maxpool3d_forward",
    "scatter",
    "separably",
    "transposed_window3d",
    "transposed_window_over_space",
    "window3d_over",
    "window_over_space",
]

Triple = tuple[int, int, int]


class Window3D(NamedTuple):
    """How a kernel, or the window of a pooling, slides over a volume.

    Attributes:
        depth: from slice to slice, as over an image of (D, 1).
        image: within a slice.
    """

    depth: Window
    image: Window

    @property
    def output(self) -> Triple:
        """(OD, OH, OW): how many places it has."""
        return (self.depth.output[0], *self.image.output)


def window3d_over(
    volume: Triple, size: Triple, strides: Triple, padding: str, dilation: Triple = (1, 1, 1), groups: int = 1
) -> Window3D:
    """The window over a volume of (depth, height, width): `window_over` of it."""
    depth = window_over((volume[0], 1), (size[0], 1), (strides[0], 1), padding, (dilation[0], 1))
    return Window3D(depth, window_over(volume[1:], size[1:], strides[1:], padding, dilation[1:], groups))


def transposed_window3d(
    places: Triple, volume: Triple, size: Triple, strides: Triple, dilation: Triple = (1, 1, 1)
) -> Window3D:
    """`transposed_window` of volumes."""
    depth = transposed_window((places[0], 1), (volume[0], 1), (size[0], 1), (strides[0], 1), (dilation[0], 1))
    return Window3D(depth, transposed_window(places[1:], volume[1:], size[1:], strides[1:], dilation[1:]))


def window_over_space(
    space: tuple[int, ...],
    size: Any,
    strides: Any,
    padding: Any,
    dilation: Any = None,
    groups: int = 1,
) -> Any:
    """`window_over` an image of (height, width), `window3d_over` a volume of (depth, height, width)."""
    over: Any = window_over if len(space) == 2 else window3d_over
    return over(space, size, strides, padding, dilation or (1,) * len(space), groups)


def transposed_window_over_space(
    places: tuple[int, ...], space: tuple[int, ...], size: Any, strides: Any, dilation: Any
) -> Any:
    """`transposed_window` of images, `transposed_window3d` of volumes."""
    over: Any = transposed_window if len(space) == 2 else transposed_window3d
    return over(places, space, size, strides, dilation)


# --- slices as channels -----------------------------------------------------------------


def gather(x: Array, depth: Window, groups: int = 1) -> Array:
    """The slices under each place of a kernel, side by side as channels; each group of channels with its own.

        slices[n*OD + oz, h, w, (g, kz, c)] = x[n, oz*SD + kz*DD - front, h, w, (g, c)], 0 where there is no such slice

    Args:
        x: (N, D, H, W, C).
        depth: the kernel's way from slice to slice.

    Returns:
        slices: (N*OD, H, W, KD*C). A kernel of depth 1 has one slice under it: where it steps from each to the next, they
            are x in another shape, and nothing is copied.
    """
    (N, D, H, W, C), KD, OD = x.shape, depth.size[0], depth.output[0]
    if _one_by_one(D, depth):
        return _stacked(x)
    slices = backends.empty((N, OD, H, W, groups, KD, C // groups), x.dtype)
    x = x.reshape(N, D, H, W, groups, C // groups)
    for oz, taps, under in _places(D, depth):
        place = slices[:, oz]
        place[..., : taps.start, :] = 0
        place[..., taps.stop :, :] = 0
        place[..., taps, :] = x[:, under].transpose(0, 2, 3, 4, 1, 5)
    return slices.reshape(N * OD, H, W, KD * C)


def scatter(slices: Array, x_shape: tuple[int, ...], depth: Window, groups: int = 1) -> Array:
    """The adjoint of `gather`: what stands side by side is added to the slices that it came from.

        x[n, d, h, w, (g, c)] = sum over oz,kz with oz*SD + kz*DD - front == d of slices[n*OD + oz, h, w, (g, kz, c)]

    Args:
        slices: (N*OD, H, W, KD*C). x_shape: (N, D, H, W, C); needed because a stride forgets it.
    """
    (N, D, H, W, C), KD, OD = x_shape, depth.size[0], depth.output[0]
    if _one_by_one(D, depth):
        return slices.reshape(x_shape)
    slices = slices.reshape(N, OD, H, W, groups, KD, C // groups)
    x = backends.empty((N, D, H, W, groups, C // groups), slices.dtype)
    x.fill(0)
    for oz, taps, under in _places(D, depth):
        x[:, under] += slices[:, oz, ..., taps, :].transpose(0, 4, 1, 2, 3, 5)
    return x.reshape(x_shape)


def _one_by_one(D: int, depth: Window) -> bool:
    """Whether each of D slices is alone under one place of the kernel."""
    return depth.size[0] == depth.strides[0] == 1 and depth.output[0] == D


def _places(D: int, depth: Window) -> Iterator[tuple[int, slice, slice]]:
    """For each place oz of a kernel: which of its slices kz have one of the D slices under them, and which these are."""
    KD, DD = depth.size[0], depth.dilation[0]
    for oz in range(depth.output[0]):
        start = oz * depth.strides[0] - depth.pads[0]  # under kz lies start + kz*DD
        first = max(0, -(start // DD))
        end = max(min(KD, (D - 1 - start) // DD + 1), first)
        yield oz, slice(first, end), slice(start + first * DD, start + end * DD, DD)


def _stacked(x: Array) -> Array:
    """All slices as images, (N*D, H, W, C)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _columns(x: Array) -> Array:
    """Volumes as images of height D whose pixels are slices, (N, D, 1, H*W*C)."""
    return x.reshape(*x.shape[:2], 1, prod(x.shape[2:]))


def _of_slices(kernel: Array) -> Array:
    """A kernel (KD, KH, KW, A, B) as that of the images with slices for channels, (KH, KW, KD*A, B)."""
    KD, KH, KW, A, B = kernel.shape
    return kernel.transpose(1, 2, 0, 3, 4).reshape(KH, KW, KD * A, B)


def _of_volumes(kernel: Array, shape: tuple[int, ...]) -> Array:
    """`_of_slices` undone."""
    KD, KH, KW, A, B = shape
    return backends.asarray(kernel.reshape(KH, KW, KD, A, B).transpose(2, 0, 1, 3, 4))


# --- convolution ------------------------------------------------------------------------


def conv3d_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window3D, relu: bool = False, pool: Window3D | None = None
) -> tuple[Array, Any]:
    """3-D convolution, then ReLU and max pooling if asked for: the pooling within each slice is an epilogue, too.

    Args:
        x: (N, D, H, W, C_in).
        kernel: (KD, KH, KW, C_in/G, C_out).
        bias, relu: as `conv2d_forward` takes them.
        window: over x. pool: over z.

    Returns:
        y: (N, OD, OH, OW, C_out), or with `pool` its output's size.
        argmax: None without `pool`; with it what `conv3d_backward` needs.

    Cost: 2*N*OD*OH*OW*KD*KH*KW*C_in/G*C_out FLOPs, and a copy of KD times x.
    """
    slices = gather(x, window.depth, window.image.groups)
    within = None if pool is None else pool.image
    y, in_slice = ops.conv2d_forward(slices, _of_slices(kernel), bias, window.image, relu, within)
    y = y.reshape(len(x), window.depth.output[0], *y.shape[1:])
    if pool is None:
        return y, None
    largest, in_depth = ops.maxpool2d_forward(_columns(y), pool.depth)
    return largest.reshape(len(x), pool.depth.output[0], *y.shape[2:]), (in_slice, in_depth, y)


def conv3d_backward(
    dy: Array,
    x: Array,
    kernel: Array,
    window: Window3D,
    y: Array | None = None,
    pool: Window3D | None = None,
    argmax: Any = None,
    need_dx: bool = True,
) -> tuple[Array | None, Array, Array]:
    """Gradients of `conv3d_forward` with respect to its input, its kernel and its bias, as `conv2d_backward` has them.

    The slices are gathered once more: kept, they would take KD times the memory of x until now.
    """
    within = in_slice = None
    if pool is not None:
        within, (in_slice, in_depth, pooled_in_slices) = pool.image, argmax
        dy = ops.maxpool2d_backward(dy.reshape(in_depth.shape), in_depth, _columns(pooled_in_slices).shape, pool.depth)
        dy = dy.reshape(pooled_in_slices.shape)
        y = None if y is None else pooled_in_slices
    slices, y = gather(x, window.depth, window.image.groups), None if y is None else _stacked(y)
    dslices, dkernel, dbias = ops.conv2d_backward(
        _stacked(dy), slices, _of_slices(kernel), window.image, y, within, in_slice, need_dx
    )
    dx = scatter(dslices, x.shape, window.depth, window.image.groups) if need_dx else None
    return dx, _of_volumes(dkernel, kernel.shape), dbias


def conv3d_algorithm(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window3D) -> str:
    """How the backend computes the convolution of the slices, and how many are under the kernel."""
    (N, _, H, W, C_in), (KD, KH, KW, A, B) = x_shape, kernel_shape
    images = N * window.depth.output[0], H, W, KD * C_in
    how = ops.conv2d_algorithm(images, (KH, KW, KD * A, B), window.image)
    return how if KD == 1 else f"{how}, {KD} slices"


def conv3d_transpose_forward(
    x: Array, kernel: Array, bias: Array | None, window: Window3D, volume: tuple[int, ...], relu: bool = False
) -> Array:
    """Transposed 3-D convolution, then ReLU if asked for: each slice of x spreads over KD slices of y.

    Args:
        x: (N, OD, OH, OW, C_in), with (OD, OH, OW) = `window.output`.
        kernel: (KD, KH, KW, C_out, C_in): the outputs come first.
        bias, relu: as `conv2d_transpose_forward` takes them.
        window: over y, of one group. volume: y's (D, H, W), which a stride leaves open.

    Returns:
        y: (N, D, H, W, C_out).
    """
    slices = ops.conv2d_transpose_forward(_stacked(x), _of_slices(kernel), None, window.image, volume[1:])
    y = scatter(slices, (len(x), *volume, kernel.shape[3]), window.depth)
    if bias is not None:
        y += bias
    return ops.relu_forward(y) if relu else y


def conv3d_transpose_backward(
    dy: Array, x: Array, kernel: Array, window: Window3D, y: Array | None = None, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `conv3d_transpose_forward` with respect to its input, its kernel and its bias."""
    dz = dy if y is None else ops.relu_backward(dy, y)
    slices = gather(dz, window.depth)
    dx, dkernel, _ = ops.conv2d_transpose_backward(slices, _stacked(x), _of_slices(kernel), window.image, None, need_dx)
    # The sum over all voxels, slice by slice: a slice's mean times its pixels.
    dbias = ops.global_avgpool2d_forward(_stacked(dz)).sum(axis=0) * prod(dz.shape[2:4])
    return dx.reshape(x.shape) if need_dx else None, _of_volumes(dkernel, kernel.shape), dbias


def conv3d_transpose_algorithm(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window3D, volume: tuple[int, ...]
) -> str:
    """How the backend computes the transposed convolution of the slices, and over how many each spreads."""
    (N, D, *image, C_in), (KD, KH, KW, A, B) = x_shape, kernel_shape
    how = ops.conv2d_transpose_algorithm((N * D, *image, C_in), (KH, KW, KD * A, B), window.image, volume[1:])
    return how if KD == 1 else f"{how}, {KD} slices"


# --- in each slice, then along depth ----------------------------------------------------


def separably(op: Any, x: Array, of_image: Any, of_depth: Any) -> Array:
    """An op of images on each slice of x (N, D, H, W, C), and then along depth.

    Args:
        op: with one argument beside the images, which both calls are given; for all channels alike.
    """
    y = op(_stacked(x), of_image)
    y = y.reshape(*x.shape[:2], *y.shape[1:])
    z = op(_columns(y), of_depth)
    return z.reshape(len(x), z.shape[1], *y.shape[2:])


def _largest(op: Any, x: Array, of_image: Any, of_depth: Any) -> tuple[Array, tuple[Array, Array]]:
    """`separably`, of an op that also tells where the largest values are."""
    y, in_slice = op(_stacked(x), of_image)
    z, in_depth = op(_columns(y.reshape(*x.shape[:2], *y.shape[1:])), of_depth)
    return z.reshape(len(x), z.shape[1], *y.shape[1:]), (in_slice, in_depth)


def _largest_backward(
    op: Any, dy: Array, argmax: tuple[Array, Array], x_shape: tuple[int, ...], of_image: Any = (), of_depth: Any = ()
) -> Array:
    """The gradient of `_largest`, from that of its op, whose further arguments are `of_image` and `of_depth`."""
    (in_slice, in_depth), (N, D, *image) = argmax, x_shape
    dy = op(dy.reshape(in_depth.shape), in_depth, (N, D, 1, prod(in_slice.shape[1:])), *of_depth)
    return op(dy.reshape(in_slice.shape), in_slice, (N * D, *image), *of_image).reshape(x_shape)


def _mean_backward(op: Any, dy: Array, x_shape: tuple[int, ...], of_image: Any = (), of_depth: Any = ()) -> Array:
    """The gradient of `separably` for a mean, likewise."""
    (N, D, *image), pooled = x_shape, dy.shape[2:]
    dy = op(_columns(dy), (N, D, 1, prod(pooled)), *of_depth)
    return op(dy.reshape(N * D, *pooled), (N * D, *image), *of_image).reshape(x_shape)


def maxpool3d_forward(x: Array, window: Window3D) -> tuple[Array, tuple[Array, Array]]:
    """Largest value of each window, and where: in its slice, and which slice."""
    return _largest(ops.maxpool2d_forward, x, window.image, window.depth)


def maxpool3d_backward(dy: Array, argmax: tuple[Array, Array], x_shape: tuple[int, ...], window: Window3D) -> Array:
    """Gradient of `maxpool3d_forward`."""
    return _largest_backward(ops.maxpool2d_backward, dy, argmax, x_shape, (window.image,), (window.depth,))


def avgpool3d_forward(x: Array, window: Window3D) -> Array:
    """Mean of each window over its real voxels: how many they are is a product, so it is the mean of the slices' means."""
    return separably(ops.avgpool2d_forward, x, window.image, window.depth)


def avgpool3d_backward(dy: Array, x_shape: tuple[int, ...], window: Window3D) -> Array:
    """Gradient of `avgpool3d_forward`."""
    return _mean_backward(ops.avgpool2d_backward, dy, x_shape, (window.image,), (window.depth,))


def adaptive_maxpool3d_forward(x: Array, output: tuple[int, ...]) -> tuple[Array, tuple[Array, Array]]:
    """Largest value of each of OD x OH x OW windows."""
    return _largest(ops.adaptive_maxpool2d_forward, x, output[1:], (output[0], 1))


def adaptive_maxpool3d_backward(dy: Array, argmax: tuple[Array, Array], x_shape: tuple[int, ...]) -> Array:
    """Gradient of `adaptive_maxpool3d_forward`."""
    return _largest_backward(ops.adaptive_maxpool2d_backward, dy, argmax, x_shape)


def adaptive_avgpool3d_forward(x: Array, output: tuple[int, ...]) -> Array:
    """Mean of each of OD x OH x OW windows."""
    return separably(ops.adaptive_avgpool2d_forward, x, output[1:], (output[0], 1))


def adaptive_avgpool3d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of `adaptive_avgpool3d_forward`."""
    return _mean_backward(ops.adaptive_avgpool2d_backward, dy, x_shape)
