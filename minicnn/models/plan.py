"""A model's plan: the list of layer calls that one step runs, and where each value dies.

Made at the first batch, from the graph, for one backend. Adjacent calls become one where
the backend has an op that does both (`layers.fused`). Memory is not assigned by hand: a
value is forgotten after its last reader, and the step's arena takes its block again.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn import backends
from minicnn.backends import ops
from minicnn.layers import Layer, fused
from minicnn.models.graph import Call, flatten_calls
from minicnn.models.summary import PlanTable, flops_of, sum_of_known
from minicnn.variables import Variable

if TYPE_CHECKING:
    from minicnn.models.model import Model

__all__ = ["NumericsError", "Plan", "Step", "memory_errors_name_the_layer"]


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
            if isinstance(layer, (Layer, fused.Fused)) and function in ("forward", "backward", "backward_weights"):
                raise MemoryError(f"Layer '{layer.name}', {function.split('_')[0]} pass: {error}") from error
        raise


class Step:
    """One call of a plan.

    Attributes:
        layer: what has `forward` and `backward`: a layer or several fused into one, or what checks and casts around it.
        core: the layer itself, or the fused ones.
        inputs, takes_list, output: numbers of the values it reads and makes.
        forgets: values that nobody reads after this step (in the forward pass).
        learns: whether gradients must flow through its output at all.
        passes_on: whether a step before it needs dx.
        penalized: whether its output is; what its `forward` saves then begins with the penalty.
        variables: what its grads belong to; `trained` tells which of them are updated.
    """

    def __init__(self, call: Call, names: tuple[str, ...] = ()) -> None:
        self.layer: Any = call.layer
        self.core: Any = call.layer
        self.inputs = call.inputs
        self.takes_list = call.takes_list
        self.output = call.output
        self.names = names or (call.layer.name,)
        self.forgets: tuple[int, ...] = ()
        self.learns = False
        self.passes_on = False
        self.penalized = False
        self.variables: list[Variable] = []
        self.trained: list[bool] = []

    def read(self, values: list[Any]) -> Any:
        """What the layer's `forward` takes."""
        if self.takes_list:
            return [values[i] for i in self.inputs]
        return values[self.inputs[0]]

    def forget(self, values: list[Any]) -> None:
        """Drop the values that were read for the last time."""
        for i in self.forgets:
            values[i] = None

    def hand_back(self, dx: Any, gradients: list[Any]) -> None:
        """Add dx to the gradients of the values that this step read: they sum where a value fans out."""
        for i, d in zip(self.inputs, dx if self.takes_list else (dx,)):
            gradients[i] = d if gradients[i] is None else ops.add_forward([gradients[i], d])


class Plan:
    """Straight-line code for a model.

    Args:
        model: whose graph it follows.
        fuse: whether adjacent calls may become one (not where every layer's own output is wanted).
        logits_for: indices of outputs whose last activation is left out, because their loss
            computes it together with its own gradient.
        watch_numerics: check every value and gradient for NaN and infinity.

    Attributes:
        steps: list of `Step`. inputs, outputs: numbers of the values that go in and come out.
        shapes, dtypes: of every value. logits_for: as given. regularized: the trained weights that have a regularizer.
    """

    def __init__(
        self, model: Model, *, fuse: bool = True, logits_for: tuple[int, ...] = (), watch_numerics: bool = False
    ) -> None:
        self.backend = backends.backend()
        calls, self.inputs, self.outputs, self.shapes = flatten_calls(model)
        self.calls = calls
        of_inputs = {i: tensor.dtype for i, tensor in zip(self.inputs, model._inputs)}
        of_outputs = {call.output: call.layer.dtype for call in calls}
        self.dtypes: list[str] = [(of_inputs | of_outputs)[i] for i in range(len(self.shapes))]
        trained = model.trainable_weights
        trainable = {id(v) for v in trained}
        self.regularized: list[Variable] = [v for v in trained if v.regularizer is not None]
        steps = [Step(call) for call in calls]
        self.logits_for = logits_for
        for i in logits_for:
            self._leave_out_activation(steps, i)
        if fuse:
            steps = fused.fuse(steps, set(self.outputs))
        self.steps: list[Step] = steps
        for step in steps:
            step.core = step.layer
            step.variables = step.core._weights_with_gradients
            step.trained = [id(v) in trainable for v in step.variables]
            if not fused.is_own(step.core) or any(self.dtypes[i] != step.core.dtype for i in step.inputs):
                step.layer = Border(step, self.shapes[step.output])
            for held in getattr(step.core, "_flatten_layers", list)()[1:]:
                if held.activity_regularizer is not None:
                    raise NotImplementedError(
                        f"Layer '{held.name}', which layer '{step.core.name}' holds, has an `activity_regularizer`: minicnn "
                        "penalizes outputs of a model's own layers only."
                    )
            if step.core.activity_regularizer is not None:
                step.layer, step.penalized = fused.Penalized(step.layer, step.core.activity_regularizer), True
            if watch_numerics:
                step.layer = Watched(step.layer, "+".join(step.names))
        self._mark_gradients()
        self._mark_last_reads()

    def _leave_out_activation(self, steps: list[Step], index: int) -> None:
        last = next(step for step in steps if step.output == self.outputs[index])
        without = fused.without_activation(last.layer)
        if without is not None:
            last.layer = without
        else:  # an activation layer of its own: its input is the output now
            steps.remove(last)
            self.outputs[index] = last.inputs[0]

    def _mark_gradients(self) -> None:
        wanted = [False] * len(self.shapes)
        for step in self.steps:
            step.passes_on = any(wanted[i] for i in step.inputs)
            step.learns = wanted[step.output] = step.passes_on or any(step.trained)

    def _mark_last_reads(self) -> None:
        read = set(self.outputs)
        for step in reversed(self.steps):
            step.forgets = tuple({i for i in step.inputs if i not in read})
            read.update(step.inputs)

    def begin(self, inputs: list[Any]) -> list[Any]:
        """A list with a place for every value of the plan, the inputs filled in."""
        values: list[Any] = [None] * len(self.shapes)
        for i, array in zip(self.inputs, inputs):
            values[i] = array
        return values

    def forward(self, inputs: list[Any], training: bool, penalties: list[Any] | None = None) -> list[Any]:
        """The model's outputs, nothing kept for a backward pass; the penalties of activities join `penalties`."""
        values = self.begin(inputs)
        for step in self.steps:
            values[step.output], saved = step.layer.forward(step.read(values), training)
            if step.penalized and penalties is not None:
                penalties.append(saved[0])
            del saved
            step.forget(values)
        return [values[i] for i in self.outputs]

    def describe(self, batch_size: int = 1) -> PlanTable:
        """One row a step: what runs together, output shape, FLOPs and bytes of its output for a batch.

        The last two are None where they depend on the image, whose extents the model leaves open.
        """
        rows = PlanTable()
        for step in self.steps:
            shape = self.shapes[step.output]
            flops = sum_of_known(
                flops_of(call.layer, [self.shapes[i] for i in call.inputs], call.takes_list, self.shapes[call.output])
                for call in self.calls
                if call.layer.name in step.names
            )
            numbers = None if None in shape[1:] else math.prod(shape[1:])  # type: ignore[arg-type]
            rows.append(
                {
                    "layers": list(step.names),
                    "fused": len(step.names) > 1,
                    "op": type(step.core).__name__,
                    "output_shape": shape,
                    "flops": None if flops is None else flops * batch_size,
                    "bytes": None if numbers is None else batch_size * numbers * np.dtype(step.layer.dtype).itemsize,
                }
            )
        return rows


