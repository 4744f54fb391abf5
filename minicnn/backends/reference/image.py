"""Warping, resizing, filtering, recolouring and mixing of images: what augmentation is made of. And upsampling, a layer
among others.

Augmentation has no gradients: no weight stands before it, so that nobody reads one. Its codes: interpolation
0 nearest (halves away from 0), 1 bilinear; fill mode, for pixels outside of the image, 0 constant,
1 nearest (aaa|abcd|ddd), 2 reflect (cba|abcd|dcb), 3 wrap (bcd|abcd|abc), 4 mirror (dcb|abcd|cba).
"""

from __future__ import annotations

from math import ceil

from minicnn.backends.reference._namespace import array_namespace
from minicnn.backends.types import Array, Pair

_CONSTANT, _NEAREST, _REFLECT, _MIRROR = 0, 1, 2, 4  # fill modes; 3 is wrap


def fold_places(index: Array, size: int, fill_mode: int) -> Array:
    """The pixel that stands for pixel `index`, which may lie outside of 0 ... size - 1."""
    xp = array_namespace(index)
    if fill_mode in (_CONSTANT, _NEAREST):
        return xp.clip(index, 0, size - 1)
    if fill_mode == _REFLECT:
        index = index % (2 * size)
        return xp.where(index < size, index, 2 * size - 1 - index)
    if fill_mode == _MIRROR:
        index = index % max(2 * size - 2, 1)
        return xp.where(index < size, index, 2 * size - 2 - index)
    return index % size


def _pixels(x: Array, rows: Array, columns: Array, fill_mode: int, fill_value: float) -> Array:
    """x[n, rows[n,oy,ox], columns[n,oy,ox]], filled outside of the image; (N, OH, OW, C)."""
    xp = array_namespace(x)
    N, H, W, _ = x.shape
    rows, columns = rows.astype(xp.int64), columns.astype(xp.int64)
    y = x[xp.arange(N)[:, None, None], fold_places(rows, H, fill_mode), fold_places(columns, W, fill_mode)]
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
    # All places first, then the pixels there.
    a0, a1, a2, b0, b1, b2 = matrices.T[:, :, None, None]
    oy, ox = _grid(x, image)
    column, row = a0 * ox + a1 * oy + a2, b0 * ox + b1 * oy + b2
    return _sample2d(x, row, column, interpolation, fill_mode, fill_value)


def _grid(x: Array, image: Pair) -> tuple[Array, Array]:
    """The rows, (OH, 1), and the columns, (OW,), of an image's pixels, as numbers of the dtype of x."""
    xp = array_namespace(x)
    OH, OW = image
    return xp.arange(OH, dtype=x.dtype)[:, None], xp.arange(OW, dtype=x.dtype)


