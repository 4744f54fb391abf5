"""`clone_model`: the same graph of other layers."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from minicnn import registry
from minicnn.layers import Input, Layer
from minicnn.layers.lambda_layer import Lambda
from minicnn.layers.symbolic import KerasTensor
from minicnn.models.model import Model
from minicnn.models.sequential import Sequential
from minicnn.structure import flatten_struct, map_struct

__all__ = ["clone_model"]

CloneFunction = Callable[[Any], Any]


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: CloneFunction | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Model:
    """A model of the same architecture with fresh weights; compiled in the same way where `model` is, with a fresh optimizer.

    Args:
        input_tensors: on which the clone begins, in the structure of `model.input`; new ones by default.
        clone_function: `fn(layer)` makes the layer that stands in this one's place; by default one from its config. It may
            return the layer itself, which the two models then share. A layer that is called twice is cloned once.
        call_function: `fn(layer, *args, **kwargs)` calls a clone, and may call others before and after it. Not of a
            Sequential, whose layers are called when it is made.
        recursive: whether models among the layers are cloned by the same functions; else `clone_function` gets them whole.

    Raises:
        ValueError: for a model with a `call` of its own: what it does with its layers no function can change.

    Examples:
        >>> from minicnn.layers import Dense, Dropout, Input
        >>> model = Sequential([Input((4,)), Dense(3), Dropout(0.5), Dense(1)])
        >>> def without_dropout(layer):
        ...     return type(layer).from_config(layer.get_config() | ({"rate": 0.0} if isinstance(layer, Dropout) else {}))
        >>> clone_model(model, clone_function=without_dropout).layers[1].rate
        0.0
    """
    plain = input_tensors is clone_function is call_function is None
    if not plain and model._is_traced:
        raise ValueError(
            "Arguments `input_tensors`, `clone_function` and `call_function` are only supported for Sequential models or "
            f"Functional models. Received: model '{model.name}', a {type(model).__name__} with a `call`"
        )
    with registry.custom_object_scope(_classes_of(model)):
        if plain and not recursive:
            clone = type(model).from_config(model.get_config())
        else:
            cloned = _Cloned(clone_function or _from_config, call_function, recursive)
            clone = cloned.model(model, input_tensors)
    if model.compiled:
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        clone.compile(**copy.deepcopy(model._compile_arguments) | {"optimizer": optimizer})
    return clone


def _classes_of(model: Model) -> dict[str, Any]:
    """A user's own classes and functions among the layers, registered or not."""
    layers = model._flatten_layers()
    own: dict[str, Any] = {
        type(layer).__name__: type(layer) for layer in layers if not type(layer).__module__.startswith("minicnn.")
    }
    return own | {layer.function.__name__: layer.function for layer in layers if isinstance(layer, Lambda)}


def _from_config(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


class _Cloned:
    """The clones that were made, one for each layer."""

    def __init__(self, function: CloneFunction, call: Callable[..., Any] | None, recursive: bool) -> None:
        if not callable(function):
            raise ValueError(f"Expected `clone_function` argument to be a callable. Received: clone_function={function}")
        self._function, self._call, self._recursive = function, call, recursive
        self._made: dict[int, Any] = {}

    def layer(self, layer: Layer) -> Any:
        if id(layer) not in self._made:
            inner = self._recursive and isinstance(layer, Model) and not layer._is_traced
            self._made[id(layer)] = self.model(layer, None) if inner else self._function(layer)
        return self._made[id(layer)]

    def model(self, model: Any, inputs: Any) -> Model:
        return self._sequential(model, inputs) if isinstance(model, Sequential) else self._functional(model, inputs)

    def _sequential(self, model: Sequential, inputs: Any) -> Model:
        if self._call is not None and not self._recursive:
            raise ValueError(
                "`call_function` argument is not supported with Sequential models, whose layers are called when it is made. "
                f"Received: model '{model.name}', call_function={self._call}"
            )
        begin = flatten_struct(inputs) if inputs is not None else [_fresh(tensor) for tensor in model._inputs]
        if inputs is not None and (len(begin) != 1 or not isinstance(begin[0], KerasTensor)):
            raise ValueError(f"Argument `input_tensors` must be a single KerasTensor. Received: input_tensors={inputs}")
        layers = [self.layer(layer) for layer in model.layers]
        return Sequential([*begin, *layers], trainable=model.trainable, name=model.name)

    def _functional(self, model: Any, inputs: Any) -> Model:
        if inputs is None:
            inputs = map_struct(_fresh, model.input)
        begin = flatten_struct(inputs)
        if len(begin) != len(model._inputs) or not all(isinstance(tensor, KerasTensor) for tensor in begin):
            raise ValueError(
                "`input_tensors` must have the same structure as model.input. "
                f"Reference structure: {model.input}. Received: input_tensors={inputs}"
            )
        made = {id(tensor): other for tensor, other in zip(model._inputs, begin)}

        def other(value: Any) -> Any:
            return made[id(value)] if isinstance(value, KerasTensor) else value

        for node in model._nodes:
            args, kwargs = map_struct(other, node.arguments)
            if not node.traces:  # of others than a user's `call`, inputs are all
                args, kwargs = (list(map(other, node.inputs)) if node.takes_list else other(node.inputs[0]),), {}
            if node.training is not None:
                kwargs = kwargs | {"training": node.training}
            layer = self.layer(node.layer)
            outputs = layer(*args, **kwargs) if self._call is None else self._call(layer, *args, **kwargs)
            made.update(zip(map(id, node.outputs), flatten_struct(outputs), strict=True))
        own = inspect.signature(type(model)) == inspect.signature(Model)
        return (type(model) if own else Model)(inputs, map_struct(other, model.output), name=model.name)


def _fresh(tensor: KerasTensor) -> KerasTensor:
    """Another input like this one."""
    name = tensor.node.layer.name if tensor.node is not None else None
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
