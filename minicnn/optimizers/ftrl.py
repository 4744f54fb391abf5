"""Ftrl: weights out of all gradients at once, many of them exactly 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import initializers, registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "ftrl")
class Ftrl(Optimizer):
    """Follow the regularized leader, for shallow models with many features; the formula: `ops.ftrl_update_`.

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        learning_rate_power: how the rate falls with the sum of squares; at most 0, which is a fixed one.
        initial_accumulator_value: that sum at first.
        l1_regularization_strength: weights whose sum of gradients stays below it are 0.
        l2_regularization_strength: pulls weights towards 0.
        l2_shrinkage_regularization_strength: likewise, as a part of the gradient.
        beta: the paper's, added to the root of the sum of squares.

    Source: McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches".
    """

    _strengths = ("l1_regularization_strength", "l2_regularization_strength", "l2_shrinkage_regularization_strength")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.learning_rate_power, self.initial_accumulator_value = learning_rate_power, initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        for argument in ("initial_accumulator_value", *self._strengths):
            value = getattr(self, argument)
            if value < 0:
                raise ValueError(f"`{argument}` needs to be positive or zero. Received: {argument}={value}.")
        if learning_rate_power > 0:
            raise ValueError(
                f"`learning_rate_power` needs to be negative or zero. Received: learning_rate_power={learning_rate_power}."
            )

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        initial = [initializers.Constant(self.initial_accumulator_value), "zeros"]
        self._squares, self._linears = self.add_optimizer_variables(variables, ["accumulator", "linear"], initial)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        slots = self.slots(self._squares, variables), self.slots(self._linears, variables)
        l1, l2, shrinkage = (getattr(self, argument) for argument in self._strengths)
        ops.ftrl_update_(params, grads, slots, learning_rate, self.learning_rate_power, (l1, l2, shrinkage), self.beta)

    def get_config(self) -> dict[str, Any]:
        own = ("learning_rate_power", "initial_accumulator_value", *self._strengths, "beta")
        return {**super().get_config(), **{argument: getattr(self, argument) for argument in own}}
