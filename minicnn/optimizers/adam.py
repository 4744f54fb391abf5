"""Adam, and AdamW, which is Adam with a weight decay by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "adam")
class Adam(Optimizer):
    """m += (1 - beta_1) * (g - m);  v += (1 - beta_2) * (g**2 - v);  p -= rate * m / (sqrt(v) + epsilon).

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        beta_1, beta_2: how much of the old mean and of the old mean square is kept.
        epsilon: beside the root.
        amsgrad: divide by the largest mean square so far (Reddi et al. 2018, arXiv:1904.09237).

    Source: Kingma & Ba 2014, arXiv:1412.6980.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._velocity_hats = self.add_optimizer_variables(variables, "velocity_hat") if self.amsgrad else None

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        means, variances = self.slots(self._momentums, variables), self.slots(self._velocities, variables)
        largest = None if self._velocity_hats is None else self.slots(self._velocity_hats, variables)
        ops.adam_update_(
            params, grads, (means, variances, largest), learning_rate, self._step(), (self.beta_1, self.beta_2), self.epsilon
        )

    def _step(self) -> Any:
        """The number of this update, from 1, as ops take it: an int, or the array of a device."""
        updates = self.iterations
        value = updates.value if isinstance(updates, Variable) else updates
        return int(value) + 1 if isinstance(value, (np.ndarray, np.generic)) else value + 1

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "amsgrad": self.amsgrad}
        return {**super().get_config(), **own}


@registry.register("optimizer", "adamw")
class AdamW(Adam):
    """Adam whose weights decay apart from the gradient. Source: Loshchilov & Hutter 2017, arXiv:1711.05101."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **kwargs)
        if self.weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None")
