"""Drawn cases of a window that slides over an image, for convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from minicnn.backends.numba_cpu._compile import VL
from minicnn.backends.numba_cpu._microkernel import NR
from minicnn.backends.types import Window, window_over
from minicnn.shapes import Pads, resolve_padding

# Few, odd; a whole vector of floats and a whole tile, one less and one more.
channels = st.sampled_from(sorted({1, 2, 3, 5, VL - 1, VL, VL + 1, NR - 1, NR, NR + 1}))


@dataclass(frozen=True)
class Windows:
    """A window of `window` pixels, `dilation` apart, over an image of (height, width)."""

    batch: int
    image: tuple[int, int]
    window: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: str  # "same", "valid" or "explicit"
    pads: Pads

    def geometry(self, groups: int = 1) -> Window:
        """As the ops are given it."""
        return window_over(self.image, self.window, self.strides, self.pads, self.dilation, groups)


@st.composite
def windows(draw: st.DrawFn, *, dilated: bool = False, pads_below_window: bool = False) -> Windows:
    """Any window that fits at least once: as large as the image, one pixel, strides above the window, uneven pads.

    Args:
        dilated: draw dilations too.
        pads_below_window: no window lies on padding alone.
    """
    padding = draw(st.sampled_from(["same", "valid", "explicit"]))
    window = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    strides = (draw(st.integers(1, 5)), draw(st.integers(1, 5))) if draw(st.booleans()) else (1, 1)
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if dilated else (1, 1)
    reach = [(window[i] - 1) * dilation[i] + 1 for i in range(2)]
    spare = st.one_of(st.just(0), st.integers(0, 6), st.integers(7, 14))
    if padding == "same":
        image = (draw(st.integers(1, 10)), draw(st.integers(1, 10)))
        pads = resolve_padding("same", image, window, strides, dilation)
    else:
        pads = (0, 0, 0, 0)
        if padding == "explicit":
            most = [reach[i] - 1 if pads_below_window else 4 for i in (0, 0, 1, 1)]
            pads = tuple(draw(st.integers(0, limit)) for limit in most)
        image = (
            max(1, reach[0] - pads[0] - pads[1]) + draw(spare),
            max(1, reach[1] - pads[2] - pads[3]) + draw(spare),
        )
    return Windows(draw(st.integers(1, 3)), image, window, strides, dilation, padding, pads)