class Border(Layer):
    """A layer that a user wrote, or one among layers of another dtype: what it takes and hands over is cast and checked.

    Kernels read arrays by their addresses: what has another dtype, layout or shape would lead them to other memory.
    minicnn's own layers return what kernels read, so that they need no border where their neighbours share their dtype.

    Args:
        step: whose layer it is. output_shape: what the layer promised, None for extents that may be any.
    """

    def __init__(self, step: Step, output_shape: tuple[int | None, ...]) -> None:
        self.layer: Any
        self.takes_list: bool
        self.output_shape: tuple[int | None, ...]
        self.of_grads: list[Variable]
        self.__dict__.update(
            layer=step.core,
            name=step.core.name,
            dtype=step.core.dtype,
            takes_list=step.takes_list,
            output_shape=output_shape,
            of_grads=step.variables,
        )

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        given = x if self.takes_list else [x]
        cast = [backends.asarray(array, self.dtype) for array in given]
        y, saved = self.layer.forward(cast if self.takes_list else cast[0], training)
        y = backends.asarray(y, self.dtype)
        promised = (given[0].shape[0], *self.output_shape[1:])
        if len(y.shape) != len(promised) or any(extent not in (None, found) for extent, found in zip(promised, y.shape)):
            raise ValueError(
                f"Layer '{self.name}': `forward` returned an output of shape {tuple(y.shape)}, expected {promised}: "
                "see `compute_output_shape`."
            )
        return y, (saved, [(array.shape, array.dtype) for array in given])

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        inner, given = saved
        dx, grads = self.layer.backward(dy, inner)
        found = list(dx) if self.takes_list else [dx]
        if len(found) != len(given):
            raise ValueError(f"Layer '{self.name}': `backward` returned {len(found)} arrays dx for {len(given)} inputs.")
        for i, (d, (shape, dtype)) in enumerate(zip(found, given)):
            if np.shape(d) != shape:
                raise ValueError(f"Layer '{self.name}': `backward` returned dx of shape {np.shape(d)}, expected x's, {shape}.")
            found[i] = backends.asarray(d, dtype)
        return found if self.takes_list else found[0], self._fitting(grads)

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        return self._fitting(self.layer.backward_weights(dy, saved[0]))

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


class Watched(Layer):
    """A layer whose outputs and gradients are checked; see `NumericsError`."""

    def __init__(self, layer: Any, name: str) -> None:
        self.layer: Layer
        self.__dict__.update(layer=layer, name=name, dtype=layer.dtype)

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        y, saved = self.layer.forward(x, training)
        self._check("forward", (y,))
        return y, saved

    def backward(self, dy: Any, saved: Any) -> tuple[Any, tuple[Any, ...]]:
        dx, grads = self.layer.backward(dy, saved)
        self._check("backward", (*(dx if isinstance(dx, list) else (dx,)), *grads))
        return dx, grads

    def backward_weights(self, dy: Any, saved: Any) -> tuple[Any, ...]:
        grads = self.layer.backward_weights(dy, saved)
        self._check("backward", grads)
        return grads

    def _check(self, pass_name: str, arrays: Any) -> None:
        for array in arrays:
            # A sum is NaN or infinite if an element is; only then is it worth looking closer (a sum may overflow).
            with np.errstate(over="ignore", invalid="ignore"):
                finite = math.isfinite(float(array.sum()))
            if not finite and not np.isfinite(backends.to_numpy(array)).all():
                raise NumericsError(self.name, pass_name)
