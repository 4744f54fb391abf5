"""A kernel on its way over an image, and the map that comes of it."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

from minicnn.study.animation import Animation
from minicnn.study.convolution import Slid, marked, show_slid, slide, write_numbers
from minicnn.study.style import DIVERGING, StudyFigure, settings, show_image

__all__ = ["convolution_animation"]


def convolution_animation(
    image: Any,
    kernel_size: Any = 3,
    *,
    kernel: Any = None,
    strides: Any = 1,
    padding: str = "valid",
    frames: int = 100,
    title: str | None = None,
    style: str = "light",
) -> Animation:
    """The kernel slides over the image; each frame shows the patch under it, the products, and the map so far.

    Args:
        image, kernel_size, kernel, strides, padding: as `im2col_matrix` takes them.
        frames: at most so many. Where the map has more pixels, frames are left out evenly, and the map fills all the same.
        title: above the figure.
        style: "light" or "dark".

    Raises:
        ValueError: if the kernel does not fit the image, or `frames` is below 1.
    """
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ValueError(f"`frames` must be a positive integer. Received: frames={frames!r}")
    slid = slide(image, kernel_size, kernel, strides, padding)
    OH, OW = slid.window.output
    # The places of the frames, numbered row by row; the last frame is the last place.
    places = np.linspace(0, OH * OW - 1, min(frames, OH * OW)).round().astype(int)
    with matplotlib.rc_context(settings(style)):
        stage = _Stage(slid, title)
        stage.show(int(places[0]))
    return Animation(stage.figure, lambda index: stage.show(int(places[index])), len(places), fps=6, style=style)


class _Stage:
    """The figure, and what changes in it from place to place."""

    def __init__(self, slid: Slid, title: str | None) -> None:
        self.slid = slid
        OH, OW = slid.window.output
        self.output = np.array([[slid.products(oy, ox).sum() for ox in range(OW)] for oy in range(OH)])
        self.figure = StudyFigure(figsize=(13.0, 3.9), layout="constrained")
        self.figure.suptitle(title or " ")
        left, *small, right = self.figure.subplots(1, 5, width_ratios=[1.3, 0.8, 0.8, 0.8, 1.3])
        self.patch, self.kernel, self.product = small
        self.frame = show_slid(left, slid)
        weights = slid.weights.mean(axis=-1)
        reach = float(np.abs(weights).max()) or 1.0
        self.kernel.imshow(weights, cmap=DIVERGING, vmin=-reach, vmax=reach)
        self.kernel.set(title="× kernel")
        write_numbers(self.kernel, weights, np.abs(weights) < 0.6 * reach)
        reach = float(np.abs(self.output).max()) or 1.0
        self.map = right.imshow(np.full_like(self.output, np.nan), cmap=DIVERGING, vmin=-reach, vmax=reach)
        right.set(title=f"output {OH}×{OW}")
        right.set_facecolor(matplotlib.rcParams["grid.color"])  # what is not computed yet
        self.pixel = marked((0, 0), 1, 1)
        right.add_patch(self.pixel)
        for axis in (left, *small, right):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)

    def show(self, place: int) -> None:
        """The kernel at a place; the map up to there."""
        slid, OW = self.slid, self.slid.window.output[1]
        oy, ox = divmod(place, OW)
        self.frame.set_xy(slid.corner(oy, ox))
        self.pixel.set_xy((ox - 0.5, oy - 0.5))
        filled = np.where(np.arange(self.output.size).reshape(self.output.shape) <= place, self.output, np.nan)
        self.map.set_data(filled)

        for axis in (self.patch, self.product):
            for artist in (*axis.texts, *axis.get_images()):
                artist.remove()
        patch, seen, product = slid.columns[oy, ox], slid.seen[oy, ox], slid.products(oy, ox)
        show_image(self.patch, seen)
        self.patch.set(title=f"patch for output ({oy}, {ox})")
        if patch.shape[2] == 1:
            write_numbers(self.patch, patch[..., 0], seen[..., 0] > 0.5)
        reach = float(np.abs(product).max()) or 1.0
        self.product.imshow(product, cmap=DIVERGING, vmin=-reach, vmax=reach)
        self.product.set(title=f"= product, its sum is\nthe output: {product.sum():.3g}")
        write_numbers(self.product, product, np.abs(product) < 0.6 * reach)
