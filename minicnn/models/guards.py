"""What a plan puts around a layer's two passes where something has to be cast, checked or added.

Each stands in the layer's place, with its `forward` and `backward`; around most layers there is nothing.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np

from minicnn import backends
from minicnn.layers import Layer
from minicnn.variables import Variable

__all__ = ["Border", "NumericsError", "Penalized", "Watched", "memory_errors_name_the_layer"]


class NumericsError(ArithmeticError):
    """A NaN or an infinity, and where it first stood.

    Attributes:
        layer: the layer's name. pass_name: "forward" or "backward". batch: index in the epoch, or None.
    """

    def __init__(self, layer: str, pass_name: str, batch: int | None = None) -> None:
        self.layer, self.pass_name, self.batch = layer, pass_name, batch
        super().__init__(
            f"NaN or infinity first appeared in the {pass_name} pass of layer '{layer}'"
            + f" at batch {batch}" * (batch is not None)
        )


@contextlib.contextmanager
def memory_errors_name_the_layer() -> Iterator[None]:
    """Within the block, a MemoryError tells which layer's pass asked for too much."""
    try:
        yield
    except MemoryError as error:
        for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
            layer, function = frame.f_locals.get("self"), frame.f_code.co_name
            if isinstance(layer, Layer) and function in ("forward", "backward"):
                raise MemoryError(f"Layer '{layer.name}', {function} pass: {error}") from error
        raise


class Guard(Layer):
    """Base: the layer inside, under its name.

    Arguments that are not of a guard's concern go on to the layer: epilogues forward, `need_dx` backward.
    """

    def __init__(self, layer: Any, **attributes: Any) -> None:
        self.__dict__.update(layer=layer, name=layer.name, dtype=layer.dtype, **attributes)


class Border(Guard):
    """A layer that a user wrote, or one among layers of another dtype: what it takes and hands over is cast and checked.

    Kernels read arrays by their addresses: what has another dtype, layout or shape would lead them to other memory.
    minicnn's own layers return what kernels read, so that they need no border where their neighbours share their dtype.

    Args:
        layer: a layer. takes_list: whether it takes a list of inputs.
        output_shape: what it promised, None for a size that may be any.
        weights: what its gradients belong to, in order.
    """

    layer: Any
    takes_list: bool
    output_shape: tuple[int | None, ...]
    of_grads: list[Variable]

    def __init__(self, layer: Any, takes_list: bool, output_shape: tuple[int | None, ...], of_grads: list[Variable]) -> None:
        super().__init__(layer, takes_list=takes_list, output_shape=output_shape, of_grads=of_grads)

    def forward(self, x: Any, training: bool, **epilogues: Any) -> tuple[Any, Any]:
        given = x if self.takes_list else [x]
        cast = [backends.asarray(array, self.dtype) for array in given]
        y, saved = self.layer.forward(cast if self.takes_list else cast[0], training, **epilogues)
        y = backends.asarray(y, self.dtype)
        promised = (given[0].shape[0], *self.output_shape[1:])
        if len(y.shape) != len(promised) or any(size not in (None, found) for size, found in zip(promised, y.shape)):
            raise ValueError(
                f"Layer '{self.name}': `forward` returned an output of shape {tuple(y.shape)}, expected {promised}: "
                "see `compute_output_shape`."
            )
        return y, (saved, [(array.shape, array.dtype) for array in given])

    def backward(self, dy: Any, saved: Any, *need_dx: bool) -> tuple[Any, tuple[Any, ...]]:
        inner, given = saved
        dx, grads = self.layer.backward(dy, inner, *need_dx)
        if dx is None and need_dx:
            return None, self._fitting(grads)
        found = list(dx) if self.takes_list else [dx]
        if len(found) != len(given):
            raise ValueError(f"Layer '{self.name}': `backward` returned {len(found)} arrays dx for {len(given)} inputs.")
        for i, (d, (shape, dtype)) in enumerate(zip(found, given)):
            if np.shape(d) != shape:
                raise ValueError(f"Layer '{self.name}': `backward` returned dx of shape {np.shape(d)}, expected x's, {shape}.")
            found[i] = backends.asarray(d, dtype)
        return found if self.takes_list else found[0], self._fitting(grads)

    def _fitting(self, grads: Any) -> tuple[Any, ...]:
        """Copies of the weights' gradients: penalties and clipping change them in place, and one array may stand for two."""
        if len(grads) != len(self.of_grads):
            raise ValueError(
                f"Layer '{self.name}': `backward` returned {len(grads)} gradients, expected {len(self.of_grads)}, one for each "
                f"of: {', '.join(variable.path for variable in self.of_grads) or 'no weights'}."
            )
        copies = []
        for variable, grad in zip(self.of_grads, grads):
            if grad is None or np.shape(grad) != variable.shape:
                raise ValueError(
                    f"Layer '{self.name}': `backward` returned a gradient of shape {None if grad is None else np.shape(grad)} "
                    f"for '{variable.path}', expected {variable.shape}."
                )
            copy = backends.empty(variable.shape, variable.dtype)
            copy[...] = backends.asarray(grad)
            copies.append(copy)
        return tuple(copies)


class Penalized(Guard):
    """A layer with an activity regularizer: its penalty joins the loss, its gradient dy.

    Both are divided by the batch size, as Keras does. What `forward` saves begins with the penalty.
    """

    layer: Any
    regularizer: Any

    def forward(self, x: Any, training: bool, **epilogues: Any) -> tuple[Any, Any]:
        y, saved = self.layer.forward(x, training, **epilogues)
        return y, (self.regularizer.penalty(y) / len(y), y, saved)

    def backward(self, dy: Any, saved: Any, *need_dx: bool) -> tuple[Any, tuple[Any, ...]]:
        _, y, inner = saved
        penalty = dy * 0
        self.regularizer.gradient_(penalty, y)
        return self.layer.backward(dy + penalty / len(y), inner, *need_dx)


class Watched(Guard):
    """A layer whose outputs and gradients are checked; see `NumericsError`."""

    layer: Any

    def forward(self, x: Any, training: bool, **epilogues: Any) -> tuple[Any, Any]:
        y, saved = self.layer.forward(x, training, **epilogues)
        self._check("forward", (y,))
        return y, saved

    def backward(self, dy: Any, saved: Any, *need_dx: bool) -> tuple[Any, tuple[Any, ...]]:
        dx, grads = self.layer.backward(dy, saved, *need_dx)
        self._check("backward", (*(dx if isinstance(dx, list) else () if dx is None else (dx,)), *grads))
        return dx, grads

    def _check(self, pass_name: str, arrays: Any) -> None:
        for array in arrays:
            # A sum is NaN or infinite if an element is; only then is it worth looking closer (a sum may overflow).
            with np.errstate(over="ignore", invalid="ignore"):
                finite = math.isfinite(float(array.sum()))
            if not finite and not np.isfinite(backends.to_numpy(array)).all():
                raise NumericsError(self.name, pass_name)
