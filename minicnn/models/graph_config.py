"""A model's graph as plain data, in Keras 3's functional format, and back."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from minicnn.layers import InputLayer
from minicnn.layers.masks import MASK_ARGUMENTS
from minicnn.layers.symbolic import KerasTensor
from minicnn.models.graph import calls_of, check_calls
from minicnn.saving import serialize_keras_object
from minicnn.structure import flatten_struct, pack_struct

__all__ = ["config_of_graph", "tensors_of_config", "without_mask_ops"]


def _first_call(layer: Any) -> int:
    """The number of a layer's first call: a model used as a layer counts the node that it was made with (Keras's way)."""
    functional = hasattr(layer, "_nodes") and not hasattr(layer, "_is_sequential") and not layer._is_traced
    return 1 if functional else 0


def config_of_graph(model: Any) -> dict[str, Any]:
    """The layers and how they are connected."""
    index_of: dict[int, int] = {}  # node -> its place among its layer's nodes in this model
    counts: dict[int, int] = {}
    own = [layer._inbound_nodes[0] for layer in model._input_layers if layer._inbound_nodes] + model._nodes
    for node in own:
        index_of[id(node)] = counts.setdefault(id(node.layer), _first_call(node.layer))
        counts[id(node.layer)] += 1
    cut = {id(tensor): layer for tensor, layer in zip(model._inputs, model._input_layers)}

    def history(tensor: KerasTensor) -> list[Any]:
        if id(tensor) in cut:
            return [cut[id(tensor)].name, 0, 0]
        assert tensor.node is not None
        at = [id(one) for one in tensor.node.outputs].index(id(tensor))
        return [tensor.node.layer.name, index_of[id(tensor.node)], at]

    def tensor_config(tensor: KerasTensor) -> dict[str, Any]:
        settings = {"shape": list(tensor.shape), "dtype": tensor.dtype, "keras_history": history(tensor)}
        return {"class_name": "__keras_tensor__", "config": settings}

    layers = []
    for layer in model._sublayers:
        if getattr(layer, "makes_mask", False):  # calling the layer that has the mask makes it again
            continue
        entry = serialize_keras_object(layer)
        entry["name"] = layer.name
        if layer.is_operation:  # beside what Keras reads
            entry["is_operation"] = True
        entry["inbound_nodes"] = []
        for node in model._nodes:
            if node.layer is layer:
                tensors = [tensor_config(tensor) for tensor in node.inputs]
                call: dict[str, Any] = {"args": [tensors] if node.takes_list else tensors, "kwargs": {}}
                if node.traces:  # a `call` of the user's own takes what it takes
                    call = dict(zip(("args", "kwargs"), _written(list(node.arguments), tensor_config)))
                elif node.training is not None:
                    call["kwargs"]["training"] = node.training
                entry["inbound_nodes"].append(call)
        layers.append(entry)
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": pack_struct(model._input_struct, [history(tensor) for tensor in model._inputs]),
        "output_layers": pack_struct(model._output_struct, [history(tensor) for tensor in model._outputs]),
    }


def _written(struct: Any, tensor_config: Any) -> Any:
    """The arguments of a call as plain data."""
    if isinstance(struct, KerasTensor):
        return tensor_config(struct)
    if isinstance(struct, dict):
        return {key: _written(value, tensor_config) for key, value in struct.items()}
    if isinstance(struct, (list, tuple)):
        return [_written(item, tensor_config) for item in struct]
    return serialize_keras_object(struct)


_Key = tuple[str, int, int]  # a tensor as a config names it: layer, number of the call, number of the output


def _is_tensor(struct: Any) -> bool:
    return isinstance(struct, dict) and struct.get("class_name") == "__keras_tensor__"


def _keys(struct: Any) -> list[_Key]:
    """The tensors that the arguments of a call name."""
    if _is_tensor(struct):
        return [tuple(struct["config"]["keras_history"])]
    if isinstance(struct, (dict, list, tuple)):
        return [key for value in (struct.values() if isinstance(struct, dict) else struct) for key in _keys(value)]
    return []


def _arguments(struct: Any, made: dict[_Key, KerasTensor]) -> Any:
    """The arguments of a call, with tensors in place of what names them."""
    if _is_tensor(struct):
        return made[tuple(struct["config"]["keras_history"])]
    if isinstance(struct, dict):
        return {key: _arguments(value, made) for key, value in struct.items()}
    if isinstance(struct, (list, tuple)):
        return [_arguments(item, made) for item in struct]
    return struct


def _ends(struct: Any, made: dict[_Key, KerasTensor]) -> Any:
    """The model's inputs or outputs, as tensors in their structure."""
    if isinstance(struct, (list, tuple)) and len(struct) == 3 and isinstance(struct[0], str):
        return made[(struct[0], struct[1], struct[2])]
    if isinstance(struct, dict):
        return {key: _ends(item, made) for key, item in struct.items()}
    return [_ends(item, made) for item in struct]


