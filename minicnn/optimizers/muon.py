"""Muon: orthogonal steps for the kernels of dense layers, Adam's for all else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from minicnn import registry
from minicnn.backends import ops
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable


@registry.register("optimizer", "muon")
class Muon(Optimizer):
    """Momentum whose step is made orthogonal, for variables of two axes; the others are updated as by `AdamW`.

    Args:
        learning_rate: see `Optimizer`, as the arguments that are not listed here.
        adam_beta_1, adam_beta_2, epsilon: of the variables that Adam updates.
        adam_weight_decay: of these; `weight_decay`: of the others.
        exclude_layers: patterns; what is found in a variable's path leaves it to Adam: the last layer's, say.
        exclude_embeddings: whether "embedding" in a path does, too.
        muon_a, muon_b, muon_c, ns_steps: the Newton-Schulz iteration and how often it is done.
        adam_lr_ratio: Adam's rate over the other.
        momentum, nesterov: of the orthogonal steps.
        rms_rate: brings their size to that of Adam's; None leaves it.

    Source: Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982; the formula: `ops.muon_update_`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *args: Any,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, *args, **kwargs)
        self.adam_beta_1, self.adam_beta_2, self.epsilon = adam_beta_1, adam_beta_2, epsilon
        self.adam_weight_decay, self.adam_lr_ratio = adam_weight_decay, adam_lr_ratio
        self.exclude_layers, self.exclude_embeddings = list(exclude_layers or ()), exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c, self.ns_steps = muon_a, muon_b, muon_c, ns_steps
        self.momentum, self.nesterov, self.rms_rate = momentum, nesterov, rms_rate

    def _is_adams(self, variable: Variable) -> bool:
        if len(variable.shape) != 2 or (self.exclude_embeddings and "embedding" in variable.path.lower()):
            return True
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def _split(self, variables: Sequence[Variable]) -> tuple[list[Variable], list[Variable]]:
        """Those that Adam updates, and the others."""
        adams = [variable for variable in variables if self._is_adams(variable)]
        return adams, [variable for variable in variables if not self._is_adams(variable)]

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums: dict[int, Variable] = {}  # by the variable's place
        self._velocities: dict[int, Variable] = {}
        for place, variable in enumerate(variables):
            self._momentums[place] = self.add_variable_from_reference(variable, "momentum")
            if self._is_adams(variable):
                self._velocities[place] = self.add_variable_from_reference(variable, "velocity")

    def _decay(self, variables: list[Variable], learning_rate: Any) -> None:
        groups = self._split([variable for variable in variables if self._decays(variable)])
        for group, weight_decay in zip(groups, (self.adam_weight_decay, self.weight_decay)):
            if weight_decay is not None:
                ops.weight_decay_([variable.value for variable in group], learning_rate, weight_decay)

    def update_(self, params: list[Array], grads: list[Array], variables: list[Variable], learning_rate: Any) -> None:
        grad_of = dict(zip(variables, grads))
        adams, others = self._split(variables)
        if adams:
            places = [self._index[variable] for variable in adams]
            means, squares = ([slots[place].value for place in places] for slots in (self._momentums, self._velocities))
            ops.adam_update_(
                [variable.value for variable in adams],
                [grad_of[variable] for variable in adams],
                (means, squares, None),
                learning_rate * self.adam_lr_ratio,
                self._step(),
                (self.adam_beta_1, self.adam_beta_2),
                self.epsilon,
            )
        ops.muon_update_(
            [variable.value for variable in others],
            [grad_of[variable] for variable in others],
            [self._momentums[self._index[variable]].value for variable in others],
            learning_rate,
            self.momentum,
            self.nesterov,
            (self.ns_steps, (self.muon_a, self.muon_b, self.muon_c)),
            self.rms_rate,
        )

    def get_config(self) -> dict[str, Any]:
        own = (
            *("adam_beta_1", "adam_beta_2", "epsilon", "exclude_layers", "muon_a", "muon_b", "muon_c", "adam_lr_ratio"),
            *("momentum", "ns_steps", "nesterov", "exclude_embeddings", "adam_weight_decay", "rms_rate"),
        )
        return {**super().get_config(), **{argument: getattr(self, argument) for argument in own}}
