"""Figures that move: a drawing function called for each frame, written as GIF, MP4 or HTML by Matplotlib's writers."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib import animation

from minicnn.atomic import replacing
from minicnn.study.style import StudyFigure, settings

__all__ = ["ENDINGS", "Animation", "refuse_path"]

ENDINGS = (".gif", ".mp4", ".html")
"""Of the files that an animation is written to."""

# Matplotlib's page takes the signs on its buttons from a server's font; these are in the fonts of every system.
_SIGNS = {
    "minus": "−",
    "fast-backward": "|◀",
    "step-backward": "‹",
    "play": "▶",
    "pause": "‖",
    "step-forward": "›",
    "fast-forward": "▶|",
    "plus": "+",
}
_MOST_MEGABYTES = 500  # of frames in a page


class Animation:
    """A figure with frames. Notebooks show it with buttons to play it; `save` writes it.

    Args:
        figure: as the first frame has it.
        draw: called with a frame's number, from 0; changes the figure to that frame.
        frames: how many.
        fps: frames a second.
        style: "light" or "dark", as the figure was drawn.
    """

    def __init__(self, figure: StudyFigure, draw: Callable[[int], None], frames: int, fps: int, style: str = "light") -> None:
        self.figure, self.frames, self.fps, self.style = figure, frames, fps, style
        self._draw = draw
        with matplotlib.rc_context(settings(style)):
            figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the axes stay where they are now, whatever is written beside them

    def frame(self, index: int) -> StudyFigure:
        """The figure as it is at a frame.

        Raises:
            IndexError: if there is no such frame.
        """
        if not 0 <= index < self.frames:
            raise IndexError(f"The frames are 0 to {self.frames - 1}. Received: index={index}")
        with matplotlib.rc_context(settings(self.style)):
            self._draw(index)
        return self.figure

    def save(self, path: str | os.PathLike[str], *, dpi: int = 100) -> None:
        """Write all frames, as what the path's ending names: .gif, .mp4 (which needs ffmpeg on this machine), or .html.

        An HTML file holds its pictures, and buttons to play them and to step through them. An older file stays until the
        new one is complete.

        Args:
            path: of the file.
            dpi: pixels an inch; a figure is 7 to 14 inches wide.

        Raises:
            ValueError: for another ending, or .mp4 where there is no ffmpeg.
        """
        path = Path(path)
        refuse_path(path)
        if path.suffix == ".html":
            content = self._page(dpi).encode()
        else:
            content = self._film(path.suffix, dpi)
        with replacing(path) as file:
            file.write(content)

    def _film(self, ending: str, dpi: int) -> bytes:
        writer = animation.PillowWriter(self.fps) if ending == ".gif" else animation.FFMpegWriter(self.fps)
        with tempfile.TemporaryDirectory(prefix="minicnn-animation-") as folder:
            path = Path(folder) / f"film{ending}"
            with matplotlib.rc_context(settings(self.style)):
                self._frames().save(path, writer=writer, dpi=dpi)
            return path.read_bytes()

    def _page(self, dpi: int) -> str:
        """A whole document; Matplotlib's player is a piece of one."""
        background, ink = (settings(self.style)[name] for name in ("figure.facecolor", "text.color"))
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>minicnn</title>\n'
            '<meta name="viewport" content="width=device-width"></head>\n'
            f'<body style="background: {background}; color: {ink}; font-family: sans-serif">\n'
            f"{self._player(dpi)}</body></html>\n"
        )

    def _player(self, dpi: int) -> str:
        look = settings(self.style) | {
            "animation.embed_limit": _MOST_MEGABYTES,  # beyond it frames are left out, with no more than a log entry
            "savefig.dpi": dpi,
        }
        self.figure.set_dpi(dpi)
        with matplotlib.rc_context(look):
            player = self._frames().to_jshtml(fps=self.fps, default_mode="loop")
        signs = "".join(f'.fa-{name}::before {{ content: "{sign}"; }}\n' for name, sign in _SIGNS.items())
        signs += ".fa { font-style: normal; }\n.fa-flip-horizontal { display: inline-block; transform: scaleX(-1); }\n"
        signs += ".animation img { max-width: 100%; height: auto; }\n"
        return re.sub(r'<link rel="stylesheet"\s+href="https?://[^>]*>', lambda _: f"<style>\n{signs}</style>", player)

    def _frames(self) -> animation.FuncAnimation:
        # Without `init_func` it would draw the first frame twice.
        return animation.FuncAnimation(
            self.figure, self._draw, frames=self.frames, init_func=lambda: None, cache_frame_data=False
        )

    def _repr_html_(self) -> str:
        return self._player(dpi=80)


def refuse_path(path: Path) -> None:
    """See `Animation.save`.

    Raises:
        ValueError: if no animation can be written to it.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"`path` must end in {', '.join(ENDINGS)}. Received: path={str(path)!r}")
    if path.suffix == ".mp4" and not animation.FFMpegWriter.isAvailable():
        raise ValueError(
            "MP4 is written by ffmpeg, which is not on this machine (`apt-get install ffmpeg`, `brew install ffmpeg`); "
            f"GIF and HTML need nothing. Received: path={str(path)!r}"
        )
