"""Warping, resizing and recolouring of images: what augmentation is made of. And upsampling, which is a layer among others.

Augmentation has no gradients: no weight stands before it, so that nobody reads one. Its codes: interpolation
0 nearest (halves away from 0), 1 bilinear; fill mode, for pixels outside of the image, 0 constant,
1 nearest (aaa|abcd|ddd), 2 reflect (cba|abcd|dcb), 3 wrap (bcd|abcd|abc).
"""

from __future__ import annotations

from math import ceil

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.types import Array, Pair

_CONSTANT, _NEAREST, _REFLECT = 0, 1, 2  # fill modes; 3 is wrap


def _folded(index: Array, size: int, fill_mode: int) -> Array:
    """The pixel that stands for pixel `index`, which may lie outside of 0 ... size - 1."""
    xp = array_namespace(index)
    if fill_mode in (_CONSTANT, _NEAREST):
        return xp.clip(index, 0, size - 1)
    if fill_mode == _REFLECT:
        index = index % (2 * size)
        return xp.where(index < size, index, 2 * size - 1 - index)
    return index % size


def _pixels(x: Array, rows: Array, columns: Array, fill_mode: int, fill_value: float) -> Array:
    """x[n, rows[n,oy,ox], columns[n,oy,ox]], filled outside of the image; (N, OH, OW, C)."""
    xp = array_namespace(x)
    N, H, W, _ = x.shape
    rows, columns = rows.astype(xp.int64), columns.astype(xp.int64)
    y = x[xp.arange(N)[:, None, None], _folded(rows, H, fill_mode), _folded(columns, W, fill_mode)]
    if fill_mode != _CONSTANT:
        return y
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    return xp.where(inside[..., None], y, fill_value)


