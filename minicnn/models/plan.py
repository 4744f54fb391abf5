"""A model's plan: the list of layer calls that one step runs, forward and backward. The only interpreter of the graph.

Made at the first batch, from the graph, for one backend: `fit`, `evaluate`, `predict`, gradients for pictures, traces and
gradient checks all go through it. Adjacent calls become one where a layer takes the next one as an epilogue (`fusion`).
Memory is not assigned by hand: a value is forgotten after its last reader, and the step's arena takes its block again.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from minicnn import backends
from minicnn.backends import ops
from minicnn.layers import Activation, Layer, SeparableConv2D
from minicnn.layers.base import record_call, recorded_penalty
from minicnn.layers.effect import Effect
from minicnn.metrics import Metric
from minicnn.models import fusion
from minicnn.models.graph import Call, Graph, flatten_calls
from minicnn.models.guards import Border, Penalized, Watched
from minicnn.models.summary import PlanTable, flops_of, sum_of_known
from minicnn.tensor import as_tensor
from minicnn.variables import Variable, trainable_changes

__all__ = ["Plan", "Step"]

Seen = Callable[["Step", Any], None]


class Step:
    """One call of a plan: of a layer, with those that were joined to it.

    Attributes:
        layer: what has `forward` and `backward`: the layer, or a guard around it (`guards`).
        calls: the layer's call, and those of the layers joined to it, in order.
        epilogues: what the layer's `forward` is told of them, by keyword: `relu=True`, `pool=the pooling layer`.
        inputs, takes_list, output: numbers of the values it reads and makes.
        training: what the call said of it, None where that is left to `Plan.forward`.
        forgets: values that nobody reads after this step (in the forward pass).
        learns: whether gradients must flow through its output at all.
        skips_dx: whether nobody reads its dx, and its layer can do without.
        penalized: whether its output is; what its `forward` saves then begins with the penalty.
        variables: what its grads belong to; `trained` tells which of them are updated.
    """

    def __init__(self, call: Call) -> None:
        self.layer: Any = call.layer
        self.calls = [call]
        self.epilogues: dict[str, Any] = {}
        self.inputs = call.inputs
        self.takes_list = call.takes_list
        self.output = call.output
        self.training = call.training
        self.forgets: tuple[int, ...] = ()
        self.learns = False
        self.skips_dx = False
        self.penalized = False
        self.variables: list[Variable] = []
        self.trained: list[bool] = []

    @property
    def layers(self) -> list[Layer]:
        """The layer, and those joined to it."""
        return [call.layer for call in self.calls]

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    @property
    def kind(self) -> str:
        """The layers' classes, joined by "+"."""
        return "+".join(type(layer).__name__ for layer in self.layers)

    def join(self, others: list[Step], epilogues: dict[str, Any]) -> None:
        """Take over the steps behind this one, as epilogues."""
        self.epilogues = epilogues
        for step in others:
            self.calls += step.calls
            self.output = step.output

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
            if d is not None:  # an op may have no gradient for one of its inputs
                gradients[i] = d if gradients[i] is None else ops.add_forward([gradients[i], d])


