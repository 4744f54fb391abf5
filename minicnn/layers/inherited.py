"""`super().call(x)` in a layer of one's own that is made from one of minicnn's:

    class MCDropout(layers.Dropout):
        def call(self, x, training=None):
            return super().call(x, training=True)

minicnn's layers have `forward` and `backward`, and no `call`. What `super().call` runs is therefore a second layer, of
minicnn's class, that shares the weights which its `build` has made: `inherited_part`.
"""

from __future__ import annotations

import copy
import weakref
from typing import Any

from minicnn.variables import Variable

__all__ = ["has_call", "inherited_part"]

_parts: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def has_call(kind: type, base: type) -> bool:
    """Whether a class of layers computes by a method `call`, which is then nearer to it than a `forward`, if it has both.

    Args:
        base: `Layer`, whose own methods do not count.
    """
    for one in kind.__mro__:
        if one is base or "forward" in vars(one):
            return False
        if "call" in vars(one):
            return True
    return False


def inherited_part(layer: Any, base: type) -> Any:
    """The layer of the class that this one's class is made from, on the same weights.

    Raises:
        NotImplementedError: if that is `Layer` itself.
        ValueError: if the weights are not there, as `build` did not call `super().build`.
    """
    if not has_call(type(layer), base):  # `layer.call(x)` from outside
        return layer
    if layer not in _parts:
        kind = next(one for one in type(layer).__mro__ if issubclass(one, base) and not has_call(one, base))
        if kind is base:
            raise NotImplementedError(f"Layer {type(layer).__name__} does not have a `call()` method implemented.")
        _parts[layer] = _linked(layer, kind)
    return _parts[layer]


def _linked(layer: Any, kind: type) -> Any:
    """A layer of this class with the settings and the weights of `layer`: `build` finds each by its name."""
    held = {id(one) for one in layer._held_layers}
    part = copy.copy(layer)
    part.__class__ = kind
    part.__dict__ = {name: value for name, value in layer.__dict__.items() if id(value) not in held}
    part.__dict__.update(_trainable_variables=[], _non_trainable_variables=[], _inbound_nodes=[], built=False)
    left: dict[str, list[Variable]] = {}
    for variable in layer._own_variables:
        left.setdefault(variable.name, []).append(variable)

    def find(*args: Any, name: str = "", **kwargs: Any) -> Variable:
        if not left.get(name):
            raise ValueError(f"Layer '{layer.name}' has no weight {name!r}: let its `build` call `super().build(input_shape)`.")
        found = left[name].pop(0)
        part._own(found)
        return found

    part.__dict__["add_weight"] = find
    part.build(layer._build_shape)
    del part.__dict__["add_weight"]
    part.built = True
    return part
