"""What minicnn's own recurrent cells have in common: kernels, dropout, and their two products."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import numpy as np

from minicnn import backends, registry
from minicnn.backends import ops
from minicnn.layers.activation import activate
from minicnn.layers.affine import Affine
from minicnn.layers.arguments import defined_channels
from minicnn.layers.input_spec import InputSpec
from minicnn.layers.over_time import Course, OverTime
from minicnn.layers.symbolic import Shape
from minicnn.seeds import SeedGenerator
from minicnn.variables import Variable

__all__ = ["Cell", "DenseCell", "activate_into", "dense_back", "times"]


class Cell(Affine):
    """Base of the cells that `OverTime` runs.

    Args:
        dropout, recurrent_dropout: the rates at which, in training, is dropped what `project` and the recurrent product are
            given. One mask is drawn for a batch, for all of its steps and gates.
        seed: of the masks; default from `set_random_seed`.
        others: as of `Affine`; beside `kernel`, which x is multiplied with, there is `recurrent_kernel`, for the state h.

    A subclass writes `step` and `step_backward`, and what is done by a product, as `DenseCell` and `ConvLSTMCell` do, with
    `images` and `as_given`: from what the cell is given to what the products read, and back.

    Source: of the dropout Gal & Ghahramani 2016, arXiv:1512.05287.
    """

    _weighted = ("kernel", "recurrent", "bias")
    _own_arguments: ClassVar[tuple[str, ...]] = ("dropout", "recurrent_dropout", "seed")
    gates: ClassVar[int]  # how many times as wide as a state z is
    states: ClassVar[int] = 1  # how many arrays its state is; the first is its output
    kept: ClassVar[int]  # how many arrays of a state's shape a step keeps
    recurrent_kernel: Variable
    kernel_initializer: Any
    bias_initializer: Any

    def __init__(self, *, dropout: float, recurrent_dropout: float, seed: int | None, **kwargs: Any) -> None:
        kwargs.pop("implementation", None)  # of Keras: how it cuts the products
        super().__init__(**kwargs)
        self.dropout, self.recurrent_dropout = (min(1.0, max(0.0, rate)) for rate in (dropout, recurrent_dropout))
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)

    def dropout_mask(self, shape: tuple[int, ...], rate: float, training: bool) -> Any:
        """0 with probability `rate`, else 1 / (1 - rate); None where nothing is dropped (as in Keras, for a rate of 1 too)."""
        if not training or not 0 < rate < 1:
            return None
        ones = backends.empty(shape, self.dtype)
        ones.fill(1)
        return ops.dropout_forward(ones, rate, self.seed_generator.next_key())

    # --- what `OverTime` calls; the products ---------------------------------------------

    def state_shape(self, input_shape: Shape) -> Shape:
        """Of each state, for the input of one step."""
        raise NotImplementedError

    def project(self, x: Any) -> tuple[Any, Any]:
        """z for the inputs of all steps, (T*N, ...), and what `project_backward` will read."""
        raise NotImplementedError

    def project_backward(self, dz: Any, saved: Any, need_dx: bool) -> tuple[Any, Any, Any]:
        """dx (None without `need_dx`), dkernel, dbias."""
        raise NotImplementedError

    def product(self, h: Any) -> Any:
        """The recurrent product of h."""
        raise NotImplementedError

    def product_backward(self, shape: Shape) -> Callable[[Any], Any]:
        """A function: from the gradient at `product` to that at h, of this shape."""
        raise NotImplementedError

    def product_gradients(self, dinner: Any, h: Any) -> tuple[Any, Any]:
        """The gradients of `recurrent_kernel` and of a bias beside it, from those at `product` of many h."""
        raise NotImplementedError

    # --- what `OverTime` calls; the steps ------------------------------------------------

    def recurrence(self, shape: tuple[int, ...], training: bool) -> Any:
        """What all steps of a batch read: the mask of the recurrent dropout. shape: of h."""
        return self.dropout_mask(shape, self.recurrent_dropout, training)

    def step(self, z: Any, states: list[Any], recurrence: Any, room: Any) -> tuple[list[Any], Any]:
        """The states after a step, and what `step_backward` will read.

        Args:
            room: (kept, ...), memory for what it keeps: one block for all steps, since step memory is searched block by block.
        """
        raise NotImplementedError

    def recurrence_backward(self, recurrence: Any, shape: Shape) -> Any:
        """What `step_backward` reads in all steps: a function from the gradient at the recurrent product to that at h."""
        back = self.product_backward(shape)
        return back if recurrence is None else lambda dinner: back(dinner) * recurrence

    def step_backward(self, dstates: list[Any], saved: Any, back: Any, dz: Any, dinner: Any) -> list[Any]:
        """The gradients at the states before a step; those at z and at the recurrent product go to `dz` and `dinner`."""
        raise NotImplementedError

    def gradients_of_recurrence(self, dz: Any) -> Any:
        """Where the gradients at the recurrent products go: `dz` itself, if z and the product are added."""
        return dz

    def recurrence_gradients(self, dinner: Any, h: Any, recurrence: Any, kept: list[Any]) -> tuple[Any, Any]:
        """See `product_gradients`; dinner and h (the states before each step) are (T, N, ...)."""
        h = h if recurrence is None else h * recurrence
        return self.product_gradients(dinner.reshape(-1, *dinner.shape[2:]), h.reshape(-1, *h.shape[2:]))

    def in_order(self, dkernel: Any, dbias: Any, drecurrent: Any, of_recurrent_bias: Any) -> tuple[Any, ...]:
        """The gradients in the order of the weights."""
        return (dkernel, drecurrent) if self.bias is None else (dkernel, drecurrent, dbias)

    def flops_of_a_step(self, input_shape: Shape) -> int:
        """Of the two products."""
        space = prod(self.state_shape(input_shape)[1:-1])  # type: ignore[arg-type]
        return 2 * space * (self.kernel.size + self.recurrent_kernel.size)

    # --- as a layer ----------------------------------------------------------------------

    def _take_one_step(self, inputs: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """The output and the states after one step, of arrays or of symbolic tensors."""
        given = list(states) if isinstance(states, (list, tuple)) else [states]
        course = Course(return_state=True, given=True)
        run = OverTime(self, course, name=self.name, dtype=self.dtype)
        sequences = registry.operation("expand_dims")(inputs, 1)
        return run.parts(run([sequences, *given], training=training))

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """(output, states) after one step from the states before it."""
        y, after = self._take_one_step(inputs, states, training)
        return y, after if isinstance(states, (list, tuple)) else after[0]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros."""
        zeros = registry.operation("full")
        return [zeros((batch_size, *self.state_shape(self._build_shape)[1:]), 0.0, self.dtype) for _ in range(self.states)]


