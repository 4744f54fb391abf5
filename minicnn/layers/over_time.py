"""A cell run over time, forward and back: the step of a plan that every recurrent layer made of minicnn's own cells is.

    z_t = project(x_t)                     what needs no earlier step: one product over all steps at once
    states_t = step(z_t, states_t-1)       the recurrent product and the gates, step by step; y_t is the first state, h_t

Backward, from the last step to the first ("backpropagation through time"), with the states of all steps kept:

    dstates_t-1, dz_t = step_backward(dstates_t, to whose first dy_t was added)
    dx, dkernel, dbias = the gradients of `project`, again of all steps at once
    drecurrent = the sum over t of the gradients of the recurrent product of h_t-1: also one product, of the stacked steps

A step that is masked leaves its sample's states as they were.

Source: Werbos 1990, doi:10.1109/5.58337.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn import backends, registry
from minicnn.layers.base import Layer
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.symbolic import Shape

__all__ = ["Course", "OverTime"]


class Course(NamedTuple):
    """How a cell runs over a sequence.

    Attributes:
        return_sequences: whether y has all steps, or the last one alone.
        return_state: whether the last states are returned, too.
        go_backwards: whether it begins with the last step; y then is in that order.
        zero_output_for_mask: whether y is 0 at masked steps, and not what it was before them.
        given: whether the first states are among the inputs; else they are those that were carried here, or zeros.
        masked: whether a mask is.
        carried: variables in which the last states wait for the next batch; empty for none.
    """

    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    zero_output_for_mask: bool = False
    given: bool = False
    masked: bool = False
    carried: tuple[Any, ...] = ()


@registry.register("step")
class OverTime(Layer):
    """A cell run over sequences (N, T, ...).

    Args:
        cell: a `Cell`, built. course: how it runs.

    Input: a list of the sequences, of the first states if they are given, and of the mask (N, T) if there is one. Output: y,
    (N, T, ...), or of the last step alone (N, ...). With `return_state` it is one array of the steps of y and, behind them,
    the last states, since a step of a plan makes one array; `parts` cuts it.
    """

    autocast = False  # a mask has another dtype
    supports_masking = True

    def __init__(self, cell: Any, course: Course, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell, self.course = cell, course
        others = cell.states * course.given + course.masked
        self.input_spec = [_of_sequences(cell.input_spec), *[None] * others]
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Shape:
        N, T, *rest = input_shape[0]
        _, *space = self.cell.state_shape((N, *rest))
        steps = T if self.course.return_sequences else 1
        if self.course.return_state:
            return (N, None if steps is None else steps + self.cell.states, *space)
        return (N, steps, *space) if self.course.return_sequences else (N, *space)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the layer around it says what becomes of a mask."""
        return

    def parts(self, packed: Any) -> tuple[Any, list[Any]]:
        """y and the last states, of the output with `return_state`."""
        count = self.cell.states
        y = packed[:, :-count] if self.course.return_sequences else packed[:, 0]
        return y, [packed[:, index - count] for index in range(count)]

    def forward(self, x: list[Any], training: bool) -> tuple[Any, Any]:
        cell, course = self.cell, self.course
        steps = _time_first(backends.asarray(x[0], self.dtype), course.go_backwards)
        (T, N), rest = steps.shape[:2], steps.shape[2:]
        dropped = cell.dropout_mask((N, *rest), cell.dropout, training)
        if dropped is not None:
            steps *= dropped
        z, of_projection = cell.project(steps.reshape(T * N, *rest))
        z = z.reshape(T, N, *z.shape[1:])
        states = self._first_states(x, (N, *z.shape[2:-1], z.shape[-1] // cell.gates))
        h = backends.empty((T + 1, *states[0].shape), z.dtype)
        h[0] = states[0]
        recurrence = cell.recurrence(h.shape[1:], training)
        here = _here(x[-1], course.go_backwards, h.ndim) if course.masked else None
        room = backends.empty((T, cell.kept, *h.shape[1:]), h.dtype)
        kept = []
        for t in range(T):
            before = [h[t], *states[1:]]
            states, of_step = cell.step(z[t], before, recurrence, room[t])
            if here is not None:
                states = [np.where(here[t], new, old) for new, old in zip(states, before)]
            h[t + 1] = states[0]
            kept.append(of_step)
        seen = None if here is None else here if course.zero_output_for_mask else np.cumsum(here, axis=0) > 0
        states = [cell.as_given(state) for state in states]
        for variable, state in zip(course.carried, states):
            variable.assign(state)
        y = self._packed(h[1:] if seen is None else h[1:] * seen.astype(h.dtype), states)
        return y, (x, dropped, of_projection, recurrence, h, (here, seen), kept)

    def backward(self, dy: Any, saved: Any, need_dx: bool = True) -> tuple[Any, tuple[Any, ...]]:
        x, dropped, of_projection, recurrence, h, (here, seen), kept = saved
        cell, course, (T, N) = self.cell, self.course, (len(kept), h.shape[1])
        dys, dstates = self._unpacked(dy, h)
        dz = backends.empty((T, *h.shape[1:-1], cell.gates * h.shape[-1]), h.dtype)
        dinner = cell.gradients_of_recurrence(dz)
        back = cell.recurrence_backward(recurrence, h.shape[1:])
        for t in reversed(range(T)):
            if course.return_sequences or t == T - 1:
                of_step = dys[t if course.return_sequences else 0]
                dstates[0] = dstates[0] + (of_step if seen is None else of_step * seen[t])
            before = cell.step_backward(dstates, kept[t], back, dz[t], dinner[t])
            if here is not None:
                before = [np.where(here[t], new, old) for new, old in zip(before, dstates)]
                for part in (dz,) if dinner is dz else (dz, dinner):
                    part[t] *= here[t]
            dstates = before
        dsteps, dkernel, dbias = cell.project_backward(dz.reshape(T * N, *dz.shape[2:]), of_projection, need_dx)
        of_recurrence = cell.recurrence_gradients(dinner, h[:-1], recurrence, kept)
        return self._gradients_at(x, dsteps, dropped, dstates), cell.in_order(dkernel, dbias, *of_recurrence)

    def _first_states(self, x: list[Any], shape: tuple[int, ...]) -> list[Any]:
        """The states before the first step, as kernels read them.

        Raises:
            ValueError: for states of another shape.
        """
        cell, course = self.cell, self.course
        if course.given:
            states = [backends.asarray(cell.images(backends.asarray(one, self.dtype))) for one in x[1 : 1 + cell.states]]
        elif course.carried:
            states = [cell.images(variable.value).copy() for variable in course.carried]  # these change below
        else:
            states = [backends.empty(shape, self.dtype) for _ in range(cell.states)]
            for state in states:
                state.fill(0)
        for state in states:
            if course.carried and len(state) != shape[0]:
                raise ValueError(
                    "If an RNN is stateful, the batch size of the input sequences must be the same as the batch size of the "
                    f"initial state. \n- Expected batch size: {len(state)}\n- Received batch size: {shape[0]}"
                )
            if state.shape != shape:
                raise ValueError(
                    f"Layer '{self.name}': `initial_state` must have {cell.states} state(s) of shape {shape} for these "
                    f"sequences. Received: a state of shape {state.shape}"
                )
        return states

    def _packed(self, h: Any, states: list[Any]) -> Any:
        """The output: y of all steps or of the last one, (T, N, ...), and the last states where they are wanted."""
        course = self.course
        wanted = h if course.return_sequences else h[-1:]
        (steps, N), count = wanted.shape[:2], len(states) if course.return_state else 0
        given = self.cell.as_given(wanted.reshape(steps * N, *wanted.shape[2:]))
        packed = backends.empty((N, steps + count, *given.shape[1:]), given.dtype)
        packed[:, :steps] = given.reshape(steps, N, *given.shape[1:]).swapaxes(0, 1)
        for index in range(count):
            packed[:, steps + index] = states[index]
        return packed if course.return_sequences or count else packed.reshape(given.shape)

    def _unpacked(self, dy: Any, h: Any) -> tuple[Any, list[Any]]:
        """`_packed` the other way round: the gradients at y, (T, N, ...), and at the last states."""
        course, count = self.course, self.cell.states
        dy = dy if course.return_sequences or course.return_state else dy[:, None]
        steps = dy.shape[1] - (count if course.return_state else 0)
        dys = _time_first(dy[:, :steps], False)
        dys = self.cell.images(dys.reshape(-1, *dys.shape[2:])).reshape(steps, *h.shape[1:])
        if course.return_state:
            return dys, [self.cell.images(backends.asarray(dy[:, steps + index])) for index in range(count)]
        dstates = [backends.empty(h.shape[1:], h.dtype) for _ in range(count)]
        for state in dstates:
            state.fill(0)
        return dys, dstates

    def _gradients_at(self, x: list[Any], dsteps: Any, dropped: Any, dstates: list[Any]) -> list[Any]:
        """The gradient at each input: None where there is none."""
        dx = None
        if dsteps is not None:
            N, T, *rest = x[0].shape
            steps = dsteps.reshape(T, N, *rest)
            steps = steps if dropped is None else steps * dropped
            dx = backends.asarray(_time_first(steps[::-1] if self.course.go_backwards else steps, False), x[0].dtype)
        of_states = [backends.asarray(self.cell.as_given(one)) for one in dstates] if self.course.given else []
        return [dx, *of_states, *([None] if self.course.masked else [])]

    def count_flops(self, input_shape: Any, output_shape: Shape) -> int:
        _, T, *rest = input_shape[0]
        return (T or 1) * self.cell.flops_of_a_step((None, *rest))


def _of_sequences(of_a_step: Any) -> InputSpec | None:
    """What the sequences must look like whose steps a cell takes: with the axis of time behind the batch's."""
    if of_a_step is None:
        return None
    rank, least = (None if count is None else count + 1 for count in (of_a_step.ndim, of_a_step.min_ndim))
    axes = {axis + (axis > 0): size for axis, size in of_a_step.axes.items()}
    return InputSpec(ndim=rank, min_ndim=least, axes=axes)


def _time_first(x: Any, backwards: bool) -> Any:
    """A copy of (N, T, ...) as (T, N, ...), or of (T, N, ...) as (N, T, ...): the first two axes exchanged."""
    steps = x.swapaxes(0, 1)
    y = backends.empty(steps.shape, steps.dtype)
    y[...] = steps[::-1] if backwards else steps
    return y


def _here(mask: Any, backwards: bool, rank: int) -> Any:
    """Which steps count, from a mask (N, T), perhaps with an axis of size 1 behind: (T, N, 1, ...) of so many axes."""
    mask = (mask != 0).reshape(mask.shape[:2]).swapaxes(0, 1)
    mask = mask[::-1] if backwards else mask
    return mask.reshape(*mask.shape, *(1,) * (rank - 2))
