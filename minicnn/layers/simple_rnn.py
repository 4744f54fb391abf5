"""The simple recurrent network: h_t = tanh(x_t @ kernel + bias + h_t-1 @ recurrent_kernel).

Backward, from dh, which arrives at h_t: dz = dh led back through the tanh, dh_t-1 = dz @ recurrent_kernel.T.

Source: Elman 1990, doi:10.1207/s15516709cog1402_1.
"""

from __future__ import annotations

from typing import Any

from minicnn import registry
from minicnn.layers.activation import activate_backward
from minicnn.layers.cell import DenseCell, activate_into
from minicnn.layers.rnn import CellLayer, arguments_of

__all__ = ["SimpleRNN", "SimpleRNNCell"]


@registry.register("layer")
class SimpleRNNCell(DenseCell):
    """One step of a `SimpleRNN`: called on (inputs (N, C), [h]), it returns h and [h], each (N, U).

    Args:
        units: the size of h. others: see `Cell`.
    """

    gates = 1
    kept = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))

    def step(self, z: Any, states: list[Any], recurrence: Any, room: Any) -> tuple[list[Any], Any]:
        (h,), (after,) = states, room
        z += self.product(h if recurrence is None else h * recurrence)
        return [after], activate_into(after, self.activation, z)

    def step_backward(self, dstates: list[Any], saved: Any, back: Any, dz: Any, dinner: Any) -> list[Any]:
        dz[...] = activate_backward(self.activation, dstates[0], saved)
        return [back(dz)]


@registry.register("layer")
class SimpleRNN(CellLayer):
    """The simple recurrent network over sequences.

    Args:
        units: the size U of h.
        activation: the tanh of the formula. use_bias, kernel_initializer, ...: see `Cell`.
        dropout, recurrent_dropout, seed: see `Cell`.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: see `RNN`.

    Input (N, T, C), output (N, U), or (N, T, U). Weights: kernel (C, U), recurrent_kernel (U, U), bias (U,).
    """

    cell_class = SimpleRNNCell
    cell_name = "simple_rnn_cell"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "seed"}  # as Keras's
