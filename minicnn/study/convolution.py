"""Convolution as a matrix product: the im2col matrix, and the row that one patch becomes."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle

from minicnn import shapes
from minicnn.backends.reference.im2col import im2col
from minicnn.backends.types import window_over
from minicnn.study.style import DIVERGING, StudyFigure, color, displayable, show_image, styled

__all__ = ["im2col_matrix"]

_MOST_NUMBERS = 25  # pixels of a patch that values are written into


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
    picture = displayable(image)
    white = 255 if picture.dtype == np.uint8 else 1
    x = np.asarray(image, np.float64).reshape(1, *picture.shape[:2], -1)
    size = shapes.pair(kernel_size, "kernel_size")
    window = window_over(x.shape[1:3], size, shapes.pair(strides, "strides"), padding)
    steps, pads, (OH, OW) = window.strides, window.pads, window.output
    if OH < 1 or OW < 1:
        raise ValueError(f"A kernel of {size} does not fit into an image of {x.shape[1:3]} with padding {padding!r}.")
    weights = _upright_edges(size) if kernel is None else np.asarray(kernel, np.float64)
    if weights.shape[:2] != size or weights.ndim > 3 or weights.shape[2:] not in ((), (x.shape[3],)):
        raise ValueError(f"`kernel` must be of shape {size}, or {(*size, x.shape[3])}. Received: kernel.shape={weights.shape}")
    weights = np.broadcast_to(weights.reshape(*size, -1), (*size, x.shape[3]))
    columns = im2col(x, window)[0]  # (OH, OW, KH, KW, C)
    if place is None:
        oy, ox = (int(i) for i in np.unravel_index(columns.reshape(OH, OW, -1).var(axis=-1).argmax(), (OH, OW)))
    else:
        oy, ox = place
    if not (0 <= oy < OH and 0 <= ox < OW):
        raise ValueError(f"`place` must be an output pixel, rows 0..{OH - 1} and columns 0..{OW - 1}. Received: place={place}")
    patch = columns[oy, ox]
    seen = im2col((picture / white).reshape(x.shape), window)[0, oy, ox]  # the patch as it is drawn
    matrix = columns.reshape(OH * OW, -1)
    row = oy * OW + ox

    figure = StudyFigure(figsize=(13.4, 3.9))
    figure.set_layout_engine("constrained", w_pad=0.1)
    if title:
        figure.suptitle(title)
    left, middle, factor, result, right = figure.subplots(1, 5, width_ratios=[1.25, 0.8, 0.8, 0.8, 1.5])
    mark: dict[str, Any] = {"fill": False, "linewidth": 2.0, "edgecolor": color(1)}
    show_image(left, picture)
    left.set(title=f"image {x.shape[1]}×{x.shape[2]}×{x.shape[3]}")
    left.add_patch(Rectangle((ox * steps[1] - pads[2] - 0.5, oy * steps[0] - pads[0] - 0.5), size[1], size[0], **mark))
    left.set_facecolor(matplotlib.rcParams["grid.color"])  # the padding
    margin = max(pads)
    left.set(xlim=(-0.5 - margin, x.shape[2] - 0.5 + margin), ylim=(x.shape[1] - 0.5 + margin, -0.5 - margin))

    show_image(middle, seen)
    middle.set(title=f"patch for output ({oy}, {ox})")
    if x.shape[3] == 1:
        _write_numbers(middle, patch[..., 0], seen[..., 0] > 0.5)
    product = (patch * weights).sum(axis=-1)
    for axis, values, heading in (
        (factor, weights.mean(axis=-1), "× kernel"),
        (result, product, f"= product, its sum is\nthe output: {product.sum():.3g}"),
    ):
        reach = float(np.abs(values).max()) or 1.0
        axis.imshow(values, cmap=DIVERGING, vmin=-reach, vmax=reach)
        axis.set(title=heading)
        _write_numbers(axis, values, np.abs(values) < 0.6 * reach)

    for axis in (left, middle, factor, result):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    right.imshow(matrix, cmap="gray", aspect="auto")
    right.set(
        title=f"im2col matrix {matrix.shape[0]}×{matrix.shape[1]}: row {row} is the patch",
        xlabel="place in the patch (ky, kx, channel)",
        ylabel=f"output pixel, {OW} · oy + ox",
    )
    right.add_patch(Rectangle((-0.5, row - 0.5), matrix.shape[1], 1, **mark))
    return figure


def _upright_edges(size: tuple[int, int]) -> np.ndarray:
    """A kernel that is 0 on even ground: the slope from left to right, smoothed up and down. Of 3×3: Sobel's."""
    slope = np.arange(size[1]) - (size[1] - 1) / 2
    weight = 1 + np.minimum(np.arange(size[0]), np.arange(size[0])[::-1])
    return np.asarray(np.outer(weight, slope))


def _write_numbers(axis: Any, values: np.ndarray, bright: np.ndarray) -> None:
    """Each value into its pixel, black where that is bright; none where there is no room."""
    if values.size > _MOST_NUMBERS:
        return
    for ky, kx in np.ndindex(*values.shape):
        text = f"{values[ky, kx]:.3g}"
        axis.text(kx, ky, text, ha="center", va="center", fontsize=8, color="black" if bright[ky, kx] else "white")
