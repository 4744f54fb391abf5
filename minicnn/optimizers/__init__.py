"""Optimizers: how gradients change weights, step for step as Keras's.

`optimizer.build(variables)` creates the slots, `optimizer.apply(grads)` makes one step,
`optimizer.apply_gradients(zip(grads, variables))` does both in Keras's older form.
"""

from __future__ import annotations

from typing import Any

from minicnn import registry, serialization
from minicnn.optimizers import experimental, schedules
from minicnn.optimizers.adagrad import Adadelta, Adafactor, Adagrad
from minicnn.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam, ScheduleFreeAdamW
from minicnn.optimizers.base import Optimizer
from minicnn.optimizers.ftrl import Ftrl
from minicnn.optimizers.lion import Lion
from minicnn.optimizers.loss_scale import LossScaleOptimizer
from minicnn.optimizers.multi import MultiOptimizer, OptimizerMap
from minicnn.optimizers.muon import Muon
from minicnn.optimizers.rmsprop import RMSprop
from minicnn.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "ScheduleFreeAdamW",
    "deserialize",
    "experimental",
    "get",
    "schedules",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The optimizer that a string (in any case), instance, class or config stands for; None stays None.

    Raises:
        ValueError: if it stands for none (Keras's wording).
    """
    if isinstance(identifier, str) and identifier not in registry.names("optimizer"):
        identifier = identifier.lower()
    if identifier is not None and not isinstance(identifier, (str, dict, type, Optimizer)):
        raise ValueError(f"Could not interpret optimizer identifier: {identifier}")
    return serialization.get(identifier, "optimizer")


_, serialize, deserialize = serialization.functions_of("optimizer")

# Their older names: Keras 2 knew each by its name in lower case, too.
sgd, rmsprop, adam, adamax, nadam = SGD, RMSprop, Adam, Adamax, Nadam
adagrad, adadelta = Adagrad, Adadelta
