"""What ops are given: arrays, numbers, and the geometry of a window, made once for a layer and an input shape.

Conventions, binding for every op unless its docstring says otherwise:

* Images are NHWC, kernels HWIO, matrices (rows, columns); C-contiguous; float32, or
  float64 for gradient checks. All float arrays of one call share one dtype, and so do
  results. Labels are int32 or int64; masks and positions in a window uint8 or int32.
* Dimensions: N H W C_in C_out KH KW OH OW; M rows of a matrix. Loop indices: n oy ox ky kx
  ci co. Gradients: dx, dkernel, dbias, dy.
* Ops are pure: they return new arrays and leave their arguments alone. Those whose names
  end in an underscore write into their first argument(s) instead.
* Ops trust their caller. Shapes are checked once, by the layer, which can name itself.
* Sums over images are cut into a number of chunks that does not depend on the thread count.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from minicnn import shapes
from minicnn.shapes import Pads

__all__ = ["Array", "Pads", "Pair", "Scalar", "Window", "transposed_window", "window_over"]

Array = Any  # numpy.ndarray or cupy.ndarray
Scalar = Any  # a float, or an array of shape () that lives on the device
Pair = tuple[int, int]


class Window(NamedTuple):
    """How a kernel, or the window of a pooling, slides over an image. Pairs are (height, width).

    Attributes:
        size: (KH, KW).
        strides: (SH, SW), each >= 1: pixels from one place of the window to the next.
        dilation: (DH, DW), each >= 1: pixels from one tap of the window to the next.
        pads: (top, bottom, left, right): rows and columns beyond the image's edges. `"same"` became four ints here.
        output: (OH, OW) = floor((size of the padded image - (K - 1) * D - 1) / S) + 1, how many places it has.
        groups: into how many groups the channels are cut; a group of outputs sees its own group of inputs.
    """

    size: Pair
    strides: Pair
    dilation: Pair
    pads: Pads
    output: Pair
    groups: int = 1


@functools.lru_cache(maxsize=4096)
def window_over(
    image: Pair, size: Pair, strides: Pair, padding: str | Pads, dilation: Pair = (1, 1), groups: int = 1
) -> Window:
    """The window over an image of (height, width). An output below 1 says that it does not fit.

    Args:
        padding: "same" (TensorFlow's), "valid", or four ints.

    Examples:
        >>> window_over((5, 5), (2, 2), (2, 2), "same").pads
        (0, 1, 0, 1)
    """
    pads = shapes.resolve_padding(padding, image, size, strides, dilation) if isinstance(padding, str) else padding
    return Window(size, strides, dilation, pads, shapes.window_output(image, size, strides, pads, dilation), groups)


def transposed_window(places: Pair, image: Pair, size: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Window:
    """The window over the *output* of a transposed convolution, (height, width), that has a place for each of its inputs."""
    top_bottom, left_right = (shapes.transposed_pads(places[i], image[i], size[i], strides[i], dilation[i]) for i in range(2))
    return window_over(image, size, strides, (*top_bottom, *left_right), dilation)
