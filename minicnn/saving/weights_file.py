"""A model's variables as HDF5, in Keras 3's layout.

    layers/conv2d/vars/0                    kernel of the first Conv2D in `model.layers`
    layers/conv2d/vars/1                    its bias
    layers/conv2d_1/vars/0                  the second Conv2D, whatever its name is
    layers/sequential/layers/dense/vars/0   a model used as a layer
    optimizer/vars/0                        the optimizer's `variables`: iterations, learning rate, slots

Keras leaves out what training needs to go on with the same bits, and passes over what it
does not know. So minicnn adds:

    layers/dropout/seed_generator/vars/0    the state of a layer's random generator
    attribute "minicnn_training_state"      JSON: the seed that samples are shuffled with, epochs done

Reading trusts nothing: what is read, and how large it is, follows from the model and never
from the file.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from minicnn import registry, serialization
from minicnn.layers.base import Layer
from minicnn.saving.hdf5 import array_at, group_at, opened
from minicnn.seeds import SeedGenerator
from minicnn.untrusted import FileFormatError, printable

__all__ = ["expected_bytes", "read_weights", "weights_bytes"]

_TRAINING_STATE = "minicnn_training_state"
_LONGEST_STATE = 4096  # bytes of JSON


def saved_objects(model: Any) -> Iterator[tuple[str, Any]]:
    """All that has variables, with its path in the file: layers, random generators, the optimizer."""
    seen: set[int] = set()
    yield from _walk(model, "", seen)
    if getattr(model, "optimizer", None) is not None:
        yield "optimizer", model.optimizer


def _walk(layer: Layer, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for index, generator in enumerate(layer._seed_generators):
        if id(generator) not in seen:
            seen.add(id(generator))
            yield _join(path, "seed_generator" + f"_{index}" * bool(index)), generator
    for attribute, value in _parts(layer):
        if isinstance(value, Layer):
            yield from _walk(value, _join(path, attribute), seen)
        else:
            yield from _walk_container(value, _join(path, attribute), seen)


def _parts(layer: Layer) -> list[tuple[str, Any]]:
    """The layer's attributes that may hold layers, in the order in which Keras visits them."""
    is_model = hasattr(layer, "get_compile_config")
    own = sorted(set(vars(layer)) - set(dir(Layer())), key=lambda name: (name.startswith("_"), name))
    attributes = [name for name in own if not (is_model and name.startswith("_"))]
    parts = [(name, getattr(layer, name)) for name in attributes]
    first = [("layers", layer.layers)] if is_model else []  # type: ignore[attr-defined]
    return first + [(name, value) for name, value in parts if isinstance(value, (Layer, list, tuple, dict))]


