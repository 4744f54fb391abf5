"""Layers to configs and back."""

from __future__ import annotations

from typing import Any

from minicnn import serialization
from minicnn.layers.base import Layer


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer as Keras's dict {"module", "class_name", "config", "registered_name"}."""
    return serialization.serialize(layer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Layer:
    """The layer that a config describes, with fresh weights."""
    return serialization.deserialize(config, "layer", custom_objects)
