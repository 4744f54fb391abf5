"""Follow one pixel: every layer that an image passes, the ops that compute it, and the values at one place."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import backends, shapes
from minicnn.backends import ops
from minicnn.models.graph import flatten_calls
from minicnn.study.features import one_image

__all__ = ["Trace", "TracedCall", "trace"]


@dataclass(frozen=True)
class TracedCall:
    """One layer's forward pass over one image.

    Attributes:
        layer, kind: the layer's name and class.
        ops: the backend's ops it called, in order.
        input_shapes, output_shape: without the batch axis.
        place: (row, column) of the output pixel followed; None once there are no pixels.
        values: the channels there, or the whole vector.
    """

    layer: str
    kind: str
    ops: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    place: tuple[int, int] | None
    values: np.ndarray


@dataclass(frozen=True)
class Trace:
    """What `trace` returns; printing it shows a line a layer.

    Attributes:
        model: the model's name. pixel: (row, column) in the image. pixel_values: its channels.
        calls: list of `TracedCall`, in order.
    """

    model: str
    pixel: tuple[int, int] | None
    pixel_values: np.ndarray
    calls: tuple[TracedCall, ...]

    def __str__(self) -> str:
        where = f"pixel {self.pixel}" if self.pixel is not None else "input"
        lines = [f"{self.model}: {where} = {_numbers(self.pixel_values)}"]
        for call in self.calls:
            sizes = " + ".join("×".join(map(str, shape)) for shape in call.input_shapes)
            lines.append(f"  {call.layer} ({call.kind}): {sizes} -> {'×'.join(map(str, call.output_shape))}")
            lines.append(
                f"      {'ops.' + ', ops.'.join(call.ops) if call.ops else 'no op: the same numbers in another shape'}"
            )
            lines.append(f"      {'at ' + str(call.place) if call.place is not None else 'all'} = {_numbers(call.values)}")
        return "\n".join(lines)


def _numbers(values: np.ndarray, most: int = 6) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:most])
    return f"[{shown}{f', ... {len(values)} in all' if len(values) > most else ''}]"


def trace(model: Any, image: Any, pixel: tuple[int, int] | None = None) -> Trace:
    """Run one image through a model, layer by layer, and follow one of its pixels.

    At each layer the followed pixel is the one whose window is centred nearest to it.

    Args:
        model: a built model with one input.
        image: (H, W, channels), as the model was trained on.
        pixel: (row, column); default the centre of the image.

    Raises:
        ValueError: if image or pixel do not fit the model.
    """
    x = one_image(model, image).astype(model.layers[0].dtype)
    places: dict[int, tuple[int, int] | None] = {}
    if x.ndim == 4:
        H, W = x.shape[1:3]
        start = (H // 2, W // 2) if pixel is None else (int(pixel[0]), int(pixel[1]))
        if not (0 <= start[0] < H and 0 <= start[1] < W):
            raise ValueError(f"`pixel` must be (row, column) within {H}×{W}. Received: pixel={pixel!r}")
    elif pixel is not None:
        raise ValueError(f"Model '{model.name}' takes inputs of shape {x.shape[1:]}: there is no pixel {pixel!r} to follow.")
    calls, inputs, _, _ = flatten_calls(model)
    values: dict[int, Any] = {inputs[0]: backends.asarray(x)}
    places[inputs[0]] = start if x.ndim == 4 else None
    traced = []
    for call in calls:
        read = [values[i] for i in call.inputs]
        with _listening() as heard:
            y, _ = call.layer.forward(read if call.takes_list else read[0], False)
        values[call.output] = y
        place = places[call.output] = _follow(call.layer, places[call.inputs[0]], read[0].shape, y.shape)
        traced.append(
            TracedCall(
                call.layer.name,
                type(call.layer).__name__,
                tuple(heard),
                tuple(tuple(array.shape[1:]) for array in read),
                tuple(y.shape[1:]),
                place,
                _at(y, place),
            )
        )
    return Trace(model.name, places[inputs[0]], _at(x, places[inputs[0]]), tuple(traced))


def _at(array: Any, place: tuple[int, int] | None) -> np.ndarray:
    values = np.array(backends.to_numpy(array))[0]
    return values.reshape(-1) if place is None else values[place]


def _follow(
    layer: Any, place: tuple[int, int] | None, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[int, int] | None:
    """The output pixel whose window is centred nearest to the input pixel `place`; None where the output has no pixels."""
    if place is None or len(after) != 4:
        return None
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is None:  # the same pixel, moved by what a padding layer put before it
        (top, _), (left, _) = getattr(layer, "padding", ((0, 0), (0, 0)))
        return min(place[0] + top, after[1] - 1), min(place[1] + left, after[2] - 1)
    dilation = getattr(layer, "dilation_rate", (1, 1))
    pads = shapes.resolve_padding(layer.padding, before[1:3], window, layer.strides, dilation)  # type: ignore[arg-type]
    found = []
    for axis, pad in ((0, pads[0]), (1, pads[2])):
        # Output o looks at o * stride - pad ... o * stride - pad + reach - 1.
        reach = (window[axis] - 1) * dilation[axis] + 1
        nearest = (place[axis] + pad - reach // 2 + layer.strides[axis] // 2) // layer.strides[axis]
        found.append(min(max(nearest, 0), after[1 + axis] - 1))
    return found[0], found[1]


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """The names of the ops called within the block."""
    heard: list[str] = []
    backends.backend_module()  # loads the backend: `ops` is filled
    originals = dict(vars(ops))

    def listen(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            heard.append(name)
            return function(*args, **kwargs)

        return called

    vars(ops).update({name: listen(name, function) for name, function in originals.items()})
    try:
        yield heard
    finally:
        vars(ops).update(originals)
