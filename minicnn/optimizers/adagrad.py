"""Adagrad, Adadelta and Adafactor: each number's rate from the squares of its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import initializers, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "adagrad")
class Adagrad(Optimizer):
    """a += g**2;  p -= learning_rate * g / sqrt(a + epsilon).

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        initial_accumulator_value: a at first.
        epsilon: under the root.

    Source: Duchi et al. 2011, JMLR 12.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        initial = initializers.Constant(self.initial_accumulator_value)
        self._squares = self.add_optimizer_variables(variables, "accumulator", initial)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        ops.adagrad_update_(params, grads, self.slots(self._squares, variables), learning_rate, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        own = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


@registry.register("optimizer", "adadelta")
class Adadelta(Optimizer):
    """Steps as large as the last ones were: the running root mean square of the changes over that of the gradients.

    Keras's learning rate of 0.001 is small; the paper's rule has 1.0.

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        rho: how much of the old mean squares is kept.
        epsilon: under the roots.

    Source: Zeiler 2012, arXiv:1212.5701; the formula: `ops.adadelta_update_`.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, *args: Any, **kwargs: Any) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.rho, self.epsilon = rho, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        names = ["accumulated_grad", "accumulated_delta_var"]
        self._grads, self._changes = self.add_optimizer_variables(variables, names)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        slots = self.slots(self._grads, variables), self.slots(self._changes, variables)
        ops.adadelta_update_(params, grads, slots, learning_rate, self.rho, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}


@registry.register("optimizer", "adafactor")
class Adafactor(Optimizer):
    """Mean squares kept as a row and a column for each matrix, and rates relative to a variable's size.

    Args:
        learning_rate: at most; a step takes 1 / sqrt(step) where that is less. See `Optimizer`, as for the arguments that
            are not listed here.
        beta_2_decay: the mean squares keep 1 - step**beta_2_decay of the old ones.
        epsilon_1: added to the squares. epsilon_2: the smallest size of a variable.
        clip_threshold: the largest root mean square of a change.
        relative_step: Keras's, without effect there too: the rate is bounded in either case.

    Source: Shazeer & Stern 2018, arXiv:1804.04235; the formula: `ops.adafactor_update_`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_2_decay, self.epsilon_1, self.epsilon_2 = beta_2_decay, epsilon_1, epsilon_2
        self.clip_threshold, self.relative_step = clip_threshold, relative_step

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._rows: list[Variable] = []
        self._columns: list[Variable] = []
        self._velocities: list[Variable] = []
        for variable in variables:
            shape, dtype = variable.shape, variable.dtype
            row, column = shape[:-1], (*shape[:-2], *shape[-1:])
            if len(shape) < 2:  # never read
                row, column, dtype = (), (), "int32"
            self._rows.append(self.add_variable(row, dtype=dtype, name=variable.name))
            self._columns.append(self.add_variable(column, dtype=dtype, name=variable.name))
            self._velocities.append(self.add_variable_from_reference(variable, "velocity"))

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        rows, columns, squares = (self.slots(slots, variables) for slots in (self._rows, self._columns, self._velocities))
        epsilons = self.epsilon_1, self.epsilon_2
        ops.adafactor_update_(
            params,
            grads,
            (rows, columns, squares),
            learning_rate,
            self._step(),
            self.beta_2_decay,
            epsilons,
            self.clip_threshold,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
        return {**super().get_config(), **{argument: getattr(self, argument) for argument in own}}
