"""The older HDF5 files, `model.save("model.h5")` and `model.save_weights("weights.h5")`, as Keras reads and writes them.

    attribute model_config       JSON {"class_name", "config"}; training_config: what `compile` was given
    model_weights/<layer name>   one group a layer of the model; weight_names lists its datasets, in order
    optimizer_weights            weight_names lists the optimizer's variables, in order

States of random generators are not in them: to resume training with the same bits, use `.keras`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import serialization
from minicnn.saving.hdf5 import array_at, group_at, opened
from minicnn.saving.objects import parse_config
from minicnn.variables import Variable

__all__ = ["legacy_bytes", "legacy_weights_bytes", "read_legacy_config", "read_legacy_optimizer", "read_legacy_weights"]

_LARGEST_ATTRIBUTE = 64000  # bytes; longer lists of names are cut into numbered attributes

Assignments = list[tuple[Variable, np.ndarray]]


def legacy_bytes(model: Any, keras_version: str, include_optimizer: bool) -> memoryview:
    """The file of a model."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_origin(file, keras_version)
        config = {"class_name": serialization.keras_name(type(model))[1], "config": serialization.serialize(model.get_config())}
        file.attrs["model_config"] = json.dumps(config)
        _write_layers(file.create_group("model_weights"), model, keras_version)
        if include_optimizer and model.compiled:
            settings = model.get_compile_config()
            optimizer = settings.pop("optimizer")
            settings["optimizer_config"] = {"class_name": optimizer["class_name"], "config": optimizer["config"]}
            file.attrs["training_config"] = json.dumps(settings)
            _write_variables(file.create_group("optimizer_weights"), model.optimizer.variables)
    return buffer.getbuffer()


def legacy_weights_bytes(model: Any, keras_version: str) -> memoryview:
    """The file of `model.save_weights("w.h5")`: what else stands in the group `model_weights`."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_layers(file, model, keras_version)
    return buffer.getbuffer()


def _write_origin(group: Any, keras_version: str) -> None:
    group.attrs["keras_version"] = keras_version
    group.attrs["backend"] = "tensorflow"  # the conventions of the weights


def _write_layers(group: Any, model: Any, keras_version: str) -> None:
    _write_origin(group, keras_version)
    _write_names(group, "layer_names", [layer.name for layer in model.layers])
    for layer in sorted(model.layers, key=lambda layer: layer.name):
        _write_variables(group.create_group(layer.name), _in_order(layer))
    _write_variables(group.create_group("top_level_model_weights"), [])


def read_legacy_config(path: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The model's configuration, and what to give `compile_from_config` (None if it was not compiled).

    Raises:
        ValueError: if the file holds no model.
    """
    with opened(path, path) as file:
        if "model_config" not in file.attrs:
            raise ValueError(f"No model config found in the file at {path}.")
        config = parse_config(_text(file, "model_config"), f"'model_config' in {path}")
        if "training_config" not in file.attrs:
            return config, None
        settings = parse_config(_text(file, "training_config"), f"'training_config' in {path}")
    settings["optimizer"] = settings.pop("optimizer_config", None)
    return config, settings


def read_legacy_weights(model: Any, path: str, by_name: bool = False) -> None:
    """Set the weights, layer by layer in order or by the layers' names; nothing is set unless everything fits."""
    found: Assignments = []
    with opened(path, path) as file:
        group = group_at(file, "model_weights") if "layer_names" not in file.attrs else file
        if group is None:
            raise ValueError(f"{path} holds no weights of layers.")
        saved = [name for name in _names(group, "layer_names") if _weight_names(group, name)]
        layers = [layer for layer in model.layers if _in_order(layer)]
        if by_name:
            pairs = [(layer, layer.name) for layer in layers if layer.name in saved]
        elif len(saved) == len(layers):
            pairs = list(zip(layers, saved))
        else:
            raise ValueError(
                "Layer count mismatch when loading weights from file. "
                f"Model expected {len(layers)} layers, found {len(saved)} saved layers."
            )
        for index, (layer, name) in enumerate(pairs):
            what = f"layer #{index} (named {layer.name} in the current model, {name} in the save file)"
            found += _read_variables(group_at(group, name), _in_order(layer), what)
    _assign(found)


def read_legacy_optimizer(model: Any, path: str) -> None:
    """Set the variables of the optimizer, if the file has as many as it."""
    with opened(path, path) as file:
        group = group_at(file, "optimizer_weights")
        if group is None or len(_names(group, "weight_names")) != len(model.optimizer.variables):
            return  # saved before its first step
        found = _read_variables(group, model.optimizer.variables, "the optimizer")
    _assign(found)


def _in_order(layer: Any) -> list[Variable]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _assign(found: Assignments) -> None:
    for variable, value in found:  # of the right shapes: cannot fail halfway
        variable.assign(value)


def _write_variables(group: Any, variables: Sequence[Variable]) -> None:
    names: list[str] = []
    for variable in variables:
        names.append(variable.path if variable.path not in names else f"{variable.path}_{len(names)}")
        group[names[-1]] = variable.numpy()
    _write_names(group, "weight_names", names)


def _read_variables(group: Any, variables: Sequence[Variable], what: str) -> Assignments:
    names = _names(group, "weight_names")
    if len(names) != len(variables):
        raise ValueError(
            f"Weight count mismatch for {what}. Expected {len(variables)} weight(s). Received {len(names)} saved weight(s)"
        )
    found: Assignments = []
    for name, variable in zip(names, variables):
        folder, _, key = name.rpartition("/")
        holder = group_at(group, folder) if folder else group
        if holder is None:
            raise ValueError(f"Weight '{name}' of {what} is missing.")
        found.append((variable, array_at(holder, key, variable.shape)))
    return found


def _weight_names(group: Any, layer_name: str) -> list[str]:
    layer = group_at(group, layer_name)
    return [] if layer is None else _names(layer, "weight_names")


def _write_names(group: Any, attribute: str, names: list[str]) -> None:
    data = np.array([name.encode() for name in names]) if names else np.zeros(0)
    parts = max(1, -(-data.nbytes // _LARGEST_ATTRIBUTE))
    if parts == 1:
        group.attrs[attribute] = data
    else:
        for index, part in enumerate(np.array_split(data, parts)):
            group.attrs[f"{attribute}{index}"] = part


def _names(group: Any, attribute: str) -> list[str]:
    if attribute in group.attrs:
        found = list(group.attrs[attribute])
    else:
        found, index = [], 0
        while f"{attribute}{index}" in group.attrs:
            found += list(group.attrs[f"{attribute}{index}"])
            index += 1
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _text(file: Any, attribute: str) -> bytes:
    text = file.attrs[attribute]
    if not isinstance(text, (str, bytes)):
        raise ValueError(f"The attribute '{attribute}' should hold JSON. Received: {type(text).__name__}")
    return text if isinstance(text, bytes) else text.encode()
