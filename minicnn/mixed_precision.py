"""Keras's and TensorFlow's names for half precision: see `config.set_dtype_policy` for what each policy means here."""

from __future__ import annotations

from minicnn.config import DTypePolicy, dtype_policy, set_dtype_policy
from minicnn.optimizers.loss_scale import LossScaleOptimizer

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]

Policy, global_policy, set_global_policy = DTypePolicy, dtype_policy, set_dtype_policy
