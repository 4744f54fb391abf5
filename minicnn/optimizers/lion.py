"""Lion: steps of one size, by the sign of a momentum alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "lion")
class Lion(Optimizer):
    """p -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g);  m = beta_2 * m + (1 - beta_2) * g.

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here; a third to a tenth of Adam's.
        beta_1: how much of the momentum the step follows.
        beta_2: how much of it is kept.

    Source: Chen et al. 2023, arXiv:2302.06675.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        if not 0 < beta_1 <= 1:
            raise ValueError(
                "Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to SignSGD. "
                f"Received: beta_1={beta_1}."
            )
        self.beta_1, self.beta_2 = beta_1, beta_2

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        ops.lion_update_(params, grads, self.slots(self._momentums, variables), learning_rate, (self.beta_1, self.beta_2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
