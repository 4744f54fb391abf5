"""Models and weights in files, in Keras 3's formats."""

from minicnn.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_object,
    register_keras_serializable,
)
from minicnn.registry import registered_name as get_registered_name
from minicnn.saving.files import load_model, load_weights, save_model, save_weights
from minicnn.saving.objects import deserialize_keras_object, serialize_keras_object
from minicnn.untrusted import FileFormatError

__all__ = [
    "CustomObjectScope",
    "FileFormatError",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
