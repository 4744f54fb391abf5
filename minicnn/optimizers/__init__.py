"""Optimizers: how gradients change weights, step for step as Keras's.

`optimizer.build(variables)` creates the slots, `optimizer.apply(grads)` makes one step,
`optimizer.apply_gradients(zip(grads, variables))` does both in Keras's older form.
"""

from __future__ import annotations

from typing import Any

from minicnn import serialization
from minicnn.optimizers import schedules
from minicnn.optimizers.adam import Adam, AdamW
from minicnn.optimizers.base import Optimizer
from minicnn.optimizers.rmsprop import RMSprop
from minicnn.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "deserialize", "get", "schedules", "serialize"]


def get(identifier: Any) -> Any:
    """The optimizer that a string (in any case), instance, class or config stands for; None stays None.

    Raises:
        ValueError: if it stands for none (Keras's wording).
    """
    if isinstance(identifier, str):
        identifier = identifier if identifier in ("SGD", "RMSprop", "Adam", "AdamW") else identifier.lower()
    if identifier is not None and not isinstance(identifier, (str, dict, type, Optimizer)):
        raise ValueError(f"Could not interpret optimizer identifier: {identifier}")
    return serialization.get(identifier, "optimizer")


_, serialize, deserialize = serialization.functions_of("optimizer")
