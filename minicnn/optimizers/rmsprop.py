"""RMSprop: steps divided by the running root mean square of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "rmsprop")
class RMSprop(Optimizer):
    """v = rho * v + (1 - rho) * g**2;  p -= learning_rate * g / sqrt(v + epsilon).

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        rho: how much of the old mean square is kept.
        momentum: of the steps; 0 for none.
        epsilon: under the root.
        centered: divide by the running standard deviation instead.

    Source: Tieleman & Hinton 2012; Graves 2013, arXiv:1308.0850.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self._momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum > 0 else None
        self._average_gradients = self.add_optimizer_variables(variables, "average_gradient") if self.centered else None

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        velocities = self.slots(self._velocities, variables)
        averages = None if self._average_gradients is None else self.slots(self._average_gradients, variables)
        momenta = None if self._momentums is None else self.slots(self._momentums, variables)
        slots = velocities, averages, momenta
        ops.rmsprop_update_(params, grads, slots, learning_rate, self.rho, self.momentum, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon, "centered": self.centered}
        return {**super().get_config(), **own}
