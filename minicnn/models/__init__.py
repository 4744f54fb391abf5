"""Models: graphs of layers with a training loop."""

from minicnn import registry
from minicnn.layers.lambda_layer import Lambda
from minicnn.models.model import Functional, Model
from minicnn.models.sequential import Sequential
from minicnn.saving import load_model, save_model

__all__ = ["Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


def clone_model(model: Model) -> Model:
    """A model of the same architecture with freshly initialised weights."""
    layers = model._flatten_layers()
    own: dict[str, object] = {
        type(layer).__name__: type(layer) for layer in layers if not type(layer).__module__.startswith("minicnn.")
    }
    own |= {layer.function.__name__: layer.function for layer in layers if isinstance(layer, Lambda)}
    with registry.custom_object_scope(own):
        return type(model).from_config(model.get_config())


def model_from_json(json_string: str, custom_objects: dict[str, object] | None = None) -> Model:
    """The model that `Model.to_json` described, with fresh weights."""
    import json

    from minicnn.saving import deserialize_keras_object

    model: Model = deserialize_keras_object(json.loads(json_string), custom_objects=custom_objects)
    return model