def without_mask_ops(config: dict[str, Any]) -> dict[str, Any]:
    """A config without the ops that Keras writes for masks: those that nothing else reads, as calling the layers makes them."""
    entries = config["layers"]
    dropped = {entry["name"] for entry in entries if str(entry.get("module")).startswith("keras.src.ops")}
    while dropped:
        read = _end_keys(config["output_layers"])
        for entry in entries:
            if entry["name"] not in dropped:
                for call in entry["inbound_nodes"]:
                    others = {name: value for name, value in call.get("kwargs", {}).items() if name not in MASK_ARGUMENTS}
                    read += _keys([call["args"], others])
        needed = dropped & {key[0] for key in read}
        if not needed:
            break
        dropped -= needed
    if not dropped:
        return config
    kept = [{**entry, "inbound_nodes": list(entry["inbound_nodes"])} for entry in entries if entry["name"] not in dropped]
    for entry in kept:
        for index, call in enumerate(entry["inbound_nodes"]):
            kwargs = call.get("kwargs", {})
            made = [name for name in MASK_ARGUMENTS if any(key[0] in dropped for key in _keys(kwargs.get(name)))]
            entry["inbound_nodes"][index] = {**call, "kwargs": {**kwargs, **dict.fromkeys(made)}}
    return {**config, "layers": kept}


def _end_keys(struct: Any) -> list[Any]:
    """The tensors that a model's outputs name."""
    if isinstance(struct, (list, tuple)) and len(struct) == 3 and isinstance(struct[0], str):
        return [struct]
    return [key for item in (struct.values() if isinstance(struct, dict) else struct) for key in _end_keys(item)]


def tensors_of_config(config: dict[str, Any], layers: dict[str, Any]) -> tuple[Any, Any]:
    """Call the layers as a config says; the inputs and outputs of the graph, in their structures.

    Args:
        layers: those of the config, by name.

    Raises:
        ValueError: for a graph with loops or loose ends (Keras's wording).
    """
    made: dict[_Key, KerasTensor] = {}
    for name, layer in layers.items():
        if isinstance(layer, InputLayer):
            made[(name, 0, 0)] = layer.output
    # A layer's calls stand in order; its next one waits until the last tensor that it reads is made.
    calls = {entry["name"]: deque(entry["inbound_nodes"]) for entry in config["layers"]}
    unmade = {name: _keys(queue[0]) for name, queue in calls.items() if queue}
    waiting: dict[_Key, list[str]] = {}  # a tensor -> the layers whose next call reads it
    ready = deque(unmade)
    counts: Counter[str] = Counter()
    total = 0
    while ready:
        entry = ready.popleft()
        layer, queue, keys = layers[entry], calls[entry], unmade[entry]
        while keys and keys[-1] in made:
            keys.pop()
        if keys:
            waiting.setdefault(keys[-1], []).append(entry)
            continue
        total = check_calls(str(config.get("name")), total + calls_of(layer))
        call = _arguments(queue.popleft(), made)
        told = call.get("kwargs", {}).get("training")
        if told is False and not layer._trains_by_default:
            told = None  # Keras writes defaults, too: it says no more than nothing
        named = {key: value for key, value in call.get("kwargs", {}).items() if key != "training"}
        if not getattr(layer, "_has_call", False):  # others take no more than inputs, and perhaps a mask
            named = {key: value for key, value in named.items() if key == "mask" and layer.masked_call is not None}
        named = {key: value for key, value in named.items() if key != "mask" or value is not None}
        outputs = layer(*call["args"], **named, training=told)
        for at, tensor in enumerate(flatten_struct(outputs)):
            key = (entry, _first_call(layer) + counts[entry], at)  # a layer whose `get_config` has no name has another by now
            made[key] = tensor
            ready.extend(waiting.pop(key, ()))
        counts[entry] += 1
        if queue:
            unmade[entry] = _keys(queue[0])
            ready.append(entry)
    unresolved = [name for name, queue in calls.items() if queue]
    if unresolved:
        raise ValueError(
            "Invalid Functional model configuration. The graph of the Functional model either has loops or disconnected "
            f"nodes. The following layers failed to be resolved: {unresolved}"
        )
    return _ends(config["input_layers"], made), _ends(config["output_layers"], made)
