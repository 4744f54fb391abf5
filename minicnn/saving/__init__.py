"""Models and weights in files, in Keras 3's formats."""

from minicnn.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    register_keras_serializable,
)
from minicnn.saving.files import load_model, load_weights, save_model, save_weights
from minicnn.saving.objects import deserialize_keras_object, serialize_keras_object
from minicnn.untrusted import FileFormatError

__all__ = [
    "CustomObjectScope",
    "FileFormatError",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