def _walk_container(container: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    # Named by class and place, since automatic names differ from one instance of a model to the next.
    used: dict[str, int] = {}
    for item in container.values() if isinstance(container, dict) else container:
        if isinstance(item, Layer):
            name = registry.snake_case(serialization.keras_name(type(item))[1])
        elif isinstance(item, (list, tuple, dict)):
            name = "container"
        else:
            continue
        count = used[name] = used.get(name, -1) + 1
        inner = _join(path, f"{name}_{count}" if count else name)
        yield from _walk(item, inner, seen) if isinstance(item, Layer) else _walk_container(item, inner, seen)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _save_variables(owner: Any) -> dict[str, Any]:
    """The owner's variables by their key in the file, as arrays of its own."""
    store: dict[str, Any] = {}
    if isinstance(owner, SeedGenerator):
        store["0"] = owner.state.numpy()
    else:
        owner.save_own_variables(store)
    return {key: np.array(value) for key, value in store.items()}


def _load_variables(owner: Any, store: dict[str, Any]) -> None:
    if isinstance(owner, SeedGenerator):
        owner.state.assign(store["0"])
    else:
        owner.load_own_variables(store)


def weights_bytes(model: Any) -> memoryview:
    """The file of a model."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, owner in saved_objects(model):
            group = file.create_group(_join(path, "vars"))
            group.attrs["name"] = owner.name
            for key, value in _save_variables(owner).items():
                group[key] = value
        file.attrs[_TRAINING_STATE] = json.dumps(model._training_state())
    return buffer.getbuffer()


def expected_bytes(model: Any) -> int:
    """More than the file of a model can have, its optimizer's slots and HDF5's overhead included."""
    owners = [owner for path, owner in saved_objects(model) if path != "optimizer"]
    own = sum(value.nbytes for owner in owners for value in _save_variables(owner).values())
    return 2**20 + 8 * own + 2**14 * len(owners)


def read_weights(model: Any, file: BinaryIO | str, source: str, skip_mismatch: bool = False) -> None:
    """Set a model's variables from a file; nothing is set unless everything fits.

    Args:
        model: built. file: opened, or a path. source: how errors call it.
        skip_mismatch: leave alone what does not fit, with a warning.

    Raises:
        ValueError: for a file that is no HDF5, or does not fit the model, naming the layer.
    """
    with opened(file, source) as hdf5:
        found, failures = _read_all(model, hdf5)
        state = _read_training_state(hdf5, source)
    if failures:
        _report(failures, source, warn_only=skip_mismatch)
    _assign_all(found)
    if state and getattr(model, "optimizer", None) is not None:
        model._restore_training_state(state)


def _read_all(model: Any, file: Any) -> tuple[list[tuple[Any, dict[str, Any]]], list[tuple[Any, ValueError]]]:
    """What to set, as (owner, its variables), and what does not fit."""
    found: list[tuple[Any, dict[str, Any]]] = []
    failures: list[tuple[Any, ValueError]] = []
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built and "optimizer" in file:
        optimizer.build(model.trainable_weights)
    for path, owner in saved_objects(model):
        group = group_at(file, _join(path, "vars"))
        if group is None and "_layer_checkpoint_dependencies" in file:  # TensorFlow 2.13
            group = group_at(file, _join(path.replace("layers", "_layer_checkpoint_dependencies"), "vars"))
        keys = set(group) if group is not None else set()
        expected = _save_variables(owner)
        if owner is optimizer and len(keys) != len(expected):
            if keys and not _never_stepped(group):
                optimizer.load_own_variables(dict.fromkeys(keys))  # which says that it skips them
            continue
        if isinstance(owner, SeedGenerator) and not keys:
            continue  # written by Keras, which keeps no random state
        try:
            if keys != set(expected):
                raise ValueError(
                    f"Layer '{owner.name}' expected {len(expected)} variables, but received {len(keys)} variables "
                    f"during loading, from '{_join(path, 'vars')}'. Expected: {sorted(expected)}, received: {sorted(keys)}"
                )
            found.append((owner, {key: array_at(group, key, value.shape) for key, value in expected.items()}))
        except ValueError as error:
            failures.append((owner, error))
    return found, failures


def _assign_all(found: list[tuple[Any, dict[str, Any]]]) -> None:
    before = [(owner, _save_variables(owner)) for owner, _ in found]
    try:
        for owner, store in found:
            _load_variables(owner, store)
    except BaseException:  # a layer's own `load_own_variables` may object
        for owner, store in before:
            _load_variables(owner, store)
        raise


def _never_stepped(optimizer_group: Any) -> bool:
    """Whether a saved optimizer has no slots yet, and so nothing to lose: its first variable counts the steps."""
    if "0" not in optimizer_group:
        return False
    return int(array_at(optimizer_group, "0", ())) == 0


def _read_training_state(file: Any, source: str) -> dict[str, int]:
    if _TRAINING_STATE not in file.attrs:
        return {}
    text = file.attrs[_TRAINING_STATE]
    try:
        if not isinstance(text, str) or len(text) > _LONGEST_STATE:
            raise ValueError
        state = json.loads(text)
        if not isinstance(state, dict) or not all(type(value) is int and value >= 0 for value in state.values()):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{source} has an attribute '{_TRAINING_STATE}' that is no JSON object of non-negative integers."
        ) from None
    return state


def _report(failures: list[tuple[Any, ValueError]], source: str, warn_only: bool) -> None:
    owner, error = failures[0]
    message = printable(
        f"{source}: A total of {len(failures)} objects could not be loaded. "
        f"Example error message for object {owner}:\n\n{error}\n\n"
        f"List of objects that could not be loaded:\n{[owner for owner, _ in failures]}"
    )
    if not warn_only:
        raise FileFormatError(message)
    warnings.warn(message, stacklevel=4)
