"""minicnn: a convolutional-network engine written by hand, behind the Keras API.

    import minicnn as keras
    from minicnn import layers

    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(32, 3, activation="relu"), ...])

Layers compute through `minicnn.backends.ops`: "numba" (fast, the default), "reference"
(readable NumPy) or "cupy" (NVIDIA GPUs); see `set_backend`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from minicnn import (
    activations,
    backend,
    backends,
    callbacks,
    config,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    random,
    regularizers,
    saving,
    utils,
)
from minicnn.backends import get_num_threads, set_backend, set_num_threads
from minicnn.config import set_random_seed
from minicnn.initializers import Initializer
from minicnn.layers import Input, InputSpec, Layer
from minicnn.layers.symbolic import KerasTensor
from minicnn.losses import Loss
from minicnn.metrics import Metric
from minicnn.models import Model, Sequential
from minicnn.optimizers import Optimizer
from minicnn.regularizers import Regularizer
from minicnn.tape import GradientTape, function
from minicnn.variables import Variable

__version__ = "0.1.0"

# Loaded when first used: what reads files or draws pictures.
_LAZY = (
    *("applications", "data", "datasets", "dtype_policies", "mixed_precision", "preprocessing", "study", "visualization"),
    *("wrappers", "zoo"),
)

__all__ = [
    "GradientTape",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "activations",
    "applications",
    "backend",
    "backends",
    "callbacks",
    "config",
    "constraints",
    "data",
    "datasets",
    "dtype_policies",
    "function",
    "get_num_threads",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "set_backend",
    "set_num_threads",
    "set_random_seed",
    "study",
    "utils",
    "visualization",
    "wrappers",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name == "keras":  # where a program says `import tensorflow as tf`, that line changes, and its `tf.keras.layers` stays
        return sys.modules[__name__]
    if name in _LAZY:
        return importlib.import_module(f"minicnn.{name}")
    if name.startswith("_"):
        raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
    return importlib.import_module("minicnn.tf.names").lookup(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
