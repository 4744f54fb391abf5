"""`LossScaleOptimizer`: another optimizer, whose gradients are computed of a loss that is made large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import backends, initializers, registry, serialization
from minicnn.backends import ops
from minicnn.optimizers.base import Optimizer
from minicnn.variables import Variable

# What files of older versions bring along, at these values.
_WITHOUT_EFFECT = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


@registry.register("optimizer", "lossscaleoptimizer")
class LossScaleOptimizer(Optimizer):
    """Scales the loss so that small gradients do not vanish, and divides the gradients again for `inner_optimizer`.

    A step whose gradients are not all finite is left out, and the scale is halved; after `dynamic_growth_steps` good ones
    in a row it is doubled. Useful in float16; in float32 it changes nothing but the rare overflow. On a GPU every step is
    waited for, so that no step is captured.

    Args:
        inner_optimizer: what updates the variables, by rules and arguments of its own.
        initial_scale: of the loss.
        dynamic_growth_steps: see above.
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.pop("dynamic", True):
            raise ValueError(
                "LossScaleOptimizer no longer supports `dynamic=False`. Instead, simply set `loss_scale_factor` directly on "
                "the `inner_optimizer`."
            )
        for argument, default in _WITHOUT_EFFECT.items():
            if kwargs.pop(argument, default) != default:
                raise ValueError(
                    f"LossScaleOptimizer does not support `{argument}`. Instead, set `{argument}` on the `inner_optimizer`."
                )
        if kwargs:
            raise ValueError(f"LossScaleOptimizer does not support arguments: `{'`, `'.join(kwargs)}`.")
        super().__init__(0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale, self.dynamic_growth_steps = initial_scale, dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None  # not twice

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        self.step_counter = self.add_variable((), dtype="int64", name="step_counter")
        scale = initializers.Constant(self.initial_scale)
        self.dynamic_scale = self.add_variable((), scale, "float32", name="dynamic_scale")
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[Variable]:
        return [*self._variables, *self.inner_optimizer.variables]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        grads = [grad if grad is None else backends.asarray(grad) for grad in grads]
        if not ops.all_finite([grad for grad in grads if grad is not None]):
            self.step_counter.assign(0)
            self.dynamic_scale.assign(self.dynamic_scale * np.float32(0.5))
            return
        scale = 1 / float(self.dynamic_scale)
        self.inner_optimizer.apply([None if grad is None else grad * scale for grad in grads], trainable_variables)
        if int(self.step_counter) == self.dynamic_growth_steps - 1:
            self.step_counter.assign(0)
            self.dynamic_scale.assign(self.dynamic_scale * np.float32(2))
        else:
            self.step_counter.assign_add(1)

    def scale_loss(self, loss: Any) -> Any:
        return loss * (float(self.dynamic_scale) if self.built else self.initial_scale)

    # --- all else is the inner optimizer's -------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    lr = learning_rate

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialization.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> LossScaleOptimizer:
        config = dict(config)
        return cls(serialization.deserialize(config.pop("inner_optimizer"), "optimizer", custom_objects), **config)
