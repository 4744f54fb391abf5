"""Models: graphs of layers with a training loop."""

from minicnn.models.cloning import clone_model
from minicnn.models.model import Functional, Model
from minicnn.models.sequential import Sequential
from minicnn.saving import load_model, save_model

__all__ = ["Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


def model_from_json(json_string: str, custom_objects: dict[str, object] | None = None) -> Model:
    """The model that `Model.to_json` described, with fresh weights."""
    import json

    from minicnn.saving import deserialize_keras_object

    model: Model = deserialize_keras_object(json.loads(json_string), custom_objects=custom_objects)
    return model
