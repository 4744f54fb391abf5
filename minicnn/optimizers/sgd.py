"""Stochastic gradient descent, with momentum and Nesterov's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import registry
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
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: momentum={momentum}")
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        if not self.momentum:
            ops.sgd_update_(params, grads, learning_rate)
            return
        update_ = ops.nesterov_update_ if self.nesterov else ops.momentum_update_
        update_(params, grads, self.slots(self.momentums, variables), learning_rate, self.momentum)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
