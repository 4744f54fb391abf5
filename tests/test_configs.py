"""Configs of every argument at another value than its default, against Keras's.

Of a default instance one cannot see that a key holds another argument's value, nor that `from_config` passes one over.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from minicnn import constraints, initializers, optimizers, regularizers

MODULES = [
    (ours, getattr(keras, ours.__name__.rpartition(".")[2])) for ours in (constraints, initializers, optimizers, regularizers)
]
NO_TABLE = ("Constraint", "Initializer", "LossScaleOptimizer", "MultiOptimizer", "Optimizer", "OptimizerMap", "Regularizer")
FORGOTTEN = [("Identity", "gain"), ("IdentityInitializer", "gain")]  # by Keras's own configs
OTHER_TEXTS = {"fan_in": "fan_out", "rows": "columns", "truncated_normal": "uniform"}
INSTEAD_OF_NONE: dict[str, Any] = {
    "ema_overwrite_frequency": 3,
    "exclude_layers": ["last"],
    "gradient_accumulation_steps": 3,
    "input_axes": [0],
    "output_axes": [1],
    "seed": 5,
}


def another(argument: str, default: Any) -> Any:
    """A value that is not the argument's default."""
    if argument == "name":
        return "mine"
    if default is None:
        return INSTEAD_OF_NONE.get(argument, 0.25)
    if isinstance(default, (bool, str)):
        return OTHER_TEXTS[default] if isinstance(default, str) else not default
    return default + 1 if isinstance(default, int) else default / 2 or 0.25


def cases() -> Iterator[tuple[Any, Any, str, str, Any]]:
    """Both modules, and a class, an argument of Keras's constructor and a value for it."""
    for ours, theirs in MODULES:
        for name in sorted(set(dir(ours)) & set(dir(theirs)) - set(NO_TABLE)):
            if not name[0].isupper():
                continue
            for argument, parameter in inspect.signature(getattr(theirs, name)).parameters.items():
                if parameter.default is not parameter.empty and (name, argument) not in FORGOTTEN:
                    yield ours, theirs, name, argument, another(argument, parameter.default)


def in_float32(config: dict[str, Any]) -> dict[str, Any]:
    """As Keras keeps some of its numbers."""
    return {key: np.float32(value) if isinstance(value, float) else value for key, value in config.items()}


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "argument", "value"), list(cases()), ids=lambda part: getattr(part, "__name__", str(part))
)
def test_an_argument_comes_back_from_a_config(ours, theirs, name, argument, value):
    arguments = {**({"name": "one"} if ours is optimizers else {}), argument: value}
    here, there = (getattr(module, name)(**arguments) for module in (ours, theirs))
    config = in_float32(here.get_config())
    assert config == in_float32(there.get_config())
    for again in (ours.deserialize(theirs.serialize(there)), type(here).from_config(here.get_config())):
        assert type(again) is type(here)
        assert in_float32(again.get_config()) == config