class Plan:
    """Straight-line code for a model.

    Args:
        model: whose graph it follows.
        keep: names of layers whose own output is wanted, so that it must not disappear within a step; None for all.
        logits_for: indices of outputs whose last activation is left out, because their loss
            computes it together with its own gradient.
        watch_numerics: check every value and gradient for NaN and infinity.
        of_inputs: whether gradients flow back to the model's inputs, too.
        split: whether the activation that a layer ends in is a step of its own, and a separable convolution two, so that
            the values between are seen.
        training: which of two graphs it runs, where a `call` is another one in training; None where nobody says, and what
            a layer was told of it in its call counts.
        with_masks: whether the outputs' masks are computed, too.

    Attributes:
        steps: list of `Step`. inputs, outputs: numbers of the values that go in and come out. losses: of those that
            `add_loss` was given. masks: of the outputs' masks, None for an output without one.
        metrics: that its steps update, as a `call` says.
        shapes, dtypes: of every value. logits_for: as given. regularized: the trained weights that have a regularizer.
    """

    def __init__(
        self,
        model: Graph,
        *,
        keep: Collection[str] | None = (),
        logits_for: tuple[int, ...] = (),
        watch_numerics: bool = False,
        of_inputs: bool = False,
        split: bool = False,
        training: bool | None = False,
        with_masks: bool = False,
    ) -> None:
        self.backend = backends.backend()
        flat = flatten_calls(model, training, with_masks)
        calls, self.inputs, self.outputs, self.shapes, self.losses, self.masks = flat
        self._wanted = {*self.outputs, *self.losses, *(i for i in self.masks if i is not None)}
        of_inputs_dtypes = {i: tensor.dtype for i, tensor in zip(self.inputs, model._inputs)}
        of_calls_dtypes = {call.output: call.dtype for call in calls}
        self.dtypes: list[str] = [(of_inputs_dtypes | of_calls_dtypes)[i] for i in range(len(self.shapes))]
        self._changes_seen = trainable_changes()
        trained = model.trainable_weights
        self._trained = [id(v) for v in trained]
        self.regularized: list[Variable] = [v for v in trained if v.regularizer is not None]
        parts = [part for call in calls for part in self._parts(call)] if split else calls
        steps = [Step(call) for call in parts]
        self.logits_for = logits_for
        for i in logits_for:
            self._leave_out_activation(steps, i)
        if keep is not None:
            kept = {call.output for call in calls if call.layer.name in keep}
            steps = fusion.fuse(steps, self._wanted | kept)
        self.steps: list[Step] = steps
        updated = [step.layer.owner for step in steps if isinstance(step.layer, Effect)]
        self.metrics = list({id(owner): owner for owner in updated if isinstance(owner, Metric)}.values())
        trainable = set(self._trained)
        for step in steps:
            step.variables = step.layer._weights_with_gradients
            step.trained = [id(v) in trainable for v in step.variables]
        self._mark_gradients(of_inputs)
        self._mark_last_reads()
        for step in steps:
            self._guard(step, watch_numerics)

    @property
    def has_losses(self) -> bool:
        """Whether the model brings a loss of its own: what `add_loss` was given, or penalties."""
        return bool(self.losses or self.regularized or any(step.penalized for step in self.steps))

    def is_for(self, model: Graph) -> bool:
        """Whether this is still the plan of the model: of this backend, and for the weights that are trained by now.

        A callback may freeze layers or variables at any step of `fit`. (That any did, somewhere, is a number to compare.)
        """
        if self._changes_seen != trainable_changes():
            if self._trained != [id(v) for v in model.trainable_weights]:
                return False
            self._changes_seen = trainable_changes()
        return self.backend == backends.backend()

    def _parts(self, call: Call) -> list[Call]:
        """The call of a layer as those of which it is made: both convolutions of a separable one, and its activation."""
        given: Any = call.layer
        if isinstance(given, SeparableConv2D) and fusion.is_own(given):
            first, second = given.in_two()
            return self._in_two(call, first, second, first.compute_output_shape(self.shapes[call.inputs[0]]))
        name = fusion.last_activation(given)
        layer = fusion.without_activation(given) if name is not None else None
        if layer is None:
            return [call]
        activation = Activation(given.activation, name=f"{given.name}:{name}", dtype=given.dtype)
        return self._in_two(call, layer, activation, self.shapes[call.output])

    def _in_two(self, call: Call, first: Layer, second: Layer, shape_between: Any) -> list[Call]:
        """Two calls, one after the other, for one."""
        between = len(self.shapes)
        self.shapes.append(shape_between)
        self.dtypes.append(self.dtypes[call.output])
        before = Call(first, call.inputs, call.takes_list, between, call.dtype, call.training)
        return [before, *self._parts(Call(second, (between,), False, call.output, call.dtype))]

    def _leave_out_activation(self, steps: list[Step], index: int) -> None:
        last = next(step for step in steps if step.output == self.outputs[index])
        without = fusion.without_activation(last.layer)
        if without is not None:
            last.layer = without
        else:  # an activation layer of its own: its input is the output now
            steps.remove(last)
            self.outputs[index] = last.inputs[0]

    def _mark_gradients(self, of_inputs: bool) -> None:
        wanted = [False] * len(self.shapes)
        for i in self.inputs:
            wanted[i] = of_inputs
        for step in self.steps:
            passes_on = any(wanted[i] for i in step.inputs)
            step.skips_dx = not passes_on and "need_dx" in inspect.signature(step.layer.backward).parameters
            step.learns = wanted[step.output] = passes_on or any(step.trained)

    def _mark_last_reads(self) -> None:
        read = set(self._wanted)
        for step in reversed(self.steps):
            step.forgets = tuple({i for i in step.inputs if i not in read})
            read.update(step.inputs)

    def _guard(self, step: Step, watch_numerics: bool) -> None:
        """Put around the step's layer what it needs."""
        layer = step.layer
        for held in layer._flatten_layers(include_self=False):
            if held.activity_regularizer is not None:
                raise NotImplementedError(
                    f"Layer '{held.name}', which layer '{layer.name}' holds, has an `activity_regularizer`: minicnn "
                    "penalizes outputs of a model's own layers only."
                )
        if not fusion.is_own(layer) or (layer.autocast and any(self.dtypes[i] != layer.dtype for i in step.inputs)):
            step.layer = Border(layer, step.takes_list, self.shapes[step.output], step.variables)
        if layer.activity_regularizer is not None:
            step.layer, step.penalized = Penalized(step.layer, regularizer=layer.activity_regularizer), True
        if watch_numerics:
            step.layer = Watched(step.layer)
            step.layer.__dict__["name"] = "+".join(step.names)

    def forward(
        self,
        inputs: list[Any],
        training: bool,
        saved: list[Any] | None = None,
        penalties: list[Any] | None = None,
        seen: Seen | None = None,
        masks: list[Any] | None = None,
    ) -> list[Any]:
        """The model's outputs: each step's layer computes its own from those before it.

        Args:
            inputs: arrays, as the model takes them.
            training: whether random layers and batch statistics behave as in training.
            saved: a list that takes what each step's `backward` will read; None where nothing goes back.
            penalties: a list that takes the penalties of activities.
            seen: called with each step and its output.
            masks: a list that takes the outputs' masks, None for an output without one.
        """
        values: list[Any] = [None] * len(self.shapes)
        for i, array in zip(self.inputs, inputs):
            values[i] = array
        for step in self.steps:
            in_training = training if step.training is None else step.training
            values[step.output], residuals = step.layer.forward(step.read(values), in_training, **step.epilogues)
            if saved is not None:
                saved.append(residuals)
            if step.penalized and penalties is not None:
                penalties.append(residuals[0])
            if seen is not None:
                seen(step, values[step.output])
            del residuals
            step.forget(values)
        if penalties is not None:
            penalties.extend(values[i] for i in self.losses)
        if masks is not None:
            masks.extend(None if i is None else values[i] for i in self.masks)
        return [values[i] for i in self.outputs]

    def forward_recorded(self, given: list[Any], inputs: list[Any], training: bool, penalties: list[Any]) -> list[Any]:
        """`forward` under a tape, which gets an entry for each step; outputs and penalties are tensors.

        Args:
            given: the tensors whose values the inputs are: what a tape may watch.
        """
        saved: list[Any] = []
        made: list[Any] = []
        self.forward(inputs, training, saved, seen=lambda step, y: made.append(as_tensor(y)))
        tensors: dict[int, Any] = dict(zip(self.inputs, given))
        for step, residuals, y in zip(self.steps, saved, made):
            tensors[step.output] = y
            layer, residuals = (step.layer.layer, residuals[2]) if step.penalized else (step.layer, residuals)
            alone = not step.epilogues
            record_call(layer, step.variables, [tensors[i] for i in step.inputs], y, residuals, step.takes_list, alone)
            if step.penalized:
                penalties.append(recorded_penalty(step.layer.regularizer, y, 1 / len(y)))
        penalties.extend(tensors[i] for i in self.losses)
        return [tensors[i] if i not in self.inputs else as_tensor(tensors[i]) for i in self.outputs]

    def backward(
        self,
        output_gradients: list[Any],
        saved: list[Any],
        seen: Seen | None = None,
        of_losses: list[Any] | None = None,
    ) -> tuple[dict[Variable, Any], list[Any]]:
        """The same layers the other way round: each turns dy into dx and the gradients of its weights.

        Args:
            output_gradients: dy for each output, None where there is none.
            saved: what `forward` filled; it is emptied, so that memory is free as soon as it can be.
            seen: called with each step and the gradient at its output.
            of_losses: the gradient at each of `losses`; None where they do not count.

        Returns:
            the gradient of each trained weight; the gradient at each input, None where nobody asked for it.
        """
        gradients: list[Any] = [None] * len(self.shapes)
        for i, dy in zip(self.outputs, output_gradients):
            dy = dy if dy is None else backends.asarray(dy, self.dtypes[i])  # a user's loss may return any array
            gradients[i] = dy if gradients[i] is None else ops.add_forward([gradients[i], dy])
        for i, dy in zip(self.losses, of_losses or ()):
            gradients[i] = backends.asarray(dy, self.dtypes[i])  # `add_loss` made the value, and nobody else reads it
        del output_gradients, of_losses, dy
        of_weights: dict[Variable, Any] = {}
        for step in reversed(self.steps):
            residuals = saved.pop()
            dy, gradients[step.output] = gradients[step.output], None
            if dy is not None and seen is not None:
                seen(step, dy)
            if dy is not None and step.learns:
                if step.skips_dx:
                    _, grads = step.layer.backward(dy, residuals, False)
                else:
                    dx, grads = step.layer.backward(dy, residuals)
                    step.hand_back(dx, gradients)
                    del dx
                for variable, trained, grad in zip(step.variables, step.trained, grads):
                    if trained and grad is not None:
                        before = of_weights.get(variable)
                        of_weights[variable] = grad if before is None else ops.add_forward([before, grad])
                del grads
            dy = residuals = None
        return of_weights, [gradients[i] for i in self.inputs]

    def describe(self, batch_size: int = 32) -> PlanTable:
        """One row a step: what runs together, and for one image its output's shape, FLOPs and bytes.

        The last two are None where they depend on the image, whose size the model leaves open.

        Args:
            batch_size: which the kernels named are chosen for.
        """
        rows = PlanTable()
        for step in self.steps:
            shape = self.shapes[step.output]
            numbers = None if None in shape[1:] else math.prod(shape[1:])  # type: ignore[arg-type]
            rows.append(
                {
                    "layers": step.names,
                    "fused": len(step.calls) > 1,
                    "op": step.kind,
                    "kernel": step.layers[0].algorithm((batch_size, *self.shapes[step.inputs[0]][1:])) if step.inputs else "",
                    "output_shape": shape,
                    "flops": sum_of_known(
                        flops_of(call.layer, [self.shapes[i] for i in call.inputs], call.takes_list, self.shapes[call.output])
                        for call in step.calls
                    ),
                    "bytes": None if numbers is None else numbers * np.dtype(step.layer.dtype).itemsize,
                }
            )
        return rows
