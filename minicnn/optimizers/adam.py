"""Adam and its relatives: steps along a running mean of the gradients, over a running mean of their squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


class _Adaptive(Optimizer):
    """What the rules share: two slots a variable, how much of each is kept, and epsilon.

    A subclass names its op: `{_op}_update_(params, grads, slots, learning_rate, step, betas, epsilon)`.
    """

    _op: str
    _slot_names = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._first, self._second = self.add_optimizer_variables(variables, self._slot_names)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        update_ = getattr(ops, f"{self._op}_update_")
        update_(params, grads, self._pair(variables), learning_rate, self._step(), (self.beta_1, self.beta_2), self.epsilon)

    def _pair(self, variables: list[Variable]) -> tuple[list[Array], list[Array]]:
        return self.slots(self._first, variables), self.slots(self._second, variables)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


@registry.register("optimizer", "adam")
class Adam(_Adaptive):
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
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *args, **kwargs)
        self.amsgrad = amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocity_hats = self.add_optimizer_variables(variables, "velocity_hat") if self.amsgrad else None

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        largest = None if self._velocity_hats is None else self.slots(self._velocity_hats, variables)
        slots, betas = (*self._pair(variables), largest), (self.beta_1, self.beta_2)
        ops.adam_update_(params, grads, slots, learning_rate, self._step(), betas, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "amsgrad": self.amsgrad}


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


@registry.register("optimizer", "adamax")
class Adamax(_Adaptive):
    """m += (1 - beta_1) * (g - m);  u = max(beta_2 * u, |g|);  p -= learning_rate / (1 - beta_1**step) * m / (u + epsilon).

    Args:
        beta_1, beta_2: how much of the old mean and of the old size is kept.
        epsilon: beside the size. All others: see `Optimizer`.

    Source: Kingma & Ba 2014, arXiv:1412.6980, section 7.1.
    """

    _op = "adamax"
    _slot_names = ("momentum", "norm")


@registry.register("optimizer", "lamb")
class Lamb(_Adaptive):
    """Adam whose change of a variable is brought to the length of the variable, for large batches.

    Args:
        beta_1, beta_2, epsilon: as of `Adam`. All others: see `Optimizer`.

    Source: You et al. 2019, arXiv:1904.00962.
    """

    _op = "lamb"


@registry.register("optimizer", "nadam")
class Nadam(_Adaptive):
    """Adam that looks a step ahead, as Nesterov's momentum does; see `ops.nadam_update_`.

    Args:
        beta_1, beta_2, epsilon: as of `Adam`. All others: see `Optimizer`.

    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._product = self.add_variable((), "ones", variables[0].dtype if variables else None)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        slots, betas = self._pair(variables), (self.beta_1, self.beta_2)
        ops.nadam_update_(params, grads, slots, self._product.value, learning_rate, self._step(), betas, self.epsilon)


@registry.register("optimizer", "schedulefreeadamw")
class ScheduleFreeAdamW(_Adaptive):
    """Adam without a schedule: the weights follow the mean of all its steps; see `ops.schedule_free_adamw_update_`.

    Args:
        beta_1: how near to that mean the gradients are taken.
        beta_2, epsilon: as of `Adam`.
        warmup_steps: over which the rate rises to its value. All others: see `Optimizer`.

    Source: Defazio et al. 2024, arXiv:2405.15682.
    """

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *args, **kwargs)
        self.warmup_steps = warmup_steps

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        for z, variable in zip(self._first, variables):
            z.assign(variable)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        slots, betas = self._pair(variables), (self.beta_1, self.beta_2)
        ops.schedule_free_adamw_update_(
            params, grads, slots, learning_rate, self._step(), betas, self.epsilon, self.warmup_steps
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "warmup_steps": self.warmup_steps}
