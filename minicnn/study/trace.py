"""Follow one pixel: the steps that `fit` runs on an image, their ops, the values at one place, and the sums behind them."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import activations, backends
from minicnn.backends import ops
from minicnn.backends.types import Window
from minicnn.layers import Conv2D, Dense
from minicnn.models import fusion
from minicnn.models.graph import flatten_calls
from minicnn.study.features import one_image
from minicnn.study.gradcheck import state_of

__all__ = ["Term", "Trace", "TracedCall", "TracedSum", "trace"]


@dataclass(frozen=True)
class Term:
    """One product of a sum.

    Attributes:
        at: (row, column, channel) in the layer's input; (feature,) of a vector.
        x, weight: the input there, and the kernel's weight for it.
    """

    at: tuple[int, ...]
    x: float
    weight: float

    def __str__(self) -> str:
        return f"{self.x:.4g} × {self.weight:.4g} at {self.at if len(self.at) > 1 else self.at[0]}"


@dataclass(frozen=True)
class TracedSum:
    """How one value of a convolution or a dense layer came about: the sum over its window of input × kernel, plus the bias.

    Attributes:
        channel: of the output, the one with the largest value there.
        place: (row, column) in the convolution's own map, where pooling took the largest of several; None for a vector.
        pooled: of how many such sums the value is the largest; 1 without pooling.
        count: how many terms the sum has: padding has none. largest: the three of largest size, as `Term`.
        total: the sum of all terms. bias: what is added. activation: what is applied to that.
    """

    channel: int
    place: tuple[int, int] | None
    pooled: int
    count: int
    largest: tuple[Term, ...]
    total: float
    bias: float
    activation: str

    def __str__(self) -> str:
        pooled = f", largest of {self.pooled} in its pooling window, from {self.place}" if self.pooled > 1 else ""
        after = f", then {self.activation}" if self.activation != "linear" else ""
        terms = " + ".join(f"({term})" for term in self.largest) + " + ..." * (self.count > len(self.largest))
        return (
            f"channel {self.channel}{pooled}: {self.total:.4g} + bias {self.bias:.4g} = {self.total + self.bias:.4g}{after}\n"
            f"          the sum of {self.count} terms input × kernel: {terms}"
        )


@dataclass(frozen=True)
class TracedCall:
    """One step of the plan on one image: a layer, or several that run as one.

    Attributes:
        layer, kind: the layers' names and classes, joined by "+".
        ops: the backend's ops that `fit` calls for it in the forward pass, in order.
        algorithm: how the backend computes a convolution, in batches of 32; "" for other layers.
        predict_ops: those without training, which computed the values.
        without_ops: what it does where it calls none.
        input_shapes, output_shape: without the batch axis.
        place: (row, column) of the output pixel followed; None once there are no pixels.
        values: the channels there, or the whole vector.
        sum: of a convolution or a dense layer the largest value's sum; else None.
    """

    layer: str
    kind: str
    ops: tuple[str, ...]
    predict_ops: tuple[str, ...]
    algorithm: str
    without_ops: str
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    place: tuple[int, int] | None
    values: np.ndarray
    sum: TracedSum | None

    def __str__(self) -> str:
        sizes = " + ".join("×".join(map(str, shape)) for shape in self.input_shapes)
        lines = [f"  {self.layer} ({self.kind}): {sizes} -> {'×'.join(map(str, self.output_shape))}"]
        if self.ops == self.predict_ops:
            lines.append(self._called(self.ops))
        else:
            lines += [f"in training {self._called(self.ops)}", f"otherwise {self._called(self.predict_ops)}"]
        lines.append(f"{'at ' + str(self.place) if self.place is not None else 'all'} = {_numbers(self.values)}")
        if self.sum is not None:
            lines.append(str(self.sum))
        return "\n      ".join(lines)

    def _called(self, names: tuple[str, ...]) -> str:
        by = f", by {self.algorithm}" if self.algorithm else ""
        return ", ".join(f"ops.{name}" for name in names) + by if names else f"no op: {self.without_ops}"


@dataclass(frozen=True)
class Trace:
    """What `trace` returns; printing it shows the steps.

    Attributes:
        model: the model's name. pixel: (row, column) in the image. pixel_values: its channels.
        calls: list of `TracedCall`, in order.
        left_to_the_loss: the activations of outputs that the loss computes together with itself, so that no step does:
            (name, its values).
    """

    model: str
    pixel: tuple[int, int] | None
    pixel_values: np.ndarray
    calls: tuple[TracedCall, ...]
    left_to_the_loss: tuple[tuple[str, np.ndarray], ...] = ()

    def __str__(self) -> str:
        where = f"pixel {self.pixel}" if self.pixel is not None else "input"
        lines = [f"{self.model}: {where} = {_numbers(self.pixel_values)}", *map(str, self.calls)]
        for activation, values in self.left_to_the_loss:
            lines.append(f"  {activation}, which `fit` computes together with the loss: {_numbers(values)}")
        return "\n".join(lines)


def _numbers(values: np.ndarray, most: int = 6) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:most])
    return f"[{shown}{f', ... {len(values)} in all' if len(values) > most else ''}]"


def trace(model: Any, image: Any, pixel: tuple[int, int] | None = None) -> Trace:
    """Run one image through the plan of a model, step by step, and follow one of its pixels.

    The plan is the one that `fit` uses (of a `call` that branches on `training`, the branch without), or `predict` where the
    model is not compiled. The values are those without training: of random layers and batch statistics, training makes
    others in each step. What is computed from weights alone, or of all images together, has no pixel and is left out.

    At each layer the followed pixel is the one whose window is centred nearest to it; at one without a window, the
    same place.

    Args:
        model: a built model with one input.
        image: (H, W, channels), as the model was trained on.
        pixel: (row, column); default the centre of the image.

    Raises:
        ValueError: if image or pixel do not fit the model.
    """
    x = one_image(model, image).astype(model.layers[0].dtype)
    start: tuple[int, int] | None = None
    if x.ndim == 4:
        H, W = x.shape[1:3]
        start = (H // 2, W // 2) if pixel is None else (int(pixel[0]), int(pixel[1]))
        if not (0 <= start[0] < H and 0 <= start[1] < W):
            raise ValueError(f"`pixel` must be (row, column) within {H}×{W}. Received: pixel={pixel!r}")
    elif pixel is not None:
        raise ValueError(f"Model '{model.name}' takes inputs of shape {x.shape[1:]}: there is no pixel {pixel!r} to follow.")
    plan = model.training_plan(training=False)
    arrays = model._feed([x])
    restore = state_of(model)
    in_training, _ = _run(plan, arrays, True)
    restore()
    without, values = _run(plan, arrays, False)
    restore()
    places: dict[int, tuple[int, int] | None] = {plan.inputs[0]: start}
    traced = []
    for step, ops_of_fit, ops_of_predict in zip(plan.steps, in_training, without):
        read, y = [backends.to_numpy(values[i]) for i in step.inputs], backends.to_numpy(values[step.output])
        followed = next((k for k, i in enumerate(step.inputs) if i in places), None)
        if followed is None or y.shape[:1] != (1,):
            continue  # computed from weights alone, or of all images together: no pixel to follow
        row, x_read = step.layers, read[followed]
        places[step.output] = place = _follow_row(row, places[step.inputs[followed]], x_read.shape, y.shape)
        traced.append(
            TracedCall(
                "+".join(step.names),
                step.kind,
                ops_of_fit,
                ops_of_predict,
                row[0].algorithm((32, *x_read.shape[1:])),
                _change(x_read, y),
                tuple(tuple(array.shape[1:]) for array in read),
                tuple(y.shape[1:]),
                place,
                _at(y, place),
                _sum_of(step, x_read, y, place),
            )
        )
    calls, _, outputs, *_ = flatten_calls(model)
    made_by = {call.output: call.layer for call in calls}
    left = []
    for i in plan.logits_for:
        name = fusion.last_activation(made_by[outputs[i]])
        left.append((str(name), _at(activations.get(name)(values[plan.outputs[i]]), None)))
    return Trace(model.name, start, _at(x, start), tuple(traced), tuple(left))


def _run(plan: Any, arrays: list[Any], training: bool) -> tuple[list[tuple[str, ...]], dict[int, Any]]:
    """The ops that each step calls, and every value."""
    values = dict(zip(plan.inputs, arrays))
    called = []
    with _listening() as heard:

        def see(step: Any, y: Any) -> None:
            values[step.output] = y
            called.append(tuple(heard))
            heard.clear()

        plan.forward(arrays, training, seen=see)
    return called, values


def _change(x: np.ndarray, y: np.ndarray) -> str:
    """What a step that calls no op did with x."""
    if x.size != y.size or not np.array_equal(x.reshape(-1), y.reshape(-1)):
        return "the layer's own code"
    return "its input is passed on" if x.shape == y.shape else "the same numbers in another shape"


def _sum_of(step: Any, x: np.ndarray, y: np.ndarray, place: tuple[int, int] | None) -> TracedSum | None:
    """The sum behind the largest value of a step that begins with a convolution or a dense layer."""
    first, pool = step.layers[0], step.epilogues.get("pool")
    summed = fusion.is_own(first) and (
        (place is not None and first.groups == 1) if isinstance(first, Conv2D) else isinstance(first, Dense) and x.ndim == 2
    )
    if not summed:
        return None
    channel = int(np.argmax(np.abs(_at(y, place))))
    bias = 0.0 if first.bias is None else float(first.bias.numpy()[channel])
    candidates: list[tuple[int, int] | None] = [place]
    if pool is not None and place is not None:  # the convolution's pixels in the pooling's window
        between = first.compute_output_shape(x.shape)
        rows, columns = _covered(pool.window_over(between), place, between[1:3])
        candidates = list(itertools.product(rows, columns))
    found = []
    for candidate in candidates:
        at, values, weights = _terms(first, x, candidate, channel)
        found.append((float((values * weights).sum()), candidate, at, values, weights))
    total, where, at, values, weights = max(found, key=lambda entry: entry[0])
    order = np.argsort(-np.abs(values * weights), kind="stable")[:3]
    return TracedSum(
        channel,
        where,
        len(candidates),
        len(values),
        tuple(Term(tuple(map(int, at[i])), float(values[i]), float(weights[i])) for i in order),
        total,
        bias,
        "relu" if "relu" in step.epilogues else getattr(first.activation, "__name__", type(first.activation).__name__),
    )


def _covered(window: Window, place: tuple[int, int], image: Any) -> list[list[int]]:
    """The rows and the columns of an image that the window at one place of the output lies on."""
    top, _, left, _ = window.pads
    firsts = place[0] * window.strides[0] - top, place[1] * window.strides[1] - left
    taps = zip(firsts, window.size, window.dilation, image)
    return [[at for at in range(first, first + size * hole, hole) if 0 <= at < extent] for first, size, hole, extent in taps]


def _terms(layer: Any, x: np.ndarray, place: Any, channel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a value sums over, each flat and in float64: where the inputs stand, the inputs, their weights."""
    kernel = layer.kernel.numpy()[..., channel].astype(np.float64)
    if isinstance(layer, Dense):
        return np.arange(x.shape[1])[:, None], x[0].astype(np.float64), kernel
    window = layer.window_over(x.shape)
    rows, columns = (
        place[axis] * window.strides[axis] - pad + window.dilation[axis] * np.arange(window.size[axis])
        for axis, pad in ((0, window.pads[0]), (1, window.pads[2]))
    )
    at = np.stack(np.meshgrid(rows, columns, np.arange(x.shape[3]), indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (at[:, 0] >= 0) & (at[:, 0] < x.shape[1]) & (at[:, 1] >= 0) & (at[:, 1] < x.shape[2])
    at = at[inside]
    return at, x[0][tuple(at.T)].astype(np.float64), kernel.reshape(-1)[inside]


def _at(array: Any, place: tuple[int, int] | None) -> np.ndarray:
    values = np.array(backends.to_numpy(array))[0]
    return values.reshape(-1) if place is None else values[place]


def _follow_row(
    row: Any, place: tuple[int, int] | None, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[int, int] | None:
    """`_follow` through layers that run as one."""
    for layer in row[:-1]:
        between = layer.compute_output_shape(before)
        place, before = _follow(layer, place, before, between), between
    return _follow(row[-1], place, before, after)


def _follow(
    layer: Any, place: tuple[int, int] | None, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[int, int] | None:
    """The output pixel whose window is centred nearest to the input pixel `place`; None where the output has no pixels."""
    if place is None or len(after) != 4:
        return None
    if hasattr(layer, "cropping") or (hasattr(layer, "padding") and not hasattr(layer, "window_over")):
        sides, sign = (layer.cropping, -1) if hasattr(layer, "cropping") else (layer.padding, 1)
        moved = (place[axis] + sign * sides[axis][0] for axis in (0, 1))
        return tuple(min(max(at, 0), size - 1) for at, size in zip(moved, after[1:]))
    if not hasattr(layer, "window_over"):  # the same pixel, in an image that may be larger or smaller
        return place[0] * after[1] // before[1], place[1] * after[2] // before[2]
    window = layer.window_over(before)
    found = []
    for axis, pad in ((0, window.pads[0]), (1, window.pads[2])):
        # Output o looks at o * stride - pad ... o * stride - pad + reach - 1.
        stride, reach = window.strides[axis], (window.size[axis] - 1) * window.dilation[axis] + 1
        nearest = (place[axis] + pad - reach // 2 + stride // 2) // stride
        found.append(min(max(nearest, 0), window.output[axis] - 1))
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
