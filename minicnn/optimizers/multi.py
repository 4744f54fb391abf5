"""`MultiOptimizer`: groups of variables, each with an optimizer, a rate and a weight decay of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np

from minicnn import registry, serialization
from minicnn.backends.types import Array
from minicnn.optimizers.base import Optimizer
from minicnn.optimizers.loss_scale import LossScaleOptimizer
from minicnn.variables import Variable


@registry.register("optimizer")
class OptimizerMap(MutableMapping[str, Optimizer]):
    """Which optimizer updates a variable: a dict from paths, or regular expressions of whole paths, to optimizers.

        by_path = OptimizerMap(SGD(0.01))
        by_path[".*/beta"] = SGD(0.64)

    A path is "layer/variable". (Keras 3 has the name of a `Sequential` before it: a pattern that begins with ".*" fits both.)

    Args:
        default_optimizer: of all variables that no key fits.
        optimizer_map: what the dict begins with.
    """

    def __init__(self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None) -> None:
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(f"default_optimizer must be a Keras Optimizer instance. Received: {default_optimizer}")
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(f"optimizer_map must be a dictionary. Received: {optimizer_map}")
        self._default_optimizer = default_optimizer
        self._optimizer_map = optimizer_map or {}

    @property
    def default_optimizer(self) -> Optimizer:
        return self._default_optimizer

    def __getitem__(self, key: str) -> Optimizer:
        """The optimizer of a path: of that key, or of the one pattern that fits the whole path, or the default one.

        Raises:
            ValueError: if several patterns fit.
        """
        if key in self._optimizer_map:
            return self._optimizer_map[key]
        fitting = [pattern for pattern in self._optimizer_map if re.fullmatch(pattern, key)]
        if len(fitting) > 1:
            raise ValueError(f"Multiple optimizers assigned to variable {key}. Its path fits {fitting}.")
        return self._optimizer_map[fitting[0]] if fitting else self._default_optimizer

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        """Take an optimizer for a path or pattern that has none yet.

        Raises:
            ValueError: for a key that is there, or no string, and for what is no optimizer of variables.
        """
        if key in self._optimizer_map:
            raise ValueError(
                f"'{key}' already exists in the OptimizerMap with value {self._optimizer_map[key]}. "
                "Please make sure to not use duplicated keys."
            )
        if not isinstance(key, str):
            raise ValueError(f"key must be a string. Received: {key}")
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"optimizer must be a Keras Optimizer instance. Received: {optimizer}")
        for kind in (LossScaleOptimizer, MultiOptimizer):
            if isinstance(optimizer, kind):
                raise ValueError(f"optimizer cannot be {kind.__name__}.")
        self._optimizer_map[key] = optimizer

    def __delitem__(self, key: str) -> None:
        del self._optimizer_map[key]

    def __len__(self) -> int:
        return len(self._optimizer_map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizer_map)

    def __call__(self, variable: Variable) -> Optimizer:
        """The optimizer of a variable, by its path."""
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "default_optimizer": serialization.serialize(self._default_optimizer),
            "optimizer_map": serialization.serialize(self._optimizer_map),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> OptimizerMap:
        """The reverse of `get_config`."""
        default, others = (config[argument] for argument in ("default_optimizer", "optimizer_map"))
        return cls(
            serialization.deserialize(default, "optimizer", custom_objects),
            {key: serialization.deserialize(value, "optimizer", custom_objects) for key, value in others.items()},
        )


@registry.register("optimizer", "multioptimizer")
class MultiOptimizer(Optimizer):
    """Hands each variable to one of several optimizers, which has its own rule, rate and weight decay.

        MultiOptimizer(OptimizerMap(SGD(0.01), {".*/beta": SGD(0.64)}))

    It has no `learning_rate` itself: those of its `optimizers` may be set, or be schedules.

    Args:
        optimizer_map: an `OptimizerMap`, or a function that returns the optimizer of a variable.
        loss_scale_factor: see `Optimizer`; that of the optimizers inside becomes the same.
        name: see `Optimizer`.
    """

    def __init__(
        self,
        optimizer_map: OptimizerMap | Callable[[Variable], Optimizer],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(optimizer_map):
            raise TypeError(
                "`optimizer_map` must be an OptimizerMap, or a function that returns the optimizer of a variable. "
                f"Received: {optimizer_map!r}"
            )
        self._inner_optimizers: list[Optimizer] = []
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self._optimizer_map = optimizer_map
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map.values(), optimizer_map.default_optimizer):
                self._take(optimizer)

    def _take(self, optimizer: Optimizer) -> None:
        if not any(optimizer is held for held in self._inner_optimizers):
            optimizer.loss_scale_factor = self.loss_scale_factor
            self._inner_optimizers.append(optimizer)

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        chosen = []
        for variable in variables:
            optimizer = self._optimizer_map(variable)
            if not isinstance(optimizer, Optimizer):
                raise ValueError(
                    f"Optimizer for variable {variable.path} is not an Optimizer instance. Received: {optimizer!r}"
                )
            if isinstance(optimizer, (LossScaleOptimizer, MultiOptimizer)):
                raise ValueError(f"{type(optimizer).__name__} cannot be used inside an MultiOptimizer.")
            self._take(optimizer)
            chosen.append(optimizer)
        for optimizer in self._inner_optimizers:
            own = [variable for variable, one in zip(variables, chosen) if one is optimizer]
            if own:
                optimizer.build(own)
        super().build(variables)

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers inside."""
        return self._inner_optimizers

    @property
    def variables(self) -> list[Variable]:
        """Its own, and those of the optimizers inside, one after the other."""
        return [*self._variables, *(variable for optimizer in self._inner_optimizers for variable in optimizer.variables)]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """As of any optimizer: each one inside makes its step with the gradients of its variables."""
        grads = list(grads)
        if not grads:
            return
        variables = self._paired(grads, trainable_variables)
        if not self.built:
            self.build(variables)
        for variable in variables:
            self._check_known(variable)
        for optimizer in self._inner_optimizers:
            own = [(grad, variable) for grad, variable in zip(grads, variables) if variable in optimizer._index]
            if own:
                optimizer.apply([grad for grad, _ in own], [variable for _, variable in own])
        np.add(self._iterations.value, 1, out=self._iterations.value)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        for optimizer in self._inner_optimizers:
            optimizer.finalize_variable_values([variable for variable in var_list if variable in optimizer._index])

    # --- numbers that the optimizers inside have -------------------------------------------

    @property
    def learning_rate(self) -> Any:
        raise AttributeError(
            "Learning rate cannot be accessed on a MultiOptimizer. "
            "Access the learning rate on the individual sub-optimizers instead."
        )

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        raise AttributeError(
            "Learning rate cannot be set on a MultiOptimizer. Set the learning rate on the individual sub-optimizers instead."
        )

    lr = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        self._loss_scale_factor = factor
        for optimizer in self._inner_optimizers:
            optimizer.loss_scale_factor = factor

    def scheduled_rate(self, iteration: int) -> np.ndarray | None:
        """The rates that schedules or callables say, one for each optimizer inside (0 where it is a variable)."""
        rates = [optimizer.scheduled_rate(iteration) for optimizer in self._inner_optimizers]
        if all(rate is None for rate in rates):
            return None
        return np.array([0.0 if rate is None else rate for rate in rates])

    @contextlib.contextmanager
    def at_rate(self, rate: Array | None) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for place, optimizer in enumerate(self._inner_optimizers):
                own = None if rate is None or isinstance(optimizer._learning_rate, Variable) else rate[place]
                stack.enter_context(optimizer.at_rate(own))
            yield

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer_map": serialization.serialize(self._optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> MultiOptimizer:
        mapping = serialization.deserialize(config["optimizer_map"], None, custom_objects)
        return cls(**{**config, "optimizer_map": mapping})