class DenseCell(Cell):
    """Base of the cells whose products are those of dense layers: of vectors (N, C).

    Args:
        units: the size U of a state. others: see `Cell`.

    Weights: kernel (C, gates * U), recurrent_kernel (U, gates * U), bias (gates * U,).

    Raises:
        ValueError: unless `units` is positive.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        if units <= 0:
            raise ValueError(f"Received an invalid value for argument `units`, expected a positive integer, got {units}.")
        super().__init__(**kwargs)
        self.units = units

    @property
    def state_size(self) -> Any:
        """The size of its state; a list where there are several."""
        return self.units if self.states == 1 else [self.units] * self.states

    @property
    def output_size(self) -> int:
        return self.units

    def images(self, x: Any) -> Any:
        """What the cell is given, as its products read it: as it is."""
        return x

    as_given = images

    def state_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.units)

    def build(self, input_shape: Shape) -> None:
        C_in = defined_channels(input_shape, self.name)
        self.kernel = self._add_weight_of("kernel", (C_in, self.gates * self.units), "kernel")
        self.recurrent_kernel = self._add_weight_of("recurrent", (self.units, self.gates * self.units), "recurrent_kernel")
        self._add_bias(self.gates * self.units)
        self.input_spec = InputSpec(ndim=2, axes={-1: C_in})
        self.built = True

    def _bias_of_z(self) -> Any:
        """What `project` adds."""
        return None if self.bias is None else self.bias.value

    def _bias_of_product(self) -> Any:
        """What `product` adds."""
        return None

    def project(self, x: Any) -> tuple[Any, Any]:
        # z = x @ kernel + bias
        return ops.dense_forward(x, self.kernel.value, self._bias_of_z()), x

    def project_backward(self, dz: Any, saved: Any, need_dx: bool) -> tuple[Any, Any, Any]:
        return ops.dense_backward(dz, saved, self.kernel.value, None, need_dx)

    def product(self, h: Any) -> Any:
        return ops.dense_forward(h, self.recurrent_kernel.value, self._bias_of_product())

    def product_backward(self, shape: Shape) -> Callable[[Any], Any]:
        return dense_back(self.recurrent_kernel.value)

    def product_gradients(self, dinner: Any, h: Any) -> tuple[Any, Any]:
        _, drecurrent, dbias = ops.dense_backward(dinner, h, self.recurrent_kernel.value, None, False)
        return drecurrent, dbias

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}


def activate_into(place: Any, activation: Any, z: Any) -> Any:
    """Write activation(z) to `place`; what `activate_backward` will read, which is often that."""
    y, saved = activate(activation, z, True)
    place[...] = y
    return place if saved is y else saved


def times(a: Any, b: Any) -> Any:
    """a * b, of one shape, in step memory."""
    return np.multiply(a, b, out=backends.empty(a.shape, a.dtype))


def dense_back(kernel: Any) -> Callable[[Any], Any]:
    """dy -> dy @ kernel.T, with the transpose made once."""
    transposed = backends.asarray(kernel.T)
    return lambda dy: ops.dense_forward(dy, transposed, None)
