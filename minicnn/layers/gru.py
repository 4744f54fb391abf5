"""Gated recurrent units: the cell and the layer.

With a_t = x_t @ kernel + bias, in parts for z, r and g, and b_t = h_t-1 @ recurrent_kernel + its own bias (`reset_after`):

    z, r = sigma(a_t + b_t)                       the recurrent activation: what is kept, and what of the past is read
    g    = tanh(a_t + r b_t)                      the activation; without `reset_after` of a_t + (r h_t-1) @ recurrent_kernel
    h_t  = z h_t-1 + (1 - z) g

Backward, from dh, which arrives at h_t:

    dz = dh (h_t-1 - g);   dg = dh (1 - z);   dh_t-1 = dh z
    da = dz, dr and dg, each led back through its activation, where with `reset_after`
        dr = dg b_t;   db = da, but for g: dg r;   dh_t-1 += db @ recurrent_kernel.T
    and without it, with d(r h) = dg @ recurrent_kernel.T of g's part alone,
        dr = d(r h) h_t-1;   dh_t-1 += d(r h) r + (dz, dr) @ recurrent_kernel.T of theirs

Source: Cho et al. 2014, arXiv:1406.1078.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import activations, backends, registry
from minicnn.backends import ops
from minicnn.layers.activation import activate_backward, get_activation
from minicnn.layers.cell import DenseCell, activate_into, dense_back
from minicnn.layers.rnn import CellLayer, arguments_of

__all__ = ["GRU", "GRUCell"]


@registry.register("layer")
class GRUCell(DenseCell):
    """One step of a `GRU`: called on (inputs (N, C), [h]), it returns h and [h], each (N, U).

    Args:
        units: the size of h. recurrent_activation: sigma.
        reset_after: whether r multiplies what the recurrent product gives, and not what it is given.
        others: see `Cell`.
    """

    gates = 3
    kept = 4

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        given = arguments_of(locals())
        del given["recurrent_activation"], given["reset_after"]
        super().__init__(**given)
        self.recurrent_activation = get_activation(recurrent_activation)
        self.reset_after = reset_after

    def _add_bias(self, channels: int) -> None:
        shape = (2, channels) if self.reset_after else (channels,)
        self.bias = self._add_weight_of("bias", shape, "bias") if self.use_bias else None

    def _bias_of_z(self) -> Any:
        return self.bias.value[0] if self.reset_after and self.bias is not None else super()._bias_of_z()

    def _bias_of_product(self) -> Any:
        return self.bias.value[1] if self.reset_after and self.bias is not None else None

    def recurrence(self, shape: Any, training: bool) -> Any:
        """The mask of the recurrent dropout; without `reset_after` also both parts of the kernel."""
        dropped = super().recurrence(shape, training)
        if self.reset_after:
            return dropped, None
        return dropped, [backends.asarray(part) for part in self._two(self.recurrent_kernel.value)]

    def _two(self, z: Any) -> tuple[Any, Any]:
        """The parts for z and r, and for g."""
        return z[..., : 2 * self.units], z[..., 2 * self.units :]

    def step(self, z: Any, states: list[Any], recurrence: Any, room: Any) -> tuple[list[Any], Any]:
        (h,), (dropped, kernels), units = states, recurrence, self.units
        update, reset, g, inner_g = room
        read = h if dropped is None else h * dropped
        gates, candidate = self._two(z)
        if self.reset_after:
            inner, inner_g[...] = self._two(self.product(read))
        else:
            inner = ops.dense_forward(read, kernels[0], None)
        gates += inner
        sigma = self.recurrent_activation
        residuals = [activate_into(update, sigma, gates[:, :units]), activate_into(reset, sigma, gates[:, units:])]
        candidate += reset * inner_g if self.reset_after else ops.dense_forward(reset * read, kernels[1], None)
        residuals.append(activate_into(g, self.activation, candidate))
        return [update * h + (1 - update) * g], (h, read, room, residuals)

    def recurrence_backward(self, recurrence: Any, shape: Any) -> Any:
        dropped, kernels = recurrence
        backs = [self.product_backward(shape)] if kernels is None else [dense_back(kernel) for kernel in kernels]
        return dropped, backs

    def step_backward(self, dstates: list[Any], saved: Any, back: Any, dz: Any, dinner: Any) -> list[Any]:
        (dh,), (dropped, backs), units = dstates, back, self.units
        h, read, (update, reset, g, inner_g), (of_update, of_reset, of_g) = saved
        gates, dg = self._two(dz)
        gates[:, :units] = activate_backward(self.recurrent_activation, dh * (h - g), of_update)
        dg[...] = activate_backward(self.activation, dh * (1 - update), of_g)
        if self.reset_after:
            dreset = dg * inner_g
        else:
            dproduct = backs[1](backends.asarray(dg))
            dreset = dproduct * read
        gates[:, units:] = activate_backward(self.recurrent_activation, dreset, of_reset)
        if self.reset_after:
            inner_gates, inner = self._two(dinner)
            inner_gates[...] = gates
            inner[...] = dg * reset
            dread = backs[0](dinner)
        else:
            dread = backs[0](backends.asarray(gates)) + dproduct * reset
        return [dh * update + (dread if dropped is None else dread * dropped)]

    def gradients_of_recurrence(self, dz: Any) -> Any:
        return backends.empty(dz.shape, dz.dtype) if self.reset_after else dz

    def recurrence_gradients(self, dinner: Any, h: Any, recurrence: Any, kept: list[Any]) -> tuple[Any, Any]:
        dropped, kernels = recurrence
        if kernels is None:
            return super().recurrence_gradients(dinner, h, dropped, kept)
        read = (h if dropped is None else h * dropped).reshape(-1, self.units)
        gated = np.concatenate([reset * one for _, one, (_, reset, _, _), _ in kept])
        found = []
        for part, given, kernel in zip(self._two(dinner.reshape(-1, 3 * self.units)), (read, gated), kernels):
            found.append(ops.dense_backward(backends.asarray(part), given, kernel, None, False)[1])
        return np.concatenate(found, axis=1), None

    def in_order(self, dkernel: Any, dbias: Any, drecurrent: Any, of_recurrent_bias: Any) -> tuple[Any, ...]:
        if self.bias is not None and self.reset_after:
            dbias = np.stack([dbias, of_recurrent_bias])
        return super().in_order(dkernel, dbias, drecurrent, of_recurrent_bias)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "reset_after": self.reset_after,
        }


@registry.register("layer")
class GRU(CellLayer):
    """Gated recurrent units over sequences.

    Args:
        units: the size U of h.
        activation, recurrent_activation: the tanh and the sigma of the formulas.
        use_bias, kernel_initializer, ...: see `Cell`.
        dropout, recurrent_dropout, seed: see `Cell`.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: see `RNN`.
        reset_after: see `GRUCell`.
        use_cudnn: of Keras; without effect.

    Input (N, T, C), output (N, U), or (N, T, U). Weights: kernel (C, 3U), recurrent_kernel (U, 3U), bias (2, 3U), of both
    products; without `reset_after` (3U,).
    """

    cell_class = GRUCell
    cell_name = "gru_cell"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
