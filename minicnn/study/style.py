"""How figures look: light or dark, colours that all readers can tell apart, no global state.

Figures are made without pyplot: nothing is registered, shown or left open, and a figure
goes when its last reference does.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "StudyFigure",
    "class_name",
    "color",
    "displayable",
    "grid",
    "label_panel",
    "settings",
    "show_image",
    "styled",
]

SEQUENTIAL = "cividis"  # even steps of brightness, and the same to readers with red-green deficiency (Nuñez et al. 2018)
DIVERGING = "PuOr_r"  # negative purple, zero white, positive orange

# Okabe & Ito 2008, "Color universal design": told apart with any common colour deficiency.
# The order puts those with most contrast against the background first.
_OKABE_ITO = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    "dark": ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#FFFFFF"),
}
_BACKGROUND = {"light": "#FFFFFF", "dark": "#16191D"}
_INK = {"light": "#1A1A1A", "dark": "#E8E8E8"}
_FAINT = {"light": "#D0D0D0", "dark": "#41474E"}


class StudyFigure(Figure):
    """A Matplotlib figure that notebooks display although pyplot does not know of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def settings(style: str) -> Any:
    """The look as Matplotlib's `rcParams`, for figures drawn with pyplot beside these.

    Raises:
        ValueError: unless `style` is "light" or "dark".
    """
    if style not in _BACKGROUND:
        raise ValueError(f'`style` must be "light" or "dark". Received: style={style!r}')
    background, ink, faint = _BACKGROUND[style], _INK[style], _FAINT[style]
    return {
        "figure.facecolor": background,
        "axes.facecolor": background,
        "savefig.facecolor": "auto",
        "savefig.dpi": 120,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
        "axes.titlesize": 10,
        "axes.titlecolor": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": ink,
        "ytick.color": ink,
        "font.size": 10,
        "font.family": ["DejaVu Sans"],
        "grid.color": faint,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=_OKABE_ITO[style]),
        "image.interpolation": "nearest",
    }


def styled(draw: Callable[..., StudyFigure]) -> Callable[..., StudyFigure]:
    """Decorator of a drawing function: adds the keyword `style="light"` or `"dark"`, and the figure's look."""

    @functools.wraps(draw)
    def drawn(*args: Any, style: str = "light", **kwargs: Any) -> StudyFigure:
        with matplotlib.rc_context(settings(style)):
            figure = draw(*args, **kwargs)
            figure.canvas.draw_idle()
            return figure

    return drawn


def color(index: int) -> str:
    """The index-th colour of the current style."""
    colors = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    return str(colors[index % len(colors)])


def grid(panels: int, columns: int, panel: tuple[float, float], title: str | None = None) -> tuple[StudyFigure, list[Any]]:
    """A figure with `panels` axes without ticks, row by row; `panel` is one's (width, height) in inches."""
    columns = max(1, min(columns, panels))
    rows = -(-panels // columns)
    figure = StudyFigure(figsize=(columns * panel[0] + 0.2, rows * panel[1] + 0.2 + 0.4 * bool(title)), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    if title:
        figure.suptitle(title)
    return figure, axes[:panels]


def label_panel(axis: Any, text: str, accent: int | None = None) -> None:
    """A small title above a picture, coloured where it should stand out."""
    axis.set_title(text, fontsize=9, pad=3, **({} if accent is None else {"color": color(accent)}))


def displayable(image: Any) -> np.ndarray:
    """An image as Matplotlib wants it: (H, W) or (H, W, 3), integers as they are, floats within [0, 1].

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or the same with a batch axis of one. Floats beyond
            [0, 1] are taken as 0..255 if they reach above 16 and are never negative, and stretched from their
            smallest to their largest value otherwise (scikit-learn's digits end at 16).

    Raises:
        ValueError: for another shape.
    """
    picture = np.asarray(image)
    if picture.ndim == 4 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim == 3 and picture.shape[-1] == 1:
        picture = picture[..., 0]
    if picture.ndim != 2 and not (picture.ndim == 3 and picture.shape[-1] in (3, 4)):
        raise ValueError(f"Expected one image: (height, width), with 1, 3 or no channels. Received: shape={np.shape(image)}")
    if picture.dtype.kind in "ui":
        return picture.clip(0, 255).astype(np.uint8)
    if picture.dtype.kind == "b":
        return picture.astype(np.float64)
    low, high = float(picture.min(initial=0)), float(picture.max(initial=1))
    if low >= 0 and high > 16:
        return picture.clip(0, 255) / 255
    return (picture - low) / (high - low)


def show_image(axis: Any, image: Any) -> None:
    """Draw one image, pixels as squares, one channel in grey from black to white."""
    picture = displayable(image)
    white = 255 if picture.dtype == np.uint8 else 1.0
    axis.imshow(picture, cmap="gray", vmin=0, vmax=white)


def class_name(index: Any, class_names: Sequence[str] | None) -> str:
    """The name of a class, or its number where there are no names."""
    index = int(index)
    return str(class_names[index]) if class_names is not None else str(index)
