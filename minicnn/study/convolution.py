"""Convolution as a matrix product: the im2col matrix, and the row that one patch becomes."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle

from minicnn import shapes
from minicnn.backends.reference.im2col import im2col
from minicnn.study.style import StudyFigure, color, displayable, show_image, styled

__all__ = ["im2col_matrix"]


@styled
def im2col_matrix(
    image: Any,
    kernel_size: Any = 3,
    *,
    strides: Any = 1,
    padding: str = "valid",
    place: tuple[int, int] = (0, 0),
    title: str | None = None,
) -> StudyFigure:
    """An image, the patch under the kernel at one place, and the matrix whose rows are all patches.

    Convolution multiplies this matrix, (OH·OW, KH·KW·C_in), by the kernel as (KH·KW·C_in, C_out).

    Args:
        image: (H, W) or (H, W, channels). Small ones show more: at most 32×32 is legible.
        kernel_size, strides: an int, or (height, width).
        padding: "valid" or "same".
        place: (oy, ox), the output pixel whose patch is marked.
        style: "light" or "dark".

    Raises:
        ValueError: if the kernel does not fit the image, or there is no output pixel at `place`.
    """
    picture = displayable(image)
    white = 255 if picture.dtype == np.uint8 else 1
    x = np.asarray(image, np.float64).reshape(1, *picture.shape[:2], -1)
    window, steps = shapes.pair(kernel_size, "kernel_size"), shapes.pair(strides, "strides")
    pads = shapes.resolve_padding(padding, x.shape[1:3], window, steps)
    OH, OW = shapes.window_output(x.shape[1:3], window, steps, pads)
    if OH < 1 or OW < 1:
        raise ValueError(f"A kernel of {window} does not fit into an image of {x.shape[1:3]} with padding {padding!r}.")
    oy, ox = place
    if not (0 <= oy < OH and 0 <= ox < OW):
        raise ValueError(f"`place` must be an output pixel, rows 0..{OH - 1} and columns 0..{OW - 1}. Received: place={place}")
    columns = im2col(x, window, steps, pads, (1, 1))[0]  # (OH, OW, KH, KW, C)
    patch = columns[oy, ox]
    seen = im2col((picture / white).reshape(x.shape), window, steps, pads, (1, 1))[0, oy, ox]  # the patch as it is drawn
    matrix = columns.reshape(OH * OW, -1)
    row = oy * OW + ox

    figure = StudyFigure(figsize=(10.0, 4.6), layout="constrained")
    if title:
        figure.suptitle(title)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.0, 0.6, 1.5])
    mark: dict[str, Any] = {"fill": False, "linewidth": 2.0, "edgecolor": color(1)}
    show_image(left, picture)
    left.set(title=f"image {x.shape[1]}×{x.shape[2]}×{x.shape[3]}", xticks=[], yticks=[])
    left.add_patch(Rectangle((ox * steps[1] - pads[2] - 0.5, oy * steps[0] - pads[0] - 0.5), window[1], window[0], **mark))
    left.set_facecolor(matplotlib.rcParams["grid.color"])  # the padding
    margin = max(pads)
    left.set(xlim=(-0.5 - margin, x.shape[2] - 0.5 + margin), ylim=(x.shape[1] - 0.5 + margin, -0.5 - margin))

    show_image(middle, seen)
    middle.set(title=f"patch for output ({oy}, {ox})", xticks=[], yticks=[])
    if patch.size <= 25:
        for ky, kx in np.ndindex(*window):
            bright = seen[ky, kx, 0] > 0.5
            text = f"{patch[ky, kx, 0]:.3g}"
            middle.text(kx, ky, text, ha="center", va="center", fontsize=8, color="black" if bright else "white")

    for axis in (left, middle):
        axis.spines[:].set_visible(False)
    right.imshow(matrix, cmap="gray", aspect="auto")
    right.set(
        title=f"im2col matrix {matrix.shape[0]}×{matrix.shape[1]}: row {row} is the patch",
        xlabel="place in the patch (ky, kx, channel)",
        ylabel="output pixel (oy, ox)",
    )
    right.add_patch(Rectangle((-0.5, row - 0.5), matrix.shape[1], 1, **mark))
    return figure
