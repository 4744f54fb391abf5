"""A model's variables as HDF5, in Keras 3's layout.

    layers/conv2d/vars/0                    kernel of the first Conv2D in `model.layers`
    layers/conv2d/vars/1                    its bias
    layers/conv2d_1/vars/0                  the second Conv2D, whatever its name is
    layers/sequential/layers/dense/vars/0   a model used as a layer
    optimizer/vars/0                        the optimizer's `variables`: iterations, learning rate, slots

Keras leaves out what training needs to go on with the same bits, and passes over what it
does not know. So minicnn adds:

    layers/dropout/seed_generator/vars/0    the state of a layer's random generator
    minicnn_training/state                  bytes of `pack_state`: the seed that samples are shuffled with, passes done;
                                            the checksums of all arrays; in a backup, what a running `fit` needs to go on
    attribute "minicnn_sha256"              the checksum of that state

So nothing that has changed on the disk is taken for a weight. In a file with neither, such as
Keras's, there is nothing to compare. (Older versions kept the seed in an attribute
"minicnn_training_state" of variable length, which HDF5 stores where damage makes it loop.)

Reading trusts nothing: what is read, and how large it is, follows from the model and never
from the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from minicnn import registry, serialization
from minicnn.layers.base import Layer
from minicnn.optimizers import Optimizer
from minicnn.saving.hdf5 import array_at, group_at, opened
from minicnn.saving.state import pack_state, unpack_state
from minicnn.seeds import SeedGenerator
from minicnn.untrusted import FileFormatError, printable

__all__ = ["expected_bytes", "read_weights", "weights_bytes"]

_TRAINING = "minicnn_training"
_CHECKSUM = "minicnn_sha256"
_OLDER_TRAINING = "minicnn_training_state"


def saved_objects(model: Any) -> Iterator[tuple[str, Any]]:
    """All that has variables, with its path in the file: layers, random generators, the optimizer."""
    seen: set[int] = set()
    yield from _walk(model, "", seen)
    yield from _optimizers(model)


def _optimizers(model: Any) -> Iterator[tuple[str, Any]]:
    """The optimizer, and the one or those that it wraps: as in Keras their variables are then in both places."""
    optimizer, path = getattr(model, "optimizer", None), "optimizer"
    while optimizer is not None:
        yield path, optimizer
        used: dict[str, int] = {}
        for inner in getattr(optimizer, "optimizers", ()):
            yield f"{path}/optimizers/{_numbered(_name_of_class(inner), used)}", inner
        optimizer, path = getattr(optimizer, "inner_optimizer", None), f"{path}/inner_optimizer"


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
    first: list[tuple[str, Any]] = [("layers", layer.layers)] if is_model else []  # type: ignore[attr-defined]
    if getattr(layer, "_is_traced", False):  # a class with a `call`: there its layers stand among the other attributes
        first, attributes = [], sorted([*attributes, "layers"])
    parts = [(name, getattr(layer, name)) for name in attributes]
    return first + [(name, value) for name, value in parts if isinstance(value, (Layer, list, tuple, dict))]


def _walk_container(container: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    # Named by class and place, since automatic names differ from one instance of a model to the next.
    used: dict[str, int] = {}
    for item in container.values() if isinstance(container, dict) else container:
        if isinstance(item, Layer):
            name = _name_of_class(item)
        elif isinstance(item, (list, tuple, dict)):
            name = "container"
        else:
            continue
        inner = _join(path, _numbered(name, used))
        yield from _walk(item, inner, seen) if isinstance(item, Layer) else _walk_container(item, inner, seen)


def _name_of_class(item: Any) -> str:
    return registry.snake_case(serialization.keras_name(type(item))[1])


def _numbered(name: str, used: dict[str, int]) -> str:
    """The name, with a number behind it from its second use on."""
    count = used[name] = used.get(name, -1) + 1
    return f"{name}_{count}" if count else name


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


def weights_bytes(model: Any, run: dict[str, Any] | None = None) -> memoryview:
    """The file of a model; with the state of the `fit` that is under way, its backup."""
    import h5py

    sums: dict[str, dict[str, str]] = {}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, owner in saved_objects(model):
            place = _join(path, "vars")
            group = file.create_group(place)
            group.attrs["name"] = np.bytes_(owner.name.encode())
            variables = _save_variables(owner)
            for key, value in variables.items():
                group[key] = value
            sums[place] = _checksums(place, variables)
        state = {"model": model._training_state(), "sums": sums, **({} if run is None else {"run": run})}
        packed = {"state": np.frombuffer(pack_state(state), np.uint8)}
        file[f"{_TRAINING}/state"] = packed["state"]
        file.attrs[_CHECKSUM] = np.bytes_(_checksums(_TRAINING, packed)["state"].encode())
    return buffer.getbuffer()


def _checksums(path: str, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """SHA-256 of each array with its name, type and shape; how HDF5 stores them is left out."""
    sums = {}
    for key, array in arrays.items():
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total = hashlib.sha256(f"{path}/{key} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
        sums[key] = total.hexdigest()
    return sums


def _damaged(source: str, path: str) -> ValueError:
    return ValueError(f"{source} is damaged: what stands at '{path}' is not what was saved there.")


def expected_bytes(model: Any) -> int:
    """More than the file of a model can have, its optimizer's slots and HDF5's overhead included."""
    owners = [owner for _, owner in saved_objects(model) if not isinstance(owner, Optimizer)]
    own = sum(value.nbytes for owner in owners for value in _save_variables(owner).values())
    return 2**20 + 8 * own + 2**14 * len(owners)


def read_weights(model: Any, file: BinaryIO | str, source: str, skip_mismatch: bool = False) -> dict[str, Any] | None:
    """Set a model's variables from a file; nothing is set unless everything fits.

    Args:
        model: built. file: opened, or a path. source: how errors call it.
        skip_mismatch: leave alone what does not fit, with a warning.

    Returns:
        The state of the `fit` whose backup this is; None if it is none.

    Raises:
        ValueError: for a file that is no HDF5, is damaged, or does not fit the model, naming the layer.
    """
    with opened(file, source) as hdf5:
        state = _read_training_state(hdf5, source)
        found, failures = _read_all(model, hdf5, state.get("sums"), source)
    if failures:
        _report(failures, source, warn_only=skip_mismatch)
    _assign_all(found)
    if getattr(model, "optimizer", None) is not None:
        model._restore_training_state(state["model"])
    return state.get("run")


def _read_all(
    model: Any, file: Any, sums: dict[str, Any] | None, source: str
) -> tuple[list[tuple[Any, dict[str, Any]]], list[tuple[Any, ValueError]]]:
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
        saved = None if sums is None else sums.get(_join(path, "vars"), {})
        if saved is not None and keys != set(saved):
            raise _damaged(source, _join(path, "vars"))
        expected = _save_variables(owner)
        if isinstance(owner, Optimizer) and len(keys) != len(expected):
            if keys and not _never_stepped(group):
                owner.load_own_variables(dict.fromkeys(keys))  # which says that it skips them
            continue
        if isinstance(owner, SeedGenerator) and not keys:
            continue  # written by Keras, which keeps no random state
        try:
            if keys != set(expected):
                raise ValueError(
                    f"Layer '{owner.name}' expected {len(expected)} variables, but received {len(keys)} variables "
                    f"during loading, from '{_join(path, 'vars')}'. "
                    f"Expected: {sorted(expected)}, received: {sorted(map(str, keys))}"
                )
            arrays = {key: array_at(group, key, value.shape) for key, value in expected.items()}
        except ValueError as error:
            failures.append((owner, error))
            continue
        if saved is not None and saved != _checksums(_join(path, "vars"), arrays):
            raise _damaged(source, _join(path, "vars"))
        found.append((owner, arrays))
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


def _read_training_state(file: Any, source: str) -> dict[str, Any]:
    """{"model": what the model goes on with, "sums": {group: {array: checksum}}, "run": of a `fit`}; the last two if known."""
    group = group_at(file, _TRAINING)
    if group is None and _CHECKSUM not in file.attrs:
        return {"model": _read_older_state(file, source)}
    if group is None or _CHECKSUM not in file.attrs:
        raise _damaged(source, _TRAINING)
    array = array_at(group, "state", getattr(group.get("state"), "shape", ()))
    if file.attrs[_CHECKSUM] != _checksums(_TRAINING, {"state": array})["state"].encode():
        raise _damaged(source, _TRAINING)
    state = unpack_state(array.tobytes(), source)
    for name in ("model", "sums", "run"):
        if not isinstance(state.get(name, {}), dict):
            raise ValueError(f"The state of the training in {source} is none: '{name}' is {type(state[name]).__name__}.")
    return {**state, "model": _checked(state.get("model"), source)}


def _read_older_state(file: Any, source: str) -> dict[str, int]:
    text = file.attrs.get(_OLDER_TRAINING, "{}")
    try:
        return _checked(json.loads(text), source)
    except (RecursionError, TypeError):
        raise ValueError(f"The attribute '{_OLDER_TRAINING}' in {source} should hold JSON.") from None


def _checked(state: Any, source: str) -> dict[str, int]:
    if not isinstance(state, dict) or not all(type(value) is int and value >= 0 for value in state.values()):
        raise ValueError(f"The state of the training in {source} should hold non-negative integers. Received: {state!r}")
    return state


def _report(failures: list[tuple[Any, ValueError]], source: str, warn_only: bool) -> None:
    owner, error = failures[0]
    message = printable(
        f"{source}: A total of {len(failures)} objects could not be loaded. "
        f"Example error message for object {owner}:\n\n{error}\n\n"
        f"List of objects that could not be loaded:\n{[getattr(owner, 'name', owner) for owner, _ in failures]}"
    )
    if not warn_only:
        raise FileFormatError(message)
    warnings.warn(message, stacklevel=4)
