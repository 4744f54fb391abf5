"""Keras's `dtype_policies`: policies by their names and configs. What each means here says `config.set_dtype_policy`."""

from __future__ import annotations

from typing import Any

from minicnn.config import DTypePolicy, dtype_policy

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "get", "serialize"]

FloatDTypePolicy = DTypePolicy


def get(identifier: Any) -> DTypePolicy:
    """A policy as it is, by its name or by its config; the one that was set last for None.

    Raises:
        ValueError: for any other name, or thing.
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return DTypePolicy(identifier)
    raise ValueError(
        f"Cannot interpret `dtype` argument. Expected a string or an instance of DTypePolicy. Received: dtype={identifier}"
    )


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """A policy as its config, in Keras's form."""
    return {"module": "keras", "class_name": "DTypePolicy", "config": dtype_policy.get_config(), "registered_name": None}


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> DTypePolicy:
    """The reverse of `serialize`.

    Raises:
        ValueError: for the config of something else, as of a quantized policy.
    """
    if config.get("class_name") not in ("DTypePolicy", "FloatDTypePolicy"):
        raise ValueError(f"Expected the config of a DTypePolicy. Received: {config}")
    return DTypePolicy.from_config(config["config"])
