"""Convolution as a matrix product: the im2col matrix, and the row that one patch becomes."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle

from minicnn import shapes
from minicnn.backends.reference.im2col import im2col
from minicnn.backends.types import Window, window_over
from minicnn.study.style import DIVERGING, StudyFigure, color, displayable, show_image, styled

__all__ = ["Slid", "im2col_matrix", "marked", "show_slid", "slide", "write_numbers"]

_MOST_NUMBERS = 25  # pixels of a patch that values are written into


class Slid(NamedTuple):
    """A kernel at all its places on an image.

    Attributes:
        picture: the image as it is drawn. window: over it.
        weights: of the kernel, (KH, KW, channels).
        columns: the patch under the kernel at each place, (OH, OW, KH, KW, channels).
        seen: the same patches, of `picture`, from 0 to 1.
    """

    picture: np.ndarray
    window: Window
    weights: np.ndarray
    columns: np.ndarray
    seen: np.ndarray

    def products(self, oy: int, ox: int) -> np.ndarray:
        """The patch at a place times the kernel, summed over the channels: (KH, KW). Its sum is the output there."""
        return np.asarray((self.columns[oy, ox] * self.weights).sum(axis=-1))

    def corner(self, oy: int, ox: int) -> tuple[float, float]:
        """Where on the picture the kernel's upper left corner lies, (x, y) as Matplotlib counts: pixels are round whole
        numbers."""
        (SH, SW), (top, _, left, _) = self.window.strides, self.window.pads
        return ox * SW - left - 0.5, oy * SH - top - 0.5


def slide(image: Any, kernel_size: Any, kernel: Any, strides: Any, padding: str) -> Slid:
    """See `im2col_matrix`."""
    picture = displayable(image)
    white = 255 if picture.dtype == np.uint8 else 1
    x = np.asarray(image, np.float64).reshape(1, *picture.shape[:2], -1)
    size = shapes.pair(kernel_size, "kernel_size")
    window = window_over(x.shape[1:3], size, shapes.pair(strides, "strides"), padding)
    if min(window.output) < 1:
        raise ValueError(f"A kernel of {size} does not fit into an image of {x.shape[1:3]} with padding {padding!r}.")
    weights = _upright_edges(size) if kernel is None else np.asarray(kernel, np.float64)
    if weights.shape[:2] != size or weights.ndim > 3 or weights.shape[2:] not in ((), (x.shape[3],)):
        raise ValueError(f"`kernel` must be of shape {size}, or {(*size, x.shape[3])}. Received: kernel.shape={weights.shape}")
    weights = np.broadcast_to(weights.reshape(*size, -1), (*size, x.shape[3]))
    seen = im2col((picture / white).reshape(x.shape), window)[0]
    return Slid(picture, window, weights, im2col(x, window)[0], seen)


def marked(corner: tuple[float, float], width: float, height: float) -> Rectangle:
    """A frame round what is looked at."""
    return Rectangle(corner, width, height, fill=False, linewidth=2.0, edgecolor=color(1))


def show_slid(axis: Any, slid: Slid) -> Rectangle:
    """Draw the image, with its padding in grey, and a frame as large as the kernel, which is returned."""
    height, width = slid.picture.shape[:2]
    show_image(axis, slid.picture)
    axis.set(title=f"image {height}×{width}×{slid.weights.shape[2]}")
    axis.set_facecolor(matplotlib.rcParams["grid.color"])  # the padding
    margin = max(slid.window.pads)
    axis.set(xlim=(-0.5 - margin, width - 0.5 + margin), ylim=(height - 0.5 + margin, -0.5 - margin))
    frame = marked(slid.corner(0, 0), slid.weights.shape[1], slid.weights.shape[0])
    axis.add_patch(frame)
    return frame


@styled
def im2col_matrix(
    image: Any,
    kernel_size: Any = 3,
    *,
    kernel: Any = None,
    strides: Any = 1,
    padding: str = "valid",
    place: tuple[int, int] | None = None,
    title: str | None = None,
) -> StudyFigure:
    """An image, the patch under the kernel at one place, its product with the kernel, and the matrix whose rows are all
    patches.

    Convolution multiplies this matrix, (OH·OW, KH·KW·C_in), by the kernel as (KH·KW·C_in, C_out).

    Args:
        image: (H, W) or (H, W, channels). Small ones show more: at most 32×32 is legible.
        kernel_size, strides: an int, or (height, width).
        kernel: (KH, KW) or (KH, KW, channels), of that size; default one that finds upright edges, the same for all
            channels (of 3×3: Sobel's).
        padding: "valid" or "same".
        place: (oy, ox), the output pixel whose patch is marked; default the one whose patch varies most.
        style: "light" or "dark".

    Raises:
        ValueError: if the kernel does not fit the image, or there is no output pixel at `place`.
    """
    slid = slide(image, kernel_size, kernel, strides, padding)
    columns, (OH, OW) = slid.columns, slid.window.output
    if place is None:
        oy, ox = (int(i) for i in np.unravel_index(columns.reshape(OH, OW, -1).var(axis=-1).argmax(), (OH, OW)))
    else:
        oy, ox = place
    if not (0 <= oy < OH and 0 <= ox < OW):
        raise ValueError(f"`place` must be an output pixel, rows 0..{OH - 1} and columns 0..{OW - 1}. Received: place={place}")
    patch, seen, product = columns[oy, ox], slid.seen[oy, ox], slid.products(oy, ox)
    matrix = columns.reshape(OH * OW, -1)
    row = oy * OW + ox

    figure = StudyFigure(figsize=(13.4, 3.9))
    figure.set_layout_engine("constrained", w_pad=0.1)
    if title:
        figure.suptitle(title)
    left, middle, factor, result, right = figure.subplots(1, 5, width_ratios=[1.25, 0.8, 0.8, 0.8, 1.5])
    show_slid(left, slid).set_xy(slid.corner(oy, ox))

    show_image(middle, seen)
    middle.set(title=f"patch for output ({oy}, {ox})")
    if patch.shape[2] == 1:
        write_numbers(middle, patch[..., 0], seen[..., 0] > 0.5)
    for axis, values, heading in (
        (factor, slid.weights.mean(axis=-1), "× kernel"),
        (result, product, f"= product, its sum is\nthe output: {product.sum():.3g}"),
    ):
        reach = float(np.abs(values).max()) or 1.0
        axis.imshow(values, cmap=DIVERGING, vmin=-reach, vmax=reach)
        axis.set(title=heading)
        write_numbers(axis, values, np.abs(values) < 0.6 * reach)

    for axis in (left, middle, factor, result):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    right.imshow(matrix, cmap="gray", aspect="auto")
    right.set(
        title=f"im2col matrix {matrix.shape[0]}×{matrix.shape[1]}: row {row} is the patch",
        xlabel="place in the patch (ky, kx, channel)",
        ylabel=f"output pixel, {OW} · oy + ox",
    )
    right.add_patch(marked((-0.5, row - 0.5), matrix.shape[1], 1))
    return figure


def _upright_edges(size: tuple[int, int]) -> np.ndarray:
    """A kernel that is 0 on even ground: the slope from left to right, smoothed up and down. Of 3×3: Sobel's."""
    slope = np.arange(size[1]) - (size[1] - 1) / 2
    weight = 1 + np.minimum(np.arange(size[0]), np.arange(size[0])[::-1])
    return np.asarray(np.outer(weight, slope))


def write_numbers(axis: Any, values: np.ndarray, bright: np.ndarray) -> None:
    """Each value into its pixel, black where that is bright; none where there is no room."""
    if values.size > _MOST_NUMBERS:
        return
    for ky, kx in np.ndindex(*values.shape):
        text = f"{values[ky, kx]:.3g}"
        axis.text(kx, ky, text, ha="center", va="center", fontsize=8, color="black" if bright[ky, kx] else "white")
