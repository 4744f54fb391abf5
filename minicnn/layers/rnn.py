"""`RNN`: a cell run over the steps of a sequence; several cells as one; and what LSTM, GRU and their kin have in common."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

import numpy as np

from minicnn import registry, regularizers, serialization
from minicnn.layers.base import Layer
from minicnn.layers.cell import Cell
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.over_time import Course, OverTime
from minicnn.layers.symbolic import KerasTensor, Shape, is_symbolic
from minicnn.layers.tracing import not_traced, takes_training
from minicnn.shapes import TensorShape
from minicnn.structure import flatten_struct, map_struct, pack_struct
from minicnn.tensor import as_tensor
from minicnn.variables import Variable

__all__ = ["RNN", "CellLayer", "StackedRNNCells", "arguments_of", "carried_states"]


def arguments_of(local: dict[str, Any]) -> dict[str, Any]:
    """A constructor's arguments by name, out of its `locals()`."""
    named = {name: value for name, value in local.items() if name not in ("self", "kwargs", "__class__")}
    return {**named, **local["kwargs"]}


@registry.register("layer")
class StackedRNNCells(Layer):
    """Cells one behind the other as one: each gets the output of the one before.

    Args:
        cells: list of cells.
    """

    def __init__(self, cells: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            for needed, what in (("call", "method"), ("state_size", "attribute")):
                if not hasattr(cell, needed):
                    raise ValueError(f"All cells must have a `{needed}` {what}. Received cell without a `{needed}`: {cell}")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """Of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """Of the last cell."""
        return output_size_of(self.cells[-1])

    def build(self, input_shape: Shape) -> None:
        for cell in self.cells:
            if isinstance(cell, Layer):
                cell.build_once(input_shape)
            input_shape = (input_shape[0], *_axes(output_size_of(cell)))
        self.built = True

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros, or what the cells say."""
        states = [first_state_of(cell, batch_size, self.dtype) for cell in self.cells]
        return [state if _are_several(cell.state_size) else state[0] for cell, state in zip(self.cells, states)]

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """(output, states of each cell) after one step."""
        after = []
        for cell, before in zip(self.cells, states):
            inputs, new = step_of(cell, inputs, before, training)
            after.append(new if isinstance(before, (list, tuple)) else new[0])
        return inputs, after

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"cells": [serialization.serialize(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StackedRNNCells:
        return cls(**{**config, "cells": [serialization.deserialize(cell) for cell in config["cells"]]})


def _are_several(sizes: Any) -> bool:
    """Whether a cell has a list of states, and not one, of an int or of a `TensorShape`: a state of several axes."""
    return isinstance(sizes, (list, tuple)) and not isinstance(sizes, TensorShape)


def _axes(size: Any) -> tuple[int, ...]:
    return tuple(size) if isinstance(size, TensorShape) else (size,)


def output_size_of(cell: Any) -> Any:
    """The size of a cell's output: of its first state, if it does not say it."""
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size
        while _are_several(size):
            size = size[0]
    return size


def first_state_of(cell: Any, batch_size: Any, dtype: str) -> Any:
    """A list of the states before the first step: zeros, if the cell does not say."""
    if hasattr(cell, "get_initial_state"):
        first = cell.get_initial_state(batch_size=batch_size)
        return first if isinstance(first, (list, tuple)) else [first]
    sizes = cell.state_size if _are_several(cell.state_size) else [cell.state_size]
    return [registry.operation("full")((batch_size, *_axes(size)), 0.0, dtype) for size in sizes]


def step_of(cell: Any, inputs: Any, states: Any, training: bool) -> tuple[Any, Any]:
    """The output of a cell, and its states in a list."""
    named = {"training": training} if takes_training(cell.call) else {}
    y, after = cell.call(inputs, list(states) if isinstance(states, (list, tuple)) else [states], **named)
    return y, list(after) if isinstance(after, (list, tuple)) else [after]


@registry.register("layer")
class RNN(Layer):
    """A cell run over the steps of sequences (N, T, ...).

    Args:
        cell: one of minicnn's, a list of cells, or one of your own: a layer with `state_size` and a
            `call(inputs, states)` that returns (output, states). minicnn's run as one step of the model's plan, with their
            gradients by hand; of others each step is drawn into the graph.
        return_sequences: whether y has all steps, (N, T, ...), or the last one alone, (N, ...).
        return_state: whether the last states are returned, too: [y, state, ...].
        go_backwards: whether it begins with the last step; y then is in that order.
        stateful: whether a batch goes on with the states that the one before it ended with (the batch size is then fixed).
        unroll: of Keras; without effect.
        zero_output_for_mask: whether y is 0 at masked steps, and not what it was before them.

    Called with `initial_state`, the states before the first step, and with a `mask` (N, T), false at steps to leave out.

    Raises:
        ValueError: for a cell without `call` or `state_size`.
    """

    supports_masking = True
    _own_arguments: ClassVar[tuple[str, ...]] = (
        "return_sequences",
        "return_state",
        "go_backwards",
        "stateful",
        "unroll",
        "zero_output_for_mask",
    )

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell
        if not hasattr(cell, "call"):
            raise ValueError(f"Argument `cell` should have a `call` method. Received: cell={cell}")
        if not hasattr(cell, "state_size"):
            raise ValueError(
                "The RNN cell should have a `state_size` attribute (single integer or list of integers, one integer per RNN "
                f"state). Received: cell={cell}"
            )
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        self.stateful, self.unroll, self.zero_output_for_mask = stateful, unroll, zero_output_for_mask
        self.states: Any = None

    def build(self, sequences_shape: Shape, initial_state_shape: Any = None) -> None:
        if isinstance(self.cell, Layer):
            self.cell.build_once((sequences_shape[0], *sequences_shape[2:]))
        self.built = True

    @property
    def _own_cells(self) -> list[Cell] | None:
        """minicnn's cells that it runs, one behind the other; None where there is another."""
        cells = self.cell.cells if type(self.cell) is StackedRNNCells else [self.cell]
        return cells if all(isinstance(cell, Cell) and type(cell).call is Cell.call for cell in cells) else None

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        N, T, *rest = sequences_shape
        states = self._state_shapes((N, *rest))
        space = states[0][1:] if isinstance(self.cell, Cell) else _axes(output_size_of(self.cell))
        y = (N, T, *space) if self.return_sequences else (N, *space)
        return (y, *states) if self.return_state else y

    def _state_shapes(self, step_shape: Shape) -> list[Any]:
        """Of each state; for several cells, a shape or a list of shapes for each."""
        if isinstance(self.cell, Cell):
            return [self.cell.state_shape(step_shape)] * self.cell.states
        sizes = self.cell.state_size
        return _shapes_of(sizes if _are_several(sizes) else [sizes], step_shape[0])

    def count_flops(self, input_shape: Any, output_shape: Any) -> int:
        N, T, *rest = input_shape
        flops, shape = 0, (N, *rest)
        for cell in self._own_cells or []:
            flops += (T or 1) * cell.flops_of_a_step(shape)
            shape = cell.state_shape(shape)
        return flops

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """That of the steps, where these are returned."""
        of_y = mask if self.return_sequences else None
        return [of_y] if self.return_state else of_y

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """y, or with `return_state` [y, state, ...]."""
        if self.stateful and self.states is None:
            self._make_states(tuple(sequences.shape))
        if initial_state is not None:
            first = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
            initial_state = map_struct(lambda state: _symbolic(state) if is_symbolic(sequences) else state, first)
        cells = self._own_cells
        if cells is None:
            y, states = self._step_by_step(sequences, initial_state, mask, training)
        else:
            y, states = self._over_time(cells, (sequences, initial_state, mask), training)
        return [y, *states] if self.return_state else y

    def _over_time(self, cells: list[Cell], inputs: tuple[Any, Any, Any], training: bool) -> tuple[Any, list[Any]]:
        """y and the last states of minicnn's cells: one cell over all steps, then the next over what came out."""
        sequences, initial_state, mask = inputs
        stacked = isinstance(self.cell, StackedRNNCells)
        first = (initial_state if stacked else [initial_state]) if initial_state is not None else [()] * len(cells)
        carried = (self.states if stacked else [self.states]) if self.stateful else [()] * len(cells)
        states: list[Any] = []
        for number, cell in enumerate(cells):
            last, given = number == len(cells) - 1, _as_list(first[number])
            course = Course(
                return_sequences=self.return_sequences or not last,
                return_state=self.return_state,
                go_backwards=self.go_backwards and number == 0,
                zero_output_for_mask=self.zero_output_for_mask and last,
                given=bool(given),
                masked=mask is not None,
                carried=tuple(_as_list(carried[number])),
            )
            name = f"{self.name}_{cell.name}" if stacked else self.name
            run = OverTime(cell, course, name=name, dtype=self.dtype)
            sequences = run([sequences, *given, *([] if mask is None else [mask])], training=training)
            if self.return_state:
                sequences, after = run.parts(sequences)
                states += [after if cell.states > 1 else after[0]] if stacked else after
            if course.go_backwards and mask is not None:  # the next cell gets the steps in this order
                mask = registry.operation("flip")(mask, 1)
        return sequences, states

    def _step_by_step(self, sequences: Any, initial_state: Any, mask: Any, training: bool) -> tuple[Any, list[Any]]:
        """y and the last states of a cell of the user's own."""
        T = sequences.shape[1]
        if T is None:
            raise ValueError(
                f"Layer '{self.name}' runs a cell of your own, a {type(self.cell).__name__}, whose steps are drawn into the "
                f"graph one by one: their number must be known. Received: sequences of shape {tuple(sequences.shape)}"
            )
        states: Any = initial_state
        if states is None and self.stateful:
            states = map_struct(_symbolic if is_symbolic(sequences) else as_tensor, self.states)
        elif states is None:
            N = registry.operation("_size_of_axis")(sequences, 0) if is_symbolic(sequences) else len(sequences)
            states = first_state_of(self.cell, N, self.dtype)
        mask = None if mask is None else registry.operation("cast")(mask, "bool")
        steps: list[Any] = []
        for t in reversed(range(T)) if self.go_backwards else range(T):
            y, after = step_of(self.cell, sequences[:, t], states, training)
            if mask is not None:
                before = 0.0 if self.zero_output_for_mask or not steps else steps[-1]
                y = _where(mask[:, t], y, before)
                pairs = zip(flatten_struct(after), flatten_struct(states))
                after = pack_struct(after, [_where(mask[:, t], new, old) for new, old in pairs])
            steps.append(y)
            states = after
        if self.stateful:
            for variable, state in zip(flatten_struct(self.states), flatten_struct(states)):
                variable.assign(state)
        return registry.operation("stack")(steps, 1) if self.return_sequences else steps[-1], states

    def _make_states(self, shape: Shape) -> None:
        if shape[0] is None:
            raise ValueError(
                f"When using `stateful=True` in a RNN, the batch size must be static. Found dynamic batch size: "
                f"sequence.shape={shape}"
            )

        def variables(of: Any) -> Any:
            """One of zeros for each shape."""
            if isinstance(of, list):
                return [variables(one) for one in of]
            return Variable(np.zeros(of), dtype=self.dtype, trainable=False, name="rnn_state", path=f"{self.name}/rnn_state")

        with not_traced():
            self.states = variables(self._state_shapes((shape[0], *shape[2:])))

    def reset_state(self) -> None:
        """Forget the states that the last batch left: zeros, if the layer is stateful."""
        for variable in flatten_struct(self.states or []):
            variable.assign(np.zeros(variable.shape))

    reset_states = reset_state

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The states before the first step."""
        return first_state_of(self.cell, batch_size, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"cell": serialization.serialize(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**{**config, "cell": serialization.deserialize(config["cell"])})


def carried_states(layer: Layer) -> list[Variable]:
    """What stateful layers within a layer, or a model, hold for the next batch; no file of weights has it."""
    found = [one.states for one in layer._flatten_layers() if isinstance(one, RNN) and one.stateful]
    return flatten_struct([states for states in found if states is not None])


def _as_list(states: Any) -> list[Any]:
    return list(states) if isinstance(states, (list, tuple)) else [states]


def _shapes_of(sizes: Any, N: int | None) -> list[Any]:
    """(N, size) for each size in nested lists."""
    return [_shapes_of(size, N) if _are_several(size) else (N, *_axes(size)) for size in sizes]


def _symbolic(state: Any) -> Any:
    """An array or a variable as a tensor of a graph."""
    return state if isinstance(state, KerasTensor) else registry.operation("constant").symbolic(x=state)


def _where(here: Any, new: Any, old: Any) -> Any:
    """`new` in the samples where `here` (N,) is true, `old` in the others."""
    return registry.operation("where")(registry.operation("reshape")(here, (-1, *(1,) * (len(new.shape) - 1))), new, old)


class CellLayer(RNN):
    """Base of the layers that run a cell of theirs, which has their arguments and attributes.

    Args:
        arguments: the constructor's `locals()`. What the cell's constructor takes goes there, all else to `RNN`.
    """

    cell_class: ClassVar[Any]
    cell_name: ClassVar[str]
    ndim: ClassVar[int] = 3  # of the sequences

    def __init__(self, arguments: dict[str, Any]) -> None:
        given = arguments_of(arguments)
        if given.pop("use_cudnn", "auto") not in ("auto", True, False):
            raise ValueError(
                "Invalid valid received for argument `use_cudnn`. Expected one of {'auto', True, False}. "
                f"Received: use_cudnn={arguments['use_cudnn']}"
            )
        given.pop("implementation", None)  # of Keras: how it cuts the products
        of_cell = {name: given.pop(name) for name in _parameters(self.cell_class) if name in given}
        shared = {name: given[name] for name in ("dtype", "trainable") if name in given}
        super().__init__(self.cell_class(**of_cell, **shared, name=self.cell_name), **given)
        self.input_spec = InputSpec(ndim=self.ndim)

    def __getattr__(self, name: str) -> Any:
        if name != "cell" and name in _parameters(type(self).cell_class):
            return getattr(self.cell, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_config(self) -> dict[str, Any]:
        settings, of_cell = RNN.get_config(self), self.cell.get_config()
        del settings["cell"]
        settings |= {name: of_cell[name] for name in _parameters(self.cell_class)}
        return settings | {"activity_regularizer": regularizers.serialize(self.activity_regularizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**config)


@functools.cache
def _parameters(cell_class: Any) -> tuple[str, ...]:
    """The arguments of a cell's constructor, by name."""
    return tuple(name for name in inspect.signature(cell_class).parameters if name != "kwargs")
