"""Stochastic gradient descent, with momentum and Nesterov's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import backends, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "sgd")
class SGD(Optimizer):
    """p -= learning_rate * g; with `momentum`: m = momentum * m - learning_rate * g, p += m.

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        momentum: in [0, 1].
        nesterov: p += momentum * m - learning_rate * g instead (Sutskever et al. 2013).
        decoupled_weight_decay: True takes learning_rate * `weight_decay` of each weight away, as all optimizers here do;
            False adds `weight_decay` * p to g instead, so that it goes through the momentum as gradients do: PyTorch's SGD,
            and what an L2 regularizer of half of it adds (Loshchilov & Hutter 2017, arXiv:1711.05101).
        rate_in_momentum: True gathers steps in m, as above and in Keras. False gathers gradients, m = momentum * m + g, and
            takes p -= learning_rate * m, with `nesterov` p -= learning_rate * (g + momentum * m), as PyTorch and Optax do. The
            two differ where the rate changes: this way, a new rate counts at once for what was gathered under old ones.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *args: Any,
        decoupled_weight_decay: bool = True,
        rate_in_momentum: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: momentum={momentum}")
        self.momentum = momentum
        self.nesterov = nesterov
        self.decoupled_weight_decay = decoupled_weight_decay
        self.rate_in_momentum = rate_in_momentum

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def _decay(self, variables: list[Variable], learning_rate: Any) -> None:
        if self.decoupled_weight_decay:
            super()._decay(variables, learning_rate)

    def _decayed(self, grad: Array, variable: Variable) -> Array:
        """g + weight_decay * p, where the decay is coupled."""
        if self.weight_decay is None or self.decoupled_weight_decay or not self._decays(variable):
            return grad
        total = backends.asarray(ops.rescale(variable.value, self.weight_decay, 0.0))
        ops.accumulate_(total, grad)
        return total

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        grads = [self._decayed(grad, variable) for grad, variable in zip(grads, variables)]
        if not self.momentum:
            ops.sgd_update_(params, grads, learning_rate)
            return
        update_ = ops.nesterov_update_ if self.nesterov else ops.momentum_update_
        momentums = self.slots(self.momentums, variables)
        if self.rate_in_momentum:
            update_(params, grads, momentums, learning_rate, self.momentum)
            return
        # A step of rate 1 up the gradients, from 0, is what the rate then belongs to.
        steps = [ops.rescale(grad, 0.0, 0.0) for grad in grads]
        update_(steps, grads, momentums, -1.0, self.momentum)
        ops.sgd_update_(params, steps, learning_rate)

    def get_config(self) -> dict[str, Any]:
        choices = {"decoupled_weight_decay": self.decoupled_weight_decay, "rate_in_momentum": self.rate_in_momentum}
        unknown_to_keras = {name: chosen for name, chosen in choices.items() if not chosen}  # which reads the others' files
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov, **unknown_to_keras}
