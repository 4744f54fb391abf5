"""Long short-term memory: the gates, the cell and the layer.

With z_t = x_t * kernel + bias and * a product (of vectors, or a convolution: `conv_lstm`), in parts for i, f, g and o:

    i, f, o = sigma(z_t + h_t-1 * recurrent_kernel)      the recurrent activation: what enters, is kept, and is shown
    g       = tanh(z_t + h_t-1 * recurrent_kernel)       the activation
    c_t     = f c_t-1 + i g
    h_t     = o tanh(c_t)

Backward, from dh and dc, which arrive at h_t and c_t:

    do = dh tanh(c_t);   dc += dh o tanh'(c_t)
    di = dc g;   df = dc c_t-1;   dg = dc i;   dc_t-1 = dc f
    dz = these four, each led back through its activation;   dh_t-1 = dz * recurrent_kernel, transposed

Source: Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; of f Gers et al. 2000, doi:10.1162/089976600300015015.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import activations, registry
from minicnn.layers.activation import activate_backward, get_activation
from minicnn.layers.cell import Cell, DenseCell, activate_into, times
from minicnn.layers.rnn import CellLayer, arguments_of

__all__ = ["LSTM", "LSTMCell", "LSTMGates"]


class LSTMGates(Cell):
    """The steps of the formulas above; its states are h and c.

    Args:
        recurrent_activation: sigma. unit_forget_bias: whether the bias of f begins with ones.
        others: see `Cell`.
    """

    gates = 4
    states = 2
    kept = 6

    def __init__(self, *, recurrent_activation: Any, unit_forget_bias: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrent_activation = get_activation(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    def _add_bias(self, channels: int) -> None:
        size, of_others = channels // 4, self.bias_initializer

        def ones_for_f(shape: Any, dtype: Any = None) -> np.ndarray:
            parts = (of_others((size,), dtype), np.ones(size, dtype), of_others((2 * size,), dtype))
            return np.concatenate([np.asarray(part) for part in parts])

        if self.unit_forget_bias:
            self.bias_initializer = ones_for_f
        super()._add_bias(channels)
        self.bias_initializer = of_others

    def step(self, z: Any, states: list[Any], recurrence: Any, room: Any) -> tuple[list[Any], Any]:
        h, c = states
        i, f, g, o, shown, after = room
        sigma, tanh = self.recurrent_activation, self.activation
        z += self.product(h if recurrence is None else h * recurrence)
        residuals = [
            activate_into(gate, activation, one)
            for gate, activation, one in zip((i, f, g, o), (sigma, sigma, tanh, sigma), _four(z))
        ]
        np.multiply(f, c, out=after)
        after += times(i, g)
        residuals.append(activate_into(shown, tanh, after))
        return [times(o, shown), after], (c, room, residuals)

    def step_backward(self, dstates: list[Any], saved: Any, back: Any, dz: Any, dinner: Any) -> list[Any]:
        dh, dc = dstates
        c, (i, f, g, o, shown, _), (of_i, of_f, of_g, of_o, of_shown) = saved
        sigma, tanh = self.recurrent_activation, self.activation
        dc = activate_backward(tanh, times(dh, o), of_shown) + dc
        di, df, dg, do = _four(dz)
        di[...] = activate_backward(sigma, times(dc, g), of_i)
        df[...] = activate_backward(sigma, times(dc, c), of_f)
        dg[...] = activate_backward(tanh, times(dc, i), of_g)
        do[...] = activate_backward(sigma, times(dh, shown), of_o)
        return [back(dz), times(dc, f)]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "unit_forget_bias": self.unit_forget_bias,
        }


def _four(z: Any) -> list[Any]:
    """The parts of z, or of its gradient, that belong to i, f, g and o."""
    size = z.shape[-1] // 4
    return [z[..., begin : begin + size] for begin in range(0, 4 * size, size)]


@registry.register("layer")
class LSTMCell(LSTMGates, DenseCell):
    """One step of an `LSTM`: called on (inputs (N, C), [h, c]), it returns h and [h, c], each (N, U).

    Args:
        units: the size of h and c. others: see `Cell` and `LSTMGates`.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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


@registry.register("layer")
class LSTM(CellLayer):
    """Long short-term memory over sequences.

    Args:
        units: the size U of h and c.
        activation, recurrent_activation: the tanh and the sigma of the formulas.
        use_bias, kernel_initializer, ...: see `Cell`. unit_forget_bias: whether the bias of f begins with ones.
        dropout, recurrent_dropout, seed: see `Cell`.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: see `RNN`.
        use_cudnn: of Keras; without effect.

    Input (N, T, C), output (N, U), or (N, T, U). Weights: kernel (C, 4U), recurrent_kernel (U, 4U), bias (4U,).
    """

    cell_class = LSTMCell
    cell_name = "lstm_cell"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