def affine_warp2d(x: Array, matrices: Array, image: Pair, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """Each image under its own affine map, given from output to input.

        y[n,oy,ox,c] = x[n,:,:,c] at the place (row, column) = (b0*ox + b1*oy + b2, a0*ox + a1*oy + a2)

    between pixels interpolated, outside of the image filled; a pixel's place is its center's.

    Args:
        x: (N, H, W, C).
        matrices: (N, 6), each (a0, a1, a2, b0, b1, b2).
        image: (OH, OW).
        interpolation, fill_mode: codes, see above. fill_value: of the constant fill mode.

    Returns:
        y: (N, OH, OW, C).

    Cost: about 10*N*OH*OW*C FLOPs (bilinear).
    """
    # All places first, then the pixels around them.
    xp = array_namespace(x)
    OH, OW = image
    oy, ox = xp.arange(OH, dtype=x.dtype)[:, None], xp.arange(OW, dtype=x.dtype)
    a0, a1, a2, b0, b1, b2 = matrices.T[:, :, None, None]
    column, row = a0 * ox + a1 * oy + a2, b0 * ox + b1 * oy + b2
    if interpolation == 0:
        half = x.dtype.type(0.5)
        row, column = (xp.trunc(place + xp.copysign(half, place)) for place in (row, column))
        return _pixels(x, row, column, fill_mode, fill_value)
    top, left = xp.floor(row), xp.floor(column)
    down, right = (row - top)[..., None], (column - left)[..., None]
    above, below = (
        (1 - right) * _pixels(x, y, left, fill_mode, fill_value) + right * _pixels(x, y, left + 1, fill_mode, fill_value)
        for y in (top, top + 1)
    )
    return (1 - down) * above + down * below


def _resize_axis(x: Array, axis: int, new_size: int) -> Array:
    """x at `new_size` places along one axis, linear between neighbours."""
    xp = array_namespace(x)
    size = x.shape[axis]
    place = xp.clip((xp.arange(new_size, dtype=x.dtype) + 0.5) * x.dtype.type(size / new_size) - 0.5, 0, size - 1)
    first = xp.floor(place)
    weight = (place - first).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    first = first.astype(xp.int64)
    return (1 - weight) * x.take(first, axis=axis) + weight * x.take(xp.minimum(first + 1, size - 1), axis=axis)


def resize2d_bilinear(x: Array, image: Pair) -> Array:
    """Images at another size. A pixel is an area, not a point: the corners of the image stay its corners.

        row = clip((oy + 1/2) * H / OH - 1/2, 0, H - 1), column likewise; y is x there, linear between its 4 neighbours.

    Args:
        x: (N, H, W, C). image: (OH, OW).

    Returns:
        y: (N, OH, OW, C).
    """
    # Along the rows, then along the columns.
    return _resize_axis(_resize_axis(x, 1, image[0]), 2, image[1])


def resize2d_nearest(x: Array, image: Pair) -> Array:
    """As `resize2d_bilinear` with the pixel that the place falls in: row = floor((oy + 1/2) * H / OH), column likewise."""
    # In whole numbers: floor((oy + 1/2) * H / OH) = ((2*oy + 1) * H) // (2*OH).
    xp = array_namespace(x)
    rows, columns = (((2 * xp.arange(new) + 1) * old) // (2 * new) for new, old in zip(image, x.shape[1:3]))
    return x.take(rows, axis=1).take(columns, axis=2)


def adjust_colors(x: Array, factors: Array, offsets: Array, low: float, high: float) -> Array:
    """y[n,h,w,c] = x[n,h,w,c] * factors[n,c] + offsets[n,c], clipped to [low, high].

    Args:
        x: (N, H, W, C). factors, offsets: (N, C).
    """
    return array_namespace(x).clip(x * factors[:, None, None] + offsets[:, None, None], low, high)


def upsample2d_nearest_forward(x: Array, size: Pair) -> Array:
    """Each pixel as a block of FH x FW pixels: y[n,oy,ox,c] = x[n, oy // FH, ox // FW, c].

    Args:
        x: (N, H, W, C). size: (FH, FW).

    Returns:
        y: (N, H*FH, W*FW, C).
    """
    (N, H, W, C), (FH, FW) = x.shape, size
    blocks = array_namespace(x).broadcast_to(x[:, :, None, :, None, :], (N, H, FH, W, FW, C))
    return blocks.copy().reshape(N, H * FH, W * FW, C)


def upsample2d_nearest_backward(dy: Array, size: Pair) -> Array:
    """Gradient of `upsample2d_nearest_forward`: dx[n,h,w,c] is the sum of dy over the pixel's block; (N, H, W, C)."""
    (N, OH, OW, C), (FH, FW) = dy.shape, size
    return dy.reshape(N, OH // FH, FH, OW // FW, FW, C).sum(axis=(2, 4))


def upsample2d_forward(x: Array, image: Pair, radius: int) -> Array:
    """Images at a larger size, smooth between their pixels: along each axis a weighted mean of the pixels nearby.

        y[o] = (sum over h of f(place - h) * x[h]) / (sum over h of f(place - h)),  place = (o + 1/2) * H / OH - 1/2,

    h over the pixels of the image that lie nearer than the radius; first along the rows, then along the columns.

        radius 1, bilinear: f(d) = 1 - |d|
        radius 2, bicubic:  f(d) = 3/2 |d|**3 - 5/2 |d|**2 + 1 for |d| <= 1, else -1/2 |d|**3 + 5/2 |d|**2 - 4 |d| + 2
        radius r of 3 or 5, Lanczos: f(d) = sinc(d) * sinc(d / r),  sinc(d) = sin(pi d) / (pi d)

    Args:
        x: (N, H, W, C). image: (OH, OW). radius: names the filter f.

    Returns:
        y: (N, OH, OW, C).

    Source: Keys 1981, doi:10.1109/TASSP.1981.1163711 (bicubic); Duchon 1979, doi:10.1175/1520-0450(1979)018 (Lanczos).
    """
    for axis, new_size in zip((1, 2), image):
        x = _band_product(x, axis, *_mixing_band(x, x.shape[axis], new_size, radius))
    return x


def upsample2d_backward(dy: Array, image: Pair, radius: int) -> Array:
    """Gradient of `upsample2d_forward`: each dy goes to the pixels it was mixed of, by their weights.

    Args:
        image: (H, W).

    Returns:
        dx: (N, H, W, C).
    """
    for axis, size in zip((1, 2), image):
        dy = _band_product(dy, axis, *_unmixing_band(dy, size, dy.shape[axis], radius))
    return dy


def _filter(distance: Array, radius: int) -> Array:
    """f of `upsample2d_forward`, 0 from the radius on."""
    xp = array_namespace(distance)
    d = xp.abs(distance)
    if radius == 1:
        return xp.maximum(1 - d, 0)
    if radius == 2:
        return xp.where(d <= 1, (1.5 * d - 2.5) * d**2 + 1, xp.where(d < 2, ((2.5 - 0.5 * d) * d - 4) * d + 2, 0))
    return xp.where(d < radius, xp.sinc(d) * xp.sinc(d / radius), 0)


Band = tuple[Array, Array, int]  # a matrix, whose row i is 0 but in so many places from first[i] on


def _mixing_band(x: Array, size: int, new_size: int, radius: int) -> Band:
    """(new_size, size): how much of each pixel there is in each new one along an axis; dtype and device of x."""
    xp = array_namespace(x)
    places = (xp.arange(new_size) + 0.5) * (size / new_size) - 0.5
    weights = _filter(places[:, None] - xp.arange(size), radius)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return weights.astype(x.dtype), xp.floor(places).astype(xp.int64) - radius + 1, 2 * radius


def _unmixing_band(dy: Array, size: int, new_size: int, radius: int) -> Band:
    """Its transposed. The new pixels that pixel h is part of begin behind (h - radius + 1/2) * new_size / size - 1/2."""
    xp, scale = array_namespace(dy), new_size / size
    first = xp.floor((xp.arange(size) - radius + 0.5) * scale - 0.5).astype(xp.int64)
    matrix = xp.ascontiguousarray(_mixing_band(dy, size, new_size, radius)[0].T)
    return matrix, first, ceil(2 * radius * scale) + 2


def _band_product(x: Array, axis: int, matrix: Array, first: Array, width: int) -> Array:
    """matrix @ x along an axis."""
    xp, size = array_namespace(x), x.shape[axis]
    rows = xp.arange(first.size)
    y = 0
    for place in (first + k for k in range(width)):
        inside = xp.clip(place, 0, size - 1)
        weights = xp.where(place == inside, matrix[rows, inside], 0)
        y = y + weights.reshape([-1 if i == axis else 1 for i in range(x.ndim)]) * x.take(inside, axis=axis)
    return y