def projective_warp2d(x: Array, matrices: Array, image: Pair, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """As `affine_warp2d` with a projective map (a view from another angle):

        (row, column) = (b0*ox + b1*oy + b2, a0*ox + a1*oy + a2) / (c0*ox + c1*oy + 1)

    Args:
        matrices: (N, 8), each (a0, a1, a2, b0, b1, b2, c0, c1).
    """
    row, column = _projected(x, matrices, image)
    return _sample2d(x, row, column, interpolation, fill_mode, fill_value)


def _projected(like: Array, matrices: Array, image: Pair) -> tuple[Array, Array]:
    """(row, column) of `projective_warp2d`."""
    a0, a1, a2, b0, b1, b2, c0, c1 = matrices.T[:, :, None, None]
    oy, ox = _grid(like, image)
    depth = c0 * ox + c1 * oy + 1
    return (b0 * ox + b1 * oy + b2) / depth, (a0 * ox + a1 * oy + a2) / depth


def projective_warp2d_backward(
    dy: Array, x_shape: tuple[int, ...], matrices: Array, interpolation: int, fill_mode: int
) -> Array:
    """Gradient of `projective_warp2d` at the images, (N, H, W, C): each dy goes to the pixels it was made of, by weights."""
    return _spread2d(dy, x_shape, *_projected(dy, matrices, dy.shape[1:3]), interpolation, fill_mode)


def displace2d(x: Array, down: Array, right: Array, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """Each output pixel shows the image at its own place plus a shift:

        y[n,oy,ox,c] = x[n,:,:,c] at the place (row, column) = (oy + down[n,oy,ox], ox + right[n,oy,ox])

    Args:
        x: (N, H, W, C). down, right: (N, H, W), in pixels.
        interpolation, fill_mode, fill_value: as in `affine_warp2d`.
    """
    oy, ox = _grid(x, x.shape[1:3])
    return _sample2d(x, oy + down, ox + right, interpolation, fill_mode, fill_value)


def displace2d_backward(dy: Array, down: Array, right: Array, interpolation: int, fill_mode: int) -> Array:
    """Gradient of `displace2d` at the images, (N, H, W, C): each dy goes to the pixels it was made of, by their weights."""
    oy, ox = _grid(dy, dy.shape[1:3])
    return _spread2d(dy, dy.shape, oy + down, ox + right, interpolation, fill_mode)


def _sample2d(x: Array, row: Array, column: Array, interpolation: int, fill_mode: int, fill_value: float) -> Array:
    """Images at given places: y[n,oy,ox,c] = x[n,:,:,c] at (row[n,oy,ox], column[n,oy,ox]).

    Args:
        x: (N, H, W, C). row, column: (N, OH, OW), of its dtype.
        interpolation, fill_mode, fill_value: as in `affine_warp2d`.

    Returns:
        y: (N, OH, OW, C).
    """
    xp = array_namespace(x)
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


def _spread2d(dy: Array, x_shape: tuple[int, ...], row: Array, column: Array, interpolation: int, fill_mode: int) -> Array:
    """Gradient of `_sample2d` at the images."""
    xp = array_namespace(dy)
    N, H, W, _ = x_shape
    if interpolation == 0:
        half = dy.dtype.type(0.5)
        row, column = (xp.trunc(place + xp.copysign(half, place)) for place in (row, column))
    top, left = xp.floor(row), xp.floor(column)
    down, right = row - top, column - left  # 0 where nearest: all goes to the first corner
    dx = xp.zeros(x_shape, dy.dtype)
    for y, row_weight in ((top, 1 - down), (top + 1, down)):
        for x, column_weight in ((left, 1 - right), (left + 1, right)):
            weight = row_weight * column_weight
            if fill_mode == _CONSTANT:
                weight = weight * ((y >= 0) & (y < H) & (x >= 0) & (x < W))
            rows, columns = (fold_places(place.astype(xp.int64), size, fill_mode) for place, size in ((y, H), (x, W)))
            xp.add.at(dx, (xp.arange(N)[:, None, None], rows, columns), (weight[..., None] * dy).astype(dy.dtype))
    return dx


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


def channel_extremes(x: Array) -> tuple[Array, Array]:
    """The smallest and the largest value of each channel of each image, (N, C) each, for x of (N, H, W, C)."""
    return x.min(axis=(1, 2)), x.max(axis=(1, 2))


def _to_bytes(x: Array, low: float, high: float) -> Array:
    """x, whose values go from `low` to `high`, with values from 0 to 255."""
    return x if (low, high) == (0, 255) else (x - low) / (high - low) * 255


def _from_bytes(x: Array, low: float, high: float) -> Array:
    """`_to_bytes` undone."""
    return x if (low, high) == (0, 255) else x / 255 * (high - low) + low


def equalize(x: Array, bins: int, low: float, high: float) -> Array:
    """Histogram equalization: the values of a channel are spread so that each range of values is as frequent as another.

        With values v from 0 to 255, i = floor(v * (bins - 1) / 255), and F[i] the number of pixels of the channel, in
        the whole batch, whose bin is i or less:  y = round(255 * (F[i] - F[first]) / (F[last] - F[first])),
        first being the first bin that is not empty. A channel whose pixels are all in one bin stays.

    Args:
        x: (N, H, W, C), values from `low` to `high`, as those of y.

    Source: Gonzalez & Woods, Digital Image Processing, section 3.3.
    """
    xp = array_namespace(x)
    v = _to_bytes(x, low, high)
    index = xp.clip((v * (bins - 1) / 255).astype(xp.int64), 0, bins - 1)
    channels = []
    for c in range(x.shape[3]):
        histogram = xp.zeros(bins, xp.int64)
        xp.add.at(histogram, index[..., c].ravel(), 1)
        F = xp.cumsum(histogram)
        first = xp.where(histogram > 0, F, F[-1]).min()
        levels = xp.rint(255 * (F - first) / xp.maximum(F[-1] - first, 1)).astype(x.dtype)
        channels.append(xp.where(first < F[-1], levels[index[..., c]], v[..., c]))
    return _from_bytes(xp.stack(channels, axis=3), low, high)


def equalize_tiles(x: Array, tiles: Pair, clip_limit: float, low: float, high: float) -> Array:
    """Histogram equalization of each part of an image by itself, without making noise of flat parts (CLAHE).

        With values v from 0 to 255, of each of GH x GW tiles of TH x TW pixels (beyond the image, itself turned over):
        h[i] = how many pixels have floor(v) = i; what is above clip_limit * TH * TW / 256 is shared among all i.
        F[i] = h[0] + ... + h[i],  level[i] = clip(255 * (F[i] - F[0]) / (TH * TW - F[0]), 0, 255)

        y = level[floor(v)], linear between the four tiles whose middles are around the pixel.

    Args:
        x: (N, H, W, C), values from `low` to `high`, as those of y. tiles: (GH, GW). clip_limit: 0 for none.

    Source: Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV.
    """
    xp = array_namespace(x)
    (N, H, W, C), (GH, GW) = x.shape, tiles
    TH, TW = -(-H // GH), -(-W // GW)
    v = xp.pad(_to_bytes(x, low, high), ((0, 0), (0, TH * GH - H), (0, TW * GW - W), (0, 0)), mode="symmetric")
    v = xp.clip(v, 0, 255).astype(xp.int64)
    n, c = xp.arange(N)[:, None, None, None], xp.arange(C)
    rows, columns = xp.arange(TH * GH)[:, None, None], xp.arange(TW * GW)[:, None]
    h = xp.zeros((N, GH, GW, C, 256), x.dtype)
    xp.add.at(h, (n, rows // TH, columns // TW, c, v), 1)
    if clip_limit > 0:
        clipped = xp.minimum(h, clip_limit * TH * TW / 256)
        h = clipped + (h - clipped).sum(axis=-1, keepdims=True) / 256
    F = xp.cumsum(h, axis=-1)
    first = F[..., :1]
    rest = TH * TW - first
    levels = xp.clip((F - first) * 255 / xp.where(rest == 0, 1, rest), 0, 255)
    levels = xp.pad(levels, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0)), mode="edge")
    row, column = (rows - TH / 2) / TH + 1, (columns - TW / 2) / TW + 1  # in tiles, one more beyond each side
    top, left = xp.floor(row).astype(xp.int64), xp.floor(column).astype(xp.int64)
    down, right = (row - top).astype(x.dtype), (column - left).astype(x.dtype)
    above, below = (
        (1 - right) * levels[n, place, left, c, v] + right * levels[n, place, xp.minimum(left + 1, GW + 1), c, v]
        for place in (top, xp.minimum(top + 1, GH + 1))
    )
    y = xp.ascontiguousarray(((1 - down) * above + down * below)[:, :H, :W])
    return _from_bytes(y, low, high)


def solarize(x: Array, additions: Array, thresholds: Array, low: float, high: float) -> Array:
    """With values v from 0 to 255: w = clip(v + additions[n], 0, 255), and 255 - w where w is thresholds[n] or more.

    Args:
        x: (N, H, W, C), values from `low` to `high`, as those of y. additions, thresholds: (N,), between 0 and 255.
    """
    xp = array_namespace(x)
    w = xp.clip(_to_bytes(x, low, high) + additions[:, None, None, None], 0, 255)
    return _from_bytes(xp.where(w < thresholds[:, None, None, None], w, 255 - w), low, high)


def posterize(x: Array, bits: Array, low: float, high: float) -> Array:
    """With values v from 0 to 255: the `bits[n]` highest bits of v, the others 0.

    Args:
        x: (N, H, W, C), values from `low` to `high`, as those of y. bits: (N,), from 1 to 8.
    """
    step = (2 ** (8 - bits)).astype(x.dtype)[:, None, None, None]
    return _from_bytes(array_namespace(x).floor(_to_bytes(x, low, high) / step) * step, low, high)


def grayscale(x: Array) -> Array:
    """The luminance 0.2989 R + 0.587 G + 0.114 B of images (N, H, W, 3), as (N, H, W, 1). Source: ITU-R BT.601."""
    return 0.2989 * x[..., :1] + 0.587 * x[..., 1:2] + 0.114 * x[..., 2:]


def adjust_hsv(x: Array, hue_shifts: Array, saturation_factors: Array, low: float, high: float) -> Array:
    """The hue of each image's pixels turned, and their saturation multiplied.

        value V = max(R, G, B), saturation S = (V - min(R, G, B)) / V (0 where V <= 0), and the hue H, in turns:
        ((G - B) / D) / 6 where R is largest, (2 + (B - R) / D) / 6 where G is, else (4 + (R - G) / D) / 6,
        with D = V - min(R, G, B); 0 where D = 0; one more where it is negative.

        H' = H + hue_shifts[n], plus or minus 1 where it left [0, 1];  S' = clip(S * saturation_factors[n], low, high)

        back: R' = V (1 - S' + S' r), r = clip(|6 H' - 3| - 1, 0, 1), and with g = clip(2 - |6 H' - 2|, 0, 1),
        b = clip(2 - |6 H' - 4|, 0, 1) likewise.

    Args:
        x: (N, H, W, 3), red, green, blue; V has their unit. hue_shifts, saturation_factors: (N,).

    Source: Smith 1978, doi:10.1145/965139.807361.
    """
    xp = array_namespace(x)
    hue, saturation, value = (rgb_to_hsv(x)[..., c] for c in range(3))
    hue = hue + hue_shifts[:, None, None]
    hue = xp.where(hue > 1, hue - 1, xp.where(hue < 0, hue + 1, hue))
    saturation = xp.clip(saturation * saturation_factors[:, None, None], low, high)
    return hsv_to_rgb(xp.stack([hue, saturation, value], axis=3))


def rgb_to_hsv(x: Array) -> Array:
    """Hue H, saturation S and value V of `adjust_hsv` of colors (..., 3)."""
    xp = array_namespace(x)
    red, green, blue = (x[..., c] for c in range(3))
    value = x.max(axis=-1)
    spread = value - x.min(axis=-1)
    safe = xp.where(spread > 0, spread, 1)
    saturation = xp.where(value > 0, spread / xp.where(value > 0, value, 1), 0)
    hue = xp.where(
        red == value,
        (green - blue) / safe,
        xp.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = xp.where(spread > 0, hue, 0) / 6
    return xp.stack([xp.where(hue < 0, hue + 1, hue), saturation, value], axis=-1)


def hsv_to_rgb(x: Array) -> Array:
    """The colors (..., 3) of a hue, a saturation and a value: the way back of `adjust_hsv`."""
    xp = array_namespace(x)
    hue, saturation, value = 6 * x[..., 0], x[..., 1], x[..., 2]
    shares = xp.abs(hue - 3) - 1, 2 - xp.abs(hue - 2), 2 - xp.abs(hue - 4)
    return xp.stack([value * (1 - saturation + saturation * xp.clip(share, 0, 1)) for share in shares], axis=-1)


def filter2d(x: Array, kernel: Array) -> Array:
    """Each channel of each image filtered, with zeros outside of the image.

        y[n,h,w,c] = sum over ky,kx of kernel[ky,kx] * x[n, h + ky - KH//2, w + kx - KW//2, c]

    Args:
        x: (N, H, W, C). kernel: (KH, KW), both odd.
    """
    xp = array_namespace(x)
    (_, H, W, _), (KH, KW) = x.shape, kernel.shape
    padded = xp.pad(x, ((0, 0), (KH // 2, KH // 2), (KW // 2, KW // 2), (0, 0)))
    y = 0
    for ky in range(KH):
        for kx in range(KW):
            y = y + kernel[ky, kx] * padded[:, ky : ky + H, kx : kx + W]
    return y


def blend_images(x: Array, z: Array, weights: Array, low: float, high: float) -> Array:
    """y[n] = x[n] + weights[n] * (z[n] - x[n]), clipped to [low, high].

    Args:
        x: (N, H, W, C). z: of this shape, or (N, H, W, 1). weights: (N,).
    """
    return array_namespace(x).clip(x + weights[:, None, None, None] * (z - x), low, high)


def choose_images(x: Array, z: Array, chosen: Array) -> Array:
    """y[n] = z[n] where chosen[n], else x[n].

    Args:
        x: (N, H, W, C). z: of this shape, or (N, H, W, 1). chosen: bool (N,).
    """
    return array_namespace(x).where(chosen[:, None, None, None], z, x)


def paste_boxes(x: Array, z: Array, boxes: Array) -> Array:
    """y[n] = z[n] within a box, else x[n].

    Args:
        x, z: (N, H, W, C).
        boxes: (N, 4), each (top, bottom, left, right): the pixels of rows top <= oy < bottom, columns likewise.
    """
    oy, ox = _grid(x, x.shape[1:3])
    top, bottom, left, right = boxes.T[:, :, None, None]
    inside = (oy >= top) & (oy < bottom) & (ox >= left) & (ox < right)
    return array_namespace(x).where(inside[..., None], z, x)


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


def resampling_filter(distance: Array, radius: int) -> Array:
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
    weights = resampling_filter(places[:, None] - xp.arange(size), radius)
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
